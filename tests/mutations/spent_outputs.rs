//! Lies about the outputs that are spent: what they hold, and what they pay.

use bitcoin::absolute::LockTime;
use bitcoin::psbt::Input;
use bitcoin::transaction::Version;
use bitcoin::{Amount, Psbt, ScriptBuf, Transaction, TxIn, TxOut};

use crate::mutation::{Mutation, field};
use crate::people::thief;
use crate::receiver::Receiver;

const AMOUNT: &str = "policy-psbt-utxo-amount";

pub(crate) fn mutations(receiver: &Receiver) -> Vec<Mutation> {
    let spends = receiver.draft.spends().iter().enumerate();
    spends.flat_map(|(place, spend)| of_input(place, &spend.prevout, receiver)).collect()
}

fn at(place: usize, change: impl Fn(&mut Input) + 'static) -> impl Fn(&mut Psbt) + 'static {
    move |psbt| {
        if let Some(input) = psbt.inputs.get_mut(place) {
            change(input);
        }
    }
}

fn of_input(place: usize, honest: &TxOut, receiver: &Receiver) -> Vec<Mutation> {
    let mut all = Vec::new();
    let sat = honest.value.to_sat();
    for (name, lie) in [
        ("a satoshi more", sat + 1),
        ("a satoshi less", sat - 1),
        ("nothing", 0),
        ("double", sat * 2),
        ("every bitcoin", 2_100_000_000_000_000),
        ("2^64 - 1", u64::MAX),
    ] {
        let change = at(place, move |input| {
            if let Some(utxo) = &mut input.witness_utxo {
                utxo.value = Amount::from_sat(lie);
            }
        });
        all.push(field(format!("input {place} is said to hold {name}"), AMOUNT, change));
    }
    let other =
        hashmix::flow::escrow::coins::lock(crate::people::terms(receiver.transaction.variant), 5);
    for (name, lie) in [
        ("a thief", thief()),
        ("nobody", ScriptBuf::new()),
        ("another lock of ours", other.unwrap().script_pubkey),
    ] {
        let change = at(place, move |input| {
            if let Some(utxo) = &mut input.witness_utxo {
                utxo.script_pubkey = lie.clone();
            }
        });
        all.push(field(
            format!("input {place} is said to pay {name}"),
            "policy-psbt-utxo-script",
            change,
        ));
    }
    let missing = "policy-psbt-utxo-missing";
    let change = at(place, |input| input.witness_utxo = None);
    all.push(
        field(format!("input {place}, no witness UTXO"), missing, change).warned("psbt-prevout"),
    );

    for (name, value) in [("same", sat), ("larger", sat * 2)] {
        let output = TxOut { value: Amount::from_sat(value), ..honest.clone() };
        let made_up = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn::default()],
            output: vec![output.clone(), output],
        };
        let change = at(place, move |input| input.non_witness_utxo = Some(made_up.clone()));
        let name = format!("input {place}, a made-up previous transaction of the {name} amount");
        all.push(field(name, "policy-psbt-previous-tx", change).warned("psbt-prevout"));
    }
    all
}
