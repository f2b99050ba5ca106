//! The adapter against a scripted server: honest, absent, slow, garbled, lying.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use bitcoin::hashes::Hash;
use serde_json::json;

use super::scripted::{Act, IMPATIENT, SHORT, Server, pay, script_of};
use super::*;
use crate::error::Error;

/// What an unreachable or unusable server ends in: exit code 5, one line.
fn unavailable(error: Error) -> Error {
    assert_eq!(error.exit_code(), 5, "{error}");
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
    error
}

#[test]
fn an_honest_servers_chain_becomes_facts_with_heights_coins_and_spenders() {
    let server = Server::start(3);
    let (first, second) = server.with(|world| {
        let coinbase = world.mine(1, vec![]);
        let first = pay(coinbase, 4_000, 2);
        let others = (10..16).map(|person| pay(Txid::hash(&[person]), 7, person));
        world.mine(0, others.chain([first.clone()]).collect());
        let second = pay(first.compute_txid(), 3_000, 3);
        world.mempool.insert(second.compute_txid(), second.clone());
        (first, second)
    });
    let chain = server.connect().unwrap();
    let facts = chain.facts(&[script_of(1), script_of(2)], 3).unwrap();
    assert_eq!((facts.headers.first(), facts.tip()), (3, 5));
    let [coin] = facts.coins(&script_of(1)).try_into().unwrap();
    assert_eq!((coin.height, coin.coinbase), (Some(4), true));
    assert_eq!(coin.spender, Some(first.compute_txid()));
    let [coin] = facts.coins(&script_of(2)).try_into().unwrap();
    assert_eq!((coin.height, coin.coinbase), (Some(5), false));
    assert_eq!(coin.spender, Some(second.compute_txid()));
    assert_eq!(facts.transactions[&second.compute_txid()].height, None);
    assert_eq!(facts.transactions.len(), 3);

    let history = chain.history(&script_of(1)).unwrap();
    assert_eq!(history.iter().map(|(_, height)| *height).collect::<Vec<_>>(), [Some(4), Some(5)]);
    assert_eq!(chain.transaction(first.compute_txid()).unwrap(), first);
    assert!(chain.history(&script_of(99)).unwrap().is_empty());
    assert!(chain.facts(&[], 0).unwrap().transactions.is_empty());
}

#[test]
fn facts_reach_down_to_the_lowest_block_of_a_transaction() {
    let server = Server::start(2);
    server.with(|world| {
        world.mine(1, vec![]);
        (0..20).for_each(|_| _ = world.mine(0, vec![]));
    });
    let facts = server.connect().unwrap().facts(&[script_of(1)], 20).unwrap();
    assert_eq!((facts.headers.first(), facts.tip()), (3, 23));
}

#[test]
fn a_poll_without_news_asks_for_histories_and_the_tip_alone() {
    let server = Server::start(4);
    server.with(|world| _ = world.mine(1, vec![]));
    let chain = server.connect().unwrap();
    let scripts = [script_of(1), script_of(2)];
    let facts = chain.facts(&scripts, 0).unwrap();
    server.with(|world| world.asked.clear());
    assert_eq!(chain.facts(&scripts, 0).unwrap(), facts);
    assert_eq!(server.count("blockchain.headers.subscribe"), 2);
    assert_eq!(server.count("blockchain.scripthash.get_history"), 2);
    assert_eq!(server.with(|world| world.asked.clone()), Vec::<String>::new());
}

