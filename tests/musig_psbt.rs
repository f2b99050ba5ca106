//! A key path spend of an escrow-like output by two signers who exchange nothing but a PSBT.
//!
//! The output is built through miniscript with the synthetic xpub as its internal key, as locks
//! are; the rounds run on the contract's own keys. What comes back from the other side is bytes,
//! and each way of tampering with them is refused by its rule.
#![cfg(feature = "signer")]

use bitcoin::absolute::LockTime;
use bitcoin::bip32::{ChildNumber, Xpub};
use bitcoin::hashes::Hash;
use bitcoin::psbt::raw::Key;
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1};
use bitcoin::sighash::{Prevouts, SighashCache, TapSighashType};
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, Network, OutPoint, Psbt, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
};
use hashmix::musig::{KeyContext, PublicNonce, SecretNonce, Session, psbt, synthetic_xpub};
use hashmix::sign::seed::Seed;
use hashmix::sign::software::SoftwareSigner;
use miniscript::psbt::PsbtExt;
use miniscript::{DefiniteDescriptorKey, Descriptor, DescriptorPublicKey};
use proptest::prelude::*;

/// The escrow's branch and the number of its settlement.
const BRANCH: u32 = 2;
const NUMBER: u32 = 7;

/// An output of a contract between two people, and a PSBT that spends it.
struct Deal {
    miner: SoftwareSigner,
    holder: SoftwareSigner,
    keys: [PublicKey; 2],
    descriptor: String,
    musig_form: String,
    definite: Descriptor<DefiniteDescriptorKey>,
    context: KeyContext,
    psbt: Psbt,
}

fn signer(entropy: u8, record: u32) -> SoftwareSigner {
    let seed = Seed::from_entropy(&[entropy; 16], "").unwrap();
    SoftwareSigner::new(seed.record(Network::Regtest, record).unwrap(), Network::Regtest).unwrap()
}

fn xpub(expression: &str) -> Xpub {
    expression.rsplit(']').next().unwrap().parse().unwrap()
}

fn deal() -> Deal {
    let (miner, holder) = (signer(1, 0), signer(2, 4));
    let keys = [&miner, &holder].map(|s| xpub(&s.keys().musig).public_key);
    let internal = synthetic_xpub(&keys, Network::Regtest).unwrap();
    let (m, n) = (miner.keys(), holder.keys());
    let tree = format!(
        "{{multi_a(2,{}/4/*,{}/4/*),and_v(v:pk({}/2/*),after(1000))}}",
        m.leaf, n.leaf, n.exit,
    );
    let descriptor = format!("tr({internal}/{BRANCH}/*,{tree})");
    let musig_form = format!("tr(musig({},{})/{BRANCH}/*,{tree})", m.musig, n.musig);
    let parsed: Descriptor<DescriptorPublicKey> = descriptor.parse().unwrap();
    parsed.sanity_check().unwrap();
    let definite = parsed.at_derivation_index(NUMBER).unwrap();
    let derived = definite.derived_descriptor(&Secp256k1::new()).unwrap();
    let Descriptor::Tr(tr) = &derived else { panic!("a taproot descriptor") };
    let root = tr.spend_info().merkle_root();
    let path = [BRANCH, NUMBER].map(|index| ChildNumber::Normal { index });
    let context = KeyContext::new(&keys, &path, root).unwrap();
    let psbt = spend(&definite.script_pubkey());
    Deal { miner, holder, keys, descriptor, musig_form, definite, context, psbt }
}

fn spend(script: &ScriptBuf) -> Psbt {
    let unsigned = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(Txid::from_byte_array([1; 32]), 0),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness: Witness::new(),
        }],
        output: vec![TxOut { value: Amount::from_sat(90_000), script_pubkey: script.clone() }],
    };
    let mut psbt = Psbt::from_unsigned_tx(unsigned).unwrap();
    psbt.inputs[0].witness_utxo =
        Some(TxOut { value: Amount::from_sat(100_000), script_pubkey: script.clone() });
    psbt
}

fn sighash(psbt: &Psbt) -> [u8; 32] {
    let spent = [psbt.inputs[0].witness_utxo.clone().unwrap()];
    SighashCache::new(&psbt.unsigned_tx)
        .taproot_key_spend_signature_hash(0, &Prevouts::All(&spent), TapSighashType::Default)
        .unwrap()
        .to_byte_array()
}

