//! A position is sold again: a new contract for the rest of its term takes over the work that was proven
//! under the one before, and counts the old lock until coinbases pay the new one.
//!
//! The term has six periods of one slice each. The new contract pays from the third on; the lock
//! changes with the fifth.

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxIn, TxOut, Txid};
use hashmix::error::Error;
use hashmix::flow::escrow::outcome::{close_request, judge, proof_script};
use hashmix::flow::escrow::terms::{EscrowTerms, Tenure};
use hashmix::flow::reward::coins;
use hashmix::flow::reward::state::{Event as RewardEvent, MOST_CARRIED};
use hashmix::flow::{Effect, Event};
use hashmix::id::PositionId;
use hashmix::party::Seat;
use hashmix::script::template::Variant;
use hashmix::work::agreement::Earlier;
use hashmix::work::certificate::Certificate;
use hashmix::work::receipt::{Receipt, Subject};

use crate::world::{Play, agreed, terms};

const HOLDER: Seat = Seat::Holder;
const V2: Seat = Seat::Validator(2);

/// The terms of the second sale: the same people with another lock.
fn later() -> EscrowTerms {
    let mut later = agreed(Variant::Nums);
    later.tenure = Some(Tenure {
        position: terms().position().unwrap(),
        transfer: 2,
        first: 2,
        earlier: vec![Earlier { until: 4, lock: lock(&terms()) }],
    });
    later.price = Amount::from_sat(40_000_000);
    later.check().unwrap();
    later
}

fn lock(terms: &EscrowTerms) -> ScriptBuf {
    coins::lock(&terms.reward).unwrap().script_pubkey
}

/// The contract before, with so many shares in its first four slices.
fn before(count: usize) -> Play {
    through(4, count)
}

fn through(slices: u32, count: usize) -> Play {
    let mut play = Play::funded(40);
    for slice in 0..slices {
        play.deliver(slice, count);
    }
    play
}

/// The new contract on the same chain, in which nothing was said yet.
fn after(old: &Play) -> Play {
    let mut world = old.world.clone();
    world.terms = later();
    Play::on(world)
}

/// What there is to carry over, as events of the contract.
fn to_carry(old: &Play, new: &Play) -> Vec<Event> {
    let evidence = old.contract.evidence();
    let facts = new.world.facts();
    let words = new.contract.reward().to_carry(new.contract.terms(), &facts, evidence);
    words.into_iter().map(Event::Reward).collect()
}

fn carried(receipts: Vec<Receipt>) -> Event {
    Event::Reward(RewardEvent::Carried { receipts })
}

fn certified(certificate: Certificate) -> Event {
    Event::Reward(RewardEvent::Certified(certificate))
}

/// A receipt of the contract before for its certificate of a slice.
fn receipt(old: &Play, slice: u32, validator: u8) -> Receipt {
    let (digest, _) = sealed(old, slice);
    let until = terms().calendar().receipts_until(slice).unwrap();
    let subject = Subject::Certificate { slice, digest };
    old.world.receipt(validator, subject, old.world.tip().min(until))
}

/// A transaction that spends an input of somebody's, if there is one before, then this outpoint.
fn spend(before: Option<OutPoint>, outpoint: OutPoint, output: Vec<TxOut>) -> Transaction {
    let input = before.into_iter().chain([outpoint]);
    let input = input.map(|previous_output| TxIn { previous_output, ..TxIn::default() }).collect();
    Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input, output }
}

fn somebodys(byte: u8) -> OutPoint {
    OutPoint::new(Txid::from_byte_array([byte; 32]), 0)
}

fn sealed(old: &Play, slice: u32) -> (hashmix::id::CertificateDigest, Certificate) {
    let found = old.contract.evidence().digests().find(|(_, s)| s.certificate.slice == slice);
    found.map(|(digest, sealed)| (digest, sealed.certificate.clone())).unwrap()
}

