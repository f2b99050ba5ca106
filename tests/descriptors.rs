//! The files under `descriptors/`, filled with people and numbers, are what Bitcoin Core says they
//! are: the same addresses, the same checksums, wallet policies by BIP 388.
//!
//! `fixtures/descriptors/` holds Core's answers, for machines that have no Core; `tests/core` asks a
//! running one.

use std::collections::{BTreeMap, BTreeSet};

use bip388::{DescriptorTemplate, KeyExpressionType, KeyInformation, ToDescriptor, WalletPolicy};
use bitcoin::Network;
use hashmix::party::{Federation, Record, Seat};
use hashmix::rehearsal::people::{record_of, signer};
use hashmix::script::lock::{Lock, Path};
use hashmix::script::template::{self, Policy, Seats, Template, Variant};
use miniscript::descriptor::checksum::desc_checksum;
use serde::Deserialize;

/// One answer of Core.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    template: String,
    variant: Variant,
    network: Network,
    k: u8,
    n: u8,
    numbers: BTreeMap<String, u32>,
    musig_form: String,
    xpub_form: String,
    core: String,
    addresses: Vec<String>,
}

/// Everybody at the table.
struct People {
    miner: Record,
    holder: Record,
    federation: Federation,
}

impl People {
    fn new(network: Network, k: u8, n: u8) -> Self {
        let payout = |seat| signer(seat, network).unwrap().address();
        let record = |seat| record_of(seat, network, payout(seat)).unwrap();
        let federation = Federation {
            threshold: k,
            validators: (0..n).map(|place| record(Seat::Validator(place))).collect(),
            payout: payout(Seat::Validator(0)).into_unchecked(),
        };
        Self { miner: record(Seat::Miner), holder: record(Seat::Holder), federation }
    }

    fn seats(&self) -> Seats<'_> {
        Seats { miner: &self.miner, holder: &self.holder, federation: &self.federation }
    }
}

fn template_of(name: &str, variant: Variant) -> Template {
    match name {
        "reward" => template::reward(variant),
        "escrow" => template::escrow(variant),
        _ => panic!("no template {name}"),
    }
}

impl Golden {
    fn people(&self) -> People {
        People::new(self.network, self.k, self.n)
    }

    fn numbers(&self) -> Vec<(&str, u32)> {
        self.numbers.iter().map(|(name, value)| (name.as_str(), *value)).collect()
    }

    fn policy(&self, seats: Seats<'_>) -> Policy {
        let template = template_of(&self.template, self.variant);
        template.fill(seats, &self.numbers(), self.network).unwrap()
    }
}

/// Every answer, by the name of its file.
fn goldens() -> Vec<(String, Golden)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/descriptors");
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let golden = serde_json::from_str(&std::fs::read_to_string(path).unwrap());
            (name, golden.unwrap())
        })
        .collect();
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    all
}

fn with_checksum(descriptor: &str) -> String {
    format!("{descriptor}#{}", desc_checksum(descriptor).unwrap())
}

/// A descriptor at an index of the first branch, as text.
fn expanded(descriptor: &str, index: u32) -> String {
    let mut out = String::new();
    let mut rest = descriptor;
    while let Some((before, after)) = rest.split_once('<') {
        let (first, after) = after.split_once(';').unwrap();
        let (_, after) = after.split_once(">/*").unwrap();
        out.push_str(&format!("{before}{first}/{index}"));
        rest = after;
    }
    out.push_str(rest);
    out
}

#[test]
fn every_template_variant_and_network_has_an_answer_of_core() {
    let mut found: BTreeSet<String> = goldens().into_iter().map(|(name, _)| name).collect();
    for template in ["reward", "escrow"] {
        for variant in ["musig", "nums"] {
            for network in ["regtest", "mainnet"] {
                let name = format!("{template}-{variant}-{network}");
                assert!(found.remove(&name), "{name} is missing");
            }
        }
        for federation in ["2of2", "3of5"] {
            let name = format!("{template}-musig-regtest-{federation}");
            assert!(found.remove(&name), "{name} is missing");
        }
    }
    assert!(found.is_empty(), "answers to nothing: {found:?}");
}

#[test]
fn both_forms_are_those_that_core_was_asked_about_with_its_own_checksum() {
    for (name, golden) in goldens() {
        let people = golden.people();
        let policy = golden.policy(people.seats());
        assert!(golden.core.starts_with('v'), "{name}: {}", golden.core);
        assert_eq!(with_checksum(&policy.musig_form), golden.musig_form, "{name}");
        assert_eq!(with_checksum(&policy.xpub_form), golden.xpub_form, "{name}");
        let musig = golden.variant == Variant::Musig;
        assert_eq!(policy.musig_form.contains("musig("), musig, "{name}");
        assert!(!policy.xpub_form.contains("musig("), "{name}");
    }
}