/// What passes between the two is bytes.
fn sent(psbt: &Psbt) -> Psbt {
    Psbt::deserialize(&psbt.serialize()).unwrap()
}

/// Both nonces are in the PSBT; the secret halves of miner and holder.
fn first_round(deal: &mut Deal) -> (SecretNonce, SecretNonce) {
    let message = sighash(&deal.psbt);
    psbt::announce(&mut deal.psbt.inputs[0], &deal.context);
    let (mine, shown) = deal.miner.begin(&deal.context, message).unwrap();
    psbt::add_nonce(&mut deal.psbt.inputs[0], &deal.context, &deal.keys[0], &shown).unwrap();
    deal.psbt = sent(&deal.psbt);
    psbt::check(&deal.psbt.inputs[0], &deal.context).unwrap();
    let (his, shown) = deal.holder.begin(&deal.context, message).unwrap();
    psbt::add_nonce(&mut deal.psbt.inputs[0], &deal.context, &deal.keys[1], &shown).unwrap();
    deal.psbt = sent(&deal.psbt);
    (mine, his)
}

fn session(deal: &Deal) -> hashmix::error::Result<Session> {
    let nonces = psbt::nonces(&deal.psbt.inputs[0], &deal.context)?;
    Session::new(&deal.context, &nonces, sighash(&deal.psbt))
}

fn second_round(deal: &mut Deal, mine: SecretNonce, his: SecretNonce) {
    for (who, nonce) in [(1, his), (0, mine)] {
        let signer = if who == 0 { &deal.miner } else { &deal.holder };
        let part = signer.sign_part(&session(deal).unwrap(), nonce).unwrap();
        psbt::add_part(&mut deal.psbt.inputs[0], &deal.context, &deal.keys[who], &part).unwrap();
        deal.psbt = sent(&deal.psbt);
    }
}

/// The key of a field of the participant, as it lies in the PSBT.
fn field(deal: &Deal, kind: u8, participant: &PublicKey) -> Key {
    let output = deal.context.output_key();
    let output = PublicKey::from_x_only_public_key(output.0, output.1);
    Key { type_value: kind, key: [participant.serialize(), output.serialize()].concat() }
}

#[test]
fn two_signers_spend_the_key_path_by_passing_a_psbt() {
    let mut deal = deal();
    let (mine, his) = first_round(&mut deal);
    second_round(&mut deal, mine, his);
    let parts = psbt::parts(&deal.psbt.inputs[0], &deal.context).unwrap();
    let signature = session(&deal).unwrap().aggregate(&parts).unwrap();

    // The output key stands in the script; 0.29's own verification agrees with it.
    let message = Message::from_digest(sighash(&deal.psbt));
    let key = deal.context.output_key().0;
    let script = deal.definite.script_pubkey();
    assert_eq!(script.as_bytes()[2..], key.serialize());
    assert_eq!(Secp256k1::new().verify_schnorr(&signature, &message, &key), Ok(()));

    // Miniscript finalises it, and the witness is the one of a key path spend: 57.5 vB of input.
    psbt::finish(&mut deal.psbt.inputs[0], signature);
    let psbt = sent(&deal.psbt).finalize(&Secp256k1::verification_only()).unwrap();
    let tx = psbt.extract(&Secp256k1::verification_only()).unwrap();
    assert_eq!(tx.input[0].witness.len(), 1);
    assert_eq!(tx.input[0].witness[0], signature.serialize());
    assert_eq!(tx.input[0].segwit_weight().to_wu(), 230);
}

#[test]
fn the_announced_fields_are_those_that_miniscript_writes_for_the_synthetic_xpub() {
    let mut deal = deal();
    psbt::announce(&mut deal.psbt.inputs[0], &deal.context);
    let ours = deal.psbt.inputs[0].clone();
    let mut other = spend(&deal.definite.script_pubkey());
    other.update_input_with_descriptor(0, &deal.definite).unwrap();
    let theirs = &other.inputs[0];
    assert_eq!(ours.tap_internal_key, theirs.tap_internal_key);
    assert_eq!(ours.tap_merkle_root, theirs.tap_merkle_root);
    let internal = deal.context.internal_key();
    assert_eq!(ours.tap_key_origins[&internal], theirs.tap_key_origins[&internal]);
}

