//! How a sale ends: `hashmix sale broadcast` sends it, `sale release` gives it up.

use bitcoin::Transaction;

use crate::cli::Done;
use crate::cli::arguments::{BroadcastArguments, HeardArguments, ReleaseArguments};
use crate::cli::sale::registering::once;
use crate::cli::sale::title::Telling;
use crate::cli::sale::words::heard;
use crate::cli::sale::{again, follows, idle, read_offer, trader};
use crate::error::Result;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::position::dossier::Transfer;
use crate::flow::sale::consent::Party;
use crate::flow::sale::state::{Effect, State};
use crate::flow::sale::terms::Guard;

/// Sends a sale that everybody has signed, or says where it is.
pub(super) fn broadcast(arguments: &BroadcastArguments) -> Result<Done> {
    let HeardArguments { offer, words, home, server } = &arguments.heard;
    let offer = read_offer(offer)?;
    let mut trader = trader(home, &server.electrum)?;
    let mut lines = again(&trader);
    let state = heard(&mut trader, &offer, words)?;
    let sent = |tx: &Transaction, contract: &EscrowTerms| -> Result<[String; 3]> {
        let txid = tx.compute_txid();
        Ok([
            format!("sent     {txid} ({} vB)", tx.vsize()),
            format!("seal     {txid}:0, transfer {}", offer.offer.transfer()),
            format!("contract {}", contract.id()?),
        ])
    };
    let contract = state.bargain()?.contract;
    // What does not fit into the dossier is known before anything is sent.
    let telling = Telling::of(arguments.dossier.as_deref(), Transfer::of(&contract))?;
    let facts = trader.facts(&state)?;
    match state.next(&facts, Party::Buyer)? {
        Effect::Sent(txid, Some(height)) => {
            lines.push(format!("sent     {txid} already, at {height}"));
        }
        Effect::Sent(txid, None) => {
            let again = match state.turn().is_empty() {
                true => {
                    trader.broadcast_at(&state, Party::Buyer, &facts).map(|_| "; sent again")?
                }
                false => "",
            };
            lines.push(format!("sent     {txid} already, in the mempool{again}"));
        }
        Effect::Overdue { lacks, .. } if arguments.overdue && bound(&state, &lacks) => {
            let tx = trader.broadcast_overdue(&state, &facts)?;
            lines.extend(sent(&tx, &contract)?);
            lines.push(format!(
                "careful  the notice was reckoned from height {}: whoever mines has to know at once",
                offer.offer.expires
            ));
        }
        Effect::Overdue { lacks, over } => {
            lines.extend(overdue(&state, &lacks));
            return Ok(Done { lines, but: Some(over) });
        }
        _ => {
            let tx = trader.broadcast_at(&state, Party::Buyer, &facts)?;
            lines.extend(sent(&tx, &contract)?);
        }
    }
    lines.push(format!(
        "next     register it at each validator {}: hashmix sale register",
        once(&offer.offer)
    ));
    lines.push(follows(&offer.offer));
    lines.extend(telling.map(Telling::write).transpose()?);
    Ok(lines.into())
}

/// Whether validators have signed all of a resale: then they sign no other one of that escrow's output.
fn bound(state: &State, lacks: &[Party]) -> bool {
    state.offer().offer.guard() == Guard::Validators && lacks.is_empty()
}

/// What an offer that is over leaves behind, and what each of those who signed does about it.
fn overdue(state: &State, lacks: &[Party]) -> Vec<String> {
    let until = state.offer().offer.expires;
    let who: Vec<String> = lacks.iter().map(Party::to_string).collect();
    let can = match who.is_empty() {
        true => "everybody has signed, so anybody who has the signatures".to_owned(),
        false => format!("it lacks a signature of the {}, who", who.join(" or the ")),
    };
    let mut lines = vec![format!(
        "overdue  the offer held until height {until}; {can} can send it until its seal, its escrow or a coin is spent"
    )];
    if bound(state, lacks) {
        lines.push(
            "bound    validators sign no other resale of this escrow: send it with --overdue, or sell again after a settlement"
                .to_owned(),
        );
    }
    for consent in state.consents() {
        let advice = match consent.by {
            Party::Seller => "to be sure, move the seal: hashmix sale withdraw",
            Party::Buyer => "to be sure, spend your coins: hashmix sale release --spend",
            Party::Miner => {
                "watch the seal; if it is sold all the same, name the new terms in your gateway at once"
            }
            Party::Validator(_) => continue,
        };
        lines.push(format!("{:<8} {advice}", consent.by.to_string()));
    }
    lines
}

/// Gives the coins of a sale back that nothing came of.
pub(super) fn release(arguments: &ReleaseArguments) -> Result<Vec<String>> {
    let HeardArguments { offer, words, home, server } = &arguments.heard;
    let offer = read_offer(offer)?;
    // To open is to send what was not: who gives up wants the contrary.
    let mut trader = idle(home, &server.electrum)?;
    let state = heard(&mut trader, &offer, words)?;
    let Some(acceptance) = state.acceptance() else {
        return Ok(vec!["nothing is reserved for this offer".to_owned()]);
    };
    if let Some(rate) = arguments.fee_rate.filter(|_| arguments.spend) {
        let tx = trader.reclaim(&state, rate)?;
        return Ok(vec![
            format!("spent     {} coins to yourself by {}", tx.input.len(), tx.compute_txid()),
            "next      once it is in a block the sale can never be made".to_owned(),
        ]);
    }
    let coins = acceptance.acceptance.coins.len();
    if !arguments.anyway {
        trader.release(&state)?;
        return Ok(vec![format!("released  {coins} coins")]);
    }
    trader.give_up(acceptance)?;
    let mut lines = vec![format!("released  {coins} coins")];
    if state.consents().iter().any(|consent| consent.by == Party::Buyer) {
        lines.push(
            "careful   you have signed: spend one of them, or the sale can still be sent"
                .to_owned(),
        );
    }
    Ok(lines)
}
