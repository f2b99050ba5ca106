//! `hashmix position`: what a position is, who holds it, what it delivers and pays.
//!
//! | command | asks | answers |
//! |---|---|---|
//! | `verify` | a server, and headers | issuer, terms, holders, the lock to pay, credit, what is paid; what nobody can prove |
//! | `list` | the same | a line for each dossier |
//! | `show` | the same | that line, and a timeline, also as a drawing |

pub mod folder;
pub mod reading;
pub mod show;
pub mod timeline;
pub mod verify;
