//! `hashmix psbt check`: what a PSBT does, seen from a contract, before anybody signs.
//!
//! Everything is read from the transaction and the terms. What the PSBT itself says of keys and
//! scripts is a hint: it is compared with the contract's locks and refused where it differs.

use std::path::Path;

use bitcoin::base64::Engine;
use bitcoin::base64::prelude::BASE64_STANDARD;
use bitcoin::hashes::Hash;
use bitcoin::hex::DisplayHex;
use bitcoin::psbt::{Input, Psbt};
use bitcoin::secp256k1::{Message, Secp256k1};
use bitcoin::sighash::{Prevouts, SighashCache};
use bitcoin::taproot::LeafVersion;
use bitcoin::{Amount, Script, ScriptBuf, TapSighashType, TxOut, taproot};

use crate::amount;
use crate::cli::arguments::SealsArguments;
use crate::cli::{file, sale, terms};
use crate::error::{Culprit, Error, Result, Rule};
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::{escrow, reward};
use crate::script::lock::Lock;

/// A PSBT can be read.
pub const FORM: Rule = Rule::new(
    "psbt-form",
    "a PSBT is Base64 or binary (BIP 174) and at most 4 MB long",
    "export it again",
);
/// Each input says what it spends.
pub const PREVOUT: Rule = Rule::new(
    "psbt-prevout",
    "each input carries the one output that it spends",
    "ask for a PSBT with witness UTXOs",
);
/// Amounts add up.
pub const AMOUNTS: Rule =
    Rule::new("psbt-amounts", "outputs are no more than inputs", "ask for another transaction");
/// The transaction is about the contract.
pub const OURS: Rule = Rule::new(
    "psbt-ours",
    "at least one input spends a lock of the contract",
    "give the terms of the contract that it is about",
);
/// Hints agree with the lock.
pub const HINTS: Rule = Rule::new(
    "psbt-hints",
    "what a PSBT says of a lock's keys, leaves and signature type is what the terms say",
    "do not sign it; ask its sender where it comes from",
);
/// Signatures in it are good.
pub const SIGNATURE: Rule = Rule::new(
    "psbt-signature",
    "a signature in a PSBT is of this very transaction, by a key of the lock, for all of it",
    "ask the signer to sign again",
);

/// What moves a seal is known as a whole.
pub const SEAL: Rule = Rule::new(
    "psbt-seal",
    "a PSBT that is checked with an offer and its acceptance is their transaction, and one that moves a seal without them spends no lock of the contract",
    "do not sign it; a sale is what `hashmix sale sign` rebuilds, and who withdraws or retires pays the fee with coins of his own",
);

/// Longest PSBT that is read, in bytes.
const LONGEST: usize = 4_000_000;
/// Key types of MuSig2 nonces and partial signatures (BIP 373).
const MUSIG_FIELDS: [(u8, &str); 2] = [(0x1b, "nonce"), (0x1c, "partial signature")];

/// Reads a PSBT and says what it spends and pays.
pub fn check(path: &Path, terms_path: &Path, seals: &SealsArguments) -> Result<Vec<String>> {
    let terms = terms::read(terms_path)?;
    let bytes = file::bytes(path, LONGEST)?;
    parse(&bytes)
        .and_then(|psbt| describe(&psbt, &terms, seals))
        .map_err(|error| error.within(path.display()))
}

/// Reads a PSBT's file, as bytes or in Base64.
pub fn read(path: &Path) -> Result<Psbt> {
    parse(&file::bytes(path, LONGEST)?).map_err(|error| error.within(path.display()))
}

fn parse(bytes: &[u8]) -> Result<Psbt> {
    let refuse = |found: &dyn core::fmt::Display| {
        FORM.refuses(Culprit::Sender, "PSBT", "a whole PSBT", found)
    };
    let binary = match bytes.starts_with(b"psbt\xff") {
        true => bytes.to_vec(),
        false => {
            let text: Vec<u8> =
                bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
            BASE64_STANDARD.decode(text).map_err(|error| refuse(&error))?
        }
    };
    Psbt::deserialize(&binary).map_err(|error| refuse(&error))
}

/// One lock of the contract.
enum Ours {
    Reward(Lock),
    Escrow(u32, Lock),
}

impl Ours {
    fn lock(&self) -> &Lock {
        match self {
            Self::Reward(lock) | Self::Escrow(_, lock) => lock,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Reward(_) => "the reward lock".to_owned(),
            Self::Escrow(index, _) => format!("the escrow lock, index {index}"),
        }
    }
}

