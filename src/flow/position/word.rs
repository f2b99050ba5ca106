//! A word about a position: an event of its issue with its speaker's signature over all of it.
//!
//! As [`crate::flow::word`], under the id of the position's terms: a contract has no terms yet.

use bitcoin::ScriptBuf;
use bitcoin::secp256k1::schnorr;
use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::error::{Culprit, Result};
use crate::flow::position::dead::Dead;
use crate::flow::position::terms::PositionTerms;
use crate::flow::position::txs::Funding;
use crate::flow::word::{CONTRACT, FORM, SEAT, WORD_MAX_BYTES};
use crate::id::{RecordId, TermsId, WordId, tagged_hash};
use crate::message;
use crate::party::Seat;
use crate::work::certificate::Certificate;
use crate::work::receipt::Receipt;

/// The first field of every word about a position.
pub const POSITION_WORD_FORMAT: &str = "hashmix position word 1";

/// What is said about a position before it is issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// The miner proves that the address in his record is his.
    Enrolled {
        /// BIP-322 signature of his record's statement.
        proof: String,
    },
    /// A validator takes the miner's record and address on.
    Registered {
        /// The miner's record.
        record: RecordId,
        /// The script that pays him.
        script: ScriptBuf,
        /// By the validator's standing record
        /// ([`registration`](crate::flow::position::enrolment::registration)).
        signature: schnorr::Signature,
    },
    /// The miner asks for the issue.
    Asked,
    /// The miner has worked for his registered address.
    Onboarded(Certificate),
    /// The miner has worked for the reward lock.
    Bound(Certificate),
    /// A validator has seen a certificate in time.
    Receipted(Receipt),
    /// A validator names the reward lock.
    Granted {
        /// Its script.
        lock: ScriptBuf,
    },
    /// The miner pays for the issue.
    Funded {
        /// An output of the issuer's script, behind whose transaction he stands.
        funding: Funding,
        /// All positions of the issue in their order, this one among them; empty if it is alone.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        batch: Vec<PositionTerms>,
    },
    /// The miner pays for another issue: the one that he paid for before can be in no block any more.
    FundedAgain {
        /// Why it cannot.
        instead: Dead,
        /// As in [`Event::Funded`].
        funding: Funding,
        /// As in [`Event::Funded`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        batch: Vec<PositionTerms>,
    },
    /// A validator signs the issue.
    IssueSigned {
        /// One signature an input, by his standing record's leaf key.
        signatures: Vec<schnorr::Signature>,
    },
}

impl Event {
    /// In one word, for names and stories.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Enrolled { .. } => "enrolled",
            Self::Registered { .. } => "registered",
            Self::Asked => "asked",
            Self::Onboarded(_) => "onboarded",
            Self::Bound(_) => "bound",
            Self::Receipted(_) => "receipted",
            Self::Granted { .. } => "granted",
            Self::Funded { .. } => "funded",
            Self::FundedAgain { .. } => "funded-again",
            Self::IssueSigned { .. } => "issue-signed",
        }
    }
}

/// An event with its speaker and his signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionWord {
    /// [`POSITION_WORD_FORMAT`].
    pub format: String,
    /// The id of the position's terms.
    pub terms: TermsId,
    /// Who said it.
    pub from: Seat,
    /// What was said.
    pub event: Event,
    /// BIP-340 signature of [`PositionWord::message`] by the communication key of the seat's record.
    pub signature: schnorr::Signature,
}

impl PositionWord {
    /// What the speaker signs.
    pub fn message(terms: TermsId, from: Seat, event: &Event) -> Result<[u8; 32]> {
        let said = canonical::bytes(&(terms, from, event))?;
        Ok(tagged_hash("hashmix/position-word/1", &[&said]))
    }

    /// The word with a signature made of [`PositionWord::message`].
    pub fn new(terms: TermsId, from: Seat, event: Event, signature: schnorr::Signature) -> Self {
        Self { format: POSITION_WORD_FORMAT.to_owned(), terms, from, event, signature }
    }

    /// Reads a word; what it says is not yet believed.
    pub fn from_json(text: &str) -> Result<Self> {
        let refuse = |found: &dyn core::fmt::Display| {
            FORM.refuses(Culprit::Sender, "word", POSITION_WORD_FORMAT, found)
        };
        if text.len() > WORD_MAX_BYTES {
            return Err(refuse(&format_args!("{} bytes", text.len())));
        }
        let word: Self = serde_json::from_str(text).map_err(|error| refuse(&error))?;
        match word.format == POSITION_WORD_FORMAT {
            true => Ok(word),
            false => Err(refuse(&word.format)),
        }
    }

    /// The word as a file holds it.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| FORM.broken("word", "JSON", error))
    }

    /// Names the word by content.
    pub fn id(&self) -> Result<WordId> {
        Self::message(self.terms, self.from, &self.event).map(WordId)
    }

    /// Refuses a word about another position, or one that its speaker did not sign.
    pub fn verify(&self, terms: &PositionTerms) -> Result<()> {
        let (ours, by) = (terms.id()?, Culprit::from(self.from));
        if self.terms != ours {
            return Err(CONTRACT.refuses(by, "word", ours, self.terms));
        }
        let seats = terms.reward.seats();
        let record = seats.record(self.from);
        let record = record
            .filter(|_| self.from != Seat::Holder)
            .ok_or_else(|| SEAT.refuses(by, "word", "the miner or a validator", self.from))?;
        let message = Self::message(self.terms, self.from, &self.event)?;
        message::verify_digest(by, record.record.communication, message, &self.signature)
    }
}
