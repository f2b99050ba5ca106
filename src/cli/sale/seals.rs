//! Which seals a PSBT might spend, as far as files tell, and where they may go.

use bitcoin::{ScriptBuf, Transaction, TxOut};

use crate::cli::arguments::SealsArguments;
use crate::cli::psbt::SEAL;
use crate::cli::sale::{read_acceptance, read_offer, read_position};
use crate::error::{Culprit, Result};
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::position::coins::{issued_seal, retirement, transferred_seal};
use crate::flow::sale::coins::{present_seal, sold_seal};
use crate::flow::sale::money::refuse_money;
use crate::flow::sale::txs::compared;

/// Refuses a transaction that spends a seal of the contract, of the position or of the offer as money;
/// answers with a line for each seal that it moves as it should. With offer
/// and acceptance it is their transaction, to the last output.
pub fn check(
    tx: &Transaction,
    prevouts: &[TxOut],
    contract: &EscrowTerms,
    arguments: &SealsArguments,
) -> Result<Vec<String>> {
    let (mut seals, mut to): (Vec<ScriptBuf>, Vec<ScriptBuf>) = (Vec::new(), Vec::new());
    if let Some(tenure) = &contract.tenure {
        let (holder, sale) = (&contract.reward.holder, Some(contract.id()?));
        let seal = |number| transferred_seal(tenure.position, number, holder, sale);
        seals.push(seal(tenure.transfer)?.script_pubkey);
        // Withdrawn from an offer, it stays his, under the next number.
        to.push(seal(tenure.transfer.saturating_add(1))?.script_pubkey);
    }
    if let Some(path) = &arguments.position {
        let terms = read_position(path)?;
        seals.push(issued_seal(&terms)?.script_pubkey);
        to.push(retirement(&terms)?.script_pubkey);
    }
    if let Some(path) = &arguments.offer {
        let offer = read_offer(path)?;
        seals.push(present_seal(&offer.offer)?.script_pubkey);
        if let Some(path) = &arguments.acceptance {
            let bargain = compared(&offer, &read_acceptance(path, &offer)?)?;
            let (ours, theirs) = (bargain.exchange.txid(), tx.compute_txid());
            if ours != theirs {
                return Err(SEAL.refuses(Culprit::Sender, "transaction", ours, theirs));
            }
            to.push(sold_seal(&offer.offer, &bargain.contract)?.script_pubkey);
        }
    }
    refuse_money(tx, prevouts, &seals, &to)?;
    let moved = prevouts.iter().enumerate().filter(|(_, out)| seals.contains(&out.script_pubkey));
    Ok(moved
        .map(|(input, _)| format!("seal      input {input} is one, and is handed on as it should"))
        .collect())
}
