//! A validator's fresh record serves one position, and so does each script.
//!
//! It lies open in the terms for whoever reads them, who can write other terms around it. So it is bound
//! when its validator registers the miner, before his word leaves, and his desk, which has the same
//! memory, takes contracts of that position alone with it. Two positions with one record would have one
//! ruling key, and what was sealed for one would be signed for the other.

use bitcoin::Script;

use crate::engine::POSSIBLE;
use crate::error::{Culprit, Result, Rule};
use crate::flow::position::terms::PositionTerms;
use crate::id::{TermsId, tagged_hash};
use crate::party::SERVES;
use crate::store::Store;

/// A script serves one position.
pub const SCRIPT: Rule = Rule::new(
    "position-script",
    "a validator registers an address and a lock for one position, for ever",
    "make fresh records with a fresh address for this position",
);
/// A record serves one position.
pub const RECORD: Rule = Rule::new(
    "position-record",
    "a validator's fresh record serves the first terms that it is bound to, for ever: those of one position, or of one contract",
    "ask the validator for a fresh record, and make the position's terms anew with it",
);

/// Binds the record at `place` to these terms, durably; refused if it serves others.
pub fn bind(store: &mut Store, terms: &PositionTerms, place: u8) -> Result<()> {
    let validators = &terms.reward.federation.validators;
    let record = validators.get(usize::from(place)).ok_or_else(|| {
        POSSIBLE.broken("federation", format_args!("a record {place}"), validators.len())
    })?;
    let (scope, id) = (record.service(), terms.id()?);
    match store.recall(&scope, SERVES)? {
        Some(held) if held != id.0 => {
            let held = TermsId(held.try_into().unwrap_or_default());
            let place = format_args!("validator {place}'s record").to_string();
            Err(RECORD.refuses(Culprit::Miner, place, format_args!("terms {held}"), id))
        }
        _ => store.remember(&scope, SERVES, &id.0),
    }
}

/// Refuses a script that serves another position than that of these terms.
pub fn check_claim(store: &Store, terms: TermsId, script: &Script) -> Result<()> {
    let held = store.recall(&scripts(), &format!("{script:x}"))?;
    if held.is_none_or(|held| held == terms.0) {
        return Ok(());
    }
    let place = format_args!("script {script:x}").to_string();
    let found = "another position's since it was registered there";
    Err(SCRIPT.refuses(Culprit::Miner, place, "a fresh one", found))
}

/// Remembers that a script serves the position of these terms, for ever.
pub fn claim(store: &mut Store, terms: TermsId, script: &Script) -> Result<()> {
    check_claim(store, terms, script)?;
    store.remember(&scripts(), &format!("{script:x}"), &terms.0)
}

/// What the store's memory knows scripts by.
fn scripts() -> [u8; 32] {
    tagged_hash("hashmix/position-scripts/1", &[])
}
