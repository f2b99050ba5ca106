//! The position: hash power as the first satoshi of an output.
//!
pub mod coins;
pub mod dossier;
pub mod terms;
pub mod title;
pub mod txs;
