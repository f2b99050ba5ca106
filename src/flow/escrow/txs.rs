//! The transactions of the escrow flow: settlement, close, and the two exits.
//!
//! What is already paid is read from the chain alone: an output that holds V of a price P has paid
//! P - V. A settlement through period p pays the rest of what p entitles the miner to.

use bitcoin::transaction::Version;
use bitcoin::{Amount, ScriptBuf, TxOut};
use serde::{Deserialize, Serialize};

use crate::amount;
use crate::error::{Culprit, Result, Rule};
use crate::flow::escrow::coins::{self, EscrowCoin};
use crate::flow::escrow::terms::EscrowTerms;
use crate::party::Seat;
use crate::script::lock::Path;
use crate::tx::draft::{Draft, Spend, Title, fee, vsize};

/// There is something to settle.
pub const DUE: Rule = Rule::new(
    "escrow-due",
    "a settlement pays the miner more than dust after the fee",
    "wait for the next period",
);
/// The holder asks for the end only.
pub const HOLDER: Rule = Rule::new(
    "escrow-holder-closes",
    "a ruling that the holder asks for closes the contract",
    "let the miner ask, or wait for a close",
);
/// An outcome fits the output it is paid from.
pub const OUTCOME: Rule = Rule::new(
    "escrow-outcome",
    "the entitlement lies between what is paid already and the price",
    "compare certificates and chain with the other side",
);

/// TRUC, version 3 (BIP 431): a settlement can always be fee-bumped by a child.
pub const TRUC: Version = Version(3);

/// What the evidence says of the contract through a period: the one number that everybody computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The last period it covers (0-based).
    pub period: u32,
    /// Satoshis that the miner has earned through it.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub earned: Amount,
    /// Whether the contract ends with it.
    pub closes: bool,
}

impl Outcome {
    /// Orders outcomes of one period by the evidence behind them: it only grows, so satoshis only
    /// rise, and a window that seemed failed may turn out not to be.
    pub fn rank(&self) -> (Amount, bool) {
        (self.earned, !self.closes)
    }
}

/// Who asked for a ruling, and pays its fee to this script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulingFee {
    /// The side that asked.
    pub requester: Seat,
    /// The fixed fee (satoshis).
    pub amount: Amount,
    /// Where the federation is paid.
    pub payee: ScriptBuf,
}

/// The settlement, or close, that `outcome` demands of the present escrow output.
///
/// A settlement: output 0 pays the miner due - fee, output 1 re-locks V - due at the next index. A
/// close: due - fee to the miner, the rest to the holder; where the miner's part would be dust it
/// is left out, and the fee then comes from the holder's part. A ruling fee is one last output at
/// the requester's expense; a holder can only ask for a close, because in a re-lock his fee would
/// be counted as paid to the miner. What he asks for above the fee floor he bears himself, or he
/// could spend the miner's last due on fees.
///
/// nLockTime is the height from which the period may be ruled on.
pub fn settlement(
    terms: &EscrowTerms,
    coin: &EscrowCoin,
    outcome: Outcome,
    path: Path,
    sat_per_vb: u64,
    ruling: Option<&RulingFee>,
) -> Result<Draft> {
    let paid = terms.price.checked_sub(coin.value);
    // A close below what is paid (a reorg took evidence away) owes nothing: what is paid is paid.
    let due = paid.and_then(|paid| match outcome.earned.checked_sub(paid) {
        None if outcome.closes && outcome.earned <= terms.price => Some(Amount::ZERO),
        due => due,
    });
    let rest = due.and_then(|due| coin.value.checked_sub(due));
    let (Some(due), Some(rest)) = (due, rest) else {
        return Err(OUTCOME.refuses(
            Culprit::Sender,
            format_args!("outcome through period {}", outcome.period.saturating_add(1)),
            format_args!(
                "{} to {}",
                terms.price.to_sat().saturating_sub(coin.value.to_sat()),
                terms.price
            ),
            outcome.earned,
        ));
    };
    let next = coins::lock(terms, coin.index.saturating_add(1))?.script_pubkey;
    let closes = outcome.closes || rest < next.minimal_non_dust();
    let title = Title(match (closes, ruling.is_some()) {
        (false, false) => "settlement",
        (true, false) => "close",
        (false, true) => "ruling",
        (true, true) => "closing ruling",
    });
    if !closes && ruling.is_some_and(|fee| fee.requester != Seat::Miner) {
        return Err(HOLDER.refuses(Culprit::Holder, title, "one that closes", "one that re-locks"));
    }
    let second = if closes { terms.reward.holder.payout_script() } else { next };
    let spends = vec![Spend {
        outpoint: coin.outpoint,
        prevout: coin.txout(),
        lock: coin.lock.clone(),
        path,
    }];
    let split = Split { due, rest, closes, second, ruling };
    let outputs = split.outputs(terms, &spends, sat_per_vb, title)?;
    Draft::new(title, TRUC, terms.ruling_height(outcome.period)?, spends, outputs)
}

