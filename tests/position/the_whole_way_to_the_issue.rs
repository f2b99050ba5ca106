//! Enrolled, registered, asked, onboarded, granted, bound, funded, issued.

use std::slice::from_ref;

use bitcoin::{Amount, OutPoint, Txid};
use hashmix::engine::issuing::{Issuing, Told};
use hashmix::flow::position::coins::{self, POSTAGE};
use hashmix::flow::position::proof::Stage;
use hashmix::flow::position::terms::PositionTerms;
use hashmix::flow::position::txs::{self, Funding};
use hashmix::flow::position::word::Event;
use hashmix::party::Seat;
use hashmix::rehearsal::position as cast;

use crate::town::{HEIGHTS, SHARES, Town, all_well, enrol, proven, step};

/// A word of each kind behind the enrolment, in the order of their turns. What they hold matters when
/// their turn has come.
fn words(terms: &PositionTerms) -> [(Seat, Event); 7] {
    let signature = cast::standing(0).unwrap().sign_digest([1; 32]).unwrap();
    let (record, script) = (terms.reward.miner.id().unwrap(), terms.reward.miner.payout_script());
    let funding = Funding::new(OutPoint::null(), Amount::from_sat(11_000));
    let lock = Stage::Binding.script(terms).unwrap();
    [
        (Seat::Validator(0), Event::Registered { record, script, signature }),
        (Seat::Miner, Event::Asked),
        (Seat::Miner, proven(terms, Stage::Onboarding, &[])),
        (Seat::Validator(0), Event::Granted { lock }),
        (Seat::Miner, proven(terms, Stage::Binding, &[])),
        (Seat::Miner, Event::Funded { funding, batch: Vec::new() }),
        (Seat::Validator(0), Event::IssueSigned { signatures: vec![signature] }),
    ]
}

/// Every word from this one on is refused: its turn has not come.
fn too_early(miner: &mut Issuing, validator: &mut Issuing, from: usize) {
    for (seat, event) in words(&miner.terms().clone()).into_iter().skip(from) {
        let (kind, one) =
            (event.kind(), if seat == Seat::Miner { &mut *miner } else { &mut *validator });
        let refused = one.say(event).unwrap_err();
        assert_eq!(refused.rule(), "position-order", "{kind} after {from} words");
    }
}

#[test]
fn three_validators_issue_a_position_after_they_have_seen_the_work() {
    let mut town = Town::new();
    let terms = cast::terms(1, HEIGHTS).unwrap();
    let (mut miner, mut validators) = (town.miner(1, &terms), town.validators(1, &terms));

    too_early(&mut miner, &mut validators[0], 0);
    enrol(&mut miner, 1);
    too_early(&mut miner, &mut validators[0], 1);
    all_well(&mut validators);
    too_early(&mut miner, &mut validators[0], 2);
    miner.say(Event::Asked).unwrap();
    too_early(&mut miner, &mut validators[0], 3);

    for stage in Stage::BOTH {
        let shares = town.mine(from_ref(&terms), stage, SHARES);
        miner.say(proven(&terms, stage, &shares)).unwrap();
        let place = if stage == Stage::Onboarding { 3 } else { 5 };
        too_early(&mut miner, &mut validators[0], place);
        all_well(&mut validators);
        all_well(&mut validators[..1]);
        too_early(&mut miner, &mut validators[0], if stage == Stage::Onboarding { 5 } else { 6 });
    }
    let turn = miner.turn().unwrap();
    assert_eq!((turn.by.as_slice(), turn.what.as_str()), (&[Seat::Miner][..], "fund the issue"));

    let (_, funding) = town.fund(from_ref(&terms), true);
    miner.say(Event::Funded { funding, batch: Vec::new() }).unwrap();
    assert_eq!(step(&mut validators), ["position-issue-funding"; 3], "it is in no block yet");
    // A stranger's dust is no issue, and spoils none.
    town.pay_to(coins::issued_seal(&terms).unwrap().script_pubkey);
    town.blocks(1);
    assert_eq!(signed(&mut validators[..1]), Vec::<Txid>::new());
    let sent = signed(&mut validators[1..]);
    let draft = txs::issue(from_ref(&terms), funding).unwrap();
    assert!(!sent.is_empty() && sent.iter().all(|txid| *txid == draft.txid()), "{sent:?}");

    town.blocks(1);
    let height = town.world.height().unwrap();
    let block = town.world.block(height).unwrap();
    let issue = block.txdata.iter().find(|tx| tx.compute_txid() == draft.txid()).unwrap();
    assert_eq!(issue.output[0].value, POSTAGE);
    let seal = coins::issued_seal(&terms).unwrap().script_pubkey;
    assert_eq!(issue.output[0].script_pubkey, seal);
    println!("issue of 2 of 3: {} vB", issue.vsize());
    assert_eq!(issue.vsize(), 255);
    let position = txs::position(draft.txid(), 0, 1);
    assert_eq!(position.to_string(), draft.txid().to_string());

    let facts = validators[0].facts().unwrap();
    let again = validators[0].state().issue(&terms, &facts).unwrap_err();
    assert_eq!(again.rule(), "position-issue-once");

    let told = format!("issued at height {height} by {}", draft.txid());
    for one in validators.iter_mut().chain([&mut miner]) {
        one.step().unwrap();
        let turn = one.turn().unwrap();
        assert_eq!((turn.by, &turn.what), (Vec::new(), &told));
    }
    replayed(&town, &terms, &told);
}

