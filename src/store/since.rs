//! What came since: a part of the events, and how many names are bound.

use rusqlite::params;

use super::sqlite::{Entry, Store, fault};
use crate::error::Result;

impl Store {
    /// The events of `contract` stored after number `after`, oldest first, `most` of them at most.
    pub fn entries_after(
        &self,
        contract: &[u8; 32],
        after: u64,
        most: usize,
    ) -> Result<Vec<Entry>> {
        // SQLite counts in 63 bits; nothing lies beyond.
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let most = signed(u64::try_from(most).unwrap_or(u64::MAX));
        let read = || {
            let mut select = self.db.prepare_cached(
                "SELECT seq, kind, body FROM events WHERE contract = ?1 AND seq > ?2
                 ORDER BY seq LIMIT ?3",
            )?;
            let rows = select.query_map(params![contract, signed(after), most], |row| {
                Ok(Entry {
                    // AUTOINCREMENT counts up from 1.
                    seq: row.get::<_, i64>(0)?.unsigned_abs(),
                    contract: *contract,
                    kind: row.get(1)?,
                    body: row.get(2)?,
                })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|e| fault(&self.name, &e))
    }

    /// Number of the last event of `contract`; 0 if it has none.
    pub fn last_entry(&self, contract: &[u8; 32]) -> Result<u64> {
        let sql = "SELECT coalesce(max(seq), 0) FROM events WHERE contract = ?1";
        let read = || {
            self.db.prepare_cached(sql)?.query_row(params![contract], |row| row.get::<_, i64>(0))
        };
        read().map(i64::unsigned_abs).map_err(|e| fault(&self.name, &e))
    }

    /// How many names are bound within `scope`.
    pub fn bound(&self, scope: &[u8; 32]) -> Result<u64> {
        let sql = "SELECT count(*) FROM memory WHERE scope = ?1";
        let read =
            || self.db.prepare_cached(sql)?.query_row(params![scope], |row| row.get::<_, i64>(0));
        read().map(i64::unsigned_abs).map_err(|e| fault(&self.name, &e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_after_a_number_are_those_of_the_contract_in_their_order() {
        let mut store = Store::open_in_memory().unwrap();
        assert_eq!(store.last_entry(&[1; 32]).unwrap(), 0);
        for body in 0..3u8 {
            store.append(&[1; 32], &[("word", vec![body])], None).unwrap();
            store.append(&[2; 32], &[("word", vec![9])], None).unwrap();
        }
        let all = store.entries(&[1; 32]).unwrap();
        assert_eq!(store.entries_after(&[1; 32], 0, 9).unwrap(), all);
        assert_eq!(store.entries_after(&[1; 32], all[0].seq, 9).unwrap(), all[1..]);
        assert_eq!(store.entries_after(&[1; 32], all[0].seq, 1).unwrap(), all[1..2]);
        assert_eq!(store.entries_after(&[1; 32], u64::MAX, usize::MAX).unwrap(), []);
        assert_eq!(store.last_entry(&[1; 32]).unwrap(), all[2].seq);
    }

    #[test]
    fn bound_names_are_counted_within_their_scope() {
        let mut store = Store::open_in_memory().unwrap();
        for name in ["a", "b", "a"] {
            store.remember(&[1; 32], name, b"value").unwrap();
        }
        store.remember(&[2; 32], "a", b"other").unwrap();
        assert_eq!([1, 2, 3].map(|scope| store.bound(&[scope; 32]).unwrap()), [2, 1, 0]);
    }
}
