//! What pays for the issue, and what has paid for issues before it that can be in no block any more.

use std::collections::BTreeMap;

use bitcoin::secp256k1::schnorr;
use bitcoin::{OutPoint, ScriptBuf, Txid};

use super::{AGAIN, ORDER, State, together, watched};
use crate::error::{Culprit, Result, Rule};
use crate::facts::Facts;
use crate::flow::position::dead::Dead;
use crate::flow::position::terms::PositionTerms;
use crate::flow::position::txs::{self, Funding};
use crate::headers::Headers;
use crate::party::Seat;
use crate::tx::draft::Draft;
use crate::tx::signed::Signed;

/// Each position of a batch is judged.
pub const JUDGED: Rule = Rule::new(
    "position-issue-work",
    "a validator signs an issue when he has judged the work of each of its positions",
    "let him attest the dossiers of the other positions first",
);
/// Each position of a batch is in it by its own miner's word.
pub const TOGETHER: Rule = Rule::new(
    "position-issue-together",
    "a validator signs the issue of a batch when he has taken the same funding word, with the same batch, of each of its positions' miners",
    "say the same funding at every position of the batch, and let him attest their dossiers",
);

/// Most fundings of a position, those of dead issues included.
pub(super) const MOST_FUNDINGS: usize = 8;

/// What the miner has paid for an issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paid {
    /// With what.
    pub funding: Funding,
    /// All positions of the issue; empty if it is alone.
    pub batch: Vec<PositionTerms>,
    /// Why the issue before it can be in no block; `None` of the first one.
    pub instead: Option<Dead>,
}

impl Paid {
    /// The issue that it pays for.
    pub fn draft(&self, terms: &PositionTerms) -> Result<Draft> {
        txs::issue(together(terms, &self.batch), self.funding)
    }
}

impl State {
    /// What was paid, the last for the issue that may be signed now.
    pub fn paid(&self) -> &[Paid] {
        &self.funded
    }

    /// The positions of the issue, this one among them.
    pub fn batch<'a>(&'a self, terms: &'a PositionTerms) -> &'a [PositionTerms] {
        together(terms, self.funded.last().map_or(&[], |paid| paid.batch.as_slice()))
    }

    /// What pays for the issue.
    pub fn funding(&self) -> Option<Funding> {
        self.funded.last().map(|paid| paid.funding)
    }

    /// The issue, rebuilt from the terms and the funding.
    pub fn draft(&self, terms: &PositionTerms) -> Result<Draft> {
        let paid = self.funded.last();
        paid.ok_or_else(|| ORDER.refuses(Culprit::Miner, "issue", "the miner's funding", "none"))?
            .draft(terms)
    }

    /// The transactions of issues that were paid for before, and which nobody can confirm any more.
    pub fn dead(&self) -> impl Iterator<Item = Txid> {
        self.proofs().map(|dead| dead.issue)
    }

    /// The outputs whose spends exclude the issues before.
    pub fn excluding(&self) -> impl Iterator<Item = OutPoint> {
        self.proofs().map(|dead| dead.outpoint)
    }

    fn proofs(&self) -> impl Iterator<Item = &Dead> {
        self.funded.iter().filter_map(|paid| paid.instead.as_ref())
    }

    /// The scripts whose histories tell all that is asked of the chain, about every issue that was paid
    /// for.
    pub fn watched(&self, terms: &PositionTerms) -> Result<Vec<ScriptBuf>> {
        let mut all = watched(core::slice::from_ref(terms), None)?;
        let mut add = |scripts: Vec<ScriptBuf>| {
            for script in scripts {
                if !all.contains(&script) {
                    all.push(script);
                }
            }
        };
        for paid in &self.funded {
            add(watched(together(terms, &paid.batch), Some(paid.funding))?);
            add(paid.instead.iter().map(|dead| dead.script.clone()).collect());
        }
        Ok(all)
    }

