//! Disputes: opened in time, heard for the answer span, ruled alike by every honest validator.

use bitcoin::OutPoint;
use hashmix::flow::dispute::state::{Event as DisputeEvent, Opening, Shown};
use hashmix::flow::dispute::txs::ruling;
use hashmix::flow::escrow::txs::{Outcome, settlement};
use hashmix::flow::{Effect, Event, Task};
use hashmix::id::{PositionId, WordId};
use hashmix::party::Seat;
use hashmix::script::lock::Path;
use hashmix::work::receipt::Subject;

use crate::world::{FULL, INSTALLMENT, Play, SEATS, outcome, paid, sign};

const V0: Seat = Seat::Validator(0);
const V1: Seat = Seat::Validator(1);
const V2: Seat = Seat::Validator(2);

fn opened(opening: Opening) -> Event {
    Event::Dispute(DisputeEvent::Opened(opening))
}

/// Period 1 in full, period 2 to a half; both can be settled.
fn half_a_period_short() -> Play {
    let mut play = Play::funded(20);
    play.deliver(0, FULL);
    play.deliver(1, FULL / 2);
    play.ripen(1);
    play
}

/// Nothing delivered: the first window fails.
fn nothing_delivered() -> Play {
    let mut play = Play::funded(20);
    play.ripen(1);
    play
}

fn open(play: &mut Play, requester: Seat, period: u32) -> Opening {
    let opening = play.opening(requester, period);
    play.say(requester, opened(opening)).unwrap();
    opening
}

fn receipt(play: &mut Play, place: u8, subject: Subject, height: u32) {
    let receipt = play.world.receipt(place, subject, height);
    play.say(Seat::Validator(place), Event::Dispute(DisputeEvent::Receipted(receipt))).unwrap();
}

fn mine(play: &mut Play, blocks: u32) {
    play.world.mine_to(play.world.tip() + blocks);
}

/// A ruling of `seat` on the opening, whatever the evidence says.
fn ruled(play: &Play, seat: Seat, opening: Opening, outcome: Outcome) -> Event {
    let coin = play.world.coin();
    let terms = &play.world.terms;
    let draft = ruling(terms, &coin, outcome, opening.requester, opening.sat_per_vb).unwrap();
    let signatures = sign(&draft, seat);
    let opening = opening.id().unwrap();
    Event::Dispute(DisputeEvent::Ruled { opening, outcome, signatures })
}

/// A state that the holder has signed, whatever the evidence says.
fn shown(play: &Play, outcome: Outcome) -> Shown {
    let coin = play.world.coin();
    let draft = settlement(&play.world.terms, &coin, outcome, Path::Agreed, 2, None).unwrap();
    Shown { outcome, sat_per_vb: 2, signatures: sign(&draft, Seat::Holder) }
}

fn answered(opening: Opening, shown: Shown) -> Event {
    Event::Dispute(DisputeEvent::Answered { opening: opening.id().unwrap(), shown })
}

/// The outcome that a seat is about to sign, or to enter in its journal before.
fn about_to_rule(play: &Play, seat: Seat) -> Option<Outcome> {
    play.next(seat).into_iter().find_map(|effect| match effect {
        Effect::Sign { task: Task::Ruling { outcome, .. }, .. }
        | Effect::Enter { task: Task::Ruling { outcome, .. }, .. } => Some(outcome),
        _ => None,
    })
}

/// The rules by which a seat declines something.
fn declined(play: &Play, seat: Seat) -> Vec<String> {
    play.next(seat)
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Decline(error) => Some(error.to_string()),
            _ => None,
        })
        .collect()
}

#[test]
fn the_miner_asks_two_validators_rule_and_he_is_paid() {
    let mut play = half_a_period_short();
    open(&mut play, Seat::Miner, 1);
    for seat in SEATS {
        assert!(play.act(seat).is_empty(), "nothing is ruled before the other side was heard");
    }
    mine(&mut play, 6);
    for seat in [V0, V2, Seat::Holder] {
        assert!(play.act(seat).is_empty());
    }
    let sent = play.act(Seat::Miner);
    let [sent] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((sent.title.0, sent.path), ("ruling", Path::MinerRuling));
    assert_eq!(sent.signers, [Seat::Miner, V0, V2]);
    let earned = INSTALLMENT * 3 / 2;
    assert_eq!(sent.tx.output[0].value.to_sat(), earned - sent.fee.to_sat() - 20_000);
    assert_eq!(sent.tx.output[1].value.to_sat(), 6 * INSTALLMENT - earned);
    // The output in dispute is spent: the dispute is history.
    for seat in SEATS {
        assert!(about_to_rule(&play, seat).is_none());
    }
}

