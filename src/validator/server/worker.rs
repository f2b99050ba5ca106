//! The thread that owns the desk: one question after the other, and a step now and then.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use bitcoin::BlockHash;
use serde_json::json;
use tokio::sync::oneshot;

use super::peers::Peers;
use super::{Limits, log};
use crate::engine::Report;
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

/// Time between two looks at what other validators have answered.
const LOOK: Duration = Duration::from_millis(200);

/// Time for which the tip that was told last is good enough.
const FRESH: Duration = Duration::from_secs(1);
/// How many times as long as it took to ask a server for its tip, the server is left alone.
const REST: u32 = 4;
/// Lines that are remembered so that the log has each once.
const MOST_TOLD: usize = 1_024;

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
pub(super) fn work(mut desk: Desk, mut peers: Peers, queue: &Receiver<Job>, limits: Limits) {
    let start = Instant::now();
    let mut kept = Kept { parties: Buckets::new(limits.party), tip: None, told: BTreeSet::new() };
    let mut stepped = start;
    for (name, error) in desk.unread() {
        log(format_args!("contract {name} is not served: {error}"));
    }
    loop {
        peers.exchange(&mut desk);
        let mut left = limits.step.saturating_sub(stepped.elapsed());
        if !peers.is_empty() {
            left = left.min(LOOK);
        }
        match queue.recv_timeout(left) {
            Ok(Job { ask, reply }) => {
                let name = name(&ask);
                let told = answer(&mut desk, ask, &mut kept, start.elapsed(), limits);
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
                match stepped {
                    Ok(reports) => kept.tell(id, &reports),
                    Err(error) => log(format_args!("contract {id}: {error}")),
                }
            }
            stepped = Instant::now();
        }
    }
}

/// What the thread keeps between two questions.
struct Kept {
    /// Of parties, and of requests that began before.
    parties: Buckets<(TermsId, Seat, Option<[u8; 32]>)>,
    /// What the first server said of its tip, and until when that is good enough.
    tip: Option<(Instant, Result<(u32, BlockHash)>)>,
    /// Lines about contracts that the log has.
    told: BTreeSet<String>,
}

impl Kept {
    /// The tip, asked for now and then: strangers who ask do not keep the desk busy. A server that
    /// takes its time has a fifth of the desk's at most.
    fn tip(&mut self, desk: &mut Desk) -> Result<(u32, BlockHash)> {
        if let Some((until, told)) = &self.tip
            && Instant::now() < *until
        {
            return told.clone();
        }
        let start = Instant::now();
        let told = desk.tip();
        let rest = FRESH.max(start.elapsed().saturating_mul(REST));
        self.tip = Instant::now().checked_add(rest).map(|until| (until, told.clone()));
        told
    }

    /// Logs what was not done, once each: a journal that is behind shuts the desk until somebody
    /// reads that.
    fn tell(&mut self, contract: TermsId, reports: &[Report]) {
        for report in reports {
            let Report::Refused(_, error) = report else { continue };
            let line = format!("contract {contract}: {error}");
            if self.told.len() >= MOST_TOLD {
                self.told.clear();
            }
            if self.told.insert(line.clone()) {
                log(line);
            }
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
    kept: &mut Kept,
    now: Duration,
    limits: Limits,
) -> Result<String> {
    match ask {
        Ask::Status => {
            let (height, hash) = kept.tip(desk)?;
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
            if let Some(answer) = desk.answered(&request)? {
                return Ok(answer);
            }
            // Whoever holds a party's request can bring it, again and again: it takes one token of
            // the party's, once, and from then on its own.
            let own = if desk.begun(&request)? { Some(request.digest()?) } else { None };
            kept.parties.take(&(request.contract, request.from, own), now)?;
            desk.answer(&request)
        }
        Ask::Standing(question) => {
            admit(desk, &question, kept, now)?;
            let standing = desk.standing(question.contract)?;
            serde_json::to_string(&standing).map_err(|error| FORM.broken("standing", "JSON", error))
        }
        Ask::Words(question, after) => {
            admit(desk, &question, kept, now)?;
            let words = desk.words(question.contract, after, MOST_WORDS)?;
            some(&words)
        }
    }
}

/// Refuses a question about a contract by somebody who does not sit there, or asks too often.
fn admit(desk: &Desk, question: &Question, kept: &mut Kept, now: Duration) -> Result<()> {
    let from = desk.check_query(question.contract, &question.query, &question.asked)?;
    kept.parties.take(&(question.contract, from, None), now)
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
