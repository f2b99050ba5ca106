//! The chain, as our adapters reach it.
//!
//! Everything a wallet needs goes through an Electrum server ([`electrum`]). Where there is none
//! to be had, the [`embedded`] node brings its own chain and its own server. Who mines asks Bitcoin
//! Core itself (`core`, the module). Whoever signs for others asks two of them, and compares ([`view`]).

#[cfg(feature = "core")]
pub mod core;
#[cfg(feature = "electrum")]
pub mod electrum;
#[cfg(feature = "regtest")]
pub mod embedded;
#[cfg(any(feature = "core", feature = "electrum"))]
pub mod patience;
#[cfg(feature = "electrum")]
pub mod view;
