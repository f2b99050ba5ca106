//! The Electrum server: what wallets ask, what they are told unasked, what garbage does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::str::FromStr;

use bdk_electrum::BdkElectrumClient;
use bdk_wallet::{KeychainKind, Wallet};
use bitcoin::bip32::Xpriv;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::{Amount, Network, TxOut};
use electrum_client::{ElectrumApi, ToElectrumScriptHash};
use miniscript::psbt::PsbtExt;
use serde_json::{Value, json};

use crate::world::{FEE, World};

/// A client that speaks the bare protocol.
struct Line {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Line {
    fn new(world: &World) -> Self {
        let address = world.node.electrum_url().replace("tcp://", "");
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self { stream, reader }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        let request = json!({ "id": 5, "method": method, "params": params });
        self.write(format!("{request}\n").as_bytes());
        let answer = self.read();
        assert_eq!(answer["id"], 5);
        answer
    }
}

#[test]
fn a_bdk_wallet_finds_its_coins_by_a_full_scan() {
    const KEY: &str = "tprv8ZgxMBicQKsPdDArR4xSAECuVxeX1jwwSXR4ApKbkYgZiziDc4LdBy2WvJeGDfUSE4UT4hHhbgEwbdq8ajjUHiKDegkwrNU6V55CxcxonVN";
    let [external, internal] = [0, 1].map(|branch| format!("tr({KEY}/86h/1h/0h/{branch}/*)"));
    let world = World::new(0);
    let mut wallet = Wallet::create(external, internal)
        .network(Network::Regtest)
        .create_wallet_no_persist()
        .unwrap();
    let address = wallet.reveal_next_address(KeychainKind::External);
    let payout = |value: Amount| vec![TxOut { value, script_pubkey: address.script_pubkey() }];
    world.node.mine(3, &payout).unwrap();
    world.mine(100);

    let server =
        BdkElectrumClient::new(electrum_client::Client::new(&world.node.electrum_url()).unwrap());
    let update = server.full_scan(wallet.start_full_scan(), 5, 5, true).unwrap();
    wallet.apply_update(update).unwrap();
    assert_eq!(wallet.balance().confirmed, Amount::from_int_btc(150));
    assert_eq!(wallet.latest_checkpoint().height(), 103);
    assert_eq!(wallet.latest_checkpoint().hash(), world.node.tip().1);

    let mut builder = wallet.build_tx();
    builder.add_recipient(world.script(), Amount::from_int_btc(20));
    let mut psbt = builder.finish().unwrap();
    let key = Xpriv::from_str(KEY).unwrap();
    psbt.sign(&key, wallet.secp_ctx()).unwrap();
    psbt.finalize_mut(wallet.secp_ctx()).unwrap();
    let tx = psbt.extract_tx().unwrap();
    server.transaction_broadcast(&tx).unwrap();
    let sync = server.sync(wallet.start_sync_with_revealed_spks(), 5, true).unwrap();
    wallet.apply_update(sync).unwrap();
    let balance = wallet.balance();
    assert!(balance.trusted_pending > Amount::from_int_btc(29), "{balance:?}");

    world.mine(1);
    world.node.reorg(1, 2, &world.payout(), true).unwrap();
    world.mine(1);
    let sync = server.sync(wallet.start_sync_with_revealed_spks(), 5, true).unwrap();
    wallet.apply_update(sync).unwrap();
    assert_eq!(wallet.latest_checkpoint().hash(), world.node.tip().1);
    assert_eq!(wallet.balance().trusted_pending, Amount::ZERO);
    assert!(wallet.balance().confirmed > Amount::from_int_btc(129));
}

#[test]
fn headers_and_script_statuses_are_pushed_to_those_who_asked() {
    let world = World::new(101);
    let told = world.client.block_headers_subscribe().unwrap();
    assert_eq!(told.height, 101);
    let first = world.client.script_subscribe(&world.script()).unwrap();
    assert!(first.is_some());

    world.send(&world.spend(&world.coinbase(1)));
    world.client.ping().unwrap();
    assert!(world.client.block_headers_pop().unwrap().is_none());
    let second = world.client.script_pop(&world.script()).unwrap();
    assert!(second.is_some() && second != first);

    world.mine(2);
    world.client.ping().unwrap();
    assert_eq!(world.client.block_headers_pop().unwrap().unwrap().height, 102);
    assert_eq!(world.client.block_headers_pop().unwrap().unwrap().height, 103);
    assert!(world.client.script_pop(&world.script()).unwrap().is_some());
    assert!(world.client.script_unsubscribe(&world.script()).unwrap());
    world.mine(1);
    world.client.ping().unwrap();
    assert_eq!(world.client.block_headers_pop().unwrap().unwrap().height, 104);
}

#[test]
fn a_status_is_the_hash_of_the_history_and_null_without_one() {
    let world = World::new(101);
    let mut line = Line::new(&world);
    let name = world.script().to_electrum_scripthash();
    let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    let nobody = "00".repeat(32);
    assert_eq!(line.ask("blockchain.scripthash.subscribe", json!([nobody]))["result"], Value::Null);

    let tx = world.spend(&world.coinbase(1));
    world.send(&tx);
    world.send(&world.spend(&tx));
    let status = line.ask("blockchain.scripthash.subscribe", json!([name]))["result"].clone();
    let history = line.ask("blockchain.scripthash.get_history", json!([name]))["result"].clone();
    let text: String = history
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| format!("{}:{}:", entry["tx_hash"].as_str().unwrap(), entry["height"]))
        .collect();
    assert!(text.contains(":101:") && text.contains(":0:") && text.ends_with(":-1:"));
    assert_eq!(status, json!(sha256::Hash::hash(text.as_bytes()).to_string()));

