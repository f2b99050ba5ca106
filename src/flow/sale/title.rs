//! An offer held against the title: whether its seller is the one who can sell, and sells what there is.
//!
//! | the offer says | the title says |
//! |---|---|
//! | terms, position | what was issued, by the federation that the buyer pinned |
//! | seal, transfer, seller | the last move in a block, opened, and whom it names |
//! | contract, escrow | the contract in force and where the sale put its price |
//!
//! What the chain says now (seal and escrow unspent, the offer not over) is asked beside it
//! ([`check_offer`](crate::flow::sale::coins::check_offer)): a title is a story, and ends before now.

use bitcoin::OutPoint;

use crate::error::{Result, Rule};
use crate::flow::position::dossier::Dossier;
use crate::flow::position::title::{Issued, Title};
use crate::flow::sale::terms::{Held, OfferBody, Resale};
use crate::id::{RecordId, TermsId};

/// Who offers is who holds.
pub const TITLE: Rule = Rule::new(
    "sale-title",
    "an offer is its position's holder's, of the seal where it is, with the contract in force and its escrow",
    "do not pay: the dossier says who holds the position and how; ask him for an offer, and for the transfers that are missing",
);

/// How the holder of a position holds its seal: what his offers say.
pub fn held(dossier: &Dossier, title: &Title) -> Held {
    let sale = dossier.opening(title.transfer).and_then(|opening| opening.sale);
    Held { record: title.holder.clone(), number: title.transfer, sale }
}

/// Refuses an offer that is not what the title says; first a title that nobody should buy.
pub fn check_title(
    offer: &OfferBody,
    dossier: &Dossier,
    title: &Title,
    pinned: Option<RecordId>,
) -> Result<()> {
    if let Some(pinned) = pinned {
        Issued::check_federation(&offer.terms, pinned)?;
    }
    let refuse =
        |place: &str, expected: &dyn core::fmt::Display, found: &dyn core::fmt::Display| {
            Err(TITLE.refuses(offer.by(), place, expected, found))
        };
    let (ours, theirs) = (dossier.terms().id()?, offer.terms.id()?);
    if ours != theirs {
        return refuse("offer, position's terms", &ours, &theirs);
    }
    if offer.position != title.issued.position {
        return refuse("offer, position", &title.issued.position, &offer.position);
    }
    title.check()?;
    if let Some(hop) = title.waiting().next() {
        let expected = "a seal that nobody is moving";
        return refuse("offer, seal", &expected, &format_args!("{} moves it", hop.txid));
    }
    match title.seal() {
        Some(seal) if seal == offer.seal => {}
        Some(seal) => return refuse("offer, seal", &seal, &offer.seal),
        None => return refuse("offer, seal", &"a seal", &title.standing),
    }
    let (holder, seller) = (held(dossier, title), &offer.seller);
    if holder.record != seller.record {
        return refuse("offer, seller", &holder.record.id()?, &seller.record.id()?);
    }
    if (holder.number, holder.sale) != (seller.number, seller.sale) {
        return refuse("offer, seller", &words(&holder), &words(seller));
    }
    let in_force = title.contract();
    let binding = in_force.map(|sold| sold.terms.id()).transpose()?;
    let taken = offer.resale.as_ref().map(|resale| resale.contract.id()).transpose()?;
    if binding != taken {
        return refuse("offer, contract", &contract(binding), &contract(taken));
    }
    let Some((sold, resale)) = in_force.zip(offer.resale.as_ref()) else { return Ok(()) };
    check_escrow(OutPoint::new(sold.txid, 1), resale)
        .or_else(|(expected, found)| refuse("offer, escrow", &expected, &found))
}

/// Before the first settlement the escrow is where the sale put it; later ones
/// [`progress`](crate::flow::escrow::coins::progress) follows from there.
fn check_escrow(funded: OutPoint, resale: &Resale) -> Result<(), (String, String)> {
    let before = resale.index == 0;
    if before == (resale.escrow == funded) && (!before || resale.value == resale.contract.price) {
        return Ok(());
    }
    let expected = match before {
        true => format!("{funded}, {}", resale.contract.price),
        false => format!("an output after {} settlements", resale.index),
    };
    Err((expected, format!("{}, {}", resale.escrow, resale.value)))
}

fn words(held: &Held) -> String {
    format!("transfer {}, {}", held.number, contract(held.sale))
}

fn contract(id: Option<TermsId>) -> String {
    id.map_or_else(|| "no contract".to_owned(), |id| format!("the contract {id}"))
}
