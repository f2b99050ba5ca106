//! What a true dossier says: holder, contracts, the lock at each height.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::hashes::Hash;
use bitcoin::{Amount, OutPoint, ScriptBuf, Txid};
use hashmix::error::Result;
use hashmix::flow::position::coins::{POSTAGE, retirement};
use hashmix::flow::position::dossier::Sale;
use hashmix::flow::position::terms::PositionTerms;
use hashmix::flow::position::title::{Known, Standing, Traced, trace};
use hashmix::flow::reward;
use hashmix::tx::satoshi::Moved;
use hashmix::work::agreement::Entitlement;

use crate::made::{
    START, Story, anybody, coin, histories, holder_record, miner_record, terms, transaction,
};

#[test]
fn a_position_that_was_issued_is_held_by_the_miner() {
    let story = Story::in_memory("rehearsal");
    let title = story.bought().unwrap();
    assert_eq!((title.transfer, &title.holder), (0, &story.terms.reward.holder));
    assert_eq!(title.issued.signers, [0, 2]);
    assert_eq!(title.issued.position.to_string(), story.issue.txid.to_string());
    assert_eq!(title.seal(), Some(story.issue.seal()));
    let own = reward::coins::lock(&story.terms.reward).unwrap().script_pubkey;
    let at = |height| title.lock_at(&story.terms, height).unwrap();
    assert_eq!(at(START), Some(own.clone()));
    assert_eq!(at(START + 71), Some(own));
    assert_eq!((at(START - 1), at(START + 72)), (None, None));
}

#[test]
fn holder_and_lock_follow_two_sales_and_a_settlement() {
    let mut story = Story::in_memory("rehearsal");
    story.sell(1, 60_000_000, 0);
    let one = story.lock();
    story.settle(10_000_000);
    story.resell(2, story.resale(40_000_000, 2, 3));
    let two = story.lock();
    let title = story.bought().unwrap();
    assert_eq!((title.transfer, &title.holder), (2, &holder_record(2)));
    let numbers: Vec<u32> = title.sold.iter().map(|sold| sold.number).collect();
    assert_eq!(numbers, [1, 2]);
    assert!(title.void.is_empty());
    let at = |height| title.lock_at(&story.terms, height).unwrap().unwrap();
    // The third period is the new contract's, and still pays the old lock.
    for (height, lock) in
        [(START, &one), (START + 35, &one), (START + 36, &two), (START + 71, &two)]
    {
        assert_eq!(at(height), *lock, "height {height}");
    }
}

