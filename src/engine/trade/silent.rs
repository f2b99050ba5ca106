//! The holder asks validators to sign a resale in the place of a silent miner: the word that he says in
//! the contract before, for a file.
//!
//! An engine that sits at that contract says the same word by
//! [`ask_resale`](crate::engine::Engine::ask_resale); it is signed by the same key, and is the same word.
//! What validators answer comes back as words too, and [`Trader::hear`] takes their signatures out.

use super::{Trader, check_signer, untimely};
use crate::engine::READABLE;
use crate::error::Result;
use crate::facts::Facts;
use crate::flow;
use crate::flow::resale::state::Event as Said;
use crate::flow::resale::terms::Request;
use crate::flow::sale::coins::check_last;
use crate::flow::sale::consent::{Consent, Party};
use crate::flow::sale::state::{Effect, State};
use crate::flow::sale::terms::Offer;
use crate::flow::word::Word;
use crate::party::Seat;
use crate::sign::software::SoftwareSigner;

/// The kind under which lies beside a sale up to which word somebody's words in the contract were read.
const READ: &str = "read";

impl Trader {
    /// Number of the last word that was read at `server`; words behind it may hold signatures of the sale.
    pub fn read_upto(&self, offer: &Offer, server: &str) -> Result<u64> {
        let mut upto = 0;
        for entry in self.store.entries(&offer.offer.id()?.0)? {
            if entry.kind == READ {
                let (of, number): (String, u64) =
                    serde_json::from_slice(&entry.body).map_err(|error| {
                        let place = format_args!("event {}", entry.seq).to_string();
                        READABLE.unstored(place, "the number of a word", error)
                    })?;
                upto = if of == server { number } else { upto };
            }
        }
        Ok(upto)
    }

    /// Stores up to which word was read at `server`, after what it says of the sale was heard.
    pub fn note_read(&mut self, offer: &Offer, server: &str, upto: u64) -> Result<()> {
        if self.read_upto(offer, server)? == upto {
            return Ok(());
        }
        let body = serde_json::to_vec(&(server, upto))
            .map_err(|error| READABLE.broken("number of a word", "JSON", error))?;
        self.append(&offer.offer.id()?.0, &[(READ, body)], None)
    }

    /// The holder's word to validators: the whole sale, signed by seller and buyer. Refused while one of
    /// them has not signed, and what validators would refuse anyway as far as it can be known here.
    pub fn ask(&self, state: &State, facts: &Facts, signer: &SoftwareSigner) -> Result<Word> {
        let offer = state.offer();
        check_signer(&offer.offer.seller.record, signer)?;
        let by = |party| state.consents().iter().find(|consent: &&Consent| consent.by == party);
        let said = (state.acceptance(), by(Party::Seller), by(Party::Buyer));
        let (Some(acceptance), Some(seller), Some(buyer)) = said else {
            return Err(untimely(Party::Seller, &state.next(facts, Party::Seller)?));
        };
        let request = Request {
            offer: offer.clone(),
            acceptance: acceptance.clone(),
            seller: seller.clone(),
            buyer: buyer.clone(),
        };
        // What is no resale is told so before anything else is asked.
        let contract = match &offer.offer.resale {
            Some(resale) => resale.contract.clone(),
            None => offer.offer.as_if_kept()?,
        };
        request.left(&contract)?;
        match state.next(facts, Party::Seller)? {
            Effect::Wait(_) if matches!(state.turn().first(), Some(Party::Validator(_))) => {}
            Effect::Void(error) | Effect::Overdue { over: error, .. } => return Err(error),
            other => return Err(untimely(Party::Seller, &other)),
        }
        check_last(&offer.offer, facts.tip())?;
        let event = flow::Event::Resale(Said::Asked(Box::new(request)));
        let id = contract.id()?;
        let signature = signer.sign_digest(Word::message(id, Seat::Holder, &event)?)?;
        Ok(Word::new(id, Seat::Holder, event, signature))
    }
}
