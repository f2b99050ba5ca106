//! One machine, from its first line to its last. Pure: lines and jobs come in with the time, lines
//! go out; the server has the socket.
//!
//! ```text
//!  machine                                    session
//!    mining.configure   (BIP 310)  ------------>  mask of version bits, or false
//!    mining.subscribe   ----------------------->  extra nonce: 4 bytes of ours, 8 of its own
//!    mining.authorize   payee.worker  --------->  true; then set_difficulty, notify
//!    mining.suggest_difficulty  --------------->  true; set_difficulty, notify
//!    mining.submit      ----------------------->  true, or why not
//!                       <-----------------------  notify on each new job, set_difficulty before
//!                                                 it where that changed
//! ```
//! Each job goes out under a name of this connection's own, with a difficulty that stays with it:
//! what is found on it is judged by that, whatever the machine is told later. A new difficulty waits
//! for the next job, but for the first one and for a machine's wish: then the job goes out again,
//! with a header's time a second later, because much firmware begins anew at each notify and would
//! find what it has found before. What cannot be understood gets code 20 and counts against the
//! machine; it closes nothing by itself.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use bitcoin::{BlockHash, Target};

use super::board::{Board, Posted, ROLLABLE};
use super::conduct::Conduct;
use super::difficulty::Difficulty;
use super::machines::{MachineStatus, Tally};
use super::reject::Reject;
use super::settings::{House, Sink};
use super::stratum::{self, Request, Submit};
use super::submit::{self, Case, Moment, Seen};
use super::vardiff::Vardiff;
use crate::work::credit::share_work;

/// Bytes of the extra nonce that are the machine's own.
const OWN_EXTRANONCE: u8 = 8;
/// Jobs of one connection that are known by name.
const MOST_JOBS: usize = 64;
/// A machine that was never given a job is kept for so long, ms: another pool may have work.
const JOBLESS: u64 = 60_000;
/// A machine's wishes for a difficulty are heard once in this time, ms.
const WISHES: u64 = 10_000;
/// Low shares without a single good one before somebody should look.
const LOW_RUN: u64 = 16;

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The machine has gone.
    ByMachine,
    /// It did not log in in time.
    Greeting,
    /// It was silent for long.
    Silent,
    /// A line did not become whole in time.
    SlowLine,
    /// A line was too long.
    LongLine,
    /// What it sent made too little sense.
    Conduct,
    /// It does not speak Stratum at all.
    Foreign,
    /// It does not read what it is sent.
    Unread,
    /// There is no new work, and machines had better look elsewhere.
    NoWork,
    /// The gateway stops.
    Stopping,
}

impl Ended {
    /// Why, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::ByMachine => "the machine has hung up",
            Self::Greeting => "no login in time",
            Self::Silent => "silent for too long",
            Self::SlowLine => "a line took too long to arrive",
            Self::LongLine => "a line was too long",
            Self::Conduct => "too much that makes no sense",
            Self::Foreign => "this is a Stratum server: point a miner here, not a browser",
            Self::Unread => "the machine does not read",
            Self::NoWork => "there is no new work",
            Self::Stopping => "the gateway stops",
        }
    }

    /// Whether it counts against the address.
    pub fn strikes(self) -> bool {
        matches!(self, Self::Conduct | Self::LongLine | Self::SlowLine)
    }
}

/// Whether a connection goes on.
pub type Next = core::result::Result<(), Ended>;

/// A job as this machine was sent it.
#[derive(Debug)]
struct Sent {
    name: u32,
    posted: Arc<Posted>,
    target: Target,
    /// Hashes that a share of it stands for.
    work: u128,
    /// When the next one was sent, ms.
    replaced: Option<u64>,
}

/// One machine's connection.
#[derive(Debug)]
pub struct Session {
    house: Arc<House>,
    board: Arc<Board>,
    /// What the server knows it by; its fields are what people see.
    status: MachineStatus,
    extranonce: [u8; 4],
    subscribed: bool,
    sent: VecDeque<Sent>,
    /// The name of the next job.
    name: u32,
    /// How often the present job was sent before, with other difficulties.
    again: u32,
    /// Whether what the machine delivers has once decided its difficulty.
    settled: bool,
    vardiff: Vardiff,
    conduct: Conduct,
    seen: Seen,
    connected: u64,
    /// When the last line came, ms.
    heard: u64,
    wished: Option<u64>,
    /// Whether a low share had a hash that only work gives.
    worked: bool,
    coinbase: Vec<u8>,
}

