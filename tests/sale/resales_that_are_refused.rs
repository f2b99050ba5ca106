//! A resale goes on from where the contract stands, with the miner or without him, or not at all.

use bitcoin::hashes::Hash;
use bitcoin::{Amount, TapSighash};
use hashmix::error::Result;
use hashmix::flow::Event as FlowEvent;
use hashmix::flow::resale::state::Event as Resold;
use hashmix::flow::resale::terms::asked;
use hashmix::flow::reward::state::Event as Reward;
use hashmix::flow::sale::coins::check_offer;
use hashmix::flow::sale::consent::{CONSENT_FORMAT, Consent, Party, Piece};
use hashmix::flow::sale::state::{Effect, Event};
use hashmix::flow::sale::terms::{Guard, Offer, OfferBody, Resale};
use hashmix::flow::word::Word;
use hashmix::id::TermsId;
use hashmix::party::Seat;
use hashmix::rehearsal::people;
use hashmix::script::lock::Path;
use hashmix::sign::software::LeafAccount;
use hashmix::tx::exchange::{Way, signed as witness};

use crate::market::{Market, RATE, START, Sold, Table, signed, signer};

fn rule<T>(result: Result<T>) -> &'static str {
    result.map(|_| ()).unwrap_err().rule()
}

/// Sold once, one period delivered, and that is deep enough to be settled.
pub(crate) fn delivered() -> (Market, Sold, Table) {
    let mut market = Market::issued();
    let offer = market.offer(60_000_000, 0, 120);
    let sold = market.sell(&offer, 0);
    let mut table = market.table(&sold.contract, 0);
    market.elsewhere_until(START - 1);
    market.mine_until(&sold.contract, START + 11, 20);
    let certificate = market.machines.certificate(&sold.contract, 0).unwrap();
    table.miner.certify(certificate).unwrap();
    table.everybody(market.world.as_ref());
    market.mine_until(&sold.contract, START + 18, 20);
    table.everybody(market.world.as_ref());
    (market, sold, table)
}

pub(crate) fn offered(market: &Market, sold: &Sold, resale: Resale, life: u32) -> Offer {
    let expires = market.height() + life;
    let (seal, held) = (sold.seal, sold.held.clone());
    let body = market.body(seal, held, 30_000_000, 1, expires, Some(resale));
    signed(body, &market.buyers[0].signer())
}

