//! What blocks held when we looked last, for the report of what a reorg took away.

use std::collections::BTreeMap;

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{Transaction, Txid};
use rusqlite::params;

use super::sqlite::{DAMAGED, Store, fault};
use crate::error::Result;
use crate::facts::Seen;

impl Store {
    /// The transactions of `contract` that blocks held when [`Store::note_seen`] was called last.
    pub fn seen(&self, contract: &[u8; 32]) -> Result<BTreeMap<Txid, Seen>> {
        let read = || -> rusqlite::Result<Vec<([u8; 32], u32, Vec<u8>)>> {
            let mut select =
                self.db.prepare_cached("SELECT txid, height, tx FROM seen WHERE contract = ?1")?;
            let rows = select
                .query_map(params![contract], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect()
        };
        let rows = read().map_err(|e| fault(&self.name, &e))?;
        rows.into_iter()
            .map(|(txid, height, bytes)| {
                let txid = Txid::from_byte_array(txid);
                let tx = deserialize::<Transaction>(&bytes).ok();
                match tx.filter(|tx| tx.compute_txid() == txid) {
                    Some(tx) => Ok((txid, Seen { tx, height: Some(height) })),
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
        came: &BTreeMap<Txid, &Seen>,
        gone: &[Txid],
    ) -> Result<()> {
        self.write(|tx| {
            let mut forget =
                tx.prepare_cached("DELETE FROM seen WHERE contract = ?1 AND txid = ?2")?;
            for txid in gone {
                forget.execute(params![contract, txid.to_byte_array()])?;
            }
            let mut note = tx.prepare_cached(
                "INSERT INTO seen (contract, txid, height, tx) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (contract, txid) DO UPDATE SET height = excluded.height",
            )?;
            for (txid, seen) in came {
                let bytes = serialize(&seen.tx);
                note.execute(params![contract, txid.to_byte_array(), seen.height, bytes])?;
            }
            Ok(())
        })
    }
}
