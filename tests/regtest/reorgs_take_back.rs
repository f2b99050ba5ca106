//! What blocks held leaves them again: everybody is told, nobody acts on what is gone, and what may
//! return does.

use bitcoin::consensus::serialize;
use bitcoin::{Amount, FeeRate, Transaction, TxOut, Txid};
use hashmix::engine::Report;
use hashmix::facts::{Departure, Fate};
use hashmix::flow::escrow::coins::{Progress, progress};
use hashmix::flow::reward;
use hashmix::flow::reward::txs::SweepPath;
use hashmix::party::Seat;
use hashmix::rehearsal::reorg::replace;
use hashmix::store::Store;

use crate::world::{FULL, INSTALLMENT, RATE, SEATS, START, Table, anybody, wallet};

fn departed(reports: &[Report]) -> Vec<&Departure> {
    reports
        .iter()
        .filter_map(|report| match report {
            Report::Departed(departure) => Some(departure),
            _ => None,
        })
        .collect()
}

/// Rewrites the last blocks; the new ones are nobody's and hold nothing.
fn reorg(table: &Table, depth: u32) {
    let payouts = |value| vec![TxOut { value, script_pubkey: anybody().to_p2wsh() }];
    replace(&*table.node, depth, &payouts).unwrap();
}

fn height_of(table: &mut Table, seat: Seat, txid: Txid) -> Option<u32> {
    let facts = table.engine(seat).facts().unwrap();
    facts.transactions.get(&txid).and_then(|seen| seen.height)
}

#[test]
fn a_settlement_that_leaves_its_block_waits_and_comes_back() {
    let mut table = Table::funded();
    table.two_installments();
    let reports = table.engine(Seat::Miner).publish_state().unwrap();
    table.note(&reports);
    table.node.settle().unwrap();
    let txid = table.sent[0].tx.compute_txid();
    for depth in 1..=6 {
        // As deep as the reorg will reach: it lies in the lowest of the blocks that leave.
        table.elsewhere(depth);
        let height = table.node.height().unwrap() - depth + 1;
        assert_eq!(height_of(&mut table, Seat::Holder, txid), Some(height));
        for seat in SEATS {
            table.step(seat);
        }
        table.leave(Seat::Holder);
        reorg(&table, depth);
        table.sit(Seat::Holder);
        for seat in SEATS {
            let reports = table.step(seat);
            let reorgs = reports.iter().filter(|report| matches!(report, Report::Reorganised(_)));
            assert_eq!(reorgs.count(), 1, "{seat}, depth {depth}");
            let waits = Departure { txid, height, fate: Fate::Waits };
            assert_eq!(departed(&reports), [&waits], "{seat}, depth {depth}");
            assert!(departed(&table.step(seat)).is_empty(), "told once");
        }
        assert_eq!(table.node.mempool().unwrap(), [txid]);
    }
    table.elsewhere(1);
    let tip = table.node.height().unwrap();
    assert_eq!(height_of(&mut table, Seat::Holder, txid), Some(tip));
    assert_eq!(table.sent.len(), 1, "nothing was sent twice: {:?}", table.story());
    let facts = table.engine(Seat::Holder).facts().unwrap();
    let Progress::Open(coin) = progress(&table.terms, &facts).unwrap() else { panic!("open") };
    assert_eq!(coin.txout().value.to_sat(), 4 * INSTALLMENT);
}

#[test]
fn a_coinbase_that_leaves_is_gone_with_the_sweep_that_hung_on_it() {
    let mut table = Table::funded();
    table.deliver(0, FULL);
    table.everybody();
    let last = *table.terms.calendar().slice_blocks(0).unwrap().end();
    table.elsewhere_to(last + 99);
    table.engine(Seat::Holder).ask_sweep(SweepPath::HolderRuling, RATE).unwrap();
    table.everybody();
    let sweep = table.sent.iter().find(|sent| sent.title == "sweep").unwrap().tx.clone();
    table.elsewhere(1);
    table.everybody();
    let rewards: Vec<Txid> = sweep.input.iter().map(|i| i.previous_output.txid).collect();
    assert_eq!(rewards.len(), 12);
    let swept = sweep.output[0].value;
    let before = table.engine(Seat::Holder).balance().unwrap();

    // Every block of the term is rewritten, and the one before it, on which the shares were found;
    // the escrow's funding lies below.
    let depth = table.node.height().unwrap() - (START - 2);
    reorg(&table, depth);
    table.restart(Seat::Holder);
    let reports = table.step(Seat::Holder);
    let departed = departed(&reports);
    for txid in &rewards {
        let of = departed.iter().find(|departure| departure.txid == *txid);
        assert_eq!(of.map(|departure| departure.fate), Some(Fate::Void), "{txid}");
    }
    let of = departed.iter().find(|departure| departure.txid == sweep.compute_txid());
    let Some(Departure { fate: Fate::Hangs(coinbase), .. }) = of else { panic!("{of:?}") };
    assert!(rewards.contains(coinbase));

    // Gone from the facts, from what can be swept, from the verdict and from the wallet.
    let facts = table.engine(Seat::Holder).facts().unwrap();
    assert!(rewards.iter().all(|txid| !facts.transactions.contains_key(txid)));
    assert!(reward::state::sweepable(&table.terms, &facts).unwrap().is_empty());
    let evidence = table.engine(Seat::Holder).contract().evidence().clone();
    let outcome =
        hashmix::flow::escrow::outcome::judge(&table.terms, &facts, &evidence, 0).unwrap();
    assert_eq!(outcome.periods[0].shares, 0, "its work proves nothing on this chain");
    let after = table.engine(Seat::Holder).balance().unwrap();
    let his = wallet(Seat::Holder, &mut Store::open_in_memory().unwrap()).1;
    let lost = if sweep.output[0].script_pubkey == his { swept } else { Amount::ZERO };
    assert_eq!(before.confirmed - lost, after.confirmed);
    // The price never hung on them.
    assert!(matches!(progress(&table.terms, &facts).unwrap(), Progress::Open(_)));
}

#[test]
fn a_payment_that_a_crash_kept_back_is_sent_at_the_next_step() {
    let mut table = Table::funded();
    table.deliver(0, FULL);
    table.leave(Seat::Miner);
    // The crash: the payment is committed, and the network has never seen it.
    let contract = table.terms.id().unwrap();
    let mut store = Store::open(table.dir.path().join("miner.sqlite")).unwrap();
    let (mut his, _) = wallet(Seat::Miner, &mut store);
    let electrum = hashmix::chain::electrum::Electrum::connect(
        &table.node.electrum_url(),
        bitcoin::Network::Regtest,
    );
    let mut chain = hashmix::header_sync::GuardedChain::new(electrum.unwrap());
    his.sync(&mut chain, &mut store).unwrap();
    let payout = table.terms.reward.miner.payout_script();
    let output = TxOut { value: Amount::from_sat(10_000), script_pubkey: payout };
    let tx: Transaction = his.fund(&[output], FeeRate::BROADCAST_MIN).unwrap();
    let changes = his.take_staged();
    store.append(&contract.0, &[("proof", serialize(&tx))], changes.as_ref()).unwrap();
    drop((store, his));
    assert!(table.node.mempool().unwrap().is_empty());

    table.sit(Seat::Miner);
    table.step(Seat::Miner);
    assert_eq!(table.node.mempool().unwrap(), [tx.compute_txid()]);
    table.elsewhere(1);
    table.step(Seat::Miner);
    assert!(table.node.mempool().unwrap().is_empty(), "in a block it is left alone");
}
