//! The first deal, rehearsed: people with seeds of their own, a chain, and a whole contract from
//! the sale to the sweep.
//!
//! `hashmix demo` tells it as a story and the tests hold it to the satoshi. Nothing here is a
//! double: each person has an engine, a store, a wallet and a connection of his own, and they talk
//! through files. Only the seeds are fixed, so that a run repeats.

pub mod people;
pub mod world;
