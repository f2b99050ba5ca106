//! What the gateway costs: a submit from its bytes to its verdict, as a ratio of what hashing alone
//! would allow; and a soak of machines on loopback.
//!
//! `cargo bench --features gateway --bench gateway [-- SECONDS]`; the soak takes 10 seconds
//! unless told otherwise.

mod soak;
#[path = "../turns/mod.rs"]
mod turns;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use hashmix::gateway::board::Board;
use hashmix::gateway::session::Session;
use hashmix::gateway::settings::House;
use hashmix::gateway::submit::Moment;
use hashmix::rehearsal::stratum::jobs::TIME;
use sha2::compress256;
use sha2::digest::consts::U64;
use sha2::digest::generic_array::GenericArray;
use soak::{COINBASE, LEVELS, Nobody, Plan, Report, play};
use turns::{middle, per_second};

/// Header 3, coinbase 3 + 1, branch 3 a level.
const COMPRESSIONS: u64 = 3 + 4 + 3 * LEVELS as u64;
const ROUNDS: usize = 41;
const LINES: usize = 8_192;

fn main() {
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(10);
    in_process();
    let plan = Plan {
        machines: 1_000,
        time: Duration::from_secs(seconds),
        pace: 20_000,
        batch: 1,
        blocks: Duration::from_secs(5),
    };
    show("20,000 submits a second", &plan, &play(plan));
    let plan = Plan { time: Duration::from_secs(5), pace: 1_000_000, batch: 20, ..plan };
    show("as many as can be, 20 at once", &plan, &play(plan));
}

fn in_process() {
    let now = Moment { ms: 1_000, unix: TIME };
    let house = Arc::new(House::new(soak::settings(), soak::payees()).expect("a payee"));
    let mut board = Board::new(1);
    board.post(vec![soak::job(1)], 0);
    let address = "127.0.0.1:1".parse().expect("an address");
    let mut session = Session::new(house, Arc::new(board), 1, address, now);
    let mut out = Vec::new();
    for line in [
        "{\"id\":1,\"method\":\"mining.configure\",\"params\":[[\"version-rolling\"],{}]}",
        "{\"id\":2,\"method\":\"mining.subscribe\",\"params\":[]}",
        "{\"id\":3,\"method\":\"mining.authorize\",\"params\":[\"farm.1\",\"x\"]}",
    ] {
        session.line(line.as_bytes(), now, &Nobody, &mut out).expect("a login");
    }
    let told = String::from_utf8_lossy(&out).into_owned();
    let name = told.split("mining.notify\",\"params\":[\"").nth(1).expect("a job");
    let name = name.split('"').next().expect("its name");
    // Twice as many as are remembered, so that none is a duplicate when it comes again.
    let lines: Vec<String> = (0..LINES)
        .map(|nonce| {
            format!(
                "{{\"params\": [\"farm.1\", \"{name}\", \"00000000000000aa\", \"{TIME:08x}\", \
                 \"{nonce:08x}\", \"00ffe000\"], \"id\": {nonce}, \"method\": \"mining.submit\"}}"
            )
        })
        .collect();
    let blocks = [GenericArray::<u8, U64>::default(); 64];
    let mut at = 0;
    let mut speeds = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        speeds[0].push(per_second(&mut || {
            let mut state = [1u32; 8];
            compress256(&mut state, black_box(&blocks));
            black_box(state);
            64
        }));
        speeds[1].push(per_second(&mut || {
            out.clear();
            for line in &lines[at..at + 64] {
                session.line(black_box(line.as_bytes()), now, &Nobody, &mut out).expect("a submit");
            }
            at = (at + 64) % LINES;
            64
        }));
    }
    let tally = session.status().tally;
    assert_eq!(tally.rejects.iter().sum::<u64>(), 0, "every submit is accepted");
    println!("{COINBASE}-byte coinbase, branch of {LEVELS}: {COMPRESSIONS} compressions a share");
    let ratios =
        speeds[0].iter().zip(&speeds[1]).map(|(hash, all)| all * 1_000 * COMPRESSIONS / hash);
    let ratio = middle(ratios.collect());
    let [hashes, submits] = speeds.map(middle);
    println!("sha2 alone                    {:>10} shares/s", hashes / COMPRESSIONS);
    println!(
        "submit, bytes to verdict      {submits:>10} shares/s   ratio {}.{:03}",
        ratio / 1_000,
        ratio % 1_000
    );
}

fn show(what: &str, plan: &Plan, report: &Report) {
    let [half, most, all] = report.answers.map(|time| time.as_micros());
    let [before, with, after] = report.memory.map(|kib| kib / 1_024);
    println!("\n{} machines on loopback, {what}:", plan.machines);
    println!(
        "  {} submits in {} s: {}/s, {}/s for each core that the server took; {} refused",
        report.submits,
        report.time.as_secs(),
        report.rate(),
        report.per_core(),
        report.refused
    );
    println!("  time to the answer: half {half} us, 99 % {most} us, all {all} us");
    println!(
        "  {} new blocks: the last machine knew after at most {} ms",
        report.blocks,
        report.block.as_millis()
    );
    println!(
        "  memory of both ends: {before} MiB, {with} MiB with all machines, {after} MiB at the end"
    );
}
