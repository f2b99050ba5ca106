//! The other validators' servers: what we say is brought to them, and what they answer comes back.
//!
//! Each has a thread and a queue of his own, so that one who is away keeps nobody waiting. What could
//! not be brought is tried again until it arrives, or until the process ends: after a start everything
//! that we have said is brought once more, and whoever has it already answers as he did.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use zeroize::Zeroizing;

use super::log;
use crate::error::Result;
use crate::http::{Address, Trouble};
use crate::id::TermsId;
use crate::validator::desk::Desk;
use crate::validator::limits::PEER;

/// Time for an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time before somebody who could not be reached is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// All of them, as the desk's thread sees them.
pub(super) struct Peers {
    parcels: Vec<Sender<String>>,
    answers: Receiver<String>,
    /// Up to which word of each contract parcels were made.
    upto: BTreeMap<TermsId, u64>,
}

impl Peers {
    /// Starts a thread for each address.
    pub(super) fn start(urls: &[String]) -> Result<Self> {
        let (told, answers) = channel();
        let mut parcels = Vec::new();
        for url in urls {
            let address = Address::parse(url)
                .ok_or_else(|| PEER.misused("--peer", "http://host:port", url))?;
            let (send, queue) = channel();
            let (told, name) = (told.clone(), url.clone());
            thread::spawn(move || bring(&address, &name, &queue, &told));
            parcels.push(send);
        }
        Ok(Self { parcels, answers, upto: BTreeMap::new() })
    }

    /// Whether there is anybody.
    pub(super) fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    /// Sends what the desk has said since, and hears what was answered.
    pub(super) fn exchange(&mut self, desk: &mut Desk) {
        while !self.parcels.is_empty() {
            match self.answers.try_recv() {
                Ok(answer) => {
                    if let Err(error) = desk.take_answer(&answer) {
                        log(format_args!("answer of another validator: {error}"));
                    }
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        for contract in desk.registered() {
            if let Err(error) = self.send(desk, contract) {
                log(format_args!("contract {contract}, for other validators: {error}"));
            }
        }
    }

    fn send(&mut self, desk: &Desk, contract: TermsId) -> Result<()> {
        if self.parcels.is_empty() {
            return Ok(());
        }
        let upto = self.upto.entry(contract).or_default();
        loop {
            let (next, request) = desk.parcel(contract, *upto)?;
            if next == *upto {
                return Ok(());
            }
            *upto = next;
            let Some(request) = request else { continue };
            let text = request.to_json()?;
            for parcels in &self.parcels {
                // A thread ends with the process alone.
                let _ = parcels.send(text.clone());
            }
        }
    }
}

/// Brings each parcel to one server, in order, until nobody sends any more.
fn bring(address: &Address, name: &str, queue: &Receiver<String>, told: &Sender<String>) {
    let mut away = false;
    for parcel in queue {
        loop {
            match post(address, &parcel) {
                Ok((200, answer)) => {
                    if told.send(answer).is_err() {
                        return;
                    }
                    break;
                }
                // He has refused it, and will again.
                Ok((status @ 400..=499, answer)) if status != 429 => {
                    log(format_args!("{name} refuses our words: status {status}, {answer}"));
                    break;
                }
                Ok((status, _)) => tell(&mut away, name, &format!("status {status}")),
                Err(trouble) => tell(&mut away, name, &trouble.to_string()),
            }
            thread::sleep(PAUSE);
        }
        away = false;
    }
}

/// Says once that somebody is away, not at every attempt.
fn tell(away: &mut bool, name: &str, why: &str) {
    if !core::mem::replace(away, true) {
        log(format_args!("{name} is not reached, and tried again: {why}"));
    }
}

fn post(address: &Address, body: &str) -> Result<(u16, String), Trouble> {
    let none = || Ok(Zeroizing::new(String::new()));
    let (status, body) = address.post("/v1/requests", none, body.as_bytes(), PATIENCE)?;
    // It goes into a line of the log at most, where control characters have no place.
    let text: String = String::from_utf8_lossy(&body).into_owned();
    Ok(match status {
        200 => (status, text),
        _ => (status, text.chars().filter(|c| !c.is_control()).take(300).collect()),
    })
}
