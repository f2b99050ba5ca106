//! Where a deal is rehearsed: a chain that mines on demand, with an Electrum server in front.
//!
//! | name | what it is |
//! |---|---|
//! | `embedded` | Bitcoin Core's validation and a server of ours, in this process |
//! | `core` | Bitcoin Core and electrs, as people run them, in processes of their own |

use bitcoin::{Amount, Block, BlockHash, Network, TxOut, Txid};

use crate::chain::electrum::Electrum;
use crate::chain::embedded::EmbeddedNode;
use crate::chain::view::Source;
use crate::error::{Result, Rule};
use crate::headers::KNOWN;
use crate::rehearsal::daemons::Daemons;
use crate::rehearsal::machines::FOUND;
use crate::work::grind::grind;
use crate::work::template::BlockTemplate;

/// A world has a name.
pub const NAMED: Rule = Rule::new(
    "rehearsal-world",
    "a rehearsal's world is named embedded or core",
    "name one of them; leave HASHMIX_WORLD unset for embedded",
);

/// A chain that mines on demand. The people of the rehearsal see its Electrum server and nothing
/// else.
pub trait World {
    /// Where its Electrum server listens.
    fn electrum_url(&self) -> String;

    /// The other ways to the chain that a validator asks before he signs: fresh connections.
    fn sources(&self) -> Result<Vec<Source>>;

    /// Height of the tip.
    fn height(&self) -> Result<u32>;

    /// What the next block is built on.
    fn template(&self) -> Result<BlockTemplate>;

    /// Hands in a block, and waits for nobody to see it.
    fn hand_in(&self, block: &Block) -> Result<BlockHash>;

    /// The block at `height` in the best chain.
    fn block(&self, height: u32) -> Result<Block>;

    /// The transactions that wait for a block, in no particular order.
    fn mempool(&self) -> Result<Vec<Txid>>;

    /// Returns when the Electrum server shows what the node has: its tip, and what waits there.
    fn settle(&self) -> Result<()>;

    /// Hands in a block; returns when the Electrum server shows what came of it. A block beside
    /// the best chain is kept: it may win.
    fn submit(&self, block: &Block) -> Result<BlockHash> {
        let hash = self.hand_in(block)?;
        self.settle()?;
        Ok(hash)
    }

    /// Mines `blocks` blocks at once, each paying its reward out as `payouts` says; returns when
    /// the Electrum server shows the last.
    fn mine(&self, blocks: u32, payouts: &dyn Fn(Amount) -> Vec<TxOut>) -> Result<()> {
        for _ in 0..blocks {
            let template = self.template()?;
            // Branches that part have different coinbases, even if they pay alike.
            let branch: [u8; 32] = *AsRef::<[u8; 32]>::as_ref(&template.parent);
            self.hand_in(&found(&template, &branch, &payouts(template.reward))?)?;
        }
        self.settle()
    }
}

/// The block that a template becomes with these payouts; `extra_nonce` makes it differ from others.
pub(super) fn found(
    template: &BlockTemplate,
    extra_nonce: &[u8],
    payouts: &[TxOut],
) -> Result<Block> {
    let job = template.job(extra_nonce, payouts)?;
    let header = grind(&job, 0, 1_000, job.header.target())
        .next()
        .ok_or_else(|| FOUND.broken("world", "a block within 1,000 nonces", "none"))?;
    Ok(template.block(header, job.coinbase))
}

/// The world of this name, freshly started.
pub fn named(name: &str) -> Result<Box<dyn World>> {
    match name {
        "embedded" => Ok(Box::new(EmbeddedNode::start()?)),
        "core" => Ok(Box::new(Daemons::start()?)),
        other => Err(NAMED.misused("world", "embedded or core", other)),
    }
}

/// The world that HASHMIX_WORLD names, freshly started: the embedded one if it names none.
pub fn chosen() -> Result<Box<dyn World>> {
    let name = std::env::var_os("HASHMIX_WORLD").unwrap_or_default();
    match name.to_string_lossy().as_ref() {
        "" => named("embedded"),
        name => named(name),
    }
}

impl World for EmbeddedNode {
    fn electrum_url(&self) -> String {
        Self::electrum_url(self)
    }

    /// The server's other address.
    fn sources(&self) -> Result<Vec<Source>> {
        let [_, second] = self.electrum_urls();
        Ok(vec![Source::Server(Electrum::connect(&second, Network::Regtest)?)])
    }

    fn height(&self) -> Result<u32> {
        Ok(self.tip().0)
    }

    fn template(&self) -> Result<BlockTemplate> {
        Self::template(self)
    }

    fn hand_in(&self, block: &Block) -> Result<BlockHash> {
        Self::submit(self, block)
    }

    fn block(&self, height: u32) -> Result<Block> {
        Self::block(self, height).ok_or_else(|| {
            let expected = format!("a block up to the tip, {}", self.tip().0);
            KNOWN.unavailable("embedded node", expected, format_args!("height {height}"))
        })
    }

    fn mempool(&self) -> Result<Vec<Txid>> {
        Ok(Self::mempool(self))
    }

    /// Node and server are one.
    fn settle(&self) -> Result<()> {
        Ok(())
    }
}
