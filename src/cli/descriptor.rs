//! `hashmix descriptor check`: whether a descriptor is sane, of which network, and which lock.
//!
//! Our parser does not know `musig()` (BIP 390). It is replaced by the synthetic xpub (BIP 328),
//! which gives the same addresses.

use std::path::Path;

use bitcoin::secp256k1::{PublicKey, Secp256k1};
use bitcoin::{Address, Network, NetworkKind, ScriptBuf};
use miniscript::descriptor::checksum::desc_checksum;
use miniscript::descriptor::{DescriptorPublicKey, Wildcard};
use miniscript::{Descriptor, ForEachKey};

use crate::cli::{file, terms};
use crate::error::{Culprit, Error, Result, Rule};
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::{escrow, reward};
use crate::keys::KeyExpression;
use crate::musig;

/// A descriptor can be read.
pub const FORM: Rule = Rule::new(
    "descriptor-form",
    "a descriptor parses, with keys, miniscript and tree as in BIPs 380 to 390",
    "export it again",
);
/// A checksum is right.
pub const CHECKSUM: Rule = Rule::new(
    "descriptor-checksum",
    "the eight characters behind # are the descriptor's checksum (BIP 380)",
    "copy the descriptor again; a character is wrong",
);
/// A descriptor is safe to receive on.
pub const SANE: Rule = Rule::new(
    "descriptor-sane",
    "a descriptor passes miniscript's sanity checks: nothing malleable, mixed or unspendable",
    "do not receive on it",
);
/// A descriptor shows no secret.
pub const PUBLIC: Rule = Rule::new(
    "descriptor-public",
    "a descriptor that is shown holds public keys alone",
    "replace xprv by xpub; consider the key as known to others",
);
/// A descriptor is of the network.
pub const NETWORK: Rule = Rule::new(
    "descriptor-network",
    "all keys of a descriptor are of the network it is used on",
    "export it for this network",
);
/// A descriptor is a lock of the contract.
pub const OURS: Rule = Rule::new(
    "descriptor-ours",
    "the descriptor is the reward lock or the escrow lock of the terms",
    "compare it with `hashmix terms descriptor`",
);

/// Longest descriptor that is read, in bytes.
const LONGEST: usize = 65_536;

/// Checks a descriptor, given as text or as a file that holds it.
pub fn check(
    given: &str,
    network: Option<Network>,
    terms_path: Option<&Path>,
) -> Result<Vec<String>> {
    let terms = terms_path.map(terms::read).transpose()?;
    // A file name has no parenthesis in front of it all; a descriptor always has one.
    let text = match given.contains('(') && !Path::new(given).exists() {
        true => given.to_owned(),
        false => file::text(Path::new(given), LONGEST)?,
    };
    let text = text.trim();
    if text.contains("prv") {
        return Err(refuse(PUBLIC, "public keys", "a private one, not repeated here"));
    }
    if !text.contains('(') {
        // Another file by mistake; it may be a seed's.
        return Err(refuse(FORM, "a descriptor", "other text, not repeated here"));
    }
    let bare = checked(text)?;
    let plain = without_musig(bare)?;
    let secp = Secp256k1::new();
    let (descriptor, secrets) = Descriptor::parse_descriptor(&secp, &plain)
        .map_err(|error| refuse(FORM, "a descriptor", error))?;
    if !secrets.is_empty() {
        return Err(refuse(PUBLIC, "public keys", "a private one, not repeated here"));
    }
    descriptor.sanity_check().map_err(|error| refuse(SANE, "a sane descriptor", error))?;
    let kind = kind(&descriptor)?;
    let network = network.or(terms.as_ref().map(|terms| terms.reward.network));
    if let (Some(network), Some(kind)) = (network, kind)
        && NetworkKind::from(network) != kind
    {
        return Err(refuse(NETWORK, format_args!("keys of {network}"), named(kind)));
    }
    let scripts = scripts(&descriptor, 0)?;

    let mut lines = vec![
        format!(
            "type       {:?}{}",
            descriptor.desc_type(),
            match plain == bare {
                true => "",
                false => ", musig() read as its synthetic xpub (BIP 328)",
            }
        ),
        format!("keys       {}", kind.map_or("of no particular network", named)),
        format!("branches   {}", scripts.len()),
        "sane       yes".to_owned(),
    ];
    match network {
        Some(network) => {
            for (branch, script) in scripts.iter().enumerate() {
                if let Ok(address) = Address::from_script(script, network) {
                    lines.push(format!("address    {address} (branch {branch}, index 0)"));
                }
            }
        }
        None => lines.push("address    state --network to see the first one".to_owned()),
    }
    if let Some(terms) = &terms {
        lines.push(format!("lock       {}", ours(&descriptor, terms)?));
    }
    Ok(lines)
}

