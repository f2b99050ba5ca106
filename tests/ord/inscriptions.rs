//! Inscriptions as their protocol has them, made here by hand: ord finds them, and we its answers.

use bitcoin::hashes::Hash;
use bitcoin::key::UntweakedPublicKey;
use bitcoin::opcodes::all::{OP_ENDIF, OP_IF};
use bitcoin::opcodes::{OP_FALSE, OP_TRUE};
use bitcoin::script::{Builder, PushBytes, PushBytesBuf};
use bitcoin::secp256k1::Secp256k1;
use bitcoin::taproot::{LeafVersion, TaprootBuilder};
use bitcoin::{Amount, OutPoint, ScriptBuf, TxOut, Txid, Witness};
use hashmix::rehearsal::daemons::ord::Inscription;
use hashmix::tx::satoshi::Place;

use crate::world::{SUBSIDY, World, input, output, transaction};

/// A point that nobody has the key of (BIP 341).
const NOBODY: &str = "50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0";

fn bytes(of: &[u8]) -> &PushBytes {
    of.try_into().unwrap()
}

/// An inscription of plain text as a leaf that anybody can spend.
fn leaf(text: &str, parent: Option<Txid>) -> ScriptBuf {
    let mut leaf = Builder::new()
        .push_opcode(OP_TRUE)
        .push_opcode(OP_FALSE)
        .push_opcode(OP_IF)
        .push_slice(b"ord")
        .push_slice([1])
        .push_slice(b"text/plain");
    if let Some(parent) = parent {
        // The id of its first inscription: trailing zeros of the index are left out.
        let id = PushBytesBuf::from(parent.to_byte_array());
        leaf = leaf.push_slice([3]).push_slice(id);
    }
    leaf = leaf.push_opcode(OP_FALSE).push_slice(bytes(text.as_bytes()));
    leaf.push_opcode(OP_ENDIF).into_script()
}

/// Inscribes a text on the first satoshi of a coin, whose value goes on without `fee`; returns the
/// inscribed output. A child's parent is spent beside it and stays where it is, at the head of the
/// output before.
pub(crate) fn inscribe(
    world: &World,
    coin: OutPoint,
    value: u64,
    text: &str,
    parent: Option<OutPoint>,
) -> OutPoint {
    let secp = Secp256k1::verification_only();
    let script = leaf(text, parent.map(|parent| parent.txid));
    let nobody: UntweakedPublicKey = NOBODY.parse().unwrap();
    let tree = TaprootBuilder::new().add_leaf(0, script.clone()).unwrap();
    let spend = tree.finalize(&secp, nobody).unwrap();
    let control = spend.control_block(&(script.clone(), LeafVersion::TapScript)).unwrap();
    let committed = TxOut {
        value: Amount::from_sat(value - 1_000),
        script_pubkey: ScriptBuf::new_p2tr_tweaked(spend.output_key()),
    };
    let commit = world.send(&transaction(vec![input(coin)], vec![committed]));
    let mut reveal = input(OutPoint::new(commit, 0));
    reveal.witness = Witness::from_slice(&[script.to_bytes(), control.serialize()]);
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    if let Some(parent) = parent {
        inputs.push(input(parent));
        outputs.push(output(SUBSIDY - 2_000));
    }
    inputs.push(reveal);
    outputs.push(output(value - 2_000));
    let vout = u32::try_from(outputs.len()).unwrap() - 1;
    let revealed = world.send(&transaction(inputs, outputs));
    world.mine(1);
    world.settle();
    OutPoint::new(revealed, vout)
}

fn id(of: OutPoint) -> String {
    format!("{}i0", of.txid)
}

#[test]
fn an_inscription_its_child_and_where_they_go_are_read_from_ord() {
    let world = World::with_coins(2);
    let [one, two] = [1, 2].map(|height| world.coinbase(height));
    let parent = inscribe(&world, one, SUBSIDY, "federation", None);
    let first = Place::first_of(parent);
    let expected = Inscription {
        place: first,
        sat: Some(SUBSIDY),
        parents: Vec::new(),
        content_type: Some("text/plain".to_owned()),
        body: Some(b"federation".to_vec()),
    };
    assert_eq!(world.ord.inscription(&id(parent)).unwrap(), Some(expected.clone()));
    world.agree_on(first, SUBSIDY);

    let child = inscribe(&world, two, SUBSIDY, "position", Some(parent));
    let parent_now = Place::first_of(OutPoint::new(child.txid, 0));
    let known = world.ord.inscription(&id(child)).unwrap().unwrap();
    assert_eq!((known.place, known.sat), (Place::first_of(child), Some(2 * SUBSIDY)));
    assert_eq!(known.parents, [id(parent)]);
    assert_eq!(known.body.as_deref(), Some(&b"position"[..]));
    let moved = Inscription { place: parent_now, ..expected };
    assert_eq!(world.ord.inscription(&id(parent)).unwrap(), Some(moved));

    // It goes where its satoshi goes.
    let sold = world.pay(&[child], &[1_000, SUBSIDY - 4_000]);
    let block = world.next_block();
    let place = world.after(&block, Place::first_of(child)).unwrap();
    assert_eq!(place, Place::first_of(OutPoint::new(sold.compute_txid(), 0)));
    world.agree_on(place, 2 * SUBSIDY);
    assert_eq!(world.ord.inscription(&id(child)).unwrap().unwrap().place, place);
}
