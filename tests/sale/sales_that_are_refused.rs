//! What a sale is refused for: by the offer alone, by its acceptance, by the chain.

use bitcoin::hashes::Hash;
use bitcoin::{Amount, OutPoint, Txid};
use hashmix::error::Result;
use hashmix::flow::sale::coins::{check_coins, check_offer, waits};
use hashmix::flow::sale::consent::{Consent, Party};
use hashmix::flow::sale::state::{Effect, Event, State};
use hashmix::flow::sale::terms::{Acceptance, Offer, OfferBody};
use hashmix::flow::sale::txs::{Seal, bargain};
use hashmix::sign::software::SoftwareSigner;

use crate::market::{Market, RATE, signed};

const PRICE: u64 = 60_000_000;

fn rule<T>(result: Result<T>) -> &'static str {
    result.map(|_| ()).unwrap_err().rule()
}

/// The offer changed and signed anew by its seller.
fn changed(market: &Market, offer: &Offer, change: impl FnOnce(&mut OfferBody)) -> Offer {
    let mut body = offer.offer.clone();
    change(&mut body);
    signed(body, &market.miner.signer())
}

/// The acceptance changed, built and signed anew by the buyer: honest about what it changed.
fn rebuilt(
    acceptance: &Acceptance,
    offer: &Offer,
    signer: &SoftwareSigner,
    change: impl FnOnce(&mut Acceptance),
) -> Acceptance {
    let mut other = acceptance.clone();
    change(&mut other);
    if let Ok(bargain) = bargain(&offer.offer, &other.acceptance) {
        other.acceptance.psbt = bargain.exchange.psbt().unwrap().to_string();
    }
    other.signature = signer.sign_digest(other.acceptance.id().unwrap().0).unwrap();
    other
}

fn accepted(acceptance: &Acceptance) -> Event {
    Event::Accepted(Box::new(acceptance.clone()))
}

