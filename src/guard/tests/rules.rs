//! Each rule: it lets in, it refuses, and the refusal names it.

use super::*;

/// Grinds until the hash misses the target.
fn idle(mut header: Header) -> Header {
    while header.validate_pow(header.target()).is_ok() {
        header.nonce += 1;
    }
    header
}

#[test]
fn a_header_needs_its_parent_in_the_tree() {
    let mut guard = guard();
    let first = next(&guard, 1, 0);
    let second = mine(first.block_hash(), START + 2, bits(LIMIT), 0, |_| {});
    assert_eq!(rule(guard.accept(&second)), "guard-parent");
    assert_eq!(guard.accept(&first).unwrap(), Placed::Tip);
    assert_eq!(guard.accept(&second).unwrap(), Placed::Tip);
    let stray = mine(BlockHash::all_zeros(), START + 3, bits(LIMIT), 1, |_| {});
    assert_eq!(rule(guard.accept(&stray)), "guard-parent");
    assert_eq!(guard.accept(&second).unwrap(), Placed::Known);
    assert_eq!((guard.tip(), guard.known()), (2, 3));
}

#[test]
fn a_header_needs_its_work() {
    let mut guard = guard();
    let good = next(&guard, 1, 0);
    assert_eq!(rule(guard.accept(&idle(good))), "guard-work");
    let mut altered = good;
    altered.merkle_root = TxMerkleNode::from_byte_array([9; 32]);
    assert_eq!(rule(guard.accept(&idle(altered))), "guard-work");
    assert_eq!(guard.known(), 1, "a refused header leaves no trace");
    guard.accept(&good).unwrap();
}

#[test]
fn difficulty_off_the_boundary_is_that_of_the_parent() {
    let mut guard = guard();
    grow(&mut guard, 3, 1, 0);
    let time = START + 4;
    let easier = mine(guard.tip_hash(), time, bits(LIMIT + 1), 0, |h| h.bits = bits(0x2007_ffff));
    assert_eq!(rule(guard.accept(&easier)), "guard-bits");
    // Harder than demanded is refused too: work that the rule does not ask for is not counted.
    let harder = mine(guard.tip_hash(), time, bits(0x1f3f_ffff), 0, |_| {});
    assert_eq!(rule(guard.accept(&harder)), "guard-bits");
    // A target of zero and one beyond 256 bits are other difficulties, no more.
    for odd in [0, 0x0180_0000, 0xff7f_ffff] {
        let mut header = next(&guard, 1, 0);
        header.bits = bits(odd);
        assert_eq!(rule(guard.accept(&header)), "guard-bits", "{odd:08x}");
    }
    grow(&mut guard, 1, 1, 0);
}

#[test]
fn difficulty_follows_time_over_two_boundaries_and_its_step_is_bounded() {
    let mut guard = guard();
    // A first span in half its time: twice as hard. A second at a crawl: four times as easy, but
    // never beyond the limit.
    grow(&mut guard, SPAN - 1, 1, 0);
    let start = guard.header(0).unwrap().time;
    let last = guard.header(SPAN - 1).unwrap().time;
    let expected = CompactTarget::from_next_work_required(
        bits(LIMIT),
        u64::from(last - start),
        guard.params(),
    );
    assert_ne!(expected, bits(LIMIT), "35 s instead of 36: a little harder");
    let time = last + 1;
    let unchanged = mine(guard.tip_hash(), time, bits(LIMIT), 0, |_| {});
    assert_eq!(rule(guard.accept(&unchanged)), "guard-bits");
    let much_harder = mine(guard.tip_hash(), time, bits(0x1f1f_ffff), 0, |_| {});
    assert_eq!(rule(guard.accept(&much_harder)), "guard-bits");
    let boundary = next(&guard, 1, 0);
    assert_eq!(boundary.bits, expected);
    guard.accept(&boundary).unwrap();
    grow(&mut guard, SPAN - 1, 0x40, 0);
    assert_eq!(guard.tip(), 2 * SPAN - 1);
    assert_eq!(guard.header(guard.tip()).unwrap().bits, expected);
    let eased = next(&guard, 1, 0);
    assert_eq!(eased.bits, bits(LIMIT), "four times easier would pass the limit");
    let kept = mine(guard.tip_hash(), eased.time, expected, 0, |_| {});
    assert_eq!(rule(guard.accept(&kept)), "guard-bits");
    guard.accept(&eased).unwrap();
    // A third span of no time at all: four times as hard, no more.
    hurry(&mut guard, SPAN - 1, 0);
    let hardest = guard.next_bits(u32::MAX).unwrap();
    let quarter = Target::from_compact(bits(LIMIT)).min_transition_threshold();
    assert_eq!(hardest, quarter.to_compact_lossy());
}

