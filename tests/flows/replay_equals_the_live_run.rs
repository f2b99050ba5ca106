//! `next` is pure: asked twice, after a replay, or after words came in another order, it answers
//! the same.

use hashmix::flow::Event;
use hashmix::flow::contract::Contract;
use hashmix::flow::dispute::state::Event as DisputeEvent;
use hashmix::flow::escrow::state::Event as EscrowEvent;
use hashmix::flow::reward::state::{Event as RewardEvent, SweepAsk, sweepable};
use hashmix::flow::reward::txs::SweepPath;
use hashmix::party::Seat;
use proptest::prelude::*;
use std::sync::LazyLock;

use crate::world::{FULL, Play, SEATS, terms};

/// A contract with every kind of word in it, at a moment when everybody has something to do: three
/// states, a dispute that is ruled but not finished, a sweep that is asked for.
fn busy() -> Play {
    let mut play = Play::funded(20);
    for period in [0, 1] {
        play.deliver(period, FULL);
        play.ripen(period);
        play.act(Seat::Miner);
        play.act(Seat::Holder);
    }
    play.deliver(2, FULL / 2);
    play.world.mine_to(120);
    let opening = play.opening(Seat::Miner, 2);
    play.say(Seat::Miner, Event::Dispute(DisputeEvent::Opened(opening))).unwrap();
    let rewards = sweepable(&play.world.terms, &play.world.facts()).unwrap();
    let rewards: Vec<_> = rewards.iter().map(|coin| coin.outpoint).collect();
    assert_eq!(rewards.len(), 2);
    for (path, seat) in [
        (SweepPath::Agreed, Seat::Holder),
        (SweepPath::Agreed, Seat::Miner),
        (SweepPath::HolderRuling, Seat::Holder),
    ] {
        let ask = SweepAsk { path, rewards: rewards.clone(), sat_per_vb: 2 };
        play.say(seat, Event::Reward(RewardEvent::SweepAsked(ask))).unwrap();
    }
    play.act(Seat::Validator(0));
    play.act(Seat::Validator(1));
    let (ask, signatures) = {
        let coin = play.world.coin();
        let (ask, _) = play.contract.escrow().last_state(coin.outpoint).unwrap();
        let facts = play.world.facts();
        let by = hashmix::error::Culprit::Holder;
        let path = hashmix::script::lock::Path::Agreed;
        let draft =
            hashmix::flow::escrow::state::draft(play.contract.locked(), &facts, &ask, path, by);
        let signatures = crate::world::sign(&draft.unwrap(), Seat::Holder);
        (ask, signatures)
    };
    let shown = hashmix::flow::dispute::state::Shown {
        outcome: ask.outcome,
        sat_per_vb: ask.sat_per_vb,
        signatures,
    };
    let answer = DisputeEvent::Answered { opening: opening.id().unwrap(), shown };
    play.say(Seat::Holder, Event::Dispute(answer)).unwrap();
    play.act(Seat::Validator(0));
    play.act(Seat::Validator(1));
    play.world.mine_to(126);
    play.act(Seat::Validator(0));
    play
}

static BUSY: LazyLock<Play> = LazyLock::new(busy);

fn told(play: &Play, contract: &Contract) -> Vec<String> {
    let facts = play.world.facts();
    SEATS.iter().map(|seat| format!("{:?}", contract.next(&facts, *seat).unwrap())).collect()
}

fn replayed(play: &Play) -> Contract {
    let mut contract = Contract::new(play.world.terms.clone()).unwrap();
    for (from, event) in &play.said {
        contract.apply(*from, event).unwrap();
    }
    contract
}

#[test]
fn asked_twice_at_every_step_it_answers_the_same_and_so_does_a_replay() {
    let play = &*BUSY;
    let mut live = Contract::new(terms()).unwrap();
    for count in 0..=play.said.len() {
        let once = told(play, &live);
        assert_eq!(once, told(play, &live), "after {count} words");
        let mut again = Contract::new(terms()).unwrap();
        for (from, event) in &play.said[..count] {
            again.apply(*from, event).unwrap();
        }
        assert_eq!(format!("{again:?}"), format!("{live:?}"));
        assert_eq!(once, told(play, &again), "after {count} words, replayed");
        if let Some((from, event)) = play.said.get(count) {
            live.apply(*from, event).unwrap();
        }
    }
    assert_eq!(format!("{live:?}"), format!("{:?}", play.contract));
}

#[test]
fn the_scene_has_every_kind_of_word_and_work_for_everybody() {
    let play = &*BUSY;
    let words = play.said.iter().map(|(_, event)| serde_json::to_value(event).unwrap());
    let mut names: Vec<String> = words
        .map(|word| {
            let (flow, word) = word.as_object().unwrap().iter().next().unwrap();
            format!("{flow} {}", word.as_object().unwrap().keys().next().unwrap())
        })
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(
        names,
        [
            "dispute answered",
            "dispute opened",
            "dispute receipted",
            "dispute ruled",
            "escrow asked",
            "escrow signed",
            "journal entered",
            "journal witnessed",
            "reward certified",
            "reward receipted",
            "reward sweep_asked",
            "reward sweep_signed",
        ]
    );
    let idle: Vec<_> = SEATS.iter().filter(|seat| play.next(**seat).is_empty()).collect();
    assert_eq!(idle, [&Seat::Validator(0)], "he has done everything already");
}

#[test]
fn a_word_said_twice_changes_nothing() {
    let play = &*BUSY;
    let mut contract = replayed(play);
    let before = told(play, &contract);
    for (from, event) in &play.said {
        contract.apply(*from, event).unwrap();
    }
    assert_eq!(told(play, &contract), before);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// As the engine reads its inbox: what is not admitted is tried again after the others.
    #[test]
    fn words_in_any_order_end_in_the_same_effects(
        order in Just((0..BUSY.said.len()).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let play = &*BUSY;
        let facts = play.world.facts();
        let mut contract = Contract::new(terms()).unwrap();
        let mut left = order;
        while !left.is_empty() {
            let before = left.len();
            left.retain(|place| {
                let (from, event) = &play.said[*place];
                match contract.admit(&facts, *from, event) {
                    Ok(()) => {
                        contract.apply(*from, event).unwrap();
                        false
                    }
                    Err(_) => true,
                }
            });
            prop_assert!(left.len() < before, "stuck with {} words", left.len());
        }
        prop_assert_eq!(told(play, &contract), told(play, &play.contract));
    }
}

#[test]
fn requests_of_the_escrow_are_words_too() {
    // A guard for the scene above: the states in it came from requests.
    let asked = |event: &Event| matches!(event, Event::Escrow(EscrowEvent::Asked(_)));
    assert!(BUSY.said.iter().filter(|(_, event)| asked(event)).count() >= 2);
}
