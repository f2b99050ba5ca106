//! The outputs that a sale moves: the seal as it is and as it will be, the escrow that a resale takes
//! over, the buyer's coins; and what the chain must say of them.

use std::collections::BTreeSet;

use bitcoin::{OutPoint, ScriptBuf, Txid};

use crate::error::{Culprit, Result, Rule};
use crate::facts::Facts;
use crate::flow::escrow;
use crate::flow::escrow::coins::{EscrowCoin, Progress};
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::position::coins::{POSTAGE, issued_seal, transferred_seal};
use crate::flow::sale::terms::{AcceptanceBody, Held, OfferBody, RESALE, Resale};
use crate::id::PositionId;
use crate::script::seal::SealLock;
use crate::tx::exchange::coin_weight;

/// An offer has an end.
pub const EXPIRED: Rule = Rule::new(
    "sale-expired",
    "a sale is signed while the next block is one in which the offer holds",
    "ask the seller for a new offer",
);
/// A resale pays the miner what he can have.
pub const LAST: Rule = Rule::new(
    "sale-last-period",
    "a resale settles through the last period that can be ruled on, when its offer is made and when validators are asked for it",
    "offer again, with the first period behind that one",
);
/// The seal is where the offer says.
pub const SEAL_MOVED: Rule = Rule::new(
    "sale-seal-moved",
    "the seal that is offered is confirmed, unspent, and the seller's",
    "do not pay: look in the position's dossier who holds it now",
);
/// The escrow that a resale takes over is where the offer says.
pub const ESCROW_MOVED: Rule = Rule::new(
    "sale-escrow-moved",
    "the escrow that a resale takes over is confirmed, unspent, and holds what the offer says",
    "ask the seller for a new offer after the settlement",
);
/// The buyer's coins are there.
pub const COIN: Rule = Rule::new(
    "sale-coin",
    "each coin that pays is confirmed, mature, unspent, and what the acceptance says",
    "wait for confirmations, or pay with other coins",
);
/// A coin pays once.
pub const COIN_TWICE: Rule = Rule::new(
    "sale-coin-twice",
    "1 to 100 coins pay, each of them once, and none is the seal or the escrow",
    "name each coin once",
);

/// Most coins in one acceptance.
const MOST_COINS: usize = 100;

/// The seal as somebody holds it.
pub fn held_seal(
    terms: &crate::flow::position::terms::PositionTerms,
    position: PositionId,
    held: &Held,
) -> Result<SealLock> {
    match held.number {
        0 => issued_seal(terms),
        number => transferred_seal(position, number, &held.record, held.sale),
    }
}

/// The seal that an offer spends.
pub fn present_seal(offer: &OfferBody) -> Result<SealLock> {
    held_seal(&offer.terms, offer.position, &offer.seller)
}

/// The seal that the sale makes: the new holder's, under the terms of his contract.
pub fn sold_seal(offer: &OfferBody, contract: &EscrowTerms) -> Result<SealLock> {
    let (position, holder) = (offer.position, &contract.reward.holder);
    transferred_seal(position, offer.transfer(), holder, Some(contract.id()?))
}

/// The escrow output that a resale takes over, as its offer states it.
pub fn old_escrow(resale: &Resale) -> Result<EscrowCoin> {
    Ok(EscrowCoin {
        outpoint: resale.escrow,
        index: resale.index,
        value: resale.value,
        height: None,
        lock: escrow::coins::lock(&resale.contract, resale.index)?,
    })
}

/// The scripts whose histories say whether the sale can be made.
pub fn watched(offer: &OfferBody, acceptance: Option<&AcceptanceBody>) -> Result<Vec<ScriptBuf>> {
    let mut scripts = vec![present_seal(offer)?.script_pubkey];
    if let Some(resale) = &offer.resale {
        let policy = escrow::coins::policy(&resale.contract)?;
        let (variant, seats) = (resale.contract.reward.variant, resale.contract.reward.seats());
        let indices = 0..=resale.index.saturating_add(1);
        let locks = crate::script::lock::Lock::series(&policy, variant, seats, indices)?;
        scripts.extend(locks.into_iter().map(|lock| lock.script_pubkey));
    }
    let coins = acceptance.map(|body| body.coins.as_slice()).unwrap_or_default();
    scripts.extend(coins.iter().map(|coin| coin.txout.script_pubkey.clone()));
    scripts.sort();
    scripts.dedup();
    Ok(scripts)
}

/// The transaction that waits to move the seal of an offer, if there is one: nobody signs before it is in
/// a block, or another one in its place.
pub fn waits(offer: &OfferBody, facts: &Facts) -> Option<Txid> {
    let spender = facts.spender(offer.seal)?;
    let seen = facts.transactions.get(&spender)?;
    seen.height.is_none().then_some(spender)
}

/// Refuses an offer that the chain does not bear out: over, its seal or its escrow moved, or a period
/// settled that is not deep enough yet. What only waits to move the seal decides nothing ([`waits`]).
pub fn check_offer(offer: &OfferBody, facts: &Facts) -> Result<()> {
    check_holds(offer, facts)?;
    check_there(offer, facts)
}

/// Refuses an offer that is over.
pub fn check_holds(offer: &OfferBody, facts: &Facts) -> Result<()> {
    let next = facts.tip().saturating_add(1);
    if next <= offer.expires {
        return Ok(());
    }
    let expected = format_args!("a next block up to height {}", offer.expires).to_string();
    Err(EXPIRED.refuses(offer.by(), "offer", expected, format_args!("height {next}")))
}

