//! What the clock in the headers adds to the chance in a count.
//!
//! Agreed work follows median-time-past: of a block it is the time of the fifth block before it, where
//! clocks are right. Shares are found until the block itself. So a window of W blocks is paid by one
//! stretch of time and agreed by another, both five blocks long where they do not overlap:
//!
//! ```text
//! agreed    |--- X, 5 ---|------- M, W - 5 blocks -------|
//! found                  |------- M, W - 5 blocks -------|--- Y, 5 ---|
//! ```
//! Y - X has a mean of nothing and a variance of 10 blocks^2, whatever W is: 26 % of 12 blocks, 2.2 % of
//! 144, 0.08 % of 4,032. The next window does not give it back, for what a window has too much lapses.
//!
//! A count over the time of exponential gaps between k blocks is k times geometric. So of the count
//! less the work agreed on, in shares,
//!
//! ```text
//! Poisson of W - 10 blocks  +  5 geometric of a block found  -  5 geometric of a block agreed
//! ```
//! has the variance that is asked for: the count's own of W blocks, and the clock's 10 blocks^2. Below
//! five blocks nothing overlaps, and 5 is W. Agreed work is taken as that of W blocks of 600 s, where
//! in truth it is longer when X is: the loss that follows is a little high where X is much of the
//! window (a seventh at 12 blocks, a twentieth at 24, nothing that shows from 144 on), which the
//! simulation beside `hashmix work simulate` holds it to.

use ruint::aliases::U256;

use crate::error::Result;
use crate::headers::MEDIAN_SPAN;
use crate::work::odds::law::{Law, Mean, Part, SHARE, spread};

/// Weights below 2^64 are cut off at the ends: of all they are less than 2^-40.
const CUT: usize = 64;
/// Most counts of a law with the clock in it. The clock spreads counts over some fifty blocks each way,
/// and words about odds ask for a dozen laws.
const MOST_COUNTS: usize = 1 << 18;

/// What is missing on average of the work agreed for a window of so many blocks, where `found` shares
/// are expected and `agreed` are agreed on, both at the pace that the blocks have: the count errs, and
/// so does the clock.
pub fn shortfall(found: Mean, agreed: Mean, blocks: u32) -> Result<Part> {
    if found == Mean::NONE {
        return Ok(Part::WHOLE);
    }
    let blocks = u64::from(blocks.max(1));
    let late = u64::from(MEDIAN_SPAN / 2).min(blocks);
    let counted = blocks.saturating_sub(late.saturating_mul(2));
    let law = Law::poisson(found.scaled(counted, blocks)?)?;
    let mut weights: Vec<U256> = law.counts().map(|(_, weight)| weight).collect();
    // The place of the count of no shares; counts below it are negative.
    let first = i128::from(law.first_count());
    for _ in 0..late {
        later(&mut weights, found.scaled(1, blocks)?)?;
    }
    weights.reverse();
    let before = weights.len();
    for _ in 0..late {
        later(&mut weights, agreed.scaled(1, blocks)?)?;
    }
    weights.reverse();
    let grown = i128::try_from(weights.len().saturating_sub(before)).unwrap_or(i128::MAX);
    let first = first.saturating_sub(grown);

    // The work agreed on is that of all blocks, so what was left out of the count comes off it.
    let [found, agreed] = [found, agreed].map(|mean| i128::from(mean.units()));
    let part = |mean: i128, of: u64| {
        mean.saturating_mul(i128::from(of)).checked_div(i128::from(blocks)).unwrap_or(0)
    };
    let expected =
        part(found, counted).saturating_add(part(found, late)).saturating_sub(part(agreed, late));
    let line = agreed.saturating_sub(found).saturating_add(expected);
    let (mut sum, mut total) = (U256::ZERO, U256::ZERO);
    for (count, weight) in (first..).zip(weights) {
        let missing = line.saturating_sub(count.saturating_mul(i128::from(SHARE)));
        // Nobody misses more than all of it.
        let missing = u64::try_from(missing.clamp(0, agreed)).unwrap_or(u64::MAX);
        sum = sum.saturating_add(weight.saturating_mul(U256::from(missing)));
        total = total.saturating_add(weight);
    }
    let agreed = U256::from(u64::try_from(agreed).unwrap_or(u64::MAX));
    let missing = sum.checked_div(agreed).and_then(|missing| Part::ratio(missing, total));
    Ok(missing.unwrap_or(Part::NONE))
}

/// Adds to a count one that is geometric: what is found until the next block.
///
/// Its law is p q^n with q = mean / (1 + mean), so each new weight is p times the old one and q times
/// the new one before it.
fn later(weights: &mut Vec<U256>, mean: Mean) -> Result<()> {
    let (one, mean) = (U256::from(SHARE), U256::from(mean.units()));
    let whole = one.saturating_add(mean);
    let mut last = U256::ZERO;
    for weight in weights.iter_mut() {
        let both = weight.saturating_mul(one).saturating_add(last.saturating_mul(mean));
        last = both.checked_div(whole).unwrap_or(U256::ZERO);
        *weight = last;
    }
    let least = U256::from(1u8).wrapping_shl(CUT);
    loop {
        last = last.saturating_mul(mean).checked_div(whole).unwrap_or(U256::ZERO);
        if last < least {
            return Ok(());
        }
        spread(weights.len(), MOST_COUNTS)?;
        weights.push(last);
    }
}
