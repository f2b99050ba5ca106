//! The miner's part: enrol, ask, prove, broadcast; his payment is told in `fund`.

use std::path::Path;

use crate::cli::arguments::SeatArguments;
use crate::cli::position::{sit, tell, terms};
use crate::cli::{file, seed, wallet};
use crate::engine::POSSIBLE;
use crate::error::Result;
use crate::flow::position::proof::Stage;
use crate::flow::position::word::Event;
use crate::sign::software::SoftwareSigner;
use crate::store::Store;
use crate::wallet::Wallet;
use crate::work::certificate::{Certificate, LONGEST_FILE};

/// Longest file with a proof, in bytes.
const LONGEST_PROOF: usize = 16_384;

/// Proves the address in the miner's record.
pub(super) fn enroll(seat: &SeatArguments, proof: Option<&Path>) -> Result<Vec<String>> {
    let proof = match proof {
        Some(path) => file::text(path, LONGEST_PROOF)?.trim().to_owned(),
        None => made(seat)?,
    };
    say(seat, Event::Enrolled { proof })
}

/// The proof by the wallet in the miner's home, or by his communication key.
fn made(seat: &SeatArguments) -> Result<String> {
    let (terms, home) = (terms(&seat.dossier)?, &seat.home);
    let (network, record) = (terms.reward.network, &terms.reward.miner.record);
    let (statement, address) = (record.statement()?, record.payout.assume_checked_ref());
    let seed = seed::read(&home.seed())?;
    let signer = SoftwareSigner::new(seed.record(network, seat.number)?, network)?;
    if signer.address() == *address {
        return signer.sign_text(&statement);
    }
    wallet::make(&home.home)?;
    let mut store = Store::open(home.home.join(wallet::STORE))?;
    let master = seed.master(network.into())?;
    let wallet = Wallet::create_or_load(&mut store, *master.xpriv(), network)?;
    wallet.prove(address, &statement)?.ok_or_else(|| {
        let expected = format_args!("a signature of `{statement}` by {address}").to_string();
        POSSIBLE.misused("--proof", expected, "an address that is not this wallet's")
    })
}

/// Asks for the issue.
pub(super) fn ask(seat: &SeatArguments) -> Result<Vec<String>> {
    say(seat, Event::Asked)
}

/// Shows the certificate of a slice.
pub(super) fn prove(
    seat: &SeatArguments,
    onboarding: Option<&Path>,
    binding: Option<&Path>,
) -> Result<Vec<String>> {
    let read = |path: &Path, stage: Stage| -> Result<Certificate> {
        let position = stage.position(&terms(&seat.dossier)?)?;
        let several = Certificate::read_several(&file::bytes(path, LONGEST_FILE)?)
            .map_err(|error| error.within(path.display()))?;
        let mut several = several.into_iter();
        several.find(|one| one.position == position).ok_or_else(|| {
            let expected = format_args!("a certificate of {position}, the {stage}").to_string();
            POSSIBLE.misused(path.display(), expected, "none")
        })
    };
    match (onboarding, binding) {
        (Some(path), _) => say(seat, Event::Onboarded(read(path, Stage::Onboarding)?)),
        (None, Some(path)) => say(seat, Event::Bound(read(path, Stage::Binding)?)),
        (None, None) => Err(POSSIBLE.misused("position prove", "a certificate", "none")),
    }
}

/// Broadcasts what is signed.
pub(super) fn issue(seat: &SeatArguments) -> Result<Vec<String>> {
    let mut issuing = sit(seat)?;
    let told = issuing.step()?;
    tell(&mut issuing, &told, &seat.dossier)
}

pub(super) fn say(seat: &SeatArguments, event: Event) -> Result<Vec<String>> {
    let (mut issuing, kind) = (sit(seat)?, event.kind());
    issuing.say(event)?;
    let told = issuing.step()?;
    let mut lines = vec![format!("said     {kind}")];
    lines.extend(tell(&mut issuing, &told, &seat.dossier)?);
    Ok(lines)
}
