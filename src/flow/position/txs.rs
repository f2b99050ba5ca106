//! The transactions of the position flow: the issue, alone or in a batch.
//!
//! ```text
//!  in 0   issuer's script, k signatures     out 0..n-1  a seal each, 10,000 sat
//!                                           out n       OP_RETURN, 80 bytes, nothing
//! ```
//! What the input holds above the seals is the fee: the miner has put it there for this. The first
//! satoshi of a seal is therefore 10,000 times its place into the input, whoever counts. A position
//! that is issued alone can be inscribed as well, as a child of the federation's inscription, which
//! wallets and explorers show:
//!
//! ```text
//!  in 0   issuer's script, inscribing    out 0   the seal, inscribed
//!  in 1   the federation's inscription   out 1   the same, back in the issuer's script
//!  in 2   issuer's script: the fee       out 2   OP_RETURN, 80 bytes
//! ```
//! It says what the 80 bytes say, in words, and is nobody's authority: who holds the position follows
//! from the seal alone. Inputs 0 and 1 hold exactly what outputs 0 and 1 hold, so each inscription
//! stays on the first satoshi of its output. As the federation has one parent, inscribed issues queue.

use bitcoin::hashes::Hash;
use bitcoin::script::PushBytesBuf;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, TxOut, Txid};
use serde::{Deserialize, Serialize};

use crate::amount;
use crate::error::{Culprit, Result, Rule};
use crate::flow::position::coins::{self, POSTAGE};
use crate::flow::position::terms::PositionTerms;
use crate::id::{PositionId, tagged_hash};
use crate::script::lock::{Lock, Path};
use crate::tx::draft::{Draft, Spend, Title, fee, vsize};

/// Several positions fit one issue.
pub const BATCH: Rule = Rule::new(
    "position-batch",
    "an issue has 1 to 100 positions that differ in nothing but their records",
    "issue what differs apart",
);
/// The miner pays for his issue.
pub const FUNDED: Rule = Rule::new(
    "position-funded",
    "the output that an issue spends holds its seals and a fee between the floor and the cap of the terms",
    "fund another output of the issuer script",
);

/// An inscribed issue keeps satoshis in their places.
pub const INSCRIBED: Rule = Rule::new(
    "position-inscribed",
    "an inscribed issue is of one position, and its first input holds exactly a seal's postage",
    "fund it as `hashmix position fund --parent` says",
);

/// What an issue's OP_RETURN begins with.
const MAGIC: [u8; 4] = *b"HMX1";

/// Which input of an inscribed issue spends the federation's inscription. Other issues spend one input.
pub const PARENT_INPUT: usize = 1;

/// Most positions in one issue.
pub const MOST: usize = 100;

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

/// An output of the issuer's script that a miner has funded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Funding {
    /// Where it is.
    pub outpoint: OutPoint,
    /// What it holds (satoshis).
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub value: Amount,
    /// What an inscribed issue spends beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inscription: Option<Inscription>,
}

impl Funding {
    /// What pays for an issue that is not inscribed.
    pub fn new(outpoint: OutPoint, value: Amount) -> Self {
        Self { outpoint, value, inscription: None }
    }
}

/// What an output of the issuer's script must hold, to issue `terms` at this fee rate.
pub fn funding(terms: &[PositionTerms], sat_per_vb: u64) -> Result<Amount> {
    let blank = Funding::new(OutPoint::null(), Amount::ZERO);
    let (spends, outputs) = parts(terms, &blank)?;
    let cost = fee(vsize(&spends, &outputs)?, sat_per_vb)?;
    amount::sum(outputs.iter().map(|out| out.value).chain([cost]), "funding of an issue")
}

/// What the output that pays an inscribed issue's fee must hold, at this rate.
pub fn inscription_fee(terms: &PositionTerms, sat_per_vb: u64) -> Result<Amount> {
    let (parent_at, fee_from) = (OutPoint::null(), OutPoint::null());
    let inscription =
        Inscription { parent: Txid::all_zeros(), parent_at, fee_from, fee: Amount::ZERO };
    let blank = Funding { inscription: Some(inscription), ..Funding::new(parent_at, POSTAGE) };
    let (spends, outputs) = parts(core::slice::from_ref(terms), &blank)?;
    fee(vsize(&spends, &outputs)?, sat_per_vb)
}

/// The issue of one position, or of several of one farm.
pub fn issue(terms: &[PositionTerms], funding: Funding) -> Result<Draft> {
    let title = Title("issue");
    let (spends, outputs) = parts(terms, &funding)?;
    let size = vsize(&spends, &outputs)?;
    let draft = Draft::new(title, Version::TWO, 0, spends, outputs)?;
    let paid = draft.fee()?;
    let fees = terms.first().map(|first| (first.fees.floor, first.fees.cap));
    match fees {
        Some((floor, cap)) if paid < fee(size, floor)? || paid > fee(size, cap)? => {
            let expected = format!("{size} vB at {floor} to {cap} sat/vB");
            Err(FUNDED.refuses(Culprit::Miner, title, expected, paid))
        }
        _ => Ok(draft),
    }
}

