//! Was the ruling asked for, in time, was the other side heard, and is the outcome what the evidence
//! says?

use bitcoin::hashes::Hash;
use bitcoin::{Amount, BlockHash, OutPoint};
use hashmix::flow::dispute::state::Event as DisputeEvent;
use hashmix::flow::{Event, Task};
use hashmix::id::WordId;
use hashmix::party::Seat;
use hashmix::policy::ruling::{
    CLOSED, DUE, EARNED, HEARD, HOLDER, OPENED, PAID, PERIOD, PRESENT, PRICE, RATE, REQUESTER,
    RIPE, SEEN, THROUGH, TIMELY,
};
use hashmix::work::receipt::{self, Subject};

use crate::case::{
    Request, V0, V2, answered, close_at_the_end, close_for_the_holder, dispute,
    half_a_period_short, nothing_delivered, paid_once, ruling_for_the_miner, ruling_on_a_state,
    ruling_on_the_relock, shift,
};
use crate::world::{INSTALLMENT, outcome, signer};

/// Another digest is asked about.
fn name(request: &mut Request, id: WordId) {
    let Task::Ruling { opening, .. } = &mut request.task else { panic!("no ruling") };
    *opening = id;
}

/// The same dispute, but the chain ends where period 2 is ripe: asked and seen before that.
fn ripe_at_last() -> Request {
    let mut request = ruling_for_the_miner();
    let ripe = request.play.world.terms.ruling_height(1).unwrap();
    let mut opening = request.opening();
    opening.sat_per_vb = 3;
    request.ask_at(opening, ripe - 6);
    request.play.world.rewind_to(ripe);
    request
}

/// The same dispute, opened at the very last height, which k validators have seen.
fn last_call() -> Request {
    seen_at_last([179, 179])
}

/// The same dispute, seen by two validators who had these heights.
fn seen_at_last(heights: [u32; 2]) -> Request {
    let mut request = ruling_for_the_miner();
    let mut opening = request.opening();
    opening.sat_per_vb = 3;
    request.play.world.mine_to(192);
    let id = opening.id().unwrap();
    request.believe(Seat::Miner, &Event::Dispute(DisputeEvent::Opened(opening)));
    for (place, height) in (0..).zip(heights) {
        request.receipt(place, id, height);
    }
    name(&mut request, id);
    request
}

/// The same dispute at another rate, seen by these validators.
fn seen_by(request: &mut Request, places: &[u8]) {
    let mut opening = request.opening();
    opening.sat_per_vb = 3;
    let (id, height) = (opening.id().unwrap(), request.play.world.tip() - 6);
    request.believe(Seat::Miner, &Event::Dispute(DisputeEvent::Opened(opening)));
    for place in places {
        request.receipt(*place, id, height);
    }
    name(request, id);
}

/// What a ruling has to pay the miner so that exactly dust is left of it: all that go on are of one
/// size.
fn barely_worth() -> u64 {
    let request = ruling_for_the_miner();
    let fee = request.judged().unwrap().draft().fee().unwrap();
    let terms = &request.play.world.terms;
    let dust = terms.reward.miner.payout_script().minimal_non_dust();
    (fee + terms.fees.ruling + dust).to_sat()
}

/// Nothing was delivered, but the holder has signed a state of period 1; the miner asks about it.
fn little_is_due(earned: u64) -> Request {
    answered(nothing_delivered(), 0, outcome(0, earned, false))
}

/// The miner asks for what is just worth its ruling.
fn just_enough_is_due() -> Request {
    little_is_due(barely_worth())
}

