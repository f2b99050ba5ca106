//! Evidence: everything that was proven for a position, and what of it need not be verified twice.
//!
//! | what | depends on the chain? | asked |
//! |---|---|---|
//! | a certificate's digest and list | no | once, when it comes |
//! | rules 2-5 of a share ([`Standing`]) | no | once, when it comes |
//! | the signature of a receipt | no | once, when it comes |
//! | rule 1 of a share, lock times in seconds | yes | in each verdict |
//! | the height of a receipt's tip | yes | in each verdict |
//!
//! What is remembered is a function of the words and of the [`Yardstick`], never of the order in which
//! they came or of what the chain said meanwhile; so nobody can be led to another verdict by what he
//! saw before. Evidence without a yardstick remembers nothing, and a verdict by another yardstick
//! verifies everything anew: the satoshis are the same.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bitcoin::BlockHash;
use bitcoin::secp256k1::{Secp256k1, XOnlyPublicKey};

use crate::id::{CertificateDigest, PositionId};
use crate::work::agreement::WorkTerms;
use crate::work::certificate::Certificate;
use crate::work::receipt::{Receipt, Subject};
use crate::work::share::{Standing, stand_all};

/// What evidence is verified against, as far as the chain has no say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Yardstick {
    /// Rules 2-5 of shares.
    pub terms: WorkTerms,
    /// Who gives receipts, in the order of the federation's record.
    pub ruling_keys: Vec<XOnlyPublicKey>,
}

/// A certificate and the receipts that seal it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedCertificate {
    /// The shares.
    pub certificate: Certificate,
    /// Receipts of validators for this certificate.
    pub receipts: Vec<Receipt>,
}

/// Everything that was proven for a position, in any order.
///
/// Nothing in it can be changed, only added to, so that what is remembered stays true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    position: PositionId,
    yardstick: Option<Yardstick>,
    certificates: Vec<SealedCertificate>,
    /// What is remembered of each certificate, in the same order.
    memory: Vec<Memory>,
    /// Where a certificate stands, by its digest.
    places: BTreeMap<CertificateDigest, usize>,
    /// Receipts by what they are for, also those that came before their certificate.
    receipts: BTreeMap<Subject, Vec<Receipt>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Memory {
    digest: CertificateDigest,
    /// `None` without a yardstick.
    verified: Option<Verified>,
}

/// What of a certificate and its receipts holds on every chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    /// Whether it is this position's, its slice is one of the term, and its list is well formed.
    pub(crate) listed: bool,
    /// Blocks that its shares build on, each once, with the height that a coinbase gives them.
    pub(crate) parents: Vec<(BlockHash, Option<u32>)>,
    /// For each share the place of its parent, and how it stands, if it does.
    pub(crate) shares: Vec<(usize, Option<Standing>)>,
    /// Who signed which tip, of receipts whose signature is good.
    pub(crate) seals: Vec<(XOnlyPublicKey, BlockHash)>,
}

/// A certificate as a verdict needs it.
pub(crate) struct Exhibit<'a> {
    pub(crate) digest: CertificateDigest,
    pub(crate) certificate: &'a Certificate,
    pub(crate) verified: Cow<'a, Verified>,
}

impl Evidence {
    /// Nothing was proven yet for `position`, and nothing will be remembered: for a single verdict.
    pub fn new(position: PositionId) -> Self {
        Self {
            position,
            yardstick: None,
            certificates: Vec::new(),
            memory: Vec::new(),
            places: BTreeMap::new(),
            receipts: BTreeMap::new(),
        }
    }

    /// Nothing was proven yet; what comes is verified against `yardstick`, once.
    pub fn remembering(position: PositionId, yardstick: Yardstick) -> Self {
        Self { yardstick: Some(yardstick), ..Self::new(position) }
    }

    /// The same evidence and these certificates with these receipts.
    pub fn with(mut self, certificates: Vec<SealedCertificate>) -> Self {
        for SealedCertificate { certificate, receipts } in certificates {
            self.add(certificate);
            receipts.into_iter().for_each(|receipt| self.add_receipt(receipt));
        }
        self
    }

    /// The position; certificates and receipts of others count for nothing.
    pub fn position(&self) -> PositionId {
        self.position
    }

    /// What it is verified against, if anything is remembered.
    pub fn yardstick(&self) -> Option<&Yardstick> {
        self.yardstick.as_ref()
    }

    /// Certificates with their receipts, in the order in which they came.
    pub fn certificates(&self) -> &[SealedCertificate] {
        &self.certificates
    }

