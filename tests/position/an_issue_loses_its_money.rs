//! An issue that was signed and can be in no block any more: the miner pays for another one, and only
//! then.

use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, Transaction, Txid};
use hashmix::chain::electrum::Electrum;
use hashmix::engine::issuing::{Issuing, Told};
use hashmix::flow::position::dead::{Dead, Lost};
use hashmix::flow::position::terms::PositionTerms;
use hashmix::flow::position::txs::{self, Funding};
use hashmix::flow::position::word::Event;

use crate::town::{Town, all_well, slip, step};

/// As in other tests, with more blocks between the binding and the term.
const HEIGHTS: [u32; 3] = [106, 123, 165];
const DEAD: &str = "policy-position-dead";

/// A position whose issue two validators have signed, and that waits in the mempool; the transaction
/// that paid for it, and another that spends the same coins.
struct Signed {
    town: Town,
    terms: PositionTerms,
    miner: Issuing,
    validators: Vec<Issuing>,
    payment: Transaction,
    funding: Funding,
    elsewhere: Transaction,
}

fn alone(funding: Funding) -> Event {
    Event::Funded { funding, batch: Vec::new() }
}

fn again(instead: Dead, funding: Funding) -> Event {
    Event::FundedAgain { instead, funding, batch: Vec::new() }
}

/// The transaction that the last signature of validators completes.
fn sent(validators: &mut [Issuing]) -> Vec<Txid> {
    let told = validators.iter_mut().flat_map(|one| one.step().unwrap());
    told.filter_map(|told| if let Told::Sent(txid) = told { Some(txid) } else { None }).collect()
}

fn signed() -> Signed {
    let mut town = Town::new();
    let (terms, mut miner, mut validators) = town.ready(1, HEIGHTS);
    let elsewhere = town.everything();
    let (payment, funding) = town.fund(std::slice::from_ref(&terms), true);
    town.blocks(1);
    miner.say(alone(funding)).unwrap();
    let issue = txs::issue(std::slice::from_ref(&terms), funding).unwrap().txid();
    assert!(sent(&mut validators).contains(&issue));
    Signed { town, terms, miner, validators, payment, funding, elsewhere }
}

#[test]
fn a_position_whose_funding_a_reorg_took_is_issued_from_another_one() {
    let Signed { mut town, terms, mut miner, mut validators, payment, funding, elsewhere } =
        signed();
    let issue = txs::issue(std::slice::from_ref(&terms), funding).unwrap();
    let (_, kept) = complete(&validators, &issue);
    town.reorg_with(1, vec![elsewhere.clone()]);

    // Two blocks lie on what took the money: one too few.
    let waits = miner.dead(std::slice::from_ref(&payment)).unwrap_err();
    assert_eq!((waits.rule(), waits.exit_code()), (DEAD, 5));
    assert!(waits.fault().found.ends_with("2 blocks deep"), "{waits}");
    let (_, second) = town.fund(std::slice::from_ref(&terms), true);
    let lost = vec![Lost(payment.clone())];
    let script = town.script_of(payment.input[0].previous_output);
    let outpoint = payment.input[0].previous_output;
    let early = Dead { issue: issue.txid(), lost, outpoint, script };
    assert_eq!(miner.say(again(early.clone(), second)).unwrap_err().rule(), DEAD);
    slip(&town, &terms, "early.json", again(early.clone(), second));
    let rules = step(&mut validators);
    assert_eq!(rules.iter().filter(|rule| **rule == DEAD).count(), 3, "{rules:?}");
    assert!(validators.iter().all(|one| one.state().funding() == Some(funding)));

    // The block that makes it deep enough holds the second payment too.
    town.blocks(1);
    assert_eq!(miner.dead(std::slice::from_ref(&payment)).unwrap(), early);
    let found = sent(&mut validators);
    let instead = txs::issue(std::slice::from_ref(&terms), second).unwrap().txid();
    assert!(!found.is_empty() && found.iter().all(|txid| *txid == instead), "{found:?}");
    // What was signed first the network does not take any more.
    let refused = town.electrum().broadcast(&kept).unwrap_err();
    assert!(refused.to_string().contains("[electrum-"), "{refused}");
    town.blocks(1);
    let told = format!("issued at height {} by {instead}", town.world.height().unwrap());
    // Whoever opens his store anew, or comes late with an empty one, reads the same.
    let late = town.validator(2, 1, &terms, &town.file("late"));
    let people = town.validators(1, &terms).into_iter().chain([town.miner(1, &terms), late]);
    for mut one in people.chain([miner]) {
        one.step().unwrap();
        assert_eq!(one.turn().unwrap().what, told);
        assert_eq!(one.issue(false).unwrap().unwrap().txid, instead);
    }
    assert!(!serialize(&elsewhere).is_empty());
}

/// The issue as two of the validators have signed it.
fn complete(validators: &[Issuing], issue: &hashmix::tx::draft::Draft) -> (Txid, Transaction) {
    let seen = Electrum::connect(&validators[0].place_of_chain(), bitcoin::Network::Regtest);
    let tx = seen.unwrap().transaction(issue.txid()).unwrap();
    (issue.txid(), tx)
}