#[test]
fn every_lock_has_the_address_that_core_derives() {
    for (name, golden) in goldens() {
        let people = golden.people();
        let policy = golden.policy(people.seats());
        assert_eq!(golden.addresses.len(), 20, "{name}");
        for (index, expected) in (0..).zip(&golden.addresses) {
            let lock = Lock::from_policy(&policy, golden.variant, people.seats(), index).unwrap();
            let address = lock.address(golden.network).unwrap();
            assert_eq!(address.to_string(), *expected, "{name}, index {index}");
        }
        let distinct: BTreeSet<&String> = golden.addresses.iter().collect();
        assert_eq!(distinct.len(), 20, "{name}");
    }
}

fn wallet_policy(policy: &Policy) -> WalletPolicy {
    let keys = policy.keys.iter().map(|(key, _)| KeyInformation::try_from(key.as_str()).unwrap());
    // Refuses unused or missing keys, equal keys, and overlapping multipaths of one key.
    WalletPolicy::new(&policy.template, keys.collect()).unwrap()
}

#[test]
fn every_template_is_a_wallet_policy_that_expands_to_our_descriptor() {
    for (name, golden) in goldens() {
        let people = golden.people();
        let policy = golden.policy(people.seats());
        let read = wallet_policy(&policy);
        assert_eq!(read.descriptor_template().to_string(), policy.template, "{name}");
        for index in [0, 1, 19] {
            let theirs = read
                .descriptor_template()
                .to_descriptor(read.key_information(), false, index)
                .unwrap()
                .replace('\'', "h");
            assert_eq!(theirs, expanded(&policy.musig_form, index), "{name}, index {index}");
        }
    }
}

#[test]
fn what_bip388_expands_has_the_address_that_core_derives() {
    // The musig() form is left to the test above: miniscript reads no musig().
    for (name, golden) in goldens().into_iter().filter(|(_, g)| g.variant == Variant::Nums) {
        let people = golden.people();
        let read = wallet_policy(&golden.policy(people.seats()));
        for (index, expected) in (0..).zip(&golden.addresses) {
            let text = read
                .descriptor_template()
                .to_descriptor(read.key_information(), false, index)
                .unwrap();
            let descriptor: miniscript::Descriptor<miniscript::DescriptorPublicKey> =
                text.parse().unwrap();
            let address = descriptor
                .at_derivation_index(index)
                .unwrap()
                .address(golden.network)
                .unwrap()
                .to_string();
            assert_eq!(address, *expected, "{name}, index {index}");
        }
    }
}

/// The numbers of all placeholders, in the order of the text.
fn placeholders(template: &str) -> Vec<usize> {
    template
        .split('@')
        .skip(1)
        .map(|after| {
            let end = after.find(|c: char| !c.is_ascii_digit()).unwrap();
            after[..end].parse().unwrap()
        })
        .collect()
}

#[test]
fn placeholders_are_numbered_by_first_appearance_without_gaps() {
    for (name, golden) in goldens() {
        let people = golden.people();
        let policy = golden.policy(people.seats());
        let mut next = 0;
        for number in placeholders(&policy.template) {
            assert!(number <= next, "{name}: @{number} before @{next}");
            next = next.max(number + 1);
        }
        assert_eq!(next, policy.keys.len(), "{name}");
    }
}

#[test]
fn a_key_that_stands_in_two_places_has_disjoint_branches_there() {
    for (name, golden) in goldens() {
        let people = golden.people();
        let policy = golden.policy(people.seats());
        let template: DescriptorTemplate = policy.template.parse().unwrap();
        let mut branches: BTreeMap<KeyExpressionType, BTreeSet<u32>> = BTreeMap::new();
        for (key, _) in template.placeholders() {
            let seen = branches.entry(key.key_type.clone()).or_default();
            assert!(seen.insert(key.num1) && seen.insert(key.num2), "{name}: {key} twice");
            assert_eq!(key.num2, key.num1 + 1, "{name}: {key}");
            assert_eq!(key.num1 % 2, 0, "{name}: {key}");
        }
    }
}

#[test]
fn reward_and_escrow_of_one_contract_share_no_derived_key() {
    // They are filled from the same records, so their branches must differ, not only their trees.
    for variant in [Variant::Musig, Variant::Nums] {
        let people = People::new(Network::Regtest, 2, 3);
        let lock = |name: &str| {
            let numbers =
                [("reward_exit", 144), ("relock", 12), ("term_exit", 340), ("miner_exit", 388)];
            let template = template_of(name, variant);
            Lock::new(template, variant, people.seats(), &numbers, Network::Regtest, 0).unwrap()
        };
        let (reward, escrow) = (lock("reward"), lock("escrow"));
        assert_ne!(reward.internal_key, escrow.internal_key);
        let keys = |lock: &Lock| -> BTreeSet<_> {
            lock.leaves.iter().flat_map(|leaf| &leaf.keys).map(|k| (k.seat, k.key)).collect()
        };
        let shared: Vec<_> = keys(&reward).intersection(&keys(&escrow)).copied().collect();
        assert!(shared.is_empty(), "{variant:?}: {shared:?}");
    }
}

