//! The one transaction of the dispute flow: the ruling, a settlement through a ruling leaf.

use crate::error::Result;
use crate::flow::dispute::terms::fee;
use crate::flow::escrow::coins::EscrowCoin;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::escrow::txs::{Outcome, settlement};
use crate::party::Seat;
use crate::script::lock::Path;
use crate::tx::draft::Draft;

/// The way in for a ruling that `requester` finishes.
pub fn path(requester: Seat) -> Path {
    match requester {
        Seat::Holder => Path::HolderRuling,
        _ => Path::MinerRuling,
    }
}

/// The settlement or close that the federation rules, finished by `requester`.
///
/// Both ruling leaves weigh the same, so at one fee rate the transactions of both requesters differ
/// in who pays the ruling fee and nothing else.
pub fn ruling(
    terms: &EscrowTerms,
    coin: &EscrowCoin,
    outcome: Outcome,
    requester: Seat,
    sat_per_vb: u64,
) -> Result<Draft> {
    let fee = fee(terms, requester);
    settlement(terms, coin, outcome, path(requester), sat_per_vb, Some(&fee))
}
