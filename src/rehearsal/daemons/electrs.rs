//! electrs as a process: the Electrum server in front of Bitcoin Core.
//!
//! electrs 0.12 reads blocks over Core's REST interface and the mempool over its RPC. It looks for
//! news once a second and after each question that somebody asks it, if no further question
//! waits. So nobody need wait for its clock: asking for the tip is what makes it look.
//!
//! It ends when its node does, and must be started again then.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bitcoin::block::Header;
use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::hex::DisplayHex;
use bitcoin::{BlockHash, Script, Txid};
use electrum_client::raw_client::{ElectrumPlaintextStream, RawClient};
use electrum_client::{Param, ToElectrumScriptHash};
use serde_json::Value;

use super::{Bitcoind, Process, RUNS, Scratch, executable, free_port, with_free_ports};
use crate::error::{Error, Result};

/// Longest wait for one answer. electrs answers nobody while it reads blocks.
const ANSWER: Duration = Duration::from_secs(60);

/// A running electrs with an index of its own, which ends with it.
pub struct Electrs {
    // First: a process that still runs would write into the folder while it is removed.
    process: Option<Process>,
    executable: PathBuf,
    port: u16,
    monitoring_port: u16,
    folder: Scratch,
    line: Mutex<Option<RawClient<ElectrumPlaintextStream>>>,
}

impl fmt::Debug for Electrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Electrs").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Electrs {
    /// Starts electrs, found by ELECTRS_EXE or in the PATH, in front of `node`, and waits until it
    /// answers.
    pub fn start(node: &Bitcoind) -> Result<Self> {
        let executable = executable("electrs", "ELECTRS_EXE")?;
        with_free_ports(|| {
            let mut electrs = Self {
                process: None,
                executable: executable.clone(),
                port: free_port()?,
                monitoring_port: free_port()?,
                folder: Scratch::new("electrs")?,
                line: Mutex::default(),
            };
            electrs.resume(node)?;
            Ok(electrs)
        })
    }

    /// Where its Electrum server listens, such as `tcp://127.0.0.1:40001`.
    pub fn url(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    /// Kills it. Its index stays.
    pub fn kill(&mut self) {
        self.process = None;
        *self.line.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Starts it again after [`Electrs::kill`], or after it ended with its node: with the same index
    /// and on the same ports.
    pub fn resume(&mut self, node: &Bitcoind) -> Result<()> {
        self.kill();
        let mut command = self.command(node);
        let log = self.folder.path().join("printed.log");
        let mut process = Process::start("electrs", &mut command, log)?;
        // It takes connections before it has read a block, and panics if it is asked for its tip
        // then; of a block it only says that it has none.
        let answers = || {
            let first = self.ask("blockchain.block.header", vec![Param::U32(0)]);
            Ok(first.and_then(|_| self.tip()).ok())
        };
        process.until("an answer over Electrum", answers, || size(self.folder.path()))?;
        self.process = Some(process);
        Ok(())
    }

    fn command(&self, node: &Bitcoind) -> Command {
        let mut command = Command::new(&self.executable);
        // Settings of the user's own server, in his environment, are not ours.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ELECTRS_") {
                command.env_remove(name);
            }
        }
        command.current_dir(self.folder.path()).args([
            "--skip-default-conf-files".into(),
            "--network=regtest".into(),
            format!("--db-dir={}", self.folder.path().join("index").display()),
            format!("--cookie-file={}", node.cookie().display()),
            format!("--daemon-rpc-addr=127.0.0.1:{}", node.rpc_port()),
            format!("--electrum-rpc-addr=127.0.0.1:{}", self.port),
            format!("--monitoring-addr=127.0.0.1:{}", self.monitoring_port),
            "--wait-duration-secs=1".into(),
            "--jsonrpc-timeout-secs=60".into(),
            // A chain without a single block of its own would count as one that downloads.
            "--skip-block-download-wait".into(),
            "--log-filters=WARN".into(),
        ]);
        command
    }

    /// Height and hash of the tip that it shows.
    pub fn tip(&self) -> Result<(u32, BlockHash)> {
        let answer = self.ask("blockchain.headers.subscribe", Vec::new())?;
        let height = answer["height"].as_u64().and_then(|height| u32::try_from(height).ok());
        let header = answer["hex"].as_str().and_then(|hex| deserialize_hex::<Header>(hex).ok());
        match (height, header) {
            (Some(height), Some(header)) => Ok((height, header.block_hash())),
            _ => Err(self.silent("height and header of the tip", answer)),
        }
    }

    /// Virtual bytes of everything that waits in its mempool.
    pub fn waiting_size(&self) -> Result<u64> {
        let answer = self.ask("mempool.get_fee_histogram", Vec::new())?;
        let sizes = answer.as_array().map(|bins| bins.iter().map(|bin| bin[1].as_u64()).sum());
        sizes.flatten().ok_or_else(|| self.silent("fee rates and sizes", answer))
    }

    /// Whether the transaction is in the history that it shows for `script`, in a block or not.
    pub fn shows(&self, script: &Script, txid: Txid) -> Result<bool> {
        let hash = script.to_electrum_scripthash();
        let hash = Param::String(hash.as_slice().to_lower_hex_string());
        let answer = self.ask("blockchain.scripthash.get_history", vec![hash])?;
        let txid = txid.to_string();
        let entries = answer.as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(entries.iter().any(|entry| entry["tx_hash"].as_str() == Some(&txid)))
    }

    /// One question over a connection that is kept.
    fn ask(&self, method: &str, params: Vec<Param>) -> Result<Value> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match line.take() {
            Some(open) => Ok(open),
            None => RawClient::new(("127.0.0.1", self.port), Some(ANSWER), None),
        };
        let asked = open.and_then(|open| {
            use electrum_client::ElectrumApi;
            let answer = open.raw_call(method, params)?;
            // What was pushed for our question about the tip is not needed.
            while open.block_headers_pop_raw()?.is_some() {}
            Ok((open, answer))
        });
        match asked {
            Ok((open, answer)) => {
                *line = Some(open);
                Ok(answer)
            }
            Err(error) => Err(self.silent(method, error)),
        }
    }

    fn silent(&self, expected: impl fmt::Display, found: impl fmt::Display) -> Error {
        RUNS.unavailable(format_args!("electrs at {}", self.url()), expected, found)
    }
}

/// Size of everything in a folder, in bytes: it grows while electrs reads.
fn size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => size(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}
