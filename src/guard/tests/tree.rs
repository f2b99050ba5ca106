//! Branches: the most work wins, reorgs are told, and order of arrival does not matter.

use std::collections::BTreeMap;

use super::*;
use crate::facts::Facts;

#[test]
fn a_branch_of_equal_work_stays_beside_and_one_block_more_takes_over() {
    let mut guard = guard();
    grow(&mut guard, 10, 1, 0);
    let mut rival = cut(&guard, 7);
    let branch = grow(&mut rival, 4, 1, 7);
    let before: Vec<_> = (8..=10).map(|height| guard.hash(height).unwrap()).collect();
    for header in &branch[..3] {
        assert_eq!(guard.accept(header).unwrap(), Placed::Beside);
    }
    assert_eq!(guard.hash(10), Some(before[2]), "first seen among equals");
    assert_eq!(guard.work_of(branch[2].block_hash()), Some(guard.work()));
    let came: Vec<_> = branch.iter().map(Header::block_hash).collect();
    let reorg = Reorg { fork: 7, left: before.clone(), came };
    assert_eq!(guard.accept(&branch[3]).unwrap(), Placed::Reorg(reorg));
    assert_eq!((guard.tip(), guard.tip_hash()), (11, rival.tip_hash()));
    assert_eq!(guard.beside(), 3);
    assert_eq!(guard.active_ancestor(before[2]), Some(7));
    assert_eq!(guard.active_ancestor(came_last(&branch)), Some(11));
    assert_eq!(guard.height_of(before[2]), Some(10));
    assert_eq!(guard.active_ancestor(BlockHash::all_zeros()), None);
}

fn came_last(branch: &[Header]) -> BlockHash {
    branch.last().unwrap().block_hash()
}

#[test]
fn a_reorg_over_two_boundaries_takes_back_the_difficulty_too() {
    let mut guard = guard();
    grow(&mut guard, 2 * SPAN + 5, 2, 0);
    assert_eq!(guard.header(guard.tip()).unwrap().bits, bits(LIMIT), "slow, so never harder");
    let tip = guard.tip_hash();
    // The rival is quicker, so its blocks weigh more after the first boundary.
    let mut rival = cut(&guard, 3);
    let mut told = None;
    while told.is_none() {
        for header in grow(&mut rival, 1, 1, 7) {
            match guard.accept(&header).unwrap() {
                Placed::Beside => {}
                Placed::Reorg(reorg) => told = Some(reorg),
                other => panic!("{other:?}"),
            }
        }
    }
    let reorg = told.unwrap();
    assert_eq!((reorg.fork, reorg.left.len()), (3, 2 * SPAN as usize + 2));
    assert_eq!(reorg.left.last(), Some(&tip));
    assert!(guard.tip() <= 2 * SPAN + 5, "work decides, not the number of blocks");
    assert_eq!(guard.next_bits(0).unwrap(), rival.next_bits(0).unwrap());
    assert_eq!(guard.work(), rival.work());
    grow(&mut guard, SPAN, 1, 8);
}

#[test]
fn a_short_branch_of_hard_blocks_beats_a_long_one_of_easy_blocks() {
    let mut guard = guard();
    grow(&mut guard, 3 * SPAN, 9, 0);
    // The rival's second span takes no time, so its third is four times as hard.
    let mut rival = cut(&guard, SPAN);
    let mut branch = hurry(&mut rival, SPAN - 1, 7);
    branch.extend(grow(&mut rival, 10, 1, 7));
    assert!(rival.tip() < guard.tip());
    assert!(rival.work() > guard.work());
    let placed: Vec<Placed> = branch.iter().map(|h| guard.accept(h).unwrap()).collect();
    let reorgs = placed.iter().filter(|placed| matches!(placed, Placed::Reorg(_)));
    assert_eq!(reorgs.count(), 1);
    assert_eq!(guard.tip_hash(), rival.tip_hash());
}

#[test]
fn a_span_becomes_headers_that_know_the_branches_beside_it() {
    let mut guard = Guard::new(Network::Regtest);
    grow(&mut guard, 20, 600, 0);
    let mut rival = Guard::new(Network::Regtest);
    for height in 1..=15 {
        rival.accept(guard.header(height).unwrap()).unwrap();
    }
    let branch = grow(&mut rival, 2, 600, 7);
    for header in &branch {
        assert_eq!(guard.accept(header).unwrap(), Placed::Beside);
    }
    let headers = guard.headers(5).unwrap();
    assert_eq!((headers.first(), headers.tip()), (5, 20));
    assert_eq!(headers.active_ancestor(branch[1].block_hash()), Some(15));
    // A branch that left below the span has no place in it.
    assert_eq!(guard.headers(16).unwrap().active_ancestor(branch[1].block_hash()), None);
    for height in [21, u32::MAX] {
        assert_eq!(guard.headers(height).unwrap_err().rule(), "headers-known");
    }
    guard.vouch(&headers).unwrap();
    guard.vouch(&guard.headers(0).unwrap()).unwrap();
    // A run that ends lower is still part of the chain; one on the branch or beyond is not.
    let mut lower = rival.clone();
    grow(&mut lower, 1, 600, 9);
    for other in [&rival, &lower] {
        let refused = guard.vouch(&other.headers(5).unwrap()).unwrap_err();
        assert_eq!((refused.rule(), refused.exit_code()), ("guard-vouched", 3));
    }
    let mut longer = guard.clone();
    grow(&mut longer, 1, 600, 0);
    assert_eq!(guard.vouch(&longer.headers(5).unwrap()).unwrap_err().rule(), "guard-vouched");
    longer.vouch(&headers).unwrap();
}

