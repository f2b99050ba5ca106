//! A small Stratum miner with the habits of real ones, for rehearsals and tests of the gateway.
//!
//! Of the server it uses difficulties and hashes alone: it reads jobs as firmware does, makes
//! coinbases and headers of its own, and grinds them on one thread. It can be told to do wrong, as
//! some firmware does. What was said is recorded: lines of the miner begin with `>`, those of the
//! gateway with `<`.

pub mod jobs;

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::hex::FromHex;
use bitcoin::{BlockHash, CompactTarget, Target, TxMerkleNode};
use serde_json::{Value, json};

use crate::error::{Culprit, Error, Result, Rule};
use crate::gateway::difficulty::Difficulty;
use crate::work::hash::{self, Midstate};

/// A gateway talks with the test miner.
pub const TALKS: Rule = Rule::new(
    "rehearsal-stratum",
    "the gateway answers a miner in time and as Stratum V1 is spoken",
    "look at what the gateway logged about the connection",
);

/// Nonces that are tried before version bits or extra nonce change.
const NONCES: u32 = 1 << 20;
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a firmware does in its own way.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// How it calls itself.
    pub firmware: &'static str,
    /// The version bits that it asks for, if it rolls any.
    pub rolls: Option<&'static str>,
    /// The id of every request, if they do not count up.
    pub id: Option<u64>,
    /// A request that it sends once it is logged in.
    pub wishes: Option<(&'static str, &'static str)>,
    /// Whether it asks to be told of other extra nonces.
    pub extranonces: bool,
    /// Whether it writes hexadecimal digits in capitals.
    pub capitals: bool,
    /// Whether it logs in before it subscribes.
    pub hasty: bool,
    /// Bytes of a coinbase that it has room for; it hashes no more than these.
    pub room: Option<usize>,
    /// Whether its part of the extra nonce begins anew with each job, as in most firmware: then a job
    /// that is sent again must differ, or all its work is done twice.
    pub restarts: bool,
}

impl Habits {
    /// Sends configure, subscribe, authorize, then its wish for a difficulty.
    pub const BITAXE: Self = Self {
        firmware: "bitaxe/BM1370/v2.9.0",
        rolls: Some("ffffffff"),
        id: None,
        wishes: Some(("mining.suggest_difficulty", "[1000]")),
        extranonces: true,
        capitals: false,
        hasty: false,
        room: None,
        restarts: false,
    };
    /// A CPU miner: no version bits, the same id in every submit.
    pub const MINERD: Self = Self {
        firmware: "cpuminer/2.5.1",
        rolls: None,
        id: Some(4),
        wishes: None,
        extranonces: false,
        capitals: false,
        hasty: false,
        room: None,
        restarts: false,
    };
    /// Stock firmware of Bitmain: a mask of its own.
    pub const ANTMINER: Self = Self {
        firmware: "Antminer S21/Thu Jul 11 10:24:28 CST 2024",
        rolls: Some("1fffe000"),
        id: None,
        wishes: None,
        extranonces: true,
        capitals: false,
        hasty: false,
        room: None,
        restarts: false,
    };
    /// Stock firmware of MicroBT: fewer bits, digits in capitals.
    pub const WHATSMINER: Self = Self {
        firmware: "whatsminer/v1.1",
        rolls: Some("00c00000"),
        id: None,
        wishes: None,
        extranonces: true,
        capitals: true,
        hasty: true,
        room: None,
        restarts: false,
    };
}

/// A job as it was told.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its name.
    pub name: String,
    /// Whether all before it are worthless.
    pub clean: bool,
    /// The header's time, Unix seconds.
    pub time: u32,
    parent: [u8; 32],
    pieces: [Vec<u8>; 2],
    branch: Vec<TxMerkleNode>,
    version: u32,
    bits: u32,
}

/// What a miner hands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The job's name.
    pub job: String,
    /// Its part of the extra nonce.
    pub extranonce: u64,
    /// The header's time.
    pub time: u32,
    /// The nonce.
    pub nonce: u32,
    /// The rolled version bits, if it rolls any.
    pub bits: Option<u32>,
}

/// The gateway's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Accepted.
    Yes,
    /// Refused, with Stratum's code and words.
    No(u64, String),
}