#[test]
fn offers_acceptances_and_consents_are_refused_by_rule() {
    let mut market = Market::issued();
    let offer = market.offer(PRICE, 0, 120);

    // The offer alone.
    assert_eq!(offer.check(), Ok(()));
    let mut forged = offer.clone();
    forged.offer.price = Amount::from_sat(PRICE - 1);
    assert_eq!(rule(forged.check()), "message-digest");
    let refused = |change: &dyn Fn(&mut OfferBody)| rule(changed(&market, &offer, change).check());
    assert_eq!(refused(&|body| body.format = "hashmix offer 2".into()), "sale-form");
    assert_eq!(refused(&|body| body.price = Amount::from_sat(300_000 * 12)), "terms-price");
    assert_eq!(refused(&|body| body.price = Amount::MAX), "amount-limit");
    assert_eq!(refused(&|body| body.expires = 127), "sale-notice");
    assert_eq!(refused(&|body| body.first = 12), "sale-notice");
    assert_eq!(refused(&|body| body.first = u32::MAX), "sale-notice");
    assert_eq!(refused(&|body| body.seal.vout = 1), "sale-seller");
    assert_eq!(refused(&|body| body.position.0[0] ^= 1), "sale-seller");
    let bought = Some(market.terms.id().unwrap());
    assert_eq!(refused(&|body| body.seller.sale = bought), "sale-seller");
    let other = market.buyers[0].record.clone();
    let foreign = changed(&market, &offer, |body| body.seller.record = other);
    assert_eq!(rule(foreign.check()), "message-digest");
    assert_eq!(rule(Offer::from_json("{}")), "sale-form");
    assert_eq!(rule(Offer::from_json(&" ".repeat(1_000_000))), "sale-form");

    // The buyer: his record, his rate, his coins.
    let first = &mut market.buyers[0];
    let signer = first.signer();
    let poor = first.trader.accept(&offer, first.record.clone(), &signer, 1);
    assert_eq!(rule(poor), "terms-fees");
    let mut sealless = first.record.clone();
    sealless.record.seal = None;
    sealless.signature = signer.sign_text(&sealless.record.statement().unwrap()).unwrap();
    assert_eq!(rule(first.trader.accept(&offer, sealless, &signer, RATE)), "position-seal");
    let other = crate::market::signer("nobody", 0);
    let foreign = first.trader.accept(&offer, first.record.clone(), &other, RATE);
    assert_eq!(rule(foreign), "sale-signer");
    let held = first.trader.wallet().unwrap().balance().reserved;
    assert_eq!(held, Amount::ZERO, "what is refused reserves nothing");
    let acceptance = first.trader.accept(&offer, first.record.clone(), &signer, RATE).unwrap();
    let held = first.trader.wallet().unwrap().balance().reserved;
    assert_eq!(held, acceptance.acceptance.coins[0].txout.value);

    let state = State::new(offer.clone()).unwrap();
    let admitted = |acceptance: &Acceptance| state.admit(&accepted(acceptance));
    assert_eq!(admitted(&acceptance), Ok(()));
    let lie = |change: &dyn Fn(&mut Acceptance)| {
        rule(admitted(&rebuilt(&acceptance, &offer, &signer, change)))
    };
    assert_eq!(lie(&|it| it.acceptance.format = "hashmix acceptance 0".into()), "sale-form");
    assert_eq!(lie(&|it| it.acceptance.offer.0[0] ^= 1), "sale-accepts");
    assert_eq!(lie(&|it| it.acceptance.sat_per_vb = 51), "terms-fees");
    let double = |it: &mut Acceptance| {
        let coin = it.acceptance.coins[0].clone();
        it.acceptance.coins.push(coin);
    };
    assert_eq!(lie(&double), "sale-coin-twice");
    assert_eq!(lie(&|it| it.acceptance.coins.clear()), "sale-coin-twice");
    let seal = offer.offer.seal;
    assert_eq!(lie(&|it| it.acceptance.coins[0].outpoint = seal), "sale-coin-twice");
    let legacy = bitcoin::ScriptBuf::new_p2pkh(&bitcoin::PubkeyHash::all_zeros());
    let old = |it: &mut Acceptance| {
        it.acceptance.coins[0].txout.script_pubkey = legacy.clone();
    };
    assert_eq!(lie(&old), "sale-coin-kind");
    let little = |it: &mut Acceptance| {
        it.acceptance.coins[0].txout.value = Amount::from_sat(PRICE);
    };
    assert_eq!(lie(&little), "sale-funds");
    // A PSBT that is not what the words say, though its sender signed it.
    let mut crooked = acceptance.clone();
    let mut psbt: bitcoin::Psbt = crooked.acceptance.psbt.parse().unwrap();
    psbt.unsigned_tx.output[1].value -= Amount::from_sat(1);
    crooked.acceptance.psbt = psbt.to_string();
    crooked.signature = signer.sign_digest(crooked.acceptance.id().unwrap().0).unwrap();
    assert_eq!(rule(admitted(&crooked)), "policy-tx-amount");
    let mut unsigned = acceptance.clone();
    unsigned.acceptance.sat_per_vb = 3;
    assert_eq!(rule(admitted(&unsigned)), "message-digest");

    // The chain's word on the coins.
    let facts = market.buyers[0].trader.facts(&{
        let mut state = state.clone();
        state.apply(accepted(&acceptance));
        state
    });
    let facts = facts.unwrap();
    assert_eq!(check_coins(&acceptance.acceptance, &facts), Ok(()));
    let mut liar = acceptance.acceptance.clone();
    liar.coins[0].txout.value += Amount::from_sat(1);
    assert_eq!(rule(check_coins(&liar, &facts)), "sale-coin");
    liar = acceptance.acceptance.clone();
    liar.coins[0].outpoint = OutPoint::new(Txid::all_zeros(), 0);
    assert_eq!(rule(check_coins(&liar, &facts)), "sale-coin");
    let mut waits = facts.clone();
    for seen in waits.transactions.values_mut() {
        seen.height = None;
    }
    assert_eq!(rule(check_coins(&acceptance.acceptance, &waits)), "sale-coin");

    // Everybody in his turn, and all of his inputs.
    let seller = market.miner.signer();
    let trader = &mut market.miner.trader;
    let mut his = trader.sale(&offer).unwrap();
    assert_eq!(rule(trader.consent(&mut his, Party::Seller, &seller, None)), "sale-turn");
    trader.hear(&mut his, accepted(&acceptance)).unwrap();
    assert_eq!(rule(his.admit(&accepted(&acceptance))), "sale-order");
    assert_eq!(rule(trader.consent(&mut his, Party::Buyer, &seller, None)), "sale-turn");
    assert_eq!(rule(trader.consent(&mut his, Party::Validator(0), &seller, None)), "sale-signer");
    let facts = trader.facts(&his).unwrap();
    assert_eq!(his.next(&facts, Party::Seller), Ok(Effect::Sign(vec![0])));
    assert_eq!(his.next(&facts, Party::Seller), his.next(&facts, Party::Seller));
    assert!(matches!(his.next(&facts, Party::Buyer), Ok(Effect::Wait(_))));
    let consent = trader.consent(&mut his, Party::Seller, &seller, None).unwrap();
    assert_eq!(trader.consent(&mut his, Party::Seller, &seller, None).unwrap(), consent);
    // After a crash he remembers all of it.
    assert_eq!(trader.sale(&offer).unwrap().consents(), his.consents());

    let mut buying = State::new(offer.clone()).unwrap();
    let said = Event::Consented(consent.clone());
    assert_eq!(rule(buying.admit(&said)), "sale-order");
    buying.apply(accepted(&acceptance));
    assert_eq!(buying.admit(&said), Ok(()));
    let lie = |change: &dyn Fn(&mut Consent)| {
        let mut other = consent.clone();
        change(&mut other);
        rule(buying.admit(&Event::Consented(other)))
    };
    assert_eq!(lie(&|it| it.by = Party::Buyer), "sale-order");
    assert_eq!(lie(&|it| it.acceptance.0[0] ^= 1), "sale-accepts");
    assert_eq!(lie(&|it| it.pieces.clear()), "sale-consent-inputs");
    assert_eq!(lie(&|it| it.pieces[0].input = 1), "sale-consent-inputs");
    assert_eq!(lie(&|it| it.pieces[0].witness = bitcoin::Witness::new()), "tx-signature");

    // A second buyer gets no second consent.
    let second = &mut market.buyers[1];
    let signer = second.signer();
    let late = second.trader.accept(&offer, second.record.clone(), &signer, RATE).unwrap();
    assert_eq!(rule(market.miner.trader.hear(&mut his, accepted(&late))), "sale-order");
}

