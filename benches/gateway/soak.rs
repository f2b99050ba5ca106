//! A soak: many machines on loopback, submits at a pace, new blocks in between.
//!
//! Each machine is a task of a client that has one thread. A submit's time runs from writing the
//! line to reading its answer; a new block's from the call of `publish` to the last machine that
//! read the job. The server's own time is that of its threads, so that submits a core-second do
//! not depend on what the client takes.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, TxMerkleNode};
use hashmix::gateway::difficulty::Difficulty;
use hashmix::gateway::job::Job;
use hashmix::gateway::server::{Payee, Server, Settings, Sink, THREAD};
use hashmix::rehearsal::stratum::jobs::{TIME, sample};
use hashmix::work::extended_job::Find;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Bytes of the coinbase.
pub const COINBASE: usize = 175;
/// Levels of the branch.
pub const LEVELS: usize = 12;

/// What is played.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Machines.
    pub machines: usize,
    /// How long, after all have logged in.
    pub time: Duration,
    /// Submits a second, of all machines together.
    pub pace: u64,
    /// Lines that a machine writes at once; more than one measures throughput, not answers.
    pub batch: usize,
    /// Time between two blocks.
    pub blocks: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Answered submits.
    pub submits: u64,
    /// Those that were not accepted.
    pub refused: u64,
    /// How long it took.
    pub time: Duration,
    /// Time of the server's threads.
    pub server: Duration,
    /// Time to an answer that half, 99 % and all of the submits kept within.
    pub answers: [Duration; 3],
    /// The longest time from a new block to the last machine.
    pub block: Duration,
    /// New blocks.
    pub blocks: usize,
    /// Memory of the process before the machines came, with them, and at the end, in KiB.
    pub memory: [u64; 3],
}

impl Report {
    /// Submits a second.
    pub fn rate(&self) -> u64 {
        per_second(self.submits, self.time)
    }

    /// Submits for each second of one core that the server took.
    pub fn per_core(&self) -> u64 {
        per_second(self.submits, self.server)
    }
}

fn per_second(count: u64, time: Duration) -> u64 {
    count * 1_000_000 / u64::try_from(time.as_micros()).unwrap().max(1)
}

/// Takes what comes and forgets it.
#[derive(Debug, Default)]
pub struct Nobody;

impl Sink for Nobody {
    fn block(&self, _: &Arc<Job>, _: &Find) {}
    fn share(&self, _: &Arc<Job>, _: &Find, _: BlockHash) {}
}

/// A job of the size that the figures speak of, for one payee, on another block each time.
pub fn job(id: u64) -> Arc<Job> {
    let mut job = sample(id, 0, 1).unwrap();
    let mut parent = [0; 32];
    parent[..8].copy_from_slice(&id.to_le_bytes());
    job.work.parent = BlockHash::from_byte_array(parent);
    let suffix = COINBASE - job.work.prefix.len() - 12;
    job.work.suffix.resize(suffix, 7);
    let level = |level: u8| TxMerkleNode::hash(&[level, parent[0]]);
    job.work.branch = (0..LEVELS as u8).map(level).collect();
    job.claims.clear();
    Arc::new(job)
}

/// Settings under which any hash is a share and nobody is in a hurry.
pub fn settings() -> Settings {
    let mut settings = Settings::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    let all = Difficulty::read("0.0000000001").unwrap();
    (settings.pace.start, settings.pace.least, settings.pace.most) = (all, all, all);
    (settings.limits.lines, settings.limits.burst) = (1_000_000, 1_000_000);
    // All of them come at once, from one address.
    (settings.limits.guests, settings.limits.guests_of_one) = (usize::MAX, usize::MAX);
    settings
}

/// The payee of the jobs.
pub fn payees() -> Vec<Payee> {
    vec![Payee { name: "farm".to_owned() }]
}

