//! The chain through an Electrum server that nobody needs to trust with more than silence.
//!
//! What a server says is checked before it counts:
//!
//! | it says | we check |
//! |---|---|
//! | I am on this network | the hash of its header 0 |
//! | these are the headers | parents, own work, difficulty from header to header ([`Headers`]) |
//! | this is the transaction | its txid, computed again; that it is not 64 bytes long |
//! | it is in this block | its branch up to that block's header: depth, place, no twin siblings |
//! | it waits in the mempool | nothing: hearsay until it has a block |
//!
//! A txid does not commit to the witness: who relies on a signature in a transaction verifies it.
//!
//! What it leaves out cannot be seen: a server can hide a transaction, and a chain with more work.
//! Who must know asks his own node.
//!
//! **Polling.** Histories are asked for again and again instead of subscribed to: the client
//! library cannot read the empty status that a script has after a reorg, and drops all
//! subscriptions when it reconnects. Transactions, proven places and headers are kept between
//! polls, so that a poll without news costs one question for the tip, one for each script and one
//! more for the tip.
//!
//! **A reading is of one moment.** [`Electrum::facts`] reads the tip, the histories, the headers,
//! and starts again if the tip moved in between; so facts never mix two tips.
//!
//! **Failures.** A connection that breaks, a server that is slow or talks gibberish is asked again
//! after a pause, over a new connection, a bounded number of times ([`Patience`]); then the answer
//! is [`Error::Unavailable`] with the last reason. A server that lies is refused by name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bitcoin::blockdata::constants::genesis_block;
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::{BlockHash, FeeRate, Network, Script, ScriptBuf, Transaction, Txid};
use electrum_client::{Param, ToElectrumScriptHash};
use serde_json::Value;

use crate::error::{Culprit, Error, Result, Rule};
use crate::facts::{Facts, Seen};
use crate::headers::{Headers, KNOWN};

mod answers;
mod branch;
mod header_run;
mod lines;
mod traffic;
mod wire;

#[cfg(test)]
mod scripted;
#[cfg(test)]
mod tests;

pub use super::patience::Patience;
pub use branch::{BRANCH, DEEPEST};
pub use header_run::CHUNK;
pub use traffic::{Tally, Traffic};
pub use wire::{SERVER, URL};

use wire::Wire;

/// The server serves our network.
pub const NETWORK: Rule = Rule::new(
    "chain-network",
    "the server serves the network we are on",
    "give a server of that network",
);
/// An answer has the form that the protocol gives it.
pub const ANSWER: Rule = Rule::new(
    "chain-answer",
    "the server answers in the form of the Electrum protocol",
    "ask another server",
);
/// The chain holds still while it is read.
pub const STEADY: Rule = Rule::new(
    "chain-steady",
    "the tip holds still while the chain is read",
    "try again; if it persists, ask another server",
);
/// A transaction is the one that was asked for.
pub const TRANSACTION: Rule = Rule::new(
    "chain-transaction",
    "the server hands out the transaction that was asked for",
    "ask another server",
);
/// No transaction is 64 bytes long: such a one can pose as an inner node of a block's tree.
pub const NOT_64: Rule = Rule::new(
    "chain-transaction-64",
    "a transaction without its witness is not 64 bytes long",
    "treat it as nonexistent; ask another server",
);
/// The network takes our transaction.
pub const BROADCAST: Rule = Rule::new(
    "chain-broadcast",
    "the server passes the transaction on",
    "read the server's reason; the coins may be spent or the fee too low",
);
/// What strangers pay to a script is read up to a bound.
pub const CROWDED: Rule = Rule::new(
    "chain-crowded",
    "a script that is read has at most 20,000 transactions",
    "somebody pays it again and again, to be in the way; ask a node of your own what has spent the output",
);
/// A fee estimate is within reason.
pub const FEE_RATE: Rule = Rule::new(
    "chain-fee-rate",
    "an estimated fee rate is between 1 and 5000 sat/vB",
    "state the fee rate yourself",
);

/// Times a reading is begun again because the tip moved.
const REREADS: u32 = 5;
/// Most transactions of one script that are read. The scripts of a position are public, and anybody can
/// pay them; what spends them is few, but the protocol has no question for that.
const MOST_OF_A_SCRIPT: usize = 20_000;
/// Questions in one batch: few enough that neither side's buffers block the other.
const BATCH: usize = 100;
/// Highest estimate that is believed, in sat/vB.
const DEAREST: u32 = 5_000;

