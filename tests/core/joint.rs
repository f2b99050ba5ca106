//! Core finishes what our two signers began: it reads the MuSig2 fields of BIP 373 that we write,
//! joins the halves, verifies and adds up the partial signatures.

use bitcoin::psbt::raw::Key;
use bitcoin::secp256k1::PublicKey;
use bitcoin::{Psbt, Transaction};
use hashmix::error::Culprit;
use hashmix::flow::reward::txs::SweepPath;
use hashmix::musig::{KeyContext, SecretNonce, Session, psbt};
use hashmix::party::Seat;
use hashmix::script::lock::Path;
use hashmix::script::template::Variant;
use hashmix::tx::carrier::round;
use hashmix::tx::draft::Draft;
use hashmix::tx::signed::Signed;
use serde_json::{Value, json};

use crate::contract::{Contract, opens, signer_of};
use crate::judge::{Judge, Placed};

const SIDES: [Seat; 2] = [Seat::Miner, Seat::Holder];
/// The field of a partial signature (BIP 373).
const PART: u8 = 0x1c;

fn context(draft: &Draft, input: usize) -> KeyContext {
    draft.spends()[input].lock.key_path.clone().unwrap()
}

/// A copy of the PSBT for one side: who signs is in it, and that side's nonces.
fn first_half(draft: &Draft, seat: Seat) -> (Psbt, Vec<SecretNonce>) {
    let mut half = draft.psbt().unwrap();
    let mut secrets = Vec::new();
    for (number, input) in half.inputs.iter_mut().enumerate() {
        let context = context(draft, number);
        let message = draft.sighash(number).unwrap();
        let (secret, public) = signer_of(seat).begin(&context, message).unwrap();
        psbt::announce(input, &context);
        psbt::add_nonce(input, &context, &secret.owner(), &public).unwrap();
        secrets.push(secret);
    }
    (half, secrets)
}

fn session(draft: &Draft, both: &Psbt, input: usize) -> Session {
    let context = context(draft, input);
    let nonces = psbt::nonces(&both.inputs[input], &context).unwrap();
    Session::new(&context, &nonces, draft.sighash(input).unwrap()).unwrap()
}

/// That side's partial signatures, in its own copy of what Core has joined.
fn second_half(draft: &Draft, both: &Psbt, seat: Seat, secrets: Vec<SecretNonce>) -> Psbt {
    let mut half = both.clone();
    for (number, secret) in secrets.into_iter().enumerate() {
        let (session, owner) = (session(draft, both, number), secret.owner());
        let part = signer_of(seat).sign_part(&session, secret).unwrap();
        psbt::add_part(&mut half.inputs[number], session.context(), &owner, &part).unwrap();
    }
    half
}

/// Both rounds, Core joining the halves of each: the nonces of both, and then their parts.
fn rounds(judge: &Judge, draft: &Draft) -> [Psbt; 2] {
    let [(mine, my_secrets), (his, his_secrets)] = SIDES.map(|seat| first_half(draft, seat));
    let nonces = judge.combine(&[&mine, &his]);
    round::read(draft, &nonces, Culprit::Sender).unwrap();
    let mine = second_half(draft, &nonces, Seat::Miner, my_secrets);
    let his = second_half(draft, &nonces, Seat::Holder, his_secrets);
    assert_eq!(judge.finalize(&nonces), None, "nobody has signed");
    assert_eq!(judge.finalize(&mine), None, "the holder has not signed");
    assert_eq!(judge.finalize(&his), None, "the miner has not signed");
    let parts = judge.combine(&[&mine, &his]);
    round::read(draft, &parts, Culprit::Sender).unwrap();
    [nonces, parts]
}

/// The transaction that our own code finishes with the parts.
fn ours(draft: Draft, parts: &Psbt) -> Transaction {
    let joined = |number: usize| {
        let both = psbt::parts(&parts.inputs[number], &context(&draft, number)).unwrap();
        session(&draft, parts, number).aggregate(&both).unwrap()
    };
    let signatures: Vec<_> = (0..draft.spends().len()).map(joined).collect();
    let mut signed = Signed::new(draft);
    for (number, signature) in signatures.into_iter().enumerate() {
        signed.add_key_path(number, signature).unwrap();
    }
    signed.finish().unwrap().tx
}

/// Both sides sign the key path; Core finishes the same transaction as we do, and takes it.
fn joined_and_mined(contract: &Contract, coins: &[Placed], draft: Draft) -> Vec<Placed> {
    let judge = &contract.judge;
    let (opens, vsize) = (opens(&draft, coins), draft.vsize().unwrap());
    let [_, parts] = rounds(judge, &draft);
    let by_core = judge.finalize(&parts).expect("both have signed");
    assert_eq!(by_core, ours(draft, &parts));
    if judge.height() < opens {
        judge.mine_to(opens);
    }
    assert_eq!(judge.verdict(&by_core), Ok(vsize));
    judge.confirm(&by_core)
}

