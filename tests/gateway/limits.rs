//! Trouble over loopback: long lines, slow ones, none at all, floods, crowds.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashmix::gateway::server::Settings;
use hashmix::rehearsal::stratum::jobs::sample;
use hashmix::rehearsal::stratum::{Habits, StratumMiner};

use crate::world::{server, settings, until};

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Everything that comes until the server hangs up.
fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4_096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => bytes.extend_from_slice(&chunk[..length]),
            // A server that hangs up on unread bytes resets the connection.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the server did not hang up: {error}"),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn with(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = settings();
    change(&mut settings);
    settings
}

#[test]
fn a_line_without_an_end_is_cut_off() {
    let (server, kept) = server(settings());
    let mut stream = connect(server.address());
    // A megabyte; the server has stopped reading long before it is sent.
    let _ = stream.write_all(&vec![b'x'; 1 << 20]);
    rest(&mut stream);
    until("it is noted", || !kept.notes().is_empty());
    assert_eq!(kept.notes(), ["closed: a line was too long"]);
    assert_eq!((server.totals().closed, server.totals().open), (1, 0));
}

#[test]
fn whoever_does_not_log_in_is_closed() {
    let (server, kept) = server(with(|s| s.limits.greeting = 100));
    let begin = Instant::now();
    let text = rest(&mut connect(server.address()));
    assert!(begin.elapsed() >= Duration::from_millis(100));
    assert!(text.contains("no login in time"), "{text}");
    // A half-open socket is an accident, no misconduct.
    until("it is noted", || kept.notes() == ["closed: no login in time"]);
    assert_eq!(server.totals().closed, 0);
}

#[test]
fn a_line_that_trickles_in_is_cut_off() {
    let (server, kept) = server(with(|s| s.limits.line_time = 150));
    let mut stream = connect(server.address());
    for byte in b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]" {
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    rest(&mut stream);
    until("it is noted", || kept.notes() == ["closed: a line took too long to arrive"]);
    assert_eq!(server.totals().closed, 1);
}

#[test]
fn silence_with_work_at_hand_ends_a_connection_and_without_work_it_does_not() {
    let (server, kept) = server(with(|s| s.limits.idle = 150));
    let mut miner = StratumMiner::start(server.address(), "farm.1", Habits::BITAXE).unwrap();
    while miner.hear(Duration::from_secs(1)).is_ok() {}
    until("it is noted", || kept.notes() == ["closed: silent for too long"]);
    assert_eq!(server.totals().closed, 0);
    let settings = with(|s| s.limits.idle = 150);
    let idle = hashmix::gateway::server::Server::start(settings, crate::world::payees(), kept);
    let idle = idle.unwrap();
    let mut miner = StratumMiner::connect(idle.address(), "farm.1", Habits::BITAXE).unwrap();
    miner.introduce().unwrap();
    for _ in 0..10 {
        miner.hear(Duration::from_millis(50)).unwrap();
    }
}

#[test]
fn garbage_ends_a_connection_and_then_bans_the_address_for_a_while() {
    let (server, kept) = server(with(|s| (s.limits.strikes, s.limits.banned) = (2, 700)));
    for _ in 0..2 {
        let mut stream = connect(server.address());
        let _ = stream.write_all("garbage\n".repeat(50).as_bytes());
        let text = rest(&mut stream);
        assert!(text.contains("[20,\"Malformed request\",null]"), "{text}");
        assert!(text.lines().count() <= 10, "{text}");
    }
    until("the ban", || server.totals().bans == 1);
    let text = rest(&mut connect(server.address()));
    assert!(text.contains("banned for some minutes"), "{text}");
    assert_eq!((server.totals().closed, server.totals().turned_away), (2, 1));
    assert!(kept.notes().contains(&"the address is banned for a while".to_owned()));
    std::thread::sleep(Duration::from_millis(750));
    StratumMiner::start(server.address(), "farm.1", Habits::BITAXE).unwrap();
}

#[test]
fn garbage_from_a_farms_address_does_not_stop_its_machines() {
    let (server, _) = server(with(|s| s.limits.strikes = 1));
    let mut miner = StratumMiner::start(server.address(), "farm.1", Habits::BITAXE).unwrap();
    miner.mine(1, Duration::from_secs(10)).unwrap();
    for _ in 0..3 {
        let mut stream = connect(server.address());
        let _ = stream.write_all("garbage\n".repeat(50).as_bytes());
        rest(&mut stream);
    }
    until("three are closed", || server.totals().closed == 3);
    assert_eq!(server.totals().bans, 0);
    miner.mine(1, Duration::from_secs(10)).unwrap();
    StratumMiner::start(server.address(), "farm.2", Habits::BITAXE).unwrap();
}

