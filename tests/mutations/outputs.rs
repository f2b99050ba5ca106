//! Lies about what a transaction pays, to whom, in which order.

use bitcoin::psbt::Output;
use bitcoin::{Amount, Psbt, ScriptBuf, TxOut};

use crate::mutation::{Mutation, field};
use crate::people::{terms, thief};
use crate::receiver::Receiver;

const OUTPUTS: &str = "policy-tx-outputs";
const AMOUNT: &str = "policy-tx-amount";

pub(crate) fn mutations(receiver: &Receiver) -> Vec<Mutation> {
    let mut all = of_the_list();
    let parties = parties(receiver);
    for (place, out) in receiver.draft.transaction().output.iter().enumerate() {
        all.extend(of_the_amount(place, out.value));
        all.extend(of_the_script(place, &out.script_pubkey, &parties));
    }
    all
}

fn push(psbt: &mut Psbt, out: TxOut) {
    psbt.unsigned_tx.output.push(out);
    psbt.outputs.push(Output::default());
}

fn of_the_list() -> Vec<Mutation> {
    let to = |sat, script_pubkey| TxOut { value: Amount::from_sat(sat), script_pubkey };
    let stolen = to(10_000, thief());
    let (first, last) = (stolen.clone(), stolen);
    vec![
        field("one output less", OUTPUTS, |p| {
            p.unsigned_tx.output.pop();
            p.outputs.pop();
        }),
        field("no output", OUTPUTS, |p| {
            p.unsigned_tx.output.clear();
            p.outputs.clear();
        }),
        field("a thief's output last", OUTPUTS, move |p| push(p, last.clone())),
        field("a thief's output first", OUTPUTS, move |p| {
            p.unsigned_tx.output.insert(0, first.clone());
            p.outputs.insert(0, Output::default());
        }),
        field("an empty output more", OUTPUTS, move |p| push(p, to(0, ScriptBuf::new()))),
        field("an OP_RETURN more", OUTPUTS, move |p| push(p, to(0, ScriptBuf::new_op_return([1])))),
        field("a dust anchor more", OUTPUTS, move |p| {
            push(p, to(240, ScriptBuf::from_bytes(vec![0x51, 0x02, 0x4e, 0x73])));
        }),
        field("the first output twice", OUTPUTS, |p| {
            if let Some(out) = p.unsigned_tx.output.first().cloned() {
                push(p, out);
            }
        }),
        field("outputs in reverse", "policy-tx-output-order", |p| p.unsigned_tx.output.reverse()),
        field("amounts in reverse", AMOUNT, |p| {
            let values: Vec<_> = p.unsigned_tx.output.iter().map(|out| out.value).collect();
            for (out, value) in p.unsigned_tx.output.iter_mut().zip(values.into_iter().rev()) {
                out.value = value;
            }
        }),
        field("a satoshi moved from the last output to the first", AMOUNT, |p| {
            if let [first, .., last] = p.unsigned_tx.output.as_mut_slice()
                && let Some(less) = last.value.checked_sub(Amount::ONE_SAT)
                && let Some(more) = first.value.checked_add(Amount::ONE_SAT)
            {
                first.value = more;
                last.value = less;
            }
        }),
    ]
}

fn of_the_amount(place: usize, honest: Amount) -> Vec<Mutation> {
    let sat = honest.to_sat();
    let lies = [
        ("a satoshi more", sat + 1),
        ("a satoshi less", sat - 1),
        ("nothing", 0),
        ("dust", 329),
        ("double", sat * 2),
        ("half", sat / 2),
        ("every bitcoin", 2_100_000_000_000_000),
        ("a satoshi above every bitcoin", 2_100_000_000_000_001),
        ("2^63", 1 << 63),
        ("2^64 - 1", u64::MAX),
        ("the fee as well", sat + 700),
    ];
    let change = |(name, lie)| {
        field(format!("output {place}, {name}"), AMOUNT, move |p: &mut Psbt| {
            if let Some(out) = p.unsigned_tx.output.get_mut(place) {
                out.value = Amount::from_sat(lie);
            }
        })
    };
    lies.into_iter().map(change).collect()
}

fn of_the_script(
    place: usize,
    honest: &ScriptBuf,
    parties: &[(&'static str, ScriptBuf)],
) -> Vec<Mutation> {
    let mut flipped = honest.to_bytes();
    if let Some(last) = flipped.last_mut() {
        *last ^= 1;
    }
    let mut version = honest.to_bytes();
    version[0] = 0x52;
    let mut lies = vec![
        ("a thief", thief()),
        ("nobody", ScriptBuf::new()),
        ("OP_RETURN", ScriptBuf::new_op_return([])),
        ("anybody", ScriptBuf::from_bytes(vec![0x51])),
        ("one bit flipped", ScriptBuf::from_bytes(flipped)),
        ("witness version 2", ScriptBuf::from_bytes(version)),
    ];
    lies.extend(parties.iter().filter(|(_, script)| script != honest).cloned());
    let change = |(name, lie): (&str, ScriptBuf)| {
        field(format!("output {place} to {name}"), "policy-tx-script", move |p: &mut Psbt| {
            if let Some(out) = p.unsigned_tx.output.get_mut(place) {
                out.script_pubkey = lie.clone();
            }
        })
    };
    lies.into_iter().map(change).collect()
}

/// Whom else the contract knows, and locks that it might pay by mistake.
fn parties(receiver: &Receiver) -> Vec<(&'static str, ScriptBuf)> {
    let terms = terms(receiver.transaction.variant);
    let lock = |index| hashmix::flow::escrow::coins::lock(terms, index).unwrap().script_pubkey;
    vec![
        ("the miner", terms.reward.miner.payout_script()),
        ("the holder", terms.reward.holder.payout_script()),
        ("the lock that is spent", receiver.draft.spends()[0].prevout.script_pubkey.clone()),
        ("the escrow lock of another index", lock(5)),
    ]
}
