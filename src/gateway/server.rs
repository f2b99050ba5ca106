//! The Stratum server: sockets, threads and the clock around [`Session`]s.
//!
//! Each connection is a task that owns its session, so nothing is shared while a share is hashed.
//! New jobs go onto a board that all tasks watch; each wakes, writes the job's line to its socket
//! and goes on. Answers to lines that arrived together leave together.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bitcoin::BlockHash;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::board::Board;
use super::conduct::Door;
use super::connection;
use super::job::Job;
pub use super::machines::{MachineStatus, Totals};
use super::place::{Clock, Guard, Place, Register, Slot, held};
use super::session::{Ended, Session};
use super::settings::{House, LISTEN};
pub use super::settings::{Payee, Settings, Sink};
use super::stratum;
use super::submit::header_hash;
use crate::error::Result;
use crate::work::extended_job::Find;

/// Connections that the system may hold for us before we take them.
const BACKLOG: u32 = 1_024;
/// Time for machines to be let go when the server stops.
const FAREWELL: Duration = Duration::from_secs(2);
/// Pause after a connection could not be taken, for want of file descriptors.
const RELIEF: Duration = Duration::from_millis(50);

/// Blocks that are remembered.
const BLOCKS: usize = 64;

/// Hands blocks on once: firmware that repeats itself does not make us build and send them again.
struct Blocks {
    sink: Arc<dyn Sink>,
    known: Mutex<VecDeque<BlockHash>>,
}

impl Sink for Blocks {
    fn block(&self, job: &Arc<Job>, find: &Find) {
        let Some(hash) = header_hash(&job.work, find, &mut Vec::new()) else { return };
        {
            let mut known = held(&self.known);
            if known.contains(&hash) {
                return;
            }
            known.push_back(hash);
            if known.len() > BLOCKS {
                known.pop_front();
            }
        }
        self.sink.block(job, find);
    }

    fn share(&self, job: &Arc<Job>, find: &Find, hash: BlockHash) {
        self.sink.share(job, find, hash);
    }

    fn note(&self, machine: SocketAddr, words: &str) {
        self.sink.note(machine, words);
    }
}

/// A Stratum server that runs.
pub struct Server {
    runtime: Option<Runtime>,
    address: SocketAddr,
    board: watch::Sender<Arc<Board>>,
    place: Arc<Place>,
}

