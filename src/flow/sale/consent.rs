//! A consent: somebody's signatures of an exchange, each of which proves itself.

use bitcoin::Witness;
use serde::{Deserialize, Serialize};

use crate::error::{Culprit, Result, Rule};
use crate::flow::sale::terms::{self, Guard, OfferBody};
use crate::id::WordId;
use crate::party::Seat;
use crate::tx::exchange::{Exchanging, Way};

/// Everybody signs his own inputs, and all of them.
pub const INPUTS: Rule = Rule::new(
    "sale-consent-inputs",
    "a consent signs each input that is its signer's, once, and no other",
    "sign again with this version",
);

/// The first field of a consent.
pub const CONSENT_FORMAT: &str = "hashmix consent 1";

/// Who takes part in a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// Holds the seal: the miner in a primary sale, the holder in a resale.
    Seller,
    /// Pays.
    Buyer,
    /// The miner, in a resale.
    Miner,
    /// A validator, in a resale without the miner.
    Validator(u8),
}

impl core::fmt::Display for Party {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Seller => f.write_str("seller"),
            Self::Buyer => f.write_str("buyer"),
            Self::Miner => f.write_str("miner"),
            Self::Validator(place) => write!(f, "validator {place}"),
        }
    }
}

impl Party {
    /// His seat at the contract whose escrow a resale spends.
    pub fn seat(self) -> Option<Seat> {
        match self {
            Self::Seller => Some(Seat::Holder),
            Self::Buyer => None,
            Self::Miner => Some(Seat::Miner),
            Self::Validator(place) => Some(Seat::Validator(place)),
        }
    }

    /// Whose fault his consent is.
    pub fn culprit(self, offer: &OfferBody) -> Culprit {
        match self {
            Self::Seller => offer.by(),
            Self::Buyer => Culprit::Sender,
            Self::Miner => Culprit::Miner,
            Self::Validator(place) => Culprit::Validator(place),
        }
    }

    /// The inputs that he signs: by number, in order.
    pub fn inputs(self, offer: &OfferBody, signing: &Exchanging) -> Vec<usize> {
        let his = |way: &Way| match (way, self) {
            (Way::Seal(_), Self::Seller) | (Way::Coin, Self::Buyer) => true,
            (Way::Lock(..), Self::Seller) => true,
            (Way::Lock(..), Self::Miner) => offer.guard() == Guard::Miner,
            (Way::Lock(..), Self::Validator(_)) => offer.guard() == Guard::Validators,
            _ => false,
        };
        let parts = signing.exchange().parts().iter().enumerate();
        parts.filter(|(_, part)| his(&part.way)).map(|(input, _)| input).collect()
    }
}

/// What signs one input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// The input's number.
    pub input: u32,
    /// The whole witness of a seal or a coin; of an escrow, one signature.
    pub witness: Witness,
}

/// Somebody's signatures of an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// [`CONSENT_FORMAT`].
    pub format: String,
    /// The offer.
    pub offer: WordId,
    /// Its acceptance.
    pub acceptance: WordId,
    /// Who consents.
    pub by: Party,
    /// His signatures.
    pub pieces: Vec<Piece>,
}

impl Consent {
    /// Reads a consent; its signatures are not yet believed.
    pub fn from_json(text: &str) -> Result<Self> {
        let consent: Self = terms::read(text, "consent", CONSENT_FORMAT)?;
        if consent.format != CONSENT_FORMAT {
            let found = consent.format;
            return Err(terms::FORM.refuses(Culprit::Sender, "consent", CONSENT_FORMAT, found));
        }
        Ok(consent)
    }

    /// The consent as a file holds it.
    pub fn to_json(&self) -> Result<String> {
        terms::written(self, "consent")
    }

    /// Adds the signatures to an exchange, each verified.
    pub fn add_to(&self, offer: &OfferBody, signing: &mut Exchanging) -> Result<()> {
        let by = self.by.culprit(offer);
        let his = self.by.inputs(offer, signing);
        let pieces = self.pieces.iter().map(|piece| usize::try_from(piece.input));
        let signed: Vec<usize> = pieces.map(|input| input.unwrap_or(usize::MAX)).collect();
        if signed != his || his.is_empty() {
            let place = format_args!("consent of the {}", self.by).to_string();
            let expected = format!("inputs {his:?}");
            return Err(INPUTS.refuses(by, place, expected, format_args!("inputs {signed:?}")));
        }
        let mut pieces = signed.into_iter().zip(&self.pieces);
        pieces.try_for_each(|(input, piece)| signing.add(input, self.by.seat(), &piece.witness, by))
    }
}
