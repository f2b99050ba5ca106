//! Enrolment: a miner proves that the address in his record is his own.
//!
//! The record's signature is by its communication key; this one is by the address where the miner is
//! paid, so that it is the address that is bound to the record, and with it to all that he promises.
//! BIP 322 serves every kind of address:
//!
//! | begins with | form |
//! |---|---|
//! | `smp`, or nothing | simple: the witness of segwit addresses |
//! | `ful` | full: the transaction, without a time lock |
//! | nothing, 65 bytes | the older form of addresses that begin with 1 (BIP 137) |

use bitcoin::absolute::LockTime;
use bitcoin::base64::Engine;
use bitcoin::base64::prelude::BASE64_STANDARD;
use bitcoin::secp256k1::schnorr;
use bitcoin::sign_message::MessageSignature;
use bitcoin::{Address, Transaction, Witness, consensus};

use crate::error::{Culprit, Result, Rule};
use crate::flow::position::terms::PositionTerms;
use crate::id::tagged_hash;
use crate::message::{self, PREFIX};
use crate::party::Record;

/// The address is the miner's own.
pub const PROOF: Rule = Rule::new(
    "position-proof",
    "a miner enrols with a BIP-322 signature of his record's statement by the address where he is paid",
    "let the wallet that owns the address sign the text `hashmix record ID`",
);
/// Registering is for one record and one address.
pub const REGISTERED: Rule = Rule::new(
    "position-registered",
    "a validator registers the miner's record and address as the terms have them, by the key of his standing record",
    "compare the terms with his",
);

/// What a full signature begins with (BIP 322).
const FULL: &str = bip322::FULL_SIGNATURE_PREFIX;
/// Longest signature that is read, in characters.
const LONGEST: usize = 16_384;

/// Verifies the proof of a miner's address over his record's statement.
pub fn check_proof(record: &Record, proof: &str) -> Result<()> {
    let address = record.record.payout.assume_checked_ref();
    let wrong = |found: &dyn core::fmt::Display| {
        PROOF.refuses(Culprit::Miner, "enrolment", format_args!("a proof by {address}"), found)
    };
    if proof.len() > LONGEST {
        return Err(wrong(&format_args!("{} characters", proof.len())));
    }
    let text = record.record.statement()?;
    let (full, encoded) = match proof.strip_prefix(FULL) {
        Some(rest) => (true, rest),
        None => (false, proof.strip_prefix(PREFIX).unwrap_or(proof)),
    };
    let bytes = BASE64_STANDARD.decode(encoded).map_err(|error| wrong(&error))?;
    let verified = if full {
        let tx: Transaction = consensus::deserialize(&bytes).map_err(|error| wrong(&error))?;
        bip322::verify_full(address, &text, tx)
    } else if address.script_pubkey().is_p2pkh() {
        return legacy(address, &text, &bytes).map_err(|error| wrong(&error));
    } else {
        let witness: Witness = consensus::deserialize(&bytes).map_err(|error| wrong(&error))?;
        bip322::verify_simple(address, &text, witness)
    };
    match verified {
        Ok(bip322::Verification::Valid { time: LockTime::ZERO, .. }) => Ok(()),
        Ok(bip322::Verification::Valid { time, .. }) => Err(wrong(&format_args!("one from {time} on"))),
        Ok(_) => Err(wrong(&"one of a kind that nobody here can judge")),
        Err(error) => Err(wrong(&error)),
    }
}

fn legacy(address: &Address, text: &str, bytes: &[u8]) -> Result<(), String> {
    let signature = MessageSignature::from_slice(bytes).map_err(|error| error.to_string())?;
    bip322::verify_legacy(address, text, signature).map_err(|error| error.to_string())
}

/// What a validator's standing key signs when he registers a miner: the terms, the miner's record and
/// script, and the validator's own fresh record. So it also says that both records are his.
pub fn registration(terms: &PositionTerms, place: u8) -> Result<[u8; 32]> {
    let validators = &terms.reward.federation.validators;
    let fresh = validators.get(usize::from(place)).ok_or_else(|| nobody(place))?;
    let (miner, script) = (&terms.reward.miner, terms.reward.miner.payout_script());
    let (terms, miner, fresh) = (terms.id()?, miner.id()?, fresh.id()?);
    let parts = [terms.as_bytes(), miner.as_bytes(), fresh.as_bytes()];
    let [terms, miner, fresh] = parts.map(<[u8; 32]>::as_slice);
    Ok(tagged_hash("hashmix/registration/1", &[terms, miner, fresh, script.as_bytes()]))
}

/// Verifies the signature of a registration by the validator's standing record.
pub fn check_registration(
    terms: &PositionTerms,
    place: u8,
    signature: &schnorr::Signature,
) -> Result<()> {
    let standing = terms.issuer.validators.get(usize::from(place)).ok_or_else(|| nobody(place))?;
    let by = Culprit::Validator(place);
    message::verify_digest(by, standing.record.communication, registration(terms, place)?, signature)
}

fn nobody(place: u8) -> crate::error::Error {
    REGISTERED.refuses(Culprit::Validator(place), "registration", "a validator of the terms", place)
}
