//! What evidence takes: bytes a share, rows a second, and how cheaply a share that is none is turned
//! away. `cargo bench --bench evidence`
//!
//! Sizes are exact and the same everywhere. Speeds of the processor are ratios to a limit of the same
//! run, measured in turns. Speeds of the store are those of the disk under `TMPDIR` (or the target
//! folder), each transaction flushed to it before the next begins, as the gateway does it: how many
//! rows lie in a transaction is printed with them, for on a slow disk that is all that counts.

mod turns;

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::{Amount, BlockHash, CompactTarget, Network, ScriptBuf, Target, TxMerkleNode};
use hashmix::gateway::collector::{Collector, Held};
use hashmix::gateway::job::{Claim, Job};
use hashmix::id::PositionId;
use hashmix::store::{FindsRow, Store};
use hashmix::work::agreement::{Demand, Entitlement, WorkTerms, share_target};
use hashmix::work::certificate::Certificate;
use hashmix::work::extended_job::{ExtendedJob, Extranonce, Find};
use hashmix::work::farm::Farm;
use hashmix::work::hash;
use hashmix::work::kept::{KeptFind, finds_to_bytes, job_digest, job_to_bytes};
use hashmix::work::share::{misses, prove};
use hashmix::work::template::BlockTemplate;
use sha2::compress256;
use sha2::digest::consts::U64;
use sha2::digest::generic_array::GenericArray;
use turns::{middle, per_second};

/// Shares expected in a slice (m), and slices of a day.
const EXPECTED: u32 = 30;
const SLICES: u32 = 12;
/// Templates of a slice: two hours, one each 30 s.
const TEMPLATES: u32 = 240;
/// Levels of the branch: 2,049 to 4,096 transactions.
const LEVELS: u8 = 12;
const HEIGHT: u32 = 900_000;
const ROUNDS: usize = 41;

fn main() {
    let jobs: Vec<ExtendedJob> = (0..TEMPLATES).map(job).collect();
    sizes(&jobs);
    let folder = tempfile::tempdir().expect("a folder");
    position_day(&jobs, folder.path());
    stored(&jobs, folder.path());
    kept(&jobs[0]);
    rejected(&jobs[0]);
}

/// Mixed numbers that repeat themselves in each run.
fn mixed(seed: u64) -> [u8; 32] {
    hash::double(&seed.to_le_bytes())
}

/// A job of the template with this number: its own parent (one in twenty), amounts and branch.
fn job(number: u32) -> ExtendedJob {
    let reward = Amount::from_sat(312_500_000 + u64::from(number) * 7_919);
    let template = BlockTemplate {
        version: Version::from_consensus(0x2000_0000),
        parent: BlockHash::from_byte_array(mixed(u64::from(number / 20))),
        height: HEIGHT + number / 20,
        time: 1_700_000_000 + number * 30,
        bits: CompactTarget::from_consensus(0x1702_0000),
        reward,
        transactions: Vec::new(),
    };
    let payouts = Farm::single(script(1), script(2), 10_000).and_then(|farm| farm.payouts(reward));
    let mut job = ExtendedJob::new(&template, 12, &payouts.expect("payouts")).expect("a job");
    let node = |level| mixed(1_000_000 + u64::from(number) * 100 + u64::from(level));
    job.branch = (0..LEVELS).map(|level| TxMerkleNode::from_byte_array(node(level))).collect();
    job
}

fn script(byte: u8) -> ScriptBuf {
    ScriptBuf::from_bytes([vec![0x51, 0x20], vec![byte; 32]].concat())
}

/// A find as a machine makes it: eight random bytes behind the four that the gateway gave it (of which
/// one differs between machines), 16 rolled bits, up to a minute after the template.
fn find(seed: u64, time: u32) -> Find {
    let random = mixed(seed);
    let number = |at: usize| {
        u32::from_le_bytes([random[at], random[at + 1], random[at + 2], random[at + 3]])
    };
    Find {
        extranonce: Extranonce::new(&[0, 0, 1, random[0]], &random[4..12]).expect("12 bytes"),
        version: 0x2000_0000 | (number(12) & 0x1fff_e000).cast_signed(),
        time: time + number(16) % 60,
        nonce: number(20),
    }
}

/// The finds of a slice of a position, each of some template of its two hours.
fn slice(seed: u64, count: u32) -> std::collections::BTreeSet<KeptFind> {
    (0..count)
        .map(|number| {
            let seed = seed * 1_000_000 + u64::from(number);
            let job = u32::from_le_bytes([mixed(seed)[30], mixed(seed)[31], 0, 0]) % TEMPLATES;
            KeptFind { job: 1 + job, find: find(seed, 1_700_000_000 + job * 30) }
        })
        .collect()
}

