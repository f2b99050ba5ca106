//! Odds: what chance does to whoever delivers what he agreed to, a little more, or less.
//!
//! A count of shares is a matter of chance, and both rules of entitlement leave some of it to the
//! miner. People agree to numbers, so the numbers are computed here, from the terms alone and in
//! whole numbers: whoever asks gets the same.
//!
//! | rule | compares | with | so the law of the count is |
//! |---|---|---|---|
//! | `pro-rata` | the count of a window | work agreed for the window's **header time** | Poisson, and the clock's error |
//! | `pass-fail` | the count of a window | one whole number, for the window's **blocks** | negative binomial |
//!
//! **Pro-rata.** Agreed work follows the clock in the headers: if blocks come fast, there is less of
//! both. What is left is the chance in the count itself, 1 / sqrt(N), and what the clock errs between
//! the window's ends, the root of 10 blocks ([`mod@clock`]): 0.08 % of 4,032 blocks, but 2.2 % of 144. In a
//! window the miner is paid min(1, N / expected), so luck is capped and bad luck is not: who delivers
//! exactly as agreed loses a little, always, and the more the shorter the windows are. Delivering more
//! by about one standard deviation makes it next to nothing.
//!
//! **Pass-fail.** The critical counts are fixed in the terms, for windows of so many blocks. How long
//! these take is chance as well: of 4,032 blocks 1.6 %, more than the count's own 1 %. So the count
//! between two blocks is negative binomial, of variance m + m^2 / W for m shares expected in W
//! blocks, and its tail decides. Calculated with a Poisson law the counts would be too high, and an
//! honest miner would be turned away many times as often as the terms say.
//!
//! The law is that of blocks at a fixed and correct difficulty. The network sets it anew every 2,016
//! blocks, from times that are chance too: after a stretch that was fast by chance the next is slow. So a
//! window that begins with a new difficulty lasts more unevenly than the law says: by a factor of 1.22 if
//! it has 1,008 blocks, 1.41 if 2,016, as the law says if 4,032, and less if it is longer. Whoever states
//! odds under pass-fail says so, with the figures of [`Course::with_retargets`].
//!
//! **Pace.** Both hold for a network that needs 600 s a block. If its hash rate grows through the
//! term, blocks come faster than that. Under pro-rata nothing else changes. Under pass-fail the
//! window is shorter, and the same machines find fewer shares in it, by as much: a network that is
//! 3 % fast turns an honest miner away as if he had delivered 3 % too little ([`Course::pace_ppm`]).
//! Who agrees to pass-fail adds the growth that he expects to his surplus, or takes pro-rata.
//!
//! What is left out: that a window below half of its agreed work ends the contract, which happens to
//! nobody who delivers; and that periods of a window weigh alike in the price but not quite in time.

pub mod clock;
mod law;

pub use law::{Law, Mean, Part};

use crate::amount::MILLION;
use crate::error::{Culprit, Result, Rule};
use crate::work::agreement::{BLOCK_SECONDS, Entitlement, WorkTerms};

/// Odds are computed for counts that people agree to.
pub const SIZE: Rule = Rule::new(
    "work-odds-size",
    "odds are computed for windows of at most 1,000,000 shares, in enough blocks that they do not spread far wider",
    "agree on fewer shares, or on a longer window",
);
/// A pass-fail rule errs as rarely as it is asked to.
pub const ALPHA: Rule = Rule::new(
    "work-odds-alpha",
    "an error rate is 1 to 499,999 parts per million of the terms, and counts of at least 1 keep it",
    "allow more errors, or expect more shares in a window",
);

/// Blocks in a year of 365 days, at 600 s each.
pub const YEAR_BLOCKS: u32 = 52_560;
/// Blocks between two difficulties.
pub const RETARGET: u32 = 2_016;
/// Steps in which a surplus is advised, in parts per million: 0.1 %.
const SURPLUS_STEP: u32 = 1_000;
/// Most surplus that is advised, in steps: as much again as agreed.
const MOST_STEPS: u32 = 1_000;

/// How a term goes: what is delivered, on what network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// Hashes delivered, in parts per million of what is agreed.
    pub delivered_ppm: u32,
    /// The network's pace, in parts per million of a block every 600 s; 1,030,000 is 3 % fast.
    pub pace_ppm: u32,
    /// Whether the network sets its difficulty anew when each window begins, and every 2,016 blocks
    /// from there; otherwise it is fixed and correct. Matters to pass-fail alone.
    pub retargets: bool,
}

