//! The laws and what follows from them, against figures that were computed another way
//! (`fixtures/odds/make.py`).

use bitcoin::Target;
use serde::Deserialize;

use super::*;
use crate::work::agreement::{Profile, share_target};
use crate::work::samples;

#[derive(Deserialize)]
struct Laws {
    mean: u64,
    blocks: u32,
    /// Count, then P(N < count) in units of 10^-15: Poisson, negative binomial.
    below: Vec<(u64, u64, u64)>,
}

#[derive(Deserialize)]
struct Case {
    expected: u32,
    slice: u32,
    period: u32,
    periods: u32,
    window: u32,
    critical: std::collections::BTreeMap<String, Vec<u32>>,
    courses: Vec<Figures>,
}

#[derive(Deserialize)]
struct Figures {
    delivered_ppm: u32,
    pace_ppm: u32,
    pro_rata_ppm: u32,
    pro_rata_year_ppm: u32,
    pass_fail_ppm: u32,
    pass_fail_year_ppm: u32,
    failed_ppm: u32,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../../../fixtures/odds/terms.json")).unwrap()
}

fn terms(case: &Case) -> WorkTerms {
    let rate = 100_000_000_000_000;
    WorkTerms {
        start: 1_000,
        slice: case.slice,
        period: case.period,
        periods: case.periods,
        window: case.window,
        rate,
        expected: case.expected,
        target: share_target(rate, case.expected, case.slice),
        ..samples::terms()
    }
    .check(Profile::Regtest)
    .unwrap()
}

fn year_of_days() -> WorkTerms {
    terms(&cases()[0])
}

fn pass_fail(terms: WorkTerms, critical: Vec<u32>) -> WorkTerms {
    WorkTerms { rule: Entitlement::PassFail { critical }, ..terms }.check(Profile::Regtest).unwrap()
}

#[test]
fn both_laws_agree_with_incomplete_gamma_and_beta_functions() {
    let laws: Vec<Laws> =
        serde_json::from_str(include_str!("../../../fixtures/odds/laws.json")).unwrap();
    for Laws { mean, blocks, below } in laws {
        let counts = Mean::of(mean).unwrap();
        let time = Law::poisson(counts).unwrap();
        let chain = Law::over_blocks(counts, blocks).unwrap();
        for (count, poisson, binomial) in below {
            let found = [time.below(count), chain.below(count)].map(|part| part.units() / 1_000);
            for (found, expected) in found.into_iter().zip([poisson, binomial]) {
                let off = found.abs_diff(expected);
                assert!(off <= 1, "{count} of {mean} in {blocks}: {found}, {expected}");
            }
        }
    }
}

#[test]
fn critical_counts_are_those_of_an_independent_computation_to_the_last_share() {
    for case in cases() {
        let terms = terms(&case);
        for (alpha, expected) in &case.critical {
            assert_eq!(critical_counts(&terms, alpha.parse().unwrap()).unwrap(), *expected);
        }
    }
}

#[test]
fn losses_are_those_of_an_independent_computation_within_a_millionth() {
    let near = |found: Part, expected: u32, what: &str| {
        assert!(found.ppm().abs_diff(expected) <= 1, "{what}: {} ppm, {expected}", found.ppm());
    };
    for case in cases() {
        let fair = terms(&case);
        let hard = pass_fail(fair.clone(), case.critical["10000"].clone());
        for figures in &case.courses {
            let course = Course::delivered(figures.delivered_ppm).at_pace(figures.pace_ppm);
            let [one, other] = [&fair, &hard].map(|terms| odds(terms, course).unwrap());
            near(one.loss, figures.pro_rata_ppm, "pro-rata");
            near(one.year_loss, figures.pro_rata_year_ppm, "pro-rata, a year");
            near(other.loss, figures.pass_fail_ppm, "pass-fail");
            near(other.year_loss, figures.pass_fail_year_ppm, "pass-fail, a year");
            near(other.failed.unwrap(), figures.failed_ppm, "pass-fail, a window");
            assert_eq!(one.failed, None);
        }
    }
}

