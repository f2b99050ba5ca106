//! What a sender expects to be signed, held against what would be signed.
//!
//! The desk signs nothing that it was given. It plays the words on a copy of the contract, asks the
//! copy what this seat would sign, and compares. A difference is told before anything is said: the
//! sender computes otherwise than we do, and would get a signature that he cannot use.

use bitcoin::Psbt;

use crate::error::{Culprit, Error, Result, Rule};
use crate::facts::Facts;
use crate::flow::word::Word;
use crate::flow::{Contract, Effect};
use crate::party::Seat;

/// Expected is what would be signed.
pub const PSBT: Rule = Rule::new(
    "policy-request-psbt",
    "the transaction that a request expects is one that the desk would sign now",
    "compare terms, evidence and chain; or leave the expected transaction out",
);

/// Refuses `psbt` if `seat` would sign something now, and nothing of it is this very transaction.
/// Where nothing is to be signed yet, there is nothing to compare.
pub fn expected(
    contract: &Contract,
    facts: &Facts,
    seat: Seat,
    words: &[Word],
    psbt: &Psbt,
    by: Culprit,
) -> Result<()> {
    let mut copy = contract.clone();
    for word in words {
        if copy.admit(facts, word.from, &word.event).is_ok() {
            copy.apply(word.from, &word.event)?;
        }
    }
    let mut differs: Option<Error> = None;
    for effect in copy.next(facts, seat)? {
        let (Effect::Sign { draft, .. } | Effect::Enter { draft, .. }) = effect else { continue };
        match draft.compare(psbt, by) {
            Ok(()) => return Ok(()),
            Err(error) => differs = Some(error),
        }
    }
    let Some(error) = differs else { return Ok(()) };
    let fault = error.fault();
    Err(PSBT.refuses(by, format_args!("request, {}", fault.place), &fault.expected, &fault.found))
}
