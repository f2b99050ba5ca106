//! Shares and certificates on the disk: a row for each flush of a slice, jobs once for all.
//!
//! The bytes of jobs and rows are whatever the gateway makes of them; the store gives jobs their
//! numbers and sees to it that what is sealed stays.

use std::collections::HashMap;

use rusqlite::{CachedStatement, OptionalExtension, Transaction, params};

use super::sqlite::{Store, fault};
use crate::error::Result;

/// A job: the name of its bytes, and they.
pub type JobRow = ([u8; 32], Vec<u8>);

/// Finds of a slice that no certificate lists: those of one flush, or all that are left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindsRow {
    /// The position, by id.
    pub position: [u8; 32],
    /// The slice (0-based).
    pub slice: u32,
    /// Finds that were not kept because the terms allow no more.
    pub dropped: u32,
    /// Finds that came when the slice was sealed.
    pub late: u32,
    /// The finds; they name jobs by number. Empty for none.
    pub finds: Vec<u8>,
}

/// What a certificate is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateName {
    /// The slice (0-based).
    pub slice: u32,
    /// Which certificate of the slice: 0 for the first.
    pub number: u32,
    /// The certificate's digest.
    pub digest: [u8; 32],
}

/// A certificate, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRow {
    /// The position, by id.
    pub position: [u8; 32],
    /// The slice (0-based).
    pub slice: u32,
    /// Which certificate of the slice: 0 for the first.
    pub number: u32,
    /// The certificate's digest.
    pub digest: [u8; 32],
    /// Its finds; they name jobs by number.
    pub finds: Vec<u8>,
}

impl Store {
    /// Adds what of `jobs` is new, and what `rows` makes of their numbers (in the order of the jobs):
    /// finds beside those that are there, counts in the place of earlier ones. In one transaction: all
    /// of it lies on the disk when this returns, or none of it does.
    pub fn keep_finds(
        &mut self,
        jobs: &[JobRow],
        rows: impl FnOnce(&[u32]) -> Vec<FindsRow>,
    ) -> Result<Vec<u32>> {
        self.write(|tx| {
            let numbers =
                jobs.iter().map(|job| number_job(tx, job)).collect::<Result<Vec<_>, _>>()?;
            let mut put = PutFinds::new(tx)?;
            for row in rows(&numbers) {
                put.row(&row)?;
            }
            Ok(numbers)
        })
    }

    /// Adds a certificate and puts `left`, what it does not list, in the place of the slice's finds, in
    /// one transaction. A certificate with this number that is there already stays, and refuses it.
    pub fn seal_finds(&mut self, sealed: &CertificateRow, left: &FindsRow) -> Result<()> {
        self.write(|tx| {
            let mut put = PutFinds::new(tx)?;
            let position = put.clear(left)?;
            put.row(left)?;
            tx.prepare_cached(
                "INSERT INTO certificates (position, slice, number, digest, finds)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                position,
                sealed.slice,
                sealed.number,
                sealed.digest,
                sealed.finds
            ])?;
            Ok(())
        })
    }

    /// The finds of a position that no certificate lists, by slice, as they were written; a slice that
    /// has none has a row with its counts.
    pub fn finds(&self, position: &[u8; 32]) -> Result<Vec<FindsRow>> {
        let read = || {
            let mut select = self.db.prepare_cached(
                "SELECT slices.slice, dropped, late, ifnull(finds, x'')
                 FROM slices LEFT JOIN finds ON finds.slice = slices.number
                 WHERE position = (SELECT number FROM positions WHERE position = ?1)
                 ORDER BY slices.slice, finds.rowid",
            )?;
            let rows = select.query_map([position], |row| {
                let (slice, dropped, late) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(FindsRow { position: *position, slice, dropped, late, finds: row.get(3)? })
            })?;
            rows.collect::<rusqlite::Result<_>>()
        };
        read().map_err(|e| fault(&self.name, &e))
    }

    /// What the certificates of a position are known by, by slice and number; what they list is not
    /// read.
    pub fn certificate_names(&self, position: &[u8; 32]) -> Result<Vec<CertificateName>> {
        let read = || {
            let mut select = self.db.prepare_cached(
                "SELECT slice, number, digest FROM certificates
                 WHERE position = (SELECT number FROM positions WHERE position = ?1)
                 ORDER BY slice, number",
            )?;
            let rows = select.query_map([position], |row| {
                let (slice, number, digest) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(CertificateName { slice, number, digest })
            })?;
            rows.collect::<rusqlite::Result<_>>()
        };
        read().map_err(|e| fault(&self.name, &e))
    }

    /// The certificates of a slice of a position, by number.
    pub fn certificates(&self, position: &[u8; 32], slice: u32) -> Result<Vec<CertificateRow>> {
        let read = || {
            let mut select = self.db.prepare_cached(
                "SELECT number, digest, finds FROM certificates
                 WHERE position = (SELECT number FROM positions WHERE position = ?1) AND slice = ?2
                 ORDER BY number",
            )?;
            let rows = select.query_map(params![position, slice], |row| {
                let (number, digest, finds) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(CertificateRow { position: *position, slice, number, digest, finds })
            })?;
            rows.collect::<rusqlite::Result<_>>()
        };
        read().map_err(|e| fault(&self.name, &e))
    }

    /// The bytes of the job with this number.
    pub fn job(&self, number: u32) -> Result<Option<Vec<u8>>> {
        let read = || {
            let mut select = self.db.prepare_cached("SELECT job FROM jobs WHERE number = ?1")?;
            select.query_row([number], |row| row.get(0)).optional()
        };
        read().map_err(|e| fault(&self.name, &e))
    }
}

