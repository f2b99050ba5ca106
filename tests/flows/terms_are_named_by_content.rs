//! Terms: every bound refuses by its rule, and one file has one id for ever.

use bitcoin::{Amount, Network, ScriptBuf, Target};
use hashmix::flow::Contract;
use hashmix::flow::escrow::terms::{EscrowTerms, TERMS_MAX_BYTES, Tenure};
use hashmix::id::PositionId;
use hashmix::party::Seat;
use hashmix::rehearsal::people::{federation, record_of, signer};
use hashmix::work::agreement::{Earlier, Profile};
use serde_json::Value;

use crate::world::terms;

/// The terms of the first deal, as their file was written once (fixtures/README.md).
const FIRST_DEAL: &str = include_str!("../../fixtures/terms/first_deal.json");
const FIRST_DEAL_ID: &str = include_str!("../../fixtures/terms/first_deal.id");

#[test]
fn the_first_deals_file_loads_for_ever_under_the_same_id() {
    let terms = EscrowTerms::from_json(FIRST_DEAL).unwrap();
    assert_eq!(terms.id().unwrap().to_string(), FIRST_DEAL_ID.trim());
    assert_eq!(serde_json::to_value(&terms).unwrap(), value(FIRST_DEAL));
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The same JSON with the fields of every object in the opposite order.
fn reversed(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().rev();
            let fields: Vec<String> = fields
                .map(|(k, v)| format!("{}: {}", Value::from(k.as_str()), reversed(v)))
                .collect();
            format!("{{ {} }}", fields.join(" ,\n"))
        }
        Value::Array(items) => {
            format!("[ {} ]", items.iter().map(reversed).collect::<Vec<_>>().join(" , "))
        }
        other => other.to_string(),
    }
}

#[test]
fn neither_order_nor_white_space_changes_the_id() {
    let id = FIRST_DEAL_ID.trim();
    let compact = value(FIRST_DEAL).to_string();
    let reversed = reversed(&value(FIRST_DEAL));
    assert_ne!(compact, reversed);
    for text in [compact, reversed] {
        assert_eq!(EscrowTerms::from_json(&text).unwrap().id().unwrap().to_string(), id);
    }
}

#[test]
fn every_field_changes_the_id() {
    let honest = terms().id().unwrap();
    let changes: [fn(&mut EscrowTerms); 24] = [
        |t| t.format.push('x'),
        |t| t.profile = Profile::Mainnet,
        |t| t.reward.network = Network::Signet,
        |t| t.reward.contract.push('x'),
        |t| t.reward.variant = hashmix::script::template::Variant::Nums,
        |t| t.reward.miner.signature.push('x'),
        |t| t.reward.holder.record.contract.push('x'),
        |t| t.reward.federation.threshold += 1,
        |t| t.reward.exit_delay += 1,
        |t| t.reward.service_ppm += 1,
        |t| t.price += Amount::from_sat(1),
        |t| t.delivery.start += 1,
        |t| t.delivery.periods += 1,
        |t| t.delivery.window += 1,
        |t| t.delivery.rate += 1,
        |t| t.delivery.target = Target::MAX,
        |t| t.delivery.expected += 1,
        |t| t.delivery.coinbase_cap += Amount::from_sat(1),
        |t| t.delivery.receipt_span += 1,
        |t| t.delivery.ruling_depth += 1,
        |t| t.delays.state_depth += 1,
        |t| t.delays.answer += 1,
        |t| t.fees.floor += 1,
        |t| t.fees.ruling += Amount::from_sat(1),
    ];
    for (place, change) in changes.into_iter().enumerate() {
        let mut changed = terms();
        change(&mut changed);
        assert_ne!(changed.id().unwrap(), honest, "change {place}");
    }
}

