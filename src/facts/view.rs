//! What one node or server says of some outputs at one tip: the same few answers from each, so that
//! they can be held against each other before anything is signed.
//!
//! ```text
//!   Electrum server: histories of the contract's scripts --+
//!                                                          +--> View: tip, and for each outpoint
//!   Bitcoin Core: its own set of unspent outputs ----------+    what it holds, or nothing
//! ```
//! "Nothing" means the same in both: never heard of, or spent, be it by a transaction that waits in
//! the mempool. What a view says is believed of nobody alone; whoever signs compares two.

use std::collections::BTreeMap;

use bitcoin::{Amount, BlockHash, OutPoint, ScriptBuf, Txid};

use super::Facts;
use crate::error::{Result, Rule};

/// A source tells the hash of its tip.
pub const TIP: Rule = Rule::new(
    "chain-view-tip",
    "what is read of the chain has a header at its tip",
    "report this: a reading always ends with its own tip",
);

/// An output that is there to be spent, as one source describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoinView {
    /// What it holds, in satoshis.
    pub value: Amount,
    /// The script it pays.
    pub script: ScriptBuf,
    /// Height of its block; `None` while it waits in the mempool.
    pub height: Option<u32>,
    /// Whether a coinbase made it.
    pub coinbase: bool,
}

/// What one source says at one tip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The source by name, for people: `server tcp://host:port`, `node http://host:port`.
    pub place: String,
    /// Whether it is a node of our own, which validates; a server only repeats.
    pub node: bool,
    /// Height and hash of its last block.
    pub tip: (u32, BlockHash),
    /// What it says of each outpoint it was asked about; `None` if spent or unknown.
    pub coins: BTreeMap<OutPoint, Option<CoinView>>,
    /// The transactions in blocks that touch the contract's scripts, with their heights; `None` from
    /// a node, which keeps no histories.
    pub history: Option<BTreeMap<Txid, u32>>,
}

impl View {
    /// What the server at `place` says of `outpoints`, out of the facts it gave.
    pub fn of_server(place: String, facts: &Facts, outpoints: &[OutPoint]) -> Result<Self> {
        let height = facts.tip();
        let hash = facts.headers.hash(height).ok_or_else(|| {
            TIP.broken(&place, format_args!("a header at height {height}"), "none")
        })?;
        let coins = outpoints.iter().map(|outpoint| (*outpoint, unspent(facts, *outpoint)));
        let coins = coins.collect();
        Ok(Self { place, node: false, tip: (height, hash), coins, history: Some(history(facts)) })
    }
}

/// The transactions of `facts` that lie in blocks, with their heights.
pub fn history(facts: &Facts) -> BTreeMap<Txid, u32> {
    let seen = facts.transactions.iter();
    seen.filter_map(|(txid, seen)| Some((*txid, seen.height?))).collect()
}

fn unspent(facts: &Facts, outpoint: OutPoint) -> Option<CoinView> {
    let seen = facts.transactions.get(&outpoint.txid)?;
    let output = seen.tx.output.get(usize::try_from(outpoint.vout).ok()?)?;
    if facts.spender(outpoint).is_some() {
        return None;
    }
    Some(CoinView {
        value: output.value,
        script: output.script_pubkey.clone(),
        height: seen.height,
        coinbase: seen.tx.is_coinbase(),
    })
}