#[test]
fn fields_lie_in_the_psbt_as_bip_373_says() {
    let mut deal = deal();
    let (mine, his) = first_round(&mut deal);
    second_round(&mut deal, mine, his);
    let unknown = &deal.psbt.inputs[0].unknown;
    let kinds: Vec<u8> = unknown.keys().map(|key| key.type_value).collect();
    assert_eq!(kinds, [0x1a, 0x1b, 0x1b, 0x1c, 0x1c]);
    let aggregate = deal.context.plain_aggregate().serialize().to_vec();
    let mut sorted = deal.keys.map(|key| key.serialize());
    sorted.sort();
    assert_eq!(unknown[&Key { type_value: 0x1a, key: aggregate }], sorted.concat());
    for key in &deal.keys {
        assert_eq!(unknown[&field(&deal, 0x1b, key)].len(), 66);
        assert_eq!(unknown[&field(&deal, 0x1c, key)].len(), 32);
    }
}

#[test]
fn a_tampered_list_of_participants_is_refused() {
    let listed = "musig-psbt-participants";
    let tamper = |change: &dyn Fn(&Deal, &mut Vec<u8>)| {
        let mut deal = deal();
        first_round(&mut deal);
        let aggregate = deal.context.plain_aggregate().serialize().to_vec();
        let key = Key { type_value: 0x1a, key: aggregate };
        let mut value = deal.psbt.inputs[0].unknown[&key].clone();
        change(&deal, &mut value);
        deal.psbt.inputs[0].unknown.insert(key, value);
        deal.psbt = sent(&deal.psbt);
        session(&deal).unwrap_err().rule()
    };
    let stranger = xpub(&signer(3, 0).keys().musig).public_key.serialize();
    assert_eq!(tamper(&|_, value| value.rotate_left(33)), listed, "not sorted");
    assert_eq!(tamper(&|_, value| value[33..].copy_from_slice(&stranger)), listed);
    assert_eq!(tamper(&|_, value| value.extend_from_slice(&stranger)), listed);
    assert_eq!(tamper(&|_, value| value.truncate(33)), listed);
    assert_eq!(tamper(&|_, value| value.truncate(40)), "musig-psbt-field");
    assert_eq!(tamper(&|_, value| value.clear()), "musig-psbt-field");
    assert_eq!(tamper(&|_, value| value[0] = 4), "musig-psbt-field");

    let mut deal = deal();
    first_round(&mut deal);
    deal.psbt.inputs[0].unknown.retain(|key, _| key.type_value != 0x1a);
    assert_eq!(session(&deal).unwrap_err().rule(), listed, "no list");
    psbt::announce(&mut deal.psbt.inputs[0], &deal.context);
    let other = Key { type_value: 0x1a, key: deal.keys[0].serialize().to_vec() };
    deal.psbt.inputs[0].unknown.insert(other.clone(), deal.keys[0].serialize().to_vec());
    assert_eq!(session(&deal).unwrap_err().rule(), listed, "a second aggregate");
    deal.psbt.inputs[0].unknown.remove(&other);
    let short = Key { type_value: 0x1a, key: vec![2; 5] };
    deal.psbt.inputs[0].unknown.insert(short, deal.keys[0].serialize().to_vec());
    assert_eq!(session(&deal).unwrap_err().rule(), "musig-psbt-field", "a key of 5 bytes");
}

