//! The methods of the Electrum protocol, version 1.4, as electrs answers them.

use std::collections::BTreeMap;

use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::hashes::sha256d;
use bitcoin::{Transaction, Txid};
use serde_json::{Value, json};

use super::history;
use super::index::{ScriptHash, merkle_branch};
use super::regtest::{Origin, Regtest};
use super::rpc::{Answer, Fault, nth, nth_or};
use super::server::Watch;

/// What the server calls itself.
const SOFTWARE: &str = concat!("hashmix-embedded/", env!("CARGO_PKG_VERSION"));
/// The protocol's version that it speaks.
const PROTOCOL: &str = "1.4";
/// Most headers in one answer.
const MOST_HEADERS: u32 = 2_016;

/// Calls one method.
pub(super) fn call(
    chain: &mut Regtest,
    watch: &mut Watch,
    method: &str,
    params: &[Value],
) -> Answer {
    match method {
        "server.version" => version(params),
        "server.banner" => Ok(json!("An embedded regtest node on Bitcoin Core's validation")),
        "server.donation_address" | "server.ping" => Ok(Value::Null),
        "server.peers.subscribe" => Ok(json!([])),
        "server.features" => Ok(json!({
            "genesis_hash": chain.index.hash_at(0).map(|hash| hash.to_string()),
            "hash_function": "sha256",
            "hosts": {},
            "protocol_max": PROTOCOL,
            "protocol_min": PROTOCOL,
            "pruning": null,
            "server_version": SOFTWARE,
        })),
        "blockchain.headers.subscribe" => {
            watch.tip = chain.index.hash_at(chain.index.height());
            Ok(tip(chain))
        }
        "blockchain.block.header" => header(chain, nth(params, 0)?, nth_or(params, 1, 0)?),
        "blockchain.block.headers" => headers(chain, nth(params, 0)?, nth(params, 1)?),
        "blockchain.scripthash.get_history" => Ok(history::history(chain, &script(params)?)),
        "blockchain.scripthash.get_mempool" => Ok(history::mempool(chain, &script(params)?)),
        "blockchain.scripthash.listunspent" => Ok(history::unspent(chain, &script(params)?)),
        "blockchain.scripthash.get_balance" => Ok(history::balance(chain, &script(params)?)),
        "blockchain.scripthash.subscribe" => {
            let script = script(params)?;
            let status = history::status(chain, &script);
            watch.scripts.insert(script, status.clone());
            Ok(status)
        }
        "blockchain.scripthash.unsubscribe" => {
            Ok(json!(watch.scripts.remove(&script(params)?).is_some()))
        }
        "blockchain.transaction.broadcast" => broadcast(chain, &nth::<String>(params, 0)?),
        "blockchain.transaction.get" => {
            let txid: Txid = nth(params, 0)?;
            if nth_or(params, 1, false)? {
                return Err(Fault::Unanswerable("verbose transactions are unsupported".into()));
            }
            let tx = chain.mempool.get(txid).map(|entry| &entry.tx);
            let tx = tx.or_else(|| chain.index.transaction(txid));
            tx.map(|tx| json!(serialize_hex(tx))).ok_or_else(|| {
                Fault::Refused("No such mempool or blockchain transaction".to_owned())
            })
        }
        "blockchain.transaction.get_merkle" => merkle(chain, nth(params, 0)?, nth(params, 1)?),
        "blockchain.transaction.id_from_pos" => {
            from_place(chain, nth(params, 0)?, nth(params, 1)?, nth_or(params, 2, false)?)
        }
        // Core knows no estimate on an idle chain either.
        "blockchain.estimatefee" => Ok(json!(-1)),
        "blockchain.relayfee" => Ok(json!(0.000_01)),
        "mempool.get_fee_histogram" => Ok(histogram(chain)),
        _ => Err(Fault::UnknownMethod),
    }
}

fn script(params: &[Value]) -> Result<ScriptHash, Fault> {
    nth::<String>(params, 0)?.parse().map_err(|_| Fault::Params)
}

