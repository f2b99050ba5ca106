//! Core signs every leaf of both locks, from the descriptor that a seat's own wallet would hold, and
//! takes the transaction that our code finishes with its signatures.

use std::collections::BTreeSet;

use bitcoin::psbt::Input;
use bitcoin::secp256k1::{Message, Secp256k1, schnorr};
use bitcoin::{Psbt, TapLeafHash, TapSighashType, Transaction};
use hashmix::error::Culprit;
use hashmix::flow::reward::txs::SweepPath;
use hashmix::party::Seat;
use hashmix::script::lock::{Leaf, Path};
use hashmix::script::template::{Policy, Variant};
use hashmix::tx::draft::Draft;
use hashmix::tx::signed::Signed;

use crate::contract::{Contract, opens, private_form, with_checksum};
use crate::judge::{Judge, Placed};

const M: Seat = Seat::Miner;
const N: Seat = Seat::Holder;
const V0: Seat = Seat::Validator(0);
const V1: Seat = Seat::Validator(1);
const V2: Seat = Seat::Validator(2);

/// What Core says of a transaction that may only enter a later block: nLockTime, BIP 68, or a
/// coinbase that is not mature.
const NOT_YET: [&str; 3] = ["non-final", "non-BIP68-final", "bad-txns-premature-spend-of-coinbase"];

/// What `seat` has signed of a leaf, in one input of a PSBT.
fn signature_in(input: &Input, leaf: &Leaf, seat: Seat) -> schnorr::Signature {
    let key = leaf.keys.iter().find(|key| key.seat == seat).unwrap().key;
    let signature = input.tap_script_sigs[&(key, leaf.hash())];
    assert_eq!(signature.sighash_type, TapSighashType::Default);
    signature.signature
}

/// The signatures that Core makes as the wallet of `seat`, of the leaf that the draft spends, one
/// for each input. Core signs every leaf that holds a key of the wallet; the others are left.
fn core_signs(
    judge: &Judge,
    draft: &Draft,
    policy: &Policy,
    seat: Seat,
    index: u32,
) -> Vec<schnorr::Signature> {
    let psbt = judge.sign(&draft.psbt().unwrap(), &private_form(policy, seat), index);
    // Core signs the transaction that it was given, and shows every leaf: nobody may send that on.
    assert_eq!(psbt.unsigned_tx, *draft.transaction());
    let refused = draft.compare(&psbt, Culprit::Sender).unwrap_err();
    assert_eq!(refused.rule(), "policy-psbt-leaf-other");
    let secp = Secp256k1::verification_only();
    (0..)
        .zip(draft.spends().iter().zip(&psbt.inputs))
        .map(|(number, (spend, input))| {
            let mine = |leaf: &&Leaf| leaf.keys.iter().any(|key| key.seat == seat);
            let expected: BTreeSet<TapLeafHash> =
                spend.lock.leaves.iter().filter(mine).map(Leaf::hash).collect();
            let signed: BTreeSet<TapLeafHash> =
                input.tap_script_sigs.keys().map(|(_, leaf)| *leaf).collect();
            assert_eq!(signed, expected, "{seat} signs each of his leaves, and no other");

            let leaf = spend.lock.leaf(spend.path).unwrap();
            let signature = signature_in(input, leaf, seat);
            let key = leaf.keys.iter().find(|key| key.seat == seat).unwrap().key;
            let message = Message::from_digest(draft.sighash(number).unwrap());
            secp.verify_schnorr(&signature, &message, &key)
                .unwrap_or_else(|error| panic!("{seat}, {}: {error}", spend.path));
            signature
        })
        .collect()
}

