//! What is said to each method, and with which code each thing is refused.

use std::sync::Arc;

use bitcoin::Target;
use hashmix::gateway::board::Board;
use hashmix::gateway::difficulty::Difficulty;
use hashmix::gateway::reject::Reject;
use hashmix::gateway::session::Ended;
use hashmix::rehearsal::stratum::jobs::{SPAN, TIME, sample, target};
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::world::{job, settings, start};

fn none() -> Target {
    Target::from_be_bytes([0; 32])
}

fn all() -> Target {
    Target::from_be_bytes([0xff; 32])
}

/// What the sample jobs' position asks for: one hash in 16.
fn share() -> Target {
    target(0x0f)
}

#[test]
fn version_bits_are_granted_as_far_as_they_may_roll() {
    for (asked, granted) in [
        (json!({"version-rolling.mask": "ffffffff"}), json!("1fffe000")),
        (json!({"version-rolling.mask": "00c00000"}), json!("00c00000")),
        (json!({"version-rolling.mask": "0x1FFFE000"}), json!("1fffe000")),
        (json!({}), json!("1fffe000")),
        (
            json!({"version-rolling.mask": "ffffffff", "version-rolling.min-bit-count": 16}),
            json!("1fffe000"),
        ),
        (
            json!({"version-rolling.mask": "ffffffff", "version-rolling.min-bit-count": 17}),
            json!("1fffe000"),
        ),
        (
            json!({"version-rolling.mask": "00006000", "version-rolling.min-bit-count": "3"}),
            json!("00006000"),
        ),
        (json!(null), json!("1fffe000")),
        (json!({"version-rolling.mask": 0x00ff_e000}), json!("00ffe000")),
        (json!({"minimum-difficulty.value": [1]}), json!("1fffe000")),
        (json!({"version-rolling.mask": "e0001fff"}), Value::Null),
        (json!({"version-rolling.mask": "mask"}), Value::Null),
    ] {
        let mut desk = Desk::new(settings());
        let answer = desk.ask("mining.configure", json!([["version-rolling"], asked]));
        assert_eq!(answer["result"]["version-rolling.mask"], granted, "{asked}");
        assert_eq!(answer["result"]["version-rolling"], json!(granted != Value::Null), "{asked}");
    }
}

#[test]
fn unknown_extensions_are_declined_one_by_one() {
    let mut desk = Desk::new(settings());
    let asked = json!([
        ["minimum-difficulty", "version-rolling", "subscribe-extranonce", "a\"b"],
        {"minimum-difficulty.value": 2048, "version-rolling.mask": "1fffe000"}
    ]);
    let answer = desk.ask("mining.configure", asked);
    let expected = json!({
        "minimum-difficulty": false,
        "version-rolling": true,
        "version-rolling.mask": "1fffe000",
        "subscribe-extranonce": false,
        "a\"b": false,
    });
    assert_eq!(answer["result"], expected);
    assert_eq!(desk.next, Ok(()));
    assert_eq!(desk.ask("mining.configure", json!([["version-rolling"]]))["error"], Value::Null);
    assert_eq!(desk.ask("mining.configure", json!("x"))["error"][0], 20);
}

#[test]
fn a_subscription_gives_four_bytes_and_leaves_eight() {
    let mut desk = Desk::new(settings());
    let answer = desk.ask("mining.subscribe", json!(["a/1", "an old session"]));
    assert_eq!(answer["result"][1], "00000001");
    assert_eq!(answer["result"][2], 8);
    assert_eq!(answer["result"][0][1][0], "mining.notify");
    assert_eq!(&*desk.session.status().firmware, "a/1");
    // Without parameters too.
    assert!(desk.say("{\"id\":1,\"method\":\"mining.subscribe\"}")[0].contains("\"error\":null"));
}

#[test]
fn work_comes_after_both_subscription_and_login_difficulty_first() {
    for hasty in [false, true] {
        let mut desk = Desk::new(settings());
        let subscribe = json!({"id": 1, "method": "mining.subscribe", "params": []}).to_string();
        let login = json!({"id": 1, "method": "mining.authorize", "params": ["farm.one", "x"]});
        let login = login.to_string();
        let [first, second] = if hasty { [&login, &subscribe] } else { [&subscribe, &login] };
        assert_eq!(desk.say(first).len(), 1);
        let lines = desk.say(second);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[1].contains("mining.set_difficulty"), "{lines:?}");
        assert!(lines[2].contains("mining.notify") && lines[2].ends_with(",true]}"), "{lines:?}");
        // Logging in again changes nothing.
        assert_eq!(desk.say(&login).len(), 1);
    }
}

