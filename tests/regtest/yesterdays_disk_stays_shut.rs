//! Somebody puts yesterday's disk into a validator's machine and asks him for the opposite of what he
//! has signed since.

use std::fs;

use hashmix::flow::Event;
use hashmix::flow::dispute::state::Event as DisputeEvent;
use hashmix::flow::escrow::txs::Outcome;
use hashmix::flow::word::Word;
use hashmix::party::Seat;

use crate::world::{FULL, INSTALLMENT, Table, refusals};

const V0: Seat = Seat::Validator(0);
const OTHERS: [Seat; 2] = [Seat::Validator(1), Seat::Validator(2)];

/// What a validator has ruled, by his own store.
fn ruled(table: &mut Table, seat: Seat) -> Vec<Outcome> {
    let id = table.terms.id().unwrap();
    let entries = table.engine(seat).store().entries(&id.0).unwrap();
    let words = entries.iter().filter(|entry| entry.kind == "word");
    let words = words.map(|entry| Word::from_json(&String::from_utf8_lossy(&entry.body)).unwrap());
    let his = words.filter(|word| word.from == seat);
    his.filter_map(|word| match word.event {
        Event::Dispute(DisputeEvent::Ruled { outcome, .. }) => Some(outcome),
        _ => None,
    })
    .collect()
}

/// Letters that the seat has taken come once more: those whose names hold one of `parts`.
fn again(table: &Table, seat: Seat, parts: &[&str]) {
    for name in table.names(seat, "dossier") {
        if parts.iter().any(|part| name.contains(part)) {
            let text = fs::read(table.folder(seat, "dossier").join(&name)).unwrap();
            table.drop_letter(seat, &name, &text);
        }
    }
}

/// The rules by which a step of the seat ended in refusals.
fn refused(table: &mut Table, seat: Seat) -> Vec<&'static str> {
    let reports = table.step(seat);
    refusals(&reports).iter().map(|error| error.rule()).collect()
}

#[test]
fn a_validator_with_yesterdays_disk_stays_shut_until_he_takes_his_journal_back() {
    let mut table = Table::funded();
    table.deliver(0, FULL);
    table.everybody();
    // Yesterday's disk: the second certificate is not on it.
    table.leave(V0);
    let disk = table.dir.path().join("validator-0.sqlite");
    let yesterday = fs::read(&disk).unwrap();
    table.sit(V0);
    table.deliver(1, FULL / 2);
    table.everybody();
    table.ask_for_a_ruling(1);
    table.everybody();
    // The miner does not finish what is ruled: the output stays there to be ruled on again.
    table.leave(Seat::Miner);
    table.elsewhere(table.terms.delays.answer);
    table.everybody();
    let just = ruled(&mut table, V0);
    assert_eq!(just.iter().map(|o| o.earned.to_sat()).collect::<Vec<_>>(), [INSTALLMENT * 3 / 2]);

    table.leave(V0);
    for tail in ["-wal", "-shm"] {
        let _ = fs::remove_file(table.dir.path().join(format!("validator-0.sqlite{tail}")));
    }
    fs::write(&disk, &yesterday).unwrap();
    table.sit(V0);
    again(&table, V0, &["-opening-"]);
    assert_eq!(refused(&mut table, V0), [""; 0], "he receipts, and enters what he now believes");
    assert!(ruled(&mut table, V0).is_empty());
    for seat in OTHERS {
        table.step(seat);
    }
    assert_eq!(refused(&mut table, V0), ["policy-memory-behind"]);
    table.restart(V0);
    table.elsewhere(1);
    assert_eq!(refused(&mut table, V0), ["policy-memory-behind"], "nor after a restart");

    // With his journal back he knows what he is bound to, and still lacks the certificate.
    table.engine(V0).restore_journal().unwrap();
    assert_eq!(refused(&mut table, V0), ["policy-memory-falls"]);
    assert!(ruled(&mut table, V0).is_empty());
    let twice = table.engine(V0).restore_journal().unwrap_err();
    assert_eq!((twice.rule(), twice.exit_code()), ("policy-memory-behind", 2));

    // With the certificate he rules what he has ruled before.
    again(&table, V0, &["-certificate-", "-receipt-"]);
    assert_eq!(refused(&mut table, V0), [""; 0]);
    assert!(ruled(&mut table, V0).is_empty(), "he asks once more who holds it");
    for seat in OTHERS {
        table.step(seat);
    }
    assert_eq!(refused(&mut table, V0), [""; 0]);
    assert_eq!(ruled(&mut table, V0), just);
}
