//! Which seals a PSBT might spend, as far as files tell, and where they may go.
//!
//! A holder who has withdrawn offers holds his seal under a later number, and no file says how often he
//! did. So an output that might be a seal is compared with those of all numbers that there can be.

use bitcoin::{ScriptBuf, Transaction, TxOut};

use crate::cli::arguments::SealsArguments;
use crate::cli::psbt::SEAL;
use crate::cli::sale::{read_acceptance, read_offer, read_position};
use crate::error::{Culprit, Result};
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::position::coins::{POSTAGE, issued_seal, retirement, transferred_seal};
use crate::flow::position::dossier::MOST_MOVES;
use crate::flow::sale::coins::{present_seal, sold_seal};
use crate::flow::sale::money::refuse_money;
use crate::flow::sale::terms::Held;
use crate::flow::sale::txs::compared;
use crate::id::PositionId;

/// What is known of seals: their scripts, and where each may go.
#[derive(Default)]
struct Known {
    seals: Vec<ScriptBuf>,
    to: Vec<ScriptBuf>,
}

impl Known {
    /// The seals of somebody from a number on, as far as one of `prevouts` is one; each may go to him
    /// under the next number.
    fn held(&mut self, position: PositionId, from: &Held, prevouts: &[TxOut]) -> Result<()> {
        let mut open: Vec<&ScriptBuf> = prevouts
            .iter()
            .filter(|out| out.value == POSTAGE && !self.seals.contains(&out.script_pubkey))
            .map(|out| &out.script_pubkey)
            .collect();
        let Held { record, number, sale } = from;
        for more in 0..=u32::try_from(MOST_MOVES).unwrap_or(u32::MAX) {
            if open.is_empty() {
                break;
            }
            let number = number.saturating_add(more);
            let script = |number| -> Result<ScriptBuf> {
                Ok(transferred_seal(position, number, record, *sale)?.script_pubkey)
            };
            let seal = script(number)?;
            if open.contains(&&seal) {
                open.retain(|other| **other != seal);
                self.seals.push(seal);
                self.to.push(script(number.saturating_add(1))?);
            }
        }
        Ok(())
    }
}

/// Refuses a transaction that spends a seal of the contract, of the position or of the offer as money;
/// answers with a line for each seal that it moves as it should. With offer
/// and acceptance it is their transaction, to the last output.
pub fn check(
    tx: &Transaction,
    prevouts: &[TxOut],
    contract: &EscrowTerms,
    arguments: &SealsArguments,
) -> Result<Vec<String>> {
    let mut known = Known::default();
    let position = contract.tenure.as_ref().map(|tenure| tenure.position);
    if let Some(tenure) = &contract.tenure {
        let (record, sale) = (contract.reward.holder.clone(), Some(contract.id()?));
        let number = tenure.transfer;
        known.held(tenure.position, &Held { record, number, sale }, prevouts)?;
    }
    if let Some(path) = &arguments.position {
        let terms = read_position(path)?;
        known.seals.push(issued_seal(&terms)?.script_pubkey);
        known.to.push(retirement(&terms)?.script_pubkey);
        // The first holder's own, before anybody bought it.
        if let Some(position) = position {
            let held = Held { record: terms.reward.holder.clone(), number: 1, sale: None };
            known.to.push(transferred_seal(position, 1, &held.record, None)?.script_pubkey);
            known.held(position, &held, prevouts)?;
        }
    }
    if let Some(path) = &arguments.offer {
        let offer = read_offer(path)?;
        known.seals.push(present_seal(&offer.offer)?.script_pubkey);
        let Held { record, number, sale } = &offer.offer.seller;
        let number = number.saturating_add(1);
        let held = Held { record: record.clone(), number, sale: *sale };
        // Withdrawn from this offer, it stays his.
        let kept = transferred_seal(offer.offer.position, number, record, *sale)?;
        known.to.push(kept.script_pubkey);
        known.held(offer.offer.position, &held, prevouts)?;
        if let Some(path) = &arguments.acceptance {
            let bargain = compared(&offer, &read_acceptance(path, &offer)?)?;
            let (ours, theirs) = (bargain.exchange.txid(), tx.compute_txid());
            if ours != theirs {
                return Err(SEAL.refuses(Culprit::Sender, "transaction", ours, theirs));
            }
            known.to.push(sold_seal(&offer.offer, &bargain.contract)?.script_pubkey);
        }
    }
    let Known { seals, to } = known;
    refuse_money(tx, prevouts, &seals, &to)?;
    let moved = prevouts.iter().enumerate().filter(|(_, out)| seals.contains(&out.script_pubkey));
    Ok(moved
        .map(|(input, _)| format!("seal      input {input} is one, and is handed on as it should"))
        .collect())
}
