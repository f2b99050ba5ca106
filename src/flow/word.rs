//! A word: an event with its speaker's signature over all of it.
//!
//! Everything that people tell each other is a word in a file or message of its own. The signature
//! is by the communication key in the speaker's record, so a word proves itself to anyone who holds
//! the terms, whatever way it came.

use bitcoin::secp256k1::schnorr;
use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::error::{Culprit, Result, Rule};
use crate::flow::Event;
use crate::flow::escrow::terms::EscrowTerms;
use crate::id::{TermsId, WordId, tagged_hash};
use crate::message;
use crate::party::Seat;

/// The form of a word.
pub const FORM: Rule = Rule::new(
    "word-form",
    "a word is JSON with the fields of `hashmix word 1`",
    "ask the sender for it again",
);
/// A word is of this contract.
pub const CONTRACT: Rule = Rule::new(
    "word-contract",
    "a word names the contract it was said in",
    "send it to the parties of that contract",
);
/// A word comes from a seat of the contract.
pub const SEAT: Rule = Rule::new(
    "word-seat",
    "a word is said by somebody who sits at the contract",
    "compare the terms with the sender",
);

/// The first field of every word.
pub const WORD_FORMAT: &str = "hashmix word 1";

/// Largest word that is read, in bytes: a certificate of a slice fits many times.
pub const WORD_MAX_BYTES: usize = 8_388_608;

/// An event with its speaker and his signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Word {
    /// [`WORD_FORMAT`].
    pub format: String,
    /// The contract it was said in.
    pub contract: TermsId,
    /// Who said it.
    pub from: Seat,
    /// What was said.
    pub event: Event,
    /// BIP-340 signature of [`Word::message`].
    pub signature: schnorr::Signature,
}

impl Word {
    /// What the speaker signs: a tagged hash of contract, speaker and event.
    pub fn message(contract: TermsId, from: Seat, event: &Event) -> Result<[u8; 32]> {
        let said = canonical::bytes(&(contract, from, event))?;
        Ok(tagged_hash("hashmix/word/1", &[&said]))
    }

    /// The word with a signature made of [`Word::message`].
    pub fn new(contract: TermsId, from: Seat, event: Event, signature: schnorr::Signature) -> Self {
        Self { format: WORD_FORMAT.to_owned(), contract, from, event, signature }
    }

    /// Reads a word; what it says is not yet believed (see [`Word::verify`]).
    pub fn from_json(text: &str) -> Result<Self> {
        let refuse = |found: &dyn core::fmt::Display| {
            FORM.refuses(Culprit::Sender, "word", "the fields of `hashmix word 1`", found)
        };
        if text.len() > WORD_MAX_BYTES {
            return Err(refuse(&format_args!("{} bytes", text.len())));
        }
        let word: Self = serde_json::from_str(text).map_err(|error| refuse(&error))?;
        if word.format != WORD_FORMAT {
            return Err(refuse(&word.format));
        }
        Ok(word)
    }

    /// The word as a file holds it.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| FORM.broken("word", "JSON", error))
    }

    /// Names the word by content.
    pub fn id(&self) -> Result<WordId> {
        Self::message(self.contract, self.from, &self.event).map(WordId)
    }

    /// Refuses a word of another contract, or one that its speaker did not sign.
    pub fn verify(&self, terms: &EscrowTerms) -> Result<()> {
        let ours = terms.id()?;
        if self.contract != ours {
            return Err(CONTRACT.refuses(self.from.into(), "word", ours, self.contract));
        }
        let seats = terms.reward.seats();
        let record = seats.record(self.from).ok_or_else(|| {
            SEAT.refuses(self.from.into(), "word", "a seat of the contract", self.from)
        })?;
        message::verify_digest(
            self.from.into(),
            record.record.communication,
            Self::message(self.contract, self.from, &self.event)?,
            &self.signature,
        )
    }
}
