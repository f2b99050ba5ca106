//! `hashmix sale explain`: an offer in the words that people decide by.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use bitcoin::Amount;

use crate::cli::arguments::{DossierArguments, ExplainArguments};
use crate::cli::odds;
use crate::cli::position::reading::offered;
use crate::cli::sale::title::said;
use crate::cli::sale::{quoted, read_offer};
use crate::cli::units::hashes;
use crate::error::Result;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::sale::terms::{Guard, OfferBody};
use crate::work::agreement::BLOCK_SECONDS;

const DAY: u64 = 86_400;
/// What fixed-point numbers below are counted in.
const ONE: u128 = 1_000_000_000_000;

/// The offer in words. With the tip's height, heights become dates; with a dossier and a server it is
/// proven that the seller holds what he offers, or refused.
pub fn explain(arguments: &ExplainArguments) -> Result<Vec<String>> {
    let offer = read_offer(&arguments.file)?;
    let body = &offer.offer;
    let contract = body.as_if_kept()?;
    let (mut height, title) = (arguments.height, &arguments.title);
    let seller = match title.dossier.as_ref().zip(arguments.electrum.as_ref()) {
        Some((dossier, electrum)) => {
            let (electrum, home) = (electrum.clone(), arguments.home.clone());
            let by = DossierArguments { electrum, home, federation: title.federation };
            let proof = offered(&by, dossier, body)?;
            height = Some(proof.tip);
            said(body, &proof.dossier, &proof.title, title.federation)?
        }
        None => vec![
            format!(
                "issuer    federation {}: compare it with the one you trust",
                body.terms.issuer.id()?
            ),
            "seller    whether he holds it nobody has proven here: name --dossier and --electrum"
                .to_owned(),
        ],
    };
    let when = When { height, now: now() };
    let mut lines =
        vec![format!("offer     {}", body.id()?), format!("position  {}", body.position)];
    lines.extend(seller);
    lines.extend([String::new(), "What you pay and get".to_owned()]);
    pays(body, &contract, &mut lines)?;
    gets(body, &contract, &when, &mut lines);
    lines.push(String::new());
    lines.push("If something goes wrong".to_owned());
    troubles(body, &contract, &when, &mut lines);
    lines.push(String::new());
    lines.push("Odds".to_owned());
    lines.push(found(body, &contract, arguments.network_rate));
    lines.extend(odds::summary(&contract.work()?));
    lines.extend([String::new(), "What you type if you want it".to_owned()]);
    typed(body, arguments, &mut lines)?;
    Ok(lines)
}

/// The buyer's next commands, with all that the offer fixes; in capitals what is his to choose.
fn typed(body: &OfferBody, arguments: &ExplainArguments, lines: &mut Vec<String>) -> Result<()> {
    let reward = &body.terms.reward;
    let (network, issuer) = (reward.network, body.terms.issuer.id()?);
    let shown = |path: &Path| quoted(&path.to_string_lossy());
    let dossier = arguments.title.dossier.as_deref().map_or("DOSSIER".to_owned(), shown);
    let federation = arguments.title.federation;
    let electrum = arguments.electrum.as_deref().map_or("URL".to_owned(), quoted);
    let fees = &body.terms.fees;
    lines.extend([
        "Make your record; the contract's name has to be this one, letter by letter:".to_owned(),
        format!(
            "  hashmix record new --role holder --contract {} --network {network} --seed HOME/seed --number N --payout ADDRESS --out record.json",
            quoted(&reward.contract)
        ),
        "then accept, with the same number N, one that you have never used:".to_owned(),
        format!(
            "  hashmix sale accept {} --record record.json --dossier {dossier} --federation {} --home HOME --network {network} --electrum {electrum} --number N --fee-rate RATE --out acceptance.json",
            shown(&arguments.file),
            federation.map_or("ID".to_owned(), |id| id.to_string()),
        ),
        format!("HOME is your wallet's folder, RATE {} to {} sat/vB.", fees.floor, fees.cap),
    ]);
    if federation.is_none() {
        lines.push(format!(
            "ID is the federation that you trust; the offer names {issuer}: compare, do not copy."
        ));
    }
    Ok(())
}

