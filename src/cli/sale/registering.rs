//! `hashmix sale register`: the registration of a contract that was bought, as a file or at servers.

use crate::cli::Done;
use crate::cli::arguments::RegisterArguments;
use crate::cli::file::{self, Readers};
use crate::cli::sale::{read_acceptance, read_offer};
use crate::error::Result;
#[cfg(feature = "core")]
use crate::error::Rule;
use crate::flow::sale::terms::{Guard, OfferBody};
use crate::validator::registration::Registration;

/// Enough of the servers that were asked have it.
#[cfg(feature = "core")]
pub const REGISTERED: Rule = Rule::new(
    "sale-registered",
    "as many validators as decide have registered the contract, where so many servers are named",
    "ask again those whose lines say why not",
);

/// Blocks that have to hold a sale, the one that has it included, before validators register it.
pub(super) fn blocks(offer: &OfferBody) -> u32 {
    let resale = offer.resale.as_ref().filter(|resale| resale.guard == Guard::Validators);
    resale.map_or(1, |resale| resale.contract.delays.state_depth.max(1))
}

/// When validators register a sale, in words.
pub(super) fn once(offer: &OfferBody) -> String {
    match blocks(offer) {
        1 => "once 1 block holds the sale".to_owned(),
        blocks => format!("once the sale is {blocks} blocks deep, as it was left to validators"),
    }
}

/// Makes the registration out of offer and acceptance, and brings it to servers: nobody signs it, the chain
/// shows the sale.
pub(super) fn register(arguments: &RegisterArguments) -> Result<Done> {
    arguments.out.as_deref().map(file::free).transpose()?;
    let offer = read_offer(&arguments.offer)?;
    let acceptance = read_acceptance(&arguments.acceptance, &offer)?;
    let once = once(&offer.offer);
    let registration = Registration::of_sale(offer, acceptance)?;
    let id = registration.check()?;
    let text = registration.to_json()?;
    let mut lines = Vec::new();
    if let Some(out) = &arguments.out {
        file::write(out, text.as_bytes(), Readers::Anyone)?;
        lines.push(format!("registration  {}", out.display()));
    }
    lines.push(format!("contract      {id}"));
    let validators = registration.terms.reward.federation.validators.len();
    #[cfg(feature = "core")]
    if !arguments.validator.is_empty() {
        // What is no URL is told before anybody is asked.
        for url in &arguments.validator {
            super::servers::address(url)?;
        }
        let mut done = 0usize;
        for url in &arguments.validator {
            let told = super::servers::register(url, &text, &id)?;
            done = done.saturating_add(usize::from(told.is_ok()));
            let said = told.unwrap_or_else(|why| why);
            lines.push(format!("server        {url}: {said}"));
        }
        let asked = arguments.validator.len();
        let rest = match done == asked {
            true => format!("the federation has {validators} validators, and each has to know it"),
            false => format!("ask the others again, {once}"),
        };
        lines.push(format!("next          {done} of {asked} servers have it: {rest}"));
        let needed = usize::from(registration.terms.reward.federation.threshold).min(asked);
        let lacking =
            || REGISTERED.unavailable("servers", format_args!("{needed} that have it"), done);
        let but = (done < needed).then(lacking);
        return Ok(Done { lines, but });
    }
    lines.push(format!(
        "next          {once}, each of the {validators} validators: hashmix validator register"
    ));
    Ok(lines.into())
}
