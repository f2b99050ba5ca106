//! Bitcoin Core with electrs in front: a world for a rehearsal.

use std::thread::sleep;
use std::time::{Duration, Instant};

use bitcoin::{Block, BlockHash, Network, OutPoint, ScriptBuf, Transaction, Txid};
use serde_json::json;

use super::{Bitcoind, Electrs, RUNS, STUCK};
use crate::chain::core::{Auth, Core};
use crate::chain::embedded::dated;
use crate::chain::view::Source;
use crate::error::{Error, Result};
use crate::rehearsal::world::World;
use crate::work::template::BlockTemplate;

/// Time between two questions whether the server has caught up.
const LOOK: Duration = Duration::from_millis(1);

/// A chain on Bitcoin Core that mines on demand, and an electrs that shows it.
#[derive(Debug)]
pub struct Daemons {
    // First: it reads from the node until it ends.
    electrs: Electrs,
    bitcoind: Bitcoind,
}

impl Daemons {
    /// Starts both, on regtest with its first block alone.
    pub fn start() -> Result<Self> {
        let bitcoind = Bitcoind::start(Network::Regtest)?;
        let electrs = Electrs::start(&bitcoind)?;
        Ok(Self { electrs, bitcoind })
    }

    /// The node.
    pub fn bitcoind(&self) -> &Bitcoind {
        &self.bitcoind
    }

    /// The server.
    pub fn electrs(&self) -> &Electrs {
        &self.electrs
    }

    /// Ends the server, and then the node if `node`: what is down stays down until
    /// [`Daemons::resume`].
    pub fn stop(&mut self, node: bool) -> Result<()> {
        self.electrs.kill();
        if node { self.bitcoind.stop() } else { Ok(()) }
    }

    /// Starts what is down again, at the same addresses and with what it had on its disk.
    pub fn resume(&mut self) -> Result<()> {
        if !self.bitcoind.runs() {
            self.bitcoind.resume()?;
        }
        self.electrs.resume(&self.bitcoind)?;
        self.settle()
    }

    /// Whether the server shows the node's tip and mempool; `progress` tells one state of affairs
    /// from another.
    fn settled(&self, progress: &mut (u32, u64, usize)) -> Result<bool> {
        let core = self.bitcoind.core();
        let (_, tip) = core.tip()?;
        let shown = self.electrs.tip()?;
        let size = self.electrs.waiting_size()?;
        let waiting = core.mempool()?;
        *progress = (shown.0, size, waiting.len());
        if shown.1 != tip || size != self.waiting_size()? {
            return Ok(false);
        }
        // All that waits at the node waits at the server, and both are of one size: they are equal.
        for txid in waiting {
            if !self.shows(txid)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Virtual bytes of everything that waits at the node.
    fn waiting_size(&self) -> Result<u64> {
        let info = self.bitcoind.core().call("getmempoolinfo", &[])?;
        let loaded = info["loaded"].as_bool() == Some(true);
        match info["bytes"].as_u64() {
            Some(bytes) if loaded => Ok(bytes),
            _ => Err(RUNS.unavailable("bitcoind, getmempoolinfo", "a mempool", info)),
        }
    }

    /// Whether the server has a waiting transaction in the history of a script of its.
    fn shows(&self, txid: Txid) -> Result<bool> {
        let Some(tx) = self.transaction(txid)? else { return Ok(false) };
        // What can never be spent has no history.
        let mut scripts = tx.output.iter().map(|out| &out.script_pubkey);
        if let Some(script) = scripts.find(|script| !script.is_op_return()) {
            return self.electrs.shows(script, txid);
        }
        match tx.input.first() {
            Some(input) => {
                let spent = self.spent_script(input.previous_output)?;
                spent.map_or(Ok(false), |script| self.electrs.shows(&script, txid))
            }
            None => Ok(false),
        }
    }

    fn spent_script(&self, spent: OutPoint) -> Result<Option<ScriptBuf>> {
        let output = |tx: Transaction| {
            let place = usize::try_from(spent.vout).ok()?;
            tx.output.get(place).map(|out| out.script_pubkey.clone())
        };
        Ok(self.transaction(spent.txid)?.and_then(output))
    }

    /// A transaction that the node has; none if it has just gone.
    fn transaction(&self, txid: Txid) -> Result<Option<Transaction>> {
        match self.bitcoind.core().call("getrawtransaction", &[json!(txid)]) {
            Ok(hex) => Ok(hex
                .as_str()
                .and_then(|hex| bitcoin::consensus::encode::deserialize_hex(hex).ok())),
            Err(Error::Refused { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }
}

impl World for Daemons {
    fn electrum_url(&self) -> String {
        self.electrs.url()
    }

    /// The node, as a validator asks his own.
    fn sources(&self) -> Result<Vec<Source>> {
        let auth = Auth::Cookie(self.bitcoind.cookie());
        let node = Core::connect(self.bitcoind.url(), auth, Network::Regtest)?;
        Ok(vec![Source::Node(node)])
    }

    fn height(&self) -> Result<u32> {
        Ok(self.bitcoind.core().tip()?.0)
    }

    /// Core's own template, but for the time: dated as the embedded node dates its blocks, so that
    /// a chain grows for years of its own time within a minute of ours.
    fn template(&self) -> Result<BlockTemplate> {
        let mut template = self.bitcoind.core().template()?;
        let parent = self.block(template.height.saturating_sub(1))?;
        template.time = dated(template.height, parent.header.time);
        Ok(template)
    }

    fn hand_in(&self, block: &Block) -> Result<BlockHash> {
        self.bitcoind.core().submit(block)
    }

    fn block(&self, height: u32) -> Result<Block> {
        self.bitcoind.core().block_at(height)
    }

    fn mempool(&self) -> Result<Vec<Txid>> {
        self.bitcoind.core().mempool()
    }

    fn settle(&self) -> Result<()> {
        let mut progress = (0, 0, 0);
        let mut since = (progress, Instant::now());
        while !self.settled(&mut progress)? {
            if progress != since.0 {
                since = (progress, Instant::now());
            } else if since.1.elapsed() > STUCK {
                let (height, size, _) = progress;
                let found = format!("height {height} and {size} vB waiting");
                return Err(RUNS.unavailable("electrs", "what its node has", found));
            }
            sleep(LOOK);
        }
        Ok(())
    }
}
