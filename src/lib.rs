//! Hash power bought, sold and proven on Bitcoin alone.

pub mod chain;
pub mod error;
pub mod facts;
pub mod headers;
pub mod id;
#[cfg(feature = "sqlite")]
pub mod store;
#[cfg(all(feature = "electrum", feature = "sqlite"))]
pub mod wallet;
pub mod work;
