//! `hashmix terms`: what a contract is agreed on, and the locks that follow from it.

use std::path::Path;

use miniscript::descriptor::checksum::desc_checksum;

use crate::cli::arguments::{LockName, SignArguments};
use crate::cli::file::Readers;
use crate::cli::{file, seed, summary};
use crate::error::{Result, Rule};
use crate::flow::escrow::terms::{EscrowTerms, TERMS_MAX_BYTES};
use crate::flow::{escrow, reward};
use crate::party::{Role, Seat};
use crate::script::template::Policy;
use crate::sign::software::SoftwareSigner;
use crate::validator::registration::{
    REGISTRATION_FORMAT, REGISTRATION_MAX_BYTES, Registration, SIGNED, digest,
};

/// A lock has an index.
pub const INDEX: Rule = Rule::new(
    "terms-index",
    "the reward lock has index 0, the escrow one index for each settlement of the term",
    "choose an index that the contract can reach",
);
/// A descriptor has a checksum.
pub const CHECKSUM: Rule = Rule::new(
    "descriptor-characters",
    "a descriptor has no characters but those that its checksum covers (BIP 380)",
    "copy the descriptor again",
);

/// Reads and checks the terms in the file at `path`.
pub fn read(path: &Path) -> Result<EscrowTerms> {
    let text = file::text(path, TERMS_MAX_BYTES)?;
    EscrowTerms::from_json(&text).map_err(|error| error.within(path.display()))
}

/// Checks everything that the terms alone can be checked for.
pub fn check(path: &Path) -> Result<Vec<String>> {
    let terms = read(path)?;
    let reward = &terms.reward;
    Ok(vec![
        format!("terms       {}", terms.id()?),
        format!("contract    \"{}\" on {}", reward.contract, reward.network),
        format!("federation  {}", reward.federation.id()?),
        "checked     form, records and their signatures, no key twice, work, delays, fees, price"
            .to_owned(),
    ])
}

/// Says in plain words what the terms mean.
pub fn show(path: &Path) -> Result<Vec<String>> {
    summary::of(&read(path)?)
}

/// Agrees to the terms: writes a registration with the party's signature, beside the other's if the
/// file holds it already.
pub fn sign(arguments: &SignArguments) -> Result<Vec<String>> {
    let path = &arguments.file;
    let text = file::text(path, REGISTRATION_MAX_BYTES)?;
    let read = match text.contains(&format!("\"{REGISTRATION_FORMAT}\"")) {
        true => Registration::from_json(&text),
        false => EscrowTerms::from_json(&text).map(Registration::new),
    };
    let mut registration = read.map_err(|error| error.within(path.display()))?;
    registration.terms.check()?;
    registration.check_signable().map_err(|error| error.within(path.display()))?;
    let seat = match Role::from(arguments.role) {
        Role::Miner => Seat::Miner,
        Role::Holder => Seat::Holder,
        role @ Role::Validator => return Err(SIGNED.misused("--role", "miner or holder", role)),
    };
    let network = registration.terms.reward.network;
    let secrets = seed::read(&arguments.source)?.record(network, arguments.number)?;
    let id = registration.terms.id()?;
    let signature = SoftwareSigner::new(secrets, network)?.sign_digest(digest(id))?;
    registration.add(seat, signature)?;
    let out = &arguments.registration;
    file::write(out, registration.to_json()?.as_bytes(), Readers::Anyone)?;
    let next = match registration.check() {
        Ok(_) => "both have signed: hand it to each validator",
        Err(_) => "the other party signs it too, with `hashmix terms sign`",
    };
    Ok(vec![
        format!("registration  {}", out.display()),
        format!("terms         {id}"),
        format!("next          {next}"),
    ])
}

/// The addresses of the locks at an index.
pub fn address(path: &Path, index: u32, lock: Option<LockName>) -> Result<Vec<String>> {
    let terms = read(path)?;
    let network = terms.reward.network;
    let last = match lock {
        Some(LockName::Reward) => 0,
        _ => terms.calendar().paid_periods(),
    };
    if index > last {
        return Err(INDEX.misused("--index", format_args!("0 to {last}"), index));
    }
    let mut lines = Vec::new();
    // The reward lock has one address, so a question about a later index is about the escrow.
    if lock != Some(LockName::Escrow) && index == 0 {
        let address = reward::coins::lock(&terms.reward)?.address(network)?;
        lines.push(format!("reward    {address}"));
    }
    if lock != Some(LockName::Reward) {
        let address = escrow::coins::lock(&terms, index)?.address(network)?;
        lines.push(format!("escrow {index}  {address}"));
    }
    Ok(lines)
}

/// Both forms of both descriptors, with checksums.
pub fn descriptor(path: &Path) -> Result<Vec<String>> {
    let terms = read(path)?;
    let mut lines = Vec::new();
    for (name, policy) in [
        ("reward", reward::coins::policy(&terms.reward)?),
        ("escrow", escrow::coins::policy(&terms)?),
    ] {
        lines.extend(forms(name, &policy)?);
    }
    Ok(lines)
}

fn forms(name: &str, policy: &Policy) -> Result<Vec<String>> {
    let whole = |text: &str| -> Result<String> {
        let sum = desc_checksum(text)
            .map_err(|error| CHECKSUM.broken("descriptor of a lock", "a checksum", error))?;
        Ok(format!("{text}#{sum}"))
    };
    if policy.musig_form == policy.xpub_form {
        return Ok(vec![format!("{name} lock, no key path:"), whole(&policy.musig_form)?]);
    }
    Ok(vec![
        format!("{name} lock, with musig() (BIP 390), for Bitcoin Core, devices and backups:"),
        whole(&policy.musig_form)?,
        format!("{name} lock, with the synthetic xpub (BIP 328), for miniscript and BDK:"),
        whole(&policy.xpub_form)?,
    ])
}
