//! `hashmix work verify SHARE`: what a share in a file proves.

use std::path::PathBuf;
use std::str::FromStr;

use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, Amount, Network, ScriptBuf, Target};

use crate::amount::{MAX_SATOSHIS, MILLION, bounded};
use crate::cli::arguments::VerifyArguments;
use crate::cli::file;
use crate::error::{Result, Rule};
use crate::work::agreement::Demand;
use crate::work::credit::share_work;
use crate::work::share_file::{LONGEST_FILE, ShareFile};

/// Arguments are understood.
pub const ARGUMENT: Rule = Rule::new(
    "work-argument",
    "an argument has the form that the help shows",
    "see `hashmix work verify --help`",
);
/// An address belongs to the network of the share.
pub const ADDRESS_NETWORK: Rule = Rule::new(
    "work-address-network",
    "the address is one of the network that the share's file names",
    "give an address of that network",
);

/// Arguments of `hashmix work verify`, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verify {
    /// The share's file.
    pub file: PathBuf,
    /// The script that must be paid, in hexadecimal digits.
    pub script: Option<String>,
    /// The address that must be paid, instead of the script.
    pub address: Option<String>,
    /// The target that must be met, in hexadecimal digits; the header's own nBits by default.
    pub target: Option<String>,
    /// The service script that must be paid directly behind, in hexadecimal digits.
    pub service: Option<String>,
    /// The service script's parts per million of both payments.
    pub service_ppm: Option<u32>,
    /// Most that the coinbase may pay out beyond the subsidy (satoshis); any fees by default.
    pub cap: Option<u64>,
}

/// What a share proves; what only certificates can be asked is refused.
pub fn verify_share(arguments: VerifyArguments) -> Result<Vec<String>> {
    let chain = &arguments.chain;
    let given = [
        ("--electrum", chain.electrum.is_some()),
        ("--home", chain.home.is_some()),
        ("--position", arguments.position.is_some()),
        ("--receipt", !arguments.receipt.is_empty()),
    ];
    if let Some((name, _)) = given.into_iter().find(|(_, given)| *given) {
        return Err(misused(name, "--terms with it, for a certificate", "a share"));
    }
    verify(&arguments.into())
}

/// Reads the file and says in lines of text what it proves, or refuses by rule.
pub fn verify(arguments: &Verify) -> Result<Vec<String>> {
    let text = file::text(&arguments.file, LONGEST_FILE)?;
    verify_text(arguments, &text).map_err(|e| match e {
        // What is wrong with the command line has its place there.
        crate::error::Error::Usage(_) => e,
        other => other.within(arguments.file.display()),
    })
}

/// The same for the contents of a file.
pub fn verify_text(arguments: &Verify, text: &str) -> Result<Vec<String>> {
    let file = ShareFile::from_json(text)?;
    let lock = lock(arguments, file.network)?;
    let service = match (&arguments.service, arguments.service_ppm) {
        (None, None) => None,
        (Some(script), Some(ppm)) if ppm < MILLION => Some((hex_script("--service", script)?, ppm)),
        (_, Some(ppm)) => {
            return Err(misused("--service-ppm", "below 1,000,000, with --service", ppm));
        }
        (Some(_), None) => return Err(misused("--service", "--service-ppm with it", "none")),
    };
    let cap = Amount::from_sat(arguments.cap.unwrap_or(MAX_SATOSHIS));
    let target = match &arguments.target {
        None => file.header.target(),
        Some(text) => hex_target(text)?,
    };
    let demand = Demand {
        network: file.network,
        lock: &lock,
        holders: None,
        service: service.as_ref().map(|(script, ppm)| (script.as_script(), *ppm)),
        cap: bounded(cap, "--cap")?,
        target,
    };
    let proof = file.prove(&demand)?;
    let payment = proof.payment;
    let own = arguments.target.is_none();
    Ok(vec![
        format!("network   {}", file.network),
        format!("hash      {}", proof.hash),
        format!("height    {}, stated by the coinbase (BIP 34)", file.height),
        format!("pays      {} sat to {lock:x}{}", payment.paid.to_sat(), behind(&demand)),
        format!("total     {} sat in all outputs", payment.total.to_sat()),
        format!("branch    {} levels, coinbase at leaf 0", file.branch.len()),
        format!("target    {target:x}{}", if own { ", from the header's nBits" } else { "" }),
        format!("work      {} hashes expected for one such header", share_work(target)),
        "proven    rules 2-5: the coinbase is whole, the header commits to it, it pays the script, \
         the hash is below the target"
            .to_owned(),
        "open      rule 1 (parent in the active chain, difficulty, time, version) needs headers"
            .to_owned(),
    ])
}