#[test]
fn a_new_block_costs_the_headers_from_the_last_known_one() {
    let server = Server::start(30);
    let chain = server.connect().unwrap();
    chain.headers(5).unwrap();
    server.with(|world| {
        world.mine(0, vec![]);
        world.asked.clear();
    });
    let asked = std::sync::Arc::new(Mutex::new(Vec::new()));
    let heard = asked.clone();
    server.script(move |_, method, params| {
        if method == "blockchain.block.headers" {
            heard.lock().unwrap().push(params.to_vec());
        }
        None
    });
    let headers = chain.headers(5).unwrap();
    assert_eq!((headers.first(), headers.tip()), (5, 31));
    assert_eq!(*asked.lock().unwrap(), [[json!(30), json!(2)]]);
    // A later start is served from the same run.
    assert_eq!(chain.headers(20).unwrap().first(), 20);
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[test]
fn after_a_reorg_headers_and_facts_are_those_of_the_new_chain() {
    let server = Server::start(20);
    server.with(|world| _ = world.mine(1, vec![]));
    let chain = server.connect().unwrap();
    let scripts = [script_of(1), script_of(2)];
    assert_eq!(chain.facts(&scripts, 2).unwrap().coins(&script_of(1)).len(), 1);
    for (depth, blocks) in [(1, 2), (9, 12), (24, 26)] {
        server.with(|world| {
            world.blocks.truncate(world.blocks.len() - depth);
            (0..blocks).for_each(|_| _ = world.mine(2, vec![]));
        });
        let facts = chain.facts(&scripts, 2).unwrap();
        let (tip, hash) = chain.tip().unwrap();
        assert_eq!((facts.tip(), facts.headers.hash(tip)), (tip, Some(hash)));
        assert_eq!(facts.headers, chain.headers(2).unwrap());
        assert!(facts.coins(&script_of(1)).is_empty(), "a lost coinbase is still there");
    }
}

#[test]
fn a_chain_that_grows_while_it_is_read_gives_facts_of_one_tip() {
    let server = Server::start(5);
    let chain = server.connect().unwrap();
    // A block with the payment comes right after the history was read without it.
    let mut done = false;
    server.script(move |world, method, params| {
        (method == "blockchain.scripthash.get_history" && !done).then(|| {
            done = true;
            let honest = world.honest(method, params);
            world.mine(1, vec![]);
            honest
        })
    });
    let facts = chain.facts(&[script_of(1)], 0).unwrap();
    assert_eq!(facts.tip(), 6);
    assert_eq!(facts.coins(&script_of(1)).len(), 1);
}

#[test]
fn a_chain_that_never_holds_still_is_given_up_on() {
    let server = Server::start(5);
    let chain = server.connect().unwrap();
    server.script(|world, method, _| {
        if method == "blockchain.scripthash.get_history" {
            world.mine(0, vec![]);
        }
        None
    });
    let error = unavailable(chain.facts(&[script_of(1)], 0).unwrap_err());
    assert_eq!(error.rule(), "chain-steady");
}

#[test]
fn a_witness_seen_in_the_mempool_is_read_again_from_the_block() {
    let server = Server::start(3);
    let chain = server.connect().unwrap();
    let seen = pay(Txid::hash(&[1]), 5, 1);
    let mut mined = seen.clone();
    mined.input[0].witness = bitcoin::Witness::from_slice(&[[8u8; 64]]);
    server.with(|world| _ = world.mempool.insert(seen.compute_txid(), seen.clone()));
    let facts = chain.facts(&[script_of(1)], 0).unwrap();
    assert_eq!(facts.transactions[&seen.compute_txid()].tx, seen);
    server.with(|world| _ = world.mine(0, vec![mined.clone()]));
    let facts = chain.facts(&[script_of(1)], 0).unwrap();
    assert_eq!(facts.transactions[&seen.compute_txid()].tx, mined);
}

#[test]
fn a_server_of_another_network_is_refused_by_name() {
    let server = Server::start(1);
    let error = Electrum::connect_with(&server.url, Network::Signet, IMPATIENT).unwrap_err();
    let error = unavailable(error);
    assert_eq!(error.rule(), "chain-network");
    assert!(error.fault().expected.starts_with("signet"), "{error}");
    assert!(error.fault().found.starts_with("regtest"), "{error}");
}

#[test]
fn an_address_that_is_none_is_a_slip_of_the_command_line() {
    let bad = ["", "host", "host:", ":1", "host:99999", "tcp://host", "http://a:1", "tcp://a:1/b"];
    for url in bad {
        let error = Electrum::connect(url, Network::Regtest).unwrap_err();
        assert_eq!((error.rule(), error.exit_code()), ("chain-url", 2), "{url}");
    }
    #[cfg(not(feature = "tls"))]
    assert_eq!(Electrum::connect("ssl://a:1", Network::Regtest).unwrap_err().rule(), "chain-url");
}

#[test]
fn a_server_that_is_down_is_named_with_its_address_and_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = Electrum::connect_with(&url, Network::Regtest, IMPATIENT).unwrap_err();
    let line = unavailable(error).to_string();
    assert!(line.contains("[chain-server]") && line.contains(&url), "{line}");
    assert!(line.contains("refused") && line.contains("check that it runs"), "{line}");
}

