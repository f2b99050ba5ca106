//! What chance does to counts, drawn share by share, against what [`crate::work::odds`] computes.

use super::chance::{Chance, MEAN_GAP};
use super::figure::{Claim, Figure, Sums};
use crate::work::odds::{Law, Mean};

const FAIR: &str = "Pro-rata, 360 shares a window: what an honest miner loses of the price";
const HARD: &str = "Pass-fail, 360 shares in 144 blocks: windows that are turned away";

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

pub(super) fn pro_rata(chance: &mut Chance, draws: u32) -> Vec<Figure> {
    let mut figure = |thousandths: u64, name| {
        let (agreed, mean) = delivered(thousandths)?;
        let claim = Claim::Is(Law::poisson(mean).ok()?.shortfall(agreed).ppm());
        let span = u128::from(SHARES * thousandths * MEAN_GAP) / 1_000;
        let mut lost = Sums::default();
        for _ in 0..draws {
            lost.add(SHARES.saturating_sub(arrivals(chance, span)), SHARES);
        }
        Some(Figure::new(FAIR, name, lost.ratio(), claim))
    };
    [
        (1_000, "delivers exactly as agreed"),
        (1_050, "5 % more"),
        (1_100, "10 % more"),
        (900, "10 % less"),
    ]
    .into_iter()
    .filter_map(|(thousandths, name)| figure(thousandths, name))
    .collect()
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
