//! The unsigned transaction of a received PSBT against the one that the terms rebuild.

use std::collections::BTreeSet;

use bitcoin::{OutPoint, Transaction, TxIn, TxOut};

use super::{Judge, shown};
use crate::error::{Result, Rule};

/// What every rule of this file advises.
const ADVICE: &str = "compare terms, evidence and fee rate with the sender";

/// The version decides how nodes relay it.
pub const VERSION: Rule = Rule::new(
    "policy-tx-version",
    "a received transaction has the version of the rebuilt one",
    ADVICE,
);
/// When it may confirm.
pub const LOCK_TIME: Rule = Rule::new(
    "policy-tx-locktime",
    "a received transaction has the nLockTime of the rebuilt one",
    ADVICE,
);
/// How much it spends.
pub const INPUTS: Rule = Rule::new(
    "policy-tx-inputs",
    "a received transaction has as many inputs as the rebuilt one",
    ADVICE,
);
/// One output is spent once.
pub const INPUT_TWICE: Rule = Rule::new(
    "policy-tx-input-twice",
    "a received transaction spends no output twice",
    "do not deal with the sender's software: no node takes such a transaction",
);
/// The right inputs, shuffled: signatures commit to the order.
pub const INPUT_ORDER: Rule = Rule::new(
    "policy-tx-input-order",
    "the inputs of a received transaction stand in the order of the rebuilt one",
    "ask the sender for the order of the terms",
);
/// What it spends.
pub const OUTPOINT: Rule = Rule::new(
    "policy-tx-outpoint",
    "each input of a received transaction spends what the rebuilt one spends there",
    ADVICE,
);
/// How long an output must have lain, and whether the fee can be raised.
pub const SEQUENCE: Rule = Rule::new(
    "policy-tx-sequence",
    "each input of a received transaction has the sequence of the rebuilt one",
    ADVICE,
);
/// Signatures stand elsewhere.
pub const UNSIGNED: Rule = Rule::new(
    "policy-tx-unsigned",
    "the transaction in a PSBT carries neither scriptSig nor witness",
    "ask the sender for the unsigned transaction",
);
/// How many are paid.
pub const OUTPUTS: Rule = Rule::new(
    "policy-tx-outputs",
    "a received transaction has as many outputs as the rebuilt one",
    ADVICE,
);
/// The right outputs, shuffled: the next transaction looks for its output by number.
pub const OUTPUT_ORDER: Rule = Rule::new(
    "policy-tx-output-order",
    "the outputs of a received transaction stand in the order of the rebuilt one",
    "ask the sender for the order of the terms",
);
/// How much each is paid.
pub const AMOUNT: Rule = Rule::new(
    "policy-tx-amount",
    "each output of a received transaction pays as much as the rebuilt one, to the satoshi",
    ADVICE,
);
/// Who is paid.
pub const SCRIPT: Rule = Rule::new(
    "policy-tx-script",
    "each output of a received transaction pays the script that the rebuilt one pays",
    ADVICE,
);

pub(super) fn compare(judge: &Judge, ours: &Transaction, theirs: &Transaction) -> Result<()> {
    if theirs.version != ours.version {
        return Err(judge.refuses(VERSION, "version", ours.version, theirs.version));
    }
    if theirs.lock_time != ours.lock_time {
        let [ours, theirs] = [ours, theirs].map(|tx| tx.lock_time.to_consensus_u32());
        return Err(judge.refuses(LOCK_TIME, "nLockTime", ours, theirs));
    }
    inputs(judge, &ours.input, &theirs.input)?;
    outputs(judge, &ours.output, &theirs.output)
}

fn inputs(judge: &Judge, ours: &[TxIn], theirs: &[TxIn]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for (number, input) in theirs.iter().enumerate() {
        if !seen.insert(input.previous_output) {
            let at = format_args!("input {number}, outpoint");
            return Err(judge.refuses(INPUT_TWICE, at, "another output", input.previous_output));
        }
    }
    if theirs.len() != ours.len() {
        return Err(judge.refuses(INPUTS, "number of inputs", ours.len(), theirs.len()));
    }
    let all: BTreeSet<OutPoint> = ours.iter().map(|input| input.previous_output).collect();
    for (number, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        let (expected, found) = (ours.previous_output, theirs.previous_output);
        if found != expected {
            // The same outputs in another order, or a stranger among them.
            let rule = if seen == all { INPUT_ORDER } else { OUTPOINT };
            let at = format_args!("input {number}, outpoint");
            return Err(judge.refuses(rule, at, expected, found));
        }
        if theirs.sequence != ours.sequence {
            let at = format_args!("input {number}, sequence");
            return Err(judge.refuses(SEQUENCE, at, ours.sequence, theirs.sequence));
        }
        if !theirs.script_sig.is_empty() {
            let at = format_args!("input {number}, scriptSig");
            let found = format_args!("{:x}", theirs.script_sig);
            return Err(judge.refuses(UNSIGNED, at, "none", found));
        }
        if !theirs.witness.is_empty() {
            let at = format_args!("input {number}, witness");
            let found = format_args!("{} elements", theirs.witness.len());
            return Err(judge.refuses(UNSIGNED, at, "none", found));
        }
    }
    Ok(())
}

fn outputs(judge: &Judge, ours: &[TxOut], theirs: &[TxOut]) -> Result<()> {
    if theirs.len() != ours.len() {
        return Err(judge.refuses(OUTPUTS, "number of outputs", ours.len(), theirs.len()));
    }
    let sorted = |outputs: &[TxOut]| {
        let mut outputs = outputs.to_vec();
        outputs.sort();
        outputs
    };
    let shuffled = sorted(ours) == sorted(theirs);
    for (number, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        if ours == theirs {
            continue;
        }
        let [expected, found] =
            [ours, theirs].map(|out| (out.value.to_sat(), shown(&out.script_pubkey)));
        if shuffled {
            let at = format_args!("output {number}");
            let [expected, found] =
                [expected, found].map(|(sat, script)| format!("{sat} sat to {script}"));
            return Err(judge.refuses(OUTPUT_ORDER, at, expected, found));
        }
        if ours.script_pubkey != theirs.script_pubkey {
            let at = format_args!("output {number}, script");
            return Err(judge.refuses(SCRIPT, at, expected.1, found.1));
        }
        let at = format_args!("output {number}, amount");
        let [expected, found] = [expected, found].map(|(sat, _)| format!("{sat} sat"));
        return Err(judge.refuses(AMOUNT, at, expected, found));
    }
    Ok(())
}
