//! `hashmix contract status`: how a contract stands, seen from a party's seat.
//!
//! Nothing is read in: letters that wait are counted, and a step reads them.

use bitcoin::Amount;

use crate::amount;
use crate::cli::arguments::SittingArguments;
use crate::cli::contract::{Sitting, telling};
use crate::error::Result;
use crate::facts::Facts;
use crate::flow::Contract;
use crate::flow::dispute::terms::ruled_from;
use crate::flow::escrow::coins::{EscrowCoin, Progress};
use crate::flow::escrow::outcome::outcome;
use crate::flow::escrow::state::last_ripe;
use crate::flow::reward;
use crate::validator::standing::{Standing, Told};
use crate::work::receipt::Subject;

/// The whole standing, in lines.
pub(super) fn status(arguments: &SittingArguments) -> Result<Vec<String>> {
    let mut sitting = Sitting::open(arguments)?;
    let (seat, number) = (sitting.engine.seat(), sitting.number);
    let facts = sitting.engine.facts()?;
    let mut told = Told::default();
    for word in sitting.engine_words()? {
        told.take(&word, seat)?;
    }
    let unread = sitting.letters.letters()?.len();
    let contract = sitting.engine.contract();
    let standing = Standing::of(contract, &facts, seat, &told)?;
    let mut lines = vec![
        format!("contract  {}", contract.id()),
        format!("seat      {seat}, record {number}"),
        format!("tip       height {}", facts.tip()),
        format!("phase     {}", format!("{:?}", standing.phase).to_lowercase()),
    ];
    match contract.locked().progress(&facts)? {
        Progress::Unfunded => lines.push(format!(
            "escrow    waits for {} sat, before height {}",
            contract.terms().price.to_sat(),
            contract.terms().calendar().begin()
        )),
        Progress::Open(coin) => open(contract, &facts, &coin, &mut lines)?,
        Progress::Ended { by, height } => lines.push(match height {
            Some(height) => format!("escrow    ended by {by} at height {height}"),
            None => format!("escrow    ended by {by}, which waits for a block"),
        }),
    }
    lines.push(sealed(contract));
    lines.push(rewards(contract, &facts)?);
    for id in &standing.disputes {
        let Some(opening) = contract.dispute().opening(id) else { continue };
        let opened = contract.dispute().opened_at(contract.locked(), &facts, opening)?;
        let heard = opened.map_or("not heard by enough validators yet".to_owned(), |height| {
            format!("ruled on from height {}", ruled_from(contract.terms(), height))
        });
        let (period, by) = (opening.period.saturating_add(1), opening.requester);
        lines.push(format!("dispute   about period {period}, asked by the {by}: {heard}"));
    }
    if unread > 0 {
        lines.push(format!("letters   {unread} not read: hashmix contract step reads them"));
    }
    lines.extend(telling::next(contract, &facts, seat)?);
    Ok(lines)
}

/// What the escrow holds, what was paid, earned, signed, and who can take it alone.
fn open(
    contract: &Contract,
    facts: &Facts,
    coin: &EscrowCoin,
    lines: &mut Vec<String>,
) -> Result<()> {
    let terms = contract.locked();
    let depth = match coin.height {
        Some(height) => format!("since height {height}, depth {}", coin.depth(facts.tip())),
        None => "waits for a block".to_owned(),
    };
    let (value, index) = (coin.value.to_sat(), coin.index);
    lines.push(format!("escrow    {value} sat, index {index}, {}, {depth}", coin.outpoint));
    let paid = terms.price.checked_sub(coin.value).unwrap_or(Amount::ZERO);
    lines.push(format!("paid      {} sat of {} sat", paid.to_sat(), terms.price.to_sat()));
    lines.push(match last_ripe(terms, facts) {
        Some(period) => {
            let due = outcome(terms, facts, contract.evidence(), period)?;
            let closes = if due.closes { "; the next settlement closes the contract" } else { "" };
            let (earned, period) = (due.earned.to_sat(), period.saturating_add(1));
            format!("earned    {earned} sat through period {period}, by what is known here{closes}")
        }
        None => {
            let first = terms.first_period();
            let height = terms.ruling_height(first)?;
            let period = first.saturating_add(1);
            format!("earned    period {period} can be settled from height {height}")
        }
    });
    lines.push(match contract.escrow().last_state(coin.outpoint) {
        Some((ask, _)) => {
            let (earned, period) = (ask.outcome.earned.to_sat(), ask.outcome.period);
            let period = period.saturating_add(1);
            format!("signed    {earned} sat through period {period}, by the holder")
        }
        None => "signed    no state by the holder on this output".to_owned(),
    });
    lines.push(format!(
        "alone     the holder from height {}, the miner from height {}",
        terms.holder_exit_height(),
        terms.miner_exit_height()
    ));
    Ok(())
}

/// Certificates, and how many of them have receipts of enough validators.
fn sealed(contract: &Contract) -> String {
    let evidence = contract.evidence();
    let k = usize::from(contract.terms().reward.federation.threshold);
    let receipted = evidence.digests().filter(|(digest, sealed)| {
        let subject = Subject::Certificate { slice: sealed.certificate.slice, digest: *digest };
        let mut by: Vec<u8> =
            evidence.receipts(&subject).iter().map(|receipt| receipt.validator).collect();
        by.sort_unstable();
        by.dedup();
        by.len() >= k
    });
    let (receipted, all) = (receipted.count(), evidence.certificates().len());
    format!("sealed    {all} certificates, {receipted} of them with receipts of {k} validators")
}

/// Rewards that can be swept, and those that mature.
fn rewards(contract: &Contract, facts: &Facts) -> Result<String> {
    let terms = contract.terms();
    let ripe = reward::state::sweepable(terms, facts)?;
    let lock = reward::coins::lock(&terms.reward)?;
    let all = facts.coins(&lock.script_pubkey);
    let left = all.iter().filter(|coin| coin.spender.is_none() && coin.height.is_some());
    let left = left.count().saturating_sub(ripe.len());
    let value = amount::sum(ripe.iter().map(|coin| coin.txout.value), "rewards")?;
    Ok(format!(
        "rewards   {} sat in {} outputs can be swept, {left} more outputs mature",
        value.to_sat(),
        ripe.len()
    ))
}