#[test]
fn a_silent_server_is_waited_for_no_longer_than_agreed() {
    let server = Server::start(1);
    let chain = server.connect_with(SHORT).unwrap();
    server.always("blockchain.scripthash.get_history", || Act::Silence);
    let start = Instant::now();
    let error = unavailable(chain.history(&script_of(1)).unwrap_err());
    assert_eq!(error.rule(), "chain-server");
    assert!(error.fault().found.starts_with("silence"), "{error}");
    // Twice what was agreed, for a machine that is busy with other things.
    assert!(start.elapsed() < SHORT.timeout * SHORT.attempts * 2);
}

#[test]
fn a_connection_that_breaks_in_the_middle_of_an_answer_is_made_anew() {
    let server = Server::start(3);
    let chain = server.connect().unwrap();
    let broken = AtomicU32::new(0);
    server.script(move |_, method, _| {
        let first_two = method == "blockchain.headers.subscribe"
            && broken.fetch_add(1, Ordering::SeqCst) < IMPATIENT.attempts - 1;
        first_two.then_some(Act::BreakOff)
    });
    assert_eq!(chain.tip().unwrap().0, 3);
    assert_eq!(server.count("blockchain.headers.subscribe"), 3);

    server.always("blockchain.headers.subscribe", || Act::BreakOff);
    let error = unavailable(chain.tip().unwrap_err());
    assert_eq!(error.rule(), "chain-server");
    assert_eq!(server.count("blockchain.headers.subscribe"), 3, "patience has an end");
}

#[test]
fn gibberish_is_reported_in_one_clean_line() {
    let server = Server::start(1);
    let chain = server.connect_with(SHORT).unwrap();
    for raw in [
        "HTTP/1.1 400 Bad Request\r",
        "",
        "{",
        "\u{1b}[31m\0",
        "[]",
        "[{\"id\": 0, \"result\": 1}]",
        "\"id\"",
        "null",
        "7",
        "{\"id\": 0}",
        "{\"method\": \"blockchain.headers.subscribe\", \"params\": 7}",
        "{\"method\": \"blockchain.scripthash.subscribe\", \"params\": [null, null]}",
    ] {
        server.always("blockchain.headers.subscribe", || Act::Raw(raw.into()));
        let error = unavailable(chain.tip().unwrap_err());
        assert!(["chain-server", "chain-answer"].contains(&error.rule()), "{raw}: {error}");
        assert!(!error.to_string().contains('\u{1b}'));
    }
    server.always("blockchain.headers.subscribe", || Act::Raw(vec![0xff, 0xfe, 0x00]));
    unavailable(chain.tip().unwrap_err());
    server.script(|_, _, _| None);
    assert_eq!(chain.tip().unwrap().0, 1, "the next honest answer is taken");
}

#[test]
fn an_answer_of_another_form_is_refused_whatever_was_asked() {
    let server = Server::start(2);
    let txid = server.with(|world| world.blocks[1].txdata[0].compute_txid());
    let chain = server.connect().unwrap();
    let wrong = [
        json!(null),
        json!(7),
        json!("zz"),
        json!([1, 2]),
        json!({ "height": "7", "hex": 1 }),
        json!([{ "tx_hash": "00", "height": 1 }]),
        json!([{ "tx_hash": txid, "height": 99_999_999_999u64 }]),
        json!({ "hex": "00" }),
        json!({ "headers": ["00"] }),
        json!({ "merkle": "x", "pos": 0 }),
        json!({ "merkle": [], "pos": -1 }),
    ];
    for answer in wrong {
        server.script(move |_, method, _| {
            (method != "server.version").then(|| Act::Answer(answer.clone()))
        });
        let scripts = [script_of(0)];
        for error in [
            chain.tip().unwrap_err(),
            chain.headers(0).unwrap_err(),
            chain.history(&scripts[0]).unwrap_err(),
            chain.transaction(txid).unwrap_err(),
            chain.facts(&scripts, 0).unwrap_err(),
            server.connect().unwrap_err(),
        ] {
            assert_eq!(unavailable(error).rule(), "chain-answer");
        }
    }
    for method in ["blockchain.transaction.get_merkle", "blockchain.block.headers"] {
        server.always(method, || Act::Answer(json!({ "merkle": [7], "hex": "00" })));
        let error = server.connect().unwrap().facts(&[script_of(0)], 0).unwrap_err();
        assert_eq!(unavailable(error).rule(), "chain-answer");
    }
}

