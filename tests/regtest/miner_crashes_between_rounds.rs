//! A joint settlement takes two rounds, and secret nonces live in memory alone.

use std::fs;

use bitcoin::absolute::LockTime;
use bitcoin::{Amount, Psbt};
use hashmix::canonical;
use hashmix::engine::Report;
use hashmix::id::tagged_hash;
use hashmix::party::Seat;
use hashmix::script::lock::Path;
use serde_json::Value;

use crate::world::{INSTALLMENT, RATE, Table, refusals, signer};

fn ripe() -> Table {
    let mut table = Table::funded();
    table.two_installments();
    table
}

/// The one letter in a seat's inbox.
fn letter(table: &Table, seat: Seat) -> (String, String) {
    let names = table.names(seat, "inbox");
    let [name] = &names[..] else { panic!("one letter: {names:?}") };
    (name.clone(), fs::read_to_string(table.folder(seat, "inbox").join(name)).unwrap())
}

/// The one refusal of a step, as rule and whole line.
fn refused(reports: &[Report]) -> (&'static str, String) {
    let errors = refusals(reports);
    let [error] = &errors[..] else { panic!("one refusal: {reports:?}") };
    (error.rule(), error.to_string())
}

#[test]
fn a_crash_between_the_rounds_means_a_fresh_round() {
    let mut table = ripe();
    table.engine(Seat::Miner).begin_joint_settlement(RATE).unwrap();
    table.step(Seat::Holder);
    let (_, old) = letter(&table, Seat::Miner);
    table.restart(Seat::Miner);
    let (rule, line) = refused(&table.step(Seat::Miner));
    assert_eq!(rule, "joint-round", "{line}");
    assert!(table.sent.is_empty());
    // The old answer again, while a fresh round is under way: it is refused and costs nothing.
    table.engine(Seat::Miner).begin_joint_settlement(RATE).unwrap();
    table.drop_letter(Seat::Miner, "again.json", old.as_bytes());
    let (rule, line) = refused(&table.step(Seat::Miner));
    assert_eq!(rule, "joint-round", "{line}");
    table.step(Seat::Holder);
    table.step(Seat::Miner);
    let [sent] = &table.sent[..] else { panic!("{:?}", table.story()) };
    assert_eq!((sent.title, sent.path), ("settlement", Path::Key));
    assert_eq!(sent.signers, [Seat::Miner, Seat::Holder]);
    assert_eq!(sent.tx.output[0].value.to_sat() + sent.fee.to_sat(), 2 * INSTALLMENT);
    assert_eq!(sent.tx.input[0].witness.len(), 1);
    assert_eq!(table.node.mempool().unwrap(), [sent.tx.compute_txid()]);
}

#[test]
fn a_restart_after_the_joint_signature_sends_nothing_else() {
    let mut table = ripe();
    table.engine(Seat::Miner).begin_joint_settlement(RATE).unwrap();
    table.step(Seat::Holder);
    table.step(Seat::Miner);
    let first = table.sent[0].tx.clone();
    table.restart(Seat::Miner);
    table.elsewhere(1);
    table.step(Seat::Miner);
    assert_eq!(table.sent.len(), 1, "it is on the chain: nothing is left to send");
    let facts = table.engine(Seat::Miner).facts().unwrap();
    assert!(facts.transactions[&first.compute_txid()].height.is_some());
}

/// The round with its PSBT changed, signed anew by the one who sent it.
fn tampered(text: &str, from: Seat, change: impl Fn(&mut Psbt)) -> String {
    let mut round: Value = serde_json::from_str(text).unwrap();
    let mut psbt: Psbt = round["psbt"].as_str().unwrap().parse().unwrap();
    change(&mut psbt);
    round["psbt"] = psbt.to_string().into();
    let said = (&round["contract"], &round["from"], &round["ask"], &round["psbt"]);
    let digest = tagged_hash("hashmix/round/1", &[&canonical::bytes(&said).unwrap()]);
    round["signature"] = signer(from).sign_digest(digest).unwrap().to_string().into();
    // A round is told by its first field.
    let fields = ["format", "contract", "from", "ask", "psbt", "signature"];
    let fields = fields.map(|name| format!("\"{name}\":{}", round[name]));
    format!("{{{}}}", fields.join(","))
}

