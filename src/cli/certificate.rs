//! `hashmix work verify CERTIFICATE`: what a certificate proves, and what is left open.
//!
//! | given | proven |
//! |---|---|
//! | certificate and terms | the list; for each share rules 2 to 5 |
//! | and headers | rule 1 for each share, so that what stands counts |
//! | and the position's own terms | the same; what pays the lock before the first sale is told apart |
//! | and receipts | whether it is sealed, by the height of each tip |
//!
//! A share that a reorg orphaned proves nothing and harms nothing, so the others are counted and it
//! is named; any other share that does not stand makes the answer a refusal, for an honest miner
//! lists none.

use std::collections::BTreeMap;
use std::path::Path;

use bitcoin::ScriptBuf;

use crate::cli::Done;
use crate::cli::arguments::VerifyArguments;
use crate::cli::dossier::{self, Known};
use crate::cli::work::ARGUMENT;
use crate::cli::{file, terms, units};
use crate::error::{Culprit, Error, Result, Rule};
use crate::flow::escrow::terms::{EscrowTerms, TERMS_MAX_BYTES};
use crate::flow::position::proof::Stage;
use crate::flow::position::terms::PositionTerms;
use crate::work::agreement::WorkTerms;
use crate::work::certificate::Certificate;
use crate::work::coinbase::Coinbase;
use crate::work::credit::credit;
use crate::work::receipt::{Receipt, Subject, sealed_height};
use crate::work::share::{PARENT, SLICE, Share, prove};

/// A certificate is about the contract it is shown for.
pub const POSITION: Rule = Rule::new(
    "work-certificate-position",
    "a certificate names the position of the terms it is shown for",
    "give the terms of that position, or its certificate",
);
/// A receipt is for the certificate that it is shown with.
pub const RECEIPT: Rule = Rule::new(
    "work-certificate-receipt",
    "a receipt shown with a certificate names its position, slice and digest",
    "give the receipts of this very certificate",
);

/// Says what a certificate proves by terms, headers and receipts, as far as they are given.
pub fn verify(terms_path: &Path, arguments: &VerifyArguments) -> Result<Done> {
    let terms = terms::read(terms_path)?;
    let work = match &arguments.position {
        Some(path) => terms.work()?.sold_by(lock_before(path, &terms)?),
        None => terms.work()?,
    };
    let path = arguments.file.as_path();
    let named = |error: Error| error.within(path.display());
    let certificate = dossier::certificate(path, terms.position()?)?;
    if certificate.position != terms.position()? {
        let found = certificate.position;
        return Err(named(POSITION.refuses(Culprit::Miner, "position", terms.position()?, found)));
    }
    certificate.check_list(&work).map_err(named)?;
    for (place, share) in certificate.shares.iter().enumerate() {
        check_share(share, certificate.slice, &work)
            .map_err(|error| named(error.within(format_args!("share {place}"))))?;
    }
    let receipts = receipts(&arguments.receipt, &terms, &certificate)?;
    let known = dossier::chain(&terms, &arguments.chain)?;
    let mut lines = heading(&certificate, &work);
    let mut but = None;
    match &known {
        None => {
            let count = u64::try_from(certificate.shares.len()).unwrap_or(u64::MAX);
            lines.push(credited(count, &work, ", if every share stands"));
            lines.push(LISTED.to_owned());
            lines.push("open         rule 1 for each share (parent in the active chain, difficulty, time, version) needs headers: --electrum or --home".to_owned());
        }
        Some(known) => but = standing(&certificate, &work, known, &mut lines)?.map(named),
    }
    lines.push(sealed(&certificate, &terms, &receipts, known.as_ref())?);
    for open in known.iter().flat_map(|known| &known.open) {
        lines.push(format!("open         {open}"));
    }
    Ok(Done { lines, but })
}

/// The lock that coinbases paid before the position was sold first: its own terms have it, a contract's
/// do not.
fn lock_before(path: &Path, terms: &EscrowTerms) -> Result<ScriptBuf> {
    let position = PositionTerms::from_json(&file::text(path, TERMS_MAX_BYTES)?)
        .map_err(|error| error.within(path.display()))?;
    let tenure = terms.tenure.clone();
    let sold = tenure.and_then(|tenure| {
        position.sold(&terms.reward.holder, terms.price, tenure).ok().filter(|sold| sold == terms)
    });
    if sold.is_none() {
        let expected = "the terms of the position that the contract is a sale of";
        return Err(ARGUMENT.misused("--position", expected, path.display()));
    }
    Stage::Binding.script(&position)
}

const LISTED: &str = "proven       the list is in order, no share twice; rules 2-5 for each share";

fn heading(certificate: &Certificate, work: &WorkTerms) -> Vec<String> {
    let calendar = work.calendar();
    let blocks = calendar.slice_blocks(certificate.slice).unwrap_or(0..=0);
    vec![
        format!("certificate  {}", certificate.digest()),
        format!("position     {}", certificate.position),
        format!(
            "slice        {} of {}, heights {} to {}",
            certificate.slice.saturating_add(1),
            calendar.slices(),
            blocks.start(),
            blocks.end()
        ),
        format!("shares       {} of {} expected", certificate.shares.len(), work.expected),
    ]
}