/// A client states one version, or the lowest and highest he speaks.
fn version(params: &[Value]) -> Answer {
    let number = |text: &str| -> Option<Vec<u32>> {
        text.split('.').map(|part| part.parse().ok()).collect()
    };
    let (low, high) = match params.get(1) {
        None => (PROTOCOL, PROTOCOL),
        Some(Value::String(only)) => (only.as_str(), only.as_str()),
        Some(Value::Array(range)) => match range.as_slice() {
            [Value::String(low), Value::String(high)] => (low.as_str(), high.as_str()),
            _ => return Err(Fault::Params),
        },
        Some(_) => return Err(Fault::Params),
    };
    let (Some(low_number), Some(high_number)) = (number(low), number(high)) else {
        return Err(Fault::Params);
    };
    let ours = number(PROTOCOL).unwrap_or_default();
    if low_number <= ours && ours <= high_number {
        Ok(json!([SOFTWARE, PROTOCOL]))
    } else {
        let why = format!("unsupported protocol version: {low} to {high}, need {PROTOCOL}");
        Err(Fault::Unanswerable(why))
    }
}

/// Height and header of the tip.
pub(super) fn tip(chain: &Regtest) -> Value {
    let height = chain.index.height();
    json!({ "height": height, "hex": chain.index.header_at(height).map(|h| serialize_hex(&h)) })
}

fn no_block(height: u32) -> Fault {
    Fault::Unanswerable(format!("no block at height {height}"))
}

fn header(chain: &Regtest, height: u32, checkpoint: u32) -> Answer {
    let header = chain.index.header_at(height).ok_or_else(|| no_block(height))?;
    if checkpoint == 0 {
        return Ok(json!(serialize_hex(&header)));
    }
    if height > checkpoint || checkpoint > chain.index.height() {
        return Err(no_block(checkpoint));
    }
    let leaves = (0..=checkpoint).filter_map(|h| Some(chain.index.hash_at(h)?.to_raw_hash()));
    let (branch, root) = merkle_branch(leaves.collect(), height as usize);
    Ok(json!({ "header": serialize_hex(&header), "branch": hex(&branch), "root": root }))
}

fn headers(chain: &Regtest, first: u32, count: u32) -> Answer {
    let heights = (first..=chain.index.height()).take(count.min(MOST_HEADERS) as usize);
    let run: Vec<String> =
        heights.filter_map(|h| Some(serialize_hex(&chain.index.header_at(h)?))).collect();
    Ok(json!({ "count": run.len(), "hex": run.concat(), "max": MOST_HEADERS }))
}

fn broadcast(chain: &mut Regtest, hex: &str) -> Answer {
    let tx: Transaction = deserialize_hex(hex).map_err(|e| {
        Fault::Refused(format!("TX decode failed. Make sure the tx has at least one input. {e}"))
    })?;
    chain.admit(tx, Origin::Broadcast).map(|txid| json!(txid)).map_err(Fault::Refused)
}

/// The ids of a block's transactions, as leaves of its tree.
fn leaves(chain: &Regtest, height: u32) -> Result<Vec<sha256d::Hash>, Fault> {
    let block = chain.index.block_at(height).ok_or_else(|| no_block(height))?;
    Ok(block.txdata.iter().map(|tx| tx.compute_txid().to_raw_hash()).collect())
}

fn merkle(chain: &Regtest, txid: Txid, height: u32) -> Answer {
    let leaves = leaves(chain, height)?;
    let place = leaves
        .iter()
        .position(|leaf| *leaf == txid.to_raw_hash())
        .ok_or_else(|| Fault::Unanswerable(format!("tx {txid} not in block at height {height}")))?;
    let (branch, _) = merkle_branch(leaves, place);
    Ok(json!({ "block_height": height, "pos": place, "merkle": hex(&branch) }))
}

fn from_place(chain: &Regtest, height: u32, place: usize, with_branch: bool) -> Answer {
    let leaves = leaves(chain, height)?;
    let leaf = *leaves.get(place).ok_or_else(|| {
        Fault::Unanswerable(format!("no transaction {place} in the block at height {height}"))
    })?;
    if !with_branch {
        return Ok(json!(leaf));
    }
    let (branch, _) = merkle_branch(leaves, place);
    Ok(json!({ "tx_hash": leaf, "merkle": hex(&branch) }))
}

fn hex(branch: &[sha256d::Hash]) -> Vec<String> {
    branch.iter().map(ToString::to_string).collect()
}

/// Fee rates (whole sat/vB, highest first) with the virtual bytes that pay them.
fn histogram(chain: &Regtest) -> Value {
    let mut rates: BTreeMap<u64, u64> = BTreeMap::new();
    for (_, entry) in chain.mempool.iter() {
        let size = entry.tx.vsize() as u64;
        *rates.entry(entry.fee.to_sat() / size.max(1)).or_default() += size;
    }
    rates.into_iter().rev().map(|(rate, size)| json!([rate, size])).collect()
}
