//! A draft with its signatures, and the finished transaction.

use std::collections::BTreeMap;

use bitcoin::key::XOnlyPublicKey;
use bitcoin::secp256k1::{Message, Secp256k1, schnorr};
use bitcoin::{Amount, TapSighashType, Transaction, Txid, Witness, taproot};

use crate::error::{Culprit, Result, Rule};
use crate::party::Seat;
use crate::script::lock::{Path, SIGNED};
use crate::tx::draft::{Draft, Spend, Title};

/// Signatures are of the rebuilt transaction.
pub const SIGNATURE: Rule = Rule::new(
    "tx-signature",
    "a signature is of the transaction that the terms rebuild, by a key of its path",
    "compare terms, evidence and fee rate with the signer",
);

/// A draft that collects signatures. It cannot be cloned:
///
/// ```compile_fail
/// fn twice(signed: hashmix::tx::signed::Signed) -> [hashmix::tx::signed::Signed; 2] {
///     [signed.clone(), signed]
/// }
/// ```
#[derive(Debug)]
pub struct Signed {
    draft: Draft,
    /// By input, then by signing key.
    signatures: Vec<BTreeMap<XOnlyPublicKey, schnorr::Signature>>,
    signers: Vec<Seat>,
}

/// A finished transaction, and how it was made. It cannot be cloned:
///
/// ```compile_fail
/// fn twice(last: hashmix::tx::signed::Final) -> [hashmix::tx::signed::Final; 2] {
///     [last.clone(), last]
/// }
/// ```
#[derive(Debug)]
pub struct Final {
    /// What it is for.
    pub title: Title,
    /// The transaction as it is broadcast.
    pub tx: Transaction,
    /// Inputs minus outputs, in satoshis.
    pub fee: Amount,
    /// The way in, the same for every input.
    pub path: Path,
    /// Who signed, in the order of signing.
    pub signers: Vec<Seat>,
}

impl Signed {
    /// A draft without signatures yet.
    pub fn new(draft: Draft) -> Self {
        let signatures = draft.spends().iter().map(|_| BTreeMap::new()).collect();
        Self { draft, signatures, signers: Vec::new() }
    }

    /// The draft underneath.
    pub fn draft(&self) -> &Draft {
        &self.draft
    }

    /// Takes `seat`'s script-path signatures, one for each input in order, after verifying each.
    pub fn add(&mut self, seat: Seat, signatures: &[schnorr::Signature]) -> Result<()> {
        let title = self.draft.title();
        let count = self.draft.spends().len();
        if signatures.len() != count {
            return Err(SIGNATURE.refuses(
                seat.into(),
                title,
                format_args!("{count} signatures"),
                signatures.len(),
            ));
        }
        let mut verified = Vec::with_capacity(count);
        for (input, signature) in signatures.iter().enumerate() {
            let place = format!("{title}, input {input}");
            let key = self
                .draft
                .spends()
                .get(input)
                .map(|spend| signing_key(spend, seat))
                .transpose()?
                .flatten()
                .ok_or_else(|| {
                    SIGNATURE.refuses(seat.into(), &place, "a key of the leaf", "none of his")
                })?;
            verify(&self.draft, input, key, signature, seat.into())?;
            verified.push((key, *signature));
        }
        for (input, (key, signature)) in self.signatures.iter_mut().zip(verified) {
            input.insert(key, signature);
        }
        self.signers.push(seat);
        Ok(())
    }

    /// Takes the aggregate signature of the key path of `input`, after verifying it.
    pub fn add_key_path(&mut self, input: usize, signature: schnorr::Signature) -> Result<()> {
        let place = format!("{}, input {input}", self.draft.title());
        let key = self
            .draft
            .spends()
            .get(input)
            .and_then(|spend| spend.lock.key_path.as_ref())
            .map(|context| context.output_key().0)
            .ok_or_else(|| SIGNATURE.broken(&place, "a key path", "none"))?;
        verify(&self.draft, input, key, &signature, Culprit::Sender)?;
        if let Some(signatures) = self.signatures.get_mut(input) {
            signatures.insert(key, signature);
        }
        for seat in [Seat::Miner, Seat::Holder] {
            if !self.signers.contains(&seat) {
                self.signers.push(seat);
            }
        }
        Ok(())
    }

    /// The finished transaction; refused while signatures are missing.
    pub fn finish(self) -> Result<Final> {
        let fee = self.draft.fee()?;
        let expected = self.draft.vsize()?;
        let (title, mut tx, spends) = self.draft.into_parts();
        let path = spends.first().map_or(Path::Key, |spend| spend.path);
        for ((input, spend), signatures) in tx.input.iter_mut().zip(&spends).zip(&self.signatures) {
            let signatures: Vec<_> = signatures.iter().map(|(k, s)| (*k, *s)).collect();
            input.witness = match (spend.path, signatures.as_slice()) {
                (Path::Key, [(_, signature)]) => Witness::p2tr_key_spend(&taproot::Signature {
                    signature: *signature,
                    sighash_type: TapSighashType::Default,
                }),
                (Path::Key, _) => {
                    return Err(SIGNED.unavailable(title, "the aggregate signature", "none"));
                }
                (path, signatures) => spend.lock.script_witness(path, signatures)?,
            };
        }
        let vsize = u64::try_from(tx.vsize()).unwrap_or(u64::MAX);
        if vsize != expected {
            return Err(SIGNED.broken(title, format_args!("{expected} vB"), vsize));
        }
        // Of more signatures than needed only some are used; the story names those.
        let mut signers = self.signers;
        if let (Some(input), Some(spend)) = (tx.input.first(), spends.first()) {
            let known = self.signatures.first();
            signers.retain(|seat| match signing_key(spend, *seat) {
                Ok(Some(key)) => known.and_then(|all| all.get(&key)).is_some_and(|signature| {
                    input.witness.iter().any(|item| item == signature.as_ref())
                }),
                _ => true,
            });
        }
        Ok(Final { title, tx, fee, path, signers })
    }
}

impl Final {
    /// The transaction's id.
    pub fn txid(&self) -> Txid {
        self.tx.compute_txid()
    }
}

/// The key with which `seat` signs a script-path spend; `None` if the leaf has none of his.
pub fn signing_key(spend: &Spend, seat: Seat) -> Result<Option<XOnlyPublicKey>> {
    let leaf = spend.lock.leaf(spend.path)?;
    Ok(leaf.keys.iter().find(|key| key.seat == seat).map(|key| key.key))
}

fn verify(
    draft: &Draft,
    input: usize,
    key: XOnlyPublicKey,
    signature: &schnorr::Signature,
    by: Culprit,
) -> Result<()> {
    let message = Message::from_digest(draft.sighash(input)?);
    Secp256k1::verification_only().verify_schnorr(signature, &message, &key).map_err(|_| {
        SIGNATURE.refuses(
            by,
            format_args!("{}, input {input}", draft.title()),
            format_args!("a signature of sighash {message} by {key}"),
            signature,
        )
    })
}
