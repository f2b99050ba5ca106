//! What a desk hears, what it refuses, and what it answers the second time.

use bitcoin::base64::Engine;
use bitcoin::base64::prelude::BASE64_STANDARD;
use bitcoin::secp256k1::schnorr;
use hashmix::error::Error;
use hashmix::flow::dispute::txs::ruling;
use hashmix::flow::escrow::coins::{Progress, progress};
use hashmix::flow::escrow::txs::Outcome;
use hashmix::flow::word::Word;
use hashmix::flow::{Event, dispute, reward};
use hashmix::party::Seat;
use hashmix::validator::answer::Answer;
use hashmix::validator::request::{REQUEST_MAX_BYTES, Request};
use hashmix::validator::standing::Phase;

use crate::town::{Town, Way, command, request};
use crate::world::{FULL, INSTALLMENT, RATE, signer};

pub(crate) const OPEN: Phase = Phase::Open;

fn heard(town: &mut Town, request: &Request) -> Result<Answer, Error> {
    let said = town.desk(0).hand_in(&request.to_json().unwrap(), REQUEST_MAX_BYTES)?;
    Answer::from_json(&said)
}

/// The rule by which a request is not heard at all.
fn unheard(town: &mut Town, request: &Request) -> &'static str {
    heard(town, request).unwrap_err().rule()
}

/// The rules by which parts of a request are refused.
fn refused(town: &mut Town, request: &Request) -> Vec<String> {
    let answer = heard(town, request).unwrap();
    answer.verify(&town.table.terms).unwrap();
    assert!(answer.refuses_all());
    answer.refused.into_iter().map(|refusal| refusal.rule).collect()
}

/// A word of a seat, rightly signed, whatever it says.
pub(crate) fn said(town: &Town, from: Seat, event: Event) -> Word {
    let message = Word::message(town.id(), from, &event).unwrap();
    Word::new(town.id(), from, event, signer(from).sign_digest(message).unwrap())
}

pub(crate) fn close(town: &Town) -> Word {
    said(town, Seat::Miner, Event::Reward(reward::state::Event::CloseAsked))
}

#[test]
fn a_certificate_gets_a_receipt_and_everybody_can_fetch_what_was_said() {
    let mut town = Town::registered();
    town.table.deliver(0, FULL);
    let words = town.mail(0);
    let [certificate] = &words[..] else { panic!("{words:?}") };
    let request = request(town.id(), Seat::Miner, "first", words.clone());
    let answer = heard(&mut town, &request).unwrap();
    let [receipt] = &answer.words[..] else { panic!("{answer:?}") };
    assert_eq!(receipt.word.from, Seat::Validator(0));
    assert!(answer.refused.is_empty());
    let id = town.id();
    let all = town.desk(0).words(id, 0, 100).unwrap();
    let told: Vec<_> = all.iter().map(|numbered| &numbered.word).collect();
    assert_eq!(told, [certificate, &receipt.word]);
    assert_eq!(town.desk(0).words(id, all[0].number, 100).unwrap(), all[1..]);
    assert_eq!(town.desk(0).words(id, all[1].number, 100).unwrap(), []);
}

#[test]
fn a_sender_who_is_nobody_or_has_not_signed_is_not_heard() {
    let mut town = Town::registered();
    let good = request(town.id(), Seat::Miner, "a", vec![]);
    let other_contract = request(hashmix::id::TermsId([7; 32]), Seat::Miner, "a", vec![]);
    assert_eq!(unheard(&mut town, &other_contract), "policy-request-contract");
    for from in [Seat::Validator(0), Seat::Validator(3), Seat::Validator(255)] {
        let stranger = Request { from, ..good.clone() };
        assert_eq!(unheard(&mut town, &stranger), "policy-request-seat", "{from}");
    }
    let zeros = schnorr::Signature::from_slice(&[0; 64]).unwrap();
    for lie in [
        Request { from: Seat::Holder, ..good.clone() },
        Request { key: "b".into(), ..good.clone() },
        Request { words: vec![close(&town)], ..good.clone() },
        Request { psbt: Some(nothing()), ..good.clone() },
        Request { signature: zeros, ..good.clone() },
    ] {
        assert_eq!(unheard(&mut town, &lie), "policy-request-signature");
    }
    assert_eq!(heard(&mut town, &good).unwrap().words, []);
}

/// A PSBT that moves nothing.
fn nothing() -> String {
    let tx = bitcoin::Transaction {
        version: bitcoin::transaction::Version(3),
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![],
        output: vec![],
    };
    bitcoin::Psbt::from_unsigned_tx(tx).unwrap().to_string()
}

