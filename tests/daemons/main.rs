//! Bitcoin Core and electrs as processes: what people really use.
//!
//! Needs both executables: see `regtest/nodes`.

mod core;
mod world;
