//! The laws of a count, as whole numbers: how likely each number of shares is.
//!
//! | law | counts shares | ratio of two neighbours, P(n+1) / P(n) |
//! |---|---|---|
//! | Poisson, mean l | in a span of time | l / (n + 1) |
//! | negative binomial, mean l | between one block and the W-th after it | (n + W) / (n + 1) x l / (W + l) |
//!
//! No exponential is taken, so none has to be agreed on: the likeliest count weighs 2^128, each
//! neighbour follows by the ratio until weights fall below 1, and a probability is a sum of weights
//! over the sum of all. Each weight is rounded down by at most 1, so that a probability is off by less
//! than 2^-80; what was cut off at the ends weighs less than that.

use bitcoin::Target;
use ruint::aliases::{U256, U512};

use crate::amount::MILLION;
use crate::error::{Culprit, Error, Result};
use crate::work::odds::SIZE;

/// Parts of a share that means are stated in: 10^-12.
pub(crate) const SHARE: u64 = 1_000_000_000_000;
/// Most shares that a law is computed for.
pub(crate) const MOST_SHARES: u64 = 1_000_000;
/// Most counts on each side of the likeliest: bounds memory at 64 MiB.
const MOST_COUNTS: usize = 1 << 20;
/// Weight of the likeliest count, 2^128.
const LIKELIEST: usize = 128;

/// A part of a whole, in units of 10^-18: a probability, or a share of the price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part(u64);

impl Part {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// All of it.
    pub const WHOLE: Self = Self(1_000_000_000_000_000_000);

    /// So many parts per million, at most all of it.
    pub const fn of_million(ppm: u32) -> Self {
        let ppm = if ppm < MILLION { ppm } else { MILLION };
        // At most 10^18.
        Self((ppm as u64).saturating_mul(SHARE))
    }

    /// In parts per million, to the nearest whole.
    pub fn ppm(self) -> u32 {
        let half = SHARE / 2;
        u32::try_from(self.0.saturating_add(half) / SHARE).unwrap_or(u32::MAX)
    }

    /// In units of 10^-18.
    pub fn units(self) -> u64 {
        self.0
    }

    /// The rest of the whole.
    pub fn rest(self) -> Self {
        Self(Self::WHOLE.0.saturating_sub(self.0))
    }

    /// The part of a part.
    pub fn of(self, other: Self) -> Self {
        let product = u128::from(self.0).saturating_mul(u128::from(other.0));
        let part = product.checked_div(u128::from(Self::WHOLE.0)).unwrap_or(0);
        Self(u64::try_from(part).unwrap_or(u64::MAX))
    }

    /// The mean of parts, each with its weight; nothing of nothing.
    pub fn mean(parts: impl IntoIterator<Item = (Self, u32)>) -> Self {
        let (mut sum, mut weights) = (0u128, 0u128);
        for (part, weight) in parts {
            let weight = u128::from(weight);
            sum = sum.saturating_add(u128::from(part.0).saturating_mul(weight));
            weights = weights.saturating_add(weight);
        }
        Self(u64::try_from(sum.checked_div(weights).unwrap_or(0)).unwrap_or(u64::MAX))
    }

    pub(crate) fn ratio(part: U256, whole: U256) -> Option<Self> {
        let units = part.checked_mul(U256::from(Self::WHOLE.0))?.checked_div(whole)?;
        u64::try_from(units).ok().map(Self)
    }
}

/// Shares expected, in units of 10^-12 of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mean(u64);

impl Mean {
    /// No share at all.
    pub const NONE: Self = Self(0);

    /// So many whole shares. Refused above a million.
    pub fn of(shares: u64) -> Result<Self> {
        Self::bounded(shares.checked_mul(SHARE))
    }

    /// Shares below `target` among so many hashes: hashes x target / 2^256.
    pub fn yielded(hashes: u128, target: Target) -> Result<Self> {
        let target = U512::from_be_slice(&target.to_be_bytes());
        let units = U512::from(hashes)
            .checked_mul(U512::from(SHARE))
            .and_then(|units| units.checked_mul(target))
            .map(|product| product.wrapping_shr(256));
        Self::bounded(units.and_then(|units| u64::try_from(units).ok()))
    }

    /// The mean times `part / of`.
    pub fn scaled(self, part: u64, of: u64) -> Result<Self> {
        let product = u128::from(self.0).checked_mul(u128::from(part));
        let scaled = product.and_then(|product| product.checked_div(u128::from(of)));
        Self::bounded(scaled.and_then(|scaled| u64::try_from(scaled).ok()))
    }

    /// In whole shares, rounded down.
    pub fn shares(self) -> u64 {
        self.0 / SHARE
    }

    /// In whole shares, the nearest: what people are told.
    pub fn nearest(self) -> u64 {
        self.0.saturating_add(SHARE / 2) / SHARE
    }

    /// In units of 10^-12 of a share.
    pub(crate) fn units(self) -> u64 {
        self.0
    }

    fn bounded(units: Option<u64>) -> Result<Self> {
        match units {
            Some(units) if units <= MOST_SHARES.saturating_mul(SHARE) => Ok(Self(units)),
            _ => Err(too_many("more")),
        }
    }
}

