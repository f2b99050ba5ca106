//! What a validator binds himself to, and the words in which he and the others say so. The story is
//! told in [`journal`](crate::flow::journal).

use bitcoin::secp256k1::schnorr;
use bitcoin::{BlockHash, OutPoint, Txid};
use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::error::Result;
use crate::flow::escrow::txs::Outcome;
use crate::id::{TermsId, WordId, tagged_hash};

/// What a validator binds himself to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Bond {
    /// A ruling.
    Ruling {
        /// The dispute that it rules on.
        opening: WordId,
        /// The escrow output that it spends.
        outpoint: OutPoint,
        /// What is ruled.
        outcome: Outcome,
        /// The transaction.
        txid: Txid,
    },
    /// A sweep of rewards.
    Sweep {
        /// The request that it answers.
        ask: WordId,
        /// The transaction.
        txid: Txid,
    },
    /// A resale, signed in the miner's place.
    Resale {
        /// The request that it answers.
        ask: WordId,
        /// The escrow output that it spends.
        outpoint: OutPoint,
        /// What the miner is paid by.
        outcome: Outcome,
        /// The transaction.
        txid: Txid,
    },
}

impl Bond {
    /// The escrow output that it signs away to a buyer, and in which transaction.
    pub(super) fn sold(&self) -> Option<(OutPoint, Txid)> {
        match self {
            Self::Resale { outpoint, txid, .. } => Some((*outpoint, *txid)),
            Self::Ruling { .. } | Self::Sweep { .. } => None,
        }
    }

    /// The outcome that it says, where it says one.
    pub(super) fn outcome(&self) -> Option<&Outcome> {
        match self {
            Self::Ruling { outcome, .. } | Self::Resale { outcome, .. } => Some(outcome),
            Self::Sweep { .. } => None,
        }
    }

    /// The request, what of it was asked, and the transaction that answers it.
    pub(super) fn parts(&self) -> (WordId, Option<Outcome>, Txid) {
        match self {
            Self::Ruling { opening, outcome, txid, .. } => (*opening, Some(*outcome), *txid),
            Self::Sweep { ask, txid } => (*ask, None, *txid),
            Self::Resale { ask, outcome, txid, .. } => (*ask, Some(*outcome), *txid),
        }
    }
}

/// One entry of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its place in the journal (0-based).
    pub number: u32,
    /// Digest of the entry before; zeros for the first.
    pub previous: WordId,
    /// What the validator binds himself to.
    pub bond: Bond,
    /// BIP-340 signature of [`Entry::digest`] by the validator's communication key.
    pub signature: schnorr::Signature,
}

impl Entry {
    /// Names the entry by content, its signature left out: a tagged hash of contract, validator,
    /// number, previous digest and bond.
    pub fn digest(&self, contract: TermsId, validator: u8) -> Result<WordId> {
        digest(contract, validator, self.number, self.previous, &self.bond)
    }
}

/// What a validator signs to enter a bond (see [`Entry::digest`]).
pub fn digest(
    contract: TermsId,
    validator: u8,
    number: u32,
    previous: WordId,
    bond: &Bond,
) -> Result<WordId> {
    let said = canonical::bytes(&(contract, validator, number, previous, bond))?;
    Ok(WordId(tagged_hash("hashmix/journal/1", &[&said])))
}

/// Words about journals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// A validator binds himself, and asks who holds it.
    Entered {
        /// The entry.
        entry: Entry,
        /// His tip: who asks again at a later one gets another answer.
        tip: BlockHash,
    },
    /// Another validator shows what he holds.
    Witnessed {
        /// Whose journal it is.
        validator: u8,
        /// Digest of the entry that was asked about.
        claim: WordId,
        /// The tip at which it was asked.
        tip: BlockHash,
        /// What the witness holds from that entry's number on.
        entries: Vec<Entry>,
    },
    /// A validator takes over what the others hold of his journal.
    Restored {
        /// The entries, from the first that differs on.
        entries: Vec<Entry>,
        /// Digests of what he entered instead, which nobody held and nothing was signed by.
        dropped: Vec<WordId>,
    },
}
