//! A proxy that passes lines between a client and an Electrum server, or does not.
//!
//! One question at a time: a line goes to the server, and what comes back up to the answer goes to
//! the client, what the server says unasked included. Questions in one batch are asked one by one.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use bitcoin::Script;
use bitcoin::hex::DisplayHex;
use electrum_client::ToElectrumScriptHash;
use serde_json::{Value, json};

/// How long the proxy sleeps before it looks again.
const LOOK: Duration = Duration::from_millis(1);
/// How long it has for closing its port, or for getting it again.
const PORT: Duration = Duration::from_secs(60);

/// The question that sends a transaction.
pub(crate) const BROADCAST: &str = "blockchain.transaction.broadcast";

/// The result that a question gets: of the method and its parameters.
pub(crate) type Answer = dyn Fn(&str, &Value) -> Value + Send + Sync;
/// The same, laid over the true result.
pub(crate) type Lie = dyn Fn(&str, &Value, Value) -> Value + Send + Sync;

/// What the way to the server does, until it is told otherwise.
#[derive(Clone)]
pub(crate) enum Trouble {
    /// Nothing: every line goes through.
    None,
    /// Nobody listens, and connections break.
    Refuses,
    /// Connections are accepted and closed.
    HangsUp,
    /// Questions are taken and never answered.
    Silent,
    /// True answers, byte by byte, with such a pause after each.
    Drips(Duration),
    /// These bytes in place of each answer.
    Says(&'static [u8]),
    /// An answer that has no end.
    Endless,
    /// Each connection breaks when so many lines went through it.
    Cuts(usize),
    /// Each connection breaks in the middle of the answer after so many lines.
    Tears(usize),
    /// Whoever answers, it is not the server.
    Answers(Arc<Answer>),
    /// The server's answers, changed.
    Lies(Arc<Lie>),
}

/// How a trap breaks the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Snap {
    /// The question does not reach the server.
    Before,
    /// The question reaches the server, and half of its answer comes back.
    Within,
    /// The question reaches the server, and its answer does not come back.
    After,
}

/// Where a trap lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// At the line after so many.
    Line(usize),
    /// At the next question of this method.
    Method(&'static str),
}

struct State {
    trouble: Trouble,
    /// `host:port` of the server.
    server: String,
    /// Where the connection breaks once, and how.
    trap: Option<(At, Snap)>,
    connections: u32,
    broadcasts: u32,
    listens: bool,
    over: bool,
}

/// The proxy, until it is dropped.
pub(crate) struct Proxy {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
}

/// What becomes of one question.
enum Act {
    Pass,
    Close,
    Ignore,
    Drip(Duration),
    Say(Vec<u8>),
    Endless,
    Snap(Snap),
    Change(Arc<Lie>),
}

/// The hash by which a server knows a script.
pub(crate) fn script_hash(script: &Script) -> String {
    DisplayHex::to_lower_hex_string(&script.to_electrum_scripthash()[..])
}

fn host(url: &str) -> String {
    url.strip_prefix("tcp://").expect("a plain connection").to_owned()
}

impl Proxy {
    /// A proxy to the server at `url`, on a port of the system's choice.
    pub(crate) fn to(url: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            trouble: Trouble::None,
            server: host(url),
            trap: None,
            connections: 0,
            broadcasts: 0,
            listens: true,
            over: false,
        };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        spawn(move || listen(listener, address, &shared));
        Self { state, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("tcp://{}", self.address)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// From now on there is this trouble.
    pub(crate) fn set(&self, trouble: Trouble) {
        let refuses = matches!(trouble, Trouble::Refuses);
        self.state().trouble = trouble;
        let since = Instant::now();
        while self.state().listens == refuses {
            let does = if refuses { "still listens" } else { "does not get its port again" };
            assert!(since.elapsed() < PORT, "the proxy at {} {does}", self.address);
            sleep(LOOK);
        }
    }

    /// From now on lines go to the server at `url`; connections to another one break.
    pub(crate) fn lead_to(&self, url: &str) {
        self.state().server = host(url);
    }

    /// Breaks the connection once, counted from now.
    pub(crate) fn lay_trap(&self, at: At, snap: Snap) {
        self.state().trap = Some((at, snap));
    }

    /// Takes the trap away; whether it had snapped.
    pub(crate) fn lift_trap(&self) -> bool {
        self.state().trap.take().is_none()
    }

    /// Connections since this was asked last.
    pub(crate) fn connections(&self) -> u32 {
        core::mem::take(&mut self.state().connections)
    }

    /// Broadcasts that were asked for since this was asked last.
    pub(crate) fn broadcasts(&self) -> u32 {
        core::mem::take(&mut self.state().broadcasts)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state().over = true;
    }
}

fn listen(listener: TcpListener, address: SocketAddr, shared: &Arc<Mutex<State>>) {
    listener.set_nonblocking(true).unwrap();
    let mut listening = Some(listener);
    loop {
        let refuses = {
            let mut state = shared.lock().unwrap();
            if state.over {
                return;
            }
            let refuses = matches!(state.trouble, Trouble::Refuses);
            if refuses {
                listening = None;
            }
            state.listens = listening.is_some();
            refuses
        };
        match &listening {
            Some(listener) => match listener.accept() {
                Ok((client, _)) => accepted(client, shared),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(LOOK),
                Err(error) => panic!("{error}"),
            },
            None if refuses => sleep(LOOK),
            // Somebody may have taken the port meanwhile. Who waits in `set` does not for ever.
            None => match TcpListener::bind(address) {
                Ok(listener) => {
                    listener.set_nonblocking(true).unwrap();
                    listening = Some(listener);
                }
                Err(_) => sleep(LOOK),
            },
        }
    }
}

/// Counts a connection, and serves it unless there is a trouble at this moment that closes it.
fn accepted(client: TcpStream, shared: &Arc<Mutex<State>>) {
    let mut state = shared.lock().unwrap();
    state.connections += 1;
    if matches!(state.trouble, Trouble::Refuses | Trouble::HangsUp) {
        return;
    }
    client.set_nonblocking(false).unwrap();
    let shared = Arc::clone(shared);
    spawn(move || {
        // A side that went away ends the connection, and that is all.
        let _ = serve(&client, &shared);
        let _ = client.shutdown(Shutdown::Both);
    });
}

/// The server's end of a connection.
struct Server {
    address: String,
    reader: BufReader<TcpStream>,
    stream: TcpStream,
}

impl Server {
    fn connect(address: String) -> io::Result<Self> {
        let stream = TcpStream::connect(&address)?;
        stream.set_nodelay(true)?;
        Ok(Self { address, reader: BufReader::new(stream.try_clone()?), stream })
    }

