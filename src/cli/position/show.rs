//! `hashmix position list` and `show`: positions at a glance, and one position's life by height.

use std::path::{Path, PathBuf};

use bitcoin::Amount;

use crate::cli::arguments::DossierArguments;
use crate::cli::chart::Bar;
use crate::cli::file::{self, Readers};
use crate::cli::position::reading::{Reading, read};
use crate::cli::position::timeline::{Cell, Span, Timeline};
use crate::cli::units;
use crate::error::{Error, Result};
use crate::flow::escrow::coins::Progress;
use crate::flow::position::title::Standing;

/// The head of the table; as wide as its rows.
fn head() -> String {
    format!(
        "{:<13}  {:>9}  {:>9}  {:>13}  {:>9}  {:>13}  next payment",
        "position", "rate", "J/TH", "periods left", "delivered", "unpaid (sat)"
    )
}

/// A line for each dossier; one that is refused says why, and the others are told all the same.
pub fn list(arguments: &DossierArguments, dossiers: &[PathBuf]) -> Result<Vec<String>> {
    let (mut lines, mut told) = (vec![head()], false);
    for path in dossiers {
        match read(arguments, path) {
            Ok(reading) => {
                lines.push(row(&reading));
                lines.extend(warning(&reading));
                told = true;
            }
            Err(error @ (Error::Refused { .. } | Error::Usage(_))) => {
                lines.push(format!("{}: {error}", path.display()));
            }
            // Without a server none of them can be told.
            Err(error) => return Err(error),
        }
    }
    if told {
        lines.push("delivered: by the certificates and receipts in each dossier's own folder, and digests in blocks".to_owned());
    }
    Ok(lines)
}

/// One dossier: its line, its life, and a drawing of it if a file is named.
pub fn show(arguments: &DossierArguments, path: &Path, svg: Option<&Path>) -> Result<Vec<String>> {
    if let Some(svg) = svg {
        file::free(svg)?;
    }
    let reading = read(arguments, path)?;
    let timeline = timeline(&reading);
    let mut lines = vec![head(), row(&reading)];
    lines.extend(warning(&reading));
    lines.push(String::new());
    lines.extend(timeline.lines());
    lines.push(reading.rests_on());
    if let Some(svg) = svg {
        let name = format!("Position {}", short(&reading));
        let drawing = timeline.svg(&name, &summary(&reading));
        file::write(svg, drawing.as_bytes(), Readers::Anyone)?;
        lines.push(String::new());
        lines.push(format!("drawn    {}", svg.display()));
    }
    Ok(lines)
}

fn short(reading: &Reading) -> String {
    let id = reading.title.issued.position.to_string();
    format!("{}…", id.get(..12).unwrap_or_default())
}

/// Delivered of the agreed work in the periods that are over, in parts per thousand.
fn part(delivered: u128, agreed: u128) -> Option<u32> {
    let part = delivered.saturating_mul(1_000).checked_div(agreed)?;
    u32::try_from(part).ok()
}

fn delivered(reading: &Reading) -> Option<u32> {
    let bars = reading.standing.bars();
    let sum =
        |of: fn(&Bar) -> u128| bars.iter().fold(0u128, |sum, bar| sum.saturating_add(of(bar)));
    part(sum(|bar| bar.delivered), sum(|bar| bar.agreed))
}

/// Periods of the position's term that are not over.
fn left(reading: &Reading) -> u32 {
    let calendar = reading.standing.terms.calendar();
    let past = reading.tip.saturating_add(1).saturating_sub(calendar.start);
    calendar.periods.saturating_sub(past.checked_div(calendar.period).unwrap_or(0))
}

/// What is paid next, and when.
fn next(reading: &Reading) -> String {
    let standing = &reading.standing;
    let Some(Progress::Open(_)) = &standing.escrow else { return "none".to_owned() };
    let terms = &standing.terms;
    let paid = reading.paid().map_or(Amount::ZERO, |(paid, _)| paid);
    let ripe = standing.shown.as_ref().and_then(|shown| {
        let last = shown.young.checked_sub(1)?;
        shown.verdict.earned_through(last).checked_sub(paid)
    });
    if let Some(due) = ripe.filter(|due| *due > Amount::ZERO) {
        return format!("{} sat now", due.to_sat());
    }
    let calendar = terms.calendar();
    let coming = (calendar.first..calendar.periods)
        .find_map(|period| calendar.ruled_from(period).filter(|from| *from > reading.tip));
    coming.map_or_else(|| "none".to_owned(), |height| format!("from height {height}"))
}

fn row(reading: &Reading) -> String {
    let terms = reading.dossier.terms();
    let delivered = delivered(reading)
        .map_or_else(|| "-".to_owned(), |part| format!("{}.{} %", part / 10, part % 10));
    let unpaid = match (&reading.standing.escrow, reading.paid()) {
        (Some(Progress::Ended { .. }), _) => "ended".to_owned(),
        (_, paid) => paid.map_or_else(|| "-".to_owned(), |(_, rest)| rest.to_sat().to_string()),
    };
    format!(
        "{:<13}  {:>9}  {:>6}.{:02}  {:>5} of {:>4}  {delivered:>9}  {unpaid:>13}  {}",
        short(reading),
        format!("{}/s", units::hashes(u128::from(terms.delivery.rate))),
        terms.efficiency / 100,
        terms.efficiency % 100,
        left(reading),
        terms.delivery.periods,
        next(reading)
    )
}

