//! The same people, the same contract, another network: its keys, locks and addresses where those of
//! this one belong.

use bitcoin::Psbt;
use bitcoin::psbt::Input;
use bitcoin::taproot::LeafVersion;
use hashmix::script::lock::Path;
use hashmix::tx::carrier::round;

use crate::mutation::{Mutation, field};
use crate::people::elsewhere;
use crate::receiver::{Receiver, Way};
use crate::transactions;

pub(crate) fn mutations(receiver: &Receiver) -> Vec<Mutation> {
    let name = receiver.transaction.name;
    let variant = receiver.transaction.variant;
    let there = transactions::of_terms(variant, elsewhere(variant));
    let there = there.into_iter().find(|other| other.name == name).unwrap().draft();
    let whole = match receiver.way {
        Way::Leaf => there.psbt().unwrap(),
        _ => round::carrier(&there).unwrap(),
    };
    let mut all = vec![field(
        "the whole PSBT of the contract on the main network",
        "policy-tx-script",
        move |p: &mut Psbt| *p = whole.clone(),
    )];
    for (place, out) in there.transaction().output.iter().enumerate() {
        let script = out.script_pubkey.clone();
        let name = format!("output {place} to the same one's script on the main network");
        all.push(field(name, "policy-tx-script", move |p: &mut Psbt| {
            if let Some(out) = p.unsigned_tx.output.get_mut(place) {
                out.script_pubkey = script.clone();
            }
        }));
    }
    for (place, spend) in there.spends().iter().enumerate() {
        let lock = &spend.lock;
        let script = lock.script_pubkey.clone();
        all.push(of_input(place, "script of the lock", "policy-psbt-utxo-script", move |input| {
            if let Some(utxo) = &mut input.witness_utxo {
                utxo.script_pubkey = script.clone();
            }
        }));
        let root = lock.merkle_root;
        all.push(of_input(place, "merkle root", "policy-psbt-merkle-root", move |input| {
            input.tap_merkle_root = Some(root);
        }));
        let leaf = lock.leaf(if spend.path == Path::Key { Path::Agreed } else { spend.path });
        let leaf = leaf.unwrap();
        let shown = (leaf.control.clone(), (leaf.script.clone(), LeafVersion::TapScript));
        all.push(of_input(place, "leaf", "policy-psbt-leaf-foreign", move |input| {
            input.tap_scripts = [shown.clone()].into();
        }));
        let key = lock.internal_key;
        all.push(of_input(place, "internal key", "policy-psbt-internal-key", move |input| {
            input.tap_internal_key = Some(key);
        }));
    }
    all
}

fn of_input(
    place: usize,
    what: &str,
    rule: &'static str,
    change: impl Fn(&mut Input) + 'static,
) -> Mutation {
    field(format!("input {place}, {what} on the main network"), rule, move |p: &mut Psbt| {
        if let Some(input) = p.inputs.get_mut(place) {
            change(input);
        }
    })
}
