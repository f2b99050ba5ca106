//! MuSig2 rounds carried by a PSBT (BIP-373, over BIP-174 and BIP-371).
//!
//! One file passes between the signers, and each adds what is his:
//!
//! | field | key data | value | written by |
//! |---|---|---|---|
//! | 0x1a participants | plain aggregate before derivation (33) | the sorted participants (33 each) | [`announce`] |
//! | 0x1b public nonce | participant (33), output key with its real parity (33) | nonce (66) | [`add_nonce`] |
//! | 0x1c partial signature | as for the nonce | part (32) | [`add_part`] |
//!
//! `announce` also sets the internal key, its origin and the merkle root, so that other software
//! (Bitcoin Core's `finalizepsbt`) can join the parts. The `bitcoin` crate does not know these
//! fields and keeps them among the unknown ones.
//!
//! Nothing here is authority. The [`KeyContext`] is rebuilt from the terms, and what the PSBT says
//! is compared with it: a field that is malformed, for another key or of a stranger refuses the
//! whole input, because nobody honest wrote it.

use bitcoin::psbt::Input;
use bitcoin::psbt::raw::Key;
use bitcoin::secp256k1::{PublicKey, schnorr};
use bitcoin::{ScriptBuf, TapSighashType, key::TweakedPublicKey, taproot};

use super::{KeyContext, PartialSignature, PublicNonce, hex};
use crate::error::{Culprit, Result, Rule};

/// A field that is not what BIP-373 says.
pub const FIELD: Rule = Rule::new(
    "musig-psbt-field",
    "MuSig2 fields of a PSBT have the shape of BIP-373",
    "ask the sender to write the PSBT anew",
);
/// The participants in the PSBT are those of the contract.
pub const LISTED: Rule = Rule::new(
    "musig-psbt-participants",
    "an input lists the sorted participants of its aggregate key, and those of no other",
    "build the PSBT from the contract's records",
);
/// The PSBT spends the output that the contract implies.
pub const SPENDS: Rule = Rule::new(
    "musig-psbt-input",
    "an input carries the contract's internal key, merkle root and script",
    "build the PSBT from the contract's terms",
);
/// Nonces and parts are for this output, by its participants.
pub const FOREIGN: Rule = Rule::new(
    "musig-psbt-foreign",
    "nonces and partial signatures are those of this output's participants, for its key",
    "drop the round's fields and begin a fresh round",
);
/// A second nonce or part in one name: one of the two is not his, or of another round.
pub const CONFLICT: Rule = Rule::new(
    "musig-psbt-conflict",
    "a participant shows one nonce and one partial signature in a round",
    "drop the round's fields and begin a fresh round",
);

const PARTICIPANTS: u8 = 0x1a;
const NONCE: u8 = 0x1b;
const PART: u8 = 0x1c;

/// Writes who signs, and for which key.
pub fn announce(input: &mut Input, context: &KeyContext) {
    let aggregate = context.plain_aggregate();
    let key = Key { type_value: PARTICIPANTS, key: aggregate.serialize().to_vec() };
    input.unknown.insert(key, listed(context));
    input.tap_internal_key = Some(context.internal_key());
    input.tap_merkle_root = context.merkle_root();
    // BIP-328: the origin of a derived aggregate is the synthetic xpub, named by its fingerprint.
    let fingerprint = super::synthetic_xpub_of(aggregate, bitcoin::NetworkKind::Main).fingerprint();
    input
        .tap_key_origins
        .insert(context.internal_key(), (Vec::new(), (fingerprint, context.path())));
}

/// Compares what the input says about its key with the contract.
pub fn check(input: &Input, context: &KeyContext) -> Result<()> {
    let aggregate = context.plain_aggregate().serialize();
    let mut found = None;
    for (key, value) in fields(input, PARTICIPANTS) {
        points(key, 1, "key of the participants' field")?;
        points(value, value.len().div_euclid(33), "participants")?;
        if key != aggregate {
            return Err(LISTED.refuses(
                Culprit::Sender,
                "aggregate key",
                hex(&aggregate),
                hex(key),
            ));
        }
        found = Some(value);
    }
    let expected = listed(context);
    if found != Some(expected.as_slice()) {
        return Err(LISTED.refuses(
            Culprit::Sender,
            "participants",
            hex(&expected),
            found.map_or_else(|| "none".to_owned(), hex),
        ));
    }
    let text = |part: Option<&dyn core::fmt::Display>| {
        part.map_or_else(|| "none".to_owned(), ToString::to_string)
    };
    let internal = input.tap_internal_key;
    if internal != Some(context.internal_key()) {
        let found = text(internal.as_ref().map(|k| k as _));
        return Err(SPENDS.refuses(Culprit::Sender, "internal key", context.internal_key(), found));
    }
    let root = input.tap_merkle_root;
    if root != context.merkle_root() {
        let expected = context.merkle_root();
        let expected = text(expected.as_ref().map(|k| k as _));
        let found = text(root.as_ref().map(|k| k as _));
        return Err(SPENDS.refuses(Culprit::Sender, "merkle root", expected, found));
    }
    let output = TweakedPublicKey::dangerous_assume_tweaked(context.output_key().0);
    let expected = ScriptBuf::new_p2tr_tweaked(output);
    match &input.witness_utxo {
        Some(spent) if spent.script_pubkey == expected => Ok(()),
        other => Err(SPENDS.refuses(
            Culprit::Sender,
            "script of the output that is spent",
            expected.to_hex_string(),
            other.as_ref().map_or_else(|| "none".to_owned(), |o| o.script_pubkey.to_hex_string()),
        )),
    }
}