/// What servers say when they have the transaction already; all mean success.
const ALREADY_KNOWN: [&str; 6] = [
    "already in block chain",
    "already in utxo set",
    "already in mempool",
    "txn-already-in-mempool",
    "txn-already-known",
    "txn-same-nonwitness-data-in-mempool",
];

/// A transaction at hand.
#[derive(Debug)]
struct Held {
    tx: Arc<Transaction>,
    /// Whether it was read when it had a block. If not, it is read once more then: the witness in
    /// the block may be another one, for the txid does not commit to it.
    from_block: bool,
}

/// A connection to one Electrum server, on one network, with what it has proven so far.
#[derive(Debug)]
pub struct Electrum {
    wire: Wire,
    network: Network,
    transactions: Mutex<BTreeMap<Txid, Held>>,
    /// Transactions whose branch led to the header of this block.
    proven: Mutex<BTreeSet<(Txid, BlockHash)>>,
    run: Mutex<Option<Headers>>,
}

impl Electrum {
    /// Connects to `tcp://host:port` or, with the feature `tls`, `ssl://host:port`, and makes sure
    /// that the server is on `network`.
    pub fn connect(url: &str, network: Network) -> Result<Self> {
        Self::connect_with(url, network, Patience::default())
    }

    /// As [`Electrum::connect`], with another patience.
    pub fn connect_with(url: &str, network: Network, patience: Patience) -> Result<Self> {
        let wire = Wire::new(url, patience)?;
        let answer = wire.call("blockchain.block.header", &[Param::U32(0)])?;
        let found = answers::header(&answer).map_err(|e| wire.garbled("header 0", e))?.block_hash();
        let expected = genesis_block(network).block_hash();
        if found != expected {
            let name = [Network::Bitcoin, Network::Testnet, Network::Testnet4]
                .into_iter()
                .chain([Network::Signet, Network::Regtest])
                .find(|n| genesis_block(*n).block_hash() == found)
                .map_or_else(|| String::from("an unknown network"), |n| n.to_string());
            return Err(NETWORK.unavailable(
                format_args!("server {url}"),
                format_args!("{network}, genesis {expected}"),
                format_args!("{name}, genesis {found}"),
            ));
        }
        Ok(Self {
            wire,
            network,
            transactions: Mutex::default(),
            proven: Mutex::default(),
            run: Mutex::default(),
        })
    }

    /// The network that the server was found on.
    pub fn network(&self) -> Network {
        self.network
    }

    /// What was asked of the server over this connection so far.
    pub fn traffic(&self) -> Traffic {
        self.wire.traffic()
    }

    /// Height and hash of the tip that the server states.
    pub fn tip(&self) -> Result<(u32, BlockHash)> {
        let answer = self.wire.call("blockchain.headers.subscribe", &[])?;
        let (height, header) = answers::tip(&answer).map_err(|e| self.wire.garbled("tip", e))?;
        Ok((height, header.block_hash()))
    }

    /// The headers from height `first` to the tip. Only what is new since the last call is read.
    pub fn headers(&self, first: u32) -> Result<Headers> {
        for _ in 0..REREADS {
            let tip = self.tip()?;
            if let Some(headers) = self.headers_to(first, tip).map_err(|e| self.named(e))? {
                return Ok(headers);
            }
        }
        Err(self.restless("headers"))
    }

    /// The transactions that touch `script`, oldest first, with the height of their blocks as the
    /// server states it: nothing is proven here.
    pub fn history(&self, script: &Script) -> Result<Vec<(Txid, Option<u32>)>> {
        let hash = script_hash(script);
        let answer = self.wire.call("blockchain.scripthash.get_history", &[hash])?;
        answers::history(&answer).map_err(|e| self.wire.garbled("history", e))
    }

    /// The transaction with this txid, in a block or in the mempool.
    pub fn transaction(&self, txid: Txid) -> Result<Transaction> {
        self.fetch(&BTreeMap::from([(txid, None)])).map_err(|e| self.named(e))?;
        match lock(&self.transactions).get(&txid) {
            Some(held) => Ok(Transaction::clone(&held.tx)),
            None => Err(TRANSACTION.unavailable(self.wire.place(), txid, "nothing")),
        }
    }

