//! A gateway is killed at any moment, again and again: what it has reported as flushed is there, and
//! what it has sealed never changes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use hashmix::gateway::collector::{Collector, Held};
use hashmix::gateway::job::{Claim, Job};
use hashmix::headers::Headers;
use hashmix::store::Store;
use hashmix::work::certificate::Certificate;
use hashmix::work::extended_job::{ExtendedJob, Extranonce, Find};
use hashmix::work::hash::Midstate;

use crate::world::{POSITION, REWARD, START, TIP, chain, pay, template, terms};

/// Set in the process that is to be killed: where it keeps what it finds, and from which find on.
const VICTIM: &str = "HASHMIX_TEST_KILLED_COLLECTOR";
const FROM: &str = "HASHMIX_TEST_KILLED_COLLECTOR_FROM";
/// Its name as the test harness knows it.
const NAME: &str = "killed::a_gateway_that_is_killed_loses_no_share_that_it_had_flushed";
/// Finds of each height of the term.
const EACH: usize = 30;
/// Times that it is killed.
const ROUNDS: u32 = 20;
/// Longest that a round lasts (ms).
const LONGEST: u64 = 60;

fn open(path: &Path) -> Collector {
    let held = vec![Held { position: POSITION, terms: terms() }];
    Collector::open(Store::open(path).unwrap(), held).unwrap()
}

/// Everything that is found in the term, in its order.
fn finds(headers: &Headers) -> Vec<(Arc<Job>, Find, BlockHash)> {
    let mut all = Vec::new();
    for height in START..START + terms().calendar().blocks() {
        let template = template(headers, height);
        let work = ExtendedJob::new(&template, 12, &pay(REWARD, REWARD)).unwrap();
        let slice = terms().calendar().slice_of(height).unwrap();
        let claims = vec![Claim { position: 0, slice, target: terms().target }];
        let job = Job {
            id: u64::from(height),
            payee: 0,
            work,
            template: Arc::new(template),
            earliest: 0,
            claims,
        };
        let job = Arc::new(job);
        for number in 0..EACH {
            let extranonce = Extranonce::new(&[9; 4], &(number as u64).to_le_bytes()).unwrap();
            let find = Find { extranonce, version: 0x2000_0000, time: job.template.time, nonce: 0 };
            let header = job.work.share(&find).unwrap().header;
            let mut midstate = Midstate::new(&header);
            let hash = |nonce| BlockHash::from_byte_array(midstate.hash(nonce));
            let (nonce, hash) = (0..)
                .zip((0..).map(hash))
                .find(|(_, hash)| terms().target.is_met_by(*hash))
                .unwrap();
            all.push((job.clone(), Find { nonce, ..find }, hash));
        }
    }
    all
}

/// The process that is to be killed: keeps, flushes, seals, and reports what it has done.
fn victim(path: &Path, from: usize) -> ! {
    let headers = chain(TIP);
    let mut collector = open(path);
    let mut report = std::io::stderr();
    for (number, (job, find, hash)) in finds(&headers).into_iter().enumerate().skip(from) {
        collector.keep(&job, &find, hash);
        if number % 3 == 2 {
            collector.flush().unwrap();
            writeln!(report, "flushed {}", number + 1).unwrap();
        }
        // A slice is sealed when the next one has begun.
        for (position, slice) in collector.due(job.template.height - 1, 0) {
            let sealing = collector.seal(position, slice, &headers).unwrap().unwrap();
            writeln!(report, "sealed {slice} {}", sealing.certificate.digest()).unwrap();
        }
    }
    writeln!(report, "all").unwrap();
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

/// Random enough to kill by.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// What a killed process had reported.
#[derive(Default)]
struct Reported {
    flushed: usize,
    sealed: BTreeMap<u32, String>,
    all: bool,
}

/// Starts the process, kills it after a while from its first report on, and takes its reports.
fn killed(path: &Path, from: usize, after: Duration, reported: &mut Reported) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", NAME])
        .env(VICTIM, path)
        .env(FROM, from.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let begun = Arc::new(AtomicBool::new(false));
    let killer = {
        let begun = begun.clone();
        thread::spawn(move || {
            while !begun.load(Ordering::Acquire) {
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(after);
            // SIGKILL: nothing of it is run any more.
            child.kill().unwrap();
            child.wait().unwrap()
        })
    };
    for line in lines.map_while(Result::ok) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["flushed", count] => reported.flushed = count.parse().unwrap(),
            ["sealed", slice, digest] => {
                let before = reported.sealed.insert(slice.parse().unwrap(), (*digest).to_owned());
                assert_eq!(before, None, "slice {slice} was sealed twice");
            }
            ["all"] => reported.all = true,
            _ => {}
        }
        begun.store(true, Ordering::Release);
    }
    begun.store(true, Ordering::Release);
    assert!(!killer.join().unwrap().success(), "it was to be killed");
}

#[test]
fn a_gateway_that_is_killed_loses_no_share_that_it_had_flushed() {
    if let Some(path) = std::env::var_os(VICTIM) {
        let from = std::env::var(FROM).unwrap().parse().unwrap();
        victim(Path::new(&path), from);
    }
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    println!("seed {seed}");
    let mut chance = Chance(seed.into());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let headers = chain(TIP);
    let all = finds(&headers);
    let mut reported = Reported::default();
    let mut sealed: Vec<Certificate> = Vec::new();
    let mut rounds = 0;
    while rounds < ROUNDS && !reported.all {
        let after = Duration::from_millis(chance.below(LONGEST));
        killed(&path, reported.flushed, after, &mut reported);
        rounds += 1;
        let mut collector = open(&path);
        // Every certificate that was reported is there, as it was; one more may have been stored.
        let now: Vec<Certificate> = (0..terms().calendar().slices())
            .flat_map(|slice| collector.certificates(0, slice).unwrap())
            .collect();
        assert_eq!(now[..sealed.len()], sealed, "a sealed certificate has changed");
        for (slice, digest) in &reported.sealed {
            let certificate = now.iter().find(|c| c.slice == *slice).unwrap();
            assert_eq!(certificate.digest().to_string(), *digest);
        }
        assert!(now.len() <= reported.sealed.len() + 1);
        for certificate in &now[reported.sealed.len()..] {
            reported.sealed.insert(certificate.slice, certificate.digest().to_string());
        }
        sealed = now;
        // And every share that was reported, sealed or not; at most those since then are lost.
        let open: usize = collector.open_slices().iter().map(|slice| slice.shares).sum();
        let kept = open + sealed.iter().map(|c| c.shares.len()).sum::<usize>();
        assert!(kept >= reported.flushed, "{kept} kept of {} that were flushed", reported.flushed);
    }
    println!("{rounds} rounds, {} flushed, {} sealed", reported.flushed, sealed.len());
    assert!(reported.flushed > 0 && rounds > 1);
    let mut collector = open(&path);
    for open in collector.open_slices().into_iter().filter(|open| open.shares > 0) {
        let sealing = collector.seal(open.position, open.slice, &headers).unwrap().unwrap();
        sealed.push(sealing.certificate);
    }
    let found: BTreeSet<BlockHash> =
        sealed.iter().flat_map(|c| c.shares.iter().map(|share| share.hash())).collect();
    for (_, _, hash) in &all[..reported.flushed] {
        assert!(found.contains(hash), "a flushed share is lost");
    }
    for certificate in &sealed {
        certificate.check(&terms(), &headers).unwrap();
    }
}