impl Course {
    /// Everything is as the terms suppose.
    pub const AS_AGREED: Self =
        Self { delivered_ppm: MILLION, pace_ppm: MILLION, retargets: false };

    /// So many parts per million of the agreed work, at a block every 600 s.
    pub fn delivered(ppm: u32) -> Self {
        Self { delivered_ppm: ppm, ..Self::AS_AGREED }
    }

    /// What is delivered on a network of this pace instead.
    pub fn at_pace(self, ppm: u32) -> Self {
        Self { pace_ppm: ppm, ..self }
    }

    /// The same on a network that sets its difficulty anew.
    pub fn with_retargets(self) -> Self {
        Self { retargets: true, ..self }
    }
}

/// What chance leaves of the price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Odds {
    /// Part of the term's price that is lost to the miner, on average.
    pub loss: Part,
    /// The same of the price of the first year's windows; of the term where it is shorter.
    pub year_loss: Part,
    /// Under pass-fail, the chance that at least one window of the term is lost whole.
    pub failed: Option<Part>,
}

/// A window as chance sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its number, from 0.
    pub number: u32,
    /// Periods in it.
    pub periods: u32,
    /// Blocks in it.
    pub blocks: u32,
    /// Shares expected at the agreed rate and 600 s a block.
    pub agreed: Mean,
}

/// The windows of the term, in order.
pub fn windows(terms: &WorkTerms) -> Result<Vec<Window>> {
    let calendar = terms.calendar();
    (0..calendar.windows())
        .map(|number| {
            let periods = calendar.window_periods(number).unwrap_or(0..0);
            let periods = periods.end.saturating_sub(periods.start);
            let blocks = terms.period.saturating_mul(periods);
            let seconds = u128::from(BLOCK_SECONDS).saturating_mul(u128::from(blocks));
            let hashes = u128::from(terms.rate).saturating_mul(seconds);
            Ok(Window { number, periods, blocks, agreed: Mean::yielded(hashes, terms.target)? })
        })
        .collect()
}

/// For each window the largest count that an honest miner misses rarely enough: who delivers exactly
/// as agreed, on a network of 600 s a block, loses any window of the whole term with a probability
/// of at most `alpha_ppm` parts per million. Each window gets an equal part of it.
pub fn critical_counts(terms: &WorkTerms, alpha_ppm: u32) -> Result<Vec<u32>> {
    let refuse = |found: String| {
        let expected = "1 to 499999 parts per million, reached by a count of at least 1";
        ALPHA.refuses(Culprit::Sender, "alpha", expected, found)
    };
    if !(1..MILLION / 2).contains(&alpha_ppm) {
        return Err(refuse(alpha_ppm.to_string()));
    }
    let all = windows(terms)?;
    let parts = u64::from(MILLION).saturating_mul(u64::try_from(all.len()).unwrap_or(u64::MAX));
    let mut known: Option<(Window, u32)> = None;
    all.into_iter()
        .map(|window| {
            // Windows are alike, but for the last.
            if let Some((like, count)) = known
                && like.blocks == window.blocks
            {
                return Ok(count);
            }
            let law = Law::over_blocks(window.agreed, window.blocks)?;
            let count = law.reached_but_for(u64::from(alpha_ppm), parts);
            let count = count.min(window.agreed.shares());
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            if count == 0 {
                let missed = law.below(1).ppm();
                return Err(refuse(format!(
                    "{alpha_ppm}, where window {} stays without any share in {missed}",
                    window.number
                )));
            }
            known = Some((window, count));
            Ok(count)
        })
        .collect()
}

