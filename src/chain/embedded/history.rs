//! What a script has been paid and has spent, as the Electrum protocol tells it: the chain's part
//! in the order of the chain, then the mempool's.

use std::fmt::Write as _;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::{OutPoint, Transaction, Txid};
use serde_json::{Value, json};

use super::index::ScriptHash;
use super::regtest::Regtest;

/// Every transaction that touches the script.
pub(super) fn history(chain: &Regtest, script: &ScriptHash) -> Value {
    let settled =
        confirmed(chain, script).map(|(height, txid)| json!({ "height": height, "tx_hash": txid }));
    settled.chain(waiting(chain, script).iter().map(Waiting::to_value)).collect()
}

/// Those that wait.
pub(super) fn mempool(chain: &Regtest, script: &ScriptHash) -> Value {
    waiting(chain, script).iter().map(Waiting::to_value).collect()
}

/// The outputs that nobody spends, in a block or waiting.
pub(super) fn unspent(chain: &Regtest, script: &ScriptHash) -> Value {
    let unspent = coins(chain, script).into_iter().filter(|coin| !coin.spent);
    unspent
        .map(|coin| {
            json!({
                "height": coin.height,
                "tx_hash": coin.outpoint.txid,
                "tx_pos": coin.outpoint.vout,
                "value": coin.sat,
            })
        })
        .collect()
}

/// Satoshis on the chain, and by how many the mempool would change them.
pub(super) fn balance(chain: &Regtest, script: &ScriptHash) -> Value {
    let coins = coins(chain, script);
    let sum = |counts: &dyn Fn(&&Held) -> bool| -> i64 {
        // A regtest chain holds less than 2^53 satoshis.
        coins.iter().filter(counts).map(|coin| coin.sat.cast_signed()).sum()
    };
    let settled = sum(&|coin| coin.height > 0);
    let all = sum(&|coin| !coin.spent);
    json!({ "confirmed": settled, "unconfirmed": all - settled })
}

fn confirmed(chain: &Regtest, script: &ScriptHash) -> impl Iterator<Item = (u32, Txid)> {
    chain.index.history(script).iter().map(|((height, _), txid)| (*height, *txid))
}

/// A line of a script's history that waits in the mempool.
struct Waiting {
    /// 0, or -1 if one of its parents waits too.
    height: i32,
    txid: Txid,
    fee: u64,
}

impl Waiting {
    fn to_value(&self) -> Value {
        json!({ "height": self.height, "tx_hash": self.txid, "fee": self.fee })
    }
}

/// Those that have only confirmed parents first, then by id: any order that all servers share
/// will do, for the status is a hash of it.
fn waiting(chain: &Regtest, script: &ScriptHash) -> Vec<Waiting> {
    let touching = chain.mempool.iter().filter(|(_, entry)| entry.scripts.contains(script));
    let mut lines: Vec<Waiting> = touching
        .map(|(txid, entry)| Waiting {
            height: if chain.mempool.parents(&entry.tx).next().is_some() { -1 } else { 0 },
            txid,
            fee: entry.fee.to_sat(),
        })
        .collect();
    lines.sort_unstable_by_key(|line| (-line.height, line.txid));
    lines
}

/// SHA-256 of the history as `txid:height:` for each line; null if there is none.
pub(super) fn status(chain: &Regtest, script: &ScriptHash) -> Value {
    let mut text = String::new();
    for (height, txid) in confirmed(chain, script) {
        let _ = write!(text, "{txid}:{height}:");
    }
    for line in waiting(chain, script) {
        let _ = write!(text, "{}:{}:", line.txid, line.height);
    }
    if text.is_empty() { Value::Null } else { json!(sha256::Hash::hash(text.as_bytes())) }
}

/// An output that pays a script.
struct Held {
    /// Height of its block; 0 while it waits.
    height: u32,
    outpoint: OutPoint,
    sat: u64,
    /// Spent by a transaction that waits.
    spent: bool,
}

/// What pays `script` and is unspent on the chain.
fn coins(chain: &Regtest, script: &ScriptHash) -> Vec<Held> {
    let on_chain = confirmed(chain, script)
        .filter_map(|(height, txid)| Some((height, txid, chain.index.transaction(txid)?)));
    let waiting = chain
        .mempool
        .iter()
        .filter(|(_, entry)| entry.scripts.contains(script))
        .map(|(txid, entry)| (0, txid, &entry.tx));
    let mut held = Vec::new();
    for (height, txid, tx) in on_chain.chain(waiting) {
        let tx: &Transaction = tx;
        for (vout, out) in (0u32..).zip(&tx.output) {
            let outpoint = OutPoint::new(txid, vout);
            if ScriptHash::of(&out.script_pubkey) == *script && !chain.index.is_spent(outpoint) {
                let spent = chain.mempool.spender(outpoint).is_some();
                held.push(Held { height, outpoint, sat: out.value.to_sat(), spent });
            }
        }
    }
    held
}
