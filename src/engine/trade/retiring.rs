//! What a position still has before it, when its holder is about to end it.
//!
//! | the term | the escrow that came with the seal | he retires |
//! |---|---|---|
//! | is over | is spent in a block, or there is none | the seal |
//! | is not | | nothing, unless he insists: nobody could ever buy the rest |
//! | | is open | nothing, unless he insists: whoever reads the dossier takes it for ended |
//!
//! A retirement cannot be taken back, and differs from a withdrawal by one word.

use core::fmt;

use bitcoin::Amount;

use super::Trader;
use crate::error::{Result, Rule};
use crate::flow::contract::Contract;
use crate::flow::escrow::coins::Progress;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::position::terms::PositionTerms;

/// A position ends after its term.
pub const RETIRE: Rule = Rule::new(
    "sale-retire",
    "a seal is retired from the term's last block on, once a block has ended the escrow that came with it",
    "to void offers, use `hashmix sale withdraw`; to end the position for ever all the same, add --anyway",
);

/// What is left of a position.
#[derive(Clone, Debug)]
pub struct Remaining {
    /// Height of the chain's tip.
    pub tip: u32,
    /// The term's last block.
    pub last: u32,
    /// How the escrow stands that came with the seal; none if nothing was bought.
    pub escrow: Option<Progress>,
}

impl Remaining {
    /// Refuses to end what is not over.
    pub fn check(&self) -> Result<()> {
        if self.tip >= self.last && self.locked().is_none() {
            return Ok(());
        }
        let expected = format_args!("a tip from height {} on, and no open escrow", self.last);
        Err(RETIRE.misused("position", expected.to_string(), self))
    }

    /// What the escrow holds, until a block ends it.
    fn locked(&self) -> Option<Locked> {
        match &self.escrow {
            None | Some(Progress::Ended { height: Some(_), .. }) => None,
            Some(Progress::Open(coin)) => Some(Locked::Open(coin.value)),
            Some(Progress::Unfunded | Progress::Ended { .. }) => Some(Locked::Undecided),
        }
    }
}

/// How an escrow is not over.
enum Locked {
    Open(Amount),
    /// What ends it, or what funds it, is in no block.
    Undecided,
}

impl fmt::Display for Remaining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tip, last, .. } = self;
        match last.saturating_sub(*tip) {
            0 => write!(f, "the term over since height {last}")?,
            left => write!(f, "a tip at height {tip}, {left} blocks of the term left")?,
        }
        match (&self.escrow, self.locked()) {
            (None, _) => f.write_str(", no escrow"),
            (Some(_), None) => f.write_str(", the escrow ended"),
            (Some(_), Some(Locked::Open(value))) => {
                write!(f, ", {} sat in the escrow", value.to_sat())
            }
            (Some(_), Some(Locked::Undecided)) => {
                f.write_str(", an escrow that no block has ended")
            }
        }
    }
}

impl Trader {
    /// What is left of a position, with the contract that came with its seal, as the chain says now.
    pub fn remaining(
        &mut self,
        terms: &PositionTerms,
        contract: Option<&EscrowTerms>,
    ) -> Result<Remaining> {
        let last = terms.contract(Amount::ZERO).calendar().end();
        let (tip, escrow) = match contract {
            None => (self.chain.electrum().tip()?.0, None),
            Some(contract) => {
                let watched = Contract::new(contract.clone())?;
                let facts = self.contract_facts(&watched)?;
                (facts.tip(), Some(watched.locked().progress(&facts)?))
            }
        };
        Ok(Remaining { tip, last, escrow })
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::Txid;
    use bitcoin::hashes::Hash;

    use super::*;

    fn ended(height: Option<u32>) -> Option<Progress> {
        Some(Progress::Ended { by: Txid::all_zeros(), height })
    }

    #[test]
    fn a_position_is_retired_from_its_last_block_on() {
        let told = |tip| Remaining { tip, last: 275, escrow: None }.check();
        assert_eq!(told(275), Ok(()));
        assert_eq!(told(300), Ok(()));
        let error = told(274).unwrap_err();
        assert_eq!(error.rule(), "sale-retire");
        assert!(error.fault().found.contains("height 274, 1 blocks"), "{error}");
    }

    #[test]
    fn a_position_is_retired_once_a_block_has_ended_its_escrow() {
        let told = |escrow| Remaining { tip: 276, last: 275, escrow }.check();
        assert_eq!(told(ended(Some(276))), Ok(()));
        for escrow in [ended(None), Some(Progress::Unfunded)] {
            let error = told(escrow).unwrap_err();
            assert_eq!(error.rule(), "sale-retire");
            assert!(error.fault().found.contains("no block has ended"), "{error}");
        }
    }
}