    /// Every transaction that touches one of `scripts`, and the headers from `headers_from` to the
    /// tip, or from the lowest block that holds one of the transactions, if that lies lower; the tip's
    /// alone if the chain does not reach `headers_from` yet.
    ///
    /// A transaction has a height only if its branch was checked against the header there.
    pub fn facts(&self, scripts: &[ScriptBuf], headers_from: u32) -> Result<Facts> {
        for _ in 0..REREADS {
            let tip = self.tip()?;
            let Some(heights) = self.heights(scripts)? else { continue };
            let lowest = heights.values().flatten().min().copied();
            // A contract that begins later than the chain reaches has all its headers to come.
            let first = lowest.map_or(headers_from, |low| low.min(headers_from)).min(tip.0);
            let headers = self.headers_to(first, tip).map_err(|e| self.named(e))?;
            let Some(headers) = headers else { continue };
            let gathered = self.gather(&heights, &headers);
            if self.tip()? != tip {
                continue;
            }
            match gathered {
                Ok(transactions) => return Ok(Facts { headers, transactions }),
                // The mempool may have moved: what it named a moment ago can be gone.
                Err(_) if self.heights(scripts)?.as_ref() != Some(&heights) => {}
                Err(error) => return Err(self.named(error)),
            }
        }
        Err(self.restless("facts"))
    }

    /// Sends `tx` to the network. That the network has it already is as good.
    pub fn broadcast(&self, tx: &Transaction) -> Result<Txid> {
        let txid = tx.compute_txid();
        let place = || format!("transaction {txid}, server {}", self.wire.url());
        let param = Param::String(serialize_hex(tx));
        match self.wire.ask("blockchain.transaction.broadcast", &[param])? {
            Ok(answer) => {
                let found: Option<Txid> = answer.as_str().and_then(|text| text.parse().ok());
                if found == Some(txid) {
                    Ok(txid)
                } else {
                    Err(ANSWER.unavailable(place(), txid, answer))
                }
            }
            Err(reason) => {
                let known = reason.to_lowercase();
                if ALREADY_KNOWN.iter().any(|words| known.contains(words)) {
                    Ok(txid)
                } else {
                    Err(BROADCAST.refuses(Culprit::Sender, place(), "its txid", reason))
                }
            }
        }
    }

    /// The fee rate at which a transaction is expected to confirm within `blocks` blocks; `None`
    /// if the server cannot tell.
    pub fn fee_rate(&self, blocks: u16) -> Result<Option<FeeRate>> {
        let answer = self.wire.call("blockchain.estimatefee", &[Param::U32(blocks.into())])?;
        let Some(per_kvb) = answers::fee(&answer).map_err(|e| self.wire.garbled("fee rate", e))?
        else {
            return Ok(None);
        };
        // 1,000 vB are 4,000 weight units; rounded up, so that a floor stays met.
        let rate = FeeRate::from_sat_per_kwu(per_kvb.to_sat().div_ceil(4));
        let dearest = FeeRate::from_sat_per_vb_u32(DEAREST);
        if rate > dearest {
            return Err(FEE_RATE.refuses(
                Culprit::Server,
                self.wire.place(),
                format_args!("at most {DEAREST} sat/vB"),
                format_args!("{} sat/vB", rate.to_sat_per_vb_ceil()),
            ));
        }
        Ok(Some(rate.max(FeeRate::BROADCAST_MIN)))
    }

