//! Step 1: is this ours? The contract, the place in its federation, the keys, and the kind of thing
//! that is asked.

use bitcoin::secp256k1::XOnlyPublicKey;

use super::{Case, Reasoned, because};
use crate::error::{Culprit, Result, Rule};
use crate::flow::Task;
use crate::id::TermsId;
use crate::party::Seat;

/// A request is about the contract that it was judged in.
pub const CONTRACT: Rule = Rule::new(
    "policy-seat-contract",
    "a request is about a contract in the validator's own registry",
    "register the contract with the validator first",
);
/// Who signs sits at the contract.
pub const PLACE: Rule = Rule::new(
    "policy-seat-place",
    "a validator signs from his own place in the contract's federation",
    "ask a validator of this contract's federation",
);
/// The keys are those of the record.
pub const KEYS: Rule = Rule::new(
    "policy-seat-keys",
    "the signer's four keys are those of the record in his place",
    "use the seed and the number that the record was made of",
);
/// Validators rule, sweep, and sign resales.
pub const TASK: Rule = Rule::new(
    "policy-seat-task",
    "a validator signs rulings, sweeps and resales, and nothing else",
    "ask for a ruling, for a sweep through a ruling leaf, or for a resale without the miner",
);

pub(super) const RULES: [Reasoned; 4] = [
    because(CONTRACT, "a request for one contract would be judged by the terms of another"),
    because(PLACE, "a signature would be given in another validator's name"),
    because(KEYS, "a key of another contract would sign here, and show that both are one person's"),
    because(TASK, "what two parties sign between them would carry the federation's name"),
];

/// The public half of the keys that sign.
#[derive(Clone, Copy, Debug)]
pub struct OwnKeys<'a> {
    /// Key expression of the MuSig2 account.
    pub musig: &'a str,
    /// Key expression of the account for leaves.
    pub leaf: &'a str,
    /// Key expression of the account for solitary exits.
    pub exit: &'a str,
    /// Signs messages, receipts and the journal.
    pub communication: XOnlyPublicKey,
}

/// Refuses what is not ours to sign.
pub fn check(case: &Case<'_>, contract: TermsId, task: &Task) -> Result<()> {
    let ours = case.contract.id();
    if contract != ours {
        return Err(CONTRACT.refuses(Culprit::Sender, "request", ours, contract));
    }
    let seats = case.contract.terms().reward.seats();
    let record = seats.record(Seat::Validator(case.place)).ok_or_else(|| {
        let expected = format_args!("a place below {}", seats.federation.validators.len());
        PLACE.refuses(Culprit::Sender, "federation", expected, case.place)
    })?;
    let body = &record.record;
    for (name, theirs, ours) in [
        ("musig", body.musig.to_string(), case.keys.musig.to_owned()),
        ("leaf", body.leaf.to_string(), case.keys.leaf.to_owned()),
        ("exit", body.exit.to_string(), case.keys.exit.to_owned()),
        ("communication", body.communication.to_string(), case.keys.communication.to_string()),
    ] {
        if theirs != ours {
            let place = format_args!("record of validator {}, {name} key", case.place).to_string();
            return Err(KEYS.refuses(Culprit::Sender, place, theirs, ours));
        }
    }
    match task {
        Task::Ruling { .. } | Task::Sweep(_) | Task::Resale { .. } => Ok(()),
        Task::State(_) => {
            let expected = "a ruling, a sweep or a resale";
            Err(TASK.refuses(Culprit::Sender, "request", expected, "a state"))
        }
    }
}
