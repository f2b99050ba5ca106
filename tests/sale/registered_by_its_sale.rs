//! A buyer registers what he has bought: alone, after paying, and nobody can be before him.

use bitcoin::{FeeRate, OutPoint, TxOut};
use hashmix::flow::position::coins::{POSTAGE, transferred_seal};
use hashmix::flow::sale::consent::Party;
use hashmix::flow::sale::state::Event as SaleEvent;
use hashmix::flow::sale::terms::{Held, Offer};
use hashmix::flow::word::Word;
use hashmix::flow::{Event, reward};
use hashmix::id::TermsId;
use hashmix::party::Seat;
use hashmix::validator::desk::Desk;
use hashmix::validator::registration::Registration;
use hashmix::validator::request::{REQUEST_FORMAT, REQUEST_MAX_BYTES, Request};

use crate::life::{deliver, resell};
use crate::market::{Market, RATE, START, Sold, Table, signed};
use crate::proxy::Proxy;

const PRICE: u64 = 60_000_000;

fn registered(desk: &mut Desk, registration: &Registration) -> Result<TermsId, &'static str> {
    desk.register(&registration.to_json().unwrap()).map_err(|error| error.rule())
}

#[test]
fn an_exchange_that_is_in_no_block_registers_nothing_and_one_that_is_needs_no_signature() {
    let mut market = Market::issued();
    let second = Proxy::to(&market.url());
    let mut desk = market.attested(&second.url(), 0, "desk");
    let offer = market.offer(PRICE, 0, 120);
    let (registration, state) = accepted(&mut market, &offer, 0);
    assert_eq!(registered(&mut desk, &registration), Err("policy-registry-sold"), "not sent");
    let tx = market.buyers[0].trader.broadcast(&state, Party::Buyer).unwrap();
    market.world.settle().unwrap();
    assert_eq!(registered(&mut desk, &registration), Err("policy-registry-sold"), "it waits");
    let sold = market.sold(&state, tx);
    assert_eq!(sold.registration, registration);
    let id = sold.contract.id().unwrap();
    assert_eq!(registered(&mut desk, &registration), Ok(id));
    // Again, and after a restart, nothing changes.
    assert_eq!(registered(&mut desk, &registration), Ok(id));
    drop(desk);
    let desk = market.desk(&second.url(), 0, "desk");
    assert_eq!((desk.registered(), desk.unread().len()), (vec![id], 0));
}

#[test]
fn a_stranger_registers_no_position_of_which_this_desk_has_not_registered_the_miner() {
    let mut market = Market::issued();
    let second = Proxy::to(&market.url());
    let sold = market.sell(&market.offer(PRICE, 0, 120), 0);
    let mut desk = market.desk(&second.url(), 0, "desk");
    let unknown = Err("policy-registry-issued");
    assert_eq!(registered(&mut desk, &sold.registration), unknown);
    assert_eq!(desk.registered(), []);
    // Another desk's memory is of no use to this one.
    market.bind(0, "another desk");
    assert_eq!(registered(&mut desk, &sold.registration), unknown);
    // While the desk works, its validator registers the miner.
    market.bind(0, "desk");
    assert_eq!(registered(&mut desk, &sold.registration), Ok(sold.contract.id().unwrap()));
}

#[test]
fn a_puppet_who_registers_a_false_seal_first_keeps_no_honest_buyer_out() {
    let mut market = Market::issued();
    let second = Proxy::to(&market.url());
    let mut desk = market.attested(&second.url(), 0, "desk");
    // The miner withdraws the true seal, so that its next transfer has number 2; and he pays a false
    // one, which says the same of itself.
    let first = market.miner.record.clone();
    let held = Held { record: first.clone(), number: 1, sale: None };
    let script_pubkey = transferred_seal(market.id, 1, &first, None).unwrap().script_pubkey;
    let false_seal = TxOut { value: POSTAGE, script_pubkey };
    let rate = FeeRate::from_sat_per_vb(RATE).unwrap();
    let tx = market.miner.trader.wallet().unwrap().fund(&[false_seal], rate).unwrap();
    let false_seal = OutPoint::new(market.send(&tx), 0);
    let (at, issued) = market.at_issue();
    let seal = hashmix::flow::sale::txs::Seal {
        terms: &market.terms,
        position: market.id,
        held: &issued,
        outpoint: at,
    };
    let signer = market.miner.signer();
    let moved = market.miner.trader.withdraw(&seal, &signer, RATE).unwrap().tx;
    market.world.settle().unwrap();
    market.elsewhere(1);
    let true_seal = OutPoint::new(moved.compute_txid(), 0);

    let mut sell = |seal: OutPoint, buyer: usize| {
        let expires = market.height() + 10;
        let body = market.body(seal, held.clone(), PRICE, 1, expires, None);
        let offer = signed(body, &market.miner.signer());
        market.sell(&offer, buyer)
    };
    let (puppets, honest) = (sell(false_seal, 1), sell(true_seal, 0));
    for sold in [&puppets, &honest] {
        assert_eq!(sold.contract.tenure.as_ref().unwrap().transfer, 2);
    }
    assert_eq!(
        registered(&mut desk, &puppets.registration),
        Ok(puppets.contract.id().unwrap()),
        "it costs the miner his own money"
    );
    assert_eq!(registered(&mut desk, &honest.registration), Ok(honest.contract.id().unwrap()));
    assert_eq!(desk.registered().len(), 2);
}

