//! A received PSBT is compared with the draft rebuilt from the terms, field by field; and a builder
//! asserts what it builds.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::absolute::LockTime;
use bitcoin::bip32::{DerivationPath, Fingerprint, Xpub};
use bitcoin::hashes::{Hash, hash160, ripemd160, sha256, sha256d};
use bitcoin::psbt::Output;
use bitcoin::psbt::raw::{Key, ProprietaryKey};
use bitcoin::taproot::{ControlBlock, LeafVersion, TapLeafHash, TaprootBuilder};
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, OutPoint, Psbt, ScriptBuf, Sequence, TapSighashType, TxIn, TxOut, Witness, taproot,
};
use hashmix::error::Culprit;
use hashmix::flow::escrow::txs::{TRUC, settlement};
use hashmix::party::Seat;
use hashmix::script::lock::Path;
use hashmix::script::template::Variant;
use hashmix::tx::carrier::{self, RULES, round};
use hashmix::tx::draft::{Draft, Spend, Title};
use hashmix::tx::signed::Signed;

use crate::world::{agreed, coin_of, outcome, sign, terms};

fn spend(index: u32, value: u64, path: Path) -> Spend {
    let coin = coin_of(&terms(), index, Amount::from_sat(value));
    Spend { outpoint: coin.outpoint, prevout: coin.txout(), lock: coin.lock, path }
}

fn output(value: u64) -> TxOut {
    let script_pubkey = terms().reward.miner.payout_script();
    TxOut { value: Amount::from_sat(value), script_pubkey }
}

fn build(spends: Vec<Spend>, outputs: Vec<TxOut>) -> hashmix::error::Result<Draft> {
    Draft::new(Title("test"), TRUC, 70, spends, outputs)
}

/// Two inputs, two outputs.
fn draft() -> Draft {
    let spends = vec![spend(1, 50_000, Path::Agreed), spend(2, 60_000, Path::Agreed)];
    build(spends, vec![output(40_000), output(41_000)]).unwrap()
}

#[test]
fn the_draft_itself_passes() {
    let psbt = draft().psbt().unwrap();
    draft().compare(&psbt, Culprit::Holder).unwrap();
    let read: Psbt = psbt.to_string().parse().unwrap();
    draft().compare(&read, Culprit::Holder).unwrap();
}

type Change = fn(&mut Psbt);

