//! A sale in progress: what was said, whose turn it is, what the chain says of it. See the tables in
//! [`sale`](crate::flow::sale).

use bitcoin::{Transaction, Txid};
use serde::{Deserialize, Serialize};

use crate::error::{Culprit, Error, Result, Rule};
use crate::facts::Facts;
use crate::flow::sale::coins::{check_coins, check_offer, waits};
use crate::flow::sale::consent::{Consent, Party};
use crate::flow::sale::terms::{ACCEPTS, Acceptance, Guard, Offer};
use crate::flow::sale::txs::{Bargain, compared};
use crate::tx::exchange::Exchanging;

/// Everybody speaks when it is his turn.
pub const ORDER: Rule = Rule::new(
    "sale-order",
    "an offer has the acceptance that its seller signs, and no other one then; after him sign the buyer, and in a resale whoever guards the miner's notice",
    "wait for the others",
);

/// What is said in a sale, after its offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// The buyer accepts.
    Accepted(Box<Acceptance>),
    /// Somebody signs.
    Consented(Consent),
}

/// A sale as far as it was said.
#[derive(Clone, Debug)]
pub struct State {
    offer: Offer,
    acceptance: Option<Acceptance>,
    consents: Vec<Consent>,
}

/// What somebody has to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Sign these inputs.
    Sign(Vec<usize>),
    /// Send the finished transaction.
    Broadcast(Transaction),
    /// Wait for somebody.
    Wait(String),
    /// The transaction is on its way; with its height once it is in a block.
    Sent(Txid, Option<u32>),
    /// Nothing comes of it any more, and why.
    Void(Error),
}

impl Effect {
    /// Another transaction moves the seal, and is in no block yet.
    pub fn behind(other: Txid) -> Self {
        Self::Wait(format!("for {other}, which moves the seal, to be confirmed or replaced"))
    }
}

impl State {
    /// A sale of which there is an offer.
    pub fn new(offer: Offer) -> Result<Self> {
        offer.check()?;
        Ok(Self { offer, acceptance: None, consents: Vec::new() })
    }

    /// The offer.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Its acceptance, if there is one.
    pub fn acceptance(&self) -> Option<&Acceptance> {
        self.acceptance.as_ref()
    }

    /// Who has signed.
    pub fn consents(&self) -> &[Consent] {
        &self.consents
    }

    /// Refuses what is out of turn, of another sale, or not true.
    pub fn admit(&self, event: &Event) -> Result<()> {
        match event {
            Event::Accepted(acceptance) => {
                if let Some(held) = &self.acceptance {
                    let (held, found) = (held.acceptance.id()?, acceptance.acceptance.id()?);
                    // What nobody has signed for binds nobody: a later one takes its place.
                    if held == found || !self.consents.is_empty() {
                        return Err(ORDER.refuses(Culprit::Sender, "acceptance", held, found));
                    }
                }
                acceptance.check(&self.offer)?;
                compared(&self.offer, acceptance).map(|_| ())
            }
            Event::Consented(consent) => self.admit_consent(consent),
        }
    }

    fn admit_consent(&self, consent: &Consent) -> Result<()> {
        let offer = &self.offer.offer;
        let by = consent.by.culprit(offer);
        let place = format!("consent of the {}", consent.by);
        let Some(acceptance) = &self.acceptance else {
            return Err(ORDER.refuses(by, place, "an acceptance first", "none"));
        };
        for (ours, theirs) in
            [(offer.id()?, consent.offer), (acceptance.acceptance.id()?, consent.acceptance)]
        {
            if ours != theirs {
                return Err(ACCEPTS.refuses(by, place, ours, theirs));
            }
        }
        let turn = self.turn();
        if !turn.contains(&consent.by) {
            let expected: Vec<String> = turn.iter().map(Party::to_string).collect();
            let expected = format!("one of the {}", expected.join(", "));
            let expected = if turn.is_empty() { "no more".to_owned() } else { expected };
            return Err(ORDER.refuses(by, place, expected, consent.by));
        }
        let mut signing = self.signing()?;
        consent.add_to(offer, &mut signing)
    }

    /// Takes in what was admitted.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Accepted(acceptance) => self.acceptance = Some(*acceptance),
            Event::Consented(consent) => self.consents.push(consent),
        }
    }

    /// Who may sign now: nobody before the acceptance, and when all have signed.
    pub fn turn(&self) -> Vec<Party> {
        let signed = |party: &Party| self.consents.iter().any(|consent| consent.by == *party);
        if self.acceptance.is_none() {
            return Vec::new();
        }
        for party in [Party::Seller, Party::Buyer] {
            if !signed(&party) {
                return vec![party];
            }
        }
        let Some(resale) = &self.offer.offer.resale else { return Vec::new() };
        let federation = &resale.contract.reward.federation;
        let (guards, needed) = match resale.guard {
            Guard::Miner => (vec![Party::Miner], 1),
            Guard::Validators => {
                let places = (0u8..).zip(&federation.validators);
                let all = places.map(|(place, _)| Party::Validator(place)).collect();
                (all, usize::from(federation.threshold))
            }
        };
        let waiting: Vec<Party> = guards.iter().filter(|party| !signed(party)).copied().collect();
        let given = guards.len().saturating_sub(waiting.len());
        if given >= needed { Vec::new() } else { waiting }
    }

    /// The bargain, rebuilt.
    pub fn bargain(&self) -> Result<Bargain> {
        match &self.acceptance {
            Some(acceptance) => compared(&self.offer, acceptance),
            None => Err(ORDER.misused("sale", "an acceptance", "none")),
        }
    }

    /// The exchange with every signature that was given.
    pub fn signing(&self) -> Result<Exchanging> {
        let mut signing = Exchanging::new(self.bargain()?.exchange);
        for consent in &self.consents {
            consent.add_to(&self.offer.offer, &mut signing)?;
        }
        Ok(signing)
    }

    /// What `party` has to do now; may be asked at any time and any number of times.
    pub fn next(&self, facts: &Facts, party: Party) -> Result<Effect> {
        let Some(acceptance) = &self.acceptance else {
            return Ok(match check_offer(&self.offer.offer, facts) {
                Ok(()) => match waits(&self.offer.offer, facts) {
                    Some(other) => Effect::behind(other),
                    None => Effect::Wait("for a buyer".to_owned()),
                },
                Err(error) => Effect::Void(error),
            });
        };
        let signing = self.signing()?;
        let txid = signing.exchange().txid();
        if let Some(seen) = facts.transactions.get(&txid) {
            return Ok(Effect::Sent(txid, seen.height));
        }
        let checked = check_offer(&self.offer.offer, facts)
            .and_then(|()| check_coins(&acceptance.acceptance, facts));
        if let Err(error) = checked {
            return Ok(Effect::Void(error));
        }
        if let Some(other) = waits(&self.offer.offer, facts) {
            return Ok(Effect::behind(other));
        }
        let turn = self.turn();
        if turn.contains(&party) {
            return Ok(Effect::Sign(party.inputs(&self.offer.offer, &signing)));
        }
        if let Some(first) = turn.first() {
            return Ok(Effect::Wait(format!("for the {first} to sign")));
        }
        Ok(Effect::Broadcast(signing.finish()?.tx))
    }
}
