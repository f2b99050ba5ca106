//! What another side sends is a PSBT, and each field of it may lie. For every transaction of every
//! flow the honest PSBT is changed in one field at a time, and sent on: the receiver refuses it by the
//! rule that the change names. A change that is accepted is a failed test, even one that would have
//! changed nothing that is signed. Pairs of changes are drawn at random. The figures stand in
//! docs/reliability.md, which the tests write and hold fresh.
//!
//! One thing is free and therefore no lie: the order of the fields of a map (BIP 174).
//!
//! A flow's transaction is one line in `transactions.rs`; a change is one line in the file of its
//! subject. No node, no clock: everybody's randomness is a counter.

mod document;
mod form;
mod header;
mod hints;
mod inputs;
mod maps;
mod mutation;
mod networks;
mod other_fields;
mod outputs;
mod people;
mod receiver;
mod rounds;
mod signatures;
mod spent_outputs;
mod suite;
mod transactions;

mod a_believer_would_be_robbed;
mod every_lie_is_refused_by_its_rule;
mod pairs_of_lies_are_refused;