    let mempool = line.ask("blockchain.scripthash.get_mempool", json!([name]))["result"].clone();
    assert_eq!(mempool.as_array().unwrap()[..], history.as_array().unwrap()[101..]);
}

#[test]
fn balances_and_unspent_outputs_follow_chain_and_mempool() {
    let world = World::new(101);
    let script = world.script();
    let tx = world.spend(&world.coinbase(1));
    world.send(&tx);
    let balance = world.client.script_get_balance(&script).unwrap();
    assert_eq!(balance.confirmed, 101 * 5_000_000_000);
    assert_eq!(balance.unconfirmed, -(FEE.to_sat() as i64));
    let unspent = world.client.script_list_unspent(&script).unwrap();
    assert_eq!(unspent.len(), 101);
    let waiting = unspent.iter().find(|coin| coin.tx_hash == tx.compute_txid()).unwrap();
    assert_eq!((waiting.height, waiting.value), (0, 5_000_000_000 - FEE.to_sat()));
    world.mine(1);
    let balance = world.client.script_get_balance(&script).unwrap();
    assert_eq!((balance.confirmed, balance.unconfirmed), (102 * 5_000_000_000, 0));
}

#[test]
fn headers_come_one_by_one_in_runs_and_with_a_proof() {
    let world = World::new(30);
    let run = world.client.block_headers(10, 2_016).unwrap();
    assert_eq!((run.count, run.max), (21, 2_016));
    for (height, header) in (10..).zip(&run.headers) {
        assert_eq!(world.client.block_header(height).unwrap(), *header);
    }
    assert_eq!(run.headers.last().unwrap().block_hash(), world.node.tip().1);
    assert!(world.client.block_header(31).is_err());

    let mut line = Line::new(&world);
    let proof = line.ask("blockchain.block.header", json!([5, 30]))["result"].clone();
    assert_eq!(proof["branch"].as_array().unwrap().len(), 5);
    assert_eq!(proof["root"].as_str().unwrap().len(), 64);
}

