//! Our own Bitcoin Core, over its JSON-RPC: what the next block is built on, and where a block goes.
//!
//! An Electrum server tells what has happened; only a node can be mined on. This adapter asks for
//! templates, hands in blocks and transactions, and reads back what the node holds.
//!
//! | it says | we check |
//! |---|---|
//! | I am on this chain | that it is the network we are on, at the first question |
//! | mine on this template | see [`Core::template`]: every transaction, the place in the chain, the witness commitment, the target |
//! | this is the block | its hash and its merkle root |
//!
//! The node is ours: what it says about validity is believed. That is the difference to a server.
//!
//! **Who may ask.** Core writes a cookie at each start ([`Auth::Cookie`]); it is read again for
//! each question, so a restart of the node needs none of ours. A name and a password
//! ([`Auth::Password`]) travel in the clear: on the node's own machine, or through a tunnel.
//!
//! **Failures.** A node that is down, busy or still warming up is asked again after a pause, a
//! bounded number of times ([`Patience`]); then the answer is
//! [`Error::Unavailable`] with the last reason. A question whose answer was lost on the way may
//! have been carried out. It is asked again only if it is known to bear that: it changes nothing,
//! or what is handed in is known the second time (a block, a transaction). Any other method, see
//! [`Core::call`], is sent once: to pay twice is worse than not to know.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::{Block, BlockHash, Network, OutPoint, Transaction, Txid};
use jsonrpc::error::RpcError;
use jsonrpc::{Client, Error as ClientError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use zeroize::Zeroize;

use crate::error::{Culprit, Error, Result, Rule};
use crate::facts::View;
use crate::work::template::BlockTemplate;

mod http;
mod template;
mod unspent;

#[cfg(test)]
mod tests;

pub use super::patience::Patience;
pub use http::URL;
pub use template::{Offer, TEMPLATE};

use crate::http::Trouble;
use http::Post;
use unspent::Reading;

/// The node answers.
pub const NODE: Rule = Rule::new(
    "core-node",
    "Bitcoin Core answers over JSON-RPC",
    "check that it runs with server=1, is in step with its network, and is reached from here",
);
/// The node takes our credentials.
pub const AUTH: Rule = Rule::new(
    "core-auth",
    "Bitcoin Core takes our cookie or password",
    "name the cookie file of the running node, or its rpcauth user and password",
);
/// The node is on our network.
pub const NETWORK: Rule = Rule::new(
    "core-network",
    "Bitcoin Core is on the network we are on",
    "give the RPC address of a node of that network",
);
/// An answer has the form that Core gives it.
pub const ANSWER: Rule = Rule::new(
    "core-answer",
    "Bitcoin Core answers in the form of its RPC's documentation",
    "check that the address is that of Bitcoin Core, version 25 or later",
);
/// The node does what it is asked.
pub const ASKED: Rule = Rule::new(
    "core-asked",
    "Bitcoin Core does what it is asked",
    "read the node's reason; its log has more",
);
/// The node takes a block.
pub const BLOCK: Rule = Rule::new(
    "core-block",
    "Bitcoin Core accepts a block that is handed in",
    "read the node's reason: the block breaks a rule of the network",
);
/// The node takes a transaction.
pub const BROADCAST: Rule = Rule::new(
    "core-broadcast",
    "Bitcoin Core takes the transaction into its mempool",
    "read the node's reason; the coins may be spent or the fee too low",
);

/// Times a reading is begun again because the tip moved.
const REREADS: u32 = 5;

/// Core starts: it loads and verifies what it has (RPC_IN_WARMUP).
const WARMING_UP: i32 = -28;
/// Core has no peers, or is not in step with them yet (RPC_CLIENT_NOT_CONNECTED,
/// RPC_CLIENT_IN_INITIAL_DOWNLOAD): it knows no tip that is worth mining on.
const NOT_IN_STEP: [i32; 2] = [-9, -10];
/// The transaction's outputs exist already (RPC_VERIFY_ALREADY_IN_UTXO_SET): it has a block.
const HAS_A_BLOCK: i32 = -27;

/// The methods that may be carried out twice for one question.
const BEARS_REPETITION: [&str; 17] = [
    "getbestblockhash",
    "getblock",
    "getblockchaininfo",
    "getblockcount",
    "getblockhash",
    "getblockheader",
    "getblocktemplate",
    "getmempoolentry",
    "getmempoolinfo",
    "getnetworkinfo",
    "getrawmempool",
    "getrawtransaction",
    "gettxout",
    "sendrawtransaction",
    "submitblock",
    "submitheader",
    "testmempoolaccept",
];

/// What `submitblock` says of a block that the node keeps: known before; or kept beside the best
/// chain, where nobody has judged it yet.
const KEPT: [&str; 3] = ["duplicate", "inconclusive", "duplicate-inconclusive"];

/// How we show that we may ask.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    /// The file `.cookie` that Core writes into its data directory at each start.
    Cookie(PathBuf),
    /// A user of the node's `rpcauth`, or of `rpcuser` and `rpcpassword`.
    Password {
        /// The user's name; no colon.
        user: String,
        /// His password.
        password: String,
    },
}

