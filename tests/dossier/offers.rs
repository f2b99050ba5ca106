//! Offers against the title: what the holder offers passes, and every other offer is refused.

use bitcoin::{Amount, OutPoint};
use hashmix::error::Result;
use hashmix::flow::escrow::txs::Outcome;
use hashmix::flow::position::coins::retirement;
use hashmix::flow::sale::terms::{Guard, Held, OFFER_FORMAT, OfferBody, Resale};
use hashmix::flow::sale::title::{check_title, held};

use crate::made::{Story, anybody, coin, follow, holder_record, terms};

/// What the holder offers, as the story has it.
fn offer(story: &Story) -> OfferBody {
    let dossier = story.dossier().unwrap();
    let last = dossier.openings().last();
    let record = last.map_or(&story.terms.reward.holder, |opening| &opening.transfer.record);
    let sale = last.and_then(|opening| opening.sale);
    let seller = Held { record: record.clone(), number: story.moves, sale };
    let resale = story.open.as_ref().map(|open| Resale {
        contract: open.terms.clone(),
        escrow: open.outpoint,
        index: open.index,
        value: value(story, open.outpoint),
        outcome: Outcome { period: 1, earned: Amount::from_sat(10_000_000), closes: false },
        switch: 4,
        guard: Guard::Miner,
    });
    OfferBody {
        format: OFFER_FORMAT.to_owned(),
        position: story.position(),
        terms: story.terms.clone(),
        seal: story.seal().0,
        seller,
        price: Amount::from_sat(30_000_000),
        first: if resale.is_some() { 2 } else { 0 },
        expires: 130,
        resale,
    }
}

fn value(story: &Story, outpoint: OutPoint) -> Amount {
    let made = story.txs.iter().find(|(tx, _)| tx.compute_txid() == outpoint.txid).unwrap();
    made.0.output[outpoint.vout as usize].value
}

fn checked(story: &Story, offer: &OfferBody) -> Result<()> {
    let dossier = story.dossier()?;
    let title = follow(&dossier, &story.txs)?;
    check_title(offer, &dossier, &title, Some(terms("rehearsal").issuer.id()?))
}

fn refused(story: &Story, offer: &OfferBody) -> (&'static str, String) {
    let error = checked(story, offer).unwrap_err();
    (error.rule(), error.to_string())
}

/// Sold and settled once, and the seal moved by its holder to himself.
fn lived() -> Story {
    let mut story = Story::in_memory("rehearsal");
    story.sell(1, 60_000_000, 0);
    story.settle(10_000_000);
    story.withdraw();
    story
}

#[test]
fn what_the_holder_offers_is_what_the_title_says() {
    let mut story = Story::in_memory("rehearsal");
    checked(&story, &offer(&story)).unwrap();
    story.withdraw();
    checked(&story, &offer(&story)).unwrap();
    story.sell(1, 60_000_000, 0);
    checked(&story, &offer(&story)).unwrap();
    story.settle(10_000_000);
    checked(&story, &offer(&story)).unwrap();
    story.withdraw();
    checked(&story, &offer(&story)).unwrap();
    story.resell(2, story.resale(40_000_000, 2, 3));
    let last = offer(&story);
    checked(&story, &last).unwrap();
    let dossier = story.dossier().unwrap();
    assert_eq!(held(&dossier, &follow(&dossier, &story.txs).unwrap()), last.seller);
}

#[test]
fn an_offer_of_somebody_who_is_not_the_holder_is_refused() {
    let story = lived();
    let good = offer(&story);
    let mut other = good.clone();
    other.seller.record = holder_record(2);
    let (rule, words) = refused(&story, &other);
    assert_eq!(rule, "sale-title");
    assert!(words.contains("seller"), "{words}");
    // The miner, who has sold it.
    let issued = Story::in_memory("rehearsal");
    let (rule, _) = refused(&story, &offer(&issued));
    assert_eq!(rule, "sale-title");
    // The holder, under another number or contract.
    for change in [
        (|held: &mut Held| held.number -= 1) as fn(&mut Held),
        |held| held.number += 1,
        |held| held.sale = None,
    ] {
        let mut other = good.clone();
        change(&mut other.seller);
        let (rule, words) = refused(&story, &other);
        assert_eq!(rule, "sale-title");
        assert!(words.contains("transfer 2"), "{words}");
    }
}

#[test]
fn an_offer_of_a_seal_that_moved_or_that_somebody_moves_is_refused() {
    let mut story = lived();
    let before = offer(&story);
    let mut other = before.clone();
    other.seal.vout = 1;
    assert_eq!(refused(&story, &other).0, "sale-title");
    story.withdraw();
    let (rule, words) = refused(&story, &before);
    assert_eq!(rule, "sale-title");
    assert!(words.contains(&story.seal().0.to_string()), "{words}");
    // While it waits, neither the old offer nor the new one.
    let new = offer(&story);
    story.txs.last_mut().unwrap().1 = None;
    for offer in [&before, &new] {
        let (rule, words) = refused(&story, offer);
        assert_eq!(rule, "sale-title");
        assert!(words.contains("moves it"), "{words}");
    }
}

#[test]
fn an_offer_of_another_position_or_of_other_terms_is_refused() {
    let story = lived();
    let mut other = offer(&story);
    other.position.0[0] ^= 1;
    assert_eq!(refused(&story, &other).0, "sale-title");
    let mut other = offer(&story);
    other.terms.efficiency = 1_500;
    assert_eq!(refused(&story, &other).0, "sale-title");
}

#[test]
fn an_offer_with_another_contract_or_escrow_than_is_in_force_is_refused() {
    let mut story = Story::in_memory("rehearsal");
    story.sell(1, 60_000_000, 0);
    for change in [
        (|resale: &mut Resale| resale.contract.price = Amount::from_sat(50_000_000)) as fn(&mut _),
        |resale| resale.escrow.vout = 2,
        |resale| resale.value = Amount::from_sat(50_000_000),
        |resale| resale.index = 1,
    ] {
        let mut other = offer(&story);
        change(other.resale.as_mut().unwrap());
        let (rule, words) = refused(&story, &other);
        assert_eq!(rule, "sale-title", "{words}");
    }
    let mut other = offer(&story);
    other.resale = None;
    let (rule, words) = refused(&story, &other);
    assert_eq!(rule, "sale-title");
    assert!(words.contains("no contract"), "{words}");
}

#[test]
fn an_offer_of_a_position_that_another_federation_issued_is_refused() {
    let story = Story::in_memory("foreign");
    assert_eq!(refused(&story, &offer(&story)).0, "title-federation");
}

#[test]
fn an_offer_of_a_position_with_a_hidden_move_is_refused() {
    let mut story = lived();
    story.withdraw();
    let mut hidden = story.clone();
    hidden.transfers.pop();
    assert_eq!(refused(&hidden, &offer(&story)).0, "title-unopened");
    checked(&story, &offer(&story)).unwrap();
}

#[test]
fn an_offer_of_a_position_that_is_over_is_refused() {
    let mut story = lived();
    let before = offer(&story);
    let end = retirement(&story.terms).unwrap().script_pubkey;
    let inputs = [story.seal(), story.spare()];
    story.moves(&inputs, vec![coin(10_000, end), coin(99_990_000, anybody())], None);
    assert_eq!(refused(&story, &before).0, "title-retired");
}
