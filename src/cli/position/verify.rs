//! `hashmix position verify`: what a dossier and the chain prove, in words, and what they cannot.

use crate::cli::arguments::DossierArguments;
use crate::cli::position::reading::{Cost, Reading, read};
use crate::cli::{Done, chart, show, summary, units};
use crate::error::Result;
use crate::flow::escrow::coins::Progress;
use crate::flow::position::title::Standing;
use crate::tx::satoshi::Moved;

/// Everything that the dossier proves; behind it the refusal, if it is one that nobody should buy.
pub fn verify(arguments: &DossierArguments, path: &std::path::Path) -> Result<Done> {
    let reading = read(arguments, path)?;
    let mut lines = proven(&reading, arguments.federation.is_some())?;
    if reading.title.contract().is_some() {
        lines.push(String::new());
        lines.extend(summary::of(&reading.standing.terms)?);
    }
    lines.push(String::new());
    lines.extend(nobody_can_prove(&reading));
    lines.extend(cost(&reading.cost));
    Ok(Done { lines, but: reading.title.check().err() })
}

/// Issuer, holders, contract and work, without the contract's terms in words.
pub fn proven(reading: &Reading, pinned: bool) -> Result<Vec<String>> {
    let mut lines = position(reading, pinned);
    lines.push(String::new());
    lines.extend(holders(reading)?);
    let refused = reading.refused.iter();
    lines.extend(refused.map(|(name, error)| format!("refused      {name}: {error}")));
    lines.push(String::new());
    lines.extend(contract(reading)?);
    Ok(lines)
}

fn position(reading: &Reading, pinned: bool) -> Vec<String> {
    let (terms, issued) = (reading.dossier.terms(), &reading.title.issued);
    let issuer = &terms.issuer;
    let signers: Vec<String> = issued.signers.iter().map(ToString::to_string).collect();
    let delivery = &terms.delivery;
    let calendar = terms.contract(bitcoin::Amount::ZERO).calendar();
    let mut lines = vec![
        format!("position     {}", issued.position),
        format!(
            "issued       in block {} by {} of {} validators ({})",
            issued.height,
            issuer.threshold,
            issuer.validators.len(),
            signers.join(", ")
        ),
        format!(
            "federation   {}{}",
            issued.federation,
            if pinned { ", as pinned" } else { ": compare it with the one that you chose" }
        ),
        format!(
            "promised     {}/s at {}.{:02} J/TH, heights {} to {}, {} periods of {} blocks",
            units::hashes(u128::from(delivery.rate)),
            terms.efficiency / 100,
            terms.efficiency % 100,
            calendar.start,
            calendar.end(),
            delivery.periods,
            delivery.period
        ),
        format!(
            "rewards      to the holder's lock, {} of every 1000000 sat to the miner at once",
            terms.reward.service_ppm
        ),
    ];
    lines.extend(reading.late().map(|late| format!("late         {late}")));
    lines
}

fn holders(reading: &Reading) -> Result<Vec<String>> {
    let (dossier, title) = (&reading.dossier, &reading.title);
    let first = dossier.terms().reward.holder.id()?;
    let mut lines = vec![
        "move   block  holder, by his record".to_owned(),
        format!("   0  {:>6}  {first}, the miner himself", title.issued.height),
    ];
    for hop in &title.hops {
        let height = hop.height.map_or_else(|| "waits".to_owned(), |height| height.to_string());
        let opening = dossier.opening(hop.number).filter(|_| hop.standing == Standing::Held);
        let what = match opening {
            Some(opening) => {
                let sold = opening.contract.as_ref().map(|terms| terms.price.to_sat());
                let sold = sold.map(|price| format!(", {price} sat into his escrow"));
                format!("{}{}", opening.transfer.record.id()?, sold.unwrap_or_default())
            }
            None => hop.standing.to_string(),
        };
        lines.push(format!("{:>4}  {height:>6}  {what}", hop.number));
        if hop.height.is_none() {
            lines.push("                a move that waits is not believed".to_owned());
        }
    }
    for void in &title.void {
        lines.push(format!("sale {} binds nobody: {}", void.number, void.why));
    }
    lines.push(format!(
        "holder       {}, as of move {}{}",
        title.holder.id()?,
        title.believed().count(),
        match title.standing {
            Standing::Held => String::new(),
            other => format!("; the satoshi is {other}"),
        }
    ));
    if let Some(seal) = title.seal() {
        lines.push(format!("seal         {seal}"));
    } else if let Some(Moved::To(place)) = title.believed().last().map(|hop| hop.moved) {
        let inside = place.offset.to_sat();
        lines.push(format!("satoshi      {}, behind {inside} others", place.outpoint));
    }
    let next = reading.tip.saturating_add(1);
    lines.push(match title.lock_at(dossier.terms(), next)? {
        Some(lock) => format!("coinbase     pays at height {next}: {lock:x}"),
        None => format!("coinbase     owes nothing at height {next}: it is outside the term"),
    });
    Ok(lines)
}

