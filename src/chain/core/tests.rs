//! A node that answers as scripted: what Core does on a bad day, and what it never does.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use bitcoin::Amount;
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::hashes::Hash;

use super::*;
use crate::work::samples;

/// What happens to one question.
#[derive(Clone)]
enum Turn {
    /// A result, in the answer to the question that was asked.
    Result(Value),
    /// A refusal with code and message.
    Refusal(i32, &'static str),
    /// A status without anything to read.
    Status(u16),
    /// These bytes, whatever was asked; then the connection closes.
    Raw(Vec<u8>),
}

/// Answers one question after the other, each as its turn says, and hands out what was asked.
fn scripted(turns: Vec<Turn>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (send, asked) = channel();
    thread::spawn(move || {
        for turn in turns {
            let (mut stream, _) = listener.accept().unwrap();
            let question = question(&mut stream);
            let body = question.split_once("\r\n\r\n").unwrap().1.to_owned();
            let id = serde_json::from_str::<Value>(&body).unwrap()["id"].clone();
            let _ = send.send(question);
            let answer = |body: Value| {
                let body = body.to_string();
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                    .into_bytes()
            };
            let bytes = match turn {
                Turn::Result(result) => {
                    answer(json!({ "jsonrpc": "2.0", "result": result, "id": id }))
                }
                Turn::Refusal(code, message) => {
                    let error = json!({ "code": code, "message": message });
                    answer(json!({ "result": null, "error": error, "id": id }))
                }
                Turn::Status(status) => {
                    format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n").into_bytes()
                }
                Turn::Raw(bytes) => bytes,
            };
            // Whoever has heard enough may be gone.
            let _ = stream.write_all(&bytes);
        }
        // Whoever hears no more questions finds nobody there.
        drop(listener);
        drop(send);
    });
    (url, asked)
}

fn question(stream: &mut TcpStream) -> String {
    let mut held = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).unwrap();
        held.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&held).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split_once("Content-Length: ").unwrap().1;
            if body.len() >= length.lines().next().unwrap().parse().unwrap() || count == 0 {
                return text;
            }
        }
    }
}

fn patience() -> Patience {
    Patience { timeout: Duration::from_secs(20), attempts: 3, pause: Duration::from_millis(1) }
}

fn password() -> Auth {
    Auth::Password { user: "miner".into(), password: "sesame".into() }
}

fn info() -> Turn {
    Turn::Result(json!({ "chain": "regtest", "blocks": 7, "bestblockhash": "00".repeat(32) }))
}

/// The outcome of asking a connected node for its tip, `turns` being what it makes of that.
fn tip_after(turns: Vec<Turn>) -> Result<(u32, BlockHash)> {
    let (url, _asked) = scripted([vec![info()], turns].concat());
    let core = Core::connect_with(&url, password(), Network::Regtest, patience()).unwrap();
    core.tip()
}

#[test]
fn a_node_that_warms_up_or_is_busy_is_asked_again() {
    let warming = Turn::Refusal(-28, "Loading block index…");
    let tip = tip_after(vec![warming.clone(), Turn::Status(503), info()]).unwrap();
    assert_eq!(tip.0, 7);
    let error = tip_after(vec![warming.clone(), warming.clone(), warming]).unwrap_err();
    assert_eq!(error.rule(), "core-node");
    assert!(error.fault().found.contains("warming up: Loading block index"), "{error}");
}

#[test]
fn a_connection_that_ends_anywhere_is_tried_again() {
    let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"id\":";
    for cut in [0, 9, 20, 37, whole.len()] {
        let broken = Turn::Raw(whole[..cut].to_vec());
        assert_eq!(tip_after(vec![broken.clone(), info()]).unwrap().0, 7, "cut at {cut}");
        let error = tip_after(vec![broken.clone(), broken.clone(), broken]).unwrap_err();
        assert_eq!(error.rule(), "core-node", "cut at {cut}");
        assert_eq!(error.exit_code(), 5);
    }
}