#[test]
fn the_holder_alone_carries_over_what_was_proven_and_it_is_worth_the_same() {
    let old = before(18);
    let mut new = after(&old);
    let words = to_carry(&old, &new);
    // Four receipts in one word, then the certificates of the third and the fourth slice.
    assert_eq!(words.len(), 3);
    for word in &words {
        new.say(HOLDER, word.clone()).unwrap();
    }
    assert_eq!(to_carry(&old, &new), []);
    new.ripen(3);
    let facts = new.world.facts();
    let was = judge(&terms(), &facts, old.contract.evidence(), 3).unwrap();
    let is = judge(&later(), &facts, new.contract.evidence(), 3).unwrap();
    assert_eq!(is.periods.iter().map(|row| row.period).collect::<Vec<_>>(), [2, 3]);
    for (one, other) in is.periods.iter().zip(&was.periods[2..]) {
        assert_eq!((one.period, one.shares, one.credit), (other.period, 18, other.credit));
        assert_eq!((one.agreed, one.filled), (other.agreed, other.filled));
        // A quarter of the new price, a sixth of the old.
        assert_eq!(
            (one.installment.to_sat(), other.installment.to_sat()),
            (10_000_000, 10_000_000)
        );
        assert!(one.earned > Amount::from_sat(9_000_000), "{one:?}");
    }
    // Without it the window would be empty, and the contract closed with it.
    let nothing = judge(&later(), &facts, after(&old).contract.evidence(), 3).unwrap();
    assert_eq!((nothing.earned(), nothing.close_after), (Amount::ZERO, Some(3)));
}

#[test]
fn the_escrow_of_the_new_contract_is_settled_from_its_first_period_on() {
    let old = through(3, 18);
    let mut new = after(&old);
    new.world.fund();
    for word in to_carry(&old, &new) {
        new.say(Seat::Miner, word).unwrap();
    }
    // The escrow is deep enough for states, and the third period is the last that is ripe.
    new.world.mine_to(later().ruling_height(2).unwrap() + 1);
    new.act(Seat::Miner);
    new.act(HOLDER);
    let ask = new.said.iter().find_map(|(_, event)| match event {
        Event::Escrow(hashmix::flow::escrow::state::Event::Asked(ask)) => Some(*ask),
        _ => None,
    });
    let outcome = ask.unwrap().outcome;
    assert_eq!((outcome.period, outcome.closes), (2, false));
    assert!(outcome.earned > Amount::from_sat(9_000_000), "{outcome:?}");
    for period in [0, 1, 6] {
        assert_eq!(new.contract.terms().ruling_height(period).unwrap_err().rule(), "terms-period");
    }
}

#[test]
fn a_miner_without_a_ripe_period_waits_for_the_first_of_his_contract() {
    let old = before(2);
    let mut new = after(&old);
    new.world.fund();
    new.world.mine_to(new.world.tip() + 1);
    let mut young = new.clone();
    young.world.rewind_to(50);
    young.world.fund();
    young.world.mine_to(51);
    let told = young.told(Seat::Miner);
    let until = later().ruling_height(2).unwrap();
    assert!(told.contains(&format!("until: {until}")), "{told}");
}

