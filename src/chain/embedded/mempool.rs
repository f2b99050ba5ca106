//! Transactions that wait for a block, in the order in which they came: so parents always stand
//! before their children, and the first to spend a coin keeps it.
//!
//! What is in here has been judged by Core on the present tip (see `kernel`); this file only keeps
//! the order and finds relatives.

use std::collections::{BTreeSet, HashMap, HashSet};

use bitcoin::{Amount, Block, OutPoint, Transaction, TxOut, Txid};

use super::index::ScriptHash;

/// A transaction that waits.
pub(super) struct Entry {
    pub(super) tx: Transaction,
    /// Inputs less outputs, in satoshis.
    pub(super) fee: Amount,
    /// The scripts that it pays and spends.
    pub(super) scripts: BTreeSet<ScriptHash>,
}

/// The transactions that wait.
#[derive(Default)]
pub(super) struct Mempool {
    order: Vec<Txid>,
    entries: HashMap<Txid, Entry>,
    spends: HashMap<OutPoint, Txid>,
}

impl Mempool {
    /// The ids, first come first.
    pub(super) fn txids(&self) -> &[Txid] {
        &self.order
    }

    /// The entries, first come first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Txid, &Entry)> {
        self.order.iter().filter_map(|txid| Some((*txid, self.entries.get(txid)?)))
    }

    /// The entry of a transaction.
    pub(super) fn get(&self, txid: Txid) -> Option<&Entry> {
        self.entries.get(&txid)
    }

    /// An output of a waiting transaction.
    pub(super) fn output(&self, outpoint: OutPoint) -> Option<&TxOut> {
        let entry = self.get(outpoint.txid)?;
        entry.tx.output.get(usize::try_from(outpoint.vout).ok()?)
    }

    /// The waiting transaction that spends `outpoint`.
    pub(super) fn spender(&self, outpoint: OutPoint) -> Option<Txid> {
        self.spends.get(&outpoint).copied()
    }

    /// The waiting parents of a transaction, once for each output spent.
    pub(super) fn parents(&self, tx: &Transaction) -> impl Iterator<Item = &Transaction> {
        tx.input.iter().filter_map(|input| Some(&self.get(input.previous_output.txid)?.tx))
    }

    /// Whether a waiting transaction spends one of this one's outputs.
    pub(super) fn has_child(&self, tx: &Transaction) -> bool {
        let txid = tx.compute_txid();
        let mut outpoints = (0u32..).zip(&tx.output).map(|(vout, _)| OutPoint::new(txid, vout));
        outpoints.any(|outpoint| self.spends.contains_key(&outpoint))
    }

    /// All waiting ancestors of a transaction, parents before children.
    pub(super) fn ancestors(&self, tx: &Transaction) -> Vec<&Transaction> {
        let mut found = HashSet::new();
        let mut ahead: Vec<&Transaction> = vec![tx];
        while let Some(tx) = ahead.pop() {
            for input in &tx.input {
                let parent = input.previous_output.txid;
                if let Some(entry) = self.entries.get(&parent)
                    && found.insert(parent)
                {
                    ahead.push(&entry.tx);
                }
            }
        }
        self.iter().filter(|(txid, _)| found.contains(txid)).map(|(_, entry)| &entry.tx).collect()
    }

    /// Adds a transaction behind all others.
    pub(super) fn push(&mut self, entry: Entry) {
        let txid = entry.tx.compute_txid();
        self.spends.extend(entry.tx.input.iter().map(|input| (input.previous_output, txid)));
        self.order.push(txid);
        self.entries.insert(txid, entry);
    }

    /// Drops what a new block on the tip has confirmed, and what it has made impossible.
    pub(super) fn settle(&mut self, block: &Block) {
        for tx in &block.txdata {
            let txid = tx.compute_txid();
            self.remove(txid);
            for input in &tx.input {
                if let Some(rival) = self.spender(input.previous_output) {
                    self.remove_with_descendants(rival);
                }
            }
        }
        self.order.retain(|txid| self.entries.contains_key(txid));
    }

    /// Empties the mempool into a list, first come first.
    pub(super) fn drain(&mut self) -> Vec<Transaction> {
        self.spends.clear();
        let order = std::mem::take(&mut self.order);
        order.iter().filter_map(|txid| Some(self.entries.remove(txid)?.tx)).collect()
    }

    fn remove(&mut self, txid: Txid) -> Option<Entry> {
        let entry = self.entries.remove(&txid)?;
        for input in &entry.tx.input {
            self.spends.remove(&input.previous_output);
        }
        Some(entry)
    }

    fn remove_with_descendants(&mut self, txid: Txid) {
        let mut ahead = vec![txid];
        while let Some(txid) = ahead.pop() {
            if let Some(entry) = self.remove(txid) {
                let outpoints = (0u32..).zip(&entry.tx.output).map(|(vout, _)| (txid, vout));
                ahead.extend(
                    outpoints.filter_map(|(txid, vout)| self.spender(OutPoint::new(txid, vout))),
                );
            }
        }
    }
}