/// What the machines have in common.
struct Field {
    plan: Plan,
    address: SocketAddr,
    ready: AtomicU64,
    go: AtomicBool,
    over: AtomicBool,
    submits: AtomicU64,
    refused: AtomicU64,
    /// Time to answers, in microseconds.
    answers: Mutex<Vec<u32>>,
    /// Machines that have read the last block's job, and when the last one did.
    reached: Mutex<(usize, Option<Instant>)>,
}

impl Field {
    /// Publishes a job on a new block; answers with the time until the last machine has read it.
    fn told(&self, server: &Server, id: u64) -> Duration {
        let job = job(id);
        *self.reached.lock().unwrap() = (0, None);
        let begin = Instant::now();
        server.publish(vec![job]);
        loop {
            let (reached, last) = *self.reached.lock().unwrap();
            if let Some(last) = last.filter(|_| reached >= self.plan.machines) {
                return last.duration_since(begin);
            }
            assert!(begin.elapsed() < Duration::from_secs(10), "only {reached} heard of a block");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Plays, and tells what came of it.
pub fn play(plan: Plan) -> Report {
    let before = memory();
    let server = Server::start(settings(), payees(), Arc::new(Nobody)).unwrap();
    server.publish(vec![job(1)]);
    let field = Arc::new(Field {
        plan,
        address: server.address(),
        ready: AtomicU64::new(0),
        go: AtomicBool::new(false),
        over: AtomicBool::new(false),
        submits: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        answers: Mutex::default(),
        reached: Mutex::default(),
    });
    let client = Arc::clone(&field);
    let client = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let machines: Vec<_> = (0..client.plan.machines)
                .map(|number| tokio::spawn(machine(Arc::clone(&client), number)))
                .collect();
            for machine in machines {
                machine.await.unwrap();
            }
        });
    });
    while field.ready.load(Ordering::Relaxed) < plan.machines as u64 {
        assert!(!client.is_finished(), "a machine could not log in");
        std::thread::sleep(Duration::from_millis(2));
    }
    let with = memory();
    let worked = server_time();
    let begin = Instant::now();
    field.go.store(true, Ordering::Relaxed);
    let mut report = Report::default();
    let mut next = begin + plan.blocks;
    while begin.elapsed() < plan.time {
        std::thread::sleep(Duration::from_millis(5));
        if Instant::now() >= next {
            report.blocks += 1;
            report.block = report.block.max(field.told(&server, 1 + report.blocks as u64));
            next += plan.blocks;
        }
    }
    report.time = begin.elapsed();
    report.server = server_time().saturating_sub(worked);
    report.submits = field.submits.load(Ordering::Relaxed);
    field.over.store(true, Ordering::Relaxed);
    client.join().unwrap();
    report.refused = field.refused.load(Ordering::Relaxed);
    let mut answers = std::mem::take(&mut *field.answers.lock().unwrap());
    answers.sort_unstable();
    let at = |hundredths: usize| {
        let micros = answers.get((answers.len() * hundredths / 100).min(answers.len().max(1) - 1));
        Duration::from_micros(micros.copied().unwrap_or(0).into())
    };
    report.answers = [at(50), at(99), at(100)];
    report.memory = [before, with, memory()];
    let totals = server.totals();
    assert_eq!(totals.tally.accepted + totals.tally.rejects.iter().sum::<u64>(), {
        field.submits.load(Ordering::Relaxed)
    });
    server.stop();
    report
}