#[test]
fn carried_receipts_are_of_this_position_for_slices_that_are_paid_for_and_say_something_new() {
    let old = before(2);
    let mut new = after(&old);
    let one = receipt(&old, 2, 0);
    let refused = |receipts: Vec<Receipt>| new.judge(V2, &carried(receipts));
    let many = |count| vec![one.clone(); count];
    assert_eq!(refused(many(0)), "reward-carried");
    assert_eq!(refused(many(MOST_CARRIED + 1)), "reward-carried");
    assert_eq!(refused(many(MOST_CARRIED)), "admitted");
    // The second slice was settled by the contract before.
    assert_eq!(refused(vec![one.clone(), receipt(&old, 1, 0)]), "reward-carried");
    let subject = Subject::Opening { digest: [1; 32] };
    assert_eq!(refused(vec![old.world.receipt(0, subject, 40)]), "reward-carried");
    let elsewhere = Receipt { position: PositionId([4; 32]), ..one.clone() };
    assert_eq!(refused(vec![elsewhere]), "reward-carried");
    let forged = Receipt { validator: 1, ..one.clone() };
    assert_eq!(refused(vec![forged]), "work-receipt-signature");
    assert_eq!(old.judge(Seat::Miner, &carried(many(1))), "reward-carried");
    new.say(Seat::Miner, carried(many(1))).unwrap();
    assert_eq!(new.judge(V2, &carried(many(1))), "reward-carried");
    assert_eq!(new.judge(V2, &carried(vec![one.clone(), receipt(&old, 2, 1)])), "admitted");
}

#[test]
fn only_what_k_validators_have_seen_is_shown_by_others_than_the_miner() {
    let old = before(2);
    let mut new = after(&old);
    let word = certified(sealed(&old, 2).1);
    assert_eq!(new.judge(Seat::Miner, &word), "admitted");
    // Two of three decide; two receipts of one are one.
    for receipts in
        [vec![], vec![receipt(&old, 2, 0)], vec![old.world.receipt(0, subject(&old), 50)]]
    {
        if !receipts.is_empty() {
            new.say(HOLDER, carried(receipts)).unwrap();
        }
        let waits = new.contract.admit(&new.world.facts(), HOLDER, &word).unwrap_err();
        assert!(matches!(waits, Error::Unavailable(_)), "{waits}");
        assert_eq!(waits.rule(), "reward-carried");
    }
    new.say(HOLDER, carried(vec![receipt(&old, 2, 1)])).unwrap();
    for seat in [HOLDER, V2, Seat::Miner] {
        assert_eq!(new.judge(seat, &word), "admitted");
    }
    // Where nothing came before, nobody seals but the miner.
    assert_eq!(old.judge(HOLDER, &word), "flow-speaker");
}

#[test]
fn what_k_validators_have_seen_too_late_is_the_miners_alone_to_show() {
    let old = before(2);
    let mut new = after(&old);
    let (digest, certificate) = sealed(&old, 2);
    let (word, subject) = (certified(certificate), Subject::Certificate { slice: 2, digest });
    let until = terms().calendar().receipts_until(2).unwrap();
    let waits = |new: &Play| {
        let refused = new.contract.admit(&new.world.facts(), HOLDER, &word).unwrap_err();
        assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
        refused.rule()
    };
    let late: Vec<_> = (0..3).map(|place| old.world.receipt(place, subject, until + 1)).collect();
    new.say(HOLDER, carried(late.clone())).unwrap();
    assert_eq!(waits(&new), "reward-carried");
    assert_eq!(new.judge(Seat::Miner, &word), "admitted");
    // One in time is not enough, and neither are others of the same validator.
    new.say(HOLDER, carried(vec![old.world.receipt(0, subject, until)])).unwrap();
    new.say(HOLDER, carried(vec![old.world.receipt(0, subject, until - 1)])).unwrap();
    assert_eq!(waits(&new), "reward-carried");
    new.say(HOLDER, carried(vec![old.world.receipt(1, subject, until)])).unwrap();
    assert_eq!(new.judge(HOLDER, &word), "admitted");
    // Nor is it carried over.
    let mut slow = through(2, 2);
    slow.world.mine_to(55);
    let certificate = slow.world.certificate(2, 2);
    let digest = certificate.digest();
    slow.say(Seat::Miner, certified(certificate)).unwrap();
    slow.world.mine_to(until + 1);
    for place in [0, 1] {
        let subject = Subject::Certificate { slice: 2, digest };
        let receipt = slow.world.receipt(place, subject, until + 1);
        let word = Event::Reward(RewardEvent::Receipted(receipt));
        slow.say(Seat::Validator(place), word).unwrap();
    }
    assert_eq!(to_carry(&slow, &after(&slow)), []);
}

