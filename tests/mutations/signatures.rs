//! Signatures and witnesses that somebody has put in beforehand.

use bitcoin::hashes::Hash;
use bitcoin::psbt::Input;
use bitcoin::secp256k1::{PublicKey, ecdsa, schnorr};
use bitcoin::taproot::TapLeafHash;
use bitcoin::{EcdsaSighashType, Psbt, ScriptBuf, TapSighashType, Witness, taproot};
use hashmix::script::lock::Path;

use crate::hints::stranger;
use crate::mutation::{Mutation, field};
use crate::people::{sign, signers};
use crate::receiver::Receiver;

const FINAL: &str = "policy-psbt-final";

pub(crate) fn mutations(receiver: &Receiver) -> Vec<Mutation> {
    let places = 0..receiver.draft.spends().len();
    places
        .flat_map(|place| {
            let mut all = of_the_key_path(place);
            all.extend(of_a_leaf(place, receiver));
            all.extend(finished(place));
            all
        })
        .collect()
}

fn at(place: usize, change: impl Fn(&mut Input) + 'static) -> impl Fn(&mut Psbt) + 'static {
    move |psbt| {
        if let Some(input) = psbt.inputs.get_mut(place) {
            change(input);
        }
    }
}

fn made_up() -> schnorr::Signature {
    schnorr::Signature::from_slice(&[7; 64]).unwrap()
}

fn of_the_key_path(place: usize) -> Vec<Mutation> {
    [TapSighashType::Default, TapSighashType::All, TapSighashType::NonePlusAnyoneCanPay]
        .into_iter()
        .map(|sighash_type| {
            let change = at(place, move |input| {
                input.tap_key_sig = Some(taproot::Signature { signature: made_up(), sighash_type });
            });
            let name = format!("input {place}, a key path signature, {sighash_type}");
            field(name, "policy-psbt-key-signature", change).warned("psbt-signature")
        })
        .collect()
}

fn of_a_leaf(place: usize, receiver: &Receiver) -> Vec<Mutation> {
    let spend = &receiver.draft.spends()[place];
    // On the key path the leaf of both stands for any.
    let leaf = spend.lock.leaf(if spend.path == Path::Key { Path::Agreed } else { spend.path });
    let leaf = leaf.unwrap();
    let other = spend.lock.leaves.iter().find(|other| other.path != leaf.path).unwrap();
    let key = leaf.keys[0].key;
    let real = match spend.path {
        Path::Key => made_up(),
        path => sign(&receiver.draft, signers(path)[0])[place],
    };
    let mut lies = vec![
        ("a made-up signature", key, leaf.hash(), made_up(), TapSighashType::Default),
        ("a stranger's signature", stranger(), leaf.hash(), real, TapSighashType::Default),
        ("a signature of another leaf", key, other.hash(), real, TapSighashType::Default),
        ("a signature of no leaf", key, TapLeafHash::all_zeros(), real, TapSighashType::Default),
    ];
    for kind in [
        TapSighashType::All,
        TapSighashType::None,
        TapSighashType::Single,
        TapSighashType::AllPlusAnyoneCanPay,
        TapSighashType::NonePlusAnyoneCanPay,
        TapSighashType::SinglePlusAnyoneCanPay,
    ] {
        lies.push(("a leaf signature of another type", key, leaf.hash(), real, kind));
    }
    lies.into_iter()
        .map(|(name, key, leaf, signature, sighash_type)| {
            let change = at(place, move |input| {
                let lie = taproot::Signature { signature, sighash_type };
                input.tap_script_sigs.insert((key, leaf), lie);
            });
            let name = format!("input {place}, {name}, {sighash_type}");
            field(name, "policy-psbt-leaf-signature", change).warned("psbt-signature")
        })
        .collect()
}

fn finished(place: usize) -> Vec<Mutation> {
    let named = |name: &str| format!("input {place}, {name}");
    let witness = |items: &[&[u8]]| {
        let witness = Witness::from_slice(items);
        at(place, move |input| input.final_script_witness = Some(witness.clone()))
    };
    vec![
        field(named("a finished witness"), FINAL, witness(&[&[7; 64]])),
        field(
            named("a finished witness with an annex"),
            "policy-psbt-annex",
            witness(&[&[7; 64], &[0x50, 1]]),
        ),
        field(
            named("a finished leaf with an annex of its tag alone"),
            "policy-psbt-annex",
            witness(&[&[7; 64], &[0x51], &[0xc0; 33], &[0x50]]),
        ),
        field(named("an empty finished witness"), FINAL, witness(&[])),
        field(
            named("a finished scriptSig"),
            FINAL,
            at(place, |input| {
                input.final_script_sig = Some(ScriptBuf::from_bytes(vec![0x51]));
            }),
        ),
        field(
            named("an ECDSA signature"),
            "policy-psbt-ecdsa",
            at(place, |input| {
                let signature = ecdsa::Signature::from_compact(&[1; 64]).unwrap();
                let key = PublicKey::from_x_only_public_key(stranger(), bitcoin::key::Parity::Even);
                let sighash_type = EcdsaSighashType::NonePlusAnyoneCanPay;
                let lie = bitcoin::ecdsa::Signature { signature, sighash_type };
                input.partial_sigs.insert(bitcoin::PublicKey::new(key), lie);
            }),
        ),
    ]
}