#[test]
fn what_expired_or_moved_is_neither_accepted_nor_signed() {
    let mut market = Market::issued();
    let height = market.height();
    let offer = market.offer(PRICE, 0, height + 2);
    let first = &mut market.buyers[0];
    let signer = first.signer();
    let acceptance = first.trader.accept(&offer, first.record.clone(), &signer, RATE).unwrap();
    let seller = market.miner.signer();
    let mut his = market.miner.trader.sale(&offer).unwrap();
    market.miner.trader.hear(&mut his, accepted(&acceptance)).unwrap();

    // Two blocks later it is over, for everybody.
    market.elsewhere(2);
    let second = &mut market.buyers[1];
    let late = second.trader.accept(&offer, second.record.clone(), &second.signer(), RATE);
    assert_eq!(rule(late), "sale-expired");
    let trader = &mut market.miner.trader;
    // Nobody has signed: nothing is left of it.
    assert_eq!(rule(trader.consent(&mut his, Party::Seller, &seller, None)), "sale-expired");
    let facts = trader.facts(&his).unwrap();
    assert!(matches!(his.next(&facts, Party::Seller), Ok(Effect::Void(_))));

    // The seal is withdrawn: a longer offer of the same seal is void.
    let longer = market.offer(PRICE, 0, height + 8);
    let mut his = market.miner.trader.sale(&longer).unwrap();
    let first = &mut market.buyers[0];
    first.trader.give_up(&acceptance).unwrap();
    let again = first.trader.accept(&longer, first.record.clone(), &signer, RATE).unwrap();
    market.miner.trader.hear(&mut his, accepted(&again)).unwrap();
    let (outpoint, held) = market.at_issue();
    let seal = Seal { terms: &market.terms, position: market.id, held: &held, outpoint };
    let mine = seal.withdrawn();
    let tx = market.miner.trader.withdraw(&seal, &seller, RATE).unwrap().tx;
    println!("withdrawal: {} vB", tx.vsize());
    market.world.settle().unwrap();
    // In the mempool it decides nothing, and nobody signs behind it.
    let trader = &mut market.miner.trader;
    let facts = trader.facts(&his).unwrap();
    assert_eq!(check_offer(&longer.offer, &facts), Ok(()));
    assert_eq!(waits(&longer.offer, &facts), Some(tx.compute_txid()));
    assert_eq!(his.next(&facts, Party::Seller), Ok(Effect::behind(tx.compute_txid())));
    assert_eq!(rule(trader.consent(&mut his, Party::Seller, &seller, None)), "sale-turn");
    let second = &mut market.buyers[1];
    let late = second.trader.accept(&longer, second.record.clone(), &second.signer(), RATE);
    assert_eq!(rule(late), "sale-turn");
    market.elsewhere(1);
    let trader = &mut market.miner.trader;
    assert_eq!(rule(trader.consent(&mut his, Party::Seller, &seller, None)), "sale-seal-moved");
    let second = &mut market.buyers[1];
    let late = second.trader.accept(&longer, second.record.clone(), &second.signer(), RATE);
    assert_eq!(rule(late), "sale-seal-moved");

    // From where it is now it can be offered and sold again, under the next number.
    let outpoint = OutPoint::new(tx.compute_txid(), 0);
    let body = market.body(outpoint, mine, PRICE, 0, height + 8, None);
    let offer = signed(body, &seller);
    let sold = market.sell(&offer, 1);
    assert_eq!(sold.held.number, 2);
    assert_eq!(sold.contract.tenure.as_ref().unwrap().transfer, 2);
}

