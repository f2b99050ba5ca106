//! Step 4 for a resale: the exchange itself, as [`shape`](super::shape) asks it of what the contract
//! spends alone. The seal, what is carried over, who is paid, at what fee: asked in other words than the
//! builder's.

use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, Transaction, TxOut};

use super::resale::due;
use super::shape::{FEE, INPUTS, PAYEES, fee, header, listed, relayable};
use super::{Case, Reasoned, because};
use crate::error::{Culprit, Result, Rule};
use crate::flow::Task;
use crate::flow::escrow;
use crate::flow::position::coins::{POSTAGE, transferred_seal};
use crate::flow::resale::terms::Request;
use crate::flow::sale::terms::Resale;
use crate::tx::exchange::{Part, Way, vsize};

/// The seal goes to the buyer.
pub const SEAL: Rule = Rule::new(
    "policy-exchange-seal",
    "input 0 of a resale is the seal, and output 0 the seal of its buyer under his contract, as large",
    "report this: the transaction was built otherwise than asked",
);
/// What is not due stays locked.
pub const CARRIED: Rule = Rule::new(
    "policy-exchange-carried",
    "output 1 of a resale pays the first lock of the new contract what the escrow held, less what is due",
    "report this: the amounts do not follow from the outcome",
);
/// The miner is paid in full.
pub const DUE: Rule = Rule::new(
    "policy-exchange-due",
    "output 2 of a resale pays the miner all that is due, without a fee; it is left out where that is dust",
    "report this: the amounts do not follow from the outcome",
);
/// The seller is paid his price.
pub const PRICE: Rule = Rule::new(
    "policy-exchange-price",
    "the output behind pays the seller the price of his offer, at the address of his record",
    "report this: the amounts do not follow from the offer",
);

pub(super) const RULES: [Reasoned; 4] = [
    because(SEAL, "the position would be lost, or go to somebody whose contract this is not"),
    because(CARRIED, "the buyer's escrow would hold less than his contract counts on"),
    because(DUE, "the miner would pay for a sale that he has no part in"),
    because(PRICE, "the holder's price would go to a thief"),
];

/// Refuses an exchange that is not what was asked for.
pub fn check(case: &Case<'_>, task: &Task, tx: &Transaction, parts: &[Part]) -> Result<()> {
    let Task::Resale { ask, .. } = task else {
        return Err(super::seat::TASK.broken("task", "a resale", "another"));
    };
    let request = case.contract.resales().request(ask);
    let Some((request, resale)) =
        request.and_then(|request| Some((request, request.offer.offer.resale.as_ref()?)))
    else {
        return Err(super::resale::ASKED.refuses(Culprit::Sender, "request", "a resale", ask));
    };
    let asked = super::outpoints(case.contract, task);
    let found: Vec<OutPoint> = tx.input.iter().map(|input| input.previous_output).collect();
    let spent: Vec<OutPoint> = parts.iter().map(|part| part.outpoint).collect();
    for (place, found) in [("inputs", &found), ("outputs that are spent", &spent)] {
        if *found != asked || found.is_empty() {
            return Err(INPUTS.broken(place, listed(&asked), listed(found)));
        }
    }
    relayable(tx)?;
    header(tx, Version::TWO, case.contract.terms().ruling_height(resale.outcome.period)?)?;
    let rest = outputs(case, request, resale, tx, parts)?;
    check_fee(request, tx, parts, rest)
}

/// Holds the outputs to the request, in order; answers what is left: the change, or nothing.
fn outputs<'a>(
    case: &Case<'_>,
    request: &Request,
    resale: &Resale,
    tx: &'a Transaction,
    parts: &[Part],
) -> Result<&'a [TxOut]> {
    let (terms, offer) = (case.contract.terms(), &request.offer.offer);
    let new = offer.contract(&request.acceptance.acceptance.holder)?;
    let number = offer.seller.number.saturating_add(1);
    let seal = transferred_seal(offer.position, number, &new.reward.holder, Some(new.id()?))?;
    let postage = parts.first().filter(|part| matches!(part.way, Way::Seal(_)));
    let postage = postage.map_or(Amount::ZERO, |part| part.prevout.value);
    let mut left = tx.output.as_slice();
    let mut take = |rule: Rule, place: &str, value: Amount, script: &bitcoin::Script| {
        let shown = |value: Amount, script: &bitcoin::Script| format!("{value} to {script:x}");
        let expected = shown(value, script);
        match left {
            [out, others @ ..] if out.value == value && *out.script_pubkey == *script => {
                left = others;
                Ok(())
            }
            [out, ..] => Err(rule.broken(place, expected, shown(out.value, &out.script_pubkey))),
            [] => Err(rule.broken(place, expected, "no output")),
        }
    };
    if postage != POSTAGE {
        return Err(SEAL.broken("input 0", POSTAGE, postage));
    }
    take(SEAL, "output 0, the seal", postage, &seal.script_pubkey)?;
    let due = due(terms, resale);
    let rest = resale.value.checked_sub(due).unwrap_or(Amount::ZERO);
    let lock = escrow::coins::lock(&new, 0)?.script_pubkey;
    take(CARRIED, "output 1, the new escrow", rest, &lock)?;
    if due > Amount::ZERO {
        take(DUE, "output 2, the miner's", due, &terms.reward.miner.payout_script())?;
    }
    take(PRICE, "the seller's output", offer.price, &terms.reward.holder.payout_script())?;
    Ok(left)
}

/// At most a change, to where the buyer says, and the fee that he chose.
fn check_fee(request: &Request, tx: &Transaction, parts: &[Part], rest: &[TxOut]) -> Result<()> {
    let acceptance = &request.acceptance.acceptance;
    let to = |script: &bitcoin::Script| format!("{script:x}");
    let fee = fee(tx, parts.iter().map(|part| &part.prevout))?;
    let cost = |outputs: &[TxOut]| -> Result<u64> {
        Ok(vsize(parts, outputs)?.saturating_mul(acceptance.sat_per_vb))
    };
    let least = cost(&tx.output)?;
    let most = match rest {
        [] => {
            // What is left is less than a change is worth.
            let script_pubkey = acceptance.change.clone();
            let dust = script_pubkey.minimal_non_dust().to_sat();
            let change = TxOut { value: Amount::ZERO, script_pubkey };
            let all: Vec<TxOut> = tx.output.iter().cloned().chain([change]).collect();
            cost(&all)?.saturating_add(dust)
        }
        [change] if change.script_pubkey == acceptance.change => least,
        [other] => {
            return Err(PAYEES.broken("change", to(&acceptance.change), to(&other.script_pubkey)));
        }
        more => return Err(PAYEES.broken("outputs behind the price", "a change", more.len())),
    };
    if (least..=most).contains(&fee.to_sat()) {
        return Ok(());
    }
    Err(FEE.broken("fee", format_args!("{least} to {most} sat"), fee))
}
