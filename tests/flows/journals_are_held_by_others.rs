//! What a witness shows of another validator's journal, in whatever order its words reach him.

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, OutPoint, Txid};
use hashmix::flow::contract::Contract;
use hashmix::flow::escrow::txs::Outcome;
use hashmix::flow::journal::{self, Bond, Entry, Event as JournalEvent};
use hashmix::flow::{Effect, Event};
use hashmix::id::WordId;
use hashmix::party::Seat;

use crate::world::{World, outcome, signer, terms};

const V0: Seat = Seat::Validator(0);
const V1: Seat = Seat::Validator(1);
const V2: Seat = Seat::Validator(2);

fn bond(outcome: Outcome) -> Bond {
    let outpoint = OutPoint::null();
    Bond::Ruling { opening: WordId([9; 32]), outpoint, outcome, txid: Txid::all_zeros() }
}

/// Entry `number` of validator 0 over `previous`, for so many satoshis.
fn entry(contract: &Contract, number: u32, previous: WordId, earned: u64) -> Entry {
    let bond = bond(outcome(number, earned, false));
    let digest = journal::digest(contract.id(), 0, number, previous, &bond).unwrap();
    Entry { number, previous, bond, signature: signer(V0).sign_digest(digest.0).unwrap() }
}

fn first(contract: &Contract, earned: u64) -> Entry {
    entry(contract, 0, WordId([0; 32]), earned)
}

fn digest(contract: &Contract, entry: &Entry) -> WordId {
    entry.digest(contract.id(), 0).unwrap()
}

fn tip(number: u8) -> BlockHash {
    BlockHash::from_byte_array([number; 32])
}

fn asks(entry: &Entry, tip: BlockHash) -> Event {
    Event::Journal(JournalEvent::Entered { entry: entry.clone(), tip })
}

/// Hears a word as a peer would.
fn hear(contract: &mut Contract, world: &World, from: Seat, event: &Event) {
    contract.admit(&world.facts(), from, event).unwrap();
    contract.apply(from, event).unwrap();
}

/// What a witness says now: the claims and the entries that he shows for each.
fn shows(contract: &Contract, world: &World, witness: Seat) -> Vec<(WordId, Vec<Entry>)> {
    let effects = contract.next(&world.facts(), witness).unwrap();
    let mut shown: Vec<_> = effects
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Say(Event::Journal(JournalEvent::Witnessed { claim, entries, .. })) => {
                Some((claim, entries))
            }
            _ => None,
        })
        .collect();
    shown.sort_by_key(|(claim, _)| *claim);
    shown
}

/// Says everything that the witness has to say, and hears it himself.
fn answer(contract: &mut Contract, world: &World, witness: Seat) -> Vec<Event> {
    let mut said = Vec::new();
    for effect in contract.next(&world.facts(), witness).unwrap() {
        if let Effect::Say(event @ Event::Journal(_)) = effect {
            contract.apply(witness, &event).unwrap();
            said.push(event);
        }
    }
    said
}

fn scene() -> (Contract, World) {
    let terms = terms();
    (Contract::new(terms.clone()).unwrap(), World::funded(terms, 60))
}

#[test]
fn a_witness_who_knows_one_entry_shows_it_once_for_each_question() {
    let (mut he, world) = scene();
    let a = first(&he, 100);
    hear(&mut he, &world, V0, &asks(&a, tip(1)));
    assert_eq!(shows(&he, &world, V1), [(digest(&he, &a), vec![a.clone()])]);
    answer(&mut he, &world, V1);
    assert!(shows(&he, &world, V1).is_empty());
    // Who asks again, at another tip, is answered again; and never for himself.
    hear(&mut he, &world, V0, &asks(&a, tip(2)));
    assert_eq!(shows(&he, &world, V1).len(), 1);
    assert!(shows(&he, &world, V0).is_empty());
}

#[test]
fn of_two_entries_a_witness_shows_for_each_the_other_whichever_came_first() {
    for swapped in [false, true] {
        let (mut he, world) = scene();
        let (a, b) = (first(&he, 100), first(&he, 200));
        let (one, two) = if swapped { (&b, &a) } else { (&a, &b) };
        hear(&mut he, &world, V0, &asks(one, tip(1)));
        // Before he hears of the second he has shown the first.
        answer(&mut he, &world, V1);
        hear(&mut he, &world, V0, &asks(two, tip(2)));
        let mut expected =
            vec![(digest(&he, one), vec![two.clone()]), (digest(&he, two), vec![one.clone()])];
        expected.sort_by_key(|(claim, _)| *claim);
        assert_eq!(shows(&he, &world, V1), expected, "swapped: {swapped}");
    }
}