/// What an issue spends and pays.
fn parts(terms: &[PositionTerms], funding: &Funding) -> Result<(Vec<Spend>, Vec<TxOut>)> {
    let (first, mut outputs) = outputs(terms)?;
    let Some(inscription) = &funding.inscription else {
        return Ok((vec![spend(first, funding)?], outputs));
    };
    if terms.len() > 1 {
        let found = format_args!("{} positions", terms.len()).to_string();
        return Err(INSCRIBED.refuses(Culprit::Miner, "issue", "one position", found));
    }
    let spends = inscribed_spends(first, (funding.outpoint, funding.value), inscription)?;
    let script_pubkey = coins::issuer(first)?.script_pubkey;
    outputs.insert(1, TxOut { value: POSTAGE, script_pubkey });
    Ok((spends, outputs))
}

/// The inputs of an inscribed issue whose funding lies at `funding` and holds `value`.
pub fn inscribed_spends(
    terms: &PositionTerms,
    (funding, value): (OutPoint, Amount),
    inscription: &Inscription,
) -> Result<Vec<Spend>> {
    if value != POSTAGE {
        let place = format_args!("funding {funding}").to_string();
        return Err(INSCRIBED.refuses(Culprit::Miner, place, POSTAGE, value));
    }
    let (inscribing, plain) =
        (coins::inscribing_issuer(terms, inscription.parent)?, coins::issuer(terms)?);
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

/// The id of the position whose seal is output `place` of an issue of `count`: the txid of the issue,
/// where it is the only one. Both are written alike: a txid's digits run from its last byte to its
/// first.
pub fn position(issue: Txid, place: u32, count: usize) -> PositionId {
    let mut txid = issue.to_byte_array();
    txid.reverse();
    match count {
        1 => PositionId(txid),
        _ => PositionId(tagged_hash("hashmix/batch-position/1", &[&txid, &place.to_be_bytes()])),
    }
}

fn spend(terms: &PositionTerms, funding: &Funding) -> Result<Spend> {
    let lock = coins::issuer(terms)?;
    let prevout = TxOut { value: funding.value, script_pubkey: lock.script_pubkey.clone() };
    Ok(Spend { outpoint: funding.outpoint, prevout, lock, path: Path::Federation })
}

/// The outputs of an issue, and the terms whose numbers it states.
fn outputs(terms: &[PositionTerms]) -> Result<(&PositionTerms, Vec<TxOut>)> {
    let refuse = |found: &dyn core::fmt::Display| {
        BATCH.refuses(Culprit::Miner, "issue", format_args!("1 to {MOST} positions alike"), found)
    };
    let first = terms.first().filter(|_| terms.len() <= MOST);
    let first = first.ok_or_else(|| refuse(&format_args!("{} positions", terms.len())))?;
    let mut outputs = Vec::with_capacity(terms.len().saturating_add(1));
    let mut hashes = Vec::with_capacity(terms.len());
    for (place, one) in terms.iter().enumerate() {
        if !alike(one, first) {
            return Err(refuse(&format_args!("position {place} is of other terms")));
        }
        let script_pubkey = coins::issued_seal(one)?.script_pubkey;
        if outputs.iter().any(|out: &TxOut| out.script_pubkey == script_pubkey) {
            return Err(refuse(&format_args!("position {place} twice")));
        }
        outputs.push(TxOut { value: POSTAGE, script_pubkey });
        hashes.push(one.hash()?);
    }
    let digest = digest(&hashes);
    let data = PushBytesBuf::try_from([statement(first)?.as_slice(), &digest].concat())
        .map_err(|error| BATCH.broken("issue", "80 bytes of data", error))?;
    outputs.push(TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::new_op_return(data) });
    Ok((first, outputs))
}

/// Whether two positions differ in nothing but the records of miner, holder and validators, and the
/// name that these are made for.
fn alike(one: &PositionTerms, first: &PositionTerms) -> bool {
    let mut other = one.clone();
    other.reward.contract.clone_from(&first.reward.contract);
    other.reward.miner = first.reward.miner.clone();
    other.reward.holder = first.reward.holder.clone();
    other.reward.federation.validators.clone_from(&first.reward.federation.validators);
    other == *first
}

/// What an issue commits to: the hash of the full terms; of several, a tagged hash of their hashes in
/// the order of the seals.
pub fn digest(hashes: &[[u8; 32]]) -> [u8; 32] {
    match hashes {
        [one] => *one,
        many => {
            let parts: Vec<&[u8]> = many.iter().map(<[u8; 32]>::as_slice).collect();
            tagged_hash("hashmix/batch/1", &parts)
        }
    }
}

/// The 48 bytes that an issue states in the clear (big-endian): magic (4), rate in H/s (8), efficiency
/// in 10 mJ/TH (2), start height (3), length in blocks (3), and the first bytes of the ids of miner
/// (20; in a batch the first one's) and federation (8), which are hints and no authority.
pub fn statement(terms: &PositionTerms) -> Result<Vec<u8>> {
    let delivery = &terms.delivery;
    // Terms keep both below 2^24.
    let low = |number: u32| number.to_be_bytes().into_iter().skip(1);
    let length = delivery.period.saturating_mul(delivery.periods);
    let (miner, federation) = (terms.reward.miner.id()?, terms.issuer.id()?);
    Ok(MAGIC
        .into_iter()
        .chain(delivery.rate.to_be_bytes())
        .chain(terms.efficiency.to_be_bytes())
        .chain(low(delivery.start))
        .chain(low(length))
        .chain(miner.0.into_iter().take(20))
        .chain(federation.0.into_iter().take(8))
        .collect())
}
