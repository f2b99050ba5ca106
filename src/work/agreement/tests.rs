//! Terms: what hangs together, and the bounds of mainnet.

use proptest::prelude::*;

use super::*;
use crate::work::samples::{script, terms};

/// 100 TH/s for 28 days of 144 blocks, on mainnet.
fn mainnet() -> WorkTerms {
    WorkTerms {
        network: Network::Bitcoin,
        start: 900_000,
        period: 144,
        periods: 28,
        window: 28,
        slice: 12,
        rate: 100_000_000_000_000,
        target: share_target(100_000_000_000_000, 30, 12),
        expected: 30,
        lock: script(1),
        first: 0,
        earlier: Vec::new(),
        service: script(2),
        service_ppm: 10_000,
        cap: Amount::from_sat(100_000_000),
        receipt_span: 36,
        proof_span: 42,
        ruling_depth: 144,
        rule: Entitlement::ProRata,
    }
}

fn refused(profile: Profile, base: WorkTerms, change: impl Fn(&mut WorkTerms)) -> &'static str {
    let mut terms = base;
    change(&mut terms);
    terms.check(profile).unwrap_err().rule()
}

fn refused_on_mainnet(change: impl Fn(&mut WorkTerms)) -> &'static str {
    refused(Profile::Mainnet, mainnet(), change)
}

fn refused_on_regtest(change: impl Fn(&mut WorkTerms)) -> &'static str {
    refused(Profile::Regtest, terms(), change)
}

#[test]
fn the_default_terms_of_both_profiles_are_accepted() {
    mainnet().check(Profile::Mainnet).unwrap();
    terms().check(Profile::Regtest).unwrap();
}

#[test]
fn small_numbers_are_refused_on_mainnet() {
    let profile = mainnet().check(Profile::Regtest).unwrap_err();
    assert_eq!(profile.rule(), "work-terms-profile");
    let spans: [fn(&mut WorkTerms); 6] = [
        |t| {
            t.slice = 6;
            t.expected = 15;
        },
        |t| t.period = 18,
        |t| t.receipt_span = 35,
        |t| t.proof_span = 41,
        |t| t.ruling_depth = 143,
        |t| (t.slice, t.period) = (15, 150),
    ];
    for change in spans {
        assert_eq!(refused_on_mainnet(change), "work-terms-spans");
    }
    // 29 x 12 x 28 = 9,744 shares in a window.
    let few = |t: &mut WorkTerms| {
        t.expected = 29;
        t.target = share_target(t.rate, 29, 12);
    };
    assert_eq!(refused_on_mainnet(few), "work-terms-shares");
    assert_eq!(refused_on_mainnet(|t| (t.periods, t.window) = (20, 28)), "work-terms-shares");
}

#[test]
fn block_counts_that_do_not_fit_together_are_refused() {
    let spans: [fn(&mut WorkTerms); 8] = [
        |t| t.slice = 0,
        |t| t.period = 0,
        |t| t.period = 5,
        |t| t.periods = 0,
        |t| t.window = 0,
        |t| t.proof_span = t.receipt_span - 1,
        |t| t.ruling_depth = t.proof_span,
        |t| t.ruling_depth = 0,
    ];
    for change in spans {
        assert_eq!(refused_on_regtest(change), "work-terms-spans");
    }
}

#[test]
fn a_term_of_more_periods_than_anybody_derives_locks_for_is_refused() {
    for periods in [0, 4_097, u32::MAX] {
        assert_eq!(refused_on_regtest(|t| t.periods = periods), "work-terms-spans", "{periods}");
    }
    let mut most = self::terms();
    most.periods = 4_096;
    assert!(most.check(Profile::Regtest).is_ok());
}

#[test]
fn a_term_that_an_issue_could_not_state_is_refused() {
    let terms: [fn(&mut WorkTerms); 4] = [
        |t| t.start = 0,
        |t| t.start = (1 << 24) - 24 - 8,
        |t| t.start = u32::MAX,
        |t| t.ruling_depth = u32::MAX,
    ];
    for change in terms {
        assert_eq!(refused_on_regtest(change), "work-terms-term");
    }
    let mut last = self::terms();
    last.start = (1 << 24) - 24 - 8 - 1;
    last.check(Profile::Regtest).unwrap();
}

