//! The thread that owns the desk: one question after the other, and a step now and then.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::oneshot;

use super::{Limits, log};
use crate::error::Result;
use crate::id::TermsId;
use crate::party::Seat;
use crate::validator::answer::Numbered;
use crate::validator::desk::Desk;
use crate::validator::limits::Buckets;
use crate::validator::query::Query;
use crate::validator::request::FORM;

/// Most words in one answer.
const MOST_WORDS: usize = 64;
/// Bytes of words after which an answer is long enough.
const ENOUGH: usize = 4 << 20;

/// What is asked of the desk.
#[derive(Debug)]
pub(super) enum Ask {
    /// Network, tip, version.
    Status,
    /// A registration.
    Register(String),
    /// A request.
    Request(String),
    /// How a contract stands.
    Standing(Question),
    /// What was said in a contract after this number.
    Words(Question, u64),
}

/// A question about a contract, and who asks.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) contract: TermsId,
    pub(super) query: Query,
    /// Path and query of the URL: what was signed.
    pub(super) asked: String,
}

/// A question, and where its answer goes: JSON.
pub(super) struct Job {
    pub(super) ask: Ask,
    pub(super) reply: oneshot::Sender<Result<String>>,
}

/// Answers until nobody can ask any more.
pub(super) fn work(mut desk: Desk, queue: &Receiver<Job>, limits: Limits) {
    let start = Instant::now();
    let mut parties = Buckets::new(limits.party);
    let mut stepped = start;
    loop {
        let left = limits.step.saturating_sub(stepped.elapsed());
        match queue.recv_timeout(left) {
            Ok(Job { ask, reply }) => {
                let name = name(&ask);
                let told = answer(&mut desk, ask, &mut parties, start.elapsed(), limits);
                match &told {
                    Ok(_) => log(format_args!("{name}: answered")),
                    Err(error) => log(format_args!("{name}: {error}")),
                }
                // Whoever hung up can ask again: the answer is stored.
                let _ = reply.send(told);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if stepped.elapsed() >= limits.step {
            for (id, stepped) in desk.step_all() {
                if let Err(error) = stepped {
                    log(format_args!("contract {id}: {error}"));
                }
            }
            stepped = Instant::now();
        }
    }
}

fn name(ask: &Ask) -> &'static str {
    match ask {
        Ask::Status => "status",
        Ask::Register(_) => "registration",
        Ask::Request(_) => "request",
        Ask::Standing(_) => "contract",
        Ask::Words(..) => "words",
    }
}

fn answer(
    desk: &mut Desk,
    ask: Ask,
    parties: &mut Buckets<(TermsId, Seat)>,
    now: Duration,
    limits: Limits,
) -> Result<String> {
    match ask {
        Ask::Status => {
            let (height, hash) = desk.tip()?;
            let version = env!("CARGO_PKG_VERSION");
            Ok(json!({
                "format": "hashmix status 1",
                "version": version,
                "network": desk.network(),
                "tip": { "height": height, "hash": hash },
            })
            .to_string())
        }
        Ask::Register(text) => {
            let id = desk.register(&text)?;
            Ok(json!({ "contract": id }).to_string())
        }
        Ask::Request(text) => {
            let request = desk.read_request(&text, limits.request)?;
            parties.take(&(request.contract, request.from), now)?;
            desk.answer(&request)
        }
        Ask::Standing(question) => {
            admit(desk, &question, parties, now)?;
            let standing = desk.standing(question.contract)?;
            serde_json::to_string(&standing).map_err(|error| FORM.broken("standing", "JSON", error))
        }
        Ask::Words(question, after) => {
            admit(desk, &question, parties, now)?;
            let words = desk.words(question.contract, after, MOST_WORDS)?;
            some(&words)
        }
    }
}

/// Refuses a question about a contract by somebody who does not sit there, or asks too often.
fn admit(
    desk: &Desk,
    question: &Question,
    parties: &mut Buckets<(TermsId, Seat)>,
    now: Duration,
) -> Result<()> {
    let from = desk.check_query(question.contract, &question.query, &question.asked)?;
    parties.take(&(question.contract, from), now)
}

/// As many words as fit, one at least.
fn some(words: &[Numbered]) -> Result<String> {
    let mut texts: Vec<String> = Vec::new();
    let mut length = 0usize;
    for word in words {
        let text =
            serde_json::to_string(word).map_err(|error| FORM.broken("words", "JSON", error))?;
        length = length.saturating_add(text.len());
        if length > ENOUGH && !texts.is_empty() {
            break;
        }
        texts.push(text);
    }
    Ok(format!("{{\"words\":[{}]}}", texts.join(",")))
}
