//! `hashmix sale book`: offers in a plain file, one a line, each verified when it is read.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use crate::chain::electrum::Electrum;
use crate::cli::arguments::BookArguments;
use crate::cli::file::{self, WRITABLE};
use crate::cli::sale::read_offer;
use crate::cli::wallet::{STORE, make};
use crate::error::{Error, Result};
use crate::flow::sale::coins::{check_offer, waits, watched};
use crate::flow::sale::terms::{Offer, OfferBody, SALE_MAX_BYTES};
use crate::header_sync::GuardedChain;
use crate::store::Store;

/// Most offers in one book.
const MOST: usize = 1_000;
/// Blocks below the tip whose headers are read with an offer's facts.
const SPAN: u32 = 20;

/// The columns of the table.
const HEAD: [&str; 8] =
    ["offer", "kind", "rate H/s", "J/TH", "price sat", "sat/TH/s/period", "periods", "until"];

/// Lists the books, after adding an offer if one is named.
pub fn book(arguments: &BookArguments) -> Result<Vec<String>> {
    if let (Some(path), Some(book)) = (&arguments.add, arguments.files.first()) {
        add(&read_offer(path)?, book)?;
    }
    let mut server = match (&arguments.electrum, &arguments.home) {
        (Some(url), Some(home)) => {
            make(home)?;
            let store = Store::open(home.join(STORE))?;
            Some(Asked { url: url.clone(), store, chain: None })
        }
        _ => None,
    };
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    rows.iter_mut().for_each(|head| head.push("standing".to_owned()));
    let mut refused = Vec::new();
    for path in &arguments.files {
        let text = file::text(path, MOST.saturating_mul(SALE_MAX_BYTES))?;
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let place = format!("{}, line {}", path.display(), number.saturating_add(1));
            let read = Offer::from_json(line).and_then(|offer| {
                let standing = standing(&offer.offer, server.as_mut())?;
                row(&offer.offer, standing)
            });
            match read {
                Ok(row) => rows.push(row),
                Err(error @ Error::Refused { .. }) => {
                    refused.push(format!("refused   {place}: {}", error.rule()));
                }
                Err(error) => return Err(error.within(place)),
            }
        }
    }
    let mut lines = table(&rows);
    lines.extend(refused);
    if server.is_none() {
        lines.push(
            "open      which are over or void says the chain: name --electrum and --home".into(),
        );
    }
    Ok(lines)
}

/// Appends an offer that was read to a book.
fn add(offer: &Offer, book: &Path) -> Result<()> {
    let line = offer.to_json()? + "\n";
    let unwritten = |error: std::io::Error| WRITABLE.unstored(book.display(), "a file", error);
    let mut file = OpenOptions::new().append(true).create(true).open(book).map_err(unwritten)?;
    file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).map_err(unwritten)
}

/// A server, with one connection for all offers of its network.
struct Asked {
    url: String,
    store: Store,
    chain: Option<GuardedChain>,
}

/// What the chain says of an offer.
fn standing(offer: &OfferBody, server: Option<&mut Asked>) -> Result<String> {
    let Some(Asked { url, store, chain }) = server else { return Ok("not asked".to_owned()) };
    let network = offer.terms.reward.network;
    let chain = match chain {
        Some(chain) => chain,
        None => chain.insert(GuardedChain::new(Electrum::connect(url, network)?)),
    };
    if chain.network() != network {
        return Ok(format!("of {network}"));
    }
    let (tip, _) = chain.electrum().tip()?;
    let facts = chain.facts(store, &watched(offer, None)?, tip.saturating_sub(SPAN))?;
    match check_offer(offer, &facts) {
        Ok(()) if waits(offer, &facts).is_some() => Ok("waits".to_owned()),
        Ok(()) => Ok("open".to_owned()),
        Err(error) => Ok(match error.rule() {
            "sale-expired" => "expired".to_owned(),
            "sale-seal-moved" | "sale-escrow-moved" => "moved".to_owned(),
            rule => rule.to_owned(),
        }),
    }
}

fn row(offer: &OfferBody, standing: String) -> Result<Vec<String>> {
    let delivery = &offer.terms.delivery;
    // What counts for a buyer are the periods whose rewards are his.
    let from = offer.rewarded_from();
    let periods = delivery.periods.saturating_sub(from);
    let id: String = offer.id()?.to_string().chars().take(12).collect();
    let efficiency = offer.terms.efficiency;
    // Satoshis for a terahash a second through one period.
    let unit = u128::from(delivery.rate).saturating_mul(periods.into()).max(1);
    let each = u128::from(offer.price.to_sat()).saturating_mul(1_000_000_000_000) / unit;
    Ok(vec![
        id,
        if offer.resale.is_some() { "resale" } else { "new" }.to_owned(),
        delivery.rate.to_string(),
        format!("{}.{:02}", efficiency / 100, efficiency % 100),
        offer.price.to_sat().to_string(),
        each.to_string(),
        format!("{}-{}", from.saturating_add(1), delivery.periods),
        offer.expires.to_string(),
        standing,
    ])
}

/// Rows as lines, each column as wide as its widest.
fn table(rows: &[Vec<String>]) -> Vec<String> {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}
