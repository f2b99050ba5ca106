//! A sale in progress: what was said, whose turn it is, what the chain says of it. See the tables in
//! [`sale`](crate::flow::sale).

use bitcoin::{Transaction, Txid};
use serde::{Deserialize, Serialize};

use crate::error::{Culprit, Error, Result, Rule};
use crate::facts::Facts;
use crate::flow;
use crate::flow::resale::terms::asked;
use crate::flow::sale::coins::{check_coins, check_holds, check_offer, check_there, waits};
use crate::flow::sale::consent::{CONSENT_FORMAT, Consent, Party, Piece};
use crate::flow::sale::terms::{ACCEPTS, Acceptance, Guard, Offer};
use crate::flow::sale::txs::{Bargain, compared};
use crate::flow::word::Word;
use crate::id::WordId;
use crate::party::Seat;
use crate::tx::exchange::{Exchanging, signed};

/// Everybody speaks when it is his turn.
pub const ORDER: Rule = Rule::new(
    "sale-order",
    "an offer has the acceptance that its seller signs, and no other one then; after him sign the buyer, and in a resale whoever guards the miner's notice",
    "wait for the others",
);

/// Validators say what they sign.
pub const ANSWERS: Rule = Rule::new(
    "sale-answers",
    "a validator consents by his word in the contract before, which signs this very sale; a consent's file is none",
    "bring the validator's answer, or the word in it",
);

/// What is said in a sale, after its offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// The buyer accepts.
    Accepted(Box<Acceptance>),
    /// Somebody signs, who is no validator.
    Consented(Consent),
    /// A validator has signed, by a word in the contract before.
    Answered(Box<Word>),
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
    /// The offer is over, and signatures were given that no clock takes back: whoever has them all can
    /// send the sale until its seal, its escrow or a coin is spent.
    Overdue {
        /// Whose signatures it still lacks; nobody's if anybody can send it.
        lacks: Vec<Party>,
        /// That the offer is over.
        over: Error,
    },
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
            Event::Consented(consent) => match consent.by {
                Party::Validator(_) => {
                    let (by, place) = (consent.by.culprit(&self.offer.offer), consent.by);
                    Err(ANSWERS.refuses(by, place, "a word", "a consent"))
                }
                Party::Seller | Party::Buyer | Party::Miner => self.admit_consent(consent),
            },
            Event::Answered(word) => {
                let consent = self.answered(word)?;
                let resale = self.offer.offer.resale.iter();
                resale.map(|resale| &resale.contract).try_for_each(|terms| word.verify(terms))?;
                self.admit_consent(&consent)
            }
        }
    }

    /// Whether a word is a validator's signature of this sale; whether it is a good one is not asked.
    pub fn is_answered_by(&self, word: &Word) -> bool {
        self.answered(word).is_ok()
    }

    /// Whether a validator's word adds nothing: he has consented, or as many as are needed have.
    pub fn is_known(&self, word: &Word) -> bool {
        let signed = |consent: &Consent| consent.by.seat() == Some(word.from);
        self.is_answered_by(word) && (self.consents.iter().any(signed) || self.turn().is_empty())
    }

    /// The consent that a validator's word holds.
    fn answered(&self, word: &Word) -> Result<Consent> {
        let refuse = |expected: &str, found: &dyn core::fmt::Display| {
            Err(ANSWERS.refuses(word.from.into(), "word", expected, found))
        };
        let offer = &self.offer.offer;
        let Some(resale) = offer.resale.as_ref().filter(|_| offer.guard() == Guard::Validators)
        else {
            return refuse("a resale that is left to validators", &"another sale");
        };
        if word.contract != resale.contract.id()? {
            return refuse("a word of the contract before", &word.contract);
        }
        let (Some(acceptance), Seat::Validator(place)) = (&self.acceptance, word.from) else {
            return refuse("a validator's word about an acceptance", &word.from);
        };
        let said = match &word.event {
            flow::Event::Resale(said) => said.signed(),
            _ => None,
        };
        let Some((ask, signatures)) = said else {
            return refuse("a signature of a resale", &"another word");
        };
        let (offer, acceptance) = (offer.id()?, acceptance.acceptance.id()?);
        let ours: WordId = asked(offer, acceptance)?;
        if ask != ours {
            return refuse(&format!("a signature of resale {ours}"), &ask);
        }
        let by = Party::Validator(place);
        let inputs = by.inputs(&self.offer.offer, &Exchanging::new(self.bargain()?.exchange));
        if inputs.len() != signatures.len() {
            return refuse(&format!("{} signatures", inputs.len()), &signatures.len());
        }
        let pieces = inputs.into_iter().zip(signatures).map(|(input, signature)| Piece {
            input: u32::try_from(input).unwrap_or(u32::MAX),
            witness: signed(signature),
        });
        let format = CONSENT_FORMAT.to_owned();
        Ok(Consent { format, offer, acceptance, by, pieces: pieces.collect() })
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
            // It was admitted; another one holds no consent to this sale.
            Event::Answered(word) => self.consents.extend(self.answered(&word).ok()),
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
        let there = check_there(&self.offer.offer, facts)
            .and_then(|()| check_coins(&acceptance.acceptance, facts));
        if let Err(error) = there {
            return Ok(Effect::Void(error));
        }
        let turn = self.turn();
        match check_holds(&self.offer.offer, facts) {
            Err(over) if self.consents.is_empty() => return Ok(Effect::Void(over)),
            Err(over) => return Ok(Effect::Overdue { lacks: turn, over }),
            Ok(()) => {}
        }
        if let Some(other) = waits(&self.offer.offer, facts) {
            return Ok(Effect::behind(other));
        }
        if turn.contains(&party) {
            return Ok(Effect::Sign(party.inputs(&self.offer.offer, &signing)));
        }
        if let Some(first) = turn.first() {
            return Ok(Effect::Wait(format!("for the {first} to sign")));
        }
        Ok(Effect::Broadcast(signing.finish()?.tx))
    }
}