    /// The certificates with their digests.
    pub fn digests(
        &self,
    ) -> impl DoubleEndedIterator<Item = (CertificateDigest, &SealedCertificate)> {
        self.memory.iter().map(|memory| memory.digest).zip(&self.certificates)
    }

    /// Receipts for a subject, of any position, whether what they are for has come or not.
    pub fn receipts(&self, subject: &Subject) -> &[Receipt] {
        self.receipts.get(subject).map_or(&[], Vec::as_slice)
    }

    /// Takes a certificate; one that is known already changes nothing.
    pub fn add(&mut self, certificate: Certificate) {
        let digest = certificate.digest();
        if self.places.contains_key(&digest) {
            return;
        }
        let subject = Subject::Certificate { slice: certificate.slice, digest };
        let receipts = self.receipts(&subject).to_vec();
        let sealed = SealedCertificate { certificate, receipts };
        let verified = self.yardstick.as_ref().map(|by| verify(self.position, &sealed, by));
        self.places.insert(digest, self.certificates.len());
        self.certificates.push(sealed);
        self.memory.push(Memory { digest, verified });
    }

    /// Takes a receipt; one that is known already changes nothing.
    pub fn add_receipt(&mut self, receipt: Receipt) {
        let known = self.receipts.entry(receipt.subject).or_default();
        if known.contains(&receipt) {
            return;
        }
        known.push(receipt.clone());
        let Subject::Certificate { slice, digest } = receipt.subject else { return };
        let Some(place) = self.places.get(&digest) else { return };
        let (Some(sealed), Some(memory)) =
            (self.certificates.get_mut(*place), self.memory.get_mut(*place))
        else {
            return;
        };
        if sealed.certificate.slice != slice {
            return;
        }
        if let (Some(verified), Some(by)) = (&mut memory.verified, &self.yardstick) {
            verified.seals.extend(seal(self.position, &receipt, by));
        }
        sealed.receipts.push(receipt);
    }

    /// The certificates of some slices as a verdict by a yardstick needs them, in the order of their
    /// digests.
    pub(crate) fn exhibits<'a>(
        &'a self,
        by: &'a Yardstick,
        slices: impl Fn(u32) -> bool + 'a,
    ) -> impl Iterator<Item = Exhibit<'a>> {
        let remembered = self.yardstick.as_ref() == Some(by);
        self.places.values().filter_map(move |place| {
            let (sealed, memory) = (self.certificates.get(*place)?, self.memory.get(*place)?);
            if !slices(sealed.certificate.slice) {
                return None;
            }
            let digest = memory.digest;
            let verified = match &memory.verified {
                Some(verified) if remembered => Cow::Borrowed(verified),
                _ => Cow::Owned(verify(self.position, sealed, by)),
            };
            Some(Exhibit { digest, certificate: &sealed.certificate, verified })
        })
    }
}

fn verify(position: PositionId, sealed: &SealedCertificate, by: &Yardstick) -> Verified {
    let SealedCertificate { certificate, receipts } = sealed;
    let listed = certificate.position == position && certificate.check_list(&by.terms).is_ok();
    let mut verified =
        Verified { listed, parents: Vec::new(), shares: Vec::new(), seals: Vec::new() };
    // Of what is not listed nothing counts, whatever it holds.
    if !listed {
        return verified;
    }
    let mut places: BTreeMap<BlockHash, usize> = BTreeMap::new();
    let standings = stand_all(&certificate.shares, certificate.slice, &by.terms);
    for (share, standing) in certificate.shares.iter().zip(standings) {
        let parent = share.header.prev_blockhash;
        let place = *places.entry(parent).or_insert_with(|| {
            verified.parents.push((parent, None));
            verified.parents.len().saturating_sub(1)
        });
        if let (Some(standing), Some((_, height))) = (standing, verified.parents.get_mut(place)) {
            *height = standing.height.checked_sub(1);
        }
        verified.shares.push((place, standing));
    }
    verified.seals = receipts.iter().filter_map(|receipt| seal(position, receipt, by)).collect();
    verified
}

/// Who gave a receipt for the position on which tip, if the signature is good.
fn seal(
    position: PositionId,
    receipt: &Receipt,
    by: &Yardstick,
) -> Option<(XOnlyPublicKey, BlockHash)> {
    if receipt.position != position {
        return None;
    }
    let secp = Secp256k1::verification_only();
    receipt.signer(&by.ruling_keys, &secp).ok().map(|key| (key, receipt.tip))
}

#[cfg(test)]
mod tests;
