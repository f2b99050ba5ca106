//! Hash power bought, sold and proven on Bitcoin alone.

pub mod amount;
#[cfg(feature = "cli")]
pub mod cli;
pub mod error;
pub mod facts;
pub mod headers;
pub mod height;
pub mod id;
pub mod work;
