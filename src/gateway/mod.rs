//! The gateway: machines in front, Bitcoin Core behind, and the shares of positions kept.
//!
//! ```text
//!  Bitcoin Core --offers--> foreman --Job a payee--> server <==Stratum V1==> machines
//!        ^                                             |
//!        |<------- block, to every node ---------------+  before anything else is asked
//!                                                      |
//!                               Find, hash ------------+--> collector --certificates--> validators
//! ```
//!
//! | file | subject |
//! |---|---|
//! | [`config`] | what a gateway is told in its file |
//! | [`agreed`] | what is mined for: a contract, or the proofs before a position is issued |
//! | [`before`] | the contracts before, of a position that was sold on |
//! | `asked` | what validators hold for the miner: resales asked for without him |
//! | `ended` | how the contract ended that is mined for, and what its operator is told of it |
//! | [`plan`] | whom a coinbase pays, and the jobs that come of a template |
//! | [`nodes`], `blocks` | what our nodes offer, and where a block goes; blocks on the disk until one has it |
//! | [`foreman`], [`floor`] | everything together, and the loop that moves it; what its threads share |
//! | [`collector`] | finds of positions, kept |
//! | [`sealing`], [`sealer`] | certificates that are due; the miner's word, and receipts for it |
//! | [`status`], `report`, [`rates`], `crew`, [`window`] | what it tells about itself, how it is put together, and where |
//!
//! The server is made of values that take the time from outside, and of one file that has sockets:
//!
//! | file | subject |
//! |---|---|
//! | [`job`] | the work itself, and what each find in it is good for |
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
//! | `connection`, `place` | one socket and its session; what all of them know |
//! | [`server`] | sockets, threads and the clock |

pub mod agreed;
mod asked;
pub mod before;
mod blocks;
pub mod board;
pub mod collector;
pub mod conduct;
pub mod config;
mod connection;
mod crew;
pub mod difficulty;
mod ended;
pub mod floor;
pub mod foreman;
pub mod job;
pub mod lines;
pub mod machines;
pub mod nodes;
mod place;
pub mod plan;
pub mod rates;
pub mod reject;
mod report;
pub mod sealer;
pub mod sealing;
pub mod server;
pub mod session;
pub mod settings;
pub mod status;
pub mod stratum;
pub mod submit;
pub mod vardiff;
pub mod window;
