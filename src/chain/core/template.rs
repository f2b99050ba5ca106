//! `getblocktemplate` (BIP 22, 23, 145): what Core offers to mine on, checked before work goes in.

use std::sync::Arc;

use bitcoin::block::Version;
use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::{Amount, BlockHash, CompactTarget, ScriptBuf, Target, Transaction, Txid, Wtxid};
use serde::Deserialize;

use crate::error::{Culprit, Error, Result, Rule};
use crate::work::template::BlockTemplate;

/// A template hangs together.
pub const TEMPLATE: Rule = Rule::new(
    "core-template",
    "a block template hangs together: transactions, parent, target, witness commitment",
    "do not mine on it; ask again, and update Bitcoin Core if it persists",
);

/// The only rule of the network that a miner must know to build a block and that we know (BIP 9:
/// `!` marks the ones he must know).
const KNOWN: &str = "!segwit";

/// A template that hangs together, and what is to be known beside it.
#[derive(Clone, Debug)]
pub struct Offer {
    /// What to build on; a full block's worth of transactions, so it is shared.
    pub template: Arc<BlockTemplate>,
    /// What each of its transactions pays (satoshis), in their order.
    pub fees: Vec<Amount>,
    /// The earliest time that the header may state (Unix seconds): BIP 113, on testnet4 BIP 94 too.
    pub earliest: u32,
    /// Names the offer, for the question whether there is a better one.
    pub name: Option<String>,
}

impl Offer {
    /// The template with a reward of at most `most` (satoshis): transactions are left out from the
    /// end, where those stand that pay least for their weight, and none before what it spends.
    pub fn at_most(&self, most: Amount) -> Arc<BlockTemplate> {
        if self.template.reward <= most {
            return self.template.clone();
        }
        let mut template = BlockTemplate::clone(&self.template);
        for fee in self.fees.iter().rev() {
            let Some(less) = template.reward.checked_sub(*fee) else { break };
            if template.reward <= most || template.transactions.pop().is_none() {
                break;
            }
            template.reward = less;
        }
        Arc::new(template)
    }
}

/// A template as Core sends it, as far as it matters to a miner.
#[derive(Deserialize)]
pub(super) struct Answer {
    version: i32,
    #[serde(default)]
    rules: Vec<String>,
    previousblockhash: BlockHash,
    transactions: Vec<Offered>,
    coinbasevalue: u64,
    target: String,
    mintime: u32,
    curtime: u32,
    bits: String,
    height: u32,
    default_witness_commitment: ScriptBuf,
    #[serde(default)]
    longpollid: Option<String>,
}

#[derive(Deserialize)]
struct Offered {
    data: String,
    txid: Txid,
    hash: Wtxid,
    fee: u64,
}

/// What Core says about the block that the template builds on.
#[derive(Deserialize)]
pub(super) struct Parent {
    hash: BlockHash,
    height: u32,
    mediantime: u32,
}

impl Answer {
    /// The block to build on.
    pub(super) fn parent(&self) -> BlockHash {
        self.previousblockhash
    }

    /// The template, if it hangs together.
    pub(super) fn checked(self, parent: &Parent) -> Result<Offer> {
        let unknown = |rule: &&String| rule.starts_with('!') && *rule != KNOWN;
        if let Some(rule) = self.rules.iter().find(unknown) {
            return Err(wrong("rules", "none that we do not know", rule));
        }
        if parent.hash != self.previousblockhash {
            return Err(wrong("parent", self.previousblockhash, parent.hash));
        }
        if parent.height.checked_add(1) != Some(self.height) {
            return Err(wrong("height", format_args!("one above {}", parent.height), self.height));
        }
        let earliest = self.mintime.max(parent.mediantime.saturating_add(1));
        if self.curtime < earliest {
            return Err(wrong("time", format_args!("at least {earliest}"), self.curtime));
        }
        let bits = CompactTarget::from_unprefixed_hex(&self.bits)
            .map_err(|e| wrong("bits", "eight hex digits", e))?;
        if format!("{:064x}", Target::from_compact(bits)) != self.target {
            return Err(wrong("target", format_args!("that of bits {}", self.bits), self.target));
        }
        let reward = Amount::from_sat(self.coinbasevalue);
        if reward > Amount::MAX_MONEY {
            return Err(wrong("coinbase", "at most 21 million coins", reward));
        }
        let template = BlockTemplate {
            version: Version::from_consensus(self.version),
            parent: self.previousblockhash,
            height: self.height,
            time: self.curtime,
            bits,
            reward,
            transactions: transactions(&self.transactions)?,
        };
        let ours = template.witness_commitment().script_pubkey;
        if ours != self.default_witness_commitment {
            let found = format!("{:x}", self.default_witness_commitment);
            return Err(wrong("witness commitment", format_args!("{ours:x}"), found));
        }
        let fees = self.transactions.iter().map(|offered| Amount::from_sat(offered.fee)).collect();
        let template = Arc::new(template);
        Ok(Offer { template, fees, earliest, name: self.longpollid })
    }
}

fn transactions(offered: &[Offered]) -> Result<Vec<Transaction>> {
    let mut transactions = Vec::with_capacity(offered.len());
    for (place, offered) in offered.iter().enumerate() {
        let place = format!("transaction {place}");
        let tx: Transaction =
            deserialize_hex(&offered.data).map_err(|e| wrong(&place, "a transaction", e))?;
        if tx.compute_txid() != offered.txid {
            return Err(wrong(&place, offered.txid, tx.compute_txid()));
        }
        if tx.compute_wtxid() != offered.hash {
            return Err(wrong(&place, offered.hash, tx.compute_wtxid()));
        }
        transactions.push(tx);
    }
    Ok(transactions)
}

fn wrong(
    place: impl core::fmt::Display,
    expected: impl core::fmt::Display,
    found: impl core::fmt::Display,
) -> Error {
    TEMPLATE.refuses(Culprit::Server, format_args!("template, {place}"), expected, found)
}
