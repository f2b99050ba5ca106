//! `hashmix request 1`: words for a validator, signed as a whole by whoever brings them.
//!
//! | asked | costs | rule |
//! |---|---|---|
//! | size | nothing | `policy-request-size` |
//! | form | reading it | `policy-request-form` |
//! | contract known here | a look into a table | `policy-request-contract` |
//! | the sender's seat | the same | `policy-request-seat` |
//! | his signature | one verification | `policy-request-signature` |
//! | the key: asked before? | a look into the store | `policy-request-key`, `policy-request-keys` |
//! | number of words | counting | `policy-request-words` |
//! | each word's contract and signature | a verification each | `policy-request-word` |
//! | what is expected to be signed | playing the words | the rules of a received PSBT |
//! | how many of his words wait | reading a folder | `policy-request-backlog`, told as waiting |
//! | the words themselves | the engine | the flows' own rules |
//!
//! The key makes a request safe to repeat: the same key with the same content gets the answer that
//! it got before, byte for byte, and with other content a refusal.
//!
//! A request names no addressee: whoever holds it can bring it to another desk of the federation. It
//! says there what its sender has said, once, and takes one token of his; see
//! [`Desk::answered`](super::desk::Desk::answered).

use bitcoin::Psbt;
use bitcoin::secp256k1::schnorr;
use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::error::{Culprit, Result, Rule};
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::word::Word;
use crate::id::{TermsId, tagged_hash};
use crate::message;
use crate::party::{Record, Seat};
use crate::tx::carrier;

/// A request has a longest length.
pub const SIZE: Rule = Rule::new(
    "policy-request-size",
    "a request is no longer than the desk reads",
    "send fewer words in one request",
);
/// The form of a request.
pub const FORM: Rule = Rule::new(
    "policy-request-form",
    "a request is JSON with the fields of `hashmix request 1`, its key 1 to 64 printable ASCII \
     characters",
    "make it with `hashmix validator request`",
);
/// The contract is registered.
pub const CONTRACT: Rule = Rule::new(
    "policy-request-contract",
    "a request is about a contract that is registered at this desk",
    "register the contract first, at each validator of its federation",
);
/// The sender sits at the contract.
pub const SEAT: Rule = Rule::new(
    "policy-request-seat",
    "a request comes from another seat of the contract",
    "compare the terms with the sender",
);
/// The sender has signed it.
pub const SIGNATURE: Rule = Rule::new(
    "policy-request-signature",
    "a request is signed as a whole by the communication key of the seat it names",
    "sign it again with the seed and record number of that seat",
);
/// A key names one request.
pub const KEY: Rule = Rule::new(
    "policy-request-key",
    "a request's key stands for the content it came with first",
    "give a new request a new key",
);
/// Keys are not endless.
pub const KEYS: Rule = Rule::new(
    "policy-request-keys",
    "a seat has at most 16,384 requests in one contract",
    "bring more words in one request; a key that was used keeps its answer",
);
/// Words in a request are counted.
pub const WORDS: Rule = Rule::new(
    "policy-request-words",
    "a request has at most 64 words",
    "bring them in several requests",
);
/// Each word proves itself.
pub const WORD: Rule = Rule::new(
    "policy-request-word",
    "each word of a request is of its contract and signed by its speaker",
    "leave the word out, or ask its speaker for it again",
);
/// What the desk has not finished reading is bounded, for each sender by himself.
pub const BACKLOG: Rule = Rule::new(
    "policy-request-backlog",
    "at most 64 earlier words that a sender brought wait to make sense; his older ones make room",
    "bring what the waiting words rest on, and then those that made room once more",
);

/// The first field of every request.
pub const REQUEST_FORMAT: &str = "hashmix request 1";

/// Largest request that a desk reads by default, in bytes.
pub const REQUEST_MAX_BYTES: usize = 4 << 20;

/// Most words in one request.
pub const MOST_WORDS: usize = 64;
/// Most requests of one seat in one contract.
pub const MOST_KEYS: u64 = 16_384;
/// Most words of one sender that wait in the inbox when he brings more.
pub const MOST_WAITING: usize = 64;

/// Words for a validator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// [`REQUEST_FORMAT`].
    pub format: String,
    /// The contract it is about.
    pub contract: TermsId,
    /// Who brings it.
    pub from: Seat,
    /// The sender's name for it: 1 to 64 printable ASCII characters, used once.
    pub key: String,
    /// What was said, by whomever: each word is signed by its own speaker.
    pub words: Vec<Word>,
    /// The transaction that the sender expects to be signed, a PSBT in Base64. Nothing of it is
    /// signed: it is compared with what the desk rebuilds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psbt: Option<String>,
    /// The sender's BIP-340 signature of [`Request::digest`].
    pub signature: schnorr::Signature,
}

