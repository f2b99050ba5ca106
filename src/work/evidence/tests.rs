//! What is remembered changes nothing: verdicts with memory, without, by another memory, and counted
//! the long way round are the same, on every chain and in every order.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use bitcoin::block::Header;
use bitcoin::hashes::Hash;
use bitcoin::locktime::absolute::LockTime;
use bitcoin::{Amount, Sequence};
use proptest::prelude::*;

use super::*;
use crate::error::{Error, Result};
use crate::headers::Headers;
use crate::work::grind::grind;
use crate::work::receipt::sealed_height;
use crate::work::samples::{
    POSITION, certificate, chain, job, mine, receipt, ruling_keys, run, sealed, shares, terms,
};
use crate::work::share::{Share, hash_target};
use crate::work::template::fold_branch;
use crate::work::verdict::{Measure, verdict};

const TIP: u32 = 60;
const PRICE: Amount = Amount::from_sat(6_000);
/// Last height that the chains share.
const FORK: u32 = 20;

/// Two chains, and shares of each slice of whatever quality.
struct World {
    /// The first chain; the second with and without the headers of the first; the first from a
    /// height on at which the term has begun already.
    chains: [Headers; 4],
    /// Shares by slice, of both chains, good and bad.
    pool: Vec<Vec<Share>>,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let first = chain(TIP);
        let mut other: Vec<Header> = run(FORK, 600);
        for height in FORK + 1..=TIP {
            let parent = other.last().unwrap().block_hash();
            other.push(mine(parent, 1_700_000_000 + height * 590, 5));
        }
        let second = Headers::new(terms().network, 0, other).unwrap();
        let lost = (FORK + 1..=TIP).map(|height| *first.header(height).unwrap()).collect();
        let aware = second.clone().with_stale(lost).unwrap();
        let late = Headers::new(terms().network, 17, run(TIP, 600).split_off(17)).unwrap();
        let pool = (0..12).map(|slice| quality(&first, &second, slice)).collect();
        World { chains: [first, second, aware, late], pool }
    })
}

/// Shares of a slice: good ones of both chains, one of the next slice, and some that lie.
fn quality(first: &Headers, second: &Headers, slice: u32) -> Vec<Share> {
    let blocks = terms().calendar().slice_blocks(slice).unwrap();
    let mut pool = Vec::new();
    for height in blocks.clone() {
        pool.extend(shares(&terms(), first, height, 4));
        pool.extend(shares(&terms(), second, height, 2));
        let median = first.median_time_past(height - 1).unwrap();
        pool.push(waiting(first, height, median - 1));
        pool.push(waiting(first, height, median));
    }
    pool.extend(shares(&terms(), first, blocks.end() + 1, 1));
    let good = pool[0].clone();
    let lies: [&dyn Fn(&mut Share); 4] = [
        &|share| share.coinbase.push(0),
        &|share| share.branch.clear(),
        &|share| share.header.time += 600_000,
        &|share| share.header.prev_blockhash = BlockHash::all_zeros(),
    ];
    pool.extend(lies.map(|lie| {
        let mut share = good.clone();
        lie(&mut share);
        share
    }));
    pool
}

/// A share whose coinbase waits until the median-time-past has passed a time.
fn waiting(headers: &Headers, height: u32, time: u32) -> Share {
    let mut job = job(&terms(), headers, height, b"wait");
    job.coinbase.input[0].sequence = Sequence::ZERO;
    job.coinbase.lock_time = LockTime::from_consensus(time);
    job.header.merkle_root = fold_branch(job.coinbase.compute_txid(), &job.branch);
    let all = job.coinbase.output.iter().map(|out| out.value).sum();
    let target = hash_target(terms().target, all, all);
    Share::of(&job, grind(&job, 0, u64::from(u32::MAX), target).next().unwrap())
}

fn yardstick() -> Yardstick {
    Yardstick { terms: terms(), ruling_keys: ruling_keys() }
}

/// Shares of each period, or the rule for want of which nobody can tell.
type Counts = core::result::Result<Vec<u64>, &'static str>;

fn counted(evidence: &Evidence, through: u32, headers: &Headers) -> Counts {
    let (yardstick, proofs) = (&yardstick(), &BTreeMap::new());
    let measure = Measure { yardstick, price: PRICE, k: 2, headers, proofs };
    match verdict(&measure, through, evidence) {
        Ok(verdict) => Ok(verdict.periods.iter().map(|period| period.shares).collect()),
        Err(error) => Err(error.rule()),
    }
}

