//! Terms, PSBTs and descriptors of one contract.

use bitcoin::hashes::Hash;
use bitcoin::{Amount, Network, OutPoint, Psbt, TxOut, Txid};
use hashmix::flow::escrow::coins::{self, EscrowCoin};
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::flow::escrow::txs::{Outcome, settlement};
use hashmix::flow::reward;
use hashmix::party::Seat;
use hashmix::rehearsal::people::signer;
use hashmix::script::lock::Path;
use hashmix::sign::software::LeafAccount;
use hashmix::tx::draft::Draft;

use crate::desk::{Desk, ok, refused};

/// The settlement of the second period, on an imagined escrow output.
pub fn draft(terms: &EscrowTerms, closes: bool) -> Draft {
    let coin = EscrowCoin {
        outpoint: OutPoint::new(Txid::from_byte_array([7; 32]), 0),
        index: 0,
        value: terms.price,
        height: Some(110),
        lock: coins::lock(terms, 0).unwrap(),
    };
    let outcome = Outcome { period: 1, earned: Amount::from_sat(20_000_000), closes };
    settlement(terms, &coin, outcome, Path::Agreed, 2, None).unwrap()
}

#[test]
fn terms_are_checked_shown_and_turned_into_addresses() {
    let desk = Desk::new();
    let (file, terms) = desk.terms();
    let id = terms.id().unwrap().to_string();
    assert!(ok(&["terms", "check", &file]).contains(&id));

    let shown = ok(&["terms", "show", &file]);
    let (t, ty) = (terms.holder_exit_height(), terms.miner_exit_height());
    for words in [
        id,
        terms.reward.federation.id().unwrap().to_string(),
        "60000000 sat, in 6 installments".to_owned(),
        format!("before height {t} (T,"),
        format!("before height {ty} (T + Y,"),
        "300000 of every 1000000 sat".to_owned(),
        "2 validators together with the miner".to_owned(),
    ] {
        assert!(shown.contains(&words), "{words} in {shown}");
    }
    assert_eq!(shown.lines().filter(|line| line.ends_with("  10000000 sat")).count(), 6);

    let address = |lock: hashmix::script::lock::Lock| lock.address(Network::Regtest).unwrap();
    let reward = address(reward::coins::lock(&terms.reward).unwrap()).to_string();
    let third = address(coins::lock(&terms, 3).unwrap()).to_string();
    assert!(ok(&["terms", "address", &file]).contains(&reward));
    let out = ok(&["terms", "address", &file, "--index", "3", "--lock", "escrow"]);
    assert!(out.contains(&third), "{out}");
    refused(&["terms", "address", &file, "--index", "7"], "terms-index", 2);
    refused(&["terms", "address", &file, "--index", "1", "--lock", "reward"], "terms-index", 2);
}

#[test]
fn both_forms_of_both_descriptors_are_found_again_as_locks_of_the_terms() {
    let desk = Desk::new();
    let (file, terms) = desk.terms();
    let out = ok(&["terms", "descriptor", &file]);
    let all: Vec<&str> = out.lines().filter(|line| line.starts_with("tr(")).collect();
    assert_eq!(all.len(), 4);
    let address = |lock: hashmix::script::lock::Lock| lock.address(Network::Regtest).unwrap();
    let reward = address(reward::coins::lock(&terms.reward).unwrap()).to_string();
    for (place, descriptor) in all.iter().enumerate() {
        let out = ok(&["descriptor", "check", descriptor, "--terms", &file]);
        let lock = if place < 2 { "the reward lock" } else { "the escrow lock" };
        assert!(out.contains(lock), "{out}");
        assert_eq!(out.contains(&reward), place < 2, "{out}");
        assert_eq!(out.contains("musig() read as"), place % 2 == 0, "{out}");
        let kept = desk.put("descriptor", format!("{descriptor}\n"));
        assert!(ok(&["descriptor", "check", &kept, "--network", "regtest"]).contains("sane"));
        refused(
            &["descriptor", "check", descriptor, "--network", "bitcoin"],
            "descriptor-network",
            3,
        );
        let wrong = descriptor.replacen("multi_a(2", "multi_a(1", 1);
        refused(&["descriptor", "check", &wrong], "descriptor-checksum", 3);
        let other = wrong.split('#').next().unwrap();
        refused(&["descriptor", "check", other, "--terms", &file], "descriptor-ours", 3);
    }
}

#[test]
fn a_descriptor_with_a_secret_is_refused_without_repeating_it() {
    let key = bitcoin::secp256k1::SecretKey::from_slice(&[3; 32]).unwrap();
    let wif = bitcoin::PrivateKey::new(key, Network::Regtest).to_wif();
    let xprv = bitcoin::bip32::Xpriv::new_master(Network::Regtest, &[3; 32]).unwrap().to_string();
    for secret in [format!("{xprv}/*"), wif] {
        let text = format!("wpkh({secret})");
        let line = refused(&["descriptor", "check", &text], "descriptor-public", 3);
        assert!(!line.contains(&secret), "{line}");
    }
}