fn contract(reading: &Reading) -> Result<Vec<String>> {
    let standing = &reading.standing;
    let terms = &standing.terms;
    let mut lines = match &reading.title.contract() {
        None => vec!["contract     none: the first holder has sold nothing".to_owned()],
        Some(sold) => vec![format!(
            "contract     {}, sold with move {}, from period {} on",
            terms.id()?,
            sold.number,
            terms.first_period().saturating_add(1)
        )],
    };
    if let Some(Progress::Ended { by, height }) = &standing.escrow {
        let height = height.map_or_else(|| "waits".to_owned(), |h| format!("block {h}"));
        lines.push(format!("escrow       ended by transaction {by}, {height}"));
        lines.extend(standing.ended.map(|ended| format!("             {}", ended.in_words())));
    }
    if let Some((paid, rest)) = reading.paid() {
        let (paid, price) = (paid.to_sat(), terms.price.to_sat());
        lines.push(match standing.escrow {
            Some(Progress::Ended { .. }) => {
                format!(
                    "             {paid} of {price} sat paid to the miner in all; nothing waits"
                )
            }
            _ => format!("escrow       {paid} of {price} sat paid, {} sat unpaid", rest.to_sat()),
        });
    }
    let bars = standing.bars();
    if bars.is_empty() {
        lines.push("work         no period is over yet".to_owned());
    } else {
        lines.push(String::new());
        lines.extend(chart::lines(&bars));
    }
    if let Some(shown) = standing.shown.as_ref().filter(|_| reading.title.contract().is_some()) {
        lines.push("in the contract in force".to_owned());
        lines.extend(show::summary(terms, shown));
    }
    lines.push(format!("work         {}", reading.rests_on()));
    lines.extend(standing.files.damaged.iter().map(|error| format!("damaged      {error}")));
    if standing.files.foreign > 0 {
        lines.push(format!(
            "passed over  {} files that are no evidence in this contract",
            standing.files.foreign
        ));
    }
    Ok(lines)
}

/// What no server can prove, and the advice that follows.
pub fn nobody_can_prove(reading: &Reading) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(seal) = reading.title.seal() {
        lines.extend([
            "open         that the seal is still unspent: a server can hide a transaction, and no proof excludes it".to_owned(),
            "             a sale needs none: it spends the seal, so it is void if somebody else did".to_owned(),
            format!(
                "             whoever must know asks his own node (gettxout {} {}), or several servers",
                seal.txid, seal.vout
            ),
        ]);
    }
    lines.extend(reading.open.iter().map(|open| format!("open         {open}")));
    lines
}

/// What was asked, in one line each.
fn cost(cost: &Cost) -> Vec<String> {
    let Cost { title, contract, headers } = cost;
    vec![
        format!(
            "asked        {} questions, {} bytes for issuer, terms and owner",
            title.calls, title.bytes
        ),
        format!(
            "             {} questions, {} bytes for escrow and work; {} and {} for headers",
            contract.calls, contract.bytes, headers.calls, headers.bytes
        ),
    ]
}
