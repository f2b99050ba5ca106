//! Hash power bought, sold and proven on Bitcoin alone.
//!
//! A miner binds his coinbase to a 2-of-3 Taproot address of himself, the holder and a federation
//! of validators. The holder's price waits in an escrow of the same three and is paid out as work
//! arrives that anyone can verify. Whoever falls silent, the other two can always finish by the
//! rules, and after long delays one alone.
//!
//! ```text
//!            main.rs -> cli/ --> engine --------------------+  the only loop with side effects
//!                                  |   ^                    |
//!     effects: sign, say,          |   | facts, words       +--> chain/  store/  sign/  wallet  relay/
//!     receipt, broadcast, wait     v   |                         adapters: sockets, files, clocks
//!  policy/      request, sources, journal -> warrant             pure: no clock, RNG, socket, file
//!  flow/<name>: terms -> coins -> txs -> state                   pure
//!  work/        share -> certificate -> verdict                  pure
//!  guard/       headers in -> the chain with the most work       pure
//!  script/ tx/ musig/  locks, transactions, joint signatures     pure
//!  amount, height, keys, party, id, error ...                    vocabulary
//! ```
//!
//! Arrows are imports and data alike; nothing points up. `--no-default-features` builds what is
//! pure, and the lints below keep it so.

/// Attributes of pure modules: what parties must agree on never panics, wraps or reads a clock.
macro_rules! pure {
    ($($(#[$doc:meta])* pub mod $name:ident;)*) => {
        $(
            $(#[$doc])*
            #[cfg_attr(not(test), deny(
                clippy::arithmetic_side_effects,
                clippy::disallowed_methods,
                clippy::expect_used,
                clippy::indexing_slicing,
                clippy::panic,
                clippy::unwrap_used,
            ))]
            pub mod $name;
        )*
    };
}

pure! {
    pub mod amount;
    pub mod canonical;
    pub mod error;
    pub mod facts;
    pub mod flow;
    pub mod guard;
    pub mod headers;
    pub mod height;
    pub mod id;
    pub mod keys;
    pub mod message;
    pub mod musig;
    pub mod party;
    pub mod policy;
    pub mod script;
    pub mod tx;
    pub mod work;
}

pub mod chain;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(all(feature = "electrum", feature = "sqlite", feature = "signer"))]
pub mod engine;
#[cfg(feature = "gateway")]
pub mod gateway;
#[cfg(all(feature = "electrum", feature = "sqlite"))]
pub mod header_sync;
#[cfg(feature = "core")]
mod http;
#[cfg(any(feature = "cli", feature = "regtest"))]
pub mod rehearsal;
pub mod relay;
#[cfg(feature = "signer")]
pub mod sign;
#[cfg(feature = "sqlite")]
pub mod store;
#[cfg(all(feature = "electrum", feature = "sqlite", feature = "signer"))]
pub mod validator;
#[cfg(all(feature = "electrum", feature = "sqlite"))]
pub mod wallet;

/// The README's examples, run as tests.
#[cfg(all(doctest, feature = "signer"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
