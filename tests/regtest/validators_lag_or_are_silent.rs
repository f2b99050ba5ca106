//! Two of three decide: one alone decides nothing, and one who was away catches up.

use hashmix::engine::{Report, Sent};
use hashmix::party::Seat;

use crate::world::{FULL, INSTALLMENT, RATE, Table, refusals};

/// The miner asks for a ruling on a half-delivered second period.
fn asked(table: &mut Table) {
    table.deliver(0, FULL);
    table.everybody();
    table.deliver(1, FULL / 2);
    table.everybody();
    table.ask_for_a_ruling(1);
}

/// The miner publishes the last state: the one transaction that was sent.
fn published(table: &mut Table) -> Sent {
    let reports = table.engine(Seat::Miner).publish_state().unwrap();
    table.note(&reports);
    let [sent] = &table.sent[..] else { panic!("{:?}", table.story()) };
    sent.clone()
}

#[test]
fn one_validator_rules_nothing_and_the_second_finishes_it() {
    let mut table = Table::funded();
    table.leave(Seat::Validator(2));
    asked(&mut table);
    table.leave(Seat::Validator(1));
    table.everybody();
    table.elsewhere(30);
    table.everybody();
    assert!(table.sent.is_empty(), "one of three has receipted: nothing is even opened");
    // The one who was away all the time reads everything at once.
    table.sit(Seat::Validator(2));
    let reports = table.step(Seat::Validator(2));
    assert!(refusals(&reports).is_empty(), "{reports:?}");
    table.elsewhere(table.terms.delays.answer);
    table.step(Seat::Validator(0));
    table.step(Seat::Miner);
    assert!(table.sent.is_empty(), "one ruling is too few");
    table.everybody();
    let [sent] = &table.sent[..] else { panic!("{:?}", table.story()) };
    assert_eq!(sent.signers, [Seat::Miner, Seat::Validator(0), Seat::Validator(2)]);
    let earned = INSTALLMENT * 3 / 2;
    assert_eq!(sent.tx.output[1].value.to_sat(), 6 * INSTALLMENT - earned);
    assert_eq!(sent.tx.output[2].value.to_sat(), 20_000);
}

#[test]
fn without_k_receipts_in_time_a_slice_earns_nothing() {
    let mut table = Table::funded();
    for place in [1, 2] {
        table.leave(Seat::Validator(place));
    }
    table.two_installments();
    // Back, but too late for receipts: the certificates are not sealed.
    for place in [1, 2] {
        table.sit(Seat::Validator(place));
    }
    table.elsewhere(20);
    table.everybody();
    // The window has failed: the only state is a close that refunds the whole price.
    let sent = published(&mut table);
    assert_eq!(sent.title, "close");
    let [refund] = &sent.tx.output[..] else { panic!("one output") };
    assert_eq!(refund.script_pubkey, table.terms.reward.holder.payout_script());
    assert_eq!(refund.value.to_sat(), 6 * INSTALLMENT - sent.fee.to_sat());
}

#[test]
fn a_validator_whose_folder_was_full_of_words_takes_them_in_one_step() {
    let mut table = Table::funded();
    table.leave(Seat::Validator(2));
    table.two_installments();
    table.sit(Seat::Validator(2));
    let waiting = table.names(Seat::Validator(2), "inbox").len();
    let reports = table.step(Seat::Validator(2));
    let heard = reports.iter().filter(|report| matches!(report, Report::Heard(..))).count();
    assert_eq!(heard, waiting);
    assert!(table.names(Seat::Validator(2), "inbox").is_empty());
    assert!(table.names(Seat::Validator(2), "refused").is_empty());
}

#[test]
fn past_silent_validators_a_digest_in_the_chain_seals_a_slice() {
    let mut table = Table::funded();
    for place in [1, 2] {
        table.leave(Seat::Validator(place));
    }
    table.deliver(0, FULL);
    let report = table.engine(Seat::Miner).prove_slice(0, RATE).unwrap();
    let Report::Sent(proof) = report else { panic!("{report:?}") };
    assert!(proof.tx.output[0].script_pubkey.is_op_return());
    table.elsewhere(1);
    table.everybody();
    table.ripen(0);
    table.everybody();
    let sent = published(&mut table);
    assert_eq!(sent.title, "settlement");
    assert_eq!(sent.tx.output[0].value.to_sat(), INSTALLMENT - sent.fee.to_sat());
}

#[test]
fn a_slice_that_was_not_certified_cannot_be_proven() {
    let mut table = Table::funded();
    let refused = table.engine(Seat::Miner).prove_slice(0, RATE).unwrap_err();
    assert_eq!((refused.rule(), refused.exit_code()), ("engine-possible", 2));
}

#[test]
fn the_miner_asks_to_close_and_the_next_settlement_does() {
    let mut table = Table::funded();
    table.deliver(0, FULL);
    table.engine(Seat::Miner).ask_to_close().unwrap();
    table.everybody();
    table.ripen(0);
    table.everybody();
    let sent = published(&mut table);
    assert_eq!(sent.title, "close");
    assert_eq!(sent.tx.output[0].value.to_sat(), INSTALLMENT - sent.fee.to_sat());
    assert_eq!(sent.tx.output[1].value.to_sat(), 5 * INSTALLMENT);
}
