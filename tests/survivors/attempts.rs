//! What a set of survivors can try with a draft: sign it as far as their keys reach, finish it, or
//! forge the rest of the witness by hand and let the chain judge.

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::key::XOnlyPublicKey;
use bitcoin::secp256k1::{PublicKey, schnorr};
use bitcoin::sighash::{Prevouts, SighashCache, TapSighashType};
use bitcoin::{Sequence, TapSighash, Transaction, Witness};
use hashmix::error::Error;
use hashmix::musig::Session;
use hashmix::party::Seat;
use hashmix::script::lock::{Leaf, Path};
use hashmix::script::template::Account;
use hashmix::sign::software::LeafAccount;
use hashmix::tx::draft::Draft;
use hashmix::tx::signed::Signed;

use crate::world::World;

/// What Core says of a transaction that may only enter a later block (nLockTime, BIP 68): of one in
/// a block, where the embedded node puts it, and of one before its mempool.
pub(crate) const NOT_YET: &[&str] = &["bad-txns-nonfinal", "non-final", "non-BIP68-final"];
/// What Core says of a coinbase output that is less than 100 blocks deep.
pub(crate) const IMMATURE: &[&str] = &["bad-txns-premature-spend-of-coinbase"];
/// What Core says of a witness that does not satisfy its script or key.
pub(crate) const UNSATISFIED: &[&str] =
    &["block-script-verify-flag-failed", "mempool-script-verify-flag-failed"];

fn leaf_signature(
    world: &World,
    leaf: &Leaf,
    seat: Seat,
    sighash: [u8; 32],
) -> Option<(XOnlyPublicKey, schnorr::Signature)> {
    let key = leaf.keys.iter().find(|key| key.seat == seat)?;
    let account = match key.account {
        Account::Exit => LeafAccount::Exit,
        _ => LeafAccount::Leaf,
    };
    let sighash = TapSighash::from_byte_array(sighash);
    let signed = world.signer(seat).sign_leaf(account, &key.steps, sighash).unwrap();
    assert_eq!(signed.0, key.key);
    Some(signed)
}

/// The draft with every signature that `survivors` can make.
pub(crate) fn sign(world: &World, draft: Draft, survivors: &[Seat]) -> Signed {
    let sighash = draft.sighash(0).unwrap();
    let spend = draft.spends()[0].clone();
    assert_eq!(draft.spends().len(), 1);
    let mut signed = Signed::new(draft);
    if spend.path == Path::Key {
        if [Seat::Miner, Seat::Holder].iter().all(|seat| survivors.contains(seat)) {
            let context = spend.lock.key_path.unwrap();
            let rounds = [Seat::Miner, Seat::Holder].map(|seat| {
                let (secret, public) = world.signer(seat).begin(&context, sighash).unwrap();
                (seat, secret.owner(), secret, public)
            });
            let nonces: Vec<_> = rounds.iter().map(|(_, key, _, public)| (*key, *public)).collect();
            let session = Session::new(&context, &nonces, sighash).unwrap();
            let parts: Vec<(PublicKey, _)> = rounds
                .into_iter()
                .map(|(seat, key, secret, _)| {
                    (key, world.signer(seat).sign_part(&session, secret).unwrap())
                })
                .collect();
            signed.add_key_path(0, session.aggregate(&parts).unwrap()).unwrap();
        }
        return signed;
    }
    let leaf = spend.lock.leaf(spend.path).unwrap();
    for seat in survivors {
        if let Some((_, signature)) = leaf_signature(world, leaf, *seat, sighash) {
            signed.add(*seat, &[signature]).unwrap();
        }
    }
    signed
}

/// The finished transaction of a draft that `survivors` can finish.
pub(crate) fn finish(world: &World, draft: Draft, survivors: &[Seat]) -> Transaction {
    let path = draft.spends()[0].path;
    let done = sign(world, draft, survivors).finish().unwrap();
    assert!(done.signers.iter().all(|seat| survivors.contains(seat)), "{:?}", done.signers);
    assert_eq!(done.path, path);
    done.tx
}