/// The number of a job, given to it now if it is new.
fn number_job(tx: &Transaction<'_>, (digest, job): &JobRow) -> rusqlite::Result<u32> {
    tx.prepare_cached(
        "INSERT INTO jobs (digest, job) VALUES (?1, ?2) ON CONFLICT (digest) DO NOTHING",
    )?
    .execute(params![digest, job])?;
    tx.prepare_cached("SELECT number FROM jobs WHERE digest = ?1")?
        .query_row([digest], |row| row.get(0))
}

/// Puts rows of finds, one after the other, with statements that are prepared once.
struct PutFinds<'a> {
    tx: &'a Transaction<'a>,
    find: CachedStatement<'a>,
    count: CachedStatement<'a>,
    add: CachedStatement<'a>,
    /// Numbers of positions, as far as they were needed.
    positions: HashMap<[u8; 32], i64>,
}

impl<'a> PutFinds<'a> {
    fn new(tx: &'a Transaction<'a>) -> rusqlite::Result<Self> {
        let find = tx.prepare_cached("SELECT number FROM positions WHERE position = ?1")?;
        let count = tx.prepare_cached(
            "INSERT INTO slices (position, slice, dropped, late) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (position, slice) DO UPDATE SET
             dropped = excluded.dropped, late = excluded.late
             RETURNING number",
        )?;
        let add = tx.prepare_cached("INSERT INTO finds (slice, finds) VALUES (?1, ?2)")?;
        Ok(Self { tx, find, count, add, positions: HashMap::new() })
    }

    /// Puts a row's counts in the place of those of its slice, and its finds beside the others.
    fn row(&mut self, row: &FindsRow) -> rusqlite::Result<()> {
        let position = self.number(&row.position)?;
        let counts = params![position, row.slice, row.dropped, row.late];
        let number: i64 = self.count.query_row(counts, |row| row.get(0))?;
        if !row.finds.is_empty() {
            self.add.execute(params![number, row.finds])?;
        }
        Ok(())
    }

    /// Takes away the finds of a row's slice; answers with the number of its position.
    fn clear(&mut self, row: &FindsRow) -> rusqlite::Result<i64> {
        let position = self.number(&row.position)?;
        self.tx.execute(
            "DELETE FROM finds
             WHERE slice = (SELECT number FROM slices WHERE position = ?1 AND slice = ?2)",
            params![position, row.slice],
        )?;
        Ok(position)
    }