#[test]
fn a_psbt_that_spends_something_else_is_refused() {
    let spends = "musig-psbt-input";
    let tamper = |change: &dyn Fn(&Deal, &mut bitcoin::psbt::Input)| {
        let mut deal = deal();
        first_round(&mut deal);
        let mut input = deal.psbt.inputs[0].clone();
        change(&deal, &mut input);
        psbt::nonces(&input, &deal.context).map(|nonces| nonces.len()).map_err(|e| e.rule())
    };
    assert_eq!(tamper(&|_, _| ()), Ok(2));
    let other_key = |deal: &Deal| deal.keys[0].x_only_public_key().0;
    assert_eq!(tamper(&|deal, i| i.tap_internal_key = Some(other_key(deal))), Err(spends));
    assert_eq!(tamper(&|_, i| i.tap_internal_key = None), Err(spends));
    assert_eq!(tamper(&|_, i| i.tap_merkle_root = None), Err(spends));
    let root = bitcoin::TapNodeHash::from_byte_array([8; 32]);
    assert_eq!(tamper(&|_, i| i.tap_merkle_root = Some(root)), Err(spends));
    assert_eq!(tamper(&|_, i| i.witness_utxo = None), Err(spends));
    let script = ScriptBuf::new();
    let swap = |i: &mut bitcoin::psbt::Input| {
        i.witness_utxo.as_mut().unwrap().script_pubkey = script.clone();
    };
    assert_eq!(tamper(&|_, i| swap(i)), Err(spends));
}

#[test]
fn a_tampered_nonce_is_refused() {
    let tamper = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut deal = deal();
        let (mine, _) = first_round(&mut deal);
        let key = field(&deal, 0x1b, &deal.keys[0]);
        change(deal.psbt.inputs[0].unknown.get_mut(&key).unwrap());
        deal.psbt = sent(&deal.psbt);
        let signed = session(&deal).and_then(|session| deal.miner.sign_part(&session, mine));
        signed.map_err(|e| e.rule().to_owned()).unwrap_err()
    };
    assert_eq!(tamper(&|nonce| nonce[0] = 5), "musig-nonce");
    assert_eq!(tamper(&|nonce| nonce.truncate(65)), "musig-nonce");
    assert_eq!(tamper(&|nonce| nonce.push(0)), "musig-nonce");
    // The negated first point is a point as well: valid, and not the one that the miner made.
    assert_eq!(tamper(&|nonce| nonce[0] ^= 1), "musig-nonce-dead");
    assert_eq!(tamper(&|nonce| nonce.rotate_left(33)), "musig-nonce-dead");
}

#[test]
fn a_nonce_that_was_changed_for_the_others_only_spoils_their_part_and_is_found() {
    let mut deal = deal();
    let (mine, his) = first_round(&mut deal);
    let key = field(&deal, 0x1b, &deal.keys[0]);
    let honest = deal.psbt.clone();
    deal.psbt.inputs[0].unknown.get_mut(&key).unwrap()[0] ^= 1;
    // The holder sees the changed nonce and signs; the miner sees his own.
    let part = deal.holder.sign_part(&session(&deal).unwrap(), his).unwrap();
    deal.psbt = honest;
    let session = session(&deal).unwrap();
    deal.miner.sign_part(&session, mine).unwrap();
    let refused = session.verify(&deal.keys[1], &part).unwrap_err();
    assert_eq!(refused.rule(), "musig-partial-wrong");
}

#[test]
fn a_tampered_part_is_refused_with_its_participant() {
    let tamper = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut deal = deal();
        let (mine, his) = first_round(&mut deal);
        second_round(&mut deal, mine, his);
        let key = field(&deal, 0x1c, &deal.keys[1]);
        change(deal.psbt.inputs[0].unknown.get_mut(&key).unwrap());
        deal.psbt = sent(&deal.psbt);
        let parts = psbt::parts(&deal.psbt.inputs[0], &deal.context);
        let joined = parts.and_then(|parts| session(&deal)?.aggregate(&parts));
        let refused = joined.unwrap_err();
        assert!(refused.fault().place.contains(&deal.keys[1].to_string()), "{refused}");
        refused.rule().to_owned()
    };
    assert_eq!(tamper(&|part| part[31] ^= 1), "musig-partial-wrong");
    assert_eq!(tamper(&|part| part.copy_from_slice(&[0; 32])), "musig-partial-wrong");
    assert_eq!(tamper(&|part| part.copy_from_slice(&[0xff; 32])), "musig-partial");
    assert_eq!(tamper(&|part| part.truncate(31)), "musig-partial");
}