/// The chain refuses the transaction, for a reason that contains one of `reasons`.
pub(crate) fn refused(world: &World, tx: &Transaction, reasons: &[&str], story: &str) {
    let error = world.chain.broadcast(tx).map(|_| story).unwrap_err();
    let Error::Refused { fault, .. } = error else { panic!("{story}: not refused but {error}") };
    assert_eq!(fault.rule.id, "chain-broadcast", "{story}");
    let expected = reasons.iter().any(|reason| fault.found.contains(reason));
    assert!(expected, "{story}: refused for {}, not {reasons:?}", fault.found);
}

/// `survivors` cannot spend: their signatures do not finish the draft, and no witness that they can
/// make by hand convinces Core, whatever the height.
pub(crate) fn impossible(world: &World, draft: Draft, survivors: &[Seat], story: &str) {
    let sighash = draft.sighash(0).unwrap();
    let spend = draft.spends()[0].clone();
    let mut tx = draft.transaction().clone();
    let error = sign(world, draft, survivors).finish().map(|_| story).unwrap_err();
    assert_eq!(error.rule(), "script-signed", "{story}");

    // A signature that somebody at hand can make of the same sighash, under a key of his own.
    let other = survivors.first().copied().unwrap_or(Seat::Validator(0));
    let other = world.signer(other).sign_digest(sighash).unwrap().serialize().to_vec();
    if spend.path == Path::Key {
        tx.input[0].witness = Witness::from_slice(&[other]);
        refused(world, &tx, UNSATISFIED, story);
        return;
    }
    let leaf = spend.lock.leaf(spend.path).unwrap();
    for missing in [Vec::new(), other] {
        // The script reads its first key's signature from the top of the stack.
        let mut stack: Vec<Vec<u8>> = leaf
            .keys
            .iter()
            .rev()
            .map(|key| match survivors.contains(&key.seat) {
                true => {
                    let (_, signature) = leaf_signature(world, leaf, key.seat, sighash).unwrap();
                    signature.serialize().to_vec()
                }
                false => missing.clone(),
            })
            .collect();
        stack.push(leaf.script.to_bytes());
        stack.push(leaf.control.serialize());
        tx.input[0].witness = Witness::from_slice(&stack);
        refused(world, &tx, UNSATISFIED, story);
    }
}

/// A lone owner who states less than the delays of his exit, as much as has passed, and signs that:
/// the leaf itself refuses, not only nLockTime and nSequence.
pub(crate) fn hurried(world: &World, draft: &Draft, seat: Seat, confirmed: u32, story: &str) {
    let spend = &draft.spends()[0];
    let leaf = spend.lock.leaf(spend.path).unwrap();
    let ours = draft.transaction();
    let tip = world.node.height().unwrap();
    let at_once = (LockTime::ZERO, Sequence::ENABLE_RBF_NO_LOCKTIME);
    let mut stated = vec![at_once];
    if leaf.after.is_some_and(|height| height <= tip) {
        stated.push((ours.lock_time, at_once.1));
    }
    if leaf.older.is_some_and(|blocks| confirmed + u32::from(blocks) <= tip + 1) {
        stated.push((at_once.0, ours.input[0].sequence));
    }
    for (lock_time, sequence) in stated {
        let mut tx = ours.clone();
        tx.lock_time = lock_time;
        tx.input[0].sequence = sequence;
        assert_ne!(tx, *ours, "{story}: nothing is left to wait for");
        let prevouts = [spend.prevout.clone()];
        let sighash = SighashCache::new(&tx)
            .taproot_script_spend_signature_hash(
                0,
                &Prevouts::All(&prevouts),
                leaf.hash(),
                TapSighashType::Default,
            )
            .unwrap();
        let signed = leaf_signature(world, leaf, seat, sighash.to_byte_array());
        tx.input[0].witness = Witness::from_slice(&[
            signed.unwrap().1.serialize().to_vec(),
            leaf.script.to_bytes(),
            leaf.control.serialize(),
        ]);
        refused(world, &tx, UNSATISFIED, story);
    }
}