/// A miner that is connected.
#[derive(Debug)]
pub struct StratumMiner {
    stream: TcpStream,
    habits: Habits,
    user: String,
    arrived: Vec<u8>,
    answers: VecDeque<Value>,
    record: Vec<String>,
    next_id: u64,
    extranonce: Vec<u8>,
    /// Version bits that were granted.
    mask: u32,
    target: Target,
    job: Option<Told>,
    /// Where the search goes on: extra nonce, count of version bits, nonce.
    place: (u64, u32, u32),
}

impl StratumMiner {
    /// Connects, without a word yet.
    pub fn connect(address: SocketAddr, user: &str, habits: Habits) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(broken)?;
        stream.set_nodelay(true).map_err(broken)?;
        Ok(Self {
            stream,
            habits,
            user: user.to_owned(),
            arrived: Vec::new(),
            answers: VecDeque::new(),
            record: Vec::new(),
            next_id: 1,
            extranonce: Vec::new(),
            mask: 0,
            target: Difficulty::ONE.target(),
            job: None,
            place: (0, 0, 0),
        })
    }

    /// Connects, introduces itself as its firmware does, and is given its first job.
    pub fn start(address: SocketAddr, user: &str, habits: Habits) -> Result<Self> {
        let mut miner = Self::connect(address, user, habits)?;
        miner.introduce()?;
        miner.await_job(|_| true)?;
        Ok(miner)
    }

    /// Everything that comes before the first job.
    pub fn introduce(&mut self) -> Result<()> {
        if let Some(mask) = self.habits.rolls {
            let least = json!({
                "version-rolling.mask": mask,
                "version-rolling.min-bit-count": 2,
            });
            let granted = self.ask("mining.configure", json!([["version-rolling"], least]))?;
            let mask = granted["result"]["version-rolling.mask"].as_str().unwrap_or("0");
            self.mask = u32::from_str_radix(mask, 16).map_err(odd)?;
        }
        let login = json!([self.user, "x"]);
        if self.habits.hasty {
            self.grant("mining.authorize", login.clone())?;
        }
        let said = self.ask("mining.subscribe", json!([self.habits.firmware]))?;
        let extranonce = said["result"][1].as_str().unwrap_or_default();
        self.extranonce = Vec::from_hex(extranonce).map_err(odd)?;
        if self.extranonce.len() != 4 || said["result"][2] != 8 {
            return Err(odd(&said));
        }
        if !self.habits.hasty {
            self.grant("mining.authorize", login)?;
        }
        if let Some((method, wish)) = self.habits.wishes {
            self.grant(method, serde_json::from_str(wish).map_err(odd)?)?;
        }
        if self.habits.extranonces {
            self.grant("mining.extranonce.subscribe", json!([]))?;
        }
        Ok(())
    }

    /// Sends a request whose answer must be yes.
    fn grant(&mut self, method: &str, params: Value) -> Result<()> {
        let said = self.ask(method, params)?;
        match said["result"] == true {
            true => Ok(()),
            false => Err(odd(said)),
        }
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, method: &str, params: Value) -> Result<Value> {
        self.request(method, params)?;
        self.answer()
    }

    fn request(&mut self, method: &str, params: Value) -> Result<()> {
        let id = self.habits.id.unwrap_or(self.next_id);
        self.next_id = self.next_id.saturating_add(1);
        self.say(&json!({ "id": id, "method": method, "params": params }).to_string())
    }

    /// Sends a line as it is.
    pub fn say(&mut self, line: &str) -> Result<()> {
        self.record.push(format!("> {line}"));
        self.stream.write_all(format!("{line}\n").as_bytes()).map_err(broken)
    }

    /// The next answer. Answers come in the order of requests.
    pub fn answer(&mut self) -> Result<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = self.answers.pop_front() {
                return Ok(answer);
            }
            self.hear_until(end)?;
        }
    }

    /// Waits for a job that is `wanted`; the present one may be it.
    pub fn await_job(&mut self, wanted: impl Fn(&Told) -> bool) -> Result<&Told> {
        let end = Instant::now() + PATIENCE;
        while !self.job.as_ref().is_some_and(&wanted) {
            self.hear_until(end)?;
        }
        self.job.as_ref().ok_or_else(|| odd("no job"))
    }

    fn hear_until(&mut self, end: Instant) -> Result<()> {
        let left = end.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(TALKS.unavailable("stratum", "a line in time", "silence")),
            false => self.hear(left),
        }
    }

    /// Reads what arrives within `wait`; less is no error, the end of the connection is.
    pub fn hear(&mut self, wait: Duration) -> Result<()> {
        self.stream.set_read_timeout(Some(wait.max(Duration::from_millis(1)))).map_err(broken)?;
        let mut chunk = [0; 4_096];
        match self.stream.read(&mut chunk) {
            Ok(0) => return Err(TALKS.unavailable("stratum", "a line", "the connection's end")),
            Ok(length) => self.arrived.extend(chunk.iter().take(length)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(broken(error)),
        }
        while let Some(end) = self.arrived.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.arrived.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            self.record.push(format!("< {line}"));
            self.understand(serde_json::from_str(&line).map_err(odd)?)?;
        }
        Ok(())
    }

    fn understand(&mut self, said: Value) -> Result<()> {
        let params = &said["params"];
        match said["method"].as_str() {
            Some("mining.set_difficulty") => {
                let number = params[0].to_string();
                self.target = Difficulty::read(&number).ok_or_else(|| odd(&number))?.target();
            }
            Some("mining.notify") => {
                self.job = Some(told(params)?);
                let next = self.place.0.saturating_add(1);
                self.place = (if self.habits.restarts { 0 } else { next }, 0, 0);
            }
            Some(_) => {}
            None => self.answers.push_back(said),
        }
        Ok(())
    }

    /// The present job.
    pub fn job(&self) -> Option<&Told> {
        self.job.as_ref()
    }

    /// The target of its shares.
    pub fn target(&self) -> Target {
        self.target
    }

    /// Puts a mark between the lines that were said.
    pub fn mark(&mut self, words: &str) {
        self.record.push(format!("! {words}"));
    }

    /// What was said, line by line.
    pub fn record(&self) -> &[String] {
        &self.record
    }

    /// Tries so many hashes on the present job; the first that is low enough ends the search.
    pub fn search(&mut self, hashes: u64) -> Option<Submission> {
        self.search_for(hashes, self.target)
    }

    /// The same with a target of one's own.
    pub fn search_for(&mut self, hashes: u64, target: Target) -> Option<Submission> {
        let job = self.job.clone()?;
        let mut left = hashes;
        while left > 0 {
            let (extranonce, count, nonce) = self.place;
            let bits = spread(count, self.mask);
            let header = self.header(&job, extranonce, bits);
            let mut midstate = Midstate::new(&header);
            for nonce in nonce..NONCES {
                let Some(rest) = left.checked_sub(1) else {
                    self.place = (extranonce, count, nonce);
                    return None;
                };
                left = rest;
                let hash = BlockHash::from_byte_array(midstate.hash(nonce));
                if target.is_met_by(hash) {
                    self.place = (extranonce, count, nonce.saturating_add(1));
                    let bits = (self.mask != 0).then_some(bits);
                    return Some(Submission {
                        job: job.name,
                        extranonce,
                        time: job.time,
                        nonce,
                        bits,
                    });
                }
            }
            self.roll();
        }
        None
    }

    /// Goes on with the next version bits, and when they are used up with the next extra nonce.
    pub fn roll(&mut self) {
        let (extranonce, count, _) = self.place;
        let rolls = self.mask != 0 && count < (1u32 << self.mask.count_ones().min(16)) - 1;
        self.place = match rolls {
            true => (extranonce, count + 1, 0),
            false => (extranonce.saturating_add(1), 0, 0),
        };
    }

    fn header(&self, job: &Told, extranonce: u64, bits: u32) -> Header {
        let [first, last] = &job.pieces;
        let own = extranonce.to_be_bytes();
        let mut coinbase = [first.as_slice(), &self.extranonce, &own, last].concat();
        coinbase.truncate(self.habits.room.unwrap_or(usize::MAX));
        // Without a root the job is broken; what is found then is refused.
        let root = hash::fold(hash::double(&coinbase), &job.branch).unwrap_or_default();
        Header {
            version: Version::from_consensus((job.version | bits).cast_signed()),
            prev_blockhash: BlockHash::from_byte_array(job.parent),
            merkle_root: TxMerkleNode::from_byte_array(root),
            time: job.time,
            bits: CompactTarget::from_consensus(job.bits),
            nonce: 0,
        }
    }

    /// Hands something in and waits for the answer.
    pub fn submit(&mut self, submission: &Submission) -> Result<Answer> {
        let params = self.params(submission);
        let said = self.ask("mining.submit", params)?;
        match (&said["result"], &said["error"]) {
            (Value::Bool(true), Value::Null) => Ok(Answer::Yes),
            (_, Value::Array(error)) => {
                let words = error.get(1).and_then(Value::as_str).unwrap_or_default().to_owned();
                Ok(Answer::No(error.first().and_then(Value::as_u64).unwrap_or_default(), words))
            }
            _ => Err(odd(&said)),
        }
    }

    /// The parameters of `mining.submit` as this firmware writes them.
    pub fn params(&self, submission: &Submission) -> Value {
        let Submission { job, extranonce, time, nonce, bits } = submission;
        let digits = |text: String| match self.habits.capitals {
            true => text.to_uppercase(),
            false => text,
        };
        let mut fields = vec![self.user.clone(), job.clone()];
        fields.push(digits(format!("{extranonce:016x}")));
        fields.push(digits(format!("{time:08x}")));
        fields.push(digits(format!("{nonce:08x}")));
        fields.extend(bits.map(|bits| digits(format!("{bits:08x}"))));
        json!(fields)
    }

    /// Mines until so many shares are accepted, on whatever job is the present one. Refusals are
    /// counted, not feared: a job may end while a share of it is on its way.
    pub fn mine(&mut self, shares: usize, within: Duration) -> Result<Mined> {
        let end = Instant::now() + within;
        let mut mined = Mined::default();
        while mined.accepted < shares {
            if Instant::now() > end {
                let found = format_args!("{mined:?}").to_string();
                return Err(TALKS.unavailable("mining", format_args!("{shares} shares"), found));
            }
            self.hear(Duration::from_millis(1))?;
            if let Some(found) = self.search(200_000) {
                match self.submit(&found)? {
                    Answer::Yes => mined.accepted += 1,
                    Answer::No(..) => mined.refused += 1,
                }
            }
        }
        Ok(mined)
    }
}

