//! Garbage, foreign contracts and tampered words: each ends in refused/ with one line, and nothing
//! else changes.

use std::fs;

use hashmix::flow::Event;
use hashmix::flow::reward::state::Event as RewardEvent;
use hashmix::flow::word::Word;
use hashmix::id::TermsId;
use hashmix::party::Seat;

use crate::world::{FULL, Table, refusals, signer};

fn word(table: &Table, contract: Option<TermsId>) -> Word {
    let position = table.terms.position().unwrap();
    let certificate =
        hashmix::work::certificate::Certificate::new(position, 0, Vec::new()).unwrap();
    let event = Event::Reward(RewardEvent::Certified(certificate));
    let contract = contract.unwrap_or(table.terms.id().unwrap());
    let message = Word::message(contract, Seat::Miner, &event).unwrap();
    let signature = signer(Seat::Miner).sign_digest(message).unwrap();
    Word::new(contract, Seat::Miner, event, signature)
}

#[test]
fn each_is_refused_with_one_line_and_nothing_else_changes() {
    let mut table = Table::funded();
    table.deliver(0, FULL);
    table.everybody();
    let seat = Seat::Validator(1);
    let id = table.terms.id().unwrap();
    let before = table.engine(seat).store().entries(&id.0).unwrap();
    let contract = format!("{:?}", table.engine(seat).contract());

    let good = word(&table, None).to_json().unwrap();
    let foreign = word(&table, Some(TermsId([7; 32]))).to_json().unwrap();
    let letters: [(&str, &str, Vec<u8>); 10] = [
        ("00-empty", "word-form", Vec::new()),
        ("01-garbage", "word-form", b"garbage \x1b[31m\r\n".to_vec()),
        ("02-no-text", "relay-message", vec![0xff, 0xfe, 0x00]),
        ("03-giant", "relay-message", vec![b' '; 8_388_609]),
        ("04-foreign", "word-contract", foreign.into_bytes()),
        ("05-renamed", "word-contract", good.replace(&id.to_string(), &"77".repeat(32)).into()),
        ("06-in-anothers-name", "message-digest", good.replace("\"miner\"", "\"holder\"").into()),
        ("07-no-seat", "word-seat", good.replace("\"miner\"", "{\"validator\":9}").into()),
        ("08-changed", "message-digest", good.replace("\"slice\":0", "\"slice\":1").into()),
        ("09-round", "joint-round", b"{\"format\":\"hashmix round 1\",\"psbt\":\"\"}".to_vec()),
    ];
    for (name, _, bytes) in &letters {
        table.drop_letter(seat, name, bytes);
    }
    let reports = table.step(seat);
    assert_eq!(refusals(&reports).len(), letters.len());
    for (name, rule, bytes) in &letters {
        let folder = table.folder(seat, "refused");
        assert_eq!(&fs::read(folder.join(name)).unwrap(), bytes, "{name} is kept as it was");
        let note = fs::read_to_string(folder.join(format!("{name}.txt"))).unwrap();
        assert!(note.contains(&format!("[{rule}]")), "{name}: {note}");
        assert!(note.starts_with("refused (") && note.ends_with('\n'), "{name}: {note}");
        assert_eq!(note.lines().count(), 1, "{name}");
        assert!(!note.trim_end().contains(|c: char| c.is_control()), "{name}: {note:?}");
    }
    assert_eq!(table.names(seat, "refused").len(), 2 * letters.len());
    assert!(table.names(seat, "inbox").is_empty());
    assert_eq!(table.engine(seat).store().entries(&id.0).unwrap(), before);
    assert_eq!(format!("{:?}", table.engine(seat).contract()), contract);
    assert!(refusals(&table.step(seat)).is_empty(), "nothing is reported twice");
    // The honest word beside them is taken as ever, and receipted.
    table.drop_letter(seat, "10-good", good.as_bytes());
    assert!(refusals(&table.step(seat)).is_empty());
    assert_eq!(table.engine(seat).store().entries(&id.0).unwrap().len(), before.len() + 2);
}
