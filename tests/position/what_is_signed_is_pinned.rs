//! What validators sign keeps its form: a receipt of each kind, and a bond of each kind in a journal.

use hashmix::flow::bond::Entry;
use hashmix::id::TermsId;
use hashmix::work::receipt::Receipt;
use serde_json::Value;

/// Written apart from this crate (fixtures/README.md).
const SIGNED: &str = include_str!("../../fixtures/words/signed.json");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_receipt_of_each_kind_loads_for_ever_and_signs_the_same_message() {
    let signed: Value = serde_json::from_str(SIGNED).unwrap();
    let pinned = signed["receipts"].as_array().unwrap();
    assert_eq!(pinned.len(), 6);
    for (kind, one) in pinned.iter().enumerate() {
        assert_eq!(one["kind"], kind);
        let receipt: Receipt = serde_json::from_value(one["receipt"].clone()).unwrap();
        assert_eq!(serde_json::to_value(&receipt).unwrap(), one["receipt"], "kind {kind}");
        assert_eq!(hex(receipt.message().as_ref()), one["message"], "kind {kind}");
    }
    assert!(pinned[5]["receipt"]["subject"]["resale"].is_object());
}

#[test]
fn a_bond_of_each_kind_loads_for_ever_with_the_same_digest() {
    let signed: Value = serde_json::from_str(SIGNED).unwrap();
    let journal = &signed["journal"];
    let contract: TermsId = serde_json::from_value(journal["contract"].clone()).unwrap();
    let validator: u8 = serde_json::from_value(journal["validator"].clone()).unwrap();
    let pinned = journal["entries"].as_array().unwrap();
    for (one, kind) in pinned.iter().zip(["ruling", "sweep", "resale"]) {
        assert!(one["entry"]["bond"][kind].is_object());
        let entry: Entry = serde_json::from_value(one["entry"].clone()).unwrap();
        assert_eq!(serde_json::to_value(&entry).unwrap(), one["entry"], "{kind}");
        assert_eq!(entry.digest(contract, validator).unwrap().to_string(), one["digest"], "{kind}");
    }
    assert_eq!(pinned.len(), 3);
}