#[test]
fn a_transaction_other_than_the_one_asked_for_is_refused() {
    let server = Server::start(2);
    let (asked, other) = server.with(|world| {
        (world.blocks[1].txdata[0].compute_txid(), world.blocks[2].txdata[0].clone())
    });
    let chain = server.connect().unwrap();
    let lie = serialize_hex(&other);
    server.always("blockchain.transaction.get", move || Act::Answer(json!(lie)));
    let error = chain.transaction(asked).unwrap_err();
    assert_eq!((error.rule(), error.exit_code()), ("chain-transaction", 3));
    assert_eq!(error.fault().found, other.compute_txid().to_string());
}

#[test]
fn a_transaction_of_64_bytes_is_refused_and_its_neighbours_are_not() {
    let server = Server::start(1);
    let chain = server.connect().unwrap();
    for length in 0..8 {
        let mut tx = pay(Txid::hash(b"coin"), 1, 1);
        tx.output[0].script_pubkey = bitcoin::ScriptBuf::from_bytes(vec![0x51; length]);
        let txid = tx.compute_txid();
        let size = tx.base_size();
        server.with(|world| _ = world.mempool.insert(txid, tx));
        match chain.transaction(txid) {
            Ok(_) => assert_ne!(size, 64),
            Err(error) => assert_eq!((error.rule(), size), ("chain-transaction-64", 64)),
        }
    }
}

#[test]
fn a_branch_that_does_not_lead_to_the_blocks_root_is_refused() {
    let server = Server::start(2);
    let tx = pay(Txid::hash(b"coin"), 1, 1);
    server.with(|world| {
        let others = (10..16).map(|person| pay(Txid::hash(&[person]), 7, person));
        world.mine(0, others.chain([tx.clone()]).collect());
    });
    let chain = server.connect().unwrap();
    // Each lie, with the part of the answer that the refusal names.
    type Lie = fn(&mut Value);
    let lies: [(&str, Lie); 7] = [
        ("root", |answer| answer["merkle"][0] = json!(Txid::hash(b"x"))),
        ("root", |answer| {
            answer["merkle"].as_array_mut().unwrap().truncate(2);
            answer["pos"] = json!(3);
        }),
        ("root", |answer| answer["pos"] = json!(5)),
        ("pos", |answer| answer["pos"] = json!(0)),
        ("pos", |answer| answer["pos"] = json!(8 + 7)),
        ("pos", |answer| answer["pos"] = json!(u64::MAX)),
        ("siblings", |answer| answer["merkle"] = json!(vec![Txid::hash(b"x"); DEEPEST + 1])),
    ];
    for (part, lie) in lies {
        server.script(move |world, method, params| {
            if method != "blockchain.transaction.get_merkle" {
                return None;
            }
            let Act::Answer(mut answer) = world.honest(method, params) else { return None };
            // The chosen transaction is the last of eight.
            assert_eq!(answer["pos"], 7);
            lie(&mut answer);
            Some(Act::Answer(answer))
        });
        let error = chain.facts(&[script_of(1)], 0).unwrap_err();
        assert_eq!((error.rule(), error.exit_code()), ("chain-branch", 3), "{error}");
        assert!(error.fault().place.ends_with(part), "{part}: {error}");
    }
    server.script(|_, _, _| None);
    let facts = chain.facts(&[script_of(1)], 0).unwrap();
    assert_eq!(facts.transactions[&tx.compute_txid()].height, Some(3));
}

#[test]
fn a_twin_to_the_left_is_refused_and_the_odd_last_node_is_not() {
    // Three transactions: the third is its own right neighbour. In the mutated list of four the
    // same root appears, with the third as its own left neighbour too.
    let leaves: Vec<Txid> = (0u8..3).map(|i| Txid::hash(&[i])).collect();
    let node = |left: bitcoin::TxMerkleNode, right: bitcoin::TxMerkleNode| {
        bitcoin::TxMerkleNode::hash(&[left.to_byte_array(), right.to_byte_array()].concat())
    };
    let left = node(leaves[0].into(), leaves[1].into());
    let root = node(left, node(leaves[2].into(), leaves[2].into()));
    let branch = |place| branch::Branch { siblings: vec![leaves[2].into(), left], place };
    branch(2).check(leaves[2], root, false).unwrap();
    let twin = branch(3).check(leaves[2], root, false).unwrap_err();
    assert_eq!(twin.rule(), "chain-branch");
    assert!(twin.fault().found.ends_with("twice"), "{twin}");
}

