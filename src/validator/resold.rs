//! A contract that the miner could not sign: the resale by which it came, in place of his signature.
//!
//! He signed the contract before, or the one before that. Validators have sold it on in his place, by
//! terms of which nothing is left to anybody's choice, and the chain shows it. So what he would sign is
//! what he is bound by already. The new holder signs the registration himself.
//!
//! Who signed the transaction its txid does not tell, and need not: the old escrow opens to nobody
//! without the miner, or k validators, before its exits; and those do not open for an exchange, whose
//! nLockTime and nSequence are too early.

use serde::{Deserialize, Serialize};

use crate::error::{Culprit, Error, Result, Rule};
use crate::facts::Facts;
use crate::flow::escrow::coins::{Locked, Progress};
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::sale::terms::{Acceptance, Guard, Offer, Resale};
use crate::flow::sale::txs::{Bargain, compared};
use crate::id::WordId;

/// The terms follow from the resale.
pub const DERIVED: Rule = Rule::new(
    "policy-registry-derived",
    "where a resale stands for the miner's signature, it was left to validators, and the terms are those that its offer and acceptance make",
    "register the terms, the offer and the acceptance of one sale; one that the miner signed he registers too",
);
/// The contract before is known here.
pub const BEFORE: Rule = Rule::new(
    "policy-registry-before",
    "the contract that a resale took over is registered at this desk, and the new one shares all with it that a sale leaves",
    "register the contracts of the position in their order",
);
/// The chain shows the resale.
pub const CHAIN: Rule = Rule::new(
    "policy-registry-resold",
    "the contract before has ended with this very resale, as deep in the chain as its states are signed on",
    "wait for its confirmations, then register",
);

/// A resale that validators signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resold {
    /// The holder's offer.
    pub offer: Offer,
    /// The buyer's acceptance.
    pub acceptance: Acceptance,
}

impl Resold {
    fn resale(&self) -> Result<&Resale> {
        let resale = self.offer.offer.resale.as_ref();
        resale.filter(|resale| resale.guard == Guard::Validators).ok_or_else(|| {
            let found = match &self.offer.offer.resale {
                Some(_) => "one that the miner signs",
                None => "a first sale",
            };
            refused("a resale that is left to validators", &found)
        })
    }

    /// What offer and acceptance make, checked by themselves.
    fn bargain(&self) -> Result<Bargain> {
        self.offer.check()?;
        self.acceptance.check(&self.offer)?;
        compared(&self.offer, &self.acceptance)
    }

    /// Refuses terms that do not follow from offer and acceptance.
    pub fn check_derived(&self, terms: &EscrowTerms) -> Result<()> {
        self.resale()?;
        let made = self.bargain()?.contract;
        match made == *terms {
            true => Ok(()),
            false => {
                let expected = format_args!("terms {}", made.id()?).to_string();
                Err(refused(&expected, &format_args!("terms {}", terms.id()?)))
            }
        }
    }

    /// The id of the contract that was taken over.
    pub fn before(&self) -> Result<crate::id::TermsId> {
        self.resale()?.contract.id()
    }

    /// Refuses a contract before that is not at this desk (`before` is what is), or of other people or
    /// another delivery.
    pub fn check_before(&self, terms: &EscrowTerms, before: Option<&EscrowTerms>) -> Result<()> {
        let named = self.before()?;
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

    /// Refuses a resale that the chain does not show at the end of the contract before, deep enough that
    /// another one will not take its place.
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
}

fn refused(expected: &str, found: &dyn core::fmt::Display) -> Error {
    DERIVED.refuses(Culprit::Sender, "registration, resale", expected, found)
}
