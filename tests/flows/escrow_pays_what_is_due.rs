//! Settlements, closes and exits, to the satoshi.

use bitcoin::transaction::Version;
use bitcoin::{Amount, Sequence};
use hashmix::error::Culprit;
use hashmix::flow::Event;
use hashmix::flow::dispute::txs::ruling;
use hashmix::flow::escrow::coins::{self, Progress, progress};
use hashmix::flow::escrow::state::Event as EscrowEvent;
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::flow::escrow::txs::{Outcome, exit, settlement};
use hashmix::party::Seat;
use hashmix::script::lock::Path;
use hashmix::tx::draft::Draft;

use crate::world::{FULL, INSTALLMENT, Play, coin_of, outcome, paid, sign, terms};

const RATE: u64 = 2;

fn settle(terms: &EscrowTerms, value: u64, outcome: Outcome) -> hashmix::error::Result<Draft> {
    let coin = coin_of(terms, 3, Amount::from_sat(value));
    settlement(terms, &coin, outcome, Path::Agreed, RATE, None)
}

fn rule(terms: &EscrowTerms, by: Seat, value: u64, o: Outcome) -> hashmix::error::Result<Draft> {
    ruling(terms, &coin_of(terms, 3, Amount::from_sat(value)), o, by, RATE)
}

#[test]
fn a_settlement_pays_due_less_fee_and_relocks_the_rest_at_the_next_index() {
    let terms = terms();
    // 20,000,000 of 60,000,000 are paid; 35,000,000 are earned.
    let draft = settle(&terms, 40_000_000, outcome(3, 35_000_000, false)).unwrap();
    let fee = RATE * draft.vsize().unwrap();
    let next = coins::lock(&terms, 4).unwrap().script_pubkey;
    let miner = terms.reward.miner.payout_script();
    let tx = draft.transaction();
    assert_eq!(paid(tx), [(&*miner, 15_000_000 - fee), (&*next, 25_000_000)]);
    assert_eq!(draft.fee().unwrap().to_sat(), fee);
    assert_eq!(tx.version, Version(3));
    // Period 4 ends at 20 + 48 - 1 = 67 and is 6 deep at 72.
    assert_eq!(tx.lock_time.to_consensus_u32(), 72);
    assert_eq!(tx.input[0].sequence, Sequence::ENABLE_RBF_NO_LOCKTIME);
    assert_eq!(draft.title().0, "settlement");
}

#[test]
fn a_close_pays_the_holder_the_rest_without_a_relock() {
    let terms = terms();
    let draft = settle(&terms, 40_000_000, outcome(3, 35_000_000, true)).unwrap();
    let fee = RATE * draft.vsize().unwrap();
    let people = [terms.reward.miner.payout_script(), terms.reward.holder.payout_script()];
    let expected = [(&*people[0], 15_000_000 - fee), (&*people[1], 25_000_000)];
    assert_eq!(paid(draft.transaction()), expected);
    assert_eq!(draft.title().0, "close");
}

#[test]
fn a_rest_below_dust_closes_and_goes_to_the_fee() {
    let terms = terms();
    // A Taproot output below 330 sat is dust.
    let draft = settle(&terms, 10_000_000, outcome(4, 59_999_671, false)).unwrap();
    let fee = RATE * draft.vsize().unwrap();
    let miner = terms.reward.miner.payout_script();
    assert_eq!(paid(draft.transaction()), [(&*miner, 9_999_671 - fee)]);
    assert_eq!(draft.fee().unwrap().to_sat(), fee + 329);
    assert_eq!(draft.title().0, "close");
    // One satoshi more is re-locked.
    let relock = settle(&terms, 10_000_000, outcome(4, 59_999_670, false)).unwrap();
    assert_eq!(relock.transaction().output[1].value.to_sat(), 330);
    assert_eq!(relock.title().0, "settlement");
}

#[test]
fn a_settlement_below_dust_after_the_fee_is_refused_to_the_satoshi() {
    let terms = terms();
    let fee = settle(&terms, 60_000_000, outcome(0, 1_000_000, false)).unwrap().fee().unwrap();
    let least = fee.to_sat() + 330;
    let refused = settle(&terms, 60_000_000, outcome(0, least - 1, false)).unwrap_err();
    assert_eq!(refused.rule(), "escrow-due");
    let draft = settle(&terms, 60_000_000, outcome(0, least, false)).unwrap();
    assert_eq!(draft.transaction().output[0].value.to_sat(), 330);
}

