//! Two fundings of one issue in a dossier.
//!
//! Whoever took the one that comes first would leave those behind who have taken the other, and nobody
//! could issue any more. So neither is taken, and nothing is signed, until one of them is out of the
//! dossier; what was signed before stays signed.

use std::collections::BTreeSet;

use crate::error::{Culprit, Error, Result};
use crate::flow::position::state::{AGAIN, Event, State};
use crate::flow::position::terms::PositionTerms;
use crate::flow::position::word::PositionWord;
use crate::party::Seat;
use crate::relay::words::Words;

/// Of the files `left` to read those with the miner's word of a funding, if there is more than one
/// funding in them and in what was taken.
pub(super) fn rivals(
    words: &Words,
    left: &[String],
    state: &State,
    terms: &PositionTerms,
) -> Result<BTreeSet<String>> {
    let taken = state.funding().map(|funding| (funding, state.batch(terms).to_vec()));
    let mut fundings: Vec<_> = taken.into_iter().collect();
    let mut names = BTreeSet::new();
    for name in left {
        // What nobody can read is told when it is read.
        let word = match words.read(name).and_then(|text| PositionWord::from_json(&text)) {
            Ok(word) => word,
            Err(Error::Refused { .. } | Error::Unavailable(_)) => continue,
            Err(error) => return Err(error),
        };
        if word.from != Seat::Miner || word.verify(terms).is_err() {
            continue;
        }
        if let Event::Funded { funding, batch } = word.event {
            let said = (funding, if batch.is_empty() { vec![terms.clone()] } else { batch });
            names.insert(name.clone());
            if !fundings.contains(&said) {
                fundings.push(said);
            }
        }
    }
    Ok(if fundings.len() > 1 { names } else { BTreeSet::new() })
}

/// Refuses a funding that is not the only one.
pub(super) fn rival(name: &str) -> Error {
    let (expected, found) = ("one funding in the dossier", "another one beside it");
    AGAIN.refuses(Culprit::Miner, format_args!("word {name}"), expected, found)
}
