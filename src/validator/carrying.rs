//! What a contract of a position has proven is brought into those after it, where a desk has both.
//!
//! Anybody may carry over what validators have sealed; a buyer who does not think of it would find his
//! first window empty, and a miner what he has delivered gone. So each validator does it by himself, at
//! every step, until the later escrow is over. He says what is new there and nothing else.

use super::desk::Desk;
use crate::error::Result;
use crate::facts::Facts;
use crate::flow::escrow::coins::Progress;
use crate::id::TermsId;
use crate::work::evidence::Evidence;

impl Desk {
    /// Brings into a contract what those before it at this desk have proven; answers with the number of
    /// words.
    ///
    /// One in trouble keeps no other waiting.
    pub(super) fn carry(&mut self, id: TermsId) -> Result<usize> {
        let before = self.before(id);
        if before.is_empty() {
            return Ok(0);
        }
        let later = self.engine(id)?;
        let facts = later.facts()?;
        if let Progress::Ended { .. } = later.contract().locked().progress(&facts)? {
            return Ok(0);
        }
        let (mut words, mut trouble) = (0usize, Ok(()));
        for before in before {
            match self.carry_from(before, id, &facts) {
                Ok(count) => words = words.saturating_add(count),
                Err(error) => trouble = trouble.and(Err(error)),
            }
        }
        // What was said asks for another step.
        if words > 0 { Ok(words) } else { trouble.map(|()| 0) }
    }

    /// The contracts at this desk that come before this one: of the same position, by its id and its
    /// terms, with a lower number of transfer.
    fn before(&self, id: TermsId) -> Vec<TermsId> {
        let Some(after) = self.sittings.get(&id) else { return Vec::new() };
        let Some(tenure) = &after.registration.terms.tenure else { return Vec::new() };
        let earlier = self.sittings.iter().filter(|(_, sitting)| {
            let theirs = sitting.registration.terms.tenure.as_ref();
            sitting.counted.position == after.counted.position
                && theirs.is_some_and(|theirs| {
                    theirs.position == tenure.position && theirs.transfer < tenure.transfer
                })
                // What no holder before has held proves nothing of what this contract pays for.
                && after.counted.earlier.contains(&sitting.counted.lock)
        });
        earlier.map(|(id, _)| *id).collect()
    }

    fn carry_from(&mut self, before: TermsId, id: TermsId, facts: &Facts) -> Result<usize> {
        // One that cannot be opened tells why at its own step.
        if self.engine(before).is_err() {
            return Ok(0);
        }
        let taken = self.sittings.get_mut(&before).and_then(|sitting| sitting.engine.take());
        let Some(earlier) = taken else { return Ok(0) };
        let carried = self.carry_evidence(earlier.contract().evidence(), id, facts);
        if let Some(sitting) = self.sittings.get_mut(&before) {
            sitting.engine = Some(earlier);
        }
        carried
    }

    fn carry_evidence(&mut self, evidence: &Evidence, id: TermsId, facts: &Facts) -> Result<usize> {
        let later = self.engine(id)?;
        let contract = later.contract();
        if contract.reward().to_carry(contract.terms(), facts, evidence).is_empty() {
            return Ok(0);
        }
        later.carry(evidence)
    }
}
