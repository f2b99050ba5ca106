//! The buyer signs two states and is never seen again: the miner publishes the last one.

use hashmix::flow::escrow::coins::lock;
use hashmix::party::Seat;
use hashmix::script::lock::Path;

use crate::world::{INSTALLMENT, Table};

#[test]
fn the_miner_publishes_the_last_state_through_the_agreed_leaf() {
    let mut table = Table::funded();
    table.two_installments();
    assert!(table.sent.is_empty(), "states are kept, not sent");
    table.leave(Seat::Holder);
    table.elsewhere(20);
    table.restart(Seat::Miner);
    let reports = table.engine(Seat::Miner).publish_state().unwrap();
    table.note(&reports);
    let [sent] = &table.sent[..] else { panic!("{:?}", table.story()) };
    assert_eq!((sent.title, sent.path), ("settlement", Path::Agreed));
    assert_eq!(sent.signers, [Seat::Holder, Seat::Miner]);
    let next = lock(&table.terms, 1).unwrap().script_pubkey;
    let [due, rest] = &sent.tx.output[..] else { panic!("two outputs") };
    assert_eq!(due.script_pubkey, table.terms.reward.miner.payout_script());
    assert_eq!(due.value.to_sat(), 2 * INSTALLMENT - sent.fee.to_sat());
    assert_eq!((rest.value.to_sat(), &rest.script_pubkey), (4 * INSTALLMENT, &next));
    // Bitcoin Core's own validation takes it into a block.
    let txid = sent.tx.compute_txid();
    assert_eq!(table.node.mempool().unwrap(), [txid]);
    table.elsewhere(1);
    let facts = table.engine(Seat::Miner).facts().unwrap();
    assert_eq!(facts.transactions[&txid].height, table.node.height().ok());
    // There is no second state to publish.
    let refused = table.engine(Seat::Miner).publish_state().unwrap_err();
    assert_eq!(refused.rule(), "engine-possible");
}
