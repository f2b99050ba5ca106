//! Templates alone; Bitcoin Core's view of the real files is in `tests/descriptors.rs`.

use bitcoin::bip32::{DerivationPath, Xpriv, Xpub};
use bitcoin::secp256k1::Secp256k1;
use bitcoin::{Address, NetworkKind};

use super::*;
use crate::party::{RECORD_FORMAT, RecordBody, Role};

/// Records whose signatures nobody asks for here, with keys of a seed byte each.
pub(in crate::script) struct Table {
    pub(in crate::script) miner: Record,
    pub(in crate::script) holder: Record,
    pub(in crate::script) federation: Federation,
}

pub(in crate::script) fn key(seed: u8, account: u32, network: Network) -> KeyExpression {
    let secp = Secp256k1::new();
    let master = Xpriv::new_master(network, &[seed; 32]).unwrap();
    let path: DerivationPath = format!("87h/1h/{account}h").parse().unwrap();
    let xpub = Xpub::from_priv(&secp, &master.derive_priv(&secp, &path).unwrap());
    KeyExpression::new(master.fingerprint(&secp), path, xpub).unwrap()
}

fn record(seed: u8, role: Role, network: Network) -> Record {
    let communication = key(seed, 9, network).public_key().x_only_public_key().0;
    let payout = Address::p2tr(&Secp256k1::new(), communication, None, network).into_unchecked();
    let record = RecordBody {
        format: RECORD_FORMAT.to_owned(),
        role,
        network,
        contract: "test".to_owned(),
        musig: key(seed, 0, network),
        leaf: key(seed, 1, network),
        exit: key(seed, 2, network),
        seal: None,
        payout,
        communication,
    };
    Record { record, signature: String::new() }
}

impl Table {
    pub(in crate::script) fn new(network: Network, k: u8, n: u8) -> Self {
        let validators: Vec<Record> =
            (0..n).map(|place| record(10 + place, Role::Validator, network)).collect();
        let miner = record(1, Role::Miner, network);
        let payout = miner.record.payout.clone();
        let holder = record(2, Role::Holder, network);
        Self { miner, holder, federation: Federation { threshold: k, validators, payout } }
    }

    pub(in crate::script) fn seats(&self) -> Seats<'_> {
        Seats { miner: &self.miner, holder: &self.holder, federation: &self.federation }
    }
}

pub(in crate::script) const NUMBERS: [(&str, u32); 4] =
    [("reward_exit", 144), ("relock", 12), ("term_exit", 340), ("miner_exit", 388)];

fn fill(policy: &'static str, table: &Table) -> Result<Policy> {
    Template(policy).fill(table.seats(), &NUMBERS, Network::Regtest)
}

fn refused(policy: &'static str) -> crate::error::Error {
    fill(policy, &Table::new(Network::Regtest, 2, 3)).unwrap_err()
}

#[test]
fn comments_and_layout_are_no_part_of_a_policy() {
    let text =
        Template("# tr(@miner.leaf)\n\ntr(@holder.leaf/**,\n  pk( @miner.leaf/** ))\n").text();
    assert_eq!(text, "tr(@holder.leaf/**,pk(@miner.leaf/**))");
}

#[test]
fn placeholders_are_numbered_by_first_appearance_and_a_key_keeps_its_number() {
    let table = Table::new(Network::Regtest, 2, 3);
    let policy =
        fill("tr(@holder.leaf/**,{pk(@miner.exit/**),pk(@holder.leaf/<2;3>/*)})", &table).unwrap();
    assert_eq!(policy.template, "tr(@0/**,{pk(@1/**),pk(@0/<2;3>/*)})");
    let owners: Vec<_> = policy.keys.iter().map(|(_, owner)| *owner).collect();
    let expected = [Some((Seat::Holder, Account::Leaf)), Some((Seat::Miner, Account::Exit))];
    assert_eq!(owners, expected);
    assert_eq!(policy.musig_form, policy.xpub_form, "without musig() there is one form");
    assert!(policy.musig_form.contains(&format!("{}/<0;1>/*", table.holder.record.leaf)));
}

#[test]
fn a_federation_of_any_size_stands_behind_one_placeholder() {
    for (k, n) in [(2, 2), (2, 3), (3, 5), (9, 16)] {
        let table = Table::new(Network::Regtest, k, n);
        let policy = fill("multi_a($k,@validators.leaf/<2;3>/*)", &table).unwrap();
        let keys: Vec<String> = (0..n).map(|place| format!("@{place}/<2;3>/*")).collect();
        assert_eq!(policy.template, format!("multi_a({k},{})", keys.join(",")));
        // @1 must not eat the head of @12.
        let last = &table.federation.validators.last().unwrap().record.leaf;
        assert!(policy.musig_form.ends_with(&format!("{last}/<2;3>/*)")), "{k} of {n}");
    }
}

