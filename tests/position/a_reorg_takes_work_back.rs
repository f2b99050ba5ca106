//! What was proven is judged again on the chain on which the issue is signed.

use std::slice::from_ref;

use bitcoin::TxOut;
use hashmix::engine::issuing::Issuing;
use hashmix::flow::position::word::Event;
use hashmix::rehearsal::people;
use hashmix::rehearsal::reorg::replace;

use crate::town::{HEIGHTS, Town, all_well, step};

/// Everything is said but for the signatures, and a block on the binding holds the funding.
fn funded() -> (Town, Vec<Issuing>) {
    let mut town = Town::new();
    let (terms, mut miner, validators) = town.ready(1, HEIGHTS);
    let (_, funding) = town.fund(from_ref(&terms), true);
    town.blocks(1);
    miner.say(Event::Funded { funding, batch: Vec::new() }).unwrap();
    (town, validators)
}

fn reorg(town: &Town, depth: u32) {
    let script = people::network_script().unwrap();
    let payee = |value| vec![TxOut { value, script_pubkey: script.clone() }];
    replace(&*town.world, depth, &payee).unwrap();
}

#[test]
fn a_reorg_that_leaves_enough_shares_delays_the_issue_and_no_more() {
    let (town, mut validators) = funded();
    // Of twelve blocks with 15 shares each, ten keep their parent; the funding waits again.
    reorg(&town, 9);
    assert_eq!(step(&mut validators), ["position-issue-funding"; 3]);
    town.blocks(1);
    all_well(&mut validators);
    assert!(validators[2].turn().unwrap().what.starts_with("a block is to hold the issue"));
}

#[test]
fn a_reorg_that_leaves_too_few_shares_takes_the_issue() {
    let (town, mut validators) = funded();
    // Two blocks are left, with 30 shares of 180.
    reorg(&town, 17);
    town.blocks(1);
    assert_eq!(step(&mut validators), ["position-capacity"; 3]);
    for one in &mut validators {
        let facts = one.facts().unwrap();
        let refused = one.state().issue(&one.terms().clone(), &facts).unwrap_err();
        assert_eq!(
            (refused.rule(), refused.fault().found.as_str()),
            ("position-capacity", "30 shares")
        );
    }
}
