//! Records: signed as a whole, made for one seat of one contract, and no key twice.

use bitcoin::Network;
use hashmix::error::Error;
use hashmix::party::{Federation, RECORD_MAX_BYTES, Record, Role, Seat, check_distinct};
use hashmix::rehearsal::people;
use serde_json::Value;

use crate::world::{signer, terms};

fn json(record: &Record) -> Value {
    serde_json::to_value(record).unwrap()
}

fn read(value: &Value) -> Result<Record, Error> {
    Record::from_json(&value.to_string())
}

/// A record as its owner would sign it after changing it.
fn resigned(mut record: Record, seat: Seat) -> Record {
    record.signature = signer(seat).sign_text(&record.record.statement().unwrap()).unwrap();
    record
}

#[test]
fn a_record_in_which_any_field_was_changed_is_refused() {
    let terms = terms();
    let (miner, holder) = (&terms.reward.miner, json(&terms.reward.holder));
    let honest = json(miner);
    assert_eq!(read(&honest).unwrap(), *miner);
    let fields: Vec<String> = honest["record"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields.len(), 9, "{fields:?}");
    for field in fields {
        let mut changed = honest.clone();
        let (value, rule) = match field.as_str() {
            "format" => ("hashmix record 2".into(), "record-form"),
            "network" => ("testnet4".into(), "record-network"),
            "contract" => ("second deal".into(), "message-text"),
            // Every other field has a good value in somebody else's record.
            _ => (holder["record"][&field].clone(), "message-text"),
        };
        assert_ne!(changed["record"][&field], value);
        changed["record"][&field] = value;
        assert_eq!(read(&changed).unwrap_err().rule(), rule, "{field}");
    }
    let mut changed = honest.clone();
    changed["signature"] = holder["signature"].clone();
    assert_eq!(read(&changed).unwrap_err().rule(), "message-text");
}

#[test]
fn a_record_of_another_form_or_size_is_refused() {
    let honest = json(&terms().reward.miner);
    let mut unknown = honest.clone();
    unknown["record"]["nickname"] = "x".into();
    let mut missing = honest.clone();
    missing["record"].as_object_mut().unwrap().remove("exit");
    let mut keyless = honest;
    keyless["record"]["leaf"] = "xpub".into();
    for bad in [unknown, missing, keyless, Value::Null] {
        assert_eq!(read(&bad).unwrap_err().rule(), "record-form");
    }
    let giant = " ".repeat(RECORD_MAX_BYTES + 1);
    assert_eq!(Record::from_json(&giant).unwrap_err().rule(), "record-form");
}

#[test]
fn a_contracts_name_is_short_and_printable() {
    let honest = terms().reward.miner;
    for (name, good) in [
        ("x", true),
        (&*"x".repeat(64), true),
        ("", false),
        (&*"x".repeat(65), false),
        ("é", false),
    ] {
        let mut record = honest.clone();
        record.record.contract = name.to_owned();
        let checked = resigned(record, Seat::Miner).check();
        assert_eq!(checked.map_err(|e| e.rule()), good.then_some(()).ok_or("record-contract"));
    }
}

#[test]
fn an_address_or_a_key_of_another_network_is_refused_by_name() {
    let mainnet = people::signer(Seat::Miner, Network::Bitcoin).unwrap();
    let mut record = terms().reward.miner;
    record.record.payout = mainnet.address().into_unchecked();
    let refused = resigned(record.clone(), Seat::Miner).check().unwrap_err();
    assert_eq!(refused.rule(), "record-network");
    assert!(refused.to_string().contains("bc1p"), "{refused}");
    let mut record = terms().reward.miner;
    record.record.musig = mainnet.keys().musig.parse().unwrap();
    let refused = resigned(record, Seat::Miner).check().unwrap_err();
    assert_eq!(refused.rule(), "keys-network");
}

