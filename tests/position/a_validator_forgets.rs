//! A store that is an old copy signs nothing; and nobody signs two issues.

use hashmix::engine::issuing::Told;
use hashmix::flow::position::proof::Stage;
use hashmix::flow::position::word::Event;
use hashmix::rehearsal::position as cast;

use crate::town::{HEIGHTS, SHARES, Town, all_well, enrol, proven};

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
        let shares = town.mine(&[terms.clone()], stage, SHARES);
        miner.say(proven(&terms, stage, &shares)).unwrap();
        // Whoever gives the first receipt grants when he has heard of the second.
        (0..2).for_each(|_| all_well(&mut validators));
    }
    let (_, funding) = town.fund(&[terms.clone()], true);
    town.blocks(1);
    miner.say(Event::Funded { funding, batch: Vec::new() }).unwrap();
    for _ in 0..2 {
        let told = old.step().unwrap();
        assert!(!told.iter().any(|told| matches!(told, Told::Said(_))), "{told:?}");
        let copied = |told: &&Told| {
            matches!(told, Told::Refused(_, error) if error.rule() == "position-copy")
        };
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
