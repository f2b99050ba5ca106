//! The sale and the resale: an offer, its acceptance, and each signature in its turn.

use bitcoin::{Amount, OutPoint};

use super::{BUYERS, Life, POSITION, PRICE, RATE, RESOLD, Sold, Table, missing};
use crate::engine::Engine;
use crate::error::Result;
use crate::flow::escrow::coins::Progress;
use crate::flow::escrow::outcome::outcome;
use crate::flow::position::dossier::{Issue, Transfer};
use crate::flow::position::papers::Papers;
use crate::flow::sale::consent::Party;
use crate::flow::sale::state::Event;
use crate::flow::sale::terms::{Guard, Held, OFFER_FORMAT, Offer, OfferBody, Resale};
use crate::id::PositionId;
use crate::party::Seat;
use crate::rehearsal::deal::Moment;
use crate::rehearsal::position as cast;
use crate::sign::software::SoftwareSigner;

impl Life<'_> {
    /// The first sale.
    pub(super) fn sell(&mut self, issue: &Issue) -> Result<Sold> {
        self.chapter(
            "The sale",
            "one transaction: the seal to the buyer, his price into the escrow; each side builds it by \
             itself, compares, and signs",
        );
        let held = Held { record: self.miner.record.clone(), number: 0, sale: None };
        let at = (issue.position(), issue.seal());
        let offer = self.offered(at, held, PRICE, (0, 3), None)?;
        let offer = signed(offer, &self.miner.signer)?;
        self.note(&format!("miner offers the whole term for {} sat", PRICE.to_sat()))?;
        let papers = Papers::new(self.terms.clone(), issue.clone())?;
        self.exchanged(&offer, None, 0, &papers)
    }

    fn offered(
        &self,
        (position, seal): (PositionId, OutPoint),
        seller: Held,
        price: Amount,
        (first, blocks): (u32, u32),
        resale: Option<Resale>,
    ) -> Result<OfferBody> {
        Ok(OfferBody {
            format: OFFER_FORMAT.to_owned(),
            position,
            terms: self.terms.clone(),
            seal,
            seller,
            price,
            first,
            expires: self.world.height()?.saturating_add(blocks),
            resale,
        })
    }

    /// From the acceptance to the block. `miner` judges a resale and signs last.
    fn exchanged(
        &mut self,
        offer: &Offer,
        miner: Option<&Engine>,
        buyer: usize,
        papers: &Papers,
    ) -> Result<Sold> {
        let pinned = Some(self.terms.issuer.id()?);
        let (name, height) = (BUYERS.get(buyer).copied().unwrap_or_default(), self.height()?);
        let (before, others) = self.buyers.split_at_mut(buyer);
        let to = others.first_mut().ok_or_else(|| missing("sale", "a buyer"))?;
        let seller = before.last_mut().unwrap_or(&mut self.miner);
        let listen = &mut *self.listen;
        let mut note = |text: &str| listen(Moment::Note(height, text.to_owned()));

        let (_, title) = to.trader.prove(offer, papers, pinned)?;
        note(&format!(
            "{name} proves by the dossier who sells: the holder as of move {} of the seal",
            title.transfer
        ));
        let acceptance = to.trader.accept(offer, to.record.clone(), &to.signer, RATE)?;
        let accepted = Event::Accepted(Box::new(acceptance));
        note(&format!("{name} accepts; his coins are reserved"));
        let mut his = seller.trader.sale(offer)?;
        seller.trader.hear(&mut his, accepted.clone())?;
        let first = seller.trader.consent(&mut his, Party::Seller, &seller.signer, None)?;
        note("the seller signs the seal's input");
        let mut state = to.trader.sale(offer)?;
        to.trader.hear(&mut state, Event::Consented(first.clone()))?;
        let second = to.trader.consent(&mut state, Party::Buyer, &to.signer, None)?;
        note(&format!("{name} signs his coins"));
        let tx = match miner {
            None => to.trader.broadcast(&state, Party::Buyer)?,
            Some(engine) => {
                let trader = &mut self.miner.trader;
                trader.prove(offer, papers, pinned)?;
                let mut state = trader.sale(offer)?;
                for word in [accepted, Event::Consented(first), Event::Consented(second)] {
                    trader.hear(&mut state, word)?;
                }
                let (signer, evidence) = (cast::miner(POSITION)?, engine.contract().evidence());
                trader.consent(&mut state, Party::Miner, &signer, Some(evidence))?;
                note(
                    "the miner judges what he is paid, signs the old escrow's input, and sends it",
                );
                trader.broadcast(&state, Party::Miner)?
            }
        };
        let (contract, transfer) = (state.bargain()?.contract, offer.offer.transfer());
        self.moved(&tx)?;
        let held = Held {
            record: contract.reward.holder.clone(),
            number: transfer,
            sale: Some(contract.id()?),
        };
        Ok(Sold { contract, seal: OutPoint::new(tx.compute_txid(), 0), held })
    }

    /// The resale.
    pub(super) fn sell_on(&mut self, sold: &Sold, table: &mut Table) -> Result<Sold> {
        self.chapter(
            "The resale",
            "the first buyer sells: the miner is paid what he has earned, the rest of the escrow goes \
             into the second buyer's contract, and the price to the seller, in one transaction",
        );
        let facts = table.holder.facts()?;
        let contract = table.holder.contract();
        let Progress::Open(coin) = contract.locked().progress(&facts)? else {
            return Err(missing("resale", "an open escrow"));
        };
        let resale = Resale {
            contract: sold.contract.clone(),
            escrow: coin.outpoint,
            index: coin.index,
            value: coin.value,
            outcome: outcome(&sold.contract, &facts, contract.evidence(), 1)?,
            switch: 4,
            guard: Guard::Miner,
        };
        let issue = self.issuing(Seat::Miner)?.issue(false)?;
        let issue = issue.ok_or_else(|| missing("resale", "the issue"))?;
        let at = (issue.position(), sold.seal);
        let offer = self.offered(at, sold.held.clone(), RESOLD, (2, 2), Some(resale))?;
        let seller = self.buyers.first().ok_or_else(|| missing("resale", "a seller"))?;
        let offer = signed(offer, &seller.signer)?;
        self.note(&format!(
            "the first buyer offers periods 3 to 6 for {} sat; coinbases change from period 5 on",
            RESOLD.to_sat()
        ))?;
        let mut papers = Papers::new(self.terms.clone(), issue)?;
        if let Some(transfer) = Transfer::of(&sold.contract) {
            papers.take("transfer", transfer);
        }
        let sold = self.exchanged(&offer, Some(&table.miner), 1, &papers)?;
        let (rest, due) = (sold.contract.price, coin.value.checked_sub(sold.contract.price));
        self.note(&format!(
            "{} sat of the escrow to the miner, {} sat on into the new one, {} sat to the seller",
            due.unwrap_or(Amount::ZERO).to_sat(),
            rest.to_sat(),
            RESOLD.to_sat()
        ))?;
        Ok(sold)
    }
}

fn signed(offer: OfferBody, signer: &SoftwareSigner) -> Result<Offer> {
    let signature = signer.sign_digest(offer.id()?.0)?;
    Ok(Offer { offer, signature })
}