impl Request {
    /// What the sender signs, and what names the request: a tagged hash of all the rest.
    pub fn message(
        contract: TermsId,
        from: Seat,
        key: &str,
        words: &[Word],
        psbt: Option<&str>,
    ) -> Result<[u8; 32]> {
        let said = canonical::bytes(&(REQUEST_FORMAT, contract, from, key, words, psbt))?;
        Ok(tagged_hash("hashmix/request/1", &[&said]))
    }

    /// The digest of this request's content, whoever signed it.
    pub fn digest(&self) -> Result<[u8; 32]> {
        let psbt = self.psbt.as_deref();
        Self::message(self.contract, self.from, &self.key, &self.words, psbt)
    }

    /// Reads a request of at most `longest` bytes; who sent it is not yet checked.
    pub fn from_json(text: &str, longest: usize) -> Result<Self> {
        if text.len() > longest {
            let expected = format_args!("at most {longest} bytes").to_string();
            return Err(SIZE.refuses(Culprit::Sender, "request", expected, text.len()));
        }
        let refuse = |place: &str, found: &dyn core::fmt::Display| {
            FORM.refuses(Culprit::Sender, place, "the fields of `hashmix request 1`", found)
        };
        let request: Self =
            serde_json::from_str(text).map_err(|error| refuse("request", &error))?;
        if request.format != REQUEST_FORMAT {
            return Err(refuse("request, format", &request.format));
        }
        let printable = request.key.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if request.key.is_empty() || request.key.len() > 64 || !printable {
            return Err(refuse("request, key", &request.key));
        }
        if let Some(psbt) = &request.psbt {
            expected(psbt)?;
        }
        Ok(request)
    }

    /// The request as a file holds it.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| FORM.broken("request", "JSON", error))
    }

    /// Refuses a sender who has no seat at the contract, who is `ours` himself, or who has not
    /// signed.
    pub fn check_sender(&self, terms: &EscrowTerms, ours: Seat) -> Result<()> {
        let record = sender(terms, self.from, ours)?;
        message::verify_digest(
            self.from.into(),
            record.record.communication,
            self.digest()?,
            &self.signature,
        )
        .map_err(|error| {
            let fault = error.fault();
            SIGNATURE.refuses(Culprit::Sender, "request", &fault.expected, &fault.found)
        })
    }

    /// Refuses too many words, and any that does not prove itself. Asked after
    /// [`Request::check_sender`]: what is wrong now is the sender's doing.
    pub fn check_words(&self, terms: &EscrowTerms) -> Result<()> {
        let by = Culprit::from(self.from);
        if self.words.len() > MOST_WORDS {
            let expected = format_args!("at most {MOST_WORDS}").to_string();
            return Err(WORDS.refuses(by, "request, words", expected, self.words.len()));
        }
        for (place, word) in self.words.iter().enumerate() {
            // Read again as the engine will read it from its letter.
            let checked = word.to_json().and_then(|text| Word::from_json(&text));
            checked.and_then(|word| word.verify(terms)).map_err(|error| {
                let fault = error.fault();
                let place = format!("request, word {place}: {} ({})", fault.place, fault.rule.id);
                WORD.refuses(by, place, &fault.expected, &fault.found)
            })?;
        }
        Ok(())
    }

    /// The transaction that the sender expects.
    pub fn expected(&self) -> Result<Option<Psbt>> {
        self.psbt.as_deref().map(expected).transpose()
    }
}

/// Reads an expected transaction. What is no PSBT is no request; a PSBT that breaks a rule of its
/// own is refused by that.
fn expected(text: &str) -> Result<Psbt> {
    carrier::read(text.as_bytes(), Culprit::Sender).map_err(|error| {
        if error.rule() != carrier::FORM.id {
            return error.within("request, psbt");
        }
        let fault = error.fault();
        FORM.refuses(Culprit::Sender, "request, psbt", &fault.expected, &fault.found)
    })
}

/// Refuses a new key where `used` are used already.
pub fn check_keys(used: u64, by: Culprit) -> Result<()> {
    match used < MOST_KEYS {
        true => Ok(()),
        false => {
            let expected = format_args!("fewer than {MOST_KEYS} requests before").to_string();
            Err(KEYS.refuses(by, "request, key", expected, used))
        }
    }
}

/// The record of a seat that may ask at `ours`.
pub fn sender(terms: &EscrowTerms, from: Seat, ours: Seat) -> Result<&Record> {
    let record = terms.reward.seats().record(from).filter(|_| from != ours);
    record.ok_or_else(|| {
        let expected = format_args!("a seat of the contract other than {ours}").to_string();
        SEAT.refuses(Culprit::Sender, "sender", expected, from)
    })
}
