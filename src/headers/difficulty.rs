//! The difficulty that a header must state, and the earliest time of a span's first block: one
//! place for a run of headers and for the guard's tree, so that both judge alike.
//!
//! Networks differ in four things only, all of them in [`Params`]:
//!
//! | network | retargets | from | easy block after 20 minutes | first block of a span |
//! |---|---|---|---|---|
//! | mainnet, signet | every 2,016 blocks | the last block's target | no | any time after the median |
//! | testnet3 | every 2,016 blocks | the last block's target | yes | any time after the median |
//! | testnet4 | every 2,016 blocks | the first block's target | yes | at most 600 s before its parent (BIP 94) |
//! | regtest | never | | | any time after the median |

use bitcoin::consensus::Params;
use bitcoin::{CompactTarget, Network};

/// Seconds that BIP 94 lets the first block of a span lie before its parent.
const WARP: u32 = 600;

/// What the rule asks of an earlier header: its time (Unix seconds) and its compact target.
pub type Past = (u32, CompactTarget);

/// Blocks from one change of difficulty to the next; 2,016 on every network people use.
pub fn span(params: &Params) -> u32 {
    let blocks = params.pow_target_timespan.checked_div(params.pow_target_spacing);
    blocks.and_then(|blocks| u32::try_from(blocks).ok()).unwrap_or(u32::MAX).max(1)
}

/// Whether `height` is the first block of a span.
pub fn is_boundary(params: &Params, height: u32) -> bool {
    height.is_multiple_of(span(params))
}

/// The compact target that a child of the block at height `parent` must state if its time is
/// `time`, where `at` tells of the ancestors of that child by height.
///
/// Answers the height that it had to know and that `at` does not, as the error. As in Bitcoin
/// Core, `src/pow.cpp`, `GetNextWorkRequired`.
pub fn bits_after(
    params: &Params,
    parent: u32,
    time: u32,
    at: impl Fn(u32) -> Option<Past>,
) -> Result<CompactTarget, u32> {
    let at = |height: u32| at(height).ok_or(height);
    let (last_time, last_bits) = at(parent)?;
    let child = parent.saturating_add(1);
    // Regtest has one difficulty, so the walk back below would never end before its genesis.
    if params.no_pow_retargeting {
        return Ok(last_bits);
    }
    if is_boundary(params, child) {
        let (first_time, first_bits) = at(child.saturating_sub(span(params)))?;
        // A time that runs backwards is clamped to the shortest span, as Core does.
        let seconds = u64::from(last_time.saturating_sub(first_time));
        let from = if params.network == Network::Testnet4 { first_bits } else { last_bits };
        return Ok(CompactTarget::from_next_work_required(from, seconds, params));
    }
    if !params.allow_min_difficulty_blocks {
        return Ok(last_bits);
    }
    let easiest = params.max_attainable_target.to_compact_lossy();
    let patience = u32::try_from(params.pow_target_spacing.saturating_mul(2)).unwrap_or(u32::MAX);
    if time > last_time.saturating_add(patience) {
        return Ok(easiest);
    }
    let mut height = parent;
    let mut bits = last_bits;
    while bits == easiest && !is_boundary(params, height) {
        height = height.saturating_sub(1);
        (_, bits) = at(height)?;
    }
    Ok(bits)
}

/// The earliest time (Unix seconds) that BIP 94 allows a child of the block at height `parent`
/// with time `time`; `None` where it says nothing: off the boundaries, and off testnet4.
pub fn earliest_after(params: &Params, parent: u32, time: u32) -> Option<u32> {
    let first = is_boundary(params, parent.saturating_add(1));
    (first && params.network == Network::Testnet4).then(|| time.saturating_sub(WARP))
}