/// Every lock of the contract: rewards, and the escrow after each settlement there can be.
fn locks(terms: &EscrowTerms) -> Result<Vec<Ours>> {
    let mut locks = vec![Ours::Reward(reward::coins::lock(&terms.reward)?)];
    for index in 0..=terms.calendar().paid_periods() {
        locks.push(Ours::Escrow(index, escrow::coins::lock(terms, index)?));
    }
    Ok(locks)
}

fn find<'a>(locks: &'a [Ours], script: &Script) -> Option<&'a Ours> {
    locks.iter().find(|ours| *ours.lock().script_pubkey == *script)
}

fn describe(psbt: &Psbt, terms: &EscrowTerms, seals: &SealsArguments) -> Result<Vec<String>> {
    let tx = &psbt.unsigned_tx;
    let locks = locks(terms)?;
    let prevouts = prevouts(psbt)?;
    let taken = amount::sum(prevouts.iter().map(|out| out.value), "inputs")?;
    let paid = amount::sum(tx.output.iter().map(|out| out.value), "outputs")?;
    let fee = taken.checked_sub(paid).ok_or_else(|| {
        AMOUNTS.refuses(Culprit::Sender, "outputs", format_args!("at most {taken}"), paid)
    })?;
    let sealed = sale::seals::check(tx, &prevouts, terms, seals)?;
    if sealed.is_empty() && !prevouts.iter().any(|out| find(&locks, &out.script_pubkey).is_some()) {
        let expected = format!("a lock of {}", terms.id()?);
        return Err(OURS.refuses(Culprit::Sender, "inputs", expected, "none of them"));
    }

    let locked = prevouts.iter().position(|out| find(&locks, &out.script_pubkey).is_some());
    if let (Some(input), None, false) = (locked, &seals.acceptance, sealed.is_empty()) {
        let expected = "a withdrawal or a retirement, without a lock of the contract";
        return Err(SEAL.refuses(
            Culprit::Sender,
            "inputs",
            expected,
            format_args!("one at {input}"),
        ));
    }

    let mut lines = vec![
        format!("txid      {} (version {}, unsigned)", tx.compute_txid(), tx.version.0),
        format!("contract  \"{}\" on {}", terms.reward.contract, terms.reward.network),
    ];
    for (place, (input, out)) in psbt.inputs.iter().zip(&prevouts).enumerate() {
        let sat = out.value.to_sat();
        let Some(ours) = find(&locks, &out.script_pubkey) else {
            lines.push(format!("input {place}   not ours: {sat} sat of {:x}", out.script_pubkey));
            continue;
        };
        lines.push(format!("input {place}   spends {}: {sat} sat", ours.name()));
        let signed = signatures(psbt, place, input, ours.lock(), &prevouts)
            .map_err(|error| error.within(format_args!("input {place}")))?;
        lines.push(format!("          {signed}"));
    }
    for (place, out) in tx.output.iter().enumerate() {
        lines.push(format!(
            "output {place}  {} sat to {}",
            out.value.to_sat(),
            payee(terms, &locks, out)
        ));
    }
    lines.push(format!("fee       {} sat", fee.to_sat()));
    let exchanged = !sealed.is_empty();
    lines.extend(sealed);
    lines.push(format!("earliest  {}", earliest(psbt, terms)));
    lines.push(match exchanged {
        true => "meaning   a seal changes hands, withdraws or retires; `hashmix sale sign` rebuilds it before it signs".to_owned(),
        false => format!("meaning   {}", meaning(psbt, terms, &locks, &prevouts)),
    });
    lines.push(
        "open      whether the amounts are due needs certificates, receipts and the chain; nothing was signed"
            .to_owned(),
    );
    Ok(lines)
}

/// What each input spends, by the PSBT's word; a whole previous transaction is held to its txid.
fn prevouts(psbt: &Psbt) -> Result<Vec<TxOut>> {
    let mut prevouts = Vec::new();
    for (place, (spend, input)) in psbt.unsigned_tx.input.iter().zip(&psbt.inputs).enumerate() {
        let refuse = |found: &str| {
            PREVOUT.refuses(
                Culprit::Sender,
                format_args!("input {place}"),
                spend.previous_output,
                found,
            )
        };
        let whole = match &input.non_witness_utxo {
            None => None,
            Some(tx) if tx.compute_txid() != spend.previous_output.txid => {
                return Err(refuse("another transaction"));
            }
            Some(tx) => {
                let vout = usize::try_from(spend.previous_output.vout).unwrap_or(usize::MAX);
                Some(tx.output.get(vout).cloned().ok_or_else(|| refuse("too few outputs"))?)
            }
        };
        let out = match (whole, input.witness_utxo.clone()) {
            (Some(whole), Some(stated)) if whole != stated => {
                return Err(refuse("two outputs that differ"));
            }
            (whole, stated) => whole.or(stated).ok_or_else(|| refuse("none"))?,
        };
        prevouts.push(out);
    }
    Ok(prevouts)
}