#[test]
fn a_job_is_told_in_the_order_and_the_words_that_firmware_wants() {
    let mut desk = Desk::new(settings());
    let mut job = sample(1, 0, 1).unwrap();
    let parent: Vec<u8> = (0..32).collect();
    job.work.parent = bitcoin::consensus::deserialize(&parent).unwrap();
    let (prefix, suffix) = (job.work.prefix.clone(), job.work.suffix.clone());
    let job = Arc::new(job);
    desk.post(vec![Arc::clone(&job)]);
    desk.ask("mining.subscribe", json!([]));
    let lines = desk.say("{\"id\":1,\"method\":\"mining.authorize\",\"params\":[\"farm\"]}");
    let told: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    let params = told["params"].as_array().unwrap();
    assert_eq!(params.len(), 9);
    // Each word of four bytes turned around.
    let swapped = "0302010007060504".to_owned()
        + "0b0a09080f0e0d0c"
        + "1312111017161514"
        + "1b1a19181f1e1d1c";
    assert_eq!(params[1], swapped);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(params[2], hex(&prefix));
    assert_eq!(params[3], hex(&suffix));
    let branch: Vec<String> = job.work.branch.iter().map(|node| hex(node.as_ref())).collect();
    assert_eq!(params[4], json!(branch));
    // The template's version is 20002000; what may be rolled is 0.
    assert_eq!(params[5], "20000000");
    assert_eq!(params[6], "1d00ffff");
    assert_eq!(params[7], format!("{TIME:08x}"));
    assert_eq!(params[8], true);
}

#[test]
fn a_name_that_nobody_has_is_refused_in_words_for_the_miners_log() {
    let mut desk = Desk::new(settings());
    desk.ask("mining.subscribe", json!([]));
    for user in ["bob.one", "", "FARM.one"] {
        let answer = desk.ask("mining.authorize", json!([user, "x"]));
        assert_eq!(answer["result"], false);
        assert_eq!(answer["error"][0], 24);
        let words = answer["error"][1].as_str().unwrap();
        assert!(words.contains("PAYEE.WORKER"), "{words}");
    }
    assert!(desk.kept.notes()[0].contains("\"bob\""), "{:?}", desk.kept.notes());
    assert_eq!(desk.kept.notes().len(), 1);
    assert_eq!(desk.next, Ok(()));
    assert_eq!(desk.ask("mining.authorize", json!(["alice.one", "x"]))["result"], true);
    // One connection has one coinbase.
    let answer = desk.ask("mining.authorize", json!(["farm.one", "x"]));
    assert_eq!((&answer["result"], &answer["error"][0]), (&json!(false), &json!(24)));
    assert_eq!(desk.ask("mining.authorize", json!(["alice.two"]))["result"], true);
}

#[test]
fn an_unknown_method_is_refused_and_nobody_is_disconnected() {
    let mut desk = Desk::ready();
    for method in ["mining.ping", "mining.multi_version", "eth_submitLogin", "x"] {
        let answer = desk.ask(method, json!([]));
        assert_eq!(answer["error"][0], 20, "{method}");
        assert_eq!(desk.next, Ok(()));
    }
    assert_eq!(desk.ask("mining.get_transactions", json!(["1"]))["result"], json!([]));
    assert_eq!(desk.ask("mining.extranonce.subscribe", json!([]))["result"], true);
    // An answer to something that we sent, and an empty line, want none.
    assert!(desk.say("{\"id\":null,\"result\":true,\"error\":null}").is_empty());
    assert!(desk.say("").is_empty());
}

#[test]
fn a_submit_before_subscription_or_login_is_refused() {
    let mut desk = Desk::new(settings());
    let submit = json!(["farm.one", "0", "0000000000000000", "65000000", "00000000"]);
    assert_eq!(desk.submit(&submit), 25);
    desk.ask("mining.subscribe", json!([]));
    assert_eq!(desk.submit(&submit), 24);
    desk.ask("mining.authorize", json!(["farm.two", "x"]));
    // Another worker of the same payee, of whom nothing was said; but there is no such job.
    assert_eq!(desk.submit(&submit), 21);
}

