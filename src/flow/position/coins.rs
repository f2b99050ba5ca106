//! The outputs of the position flow: the issuer's script, the seal, the retirement script.

use bitcoin::{Amount, Txid};

use crate::error::{Culprit, Result};
use crate::flow::position::terms::{PositionTerms, SEAL};
use crate::id::{PositionId, TermsId, tagged_hash};
use crate::party::Record;
use crate::script::envelope::{InscriptionId, envelope};
use crate::script::lock::Lock;
use crate::script::seal::SealLock;
use crate::script::template;

/// What a seal's output holds. Enough that its owner can always spend it, little enough not to miss.
pub const POSTAGE: Amount = Amount::from_sat(10_000);

/// The script that the federation issues from: what the miner funds.
pub fn issuer(terms: &PositionTerms) -> Result<Lock> {
    Lock::of_federation(template::issuer(), &terms.issuer, terms.reward.network)
}

/// What is inscribed: the numbers of the issue, and which terms they are of.
pub fn inscription_text(terms: &PositionTerms) -> Result<String> {
    let delivery = &terms.delivery;
    Ok(format!(
        "hashmix position: {} H/s at {}0 mJ/TH, {} blocks from {}; terms {}",
        delivery.rate,
        terms.efficiency,
        delivery.period.saturating_mul(delivery.periods),
        delivery.start,
        // SHA256 as the 80 bytes have it.
        TermsId(terms.hash()?)
    ))
}

/// The issuer's script with the inscription behind its leaf: what the miner funds.
pub fn inscribing_issuer(terms: &PositionTerms, parent: Txid) -> Result<Lock> {
    issuer(terms)?.inscribing(&envelope(&inscription_text(terms)?, Some(InscriptionId(parent)))?)
}

/// The script where the seal ends.
pub fn retirement(terms: &PositionTerms) -> Result<Lock> {
    Lock::of_federation(template::retirement(), &terms.issuer, terms.reward.network)
}

/// The seal as it is issued: the first holder's, under the hash of the full terms and number 0.
pub fn issued_seal(terms: &PositionTerms) -> Result<SealLock> {
    seal(terms.hash()?, 0, &terms.reward.holder, None)
}

/// The seal after the transfer with this number, counted from 1, to the holder of `record`, under the
/// terms of the sale if there was one.
pub fn transferred_seal(
    position: PositionId,
    number: u32,
    record: &Record,
    sale: Option<TermsId>,
) -> Result<SealLock> {
    seal(position.0, number, record, sale)
}

fn seal(
    position: [u8; 32],
    number: u32,
    record: &Record,
    sale: Option<TermsId>,
) -> Result<SealLock> {
    let key = record.record.seal.as_ref().ok_or_else(|| {
        SEAL.refuses(Culprit::Holder, "new holder's record", "a seal key", "none")
    })?;
    let sale = sale.map_or([0; 32], |sale| sale.0);
    let commitment = tagged_hash(
        "hashmix/transfer/1",
        &[&position, &number.to_be_bytes(), record.id()?.as_bytes(), &sale],
    );
    SealLock::new(key, commitment)
}
