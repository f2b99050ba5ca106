//! A question about a contract, signed: who may read what was said.
//!
//! ```text
//! HashMix-Auth: <seat> <hash of a recent tip> <signature>
//! ```
//! The seat is `miner`, `holder` or `validator-N`; the signature, 128 hex digits, is BIP-340 by the
//! seat's communication key over a tagged hash of the contract, the asking and the asked seat, what
//! is asked (path and query) and the tip. `GET /v1/status` tells the tip. A signature is worth
//! nothing when its tip has gone by, and nothing at another desk or for another question.

use std::collections::VecDeque;

use bitcoin::BlockHash;
use bitcoin::secp256k1::schnorr;

use super::request::sender;
use crate::canonical;
use crate::error::{Culprit, Result, Rule};
use crate::flow::escrow::terms::EscrowTerms;
use crate::id::{TermsId, tagged_hash};
use crate::message;
use crate::party::Seat;

/// The form of the header.
pub const FORM: Rule = Rule::new(
    "policy-query-form",
    "a question about a contract has the header `HashMix-Auth: seat, tip, signature`, set apart by \
     blanks",
    "sign the question as the seat that asks it",
);
/// The tip is recent.
pub const TIP: Rule = Rule::new(
    "policy-query-tip",
    "a question names one of the last tips that the desk has told",
    "ask for the status, and sign the question with the tip in it",
);
/// The seat has signed it.
pub const SIGNATURE: Rule = Rule::new(
    "policy-query-signature",
    "a question is signed by the communication key of the seat it names",
    "sign it again with the seed and record number of that seat",
);

/// Tips that are remembered: on mainnet about two hours.
const RECENT: usize = 12;

/// The last tips that the desk has told.
#[derive(Clone, Debug, Default)]
pub struct Tips(VecDeque<BlockHash>);

impl Tips {
    /// Tells a tip from now on.
    pub fn tell(&mut self, tip: BlockHash) {
        if self.0.back() == Some(&tip) {
            return;
        }
        self.0.retain(|told| *told != tip);
        self.0.push_back(tip);
        if self.0.len() > RECENT {
            self.0.pop_front();
        }
    }
}

/// A signed question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Who asks.
    pub from: Seat,
    /// A tip that the desk told.
    pub tip: BlockHash,
    /// BIP-340 signature of [`Query::message`].
    pub signature: schnorr::Signature,
}

impl Query {
    /// What the asking seat signs.
    pub fn message(
        contract: TermsId,
        from: Seat,
        to: Seat,
        asked: &str,
        tip: BlockHash,
    ) -> Result<[u8; 32]> {
        let said = canonical::bytes(&(contract, from, to, asked, tip))?;
        Ok(tagged_hash("hashmix/query/1", &[&said]))
    }

    /// Reads the header's value.
    pub fn from_header(text: &str) -> Result<Self> {
        let refuse = || FORM.refuses(Culprit::Sender, "HashMix-Auth", "seat tip signature", text);
        let mut parts = text.split(' ');
        let (Some(seat), Some(tip), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(refuse());
        };
        let from = Seat::from_slug(seat).ok_or_else(refuse)?;
        let tip = tip.parse().map_err(|_| refuse())?;
        Ok(Self { from, tip, signature: signature.parse().map_err(|_| refuse())? })
    }

    /// The header's value.
    pub fn to_header(&self) -> String {
        format!("{} {} {}", self.from.slug(), self.tip, self.signature)
    }

    /// Refuses a stranger, a tip that has gone by, and a signature of anything else.
    pub fn check(&self, terms: &EscrowTerms, to: Seat, asked: &str, tips: &Tips) -> Result<()> {
        let record = sender(terms, self.from, to)?;
        if !tips.0.contains(&self.tip) {
            let expected = tips.0.back().map_or("none yet".to_owned(), ToString::to_string);
            return Err(TIP.refuses(Culprit::Sender, "HashMix-Auth, tip", expected, self.tip));
        }
        let digest = Self::message(terms.id()?, self.from, to, asked, self.tip)?;
        let key = record.record.communication;
        message::verify_digest(self.from.into(), key, digest, &self.signature).map_err(|error| {
            let fault = error.fault();
            SIGNATURE.refuses(Culprit::Sender, "HashMix-Auth", &fault.expected, &fault.found)
        })
    }
}