#[test]
fn headers_that_do_not_hang_together_or_have_no_work_are_refused() {
    let server = Server::start(6);
    // Header 4 of another chain; header 4 without its work.
    let other = Server::start(2).with(|world| {
        (0..2).for_each(|_| _ = world.mine(9, vec![]));
        world.blocks[4].header
    });
    let true_one = server.with(|world| world.blocks[4].header);
    let mut idle = true_one;
    while idle.validate_pow(idle.target()).is_ok() {
        idle.nonce += 1;
    }
    for (lie, rule) in [(other, "headers-linked"), (idle, "headers-work")] {
        server.script(move |world, method, params| {
            if method != "blockchain.block.headers" {
                return None;
            }
            let run = world.blocks.iter().skip(params[0].as_u64().unwrap() as usize);
            let run: Vec<String> = run
                .map(|block| if block.header == true_one { lie } else { block.header })
                .map(|header| serialize_hex(&header))
                .collect();
            // The list form is that of protocol 1.6.
            Some(Act::Answer(json!({ "count": run.len(), "headers": run, "max": 2_016 })))
        });
        let error = server.connect().unwrap().headers(1).unwrap_err();
        assert_eq!((error.rule(), error.exit_code()), (rule, 3), "{error}");
    }
}

#[test]
fn a_difficulty_that_the_chain_does_not_demand_is_refused() {
    let server = Server::start(3);
    server.with(|world| {
        world.mine(0, vec![]);
        let block = world.blocks.last_mut().unwrap();
        block.header.bits = bitcoin::CompactTarget::from_consensus(0x2070_ffff);
        while block.header.validate_pow(block.header.target()).is_err() {
            block.header.nonce += 1;
        }
    });
    let error = server.connect().unwrap().headers(0).unwrap_err();
    assert_eq!((error.rule(), error.fault().found.as_str()), ("headers-bits", "2070ffff"));
}

#[test]
fn headers_beyond_the_tip_are_not_there() {
    let server = Server::start(3);
    let error = unavailable(server.connect().unwrap().headers(4).unwrap_err());
    assert_eq!(error.rule(), "headers-known");
}

#[test]
fn a_server_that_grants_few_headers_at_a_time_is_asked_again() {
    let server = Server::start(25);
    let chain = server.connect().unwrap();
    server.script(|world, method, params| {
        (method == "blockchain.block.headers").then(|| {
            let count = params[1].as_u64().unwrap().min(10);
            world.honest(method, &[params[0].clone(), json!(count)])
        })
    });
    assert_eq!(chain.headers(0).unwrap().tip(), 25);
    // None at all: the chain it claims is not there.
    server.script(|_, method, _| {
        (method == "blockchain.block.headers")
            .then(|| Act::Answer(json!({ "count": 0, "hex": "", "max": 0 })))
    });
    let fresh = server.connect().unwrap();
    assert_eq!(unavailable(fresh.headers(0).unwrap_err()).rule(), "chain-steady");
}

#[test]
fn a_broadcast_is_done_when_the_network_has_the_transaction() {
    let server = Server::start(1);
    let chain = server.connect().unwrap();
    let tx = pay(Txid::hash(b"coin"), 1, 1);
    assert_eq!(chain.broadcast(&tx).unwrap(), tx.compute_txid());
    assert!(server.with(|world| world.mempool.contains_key(&tx.compute_txid())));
    for reason in [
        "the transaction was rejected by network rules.\n\nTransaction already in block chain\n",
        "txn-already-in-mempool",
        "Transaction outputs already in utxo set",
    ] {
        server.always("blockchain.transaction.broadcast", move || Act::Decline(reason));
        assert_eq!(chain.broadcast(&tx).unwrap(), tx.compute_txid(), "{reason}");
    }
}

#[test]
fn a_broadcast_that_is_refused_quotes_the_reason_in_one_line() {
    let server = Server::start(1);
    let chain = server.connect().unwrap();
    let tx = pay(Txid::hash(b"coin"), 1, 1);
    server.always("blockchain.transaction.broadcast", || {
        Act::Decline("bad-txns-inputs-missingorspent\n\n[0200...]\u{7}")
    });
    let error = chain.broadcast(&tx).unwrap_err();
    assert_eq!((error.rule(), error.exit_code()), ("chain-broadcast", 3));
    assert!(error.fault().found.starts_with("bad-txns-inputs-missingorspent"), "{error}");
    assert_eq!(error.to_string().lines().count(), 1);

    let lie = json!(Txid::hash(b"another"));
    server.always("blockchain.transaction.broadcast", move || Act::Answer(lie.clone()));
    assert_eq!(unavailable(chain.broadcast(&tx).unwrap_err()).rule(), "chain-answer");
}