#[test]
fn swapped_and_missing_parts_are_refused() {
    let mut deal = deal();
    let (mine, his) = first_round(&mut deal);
    second_round(&mut deal, mine, his);
    let [a, b] = deal.keys.map(|key| field(&deal, 0x1c, &key));
    let unknown = &mut deal.psbt.inputs[0].unknown;
    let (of_a, of_b) = (unknown[&a].clone(), unknown[&b].clone());
    unknown.insert(a, of_b);
    unknown.insert(b.clone(), of_a);
    let join = |deal: &Deal| {
        let parts = psbt::parts(&deal.psbt.inputs[0], &deal.context)?;
        session(deal)?.aggregate(&parts)
    };
    assert_eq!(join(&deal).unwrap_err().rule(), "musig-partial-wrong");
    deal.psbt.inputs[0].unknown.remove(&b);
    assert_eq!(join(&deal).unwrap_err().rule(), "musig-partial-set");
}

#[test]
fn fields_of_a_stranger_or_for_another_key_are_refused() {
    let stranger = xpub(&signer(3, 0).keys().musig).public_key;
    for kind in [0x1b, 0x1c] {
        let mut deal = deal();
        let (mine, his) = first_round(&mut deal);
        second_round(&mut deal, mine, his);
        let good = deal.psbt.inputs[0].clone();
        let own = field(&deal, kind, &deal.keys[0]);
        let read = |changed: Key| {
            let mut input = good.clone();
            let value = input.unknown.remove(&own).unwrap();
            input.unknown.insert(changed, value);
            let nonces = psbt::nonces(&input, &deal.context).map(drop);
            let parts = psbt::parts(&input, &deal.context).map(drop);
            nonces.and(parts).unwrap_err().rule()
        };
        assert_eq!(read(field(&deal, kind, &stranger)), "musig-psbt-foreign");
        // The same output key with the other parity, the internal key, and a leaf's hash behind.
        let mut parity = own.clone();
        parity.key[33] ^= 1;
        assert_eq!(read(parity), "musig-psbt-foreign");
        let internal = deal.context.internal_key().public_key(bitcoin::key::Parity::Even);
        let key = [deal.keys[0].serialize(), internal.serialize()].concat();
        assert_eq!(read(Key { type_value: kind, key }), "musig-psbt-foreign");
        let mut leaf = own.clone();
        leaf.key.extend_from_slice(&[9; 32]);
        assert_eq!(read(leaf), "musig-psbt-field");
        let mut short = own.clone();
        short.key.truncate(33);
        assert_eq!(read(short), "musig-psbt-field");
        let mut no_point = own.clone();
        no_point.key[0] = 7;
        assert_eq!(read(no_point), "musig-psbt-field");
    }
}

#[test]
fn a_stranger_cannot_add_and_nobody_can_show_two_nonces() {
    let mut deal = deal();
    let (_, _) = first_round(&mut deal);
    let message = sighash(&deal.psbt);
    let (_, second) = deal.miner.begin(&deal.context, message).unwrap();
    let stranger = xpub(&signer(3, 0).keys().musig).public_key;
    let (context, input) = (&deal.context, &mut deal.psbt.inputs[0]);
    let refused = psbt::add_nonce(input, context, &deal.keys[0], &second).unwrap_err();
    assert_eq!(refused.rule(), "musig-psbt-conflict");
    let refused = psbt::add_nonce(input, context, &stranger, &second).unwrap_err();
    assert_eq!(refused.rule(), "musig-psbt-foreign");
    // The same nonce again, as a message that arrives twice, changes nothing.
    let before = input.clone();
    let known: Vec<(PublicKey, PublicNonce)> = psbt::nonces(input, context).unwrap();
    for (key, nonce) in known {
        psbt::add_nonce(input, context, &key, &nonce).unwrap();
    }
    assert_eq!(*input, before);
}

#[test]
fn after_a_restart_the_dead_nonce_is_refused_and_a_fresh_round_succeeds() {
    let mut deal = deal();
    let (lost, _) = first_round(&mut deal);
    // The miner's computer restarts: the PSBT still shows his nonce, whose secret half is gone.
    drop(lost);
    let (fresh, shown) = deal.miner.begin(&deal.context, sighash(&deal.psbt)).unwrap();
    let refused = deal.miner.sign_part(&session(&deal).unwrap(), fresh).unwrap_err();
    assert_eq!(refused.rule(), "musig-nonce-dead");
    let input = &mut deal.psbt.inputs[0];
    let again = psbt::add_nonce(input, &deal.context, &deal.keys[0], &shown);
    assert_eq!(again.unwrap_err().rule(), "musig-psbt-conflict");

    psbt::clear_round(input);
    assert_eq!(psbt::nonces(input, &deal.context).unwrap(), []);
    let (mine, his) = first_round(&mut deal);
    second_round(&mut deal, mine, his);
    let parts = psbt::parts(&deal.psbt.inputs[0], &deal.context).unwrap();
    session(&deal).unwrap().aggregate(&parts).unwrap();
}

