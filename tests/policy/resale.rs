//! Is a resale the holder's own, agreed by the buyer, with the miner's notice kept and the miner heard,
//! and is he paid what the evidence says? And is it the only one?

use bitcoin::{Amount, Witness};
use hashmix::facts::CoinView;
use hashmix::flow::dispute::state::Event as DisputeEvent;
use hashmix::flow::journal::RESOLD;
use hashmix::flow::resale::terms::Request as Asked;
use hashmix::flow::sale::consent::Party;
use hashmix::flow::sale::terms::{Guard, OfferBody};
use hashmix::flow::{Effect, Event, Task, journal, resale as flow};
use hashmix::id::{PositionId, WordId};
use hashmix::party::Seat;
use hashmix::policy::Stage;
use hashmix::policy::resale::{
    ASKED, BUYER, CONTRACT, EARNED, EXPIRED, GOES_ON, GUARD, HEARD, LAST, NOTICE, PRESENT, SEEN,
    SELLER, SIGNED, SPAN, TERMS,
};
use hashmix::work::receipt::Subject;

use crate::case::{Request, V0, V1, shown};
use crate::desk::zeros;
use crate::market::{EXPIRES, accept, agreed, body, failed, nothing_is_due, resale};
use crate::world::{INSTALLMENT, Play, outcome};

/// Another digest is asked about.
fn name(request: &mut Request, id: WordId) {
    let Task::Resale { ask, .. } = &mut request.task else { panic!("no resale") };
    *ask = id;
}

/// The outcome that is asked for.
fn claimed(request: &mut Request) -> &mut hashmix::flow::escrow::txs::Outcome {
    let Task::Resale { outcome, .. } = &mut request.task else { panic!("no resale") };
    outcome
}

/// The same offer, asked for once more with a change behind its signatures.
fn forged(request: &mut Request, change: impl FnOnce(&mut Asked)) {
    let mut asked = request.asked();
    // Named by offer and acceptance: a changed price makes room for what is changed besides.
    asked = agreed(
        OfferBody { price: asked.offer.offer.price + Amount::ONE_SAT, ..asked.offer.offer },
        2,
    );
    change(&mut asked);
    request.believe_seen(asked, request.play.world.tip() - 6);
}

/// The same with an acceptance that its buyer signed.
fn accepted(
    request: &mut Request,
    change: impl FnOnce(&mut hashmix::flow::sale::terms::AcceptanceBody),
) {
    let asked = request.asked();
    let mut body = asked.acceptance.acceptance;
    change(&mut body);
    let asked = accept(&asked.offer, body);
    request.believe_seen(asked, request.play.world.tip() - 6);
}

/// The offer ends so many blocks above the tip.
fn expires(request: &mut Request, above: i32) {
    let last = request.play.world.tip().checked_add_signed(above).unwrap();
    request.offer(|body| body.expires = last);
}

/// Asked for anew, and seen by these validators.
fn seen_by(request: &mut Request, places: &[u8]) {
    let id = request.believe_unseen(agreed(request.asked().offer.offer, 3));
    for place in places {
        request.see(*place, id, request.play.world.tip() - 6);
    }
}

/// Asked for anew, and seen by two validators at this height; the answer span has passed since.
fn seen_at(request: &mut Request, height: u32) {
    request.play.world.mine_to(height + 6);
    request.believe_seen(agreed(request.asked().offer.offer, 3), height);
}

/// The window failed; the holder would rather sell than have it closed.
fn sold_though_failed() -> Request {
    let mut request = resale();
    let play = failed();
    let asked = agreed(body(&play, outcome(1, 0, false)), 2);
    request.play = play;
    let ripe = request.play.world.tip();
    request.play.world.mine_to(ripe + 6);
    request.believe_seen(asked, ripe);
    request
}

/// Validator 0 has signed the honest resale; others hold his entry.
fn signed_away() -> Request {
    let mut request = resale();
    request.play.act(V0);
    let entries = request.play.contract.journals().entries(0).len();
    assert_eq!(entries, 1);
    request
}