#[test]
fn the_holder_asks_about_a_failed_window_and_the_rest_is_refunded() {
    let mut play = nothing_delivered();
    open(&mut play, Seat::Holder, 1);
    for seat in SEATS {
        play.act(seat);
    }
    mine(&mut play, 6);
    play.act(V1);
    play.act(V2);
    let sent = play.act(Seat::Holder);
    let [sent] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((sent.title.0, sent.path), ("closing ruling", Path::HolderRuling));
    let holder = play.world.terms.reward.holder.payout_script();
    let federation = play.world.terms.reward.federation.payout_script();
    let refund = 6 * INSTALLMENT - sent.fee.to_sat() - 20_000;
    assert_eq!(paid(&sent.tx), [(&*holder, refund), (&*federation, 20_000)]);
}

#[test]
fn an_opening_is_refused_by_its_rule() {
    let play = half_a_period_short();
    let fair = play.opening(Seat::Miner, 1);
    let judge = |from, opening| play.judge(from, &opened(opening));
    assert_eq!(judge(Seat::Miner, fair), "admitted");
    assert_eq!(judge(Seat::Holder, fair), "flow-speaker", "in another's name");
    assert_eq!(judge(V0, Opening { requester: V0, ..fair }), "flow-speaker", "no party");
    for sat_per_vb in [1, 51] {
        assert_eq!(judge(Seat::Miner, Opening { sat_per_vb, ..fair }), "terms-fees");
    }
    let elsewhere = OutPoint { vout: 1, ..fair.outpoint };
    assert_eq!(judge(Seat::Miner, Opening { outpoint: elsewhere, ..fair }), "dispute-timely");
    assert_eq!(judge(Seat::Miner, Opening { period: 2, ..fair }), "dispute-timely", "unripe");
    assert_eq!(judge(Seat::Miner, Opening { period: 6, ..fair }), "terms-period");
}

#[test]
fn what_is_early_or_unknown_here_waits_and_what_is_late_or_spent_is_refused() {
    let judge = |play: &Play, opening| {
        play.contract.admit(&play.world.facts(), Seat::Miner, &opened(opening)).unwrap_err()
    };
    let mut play = half_a_period_short();
    let fair = play.opening(Seat::Miner, 1);
    let ripe = play.world.tip();
    let mut lagging = play.clone();
    lagging.world.rewind_to(ripe - 1);
    assert_eq!(
        (judge(&lagging, fair).rule(), judge(&lagging, fair).exit_code()),
        ("dispute-timely", 5)
    );
    let unknown = OutPoint::new("11".repeat(32).parse().unwrap(), 1);
    let unknown = Opening { outpoint: unknown, ..fair };
    assert_eq!(
        (judge(&play, unknown).rule(), judge(&play, unknown).exit_code()),
        ("dispute-timely", 5)
    );
    // T is at 191, the quiet span is 12 blocks.
    play.world.mine_to(179);
    assert_eq!(play.judge(Seat::Miner, &opened(fair)), "admitted");
    play.world.mine_to(180);
    assert_eq!((judge(&play, fair).rule(), judge(&play, fair).exit_code()), ("dispute-timely", 3));
}

#[test]
fn a_fresh_relock_can_be_disputed_whatever_the_end_of_the_term() {
    let mut play = half_a_period_short();
    play.world.mine_to(178);
    let first = open(&mut play, Seat::Miner, 1);
    for seat in [V0, V1] {
        play.act(seat);
    }
    mine(&mut play, 6);
    for seat in [V0, V1, Seat::Miner] {
        play.act(seat);
    }
    assert_eq!(play.judge(Seat::Miner, &opened(first)), "admitted", "as history, without effect");
    play.say(Seat::Miner, opened(first)).unwrap();
    assert!(about_to_rule(&play, V2).is_none());
    // The re-lock confirms at 185: twelve blocks more.
    play.world.mine_to(197);
    let again = play.opening(Seat::Holder, 5);
    assert_eq!(play.judge(Seat::Holder, &opened(again)), "admitted");
    play.world.mine_to(198);
    assert_eq!(play.judge(Seat::Holder, &opened(again)), "dispute-timely");
}