impl Session {
    /// Connection `number` has been opened from `address`.
    pub fn new(
        house: Arc<House>,
        board: Arc<Board>,
        number: u64,
        address: SocketAddr,
        now: Moment,
    ) -> Self {
        let [.., a, b, c] = number.to_be_bytes();
        let extranonce = [house.settings.gateway, a, b, c];
        let status = MachineStatus {
            number,
            address,
            user: "".into(),
            firmware: "".into(),
            payee: None,
            difficulty: None,
            mask: 0,
            tally: Tally::default(),
            last: None,
            best: None,
            since: now.unix,
            warning: None,
        };
        Self {
            board,
            status,
            extranonce,
            subscribed: false,
            sent: VecDeque::new(),
            again: 0,
            settled: false,
            // A machine that comes back still submits to the last connection's jobs: their names
            // should mean nothing here.
            name: u32::from_be_bytes([a, b, c, 0]).wrapping_mul(257),
            vardiff: Vardiff::new(house.settings.pace),
            conduct: Conduct::new(house.settings.limits),
            seen: Seen::default(),
            connected: now.ms,
            heard: now.ms,
            wished: None,
            worked: false,
            coinbase: Vec::new(),
            house,
        }
    }

    /// What is known of the machine.
    pub fn status(&self) -> &MachineStatus {
        &self.status
    }

    /// When the next line may be read, ms, if not now.
    pub fn wait(&self, now: u64) -> Option<u64> {
        self.conduct.wait(now)
    }

    /// Takes a line and writes what is said to it.
    pub fn line(&mut self, line: &[u8], now: Moment, sink: &dyn Sink, out: &mut Vec<u8>) -> Next {
        // Whoever reads lines asks `wait` before: a line that comes anyway is read too.
        self.conduct.line(now.ms);
        if line.is_empty() {
            return Ok(());
        }
        self.heard = now.ms;
        let Some(request) = Request::read(line) else {
            let web: [&[u8]; 4] = [b"GET ", b"POST ", b"HEAD ", b"OPTIONS "];
            if !self.subscribed && web.iter().any(|method| line.starts_with(method)) {
                stratum::refuse_with(out, "null", "null", 20, Ended::Foreign.words());
                return Err(Ended::Foreign);
            }
            return self.refuse(out, "null", Reject::Malformed, now);
        };
        if request.method() == "mining.submit" {
            return self.submit(&request, now, sink, out);
        }
        // Nothing but submits is ever needed in a hurry.
        if self.conduct.hurried(now.ms) && self.conduct.blame(1, now.ms) {
            return Err(Ended::Conduct);
        }
        match request.method() {
            "mining.configure" => self.configure(&request, now, out),
            "mining.subscribe" => {
                self.subscribed = true;
                self.status.firmware = request.text(0).unwrap_or_default().into();
                let result = stratum::subscribed(self.extranonce, OWN_EXTRANONCE);
                stratum::answer(out, request.id(), &result);
                self.start(now, out);
                Ok(())
            }
            "mining.authorize" => self.authorize(&request, now, sink, out),
            "mining.suggest_difficulty" => self.wish(&request, request.difficulty(0), now, out),
            "mining.suggest_target" => self.wish(&request, request.target(0), now, out),
            "mining.extranonce.subscribe" => {
                // Granted, and never used: the extra nonce stays.
                stratum::answer(out, request.id(), "true");
                Ok(())
            }
            "mining.get_transactions" => {
                stratum::answer(out, request.id(), "[]");
                Ok(())
            }
            // An answer to something that we said.
            "" => Ok(()),
            _ => self.refuse(out, request.id(), Reject::Method, now),
        }
    }

    /// Refuses, counts, and closes the connection of a machine that was refused too much.
    fn refuse(&mut self, out: &mut Vec<u8>, id: &str, reject: Reject, now: Moment) -> Next {
        self.refuse_at(reject.weight(), out, id, reject, now)
    }