examine! {
    asked: ASKED, "refused (sender)", resale {
        accepts {
            a_request_by_its_digest => |r| {
                let id = r.asked().id().unwrap();
                name(r, id);
            },
        }
        refuses {
            a_digest_that_nobody_has_sent => |r| name(r, WordId([1; 32])),
            the_offer_alone => |r| {
                let id = r.asked().offer.offer.id().unwrap();
                name(r, id);
            },
        }
    }
    guard: GUARD, "refused (holder)", resale {
        accepts {
            left_to_validators => |r| r.takes(|resale| resale.guard = Guard::Validators),
        }
        refuses {
            left_to_the_miner => |r| r.takes(|resale| resale.guard = Guard::Miner),
            a_first_sale => |r| r.offer(|body| body.resale = None),
        }
    }
    contract: CONTRACT, "refused (holder)", resale {
        accepts {
            the_one_that_it_is_asked_in => |r| {
                let ours = r.play.world.terms.clone();
                r.takes(|resale| resale.contract = ours);
            },
        }
        refuses {
            a_satoshi_cheaper => |r| r.takes(|resale| resale.contract.price -= Amount::ONE_SAT),
            of_another_transfer => |r| r.takes(|resale| {
                resale.contract.tenure.as_mut().unwrap().transfer = 2;
            }),
            at_other_fees => |r| r.takes(|resale| resale.contract.fees.cap += 1),
        }
    }
    seller: SELLER, "refused (holder)", resale {
        accepts {
            after_an_offer_that_he_withdrew => |r| r.withdrawn(),
        }
        refuses {
            the_buyer_himself => |r| {
                let record = r.asked().acceptance.acceptance.holder;
                r.offer(|body| body.seller.record = record);
            },
            the_miner => |r| {
                let record = r.asked().offer.offer.terms.reward.holder;
                r.offer(|body| body.seller.record = record);
            },
            a_seal_as_it_was_issued => |r| r.offer(|body| body.seller.number = 0),
            a_seal_that_came_with_no_sale => |r| r.offer(|body| body.seller.sale = None),
            another_position => |r| r.offer(|body| body.position = PositionId([6; 32])),
            not_signed => |r| forged(r, |asked| asked.offer.signature = zeros()),
        }
    }
    present: PRESENT, "unavailable", resale {
        accepts {
            the_output_that_was_funded => |_| {},
        }
        refuses {
            a_satoshi_less => |r| r.takes(|resale| resale.value -= Amount::ONE_SAT),
            after_a_settlement_that_nobody_made => |r| r.takes(|resale| resale.index = 1),
            another_output_of_the_same_transaction => |r| r.takes(|resale| resale.escrow.vout = 1),
        }
    }
    expired: EXPIRED, "refused (holder)", resale {
        accepts {
            the_next_block_is_the_last => |r| expires(r, 1),
        }
        refuses {
            a_block_too_late => |r| expires(r, 0),
            over_when_it_was_asked => |r| expires(r, -6),
        }
    }
    span: SPAN, "refused (holder)", resale {
        accepts {
            a_block_until_its_end => |r| expires(r, 1),
        }
        refuses {
            a_block_more_than_two_weeks => |r| expires(r, 289),
            for_ever => |r| r.offer(|body| body.expires = u32::MAX),
        }
    }
    notice: NOTICE, "refused (holder)", resale {
        accepts {
            a_whole_notice_after_the_last_height => |r| r.offer(|body| body.expires = EXPIRES),
            a_period_more => |r| r.takes(|resale| resale.switch = 5),
        }
        refuses {
            a_block_short => |r| r.offer(|body| body.expires = EXPIRES + 1),
            a_period_too_soon => |r| r.takes(|resale| resale.switch = 3),
            at_once => |r| r.takes(|resale| resale.switch = 1),
            behind_the_term => |r| r.takes(|resale| resale.switch = 6),
            the_highest_number => |r| r.takes(|resale| resale.switch = u32::MAX),
        }
    }
    seen: SEEN, "unavailable", resale {
        accepts {
            by_two => |r| seen_by(r, &[0, 1]),
            by_two_others => |r| seen_by(r, &[1, 2]),
        }
        refuses {
            by_nobody => |r| seen_by(r, &[]),
            by_one => |r| seen_by(r, &[2]),
            by_one_twice => |r| seen_by(r, &[1, 1]),
        }
    }
    last: LAST, "refused (holder)", resale {
        accepts {
            a_block_before_the_next_one_can_be_ruled_on => |r| {
                let next = r.play.world.terms.ruling_height(1).unwrap();
                seen_at(r, next - 1);
            },
        }
        refuses {
            asked_when_the_next_one_could => |r| {
                let next = r.play.world.terms.ruling_height(1).unwrap();
                seen_at(r, next);
            },
            asked_before_it_could_be_ruled_on => |r| {
                let ripe = r.play.world.terms.ruling_height(0).unwrap();
                r.believe_seen(agreed(r.asked().offer.offer, 3), ripe - 1);
            },
            a_period_behind_the_term => |r| r.takes(|resale| resale.outcome.period = 6),
        }
    }
    heard: HEARD, "unavailable", resale {
        accepts {
            at_the_very_height_at_which_the_answer_span_ends => |r| {
                let ripe = r.play.world.terms.ruling_height(0).unwrap();
                assert_eq!(r.play.world.tip(), ripe + 6);
            },
        }
        refuses {
            a_block_early => |r| {
                let tip = r.play.world.tip();
                r.play.world.rewind_to(tip - 1);
            },
            as_soon_as_it_is_asked => |r| {
                let tip = r.play.world.tip();
                r.play.world.rewind_to(tip - 6);
            },
        }
    }
    earned: EARNED, "refused (holder)", resale {
        accepts {
            what_was_delivered => |_| {},
            nothing_where_nothing_was => |r| *r = nothing_is_due(),
        }
        refuses {
            a_satoshi_less => |r| r.takes(|resale| resale.outcome.earned -= Amount::ONE_SAT),
            a_satoshi_more => |r| r.takes(|resale| resale.outcome.earned += Amount::ONE_SAT),
            nothing => |r| r.takes(|resale| resale.outcome.earned = Amount::ZERO),
            another_number_than_the_offers => |r| claimed(r).earned += Amount::ONE_SAT,
            another_period_than_the_offers => |r| claimed(r).period += 1,
        }
    }
    goes_on: GOES_ON, "refused (holder)", resale {
        accepts {
            a_window_that_is_not_over => |r| *r = nothing_is_due(),
        }
        refuses {
            a_window_that_has_failed => |r| *r = sold_though_failed(),
            an_offer_that_closes => |r| r.takes(|resale| resale.outcome.closes = true),
            a_claim_that_closes => |r| claimed(r).closes = true,
        }
    }
    buyer: BUYER, "refused (sender)", resale {
        accepts {
            at_the_fee_floor => |r| accepted(r, |body| body.sat_per_vb = 2),
        }
        refuses {
            not_signed => |r| forged(r, |asked| asked.acceptance.signature = zeros()),
            above_the_fee_cap => |r| accepted(r, |body| body.sat_per_vb = 51),
            of_another_offer => |r| accepted(r, |body| body.offer.0[0] ^= 1),
        }
    }
    terms: TERMS, "refused (holder)", resale {
        accepts {
            the_positions_own => |_| {},
        }
        refuses {
            at_other_fees => |r| r.offer(|body| body.terms.fees.cap += 1),
            with_a_shorter_answer => |r| r.offer(|body| body.terms.delays.answer -= 1),
            a_period_left_out => |r| r.offer(|body| body.first = 2),
        }
    }
    signed: SIGNED, "refused (sender)", resale {
        accepts {
            by_both => |r| forged(r, |_| {}),
        }
        refuses {
            not_by_the_buyer => |r| forged(r, |asked| asked.buyer.pieces.clear()),
            by_the_seller_in_the_buyers_place => |r| forged(r, |asked| {
                asked.buyer = asked.seller.clone();
            }),
            zeros_of_the_buyers => |r| forged(r, |asked| {
                asked.buyer.pieces[0].witness = Witness::from_slice(&[[0u8; 64]]);
            }),
            the_seal_alone by "refused (holder)" => |r| forged(r, |asked| {
                asked.seller.pieces.pop();
            }),
            for_another_acceptance => |r| forged(r, |asked| asked.buyer.acceptance.0[0] ^= 1),
        }
    }
    resold: RESOLD, "refused (holder)", signed_away {
        accepts {
            the_very_same_once_more => |_| {},
            about_to_sign_it => |r| r.stage = Stage::Sign,
        }
        refuses {
            a_second_buyer_at_another_price => |r| r.offer(|body| body.price += Amount::ONE_SAT),
            the_same_buyer_at_another_rate => |r| {
                let asked = agreed(r.asked().offer.offer, 3);
                r.believe_seen(asked, r.play.world.tip() - 6);
            },
        }
    }
}

