//! Whose turn it is at a position, in words that people can act on.

use std::collections::BTreeSet;

use super::{State, k};
use crate::error::Result;
use crate::facts::Facts;
use crate::flow::position::dead::depth;
use crate::flow::position::proof::Stage;
use crate::flow::position::terms::PositionTerms;
use crate::party::Seat;

/// Whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Who acts; nobody when it is the chain's turn, or all is done.
    pub by: Vec<Seat>,
    /// What happens next, for people.
    pub what: String,
}

impl State {
    /// Whose turn it is, in words.
    pub fn turn(&self, terms: &PositionTerms, facts: &Facts) -> Result<Turn> {
        let all = || (0u8..).take(terms.reward.federation.validators.len());
        let others = |done: &BTreeSet<u8>| -> Vec<Seat> {
            all().filter(|place| !done.contains(place)).map(Seat::Validator).collect()
        };
        let miner = || vec![Seat::Miner];
        let signed: BTreeSet<u8> = self.signatures(terms)?.into_keys().collect();
        let sealed = |stage| self.sealed(terms, stage, &facts.headers);
        let (by, what) = if let Some((txid, height)) = self.issued(terms, facts)? {
            let what = match height {
                Some(height) => format!("issued at height {height} by {txid}"),
                None => format!("a block is to hold the issue {txid}"),
            };
            (Vec::new(), what)
        } else if !self.enrolled {
            (miner(), "enrol: prove that the address in your record is yours".to_owned())
        } else if self.registered.len() < all().count() {
            (others(&self.registered), "register the miner".to_owned())
        } else if !self.asked {
            (miner(), "ask for the issue".to_owned())
        } else if sealed(Stage::Onboarding)?.is_none() {
            self.turn_of_work(terms, facts, Stage::Onboarding)
        } else if self.granted.len() < k(terms) {
            (others(&self.granted), "grant the lock".to_owned())
        } else if sealed(Stage::Binding)?.is_none() {
            self.turn_of_work(terms, facts, Stage::Binding)
        } else if self.funded.is_empty() {
            (miner(), "fund the issue".to_owned())
        } else if let Some(lost) = self.lost(terms, facts)? {
            (miner(), lost)
        } else if signed.len() < k(terms) {
            (others(&signed), format!("sign the issue: {} of {} have", signed.len(), k(terms)))
        } else {
            (vec![Seat::Miner], "broadcast the issue; anybody may".to_owned())
        };
        Ok(Turn { by, what })
    }

    /// In words, that something the issue spends is not there to be spent.
    fn lost(&self, terms: &PositionTerms, facts: &Facts) -> Result<Option<String>> {
        for spend in self.draft(terms)?.spends() {
            let outpoint = spend.outpoint;
            if let Some(other) = facts.spender(outpoint) {
                return Ok(Some(format!(
                    "{other} spends {outpoint}, and so the issue cannot: when it lies {} blocks deep, pay for another issue",
                    depth(terms.profile)
                )));
            }
            if !facts.transactions.contains_key(&outpoint.txid) {
                return Ok(Some(format!(
                    "{outpoint}, which pays for the issue, is in no block and does not wait: send it again, or pay for another issue"
                )));
            }
        }
        Ok(None)
    }

    fn turn_of_work(
        &self,
        terms: &PositionTerms,
        facts: &Facts,
        stage: Stage,
    ) -> (Vec<Seat>, String) {
        let (first, last) = (stage.first(terms), stage.last(terms));
        let (until, tip) = (stage.receipts_until(terms), facts.tip());
        let certificates = self.work.get(&stage).map_or(0, |work| work.certificates.len());
        match (certificates, tip) {
            (_, tip) if tip > until => (
                Vec::new(),
                format!("too late for the {stage}: receipts ended at height {until}; begin anew"),
            ),
            (0, tip) if tip < last => {
                let what =
                    format!("mine heights {first} to {last} for the {stage}; the tip is {tip}");
                (vec![Seat::Miner], what)
            }
            (0, _) => {
                let from = stage.judged_from(terms);
                let what = format!(
                    "show the certificate of the {stage}, from height {from} until height {until}"
                );
                (vec![Seat::Miner], what)
            }
            (_, tip) if tip < stage.judged_from(terms) => {
                let judged = stage.judged_from(terms);
                let what = format!(
                    "a block at height {judged}, when the {stage} can be judged; the tip is {tip}"
                );
                (Vec::new(), what)
            }
            _ => {
                let given = |place: &u8| {
                    let work = self.work.get(&stage);
                    work.is_some_and(|w| w.receipts.iter().any(|r| r.validator == *place))
                };
                let count = terms.reward.federation.validators.len();
                let by = (0u8..).take(count).filter(|place| !given(place)).map(Seat::Validator);
                (by.collect(), format!("receipt the {stage}, until height {until}"))
            }
        }
    }
}
