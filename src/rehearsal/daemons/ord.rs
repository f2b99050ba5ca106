//! ord as a process: the reference indexer of ordinals, who shares no line with us, in front of
//! Bitcoin Core. It is asked where a satoshi is, and must say what we say.
//!
//! ord 0.29 reads blocks over Core's RPC, looks for new ones at an interval that we choose, and
//! answers over HTTP. Of a satoshi it knows the place by number only where the satoshi is the first
//! of its block or holds an inscription; any other is looked for in the ranges of every output.
//!
//! Two of its habits show on regtest. It numbers satoshis as mainnet makes them, 50 BTC a block up
//! to height 210,000, where regtest halves the subsidy every 150 blocks: from height 150 on it takes
//! what a block's finder was never given for lost, and the fees with it. And it follows a reorg of up
//! to nine blocks or so, by going back to a copy of its index that is older.

use std::fmt;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use bitcoin::{Amount, BlockHash, OutPoint, Transaction};
use serde::de::DeserializeOwned;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{Bitcoind, LOOK, Process, RUNS, STUCK, Scratch, executable};
use crate::error::{Error, Result};
use crate::http::Address;
use crate::tx::satoshi::Place;

/// Longest wait for one answer. ord answers while it reads blocks.
const ANSWER: Duration = Duration::from_secs(60);
/// Longest answer, in bytes: a block as JSON is its longest.
const LONGEST: usize = 64 << 20;
/// What makes ord answer as to a program, and not as to a person.
const AS_JSON: &str = "Accept: application/json\r\n";
/// What it prints before the address it listens at.
const LISTENS: &str = "Listening on ";

/// A running ord with an index of its own, which ends with it.
pub struct Ord {
    // First: a process that still runs would write into the folder while it is removed.
    process: Process,
    address: Address,
    _folder: Scratch,
}

impl fmt::Debug for Ord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ord").field("at", &self.address.host()).finish_non_exhaustive()
    }
}

/// An inscription as ord has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inscription {
    /// Where the satoshi is that holds it.
    pub place: Place,
    /// The number of that satoshi.
    pub sat: Option<u64>,
    /// Ids of the inscriptions that it is a child of.
    pub parents: Vec<String>,
    /// The type of its content, such as `text/plain`.
    pub content_type: Option<String>,
    /// Its content, if it has any.
    pub body: Option<Vec<u8>>,
}

impl Ord {
    /// Starts ord, found by ORD_EXE or in the PATH, in front of `node`, and waits until it listens.
    ///
    /// It must end before its node does: otherwise it asks on and on for blocks.
    pub fn start(node: &Bitcoind) -> Result<Self> {
        let executable = executable("ord", "ORD_EXE")?;
        let folder = Scratch::new("ord")?;
        let log = folder.path().join("printed.log");
        let mut command = command(&executable, folder.path(), node);
        let mut process = Process::start("ord", &mut command, log.clone())?;
        let printed = || std::fs::read_to_string(&log).unwrap_or_default();
        let address = process.until(
            "the address that it listens at",
            || Ok(listens_at(&printed()).and_then(|url| Address::parse(&url))),
            || printed().len(),
        )?;
        Ok(Self { process, address, _folder: folder })
    }

    /// Returns when ord has indexed the block `tip.1` at the height `tip.0`, with all before it.
    pub fn settle(&self, tip: (u32, BlockHash)) -> Result<()> {
        let (height, block) = tip;
        let mut since = (None, Instant::now());
        loop {
            let there: Option<BlockHash> = self.ask(&format!("/r/blockhash/{height}"))?;
            if there == Some(block) {
                return Ok(());
            }
            // It may go back before it goes on.
            let progress = Some((self.height()?, there));
            if progress != since.0 {
                since = (progress, Instant::now());
            } else if since.1.elapsed() > STUCK {
                let expected = format!("block {block} at height {height}");
                return Err(self.silent(expected, format_args!("{:?}", since.0)));
            }
            sleep(LOOK);
        }
    }

    /// Height of the last block that it has indexed; none before the first.
    pub fn height(&self) -> Result<Option<u32>> {
        self.ask("/r/blockheight")
    }

    /// The numbers of the satoshis in an output, in their order: from, and up to but without. None
    /// are in an output that is spent, or in no block yet.
    pub fn sat_ranges(&self, outpoint: OutPoint) -> Result<Vec<(u64, u64)>> {
        let output: Option<Value> = self.ask(&format!("/output/{outpoint}"))?;
        self.ranges(&output.unwrap_or_default())
    }

    /// The number of the satoshi at a place; none if no unspent output has so many.
    pub fn sat_at(&self, place: Place) -> Result<Option<u64>> {
        Ok(nth(&self.sat_ranges(place.outpoint)?, place.offset.to_sat()))
    }

