//! The position: hash power as the first satoshi of an output.
//!
pub mod coins;
pub mod terms;
pub mod txs;
