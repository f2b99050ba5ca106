//! The file itself: opening, migrating, appending, remembering.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use bdk_wallet::ChangeSet;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction};
use rusqlite::{TransactionBehavior, params};

use super::wallet_changes;
use crate::error::{Culprit, Error, Result, Rule};

/// The file can be created and written.
pub const WRITABLE: Rule = Rule::new(
    "store-writable",
    "the store is a file that we may read and write",
    "check the path, its permissions and the disk",
);
/// The file is an SQLite database.
pub const NOT_A_STORE: Rule = Rule::new(
    "store-garbage",
    "the store is an SQLite database",
    "give the path of a store, or of a file that does not exist yet",
);
/// The database is one of ours.
pub const FOREIGN: Rule = Rule::new(
    "store-foreign",
    "the database was made by hashmix",
    "give the path of a store, or of a file that does not exist yet",
);
/// The database is not newer than the program.
pub const VERSION: Rule = Rule::new(
    "store-version",
    "the store was written by this version or an older one",
    "use the newer hashmix that wrote it",
);
/// Nobody else is writing.
pub const BUSY: Rule = Rule::new(
    "store-busy",
    "one process at a time writes to the store",
    "end the other hashmix that uses it",
);
/// There is room left.
pub const FULL: Rule = Rule::new(
    "store-full",
    "the disk has room for what must be stored",
    "make room; nothing of this step was stored and nothing was sent",
);
/// The database is whole.
pub const DAMAGED: Rule =
    Rule::new("store-damaged", "the store's pages and rows are whole", "restore it from a backup");
/// The disk and SQLite do what they are told.
pub const DISK: Rule = Rule::new(
    "store-disk",
    "the disk reads and writes what it is told",
    "check the disk; nothing of this step was stored",
);
/// Events and memory only grow.
pub const APPEND_ONLY: Rule = Rule::new(
    "store-append-only",
    "what was stored is neither changed nor removed",
    "add a new event instead",
);
/// Memory holds one value for a name.
pub const MEMORY_CONFLICT: Rule = Rule::new(
    "store-memory-conflict",
    "what was decided once is not decided otherwise later",
    "keep to the first decision; it may have been signed",
);

/// Marks the file as ours in SQLite's header: "HMX1".
const APPLICATION_ID: i32 = 0x484d_5831;

/// How long a writer waits for another one.
const PATIENCE: Duration = Duration::from_secs(2);

/// Each migration once, in order; the number applied is the file's `user_version`.
const MIGRATIONS: [&str; 4] = [
    include_str!("migrations/0001_events_wallet_memory.sql"),
    include_str!("migrations/0002_headers.sql"),
    include_str!("migrations/0003_seen.sql"),
    include_str!("migrations/0004_certificates.sql"),
];

/// Something that was said about a contract, as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the order of all events of the file; grows, with gaps.
    pub seq: u64,
    /// The contract it belongs to, by id.
    pub contract: [u8; 32],
    /// What kind of event it is; the flow that wrote it knows the kinds.
    pub kind: String,
    /// The event itself, in the form its kind defines.
    pub body: Vec<u8>,
}

/// A party's file of events, wallet changes and memory.
#[derive(Debug)]
pub struct Store {
    pub(super) db: Connection,
    pub(super) name: String,
    pub(super) account: u32,
}

