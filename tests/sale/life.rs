//! A position's life after its issue: sold, delivered, settled, resold twice, retired. Whoever wants to
//! watch is told each output that the seal moves to.

use bitcoin::{Amount, OutPoint};
use hashmix::flow::escrow::coins::Progress;
use hashmix::flow::position::coins::retirement;
use hashmix::flow::reward::coins::lock;
use hashmix::flow::sale::consent::Party;
use hashmix::flow::sale::state::Event;
use hashmix::flow::sale::terms::{Guard, Offer};
use hashmix::flow::sale::txs::Seal;

use crate::market::{Market, RATE, START, Sold, Table, signed};

const PRICE: u64 = 60_000_000;

/// The block before the first of a period.
fn before(period: u32) -> u32 {
    START + 12 * period - 1
}

/// Mines a slice with a third more shares than agreed, seals it, and lets everybody answer.
pub fn deliver(
    market: &mut Market,
    table: &mut Table,
    contract: &hashmix::flow::escrow::terms::EscrowTerms,
    slice: u32,
) {
    market.mine_until(contract, before(slice + 1), 20);
    let certificate = market.machines.certificate(contract, slice).unwrap();
    table.miner.certify(certificate).unwrap();
    table.everybody(market.world.as_ref());
}

/// A resale from one buyer to the next, signed by all, sent by the miner, mined.
pub fn resell(
    market: &mut Market,
    table: &mut Table,
    sold: &Sold,
    from: usize,
    period: u32,
    switch: u32,
    price: u64,
) -> (Sold, Offer) {
    let expires = market.height() + 2;
    let resale = market.resale(table, period, switch, Guard::Miner);
    let (seal, held) = (sold.seal, sold.held.clone());
    let body = market.body(seal, held, price, period + 1, expires, Some(resale));
    let offer = signed(body, &market.buyers[from].signer());
    let line = offer.to_json().unwrap();
    assert_eq!(Offer::from_json(&line).unwrap(), offer);
    assert_eq!(offer.offer.rewarded_from(), switch, "until then rewards are the seller's");

    let to = &mut market.buyers[from + 1];
    let signer = to.signer();
    let acceptance = to.trader.accept(&offer, to.record.clone(), &signer, RATE).unwrap();
    // Asked again, he answers the same.
    assert_eq!(to.trader.accept(&offer, to.record.clone(), &signer, RATE).unwrap(), acceptance);
    let accepted = Event::Accepted(Box::new(acceptance));

    let seller = &mut market.buyers[from];
    let signer = seller.signer();
    let mut state = seller.trader.sale(&offer).unwrap();
    seller.trader.hear(&mut state, accepted.clone()).unwrap();
    let first = seller.trader.consent(&mut state, Party::Seller, &signer, None).unwrap();

    let buyer = &mut market.buyers[from + 1];
    let signer = buyer.signer();
    let mut state = buyer.trader.sale(&offer).unwrap();
    buyer.trader.hear(&mut state, Event::Consented(first.clone())).unwrap();
    let second = buyer.trader.consent(&mut state, Party::Buyer, &signer, None).unwrap();

    // The miner signs with the record of his own seat, after judging what he is paid.
    let signer = crate::market::signer(&market.miner.name, 0);
    let papers = market.papers();
    let trader = &mut market.miner.trader;
    let mut state = trader.sale(&offer).unwrap();
    for word in [accepted, Event::Consented(first), Event::Consented(second)] {
        trader.hear(&mut state, word).unwrap();
    }
    let blind = trader.consent(&mut state, Party::Miner, &signer, None).unwrap_err();
    assert_eq!(blind.rule(), "sale-judged");
    let evidence = table.miner.contract().evidence();
    let unknown = trader.consent(&mut state, Party::Miner, &signer, Some(evidence)).unwrap_err();
    assert_eq!(unknown.rule(), "sale-known");
    trader.prove(&offer, &papers, None).unwrap();
    trader.consent(&mut state, Party::Miner, &signer, Some(evidence)).unwrap();
    let tx = trader.broadcast(&state, Party::Miner).unwrap();
    (market.sold(&state, tx), offer)
}

