//! Hash power bought, sold and proven on Bitcoin alone.

pub mod chain;
pub mod error;
pub mod facts;
pub mod headers;
pub mod id;
pub mod work;