#[test]
fn a_ruling_after_a_resale_says_no_less() {
    let request = signed_away();
    let memory = request.play.contract.journals().memory(0);
    assert!(memory.admit(&outcome(0, INSTALLMENT, false)).is_ok());
    let fallen = memory.admit(&outcome(0, INSTALLMENT - 1, false)).unwrap_err();
    assert_eq!(fallen.rule(), "policy-memory-falls");
    let closed = memory.admit(&outcome(0, INSTALLMENT, true)).unwrap_err();
    assert_eq!(closed.rule(), "policy-memory-closes");
}

#[test]
fn yesterdays_disk_does_not_sell_to_a_second_buyer() {
    let mut request = signed_away();
    request.offer(|body| body.price += Amount::ONE_SAT);
    // His own words of today are lost; what validator 1 holds of them is not.
    let mut old = Play::on(request.play.world.clone());
    for (from, event) in &request.play.said {
        let his = matches!(
            event,
            Event::Journal(journal::Event::Entered { .. })
                | Event::Resale(flow::state::Event::Signed { .. })
        );
        if *from != V0 || !his {
            old.contract.apply(*from, event).unwrap();
        }
    }
    let asked = request.asked();
    request.play = old;
    request.believe_seen(asked, request.play.world.tip() - 6);
    assert_eq!(request.judged().unwrap_err().rule(), "policy-memory-behind");
}

