//! Step 2 for a ruling: was it asked for, in time, was the other side heard, and is the outcome what
//! the evidence says? Rebuilds the transaction.

use super::{Case, Reasoned, because};
use crate::error::{Culprit, Error, Result, Rule};
use crate::flow::dispute::state::Opening;
use crate::flow::dispute::terms::{opens_until, ruled_from};
use crate::flow::dispute::txs;
use crate::flow::escrow;
use crate::flow::escrow::coins::{EscrowCoin, Progress};
use crate::flow::escrow::txs::Outcome;
use crate::id::WordId;
use crate::party::Seat;
use crate::tx::draft::Draft;

/// A ruling answers a request.
pub const OPENED: Rule = Rule::new(
    "policy-ruling-opened",
    "a ruling answers a request that was admitted here",
    "send the opening of the dispute first",
);
/// A party asks.
pub const REQUESTER: Rule = Rule::new(
    "policy-ruling-requester",
    "miner or holder asks for a ruling, and finishes it",
    "let a party of the contract ask",
);
/// What was asked is ruled.
pub const THROUGH: Rule = Rule::new(
    "policy-ruling-through",
    "a ruling goes through the period that was asked for",
    "ask for this period",
);
/// A period of the term.
pub const PERIOD: Rule = Rule::new(
    "policy-ruling-period",
    "a period that is ruled on is one of the term",
    "count the periods from 1",
);
/// A period is over for long enough.
pub const RIPE: Rule = Rule::new(
    "policy-ruling-ripe",
    "a period is ruled on when its last block is as deep as the terms say",
    "wait for that height",
);
/// Fee rates are within the terms.
pub const RATE: Rule = Rule::new(
    "policy-ruling-rate",
    "the fee rate of a ruling lies between floor and cap of the terms",
    "ask at another rate",
);
/// The present output is spent.
pub const PRESENT: Rule = Rule::new(
    "policy-ruling-present",
    "a ruling spends the escrow's present output, which lies in a block",
    "synchronise, and ask about the present output",
);
/// k validators have seen the request.
pub const SEEN: Rule = Rule::new(
    "policy-ruling-seen",
    "k validators have receipted the request",
    "collect their receipts",
);
/// The request came in time.
pub const TIMELY: Rule = Rule::new(
    "policy-ruling-timely",
    "a dispute opens before the quiet span that comes before the holder's exit",
    "it is too late to ask; the exits of the lock remain",
);
/// The other side had its time.
pub const HEARD: Rule = Rule::new(
    "policy-ruling-heard",
    "the other side had the answer span of the terms to show what it has",
    "wait for that height",
);
/// Nobody earns more than the price.
pub const PRICE: Rule = Rule::new(
    "policy-ruling-price",
    "a ruling lets the miner earn no more than the price",
    "recompute the outcome",
);
/// The outcome is ours.
pub const EARNED: Rule = Rule::new(
    "policy-ruling-earned",
    "a ruling lets the miner earn what terms, chain and receipted certificates say, to the satoshi",
    "compare certificates and receipts; send what is missing here",
);
/// The end is ours too.
pub const CLOSED: Rule = Rule::new(
    "policy-ruling-closes",
    "a ruling closes the contract where the terms close it, and nowhere else",
    "compare certificates and receipts; send what is missing here",
);
/// What is paid is not taken back.
pub const PAID: Rule = Rule::new(
    "policy-ruling-paid",
    "a ruling that does not close lets the miner earn no less than the escrow has paid",
    "wait for the evidence that was lost, or for a close",
);
/// The holder asks for the end only.
pub const HOLDER: Rule = Rule::new(
    "policy-ruling-holder",
    "a ruling that the holder asks for closes the contract",
    "let the miner ask, or wait for a close",
);
/// A ruling is worth its transaction.
pub const DUE: Rule = Rule::new(
    "policy-ruling-due",
    "what a ruling pays the side that asked lies above dust after its costs",
    "wait until more is due",
);

pub(super) const RULES: [Reasoned; 16] = [
    because(OPENED, "signatures could be collected without telling the other side"),
    because(REQUESTER, "a validator could rule of his own accord and pay the federation"),
    because(THROUGH, "one request would open every period to whoever picks the best"),
    because(PERIOD, "a period beyond the term has no price"),
    because(RIPE, "a reorg could still take away what is paid for"),
    because(RATE, "the escrow would be spent on fees, or the ruling never confirm"),
    because(PRESENT, "a ruling on an output that is not there yet could be kept for later"),
    because(SEEN, "one validator and one party could date a request as they like"),
    because(TIMELY, "the holder's exit could open before the miner has answered"),
    because(HEARD, "the other side's evidence would come too late"),
    because(PRICE, "more would be paid than the escrow ever held"),
    because(EARNED, "the signature would pay for work that nobody has proven"),
    because(CLOSED, "one side could end a contract that goes on, or keep one alive that is over"),
    because(PAID, "the re-lock would hold more than the escrow does"),
    because(HOLDER, "his fee in a re-lock would count as paid to the miner"),
    because(DUE, "the network would not carry it, and the output would wait for ever"),
];