#[test]
fn small_questions_have_their_answers() {
    let world = World::new(101);
    let features = world.client.server_features().unwrap();
    assert_eq!(features.hash_function.as_deref(), Some("sha256"));
    let genesis = world.client.block_header(0).unwrap().block_hash();
    let mut hash = genesis.to_byte_array();
    hash.reverse();
    assert_eq!(features.genesis_hash, hash);
    world.client.ping().unwrap();
    assert!(world.client.relay_fee().unwrap() > 0.000_009);
    assert!(world.client.estimate_fee(6, None).unwrap() < 0.0);
    let tx = world.spend(&world.coinbase(1));
    world.send(&tx);
    let mut line = Line::new(&world);
    let histogram = line.ask("mempool.get_fee_histogram", json!([]))["result"].clone();
    assert_eq!(histogram, json!([[500 / tx.vsize(), tx.vsize()]]));
    let banner = line.ask("server.banner", json!([]))["result"].clone();
    assert!(banner.as_str().unwrap().contains("regtest"));
    let version = line.ask("server.version", json!(["x", ["1.2", "1.6"]]))["result"].clone();
    assert_eq!(version[1], "1.4");
    let refused = line.ask("server.version", json!(["x", "1.3"]));
    assert_eq!(refused["error"]["code"], 1);
}

#[test]
fn garbage_gets_an_error_and_the_connection_stays() {
    let world = World::new(1);
    let mut line = Line::new(&world);
    let mut codes = Vec::new();
    for garbage in [
        &b"\n"[..],
        b"{{{\n",
        b"\xff\xfe\x00\n",
        b"17\n",
        b"[]\n",
        b"{\"id\":1}\n",
        b"{\"id\":1,\"method\":4}\n",
        b"{\"id\":1,\"method\":\"server.ping\",\"params\":{}}\n",
        b"{\"id\":1,\"method\":\"blockchain.numblocks\",\"params\":[]}\n",
        b"{\"id\":1,\"method\":\"blockchain.block.header\",\"params\":[-1]}\n",
        b"{\"id\":1,\"method\":\"blockchain.block.header\",\"params\":[99]}\n",
        b"{\"id\":1,\"method\":\"blockchain.scripthash.subscribe\",\"params\":[\"zz\"]}\n",
        b"{\"id\":1,\"method\":\"blockchain.transaction.broadcast\",\"params\":[\"00\"]}\n",
    ] {
        line.write(garbage);
        codes.push(line.read()["error"]["code"].as_i64().unwrap());
    }
    let expected = [
        -32_700, -32_700, -32_700, -32_600, -32_600, -32_600, -32_600, -32_602, -32_601, -32_602,
        1, -32_602, 2,
    ];
    assert_eq!(codes, expected);
    line.write(format!("{}\n", "[".repeat(100_000)).as_bytes());
    assert_eq!(line.read()["error"]["code"], -32_700);
    assert_eq!(line.ask("server.ping", json!([]))["result"], Value::Null);
    world.mine(1);
    assert_eq!(world.node.tip().0, 2);
}

#[test]
fn a_line_without_end_is_cut_off_and_others_are_served_on() {
    let world = World::new(1);
    let mut line = Line::new(&world);
    let endless = vec![b'x'; 1_100_000];
    // The server may close before it has been given everything.
    let _ = line.stream.write_all(&endless);
    // Closed without a word, or reset because more was on its way; not merely silent.
    match line.reader.read(&mut [0]) {
        Ok(read) => assert_eq!(read, 0),
        Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset),
    }
    world.client.ping().unwrap();
}

#[test]
fn many_requests_are_answered_in_order_as_an_array_or_as_lines() {
    let world = World::new(20);
    let mut line = Line::new(&world);
    let ask = |id: u32| json!({ "id": id, "method": "blockchain.block.header", "params": [id] });
    line.write(format!("{}\n", Value::from_iter((0..=20).map(ask))).as_bytes());
    let answers = line.read();
    let lines: String = (0..=20).map(|id| format!("{}\n", ask(id))).collect();
    line.write(lines.as_bytes());
    for (id, answer) in (0u32..).zip(answers.as_array().unwrap()) {
        assert_eq!(answer["id"], id);
        assert_eq!(*answer, line.read());
    }
    assert_eq!(answers.as_array().unwrap().len(), 21);
}

#[test]
fn a_client_that_does_not_read_holds_nobody_up() {
    let world = World::new(101);
    let mut deaf = Line::new(&world);
    deaf.ask("blockchain.headers.subscribe", json!([]));
    let request = json!({ "id": 1, "method": "blockchain.block.headers", "params": [0, 2016] });
    for _ in 0..300 {
        deaf.write(format!("{request}\n").as_bytes());
    }
    world.mine(50);
    assert_eq!(world.client.block_headers_subscribe().unwrap().height, 151);
}
