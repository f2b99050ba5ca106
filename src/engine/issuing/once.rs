//! What a validator remembers of the issues that he has signed.
//!
//! One position, one issue, and one output for one issue. Where the one that he has signed can be in no
//! block any more he signs another, and remembers it beside the first: `issue`, `issue 2`, `issue 3`, and
//! in the same way each outpoint. He forgets nothing, so an old issue that a miner shows him again in
//! another dossier is refused by all of them.

use bitcoin::Txid;
use bitcoin::hashes::Hash;

use super::Issuing;
use crate::error::{Culprit, Result};
use crate::flow::position::state::ONCE;
use crate::flow::position::txs::PARENT_INPUT;
use crate::id::tagged_hash;
use crate::tx::draft::Draft;

/// A scope of the memory, and a name in it.
type Entry = ([u8; 32], String);

impl Issuing {
    /// Remembers that this issue is the one, for each position of it and each output that it spends.
    /// Refused where another one is remembered that is not dead.
    pub(super) fn remember_issue(&mut self, draft: &Draft) -> Result<()> {
        let txid = draft.txid();
        let mut names: Vec<Entry> = Vec::new();
        for one in self.state.batch(&self.terms) {
            names.push((one.id()?.0, "issue".to_owned()));
        }
        let fundings = tagged_hash("hashmix/fundings/1", &[]);
        // The parent of an inscription is nobody's funding: whoever comes after spends it again.
        let funding = draft.spends().iter().enumerate().filter(|(input, _)| *input != PARENT_INPUT);
        names.extend(funding.map(|(_, spend)| (fundings, spend.outpoint.to_string())));
        let free: Vec<Entry> =
            names.into_iter().map(|entry| self.free_entry(entry, txid)).collect::<Result<_>>()?;
        for (scope, name) in &free {
            self.store.remember(scope, name, txid.as_byte_array())?;
        }
        Ok(())
    }

    /// The entry under which an issue is remembered already, or the first one behind those of dead
    /// issues.
    fn free_entry(&self, (scope, name): Entry, txid: Txid) -> Result<Entry> {
        let mut entry = name.clone();
        for number in 2u32.. {
            let Some(held) = self.store.recall(&scope, &entry)? else { break };
            let next = format!("{name} {number}");
            if held == *txid.as_byte_array() && self.store.recall(&scope, &next)?.is_none() {
                break;
            }
            let held = Txid::from_slice(&held).ok();
            if !held.is_some_and(|held| self.state.dead().any(|dead| dead == held)) {
                let held = held.map_or("another".to_owned(), |held| held.to_string());
                return Err(ONCE.refuses(Culprit::Miner, entry, held, txid));
            }
            entry = next;
        }
        Ok((scope, entry))
    }
}