#[test]
fn what_a_resale_takes_over_is_what_contract_evidence_and_chain_say() {
    let (mut market, sold, mut table) = delivered();
    let resale = market.resale(&mut table, 0, 3, Guard::Miner);
    let offer = offered(&market, &sold, resale, 2);
    assert_eq!(offer.check(), Ok(()));

    // By the offer alone.
    let refused = |change: &dyn Fn(&mut OfferBody, &mut Resale)| {
        let mut body = offer.offer.clone();
        let mut resale = body.resale.take().unwrap();
        change(&mut body, &mut resale);
        body.resale = Some(resale);
        rule(signed(body, &market.buyers[0].signer()).check())
    };
    assert_eq!(refused(&|_, resale| resale.outcome.closes = true), "sale-resale");
    assert_eq!(refused(&|_, resale| resale.outcome.period = 1), "sale-resale");
    assert_eq!(refused(&|_, resale| resale.outcome.earned = Amount::MAX_MONEY), "sale-resale");
    assert_eq!(refused(&|_, resale| resale.value = Amount::from_sat(60_000_001)), "sale-resale");
    assert_eq!(refused(&|_, resale| resale.switch = 0), "sale-resale");
    assert_eq!(refused(&|_, resale| resale.switch = 2), "sale-notice");
    // Who hears of it from validators alone needs twice the notice.
    let silent = |body: &mut OfferBody, resale: &mut Resale| {
        (body.expires, resale.guard) = (157, Guard::Validators);
    };
    assert_eq!(refused(&silent), "sale-notice");
    assert_eq!(refused(&|body, _| body.first = 2), "sale-resale");
    assert_eq!(refused(&|body, _| body.price = Amount::from_sat(329)), "sale-resale");
    // Another contract than the one that came with the seal, or than the position's terms make.
    let cheap = |_: &mut OfferBody, resale: &mut Resale| {
        resale.contract.price = Amount::from_sat(50_000_000);
    };
    assert_eq!(refused(&cheap), "sale-seller");
    let milder = |body: &mut OfferBody, resale: &mut Resale| {
        resale.contract.delays.grace = 200;
        body.seller.sale = Some(resale.contract.id().unwrap());
    };
    assert_eq!(refused(&milder), "sale-resale");
    let fresh = |body: &mut OfferBody, _: &mut Resale| body.seller.number = 0;
    assert_eq!(refused(&fresh), "sale-seller");
    // A holder cannot drop the contract: without it the seal is not as he holds it.
    let mut body = offer.offer.clone();
    body.resale = None;
    assert_eq!(rule(signed(body, &market.buyers[0].signer()).check()), "sale-seller");

    // By the chain: a period that blocks could still take back.
    let mut body = offer.offer.clone();
    let resale = body.resale.as_mut().unwrap();
    (body.first, resale.outcome.period, resale.switch) = (2, 1, 4);
    let unripe = signed(body, &market.buyers[0].signer());
    assert_eq!(unripe.check(), Ok(()));
    assert_eq!(buyer_accepts(&mut market, &unripe), "sale-resale");

    // By the miner's own evidence: a due that is less than he has earned.
    let mut body = offer.offer.clone();
    let earned = &mut body.resale.as_mut().unwrap().outcome.earned;
    *earned = earned.checked_sub(Amount::from_sat(1)).unwrap();
    let low = signed(body, &market.buyers[0].signer());
    assert_eq!(low.check(), Ok(()));
    let words = by_seller_and_buyer(&mut market, &low);
    let trader = &mut market.miner.trader;
    let mut state = trader.sale(&low).unwrap();
    words.into_iter().for_each(|word| trader.hear(&mut state, word).unwrap());
    let (his, evidence) = (signer(&market.miner.name, 0), table.miner.contract().evidence());
    let judged = trader.consent(&mut state, Party::Miner, &his, Some(evidence));
    assert_eq!(rule(judged), "escrow-verdict");
    let low = market.buyers[1].trader.sale(&low).unwrap();
    let low = low.acceptance().unwrap().clone();
    market.buyers[1].trader.give_up(&low).unwrap();

    // By the chain: settled in the meantime, so the escrow is another output.
    table.miner.begin_joint_settlement(RATE).unwrap();
    table.holder.step().unwrap();
    assert_eq!(table.everybody(market.world.as_ref()).len(), 1);
    let buyer = &mut market.buyers[1];
    let late = buyer.trader.accept(&offer, buyer.record.clone(), &buyer.signer(), RATE);
    assert_eq!(rule(late), "sale-escrow-moved");
    market.elsewhere(1);
    let late = buyer_accepts(&mut market, &offer);
    assert_eq!(late, "sale-escrow-moved");

    // And a seal that moved by itself takes no contract with it.
    let seal = hashmix::flow::sale::txs::Seal {
        terms: &market.terms,
        position: market.id,
        held: &sold.held,
        outpoint: sold.seal,
    };
    let holder = &mut market.buyers[0];
    holder.trader.withdraw(&seal, &signer(&holder.name, 0), RATE).unwrap();
    market.world.settle().unwrap();
    market.elsewhere(1);
    let resale = market.resale(&mut table, 0, 4, Guard::Miner);
    let again = offered(&market, &sold, resale.clone(), 2);
    assert_eq!(buyer_accepts(&mut market, &again), "sale-seal-moved");
}

fn buyer_accepts(market: &mut Market, offer: &Offer) -> &'static str {
    let buyer = &mut market.buyers[1];
    let signer = buyer.signer();
    rule(buyer.trader.accept(offer, buyer.record.clone(), &signer, RATE))
}

/// Acceptance, the seller's consent, the buyer's.
pub(crate) fn by_seller_and_buyer(market: &mut Market, offer: &Offer) -> Vec<Event> {
    let buyer = &mut market.buyers[1];
    let his = buyer.signer();
    let acceptance = buyer.trader.accept(offer, buyer.record.clone(), &his, RATE).unwrap();
    let accepted = Event::Accepted(Box::new(acceptance));
    let seller = &mut market.buyers[0];
    let hers = seller.signer();
    let mut state = seller.trader.sale(offer).unwrap();
    seller.trader.hear(&mut state, accepted.clone()).unwrap();
    let first = seller.trader.consent(&mut state, Party::Seller, &hers, None).unwrap();
    let buyer = &mut market.buyers[1];
    let mut state = buyer.trader.sale(offer).unwrap();
    buyer.trader.hear(&mut state, Event::Consented(first.clone())).unwrap();
    let second = buyer.trader.consent(&mut state, Party::Buyer, &his, None).unwrap();
    vec![accepted, Event::Consented(first), Event::Consented(second)]
}