/// Who has signed the input, after comparing every hint with the lock and verifying every
/// signature.
fn signatures(
    psbt: &Psbt,
    place: usize,
    input: &Input,
    lock: &Lock,
    prevouts: &[TxOut],
) -> Result<String> {
    let differs =
        |what: &str, expected: &dyn core::fmt::Display, found: &dyn core::fmt::Display| {
            Err(HINTS.refuses(Culprit::Sender, what, expected, found))
        };
    match input.tap_internal_key {
        Some(key) if key != lock.internal_key => {
            return differs("internal key", &lock.internal_key, &key);
        }
        _ => {}
    }
    match input.tap_merkle_root {
        Some(root) if root != lock.merkle_root => {
            return differs("root of the leaves", &lock.merkle_root, &root);
        }
        _ => {}
    }
    match input.sighash_type {
        Some(kind) if kind.to_u32() != 0 => {
            return differs("signature type", &"SIGHASH_DEFAULT", &format_args!("{kind}"));
        }
        _ => {}
    }
    for (control, (script, version)) in &input.tap_scripts {
        let Some(leaf) = lock.leaves.iter().find(|leaf| leaf.script == *script) else {
            return differs("leaf", &"a leaf of the lock", &format_args!("{script:x}"));
        };
        if *version != LeafVersion::TapScript {
            return differs("leaf version", &LeafVersion::TapScript, version);
        }
        if *control != leaf.control {
            let found = control.serialize().to_lower_hex_string();
            return differs(
                "control block",
                &leaf.control.serialize().to_lower_hex_string(),
                &found,
            );
        }
    }

    let mut signers: Vec<String> = Vec::new();
    for ((key, leaf_hash), signature) in &input.tap_script_sigs {
        let leaf = lock.leaves.iter().find(|leaf| leaf.hash() == *leaf_hash);
        let known = leaf.and_then(|leaf| {
            leaf.keys.iter().find(|known| known.key == *key).map(|known| (leaf, known.seat))
        });
        let Some((leaf, seat)) = known else {
            return Err(bad("signature", "a key of a leaf of the lock", key));
        };
        let sighash = SighashCache::new(&psbt.unsigned_tx)
            .taproot_script_spend_signature_hash(
                place,
                &Prevouts::All(prevouts),
                *leaf_hash,
                TapSighashType::Default,
            )
            .map_err(|error| bad("signature", "a sighash", error))?;
        verify(signature, *key, sighash.to_byte_array())?;
        signers.push(format!("{seat} ({})", leaf.path));
    }
    if let (Some(signature), Ok(output)) =
        (&input.tap_key_sig, lock.script_pubkey.as_bytes().get(2..).unwrap_or_default().try_into())
    {
        let output: [u8; 32] = output;
        let key = bitcoin::XOnlyPublicKey::from_slice(&output)
            .map_err(|error| bad("key path", "an output key", error))?;
        let sighash = SighashCache::new(&psbt.unsigned_tx)
            .taproot_key_spend_signature_hash(
                place,
                &Prevouts::All(prevouts),
                TapSighashType::Default,
            )
            .map_err(|error| bad("key path", "a sighash", error))?;
        verify(signature, key, sighash.to_byte_array())?;
        signers.push("miner and holder (key path)".to_owned());
    }
    for (kind, name) in MUSIG_FIELDS {
        let count = input.unknown.keys().filter(|key| key.type_value == kind).count();
        if count > 0 {
            signers.push(format!("MuSig2, {count} {name}{}", if count == 1 { "" } else { "s" }));
        }
    }
    if input.final_script_witness.is_some() {
        signers.push("a finished witness, not judged here".to_owned());
    }
    Ok(match signers.is_empty() {
        true => "signed by nobody yet".to_owned(),
        false => format!("signed by {}", signers.join(", ")),
    })
}

fn verify(
    signature: &taproot::Signature,
    key: bitcoin::XOnlyPublicKey,
    sighash: [u8; 32],
) -> Result<()> {
    if signature.sighash_type != TapSighashType::Default {
        return Err(bad("signature type", "SIGHASH_DEFAULT", signature.sighash_type));
    }
    Secp256k1::verification_only()
        .verify_schnorr(&signature.signature, &Message::from_digest(sighash), &key)
        .map_err(|error| bad("signature", format_args!("one by {key}"), error))
}

