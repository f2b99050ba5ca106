//! The seal as an inscription: a child of the federation's, which wallets and explorers show.
//!
//! ```text
//!  in 0   issuer's script, inscribing    out 0   the seal, inscribed
//!  in 1   the federation's inscription   out 1   the same, back in the issuer's script
//!  in 2   issuer's script: the fee       out 2   OP_RETURN, 80 bytes
//! ```
//! It says what the 80 bytes say, in words, and is nobody's authority: who holds the position follows
//! from the seal alone. Inputs 0 and 1 hold exactly what outputs 0 and 1 hold, so each inscription
//! stays on the first satoshi of its output. As the federation has one parent, inscribed issues queue.

use bitcoin::{Amount, OutPoint, TxOut, Txid};
use serde::{Deserialize, Serialize};

use crate::error::{Culprit, Result, Rule};
use crate::flow::position::coins::{POSTAGE, issuer};
use crate::flow::position::terms::PositionTerms;
use crate::id::TermsId;
use crate::script::envelope::{InscriptionId, envelope};
use crate::script::lock::{Lock, Path};
use crate::tx::draft::Spend;

/// An inscribed issue keeps satoshis in their places.
pub const INSCRIBED: Rule = Rule::new(
    "position-inscribed",
    "an inscribed issue is of one position, and its first input holds exactly a seal's postage",
    "fund it as `hashmix position fund --parent` says",
);

/// Which input of an inscribed issue spends the federation's inscription. Other issues spend one input.
pub const PARENT_INPUT: usize = 1;

/// What an inscribed issue spends beside its funding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inscription {
    /// The transaction that revealed the federation's inscription.
    pub parent: Txid,
    /// Where that lies now: an output of the issuer's script that holds a seal's postage.
    pub parent_at: OutPoint,
    /// An output of the issuer's script that pays the fee.
    pub fee_from: OutPoint,
    /// What that holds (satoshis).
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub fee: Amount,
}

/// What is inscribed: the numbers of the issue, and which terms they are of.
pub fn text(terms: &PositionTerms) -> Result<String> {
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
pub fn lock(terms: &PositionTerms, parent: Txid) -> Result<Lock> {
    issuer(terms)?.inscribing(&envelope(&text(terms)?, Some(InscriptionId(parent)))?)
}

/// The inputs of an inscribed issue whose funding lies at `funding` and holds `value`.
pub fn spends(
    terms: &PositionTerms,
    (funding, value): (OutPoint, Amount),
    inscription: &Inscription,
) -> Result<Vec<Spend>> {
    if value != POSTAGE {
        let place = format_args!("funding {funding}").to_string();
        return Err(INSCRIBED.refuses(Culprit::Miner, place, POSTAGE, value));
    }
    let (inscribing, plain) = (lock(terms, inscription.parent)?, issuer(terms)?);
    let spend = |outpoint, value, lock: Lock| {
        let prevout = TxOut { value, script_pubkey: lock.script_pubkey.clone() };
        Spend { outpoint, prevout, lock, path: Path::Federation }
    };
    Ok(vec![
        spend(funding, POSTAGE, inscribing),
        spend(inscription.parent_at, POSTAGE, plain.clone()),
        spend(inscription.fee_from, inscription.fee, plain),
    ])
}