impl Drop for Auth {
    fn drop(&mut self) {
        if let Self::Password { password, .. } = self {
            password.zeroize();
        }
    }
}

impl fmt::Debug for Auth {
    /// A password is never shown, nor is what the cookie's file holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cookie(path) => f.debug_tuple("Cookie").field(path).finish(),
            Self::Password { user, .. } => {
                f.debug_struct("Password").field("user", user).finish_non_exhaustive()
            }
        }
    }
}

/// A node by name: where it is asked, and how we show that we may.
#[derive(Clone, Debug)]
pub struct Node {
    /// `http://host:port`.
    pub url: String,
    /// Cookie, or name and password.
    pub auth: Auth,
}

/// A reason of the node not to answer with a result.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reason {
    code: i32,
    message: String,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.message, self.code)
    }
}

/// One Bitcoin Core, on one network.
#[derive(Debug)]
pub struct Core {
    url: String,
    client: Client,
    /// A cookie may be older than the node's last start: then it is read again.
    renews: bool,
    patience: Patience,
    network: Network,
}

/// What `getblockchaininfo` says, as far as we need it.
#[derive(Deserialize)]
struct ChainInfo {
    chain: String,
    blocks: u32,
    bestblockhash: BlockHash,
}

impl Core {
    /// Connects to `http://host:port` and makes sure that the node is on `network`.
    ///
    /// Waits up to 60 s for each answer (Core may verify a whole branch before it gives one), and
    /// asks four times at most.
    pub fn connect(url: &str, auth: Auth, network: Network) -> Result<Self> {
        let patience = Patience { timeout: Duration::from_secs(60), ..Patience::default() };
        Self::connect_with(url, auth, network, patience)
    }

    /// As [`Core::connect`], with another patience.
    pub fn connect_with(
        url: &str,
        auth: Auth,
        network: Network,
        patience: Patience,
    ) -> Result<Self> {
        let renews = matches!(auth, Auth::Cookie(_));
        let post = Post::new(url, auth, patience.timeout)?;
        let client = Client::with_transport(post);
        let core = Self { url: url.to_owned(), client, renews, patience, network };
        let info = core.info()?;
        if Network::from_core_arg(&info.chain) != Ok(network) {
            return Err(NETWORK.unavailable(core.place(), network.to_core_arg(), info.chain));
        }
        Ok(core)
    }

    /// The network that the node was found on.
    pub fn network(&self) -> Network {
        self.network
    }

    /// Where the node listens, as it was given.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The result of any method; what the node refuses is an error with the node's reason.
    ///
    /// A node that cannot be reached, takes no cookie yet or is warming up has done nothing, and
    /// is asked again. Once it may have done what it was asked, only a method that is known to
    /// bear repetition is; for any other the error is [`NODE`] and says that the outcome is open.
    pub fn call(&self, method: &str, params: &[Value]) -> Result<Value> {
        self.ask(method, params)?.map_err(|reason| self.declined(method, &reason))
    }

    /// Height and hash of the best block.
    pub fn tip(&self) -> Result<(u32, BlockHash)> {
        let info = self.info()?;
        Ok((info.blocks, info.bestblockhash))
    }