fn sizes(jobs: &[ExtendedJob]) {
    println!("Bytes a share, 201-byte coinbase, branch of {LEVELS}");
    for (name, jobs, each) in [
        ("1 template, 10,000 shares", &jobs[..1], 10_000),
        ("12 templates, 200 shares each", &jobs[..12], 200),
        ("30 templates, 1 share each, m = 30", &jobs[..30], 1),
        ("240 templates, 40 shares each", jobs, 40u64),
    ] {
        let shares = jobs.iter().enumerate().flat_map(|(number, job)| {
            (0..each).map(move |i| {
                let find = find(number as u64 * 1_000_000 + i, 1_700_000_000);
                job.share(&find).expect("a share")
            })
        });
        let all = Certificate::new(PositionId([7; 32]), 3, shares).expect("a certificate");
        let bytes = all.to_bytes();
        assert_eq!(Certificate::from_bytes(&bytes).expect("it is read again"), all);
        let count = all.shares.len() as u64;
        let json = all.to_json().len() as u64 / count;
        println!("  {name:<34} columns {:>6}   JSON {json:>5}", hundredths(bytes.len(), count));
    }
    let row = finds_to_bytes(&slice(1, EXPECTED));
    let found = hundredths(row.len(), u64::from(EXPECTED));
    println!("  {:<34} row     {found:>6}", "a slice's row in the store, m = 30");
}

fn hundredths(total: usize, of: u64) -> String {
    let hundredths = total as u64 * 100 / of;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Finds of a position's slice as a row.
fn row(position: u32, number: u32, count: u32) -> FindsRow {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&position.to_le_bytes());
    let seed = u64::from(position) * 100 + u64::from(number);
    FindsRow {
        position: id,
        slice: number,
        dropped: 0,
        late: 0,
        finds: finds_to_bytes(&slice(seed, count)),
    }
}

/// What the file grows by for a position and a day, beside the jobs that all positions share.
fn position_day(jobs: &[ExtendedJob], folder: &Path) {
    const POSITIONS: u32 = 500;
    let table: Vec<_> = jobs.iter().map(job_to_bytes).map(|b| (job_digest(&b), b)).collect();
    let size = |name: &str, positions: u32| {
        let path = folder.join(name);
        let mut store = Store::open(&path).expect("a store");
        let rows = |_: &[u32]| {
            (0..positions).flat_map(|p| (0..SLICES).map(move |s| row(p, s, EXPECTED))).collect()
        };
        store.keep_finds(&table, rows).expect("stored");
        drop(store);
        fs::metadata(path).expect("a file").len()
    };
    let (shared, whole) = (size("shared", 0), size("whole", POSITIONS));
    let day = (whole - shared) / u64::from(POSITIONS);
    println!("Bytes of a position and day in the store, m = {EXPECTED}: {day} (limit 8,000)");
    let each = table.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() / table.len();
    println!("  a job beside them, once for all positions: {each}");
}

fn stored(jobs: &[ExtendedJob], folder: &Path) {
    println!("Shares stored a second, each transaction flushed to the disk");
    let table: Vec<_> = jobs.iter().map(job_to_bytes).map(|b| (job_digest(&b), b)).collect();
    // As many as are expected, and as many as the terms allow.
    let shapes = [100u32, 1_000, 10_000].map(|batch| (batch, EXPECTED));
    for (batch, count) in shapes.into_iter().chain([(1_000, 4 * EXPECTED)]) {
        let name = format!("{batch} rows of {count}");
        let mut store = Store::open(folder.join(&name)).expect("a store");
        store.keep_finds(&table, |_| Vec::new()).expect("jobs");
        let transactions = 40_000 / batch;
        let (mut storing, mut all) = (Duration::ZERO, Duration::ZERO);
        for transaction in 0..transactions {
            let rows = |_: &[u32]| -> Vec<_> {
                (0..batch).map(|position| row(position, transaction, count)).collect()
            };
            // Making up random finds is no part of it; putting them into rows is.
            let made: Vec<_> = (0..batch).map(|n| slice(u64::from(n), count)).collect();
            let begin = Instant::now();
            for finds in &made {
                black_box(finds_to_bytes(finds));
            }
            let encoding = begin.elapsed();
            let rows = rows(&[]);
            let begin = Instant::now();
            store.keep_finds(&[], |_| rows).expect("stored");
            storing += begin.elapsed();
            all += encoding + begin.elapsed();
        }
        let shares = u64::from(transactions * batch * count);
        let rate = |time: Duration| shares * 1_000 / (time.as_micros() as u64).max(1);
        println!(
            "  {name:>17} a transaction: {:>6} k/s as rows, {:>6} k/s with their making",
            rate(storing),
            rate(all)
        );
    }
}