#[test]
fn one_percent_more_than_agreed_loses_less_than_a_thousandth_in_a_year() {
    let terms = year_of_days();
    let exactly = odds(&terms, Course::AS_AGREED).unwrap().year_loss.ppm();
    let more = odds(&terms, Course::delivered(1_010_000)).unwrap().year_loss.ppm();
    assert_eq!((exactly, more), (4_037, 887));
    assert_eq!(surplus_for(&terms, Part::of_million(1_000)).unwrap(), Some(10_000));
    let just_less = odds(&terms, Course::delivered(1_009_000)).unwrap().year_loss.ppm();
    assert!(just_less >= 1_000, "{just_less}");
    assert_eq!(surplus_for(&terms, Part::WHOLE).unwrap(), Some(0));
    assert_eq!(surplus_for(&terms, Part::NONE).unwrap(), None);
}

#[test]
fn the_clock_costs_a_short_window_more_than_the_count_and_a_long_one_nothing_that_shows() {
    let shares = Mean::of(10_080).unwrap();
    let lost = |blocks| clock::shortfall(shares, shares, blocks).unwrap().ppm();
    // The count alone: 1 / sqrt(2 pi N), 3,973 ppm.
    assert_eq!([12, 144, 432, 4_032].map(lost), [102_560, 9_456, 4_916, 3_986]);
}

#[test]
fn windows_that_begin_with_a_new_difficulty_are_as_uneven_as_fewer_blocks() {
    let blocks = [1, 1_008, 2_016, 3_024, 4_032, 8_064, 50_000].map(uneven);
    assert_eq!(blocks, [1, 672, 1_008, 2_592, 4_032, 8_064, 50_000]);
    let fair = year_of_days();
    let weeks = WorkTerms { window: 7, ..fair.clone() }.check(Profile::Regtest).unwrap();
    for (terms, most) in [(fair, 11_000), (weeks, 60_000)] {
        let hard = pass_fail(terms.clone(), critical_counts(&terms, 10_000).unwrap());
        let failed = |course| odds(&hard, course).unwrap().failed.unwrap().ppm();
        let (fixed, anew) = (failed(Course::AS_AGREED), failed(Course::AS_AGREED.with_retargets()));
        assert!(fixed <= 10_000 && anew > fixed && anew < most, "{fixed} {anew}");
        // Pro-rata does not mind.
        let course = Course::AS_AGREED;
        assert_eq!(odds(&terms, course), odds(&terms, course.with_retargets()));
    }
}

#[test]
fn stated_counts_amount_to_the_alpha_they_were_made_for_and_one_share_more_to_a_higher_one() {
    let fair = year_of_days();
    let counts = critical_counts(&fair, 10_000).unwrap();
    let alpha = |critical: Vec<u32>| {
        let terms = pass_fail(fair.clone(), critical);
        odds(&terms, Course::AS_AGREED).unwrap().failed.unwrap()
    };
    let stated = alpha(counts.clone());
    assert!(stated <= Part::of_million(10_000), "{}", stated.ppm());
    // The last window is short, and its counts are coarse.
    assert!(stated > Part::of_million(9_500), "{}", stated.ppm());
    for window in [0, 12, 13] {
        let mut higher = counts.clone();
        higher[window] += 1;
        assert!(alpha(higher) > stated);
    }
}

#[test]
fn counts_by_a_poisson_law_would_turn_an_honest_miner_away_ten_times_as_often() {
    let terms = year_of_days();
    let mean = Mean::of(10_080).unwrap();
    let naive = Law::poisson(mean).unwrap().reached_but_for(10_000, 14_000_000);
    let honest = Law::over_blocks(mean, 4_032).unwrap();
    let (stated, real) = (10_000 / 14, honest.below(naive).ppm());
    assert!(real > 10 * stated, "{real} ppm a window instead of {stated}");
    assert_eq!(critical_counts(&terms, 10_000).unwrap()[0], 9_490);
}

#[test]
fn a_fast_network_hurts_an_honest_miner_under_pass_fail_and_hardly_under_pro_rata() {
    let fair = year_of_days();
    let counts = critical_counts(&fair, 10_000).unwrap();
    let hard = pass_fail(fair.clone(), counts);
    let course = Course::AS_AGREED.at_pace(1_030_000);
    assert_eq!(odds(&fair, course).unwrap().loss.ppm(), 4_097);
    assert_eq!(odds(&hard, course).unwrap().failed.unwrap().ppm(), 498_227);
    // The same as if he had delivered 1 / 1.03 of it.
    let less = odds(&hard, Course::delivered(970_874)).unwrap().failed.unwrap().ppm();
    assert!(less.abs_diff(498_227) < 100, "{less}");
}