#[test]
fn a_time_must_be_after_the_median_of_eleven() {
    let mut guard = guard();
    grow(&mut guard, 15, 2, 0);
    let tip = guard.header(15).unwrap().time;
    let median = tip - 10;
    for seconds in [-10, -30] {
        assert_eq!(rule(guard.clone().accept(&next(&guard, seconds, 0))), "guard-time");
    }
    let just = next(&guard, -9, 0);
    assert_eq!(just.time, median + 1);
    guard.accept(&just).unwrap();
}

#[test]
fn near_the_anchor_the_median_uses_the_times_before_it() {
    let params = small(Network::Bitcoin);
    let header = mine(BlockHash::all_zeros(), START, bits(LIMIT), 0, |_| {});
    let work = header.target().to_work();
    let make = |before| Anchor::new(&params, SPAN, header, work, before);
    // Ten blocks, six of which were later than the anchor itself.
    let before = [[START + 50; 6].as_slice(), &[START - 50; 4]].concat();
    let anchor = make(before).unwrap();
    let mut guard = Guard::above(params.clone(), anchor, Checkpoints::none()).unwrap();
    assert_eq!(rule(guard.clone().accept(&next(&guard, 50, 0))), "guard-time");
    guard.accept(&next(&guard, 51, 0)).unwrap();
    assert_eq!((guard.first(), guard.tip()), (SPAN, SPAN + 1));
    for wrong in [vec![], vec![START; 9], vec![START; 11]] {
        assert_eq!(make(wrong).unwrap_err().rule(), "guard-anchor");
    }
    let off = Anchor::new(&params, SPAN + 1, header, work, vec![START; 10]);
    assert_eq!(off.unwrap_err().rule(), "guard-anchor");
}

#[test]
fn bip_94_bounds_how_far_a_span_may_begin_before_its_parent() {
    let boundary = |network: Network, back: i64| {
        let mut guard = guard_of(network);
        // Every second block far ahead of the other, so that the median lags behind the tip.
        for height in 1..SPAN {
            let last = guard.header(height - 1).unwrap().time;
            let time = if height == SPAN - 1 { START + 5_000 } else { START + height };
            let header = next(&guard, i64::from(time) - i64::from(last), 0);
            guard.accept(&header).unwrap();
        }
        guard.clone().accept(&next(&guard, -back, 0))
    };
    boundary(Network::Testnet4, 0).unwrap();
    boundary(Network::Testnet4, 600).unwrap();
    assert_eq!(rule(boundary(Network::Testnet4, 601)), "guard-timewarp");
    assert_eq!(rule(boundary(Network::Testnet4, 4_000)), "guard-timewarp");
    // Elsewhere only the median counts.
    for network in [Network::Bitcoin, Network::Testnet, Network::Signet] {
        boundary(network, 4_000).unwrap();
    }
    // And on testnet4 off the boundary too.
    let mut guard = guard_of(Network::Testnet4);
    grow(&mut guard, SPAN, 1, 0);
    grow(&mut guard, 1, 5_000, 0);
    grow(&mut guard, 1, -4_000, 0);
}

