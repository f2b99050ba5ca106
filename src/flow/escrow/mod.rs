//! Escrow: the price waits in a 2-of-3 lock and is paid out as the work arrives.
//!
//! ```text
//!  miner                                             holder
//!    |                  fund: the price into lock 0 <---|
//!    |-- Asked(period 1) ------------------------------>|  recomputes the outcome
//!    |<------------------------------ Signed(period 1) -|  a state: nothing is broadcast
//!    |-- Asked(period 2) ------------------------------>|
//!    |<------------------------------ Signed(period 2) -|
//!    |                        ...
//!    |  wants his money, both online: MuSig2 ---------->|  Joined: settlement by the key path
//!    |  or the holder is silent: Signed(period 2) by himself: settlement by the agreed leaf
//! ```
//!
//! | the chain says | meaning | leaves by |
//! |---|---|---|
//! | unfunded | no output pays the price into lock 0 | funding |
//! | open, index i | this output holds what is not yet paid | settlement: index i + 1 |
//! | open, index i | | close, exit of the holder after T, exit of the miner after T + Y: ended |
//! | ended | a spend of any other shape than a settlement | |
//!
//! | outcome through period p | settlement |
//! |---|---|
//! | due - fee above dust, the rest above dust | out 0 the miner's due - fee, out 1 the re-lock |
//! | last period, failed window, or the rest below dust | close: out 0 due - fee, out 1 the holder's rest |
//! | due - fee below dust | none; at a close the miner's part is left out |
//!
//! | word | said by | refused when |
//! |---|---|---|
//! | `Asked` | the miner | another output than the present one, an unripe period, a fee rate outside the terms |
//! | `Signed` | holder, then miner | the signature is not of the settlement rebuilt from the terms |
//! | `Joined` | the miner | as above, for the key path |
//!
//! A word about an output or a height that our server has not seen yet waits; one about a spent
//! output is kept as history, without effect.

pub mod coins;
pub mod outcome;
pub mod state;
pub mod terms;
pub mod txs;
