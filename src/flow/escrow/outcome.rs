//! The one number that everybody computes: what certificates, receipts and chain entitle the miner
//! to. States, settlements and rulings all rest on it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bitcoin::ScriptBuf;

use crate::error::{Culprit, Result, Rule};
use crate::facts::Facts;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::escrow::txs::Outcome;
use crate::id::{CertificateDigest, tagged_hash};
use crate::work::evidence::{Evidence, Yardstick};
use crate::work::receipt::{Subject, sealed_height};
use crate::work::verdict::{Measure, Verdict, verdict};

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
    let asked = requested(terms, facts, evidence)?;
    // A request counts for a period if it was receipted before that could be ruled on.
    let asked = asked.is_some_and(|height| terms.ruling_height(period).is_ok_and(|h| height <= h));
    Ok(Outcome { period, earned: verdict.earned(), closes: last || failed || asked })
}

/// The verdict through `period`, period by period: agreed work, credit, installments.
pub fn judge(
    terms: &EscrowTerms,
    facts: &Facts,
    evidence: &Evidence,
    period: u32,
) -> Result<Verdict> {
    // Without a tenure a position's id is that of its terms, so evidence of this position was verified
    // against these. Contracts with one share their position with others.
    let fits = terms.tenure.is_none() && evidence.position() == terms.position()?;
    let yardstick = match evidence.yardstick().filter(|_| fits) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(yardstick(terms)?),
    };
    let measure = Measure {
        yardstick: &yardstick,
        price: terms.price,
        k: usize::from(terms.reward.federation.threshold),
        headers: &facts.headers,
        proofs: &proofs(terms, facts),
    };
    verdict(&measure, period, evidence)
}

/// What evidence of these terms is verified against.
pub fn yardstick(terms: &EscrowTerms) -> Result<Yardstick> {
    Ok(Yardstick { terms: terms.work()?, ruling_keys: terms.reward.federation.ruling_keys() })
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

/// Digests of certificates that confirmed transactions carry, with the lowest height of each.
///
/// Such a transaction has an `OP_RETURN` of the 32 bytes, and pays the miner's payout script beside
/// it: servers do not index `OP_RETURN` outputs, and this is how everybody finds it.
pub fn proofs(terms: &EscrowTerms, facts: &Facts) -> BTreeMap<CertificateDigest, u32> {
    let miner = terms.reward.miner.payout_script();
    let mut proofs = BTreeMap::new();
    for seen in facts.transactions.values() {
        let (Some(height), outputs) = (seen.height, &seen.tx.output) else { continue };
        if !outputs.iter().any(|out| out.script_pubkey == miner) {
            continue;
        }
        for digest in outputs.iter().filter_map(|out| digest_in(&out.script_pubkey)) {
            let known = proofs.entry(digest).or_insert(height);
            *known = height.min(*known);
        }
    }
    proofs
}

/// The script that proves a certificate's digest: `OP_RETURN` and its 32 bytes.
pub fn proof_script(digest: CertificateDigest) -> ScriptBuf {
    ScriptBuf::new_op_return(digest.0)
}

fn digest_in(script: &ScriptBuf) -> Option<CertificateDigest> {
    let digest = CertificateDigest(script.as_bytes().last_chunk::<32>().copied()?);
    (*script == proof_script(digest)).then_some(digest)
}

/// What validators receipt when the miner asks to close. It names the terms: a request in one contract
/// of a position closes no other.
pub fn close_request(terms: &EscrowTerms) -> Result<Subject> {
    let contract = terms.id()?;
    Ok(Subject::Request { digest: tagged_hash("hashmix/close/1", &[contract.as_bytes()]) })
}

/// The height at which k validators had seen the miner's request to close.
fn requested(terms: &EscrowTerms, facts: &Facts, evidence: &Evidence) -> Result<Option<u32>> {
    let federation = &terms.reward.federation;
    let request = close_request(terms)?;
    Ok(sealed_height(
        terms.position()?,
        &request,
        evidence.receipts(&request),
        &federation.ruling_keys(),
        usize::from(federation.threshold),
        &facts.headers,
    ))
}