fn pays(body: &OfferBody, contract: &EscrowTerms, lines: &mut Vec<String>) -> Result<()> {
    let fees = &contract.fees;
    let price = btc(body.price);
    match &body.resale {
        None => lines.push(format!(
            "You pay {price} into escrow. Nobody can take it alone; the miner earns it period by period."
        )),
        Some(resale) => {
            let taken = resale.taken_over()?;
            lines.push(format!("You pay {price} to the seller. It is his at once."));
            lines.push(format!(
                "You take over the escrow: {} of it go to the miner, for periods through {}; {} stay locked for you.",
                btc(taken.due),
                resale.outcome.period.saturating_add(1),
                btc(taken.rest)
            ));
        }
    }
    lines.push(format!(
        "You pay the transaction's fee too: 255 vB for a first sale, 457 vB for a resale with one coin of yours, at {} to {} sat/vB.",
        fees.floor, fees.cap
    ));
    Ok(())
}

fn gets(body: &OfferBody, contract: &EscrowTerms, when: &When, lines: &mut Vec<String>) {
    let (delivery, calendar) = (&contract.delivery, contract.calendar());
    let from = body.rewarded_from();
    let (periods, begin) = (delivery.periods.saturating_sub(from), body.period_start(from));
    lines.push(format!(
        "You get the rewards of {} a second, at {}.{:02} J/TH, for {periods} periods of {} blocks: {} of every 100 sat that found blocks pay for it, from height {begin} ({}) to {} ({}).",
        hashes(delivery.rate.into()),
        body.terms.efficiency / 100,
        body.terms.efficiency % 100,
        delivery.period,
        100u32.saturating_sub(contract.reward.service_ppm.div_ceil(10_000)),
        when.at(begin),
        calendar.end(),
        when.at(calendar.end()),
    ));
    lines.push(format!(
        "The miner is paid about {} a period, for work that he proves and for nothing else.",
        btc(contract.installment(body.first))
    ));
    if begin > calendar.begin() {
        lines.push(format!(
            "Until height {begin} coinbases still pay the holder before: in periods {} to {from}, {} in number, your escrow pays the miner for work whose rewards are not yours.",
            body.first.saturating_add(1),
            from.saturating_sub(body.first)
        ));
    }
    lines.push(format!(
        "The offer holds until height {} ({}). If it is not in a block by then, take your coins back by spending one of them; the seller withdraws.",
        body.expires,
        when.at(body.expires)
    ));
}

fn troubles(body: &OfferBody, contract: &EscrowTerms, when: &When, lines: &mut Vec<String>) {
    let federation = &contract.reward.federation;
    let (k, n) = (federation.threshold, federation.validators.len());
    let (t, ty) = (contract.holder_exit_height(), contract.miner_exit_height());
    let window = contract.delivery.window;
    lines.push(format!(
        "If the miner stops, he is not paid. A window of {window} periods below half of what is agreed ends the contract: you get the rest, together with him or with {k} of {n} validators (their ruling costs you {} sat).",
        contract.fees.ruling.to_sat()
    ));
    lines.push(format!(
        "If miner and validators are gone, you alone can take it back from block {t} ({}), once it has lain {} blocks.",
        when.at(t),
        contract.delays.relock
    ));
    lines.push(format!(
        "If you do not take it by block {ty} ({}), the miner alone can.",
        when.at(ty)
    ));
    lines.push(format!(
        "Rewards are yours alone {} blocks after each block that pays them, if nobody signs with you before.",
        contract.reward.exit_delay
    ));
    lines.push(format!(
        "{k} validators together with the miner can take all of it at any time: choose the federation, not the seller."
    ));
    if body.guard() == Guard::Validators {
        lines.push(
            "The miner is silent: validators sign this sale for him, and he may stay silent."
                .to_owned(),
        );
    }
    lines.push(
        "Dates are counted from now at ten minutes a block; the network may be faster or slower."
            .to_owned(),
    );
}

