//! The wallet's part of the file: change sets in, one merged change set out.

use bdk_wallet::chain::Merge;
use bdk_wallet::{ChangeSet, WalletPersister};
use rusqlite::{Transaction, params};

use super::sqlite::{Store, fault};
use crate::error::{Error, Result, Rule};

/// A stored change set can be read.
pub const CHANGES: Rule = Rule::new(
    "store-wallet-changes",
    "each change set of the wallet is the JSON that this or an older version wrote",
    "restore the store from a backup, or the wallet from its seed",
);
/// A file holds one wallet for an account.
pub const WALLET_IDENTITY: Rule = Rule::new(
    "store-wallet-identity",
    "descriptors and network of a stored wallet never change",
    "give each wallet a store of its own",
);

/// Above this many rows, loading folds a wallet's change sets into one.
pub(super) const FOLD_ABOVE: usize = 256;

impl Store {
    /// The wallet's change sets merged into one; `None` before the first.
    pub fn wallet_changes(&self) -> Result<Option<ChangeSet>> {
        Ok(self.merged()?.map(|(changes, _)| changes))
    }

    /// The merged change set and the number of rows it came from.
    fn merged(&self) -> Result<Option<(ChangeSet, usize)>> {
        let mut merged: Option<(ChangeSet, usize)> = None;
        for (seq, text) in self.rows()? {
            let place = || format!("{}, wallet change set {seq}", self.name);
            let changes: ChangeSet = serde_json::from_str(&text)
                .map_err(|e| CHANGES.unstored(place(), "a change set of bdk_wallet", e))?;
            match &mut merged {
                None => merged = Some((changes, 1)),
                Some((before, rows)) => {
                    agree(before, &changes).map_err(|e| e.within(place()))?;
                    before.merge(changes);
                    *rows = rows.saturating_add(1);
                }
            }
        }
        Ok(merged)
    }

    fn rows(&self) -> Result<Vec<(i64, String)>> {
        let read = || {
            let mut select = self.db.prepare_cached(
                "SELECT seq, changes FROM wallet_changes WHERE account = ?1 ORDER BY seq",
            )?;
            let rows = select.query_map(params![self.account], |r| Ok((r.get(0)?, r.get(1)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|e| fault(&self.name, &e))
    }

    /// What is to be stored of `changes`: nothing if they are empty; refused if they are another
    /// wallet's, for merging them would mix the two.
    pub(super) fn changes_as_text(&self, changes: &ChangeSet) -> Result<Option<String>> {
        if changes.is_empty() {
            return Ok(None);
        }
        let names_wallet = changes.descriptor.is_some()
            || changes.change_descriptor.is_some()
            || changes.network.is_some();
        let held = if names_wallet { self.wallet_changes()? } else { None };
        if let Some(held) = held {
            agree(&held, changes).map_err(|e| e.within(&self.name))?;
        }
        serde_json::to_string(changes)
            .map(Some)
            .map_err(|e| CHANGES.broken(&self.name, "a change set that JSON can express", e))
    }

    /// Replaces an account's many rows by their sum, in one transaction.
    fn fold(&mut self, sum: &ChangeSet, rows: usize) -> Result<()> {
        let account = self.account;
        let text = serde_json::to_string(sum)
            .map_err(|e| CHANGES.broken(&self.name, "a change set that JSON can express", e))?;
        self.write(|tx| {
            let count: i64 = tx.query_row(
                "SELECT count(*) FROM wallet_changes WHERE account = ?1",
                params![account],
                |row| row.get(0),
            )?;
            // Another process may have added a row since they were read: then leave it to later.
            if usize::try_from(count) == Ok(rows) {
                tx.execute("DELETE FROM wallet_changes WHERE account = ?1", params![account])?;
                insert(tx, account, &text)?;
            }
            Ok(())
        })
    }
}

pub(super) fn insert(tx: &Transaction<'_>, account: u32, text: &str) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT INTO wallet_changes (account, changes) VALUES (?1, ?2)")?
        .execute(params![account, text])?;
    Ok(())
}

/// Whether `new` belongs to the wallet that `held` describes.
fn agree(held: &ChangeSet, new: &ChangeSet) -> Result<()> {
    let differs = |what: &str, held: Option<String>, new: Option<String>| match (held, new) {
        (Some(held), Some(new)) if held != new => Err(WALLET_IDENTITY.unstored(what, held, new)),
        _ => Ok(()),
    };
    let text = |d: &Option<bdk_wallet::descriptor::ExtendedDescriptor>| {
        d.as_ref().map(ToString::to_string)
    };
    differs("network", held.network.map(|n| n.to_string()), new.network.map(|n| n.to_string()))?;
    differs("descriptor", text(&held.descriptor), text(&new.descriptor))?;
    differs("change descriptor", text(&held.change_descriptor), text(&new.change_descriptor))
}

impl WalletPersister for Store {
    type Error = Error;

    fn initialize(store: &mut Self) -> Result<ChangeSet> {
        let Some((changes, rows)) = store.merged()? else { return Ok(ChangeSet::default()) };
        if rows > FOLD_ABOVE {
            store.fold(&changes, rows)?;
        }
        Ok(changes)
    }

    fn persist(store: &mut Self, changes: &ChangeSet) -> Result<()> {
        let account = store.account;
        match store.changes_as_text(changes)? {
            Some(text) => store.write(|tx| insert(tx, account, &text)),
            None => Ok(()),
        }
    }
}