impl Store {
    /// Opens the store at `path`, or makes it there (readable by its owner alone), and brings it
    /// up to date. The wallet is that of account 0.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_account(path, 0)
    }

    /// As [`Store::open`], with the wallet of another account: one file can serve several wallets,
    /// each through a store of its own.
    pub fn open_account(path: impl AsRef<Path>, account: u32) -> Result<Self> {
        let path = path.as_ref();
        let name = format!("store {}", path.display());
        keep_private(path).map_err(|e| WRITABLE.unstored(&name, "a writable file", e))?;
        // No SQLITE_OPEN_URI: a path is a path, whatever it looks like.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags).map_err(|e| fault(&name, &e))?;
        Self::prepare(db, name, account, "wal")
    }

    /// A store that ends with the process, for rehearsals and tests.
    pub fn open_in_memory() -> Result<Self> {
        let name = String::from("store in memory");
        let db = Connection::open_in_memory().map_err(|e| fault(&name, &e))?;
        Self::prepare(db, name, 0, "memory")
    }

    fn prepare(db: Connection, name: String, account: u32, journal: &str) -> Result<Self> {
        let mut store = Self { db, name, account };
        store.configure(journal)?;
        store.migrate()?;
        Ok(store)
    }

    fn configure(&self, journal: &str) -> Result<()> {
        let fault = |e| fault(&self.name, &e);
        self.db.busy_timeout(PATIENCE).map_err(fault)?;
        // Reads the header, so garbage and foreign files are refused before anything is written.
        self.check_owner()?;
        let mode: String = self
            .db
            .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
            .map_err(fault)?;
        if mode != journal {
            return Err(DISK.unstored(&self.name, "a write-ahead log", format!("mode {mode}")));
        }
        for (pragma, value) in [("synchronous", "FULL"), ("foreign_keys", "ON")] {
            self.db.pragma_update(None, pragma, value).map_err(fault)?;
        }
        // REPLACE fires the triggers that forbid deletion only with this.
        self.db.pragma_update(None, "recursive_triggers", "ON").map_err(fault)
    }

    /// Refuses another program's database and one of a newer version.
    fn check_owner(&self) -> Result<()> {
        let application = self.pragma("application_id")?;
        let version = self.pragma("user_version")?;
        let tables: i64 = self
            .db
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(|e| fault(&self.name, &e))?;
        // A file without a table is a new one; a crash while it was made leaves that too.
        if application != i64::from(APPLICATION_ID) && (application != 0 || tables != 0) {
            return Err(FOREIGN.unstored(
                &self.name,
                format_args!("application id {APPLICATION_ID:#x}"),
                format_args!("{application:#x} with {tables} tables and indexes"),
            ));
        }
        let newest = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        if !(0..=newest).contains(&version) {
            return Err(VERSION.unstored(
                &self.name,
                format_args!("version {newest} or older"),
                format_args!("version {version}"),
            ));
        }
        Ok(())
    }

    fn migrate(&mut self) -> Result<()> {
        let newest = MIGRATIONS.len();
        // Most openings find nothing to do, and then do not wait for a writer.
        if self.pragma("user_version")? == i64::try_from(newest).unwrap_or(i64::MAX) {
            return Ok(());
        }
        self.write(|tx| {
            // Read again under the lock: another process may have been quicker.
            let done: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
            for migration in MIGRATIONS.iter().skip(usize::try_from(done).unwrap_or(newest)) {
                tx.execute_batch(migration)?;
            }
            tx.pragma_update(None, "application_id", APPLICATION_ID)?;
            tx.pragma_update(None, "user_version", i64::try_from(newest).unwrap_or(i64::MAX))
        })
    }

    fn pragma(&self, name: &str) -> Result<i64> {
        self.db.pragma_query_value(None, name, |row| row.get(0)).map_err(|e| fault(&self.name, &e))
    }

    /// Runs `work` in one transaction that takes the write lock at once; commits it or leaves
    /// no trace.
    pub(super) fn write<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let name = &self.name;
        let run = |db: &mut Connection| {
            let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let out = work(&tx)?;
            tx.commit()?;
            Ok(out)
        };
        run(&mut self.db).map_err(|e| fault(name, &e))
    }

    /// Adds `events` (kind and body) to `contract`, and the wallet's changes, in one transaction:
    /// all of it lies on the disk when this returns, or none of it does.
    pub fn append(
        &mut self,
        contract: &[u8; 32],
        events: &[(&str, Vec<u8>)],
        wallet: Option<&ChangeSet>,
    ) -> Result<()> {
        self.append_bound(contract, events, wallet, None)
    }

    /// The same, and binds a name within `contract` to a value as [`Store::remember`] does, in one
    /// transaction: where the name is bound to another value, nothing of it is stored.
    pub fn append_bound(
        &mut self,
        contract: &[u8; 32],
        events: &[(&str, Vec<u8>)],
        wallet: Option<&ChangeSet>,
        bound: Option<(&str, &[u8])>,
    ) -> Result<()> {
        let changes = match wallet {
            Some(changes) => self.changes_as_text(changes)?,
            None => None,
        };
        let account = self.account;
        let other = self.write(|tx| {
            if let Some((name, value)) = bound
                && let Some(held) = bind(tx, contract, name, value)?
                && held != value
            {
                return Ok(Some((name, held, value)));
            }
            let mut insert =
                tx.prepare_cached("INSERT INTO events (contract, kind, body) VALUES (?1, ?2, ?3)")?;
            for (kind, body) in events {
                insert.execute(params![contract, kind, body])?;
            }
            match &changes {
                Some(text) => wallet_changes::insert(tx, account, text).map(|()| None),
                None => Ok(None),
            }
        })?;
        match other {
            Some((name, held, value)) => Err(conflict(contract, name, &held, value)),
            None => Ok(()),
        }
    }

    /// The events of `contract`, in the order in which they were stored.
    pub fn entries(&self, contract: &[u8; 32]) -> Result<Vec<Entry>> {
        self.entries_after(contract, 0, usize::MAX)
    }

    /// The contracts that have events, in the order of their first one.
    pub fn contracts(&self) -> Result<Vec<[u8; 32]>> {
        let read = || {
            let mut select = self.db.prepare_cached(
                "SELECT contract FROM events GROUP BY contract ORDER BY min(seq)",
            )?;
            let rows = select.query_map([], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|e| fault(&self.name, &e))
    }

    /// Binds `name` within `scope` to `value`, durably, before it returns. The same value again
    /// changes nothing; another value is refused, and the first one stays.
    pub fn remember(&mut self, scope: &[u8; 32], name: &str, value: &[u8]) -> Result<()> {
        match self.write(|tx| bind(tx, scope, name, value))? {
            Some(held) if held != value => Err(conflict(scope, name, &held, value)),
            _ => Ok(()),
        }
    }

    /// The value that `name` is bound to within `scope`.
    pub fn recall(&self, scope: &[u8; 32], name: &str) -> Result<Option<Vec<u8>>> {
        recall(&self.db, scope, name).map_err(|e| fault(&self.name, &e))
    }
}

