//! Too little work, another's work, an address twice, another's money.

use std::slice::from_ref;

use hashmix::engine::issuing::Told;
use hashmix::flow::position::proof::{Stage, critical, foreseen};
use hashmix::flow::position::word::Event;
use hashmix::party::Role;
use hashmix::rehearsal::position as cast;
use hashmix::sign::record::record;

use crate::town::{HEIGHTS, SHARES, Town, all_well, enrol, proven, rule, slip, step};

#[test]
fn issuing_beyond_what_certificates_prove_is_refused_with_numbers() {
    let town = Town::new();
    let (terms, mut miner, mut validators) = town.asked(1, HEIGHTS);
    let foreseen = foreseen(&terms).unwrap();
    let shares = town.mine(from_ref(&terms), Stage::Onboarding, SHARES);
    let headers = miner.facts().unwrap().headers;
    // Blocks of this town take 600 s each.
    assert_eq!(critical(&terms, Stage::Onboarding, &headers).unwrap(), foreseen);
    let least = usize::try_from(foreseen.shares).unwrap();
    let refused = miner.say(proven(&terms, Stage::Onboarding, &shares[..least - 1])).unwrap_err();
    assert_eq!(refused.rule(), "position-capacity");
    assert_eq!(refused.fault().found, format!("{} shares", least - 1));
    let expected = format!("at least {least} of 180 shares at 10 H/s over 7200 s");
    assert_eq!(refused.fault().expected, expected);
    for more in 0..3 {
        miner.say(proven(&terms, Stage::Onboarding, &shares[..least + more])).unwrap();
    }
    // A list of its own each: without another share.
    let without = |place: usize| {
        let mut some = shares.clone();
        some.remove(place);
        proven(&terms, Stage::Onboarding, &some)
    };
    assert!(shares.len() > least + 2);
    for place in 0..5 {
        miner.say(without(place)).unwrap();
    }
    assert_eq!(miner.say(without(5)).unwrap_err().rule(), "position-again");
    all_well(&mut validators);
}

#[test]
fn anothers_shares_and_an_address_twice_are_refused() {
    let town = Town::new();
    let [one, other] = [1, 2].map(|number| cast::terms(number, HEIGHTS).unwrap());
    let (mut miner, mut validators) = (town.miner(1, &one), town.validators(1, &one));
    enrol(&mut miner, 1);
    all_well(&mut validators);
    miner.say(Event::Asked).unwrap();
    let shares = town.mine(from_ref(&other), Stage::Onboarding, SHARES);
    let refused = miner.say(proven(&one, Stage::Onboarding, &shares)).unwrap_err();
    assert_eq!(refused.rule(), "work-pay-lock");
    let foreign = Event::Onboarded(cast::certificate(&other, Stage::Onboarding, &shares).unwrap());
    assert_eq!(miner.say(foreign).unwrap_err().rule(), "position-certificate");
    let bound = Event::Onboarded(cast::certificate(&one, Stage::Binding, &shares).unwrap());
    assert_eq!(miner.say(bound).unwrap_err().rule(), "position-certificate");

    // The same records, with another number of periods.
    let mut again = one.clone();
    again.delivery.periods = 4;
    again.check().unwrap();
    let dossier = town.dossier(3);
    let mut miner = town.miner_at(1, &again, &dossier);
    enrol(&mut miner, 1);
    let file = |place| town.file(&format!("validator {place}"));
    let mut validators: Vec<_> =
        (0..3).map(|place| town.validator_at(place, 1, &again, &file(place), &dossier)).collect();
    assert_eq!(step(&mut validators), ["position-script"; 3]);
    let mut again = [town.validator_at(0, 1, &again, &file(0), &dossier)];
    assert_eq!(step(&mut again), ["position-script"], "another process remembers it too");
}

#[test]
fn money_that_is_not_the_miners_pays_for_no_issue_of_his() {
    let mut town = Town::new();
    let (terms, mut miner, mut validators) = town.ready(1, HEIGHTS);
    let (_, funding) = town.fund(from_ref(&terms), false);
    town.blocks(1);
    miner.say(Event::Funded { funding, batch: Vec::new() }).unwrap();
    assert_eq!(step(&mut validators), ["position-issue-funding"; 3]);
    let (_, second) = town.fund(from_ref(&terms), true);
    let refused = miner.say(Event::Funded { funding: second, batch: Vec::new() }).unwrap_err();
    assert_eq!(refused.rule(), "position-again");
    town.mine_to(HEIGHTS[2]);
    assert_eq!(step(&mut validators), ["position-issue-early"; 3]);
}

#[test]
fn work_that_is_shown_late_gets_no_receipts() {
    let town = Town::new();
    let (terms, mut miner, mut validators) = town.asked(1, HEIGHTS);
    let shares = town.mine(from_ref(&terms), Stage::Onboarding, SHARES);
    let until = Stage::Onboarding.receipts_until(&terms);
    // The last block at which a receipt is in time: one validator gives his, the others sleep.
    town.mine_to(until);
    miner.say(proven(&terms, Stage::Onboarding, &shares)).unwrap();
    all_well(&mut validators[..1]);
    town.blocks(1);
    all_well(&mut validators);
    let turn = miner.turn().unwrap();
    let expected =
        format!("too late for the onboarding: receipts ended at height {until}; begin anew");
    assert_eq!((turn.by.as_slice(), turn.what), (&[][..], expected));
}

