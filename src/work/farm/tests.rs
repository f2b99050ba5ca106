//! Farms: what they pay, what their shares weigh, and which are refused.

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Network};
use proptest::prelude::*;
use ruint::aliases::U384;

use super::*;
use crate::amount::MAX_SATOSHIS;
use crate::work::agreement::{Demand, wide};
use crate::work::coinbase::Coinbase;
use crate::work::credit::share_work;
use crate::work::extended_job::{ExtendedJob, Extranonce};
use crate::work::samples::{one_in, script, template};

const REWARD: u64 = 5_000_000_000;

fn stake(number: u8, weight: u64) -> Stake {
    Stake { lock: script(number), service: script(100 + number), service_ppm: 300_000, weight }
}

fn three() -> Vec<Stake> {
    vec![stake(1, 5), stake(2, 3), stake(3, 1)]
}

fn nobody(weight: u64) -> Rest {
    Rest::Script { script: script(99), weight }
}

fn refused(stakes: Vec<Stake>, rest: Rest) -> &'static str {
    Farm::new(stakes, rest).unwrap_err().rule()
}

fn demand<'a>(stake: &'a Stake, target: Target) -> Demand<'a> {
    Demand {
        network: Network::Regtest,
        lock: &stake.lock,
        holders: None,
        service: Some((&stake.service, stake.service_ppm)),
        cap: Amount::from_sat(MAX_SATOSHIS - REWARD),
        target,
    }
}

#[test]
fn each_position_gets_its_weight_and_the_rest_gets_what_is_left() {
    let farm = Farm::new(three(), nobody(1)).unwrap();
    let (parts, rest) = farm.parts(Amount::from_sat(1_009)).unwrap();
    assert_eq!(parts.iter().map(|p| p.paid().to_sat()).collect::<Vec<_>>(), [504, 302, 100]);
    assert_eq!(rest.to_sat(), 103);
    assert_eq!((parts[0].lock.to_sat(), parts[0].service.to_sat()), (353, 151));
    let outputs = farm.payouts(Amount::from_sat(1_009)).unwrap();
    assert_eq!(outputs.len(), 7);
    assert_eq!(outputs[6].script_pubkey, script(99));
    let farm = Farm::new(three(), Rest::Stake(2)).unwrap();
    let (parts, rest) = farm.parts(Amount::from_sat(1_009)).unwrap();
    assert_eq!(parts.iter().map(|p| p.paid().to_sat()).collect::<Vec<_>>(), [560, 336, 113]);
    assert_eq!(rest, Amount::ZERO);
}

#[test]
fn a_rest_of_nothing_has_no_output() {
    let farm = Farm::new(three(), nobody(0)).unwrap();
    assert_eq!(farm.payouts(Amount::from_sat(900)).unwrap().len(), 6);
    assert_eq!(farm.payouts(Amount::from_sat(901)).unwrap().len(), 7);
}

#[test]
fn a_single_position_is_a_farm_of_one() {
    let farm = Farm::single(script(1), script(2), 300_000).unwrap();
    let [lock, service] = Part::of(Amount::from_sat(REWARD), 300_000).outputs(script(1), script(2));
    assert_eq!(farm.payouts(Amount::from_sat(REWARD)).unwrap(), [lock, service]);
    let target = one_in(20);
    assert_eq!(farm.hash_targets(Amount::from_sat(REWARD), &[target]).unwrap(), [target]);
}

#[test]
fn two_positions_with_one_lock_are_refused() {
    let twin = Stake { lock: script(1), ..stake(4, 1) };
    assert_eq!(refused([three(), vec![twin]].concat(), nobody(0)), "work-farm-lock");
    assert_eq!(refused([three(), three()].concat(), nobody(0)), "work-farm-lock");
    Farm::new([three(), vec![stake(4, 1)]].concat(), nobody(0)).unwrap();
}

#[test]
fn a_service_script_that_is_a_lock_would_count_twice_and_is_refused() {
    for (place, lock) in [(0, 2), (2, 1), (1, 2)] {
        let mut stakes = three();
        stakes[place].service = script(lock);
        assert_eq!(refused(stakes, nobody(0)), "work-farm-apart");
    }
    let rest = Rest::Script { script: script(2), weight: 1 };
    assert_eq!(refused(three(), rest), "work-farm-apart");
    // One miner's service script for all positions counts for each where it stands.
    let mut stakes = three();
    stakes.iter_mut().for_each(|stake| stake.service = script(50));
    Farm::new(stakes, nobody(0)).unwrap();
}

#[test]
fn who_could_not_spend_is_not_paid() {
    let data = ScriptBuf::from_hex("6a00").unwrap();
    for bad in [ScriptBuf::new(), data] {
        let mut stakes = three();
        stakes[1].lock = bad.clone();
        assert_eq!(refused(stakes, nobody(0)), "work-farm-script");
        let mut stakes = three();
        stakes[2].service = bad.clone();
        assert_eq!(refused(stakes, nobody(0)), "work-farm-script");
        assert_eq!(refused(three(), Rest::Script { script: bad, weight: 1 }), "work-farm-script");
    }
}