async fn machine(field: Arc<Field>, number: usize) {
    let mut stream = TcpStream::connect(field.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let hello = format!(
        "{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"soak/1\"]}}\n\
         {{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"farm.{number}\",\"x\"]}}\n"
    );
    stream.write_all(hello.as_bytes()).await.unwrap();
    let mut reader = Reader::default();
    let mut name = String::new();
    while name.is_empty() {
        reader.read(&mut stream, &field, &mut name, 0).await;
    }
    reader.answers = 0;
    field.ready.fetch_add(1, Ordering::Relaxed);
    while !field.go.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let batch = field.plan.batch;
    let lines = field.plan.machines as u64 * batch as u64;
    let every = Duration::from_nanos(1_000_000_000 * lines / field.plan.pace.max(1));
    // Machines take turns.
    let mut next = tokio::time::Instant::now()
        + every * u32::try_from(number).unwrap() / u32::try_from(field.plan.machines).unwrap();
    let (mut nonce, mut times, mut text) = (0u32, Vec::new(), String::new());
    while !field.over.load(Ordering::Relaxed) {
        // A new block is read at once, not when it is the machine's turn.
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            ready = stream.readable() => {
                ready.unwrap();
                reader.read(&mut stream, &field, &mut name, 0).await;
                continue;
            }
        }
        next += every;
        text.clear();
        for _ in 0..batch {
            nonce += 1;
            text += &format!(
                "{{\"id\":4,\"method\":\"mining.submit\",\"params\":[\"farm.{number}\",\"{name}\",\
                 \"0000000000000000\",\"{TIME:08x}\",\"{nonce:08x}\"]}}\n"
            );
        }
        let begin = Instant::now();
        stream.write_all(text.as_bytes()).await.unwrap();
        reader.read(&mut stream, &field, &mut name, batch).await;
        times.push(u32::try_from(begin.elapsed().as_micros()).unwrap());
        field.submits.fetch_add(batch as u64, Ordering::Relaxed);
    }
    field.refused.fetch_add(reader.refused, Ordering::Relaxed);
    field.answers.lock().unwrap().extend(times);
}

/// What a machine reads.
#[derive(Default)]
struct Reader {
    bytes: Vec<u8>,
    answers: usize,
    refused: u64,
}

impl Reader {
    /// Reads until so many answers are there, or once if none are wanted.
    async fn read(
        &mut self,
        stream: &mut TcpStream,
        field: &Field,
        name: &mut String,
        want: usize,
    ) {
        loop {
            if want > 0 && self.answers >= want {
                self.answers -= want;
                return;
            }
            stream.readable().await.unwrap();
            let mut chunk = [0; 8_192];
            match stream.try_read(&mut chunk) {
                Ok(0) => panic!("the server hung up"),
                Ok(length) => self.bytes.extend_from_slice(&chunk[..length]),
                // Woken for nothing: whoever wants no answer has other things to do.
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => match want {
                    0 => return,
                    _ => continue,
                },
                Err(error) => panic!("{error}"),
            }
            let mut begin = 0;
            while let Some(length) = self.bytes[begin..].iter().position(|byte| *byte == b'\n') {
                let line = &self.bytes[begin..begin + length];
                begin += length + 1;
                let told = b"{\"id\":null,\"method\":\"mining.notify\",\"params\":[\"";
                if let Some(rest) = line.strip_prefix(told) {
                    let end = rest.iter().position(|byte| *byte == b'"').unwrap();
                    *name = String::from_utf8_lossy(&rest[..end]).into_owned();
                    let mut reached = field.reached.lock().unwrap();
                    *reached = (reached.0 + 1, Some(Instant::now()));
                } else if !line.starts_with(b"{\"id\":null") {
                    self.answers += 1;
                    self.refused += u64::from(!line.ends_with(b"\"error\":null}"));
                }
            }
            self.bytes.drain(..begin);
            if want == 0 {
                return;
            }
        }
    }
}

/// The process's memory, in KiB; 0 where there is no procfs.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// What the server's threads have worked so far; 0 where there is no procfs.
fn server_time() -> Duration {
    let mut time = Duration::ZERO;
    for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let text = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        if text("comm").trim() == THREAD {
            // The first number: nanoseconds on a processor.
            let nanos = text("schedstat").split(' ').next().and_then(|text| text.parse().ok());
            time += Duration::from_nanos(nanos.unwrap_or(0));
        }
    }
    time
}
