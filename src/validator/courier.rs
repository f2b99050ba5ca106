//! Couriers: what is said in contracts is brought to validators' servers, and what they answer comes
//! back.
//!
//! Each server has a thread of its own, and in it a queue for each contract, so that one who is away,
//! or does not know a contract yet, keeps nothing else waiting. What could not be brought is tried
//! again until it arrives, or until the process ends. A request names itself by what is in it, so
//! whoever has it already answers as he did.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use zeroize::Zeroizing;

use super::limits::PEER;
use super::request::{KEYS, REQUEST_MAX_BYTES};
use crate::error::Result;
use crate::http::{Address, Trouble};
use crate::id::TermsId;

/// Time for an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time before somebody who could not be reached is tried again.
const PAUSE: Duration = Duration::from_secs(5);
/// Time before somebody who does not know a contract hears of it again.
const LATER: Duration = Duration::from_secs(30);

/// One courier for each server.
pub struct Couriers {
    parcels: Vec<Sender<(TermsId, String)>>,
    answers: Receiver<String>,
}

impl Couriers {
    /// Starts a thread for each address, `http://host:port`.
    pub fn start(urls: &[String]) -> Result<Self> {
        let (told, answers) = channel();
        let mut parcels = Vec::new();
        for url in urls {
            let address = Address::parse(url)
                .ok_or_else(|| PEER.misused("a validator's server", "http://host:port", url))?;
            let (send, queue) = channel();
            let (told, name) = (told.clone(), url.clone());
            thread::spawn(move || bring(&address, &name, &queue, &told));
            parcels.push(send);
        }
        Ok(Self { parcels, answers })
    }

    /// Whether there is nobody to bring anything to.
    pub fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    /// Gives a request's text to every courier.
    pub fn bring(&self, contract: TermsId, request: &str) {
        for parcels in &self.parcels {
            // A thread ends with the process alone.
            let _ = parcels.send((contract, request.to_owned()));
        }
    }

    /// The next answer that has come, if one has.
    pub fn answer(&self) -> Option<String> {
        self.answers.try_recv().ok()
    }
}

/// A line of the log: what happened, never what was in it.
fn log(line: impl std::fmt::Display) {
    // Whoever closed standard error wants no log.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// What is to be brought to one server: a queue for each contract, since what stops one contract
/// there stops no other.
#[derive(Default)]
struct Bag {
    queues: BTreeMap<TermsId, Queue>,
}

/// Parcels of one contract, in the order in which they were said.
#[derive(Default)]
struct Queue {
    parcels: VecDeque<String>,
    /// Not before this moment.
    rests: Option<Instant>,
    /// It was told that it rests.
    told: bool,
}

/// What became of a parcel.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It arrived, or never will; why is for the log.
    Gone(Option<String>),
    /// This contract's parcels are tried again after a while.
    Rests(Duration, String),
    /// Nobody is there: all are tried again after a while.
    Away(String),
}

impl Bag {
    fn put(&mut self, (contract, parcel): (TermsId, String)) {
        self.queues.entry(contract).or_default().parcels.push_back(parcel);
    }

    /// A contract whose first parcel may be brought now.
    fn ready(&self, now: Instant) -> Option<(TermsId, &str)> {
        self.queues.iter().find_map(|(contract, queue)| {
            let awake = queue.rests.is_none_or(|until| until <= now);
            queue.parcels.front().filter(|_| awake).map(|parcel| (*contract, parcel.as_str()))
        })
    }

    /// Time until a contract that rests may be tried again; none if nothing is left.
    fn pause(&self, now: Instant) -> Option<Duration> {
        let waiting = self.queues.values().filter(|queue| !queue.parcels.is_empty());
        waiting
            .map(|queue| {
                queue.rests.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
            })
            .min()
    }

    /// Notes what became of a contract's first parcel; answers with what the log should say.
    fn note(&mut self, contract: TermsId, fate: Fate, now: Instant) -> Option<String> {
        let resting = |queue: &mut Queue, pause, why| {
            queue.rests = Some(now + pause);
            (!core::mem::replace(&mut queue.told, true)).then_some(why)
        };
        match fate {
            Fate::Gone(why) => {
                let queue = self.queues.entry(contract).or_default();
                queue.parcels.pop_front();
                (queue.rests, queue.told) = (None, false);
                why
            }
            Fate::Rests(pause, why) => {
                resting(self.queues.entry(contract).or_default(), pause, why)
            }
            Fate::Away(why) => {
                let told = self.queues.values_mut().filter(|queue| !queue.parcels.is_empty());
                told.map(|queue| resting(queue, PAUSE, why.clone())).fold(None, Option::or)
            }
        }
    }
}