/// Lives it, and tells `seen` what has moved the seal, and where to.
pub fn live(market: &mut Market, seen: &mut dyn FnMut(&str, OutPoint)) {
    seen("issue", market.at_issue().0);
    let offer = market.offer(PRICE, 0, 120);
    let line = offer.to_json().unwrap();
    assert_eq!(Offer::from_json(&line).unwrap(), offer);

    // Seal in, seal out; the price into the escrow; the rest is change.
    let first = market.sell(&offer, 0);
    seen("sale", first.seal);
    assert_eq!((first.tx.input.len(), first.tx.output.len()), (2, 3));
    assert_eq!(first.tx.output[1].value, Amount::from_sat(PRICE));
    assert!(first.tx.vsize() <= 256, "{}", first.tx.vsize());
    let contract = first.contract.clone();
    let mut table = market.table(&contract, 0);
    let facts = table.holder.facts().unwrap();
    assert!(matches!(table.holder.contract().locked().progress(&facts), Ok(Progress::Open(_))));

    // Its contract runs: a period delivered, settled by both together.
    market.elsewhere_until(before(0));
    deliver(market, &mut table, &contract, 0);
    market.mine_until(&contract, before(1) + 7, 20);
    table.everybody(market.world.as_ref());
    table.miner.begin_joint_settlement(RATE).unwrap();
    table.holder.step().unwrap();
    let sent = table.everybody(market.world.as_ref());
    assert_eq!(sent.len(), 1, "one settlement");
    deliver(market, &mut table, &contract, 1);

    // Resold after period 2: the miner is paid what he earned, the rest goes on for the next holder.
    market.mine_until(&contract, before(2) + 7, 20);
    table.everybody(market.world.as_ref());
    let (second, _) = resell(market, &mut table, &first, 0, 1, 4, 30_000_000);
    seen("resale", second.seal);
    assert_eq!(second.tx.output[2].value, Amount::from_sat(PRICE / 12), "the second installment");
    assert_eq!(second.tx.output[1].value, Amount::from_sat(PRICE / 12 * 10));
    assert_eq!(second.tx.output[3].value, Amount::from_sat(30_000_000));
    let facts = table.holder.facts().unwrap();
    let progress = table.holder.contract().locked().progress(&facts).unwrap();
    assert!(matches!(progress, Progress::Ended { by, .. } if by == second.tx.compute_txid()));

    // The new contract counts the old lock until period 5, and runs like any other.
    let contract = second.contract.clone();
    assert_eq!(contract.price, Amount::from_sat(PRICE / 12 * 10));
    let mut table = market.table(&contract, 1);
    deliver(market, &mut table, &contract, 2);
    deliver(market, &mut table, &contract, 3);
    market.mine_until(&contract, before(4) + 7, 20);
    table.everybody(market.world.as_ref());
    for (height, holder) in [(before(4), &first), (before(4) + 1, &second)] {
        let coinbase = market.world.block(height).unwrap().txdata.remove(0);
        let lock = lock(&holder.contract.reward).unwrap().script_pubkey;
        assert_eq!(coinbase.output[0].script_pubkey, lock, "height {height}");
    }

    // And once more: two periods are due at once.
    let (third, _) = resell(market, &mut table, &second, 1, 3, 6, 25_000_000);
    seen("second resale", third.seal);
    assert_eq!(third.tx.output[2].value, Amount::from_sat(PRICE / 12 * 2));
    assert_eq!(third.contract.tenure.as_ref().unwrap().transfer, 3);

    // The last holder retires the seal.
    let seal =
        Seal { terms: &market.terms, position: market.id, held: &third.held, outpoint: third.seal };
    let last = &mut market.buyers[2];
    let signer = last.signer();
    // His escrow is open, and its term not over: asked by command, he would be told so first.
    let early = last.trader.remaining(&market.terms, Some(&third.contract)).unwrap();
    let error = early.check().unwrap_err();
    assert_eq!(error.rule(), "sale-retire");
    let found = format!("{} sat in the escrow", PRICE / 12 * 8);
    assert!(error.fault().found.contains(&found), "{error}");
    let tx = last.trader.retire(&seal, &signer, RATE).unwrap().tx;
    println!("retirement: {} vB", tx.vsize());
    market.world.settle().unwrap();
    market.elsewhere(1);
    seen("retirement", OutPoint::new(tx.compute_txid(), 0));
    let there = retirement(&market.terms).unwrap().script_pubkey;
    assert_eq!(tx.output[0].script_pubkey, there);
    let seal =
        Seal { terms: &market.terms, position: market.id, held: &third.held, outpoint: third.seal };
    let again = market.buyers[2].trader.retire(&seal, &signer, RATE).unwrap_err();
    assert_eq!(again.rule(), "sale-seal-moved");
}
