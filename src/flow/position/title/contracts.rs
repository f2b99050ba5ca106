//! The contracts that came with a position's transfers: which of them bind, and which lock coinbases
//! pay at a height.
//!
//! A sale binds if its transaction put the price into the new contract's escrow, in output 1, and took
//! it, where a contract was open before, out of that one's escrow, in input 1. A seal that moves without
//! re-locking an open escrow changes no lock and no right: its holder has the satoshi and no more.
//!
//! A contract says which locks its first periods still pay. They are those that the contract before
//! says, or somebody would be paid whom nobody sold to.

use std::collections::BTreeSet;

use bitcoin::{OutPoint, ScriptBuf, Transaction, Txid};

use super::{Hop, Known, Need, Title};
use crate::error::{Culprit, Result, Rule};
use crate::flow::escrow::coins::{self, Locked, Progress};
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::position::dossier::{Dossier, Opening};
use crate::flow::position::terms::PositionTerms;
use crate::flow::reward;

/// A contract begins where the one before says.
pub const LOCKS: Rule = Rule::new(
    "title-locks",
    "a contract begins no earlier than the one before, and its earlier locks are those that the one before pays in these periods",
    "do not buy: coinbases would pay somebody else than the contract says",
);

/// A contract that came with a transfer and binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sold {
    /// Number of the transfer.
    pub number: u32,
    /// Its terms.
    pub terms: EscrowTerms,
    /// The transaction of the sale.
    pub txid: Txid,
    /// Height of its block.
    pub height: u32,
    /// Its reward lock.
    pub lock: ScriptBuf,
}

/// A sale that binds nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Void {
    /// Number of the transfer.
    pub number: u32,
    /// Why.
    pub why: &'static str,
}

type Binding = (Vec<Sold>, Vec<Void>);

/// The sales among the openings that bind, or what is missing to tell.
pub(super) fn binding(
    known: Known<'_>,
    openings: &[(&Hop, &Opening)],
) -> Result<Result<Binding, Vec<Need>>> {
    let (mut sold, mut void): Binding = (Vec::new(), Vec::new());
    for (hop, opening) in openings {
        let (Some(terms), Some(height)) = (&opening.contract, hop.height) else { continue };
        let (number, txid) = (hop.number, hop.txid);
        let Some(tx) = known.transaction(txid) else {
            return Ok(Err(vec![Need::Transaction(txid)]));
        };
        let why = match taken_over(known, sold.last(), tx, height)? {
            Err(needs) => return Ok(Err(needs)),
            Ok(false) => Some("the escrow of the contract before was open and was not re-locked"),
            Ok(true) if tx.output.get(1) != Some(&coins::funding(terms)?) => {
                Some("the price did not go into its escrow with the seal")
            }
            Ok(true) => None,
        };
        match why {
            Some(why) => void.push(Void { number, why }),
            None => {
                let lock = reward::coins::lock(&terms.reward)?.script_pubkey;
                sold.push(Sold { number, terms: terms.clone(), txid, height, lock });
            }
        }
    }
    Ok(Ok((sold, void)))
}

/// Whether a sale at `height` leaves no escrow of the contract before open.
fn taken_over(
    known: Known<'_>,
    before: Option<&Sold>,
    tx: &Transaction,
    height: u32,
) -> Result<Result<bool, Vec<Need>>> {
    let Some(before) = before else { return Ok(Ok(true)) };
    if let Some(spent) = tx.input.get(1).map(|input| input.previous_output) {
        match of_escrow(known, before, spent)? {
            Ok(true) => return Ok(Ok(true)),
            Ok(false) => {}
            Err(need) => return Ok(Err(vec![need])),
        }
    }
    // It may have ended before; then there was nothing to re-lock.
    let locked = Locked::new(before.terms.clone())?;
    let missing: BTreeSet<Need> = locked
        .scripts()
        .filter(|script| !known.scripts.contains(*script))
        .map(|script| Need::History(script.clone()))
        .collect();
    if !missing.is_empty() {
        return Ok(Err(missing.into_iter().collect()));
    }
    Ok(Ok(match locked.progress(known.facts)? {
        Progress::Ended { height: Some(ended), .. } => ended <= height,
        _ => false,
    }))
}