#[test]
fn every_federation_stands_in_the_ruling_leaves_whole_and_in_order() {
    for (name, golden) in goldens() {
        let people = golden.people();
        let policy = golden.policy(people.seats());
        let lock = Lock::from_policy(&policy, golden.variant, people.seats(), 0).unwrap();
        for (path, party) in [(Path::MinerRuling, Seat::Miner), (Path::HolderRuling, Seat::Holder)]
        {
            let seats: Vec<Seat> =
                lock.leaf(path).unwrap().keys.iter().map(|key| key.seat).collect();
            let expected: Vec<Seat> =
                [party].into_iter().chain((0..golden.n).map(Seat::Validator)).collect();
            assert_eq!(seats, expected, "{name}, {path}");
        }
    }
}

/// A policy file and its mainnet numbers, for a federation of 2 of 3.
const FILES: [(&str, &str, Variant, &str); 4] = [
    (
        "reward-musig.policy",
        include_str!("../descriptors/reward-musig.policy"),
        Variant::Musig,
        "reward",
    ),
    (
        "reward-nums.policy",
        include_str!("../descriptors/reward-nums.policy"),
        Variant::Nums,
        "reward",
    ),
    (
        "escrow-musig.policy",
        include_str!("../descriptors/escrow-musig.policy"),
        Variant::Musig,
        "escrow",
    ),
    (
        "escrow-nums.policy",
        include_str!("../descriptors/escrow-nums.policy"),
        Variant::Nums,
        "escrow",
    ),
];

const PATHS: [(&str, Path); 6] = [
    ("key", Path::Key),
    ("agreed", Path::Agreed),
    ("miner ruling", Path::MinerRuling),
    ("holder ruling", Path::HolderRuling),
    ("holder exit", Path::HolderExit),
    ("miner exit", Path::MinerExit),
];

/// What a table of leaves says: leaf, who, when, weight.
fn table(text: &str) -> Vec<[String; 4]> {
    text.lines()
        .filter_map(|line| line.trim_start_matches("# ").strip_prefix('|'))
        .map(|row| {
            let cells: Vec<String> = row.split('|').map(|cell| cell.trim().to_owned()).collect();
            let [leaf, who, when, weight, _] = <[String; 5]>::try_from(cells).unwrap();
            [leaf, who, when, weight]
        })
        .filter(|[leaf, ..]| leaf != "leaf" && !leaf.starts_with('-'))
        .collect()
}

/// What a lock says of itself, in the words of the tables.
fn rows(name: &str, variant: Variant) -> Vec<[String; 4]> {
    let people = People::new(Network::Bitcoin, 2, 3);
    let numbers = [
        ("reward_exit", 26_280),
        ("relock", 2_016),
        ("term_exit", 1_000_000),
        ("miner_exit", 1_052_560),
    ];
    let lock = Lock::new(
        template_of(name, variant),
        variant,
        people.seats(),
        &numbers,
        Network::Bitcoin,
        0,
    )
    .unwrap();
    let at_once = if name == "reward" { "mature" } else { "at once" };
    PATHS
        .into_iter()
        .filter(|(_, path)| lock.check_path(*path).is_ok())
        .map(|(leaf, path)| {
            let (mut who, mut when) = ("miner + holder, MuSig2".to_owned(), at_once.to_owned());
            if path != Path::Key {
                let leaf = lock.leaf(path).unwrap();
                let seats: Vec<Seat> = leaf.keys.iter().map(|key| key.seat).collect();
                who = match seats.as_slice() {
                    [alone] => format!("{alone} alone"),
                    [Seat::Miner, Seat::Holder] => "miner + holder, one pass".to_owned(),
                    [party, ..] => format!("{party} + k validators"),
                    [] => panic!("a leaf of nobody"),
                };
                when = match (leaf.older, leaf.after) {
                    (None, None) => when,
                    (Some(26_280), None) => "R blocks deep".to_owned(),
                    (Some(2_016), Some(1_000_000)) => "height T and $relock deep".to_owned(),
                    (None, Some(1_052_560)) => "height T + Y".to_owned(),
                    other => panic!("{other:?}"),
                };
            }
            [leaf.to_owned(), who, when, lock.input_weight(path).unwrap().to_string()]
        })
        .collect()
}

#[test]
fn the_table_beside_each_policy_tells_who_when_and_what_it_weighs() {
    for (file, text, variant, name) in FILES {
        assert_eq!(table(text), rows(name, variant), "{file}");
    }
    let readme = include_str!("../descriptors/README.md");
    for (heading, name) in [("### Reward", "reward"), ("### Escrow", "escrow")] {
        let (_, section) = readme.split_once(heading).unwrap();
        let section = section.split_once("\n#").map_or(section, |(section, _)| section);
        assert_eq!(table(section), rows(name, Variant::Musig), "README.md, {heading}");
    }
}
