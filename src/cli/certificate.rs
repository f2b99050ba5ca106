//! `hashmix work certificate`: what a certificate proves before any header is at hand.

use std::path::Path;

use crate::cli::{file, terms};
use crate::error::{Culprit, Error, Result, Rule};
use crate::work::agreement::WorkTerms;
use crate::work::certificate::{Certificate, LONGEST_FILE};
use crate::work::coinbase::Coinbase;
use crate::work::credit::credit;
use crate::work::share::{SLICE, Share, prove};

/// A certificate is about the contract it is shown for.
pub const POSITION: Rule = Rule::new(
    "work-certificate-position",
    "a certificate names the position of the terms it is shown for",
    "give the terms of that position, or its certificate",
);

/// Checks the list and, for each share, rules 2 to 5 at the height that its coinbase states.
pub fn check(path: &Path, terms_path: &Path) -> Result<Vec<String>> {
    let terms = terms::read(terms_path)?;
    let work = terms.work()?;
    let text = file::text(path, LONGEST_FILE)?;
    let named = |error: Error| error.within(path.display());
    let certificate = Certificate::from_json(&text).map_err(named)?;
    if certificate.position != terms.position()? {
        let found = certificate.position;
        return Err(named(POSITION.refuses(Culprit::Miner, "position", terms.position()?, found)));
    }
    certificate.check_list(&work).map_err(named)?;
    for (place, share) in certificate.shares.iter().enumerate() {
        check_share(share, certificate.slice, &work)
            .map_err(|error| named(error.within(format_args!("share {place}"))))?;
    }
    let count = u64::try_from(certificate.shares.len()).unwrap_or(u64::MAX);
    let calendar = work.calendar();
    let blocks = calendar.slice_blocks(certificate.slice).unwrap_or(0..=0);
    Ok(vec![
        format!("certificate  {}", certificate.digest()),
        format!("position     {}", certificate.position),
        format!(
            "slice        {} of {}, heights {} to {}",
            certificate.slice.saturating_add(1),
            calendar.slices(),
            blocks.start(),
            blocks.end()
        ),
        format!("shares       {count} of {} expected", work.expected),
        format!("credit       {} hashes, if every share stands", credit(count, work.target)),
        "proven       the list is in order, no share twice; rules 2-5 for each share".to_owned(),
        "open         rule 1 for each share (parent in the active chain, difficulty, time, version) needs headers"
            .to_owned(),
        format!(
            "open         whether it is sealed: receipts of {} validators whose tips are at height {} or below",
            terms.reward.federation.threshold,
            calendar.receipts_until(certificate.slice).unwrap_or_default()
        ),
    ])
}

fn check_share(share: &Share, slice: u32, work: &WorkTerms) -> Result<()> {
    let coinbase = Coinbase::parse(&share.coinbase)?;
    let heights = work.calendar().slice_blocks(slice);
    let height = heights.clone().and_then(|mut all| all.find(|h| coinbase.states_height(*h)));
    let Some(height) = height else {
        let (first, last) = heights.map_or((0, 0), |all| (*all.start(), *all.end()));
        return Err(SLICE.refuses(
            Culprit::Miner,
            "coinbase",
            format_args!("a height from {first} to {last}"),
            "another one",
        ));
    };
    prove(share, height, share.header.time, &work.demand()).map(|_| ())
}
