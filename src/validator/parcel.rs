//! What validators bring each other: each sends what he says to the others' desks, as requests of his
//! own, and takes what they answer. So a party tells each validator what it wants, and the journals'
//! entries and witnesses find their way without it.

use bitcoin::hex::DisplayHex;

use super::answer::{Answer, FORM};
use super::desk::Desk;
use super::hearing::ANSWERED;
use super::request::{MOST_WORDS, REQUEST_FORMAT, REQUEST_MAX_BYTES, Request};
use crate::canonical;
use crate::engine::Report;
use crate::error::{Culprit, Result};
use crate::flow::word::Word;
use crate::id::{TermsId, tagged_hash};
use crate::party::Seat;
use crate::relay::folder::folder_name;

/// Bytes of words after which a parcel is full.
const FULL: usize = REQUEST_MAX_BYTES / 2;
/// Words of everybody that are looked through for our own at a time.
const LOOKED_AT: usize = 256;

impl Desk {
    /// The next request for another validator of a contract: what we have said after number `after`.
    /// Answers with the number up to which it was looked, and the request if there is something to
    /// send. The same words always make the same request, whatever else was said since.
    pub fn parcel(&self, contract: TermsId, after: u64) -> Result<(u64, Option<Request>)> {
        let sitting = self.sitting_of(contract)?;
        let (mut upto, mut size) = (after, 0usize);
        let mut words: Vec<Word> = Vec::new();
        for numbered in self.words(contract, after, LOOKED_AT)? {
            if numbered.word.from == sitting.seat {
                size = size.saturating_add(numbered.word.to_json()?.len());
                if !words.is_empty() && (words.len() >= MOST_WORDS || size > FULL) {
                    break;
                }
                words.push(numbered.word);
            }
            upto = numbered.number;
        }
        if words.is_empty() {
            return Ok((upto, None));
        }
        // Named by what is in it: a store that was restored counts its words anew.
        let said = tagged_hash("hashmix/parcel/1", &[&canonical::bytes(&words)?]);
        let key = format!("words {:.32}", said.to_lower_hex_string());
        let digest = Request::message(contract, sitting.seat, &key, &words, None)?;
        let signature = sitting.signer.sign_digest(digest)?;
        let (format, from) = (REQUEST_FORMAT.to_owned(), sitting.seat);
        Ok((upto, Some(Request { format, contract, from, key, words, psbt: None, signature })))
    }

    /// Takes the words of another validator's answer, as if they had come in a request: his own
    /// words alone, as many, as long, and as many waiting as a request may have. What he says beyond
    /// that he brings himself.
    pub fn take_answer(&mut self, text: &str) -> Result<Vec<Report>> {
        if text.len() > REQUEST_MAX_BYTES {
            let expected = format_args!("at most {REQUEST_MAX_BYTES} bytes").to_string();
            return Err(FORM.refuses(Culprit::Sender, "answer", expected, text.len()));
        }
        let answer = Answer::from_json(text)?;
        let sitting = self.sitting_of(answer.contract)?;
        let (ours, from) = (sitting.seat, answer.from);
        let refuse = |place: &str, expected: &str, found: &dyn core::fmt::Display| {
            Err(FORM.refuses(from.into(), format_args!("answer, {place}"), expected, found))
        };
        if from == ours || !matches!(from, Seat::Validator(_)) {
            return refuse("from", "another validator", &from);
        }
        if answer.words.len() > MOST_WORDS {
            return refuse("words", "at most 64", &answer.words.len());
        }
        if let Some(other) = answer.words.iter().find(|numbered| numbered.word.from != from) {
            return refuse("words", "words of who answers", &other.word.from);
        }
        answer.verify(&sitting.registration.terms)?;
        if answer.words.is_empty() {
            return Ok(Vec::new());
        }
        let folder = self.letters(answer.contract)?;
        let prefix = format!("{ANSWERED}{}-", folder_name(from));
        self.make_room(answer.contract, from, None)?;
        for numbered in &answer.words {
            // By the word alone: whoever answers counts as he likes.
            let name = format!("{prefix}{}.json", numbered.word.id()?);
            folder.post(ours, &name, &numbered.word.to_json()?)?;
        }
        self.step(answer.contract)
    }
}