/// What came of mining.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mined {
    /// Accepted shares.
    pub accepted: usize,
    /// Refused ones.
    pub refused: usize,
}

/// The bits of `count`, laid from the lowest up onto those of `mask`.
fn spread(count: u32, mask: u32) -> u32 {
    let places = (0..32).filter(|place| mask >> place & 1 == 1);
    places.enumerate().fold(0, |bits, (i, place)| bits | (count >> i & 1) << place)
}

fn told(params: &Value) -> Result<Told> {
    let text = |at: usize| params[at].as_str().ok_or_else(|| odd(params));
    let bytes = |at: usize| Vec::from_hex(text(at)?).map_err(odd);
    let number = |at: usize| u32::from_str_radix(text(at)?, 16).map_err(odd);
    let mut parent = <[u8; 32]>::from_hex(text(1)?).map_err(odd)?;
    for word in parent.as_chunks_mut::<4>().0 {
        word.reverse();
    }
    let branch = params[4].as_array().ok_or_else(|| odd(params))?.iter().map(|node| {
        let bytes = <[u8; 32]>::from_hex(node.as_str().unwrap_or_default()).map_err(odd)?;
        Ok(TxMerkleNode::from_byte_array(bytes))
    });
    Ok(Told {
        name: text(0)?.to_owned(),
        clean: params[8] == true,
        time: number(7)?,
        parent,
        pieces: [bytes(2)?, bytes(3)?],
        branch: branch.collect::<Result<_>>()?,
        version: number(5)?,
        bits: number(6)?,
    })
}

fn odd(found: impl core::fmt::Display) -> Error {
    TALKS.refuses(Culprit::Server, "stratum", "a line of Stratum V1", found)
}

fn broken(error: std::io::Error) -> Error {
    TALKS.unavailable("stratum", "a connection", error)
}

impl Told {
    /// The block that the job builds on.
    pub fn parent(&self) -> BlockHash {
        BlockHash::from_byte_array(self.parent)
    }
}
