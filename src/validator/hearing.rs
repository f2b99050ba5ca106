//! How a request is heard, from its bytes to the answer that is stored.

use super::answer::{ANSWER_FORMAT, Answer, Numbered, Refusal, Waiting};
use super::desk::Desk;
use super::expected::{PSBT, expected};
use super::request::{BACKLOG, KEY, MOST_WAITING, Request, check_keys};
use super::veil::veil;
use crate::canonical;
use crate::engine::Report;
use crate::error::{Error, Result};
use crate::id::{TermsId, WordId, tagged_hash};
use crate::party::Seat;
use crate::relay::folder::folder_name;

/// What letters of requests begin with.
pub(super) const LETTER: &str = "request-";
/// What letters of other validators' answers begin with.
pub(super) const ANSWERED: &str = "answer-";

/// What was granted or not; becomes an [`Answer`] once it is signed.
#[derive(Default)]
struct Outcome {
    refused: Vec<Error>,
    waiting: Vec<Waiting>,
}

impl Desk {
    /// Hears a request of at most `longest` bytes and answers, in JSON. An error says that it was
    /// not heard: it may be handed in again.
    pub fn hand_in(&mut self, text: &str, longest: usize) -> Result<String> {
        let request = self.read_request(text, longest)?;
        self.answer(&request)
    }

    /// Reads a request as far as to know who sent it: size, form, contract, seat, signature.
    pub fn read_request(&self, text: &str, longest: usize) -> Result<Request> {
        let request = Request::from_json(text, longest)?;
        let sitting = self.sitting_of(request.contract)?;
        request.check_sender(&sitting.registration.terms, sitting.seat)?;
        Ok(request)
    }

    /// The answer that a request has got already: asking again costs the sender nothing.
    pub fn answered(&self, request: &Request) -> Result<Option<String>> {
        if !self.begun(request)? {
            return Ok(None);
        }
        let answer = self.store.recall(&scope("done", request)?, &request.key)?;
        Ok(answer.map(|answer| String::from_utf8_lossy(&answer).into_owned()))
    }

    /// Whether this very request came before, answered or not.
    pub fn begun(&self, request: &Request) -> Result<bool> {
        let note = self.store.recall(&scope("begun", request)?, &request.key)?;
        let digest = request.digest()?;
        Ok(note.is_some_and(|note| note.starts_with(&digest)))
    }

    /// Answers a request whose sender is known ([`Desk::read_request`]).
    pub fn answer(&mut self, request: &Request) -> Result<String> {
        let digest = WordId(request.digest()?);
        let done = scope("done", request)?;
        let since = self.begin(request, digest)?;
        if let Some(answer) = self.store.recall(&done, &request.key)? {
            return Ok(String::from_utf8_lossy(&answer).into_owned());
        }
        let outcome = self.hear(request, digest)?;
        let answer = self.sum_up(request.contract, digest, since, outcome)?.to_json()?;
        self.store.remember(&done, &request.key, answer.as_bytes())?;
        Ok(answer)
    }

    /// Notes that a request with this key began, and after which event; refuses the key if it
    /// stands for another one.
    fn begin(&mut self, request: &Request, digest: WordId) -> Result<u64> {
        let begun = scope("begun", request)?;
        if let Some(note) = self.store.recall(&begun, &request.key)? {
            let (held, since) = note.split_at_checked(32).unwrap_or_default();
            if held != digest.as_bytes() {
                let held = bitcoin::hex::DisplayHex::to_lower_hex_string(held);
                let place = format!("request, key {}", request.key);
                let expected = format!("content {held}");
                return Err(KEY.refuses(request.from.into(), place, expected, digest));
            }
            return Ok(since.try_into().map_or(0, u64::from_be_bytes));
        }
        check_keys(self.store.bound(&begun)?, request.from.into())?;
        let since = self.store.last_entry(&request.contract.0)?;
        let note = [digest.as_bytes().as_slice(), &since.to_be_bytes()].concat();
        self.store.remember(&begun, &request.key, &note)?;
        Ok(since)
    }

    /// Hands the words to the engine and lets it step.
    fn hear(&mut self, request: &Request, digest: WordId) -> Result<Outcome> {
        let id = request.contract;
        let sitting = self.sitting_of(id)?;
        let seat = sitting.seat;
        let refused = |error| Outcome { refused: vec![error], ..Outcome::default() };
        if let Err(error) = request.check_words(&sitting.registration.terms) {
            return Ok(refused(error));
        }
        let mut uncompared = None;
        if let Some(psbt) = request.expected()? {
            let engine = self.engine(id)?;
            let facts = engine.facts()?;
            match expected(engine, &facts, &request.words, &psbt, request.from.into()) {
                Ok(true) => {}
                Ok(false) => {
                    let id = PSBT.id;
                    let why = "the expected transaction was not compared: nothing is to be signed";
                    uncompared = Some(Waiting { until: None, why: format!("{why} yet ({id})") });
                }
                Err(error @ Error::Refused { .. }) => return Ok(refused(error)),
                Err(error) => return Err(error),
            }
        }
        let ours = format!("{LETTER}{}-{digest:.16}", folder_name(request.from));
        let dropped = self.make_room(id, request.from, Some(&ours))?;
        self.post(request, &ours, seat)?;
        let reports = self.step(id)?;
        let mut outcome = sort(reports, &ours);
        outcome.waiting.extend(dropped.into_iter().chain(uncompared));
        Ok(outcome)
    }