#[test]
fn another_form_or_size_is_refused_before_anything_is_looked_up() {
    let mut town = Town::registered();
    let good = request(town.id(), Seat::Miner, "a", vec![]).to_json().unwrap();
    let long = "k".repeat(65);
    for text in [
        String::new(),
        "[]".into(),
        good.replace("request 1", "request 2"),
        good.replace("\"key\":\"a\"", "\"key\":\"\""),
        good.replace("\"key\":\"a\"", "\"key\":\"\\n\""),
        good.replace("\"key\":\"a\"", "\"key\":\"é\""),
        good.replace("\"key\":\"a\"", &format!("\"key\":\"{long}\"")),
        good.replace("\"key\"", "\"kee\""),
        good.replace("\"words\":[]", "\"words\":[],\"psbt\":\"AAAA\""),
        good.replace("\"words\":[]", "\"words\":[],\"more\":1"),
    ] {
        let error = town.desk(0).hand_in(&text, REQUEST_MAX_BYTES).unwrap_err();
        assert_eq!((error.rule(), error.exit_code()), ("policy-request-form", 3), "{text}");
    }
    let length = good.len();
    assert_eq!(town.desk(0).hand_in(&good, length - 1).unwrap_err().rule(), "policy-request-size");
    let huge = "[".repeat(REQUEST_MAX_BYTES + 1);
    let error = town.desk(0).hand_in(&huge, REQUEST_MAX_BYTES).unwrap_err();
    assert_eq!(error.rule(), "policy-request-size");
    town.desk(0).hand_in(&good, length).unwrap();
}

#[test]
fn too_many_words_and_words_that_prove_nothing_are_refused_in_a_signed_answer() {
    let mut town = Town::registered();
    let (id, word) = (town.id(), close(&town));
    let many = request(id, Seat::Miner, "many", vec![word.clone(); 65]);
    assert_eq!(refused(&mut town, &many), ["policy-request-words"]);
    let stolen = Word { from: Seat::Holder, ..word.clone() };
    let elsewhere = Word { contract: hashmix::id::TermsId([7; 32]), ..word.clone() };
    let nobody = Word { from: Seat::Validator(9), ..word.clone() };
    for (number, bad) in [stolen, elsewhere, nobody].into_iter().enumerate() {
        let mixed = request(id, Seat::Holder, &format!("bad {number}"), vec![word.clone(), bad]);
        assert_eq!(refused(&mut town, &mixed), ["policy-request-word"]);
    }
    assert_eq!(town.desk(0).words(id, 0, 9).unwrap(), [], "the good one was not taken either");
    let good = request(id, Seat::Holder, "good", vec![word; 64]);
    assert!(heard(&mut town, &good).unwrap().refused.is_empty());
    let taken = town.desk(0).words(id, 0, 9).unwrap();
    let his = taken.iter().filter(|numbered| numbered.word.from == Seat::Miner);
    assert_eq!(his.count(), 1, "the same word sixty-four times is one");
}

#[test]
fn what_the_flow_refuses_comes_back_signed_and_can_be_shown_to_the_other_side() {
    let mut town = Town::registered();
    let mine = said(&town, Seat::Holder, Event::Reward(reward::state::Event::CloseAsked));
    let request = request(town.id(), Seat::Holder, "a", vec![mine]);
    let answer = heard(&mut town, &request).unwrap();
    let [refusal] = &answer.refused[..] else { panic!("{answer:?}") };
    assert_eq!((refusal.rule.as_str(), refusal.culprit.as_str()), ("flow-speaker", "holder"));
    answer.verify(&town.table.terms).unwrap();
    for changed in 0..5 {
        let mut lie = answer.clone();
        let refusal = &mut lie.refused[0];
        match changed {
            0 => refusal.culprit = "miner".into(),
            1 => refusal.rule = "flow-other".into(),
            2 => refusal.found.push('x'),
            3 => lie.request = hashmix::id::WordId([7; 32]),
            _ => lie.from = Seat::Validator(1),
        }
        assert_eq!(lie.verify(&town.table.terms).unwrap_err().rule(), "message-digest");
    }
}

