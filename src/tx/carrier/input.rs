//! The fields of an input of a received PSBT against those that a draft writes itself.
//!
//! An input of ours says which output it spends, under which key and root, and on a script path the
//! one leaf that is signed. Nothing else: whose keys they are stands in the terms, and signatures
//! arrive in words, or as parts of a round.

use std::collections::BTreeMap;

use bitcoin::hex::DisplayHex;
use bitcoin::psbt::Input;
use bitcoin::taproot::{ControlBlock, LeafVersion};
use bitcoin::{ScriptBuf, Witness};

use super::round::FIELDS;
use super::{Judge, Known, UNKNOWN, V2, round, shown};
use crate::error::{Result, Rule};
use crate::script::lock::Path;

/// What the rules about signatures advise.
const SIGNED_ELSEWHERE: &str = "take signatures from signed words, and send the PSBT without them";

/// Signatures commit to what is spent.
pub const UTXO_MISSING: Rule = Rule::new(
    "policy-psbt-utxo-missing",
    "each input carries the output that it spends",
    "ask for a PSBT with witness UTXOs",
);
/// A wrong amount hides a fee.
pub const UTXO_AMOUNT: Rule = Rule::new(
    "policy-psbt-utxo-amount",
    "an input says how much the chain's output holds, to the satoshi",
    "compare the output with the chain",
);
/// A wrong script makes sign for another lock.
pub const UTXO_SCRIPT: Rule = Rule::new(
    "policy-psbt-utxo-script",
    "an input says the script of the lock that it spends",
    "compare terms and network with the sender",
);
/// A whole transaction beside the one output: a second story of what is spent.
pub const PREVIOUS: Rule = Rule::new(
    "policy-psbt-previous-tx",
    "an input of a Taproot lock carries no previous transaction",
    "ask for a PSBT with witness UTXOs alone",
);
/// All of the transaction is signed.
pub const SIGHASH: Rule = Rule::new(
    "policy-psbt-sighash",
    "a PSBT asks for no signature type: everything is signed as SIGHASH_DEFAULT",
    "do not sign it; ask the sender what he wants to change behind your signature",
);
/// The key path's key before its tweak.
pub const INTERNAL_KEY: Rule = Rule::new(
    "policy-psbt-internal-key",
    "an input carries the internal key of its lock",
    "compare the terms with the sender",
);
/// The tree of leaves.
pub const MERKLE_ROOT: Rule = Rule::new(
    "policy-psbt-merkle-root",
    "an input carries the merkle root of its lock",
    "compare the terms with the sender",
);
/// The leaf to be signed is shown.
pub const LEAF_MISSING: Rule = Rule::new(
    "policy-psbt-leaf-missing",
    "an input shows the leaf that is to be signed",
    "ask for a PSBT with the leaf",
);
/// A leaf from elsewhere: its signature is good for somebody else.
pub const LEAF_FOREIGN: Rule = Rule::new(
    "policy-psbt-leaf-foreign",
    "an input shows no script that is not a leaf of its lock",
    "do not sign it; ask the sender where the script comes from",
);
/// Another way into the same lock, such as somebody's exit.
pub const LEAF_OTHER: Rule = Rule::new(
    "policy-psbt-leaf-other",
    "an input shows no other leaf of its lock than the one that is to be signed",
    "agree with the sender on the way in",
);
/// Signatures commit to the version.
pub const LEAF_VERSION: Rule = Rule::new(
    "policy-psbt-leaf-version",
    "a leaf is of the version of Tapscript",
    "do not sign it; ask the sender where the version comes from",
);
/// How the leaf hangs in the tree.
pub const CONTROL_BLOCK: Rule = Rule::new(
    "policy-psbt-control-block",
    "a leaf's control block leads to the output of its lock",
    "compare the terms with the sender",
);
/// Where devices look for their keys.
pub const ORIGIN: Rule = Rule::new(
    "policy-psbt-origin",
    "an input says of its keys' origins what its draft says, and nothing more",
    "take origins from the records of the terms",
);
/// A key path signature that nobody here has joined.
pub const KEY_SIGNATURE: Rule = Rule::new(
    "policy-psbt-key-signature",
    "a received PSBT carries no key path signature",
    SIGNED_ELSEWHERE,
);
/// A leaf's signature that came by no word.
pub const LEAF_SIGNATURE: Rule = Rule::new(
    "policy-psbt-leaf-signature",
    "a received PSBT carries no signature of a leaf",
    SIGNED_ELSEWHERE,
);
/// A signature of before Taproot.
pub const ECDSA: Rule = Rule::new(
    "policy-psbt-ecdsa",
    "a received PSBT carries no ECDSA signature: all locks are Taproot",
    SIGNED_ELSEWHERE,
);
/// An annex is signed too, and means nothing yet.
pub const ANNEX: Rule = Rule::new(
    "policy-psbt-annex",
    "no witness carries an annex (BIP 341)",
    "do not sign it; ask the sender what the annex is for",
);
/// A finished input: what a finaliser would broadcast.
pub const FINAL: Rule = Rule::new(
    "policy-psbt-final",
    "a received PSBT carries no finished witness or scriptSig",
    SIGNED_ELSEWHERE,
);
/// Scripts of before Taproot.
pub const SCRIPTS: Rule = Rule::new(
    "policy-psbt-scripts",
    "an input of a Taproot lock has neither redeem script nor witness script",
    "ask for a PSBT without them",
);
/// No lock of ours asks for one.
pub const PREIMAGE: Rule = Rule::new(
    "policy-psbt-preimage",
    "an input carries no preimage: no lock asks for one",
    "ask for a PSBT without it",
);