#[test]
fn a_target_that_does_not_yield_the_expected_shares_is_refused() {
    let shares: [fn(&mut WorkTerms); 6] = [
        |t| t.rate = 0,
        |t| t.expected = 0,
        |t| t.expected = 17,
        |t| t.rate = 2,
        |t| t.target = Target::ZERO,
        |t| t.target = Target::from_be_bytes([0xff; 32]),
    ];
    for change in shares {
        assert_eq!(refused_on_regtest(change), "work-terms-shares");
    }
    // Credit rounds 2^256 / t down: on mainnet no target is so easy that this would show.
    let easy = |t: &mut WorkTerms| {
        t.rate = 1_000_000;
        t.target = share_target(t.rate, 30, 12);
    };
    assert_eq!(refused_on_mainnet(easy), "work-terms-shares");
}

#[test]
fn the_derived_target_yields_the_expected_shares_at_any_rate() {
    for rate in [1_000_000_000_000, 7_777_777_777_777, u64::MAX] {
        for expected in [30, 31, 9_999, 1_000_003] {
            let target = share_target(rate, expected, 12);
            assert_eq!(yielded(rate, target, 12), Some(U384::from(expected)), "{rate} {expected}");
        }
    }
    assert_eq!(share_target(0, 1, 12), every_hash());
    assert_eq!(share_target(1, u32::MAX, 1), every_hash());
}

#[test]
fn payments_that_could_not_be_judged_are_refused() {
    assert_eq!(refused_on_regtest(|t| t.lock = ScriptBuf::new()), "work-terms-lock");
    let data = ScriptBuf::from_hex("6a00").unwrap();
    assert_eq!(refused_on_regtest(|t| t.lock = data.clone()), "work-terms-lock");
    assert_eq!(refused_on_regtest(|t| t.service = data.clone()), "work-terms-service");
    assert_eq!(refused_on_regtest(|t| t.service = t.lock.clone()), "work-terms-service");
    for ppm in [0, 9_999, 1_000_000, u32::MAX] {
        assert_eq!(refused_on_regtest(|t| t.service_ppm = ppm), "work-terms-service");
    }
    let cap = Amount::from_sat(MAX_SATOSHIS + 1);
    assert_eq!(refused_on_regtest(|t| t.cap = cap), "work-terms-cap");
}

#[test]
fn critical_counts_fit_the_windows() {
    let rule = |critical: &[u32]| {
        let critical = critical.to_vec();
        move |t: &mut WorkTerms| t.rule = Entitlement::PassFail { critical: critical.clone() }
    };
    // Three windows of 64 expected shares.
    let mut good = terms();
    rule(&[1, 60, 64])(&mut good);
    good.check(Profile::Regtest).unwrap();
    for bad in [&[][..], &[60, 60], &[60, 60, 60, 60], &[60, 0, 60], &[60, 60, 65]] {
        assert_eq!(refused_on_regtest(rule(bad)), "work-terms-critical");
    }
}

