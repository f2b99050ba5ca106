//! What blocks held when we looked last, for the report of what a reorg took away.

use std::collections::BTreeMap;

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Transaction, Txid};
use rusqlite::params;

use super::sqlite::{DAMAGED, Store, fault};
use crate::error::Result;
use crate::facts::Mined;

/// Txid, height, block hash, and the transaction's bytes.
type Row = ([u8; 32], u32, [u8; 32], Vec<u8>);

impl Store {
    /// The transactions of `contract` that blocks held when [`Store::note_seen`] was called last.
    pub fn seen(&self, contract: &[u8; 32]) -> Result<BTreeMap<Txid, Mined>> {
        let read = || -> rusqlite::Result<Vec<Row>> {
            let mut select = self
                .db
                .prepare_cached("SELECT txid, height, block, tx FROM seen WHERE contract = ?1")?;
            let rows = select.query_map(params![contract], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
            rows.collect()
        };
        let rows = read().map_err(|e| fault(&self.name, &e))?;
        rows.into_iter()
            .map(|(txid, height, block, bytes)| {
                let txid = Txid::from_byte_array(txid);
                let tx = deserialize::<Transaction>(&bytes).ok();
                match tx.filter(|tx| tx.compute_txid() == txid) {
                    Some(tx) => {
                        let block = BlockHash::from_byte_array(block);
                        Ok((txid, Mined { tx, height, block }))
                    }
                    None => Err(DAMAGED.unstored(
                        format_args!("{}, table seen", self.name),
                        format_args!("transaction {txid}"),
                        "something else",
                    )),
                }
            })
            .collect()
    }

    /// Adds to what is remembered as seen, puts what is in another block now there, and forgets
    /// what is gone, in one transaction.
    pub fn note_seen(
        &mut self,
        contract: &[u8; 32],
        came: &BTreeMap<Txid, Mined>,
        gone: &[Txid],
    ) -> Result<()> {
        self.write(|tx| {
            let mut forget =
                tx.prepare_cached("DELETE FROM seen WHERE contract = ?1 AND txid = ?2")?;
            for txid in gone {
                forget.execute(params![contract, txid.to_byte_array()])?;
            }
            let mut note = tx.prepare_cached(
                "INSERT INTO seen (contract, txid, height, block, tx) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (contract, txid)
                 DO UPDATE SET height = excluded.height, block = excluded.block",
            )?;
            for (txid, Mined { tx, height, block }) in came {
                let (txid, block) = (txid.to_byte_array(), block.to_byte_array());
                note.execute(params![contract, txid, height, block, serialize(tx)])?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use bitcoin::absolute::LockTime;
    use bitcoin::transaction::Version;
    use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, TxIn, TxOut, Witness};

    use super::*;

    const DEAL: [u8; 32] = [7; 32];
    const OTHER: [u8; 32] = [8; 32];

    /// A transaction that a block held at `height`.
    fn seen(parent: u8, sat: u64, height: u32, witness: &[[u8; 64]]) -> (Txid, Mined) {
        let tx = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::new(Txid::from_byte_array([parent; 32]), 1),
                script_sig: ScriptBuf::new(),
                sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
                witness: Witness::from_slice(witness),
            }],
            output: vec![TxOut {
                value: Amount::from_sat(sat),
                script_pubkey: ScriptBuf::from_bytes([vec![0x51, 0x20], vec![3; 32]].concat()),
            }],
        };
        let block = BlockHash::from_byte_array([0x44; 32]);
        (tx.compute_txid(), Mined { tx, height, block })
    }

    fn note(store: &mut Store, contract: &[u8; 32], came: &[(Txid, Mined)], gone: &[Txid]) {
        let came = came.iter().cloned().collect();
        store.note_seen(contract, &came, gone).unwrap();
    }

    #[test]
    fn what_was_seen_comes_back_after_a_restart_contract_by_contract() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let mut store = Store::open(&path).unwrap();
        let [first, second, third] =
            [seen(1, 5, 120, &[[9; 64]]), seen(2, 6, 0, &[]), seen(3, 7, 121, &[])];
        note(&mut store, &DEAL, &[first.clone(), second.clone()], &[]);
        // The same transaction may matter to two contracts.
        note(&mut store, &OTHER, &[second.clone(), third.clone()], &[]);
        drop(store);
        let store = Store::open(&path).unwrap();
        assert_eq!(store.seen(&DEAL).unwrap(), [first, second.clone()].into());
        assert_eq!(store.seen(&OTHER).unwrap(), [second, third].into());
        assert!(store.seen(&[9; 32]).unwrap().is_empty());
    }

