#![allow(missing_docs)]
use bitcoin::*;
use electrum_client::ElectrumApi;
use hashmix::chain::embedded::EmbeddedNode;
use std::time::Instant;
fn main() {
    let script =
        ScriptBuf::from_hex("5120aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
            .unwrap();
    let _ = script;
    let op_true = ScriptBuf::from_hex("51").unwrap();
    let pay = move |v: Amount| vec![TxOut { value: v, script_pubkey: op_true.clone() }];
    let t = Instant::now();
    let node = EmbeddedNode::start().unwrap();
    println!("start {:?}", t.elapsed());
    let t = Instant::now();
    node.mine(100, &pay).unwrap();
    println!("mine 100 {:?}", t.elapsed());
    let t = Instant::now();
    node.mine(500, &pay).unwrap();
    println!("mine 500 more {:?}", t.elapsed());
    let c = electrum_client::Client::new(&node.electrum_url()).unwrap();
    let t = Instant::now();
    for _ in 0..1000 {
        c.ping().unwrap();
    }
    println!("ping {:?}", t.elapsed() / 1000);
    let spend = |h: usize| {
        let id = c.txid_from_pos(h, 0).unwrap();
        let p = c.transaction_get(&id).unwrap();
        Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::new(id, 0),
                script_sig: ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness: Witness::new(),
            }],
            output: vec![TxOut {
                value: p.output[0].value - Amount::from_sat(1000),
                script_pubkey: ScriptBuf::from_hex("51").unwrap(),
            }],
        }
    };
    let txs: Vec<_> = (1..=400).map(spend).collect();
    let t = Instant::now();
    for tx in &txs[..10] {
        c.transaction_broadcast(tx).unwrap();
    }
    println!("broadcast first 10: {:?} each", t.elapsed() / 10);
    let t = Instant::now();
    for tx in &txs[10..] {
        c.transaction_broadcast(tx).unwrap();
    }
    println!("broadcast next 390: {:?} each", t.elapsed() / 390);
    let t = Instant::now();
    node.mine(1, &pay).unwrap();
    println!("mine 1 with 400 tx {:?}", t.elapsed());
    let t = Instant::now();
    node.reorg(6, 7, &pay, true).unwrap();
    println!("reorg 6 with 400 tx {:?} mempool {}", t.elapsed(), node.mempool().len());
    let t = Instant::now();
    node.mine(3000, &pay).unwrap();
    println!("mine 3000 more {:?}", t.elapsed());
    let t = Instant::now();
    drop(node);
    println!("drop {:?}", t.elapsed());
}
