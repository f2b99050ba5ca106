//! One contract: its terms, and the flows that are played under them.

use bitcoin::ScriptBuf;

use crate::error::Result;
use crate::facts::Facts;
use crate::headers::{MEDIAN_SPAN, difficulty};
use crate::flow::dispute::state::State as Dispute;
use crate::flow::escrow::state::State as Escrow;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::reward::state::State as Reward;
use crate::flow::{Effect, Event, escrow, reward};
use crate::id::{PositionId, TermsId};
use crate::party::Seat;
use crate::work::verdict::Evidence;

/// Everything that was agreed and said in one contract.
#[derive(Clone, Debug)]
pub struct Contract {
    terms: EscrowTerms,
    id: TermsId,
    scripts: Vec<ScriptBuf>,
    reward: Reward,
    escrow: Escrow,
    dispute: Dispute,
}

impl Contract {
    /// A contract in which nothing was said yet; refused if its terms are.
    pub fn new(terms: EscrowTerms) -> Result<Self> {
        terms.check()?;
        let id = terms.id()?;
        let mut scripts = escrow::coins::scripts(&terms)?;
        scripts.push(reward::coins::lock(&terms.reward)?.script_pubkey);
        Ok(Self {
            terms,
            id,
            scripts,
            reward: Reward::new(PositionId(id.0)),
            escrow: Escrow::default(),
            dispute: Dispute::default(),
        })
    }

    /// What was agreed.
    pub fn terms(&self) -> &EscrowTerms {
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

    /// Refuses an event that the terms, the chain, the evidence or its speaker's seat do not allow.
    pub fn admit(&self, facts: &Facts, from: Seat, event: &Event) -> Result<()> {
        let terms = &self.terms;
        match event {
            Event::Reward(event) => self.reward.admit(terms, facts, from, event),
            Event::Escrow(event) => self.escrow.admit(terms, facts, from, event),
            Event::Dispute(event) => self.dispute.admit(terms, facts, from, event),
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
        }
    }

    /// What `seat` does now. Pure: the same words and facts give the same effects.
    pub fn next(&self, facts: &Facts, seat: Seat) -> Result<Vec<Effect>> {
        let mut effects = self.reward.next(&self.terms, facts, seat)?;
        effects.extend(self.escrow.next(&self.terms, facts, self.evidence(), seat)?);
        effects.extend(self.dispute.next(&self.terms, facts, self.evidence(), seat)?);
        Ok(effects)
    }

    /// The scripts whose transactions make the contract's facts.
    pub fn scripts(&self) -> &[ScriptBuf] {
        &self.scripts
    }

    /// The scripts that are watched: the locks, and where the miner is paid, beside which he proves
    /// digests.
    pub fn watched(&self) -> Vec<ScriptBuf> {
        let miner = self.terms.reward.miner.payout_script();
        self.scripts.iter().cloned().chain([miner]).collect()
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
