//! Lies about keys, leaves and the tree (BIP 371): hints that turn unwary signers into oracles.

use std::collections::BTreeMap;

use bitcoin::bip32::{DerivationPath, Fingerprint};
use bitcoin::hashes::Hash;
use bitcoin::psbt::{Input, PsbtSighashType};
use bitcoin::taproot::{ControlBlock, LeafVersion, TapNodeHash};
use bitcoin::{Psbt, ScriptBuf, XOnlyPublicKey};
use hashmix::script::lock::{Leaf, Path};

use crate::mutation::{Mutation, field};
use crate::receiver::Receiver;

pub(crate) fn mutations(receiver: &Receiver) -> Vec<Mutation> {
    let places = 0..receiver.draft.spends().len();
    places
        .flat_map(|place| {
            let mut all = of_the_output_key(place, receiver);
            all.extend(of_the_leaf(place, receiver));
            all.extend(of_the_signature_type(place));
            all
        })
        .collect()
}

/// A key of somebody outside.
pub(crate) fn stranger() -> XOnlyPublicKey {
    let point = "f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9";
    point.parse().unwrap()
}

fn at(place: usize, change: impl Fn(&mut Input) + 'static) -> impl Fn(&mut Psbt) + 'static {
    move |psbt| {
        if let Some(input) = psbt.inputs.get_mut(place) {
            change(input);
        }
    }
}

fn of_the_output_key(place: usize, receiver: &Receiver) -> Vec<Mutation> {
    let (key, tree) = ("policy-psbt-internal-key", "policy-psbt-merkle-root");
    let root = receiver.draft.spends()[place].lock.merkle_root;
    let mut flipped = root.to_byte_array();
    flipped[0] ^= 1;
    let flipped = TapNodeHash::from_byte_array(flipped);
    let output: XOnlyPublicKey = XOnlyPublicKey::from_slice(
        &receiver.draft.spends()[place].prevout.script_pubkey.as_bytes()[2..],
    )
    .unwrap();
    let named = |name: &str| format!("input {place}, {name}");
    let origin = || (Vec::new(), (Fingerprint::from([1; 4]), DerivationPath::master()));
    let elsewhere = "policy-psbt-origin";
    vec![
        field(
            named("internal key of a stranger"),
            key,
            at(place, |input| {
                input.tap_internal_key = Some(stranger());
            }),
        )
        .warned("psbt-hints"),
        field(
            named("the output key as internal key"),
            key,
            at(place, move |input| {
                input.tap_internal_key = Some(output);
            }),
        )
        .warned("psbt-hints"),
        field(named("no internal key"), key, at(place, |input| input.tap_internal_key = None)),
        field(
            named("merkle root of one other bit"),
            tree,
            at(place, move |input| {
                input.tap_merkle_root = Some(flipped);
            }),
        )
        .warned("psbt-hints"),
        field(
            named("an all-zero merkle root"),
            tree,
            at(place, |input| {
                input.tap_merkle_root = Some(TapNodeHash::all_zeros());
            }),
        )
        .warned("psbt-hints"),
        field(named("no merkle root"), tree, at(place, |input| input.tap_merkle_root = None)),
        field(
            named("origin of a stranger's key"),
            elsewhere,
            at(place, move |input| {
                input.tap_key_origins.insert(stranger(), origin());
            }),
        ),
        field(
            named("origin of the internal key elsewhere"),
            elsewhere,
            at(place, move |input| {
                let key = input.tap_internal_key.unwrap_or_else(stranger);
                input.tap_key_origins.insert(key, origin());
            }),
        ),
        field(named("origins in every leaf of ours"), elsewhere, {
            let leaves = receiver.draft.spends()[place].lock.leaves.clone();
            at(place, move |input| {
                for leaf in &leaves {
                    for key in &leaf.keys {
                        let (_, source) = origin();
                        input.tap_key_origins.insert(key.key, (vec![leaf.hash()], source));
                    }
                }
            })
        }),
    ]
}

/// A name, the rule that refuses it, the leaves that the input then shows, their version, and the
/// rule that warns of it.
type LeafLie =
    (&'static str, &'static str, Vec<(ControlBlock, ScriptBuf)>, LeafVersion, Option<&'static str>);

fn of_the_leaf(place: usize, receiver: &Receiver) -> Vec<Mutation> {
    let spend = &receiver.draft.spends()[place];
    let other = spend.lock.leaves.iter().find(|leaf| leaf.path != spend.path).unwrap();
    let ours = match spend.path {
        Path::Key => spend.lock.leaves.last().unwrap(),
        path => spend.lock.leaf(path).unwrap(),
    };
    let theirs = ScriptBuf::builder().push_x_only_key(&stranger());
    let theirs = theirs.push_opcode(bitcoin::opcodes::all::OP_CHECKSIG).into_script();
    let entry = |leaf: &Leaf| (leaf.control.clone(), leaf.script.clone());
    let mut control = ours.control.clone();
    control.internal_key = stranger();
    let mut short = ours.control.serialize();
    short.truncate(33);
    let short = ControlBlock::decode(&short).unwrap();
    let mut parity = ours.control.serialize();
    parity[0] ^= 1;
    let parity = ControlBlock::decode(&parity).unwrap();
    let future = LeafVersion::from_consensus(0xc2).unwrap();

    let lies: [LeafLie; 8] = [
        (
            "another leaf of the lock instead",
            "policy-psbt-leaf-other",
            vec![entry(other)],
            LeafVersion::TapScript,
            None,
        ),
        (
            "another leaf of the lock as well",
            "policy-psbt-leaf-other",
            vec![entry(ours), entry(other)],
            LeafVersion::TapScript,
            None,
        ),
        (
            "a stranger's script",
            "policy-psbt-leaf-foreign",
            vec![(ours.control.clone(), theirs)],
            LeafVersion::TapScript,
            Some("psbt-hints"),
        ),
        (
            "an empty script",
            "policy-psbt-leaf-foreign",
            vec![(ours.control.clone(), ScriptBuf::new())],
            LeafVersion::TapScript,
            Some("psbt-hints"),
        ),
        (
            "control block of a stranger's key",
            "policy-psbt-control-block",
            vec![(control, ours.script.clone())],
            LeafVersion::TapScript,
            Some("psbt-hints"),
        ),
        (
            "control block without a way to the root",
            "policy-psbt-control-block",
            vec![(short, ours.script.clone())],
            LeafVersion::TapScript,
            Some("psbt-hints"),
        ),
        (
            "control block of the other parity",
            "policy-psbt-control-block",
            vec![(parity, ours.script.clone())],
            LeafVersion::TapScript,
            Some("psbt-hints"),
        ),
        (
            "another leaf version",
            "policy-psbt-leaf-version",
            vec![entry(ours)],
            future,
            Some("psbt-hints"),
        ),
    ];
    let mut all: Vec<Mutation> = lies
        .into_iter()
        .map(|(name, rule, entries, version, warned)| {
            let scripts: BTreeMap<_, _> =
                entries.into_iter().map(|(control, script)| (control, (script, version))).collect();
            let change = at(place, move |input| input.tap_scripts = scripts.clone());
            let name = format!("input {place}, {name}");
            Mutation { warned, ..field(name, rule, change) }
        })
        .collect();
    all.push(field(
        format!("input {place}, no leaf"),
        "policy-psbt-leaf-missing",
        at(place, |input| input.tap_scripts.clear()),
    ));
    let script = || Some(ScriptBuf::from_bytes(vec![0x51]));
    let scripts = "policy-psbt-scripts";
    all.push(field(
        format!("input {place}, a witness script"),
        scripts,
        at(place, move |input| input.witness_script = script()),
    ));
    all.push(field(
        format!("input {place}, a redeem script"),
        scripts,
        at(place, move |input| input.redeem_script = script()),
    ));
    all
}

fn of_the_signature_type(place: usize) -> Vec<Mutation> {
    let types = [0u32, 1, 2, 3, 0x81, 0x82, 0x83, 0x80, 0x41, 0xff, 0x1_0000, u32::MAX];
    types
        .into_iter()
        .map(|kind| {
            let change =
                at(place, move |input| input.sighash_type = Some(PsbtSighashType::from_u32(kind)));
            let name = format!("input {place}, signature type {kind:#04x}");
            // SIGHASH_DEFAULT, said aloud, is nothing to warn a person of.
            let warned = (kind != 0).then_some("psbt-hints");
            Mutation { warned, ..field(name, "policy-psbt-sighash", change) }
        })
        .collect()
}
