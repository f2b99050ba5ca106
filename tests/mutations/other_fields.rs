//! Fields that other software gives a meaning to: BIP 370, xpubs, preimages, trees, and what is
//! unknown.

use bitcoin::bip32::{DerivationPath, Fingerprint, Xpub};
use bitcoin::hashes::{Hash, hash160, ripemd160, sha256, sha256d};
use bitcoin::psbt::raw::{Key, ProprietaryKey};
use bitcoin::psbt::{Input, Output};
use bitcoin::taproot::TaprootBuilder;
use bitcoin::{Psbt, ScriptBuf};

use crate::form::{add, edit};
use crate::hints::stranger;
use crate::mutation::{Mutation, bytes, field};
use crate::people::txid;
use crate::receiver::Receiver;

const V2: &str = "policy-psbt-v2";
const UNKNOWN: &str = "policy-psbt-unknown";
const PROPRIETARY: &str = "policy-psbt-proprietary";
const HINT: &str = "policy-psbt-output-hint";

pub(crate) fn mutations(_: &Receiver) -> Vec<Mutation> {
    let mut all = of_the_whole();
    all.extend(of_the_first_input());
    all.extend(of_the_first_output());
    all
}

fn proprietary() -> ProprietaryKey {
    ProprietaryKey { prefix: b"hashmix".to_vec(), subtype: 0, key: vec![1] }
}

fn raw(name: &str, rule: &'static str, map: usize, key: &'static [u8], value: Vec<u8>) -> Mutation {
    bytes(name, rule, move |b| edit(b, |maps| add(maps, map, key, &value)))
}

fn of_the_whole() -> Vec<Mutation> {
    // One key, written for both networks: the only place of a PSBT in which a network shows.
    let xpub = "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8";
    let mut xpub: Xpub = xpub.parse().unwrap();
    let mut all = Vec::new();
    for network in [bitcoin::NetworkKind::Main, bitcoin::NetworkKind::Test] {
        xpub.network = network;
        all.push(field(
            format!("an xpub of {network:?}"),
            "policy-psbt-xpub",
            move |p: &mut Psbt| {
                p.xpub.insert(xpub, (Fingerprint::from([1; 4]), DerivationPath::master()));
            },
        ));
    }
    all.extend([
        field("a proprietary field of the whole", PROPRIETARY, |p| {
            p.proprietary.insert(proprietary(), vec![1]);
        }),
        field("an unknown field of the whole", UNKNOWN, |p| {
            p.unknown.insert(Key { type_value: 0x7f, key: vec![] }, vec![1]);
        }),
        raw("transaction version (BIP 370)", V2, 0, &[0x02], vec![1, 0, 0, 0]),
        raw("fallback nLockTime (BIP 370)", V2, 0, &[0x03], vec![0; 4]),
        raw("number of inputs (BIP 370)", V2, 0, &[0x04], vec![2]),
        raw("number of outputs (BIP 370)", V2, 0, &[0x05], vec![1]),
        raw("all may be changed (BIP 370)", V2, 0, &[0x06], vec![7]),
        raw("PSBT version 0, said aloud", "policy-psbt-shortest", 0, &[0xfb], vec![0; 4]),
    ]);
    all
}

