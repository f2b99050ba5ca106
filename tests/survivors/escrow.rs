//! The escrow's column of the table.

use bitcoin::Amount;
use hashmix::flow::escrow::coins::{self, EscrowCoin};
use hashmix::flow::escrow::txs::{Outcome, exit, settlement};
use hashmix::musig::{PartialSignature, Session};
use hashmix::party::Seat;
use hashmix::script::lock::Path;
use hashmix::script::template::Variant;
use hashmix::tx::draft::Draft;

use crate::attempts::{NOT_YET, finish, hurried, impossible, refused};
use crate::world::{ESCROW_HEIGHT, EVERYBODY, RATE, World, escrow_coin};

const M: Seat = Seat::Miner;
const N: Seat = Seat::Holder;
const V0: Seat = Seat::Validator(0);
const V1: Seat = Seat::Validator(1);
const V2: Seat = Seat::Validator(2);

/// Tip at which the first period is ruled on: its last block, 115, is 6 deep.
const RULED: u32 = 120;
/// T: the end of the term, 127, and a grace of 24.
const HOLDER_EXIT: u32 = 151;
/// T + Y: twelve blocks later.
const MINER_EXIT: u32 = 163;

const WAYS: [Path; 6] = [
    Path::Key,
    Path::Agreed,
    Path::MinerRuling,
    Path::HolderRuling,
    Path::HolderExit,
    Path::MinerExit,
];

/// The transaction that the contract knows for a way in.
fn draft(world: &World, coin: &EscrowCoin, path: Path) -> Draft {
    match path {
        Path::HolderExit => exit(&world.terms, coin, Seat::Holder, RATE).unwrap(),
        Path::MinerExit => exit(&world.terms, coin, Seat::Miner, RATE).unwrap(),
        _ => {
            let earned = Amount::from_sat(10_000_000);
            let outcome = Outcome { period: 0, earned, closes: false };
            settlement(&world.terms, coin, outcome, path, RATE, None).unwrap()
        }
    }
}

/// `survivors` have exactly the ways in `possible`, each from its height on and no block earlier.
fn exactly(survivors: &[Seat], possible: &[(Path, u32)]) {
    for variant in [Variant::Musig, Variant::Nums] {
        let mut world = World::new(variant);
        let escrows = world.fund_escrows();
        let mut coins = escrows.iter();
        let mut last = ESCROW_HEIGHT;
        for (path, height) in possible {
            let story = format!("{survivors:?}, {variant:?}, {path} at {height}");
            if (variant, *path) == (Variant::Nums, Path::Key) {
                continue;
            }
            let draft = draft(&world, coins.next().unwrap(), *path);
            // Those that open together with the one before are early no longer.
            if *height > last {
                world.mine_to(height - 1);
                match path {
                    Path::HolderExit => hurried(&world, &draft, N, ESCROW_HEIGHT, &story),
                    Path::MinerExit => hurried(&world, &draft, M, ESCROW_HEIGHT, &story),
                    _ => {}
                }
            }
            let tx = finish(&world, draft, survivors);
            if *height > last {
                refused(&world, &tx, NOT_YET, &story);
                world.mine_to(*height);
                last = *height;
            }
            world.chain.broadcast(&tx).map_err(|error| format!("{story}: {error}")).unwrap();
        }

        // Late enough for every delay: what is impossible now was never possible.
        world.mine_to(MINER_EXIT + 10);
        assert!(world.node.mempool().unwrap().is_empty(), "what was accepted is in blocks");
        let coin = escrows.last().unwrap();
        for path in WAYS.into_iter().filter(|way| possible.iter().all(|(path, _)| path != way)) {
            if (variant, path) == (Variant::Nums, Path::Key) {
                continue;
            }
            let story = format!("{survivors:?}, {variant:?}, {path}");
            impossible(&world, draft(&world, coin, path), survivors, &story);
        }
    }
}

#[test]
fn the_heights_are_those_of_the_terms() {
    let world = World::new(Variant::Musig);
    assert_eq!(world.terms.ruling_height(0).unwrap(), RULED);
    assert_eq!(world.terms.holder_exit_height(), HOLDER_EXIT);
    assert_eq!(world.terms.miner_exit_height(), MINER_EXIT);
}

