//! What chance does to counts, drawn block by block and share by share, against what
//! [`crate::work::odds`] computes.

use super::chance::{Chance, MEAN_GAP};
use super::clock::{Clock, Wanted, block};
use super::figure::{Claim, Figure, Sums};
use crate::amount::MILLION;
use crate::headers::MEDIAN_SPAN;
use crate::work::agreement::BLOCK_SECONDS;
use crate::work::odds::{Law, Mean, RETARGET, clock};

const FAIR: &str = "Pro-rata, by header time: what an honest miner loses of the price";
const HARD: &str = "Pass-fail, 360 shares in 144 blocks: windows that are turned away";
const UNEVEN: &str = "How long blocks take: spread by that at a fixed difficulty";

/// Shares expected in a window.
const SHARES: u64 = 360;
/// Blocks in it.
const BLOCKS: u64 = 144;

/// Shares that come in a span of time of so many mean gaps between shares (x 2^32).
fn arrivals(chance: &mut Chance, span: u128) -> u64 {
    let (mut time, mut count) = (0u128, 0);
    loop {
        time += u128::from(chance.gap());
        if time > span {
            return count;
        }
        count += 1;
    }
}

/// The mean, and what of it is delivered, in parts per thousand.
fn delivered(thousandths: u64) -> Option<(Mean, Mean)> {
    let agreed = Mean::of(SHARES).ok()?;
    Some((agreed, agreed.scaled(thousandths, 1_000).ok()?))
}

/// A window as a verdict sees it: shares are found from block to block, work is agreed from one
/// median of header times to the other. Answers what is lost of the price, in parts per million.
fn window(chance: &mut Chance, blocks: u64, thousandths: u64) -> u64 {
    let mut clock = Clock::begin(1 << 20);
    for _ in 0..MEDIAN_SPAN {
        let gap = block(chance);
        clock.block(gap, Wanted::True);
    }
    let (agreed_from, found_from) = (clock.median(), clock.now());
    for _ in 0..blocks {
        let gap = block(chance);
        clock.block(gap, Wanted::True);
    }
    let share = blocks * BLOCK_SECONDS;
    let found = u128::from(clock.now() - found_from) * u128::from(SHARES * thousandths);
    let count = arrivals(chance, found * u128::from(MEAN_GAP) / u128::from(share * 1_000));
    // In parts per million of a share.
    let agreed = (clock.median() - agreed_from).max(blocks) * SHARES * u64::from(MILLION) / share;
    let missing = agreed.saturating_sub(count * u64::from(MILLION));
    missing * u64::from(MILLION) / agreed
}

pub(super) fn pro_rata(chance: &mut Chance, draws: u32) -> Vec<Figure> {
    let mut figure = |blocks: u64, thousandths: u64, name| {
        let (agreed, mean) = delivered(thousandths)?;
        let stated = clock::shortfall(mean, agreed, blocks as u32).ok()?.ppm();
        // Of a dozen blocks the law states more than is lost, by a seventh at most.
        let claim = match blocks {
            BLOCKS => Claim::Is(stated),
            _ => Claim::Between(stated / 20 * 17, stated),
        };
        let mut lost = Sums::default();
        for _ in 0..draws {
            lost.add(window(chance, blocks, thousandths), MILLION.into());
        }
        Some(Figure::new(FAIR, name, lost.ratio(), claim))
    };
    [
        (BLOCKS, 1_000, "360 shares, 144 blocks: exactly as agreed"),
        (BLOCKS, 1_050, "5 % more"),
        (BLOCKS, 1_100, "10 % more"),
        (BLOCKS, 900, "10 % less"),
        (12, 1_000, "360 shares, 12 blocks: exactly as agreed"),
        (12, 1_100, "10 % more"),
        (24, 1_000, "360 shares, 24 blocks: exactly as agreed"),
    ]
    .into_iter()
    .filter_map(|(blocks, thousandths, name)| figure(blocks, thousandths, name))
    .collect()
}

/// Windows that begin with a new difficulty, which follows from the time of the 2,016 blocks before.
pub(super) fn retargets(chance: &mut Chance, draws: u32) -> Vec<Figure> {
    let claims = [(1_008, 1_224_745), (2_016, 1_414_214), (4_032, MILLION), (8_064, 707_107)];
    let measure = |(blocks, claim): (u32, u32)| {
        let mut lengths = Sums::default();
        for _ in 0..(draws / 20).max(100) {
            let mut stretch =
                |blocks: u32| -> u128 { (0..blocks).map(|_| u128::from(chance.gap())).sum() };
            let due = u128::from(RETARGET) * u128::from(MEAN_GAP);
            let (mut before, mut left, mut time) = (stretch(RETARGET), blocks, 0);
            while left > 0 {
                let now = left.min(RETARGET);
                // At the difficulty that the stretch before asks for, with the same machines.
                let drawn = stretch(now);
                time += drawn * due / before;
                (before, left) = (drawn, left - now);
            }
            lengths.add(u64::try_from(time / u128::from(MEAN_GAP)).unwrap_or(u64::MAX), 1);
        }
        let name = format!("{blocks} blocks from a new difficulty on");
        Figure::new(UNEVEN, name, lengths.spread(), Claim::Is(claim))
    };
    claims.map(measure).into()
}

pub(super) fn pass_fail(chance: &mut Chance, draws: u32) -> Vec<Figure> {
    let Some(critical) = delivered(1_000)
        .and_then(|(agreed, _)| Law::over_blocks(agreed, BLOCKS as u32).ok())
        .map(|law| law.reached_but_for(1, 20))
    else {
        return Vec::new();
    };
    let mut figure = |thousandths: u64, pace: u64, name| {
        let (_, mean) = delivered(thousandths * 1_000 / pace)?;
        let law = Law::over_blocks(mean, BLOCKS as u32).ok()?;
        let mut failed = Sums::default();
        for _ in 0..draws {
            // Blocks come at random too; their time is all that the shares see of them.
            let blocks: u128 = (0..BLOCKS).map(|_| u128::from(chance.gap())).sum();
            let span = blocks * u128::from(SHARES * (thousandths * 1_000 / pace))
                / u128::from(BLOCKS * 1_000);
            failed.add(u64::from(arrivals(chance, span) < critical), 1);
        }
        Some(Figure::new(HARD, name, failed.ratio(), Claim::Is(law.below(critical).ppm())))
    };
    [
        (1_000, 1_000, format!("exactly as agreed, critical {critical}")),
        (1_050, 1_000, "5 % more".to_owned()),
        (1_000, 1_050, "as agreed, on a network 5 % fast".to_owned()),
        (900, 1_000, "10 % less".to_owned()),
    ]
    .into_iter()
    .filter_map(|(thousandths, pace, name)| figure(thousandths, pace, name))
    .collect()
}
