//! A receipt: a validator's word that he had seen, and verified, something by the time the chain
//! had a certain tip.
//!
//! Time is told by the chain, not by clocks: the receipt names the hash of a tip, and its height is
//! that of the tip's last ancestor in the active chain. So nobody can date a receipt forward, and a
//! reorg dates it back a little for everybody alike. Dating backwards takes k dishonest validators.

use std::collections::BTreeMap;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::schnorr::Signature;
use bitcoin::secp256k1::{Message, Secp256k1, Verification, XOnlyPublicKey};
use serde::{Deserialize, Serialize};

use crate::error::{Culprit, Error, Result, Rule};
use crate::headers::Headers;
use crate::id::{CertificateDigest, PositionId, tagged_hash};

/// The signature is the validator's.
pub const SIGNATURE: Rule = Rule::new(
    "work-receipt-signature",
    "a receipt is signed with the ruling key of its validator",
    "ask the validator for his receipt again",
);
/// The validator is one of the federation.
pub const VALIDATOR: Rule = Rule::new(
    "work-receipt-validator",
    "a receipt is from a validator of the contract's federation",
    "show receipts of this federation",
);
/// A receipt's file is one we can read.
pub const FORMAT: Rule = Rule::new(
    "work-receipt-format",
    "a receipt is a JSON file of format \"hashmix receipt 1\", of at most 4 KiB",
    "export the receipt again",
);

const FILE_FORMAT: &str = "hashmix receipt 1";
const LONGEST_FILE: usize = 4 << 10;
const TAG: &str = "hashmix/receipt/1";

/// What a receipt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Subject {
    /// A whole certificate, verified.
    Certificate {
        /// The slice that it proves.
        slice: u32,
        /// Its digest.
        digest: CertificateDigest,
    },
    /// The opening of a dispute.
    Opening {
        /// The message's digest.
        #[serde(with = "digest_hex")]
        digest: [u8; 32],
    },
    /// The answer of the other side.
    Answer {
        /// The message's digest.
        #[serde(with = "digest_hex")]
        digest: [u8; 32],
    },
    /// A request, such as the miner's to close.
    Request {
        /// The message's digest.
        #[serde(with = "digest_hex")]
        digest: [u8; 32],
    },
    /// A holder's request for a resale without the miner.
    Resale {
        /// The request's digest.
        #[serde(with = "digest_hex")]
        digest: [u8; 32],
    },
    /// A record that somebody registered.
    Record {
        /// The record's digest.
        #[serde(with = "digest_hex")]
        digest: [u8; 32],
    },
}

impl Subject {
    /// Kind, slice (0 where there is none) and digest: 37 bytes, each kind with a number of its own.
    fn parts(&self) -> (u8, u32, &[u8; 32]) {
        match self {
            Self::Certificate { slice, digest } => (0, *slice, digest.as_bytes()),
            Self::Opening { digest } => (1, 0, digest),
            Self::Answer { digest } => (2, 0, digest),
            Self::Request { digest } => (3, 0, digest),
            Self::Record { digest } => (4, 0, digest),
            Self::Resale { digest } => (5, 0, digest),
        }
    }
}

/// A validator's signed word that he had verified the subject when the chain had this tip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The validator's place in the federation's record (0-based).
    pub validator: u8,
    /// The position that the subject concerns.
    pub position: PositionId,
    /// What was seen.
    pub subject: Subject,
    /// Hash of the tip that the validator's chain had.
    pub tip: BlockHash,
    /// BIP-340 signature with the validator's ruling key over [`message`].
    pub signature: Signature,
}

/// What a validator signs: a tagged hash of position, kind, slice, digest and tip.
pub fn message(position: PositionId, subject: &Subject, tip: BlockHash) -> Message {
    let (kind, slice, digest) = subject.parts();
    Message::from_digest(tagged_hash(
        TAG,
        &[position.as_bytes(), &[kind], &slice.to_le_bytes(), digest, tip.as_byte_array()],
    ))
}

/// The file, field by field.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    receipt: Receipt,
}

impl Receipt {
    /// What the validator signed.
    pub fn message(&self) -> Message {
        message(self.position, &self.subject, self.tip)
    }

    /// Whether it is this validator's for the subject, on a tip that is in the active chain. Whoever was
    /// away cannot place a receipt on a tip that left it: then the validator gives another.
    pub fn is_given(&self, validator: u8, subject: &Subject, headers: &Headers) -> bool {
        self.validator == validator
            && self.subject == *subject
            && headers.height_of(self.tip).is_some()
    }

    /// Checks the signature against the ruling keys, which stand in the order of the federation's
    /// record.
    pub fn check(&self, ruling_keys: &[XOnlyPublicKey]) -> Result<()> {
        self.signer(ruling_keys, &Secp256k1::verification_only()).map(|_| ())
    }