    fn refuse_at(
        &mut self,
        weight: u32,
        out: &mut Vec<u8>,
        id: &str,
        reject: Reject,
        now: Moment,
    ) -> Next {
        stratum::refuse(out, id, reject);
        self.status.tally.reject(reject);
        match weight > 0 && self.conduct.blame(weight, now.ms) {
            true => Err(Ended::Conduct),
            false => Ok(()),
        }
    }

    fn configure(&mut self, request: &Request<'_>, now: Moment, out: &mut Vec<u8>) -> Next {
        let Some(asked) = request.extensions() else {
            return self.refuse(out, request.id(), Reject::Malformed, now);
        };
        let mut result = Vec::new();
        for name in &asked.names {
            if name != "version-rolling" {
                result.push(format!("{}:false", serde_json::Value::from(name.as_ref())));
                continue;
            }
            // Whoever wants more bits than there are is better off with these than with none.
            let mask = asked.mask.unwrap_or(0) & ROLLABLE;
            if mask == 0 {
                result.push("\"version-rolling\":false".to_owned());
                continue;
            }
            self.status.mask = mask;
            result
                .push(format!("\"version-rolling\":true,\"version-rolling.mask\":\"{mask:08x}\""));
        }
        stratum::answer(out, request.id(), &format!("{{{}}}", result.join(",")));
        Ok(())
    }

    fn authorize(
        &mut self,
        request: &Request<'_>,
        now: Moment,
        sink: &dyn Sink,
        out: &mut Vec<u8>,
    ) -> Next {
        let (id, user) = (request.id(), request.text(0).unwrap_or_default());
        let unauthorised = |out: &mut Vec<u8>, status: &mut MachineStatus, words: &str| {
            status.tally.reject(Reject::Unauthorised);
            stratum::refuse_with(out, id, "false", Reject::Unauthorised.code(), words);
            // Once: a machine tries again and again.
            if status.warning.is_none() {
                sink.note(status.address, words);
                status.warning = Some(words.into());
            }
            Ok(())
        };
        let Some(payee) = self.house.payee(&user) else {
            let words = format!(
                "Nobody is paid by the name of \"{}\": log in as PAYEE.WORKER, and check the spelling",
                user.split('.').next().unwrap_or_default()
            );
            return unauthorised(out, &mut self.status, &words);
        };
        if self.status.payee.is_some_and(|present| present != payee) {
            let words = "This connection works for another payee: open one for each";
            return unauthorised(out, &mut self.status, words);
        }
        if let Some(why) = self.board.why(payee).filter(|_| self.sent.is_empty()) {
            let words = format!("There is no work now: {why}");
            stratum::refuse_with(out, id, "false", Reject::Malformed.code(), &words);
            return Err(Ended::NoWork);
        }
        // The first of its workers names the connection.
        if self.status.payee.replace(payee).is_none() {
            self.status.user = user.as_str().into();
            self.status.warning = None;
        }
        stratum::answer(out, id, "true");
        self.start(now, out);
        Ok(())
    }

    fn wish(
        &mut self,
        request: &Request<'_>,
        wish: Option<Difficulty>,
        now: Moment,
        out: &mut Vec<u8>,
    ) -> Next {
        let Some(wish) = wish else {
            return self.refuse(out, request.id(), Reject::Malformed, now);
        };
        stratum::answer(out, request.id(), "true");
        if self.wished.is_none_or(|at| now.ms.saturating_sub(at) >= WISHES) {
            self.wished = Some(now.ms);
            if self.vardiff.suggest(wish, now.ms) {
                self.renew(now, out);
            }
        }
        Ok(())
    }

    /// Sends the first job, if the machine is ready for it and there is one.
    fn start(&mut self, now: Moment, out: &mut Vec<u8>) {
        if self.sent.is_empty() {
            self.look(now, out);
        }
    }

    /// The payee's present job, for a machine that is ready.
    fn present(&self) -> Option<Arc<Posted>> {
        let payee = self.status.payee.filter(|_| self.subscribed)?;
        self.board.job(payee).cloned()
    }

    /// Takes the board as it is now, and sends the job if it is another one.
    pub fn board(&mut self, board: &Arc<Board>, now: Moment, out: &mut Vec<u8>) -> Next {
        self.board = Arc::clone(board);
        if board.stopping {
            return Err(Ended::Stopping);
        }
        self.look(now, out);
        Ok(())
    }