    pub(super) fn admit_funding(
        &self,
        terms: &PositionTerms,
        facts: &Facts,
        paid: &Paid,
    ) -> Result<()> {
        let (place, found) = ("funding of the issue", paid.funding.outpoint);
        match (self.funded.last(), &paid.instead) {
            (None, None) => {}
            (None, Some(_)) => {
                let expected = "the funding before it";
                return Err(ORDER.refuses(Culprit::Miner, place, expected, "none"));
            }
            (Some(known), None) => {
                return Err(AGAIN.refuses(Culprit::Miner, place, known.funding.outpoint, found));
            }
            (Some(_), Some(_)) if self.funded.len() >= MOST_FUNDINGS => {
                let expected = format_args!("at most {MOST_FUNDINGS} fundings").to_string();
                return Err(AGAIN.refuses(Culprit::Miner, place, expected, "another one"));
            }
            (Some(known), Some(dead)) => {
                dead.check(&known.draft(terms)?, terms.profile, facts)?;
            }
        }
        if !paid.batch.is_empty() && !paid.batch.contains(terms) {
            let expected = "this position among the others";
            return Err(txs::BATCH.refuses(Culprit::Miner, "funding", expected, "only others"));
        }
        for one in &paid.batch {
            one.check()?;
        }
        let txid = paid.draft(terms)?.txid();
        for known in &self.funded {
            if known.draft(terms)?.txid() == txid {
                return Err(AGAIN.refuses(Culprit::Miner, place, "another issue", txid));
            }
        }
        Ok(())
    }

    /// Whether everything that was paid for before is dead on this chain still: what a reorg brought
    /// back to life forbids the issue that came instead.
    pub(super) fn check_dead(&self, terms: &PositionTerms, facts: &Facts) -> Result<()> {
        for (before, paid) in self.funded.iter().zip(self.funded.iter().skip(1)) {
            if let Some(dead) = &paid.instead {
                dead.check(&before.draft(terms)?, terms.profile, facts)?;
            }
        }
        Ok(())
    }

    /// Refuses to sign for another position of the batch, by what was said there: its work is judged, and
    /// its miner has said that he is in it. Nobody's position, and nobody's money, goes into a batch by
    /// the word of somebody else.
    pub fn check_beside(
        &self,
        terms: &PositionTerms,
        other: &PositionTerms,
        state: &State,
        headers: &Headers,
    ) -> Result<()> {
        let place = format!("position {}", other.id()?);
        if !state.proven(other, headers)? {
            return Err(JUDGED.unavailable(place, "its work, judged", "not yet"));
        }
        let said = state.funding().map(|funding| (funding, state.batch(other)));
        if said == self.funding().map(|funding| (funding, self.batch(terms))) {
            return Ok(());
        }
        let found = match said {
            Some((funding, all)) => {
                format!("funding {} of {} positions", funding.outpoint, all.len())
            }
            None => "no funding yet".to_owned(),
        };
        let expected = "its miner's word of the same funding and batch";
        Err(TOGETHER.unavailable(place, expected, found))
    }

    /// The signatures of the issue that may be signed now, by validators' places.
    pub(super) fn signatures(
        &self,
        terms: &PositionTerms,
    ) -> Result<BTreeMap<u8, Vec<schnorr::Signature>>> {
        let mut found = BTreeMap::new();
        if self.signed.is_empty() {
            return Ok(found);
        }
        for (place, several) in &self.signed {
            // Each was admitted with one of the issues; with the only one, if there is but one.
            let of_this = |given: &&Vec<schnorr::Signature>| {
                let add = |draft| Signed::new(draft).add(Seat::Validator(*place), given);
                self.funded.len() == 1 || self.draft(terms).and_then(add).is_ok()
            };
            if let Some(given) = several.iter().find(of_this) {
                found.insert(*place, given.clone());
            }
        }
        Ok(found)
    }

    /// Refuses signatures that are of no issue that was paid for. Those of a dead one are words of the
    /// dossier like others.
    pub(super) fn admit_signatures(
        &self,
        terms: &PositionTerms,
        from: Seat,
        signatures: &[schnorr::Signature],
    ) -> Result<()> {
        let mut refused = None;
        for paid in self.funded.iter().rev() {
            match Signed::new(paid.draft(terms)?).add(from, signatures) {
                Ok(()) => return Ok(()),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        refused.map_or_else(|| self.draft(terms).map(|_| ()), Err)
    }

    /// The transaction that has issued the position, and its height if it is in a block.
    pub fn issued(
        &self,
        terms: &PositionTerms,
        facts: &Facts,
    ) -> Result<Option<(Txid, Option<u32>)>> {
        let issue = self.issue_seen(terms, facts)?;
        Ok(issue.map(|(_, txid, height)| (txid, height)))
    }

    /// The same, with what paid for it.
    pub fn issue_seen(
        &self,
        terms: &PositionTerms,
        facts: &Facts,
    ) -> Result<Option<(&Paid, Txid, Option<u32>)>> {
        for paid in self.funded.iter().rev() {
            let txid = paid.draft(terms)?.txid();
            if let Some(seen) = facts.transactions.get(&txid) {
                return Ok(Some((paid, txid, seen.height)));
            }
        }
        Ok(None)
    }
}