#[test]
fn what_a_block_has_the_digest_of_is_carried_over_without_receipts() {
    let until = terms().calendar().proofs_until(2).unwrap();
    for (mined, counts) in [(until, true), (until + 1, false)] {
        let mut old = through(2, 18);
        old.world.mine_to(55);
        let certificate = old.world.certificate(2, 18);
        let digest = certificate.digest();
        old.say(Seat::Miner, certified(certificate.clone())).unwrap();
        // Validators are silent, and the miner helps himself.
        old.world.mine_to(mined - 1);
        let payout = terms().reward.miner.payout_script();
        let paid = TxOut { value: payout.minimal_non_dust(), script_pubkey: payout.clone() };
        let proof = TxOut { value: Amount::ZERO, script_pubkey: proof_script(digest) };
        old.world.send(spend(None, somebodys(7), vec![proof, paid]));
        assert_eq!(to_carry(&old, &after(&old)), [], "it lies in no block yet");
        old.world.mine_to(mined);

        let mut new = after(&old);
        // Who follows the new contract sees it: the miner is the same.
        assert!(new.contract.watched().contains(&payout));
        let word = certified(certificate);
        if !counts {
            assert_eq!(to_carry(&old, &new), []);
            assert_eq!(new.judge(HOLDER, &word), "reward-carried");
            continue;
        }
        assert_eq!(to_carry(&old, &new), std::slice::from_ref(&word));
        new.say(HOLDER, word).unwrap();
        assert_eq!(to_carry(&old, &new), []);
        new.ripen(2);
        let verdict = judge(&later(), &new.world.facts(), new.contract.evidence(), 2).unwrap();
        assert_eq!(verdict.periods[0].shares, 18);
    }
}

/// Whether a validator would receipt now, and what.
fn receipts(play: &Play) -> Vec<Subject> {
    let effects = play.next(V2).into_iter();
    let receipt = |effect| match effect {
        Effect::Receipt(subject) => Some(subject),
        _ => None,
    };
    effects.filter_map(receipt).collect()
}

#[test]
fn validators_receipt_nothing_behind_the_close_of_a_contract() {
    let mut open = through(2, 2);
    open.world.mine_to(51);
    let close = spend(None, open.world.coin().outpoint, Vec::new());
    let mut closed = open.clone();
    closed.world.send(close);
    closed.world.mine_to(52);
    for play in [&mut open, &mut closed] {
        play.world.mine_to(55);
        let certificate = play.world.certificate(2, 2);
        play.say(Seat::Miner, certified(certificate)).unwrap();
        // A block that a reorg takes has closed nothing.
        assert_eq!(receipts(play).len(), 1, "the close is not deep");
        play.say(Seat::Miner, Event::Reward(RewardEvent::CloseAsked)).unwrap();
        assert_eq!(receipts(play).len(), 2);
        play.world.mine_to(57);
    }
    assert_eq!(receipts(&open).len(), 2);
    assert_eq!(receipts(&closed), []);
}

#[test]
fn behind_a_resale_validators_go_on_receipting_what_the_next_contract_counts() {
    let mut old = through(2, 2);
    let resale = spend(Some(somebodys(8)), old.world.coin().outpoint, Vec::new());
    old.world.send(resale.clone());
    old.world.mine_to(46);
    let locked = old.contract.locked();
    let ending = locked.ending(&old.world.facts()).unwrap().unwrap();
    assert_eq!((ending.by, ending.height, ending.resold), (resale.compute_txid(), 44, true));
    assert_eq!(ending.next_period(locked), 56);
    // What is mined behind it is proven where the miner sits, until he knows the next contract: its
    // receipts are good there.
    for slice in [2, 3] {
        let end = *terms().calendar().slice_blocks(slice).unwrap().end();
        old.world.mine_to(end);
        let certificate = old.world.certificate(slice, 2);
        old.say(Seat::Miner, certified(certificate)).unwrap();
        assert_eq!(receipts(&old).len(), 1, "slice {slice}");
        for place in [0, 1] {
            old.act(Seat::Validator(place));
        }
    }
    assert_eq!(to_carry(&old, &after(&old)).len(), 3, "receipts and two certificates");
    // Without the block that holds it nothing is sold.
    old.world.rewind_to(43);
    assert_eq!(old.contract.locked().ending(&old.world.facts()).unwrap(), None);
}

