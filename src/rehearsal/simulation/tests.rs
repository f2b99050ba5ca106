//! A small simulation, and the generator that it draws from.

use super::chance::MEAN_GAP;
use super::figure::{Claim, Sums};
use super::*;

#[test]
fn every_claim_of_the_protocol_holds_within_five_standard_errors() {
    let plan = Plan { seed: 5, draws: 2_000 };
    let table = run(plan, &mut |_, _| {});
    println!("{table}");
    let wrong: Vec<String> = table.contradictions().map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "seed {}: {wrong:#?}", plan.seed);
    assert!(table.figures.len() > 20, "{}", table.figures.len());
    // A figure without error was not measured.
    assert!(table.figures.iter().all(|figure| figure.error > 0 || figure.measured >= 999_000));
}

#[test]
fn a_seed_gives_one_table_and_another_seed_another() {
    let table = |seed| run(Plan { seed, draws: LEAST_DRAWS }, &mut |_, _| {});
    let first = table(1);
    assert_eq!(first, table(1));
    assert_ne!(first.figures, table(2).figures);
}

#[test]
fn the_k_th_lowest_pays_a_trickster_and_the_count_does_not() {
    let plan = Plan { seed: 6, draws: 2_000 };
    let table = run(plan, &mut |_, _| {});
    let figure = |name: &str| table.figures.iter().find(|f| f.name == name).unwrap().clone();
    let kth = figure("stopping at the right moment, K = 20");
    let count = figure("stopping when lucky, drawn");
    let least = |figure: &Figure| figure.measured - 5 * figure.error;
    assert!(least(&kth) > 1_030_000, "seed {}: {kth}", plan.seed);
    assert!(least(&count) < 1_000_000, "seed {}: {count}", plan.seed);
}

#[test]
fn gaps_are_exponential() {
    let mut chance = Chance::new(7, 0);
    let gaps: Vec<u64> = (0..40_000).map(|_| chance.gap()).collect();
    let mean = gaps.iter().sum::<u64>() / gaps.len() as u64;
    assert!(mean.abs_diff(MEAN_GAP) < MEAN_GAP / 40, "{mean}");
    // More than 1, 2 and 3 means: e^-1, e^-2, e^-3, within five standard errors.
    for (means, expected) in [(1, 14_715), (2, 5_413), (3, 1_991)] {
        let more = gaps.iter().filter(|gap| **gap > means * MEAN_GAP).count();
        assert!(more.abs_diff(expected) < 500, "{means}: {more}");
    }
}

#[test]
fn sums_give_ratio_and_error() {
    let mut sums = Sums::default();
    for paid in [90, 110, 95, 105] {
        sums.add(paid, 100);
    }
    // Squares of the differences: 250; its root by 400 is 3.95 %.
    assert_eq!(sums.ratio(), (1_000_000, 39_529));
    assert_eq!(Sums::default().ratio(), (0, 0));
    let figure = |measured, claim| Figure::new("", "", (measured, 10), claim).holds();
    assert!(figure(100, Claim::Is(150)) && !figure(100, Claim::Is(151)));
    assert!(figure(100, Claim::AtMost(50)) && !figure(100, Claim::AtMost(49)));
    assert!(figure(100, Claim::AtLeast(150)) && !figure(100, Claim::AtLeast(151)));
    assert!(figure(100, Claim::Between(150, 200)) && !figure(100, Claim::Between(0, 49)));
}
