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
use bitcoin::{Address, Sequence, Transaction, Witness, consensus};

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
        // Whoever can sign later, or once a coin has aged, cannot sign now: the address is another's.
        Ok(bip322::Verification::Valid { time: LockTime::ZERO, age })
            if age == Sequence::ZERO || !age.is_relative_lock_time() =>
        {
            Ok(())
        }
        Ok(bip322::Verification::Valid { time, age }) => {
            Err(wrong(&format_args!("one from {time} on, at age {age}")))
        }
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
    Ok(tagged_hash("hashmix/enrolment/1", &[terms, miner, fresh, script.as_bytes()]))
}

/// Verifies the signature of a registration by the validator's standing record.
pub fn check_registration(
    terms: &PositionTerms,
    place: u8,
    signature: &schnorr::Signature,
) -> Result<()> {
    let standing = terms.issuer.validators.get(usize::from(place)).ok_or_else(|| nobody(place))?;
    let by = Culprit::Validator(place);
    message::verify_digest(
        by,
        standing.record.communication,
        registration(terms, place)?,
        signature,
    )
}

fn nobody(place: u8) -> crate::error::Error {
    REGISTERED.refuses(Culprit::Validator(place), "registration", "a validator of the terms", place)
}

#[cfg(test)]
mod tests {
    use bitcoin::base64::Engine;
    use bitcoin::base64::prelude::BASE64_STANDARD;
    use bitcoin::secp256k1::{Secp256k1, SecretKey};
    use bitcoin::{CompressedPublicKey, Network, NetworkKind, PrivateKey, Sequence};

    use super::*;
    use crate::party::Record;

    const POSITION: &str = include_str!("../../../fixtures/position/position.json");

    fn terms() -> PositionTerms {
        PositionTerms::from_json(POSITION).unwrap()
    }

    fn key(byte: u8) -> PrivateKey {
        PrivateKey::new(SecretKey::from_slice(&[byte; 32]).unwrap(), NetworkKind::Test)
    }

    /// Addresses of each kind that one key can own.
    fn addresses(key: &PrivateKey) -> [Address; 3] {
        let secp = Secp256k1::new();
        let public = CompressedPublicKey::from_private_key(&secp, key).unwrap();
        let inner = key.public_key(&secp).inner.x_only_public_key().0;
        [
            Address::p2wpkh(&public, Network::Regtest),
            Address::p2tr(&secp, inner, None, Network::Regtest),
            Address::p2shwpkh(&public, Network::Regtest),
        ]
    }

    fn paid_at(address: &Address) -> Record {
        let mut record = terms().reward.miner;
        record.record.payout = address.clone().into_unchecked();
        record
    }

    fn full(tx: &Transaction) -> String {
        format!("{FULL}{}", BASE64_STANDARD.encode(consensus::serialize(tx)))
    }

    fn rule(record: &Record, proof: &str) -> &'static str {
        check_proof(record, proof).unwrap_err().rule()
    }

    #[test]
    fn each_kind_of_address_proves_itself_and_nobody_elses_record() {
        for address in addresses(&key(1)) {
            let record = paid_at(&address);
            let text = record.record.statement().unwrap();
            let sign = |key: PrivateKey, text: &str| {
                let locks = bip322::LockParams::default();
                bip322::sign_full(&address, text, &[key], None, locks)
                    .map(|tx| full(&tx))
                    .map_err(|error| error.to_string())
            };
            let proof = sign(key(1), &text).unwrap();
            check_proof(&record, &proof).unwrap();
            assert_eq!(rule(&record, &sign(key(1), "hashmix record 0").unwrap()), "position-proof");
            let other = paid_at(&addresses(&key(2))[0]);
            assert_eq!(rule(&other, &proof), "position-proof");
        }
    }

    #[test]
    fn a_simple_signature_passes_with_its_prefix_and_without() {
        let address = &addresses(&key(1))[1];
        let record = paid_at(address);
        let text = record.record.statement().unwrap();
        let witness = bip322::sign_simple(address, &text, &[key(1)], None).unwrap();
        let encoded = BASE64_STANDARD.encode(consensus::serialize(&witness));
        check_proof(&record, &encoded).unwrap();
        check_proof(&record, &format!("{PREFIX}{encoded}")).unwrap();
        for bad in ["", "smp", "ful", "no base 64", &encoded[..encoded.len() - 4]] {
            assert_eq!(rule(&record, bad), "position-proof", "{bad}");
        }
        assert_eq!(rule(&record, &"A".repeat(LONGEST + 4)), "position-proof");
    }

    #[test]
    fn an_old_address_proves_itself_in_the_old_form() {
        let secp = Secp256k1::new();
        let address = Address::p2pkh(key(1).public_key(&secp), Network::Regtest);
        let record = paid_at(&address);
        let text = record.record.statement().unwrap();
        let encode = |key: &PrivateKey, text: &str| {
            let of = Address::p2pkh(key.public_key(&secp), Network::Regtest);
            let signature = bip322::sign_legacy(&of, text, key).unwrap();
            BASE64_STANDARD.encode(signature.serialize())
        };
        check_proof(&record, &encode(&key(1), &text)).unwrap();
        assert_eq!(rule(&record, &encode(&key(2), &text)), "position-proof");
        assert_eq!(rule(&record, &encode(&key(1), "another")), "position-proof");
    }

    #[test]
    fn a_proof_that_waits_for_a_time_or_an_age_is_none() {
        let address = &addresses(&key(1))[0];
        let record = paid_at(address);
        let text = record.record.statement().unwrap();
        let time = LockTime::from_height(900_000).unwrap();
        for (lock_time, sequence) in
            [(time, Sequence::ZERO), (LockTime::ZERO, Sequence::from_height(144))]
        {
            let locks = bip322::LockParams { lock_time, sequence };
            let tx = bip322::sign_full(address, &text, &[key(1)], None, locks).unwrap();
            assert_eq!(rule(&record, &full(&tx)), "position-proof");
        }
    }

    #[test]
    fn a_registration_is_by_a_validator_of_the_terms() {
        let terms = terms();
        assert_eq!(registration(&terms, 3).unwrap_err().rule(), "position-registered");
        let zeros = schnorr::Signature::from_slice(&[0; 64]).unwrap();
        assert_eq!(
            check_registration(&terms, 3, &zeros).unwrap_err().rule(),
            "position-registered"
        );
        assert_eq!(check_registration(&terms, 0, &zeros).unwrap_err().rule(), "message-digest");
        assert_ne!(registration(&terms, 0).unwrap(), registration(&terms, 1).unwrap());
    }
}
