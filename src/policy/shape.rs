//! Step 4: the transaction itself. Whoever built it, it is a settlement, a close or a sweep: who is
//! paid, how much, from when on, at what fee. Asked in other words than the builder's.

use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxOut};

use super::{Case, Reasoned, because};
use crate::amount;
use crate::error::{Error, Result, Rule};
use crate::flow::Task;
use crate::flow::escrow::coins::Locked;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::escrow::txs::{Outcome, TRUC};
use crate::party::Seat;
use crate::tx::draft::{self, Spend, vsize};

/// One escrow output, or the rewards.
pub const INPUTS: Rule = Rule::new(
    "policy-shape-inputs",
    "a ruling spends one escrow output; every input spends, in order, what the request names",
    "report this: the transaction was built otherwise than asked",
);
/// TRUC for rulings.
pub const VERSION: Rule = Rule::new(
    "policy-shape-version",
    "a ruling has version 3 (BIP 431), a sweep or a resale version 2",
    "report this: the transaction was built otherwise than asked",
);
/// From when on.
pub const LOCKTIME: Rule = Rule::new(
    "policy-shape-locktime",
    "nLockTime of a ruling or a resale is the height from which its period may be ruled on; a sweep has none",
    "report this: the transaction was built otherwise than asked",
);
/// Nothing relative.
pub const SEQUENCE: Rule = Rule::new(
    "policy-shape-sequence",
    "no input waits (BIP 68), and every one signals that it may be replaced (BIP 125)",
    "report this: the transaction was built otherwise than asked",
);
/// Who may be paid.
pub const PAYEES: Rule = Rule::new(
    "policy-shape-payees",
    "outputs pay the miner, the next lock or the holder, and the federation, in this order, each once; a sweep pays the holder alone",
    "report this: the transaction was built otherwise than asked",
);
/// The miner's part.
pub const MINER: Rule = Rule::new(
    "policy-shape-miner",
    "the miner gets what is due, less the fee, and less the ruling where he asks for it; nothing where that is dust and the holder asks",
    "report this: the amounts do not follow from the outcome",
);
/// What stays locked.
pub const RELOCK: Rule = Rule::new(
    "policy-shape-relock",
    "the re-lock holds what the escrow held, less what is due, and is there unless the contract closes",
    "report this: the amounts do not follow from the outcome",
);
/// The holder's part.
pub const REFUND: Rule = Rule::new(
    "policy-shape-refund",
    "a close gives the holder the rest; where he asks, less the ruling and what he asks for above the fee floor; nothing where that is dust",
    "report this: the amounts do not follow from the outcome",
);
/// The federation's part.
pub const RULING: Rule = Rule::new(
    "policy-shape-ruling",
    "a ruling pays the federation the fee in the terms, once",
    "report this: the amounts do not follow from the terms",
);
/// The network's part.
pub const FEE: Rule = Rule::new(
    "policy-shape-fee",
    "the transaction fee is size times the rate that was asked for, plus what is dust where the holder's output or the buyer's change is left out",
    "report this: the amounts do not follow from the rate",
);
/// Nothing is made.
pub const CONSERVES: Rule = Rule::new(
    "policy-shape-conserves",
    "outputs add up to no more than inputs, and both to no more than 21 million bitcoin",
    "report this: the amounts do not add up",
);
/// Nothing is too small.
pub const DUST: Rule = Rule::new(
    "policy-shape-dust",
    "every output lies above dust",
    "report this: the network would not carry the transaction",
);

pub(super) const RULES: [Reasoned; 12] = [
    because(INPUTS, "a foreign input would be signed along, or one of ours spent unasked"),
    because(
        VERSION,
        "nobody could raise a ruling's fee by a child, or the network would refuse it",
    ),
    because(LOCKTIME, "a ruling could confirm before its period is safe from reorgs"),
    because(SEQUENCE, "the ruling could be pinned, or wait until an exit is open"),
    because(PAYEES, "the price would go to a thief"),
    because(MINER, "the miner would be paid more than he has earned, or less"),
    because(
        RELOCK,
        "what counts as paid is read from the re-lock: every satoshi off is lost or paid twice",
    ),
    because(REFUND, "one side would pay what the other asked for"),
    because(RULING, "a validator could raise his own fee"),
    because(FEE, "the escrow would be burned on fees, or the transaction never confirm"),
    because(CONSERVES, "amounts that wrap would pay from nothing"),
    because(DUST, "the ruling would wait for ever, and the output with it"),
];

/// Where the money goes.
struct Payees {
    miner: ScriptBuf,
    holder: ScriptBuf,
    federation: ScriptBuf,
    next: Option<ScriptBuf>,
}