/// Rule without its area, place, change: one row at least for each rule of the comparison.
const CHANGES: &[(&str, &str, Change)] = &[
    ("tx-version", "version", |p| p.unsigned_tx.version = Version::TWO),
    ("tx-locktime", "nLockTime", |p| {
        p.unsigned_tx.lock_time = LockTime::from_height(69).unwrap();
    }),
    ("tx-locktime", "nLockTime", |p| p.unsigned_tx.lock_time = LockTime::ZERO),
    ("tx-outpoint", "input 0, outpoint", |p| p.unsigned_tx.input[0].previous_output.vout += 7),
    ("tx-outpoint", "input 1, outpoint", |p| {
        p.unsigned_tx.input[1].previous_output = OutPoint::null();
    }),
    ("tx-input-order", "input 0, outpoint", |p| p.unsigned_tx.input.swap(0, 1)),
    ("tx-input-twice", "input 1, outpoint", |p| {
        p.unsigned_tx.input[1] = p.unsigned_tx.input[0].clone();
    }),
    ("tx-input-twice", "input 2, outpoint", |p| {
        let input = p.unsigned_tx.input[0].clone();
        p.unsigned_tx.input.push(input);
    }),
    ("tx-inputs", "number of inputs", |p| drop(p.unsigned_tx.input.pop())),
    ("tx-inputs", "number of inputs", |p| p.unsigned_tx.input.push(TxIn::default())),
    ("tx-sequence", "input 0, sequence", |p| p.unsigned_tx.input[0].sequence = Sequence::MAX),
    ("tx-sequence", "input 1, sequence", |p| {
        p.unsigned_tx.input[1].sequence = Sequence::from_height(11);
    }),
    ("tx-unsigned", "input 0, scriptSig", |p| p.unsigned_tx.input[0].script_sig = script()),
    ("tx-unsigned", "input 1, witness", |p| {
        p.unsigned_tx.input[1].witness = Witness::from_slice(&[[1]]);
    }),
    ("tx-outputs", "number of outputs", |p| p.unsigned_tx.output.push(output(330))),
    ("tx-outputs", "number of outputs", |p| drop(p.unsigned_tx.output.pop())),
    ("tx-output-order", "output 0", |p| p.unsigned_tx.output.swap(0, 1)),
    ("tx-amount", "output 0, amount", |p| p.unsigned_tx.output[0].value += Amount::from_sat(1)),
    ("tx-amount", "output 1, amount", |p| p.unsigned_tx.output[1].value -= Amount::from_sat(1)),
    ("tx-script", "output 1, script", |p| {
        p.unsigned_tx.output[1].script_pubkey = ScriptBuf::new();
    }),
    ("psbt-version", "PSBT version", |p| p.version = 2),
    ("psbt-maps", "maps of the inputs", |p| drop(p.inputs.pop())),
    ("psbt-maps", "maps of the outputs", |p| p.outputs.push(Output::default())),
    ("psbt-xpub", "extended keys", |p| drop(p.xpub.insert(xpub(), source()))),
    ("psbt-v2", "the whole, field 0x03", |p| put(&mut p.unknown, 0x03)),
    ("psbt-v2", "input 1, field 0x0e", |p| put(&mut p.inputs[1].unknown, 0x0e)),
    ("psbt-v2", "output 0, field 0x04", |p| put(&mut p.outputs[0].unknown, 0x04)),
    ("psbt-proprietary", "the whole, proprietary field", |p| {
        p.proprietary.insert(ours_alone(), vec![1]);
    }),
    ("psbt-proprietary", "input 0, proprietary field", |p| {
        p.inputs[0].proprietary.insert(ours_alone(), vec![1]);
    }),
    ("psbt-proprietary", "output 1, proprietary field", |p| {
        p.outputs[1].proprietary.insert(ours_alone(), vec![1]);
    }),
    ("psbt-unknown", "the whole, field 0x7f", |p| put(&mut p.unknown, 0x7f)),
    ("psbt-unknown", "input 0, field 0x19", |p| put(&mut p.inputs[0].unknown, 0x19)),
    ("psbt-unknown", "output 0, field 0x08", |p| put(&mut p.outputs[0].unknown, 0x08)),
    ("psbt-utxo-missing", "input 0, witness UTXO", |p| p.inputs[0].witness_utxo = None),
    ("psbt-utxo-amount", "input 0, amount of the witness UTXO", |p| {
        p.inputs[0].witness_utxo.as_mut().unwrap().value += Amount::from_sat(1);
    }),
    ("psbt-utxo-script", "input 1, script of the witness UTXO", |p| {
        p.inputs[1].witness_utxo.as_mut().unwrap().script_pubkey = ScriptBuf::new();
    }),
    ("psbt-previous-tx", "input 0, previous transaction", |p| {
        p.inputs[0].non_witness_utxo = Some(p.unsigned_tx.clone());
    }),
    ("psbt-sighash", "input 0, signature type", |p| {
        p.inputs[0].sighash_type = Some(TapSighashType::All.into());
    }),
    ("psbt-sighash", "input 1, signature type", |p| {
        p.inputs[1].sighash_type = Some(TapSighashType::Default.into());
    }),
    ("psbt-internal-key", "input 0, internal key", |p| p.inputs[0].tap_internal_key = None),
    ("psbt-internal-key", "input 1, internal key", |p| {
        p.inputs[1].tap_internal_key = Some(xpub().to_x_only_pub());
    }),
    ("psbt-merkle-root", "input 0, merkle root", |p| p.inputs[0].tap_merkle_root = None),
    ("psbt-merkle-root", "input 0, merkle root", |p| {
        p.inputs[0].tap_merkle_root = p.inputs[1].tap_merkle_root;
    }),
    ("psbt-leaf-missing", "input 0, leaf", |p| p.inputs[0].tap_scripts.clear()),
    ("psbt-leaf-foreign", "input 0, leaf", |p| {
        p.inputs[0].tap_scripts.values_mut().for_each(|(script, _)| *script = ScriptBuf::new());
    }),
    ("psbt-leaf-foreign", "input 0, leaf", |p| {
        p.inputs[0].tap_scripts = p.inputs[1].tap_scripts.clone();
    }),
    ("psbt-leaf-other", "input 0, leaf", |p| p.inputs[0].tap_scripts = leaf(1, Path::MinerExit)),
    ("psbt-leaf-other", "input 0, leaf", |p| {
        p.inputs[0].tap_scripts.extend(leaf(1, Path::HolderExit));
    }),
    ("psbt-leaf-version", "input 0, version of the agreed leaf", |p| {
        let future = LeafVersion::from_consensus(0xc2).unwrap();
        p.inputs[0].tap_scripts.values_mut().for_each(|(_, version)| *version = future);
    }),
    ("psbt-control-block", "input 0, control block of the agreed leaf", |p| {
        let leaves = std::mem::take(&mut p.inputs[0].tap_scripts);
        let other = leaf(1, Path::MinerExit).into_keys().next().unwrap();
        p.inputs[0].tap_scripts = leaves.into_values().map(|leaf| (other.clone(), leaf)).collect();
    }),
    ("psbt-origin", "input 0, origin of a Taproot key", |p| {
        p.inputs[0].tap_key_origins.insert(xpub().to_x_only_pub(), (Vec::new(), source()));
    }),
    ("psbt-origin", "input 1, origin of a key", |p| {
        p.inputs[1].bip32_derivation.insert(xpub().public_key, source());
    }),
    ("psbt-key-signature", "input 0, key path signature", |p| {
        p.inputs[0].tap_key_sig = Some(signature());
    }),
    ("psbt-leaf-signature", "input 1, signature of a leaf", |p| {
        let leaf = TapLeafHash::all_zeros();
        p.inputs[1].tap_script_sigs.insert((xpub().to_x_only_pub(), leaf), signature());
    }),
    ("psbt-ecdsa", "input 0, ECDSA signature", |p| {
        let signature = bitcoin::ecdsa::Signature::sighash_all(
            bitcoin::secp256k1::ecdsa::Signature::from_compact(&[1; 64]).unwrap(),
        );
        p.inputs[0].partial_sigs.insert(xpub().public_key.into(), signature);
    }),
    ("psbt-annex", "input 0, annex", |p| {
        p.inputs[0].final_script_witness = Some(Witness::from_slice(&[&[7; 64][..], &[0x50]]));
    }),
    ("psbt-final", "input 0, finished witness", |p| {
        p.inputs[0].final_script_witness = Some(Witness::from_slice(&[[7; 64]]));
    }),
    // Alone an element that begins like an annex is none.
    ("psbt-final", "input 0, finished witness", |p| {
        p.inputs[0].final_script_witness = Some(Witness::from_slice(&[[0x50]]));
    }),
    ("psbt-final", "input 1, finished scriptSig", |p| {
        p.inputs[1].final_script_sig = Some(script())
    }),
    ("psbt-scripts", "input 0, redeem script", |p| p.inputs[0].redeem_script = Some(script())),
    ("psbt-scripts", "input 0, witness script", |p| p.inputs[0].witness_script = Some(script())),
    ("psbt-preimage", "input 0, preimage", |p| {
        p.inputs[0].ripemd160_preimages.insert(ripemd160::Hash::hash(&[1]), vec![1]);
    }),
    ("psbt-preimage", "input 0, preimage", |p| {
        p.inputs[0].sha256_preimages.insert(sha256::Hash::hash(&[1]), vec![1]);
    }),
    ("psbt-preimage", "input 1, preimage", |p| {
        p.inputs[1].hash160_preimages.insert(hash160::Hash::hash(&[1]), vec![1]);
    }),
    ("psbt-preimage", "input 1, preimage", |p| {
        p.inputs[1].hash256_preimages.insert(sha256d::Hash::hash(&[1]), vec![1]);
    }),
    ("psbt-round", "input 0, field 0x1a", |p| put(&mut p.inputs[0].unknown, 0x1a)),
    ("psbt-round", "input 0, field 0x1b", |p| put(&mut p.inputs[0].unknown, 0x1b)),
    ("psbt-round", "input 1, field 0x1c", |p| put(&mut p.inputs[1].unknown, 0x1c)),
    ("psbt-output-hint", "output 0, redeem script", |p| {
        p.outputs[0].redeem_script = Some(script())
    }),
    ("psbt-output-hint", "output 0, witness script", |p| {
        p.outputs[0].witness_script = Some(script());
    }),
    ("psbt-output-hint", "output 1, origin of a key", |p| {
        p.outputs[1].bip32_derivation.insert(xpub().public_key, source());
    }),
    ("psbt-output-hint", "output 1, internal key", |p| {
        p.outputs[1].tap_internal_key = Some(xpub().to_x_only_pub());
    }),
    ("psbt-output-hint", "output 0, tree", |p| {
        let tree = TaprootBuilder::new().add_leaf(0, script()).unwrap();
        p.outputs[0].tap_tree = Some(tree.try_into_taptree().unwrap());
    }),
    ("psbt-output-hint", "output 0, origin of a Taproot key", |p| {
        p.outputs[0].tap_key_origins.insert(xpub().to_x_only_pub(), (Vec::new(), source()));
    }),
];

