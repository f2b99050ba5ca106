//! A buyer whose coins lie in another wallet: he names them, and that wallet signs.
//!
//! Nothing is reserved: whoever spends the coins elsewhere makes the sale void, and loses nothing. What
//! comes back is a PSBT; of it no more is taken than what signs his coins, and each is verified.

use bitcoin::{OutPoint, Psbt, ScriptBuf, Witness};

use super::free::NAMED;
use super::{Trader, check_signer, untimely};
use crate::error::{Culprit, Result, Rule};
use crate::flow::sale::coins::{COIN, check_coins};
use crate::flow::sale::consent::{Consent, Party, Piece};
use crate::flow::sale::state::{Effect, State};
use crate::flow::sale::terms::{Acceptance, Offer, Paying};
use crate::flow::sale::txs::Purse;
use crate::party::Record;
use crate::sign::software::SoftwareSigner;

/// A PSBT that comes back is of this sale.
pub const FOREIGN: Rule = Rule::new(
    "sale-foreign",
    "a PSBT that comes back from another wallet is of this sale's transaction, and signs each of the coins that pay",
    "let the wallet of the coins sign the PSBT that the acceptance made",
);

impl Trader {
    /// Accepts an offer with coins of another wallet (P2TR or P2WPKH), which the chain has to bear out.
    /// Asked again, it answers the same acceptance.
    pub fn accept_with(
        &mut self,
        offer: &Offer,
        record: Record,
        signer: &SoftwareSigner,
        sat_per_vb: u64,
        (coins, change): (&[OutPoint], &ScriptBuf),
    ) -> Result<Acceptance> {
        let state = self.sale(offer)?;
        if let Some(held) = state.acceptance() {
            return self.answered(held);
        }
        check_signer(&record, signer)?;
        let body = &offer.offer;
        self.check_open(body)?;
        let mut paying = Vec::with_capacity(coins.len());
        for outpoint in coins {
            // Its hash proves what it pays.
            let tx = self.chain.electrum().transaction(outpoint.txid)?;
            let vout = usize::try_from(outpoint.vout).unwrap_or(usize::MAX);
            let txout = tx.output.get(vout).cloned().ok_or_else(|| {
                COIN.misused(format_args!("coin {outpoint}"), "an output", tx.output.len())
            })?;
            paying.push(Paying { outpoint: *outpoint, txout });
        }
        let purse = Purse { coins: &paying, change, sat_per_vb };
        let made = Self::drafted(&state, record.clone(), purse)?;
        check_coins(&made, &self.facts_of(body, Some(&made))?)?;
        self.accepted(state, record, signer, purse, NAMED)
    }

    /// Takes the buyer's signatures out of a PSBT that another wallet has signed; stored before this
    /// returns, like every consent.
    pub fn import(
        &mut self,
        state: &mut State,
        signer: &SoftwareSigner,
        psbt: &Psbt,
    ) -> Result<Consent> {
        if let Some(held) = state.consents().iter().find(|consent| consent.by == Party::Buyer) {
            return Ok(held.clone());
        }
        let facts = self.facts(state)?;
        let inputs = match state.next(&facts, Party::Buyer)? {
            Effect::Sign(inputs) => inputs,
            Effect::Void(error) | Effect::Overdue { over: error, .. } => return Err(error),
            other => return Err(untimely(Party::Buyer, &other)),
        };
        let Some(acceptance) = state.acceptance() else {
            return Err(untimely(Party::Buyer, &Effect::Wait("for a buyer".to_owned())));
        };
        check_signer(&acceptance.acceptance.holder, signer)?;
        self.check_kept(acceptance)?;
        let acceptance = acceptance.acceptance.id()?;
        let (ours, theirs) = (state.bargain()?.exchange.txid(), psbt.unsigned_tx.compute_txid());
        if ours != theirs {
            return Err(FOREIGN.refuses(Culprit::Sender, "PSBT", ours, theirs));
        }
        let mut pieces = Vec::with_capacity(inputs.len());
        for input in inputs {
            let witness = psbt.inputs.get(input).and_then(witness).ok_or_else(|| {
                let place = format_args!("PSBT, input {input}").to_string();
                FOREIGN.refuses(Culprit::Sender, place, "a signature of its coin", "none")
            })?;
            pieces.push(Piece { input: u32::try_from(input).unwrap_or(u32::MAX), witness });
        }
        self.consented(state, Party::Buyer, acceptance, pieces)
    }
}

/// What signs a coin: finished, or as a device leaves it.
fn witness(input: &bitcoin::psbt::Input) -> Option<Witness> {
    if let Some(witness) = &input.final_script_witness {
        return Some(witness.clone());
    }
    if let Some(signature) = &input.tap_key_sig {
        return Some(Witness::p2tr_key_spend(signature));
    }
    let (key, signature) = input.partial_sigs.first_key_value()?;
    let only = input.partial_sigs.len() == 1;
    only.then(|| Witness::from_slice(&[signature.to_vec(), key.to_bytes()]))
}