/// Refuses a resale that settles through an earlier period than it could. This is asked when an offer
/// is made, and when validators are asked to sign it. While an offer is open, further periods ripen;
/// the miner loses nothing by that, for the new contract pays for every period behind the one that is
/// settled, out of the same escrow and by the same certificates. But a holder who chose an old period
/// on purpose would keep him waiting for what he could have at once, and validators refuse it.
pub fn check_last(offer: &OfferBody, tip: u32) -> Result<()> {
    let Some(resale) = &offer.resale else { return Ok(()) };
    let later = resale.outcome.period.saturating_add(1);
    match resale.contract.ruling_height(later) {
        Ok(ripe) if tip >= ripe => {
            let expected = format_args!("period {} or later", later.saturating_add(1)).to_string();
            let found = format_args!("period {later}, and a tip at height {tip}").to_string();
            Err(LAST.refuses(Culprit::Holder, "offer, period settled", expected, found))
        }
        // The last one of the term has none behind it; what ends is closed, and never sold.
        _ => Ok(()),
    }
}

/// Refuses an offer whose seal or escrow is not where it says, or whose period is not deep enough.
pub fn check_there(offer: &OfferBody, facts: &Facts) -> Result<()> {
    let by = offer.by();
    let lock = present_seal(offer)?;
    let seal = facts.coins(&lock.script_pubkey).into_iter().find(|coin| {
        coin.outpoint == offer.seal && coin.txout.value == POSTAGE && coin.height.is_some()
    });
    let refuse = |found: &dyn core::fmt::Display| {
        Err(SEAL_MOVED.refuses(by, "offer, seal", offer.seal, found))
    };
    let waiting = waits(offer, facts);
    match seal.map(|seal| seal.spender) {
        Some(None) => {}
        Some(spender) if spender == waiting => {}
        Some(Some(spender)) => return refuse(&format_args!("spent by {spender}")),
        None => return refuse(&"no confirmed output of the seller's seal there"),
    }
    let Some(resale) = &offer.resale else { return Ok(()) };
    let ripe = resale.contract.ruling_height(resale.outcome.period)?;
    if facts.tip() < ripe {
        let place = format_args!("offer, period {}", resale.outcome.period.saturating_add(1));
        let expected = format_args!("a tip from height {ripe} on").to_string();
        return Err(RESALE.refuses(by, place.to_string(), expected, facts.tip()));
    }
    let stated = old_escrow(resale)?;
    let refuse = |found: &dyn core::fmt::Display| {
        let expected = format_args!("{}, {}", stated.outpoint, stated.value).to_string();
        Err(ESCROW_MOVED.refuses(by, "offer, escrow", expected, found))
    };
    match escrow::coins::progress(&resale.contract, facts)? {
        Progress::Open(coin) if coin.height.is_none() => refuse(&"an unconfirmed settlement"),
        Progress::Open(coin)
            if (coin.outpoint, coin.index, coin.value)
                == (stated.outpoint, stated.index, stated.value) =>
        {
            Ok(())
        }
        Progress::Open(coin) => refuse(&format_args!("{}, {}", coin.outpoint, coin.value)),
        Progress::Ended { by, .. } if waiting == Some(by) => Ok(()),
        Progress::Ended { by, .. } => refuse(&format_args!("ended by {by}")),
        Progress::Unfunded => refuse(&"no funding"),
    }
}

/// Refuses coins that an exchange cannot spend, by what the acceptance itself says.
pub fn check_kinds(offer: &OfferBody, acceptance: &AcceptanceBody) -> Result<()> {
    let taken = offer.resale.as_ref().map(|resale| resale.escrow);
    let mut seen: BTreeSet<OutPoint> = [offer.seal].into_iter().chain(taken).collect();
    if acceptance.coins.is_empty() || acceptance.coins.len() > MOST_COINS {
        let found = acceptance.coins.len();
        let expected = format_args!("1 to {MOST_COINS} coins").to_string();
        return Err(COIN_TWICE.refuses(Culprit::Sender, "acceptance, coins", expected, found));
    }
    for coin in &acceptance.coins {
        if !seen.insert(coin.outpoint) {
            let place = "acceptance, coins";
            return Err(COIN_TWICE.refuses(Culprit::Sender, place, "another coin", coin.outpoint));
        }
        coin_weight(&coin.txout.script_pubkey)?;
    }
    Ok(())
}

/// Refuses coins that the chain does not bear out.
pub fn check_coins(acceptance: &AcceptanceBody, facts: &Facts) -> Result<()> {
    for coin in &acceptance.coins {
        let refuse = |found: &dyn core::fmt::Display| {
            let place = format_args!("acceptance, coin {}", coin.outpoint).to_string();
            Err(COIN.refuses(Culprit::Sender, place, "confirmed, mature and unspent", found))
        };
        let known = facts.coins(&coin.txout.script_pubkey);
        let Some(found) = known.iter().find(|known| known.outpoint == coin.outpoint) else {
            return refuse(&"no such output of that script");
        };
        if found.txout != coin.txout {
            return refuse(&format_args!("{} sat", found.txout.value.to_sat()));
        }
        if found.height.is_none() {
            return refuse(&"unconfirmed");
        }
        if !found.is_mature(facts.tip()) {
            return refuse(&"an immature coinbase");
        }
        if let Some(spender) = found.spender {
            return refuse(&format_args!("spent by {spender}"));
        }
    }
    Ok(())
}
