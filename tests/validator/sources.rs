//! Servers that disagree: nothing is signed.

use std::sync::Arc;

use hashmix::party::Seat;
use hashmix::validator::request::REQUEST_MAX_BYTES;
use serde_json::json;

use crate::proxy::Trouble;
use crate::town::{Town, request};
use crate::world::FULL;

/// The rule by which a request that would be granted is put off.
fn put_off(town: &mut Town, key: &str) -> &'static str {
    let request = request(town.id(), Seat::Miner, key, town.mail(0)).to_json().unwrap();
    let error = town.desk(0).hand_in(&request, REQUEST_MAX_BYTES).unwrap_err();
    assert_eq!(error.exit_code(), 5, "{error}");
    let id = town.id();
    assert!(town.desk(0).words(id, 0, 10).unwrap().is_empty(), "nothing was said");
    // Once they agree the same request is answered.
    town.second.set(Trouble::None);
    town.desk(0).hand_in(&request, REQUEST_MAX_BYTES).unwrap();
    assert!(!town.desk(0).words(id, 0, 10).unwrap().is_empty());
    error.rule()
}

#[test]
fn a_server_that_is_behind_stops_the_desk_until_it_has_caught_up() {
    let mut town = Town::registered();
    town.table.deliver(0, FULL);
    let behind = town.table.node.height().unwrap();
    let block = town.table.node.block(behind).unwrap();
    let header = bitcoin::consensus::encode::serialize_hex(&block.header);
    // Three blocks in which nothing of the contract happens: one or two may be on their way.
    town.table.elsewhere(3);
    town.second.set(Trouble::Lies(Arc::new(move |method, _, truth| match method {
        "blockchain.headers.subscribe" => json!({ "height": behind, "hex": header }),
        _ => truth,
    })));
    assert_eq!(put_off(&mut town, "behind"), "policy-chain-lag");
}

#[test]
fn a_server_that_hides_the_escrow_stops_the_desk() {
    let mut town = Town::registered();
    town.table.deliver(0, FULL);
    town.second.set(Trouble::Lies(Arc::new(|method, _, truth| match method {
        "blockchain.scripthash.get_history" => json!([]),
        _ => truth,
    })));
    assert_eq!(put_off(&mut town, "hides"), "policy-chain-history");
}

#[test]
fn a_server_that_is_gone_stops_the_desk() {
    let mut town = Town::registered();
    town.table.deliver(0, FULL);
    town.second.set(Trouble::Refuses);
    let rule = put_off(&mut town, "gone");
    assert!(rule == "chain-server", "{rule}");
}
