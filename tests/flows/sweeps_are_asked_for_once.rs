//! A side asks once for the sweep of a reward, and again only at twice the fee rate.

use bitcoin::OutPoint;
use hashmix::flow::Event;
use hashmix::flow::reward::state::{Event as RewardEvent, SweepAsk, sweepable};
use hashmix::flow::reward::txs::SweepPath;
use hashmix::party::Seat;

use crate::world::{FULL, Play};

fn asked(rewards: &[OutPoint], path: SweepPath, sat_per_vb: u64) -> Event {
    let rewards = rewards.to_vec();
    Event::Reward(RewardEvent::SweepAsked(SweepAsk { path, rewards, sat_per_vb }))
}

#[test]
fn who_asks_again_for_a_reward_offers_at_least_twice_as_much() {
    let mut play = Play::funded(20);
    play.deliver(0, FULL);
    play.world.mine_to(140);
    let mature = sweepable(&play.world.terms, &play.world.facts()).unwrap();
    let all: Vec<OutPoint> = mature.iter().map(|coin| coin.outpoint).collect();
    let [first, second, third, ..] = all[..] else { panic!("three rewards: {all:?}") };
    let path = SweepPath::HolderRuling;
    play.say(Seat::Holder, asked(&[first, second], path, 4)).unwrap();
    for (rewards, rate, rule) in [
        (&[first, second][..], 4, "admitted"),
        (&[second, first], 4, "reward-again"),
        (&[second], 7, "reward-again"),
        (&[second, third], 3, "reward-again"),
        (&[second, third], 8, "admitted"),
        (&[second, third], 2, "admitted"),
        (&[third], 4, "admitted"),
    ] {
        assert_eq!(play.judge(Seat::Holder, &asked(rewards, path, rate)), rule, "{rewards:?}");
    }
    // Another way is another request, and so is the other side's.
    assert_eq!(play.judge(Seat::Holder, &asked(&[first], SweepPath::Agreed, 4)), "admitted");
    assert_eq!(play.judge(Seat::Miner, &asked(&[first], SweepPath::MinerRuling, 2)), "admitted");
}
