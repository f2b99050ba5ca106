//! Core derives the addresses of our descriptors, and they are those of our locks.
//!
//! `fixtures/descriptors/` keeps answers of Core for machines that have none; here they are held
//! to what a running Core says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bitcoin::{Address, Network};
use hashmix::flow::{escrow, reward};
use hashmix::party::{Federation, Record, Seat};
use hashmix::rehearsal::people::{self, Payouts, record_of, signer};
use hashmix::script::lock::Lock;
use hashmix::script::seal::{self, SealLock};
use hashmix::script::template::{self, Account, Policy, Seats, Template, Variant};
use miniscript::{Descriptor, DescriptorPublicKey};
use serde_json::{Value, json};

use crate::contract::with_checksum;
use crate::judge::Judge;

/// Indexes of each branch that are compared.
const INDEXES: u32 = 20;
const NETWORKS: [Network; 2] = [Network::Regtest, Network::Bitcoin];
const VARIANTS: [Variant; 2] = [Variant::Musig, Variant::Nums];
/// Federations: k of n.
const FEDERATIONS: [(u8, u8); 4] = [(2, 3), (2, 2), (3, 5), (9, 16)];

/// Everybody who sits at a table, with every validator there can be.
struct People {
    network: Network,
    miner: Record,
    holder: Record,
    validators: Vec<Record>,
}

impl People {
    fn of(network: Network) -> Self {
        let record = |seat| {
            let payout = signer(seat, network).unwrap().address();
            record_of(seat, network, payout).unwrap()
        };
        let most = FEDERATIONS.iter().map(|(_, n)| *n).max().unwrap();
        let validators = (0..most).map(|place| record(Seat::Validator(place))).collect();
        Self { network, miner: record(Seat::Miner), holder: record(Seat::Holder), validators }
    }

    fn federation(&self, k: u8, n: u8) -> Federation {
        let validators = self.validators[..usize::from(n)].to_vec();
        let payout = validators[0].record.payout.clone();
        Federation { threshold: k, validators, payout }
    }

    fn seats<'a>(&'a self, federation: &'a Federation) -> Seats<'a> {
        Seats { miner: &self.miner, holder: &self.holder, federation }
    }
}

