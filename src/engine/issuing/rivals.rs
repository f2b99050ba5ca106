//! Two fundings of one issue in a dossier.
//!
//! Whoever took the one that comes first would leave those behind who have taken the other, and nobody
//! could issue any more. So neither is taken, and nothing is signed, until one of them is out of the
//! dossier; what was signed before stays signed. A funding that comes instead of a dead issue is no rival of
//! the one that paid for that, but of another that comes instead of the same.

use std::collections::BTreeSet;

use bitcoin::Txid;

use super::files;
use crate::error::{Culprit, Error, Result};
use crate::flow::position::state::{AGAIN, Event, State};
use crate::flow::position::terms::PositionTerms;
use crate::flow::position::txs::Funding;
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
    // Of each issue that may be dead there is one to come instead; of none, the first.
    let mut fundings: Vec<Said> = Vec::new();
    for paid in state.paid() {
        let instead = paid.instead.as_ref().map(|dead| dead.issue);
        fundings.push(said(instead, paid.funding, &paid.batch, terms));
    }
    let mut named: Vec<(String, Option<Txid>)> = Vec::new();
    for name in left {
        // What nobody can read is told when it is read.
        let word = match files::text(words, name).and_then(|text| PositionWord::from_json(&text)) {
            Ok(word) => word,
            Err(Error::Refused { .. } | Error::Unavailable(_)) => continue,
            Err(error) => return Err(error),
        };
        if word.from != Seat::Miner || word.verify(terms).is_err() {
            continue;
        }
        let said = match &word.event {
            Event::Funded { funding, batch } => said(None, *funding, batch, terms),
            Event::FundedAgain { instead, funding, batch } => {
                said(Some(instead.issue), *funding, batch, terms)
            }
            _ => continue,
        };
        named.push((name.clone(), said.0));
        if !fundings.contains(&said) {
            fundings.push(said);
        }
    }
    let several = |instead| fundings.iter().filter(|said| said.0 == instead).count() > 1;
    let names = named.into_iter().filter(|(_, instead)| several(*instead));
    Ok(names.map(|(name, _)| name).collect())
}

/// Which dead issue is replaced, by what, of which positions.
type Said = (Option<Txid>, Funding, Vec<PositionTerms>);

fn said(
    instead: Option<Txid>,
    funding: Funding,
    batch: &[PositionTerms],
    terms: &PositionTerms,
) -> Said {
    let batch = if batch.is_empty() { vec![terms.clone()] } else { batch.to_vec() };
    (instead, funding, batch)
}

/// Refuses a funding that is not the only one.
pub(super) fn rival(name: &str) -> Error {
    let (expected, found) = ("one funding in the dossier", "another one beside it");
    AGAIN.refuses(Culprit::Miner, format_args!("word {name}"), expected, found)
}
