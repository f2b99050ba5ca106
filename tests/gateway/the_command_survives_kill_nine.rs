//! `hashmix gateway` as its operator runs it: checked, started, killed, started again, asked, stopped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use hashmix::flow::reward;
use hashmix::gateway::status::{Status, Work};
use hashmix::rehearsal::stratum::{Habits, StratumMiner};
use serde_json::json;

use crate::site::{START, Site, block_with_shares, until};

/// A gateway in a process of its own.
struct Process {
    child: Child,
    /// Where machines connect, and where it is asked.
    machines: SocketAddr,
    window: String,
    /// What it writes, as it comes.
    log: Receiver<String>,
}

impl Process {
    fn start(site: &Site) -> Self {
        let mut child = command(site, &["gateway", "run"]).stderr(Stdio::piped()).spawn().unwrap();
        let (send, log) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in stderr.lines() {
                let _ = send.send(line.unwrap());
            }
        });
        let mut process =
            Self { child, machines: ([127, 0, 0, 1], 0).into(), window: String::new(), log };
        let machines = process.hears("stratum+tcp://");
        process.machines = machines.parse().unwrap();
        let window = process.hears("status at http://");
        process.window = format!("http://{}", window.split('/').next().unwrap());
        process
    }

    /// What follows `word` in the first line that has it.
    fn hears(&self, word: &str) -> String {
        loop {
            let line = self.log.recv_timeout(Duration::from_secs(30)).expect(word);
            if let Some((_, rest)) = line.split_once(word) {
                return rest.to_owned();
            }
        }
    }

    /// `hashmix gateway status --json`.
    fn status(&self) -> Status {
        let asked = hashmix(&["gateway", "status", "--json", "--url", &self.window]);
        assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
        Status::from_json(&String::from_utf8(asked.stdout).unwrap()).unwrap()
    }

    fn miner(&self) -> StratumMiner {
        until("work", || self.status().work, |work| matches!(work, Work::On { .. }));
        StratumMiner::start(self.machines, "alice.rig1", Habits::BITAXE).unwrap()
    }

    fn mine_to(&self, miner: &mut StratumMiner, height: u32) {
        loop {
            let Work::On { height: next, .. } = self.status().work else { panic!("no work") };
            if next > height {
                return;
            }
            block_with_shares(miner, 2);
            let on = |work: &Work| matches!(work, Work::On { height, .. } if *height == next + 1);
            until("the next height", || self.status().work, on);
        }
    }

    /// As a power cut would end it.
    fn kill(self) {}
}

impl Drop for Process {
    /// It does not outlive a test that fails: whoever reads its output would wait for ever.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hashmix(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hashmix")).args(arguments).output().unwrap()
}

fn command(site: &Site, subcommand: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hashmix"));
    command.args(subcommand).args(["--network", "regtest", "--home"]).arg(site.home());
    command.arg("--config").arg(site.dir.path().join("gateway.json"));
    command
}

/// The files that an operator writes: terms, and what the gateway is told.
fn write_files(site: &Site) {
    let terms = serde_json::to_string(&site.terms).unwrap();
    std::fs::write(site.dir.path().join("alice.json"), terms).unwrap();
    let config = json!({
        "format": "hashmix gateway 1",
        "listen": "127.0.0.1:0",
        "status": "127.0.0.1:0",
        "nodes": [{ "url": site.node().url, "cookie": site.world.bitcoind().cookie() }],
        "electrum": hashmix::rehearsal::world::World::electrum_url(&site.world),
        "payees": [{ "name": "alice", "positions": [{ "terms": "alice.json" }] }],
    });
    std::fs::write(site.dir.path().join("gateway.json"), config.to_string()).unwrap();
}

fn get(window: &str, path: &str) -> String {
    let host = window.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn certificates(site: &Site) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = site.home().join("certificates").join(site.terms.position().unwrap().to_string());
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let whole = paths.filter(|path| path.extension().is_some_and(|kind| kind == "hmxc"));
    whole.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn a_gateway_that_is_killed_goes_on_where_it_was_and_no_certificate_changes() {
    let site = Site::new();
    write_files(&site);

    // Whom the coinbase will pay is known before anything starts.
    let checked = command(&site, &["gateway", "check"]).output().unwrap();
    let said = String::from_utf8(checked.stdout).unwrap();
    let lock = reward::coins::lock(&site.terms.reward).unwrap().script_pubkey;
    assert!(said.contains(&format!("{lock:x}")), "{said}");

    let gateway = Process::start(&site);
    let mut miner = gateway.miner();
    gateway.mine_to(&mut miner, START + 2);
    let shares = |status: Status| status.positions[0].shares;
    until("six shares", || shares(gateway.status()), |shares| *shares == 6);
    // What is older than a second is on the disk.
    thread::sleep(Duration::from_millis(1_500));
    gateway.kill();

    let gateway = Process::start(&site);
    let mut miner = gateway.miner();
    assert_eq!(shares(gateway.status()), 6);
    gateway.mine_to(&mut miner, START + 12);
    until("a certificate", || certificates(&site).len(), |files| *files == 1);
    let sealed = certificates(&site);
    let status = gateway.status();
    assert_eq!(status.positions[0].sealed.as_ref().unwrap().shares, 24);
    assert_eq!(status.machines[0].user, "alice.rig1");
    assert!(status.rejected.iter().all(|(_, count)| *count == 0), "{:?}", status.rejected);
    assert_eq!(status.blocks[0].height, START + 12);

    // For people and for Prometheus.
    let words = hashmix(&["gateway", "status", "--url", &gateway.window]);
    let words = String::from_utf8(words.stdout).unwrap();
    for part in ["alice.rig1", "bitaxe", "of 18 expected", "sealed   slice 1: 24 shares"] {
        assert!(words.contains(part), "{part} in {words}");
    }
    let metrics = get(&gateway.window, "/metrics");
    assert!(metrics.contains("text/plain; version=0.0.4"), "{metrics}");
    for line in ["hashmix_working 1", "hashmix_machines 1", "reason=\"duplicate\"} 0"] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    gateway.kill();

    // As if it had ended between the seal and its file.
    std::fs::remove_file(&sealed[0].0).unwrap();
    let gateway = Process::start(&site);
    until("the same file", || certificates(&site), |files| *files == sealed);
    let pid = gateway.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    gateway.hears("stopped");
    let mut gateway = gateway;
    assert!(gateway.child.wait().unwrap().success());
}

#[test]
fn a_status_that_nobody_gives_is_unavailable_and_a_wrong_address_is_misuse() {
    let nobody = hashmix(&["gateway", "status", "--url", "http://127.0.0.1:1"]);
    assert_eq!(nobody.status.code(), Some(5));
    let wrong = hashmix(&["gateway", "status", "--url", "127.0.0.1"]);
    assert_eq!(wrong.status.code(), Some(2));
    for refused in [nobody, wrong] {
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("[gateway-status]"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