#[test]
fn the_lock_of_one_position_comes_to_no_second_one() {
    let town = Town::new();
    let one = cast::terms(1, HEIGHTS).unwrap();
    // The same keys of everybody, and so the same lock; the address is fresh.
    let mut other = one.clone();
    let payer = cast::miner(5).unwrap();
    let (network, contract) = (one.reward.network, &one.reward.contract);
    let payout = payer.address().into_unchecked();
    let signer = cast::miner(1).unwrap();
    other.reward.miner = record(&signer, Role::Miner, network, contract, payout).unwrap();
    other.check().unwrap();
    let [ours, again] = [&one, &other].map(|terms| Stage::Binding.script(terms).unwrap());
    assert_eq!(ours, again);

    let dossier = town.dossier(3);
    let mut miners = [town.miner(1, &one), town.miner_at(1, &other, &dossier)];
    let file = |place| town.file(&format!("validator {place}"));
    let second = (0..3).map(|p| town.validator_at(p, 1, &other, &file(p), &dossier)).collect();
    let mut tables: [Vec<_>; 2] = [town.validators(1, &one), second];
    enrol(&mut miners[0], 1);
    let statement = other.reward.miner.record.statement().unwrap();
    let proof = payer.sign_text(&statement).unwrap();
    miners[1].say(Event::Enrolled { proof }).unwrap();
    all_well(&mut tables[0]);
    // The lock is made of the validators' records, and these serve the first position.
    assert_eq!(step(&mut tables[1]), ["position-record"; 3]);
    assert!(miners[1].turn().unwrap().what.starts_with("register"));
}

#[test]
fn an_issue_that_comes_with_the_term_is_too_late_whatever_was_proven() {
    let mut town = Town::new();
    let (terms, mut miner, mut validators) = town.ready(1, HEIGHTS);
    let (_, funding) = town.fund(from_ref(&terms), true);
    town.mine_to(HEIGHTS[2] + 20);
    miner.say(Event::Funded { funding, batch: Vec::new() }).unwrap();
    assert_eq!(step(&mut validators), ["position-issue-early"; 3]);
}

#[test]
fn of_two_fundings_nobody_signs_either_until_one_is_gone() {
    let mut town = Town::new();
    let (terms, mut miner, mut validators) = town.ready(1, HEIGHTS);
    let (_, other) = town.fund(from_ref(&terms), true);
    town.blocks(1);
    let (_, first) = town.fund(from_ref(&terms), true);
    let funded = |funding| Event::Funded { funding, batch: Vec::new() };
    slip(&town, &terms, "the first.json", funded(first));
    // One validator has taken it, and waits for its block.
    assert_eq!(step(&mut validators[..1]), ["position-issue-funding"]);
    let path = slip(&town, &terms, "another.json", funded(other));
    town.blocks(1);
    for _ in 0..2 {
        // He refuses the other one and signs nothing; the others refuse both.
        assert_eq!(step(&mut validators), ["position-again"; 6]);
    }
    let taken = [Some(first), None, None];
    assert!(validators.iter().zip(taken).all(|(one, taken)| one.state().funding() == taken));
    std::fs::remove_file(path).unwrap();
    all_well(&mut validators);
    town.blocks(1);
    miner.step().unwrap();
    let turn = miner.turn().unwrap();
    assert!(turn.what.starts_with("issued at height"), "{}", turn.what);
}

#[test]
fn whatever_lies_among_the_words_stops_nobody() {
    let town = Town::new();
    let (terms, mut miner, mut validators) = town.asked(1, HEIGHTS);
    let words = town.dossier(1).join("words");
    std::fs::create_dir(words.join("a folder.json")).unwrap();
    std::os::unix::fs::symlink("/nowhere", words.join("a link.json")).unwrap();
    std::fs::write(words.join("no text.json"), [0xff; 9]).unwrap();
    for number in 0..100 {
        std::fs::write(words.join(format!("{number}.json")), "{}").unwrap();
    }
    let shares = town.mine(from_ref(&terms), Stage::Onboarding, SHARES);
    miner.say(proven(&terms, Stage::Onboarding, &shares)).unwrap();
    for one in &mut validators {
        let told = one.step().unwrap();
        let refused: Vec<_> = told
            .iter()
            .filter_map(|told| match told {
                Told::Refused(name, error) => Some((name.as_str(), rule(error))),
                _ => None,
            })
            .collect();
        assert_eq!(refused.iter().filter(|(_, rule)| *rule == "word-form").count(), 100);
        assert_eq!(refused.iter().filter(|(_, rule)| rule.starts_with("relay-")).count(), 3);
        assert_eq!(refused.len(), 103, "{refused:?}");
    }
    let turn = miner.turn().unwrap();
    assert!(turn.what.starts_with("grant the lock") || turn.what.starts_with("mine heights"));
}
