//! The same deal twice: once in one piece, once with every process ending after every step.

use std::fs;

use bitcoin::Txid;
use hashmix::flow::Event;
use hashmix::flow::dispute::state::{Event as DisputeEvent, Opening};
use hashmix::flow::escrow::coins::{Progress, progress};
use hashmix::flow::word::Word;
use hashmix::party::Seat;
use hashmix::store::Store;

use crate::world::{FULL, RATE, SEATS, Table, signer};

/// States, a published state, a short period, a ruling for the miner, and a close for the holder.
fn deal(restless: bool) -> Vec<(&'static str, Txid)> {
    let mut table = Table::funded();
    table.restless = restless;
    table.two_installments();
    let reports = table.engine(Seat::Miner).publish_state().unwrap();
    table.note(&reports);
    table.deliver(2, FULL / 2);
    table.everybody();
    table.leave(Seat::Holder);
    table.ripen(2);
    table.step(Seat::Miner);
    table.dispute(Seat::Miner, 2);
    table.ripen(5);
    table.sit(Seat::Holder);
    table.leave(Seat::Miner);
    table.everybody();
    table.dispute(Seat::Holder, 5);
    table.elsewhere(1);
    let facts = table.engine(Seat::Holder).facts().unwrap();
    let ended = progress(&table.terms, &facts).unwrap();
    assert!(matches!(ended, Progress::Ended { height: Some(_), .. }), "{ended:?}");
    table.story()
}

#[test]
fn restarts_change_no_transaction() {
    let once = deal(false);
    let titles: Vec<_> = once.iter().map(|(title, _)| *title).collect();
    assert_eq!(titles, ["settlement", "ruling", "closing ruling"]);
    assert_eq!(deal(true), once);
}

#[test]
fn a_word_that_a_crash_kept_back_is_posted_at_the_next_opening() {
    let mut table = Table::funded();
    table.two_installments();
    // The crash: the word is committed, and nobody has it.
    table.leave(Seat::Miner);
    let outpoint = {
        let facts = table.engine(Seat::Holder).facts().unwrap();
        match progress(&table.terms, &facts).unwrap() {
            Progress::Open(coin) => coin.outpoint,
            other => panic!("{other:?}"),
        }
    };
    let opening = Opening { requester: Seat::Miner, outpoint, period: 1, sat_per_vb: RATE };
    let event = Event::Dispute(DisputeEvent::Opened(opening));
    let contract = table.terms.id().unwrap();
    let message = Word::message(contract, Seat::Miner, &event).unwrap();
    let signature = signer(Seat::Miner).sign_digest(message).unwrap();
    let word = Word::new(contract, Seat::Miner, event, signature);
    let text = word.to_json().unwrap().into_bytes();
    let mut store = Store::open(table.dir.path().join("miner.sqlite")).unwrap();
    store.append(&contract.0, &[("word", text.clone())], None).unwrap();
    drop(store);

    table.sit(Seat::Miner);
    for seat in SEATS.into_iter().filter(|seat| *seat != Seat::Miner) {
        let inbox = table.names(seat, "inbox");
        let [name] = &inbox[..] else { panic!("one new letter for {seat}: {inbox:?}") };
        assert_eq!(fs::read(table.folder(seat, "inbox").join(name)).unwrap(), text);
    }
    // What has arrived is not posted again.
    table.everybody();
    table.restart(Seat::Miner);
    assert!(table.names(Seat::Holder, "inbox").is_empty());
}