    /// What the node would have the next block built on.
    ///
    /// Checked before anybody works on it: each transaction has the txid and the wtxid it is
    /// listed under; the block's own builder commits to the witnesses as Core does; height and
    /// time fit the parent, as the node itself describes it; the target is that of the bits; and
    /// there is no rule that a miner must know and we do not.
    pub fn template(&self) -> Result<BlockTemplate> {
        self.offer(None).map(|offer| Arc::unwrap_or_clone(offer.template))
    }

    /// As [`Core::template`], with what a miner who stays wants to know. Behind the name of an
    /// earlier offer the node answers when it has a better one (long polling, BIP 22): at once when
    /// the tip has changed, after a minute or so when the mempool has. A patience shorter than that
    /// ends in an error.
    pub fn offer(&self, after: Option<&str>) -> Result<Offer> {
        let mut request = json!({ "rules": ["segwit"] });
        if let (Some(after), Some(fields)) = (after, request.as_object_mut()) {
            fields.insert("longpollid".to_owned(), json!(after));
        }
        let answer = self.call("getblocktemplate", &[request])?;
        let offered: template::Answer = self.read("getblocktemplate", answer)?;
        let parent = self.call("getblockheader", &[json!(offered.parent())])?;
        let parent: template::Parent = self.read("getblockheader", parent)?;
        offered.checked(&parent).map_err(|e| e.within(self.place()))
    }

    /// Hands in a block. One beside the best chain is kept, and judged only if it comes to lead.
    pub fn submit(&self, block: &Block) -> Result<BlockHash> {
        let hash = block.block_hash();
        let refused = |reason: &dyn fmt::Display| {
            let place = format!("{}, block {hash}", self.place());
            BLOCK.refuses(Culprit::Sender, place, "a block that the node keeps", reason)
        };
        let answer = self
            .ask("submitblock", &[json!(serialize_hex(block))])?
            .map_err(|reason| refused(&reason))?;
        match answer.as_str() {
            None if answer.is_null() => Ok(hash),
            Some(known) if KEPT.contains(&known) => Ok(hash),
            Some(reason) => Err(refused(&reason)),
            None => Err(self.garbled("submitblock", "null or a reason", answer)),
        }
    }

    /// The block at `height` in the best chain.
    pub fn block_at(&self, height: u32) -> Result<Block> {
        let hash: BlockHash =
            self.read("getblockhash", self.call("getblockhash", &[json!(height)])?)?;
        let text: String =
            self.read("getblock", self.call("getblock", &[json!(hash), json!(0)])?)?;
        let block: Block =
            deserialize_hex(&text).map_err(|e| self.garbled("getblock", "a block", e))?;
        if block.block_hash() != hash || !block.check_merkle_root() {
            return Err(self.garbled("getblock", hash, block.block_hash()));
        }
        Ok(block)
    }

    /// What the node says of `outpoints`, all at one tip: what each holds if it is there to be
    /// spent. What the mempool makes counts, what it spends does not.
    pub fn view(&self, outpoints: &[OutPoint]) -> Result<View> {
        for _ in 0..REREADS {
            let tip = self.tip()?;
            let mut coins = BTreeMap::new();
            for outpoint in outpoints {
                let params = [json!(outpoint.txid), json!(outpoint.vout), json!(true)];
                let answer = self.call("gettxout", &params)?;
                let output: Option<unspent::Output> = self.read("gettxout", answer)?;
                let coin = match output {
                    Some(output) => Some(output.at(tip).map_err(|e| e.within(self.place()))?),
                    None => None,
                };
                coins.insert(*outpoint, coin);
            }
            // An output that is gone has no block to compare: the tip is asked once more.
            let moved = coins.values().any(|coin| matches!(coin, Some(Reading::Moved)));
            if moved || self.tip()? != tip {
                continue;
            }
            let coins = coins.into_iter().map(|(outpoint, coin)| match coin {
                Some(Reading::Coin(coin)) => (outpoint, Some(coin)),
                Some(Reading::Moved) | None => (outpoint, None),
            });
            let coins = coins.collect();
            return Ok(View { place: self.place(), node: true, tip, coins, history: None });
        }
        Err(NODE.unavailable(
            format_args!("{}, gettxout", self.place()),
            "a tip that holds still while outputs are read",
            format_args!("{REREADS} readings with a moving tip"),
        ))
    }

