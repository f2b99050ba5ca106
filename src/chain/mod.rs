//! The chain, as our adapters reach it.
//!
//! Everything a wallet needs goes through an Electrum server. Where there is none to be had, the
//! `embedded` node (feature `regtest`) brings its own chain and its own server.

#[cfg(feature = "electrum")]
pub mod electrum;
#[cfg(feature = "regtest")]
pub mod embedded;
