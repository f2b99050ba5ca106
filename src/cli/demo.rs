//! `hashmix demo`: two stories, told as they happen: the first deal, and a position's life.

use std::path::{Path, PathBuf};

use bitcoin::Amount;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::arguments::{DemoArguments, Story};
use crate::engine::{Report, Sent};
use crate::error::{Result, Rule};
use crate::flow::escrow::outcome::judge;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::journal::{self, Bond};
use crate::flow::{Event, dispute, escrow, reward};
use crate::party::Seat;
use crate::rehearsal::deal::{Ending, LAST_BLOCK, Moment, Trouble, play};
use crate::rehearsal::ledger::{Account, Ledger, Side};
use crate::rehearsal::world::{self, World};
use crate::script::template::Variant;
use crate::work::receipt::Subject;

/// Prints a line. Whoever reads through a pipe may stop when he has seen enough; the standard
/// library's macro would panic then.
macro_rules! println {
    ($($text:tt)*) => {{
        let _ = std::io::Write::write_fmt(
            &mut std::io::stdout(),
            format_args!("{}\n", format_args!($($text)*)),
        );
    }};
}

mod position;

/// The rehearsal has a folder for stores and messages.
pub const FOLDER: Rule = Rule::new(
    "demo-folder",
    "the demo writes its stores and messages into a new folder",
    "name a folder that does not exist yet, or leave --keep away",
);
/// The deal ends as the terms say.
pub const BALANCE: Rule = Rule::new(
    "demo-balance",
    "every account of the deal balances to the satoshi",
    "report this: a satoshi was lost or made",
);

/// Plays the stories and tells them. What is not kept is removed at the end.
pub fn run(arguments: &DemoArguments) -> Result<()> {
    let DemoArguments { story, variant, world, keep } = arguments;
    let unwritable = |error: std::io::Error| FOLDER.unstored("demo folder", "a new folder", error);
    let temporary;
    let dir = match keep {
        Some(path) => {
            std::fs::create_dir(path).map_err(unwritable)?;
            path.clone()
        }
        None => {
            temporary = Scratch::new().map_err(unwritable)?;
            temporary.0.clone()
        }
    };
    let folder = |name: &str| {
        let path = dir.join(name);
        std::fs::create_dir(&path).map_err(unwritable).map(|()| path)
    };
    if *story != Story::Position {
        deal((*variant).into(), world, &folder("deal")?)?;
    }
    if *story == Story::Both {
        println!("");
    }
    if *story != Story::Deal {
        position::run(world, &folder("position")?)?;
    }
    if let Some(path) = keep {
        println!("\nStores and messages stay in {}.", path.display());
    }
    Ok(())
}

fn deal(variant: Variant, world: &str, dir: &Path) -> Result<()> {
    let node = begin("The first deal", world)?;
    let bar = progress(LAST_BLOCK);
    let ending = play(&*node, variant, Trouble::default(), dir, &mut |moment| match moment {
        Moment::Block { height, .. } => bar.set_position(u64::from(height)),
        moment => bar.suspend(|| tell(&moment)),
    });
    bar.finish_and_clear();
    let ending = ending?;
    tell_verdict(&ending)?;
    tell_ledger(&ending.ledger)
}

/// A world of this name, introduced.
fn begin(story: &str, world: &str) -> Result<Box<dyn World>> {
    let node = world::named(world)?;
    let what = match world {
        "core" => "Bitcoin Core without peers, and",
        _ => "Bitcoin Core's validation in process,",
    };
    println!("{story}, on a chain of its own: {what}");
    println!("an Electrum server at {} in front of it.", node.electrum_url());
    Ok(node)
}