/// Brings parcels to one server, each contract's in their order, until the process ends.
fn bring(
    address: &Address,
    name: &str,
    queue: &Receiver<(TermsId, String)>,
    told: &Sender<String>,
) {
    let mut bag = Bag::default();
    loop {
        let next = match bag.pause(Instant::now()) {
            Some(pause) => queue.recv_timeout(pause),
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(parcel) => {
                bag.put(parcel);
                queue.try_iter().for_each(|parcel| bag.put(parcel));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let Some((contract, parcel)) = bag.ready(Instant::now()) else { continue };
        let fate = match post(address, parcel) {
            Ok((200, answer)) => match told.send(answer) {
                Ok(()) => Fate::Gone(None),
                Err(_) => return,
            },
            Ok((status, body)) => refused(status, &body),
            // He has heard it; what he said he brings himself.
            Err(Trouble::Long(why)) => Fate::Gone(Some(why)),
            Err(trouble @ Trouble::Garbled(_)) => Fate::Rests(LATER, trouble.to_string()),
            Err(trouble) => Fate::Away(trouble.to_string()),
        };
        if let Some(why) = bag.note(contract, fate, Instant::now()) {
            log(format_args!("{name}, contract {contract}: {why}"));
        }
    }
}

/// What a refusal means for the parcel.
fn refused(status: u16, body: &str) -> Fate {
    let problem: Value = serde_json::from_str(body).unwrap_or_default();
    let rule = problem.get("rule").and_then(Value::as_str).unwrap_or_default();
    // It goes into a line of the log, where control characters have no place.
    let body: String = body.chars().filter(|c| !c.is_control()).take(300).collect();
    let why = |what: &str| format!("{what}: status {status}, {body}");
    match status {
        // Parties may register it there later; until then he sees this one parcel and no other.
        404 => Fate::Rests(LATER, why("not known there, and tried again")),
        // He hears no more of us in this contract, whatever we wait.
        429 if rule == KEYS.id => Fate::Gone(Some(why("our words are left out"))),
        429 | 500..=599 => Fate::Rests(PAUSE, why("not heard, and tried again")),
        // He has refused it, and will again.
        _ => Fate::Gone(Some(why("our words are refused"))),
    }
}

fn post(address: &Address, body: &str) -> Result<(u16, String), Trouble> {
    let none = || Ok(Zeroizing::new(String::new()));
    let bytes = body.as_bytes();
    let (status, body) = address.post("/v1/requests", none, bytes, PATIENCE, REQUEST_MAX_BYTES)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract(number: u8) -> TermsId {
        TermsId([number; 32])
    }

    fn first(bag: &Bag, now: Instant) -> Option<String> {
        bag.ready(now).map(|(_, parcel)| parcel.to_owned())
    }

    #[test]
    fn a_contract_that_is_not_known_there_keeps_its_words_in_order_and_stops_no_other() {
        let (mut bag, now) = (Bag::default(), Instant::now());
        for (number, parcel) in [(1, "a"), (1, "b"), (2, "c")] {
            bag.put((contract(number), parcel.to_owned()));
        }
        let unknown = refused(404, "{\"rule\":\"policy-request-contract\"}");
        assert!(bag.note(contract(1), unknown, now).is_some());
        assert_eq!(first(&bag, now).as_deref(), Some("c"), "the other contract");
        assert_eq!(bag.note(contract(2), Fate::Gone(None), now), None);
        assert_eq!((first(&bag, now), bag.pause(now)), (None, Some(LATER)));
        // Once more, told once; then it is registered there.
        let again = refused(404, "");
        assert_eq!(bag.note(contract(1), again, now), None);
        for parcel in ["a", "b"] {
            assert_eq!(first(&bag, now + LATER).as_deref(), Some(parcel));
            bag.note(contract(1), Fate::Gone(None), now + LATER);
        }
        assert_eq!((first(&bag, now + LATER), bag.pause(now)), (None, None));
    }

    #[test]
    fn a_server_that_is_away_rests_with_everything_and_is_told_once() {
        let (mut bag, now) = (Bag::default(), Instant::now());
        for number in [1, 2] {
            bag.put((contract(number), "a".to_owned()));
        }
        let away = || Fate::Away("silence".to_owned());
        assert_eq!(bag.note(contract(1), away(), now).as_deref(), Some("silence"));
        assert_eq!(bag.note(contract(1), away(), now), None);
        assert_eq!((first(&bag, now), bag.pause(now)), (None, Some(PAUSE)));
        assert!(first(&bag, now + PAUSE).is_some());
    }

    #[test]
    fn what_will_never_be_heard_is_left_out_and_what_may_be_is_kept() {
        let keys = "{\"rule\":\"policy-request-keys\"}";
        for (status, body) in [(409, ""), (403, ""), (422, "{}"), (413, "x"), (429, keys)] {
            assert!(matches!(refused(status, body), Fate::Gone(Some(_))), "{status} {body}");
        }
        for (status, body) in [(404, ""), (429, ""), (429, "[]"), (500, ""), (503, keys)] {
            assert!(matches!(refused(status, body), Fate::Rests(..)), "{status} {body}");
        }
    }
}