    fn look(&mut self, now: Moment, out: &mut Vec<u8>) {
        let Some(present) = self.present() else { return };
        if !self.sent.back().is_some_and(|last| Arc::ptr_eq(&last.posted, &present)) {
            self.again = 0;
            self.send(present, now, out);
        }
    }

    /// Sends the present job again if its difficulty has changed.
    fn renew(&mut self, now: Moment, out: &mut Vec<u8>) {
        let Some(present) = self.present().filter(|_| !self.sent.is_empty()) else { return };
        if self.status.difficulty != Some(self.difficulty(&present)) {
            self.again = self.again.saturating_add(1);
            self.send(present, now, out);
        }
    }

    /// The machine's difficulty on a job.
    fn difficulty(&self, posted: &Posted) -> Difficulty {
        let own = self.vardiff.difficulty();
        posted.hardest.map_or(own, |hardest| own.min(hardest))
    }

    fn send(&mut self, posted: Arc<Posted>, now: Moment, out: &mut Vec<u8>) {
        let difficulty = self.difficulty(&posted);
        if self.status.difficulty != Some(difficulty) {
            stratum::set_difficulty(out, difficulty);
            self.status.difficulty = Some(difficulty);
        }
        let clean = match self.sent.back_mut() {
            Some(last) => {
                last.replaced = Some(now.ms);
                !last.posted.beside(&posted)
            }
            None => true,
        };
        if clean {
            self.seen.turn(posted.job.work.parent);
        }
        let time = posted.job.template.time.saturating_add(self.again);
        stratum::notify(out, self.name, &posted, time, clean);
        let target = difficulty.target();
        let work = share_work(target);
        self.sent.push_back(Sent { name: self.name, posted, target, work, replaced: None });
        self.name = self.name.wrapping_add(1);
        if self.sent.len() > MOST_JOBS {
            self.sent.pop_front();
        }
        self.vardiff.began(now.ms);
    }

    fn submit(
        &mut self,
        request: &Request<'_>,
        now: Moment,
        sink: &dyn Sink,
        out: &mut Vec<u8>,
    ) -> Next {
        let id = request.id();
        let judged = match request.submit() {
            Some(submit) => self.try_submit(&submit, now, sink),
            None => Err(Reject::Malformed),
        };
        match judged {
            Ok(work) => {
                stratum::answer(out, id, "true");
                let tally = &mut self.status.tally;
                tally.accepted = tally.accepted.saturating_add(1);
                tally.work = tally.work.saturating_add(work);
                self.status.last = Some(now.unix);
                self.conduct.praise();
                self.vardiff.accepted(work);
                self.pace(now, out);
                Ok(())
            }
            // It is a submit at least: firmware has its ways.
            Err(Reject::Malformed) => self.refuse_at(1, out, id, Reject::Malformed, now),
            Err(reject) => self.refuse(out, id, reject, now),
        }
    }

    /// Looks whether the difficulty fits. The first that does goes out at once, because a big
    /// machine may be far from it; others wait for the next job.
    fn pace(&mut self, now: Moment, out: &mut Vec<u8>) {
        if self.vardiff.next(now.ms).is_some() && !core::mem::replace(&mut self.settled, true) {
            self.renew(now, out);
        }
    }

