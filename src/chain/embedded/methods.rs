//! The methods of the Electrum protocol, version 1.4, as electrs answers them.
//!
//! A request that is not understood gets an error and the connection stays. Codes are those of
//! JSON-RPC, 1 for a question that has no answer, 2 for what Core refuses (with Core's reason).

use std::fmt::Write as _;

use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::hashes::{Hash, sha256, sha256d};
use bitcoin::{OutPoint, Transaction, Txid};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::index::{ScriptHash, merkle_branch};
use super::regtest::{Fees, Regtest};
use super::server::Watch;

/// What the server calls itself.
const SOFTWARE: &str = concat!("hashmix-embedded/", env!("CARGO_PKG_VERSION"));
/// The protocol's version that it speaks.
const PROTOCOL: &str = "1.4";
/// Most headers in one answer.
const MOST_HEADERS: u32 = 2_016;

/// Why a request has no result.
pub(super) enum Fault {
    Unreadable,
    Malformed,
    UnknownMethod,
    Params,
    /// The question is clear and has no answer.
    Unanswerable(String),
    /// Core refuses.
    Refused(String),
}

impl Fault {
    fn to_value(&self) -> Value {
        let (code, message) = match self {
            Self::Unreadable => (-32_700, "parse error"),
            Self::Malformed => (-32_600, "invalid request"),
            Self::UnknownMethod => (-32_601, "method not found"),
            Self::Params => (-32_602, "invalid params"),
            Self::Unanswerable(why) => (1, why.as_str()),
            Self::Refused(reason) => (2, reason.as_str()),
        };
        json!({ "code": code, "message": message })
    }
}

type Answer = Result<Value, Fault>;

/// Answers one line: a request, or an array of requests.
pub(super) fn answer(line: &[u8], call: &mut dyn FnMut(&str, &[Value]) -> Answer) -> Option<Value> {
    match serde_json::from_slice(line) {
        Err(_) => Some(reply(Value::Null, Err(Fault::Unreadable))),
        Ok(Value::Array(requests)) if requests.is_empty() => {
            Some(reply(Value::Null, Err(Fault::Malformed)))
        }
        Ok(Value::Array(requests)) => {
            let replies: Vec<Value> =
                requests.iter().filter_map(|request| one(request, call)).collect();
            Some(Value::Array(replies)).filter(|_| !requests.is_empty())
        }
        Ok(request) => one(&request, call),
    }
}

fn one(request: &Value, call: &mut dyn FnMut(&str, &[Value]) -> Answer) -> Option<Value> {
    let id = request.get("id").cloned().unwrap_or(Value::Null);
    let result = match (request.get("method"), request.get("params")) {
        (Some(Value::String(method)), None | Some(Value::Null)) => call(method, &[]),
        (Some(Value::String(method)), Some(Value::Array(params))) => call(method, params),
        (Some(Value::String(_)), Some(_)) => Err(Fault::Params),
        _ => Err(Fault::Malformed),
    };
    Some(reply(id, result))
}

fn reply(id: Value, result: Answer) -> Value {
    match result {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(fault) => json!({ "jsonrpc": "2.0", "id": id, "error": fault.to_value() }),
    }
}

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
        "blockchain.scripthash.get_history" => {
            let script = script(params)?;
            let mut all: Vec<Value> = confirmed(chain, &script)
                .map(|(height, txid)| json!({ "height": height, "tx_hash": txid }))
                .collect();
            all.extend(waiting(chain, &script).iter().map(Waiting::to_value));
            Ok(Value::Array(all))
        }
        "blockchain.scripthash.get_mempool" => {
            Ok(waiting(chain, &script(params)?).iter().map(Waiting::to_value).collect())
        }
        "blockchain.scripthash.listunspent" => {
            let unspent = coins(chain, &script(params)?).into_iter().filter(|coin| !coin.spent);
            Ok(unspent
                .map(|coin| {
                    json!({
                        "height": coin.height,
                        "tx_hash": coin.outpoint.txid,
                        "tx_pos": coin.outpoint.vout,
                        "value": coin.sat,
                    })
                })
                .collect())
        }
        "blockchain.scripthash.get_balance" => {
            let coins = coins(chain, &script(params)?);
            let sum = |counts: &dyn Fn(&&Held) -> bool| -> i64 {
                // A regtest chain holds less than 2^53 satoshis.
                coins.iter().filter(counts).map(|coin| coin.sat.cast_signed()).sum()
            };
            let settled = sum(&|coin| coin.height > 0);
            let all = sum(&|coin| !coin.spent);
            Ok(json!({ "confirmed": settled, "unconfirmed": all - settled }))
        }
        "blockchain.scripthash.subscribe" => {
            let script = script(params)?;
            let status = status(chain, &script);
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

fn nth<T: DeserializeOwned>(params: &[Value], place: usize) -> Result<T, Fault> {
    let value = params.get(place).ok_or(Fault::Params)?;
    serde_json::from_value(value.clone()).map_err(|_| Fault::Params)
}

fn nth_or<T: DeserializeOwned>(params: &[Value], place: usize, or: T) -> Result<T, Fault> {
    if params.len() > place { nth(params, place) } else { Ok(or) }
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
            height: if chain.mempool.has_waiting_parent(&entry.tx) { -1 } else { 0 },
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

fn broadcast(chain: &mut Regtest, hex: &str) -> Answer {
    let tx: Transaction = deserialize_hex(hex).map_err(|e| {
        Fault::Refused(format!("TX decode failed. Make sure the tx has at least one input. {e}"))
    })?;
    chain.admit(tx, Fees::Relay).map(|txid| json!(txid)).map_err(Fault::Refused)
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
    let mut rates: std::collections::BTreeMap<u64, u64> = std::collections::BTreeMap::new();
    for (_, entry) in chain.mempool.iter() {
        let size = entry.tx.vsize() as u64;
        *rates.entry(entry.fee.to_sat() / size.max(1)).or_default() += size;
    }
    rates.into_iter().rev().map(|(rate, size)| json!([rate, size])).collect()
}