fn of_the_first_input() -> Vec<Mutation> {
    let input = |name: &str, rule, change: fn(&mut Input)| {
        field(name.to_owned(), rule, move |p: &mut Psbt| {
            p.inputs.iter_mut().take(1).for_each(change)
        })
    };
    vec![
        input("a proprietary field of the first input", PROPRIETARY, |input| {
            input.proprietary.insert(proprietary(), vec![1]);
        }),
        input("an unknown field of the first input", UNKNOWN, |input| {
            input.unknown.insert(Key { type_value: 0x7f, key: vec![] }, vec![1]);
        }),
        input("a derivation of a plain key", "policy-psbt-origin", |input| {
            let key = bitcoin::secp256k1::PublicKey::from_x_only_public_key(
                stranger(),
                bitcoin::key::Parity::Odd,
            );
            let origin = (Fingerprint::from([1; 4]), DerivationPath::master());
            input.bip32_derivation.insert(key, origin);
        }),
        input("a preimage of RIPEMD-160", "policy-psbt-preimage", |input| {
            input.ripemd160_preimages.insert(ripemd160::Hash::hash(&[1]), vec![1]);
        }),
        input("a preimage of SHA-256", "policy-psbt-preimage", |input| {
            input.sha256_preimages.insert(sha256::Hash::hash(&[1]), vec![1]);
        }),
        input("a preimage of HASH160", "policy-psbt-preimage", |input| {
            input.hash160_preimages.insert(hash160::Hash::hash(&[1]), vec![1]);
        }),
        input("a preimage of HASH256", "policy-psbt-preimage", |input| {
            input.hash256_preimages.insert(sha256d::Hash::hash(&[1]), vec![1]);
        }),
        raw("proof of reserves", UNKNOWN, 1, &[0x09], b"all of it".to_vec()),
        raw("another txid (BIP 370)", V2, 1, &[0x0e], txid(9).to_byte_array().to_vec()),
        raw("another vout (BIP 370)", V2, 1, &[0x0f], vec![9, 0, 0, 0]),
        raw("another sequence (BIP 370)", V2, 1, &[0x10], vec![0xff; 4]),
        raw("a time to wait for (BIP 370)", V2, 1, &[0x11], vec![0xff; 4]),
        raw("a height to wait for (BIP 370)", V2, 1, &[0x12], vec![1, 0, 0, 0]),
    ]
}

fn of_the_first_output() -> Vec<Mutation> {
    let output = |name: &str, rule, change: fn(&mut Output)| {
        field(name.to_owned(), rule, move |p: &mut Psbt| {
            p.outputs.iter_mut().take(1).for_each(change)
        })
    };
    vec![
        output("a proprietary field of the first output", PROPRIETARY, |output| {
            output.proprietary.insert(proprietary(), vec![1]);
        }),
        output("a redeem script of the first output", HINT, |output| {
            output.redeem_script = Some(ScriptBuf::from_bytes(vec![0x51]));
        }),
        output("a witness script of the first output", HINT, |output| {
            output.witness_script = Some(ScriptBuf::from_bytes(vec![0x51]));
        }),
        output("a plain key of the first output", HINT, |output| {
            let key = bitcoin::secp256k1::PublicKey::from_x_only_public_key(
                stranger(),
                bitcoin::key::Parity::Odd,
            );
            let origin = (Fingerprint::from([1; 4]), DerivationPath::master());
            output.bip32_derivation.insert(key, origin);
        }),
        output("a tree of the first output", HINT, |output| {
            let tree = TaprootBuilder::new().add_leaf(0, ScriptBuf::from_bytes(vec![0x51]));
            output.tap_tree = tree.ok().and_then(|tree| tree.try_into_taptree().ok());
        }),
        output("participants of the first output (BIP 373)", UNKNOWN, |output| {
            output.unknown.insert(Key { type_value: 0x08, key: vec![2; 33] }, vec![2; 66]);
        }),
        output("an unknown field of the first output", UNKNOWN, |output| {
            output.unknown.insert(Key { type_value: 0x7f, key: vec![] }, vec![1]);
        }),
        output("internal key of the first output", HINT, |output| {
            output.tap_internal_key = Some(stranger());
        }),
        output("origin of the first output", HINT, |output| {
            let source = (Fingerprint::from([1; 4]), DerivationPath::master());
            output.tap_key_origins.insert(stranger(), (Vec::new(), source));
        }),
        output("another amount (BIP 370)", V2, |output| {
            output.unknown.insert(Key { type_value: 0x03, key: vec![] }, vec![1; 8]);
        }),
        output("another script (BIP 370)", V2, |output| {
            output.unknown.insert(Key { type_value: 0x04, key: vec![] }, vec![0x51]);
        }),
        output("a silent payment (BIP 375)", UNKNOWN, |output| {
            output.unknown.insert(Key { type_value: 0x09, key: vec![] }, vec![2; 66]);
        }),
    ]
}
