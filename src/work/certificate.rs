//! A certificate: shares of one slice, named by a digest.
//!
//! The digest is a tagged hash over a canonical binary form, so it names the shares and not the
//! file that carries them:
//!
//! ```text
//! position (32) | slice (u32) | number of shares (u32) |
//!   each share: header (80) | length of coinbase (u32) | coinbase | levels (u32) | nodes (32 each)
//! ```
//!
//! Numbers are little-endian; shares stand in the order of their hashes as numbers, lowest first,
//! each once. One slice may have several certificates, which are united by hash when work is
//! credited: a certificate lost or left out takes away its own shares and nothing else.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Target};
use serde::{Deserialize, Serialize};

use crate::error::{Culprit, Error, Result, Rule};
use crate::headers::Headers;
use crate::id::{CertificateDigest, PositionId, tagged_hash};
use crate::work::agreement::WorkTerms;
use crate::work::hash::header_bytes;
use crate::work::share::{SLICE, Share, Weighed, weigh_all};

/// A certificate's file is one we can read.
pub const FORMAT: Rule = Rule::new(
    "work-certificate-format",
    "a certificate is a file in columns, or JSON of format \"hashmix certificate 1\", of at most 64 MiB",
    "export the certificate again",
);
/// Shares stand in order, each once.
pub const ORDER: Rule = Rule::new(
    "work-certificate-order",
    "a certificate lists its shares in the order of their hashes, lowest first",
    "sort the shares",
);
/// No share counts twice.
pub const TWICE: Rule = Rule::new(
    "work-share-twice",
    "no two shares have the same header hash",
    "list each share once",
);
/// A certificate is no longer than the terms foresee.
pub const COUNT: Rule = Rule::new(
    "work-certificate-count",
    "a certificate lists at most four times the expected shares",
    "split the shares into several certificates",
);
/// Certificates that are united are about the same slice of the same position.
pub const UNITE: Rule = Rule::new(
    "work-certificate-unite",
    "certificates that are united prove the same slice of the same position",
    "unite certificates of one slice only",
);

/// What a certificate's file says it is.
const FILE_FORMAT: &str = "hashmix certificate 1";
/// Longest file that is read, in bytes: 40,000 shares with coinbases of 250 bytes.
pub const LONGEST_FILE: usize = 64 << 20;
const TAG: &str = "hashmix/certificate/1";

/// Shares of one slice of one position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The position whose lock the shares paid.
    pub position: PositionId,
    /// The slice (0-based, counted from the contract's start) that the shares lie in.
    pub slice: u32,
    /// The shares, by hash as a number, lowest first.
    pub shares: Vec<Share>,
}

/// The file, field by field.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<S> {
    format: String,
    position: PositionId,
    slice: u32,
    shares: S,
}

impl Certificate {
    /// Puts shares in order. The same share given twice is listed once; two different shares with
    /// one header are refused, for at most one of them can be true.
    pub fn new(
        position: PositionId,
        slice: u32,
        shares: impl IntoIterator<Item = Share>,
    ) -> Result<Self> {
        let mut sorted: BTreeMap<Target, Share> = BTreeMap::new();
        for share in shares {
            match sorted.entry(number(share.hash())) {
                Entry::Vacant(place) => {
                    place.insert(share);
                }
                Entry::Occupied(known) if *known.get() == share => {}
                Entry::Occupied(_) => return Err(twice(share.hash())),
            }
        }
        Ok(Self { position, slice, shares: sorted.into_values().collect() })
    }

    /// All shares of several certificates of one slice, each once.
    pub fn unite(several: &[Self]) -> Result<Self> {
        let refuse = |expected: String, found: String| {
            Err(UNITE.refuses(Culprit::Sender, "certificates", expected, found))
        };
        let Some(first) = several.first() else {
            return refuse("at least one".into(), "none".into());
        };
        if let Some(other) =
            several.iter().find(|c| c.position != first.position || c.slice != first.slice)
        {
            return refuse(
                format!("slice {} of position {}", first.slice, first.position),
                format!("slice {} of position {}", other.slice, other.position),
            );
        }
        let shares = several.iter().flat_map(|c| c.shares.iter().cloned());
        Self::new(first.position, first.slice, shares)
    }

