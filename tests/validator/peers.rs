//! Validators whose servers know each other: a party tells each what it wants, and carries nothing
//! between them.

use std::net::TcpListener;
use std::thread::sleep;
use std::time::{Duration, Instant};

use hashmix::flow::{Event, reward};
use hashmix::id::WordId;
use hashmix::party::Seat;
use hashmix::validator::answer::{ANSWER_FORMAT, Answer, Numbered};
use hashmix::validator::request::REQUEST_MAX_BYTES;
use serde_json::Value;

use crate::http::{Server, signed};
use crate::requests::said;
use crate::town::{Town, Way, registration, request};
use crate::world::{FULL, INSTALLMENT, RATE};

/// Longest time that validators may take among themselves, on a slow machine.
const LONG: Duration = Duration::from_secs(120);

/// Time between two questions: a party may ask once a second.
const PAUSE: Duration = Duration::from_millis(1_100);

/// Loopback ports that nobody uses at this moment.
fn ports() -> [u16; 3] {
    let held = [0, 1, 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

fn server(town: &Town, place: u8) -> &Server {
    match &town.ways[usize::from(place)] {
        Way::Http(server) => server,
        _ => panic!("validator {place} is not reached over HTTP"),
    }
}

/// Starts the servers at these places, each with all others as peers.
fn start(town: &mut Town, ports: [u16; 3], places: &[u8]) {
    for place in places {
        let others = (0..3u8).filter(|other| other != place);
        let peers: Vec<String> =
            others.map(|other| format!("http://127.0.0.1:{}", ports[usize::from(other)])).collect();
        let server = Server::start_at(town, *place, ports[usize::from(*place)], &peers);
        town.ways[usize::from(*place)] = Way::Http(server);
    }
}

/// Hands each validator what the parties have said, and nothing of the other validators.
fn ask(town: &mut Town, round: &str) {
    for place in 0..3 {
        let words = town.mail(place);
        let request = request(town.id(), Seat::Miner, round, words);
        town.hand_in(place, &request);
    }
}

/// The miner fetches what validator `place` has said, from word `after` on; answers with the last
/// number.
fn fetch(town: &mut Town, place: u8, after: u64) -> u64 {
    let path = format!("/v1/contracts/{}/words?after={after}", town.id());
    let server = server(town, place);
    let auth = signed(town.id(), Seat::Miner, Seat::Validator(place), &path, server.tip());
    let (status, body) = server.ask("GET", &path, &auth, "");
    assert_eq!(status, 200, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    let words: Vec<Numbered> = serde_json::from_value(body["words"].clone()).unwrap();
    for numbered in words.iter().filter(|numbered| numbered.word.from == Seat::Validator(place)) {
        let name = format!("{}-{:05}.json", numbered.word.from, numbered.number);
        let text = numbered.word.to_json().unwrap();
        town.table.drop_letter(Seat::Miner, &name, text.as_bytes());
    }
    words.last().map_or(after, |numbered| numbered.number)
}

/// The miner looks and steps until `done`.
fn until(town: &mut Town, after: &mut [u64; 3], places: &[u8], done: impl Fn(&Town) -> bool) {
    let start = Instant::now();
    while !done(town) {
        assert!(
            start.elapsed() < LONG,
            "{:?}, heard {}; {:#?}",
            town.table.story(),
            heard(town),
            places.iter().map(|place| server(town, *place).told()).collect::<Vec<_>>()
        );
        for place in places {
            let seen = &mut after[usize::from(*place)];
            *seen = fetch(town, *place, *seen);
        }
        town.table.step(Seat::Miner);
        sleep(PAUSE);
    }
}

/// How many words of validators the miner has heard.
fn heard(town: &Town) -> usize {
    town.table
        .names(Seat::Miner, "dossier")
        .iter()
        .filter(|name| name.contains("validator"))
        .count()
}

#[test]
fn validators_bring_each_other_what_they_say_and_rule_while_one_of_them_is_away() {
    let mut town = Town::funded();
    let (ports, mut after) = (ports(), [0; 3]);
    start(&mut town, ports, &[0, 1, 2]);
    let text = registration(&town.table).to_json().unwrap();
    for place in 0..3 {
        assert_eq!(server(&town, place).post("/v1/contracts", &text).0, 200);
    }
    for slice in [0, 1] {
        town.table.deliver(slice, if slice == 0 { FULL } else { FULL / 2 });
        ask(&mut town, &format!("slice {slice}"));
    }
    // One goes away; what the others say waits for him.
    town.ways[2] = Way::Away;
    town.table.leave(Seat::Holder);
    until(&mut town, &mut after, &[0, 1], |town| heard(town) >= 4);
    town.table.ripen(1);
    town.table.step(Seat::Miner);
    town.table.engine(Seat::Miner).open_dispute(1, RATE).unwrap();
    ask(&mut town, "opening");
    until(&mut town, &mut after, &[0, 1], |town| heard(town) >= 6);
    town.table.elsewhere(town.table.terms.delays.answer);
    // Whoever asks wakes them; what they say then they bring each other.
    ask(&mut town, "ruling");
    until(&mut town, &mut after, &[0, 1], |town| !town.table.sent.is_empty());
    let [sent] = &town.table.sent[..] else { panic!("{:?}", town.table.story()) };
    assert_eq!(sent.signers, [Seat::Miner, Seat::Validator(0), Seat::Validator(1)]);
    let earned = INSTALLMENT * 3 / 2;
    assert_eq!(sent.tx.output[1].value.to_sat(), 6 * INSTALLMENT - earned);

    // Back again, he hears from the others what was said, the journals' entries too.
    start(&mut town, ports, &[2]);
    let journal = |town: &mut Town| {
        let path = format!("/v1/contracts/{}/words?after=0", town.id());
        let server = server(town, 2);
        let auth = signed(town.id(), Seat::Miner, Seat::Validator(2), &path, server.tip());
        server.ask("GET", &path, &auth, "").1.matches("\"witnessed\"").count()
    };
    let start = Instant::now();
    while journal(&mut town) < 3 {
        assert!(start.elapsed() < LONG, "he has not heard");
        sleep(PAUSE);
    }
}

/// A word of a seat that nobody can judge yet: it names a request that nobody has made.
fn early(town: &Town, from: Seat, number: u8, batch: u8) -> Numbered {
    let (ask, signatures) = (WordId([number, batch].repeat(16).try_into().unwrap()), vec![]);
    let event = Event::Reward(reward::state::Event::SweepSigned { ask, signatures });
    Numbered { number: u64::from(number), word: said(town, from, event) }
}

fn answer(town: &Town, from: Seat, words: Vec<Numbered>) -> Answer {
    Answer {
        format: ANSWER_FORMAT.to_owned(),
        contract: town.id(),
        from,
        request: WordId([9; 32]),
        words,
        refused: vec![],
        waiting: vec![],
    }
}

#[test]
fn an_answer_brings_its_speakers_own_words_in_bounds_and_nothing_else() {
    let mut town = Town::registered();
    let one = Seat::Validator(1);
    let waiting = |town: &Town| {
        let home = town.home(0).join("contracts").join(town.id().to_string());
        std::fs::read_dir(home.join("letters/validator-0/inbox")).map_or(0, Iterator::count)
    };
    let many = |town: &Town, batch, most| -> Vec<Numbered> {
        (0..most).map(|number| early(town, one, number, batch)).collect()
    };
    let good = answer(&town, one, many(&town, 0, 64));
    let foreign = |town: &Town, seat| vec![early(town, one, 1, 0), early(town, seat, 2, 0)];
    for (lie, rule) in [
        (answer(&town, one, foreign(&town, Seat::Miner)), "validator-answer"),
        (answer(&town, one, foreign(&town, Seat::Validator(2))), "validator-answer"),
        (answer(&town, one, many(&town, 0, 65)), "validator-answer"),
        (Answer { from: Seat::Validator(0), ..good.clone() }, "validator-answer"),
        (answer(&town, Seat::Miner, vec![early(&town, Seat::Miner, 1, 0)]), "validator-answer"),
        (answer(&town, Seat::Validator(7), vec![]), "validator-answer"),
        (
            Answer { contract: hashmix::id::TermsId([7; 32]), ..good.clone() },
            "policy-request-contract",
        ),
    ] {
        let error = town.desk(0).take_answer(&lie.to_json().unwrap()).unwrap_err();
        assert_eq!(error.rule(), rule, "{error}");
        assert_eq!(waiting(&town), 0);
    }
    let text = good.to_json().unwrap();
    let long = format!("{text}{}", " ".repeat(REQUEST_MAX_BYTES));
    assert_eq!(town.desk(0).take_answer(&long).unwrap_err().rule(), "validator-answer");
    let mut recounted = good.clone();
    recounted.words.iter_mut().for_each(|numbered| numbered.number += 1_000);
    for answer in [&good, &good, &recounted] {
        town.desk(0).take_answer(&answer.to_json().unwrap()).unwrap();
        assert_eq!(waiting(&town), 64, "the same words, however they are counted");
    }
    for (batch, held) in [(1, 128), (2, 128), (3, 128)] {
        let more = answer(&town, one, many(&town, batch, 64)).to_json().unwrap();
        town.desk(0).take_answer(&more).unwrap();
        assert_eq!(waiting(&town), held, "his oldest make room");
    }
}

#[test]
fn the_same_words_make_the_same_request_whatever_was_counted_before_them() {
    let mut town = Town::registered();
    town.table.deliver(0, crate::world::FULL);
    let answer = town.bring(0).unwrap();
    let [receipt] = &answer.words[..] else { panic!("{answer:?}") };
    let id = town.id();
    let keys: Vec<String> = [0, receipt.number - 1]
        .into_iter()
        .map(|after| town.desk(0).parcel(id, after).unwrap().1.unwrap().key)
        .collect();
    assert_eq!(keys[0], keys[1]);
    assert_eq!(town.desk(0).parcel(id, receipt.number).unwrap().1, None);
}
