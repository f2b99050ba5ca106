//! The one number that everybody computes: what certificates, receipts and chain entitle the miner
//! to. States, settlements and rulings all rest on it.

use crate::error::{Culprit, Result, Rule};
use crate::facts::Facts;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::escrow::txs::Outcome;
use crate::work::verdict::{Evidence, Verdict, verdict};

/// What is settled is what the evidence says.
pub const VERDICT: Rule = Rule::new(
    "escrow-verdict",
    "a settlement pays what certificates and chain entitle the miner to",
    "exchange certificates and receipts, then ask again",
);

/// The outcome through `period`, from the evidence and the active chain alone.
pub fn outcome(
    terms: &EscrowTerms,
    facts: &Facts,
    evidence: &Evidence,
    period: u32,
) -> Result<Outcome> {
    let verdict = judge(terms, facts, evidence, period)?;
    let last = period.saturating_add(1) >= terms.delivery.periods;
    let failed = verdict.close_after.is_some_and(|close| close <= period);
    Ok(Outcome { period, earned: verdict.earned(), closes: last || failed })
}

/// The verdict through `period`, period by period: agreed work, credit, installments.
pub fn judge(
    terms: &EscrowTerms,
    facts: &Facts,
    evidence: &Evidence,
    period: u32,
) -> Result<Verdict> {
    let federation = &terms.reward.federation;
    verdict(
        &terms.work()?,
        terms.price,
        period,
        evidence,
        &federation.ruling_keys(),
        usize::from(federation.threshold),
        &facts.headers,
    )
}

/// Refuses an outcome that differs from our own, before it is signed in a joint settlement.
pub fn check_outcome(
    terms: &EscrowTerms,
    facts: &Facts,
    evidence: &Evidence,
    theirs: &Outcome,
) -> Result<()> {
    let ours = outcome(terms, facts, evidence, theirs.period)?;
    if ours == *theirs {
        return Ok(());
    }
    Err(VERDICT.refuses(
        Culprit::Miner,
        format_args!("settlement through period {}", theirs.period.saturating_add(1)),
        format_args!("{ours:?}"),
        format_args!("{theirs:?}"),
    ))
}