#[test]
fn a_close_whose_due_is_below_dust_leaves_the_miner_out_and_the_holder_bears_the_fee() {
    let terms = terms();
    let holder = terms.reward.holder.payout_script();
    for due in [0, 100] {
        let draft = settle(&terms, 40_000_000, outcome(5, 20_000_000 + due, true)).unwrap();
        let fee = RATE * draft.vsize().unwrap();
        assert_eq!(paid(draft.transaction()), [(&*holder, 40_000_000 - fee)], "{due} due");
    }
    // Where nobody's part is above dust, nothing can be paid.
    let refused = settle(&terms, 500, outcome(5, 59_999_600, true)).unwrap_err();
    assert_eq!(refused.rule(), "escrow-due");
}

#[test]
fn an_outcome_below_what_is_paid_or_above_the_price_is_refused() {
    let terms = terms();
    for earned in [19_999_999, 0, 60_000_001] {
        let refused = settle(&terms, 40_000_000, outcome(3, earned, false)).unwrap_err();
        assert_eq!(refused.rule(), "escrow-outcome", "{earned}");
    }
    // An output that holds more than the price is none of this contract's.
    let refused = settle(&terms, 60_000_001, outcome(3, 30_000_000, false)).unwrap_err();
    assert_eq!(refused.rule(), "escrow-outcome");
}

#[test]
fn a_close_below_what_is_paid_owes_the_miner_nothing_and_the_holder_the_rest() {
    let terms = terms();
    let close = settle(&terms, 40_000_000, outcome(3, 19_999_999, true)).unwrap();
    let outputs = &close.transaction().output;
    let rest = Amount::from_sat(40_000_000) - close.fee().unwrap();
    assert_eq!(outputs.len(), 1);
    assert_eq!(outputs[0].value, rest);
    assert_eq!(outputs[0].script_pubkey, terms.reward.holder.payout_script());
}

#[test]
fn a_period_outside_the_term_is_refused() {
    let refused = settle(&terms(), 40_000_000, outcome(6, 35_000_000, true)).unwrap_err();
    assert_eq!(refused.rule(), "terms-period");
}

#[test]
fn the_miner_pays_for_the_ruling_he_asks_for() {
    let terms = terms();
    let federation = terms.reward.federation.payout_script();
    let miner = terms.reward.miner.payout_script();
    let holder = terms.reward.holder.payout_script();
    let next = coins::lock(&terms, 4).unwrap().script_pubkey;
    for (closes, second) in [(false, &next), (true, &holder)] {
        let draft = rule(&terms, Seat::Miner, 40_000_000, outcome(3, 35_000_000, closes)).unwrap();
        let fee = RATE * draft.vsize().unwrap();
        let expected =
            [(&*miner, 14_980_000 - fee), (&**second, 25_000_000), (&*federation, 20_000)];
        assert_eq!(paid(draft.transaction()), expected);
    }
}

#[test]
fn the_holder_pays_for_the_ruling_he_asks_for() {
    let terms = terms();
    let federation = terms.reward.federation.payout_script();
    let miner = terms.reward.miner.payout_script();
    let holder = terms.reward.holder.payout_script();
    let draft = rule(&terms, Seat::Holder, 40_000_000, outcome(3, 35_000_000, true)).unwrap();
    let fee = RATE * draft.vsize().unwrap();
    let expected = [(&*miner, 15_000_000 - fee), (&*holder, 24_980_000), (&*federation, 20_000)];
    assert_eq!(paid(draft.transaction()), expected);
    assert_eq!(draft.title().0, "closing ruling");
    // The miner earned nothing more: the holder bears the fee too.
    let draft = rule(&terms, Seat::Holder, 40_000_000, outcome(3, 20_000_000, true)).unwrap();
    let fee = RATE * draft.vsize().unwrap();
    assert_eq!(paid(draft.transaction()), [(&*holder, 39_980_000 - fee), (&*federation, 20_000)]);
}

