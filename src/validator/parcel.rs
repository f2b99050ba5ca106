//! What validators bring each other: each sends what he says to the others' desks, as requests of his
//! own, and takes what they answer. So a party tells each validator what it wants, and the journals'
//! entries and witnesses find their way without it.

use super::answer::Answer;
use super::desk::Desk;
use super::request::{MOST_WORDS, REQUEST_FORMAT, REQUEST_MAX_BYTES, Request};
use crate::engine::Report;
use crate::error::Result;
use crate::flow::word::Word;
use crate::id::TermsId;

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
        let key = format!("words {} to {upto}", after.saturating_add(1));
        let digest = Request::message(contract, sitting.seat, &key, &words, None)?;
        let signature = sitting.signer.sign_digest(digest)?;
        let (format, from) = (REQUEST_FORMAT.to_owned(), sitting.seat);
        Ok((upto, Some(Request { format, contract, from, key, words, psbt: None, signature })))
    }

    /// Takes the words of another validator's answer, as if they had come in a request.
    pub fn take_answer(&mut self, text: &str) -> Result<Vec<Report>> {
        let answer = Answer::from_json(text)?;
        let sitting = self.sitting_of(answer.contract)?;
        answer.verify(&sitting.registration.terms)?;
        if answer.words.is_empty() {
            return Ok(Vec::new());
        }
        let (folder, seat) = (self.letters(answer.contract)?, sitting.seat);
        for numbered in &answer.words {
            let name = format!("answer-{}-{}.json", numbered.number, numbered.word.id()?);
            folder.post(seat, &name, &numbered.word.to_json()?)?;
        }
        self.step(answer.contract)
    }
}
