//! Where a deal is rehearsed: a chain that mines on demand, with an Electrum server in front.

use bitcoin::{Amount, Block, BlockHash, TxOut};

use crate::chain::embedded::EmbeddedNode;
use crate::error::Result;
use crate::work::template::BlockTemplate;

/// A chain that mines on demand. The people of the rehearsal see its Electrum server and nothing
/// else.
pub trait World {
    /// Where its Electrum server listens.
    fn electrum_url(&self) -> String;

    /// Height of the tip.
    fn height(&self) -> Result<u32>;

    /// What the next block is built on.
    fn template(&self) -> Result<BlockTemplate>;

    /// Hands in a block.
    fn submit(&self, block: &Block) -> Result<BlockHash>;

    /// Mines `blocks` blocks at once, each paying its reward out as `payouts` says.
    fn mine(&self, blocks: u32, payouts: &dyn Fn(Amount) -> Vec<TxOut>) -> Result<()>;
}

impl World for EmbeddedNode {
    fn electrum_url(&self) -> String {
        Self::electrum_url(self)
    }

    fn height(&self) -> Result<u32> {
        Ok(self.tip().0)
    }

    fn template(&self) -> Result<BlockTemplate> {
        Self::template(self)
    }

    fn submit(&self, block: &Block) -> Result<BlockHash> {
        Self::submit(self, block)
    }

    fn mine(&self, blocks: u32, payouts: &dyn Fn(Amount) -> Vec<TxOut>) -> Result<()> {
        Self::mine(self, blocks, payouts).map(|_| ())
    }
}
