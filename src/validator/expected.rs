//! What a sender expects to be signed, held against what would be signed.
//!
//! The desk signs nothing that it was given. It plays the words on a copy of the contract, and then
//! what it would say itself, turn by turn as the engine does: a receipt or a word comes before a
//! signature. What the copy would sign or enter is compared. A difference is told before anything is
//! said: the sender computes otherwise than we do, and would get a signature that he cannot use.

use bitcoin::Psbt;

use crate::engine::Engine;
use crate::error::{Culprit, Error, Result, Rule};
use crate::facts::Facts;
use crate::flow::word::Word;
use crate::flow::{Contract, Effect, Event};

/// Expected is what would be signed now. If nothing is, an answer says so with this rule; a difference
/// is refused with the rule of received PSBTs that it breaks.
pub const PSBT: Rule = Rule::new(
    "policy-request-psbt",
    "the transaction that a request expects is one that the desk would sign now",
    "compare terms, evidence and chain; or leave the expected transaction out",
);

/// Most words of our own that are played; more than one hearing ever says.
const MOST_TURNS: usize = 256;

/// Refuses `psbt` if the engine would sign something in this hearing, and nothing of it is this very
/// transaction: with the rule by which the last one differs. Answers whether there was anything to
/// compare.
pub fn expected(
    engine: &Engine,
    facts: &Facts,
    words: &[Word],
    psbt: &Psbt,
    by: Culprit,
) -> Result<bool> {
    let mut copy = engine.contract().clone();
    for word in words {
        if copy.admit(facts, word.from, &word.event).is_ok() {
            copy.apply(word.from, &word.event)?;
        }
    }
    let mut differs: Option<Error> = None;
    for _ in 0..MOST_TURNS {
        let mut said = None;
        for effect in copy.next(facts, engine.seat())? {
            match effect {
                Effect::Sign { draft, .. } | Effect::Enter { draft, .. } => {
                    match draft.compare(psbt, by) {
                        Ok(()) => return Ok(true),
                        Err(error) => differs = Some(error),
                    }
                }
                Effect::Say(event) => _ = said.get_or_insert(event),
                Effect::Receipt(subject) if said.is_none() => {
                    said = Some(engine.receipt(subject, facts)?);
                }
                _ => {}
            }
        }
        match said {
            Some(event) if speaks(&mut copy, facts, engine, &event)? => {}
            _ => break,
        }
    }
    differs.map_or(Ok(false), |error| Err(error.within("request")))
}

/// Plays a word of ours on the copy; `false` if the copy would not have it.
fn speaks(copy: &mut Contract, facts: &Facts, engine: &Engine, event: &Event) -> Result<bool> {
    let seat = engine.seat();
    match copy.admit(facts, seat, event) {
        Ok(()) => copy.apply(seat, event).map(|()| true),
        Err(_) => Ok(false),
    }
}
