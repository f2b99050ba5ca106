//! A position that was sold again: its terms in words, what a coinbase has to pay when, and why work that
//! pays the wrong holder counts for nobody.

use bitcoin::{Amount, Network, ScriptBuf};
use hashmix::flow::escrow::terms::{EscrowTerms, Tenure};
use hashmix::flow::reward::coins;
use hashmix::id::PositionId;
use hashmix::party::{Role, Seat};
use hashmix::rehearsal::{people, position};
use hashmix::script::template::Variant;
use hashmix::sign::record::record;
use hashmix::work::agreement::Earlier;
use hashmix::work::certificate::Certificate;

use crate::certificates::certificate;
use crate::desk::{Desk, ok, refused, rehearsed};

const NETWORK: Network = Network::Regtest;
const POSITION: PositionId = PositionId([5; 32]);

fn lock(terms: &EscrowTerms) -> ScriptBuf {
    coins::lock(&terms.reward).unwrap().script_pubkey
}

/// The contract before, and the one after: it pays from the second period on, and the third is the
/// last to pay the lock before.
fn sold() -> (EscrowTerms, EscrowTerms) {
    let before = rehearsed();
    let mut after = rehearsed();
    after.reward.variant = Variant::Nums;
    let earlier = vec![Earlier { until: 3, lock: lock(&before) }];
    after.tenure = Some(Tenure { position: POSITION, transfer: 2, first: 1, earlier });
    after.check().unwrap();
    (before, after)
}

#[test]
fn terms_of_a_later_contract_say_what_part_they_pay_for_and_who_is_paid_meanwhile() {
    let desk = Desk::new();
    let (before, after) = sold();
    let file = desk.put("after.json", serde_json::to_string(&after).unwrap());
    let shown = ok(&["terms", "show", &file]);
    for words in [
        format!("position    {POSITION}, transfer 2"),
        "the price is for the periods 2 to 6 of its term".to_owned(),
        format!("through period 3 coinbases pay the lock of a holder before: {:x}", lock(&before)),
        "60000000 sat, in 5 installments".to_owned(),
        "from height 132 to 191".to_owned(),
        "     2       1  132 to 143 ".to_owned(),
        "12000000 sat\n     6       3  180 to 191 ".to_owned(),
    ] {
        assert!(shown.contains(&words), "{words} in {shown}");
    }
    // Five re-locks there can be.
    ok(&["terms", "address", &file, "--index", "5"]);
    refused(&["terms", "address", &file, "--index", "6"], "terms-index", 2);
    let mut wrong = after;
    wrong.tenure.as_mut().unwrap().first = 3;
    let file = desk.put("wrong.json", serde_json::to_string(&wrong).unwrap());
    refused(&["terms", "show", &file], "terms-tenure", 3);
}

#[test]
fn work_for_the_wrong_holder_is_refused_with_the_reason() {
    let desk = Desk::new();
    let (before, after) = sold();
    let terms = desk.put("after.json", serde_json::to_string(&after).unwrap());
    let shown = |of: &EscrowTerms, slice: u32| {
        let made = certificate(of, 120 + 12 * slice + 5);
        let certificate = Certificate { position: POSITION, slice, ..made };
        desk.put("certificate.json", certificate.to_json())
    };
    let out = ok(&["work", "verify", &shown(&before, 2), "--terms", &terms]);
    assert!(out.contains("5 of 180 expected"), "{out}");
    ok(&["work", "verify", &shown(&after, 3), "--terms", &terms]);
    let late = shown(&before, 3);
    let line = refused(&["work", "verify", &late, "--terms", &terms], "work-pay-holder", 3);
    assert!(line.contains("the lock of a holder before, which ended with period 3"), "{line}");
    assert!(line.contains(&format!("{:x} from height 156 to 191", lock(&after))), "{line}");
    let early = shown(&after, 2);
    let line = refused(&["work", "verify", &early, "--terms", &terms], "work-pay-holder", 3);
    assert!(line.contains("the lock of a later holder, which begins with period 4"), "{line}");
    // The first period was settled by the contract before.
    let settled = shown(&before, 0);
    refused(&["work", "verify", &settled, "--terms", &terms], "work-share-slice", 3);
}

#[test]
fn work_for_the_holder_before_the_first_sale_is_told_apart_by_the_positions_own_terms() {
    let desk = Desk::new();
    let position = position::terms(1, [106, 123, 145]).unwrap();
    let signer = people::signer(Seat::Holder, NETWORK).unwrap();
    let payout = signer.address().into_unchecked();
    let buyer = record(&signer, Role::Holder, NETWORK, "position 1", payout).unwrap();
    let tenure = Tenure { position: POSITION, transfer: 1, first: 0, earlier: Vec::new() };
    let price = Amount::from_sat(60_000_000);
    let sold = position.sold(&buyer, price, tenure).unwrap();
    let terms = desk.put("sold.json", serde_json::to_string(&sold).unwrap());
    let own = desk.put("position.json", position.to_json().unwrap());
    let shown = |of: &EscrowTerms| {
        let certificate = Certificate { position: POSITION, ..certificate(of, 150) };
        desk.put("certificate.json", certificate.to_json())
    };
    let right = shown(&sold);
    ok(&["work", "verify", &right, "--terms", &terms, "--position", &own]);
    // The miner goes on mining for himself.
    let kept = shown(&position.contract(price));
    refused(&["work", "verify", &kept, "--terms", &terms], "work-pay-lock", 3);
    let asked = ["work", "verify", &kept, "--terms", &terms, "--position", &own];
    let line = refused(&asked, "work-pay-holder", 3);
    let reason = "the lock of the holder before the first sale, which ended at height 144";
    assert!(line.contains(reason), "{line}");
    assert!(line.contains(&format!("{:x} from height 145 to 216", lock(&sold))), "{line}");
    // Another position's terms tell nothing of this one.
    let other = position::terms(2, [106, 123, 145]).unwrap().to_json().unwrap();
    let other = desk.put("other.json", other);
    refused(
        &["work", "verify", &kept, "--terms", &terms, "--position", &other],
        "work-argument",
        2,
    );
    let (_, later) = self::sold();
    let later = desk.put("later.json", serde_json::to_string(&later).unwrap());
    let asked = ["work", "verify", &kept, "--terms", &later, "--position", &own];
    refused(&asked, "work-argument", 2);
}

#[cfg(feature = "gateway")]
#[test]
fn a_gateway_says_which_lock_it_will_pay_at_which_heights() {
    let desk = Desk::new();
    let (before, after) = sold();
    desk.put("after.json", serde_json::to_string(&after).unwrap());
    let config = r#"{ "format": "hashmix gateway 1", "listen": "127.0.0.1:0",
        "nodes": [{ "url": "http://127.0.0.1:1", "cookie": "none" }],
        "electrum": "tcp://127.0.0.1:1",
        "payees": [{ "name": "alice", "positions": [{ "terms": "after.json" }] }] }"#;
    let config = desk.put("gateway.json", config);
    let home = desk.put("home", "");
    let out =
        ok(&["gateway", "check", "--network", "regtest", "--home", &home, "--config", &config]);
    for words in [
        format!("position {POSITION}"),
        "heights 132 to 191".to_owned(),
        format!("lock   {:x}, heights 132 to 155", lock(&before)),
        format!("lock   {:x}, heights 156 to 191", lock(&after)),
    ] {
        assert!(out.contains(&words), "{words} in {out}");
    }
}
