//! The seal as a child of the federation's inscription: three inputs, each in its place.

use std::slice::from_ref;

use bitcoin::hashes::Hash;
use bitcoin::{Amount, OutPoint, Txid};
use hashmix::flow::position::coins::{self, POSTAGE};
use hashmix::flow::position::txs::{self, Funding, Inscription};
use hashmix::flow::position::word::Event;
use hashmix::rehearsal::position as cast;
use hashmix::tx::satoshi::{Moved, Place, follow};

use crate::town::{HEIGHTS, Town, all_well};

fn parent() -> Txid {
    Txid::from_byte_array([7; 32])
}

#[test]
fn a_position_is_issued_as_a_child_of_the_federations_inscription() {
    let mut town = Town::new();
    let (terms, mut miner, mut validators) = town.ready(1, HEIGHTS);
    let funding = town.fund_inscribed(&terms, parent());
    town.blocks(1);
    miner.say(Event::Funded { funding, batch: Vec::new() }).unwrap();
    all_well(&mut validators);
    town.blocks(1);
    let issue = txs::issue(from_ref(&terms), funding).unwrap();
    let block = town.world.block(town.world.height().unwrap()).unwrap();
    let mined = block.txdata.iter().find(|tx| tx.compute_txid() == issue.txid()).unwrap();
    println!("inscribed issue of 2 of 3: {} vB", mined.vsize());
    assert_eq!(mined.vsize(), 566);

    // What is inscribed says the terms, and stands behind the leaf.
    let leaf = String::from_utf8_lossy(&mined.input[0].witness[3]).into_owned();
    assert!(leaf.contains(&coins::inscription_text(&terms).unwrap()), "{leaf}");
    // Both inscriptions stay at the head of their outputs.
    let values: Vec<Amount> = issue.spends().iter().map(|spend| spend.prevout.value).collect();
    for input in [0, 1] {
        let vout = u32::try_from(input).unwrap();
        let place = Place::first_of(OutPoint::new(issue.txid(), vout));
        assert_eq!(follow(mined, &values, input, Amount::ZERO), Ok(Moved::To(place)));
    }
    assert_eq!(mined.output[0].script_pubkey, coins::issued_seal(&terms).unwrap().script_pubkey);
    assert_eq!(mined.output[1].script_pubkey, coins::issuer(&terms).unwrap().script_pubkey);
}

#[test]
fn an_inscribed_issue_is_of_one_position_and_of_a_seals_postage() {
    let terms = [1, 2].map(|number| cast::terms(number, HEIGHTS).unwrap());
    let at = |vout| OutPoint::new(parent(), vout);
    let fee = txs::inscription_fee(&terms[0], 3).unwrap();
    let inscription = Inscription { parent: parent(), parent_at: at(1), fee_from: at(2), fee };
    let funding = |value| Funding { inscription: Some(inscription), ..Funding::new(at(0), value) };
    assert!(txs::issue(&terms[..1], funding(POSTAGE)).is_ok());
    let rule = |batch: &[_], funding| txs::issue(batch, funding).unwrap_err().rule();
    assert_eq!(rule(&terms, funding(POSTAGE)), "position-inscribed");
    for value in [POSTAGE - Amount::ONE_SAT, POSTAGE + Amount::ONE_SAT] {
        assert_eq!(rule(&terms[..1], funding(value)), "position-inscribed");
    }
    // Nobody takes the plain output for an inscribing one.
    let plain = coins::issuer(&terms[0]).unwrap().script_pubkey;
    assert_ne!(coins::inscribing_issuer(&terms[0], parent()).unwrap().script_pubkey, plain);
}