    /// What the server says up to its answer, and the answer.
    fn ask(&mut self, question: &str) -> io::Result<(String, String)> {
        self.stream.write_all(question.as_bytes())?;
        let mut unasked = String::new();
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let message: Value = serde_json::from_str(&line).unwrap();
            if message.get("id").is_some_and(|id| !id.is_null()) {
                return Ok((unasked, line));
            }
            unasked.push_str(&line);
        }
    }
}

fn serve(mut client: &TcpStream, shared: &Mutex<State>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut server: Option<Server> = None;
    let mut questions = BufReader::new(client.try_clone()?);
    for asked in 0.. {
        let mut line = String::new();
        if questions.read_line(&mut line)? == 0 {
            break;
        }
        let question: Value = serde_json::from_str(&line).unwrap();
        let (act, address) = next(&mut shared.lock().unwrap(), asked, &question);
        match act {
            Act::Close | Act::Snap(Snap::Before) => break,
            Act::Ignore => continue,
            Act::Say(bytes) => {
                client.write_all(&bytes)?;
                continue;
            }
            Act::Endless => loop {
                client.write_all(&[b'{'; 64 * 1024])?;
            },
            _ => {}
        }
        if server.as_ref().is_some_and(|server| server.address != address) {
            break;
        }
        let server = match &mut server {
            Some(server) => server,
            None => server.insert(Server::connect(address)?),
        };
        let (unasked, answer) = server.ask(&line)?;
        match act {
            Act::Snap(Snap::After) => break,
            Act::Snap(_) => {
                client.write_all(&answer.as_bytes()[..answer.len() / 2])?;
                break;
            }
            Act::Drip(pause) => {
                for byte in answer.as_bytes() {
                    client.write_all(&[*byte])?;
                    sleep(pause);
                }
            }
            Act::Change(lie) => {
                let mut answer: Value = serde_json::from_str(&answer).unwrap();
                let (method, params) = (question["method"].as_str().unwrap(), &question["params"]);
                if let Some(result) = answer.get_mut("result") {
                    *result = lie(method, params, result.take());
                }
                client.write_all(format!("{unasked}{answer}\n").as_bytes())?;
            }
            _ => client.write_all(format!("{unasked}{answer}").as_bytes())?,
        }
    }
    Ok(())
}

/// What becomes of a question, the `asked`-th of its connection, and where the server is.
fn next(state: &mut State, asked: usize, question: &Value) -> (Act, String) {
    state.broadcasts += u32::from(question["method"] == BROADCAST);
    let act = match &state.trouble {
        Trouble::None => match state.trap {
            Some((At::Line(left @ 1..), snap)) => {
                state.trap = Some((At::Line(left - 1), snap));
                Act::Pass
            }
            Some((At::Method(method), _)) if question["method"] != method => Act::Pass,
            Some((_, snap)) => {
                state.trap = None;
                Act::Snap(snap)
            }
            None => Act::Pass,
        },
        Trouble::Refuses | Trouble::HangsUp => Act::Close,
        Trouble::Silent => Act::Ignore,
        Trouble::Drips(pause) => Act::Drip(*pause),
        Trouble::Says(bytes) => Act::Say(bytes.to_vec()),
        Trouble::Endless => Act::Endless,
        Trouble::Cuts(lines) if asked >= *lines => Act::Close,
        Trouble::Tears(lines) if asked >= *lines => Act::Snap(Snap::Within),
        Trouble::Cuts(_) | Trouble::Tears(_) => Act::Pass,
        Trouble::Answers(answer) => {
            let result = answer(question["method"].as_str().unwrap(), &question["params"]);
            let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": result });
            Act::Say(format!("{answer}\n").into_bytes())
        }
        Trouble::Lies(lie) => Act::Change(Arc::clone(lie)),
    };
    (act, state.server.clone())
}

#[test]
fn a_port_that_somebody_took_is_taken_back_when_he_leaves_it() {
    let proxy = Proxy::to("tcp://127.0.0.1:1");
    proxy.set(Trouble::Refuses);
    assert!(TcpStream::connect(proxy.address).is_err());
    let other = TcpListener::bind(proxy.address).unwrap();
    let (since, stays) = (Instant::now(), 100 * LOOK);
    let leaves = spawn(move || {
        sleep(stays);
        drop(other);
    });
    proxy.set(Trouble::HangsUp);
    assert!(since.elapsed() >= stays);
    leaves.join().unwrap();
    TcpStream::connect(proxy.address).unwrap();
}