    /// The number of a position, given to it now if it is new.
    fn number(&mut self, position: &[u8; 32]) -> rusqlite::Result<i64> {
        if let Some(number) = self.positions.get(position) {
            return Ok(*number);
        }
        let known = self.find.query_row([position], |row| row.get(0)).optional()?;
        let number = match known {
            Some(number) => number,
            None => {
                self.tx.execute("INSERT INTO positions (position) VALUES (?1)", [position])?;
                self.tx.last_insert_rowid()
            }
        };
        self.positions.insert(*position, number);
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    const ONE: [u8; 32] = [7; 32];
    const OTHER: [u8; 32] = [8; 32];

    fn job(number: u8) -> JobRow {
        ([number; 32], vec![number; 40])
    }

    fn row(position: [u8; 32], slice: u32, finds: &[u8]) -> FindsRow {
        FindsRow { position, slice, dropped: 1, late: 2, finds: finds.to_vec() }
    }

    fn sealed(position: [u8; 32], slice: u32, number: u32, finds: &[u8]) -> CertificateRow {
        CertificateRow { position, slice, number, digest: [9; 32], finds: finds.to_vec() }
    }

    #[test]
    fn a_job_is_stored_once_for_all_positions_and_keeps_its_number() {
        let mut store = Store::open_in_memory().unwrap();
        let first = store.keep_finds(&[job(1), job(2)], |numbers| {
            assert_eq!(numbers, [1, 2]);
            vec![row(ONE, 0, b"a"), row(OTHER, 5, b"b")]
        });
        assert_eq!(first.unwrap(), [1, 2]);
        let again = store.keep_finds(&[job(2), job(3), job(1)], |_| vec![row(ONE, 0, b"aa")]);
        assert_eq!(again.unwrap(), [2, 3, 1]);
        assert_eq!(store.job(3).unwrap(), Some(job(3).1));
        assert_eq!(store.job(4).unwrap(), None);
        assert_eq!(store.finds(&ONE).unwrap(), [row(ONE, 0, b"a"), row(ONE, 0, b"aa")]);
        assert_eq!(store.finds(&OTHER).unwrap(), [row(OTHER, 5, b"b")]);
        assert!(store.finds(&[9; 32]).unwrap().is_empty());
    }

    #[test]
    fn what_a_flush_writes_lies_beside_what_was_there_and_counts_replace_counts() {
        let mut store = Store::open_in_memory().unwrap();
        let counts = |dropped, late, finds| FindsRow { dropped, late, ..row(ONE, 0, finds) };
        for flush in [counts(0, 0, b"a"), counts(3, 0, b""), counts(3, 1, b"b")] {
            store.keep_finds(&[], |_| vec![flush]).unwrap();
        }
        assert_eq!(store.finds(&ONE).unwrap(), [counts(3, 1, b"a"), counts(3, 1, b"b")]);
    }

    #[test]
    fn what_is_sealed_leaves_its_rows_and_what_is_left_stays_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let mut store = Store::open(&path).unwrap();
        store.keep_finds(&[job(1)], |_| vec![row(ONE, 3, b"all"), row(ONE, 4, b"more")]).unwrap();
        store.keep_finds(&[], |_| vec![row(ONE, 3, b"and")]).unwrap();
        store.seal_finds(&sealed(ONE, 3, 0, b"al"), &row(ONE, 3, b"l")).unwrap();
        assert_eq!(store.finds(&ONE).unwrap(), [row(ONE, 3, b"l"), row(ONE, 4, b"more")]);
        store.seal_finds(&sealed(ONE, 3, 1, b"l"), &row(ONE, 3, b"")).unwrap();
        drop(store);
        let store = Store::open(&path).unwrap();
        assert_eq!(store.finds(&ONE).unwrap(), [row(ONE, 3, b""), row(ONE, 4, b"more")]);
        let both = [sealed(ONE, 3, 0, b"al"), sealed(ONE, 3, 1, b"l")];
        assert_eq!(store.certificates(&ONE, 3).unwrap(), both);
        assert!(store.certificates(&ONE, 4).unwrap().is_empty());
        assert!(store.certificates(&OTHER, 3).unwrap().is_empty());
        let names = both.map(|row| (row.slice, row.number, row.digest));
        let found = store.certificate_names(&ONE).unwrap();
        assert_eq!(found.iter().map(|n| (n.slice, n.number, n.digest)).collect::<Vec<_>>(), names);
        assert!(store.certificate_names(&OTHER).unwrap().is_empty());
    }

    #[test]
    fn what_is_sealed_is_never_changed_and_never_deleted() {
        let mut store = Store::open_in_memory().unwrap();
        store.keep_finds(&[job(1)], |_| vec![row(ONE, 3, b"all")]).unwrap();
        store.seal_finds(&sealed(ONE, 3, 0, b"all"), &row(ONE, 3, b"")).unwrap();
        let again = store.seal_finds(&sealed(ONE, 3, 0, b"other"), &row(ONE, 3, b"x"));
        assert_eq!(again.unwrap_err().rule(), "store-append-only");
        for sql in [
            "UPDATE certificates SET finds = x''",
            "UPDATE certificates SET slice = 4",
            "DELETE FROM certificates",
            "REPLACE INTO certificates SELECT position, slice, number, digest, x'' FROM certificates",
            "UPDATE jobs SET job = x''",
            "DELETE FROM jobs",
            "REPLACE INTO jobs SELECT number, digest, x'' FROM jobs",
            "UPDATE positions SET position = zeroblob(32)",
            "DELETE FROM positions",
        ] {
            let refused = store.write(|tx| tx.execute(sql, [])).unwrap_err();
            assert_eq!(refused.rule(), "store-append-only", "{sql}");
        }
        assert_eq!(store.certificates(&ONE, 3).unwrap(), [sealed(ONE, 3, 0, b"all")]);
        // The refused certificate took nothing out of the row either.
        assert_eq!(store.finds(&ONE).unwrap(), [row(ONE, 3, b"")]);
        assert_eq!(store.job(1).unwrap(), Some(job(1).1));
    }

    #[test]
    fn the_tables_of_version_4_load_for_ever_and_are_still_written_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(include_str!("../../fixtures/store/version_1.sql")).unwrap();
        drop(db);
        drop(Store::open(&path).unwrap());
        let db = Connection::open(&path).unwrap();
        db.execute_batch(include_str!("../../fixtures/store/version_4_certificates.sql")).unwrap();
        drop(db);
        let store = Store::open(&path).unwrap();
        let rows = |store: &Store| {
            (
                store.finds(&ONE).unwrap(),
                store.finds(&OTHER).unwrap(),
                store.certificates(&ONE, 3).unwrap(),
                [1, 2, 3].map(|number| store.job(number).unwrap()),
            )
        };
        let mut fresh = Store::open_in_memory().unwrap();
        fresh
            .keep_finds(&[job(1), job(2)], |_| vec![row(ONE, 3, b"all"), row(OTHER, 70_000, b"b")])
            .unwrap();
        fresh.seal_finds(&sealed(ONE, 3, 0, b"al"), &row(ONE, 3, b"l")).unwrap();
        assert_eq!(rows(&store), rows(&fresh));
        let version: i64 =
            store.db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, 4);
    }
}
