//! The miner falls silent; the holder sells all the same. Two of three validators sign in the miner's
//! place after the answer span, the new contract is registered without him, and closed by a ruling.

use bitcoin::{Amount, Txid};
use hashmix::engine::Report;
use hashmix::flow::Event as FlowEvent;
use hashmix::flow::escrow::coins::Progress;
use hashmix::flow::escrow::outcome::outcome;
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::flow::resale::state::Event as ResaleEvent;
use hashmix::flow::resale::terms::Request;
use hashmix::flow::sale::consent::Party;
use hashmix::flow::sale::state::Event;
use hashmix::flow::sale::terms::{Guard, Offer};
use hashmix::party::Seat;
use hashmix::rehearsal::world::World;
use hashmix::script::lock::Path;
use hashmix::validator::desk::Desk;
use hashmix::validator::registration::Registration;

use crate::market::{Market, RATE, START, Sold, Table, signed};
use crate::proxy::Proxy;

const PRICE: u64 = 60_000_000;
/// One of twelve.
const INSTALLMENT: u64 = PRICE / 12;

/// Mines a slice with more shares than agreed, seals it, and lets everybody answer.
fn deliver(market: &mut Market, table: &mut Table, contract: &EscrowTerms, slice: u32) {
    market.mine_until(contract, START + 12 * (slice + 1) - 1, 20);
    let certificate = market.machines.certificate(contract, slice).unwrap();
    table.miner.certify(certificate).unwrap();
    table.everybody(market.world.as_ref());
}

/// The holder and two validators step until nobody has anything to say; the others are away.
fn without_the_miner(table: &mut Table, world: &dyn World) -> Vec<(Txid, Path)> {
    let mut sent: Vec<(Txid, Path)> = Vec::new();
    for _ in 0..12 {
        let mut stirred = false;
        for engine in [&mut table.holder].into_iter().chain(table.validators.iter_mut().take(2)) {
            for report in engine.step().unwrap() {
                match report {
                    Report::Sent(one) => sent.push((one.tx.compute_txid(), one.path)),
                    Report::Said(_) | Report::Heard(..) => {}
                    _ => continue,
                }
                stirred = true;
            }
            world.settle().unwrap();
        }
        if !stirred {
            break;
        }
    }
    sent
}

/// An offer that leaves the miner's notice to validators.
fn offer(market: &Market, table: &mut Table, sold: &Sold, price: u64, expires: u32) -> Offer {
    let resale = market.resale(table, 2, 6, Guard::Validators);
    let (seal, held) = (sold.seal, sold.held.clone());
    let body = market.body(seal, held, price, 3, expires, Some(resale));
    signed(body, &market.buyers[0].signer())
}

/// Holder and buyer sign everything but the miner's part.
fn agreed(market: &mut Market, offer: &Offer, buyer: usize) -> Request {
    let to = &mut market.buyers[buyer];
    let signer = to.signer();
    let acceptance = to.trader.accept(offer, to.record.clone(), &signer, RATE).unwrap();
    let from = &mut market.buyers[0];
    let mut state = from.trader.sale(offer).unwrap();
    from.trader.hear(&mut state, Event::Accepted(Box::new(acceptance.clone()))).unwrap();
    let his = from.signer();
    let seller = from.trader.consent(&mut state, Party::Seller, &his, None).unwrap();
    let to = &mut market.buyers[buyer];
    let mut state = to.trader.sale(offer).unwrap();
    to.trader.hear(&mut state, Event::Consented(seller.clone())).unwrap();
    let buyer = to.trader.consent(&mut state, Party::Buyer, &signer, None).unwrap();
    Request { offer: offer.clone(), acceptance, seller, buyer }
}

fn registered(desk: &mut Desk, registration: &Registration) -> Result<(), &'static str> {
    desk.register(&registration.to_json().unwrap()).map(|_| ()).map_err(|error| error.rule())
}