#[test]
fn a_ruling_whose_fee_its_requester_cannot_pay_is_refused() {
    let terms = terms();
    for (who, by, value, outcome) in [
        ("the miner, who is due nothing", Seat::Miner, 40_000_000, outcome(3, 20_000_000, true)),
        ("the miner, due less than the fee", Seat::Miner, 40_000_000, outcome(3, 20_019_999, true)),
        ("the holder, left nothing", Seat::Holder, 40_000_000, outcome(3, 60_000_000, true)),
        ("the holder, left less", Seat::Holder, 40_000_000, outcome(3, 59_981_000, true)),
    ] {
        let refused = rule(&terms, by, value, outcome).unwrap_err();
        assert_eq!(refused.rule(), "escrow-due", "{who}: {refused}");
    }
}

#[test]
fn the_holder_cannot_ask_for_a_ruling_that_relocks() {
    let refused = rule(&terms(), Seat::Holder, 40_000_000, outcome(3, 35_000_000, false));
    let refused = refused.unwrap_err();
    assert_eq!(refused.rule(), "escrow-holder-closes");
    assert!(refused.to_string().starts_with("refused (holder)"), "{refused}");
}

#[test]
fn a_ruling_weighs_the_same_whoever_finishes_it() {
    let terms = terms();
    let outcome = outcome(3, 35_000_000, true);
    let [miner, holder] =
        [Seat::Miner, Seat::Holder].map(|by| rule(&terms, by, 40_000_000, outcome).unwrap());
    assert_eq!(miner.vsize().unwrap(), holder.vsize().unwrap());
    assert_eq!(miner.fee().unwrap(), holder.fee().unwrap());
    let leaves = [&miner, &holder].map(|draft| draft.spends()[0].path);
    assert_eq!(leaves, [Path::MinerRuling, Path::HolderRuling]);
}

#[test]
fn exits_wait_for_their_heights_and_pay_whoever_leaves() {
    let terms = terms();
    let coin = coin_of(&terms, 2, Amount::from_sat(40_000_000));
    let end = START_OF_EXITS;
    for (seat, height, sequence, payee) in [
        (Seat::Holder, end, Sequence::from_height(24), terms.reward.holder.payout_script()),
        (
            Seat::Miner,
            end + 48,
            Sequence::ENABLE_RBF_NO_LOCKTIME,
            terms.reward.miner.payout_script(),
        ),
    ] {
        let draft = exit(&terms, &coin, seat, RATE).unwrap();
        let tx = draft.transaction();
        assert_eq!(tx.lock_time.to_consensus_u32(), height);
        assert_eq!(tx.input[0].sequence, sequence);
        let fee = RATE * draft.vsize().unwrap();
        assert_eq!(paid(tx), [(&*payee, 40_000_000 - fee)]);
    }
    let dust = coin_of(&terms, 2, Amount::from_sat(200));
    assert_eq!(exit(&terms, &dust, Seat::Holder, RATE).unwrap_err().rule(), "escrow-due");
}

/// End of the term (91) and grace (100).
const START_OF_EXITS: u32 = 191;

/// Periods 1 and 2 in full, a state for each; the miner publishes the second.
fn two_states() -> Play {
    let mut play = Play::funded(20);
    for period in [0, 1] {
        play.deliver(period, FULL);
        play.ripen(period);
        play.act(Seat::Miner);
        play.act(Seat::Holder);
    }
    play
}

fn publish(play: &mut Play) -> crate::world::Sent {
    let coin = play.world.coin();
    let (ask, _) = play.contract.escrow().last_state(coin.outpoint).unwrap();
    let facts = play.world.facts();
    let draft = hashmix::flow::escrow::state::draft(
        play.contract.locked(),
        &facts,
        &ask,
        Path::Agreed,
        Culprit::Miner,
    );
    let signatures = sign(&draft.unwrap(), Seat::Miner);
    play.say(Seat::Miner, Event::Escrow(EscrowEvent::Signed { ask, signatures })).unwrap();
    let mut sent = play.act(Seat::Miner);
    assert_eq!(sent.len(), 1);
    sent.remove(0)
}

#[test]
fn the_holder_signs_a_state_for_every_period_and_the_last_one_is_published() {
    let mut play = two_states();
    let first = play.world.coin();
    let (ask, _) = play.contract.escrow().last_state(first.outpoint).unwrap();
    assert_eq!(ask.outcome, outcome(1, 2 * INSTALLMENT, false));
    let sent = publish(&mut play);
    assert_eq!((sent.path, sent.title.0), (Path::Agreed, "settlement"));
    assert_eq!(sent.signers, [Seat::Holder, Seat::Miner]);
    assert_eq!(sent.tx.output[0].value.to_sat(), 2 * INSTALLMENT - sent.fee.to_sat());
    play.world.mine_to(play.world.tip() + 1);
    let coin = play.world.coin();
    assert_eq!((coin.index, coin.value.to_sat()), (1, 40_000_000));
    // States of the spent output are history.
    assert!(play.contract.escrow().last_state(coin.outpoint).is_none());
    assert!(play.act(Seat::Miner).is_empty());
}