#[test]
fn every_worker_of_the_payee_may_submit_and_nobody_else_may() {
    let mut desk = Desk::ready();
    for (user, code) in [
        ("farm.two", 0),
        ("farm", 0),
        ("farm.a b\u{1f600}\u{202e}c", 0),
        ("fa\u{200b}rm.one", 0),
        ("alice.one", 24),
        ("farmer.one", 24),
        ("", 24),
    ] {
        let mut find = desk.find(none(), share());
        find[0] = json!(user);
        assert_eq!(desk.submit(&find), code, "{user:?}");
    }
    assert_eq!(desk.kept.shares(), 4);
    // An unusual name logs in and delivers.
    let mut odd = Desk::new(settings());
    odd.ask("mining.subscribe", json!([]));
    assert_eq!(odd.ask("mining.authorize", json!(["far\u{7}m.\u{200d}x", "x"]))["result"], true);
    let mut find = odd.find(none(), share());
    (find[0], find[5]) = (json!("far\u{7}m.\u{200d}x"), json!(null));
    assert_eq!(odd.submit(&find), 0);
}

#[test]
fn a_share_is_accepted_once_and_kept_for_its_position() {
    let mut desk = Desk::ready();
    let good = desk.find(none(), share());
    assert_eq!(desk.submit(&good), 0);
    assert_eq!(desk.submit(&good), 22);
    assert_eq!(desk.kept.shares(), 1);
    let status = desk.session.status();
    assert_eq!((status.tally.accepted, status.tally.shares, status.tally.blocks), (1, 1, 0));
    assert_eq!(status.tally.rejected(Reject::Duplicate), 1);
    // 16, but for what the difficulty's six digits leave out.
    assert_eq!(status.tally.work, 15);
    assert_eq!(status.last, Some(desk.now.unix));
    assert_eq!(status.best, Some(desk.kept.shares.lock().unwrap()[0].2));
    let low = desk.find(share(), all());
    assert_eq!(desk.submit(&low), 23);
}

#[test]
fn malformed_fields_version_bits_and_unknown_jobs_are_told_apart() {
    let mut desk = Desk::ready();
    let good = desk.find(none(), share());
    for (at, value, code) in [
        (1, "ffffff", 21),
        (1, "", 21),
        (1, "not a job", 21),
        (2, "00", 20),
        (2, "00000000000000000a", 20),
        (3, "6500000", 20),
        (4, "0000000g", 20),
        (5, "20000000", 20),
        (5, "00000001", 20),
        (5, "", 0),
    ] {
        let mut bad = good.clone();
        bad[at] = json!(value);
        assert_eq!(desk.submit(&bad), code, "field {at}: {value:?}");
    }
    for params in [json!([]), json!({}), json!("x"), json!(null), json!([[], 2, 3, 4, 5])] {
        assert_eq!(desk.submit(&params), 20, "{params}");
    }
    assert_eq!(desk.submit(&good), 22);
    assert_eq!(desk.kept.shares(), 1);
}

#[test]
fn a_header_time_must_lie_between_the_parents_median_and_now_and_two_hours() {
    let mut desk = Desk::ready();
    let job = Arc::clone(desk.job.as_ref().unwrap());
    let name = desk.name.clone();
    let late = desk.now.unix + 7_000;
    for (time, code) in [(TIME - SPAN, 0), (TIME - SPAN - 1, 20), (late, 0), (late + 1, 20)] {
        let find = desk.find_on(&job, &name, time, none(), share());
        assert_eq!(desk.submit(&find), code, "{time}");
    }
    assert_eq!(desk.kept.shares(), 2);
}

