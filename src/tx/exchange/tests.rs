//! Exchanges of a seal, a Taproot coin and a coin of before Taproot, signed by keys that everybody knows.

use bitcoin::bip32::{DerivationPath, Xpriv, Xpub};
use bitcoin::key::{Keypair, TapTweak};
use bitcoin::secp256k1::All;
use bitcoin::{Network, ScriptBuf};

use super::*;

const TITLE: Title = Title("sale");

fn secp() -> Secp256k1<All> {
    Secp256k1::new()
}

fn pair(byte: u8) -> Keypair {
    Keypair::from_seckey_slice(&secp(), &[byte; 32]).unwrap()
}

/// The key of the seals, with its account's public half.
fn seal_key() -> (Keypair, String) {
    let master = Xpriv::new_master(Network::Regtest, &[7; 32]).unwrap();
    let path: DerivationPath = "86h/1h/1h/0h".parse().unwrap();
    let account = master.derive_priv(&secp(), &path).unwrap();
    let text = format!(
        "[{}/86h/1h/1h/0h]{}",
        master.fingerprint(&secp()),
        Xpub::from_priv(&secp(), &account)
    );
    let steps: DerivationPath = "0/0".parse().unwrap();
    (account.derive_priv(&secp(), &steps).unwrap().to_keypair(&secp()), text)
}

fn seal(number: u8) -> SealLock {
    SealLock::new(&seal_key().1.parse().unwrap(), [number; 32]).unwrap()
}

fn outpoint(byte: u8) -> OutPoint {
    OutPoint::new(Txid::from_byte_array([byte; 32]), u32::from(byte))
}

fn out(value: u64, script_pubkey: &ScriptBuf) -> TxOut {
    TxOut { value: Amount::from_sat(value), script_pubkey: script_pubkey.clone() }
}

fn sealed(number: u8) -> Part {
    let lock = seal(number);
    let prevout = out(10_000, &lock.script_pubkey);
    Part { outpoint: outpoint(number), prevout, way: Way::Seal(lock) }
}

fn coin(number: u8, value: u64, script: &ScriptBuf) -> Part {
    Part { outpoint: outpoint(number), prevout: out(value, script), way: Way::Coin }
}

fn taproot() -> ScriptBuf {
    ScriptBuf::new_p2tr(&secp(), pair(3).x_only_public_key().0, None)
}

fn wpkh() -> ScriptBuf {
    ScriptBuf::new_p2wpkh(&CompressedPublicKey(pair(4).public_key()).wpubkey_hash())
}

/// A seal, a Taproot coin and one of before Taproot, for a seal, a price and change.
fn parts() -> Vec<Part> {
    vec![sealed(1), coin(2, 50_000, &taproot()), coin(3, 40_000, &wpkh())]
}

fn outputs() -> Vec<TxOut> {
    vec![out(10_000, &seal(2).script_pubkey), out(70_000, &taproot()), out(19_000, &wpkh())]
}

fn made(parts: Vec<Part>, outputs: Vec<TxOut>) -> Result<Exchange> {
    Exchange::new(TITLE, 0, parts, outputs, seal(2).script_pubkey)
}

fn exchange() -> Exchange {
    made(parts(), outputs()).unwrap()
}

fn rule<T>(result: Result<T>) -> &'static str {
    result.map(|_| ()).unwrap_err().rule()
}

fn schnorr(exchange: &Exchange, input: usize, key: &Keypair) -> Witness {
    let message = Message::from_digest(exchange.sighash(input).unwrap());
    signed(&secp().sign_schnorr_no_aux_rand(&message, key))
}

fn of_seal(exchange: &Exchange) -> Witness {
    let key = seal_key().0.tap_tweak(&secp(), Some(seal(1).merkle_root)).to_keypair();
    schnorr(exchange, 0, &key)
}

fn of_taproot(exchange: &Exchange) -> Witness {
    schnorr(exchange, 1, &pair(3).tap_tweak(&secp(), None).to_keypair())
}