/// Expected blocks, and the chance of none at all.
fn found(body: &OfferBody, contract: &EscrowTerms, network_rate: u128) -> String {
    let begin = body.period_start(body.rewarded_from());
    let blocks = contract.calendar().end().saturating_add(1).saturating_sub(begin);
    // Each of the term's blocks is ours with the part that we have of the network's rate.
    let share = u128::from(contract.delivery.rate).saturating_mul(ONE) / network_rate.max(1);
    let expected = share.saturating_mul(blocks.into());
    let none = none_of(expected) / (ONE / 1_000_000);
    format!(
        "blocks      rewards are paid by found blocks: beside a network of {} a second, {blocks} blocks bring {}.{:06} blocks on average, and none at all with a chance of {}.{:04} %. Buy a small position only within a farm's coinbase or a pool",
        hashes(network_rate),
        expected / ONE,
        expected % ONE / (ONE / 1_000_000),
        none / 10_000,
        none % 10_000,
    )
}

/// e to the power of minus x, both in parts of [`ONE`]: the chance that nothing comes where x is expected.
fn none_of(x: u128) -> u128 {
    // (e^(-x/1024))^1024, the inner one by four terms of its series; beyond 40 there is nothing left.
    if x >= 40 * ONE {
        return 0;
    }
    let small = x / 1_024;
    let square = small * small / ONE;
    let cube = square * small / ONE;
    let mut power = ONE - small + square / 2 - cube / 6;
    for _ in 0..10 {
        power = power * power / ONE;
    }
    power
}

/// Seconds since 1970 by this computer's clock.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// Turns heights into dates, if the tip's height is known.
struct When {
    height: Option<u32>,
    now: u64,
}

impl When {
    fn at(&self, height: u32) -> String {
        let Some(tip) = self.height else {
            return "name --height for a date".to_owned();
        };
        let ahead = u64::from(height.saturating_sub(tip)).saturating_mul(BLOCK_SECONDS);
        if height <= tip {
            return "past".to_owned();
        }
        format!("about {}", date(self.now.saturating_add(ahead)))
    }
}

/// The day of a time, as 2026-11-21, by the Gregorian calendar.
fn date(seconds: u64) -> String {
    // Days are counted from 1 March of the year 0, so that the leap day is a year's last.
    let days = seconds / DAY + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + next)
}

/// Bitcoin without zeros that say nothing: `0.6 BTC`.
fn btc(amount: Amount) -> String {
    let text = amount.to_string_in(bitcoin::Denomination::Bitcoin);
    let short = if text.contains('.') { text.trim_end_matches('0') } else { &text };
    format!("{} BTC", short.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_795_219_200, "2026-11-21"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }

    #[test]
    fn bitcoin_are_written_without_idle_zeros() {
        let said = |sat| btc(Amount::from_sat(sat));
        assert_eq!(said(60_000_000), "0.6 BTC");
        assert_eq!(said(1), "0.00000001 BTC");
        assert_eq!(said(2_000_000_000), "20 BTC");
        assert_eq!(said(0), "0 BTC");
    }

    #[test]
    fn the_chance_of_nothing_is_that_of_the_exponential() {
        // e^-0 = 1, e^-0.005 = 0.995012, e^-1 = 0.367879, e^-10 = 0.0000454.
        let millionths = |x: u128| none_of(x) / (ONE / 1_000_000);
        assert_eq!(millionths(0), 1_000_000);
        assert_eq!(millionths(ONE / 200), 995_012);
        assert_eq!(millionths(ONE), 367_879);
        assert_eq!(millionths(10 * ONE), 45);
        assert_eq!(millionths(40 * ONE), 0);
    }

    #[test]
    fn heights_become_dates_only_if_the_tip_is_known() {
        let now = 1_795_219_200;
        let when = When { height: Some(1_000), now };
        assert_eq!(when.at(1_144), "about 2026-11-22");
        assert_eq!(when.at(1_000), "past");
        let when = When { height: None, now };
        assert_eq!(when.at(1_144), "name --height for a date");
    }
}
