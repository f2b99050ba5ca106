//! Hashes: how many were agreed on, how many are proven, and which periods the proven ones fill.
//!
//! A count of shares below a fixed target estimates work without bias: each stands for 2^256 / t
//! hashes. Taking shares away, or stopping while lucky, gains nothing. All sums saturate at
//! 2^128 - 1, far above any work that is agreed on; nothing wraps.

use bitcoin::Target;
use ruint::aliases::U384;

use crate::error::{Culprit, Result, Rule};
use crate::headers::Headers;
use crate::work::agreement::{WorkTerms, wide};

/// A period exists.
pub const PERIOD: Rule =
    Rule::new("work-period", "a period is one of the term", "ask for a period of the term");

/// Hashes that one share below `target` stands for: floor(2^256 / target), saturating.
pub fn share_work(target: Target) -> u128 {
    U384::from(1u8)
        .checked_shl(256)
        .and_then(|all| all.checked_div(wide(target)))
        .map_or(u128::MAX, |work| u128::try_from(work).unwrap_or(u128::MAX))
}

/// Hashes that `shares` distinct valid shares below `target` prove, saturating.
pub fn credit(shares: u64, target: Target) -> u128 {
    share_work(target).saturating_mul(u128::from(shares))
}

/// The agreed work A_i of a period, in hashes: the rate times the header time between the last
/// block of the period and the block before its first, at least 1 s a block.
pub fn agreed(terms: &WorkTerms, period: u32, headers: &Headers) -> Result<u128> {
    let blocks = terms.calendar().period_blocks(period).ok_or_else(|| {
        PERIOD.refuses(
            Culprit::Sender,
            "period",
            format_args!("a number below {}", terms.periods),
            period,
        )
    })?;
    // Terms start above block 0, so there is a block before the first.
    let before = headers.median_time_past(blocks.start().saturating_sub(1))?;
    let last = headers.median_time_past(*blocks.end())?;
    let seconds = last.saturating_sub(before).max(terms.period);
    Ok(u128::from(terms.rate).saturating_mul(u128::from(seconds)))
}

/// What fills each period when `credit` fills those of a window in order: f_i = min(A_i, credit
/// left).
pub fn fill(agreed: &[u128], credit: u128) -> Vec<u128> {
    let mut left = credit;
    agreed
        .iter()
        .map(|agreed| {
            let filled = left.min(*agreed);
            left = left.saturating_sub(filled);
            filled
        })
        .collect()
}

/// Whether a window's credit stays below half of its agreed work, which ends the contract.
pub fn below_half(agreed: &[u128], credit: u128) -> bool {
    let all = agreed.iter().fold(0u128, |sum, a| sum.saturating_add(*a));
    // 2 x credit < all, without a doubling that could overflow.
    credit < all.saturating_sub(credit)
}
