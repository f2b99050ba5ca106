//! What a gateway mines for: a contract that pays for work, or the proofs before a position is issued.
//!
//! | the entry's file | at these heights | the coinbase pays | shares are kept under |
//! |---|---|---|---|
//! | a contract's terms | its periods | the lock of whoever holds the position then | the contract's position |
//! | a position's terms | the onboarding slice | the registered address | the name of that stage |
//! | | the binding slice | the reward lock, and the service share | the name of that stage |
//! | | from there to the term's start | the same | nothing |
//!
//! Behind the binding slice the coinbase keeps paying the lock, though nobody counts it: a block that
//! is found then shows whoever thinks of buying that the machines still stand behind it, and the lock's
//! holder is the miner himself. From the start on he is paid as before the first slice: what is sold
//! by then has a contract, whose terms take the place of the position's in the gateway's file.

use bitcoin::Network;
use serde::Deserialize;

use crate::error::{Culprit, Result, Rule};
use crate::flow::Contract;
use crate::flow::escrow::terms::{EscrowTerms, TERMS_MAX_BYTES};
use crate::flow::position::proof::Stage;
use crate::flow::position::state;
use crate::flow::position::terms::{POSITION_FORMAT, PositionTerms};
use crate::id::PositionId;
use crate::work::agreement::WorkTerms;

/// A position is taken on in time.
pub const PAST: Rule = Rule::new(
    "gateway-position-past",
    "a gateway takes a position's terms on before its binding slice is over, or has kept shares of it",
    "begin anew with terms whose slices lie ahead; if the position is sold, name its contract's terms instead",
);
/// The miner himself shows his proofs.
pub const RECORD: Rule = Rule::new(
    "gateway-position-record",
    "a position that is not issued yet stands in a gateway's file without record, validators and relay",
    "leave them out: the gateway writes each certificate into a file, for `hashmix position prove`",
);

/// What a payee's entry names.
#[derive(Clone, Debug)]
pub enum Agreed {
    /// A contract.
    Contract(Box<EscrowTerms>),
    /// A position that is not issued yet.
    Position(Box<PositionTerms>),
}

impl From<EscrowTerms> for Agreed {
    fn from(terms: EscrowTerms) -> Self {
        Self::Contract(Box::new(terms))
    }
}

impl From<PositionTerms> for Agreed {
    fn from(terms: PositionTerms) -> Self {
        Self::Position(Box::new(terms))
    }
}

/// The first field of every file.
#[derive(Deserialize)]
struct Named {
    format: String,
}

impl Agreed {
    /// Reads and checks terms, a position's or a contract's.
    pub fn from_json(text: &str) -> Result<Self> {
        let short = text.len() <= TERMS_MAX_BYTES;
        let named = short.then(|| serde_json::from_str::<Named>(text).ok()).flatten();
        match named.is_some_and(|named| named.format == POSITION_FORMAT) {
            true => PositionTerms::from_json(text).map(Self::from),
            false => EscrowTerms::from_json(text).map(Self::from),
        }
    }

    /// The positions that shares are kept for.
    pub(super) fn positions(self) -> Result<Vec<Position>> {
        match self {
            Self::Contract(terms) => {
                let (id, work) = (terms.position()?, terms.work()?);
                Ok(vec![Position { id, work, purpose: Purpose::Contract(terms) }])
            }
            Self::Position(terms) => {
                let one = |stage: Stage| {
                    let (id, work) = (stage.position(&terms)?, stage.work(&terms)?);
                    Ok(Position { id, work, purpose: Purpose::Proof(terms.clone(), stage) })
                };
                Stage::BOTH.into_iter().map(one).collect()
            }
        }
    }
}

/// What work is for.
#[derive(Clone, Debug)]
enum Purpose {
    /// It is paid for.
    Contract(Box<EscrowTerms>),
    /// It proves capacity.
    Proof(Box<PositionTerms>, Stage),
}

/// A position that is mined for, or a stage of one that is not issued yet.
#[derive(Clone, Debug)]
pub struct Position {
    /// Its id; that of the stage, if it is one.
    pub id: PositionId,
    /// What a share is judged by.
    pub work: WorkTerms,
    purpose: Purpose,
}

impl Position {
    /// The contract, if it is one.
    pub fn contract(&self) -> Option<&EscrowTerms> {
        match &self.purpose {
            Purpose::Contract(terms) => Some(terms),
            Purpose::Proof(..) => None,
        }
    }

    /// The position's terms and the stage, if it is one.
    pub fn proof(&self) -> Option<(&PositionTerms, Stage)> {
        match &self.purpose {
            Purpose::Contract(_) => None,
            Purpose::Proof(terms, stage) => Some((terms, *stage)),
        }
    }

    /// The network.
    pub fn network(&self) -> Network {
        self.work.network
    }

    /// Heights at which coinbases pay the lock on, though nobody counts it: behind the binding slice.
    pub fn lingers_at(&self, height: u32) -> bool {
        let Some((terms, Stage::Binding)) = self.proof() else { return false };
        height > Stage::Binding.last(terms) && height < terms.delivery.start
    }

    /// First height whose header is needed to judge its shares.
    pub fn headers_from(&self) -> Result<u32> {
        match &self.purpose {
            Purpose::Contract(terms) => Ok(Contract::new((**terms).clone())?.headers_from()),
            Purpose::Proof(terms, _) => Ok(state::headers_from(terms)),
        }
    }

    /// Refuses a position of which nothing can be proven any more.
    pub fn check_ahead(&self, tip: u32, kept: bool) -> Result<()> {
        let Some((terms, Stage::Binding)) = self.proof() else { return Ok(()) };
        let last = Stage::Binding.last(terms);
        if kept || tip < last {
            return Ok(());
        }
        let place = format_args!("position of terms {}", terms.id()?).to_string();
        let expected = format!("a tip below height {last}, the end of its binding slice");
        let found = format!("a tip at height {tip}, and no share of that slice");
        Err(PAST.refuses(Culprit::Miner, place, expected, found))
    }
}
