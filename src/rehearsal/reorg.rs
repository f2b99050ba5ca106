//! History rewritten, in any world: a branch of ours that outgrows the last blocks.

use bitcoin::{Amount, TxOut};

use crate::chain::embedded::{dated, subsidy};
use crate::error::{Culprit, Result, Rule};
use crate::rehearsal::world::{World, found};
use crate::work::template::BlockTemplate;

/// Only what is there can be rewritten.
pub const DEPTH: Rule = Rule::new(
    "rehearsal-depth",
    "a reorg rewrites at least one block and no more than there are",
    "ask for a depth between 1 and the height of the tip",
);

/// Replaces the last `depth` blocks by `depth + 1` without transactions, each paying its reward out
/// as `payouts` says. Returns when the Electrum server shows the new branch.
///
/// The transactions of the lost blocks return to the mempool, as far as they are still valid: what
/// descends from a lost coinbase is gone.
pub fn replace(
    world: &dyn World,
    depth: u32,
    payouts: &dyn Fn(Amount) -> Vec<TxOut>,
) -> Result<()> {
    let tip = world.height()?;
    let Some(fork) = tip.checked_sub(depth).filter(|_| depth > 0) else {
        let expected = format!("1 to {tip}");
        return Err(DEPTH.refuses(Culprit::Sender, "reorg", expected, depth));
    };
    // Bits and version of regtest never change: the lost branch shows them.
    let lost = world.block(tip)?;
    let mut parent = world.block(fork)?.header;
    // No block of the new branch is one of the lost ones, even if it pays alike.
    let branch = lost.block_hash();
    for height in fork.saturating_add(1)..=tip.saturating_add(1) {
        let template = BlockTemplate {
            version: lost.header.version,
            parent: parent.block_hash(),
            height,
            time: dated(height, parent.time),
            bits: lost.header.bits,
            reward: subsidy(height),
            transactions: Vec::new(),
        };
        let block = found(&template, branch.as_ref(), &payouts(template.reward))?;
        world.hand_in(&block)?;
        parent = block.header;
    }
    world.settle()
}