#[test]
fn the_k_th_lowest_receipt_counts() {
    let mut play = half_a_period_short();
    let opening = open(&mut play, Seat::Miner, 1);
    let subject = Subject::Opening { digest: opening.id().unwrap().0 };
    let first = play.world.tip();
    receipt(&mut play, 0, subject, first);
    mine(&mut play, 20);
    assert_eq!(about_to_rule(&play, V0), None, "one receipt opens nothing");
    receipt(&mut play, 1, subject, first + 17);
    receipt(&mut play, 2, subject, first + 20);
    assert_eq!(about_to_rule(&play, V0), None);
    mine(&mut play, 2);
    assert_eq!(about_to_rule(&play, V0), None, "one block before the answer span is over");
    mine(&mut play, 1);
    assert!(about_to_rule(&play, V0).is_some());
}

#[test]
fn receipts_that_come_after_the_last_height_open_nothing() {
    let mut play = half_a_period_short();
    play.world.mine_to(179);
    let opening = open(&mut play, Seat::Miner, 1);
    let subject = Subject::Opening { digest: opening.id().unwrap().0 };
    receipt(&mut play, 0, subject, 179);
    play.world.mine_to(180);
    receipt(&mut play, 1, subject, 180);
    play.world.mine_to(188);
    assert_eq!(about_to_rule(&play, V0), None);
    receipt(&mut play, 2, subject, 179);
    assert!(about_to_rule(&play, V0).is_some());
}

#[test]
fn a_state_shown_within_the_answer_span_is_a_lower_bound() {
    let mut play = half_a_period_short();
    let opening = open(&mut play, Seat::Miner, 1);
    play.act(V0);
    play.act(V1);
    let high = outcome(1, 2 * INSTALLMENT, false);
    play.say(Seat::Miner, answered(opening, shown(&play, high))).unwrap();
    let unreceipted = play.clone();
    play.act(V0);
    play.act(V2);
    mine(&mut play, 6);
    assert_eq!(about_to_rule(&play, V0), Some(high));
    // Without k receipts of the answer it counts for nothing.
    let mut play = unreceipted;
    play.act(V0);
    mine(&mut play, 6);
    let evidence = outcome(1, INSTALLMENT * 3 / 2, false);
    assert_eq!(about_to_rule(&play, V0), Some(evidence));
}

#[test]
fn an_answer_after_the_span_changes_nothing() {
    let mut play = half_a_period_short();
    let opening = open(&mut play, Seat::Miner, 1);
    play.act(V0);
    play.act(V1);
    mine(&mut play, 6);
    let late = shown(&play, outcome(1, 2 * INSTALLMENT, false));
    let digest = late.id(&opening.id().unwrap()).unwrap().0;
    play.say(Seat::Miner, answered(opening, late)).unwrap();
    // No honest validator receipts it any more, and what fewer than k receipt does not count.
    assert!(!play.told(V1).contains("Answer"), "{}", play.told(V1));
    let tip = play.world.tip();
    receipt(&mut play, 0, Subject::Answer { digest }, tip);
    assert_eq!(about_to_rule(&play, V0), Some(outcome(1, INSTALLMENT * 3 / 2, false)));
}

#[test]
fn a_late_receipt_for_an_opening_takes_no_answer_back() {
    let mut play = half_a_period_short();
    let opening = open(&mut play, Seat::Miner, 1);
    let about = Subject::Opening { digest: opening.id().unwrap().0 };
    let height = play.world.tip();
    receipt(&mut play, 0, about, height);
    receipt(&mut play, 1, about, height);
    let state = shown(&play, outcome(1, 2 * INSTALLMENT, false));
    let digest = state.id(&opening.id().unwrap()).unwrap().0;
    play.say(Seat::Miner, answered(opening, state)).unwrap();
    mine(&mut play, 5);
    for place in [0, 1] {
        let tip = play.world.tip();
        receipt(&mut play, place, Subject::Answer { digest }, tip);
    }
    mine(&mut play, 1);
    let just = Some(outcome(1, 2 * INSTALLMENT, false));
    assert_eq!(about_to_rule(&play, V0), just);
    // The third says that he had seen the request long before: the span would have ended earlier.
    receipt(&mut play, 2, about, height - 4);
    assert_eq!(about_to_rule(&play, V0), just);
}

