//! The embedded node, from where its users stand: blocks through its Rust methods, everything else
//! through an Electrum client.

mod chain;
mod electrum;
mod mempool;
mod world;
