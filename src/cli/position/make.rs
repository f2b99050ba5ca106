//! `hashmix position federation` and `new`: files made of records and numbers.

use std::path::Path;

use bitcoin::Amount;
use serde::Deserialize;

use crate::cli::arguments::{FederationArguments, NewArguments};
use crate::cli::file::{self, Readers};
use crate::cli::wallet;
use crate::error::{Culprit, Error, Result, Rule};
use crate::flow::escrow::terms::{Delays, Delivery, Fees, TERMS_MAX_BYTES};
use crate::flow::position::proof::{check_provable, foreseen};
use crate::flow::position::terms::{POSITION_FORMAT, PositionTerms};
use crate::flow::reward::terms::RewardTerms;
use crate::party::{Federation, RECORD_MAX_BYTES, Record};
use crate::script::template::Variant;
use crate::wallet::address_on;
use crate::work::agreement::{Entitlement, Profile, share_target};

/// The form of a position's numbers.
pub const NUMBERS: Rule = Rule::new(
    "position-numbers",
    "a position's numbers are JSON with the fields of `hashmix position numbers 1`",
    "compare it with fixtures/position/numbers.json, which the README shows: each number once, none left out; the share target follows from rate, slice and expected shares",
);

/// The first field of a position's numbers.
const NUMBERS_FORMAT: &str = "hashmix position numbers 1";

/// The numbers of a position, as [`PositionTerms`] has them; the share target follows from them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    format: String,
    profile: Profile,
    variant: Variant,
    efficiency: u16,
    onboarding: u32,
    binding: u32,
    start: u32,
    period: u32,
    periods: u32,
    window: u32,
    slice: u32,
    rate: u64,
    expected: u32,
    rule: Entitlement,
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    coinbase_cap: Amount,
    receipt_span: u32,
    proof_span: u32,
    ruling_depth: u32,
    exit_delay: u16,
    service_ppm: u32,
    delays: Delays,
    fees: Fees,
}

fn record(path: &Path) -> Result<Record> {
    let text = file::text(path, RECORD_MAX_BYTES)?;
    Record::from_json(&text).map_err(|error| error.within(path.display()))
}

fn unread(path: &Path, found: impl core::fmt::Display) -> Error {
    NUMBERS.refuses(Culprit::Sender, path.display(), NUMBERS_FORMAT, found)
}

/// Makes the file of a federation.
pub(super) fn federation(arguments: &FederationArguments) -> Result<Vec<String>> {
    let validators: Vec<Record> =
        arguments.records.iter().map(|path| record(path)).collect::<Result<_>>()?;
    let Some(first) = validators.first() else { return Ok(Vec::new()) };
    let (network, name) = (first.record.network, first.record.contract.clone());
    let payout = address_on(network, &arguments.payout)?.into_unchecked();
    let federation = Federation { threshold: arguments.threshold, validators, payout };
    federation.check(network, &name)?;
    crate::party::check_distinct(&federation.validators)?;
    let text = serde_json::to_string_pretty(&federation)
        .map_err(|error| NUMBERS.broken("federation", "JSON", error))?;
    file::write(&arguments.out, (text + "\n").as_bytes(), Readers::Anyone)?;
    Ok(vec![
        format!("federation  {}", arguments.out.display()),
        format!("decides     {} of {}", federation.threshold, federation.validators.len()),
        format!("id          {}", federation.id()?),
        "next        publish the file; buyers pin its id".to_owned(),
    ])
}

/// Makes a dossier with a position's terms.
pub(super) fn new(arguments: &NewArguments) -> Result<Vec<String>> {
    let text = file::text(&arguments.numbers, TERMS_MAX_BYTES)?;
    let numbers: Numbers =
        serde_json::from_str(&text).map_err(|error| unread(&arguments.numbers, error))?;
    if numbers.format != NUMBERS_FORMAT {
        return Err(unread(&arguments.numbers, numbers.format));
    }
    let text = file::text(&arguments.issuer, TERMS_MAX_BYTES)?;
    let issuer: Federation =
        serde_json::from_str(&text).map_err(|error| unread(&arguments.issuer, error))?;
    let (miner, holder) = (record(&arguments.miner)?, record(&arguments.holder)?);
    let validators = arguments.validator.iter().map(|path| record(path));
    let federation = Federation {
        threshold: issuer.threshold,
        validators: validators.collect::<Result<_>>()?,
        payout: address_on(miner.record.network, &arguments.payout)?.into_unchecked(),
    };
    let terms = terms(numbers, issuer, [miner, holder], federation)?;
    wallet::make(&arguments.out)?;
    let path = arguments.out.join(super::TERMS);
    file::write(&path, terms.to_json()?.as_bytes(), Readers::Anyone)?;
    let delivery = &terms.delivery;
    Ok(vec![
        format!("position  {}", path.display()),
        format!("terms     {}", terms.id()?),
        format!("issuer    {}", terms.issuer.id()?),
        format!(
            "proves    at least {} of {} shares if {} blocks take 600 s each, twice: from height {} and from height {}",
            foreseen(&terms)?.shares,
            delivery.expected,
            delivery.slice,
            terms.onboarding,
            terms.binding
        ),
        "next      the miner enrols: hashmix position enroll".to_owned(),
    ])
}