#[test]
fn another_contract_or_transaction_does_not_get_our_part() {
    let mut deal = deal();
    let (mine, his) = first_round(&mut deal);
    // The same nonces over a changed transaction.
    deal.psbt.unsigned_tx.output[0].value = Amount::from_sat(1);
    let refused = deal.miner.sign_part(&session(&deal).unwrap(), mine).unwrap_err();
    assert_eq!(refused.rule(), "musig-nonce-purpose");
    // A record of another contract is no participant.
    let other = signer(1, 1);
    let refused = other.sign_part(&session(&deal).unwrap(), his).unwrap_err();
    assert_eq!(refused.rule(), "musig-signer");
}

/// Bitcoin Core gives the same addresses for the `musig()` form, which is printed on failure.
#[test]
fn addresses_never_change() {
    let deal = deal();
    println!("{}", deal.musig_form);
    let parsed: Descriptor<DescriptorPublicKey> = deal.descriptor.parse().unwrap();
    let address = |index| {
        let definite = parsed.at_derivation_index(index).unwrap();
        definite.address(Network::Regtest).unwrap().to_string()
    };
    assert_eq!(
        synthetic_xpub(&deal.keys, Network::Regtest).unwrap().to_string(),
        "tpubD6NzVbkrYhZ4XgHkCEtfpuZPJDLaLPxu5ZBEtAbub9GcUX1mTS2t3eCnBaQL6BaSEttVdY28o33D9XLX33WY4EBLQTeAoG76fjqzRCS6cec"
    );
    assert_eq!(
        [0, 1, 7].map(address),
        [
            "bcrt1pnxrq097dtewr74py69h2zmxhk333j2efmjja7mm4yph468ypyeqsevzsvy",
            "bcrt1pvp7pxq8epqsksrg77xevkm5436nw57yg4psmr6jm9mqxralfz2eqvnz2d9",
            "bcrt1pl5ndes62560vg34mua6asv7mczqpqzqyuutkluq68l83delsgt0qt4unyv"
        ]
    );
}

#[test]
fn the_parts_in_a_stored_psbt_join_to_the_signature_that_bitcoin_core_made_of_them() {
    let mut deal = deal();
    deal.psbt = include_str!("../fixtures/musig/both_parts.psbt").trim().parse().unwrap();
    let core = include_str!("../fixtures/musig/both_parts.core.hex").trim();
    let core: Transaction = bitcoin::consensus::encode::deserialize_hex(core).unwrap();
    let parts = psbt::parts(&deal.psbt.inputs[0], &deal.context).unwrap();
    let signature = session(&deal).unwrap().aggregate(&parts).unwrap();
    assert_eq!(core.input[0].witness[0], signature.serialize());
    assert_eq!(core.compute_txid(), deal.psbt.unsigned_tx.compute_txid());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_changed_byte_of_any_field_is_refused(
        place in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
        flip in 1..=255u8,
    ) {
        let mut deal = deal();
        deal.psbt = include_str!("../fixtures/musig/both_parts.psbt").trim().parse().unwrap();
        let input = &mut deal.psbt.inputs[0];
        let (mut key, mut value) =
            input.unknown.iter().nth(place.index(5)).map(|(k, v)| (k.clone(), v.clone())).unwrap();
        input.unknown.remove(&key);
        let byte = byte.index(key.key.len() + value.len());
        *key.key.iter_mut().chain(&mut value).nth(byte).unwrap() ^= flip;
        input.unknown.insert(key, value);
        deal.psbt = sent(&deal.psbt);
        let parts = psbt::parts(&deal.psbt.inputs[0], &deal.context);
        let joined = parts.and_then(|parts| session(&deal)?.aggregate(&parts));
        prop_assert!(joined.unwrap_err().rule().starts_with("musig-"));
    }
}
