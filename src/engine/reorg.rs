//! What the chain took back since we looked last, told; our payments, sent again if it lost them;
//! and what was sent without an answer, told once the chain shows it.

use std::collections::BTreeMap;

use bitcoin::{Transaction, Txid};

use crate::engine::{Engine, Report, Sent, passing};
use crate::error::{Error, Result};
use crate::facts::{Facts, Mined, departures};
use crate::flow::escrow::coins::Progress;
use crate::flow::escrow::outcome::proof_script;
use crate::id::CertificateDigest;

/// A payment that we signed: it is sent until a block or the mempool holds it.
#[derive(Debug)]
pub(super) struct Payment {
    pub(super) kind: &'static str,
    pub(super) tx: Transaction,
}

/// Whether a transaction holds the proof of a certificate.
pub(super) fn proves(tx: &Transaction, digest: CertificateDigest) -> bool {
    let script = proof_script(digest);
    tx.output.iter().any(|output| output.script_pubkey == script)
}

impl Engine {
    /// Reports reorgs and what left its block, and remembers what blocks hold now.
    pub(super) fn look_back(&mut self, facts: &Facts, reports: &mut Vec<Report>) -> Result<()> {
        reports.extend(self.chain.take_reorgs().into_iter().map(Report::Reorganised));
        let departed = departures(&self.seen, facts);
        let gone: Vec<Txid> = departed.iter().map(|departure| departure.txid).collect();
        let came: BTreeMap<Txid, Mined> = facts
            .transactions
            .iter()
            .filter_map(|(txid, seen)| {
                let height = seen.height?;
                let block = self.chain.active(height)?;
                let known = self.seen.get(txid).is_some_and(|mined| mined.block == block);
                (!known).then(|| (*txid, Mined { tx: seen.tx.clone(), height, block }))
            })
            .collect();
        if !came.is_empty() || !gone.is_empty() {
            self.store.note_seen(&self.contract.id().0, &came, &gone)?;
        }
        for txid in &gone {
            self.seen.remove(txid);
        }
        self.seen.extend(came);
        reports.extend(departed.into_iter().map(Report::Departed));
        Ok(())
    }

    /// Sends again what we paid and the chain does not hold: after a crash between commit and
    /// broadcast, after a reorg, after a mempool that forgot. But only while it still serves its
    /// purpose: a sale that came after the term began would be a gift.
    pub(super) fn pay_again(&mut self, facts: &Facts, reports: &mut Vec<Report>) -> Result<()> {
        for Payment { kind, tx } in &self.payments {
            if facts.transactions.contains_key(&tx.compute_txid())
                || !self.is_wanted(kind, tx, facts)?
            {
                continue;
            }
            if let Some(error) = passing(self.chain.electrum().broadcast(tx))? {
                reports.push(Report::Refused((*kind).to_owned(), error));
            }
        }
        Ok(())
    }

    fn is_wanted(&self, kind: &str, tx: &Transaction, facts: &Facts) -> Result<bool> {
        let terms = self.contract.locked();
        if kind == super::FUNDING {
            let unfunded = matches!(terms.progress(facts)?, Progress::Unfunded);
            return Ok(unfunded && facts.tip() < terms.calendar().begin());
        }
        let mut said = self.contract.evidence().digests();
        let slice = said.find(|(digest, _)| proves(tx, *digest));
        let until =
            slice.and_then(|(_, sealed)| terms.calendar().proofs_until(sealed.certificate.slice));
        Ok(until.is_some_and(|until| facts.tip() < until))
    }

    /// Broadcasts, and keeps in mind what got no answer.
    pub(super) fn send(&mut self, sent: &Sent) -> Result<()> {
        let outcome = self.chain.electrum().broadcast(&sent.tx);
        let txid = sent.tx.compute_txid();
        match &outcome {
            Err(Error::Unavailable(_)) => {
                self.unanswered.entry(txid).or_insert_with(|| sent.clone());
            }
            _ => {
                self.unanswered.remove(&txid);
            }
        }
        outcome.map(|_| ())
    }

    /// What got no answer and is with the network now was sent.
    pub(super) fn tell_arrivals(&mut self, facts: &Facts, reports: &mut Vec<Report>) {
        let arrived = |txid: &Txid| facts.transactions.contains_key(txid);
        let there: Vec<Txid> =
            self.unanswered.keys().filter(|txid| arrived(txid)).copied().collect();
        let told = there.iter().filter_map(|txid| self.unanswered.remove(txid));
        reports.extend(told.map(Report::Sent));
    }
}