/// How V is divided.
struct Split<'a> {
    due: Amount,
    rest: Amount,
    closes: bool,
    /// Script of the re-lock, or of the holder's refund.
    second: ScriptBuf,
    ruling: Option<&'a RulingFee>,
}

impl Split<'_> {
    fn outputs(
        &self,
        terms: &EscrowTerms,
        spends: &[Spend],
        sat_per_vb: u64,
        title: Title,
    ) -> Result<Vec<TxOut>> {
        let miner_script = terms.reward.miner.payout_script();
        let dust = |script: &ScriptBuf| script.minimal_non_dust();
        let out = |value, script: &ScriptBuf| TxOut { value, script_pubkey: script.clone() };
        let ruling_cost = |seat| match self.ruling {
            Some(fee) if fee.requester == seat => fee.amount,
            _ => Amount::ZERO,
        };
        let tail: Vec<TxOut> = self.ruling.iter().map(|fee| out(fee.amount, &fee.payee)).collect();

        // Sizes do not depend on values, so each shape is priced before it is filled.
        let cost_at = |first: &[TxOut], rate| {
            let all: Vec<TxOut> = first.iter().chain(&tail).cloned().collect();
            fee(vsize(spends, &all)?, rate)
        };
        let cost = |first: &[TxOut]| cost_at(first, sat_per_vb);
        let keep =
            |value: Amount, script: &ScriptBuf| (value >= dust(script)).then(|| out(value, script));

        let blank = [out(Amount::ZERO, &miner_script), out(Amount::ZERO, &self.second)];
        let refund = self.rest.checked_sub(ruling_cost(Seat::Holder)).ok_or_else(|| {
            DUE.refuses(
                Culprit::Holder,
                title,
                format_args!("a rest that pays the ruling, {}", ruling_cost(Seat::Holder)),
                self.rest,
            )
        })?;
        let with_refund = !self.closes || refund >= dust(&self.second);
        let shape = if with_refund { &blank[..] } else { &blank[..1] };
        let cost_of_all = cost(shape)?;
        // The miner bears the fee, but no more than at the floor where the holder chose the rate.
        let his_cost = match self.ruling {
            Some(fee) if fee.requester == Seat::Holder => cost_at(shape, terms.fees.floor)?,
            _ => cost_of_all,
        };
        let extra = cost_of_all.checked_sub(his_cost).unwrap_or(Amount::ZERO);
        let miner = self
            .due
            .checked_sub(his_cost)
            .and_then(|value| value.checked_sub(ruling_cost(Seat::Miner)))
            .and_then(|value| keep(value, &miner_script));

        let mut outputs = Vec::with_capacity(3);
        match (miner, self.closes) {
            (Some(miner), _) => {
                outputs.push(miner);
                let refund = refund
                    .checked_sub(extra)
                    .filter(|refund| extra == Amount::ZERO || *refund >= dust(&self.second));
                let refund = refund.ok_or_else(|| {
                    DUE.refuses(Culprit::Holder, title, "a rest that pays the fee", self.rest)
                })?;
                if with_refund {
                    outputs.push(out(refund, &self.second));
                }
            }
            // Nor can a miner ask for a ruling that his due does not pay.
            (None, closes) if !closes || ruling_cost(Seat::Miner) > Amount::ZERO => {
                return Err(DUE.refuses(
                    if self.ruling.is_some() { Culprit::Miner } else { Culprit::Sender },
                    title,
                    format_args!("due - fees above {}", dust(&miner_script)),
                    format_args!("{} due", self.due),
                ));
            }
            // The miner's part is left out; the holder bears the fee and gets what it leaves.
            (None, _) => {
                let costs = amount::sum([cost(&blank[1..])?, ruling_cost(Seat::Holder)], title)?;
                let whole = amount::sum([self.due, self.rest], title)?;
                let value = whole.checked_sub(costs).and_then(|value| keep(value, &self.second));
                outputs.push(value.ok_or_else(|| {
                    DUE.refuses(Culprit::Sender, title, format_args!("more than {costs}"), whole)
                })?);
            }
        }
        outputs.extend(tail);
        Ok(outputs)
    }
}

/// The exit of one party alone, after its delays, to the payout script in his record.
pub fn exit(terms: &EscrowTerms, coin: &EscrowCoin, seat: Seat, sat_per_vb: u64) -> Result<Draft> {
    let (title, path, payee) = match seat {
        Seat::Holder => {
            (Title("holder's exit"), Path::HolderExit, terms.reward.holder.payout_script())
        }
        _ => (Title("miner's exit"), Path::MinerExit, terms.reward.miner.payout_script()),
    };
    let spends = vec![Spend {
        outpoint: coin.outpoint,
        prevout: coin.txout(),
        lock: coin.lock.clone(),
        path,
    }];
    let payout = |value| vec![TxOut { value, script_pubkey: payee.clone() }];
    let cost = fee(vsize(&spends, &payout(Amount::ZERO))?, sat_per_vb)?;
    let value = coin.value.checked_sub(cost).ok_or_else(|| {
        DUE.refuses(Culprit::Sender, title, format_args!("more than {cost}"), coin.value)
    })?;
    Draft::new(title, TRUC, 0, spends, payout(value))
}
