//! A word carries its own proof: who said it, in which contract, and that nothing was changed.

use hashmix::flow::Event;
use hashmix::flow::dispute::state::{Event as DisputeEvent, Opening};
use hashmix::flow::word::{WORD_FORMAT, WORD_MAX_BYTES, Word};
use hashmix::id::TermsId;
use hashmix::party::Seat;

use crate::world::{SEATS, signer, terms};

fn event(period: u32) -> Event {
    let outpoint = bitcoin::OutPoint::null();
    let opening = Opening { requester: Seat::Miner, outpoint, period, sat_per_vb: 2 };
    Event::Dispute(DisputeEvent::Opened(opening))
}

fn word(from: Seat) -> Word {
    let contract = terms().id().unwrap();
    let message = Word::message(contract, from, &event(1)).unwrap();
    Word::new(contract, from, event(1), signer(from).sign_digest(message).unwrap())
}

#[test]
fn everybodys_word_survives_its_file_and_proves_itself() {
    for seat in SEATS {
        let word = word(seat);
        let read = Word::from_json(&word.to_json().unwrap()).unwrap();
        assert_eq!(read, word);
        assert_eq!(read.id(), word.id());
        read.verify(&terms()).unwrap();
    }
}

#[test]
fn a_word_in_which_anything_was_changed_is_refused_by_rule() {
    let terms = terms();
    let honest = word(Seat::Miner);
    let refused = |change: &dyn Fn(&mut Word)| {
        let mut word = honest.clone();
        change(&mut word);
        word.verify(&terms).unwrap_err()
    };
    assert_eq!(refused(&|w| w.event = event(2)).rule(), "message-digest");
    assert_eq!(refused(&|w| w.contract = TermsId([3; 32])).rule(), "word-contract");
    assert_eq!(refused(&|w| w.from = Seat::Validator(3)).rule(), "word-seat");
    assert_eq!(refused(&|w| w.signature = word(Seat::Holder).signature).rule(), "message-digest");
    // Whoever puts a word into another's mouth makes him the one to be asked.
    for seat in SEATS.into_iter().filter(|seat| *seat != Seat::Miner) {
        let error = refused(&|w| w.from = seat);
        assert_eq!(error.rule(), "message-digest");
        assert!(error.to_string().starts_with(&format!("refused ({seat})")), "{error}");
    }
}

#[test]
fn the_same_event_has_another_id_in_another_mouth_or_contract() {
    let contract = terms().id().unwrap();
    let ids = [
        word(Seat::Miner).id().unwrap(),
        word(Seat::Holder).id().unwrap(),
        Word { contract: TermsId([3; 32]), ..word(Seat::Miner) }.id().unwrap(),
        Word { event: event(2), ..word(Seat::Miner) }.id().unwrap(),
    ];
    for (place, id) in ids.iter().enumerate() {
        assert!(!ids[..place].contains(id));
    }
    // Schnorr signatures of one message differ; the word is the same.
    assert_eq!(word(Seat::Miner).id(), word(Seat::Miner).id());
    assert_eq!(word(Seat::Miner).contract, contract);
}

#[test]
fn garbage_foreign_formats_unknown_fields_and_giants_are_refused_by_form() {
    let text = word(Seat::Miner).to_json().unwrap();
    let unknown = text.replacen('{', "{\"extra\":1,", 1);
    let inner = text.replacen("\"opened\":{", "\"opened\":{\"extra\":1,", 1);
    let twice = text.replacen('{', &format!("{{\"format\":\"{WORD_FORMAT}\","), 1);
    for bad in [
        String::new(),
        "garbage".into(),
        "{}".into(),
        "null".into(),
        text.replace(WORD_FORMAT, "hashmix word 2"),
        text.replace("\"opened\"", "\"shouted\""),
        text.replace("\"sat_per_vb\":2", "\"sat_per_vb\":-2"),
        text.replace("\"sat_per_vb\":2", "\"sat_per_vb\":2.5"),
        text.replace("\"sat_per_vb\":2", "\"sat_per_vb\":18446744073709551616"),
        unknown,
        inner,
        twice,
        format!("{text}{text}"),
        "[".repeat(100_000),
        " ".repeat(WORD_MAX_BYTES + 1),
    ] {
        let error = Word::from_json(&bad).unwrap_err();
        assert_eq!(error.rule(), "word-form", "{:.80}", bad);
        assert_eq!(error.to_string().lines().count(), 1);
    }
    assert!(Word::from_json(&text).is_ok());
}