#[test]
fn a_record_for_another_seat_network_or_contract_is_refused_by_name() {
    let terms = terms();
    let record = &terms.reward.miner;
    let check = |role, network, contract: &str| {
        record.check_seat(role, network, contract).map_err(|error| error.rule())
    };
    let name = people::CONTRACT;
    assert_eq!(check(Role::Miner, Network::Regtest, name), Ok(()));
    assert_eq!(check(Role::Holder, Network::Regtest, name), Err("record-role"));
    assert_eq!(check(Role::Validator, Network::Regtest, name), Err("record-role"));
    assert_eq!(check(Role::Miner, Network::Signet, name), Err("record-network"));
    assert_eq!(check(Role::Miner, Network::Regtest, "other deal"), Err("record-contract"));
}

#[test]
fn a_key_that_stands_in_two_records_is_refused_whatever_its_place() {
    let terms = terms();
    let (miner, holder) = (terms.reward.miner.clone(), terms.reward.holder);
    assert_eq!(check_distinct([&miner, &holder]), Ok(()));
    type Change = fn(&mut Record, &Record);
    let changes: [(&str, Change); 5] = [
        ("musig", |his, other| his.record.musig = other.record.musig.clone()),
        ("leaf", |his, other| his.record.leaf = other.record.leaf.clone()),
        ("exit", |his, other| his.record.exit = other.record.exit.clone()),
        ("communication", |his, other| his.record.communication = other.record.communication),
        ("another place", |his, other| his.record.exit = other.record.musig.clone()),
    ];
    for (name, change) in changes {
        let mut copied = holder.clone();
        change(&mut copied, &miner);
        let refused = check_distinct([&miner, &copied]).unwrap_err();
        assert_eq!(refused.rule(), "record-distinct", "{name}");
    }
    // Within one record too, even if it is signed anew.
    let mut twice = miner;
    twice.record.exit = twice.record.leaf.clone();
    assert_eq!(resigned(twice, Seat::Miner).check().unwrap_err().rule(), "record-distinct");
}

#[test]
fn a_miner_who_sits_in_two_seats_with_one_record_is_refused_in_the_terms() {
    let mut terms = terms();
    let mut record = terms.reward.miner.clone();
    record.record.role = Role::Holder;
    terms.reward.holder = resigned(record, Seat::Miner);
    assert_eq!(terms.check().unwrap_err().rule(), "record-distinct");
    let mut terms = crate::world::terms();
    terms.reward.federation.validators[2] = terms.reward.federation.validators[1].clone();
    assert_eq!(terms.check().unwrap_err().rule(), "record-distinct");
}

#[test]
fn a_federation_decides_by_a_real_majority() {
    let federation = terms().reward.federation;
    let check = |k: u8, n: usize| {
        let federation = Federation {
            threshold: k,
            validators: federation.validators[..n].to_vec(),
            payout: federation.payout.clone(),
        };
        federation.check(Network::Regtest, people::CONTRACT).map_err(|error| error.rule())
    };
    for (k, n) in [(1, 1), (2, 2), (2, 3), (3, 3)] {
        assert_eq!(check(k, n), Ok(()), "{k} of {n}");
    }
    for (k, n) in [(0, 0), (0, 1), (1, 2), (1, 3), (4, 3), (255, 3)] {
        assert_eq!(check(k, n), Err("federation-majority"), "{k} of {n}");
    }
    let many = Federation {
        threshold: 9,
        validators: vec![federation.validators[0].clone(); 17],
        payout: federation.payout.clone(),
    };
    let refused = many.check(Network::Regtest, people::CONTRACT).unwrap_err();
    assert_eq!(refused.rule(), "federation-majority");
}

#[test]
fn a_federation_is_paid_on_the_contracts_network() {
    let mut federation = terms().reward.federation;
    let mainnet = people::signer(Seat::Miner, Network::Bitcoin).unwrap();
    federation.payout = mainnet.address().into_unchecked();
    let refused = federation.check(Network::Regtest, people::CONTRACT).unwrap_err();
    assert_eq!(refused.rule(), "record-network");
}