#[test]
fn somebody_who_is_not_the_first_holder_sells_nothing_first_whatever_number_he_names() {
    let market = Market::issued();
    let puppet = &market.buyers[0];
    for number in [0, 1, 7] {
        let held = Held { record: puppet.record.clone(), number, sale: None };
        let body = market.body(market.at_issue().0, held, PRICE, 0, 120, None);
        assert_eq!(signed(body, &puppet.signer()).check().unwrap_err().rule(), "sale-seller");
    }
    let held = Held { record: market.miner.record.clone(), number: 7, sale: None };
    let body = market.body(market.at_issue().0, held, PRICE, 0, 120, None);
    signed(body, &market.miner.signer()).check().unwrap();
}

#[test]
fn a_desk_brings_what_was_sealed_into_the_contracts_after_it_once_and_into_none_that_is_over() {
    let mut market = Market::issued();
    let second = Proxy::to(&market.url());
    let mut desk = market.attested(&second.url(), 0, "desk");
    let first = market.sell(&market.offer(PRICE, 0, 120), 0);
    registered(&mut desk, &first.registration).unwrap();
    let mut table = market.table(&first.contract, 0);
    market.elsewhere_until(START - 1);
    for slice in 0..3 {
        deliver(&mut market, &mut table, &first.contract, slice);
    }
    hand_in(&mut desk, &mut table, &first);

    // Period 1 is settled by the resale; what periods 2 and 3 have proven the next contract pays for.
    let (next, _) = resell(&mut market, &mut table, &first, 0, 0, 6, 30_000_000);
    registered(&mut desk, &next.registration).unwrap();
    let mut later = market.table(&next.contract, 1);
    later.holder.carry(table.holder.contract().evidence()).unwrap();
    later.everybody(market.world.as_ref());
    market.mine_until(&next.contract, next.contract.ruling_height(1).unwrap(), 20);
    later.everybody(market.world.as_ref());
    let (last, _) = resell(&mut market, &mut later, &next, 1, 1, 8, 25_000_000);
    registered(&mut desk, &last.registration).unwrap();

    step(&mut desk);
    assert_eq!(said(&desk, &next), (0, vec![]), "its escrow is over");
    // The third period's receipts, then its certificate.
    assert_eq!(said(&desk, &last), (1, vec![2]));
    step(&mut desk);
    assert_eq!(said(&desk, &last), (1, vec![2]), "nothing is said twice");
    drop(desk);
    let mut desk = market.desk(&second.url(), 0, "desk");
    step(&mut desk);
    assert_eq!(said(&desk, &last), (1, vec![2]), "nor after a restart");
}

fn step(desk: &mut Desk) {
    for (id, stepped) in desk.step_all() {
        stepped.unwrap_or_else(|error| panic!("{id}: {error}"));
    }
}

/// What this desk has said in a contract: words with carried receipts, and slices of certificates.
fn said(desk: &Desk, sold: &Sold) -> (usize, Vec<u32>) {
    let (mut carried, mut certified) = (0, Vec::new());
    for word in desk.words(sold.contract.id().unwrap(), 0, usize::MAX).unwrap() {
        match (word.word.from, word.word.event) {
            (Seat::Validator(0), Event::Reward(reward::state::Event::Carried { .. })) => {
                carried += 1;
            }
            (Seat::Validator(0), Event::Reward(reward::state::Event::Certified(one))) => {
                certified.push(one.slice);
            }
            _ => {}
        }
    }
    (carried, certified)
}

/// Brings to a desk what was said at a table.
fn hand_in(desk: &mut Desk, table: &mut Table, sold: &Sold) {
    let id = sold.contract.id().unwrap();
    let entries = table.holder.store().entries(&id.0).unwrap();
    let words = entries.into_iter().filter(|entry| entry.kind == "word");
    let words: Vec<Word> =
        words.map(|e| Word::from_json(&String::from_utf8(e.body).unwrap()).unwrap()).collect();
    // Of the desk's own seat the table has heard what the desk has not said.
    let words: Vec<Word> = words.into_iter().filter(|w| w.from != Seat::Validator(0)).collect();
    let (from, key) = (Seat::Miner, "all of it".to_owned());
    let digest = Request::message(id, from, &key, &words, None).unwrap();
    let signature =
        crate::market::signer(&hashmix::rehearsal::people::name(from), 0).sign_digest(digest);
    let (format, signature) = (REQUEST_FORMAT.to_owned(), signature.unwrap());
    let request = Request { format, contract: id, from, key, words, psbt: None, signature };
    desk.hand_in(&request.to_json().unwrap(), REQUEST_MAX_BYTES).unwrap();
}

/// A first sale that both have signed and nobody has sent.
fn accepted(
    market: &mut Market,
    offer: &Offer,
    buyer: usize,
) -> (Registration, hashmix::flow::sale::state::State) {
    let to = &mut market.buyers[buyer];
    let signer = to.signer();
    let acceptance = to.trader.accept(offer, to.record.clone(), &signer, RATE).unwrap();
    let mut his = market.miner.trader.sale(offer).unwrap();
    let accepted = SaleEvent::Accepted(Box::new(acceptance.clone()));
    market.miner.trader.hear(&mut his, accepted).unwrap();
    let seller = market.miner.signer();
    let consent = market.miner.trader.consent(&mut his, Party::Seller, &seller, None).unwrap();
    let mut state = to.trader.sale(offer).unwrap();
    to.trader.hear(&mut state, SaleEvent::Consented(consent)).unwrap();
    to.trader.consent(&mut state, Party::Buyer, &signer, None).unwrap();
    (Registration::of_sale(offer.clone(), acceptance).unwrap(), state)
}