#[test]
fn with_nobody_gone_every_way_is_open() {
    exactly(
        &[M, N, V0, V1],
        &[
            (Path::Key, RULED),
            (Path::Agreed, RULED),
            (Path::MinerRuling, RULED),
            (Path::HolderRuling, RULED),
            (Path::HolderExit, HOLDER_EXIT),
            (Path::MinerExit, MINER_EXIT),
        ],
    );
}

#[test]
fn with_the_holder_gone_miner_and_federation_settle_and_the_miner_ends_it_alone() {
    exactly(&[M, V1, V2], &[(Path::MinerRuling, RULED), (Path::MinerExit, MINER_EXIT)]);
}

#[test]
fn with_the_miner_gone_holder_and_federation_settle_and_the_holder_ends_it_alone() {
    exactly(&[N, V0, V2], &[(Path::HolderRuling, RULED), (Path::HolderExit, HOLDER_EXIT)]);
}

#[test]
fn with_the_federation_gone_the_two_settle_and_each_ends_it_alone() {
    exactly(
        &[M, N],
        &[
            (Path::Key, RULED),
            (Path::Agreed, RULED),
            (Path::HolderExit, HOLDER_EXIT),
            (Path::MinerExit, MINER_EXIT),
        ],
    );
}

#[test]
fn a_miner_alone_waits_for_the_last_exit() {
    exactly(&[M], &[(Path::MinerExit, MINER_EXIT)]);
}

#[test]
fn a_holder_alone_waits_for_the_end_of_the_grace() {
    exactly(&[N], &[(Path::HolderExit, HOLDER_EXIT)]);
}

#[test]
fn a_federation_alone_reaches_nothing_however_many_its_validators() {
    exactly(&[V0, V1], &[]);
    exactly(&[V0, V1, V2], &[]);
}

#[test]
fn with_everybody_gone_nothing_is_reached() {
    exactly(&[], &[]);
}

#[test]
fn one_validator_is_no_federation() {
    for validator in [V0, V1, V2] {
        exactly(&[M, validator], &[(Path::MinerExit, MINER_EXIT)]);
        exactly(&[N, validator], &[(Path::HolderExit, HOLDER_EXIT)]);
    }
}

#[test]
fn any_two_validators_are_a_federation() {
    for pair in [[V0, V1], [V0, V2], [V1, V2]] {
        exactly(
            &[M, pair[0], pair[1]],
            &[(Path::MinerRuling, RULED), (Path::MinerExit, MINER_EXIT)],
        );
    }
}

#[test]
fn federations_of_two_in_two_and_three_in_five_rule_with_one_party_and_with_no_one_missing() {
    for (k, n) in [(2u8, 2u8), (3, 5)] {
        let mut world = World::with_federation(k, n);
        let coins = world.fund_escrows();
        world.mine_to(RULED);
        let ways = [(M, Path::MinerRuling), (N, Path::HolderRuling)];
        for (place, (party, path)) in ways.into_iter().enumerate() {
            let with = |validators: core::ops::Range<u8>| -> Vec<Seat> {
                [party].into_iter().chain(validators.map(Seat::Validator)).collect()
            };
            let story = format!("{k} of {n}, {path}");
            let coin = &coins[place];
            impossible(&world, draft(&world, coin, path), &with(0..k - 1), &story);
            let all: Vec<Seat> = (0..n).map(Seat::Validator).collect();
            impossible(&world, draft(&world, coin, path), &all, &story);
            // The last k, so that empty signatures stand where the first validators' would.
            let tx = finish(&world, draft(&world, coin, path), &with(n - k..n));
            world.chain.broadcast(&tx).map_err(|error| format!("{story}: {error}")).unwrap();
        }
    }
}

#[test]
fn more_signatures_than_needed_make_no_other_transaction() {
    let mut world = World::new(Variant::Musig);
    let coin = world.fund_escrows().remove(0);
    world.mine_to(RULED);
    let draft = draft(&world, &coin, Path::MinerRuling);
    let expected = (draft.txid(), draft.vsize().unwrap());
    let tx = finish(&world, draft, &[M, V0, V1, V2]);
    assert_eq!((tx.compute_txid(), tx.vsize() as u64), expected);
    world.chain.broadcast(&tx).unwrap();
}

