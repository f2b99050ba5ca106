//! What the tests share: jobs, somebody who keeps what comes out, a server on a free port.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bitcoin::BlockHash;
use hashmix::gateway::board::Posted;
use hashmix::gateway::difficulty::Difficulty;
use hashmix::gateway::job::Job;
use hashmix::gateway::server::{Payee, Server, Settings, Sink};
use hashmix::rehearsal::stratum::jobs::{sample, target};
use hashmix::work::extended_job::Find;

/// Keeps everything, in the order in which it came.
#[derive(Debug, Default)]
pub struct Kept {
    pub blocks: Mutex<Vec<(u64, Find)>>,
    pub shares: Mutex<Vec<(u64, Find, BlockHash)>>,
    pub notes: Mutex<Vec<String>>,
}

impl Kept {
    pub fn blocks(&self) -> usize {
        self.blocks.lock().unwrap().len()
    }

    pub fn shares(&self) -> usize {
        self.shares.lock().unwrap().len()
    }

    pub fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap().clone()
    }
}

impl Sink for Kept {
    fn block(&self, job: &Arc<Job>, find: &Find) {
        self.blocks.lock().unwrap().push((job.id, *find));
    }

    fn share(&self, job: &Arc<Job>, find: &Find, hash: BlockHash) {
        self.shares.lock().unwrap().push((job.id, *find, hash));
    }

    fn note(&self, _: SocketAddr, words: &str) {
        self.notes.lock().unwrap().push(words.to_owned());
    }
}

pub fn job(id: u64, payee: u8, parent: u8) -> Arc<Job> {
    Arc::new(sample(id, payee, parent).unwrap())
}

pub fn posted(id: u64, payee: u8, parent: u8) -> Posted {
    Posted::new(job(id, payee, parent), 0)
}

/// What machines start with: as hard as the sample jobs' position allows.
pub fn start() -> Difficulty {
    Difficulty::of_target(target(0x0f))
}

/// Settings for tests: any free port, and shares that take few hashes.
pub fn settings() -> Settings {
    let mut settings = Settings::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    settings.pace.least = Difficulty::read("0.000000001").unwrap();
    settings.pace.start = start();
    settings.threads = 2;
    settings
}

pub fn payees() -> Vec<Payee> {
    ["farm", "alice"].map(|name| Payee { name: name.to_owned() }).to_vec()
}

/// A server with a job for each payee.
pub fn server(settings: Settings) -> (Server, Arc<Kept>) {
    let kept = Arc::new(Kept::default());
    let server = Server::start(settings, payees(), Arc::<Kept>::clone(&kept)).unwrap();
    server.publish(vec![job(1, 0, 1), job(2, 1, 1)]);
    (server, kept)
}

/// Waits until something is so.
pub fn until(what: &str, so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