#[test]
fn a_state_about_a_later_period_or_not_signed_by_the_holder_is_no_answer() {
    let mut play = half_a_period_short();
    let opening = open(&mut play, Seat::Miner, 0);
    for seat in [V0, V1] {
        play.act(seat);
    }
    play.say(Seat::Miner, answered(opening, shown(&play, outcome(1, 15_000_000, false)))).unwrap();
    for seat in [V0, V1] {
        play.act(seat);
    }
    let mut forged = shown(&play, outcome(0, 12_000_000, false));
    forged.outcome = outcome(0, 13_000_000, false);
    assert_eq!(play.judge(Seat::Miner, &answered(opening, forged)), "tx-signature");
    mine(&mut play, 6);
    assert_eq!(about_to_rule(&play, V0), Some(outcome(0, INSTALLMENT, false)));
}

#[test]
fn a_validator_rules_each_request_once() {
    let mut play = half_a_period_short();
    for period in [0, 1] {
        open(&mut play, Seat::Miner, period);
    }
    for seat in [V0, V1] {
        play.act(seat);
        play.act(seat);
    }
    mine(&mut play, 6);
    let before = play.said.len();
    for _ in 0..3 {
        play.act(V0);
    }
    let ruled = play.said[before..].iter().filter_map(|(_, event)| match event {
        Event::Dispute(DisputeEvent::Ruled { outcome, .. }) => Some(*outcome),
        _ => None,
    });
    let mut ruled: Vec<Outcome> = ruled.collect();
    ruled.sort_by_key(|outcome| outcome.period);
    assert_eq!(ruled, [outcome(0, INSTALLMENT, false), outcome(1, INSTALLMENT * 3 / 2, false)]);
}

#[test]
fn a_validator_declines_an_outcome_that_falls_and_goes_on_with_the_rest() {
    let mut play = half_a_period_short();
    // The holder gives more than the evidence says; it is ruled and paid.
    let opening = open(&mut play, Seat::Miner, 1);
    play.say(Seat::Miner, answered(opening, shown(&play, outcome(1, 30_000_000, false)))).unwrap();
    for _ in 0..2 {
        for seat in [V0, V1] {
            play.act(seat);
        }
    }
    mine(&mut play, 6);
    for seat in [V0, V1, Seat::Miner] {
        play.act(seat);
    }
    assert_eq!(play.world.coin().value.to_sat(), 30_000_000);
    play.deliver(2, FULL);
    play.ripen(2);
    // By the evidence 25,000,000 are earned through period 3: less than was ruled for period 2.
    open(&mut play, Seat::Miner, 2);
    for seat in [V0, V1] {
        play.act(seat);
    }
    mine(&mut play, 6);
    let reasons = declined(&play, V0);
    assert!(reasons[0].contains("[escrow-outcome]"), "{reasons:?}");
    // Who has never ruled cannot pay it either.
    assert!(declined(&play, V2).is_empty(), "he receipts the opening first");
    play.act(V2);
    assert!(declined(&play, V2)[0].contains("[escrow-outcome]"));
    // The miner is told too, and everybody goes on.
    let told = declined(&play, Seat::Miner);
    assert!(told[0].contains("[escrow-outcome]"), "{told:?}");
    play.deliver(3, FULL);
    let evidence = play.contract.evidence().certificates();
    assert_eq!(evidence.last().unwrap().receipts.len(), 2, "certificates are still receipted");
}

#[test]
fn a_request_of_the_holder_that_would_relock_is_declined_by_name() {
    let mut play = half_a_period_short();
    open(&mut play, Seat::Holder, 1);
    for seat in [V0, V1] {
        play.act(seat);
    }
    mine(&mut play, 6);
    let reasons = declined(&play, V0);
    assert_eq!(reasons.len(), 1);
    assert!(reasons[0].starts_with("refused (holder) [escrow-holder-closes]"), "{reasons:?}");
    assert!(about_to_rule(&play, V0).is_none());
}