    /// The ruling key that signed, after checking that it did.
    pub(crate) fn signer<C: Verification>(
        &self,
        ruling_keys: &[XOnlyPublicKey],
        secp: &Secp256k1<C>,
    ) -> Result<XOnlyPublicKey> {
        let key = ruling_keys.get(usize::from(self.validator)).ok_or_else(|| {
            VALIDATOR.refuses(
                Culprit::Sender,
                "receipt",
                format_args!("a validator below {}", ruling_keys.len()),
                self.validator,
            )
        })?;
        secp.verify_schnorr(&self.signature, &self.message(), key).map_err(|e| {
            SIGNATURE.refuses(
                Culprit::Validator(self.validator),
                "receipt",
                format_args!("a signature of {key}"),
                e,
            )
        })?;
        Ok(*key)
    }

    /// The receipt as a JSON file.
    pub fn to_json(&self) -> String {
        let file = File { format: FILE_FORMAT.to_owned(), receipt: self.clone() };
        // Strings and numbers always have a JSON form.
        let mut text = serde_json::to_string_pretty(&file).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Reads a receipt's file; the signature is checked by [`Receipt::check`].
    pub fn from_json(text: &str) -> Result<Self> {
        if text.len() > LONGEST_FILE {
            return Err(unread(format_args!("{} bytes", text.len())));
        }
        let file: File = serde_json::from_str(text).map_err(unread)?;
        if file.format != FILE_FORMAT {
            return Err(unread(format_args!("format \"{}\"", file.format)));
        }
        Ok(file.receipt)
    }
}

/// The height at which k validators had seen a subject: the k-th lowest height among receipts for
/// exactly this position and subject, each validator counted once, at his lowest.
///
/// A receipt with a bad signature or a tip whose headers are not at hand counts for nothing. `None`
/// if fewer than k count, or k is 0.
pub fn sealed_height<'a>(
    position: PositionId,
    subject: &Subject,
    receipts: impl IntoIterator<Item = &'a Receipt>,
    ruling_keys: &[XOnlyPublicKey],
    k: usize,
    headers: &Headers,
) -> Option<u32> {
    let secp = Secp256k1::verification_only();
    let ours = receipts
        .into_iter()
        .filter(|receipt| receipt.position == position && receipt.subject == *subject)
        // The cheaper question first.
        .filter(|receipt| headers.active_ancestor(receipt.tip).is_some());
    let signed = ours.filter_map(|receipt| {
        receipt.signer(ruling_keys, &secp).ok().map(|key| (key, receipt.tip))
    });
    kth_height(signed, k, headers)
}

/// The k-th lowest height among tips that were signed, each signer counted once, at his lowest.
pub(crate) fn kth_height(
    signed: impl IntoIterator<Item = (XOnlyPublicKey, BlockHash)>,
    k: usize,
    headers: &Headers,
) -> Option<u32> {
    let mut lowest: BTreeMap<XOnlyPublicKey, u32> = BTreeMap::new();
    for (key, tip) in signed {
        let Some(height) = headers.active_ancestor(tip) else { continue };
        lowest.entry(key).and_modify(|known| *known = height.min(*known)).or_insert(height);
    }
    let mut heights: Vec<u32> = lowest.into_values().collect();
    heights.sort_unstable();
    heights.get(k.checked_sub(1)?).copied()
}

fn unread(found: impl core::fmt::Display) -> Error {
    FORMAT.refuses(Culprit::Sender, "receipt", FILE_FORMAT, found)
}

