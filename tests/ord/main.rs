//! A stranger as judge: ord, the reference indexer of ordinals, reads the same chain as our Bitcoin
//! Core, and must say of every satoshi what we say.
//!
//! | file | ord is asked |
//! |---|---|
//! | `payments` | where satoshis went through plain payments, into fees and into nothing |
//! | `inscriptions` | what an inscription holds, and where |
//! | `positions` | where a seal is after issue, sales and retirement; that it is the federation's child |
//!
//! Needs ord beside Bitcoin Core and electrs, and fails without: see `regtest/nodes --ord`. As it takes
//! long to build, this binary runs only where it is named, `cargo test --all-features --test ord`, or
//! by `regtest/test --ord`.

mod inscriptions;
#[path = "../sale/life.rs"]
mod life;
#[allow(dead_code, reason = "a market has more to offer than ord is asked about")]
#[path = "../sale/market.rs"]
mod market;
mod payments;
mod positions;
mod world;
