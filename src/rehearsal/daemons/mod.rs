//! Real nodes for a rehearsal: Bitcoin Core and electrs, as people run them, in processes of ours.
//!
//! ```text
//!   the rehearsal's people            whoever finds blocks
//!     | Electrum over TCP               | getblocktemplate, submitblock
//!     v                                 v
//!   electrs ---- REST, RPC ---------> bitcoind (regtest, no peers)
//! ```
//!
//! [`Daemons`] is both together, a [`World`](crate::rehearsal::world::World) like the embedded
//! node: blocks are dated alike, so the same deal makes the same transactions in both.
//!
//! [`struct@Ord`] stands beside them where a stranger is to judge: it reads the same node.
//!
//! Each node has a folder of its own among the system's temporary files and loopback ports of its
//! own, speaks to nobody outside, and ends with its value: killed and removed at drop.
//!
//! Executables are taken from the environment or the path ([`FOUND`]); none is ever fetched.

use std::ffi::OsStr;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::error::{Error, Result, Rule};

pub mod bitcoind;
pub mod electrs;
pub mod ord;
mod together;

pub use bitcoind::Bitcoind;
pub use electrs::Electrs;
pub use ord::Ord;
pub use together::Daemons;

/// The executables of real nodes are there.
pub const FOUND: Rule = Rule::new(
    "daemon-found",
    "bitcoind, electrs and ord are named by BITCOIND_EXE, ELECTRS_EXE and ORD_EXE, or found in the PATH",
    "run regtest/nodes, or regtest/nodes --ord, which finds or builds them and prints what to export",
);
/// A node starts, keeps running, and comes forward.
pub const RUNS: Rule = Rule::new(
    "daemon-runs",
    "a node that is started comes up and keeps running",
    "read what it says; the executable may be of another version, or the disk full",
);

/// Longest time without any sign of progress before a node counts as stuck. A slow machine that
/// runs many at once stays far below.
const STUCK: Duration = Duration::from_secs(120);
/// Time between two looks at a node that starts or stops.
const LOOK: Duration = Duration::from_millis(20);
/// Times other ports are tried if somebody took ours between choice and start.
const STARTS: u32 = 5;

/// The executable `name`: the file that `named` (a variable of the environment) gives, or else the
/// first one in the folders of `path`.
///
/// # Errors
/// [`FOUND`] if there is none, or if `named` is not a file: then nothing else is tried.
pub fn find(name: &str, named: Option<&OsStr>, path: Option<&OsStr>) -> Result<PathBuf> {
    let missing = |found: String| FOUND.unavailable(name, "an executable", found);
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        let file = PathBuf::from(named);
        return if file.is_file() {
            Ok(file)
        } else {
            Err(missing(format!("no file {}", file.display())))
        };
    }
    std::env::split_paths(path.unwrap_or_default())
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| missing("none in the PATH".to_owned()))
}

/// As [`find`], with the environment as it is.
fn executable(name: &str, variable: &str) -> Result<PathBuf> {
    let named = std::env::var_os(variable);
    find(name, named.as_deref(), std::env::var_os("PATH").as_deref())
}

/// A loopback port that nobody uses at this moment.
fn free_port() -> Result<u16> {
    let unavailable = |e: std::io::Error| RUNS.unavailable("loopback", "a free port", e);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(unavailable)?;
    Ok(listener.local_addr().map_err(unavailable)?.port())
}

/// A folder that ends with its value.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unstored = |e: std::io::Error| RUNS.unstored("temporary folder", "a new folder", e);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("hashmix-{name}-{}-{count}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                // Left by a process of this number that was killed.
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(unstored(e)),
            }
        }
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed lies among the system's temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running process; killed at drop.
#[derive(Debug)]
struct Process {
    name: &'static str,
    child: Child,
    /// What it prints, kept to say why it ended.
    log: PathBuf,
}

impl Process {
    /// Starts `command`, with everything it prints in the file `log`.
    fn start(name: &'static str, command: &mut Command, log: PathBuf) -> Result<Self> {
        let unstored = |e: std::io::Error| RUNS.unstored(name, "a file for what it prints", e);
        let file = File::create(&log).map_err(unstored)?;
        let copy = file.try_clone().map_err(unstored)?;
        let child = command
            // A trace would hide the last words.
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(copy)
            .spawn()
            .map_err(|e| FOUND.unavailable(name, "an executable that runs here", e))?;
        Ok(Self { name, child, log })
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().map_err(|e| RUNS.unavailable(self.name, "a process", e))
    }