/// What the names in a policy file stand for.
type Numbers = Vec<(&'static str, u32)>;

/// Both templates of a variant, with the numbers of a network.
fn templates(variant: Variant, network: Network) -> [(&'static str, Template, Numbers); 2] {
    let (reward, escrow) = match network {
        Network::Bitcoin => (26_280, [2_016, 1_000_000, 1_052_560]),
        _ => (144, [12, 340, 388]),
    };
    let [relock, term_exit, miner_exit] = escrow;
    [
        ("reward", template::reward(variant), vec![("reward_exit", reward)]),
        (
            "escrow",
            template::escrow(variant),
            vec![("relock", relock), ("term_exit", term_exit), ("miner_exit", miner_exit)],
        ),
    ]
}

/// What Core derives of a descriptor: one list of addresses for each branch. Our checksum goes with
/// it, so Core has checked it, and says the same one.
fn derived(judge: &Judge, descriptor: &str) -> Vec<Vec<String>> {
    let ours = with_checksum(descriptor);
    let info = judge.ask("getdescriptorinfo", &[json!(descriptor)]);
    assert_eq!(json!(ours.rsplit('#').next().unwrap()), info["checksum"], "{descriptor}");
    assert_eq!(info["issolvable"], json!(true));
    assert_eq!(info["hasprivatekeys"], json!(false));
    let branches = judge.ask("deriveaddresses", &[json!(ours), json!([0, INDEXES - 1])]);
    let branches: Vec<Vec<String>> = serde_json::from_value(branches).unwrap();
    assert_eq!(branches.len(), 2, "the receiving and the change branch");
    assert!(branches.iter().all(|branch| branch.len() == INDEXES as usize));
    branches
}

/// What miniscript derives of the xpub form, by branch.
fn by_miniscript(policy: &Policy, network: Network) -> Vec<Vec<String>> {
    let both: Descriptor<DescriptorPublicKey> = policy.xpub_form.parse().unwrap();
    let branches = both.into_single_descriptors().unwrap();
    let address = |branch: &Descriptor<DescriptorPublicKey>, index| {
        branch.at_derivation_index(index).unwrap().address(network).unwrap().to_string()
    };
    branches
        .iter()
        .map(|branch| (0..INDEXES).map(|index| address(branch, index)).collect())
        .collect()
}

fn of_locks(policy: &Policy, variant: Variant, seats: Seats<'_>, network: Network) -> Vec<String> {
    let address = |index| {
        let lock = Lock::from_policy(policy, variant, seats, index).unwrap();
        lock.address(network).unwrap().to_string()
    };
    (0..INDEXES).map(address).collect()
}

/// A filled template, and what it was filled with.
struct Case<'a> {
    /// As its fixture is called.
    name: String,
    template: &'static str,
    variant: Variant,
    network: Network,
    seats: Seats<'a>,
    numbers: Numbers,
    policy: Policy,
}

/// Shows every template, variant and federation on the network of `people`.
fn every_policy(people: &People, mut look: impl FnMut(&Case<'_>)) {
    let network = people.network;
    let chain = if network == Network::Bitcoin { "mainnet" } else { network.to_core_arg() };
    for (variant, word) in [(Variant::Musig, "musig"), (Variant::Nums, "nums")] {
        for (template, file, numbers) in templates(variant, network) {
            for (k, n) in FEDERATIONS {
                let federation = people.federation(k, n);
                let seats = people.seats(&federation);
                let policy = file.fill(seats, &numbers, network).unwrap();
                let mut name = format!("{template}-{word}-{chain}");
                if (k, n) != FEDERATIONS[0] {
                    name.push_str(&format!("-{k}of{n}"));
                }
                let numbers = numbers.clone();
                look(&Case { name, template, variant, network, seats, numbers, policy });
            }
        }
    }
}

#[test]
fn every_policy_file_is_among_those_that_core_is_asked_about() {
    let people = People::of(Network::Regtest);
    let mut asked = BTreeSet::new();
    every_policy(&people, |Case { name, .. }| {
        let (file, _) = name.split_once("-regtest").unwrap();
        asked.insert(format!("{file}.policy"));
    });
    asked.extend(OF_ONE.map(|(name, _)| format!("{name}.policy")));
    asked.insert("seal.policy".to_owned());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("descriptors");
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".policy"))
        .collect();
    assert_eq!(asked, files);
}

/// The scripts of a federation alone.
const OF_ONE: [(&str, Template); 2] =
    [("issuer", template::issuer()), ("retirement", template::retirement())];

#[test]
fn core_derives_the_scripts_of_a_federation_and_of_a_seal() {
    for network in NETWORKS {
        let (judge, people) = (Judge::on(network), People::of(network));
        for (k, n) in FEDERATIONS {
            let federation = people.federation(k, n);
            for (name, template) in OF_ONE {
                let policy = template.fill_federation(&federation, network).unwrap();
                let branches = derived(&judge, &policy.xpub_form);
                assert_eq!(branches, by_miniscript(&policy, network), "{name} {k} of {n}");
                let lock = Lock::of_federation(template, &federation, network).unwrap();
                let ours = lock.address(network).unwrap().to_string();
                assert_eq!(branches[0][0], ours, "{name} {k} of {n}");
            }
        }
        let key = people.holder.record.seal.as_ref().unwrap();
        let seals: BTreeSet<String> = (0..3)
            .map(|number| {
                let ours = SealLock::new(key, [number; 32]).unwrap().address(network).unwrap();
                let branches = derived(&judge, &seal::descriptor(key, [number; 32]));
                assert_eq!(branches[0][0], ours.to_string(), "commitment {number}");
                ours.to_string()
            })
            .collect();
        assert_eq!(seals.len(), 3, "each commitment has an address of its own");
    }
}

