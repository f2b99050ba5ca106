//! Two validators' servers that know each other, each a process of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A server, until it goes out of scope.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two servers, and where they listen.
pub struct Serving {
    pub ports: [u16; 2],
    pub urls: [String; 2],
    _servers: [Server; 2],
}

impl Serving {
    /// The desks in these folders, which ask these two Electrum servers.
    pub fn start(desks: &[PathBuf; 2], electrum: [&str; 2]) -> Self {
        let held = [0, 1].map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = held.map(|listener| listener.local_addr().unwrap().port());
        let urls = ports.map(|port| format!("http://127.0.0.1:{port}"));
        let servers = [(0, 1), (1, 0)]
            .map(|(one, other)| serve(&desks[one], ports[one], &urls[other], electrum));
        Self { ports, urls, _servers: servers }
    }
}

fn serve(home: &Path, port: u16, peer: &str, [first, second]: [&str; 2]) -> Server {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hashmix"))
        .args(["validator", "serve", "--peer", peer, "--home"])
        .arg(home)
        .args(["--listen", &format!("127.0.0.1:{port}"), "--network", "regtest"])
        .args(["--electrum", first, "--electrum", second])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let listens = lines.by_ref().map_while(Result::ok).any(|line| line.starts_with("listening"));
    assert!(listens);
    // Nobody may wait for whoever reads his log.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    Server(child)
}
