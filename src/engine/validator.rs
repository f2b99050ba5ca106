//! What a validator's engine does beside everybody's: it asks several sources, judges by the policy,
//! enters what it signs in its journal, and gives receipts.

use bitcoin::secp256k1::schnorr;
use bitcoin::{OutPoint, ScriptBuf};

use crate::chain::view::Source;
use crate::engine::{Engine, POSSIBLE, Report, SEAT};
use crate::error::{Error, Result};
use crate::facts::{Facts, View};
use crate::flow::{Event, Task, dispute, journal, resale, reward};
use crate::header_sync::GuardedChain;
use crate::party::Seat;
use crate::policy::outputs::VIEWS;
use crate::policy::{self, Case, Stage, Warrant};
use crate::store::Store;
use crate::tx::rebuilt::Rebuilt;
use crate::work::receipt::{self, Receipt, Subject};

impl Engine {
    /// Whatever a validator says rests on the chain, receipts too: his sources must show one. Those
    /// that do not answer are passed over as long as enough are left.
    pub(super) fn check_sources(&self, facts: &Facts) -> Result<()> {
        if !matches!(self.seat, Seat::Validator(_)) {
            return Ok(());
        }
        let (views, silent) = self.views(facts, &[])?;
        enough(policy::outputs::agree(facts, &views), silent)
    }

    /// The chain as it is now, as every source shows it.
    pub(crate) fn agreed_facts(&mut self) -> Result<Facts> {
        let facts = self.facts()?;
        self.check_sources(&facts)?;
        Ok(facts)
    }

    /// A party signs what its flow demands; a validator signs what the policy has let pass.
    pub(super) fn sign_by_policy(
        &self,
        draft: &Rebuilt,
        task: &Task,
        facts: &Facts,
    ) -> Result<Vec<schnorr::Signature>> {
        let Seat::Validator(place) = self.seat else {
            return self.sign(draft.spends(), &|spend| draft.sighash(spend));
        };
        let warrant = self.warrant(place, task, Stage::Sign, facts)?;
        let draft = warrant.draft();
        self.sign(draft.spends(), &|spend| draft.sighash(spend))
    }

    /// Judges by our own registry, keys and ways to the chain what we are about to sign.
    fn warrant(&self, place: u8, task: &Task, stage: Stage, facts: &Facts) -> Result<Warrant> {
        let outpoints = policy::outpoints(&self.contract, task);
        let (views, silent) = self.views(facts, &outpoints)?;
        let keys = self.signer.keys();
        let case = Case {
            contract: &self.contract,
            facts,
            views: &views,
            place,
            keys: policy::seat::OwnKeys {
                musig: &keys.musig,
                leaf: &keys.leaf,
                exit: &keys.exit,
                communication: keys.communication,
            },
        };
        enough(policy::judge(&case, self.contract.id(), task, stage), silent)
    }

    /// What our own server and every other source says of some outputs, and why one says nothing.
    fn views(&self, facts: &Facts, outpoints: &[OutPoint]) -> Result<(Vec<View>, Option<Error>)> {
        let (scripts, first) = (self.contract.watched(), self.contract.headers_from());
        let own = View::of_server(self.chain.electrum().place(), facts, outpoints)?;
        views(own, &self.sources, &scripts, first, outpoints)
    }

    /// The journal's next entry, for a bond that the policy lets pass.
    pub(super) fn enter(&self, bond: &journal::Bond, task: &Task, facts: &Facts) -> Result<Event> {
        let Seat::Validator(place) = self.seat else {
            return Err(SEAT.broken("journal", "a validator", self.seat));
        };
        let warrant = self.warrant(place, task, Stage::Enter, facts)?;
        if warrant.bond() != bond {
            let (ours, asked) = (format!("{:?}", warrant.bond()), format!("{bond:?}"));
            return Err(journal::ENTERED.broken("journal", ours, asked));
        }
        let (number, previous) = self.contract.journals().head(place);
        let digest = journal::digest(self.contract.id(), place, number, previous, bond)?;
        let signature = self.signer.sign_digest(digest.0)?;
        let tip = facts.headers.hash(facts.tip());
        let tip = tip.ok_or_else(|| POSSIBLE.broken("journal", "a tip", "none"))?;
        let entry = journal::Entry { number, previous, bond: *bond, signature };
        Ok(Event::Journal(journal::Event::Entered { entry, tip }))
    }

    /// A receipt for the subject, naming the present tip.
    pub(crate) fn receipt(&self, subject: Subject, facts: &Facts) -> Result<Event> {
        let Seat::Validator(validator) = self.seat else {
            return Err(SEAT.broken("receipt", "a validator", self.seat));
        };
        let position = self.contract.terms().position()?;
        let tip = facts.headers.hash(facts.tip());
        let tip = tip.ok_or_else(|| POSSIBLE.broken("receipt", "a tip", "none"))?;
        let message = receipt::message(position, &subject, tip);
        let signature = self.signer.sign_digest(*message.as_ref())?;
        let receipt = Receipt { validator, position, subject, tip, signature };
        Ok(match subject {
            Subject::Certificate { .. } | Subject::Request { .. } => {
                Event::Reward(reward::state::Event::Receipted(receipt))
            }
            Subject::Resale { .. } => Event::Resale(resale::state::Event::Receipted(receipt)),
            _ => Event::Dispute(dispute::state::Event::Receipted(receipt)),
        })
    }
}

fn views(
    own: View,
    sources: &[Source],
    scripts: &[ScriptBuf],
    headers_from: u32,
    outpoints: &[OutPoint],
) -> Result<(Vec<View>, Option<Error>)> {
    let (mut views, mut silent) = (vec![own], None);
    for source in sources {
        match source.view(scripts, headers_from, outpoints) {
            Ok(view) => views.push(view),
            Err(error @ Error::Unavailable(_)) => silent = Some(error),
            Err(error) => return Err(error),
        }
    }
    Ok((views, silent))
}

/// The chain as it is now, as every source shows it, where nobody sits at a contract yet: as far as the
/// histories of `scripts` go, with headers from height `headers_from`.
pub(crate) fn agreed(
    chain: &mut GuardedChain,
    sources: &[Source],
    store: &mut Store,
    scripts: &[ScriptBuf],
    headers_from: u32,
) -> Result<Facts> {
    let facts = chain.facts(store, scripts, headers_from)?;
    let own = View::of_server(chain.electrum().place(), &facts, &[])?;
    let (views, silent) = views(own, sources, scripts, headers_from, &[])?;
    enough(policy::outputs::agree(&facts, &views), silent)?;
    Ok(facts)
}

/// What is not signed now is reported and asked again at the next step; a fault of ours stops us.
pub(super) fn declined(error: Error) -> Result<Report> {
    match error {
        Error::Refused { .. } | Error::Unavailable(_) => {
            Ok(Report::Refused(error.fault().place.clone(), error))
        }
        other => Err(other),
    }
}

/// Where too few sources are left, the one that is silent is named.
fn enough<T>(judged: Result<T>, silent: Option<Error>) -> Result<T> {
    match (judged, silent) {
        (Err(error), Some(silent)) if error.rule() == VIEWS.id => Err(silent),
        (judged, _) => judged,
    }
}