fn progress(blocks: u32) -> ProgressBar {
    let bar = ProgressBar::new(u64::from(blocks));
    let style = ProgressStyle::with_template("  {bar:40} {pos}/{len} blocks  {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn tell(moment: &Moment<'_>) {
    match moment {
        Moment::Chapter { title, about } => {
            println!("\n== {title} ==");
            for line in wrapped(about, 84) {
                println!("   {line}");
            }
        }
        Moment::Agreed(terms) => tell_terms(terms),
        Moment::Note(height, text) => println!("{height:>5}  {text}"),
        Moment::Done(height, seat, report) => tell_report(*height, *seat, report),
        Moment::Documents(..)
        | Moment::Stepped(_)
        | Moment::Restarted(_)
        | Moment::Reorg(_)
        | Moment::Block { .. } => {}
    }
}

fn tell_terms(terms: &EscrowTerms) {
    let delivery = &terms.delivery;
    println!("       price {} for {} H/s", btc(terms.price), delivery.rate);
    println!(
        "       {} periods of {} blocks from height {}, in windows of {}; service share {} %",
        delivery.periods,
        delivery.period,
        delivery.start,
        delivery.window,
        terms.reward.service_ppm / 10_000,
    );
    if let (Ok(id), Ok(federation)) = (terms.id(), terms.reward.federation.id()) {
        println!("       terms      {id}");
        println!("       federation {federation}  (what the buyer pins)");
    }
    let lock = |name: &str, lock: Result<crate::script::lock::Lock>| {
        if let Ok(address) = lock.and_then(|lock| lock.address(terms.reward.network)) {
            println!("       {name} {address}");
        }
    };
    lock("reward lock", reward::coins::lock(&terms.reward));
    lock("escrow lock", escrow::coins::lock(terms, 0));
}

fn tell_report(height: u32, seat: Seat, report: &Report) {
    match report {
        Report::Said(event) => {
            if let Some(line) = said(seat, event) {
                println!("{height:>5}  {seat} {line}");
            }
        }
        Report::Sent(sent) => tell_sent(seat, sent),
        Report::Refused(message, error) => println!("{height:>5}  {seat} keeps {message}: {error}"),
        Report::Reorganised(reorg) => println!("{height:>5}  {seat} sees a reorg {reorg}"),
        Report::Departed(departure) => println!("{height:>5}  {seat} sees that {departure}"),
        Report::Heard(..) | Report::Waiting { .. } => {}
    }
}

fn said(seat: Seat, event: &Event) -> Option<String> {
    Some(match event {
        Event::Reward(reward::state::Event::Receipted(receipt)) => {
            let Subject::Certificate { slice, .. } = receipt.subject else { return None };
            format!("verifies slice {} and signs a receipt for it", slice.saturating_add(1))
        }
        Event::Escrow(escrow::state::Event::Asked(ask)) => format!(
            "asks for a state through period {}: {} earned",
            ask.outcome.period.saturating_add(1),
            btc(ask.outcome.earned)
        ),
        Event::Escrow(escrow::state::Event::Signed { ask, .. }) => format!(
            "signs the state through period {}; nothing is broadcast",
            ask.outcome.period.saturating_add(1)
        ),
        Event::Escrow(escrow::state::Event::Joined { .. }) => {
            "joins both partial signatures into one".to_owned()
        }
        Event::Dispute(dispute::state::Event::Receipted(_)) => {
            "signs a receipt for the opening".to_owned()
        }
        Event::Journal(journal::Event::Entered { entry, .. }) => {
            let what = match &entry.bond {
                Bond::Ruling { outcome, .. } => format!(
                    "a ruling through period {}: {} earned{}",
                    outcome.period.saturating_add(1),
                    btc(outcome.earned),
                    if outcome.closes { ", the contract closes" } else { "" }
                ),
                Bond::Sweep { .. } => "the sweep".to_owned(),
                Bond::Resale { outcome, .. } => format!(
                    "the resale through period {}: {} earned",
                    outcome.period.saturating_add(1),
                    btc(outcome.earned)
                ),
            };
            format!("recomputes, and enters in his journal {what}")
        }
        Event::Journal(journal::Event::Witnessed { validator, entries, .. }) => {
            let number = entries.first()?.number.saturating_add(1);
            format!("holds entry {number} of validator {validator}")
        }
        Event::Dispute(dispute::state::Event::Ruled { .. })
            if !matches!(seat, Seat::Validator(_)) =>
        {
            "has two equal rulings and puts his own signature under them".to_owned()
        }
        Event::Dispute(dispute::state::Event::Ruled { outcome, .. }) => {
            let period = outcome.period.saturating_add(1);
            format!("signs the ruling through period {period}, which others hold him to")
        }
        Event::Reward(reward::state::Event::SweepSigned { signatures, .. }) => {
            format!("signs the sweep, {} inputs", signatures.len())
        }
        _ => return None,
    })
}

fn tell_sent(seat: Seat, sent: &Sent) {
    let signers: Vec<String> = sent.signers.iter().map(ToString::to_string).collect();
    println!("{:>5}  {seat} broadcasts: {}", sent.height, sent.title);
    println!("         txid {}", sent.tx.compute_txid());
    println!(
        "         {}, signed by {}; {} vB, fee {} sat; in the block at height {}",
        sent.path,
        signers.join(" + "),
        sent.tx.vsize(),
        sent.fee.to_sat(),
        sent.height.saturating_add(1),
    );
}

/// The work, period by period: agreed, proven, earned.
fn tell_verdict(ending: &Ending) -> Result<()> {
    let last = ending.terms.delivery.periods.saturating_sub(1);
    let verdict = judge(&ending.terms, &ending.facts, &ending.evidence, last)?;
    println!("\n== What the certificates prove ==");
    println!(
        "   Work in hashes, money in satoshis. Within a window of two periods, what one proves"
    );
    println!("   beyond its own fills the next.");
    println!("   period      agreed      proven    credited  installment       earned");
    for period in &verdict.periods {
        println!(
            "   {:>6} {:>11} {:>11} {:>11} {:>12} {:>12}",
            period.period.saturating_add(1),
            period.agreed,
            period.credit,
            period.filled,
            period.installment.to_sat(),
            period.earned.to_sat(),
        );
    }
    Ok(())
}

fn tell_ledger(ledger: &Ledger) -> Result<()> {
    println!("\n== The balance sheet at height {}, in satoshis ==", ledger.height);
    for account in &ledger.accounts {
        tell_account(account)?;
    }
    let left = crate::amount::sum(ledger.accounts.iter().map(|a| a.left), "balance sheet")?;
    println!("\n   {:<61} ={:>15}", "all accounts together", left.to_sat());
    println!("   {:<61} ={:>15}", "every subsidy of the chain", ledger.minted.to_sat());
    if !ledger.balances()? {
        return Err(BALANCE.broken("balance sheet", ledger.minted, left));
    }
    println!("   The sheet balances: nothing was lost, nothing was made.");
    Ok(())
}

fn tell_account(account: &Account) -> Result<()> {
    println!("\n   {}", account.who);
    for entry in &account.entries {
        let (sign, kind) = match entry.side {
            Side::In => ("+", "in"),
            Side::Out => ("-", "out"),
            Side::Fee => ("-", "fee"),
        };
        println!("     {kind:<4} {:<54} {sign}{:>15}", entry.what, entry.amount.to_sat());
    }
    let [total_in, out, fees] =
        [account.total(Side::In)?, account.total(Side::Out)?, account.total(Side::Fee)?];
    println!("     {:<59} ={:>15}", "left in the wallet", account.left.to_sat());
    println!(
        "     {} in = {} out + {} fees + {} left",
        total_in.to_sat(),
        out.to_sat(),
        fees.to_sat(),
        account.left.to_sat()
    );
    if account.balances()? {
        return Ok(());
    }
    Err(BALANCE.broken(account.who, account.total(Side::In)?, account.left))
}

/// Lines of at most `width` characters, broken between words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn btc(amount: Amount) -> String {
    format!("{:.8} BTC", amount.display_in(bitcoin::Denomination::Bitcoin))
}

/// A folder that ends with the demo.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Self> {
        let name = format!("hashmix-demo-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed lies among the system's temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
