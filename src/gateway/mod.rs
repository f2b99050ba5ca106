//! The gateway: machines in front, Bitcoin Core behind, and the shares of positions kept.
//!
//! ```text
//!  Bitcoin Core --template--> templates --Job a payee--> server <==Stratum V1==> machines
//!        ^                                                 |
//!        |<------- block, to every node -------------------+  before anything else is asked
//!                                                          |
//!                                   Find, hash ------------+--> collector --certificates--> validators
//! ```

pub mod collector;
pub mod job;
