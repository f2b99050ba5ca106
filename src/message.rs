//! What people say to each other, signed: whole texts as BIP-322, digests as BIP-340.
//!
//! Both are signed with the communication key of a record. A text (a record itself) is signed for
//! the key's Taproot address, so that any wallet that knows BIP-322 can check it; a digest (a
//! receipt, an id) with the bare key. The two cannot be mistaken for each other: the address tweaks
//! the key (BIP-86). The caller makes the digest a tagged hash ([`crate::id::tagged_hash`]), so
//! that one kind of message never passes for another.

use bitcoin::base64::Engine;
use bitcoin::base64::prelude::BASE64_STANDARD;
use bitcoin::secp256k1::{Message, Secp256k1, XOnlyPublicKey, schnorr};
use bitcoin::{Address, Network, Witness, consensus};

use crate::error::{Culprit, Result, Rule};

/// A text is signed by the key that it names.
pub const TEXT: Rule = Rule::new(
    "message-text",
    "a text carries the BIP-322 simple signature of its communication key's Taproot address",
    "ask for the text and its signature anew, both unchanged",
);
/// A digest is signed by the key that it names.
pub const DIGEST: Rule = Rule::new(
    "message-digest",
    "a message carries the BIP-340 signature of its communication key",
    "ask for the message and its signature anew, both unchanged",
);

/// What a simple signature begins with (BIP-322).
pub const PREFIX: &str = bip322::SIMPLE_SIGNATURE_PREFIX;

/// The Taproot address (BIP-86) in whose name a communication key signs texts.
pub fn address(key: XOnlyPublicKey, network: Network) -> Address {
    Address::p2tr(&Secp256k1::verification_only(), key, None, network)
}

/// Verifies the BIP-322 simple signature of `text` by `key`; `by` is who sent it.
///
/// The signature is Base64 of a witness with one element, with or without the prefix `smp`.
pub fn verify_text(by: Culprit, key: XOnlyPublicKey, text: &str, signature: &str) -> Result<()> {
    // The network is no part of what is signed.
    let address = address(key, Network::Bitcoin);
    let wrong = |found: &dyn core::fmt::Display| {
        TEXT.refuses(by, "signature of a text", format_args!("one of {address}"), found)
    };
    let encoded = signature.strip_prefix(PREFIX).unwrap_or(signature);
    let bytes = BASE64_STANDARD.decode(encoded).map_err(|e| wrong(&e))?;
    let witness: Witness = consensus::deserialize(&bytes).map_err(|e| wrong(&e))?;
    match bip322::verify_simple(&address, text, witness) {
        Ok(bip322::Verification::Valid { .. }) => Ok(()),
        Ok(_) => Err(wrong(&"a signature of unknown kind")),
        Err(e) => Err(wrong(&e)),
    }
}

/// Verifies the BIP-340 signature of `digest` by `key`; `by` is who sent it.
pub fn verify_digest(
    by: Culprit,
    key: XOnlyPublicKey,
    digest: [u8; 32],
    signature: &schnorr::Signature,
) -> Result<()> {
    Secp256k1::verification_only()
        .verify_schnorr(signature, &Message::from_digest(digest), &key)
        .map_err(|e| DIGEST.refuses(by, "signature of a message", format_args!("one of {key}"), e))
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::Keypair;

    use super::*;

    #[test]
    fn an_official_signature_of_a_taproot_address_verifies() {
        // BIP-322's generated vectors, simple, p2tr: the private key and signature given there.
        let secret: bitcoin::PrivateKey =
            "L5XqN6ckPPsDiTbRxcsthwiWpDBfWLo4uquUEydsPt8rSMoTpqpc".parse().unwrap();
        let key = Keypair::from_secret_key(&Secp256k1::new(), &secret.inner).x_only_public_key().0;
        assert_eq!(
            address(key, Network::Bitcoin).to_string(),
            "bc1pcquvhrqv0q68t4m0hfq6tpn006qrskyc7yrqnp2uyrf2emg3wynsdjyk38"
        );
        let text = "PURVOQ544B6HUATVBJZN5EZJUU";
        let signature = "smpAUB6B2Rbupzua8LTQIF06516wzl+cwKy1be8RgoiW0riyXdKwe6GTz/5Hnb37m67pJwIKCh\
                         +D5jDueG6KpvYpmu8";
        let verify =
            |text: &str, signature: &str| verify_text(Culprit::Miner, key, text, signature);
        assert_eq!(verify(text, signature), Ok(()));
        assert_eq!(verify(text, &signature[3..]), Ok(()), "without its prefix");
        for (text, signature) in [
            ("PURVOQ544B6HUATVBJZN5EZJUV", signature.to_owned()),
            (text, signature.replace("smp", "ful")),
            (text, signature.replace("RbupzU", "RbupzV").replace("wzl", "wzm")),
            (text, format!("{signature}AAAA")),
            (text, "smp".into()),
            (text, "smpAA==".into()),
            (text, "smp///////////////////////wAAAA==".into()),
            (text, "not base 64".into()),
            (text, String::new()),
        ] {
            let refused = verify(text, &signature).unwrap_err();
            assert_eq!(refused.rule(), "message-text", "{signature}");
        }
    }

    #[test]
    fn a_digest_verifies_under_its_own_key_only() {
        let secp = Secp256k1::new();
        let [mine, other] = [1, 2].map(|i| Keypair::from_seckey_slice(&secp, &[i; 32]).unwrap());
        let signature = secp.sign_schnorr_no_aux_rand(&Message::from_digest([7; 32]), &mine);
        let verify = |key: &Keypair, digest, signature| {
            verify_digest(Culprit::Holder, key.x_only_public_key().0, digest, signature)
                .map_err(|e| e.rule())
        };
        assert_eq!(verify(&mine, [7; 32], &signature), Ok(()));
        assert_eq!(verify(&mine, [8; 32], &signature), Err("message-digest"));
        assert_eq!(verify(&other, [7; 32], &signature), Err("message-digest"));
        let zeros = schnorr::Signature::from_slice(&[0; 64]).unwrap();
        assert_eq!(verify(&mine, [7; 32], &zeros), Err("message-digest"));
    }
}
