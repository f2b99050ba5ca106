//! The fields of an output of a received PSBT: a draft writes none.

use bitcoin::psbt::Output;

use super::{Judge, UNKNOWN, V2, shown};
use crate::error::{Result, Rule};

/// Hints about outputs make devices take them for change and hide them from their owner.
pub const HINT: Rule = Rule::new(
    "policy-psbt-output-hint",
    "a PSBT says nothing of an output's scripts, keys, origins or tree",
    "compare the output's script with the terms, and ask for a PSBT without hints",
);

/// Types of an output that BIP 370 adds: amount and script.
const V2_OUTPUT: [u8; 2] = [0x03, 0x04];

pub(super) fn compare(judge: &Judge, number: usize, theirs: &Output) -> Result<()> {
    // Every field by name: a field that `bitcoin` learns to read later does not compile here.
    let Output {
        redeem_script,
        witness_script,
        bip32_derivation,
        tap_internal_key,
        tap_tree,
        tap_key_origins,
        proprietary,
        unknown,
    } = theirs;
    let at = |field: &str| format!("output {number}, {field}");
    for (field, script) in [("redeem script", redeem_script), ("witness script", witness_script)] {
        judge.absent(HINT, at(field), script.as_ref(), |script| shown(script))?;
    }
    let key = bip32_derivation.keys().next();
    judge.absent(HINT, at("origin of a key"), key, ToString::to_string)?;
    judge.absent(HINT, at("internal key"), *tap_internal_key, |key| key.to_string())?;
    judge.absent(HINT, at("tree"), tap_tree.as_ref(), |tree| {
        format!("{} leaves", tree.script_leaves().count())
    })?;
    let key = tap_key_origins.keys().next();
    judge.absent(HINT, at("origin of a Taproot key"), key, ToString::to_string)?;
    judge.foreign(&format!("output {number}"), proprietary, unknown, |kind| {
        match V2_OUTPUT.contains(&kind) {
            true => V2,
            false => UNKNOWN,
        }
    })
}