fn script() -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51])
}

fn xpub() -> Xpub {
    let account = terms().reward.miner.record.leaf.to_string();
    account.rsplit(']').next().unwrap().parse().unwrap()
}

fn source() -> (Fingerprint, DerivationPath) {
    (Fingerprint::from([1; 4]), DerivationPath::master())
}

fn ours_alone() -> ProprietaryKey {
    ProprietaryKey { prefix: b"hashmix".to_vec(), subtype: 0, key: vec![1] }
}

fn put(fields: &mut BTreeMap<Key, Vec<u8>>, type_value: u8) {
    fields.insert(Key { type_value, key: vec![] }, vec![1]);
}

fn signature() -> taproot::Signature {
    taproot::Signature::from_slice(&[7; 64]).unwrap()
}

/// A leaf of the escrow lock of an index, as an input shows it.
fn leaf(index: u32, path: Path) -> BTreeMap<ControlBlock, (ScriptBuf, LeafVersion)> {
    let lock = spend(index, 50_000, path).lock;
    let leaf = lock.leaf(path).unwrap();
    [(leaf.control.clone(), (leaf.script.clone(), LeafVersion::TapScript))].into()
}

#[test]
fn every_single_change_is_refused_by_its_rule_with_the_name_of_its_field() {
    let draft = draft();
    let honest = draft.psbt().unwrap();
    for (rule, field, change) in CHANGES {
        let mut psbt = honest.clone();
        change(&mut psbt);
        assert_ne!(psbt, honest, "{field}");
        let refused = draft.compare(&psbt, Culprit::Holder).unwrap_err();
        assert_eq!(refused.rule(), format!("policy-{rule}"), "{refused}");
        assert!(refused.fault().place.starts_with(&format!("test, {field}")), "{refused}");
        assert!(refused.to_string().starts_with("refused (holder)"), "{refused}");
        assert_ne!(refused.fault().expected, refused.fault().found, "{refused}");
    }
}

