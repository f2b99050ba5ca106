//! A position's documents against the chain: who holds it, which lock is paid, and every way to lie.
//!
//! | file | tells |
//! |---|---|
//! | `made.rs` | the people, and a position's life as transactions that they signed |
//! | `faults.rs` | false dossiers, each refused at the right place; what is pinned under `fixtures/dossier` |
//! | `titles.rs` | what a true dossier says |
//! | `offers.rs` | which offers of it are its holder's to make |
//! | `sent.rs` | which of the transfers that somebody sent are true |
//! | `walks.rs` | random ways of a seal, against satoshis counted one by one |
//! | `command.rs` | the command on a chain, in the world that HASHMIX_WORLD names |

mod command;
mod faults;
mod made;
mod offers;
mod sent;
mod titles;
mod walks;
