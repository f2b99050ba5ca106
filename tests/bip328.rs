//! The official vectors of BIP-328: the xpub that stands for an aggregate key.
//!
//! The vectors aggregate keys in the order given, BIP-390 (and so this crate) in sorted order. So
//! each vector runs twice: in its own order from its aggregate on, and sorted from the keys on.

use bitcoin::NetworkKind;
use bitcoin::hex::FromHex;
use bitcoin::secp256k1::PublicKey;
use hashmix::musig::{aggregate, synthetic_xpub, synthetic_xpub_of};
use secp256k1::musig::KeyAggCache;
use serde_json::Value;

fn vectors() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/bip328/vectors.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn keys(vector: &Value) -> Vec<Vec<u8>> {
    let keys = vector["keys"].as_array().unwrap();
    keys.iter().map(|k| Vec::from_hex(k.as_str().unwrap()).unwrap()).collect()
}

/// KeyAgg in the order given, by the library beneath.
fn key_agg(keys: &[Vec<u8>]) -> PublicKey {
    let keys: Vec<_> = keys.iter().map(|k| secp256k1::PublicKey::from_slice(k).unwrap()).collect();
    let cache = KeyAggCache::new(&keys.iter().collect::<Vec<_>>());
    PublicKey::from_slice(&cache.agg_pk_full().serialize()).unwrap()
}

#[test]
fn every_vector_gives_its_aggregate_and_its_xpub() {
    let mut ran = 0;
    for vector in vectors() {
        let point = key_agg(&keys(&vector));
        assert_eq!(point.to_string(), vector["aggregate_pubkey"].as_str().unwrap());
        let xpub = synthetic_xpub_of(point, NetworkKind::Main);
        assert_eq!(xpub.to_string(), vector["xpub"].as_str().unwrap());
        ran += 1;
    }
    assert_eq!(ran, 3);
}

#[test]
fn from_the_keys_on_the_xpub_is_that_of_their_sorted_aggregate() {
    for vector in vectors() {
        let mut sorted = keys(&vector);
        let given: Vec<_> = sorted.iter().map(|k| PublicKey::from_slice(k).unwrap()).collect();
        sorted.sort();
        let point = key_agg(&sorted);
        assert_eq!(aggregate(&given).unwrap(), point);
        let xpub = synthetic_xpub(&given, NetworkKind::Main).unwrap();
        assert_eq!(xpub, synthetic_xpub_of(point, NetworkKind::Main));
        // The vectors' own order is not the sorted one, so sorting shows.
        assert_ne!(xpub.to_string(), vector["xpub"].as_str().unwrap());
    }
}
