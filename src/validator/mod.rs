//! A validator's desk: where contracts are registered, requests come in, and rulings go out.
//!
//! ```text
//!  parties                      desk                              engine of the contract
//!    |-- registration ----------->| both have signed, or the chain shows its sale;
//!    |                            | the record is ours, bound once
//!    |-- request: words, key ---->| size, form, contract, seat, signature, key, words
//!    |                            |-- letters --------------------->| admit, commit
//!    |                            |-- sources agree? -- step ------>| receipt, rule, sign
//!    |<-- answer: our words, -----|<------------ what it said ------|
//!    |    refusals (signed), waits
//! ```
//! The desk decides nothing about money: it checks who asks, in an order in which cheap questions
//! come before dear ones, and hands what is left to the [`Engine`](crate::engine::Engine) of that
//! contract, which rebuilds, recomputes and signs. So what a ruling is does not depend on the way it
//! was asked for: by a file, or over HTTP.
//!
//! | what | durable before | where |
//! |---|---|---|
//! | which terms a record of ours serves | the contract is registered | the store's memory |
//! | the registration itself | anything is handed in | `contracts/<terms id>/registration.json` |
//! | that a request with this key began, and after which word | its words reach the engine | the store's memory |
//! | words, ours and theirs | they are answered | the store's events |
//! | the answer | it leaves | the store's memory |
//!
//! A crash at any line leaves a request that can be handed in again: what was taken is known, what
//! was said is found behind the number that was noted, and the answer that left once is the answer
//! for ever.

pub mod answer;
mod carrying;
#[cfg(feature = "core")]
pub mod courier;
pub mod desk;
pub mod expected;
mod hearing;
pub mod limits;
pub mod parcel;
pub mod query;
pub mod reasons;
pub mod registration;
pub mod request;
#[cfg(feature = "validator")]
pub mod server;
pub mod sold;
pub mod sources;
pub mod standing;
#[cfg(any(feature = "validator", feature = "gateway"))]
pub mod stop;
pub mod veil;

#[cfg(all(test, feature = "regtest"))]
mod tests;
