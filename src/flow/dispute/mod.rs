//! Dispute: one side is silent or disagrees, and the federation applies the rules.
//!
//! ```text
//!  requester (miner or holder)     validators                     the other side
//!    |-- Opened(period) ------------->|--------------------------->|
//!    |<------------- Receipted(opening, tip), k of n               |
//!    |                                |<--- Answered(state) -------|
//!    |                                |-- Receipted(answer, tip) ->|  k within the answer span
//!    |                                | recompute, enter it in the journal, which k - 1 others hold
//!    |<------------- Ruled(outcome, signature), k of n ----------->|
//!    |-- Ruled(own signature): broadcast
//! ```
//!
//! | dispute | becomes | by |
//! |---|---|---|
//! | said | opened | k receipts; the k-th lowest height counts |
//! | opened | heard | the answer span |
//! | heard | ruled | k validators with the same outcome |
//! | ruled | settled | the requester's own signature through his ruling leaf |
//! | any | history | the output in dispute is spent; if the spend vanishes, everything is checked anew |
//!
//! | who asks | outcome | transaction |
//! |---|---|---|
//! | the miner | the contract goes on | settlement through the miner ruling leaf |
//! | the miner | it closes | close through the miner ruling leaf |
//! | the holder | it closes | close through the holder ruling leaf |
//! | the holder | it goes on | none: his fee in a re-lock would count as paid to the miner |
//! | either | his part does not pay the ruling | none |
//!
//! Where there is no transaction, or an outcome would fall, validators decline and say why.
//!
//! | word | said by | refused when |
//! |---|---|---|
//! | `Opened` | the side that asks | too late, an unripe period, another output, a fee rate outside the terms, or less than twice that of an earlier request |
//! | `Receipted` | the validator who signed | the signature is not his |
//! | `Answered` | anyone | the state is not signed by the holder; it counts once k receipts have it in time |
//! | `Ruled` | a validator, the side that asked | too early, a signature of another transaction, the side that asked before k equal rulings |
//!
//! A validator's outcome for a period never falls ([`memory`]); what he signs he enters before in his
//! [journal](crate::flow::journal).

pub mod coins;
pub mod memory;
pub mod state;
pub mod terms;
pub mod txs;
