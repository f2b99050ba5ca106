//! What another side sends is a PSBT, and each field of it may lie. For every transaction of every
//! flow the honest PSBT is changed in one field at a time, and sent on: the receiver either refuses
//! it by a rule that the table names, or signs what it would have signed without the lie, byte for
//! byte. Pairs of changes are drawn at random.
//!
//! A flow's transaction is one line in `transactions.rs`; a change is one line in the file of its
//! subject. No node, no clock: everybody's randomness is a counter.

mod form;
mod header;
mod hints;
mod inputs;
mod mutation;
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
mod pairs_of_lies_do_no_more_than_one;
mod single_lies_are_refused_or_without_effect;