#[test]
fn who_delivers_more_never_loses_more() {
    let fair = terms(&cases()[4]);
    let hard = pass_fail(fair.clone(), critical_counts(&fair, 100_000).unwrap());
    for terms in [fair, hard] {
        let losses: Vec<Part> = (0..=30)
            .map(|step| odds(&terms, Course::delivered(step * 50_000)).unwrap().loss)
            .collect();
        assert!(losses.is_sorted_by(|more, less| more >= less), "{losses:?}");
        assert_eq!(losses[0], Part::WHOLE);
    }
}

#[test]
fn an_error_rate_that_no_count_keeps_is_refused() {
    let terms = year_of_days();
    for alpha in [0, 500_000, u32::MAX] {
        assert_eq!(critical_counts(&terms, alpha).unwrap_err().rule(), "work-odds-alpha");
    }
    critical_counts(&terms, 499_999).unwrap();
    // Two shares expected in one block: none comes in every third.
    let few = WorkTerms {
        expected: 2,
        target: share_target(terms.rate, 2, 1),
        slice: 1,
        period: 1,
        window: 1,
        periods: 1,
        ..terms
    };
    assert_eq!(critical_counts(&few, 100_000).unwrap_err().rule(), "work-odds-alpha");
    assert_eq!(critical_counts(&few, 400_000).unwrap(), [1]);
}

#[test]
fn counts_beyond_reason_are_refused_before_anything_is_computed() {
    let terms = year_of_days();
    let easiest = Target::from_be_bytes([0xff; 32]);
    let many = WorkTerms { target: easiest, ..terms.clone() };
    assert_eq!(odds(&many, Course::AS_AGREED).unwrap_err().rule(), "work-odds-size");
    assert_eq!(critical_counts(&many, 10_000).unwrap_err().rule(), "work-odds-size");
    assert_eq!(Mean::of(1_000_001).unwrap_err().rule(), "work-odds-size");
    Law::over_blocks(Mean::of(1_000_000).unwrap(), 4_032).unwrap();
    // As a geometric law it would spread over a hundred million counts.
    let wide = Law::over_blocks(Mean::of(1_000_000).unwrap(), 1).unwrap_err();
    assert_eq!(wide.rule(), "work-odds-size");
    let endless = Course::delivered(u32::MAX);
    assert_eq!(odds(&terms, endless).unwrap_err().rule(), "work-odds-size");
    assert_eq!(odds(&terms, Course::AS_AGREED.at_pace(0)).unwrap_err().rule(), "work-odds-size");
}

#[test]
fn a_count_is_certain_at_the_ends_of_its_law() {
    for law in [
        Law::poisson(Mean::of(50).unwrap()).unwrap(),
        Law::over_blocks(Mean::of(50).unwrap(), 10).unwrap(),
    ] {
        assert_eq!(law.below(0), Part::NONE);
        assert!(law.below(100_000).rest().units() <= 1);
    }
    let nothing = Law::over_blocks(Mean::of(0).unwrap(), 5).unwrap();
    assert_eq!((nothing.below(0), nothing.below(1)), (Part::NONE, Part::WHOLE));
    let agreed = Mean::of(10).unwrap();
    assert_eq!(clock::shortfall(Mean::NONE, agreed, 5).unwrap(), Part::WHOLE);
}

#[test]
fn parts_of_parts_and_means_are_those_of_fractions() {
    let half = Part::of_million(500_000);
    assert_eq!(half.of(half), Part::of_million(250_000));
    assert_eq!(half.rest(), half);
    assert_eq!(Part::mean([(half, 3), (Part::NONE, 1)]), Part::of_million(375_000));
    assert_eq!(Part::mean([]), Part::NONE);
    assert_eq!(Part::of_million(u32::MAX), Part::WHOLE);
    assert_eq!((Part::WHOLE.ppm(), Part::NONE.ppm()), (1_000_000, 0));
}