#[test]
fn a_find_on_the_job_before_is_good_on_the_same_block_and_stale_on_another() {
    let mut desk = Desk::ready();
    let before = desk.find(none(), share());
    let lines = desk.post(vec![job(3, 0, 1)]);
    assert!(lines[0].ends_with(",false]}"), "{lines:?}");
    assert_eq!(desk.submit(&before), 0);
    let late = desk.find(none(), share());
    let lines = desk.post(vec![job(4, 0, 2)]);
    assert!(lines[0].ends_with(",true]}"), "{lines:?}");
    // It pays its position all the same, and is kept once.
    assert_eq!((desk.submit(&late), desk.submit(&late)), (21, 21));
    assert_eq!(desk.kept.shares(), 2);
    assert_eq!(desk.session.status().tally.rejected(Reject::Stale), 2);
    let fresh = desk.find(none(), share());
    assert_eq!(desk.submit(&fresh), 0);
    // A job for somebody else is no news.
    assert!(desk.post(vec![job(5, 1, 3)]).is_empty());
}

#[test]
fn a_block_is_handed_in_before_anything_else_is_asked() {
    let mut desk = Desk::ready();
    // Every hash of this job is a block, and none a share.
    let mut easy = sample(3, 0, 1).unwrap();
    easy.work.bits = bitcoin::CompactTarget::from_consensus(0x207f_ffff);
    easy.claims[0].target = none();
    let easy = Arc::new(easy);
    desk.post(vec![Arc::clone(&easy)]);
    let name = desk.name.clone();
    let block = Target::from_compact(easy.work.bits);
    let mut find = |time| desk.find_on(&easy, &name, time, none(), block);
    // Too early, too late, and good: but for the difficulty.
    let finds = [find(1), find(u32::MAX), find(TIME)];
    desk.post(vec![job(4, 0, 2)]);
    for (i, find) in finds.iter().enumerate() {
        assert_eq!(desk.submit(find), 21);
        assert_eq!(desk.kept.blocks(), i + 1);
    }
    assert_eq!(desk.kept.shares(), 0);
    assert_eq!(desk.session.status().tally.blocks, 3);
}

#[test]
fn a_block_is_handed_in_whatever_is_wrong_with_the_submit() {
    let mut desk = Desk::new(settings());
    desk.ask("mining.subscribe", json!([]));
    desk.ask("mining.authorize", json!(["farm.one", "x"]));
    let mut easy = sample(3, 0, 1).unwrap();
    easy.work.bits = bitcoin::CompactTarget::from_consensus(0x207f_ffff);
    desk.post(vec![Arc::new(easy)]);
    // Half of all hashes are blocks: one of these is.
    let blocks = |desk: &mut Desk, at: usize, value: &str, code: u64| {
        let before = desk.kept.blocks();
        for _ in 0..40 {
            let mut find = desk.find(none(), Target::from_be_bytes([0xff; 32]));
            find[at] = json!(value);
            assert_eq!(desk.submit(&find), code, "{value}");
        }
        desk.kept.blocks() - before
    };
    assert!(blocks(&mut desk, 0, "alice.one", 24) > 0);
    assert!(blocks(&mut desk, 5, "00004000", 20) > 0);
    assert_eq!(desk.kept.shares(), 0);
}

#[test]
fn a_job_is_good_for_a_while_after_it_was_replaced() {
    let mut desk =
        Desk::ready_with(hashmix::gateway::server::Settings { oldest_job: 60_000, ..settings() });
    let mut plain = sample(3, 0, 1).unwrap();
    plain.claims.clear();
    desk.post(vec![Arc::new(plain)]);
    let least = start().target();
    let [one, two, three] = [(), (), ()].map(|()| desk.find(none(), least));
    desk.post(vec![job(4, 0, 1)]);
    desk.pass(60_000);
    assert_eq!(desk.submit(&one), 0);
    desk.pass(1);
    assert_eq!(desk.submit(&two), 21);
    assert_eq!(desk.session.status().tally.rejected(Reject::OldJob), 1);
    desk.pass(120_000);
    assert_eq!(desk.submit(&three), 21);
    assert_eq!(desk.session.status().tally.rejected(Reject::UnknownJob), 1);
}

