//! What a person pays from his wallet is committed before it is sent. A crash in between is made good,
//! but only while the payment still serves its purpose.

use bitcoin::consensus::serialize;
use bitcoin::{Amount, FeeRate, Network, Transaction, TxOut};
use hashmix::chain::electrum::Electrum;
use hashmix::flow::escrow;
use hashmix::flow::escrow::outcome::proof_script;
use hashmix::header_sync::GuardedChain;
use hashmix::party::Seat;
use hashmix::store::Store;

use crate::world::{FULL, RATE, START, Table, wallet};

/// The miner's process ends between commit and broadcast of a payment, and another one begins.
fn crash(table: &mut Table, kind: &str, outputs: &[TxOut]) -> Transaction {
    table.leave(Seat::Miner);
    let contract = table.terms.id().unwrap();
    let mut store = Store::open(table.dir.path().join("miner.sqlite")).unwrap();
    let (mut his, _) = wallet(Seat::Miner, &mut store);
    let server = Electrum::connect(&table.node.electrum_url(), Network::Regtest).unwrap();
    his.sync(&mut GuardedChain::new(server), &mut store).unwrap();
    let tx = his.fund(outputs, FeeRate::BROADCAST_MIN).unwrap();
    let changes = his.take_staged();
    store.append(&contract.0, &[(kind, serialize(&tx))], changes.as_ref()).unwrap();
    drop((store, his));
    assert!(table.node.mempool().unwrap().is_empty());
    table.sit(Seat::Miner);
    tx
}

/// A proof of the first slice, as a payment.
fn proof(table: &mut Table) -> [TxOut; 2] {
    table.deliver(0, FULL);
    let said = table.engine(Seat::Miner).contract().evidence().certificates();
    let script_pubkey = proof_script(said[0].certificate.digest());
    let payout = table.terms.reward.miner.payout_script();
    [
        TxOut { value: Amount::ZERO, script_pubkey },
        TxOut { value: Amount::from_sat(10_000), script_pubkey: payout },
    ]
}

#[test]
fn a_proof_that_a_crash_kept_back_is_sent_at_the_next_step() {
    let mut table = Table::funded();
    let outputs = proof(&mut table);
    let tx = crash(&mut table, "proof", &outputs);
    table.step(Seat::Miner);
    assert_eq!(table.node.mempool().unwrap(), [tx.compute_txid()]);
    table.elsewhere(1);
    table.step(Seat::Miner);
    assert!(table.node.mempool().unwrap().is_empty(), "in a block it is left alone");
    let refused = table.engine(Seat::Miner).prove_slice(0, RATE).unwrap_err();
    assert_eq!(refused.rule(), "engine-possible");
    assert!(refused.to_string().contains("no proof of it yet"), "{refused}");
}

#[test]
fn a_proof_that_comes_too_late_for_its_slice_is_not_sent() {
    let mut table = Table::funded();
    let outputs = proof(&mut table);
    table.elsewhere_to(table.terms.calendar().proofs_until(0).unwrap());
    crash(&mut table, "proof", &outputs);
    table.step(Seat::Miner);
    assert!(table.node.mempool().unwrap().is_empty());
}

#[test]
fn a_sale_that_a_crash_kept_back_is_sent_before_the_term_begins() {
    let mut table = Table::seated();
    table.elsewhere_to(START - 1);
    let price = escrow::coins::funding(&table.terms).unwrap();
    let tx = crash(&mut table, "funding", &[price]);
    table.step(Seat::Miner);
    assert_eq!(table.node.mempool().unwrap(), [tx.compute_txid()]);
}

#[test]
fn a_sale_after_the_term_began_is_neither_sent_again_nor_made() {
    let mut table = Table::seated();
    table.elsewhere_to(START);
    let price = escrow::coins::funding(&table.terms).unwrap();
    crash(&mut table, "funding", &[price]);
    table.step(Seat::Miner);
    assert!(table.node.mempool().unwrap().is_empty(), "it would be the miner's for nothing");
    let refused = table.engine(Seat::Holder).fund_escrow(RATE).unwrap_err();
    assert_eq!((refused.rule(), refused.exit_code()), ("engine-possible", 2));
    assert!(refused.to_string().contains(&format!("paid for, {START}")), "{refused}");
}