#[test]
fn core_derives_the_addresses_of_every_lock_on_regtest_and_mainnet() {
    for network in NETWORKS {
        let (judge, people) = (Judge::on(network), People::of(network));
        every_policy(&people, |Case { name, variant, seats, policy, .. }| {
            let variant = *variant;
            assert_eq!(policy.musig_form.contains("musig("), variant == Variant::Musig, "{name}");
            let branches = derived(&judge, &policy.musig_form);
            assert_eq!(branches, derived(&judge, &policy.xpub_form), "{name}: both forms");
            assert_eq!(branches, by_miniscript(policy, network), "{name}: both branches");
            assert_eq!(branches[0], of_locks(policy, variant, *seats, network), "{name}");
            let all: BTreeSet<String> = branches.concat().into_iter().collect();
            assert_eq!(all.len(), 2 * INDEXES as usize, "{name}: every address is another one");
        });
    }
}

#[test]
fn core_derives_the_addresses_of_what_a_contract_pays() {
    let judge = Judge::on(Network::Regtest);
    let payout = |seat| signer(seat, Network::Regtest).unwrap().address();
    let payouts = Payouts {
        miner: payout(Seat::Miner),
        holder: payout(Seat::Holder),
        federation: payout(Seat::Validator(0)),
    };
    let address = |lock: Lock| lock.address(Network::Regtest).unwrap().to_string();
    for variant in VARIANTS {
        let terms = people::terms(variant, 120, &payouts).unwrap();
        let policy = reward::coins::policy(&terms.reward).unwrap();
        let rewards = derived(&judge, &policy.musig_form);
        assert_eq!(rewards[0][0], address(reward::coins::lock(&terms.reward).unwrap()));

        let policy = escrow::coins::policy(&terms).unwrap();
        let escrows = derived(&judge, &policy.musig_form);
        for (index, expected) in (0..).zip(&escrows[0]) {
            assert_eq!(*expected, address(escrow::coins::lock(&terms, index).unwrap()), "{index}");
        }
        // What a watcher follows are the same scripts: one re-lock a period.
        let watched = escrow::coins::Locked::new(terms.clone()).unwrap();
        for (script, expected) in watched.scripts().zip(&escrows[0]) {
            let script = Address::from_script(script, Network::Regtest).unwrap();
            assert_eq!(script.to_string(), *expected);
        }
    }
}

/// The text with every `one` in place of `other` and the other way round.
fn swapped(text: &str, one: &str, other: &str) -> String {
    assert!(text.contains(one) && text.contains(other), "{one} and {other} stand in {text}");
    text.replace(one, "\0").replace(other, one).replace('\0', other)
}

fn replaced(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "{old} stands in {text}");
    text.replacen(old, new, 1)
}