#[test]
fn bip_94_retargets_from_the_first_block_of_the_span() {
    // A first span in no time makes it four times as hard; the second ends with an easy block.
    let after = |network: Network| {
        let mut guard = guard_of(network);
        hurry(&mut guard, SPAN - 1, 0);
        grow(&mut guard, SPAN - 1, 1, 0);
        let hard = guard.header(guard.tip()).unwrap().bits;
        let late = next(&guard, 3, 0);
        assert_eq!(late.bits, bits(LIMIT), "more than two spacings late");
        guard.accept(&late).unwrap();
        (hard, guard.next_bits(late.time + 1).unwrap())
    };
    let from = |network: Network, bits: CompactTarget| {
        // 35 steps of one second, the last of them of three.
        CompactTarget::from_next_work_required(bits, u64::from(SPAN) + 1, small(network))
    };
    let (hard, found) = after(Network::Testnet4);
    assert_ne!(hard, bits(LIMIT));
    assert_eq!(found, from(Network::Testnet4, hard));
    // Testnet3 still has the flaw that BIP 94 mends: one easy block, and all are easy.
    let (_, found) = after(Network::Testnet);
    assert_eq!(found, from(Network::Testnet, bits(LIMIT)));
}

#[test]
fn a_testnet_block_that_is_late_is_easy_and_the_next_in_time_is_not() {
    for network in [Network::Testnet, Network::Testnet4] {
        let mut guard = guard_of(network);
        hurry(&mut guard, SPAN - 1, 0);
        grow(&mut guard, 3, 1, 0);
        let hard = guard.header(guard.tip()).unwrap().bits;
        assert_ne!(hard, bits(LIMIT));
        let tip = guard.header(guard.tip()).unwrap().time;
        // Two spacings after the parent it must still be hard, one second later it must be easy.
        let early = mine(guard.tip_hash(), tip + 2, bits(LIMIT), 0, |_| {});
        assert_eq!(rule(guard.accept(&early)), "guard-bits");
        let late = mine(guard.tip_hash(), tip + 3, hard, 0, |_| {});
        assert_eq!(rule(guard.accept(&late)), "guard-bits");
        let late = mine(guard.tip_hash(), tip + 3, bits(LIMIT), 0, |_| {});
        guard.accept(&late).unwrap();
        // The next in time returns to what held before.
        let lazy = mine(guard.tip_hash(), tip + 4, bits(LIMIT), 0, |_| {});
        assert_eq!(rule(guard.accept(&lazy)), "guard-bits");
        let back = mine(guard.tip_hash(), tip + 4, hard, 0, |_| {});
        guard.accept(&back).unwrap();
    }
}

#[test]
fn regtest_keeps_its_difficulty_and_mainnets_rule_does_not() {
    let mut guard = Guard::new(Network::Regtest);
    let easiest = guard.header(0).unwrap().bits;
    for height in 1..=20 {
        let header = next(&guard, 1 + i64::from(height % 3) * 5_000, 0);
        assert_eq!(header.bits, easiest);
        guard.accept(&header).unwrap();
    }
    let harder = mine(guard.tip_hash(), u32::MAX - 1, bits(0x2007_ffff), 0, |_| {});
    assert_eq!(rule(guard.accept(&harder)), "guard-bits");
}

#[test]
fn a_version_that_a_soft_fork_retired_is_refused_from_its_height_on() {
    let mut params = small(Network::Bitcoin);
    (params.bip34_height, params.bip66_height, params.bip65_height) = (2, 3, 4);
    let anchor = anchor(&params, LIMIT);
    let mut guard = Guard::above(params, anchor, Checkpoints::none()).unwrap();
    for (height, least) in [(1, 1), (2, 2), (3, 3), (4, 4), (5, 4)] {
        let versioned = |version: i32| {
            let change = |h: &mut Header| h.version = Version::from_consensus(version);
            mine(guard.tip_hash(), START + height, bits(LIMIT), 0, change)
        };
        let (old, good) = (versioned(least - 1), versioned(least));
        if height > 1 {
            assert_eq!(rule(guard.clone().accept(&old)), "guard-version", "height {height}");
            let negative = versioned(i32::MIN);
            assert_eq!(rule(guard.clone().accept(&negative)), "guard-version");
        }
        guard.accept(&good).unwrap();
    }
}