fn behind(demand: &Demand<'_>) -> String {
    match demand.service {
        None => String::new(),
        Some((script, ppm)) => format!(" and, {ppm} ppm of it, to {script:x} behind"),
    }
}

fn lock(arguments: &Verify, network: Network) -> Result<ScriptBuf> {
    match (&arguments.script, &arguments.address) {
        (Some(script), None) => hex_script("--script", script),
        (None, Some(address)) => address_script(address, network),
        _ => Err(misused("--script, --address", "exactly one of them", "both or none")),
    }
}

fn address_script(text: &str, network: Network) -> Result<ScriptBuf> {
    let address = Address::<NetworkUnchecked>::from_str(text)
        .map_err(|e| misused("--address", "an address", format_args!("{text}: {e}")))?;
    if !address.is_valid_for_network(network) {
        let others = [Network::Bitcoin, Network::Testnet, Network::Signet, Network::Regtest];
        let names: Vec<String> = others
            .into_iter()
            .filter(|other| address.is_valid_for_network(*other))
            .map(|other| other.to_string())
            .collect();
        return Err(ADDRESS_NETWORK.misused(
            "--address",
            format_args!("an address of {network}"),
            format_args!("{text}, an address of {}", names.join(" or ")),
        ));
    }
    Ok(address.assume_checked().script_pubkey())
}

fn hex_script(place: &str, text: &str) -> Result<ScriptBuf> {
    ScriptBuf::from_hex(text)
        .ok()
        .filter(|script| !script.is_empty())
        .ok_or_else(|| misused(place, "a script in hexadecimal digits", text))
}

fn hex_target(text: &str) -> Result<Target> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    Target::from_unprefixed_hex(digits)
        .ok()
        .filter(|target| plain && *target != Target::ZERO)
        .ok_or_else(|| misused("--target", "1 to 64 hexadecimal digits, not zero", text))
}

