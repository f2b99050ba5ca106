//! Everything that a server and the way to it can do, done to two people who have something to do:
//! each question ends in one line, nothing is lost, and they go on where they were.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::constants::genesis_block;
use hashmix::chain::electrum::Electrum;
use hashmix::chain::embedded::EmbeddedNode;
use hashmix::flow::escrow::coins::funding;
use hashmix::party::Seat;
use hashmix::rehearsal::people::network_script;
use hashmix::rehearsal::world::World;
use serde_json::json;

use super::broken_at_every_line::CALM;
use super::play::{BRISK, NONE, Play, SHORT, check, rules};
use super::proxy::{Answer, Lie, Proxy, Trouble, script_hash};
use crate::world::refusals;

/// A byte now and then: no answer is whole in the time of [`SHORT`].
const SLOWLY: Duration = Duration::from_millis(20);
/// A byte at a time, and each answer is whole long before patience ends.
const STEADILY: Duration = Duration::from_micros(100);

/// A server that has this world's blocks up to `height`, and `more` of its own above.
fn other(node: &dyn World, height: u32, more: u32) -> EmbeddedNode {
    let other = EmbeddedNode::start().unwrap();
    for height in 1..=height {
        other.submit(&node.block(height).unwrap()).unwrap();
    }
    let script = network_script().unwrap();
    let payouts = |value| vec![bitcoin::TxOut { value, script_pubkey: script.clone() }];
    other.mine(more, &payouts).unwrap();
    other
}

/// The server of another network, at `height` there: as far as anybody gets with it.
fn of_another_network(height: u32) -> Arc<Answer> {
    let header = serialize_hex(&genesis_block(Network::Bitcoin).header);
    Arc::new(move |method, params| match method {
        "server.version" => json!(["other", "1.4"]),
        "blockchain.headers.subscribe" => json!({ "height": height, "hex": header }),
        "blockchain.block.header" => json!(header),
        "blockchain.block.headers" => {
            let first = params[0].as_u64().unwrap();
            let count = params[1].as_u64().unwrap().min(u64::from(height) + 1 - first);
            json!({ "count": count, "hex": header.repeat(count as usize), "max": 2_016 })
        }
        _ => json!([]),
    })
}

/// A result of a form that the protocol does not have.
fn misshapen() -> Arc<Lie> {
    Arc::new(|method, _, truth| match method {
        "server.version" => truth,
        _ => json!({ "status": ["\u{1b}[31m", 7, null], "line": "one\ntwo" }),
    })
}

/// Another height for whatever has one.
fn of_other_heights() -> Arc<Lie> {
    Arc::new(|method, _, mut truth| {
        if method == "blockchain.scripthash.get_history" {
            for item in truth.as_array_mut().unwrap() {
                item["height"] = json!(1_000_000);
            }
        }
        truth
    })
}

#[test]
fn each_trouble_ends_in_one_line_and_nothing_is_lost() {
    let mut play = Play::through_proxies(&[Seat::Miner, Seat::Holder], BRISK);
    play.until_a_state_is_due();
    let node = play.table.node.as_ref();
    let tip = node.height().unwrap();
    let server = node.electrum_url();
    let none = other(node, 0, 5);
    let lags = other(node, tip - 3, 0);
    let lost = other(node, tip - 4, 3);
    let even = other(node, tip - 1, 1);
    let here: [(&str, Trouble, [&str; 2]); 14] = [
        ("nobody listens", Trouble::Refuses, ["chain-server"; 2]),
        ("hangs up", Trouble::HangsUp, ["chain-server"; 2]),
        ("is silent", Trouble::Silent, ["chain-server"; 2]),
        ("drips", Trouble::Drips(SLOWLY), ["chain-server"; 2]),
        ("no JSON", Trouble::Says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), ["chain-server"; 2]),
        ("no object", Trouble::Says(b"[1, 2]\n"), ["chain-server"; 2]),
        ("another object", Trouble::Says(b"{\"hello\": \"world\"}\n"), ["chain-server"; 2]),
        ("control characters", Trouble::Says(b"\x1b[2J\x07\x00{\n"), ["chain-server"; 2]),
        ("an endless line", Trouble::Endless, ["chain-server"; 2]),
        ("cuts each connection", Trouble::Cuts(2), ["chain-server"; 2]),
        ("tears each answer", Trouble::Tears(1), ["chain-server"; 2]),
        ("misshapen answers", Trouble::Lies(misshapen()), ["chain-answer"; 2]),
        ("heights that are not", Trouble::Lies(of_other_heights()), ["headers-known"; 2]),
        ("another network", Trouble::Answers(of_another_network(tip)), ["headers-linked"; 2]),
    ];
    let elsewhere = [
        ("another chain", &none, ["guard-latest", "guard-latest"]),
        ("without the last blocks", &lags, ["guard-latest"; 2]),
        ("a branch with less work", &lost, ["guard-latest"; 2]),
        ("a branch with as much work", &even, ["guard-latest"; 2]),
    ];
    for seat in [Seat::Miner, Seat::Holder] {
        // Who has seen the last block does not believe a chain without it.
        play.table.engine(seat).facts().unwrap();
        for (what, trouble, expected) in &here {
            // Waiting is what makes this slow: once is enough. And the holder's wallet has no
            // history yet that could be told wrongly.
            let waits = matches!(trouble, Trouble::Drips(_) | Trouble::Silent | Trouble::Endless)
                || *what == "another object";
            if seat == Seat::Holder && (waits || *what == "heights that are not") {
                continue;
            }
            let url = play.proxy(seat).url();
            if waits {
                play.send(seat, &url, SHORT);
            }
            play.proxy(seat).set(trouble.clone());
            assert_eq!(rules(&mut play, seat, &url), *expected, "{seat}: {what}");
            play.proxy(seat).set(Trouble::None);
            if waits {
                play.send(seat, &url, BRISK);
                play.table.engine(seat).facts().unwrap();
            }
        }
        for (what, node, expected) in &elsewhere {
            let url = play.proxy(seat).url();
            play.proxy(seat).lead_to(&node.electrum_url());
            assert_eq!(rules(&mut play, seat, &url), *expected, "{seat}: {what}");
            play.proxy(seat).lead_to(&server);
        }
    }
    play.until_a_state_is_published();
    assert_eq!(play.until_the_end(), *CALM);
}

