//! A buyer's coins given back: his own alone, once, and what may be done with the offer afterwards.

use bitcoin::Amount;
use hashmix::error::Result;
use hashmix::flow::sale::consent::Party;
use hashmix::flow::sale::state::{Event, State};
use hashmix::flow::sale::terms::{Acceptance, Offer};
use hashmix::flow::sale::txs::bargain;

use crate::market::{Market, RATE};

const PRICE: u64 = 60_000_000;

fn rule<T>(result: Result<T>) -> &'static str {
    result.map(|_| ()).unwrap_err().rule()
}

fn accept(market: &mut Market, offer: &Offer) -> Result<Acceptance> {
    let buyer = &mut market.buyers[0];
    let signer = buyer.signer();
    buyer.trader.accept(offer, buyer.record.clone(), &signer, RATE)
}

fn reserved(market: &mut Market) -> Amount {
    market.buyers[0].trader.wallet().unwrap().balance().reserved
}

/// The seller signs an acceptance, and the buyer hears it.
fn signed_by_seller(market: &mut Market, offer: &Offer, acceptance: &Acceptance) -> State {
    let (signer, trader) = (market.miner.signer(), &mut market.miner.trader);
    let mut his = trader.sale(offer).unwrap();
    trader.hear(&mut his, Event::Accepted(Box::new(acceptance.clone()))).unwrap();
    let consent = trader.consent(&mut his, Party::Seller, &signer, None).unwrap();
    let trader = &mut market.buyers[0].trader;
    let mut state = trader.sale(offer).unwrap();
    trader.hear(&mut state, Event::Consented(consent)).unwrap();
    state
}

#[test]
fn a_strangers_acceptance_gives_no_coins_back() {
    let mut market = Market::issued();
    let (first, other) = (market.offer(PRICE, 0, 120), market.offer(PRICE, 0, 119));
    let mine = accept(&mut market, &first).unwrap();
    let held = reserved(&mut market);
    assert_ne!(held, Amount::ZERO);

    // He names the coins that are reserved, and his own change.
    let stranger = &mut market.buyers[1];
    let his = stranger.signer();
    let mut named = stranger.trader.accept(&other, stranger.record.clone(), &his, RATE).unwrap();
    named.acceptance.coins = mine.acceptance.coins.clone();
    let exchange = bargain(&other.offer, &named.acceptance).unwrap().exchange;
    named.acceptance.psbt = exchange.psbt().unwrap().to_string();
    named.signature = his.sign_digest(named.acceptance.id().unwrap().0).unwrap();

    // Heard alone, and stored with the seller's signature.
    let accepted = Event::Accepted(Box::new(named.clone()));
    let trader = &mut market.buyers[0].trader;
    let mut heard = trader.sale(&other).unwrap();
    trader.hear(&mut heard, accepted.clone()).unwrap();
    let (seller, trader) = (market.miner.signer(), &mut market.miner.trader);
    let mut state = trader.sale(&other).unwrap();
    trader.hear(&mut state, accepted).unwrap();
    let consent = trader.consent(&mut state, Party::Seller, &seller, None).unwrap();
    let trader = &mut market.buyers[0].trader;
    let mut stored = heard.clone();
    trader.hear(&mut stored, Event::Consented(consent)).unwrap();
    assert_eq!(trader.sale(&other).unwrap().acceptance(), Some(&named));
    for state in [&heard, &stored] {
        assert_eq!(rule(trader.release(state)), "sale-own");
        assert_eq!(rule(trader.give_up(state.acceptance().unwrap())), "sale-own");
        assert_eq!(rule(trader.reclaim(state, RATE)), "sale-own");
    }
    assert_eq!(reserved(&mut market), held);
    assert_eq!(rule(accept(&mut market, &other)), "sale-own", "nor is it his to answer");

    let trader = &mut market.buyers[0].trader;
    let state = trader.sale(&first).unwrap();
    trader.release(&state).unwrap();
    assert_eq!(reserved(&mut market), Amount::ZERO);
}

