//! A contract of an issued position is registered by its sale: offer, acceptance, and the chain that holds
//! them.
//!
//! ```text
//!  position's terms  bound to our record when we registered the miner
//!        |
//!  offer + acceptance --> terms of the contract     rebuilt and compared
//!        |
//!  exchange           --> in a block                as all our sources show it
//! ```
//! So a buyer registers alone, once he has paid, and nobody can be before him: two sales of one seal are
//! not both in the chain, and nothing is bound to the number of a transfer. Whoever sells a false seal pays
//! for it with his own money, and gets a contract with himself.
//!
//! Nobody signs the registration. The buyer has signed his acceptance. What binds the miner is:
//!
//! | the sale | the miner's word |
//! |---|---|
//! | a first one | his position's terms: they name the first holder, who alone can offer |
//! | a resale | the old escrow, which opens to nobody without him or k validators before its exits |
//! | a resale that was left to validators | the contract before, which is at this desk |
//!
//! The exits of an escrow do not open for an exchange, whose nLockTime and nSequence are too early. That
//! what it spends is the old escrow its txid does not tell, for it names outputs and not what they hold:
//! the desk looks.

use bitcoin::ScriptBuf;
use serde::{Deserialize, Serialize};

use crate::error::{Culprit, Result, Rule};
use crate::facts::Facts;
use crate::flow::escrow::coins::{Locked, Progress, funding};
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::sale::coins::old_escrow;
use crate::flow::sale::terms::{Acceptance, Guard, Offer, Resale};
use crate::flow::sale::txs::{Bargain, compared};
use crate::id::{TermsId, WordId};

/// The terms follow from the sale.
pub const DERIVED: Rule = Rule::new(
    "policy-registry-derived",
    "the terms of a contract that is registered by its sale are those that offer and acceptance make",
    "make the registration with `hashmix sale register`, of the offer and the acceptance of one sale",
);
/// The contract before is known here.
pub const BEFORE: Rule = Rule::new(
    "policy-registry-before",
    "the contract that a resale without the miner took over is registered at this desk, and the new one shares all with it that a sale leaves",
    "register the contracts of the position in their order",
);
/// The chain shows a resale that was left to validators.
pub const CHAIN: Rule = Rule::new(
    "policy-registry-resold",
    "the contract before has ended with this very resale, as deep in the chain as its states are signed on, where it was left to validators",
    "wait for its confirmations, then register",
);
/// The chain shows the sale.
pub const SOLD: Rule = Rule::new(
    "policy-registry-sold",
    "the exchange that offer and acceptance make lies in a block, and what a resale takes over was its old escrow",
    "wait for its first confirmation, then register",
);

/// A sale, as it was agreed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sold {
    /// The seller's offer.
    pub offer: Offer,
    /// The buyer's acceptance.
    pub acceptance: Acceptance,
}

impl Sold {
    /// The resale, where it was left to validators.
    pub fn without_miner(&self) -> Option<&Resale> {
        let resale = self.offer.offer.resale.as_ref();
        resale.filter(|resale| resale.guard == Guard::Validators)
    }

    /// The id of the position's terms.
    pub fn position_terms(&self) -> Result<TermsId> {
        self.offer.offer.terms.id()
    }

    /// What offer and acceptance make, checked by themselves.
    pub fn bargain(&self) -> Result<Bargain> {
        self.offer.check()?;
        self.acceptance.check(&self.offer)?;
        compared(&self.offer, &self.acceptance)
    }

    /// Refuses terms that do not follow from offer and acceptance.
    pub fn check_derived(&self, terms: &EscrowTerms) -> Result<()> {
        let made = self.bargain()?.contract;
        match made == *terms {
            true => Ok(()),
            false => {
                let expected = format_args!("terms {}", made.id()?).to_string();
                let found = format_args!("terms {}", terms.id()?).to_string();
                Err(DERIVED.refuses(Culprit::Sender, "registration, sale", expected, found))
            }
        }
    }