fn too_many(found: &str) -> Error {
    let expected = format_args!("at most {MOST_SHARES} shares in a window").to_string();
    SIZE.refuses(Culprit::Sender, "terms, expected", expected, found)
}

/// How likely each number of shares is.
#[derive(Clone, Debug)]
pub struct Law {
    /// The fewest shares that have a weight.
    first: u64,
    /// For each count what it and all below it weigh together, so that a probability is looked up.
    sums: Vec<U256>,
    total: U256,
}

/// Two neighbours' ratio, as a numerator and a denominator below 2^96.
type Ratio = dyn Fn(u64) -> Option<(U256, U256)>;

impl Law {
    /// The count of shares that come singly and at random in a fixed span of time.
    pub fn poisson(mean: Mean) -> Result<Self> {
        let (l, one) = (U256::from(mean.0), U256::from(SHARE));
        let ratio = move |n: u64| Some((l, one.checked_mul(U256::from(n.checked_add(1)?))?));
        Self::around(mean.shares(), &ratio)
    }

    /// The count of such shares between one block and the `blocks`-th after it, where blocks come at
    /// random too.
    pub fn over_blocks(mean: Mean, blocks: u32) -> Result<Self> {
        let w = u64::from(blocks.max(1));
        let l = U256::from(mean.0);
        let whole = U256::from(SHARE).checked_mul(U256::from(w)).and_then(|b| b.checked_add(l));
        let ratio = move |n: u64| {
            let up = l.checked_mul(U256::from(n.checked_add(w)?))?;
            Some((up, whole?.checked_mul(U256::from(n.checked_add(1)?))?))
        };
        // The likeliest count of a negative binomial is floor(l x (W - 1) / W).
        let likeliest = mean.scaled(w.saturating_sub(1), w)?.shares();
        Self::around(likeliest, &ratio)
    }

    /// Weights outwards from the likeliest count.
    fn around(likeliest: u64, ratio: &Ratio) -> Result<Self> {
        let most = U256::from(1u8).wrapping_shl(LIKELIEST);
        let up = ratio_walk(most, (likeliest..).map(ratio))?;
        let below = (0..likeliest).rev().map(|n| ratio(n).map(|(up, down)| (down, up)));
        let mut weights = ratio_walk(most, below)?;
        let first = likeliest.saturating_sub(u64::try_from(weights.len()).unwrap_or(u64::MAX));
        weights.reverse();
        weights.push(most);
        weights.extend(up);
        let mut total = U256::ZERO;
        for weight in &mut weights {
            total = total.saturating_add(*weight);
            *weight = total;
        }
        Ok(Self { first, sums: weights, total })
    }

    /// The fewest shares that have a weight.
    pub(crate) fn first_count(&self) -> u64 {
        self.first
    }

    /// Each count that has a weight, fewest first.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (u64, U256)> {
        let mut below = U256::ZERO;
        (self.first..).zip(&self.sums).map(move |(count, sum)| {
            let weight = sum.saturating_sub(below);
            below = *sum;
            (count, weight)
        })
    }

    /// The probability of fewer than `count` shares.
    pub fn below(&self, count: u64) -> Part {
        let Some(last) = count.checked_sub(self.first).and_then(|above| above.checked_sub(1))
        else {
            return Part::NONE;
        };
        let sum = usize::try_from(last).ok().and_then(|last| self.sums.get(last));
        Part::ratio(*sum.unwrap_or(&self.total), self.total).unwrap_or(Part::WHOLE)
    }

    /// The largest count that is missed with a probability of at most `part / of`. A comparison of
    /// whole numbers, so that nobody's rounding decides.
    pub fn reached_but_for(&self, part: u64, of: u64) -> u64 {
        let bound = self.total.checked_mul(U256::from(part)).unwrap_or(U256::MAX);
        let kept = |sum: &U256| sum.checked_mul(U256::from(of)).is_some_and(|sum| sum <= bound);
        let missed = self.sums.partition_point(kept);
        self.first.saturating_add(u64::try_from(missed).unwrap_or(u64::MAX))
    }
}

/// Weights that follow `first` by these ratios, until they vanish.
fn ratio_walk(
    first: U256,
    ratios: impl Iterator<Item = Option<(U256, U256)>>,
) -> Result<Vec<U256>> {
    let mut weights = Vec::new();
    let mut weight = first;
    for ratio in ratios {
        let next = ratio.and_then(|(up, down)| weight.checked_mul(up)?.checked_div(down));
        weight = next.ok_or_else(|| too_many("a mean that does not fit"))?;
        if weight.is_zero() {
            break;
        }
        spread(weights.len(), MOST_COUNTS)?;
        weights.push(weight);
    }
    Ok(weights)
}

/// Refuses a law that spreads over too many counts to be computed.
pub(crate) fn spread(counts: usize, most: usize) -> Result<()> {
    match counts < most {
        true => Ok(()),
        false => Err(too_many("counts spread too widely, for the window has so few blocks")),
    }
}