    #[test]
    fn what_moved_has_its_new_height_and_what_is_gone_is_forgotten_in_its_contract_alone() {
        let mut store = Store::open_in_memory().unwrap();
        let all = [seen(1, 5, 120, &[[9; 64]]), seen(2, 6, 121, &[]), seen(3, 7, 122, &[])];
        for contract in [DEAL, OTHER] {
            note(&mut store, &contract, &all, &[]);
        }
        let block = BlockHash::from_byte_array([0x45; 32]);
        let moved = (all[0].0, Mined { height: 123, block, ..all[0].1.clone() });
        note(&mut store, &DEAL, from_ref(&moved), &[all[1].0]);
        assert_eq!(store.seen(&DEAL).unwrap(), [moved, all[2].clone()].into());
        assert_eq!(store.seen(&OTHER).unwrap(), all.clone().into());
        // To forget what was never seen changes nothing.
        note(&mut store, &DEAL, &[], &[all[1].0, Txid::all_zeros()]);
        assert_eq!(store.seen(&DEAL).unwrap().len(), 2);
    }

    #[test]
    fn what_comes_back_into_the_block_that_it_left_is_noted_in_one_call() {
        let mut store = Store::open_in_memory().unwrap();
        let one = seen(1, 5, 120, &[]);
        note(&mut store, &DEAL, from_ref(&one), &[]);
        note(&mut store, &DEAL, from_ref(&one), &[one.0]);
        assert_eq!(store.seen(&DEAL).unwrap(), [one].into());
    }

    #[test]
    fn a_damaged_row_is_refused_by_name() {
        let (txid, one) = seen(1, 5, 120, &[[9; 64]]);
        for damage in [
            "tx = zeroblob(60)",
            "tx = x''",
            "tx = CAST(tx || x'00' AS BLOB)",
            "tx = CAST(substr(tx, 1, 20) || x'5a' || substr(tx, 22) AS BLOB)",
            "txid = zeroblob(32)",
        ] {
            let mut store = Store::open_in_memory().unwrap();
            note(&mut store, &DEAL, &[(txid, one.clone())], &[]);
            note(&mut store, &OTHER, &[seen(2, 6, 121, &[])], &[]);
            let sql = format!("UPDATE seen SET {damage} WHERE contract = ?1");
            store.write(|tx| tx.execute(&sql, [DEAL])).unwrap();
            let error = store.seen(&DEAL).unwrap_err();
            assert_eq!((error.rule(), error.exit_code()), ("store-damaged", 7), "{damage}");
            assert!(error.fault().place.ends_with("table seen"), "{error}");
            assert_eq!(store.seen(&OTHER).unwrap().len(), 1, "{damage}");
        }
    }

    #[test]
    fn a_table_of_version_3_loads_for_ever_and_is_still_written_so() {
        let dump = |store: &Store| -> Vec<([u8; 32], Row)> {
            let sql = "SELECT contract, txid, height, block, tx FROM seen ORDER BY contract";
            let mut select = store.db.prepare(sql).unwrap();
            let row = |r: &rusqlite::Row<'_>| {
                Ok((r.get(0)?, (r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?)))
            };
            select.query_map([], row).unwrap().map(|row| row.unwrap()).collect()
        };
        let old = Store::open_in_memory().unwrap();
        old.db.execute_batch(include_str!("../../fixtures/store/version_3_seen.sql")).unwrap();
        let pinned =
            [(DEAL, seen(0x11, 5_000, 120, &[[9; 64]])), (OTHER, seen(0x12, 6_000, 0, &[]))];
        let mut new = Store::open_in_memory().unwrap();
        for (contract, one) in pinned {
            assert_eq!(old.seen(&contract).unwrap(), [one.clone()].into());
            note(&mut new, &contract, &[one], &[]);
        }
        assert_eq!(dump(&old), dump(&new));
    }
}