#[test]
fn unknown_missing_doubled_and_giant_fields_are_refused_by_form() {
    let honest = value(FIRST_DEAL);
    let mut bad = Vec::new();
    for object in ["", "/reward", "/delivery", "/delays", "/fees", "/reward/federation"] {
        let mut unknown = honest.clone();
        unknown.pointer_mut(object).unwrap()["surprise"] = 1.into();
        bad.push(unknown.to_string());
        let mut missing = honest.clone();
        let fields = missing.pointer_mut(object).unwrap().as_object_mut().unwrap();
        let first = fields.keys().next().unwrap().clone();
        fields.remove(&first);
        bad.push(missing.to_string());
    }
    for (field, value) in [
        ("/price", Value::from(-1)),
        ("/price", Value::from(0.5)),
        ("/price", "60000000".into()),
        ("/delivery/start", Value::from(u64::from(u32::MAX) + 1)),
        ("/delivery/target", "00".into()),
        ("/delivery/rule", "all".into()),
        ("/format", "hashmix terms 2".into()),
    ] {
        let mut wrong = honest.clone();
        *wrong.pointer_mut(field).unwrap() = value;
        bad.push(wrong.to_string());
    }
    bad.push(FIRST_DEAL.replacen('{', "{\"price\": 60000000,", 1));
    bad.push(" ".repeat(TERMS_MAX_BYTES + 1));
    bad.push("garbage".into());
    for text in bad {
        let error = EscrowTerms::from_json(&text).unwrap_err();
        assert_eq!(error.rule(), "terms-form", "{text:.200}\n{error}");
    }
}

#[test]
fn every_bound_of_the_regtest_profile_refuses_by_its_rule() {
    type Change = fn(&mut EscrowTerms);
    let bounds: [(&str, Change); 26] = [
        ("terms-form", |t| t.format = "hashmix terms 2".into()),
        ("terms-profile", |t| t.reward.network = Network::Signet),
        ("record-network", |t| {
            t.profile = Profile::Mainnet;
            t.reward.network = Network::Signet;
        }),
        ("record-contract", |t| t.reward.contract = "other deal".into()),
        ("federation-majority", |t| t.reward.federation.threshold = 1),
        ("reward-service-share", |t| t.reward.service_ppm = 9_999),
        ("reward-service-share", |t| t.reward.service_ppm = 1_000_000),
        ("work-terms-shares", |t| t.delivery.rate += 1_000),
        ("work-terms-spans", |t| t.delivery.period = 13),
        ("work-terms-term", |t| t.delivery.start = 0),
        ("terms-delays", |t| t.delays.state_depth = 1),
        ("terms-delays", |t| t.delays.relock = 5),
        ("terms-delays", |t| t.delays.grace = 23),
        ("terms-delays", |t| t.delays.miner_exit = 11),
        ("terms-delays", |t| t.delays.answer = 2),
        ("terms-delays", |t| t.delays.quiet = 5),
        ("terms-delays", |t| t.delays.late_dispute = 5),
        ("terms-delays", |t| t.delays.late_dispute = 18),
        ("terms-delays", |t| t.delays.answer = 12),
        ("terms-delays", |t| t.reward.exit_delay = 11),
        ("terms-delays", |t| t.delays.miner_exit = 499_999_900),
        ("terms-delays", |t| t.delays.quiet = t.delays.grace + 1),
        ("terms-fees", |t| t.fees.floor = 0),
        ("terms-fees", |t| t.fees.cap = 1_001),
        ("terms-fees", |t| t.fees.cap = t.fees.floor - 1),
        ("terms-fees", |t| t.fees.ruling = Amount::from_sat(329)),
    ];
    for (place, (rule, change)) in bounds.into_iter().enumerate() {
        let mut changed = terms();
        change(&mut changed);
        assert_eq!(changed.check().unwrap_err().rule(), rule, "change {place}");
    }
    let lowest: [Change; 4] = [
        |t| t.delays.state_depth = 2,
        |t| t.delays.answer = 3,
        |t| t.delays.quiet = t.delays.grace,
        |t| t.fees.ruling = Amount::from_sat(330),
    ];
    for change in lowest {
        let mut changed = terms();
        change(&mut changed);
        assert_eq!(changed.check(), Ok(()));
    }
}