#[test]
fn a_farm_without_positions_weights_or_a_place_for_the_rest_is_refused() {
    assert_eq!(refused(vec![], nobody(1)), "work-farm-stakes");
    assert_eq!(refused(vec![stake(1, 1), stake(2, 0)], nobody(1)), "work-farm-stakes");
    assert_eq!(refused(three(), Rest::Stake(3)), "work-farm-stakes");
}

#[test]
fn a_part_without_a_satoshi_for_lock_or_service_is_refused() {
    let parts = |stakes: Vec<Stake>, sat: u64| {
        let farm = Farm::new(stakes, nobody(0)).unwrap();
        farm.payouts(Amount::from_sat(sat)).map(|_| ()).map_err(|error| error.rule())
    };
    assert_eq!(parts(vec![stake(1, 1), stake(2, u64::MAX)], REWARD), Err("work-farm-part"));
    assert_eq!(parts(three(), 0), Err("work-farm-part"));
    // A ninth of 36 sat, and three tenths of that.
    assert_eq!(parts(three(), 36), Ok(()));
    assert_eq!(parts(three(), 35), Err("work-farm-part"));
    let all = Stake { service_ppm: 1_000_000, ..stake(1, 1) };
    assert_eq!(parts(vec![all], REWARD), Err("work-farm-part"));
    assert_eq!(parts(three(), MAX_SATOSHIS + 1), Err("amount-limit"));
}

#[test]
fn a_stake_without_a_service_share_is_paid_by_one_output() {
    // Before an issue a miner proves positions on addresses of his own, which are service scripts later.
    let free = |number| Stake { service: script(number), service_ppm: 0, ..stake(number, 1) };
    let farm = Farm::new(vec![free(1), stake(2, 1)], nobody(2)).unwrap();
    let outputs = farm.payouts(Amount::from_sat(1_000)).unwrap();
    let paid: Vec<_> = outputs.iter().map(|out| (out.value.to_sat(), &out.script_pubkey)).collect();
    let expected = [(250, script(1)), (175, script(2)), (75, script(102)), (500, script(99))];
    assert_eq!(paid, expected.each_ref().map(|(sat, script)| (*sat, script)));
    // Exactly as long as it is counted, from five-digit heights on.
    let both = Farm::new(vec![stake(1, 1), stake(2, 1)], nobody(2)).unwrap();
    assert_eq!(both.length(12) - farm.length(12), 9 + script(1).len());
    // It is a lock all the same.
    assert_eq!(refused(vec![free(1), free(1)], nobody(0)), "work-farm-lock");
    let serves_it = Stake { service: script(1), ..stake(2, 1) };
    assert_eq!(refused(vec![free(1), serves_it], nobody(0)), "work-farm-apart");
    let rest = Rest::Script { script: script(1), weight: 1 };
    assert_eq!(refused(vec![free(1)], rest), "work-farm-apart");
    let none = Farm::new(vec![free(1)], nobody(0)).unwrap();
    assert_eq!(none.payouts(Amount::ZERO).unwrap_err().rule(), "work-farm-part");
}

#[test]
fn a_coinbase_longer_than_firmware_holds_is_refused_with_what_would_fit() {
    let single = Farm::single(script(1), script(2), 300_000).unwrap();
    single.check_length(12, LONGEST_COINBASE).unwrap();
    assert_eq!(single.length(12), 201);
    let ten = (1..=10).map(|number| stake(number, 1)).collect();
    let farm = Farm::new(ten, nobody(1)).unwrap();
    farm.check_length(12, farm.length(12)).unwrap();
    // 115 bytes, 43 for the rest, 86 for each position.
    for (limit, fit) in [(farm.length(12) - 1, 9), (730, 6), (LONGEST_COINBASE, 1), (200, 0)] {
        let refused = farm.check_length(12, limit).unwrap_err();
        assert_eq!(refused.rule(), "work-farm-length");
        assert!(refused.fault().expected.contains(&format!("room for {fit} of")), "{refused}");
    }
}

#[test]
fn the_length_is_that_of_the_coinbase() {
    for count in [1, 2, 7, 140] {
        let stakes = (0..count).map(|n| stake(n, 1 + u64::from(n))).collect::<Vec<_>>();
        let stakes: Vec<Stake> = stakes
            .into_iter()
            .map(|mut s| {
                let mut bytes = s.service.into_bytes();
                bytes.push(0);
                s.service = ScriptBuf::from_bytes(bytes);
                s
            })
            .collect();
        let rest = ScriptBuf::from_bytes([vec![0, 20], vec![9; 20]].concat());
        let farm = Farm::new(stakes, Rest::Script { script: rest, weight: 7 }).unwrap();
        let mut template = template(BlockHash::all_zeros(), 840_000, 0);
        template.reward = Amount::from_sat(312_500_000);
        let payouts = farm.payouts(template.reward).unwrap();
        for room in [4, 12, 32] {
            let job = ExtendedJob::new(&template, room, &payouts).unwrap();
            let extranonce = Extranonce::new(&vec![0; room.into()], &[]).unwrap();
            assert_eq!(job.coinbase(&extranonce).len(), farm.length(room), "{count} {room}");
        }
    }
}