#[test]
fn a_settlement_is_explained_with_its_signers() {
    let desk = Desk::new();
    let (terms_file, terms) = desk.terms();
    let draft = draft(&terms, false);
    let mut psbt = draft.psbt().unwrap();
    let file = desk.put("unsigned.psbt", psbt.to_string());
    let out = ok(&["psbt", "check", &file, "--terms", &terms_file]);
    for words in [
        "spends the escrow lock, index 0: 60000000 sat",
        "signed by nobody yet",
        "40000000 sat to the escrow lock, index 1",
        "to the miner's payout script",
        "from which period 2 may be ruled on",
        "a settlement: 20000000 sat count as earned by the miner, 40000000 sat stay locked",
    ] {
        assert!(out.contains(words), "{words} in {out}");
    }

    let lock = coins::lock(&terms, 0).unwrap();
    let leaf = lock.leaf(Path::Agreed).unwrap();
    let holder = leaf.keys.iter().find(|key| key.seat == Seat::Holder).unwrap();
    let sighash = bitcoin::TapSighash::from_byte_array(draft.sighash(0).unwrap());
    let (key, signature) = signer(Seat::Holder, Network::Regtest)
        .unwrap()
        .sign_leaf(LeafAccount::Leaf, &holder.steps, sighash)
        .unwrap();
    let signed = |signature| bitcoin::taproot::Signature {
        signature,
        sighash_type: bitcoin::TapSighashType::Default,
    };
    psbt.inputs[0].tap_script_sigs.insert((key, leaf.hash()), signed(signature));
    let file = desk.put("signed.psbt", psbt.serialize());
    let out = ok(&["psbt", "check", &file, "--terms", &terms_file]);
    assert!(out.contains("signed by holder (agreed leaf)"), "{out}");

    psbt.unsigned_tx.output[0].value -= Amount::from_sat(1);
    let file = desk.put("other.psbt", psbt.to_string());
    refused(&["psbt", "check", &file, "--terms", &terms_file], "psbt-signature", 3);
}

#[test]
fn a_close_is_told_from_a_settlement_and_a_strange_spend_from_both() {
    let desk = Desk::new();
    let (terms_file, terms) = desk.terms();
    let psbt = draft(&terms, true).psbt().unwrap();
    let file = desk.put("close.psbt", psbt.to_string());
    let out = ok(&["psbt", "check", &file, "--terms", &terms_file]);
    assert!(out.contains("an end: nothing stays locked"), "{out}");
    assert!(out.contains("40000000 sat to the holder"), "{out}");

    let mut strange = draft(&terms, false).psbt().unwrap();
    strange.unsigned_tx.output[1].script_pubkey = bitcoin::ScriptBuf::from_hex("51").unwrap();
    let file = desk.put("strange.psbt", strange.to_string());
    let out = ok(&["psbt", "check", &file, "--terms", &terms_file]);
    assert!(out.contains("Do not sign it"), "{out}");
    assert!(out.contains("a script that is not in the terms"), "{out}");
}

#[test]
fn psbts_that_lie_or_leave_out_are_refused_by_rule() {
    let desk = Desk::new();
    let (terms_file, terms) = desk.terms();
    let honest = draft(&terms, false).psbt().unwrap();
    type Change = fn(&mut Psbt);
    let lies: [(&str, Change); 6] = [
        ("psbt-prevout", |psbt| psbt.inputs[0].witness_utxo = None),
        ("psbt-ours", |psbt| {
            let script_pubkey = bitcoin::ScriptBuf::from_hex("51").unwrap();
            let value = Amount::from_sat(60_000_000);
            psbt.inputs[0].witness_utxo = Some(TxOut { value, script_pubkey });
        }),
        ("psbt-amounts", |psbt| psbt.unsigned_tx.output[0].value = Amount::from_sat(60_000_000)),
        ("amount-limit", |psbt| psbt.unsigned_tx.output[0].value = Amount::MAX),
        ("psbt-hints", |psbt| {
            let key = signer(Seat::Miner, Network::Regtest).unwrap().keys().communication;
            psbt.inputs[0].tap_internal_key = Some(key);
        }),
        ("psbt-hints", |psbt| {
            psbt.inputs[0].sighash_type = Some(bitcoin::TapSighashType::None.into());
        }),
    ];
    for (rule, lie) in lies {
        let mut psbt = honest.clone();
        lie(&mut psbt);
        let file = desk.put("lie.psbt", psbt.to_string());
        refused(&["psbt", "check", &file, "--terms", &terms_file], rule, 3);
    }
}
