//! Lies about what a transaction spends, in which order, and when (BIP 68).

use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::psbt::Input;
use bitcoin::{OutPoint, Psbt, ScriptBuf, Sequence, Transaction, TxIn, Txid, Witness};

use crate::form::edit;
use crate::mutation::{Mutation, bytes, field};
use crate::people::txid;
use crate::receiver::Receiver;

const INPUTS: &str = "policy-tx-inputs";
const TWICE: &str = "policy-tx-input-twice";

pub(crate) fn mutations(receiver: &Receiver) -> Vec<Mutation> {
    let mut all = of_the_list();
    for (place, input) in receiver.draft.transaction().input.iter().enumerate() {
        all.extend(of_the_outpoint(place, input.previous_output));
        all.extend(of_the_sequence(place, input.sequence));
        all.extend(signed_already(place, receiver.draft.transaction()));
    }
    all
}

fn push(psbt: &mut Psbt, input: TxIn, fields: Input) {
    psbt.unsigned_tx.input.push(input);
    psbt.inputs.push(fields);
}

fn of_the_list() -> Vec<Mutation> {
    let foreign = || TxIn { previous_output: OutPoint::new(txid(7), 0), ..TxIn::default() };
    vec![
        field("one input less", INPUTS, |p| {
            p.unsigned_tx.input.pop();
            p.inputs.pop();
        }),
        field("no input", INPUTS, |p| {
            p.unsigned_tx.input.clear();
            p.inputs.clear();
        }),
        field("a foreign input more", INPUTS, move |p| push(p, foreign(), Input::default())),
        field("a foreign input first", INPUTS, move |p| {
            p.unsigned_tx.input.insert(0, foreign());
            p.inputs.insert(0, Input::default());
        }),
        field("a foreign input more that claims our output", INPUTS, move |p| {
            let fields = p.inputs.first().cloned().unwrap_or_default();
            push(p, foreign(), fields);
        }),
        field("the first input twice", TWICE, |p| {
            if let (Some(input), Some(fields)) =
                (p.unsigned_tx.input.first().cloned(), p.inputs.first().cloned())
            {
                push(p, input, fields);
            }
        }),
        field("inputs in reverse", "policy-tx-input-order", |p| {
            p.unsigned_tx.input.reverse();
            p.inputs.reverse();
        }),
        // The inputs' fields alone: at sweeps each says another amount.
        field("fields of the inputs in reverse", "policy-psbt-utxo-amount", |p| p.inputs.reverse()),
        field("two foreign inputs more", INPUTS, |p| {
            for number in [7, 8] {
                let previous_output = OutPoint::new(txid(number), 0);
                push(p, TxIn { previous_output, ..TxIn::default() }, Input::default());
            }
        }),
        field("the first input is all of them", TWICE, |p| {
            if let Some(first) = p.unsigned_tx.input.first().cloned() {
                p.unsigned_tx.input.iter_mut().skip(1).for_each(|input| *input = first.clone());
            }
        }),
    ]
}

fn of_the_outpoint(place: usize, honest: OutPoint) -> Vec<Mutation> {
    let mut flipped = honest.txid.to_byte_array();
    flipped[31] ^= 1;
    let OutPoint { txid: honest_txid, vout } = honest;
    let lies = [
        ("the next vout", OutPoint::new(honest_txid, vout + 1)),
        ("the vout before", OutPoint::new(honest_txid, vout.wrapping_sub(1))),
        ("the last vout", OutPoint::new(honest_txid, u32::MAX)),
        ("one bit of the txid", OutPoint::new(Txid::from_byte_array(flipped), vout)),
        ("another txid", OutPoint::new(txid(8), vout)),
        ("an all-zero txid", OutPoint::new(Txid::all_zeros(), vout)),
        ("the null outpoint", OutPoint::null()),
    ];
    let change = |(name, lie)| {
        field(format!("input {place}, {name}"), "policy-tx-outpoint", move |p: &mut Psbt| {
            if let Some(input) = p.unsigned_tx.input.get_mut(place) {
                input.previous_output = lie;
            }
        })
    };
    lies.into_iter().map(change).collect()
}

fn of_the_sequence(place: usize, honest: Sequence) -> Vec<Mutation> {
    let honest = honest.to_consensus_u32();
    let lies = [
        ("final", u32::MAX),
        ("nLockTime without replacement", 0xffff_fffe),
        ("replaceable", 0xffff_fffd),
        ("zero", 0),
        ("a block more", honest.wrapping_add(1)),
        ("a block less", honest.wrapping_sub(1)),
        ("one block", 1),
        ("the longest delay", 0xffff),
        ("bit 31, no delay", honest ^ 1 << 31),
        ("bit 22, seconds instead of blocks", honest ^ 1 << 22),
        ("bit 16, without a meaning", honest ^ 1 << 16),
        ("bit 30, without a meaning", honest ^ 1 << 30),
        ("bit 15, the delay's highest", honest ^ 1 << 15),
        ("bit 0, the delay's lowest", honest ^ 1),
    ];
    let mut seen = vec![honest];
    let mut all = Vec::new();
    for (name, lie) in lies {
        if seen.contains(&lie) {
            continue;
        }
        seen.push(lie);
        all.push(field(
            format!("input {place}, sequence {name}"),
            "policy-tx-sequence",
            move |p: &mut Psbt| {
                if let Some(input) = p.unsigned_tx.input.get_mut(place) {
                    input.sequence = Sequence(lie);
                }
            },
        ));
    }
    all
}

/// BIP 174 has no place for signatures in the unsigned transaction: a scriptSig is told by its rule,
/// a witness makes it unreadable.
fn signed_already(place: usize, honest: &Transaction) -> Vec<Mutation> {
    let mut signed = honest.clone();
    if let Some(input) = signed.input.get_mut(place) {
        input.witness = Witness::from_slice(&[[1u8; 64]]);
    }
    let signed = serialize(&signed);
    vec![
        field(format!("input {place}, a scriptSig"), "policy-tx-unsigned", move |p| {
            if let Some(input) = p.unsigned_tx.input.get_mut(place) {
                input.script_sig = ScriptBuf::from_bytes(vec![0x51]);
            }
        }),
        bytes(format!("input {place}, a witness"), "policy-psbt-form", move |b| {
            edit(b, |maps| {
                let whole = maps.first_mut().and_then(|map| map.first_mut());
                if let Some((_, value)) = whole {
                    value.clone_from(&signed);
                }
            });
        }),
    ]
}