    /// Refuses a contract before that is not at this desk (`before` is what is), or of other people or
    /// another delivery.
    pub fn check_before(
        resale: &Resale,
        terms: &EscrowTerms,
        before: Option<&EscrowTerms>,
    ) -> Result<()> {
        let named = resale.contract.id()?;
        let refuse = |expected: &dyn core::fmt::Display, found: &dyn core::fmt::Display| {
            Err(BEFORE.refuses(Culprit::Sender, "contract before", expected, found))
        };
        let Some(before) = before else {
            return refuse(&format_args!("terms {named}"), &"none that is registered here");
        };
        if before.id()? != named {
            return refuse(&named, &before.id()?);
        }
        let shown = |terms: &EscrowTerms| -> Result<String> {
            Ok(terms.lineage()?.map_or("none".to_owned(), |lineage| WordId(lineage).to_string()))
        };
        let (ours, theirs) = (shown(before)?, shown(terms)?);
        match ours == theirs && before.tenure.is_some() {
            true => Ok(()),
            false => refuse(&format_args!("lineage {ours}"), &format_args!("lineage {theirs}")),
        }
    }

    /// Refuses a resale without the miner that the chain does not show at the end of the contract before,
    /// deep enough that another one will not take its place.
    pub fn check_chain(&self, before: &Locked, facts: &Facts) -> Result<()> {
        let txid = self.bargain()?.exchange.txid();
        let depth = before.delays.state_depth;
        let found = match before.progress(facts)? {
            Progress::Ended { by, height: Some(height) } if by == txid => {
                let deep = facts.tip().saturating_add(1).saturating_sub(height);
                if deep >= depth {
                    return Ok(());
                }
                format!("{deep} blocks on it")
            }
            Progress::Ended { by, height: None } => format!("{by}, in no block yet"),
            Progress::Ended { by, .. } => format!("ended by {by}"),
            Progress::Open(coin) => format!("an open escrow, {}", coin.outpoint),
            Progress::Unfunded => "no escrow yet".to_owned(),
        };
        let expected = format_args!("ended by {txid}, {depth} blocks deep").to_string();
        Err(CHAIN.unavailable("contract before", expected, found))
    }

    /// The scripts whose histories show the exchange: the escrow that it makes, and the one it spends.
    pub fn scripts(&self) -> Result<Vec<ScriptBuf>> {
        let mut scripts = vec![funding(&self.bargain()?.contract)?.script_pubkey];
        if let Some(resale) = &self.offer.offer.resale {
            scripts.push(old_escrow(resale)?.lock.script_pubkey);
        }
        Ok(scripts)
    }

    /// Refuses a sale that is in no block, and a resale that spends something else than the old escrow.
    pub fn check_sold(&self, facts: &Facts) -> Result<()> {
        let (place, txid) = ("registration, sale", self.bargain()?.exchange.txid());
        let missing = |found: &str| {
            let expected = format_args!("{txid} in a block").to_string();
            Err(SOLD.unavailable(place, expected, found))
        };
        match facts.transactions.get(&txid).map(|seen| seen.height) {
            Some(Some(_)) => {}
            Some(None) => return missing("in no block yet"),
            None => return missing("no such transaction"),
        }
        let Some(resale) = &self.offer.offer.resale else { return Ok(()) };
        let old = old_escrow(resale)?.txout();
        let paid = facts.coins(&old.script_pubkey);
        let found = match paid.iter().find(|coin| coin.outpoint == resale.escrow) {
            Some(coin) if coin.txout == old => return Ok(()),
            Some(coin) => coin.txout.value.to_string(),
            None => "an output of another lock".to_owned(),
        };
        let expected = format!("{} in the old escrow's lock at {}", old.value, resale.escrow);
        Err(SOLD.refuses(Culprit::Sender, place, expected, found))
    }
}