/// Adds a participant's nonce; the same one again changes nothing.
pub fn add_nonce(
    input: &mut Input,
    context: &KeyContext,
    participant: &PublicKey,
    nonce: &PublicNonce,
) -> Result<()> {
    add(input, context, NONCE, participant, &nonce.serialize())
}

/// Adds a participant's partial signature; the same one again changes nothing.
pub fn add_part(
    input: &mut Input,
    context: &KeyContext,
    participant: &PublicKey,
    part: &PartialSignature,
) -> Result<()> {
    add(input, context, PART, participant, &part.serialize())
}

/// The nonces shown so far, by participant.
pub fn nonces(input: &Input, context: &KeyContext) -> Result<Vec<(PublicKey, PublicNonce)>> {
    check(input, context)?;
    round(input, context, NONCE, "a public nonce", PublicNonce::parse)
}

/// The partial signatures shown so far, by participant.
pub fn parts(input: &Input, context: &KeyContext) -> Result<Vec<(PublicKey, PartialSignature)>> {
    check(input, context)?;
    round(input, context, PART, "a partial signature", PartialSignature::parse)
}

/// Drops all nonces and parts, so that a fresh round can begin.
pub fn clear_round(input: &mut Input) {
    input.unknown.retain(|key, _| key.type_value != NONCE && key.type_value != PART);
}

/// Sets the joined signature (SIGHASH_DEFAULT) and drops the round that made it.
pub fn finish(input: &mut Input, signature: schnorr::Signature) {
    clear_round(input);
    input.tap_key_sig =
        Some(taproot::Signature { signature, sighash_type: TapSighashType::Default });
}

fn listed(context: &KeyContext) -> Vec<u8> {
    context.participants().iter().flat_map(|key| key.serialize()).collect()
}

/// The output key as BIP-373 names it: 33 bytes with its real parity.
fn output(context: &KeyContext) -> [u8; 33] {
    let (key, parity) = context.output_key();
    PublicKey::from_x_only_public_key(key, parity).serialize()
}

fn fields(input: &Input, kind: u8) -> impl Iterator<Item = (&[u8], &[u8])> {
    input
        .unknown
        .iter()
        .filter(move |(key, _)| key.type_value == kind)
        .map(|(key, value)| (key.key.as_slice(), value.as_slice()))
}

fn add(
    input: &mut Input,
    context: &KeyContext,
    kind: u8,
    participant: &PublicKey,
    value: &[u8],
) -> Result<()> {
    member(context, participant)?;
    let key = [participant.serialize(), output(context)].concat();
    let known = input.unknown.entry(Key { type_value: kind, key }).or_insert(value.to_vec());
    if known == value {
        return Ok(());
    }
    Err(CONFLICT.refuses(
        Culprit::Sender,
        format_args!("field {kind:#04x} of {participant}"),
        hex(known),
        hex(value),
    ))
}

fn round<T>(
    input: &Input,
    context: &KeyContext,
    kind: u8,
    what: &str,
    parse: impl Fn(&[u8]) -> Result<T>,
) -> Result<Vec<(PublicKey, T)>> {
    fields(input, kind)
        .map(|(key, value)| {
            let keys = points(key, 2, what)?;
            let [participant, signed] = keys.as_slice() else {
                return Err(FIELD.refuses(Culprit::Sender, what, "two keys", keys.len()));
            };
            if signed.serialize() != output(context) {
                return Err(FOREIGN.refuses(
                    Culprit::Sender,
                    format_args!("{what} of {participant}"),
                    hex(&output(context)),
                    signed,
                ));
            }
            member(context, participant)?;
            let parsed = parse(value).map_err(|e| e.within(format_args!("of {participant}")))?;
            Ok((*participant, parsed))
        })
        .collect()
}

fn member(context: &KeyContext, participant: &PublicKey) -> Result<()> {
    if context.participants().contains(participant) {
        return Ok(());
    }
    Err(FOREIGN.refuses(
        Culprit::Sender,
        format_args!("a round under {}", context.output_key().0),
        "a participant",
        participant,
    ))
}

/// Reads exactly `count` compressed points.
fn points(bytes: &[u8], count: usize, what: &str) -> Result<Vec<PublicKey>> {
    let expected = count.saturating_mul(33);
    let wrong = |found: &dyn core::fmt::Display| {
        FIELD.refuses(
            Culprit::Sender,
            what,
            format_args!("{expected} bytes, compressed keys of 33"),
            found,
        )
    };
    if bytes.len() != expected || count == 0 {
        return Err(wrong(&format_args!("{} bytes", bytes.len())));
    }
    bytes.chunks(33).map(|key| PublicKey::from_slice(key).map_err(|e| wrong(&e))).collect()
}
