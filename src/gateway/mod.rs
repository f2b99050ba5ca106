//! The gateway: machines in front, Bitcoin Core behind, and the shares of positions kept.
//!
//! ```text
//!  Bitcoin Core --template--> templates --Job a payee--> server <==Stratum V1==> machines
//!        ^                                                 |
//!        |<------- block, to every node -------------------+  before anything else is asked
//!                                                          |
//!                                   Find, hash ------------+--> collector --certificates--> validators
//! ```
//!
//! The server is made of values that take the time from outside, and of one file that has sockets:
//!
//! | file | subject |
//! |---|---|
//! | [`settings`] | where it listens, whom it serves, who is told of finds |
//! | [`stratum`] | lines in, lines out |
//! | [`lines`] | bytes cut into lines |
//! | [`difficulty`] | a target as machines are told it |
//! | [`vardiff`] | how hard a machine's shares are |
//! | [`board`] | each payee's present job, as a line |
//! | [`submit`] | a find judged, in what order |
//! | [`reject`] | why a line is refused |
//! | [`conduct`] | what strangers may do |
//! | [`session`] | one machine, from its first line to its last |
//! | [`machines`] | what is counted of them |
//! | `connection` | one socket and its session |
//! | [`server`] | sockets, threads and the clock |

pub mod board;
pub mod conduct;
mod connection;
pub mod difficulty;
pub mod job;
pub mod lines;
pub mod machines;
pub mod reject;
pub mod server;
pub mod session;
pub mod settings;
pub mod stratum;
pub mod submit;
pub mod vardiff;
