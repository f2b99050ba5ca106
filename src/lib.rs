//! Hash power bought, sold and proven on Bitcoin alone.

pub mod amount;
pub mod canonical;
pub mod chain;
#[cfg(all(feature = "electrum", feature = "sqlite", feature = "signer"))]
pub mod engine;
#[cfg(feature = "cli")]
pub mod cli;
pub mod chain;
pub mod error;
pub mod facts;
pub mod flow;
pub mod headers;
pub mod height;
pub mod id;
pub mod keys;
pub mod message;
pub mod musig;
pub mod party;
pub mod relay;
pub mod script;
#[cfg(feature = "signer")]
pub mod sign;
#[cfg(feature = "sqlite")]
pub mod store;
pub mod tx;
#[cfg(all(feature = "electrum", feature = "sqlite"))]
pub mod wallet;
pub mod work;
