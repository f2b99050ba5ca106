//! Recorded sessions: what was said between a miner and the gateway is pinned byte by byte.
//!
//! Each of `fixtures/stratum/*.txt` was recorded with the test miner in the habits of a firmware.
//! The same play must still say the same, over a socket; and a session that hears the miner's lines
//! must answer with the gateway's. `HASHMIX_WRITE_FIXTURES=1` records anew.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hashmix::rehearsal::stratum::{Answer, Habits, StratumMiner};
use serde_json::json;

use crate::desk::Desk;
use crate::world::{job, server, settings};

const PLAYS: [(&str, Habits); 5] = [
    ("bitaxe", Habits::BITAXE),
    ("minerd", Habits::MINERD),
    ("antminer", Habits::ANTMINER),
    ("whatsminer", Habits::WHATSMINER),
    // A display's worth of memory: everything it finds is of another coinbase.
    ("short_of_memory", Habits { room: Some(100), firmware: "NerdMinerV2", ..Habits::MINERD }),
];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/stratum/{name}.txt"))
}

/// Logs in, finds, repeats itself, goes on to a new job and to a new block, and says nonsense.
fn play(habits: Habits) -> String {
    let (server, _) = server(settings());
    let mut miner = StratumMiner::start(server.address(), "farm.rack-7", habits).unwrap();
    let first = miner.search(1_000_000).unwrap();
    miner.submit(&first).unwrap();
    // The same again, and one that is too easy.
    miner.submit(&first).unwrap();
    let all = hashmix::rehearsal::stratum::jobs::target(0xff);
    let low = miner.search_for(1_000, all).unwrap();
    miner.submit(&low).unwrap();
    miner.roll();
    let old = miner.search(1_000_000).unwrap();
    for (id, parent) in [(3, 1), (4, 2)] {
        let before = miner.job().unwrap().name.clone();
        miner.mark(&format!("job {id} 0 {parent}"));
        server.publish(vec![job(id, 0, parent)]);
        miner.await_job(|told| told.name != before).unwrap();
        // Good on the same block, stale on another.
        miner.submit(&old).unwrap();
        let new = miner.search(1_000_000).unwrap();
        miner.submit(&new).unwrap();
    }
    miner.ask("mining.get_transactions", json!(["1"])).unwrap();
    miner.ask("mining.unheard_of", json!([])).unwrap();
    miner.say("{\"id\":").unwrap();
    miner.answer().unwrap();
    miner.hear(Duration::from_millis(20)).unwrap();
    miner.record().join("\n") + "\n"
}

#[test]
fn every_play_says_what_was_recorded() {
    for (name, habits) in PLAYS {
        let played = play(habits);
        if std::env::var_os("HASHMIX_WRITE_FIXTURES").is_some() {
            fs::write(path(name), &played).unwrap();
        }
        let recorded = fs::read_to_string(path(name)).unwrap();
        for (now, then) in played.lines().zip(recorded.lines()) {
            assert_eq!(now, then, "{name}");
        }
        assert_eq!(played.lines().count(), recorded.lines().count(), "{name}");
    }
}

#[test]
fn a_session_answers_the_recorded_lines_byte_by_byte() {
    let mut replayed = 0;
    for entry in fs::read_dir(path("x").parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        let recorded = fs::read_to_string(&path).unwrap();
        let mut desk = Desk::new(settings());
        let mut said = VecDeque::new();
        for line in recorded.lines() {
            let (kind, words) = line.split_at(2);
            match kind {
                "> " => said.extend(desk.say(words)),
                "! " => {
                    let numbers: Vec<u8> =
                        words.split(' ').skip(1).map(|number| number.parse().unwrap()).collect();
                    let job = job(numbers[0].into(), numbers[1], numbers[2]);
                    said.extend(desk.post(vec![job]));
                }
                "< " => assert_eq!(said.pop_front().as_deref(), Some(words), "{path:?}"),
                _ => panic!("{path:?}: {line}"),
            }
        }
        assert!(said.is_empty(), "{path:?}: {said:?}");
        replayed += 1;
    }
    assert_eq!(replayed, PLAYS.len());
}

#[test]
fn what_a_firmware_without_room_finds_is_refused_and_what_others_find_is_not() {
    let (server, _) = server(settings());
    let mut accepted = Vec::new();
    for (name, habits) in PLAYS {
        let mut miner = StratumMiner::start(server.address(), "farm.1", habits).unwrap();
        // One in sixteen is good by chance.
        let finds = (0..40).map(|_| miner.search(1_000_000).unwrap()).collect::<Vec<_>>();
        let good = finds.iter().filter(|find| miner.submit(find).unwrap() == Answer::Yes).count();
        accepted.push((name, good));
    }
    for (name, good) in &accepted {
        match *name == "short_of_memory" {
            true => assert!(*good <= 12, "{accepted:?}"),
            false => assert!(*good >= 30, "{accepted:?}"),
        }
    }
}
