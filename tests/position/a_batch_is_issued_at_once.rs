//! Ten positions of one farm: one coinbase proves them all, each by its part; one transaction issues
//! them.

use hashmix::engine::issuing::Issuing;
use hashmix::flow::position::coins;
use hashmix::flow::position::proof::Stage;
use hashmix::flow::position::terms::PositionTerms;
use hashmix::flow::position::txs::{self, Funding};
use hashmix::flow::position::word::Event;
use hashmix::rehearsal::position as cast;

use crate::town::{HEIGHTS, Town, all_well, enrol, proven, step};

/// Enough for the one-sided test, and little to grind.
const SHARES: usize = 12;

#[test]
fn ten_positions_of_a_farm_are_issued_in_one_transaction() {
    let mut town = Town::new();
    let numbers = 1..=10;
    let batch: Vec<PositionTerms> =
        numbers.clone().map(|number| cast::terms(number, HEIGHTS).unwrap()).collect();
    let each = || numbers.clone().zip(&batch);
    let mut miners: Vec<Issuing> = each().map(|(n, terms)| town.miner(n, terms)).collect();
    let mut tables: Vec<Vec<Issuing>> =
        each().map(|(n, terms)| town.validators(n, terms)).collect();
    for ((number, miner), table) in numbers.clone().zip(&mut miners).zip(&mut tables) {
        enrol(miner, number);
        all_well(table);
        miner.say(Event::Asked).unwrap();
    }
    // Paid early: no block comes between the receipts for the binding and the issue.
    let (_, funding) = town.fund(&batch, true);
    for stage in Stage::BOTH {
        let shares = town.mine(&batch, stage, SHARES);
        for ((terms, miner), table) in batch.iter().zip(&mut miners).zip(&mut tables) {
            miner.say(proven(terms, stage, &shares)).unwrap();
            if stage == Stage::Onboarding {
                all_well(table);
            }
        }
    }
    // Two rounds: those who gave the first receipt learn of the second in the next.
    (0..2).for_each(|_| all_well(&mut tables[0]));
    let funded = || Event::Funded { funding, batch: batch.clone() };
    miners[0].say(funded()).unwrap();
    assert_eq!(step(&mut tables[0]), ["position-issue-work"; 3], "the others are not judged yet");
    for table in &mut tables[1..] {
        (0..2).for_each(|_| all_well(table));
    }
    let rules = step(&mut tables[0]);
    assert_eq!(rules, ["position-issue-together"; 3], "nobody else has said that he is in it");
    for (place, table) in tables.iter_mut().enumerate().skip(1) {
        miners[place].say(funded()).unwrap();
        // The last one is complete.
        let rules = step(table);
        assert_eq!(rules.is_empty(), place == 9, "{place}: {rules:?}");
        assert!(rules.iter().all(|rule| *rule == "position-issue-together"), "{rules:?}");
    }
    town.blocks(1);
    let draft = txs::issue(&batch, funding).unwrap();
    let block = town.world.block(town.world.height().unwrap()).unwrap();
    let issue = block.txdata.iter().find(|tx| tx.compute_txid() == draft.txid()).unwrap();
    for (output, terms) in issue.output.iter().zip(&batch) {
        assert_eq!(output.script_pubkey, coins::issued_seal(terms).unwrap().script_pubkey);
    }
    println!("issue of ten by 2 of 3: {} vB, {} each", issue.vsize(), issue.vsize() / 10);
    // One more seal, one more output: 43 vB each beside the 255 of one alone.
    assert_eq!(issue.vsize(), 255 + 9 * 43);
    // Whoever comes to another one's dossier finds it issued.
    for miner in &mut miners {
        miner.step().unwrap();
        assert!(miner.turn().unwrap().what.starts_with("issued at height"));
    }
}

/// Two positions of a farm, a payment for both, and the shares of the binding; the second one has not
/// shown them yet.
#[expect(clippy::type_complexity, reason = "a miner and a table for each")]
fn two() -> (Town, [PositionTerms; 2], [Issuing; 2], [Vec<Issuing>; 2], Funding, Event) {
    let mut town = Town::new();
    let batch = [1, 2].map(|number| cast::terms(number, HEIGHTS).unwrap());
    let mut miners = [1, 2].map(|number| town.miner(number, &batch[number as usize - 1]));
    let mut tables = [1, 2].map(|number| town.validators(number, &batch[number as usize - 1]));
    for ((number, miner), table) in [1, 2].into_iter().zip(&mut miners).zip(&mut tables) {
        enrol(miner, number);
        all_well(table);
        miner.say(Event::Asked).unwrap();
    }
    let (_, funding) = town.fund(&batch, true);
    let shares = town.mine(&batch, Stage::Onboarding, SHARES);
    for ((terms, miner), table) in batch.iter().zip(&mut miners).zip(&mut tables) {
        miner.say(proven(terms, Stage::Onboarding, &shares)).unwrap();
        (0..2).for_each(|_| all_well(table));
    }
    let shares = town.mine(&batch, Stage::Binding, SHARES);
    miners[0].say(proven(&batch[0], Stage::Binding, &shares)).unwrap();
    (0..2).for_each(|_| all_well(&mut tables[0]));
    let second = proven(&batch[1], Stage::Binding, &shares);
    (town, batch, miners, tables, funding, second)
}

#[test]
fn a_position_that_was_only_onboarded_holds_the_batch_back() {
    let (_town, batch, mut miners, mut tables, funding, second) = two();
    let funded = Event::Funded { funding, batch: batch.to_vec() };
    miners[0].say(funded.clone()).unwrap();
    assert_eq!(step(&mut tables[0]), ["position-issue-work"; 3]);
    // The other one's work is shown and receipted, and he says that he is in it: then all is signed.
    miners[1].say(second).unwrap();
    (0..2).for_each(|_| all_well(&mut tables[1]));
    assert_eq!(step(&mut tables[0]), ["position-issue-together"; 3]);
    miners[1].say(funded).unwrap();
    all_well(&mut tables[1]);
    all_well(&mut tables[0]);
    assert!(miners[0].turn().unwrap().what.starts_with("a block is to hold the issue"));
}

#[test]
fn anothers_position_is_taken_into_no_batch_without_his_word() {
    let (mut town, batch, mut miners, mut tables, funding, second) = two();
    miners[1].say(second).unwrap();
    (0..2).for_each(|_| all_well(&mut tables[1]));
    miners[0].say(Event::Funded { funding, batch: batch.to_vec() }).unwrap();
    assert_eq!(step(&mut tables[0]), ["position-issue-together"; 3]);
    // The other one has his own issue, and his own money for it; the word of the first takes neither.
    let own = town.fund_for(&batch[1], &batch[1..]);
    miners[1].say(Event::Funded { funding: own, batch: Vec::new() }).unwrap();
    assert!(step(&mut tables[1]).iter().all(|rule| *rule == "position-issue-funding"));
    assert_eq!(step(&mut tables[0]), ["position-issue-together"; 3]);
    town.blocks(1);
    all_well(&mut tables[1]);
    assert_eq!(step(&mut tables[0]).len(), 3);
    town.blocks(1);
    assert!(miners[1].turn().unwrap().what.starts_with("issued at height"));
}