/// Whether an output is in the escrow of a contract: the sale's own, or after one of its settlements.
fn of_escrow(
    known: Known<'_>,
    before: &Sold,
    spent: OutPoint,
) -> Result<core::result::Result<bool, Need>> {
    if spent == OutPoint::new(before.txid, 1) {
        return Ok(Ok(true));
    }
    let script = match known.output(spent) {
        Ok(output) => &output.script_pubkey,
        Err(need) => return Ok(Err(need)),
    };
    if spent.vout != 1 || !script.is_p2tr() {
        return Ok(Ok(false));
    }
    let locked = Locked::new(before.terms.clone())?;
    Ok(Ok(locked.scripts().any(|lock| lock == script)))
}

/// Refuses a contract whose earlier locks are not those of the contracts before it.
pub(super) fn in_order(dossier: &Dossier, sold: Vec<Sold>, void: Vec<Void>) -> Result<Binding> {
    let first = reward::coins::lock(&dossier.terms().reward)?.script_pubkey;
    for (place, contract) in sold.iter().enumerate() {
        let before = sold.get(..place).unwrap_or_default();
        let begins = contract.terms.first_period();
        let least = before.last().map_or(0, |before| before.terms.first_period());
        let refuse = |expected: String, found: String| {
            let place = format!("contract of transfer {}", contract.number);
            Err(LOCKS.refuses(Culprit::Holder, place, expected, found))
        };
        if begins < least {
            let (expected, found) = (least.saturating_add(1), begins.saturating_add(1));
            return refuse(format!("from period {expected} on"), format!("from period {found} on"));
        }
        // Between these periods no lock changes.
        let all = before.iter().chain([contract]).filter_map(|sold| sold.terms.tenure.as_ref());
        let changes = all.flat_map(|tenure| {
            let until = tenure.earlier.iter().map(|earlier| earlier.until);
            until.chain([tenure.first]).collect::<Vec<u32>>()
        });
        let ends = contract.terms.tenure.iter().flat_map(|tenure| &tenure.earlier);
        let ends = ends.map(|earlier| earlier.until).max().unwrap_or(begins);
        for period in changes.filter(|period| (begins..ends).contains(period)) {
            let (said, paid) = (of_period(contract, period), lock_of(before, &first, period));
            if said != paid {
                let place = period.saturating_add(1);
                let expected = format!("period {place} pays {paid:x}");
                return refuse(expected, format!("{said:x}"));
            }
        }
    }
    Ok((sold, void))
}

/// The lock that a contract says a period (0-based) pays.
fn of_period(sold: &Sold, period: u32) -> &ScriptBuf {
    let earlier = sold.terms.tenure.iter().flat_map(|tenure| &tenure.earlier);
    let earlier = earlier.into_iter().find(|earlier| period < earlier.until);
    earlier.map_or(&sold.lock, |earlier| &earlier.lock)
}

/// The lock that a period (0-based) pays under the last contract that covers it.
fn lock_of<'a>(sold: &'a [Sold], first: &'a ScriptBuf, period: u32) -> &'a ScriptBuf {
    let covering = sold.iter().rev().find(|sold| sold.terms.first_period() <= period);
    covering.map_or(first, |sold| of_period(sold, period))
}

impl Title {
    /// The contract in force; `None` while the first holder has sold nothing.
    pub fn contract(&self) -> Option<&Sold> {
        self.sold.last()
    }

    /// The reward lock that a coinbase at `height` has to pay; `None` outside the term.
    pub fn lock_at(&self, terms: &PositionTerms, height: u32) -> Result<Option<ScriptBuf>> {
        let whole = terms.contract(bitcoin::Amount::ZERO).calendar();
        let Some(period) = whole.period_of(height) else { return Ok(None) };
        let first = reward::coins::lock(&terms.reward)?.script_pubkey;
        Ok(Some(lock_of(&self.sold, &first, period).clone()))
    }
}