fn misused(
    place: &str,
    expected: impl core::fmt::Display,
    found: impl core::fmt::Display,
) -> crate::error::Error {
    ARGUMENT.misused(place, expected, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = include_str!("../../fixtures/mainnet/block_333961.json");
    const NEW: &str = include_str!("../../fixtures/mainnet/block_702861.json");
    const OLD_SCRIPT: &str = "76a914c825a1ecf2a6830c4401620c3a16f1995057c2ab88ac";
    const NEW_SCRIPT: &str = "00143156afc4249915008020f932783319f3e610b97d";

    fn script(hex: &str) -> Verify {
        Verify { script: Some(hex.to_owned()), ..Verify::default() }
    }

    fn address(text: &str) -> Verify {
        Verify { address: Some(text.to_owned()), ..Verify::default() }
    }

    #[test]
    fn a_real_block_is_explained_line_by_line() {
        let lines = verify_text(&script(NEW_SCRIPT), NEW).unwrap();
        let all = lines.join("\n");
        assert!(all.contains("000000000000000000000c835b2adcaedc20fdf6ee440009c249452c726dafae"));
        assert!(all.contains("height    702861"), "{all}");
        assert!(all.contains("pays      629948405 sat to 00143156afc4"), "{all}");
        assert!(all.contains("rule 1"), "{all}");
        let lines = verify_text(&script(OLD_SCRIPT), OLD).unwrap();
        assert!(lines.join("\n").contains("total     2502550879 sat"));
    }

    #[test]
    fn a_real_block_is_refused_for_a_script_that_it_did_not_pay() {
        let refused = verify_text(&script(OLD_SCRIPT), NEW).unwrap_err();
        assert_eq!((refused.rule(), refused.exit_code()), ("work-pay-lock", 3));
    }

    #[test]
    fn an_address_stands_for_its_script_and_one_of_another_network_is_refused_by_name() {
        let lock = ScriptBuf::from_hex(NEW_SCRIPT).unwrap();
        let text = |network: Network| Address::from_script(&lock, network).unwrap().to_string();
        verify_text(&address(&text(Network::Bitcoin)), NEW).unwrap();
        let refused = verify_text(&address(&text(Network::Regtest)), NEW).unwrap_err();
        assert_eq!((refused.rule(), refused.exit_code()), ("work-address-network", 2));
        assert!(refused.to_string().contains("an address of regtest"), "{refused}");
        let refused = verify_text(&address(&text(Network::Testnet)), NEW).unwrap_err();
        assert!(refused.to_string().contains("testnet"), "{refused}");
        assert_eq!(verify_text(&address("bc1qxyz"), NEW).unwrap_err().rule(), "work-argument");
    }

    #[test]
    fn a_target_cap_or_service_share_that_the_block_misses_is_refused() {
        let refused = |change: &dyn Fn(&mut Verify)| {
            let mut arguments = script(NEW_SCRIPT);
            change(&mut arguments);
            verify_text(&arguments, NEW).unwrap_err().rule()
        };
        assert_eq!(refused(&|v| v.target = Some("1".into())), "work-target");
        assert_eq!(refused(&|v| v.cap = Some(1)), "work-pay-total");
        let service = |v: &mut Verify| {
            v.service = Some(OLD_SCRIPT.into());
            v.service_ppm = Some(10_000);
        };
        assert_eq!(refused(&service), "work-pay-service");
        let generous = Verify {
            target: Some(format!("0x{}", "f".repeat(64))),
            cap: Some(10_000_000),
            ..script(NEW_SCRIPT)
        };
        verify_text(&generous, NEW).unwrap();
    }

    #[test]
    fn arguments_that_say_nothing_are_refused_as_usage() {
        let service = |service: Option<&str>, service_ppm| Verify {
            service: service.map(str::to_owned),
            service_ppm,
            ..script(NEW_SCRIPT)
        };
        let target = |text: &str| Verify { target: Some(text.into()), ..script(NEW_SCRIPT) };
        for bad in [
            Verify::default(),
            Verify { address: Some("x".into()), ..script(NEW_SCRIPT) },
            script(""),
            script("0g"),
            target(""),
            target("0"),
            target("+1"),
            target(&"f".repeat(65)),
            service(Some(OLD_SCRIPT), None),
            service(None, Some(10_000)),
            service(Some(OLD_SCRIPT), Some(1_000_000)),
        ] {
            let refused = verify_text(&bad, NEW).unwrap_err();
            assert_eq!((refused.rule(), refused.exit_code()), ("work-argument", 2), "{bad:?}");
        }
    }

    #[test]
    fn a_file_is_read_and_named_in_every_refusal() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("share.json");
        std::fs::write(&file, NEW).unwrap();
        let arguments = Verify { file: file.clone(), ..script(NEW_SCRIPT) };
        assert_eq!(verify(&arguments).unwrap().len(), 10);
        let refused = verify(&Verify { file, ..script("51") }).unwrap_err();
        assert!(refused.to_string().contains("share.json, coinbase"), "{refused}");
        let missing = Verify { file: folder.path().join("none"), ..script("51") };
        assert_eq!(verify(&missing).unwrap_err().rule(), "cli-file");
        let huge = folder.path().join("huge");
        std::fs::write(&huge, vec![b' '; LONGEST_FILE + 1]).unwrap();
        let refused = verify(&Verify { file: huge, ..script("51") }).unwrap_err();
        assert_eq!(refused.rule(), "cli-text");
    }
}
