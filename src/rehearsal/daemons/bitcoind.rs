//! Bitcoin Core as a process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bitcoin::Network;

use super::{Process, RUNS, Scratch, executable, free_port, with_free_ports};
use crate::chain::core::{Auth, Core, Patience};
use crate::error::{Error, Result};

/// How a starting node is asked whether it is up: once, and the caller looks again.
const GLANCE: Patience =
    Patience { timeout: Duration::from_secs(30), attempts: 1, pause: Duration::ZERO };

/// What every node of ours is started with, whatever its chain.
const ALWAYS: [&str; 16] = [
    "-server=1",
    "-rpcbind=127.0.0.1",
    "-rpcallowip=127.0.0.1",
    "-printtoconsole=0",
    "-disablewallet=1",
    "-dbcache=16",
    // Many nodes share the machine.
    "-par=1",
    "-rpcthreads=4",
    // To nobody outside.
    "-listen=0",
    "-networkactive=0",
    "-dnsseed=0",
    "-fixedseeds=0",
    "-natpmp=0",
    "-discover=0",
    // On regtest it would read its whole block index at each block.
    "-checkblockindex=0",
    "-checkmempool=0",
];

/// A running Bitcoin Core with a data folder of its own, which ends with it.
#[derive(Debug)]
pub struct Bitcoind {
    // First: a process that still runs would write into the folder while it is removed.
    process: Option<Process>,
    core: Core,
    executable: PathBuf,
    network: Network,
    rpc_port: u16,
    folder: Scratch,
}

impl Bitcoind {
    /// Starts Bitcoin Core, found by BITCOIND_EXE or in the PATH, and waits until it answers.
    ///
    /// It has no peers. On regtest it takes what Core takes on mainnet (standard transactions
    /// only). On any other network it stays at its first block: good for questions that need no
    /// chain, such as addresses of descriptors.
    pub fn start(network: Network) -> Result<Self> {
        let executable = executable("bitcoind", "BITCOIND_EXE")?;
        with_free_ports(|| Self::start_at(&executable, network))
    }

    fn start_at(executable: &Path, network: Network) -> Result<Self> {
        let folder = Scratch::new("bitcoind")?;
        let rpc_port = free_port()?;
        let (process, core) = launch(executable, network, folder.path(), rpc_port)?;
        let executable = executable.to_owned();
        let process = Some(process);
        Ok(Self { process, core, executable, network, rpc_port, folder })
    }

    /// The node, over its RPC.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// Where its RPC listens: `http://127.0.0.1:port`.
    pub fn url(&self) -> &str {
        self.core.url()
    }

    /// The file with its cookie. It holds another one after each start.
    pub fn cookie(&self) -> PathBuf {
        cookie(self.folder.path(), self.network)
    }

    /// The loopback port of its RPC.
    pub fn rpc_port(&self) -> u16 {
        self.rpc_port
    }

    /// Whether it was started and not ended since.
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Ends the node as a person would: it writes down what it holds. Its folder stays.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        self.core.call("stop", &[])?;
        if process.wait()? {
            return Ok(());
        }
        Err(RUNS.unavailable("bitcoind", "an end after `stop`", process.last_words()))
    }

    /// Starts it again after [`Bitcoind::stop`], in the same folder and on the same ports.
    pub fn resume(&mut self) -> Result<()> {
        let (process, core) =
            launch(&self.executable, self.network, self.folder.path(), self.rpc_port)?;
        self.process = Some(process);
        self.core = core;
        Ok(())
    }

    /// Stops it and starts it again.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.resume()
    }

    /// Kills it, as a power cut would.
    pub fn kill(&mut self) {
        self.process = None;
    }
}

fn cookie(folder: &Path, network: Network) -> PathBuf {
    chain_folder(folder, network).join(".cookie")
}

/// Where Core keeps what belongs to one chain.
fn chain_folder(folder: &Path, network: Network) -> PathBuf {
    match network {
        Network::Bitcoin => folder.to_owned(),
        Network::Testnet => folder.join("testnet3"),
        other => folder.join(other.to_core_arg()),
    }
}

fn launch(
    executable: &Path,
    network: Network,
    folder: &Path,
    rpc_port: u16,
) -> Result<(Process, Core)> {
    let mut command = Command::new(executable);
    command.args(ALWAYS).arg(format!("-datadir={}", folder.display()));
    command.arg(format!("-chain={}", network.to_core_arg())).arg(format!("-rpcport={rpc_port}"));
    if network == Network::Regtest {
        command.args(["-txindex=1", "-rest=1", "-acceptnonstdtxn=0"]);
        // Blocks that are dated long ago would leave it in its initial download for ever.
        command.arg("-maxtipage=2000000000");
        // From height 144 on, versions would signal a soft fork that exists for tests alone.
        command.arg("-vbparams=testdummy:-2:0");
    }
    let mut process = Process::start("bitcoind", &mut command, folder.join("printed.log"))?;
    let url = format!("http://127.0.0.1:{rpc_port}");
    let auth = Auth::Cookie(cookie(folder, network));
    let log = chain_folder(folder, network).join("debug.log");
    let came_up = || match Core::connect_with(&url, auth.clone(), network, GLANCE) {
        Ok(_) => Ok(Some(())),
        // Not there yet, or somebody else's node at our port: then ours ends by itself.
        Err(Error::Unavailable(_)) => Ok(None),
        Err(other) => Err(other),
    };
    let progress = || std::fs::metadata(&log).map_or(0, |log| log.len());
    process.until("an answer over RPC", came_up, progress)?;
    Ok((process, Core::connect(&url, auth, network)?))
}