fn credited(count: u64, work: &WorkTerms, condition: &str) -> String {
    let hashes = credit(count, work.target);
    format!("credit       {hashes} hashes ({}){condition}", units::hashes(hashes))
}

/// Rule 1: which shares stand on the chain. Answers the first refusal that no reorg explains.
fn standing(
    certificate: &Certificate,
    work: &WorkTerms,
    known: &Known,
    lines: &mut Vec<String>,
) -> Result<Option<Error>> {
    let (mut count, mut orphaned, mut wrong) = (0u64, 0u64, None);
    let mut rules: BTreeMap<&'static str, u64> = BTreeMap::new();
    for (place, weighed) in certificate.weigh(work, &known.headers).into_iter().enumerate() {
        match weighed {
            Ok(_) => count = count.saturating_add(1),
            Err(error) if error.rule() == PARENT.id => orphaned = orphaned.saturating_add(1),
            Err(error @ Error::Refused { .. }) => {
                *rules.entry(error.rule()).or_default() += 1;
                wrong.get_or_insert(error.within(format_args!("share {place}")));
            }
            Err(other) => return Err(other),
        }
    }
    lines.push(credited(count, work, ""));
    lines.push(LISTED.to_owned());
    lines.push(format!(
        "proven       rule 1 for {count} of {} shares, by headers up to height {}",
        certificate.shares.len(),
        known.headers.tip()
    ));
    if orphaned > 0 {
        lines.push(format!(
            "lost         {orphaned} shares whose parent is not in the active chain, as after a reorg: {}",
            PARENT.id
        ));
    }
    for (rule, shares) in rules {
        lines.push(format!("refused      {shares} shares by {rule}"));
    }
    Ok(wrong)
}

/// The receipts, each checked to be a validator's for this certificate.
fn receipts(
    paths: &[std::path::PathBuf],
    terms: &EscrowTerms,
    certificate: &Certificate,
) -> Result<Vec<Receipt>> {
    let keys = terms.reward.federation.ruling_keys();
    let subject = subject(certificate);
    paths
        .iter()
        .map(|path| {
            let named = |error: Error| error.within(path.display());
            let receipt = dossier::receipt(path)?;
            if (receipt.position, receipt.subject) != (certificate.position, subject) {
                let by = Culprit::Validator(receipt.validator);
                let (expected, found) = (certificate.digest(), format!("{:?}", receipt.subject));
                return Err(named(RECEIPT.refuses(by, "receipt", expected, found)));
            }
            receipt.check(&keys).map_err(named)?;
            Ok(receipt)
        })
        .collect()
}

fn subject(certificate: &Certificate) -> Subject {
    Subject::Certificate { slice: certificate.slice, digest: certificate.digest() }
}

fn sealed(
    certificate: &Certificate,
    terms: &EscrowTerms,
    receipts: &[Receipt],
    known: Option<&Known>,
) -> Result<String> {
    let calendar = terms.calendar();
    let k = terms.reward.federation.threshold;
    let until = calendar.receipts_until(certificate.slice).unwrap_or_default();
    let proof = calendar.proofs_until(certificate.slice).unwrap_or_default();
    let demanded = format!("receipts of {k} validators whose tips are at height {until} or below");
    let Some(Known { headers, proofs, asked, .. }) = known else {
        return Ok(format!(
            "open         whether it is sealed: {demanded}; {} given, and headers must show how high their tips are",
            receipts.len()
        ));
    };
    if let Some(height) = proofs.get(&certificate.digest()).filter(|height| **height <= proof) {
        return Ok(format!(
            "sealed       by its digest in the block at height {height}, by {proof} at the latest"
        ));
    }
    let keys = terms.reward.federation.ruling_keys();
    let subject = subject(certificate);
    let height =
        sealed_height(certificate.position, &subject, receipts, &keys, usize::from(k), headers);
    Ok(match height {
        Some(height) if height <= until => format!(
            "sealed       by {k} validators who had seen it at height {height}, by {until} at the latest"
        ),
        // Its digest may lie in a block that nobody was asked for.
        _ if !asked => format!(
            "open         whether it is sealed: by receipts it is not ({demanded}; {} given), by its digest in a block up to height {proof} it may be: ask with --electrum",
            receipts.len()
        ),
        Some(height) => format!(
            "not sealed   {k} validators had seen it at height {height}, later than {until}: it counts for nothing"
        ),
        None => {
            let late = if headers.tip() > proof { "; it is too late for more" } else { "" };
            format!("not sealed   it takes {demanded}; {} given{late}", receipts.len())
        }
    })
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
    prove(share, height, share.header.time, &work.demand(slice)).map(|_| ())
}