#[test]
fn an_offer_is_accepted_anew_after_its_coins_were_given_back_unless_somebody_has_signed() {
    let mut market = Market::issued();
    let offer = market.offer(PRICE, 0, 120);
    let old = accept(&mut market, &offer).unwrap();
    assert_eq!(accept(&mut market, &offer).unwrap(), old);
    let trader = &mut market.buyers[0].trader;
    let before = trader.sale(&offer).unwrap();
    trader.release(&before).unwrap();
    assert_eq!(trader.sale(&offer).unwrap().acceptance(), None);
    assert_eq!(reserved(&mut market), Amount::ZERO);
    // Its file is still there: nobody signs it, and nobody spends what is free.
    let trader = &mut market.buyers[0].trader;
    assert_eq!(rule(trader.reclaim(&before, RATE)), "sale-free");
    let mut state = trader.sale(&offer).unwrap();
    trader.hear(&mut state, Event::Accepted(Box::new(old.clone()))).unwrap();

    let new = accept(&mut market, &offer).unwrap();
    assert_ne!(new, old);
    let held = reserved(&mut market);
    assert_eq!(held, new.acceptance.coins[0].txout.value);
    let trader = &mut market.buyers[0].trader;
    assert_eq!(trader.sale(&offer).unwrap().acceptance(), Some(&new));
    // The old one is given back once: the coins are the new one's now.
    trader.release(&before).unwrap();
    trader.give_up(&old).unwrap();
    assert_eq!(reserved(&mut market), held);

    // Given back after the seller has signed, it is neither signed nor accepted any more.
    let mut state = signed_by_seller(&mut market, &offer, &new);
    let (signer, trader) = (market.buyers[0].signer(), &mut market.buyers[0].trader);
    trader.release(&state).unwrap();
    let late = trader.consent(&mut state, Party::Buyer, &signer, None);
    assert_eq!(rule(late), "sale-released");
    assert_eq!(rule(accept(&mut market, &offer)), "sale-released");

    // Signed by himself: the next offer is another one.
    let next = market.offer(PRICE, 0, 119);
    let body = market.body(next.offer.seal, next.offer.seller.clone(), PRICE, 1, 119, None);
    let next = crate::market::signed(body, &market.miner.signer());
    let acceptance = accept(&mut market, &next).unwrap();
    let mut state = signed_by_seller(&mut market, &next, &acceptance);
    let (signer, trader) = (market.buyers[0].signer(), &mut market.buyers[0].trader);
    trader.consent(&mut state, Party::Buyer, &signer, None).unwrap();
    trader.give_up(&acceptance).unwrap();
    let refused = accept(&mut market, &next).unwrap_err();
    assert_eq!(refused.rule(), "sale-released");
    assert!(refused.fault().rule.advice.contains("sale release --spend"), "{refused}");
}

#[test]
fn coins_are_spent_at_the_cap_of_the_terms_or_as_a_sale_that_waits_needs_it() {
    let mut market = Market::issued();
    let offer = market.offer(PRICE, 0, 120);
    let acceptance = accept(&mut market, &offer).unwrap();
    let mut state = signed_by_seller(&mut market, &offer, &acceptance);
    let (signer, cap) = (market.buyers[0].signer(), offer.offer.terms.fees.cap);
    let trader = &mut market.buyers[0].trader;
    trader.consent(&mut state, Party::Buyer, &signer, None).unwrap();
    for rate in [cap + 1, cap * 1_000, u64::MAX] {
        assert_eq!(rule(trader.reclaim(&state, rate)), "terms-fees");
    }

    // The sale waits: at the cap a transaction of less than half its size replaces no such sale.
    let sale = trader.broadcast(&state, Party::Buyer).unwrap();
    market.world.settle().unwrap();
    let trader = &mut market.buyers[0].trader;
    assert_eq!(rule(trader.reclaim(&state, cap * 4)), "terms-fees");
    match trader.reclaim(&state, cap * 2) {
        Ok(tx) => assert_eq!(tx.input.len(), acceptance.acceptance.coins.len()),
        // The embedded node replaces nothing.
        Err(error) => assert_eq!(error.rule(), "chain-broadcast", "{error}"),
    }
    assert!(sale.vsize() > 200);
}

#[test]
fn coins_are_spent_at_the_cap_itself() {
    let mut market = Market::issued();
    let offer = market.offer(PRICE, 0, 120);
    let acceptance = accept(&mut market, &offer).unwrap();
    let mut state = signed_by_seller(&mut market, &offer, &acceptance);
    let (signer, cap) = (market.buyers[0].signer(), offer.offer.terms.fees.cap);
    let trader = &mut market.buyers[0].trader;
    trader.consent(&mut state, Party::Buyer, &signer, None).unwrap();
    let tx = trader.reclaim(&state, cap).unwrap();
    let fee = acceptance.acceptance.coins[0].txout.value - tx.output[0].value;
    assert_eq!(fee.to_sat(), cap * u64::try_from(tx.vsize()).unwrap());
}
