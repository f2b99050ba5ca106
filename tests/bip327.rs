//! The official vectors of BIP-327, each case run or listed with the reason why it cannot be.
//!
//! The crate's own functions sort the keys, want at least two, and make nonces of one message;
//! the vectors do none of that. So they run against the library beneath, and against the crate's
//! own functions wherever these can express a case (parsing, sorting, refusals).

use std::collections::BTreeSet;

use bitcoin::hex::FromHex;
use bitcoin::secp256k1::{PublicKey, SecretKey};
use hashmix::musig::{self, KeyContext};
use secp256k1::musig as zkp;
use serde_json::Value;

/// Why libsecp256k1 cannot express a case; checked against the case itself.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Because {
    /// It signs messages of 32 bytes.
    MessageLength,
    /// It has no deterministic signing: a signer without randomness, who must speak last.
    DeterministicSigning,
    /// Its nonces take an aggregate key with the participants behind it, never a bare key.
    BareAggregate,
    /// A used nonce is a moved value: the program that would sign with it does not compile, as
    /// the example at `SecretNonce` shows.
    UsedNonce,
}

use Because::{BareAggregate, DeterministicSigning, MessageLength, UsedNonce};

/// File, group, place in the group, reason.
const LISTED: [(&str, &str, usize, Because); 15] = [
    ("det_sign", "valid_test_cases", 0, DeterministicSigning),
    ("det_sign", "valid_test_cases", 1, DeterministicSigning),
    ("det_sign", "valid_test_cases", 2, DeterministicSigning),
    ("det_sign", "valid_test_cases", 3, DeterministicSigning),
    ("det_sign", "error_test_cases", 0, DeterministicSigning),
    ("det_sign", "error_test_cases", 1, DeterministicSigning),
    ("det_sign", "error_test_cases", 2, DeterministicSigning),
    ("det_sign", "error_test_cases", 3, DeterministicSigning),
    ("det_sign", "error_test_cases", 4, DeterministicSigning),
    ("nonce_gen", "test_cases", 0, BareAggregate),
    ("nonce_gen", "test_cases", 1, MessageLength),
    ("nonce_gen", "test_cases", 2, MessageLength),
    ("sign_verify", "valid_test_cases", 4, MessageLength),
    ("sign_verify", "valid_test_cases", 5, MessageLength),
    ("sign_verify", "sign_error_test_cases", 5, UsedNonce),
];

/// File, its cases, those of them that run.
const FILES: [(&str, usize, usize); 8] = [
    ("det_sign", 9, 0),
    ("key_agg", 9, 9),
    ("key_sort", 1, 1),
    ("nonce_agg", 5, 5),
    ("nonce_gen", 4, 1),
    ("sig_agg", 5, 5),
    ("sign_verify", 17, 14),
    ("tweak", 6, 6),
];

