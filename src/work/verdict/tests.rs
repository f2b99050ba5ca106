//! Verdicts of a small contract: six periods of two slices, windows of two periods, 2,400 hashes
//! agreed per period at 600 s a block, 75 hashes to a share: 32 shares fill a period exactly.

use std::sync::OnceLock;

use bitcoin::secp256k1::XOnlyPublicKey;
use proptest::prelude::*;

use super::*;
use crate::id::PositionId;
use crate::work::agreement::WorkTerms;
use crate::work::certificate::Certificate;
use crate::work::evidence::SealedCertificate;
use crate::work::samples::{
    POSITION, certificate, chain, mine, receipt, ruling_keys, run, seal_at, sealed, shares, terms,
};

const PRICE: Amount = Amount::from_sat(6_000);
/// Shares that fill a slice exactly.
const FULL: usize = 16;
const TIP: u32 = 60;

/// A chain and one large certificate per slice, ground once.
fn world() -> &'static (Headers, Vec<Certificate>) {
    static WORLD: OnceLock<(Headers, Vec<Certificate>)> = OnceLock::new();
    WORLD.get_or_init(|| {
        let headers = chain(TIP);
        let all = (0..12).map(|s| certificate(&terms(), &headers, s, 3 * FULL)).collect();
        (headers, all)
    })
}

/// The first shares of each slice, sealed in time.
fn delivered(counts: &[usize]) -> Evidence {
    let (headers, all) = world();
    let certificates = counts
        .iter()
        .zip(all)
        .filter(|(count, _)| **count > 0)
        .map(|(count, whole)| {
            let mut part = whole.clone();
            part.shares.truncate(*count);
            sealed(&terms(), headers, part)
        })
        .collect();
    Evidence::new(POSITION).with(certificates)
}

/// What the evidence is worth by these numbers, no digest confirmed.
fn measured(
    terms: &WorkTerms,
    price: Amount,
    through: u32,
    evidence: &Evidence,
    ruling_keys: &[XOnlyPublicKey],
    k: usize,
    headers: &Headers,
) -> Result<Verdict> {
    let yardstick = Yardstick { terms: terms.clone(), ruling_keys: ruling_keys.to_vec() };
    let proofs = BTreeMap::new();
    verdict(
        &Measure { yardstick: &yardstick, price, k, headers, proofs: &proofs },
        through,
        evidence,
    )
}

fn judge(terms: &WorkTerms, through: u32, evidence: &Evidence) -> Result<Verdict> {
    measured(terms, PRICE, through, evidence, &ruling_keys(), 2, &world().0)
}

fn earned(through: u32, evidence: &Evidence) -> u64 {
    judge(&terms(), through, evidence).unwrap().earned().to_sat()
}

fn sats(verdict: &Verdict) -> Vec<u64> {
    verdict.entitlement.iter().map(|a| a.to_sat()).collect()
}

#[test]
fn work_delivered_in_full_earns_the_price_in_full() {
    let verdict = judge(&terms(), 5, &delivered(&[FULL; 12])).unwrap();
    assert_eq!(sats(&verdict), [1_000, 2_000, 3_000, 4_000, 5_000, 6_000]);
    assert_eq!(verdict.close_after, None);
    for period in &verdict.periods {
        assert_eq!((period.agreed, period.credit, period.filled), (2_400, 2_400, 2_400));
        assert_eq!((period.shares, period.installment.to_sat()), (32, 1_000));
    }
}

#[test]
fn more_than_agreed_earns_no_more_than_the_price() {
    let verdict = judge(&terms(), 5, &delivered(&[3 * FULL; 12])).unwrap();
    assert_eq!(verdict.earned(), PRICE);
}

#[test]
fn nothing_delivered_earns_nothing_and_closes_after_the_first_window() {
    let verdict = judge(&terms(), 5, &delivered(&[])).unwrap();
    assert_eq!(sats(&verdict), [0; 6]);
    assert_eq!(verdict.close_after, Some(1));
}

#[test]
fn a_surplus_makes_good_for_periods_of_its_window_only() {
    // Nothing in period 0, double in period 1; nothing in period 2, triple in 3; half in 4, 5.
    let counts = [0, 0, 32, 32, 0, 0, 48, 48, 8, 8, 8, 8];
    let verdict = judge(&terms(), 5, &delivered(&counts)).unwrap();
    assert_eq!(sats(&verdict), [0, 2_000, 2_000, 4_000, 4_500, 5_000]);
    assert_eq!(verdict.periods[0].filled, 2_400);
    assert_eq!(verdict.periods[0].credit, 0);
}