examine! {
    opened: OPENED, "refused (sender)", ruling_for_the_miner {
        accepts {
            an_opening_by_its_digest => |r| {
                let id = r.opening().id().unwrap();
                name(r, id);
            },
        }
        refuses {
            a_digest_that_nobody_has_sent => |r| name(r, WordId([1; 32])),
            the_same_opening_at_a_rate_that_was_not_sent => |r| {
                let mut opening = r.opening();
                opening.sat_per_vb += 1;
                name(r, opening.id().unwrap());
            },
            the_contracts_own_id => |r| name(r, WordId(r.contract.0)),
        }
    }
    requester: REQUESTER, "refused (validator 0)", ruling_for_the_miner {
        accepts {
            the_miner => |_| {},
            the_holder => |r| *r = close_for_the_holder(),
        }
        refuses {
            the_validator_himself => |r| r.ask(|opening| opening.requester = V0),
            another_validator by "refused (validator 2)" => |r| {
                r.ask(|opening| opening.requester = V2);
            },
        }
    }
    through: THROUGH, "refused (miner)", ruling_for_the_miner {
        accepts {
            the_period_that_was_asked_for => |r| r.outcome().period = 1,
        }
        refuses {
            the_period_before => |r| *r.outcome() = outcome(0, INSTALLMENT, false),
            the_period_behind => |r| r.outcome().period = 2,
            the_highest_number => |r| r.outcome().period = u32::MAX,
        }
    }
    period: PERIOD, "refused (miner)", ruling_for_the_miner {
        accepts {
            the_first => |r| {
                r.ask(|opening| opening.period = 0);
                *r.outcome() = outcome(0, INSTALLMENT, false);
            },
            the_last => |r| *r = close_at_the_end(Seat::Miner),
        }
        refuses {
            the_one_behind_the_last => |r| {
                r.ask(|opening| opening.period = 6);
                r.outcome().period = 6;
            },
            the_highest_number => |r| {
                r.ask(|opening| opening.period = u32::MAX);
                r.outcome().period = u32::MAX;
            },
        }
    }
    ripe: RIPE, "unavailable", ripe_at_last {
        accepts {
            at_the_very_height => |_| {},
        }
        refuses {
            one_block_early => |r| r.play.world.rewind_to(r.play.world.tip() - 1),
            when_a_reorg_takes_blocks_away => |r| r.play.world.rewind_to(r.play.world.tip() - 3),
            a_later_period_that_is_not_over => |r| {
                let height = r.play.world.tip() - 6;
                let mut opening = r.opening();
                opening.period = 2;
                r.ask_at(opening, height);
                r.outcome().period = 2;
            },
        }
    }
    rate: RATE, "refused (miner)", ruling_for_the_miner {
        accepts {
            the_floor => |r| r.ask(|opening| opening.sat_per_vb = 2),
            the_cap => |r| r.ask(|opening| opening.sat_per_vb = 50),
        }
        refuses {
            one_below_the_floor => |r| r.ask(|opening| opening.sat_per_vb = 1),
            one_above_the_cap => |r| r.ask(|opening| opening.sat_per_vb = 51),
            the_highest_number => |r| r.ask(|opening| opening.sat_per_vb = u64::MAX),
        }
    }
    present: PRESENT, "unavailable", ruling_for_the_miner {
        accepts {
            the_relock_once_it_is_mined => |r| *r = ruling_on_the_relock(None),
        }
        refuses {
            another_output_of_the_same_transaction => |r| {
                r.ask(|opening| opening.outpoint.vout = 1);
            },
            an_output_that_nobody_knows => |r| {
                let unknown = OutPoint::new("11".repeat(32).parse().unwrap(), 0);
                r.ask(|opening| opening.outpoint = unknown);
            },
            an_output_that_is_spent_and_mined => |r| {
                r.play = paid_once(None);
                r.play.world.mine_to(r.play.world.tip() + 1);
            },
            an_output_whose_spend_waits_in_the_mempool => |r| r.play = paid_once(None),
            a_relock_that_waits_in_the_mempool => |r| {
                r.play = paid_once(None);
                let relock = r.play.world.coin().outpoint;
                r.ask(|opening| opening.outpoint = relock);
            },
        }
    }
    seen: SEEN, "unavailable", ruling_for_the_miner {
        accepts {
            by_exactly_k_validators => |r| seen_by(r, &[1, 2]),
            by_all_of_them => |r| seen_by(r, &[0, 1, 2]),
        }
        refuses {
            by_nobody => |r| seen_by(r, &[]),
            by_one_validator_alone => |r| seen_by(r, &[0]),
            by_one_validator_twice => |r| seen_by(r, &[2, 2]),
            by_one_validator_and_one_on_a_tip_that_left_the_chain => |r| {
                seen_by(r, &[0]);
                let Task::Ruling { opening, .. } = r.task else { panic!("no ruling") };
                let subject = Subject::Opening { digest: opening.0 };
                let mut receipt = r.play.world.receipt(1, subject, 40);
                receipt.tip = BlockHash::hash(b"a losing branch");
                let message = receipt::message(receipt.position, &subject, receipt.tip);
                let signed = signer(Seat::Validator(1)).sign_digest(*message.as_ref());
                receipt.signature = signed.unwrap();
                let event = Event::Dispute(DisputeEvent::Receipted(receipt));
                r.believe(Seat::Validator(1), &event);
            },
        }
    }
    timely: TIMELY, "refused (miner)", last_call {
        accepts {
            at_the_very_last_height => |_| {},
        }
        refuses {
            one_block_late => |r| *r = seen_at_last([180, 180]),
            when_the_last_of_k_is_one_block_late => |r| *r = seen_at_last([179, 180]),
        }
    }
    heard: HEARD, "unavailable", ruling_for_the_miner {
        accepts {
            at_the_very_height_at_which_the_answer_span_ends => |_| {},
            long_after => |r| r.play.world.mine_to(r.play.world.tip() + 30),
        }
        refuses {
            one_block_early => |r| r.play.world.rewind_to(r.play.world.tip() - 1),
            at_once => |r| r.play.world.rewind_to(r.play.world.tip() - 6),
            when_the_second_receipt_came_a_block_later => |r| {
                seen_by(r, &[0]);
                let Task::Ruling { opening, .. } = r.task else { panic!("no ruling") };
                r.receipt(1, opening, r.play.world.tip() - 5);
            },
        }
    }
    price: PRICE, "refused (miner)", whole_price {
        accepts {
            the_whole_price => |_| {},
        }
        refuses {
            one_satoshi_more => |r| shift(&mut r.outcome().earned, 1),
            all_bitcoin_there_is => |r| r.outcome().earned = Amount::MAX_MONEY,
            the_highest_number => |r| r.outcome().earned = Amount::MAX,
        }
    }
    earned: EARNED, "refused (miner)", ruling_for_the_miner {
        accepts {
            what_the_evidence_says => |r| r.outcome().earned = Amount::from_sat(15_000_000),
            what_the_holder_has_signed_above_it => |r| *r = ruling_on_a_state(15_000_001),
            what_the_evidence_says_where_the_holder_has_signed_less => |r| {
                *r = ruling_on_a_state(14_999_999);
                r.outcome().earned = Amount::from_sat(15_000_000);
            },
        }
        refuses {
            one_satoshi_more => |r| shift(&mut r.outcome().earned, 1),
            one_satoshi_less => |r| shift(&mut r.outcome().earned, -1),
            nothing => |r| r.outcome().earned = Amount::ZERO,
            the_holder_asking_for_a_satoshi_less by "refused (holder)" => |r| {
                *r = close_at_the_end(Seat::Holder);
                shift(&mut r.outcome().earned, -1);
            },
        }
    }
    closes: CLOSED, "refused (miner)", ruling_for_the_miner {
        accepts {
            a_contract_that_goes_on => |r| r.outcome().closes = false,
            a_window_that_failed => |r| *r = close_for_the_holder(),
            the_end_of_the_term => |r| *r = close_at_the_end(Seat::Miner),
        }
        refuses {
            an_end_of_what_goes_on => |r| r.outcome().closes = true,
            a_window_that_failed_and_goes_on by "refused (holder)" => |r| {
                *r = close_for_the_holder();
                r.outcome().closes = false;
            },
            a_term_that_is_over_and_goes_on => |r| {
                *r = close_at_the_end(Seat::Miner);
                r.outcome().closes = false;
            },
        }
    }
    paid: PAID, "refused (sender)", ruling_for_the_miner {
        accepts {
            a_little_more_than_was_paid => |r| *r = paid_and_asked_again(24_900_000),
            a_close_below_what_was_paid => |r| {
                let mut play = paid_once(Some(30_000_000));
                play.ripen(3);
                *r = dispute(play, Seat::Holder, 3, outcome(3, 15_000_000, true));
                r.before(2);
            },
        }
        refuses {
            one_satoshi_less_than_was_paid => |r| *r = paid_and_asked_again(25_000_001),
            much_less_than_was_paid => |r| *r = paid_and_asked_again(30_000_000),
        }
    }
    holder: HOLDER, "refused (holder)", close_for_the_holder {
        accepts {
            a_close_at_the_end => |r| *r = close_at_the_end(Seat::Holder),
        }
        refuses {
            a_window_that_is_not_over => |r| {
                let asked = outcome(0, 0, false);
                *r = dispute(nothing_delivered(), Seat::Holder, 0, asked);
            },
            a_window_that_did_not_fail => |r| {
                let asked = outcome(1, 15_000_000, false);
                *r = dispute(half_a_period_short(), Seat::Holder, 1, asked);
            },
        }
    }
    due: DUE, "refused (miner)", just_enough_is_due {
        accepts {
            exactly_dust_after_its_costs => |_| {},
        }
        refuses {
            one_satoshi_below_dust_after_its_costs => |r| *r = little_is_due(barely_worth() - 1),
            nothing_at_all => |r| {
                *r = dispute(nothing_delivered(), Seat::Miner, 0, outcome(0, 0, false));
            },
            a_close_that_pays_the_miner_nothing => |r| {
                *r = dispute(nothing_delivered(), Seat::Miner, 1, outcome(1, 0, true));
            },
        }
    }
}

/// The holder has given everything.
fn whole_price() -> Request {
    ruling_on_a_state(6 * INSTALLMENT)
}

/// By a state this much was paid through period 2; the evidence says 25,000,000 through period 3. A
/// validator is asked who has never ruled.
fn paid_and_asked_again(paid: u64) -> Request {
    let mut request = ruling_on_the_relock(Some(paid));
    request.before(2);
    request
}