/// The same the long way round: every share and every receipt by the functions that admit them.
fn long_way(said: &[Word], through: u32, headers: &Headers) -> Result<Vec<u64>> {
    let calendar = terms().calendar();
    let mut certificates = BTreeMap::new();
    let mut receipts = Vec::new();
    for word in said {
        match word {
            Word::Certificate(certificate) => {
                certificates.insert(certificate.digest(), certificate);
            }
            Word::Receipt(receipt) => receipts.push(receipt),
        }
    }
    let mut counts = vec![0; through as usize + 1];
    let mut seen = BTreeSet::new();
    for (digest, certificate) in certificates {
        let slice = certificate.slice;
        let period = calendar.period_of_slice(slice).filter(|period| *period <= through);
        let subject = Subject::Certificate { slice, digest };
        let of_it = receipts.iter().copied();
        let height = sealed_height(POSITION, &subject, of_it, &ruling_keys(), 2, headers);
        let in_time = height.is_some() && height <= calendar.receipts_until(slice);
        let whole = certificate.position == POSITION && certificate.check_list(&terms()).is_ok();
        let Some(period) = period.filter(|_| in_time && whole) else { continue };
        for weighed in certificate.weigh(&terms(), headers) {
            match weighed {
                Ok(share) => counts[period as usize] += u64::from(seen.insert(share.hash)),
                Err(Error::Refused { .. }) => {}
                Err(missing) => return Err(missing),
            }
        }
    }
    Ok(counts)
}

#[derive(Clone, Debug)]
enum Word {
    Certificate(Certificate),
    Receipt(Receipt),
}

fn told(said: &[Word], evidence: Evidence) -> Evidence {
    said.iter().fold(evidence, |mut evidence, word| {
        match word.clone() {
            Word::Certificate(certificate) => evidence.add(certificate),
            Word::Receipt(receipt) => evidence.add_receipt(receipt),
        }
        evidence
    })
}

/// A certificate of some shares, now and then for another slice or position, or out of order.
fn any_certificate() -> impl Strategy<Value = Certificate> {
    let picked = proptest::sample::subsequence((0..25usize).collect::<Vec<_>>(), 0..14);
    (0u32..12, picked, 0u8..12).prop_map(|(slice, picked, twist)| {
        let pool = &world().pool[slice as usize];
        let mut headers = BTreeSet::new();
        let chosen = picked.into_iter().filter_map(|place| pool.get(place).cloned());
        let chosen = chosen.filter(|share| headers.insert(share.hash()));
        let mut certificate = Certificate::new(POSITION, slice, chosen).unwrap();
        match twist {
            0 => certificate.position = PositionId([8; 32]),
            1 => certificate.slice += 1,
            2 => certificate.shares.reverse(),
            _ => {}
        }
        certificate
    })
}

/// A receipt for a certificate about the end of its slice, now and then forged or about another
/// position or subject.
fn any_receipt(certificate: &Certificate) -> impl Strategy<Value = Receipt> + use<> {
    let subject = Subject::Certificate { slice: certificate.slice, digest: certificate.digest() };
    let end = 16 + 2 * certificate.slice;
    (0u8..3, end - 1..end + 5, 0usize..2, 0u8..12).prop_map(move |(place, height, on, twist)| {
        let height = height.min(TIP);
        let tip = world().chains[on].hash(height).unwrap();
        let mut receipt = receipt(place, subject, tip);
        match twist {
            0 => receipt.validator = (place + 1) % 3,
            1 => receipt.validator = 200,
            2 => receipt.position = PositionId([8; 32]),
            3 => receipt.subject = Subject::Request { digest: [1; 32] },
            _ => {}
        }
        receipt
    })
}