#[test]
fn validators_sign_for_a_silent_miner_what_is_due_to_him_included() {
    let (mut market, sold, mut table) = delivered();
    let resale = market.resale(&mut table, 0, 3, Guard::Validators);
    // Height 150, two blocks, twelve of notice: the fourth period begins at 168.
    let offer = offered(&market, &sold, resale, 2);
    by_seller_and_buyer(&mut market, &offer);
    let buyer = &mut market.buyers[1];
    let mut state = buyer.trader.sale(&offer).unwrap();
    assert_eq!(state.turn(), [0, 1, 2].map(Party::Validator));
    let facts = buyer.trader.facts(&state).unwrap();
    assert_eq!(check_offer(&offer.offer, &facts), Ok(()));
    assert_eq!(state.next(&facts, Party::Validator(2)), Ok(Effect::Sign(vec![1])));
    let (contract, offered) = (sold.contract.id().unwrap(), offer.offer.id().unwrap());
    let ask = asked(offered, state.acceptance().unwrap().acceptance.id().unwrap()).unwrap();
    let said = |contract, by: Seat, from: Seat, event: FlowEvent| {
        let message = Word::message(contract, from, &event).unwrap();
        let signature = signer(&people::name(by), 0).sign_digest(message).unwrap();
        Event::Answered(Box::new(Word::new(contract, from, event, signature)))
    };
    let signing = |ask, signatures| FlowEvent::Resale(Resold::Signed { ask, signatures });
    for place in [2, 0] {
        let exchange = state.bargain().unwrap().exchange;
        let Way::Lock(lock, Path::HolderRuling) = &exchange.parts()[1].way else { panic!() };
        let leaf = lock.leaf(Path::HolderRuling).unwrap();
        let seat = Seat::Validator(place);
        let key = leaf.keys.iter().find(|key| key.seat == seat).unwrap();
        let sighash = TapSighash::from_byte_array(exchange.sighash(1).unwrap());
        let his = signer(&people::name(seat), 0);
        let (_, one) = his.sign_leaf(LeafAccount::Leaf, &key.steps, sighash).unwrap();
        // His signature in a consent's file is none; nor is anything but his word about this sale.
        let bare = Consent {
            format: CONSENT_FORMAT.to_owned(),
            offer: offered,
            acceptance: state.acceptance().unwrap().acceptance.id().unwrap(),
            by: Party::Validator(place),
            pieces: vec![Piece { input: 1, witness: witness(&one) }],
        };
        assert_eq!(rule(state.admit(&Event::Consented(bare))), "sale-answers");
        let other = Seat::Validator(1);
        for (word, expected) in [
            (said(contract, seat, seat, signing(offered, vec![one])), "sale-answers"),
            (said(contract, seat, seat, signing(ask, vec![one, one])), "sale-answers"),
            (said(TermsId([7; 32]), seat, seat, signing(ask, vec![one])), "sale-answers"),
            (said(contract, seat, Seat::Holder, signing(ask, vec![one])), "sale-answers"),
            (said(contract, seat, seat, FlowEvent::Reward(Reward::CloseAsked)), "sale-answers"),
            // In another's name it is none of his, and no other's signature of the escrow.
            (said(contract, seat, other, signing(ask, vec![one])), "message-digest"),
            (said(contract, other, other, signing(ask, vec![one])), "tx-signature"),
        ] {
            assert_eq!(rule(state.admit(&word)), expected);
        }
        let word = said(contract, seat, seat, signing(ask, vec![one]));
        buyer.trader.hear(&mut state, word.clone()).unwrap();
        // Heard again, or too late, it adds nothing; and it is there after a restart.
        let before = state.consents().to_vec();
        buyer.trader.hear(&mut state, word).unwrap();
        assert_eq!(state.consents(), before);
        assert_eq!(buyer.trader.sale(&offer).unwrap().consents(), before);
    }
    assert!(state.turn().is_empty());
    let tx = buyer.trader.broadcast(&state, Party::Buyer).unwrap();
    let second = market.sold(&state, tx);
    assert_eq!(second.tx.output[2].value, Amount::from_sat(5_000_000), "the miner's due");
    let miner = market.terms.reward.miner.payout_script();
    assert_eq!(second.tx.output[2].script_pubkey, miner);
    assert_eq!(second.contract.tenure.as_ref().unwrap().earlier[0].until, 3);
}