#[test]
fn an_installment_below_ten_times_its_cost_is_refused_to_the_satoshi() {
    // 215 vB at 50 sat/vB and the ruling fee, ten times, in six periods.
    let least = 6 * 10 * (215 * 50 + 20_000);
    for (price, expected) in
        [(least, Ok(())), (least - 1, Err("terms-price")), (0, Err("terms-price"))]
    {
        let mut changed = terms();
        changed.price = Amount::from_sat(price);
        assert_eq!(changed.check().map_err(|error| error.rule()), expected);
    }
    let mut changed = terms();
    changed.price = Amount::from_sat(2_100_000_000_000_001);
    assert_eq!(changed.check().unwrap_err().rule(), "amount-limit");
}

#[test]
fn the_mainnet_profile_has_longer_delays() {
    type Change = fn(&mut EscrowTerms);
    // On a test network, so that the records of the rehearsal fit.
    let mainnet = || mainnet_numbers(terms());
    assert_eq!(mainnet().check(), Ok(()));
    let bounds: [Change; 8] = [
        |t| t.delays.state_depth -= 1,
        |t| t.delays.relock -= 1,
        |t| t.delays.grace -= 1,
        |t| t.delays.miner_exit -= 1,
        |t| t.delays.answer -= 1,
        |t| t.delays.quiet -= 1,
        |t| t.delays.late_dispute -= 1,
        |t| t.reward.exit_delay -= 1,
    ];
    for (place, change) in bounds.into_iter().enumerate() {
        let mut changed = mainnet();
        change(&mut changed);
        assert_eq!(changed.check().unwrap_err().rule(), "terms-delays", "change {place}");
    }
}

/// The same terms with numbers that the mainnet profile admits.
fn mainnet_numbers(mut terms: EscrowTerms) -> EscrowTerms {
    terms.profile = Profile::Mainnet;
    terms.delivery.period = 144;
    (terms.delivery.periods, terms.delivery.window) = (28, 28);
    (terms.delivery.rate, terms.delivery.expected) = (100_000_000_000_000, 30);
    let delivery = &mut terms.delivery;
    delivery.target =
        hashmix::work::agreement::share_target(delivery.rate, delivery.expected, delivery.slice);
    (terms.delivery.receipt_span, terms.delivery.proof_span) = (36, 42);
    terms.delivery.ruling_depth = 144;
    terms.reward.exit_delay = 26_280;
    terms.delays = hashmix::flow::escrow::terms::Delays {
        state_depth: 6,
        relock: 2_016,
        grace: 12_960,
        miner_exit: 52_560,
        answer: 144,
        quiet: 432,
        late_dispute: 1_584,
    };
    terms
}

#[test]
fn a_contract_reads_headers_back_to_the_first_block_of_the_spans_difficulty() {
    let network = Network::Bitcoin;
    let mut terms = mainnet_numbers(terms());
    let seat = |seat| record_of(seat, network, signer(seat, network).unwrap().address()).unwrap();
    terms.reward.network = network;
    (terms.reward.miner, terms.reward.holder) = (seat(Seat::Miner), seat(Seat::Holder));
    let payout = signer(Seat::Validator(0), network).unwrap().address();
    terms.reward.federation = federation(network, &payout).unwrap();
    // On a boundary, behind one, and so close behind that median-time-past crosses it.
    for (start, from) in
        [(900_144, 899_136), (899_136, 897_120), (899_147, 897_120), (899_148, 899_136)]
    {
        terms.delivery.start = start;
        let contract = Contract::new(terms.clone()).unwrap();
        assert_eq!(contract.headers_from(), from, "start {start}");
        let boundary = start.next_multiple_of(2_016);
        assert!(contract.headers_from() <= boundary - 2_016 && from % 2_016 == 0);
    }
}

#[test]
fn terms_in_which_two_are_paid_at_one_address_are_refused() {
    let address = |seat| signer(seat, Network::Regtest).unwrap().address();
    let [miner, holder] = [Seat::Miner, Seat::Holder].map(address);
    let record = |seat, payout| record_of(seat, Network::Regtest, payout).unwrap();
    let mut alike = terms();
    alike.reward.holder = record(Seat::Holder, miner.clone());
    alike.reward.miner = record(Seat::Miner, miner.clone());
    assert_eq!(alike.check().unwrap_err().rule(), "terms-payees");
    for payout in [miner, holder] {
        let mut alike = terms();
        alike.reward.federation.payout = payout.into_unchecked();
        assert_eq!(alike.check().unwrap_err().rule(), "terms-payees");
    }
    assert!(terms().check().is_ok());
}