#[test]
fn half_of_a_joint_signature_is_none() {
    let mut world = World::new(Variant::Musig);
    let coin = world.fund_escrows().remove(0);
    let draft = draft(&world, &coin, Path::Key);
    let sighash = draft.sighash(0).unwrap();
    let context = draft.spends()[0].lock.key_path.clone().unwrap();
    let [(mine, shown), (his, his_shown)] =
        [M, N].map(|seat| world.signer(seat).begin(&context, sighash).unwrap());
    let (miner, holder) = (mine.owner(), his.owner());
    let session = Session::new(&context, &[(miner, shown), (holder, his_shown)], sighash).unwrap();
    let part = world.signer(M).sign_part(&session, mine).unwrap();
    let nothing = PartialSignature::parse(&[0; 32]).unwrap();
    for (rule, parts) in [
        ("musig-partial-set", vec![(miner, part)]),
        ("musig-partial-wrong", vec![(miner, part), (holder, part)]),
        ("musig-partial-wrong", vec![(miner, part), (holder, nothing)]),
    ] {
        assert_eq!(session.aggregate(&parts).unwrap_err().rule(), rule);
    }
}

#[test]
fn a_relock_after_the_term_still_leaves_the_miner_his_blocks() {
    let mut world = World::new(Variant::Musig);
    let coin = world.fund_escrows().remove(0);
    // The settlement confirms four blocks before T, so the re-lock is 12 deep only after it.
    world.mine_to(HOLDER_EXIT - 5);
    let tx = finish(&world, draft(&world, &coin, Path::MinerRuling), &[M, V0, V2]);
    world.chain.broadcast(&tx).unwrap();
    world.mine_to(HOLDER_EXIT - 4);

    let lock = coins::lock(&world.terms, 1).unwrap();
    let found = world.coins(&lock);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].height, Some(HOLDER_EXIT - 4));
    let relocked = escrow_coin(&found[0], lock, 1);
    let exit = draft(&world, &relocked, Path::HolderExit);
    let opens = HOLDER_EXIT - 4 + u32::from(world.terms.delays.relock) - 1;
    assert!(opens > HOLDER_EXIT);
    world.mine_to(HOLDER_EXIT);
    hurried(&world, &exit, N, HOLDER_EXIT - 4, "at T");
    let exit = finish(&world, exit, &[N]);
    refused(&world, &exit, NOT_YET, "at T");
    world.mine_to(opens - 1);
    refused(&world, &exit, NOT_YET, "a block early");
    world.mine_to(opens);
    world.chain.broadcast(&exit).unwrap();
}

#[test]
fn a_signature_for_one_settlement_opens_no_other_output_of_the_contract() {
    let mut world = World::new(Variant::Musig);
    let coins = world.fund_escrows();
    let mut tx = finish(&world, draft(&world, &coins[0], Path::Agreed), &[M, N]);
    world.mine_to(RULED);
    tx.input[0].previous_output = coins[1].outpoint;
    refused(&world, &tx, crate::attempts::UNSATISFIED, "the same lock, another outpoint");
}

#[test]
fn the_unspendable_variant_has_no_key_path() {
    let mut world = World::new(Variant::Nums);
    let coin = world.fund_escrows().remove(0);
    let earned = Amount::from_sat(10_000_000);
    let outcome = Outcome { period: 0, earned, closes: false };
    let error = settlement(&world.terms, &coin, outcome, Path::Key, RATE, None).unwrap_err();
    assert_eq!(error.rule(), "script-leaf");

    // By hand: nobody at the table can sign for the output key.
    world.mine_to(RULED);
    let agreed = draft(&world, &coin, Path::Agreed);
    for seat in EVERYBODY {
        let signer = world.signer(seat);
        let signature = signer.sign_digest(agreed.sighash(0).unwrap()).unwrap();
        let mut tx = agreed.transaction().clone();
        tx.input[0].witness = bitcoin::Witness::from_slice(&[signature.serialize()]);
        refused(&world, &tx, crate::attempts::UNSATISFIED, "a key path");
    }
}