/// Shares that the collector takes into memory, with all that a submit costs there.
fn kept(job: &ExtendedJob) {
    const SHARES: u32 = 100_000;
    let terms = WorkTerms {
        network: Network::Bitcoin,
        start: HEIGHT,
        period: 144,
        periods: 28,
        window: 28,
        slice: 12,
        rate: 1_000_000_000_000_000,
        target: share_target(1_000_000_000_000_000, 1_000_000, 12),
        expected: 1_000_000,
        lock: script(1),
        first: 0,
        earlier: Vec::new(),
        service: script(2),
        service_ppm: 10_000,
        cap: Amount::from_sat(100_000_000),
        receipt_span: 36,
        proof_span: 42,
        ruling_depth: 144,
        rule: Entitlement::ProRata,
    };
    let template = Arc::new(BlockTemplate {
        version: Version::from_consensus(0x2000_0000),
        parent: job.parent,
        height: HEIGHT,
        time: 1_700_000_000,
        bits: job.bits,
        reward: Amount::from_sat(312_500_000),
        transactions: Vec::new(),
    });
    let finds: Vec<(Find, BlockHash)> = (0..SHARES)
        .map(|number| {
            // Any hash below the target does: the collector asks no more of it.
            let mut hash = mixed(u64::from(number));
            hash[20..].fill(0);
            (find(u64::from(number), 1_700_000_000), BlockHash::from_byte_array(hash))
        })
        .collect();
    println!("Shares kept in memory a second, flushed once");
    for positions in [1u8, 20] {
        let held = (0..positions)
            .map(|number| Held { position: PositionId([number; 32]), terms: terms.clone() });
        let store = Store::open_in_memory().expect("a store");
        let mut collector = Collector::open(store, held.collect()).expect("a collector");
        let claim = |position| Claim { position, slice: 0, target: terms.target };
        let job = Arc::new(Job {
            id: 1,
            payee: 0,
            work: job.clone(),
            template: template.clone(),
            earliest: 0,
            claims: (0..usize::from(positions)).map(claim).collect(),
        });
        let begin = Instant::now();
        for (find, hash) in &finds {
            collector.keep(&job, find, *hash);
        }
        let keeping = begin.elapsed();
        let begin = Instant::now();
        collector.flush().expect("flushed");
        let flushing = begin.elapsed();
        println!(
            "  {positions:>3} positions a coinbase: {:>7} k/s, {:>7} k/s with the flush",
            u64::from(SHARES) * 1_000 / keeping.as_micros() as u64,
            u64::from(SHARES) * 1_000 / (keeping + flushing).as_micros() as u64
        );
    }
}

/// Turning away a header that misses the target, against hashing it: 3 compressions.
fn rejected(job: &ExtendedJob) {
    let shares: Vec<_> =
        (0..256).map(|i| job.share(&find(i, 1_700_000_000)).expect("a share")).collect();
    let (lock, service) = (script(1), script(2));
    let demand = Demand {
        network: Network::Bitcoin,
        lock: &lock,
        holders: None,
        service: Some((&service, 10_000)),
        cap: Amount::from_sat(100_000_000),
        target: Target::from_be_bytes([0; 32]),
    };
    for share in &shares {
        let refused = prove(share, HEIGHT, 0, &demand).expect_err("it misses");
        assert_eq!(refused.rule(), "work-target");
    }
    let headers: Vec<Header> = shares.iter().map(|share| share.header).collect();
    let blocks = [GenericArray::<u8, U64>::default(); 64];
    let mut kernels: [(&str, &mut dyn FnMut() -> u64); 4] = [
        ("sha2 compressions, one long message", &mut || {
            let mut state = [1u32; 8];
            compress256(&mut state, black_box(&blocks));
            black_box(state);
            64
        }),
        ("header hashed", &mut || {
            for header in &headers {
                black_box(hash::header(black_box(header)));
            }
            256
        }),
        ("header above the target turned away", &mut || {
            for header in &headers {
                black_box(misses(black_box(header), demand.target));
            }
            256
        }),
        ("... and refused in words", &mut || {
            for share in &shares {
                let _ = black_box(prove(black_box(share), HEIGHT, 0, &demand));
            }
            256
        }),
    ];
    let mut speeds = vec![Vec::new(); kernels.len()];
    for _ in 0..ROUNDS {
        for ((_, kernel), speeds) in kernels.iter_mut().zip(&mut speeds) {
            speeds.push(per_second(*kernel));
        }
    }
    println!("Turning away, against the limit of 3 compressions a header");
    for ((name, _), speed) in kernels.iter().zip(&speeds) {
        let ratios = speed.iter().zip(&speeds[0]).map(|(speed, limit)| speed * 3_000 / limit);
        let ratio = middle(ratios.collect());
        match *name {
            "sha2 compressions, one long message" => {
                println!("  {name:<38} {:>12} /s", middle(speed.clone()));
            }
            _ => println!(
                "  {name:<38} {:>12} /s   ratio {}.{:03}",
                middle(speed.clone()),
                ratio / 1_000,
                ratio % 1_000
            ),
        }
    }
}
