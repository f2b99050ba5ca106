//! Transactions: from what the terms demand to what the chain accepts.
//!
//! ```text
//! Draft  --signatures, each verified-->  Signed  --witnesses-->  Final
//! ```
//! None of the three can be cloned, so nothing is signed twice by accident and nothing leaves
//! half-signed. A draft can always be rebuilt from the terms; that is how both sides get theirs. What
//! one sends the other is compared with it, field by field ([`carrier`]).

pub mod carrier;
pub mod draft;
pub mod exchange;
pub mod satoshi;
pub mod signed;
