//! What a validator may never take back.
//!
//! The outcome of a position is one number a period: satoshis earned through it, and whether it
//! closes. For the same period it may only rise, with newly receipted evidence; it never falls
//! with the period. A window that seemed failed may turn out not to be, never the other way round.
//! Outpoint, fee and leaf are no part of it. What he is bound to stands in his
//! [journal](crate::flow::journal).

use std::collections::BTreeMap;

use bitcoin::Amount;

use crate::error::{Culprit, Result, Rule};
use crate::flow::escrow::txs::Outcome;

/// What was earned stays earned.
pub const FALLS: Rule = Rule::new(
    "policy-memory-falls",
    "what a validator has said is earned through a period never falls",
    "compare the evidence with that of the first ruling",
);
/// Later periods earn no less.
pub const LATER: Rule = Rule::new(
    "policy-memory-later",
    "what a validator says is earned through a period is no less than what he said of an earlier one",
    "compare the evidence with that of the first ruling",
);
/// What goes on is not closed.
pub const CLOSES: Rule = Rule::new(
    "policy-memory-closes",
    "a contract that a validator has let go on through a period is not closed with that period",
    "compare the evidence with that of the first ruling",
);

/// The outcomes that one validator is bound to.
#[derive(Clone, Debug, Default)]
pub struct Memory(BTreeMap<u32, (Amount, bool)>);

impl Memory {
    /// Refuses an outcome that contradicts what he is bound to.
    pub fn admit(&self, outcome: &Outcome) -> Result<()> {
        for (period, (earned, closed)) in &self.0 {
            let rule = match period.cmp(&outcome.period) {
                core::cmp::Ordering::Less if outcome.earned < *earned => LATER,
                core::cmp::Ordering::Equal if outcome.earned < *earned => FALLS,
                core::cmp::Ordering::Equal if !*closed && outcome.closes => CLOSES,
                // New evidence may raise an earlier period; later ones must then rise with it.
                _ => continue,
            };
            return Err(rule.refuses(
                Culprit::Sender,
                format_args!("outcome through period {}", outcome.period.saturating_add(1)),
                format_args!(
                    "no contradiction to {earned} through period {}, closes: {closed}",
                    period.saturating_add(1)
                ),
                format_args!("{}, closes: {}", outcome.earned, outcome.closes),
            ));
        }
        Ok(())
    }

    /// Binds him to an outcome.
    pub fn remember(&mut self, outcome: &Outcome) {
        let entry = self.0.entry(outcome.period).or_insert((outcome.earned, outcome.closes));
        *entry = (entry.0.max(outcome.earned), entry.1 && outcome.closes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(period: u32, earned: u64, closes: bool) -> Outcome {
        Outcome { period, earned: Amount::from_sat(earned), closes }
    }

    fn memory() -> Memory {
        let mut memory = Memory::default();
        memory.remember(&outcome(3, 500, false));
        memory
    }

    #[test]
    fn the_same_outcome_and_one_with_more_evidence_are_admitted() {
        for earned in [500, 501] {
            assert!(memory().admit(&outcome(3, earned, false)).is_ok());
        }
        assert!(memory().admit(&outcome(4, 500, true)).is_ok());
        assert!(memory().admit(&outcome(2, 500, false)).is_ok());
    }

    #[test]
    fn an_outcome_that_falls_is_refused() {
        for (fallen, rule) in [
            (outcome(3, 499, false), "policy-memory-falls"),
            (outcome(4, 499, true), "policy-memory-later"),
        ] {
            assert_eq!(memory().admit(&fallen).unwrap_err().rule(), rule);
        }
    }

    #[test]
    fn a_close_is_taken_back_by_new_evidence_and_an_open_outcome_is_not_closed() {
        let mut memory = memory();
        let refused = memory.admit(&outcome(3, 500, true)).unwrap_err();
        assert_eq!(refused.rule(), "policy-memory-closes");
        memory.remember(&outcome(5, 500, true));
        assert!(memory.admit(&outcome(5, 530, false)).is_ok());
        memory.remember(&outcome(5, 530, false));
        assert_eq!(
            memory.admit(&outcome(5, 530, true)).unwrap_err().rule(),
            "policy-memory-closes"
        );
    }
}