#[test]
fn the_same_key_gets_the_same_bytes_and_never_stands_for_anything_else() {
    let mut town = Town::registered();
    town.table.deliver(0, FULL);
    let words = town.mail(0);
    let first = request(town.id(), Seat::Miner, "key", words);
    let text = first.to_json().unwrap();
    let answer = town.desk(0).hand_in(&text, REQUEST_MAX_BYTES).unwrap();
    town.table.elsewhere(3);
    assert_eq!(town.desk(0).hand_in(&text, REQUEST_MAX_BYTES).unwrap(), answer);
    // Another signature of the same content, white space: the content counts.
    let again = request(town.id(), Seat::Miner, "key", first.words.clone());
    assert_ne!(again.signature, first.signature);
    let spaced = serde_json::to_string_pretty(&again).unwrap();
    assert_eq!(town.desk(0).hand_in(&spaced, REQUEST_MAX_BYTES).unwrap(), answer);
    let other = request(town.id(), Seat::Miner, "key", vec![]);
    assert_eq!(unheard(&mut town, &other), "policy-request-key");
    // The other side's keys are its own.
    let his = request(town.id(), Seat::Holder, "key", vec![]);
    heard(&mut town, &his).unwrap();
    town.ways[0] = Way::Away;
    town.ways[0] = Way::Desk(Box::new(town.open(0)));
    assert_eq!(town.desk(0).hand_in(&text, REQUEST_MAX_BYTES).unwrap(), answer);
    assert_eq!(unheard(&mut town, &other), "policy-request-key");
}

/// A word that nobody can judge yet: it names a request that nobody has made.
fn early(town: &Town, number: u8) -> Word {
    let ask = hashmix::id::WordId([number; 32]);
    let event = reward::state::Event::SweepSigned { ask, signatures: vec![] };
    said(town, Seat::Miner, Event::Reward(event))
}

#[test]
fn a_word_that_makes_no_sense_yet_waits_and_is_taken_when_it_does() {
    let mut town = Town::registered();
    let away = std::mem::replace(&mut town.ways[0], Way::Away);
    town.dispute();
    town.table.elsewhere(town.table.terms.delays.answer);
    let ruled =
        |word: &Word| matches!(word.event, Event::Dispute(dispute::state::Event::Ruled { .. }));
    let mut rulings: Vec<Word> = Vec::new();
    // Each enters first, holds what the other has entered, and rules.
    for place in [1, 2, 1, 2] {
        let answer = town.bring(place).unwrap();
        rulings.extend(answer.words.into_iter().map(|numbered| numbered.word));
    }
    rulings.retain(ruled);
    assert_eq!(rulings.len(), 2);
    town.ways[0] = away;
    let id = town.id();
    let answer = heard(&mut town, &request(id, Seat::Miner, "1", rulings)).unwrap();
    assert!(answer.refused.is_empty() && answer.words.is_empty(), "{answer:?}");
    assert_eq!(answer.waiting.len(), 2, "{answer:?}");
    assert!(answer.waiting[0].why.contains("(dispute-opened)"), "{answer:?}");
    // Now what they rest on; it does not bring the rulings again.
    let mut rest = town.mail(0);
    rest.retain(|word| !ruled(word));
    let answer = heard(&mut town, &request(id, Seat::Miner, "2", rest)).unwrap();
    assert!(answer.refused.is_empty(), "{answer:?}");
    town.spread(&answer);
    town.round();
    let all = town.desk(0).words(id, 0, 1_000).unwrap();
    assert_eq!(all.iter().filter(|numbered| ruled(&numbered.word)).count(), 3, "his own too");
}

#[test]
fn what_waits_is_bounded_for_each_sender_and_shuts_nobody_out() {
    let mut town = Town::registered();
    let id = town.id();
    let waiting = |town: &Town, from: &str| {
        let inbox = town.home(0).join("contracts").join(id.to_string());
        let inbox = std::fs::read_dir(inbox.join("letters/validator-0/inbox")).unwrap();
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
        let his = format!("request-{from}-");
        inbox.map(name).filter(|n| n.to_string_lossy().starts_with(&his)).count()
    };
    for (batch, held) in [(0u8, 64), (1, 128), (2, 128), (3, 128)] {
        let words = (0..64).map(|n| early(&town, batch * 64 + n)).collect();
        let request = request(id, Seat::Miner, &format!("batch {batch}"), words);
        let answer = heard(&mut town, &request).unwrap();
        let of_room = |why: &str| why.contains("policy-request-backlog");
        let told = answer.waiting.iter().filter(|waiting| of_room(&waiting.why)).count();
        assert_eq!(told, usize::from(batch > 1), "{answer:?}");
        assert_eq!(answer.waiting.len() - told, 64, "what others brought is not told");
        assert_eq!(waiting(&town, "miner"), held, "batch {batch}");
        // Whoever else asks is heard, and what he brings waits beside it.
        let his = early(&town, 255);
        let next = self::request(id, Seat::Holder, &format!("next {batch}"), vec![his]);
        assert_eq!(heard(&mut town, &next).unwrap().waiting.len(), 1);
        assert_eq!(waiting(&town, "holder"), usize::from(batch) + 1);
    }
    // What made room was not refused: it may come again.
    let again = request(id, Seat::Miner, "again", vec![early(&town, 0)]);
    let answer = heard(&mut town, &again).unwrap();
    assert!(answer.refused.is_empty() && answer.waiting.len() == 2, "{answer:?}");
}

