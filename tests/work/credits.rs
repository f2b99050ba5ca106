//! What holds for every list of shares and every farm: credit never comes from nothing.

use bitcoin::{Amount, Network, Target};
use hashmix::amount::MAX_SATOSHIS;
use hashmix::headers::Headers;
use hashmix::work::agreement::Demand;
use hashmix::work::certificate::Certificate;
use hashmix::work::coinbase::Coinbase;
use hashmix::work::credit::{credit, fill, share_work};
use hashmix::work::extended_job::{ExtendedJob, Extranonce};
use hashmix::work::farm::{Farm, Rest, Stake};
use hashmix::work::share::Share;
use proptest::prelude::*;
use std::sync::LazyLock;

use crate::world::{POSITION, REWARD, TIP, chain, script, shares, template, terms};

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