    /// The hashes that an accepted submit stands for.
    fn try_submit(
        &mut self,
        submit: &Submit<'_>,
        now: Moment,
        sink: &dyn Sink,
    ) -> Result<u128, Reject> {
        if !self.subscribed {
            return Err(Reject::NotSubscribed);
        }
        // Whichever worker of the payee it names: some never log theirs in.
        let picks = |payee| {
            self.house.picks(&submit.user, payee)
                || self.house.picks(&stratum::shown(&submit.user), payee)
        };
        let payee = self.status.payee.ok_or(Reject::Unauthorised)?;
        let ours = picks(payee);
        let name = stratum::number(&submit.job).ok_or(Reject::UnknownJob)?;
        let Some(first) = self.sent.front() else { return Err(Reject::UnknownJob) };
        let place = usize::try_from(name.wrapping_sub(first.name)).unwrap_or(usize::MAX);
        let sent = self.sent.get(place).ok_or(Reject::UnknownJob)?;
        let (posted, work) = (&sent.posted, sent.work);
        let (find, within) =
            submit::read(submit, self.extranonce, posted.version, self.status.mask)?;
        let hash = submit::header_hash(&posted.job.work, &find, &mut self.coinbase)
            .ok_or(Reject::UnknownJob)?;
        let tally = &mut self.status.tally;
        if posted.network.is_met_by(hash) {
            sink.block(&posted.job, &find);
            tally.blocks = tally.blocks.saturating_add(1);
        }
        if !ours {
            return Err(Reject::Unauthorised);
        }
        if !within {
            return Err(Reject::VersionBits);
        }
        let case = Case {
            posted,
            parent: self.board.parent(payee).unwrap_or(posted.job.work.parent),
            target: sent.target,
            oldest: self.house.settings.oldest_job,
            replaced: sent.replaced,
        };
        let verdict = submit::judge(case, &find, hash, now, &mut self.seen);
        if verdict.share {
            sink.share(&posted.job, &find, hash);
            tally.shares = tally.shares.saturating_add(1);
        }
        if verdict.answer == Err(Reject::LowDifficulty) {
            let length = self.coinbase.len();
            self.low(hash, length, sink);
        }
        verdict.answer?;
        if self.status.best.is_none_or(|best| lower(hash, best)) {
            self.status.best = Some(hash);
        }
        Ok(work)
    }

    /// A low share of a machine that never had a good one: firmware that cuts the coinbase off
    /// hashes something else, so that what it finds is nothing here. A machine that merely ignores
    /// its difficulty shows hashes that took work.
    fn low(&mut self, hash: BlockHash, length: usize, sink: &dyn Sink) {
        let bytes: &[u8; 32] = hash.as_ref();
        self.worked |= bytes.ends_with(&[0, 0]);
        let lows = self.status.tally.rejected(Reject::LowDifficulty).saturating_add(1);
        if self.status.tally.accepted > 0 || lows != LOW_RUN {
            return;
        }
        let words = match self.worked {
            true => "every share is too low: the machine ignores the difficulty".to_owned(),
            false => format!(
                "coinbase too long for this firmware (it hashes another coinbase): ours has \
                 {length} bytes"
            ),
        };
        sink.note(self.status.address, &words);
        self.status.warning = Some(words.into());
    }

    /// Time has passed; `line` says since when a line is unfinished, ms.
    pub fn tick(&mut self, line: Option<u64>, now: Moment, out: &mut Vec<u8>) -> Next {
        let limits = &self.house.settings.limits;
        let since = |at: u64| now.ms.saturating_sub(at);
        let stranger = self.status.payee.is_none() || !self.subscribed;
        if stranger && since(self.connected) > limits.greeting {
            stratum::show(out, Ended::Greeting.words());
            return Err(Ended::Greeting);
        }
        if line.is_some_and(|at| since(at) > limits.line_time) {
            return Err(Ended::SlowLine);
        }
        let Some(last) = self.sent.back() else {
            // Nothing to work on yet: silence is no wonder.
            self.heard = now.ms;
            if since(self.connected) <= JOBLESS {
                return Ok(());
            }
            let why = self.status.payee.and_then(|payee| self.board.why(payee));
            let why = why.map_or("there is no job yet", |why| why.as_ref());
            stratum::show(out, &format!("There is no work now: {why}"));
            return Err(Ended::NoWork);
        };
        let oldest = self.house.settings.oldest_job;
        let why = self.status.payee.and_then(|payee| self.board.why(payee));
        if let Some(why) = why.filter(|_| since(last.posted.at) > oldest) {
            stratum::show(out, &format!("There is no new work: {why}"));
            return Err(Ended::NoWork);
        }
        if since(self.heard) > limits.idle {
            return Err(Ended::Silent);
        }
        // Old jobs are remembered for a while, to say that they are old and not unknown.
        let last = self.sent.len().saturating_sub(1);
        let gone = |sent: &Sent| sent.replaced.is_some_and(|at| since(at) / 2 > oldest);
        let gone = self.sent.iter().take(last).take_while(|sent| gone(sent)).count();
        self.sent.drain(..gone);
        self.pace(now, out);
        Ok(())
    }
}

/// Whether a hash is lower than another, as numbers.
fn lower(one: BlockHash, other: BlockHash) -> bool {
    let (one, other): (&[u8; 32], &[u8; 32]) = (one.as_ref(), other.as_ref());
    one.iter().rev().lt(other.iter().rev())
}
