//! What holds for every list of shares and every farm: credit never comes from nothing.

use std::collections::BTreeMap;

use bitcoin::{Amount, Network, ScriptBuf, Target};
use hashmix::amount::MAX_SATOSHIS;
use hashmix::headers::Headers;
use hashmix::work::agreement::Demand;
use hashmix::work::certificate::Certificate;
use hashmix::work::coinbase::Coinbase;
use hashmix::work::credit::{credit, fill, share_work};
use hashmix::work::evidence::{Evidence, Yardstick};
use hashmix::work::extended_job::{ExtendedJob, Extranonce};
use hashmix::work::farm::{Farm, Rest, Stake};
use hashmix::work::share::Share;
use hashmix::work::verdict::{Measure, verdict};
use proptest::prelude::*;
use std::sync::LazyLock;

use crate::world::{POSITION, REWARD, TIP, chain, out, script, shares, template, terms};

static HEADERS: LazyLock<Headers> = LazyLock::new(|| chain(TIP));

/// Good shares of slice 2, and some that break a rule each.
static POOL: LazyLock<Vec<Share>> = LazyLock::new(|| {
    let mut pool = [shares(&HEADERS, 19, 20), shares(&HEADERS, 20, 20)].concat();
    pool[3].coinbase.push(0);
    pool[7].branch.clear();
    pool[12].header.time = 0;
    pool[25].header.version = bitcoin::block::Version::ONE;
    pool.extend(shares(&HEADERS, 21, 3));
    pool
});

/// The credit of these shares of the pool, as slice 2.
fn credited(places: &[usize]) -> u128 {
    let chosen = places.iter().map(|place| POOL[*place].clone());
    let certificate = Certificate::new(POSITION, 2, chosen).unwrap();
    let valid = certificate.weigh(&terms(), &HEADERS).iter().filter(|w| w.is_ok()).count();
    credit(valid as u64, terms().target)
}

/// What a verdict counts for the period of slice 2, if these lists of shares of the pool are each a
/// certificate whose digest is in a block in time.
fn judged(lists: &[Vec<usize>]) -> (u64, u128) {
    let certificates: Vec<Certificate> = lists
        .iter()
        .map(|places| {
            let chosen = places.iter().map(|place| POOL[*place].clone());
            Certificate::new(POSITION, 2, chosen).unwrap()
        })
        .collect();
    let proofs: BTreeMap<_, _> = certificates.iter().map(|c| (c.digest(), 22)).collect();
    let yardstick = Yardstick { terms: terms(), ruling_keys: Vec::new() };
    let measure = Measure {
        yardstick: &yardstick,
        price: Amount::from_sat(6_000),
        k: 2,
        headers: &HEADERS,
        proofs: &proofs,
    };
    let mut evidence = Evidence::new(POSITION);
    certificates.into_iter().for_each(|certificate| evidence.add(certificate));
    let verdict = verdict(&measure, 1, &evidence).unwrap();
    (verdict.periods[1].shares, verdict.periods[1].credit)
}

/// Scripts of four positions, whose locks are nobody else's and whose service scripts are of two miners;
/// and of a stranger.
const POSITIONS: [(u8, u8); 4] = [(0, 100), (1, 100), (2, 101), (3, 101)];
const SCRIPTS: [u8; 7] = [0, 1, 2, 3, 100, 101, 99];

fn demand<'a>(lock: &'a ScriptBuf, service: &'a ScriptBuf, ppm: u32) -> Demand<'a> {
    Demand {
        network: Network::Regtest,
        lock,
        holders: None,
        service: Some((service, ppm)),
        cap: Amount::from_sat(MAX_SATOSHIS),
        target: Target::MAX,
    }
}

#[test]
fn repeated_and_interleaved_payments_are_paid_for_once() {
    // Lock 0 and its service script, twice, with another position between.
    let order = [(0, 7), (100, 3), (1, 7), (100, 3), (0, 7), (100, 3), (100, 3)];
    let (paid, total) = paid(&order, 300_000);
    assert!(paid > 0 && paid <= total, "{paid} of {total}");
}

/// What a coinbase with these outputs (script, millions of satoshis) pays to all positions, and in all.
fn paid(outputs: &[(u8, u64)], ppm: u32) -> (u64, u64) {
    let mut outputs: Vec<_> =
        outputs.iter().map(|(to, sat)| out(sat * 1_000_000, script(*to))).collect();
    let sum: u64 = outputs.iter().map(|output| output.value.to_sat()).sum();
    outputs.push(out(REWARD - sum, script(99)));
    let job = ExtendedJob::new(&template(&HEADERS, 20), 12, &outputs).unwrap();
    let bytes = job.coinbase(&Extranonce::new(&[0; 12], &[]).unwrap());
    let coinbase = Coinbase::parse(&bytes).unwrap();
    let each = POSITIONS.map(|(lock, service)| {
        let (lock, service) = (script(lock), script(service));
        coinbase.payment(20, &demand(&lock, &service, ppm)).map_or(0, |p| p.paid.to_sat())
    });
    (each.iter().sum(), REWARD)
}

