//! Work: from a block template to a share, from shares to a certificate, from certificates to a
//! verdict. Pure: the same bytes give the same answer to everybody.
//!
//! ```text
//!  template -> grind -> share --(rules 1-5)--> certificate --(k receipts)--> evidence
//!                                                                               |
//!            agreement (terms) --> credit: agreed and proven hashes --> verdict <+
//! ```
//!
//! | file | subject |
//! |---|---|
//! | [`agreement`] | what the parties agreed on: rate, periods, share target, spans |
//! | [`template`] | a block under construction |
//! | [`extended_job`] | a job with room for an extra nonce, and what machines find in it |
//! | [`grind`] | a small CPU miner |
//! | [`hash`] | double SHA-256 on bytes, as fast as safe code gets |
//! | [`coinbase`] | a coinbase read from its bytes: its input, whom it pays |
//! | [`share`] | the five rules that make a header count |
//! | [`share_file`] | a share in a file of its own |
//! | [`farm`] | several positions paid by one coinbase |
//! | [`certificate`] | all shares of one slice, named by a digest |
//! | [`columns`] | the same in about 22 bytes a share |
//! | [`kept`] | jobs and finds as a store keeps them |
//! | [`receipt`] | a validator's word that he saw a certificate in time |
//! | [`credit`] | hashes: agreed, proven, filled |
//! | [`evidence`] | everything that was proven, verified once |
//! | [`verdict`] | satoshis: what the miner has earned |
//! | [`odds`] | what chance does to him |

pub mod agreement;
mod binary;
pub mod certificate;
pub mod coinbase;
pub mod columns;
pub mod credit;
pub mod evidence;
pub mod extended_job;
pub mod farm;
pub mod grind;
pub mod hash;
mod hex;
pub mod kept;
pub mod odds;
pub mod receipt;
#[cfg(test)]
pub(crate) mod samples;
pub mod share;
pub mod share_file;
pub mod template;
pub mod verdict;