/// What chance leaves of the price under the terms' own rule, if the term goes like this.
pub fn odds(terms: &WorkTerms, course: Course) -> Result<Odds> {
    let all = windows(terms)?;
    let losses = match &terms.rule {
        Entitlement::ProRata => each_window(&all, |window| {
            // What the network's pace does to the time agreed on, it does to the work agreed on.
            let agreed = window.agreed.scaled(MILLION.into(), course.pace_ppm.max(1).into())?;
            let loss = clock::shortfall(found(window, course)?, agreed, window.blocks)?;
            Ok(move |_: u32| loss)
        })?,
        Entitlement::PassFail { critical } => each_window(&all, |window| {
            let blocks = match course.retargets {
                true => uneven(window.blocks),
                false => window.blocks,
            };
            let law = Law::over_blocks(found(window, course)?, blocks)?;
            Ok(move |number: u32| {
                let count = usize::try_from(number).ok().and_then(|n| critical.get(n));
                law.below(count.copied().map_or(u64::MAX, u64::from))
            })
        })?,
    };
    let first_year = |number: u32| {
        let window = terms.period.saturating_mul(terms.window);
        number.saturating_mul(window) < YEAR_BLOCKS
    };
    let weigh = |(window, loss): &(Window, Part)| (*loss, window.periods);
    let failed = losses.iter().fold(Part::WHOLE, |kept, (_, loss)| kept.of(loss.rest())).rest();
    Ok(Odds {
        loss: Part::mean(losses.iter().map(weigh)),
        year_loss: Part::mean(losses.iter().filter(|(w, _)| first_year(w.number)).map(weigh)),
        failed: matches!(terms.rule, Entitlement::PassFail { .. }).then_some(failed),
    })
}

/// The loss of each window, by one law for all windows of a length.
fn each_window<F: Fn(u32) -> Part>(
    all: &[Window],
    law: impl Fn(Window) -> Result<F>,
) -> Result<Vec<(Window, Part)>> {
    let mut known: Option<(u32, F)> = None;
    all.iter()
        .map(|window| {
            let ask = match known.take().filter(|(blocks, _)| *blocks == window.blocks) {
                Some((_, ask)) => ask,
                None => law(*window)?,
            };
            let loss = ask(window.number);
            known = Some((window.blocks, ask));
            Ok((*window, loss))
        })
        .collect()
}

/// How many blocks at a fixed difficulty last as unevenly as these do, if a new difficulty begins with
/// them; no more than there are.
///
/// A difficulty errs by what chance did to the 2,016 blocks before it, variance 1 / 2,016, and makes up
/// for it in the blocks that follow. So n times 2,016 blocks and b more, each of variance 1, last so
/// many blocks squared: b + b^2 / 2,016 if n is 0; else 2,016 of the first difficulty, b, and of the
/// last 2,016 what the b do not make up for, (2,016 - b)^2 / 2,016.
fn uneven(blocks: u32) -> u32 {
    let (w, retarget) = (u64::from(blocks), u64::from(RETARGET));
    let rest = w.checked_rem(retarget).unwrap_or(0);
    let left = if w < retarget { rest } else { retarget.saturating_sub(rest) };
    let first = if w < retarget { 0 } else { retarget };
    let squared = left.saturating_mul(left).checked_div(retarget).unwrap_or(0);
    let variance = first.saturating_add(rest).saturating_add(squared).max(1);
    let alike = w.saturating_mul(w).checked_div(variance).unwrap_or(0);
    u32::try_from(alike).unwrap_or(u32::MAX).clamp(1, blocks.max(1))
}

/// Shares expected of a miner in a window that goes like this.
fn found(window: Window, course: Course) -> Result<Mean> {
    window.agreed.scaled(course.delivered_ppm.into(), course.pace_ppm.max(1).into())
}

/// The least surplus, in parts per million and steps of 0.1 %, with which a miner loses less than
/// `loss` of a year's price on average; `None` if delivering twice what is agreed is not enough.
pub fn surplus_for(terms: &WorkTerms, loss: Part) -> Result<Option<u32>> {
    let enough = |steps: u32| -> Result<bool> {
        let surplus = steps.saturating_mul(SURPLUS_STEP);
        let course = Course::delivered(MILLION.saturating_add(surplus));
        odds(terms, course).map(|odds| odds.year_loss < loss)
    };
    // More is never worse, so halving finds the first that is enough.
    let (mut short, mut steps) = (0, MOST_STEPS);
    if enough(0)? {
        return Ok(Some(0));
    }
    if !enough(MOST_STEPS)? {
        return Ok(None);
    }
    while steps.saturating_sub(short) > 1 {
        let middle = short.midpoint(steps);
        match enough(middle)? {
            true => steps = middle,
            false => short = middle,
        }
    }
    Ok(Some(steps.saturating_mul(SURPLUS_STEP)))
}

#[cfg(test)]
mod tests;