#[test]
fn terms_survive_their_text_and_unknown_fields_are_refused() {
    for terms in [terms(), mainnet()] {
        let text = serde_json::to_string(&terms).unwrap();
        assert_eq!(serde_json::from_str::<WorkTerms>(&text).unwrap(), terms);
        let more = text.replacen('{', "{\"more\":1,", 1);
        assert!(serde_json::from_str::<WorkTerms>(&more).is_err());
    }
    let rule = serde_json::to_string(&Entitlement::PassFail { critical: vec![1, 2] }).unwrap();
    assert_eq!(rule, r#"{"pass-fail":{"critical":[1,2]}}"#);
    assert_eq!(serde_json::to_string(&Entitlement::ProRata).unwrap(), r#""pro-rata""#);
}

/// Terms of a later contract: it pays from the third period on, and the fourth is the last to pay the
/// lock of the holder before.
fn later() -> WorkTerms {
    WorkTerms { first: 2, earlier: vec![earlier(4, 8)], ..terms() }.check(Profile::Regtest).unwrap()
}

fn earlier(until: u32, lock: u8) -> Earlier {
    Earlier { until, lock: script(lock) }
}

#[test]
fn a_slice_pays_the_lock_of_whoever_holds_the_position_in_its_period() {
    let (old, older) = (script(8), script(9));
    let twice = WorkTerms { earlier: vec![earlier(3, 9), earlier(4, 8)], ..later() };
    let twice = twice.check(Profile::Regtest).unwrap();
    let present = &twice.lock;
    // Two slices to a period.
    let expected = [&older, &older, &old, &old, present, present, present, present];
    for (slice, lock) in (4..12).zip(expected) {
        assert_eq!(twice.lock_at(slice), lock.as_script(), "slice {slice}");
        assert_eq!(twice.demand(slice).lock, lock.as_script());
    }
    // The term begins at height 15 and has periods of four blocks.
    let heights: Vec<_> = twice.locks().into_iter().map(|(heights, _)| heights).collect();
    assert_eq!(heights, [23..=26, 27..=30, 31..=38]);
    for (heights, lock) in twice.locks() {
        for height in heights {
            assert_eq!(twice.lock_at(twice.calendar().slice_of(height).unwrap()), lock);
        }
    }
    let always = terms();
    assert_eq!(always.locks(), [(15..=38, always.lock.as_script())]);
    assert_eq!((0..12).filter(|slice| *always.lock_at(*slice) != *always.lock).count(), 0);
    assert_eq!(always.demand(0).holders, None);
}

#[test]
fn a_part_of_the_term_that_is_none_and_locks_that_do_not_follow_each_other_are_refused() {
    let locks = |count: u32| (1..=count).map(|until| earlier(until, 100 + until as u8)).collect();
    let bad: [fn(&mut WorkTerms); 10] = [
        |t| t.first = 6,
        |t| t.first = u32::MAX,
        |t| t.earlier = vec![earlier(0, 8)],
        |t| (t.first, t.earlier) = (2, vec![earlier(2, 8)]),
        |t| t.earlier = vec![earlier(6, 8)],
        |t| t.earlier = vec![earlier(3, 8), earlier(3, 9)],
        |t| t.earlier = vec![earlier(3, 8), earlier(2, 9)],
        |t| t.earlier = vec![earlier(2, 8), earlier(3, 8)],
        |t| t.earlier = vec![Earlier { until: 1, lock: t.lock.clone() }, earlier(2, 8)],
        |t| t.earlier = vec![Earlier { until: 1, lock: t.service.clone() }],
    ];
    for (place, change) in bad.into_iter().enumerate() {
        assert_eq!(refused_on_regtest(change), "work-terms-tenure", "{place}");
    }
    for lock in [ScriptBuf::new(), ScriptBuf::from_hex("6a00").unwrap()] {
        let change = |t: &mut WorkTerms| t.earlier = vec![Earlier { until: 1, lock: lock.clone() }];
        assert_eq!(refused_on_regtest(change), "work-terms-tenure");
    }
    let many = |count| WorkTerms { periods: 30, earlier: locks(count), ..terms() };
    many(16).check(Profile::Regtest).unwrap();
    let refused = many(17).check(Profile::Regtest).unwrap_err();
    assert_eq!(refused.rule(), "work-terms-tenure");
    assert!(refused.to_string().contains("at most 16 earlier locks, found 17"), "{refused}");
}

#[test]
fn critical_counts_of_a_part_are_one_a_window_counted_from_its_first_period() {
    let rule = |critical: &[u32]| Entitlement::PassFail { critical: critical.to_vec() };
    let part = |critical: &[u32]| WorkTerms { first: 3, rule: rule(critical), ..terms() };
    // Periods 3 and 4 with 64 expected shares, then period 5 with 32.
    part(&[64, 32]).check(Profile::Regtest).unwrap();
    for bad in [&[60][..], &[60, 30, 30], &[64, 33]] {
        let refused = part(bad).check(Profile::Regtest).unwrap_err();
        assert_eq!(refused.rule(), "work-terms-critical");
    }
}

#[test]
fn terms_for_a_part_survive_their_text_and_those_for_the_whole_do_not_mention_parts() {
    let text = serde_json::to_string(&later()).unwrap();
    assert_eq!(serde_json::from_str::<WorkTerms>(&text).unwrap(), later());
    assert!(text.contains("\"first\":2") && text.contains("\"until\":4"), "{text}");
    let text = serde_json::to_string(&terms()).unwrap();
    assert!(!text.contains("first") && !text.contains("earlier"), "{text}");
}

proptest! {
    #[test]
    fn a_part_costs_what_terms_of_its_length_cost(
        price in 0..=MAX_SATOSHIS,
        first in 0u32..200,
        length in 1u32..200,
    ) {
        let price = Amount::from_sat(price);
        let part = WorkTerms { first, periods: first + length, ..terms() };
        let alone = WorkTerms { periods: length, ..terms() };
        let costs: Vec<Amount> =
            (first..first + length).map(|period| part.installment(price, period)).collect();
        prop_assert_eq!(costs.iter().copied().sum::<Amount>(), price);
        let like: Vec<Amount> = (0..length).map(|i| alone.installment(price, i)).collect();
        prop_assert_eq!(costs, like);
        for outside in [first.checked_sub(1), Some(first + length)].into_iter().flatten() {
            prop_assert_eq!(part.installment(price, outside), Amount::ZERO);
        }
    }
}
