//! What a party knows of the chain at one moment: headers, and the transactions that touch the
//! scripts he watches. "Confirmed" is never stored; facts are read again each time, so a reorg
//! needs no undo.

use std::collections::BTreeMap;

use bitcoin::{OutPoint, Script, Transaction, TxOut, Txid};

use crate::headers::Headers;

mod departure;
pub mod view;

pub use departure::{Departure, Fate, Mined, OMITTED, departures, refuse_omission};
pub use view::{CoinView, View, history};

/// Blocks that must lie on a coinbase before it can be spent, its own included.
pub const COINBASE_MATURITY: u32 = 100;

/// A transaction as the chain has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The whole transaction.
    pub tx: Transaction,
    /// Height of the block that holds it; `None` while it waits in the mempool.
    pub height: Option<u32>,
}

/// An output that pays a watched script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    /// Where it is.
    pub outpoint: OutPoint,
    /// What it holds (satoshis) and the script it pays.
    pub txout: TxOut,
    /// Height of its block; `None` while it waits in the mempool.
    pub height: Option<u32>,
    /// Whether a coinbase made it, so that it must mature.
    pub coinbase: bool,
    /// The transaction that spends it, in a block or in the mempool.
    pub spender: Option<Txid>,
}

impl Coin {
    /// Blocks on it at `tip`, its own included; 0 while unconfirmed.
    pub fn depth(&self, tip: u32) -> u32 {
        self.height.map_or(0, |h| tip.saturating_add(1).saturating_sub(h))
    }

    /// Whether a transaction spending it could enter the block after `tip`.
    pub fn is_mature(&self, tip: u32) -> bool {
        !self.coinbase || self.depth(tip) >= COINBASE_MATURITY
    }
}

/// The chain as one party sees it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Headers of the active chain, far enough back for the contract.
    pub headers: Headers,
    /// Every transaction that touches a watched script, by txid.
    pub transactions: BTreeMap<Txid, Seen>,
}

impl Facts {
    /// Height of the tip, in blocks.
    pub fn tip(&self) -> u32 {
        self.headers.tip()
    }

    /// The outputs that pay `script`, oldest first, those in the mempool last.
    pub fn coins(&self, script: &Script) -> Vec<Coin> {
        let mut coins: Vec<Coin> = self
            .transactions
            .iter()
            .flat_map(|(txid, seen)| {
                (0u32..).zip(&seen.tx.output).filter(|(_, out)| *out.script_pubkey == *script).map(
                    |(vout, out)| {
                        let outpoint = OutPoint::new(*txid, vout);
                        Coin {
                            outpoint,
                            txout: out.clone(),
                            height: seen.height,
                            coinbase: seen.tx.is_coinbase(),
                            spender: self.spender(outpoint),
                        }
                    },
                )
            })
            .collect();
        coins.sort_by_key(|c| (c.height.unwrap_or(u32::MAX), c.outpoint));
        coins
    }

    /// Whether `outpoint` is history: an output that we know, and that is spent. Words about it are
    /// kept and have no effect, so that whoever was away can read them later.
    pub fn is_history(&self, outpoint: OutPoint) -> bool {
        self.transactions.contains_key(&outpoint.txid) && self.spender(outpoint).is_some()
    }

    /// The transaction that spends `outpoint`, in a block or in the mempool.
    pub fn spender(&self, outpoint: OutPoint) -> Option<Txid> {
        self.transactions
            .iter()
            .find(|(_, seen)| seen.tx.input.iter().any(|i| i.previous_output == outpoint))
            .map(|(txid, _)| *txid)
    }
}