/// A change of a tenure, of the price, and of whatever else is wanted.
type Change = fn(&mut EscrowTerms, &mut Tenure);

/// The terms of the third sale of a position: four of its six periods, two earlier locks.
fn tenured(change: Change) -> EscrowTerms {
    let mut terms = terms();
    let lock = |byte: u8| ScriptBuf::from_bytes([vec![0x51, 0x20], vec![byte; 32]].concat());
    let earlier = [(3, 1), (4, 2)].map(|(until, byte)| Earlier { until, lock: lock(byte) });
    let position = PositionId([3; 32]);
    let mut tenure = Tenure { position, transfer: 3, first: 2, earlier: earlier.to_vec() };
    change(&mut terms, &mut tenure);
    terms.tenure = Some(tenure);
    terms
}

#[test]
fn a_tenure_names_the_position_and_is_part_of_what_the_terms_are() {
    let terms = tenured(|_, _| {});
    terms.check().unwrap();
    assert_eq!(terms.position().unwrap(), PositionId([3; 32]));
    let text = serde_json::to_string(&terms).unwrap();
    assert_eq!(EscrowTerms::from_json(&text).unwrap(), terms);
    let changes: [Change; 5] = [
        |_, t| t.position = PositionId([4; 32]),
        |_, t| t.transfer = 4,
        |_, t| t.first = 1,
        |_, t| t.earlier[1].until = 5,
        |_, t| drop(t.earlier.pop()),
    ];
    let mut ids = vec![terms.id().unwrap(), EscrowTerms { tenure: None, ..terms }.id().unwrap()];
    ids.extend(changes.map(|change| tenured(change).id().unwrap()));
    for (place, id) in ids.iter().enumerate() {
        assert!(!ids[..place].contains(id), "{place}");
    }
}

#[test]
fn a_tenure_that_could_not_be_is_refused_by_its_rule() {
    let bad: [Change; 9] = [
        |_, t| t.transfer = 0,
        |_, t| t.first = 6,
        |_, t| t.first = 3,
        |_, t| t.earlier[1].until = 6,
        |_, t| t.earlier[1].until = 3,
        |_, t| t.earlier[1].lock = t.earlier[0].lock.clone(),
        |_, t| t.earlier[0].lock = ScriptBuf::new(),
        |o, t| {
            t.earlier[0].lock =
                hashmix::flow::reward::coins::lock(&o.reward).unwrap().script_pubkey;
        },
        |o, t| t.earlier[0].lock = o.reward.miner.payout_script(),
    ];
    for (place, change) in bad.into_iter().enumerate() {
        assert_eq!(tenured(change).check().unwrap_err().rule(), "terms-tenure", "{place}");
    }
    // More is never read.
    let more = serde_json::to_string(&tenured(|_, _| {})).unwrap();
    let more = more.replace("\"transfer\":3", "\"transfer\":3,\"more\":1");
    assert_eq!(EscrowTerms::from_json(&more).unwrap_err().rule(), "terms-form");
}

#[test]
fn the_price_is_that_of_the_periods_that_are_left() {
    let terms = tenured(|_, _| {});
    let parts: Vec<u64> = (0..7).map(|period| terms.installment(period).to_sat()).collect();
    let part = terms.price.to_sat() / 4;
    assert_eq!(parts, [0, 0, part, part, part, part, 0]);
    // A price that pays for the settlements of four periods does not for those of six.
    let poor = |first| {
        let mut terms = tenured(|_, t| t.earlier.clear());
        terms.price = Amount::from_sat(4 * 10 * (215 * 50 + 20_000));
        terms.tenure.as_mut().unwrap().first = first;
        terms.check()
    };
    poor(2).unwrap();
    assert_eq!(poor(1).unwrap_err().rule(), "terms-price");
}