#[test]
fn no_difficulty_loses_a_share_of_a_position_or_a_block() {
    // The machine asks for more than the position does: it gets what the position does.
    let mut desk = Desk::ready();
    let lines = desk.say("{\"id\":1,\"method\":\"mining.suggest_difficulty\",\"params\":[1000]}");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(desk.session.status().difficulty.unwrap().target() >= share());
    // Another job whose share is harder: now it may be harder too.
    let mut hard = sample(3, 0, 1).unwrap();
    hard.claims[0].target = Difficulty::whole(500).target();
    hard.work.bits = bitcoin::CompactTarget::from_consensus(0x1a00_ffff);
    desk.post(vec![Arc::new(hard.clone())]);
    assert_eq!(desk.session.status().difficulty, Some(Difficulty::whole(500)));
    // Without a position, a block bounds it.
    hard.claims.clear();
    hard.work.bits = bitcoin::CompactTarget::from_consensus(0x1d00_7fff);
    desk.post(vec![Arc::new(hard.clone())]);
    assert_eq!(desk.session.status().difficulty, Some(Difficulty::whole(2)));
    // Blocks of difficulty 1 (testnets' easiest) and below are no reason.
    for bits in [0x1d00_ffff, 0x207f_ffff] {
        hard.work.bits = bitcoin::CompactTarget::from_consensus(bits);
        desk.post(vec![Arc::new(hard.clone())]);
        assert_eq!(desk.session.status().difficulty, Some(Difficulty::whole(1_000)));
    }
}

#[test]
fn a_wish_is_granted_with_a_new_job_and_earlier_jobs_keep_their_difficulty() {
    let mut desk = Desk::ready();
    let mut plain = sample(3, 0, 1).unwrap();
    plain.claims.clear();
    plain.work.bits = bitcoin::CompactTarget::from_consensus(0x0300_0001);
    desk.post(vec![Arc::new(plain)]);
    let least = start().target();
    let harder = Difficulty::read("0.0001").unwrap();
    let easy = desk.find(harder.target(), least);
    let before = desk.name.clone();
    let wish = "{\"id\":1,\"method\":\"mining.suggest_difficulty\",\"params\":[0.0001]}";
    let lines = desk.say(wish);
    assert!(lines[1].contains("\"params\":[0.0001]"), "{lines:?}");
    assert!(lines[2].contains("mining.notify") && lines[2].ends_with(",false]}"), "{lines:?}");
    assert_ne!(desk.name, before);
    // The same work a second later: whoever begins anew finds something else.
    assert!(lines[2].contains(&format!("\"{:08x}\",false", TIME + 1)), "{lines:?}");
    // The same header under the new name is too easy, and under the old one good: once.
    let mut renamed = easy.clone();
    renamed[1] = json!(desk.name);
    assert_eq!(desk.submit(&renamed), 23);
    assert_eq!(desk.submit(&easy), 0);
    assert_eq!(desk.submit(&easy), 22);
    // Wishes are heard now and then.
    let other = wish.replace("0.0001", "0.1");
    assert_eq!(desk.say(&other).len(), 1);
    desk.pass(10_000);
    assert_eq!(desk.say(&other).len(), 3);
    let target = format!("{:064x}", 1);
    desk.pass(10_000);
    let lines = desk.say(&format!(
        "{{\"id\":1,\"method\":\"mining.suggest_target\",\"params\":[\"{target}\"]}}"
    ));
    assert!(lines[1].contains("18446744073709551615"), "{lines:?}");
    for wrong in ["[0]", "[-1]", "[\"x\"]", "[]"] {
        let line =
            format!("{{\"id\":1,\"method\":\"mining.suggest_difficulty\",\"params\":{wrong}}}");
        assert!(desk.say(&line)[0].contains("[20,"), "{wrong}");
    }
}

#[test]
fn a_pause_keeps_finds_lets_machines_go_in_the_end_and_sends_new_ones_away() {
    let mut desk =
        Desk::ready_with(hashmix::gateway::server::Settings { oldest_job: 60_000, ..settings() });
    let find = desk.find(none(), share());
    let paused = Board { paused: Some("the node is down".into()), ..Board::clone(&desk.board) };
    desk.show(paused.clone());
    assert_eq!(desk.next, Ok(()));
    desk.pass(50_000);
    assert_eq!((desk.next, desk.submit(&find)), (Ok(()), 0));
    let lines = desk.pass(50_000);
    assert_eq!(desk.next, Err(Ended::NoWork));
    assert!(lines[0].contains("the node is down"), "{lines:?}");

    let mut late = Desk::new(settings());
    late.show(paused);
    late.ask("mining.subscribe", json!([]));
    let answer = late.ask("mining.authorize", json!(["farm.one", "x"]));
    assert_eq!(answer["result"], false);
    assert!(answer["error"][1].as_str().unwrap().contains("the node is down"));
    assert_eq!(late.next, Err(Ended::NoWork));

    // A machine that works and logs in again is not sent away.
    let mut again = Desk::ready();
    again.show(Board { paused: Some("the node is down".into()), ..Board::clone(&again.board) });
    assert_eq!(again.ask("mining.authorize", json!(["farm.one", "x"]))["result"], true);
    assert_eq!(again.next, Ok(()));
}

