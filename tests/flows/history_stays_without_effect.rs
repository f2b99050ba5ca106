//! Words about a spent output are kept for whoever was away, and none of them is checked. When the
//! spend vanishes again, evicted or reorganised away, they must not have become authority.

use hashmix::flow::Event;
use hashmix::flow::dispute::state::{Event as DisputeEvent, Shown};
use hashmix::flow::escrow::state::{Ask, Event as EscrowEvent};
use hashmix::flow::escrow::txs::settlement;
use hashmix::flow::reward::state::{Event as RewardEvent, SweepAsk};
use hashmix::flow::reward::txs::SweepPath;
use hashmix::party::Seat;
use hashmix::script::lock::Path;
use hashmix::tx::signed::Signed;

use crate::world::{FULL, INSTALLMENT, Play, SEATS, outcome, paid, sign};

const TWO: [Seat; 2] = [Seat::Validator(0), Seat::Validator(1)];

/// Period 1 in full, period 2 to a half; both can be settled.
fn half_a_period_short() -> Play {
    let mut play = Play::funded(20);
    play.deliver(0, FULL);
    play.deliver(1, FULL / 2);
    play.ripen(1);
    play
}

/// Says words while a genuine settlement waits in the mempool, then evicts it.
fn while_spent(play: &mut Play, words: Vec<(Seat, Event)>) {
    let coin = play.world.coin();
    let state = outcome(0, INSTALLMENT, false);
    let draft = settlement(&play.world.terms, &coin, state, Path::Agreed, 2, None).unwrap();
    let [miner, holder] = [Seat::Miner, Seat::Holder].map(|seat| sign(&draft, seat));
    let mut signed = Signed::new(draft);
    signed.add(Seat::Miner, &miner).unwrap();
    signed.add(Seat::Holder, &holder).unwrap();
    let tx = signed.finish().unwrap().tx;
    let txid = tx.compute_txid();
    play.world.send(tx);
    for (seat, event) in words {
        play.say(seat, event).unwrap();
    }
    play.world.transactions.remove(&txid);
}

/// The dispute is receipted, heard, ruled; what the requester then broadcasts.
fn ruled(play: &mut Play, requester: Seat) -> Vec<crate::world::Sent> {
    for seat in TWO.into_iter().chain(TWO) {
        play.act(seat);
    }
    play.world.mine_to(play.world.tip() + 6);
    for seat in TWO {
        play.act(seat);
    }
    play.act(requester)
}

#[test]
fn a_forged_answer_does_not_raise_the_outcome() {
    let mut play = half_a_period_short();
    let opening = play.opening(Seat::Miner, 1);
    let coin = play.world.coin();
    let other = outcome(0, 1_000_000, false);
    let draft = settlement(&play.world.terms, &coin, other, Path::Agreed, 2, None).unwrap();
    let signatures = sign(&draft, Seat::Miner);
    let shown = Shown { outcome: outcome(1, 6 * INSTALLMENT, false), sat_per_vb: 2, signatures };
    let answered = DisputeEvent::Answered { opening: opening.id().unwrap(), shown };
    let words = vec![
        (Seat::Miner, Event::Dispute(DisputeEvent::Opened(opening))),
        (Seat::Miner, Event::Dispute(answered)),
    ];
    while_spent(&mut play, words);
    let sent = ruled(&mut play, Seat::Miner);
    assert_eq!(sent.len(), 1);
    let to_miner = paid(&sent[0].tx)[0].1;
    assert!(to_miner < 2 * INSTALLMENT, "{to_miner} of {}", 6 * INSTALLMENT);
}

#[test]
fn a_fee_rate_outside_the_terms_is_not_ruled() {
    let mut play = half_a_period_short();
    play.ripen(5);
    let mut opening = play.opening(Seat::Holder, 5);
    opening.sat_per_vb = 60_000;
    while_spent(&mut play, vec![(Seat::Holder, Event::Dispute(DisputeEvent::Opened(opening)))]);
    assert!(ruled(&mut play, Seat::Holder).is_empty());
}

#[test]
fn a_sweep_at_a_rate_outside_the_terms_is_not_signed() {
    let play = Play::funded(20 + 99);
    let reward = play
        .world
        .transactions
        .iter()
        .find(|(_, seen)| seen.tx.is_coinbase() && seen.height == Some(20))
        .map(|(txid, _)| bitcoin::OutPoint::new(*txid, 0))
        .unwrap();
    let ask = |path, sat_per_vb| {
        let rewards = vec![reward];
        Event::Reward(RewardEvent::SweepAsked(SweepAsk { path, rewards, sat_per_vb }))
    };
    assert_eq!(play.judge(Seat::Holder, &ask(SweepPath::HolderRuling, 51)), "terms-fees");
    assert_eq!(play.judge(Seat::Holder, &ask(SweepPath::HolderRuling, 50)), "admitted");
    // Where the holder is gone, it is his money that the miner's rate would burn.
    assert_eq!(play.judge(Seat::Miner, &ask(SweepPath::MinerRuling, 3)), "terms-fees");
    assert_eq!(play.judge(Seat::Miner, &ask(SweepPath::MinerRuling, 2)), "admitted");
}

#[test]
fn nobody_is_stopped_by_a_request_that_makes_no_sense() {
    let mut play = half_a_period_short();
    let outpoint = play.world.coin().outpoint;
    let ask = Ask { outpoint, outcome: outcome(99, 1, false), sat_per_vb: 2 };
    let coin = play.world.coin();
    let state = outcome(0, INSTALLMENT, false);
    let draft = settlement(&play.world.terms, &coin, state, Path::Agreed, 2, None).unwrap();
    let signatures = sign(&draft, Seat::Miner);
    let signature = signatures[0];
    let words = [
        EscrowEvent::Asked(ask),
        EscrowEvent::Signed { ask, signatures },
        EscrowEvent::Joined { ask, signature },
    ];
    let words = words.into_iter().map(|event| (Seat::Miner, Event::Escrow(event))).collect();
    while_spent(&mut play, words);
    for seat in SEATS {
        play.contract.next(&play.world.facts(), seat).unwrap_or_else(|e| panic!("{seat}: {e}"));
    }
}

#[test]
fn a_ruling_that_one_side_keeps_to_itself_does_not_lock_out_the_other() {
    let mut play = half_a_period_short();
    play.ripen(5);
    let kept = play.opening(Seat::Holder, 5);
    play.say(Seat::Holder, Event::Dispute(DisputeEvent::Opened(kept))).unwrap();
    ruled(&mut play, Seat::Validator(0));
    let opening = play.opening(Seat::Miner, 5);
    play.say(Seat::Miner, Event::Dispute(DisputeEvent::Opened(opening))).unwrap();
    let sent = ruled(&mut play, Seat::Miner);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].title.0, "closing ruling");
}