/// The descriptor without its checksum, which must be right if there is one.
fn checked(text: &str) -> Result<&str> {
    let Some((bare, sum)) = text.rsplit_once('#') else { return Ok(text) };
    let right = desc_checksum(bare).map_err(|error| refuse(FORM, "a descriptor", error))?;
    match right == sum {
        true => Ok(bare),
        false => Err(CHECKSUM.refuses(Culprit::Sender, "descriptor", right, sum)),
    }
}

/// `musig(A,B,…)` replaced by the synthetic xpub of its keys.
fn without_musig(text: &str) -> Result<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("musig(") {
        let Some((keys, tail)) = behind.split_once(')') else {
            return Err(refuse(FORM, "a closing parenthesis behind musig(", "none"));
        };
        let keys = keys
            .split(',')
            .map(|key| {
                key.parse::<KeyExpression>().map_err(|error| {
                    refuse(FORM, "an account key in musig()", error.fault().found.as_str())
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let kind = keys.first().map_or(NetworkKind::Main, |key| key.xpub().network);
        if keys.iter().any(|key| key.xpub().network != kind) {
            return Err(refuse(NETWORK, "keys of one network", "several"));
        }
        let participants: Vec<PublicKey> = keys.iter().map(KeyExpression::public_key).collect();
        let xpub = musig::synthetic_xpub(&participants, kind)?;
        out.push_str(before);
        out.push_str(&xpub.to_string());
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

/// The kind of network that all extended keys are of; `None` if there are none.
fn kind(descriptor: &Descriptor<DescriptorPublicKey>) -> Result<Option<NetworkKind>> {
    let mut kinds = Vec::new();
    descriptor.for_each_key(|key| {
        match key {
            DescriptorPublicKey::XPub(key) => kinds.push(key.xkey.network),
            DescriptorPublicKey::MultiXPub(key) => kinds.push(key.xkey.network),
            DescriptorPublicKey::Single(_) => {}
        }
        true
    });
    match kinds.split_first() {
        Some((first, rest)) if rest.iter().any(|kind| kind != first) => {
            Err(refuse(NETWORK, "keys of one network", "several"))
        }
        first => Ok(first.map(|(first, _)| *first)),
    }
}

fn named(kind: NetworkKind) -> &'static str {
    match kind {
        NetworkKind::Main => "of bitcoin (xpub)",
        NetworkKind::Test => "of a test network (tpub)",
    }
}

/// What each branch pays at an index.
fn scripts(descriptor: &Descriptor<DescriptorPublicKey>, index: u32) -> Result<Vec<ScriptBuf>> {
    let insane =
        |error: &dyn core::fmt::Display| refuse(SANE, "branches that can be derived", error);
    let mut hardened = false;
    descriptor.for_each_key(|key| {
        hardened |= match key {
            DescriptorPublicKey::XPub(key) => key.wildcard == Wildcard::Hardened,
            DescriptorPublicKey::MultiXPub(key) => key.wildcard == Wildcard::Hardened,
            DescriptorPublicKey::Single(_) => false,
        };
        true
    });
    if hardened {
        return Err(insane(&"a hardened step, which no public key can take"));
    }
    let branches = descriptor.clone().into_single_descriptors().map_err(|error| insane(&error))?;
    branches
        .into_iter()
        .map(|branch| {
            let definite = branch.at_derivation_index(index).map_err(|error| insane(&error))?;
            Ok(definite.script_pubkey())
        })
        .collect()
}

/// Which lock of the contract pays the same scripts.
fn ours(descriptor: &Descriptor<DescriptorPublicKey>, terms: &EscrowTerms) -> Result<String> {
    let reward = reward::coins::lock(&terms.reward)?.script_pubkey;
    if scripts(descriptor, 0)?.first() == Some(&reward) {
        return Ok(format!("the reward lock of \"{}\"", terms.reward.contract));
    }
    // Two indexes tell the lock from one that happens to share an address.
    for index in [0, 1] {
        let escrow = escrow::coins::lock(terms, index)?.script_pubkey;
        if scripts(descriptor, index)?.first() != Some(&escrow) {
            let expected = format_args!("a lock of {}", terms.id()?).to_string();
            return Err(refuse(OURS, expected, "another descriptor"));
        }
    }
    Ok(format!("the escrow lock of \"{}\"", terms.reward.contract))
}

fn refuse(rule: Rule, expected: impl core::fmt::Display, found: impl core::fmt::Display) -> Error {
    rule.refuses(Culprit::Sender, "descriptor", expected, found)
}
