//! A validator's fresh record serves one position.
//!
//! It lies open in the terms for whoever reads them, who can write other terms around it. So it is bound
//! when its validator registers the miner, before his word leaves, and his desk, which has the same
//! memory, takes contracts of that position alone with it. Two positions with one record would have one
//! ruling key, and what was sealed for one would be signed for the other.

use crate::engine::POSSIBLE;
use crate::error::{Culprit, Result, Rule};
use crate::flow::position::terms::PositionTerms;
use crate::id::TermsId;
use crate::party::SERVES;
use crate::store::Store;

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