#[test]
fn a_wallet_never_sees_a_seal_as_money() {
    let mut market = Market::issued();
    let (seal, held) = market.at_issue();
    let script = hashmix::flow::position::coins::issued_seal(&market.terms).unwrap().script_pubkey;
    assert_eq!(held.record, market.terms.reward.holder);
    // The seal is the miner's, of the same seed, and unspent; his wallet has read the whole chain.
    let wallet = market.miner.trader.wallet().unwrap();
    let coins = wallet.coins();
    assert!(!coins.is_empty());
    assert!(coins.iter().all(|coin| coin.outpoint != seal && coin.txout.script_pubkey != script));
    let all = wallet.reserve(&|chosen| {
        // More than he has: every coin is taken before this is refused.
        assert!(chosen.iter().all(|coin| coin.outpoint != seal));
        Ok(Amount::MAX_MONEY)
    });
    assert_eq!(rule(all), "wallet-funds");
}

#[test]
fn a_strangers_acceptance_uses_up_no_offer() {
    let mut market = Market::issued();
    let offer = market.offer(PRICE, 0, 120);
    let [first, .., third] = &mut market.buyers[..] else { panic!() };
    let signers = [first.signer(), third.signer()];
    let good = first.trader.accept(&offer, first.record.clone(), &signers[0], RATE).unwrap();
    let real = third.trader.accept(&offer, third.record.clone(), &signers[1], RATE).unwrap();
    let false_one = rebuilt(&real, &offer, &signers[1], |it| {
        it.acceptance.coins[0].outpoint = OutPoint::new(Txid::all_zeros(), 7);
    });

    let (seller, trader) = (market.miner.signer(), &mut market.miner.trader);
    let mut his = trader.sale(&offer).unwrap();
    trader.hear(&mut his, accepted(&false_one)).unwrap();
    assert_eq!(rule(trader.consent(&mut his, Party::Seller, &seller, None)), "sale-coin");
    assert_eq!(trader.sale(&offer).unwrap().acceptance(), None, "nothing of it is stored");
    // A later one takes its place, and is stored with what is signed for it.
    trader.hear(&mut his, accepted(&good)).unwrap();
    assert_eq!(trader.sale(&offer).unwrap().acceptance(), None);
    let consent = trader.consent(&mut his, Party::Seller, &seller, None).unwrap();
    let mut stored = trader.sale(&offer).unwrap();
    assert_eq!(stored.acceptance(), Some(&good));
    assert_eq!(stored.consents(), core::slice::from_ref(&consent));
    for state in [&mut his, &mut stored] {
        assert_eq!(rule(trader.hear(state, accepted(&real))), "sale-order");
    }
    // Who remembers an acceptance of the offer hears no other one, and signs for none.
    let buyer = &mut market.buyers[0].trader;
    let mut state = buyer.sale(&offer).unwrap();
    assert_eq!(rule(buyer.hear(&mut state, accepted(&real))), "sale-order");
    buyer.hear(&mut state, Event::Consented(consent)).unwrap();
    assert_eq!(state.turn(), [Party::Buyer]);
}

#[test]
fn coins_that_a_stranger_names_are_not_signed_for_him() {
    let mut market = Market::issued();
    let first = &mut market.buyers[0];
    let (his, victim) = (first.signer(), first.trader.wallet().unwrap().coins()[0].clone());
    let seller = market.miner.signer();
    let stranger = market.buyers[1].signer();
    // In the stranger's name, and in the victim's with the change to the stranger.
    for (expires, by) in [(120, &stranger), (119, &his)] {
        let offer = market.offer(PRICE, 0, expires);
        let other = &mut market.buyers[1];
        let record = other.record.clone();
        let own = other.trader.accept(&offer, record, &stranger, RATE).unwrap();
        other.trader.give_up(&own).unwrap();
        let holder = market.buyers[0].record.clone();
        let named = rebuilt(&own, &offer, by, |it| {
            it.acceptance.coins[0].outpoint = victim.outpoint;
            it.acceptance.coins[0].txout = victim.txout.clone();
            if expires == 119 {
                it.acceptance.holder = holder;
            }
        });
        let trader = &mut market.miner.trader;
        let mut state = trader.sale(&offer).unwrap();
        trader.hear(&mut state, accepted(&named)).unwrap();
        let consent = trader.consent(&mut state, Party::Seller, &seller, None).unwrap();
        let trader = &mut market.buyers[0].trader;
        let mut state = trader.sale(&offer).unwrap();
        trader.hear(&mut state, accepted(&named)).unwrap();
        trader.hear(&mut state, Event::Consented(consent)).unwrap();
        assert_eq!(rule(trader.consent(&mut state, Party::Buyer, &his, None)), "sale-signer");
    }
}