fn load(file: &str) -> Value {
    let path = format!("{}/fixtures/bip327/{file}_vectors.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Runs every case that is not listed, checks the reason of every one that is, and compares the
/// counts with `FILES`.
fn run(file: &str, run_one: impl Fn(&Value, &str, &Value)) {
    let data = load(file);
    let (mut ran, mut listed) = (0, 0);
    for (group, cases) in data.as_object().unwrap() {
        if !group.ends_with("test_cases") {
            continue;
        }
        for (place, case) in cases.as_array().unwrap().iter().enumerate() {
            let entry = LISTED.iter().find(|l| (l.0, l.1, l.2) == (file, group.as_str(), place));
            match entry {
                Some((_, _, _, because)) => {
                    assert!(holds(*because, file, &data, case), "{file} {group} {place}");
                    listed += 1;
                }
                None => {
                    println!("{file} {group} {place}");
                    run_one(&data, group, case);
                    ran += 1;
                }
            }
        }
    }
    assert_eq!((file, ran + listed, ran), *FILES.iter().find(|f| f.0 == file).unwrap());
    assert_eq!(listed, LISTED.iter().filter(|l| l.0 == file).count());
}

/// Whether a case has the property that keeps it from running.
fn holds(because: Because, file: &str, data: &Value, case: &Value) -> bool {
    match because {
        MessageLength => {
            let given = case.get("msg").unwrap_or(&data["msgs"]).as_str().map(str::to_owned);
            let message =
                given.unwrap_or_else(|| text(&data["msgs"][number(&case["msg_index"])]).into());
            message.len() != 64
        }
        DeterministicSigning => file == "det_sign",
        BareAggregate => case["aggpk"].is_string(),
        UsedNonce => {
            let secret = bytes(&data["secnonces"][number(&case["secnonce_index"])]);
            secret[..64] == [0; 64]
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    Vec::from_hex(text(value)).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap().try_into().unwrap()
}

/// What the indices of a case choose from a list.
fn chosen<'a>(list: &'a Value, indices: &'a Value) -> impl Iterator<Item = &'a Value> {
    indices.as_array().unwrap().iter().map(|i| &list[number(i)])
}

fn key(value: &Value) -> Option<secp256k1::PublicKey> {
    secp256k1::PublicKey::from_byte_array_compressed(array(value)).ok()
}

fn nonce(value: &Value) -> Option<zkp::PublicNonce> {
    let bytes = bytes(value);
    let theirs = zkp::PublicNonce::from_byte_array(&bytes.clone().try_into().unwrap()).ok();
    match (&theirs, musig::PublicNonce::parse(&bytes)) {
        (Some(nonce), Ok(ours)) => assert_eq!(ours.serialize(), nonce.serialize()),
        (None, Err(refused)) => assert_eq!(refused.rule(), "musig-nonce"),
        (theirs, ours) => panic!("{theirs:?} but {ours:?}"),
    }
    theirs
}

fn part(value: &Value) -> Option<zkp::PartialSignature> {
    let bytes = bytes(value);
    let theirs = zkp::PartialSignature::from_byte_array(&bytes.clone().try_into().unwrap()).ok();
    match (&theirs, musig::PartialSignature::parse(&bytes)) {
        (Some(part), Ok(ours)) => assert_eq!(ours.serialize(), part.serialize()),
        (None, Err(refused)) => assert_eq!(refused.rule(), "musig-partial"),
        (theirs, ours) => panic!("{theirs:?} but {ours:?}"),
    }
    theirs
}

fn nonces(data: &Value, case: &Value) -> Option<Vec<zkp::PublicNonce>> {
    chosen(&data["pnonces"], &case["nonce_indices"]).map(nonce).collect()
}

fn keys(data: &Value, case: &Value) -> Option<Vec<secp256k1::PublicKey>> {
    chosen(&data["pubkeys"], &case["key_indices"]).map(key).collect()
}

fn key_agg(keys: &[secp256k1::PublicKey]) -> zkp::KeyAggCache {
    zkp::KeyAggCache::new(&keys.iter().collect::<Vec<_>>())
}

fn joined(nonces: &[zkp::PublicNonce]) -> zkp::AggregatedNonce {
    zkp::AggregatedNonce::new(&nonces.iter().collect::<Vec<_>>())
}

/// The aggregate of a case with its tweaks; `None` if one of them is refused.
fn tweaked(data: &Value, case: &Value) -> Option<zkp::KeyAggCache> {
    let mut cache = key_agg(&keys(data, case)?);
    let tweaks = chosen(&data["tweaks"], &case["tweak_indices"]);
    for (tweak, x_only) in tweaks.zip(case["is_xonly"].as_array().unwrap()) {
        let tweak = secp256k1::Scalar::from_be_bytes(array(tweak)).ok()?;
        if x_only.as_bool().unwrap() {
            cache.pubkey_xonly_tweak_add(&tweak).ok()?;
        } else {
            cache.pubkey_ec_tweak_add(&tweak).ok()?;
        }
    }
    Some(cache)
}

/// The secret nonce of a vector, in the library's own form: that of a fresh nonce of the same
/// signer, with the two scalars in its middle replaced.
fn secret_nonce(value: &Value, signer: &secp256k1::Keypair) -> zkp::SecretNonce {
    let given: [u8; 97] = array(value);
    assert_eq!(given[64..], signer.public_key().serialize());
    let (fresh, _) = zkp::new_nonce_pair(
        zkp::SessionSecretRand::assume_uniformly_random([1; 32]),
        None,
        None,
        signer.public_key(),
        None,
        None,
    );
    let mut form = fresh.dangerous_into_bytes();
    form[4..68].copy_from_slice(&given[..64]);
    zkp::SecretNonce::dangerous_from_bytes(form)
}

fn signer(data: &Value) -> secp256k1::Keypair {
    secp256k1::Keypair::from_secret_bytes(array(&data["sk"])).unwrap()
}

#[test]
fn keys_are_sorted_by_their_bytes() {
    // The file is one case: a list and the same list sorted.
    let data = load("key_sort");
    let given: Vec<_> = data["pubkeys"].as_array().unwrap().iter().map(key).collect();
    let given: Vec<secp256k1::PublicKey> = given.into_iter().map(Option::unwrap).collect();
    let expected: Vec<_> = data["sorted_pubkeys"].as_array().unwrap().iter().map(key).collect();
    let mut sorted: Vec<_> = given.iter().collect();
    secp256k1::sort_pubkeys(&mut sorted);
    assert_eq!(sorted.into_iter().copied().map(Some).collect::<Vec<_>>(), expected);

    // Ours refuses the key that is there twice, and sorts the others alike.
    let ours = |list: &Value| -> Vec<PublicKey> {
        let list = list.as_array().unwrap();
        list.iter().map(|k| PublicKey::from_slice(&bytes(k)).unwrap()).collect()
    };
    let refused = KeyContext::new(&ours(&data["pubkeys"]), &[], None).unwrap_err();
    assert_eq!(refused.rule(), "musig-duplicate");
    let once: BTreeSet<PublicKey> = ours(&data["pubkeys"]).into_iter().collect();
    let once: Vec<PublicKey> = once.into_iter().rev().collect();
    let mut expected = ours(&data["sorted_pubkeys"]);
    expected.dedup();
    assert_eq!(KeyContext::new(&once, &[], None).unwrap().participants(), expected);
}

#[test]
fn keys_aggregate_as_the_vectors_say() {
    run("key_agg", |data, group, case| match group {
        "valid_test_cases" => {
            let cache = key_agg(&keys(data, case).unwrap());
            assert_eq!(cache.agg_pk().to_byte_array(), array(&case["expected"]));
        }
        "error_test_cases" => {
            assert!(tweaked(data, case).is_none(), "{}", case["comment"]);
            let fault = &case["error"];
            if fault["contrib"] == "pubkey" {
                let faulty = &case["key_indices"][number(&fault["signer"])];
                assert!(key(&data["pubkeys"][number(faulty)]).is_none());
            }
        }
        other => panic!("unknown group {other}"),
    });
}

#[test]
fn nonces_are_made_as_the_vectors_say() {
    run("nonce_gen", |_, _, case| {
        assert!(["sk", "aggpk", "msg", "extra_in"].iter().all(|field| case[field].is_null()));
        let random = zkp::SessionSecretRand::assume_uniformly_random(array(&case["rand_"]));
        let owner = key(&case["pk"]).unwrap();
        let (secret, public) = zkp::new_nonce_pair(random, None, None, owner, None, None);
        assert_eq!(public.serialize(), array(&case["expected_pubnonce"]));
        let expected: [u8; 97] = array(&case["expected_secnonce"]);
        assert_eq!(secret.dangerous_into_bytes()[4..68], expected[..64]);
    });
}

#[test]
fn nonces_aggregate_as_the_vectors_say() {
    run("nonce_agg", |data, group, case| {
        let nonces: Vec<_> = chosen(&data["pnonces"], &case["pnonce_indices"]).map(nonce).collect();
        if group == "valid_test_cases" {
            let nonces: Vec<_> = nonces.into_iter().map(Option::unwrap).collect();
            assert_eq!(joined(&nonces).serialize(), array(&case["expected"]));
        } else {
            let faulty = number(&case["error"]["signer"]);
            let refused: Vec<usize> = (0..).zip(&nonces).filter_map(none).collect();
            assert_eq!(refused, [faulty], "{}", case["comment"]);
        }
    });
}

fn none<T>((place, item): (usize, &Option<T>)) -> Option<usize> {
    item.is_none().then_some(place)
}

#[test]
fn signing_and_verifying_go_as_the_vectors_say() {
    run("sign_verify", |data, group, case| {
        let message = data["msgs"][number(&case["msg_index"])].clone();
        match group {
            "valid_test_cases" => {
                let signer = signer(data);
                let cache = key_agg(&keys(data, case).unwrap());
                let nonces = nonces(data, case).unwrap();
                let given: [u8; 66] = array(&data["aggnonces"][number(&case["aggnonce_index"])]);
                assert_eq!(joined(&nonces).serialize(), given);
                let given = zkp::AggregatedNonce::from_byte_array(&given).unwrap();
                let session = zkp::Session::new(&cache, given, &array(&message));
                let secret = secret_nonce(&data["secnonces"][0], &signer);
                let part = session.partial_sign(secret, &signer, &cache);
                assert_eq!(part.serialize(), array(&case["expected"]));
                let mine = &nonces[number(&case["signer_index"])];
                assert!(session.partial_verify(&cache, &part, mine, signer.public_key()));
            }
            "sign_error_test_cases" => sign_error(data, case),
            "verify_fail_test_cases" => {
                let keys = keys(data, case).unwrap();
                let (cache, nonces) = (key_agg(&keys), nonces(data, case).unwrap());
                let session = zkp::Session::new(&cache, joined(&nonces), &array(&message));
                let by = number(&case["signer_index"]);
                let verifies = part(&case["sig"])
                    .is_some_and(|p| session.partial_verify(&cache, &p, &nonces[by], keys[by]));
                assert!(!verifies, "{}", case["comment"]);
            }
            "verify_error_test_cases" => match text(&case["error"]["contrib"]) {
                "pubkey" => assert!(keys(data, case).is_none()),
                "pubnonce" => assert!(nonces(data, case).is_none()),
                other => panic!("unknown fault {other}"),
            },
            other => panic!("unknown group {other}"),
        }
    });
}

fn sign_error(data: &Value, case: &Value) {
    match case["error"]["contrib"].as_str() {
        Some("pubkey") => assert!(keys(data, case).is_none()),
        Some("aggnonce") => {
            let given = array(&data["aggnonces"][number(&case["aggnonce_index"])]);
            assert!(zkp::AggregatedNonce::from_byte_array(&given).is_err());
        }
        // The library signs for a stranger without a word; ours does not.
        None => {
            let keys: Vec<PublicKey> = chosen(&data["pubkeys"], &case["key_indices"])
                .map(|k| PublicKey::from_slice(&bytes(k)).unwrap())
                .collect();
            let context = KeyContext::new(&keys, &[], None).unwrap();
            let stranger = SecretKey::from_slice(&bytes(&data["sk"])).unwrap();
            let message = array(&data["msgs"][0]);
            let refused = musig::nonce(&context, &stranger, message, [1; 32]).unwrap_err();
            assert_eq!(refused.rule(), "musig-signer");
        }
        Some(other) => panic!("unknown fault {other}"),
    }
}

#[test]
fn tweaked_keys_sign_as_the_vectors_say() {
    run("tweak", |data, group, case| {
        let cache = tweaked(data, case);
        if group == "error_test_cases" {
            assert!(cache.is_none(), "{}", case["comment"]);
            return;
        }
        let (cache, signer) = (cache.unwrap(), signer(data));
        let nonces = nonces(data, case).unwrap();
        assert_eq!(joined(&nonces).serialize(), array(&data["aggnonce"]));
        let session = zkp::Session::new(&cache, joined(&nonces), &array(&data["msg"]));
        let secret = secret_nonce(&data["secnonce"], &signer);
        let part = session.partial_sign(secret, &signer, &cache);
        assert_eq!(part.serialize(), array(&case["expected"]));
        let mine = &nonces[number(&case["signer_index"])];
        assert!(session.partial_verify(&cache, &part, mine, signer.public_key()));
    });
}

#[test]
fn partial_signatures_aggregate_as_the_vectors_say() {
    run("sig_agg", |data, group, case| {
        let parts: Vec<_> = chosen(&data["psigs"], &case["psig_indices"]).map(part).collect();
        if group == "error_test_cases" {
            let faulty = number(&case["error"]["signer"]);
            let refused: Vec<usize> = (0..).zip(&parts).filter_map(none).collect();
            assert_eq!(refused, [faulty], "{}", case["comment"]);
            return;
        }
        let (cache, nonces) = (tweaked(data, case).unwrap(), nonces(data, case).unwrap());
        let message: [u8; 32] = array(&data["msg"]);
        assert_eq!(joined(&nonces).serialize(), array(&case["aggnonce"]));
        let session = zkp::Session::new(&cache, joined(&nonces), &message);
        let parts: Vec<_> = parts.iter().map(|p| p.as_ref().unwrap()).collect();
        let signature = session.partial_sig_agg(&parts).verify(&cache.agg_pk(), &message).unwrap();
        assert_eq!(signature.to_byte_array(), array(&case["expected"]));
    });
}

#[test]
fn deterministic_signing_is_listed_whole() {
    run("det_sign", |_, _, _| panic!("no case runs"));
}

#[test]
fn what_runs_and_what_is_listed_add_up_to_every_case_of_every_file() {
    let folder = format!("{}/fixtures/bip327", env!("CARGO_MANIFEST_DIR"));
    let found: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let known = FILES.map(|(file, _, _)| format!("{file}_vectors.json"));
    assert_eq!(found, BTreeSet::from(known));

    let (mut all, mut runs) = (0, 0);
    for (file, cases, ran) in FILES {
        let data = load(file);
        let groups = data.as_object().unwrap().iter();
        let counted: usize = groups
            .filter(|(group, _)| group.ends_with("test_cases"))
            .map(|(_, cases)| cases.as_array().unwrap().len())
            .sum();
        assert_eq!(cases, if file == "key_sort" { 1 } else { counted }, "{file}");
        (all, runs) = (all + cases, runs + ran);
    }
    let places: BTreeSet<_> = LISTED.iter().map(|l| (l.0, l.1, l.2)).collect();
    assert_eq!(places.len(), LISTED.len(), "nothing is listed twice");
    assert_eq!((all, runs, LISTED.len()), (56, 41, 15));
    assert_eq!(all, runs + LISTED.len());
}