/// Types of an input that BIP 370 adds: outpoint, sequence, and what it waits for.
const V2_INPUT: [u8; 5] = [0x0e, 0x0f, 0x10, 0x11, 0x12];
/// First byte of an annex (BIP 341).
const ANNEX_TAG: u8 = 0x50;

pub(super) fn compare(
    judge: &Judge,
    number: usize,
    known: Known<'_>,
    ours: &Input,
    theirs: &Input,
) -> Result<()> {
    // Every field by name: a field that `bitcoin` learns to read later does not compile here.
    let Input {
        non_witness_utxo,
        witness_utxo: _,
        partial_sigs,
        sighash_type,
        redeem_script,
        witness_script,
        bip32_derivation,
        final_script_sig,
        final_script_witness,
        ripemd160_preimages,
        sha256_preimages,
        hash160_preimages,
        hash256_preimages,
        tap_key_sig,
        tap_script_sigs,
        tap_scripts,
        tap_key_origins,
        tap_internal_key,
        tap_merkle_root,
        proprietary,
        unknown,
    } = theirs;
    let at = |field: &str| format!("input {number}, {field}");

    spent(judge, number, known, theirs)?;
    judge.absent(PREVIOUS, at("previous transaction"), non_witness_utxo.as_ref(), |tx| {
        tx.compute_txid().to_string()
    })?;
    judge.absent(SIGHASH, at("signature type"), *sighash_type, |kind| {
        format!("{:#04x}", kind.to_u32())
    })?;
    same(judge, INTERNAL_KEY, &at("internal key"), &ours.tap_internal_key, tap_internal_key)?;
    same(judge, MERKLE_ROOT, &at("merkle root"), &ours.tap_merkle_root, tap_merkle_root)?;
    leaves(judge, number, known, &ours.tap_scripts, tap_scripts)?;

    let place = at("origin of a Taproot key");
    origins(judge, &place, &ours.tap_key_origins, tap_key_origins)?;
    origins(judge, &at("origin of a key"), &ours.bip32_derivation, bip32_derivation)?;

    let place = at("key path signature");
    judge.absent(KEY_SIGNATURE, place, tap_key_sig.as_ref(), |found| {
        format!("{} ({})", found.signature, found.sighash_type)
    })?;
    let place = at("signature of a leaf");
    judge.absent(LEAF_SIGNATURE, place, tap_script_sigs.keys().next(), |(key, leaf)| {
        format!("one by {key} of leaf {leaf}")
    })?;
    let place = at("ECDSA signature");
    judge.absent(ECDSA, place, partial_sigs.keys().next(), |key| format!("one by {key}"))?;

    let last = final_script_witness.as_ref().filter(|witness| has_annex(witness));
    let last = last.and_then(Witness::last);
    judge.absent(ANNEX, at("annex"), last, |annex| annex.to_lower_hex_string())?;
    judge.absent(FINAL, at("finished witness"), final_script_witness.as_ref(), |witness| {
        format!("{} elements", witness.len())
    })?;
    let script = |script: &ScriptBuf| shown(script);
    judge.absent(FINAL, at("finished scriptSig"), final_script_sig.as_ref(), script)?;
    judge.absent(SCRIPTS, at("redeem script"), redeem_script.as_ref(), script)?;
    judge.absent(SCRIPTS, at("witness script"), witness_script.as_ref(), script)?;

    let preimage = at("preimage");
    let text = |hash: &dyn core::fmt::Display| format!("one of {hash}");
    judge.absent(PREIMAGE, &preimage, ripemd160_preimages.keys().next(), |hash| text(hash))?;
    judge.absent(PREIMAGE, &preimage, sha256_preimages.keys().next(), |hash| text(hash))?;
    judge.absent(PREIMAGE, &preimage, hash160_preimages.keys().next(), |hash| text(hash))?;
    judge.absent(PREIMAGE, &preimage, hash256_preimages.keys().next(), |hash| text(hash))?;

    judge.foreign(&format!("input {number}"), proprietary, unknown, |kind| match kind {
        kind if FIELDS.contains(&kind) => round::ROUND,
        kind if V2_INPUT.contains(&kind) => V2,
        _ => UNKNOWN,
    })
}

