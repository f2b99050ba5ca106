//! The lies bite: whoever signs what a PSBT says, instead of what he has rebuilt, signs something
//! else after every lie about the transaction, about what it spends, and about signature types.

use bitcoin::hashes::Hash;
use bitcoin::sighash::{Prevouts, SighashCache};
use bitcoin::taproot::TapLeafHash;
use bitcoin::{Psbt, TapSighashType, TxOut};

use crate::every_lie_is_refused_by_its_rule::receivers;
use crate::mutation::sent;
use crate::suite::mutations;

/// What a believer signs for the first input. `None` if the PSBT leaves him without anything.
fn believed(psbt: &Psbt) -> Option<[u8; 32]> {
    let input = psbt.inputs.first()?;
    let utxos = psbt.inputs.iter().map(|input| input.witness_utxo.clone());
    let utxos: Vec<TxOut> = utxos.collect::<Option<_>>()?;
    let prevouts = Prevouts::All(&utxos);
    let kind = match input.sighash_type {
        None => TapSighashType::Default,
        Some(kind) => kind.taproot_hash_ty().ok()?,
    };
    let mut cache = SighashCache::new(&psbt.unsigned_tx);
    let hash = match input.tap_scripts.values().next() {
        None => cache.taproot_key_spend_signature_hash(0, &prevouts, kind),
        Some((script, version)) => {
            let leaf = TapLeafHash::from_script(script, *version);
            cache.taproot_script_spend_signature_hash(0, &prevouts, leaf, kind)
        }
    };
    hash.ok().map(|hash| hash.to_byte_array())
}

#[test]
fn a_signer_who_believes_a_psbt_signs_something_else_after_every_lie_that_we_refuse() {
    let mut bitten = 0;
    for receiver in receivers() {
        let honest = believed(&receiver.honest).unwrap();
        assert_eq!(honest, receiver.draft.sighash(0).unwrap(), "{}", receiver.transaction.name);
        for mutation in mutations(&receiver) {
            let bites = match mutation.rule {
                // He cannot read it.
                "policy-tx-unsigned" => false,
                "policy-psbt-utxo-amount" | "policy-psbt-utxo-script" => true,
                // Of another input's signature type the first one's signer hears nothing.
                "policy-psbt-sighash" => {
                    mutation.name.starts_with("input 0") && !mutation.name.ends_with("0x00")
                }
                rule => rule.starts_with("policy-tx-"),
            };
            if !bites {
                continue;
            }
            let Some(text) = sent(&receiver.honest, &[&mutation]) else { continue };
            let signed = believed(&text.parse().unwrap());
            let name = &receiver.transaction.name;
            assert_ne!(signed, Some(honest), "{name}: {} does not bite", mutation.name);
            bitten += usize::from(signed.is_some());
        }
    }
    println!("lies that a believer would have signed: {bitten}");
    assert!(bitten > 4_000);
}