#[test]
fn two_of_three_finish_it_and_anybody_sends_it() {
    let mut request = resale();
    assert!(request.play.act(V0).is_empty());
    let mut all = request.play.clone();
    let sent = request.play.act(V1);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].title.to_string(), "resale");
    assert_eq!(sent[0].signers, [Seat::Holder, V0, V1]);
    let spent: Vec<_> = sent[0].tx.input.iter().map(|input| input.previous_output).collect();
    assert_eq!(spent, flow::coins::spent(&request.asked()));
    // The miner, who is back, could send it too.
    all.act(V1);
    let effects = all.next(Seat::Miner);
    let his = effects.iter().any(|effect| {
        matches!(effect, Effect::Broadcast { tx, .. } if tx.compute_txid() == sent[0].tx.compute_txid())
    });
    assert!(!his, "it is in the mempool, and the escrow's output spent");
}

#[test]
fn words_about_a_resale_are_admitted_by_rule() {
    let request = resale();
    let (play, asked) = (&request.play, request.asked());
    let said = |asked: Asked| Event::Resale(flow::state::Event::Asked(Box::new(asked)));
    let judge = |change: &dyn Fn(&mut OfferBody)| {
        let mut body = asked.offer.offer.clone();
        change(&mut body);
        play.judge(Seat::Holder, &said(agreed(body, 2)))
    };
    assert_eq!(judge(&|_| {}), "admitted");
    for seat in [Seat::Miner, V0] {
        assert_eq!(play.judge(seat, &said(asked.clone())), "flow-speaker");
    }
    assert_eq!(judge(&|body| body.resale.as_mut().unwrap().guard = Guard::Miner), "resale-left");
    assert_eq!(judge(&|body| body.resale = None), "resale-left");
    assert_eq!(
        judge(&|body| body.resale.as_mut().unwrap().contract.price -= Amount::ONE_SAT),
        "resale-left"
    );
    assert_eq!(
        judge(&|body| body.resale.as_mut().unwrap().value -= Amount::ONE_SAT),
        "resale-present"
    );
    assert_eq!(judge(&|body| body.resale.as_mut().unwrap().index = 1), "resale-present");
    let mut unsigned = asked.clone();
    unsigned.buyer.by = Party::Miner;
    assert_eq!(play.judge(Seat::Holder, &said(unsigned)), "resale-consented");
    let mut other = asked.clone();
    other.seller.offer.0[0] ^= 1;
    assert_eq!(play.judge(Seat::Holder, &said(other)), "resale-consented");

    let signed = |ask, signatures| Event::Resale(flow::state::Event::Signed { ask, signatures });
    let id = asked.id().unwrap();
    assert_eq!(play.judge(V0, &signed(WordId([1; 32]), Vec::new())), "resale-asked");
    assert_eq!(play.judge(V0, &signed(id, Vec::new())), "tx-signature");
    assert_eq!(play.judge(V0, &signed(id, vec![zeros()])), "tx-signature");
    assert_eq!(play.judge(Seat::Holder, &signed(id, vec![zeros()])), "flow-speaker");
    let mut early = request.play.clone();
    early.world.rewind_to(early.world.tip() - 1);
    assert_eq!(early.judge(V0, &signed(id, vec![zeros()])), "resale-heard");
    let dispute = play.world.receipt(0, Subject::Opening { digest: id.0 }, 40);
    let receipt = Event::Resale(flow::state::Event::Receipted(dispute));
    assert_eq!(play.judge(V0, &receipt), "resale-asked");

    // A holder does not ask without end.
    let mut many = request.play.clone();
    for sats in 1..8 {
        let mut body = asked.offer.offer.clone();
        body.price += Amount::from_sat(sats);
        many.say(Seat::Holder, said(agreed(body, 2))).unwrap();
    }
    let mut ninth = asked.offer.offer.clone();
    ninth.price += Amount::from_sat(8);
    assert_eq!(many.judge(Seat::Holder, &said(agreed(ninth, 2))), "resale-again");
    assert_eq!(many.judge(Seat::Holder, &said(asked.clone())), "admitted", "a known one");
}

