//! Where a party keeps what must not be lost: one SQLite file.
//!
//! Six things live in it, and nothing else does. What the chain knows is never stored to decide by
//! it; it is read again. Headers are the exception: they prove themselves, and there are many.
//!
//! | table | holds | may change |
//! |---|---|---|
//! | `events` | what people said: messages, signatures, decisions, by contract | only grow |
//! | `wallet_changes` | the change sets of `bdk_wallet`, by account | be folded, never lose |
//! | `memory` | what a validator has bound himself to | only grow; one value a name |
//! | `header_runs` | headers that the guard let in, by network | only grow |
//! | `positions` `jobs` `certificates` | certificates that are sealed, and jobs once for all of them | only grow |
//! | `finds` | shares that no certificate lists | yes |
//! | `seen` | what blocks held of a contract when we looked last, for reports alone | yes |
//!
//! **One commit.** [`Store::append`] writes a step's events and the wallet's changes in one
//! transaction, and they lie on the disk when it returns (write-ahead log, `synchronous = FULL`).
//! Only then may anything leave the process. A power cut leaves the whole step or none of it.
//!
//! **Append-only.** Triggers of the database itself forbid changing or deleting events, memory and
//! certificates, so that neither a slip of ours nor another program's can rewrite what was promised.
//!
//! **One writer.** Two processes may open the file; each waits a moment for the other's commit and
//! is then refused with `store-busy`.
//!
//! **Change sets as JSON rows.** A change set is stored as the JSON that `bdk_wallet` itself
//! defines (it derives serde and adds fields only with a default), a row each, merged when the
//! wallet is loaded. BDK's own tables would tie us to the schema and the SQLite of its `rusqlite`
//! feature, while this form needs no migration when a field is added, and a person can read it.
//! What it costs is size; so when a wallet is loaded from more than 256 rows, they are folded into
//! one. Old rows load for ever: `fixtures/store/` pins the form.
//!
//! **Versions.** `src/store/migrations/` is applied in order, each file once, under
//! `PRAGMA user_version`. A file that a newer version wrote is refused, not guessed at.

mod certificates;
mod headers;
mod seen;
mod since;
mod sqlite;
mod wallet_changes;

pub use certificates::{CertificateName, CertificateRow, FindsRow, JobRow};
pub use headers::HEADER_RUN;
pub use sqlite::{
    APPEND_ONLY, BUSY, DAMAGED, DISK, Entry, FOREIGN, FULL, MEMORY_CONFLICT, NOT_A_STORE, Store,
    VERSION, WRITABLE,
};
pub use wallet_changes::{CHANGES, WALLET_IDENTITY};

#[cfg(test)]
mod tests;