fn of_wpkh(exchange: &Exchange, kind: EcdsaSighashType, key: u8) -> Witness {
    let message = Message::from_digest(exchange.sighash(2).unwrap());
    let signature = secp().sign_ecdsa(&message, &pair(4).secret_key());
    let signature = ecdsa::Signature { signature, sighash_type: kind };
    let key = pair(key).public_key().serialize();
    Witness::from_slice(&[signature.to_vec(), key.to_vec()])
}

#[test]
fn each_owner_signs_his_own_input_and_the_whole_is_finished() {
    let exchange = exchange();
    assert_eq!(exchange.transaction().version, Version::TWO);
    assert!(exchange.transaction().input.iter().all(|input| input.sequence.is_rbf()));
    let most = vsize(exchange.parts(), &exchange.transaction().output).unwrap();
    let mut signing = Exchanging::new(exchange);
    assert_eq!(signing.missing(), [0, 1, 2]);
    let words = [
        of_seal(signing.exchange()),
        of_taproot(signing.exchange()),
        of_wpkh(signing.exchange(), EcdsaSighashType::All, 4),
    ];
    for (input, witness) in words.iter().enumerate() {
        signing.add(input, None, witness, Culprit::Sender).unwrap();
    }
    assert!(signing.missing().is_empty());
    let last = signing.finish().unwrap();
    assert_eq!(last.fee, Amount::from_sat(1_000));
    let size = last.tx.vsize() as u64;
    assert!(size <= most && size + 1 >= most, "{size} of at most {most} vB");
}

#[test]
fn an_exchange_is_not_finished_while_somebody_has_not_signed() {
    let mut signing = Exchanging::new(exchange());
    let witness = of_seal(signing.exchange());
    signing.add(0, None, &witness, Culprit::Holder).unwrap();
    assert_eq!(signing.missing(), [1, 2]);
    assert_eq!(rule(signing.finish()), "script-signed");
}

#[test]
fn a_signature_of_something_else_or_by_somebody_else_is_refused() {
    let mut cheaper = outputs();
    cheaper[1].value -= Amount::from_sat(1);
    let other = made(parts(), cheaper).unwrap();
    let ours = exchange();
    let wrong = [
        (0, of_seal(&other)),
        (0, schnorr(&ours, 0, &seal_key().0)),
        (0, Witness::new()),
        (1, of_taproot(&other)),
        (1, of_seal(&ours)),
        (1, of_wpkh(&ours, EcdsaSighashType::All, 4)),
        (2, of_wpkh(&other, EcdsaSighashType::All, 4)),
        (2, of_wpkh(&ours, EcdsaSighashType::None, 4)),
        (2, of_wpkh(&ours, EcdsaSighashType::All, 5)),
        (2, of_taproot(&ours)),
    ];
    let mut signing = Exchanging::new(ours);
    for (number, (input, witness)) in wrong.iter().enumerate() {
        let refused = signing.add(*input, None, witness, Culprit::Holder);
        assert_eq!(rule(refused), "tx-signature", "case {number}");
    }
    assert_eq!(signing.missing(), [0, 1, 2]);
}

#[test]
fn the_builder_refuses_whatever_does_not_bring_the_seal_to_output_0() {
    let [price, change] = [out(70_000, &taproot()), out(19_000, &wpkh())];
    let arrives = out(10_000, &seal(2).script_pubkey);
    let mut swapped = parts();
    swapped.swap(0, 1);
    let mut two = parts();
    two.push(sealed(5));
    let none = parts().split_off(1);
    for (what, parts, outputs) in [
        ("another output first", parts(), vec![price.clone(), arrives.clone(), change.clone()]),
        ("a smaller seal", parts(), vec![out(9_999, &arrives.script_pubkey), price.clone()]),
        ("a larger seal", parts(), vec![out(10_001, &arrives.script_pubkey), price.clone()]),
        ("another holder's", parts(), vec![out(10_000, &seal(3).script_pubkey), price.clone()]),
        ("all of it a fee", parts(), vec![]),
        ("a coin before it", swapped, outputs()),
        ("two seals", two, outputs()),
        ("no seal", none, vec![arrives, price]),
    ] {
        assert_eq!(rule(made(parts, outputs)), "seal-moves", "{what}");
    }
}