    /// The transactions that wait for a block, in no particular order.
    pub fn mempool(&self) -> Result<Vec<Txid>> {
        self.read("getrawmempool", self.call("getrawmempool", &[])?)
    }

    /// Hands in a transaction. One that waits already, or has a block, is well.
    pub fn broadcast(&self, tx: &Transaction) -> Result<Txid> {
        let txid = tx.compute_txid();
        match self.ask("sendrawtransaction", &[json!(serialize_hex(tx))])? {
            Ok(_) => Ok(txid),
            Err(reason) if reason.code == HAS_A_BLOCK => Ok(txid),
            Err(reason) => {
                let place = format!("{}, transaction {txid}", self.place());
                Err(BROADCAST.refuses(Culprit::Sender, place, "a place in the mempool", reason))
            }
        }
    }

    fn info(&self) -> Result<ChainInfo> {
        self.read("getblockchaininfo", self.call("getblockchaininfo", &[])?)
    }

    /// Asks, and asks again after a pause while the node is down, busy or warming up, as far as
    /// the method bears it. A refusal is an answer.
    fn ask(&self, method: &str, params: &[Value]) -> Result<Result<Value, Reason>> {
        let params = jsonrpc::arg(params);
        let mut last = NODE.unavailable(self.place(), "a question", "none");
        for attempt in 0..self.patience.attempts.max(1) {
            sleep(self.patience.before(attempt));
            let times = attempt.saturating_add(1);
            let error = match self.client.call::<Value>(method, Some(&params)) {
                Ok(value) => return Ok(Ok(value)),
                Err(ClientError::Rpc(RpcError { code: WARMING_UP, message, .. })) => {
                    self.silent(method, format_args!("warming up: {message}"), times)
                }
                Err(ClientError::Rpc(RpcError { code, message, .. })) => {
                    return Ok(Err(Reason { code, message }));
                }
                Err(ClientError::Transport(trouble)) => match trouble.downcast_ref::<Trouble>() {
                    Some(Trouble::Credentials(found)) => {
                        let expected = "credentials of this node";
                        let error = AUTH.unavailable(self.place(), expected, found);
                        if !self.renews {
                            return Err(error);
                        }
                        error
                    }
                    Some(Trouble::Garbled(found) | Trouble::Long(found)) => {
                        return Err(self.garbled(method, "an answer over HTTP", found));
                    }
                    Some(Trouble::Unreached(found)) => self.silent(method, found, times),
                    _ if BEARS_REPETITION.contains(&method) => self.silent(method, trouble, times),
                    _ => {
                        let open = format!("{trouble}; it may have been carried out");
                        return Err(self.silent(method, open, times));
                    }
                },
                Err(other) => return Err(self.garbled(method, "an answer of JSON-RPC", other)),
            };
            last = error;
        }
        Err(last)
    }

    fn place(&self) -> String {
        format!("node {}", self.url)
    }

    fn silent(&self, method: &str, found: impl fmt::Display, times: u32) -> Error {
        NODE.unavailable(
            format_args!("{}, {method}", self.place()),
            format_args!("an answer within {} ms", self.patience.timeout.as_millis()),
            format_args!("{found} (attempts: {times})"),
        )
    }

    fn declined(&self, method: &str, reason: &Reason) -> Error {
        let place = format!("{}, {method}", self.place());
        if NOT_IN_STEP.contains(&reason.code) {
            return NODE.unavailable(place, "a node in step with its network", reason);
        }
        ASKED.refuses(Culprit::Server, place, "a result", reason)
    }

    fn read<T: DeserializeOwned>(&self, method: &str, answer: Value) -> Result<T> {
        serde_json::from_value(answer).map_err(|e| self.garbled(method, "the documented form", e))
    }

    fn garbled(
        &self,
        method: &str,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Error {
        ANSWER.unavailable(format_args!("{}, {method}", self.place()), expected, found)
    }
}
