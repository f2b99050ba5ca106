//! A validator's part, and how a position stands.

use std::path::Path;

use crate::chain::electrum::Electrum;
use crate::cli::arguments::{DeskArguments, Folder};
use crate::cli::position::{tell, terms, turn, written};
use crate::cli::{seed, validator, wallet};
use crate::engine::SEAT;
use crate::engine::issuing::{COPY, Issuing, look};
use crate::error::{Error, Result};
use crate::flow::position::proof::{Least, Stage, critical, foreseen};
use crate::flow::position::state::headers_from;
use crate::flow::position::terms::PositionTerms;
use crate::header_sync::GuardedChain;
use crate::headers::Headers;
use crate::party::Seat;
use crate::sign::software::SoftwareSigner;
use crate::store::Store;
use crate::validator::desk::Desk;

/// Where validators kept their words before desks did.
const OLDER: &str = "positions.sqlite";

/// Does whatever is the validator's to do now.
pub(super) fn attest(
    dossier: &Path,
    desk: &DeskArguments,
    number: u32,
    standing: u32,
) -> Result<Vec<String>> {
    let (terms, home) = (terms(dossier)?, &desk.home);
    let sources = validator::sources(desk)?;
    // Without them nothing is signed, so no secrets are asked for.
    sources.check()?;
    let network = terms.reward.network;
    let seed = seed::read(&home.seed())?;
    let signer = SoftwareSigner::new(seed.record(network, number)?, network)?;
    let standing = SoftwareSigner::new(seed.record(network, standing)?, network)?;
    let ours = signer.keys().communication;
    let keys = terms.reward.federation.ruling_keys();
    let place = (0u8..).zip(&keys).find(|(_, key)| **key == ours).map(|(place, _)| place);
    let place = place
        .ok_or_else(|| SEAT.misused("--number", "a validator's record of this position", ours))?;
    // What is bound here, the desk of the position's contracts knows. Nothing may be forgotten that was
    // bound elsewhere.
    let older = home.home.join(OLDER);
    if older.exists() {
        let expected = "no older store of positions beside the desk's";
        return Err(COPY.unstored(older.display(), expected, "one"));
    }
    let store = Desk::memory(&home.home, &seed, network)?;
    let (first, others) = (sources.first()?, sources.others()?);
    let mut issuing = Issuing::open(Seat::Validator(place), terms, store, first, signer, dossier)?
        .with_standing(standing, others)?;
    let told = issuing.step()?;
    tell(&mut issuing, &told, dossier)
}

/// Whose turn it is, for anybody.
pub(super) fn status(dossier: &Path, folder: &Folder, url: &str) -> Result<Vec<String>> {
    let terms = terms(dossier)?;
    wallet::make(&folder.home)?;
    let mut store = Store::open(folder.home.join(wallet::STORE))?;
    let mut chain = GuardedChain::new(Electrum::connect(url, terms.reward.network)?);
    let looked = look(&terms, &mut store, &mut chain, dossier)?;
    let mut lines = vec![
        format!("terms    {}", terms.id()?),
        format!("height   {}", chain.height()),
        format!("rate     {} H/s from height {}", terms.delivery.rate, terms.delivery.start),
    ];
    let headers = chain.headers(headers_from(&terms))?;
    for stage in Stage::BOTH {
        lines.push(format!(
            "{:<9}heights {} to {}, {}, certificate of {}",
            stage.name().get(..7).unwrap_or_default(),
            stage.first(&terms),
            stage.last(&terms),
            least(&terms, stage, &headers)?,
            stage.position(&terms)?
        ));
    }
    lines.extend(looked.refused.iter().map(|(name, error)| format!("refused  {name}: {error}")));
    if let Some(issue) = &looked.issue {
        match written(dossier, issue, &looked.dead) {
            Ok(line) => lines.extend(line),
            // Another file lies there; whoever looks is told, and sees how the position stands.
            Err(error @ (Error::Refused { .. } | Error::Usage(_))) => {
                lines.push(format!("refused  issue.json: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    lines.extend(turn(&looked.turn));
    Ok(lines)
}

/// The fewest shares that prove a stage: by the time that its slice took, or by 600 s a block until that
/// is known.
fn least(terms: &PositionTerms, stage: Stage, headers: &Headers) -> Result<String> {
    let (Least { seconds, expected, shares }, so) = match critical(terms, stage, headers) {
        Ok(least) => (least, "it took"),
        Err(Error::Unavailable(_)) => (foreseen(terms)?, "if it takes"),
        Err(error) => return Err(error),
    };
    Ok(format!("at least {shares} of {expected} shares ({so} {seconds} s)"))
}
