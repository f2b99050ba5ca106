//! An issue that was signed and can be in no block any more: the miner pays for another one, and only
//! then.

use std::slice::from_ref;

use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, Transaction, Txid};
use hashmix::engine::issuing::{Issuing, Told};
use hashmix::flow::position::coins;
use hashmix::flow::position::dead::{Dead, Lost};
use hashmix::flow::position::terms::PositionTerms;
use hashmix::flow::position::txs::{self, Funding};
use hashmix::flow::position::word::Event;
use hashmix::party::Seat;

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
    let (payment, funding) = town.fund(from_ref(&terms), true);
    town.blocks(1);
    miner.say(alone(funding)).unwrap();
    let issue = txs::issue(from_ref(&terms), funding).unwrap().txid();
    assert!(sent(&mut validators).contains(&issue));
    Signed { town, terms, miner, validators, payment, funding, elsewhere }
}

#[test]
fn a_position_whose_funding_a_reorg_took_is_issued_from_another_one() {
    let Signed { mut town, terms, mut miner, mut validators, payment, funding, elsewhere } =
        signed();
    let issue = txs::issue(from_ref(&terms), funding).unwrap();
    let kept = town.electrum().transaction(issue.txid()).unwrap();
    town.reorg_with(1, vec![elsewhere]);
    let turn = miner.turn().unwrap();
    assert!(turn.by == [Seat::Miner] && turn.what.contains("in no block"), "{}", turn.what);

    // Two blocks lie on what took the money: one too few.
    let waits = miner.dead(from_ref(&payment)).unwrap_err();
    assert_eq!((waits.rule(), waits.exit_code()), (DEAD, 5));
    assert!(waits.fault().found.ends_with("2 blocks deep"), "{waits}");
    let (_, second) = town.fund(from_ref(&terms), true);
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
    assert_eq!(miner.dead(from_ref(&payment)).unwrap(), early);
    let found = sent(&mut validators);
    let instead = txs::issue(from_ref(&terms), second).unwrap().txid();
    assert!(!found.is_empty() && found.iter().all(|txid| *txid == instead), "{found:?}");
    // What was signed first the network does not take any more.
    let refused = town.electrum().broadcast(&kept).unwrap_err();
    assert_eq!(refused.rule(), "chain-broadcast");
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
}

#[test]
fn while_the_first_issue_can_confirm_no_second_funding_is_taken() {
    let Signed { mut town, terms, mut miner, mut validators, payment, funding, elsewhere } =
        signed();
    let issue = txs::issue(from_ref(&terms), funding).unwrap().txid();
    // The payment comes back after a reorg: it waits, and so does the issue.
    town.reorg_with(1, Vec::new());
    let (_, second) = town.fund(from_ref(&terms), true);
    town.blocks(4);
    let (outpoint, issuer) = (payment.input[0].previous_output, coins::issuer(&terms).unwrap());
    let script = town.script_of(outpoint);
    let lost = vec![Lost(payment.clone())];
    let foreign = Lost(elsewhere.clone());
    let true_one = Dead { issue, lost, outpoint, script: script.clone() };
    let lies = [
        // Nobody has spent the funding but the issue itself.
        Dead {
            issue,
            lost: Vec::new(),
            outpoint: funding.outpoint,
            script: issuer.script_pubkey.clone(),
        },
        // What the payment spends the payment has spent.
        true_one.clone(),
        // The issue does not rest on this one.
        Dead { lost: vec![foreign.clone()], ..true_one.clone() },
        Dead { lost: vec![true_one.lost[0].clone(), foreign.clone()], ..true_one.clone() },
        Dead { lost: vec![foreign; 9], ..true_one.clone() },
        // An output that somebody spent, and not the issue's.
        Dead { outpoint: OutPoint::new(payment.compute_txid(), 2), ..true_one.clone() },
        Dead { issue: payment.compute_txid(), ..true_one.clone() },
        // A history that shows nothing.
        Dead { script: terms.reward.miner.payout_script(), ..true_one },
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let refused = miner.say(again(lie.clone(), second)).unwrap_err();
        assert_eq!((refused.rule(), refused.exit_code()), (DEAD, 3), "lie {number}");
        slip(&town, &terms, &format!("lie {number}.json"), again(lie, second));
    }
    assert_eq!(miner.dead(&[payment]).unwrap_err().rule(), DEAD);
    assert_eq!(miner.say(alone(second)).unwrap_err().rule(), "position-again");
    // Lies of one place are rivals of each other; nobody takes any of them.
    let rules = step(&mut validators);
    assert!(rules.iter().all(|rule| [DEAD, "position-again"].contains(rule)), "{rules:?}");
    assert!(rules.len() >= 24, "{rules:?}");
    assert!(validators.iter().all(|one| one.state().funding() == Some(funding)));
    miner.step().unwrap();
    assert!(miner.turn().unwrap().what.ends_with(&issue.to_string()));
}