/// Judges a request for a ruling, and rebuilds its transaction.
pub fn check(case: &Case<'_>, id: &WordId, outcome: &Outcome) -> Result<Draft> {
    let (contract, facts) = (case.contract, case.facts);
    let (terms, dispute) = (contract.locked(), contract.dispute());
    let opening = dispute
        .opening(id)
        .ok_or_else(|| OPENED.refuses(Culprit::Sender, "request", "an opening known here", id))?;
    let by = Culprit::from(opening.requester);
    asked(case, opening, outcome)?;
    let coin = present(case, opening)?;
    let heard = heard(case, opening, &coin)?;
    if facts.tip() < heard {
        let expected = format_args!("height {heard}").to_string();
        return Err(HEARD.unavailable(format_args!("request {id}"), expected, facts.tip()));
    }
    let place = format!("ruling through period {}", outcome.period.saturating_add(1));
    if outcome.earned > terms.price {
        let expected = format_args!("at most {}", terms.price).to_string();
        return Err(PRICE.refuses(by, place, expected, outcome.earned));
    }
    let just = dispute.just(terms, facts, contract.evidence(), id)?;
    if just.earned != outcome.earned {
        return Err(EARNED.refuses(by, place, just.earned, outcome.earned));
    }
    if just.closes != outcome.closes {
        let says = |closes| if closes { "a close" } else { "the contract goes on" };
        return Err(CLOSED.refuses(by, place, says(just.closes), says(outcome.closes)));
    }
    txs::ruling(terms, &coin, *outcome, opening.requester, opening.sat_per_vb).map_err(policy_id)
}

/// The builder's refusals by the policy's names.
fn policy_id(error: Error) -> Error {
    let fault = error.fault();
    let rule = match fault.rule {
        rule if rule == escrow::txs::OUTCOME => PAID,
        rule if rule == escrow::txs::HOLDER => HOLDER,
        rule if rule == escrow::txs::DUE => DUE,
        _ => return error,
    };
    let by = match &error {
        Error::Refused { by, .. } => *by,
        _ => Culprit::Sender,
    };
    rule.refuses(by, &fault.place, &fault.expected, &fault.found)
}

/// What the request says, held to the terms.
fn asked(case: &Case<'_>, opening: &Opening, outcome: &Outcome) -> Result<()> {
    let (terms, by) = (case.contract.terms(), Culprit::from(opening.requester));
    let counted = |period: u32| period.saturating_add(1);
    if !matches!(opening.requester, Seat::Miner | Seat::Holder) {
        return Err(REQUESTER.refuses(by, "request", "miner or holder", opening.requester));
    }
    if outcome.period != opening.period {
        let expected = format_args!("period {}", counted(opening.period)).to_string();
        return Err(THROUGH.refuses(by, "ruling", expected, counted(outcome.period)));
    }
    let ripe = terms.ruling_height(opening.period).map_err(|_| {
        let (first, last) = (counted(terms.first_period()), terms.delivery.periods);
        let expected = format_args!("{first} to {last}").to_string();
        PERIOD.refuses(by, "request, period", expected, counted(opening.period))
    })?;
    if case.facts.tip() < ripe {
        let place = format_args!("request about period {}", counted(opening.period)).to_string();
        let expected = format_args!("height {ripe}").to_string();
        return Err(RIPE.unavailable(place, expected, case.facts.tip()));
    }
    let (floor, cap) = (terms.fees.floor, terms.fees.cap);
    if !(floor..=cap).contains(&opening.sat_per_vb) {
        let expected = format_args!("{floor} to {cap} sat/vB").to_string();
        return Err(RATE.refuses(by, "request, fee rate", expected, opening.sat_per_vb));
    }
    Ok(())
}

/// The escrow's present output, which must be the one that was asked about.
fn present(case: &Case<'_>, opening: &Opening) -> Result<EscrowCoin> {
    let found = match case.contract.locked().progress(case.facts)? {
        Progress::Open(coin) if coin.outpoint == opening.outpoint && coin.height.is_some() => {
            return Ok(coin);
        }
        Progress::Open(coin) => format!("{} at height {:?}", coin.outpoint, coin.height),
        Progress::Unfunded => "no escrow yet".to_owned(),
        Progress::Ended { by, .. } => format!("ended by {by}"),
    };
    Err(PRESENT.unavailable("request, output", opening.outpoint, found))
}

/// The height from which the request may be ruled on.
fn heard(case: &Case<'_>, opening: &Opening, coin: &EscrowCoin) -> Result<u32> {
    let (terms, facts) = (case.contract.locked(), case.facts);
    let k = terms.reward.federation.threshold;
    let opened = case.contract.dispute().opened_at(terms, facts, opening)?.ok_or_else(|| {
        SEEN.unavailable("request", format_args!("receipts of {k} validators"), "fewer")
    })?;
    let last = opens_until(terms, coin.height.unwrap_or(0));
    if opened > last {
        let expected = format_args!("opened by height {last}").to_string();
        return Err(TIMELY.refuses(opening.requester.into(), "request", expected, opened));
    }
    Ok(ruled_from(terms, opened))
}