/// The PSBT of the one leaf, with nothing but the signatures of those who sign.
fn with_signatures(draft: &Draft, signers: &[(Seat, Vec<schnorr::Signature>)]) -> Psbt {
    let mut psbt = draft.psbt().unwrap();
    for (number, (spend, input)) in draft.spends().iter().zip(&mut psbt.inputs).enumerate() {
        let leaf = spend.lock.leaf(spend.path).unwrap();
        for (seat, signatures) in signers {
            let key = leaf.keys.iter().find(|key| key.seat == *seat).unwrap().key;
            let signature = bitcoin::taproot::Signature {
                signature: signatures[number],
                sighash_type: TapSighashType::Default,
            };
            input.tap_script_sigs.insert((key, leaf.hash()), signature);
        }
    }
    psbt
}

/// Core signs for all of `seats`; our code and Core finish the same transaction, and Core takes it
/// into the first block that its delays allow, and no block earlier.
fn signed_and_mined(
    contract: &Contract,
    policy: &Policy,
    index: u32,
    coins: &[Placed],
    draft: Draft,
    seats: &[Seat],
) -> (Transaction, Vec<Placed>) {
    let Contract { judge, .. } = contract;
    let story = format!("{}, {seats:?}", draft.spends()[0].path);
    let (opens, vsize) = (opens(&draft, coins), draft.vsize().unwrap());
    let signatures: Vec<(Seat, Vec<schnorr::Signature>)> =
        seats.iter().map(|seat| (*seat, core_signs(judge, &draft, policy, *seat, index))).collect();
    let finished_by_core = judge.finalize(&with_signatures(&draft, &signatures));
    let (_, short) = signatures.split_last().unwrap();
    assert_eq!(judge.finalize(&with_signatures(&draft, short)), None, "{story}: one is missing");

    let mut signed = Signed::new(draft);
    for (seat, signatures) in &signatures {
        signed.add(*seat, signatures).unwrap();
    }
    let done = signed.finish().unwrap();
    assert_eq!(done.signers, seats, "{story}");
    assert_eq!(finished_by_core.as_ref(), Some(&done.tx), "{story}: Core's own witness");

    if judge.height() < opens {
        judge.mine_to(opens - 1);
        let reason = judge.verdict(&done.tx).expect_err(&story);
        assert!(NOT_YET.contains(&reason.as_str()), "{story}, a block early: {reason}");
        judge.mine_to(opens);
    }
    assert_eq!(judge.verdict(&done.tx), Ok(vsize), "{story}");
    let outputs = judge.confirm(&done.tx);
    (done.tx, outputs)
}

/// A reward through `path`, in both variants: two coins in one transaction.
fn reward(path: SweepPath, seats: &[Seat]) {
    for variant in [Variant::Musig, Variant::Nums] {
        let contract = Contract::new(variant);
        let coins = &contract.rewards[..2];
        let draft = contract.sweep(coins, path);
        let policy = contract.reward_policy();
        let (tx, _) = signed_and_mined(&contract, &policy, 0, coins, draft, seats);
        let payee = contract.terms.reward.holder.payout_script();
        assert!(tx.output.iter().all(|out| out.script_pubkey == payee), "{variant:?}");
    }
}

/// An escrow output through `path`, in both variants: the sale's own output, and the re-lock that a
/// settlement has made of another one.
fn escrow(path: Path, seats: &[Seat]) {
    for variant in [Variant::Musig, Variant::Nums] {
        let contract = Contract::new(variant);
        let policy = contract.escrow_policy();
        let coin = &contract.escrows[0];
        let settled = contract.spend_escrow(coin, 0, Path::Agreed);
        let coins = std::slice::from_ref(coin);
        let (_, outputs) = signed_and_mined(&contract, &policy, 0, coins, settled, &[M, N]);
        let relocked = outputs[1].clone();
        assert_eq!(relocked.txout.script_pubkey, contract.escrow_lock(1).script_pubkey);

        for (coin, index) in [(contract.escrows[1].clone(), 0), (relocked, 1)] {
            let draft = contract.spend_escrow(&coin, index, path);
            signed_and_mined(&contract, &policy, index, &[coin], draft, seats);
        }
    }
}

