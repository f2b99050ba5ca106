//! The dossier at a sale: an offer is proven by it, and what is sold is written into it.

use std::path::Path;

use crate::cli::position::folder;
use crate::engine::trade::Trader;
use crate::error::Result;
use crate::flow::position::dossier::{Dossier, Transfer};
use crate::flow::position::title::Title;
use crate::flow::sale::terms::{Offer, OfferBody};
use crate::id::RecordId;

/// Proves over the trader's connection that an offer is its seller's to make; in lines.
pub fn proven(
    trader: &mut Trader,
    offer: &Offer,
    path: &Path,
    pinned: Option<RecordId>,
) -> Result<Vec<String>> {
    let papers = folder::read(path)?;
    let (dossier, title) =
        trader.prove(offer, &papers, pinned).map_err(|error| error.within(path.display()))?;
    said(&offer.offer, &dossier, &title, pinned)
}

/// What a dossier has proven of an offer.
pub fn said(
    offer: &OfferBody,
    dossier: &Dossier,
    title: &Title,
    pinned: Option<RecordId>,
) -> Result<Vec<String>> {
    let issued = &title.issued;
    let federation = match pinned {
        Some(_) => ", as pinned",
        None => ": compare it with the one that you trust",
    };
    Ok(vec![
        format!(
            "issued    in block {} by federation {}{federation}",
            issued.height, issued.federation
        ),
        format!(
            "seller    {}, the holder as of move {} of the seal, all {} of them opened",
            offer.seller.record.id()?,
            title.transfer,
            dossier.openings().len()
        ),
        match title.contract() {
            None => "contract  none: nothing was sold before".to_owned(),
            Some(sold) => format!(
                "contract  {}, sold with move {}: the one that you take over",
                sold.terms.id()?,
                sold.number
            ),
        },
    ])
}

/// Takes a transfer into a dossier's folder, unless it is there; what would not fit is refused before
/// anything is done.
pub struct Telling<'a> {
    path: &'a Path,
    transfer: Transfer,
    new: bool,
}

impl<'a> Telling<'a> {
    /// What is to be told, if a folder is named and there is something.
    pub fn of(path: Option<&'a Path>, transfer: Option<Transfer>) -> Result<Option<Self>> {
        let Some((path, transfer)) = path.zip(transfer) else { return Ok(None) };
        let new = folder::lacks(path, &transfer)?;
        Ok(Some(Self { path, transfer, new }))
    }

    /// Writes it, and says so.
    pub fn write(self) -> Result<String> {
        let number = self.transfer.number;
        let path = self.path.display();
        if !self.new {
            return Ok(format!("dossier   {path} has transfer {number} already"));
        }
        folder::write_transfer(self.path, &self.transfer)?;
        Ok(format!(
            "dossier   transfer {number} is in {path}; hand it on to whoever deals with the position"
        ))
    }
}