    /// Where the satoshi of this number is; none if no block has made it yet. What its block's
    /// finder left unclaimed is at [`OutPoint::null`].
    ///
    /// Cheap for the first satoshi of a block and for one that holds an inscription. For any other,
    /// the outputs of all blocks since its own are asked for.
    pub fn where_is(&self, sat: u64) -> Result<Option<Place>> {
        let path = format!("/sat/{sat}");
        let told: Value = self.ask(&path)?.unwrap_or_default();
        if let Some(place) = told["satpoint"].as_str() {
            return self.place(place).map(Some);
        }
        let born = told["block"].as_u64().and_then(|height| u32::try_from(height).ok());
        let born = born.ok_or_else(|| self.silent(format_args!("{path}: a block"), &told))?;
        let Some(tip) = self.height()? else { return Ok(None) };
        // Most of what is looked for has moved lately.
        for height in (born..=tip).rev() {
            if let Some(found) = self.within_block(height, sat)? {
                return Ok(Some(found));
            }
        }
        let lost = self.sat_ranges(OutPoint::null())?;
        Ok(offset(&lost, sat).map(|offset| place(OutPoint::null(), offset)))
    }

    /// The inscription of this id, which reads `<txid>i<index>`; none if it knows none.
    pub fn inscription(&self, id: &str) -> Result<Option<Inscription>> {
        let path = format!("/inscription/{id}");
        let Some(told): Option<Value> = self.ask(&path)? else { return Ok(None) };
        let ids = told["parents"].as_array().map(Vec::as_slice).unwrap_or_default();
        let body = match told["content_length"].as_u64() {
            Some(_) => self.fetch(&format!("/content/{id}"))?,
            None => None,
        };
        Ok(Some(Inscription {
            place: self.place(told["satpoint"].as_str().unwrap_or_default())?,
            sat: told["sat"].as_u64(),
            parents: ids.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect(),
            content_type: told["content_type"].as_str().map(str::to_owned),
            body,
        }))
    }

    /// Where a satoshi is among the outputs that a block made.
    fn within_block(&self, height: u32, sat: u64) -> Result<Option<Place>> {
        let block: Value = self.ask(&format!("/block/{height}"))?.unwrap_or_default();
        let transactions: Vec<Transaction> = self.read("/block", &block["transactions"])?;
        let outpoints: Vec<OutPoint> = transactions
            .iter()
            .flat_map(|tx| {
                let txid = tx.compute_txid();
                (0u32..).zip(&tx.output).map(move |(vout, _)| OutPoint::new(txid, vout))
            })
            .collect();
        for (outpoint, output) in outpoints.iter().zip(self.outputs(&outpoints)?) {
            if let Some(offset) = offset(&self.ranges(&output)?, sat) {
                return Ok(Some(place(*outpoint, offset)));
            }
        }
        Ok(None)
    }

    /// What it says of each of these outputs.
    fn outputs(&self, outpoints: &[OutPoint]) -> Result<Vec<Value>> {
        let body = serde_json::json!(outpoints).to_string();
        let headers = || Ok(Zeroizing::new(AS_JSON.to_owned()));
        let answer = self.address.post("/outputs", headers, body.as_bytes(), ANSWER, LONGEST);
        let (status, body) = answer.map_err(|trouble| self.silent("/outputs", trouble))?;
        if status != 200 {
            return Err(self.refused("/outputs", status, &body));
        }
        serde_json::from_slice(&body).map_err(|e| self.silent("/outputs: a list of outputs", e))
    }

    fn ranges(&self, output: &Value) -> Result<Vec<(u64, u64)>> {
        let ranges: Option<_> = self.read("sat_ranges", &output["sat_ranges"])?;
        Ok(ranges.unwrap_or_default())
    }

    /// Reads `<txid>:<vout>:<offset>`.
    fn place(&self, text: &str) -> Result<Place> {
        satpoint(text).ok_or_else(|| self.silent("a place such as <txid>:<vout>:<offset>", text))
    }

    fn read<T: DeserializeOwned>(&self, what: &str, value: &Value) -> Result<T> {
        T::deserialize(value).map_err(|e| self.silent(format_args!("{what} that can be read"), e))
    }

