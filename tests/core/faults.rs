//! One byte of a witness is wrong, and Core refuses the transaction for its script.

use bitcoin::hashes::Hash;
use bitcoin::{TapSighash, Transaction, Witness};
use hashmix::flow::reward::txs::SweepPath;
use hashmix::musig::Session;
use hashmix::party::Seat;
use hashmix::script::lock::Path;
use hashmix::script::template::{Account, Variant};
use hashmix::sign::software::LeafAccount;
use hashmix::tx::draft::Draft;
use hashmix::tx::signed::Signed;

use crate::contract::{Contract, opens, signer_of};
use crate::judge::Placed;

const M: Seat = Seat::Miner;
const N: Seat = Seat::Holder;
const V0: Seat = Seat::Validator(0);
const V1: Seat = Seat::Validator(1);

/// What Core says of a witness that does not satisfy its script or key.
const SCRIPT: &str = "mempool-script-verify-flag-failed";

/// The finished transaction, signed by our own signers.
fn finished(draft: Draft, seats: &[Seat]) -> Transaction {
    let sighash = draft.sighash(0).unwrap();
    let spend = draft.spends()[0].clone();
    let mut signed = Signed::new(draft);
    if spend.path == Path::Key {
        let context = spend.lock.key_path.unwrap();
        let begun = [M, N].map(|seat| (seat, signer_of(seat).begin(&context, sighash).unwrap()));
        let nonces: Vec<_> = begun.iter().map(|(_, (s, shown))| (s.owner(), *shown)).collect();
        let session = Session::new(&context, &nonces, sighash).unwrap();
        let parts: Vec<_> = begun
            .into_iter()
            .map(|(seat, (secret, _))| {
                (secret.owner(), signer_of(seat).sign_part(&session, secret).unwrap())
            })
            .collect();
        signed.add_key_path(0, session.aggregate(&parts).unwrap()).unwrap();
        return signed.finish().unwrap().tx;
    }
    for seat in seats {
        let leaf = spend.lock.leaf(spend.path).unwrap();
        let key = leaf.keys.iter().find(|key| key.seat == *seat).unwrap();
        let account = match key.account {
            Account::Exit => LeafAccount::Exit,
            _ => LeafAccount::Leaf,
        };
        let message = TapSighash::from_byte_array(sighash);
        let (_, signature) = signer_of(*seat).sign_leaf(account, &key.steps, message).unwrap();
        signed.add(*seat, &[signature]).unwrap();
    }
    signed.finish().unwrap().tx
}

/// Each part of the witness with one bit turned, and what Core says of it.
fn every_part_counts(contract: &Contract, coin: &Placed, draft: Draft, seats: &[Seat]) {
    let judge = &contract.judge;
    let story = format!("{}, {}", draft.title(), draft.spends()[0].path);
    let opens = opens(&draft, std::slice::from_ref(coin));
    if judge.height() < opens {
        judge.mine_to(opens);
    }
    let tx = finished(draft, seats);
    let parts = tx.input[0].witness.to_vec();
    // Signatures first, then script and control block, which are not there on the key path.
    let signatures = if parts.len() == 1 { 1 } else { parts.len() - 2 };
    let mut turned = 0;
    for (number, part) in parts.iter().enumerate().filter(|(_, part)| !part.is_empty()) {
        for byte in [0, part.len() / 2, part.len() - 1] {
            let mut wrong = parts.clone();
            wrong[number][byte] ^= 1;
            let mut altered = tx.clone();
            altered.input[0].witness = Witness::from_slice(&wrong);
            let reason = judge.verdict(&altered).expect_err(&story);
            let place = format!("{story}, part {number}, byte {byte}: {reason}");
            assert!(reason.contains(SCRIPT), "{place}");
            if number < signatures {
                assert!(reason.contains("Invalid Schnorr signature"), "{place}");
                turned += 1;
            }
        }
    }
    assert_eq!(turned, 3 * if parts.len() == 1 { 1 } else { seats.len() }, "{story}");
    assert!(judge.verdict(&tx).is_ok(), "{story}: {:?}", judge.verdict(&tx));
}

#[test]
fn no_byte_of_a_sweeps_witness_can_be_another_one() {
    for (path, seats) in [
        (SweepPath::Key, &[M, N][..]),
        (SweepPath::Agreed, &[M, N]),
        (SweepPath::MinerRuling, &[M, V0, V1]),
        (SweepPath::HolderRuling, &[N, V0, V1]),
        (SweepPath::HolderExit, &[N]),
    ] {
        let contract = Contract::new(Variant::Musig);
        let coin = &contract.rewards[0];
        let draft = contract.sweep(std::slice::from_ref(coin), path);
        every_part_counts(&contract, coin, draft, seats);
    }
}

#[test]
fn no_byte_of_the_witness_of_a_settlement_or_an_exit_can_be_another_one() {
    for (path, seats) in [
        (Path::Key, &[M, N][..]),
        (Path::Agreed, &[M, N]),
        (Path::MinerRuling, &[M, V0, V1]),
        (Path::HolderRuling, &[N, V0, V1]),
        (Path::HolderExit, &[N]),
        (Path::MinerExit, &[M]),
    ] {
        let contract = Contract::new(Variant::Musig);
        let coin = &contract.escrows[0];
        let draft = contract.spend_escrow(coin, 0, path);
        every_part_counts(&contract, coin, draft, seats);
    }
}

#[test]
fn a_signature_for_one_output_opens_no_other_one_of_the_same_lock() {
    let contract = Contract::new(Variant::Musig);
    let [coin, other, _] = &contract.escrows[..] else { panic!("three coins") };
    for (path, seats) in [(Path::Key, &[M, N]), (Path::Agreed, &[M, N])] {
        let draft = contract.spend_escrow(coin, 0, path);
        let opens = opens(&draft, std::slice::from_ref(coin));
        if contract.judge.height() < opens {
            contract.judge.mine_to(opens);
        }
        let mut tx = finished(draft, seats);
        tx.input[0].previous_output = other.outpoint;
        let reason = contract.judge.verdict(&tx).unwrap_err();
        assert!(reason.contains(SCRIPT), "{path}: {reason}");
    }
}