#[test]
fn whoever_is_not_a_node_is_named_so_at_once() {
    let answers: [Vec<u8>; 8] = [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\n\r\n{\"result\":1,\"error\":null,\"id\":999}".to_vec(),
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        vec![b'x'; 32 << 10],
    ];
    for bytes in answers {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let error = tip_after(vec![Turn::Raw(bytes)]).unwrap_err();
        assert_eq!(error.rule(), "core-answer", "{shown:?}: {error}");
        assert_eq!(error.to_string().lines().count(), 1);
    }
    let error = tip_after(vec![Turn::Result(json!({ "blocks": "seven" }))]).unwrap_err();
    assert_eq!(error.rule(), "core-answer");
}

#[test]
fn an_address_that_cannot_be_read_is_refused_without_repeating_a_password() {
    for url in ["127.0.0.1:8332", "https://node:8332", "http://node", "http://:1", "http://a b:1"] {
        let error = Core::connect(url, password(), Network::Regtest).unwrap_err();
        assert_eq!((error.rule(), error.exit_code()), ("core-url", 2), "{url}");
    }
    let error = Core::connect("http://me:sesame@node:1", password(), Network::Regtest).unwrap_err();
    assert_eq!(error.rule(), "core-url");
    assert!(!error.to_string().contains("sesame"), "{error}");
}

#[test]
fn a_password_is_shown_to_the_node_alone() {
    let (url, asked) = scripted(vec![info(), Turn::Status(401)]);
    let core = Core::connect_with(&url, password(), Network::Regtest, patience()).unwrap();
    // RFC 7617: base64 of "miner:sesame".
    assert!(asked.recv().unwrap().contains("Authorization: Basic bWluZXI6c2VzYW1l\r\n"));
    assert!(!format!("{core:?}").contains("sesame"));
    let error = core.tip().unwrap_err();
    assert_eq!(error.rule(), "core-auth");
    assert!(!error.to_string().contains("sesame"), "{error}");
}

#[test]
fn a_cookie_is_read_again_for_each_question() {
    let folder = tempfile::tempdir().unwrap();
    let cookie = folder.path().join(".cookie");
    std::fs::write(&cookie, "__cookie__:first\n").unwrap();
    let (url, asked) = scripted(vec![info(), Turn::Status(401), info()]);
    let auth = Auth::Cookie(cookie.clone());
    let core = Core::connect_with(&url, auth, Network::Regtest, patience()).unwrap();
    let shown = |question: String| {
        question.split_once("Basic ").unwrap().1.lines().next().unwrap().to_owned()
    };
    let first = shown(asked.recv().unwrap());
    std::fs::write(&cookie, "__cookie__:second").unwrap();
    // The first answer still comes from a node that does not know the new one.
    core.tip().unwrap();
    assert_ne!(shown(asked.recv().unwrap()), first);
    std::fs::remove_file(&cookie).unwrap();
    let (url, _asked) = scripted(vec![info(); 3]);
    let missing = Core::connect_with(&url, Auth::Cookie(cookie), Network::Regtest, patience());
    assert_eq!(missing.unwrap_err().rule(), "core-auth");
}

#[test]
fn a_block_is_kept_or_refused_in_the_nodes_words() {
    let kept = [Value::Null, json!("duplicate"), json!("inconclusive")];
    let refused = [json!("bad-cb-amount"), json!("duplicate-invalid"), json!("rejected")];
    let turns = kept.iter().chain(&refused).cloned().map(Turn::Result);
    let turns =
        [info()].into_iter().chain(turns).chain([Turn::Refusal(-22, "Block decode failed")]);
    let (url, _asked) = scripted(turns.collect());
    let core = Core::connect_with(&url, password(), Network::Regtest, patience()).unwrap();
    let block = bitcoin::constants::genesis_block(Network::Regtest);
    for _ in kept {
        assert_eq!(core.submit(&block).unwrap(), block.block_hash());
    }
    for reason in refused {
        let error = core.submit(&block).unwrap_err();
        assert_eq!(error.rule(), "core-block");
        assert_eq!(Some(error.fault().found.as_str()), reason.as_str());
    }
    assert_eq!(core.submit(&block).unwrap_err().rule(), "core-block");
}

#[test]
fn a_transaction_with_a_block_is_well_and_any_other_refusal_is_one() {
    let turns = [info(), Turn::Refusal(-27, "outputs already in utxo set")];
    let turns = turns.into_iter().chain([Turn::Refusal(-26, "min relay fee not met")]);
    let (url, _asked) = scripted(turns.collect());
    let core = Core::connect_with(&url, password(), Network::Regtest, patience()).unwrap();
    let tx = samples::any_job().coinbase;
    assert_eq!(core.broadcast(&tx).unwrap(), tx.compute_txid());
    let error = core.broadcast(&tx).unwrap_err();
    assert_eq!(error.rule(), "core-broadcast");
    assert!(error.fault().found.contains("min relay fee not met (code -26)"), "{error}");
}

/// A template with one transaction, and its parent, as Core sends them.
fn offer() -> (Value, Value) {
    let tx = samples::any_job().coinbase;
    let parent = BlockHash::hash(b"parent");
    let commits = BlockTemplate {
        version: bitcoin::block::Version::TWO,
        parent,
        height: 8,
        time: 1,
        bits: bitcoin::CompactTarget::from_consensus(0x207f_ffff),
        reward: Amount::ONE_BTC,
        transactions: vec![tx.clone()],
    };
    let offer = json!({
        "version": 0x2000_0000,
        "rules": ["csv", "!segwit", "taproot"],
        "previousblockhash": parent,
        "transactions": [{
            "data": serialize_hex(&tx), "txid": tx.compute_txid(), "hash": tx.compute_wtxid(),
            "fee": 123,
        }],
        "longpollid": "the first",
        "coinbasevalue": 5_000_000_123u64,
        "target": format!("7fffff{}", "00".repeat(29)),
        "mintime": 1_700_000_001,
        "curtime": 1_700_000_600,
        "bits": "207fffff",
        "height": 8,
        "default_witness_commitment": commits.witness_commitment().script_pubkey,
    });
    (offer, json!({ "hash": parent, "height": 7, "mediantime": 1_700_000_000 }))
}

/// A node's template with `field` (a path, such as `/height`) of it changed.
fn template_with(field: &str, value: Value) -> Result<BlockTemplate> {
    let (mut template, parent) = offer();
    *template.pointer_mut(field).unwrap() = value;
    let (url, asked) = scripted(vec![info(), Turn::Result(template), Turn::Result(parent)]);
    let core = Core::connect_with(&url, password(), Network::Regtest, patience()).unwrap();
    let answer = core.template();
    assert!(asked.iter().nth(1).unwrap().contains(r#""rules":["segwit"]"#));
    answer
}

#[test]
fn a_template_that_hangs_together_is_taken_as_it_is() {
    let template = template_with("/height", json!(8)).unwrap();
    assert_eq!((template.height, template.time), (8, 1_700_000_600));
    assert_eq!(template.reward, Amount::from_sat(5_000_000_123));
    assert_eq!(template.transactions, [samples::any_job().coinbase]);
}

#[test]
fn an_offer_names_itself_for_the_next_question_and_says_how_early_a_block_may_be() {
    let (template, parent) = offer();
    let answers = || [Turn::Result(template.clone()), Turn::Result(parent.clone())];
    let turns = [vec![info()], answers().into(), answers().into()].concat();
    let (url, asked) = scripted(turns);
    let core = Core::connect_with(&url, password(), Network::Regtest, patience()).unwrap();
    let first = core.offer(None).unwrap();
    assert_eq!((first.earliest, first.name.as_deref()), (1_700_000_001, Some("the first")));
    core.offer(first.name.as_deref()).unwrap();
    let asked: Vec<String> = asked.iter().collect();
    assert!(!asked[1].contains("longpollid"), "{}", asked[1]);
    assert!(asked[3].contains(r#""longpollid":"the first""#), "{}", asked[3]);
}

#[test]
fn a_reward_above_what_is_counted_leaves_out_transactions_from_the_end() {
    let (template, parent) = offer();
    let turns = vec![info(), Turn::Result(template), Turn::Result(parent)];
    let (url, _) = scripted(turns);
    let core = Core::connect_with(&url, password(), Network::Regtest, patience()).unwrap();
    let offer = core.offer(None).unwrap();
    assert_eq!(offer.fees, [Amount::from_sat(123)]);
    assert_eq!(offer.at_most(Amount::MAX), offer.template);
    assert_eq!(offer.at_most(Amount::from_sat(5_000_000_123)), offer.template);
    let less = offer.at_most(Amount::from_sat(5_000_000_122));
    assert_eq!((less.reward, less.transactions.len()), (Amount::from_sat(5_000_000_000), 0));
    // A subsidy cannot be made smaller.
    assert_eq!(offer.at_most(Amount::ZERO), less);
}

#[test]
fn each_fault_of_a_template_is_refused_and_named() {
    let faults = [
        ("/height", json!(9), "height"),
        ("/rules/1", json!("!signet"), "rules"),
        ("/curtime", json!(1_700_000_000), "time"),
        ("/bits", json!("1d00ffff"), "target"),
        ("/bits", json!("nonsense"), "bits"),
        ("/coinbasevalue", json!(2_100_000_000_000_001u64), "coinbase"),
        ("/previousblockhash", json!("11".repeat(32)), "parent"),
        ("/transactions/0/txid", json!("22".repeat(32)), "transaction 0"),
        ("/transactions/0/hash", json!("22".repeat(32)), "transaction 0"),
        ("/transactions/0/data", json!("00"), "transaction 0"),
        ("/transactions", json!([]), "witness commitment"),
        ("/default_witness_commitment", json!("6a00"), "witness commitment"),
    ];
    for (field, value, named) in faults {
        let error = template_with(field, value.clone()).unwrap_err();
        assert_eq!(error.rule(), "core-template", "{field} {value}: {error}");
        assert!(error.fault().place.contains(named), "{field} {value}: {error}");
    }
}

/// Somebody who sends back whatever he gets.
fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let question = question(&mut stream);
            let _ = stream.write_all(question.as_bytes());
        }
    });
    url
}

#[test]
fn what_we_showed_is_not_repeated_to_the_reader_by_who_echoes_it() {
    let folder = tempfile::tempdir().unwrap();
    let cookie = folder.path().join(".cookie");
    std::fs::write(&cookie, "__cookie__:first\n").unwrap();
    // A body that is one text of JSON: its error would repeat the text.
    let body = "\"Basic bWluZXI6c2VzYW1l X19jb29raWVfXzpmaXJzdA==\"";
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let quotes = || scripted(vec![Turn::Raw(format!("{head}{body}").into_bytes())]).0;
    // Each with something wrong that a head can have, and our own head after it.
    let heads = ["Content-Length: x", "Transfer-Encoding: chunked"].map(|wrong| {
        let rest = "Authorization: Basic bWluZXI6c2VzYW1l";
        let head = format!("HTTP/1.1 200 OK\r\n{wrong}\r\n{rest}\r\n\r\n");
        scripted(vec![Turn::Raw(head.into_bytes())]).0
    });
    let [first, second] = heads;
    for (url, auth) in [
        (echo(), password()),
        (echo(), Auth::Cookie(cookie.clone())),
        (quotes(), password()),
        (quotes(), Auth::Cookie(cookie)),
        (first, password()),
        (second, password()),
    ] {
        let error = Core::connect_with(&url, auth, Network::Regtest, patience()).unwrap_err();
        assert_eq!(error.rule(), "core-answer");
        let shown = format!("{error} {error:?} {error:#?}");
        // RFC 7617: base64 of "miner:sesame" and of "__cookie__:first".
        for secret in
            ["miner:", "sesame", "bWluZXI6c2VzYW1l", "__cookie__", "X19jb29raWVfXzpmaXJzdA"]
        {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
    }
}

/// The outcome of `method` at a connected node, and how often it was asked.
fn outcome(method: &str, turns: Vec<Turn>) -> (Result<Value>, usize) {
    let (url, asked) = scripted([vec![info()], turns].concat());
    let core = Core::connect_with(&url, password(), Network::Regtest, patience()).unwrap();
    asked.recv().unwrap();
    let outcome = core.call(method, &[]);
    (outcome, asked.try_iter().count())
}

#[test]
fn what_may_have_been_done_is_asked_again_only_if_it_bears_that() {
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"id\":".to_vec();
    for lost in [Turn::Raw(vec![]), Turn::Raw(half), Turn::Status(503)] {
        for method in BEARS_REPETITION {
            let (answer, times) = outcome(method, vec![lost.clone(), Turn::Result(json!(1))]);
            assert_eq!((answer.unwrap(), times), (json!(1), 2), "{method}");
        }
        for method in ["sendtoaddress", "generatetoaddress", "stop", "walletprocesspsbt"] {
            let (answer, times) = outcome(method, vec![lost.clone(), Turn::Result(json!(1))]);
            let error = answer.unwrap_err();
            assert_eq!((error.rule(), times), ("core-node", 1), "{method}");
            let found = &error.fault().found;
            assert!(found.contains("may have been carried out (attempts: 1)"), "{error}");
        }
    }
}

#[test]
fn what_was_surely_not_done_is_asked_again_whatever_it_is() {
    let warming = Turn::Refusal(-28, "Loading block index…");
    let (answer, times) = outcome("sendtoaddress", vec![warming, Turn::Result(json!("txid"))]);
    assert_eq!((answer.unwrap(), times), (json!("txid"), 2));

    let (url, asked) = scripted(vec![info()]);
    let core = Core::connect_with(&url, password(), Network::Regtest, patience()).unwrap();
    assert_eq!(asked.iter().count(), 1, "now nobody is there");
    let error = core.call("sendtoaddress", &[]).unwrap_err();
    assert_eq!(error.rule(), "core-node");
    assert!(error.fault().found.ends_with("(attempts: 3)"), "{error}");
    assert!(!error.fault().found.contains("carried out"), "{error}");
}

fn tip_info(hash: &str) -> Turn {
    Turn::Result(json!({ "chain": "regtest", "blocks": 7, "bestblockhash": hash.repeat(32) }))
}

fn unspent(best: &str, confirmations: u32, value: Value) -> Turn {
    Turn::Result(json!({
        "bestblock": best.repeat(32),
        "confirmations": confirmations,
        "value": value,
        "scriptPubKey": { "asm": "1", "hex": "51" },
        "coinbase": false,
    }))
}

/// What a connected node says of two outputs.
fn viewed(turns: Vec<Turn>) -> Result<View> {
    let (url, _asked) = scripted([vec![info()], turns].concat());
    let core = Core::connect_with(&url, password(), Network::Regtest, patience()).unwrap();
    core.view(&[0, 1].map(|vout| OutPoint::new(Txid::all_zeros(), vout)))
}

#[test]
fn a_view_holds_what_is_unspent_to_the_satoshi_and_nothing_else() {
    for (confirmations, height) in [(0, None), (1, Some(7)), (7, Some(1))] {
        let answers = vec![unspent("aa", confirmations, json!(20_999_999.976_900_01))];
        let gone = vec![Turn::Result(Value::Null), tip_info("aa")];
        let view = viewed([vec![tip_info("aa")], answers, gone].concat()).unwrap();
        assert!(view.node && view.place.starts_with("node http://"), "{view:?}");
        assert_eq!((view.tip.0, view.tip.1.to_string()), (7, "aa".repeat(32)));
        let coins: Vec<_> = view.coins.into_values().collect();
        let coin = coins[0].clone().unwrap();
        assert_eq!((coin.value.to_sat(), coin.height), (2_099_999_997_690_001, height));
        assert_eq!((coin.script.to_bytes(), coin.coinbase), (vec![0x51], false));
        assert_eq!(coins[1], None);
    }
}

#[test]
fn a_view_is_of_one_tip_however_often_it_must_be_read_again() {
    let null = || Turn::Result(Value::Null);
    // Once the tip moves between two outputs, once after the last.
    let between = vec![tip_info("aa"), unspent("bb", 1, json!(1.0)), null()];
    let after = vec![tip_info("bb"), null(), null(), tip_info("cc")];
    let still = vec![tip_info("cc"), unspent("cc", 1, json!(1e-8)), null(), tip_info("cc")];
    let view = viewed([between.clone(), after, still].concat()).unwrap();
    assert_eq!(view.tip.1.to_string(), "cc".repeat(32));
    let first = view.coins.into_values().next().flatten().unwrap();
    assert_eq!(first.value.to_sat(), 1);
    let error = viewed(
        [between.clone(), between.clone(), between.clone(), between.clone(), between].concat(),
    );
    assert_eq!(error.unwrap_err().rule(), "core-node");
}

#[test]
fn an_output_in_another_form_than_cores_is_garbled() {
    for answer in [
        json!({}),
        json!("null"),
        json!({ "bestblock": "aa".repeat(32), "confirmations": -1, "value": 1, "coinbase": false,
                "scriptPubKey": { "hex": "51" } }),
    ] {
        let error = viewed(vec![tip_info("aa"), Turn::Result(answer)]).unwrap_err();
        assert_eq!((error.rule(), error.exit_code()), ("core-answer", 5));
    }
    for value in [json!(-1.0), json!(0.000_000_001), json!("1.0"), json!(1e300)] {
        let error = viewed(vec![tip_info("aa"), unspent("aa", 1, value)]).unwrap_err();
        assert_eq!(error.rule(), "core-answer");
    }
    let error = viewed(vec![tip_info("aa"), unspent("aa", 9, json!(1.0))]).unwrap_err();
    assert_eq!(error.rule(), "core-answer", "more confirmations than blocks");
}
