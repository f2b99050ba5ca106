//! Single things that get lost on the way: an answer, a connection, a whole history.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use bitcoin::{Network, ScriptBuf, TxOut, Txid};
use hashmix::chain::electrum::{Electrum, Patience};
use hashmix::engine::Report;
use hashmix::party::Seat;
use hashmix::rehearsal::people::network_script;
use hashmix::rehearsal::reorg;
use hashmix::rehearsal::world::chosen;
use serde_json::{Value, json};

use super::play::{BRISK, NONE, Play, check};
use super::proxy::{At, BROADCAST, Proxy, Snap, Trouble, script_hash};
use crate::world::{FULL, RATE};

/// What reports say was sent.
fn sent(reports: &[Report]) -> Vec<(&'static str, Txid)> {
    let sent = reports.iter().filter_map(|report| match report {
        Report::Sent(sent) => Some((sent.title, sent.tx.compute_txid())),
        _ => None,
    });
    sent.collect()
}

#[test]
fn a_payment_is_committed_before_it_is_sent_and_told_once_when_the_network_has_it() {
    for snap in [Snap::Before, Snap::Within, Snap::After] {
        let mut play = Play::through_proxies(&[Seat::Miner], NONE);
        play.deliver(0, FULL);
        play.everybody();
        let before = play.events(Seat::Miner).len();
        play.proxy(Seat::Miner).lay_trap(At::Method(BROADCAST), snap);
        let error = play.table.engine(Seat::Miner).prove_slice(0, RATE).unwrap_err();
        assert!(play.proxy(Seat::Miner).lift_trap());
        check(&error, &play.proxy(Seat::Miner).url());
        assert_eq!(error.rule(), "chain-server");
        assert_eq!(play.events(Seat::Miner).len(), before + 1, "it is committed");
        play.table.node.settle().unwrap();
        let arrived = play.table.node.mempool().unwrap().len();
        assert_eq!(arrived, usize::from(snap != Snap::Before), "{snap:?}");
        // Another answer is lost, if it is sent again at all.
        play.proxy(Seat::Miner).lay_trap(At::Method(BROADCAST), Snap::After);
        let mut reports = play.table.engine(Seat::Miner).step().unwrap();
        assert_eq!(play.proxy(Seat::Miner).lift_trap(), snap == Snap::Before);
        for _ in 0..2 {
            play.table.node.settle().unwrap();
            reports.extend(play.table.engine(Seat::Miner).step().unwrap());
        }
        let [txid] = play.table.node.mempool().unwrap()[..] else { panic!("one payment") };
        assert_eq!(sent(&reports), [("proof", txid)], "{snap:?}: told once");
        assert_eq!(play.events(Seat::Miner).len(), before + 1, "paid once");
    }
}

#[test]
fn a_settlement_whose_answer_is_lost_is_told_by_the_next_step() {
    let mut play = Play::through_proxies(&[Seat::Miner], NONE);
    play.until_a_state_is_due();
    play.everybody();
    play.proxy(Seat::Miner).lay_trap(At::Method(BROADCAST), Snap::After);
    let reports = play.table.engine(Seat::Miner).publish_state().unwrap();
    assert!(play.proxy(Seat::Miner).lift_trap());
    assert!(sent(&reports).is_empty(), "{reports:?}");
    let refused = reports.iter().find_map(|report| match report {
        Report::Refused(what, error) => Some((what.as_str(), error)),
        _ => None,
    });
    let (what, error) = refused.unwrap();
    check(error, &play.proxy(Seat::Miner).url());
    assert_eq!((what, error.rule()), ("settlement", "chain-server"));
    play.table.node.settle().unwrap();
    let [txid] = play.table.node.mempool().unwrap()[..] else { panic!("one settlement") };
    let reports = play.table.engine(Seat::Miner).step().unwrap();
    assert_eq!(sent(&reports), [("settlement", txid)]);
    assert!(sent(&play.table.engine(Seat::Miner).step().unwrap()).is_empty(), "told once");
    assert_eq!(play.table.node.mempool().unwrap(), [txid]);
}