fn signed(people: &mut [Issuing]) -> Vec<Txid> {
    let mut sent = Vec::new();
    for one in people {
        sent.extend(one.step().unwrap().into_iter().filter_map(|told| match told {
            Told::Sent(txid) => Some(txid),
            _ => None,
        }));
    }
    sent
}

/// Whoever opens his store anew, or comes late with an empty one, reads the same.
fn replayed(town: &Town, terms: &PositionTerms, told: &str) {
    let again = town.validators(1, terms).into_iter().chain([town.miner(1, terms)]);
    for mut one in again {
        one.step().unwrap();
        assert_eq!(one.turn().unwrap().what, told);
    }
}

#[test]
fn a_word_before_its_turn_is_refused() {
    let town = Town::new();
    let terms = cast::terms(1, HEIGHTS).unwrap();
    let (mut miner, mut validators) = (town.miner(1, &terms), town.validators(1, &terms));
    let order = |miner: &mut Issuing, event| miner.say(event).unwrap_err().rule();
    assert_eq!(order(&mut miner, Event::Asked), "position-order");
    let lock = Stage::Binding.script(&terms).unwrap();
    let granted = Event::Granted { lock: lock.clone() };
    assert_eq!(order(&mut validators[0], granted.clone()), "position-order");
    assert_eq!(order(&mut miner, granted.clone()), "flow-speaker");

    let proof = "smpAA==".to_owned();
    assert_eq!(order(&mut miner, Event::Enrolled { proof }), "position-proof");
    enrol(&mut miner, 1);
    let record = terms.reward.miner.id().unwrap();
    let script = terms.reward.miner.payout_script();
    let signature = cast::standing(1).unwrap().sign_digest([1; 32]).unwrap();
    for (record, script, rule) in [
        (terms.reward.holder.id().unwrap(), script.clone(), "position-registered"),
        (record, lock, "position-registered"),
        (record, script, "message-digest"),
    ] {
        let event = Event::Registered { record, script, signature };
        assert_eq!(order(&mut validators[0], event), rule);
    }
    all_well(&mut validators[..2]);
    assert_eq!(order(&mut miner, Event::Asked), "position-order", "one has not registered him");
    all_well(&mut validators);
    miner.say(Event::Asked).unwrap();

    let shares = town.mine(from_ref(&terms), Stage::Onboarding, SHARES);
    let onboarded = proven(&terms, Stage::Onboarding, &shares);
    assert_eq!(order(&mut miner, proven(&terms, Stage::Binding, &shares)), "position-order");
    miner.say(onboarded).unwrap();
    all_well(&mut validators[..1]);
    assert_eq!(order(&mut validators[0], granted), "position-order", "one receipt of two");
    all_well(&mut validators[1..2]);
    let other = Stage::Onboarding.script(&terms).unwrap();
    let granted = Event::Granted { lock: other };
    assert_eq!(order(&mut validators[0], granted), "position-lock");
    // A stranger's word, and one that somebody else has signed.
    let words = town.dossier(1).join("words");
    let mut text = std::fs::read_to_string(file_of(&words, "miner-asked")).unwrap();
    text = text.replace("\"from\":\"miner\"", "\"from\":{\"validator\":0}");
    std::fs::write(words.join("1.json"), text).unwrap();
    std::fs::write(words.join("2.json"), "{}").unwrap();
    assert_eq!(step(&mut validators[..1]), ["message-digest", "word-form"]);
}

fn file_of(words: &std::path::Path, start: &str) -> std::path::PathBuf {
    let entries = std::fs::read_dir(words).unwrap().map(|entry| entry.unwrap());
    let mut named = entries.filter(|entry| entry.file_name().to_str().unwrap().starts_with(start));
    named.next().unwrap().path()
}