#[test]
fn a_server_that_is_slow_is_not_down() {
    let mut play = Play::through_proxies(&[Seat::Miner], NONE);
    play.until_a_state_is_due();
    play.proxy(Seat::Miner).set(Trouble::Drips(STEADILY));
    play.proxy(Seat::Miner).connections();
    let reports = play.table.engine(Seat::Miner).step().unwrap();
    assert!(refusals(&reports).is_empty(), "{reports:?}");
    play.table.engine(Seat::Miner).balance().unwrap();
    assert_eq!(play.proxy(Seat::Miner).connections(), 0, "nothing is asked twice");
    // Whoever comes now is served as well.
    play.table.restart(Seat::Miner);
    play.table.engine(Seat::Miner).facts().unwrap();
    play.everybody();
    assert_eq!(play.proxy(Seat::Miner).connections(), 1);
}

#[test]
fn a_server_that_holds_back_a_history_makes_nobody_do_anything() {
    let mut play = Play::through_proxies(&[Seat::Miner, Seat::Holder], BRISK);
    play.until_a_state_is_due();
    let escrow = funding(&play.table.terms).unwrap().script_pubkey;
    let hash = script_hash(&escrow);
    let hidden: Arc<Lie> = Arc::new(move |method, params, truth| match method {
        "blockchain.scripthash.get_history" if params[0] == *hash => json!([]),
        _ => truth,
    });
    for seat in [Seat::Miner, Seat::Holder] {
        let before = play.events(seat);
        play.proxy(seat).set(Trouble::Lies(Arc::clone(&hidden)));
        let error = play.table.engine(seat).step().unwrap_err();
        check(&error, &play.proxy(seat).url());
        assert_eq!(error.rule(), "chain-omitted", "{seat} has seen the escrow in its block");
        play.table.engine(seat).balance().unwrap();
        assert_eq!(play.events(seat), before, "{seat} says nothing without an escrow");
        assert!(play.table.node.mempool().unwrap().is_empty());
        play.proxy(seat).set(Trouble::None);
    }
    play.until_a_state_is_published();
    assert_eq!(play.until_the_end(), *CALM);
}

#[test]
fn a_server_of_another_network_is_refused_by_name_before_anything_is_asked_of_it() {
    let node = EmbeddedNode::start().unwrap();
    let proxy = Proxy::to(&node.electrum_url());
    proxy.set(Trouble::Answers(of_another_network(800_000)));
    let error = Electrum::connect_with(&proxy.url(), Network::Regtest, BRISK).unwrap_err();
    check(&error, &proxy.url());
    assert_eq!((error.rule(), error.exit_code()), ("chain-network", 5));
    assert!(error.to_string().contains("expected regtest"), "{error}");
    assert!(error.to_string().contains("found bitcoin"), "{error}");
    proxy.set(Trouble::None);
    Electrum::connect_with(&proxy.url(), Network::Regtest, BRISK).unwrap();
}
