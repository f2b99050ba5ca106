//! `hashmix answer 1`: what a validator said to a request, what he refused, and what he waits for.
//!
//! A refusal can be shown to the other side: it is signed by the validator's communication key, and
//! names request, rule, culprit, place, what was expected and what was found.

use bitcoin::secp256k1::schnorr;
use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::error::{Culprit, Error, Result, Rule};
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::word::Word;
use crate::id::{TermsId, WordId, tagged_hash};
use crate::message;
use crate::party::Seat;

/// The form of an answer.
pub const FORM: Rule = Rule::new(
    "validator-answer",
    "an answer is JSON with the fields of `hashmix answer 1`, its refusals signed by the validator",
    "ask the validator again with the same request: he gives the same answer",
);

/// The first field of every answer.
pub const ANSWER_FORMAT: &str = "hashmix answer 1";

/// A word and its number in the validator's store: numbers grow, with gaps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numbered {
    /// The number; ask for words after it to get the next ones.
    pub number: u64,
    /// The word, signed by its speaker.
    pub word: Word,
}

/// Something that must happen first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    /// Not before this height; none where it is not a matter of height.
    pub until: Option<u32>,
    /// What for.
    pub why: String,
}

/// A refusal, signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The rule that was broken.
    pub rule: String,
    /// By whom.
    pub culprit: String,
    /// Where.
    pub place: String,
    /// What the rule expected there.
    pub expected: String,
    /// What was found.
    pub found: String,
    /// What can be done.
    pub advice: String,
    /// The validator's BIP-340 signature of [`Refusal::digest`].
    pub signature: schnorr::Signature,
}

impl Refusal {
    /// Signs what `error` says of the request with this digest.
    pub fn sign(
        contract: TermsId,
        from: Seat,
        request: WordId,
        error: &Error,
        sign: impl FnOnce([u8; 32]) -> Result<schnorr::Signature>,
    ) -> Result<Self> {
        let fault = error.fault();
        let culprit = match error {
            Error::Refused { by, .. } => *by,
            _ => Culprit::Sender,
        };
        let (rule, advice) = (fault.rule.id.to_owned(), fault.rule.advice.to_owned());
        let (culprit, place) = (culprit.to_string(), fault.place.clone());
        let (expected, found) = (fault.expected.clone(), fault.found.clone());
        let said = [&rule, &culprit, &place, &expected, &found, &advice].map(String::as_str);
        let signature = sign(digest(contract, from, request, said)?)?;
        Ok(Self { rule, culprit, place, expected, found, advice, signature })
    }

    /// What the validator signs: a tagged hash of contract, validator, request and refusal.
    pub fn digest(&self, contract: TermsId, from: Seat, request: WordId) -> Result<[u8; 32]> {
        let Self { rule, culprit, place, expected, found, advice, .. } = self;
        let said = [rule, culprit, place, expected, found, advice].map(String::as_str);
        digest(contract, from, request, said)
    }
}

fn digest(contract: TermsId, from: Seat, request: WordId, said: [&str; 6]) -> Result<[u8; 32]> {
    let said = canonical::bytes(&(contract, from, request, said))?;
    Ok(tagged_hash("hashmix/refusal/1", &[&said]))
}

/// What a validator said to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// [`ANSWER_FORMAT`].
    pub format: String,
    /// The contract.
    pub contract: TermsId,
    /// The validator's seat.
    pub from: Seat,
    /// The request, named by its digest.
    pub request: WordId,
    /// The validator's own words since the request came.
    pub words: Vec<Numbered>,
    /// What he refused.
    pub refused: Vec<Refusal>,
    /// What he waits for.
    pub waiting: Vec<Waiting>,
}

impl Answer {
    /// Reads an answer; what it says is not yet believed (see [`Answer::verify`]).
    pub fn from_json(text: &str) -> Result<Self> {
        let refuse = |found: &dyn core::fmt::Display| {
            FORM.refuses(Culprit::Sender, "answer", "the fields of `hashmix answer 1`", found)
        };
        let answer: Self = serde_json::from_str(text).map_err(|error| refuse(&error))?;
        match answer.format == ANSWER_FORMAT {
            true => Ok(answer),
            false => Err(refuse(&answer.format)),
        }
    }

    /// The answer as it is sent and stored.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| FORM.broken("answer", "JSON", error))
    }

    /// Whether nothing that was asked for was granted: refusals, and no word.
    pub fn refuses_all(&self) -> bool {
        self.words.is_empty() && !self.refused.is_empty()
    }

    /// Verifies words and refusals under the terms.
    pub fn verify(&self, terms: &EscrowTerms) -> Result<()> {
        let seats = terms.reward.seats();
        let record = seats.record(self.from).ok_or_else(|| {
            FORM.refuses(Culprit::Sender, "answer", "a seat of the contract", self.from)
        })?;
        for numbered in &self.words {
            numbered.word.verify(terms)?;
        }
        for refusal in &self.refused {
            let digest = refusal.digest(self.contract, self.from, self.request)?;
            let key = record.record.communication;
            message::verify_digest(self.from.into(), key, digest, &refusal.signature)?;
        }
        Ok(())
    }
}
