//! No overselling: whatever a farm pays, the weights of one share add up to at most 1.

use std::sync::LazyLock;

use bitcoin::hashes::Hash;
use bitcoin::{Amount, BlockHash, CompactTarget, Network, TxOut};
use hashmix::flow::position::proof::Stage;
use hashmix::flow::position::terms::PositionTerms;
use hashmix::rehearsal::position as cast;
use hashmix::work::agreement::WorkTerms;
use hashmix::work::coinbase::{Coinbase, subsidy};
use hashmix::work::farm::Part;
use hashmix::work::share::without_witness;
use hashmix::work::template::BlockTemplate;
use proptest::prelude::*;

use crate::town::HEIGHTS;

const HEIGHT: u32 = 120;

/// Five positions with both stages of each.
static POSITIONS: LazyLock<Vec<(PositionTerms, [WorkTerms; 2])>> = LazyLock::new(|| {
    let one = |number| {
        let terms = cast::terms(number, HEIGHTS).unwrap();
        let works = Stage::BOTH.map(|stage| stage.work(&terms).unwrap());
        (terms, works)
    };
    (1..=5).map(one).collect()
});

/// What a farm pays: for each part a position, its stage, a weight, and whether it cheats by leaving
/// out the service share.
fn coinbase(parts: &[(usize, bool, u64, bool)], fees: u64) -> (Vec<u8>, Amount) {
    let reward = subsidy(Network::Regtest, HEIGHT) + Amount::from_sat(fees);
    let all: u64 = parts.iter().map(|part| part.2).sum::<u64>().max(1);
    let mut left = reward;
    let mut outputs = Vec::new();
    for (number, binding, weight, cheats) in parts {
        let (terms, works) = &POSITIONS[*number];
        let value = Amount::from_sat(
            u64::try_from(u128::from(reward.to_sat()) * u128::from(*weight) / u128::from(all))
                .unwrap(),
        );
        left -= value;
        if *binding && !cheats {
            let part = Part::of(value, terms.reward.service_ppm);
            let lock = works[1].lock.clone();
            outputs.extend(part.outputs(lock, terms.reward.miner.payout_script()));
        } else {
            let script_pubkey = works[usize::from(*binding)].lock.clone();
            outputs.push(TxOut { value, script_pubkey });
        }
    }
    outputs.push(TxOut { value: left, script_pubkey: bitcoin::ScriptBuf::from_bytes(vec![0x51]) });
    let template = BlockTemplate {
        version: bitcoin::block::Version::from_consensus(0x2000_0000),
        parent: BlockHash::all_zeros(),
        height: HEIGHT,
        time: 1_700_000_000,
        bits: CompactTarget::from_consensus(0x207f_ffff),
        reward,
        transactions: Vec::new(),
    };
    (without_witness(&template.coinbase(b"farm", &outputs).unwrap()), reward)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_weights_of_a_share_add_up_to_at_most_one(
        parts in prop::collection::vec((0usize..5, any::<bool>(), 0u64..1_000, any::<bool>()), 1..12),
        stages in prop::collection::vec(any::<bool>(), 5),
        fees in 0u64..100_000_000,
    ) {
        let (bytes, reward) = coinbase(&parts, fees);
        let coinbase = Coinbase::parse(&bytes).unwrap();
        let mut sum = Amount::ZERO;
        for ((_, works), binding) in POSITIONS.iter().zip(&stages) {
            // At one height a position proves one stage: its slices lie apart.
            let demand = works[usize::from(*binding)].demand(0);
            if let Ok(payment) = coinbase.payment(HEIGHT, &demand) {
                prop_assert_eq!(payment.total, reward);
                sum += payment.paid;
            }
        }
        // Each weight is paid / total, so together they are this.
        prop_assert!(sum <= reward, "{} of {}", sum, reward);
    }
}

#[test]
fn each_output_counts_for_one_position() {
    let parts: Vec<_> = (0..5).map(|number| (number, number % 2 == 0, 10, false)).collect();
    let (bytes, reward) = coinbase(&parts, 0);
    let coinbase = Coinbase::parse(&bytes).unwrap();
    let paid = |number: usize, stage: Stage| {
        let place = usize::from(stage == Stage::Binding);
        coinbase.payment(HEIGHT, &POSITIONS[number].1[place].demand(0)).map(|p| p.paid)
    };
    let fifth = Amount::from_sat(reward.to_sat() / 5);
    for number in 0..5 {
        let stage = Stage::BOTH[usize::from(number % 2 == 0)];
        assert_eq!(paid(number, stage).unwrap(), fifth);
        let other = Stage::BOTH[usize::from(number % 2 != 0)];
        match other {
            Stage::Binding => assert_eq!(paid(number, other).unwrap_err().rule(), "work-pay-lock"),
            // The service share pays his address: worth what it is, and in another slice only.
            Stage::Onboarding => assert!(paid(number, other).unwrap() < fifth),
        }
    }
    // Every script of every position is its own.
    let scripts: std::collections::BTreeSet<_> =
        POSITIONS.iter().flat_map(|(_, works)| works).map(|work| work.lock.clone()).collect();
    assert_eq!(scripts.len(), 10);
}
