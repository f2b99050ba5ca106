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
            format_args!("a number from {} to below {}", terms.first, terms.periods),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::work::samples::{chain, one_in, run, terms};

    #[test]
    fn a_share_stands_for_the_hashes_that_one_takes_on_average() {
        assert_eq!(share_work(one_in(20)), 1 << 20);
        assert_eq!(share_work(terms().target), 75);
        // Difficulty 1: 2^256 / (0xffff x 2^208).
        assert_eq!(share_work(Target::MAX), 4_295_032_833);
        assert_eq!(share_work(Target::from_be_bytes([0xff; 32])), 1);
    }

    #[test]
    fn work_saturates_and_never_wraps() {
        let mut one = [0; 32];
        one[31] = 1;
        assert_eq!(share_work(Target::from_be_bytes(one)), u128::MAX);
        assert_eq!(share_work(Target::ZERO), u128::MAX);
        assert_eq!(credit(u64::MAX, one_in(100)), u128::MAX);
        assert_eq!(credit(0, one_in(100)), 0);
        assert_eq!(credit(3, one_in(100)), 3 << 100);
        assert_eq!(fill(&[u128::MAX, u128::MAX], u128::MAX), [u128::MAX, 0]);
        assert!(!below_half(&[u128::MAX, u128::MAX], u128::MAX));
        assert!(below_half(&[u128::MAX, 1], u128::MAX / 2));
    }

    #[test]
    fn agreed_work_follows_header_time() {
        let terms = terms();
        // Four blocks, 600 s apart, at 1 H/s.
        assert_eq!(agreed(&terms, 0, &chain(45)).unwrap(), 2_400);
        let slow = Headers::new(terms.network, 0, run(45, 1_200)).unwrap();
        assert_eq!(agreed(&terms, 5, &slow).unwrap(), 4_800);
    }

    #[test]
    fn agreed_work_is_at_least_that_of_one_second_a_block() {
        let terms = WorkTerms { rate: 1_000, ..terms() };
        // The fastest chain there can be: medians rise a second every six blocks at the least.
        let mut times = run(10, 1);
        while times.len() < 46 {
            let last: Vec<u32> = times.iter().rev().take(11).map(|h| h.time).collect();
            let mut sorted = last.clone();
            sorted.sort_unstable();
            let parent = times.last().unwrap().block_hash();
            times.push(crate::work::samples::mine(parent, sorted[5] + 1, 0));
        }
        let fast = Headers::new(terms.network, 0, times).unwrap();
        let seconds = fast.median_time_past(18).unwrap() - fast.median_time_past(14).unwrap();
        assert!(seconds < 4, "{seconds}");
        assert_eq!(agreed(&terms, 0, &fast).unwrap(), 4_000);
    }

    #[test]
    fn a_period_that_does_not_exist_is_refused_and_missing_headers_are_unavailable() {
        assert_eq!(agreed(&terms(), 6, &chain(45)).unwrap_err().rule(), "work-period");
        let late = Headers::new(terms().network, 10, run(45, 600).split_off(10)).unwrap();
        let missing = agreed(&terms(), 0, &late).unwrap_err();
        assert_eq!((missing.rule(), missing.exit_code()), ("headers-known", 5));
    }

    #[test]
    fn credit_fills_the_periods_in_order() {
        assert_eq!(fill(&[10, 10, 10], 25), [10, 10, 5]);
        assert_eq!(fill(&[10, 10, 10], 0), [0, 0, 0]);
        assert_eq!(fill(&[10, 10, 10], 99), [10, 10, 10]);
        assert_eq!(fill(&[], 99), [0u128; 0]);
    }

    #[test]
    fn exactly_half_is_not_below_half() {
        assert!(below_half(&[10, 10], 9));
        assert!(!below_half(&[10, 10], 10));
        assert!(below_half(&[10, 11], 10));
        assert!(!below_half(&[10, 11], 11));
        assert!(!below_half(&[], 0));
    }

    proptest! {
        #[test]
        fn what_is_filled_is_what_there_is_and_more_credit_never_fills_less(
            agreed in proptest::collection::vec(0u128..1_000, 0..10),
            less in 0u128..5_000,
            more in 0u128..5_000,
        ) {
            let all: u128 = agreed.iter().sum();
            let (less, more) = (less.min(more), less.max(more));
            let (small, large) = (fill(&agreed, less), fill(&agreed, more));
            prop_assert_eq!(small.iter().sum::<u128>(), less.min(all));
            prop_assert!(small.iter().zip(&large).all(|(s, l)| s <= l));
            prop_assert!(large.iter().zip(&agreed).all(|(l, a)| l <= a));
        }
    }
}
