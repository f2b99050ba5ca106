//! The rewards' column of the table.

use hashmix::facts::Coin;
use hashmix::flow::reward::txs::{SweepPath, sweep};
use hashmix::party::Seat;
use hashmix::script::template::Variant;
use hashmix::tx::draft::Draft;

use crate::attempts::{IMMATURE, NOT_YET, UNSATISFIED, finish, hurried, impossible, refused};
use crate::world::{EVERYBODY, RATE, REWARD_HEIGHT, World};

const M: Seat = Seat::Miner;
const N: Seat = Seat::Holder;
const V0: Seat = Seat::Validator(0);
const V1: Seat = Seat::Validator(1);
const V2: Seat = Seat::Validator(2);

/// Tip at which the coinbase of block 2 can be spent in the next block.
const MATURE: u32 = REWARD_HEIGHT + 99;
/// Tip at which it is R = 120 blocks deep.
const HOLDER_EXIT: u32 = REWARD_HEIGHT + 119;

const WAYS: [SweepPath; 5] = [
    SweepPath::Key,
    SweepPath::Agreed,
    SweepPath::MinerRuling,
    SweepPath::HolderRuling,
    SweepPath::HolderExit,
];

fn draft(world: &World, coin: &Coin, path: SweepPath) -> Draft {
    sweep(&world.terms.reward, path, std::slice::from_ref(coin), RATE).unwrap()
}

/// `survivors` have exactly the ways in `possible`, each from its height on and no block earlier,
/// and every one of them pays the holder.
fn exactly(survivors: &[Seat], possible: &[(SweepPath, u32)]) {
    for variant in [Variant::Musig, Variant::Nums] {
        let world = World::new(variant);
        let rewards = world.rewards();
        let mut coins = rewards.iter();
        let mut last = 0;
        for (path, height) in possible {
            let story = format!("{survivors:?}, {variant:?}, {path:?} at {height}");
            if (variant, *path) == (Variant::Nums, SweepPath::Key) {
                continue;
            }
            let draft = draft(&world, coins.next().unwrap(), *path);
            if *height > last {
                world.mine_to(height - 1);
                if *path == SweepPath::HolderExit {
                    hurried(&world, &draft, N, REWARD_HEIGHT, &story);
                }
            }
            let tx = finish(&world, draft, survivors);
            assert_eq!(tx.output.len(), 1, "{story}");
            let payee = world.terms.reward.holder.payout_script();
            assert_eq!(tx.output[0].script_pubkey, payee, "{story}");
            if *height > last {
                let reason = if *path == SweepPath::HolderExit { NOT_YET } else { IMMATURE };
                refused(&world, &tx, reason, &story);
                world.mine_to(*height);
                last = *height;
            }
            world.chain.broadcast(&tx).map_err(|error| format!("{story}: {error}")).unwrap();
        }

        world.mine_to(HOLDER_EXIT + 10);
        assert!(world.node.mempool().unwrap().is_empty(), "what was accepted is in blocks");
        let coin = rewards.last().unwrap();
        for path in WAYS.into_iter().filter(|way| possible.iter().all(|(path, _)| path != way)) {
            if (variant, path) == (Variant::Nums, SweepPath::Key) {
                continue;
            }
            let story = format!("{survivors:?}, {variant:?}, {path:?}");
            impossible(&world, draft(&world, coin, path), survivors, &story);
        }
    }
}

#[test]
fn with_nobody_gone_every_way_is_open() {
    exactly(
        &[M, N, V1, V2],
        &[
            (SweepPath::Key, MATURE),
            (SweepPath::Agreed, MATURE),
            (SweepPath::MinerRuling, MATURE),
            (SweepPath::HolderRuling, MATURE),
            (SweepPath::HolderExit, HOLDER_EXIT),
        ],
    );
}

#[test]
fn with_the_holder_gone_miner_and_federation_pay_his_payout_script() {
    exactly(&[M, V0, V1], &[(SweepPath::MinerRuling, MATURE)]);
}

#[test]
fn with_the_miner_gone_holder_and_federation_sweep_and_then_the_holder_alone() {
    exactly(
        &[N, V0, V2],
        &[(SweepPath::HolderRuling, MATURE), (SweepPath::HolderExit, HOLDER_EXIT)],
    );
}

#[test]
fn with_the_federation_gone_the_two_sweep_and_then_the_holder_alone() {
    exactly(
        &[M, N],
        &[
            (SweepPath::Key, MATURE),
            (SweepPath::Agreed, MATURE),
            (SweepPath::HolderExit, HOLDER_EXIT),
        ],
    );
}

#[test]
fn a_miner_alone_reaches_no_reward() {
    exactly(&[M], &[]);
}

#[test]
fn a_holder_alone_waits_for_his_exit() {
    exactly(&[N], &[(SweepPath::HolderExit, HOLDER_EXIT)]);
}

#[test]
fn a_federation_alone_reaches_nothing_however_many_its_validators() {
    exactly(&[V1, V2], &[]);
    exactly(&[V0, V1, V2], &[]);
}

#[test]
fn with_everybody_gone_nothing_is_reached() {
    exactly(&[], &[]);
}

#[test]
fn one_validator_is_too_few_to_pay_out_rewards() {
    for validator in [V0, V1, V2] {
        exactly(&[M, validator], &[]);
        exactly(&[N, validator], &[(SweepPath::HolderExit, HOLDER_EXIT)]);
    }
}

#[test]
fn the_unspendable_variant_has_no_key_path() {
    let world = World::new(Variant::Nums);
    let coin = world.rewards().remove(0);
    let coins = std::slice::from_ref(&coin);
    let error = sweep(&world.terms.reward, SweepPath::Key, coins, RATE).unwrap_err();
    assert_eq!(error.rule(), "script-leaf");

    world.mine_to(MATURE);
    let agreed = draft(&world, &coin, SweepPath::Agreed);
    for seat in EVERYBODY {
        let signature = world.signer(seat).sign_digest(agreed.sighash(0).unwrap()).unwrap();
        let mut tx = agreed.transaction().clone();
        tx.input[0].witness = bitcoin::Witness::from_slice(&[signature.serialize()]);
        refused(&world, &tx, UNSATISFIED, "a key path");
    }
}
