//! `hashmix position`: the way of a position to its issue. Each command does one person's part, says
//! what happened, and whose turn it is. And what came of it: who holds the position, what it delivers
//! and pays.
//!
//! | command | asks | answers |
//! |---|---|---|
//! | `verify` | a server, and headers | issuer, terms, holders, the lock to pay, credit, what is paid; what nobody can prove |
//! | `list` | the same | a line for each dossier |
//! | `show` | the same | that line, and a timeline, also as a drawing |
//! | `terms` | the same | the terms of the contract that came with a move, for a gateway |
//! | `evidence` | nobody | certificates and receipts from elsewhere, taken into the dossier |
//!
//! The others are told in `miner`, `fund`, `attest` and `make`.

use std::path::Path;

use bitcoin::Txid;

use crate::chain::electrum::Electrum;
use crate::cli::arguments::{PositionCommand, SeatArguments};
use crate::cli::{Done, file, seed, wallet};
use crate::engine::issuing::{Issuing, Told};
use crate::error::Result;
use crate::flow::escrow::terms::TERMS_MAX_BYTES;
use crate::flow::position::dossier::Issue;
use crate::flow::position::terms::PositionTerms;
use crate::flow::position::txs::PARENT_INPUT;
use crate::party::Seat;
use crate::sign::software::SoftwareSigner;
use crate::store::Store;

mod attest;
mod contract;
pub mod evidence;
pub mod folder;
mod fund;
mod make;
mod miner;
pub mod reading;
pub mod show;
pub mod timeline;
pub mod verify;

pub use contract::SOLD;
pub use fund::PAID_FOR;
pub use make::NUMBERS;

/// A dossier's file with the position's terms.
const TERMS: &str = "position.json";

/// Does what the arguments ask for.
pub fn perform(command: &PositionCommand) -> Result<Done> {
    let lines = match command {
        PositionCommand::Verify { dossier, by } => return verify::verify(by, dossier),
        PositionCommand::List { dossiers, by } => show::list(by, dossiers),
        PositionCommand::Show { dossier, by, svg } => show::show(by, dossier, svg.as_deref()),
        PositionCommand::Terms { dossier, by, number, out } => {
            return contract::terms(by, dossier, *number, out);
        }
        PositionCommand::Evidence { dossier, from } => evidence::take(dossier, from),
        PositionCommand::Federation(arguments) => make::federation(arguments),
        PositionCommand::New(arguments) => make::new(arguments),
        PositionCommand::Enroll { seat, proof } => miner::enroll(seat, proof.as_deref()),
        PositionCommand::Ask(seat) => miner::ask(seat),
        PositionCommand::Prove { seat, onboarding, binding } => {
            miner::prove(seat, onboarding.as_deref(), binding.as_deref())
        }
        PositionCommand::Fund(arguments) => fund::fund(arguments),
        PositionCommand::Issue(seat) => miner::issue(seat),
        PositionCommand::Attest { dossier, desk, number, standing } => {
            attest::attest(dossier, desk, *number, *standing)
        }
        PositionCommand::Status { dossier, folder, server } => {
            attest::status(dossier, folder, &server.electrum)
        }
    };
    lines.map(Done::from)
}

/// The terms in a dossier.
fn terms(dossier: &Path) -> Result<PositionTerms> {
    let path = dossier.join(TERMS);
    let text = file::text(&path, TERMS_MAX_BYTES)?;
    PositionTerms::from_json(&text).map_err(|error| error.within(path.display()))
}

/// The miner at a position.
fn sit(seat: &SeatArguments) -> Result<Issuing> {
    let (terms, home) = (terms(&seat.dossier)?, &seat.home);
    let network = terms.reward.network;
    let secrets = seed::read(&home.seed())?.record(network, seat.number)?;
    wallet::make(&home.home)?;
    let store = Store::open(home.home.join(wallet::STORE))?;
    let chain = Electrum::connect(&seat.server.electrum, network)?;
    let signer = SoftwareSigner::new(secrets, network)?;
    Issuing::open(Seat::Miner, terms, store, chain, signer, &seat.dossier)
}

/// What was done or seen, a line each, and whose turn it is. Whoever sees that the position is issued
/// adds the issue's file to the dossier: most often a validator broadcasts it, and the miner may be away.
fn tell(issuing: &mut Issuing, told: &[Told], dossier: &Path) -> Result<Vec<String>> {
    let mut lines: Vec<String> = told.iter().map(line).collect();
    let sent = told.iter().any(|told| matches!(told, Told::Sent(_)));
    let dead: Vec<Txid> = issuing.state().dead().collect();
    if let Some(issue) = issuing.issue(sent)? {
        lines.extend(written(dossier, &issue, &dead)?);
    }
    lines.extend(turn(&issuing.turn()?));
    Ok(lines)
}

/// Adds the issue's file to the dossier, and says so if it was not there; of an inscribed one, where it
/// leaves the federation's inscription.
fn written(dossier: &Path, issue: &Issue, dead: &[Txid]) -> Result<Vec<String>> {
    let fresh = folder::write_issue(dossier, issue, dead)?;
    let fresh = fresh.then(|| format!("written  issue.json: {}", issue.txid));
    let parent = issue.inscription.map(|_| {
        format!(
            "parent   the federation's inscription lies at {}:{PARENT_INPUT} now: the next issue's --parent-at",
            issue.txid
        )
    });
    Ok(fresh.into_iter().chain(parent).collect())
}

fn line(told: &Told) -> String {
    match told {
        Told::Said(event) => format!("said     {}", event.kind()),
        Told::Heard(seat, event) => format!("heard    {} of {seat}", event.kind()),
        Told::Refused(place, error) => format!("refused  {place}: {error}"),
        Told::Sent(txid) => format!("sent     the issue, {txid}"),
    }
}

fn turn(turn: &crate::flow::position::state::Turn) -> Vec<String> {
    let by: Vec<String> = turn.by.iter().map(ToString::to_string).collect();
    match by.is_empty() {
        true => vec![format!("next     {}", turn.what)],
        false => vec![format!("next     {}: {}", by.join(", "), turn.what)],
    }
}
