//! A whole dispute, ruled by two of three who were asked by files or over HTTP.

use hashmix::party::Seat;

use crate::town::{Town, Way, command, registration};
use crate::world::INSTALLMENT;

/// The ruling is sent and pays what period 1 and half of period 2 earned.
fn ruled(town: &mut Town) {
    town.dispute();
    assert!(town.table.sent.is_empty(), "nobody rules before the time to answer is over");
    town.table.elsewhere(town.table.terms.delays.answer);
    town.round();
    let [sent] = &town.table.sent[..] else { panic!("{:?}", town.table.story()) };
    assert_eq!(sent.signers, [Seat::Miner, Seat::Validator(0), Seat::Validator(2)]);
    let earned = INSTALLMENT * 3 / 2;
    assert_eq!(sent.tx.output[1].value.to_sat(), 6 * INSTALLMENT - earned);
}

#[test]
fn two_of_three_desks_rule_and_the_third_is_not_missed() {
    let mut town = Town::registered();
    town.ways[1] = Way::Away;
    ruled(&mut town);
    let id = town.id();
    let standing = town.desk(0).standing(id).unwrap();
    assert_eq!(standing.last_ruling.unwrap().earned.to_sat(), INSTALLMENT * 3 / 2);
    assert_eq!((standing.phase, standing.trouble), (crate::requests::OPEN, None));
    assert_eq!(standing.escrow.unwrap().index, 1, "the ruling waits in the mempool");
}

#[test]
fn two_of_three_rule_by_files_without_any_server() {
    let mut town = Town::funded();
    let file = town.file("registration.json", &registration(&town.table).to_json().unwrap());
    for place in [0, 2] {
        let arguments = town.desk_arguments(place);
        let out = command(&["validator", "register", &file], &arguments);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        town.ways[usize::from(place)] = Way::Command;
    }
    ruled(&mut town);
    let out = command(&["validator", "status"], &town.desk_arguments(0));
    let told = String::from_utf8(out.stdout).unwrap();
    assert!(told.contains(&town.id().to_string()), "{told}");
    assert!(told.contains("15000000 sat earned through period 2"), "{told}");
}