/// Certificates with up to four receipts each, and all of it in any order.
fn any_words() -> impl Strategy<Value = Vec<Word>> {
    let one = any_certificate().prop_flat_map(|certificate| {
        let receipts = proptest::collection::vec(any_receipt(&certificate), 0..5);
        (Just(certificate), receipts)
    });
    proptest::collection::vec(one, 0..14)
        .prop_map(|all| {
            let mut words = Vec::new();
            for (certificate, receipts) in all {
                words.extend(receipts.into_iter().map(Word::Receipt));
                words.push(Word::Certificate(certificate));
            }
            words
        })
        .prop_shuffle()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_verdict_with_memory_equals_one_without_on_every_chain(
        words in any_words(),
        through in 0u32..6,
        again in 0usize..20,
    ) {
        let warm = told(&words, Evidence::remembering(POSITION, yardstick()));
        let mut turned = words.clone();
        turned.reverse();
        turned.extend(words.iter().take(again).cloned());
        let late = told(&turned, Evidence::remembering(POSITION, yardstick()));
        let cold = told(&words, Evidence::new(POSITION));
        let mut keys = ruling_keys();
        keys.rotate_left(1);
        let by_others = Yardstick { terms: terms(), ruling_keys: keys };
        let foreign = told(&words, Evidence::remembering(POSITION, by_others));
        for headers in &world().chains {
            let expected = long_way(&words, through, headers);
            let expected = match expected {
                // Agreed work needs headers too, from before the term.
                Ok(_) if headers.first() > 0 => Err("headers-known"),
                Ok(counts) => Ok(counts),
                Err(error) => Err(error.rule()),
            };
            prop_assert_eq!(&counted(&warm, through, headers), &expected);
            prop_assert_eq!(&counted(&late, through, headers), &expected);
            prop_assert_eq!(&counted(&cold, through, headers), &expected);
            prop_assert_eq!(&counted(&foreign, through, headers), &expected);
        }
    }
}

#[test]
fn a_reorg_takes_shares_away_and_gives_them_back() {
    let [first, second, aware, _] = &world().chains;
    let mut evidence = Evidence::remembering(POSITION, yardstick());
    // Shares of slice 3 build on the last block that both chains have, those of slice 4 do not.
    for slice in [3, 4] {
        let whole = sealed(&terms(), first, certificate(&terms(), first, slice, 5));
        evidence.add(whole.certificate);
        assert_eq!(counted(&evidence, 2, first).unwrap()[slice as usize / 2], 0, "no receipts");
        whole.receipts.into_iter().for_each(|receipt| evidence.add_receipt(receipt));
    }
    let there_and_back = [
        (first, [0, 5, 5]),
        // Where the lost blocks are not known, the receipts are about nothing.
        (second, [0, 0, 0]),
        (aware, [0, 5, 0]),
        (first, [0, 5, 5]),
    ];
    for (headers, shares) in there_and_back {
        assert_eq!(counted(&evidence, 2, headers), Ok(shares.to_vec()));
    }
}

#[test]
fn a_coinbase_that_waits_counts_once_the_median_has_passed_its_time() {
    let headers = &world().chains[0];
    let median = headers.median_time_past(14).unwrap();
    for (time, shares) in [(median - 1, 1), (median, 0), (u32::MAX, 0)] {
        let share = waiting(headers, 15, time);
        let one = Certificate::new(POSITION, 0, [share]).unwrap();
        let whole = vec![sealed(&terms(), headers, one)];
        let evidence = Evidence::remembering(POSITION, yardstick()).with(whole);
        assert_eq!(counted(&evidence, 0, headers), Ok(vec![shares]), "{time}");
    }
}

#[test]
fn a_certificate_or_receipt_that_comes_again_changes_nothing() {
    let headers = &world().chains[0];
    let whole = sealed(&terms(), headers, certificate(&terms(), headers, 0, 3));
    let once = Evidence::remembering(POSITION, yardstick()).with(vec![whole.clone()]);
    let twice = once.clone().with(vec![whole]);
    assert_eq!(once, twice);
    assert_eq!(once.certificates().len(), 1);
    assert_eq!(once.certificates()[0].receipts.len(), 2);
}

#[test]
fn a_forged_receipt_is_kept_and_seals_nothing() {
    let headers = &world().chains[0];
    let mut whole = sealed(&terms(), headers, certificate(&terms(), headers, 0, 3));
    assert_eq!(counted(&told_of(&whole), 0, headers), Ok(vec![3]));
    whole.receipts[1].signature = whole.receipts[0].signature;
    let forged = told_of(&whole);
    assert_eq!(forged.certificates()[0].receipts.len(), 2);
    assert_eq!(counted(&forged, 0, headers), Ok(vec![0]));
}

fn told_of(sealed: &SealedCertificate) -> Evidence {
    Evidence::remembering(POSITION, yardstick()).with(vec![sealed.clone()])
}