    /// Lets the oldest words of a sender that wait for sense make room, beyond his share; tells it.
    /// Letters whose names begin with `but` are not looked at.
    ///
    /// Words can wait for ever: they may name what nobody will ever say. So nobody's waiting words
    /// shut the desk for others, nor for himself.
    pub(super) fn make_room(
        &self,
        contract: TermsId,
        from: Seat,
        but: Option<&str>,
    ) -> Result<Option<Waiting>> {
        let folder = self.letters(contract)?;
        let his = [LETTER, ANSWERED].map(|kind| format!("{kind}{}-", folder_name(from)));
        let mut waiting = Vec::new();
        for name in folder.letters()? {
            if his.iter().any(|his| name.starts_with(his))
                && !but.is_some_and(|but| name.starts_with(but))
            {
                waiting.push((folder.came(&name)?, name));
            }
        }
        let found = waiting.len();
        let Some(many @ 1..) = found.checked_sub(MOST_WAITING) else { return Ok(None) };
        waiting.sort();
        for (_, name) in waiting.iter().take(many) {
            folder.drop_letter(name)?;
        }
        let place = format!("words of {from} that wait");
        let expected = format!("at most {MOST_WAITING} before new ones");
        let error = BACKLOG.unavailable(place, expected, format_args!("{found}: {many} made room"));
        Ok(Some(Waiting { until: None, why: why(&error) }))
    }

    /// Puts the words into the engine's inbox, in their order, under names that begin with
    /// `prefix`.
    fn post(&self, request: &Request, prefix: &str, seat: Seat) -> Result<()> {
        let folder = self.letters(request.contract)?;
        for (place, word) in request.words.iter().enumerate() {
            // What was refused before a crash is asked once more, or nobody could tell why.
            let name = (0u32..)
                .map(|attempt| format!("{prefix}-{place:03}-{attempt}.json"))
                .find(|name| !folder.was_refused(name));
            if let Some(name) = name {
                folder.post(seat, &name, &word.to_json()?)?;
            }
        }
        Ok(())
    }

    fn sum_up(
        &self,
        contract: TermsId,
        request: WordId,
        since: u64,
        outcome: Outcome,
    ) -> Result<Answer> {
        let sitting = self.sitting_of(contract)?;
        let from = sitting.seat;
        let words = self.words(contract, since, usize::MAX)?;
        let words: Vec<Numbered> = words.into_iter().filter(|n| n.word.from == from).collect();
        let sign = |error: &Error| {
            let sign = |digest| sitting.signer.sign_digest(digest);
            Refusal::sign(contract, from, request, error, sign)
        };
        let refused = outcome.refused.iter().map(sign).collect::<Result<_>>()?;
        let waiting = outcome.waiting;
        let format = ANSWER_FORMAT.to_owned();
        Ok(Answer { format, contract, from, request, words, refused, waiting })
    }
}

/// Where the store keeps what it knows of a seat's requests in a contract.
pub(super) fn scope(what: &str, request: &Request) -> Result<[u8; 32]> {
    let said = canonical::bytes(&(what, request.contract, request.from))?;
    Ok(tagged_hash("hashmix/requests/1", &[&said]))
}

/// What stands in the way, as parties may read it.
fn why(error: &Error) -> String {
    let error = veil(error);
    let fault = error.fault();
    let (place, expected) = (&fault.place, &fault.expected);
    format!("{place}: {expected}, found {} ({})", fault.found, fault.rule.id)
}

/// What a step's reports mean for the request whose letters' names begin with `ours`.
fn sort(reports: Vec<Report>, ours: &str) -> Outcome {
    let mut outcome = Outcome::default();
    for report in reports {
        match report {
            // Letters of others are told to those who sent them.
            Report::Refused(name, _)
                if [LETTER, ANSWERED].iter().any(|kind| name.starts_with(kind))
                    && !name.starts_with(ours) => {}
            Report::Refused(name, error @ (Error::Refused { .. } | Error::Usage(_)))
                if name.starts_with(ours) =>
            {
                outcome.refused.push(veil(&error));
            }
            // What we do not do now is no refusal of this request: nothing of it is signed.
            Report::Refused(_, error) => {
                outcome.waiting.push(Waiting { until: None, why: why(&error) });
            }
            Report::Waiting { until, why } => {
                outcome.waiting.push(Waiting { until: Some(until), why });
            }
            _ => {}
        }
    }
    outcome
}
