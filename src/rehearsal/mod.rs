//! The first deal, rehearsed: people with seeds of their own, a chain, and a whole contract from
//! the sale to the sweep.
//!
//! `hashmix demo` tells it as a story and the tests hold it to the satoshi. Nothing here is a
//! double: each person has an engine, a store, a wallet and a connection of his own, and they talk
//! through files. Only the seeds are fixed, so that a run repeats.
//!
//! | heights | what happens |
//! |---|---|
//! | 1-108 | the holder gets his first coins; they mature |
//! | 109 | the sale: 0.6 BTC into the escrow |
//! | 120-155 | periods 1 to 3, each 1.3 times the agreed work; two states signed off-chain |
//! | 161 | the third is settled by the key path |
//! | 156-167 | period 4, about a half; then the holder is silent |
//! | 172-179 | dispute, ruling through the miner's leaf |
//! | 168-191 | periods 5 and 6, nothing; the miner is gone |
//! | 196-203 | dispute, close through the holder's leaf |
//! | 267 | the holder sweeps the rewards |
//!
//! The life of a position, from its first share to the retirement of its seal, is told beside it
//! (`life`). And tricks are rehearsed that need no chain: [`simulation`].

#[cfg(feature = "regtest")]
pub mod daemons;
#[cfg(feature = "regtest")]
pub mod deal;
#[cfg(feature = "regtest")]
pub mod ledger;
#[cfg(feature = "regtest")]
pub mod life;
#[cfg(feature = "regtest")]
pub mod machines;
#[cfg(feature = "regtest")]
pub mod people;
#[cfg(feature = "regtest")]
pub mod position;
#[cfg(feature = "regtest")]
pub mod reorg;
pub mod simulation;
#[cfg(feature = "gateway")]
pub mod stratum;
#[cfg(feature = "regtest")]
pub mod world;
