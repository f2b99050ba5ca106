//! The one transaction of a resale: the exchange of its offer and acceptance.

use crate::error::{Result, Rule};
use crate::flow::resale::terms::Request;
use crate::flow::sale::consent::Party;
use crate::flow::sale::txs::{Bargain, compared};
use crate::tx::exchange::{Exchange, Exchanging};

/// A request is complete but for the validators.
pub const CONSENTED: Rule = Rule::new(
    "resale-consented",
    "a request holds the seller's consent and the buyer's, both to this offer and acceptance",
    "let both sign first",
);

/// The new contract's terms and the exchange, rebuilt and held to the buyer's PSBT.
pub fn bargain(request: &Request) -> Result<Bargain> {
    compared(&request.offer, &request.acceptance)
}

/// The exchange with the signatures of seller and buyer, each verified: of every input, and of the
/// escrow's all but the validators'.
pub fn consented(request: &Request, exchange: Exchange) -> Result<Exchanging> {
    let offer = &request.offer.offer;
    let ids = (offer.id()?, request.acceptance.acceptance.id()?);
    let mut signing = Exchanging::new(exchange);
    for (party, consent) in [(Party::Seller, &request.seller), (Party::Buyer, &request.buyer)] {
        let by = party.culprit(offer);
        if consent.by != party {
            return Err(CONSENTED.refuses(by, "consent", party, consent.by));
        }
        let theirs = (consent.offer, consent.acceptance);
        if theirs != ids {
            let shown = |(offer, acceptance)| format!("offer {offer}, acceptance {acceptance}");
            let place = format_args!("consent of the {party}").to_string();
            return Err(CONSENTED.refuses(by, place, shown(ids), shown(theirs)));
        }
        consent.add_to(offer, &mut signing)?;
    }
    Ok(signing)
}
