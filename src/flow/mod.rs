//! The flows of a contract, each told the same way.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | the story |
//! | `terms.rs` | what the parties agree on |
//! | `coins.rs` | each kind of output |
//! | `txs.rs` | each transaction |
//! | `state.rs` | words admitted and applied, and what to do next |
//!
//! People's words are [`Event`]s: they are signed, appended, and never change. The chain's words
//! are [`Facts`](crate::facts::Facts): they are read again each time. [`Contract`] plays the flows
//! of one contract together; [`Contract::next`] is pure, may be called at any time and any number
//! of times, and answers with [`Effect`]s. The engine carries them out and nobody else does.
//!
//! What a validator signs in any flow he enters before in his [`journal`], which the others hold.

pub mod bond;
pub mod contract;
pub mod dispute;
pub mod escrow;
pub mod journal;
pub mod position;
pub mod reward;
pub mod sale;
pub mod word;

use bitcoin::Transaction;
use bitcoin::secp256k1::schnorr;
use serde::{Deserialize, Serialize};

pub use self::contract::Contract;
use crate::error::{Culprit, Error, Result, Rule};
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::escrow::txs::Outcome;
use crate::id::{PositionId, WordId};
use crate::party::Seat;
use crate::script::lock::Path;
use crate::tx::draft::{Draft, Title};
use crate::work::receipt::{Receipt, Subject};

/// Words are said by those whose words they are.
pub const SPEAKER: Rule = Rule::new(
    "flow-speaker",
    "a word is said by the seat whose word it is",
    "ask the right person for it",
);

/// A word of one of the flows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// Work, receipts, sweeps.
    Reward(reward::state::Event),
    /// Settlements and states.
    Escrow(escrow::state::Event),
    /// Disputes and rulings.
    Dispute(dispute::state::Event),
    /// What validators bind themselves to.
    Journal(journal::Event),
}

/// What a party must do now. Effects are named by content: carrying one out makes it disappear
/// from the next answer.
#[derive(Debug)]
pub enum Effect {
    /// Sign every input of the draft, and say the word that the task makes of the signatures.
    Sign {
        /// The transaction, rebuilt from the terms.
        draft: Draft,
        /// What the signatures are for.
        task: Task,
    },
    /// Enter into the seat's journal what it is about to sign.
    Enter {
        /// The transaction, rebuilt from the terms.
        draft: Draft,
        /// What the seat binds itself to.
        bond: journal::Bond,
        /// What it is about to sign.
        task: Task,
    },
    /// Receipt the subject, naming the present tip.
    Receipt(Subject),
    /// Say the word.
    Say(Event),
    /// Broadcast the finished transaction.
    Broadcast {
        /// What it is for.
        title: Title,
        /// The transaction.
        tx: Transaction,
        /// Inputs minus outputs, in satoshis.
        fee: bitcoin::Amount,
        /// The way in.
        path: Path,
        /// Who signed.
        signers: Vec<Seat>,
    },
    /// Something that was asked of the seat is not done, and why.
    Decline(Error),
    /// Nothing can be done before this height.
    Wait {
        /// The height.
        until: u32,
        /// What for.
        why: String,
    },
}

impl Effect {
    /// A finished transaction, to be broadcast.
    pub fn broadcast(last: crate::tx::signed::Final) -> Self {
        let crate::tx::signed::Final { title, tx, fee, path, signers } = last;
        Self::Broadcast { title, tx, fee, path, signers }
    }
}

/// What signatures are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// A state or its settlement.
    State(escrow::state::Ask),
    /// A ruling on the opening with this digest.
    Ruling {
        /// The opening's digest.
        opening: WordId,
        /// What is ruled.
        outcome: Outcome,
    },
    /// The sweep with this digest.
    Sweep(WordId),
}

impl Task {
    /// What a validator binds himself to with signatures of `draft`; `None` for what no validator
    /// signs.
    pub fn bond(&self, draft: &Draft) -> Option<journal::Bond> {
        let txid = draft.txid();
        match self {
            Self::State(_) => None,
            Self::Ruling { opening, outcome } => {
                let outpoint = draft.spends().first()?.outpoint;
                let (opening, outcome) = (*opening, *outcome);
                Some(journal::Bond::Ruling { opening, outpoint, outcome, txid })
            }
            Self::Sweep(ask) => Some(journal::Bond::Sweep { ask: *ask, txid }),
        }
    }

    /// The word that the signatures make.
    pub fn word(self, signatures: Vec<schnorr::Signature>) -> Event {
        match self {
            Self::State(ask) => Event::Escrow(escrow::state::Event::Signed { ask, signatures }),
            Self::Ruling { opening, outcome } => {
                Event::Dispute(dispute::state::Event::Ruled { opening, outcome, signatures })
            }
            Self::Sweep(ask) => {
                Event::Reward(reward::state::Event::SweepSigned { ask, signatures })
            }
        }
    }
}

/// Whether one of two fee rates is at least twice the other: what a side that asks again must offer,
/// whichever of its requests came first here.
pub(crate) fn far_apart(one: u64, other: u64) -> bool {
    one.max(other) >= one.min(other).saturating_mul(2)
}

/// Refuses a receipt that another than its validator brings, that is not for what is asked for here, or
/// whose signature is not good.
pub(crate) fn check_receipt(
    terms: &EscrowTerms,
    from: Seat,
    receipt: &Receipt,
    asked: Asked,
) -> Result<()> {
    let his = from == Seat::Validator(receipt.validator);
    check_speaker(from, his, "receipt", "the validator who signed it")?;
    check_passed_on(terms, from, receipt, asked)
}

/// The same of a receipt that anybody may bring: it proves itself.
pub(crate) fn check_passed_on(
    terms: &EscrowTerms,
    from: Seat,
    receipt: &Receipt,
    asked: Asked,
) -> Result<()> {
    let Asked { rule, position, what, fits } = asked;
    if receipt.position != position || !fits {
        return Err(rule.refuses(
            from.into(),
            "receipt",
            format_args!("one for {what} of position {position}"),
            format_args!("{:?} of {}", receipt.subject, receipt.position),
        ));
    }
    receipt.check(&terms.reward.federation.ruling_keys())
}

/// What a receipt has to be for.
pub(crate) struct Asked {
    /// The rule that refuses another.
    pub(crate) rule: Rule,
    /// The position.
    pub(crate) position: PositionId,
    /// Its subject, in words.
    pub(crate) what: &'static str,
    /// Whether it is one.
    pub(crate) fits: bool,
}

/// Refuses a word said by the wrong seat.
pub(crate) fn check_speaker(from: Seat, allowed: bool, word: &str, whose: &str) -> Result<()> {
    if allowed {
        return Ok(());
    }
    Err(SPEAKER.refuses(Culprit::from(from), word, whose, from))
}
