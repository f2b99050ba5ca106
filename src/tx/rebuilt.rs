//! What a seat is asked to sign, rebuilt by itself: a transaction of the contract alone, or its one
//! input of an exchange.
//!
//! | | a draft | an exchange |
//! |---|---|---|
//! | inputs | all of the contract's locks | a seal, a lock, somebody's coins |
//! | the seat signs | each of them | the lock's |
//! | before that | | the seal is followed ([`Exchange::sighash`]) |

use bitcoin::psbt::Psbt;
use bitcoin::{Amount, OutPoint, Transaction, TxOut, Txid};

use crate::error::{Culprit, Result};
use crate::tx::draft::{Draft, Spend, Title};
use crate::tx::exchange::{Exchange, Part, Way};

/// A transaction as whoever is to sign it has rebuilt it. It cannot be cloned:
///
/// ```compile_fail
/// fn twice(it: hashmix::tx::rebuilt::Rebuilt) -> [hashmix::tx::rebuilt::Rebuilt; 2] {
///     [it.clone(), it]
/// }
/// ```
#[derive(Debug)]
pub enum Rebuilt {
    /// All inputs are locks of the contract.
    Draft(Draft),
    /// Some are: these, by their numbers.
    Exchange {
        /// The whole transaction.
        exchange: Exchange,
        /// Numbers of the inputs that spend locks.
        inputs: Vec<usize>,
        /// What those spend, in the same order.
        spends: Vec<Spend>,
    },
}

impl From<Draft> for Rebuilt {
    fn from(draft: Draft) -> Self {
        Self::Draft(draft)
    }
}

impl From<Exchange> for Rebuilt {
    fn from(exchange: Exchange) -> Self {
        let locks = exchange.parts().iter().enumerate().filter_map(|(input, part)| {
            let Way::Lock(lock, path) = &part.way else { return None };
            let Part { outpoint, prevout, .. } = part.clone();
            Some((input, Spend { outpoint, prevout, lock: lock.clone(), path: *path }))
        });
        let (inputs, spends) = locks.unzip();
        Self::Exchange { exchange, inputs, spends }
    }
}

/// An output that is spent.
#[derive(Clone, Copy, Debug)]
pub struct Spent<'a> {
    /// Where it is.
    pub outpoint: OutPoint,
    /// Its value (satoshis) and script.
    pub prevout: &'a TxOut,
    /// Whether it is somebody's own coin: neither lock nor seal.
    pub coin: bool,
}

impl Rebuilt {
    /// What the transaction is for.
    pub fn title(&self) -> Title {
        match self {
            Self::Draft(draft) => draft.title(),
            Self::Exchange { exchange, .. } => exchange.title(),
        }
    }

    /// The unsigned transaction.
    pub fn transaction(&self) -> &Transaction {
        match self {
            Self::Draft(draft) => draft.transaction(),
            Self::Exchange { exchange, .. } => exchange.transaction(),
        }
    }

    /// Its txid, which signatures do not change.
    pub fn txid(&self) -> Txid {
        self.transaction().compute_txid()
    }

    /// Inputs minus outputs, in satoshis.
    pub fn fee(&self) -> Result<Amount> {
        match self {
            Self::Draft(draft) => draft.fee(),
            Self::Exchange { exchange, .. } => exchange.fee(),
        }
    }

    /// The contract's locks that it spends, in input order: what a seat signs for.
    pub fn spends(&self) -> &[Spend] {
        match self {
            Self::Draft(draft) => draft.spends(),
            Self::Exchange { spends, .. } => spends,
        }
    }

    /// Everything that it spends, in input order.
    pub fn spent(&self) -> Vec<Spent<'_>> {
        match self {
            Self::Draft(draft) => draft
                .spends()
                .iter()
                .map(|spend| {
                    let Spend { outpoint, prevout, .. } = spend;
                    Spent { outpoint: *outpoint, prevout, coin: false }
                })
                .collect(),
            Self::Exchange { exchange, .. } => exchange
                .parts()
                .iter()
                .map(|part| {
                    let Part { outpoint, prevout, way } = part;
                    Spent { outpoint: *outpoint, prevout, coin: matches!(way, Way::Coin) }
                })
                .collect(),
        }
    }

    /// The message that signatures of a spend (by its place among [`Rebuilt::spends`]) commit to.
    pub fn sighash(&self, spend: usize) -> Result<[u8; 32]> {
        match self {
            Self::Draft(draft) => draft.sighash(spend),
            Self::Exchange { exchange, inputs, .. } => {
                // Beyond the last one the exchange refuses.
                exchange.sighash(inputs.get(spend).copied().unwrap_or(usize::MAX))
            }
        }
    }

    /// Refuses a PSBT that does not say exactly what we have rebuilt, by the rule of the field that
    /// differs.
    pub fn compare(&self, psbt: &Psbt, by: Culprit) -> Result<()> {
        match self {
            Self::Draft(draft) => draft.compare(psbt, by),
            Self::Exchange { exchange, .. } => exchange.compare(psbt, by),
        }
    }
}