#[test]
fn facts_are_attested_by_the_chain_with_the_most_work_and_none_other() {
    let mut guard = Guard::new(Network::Regtest);
    grow(&mut guard, 20, 600, 0);
    let mut rival = Guard::new(Network::Regtest);
    for height in 1..=15 {
        rival.accept(guard.header(height).unwrap()).unwrap();
    }
    let facts = |headers| Facts { headers, transactions: BTreeMap::new() };
    // A server that lags has seen less of the chain, and its facts stay those of its tip.
    let lagging = rival.headers(3).unwrap();
    let lost = grow(&mut rival, 1, 600, 7)[0];
    guard.accept(&lost).unwrap();
    assert_eq!(lagging.active_ancestor(lost.block_hash()), None);
    let attested = guard.attest(facts(lagging)).unwrap();
    assert_eq!((attested.headers.first(), attested.tip()), (3, 15));
    assert_eq!(attested.headers.active_ancestor(lost.block_hash()), Some(15));
    // A branch without the most work, and one that we have not seen.
    let refused = guard.attest(facts(rival.headers(3).unwrap())).unwrap_err();
    assert_eq!(refused.rule(), "guard-vouched");
    let mut ahead = guard.clone();
    grow(&mut ahead, 1, 600, 0);
    let refused = guard.attest(facts(ahead.headers(3).unwrap())).unwrap_err();
    assert_eq!(refused.rule(), "guard-vouched");
}

#[test]
fn what_was_let_in_once_is_taken_back_without_its_difficulty_being_asked_again() {
    let mut guard = guard();
    let run = grow(&mut guard, SPAN + 3, 1, 0);
    let mut again = self::guard();
    for header in &run {
        again.readmit(header).unwrap();
    }
    assert_eq!((again.tip_hash(), again.work()), (guard.tip_hash(), guard.work()));
    assert_eq!(again.readmit(&run[0]).unwrap(), Placed::Known);
    let mut idle = next(&again, 1, 0);
    while idle.validate_pow(idle.target()).is_ok() {
        idle.nonce += 1;
    }
    assert_eq!(rule(again.readmit(&idle)), "guard-work");
    let easy = mine(again.tip_hash(), START, bits(0x207f_ffff), 0, |_| {});
    assert_eq!(rule(again.readmit(&easy)), "guard-work");
    let stray = mine(BlockHash::all_zeros(), START, bits(LIMIT), 3, |_| {});
    assert_eq!(rule(again.readmit(&stray)), "guard-parent");
}

/// A tree of a few branches, each from a random height of a random earlier one.
fn forest(shape: &[(usize, u32, u32)]) -> Vec<Header> {
    let mut chains = vec![guard()];
    let mut all = grow(&mut chains[0], 6, 1, 0);
    for (mark, (from, at, length)) in (1u8..).zip(shape) {
        let from = &chains[from % chains.len()];
        let mut branch = cut(from, at % (from.tip() + 1));
        all.extend(grow(&mut branch, *length, 1, mark));
        chains.push(branch);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_the_order_of_arrival_the_same_work_is_on_top(
        shape in prop::collection::vec((0usize..4, 0u32..12, 1u32..9), 1..4),
        order in prop::collection::vec(any::<prop::sample::Index>(), 60),
    ) {
        let all = forest(&shape);
        let mut first = guard();
        for header in &all {
            first.accept(header).unwrap();
        }
        let mut waiting = all.clone();
        for (place, index) in order.iter().enumerate().take(waiting.len()) {
            let other = index.index(waiting.len());
            waiting.swap(place, other);
        }
        let mut second = guard();
        while !waiting.is_empty() {
            let before = waiting.len();
            waiting.retain(|header| match second.accept(header) {
                Ok(_) => false,
                Err(error) => {
                    assert_eq!(error.rule(), "guard-parent");
                    true
                }
            });
            prop_assert!(waiting.len() < before);
        }
        prop_assert_eq!(first.work(), second.work());
        prop_assert_eq!(first.known(), second.known());
        let heaviest = all.iter().map(|h| first.work_of(h.block_hash()).unwrap()).max().unwrap();
        prop_assert_eq!(first.work(), heaviest);
        let winners =
            all.iter().filter(|h| first.work_of(h.block_hash()) == Some(heaviest)).count();
        if winners == 1 {
            prop_assert_eq!(first.tip_hash(), second.tip_hash());
        }
        // The active chain hangs together, whatever became of it on the way.
        for height in 1..=second.tip() {
            let header = second.header(height).unwrap();
            prop_assert_eq!(Some(header.prev_blockhash), second.hash(height - 1));
            prop_assert_eq!(second.height_of(header.block_hash()), Some(height));
        }
    }
}
