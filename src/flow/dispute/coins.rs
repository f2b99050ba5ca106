//! A dispute makes no output of its own: it is about the escrow's present one.

pub use crate::flow::escrow::coins::{EscrowCoin, Progress, progress};
