//! A whole Bitcoin network for one process: a regtest chain on Bitcoin Core's own validation, and
//! an Electrum server in front of it.
//!
//! ```text
//!   a test, the demo                          a wallet, the library
//!     | mine, reorg, submit                     | Electrum over TCP, as to any server
//!     v                                         v
//!   EmbeddedNode ----------- lock ----------- server -> methods
//!                              |
//!                           regtest: one chain and what waits for it
//!                    +---------+---------+-----------+
//!                  index    mempool    kernel      kernel
//!                 (lookup) (first seen) (the chain) (the judge of candidates)
//! ```
//!
//! | who | decides |
//! |---|---|
//! | Core (`bitcoinkernel`) | which blocks and transactions are valid, which chain is best |
//! | the mempool | first seen wins; relay policy as far as our transactions can meet it (see below) |
//! | the caller | when a block is found, what its coinbase pays, when history is rewritten |
//!
//! Time belongs to the chain: block 1 is dated 1,700,000,000 and each later block the spacing
//! after its parent, so a run repeats to the byte if its keys do. The server listens on a loopback
//! port of the system's choice, answers as electrs does (protocol 1.4), and pushes headers and
//! script statuses. A block's notifications are on their way when the call that made it returns.
//!
//! Relay policy is not part of Core's validation engine, so what matters of it to a wallet is
//! stated here in its words: 1 sat/vB, dust, standard outputs, sizes, and TRUC (BIP 431). Not
//! here: replacement, packages, limits on chains of waiting transactions, standard inputs; peers;
//! a disk. Everything vanishes at drop.
//!
//! What it costs: on regtest Core checks its whole block index at every block, so a block takes
//! 0.2 ms at height 100 and several milliseconds at height 3,000.

use bitcoin::{Amount, Block, BlockHash, TxOut, Txid};

use crate::error::{Culprit, Result, Rule};
use crate::work::template::BlockTemplate;

mod blocks;
mod history;
mod index;
mod kernel;
mod mempool;
mod methods;
mod policy;
mod regtest;
mod rpc;
mod server;

pub(crate) use blocks::{dated, subsidy};
use server::Server;

/// The node's engine, files and port are there.
pub const STARTS: Rule = Rule::new(
    "node-starts",
    "the embedded node needs a temporary directory and a loopback port",
    "free disk space, file handles or ports, and start again",
);
/// A block is one that Bitcoin Core accepts.
pub const BLOCK: Rule = Rule::new(
    "node-block",
    "a block is valid by Bitcoin Core's own rules",
    "build on a fresh template",
);
/// A rewritten history is longer than the one it replaces.
pub const REORG: Rule = Rule::new(
    "node-reorg",
    "a new branch starts on the chain and has more blocks than the old one",
    "ask for more blocks or less depth",
);

/// A regtest chain in this process, and the Electrum server in front of it.
///
/// All methods take `&self`; share it between threads in an `Arc`. It ends when it is dropped.
pub struct EmbeddedNode {
    server: Server,
}

impl EmbeddedNode {
    /// Starts a chain with regtest's first block, and a server on a loopback port.
    ///
    /// Block 1 will be dated 1,700,000,000 (Unix seconds), each later one 600 s after its parent.
    pub fn start() -> Result<Self> {
        Ok(Self { server: Server::start(regtest::Regtest::start()?)? })
    }

    /// Where the Electrum server listens, such as `tcp://127.0.0.1:40001`.
    pub fn electrum_url(&self) -> String {
        let [first, _] = self.electrum_urls();
        first
    }

    /// Both addresses at which the server listens: to whoever asks they are two servers.
    pub fn electrum_urls(&self) -> [String; 2] {
        let mut urls = self.server.addresses().map(|address| format!("tcp://{address}"));
        core::array::from_fn(|_| urls.next().unwrap_or_default())
    }

    /// Height (in blocks) and hash of the tip.
    pub fn tip(&self) -> (u32, BlockHash) {
        self.server.with(|chain| {
            let height = chain.index.height();
            // The index is never empty: it starts with the first block, which nothing takes off.
            let genesis = || bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
            (height, chain.index.hash_at(height).unwrap_or_else(|| genesis().block_hash()))
        })
    }

    /// Sets the time from each block to the next, in seconds, from now on.
    ///
    /// A block is never dated before what consensus demands: later than the median of the last 11.
    pub fn set_spacing(&self, seconds: u32) {
        self.server.with(|chain| chain.spacing = seconds);
    }

    /// The next block: the mempool's transactions, parents first, and the reward that its coinbase
    /// must pay out (subsidy, halved every 150 blocks, and fees).
    pub fn template(&self) -> Result<BlockTemplate> {
        self.server.with(|chain| chain.template())
    }

    /// Hands a block to Core; refused with Core's own reason.
    ///
    /// A valid block beside the best chain is kept, and the chain follows it once it has more
    /// work; the transactions of the blocks that lose return to the mempool.
    pub fn submit(&self, block: &Block) -> Result<BlockHash> {
        self.server.with(|chain| chain.submit(block))
    }

    /// Mines `blocks` blocks from [`Self::template`]; `payouts` says what each coinbase pays for a
    /// reward (satoshis), all of it.
    pub fn mine(
        &self,
        blocks: u32,
        payouts: &dyn Fn(Amount) -> Vec<TxOut>,
    ) -> Result<Vec<BlockHash>> {
        (0..blocks)
            .map(|_| {
                let template = self.template()?;
                // The caller's function runs outside the lock: it may ask the node.
                let payouts = payouts(template.reward);
                self.server.with(|chain| {
                    let block = chain.grind(&template, &payouts)?;
                    chain.submit(&block)
                })
            })
            .collect()
    }

    /// Replaces the last `depth` blocks by `blocks` (more than `depth`) empty ones.
    ///
    /// With `keep_transactions`, those of the lost blocks return to the mempool as far as they are
    /// still valid. Either way what waits is judged anew, and whatever descends from a lost
    /// coinbase is gone.
    pub fn reorg(
        &self,
        depth: u32,
        blocks: u32,
        payouts: &dyn Fn(Amount) -> Vec<TxOut>,
        keep_transactions: bool,
    ) -> Result<()> {
        let (tip, hash) = self.tip();
        let asked = format!("{depth} blocks replaced by {blocks} at height {tip}");
        let Some(fork) = tip.checked_sub(depth).filter(|_| blocks > depth) else {
            let expected = "more new blocks than old ones, and as many old ones as there are";
            return Err(REORG.refuses(Culprit::Sender, "reorg", expected, asked));
        };
        let payouts: Vec<Vec<TxOut>> =
            (fork.saturating_add(1)..).take(blocks as usize).map(|h| payouts(subsidy(h))).collect();
        self.server.with(|chain| {
            if chain.tip()? != (tip, hash) {
                let expected = "no other block meanwhile";
                return Err(REORG.refuses(Culprit::Sender, "reorg", expected, asked));
            }
            chain.replace(fork, &payouts, keep_transactions)
        })
    }

    /// The block at `height` in the best chain, if it is that high.
    pub fn block(&self, height: u32) -> Option<Block> {
        self.server.with(|chain| chain.index.block_at(height).cloned())
    }

    /// The transactions that wait for a block, first come first.
    pub fn mempool(&self) -> Vec<Txid> {
        self.server.with(|chain| chain.mempool.txids().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_shared_between_threads() {
        const fn shared<T: Send + Sync>() {}
        shared::<EmbeddedNode>();
    }
}
