//! What the holder asks validators with: a whole sale, signed by everybody but them.

use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::error::{Culprit, Result, Rule};
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::sale::consent::Consent;
use crate::flow::sale::terms::{Acceptance, Guard, Offer, Resale};
use crate::id::{WordId, tagged_hash};

/// A resale of this contract, left to validators.
pub const LEFT: Rule = Rule::new(
    "resale-left",
    "a request takes over the contract in which it is said, and leaves the miner's signature to validators",
    "offer again: name this contract, and the validators as guard of the notice",
);

/// A sale that waits for validators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The holder's offer.
    pub offer: Offer,
    /// The buyer's acceptance.
    pub acceptance: Acceptance,
    /// The holder's signatures: of the seal and, with the validators, of the escrow.
    pub seller: Consent,
    /// The buyer's signatures of his coins.
    pub buyer: Consent,
}

impl Request {
    /// Names the request by what is sold to whom; validators' receipts name this. Signatures are no
    /// part of it: they make no other transaction.
    pub fn id(&self) -> Result<WordId> {
        asked(self.offer.offer.id()?, self.acceptance.acceptance.id()?)
    }

    /// What is taken over from `contract`; refused if that is another one, or the miner's to sign.
    pub fn left(&self, contract: &EscrowTerms) -> Result<&Resale> {
        let refuse = |expected: &dyn core::fmt::Display, found: &dyn core::fmt::Display| {
            Err(LEFT.refuses(Culprit::Holder, "request", expected, found))
        };
        let Some(resale) = &self.offer.offer.resale else {
            return refuse(&"a resale", &"the sale of a position that nobody has bought yet");
        };
        if resale.guard != Guard::Validators {
            return refuse(&"validators as guard of the notice", &"the miner");
        }
        if resale.contract != *contract {
            return refuse(&contract.id()?, &resale.contract.id()?);
        }
        Ok(resale)
    }
}

/// Names the request for the resale of an offer and its acceptance.
pub fn asked(offer: WordId, acceptance: WordId) -> Result<WordId> {
    Ok(WordId(tagged_hash("hashmix/resale/1", &[&canonical::bytes(&(offer, acceptance))?])))
}

/// Height from which validators sign what was asked at `opened`.
pub fn heard_from(terms: &EscrowTerms, opened: u32) -> u32 {
    opened.saturating_add(terms.delays.answer)
}
