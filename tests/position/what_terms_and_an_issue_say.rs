//! Terms are held to something in every field; an issue says it in 80 bytes.

use std::slice::from_ref;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::{Amount, OutPoint};
use hashmix::flow::position::coins::{self, POSTAGE};
use hashmix::flow::position::proof::{Stage, check_provable, foreseen};
use hashmix::flow::position::terms::PositionTerms;
use hashmix::flow::position::txs::{self, Funding};
use hashmix::flow::reward;
use hashmix::id::tagged_hash;
use hashmix::rehearsal::position as cast;
use hashmix::work::agreement::share_target;

use crate::town::{HEIGHTS, RATE};

/// A position's terms as their file was written once (fixtures/README.md).
const POSITION: &str = include_str!("../../fixtures/position/position.json");
const IDS: &str = include_str!("../../fixtures/position/position.ids");

/// So many expected shares, with the target that yields them.
fn expect(terms: &mut PositionTerms, expected: u32) {
    let delivery = &mut terms.delivery;
    delivery.expected = expected;
    delivery.target = share_target(delivery.rate, expected, delivery.slice);
}

/// A lie.
type Change<'a, T> = &'a dyn Fn(&mut T);

fn terms() -> PositionTerms {
    PositionTerms::from_json(POSITION).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `count` positions that differ in their records.
fn batch(count: u32) -> Vec<PositionTerms> {
    (1..=count).map(|number| cast::terms(number, HEIGHTS).unwrap()).collect()
}

fn funded(batch: &[PositionTerms], more: i64) -> hashmix::error::Result<hashmix::tx::draft::Draft> {
    let least = txs::funding(batch, batch[0].fees.floor)?.to_sat();
    let value = Amount::from_sat(least.checked_add_signed(more).unwrap());
    txs::issue(batch, Funding::new(OutPoint::null(), value))
}

#[test]
fn a_positions_file_loads_for_ever_with_the_same_ids() {
    let terms = terms();
    assert_eq!(terms.to_json().unwrap(), POSITION);
    let found = [
        ("id", terms.id().unwrap().to_string()),
        ("hash", hex(&terms.hash().unwrap())),
        ("issuer", terms.issuer.id().unwrap().to_string()),
        ("issuer script", hex(coins::issuer(&terms).unwrap().script_pubkey.as_bytes())),
        ("retirement script", hex(coins::retirement(&terms).unwrap().script_pubkey.as_bytes())),
        ("seal script", hex(coins::issued_seal(&terms).unwrap().script_pubkey.as_bytes())),
        ("reward lock", hex(reward::coins::lock(&terms.reward).unwrap().script_pubkey.as_bytes())),
    ];
    for ((name, value), line) in found.iter().zip(IDS.lines()) {
        assert_eq!(format!("{name} {value}"), line);
    }
    assert_eq!(IDS.lines().count(), found.len());
    let hash = sha256::Hash::hash(&terms.full().unwrap());
    assert_eq!(terms.hash().unwrap(), hash.to_byte_array());
}

#[test]
fn the_eighty_bytes_are_those_of_the_protocol() {
    let terms = terms();
    let draft = funded(from_ref(&terms), 0).unwrap();
    let [seal, data] = draft.transaction().output.as_slice() else { panic!() };
    assert_eq!(seal.value, POSTAGE);
    // 10 H/s; 2,500 x 10 mJ/TH = 25 J/TH; from height 145 for 72 blocks.
    let said = [
        "484d5831".to_owned(),
        "000000000000000a".to_owned(),
        "09c4".to_owned(),
        "000091".to_owned(),
        "000048".to_owned(),
        terms.reward.miner.id().unwrap().to_string()[..40].to_owned(),
        terms.issuer.id().unwrap().to_string()[..16].to_owned(),
        hex(&terms.hash().unwrap()),
    ];
    // OP_RETURN OP_PUSHDATA1 80.
    assert_eq!(hex(data.script_pubkey.as_bytes()), format!("6a4c50{}", said.concat()));
    assert_eq!(data.value, Amount::ZERO);
}

#[test]
fn a_position_is_named_by_its_issue_and_one_of_a_batch_by_its_place_too() {
    let draft = funded(&[terms()], 0).unwrap();
    assert_eq!(txs::position(draft.txid(), 0, 1).to_string(), draft.txid().to_string());
    let [first, second] = [0, 1].map(|place| txs::position(draft.txid(), place, 2));
    assert!(first != second && first.to_string() != draft.txid().to_string());
}

#[test]
fn ten_at_once_take_an_output_more_each_and_commit_to_all() {
    let batch = batch(10);
    let draft = funded(&batch, 0).unwrap();
    let outputs = &draft.transaction().output;
    assert_eq!(outputs.len(), 11);
    let hashes: Vec<[u8; 32]> = batch.iter().map(|one| one.hash().unwrap()).collect();
    let parts: Vec<&[u8]> = hashes.iter().map(<[u8; 32]>::as_slice).collect();
    let digest = hex(&tagged_hash("hashmix/batch/1", &parts));
    assert!(hex(outputs[10].script_pubkey.as_bytes()).ends_with(&digest));
    let [one, ten] = [funded(&batch[..1], 0).unwrap(), draft].map(|draft| draft.vsize().unwrap());
    println!("issue of one: {one} vB, of ten: {ten} vB, {} each", ten / 10);
    assert_eq!((one, ten), (255, 255 + 9 * 43));
}

#[test]
fn a_batch_differs_in_its_records_alone() {
    let good = batch(3);
    funded(&good, 0).unwrap();
    let rule = |change: &dyn Fn(&mut Vec<PositionTerms>)| {
        let mut bad = good.clone();
        change(&mut bad);
        let funding = Funding::new(OutPoint::null(), Amount::from_sat(50_000));
        txs::issue(&bad, funding).unwrap_err().rule()
    };
    let changes: [Change<'_, Vec<PositionTerms>>; 9] = [
        &|all| all.clear(),
        &|all| *all = vec![all[0].clone(); 101],
        &|all| all[1] = all[0].clone(),
        &|all| all[1].delivery.periods += 1,
        &|all| all[2].efficiency += 1,
        &|all| all[1].onboarding -= 1,
        &|all| all[1].fees.cap += 1,
        &|all| all[1].reward.service_ppm += 1,
        &|all| all[1].issuer.threshold += 1,
    ];
    for (number, change) in changes.iter().enumerate() {
        assert_eq!(rule(change), "position-batch", "change {number}");
    }
}

#[test]
fn an_issue_costs_what_the_terms_allow() {
    let one = [terms()];
    funded(&one, 0).unwrap();
    assert_eq!(funded(&one, -1).unwrap_err().rule(), "position-funded");
    // From the floor of 2 to the cap of 50 sat/vB.
    let more = 255 * 48;
    funded(&one, more).unwrap();
    assert_eq!(funded(&one, more + 1).unwrap_err().rule(), "position-funded");
    assert_eq!(txs::funding(&one, RATE).unwrap().to_sat(), 10_000 + 255 * RATE);
}

#[test]
fn each_field_of_the_terms_is_held_to_something() {
    let good = terms();
    good.check().unwrap();
    let rule = |change: &dyn Fn(&mut PositionTerms)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad.check().unwrap_err().rule()
    };
    let cases: [(&str, Change<'_, PositionTerms>); 21] = [
        ("position-form", &|t| t.format = "hashmix position 2".to_owned()),
        ("position-efficiency", &|t| t.efficiency = 0),
        ("position-slices", &|t| t.onboarding = 0),
        ("position-slices", &|t| t.onboarding = t.binding),
        ("position-slices", &|t| t.onboarding = t.binding - 11),
        ("position-slices", &|t| t.binding = t.delivery.start - 11),
        ("position-slices", &|t| t.binding = t.delivery.start - 11 - t.delivery.receipt_span),
        ("position-issuer", &|t| t.issuer.payout = t.reward.miner.record.payout.clone()),
        ("position-slices", &|t| t.binding = u32::MAX),
        ("message-text", &|t| t.reward.holder.record.seal = None),
        ("position-issuer", &|t| t.issuer.threshold = 3),
        ("federation-majority", &|t| t.issuer.threshold = 1),
        ("position-issuer", &|t| {
            t.issuer.validators.pop();
        }),
        ("record-contract", &|t| t.reward.contract = "another".to_owned()),
        ("record-role", &|t| t.reward.holder = t.reward.miner.clone()),
        ("record-contract", &|t| {
            t.issuer.validators[1] = t.reward.federation.validators[1].clone()
        }),
        ("work-terms-shares", &|t| t.delivery.rate *= 2),
        ("position-certificate-size", &|t| expect(t, 1_907)),
        ("position-certificate-size", &|t| expect(t, 10_000)),
        ("terms-delays", &|t| t.delays.grace = 1),
        ("terms-fees", &|t| t.fees.floor = 0),
    ];
    for (number, (expected, change)) in cases.iter().enumerate() {
        assert_eq!(rule(change), *expected, "case {number}");
    }
    // The nearest that is good: a slice is judged by the last block at which it is receipted, and the
    // largest certificate fits a word.
    let mut near = good.clone();
    (near.delivery.receipt_span, near.delivery.proof_span) = (5, 5);
    near.check().and(check_provable(&near)).unwrap();
    for span in [1, 4] {
        let mut short = good.clone();
        short.delivery.receipt_span = span;
        // What is issued already with such terms is read for ever.
        short.check().unwrap();
        let refused = check_provable(&short).unwrap_err();
        assert_eq!(refused.rule(), "position-receipt-span");
        assert_eq!(refused.fault().found, format!("{span} blocks"));
    }
    expect(&mut near, 1_906);
    near.check().unwrap();
    let json = |text: &str| PositionTerms::from_json(text).unwrap_err().rule();
    assert_eq!(json("{}"), "position-form");
    assert_eq!(json(&POSITION.replace("\"binding\"", "\"bounding\"")), "position-form");
    assert_eq!(json(&format!("{POSITION}{}", " ".repeat(1 << 18))), "position-form");
}

#[test]
fn who_holds_a_seal_has_a_seal_key() {
    let mut terms = terms();
    let position = txs::position(bitcoin::Txid::all_zeros(), 0, 1);
    coins::transferred_seal(position, 1, &terms.reward.holder, None).unwrap();
    let refused = coins::transferred_seal(position, 1, &terms.reward.miner, None).unwrap_err();
    assert_eq!(refused.rule(), "position-seal");
    terms.reward.holder = terms.reward.miner.clone();
    assert_eq!(coins::issued_seal(&terms).unwrap_err().rule(), "position-seal");
}

#[test]
fn the_same_rate_needs_the_same_count_everywhere() {
    let terms = terms();
    let least = foreseen(&terms).unwrap();
    println!("at least {} of {} shares", least.shares, least.expected);
    assert_eq!((least.seconds, least.expected, least.shares), (7_200, 180, LEAST));
    for stage in Stage::BOTH {
        let work = stage.work(&terms).unwrap();
        assert_eq!(work.calendar().slices(), 1);
        assert_eq!(work.calendar().end(), stage.last(&terms));
    }
    assert_ne!(
        Stage::Onboarding.position(&terms).unwrap(),
        Stage::Binding.position(&terms).unwrap()
    );
}

/// The largest count that 180 expected shares miss at most once in 1,000 times: computed apart, in
/// fractions, from the Poisson law.
const LEAST: u64 = 140;