/// A settlement of the first escrow output by both, not yet signed.
fn settlement(contract: &Contract) -> Draft {
    contract.spend_escrow(&contract.escrows[0], 0, Path::Key)
}

#[test]
fn core_joins_the_halves_of_a_sweep_of_two_rewards_and_takes_it() {
    let contract = Contract::new(Variant::Musig);
    let coins = &contract.rewards[..2];
    joined_and_mined(&contract, coins, contract.sweep(coins, SweepPath::Key));
}

#[test]
fn core_joins_the_halves_of_a_settlement_and_of_the_one_after_it() {
    let contract = Contract::new(Variant::Musig);
    let coin = &contract.escrows[0];
    let outputs = joined_and_mined(&contract, std::slice::from_ref(coin), settlement(&contract));
    let relocked = outputs[1].clone();
    assert_eq!(relocked.txout.script_pubkey, contract.escrow_lock(1).script_pubkey);
    let draft = contract.spend_escrow(&relocked, 1, Path::Key);
    joined_and_mined(&contract, &[relocked], draft);
}

#[test]
fn core_reads_participants_nonces_and_parts_in_the_fields_that_bip_373_gives_them() {
    let contract = Contract::new(Variant::Musig);
    let draft = settlement(&contract);
    let context = context(&draft, 0);
    let [_, parts] = rounds(&contract.judge, &draft);
    let read = contract.judge.ask("decodepsbt", &[json!(parts.to_string())]);
    let read = &read["inputs"][0];
    assert_eq!(read.get("unknown"), None, "every field of ours has a name");

    let hex = |key: &PublicKey| json!(key.to_string());
    let listed: Vec<Value> = context.participants().iter().map(hex).collect();
    let expected = json!([{
        "aggregate_pubkey": hex(&context.plain_aggregate()),
        "participant_pubkeys": listed,
    }]);
    assert_eq!(read["musig2_participant_pubkeys"], expected);

    let (output, parity) = context.output_key();
    let output = PublicKey::from_x_only_public_key(output, parity);
    let nonces = psbt::nonces(&parts.inputs[0], &context).unwrap();
    let expected: Vec<Value> = nonces
        .iter()
        .map(|(participant, nonce)| {
            json!({
                "participant_pubkey": hex(participant),
                "aggregate_pubkey": hex(&output),
                "pubnonce": hex_of(&nonce.serialize()),
            })
        })
        .collect();
    assert_eq!(expected.len(), 2);
    assert_eq!(read["musig2_pubnonces"], json!(expected));

    let signed = psbt::parts(&parts.inputs[0], &context).unwrap();
    let expected: Vec<Value> = signed
        .iter()
        .map(|(participant, part)| {
            json!({
                "participant_pubkey": hex(participant),
                "aggregate_pubkey": hex(&output),
                "partial_sig": hex_of(&part.serialize()),
            })
        })
        .collect();
    assert_eq!(expected.len(), 2);
    assert_eq!(read["musig2_partial_sigs"], json!(expected));

    assert_eq!(read["taproot_internal_key"], json!(context.internal_key().to_string()));
    let root = context.merkle_root().unwrap();
    assert_eq!(read["taproot_merkle_root"], json!(root.to_string()));
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn core_does_not_finish_with_a_part_of_which_one_byte_is_wrong() {
    let contract = Contract::new(Variant::Musig);
    let draft = settlement(&contract);
    let [_, parts] = rounds(&contract.judge, &draft);
    let fields: Vec<Key> =
        parts.inputs[0].unknown.keys().filter(|key| key.type_value == PART).cloned().collect();
    assert_eq!(fields.len(), 2);
    for field in fields {
        for place in [0, 17, 31] {
            let mut altered = parts.clone();
            altered.inputs[0].unknown.get_mut(&field).unwrap()[place] ^= 1;
            assert_eq!(contract.judge.finalize(&altered), None, "byte {place}");
        }
    }
    assert!(contract.judge.finalize(&parts).is_some());
}

#[test]
fn core_does_not_finish_with_parts_of_two_rounds() {
    let contract = Contract::new(Variant::Musig);
    let draft = settlement(&contract);
    let [[_, first], [_, second]] = [0, 1].map(|_| rounds(&contract.judge, &draft));
    assert!(contract.judge.finalize(&first).is_some());
    let mut mixed = first.clone();
    let part = |key: &&Key| key.type_value == PART;
    let field = second.inputs[0].unknown.keys().find(part).unwrap();
    let of_second = second.inputs[0].unknown[field].clone();
    let of_first = mixed.inputs[0].unknown.insert(field.clone(), of_second.clone());
    assert_ne!(of_first, Some(of_second), "every round has fresh nonces");
    assert_eq!(contract.judge.finalize(&mixed), None);
}
