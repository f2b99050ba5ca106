//! A miner's gateway brings what it seals to validators' servers, and hears their receipts.

use std::thread::sleep;
use std::time::{Duration, Instant};

use hashmix::gateway::sealer::{Miner, Sealer};
use hashmix::party::Seat;
use hashmix::rehearsal::people;
use hashmix::relay::folder::Folder;
use hashmix::store::Store;
use hashmix::work::certificate::Certificate;

use crate::http::{served, server};
use crate::town::Town;
use crate::world::FULL;

/// The miner's own engine leaves the table: his gateway speaks for him.
fn sealer(town: &mut Town, urls: &[String]) -> Sealer {
    town.table.leave(Seat::Miner);
    let seed = people::seed(&people::name(Seat::Miner)).unwrap();
    let home = town.table.dir.path().join("gateway");
    std::fs::create_dir_all(&home).unwrap();
    let miner = Miner {
        home: &home,
        seed: &seed,
        record: 0,
        electrum: &town.table.node.electrum_url(),
        relay: None,
        validators: urls,
    };
    Sealer::open(town.table.terms.clone(), &miner).unwrap()
}

fn receipts(sealer: &mut Sealer, certificate: &Certificate, wanted: usize) -> usize {
    let begin = Instant::now();
    loop {
        sealer.step().unwrap();
        let count = sealer.receipts(certificate.slice, certificate.digest());
        if count >= wanted || begin.elapsed() > Duration::from_secs(60) {
            return count;
        }
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn validators_servers_receipt_what_a_gateway_seals() {
    let mut town = served(&[0, 2]);
    let urls: Vec<String> =
        [0, 2].map(|place| format!("http://{}", server(&town, place).address)).into();
    let certificate = town.table.seal(0, FULL);
    town.table.elsewhere(1);
    let mut sealer = sealer(&mut town, &urls);
    sealer.say(certificate.clone()).unwrap();
    assert_eq!(receipts(&mut sealer, &certificate, 2), 2);
    assert_eq!(sealer.lacking(town.table.node.height().unwrap()), None);
    // Said twice is said once: the store has one word of it.
    let said = |home: &std::path::Path| {
        let store = Store::open(home.join("store.sqlite")).unwrap();
        let entries = store.entries(&town.id().0).unwrap();
        let texts = entries.iter().map(|entry| String::from_utf8_lossy(&entry.body));
        texts.filter(|text| text.contains("certified")).count()
    };
    let home = town.table.dir.path().join("gateway");
    assert_eq!(said(&home), 1);
    sealer.say(certificate.clone()).unwrap();
    assert_eq!(said(&home), 1);
}

#[test]
fn a_certificate_that_nobody_took_is_brought_again_after_a_restart() {
    let mut town = served(&[0, 2]);
    let certificate = town.table.seal(0, FULL);
    town.table.elsewhere(1);
    let nobody = ["http://127.0.0.1:1".to_owned()];
    let mut first = sealer(&mut town, &nobody);
    first.say(certificate.clone()).unwrap();
    first.step().unwrap();
    assert_eq!(first.receipts(certificate.slice, certificate.digest()), 0);
    let lacking = first.lacking(town.table.node.height().unwrap()).unwrap();
    assert_eq!((lacking.slice, lacking.receipts, lacking.needed), (0, 0, 2));
    drop(first);
    let url = format!("http://{}", server(&town, 2).address);
    let mut again = sealer(&mut town, &[url]);
    assert_eq!(receipts(&mut again, &certificate, 1), 1);
}

/// Steps until nothing is new.
fn quiet(sealer: &mut Sealer) {
    let begin = Instant::now();
    while sealer.has_news().unwrap() {
        sealer.step().unwrap();
        assert!(begin.elapsed() < Duration::from_secs(60), "it never rests");
    }
}

#[test]
fn a_gateway_asks_the_chain_again_when_a_block_a_letter_or_an_answer_came() {
    let mut town = served(&[0]);
    let url = format!("http://{}", server(&town, 0).address);
    let certificate = town.table.seal(0, FULL);
    town.table.elsewhere(1);
    let mut sealer = sealer(&mut town, &[url]);
    quiet(&mut sealer);
    town.table.elsewhere(1);
    assert!(sealer.has_news().unwrap(), "a block");
    quiet(&mut sealer);
    let home = town.table.dir.path().join("gateway");
    let letters = home.join("contracts").join(town.id().to_string()).join("letters");
    let holder = Folder::open(letters, Seat::Holder).unwrap();
    holder.post(Seat::Miner, "nonsense.json", "{}").unwrap();
    assert!(sealer.has_news().unwrap(), "a letter");
    quiet(&mut sealer);
    sealer.say(certificate.clone()).unwrap();
    sealer.step().unwrap();
    let begin = Instant::now();
    while !sealer.has_news().unwrap() {
        assert!(begin.elapsed() < Duration::from_secs(60), "no answer");
        sleep(Duration::from_millis(50));
    }
    sealer.step().unwrap();
    assert_eq!(receipts(&mut sealer, &certificate, 1), 1);
    quiet(&mut sealer);
    sealer.wake();
    assert!(sealer.has_news().unwrap());
}