/// What a glance must not miss, a line each.
fn warning(reading: &Reading) -> Vec<String> {
    let unsound = reading.title.check().err().map(|error| format!("  {error}"));
    let late = reading.late().map(|late| format!("  {late}"));
    let refused = reading.refused.iter().map(|(name, error)| format!("  {name}: {error}"));
    unsound.into_iter().chain(late).chain(refused).collect()
}

fn summary(reading: &Reading) -> String {
    let title = &reading.title;
    let moves = title.believed().count();
    let ended = matches!(reading.standing.escrow, Some(Progress::Ended { .. }));
    let unpaid = match reading.paid() {
        Some((paid, _)) if ended => format!("{} sat paid, ended", paid.to_sat()),
        None if ended => "ended".to_owned(),
        Some((paid, rest)) => format!("{} sat paid, {} sat unpaid", paid.to_sat(), rest.to_sat()),
        None => "nothing sold".to_owned(),
    };
    let periods = reading.dossier.terms().delivery.periods;
    format!("{moves} moves of the seal; {} of {periods} periods left; {unpaid}", left(reading))
}

fn timeline(reading: &Reading) -> Timeline {
    let (title, terms) = (&reading.title, reading.dossier.terms());
    let whole = terms.contract(Amount::ZERO);
    let calendar = whole.calendar();
    let behind = |height: u32| height.saturating_add(1);
    let mut events = vec![(title.issued.height, "issued to the miner".to_owned())];
    let mut holders: Vec<Span> =
        vec![Span { begin: title.issued.height, end: behind(reading.tip), number: 0 }];
    for hop in &title.hops {
        let Some(height) = hop.height else {
            events.push((reading.tip, format!("move {} waits for a block", hop.number)));
            continue;
        };
        let sold = title.sold.iter().find(|sold| sold.number == hop.number);
        events.push((
            height,
            match (hop.standing, sold) {
                (Standing::Held, Some(sold)) => format!(
                    "move {}: sold, {} sat in escrow, from period {} on",
                    hop.number,
                    sold.terms.price.to_sat(),
                    sold.terms.first_period().saturating_add(1)
                ),
                (Standing::Held, None) => format!("move {}: handed on", hop.number),
                (other, _) => format!("move {}: {other}", hop.number),
            },
        ));
        let ends = [Standing::Retired, Standing::Fee, Standing::OpReturn].contains(&hop.standing);
        if let Some(last) = holders.last_mut().filter(|_| hop.standing == Standing::Held || ends) {
            last.end = height;
        }
        if hop.standing == Standing::Held {
            holders.push(Span { begin: height, end: behind(reading.tip), number: hop.number });
        }
    }
    let first = |period: u32| {
        calendar.period_blocks(period).map_or(calendar.start, |blocks| *blocks.start())
    };
    // A contract's own lock begins where its earlier ones end.
    let mut locks = vec![Span { begin: calendar.start, end: behind(calendar.end()), number: 0 }];
    for sold in &title.sold {
        let tenure = sold.terms.tenure.as_ref();
        let until = tenure.and_then(|tenure| tenure.earlier.last()).map(|earlier| earlier.until);
        let begin = first(until.unwrap_or(sold.terms.first_period()));
        if let Some(last) = locks.last_mut() {
            last.end = begin;
        }
        locks.push(Span { begin, end: behind(calendar.end()), number: sold.number });
    }
    locks.retain(|span| span.begin < span.end);
    let bars = reading.standing.bars();
    let periods = (0..calendar.periods)
        .filter_map(|period| {
            let blocks = calendar.period_blocks(period)?;
            let bar = bars.iter().find(|bar| bar.number == period.saturating_add(1));
            let delivered = bar.and_then(|bar| part(bar.delivered, bar.agreed));
            let delivered = delivered.map(|part| part.min(1_000));
            Some(Cell { begin: *blocks.start(), end: behind(*blocks.end()), delivered })
        })
        .collect();
    let begins = match title.issued.height >= calendar.start {
        true => "the term begins, before the position is issued",
        false => "the term begins",
    };
    events.push((calendar.start, begins.to_owned()));
    events.push((calendar.end(), "the term ends".to_owned()));
    if let Some(Progress::Ended { height: Some(height), .. }) = reading.standing.escrow {
        let ended = reading.standing.ended.map(|ended| format!(", {}", ended.in_words()));
        events.push((height, format!("the escrow ended{}", ended.unwrap_or_default())));
    } else if title.contract().is_some() {
        let exit = whole.holder_exit_height();
        events.push((exit, "the holder alone may take what is left in escrow (T)".to_owned()));
    }
    Timeline { now: reading.tip, holders, locks, periods, events }
}