#[test]
fn what_a_reorg_brings_back_to_life_forbids_the_issue_that_came_instead() {
    let Signed { mut town, terms, mut miner, mut validators, payment, elsewhere, .. } = signed();
    town.reorg_with(1, vec![elsewhere]);
    town.blocks(1);
    let instead = miner.dead(&[payment]).unwrap();
    let (_, second) = town.fund(from_ref(&terms), true);
    miner.say(again(instead, second)).unwrap();
    assert_eq!(step(&mut validators), ["position-issue-funding"; 3]);
    // The other transaction is in no block any more, and the second payment rests on it.
    town.reorg_with(3, Vec::new());
    assert_eq!(step(&mut validators), [DEAD; 3]);
    for one in &mut validators {
        let facts = one.facts().unwrap();
        let refused = one.state().issue(&terms, &facts).unwrap_err();
        assert_eq!(refused.rule(), DEAD);
    }
    // It comes back, and lies deep once more.
    town.blocks(3);
    assert!(!sent(&mut validators).is_empty());
}

#[test]
fn of_two_inscribed_issues_of_one_parent_the_loser_is_issued_behind_the_winner() {
    let mut town = Town::new();
    let parent = Txid::from_byte_array([7; 32]);
    let [mut winner, mut loser] = town.ready_farm(HEIGHTS);
    let first = town.fund_inscribed(&winner.0, parent);
    let mut second = town.fund_inscribed(&loser.0, parent);
    let at = |funding: &Funding| funding.inscription.unwrap().parent_at;
    second.inscription.as_mut().unwrap().parent_at = at(&first);
    town.blocks(1);
    winner.1.say(alone(first)).unwrap();
    loser.1.say(alone(second)).unwrap();
    // A validator has signed both when the other two complete one of them.
    all_well(&mut winner.2[..1]);
    all_well(&mut loser.2[..1]);
    let won = txs::issue(from_ref(&winner.0), first).unwrap().txid();
    let lost = txs::issue(from_ref(&loser.0), second).unwrap().txid();
    assert_eq!(sent(&mut winner.2[1..2]), [won]);
    assert_eq!(step(&mut loser.2[1..]), ["position-issue-funding"; 2]);
    town.blocks(2);
    assert_eq!(loser.1.dead(&[]).unwrap_err().exit_code(), 5);
    let turn = loser.1.turn().unwrap().what;
    assert!(turn.starts_with(&format!("{won} spends")) && turn.contains("3 blocks"), "{turn}");
    town.blocks(1);
    let instead = loser.1.dead(&[]).unwrap();
    assert_eq!((instead.issue, instead.outpoint, instead.lost.len()), (lost, at(&first), 0));
    // The same money, and the inscription where the winner has left it.
    let mut again_funding = second;
    again_funding.inscription.as_mut().unwrap().parent_at = OutPoint::new(won, 1);
    loser.1.say(again(instead, again_funding)).unwrap();
    let found = sent(&mut loser.2);
    let issue = txs::issue(from_ref(&loser.0), again_funding).unwrap().txid();
    assert!(!found.is_empty() && found.iter().all(|txid| *txid == issue), "{found:?}");
    town.blocks(1);
    loser.1.step().unwrap();
    let told = format!("issued at height {} by {issue}", town.world.height().unwrap());
    assert_eq!(loser.1.turn().unwrap().what, told);
}
