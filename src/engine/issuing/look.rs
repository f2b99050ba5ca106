//! How a position that is not issued yet stands, for somebody who has no seat there.

use std::path::Path;

use bitcoin::Txid;

use super::{dead, files, in_any_order};
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::flow::position::dossier::Issue;
use crate::flow::position::state::{self, State, Turn};
use crate::flow::position::terms::PositionTerms;
use crate::flow::position::word::PositionWord;
use crate::header_sync::GuardedChain;
use crate::relay::words::Words;
use crate::store::Store;

/// How a position stands, for somebody who has no seat there.
#[derive(Clone, Debug)]
pub struct Looked {
    /// Whose turn it is.
    pub turn: Turn,
    /// Files of words that are refused, and why.
    pub refused: Vec<(String, Error)>,
    /// The issue's document, if the chain or the mempool holds it.
    pub issue: Option<Issue>,
    /// Issues that were paid for before, and that no block can hold any more.
    pub dead: Vec<Txid>,
}

/// How a position stands, by its dossier's words and the chain. Nothing is kept but headers.
pub fn look(
    terms: &PositionTerms,
    store: &mut Store,
    chain: &mut GuardedChain,
    dossier: &Path,
) -> Result<Looked> {
    let (mut state, words) = (State::default(), Words::open(dossier.join("words"))?);
    let first = state::headers_from(terms);
    let facts = chain.facts(store, &state.watched(terms)?, first)?;
    let (names, more) = files::names(&words)?;
    let mut refused = in_any_order(names, |name| {
        let word = PositionWord::from_json(&files::text(&words, name)?)?;
        word.verify(terms)?;
        let about = dead::script_asked(chain.electrum(), &state.watched(terms)?, &word.event)?;
        let more = about.map(|script| {
            let scripts = state.watched(terms)?.into_iter().chain([script]);
            chain.facts(store, &scripts.collect::<Vec<_>>(), first)
        });
        let more = more.transpose()?;
        state.admit(terms, more.as_ref().unwrap_or(&facts), word.from, &word.event)?;
        state.apply(word.from, &word.event);
        Ok(())
    })?;
    refused.extend(more);
    let facts = chain.facts(store, &state.watched(terms)?, first)?;
    let (turn, issue) = (state.turn(terms, &facts)?, seen(&state, terms, &facts)?);
    Ok(Looked { turn, refused, issue, dead: state.dead().collect() })
}

/// The issue's document, if the chain or the mempool holds it.
pub(super) fn seen(state: &State, terms: &PositionTerms, facts: &Facts) -> Result<Option<Issue>> {
    let Some((paid, txid, _)) = state.issue_seen(terms, facts)? else { return Ok(None) };
    let alone = core::slice::from_ref(terms);
    let batch = if paid.batch.is_empty() { alone } else { paid.batch.as_slice() };
    Issue::among(terms, batch, txid, paid.funding)
}