/// An annex is the last of at least two elements (BIP 341).
fn has_annex(witness: &Witness) -> bool {
    witness.len() > 1 && witness.last().is_some_and(|last| last.first() == Some(&ANNEX_TAG))
}

fn spent(judge: &Judge, number: usize, known: Known<'_>, theirs: &Input) -> Result<()> {
    let expected = known.prevout;
    let amount = format!("{} sat", expected.value.to_sat());
    let Some(found) = &theirs.witness_utxo else {
        let at = format_args!("input {number}, witness UTXO");
        return Err(judge.refuses(UTXO_MISSING, at, amount, "none"));
    };
    if found.script_pubkey != expected.script_pubkey {
        let at = format_args!("input {number}, script of the witness UTXO");
        let [expected, found] = [expected, found].map(|out| shown(&out.script_pubkey));
        return Err(judge.refuses(UTXO_SCRIPT, at, expected, found));
    }
    if found.value != expected.value {
        let at = format_args!("input {number}, amount of the witness UTXO");
        let found = format_args!("{} sat", found.value.to_sat());
        return Err(judge.refuses(UTXO_AMOUNT, at, amount, found));
    }
    Ok(())
}

fn same<T: PartialEq + core::fmt::Display>(
    judge: &Judge,
    rule: Rule,
    place: &str,
    ours: &Option<T>,
    theirs: &Option<T>,
) -> Result<()> {
    if ours == theirs {
        return Ok(());
    }
    let [ours, theirs] = [ours, theirs]
        .map(|field| field.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string));
    Err(judge.refuses(rule, place, ours, theirs))
}

type Leaves = BTreeMap<ControlBlock, (ScriptBuf, LeafVersion)>;

fn leaves(
    judge: &Judge,
    number: usize,
    known: Known<'_>,
    ours: &Leaves,
    theirs: &Leaves,
) -> Result<()> {
    for (control, (script, version)) in theirs {
        let leaves = known.lock.map(|(lock, _)| lock.leaves.as_slice()).unwrap_or_default();
        let Some(leaf) = leaves.iter().find(|leaf| leaf.script == *script) else {
            let at = format_args!("input {number}, leaf");
            return Err(judge.refuses(LEAF_FOREIGN, at, "a leaf of the lock", shown(script)));
        };
        if *version != LeafVersion::TapScript {
            let at = format_args!("input {number}, version of the {}", leaf.path);
            return Err(judge.refuses(LEAF_VERSION, at, LeafVersion::TapScript, version));
        }
        if *control != leaf.control {
            let at = format_args!("input {number}, control block of the {}", leaf.path);
            let [expected, found] =
                [&leaf.control, control].map(|block| block.serialize().to_lower_hex_string());
            return Err(judge.refuses(CONTROL_BLOCK, at, expected, found));
        }
        if let Some((_, path)) = known.lock
            && leaf.path != path
        {
            let at = format_args!("input {number}, leaf");
            return Err(judge.refuses(LEAF_OTHER, at, path, leaf.path));
        }
    }
    if ours.keys().any(|control| !theirs.contains_key(control)) {
        let at = format_args!("input {number}, leaf");
        let path = known.lock.map_or(Path::Key, |(_, path)| path);
        return Err(judge.refuses(LEAF_MISSING, at, path, "none"));
    }
    Ok(())
}

/// Refuses origins that differ, are too many or are missing, naming the key.
fn origins<K: Ord + core::fmt::Display, V: PartialEq + core::fmt::Debug>(
    judge: &Judge,
    place: &str,
    ours: &BTreeMap<K, V>,
    theirs: &BTreeMap<K, V>,
) -> Result<()> {
    let differs = ours.keys().chain(theirs.keys()).find(|key| ours.get(key) != theirs.get(key));
    let Some(key) = differs else { return Ok(()) };
    let [ours, theirs] = [ours, theirs].map(|all| match all.get(key) {
        None => "none".to_owned(),
        Some(origin) => format!("{origin:?}"),
    });
    Err(judge.refuses(ORIGIN, format_args!("{place}, {key}"), ours, theirs))
}