#[test]
fn a_state_is_signed_once_the_output_is_deep_enough() {
    let mut play = two_states();
    publish(&mut play);
    play.deliver(2, FULL);
    play.ripen(2);
    let mut young = play.clone();
    let coin = young.world.coin();
    // The chain without the last blocks that lie on the output: five are too few.
    young.world.transactions.get_mut(&coin.outpoint.txid).unwrap().height =
        Some(young.world.tip() - 4);
    young.act(Seat::Miner);
    assert!(young.said.len() == play.said.len(), "nothing is asked on a young output");
    play.act(Seat::Miner);
    play.act(Seat::Holder);
    let (ask, _) = play.contract.escrow().last_state(coin.outpoint).unwrap();
    assert_eq!(ask.outcome, outcome(2, 3 * INSTALLMENT, false));
}

#[test]
fn a_failed_window_closes_the_escrow() {
    let mut play = two_states();
    publish(&mut play);
    // Window 2 (periods 3 and 4) is proven to less than a half: 17 of 36 shares.
    play.deliver(2, 17);
    play.ripen(3);
    play.act(Seat::Miner);
    play.act(Seat::Holder);
    let earned = 2 * INSTALLMENT + INSTALLMENT * 17 / 18;
    let coin = play.world.coin();
    let (ask, _) = play.contract.escrow().last_state(coin.outpoint).unwrap();
    assert_eq!(ask.outcome, outcome(3, earned, true));
    let sent = publish(&mut play);
    assert_eq!(sent.title.0, "close");
    assert_eq!(sent.tx.output[0].value.to_sat() + sent.fee.to_sat(), earned - 2 * INSTALLMENT);
    assert_eq!(sent.tx.output[1].value.to_sat(), 6 * INSTALLMENT - earned);
    let ended = progress(&play.world.terms, &play.world.facts()).unwrap();
    assert!(matches!(ended, Progress::Ended { by, .. } if by == sent.tx.compute_txid()));
}

#[test]
fn half_a_window_is_enough_and_the_last_period_closes() {
    let mut play = Play::funded(20);
    for period in 0..6 {
        play.deliver(period, if period % 2 == 0 { FULL } else { 0 });
    }
    play.ripen(5);
    play.act(Seat::Miner);
    play.act(Seat::Holder);
    let sent = publish(&mut play);
    assert_eq!(sent.title.0, "close");
    assert_eq!(sent.tx.output[0].value.to_sat() + sent.fee.to_sat(), 3 * INSTALLMENT);
    assert_eq!(sent.tx.output[1].value.to_sat(), 3 * INSTALLMENT);
}

#[test]
fn a_request_of_the_miner_closes_what_is_ripe_after_k_receipts_for_it() {
    use hashmix::flow::escrow::outcome::outcome as judged;
    use hashmix::flow::reward::state::Event as RewardEvent;
    let mut play = Play::funded(20);
    play.deliver(0, FULL);
    play.deliver(1, FULL);
    let asked = Event::Reward(RewardEvent::CloseAsked);
    assert_eq!(play.judge(Seat::Holder, &asked), "flow-speaker");
    assert_eq!(play.judge(Seat::Validator(0), &asked), "flow-speaker");
    play.ripen(0);
    play.world.mine_to(play.world.tip() + 1);
    play.say(Seat::Miner, asked).unwrap();
    let closes = |play: &Play, period| {
        let facts = play.world.facts();
        judged(&play.world.terms, &facts, play.contract.evidence(), period).unwrap().closes
    };
    play.act(Seat::Validator(0));
    play.ripen(1);
    assert!(!closes(&play, 1), "one of three has seen it");
    play.world.rewind_to(play.world.tip() - 1);
    play.act(Seat::Validator(1));
    play.ripen(1);
    assert!(!closes(&play, 0), "period 1 could be ruled on before");
    assert!(closes(&play, 1));
}