#[test]
fn an_output_counts_twice_only_where_lock_and_service_meet() {
    // What the farm refuses, made by hand: the first position's service script is the second's lock.
    let one = Stake { service: script(2), ..stake(1, 1) };
    let other = stake(2, 1);
    let first = Part::of(Amount::from_sat(REWARD / 2), 300_000);
    let second_service = per_million(Amount::from_sat(REWARD / 2), 300_000);
    let total = Amount::from_sat(REWARD);
    // floor((lock + service) x 3 / 10) = service has a solution behind a lock of this size.
    let service = Amount::from_sat(first.service.to_sat() * 3 / 7);
    let mut outputs = first.outputs(one.lock.clone(), one.service.clone()).to_vec();
    outputs.push(TxOut { value: service, script_pubkey: other.service.clone() });
    let given: Amount = outputs.iter().map(|out| out.value).sum();
    outputs.push(TxOut { value: total - given, script_pubkey: script(9) });
    assert!(second_service > service);
    let mut template = template(BlockHash::all_zeros(), 20, 0);
    template.reward = total;
    let job = ExtendedJob::new(&template, 12, &outputs).unwrap();
    let bytes = job.coinbase(&Extranonce::new(&[0; 12], &[]).unwrap());
    let coinbase = Coinbase::parse(&bytes).unwrap();
    let paid = |stake: &Stake| coinbase.payment(20, &demand(stake, Target::MAX)).unwrap().paid;
    // Each verifier, who knows one position's terms only, is content; together they counted 650 M twice.
    assert!(paid(&one) + paid(&other) > given, "{} + {}", paid(&one), paid(&other));
    assert_eq!(refused(vec![one, other], nobody(1)), "work-farm-apart");
}

prop_compose! {
    /// Random positions; some share a service script.
    fn farms()(
        stakes in proptest::collection::vec((1u64.., 10_000u32..1_000_000, any::<bool>()), 1..12),
        beside in any::<Option<u64>>(),
        place in any::<prop::sample::Index>(),
        shift in 0u32..60,
    ) -> Farm {
        let count = stakes.len();
        let stakes = (0u8..).zip(stakes).map(|(number, (weight, service_ppm, shared))| Stake {
            lock: script(number),
            service: script(if shared { 50 } else { 100 + number }),
            service_ppm,
            weight: (weight >> shift).max(1),
        });
        let rest = match beside {
            Some(weight) => nobody(weight >> shift),
            None => Rest::Stake(place.index(count)),
        };
        Farm::new(stakes.collect(), rest).unwrap()
    }
}

proptest! {
    #[test]
    fn parts_and_rest_add_up_to_the_reward_and_each_is_paid_as_its_terms_demand(
        farm in farms(),
        reward in REWARD..MAX_SATOSHIS / 4,
    ) {
        let reward = Amount::from_sat(reward);
        let Ok(outputs) = farm.payouts(reward) else { return Ok(()) };
        let sum: Amount = outputs.iter().map(|out| out.value).sum();
        prop_assert_eq!(sum, reward);
        let mut template = template(BlockHash::all_zeros(), 20, 0);
        template.reward = reward;
        let job = ExtendedJob::new(&template, 12, &outputs).unwrap();
        let bytes = job.coinbase(&Extranonce::new(&[7; 12], &[]).unwrap());
        let coinbase = Coinbase::parse(&bytes).unwrap();
        let (parts, _) = farm.parts(reward).unwrap();
        let mut paid = Amount::ZERO;
        for (stake, part) in farm.stakes().iter().zip(&parts) {
            let found = coinbase.payment(20, &demand(stake, Target::MAX)).unwrap();
            prop_assert_eq!((found.paid, found.total), (part.paid(), reward));
            paid += found.paid;
        }
        prop_assert!(paid <= reward);
    }

    #[test]
    fn the_expected_credits_of_all_positions_never_exceed_the_work(
        farm in farms(),
        reward in REWARD..MAX_SATOSHIS / 4,
        bits in proptest::collection::vec(30usize..70, 12),
        fine in any::<[u8; 20]>(),
    ) {
        let reward = Amount::from_sat(reward);
        let targets: Vec<Target> = bits.iter().map(|bits| {
            let mut bytes = one_in(*bits).to_be_bytes();
            bytes[10..30].copy_from_slice(&fine);
            Target::from_be_bytes(bytes)
        }).collect();
        let Ok(found) = farm.hash_targets(reward, &targets) else { return Ok(()) };
        // A hash counts for a position in (h + 1) of 2^256 cases, and is credited with 2^256 / t.
        let mut credit = U384::ZERO;
        for (hash, target) in found.iter().zip(&targets) {
            credit += wide(*hash) * U384::from(share_work(*target));
        }
        prop_assert!(credit <= U384::from(1u8) << 256);
    }
}
