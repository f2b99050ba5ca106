//! Headers: what a run must look like, and what is read from it.

use super::*;
use crate::work::samples::{EASIEST, GENESIS_TIME, chain, mine, run};

fn regtest(run: Vec<Header>) -> Result<Headers> {
    Headers::new(Network::Regtest, 0, run)
}

/// A run whose work nobody did: only for questions that do not ask for it.
fn unworked(network: Network, first: u32, times_and_bits: &[(u32, u32)]) -> Headers {
    let run: Vec<Header> = times_and_bits
        .iter()
        .map(|(time, bits)| Header {
            time: *time,
            bits: CompactTarget::from_consensus(*bits),
            ..run(0, 600).remove(0)
        })
        .collect();
    let hashes = run.iter().map(Header::block_hash).collect();
    let medians = medians(first, &run);
    let (heights, stale) = (BTreeMap::new(), BTreeMap::new());
    Headers { network, first, run, hashes, medians, heights, stale }
}

fn bits(headers: &Headers, parent: u32, time: u32) -> u32 {
    headers.bits_after(parent, time).unwrap().to_consensus()
}

#[test]
fn a_run_knows_its_heights_and_hashes() {
    let all = run(20, 600);
    let headers = Headers::new(Network::Regtest, 7, all[7..].to_vec()).unwrap();
    assert_eq!((headers.first(), headers.tip()), (7, 20));
    assert_eq!(headers.network(), Network::Regtest);
    for height in 7..=20 {
        let hash = all[height as usize].block_hash();
        assert_eq!(headers.hash(height), Some(hash));
        assert_eq!(headers.height_of(hash), Some(height));
        assert_eq!(headers.header(height), all.get(height as usize));
    }
    for height in [0, 6, 21, u32::MAX] {
        assert_eq!((headers.hash(height), headers.header(height)), (None, None));
    }
    assert_eq!(headers.height_of(all[6].block_hash()), None);
}

#[test]
fn an_empty_run_is_refused() {
    assert_eq!(regtest(Vec::new()).unwrap_err().rule(), "headers-known");
}

#[test]
fn a_run_that_does_not_hang_together_is_refused() {
    let good = run(20, 600);
    let mut gap = good.clone();
    gap.remove(10);
    assert_eq!(regtest(gap).unwrap_err().rule(), "headers-linked");
    let mut swapped = good.clone();
    swapped.swap(10, 11);
    assert_eq!(regtest(swapped).unwrap_err().rule(), "headers-linked");
    regtest(good).unwrap();
}

#[test]
fn a_header_without_its_work_is_refused() {
    let mut bad = run(20, 600);
    while bad[20].validate_pow(bad[20].target()).is_ok() {
        bad[20].nonce += 1;
    }
    assert_eq!(regtest(bad).unwrap_err().rule(), "headers-work");
    // Work for regtest is not work for mainnet.
    let cheap = Headers::new(Network::Bitcoin, 0, run(3, 600)).unwrap_err();
    assert_eq!(cheap.rule(), "headers-work");
}

#[test]
fn a_header_that_states_another_difficulty_is_refused() {
    let mut bad = run(20, 600);
    bad[20].bits = CompactTarget::from_consensus(EASIEST - 1);
    while bad[20].validate_pow(bad[20].target()).is_err() {
        bad[20].nonce += 1;
    }
    assert_eq!(regtest(bad).unwrap_err().rule(), "headers-bits");
}

#[test]
fn a_header_that_is_not_after_its_median_time_past_is_refused() {
    let mut all = run(20, 600);
    let parent = all[20].block_hash();
    let median = regtest(all.clone()).unwrap().median_time_past(20).unwrap();
    assert_eq!(median, GENESIS_TIME + 15 * 600);
    all.push(mine(parent, median + 1, 0));
    regtest(all.clone()).unwrap();
    all[21] = mine(parent, median, 0);
    assert_eq!(regtest(all).unwrap_err().rule(), "headers-time");
}

#[test]
fn median_time_past_is_the_median_of_eleven_or_of_all_there_are() {
    let headers = chain(20);
    let time = |height: u32| GENESIS_TIME + height * 600;
    assert_eq!(headers.median_time_past(20).unwrap(), time(15));
    assert_eq!(headers.median_time_past(10).unwrap(), time(5));
    // Core takes the upper of two middles.
    assert_eq!(headers.median_time_past(0).unwrap(), time(0));
    assert_eq!(headers.median_time_past(1).unwrap(), time(1));
    assert_eq!(headers.median_time_past(2).unwrap(), time(1));
    // Times need not be in order.
    let times = [9, 3, 7, 1, 11, 5, 2, 10, 4, 8, 6].map(|t| (t, EASIEST));
    assert_eq!(unworked(Network::Regtest, 5, &times).median_time_past(15).unwrap(), 6);
}

#[test]
fn a_median_that_reaches_before_the_run_is_unavailable() {
    let headers = Headers::new(Network::Regtest, 5, run(30, 600).split_off(5)).unwrap();
    headers.median_time_past(15).unwrap();
    for height in [14, 5, 4, 31] {
        let missing = headers.median_time_past(height).unwrap_err();
        assert_eq!((missing.rule(), missing.exit_code()), ("headers-known", 5), "{height}");
    }
}