#[test]
fn a_placeholder_of_nobody_is_refused_by_name() {
    for (policy, name) in [
        ("tr(@buyer.leaf/**)", "buyer.leaf"),
        ("tr(@miner.cold/**)", "miner.cold"),
        ("tr(@Miner.leaf/**)", "Miner.leaf"),
        ("tr(@0/**)", "found ;"),
        ("tr(@miner", "found ;"),
    ] {
        let error = refused(policy);
        assert_eq!(error.rule(), "script-policy", "{policy}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_number_that_the_terms_do_not_fill_is_refused() {
    for policy in ["older($grace)", "tr(@miner.leaf/**,after($))", "after($term)"] {
        let error = refused(policy);
        assert_eq!(error.rule(), "script-policy", "{policy}");
        assert!(error.fault().found.contains('$'), "{error}");
    }
}

#[test]
fn a_longer_number_is_filled_before_a_shorter_one_that_it_begins_with() {
    let numbers = [("exit", 1), ("exit_late", 2)];
    let table = Table::new(Network::Regtest, 2, 3);
    let policy = Template("older($exit_late),older($exit),$k")
        .fill(table.seats(), &numbers, Network::Regtest)
        .unwrap();
    assert_eq!(policy.template, "older(2),older(1),2");
}

#[test]
fn two_seats_with_one_key_are_refused() {
    let mut table = Table::new(Network::Regtest, 2, 3);
    table.federation.validators[1].record.leaf = table.miner.record.leaf.clone();
    for template in [reward(Variant::Musig), escrow(Variant::Nums)] {
        let error = template.fill(table.seats(), &NUMBERS, Network::Regtest).unwrap_err();
        assert_eq!(error.rule(), "script-policy");
        assert!(error.to_string().contains("validator 1"), "{error}");
    }
    // The same account key under another origin is the same key.
    let known = table.miner.record.leaf.clone();
    let path: DerivationPath = "87h/1h/77h".parse().unwrap();
    let disguised = KeyExpression::new(Default::default(), path, *known.xpub()).unwrap();
    table.federation.validators[1].record.leaf = disguised;
    let error = reward(Variant::Nums).fill(table.seats(), &NUMBERS, Network::Regtest).unwrap_err();
    assert_eq!(error.rule(), "script-policy");
}

#[test]
fn one_person_in_both_seats_of_the_key_path_is_refused() {
    let mut table = Table::new(Network::Regtest, 2, 3);
    table.holder.record.musig = table.miner.record.musig.clone();
    let policies = ["tr(musig(@miner.musig,@holder.musig)/**)", "tr(@unspendable/**)"];
    let rules = policies.map(|policy| fill(policy, &table).unwrap_err().rule());
    assert_eq!(rules, ["script-policy", "musig-duplicate"]);
}

#[test]
fn a_key_of_another_network_is_refused() {
    let mut table = Table::new(Network::Regtest, 2, 3);
    table.holder.record.exit = key(2, 2, Network::Bitcoin);
    let error = reward(Variant::Musig).fill(table.seats(), &NUMBERS, Network::Regtest).unwrap_err();
    assert_eq!(error.rule(), "keys-network");
    assert!(error.to_string().contains("holder.exit"), "{error}");
    let test = Table::new(Network::Regtest, 2, 3);
    let error = escrow(Variant::Nums).fill(test.seats(), &NUMBERS, Network::Bitcoin).unwrap_err();
    assert_eq!(error.rule(), "keys-network");
}

#[test]
fn the_unspendable_key_is_the_point_h_named_after_the_participants() {
    let table = Table::new(Network::Regtest, 2, 3);
    let policy = reward(Variant::Nums).fill(table.seats(), &NUMBERS, Network::Regtest).unwrap();
    let (text, owner) = &policy.keys[0];
    assert_eq!(*owner, None);
    let xpub: Xpub = text.parse().unwrap();
    assert_eq!(
        xpub.public_key.to_string(),
        "0250929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0"
    );
    assert_eq!((xpub.network, xpub.depth), (NetworkKind::Test, 0));

    // Whoever sits in which seat, the participants are the same.
    let exchanged = Seats { miner: &table.holder, holder: &table.miner, ..table.seats() };
    let again = reward(Variant::Nums).fill(exchanged, &NUMBERS, Network::Regtest).unwrap();
    assert_eq!(again.keys[0], policy.keys[0]);

    let mut other = Table::new(Network::Regtest, 2, 3);
    other.holder.record.musig = key(77, 0, Network::Regtest);
    let other = reward(Variant::Nums).fill(other.seats(), &NUMBERS, Network::Regtest).unwrap();
    assert_ne!(other.keys[0], policy.keys[0], "another contract, another chain code");
}

#[test]
fn a_seat_that_nobody_fills_has_no_key() {
    let table = Table::new(Network::Regtest, 2, 3);
    assert!(table.seats().record(Seat::Validator(2)).is_some());
    assert!(table.seats().record(Seat::Validator(3)).is_none());
    assert!(table.seats().key(Seat::Validator(3), Account::Leaf).is_none());
}