impl Server {
    /// Listens, and serves machines in threads of its own until it is stopped or dropped. Machines
    /// that log in wait for the first job.
    pub fn start(mut settings: Settings, payees: Vec<Payee>, sink: Arc<dyn Sink>) -> Result<Self> {
        let limit = settings.limits.connections;
        settings.limits.connections = limit.min(files().saturating_sub(RESERVED).max(1));
        if settings.limits.connections < limit {
            let words = format!(
                "at most {} connections, because the system lets us open {} files: raise it (ulimit -n)",
                settings.limits.connections,
                files()
            );
            sink.note(settings.listen, &words);
        }
        let house = Arc::new(House::new(settings, payees)?);
        let listen = house.settings.listen;
        let failed = |error: std::io::Error| {
            LISTEN.unstored(listen, "an address to listen at, and threads", error)
        };
        let mut builder = Builder::new_multi_thread();
        if house.settings.threads > 0 {
            builder.worker_threads(house.settings.threads);
        }
        let runtime = builder.thread_name(THREAD).enable_all().build().map_err(failed)?;
        let listener = {
            let _inside = runtime.enter();
            open(listen).map_err(failed)?
        };
        let address = listener.local_addr().map_err(failed)?;
        let register = Register {
            door: Door::new(house.settings.limits),
            machines: BTreeMap::new(),
            past: Totals::default(),
        };
        let (board, watched) = watch::channel(Arc::new(Board::new(house.payees.len())));
        let clock = Clock(Instant::now());
        let sink = Arc::new(Blocks { sink, known: Mutex::default() });
        let place = Arc::new(Place { house, sink, clock, register: Mutex::new(register) });
        runtime.spawn(listening(listener, Arc::clone(&place), watched));
        Ok(Self { runtime: Some(runtime), address, board, place })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives machines new work: a job a payee; who is not among them keeps his. Ends a pause.
    pub fn publish(&self, jobs: Vec<Arc<Job>>) {
        let now = self.place.clock.now().ms;
        self.change(|board| board.post(jobs, now));
    }

    /// There is no new work, for this reason. Finds on jobs that are out are still taken; when
    /// those are too old, machines are let go, so that they turn to their next pool. Machines that
    /// log in are told why and sent away.
    pub fn pause(&self, why: String) {
        self.change(|board| board.paused = Some(why.into()));
    }

    /// There is no new work for this payee, for this reason, until he is given a job again: the same
    /// as a pause for his machines. What they still find on his last job is taken as long as that
    /// builds on the others' block.
    pub fn clear(&self, payee: usize, why: String) {
        self.change(|board| board.clear(payee, why.into()));
    }

    /// Each machine that is connected.
    pub fn machines(&self) -> Vec<MachineStatus> {
        let slots: Vec<Slot> = self.place.register().machines.values().cloned().collect();
        slots.iter().map(|slot| held(slot).clone()).collect()
    }

    /// Everything since the start.
    pub fn totals(&self) -> Totals {
        let register = self.place.register();
        let mut totals = register.past;
        totals.open = u64::try_from(register.door.open()).unwrap_or(u64::MAX);
        for slot in register.machines.values() {
            totals.tally.add(&held(slot).tally);
        }
        totals
    }

    /// Stops: no more connections are taken, what was said to machines is sent, and they are let
    /// go.
    pub fn stop(mut self) {
        self.change(|board| board.stopping = true);
        let begin = Instant::now();
        while self.place.register().door.open() > 0 && begin.elapsed() < FAREWELL {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.close();
    }

    fn close(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(FAREWELL);
        }
    }

    fn change(&self, change: impl FnOnce(&mut Board)) {
        self.board.send_modify(|board| {
            let mut new = Board::clone(board);
            change(&mut new);
            *board = Arc::new(new);
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
    }
}

/// Files that are kept for nodes, store and blocks, whatever machines take.
const RESERVED: usize = 256;

/// How many files we may have open, where the system says.
fn files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = soft.and_then(|line| line.split_whitespace().next()?.parse().ok());
    soft.unwrap_or(usize::MAX)
}

/// The name of the server's threads.
pub const THREAD: &str = "stratum";

fn open(listen: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match listen {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    // Connections inherit it: a machine that lost its power is noticed even without work.
    socket.set_keepalive(true)?;
    socket.bind(listen)?;
    socket.listen(BACKLOG)
}

async fn listening(
    listener: TcpListener,
    place: Arc<Place>,
    mut board: watch::Receiver<Arc<Board>>,
) {
    let mut number = 0u64;
    loop {
        let taken = tokio::select! {
            biased;
            stop = board.wait_for(|board| board.stopping) => {
                // Stopped, or the server has been dropped.
                drop(stop);
                return;
            }
            taken = listener.accept() => taken,
        };
        match taken {
            Ok((stream, address)) => {
                number = place.register().number_after(number);
                admit(stream, address, number, &place, board.clone());
            }
            // Most likely there are too many open files: others have to leave first.
            Err(_) => tokio::time::sleep(RELIEF).await,
        }
    }
}

/// Lets a connection in, or says why not.
fn admit(
    stream: TcpStream,
    address: SocketAddr,
    number: u64,
    place: &Arc<Place>,
    mut board: watch::Receiver<Arc<Board>>,
) {
    let now = place.clock.now();
    let mut register = place.register();
    if let Err(turned) = register.door.enter(address.ip(), now.ms) {
        register.past.turned_away = register.past.turned_away.saturating_add(1);
        drop(register);
        let mut line = Vec::new();
        stratum::refuse_with(&mut line, "null", "null", 20, turned.words());
        // What does not fit at once is not worth waiting for. The runtime may not know yet that a
        // socket so young can be written to: the system does.
        let _ = stream.into_std().and_then(|mut stream| stream.write(&line));
        return;
    }
    let _ = stream.set_nodelay(true);
    let present = Arc::clone(&board.borrow_and_update());
    let session = Session::new(Arc::clone(&place.house), present, number, address, now);
    let slot = Arc::new(Mutex::new(session.status().clone()));
    register.machines.insert(number, Arc::clone(&slot));
    register.past.connected = register.past.connected.saturating_add(1);
    drop(register);
    let guard = Guard { place: Arc::clone(place), slot, ended: Ended::ByMachine };
    tokio::spawn(connection::serve(stream, session, guard, board));
}