#[test]
fn bytes_that_are_not_one_psbt_in_its_shortest_form_are_refused() {
    let honest = draft().psbt().unwrap();
    let bytes = honest.serialize();
    for good in [bytes.clone(), honest.to_string().into_bytes(), format!("{honest}\n").into()] {
        assert_eq!(carrier::read(&good, Culprit::Miner).unwrap(), honest);
    }
    let with = |place: usize, more: &[u8]| [&bytes[..place], more, &bytes[place..]].concat();
    let version = |number: u32| [&[1, 0xfb, 4], &number.to_le_bytes()[..]].concat();
    let mut signed = honest.clone();
    signed.unsigned_tx.input[0].script_sig = script();
    // The first field of the first input once more. Before it: the magic, the key of the
    // transaction, its length, itself, the end of the map.
    let global = 5 + 2 + 1 + length_of_transaction(&honest) + 1;
    let field = 3 + usize::from(bytes[global + 2]);
    let again = bytes[global..global + field].to_vec();
    for (rule, bad) in [
        ("form", vec![]),
        ("form", b"psbt".to_vec()),
        ("form", b"not Base64!".to_vec()),
        ("form", bytes[..bytes.len() - 1].to_vec()),
        ("form", vec![b'a'; 4_000_001]),
        ("trailing", with(bytes.len(), &[0])),
        ("trailing", bytes.repeat(2)),
        ("shortest", with(5, &version(0))),
        ("version", with(5, &version(2))),
        ("twice", with(global, &again)),
        ("unsigned", signed.serialize()),
    ] {
        let refused = carrier::read(&bad, Culprit::Miner).unwrap_err();
        let area = if rule == "unsigned" { "policy-tx" } else { "policy-psbt" };
        assert_eq!(refused.rule(), format!("{area}-{rule}"), "{refused}");
        assert!(refused.to_string().starts_with("refused (miner)"), "{refused}");
    }
}

/// Bytes of the unsigned transaction, few enough for a length of one byte.
fn length_of_transaction(psbt: &Psbt) -> usize {
    let length = bitcoin::consensus::serialize(&psbt.unsigned_tx).len();
    assert!((0..253).contains(&length), "{length}");
    length
}

#[test]
fn a_leaf_has_no_round() {
    let (draft, psbt) = (draft(), draft().psbt().unwrap());
    assert_eq!(round::carrier(&draft).unwrap_err().rule(), "script-leaf");
    assert_eq!(round::read(&draft, &psbt, Culprit::Miner).unwrap_err().rule(), "script-leaf");
}