fn bad(place: &str, expected: impl core::fmt::Display, found: impl core::fmt::Display) -> Error {
    SIGNATURE.refuses(Culprit::Sender, place, expected, found)
}

fn payee(terms: &EscrowTerms, locks: &[Ours], out: &TxOut) -> String {
    let reward = &terms.reward;
    if let Some(ours) = find(locks, &out.script_pubkey) {
        return ours.name();
    }
    for (name, script) in [
        ("the miner's payout script", reward.miner.payout_script()),
        ("the holder's payout script", reward.holder.payout_script()),
        ("the federation's payout script", reward.federation.payout_script()),
    ] {
        if out.script_pubkey == script {
            return name.to_owned();
        }
    }
    format!("a script that is not in the terms: {:x}", out.script_pubkey)
}

fn earliest(psbt: &Psbt, terms: &EscrowTerms) -> String {
    let lock = psbt.unsigned_tx.lock_time;
    if !psbt.unsigned_tx.is_lock_time_enabled() {
        return "at once: no nLockTime".to_owned();
    }
    let bitcoin::absolute::LockTime::Blocks(height) = lock else {
        return format!("by time ({lock}), which no transaction of these terms has");
    };
    let height = height.to_consensus_u32();
    let ripe = (terms.first_period()..terms.delivery.periods)
        .find(|period| terms.ruling_height(*period).is_ok_and(|ripe| ripe == height));
    match ripe {
        _ if height == 0 => "at once: no nLockTime".to_owned(),
        Some(period) => format!(
            "in the block after height {height}, from which period {} may be ruled on",
            period.saturating_add(1)
        ),
        None if height == terms.holder_exit_height() => {
            format!("in the block after height {height}: T, the holder's exit")
        }
        None if height == terms.miner_exit_height() => {
            format!("in the block after height {height}: T + Y, the miner's exit")
        }
        None => format!("in the block after height {height}, which is no deadline of the terms"),
    }
}

/// What the shape of the transaction means for the contract.
fn meaning(psbt: &Psbt, terms: &EscrowTerms, locks: &[Ours], prevouts: &[TxOut]) -> String {
    let outputs = &psbt.unsigned_tx.output;
    let kinds: Vec<Option<&Ours>> =
        prevouts.iter().map(|out| find(locks, &out.script_pubkey)).collect();
    let strange = "no transaction of these terms has this shape; a confirmed spend of an escrow in \
                   any other shape ends the contract. Do not sign it";
    let reward = &terms.reward;
    let (miner, holder) = (reward.miner.payout_script(), reward.holder.payout_script());
    let federation = reward.federation.payout_script();
    match kinds.as_slice() {
        [Some(Ours::Escrow(index, _))] => {
            let value = prevouts.first().map_or(Amount::ZERO, |out| out.value);
            let next = locks.iter().find_map(|ours| match ours {
                Ours::Escrow(i, lock) if *i == index.saturating_add(1) => Some(lock),
                _ => None,
            });
            let tail_fits = |tail: &[TxOut]| match tail {
                [] => true,
                [fee] => fee.script_pubkey == federation && fee.value == terms.fees.ruling,
                _ => false,
            };
            match outputs.as_slice() {
                [first, relock, tail @ ..]
                    if next.is_some_and(|next| next.script_pubkey == relock.script_pubkey)
                        && first.script_pubkey == miner
                        && tail_fits(tail) =>
                {
                    let due = value.checked_sub(relock.value).unwrap_or(Amount::ZERO);
                    format!(
                        "a settlement: {} sat count as earned by the miner, {} sat stay locked",
                        due.to_sat(),
                        relock.value.to_sat()
                    )
                }
                all if !all.is_empty()
                    && all.iter().all(|out| {
                        [&miner, &holder, &federation].contains(&&out.script_pubkey)
                    }) =>
                {
                    let sum = |script: &ScriptBuf| -> u64 {
                        let of = all.iter().filter(|out| out.script_pubkey == *script);
                        of.fold(0, |sum, out| sum.saturating_add(out.value.to_sat()))
                    };
                    format!(
                        "an end: nothing stays locked; {} sat to the miner, {} sat to the holder",
                        sum(&miner),
                        sum(&holder)
                    )
                }
                _ => strange.to_owned(),
            }
        }
        rewards if rewards.iter().all(|kind| matches!(kind, Some(Ours::Reward(_)))) => {
            match outputs.as_slice() {
                [out] if out.script_pubkey == holder => {
                    format!("a sweep: {} rewards to the holder", rewards.len())
                }
                _ => "rewards that do not go to the holder alone: no sweep of these terms. Do not sign it"
                    .to_owned(),
            }
        }
        _ => strange.to_owned(),
    }
}
