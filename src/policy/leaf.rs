//! Step 5: the way in. The output commits to the leaf, the leaf is the ruling leaf of the file under
//! `descriptors/`, and our key stands in it.

use std::collections::BTreeSet;

use bitcoin::XOnlyPublicKey;
use bitcoin::opcodes::all::{OP_NUMEQUAL, OP_PUSHNUM_1};
use bitcoin::secp256k1::Secp256k1;

use super::{Reasoned, because};
use crate::error::{Culprit, Result, Rule};
use crate::flow::escrow::terms::EscrowTerms;
use crate::party::Seat;
use crate::script::lock::{Leaf, Path};
use crate::tx::draft::Spend;

/// Validators sign ruling leaves.
pub const PATH: Rule = Rule::new(
    "policy-leaf-path",
    "a validator signs the ruling leaf of miner or holder, the same for every input",
    "ask for a ruling, or for a sweep through a ruling leaf",
);
/// The output commits to the leaf.
pub const COMMITTED: Rule = Rule::new(
    "policy-leaf-committed",
    "the output that is spent commits to the leaf, by the leaf's control block (BIP 341)",
    "report this: the lock and its leaf do not fit",
);
/// Nothing to wait for.
pub const DELAYS: Rule = Rule::new(
    "policy-leaf-delays",
    "a ruling leaf has no delay",
    "report this: the file under descriptors/ was changed",
);
/// Who stands in the leaf.
pub const SIGNERS: Rule = Rule::new(
    "policy-leaf-signers",
    "a ruling leaf holds a key of one party and of every validator, each once, and nobody else's",
    "report this: the file under descriptors/ was changed",
);
/// k of them.
pub const QUORUM: Rule = Rule::new(
    "policy-leaf-quorum",
    "a ruling leaf asks for as many validators' signatures as the federation's threshold says",
    "report this: the file under descriptors/ was changed",
);
/// Our key is ours.
pub const KEY: Rule = Rule::new(
    "policy-leaf-key",
    "our key in a leaf is the one that our record's leaf account derives for it",
    "report this: the lock was not made from the records",
);
/// A key signs one leaf.
pub const ONE: Rule = Rule::new(
    "policy-leaf-one",
    "our key of a leaf stands in no other leaf of the lock",
    "report this: the file under descriptors/ was changed",
);

pub(super) const RULES: [Reasoned; 7] = [
    because(PATH, "a signature for another leaf would open the escrow to one party alone"),
    because(COMMITTED, "the signature would be for a script that the output does not hold"),
    because(DELAYS, "the ruling could be kept back until an exit is open"),
    because(SIGNERS, "a stranger's key would stand in for a party"),
    because(QUORUM, "one validator and one party could take what k were meant to guard"),
    because(KEY, "the signature would be useless, or one of another contract"),
    because(ONE, "one signature could be meant for two scripts"),
];

/// Refuses a way in that is not the ruling leaf of the lock.
pub fn check(terms: &EscrowTerms, place: u8, spends: &[Spend]) -> Result<()> {
    let first = spends.first().map(|spend| spend.path);
    for (number, spend) in spends.iter().enumerate() {
        let at = format!("input {number}");
        let party = match spend.path {
            Path::MinerRuling => Seat::Miner,
            Path::HolderRuling => Seat::Holder,
            other => return Err(PATH.refuses(Culprit::Sender, at, "a ruling leaf", other)),
        };
        if first != Some(spend.path) {
            return Err(PATH.refuses(Culprit::Sender, at, "the leaf of input 0", spend.path));
        }
        let leaf = spend.lock.leaf(spend.path)?;
        if leaf.older.is_some() || leaf.after.is_some() {
            let found = format_args!("older {:?}, after {:?}", leaf.older, leaf.after).to_string();
            return Err(DELAYS.broken(at, "none", found));
        }
        signers(terms, party, leaf, &at)?;
        quorum(terms, leaf, &at)?;
        committed(spend, leaf, &at)?;
        key(terms, place, spend, leaf, &at)?;
    }
    Ok(())
}