    /// The last line it printed.
    fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        last.unwrap_or("nothing").trim().to_owned()
    }

    /// Looks again and again until `ready` gives a value. Fails if the process ends, or if
    /// `progress` stays the same for [`STUCK`].
    fn until<T, P: PartialEq>(
        &mut self,
        what: &str,
        mut ready: impl FnMut() -> Result<Option<T>>,
        progress: impl Fn() -> P,
    ) -> Result<T> {
        let mut seen = (progress(), Instant::now());
        loop {
            if let Some(value) = ready()? {
                return Ok(value);
            }
            if let Some(status) = self.ended()? {
                let found = format!("{status}: {}", self.last_words());
                return Err(RUNS.unavailable(self.name, what, found));
            }
            let now = progress();
            if now != seen.0 {
                seen = (now, Instant::now());
            } else if seen.1.elapsed() > STUCK {
                let found = format!("no progress in {} s: {}", STUCK.as_secs(), self.last_words());
                return Err(RUNS.unavailable(self.name, what, found));
            }
            sleep(LOOK);
        }
    }

    /// Waits until the process has ended by itself; `false` if it is still there after [`STUCK`].
    fn wait(&mut self) -> Result<bool> {
        let asked = Instant::now();
        while self.ended()?.is_none() {
            if asked.elapsed() > STUCK {
                return Ok(false);
            }
            sleep(LOOK);
        }
        Ok(true)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a start failed because somebody took our port.
fn port_was_taken(error: &Error) -> bool {
    let found = error.fault().found.to_lowercase();
    found.contains("unable to bind") || found.contains("address already in use")
}

/// Starts with other ports each time, until nobody is in the way.
fn with_free_ports<T>(start: impl Fn() -> Result<T>) -> Result<T> {
    let mut tries = 1;
    loop {
        match start() {
            Err(error) if port_was_taken(&error) && tries < STARTS => tries += 1,
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_executable_names_the_rule_and_what_to_run() {
        let nowhere = Some(OsStr::new(""));
        let named = OsStr::new("/no/such/bitcoind");
        for (named, found) in [(None, "none in the PATH"), (Some(named), "no file /no/such")] {
            let error = find("bitcoind", named, nowhere).unwrap_err();
            assert_eq!(error.rule(), "daemon-found");
            assert_eq!(error.exit_code(), 5);
            let line = error.to_string();
            assert!(line.contains("regtest/nodes") && line.contains(found), "{line}");
        }
    }

    #[test]
    fn the_environment_comes_before_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let [ours, theirs] = ["ours", "bitcoind"].map(|name| folder.path().join(name));
        std::fs::write(&ours, "").unwrap();
        std::fs::write(&theirs, "").unwrap();
        let path = Some(folder.path().as_os_str());
        assert_eq!(find("bitcoind", Some(ours.as_os_str()), path).unwrap(), ours);
        assert_eq!(find("bitcoind", None, path).unwrap(), theirs);
        assert_eq!(find("bitcoind", Some(OsStr::new("")), path).unwrap(), theirs);
    }

    #[test]
    fn a_process_that_ends_at_once_is_reported_with_its_last_words() {
        let folder = Scratch::new("test").unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; exit 7"]);
        let mut process = Process::start("sh", &mut command, folder.path().join("log")).unwrap();
        let error = process.until("an answer", || Ok(None::<()>), || 0).unwrap_err();
        assert_eq!(error.rule(), "daemon-runs");
        let line = error.to_string();
        assert!(line.contains("two") && line.contains('7'), "{line}");
    }

    #[test]
    fn other_ports_are_tried_only_if_ours_were_taken() {
        let count = AtomicU32::new(0);
        let failing = |found: &'static str| {
            let count = &count;
            move || -> Result<()> {
                count.fetch_add(1, Ordering::Relaxed);
                Err(RUNS.unavailable("bitcoind", "an answer", found))
            }
        };
        with_free_ports(failing("Unable to bind to 127.0.0.1:1 on this computer")).unwrap_err();
        assert_eq!(count.swap(0, Ordering::Relaxed), STARTS);
        with_free_ports(failing("disk full")).unwrap_err();
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
}