#[test]
fn core_signs_the_agreed_leaf_of_a_reward_for_miner_and_holder() {
    reward(SweepPath::Agreed, &[M, N]);
}

#[test]
fn core_signs_the_miners_ruling_leaf_of_a_reward_for_miner_and_validators() {
    reward(SweepPath::MinerRuling, &[M, V0, V2]);
}

#[test]
fn core_signs_the_holders_ruling_leaf_of_a_reward_for_holder_and_validators() {
    reward(SweepPath::HolderRuling, &[N, V1, V2]);
}

#[test]
fn core_signs_the_holders_exit_from_a_reward_and_takes_it_when_the_delay_is_over() {
    reward(SweepPath::HolderExit, &[N]);
}

#[test]
fn core_signs_the_agreed_leaf_of_an_escrow_for_miner_and_holder() {
    escrow(Path::Agreed, &[M, N]);
}

#[test]
fn core_signs_the_miners_ruling_leaf_of_an_escrow_for_miner_and_validators() {
    escrow(Path::MinerRuling, &[M, V0, V1]);
}

#[test]
fn core_signs_the_holders_ruling_leaf_of_an_escrow_for_holder_and_validators() {
    escrow(Path::HolderRuling, &[N, V0, V2]);
}

#[test]
fn core_signs_the_holders_exit_from_an_escrow_and_takes_it_when_both_delays_are_over() {
    escrow(Path::HolderExit, &[N]);
}

#[test]
fn core_signs_the_miners_exit_from_an_escrow_and_takes_it_when_his_height_has_passed() {
    escrow(Path::MinerExit, &[M]);
}

#[test]
fn what_core_signs_for_another_leaf_or_another_output_is_refused_here() {
    let contract = Contract::new(Variant::Musig);
    let policy = contract.escrow_policy();
    let [coin, other, _] = &contract.escrows[..] else { panic!("three coins") };
    let agreed = |coin| contract.spend_escrow(coin, 0, Path::Agreed);
    let wallet = private_form(&policy, M);
    let signed_by = |draft: &Draft| contract.judge.sign(&draft.psbt().unwrap(), &wallet, 0);
    let lock = contract.escrow_lock(0);
    let [leaf, ruling] = [Path::Agreed, Path::MinerRuling].map(|path| lock.leaf(path).unwrap());

    // Of one and the same transaction, since Core signs all his leaves.
    let right = signed_by(&agreed(coin));
    let elsewhere = signed_by(&agreed(other));
    for (input, leaf, accepted) in [
        (&right.inputs[0], leaf, true),
        (&right.inputs[0], ruling, false),
        (&elsewhere.inputs[0], leaf, false),
    ] {
        let added = Signed::new(agreed(coin)).add(M, &[signature_in(input, leaf, M)]);
        let expected = if accepted { Ok(()) } else { Err("tx-signature") };
        assert_eq!(added.map_err(|error| error.rule()), expected, "{}", leaf.path);
    }
}

#[test]
fn a_wallet_of_nobody_at_the_table_signs_nothing() {
    let contract = Contract::new(Variant::Musig);
    let policy = contract.escrow_policy();
    let draft = contract.spend_escrow(&contract.escrows[0], 0, Path::Agreed);
    let public = with_checksum(&policy.musig_form);
    let psbt = contract.judge.sign(&draft.psbt().unwrap(), &public, 0);
    assert!(psbt.inputs[0].tap_script_sigs.is_empty());
    assert_eq!(contract.judge.finalize(&psbt), None);
    // It knows all keys, though: what Core adds are origins, no signatures.
    let lock = contract.escrow_lock(0);
    for key in lock.leaves.iter().flat_map(|leaf| &leaf.keys) {
        assert!(psbt.inputs[0].tap_key_origins.contains_key(&key.key), "{}", key.seat);
    }
}