/// A position's terms of numbers and people, which check out.
fn terms(
    numbers: Numbers,
    issuer: Federation,
    [miner, holder]: [Record; 2],
    federation: Federation,
) -> Result<PositionTerms> {
    let network = miner.record.network;
    let terms = PositionTerms {
        format: POSITION_FORMAT.to_owned(),
        profile: numbers.profile,
        issuer,
        reward: RewardTerms {
            network,
            contract: miner.record.contract.clone(),
            variant: numbers.variant,
            miner,
            holder,
            federation,
            exit_delay: numbers.exit_delay,
            service_ppm: numbers.service_ppm,
        },
        efficiency: numbers.efficiency,
        onboarding: numbers.onboarding,
        binding: numbers.binding,
        delivery: Delivery {
            start: numbers.start,
            period: numbers.period,
            periods: numbers.periods,
            window: numbers.window,
            slice: numbers.slice,
            rate: numbers.rate,
            target: share_target(numbers.rate, numbers.expected, numbers.slice),
            expected: numbers.expected,
            rule: numbers.rule,
            coinbase_cap: numbers.coinbase_cap,
            receipt_span: numbers.receipt_span,
            proof_span: numbers.proof_span,
            ruling_depth: numbers.ruling_depth,
        },
        delays: numbers.delays,
        fees: numbers.fees,
    };
    terms.check()?;
    check_provable(&terms)?;
    Ok(terms)
}

#[cfg(test)]
mod tests {
    use bitcoin::Network;

    use super::*;
    use crate::party::Role;
    use crate::sign::record::record;
    use crate::sign::seed::Seed;
    use crate::sign::software::SoftwareSigner;

    const EXAMPLE: &str = include_str!("../../../fixtures/position/numbers.json");

    fn person(role: Role, contract: &str) -> Record {
        let network = Network::Bitcoin;
        let secrets = Seed::fresh().unwrap().record(network, 0).unwrap();
        let signer = SoftwareSigner::new(secrets, network).unwrap();
        record(&signer, role, network, contract, signer.address().into_unchecked()).unwrap()
    }

    /// The issuer, and the same three with fresh records for the position.
    fn federations() -> [Federation; 2] {
        let three = |contract: &str| -> Vec<Record> {
            (0..3).map(|_| person(Role::Validator, contract)).collect()
        };
        let standing = three("standing");
        let payout = standing[0].record.payout.clone();
        [standing, three("position a")].map(|validators| Federation {
            threshold: 2,
            validators,
            payout: payout.clone(),
        })
    }

    fn made(text: &str) -> Result<PositionTerms> {
        let numbers: Numbers =
            serde_json::from_str(text).map_err(|error| unread(Path::new("numbers"), error))?;
        let seats = [Role::Miner, Role::Holder].map(|role| person(role, "position a"));
        let [issuer, ruling] = federations();
        terms(numbers, issuer, seats, ruling)
    }

    #[test]
    fn the_numbers_that_the_readme_shows_make_terms_of_mainnet() {
        let terms = made(EXAMPLE).unwrap();
        assert_eq!(terms.profile, Profile::Mainnet);
        let readme = include_str!("../../../README.md");
        assert!(readme.contains(EXAMPLE.trim_end()), "the README shows another example");
    }

    #[test]
    fn numbers_that_lack_one_or_break_a_bound_are_refused() {
        for (from, to, rule) in [
            ("\"rate\"", "\"rat\"", "position-numbers"),
            ("\"efficiency\"", "\"more\": 1, \"efficiency\"", "position-numbers"),
            ("\"efficiency\": 1750", "\"efficiency\": 0", "position-efficiency"),
        ] {
            let text = EXAMPLE.replacen(from, to, 1);
            assert_ne!(text, EXAMPLE, "{from}");
            assert_eq!(made(&text).unwrap_err().rule(), rule, "{from}");
        }
    }
}
