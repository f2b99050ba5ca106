//! The shared folder belongs to nobody alone: somebody who makes a part of it useless harms himself,
//! and keeps nobody else from speaking or from being heard.

use std::fs;

use hashmix::engine::Report;
use hashmix::flow::Event;
use hashmix::flow::dispute::state::Event as DisputeEvent;
use hashmix::party::Seat;

use crate::world::{FULL, RATE, Table, refusals};

/// Puts a file in the place of a folder.
fn block(table: &Table, seat: Seat, part: &str) {
    let folder = table.folder(seat, part);
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "in the way").unwrap();
}

#[test]
fn a_word_reaches_all_whose_inbox_can_be_written_and_the_others_once_it_can() {
    let mut table = Table::funded();
    table.two_installments();
    block(&table, Seat::Miner, "inbox");
    table.engine(Seat::Holder).open_dispute(1, RATE).unwrap();
    let reports = table.step(Seat::Holder);
    assert!(refusals(&reports).iter().all(|error| error.rule() == "relay-folder"), "{reports:?}");
    assert!(!refusals(&reports).is_empty(), "and it is told");
    for place in 0..3 {
        let validator = Seat::Validator(place);
        let names = table.names(validator, "inbox");
        assert!(names.iter().any(|name| name.contains("opening")), "{validator}: {names:?}");
        let receipted = |report: &Report| {
            matches!(report, Report::Said(Event::Dispute(DisputeEvent::Receipted(_))))
        };
        assert!(table.step(validator).iter().any(receipted), "{validator} receipts it");
    }
    // A restart comes no further, and does not keep him from his contract.
    table.restart(Seat::Holder);
    fs::remove_file(table.folder(Seat::Miner, "inbox")).unwrap();
    table.step(Seat::Holder);
    let names = table.names(Seat::Miner, "inbox");
    assert!(names.iter().any(|name| name.contains("opening")), "{names:?}");
}

#[test]
fn a_letter_that_cannot_be_moved_stops_nothing() {
    let mut table = Table::funded();
    table.deliver(0, FULL);
    let seat = Seat::Validator(0);
    block(&table, seat, "dossier");
    block(&table, seat, "refused");
    table.drop_letter(seat, "garbage", b"garbage");
    let reports = table.step(seat);
    let said = reports.iter().filter(|report| matches!(report, Report::Said(_))).count();
    assert_eq!(said, 1, "the certificate is receipted all the same: {reports:?}");
    let rules: Vec<_> = refusals(&reports).iter().map(|error| error.rule()).collect();
    assert!(rules.contains(&"relay-folder") && rules.contains(&"word-form"), "{rules:?}");
    // What was taken is not taken twice.
    assert!(!table.step(seat).iter().any(|report| matches!(report, Report::Heard(..))));
}
