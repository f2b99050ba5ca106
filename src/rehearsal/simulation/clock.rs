//! Tricks with time: the headers' clock is bent, slices are mined when they are over.

use super::chance::{Chance, MEAN_GAP};
use super::figure::{Claim, Figure, Sums};
use crate::amount::MILLION;
use crate::headers::MEDIAN_SPAN;
use crate::work::agreement::BLOCK_SECONDS;

const LATE: &str = "Mining old slices until they are sealed, 10,080 shares a window";
const BENT: &str = "Bending the headers' clock: agreed work left to deliver";

/// Blocks in a window of 28 days.
const WINDOW: u64 = 4_032;
/// Blocks after a slice's last block within which it can be sealed, and a slice's own.
const OPEN: u64 = 12 + 42;
/// Shares expected between two blocks, times two.
const SHARES_OF_TWO: u64 = 5;
/// Seconds that a header may be ahead of a node's clock.
const AHEAD: u64 = 7_200;

/// A gap between two blocks, in seconds.
pub(super) fn block(chance: &mut Chance) -> u64 {
    let gap = u128::from(chance.gap()) * u128::from(BLOCK_SECONDS);
    u64::try_from(gap / u128::from(MEAN_GAP)).unwrap_or(u64::MAX)
}

/// Ends a window at its last block, or mines its last slices until they can no longer be sealed or
/// the window is full; either way nobody mines on once it is full.
pub(super) fn back_filling(chance: &mut Chance, draws: u32) -> Vec<Figure> {
    let (mut honest, mut filled, mut work, mut time) =
        (Sums::default(), Sums::default(), Sums::default(), Sums::default());
    for _ in 0..(draws / 20).max(50) {
        let window: u64 = (0..WINDOW).map(|_| block(chance)).sum();
        let open: u64 = (0..OPEN).map(|_| block(chance)).sum();
        // In shares: work agreed for the window's time.
        let agreed = window * SHARES_OF_TWO / (2 * BLOCK_SECONDS);
        let (mut now, mut count, mut by_the_end) = (0u128, 0, 0);
        let scale = u128::from(MEAN_GAP) * u128::from(SHARES_OF_TWO);
        let end = |seconds: u64| u128::from(seconds) * scale / u128::from(2 * BLOCK_SECONDS);
        let (last, sealed) = (end(window), end(window + open));
        while count < agreed {
            now += u128::from(chance.gap());
            if now > sealed {
                now = sealed;
                break;
            }
            count += 1;
            by_the_end += u64::from(now <= last);
        }
        honest.add(by_the_end, agreed);
        filled.add(count, agreed);
        let mined = u64::try_from(now / u128::from(MEAN_GAP)).unwrap_or(u64::MAX);
        work.add(count, mined.max(1));
        time.add(mined, agreed);
    }
    let most = MILLION + u32::try_from(OPEN * u64::from(MILLION) / WINDOW).unwrap_or(0);
    vec![
        Figure::new(
            LATE,
            "pay, if the window's last block ends it",
            honest.ratio(),
            // 1 / sqrt(2 pi N) is lost to luck.
            Claim::Between(995_700, 996_400),
        ),
        // Of which 1.3 % more work makes up nearly all, and never more.
        Figure::new(
            LATE,
            "pay, if mined on for 54 blocks",
            filled.ratio(),
            Claim::Between(999_000, MILLION),
        ),
        Figure::new(LATE, "credit by work, if mined on", work.ratio(), Claim::Is(MILLION)),
        Figure::new(LATE, "work by agreed work, if mined on", time.ratio(), Claim::AtMost(most)),
    ]
}

/// Header times as miners choose them, and the median of the last eleven.
pub(super) struct Clock {
    now: u64,
    times: Vec<u64>,
}

impl Clock {
    /// A clock at this second, before any block.
    pub(super) fn begin(now: u64) -> Self {
        Self { now, times: Vec::new() }
    }

    /// The second in which the last block was found.
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    pub(super) fn median(&self) -> u64 {
        let span = MEDIAN_SPAN as usize;
        let mut last: Vec<u64> = self.times.iter().rev().take(span).copied().collect();
        last.sort_unstable();
        last.get(last.len() / 2).copied().unwrap_or(0)
    }

    /// A block after `gap` seconds, whose miner would like this time.
    pub(super) fn block(&mut self, gap: u64, wanted: Wanted) {
        self.now += gap;
        let least = self.median() + 1;
        let time = match wanted {
            Wanted::True => self.now,
            Wanted::Late => self.now + AHEAD,
            Wanted::Early => least,
        };
        self.times.push(time.max(least));
    }
}

/// What a miner writes into his header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// What his clock says.
    True,
    /// The latest time that others accept.
    Late,
    /// The earliest time that is valid.
    Early,
}

/// A miner with a part of the network's blocks dates them late before a stretch begins and early
/// before it ends, so that it seems shorter and less work is agreed for it.
fn bent(chance: &mut Chance, stretches: u32, blocks: u64, part: u32) -> (u32, u32) {
    let mut sums = Sums::default();
    for _ in 0..stretches {
        let (mut honest, mut cheat) = (Clock::begin(1 << 20), Clock::begin(1 << 20));
        let (mut before, mut after) = ((0, 0), (0, 0));
        for place in 0..=40 + blocks {
            let gap = block(chance);
            let ours = chance.happens(part);
            let wanted = match place {
                _ if !ours => Wanted::True,
                ..=40 => Wanted::Late,
                _ if place + 40 > 40 + blocks => Wanted::Early,
                _ => Wanted::True,
            };
            honest.block(gap, Wanted::True);
            cheat.block(gap, wanted);
            if place == 40 {
                before = (honest.median(), cheat.median());
            }
            after = (honest.median(), cheat.median());
        }
        // At least a second a block is agreed on.
        let seconds = |from: u64, to: u64| to.saturating_sub(from).max(blocks);
        sums.add(seconds(before.1, after.1), seconds(before.0, after.0));
    }
    sums.ratio()
}

pub(super) fn bending(chance: &mut Chance, draws: u32) -> Vec<Figure> {
    // The ends can be moved by the time that a header may be ahead and by the span of a median.
    let least = |blocks: u64| {
        let moved = AHEAD + u64::from(MEDIAN_SPAN) * BLOCK_SECONDS;
        let part = moved * u64::from(MILLION) / (blocks * BLOCK_SECONDS);
        // Bending never makes a stretch longer.
        Claim::Between(MILLION - u32::try_from(part).unwrap_or(MILLION), MILLION)
    };
    let stretches = (draws / 100).max(50);
    [
        ("a window of 28 days, 10 % of the blocks", stretches, WINDOW, 100_000),
        ("a window of 28 days, 30 % of the blocks", stretches, WINDOW, 300_000),
        ("a window of 28 days, 45 % of the blocks", stretches, WINDOW, 450_000),
        ("a day alone, 30 %: the next gives it back", stretches * 20, 144, 300_000),
    ]
    .into_iter()
    .map(|(name, stretches, blocks, part)| {
        Figure::new(BENT, name, bent(chance, stretches, blocks, part), least(blocks))
    })
    .collect()
}
