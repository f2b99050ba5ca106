//! Hash power bought, sold and proven on Bitcoin alone.

pub mod amount;
pub mod canonical;
pub mod error;
pub mod facts;
pub mod headers;
pub mod height;
pub mod id;
pub mod keys;
pub mod musig;
pub mod party;
pub mod script;
pub mod tx;
pub mod work;
