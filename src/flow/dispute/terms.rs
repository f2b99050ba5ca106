//! What a dispute is bound by: the spans and the fee in the terms of the sale.

use bitcoin::ScriptBuf;

use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::escrow::txs::RulingFee;
use crate::party::Seat;

/// Last height at which a dispute may open on an escrow output that confirmed at `confirmed`.
pub fn opens_until(terms: &EscrowTerms, confirmed: u32) -> u32 {
    let quiet = terms.holder_exit_height().saturating_sub(terms.delays.quiet);
    quiet.max(confirmed.saturating_add(terms.delays.late_dispute))
}

/// Height from which the federation rules on a dispute that opened at `opened`.
pub fn ruled_from(terms: &EscrowTerms, opened: u32) -> u32 {
    opened.saturating_add(terms.delays.answer)
}

/// The fee that `requester` pays the federation.
pub fn fee(terms: &EscrowTerms, requester: Seat) -> RulingFee {
    RulingFee { requester, amount: terms.fees.ruling, payee: payee(terms) }
}

/// Where the federation is paid.
fn payee(terms: &EscrowTerms) -> ScriptBuf {
    terms.reward.federation.payout_script()
}