#[test]
fn a_seal_that_leaves_an_open_escrow_behind_changes_no_lock_and_no_right() {
    let mut story = Story::in_memory("rehearsal");
    story.sell(1, 60_000_000, 0);
    let lock = story.lock();
    let open = story.open.clone();
    // A second sale whose price is fresh money, while the first contract's escrow stays open.
    story.open = None;
    story.sell(2, 60_000_000, 3);
    let title = story.bought().unwrap();
    assert_eq!((title.transfer, &title.holder), (2, &holder_record(2)));
    assert_eq!(title.sold.len(), 1);
    assert_eq!(title.void[0].number, 2);
    assert!(title.void[0].why.contains("was open"), "{}", title.void[0].why);
    assert_eq!(title.lock_at(&story.terms, START + 60).unwrap(), Some(lock));
    // Once that escrow has ended, there is nothing to re-lock.
    let mut ended = Story::in_memory("rehearsal");
    ended.sell(1, 60_000_000, 0);
    let (outpoint, held) =
        (ended.open.clone().unwrap().outpoint, ended.txs.last().unwrap().0.output[1].clone());
    assert_eq!(outpoint.vout, open.unwrap().outpoint.vout);
    let inputs = [(outpoint, held)];
    ended.send(transaction(&inputs, vec![coin(59_990_000, anybody())]), &inputs);
    ended.open = None;
    ended.sell(2, 60_000_000, 3);
    let title = ended.bought().unwrap();
    assert_eq!(title.sold.iter().map(|sold| sold.number).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_sale_that_puts_nothing_into_its_escrow_binds_nobody() {
    let mut story = Story::in_memory("rehearsal");
    let sale = Sale { price: Amount::from_sat(60_000_000), first: 0, earlier: Vec::new() };
    let transfer = story.transfer(1, Some(sale));
    let inputs = [story.seal(), story.spare()];
    let script_pubkey = transfer.seal(&story.terms).unwrap();
    let outputs =
        vec![bitcoin::TxOut { value: POSTAGE, script_pubkey }, coin(60_000_000, anybody())];
    story.moves(&inputs, outputs, Some((1, transfer)));
    let title = story.bought().unwrap();
    assert_eq!((title.transfer, title.sold.len()), (1, 0));
    assert!(title.void[0].why.contains("did not go into its escrow"));
}

#[test]
fn an_opening_that_comes_later_changes_nothing() {
    let mut story = Story::in_memory("rehearsal");
    story.hand_to(1);
    story.hand_to(2);
    let both = story.title();
    let hidden = Story { transfers: vec![story.transfers[1].clone()], ..story.clone() };
    let title = hidden.title();
    assert_eq!((title.transfer, &title.holder), (both.transfer, &both.holder));
    assert_eq!(title.hops[0].standing, Standing::Unopened);
    assert_eq!(title.check().unwrap_err().rule(), "title-unopened");
}

#[test]
fn a_move_that_waits_is_shown_and_not_believed() {
    let mut story = Story::in_memory("rehearsal");
    story.hand_to(1);
    story.hand_to(2);
    story.txs.last_mut().unwrap().1 = None;
    let title = story.bought().unwrap();
    assert_eq!((title.transfer, &title.holder), (1, &holder_record(1)));
    assert_eq!((title.believed().count(), title.waiting().count()), (1, 1));
    assert_eq!(title.waiting().next().unwrap().standing, Standing::Held);
}

#[test]
fn a_seal_that_is_found_again_after_a_detour_is_held_by_who_is_named_then() {
    let mut story = Story::in_memory("rehearsal");
    let spare = story.spare();
    // Behind somebody else's coin, into the middle of an output.
    let inputs = [spare, story.seal()];
    let tx = story.moves(&inputs, vec![coin(100_005_000, anybody())], None);
    let inside = story.title();
    assert_eq!((inside.standing, inside.transfer), (Standing::InsideAnOutput, 0));
    let Moved::To(place) = inside.hops[0].moved else { panic!("{:?}", inside.hops) };
    assert_eq!(place.offset.to_sat(), 100_000_000);
    assert_eq!(inside.check().unwrap_err().rule(), "title-lost");
    // Whoever has it cuts it out again, so that it comes first.
    let transfer = story.transfer(3, None);
    let script_pubkey = transfer.seal(&story.terms).unwrap();
    let outputs = vec![coin(100_000_000, anybody()), coin(4_000, script_pubkey)];
    let inputs = [(OutPoint::new(tx.compute_txid(), 0), tx.output[0].clone())];
    story.moves(&inputs, outputs, Some((3, transfer)));
    let title = story.title();
    assert_eq!((title.standing, title.transfer), (Standing::Held, 2));
    assert_eq!(title.holder, holder_record(3));
    // A buyer keeps away all the same.
    assert_eq!(title.check().unwrap_err().rule(), "title-unopened");
}

#[test]
fn tracing_ends_at_the_retirement_script() {
    let mut story = Story::in_memory("rehearsal");
    story.hand_to(1);
    let end = retirement(&story.terms).unwrap().script_pubkey;
    let inputs = [story.seal(), story.spare()];
    let outputs = vec![coin(10_000, end.clone()), coin(99_990_000, anybody())];
    let tx = story.moves(&inputs, outputs, None);
    // Many positions end there; what the federation does with these coins moves none of them.
    let inputs = [(OutPoint::new(tx.compute_txid(), 0), coin(10_000, end))];
    story.send(transaction(&inputs, vec![coin(9_000, anybody())]), &inputs);
    let title = story.title();
    assert_eq!((title.standing, title.hops.len()), (Standing::Retired, 2));
    assert_eq!((title.seal(), &title.holder), (None, &holder_record(1)));
}

/// Three positions of a farm: each with a miner's record and a holder's of its own.
fn batch() -> Vec<PositionTerms> {
    let one = |number: u32| {
        let mut one = terms("rehearsal");
        if number > 0 {
            one.reward.miner = miner_record(number);
            one.reward.holder = holder_record(20 + number);
        }
        one
    };
    (0..3).map(one).collect()
}

#[test]
fn each_of_a_batch_has_its_own_seal_and_id() {
    let source = OutPoint::new(Txid::from_byte_array([7; 32]), 0);
    let mut ids = BTreeSet::new();
    for place in 0..3 {
        let value = Amount::from_sat(5_000_000_000);
        let story = Story::batch("rehearsal", source, value, batch(), place);
        let title = story.bought().unwrap();
        assert_eq!(title.seal().unwrap().vout, place);
        ids.insert(title.issued.position);
    }
    assert_eq!(ids.len(), 3);
}

/// A seal that was moved so often, each time to a script of which everything is known.
fn moved(times: u32) -> Result<Traced> {
    let mut story = Story::in_memory("rehearsal");
    let mut held = story.seal();
    for _ in 0..times {
        let inputs = [held.clone()];
        let tx = story.send(transaction(&inputs, vec![coin(10_000, anybody())]), &inputs);
        held = (OutPoint::new(tx.compute_txid(), 0), tx.output[0].clone());
    }
    let dossier = story.dossier().unwrap();
    let scripts: BTreeSet<ScriptBuf> =
        dossier.scripts().unwrap().into_iter().chain([anybody()]).collect();
    let facts = histories(&scripts, &story.txs);
    trace(&dossier, Known { facts: &facts, scripts: &scripts, others: &BTreeMap::new() })
}

#[test]
fn a_seal_is_followed_through_a_thousand_moves_and_no_more() {
    let Traced::Known(title) = moved(1_000).unwrap() else { panic!("asked for more") };
    assert_eq!((title.hops.len(), title.standing), (1_000, Standing::Unopened));
    for times in [1_001, 1_002] {
        assert_eq!(moved(times).unwrap_err().rule(), "title-moves");
    }
}

/// A position of six periods in three windows that pass or fail.
fn pass_fail() -> Story {
    let mut terms = terms("rehearsal");
    terms.delivery.rule = Entitlement::PassFail { critical: vec![301, 302, 303] };
    let source = OutPoint::new(Txid::from_byte_array([7; 32]), 0);
    Story::batch("rehearsal", source, Amount::from_sat(5_000_000_000), vec![terms], 0)
}

#[test]
fn a_resale_of_what_passes_or_fails_goes_on_with_the_counts_of_the_windows_left() {
    let mut story = pass_fail();
    story.sell(1, 60_000_000, 0);
    story.settle(20_000_000);
    story.resell(2, story.resale(40_000_000, 2, 3));
    let title = story.bought().unwrap();
    let counts: Vec<_> = title.sold.iter().map(|sold| sold.terms.delivery.rule.clone()).collect();
    let rule = |critical: &[u32]| Entitlement::PassFail { critical: critical.to_vec() };
    assert_eq!(counts, [rule(&[301, 302, 303]), rule(&[302, 303])]);
    // One that claims to begin inside a window is no transfer of it.
    for first in [1, 3, 5] {
        let mut cut = story.clone();
        cut.transfers[1].sale.as_mut().unwrap().first = first;
        assert_eq!(cut.dossier().unwrap_err().rule(), "sale-window");
    }
}

#[test]
fn who_withdraws_stays_the_holder_with_all_that_he_has_bought() {
    let mut story = Story::in_memory("rehearsal");
    // The miner, twice, before anybody buys.
    story.withdraw();
    story.withdraw();
    let title = story.bought().unwrap();
    assert_eq!((title.transfer, &title.holder), (2, &story.terms.reward.holder));
    assert!(title.sold.is_empty() && title.void.is_empty());
    // A buyer, under the contract of his transfer.
    story.sell(1, 60_000_000, 0);
    let contract = story.open.clone().unwrap().terms;
    story.withdraw();
    let title = story.bought().unwrap();
    assert_eq!((title.transfer, &title.holder), (4, &holder_record(1)));
    assert_eq!(title.contract().map(|sold| &sold.terms), Some(&contract));
    assert!(title.void.is_empty());
    // And he can sell on.
    story.resell(2, story.resale(40_000_000, 2, 3));
    assert_eq!(story.bought().unwrap().holder, holder_record(2));
    // Back to somebody who held it before is no withdrawal: his record is used up.
    story.transfers.push(story.transfer(1, None));
    assert_eq!(story.dossier().unwrap_err().rule(), "record-distinct");
}
