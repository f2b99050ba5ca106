//! What blocks held leaves them again: everybody is told, nobody acts on what is gone, and what may
//! return does.

use bitcoin::{Amount, TxOut, Txid};
use hashmix::engine::Report;
use hashmix::facts::{Departure, Fate};
use hashmix::flow::escrow::coins::{Progress, progress};
use hashmix::flow::reward;
use hashmix::flow::reward::txs::SweepPath;
use hashmix::party::Seat;
use hashmix::rehearsal::reorg::replace;

use crate::world::{FULL, INSTALLMENT, RATE, SEATS, START, Table, anybody};

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

/// The transaction is in the last block; a reorg takes it out, everybody is told and does nothing
/// else, and the next block takes it in again.
fn tremble(table: &mut Table, txid: Txid, depth: u32) {
    let height = table.node.height().unwrap() + 1 - depth;
    let there: Vec<Seat> = SEATS.into_iter().filter(|seat| table.sits_at(*seat)).collect();
    for seat in &there {
        table.step(*seat);
    }
    let before = table.sent.len();
    reorg(table, depth);
    for seat in &there {
        let reports = table.step(*seat);
        let told = departed(&reports);
        let waits = Departure { txid, height, fate: Fate::Waits };
        assert!(told.contains(&&waits), "{seat}: {told:?}");
        let said = |report: &&Report| matches!(report, Report::Said(_) | Report::Sent(_));
        assert_eq!(reports.iter().find(said), None, "{seat} acts on what is not in a block");
    }
    assert_eq!(table.sent.len(), before);
    table.elsewhere(1);
    let tip = table.node.height().unwrap();
    assert_eq!(height_of(table, there[0], txid), Some(tip));
    for seat in &there {
        table.step(*seat);
    }
}

#[test]
fn whatever_was_sent_may_leave_its_block_and_the_deal_goes_on() {
    let mut table = Table::funded();
    let facts = table.engine(Seat::Holder).facts().unwrap();
    let Progress::Open(coin) = progress(&table.terms, &facts).unwrap() else { panic!("open") };
    let funding = coin.outpoint.txid;
    let depth = START - facts.transactions[&funding].height.unwrap();
    tremble(&mut table, funding, depth);

    table.deliver(0, FULL);
    table.everybody();
    let proof = table.engine(Seat::Miner).prove_slice(0, RATE).unwrap();
    table.note(&[proof]);
    let trembles = |table: &mut Table, title: &str| {
        table.node.settle().unwrap();
        let last = table.sent.last().unwrap();
        assert_eq!(last.title, title, "{:?}", table.story());
        let txid = last.tx.compute_txid();
        table.elsewhere(1);
        tremble(table, txid, 1);
    };
    trembles(&mut table, "proof");

    table.deliver(1, FULL);
    table.everybody();
    table.ripen(1);
    table.everybody();
    let reports = table.engine(Seat::Miner).publish_state().unwrap();
    table.note(&reports);
    trembles(&mut table, "settlement");

    table.deliver(2, FULL / 2);
    table.everybody();
    table.leave(Seat::Holder);
    table.ripen(2);
    table.step(Seat::Miner);
    table.dispute(Seat::Miner, 2);
    trembles(&mut table, "ruling");

    table.ripen(5);
    table.sit(Seat::Holder);
    table.everybody();
    table.leave(Seat::Miner);
    table.dispute(Seat::Holder, 5);
    trembles(&mut table, "closing ruling");

    let last = *table.terms.calendar().slice_blocks(2).unwrap().end();
    let tip = table.node.height().unwrap();
    table.elsewhere_to(tip.max(last + 99));
    table.engine(Seat::Holder).ask_sweep(SweepPath::HolderRuling, RATE).unwrap();
    table.everybody();
    trembles(&mut table, "sweep");
    let facts = table.engine(Seat::Holder).facts().unwrap();
    assert!(reward::state::sweepable(&table.terms, &facts).unwrap().is_empty());
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
    assert_eq!((before.confirmed, before.pending), (swept, Amount::ZERO));
    assert_eq!((after.confirmed, after.pending), (Amount::ZERO, Amount::ZERO));
    // The price never hung on them.
    assert!(matches!(progress(&table.terms, &facts).unwrap(), Progress::Open(_)));
}
