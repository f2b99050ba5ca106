//! A received PSBT is compared with the draft rebuilt from the terms, field by field; and a builder
//! asserts what it builds.

use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, Psbt, ScriptBuf, Sequence, TxOut, Witness};
use hashmix::error::Culprit;
use hashmix::flow::escrow::txs::{TRUC, settlement};
use hashmix::party::Seat;
use hashmix::script::lock::Path;
use hashmix::script::template::Variant;
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

#[test]
fn every_single_change_is_refused_with_the_name_of_its_field() {
    type Change = fn(&mut Psbt);
    let changes: [(&str, Change); 19] = [
        ("test, version", |p| p.unsigned_tx.version = Version::TWO),
        ("test, nLockTime", |p| p.unsigned_tx.lock_time = LockTime::from_height(69).unwrap()),
        ("test, nLockTime", |p| p.unsigned_tx.lock_time = LockTime::ZERO),
        ("test, input 0, outpoint", |p| p.unsigned_tx.input[0].previous_output.vout += 1),
        ("test, input 1, outpoint", |p| p.unsigned_tx.input[1].previous_output = OutPoint::null()),
        ("test, input 0", |p| p.unsigned_tx.input[0].sequence = Sequence::MAX),
        ("test, input 1", |p| p.unsigned_tx.input[1].sequence = Sequence::from_height(11)),
        ("test, input 0", |p| p.unsigned_tx.input[0].script_sig = ScriptBuf::from_bytes(vec![0])),
        ("test, input 0", |p| p.unsigned_tx.input[0].witness = Witness::from_slice(&[[1]])),
        ("test, output 0", |p| p.unsigned_tx.output[0].value += Amount::from_sat(1)),
        ("test, output 1", |p| p.unsigned_tx.output[1].value -= Amount::from_sat(1)),
        ("test, output 1", |p| p.unsigned_tx.output[1].script_pubkey = ScriptBuf::new()),
        ("test, output 0", |p| p.unsigned_tx.output.swap(0, 1)),
        ("test, number of outputs", |p| p.unsigned_tx.output.push(output(330))),
        ("test, number of outputs", |p| drop(p.unsigned_tx.output.pop())),
        ("test, number of inputs", |p| drop(p.unsigned_tx.input.pop())),
        ("test, number of inputs", |p| {
            let input = p.unsigned_tx.input[0].clone();
            p.unsigned_tx.input.push(input);
        }),
        ("test, input 0, witness UTXO", |p| {
            p.inputs[0].witness_utxo.as_mut().unwrap().value += Amount::from_sat(1);
        }),
        ("test, input 1, witness UTXO", |p| {
            p.inputs[1].witness_utxo.as_mut().unwrap().script_pubkey = ScriptBuf::new();
        }),
    ];
    let draft = draft();
    let honest = draft.psbt().unwrap();
    for (field, change) in changes {
        let mut psbt = honest.clone();
        change(&mut psbt);
        assert_ne!(psbt, honest, "{field}");
        let refused = draft.compare(&psbt, Culprit::Holder).unwrap_err();
        assert_eq!(refused.rule(), "tx-rebuilt");
        assert_eq!(refused.fault().place, field);
        assert!(refused.to_string().starts_with("refused (holder)"), "{refused}");
    }
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