#[test]
fn entitlement_through_a_period_uses_slices_through_it_only() {
    let evidence = delivered(&[0, 0, 32, 32]);
    assert_eq!(earned(0, &evidence), 0);
    assert_eq!(earned(1, &evidence), 2_000);
}

#[test]
fn credit_fills_the_first_period_first() {
    // 40 shares in period 1: period 0 is filled, period 1 gets the eight that are left.
    let verdict = judge(&terms(), 1, &delivered(&[0, 0, 20, 20])).unwrap();
    let filled: Vec<u128> = verdict.periods.iter().map(|p| p.filled).collect();
    assert_eq!(filled, [2_400, 600]);
    assert_eq!(sats(&verdict), [0, 1_250]);
}

#[test]
fn a_closed_window_below_half_closes_the_contract_and_an_open_one_does_not() {
    // 64 shares fill a window: 31 are below half, 32 are not.
    let below = [16, 15, 0, 0, 16, 16, 16, 16];
    let half = [16, 16, 0, 0, 16, 16, 0, 0];
    assert_eq!(judge(&terms(), 0, &delivered(&below)).unwrap().close_after, None);
    assert_eq!(judge(&terms(), 1, &delivered(&below)).unwrap().close_after, Some(1));
    assert_eq!(judge(&terms(), 3, &delivered(&below)).unwrap().close_after, Some(1));
    assert_eq!(judge(&terms(), 3, &delivered(&half)).unwrap().close_after, None);
    assert_eq!(judge(&terms(), 5, &delivered(&half)).unwrap().close_after, Some(5));
}

#[test]
fn a_short_last_window_is_closed_by_the_end_of_the_term() {
    let terms = WorkTerms { window: 4, ..terms() };
    let counts = [16, 16, 16, 16, 16, 16, 16, 16, 1, 1, 1, 1];
    let verdict = judge(&terms, 5, &delivered(&counts)).unwrap();
    assert_eq!(verdict.close_after, Some(5));
    assert_eq!(verdict.earned().to_sat(), 4_000 + 125);
}

#[test]
fn certificates_of_one_slice_are_united_and_no_share_counts_twice() {
    let (headers, all) = world();
    let part = |range: std::ops::Range<usize>| {
        let shares = all[0].shares[range].iter().cloned();
        sealed(&terms(), headers, Certificate::new(POSITION, 0, shares).unwrap())
    };
    let several = vec![part(0..10), part(6..16), part(0..10), part(12..16)];
    let evidence = Evidence::new(POSITION).with(several);
    let verdict = judge(&terms(), 0, &evidence).unwrap();
    assert_eq!(verdict.periods[0].shares, 16);
    assert_eq!(verdict.earned().to_sat(), 500);
}

#[test]
fn a_receipt_that_comes_too_late_seals_nothing() {
    let (headers, all) = world();
    let mut part = all[0].clone();
    part.shares.truncate(FULL);
    // Slice 0 ends at height 16; receipts count until height 19.
    let at = |heights| {
        let certificates = vec![seal_at(headers, part.clone(), heights)];
        earned(0, &Evidence::new(POSITION).with(certificates))
    };
    assert_eq!(at([17, 19]), 500);
    assert_eq!(at([19, 19]), 500);
    assert_eq!(at([17, 20]), 0);
    assert_eq!(at([20, 20]), 0);
}

#[test]
fn receipts_for_one_certificate_from_several_people_add_up() {
    let (headers, all) = world();
    let mut part = all[0].clone();
    part.shares.truncate(FULL);
    let whole = sealed(&terms(), headers, part);
    let [first, second] = [0, 1].map(|v| SealedCertificate {
        certificate: whole.certificate.clone(),
        receipts: vec![whole.receipts[v].clone()],
    });
    let with = |certificates| earned(0, &Evidence::new(POSITION).with(certificates));
    assert_eq!(with(vec![first.clone()]), 0);
    assert_eq!(with(vec![first.clone(), first.clone()]), 0);
    assert_eq!(with(vec![first, second]), 500);
}

#[test]
fn evidence_of_another_position_counts_for_nothing() {
    let other = PositionId([8; 32]);
    let evidence = Evidence::new(other).with(delivered(&[FULL; 12]).certificates().to_vec());
    assert_eq!(earned(5, &evidence), 0);
    let (headers, all) = world();
    let mut foreign = all[0].clone();
    foreign.shares.truncate(FULL);
    foreign.position = other;
    let evidence = Evidence::new(POSITION).with(vec![sealed(&terms(), headers, foreign)]);
    assert_eq!(evidence.certificates()[0].receipts.len(), 2);
    assert_eq!(earned(0, &evidence), 0);
}

