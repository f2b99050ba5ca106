//! One contract: its terms, and the flows that are played under them.

use bitcoin::ScriptBuf;

use crate::error::Result;
use crate::facts::Facts;
use crate::flow::dispute::state::State as Dispute;
use crate::flow::escrow::coins::Locked;
use crate::flow::escrow::state::State as Escrow;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::escrow::txs::Outcome;
use crate::flow::journal::{self, State as Journals};
use crate::flow::resale::state::State as Resales;
use crate::flow::reward::state::State as Reward;
use crate::flow::{Effect, Event, reward};
use crate::headers::{MEDIAN_SPAN, difficulty};
use crate::id::TermsId;
use crate::party::Seat;
use crate::work::evidence::Evidence;

/// Everything that was agreed and said in one contract.
#[derive(Clone, Debug)]
pub struct Contract {
    terms: Locked,
    id: TermsId,
    scripts: Vec<ScriptBuf>,
    reward: Reward,
    escrow: Escrow,
    dispute: Dispute,
    journals: Journals,
    resales: Resales,
}

impl Contract {
    /// A contract in which nothing was said yet; refused if its terms are.
    pub fn new(terms: EscrowTerms) -> Result<Self> {
        terms.check()?;
        let id = terms.id()?;
        let terms = Locked::new(terms)?;
        let mut scripts: Vec<ScriptBuf> = terms.scripts().cloned().collect();
        scripts.push(reward::coins::lock(&terms.reward)?.script_pubkey);
        let reward = Reward::new(&terms)?;
        Ok(Self {
            terms,
            id,
            scripts,
            reward,
            escrow: Escrow::default(),
            dispute: Dispute::default(),
            journals: Journals::new(id),
            resales: Resales::default(),
        })
    }

    /// What was agreed.
    pub fn terms(&self) -> &EscrowTerms {
        &self.terms
    }

    /// What was agreed, with the escrow's locks at hand.
    pub fn locked(&self) -> &Locked {
        &self.terms
    }

    /// The id of the terms.
    pub fn id(&self) -> TermsId {
        self.id
    }

    /// Certificates and receipts.
    pub fn evidence(&self) -> &Evidence {
        self.reward.evidence()
    }

    /// Words of the escrow flow.
    pub fn escrow(&self) -> &Escrow {
        &self.escrow
    }

    /// Words of the reward flow.
    pub fn reward(&self) -> &Reward {
        &self.reward
    }

    /// Words of the dispute flow.
    pub fn dispute(&self) -> &Dispute {
        &self.dispute
    }

    /// What validators have bound themselves to.
    pub fn journals(&self) -> &Journals {
        &self.journals
    }

    /// Resales that validators were asked to sign.
    pub fn resales(&self) -> &Resales {
        &self.resales
    }

    /// What our own evidence says through a period, with the states that the holder has signed on the
    /// escrow's present output: what a ruling on it, or a resale, has to say.
    pub fn just(&self, facts: &Facts, period: u32) -> Result<Outcome> {
        self.dispute.bounded(&self.terms, facts, self.evidence(), period)
    }

    /// Refuses an event that the terms, the chain, the evidence or its speaker's seat do not allow.
    pub fn admit(&self, facts: &Facts, from: Seat, event: &Event) -> Result<()> {
        let terms = &self.terms;
        match event {
            Event::Reward(event) => self.reward.admit(terms, facts, from, event),
            Event::Escrow(event) => self.escrow.admit(terms, facts, from, event),
            Event::Dispute(event) => self.dispute.admit(terms, facts, from, event),
            Event::Journal(event) => self.journals.admit(terms, from, event),
            Event::Resale(event) => self.resales.admit(terms, facts, from, event),
        }
    }

    /// Takes an event that was admitted. Replaying the same events gives the same contract.
    pub fn apply(&mut self, from: Seat, event: &Event) -> Result<()> {
        match event {
            Event::Reward(event) => self.reward.apply(from, event),
            Event::Escrow(event) => {
                self.escrow.apply(from, event);
                Ok(())
            }
            Event::Dispute(event) => self.dispute.apply(from, event),
            Event::Journal(event) => self.journals.apply(from, event),
            Event::Resale(event) => self.resales.apply(from, event),
        }
    }

    /// What `seat` does now. Pure: the same words and facts give the same effects.
    pub fn next(&self, facts: &Facts, seat: Seat) -> Result<Vec<Effect>> {
        let mut effects = self.reward.next(&self.terms, facts, seat)?;
        effects.extend(self.escrow.next(&self.terms, facts, self.evidence(), seat)?);
        effects.extend(self.dispute.next(&self.terms, facts, self.evidence(), seat)?);
        let just = |period| self.just(facts, period);
        effects.extend(self.resales.next(&self.terms, facts, &just, seat)?);
        if let Seat::Validator(place) = seat {
            effects = effects.into_iter().map(|effect| self.bound(facts, place, effect)).collect();
            effects.extend(self.journals.next(place));
        }
        Ok(effects)
    }

    /// A validator signs what stands in his journal and is held by others: before, he enters it.
    fn bound(&self, facts: &Facts, place: u8, effect: Effect) -> Effect {
        let Effect::Sign { draft, task } = effect else { return effect };
        let Some(bond) = task.bond(&draft) else { return Effect::Sign { draft, task } };
        let k = usize::from(self.terms.reward.federation.threshold);
        match self.journals.admit_signature(place, &bond, k) {
            Ok(()) => Effect::Sign { draft, task },
            Err(error) if error.rule() == journal::ENTERED.id => {
                match self.journals.admit_bond(place, &bond) {
                    Ok(()) => Effect::Enter { draft, bond, task },
                    Err(error) => Effect::Decline(error),
                }
            }
            Err(error) if error.rule() == journal::HELD.id => {
                let tip = facts.headers.hash(facts.tip());
                match (self.journals.to_ask(facts, place, &bond), tip) {
                    (Some(entry), Some(tip)) => {
                        Effect::Say(Event::Journal(journal::Event::Entered { entry, tip }))
                    }
                    _ => Effect::Wait {
                        until: facts.tip().saturating_add(1),
                        why: "other validators hold what is entered".to_owned(),
                    },
                }
            }
            Err(error) => Effect::Decline(error),
        }
    }

    /// The scripts whose transactions make the contract's facts.
    pub fn scripts(&self) -> &[ScriptBuf] {
        &self.scripts
    }

    /// The scripts that are watched: the locks, and where the miner is paid, beside which he proves
    /// digests; and what resales that were asked for would spend.
    pub fn watched(&self) -> Vec<ScriptBuf> {
        let miner = self.terms.reward.miner.payout_script();
        let mut scripts: Vec<ScriptBuf> = self.scripts.iter().cloned().chain([miner]).collect();
        for script in self.resales.watched() {
            if !scripts.contains(script) {
                scripts.push(script.clone());
            }
        }
        scripts
    }

    /// First height whose header the contract's facts need: median-time-past of the block before
    /// the term looks eleven blocks back, and the first change of difficulty in the term looks back
    /// to the first block of its span.
    pub fn headers_from(&self) -> u32 {
        let first = self.terms.delivery.start.saturating_sub(MEDIAN_SPAN.saturating_add(1));
        let params = self.terms.reward.network.params();
        if params.no_pow_retargeting {
            return first;
        }
        first.saturating_sub(first.checked_rem(difficulty::span(params)).unwrap_or(0))
    }
}
