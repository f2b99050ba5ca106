//! `hashmix work show`: agreed against delivered work, period by period, with the counting error.
//!
//! What is counted is what a verdict would count: shares that stand, in certificates that were
//! sealed in time. A period whose last block is not as deep as a ruling takes is shown too, as far
//! as it goes, and marked.

use crate::cli::arguments::ShowArguments;
use crate::cli::chart::{self, Bar};
use crate::cli::dossier::{self, Folder, Known};
use crate::cli::file::{self, Readers};
use crate::cli::{terms, units};
use crate::error::{Result, Rule};
use crate::flow::escrow::outcome::yardstick;
use crate::flow::escrow::terms::EscrowTerms;
use crate::work::credit::share_work;
use crate::work::evidence::{Evidence, Yardstick};
use crate::work::verdict::{Measure, Verdict, verdict};

/// A chart needs headers.
pub const HEADERS: Rule = Rule::new(
    "work-show-headers",
    "agreed work is read from the chain's headers",
    "name a server with --electrum, or a store that has them with --home",
);
/// A chart needs a period that is over.
pub const OVER: Rule = Rule::new(
    "work-show-period",
    "a period is shown once its last block is there",
    "wait for more blocks, or synchronise the headers",
);

/// The chart as lines, and into a file if one is named.
pub fn show(arguments: &ShowArguments) -> Result<Vec<String>> {
    let terms = terms::read(&arguments.terms)?;
    if let Some(path) = &arguments.svg {
        file::free(path)?;
    }
    let by = yardstick(&terms)?;
    let mut evidence = Evidence::new(terms.position()?);
    let folder = match (&arguments.certificates, &arguments.chain.home) {
        (Some(folder), _) => dossier::read_folder(folder, &terms, &mut evidence)?,
        (None, Some(home)) => {
            dossier::read_store(home, &terms, &mut evidence)?;
            Folder::default()
        }
        (None, None) => Folder::default(),
    };
    let Some(known) = dossier::chain(&terms, &arguments.chain)? else {
        return Err(HEADERS.misused("--electrum, --home", "at least one of them", "none"));
    };
    let Some(shown) = judged(&terms, &by, &known, &evidence)? else {
        let first = terms.calendar().period_blocks(terms.first_period());
        let first = first.map_or(0, |blocks| *blocks.end());
        let expected = format_args!("a tip at height {first}").to_string();
        return Err(OVER.unavailable("chart", expected, known.headers.tip()));
    };
    let mut lines = chart::lines(&shown.bars);
    lines.push(String::new());
    let summary = summary(&terms, &shown);
    lines.extend(summary.iter().cloned());
    let Folder { foreign, damaged, .. } = folder;
    lines.extend(damaged.iter().map(|error| format!("damaged      {error}")));
    if foreign > 0 {
        lines.push(format!("passed over  {foreign} files that are no certificate or receipt"));
    }
    lines.extend(known.open.iter().map(|open| format!("open         {open}")));
    if let Some(path) = &arguments.svg {
        let drawing = chart::svg(&shown.bars, &terms.reward.contract, &summary.join("; "));
        file::write(path, drawing.as_bytes(), Readers::Anyone)?;
        lines.push(format!("drawn        {}", path.display()));
    }
    Ok(lines)
}

/// What is shown.
pub(crate) struct Shown {
    pub(crate) bars: Vec<Bar>,
    pub(crate) verdict: Verdict,
    /// Periods that are deep enough to be ruled on.
    ripe: usize,
    /// The first period (0-based) that is not.
    pub(crate) young: u32,
}

/// The periods that are over; none before the first is.
pub(crate) fn judged(
    terms: &EscrowTerms,
    by: &Yardstick,
    known: &Known,
    evidence: &Evidence,
) -> Result<Option<Shown>> {
    let calendar = terms.calendar();
    let tip = known.headers.tip();
    let periods = calendar.first..calendar.periods;
    let over = periods
        .clone()
        .take_while(|period| calendar.period_blocks(*period).is_some_and(|b| *b.end() <= tip));
    let ripe = periods
        .take_while(|period| calendar.ruled_from(*period).is_some_and(|from| from <= tip))
        .count();
    let Some(last) = over.last() else { return Ok(None) };
    let young = calendar.first.saturating_add(u32::try_from(ripe).unwrap_or(u32::MAX));
    // For a look at what is not deep yet: nothing is paid by it.
    let mut shallow = by.clone();
    shallow.terms.ruling_depth = 1;
    let measure = Measure {
        yardstick: &shallow,
        price: terms.price,
        k: usize::from(terms.reward.federation.threshold),
        headers: &known.headers,
        proofs: &known.proofs,
    };
    let verdict = verdict(&measure, last, evidence)?;
    let bars = verdict
        .periods
        .iter()
        .map(|row| Bar {
            number: row.period.saturating_add(1),
            agreed: row.agreed,
            delivered: row.credit,
            shares: row.shares,
            expected: u64::try_from(row.agreed / share_work(terms.delivery.target).max(1))
                .unwrap_or(u64::MAX),
            ripe: row.period < young,
        })
        .collect();
    Ok(Some(Shown { bars, verdict, ripe, young }))
}

/// What the bars come to, in words.
pub(crate) fn summary(terms: &EscrowTerms, shown: &Shown) -> Vec<String> {
    let total = |of: fn(&Bar) -> u128| {
        shown.bars.iter().fold(0u128, |sum, bar| sum.saturating_add(of(bar)))
    };
    let ripe = shown.ripe;
    let earned = shown.young.checked_sub(1).map(|last| shown.verdict.earned_through(last));
    let mut lines = vec![
        format!(
            "delivered    {} of {} agreed, in {} of {} periods",
            units::hashes(total(|bar| bar.delivered)),
            units::hashes(total(|bar| bar.agreed)),
            shown.bars.len(),
            terms.calendar().paid_periods()
        ),
        format!(
            "earned       {} of {} sat, by the {ripe} periods that are deep enough to be ruled on",
            earned.map_or(0, |earned| earned.to_sat()),
            terms.price.to_sat()
        ),
    ];
    if shown.bars.iter().any(|bar| !bar.ripe) {
        lines.push(format!(
            "*            less than {} blocks deep: as of now, {} sat",
            terms.delivery.ruling_depth,
            shown.verdict.earned().to_sat()
        ));
    }
    if let Some(period) = shown.verdict.close_after {
        let number = period.saturating_add(1);
        lines.push(match period < shown.young {
            true => format!(
                "below half   the window that ends with period {number} has less than half of its agreed work: the next settlement closes the contract"
            ),
            false => format!(
                "below half   as of now the window that ends with period {number} has less than half of its agreed work; if that stands when it is deep enough, the contract is closed"
            ),
        });
    }
    lines
}