#[test]
fn a_signer_follows_the_seal_again_before_he_is_told_what_to_sign() {
    let mut exchange = exchange();
    let witness = of_taproot(&exchange);
    assert!(exchange.sighash(1).is_ok());
    // Whatever changes it behind the builder's back: nobody is told a message any more.
    exchange.tx.output.swap(0, 1);
    for input in 0..3 {
        assert_eq!(rule(exchange.sighash(input)), "seal-moves");
    }
    let mut signing = Exchanging::new(exchange);
    assert_eq!(rule(signing.add(1, None, &witness, Culprit::Sender)), "seal-moves");
}

#[test]
fn what_cannot_be_a_transaction_is_refused() {
    let mut twice = parts();
    twice.push(coin(2, 50_000, &taproot()));
    assert_eq!(rule(made(twice, outputs())), "tx-built");
    let mut stranger = parts();
    stranger[0].prevout.script_pubkey = taproot();
    assert_eq!(rule(made(stranger, outputs())), "tx-built");
    let mut dust = outputs();
    dust[1].value = Amount::from_sat(329);
    assert_eq!(rule(made(parts(), dust)), "tx-built");
    let mut greedy = outputs();
    greedy[1].value = Amount::from_sat(80_000);
    assert_eq!(rule(made(parts(), greedy)), "tx-built");
}

#[test]
fn a_coin_whose_txid_others_could_change_is_refused() {
    let legacy = ScriptBuf::new_p2pkh(&CompressedPublicKey(pair(4).public_key()).pubkey_hash());
    let nested = ScriptBuf::new_p2sh(&wpkh().script_hash());
    let witness_script = ScriptBuf::new_p2wsh(&wpkh().wscript_hash());
    for script in [legacy, nested, witness_script] {
        let parts = vec![sealed(1), coin(2, 100_000, &script)];
        assert_eq!(rule(made(parts, outputs())), "sale-coin-kind");
    }
}

#[test]
fn the_others_psbt_is_held_to_ours_field_by_field() {
    let ours = exchange();
    let refused = |change: &dyn Fn(&mut Psbt)| {
        let mut psbt = ours.psbt().unwrap();
        change(&mut psbt);
        rule(ours.compare(&psbt, Culprit::Sender))
    };
    assert_eq!(ours.compare(&ours.psbt().unwrap(), Culprit::Sender), Ok(()));
    let one = Amount::from_sat(1);
    assert_eq!(refused(&|psbt| psbt.unsigned_tx.output[1].value -= one), "policy-tx-amount");
    assert_eq!(refused(&|psbt| psbt.unsigned_tx.output.swap(0, 1)), "policy-tx-output-order");
    assert_eq!(refused(&|psbt| psbt.inputs[0].tap_merkle_root = None), "policy-psbt-merkle-root");
    let richer = |psbt: &mut Psbt| psbt.inputs[2].witness_utxo.as_mut().unwrap().value += one;
    assert_eq!(refused(&richer), "policy-psbt-utxo-amount");
    let none = EcdsaSighashType::None;
    let asks = |psbt: &mut Psbt| psbt.inputs[2].sighash_type = Some(none.into());
    assert_eq!(refused(&asks), "policy-psbt-sighash");
    let key = pair(3).x_only_public_key().0;
    let hints = |psbt: &mut Psbt| psbt.inputs[1].tap_internal_key = Some(key);
    assert_eq!(refused(&hints), "policy-psbt-internal-key");
}
