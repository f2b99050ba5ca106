//! Step 2 for a sweep through a ruling leaf: one party is gone, and the other brings the rewards to
//! the holder. Rebuilds the transaction.

use std::collections::BTreeSet;

use super::{Case, Reasoned, because};
use crate::error::{Culprit, Error, Result, Rule};
use crate::flow::reward::state::{SweepAsk, draft};
use crate::flow::reward::txs::{SWEEPABLE, SweepPath};
use crate::id::WordId;
use crate::party::Seat;
use crate::tx::draft::Draft;

/// A sweep answers a request.
pub const ASKED: Rule = Rule::new(
    "policy-sweep-asked",
    "a validator's signature of a sweep answers a request that was admitted here",
    "send the request first",
);
/// Validators sign ruling leaves.
pub const PATH: Rule = Rule::new(
    "policy-sweep-path",
    "a validator signs sweeps through a ruling leaf",
    "ask for the way of the side that is left",
);
/// The side that is left asks.
pub const REQUESTER: Rule = Rule::new(
    "policy-sweep-requester",
    "the side that finishes a sweep has asked for it",
    "let that side ask",
);
/// Fee rates are within the terms.
pub const RATE: Rule = Rule::new(
    "policy-sweep-rate",
    "the fee rate of a sweep lies between floor and cap of the terms",
    "ask at another rate",
);
/// It is not the miner's money.
pub const FLOOR: Rule = Rule::new(
    "policy-sweep-floor",
    "a sweep that the miner asks for pays the fee floor",
    "ask at the floor",
);
/// A bounded number of different rewards.
pub const DISTINCT: Rule = Rule::new(
    "policy-sweep-distinct",
    "a sweep spends 1 to 500 rewards, each once",
    "split the request, and name each reward once",
);
/// Rewards that can be spent.
pub const REWARDS: Rule = Rule::new(
    "policy-sweep-rewards",
    "a sweep spends mature, unspent coinbase outputs that pay the reward lock, worth more than its fee",
    "wait for the rewards to mature, then ask again",
);

pub(super) const RULES: [Reasoned; 7] = [
    because(ASKED, "signatures could be collected without telling the other side"),
    because(PATH, "an exit or a joint spend would carry the federation's name"),
    because(REQUESTER, "rewards would be swept that nobody asked for, at the holder's expense"),
    because(RATE, "rewards would be spent on fees, or the sweep never confirm"),
    because(FLOOR, "the miner would spend the holder's money on fees that his own machines earn"),
    because(DISTINCT, "a sweep too large for the network would be paid for and never confirm"),
    because(REWARDS, "what is no reward would be taken to the holder, whosever it is"),
];

/// Most rewards in one sweep: 500 inputs of 150 vB stay below the 100,000 vB that nodes relay.
pub const MOST: usize = 500;

/// Judges a request for a sweep, and rebuilds its transaction.
pub fn check(case: &Case<'_>, id: &WordId) -> Result<Draft> {
    let terms = case.contract.terms();
    let (ask, by) = case.contract.reward().sweep(id).ok_or_else(|| {
        ASKED.refuses(Culprit::Sender, "request", "a request for a sweep known here", id)
    })?;
    let side = match ask.path {
        SweepPath::MinerRuling => Seat::Miner,
        SweepPath::HolderRuling => Seat::Holder,
        other => {
            let found = crate::script::lock::Path::from(other);
            return Err(PATH.refuses(Culprit::Sender, "sweep", "a ruling leaf", found));
        }
    };
    if !by.contains(&side) {
        return Err(REQUESTER.refuses(Culprit::Sender, "sweep", side, "somebody else"));
    }
    let (floor, cap) = (terms.fees.floor, terms.fees.cap);
    if !(floor..=cap).contains(&ask.sat_per_vb) {
        let expected = format_args!("{floor} to {cap} sat/vB").to_string();
        return Err(RATE.refuses(side.into(), "sweep, fee rate", expected, ask.sat_per_vb));
    }
    if side == Seat::Miner && ask.sat_per_vb != floor {
        let expected = format_args!("{floor} sat/vB").to_string();
        return Err(FLOOR.refuses(side.into(), "sweep, fee rate", expected, ask.sat_per_vb));
    }
    distinct(ask, side)?;
    draft(terms, case.facts, ask).map_err(|error| policy_id(error, side))
}

fn distinct(ask: &SweepAsk, side: Seat) -> Result<()> {
    let different: BTreeSet<_> = ask.rewards.iter().collect();
    let count = ask.rewards.len();
    if (1..=MOST).contains(&count) && different.len() == count {
        return Ok(());
    }
    let found = format_args!("{count}, of which {} differ", different.len()).to_string();
    Err(DISTINCT.refuses(side.into(), "sweep, rewards", "1 to 500, each once", found))
}

/// The builder's refusals by the policy's names.
fn policy_id(error: Error, side: Seat) -> Error {
    let fault = error.fault();
    if fault.rule != SWEEPABLE {
        return error;
    }
    match &error {
        Error::Unavailable(_) => REWARDS.unavailable(&fault.place, &fault.expected, &fault.found),
        _ => REWARDS.refuses(side.into(), &fault.place, &fault.expected, &fault.found),
    }
}
