//! A stranger as judge: ord, the reference indexer of ordinals, reads the same chain as our Bitcoin
//! Core, and must say of every satoshi what we say.
//!
//! | file | ord is asked |
//! |---|---|
//! | `payments` | where satoshis went through plain payments, into fees and into nothing |
//! | `inscriptions` | what an inscription holds, and where |
//!
//! Needs ord beside Bitcoin Core and electrs, and fails without: see `regtest/nodes --ord`. As it takes
//! long to build, this binary runs only where it is named, `cargo test --all-features --test ord`, or
//! by `regtest/test --ord`.

mod inscriptions;
mod payments;
mod world;
