//! Locks alone; which of their spends the chain accepts is in `tests/survivors/`.

use bitcoin::bip32::DerivationPath;
use bitcoin::secp256k1::Secp256k1;

use super::*;
use crate::script::template::tests::{NUMBERS, Table, key};
use crate::script::template::{escrow, reward};

fn lock(template: Template, variant: Variant, table: &Table, index: u32) -> Result<Lock> {
    Lock::new(template, variant, table.seats(), &NUMBERS, Network::Regtest, index)
}

fn table() -> Table {
    Table::new(Network::Regtest, 2, 3)
}

fn blank() -> schnorr::Signature {
    schnorr::Signature::from_slice(&[1; 64]).unwrap()
}

#[test]
fn every_leaf_is_known_by_whose_keys_stand_in_it() {
    let table = table();
    for variant in [Variant::Musig, Variant::Nums] {
        let paths = |template| -> Vec<Path> {
            let lock = lock(template, variant, &table, 0).unwrap();
            lock.leaves.iter().map(|leaf| leaf.path).collect()
        };
        let shared = [Path::Agreed, Path::MinerRuling, Path::HolderRuling, Path::HolderExit];
        assert_eq!(paths(reward(variant)), shared);
        assert_eq!(paths(escrow(variant)), [&shared[..], &[Path::MinerExit]].concat());
    }
}

#[test]
fn delays_are_those_of_the_terms_and_stand_only_in_the_exits() {
    let table = table();
    let delays = |template, path| {
        let lock = lock(template, Variant::Musig, &table, 3).unwrap();
        let leaf = lock.leaf(path).unwrap();
        (leaf.older, leaf.after)
    };
    for template in [reward(Variant::Musig), escrow(Variant::Musig)] {
        for path in [Path::Agreed, Path::MinerRuling, Path::HolderRuling] {
            assert_eq!(delays(template, path), (None, None), "{path}");
        }
    }
    assert_eq!(delays(reward(Variant::Musig), Path::HolderExit), (Some(144), None));
    assert_eq!(delays(escrow(Variant::Musig), Path::HolderExit), (Some(12), Some(340)));
    assert_eq!(delays(escrow(Variant::Musig), Path::MinerExit), (None, Some(388)));
}

#[test]
fn an_owner_is_found_by_the_full_key_and_each_leaf_key_descends_from_his_account() {
    let mut table = table();
    // Equal fingerprints and paths tell nothing: the holder claims the miner's origin.
    let origin = table.miner.record.leaf.origin();
    let (fingerprint, path) = (origin.0, origin.1.clone());
    let xpub = *key(2, 1, Network::Regtest).xpub();
    table.holder.record.leaf = crate::keys::KeyExpression::new(fingerprint, path, xpub).unwrap();

    let lock = lock(escrow(Variant::Nums), Variant::Nums, &table, 5).unwrap();
    let secp = Secp256k1::new();
    for leaf in &lock.leaves {
        for key in &leaf.keys {
            let account = table.seats().key(key.seat, key.account).unwrap();
            let derived = account.xpub().derive_pub(&secp, &key.steps).unwrap();
            assert_eq!(derived.to_x_only_pub(), key.key, "{}, {}", leaf.path, key.seat);
            assert_eq!(key.steps.last(), Some(&ChildNumber::Normal { index: 5 }));
        }
    }
    let agreed = lock.leaf(Path::Agreed).unwrap();
    let seats: Vec<Seat> = agreed.keys.iter().map(|key| key.seat).collect();
    assert_eq!(seats, [Seat::Miner, Seat::Holder]);
    let exit = &lock.leaf(Path::HolderExit).unwrap().keys[0];
    assert_eq!((exit.seat, exit.account), (Seat::Holder, Account::Exit));
}

#[test]
fn a_key_of_nobody_at_the_table_is_refused() {
    let table = table();
    let policy = reward(Variant::Nums).fill(table.seats(), &NUMBERS, Network::Regtest).unwrap();
    let mut other = Table::new(Network::Regtest, 2, 3);
    other.holder.record.exit = key(77, 2, Network::Regtest);
    let error = Lock::from_policy(&policy, Variant::Nums, other.seats(), 0).unwrap_err();
    assert_eq!(error.rule(), "script-sane");
}

#[test]
fn an_internal_key_that_is_not_the_participants_aggregate_is_refused() {
    let table = table();
    // The file of the other variant: its key path would be taken for one that signs.
    let error = lock(reward(Variant::Nums), Variant::Musig, &table, 0).unwrap_err();
    assert_eq!(error.rule(), "script-sane");
    assert!(error.to_string().contains("aggregate"), "{error}");
}

#[test]
fn a_descriptor_that_is_not_ours_is_refused() {
    let table = table();
    let good = reward(Variant::Nums).fill(table.seats(), &NUMBERS, Network::Regtest).unwrap();
    let leaf = &table.miner.record.leaf;
    for descriptor in [
        "tr(".to_owned(),
        format!("wpkh({leaf}/0/*)"),
        format!("tr({leaf}/0/*)"),
        format!("tr({leaf}/0/*,pk({leaf}/0/*))"),
        format!("tr({leaf}/0/*,older(5))"),
        format!("tr({leaf}/0/*,{{pk({leaf}/2/*),and_v(v:pk({leaf}/4/*),pk({leaf}/4/*))}})"),
    ] {
        let policy = Policy { xpub_form: descriptor.clone(), ..good.clone() };
        let error = Lock::from_policy(&policy, Variant::Nums, table.seats(), 0).unwrap_err();
        assert_eq!(error.rule(), "script-sane", "{descriptor}");
    }
}