#[test]
fn the_pool_has_good_and_bad_shares() {
    let all: Vec<usize> = (0..POOL.len()).collect();
    assert_eq!(credited(&all), credit(36, terms().target));
}

#[test]
fn sums_saturate_and_never_wrap() {
    let mut one = [0; 32];
    one[31] = 1;
    let hardest = Target::from_be_bytes(one);
    for target in [Target::ZERO, hardest] {
        assert_eq!(share_work(target), u128::MAX);
        assert_eq!(credit(2, target), u128::MAX);
        assert_eq!(credit(u64::MAX, target), u128::MAX);
    }
    assert_eq!(credit(0, hardest), 0);
    assert_eq!(fill(&[u128::MAX, u128::MAX], u128::MAX), [u128::MAX, 0]);
}

proptest! {
    #[test]
    fn no_sub_list_of_shares_has_more_credit_than_the_list(
        list in proptest::collection::vec(0usize..43, 0..50),
        dropped in any::<u64>(),
    ) {
        let part: Vec<usize> = list
            .iter()
            .enumerate()
            .filter(|(place, _)| dropped >> (place % 64) & 1 == 0)
            .map(|(_, share)| *share)
            .collect();
        prop_assert!(credited(&part) <= credited(&list));
        // Listing a share again adds nothing either.
        prop_assert_eq!(credited(&[list.clone(), part].concat()), credited(&list));
    }

    #[test]
    fn no_sub_set_of_certificates_or_of_their_shares_has_more_credit_by_a_verdict(
        lists in proptest::collection::vec(proptest::collection::vec(0usize..43, 0..24), 1..4),
        dropped in any::<u64>(),
        left_out in 0usize..4,
    ) {
        let whole = judged(&lists);
        let parts: Vec<Vec<usize>> = lists
            .iter()
            .enumerate()
            .filter(|(place, _)| *place != left_out)
            .map(|(list, places)| {
                let kept = |place: &usize| dropped >> ((place + 17 * list) % 64) & 1 == 0;
                places.iter().copied().filter(kept).collect()
            })
            .collect();
        let fewer = judged(&parts);
        prop_assert!(fewer.0 <= whole.0 && fewer.1 <= whole.1, "{fewer:?} {whole:?}");
        // Certificates of the same shares beside each other add nothing.
        prop_assert_eq!(judged(&[lists.clone(), parts].concat()), whole);
        prop_assert_eq!(whole.1, credited(&lists.concat()));
    }

    #[test]
    fn no_coinbase_pays_positions_that_are_apart_more_than_it_pays_out(
        outputs in proptest::collection::vec((0usize..7, 0u64..400), 0..12),
        ppm in 1u32..1_000_000,
    ) {
        let outputs: Vec<_> = outputs.iter().map(|(to, sat)| (SCRIPTS[*to], *sat)).collect();
        let (paid, total) = paid(&outputs, ppm);
        prop_assert!(paid <= total, "{paid} of {total}");
    }

    #[test]
    fn the_weights_of_a_share_over_all_positions_are_never_above_one(
        stakes in proptest::collection::vec((1u64..1_000_000, 10_000u32..1_000_000), 1..10),
        beside in 0u64..1_000_000,
        nonce in any::<[u8; 12]>(),
    ) {
        let stakes: Vec<Stake> = (0u8..).zip(&stakes).map(|(number, (weight, ppm))| Stake {
            lock: script(number),
            service: script(100 + number % 3),
            service_ppm: *ppm,
            weight: *weight,
        }).collect();
        let rest = Rest::Script { script: script(99), weight: beside };
        let farm = Farm::new(stakes, rest).unwrap();
        let payouts = farm.payouts(Amount::from_sat(REWARD)).unwrap();
        let job = ExtendedJob::new(&template(&HEADERS, 20), 12, &payouts).unwrap();
        let bytes = job.coinbase(&Extranonce::new(&nonce, &[]).unwrap());
        let coinbase = Coinbase::parse(&bytes).unwrap();
        let mut paid = 0;
        for stake in farm.stakes() {
            let demand = Demand {
                network: Network::Regtest,
                lock: &stake.lock,
                holders: None,
                service: Some((&stake.service, stake.service_ppm)),
                cap: Amount::from_sat(MAX_SATOSHIS),
                target: Target::MAX,
            };
            let payment = coinbase.payment(20, &demand).unwrap();
            prop_assert_eq!(payment.total.to_sat(), REWARD);
            paid += payment.paid.to_sat();
        }
        prop_assert!(paid <= REWARD);
    }
}
