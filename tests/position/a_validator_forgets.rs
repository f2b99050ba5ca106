//! A store that is an old copy signs nothing; and nobody signs two issues.

use std::slice::from_ref;

use hashmix::engine::issuing::Told;
use hashmix::flow::position::proof::Stage;
use hashmix::flow::position::word::Event;
use hashmix::rehearsal::position as cast;

use crate::town::{HEIGHTS, SHARES, Town, all_well, enrol, proven, step};

#[test]
fn an_old_copy_signs_nothing_and_the_others_go_on() {
    let mut town = Town::new();
    let terms = cast::terms(1, HEIGHTS).unwrap();
    let (mut miner, mut validators) = (town.miner(1, &terms), town.validators(1, &terms));
    // The oldest copy of all: nothing is in it.
    let copy = town.file("old copy");
    enrol(&mut miner, 1);
    all_well(&mut validators);
    validators.truncate(2);
    let mut old = town.validator(2, 1, &terms, &copy);
    miner.say(Event::Asked).unwrap();
    for stage in Stage::BOTH {
        let shares = town.mine(from_ref(&terms), stage, SHARES);
        miner.say(proven(&terms, stage, &shares)).unwrap();
        // Whoever gives the first receipt grants when he has heard of the second.
        (0..2).for_each(|_| all_well(&mut validators));
    }
    let (_, funding) = town.fund(from_ref(&terms), true);
    town.blocks(1);
    miner.say(Event::Funded { funding, batch: Vec::new() }).unwrap();
    for _ in 0..2 {
        let told = old.step().unwrap();
        assert!(!told.iter().any(|told| matches!(told, Told::Said(_))), "{told:?}");
        let copied = |told: &&Told| matches!(told, Told::Refused(_, error) if error.rule() == "position-copy");
        assert!(told.iter().find(copied).is_some(), "{told:?}");
        // Another process finds the same.
        old = town.validator(2, 1, &terms, &copy);
    }
    all_well(&mut validators);
    town.blocks(1);
    let told = miner.step().unwrap();
    assert!(!told.is_empty());
    assert!(miner.turn().unwrap().what.starts_with("issued at height"));
}

#[test]
fn one_output_pays_for_no_two_issues() {
    let mut town = Town::new();
    let [(one, mut first, mut table), (other, mut second, mut tables)] = town.ready_farm(HEIGHTS);
    // A payment that marks both miners; the first validator alone has signed for one of them.
    let funding = town.fund_for(&one, &[one.clone(), other]);
    town.blocks(1);
    for miner in [&mut first, &mut second] {
        miner.say(Event::Funded { funding, batch: Vec::new() }).unwrap();
    }
    all_well(&mut table[..1]);
    assert_eq!(step(&mut tables[..1]), ["position-issue-once"]);
}

#[test]
fn a_store_copied_back_gives_no_receipt_once_more_was_said() {
    let town = Town::new();
    let (terms, mut miner, mut validators) = town.asked(1, HEIGHTS);
    let shares = town.mine(from_ref(&terms), Stage::Onboarding, SHARES);
    // The copy knows of the registration, and not of the receipt.
    validators.pop();
    let copy = town.file("copy");
    std::fs::copy(town.file("validator 2"), &copy).unwrap();
    let mut last = town.validator(2, 1, &terms, &town.file("validator 2"));
    miner.say(proven(&terms, Stage::Onboarding, &shares)).unwrap();
    all_well(std::slice::from_mut(&mut last));
    let mut old = [town.validator(2, 1, &terms, &copy)];
    let first = Event::Granted { lock: Stage::Binding.script(&terms).unwrap() };
    all_well(&mut validators);
    assert_eq!(old[0].say(first).unwrap_err().rule(), "position-copy");
    assert!(step(&mut old).iter().all(|rule| *rule == "position-copy"));
    // The newest store goes on.
    all_well(std::slice::from_mut(&mut last));
    let turn = miner.turn().unwrap();
    assert!(turn.what.starts_with("mine heights"), "{}", turn.what);
}