#[test]
fn core_derives_other_addresses_when_anything_in_a_descriptor_is_another() {
    let network = Network::Regtest;
    let (judge, people) = (Judge::on(network), People::of(network));
    every_policy(&people, |Case { name, template, variant, seats, policy, .. }| {
        // With other federations the keys are more, and the faults the same.
        if seats.federation.validators.len() != 3 {
            return;
        }
        let key = |seat, account| seats.key(seat, account).unwrap().to_string();
        let text = &policy.musig_form;
        let [m, n] = [Seat::Miner, Seat::Holder].map(|seat| key(seat, Account::Leaf));
        let [v, w] = [0, 1].map(|n| key(Seat::Validator(n), Account::Leaf));
        let (m_alone, v_alone) = (format!("pk({m}"), format!("multi_a(2,{v}"));
        let (first, last) = match *template {
            "reward" => ("older(144)", "older(145)"),
            _ => ("after(340)", "after(341)"),
        };
        let mut wrong = vec![
            ("miner and holder swapped", swapped(text, &m, &n)),
            ("two validators swapped", swapped(text, &v, &w)),
            ("one validator is enough", replaced(text, &v_alone, &format!("multi_a(1,{v}"))),
            ("all validators are needed", replaced(text, &v_alone, &format!("multi_a(3,{v}"))),
            ("one of the two is enough", replaced(text, "multi_a(2,", "multi_a(1,")),
            ("the holder rules in the miner's place", replaced(text, &m_alone, &format!("pk({n}"))),
            ("another delay", replaced(text, first, last)),
            (
                "another branch in a leaf",
                replaced(text, &format!("pk({m}/<"), &format!("pk({m}/<1")),
            ),
        ];
        if *template == "escrow" {
            wrong.push(("another re-lock delay", replaced(text, "older(12)", "older(13)")));
            wrong.push(("another miner's exit", replaced(text, "after(388)", "after(389)")));
        }
        let right = of_locks(policy, *variant, *seats, network);
        assert_eq!(derived(&judge, text)[0], right, "{name}");
        for (fault, descriptor) in wrong {
            let found = derived(&judge, &descriptor).concat();
            let same = right.iter().find(|address| found.contains(address));
            assert_eq!(same, None, "{name}: {fault}");
        }
        // BIP 390 sorts the participants, so whom a musig() names first makes no difference.
        if *variant == Variant::Musig {
            let [a, b] = [Seat::Miner, Seat::Holder].map(|s| key(s, Account::Musig));
            assert_eq!(derived(&judge, &swapped(text, &a, &b))[0], right, "{name}");
        }
    });
}

/// An answer of Core, as it lies under `fixtures/descriptors/`.
fn fixture(case: &Case<'_>, core: &str, addresses: &[String]) -> String {
    let Case { template, variant, network, seats, numbers, policy, .. } = case;
    let numbers: Vec<String> =
        numbers.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
    let addresses: Vec<String> = addresses.iter().map(|it| format!("    \"{it}\"")).collect();
    format!(
        r#"{{
  "template": "{template}",
  "variant": {},
  "network": {},
  "k": {},
  "n": {},
  "numbers": {{ {} }},
  "musig_form": "{}",
  "xpub_form": "{}",
  "core": "{core}",
  "addresses": [
{}
  ]
}}
"#,
        json!(variant),
        json!(network),
        seats.federation.threshold,
        seats.federation.validators.len(),
        numbers.join(", "),
        with_checksum(&policy.musig_form),
        with_checksum(&policy.xpub_form),
        addresses.join(",\n"),
    )
}

#[test]
fn the_answers_that_are_kept_for_machines_without_core_are_still_cores() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/descriptors");
    let mut kept: BTreeMap<String, String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    let new = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut changed = Vec::new();
    for network in NETWORKS {
        let (judge, people) = (Judge::on(network), People::of(network));
        let version = judge.ask("getnetworkinfo", &[])["version"].as_u64().unwrap();
        let core = format!("v{}.{}.{}", version / 10_000, version / 100 % 100, version % 100);
        every_policy(&people, |case| {
            let Some(kept) = kept.remove(&case.name) else { return };
            let addresses = derived(&judge, &case.policy.musig_form).remove(0);
            // Which Core was asked may differ; what it said may not.
            let read: Value = serde_json::from_str(&kept).unwrap_or_default();
            let asked = read["core"].as_str().unwrap_or(&core);
            if kept != fixture(case, asked, &addresses) {
                let file = new.join(format!("{}.json", case.name));
                std::fs::write(&file, fixture(case, &core, &addresses)).unwrap();
                changed.push(file);
            }
        });
    }
    assert!(changed.is_empty(), "Core's answers are other ones now: {changed:?}");
    assert!(kept.is_empty(), "answers to nothing: {:?}", kept.keys());
}