#[test]
fn every_rule_of_the_comparison_has_a_change_that_it_refuses() {
    let of_bytes = ["form", "trailing", "shortest", "twice"].map(|name| format!("psbt-{name}"));
    let tried: BTreeSet<String> =
        CHANGES.iter().map(|(rule, ..)| (*rule).to_owned()).chain(of_bytes).collect();
    let rules: BTreeSet<String> =
        RULES.iter().map(|rule| rule.id.strip_prefix("policy-").unwrap().to_owned()).collect();
    assert_eq!(tried, rules);
    assert_eq!(rules.len(), RULES.len());
}

#[test]
fn a_draft_without_inputs_with_one_twice_or_with_anothers_lock_is_refused() {
    let refused = |spends, outputs| build(spends, outputs).unwrap_err().rule();
    assert_eq!(refused(vec![], vec![output(1_000)]), "tx-built");
    let twice = vec![spend(1, 50_000, Path::Agreed), spend(1, 50_000, Path::Agreed)];
    assert_eq!(refused(twice, vec![output(1_000)]), "tx-built");
    let mut foreign = spend(1, 50_000, Path::Agreed);
    foreign.lock = spend(2, 50_000, Path::Agreed).lock;
    assert_eq!(refused(vec![foreign], vec![output(1_000)]), "tx-built");
}

#[test]
fn dust_and_outputs_above_inputs_are_refused_to_the_satoshi() {
    let one = || vec![spend(1, 50_000, Path::Agreed)];
    assert!(build(one(), vec![output(330)]).is_ok());
    assert_eq!(build(one(), vec![output(329)]).unwrap_err().rule(), "tx-built");
    assert!(build(one(), vec![output(50_000)]).is_ok());
    assert_eq!(build(one(), vec![output(50_001)]).unwrap_err().rule(), "tx-built");
    let whole = 2_100_000_000_000_000;
    let refused = build(vec![spend(1, whole + 1, Path::Agreed)], vec![output(1_000)]);
    assert_eq!(refused.unwrap_err().rule(), "amount-limit");
}

#[test]
fn a_draft_waits_for_the_later_of_the_terms_and_the_leaf() {
    let early = build(vec![spend(1, 50_000, Path::HolderExit)], vec![output(1_000)]).unwrap();
    assert_eq!(early.transaction().lock_time, LockTime::from_height(191).unwrap());
    assert_eq!(early.transaction().input[0].sequence, Sequence::from_height(24));
    let later = Draft::new(
        Title("test"),
        TRUC,
        300,
        vec![spend(1, 50_000, Path::HolderExit)],
        vec![output(1_000)],
    );
    assert_eq!(later.unwrap().transaction().lock_time, LockTime::from_height(300).unwrap());
}

#[test]
fn a_lock_without_a_key_path_has_none_and_a_reward_lock_has_no_miners_exit() {
    let nums = agreed(Variant::Nums);
    let coin = coin_of(&nums, 1, Amount::from_sat(40_000_000));
    let refused = settlement(&nums, &coin, outcome(3, 35_000_000, false), Path::Key, 2, None);
    assert_eq!(refused.unwrap_err().rule(), "script-leaf");
    assert!(settlement(&nums, &coin, outcome(3, 35_000_000, false), Path::Agreed, 2, None).is_ok());
}

#[test]
fn signatures_are_counted_attributed_and_verified() {
    let coin = coin_of(&terms(), 1, Amount::from_sat(40_000_000));
    let draft = |rate| {
        settlement(&terms(), &coin, outcome(3, 35_000_000, false), Path::MinerRuling, rate, None)
            .unwrap()
    };
    let good = sign(&draft(2), Seat::Validator(1));
    let mut signed = Signed::new(draft(2));
    for (seat, signatures) in [
        (Seat::Validator(1), vec![]),
        (Seat::Validator(1), vec![good[0]; 2]),
        (Seat::Validator(0), good.clone()),
        (Seat::Holder, good.clone()),
        (Seat::Validator(7), good.clone()),
        (Seat::Validator(1), sign(&draft(3), Seat::Validator(1))),
    ] {
        let refused = signed.add(seat, &signatures).unwrap_err();
        assert_eq!(refused.rule(), "tx-signature");
        assert!(refused.to_string().starts_with(&format!("refused ({seat})")), "{refused}");
    }
    signed.add(Seat::Validator(1), &good).unwrap();
    signed.add(Seat::Miner, &sign(&draft(2), Seat::Miner)).unwrap();
    assert_eq!(signed.finish().unwrap_err().rule(), "script-signed", "one of two validators");
}