#[test]
fn an_index_that_would_be_hardened_is_refused() {
    let table = table();
    assert!(lock(reward(Variant::Musig), Variant::Musig, &table, (1 << 31) - 1).is_ok());
    let error = lock(reward(Variant::Musig), Variant::Musig, &table, 1 << 31).unwrap_err();
    assert_eq!(error.rule(), "script-sane");
}

#[test]
fn a_way_that_the_lock_does_not_have_is_refused_with_those_that_it_has() {
    let table = table();
    let nums = lock(reward(Variant::Nums), Variant::Nums, &table, 0).unwrap();
    let musig = lock(reward(Variant::Musig), Variant::Musig, &table, 0).unwrap();
    for error in [
        nums.check_path(Path::Key).unwrap_err(),
        nums.input_weight(Path::Key).unwrap_err(),
        musig.check_path(Path::MinerExit).unwrap_err(),
        musig.leaf(Path::Key).unwrap_err(),
        musig.script_witness(Path::Key, &[]).unwrap_err(),
    ] {
        assert_eq!(error.rule(), "script-leaf");
        assert!(error.to_string().contains("holder exit leaf"), "{error}");
    }
    assert!(musig.check_path(Path::Key).is_ok());
}

#[test]
fn a_witness_needs_one_party_and_k_validators_and_names_who_has_signed() {
    for (k, n) in [(2u8, 2u8), (2, 3), (3, 5)] {
        let table = Table::new(Network::Regtest, k, n);
        let lock = lock(escrow(Variant::Musig), Variant::Musig, &table, 0).unwrap();
        for path in [Path::MinerRuling, Path::HolderRuling] {
            let leaf = lock.leaf(path).unwrap();
            let (party, validators) = leaf.keys.split_first().unwrap();
            let sign = |keys: &[LeafKey]| -> Vec<_> {
                keys.iter().map(|key| (key.key, blank())).collect()
            };
            let mut enough = sign(&validators[..usize::from(k)]);
            let error = lock.script_witness(path, &enough).unwrap_err();
            assert_eq!(error.rule(), "script-signed", "validators alone");
            enough.push((party.key, blank()));
            assert!(lock.script_witness(path, &enough).is_ok(), "{path}, {k} of {n}");
            // The last validators do as well as the first.
            let mut last = sign(&validators[usize::from(n - k)..]);
            last.push((party.key, blank()));
            assert!(lock.script_witness(path, &last).is_ok(), "{path}, {k} of {n}");

            let error = lock.script_witness(path, &enough[1..]).unwrap_err();
            assert_eq!(error.rule(), "script-signed", "k - 1 validators");
            assert!(error.fault().found.contains(&party.seat.to_string()), "{error}");
            assert!(!error.fault().found.contains("validator 0"), "{error}");
        }
        let nobody = lock.script_witness(Path::Agreed, &[]).unwrap_err();
        assert_eq!((nobody.rule(), nobody.fault().found.as_str()), ("script-signed", "nobody"));
    }
}

#[test]
fn a_signature_under_a_key_of_another_leaf_does_not_count() {
    let table = table();
    let lock = lock(reward(Variant::Musig), Variant::Musig, &table, 0).unwrap();
    let ruling = lock.leaf(Path::MinerRuling).unwrap();
    let signatures: Vec<_> = ruling.keys.iter().map(|key| (key.key, blank())).collect();
    let error = lock.script_witness(Path::HolderRuling, &signatures).unwrap_err();
    assert_eq!(error.rule(), "script-signed");
}

#[test]
fn an_address_is_written_for_the_network_that_it_is_asked_for() {
    let lock = lock(reward(Variant::Musig), Variant::Musig, &table(), 0).unwrap();
    for (network, prefix) in
        [(Network::Bitcoin, "bc1p"), (Network::Testnet4, "tb1p"), (Network::Regtest, "bcrt1p")]
    {
        let address = lock.address(network).unwrap();
        assert!(address.to_string().starts_with(prefix), "{address}");
        assert_eq!(address.script_pubkey(), lock.script_pubkey);
    }
}

#[test]
fn the_key_path_signs_below_the_branch_and_index_of_the_internal_key() {
    let table = table();
    let context = |template, index| {
        lock(template, Variant::Musig, &table, index).unwrap().key_path.unwrap().path()
    };
    let path = |text: &str| text.parse::<DerivationPath>().unwrap();
    assert_eq!(context(reward(Variant::Musig), 0), path("0/0"));
    assert_eq!(context(escrow(Variant::Musig), 7), path("2/7"));
    assert!(lock(escrow(Variant::Nums), Variant::Nums, &table, 7).unwrap().key_path.is_none());
}
