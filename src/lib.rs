//! Hash power bought, sold and proven on Bitcoin alone.

pub mod error;
pub mod facts;
pub mod headers;
pub mod id;
pub mod message;
pub mod musig;
#[cfg(feature = "signer")]
pub mod sign;
pub mod work;