#[test]
fn a_chain_that_misses_a_pinned_block_is_refused_there() {
    let mut honest = guard();
    let run = grow(&mut honest, 2 * SPAN + 3, 1, 0);
    let params = honest.params().clone();
    let pin = honest.hash(SPAN).unwrap();
    let pins = Checkpoints::none().with(&params, SPAN, pin).unwrap();
    let pinned = || Guard::above(params.clone(), anchor(&params, LIMIT), pins.clone()).unwrap();
    let mut guard = pinned();
    for header in &run {
        guard.accept(header).unwrap();
    }
    assert_eq!(guard.tip_hash(), honest.tip_hash());
    // Another block at the pinned height, before and after the true one is known.
    let mut rival = cut(&honest, SPAN - 2);
    let fork = grow(&mut rival, 5, 1, 7);
    let mut early = pinned();
    for header in &run[..SPAN as usize - 2] {
        early.accept(header).unwrap();
    }
    early.accept(&fork[0]).unwrap();
    assert_eq!(rule(early.accept(&fork[1])), "guard-checkpoint");
    // Once the pinned block is there, no branch may leave below it, whatever its work.
    assert_eq!(rule(guard.accept(&fork[0])), "guard-checkpoint");
    // Above it branches are free.
    let mut rival = cut(&honest, SPAN);
    for header in grow(&mut rival, 2, 1, 7) {
        assert_eq!(guard.accept(&header).unwrap(), Placed::Beside);
    }
    // An anchor that contradicts its own pin.
    let other = Checkpoints::none().with(&params, 0, pin).unwrap();
    let refused = Guard::above(params.clone(), anchor(&params, LIMIT), other).unwrap_err();
    assert_eq!(refused.rule(), "guard-checkpoint");
}

#[test]
fn pins_lie_on_boundaries_and_a_height_has_one() {
    let params = Network::Bitcoin.params();
    let pins = Checkpoints::of(Network::Bitcoin);
    let hash = BlockHash::all_zeros();
    for height in [1, 2_015, 840_000] {
        let refused = pins.clone().with(params, height, hash).unwrap_err();
        assert_eq!(refused.rule(), "guard-pin", "{height}");
    }
    assert_eq!(pins.clone().with(params, 0, hash).unwrap_err().rule(), "guard-pin");
    assert_eq!(pins.with(params, 840_672, hash).unwrap().highest(), Some(840_672));
}

#[test]
fn a_chain_with_less_work_than_the_network_is_known_to_have_is_not_enough() {
    for network in [Network::Bitcoin, Network::Testnet, Network::Testnet4, Network::Signet] {
        let error = Guard::new(network).enough().unwrap_err();
        assert_eq!((error.rule(), error.exit_code()), ("guard-least-work", 5));
        assert!(least_work(network) > Guard::new(network).work());
    }
    Guard::new(Network::Regtest).enough().unwrap();
}

#[test]
fn every_network_but_mainnet_says_what_its_headers_cannot_prove() {
    assert_eq!(what_headers_cannot_prove(Network::Bitcoin), None);
    for network in [Network::Testnet, Network::Testnet4, Network::Signet, Network::Regtest] {
        let text = what_headers_cannot_prove(network).unwrap();
        assert!(text.contains("use your own node") && text.contains("prove"), "{text}");
    }
}

#[test]
fn a_span_is_2016_blocks_on_every_network() {
    for network in [Network::Bitcoin, Network::Testnet, Network::Testnet4, Network::Signet] {
        assert_eq!(difficulty::span(network.params()), 2_016);
    }
}