/// Refuses a transaction that is not what was asked for.
pub fn check(case: &Case<'_>, task: &Task, tx: &Transaction, spends: &[Spend]) -> Result<()> {
    let terms = case.contract.terms();
    let asked = super::outpoints(case.contract, task);
    let found: Vec<_> = tx.input.iter().map(|input| input.previous_output).collect();
    let spent: Vec<_> = spends.iter().map(|spend| spend.outpoint).collect();
    let single = !matches!(task, Task::Ruling { .. }) || found.len() == 1;
    if found != asked || found.is_empty() || !single {
        return Err(INPUTS.broken("inputs", listed(&asked), listed(&found)));
    }
    if found != spent {
        return Err(INPUTS.broken("outputs that are spent", listed(&found), listed(&spent)));
    }
    relayable(tx)?;
    let fee = fee(tx, spends.iter().map(|spend| &spend.prevout))?;
    let payees = Payees {
        miner: terms.reward.miner.payout_script(),
        holder: terms.reward.holder.payout_script(),
        federation: terms.reward.federation.payout_script(),
        next: next_lock(case.contract.locked(), spends)?,
    };
    match task {
        Task::Ruling { opening, outcome } => {
            let opening = case.contract.dispute().opening(opening);
            let (requester, rate) =
                opening.map_or((Seat::Miner, 0), |asked| (asked.requester, asked.sat_per_vb));
            header(tx, TRUC, terms.ruling_height(outcome.period)?)?;
            let left_out = ruling(terms, outcome, requester, tx, spends, &payees, fee)?;
            let dust = if left_out { payees.holder.minimal_non_dust() } else { Amount::ZERO };
            check_fee(tx, spends, fee, rate, dust)
        }
        Task::Sweep(id) => {
            let rate = case.contract.reward().sweep(id).map(|(ask, _)| ask.sat_per_vb);
            header(tx, Version::TWO, 0)?;
            match tx.output.as_slice() {
                [one] if one.script_pubkey == payees.holder => {}
                _ => return Err(unfit("one output to the holder", tx)),
            }
            check_fee(tx, spends, fee, rate.unwrap_or(0), Amount::ZERO)
        }
        Task::State(_) | Task::Resale { .. } => {
            Err(super::seat::TASK.broken("task", "a ruling or a sweep", "another"))
        }
    }
}

fn unfit(expected: &str, tx: &Transaction) -> Error {
    let found: Vec<String> =
        tx.output.iter().map(|out| format!("{:x}", out.script_pubkey)).collect();
    PAYEES.broken("outputs", expected, format_args!("{}: {}", found.len(), found.join(", ")))
}

/// Refuses an input that waits, and an output that the network would not carry.
pub(super) fn relayable(tx: &Transaction) -> Result<()> {
    for (number, input) in tx.input.iter().enumerate() {
        if input.sequence != Sequence::ENABLE_RBF_NO_LOCKTIME {
            let at = format_args!("input {number}, sequence").to_string();
            return Err(SEQUENCE.broken(at, Sequence::ENABLE_RBF_NO_LOCKTIME, input.sequence));
        }
    }
    for (number, out) in tx.output.iter().enumerate() {
        if out.value < out.script_pubkey.minimal_non_dust() {
            return Err(DUST.broken(format_args!("output {number}"), "more than dust", out.value));
        }
    }
    Ok(())
}

/// How many there are, and which.
pub(super) fn listed(outpoints: &[OutPoint]) -> String {
    let each: Vec<String> = outpoints.iter().map(ToString::to_string).collect();
    format!("{}: {}", each.len(), each.join(", "))
}

pub(super) fn header(tx: &Transaction, version: Version, height: u32) -> Result<()> {
    if tx.version != version {
        return Err(VERSION.broken("version", version, tx.version));
    }
    let LockTime::Blocks(found) = tx.lock_time else {
        return Err(LOCKTIME.broken("nLockTime", format_args!("height {height}"), tx.lock_time));
    };
    if found.to_consensus_u32() != height {
        return Err(LOCKTIME.broken("nLockTime", format_args!("height {height}"), found));
    }
    Ok(())
}

/// Inputs minus outputs.
pub(super) fn fee<'a>(
    tx: &Transaction,
    prevouts: impl Iterator<Item = &'a TxOut>,
) -> Result<Amount> {
    let fault = |found: &dyn core::fmt::Display| {
        CONSERVES.broken("amounts", "outputs up to the inputs, inputs up to 21 million", found)
    };
    let sum = |values: &mut dyn Iterator<Item = Amount>| {
        amount::sum(values, "amounts").map_err(|error| fault(&error.fault().found))
    };
    let spent = sum(&mut prevouts.map(|out| out.value))?;
    let paid = sum(&mut tx.output.iter().map(|out| out.value))?;
    spent.checked_sub(paid).ok_or_else(|| fault(&format_args!("{paid} of {spent}")))
}

fn check_fee(
    tx: &Transaction,
    spends: &[Spend],
    fee: Amount,
    rate: u64,
    dust: Amount,
) -> Result<()> {
    let least = vsize(spends, &tx.output)?.saturating_mul(rate);
    let most = least.saturating_add(dust.to_sat());
    if (least..=most).contains(&fee.to_sat()) {
        return Ok(());
    }
    Err(FEE.broken("fee", format_args!("{least} to {most} sat"), fee))
}