#[test]
fn a_witness_knows_an_entry_from_another_witness_too() {
    let (mut v1, world) = scene();
    let (a, b) = (first(&v1, 100), first(&v1, 200));
    hear(&mut v1, &world, V0, &asks(&a, tip(1)));
    let word = answer(&mut v1, &world, V1).remove(0);
    // The third has never heard from the first copy of validator 0.
    let (mut v2, _) = scene();
    hear(&mut v2, &world, V1, &word);
    hear(&mut v2, &world, V0, &asks(&b, tip(2)));
    assert_eq!(shows(&v2, &world, V2), [(digest(&v2, &b), vec![a.clone()])]);
    // So the copy with the old disk is shut, and takes back what it had entered.
    let (mut v0, _) = scene();
    hear(&mut v0, &world, V0, &asks(&b, tip(2)));
    for word in answer(&mut v2, &world, V2) {
        hear(&mut v0, &world, V2, &word);
    }
    assert_eq!(v0.journals().open(0).unwrap_err().rule(), "policy-memory-behind");
    let entries = v0.journals().restorable(0).unwrap();
    let dropped = v0.journals().to_drop(0, &entries);
    assert_eq!(dropped, [digest(&v0, &b)]);
    let restored = JournalEvent::Restored { entries, dropped };
    let word = Event::Journal(restored);
    for contract in [&mut v0, &mut v2] {
        hear(contract, &world, V0, &word);
        assert_eq!(contract.journals().entries(0), [&a]);
        assert!(contract.journals().open(0).is_ok());
    }
    assert!(shows(&v2, &world, V2).is_empty(), "what was dropped is asked about no more");
    // Nor does it come back with a letter that is late, from himself or from a witness.
    let late = JournalEvent::Witnessed {
        validator: 0,
        claim: digest(&v0, &a),
        tip: tip(1),
        entries: vec![b.clone()],
    };
    for contract in [&mut v0, &mut v2] {
        hear(contract, &world, V0, &asks(&b, tip(3)));
        hear(contract, &world, V1, &Event::Journal(late.clone()));
        assert!(contract.journals().open(0).is_ok());
    }
    hear(&mut v2, &world, V0, &asks(&a, tip(4)));
    assert_eq!(shows(&v2, &world, V2), [(digest(&v2, &a), vec![a.clone()])]);
    // But whoever turns out to hold it has it signed: then he is bound twice.
    let held = JournalEvent::Witnessed {
        validator: 0,
        claim: digest(&v0, &b),
        tip: tip(2),
        entries: vec![b.clone()],
    };
    hear(&mut v0, &world, V1, &Event::Journal(held));
    assert_eq!(v0.journals().open(0).unwrap_err().rule(), "policy-memory-forked");
}

#[test]
fn whoever_asks_again_begins_with_the_oldest_entry_that_a_witness_may_lack() {
    let (mut v0, mut world) = scene();
    let a = first(&v0, 100);
    let b = entry(&v0, 1, digest(&v0, &a), 200);
    let asked = world.facts().headers.hash(world.tip()).unwrap();
    hear(&mut v0, &world, V0, &asks(&a, asked));
    hear(&mut v0, &world, V0, &asks(&b, asked));
    let to_ask = |contract: &Contract, world: &World| {
        contract.journals().to_ask(&world.facts(), 0, &b.bond).map(|entry| entry.number)
    };
    assert_eq!(to_ask(&v0, &world), None, "the question is still fresh");
    world.mine_to(world.tip() + 6);
    assert_eq!(to_ask(&v0, &world), Some(0));
    let later = world.facts().headers.hash(world.tip()).unwrap();
    hear(&mut v0, &world, V0, &asks(&a, later));
    assert_eq!(to_ask(&v0, &world), Some(1));
    hear(&mut v0, &world, V0, &asks(&b, later));
    assert_eq!(to_ask(&v0, &world), None);
    // A tip that left the chain was asked in vain.
    world.rewind_to(world.tip() - 1);
    assert_eq!(to_ask(&v0, &world), Some(0));
}

#[test]
fn the_words_of_a_journal_are_said_by_validators_alone() {
    let (he, world) = scene();
    let a = first(&he, 100);
    for event in [
        asks(&a, tip(1)),
        Event::Journal(JournalEvent::Restored { entries: vec![a.clone()], dropped: Vec::new() }),
        Event::Journal(JournalEvent::Witnessed {
            validator: 0,
            claim: digest(&he, &a),
            tip: tip(1),
            entries: vec![a.clone()],
        }),
    ] {
        for party in [Seat::Miner, Seat::Holder] {
            let refused = he.admit(&world.facts(), party, &event).unwrap_err();
            assert_eq!(refused.rule(), "flow-speaker");
        }
    }
}