#[test]
fn a_machine_that_never_had_a_job_is_let_go_after_a_minute() {
    let mut desk = Desk::new(settings());
    desk.show(Board::new(2));
    desk.ask("mining.subscribe", json!([]));
    assert_eq!(desk.ask("mining.authorize", json!(["farm.one", "x"]))["result"], true);
    assert!(desk.pass(60_000).is_empty());
    assert_eq!(desk.next, Ok(()));
    let lines = desk.pass(1);
    assert_eq!(desk.next, Err(Ended::NoWork));
    assert!(lines[0].contains("there is no job yet"), "{lines:?}");
}

#[test]
fn a_payee_without_a_job_is_in_a_pause_and_the_others_are_not() {
    let settings = hashmix::gateway::server::Settings { oldest_job: 60_000, ..settings() };
    let mut desk = Desk::ready_with(settings.clone());
    let finds = [(); 3].map(|()| desk.find(none(), share()));
    // The others go on, on the same block, and then on the next one.
    let mut board = Board::clone(&desk.board);
    board.clear(0, "farm's coinbase pays nobody".into());
    board.post(vec![job(3, 1, 1)], desk.now.ms);
    assert!(desk.show(board.clone()).is_empty());
    assert_eq!(desk.submit(&finds[0]), 0);
    board.post(vec![job(4, 1, 2)], desk.now.ms);
    desk.show(board.clone());
    assert_eq!(desk.submit(&finds[1]), 21);
    assert_eq!(desk.kept.shares(), 2);
    let lines = desk.pass(60_001);
    assert_eq!(desk.next, Err(Ended::NoWork));
    assert!(lines[0].contains("farm's coinbase pays nobody"), "{lines:?}");

    for (user, welcome) in [("farm.two", false), ("alice.two", true)] {
        let mut late = Desk::new(settings.clone());
        late.show(board.clone());
        late.ask("mining.subscribe", json!([]));
        let answer = late.ask("mining.authorize", json!([user, "x"]));
        assert_eq!(answer["result"], welcome, "{answer}");
        assert_eq!(late.next.is_ok(), welcome);
        assert_eq!(late.job.is_some(), welcome);
    }
    // A job ends it.
    board.post(vec![job(5, 0, 2)], desk.now.ms);
    assert!(board.why(0).is_none());
    board.clear(7, "nobody".into());
    assert!(board.cleared.is_empty());
}

#[test]
fn firmware_that_cuts_the_coinbase_off_is_told_from_one_that_ignores_its_difficulty() {
    let mut hard = sample(3, 0, 1).unwrap();
    hard.claims.clear();
    let pace = hashmix::gateway::vardiff::Pace {
        start: Difficulty::ONE,
        ..hashmix::gateway::vardiff::Pace::default()
    };
    let settings = hashmix::gateway::server::Settings { pace, ..settings() };
    let one_in_65536 = Target::from_be_bytes({
        let mut bytes = [0xff; 32];
        bytes[..2].fill(0);
        bytes
    });
    for (at_most, warning) in [
        (all(), "coinbase too long for this firmware (it hashes another coinbase)"),
        (one_in_65536, "ignores the difficulty"),
    ] {
        let mut desk = Desk::ready_with(settings.clone());
        desk.post(vec![Arc::new(hard.clone())]);
        for i in 0..20 {
            assert_eq!(desk.session.status().warning.is_some(), i >= 16);
            // Hashes of nothing in particular, or such as take work.
            let above = if at_most == all() { one_in_65536 } else { none() };
            let low = desk.find(above, at_most);
            assert_eq!(desk.submit(&low), 23);
        }
        assert_eq!(desk.kept.notes().len(), 1);
        assert!(desk.kept.notes()[0].contains(warning), "{:?}", desk.kept.notes());
        assert_eq!(desk.next, Ok(()));
    }
}