/// The lock of the next index, where an escrow is spent.
fn next_lock(terms: &Locked, spends: &[Spend]) -> Result<Option<ScriptBuf>> {
    let Some(first) = spends.first() else { return Ok(None) };
    let spent = &first.prevout.script_pubkey;
    let Some(place) = terms.scripts().position(|script| script == spent) else { return Ok(None) };
    let next = u32::try_from(place).unwrap_or(u32::MAX).saturating_add(1);
    Ok(Some(terms.lock(next)?.script_pubkey))
}

/// Who gets how much of a ruling; answers whether the holder's output is left out.
fn ruling(
    terms: &EscrowTerms,
    outcome: &Outcome,
    requester: Seat,
    tx: &Transaction,
    spends: &[Spend],
    payees: &Payees,
    fee: Amount,
) -> Result<bool> {
    let value = spends.first().map_or(Amount::ZERO, |spend| spend.prevout.value);
    let paid = terms.price.checked_sub(value).unwrap_or(Amount::ZERO);
    let due = outcome.earned.checked_sub(paid).unwrap_or(Amount::ZERO);
    let rest = value.checked_sub(due).unwrap_or(Amount::ZERO);

    let mut left = tx.output.as_slice();
    let mut take = |script: &ScriptBuf| match left {
        [first, others @ ..] if first.script_pubkey == *script => {
            left = others;
            Some(first.value)
        }
        _ => None,
    };
    let miner = take(&payees.miner);
    let relock = payees.next.as_ref().and_then(&mut take);
    let refund = if relock.is_none() { take(&payees.holder) } else { None };
    let federation = take(&payees.federation);
    let complete = miner.is_some() || refund.is_some();
    if !left.is_empty() || !complete || (relock.is_some() && miner.is_none()) {
        return Err(unfit("miner, then next lock or holder, then federation", tx));
    }
    if federation != Some(terms.fees.ruling) {
        let found = federation.map_or("none".to_owned(), |fee| fee.to_string());
        return Err(RULING.broken("federation's output", terms.fees.ruling, found));
    }
    if let Some(relock) = relock
        && (relock != rest || outcome.closes)
    {
        let expected = if outcome.closes { "none".to_owned() } else { rest.to_string() };
        return Err(RELOCK.broken("re-lock", expected, relock));
    }
    let least = payees.next.as_ref().map_or(Amount::ZERO, |next| next.minimal_non_dust());
    if relock.is_none() && !outcome.closes && rest >= least {
        return Err(RELOCK.broken("re-lock", rest, "none, though the contract goes on"));
    }
    let dust = payees.miner.minimal_non_dust().max(payees.holder.minimal_non_dust());
    let [his, holders] =
        costs(terms, requester, tx, spends, miner.is_none().then_some(payees), fee)?;
    if miner.is_none() && requester == Seat::Miner {
        return Err(MINER.broken("miner's output", "one that pays the ruling", "none"));
    }
    within(MINER, "miner's output", miner, due, his, dust)?;
    if relock.is_some() {
        return Ok(false);
    }
    match miner {
        Some(_) => within(REFUND, "holder's output", refund, rest, holders, dust)?,
        // Where the miner's part is left out, the holder gets it too, and bears everything.
        None => {
            let all = amount::sum([fee, terms.fees.ruling], "costs of a ruling")?;
            within(REFUND, "holder's output", refund, value, all, dust)?;
        }
    }
    Ok(refund.is_none())
}

/// What a ruling costs miner and holder: who asks pays the ruling; the miner pays the fee, but at the
/// floor where the holder chose the rate. `left_out` is given where the miner's output is not there.
fn costs(
    terms: &EscrowTerms,
    requester: Seat,
    tx: &Transaction,
    spends: &[Spend],
    left_out: Option<&Payees>,
    actual: Amount,
) -> Result<[Amount; 2]> {
    let sum = |parts: [Amount; 2]| amount::sum(parts, "costs of a ruling");
    if requester != Seat::Holder {
        return Ok([sum([actual, terms.fees.ruling])?, Amount::ZERO]);
    }
    // What he would have cost decides whether he is left out.
    let missing =
        left_out.map(|payees| TxOut { value: Amount::ZERO, script_pubkey: payees.miner.clone() });
    let priced: Vec<TxOut> = tx.output.iter().cloned().chain(missing).collect();
    let his = draft::fee(vsize(spends, &priced)?, terms.fees.floor)?;
    let above = actual.checked_sub(his).unwrap_or(Amount::ZERO);
    Ok([his, sum([above, terms.fees.ruling])?])
}

/// Refuses an amount above `whole` or below it by more than `costs`; none may be there if what is
/// left is dust.
fn within(
    rule: Rule,
    place: &str,
    found: Option<Amount>,
    whole: Amount,
    costs: Amount,
    dust: Amount,
) -> Result<()> {
    let least = whole.checked_sub(costs).unwrap_or(Amount::ZERO);
    match found {
        Some(value) if (least..=whole).contains(&value) => Ok(()),
        None if least <= dust => Ok(()),
        Some(value) => Err(rule.broken(place, format_args!("{least} to {whole}"), value)),
        None => Err(rule.broken(place, format_args!("{least} or more"), "none")),
    }
}
