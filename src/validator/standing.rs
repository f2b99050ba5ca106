//! How a contract stands, for people and for `GET /v1/contracts/{id}`.

use std::collections::BTreeMap;

use bitcoin::{BlockHash, OutPoint};
use serde::Serialize;

use super::answer::Waiting;
use super::veil::veil;
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::flow::dispute::state::Opening;
use crate::flow::escrow::coins::Progress;
use crate::flow::escrow::txs::Outcome;
use crate::flow::word::Word;
use crate::flow::{Contract, Effect, Event, dispute};
use crate::id::{TermsId, WordId};
use crate::party::Seat;

/// How far a contract has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nobody has paid the escrow yet.
    Unfunded,
    /// The escrow holds what is not yet paid.
    Open,
    /// The escrow is spent for good.
    Ended,
    /// We cannot tell: see the trouble.
    Unknown,
}

/// The escrow's present output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Escrow {
    /// Settlements before it.
    pub index: u32,
    /// Where it is.
    pub outpoint: OutPoint,
    /// What it holds, in satoshis.
    pub sat: u64,
    /// Height of its block; none while it waits in the mempool.
    pub height: Option<u32>,
}

/// How a contract stands at one desk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The contract.
    pub contract: TermsId,
    /// Our seat in it.
    pub seat: Seat,
    /// How far it has come.
    pub phase: Phase,
    /// Height and hash of the last block that we know.
    pub tip: Option<(u32, BlockHash)>,
    /// The escrow's present output.
    pub escrow: Option<Escrow>,
    /// Disputes about that output, by the digest of their openings.
    pub disputes: Vec<WordId>,
    /// What we would do at the next step, and what we wait for.
    pub waiting: Vec<Waiting>,
    /// What we ruled last.
    pub last_ruling: Option<Outcome>,
    /// Number of the last word.
    pub last_word: u64,
    /// Why we cannot tell more.
    pub trouble: Option<String>,
}

/// What the words say that a standing needs; grows with them.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Number of the last event that was read.
    pub upto: u64,
    openings: BTreeMap<WordId, Opening>,
    ruled: Option<Outcome>,
}

impl Told {
    /// Takes one more word; `ours` is our seat.
    pub fn take(&mut self, word: &Word, ours: Seat) -> Result<()> {
        match &word.event {
            Event::Dispute(dispute::state::Event::Opened(opening)) => {
                self.openings.insert(opening.id()?, *opening);
            }
            Event::Dispute(dispute::state::Event::Ruled { outcome, .. }) if word.from == ours => {
                self.ruled = Some(*outcome);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Standing {
    /// The standing of a contract about which nothing can be told but `trouble`.
    pub fn troubled(contract: TermsId, seat: Seat, told: &Told, trouble: &Error) -> Self {
        Self {
            contract,
            seat,
            phase: Phase::Unknown,
            tip: None,
            escrow: None,
            disputes: Vec::new(),
            waiting: Vec::new(),
            last_ruling: told.ruled,
            last_word: told.upto,
            trouble: Some(trouble.to_string()),
        }
    }

    /// How `contract` stands under `facts`, seen from `seat`.
    pub fn of(contract: &Contract, facts: &Facts, seat: Seat, told: &Told) -> Result<Self> {
        let height = facts.tip();
        let mut standing = Self {
            contract: contract.id(),
            seat,
            phase: Phase::Unfunded,
            tip: facts.headers.hash(height).map(|hash| (height, hash)),
            escrow: None,
            disputes: Vec::new(),
            waiting: Vec::new(),
            last_ruling: told.ruled,
            last_word: told.upto,
            trouble: None,
        };
        match contract.locked().progress(facts)? {
            Progress::Unfunded => {}
            Progress::Ended { .. } => standing.phase = Phase::Ended,
            Progress::Open(coin) => {
                standing.phase = Phase::Open;
                let about =
                    told.openings.iter().filter(|(_, opening)| opening.outpoint == coin.outpoint);
                standing.disputes = about.map(|(id, _)| *id).collect();
                standing.escrow = Some(Escrow {
                    index: coin.index,
                    outpoint: coin.outpoint,
                    sat: coin.value.to_sat(),
                    height: coin.height,
                });
            }
        }
        standing.waiting = contract.next(facts, seat)?.into_iter().map(waiting).collect();
        Ok(standing)
    }
}

/// An effect in words: what will be done, or what is waited for.
fn waiting(effect: Effect) -> Waiting {
    let (until, why) = match effect {
        Effect::Wait { until, why } => (Some(until), why),
        Effect::Decline(error) => (None, format!("declined: {}", veil(&error).fault())),
        Effect::Sign { draft, .. } => (None, format!("the next step, to sign a {}", draft.title())),
        Effect::Enter { draft, .. } => {
            (None, format!("the next step, to enter a {} in the journal", draft.title()))
        }
        Effect::Receipt(_) => (None, "the next step, to give a receipt".to_owned()),
        Effect::Say(_) => (None, "the next step, to say a word".to_owned()),
        Effect::Broadcast { title, .. } => {
            (None, format!("the next step, to broadcast a {}", title.0))
        }
    };
    Waiting { until, why }
}