    /// One question; none if what it asks for is not there.
    fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        let Some(body) = self.fetch(path)? else { return Ok(None) };
        let read = serde_json::from_slice(&body).map(Some);
        read.map_err(|e| self.silent(format_args!("{path}: an answer as JSON"), e))
    }

    fn fetch(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let answer = self.address.get(path, AS_JSON, ANSWER, LONGEST);
        match answer.map_err(|trouble| self.silent(path, trouble))? {
            (200, body) => Ok(Some(body)),
            (404, _) => Ok(None),
            (status, body) => Err(self.refused(path, status, &body)),
        }
    }

    fn refused(&self, path: &str, status: u16, body: &[u8]) -> Error {
        let why = String::from_utf8_lossy(body);
        self.silent(format_args!("{path}: an answer"), format_args!("HTTP {status}: {why}"))
    }

    /// What it printed last says more than a connection that broke.
    fn silent(&self, expected: impl fmt::Display, found: impl fmt::Display) -> Error {
        let found = format!("{found}; it said last: {}", self.process.last_words());
        RUNS.unavailable(format_args!("ord at {}", self.address.host()), expected, found)
    }
}

fn command(executable: &Path, folder: &Path, node: &Bitcoind) -> Command {
    let mut command = Command::new(executable);
    // Settings of the user's own ord, in his environment, are not ours.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ORD_") {
            command.env_remove(name);
        }
    }
    // It would keep quiet about where it listens.
    command.env_remove("RUST_LOG");
    command.current_dir(folder).args([
        "--regtest".into(),
        format!("--data-dir={}", folder.join("index").display()),
        format!("--cookie-file={}", node.cookie().display()),
        format!("--bitcoin-rpc-url=127.0.0.1:{}", node.rpc_port()),
        // Core works for few at once here, and has a queue for little more.
        "--bitcoin-rpc-limit=2".into(),
        "--index-sats".into(),
        // A quarter of the machine's memory otherwise, for each.
        "--index-cache-size=33554432".into(),
        "server".into(),
        "--http".into(),
        "--address=127.0.0.1".into(),
        // One that nobody uses: it prints which.
        "--http-port=0".into(),
        "--polling-interval=50ms".into(),
    ]);
    command
}

/// The URL that ord says it listens at, once the line is whole.
fn listens_at(printed: &str) -> Option<String> {
    let (_, rest) = printed.split_once(LISTENS)?;
    let (url, _) = rest.split_once('\n')?;
    Some(url.trim().to_owned())
}

/// How many satoshis lie before `sat` in these ranges; none if it is not among them.
fn offset(ranges: &[(u64, u64)], sat: u64) -> Option<u64> {
    let mut before = 0u64;
    for (from, end) in ranges {
        if (*from..*end).contains(&sat) {
            return before.checked_add(sat.checked_sub(*from)?);
        }
        before = before.checked_add(end.checked_sub(*from)?)?;
    }
    None
}

/// The satoshi that `offset` others of these ranges lie before.
fn nth(ranges: &[(u64, u64)], mut offset: u64) -> Option<u64> {
    for (from, end) in ranges {
        let size = end.checked_sub(*from)?;
        if offset < size {
            return from.checked_add(offset);
        }
        offset = offset.checked_sub(size)?;
    }
    None
}

fn satpoint(text: &str) -> Option<Place> {
    let (outpoint, offset) = text.rsplit_once(':')?;
    Some(place(outpoint.parse().ok()?, offset.parse().ok()?))
}

fn place(outpoint: OutPoint, offset: u64) -> Place {
    Place { outpoint, offset: Amount::from_sat(offset) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGES: [(u64, u64); 3] = [(100, 110), (0, 5), (500, 501)];

    #[test]
    fn a_satoshi_is_found_in_ranges_by_its_number_and_by_its_offset() {
        let found = [(0, 100), (9, 109), (10, 0), (14, 4), (15, 500)];
        for (at, sat) in found {
            assert_eq!((nth(&RANGES, at), offset(&RANGES, sat)), (Some(sat), Some(at)));
        }
        assert_eq!(nth(&RANGES, 16), None);
        for sat in [5, 99, 110, 501] {
            assert_eq!(offset(&RANGES, sat), None, "satoshi {sat}");
        }
    }

    #[test]
    fn a_place_is_read_whole_or_not_at_all() {
        let txid = "ab".repeat(32);
        let read = satpoint(&format!("{txid}:7:330")).unwrap();
        assert_eq!(read, place(format!("{txid}:7").parse().unwrap(), 330));
        for wrong in ["", &txid, &format!("{txid}:7"), &format!("{txid}:7:x"), "ab:0:0"] {
            assert_eq!(satpoint(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_address_that_is_half_printed_is_none_yet() {
        assert_eq!(listens_at("Warning: x\nListening on http://127.0.0.1:40"), None);
        let printed = "Warning: x\nListening on http://127.0.0.1:40001\nmore\n";
        assert_eq!(listens_at(printed).as_deref(), Some("http://127.0.0.1:40001"));
        assert!(Address::parse(&listens_at(printed).unwrap()).is_some());
    }
}