/// 32 bytes as hexadecimal text.
mod digest_hex {
    use bitcoin::hex::{DisplayHex, FromHex};
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&bytes.as_hex())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<[u8; 32], D::Error> {
        <[u8; 32]>::from_hex(&String::deserialize(d)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::samples::{POSITION, chain, mine, receipt, ruling_keys};

    const SUBJECT: Subject = Subject::Certificate { slice: 3, digest: CertificateDigest([9; 32]) };

    fn at(headers: &Headers, validator: u8, height: u32) -> Receipt {
        receipt(validator, SUBJECT, headers.hash(height).unwrap())
    }

    fn sealed(headers: &Headers, receipts: &[Receipt], k: usize) -> Option<u32> {
        sealed_height(POSITION, &SUBJECT, receipts, &ruling_keys(), k, headers)
    }

    #[test]
    fn a_receipt_of_its_validator_is_accepted_and_any_change_refused() {
        let headers = chain(30);
        let good = at(&headers, 1, 20);
        good.check(&ruling_keys()).unwrap();
        let refused = |change: &dyn Fn(&mut Receipt)| {
            let mut bad = good.clone();
            change(&mut bad);
            bad.check(&ruling_keys()).unwrap_err().rule()
        };
        assert_eq!(refused(&|r| r.validator = 0), "work-receipt-signature");
        assert_eq!(refused(&|r| r.position.0[0] ^= 1), "work-receipt-signature");
        assert_eq!(refused(&|r| r.tip = headers.hash(19).unwrap()), "work-receipt-signature");
        for subject in [
            Subject::Certificate { slice: 4, digest: CertificateDigest([9; 32]) },
            Subject::Certificate { slice: 3, digest: CertificateDigest([8; 32]) },
            Subject::Opening { digest: [9; 32] },
            Subject::Answer { digest: [9; 32] },
            Subject::Request { digest: [9; 32] },
            Subject::Record { digest: [9; 32] },
        ] {
            assert_eq!(refused(&|r| r.subject = subject), "work-receipt-signature");
        }
        assert_eq!(refused(&|r| r.validator = 3), "work-receipt-validator");
        assert_eq!(refused(&|r| r.validator = 255), "work-receipt-validator");
    }

    #[test]
    fn what_is_signed_differs_for_every_subject() {
        let tip = chain(1).hash(1).unwrap();
        let digest = [0; 32];
        let all = [
            Subject::Certificate { slice: 0, digest: CertificateDigest(digest) },
            Subject::Opening { digest },
            Subject::Answer { digest },
            Subject::Request { digest },
            Subject::Record { digest },
        ];
        let messages: std::collections::BTreeSet<_> =
            all.iter().map(|s| *message(POSITION, s, tip).as_ref()).collect();
        assert_eq!(messages.len(), all.len());
    }

    #[test]
    fn a_subject_is_sealed_at_the_height_of_the_kth_validator() {
        let headers = chain(30);
        let receipts = [at(&headers, 2, 25), at(&headers, 0, 18), at(&headers, 1, 21)];
        assert_eq!(sealed(&headers, &receipts, 1), Some(18));
        assert_eq!(sealed(&headers, &receipts, 2), Some(21));
        assert_eq!(sealed(&headers, &receipts, 3), Some(25));
        assert_eq!(sealed(&headers, &receipts, 4), None);
        assert_eq!(sealed(&headers, &receipts, 0), None);
        assert_eq!(sealed(&headers, &[], 1), None);
    }

    #[test]
    fn one_validator_counts_once_at_his_lowest() {
        let headers = chain(30);
        let receipts = [at(&headers, 0, 25), at(&headers, 0, 18), at(&headers, 0, 20)];
        assert_eq!(sealed(&headers, &receipts, 1), Some(18));
        assert_eq!(sealed(&headers, &receipts, 2), None);
    }

    #[test]
    fn receipts_that_prove_nothing_are_passed_over() {
        let headers = chain(30);
        let forged = Receipt { validator: 1, ..at(&headers, 0, 18) };
        let elsewhere =
            Receipt { subject: Subject::Opening { digest: [9; 32] }, ..at(&headers, 1, 18) };
        let unknown = receipt(1, SUBJECT, BlockHash::from_byte_array([1; 32]));
        let receipts = [at(&headers, 0, 20), forged, elsewhere, unknown];
        assert_eq!(sealed(&headers, &receipts, 1), Some(20));
        assert_eq!(sealed(&headers, &receipts, 2), None);
    }

    #[test]
    fn a_receipt_on_a_block_that_lost_a_reorg_has_the_height_of_the_fork() {
        let headers = chain(30);
        let first = mine(headers.hash(20).unwrap(), 1_700_000_000 + 21 * 600, 9);
        let second = mine(first.block_hash(), 1_700_000_000 + 22 * 600, 9);
        let receipts = [receipt(0, SUBJECT, second.block_hash())];
        assert_eq!(sealed(&headers, &receipts, 1), None);
        let headers = headers.with_stale(vec![second, first]).unwrap();
        assert_eq!(sealed(&headers, &receipts, 1), Some(20));
    }

    #[test]
    fn a_file_survives_being_written_and_read_and_a_bad_one_is_refused() {
        let headers = chain(30);
        for subject in [SUBJECT, Subject::Request { digest: [4; 32] }] {
            let receipt = receipt(2, subject, headers.hash(9).unwrap());
            let text = receipt.to_json();
            assert_eq!(Receipt::from_json(&text).unwrap(), receipt);
            for bad in [
                String::new(),
                text.replace("receipt 1", "receipt 2"),
                text.replace("\"validator\": 2", "\"validator\": 256"),
                text.replace("\"tip\"", "\"top\""),
                format!("{text}{}", " ".repeat(LONGEST_FILE)),
            ] {
                assert_eq!(Receipt::from_json(&bad).unwrap_err().rule(), "work-receipt-format");
            }
        }
    }
}