#[test]
fn a_broadcast_whose_answer_is_lost_is_sent_again() {
    let server = Server::start(1);
    let chain = server.connect().unwrap();
    let tx = pay(Txid::hash(b"coin"), 1, 1);
    let mut times = 0;
    server.script(move |world, method, params| {
        (method == "blockchain.transaction.broadcast").then(|| {
            times += 1;
            match times {
                1 => {
                    world.honest(method, params);
                    Act::BreakOff
                }
                _ => Act::Decline("txn-already-in-mempool"),
            }
        })
    });
    assert_eq!(chain.broadcast(&tx).unwrap(), tx.compute_txid());
    assert_eq!(server.count("blockchain.transaction.broadcast"), 2);
}

#[test]
fn fee_rates_are_read_without_loss_and_absurd_ones_refused() {
    let server = Server::start(1);
    let chain = server.connect().unwrap();
    assert_eq!(chain.fee_rate(6).unwrap(), None);
    for (answer, sat_per_kwu) in [
        (json!(0.00001), 250),
        (json!(0.00012345), 3_087),
        (json!(1e-8), 250),
        (json!(0), 250),
        (json!(0.05), 1_250_000),
    ] {
        server.always("blockchain.estimatefee", move || Act::Answer(answer.clone()));
        assert_eq!(chain.fee_rate(6).unwrap(), Some(FeeRate::from_sat_per_kwu(sat_per_kwu)));
    }
    server.always("blockchain.estimatefee", || Act::Answer(json!(0.06)));
    assert_eq!(chain.fee_rate(6).unwrap_err().rule(), "chain-fee-rate");
    for answer in [json!("fast"), json!(1e-9), json!(1e300), json!(null)] {
        server.always("blockchain.estimatefee", move || Act::Answer(answer.clone()));
        assert_eq!(chain.fee_rate(6).unwrap_err().rule(), "chain-answer");
    }
}

#[test]
fn a_servers_view_holds_what_nothing_spends_in_a_block_or_in_the_mempool() {
    let server = Server::start(3);
    let (coinbase, first, second) = server.with(|world| {
        let coinbase = world.mine(1, vec![]);
        let first = pay(coinbase, 4_000, 2);
        world.mine(0, vec![first.clone()]);
        let second = pay(first.compute_txid(), 3_000, 2);
        world.mempool.insert(second.compute_txid(), second.clone());
        let unspent = world.mine(1, vec![]);
        ((coinbase, unspent), first.compute_txid(), second.compute_txid())
    });
    let outpoints = [coinbase.0, coinbase.1, first, second, Txid::all_zeros()]
        .map(|txid| bitcoin::OutPoint::new(txid, 0));
    let none_such = bitcoin::OutPoint::new(second, 1);
    let chain = server.connect().unwrap();
    let scripts = [script_of(1), script_of(2)];
    let view = chain.view(&scripts, 0, &[&outpoints[..], &[none_such]].concat()).unwrap();
    assert!(!view.node && view.place.contains(&server.url), "{view:?}");
    assert_eq!((view.tip.0, view.coins.len()), (6, 6));
    let told = outpoints.map(|outpoint| {
        view.coins[&outpoint].as_ref().map(|coin| (coin.value.to_sat(), coin.height, coin.coinbase))
    });
    let expected = [None, Some((5_000, Some(6), true)), None, Some((3_000, None, false)), None];
    assert_eq!(told, expected);
    assert_eq!(view.coins[&none_such], None);
}

#[test]
fn a_script_that_strangers_pay_without_end_is_refused_before_it_is_read() {
    super::refuse_crowded("server".to_owned(), 20_000).unwrap();
    for count in [20_001, 1_000_000] {
        let refused = super::refuse_crowded("server".to_owned(), count).unwrap_err();
        assert_eq!((refused.rule(), refused.exit_code()), ("chain-crowded", 5));
        assert_eq!(refused.fault().found, count.to_string());
    }
}