#[test]
fn what_is_expected_to_be_signed_is_compared_before_anything_is() {
    let mut town = Town::registered();
    town.dispute();
    let id = town.id();
    let with = |key: &str, psbt: &bitcoin::Psbt| {
        let psbt = psbt.to_string();
        let message = Request::message(id, Seat::Miner, key, &[], Some(&psbt)).unwrap();
        let signature = signer(Seat::Miner).sign_digest(message).unwrap();
        Request { psbt: Some(psbt), signature, ..request(id, Seat::Miner, key, vec![]) }
    };
    let terms = town.table.terms.clone();
    let facts = town.table.engine(Seat::Miner).facts().unwrap();
    let Progress::Open(coin) = progress(&terms, &facts).unwrap() else { panic!("no escrow") };
    let earned = bitcoin::Amount::from_sat(INSTALLMENT * 3 / 2);
    let outcome = Outcome { period: 1, earned, closes: false };
    let draft = ruling(&terms, &coin, outcome, Seat::Miner, RATE).unwrap();
    let good = draft.psbt().unwrap();
    let mut lie = good.clone();
    lie.unsigned_tx.output[0].value += bitcoin::Amount::from_sat(1);
    // Before the ruling is due there is nothing to compare.
    let answer = heard(&mut town, &with("early", &lie)).unwrap();
    assert!(answer.refused.is_empty() && answer.words.is_empty(), "{answer:?}");
    let rule = "policy-request-psbt";
    let told = |answer: &Answer| answer.waiting.iter().any(|waiting| waiting.why.contains(rule));
    assert!(told(&answer), "{answer:?}");
    town.table.elsewhere(terms.delays.answer);
    for (key, field) in [("amount", 0), ("height", 1), ("version", 2)] {
        let mut lie = good.clone();
        match field {
            0 => lie.unsigned_tx.output[0].value += bitcoin::Amount::from_sat(1),
            1 => lie.unsigned_tx.lock_time = bitcoin::absolute::LockTime::ZERO,
            _ => lie.unsigned_tx.version = bitcoin::transaction::Version::TWO,
        }
        let rules = refused(&mut town, &with(key, &lie));
        let of_the_transaction = |rule: &String| rule.starts_with("policy-tx-");
        assert!(rules.len() == 1 && rules.iter().all(of_the_transaction), "{key}: {rules:?}");
    }
    assert_eq!(town.desk(0).standing(id).unwrap().last_ruling, None);
    let answer = heard(&mut town, &with("good", &good)).unwrap();
    assert!(answer.words.len() == 1 && !told(&answer), "{answer:?}");
}

#[test]
fn a_psbt_that_breaks_a_rule_of_its_own_is_refused_by_that_rule() {
    let mut town = Town::registered();
    let good = request(town.id(), Seat::Miner, "a", vec![]).to_json().unwrap();
    let hear = |town: &mut Town, psbt: &str| {
        let text = good.replace("\"words\":[]", &format!("\"words\":[],\"psbt\":\"{psbt}\""));
        town.desk(0).hand_in(&text, REQUEST_MAX_BYTES).unwrap_err().rule()
    };
    // One zero byte behind the end.
    let mut longer = nothing().parse::<bitcoin::Psbt>().unwrap().serialize();
    longer.push(0);
    let longer = BASE64_STANDARD.encode(longer);
    assert_eq!(hear(&mut town, &longer), "policy-psbt-trailing");
    for none in ["AAAA", "", "no base64"] {
        assert_eq!(hear(&mut town, none), "policy-request-form", "{none}");
    }
    // Read, and only then asked who has signed it.
    assert_eq!(hear(&mut town, &nothing()), "policy-request-signature");
}

#[test]
fn the_command_answers_with_exit_code_three_if_everything_is_refused() {
    let mut town = Town::registered();
    town.ways[0] = Way::Away;
    let many = request(town.id(), Seat::Miner, "many", vec![close(&town); 65]);
    let file = town.file("request.json", &many.to_json().unwrap());
    let out = command(&["validator", "rule", &file], &town.desk_arguments(0));
    assert_eq!(out.status.code(), Some(3));
    let answer = Answer::from_json(String::from_utf8(out.stdout).unwrap().trim_end()).unwrap();
    assert_eq!(answer.refused[0].rule, "policy-request-words");
    let err = String::from_utf8(out.stderr).unwrap();
    assert!(err.contains("[validator-granted]") && err.lines().count() == 1, "{err}");
}