#[test]
fn difficulty_changes_every_2016_blocks_as_in_bitcoin_core() {
    // Cases of Bitcoin Core, src/test/pow_tests.cpp: time of the span's first block, height, time
    // and difficulty of its last, difficulty that follows.
    for (first, height, last, before, after) in [
        (1_261_130_161, 32_255, 1_262_152_739, 0x1d00_ffff, 0x1d00_d86a),
        (1_231_006_505, 2_015, 1_233_061_996, 0x1d00_ffff, 0x1d00_ffff),
        (1_279_008_237, 68_543, 1_279_297_671, 0x1c05_a3f4, 0x1c01_68fd),
        (1_263_163_443, 46_367, 1_269_211_443, 0x1c38_7f6f, 0x1d00_e1fd),
    ] {
        let mut span = vec![(first, before); 2_015];
        span.push((last, before));
        let headers = unworked(Network::Bitcoin, height - 2_015, &span);
        assert_eq!(headers.child_bits(height).unwrap().to_consensus(), after);
        assert_eq!(headers.child_bits(height - 1).unwrap().to_consensus(), before);
        // Without the span's first block the answer is not known.
        let short = unworked(Network::Bitcoin, height - 2_014, &span[1..]);
        assert_eq!(short.child_bits(height).unwrap_err().rule(), "headers-known");
    }
}

#[test]
fn a_time_that_runs_backwards_counts_as_the_shortest_span() {
    let mut span = vec![(2_000_000_000, 0x1c05_a3f4); 2_015];
    span.push((1_000_000_000, 0x1c05_a3f4));
    assert_eq!(bits(&unworked(Network::Bitcoin, 0, &span), 2_015, 0), 0x1c01_68fd);
}

#[test]
fn regtest_keeps_its_difficulty_for_ever() {
    let span = vec![(GENESIS_TIME, EASIEST); 2_016];
    let headers = unworked(Network::Regtest, 0, &span);
    for parent in [0, 100, 2_015] {
        assert_eq!(bits(&headers, parent, u32::MAX), EASIEST);
    }
}

#[test]
fn testnets_allow_minimum_difficulty_after_twenty_minutes_and_return() {
    let (hard, easy) = (0x1c05_a3f4, 0x1d00_ffff);
    let blocks = [(1_000, hard), (1_600, hard), (4_000, easy), (4_100, easy)];
    for network in [Network::Testnet, Network::Testnet4] {
        let headers = unworked(network, 2_016, &blocks);
        assert_eq!(bits(&headers, 2_017, 1_600 + 1_200), hard);
        assert_eq!(bits(&headers, 2_017, 1_600 + 1_201), easy);
        assert_eq!(bits(&headers, 2_019, 4_200), hard);
        assert_eq!(headers.child_bits(2_019).unwrap().to_consensus(), hard);
        // How hard it was before the run, nobody here knows.
        let headers = unworked(network, 2_018, &blocks[2..]);
        assert_eq!(headers.bits_after(2_019, 4_200).unwrap_err().rule(), "headers-known");
    }
    let headers = unworked(Network::Signet, 2_016, &blocks[..2]);
    assert_eq!(bits(&headers, 2_017, u32::MAX), hard);
}

#[test]
fn testnet4_retargets_from_the_first_block_of_the_span() {
    let (hard, easy) = (0x1c05_a3f4, 0x1d00_ffff);
    let mut span = vec![(0, hard); 2_015];
    span.push((2_016 * 600, easy));
    assert_eq!(bits(&unworked(Network::Testnet4, 0, &span), 2_015, 0), hard);
    assert_eq!(bits(&unworked(Network::Testnet, 0, &span), 2_015, 0), easy);
}

#[test]
fn a_block_that_lost_a_reorg_leads_to_the_fork() {
    let headers = chain(20);
    let time = |height: u32| GENESIS_TIME + height * 600;
    let first = mine(headers.hash(12).unwrap(), time(13), 7);
    let second = mine(first.block_hash(), time(14), 7);
    let third = mine(second.block_hash(), time(15), 7);
    assert_eq!(headers.active_ancestor(third.block_hash()), None);
    let tip = headers.hash(20).unwrap();
    // In any order, active ones among them.
    let active = *headers.header(5).unwrap();
    let headers = headers.with_stale(vec![third, active, first, second]).unwrap();
    for stale in [first, second, third] {
        assert_eq!(headers.active_ancestor(stale.block_hash()), Some(12));
        assert_eq!(headers.height_of(stale.block_hash()), None);
    }
    assert_eq!(headers.active_ancestor(tip), Some(20));
    assert_eq!(headers.active_ancestor(active.block_hash()), Some(5));
    assert_eq!(headers.tip(), 20);
}

#[test]
fn a_stale_header_that_leads_nowhere_or_has_no_work_is_refused() {
    let headers = chain(20);
    let first = mine(headers.hash(12).unwrap(), GENESIS_TIME, 7);
    let second = mine(first.block_hash(), GENESIS_TIME, 7);
    let orphan = headers.clone().with_stale(vec![second]).unwrap_err();
    assert_eq!(orphan.rule(), "headers-linked");
    let mut idle = first;
    while idle.validate_pow(idle.target()).is_ok() {
        idle.nonce += 1;
    }
    assert_eq!(headers.clone().with_stale(vec![idle]).unwrap_err().rule(), "headers-work");
    headers.with_stale(vec![first]).unwrap();
}