    /// The name of this very list of shares.
    pub fn digest(&self) -> CertificateDigest {
        let length = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
        let mut bytes = Vec::new();
        bytes.extend_from_slice(self.position.as_bytes());
        bytes.extend_from_slice(&self.slice.to_le_bytes());
        bytes.extend_from_slice(&length(self.shares.len()));
        for share in &self.shares {
            bytes.extend_from_slice(&header_bytes(&share.header));
            bytes.extend_from_slice(&length(share.coinbase.len()));
            bytes.extend_from_slice(&share.coinbase);
            bytes.extend_from_slice(&length(share.branch.len()));
            for node in &share.branch {
                bytes.extend_from_slice(node.as_byte_array());
            }
        }
        CertificateDigest(tagged_hash(TAG, &[&bytes]))
    }

    /// What can be checked without the chain: number, order, and that no share is listed twice.
    pub fn check_list(&self, terms: &WorkTerms) -> Result<()> {
        let slices = terms.calendar().paid_slices();
        if !slices.contains(&self.slice) {
            return Err(SLICE.refuses(
                Culprit::Miner,
                "certificate",
                format_args!("a slice from {} to below {}", slices.start, slices.end),
                self.slice,
            ));
        }
        let count = u64::try_from(self.shares.len()).unwrap_or(u64::MAX);
        if count > terms.most_shares() {
            return Err(COUNT.refuses(
                Culprit::Miner,
                "certificate",
                format_args!("at most {} shares", terms.most_shares()),
                count,
            ));
        }
        self.check_order()
    }

    /// Everything a validator checks before he gives a receipt: the list, and rules 1-5 for each
    /// share. One bad share refuses the whole certificate.
    pub fn check(&self, terms: &WorkTerms, headers: &Headers) -> Result<Vec<Weighed>> {
        self.check_list(terms)?;
        (0u32..)
            .zip(self.weigh(terms, headers))
            .map(|(place, weighed)| {
                weighed.map_err(|e| e.within(format_args!("share {place} of slice {}", self.slice)))
            })
            .collect()
    }

    /// Rules 1-5 for each share, and that it lies in the certificate's slice.
    pub fn weigh(&self, terms: &WorkTerms, headers: &Headers) -> Vec<Result<Weighed>> {
        let lies_here = |weighed: Weighed| {
            if weighed.slice == self.slice {
                return Ok(weighed);
            }
            Err(SLICE.refuses(
                Culprit::Miner,
                "header",
                format_args!("a height in slice {}", self.slice),
                format_args!("height {} in slice {}", weighed.height, weighed.slice),
            ))
        };
        weigh_all(&self.shares, terms, headers).into_iter().map(|w| w.and_then(lies_here)).collect()
    }

    /// The certificate as a JSON file.
    pub fn to_json(&self) -> String {
        let file = File {
            format: FILE_FORMAT.to_owned(),
            position: self.position,
            slice: self.slice,
            shares: &self.shares,
        };
        // Strings and numbers always have a JSON form.
        let mut text = serde_json::to_string_pretty(&file).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Reads a certificate's file. Only form and order are checked; see [`Certificate::check`].
    pub fn from_json(text: &str) -> Result<Self> {
        if text.len() > LONGEST_FILE {
            return Err(unread(format_args!("{} bytes", text.len())));
        }
        let file: File<Vec<Share>> = serde_json::from_str(text).map_err(unread)?;
        if file.format != FILE_FORMAT {
            return Err(unread(format_args!("format \"{}\"", file.format)));
        }
        let certificate = Self { position: file.position, slice: file.slice, shares: file.shares };
        certificate.check_order()?;
        Ok(certificate)
    }

    pub(super) fn check_order(&self) -> Result<()> {
        let hashes: Vec<BlockHash> = self.shares.iter().map(Share::hash).collect();
        for (first, second) in hashes.iter().zip(hashes.iter().skip(1)) {
            if first == second {
                return Err(twice(*first));
            }
            if number(*first) > number(*second) {
                return Err(ORDER.refuses(
                    Culprit::Sender,
                    "certificate",
                    format_args!("{second} before {first}"),
                    "the other way round",
                ));
            }
        }
        Ok(())
    }
}

/// A header's hash as the number that is compared with targets.
fn number(hash: BlockHash) -> Target {
    Target::from_le_bytes(hash.to_byte_array())
}

fn twice(hash: BlockHash) -> Error {
    TWICE.refuses(Culprit::Sender, "certificate", "each header once", hash)
}

fn unread(found: impl core::fmt::Display) -> Error {
    FORMAT.refuses(Culprit::Sender, "certificate", FILE_FORMAT, found)
}

#[cfg(test)]
mod tests;
