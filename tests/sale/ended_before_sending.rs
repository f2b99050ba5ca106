//! A process that ends after it stored what it is about to send, and before a server has it: for a sale,
//! a withdrawal and a retirement. Whoever comes back sends it again, once, and not what is over.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::spawn;

use bitcoin::Txid;
use hashmix::engine::trade::Again;
use hashmix::flow::sale::consent::Party;
use hashmix::flow::sale::state::{Effect, Event, State};
use hashmix::flow::sale::terms::Offer;
use hashmix::flow::sale::txs::Seal;

use crate::market::{Market, RATE, Sold};

/// A way to the server on which everything passes but a transaction: there the line is cut. Answers its
/// URL; it lasts as long as the test.
fn cut(url: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = url.strip_prefix("tcp://").unwrap().to_owned();
    spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
            let (mut back, mut answers) =
                (client.try_clone().unwrap(), server.try_clone().unwrap());
            spawn(move || std::io::copy(&mut answers, &mut back));
            spawn(move || pass(&client, &server));
        }
    });
    format!("tcp://{address}")
}

fn pass(client: &TcpStream, mut server: &TcpStream) {
    for line in BufReader::new(client).lines() {
        let Ok(line) = line else { break };
        if line.contains("blockchain.transaction.broadcast") {
            break;
        }
        server.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
    for stream in [client, server] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// Accepted and signed by both; the buyer has only to send it.
fn agreed(market: &mut Market, offer: &Offer) -> State {
    let to = &mut market.buyers[0];
    let signer = to.signer();
    let acceptance = to.trader.accept(offer, to.record.clone(), &signer, RATE).unwrap();
    let mut his = market.miner.trader.sale(offer).unwrap();
    market.miner.trader.hear(&mut his, Event::Accepted(Box::new(acceptance))).unwrap();
    let seller = market.miner.signer();
    let consent = market.miner.trader.consent(&mut his, Party::Seller, &seller, None).unwrap();
    let mut state = to.trader.sale(offer).unwrap();
    to.trader.hear(&mut state, Event::Consented(consent)).unwrap();
    to.trader.consent(&mut state, Party::Buyer, &signer, None).unwrap();
    state
}

/// What became of his transactions when somebody comes back.
fn back(market: &Market, name: &str) -> Vec<Again> {
    let trader = market.trader(name, &market.url(), true).unwrap();
    market.world.settle().unwrap();
    trader.again().to_vec()
}

fn confirmed(market: &mut Market, state: &State, txid: Txid) {
    let facts = market.buyers[0].trader.facts(state).unwrap();
    assert_eq!(state.next(&facts, Party::Buyer).unwrap(), Effect::Sent(txid, None));
    market.elsewhere(1);
    let (facts, height) = (market.buyers[0].trader.facts(state).unwrap(), market.height());
    assert_eq!(state.next(&facts, Party::Buyer).unwrap(), Effect::Sent(txid, Some(height)));
}

#[test]
fn a_sale_a_withdrawal_and_a_retirement_are_sent_by_whoever_comes_back() {
    let mut market = Market::issued();
    let cut = cut(&market.url());
    let name = market.buyers[0].name.clone();
    let signer = market.buyers[0].signer();

    // A sale: stored, and its process ends before the server has it.
    let offer = market.offer(60_000_000, 0, 120);
    let state = agreed(&mut market, &offer);
    let tx = state.signing().unwrap().finish().unwrap().tx;
    let txid = tx.compute_txid();
    let ended = |market: &Market| {
        let mut trader = market.trader(&name, &cut, false).unwrap();
        assert!(trader.broadcast(&state, Party::Buyer).is_err());
    };
    assert!(back(&market, &name).is_empty(), "signed is not yet to be sent");
    ended(&market);
    // He gives his coins back: then it is not to be sent either.
    let mut trader = market.trader(&name, &market.url(), false).unwrap();
    trader.give_up(state.acceptance().unwrap()).unwrap();
    drop(trader);
    assert!(back(&market, &name).is_empty());
    // He wants it after all, and it ends again.
    ended(&market);
    assert_eq!(back(&market, &name), [Again::Sent(txid)]);
    assert!(back(&market, &name).is_empty(), "the server has it");
    confirmed(&mut market, &state, txid);
    assert!(back(&market, &name).is_empty(), "a block has it");
    let Sold { contract, seal, held, .. } = market.sold(&state, tx);
    assert_eq!(contract.id().unwrap(), held.sale.unwrap());

    // A withdrawal; asked again, he answers the same.
    let (terms, position) = (market.terms.clone(), market.id);
    let moving = Seal { terms: &terms, position, held: &held, outpoint: seal };
    let mut trader = market.trader(&name, &cut, false).unwrap();
    assert!(trader.withdraw(&moving, &signer, RATE).is_err());
    drop(trader);
    let sent = back(&market, &name);
    let [Again::Sent(withdrawal)] = sent[..] else { panic!("{sent:?}") };
    let mut trader = market.trader(&name, &market.url(), true).unwrap();
    for rate in [RATE, RATE - 1] {
        let same = trader.withdraw(&moving, &signer, rate).unwrap();
        assert_eq!((same.tx.compute_txid(), same.already), (withdrawal, Some(RATE)));
    }
    market.elsewhere(1);
    assert_eq!(trader.withdraw(&moving, &signer, RATE).unwrap_err().rule(), "sale-seal-moved");

    // A retirement.
    let held = moving.withdrawn();
    let outpoint = bitcoin::OutPoint::new(withdrawal, 0);
    let moving = Seal { terms: &terms, position, held: &held, outpoint };
    let mut trader = market.trader(&name, &cut, false).unwrap();
    assert!(trader.retire(&moving, &signer, RATE).is_err());
    drop(trader);
    let sent = back(&market, &name);
    assert!(matches!(sent[..], [Again::Sent(_)]), "{sent:?}");
    market.elsewhere(1);
    assert!(back(&market, &name).is_empty());
    // Deep enough, they are forgotten.
    market.elsewhere(100);
    assert!(back(&market, &name).is_empty());
}

#[test]
fn a_sale_whose_offer_is_over_is_not_sent_by_whoever_comes_back() {
    let mut market = Market::issued();
    let cut = cut(&market.url());
    let name = market.buyers[0].name.clone();
    let offer = market.offer(60_000_000, 0, 120);
    let state = agreed(&mut market, &offer);
    let mut trader = market.trader(&name, &cut, false).unwrap();
    assert!(trader.broadcast(&state, Party::Buyer).is_err());
    drop(trader);
    // The next block would be the first one behind its last height.
    market.elsewhere_until(120);
    let txid = state.signing().unwrap().exchange().txid();
    assert_eq!(back(&market, &name), [Again::Over(txid, 120)]);
    market.elsewhere(1);
    let facts = market.buyers[0].trader.facts(&state).unwrap();
    assert!(!facts.transactions.contains_key(&txid));
}

#[test]
fn a_sale_that_the_server_refuses_is_told_and_stops_nobody() {
    let mut market = Market::issued();
    let cut = cut(&market.url());
    let name = market.buyers[0].name.clone();
    let offer = market.offer(60_000_000, 0, 120);
    let state = agreed(&mut market, &offer);
    let mut trader = market.trader(&name, &cut, false).unwrap();
    assert!(trader.broadcast(&state, Party::Buyer).is_err());
    drop(trader);
    // The coin that pays goes elsewhere; the seal stays where it was.
    let out = bitcoin::TxOut {
        value: bitcoin::Amount::from_sat(1_000_000),
        script_pubkey: market.terms.reward.miner.payout_script(),
    };
    let mut trader = market.trader(&name, &market.url(), false).unwrap();
    trader.give_up(state.acceptance().unwrap()).unwrap();
    let rate = bitcoin::FeeRate::from_sat_per_vb(RATE).unwrap();
    let spend = trader.wallet().unwrap().fund(&[out], rate).unwrap();
    drop(trader);
    let mut trader = market.trader(&name, &cut, false).unwrap();
    assert!(trader.broadcast(&state, Party::Buyer).is_err());
    drop(trader);
    market.send(&spend);
    let told = back(&market, &name);
    let [Again::Refused(txid, error)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(*txid, state.signing().unwrap().exchange().txid());
    assert_eq!(error.rule(), "chain-broadcast");
}

#[test]
fn a_sale_that_hangs_at_a_low_fee_is_withdrawn_for_a_higher_one() {
    let mut market = Market::issued();
    let offer = market.offer(60_000_000, 0, 120);
    let state = agreed(&mut market, &offer);
    let sale = market.buyers[0].trader.broadcast(&state, Party::Buyer).unwrap();
    market.world.settle().unwrap();

    let (outpoint, held) = market.at_issue();
    let (terms, position, seller) = (market.terms.clone(), market.id, market.miner.signer());
    let seal = Seal { terms: &terms, position, held: &held, outpoint };
    let trader = &mut market.miner.trader;
    // 255 vB at 2 sat/vB are 510 sat: a withdrawal of 212 vB at 2 sat/vB is less.
    for refused in [trader.withdraw(&seal, &seller, RATE), trader.retire(&seal, &seller, RATE)] {
        assert_eq!(refused.unwrap_err().rule(), "sale-replaces");
    }
    let reserved = trader.wallet().unwrap().balance().reserved;
    assert_eq!(reserved, bitcoin::Amount::ZERO, "what is refused reserves nothing");
    let tx = match trader.withdraw(&seal, &seller, RATE * 5) {
        Ok(moved) => moved.tx,
        // A node that replaces nothing, like the embedded one, says so; and it can be asked again.
        Err(error) => {
            assert_eq!(error.rule(), "chain-broadcast", "{error}");
            let again = trader.withdraw(&seal, &seller, RATE * 6).unwrap_err();
            assert!(again.to_string().contains("conflict"), "{again}");
            let reserved = trader.wallet().unwrap().balance().reserved;
            assert_eq!(reserved, bitcoin::Amount::ZERO, "what the node refuses reserves nothing");
            return;
        }
    };
    market.world.settle().unwrap();
    let waiting = market.world.mempool().unwrap();
    assert_eq!(waiting, [tx.compute_txid()], "in place of {}", sale.compute_txid());
    market.elsewhere(1);
    let facts = market.buyers[0].trader.facts(&state).unwrap();
    let void = state.next(&facts, Party::Buyer).unwrap();
    assert!(matches!(void, Effect::Void(error) if error.rule() == "sale-seal-moved"));
    // In a block, it is moved for good.
    let late = market.miner.trader.retire(&seal, &seller, RATE * 9).unwrap_err();
    assert_eq!(late.rule(), "sale-seal-moved");
}

#[test]
fn a_move_that_was_stored_at_a_low_fee_is_replaced_by_one_at_a_higher_one() {
    let market = Market::issued();
    let (cut, name, signer) = (cut(&market.url()), &market.miner.name, market.miner.signer());
    let (outpoint, held) = market.at_issue();
    let seal = Seal { terms: &market.terms, position: market.id, held: &held, outpoint };
    // Stored, and no server has it: it would be sent at the old rate for ever.
    let mut trader = market.trader(name, &cut, false).unwrap();
    assert!(trader.withdraw(&seal, &signer, RATE).is_err());
    drop(trader);
    let mut trader = market.trader(name, &market.url(), false).unwrap();
    let moved = trader.withdraw(&seal, &signer, RATE * 4).unwrap();
    assert!(moved.already.is_none() && moved.replaces.is_some());
    let coins = |tx: &bitcoin::Transaction| -> Vec<_> {
        tx.input.iter().map(|input| input.previous_output).collect()
    };
    let before = trader.withdraw(&seal, &signer, RATE * 3).unwrap();
    assert_eq!((&before.tx, before.already), (&moved.tx, Some(RATE * 4)), "a lower one sends it");
    assert_eq!((coins(&moved.tx)[0], moved.tx.input.len()), (outpoint, 2));
    drop(trader);
    market.world.settle().unwrap();
    assert!(back(&market, name).is_empty(), "the old one is sent no more");

    // Where the server has one already, it judges: a node that replaces nothing keeps the old one, and so
    // does the store.
    let mut trader = market.trader(name, &market.url(), false).unwrap();
    let now = match trader.withdraw(&seal, &signer, RATE * 9) {
        Ok(higher) => {
            assert_eq!(higher.replaces, Some(moved.tx.compute_txid()));
            assert_eq!(coins(&higher.tx), coins(&moved.tx), "the same coins pay");
            higher.tx
        }
        Err(error) => {
            assert_eq!(error.rule(), "chain-broadcast", "{error}");
            let kept = trader.withdraw(&seal, &signer, RATE * 4).unwrap();
            assert_eq!(kept.already, Some(RATE * 4));
            moved.tx
        }
    };
    drop(trader);
    market.world.settle().unwrap();
    assert_eq!(market.world.mempool().unwrap(), [now.compute_txid()]);
    assert!(back(&market, name).is_empty());
}

#[test]
fn a_withdrawal_pays_more_than_a_sale_that_its_seller_has_signed() {
    let mut market = Market::issued();
    let offer = market.offer(60_000_000, 0, 120);
    let state = agreed(&mut market, &offer);
    let (outpoint, held) = market.at_issue();
    let (terms, position, seller) = (market.terms.clone(), market.id, market.miner.signer());
    let seal = Seal { terms: &terms, position, held: &held, outpoint };
    // The buyer can send it at any time, at 2 sat/vB.
    let trader = &mut market.miner.trader;
    for rate in [RATE - 1, RATE] {
        for refused in [trader.withdraw(&seal, &seller, rate), trader.retire(&seal, &seller, rate)]
        {
            let error = refused.unwrap_err();
            assert_eq!(error.rule(), "sale-replaces");
            assert!(error.to_string().contains("above the 2 sat/vB of the sale"), "{error}");
        }
    }
    assert_eq!(trader.wallet().unwrap().balance().reserved, bitcoin::Amount::ZERO);
    // He spends the coins that were to pay: then nobody can.
    market.buyers[0].trader.reclaim(&state, RATE).unwrap();
    market.world.settle().unwrap();
    let waiting = market.miner.trader.withdraw(&seal, &seller, RATE).unwrap_err();
    assert_eq!(waiting.rule(), "sale-replaces", "in no block yet");
    market.elsewhere(1);
    let moved = market.miner.trader.withdraw(&seal, &seller, RATE).unwrap();
    assert_eq!((moved.already, moved.replaces), (None, None));
}

#[test]
fn a_withdrawal_above_the_rate_of_a_signed_sale_is_sent() {
    let mut market = Market::issued();
    let offer = market.offer(60_000_000, 0, 120);
    let state = agreed(&mut market, &offer);
    let (outpoint, held) = market.at_issue();
    let seal = Seal { terms: &market.terms, position: market.id, held: &held, outpoint };
    let seller = market.miner.signer();
    market.miner.trader.withdraw(&seal, &seller, RATE + 1).unwrap();
    market.world.settle().unwrap();
    market.elsewhere(1);
    let facts = market.buyers[0].trader.facts(&state).unwrap();
    let void = state.next(&facts, Party::Buyer).unwrap();
    assert!(matches!(void, Effect::Void(error) if error.rule() == "sale-seal-moved"));
}