#[test]
fn a_sealed_certificate_that_is_not_well_formed_counts_for_nothing() {
    let (headers, all) = world();
    let with = |change: &dyn Fn(&mut Certificate)| {
        let mut bad = all[0].clone();
        bad.shares.truncate(FULL);
        change(&mut bad);
        let certificates = vec![seal_at(headers, bad, [16, 16])];
        earned(0, &Evidence::new(POSITION).with(certificates))
    };
    assert_eq!(with(&|_| ()), 500);
    assert_eq!(with(&|c| c.shares.swap(0, 1)), 0);
    assert_eq!(with(&|c| c.shares.insert(0, c.shares[0].clone())), 0);
    assert_eq!(with(&|c| c.slice = 99), 0);
    // Shares of slice 0 in a certificate of slice 1.
    assert_eq!(with(&|c| c.slice = 1), 0);
    // One share that lies takes away itself only.
    assert_eq!(with(&|c| c.shares[3].coinbase.push(0)), 468);
}

#[test]
fn a_reorg_takes_away_the_shares_of_its_blocks_and_no_others() {
    let (headers, _) = world();
    let terms = terms();
    let counts: Vec<(u32, Vec<_>)> =
        (15..=16).map(|height| (height, shares(&terms, headers, height, 8))).collect();
    let all = counts.into_iter().flat_map(|(_, shares)| shares);
    let whole = sealed(&terms, headers, Certificate::new(POSITION, 0, all).unwrap());
    let evidence = Evidence::new(POSITION).with(vec![whole]);
    assert_eq!(earned(0, &evidence), 500);
    // Block 15 and all after it are replaced: shares at height 16 built on the old one.
    let mut other = run(14, 600);
    for height in 15..=TIP {
        let parent = other.last().unwrap().block_hash();
        other.push(mine(parent, 1_700_000_000 + height * 600, 5));
    }
    let stale: Vec<Header> = (15..=TIP).map(|h| *headers.header(h).unwrap()).collect();
    let other = Headers::new(terms.network, 0, other).unwrap();
    let judged = |headers: &Headers| {
        measured(&terms, PRICE, 0, &evidence, &ruling_keys(), 2, headers).unwrap()
    };
    // Without the lost headers the receipts' tips are unknown; with them they date to the fork.
    assert_eq!(judged(&other).periods[0].shares, 0);
    assert_eq!(judged(&other.with_stale(stale).unwrap()).periods[0].shares, 8);
}

#[test]
fn a_period_is_ruled_on_when_it_is_deep_enough() {
    // Period 5 ends at height 38; eight blocks deep at tip 45.
    for (tip, ready) in [(44, false), (45, true)] {
        let headers = chain(tip);
        let found = measured(&terms(), PRICE, 5, &delivered(&[]), &ruling_keys(), 2, &headers);
        match found {
            Ok(_) => assert!(ready),
            Err(e) => {
                assert_eq!((ready, e.rule(), e.exit_code()), (false, "work-verdict-depth", 5))
            }
        }
    }
}

#[test]
fn a_period_or_price_that_cannot_be_is_refused() {
    let none = delivered(&[]);
    assert_eq!(judge(&terms(), 6, &none).unwrap_err().rule(), "work-period");
    assert_eq!(judge(&terms(), u32::MAX, &none).unwrap_err().rule(), "work-period");
    let (keys, headers) = (ruling_keys(), &world().0);
    let refused = measured(&terms(), Amount::MAX, 0, &none, &keys, 2, headers).unwrap_err();
    assert_eq!(refused.rule(), "amount-limit");
}

#[test]
fn missing_headers_are_an_error_and_not_a_smaller_amount() {
    let late = Headers::new(terms().network, 12, run(TIP, 600).split_off(12)).unwrap();
    let missing = measured(&terms(), PRICE, 0, &delivered(&[FULL]), &ruling_keys(), 2, &late);
    let missing = missing.unwrap_err();
    assert_eq!((missing.rule(), missing.exit_code()), ("headers-known", 5));
}