    /// Where each transaction that touches one of `scripts` is said to be; `None` if two scripts'
    /// histories contradict each other, for then the tip moved between them.
    fn heights(&self, scripts: &[ScriptBuf]) -> Result<Option<BTreeMap<Txid, Option<u32>>>> {
        let mut heights = BTreeMap::new();
        for some in scripts.chunks(BATCH) {
            let params: Vec<_> = some.iter().map(|script| vec![script_hash(script)]).collect();
            for answer in self.wire.batch("blockchain.scripthash.get_history", params)? {
                let history =
                    answers::history(&answer).map_err(|e| self.wire.garbled("history", e))?;
                refuse_crowded(self.wire.place(), history.len())?;
                for (txid, height) in history {
                    if heights.insert(txid, height).is_some_and(|before| before != height) {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(Some(heights))
    }

    /// The transactions themselves, each confirmed one proven to lie in its block.
    fn gather(
        &self,
        heights: &BTreeMap<Txid, Option<u32>>,
        headers: &Headers,
    ) -> Result<BTreeMap<Txid, Seen>> {
        self.fetch(heights)?;
        self.prove(heights, headers)?;
        let held = lock(&self.transactions);
        Ok(heights
            .iter()
            .filter_map(|(txid, height)| {
                let tx = Transaction::clone(&held.get(txid)?.tx);
                Some((*txid, Seen { tx, height: *height }))
            })
            .collect())
    }

    /// Reads those of the transactions in `heights` that are not at hand, and checks each.
    fn fetch(&self, heights: &BTreeMap<Txid, Option<u32>>) -> Result<()> {
        let missing: Vec<(Txid, bool)> = {
            let held = lock(&self.transactions);
            let lacks = |txid: &Txid, from_block: bool| {
                held.get(txid).is_none_or(|held| from_block && !held.from_block)
            };
            let wanted = heights.iter().map(|(txid, height)| (*txid, height.is_some()));
            wanted.filter(|(txid, from_block)| lacks(txid, *from_block)).collect()
        };
        for some in missing.chunks(BATCH) {
            let params =
                some.iter().map(|(txid, _)| vec![Param::String(txid.to_string())]).collect();
            let answers = self.wire.batch("blockchain.transaction.get", params)?;
            for ((txid, from_block), answer) in some.iter().zip(answers) {
                let place = format!("transaction {txid}");
                let tx = answers::transaction(&answer).map_err(|e| self.wire.garbled(&place, e))?;
                let found = tx.compute_txid();
                if found != *txid {
                    return Err(TRANSACTION.refuses(
                        Culprit::Server,
                        self.wire.place(),
                        txid,
                        found,
                    ));
                }
                if tx.base_size() == branch::NODE_PAIR {
                    return Err(NOT_64.refuses(
                        Culprit::Server,
                        place,
                        "any other length",
                        "64 bytes",
                    ));
                }
                let held = Held { tx: Arc::new(tx), from_block: *from_block };
                lock(&self.transactions).insert(*txid, held);
            }
        }
        Ok(())
    }

    /// Checks the branch of each confirmed transaction that has not been proven in its block yet.
    fn prove(&self, heights: &BTreeMap<Txid, Option<u32>>, headers: &Headers) -> Result<()> {
        let mut unproven = Vec::new();
        for (txid, height) in heights {
            let Some(height) = *height else { continue };
            let Some(header) = headers.header(height) else {
                return Err(KNOWN.unavailable(
                    format_args!("transaction {txid}"),
                    format_args!("a block up to the tip, {}", headers.tip()),
                    format_args!("height {height}"),
                ));
            };
            let hash = header.block_hash();
            if !lock(&self.proven).contains(&(*txid, hash)) {
                unproven.push((*txid, height, hash, header.merkle_root));
            }
        }
        for some in unproven.chunks(BATCH) {
            let params = some
                .iter()
                .map(|(txid, height, ..)| {
                    vec![Param::String(txid.to_string()), Param::U32(*height)]
                })
                .collect();
            let answers = self.wire.batch("blockchain.transaction.get_merkle", params)?;
            for ((txid, height, hash, root), answer) in some.iter().zip(answers) {
                let place = format!("branch of {txid} at height {height}");
                let branch = answers::branch(&answer).map_err(|e| self.wire.garbled(&place, e))?;
                let coinbase = lock(&self.transactions).get(txid).map(|held| held.tx.is_coinbase());
                branch.check(*txid, *root, coinbase == Some(true)).map_err(|e| e.within(place))?;
                lock(&self.proven).insert((*txid, *hash));
            }
        }
        Ok(())
    }

    /// The server by name, for people.
    pub(crate) fn place(&self) -> String {
        self.wire.place()
    }

    /// The error, led by the server's name unless it tells it already.
    fn named(&self, error: Error) -> Error {
        if error.fault().place.contains(self.wire.url()) {
            return error;
        }
        error.within(self.wire.place())
    }

    fn restless(&self, what: &str) -> Error {
        STEADY.unavailable(
            format_args!("{what}, {}", self.wire.place()),
            "one tip for one reading",
            format_args!("{REREADS} readings with a moving tip"),
        )
    }
}

/// Refuses a script that too many transactions touch, before any of them is read.
fn refuse_crowded(place: String, count: usize) -> Result<()> {
    if count <= MOST_OF_A_SCRIPT {
        return Ok(());
    }
    let expected = format!("at most {MOST_OF_A_SCRIPT} transactions of a script");
    Err(CROWDED.unavailable(place, expected, count))
}

fn script_hash(script: &Script) -> Param {
    let hash = script.to_electrum_scripthash();
    Param::String(bitcoin::hex::DisplayHex::to_lower_hex_string(hash.as_slice()))
}

/// The caches stay whole even if a thread died between two of their changes.
fn lock<T>(cache: &Mutex<T>) -> MutexGuard<'_, T> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer that does not have the protocol's form, and what about it.
type Garbled = (&'static str, Value);