/// Binds a name that is not bound yet; answers with the value that it was bound to before.
fn bind(
    tx: &Transaction<'_>,
    scope: &[u8; 32],
    name: &str,
    value: &[u8],
) -> rusqlite::Result<Option<Vec<u8>>> {
    let fresh = tx.execute(
        "INSERT INTO memory (scope, name, value) VALUES (?1, ?2, ?3)
         ON CONFLICT (scope, name) DO NOTHING",
        params![scope, name, value],
    )?;
    if fresh == 1 { Ok(None) } else { recall(tx, scope, name) }
}

fn conflict(scope: &[u8; 32], name: &str, held: &[u8], value: &[u8]) -> Error {
    let place = format!("{name} of {}", hex(scope));
    MEMORY_CONFLICT.refuses(Culprit::Sender, place, hex(held), hex(value))
}

fn recall(db: &Connection, scope: &[u8; 32], name: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    db.prepare_cached("SELECT value FROM memory WHERE scope = ?1 AND name = ?2")?
        .query_row(params![scope, name], |row| row.get(0))
        .optional()
}

fn hex(bytes: &[u8]) -> String {
    bitcoin::hex::DisplayHex::to_lower_hex_string(bytes)
}

/// Makes the file for its owner alone before SQLite sees it; the log beside it takes over the mode.
fn keep_private(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.metadata()?.permissions().mode();
        if mode & 0o077 != 0 {
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        }
    }
    drop(file);
    Ok(())
}

/// Which rule a failure of SQLite breaks.
pub(super) fn fault(name: &str, error: &rusqlite::Error) -> Error {
    let rule = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => BUSY,
        Some(ErrorCode::DiskFull) => FULL,
        Some(ErrorCode::NotADatabase) => NOT_A_STORE,
        Some(ErrorCode::DatabaseCorrupt) => DAMAGED,
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => WRITABLE,
        Some(ErrorCode::ConstraintViolation) => APPEND_ONLY,
        // A column of another type than the schema's, a row that cannot be read.
        None => DAMAGED,
        Some(_) => DISK,
    };
    let expected = match rule {
        BUSY => "the write lock within 2 s",
        FULL => "room for the step",
        NOT_A_STORE => "an SQLite file",
        WRITABLE => "a writable file",
        APPEND_ONLY => "a new row that fits the schema",
        _ => "an answer without error",
    };
    rule.unstored(name, expected, error)
}