#[test]
fn a_lying_validator_is_named_and_changes_nothing() {
    let mut play = half_a_period_short();
    let opening = open(&mut play, Seat::Miner, 1);
    for seat in [V0, V1] {
        play.act(seat);
    }
    mine(&mut play, 6);
    let truth = outcome(1, INSTALLMENT * 3 / 2, false);
    for lie in [outcome(1, 2 * INSTALLMENT, false), outcome(1, INSTALLMENT * 3 / 2, true)] {
        let word = ruled(&play, V2, opening, lie);
        play.say(V2, word).unwrap();
        let reasons = declined(&play, Seat::Miner);
        let named = |reason: &&String| reason.starts_with("refused (validator 2) [dispute-just]");
        assert!(reasons.iter().any(|reason| named(&reason)), "{reasons:?}");
        // One validator alone moves nothing, not even with the requester.
        assert_eq!(
            play.judge(Seat::Miner, &ruled(&play, Seat::Miner, opening, lie)),
            "dispute-heard"
        );
        assert!(play.act(Seat::Miner).is_empty());
    }
    // The true outcome over a signature of another transaction is caught as well.
    let Event::Dispute(DisputeEvent::Ruled { opening: id, signatures, .. }) =
        ruled(&play, V2, opening, outcome(1, INSTALLMENT, false))
    else {
        panic!("a ruling");
    };
    let word = Event::Dispute(DisputeEvent::Ruled { opening: id, outcome: truth, signatures });
    assert_eq!(play.judge(V2, &word), "tx-signature");
    assert_eq!(play.judge(V2, &ruled(&play, V2, opening, truth)), "admitted");
    assert_eq!(play.judge(V1, &ruled(&play, V2, opening, truth)), "tx-signature", "in his name");
    assert_eq!(play.judge(Seat::Holder, &ruled(&play, V2, opening, truth)), "flow-speaker");
}

#[test]
fn a_ruling_that_is_early_or_about_nothing_waits() {
    let mut play = half_a_period_short();
    let opening = play.opening(Seat::Miner, 1);
    let truth = outcome(1, INSTALLMENT * 3 / 2, false);
    let word = ruled(&play, V0, opening, truth);
    assert_eq!(play.judge(V0, &word), "dispute-opened");
    open(&mut play, Seat::Miner, 1);
    assert_eq!(play.judge(V0, &word), "dispute-heard");
    let nothing = answered(opening, shown(&play, truth));
    let Event::Dispute(DisputeEvent::Answered { shown, .. }) = nothing else { panic!("an answer") };
    let nothing = DisputeEvent::Answered { opening: WordId([1; 32]), shown };
    assert_eq!(play.judge(Seat::Holder, &Event::Dispute(nothing)), "dispute-opened");
}

#[test]
fn a_dispute_waits_again_when_a_reorg_takes_its_receipts_heights_away() {
    let mut play = half_a_period_short();
    open(&mut play, Seat::Miner, 1);
    let seen = play.world.tip();
    for seat in [V0, V1] {
        play.act(seat);
    }
    mine(&mut play, 6);
    assert!(about_to_rule(&play, V0).is_some());
    play.world.rewind_to(seen + 3);
    assert_eq!(about_to_rule(&play, V0), None);
}

#[test]
fn a_receipt_for_something_else_is_no_receipt_of_a_dispute() {
    let play = half_a_period_short();
    let tip = play.world.tip();
    let opening = play.opening(Seat::Miner, 1);
    let heard = Subject::Opening { digest: opening.id().unwrap().0 };
    let judged = |subject, position| {
        let mut receipt = play.world.receipt(1, subject, tip);
        receipt.position = position;
        play.judge(V1, &Event::Dispute(DisputeEvent::Receipted(receipt)))
    };
    let ours = play.world.terms.position().unwrap();
    assert_eq!(judged(heard, ours), "admitted");
    assert_eq!(judged(heard, PositionId([7; 32])), "dispute-opened");
    let digest = play.world.certificate(0, 2).digest();
    assert_eq!(judged(Subject::Certificate { slice: 0, digest }, ours), "dispute-opened");
}

#[test]
fn who_asks_again_offers_at_least_twice_as_much_whichever_word_comes_first() {
    for (first, second, rule) in [
        (4, 8, "admitted"),
        (8, 4, "admitted"),
        (4, 7, "dispute-again"),
        (7, 4, "dispute-again"),
        (4, 4, "admitted"),
        (4, 50, "admitted"),
    ] {
        let mut play = half_a_period_short();
        let mut opening = play.opening(Seat::Miner, 1);
        opening.sat_per_vb = first;
        play.say(Seat::Miner, opened(opening)).unwrap();
        opening.sat_per_vb = second;
        assert_eq!(play.judge(Seat::Miner, &opened(opening)), rule, "{first}, then {second}");
        // Another period and the other side are other requests.
        opening.period = 0;
        assert_eq!(play.judge(Seat::Miner, &opened(opening)), "admitted");
        let holders = Opening { sat_per_vb: first + 1, ..play.opening(Seat::Holder, 1) };
        assert_eq!(play.judge(Seat::Holder, &opened(holders)), "admitted");
    }
}