#[test]
fn what_the_evidence_does_not_say_is_declined() {
    let mut request = resale();
    request.takes(|resale| resale.outcome.earned -= Amount::ONE_SAT);
    let declined = request.play.next(V0).into_iter().find_map(|effect| match effect {
        Effect::Decline(error) => Some(error.rule()),
        _ => None,
    });
    assert_eq!(declined, Some("resale-just"));
}

#[test]
fn every_output_that_is_spent_is_there_in_every_source() {
    let request = resale();
    for outpoint in flow::coins::spent(&request.asked()) {
        for source in [0, 1] {
            let told = |lie: &dyn Fn(&mut Option<CoinView>)| {
                let mut request = request.clone();
                lie(request.sources()[source].coins.get_mut(&outpoint).unwrap());
                request.judged().unwrap_err().rule()
            };
            assert_eq!(told(&|coin| *coin = None), "policy-chain-unspent");
            let seen =
                |change: &dyn Fn(&mut CoinView)| told(&|coin| change(coin.as_mut().unwrap()));
            assert_eq!(seen(&|coin| coin.height = None), "policy-chain-confirmed");
            assert_eq!(seen(&|coin| coin.value -= Amount::ONE_SAT), "policy-chain-value");
            assert_eq!(seen(&|coin| coin.script = Default::default()), "policy-chain-script");
        }
    }
    // A coin may be mined, and then it matures; the seal and the escrow are not.
    let spent = flow::coins::spent(&request.asked());
    for (outpoint, rule) in spent.into_iter().zip([
        "policy-chain-coinbase",
        "policy-chain-coinbase",
        "policy-chain-mature",
    ]) {
        let mut request = request.clone();
        let coin = request.sources()[1].coins.get_mut(&outpoint).unwrap();
        coin.as_mut().unwrap().coinbase = true;
        assert_eq!(request.judged().unwrap_err().rule(), rule);
    }
}

#[test]
fn a_seal_that_was_withdrawn_is_not_sold() {
    let mut request = resale();
    let seal = request.asked().offer.offer.seal;
    let mut moved = request.play.world.transactions[&seal.txid].tx.clone();
    moved.input[0].previous_output = seal;
    request.play.world.send(moved);
    assert_eq!(request.judged().unwrap_err().rule(), "policy-chain-unspent");
}

#[test]
fn a_state_that_the_holder_signed_binds_him_when_he_sells_too() {
    let mut request = resale();
    let opening = request.play.opening(Seat::Miner, 0);
    let opened = Event::Dispute(DisputeEvent::Opened(opening));
    request.play.say(Seat::Miner, opened).unwrap();
    let id = opening.id().unwrap();
    let shown = shown(&request.play, outcome(0, INSTALLMENT + 1, false));
    let digest = shown.id(&id).unwrap().0;
    let answered = Event::Dispute(DisputeEvent::Answered { opening: id, shown });
    request.play.say(Seat::Miner, answered).unwrap();
    request.judged().unwrap();
    let tip = request.play.world.tip();
    for place in [0, 1] {
        let receipt = request.play.world.receipt(place, Subject::Answer { digest }, tip);
        let seen = Event::Dispute(DisputeEvent::Receipted(receipt));
        request.play.say(Seat::Validator(place), seen).unwrap();
    }
    assert_eq!(request.judged().unwrap_err().rule(), EARNED.id);
}
