//! Terms: what hangs together, and the bounds of mainnet.

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