fn subject(old: &Play) -> Subject {
    Subject::Certificate { slice: 2, digest: sealed(old, 2).0 }
}

#[test]
fn work_that_goes_on_paying_the_holder_before_is_refused_and_the_refusal_says_why() {
    let mut old = before(2);
    let (fourth, mut new) = (sealed(&old, 3).1, after(&old));
    assert_eq!(new.judge(Seat::Miner, &certified(fourth)), "admitted");
    // What was settled before counts here no more.
    assert_eq!(new.judge(Seat::Miner, &certified(sealed(&old, 1).1)), "work-share-slice");
    // What pays the new lock before its time.
    let early = new.world.certificate(3, 2);
    let refused = new.contract.admit(&new.world.facts(), Seat::Miner, &certified(early.clone()));
    let refused = refused.unwrap_err();
    assert_eq!(refused.rule(), "work-pay-holder");
    assert!(refused.to_string().contains("which begins with period 5"), "{refused}");
    // And what pays the old one after it.
    old.deliver(4, 2);
    let late = certified(sealed(&old, 4).1);
    let refused = after(&old).contract.admit(&old.world.facts(), Seat::Miner, &late).unwrap_err();
    assert_eq!(refused.rule(), "work-pay-holder");
    let text = refused.to_string();
    assert!(text.contains("from height 68 to 91, found"), "{text}");
    assert!(text.contains("a holder before, which ended with period 4"), "{text}");
    // Too late for receipts a certificate is let in by its list; but it counts for nothing.
    let subject = Subject::Certificate { slice: 3, digest: early.digest() };
    let receipts = [0, 1].map(|validator| new.world.receipt(validator, subject, 67));
    new.ripen(3);
    new.say(HOLDER, carried(receipts.to_vec())).unwrap();
    new.say(HOLDER, certified(early)).unwrap();
    let verdict = judge(&later(), &new.world.facts(), new.contract.evidence(), 3).unwrap();
    assert_eq!(verdict.periods[1].shares, 0);
}

#[test]
fn a_request_to_close_one_contract_closes_no_other_of_its_position() {
    let mut old = before(18);
    old.say(Seat::Miner, Event::Reward(RewardEvent::CloseAsked)).unwrap();
    for place in [0, 1] {
        old.act(Seat::Validator(place));
    }
    let request = close_request(&terms()).unwrap();
    assert_eq!(old.contract.evidence().receipts(&request).len(), 2);
    assert_ne!(request, close_request(&later()).unwrap());
    let mut new = after(&old);
    let receipts = old.contract.evidence().receipts(&request).to_vec();
    assert_eq!(new.judge(HOLDER, &carried(receipts.clone())), "reward-carried");
    for word in to_carry(&old, &new) {
        new.say(HOLDER, word).unwrap();
    }
    // A validator may say it himself, and it is a request of another contract all the same.
    for receipt in receipts {
        let seat = Seat::Validator(receipt.validator);
        new.say(seat, Event::Reward(RewardEvent::Receipted(receipt))).unwrap();
    }
    new.ripen(3);
    let outcome = |play: &Play| {
        let (facts, evidence) = (new.world.facts(), play.contract.evidence());
        let terms = play.contract.terms();
        hashmix::flow::escrow::outcome::outcome(terms, &facts, evidence, 3).unwrap()
    };
    assert!(outcome(&old).closes);
    assert!(!outcome(&new).closes);
}