#[test]
fn a_holder_sells_without_the_miner_and_his_buyer_is_ruled_for_later() {
    let mut market = Market::issued();
    let first = market.sell(&market.offer(PRICE, 0, 120), 0);
    let old = first.contract.clone();
    let mut table = market.table(&old, 0);
    register_before(&market, &first);

    // Two periods are delivered; then the miner is gone.
    market.elsewhere_until(START - 1);
    deliver(&mut market, &mut table, &old, 0);
    deliver(&mut market, &mut table, &old, 1);
    market.elsewhere_until(old.ruling_height(2).unwrap());
    without_the_miner(&mut table, market.world.as_ref());

    let expires = market.height() + 10;
    let offer = offer(&market, &mut table, &first, 30_000_000, expires);
    let asked = agreed(&mut market, &offer, 1);
    table.holder.ask_resale(asked.clone()).unwrap();
    assert_eq!(without_the_miner(&mut table, market.world.as_ref()), [], "the miner may answer");
    market.elsewhere(old.delays.answer - 1);
    assert_eq!(without_the_miner(&mut table, market.world.as_ref()), [], "a block too early");
    market.elsewhere(1);
    let sent = without_the_miner(&mut table, market.world.as_ref());
    let Some((txid, path)) = sent.first().copied() else { panic!("nothing was sent") };
    assert!(sent.iter().all(|(other, _)| *other == txid), "one transaction: {sent:?}");
    assert_eq!(path, Path::HolderRuling);
    market.elsewhere(1);

    // The miner is paid in full, the rest is the buyer's escrow.
    let facts = table.holder.facts().unwrap();
    let progress = table.holder.contract().locked().progress(&facts).unwrap();
    assert!(matches!(progress, Progress::Ended { by, height: Some(_) } if by == txid));
    let tx = facts.transactions[&txid].tx.clone();
    println!("resale without the miner: {} vB", tx.vsize());
    let paid = |sats: u64| Amount::from_sat(sats);
    assert_eq!(tx.output[1].value, paid(INSTALLMENT * 10));
    assert_eq!(tx.output[2].value, paid(INSTALLMENT * 2));
    assert_eq!(tx.output[2].script_pubkey, old.reward.miner.payout_script());
    assert_eq!(tx.output[3].value, paid(30_000_000));

    // The miner comes back, and finds in his letters what his machines have to pay from when on.
    let heard = table.miner.step().unwrap();
    let new = offer.offer.contract(&market.buyers[1].record).unwrap();
    let told = heard.iter().any(|report| {
        matches!(report, Report::Heard(Seat::Holder, FlowEvent::Resale(ResaleEvent::Asked(request)))
            if **request == asked)
    });
    assert!(told, "{heard:?}");
    assert_eq!(new.tenure.as_ref().unwrap().earlier[0].until, 6);

    register(&mut market, &old, &new, &asked);

    // Nothing more is delivered: the new holder has the contract closed, and all of it is his.
    let mut table = market.table(&new, 1);
    let closing = (3..12).find(|period| {
        market.elsewhere_until(new.ruling_height(*period).unwrap());
        let facts = table.holder.facts().unwrap();
        let contract = table.holder.contract();
        outcome(&new, &facts, contract.evidence(), *period).unwrap().closes
    });
    without_the_miner(&mut table, market.world.as_ref());
    table.holder.open_dispute(closing.unwrap(), RATE).unwrap();
    without_the_miner(&mut table, market.world.as_ref());
    market.elsewhere(new.delays.answer);
    let sent = without_the_miner(&mut table, market.world.as_ref());
    assert_eq!(sent.len(), 1);
    market.elsewhere(1);
    let facts = table.holder.facts().unwrap();
    let progress = table.holder.contract().locked().progress(&facts).unwrap();
    assert!(matches!(progress, Progress::Ended { by, .. } if by == sent[0].0));
    let tx = &facts.transactions[&sent[0].0].tx;
    assert_eq!(tx.output[0].script_pubkey, new.reward.holder.payout_script());
    assert!(tx.output[0].value > paid(INSTALLMENT * 10 - 30_000), "less ruling and fee");
}

/// The old contract comes to a desk by its own sale.
fn register_before(market: &Market, first: &Sold) {
    let second = Proxy::to(&market.world.electrum_url());
    let mut desk = market.attested(&second.url(), 0, "desk");
    assert_eq!(registered(&mut desk, &first.registration), Ok(()));
}

/// The new contract comes to it by the resale, in which the miner had no part, by rule.
fn register(market: &mut Market, old: &EscrowTerms, new: &EscrowTerms, asked: &Request) {
    let second = Proxy::to(&market.world.electrum_url());
    let mut desk = market.desk(&second.url(), 0, "desk");
    let (offer, acceptance) = (asked.offer.clone(), asked.acceptance.clone());
    let later = Registration::of_sale(offer, acceptance).unwrap();
    assert_eq!(later.terms, *new);
    let unsold = Registration::new(new.clone());
    assert_eq!(registered(&mut desk, &unsold), Err("policy-registry-way"));
    let mut stranger = market.attested(&second.url(), 1, "another desk");
    assert_eq!(registered(&mut stranger, &later), Err("policy-registry-before"));
    assert_eq!(registered(&mut desk, &later), Err("policy-registry-resold"), "not deep enough");
    market.elsewhere(old.delays.state_depth - 1);
    let mut other = later.clone();
    other.terms.price -= Amount::ONE_SAT;
    assert_eq!(registered(&mut desk, &other), Err("policy-registry-derived"));
    assert_eq!(registered(&mut desk, &later), Ok(()));
    let standing = desk.standing(new.id().unwrap()).unwrap();
    assert_eq!(standing.trouble, None);
    assert!(standing.escrow.is_some_and(|escrow| escrow.sat == INSTALLMENT * 10));
    // It is there after a restart.
    drop(desk);
    let desk = market.desk(&second.url(), 0, "desk");
    assert_eq!(desk.registered().len(), 2);
}
