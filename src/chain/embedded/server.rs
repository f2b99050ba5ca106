//! The sockets of the Electrum server: who is connected, what he has asked to be told.
//!
//! Each connection has a thread that reads and answers and a thread that writes, so a client that
//! does not read cannot hold up the chain. Whatever changes the chain announces it before it lets
//! go of the lock; a client therefore finds the notification ahead of the answer to his next
//! question.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use bitcoin::BlockHash;
use serde_json::{Value, json};

use super::STARTS;
use super::index::ScriptHash;
use super::regtest::Regtest;
use super::{history, methods, rpc};
use crate::error::Result;

/// Longest line that is read, in bytes; whoever sends more is cut off.
const LONGEST_LINE: u64 = 1_000_000;

/// The server, until it is dropped.
pub(super) struct Server {
    shared: Arc<Shared>,
    listeners: Vec<Listener>,
}

/// A port, and the thread that answers it.
struct Listener {
    address: SocketAddr,
    thread: JoinHandle<()>,
}

/// What all threads of a server share.
pub(super) struct Shared {
    chain: Mutex<Regtest>,
    sessions: Mutex<Vec<Arc<Session>>>,
    stopping: AtomicBool,
}

/// One connection.
pub(super) struct Session {
    stream: TcpStream,
    out: Sender<String>,
    watch: Mutex<Watch>,
}

/// What a client has subscribed to, and what he was told last.
#[derive(Default)]
pub(super) struct Watch {
    pub(super) tip: Option<BlockHash>,
    pub(super) scripts: HashMap<ScriptHash, Value>,
}

/// A lock whose holder panicked is still a lock: nothing is left half-done by a panic here that
/// the next block would not reveal.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// Puts a server in front of `chain`, on loopback ports of the system's choice: two, so that
    /// somebody can ask two servers and get the same answers.
    pub(super) fn start(chain: Regtest) -> Result<Self> {
        let shared = Arc::new(Shared {
            chain: Mutex::new(chain),
            sessions: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let mut server = Self { shared, listeners: Vec::new() };
        for _ in 0..2 {
            let listener = server.listen()?;
            server.listeners.push(listener);
        }
        Ok(server)
    }

    fn listen(&self) -> Result<Listener> {
        let failed = |e| STARTS.unavailable("Electrum server", "a loopback port", e);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let listening = Arc::clone(&self.shared);
        let thread = thread::Builder::new()
            .name("electrum".into())
            .spawn(move || listening.accept(&listener))
            .map_err(failed)?;
        Ok(Listener { address, thread })
    }

    /// Where it listens.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().map(|listener| listener.address)
    }

    /// Does something to the chain, and tells everybody who wants to know.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Regtest) -> T) -> T {
        self.shared.with(act)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for Listener { address, thread } in self.listeners.drain(..) {
            // The listener looks up when somebody knocks.
            drop(TcpStream::connect(address));
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Does something to the chain, and tells everybody who wants to know.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Regtest) -> T) -> T {
        let mut chain = locked(&self.chain);
        let before = chain.mark();
        let done = act(&mut chain);
        if chain.mark() != before {
            self.announce(&chain);
        }
        done
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        let mut threads: Vec<JoinHandle<()>> = Vec::new();
        for stream in listener.incoming() {
            if self.stopping.load(Ordering::SeqCst) {
                break;
            }
            threads.retain(|thread| !thread.is_finished());
            // A connection that cannot be set up is closed; the others live on.
            let Ok(stream) = stream else { continue };
            let shared = Arc::clone(&self);
            let serve = move || shared.serve(stream);
            threads.extend(thread::Builder::new().name("electrum-session".into()).spawn(serve));
        }
        for session in locked(&self.sessions).iter() {
            let _ = session.stream.shutdown(Shutdown::Both);
        }
        for thread in threads {
            let _ = thread.join();
        }
    }

    fn serve(&self, stream: TcpStream) {
        let (out, lines) = channel();
        // Without it each small answer waits 40 ms for the client's acknowledgement.
        let _ = stream.set_nodelay(true);
        let (Ok(reader), Ok(writer)) = (stream.try_clone(), stream.try_clone()) else { return };
        let Ok(writing) = thread::Builder::new().spawn(move || write_lines(writer, &lines)) else {
            return;
        };
        let session = Arc::new(Session { stream, out, watch: Mutex::default() });
        locked(&self.sessions).push(Arc::clone(&session));
        // Drop may have closed all sessions just before this one joined them.
        if !self.stopping.load(Ordering::SeqCst) {
            self.read_lines(reader, &session);
        }
        locked(&self.sessions).retain(|other| !Arc::ptr_eq(other, &session));
        // The writer ends with the last sender, after the last line.
        drop(session);
        let _ = writing.join();
    }

    fn read_lines(&self, stream: TcpStream, session: &Session) {
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            let read = (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line);
            if !matches!(read, Ok(1..)) || line.last() != Some(&b'\n') {
                break;
            }
            let answer = rpc::answer(&line, &mut |method, params| {
                self.with(|chain| methods::call(chain, &mut locked(&session.watch), method, params))
            });
            session.send(&answer);
        }
        let _ = session.stream.shutdown(Shutdown::Read);
    }

    /// Tells every session what has changed since it was told last.
    fn announce(&self, chain: &Regtest) {
        for session in locked(&self.sessions).iter() {
            let mut watch = locked(&session.watch);
            let tip = chain.index.hash_at(chain.index.height());
            if watch.tip.is_some() && watch.tip != tip {
                watch.tip = tip;
                session.notify("blockchain.headers.subscribe", json!([methods::tip(chain)]));
            }
            for (script, told) in &mut watch.scripts {
                let status = history::status(chain, script);
                if *told != status {
                    told.clone_from(&status);
                    let params = json!([script.to_string(), status]);
                    session.notify("blockchain.scripthash.subscribe", params);
                }
            }
        }
    }
}

impl Session {
    fn notify(&self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn send(&self, message: &Value) {
        // Nobody receives once the client has gone; the reader will notice.
        let _ = self.out.send(format!("{message}\n"));
    }
}

fn write_lines(mut stream: TcpStream, lines: &Receiver<String>) {
    while let Ok(mut text) = lines.recv() {
        // What has queued up meanwhile goes out in one piece.
        text.extend(lines.try_iter());
        if stream.write_all(text.as_bytes()).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}