#[test]
fn honest_runs_of_stale_and_low_shares_ban_nobody() {
    let (server, _) = server(settings());
    let mut miner = StratumMiner::start(server.address(), "farm.1", Habits::BITAXE).unwrap();
    let stale = miner.search(100_000).unwrap();
    server.publish(vec![crate::world::job(5, 0, 2)]);
    miner.await_job(|told| told.clean && told.name != stale.job).unwrap();
    let all = hashmix::rehearsal::stratum::jobs::target(0xff);
    for _ in 0..300 {
        miner.submit(&stale).unwrap();
        let low = miner.search_for(100, all).unwrap();
        miner.submit(&low).unwrap();
    }
    assert_eq!((server.totals().closed, server.totals().open), (0, 1));
}

#[test]
fn a_flood_waits_and_is_answered_line_by_line() {
    let (server, _) = server(with(|s| (s.limits.lines, s.limits.burst) = (200, 20)));
    let mut miner = StratumMiner::start(server.address(), "farm.1", Habits::MINERD).unwrap();
    let begin = Instant::now();
    let submits: Vec<String> = (0..120)
        .map(|_| {
            let found = miner.search(100_000).unwrap();
            let params = miner.params(&found);
            format!("{{\"id\":4,\"method\":\"mining.submit\",\"params\":{params}}}")
        })
        .collect();
    miner.say(&submits.join("\n")).unwrap();
    for _ in 0..120 {
        let answer = miner.answer().unwrap();
        assert_eq!(answer["result"], true);
    }
    // 20 at once, then 200 a second.
    assert!(begin.elapsed() >= Duration::from_millis(450), "{:?}", begin.elapsed());
    assert_eq!(server.totals().closed, 0);
}

#[test]
fn a_flood_of_anything_but_submits_ends_the_connection() {
    let (server, kept) = server(with(|s| {
        (s.limits.lines, s.limits.burst, s.limits.score) = (2_000, 20, 50);
    }));
    let mut stream = connect(server.address());
    let line = "{\"id\":1,\"method\":\"mining.extranonce.subscribe\",\"params\":[]}\n";
    let _ = stream.write_all(line.repeat(1_000).as_bytes());
    rest(&mut stream);
    until("it is noted", || kept.notes() == ["closed: too much that makes no sense"]);
}

#[test]
fn a_browser_is_told_what_this_is() {
    let (server, _) = server(settings());
    let mut stream = connect(server.address());
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let text = rest(&mut stream);
    assert!(text.contains("point a miner here"), "{text}");
    assert_eq!(server.totals().closed, 0);
}

#[test]
fn crowds_are_turned_away_with_a_reason() {
    let (server, _) = server(with(|s| (s.limits.of_one, s.limits.connections) = (2, 3)));
    let address = server.address();
    let first = connect(address);
    let _second = connect(address);
    until("both are there", || server.totals().open == 2);
    let text = rest(&mut connect(address));
    assert!(text.contains("Too many connections from this address"), "{text}");
    drop(first);
    until("one has left", || server.totals().open == 1);
    StratumMiner::start(address, "farm.1", Habits::BITAXE).unwrap();
    assert_eq!(server.totals().turned_away, 1);
}

#[test]
fn a_machine_that_does_not_read_is_let_go() {
    let (server, kept) = server(with(|s| s.limits.unread = 100_000));
    let miner = StratumMiner::start(server.address(), "farm.1", Habits::BITAXE).unwrap();
    let mut reader = StratumMiner::start(server.address(), "farm.2", Habits::BITAXE).unwrap();
    for id in 3..33 {
        // Two megabytes a job: more than the system holds for a machine.
        let mut job = sample(id, 0, 1).unwrap();
        job.work.suffix = vec![0; 1 << 20];
        server.publish(vec![Arc::new(job)]);
        let before = reader.job().unwrap().name.clone();
        reader.await_job(|told| told.name != before).unwrap();
    }
    until("it is noted", || kept.notes().contains(&"closed: the machine does not read".to_owned()));
    drop(miner);
    assert_eq!(server.totals().open, 1);
}
