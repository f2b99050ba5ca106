//! Blocks under construction: what the next one may create, when it is dated, how it is ground.

use bitcoin::block::{Header, Version};
use bitcoin::{Amount, Block, CompactTarget, Transaction, TxOut, Weight};

use super::BLOCK;
use crate::error::Result;
use crate::headers::MEDIAN_SPAN;
use crate::work::template::BlockTemplate;

/// Time of block 1, Unix seconds: long enough ago that the chain can grow for years of its own
/// time before Core finds a block to be from the future.
const START: u32 = 1_700_000_000;
/// Time from block to block, in seconds, until told otherwise.
pub(super) const SPACING: u32 = 600;
/// Blocks from one halving of the subsidy to the next on regtest.
const HALVING: u32 = 150;
/// Regtest's one and only target.
const BITS: u32 = 0x207f_ffff;
/// What a template's transactions may weigh, so that a large coinbase still fits.
pub(super) const ROOM: Weight = Weight::from_wu(Weight::MAX_BLOCK.to_wu() - 8_000);

/// What the block at `height` may create.
pub(crate) fn subsidy(height: u32) -> Amount {
    let first = Amount::from_int_btc(50).to_sat();
    Amount::from_sat(first.checked_shr(height / HALVING).unwrap_or(0))
}

/// When the block at `height` is dated whose parent is dated `parent`, until told otherwise.
pub(crate) fn dated(height: u32, parent: u32) -> u32 {
    if height == 1 { START } else { parent.saturating_add(SPACING) }
}

/// The block at `height` on top of `parents`: the last headers of some branch, its tip last.
///
/// It is dated `spacing` seconds after its parent, and later than the median of the last eleven.
pub(super) fn template(
    height: u32,
    parents: &[Header],
    spacing: u32,
    reward: Amount,
    transactions: Vec<Transaction>,
) -> Result<BlockTemplate> {
    let parent = parents.last().ok_or_else(|| {
        BLOCK.broken("embedded node", "a parent", format_args!("height {height}"))
    })?;
    let mut times: Vec<u32> =
        parents.iter().rev().take(MEDIAN_SPAN as usize).map(|header| header.time).collect();
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or(0);
    let due = parent.time.saturating_add(spacing);
    Ok(BlockTemplate {
        version: Version::from_consensus(0x2000_0000),
        parent: parent.block_hash(),
        height,
        time: if height == 1 { START } else { due.max(median.saturating_add(1)) },
        bits: CompactTarget::from_consensus(BITS),
        reward,
        transactions,
    })
}

/// The whole block with proof of work; `number` makes it differ from others of its template.
pub(super) fn grind(template: &BlockTemplate, number: u32, payouts: &[TxOut]) -> Result<Block> {
    let mut job = template.job(&number.to_le_bytes(), payouts)?;
    while job.header.validate_pow(job.header.target()).is_err() {
        job.header.nonce = job.header.nonce.wrapping_add(1);
    }
    Ok(template.block(job.header, job.coinbase))
}