#[test]
fn pass_fail_pays_all_of_a_window_from_its_critical_count_on() {
    let terms = WorkTerms { rule: Entitlement::PassFail { critical: vec![50, 64, 1] }, ..terms() };
    let judged = |counts: &[usize]| sats(&judge(&terms, 5, &delivered(counts)).unwrap());
    assert_eq!(judged(&[16; 12]), [0, 2_000, 2_000, 4_000, 5_000, 6_000]);
    assert_eq!(judged(&[25, 25]), [1_000, 2_000, 2_000, 2_000, 2_000, 2_000]);
    assert_eq!(judged(&[25, 24]), [0; 6]);
    assert_eq!(judged(&[25, 24, 1]), [0, 2_000, 2_000, 2_000, 2_000, 2_000]);
    assert_eq!(judged(&[0, 0, 0, 0, 16, 16, 16, 15]), [0; 6]);
    assert_eq!(judged(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), [0, 0, 0, 0, 0, 2_000]);
}

#[test]
fn a_verdict_is_written_in_integers_and_survives_its_text() {
    let verdict = judge(&terms(), 1, &delivered(&[0, 0, 20, 20])).unwrap();
    let text = serde_json::to_string(&verdict).unwrap();
    assert!(text.contains(r#""entitlement":[0,1250]"#), "{text}");
    assert!(text.contains(r#""agreed":2400,"shares":40"#), "{text}");
    assert_eq!(serde_json::from_str::<Verdict>(&text).unwrap(), verdict);
}

#[test]
fn fewer_than_k_validators_seal_nothing() {
    let evidence = delivered(&[FULL]);
    let (keys, headers) = (ruling_keys(), &world().0);
    for (k, sat) in [(1, 500), (2, 500), (3, 0), (0, 0)] {
        let found = measured(&terms(), PRICE, 0, &evidence, &keys, k, headers).unwrap();
        assert_eq!(found.earned().to_sat(), sat, "{k}");
    }
    let stranger =
        receipt(2, evidence.certificates()[0].receipts[0].subject, headers.hash(16).unwrap());
    let other_keys = [keys[2], keys[2], keys[0]];
    let found = measured(&terms(), PRICE, 0, &evidence, &other_keys, 2, headers).unwrap();
    assert_eq!(found.earned().to_sat(), 0);
    stranger.check(&keys).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn entitlement_never_falls_and_asking_later_never_changes_it(
        counts in proptest::collection::vec(0usize..40, 12),
    ) {
        let evidence = delivered(&counts);
        let whole = judge(&terms(), 5, &evidence).unwrap();
        prop_assert!(whole.entitlement.is_sorted());
        prop_assert!(whole.earned() <= PRICE);
        for through in 0..5u32 {
            let part = judge(&terms(), through, &evidence).unwrap();
            prop_assert_eq!(&part.entitlement[..], &whole.entitlement[..=through as usize]);
        }
    }

    #[test]
    fn leaving_shares_out_never_earns_more(
        counts in proptest::collection::vec(0usize..40, 12),
        left_out in proptest::collection::vec(0usize..40, 12),
        pass_fail: bool,
    ) {
        let mut terms = terms();
        if pass_fail {
            terms.rule = Entitlement::PassFail { critical: vec![30, 40, 50] };
        }
        let fewer: Vec<usize> =
            counts.iter().zip(&left_out).map(|(c, l)| c.saturating_sub(*l)).collect();
        let all = judge(&terms, 5, &delivered(&counts)).unwrap();
        let part = judge(&terms, 5, &delivered(&fewer)).unwrap();
        prop_assert!(part.entitlement.iter().zip(&all.entitlement).all(|(p, a)| p <= a));
        prop_assert!(part.periods.iter().zip(&all.periods).all(|(p, a)| p.credit <= a.credit));
    }

    #[test]
    fn the_order_of_evidence_does_not_matter(
        counts in proptest::collection::vec(0usize..20, 12),
        rotate in 0usize..12,
    ) {
        let evidence = delivered(&counts);
        let mut turned = evidence.certificates().to_vec();
        let by = rotate.min(turned.len());
        turned.rotate_left(by);
        let turned = Evidence::new(POSITION).with(turned);
        prop_assert_eq!(judge(&terms(), 5, &turned), judge(&terms(), 5, &evidence));
    }
}

#[test]
fn a_digest_confirmed_in_time_seals_what_no_validator_receipted() {
    let receipted = delivered(&[60]);
    let bare = receipted
        .certificates()
        .iter()
        .map(|sealed| SealedCertificate { receipts: Vec::new(), ..sealed.clone() });
    let evidence = Evidence::new(POSITION).with(bare.collect());
    assert_eq!(earned(0, &evidence), 0);
    let yardstick = Yardstick { terms: terms(), ruling_keys: ruling_keys() };
    let until = terms().calendar().proofs_until(0).unwrap();
    let at = |height| {
        let proofs = evidence.digests().map(|(digest, _)| (digest, height)).collect();
        let (yardstick, headers, proofs) = (&yardstick, &world().0, &proofs);
        let measure = Measure { yardstick, price: PRICE, k: 2, headers, proofs };
        verdict(&measure, 0, &evidence).unwrap().earned().to_sat()
    };
    assert_eq!(at(until), earned(0, &delivered(&[60])));
    assert_eq!(at(until + 1), 0);
}

/// The contract of a position that was sold again: it pays from the third period on.
fn later() -> WorkTerms {
    WorkTerms { first: 2, ..terms() }.check(crate::work::agreement::Profile::Regtest).unwrap()
}

#[test]
fn a_later_contract_spreads_its_price_over_its_periods_and_counts_nothing_before() {
    // Everything was delivered, before and since.
    let verdict = judge(&later(), 5, &delivered(&[FULL; 12])).unwrap();
    let rows: Vec<(u32, u64, u64)> = verdict
        .periods
        .iter()
        .map(|row| (row.period, row.shares, row.installment.to_sat()))
        .collect();
    assert_eq!(rows, [(2, 32, 1_500), (3, 32, 1_500), (4, 32, 1_500), (5, 32, 1_500)]);
    assert_eq!(sats(&verdict), [1_500, 3_000, 4_500, 6_000]);
    let through: Vec<u64> = (0..7).map(|p| verdict.earned_through(p).to_sat()).collect();
    assert_eq!(through, [0, 0, 1_500, 3_000, 4_500, 6_000, 6_000]);
    // What was delivered before it is no credit in its first window.
    let before = judge(&later(), 3, &delivered(&[3 * FULL, 3 * FULL, 3 * FULL, 3 * FULL])).unwrap();
    assert_eq!((before.earned().to_sat(), before.close_after), (0, Some(3)));
}

#[test]
fn a_later_contract_is_ruled_on_from_its_first_period_on() {
    for period in [0, 1, 6] {
        let refused = judge(&later(), period, &delivered(&[])).unwrap_err();
        assert_eq!(refused.rule(), "work-period", "{period}");
    }
    assert_eq!(judge(&later(), 2, &delivered(&[])).unwrap().periods.len(), 1);
}

#[test]
fn windows_of_a_later_contract_begin_with_its_first_period() {
    let odd = WorkTerms { first: 3, ..terms() };
    // Period 3 stays empty and 4 has all: together they are a window, and 5 is one alone.
    let mut counts = [0; 12];
    (counts[8], counts[9]) = (2 * FULL, 2 * FULL);
    let verdict = judge(&odd, 5, &delivered(&counts)).unwrap();
    assert_eq!(sats(&verdict), [0, 4_000, 4_000]);
    assert_eq!(verdict.close_after, Some(5));
    let strict = WorkTerms { rule: Entitlement::PassFail { critical: vec![60, 30] }, ..odd };
    assert_eq!(sats(&judge(&strict, 5, &delivered(&counts)).unwrap()), [0, 4_000, 4_000]);
}

proptest! {
    #[test]
    fn a_part_of_a_term_earns_what_a_term_of_its_own_earns(
        first in 0u32..6,
        counts in proptest::collection::vec(0usize..=3 * FULL, 12),
        price in 0u64..10_000_000,
    ) {
        let price = Amount::from_sat(price);
        let part = WorkTerms { first, ..terms() };
        // The same blocks, as the whole term of a contract that begins with them.
        let alone =
            WorkTerms { start: part.calendar().begin(), periods: 6 - first, ..terms() };
        let (headers, all) = world();
        let slices = all.iter().zip(&counts).skip(usize::try_from(2 * first).unwrap());
        let moved = slices.filter(|(_, count)| **count > 0).map(|(whole, count)| {
            let mut certificate = whole.clone();
            certificate.shares.truncate(*count);
            certificate.slice -= 2 * first;
            sealed(&alone, headers, certificate)
        });
        let moved = Evidence::new(POSITION).with(moved.collect());
        let by = |terms: &WorkTerms, through, evidence: &Evidence| {
            measured(terms, price, through, evidence, &ruling_keys(), 2, headers).unwrap()
        };
        let found = by(&part, 5, &delivered(&counts));
        let like = by(&alone, 5 - first, &moved);
        prop_assert_eq!(found.entitlement, like.entitlement);
        prop_assert_eq!(found.close_after, like.close_after.map(|close| close + first));
        for (one, other) in found.periods.iter().zip(&like.periods) {
            prop_assert_eq!(one.period, other.period + first);
            prop_assert_eq!(PeriodVerdict { period: one.period, ..*other }, *one);
        }
    }
}