fn committed(spend: &Spend, leaf: &Leaf, at: &str) -> Result<()> {
    let fault = |found: &dyn core::fmt::Display| {
        COMMITTED.broken(at, format_args!("{:x}", spend.prevout.script_pubkey), found)
    };
    // OP_1 and a push of 32 bytes.
    let program: Option<[u8; 32]> = match spend.prevout.script_pubkey.as_bytes() {
        [0x51, 0x20, rest @ ..] => rest.try_into().ok(),
        _ => None,
    };
    let key = program.and_then(|bytes| XOnlyPublicKey::from_slice(&bytes).ok());
    let key = key.ok_or_else(|| fault(&"no Taproot output"))?;
    let secp = Secp256k1::verification_only();
    match leaf.control.verify_taproot_commitment(&secp, key, &leaf.script) {
        true => Ok(()),
        false => Err(fault(&"another output key")),
    }
}

fn signers(terms: &EscrowTerms, party: Seat, leaf: &Leaf, at: &str) -> Result<()> {
    let count = terms.reward.federation.validators.len();
    let validators = (0u8..).take(count).map(Seat::Validator);
    let expected: BTreeSet<Seat> = validators.chain([party]).collect();
    let found: BTreeSet<Seat> = leaf.keys.iter().map(|key| key.seat).collect();
    let mut keys: Vec<[u8; 32]> = leaf.keys.iter().map(|key| key.key.serialize()).collect();
    keys.sort_unstable();
    let distinct = keys.windows(2).all(|pair| pair.first() != pair.last());
    if expected == found && keys.len() == expected.len() && distinct && pushed(leaf) == Some(keys) {
        return Ok(());
    }
    let names = |seats: &BTreeSet<Seat>| {
        seats.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    Err(SIGNERS.broken(at, names(&expected), format_args!("{}, or other keys", names(&found))))
}

/// `multi_a` ends with its threshold and OP_NUMEQUAL (BIP 387).
fn quorum(terms: &EscrowTerms, leaf: &Leaf, at: &str) -> Result<()> {
    let k = terms.reward.federation.threshold;
    let end = [OP_PUSHNUM_1.to_u8().saturating_add(k).saturating_sub(1), OP_NUMEQUAL.to_u8()];
    match leaf.script.as_bytes().ends_with(&end) {
        true => Ok(()),
        false => {
            let script = leaf.script.as_bytes();
            let tail = script.get(script.len().saturating_sub(2)..).unwrap_or_default();
            Err(QUORUM.broken(
                at,
                format_args!("{end:02x?} at its end"),
                format_args!("{tail:02x?}"),
            ))
        }
    }
}

/// What a leaf's script pushes of 32 bytes, sorted: its keys.
fn pushed(leaf: &Leaf) -> Option<Vec<[u8; 32]>> {
    let mut keys = Vec::new();
    for instruction in leaf.script.instructions() {
        if let Some(key) = instruction.ok()?.push_bytes() {
            keys.extend(<[u8; 32]>::try_from(key.as_bytes()));
        }
    }
    keys.sort_unstable();
    Some(keys)
}

fn key(terms: &EscrowTerms, place: u8, spend: &Spend, leaf: &Leaf, at: &str) -> Result<()> {
    let seat = Seat::Validator(place);
    let seats = terms.reward.seats();
    let ours = leaf.keys.iter().find(|key| key.seat == seat);
    let record = seats.record(seat);
    let (Some(ours), Some(record)) = (ours, record) else {
        return Err(KEY.broken(at, format_args!("a key of {seat}"), "none"));
    };
    let secp = Secp256k1::verification_only();
    let derived = record.record.leaf.xpub().derive_pub(&secp, &ours.steps);
    let derived =
        derived.map_err(|error| KEY.broken(at, "a path below the account", error))?.to_x_only_pub();
    if derived != ours.key {
        return Err(KEY.broken(at, derived, ours.key));
    }
    let elsewhere = spend.lock.leaves.iter().filter(|other| other.path != leaf.path);
    for other in elsewhere {
        if other.keys.iter().any(|key| key.key == ours.key) {
            let expected = format_args!("our key of {} alone", leaf.path).to_string();
            return Err(ONE.broken(at, expected, format_args!("the same in {}", other.path)));
        }
    }
    Ok(())
}