#[test]
fn who_has_patience_sends_again_and_hears_that_the_network_has_it() {
    let mut play = Play::through_proxies(&[Seat::Miner], BRISK);
    play.deliver(0, FULL);
    play.everybody();
    play.proxy(Seat::Miner).lay_trap(At::Method(BROADCAST), Snap::After);
    let report = play.table.engine(Seat::Miner).prove_slice(0, RATE).unwrap();
    assert!(play.proxy(Seat::Miner).lift_trap());
    play.table.node.settle().unwrap();
    let [(_, txid)] = sent(&[report])[..] else { panic!("it is told") };
    assert_eq!(play.table.node.mempool().unwrap(), [txid]);
    assert!(sent(&play.table.engine(Seat::Miner).step().unwrap()).is_empty(), "told once");
}

#[test]
fn a_server_that_hangs_up_is_asked_as_often_as_patience_says() {
    let node = chosen().unwrap();
    for attempts in [1, 2, 5] {
        let patience = Patience { attempts, ..BRISK };
        let proxy = Proxy::to(&node.electrum_url());
        let chain = Electrum::connect_with(&proxy.url(), Network::Regtest, patience).unwrap();
        assert_eq!(proxy.connections(), 1);
        chain.tip().unwrap();
        assert_eq!(proxy.connections(), 0, "a connection that works is kept");
        proxy.set(Trouble::HangsUp);
        // The first attempt is made over the connection that was there.
        for connections in [attempts - 1, attempts, attempts] {
            let error = chain.tip().unwrap_err();
            check(&error, &proxy.url());
            assert_eq!((error.rule(), error.exit_code()), ("chain-server", 5));
            let end = format!("({attempts} attempts)");
            assert!(error.fault().found.ends_with(&end), "{error}");
            assert_eq!(proxy.connections(), connections);
        }
        proxy.set(Trouble::None);
        chain.tip().unwrap();
        assert_eq!(proxy.connections(), 1);
    }
}

/// A connection that nobody of ours reads for us.
struct Raw(BufReader<TcpStream>);

impl Raw {
    fn ask(&mut self, method: &str, params: &Value) -> Value {
        let question = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        self.0.get_mut().write_all(format!("{question}\n").as_bytes()).unwrap();
        loop {
            let answer = self.next();
            if answer["id"] == json!(7) {
                return answer["result"].clone();
            }
        }
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).unwrap() > 0, "the server hung up");
        serde_json::from_str(&line).unwrap()
    }

    /// The next status of a script that comes unasked.
    fn status(&mut self, hash: &str) -> Value {
        loop {
            let notice = self.next();
            if notice["method"] == "blockchain.scripthash.subscribe" && notice["params"][0] == *hash
            {
                return notice["params"][1].clone();
            }
        }
    }
}

#[test]
fn a_script_that_a_reorg_leaves_without_history_has_status_null_and_we_read_on() {
    let node = chosen().unwrap();
    let url = node.electrum_url();
    let pays =
        |script: ScriptBuf| move |value| vec![TxOut { value, script_pubkey: script.clone() }];
    let (ours, others) = (ScriptBuf::new().to_p2wsh(), network_script().unwrap());
    node.mine(3, &pays(others.clone())).unwrap();
    let chain = Electrum::connect_with(&url, Network::Regtest, BRISK).unwrap();
    let stream = TcpStream::connect(url.strip_prefix("tcp://").unwrap()).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let mut raw = Raw(BufReader::new(stream));
    raw.ask("server.version", &json!(["", "1.4"]));
    let hash = script_hash(&ours);
    let subscribe = "blockchain.scripthash.subscribe";
    assert_eq!(raw.ask(subscribe, &json!([hash])), Value::Null);
    assert!(chain.history(&ours).unwrap().is_empty());

    node.mine(1, &pays(ours.clone())).unwrap();
    assert!(raw.status(&hash).is_string());
    let [(_, Some(4))] = chain.history(&ours).unwrap()[..] else { panic!("one coinbase") };
    assert_eq!(chain.facts(std::slice::from_ref(&ours), 1).unwrap().coins(&ours).len(), 1);

    reorg::replace(node.as_ref(), 1, &pays(others)).unwrap();
    assert_eq!(raw.status(&hash), Value::Null, "told unasked");
    assert_eq!(raw.ask(subscribe, &json!([hash])), Value::Null, "told when asked");
    assert!(chain.history(&ours).unwrap().is_empty());
    let facts = chain.facts(std::slice::from_ref(&ours), 1).unwrap();
    assert_eq!((facts.tip(), facts.coins(&ours).len()), (5, 0));
}
