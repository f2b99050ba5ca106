//! Hash power bought, sold and proven on Bitcoin alone.

pub mod error;
pub mod facts;
pub mod headers;
pub mod id;
#[cfg(feature = "sqlite")]
pub mod store;
pub mod work;