/// A bit of the nonce or part that field `kind` carries in the name of one side, flipped.
fn flip(psbt: &mut Psbt, kind: u8, place: usize) {
    let mut values =
        psbt.inputs[0].unknown.iter_mut().filter(|(key, _)| key.type_value == kind).map(|(_, v)| v);
    values.nth(place).unwrap()[40 % 32] ^= 1;
}

#[test]
fn a_changed_psbt_is_refused_by_rule_and_names_its_sender() {
    let mut table = ripe();
    table.engine(Seat::Miner).begin_joint_settlement(RATE).unwrap();
    let (name, honest) = letter(&table, Seat::Holder);
    fs::remove_file(table.folder(Seat::Holder, "inbox").join(&name)).unwrap();
    type Change = fn(&mut Psbt);
    let changes: [(&str, &str, Change); 5] = [
        ("policy-tx-amount", "output 0", |p| p.unsigned_tx.output[0].value += Amount::from_sat(1)),
        ("policy-tx-outputs", "number of outputs", |p| {
            drop(p.unsigned_tx.output.pop().map(|_| p.outputs.pop()))
        }),
        ("policy-tx-locktime", "nLockTime", |p| p.unsigned_tx.lock_time = LockTime::ZERO),
        ("policy-tx-outpoint", "input 0, outpoint", |p| {
            p.unsigned_tx.input[0].previous_output.vout ^= 1
        }),
        ("policy-psbt-utxo-amount", "witness UTXO", |p| {
            p.inputs[0].witness_utxo.as_mut().unwrap().value -= Amount::from_sat(1);
        }),
    ];
    for (place, (rule, field, change)) in changes.into_iter().enumerate() {
        let bad = tampered(&honest, Seat::Miner, change);
        table.drop_letter(Seat::Holder, &format!("bad-{place}.json"), bad.as_bytes());
        let (found, line) = refused(&table.step(Seat::Holder));
        assert_eq!(found, rule, "{line}");
        assert!(line.starts_with("refused (miner)") && line.contains(field), "{line}");
    }
    // Without the sender's signature over it, nothing in it is even compared.
    let unsigned = honest.replacen("\"sat_per_vb\":2", "\"sat_per_vb\":3", 1);
    assert_ne!(unsigned, honest);
    table.drop_letter(Seat::Holder, "unsigned.json", unsigned.as_bytes());
    assert_eq!(refused(&table.step(Seat::Holder)).0, "message-digest");
    assert!(table.names(Seat::Miner, "inbox").is_empty(), "none of them was answered");
    table.drop_letter(Seat::Holder, &name, honest.as_bytes());
    table.step(Seat::Holder);

    // The holder's answer, changed by the holder.
    let (name, honest) = letter(&table, Seat::Miner);
    fs::remove_file(table.folder(Seat::Miner, "inbox").join(&name)).unwrap();
    let without_part: Change = |p| p.inputs[0].unknown.retain(|key, _| key.type_value != 0x1c);
    let changes: [(&str, Change); 5] = [
        ("a part", |p| flip(p, 0x1c, 0)),
        ("a nonce", |p| flip(p, 0x1b, 0)),
        ("the other nonce", |p| flip(p, 0x1b, 1)),
        ("no part", without_part),
        ("an output", |p| p.unsigned_tx.output[1].value += Amount::from_sat(1)),
    ];
    for (place, (what, change)) in changes.into_iter().enumerate() {
        let bad = tampered(&honest, Seat::Holder, change);
        table.drop_letter(Seat::Miner, &format!("bad-{place}.json"), bad.as_bytes());
        let (_, line) = refused(&table.step(Seat::Miner));
        assert!(line.starts_with("refused (holder)"), "{what}: {line}");
        assert!(table.sent.is_empty());
    }
    // The miner's nonce is still there for the honest answer.
    table.drop_letter(Seat::Miner, &name, honest.as_bytes());
    table.step(Seat::Miner);
    assert_eq!(table.sent.len(), 1);
    assert_eq!(table.sent[0].path, Path::Key);
}
