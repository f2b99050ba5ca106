//! Hash power bought, sold and proven on Bitcoin alone.

pub mod canonical;
pub mod error;
pub mod facts;
pub mod headers;
pub mod id;
pub mod keys;
pub mod party;
pub mod script;
pub mod tx;
pub mod work;
