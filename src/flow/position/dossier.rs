//! A position's documents: what is needed beside the chain to tell who holds it.
//!
//! | document | says |
//! |---|---|
//! | `hashmix position 1` | what was promised, by whom: [`PositionTerms`] |
//! | `hashmix issue 1` | which transaction issued it, and what that spent |
//! | `hashmix transfer 1` | to whom the seal went with its n-th move, and what he bought |
//!
//! None of them is signed as a whole, and none needs to be: the seal's outputs commit to every word, so
//! what was changed opens nothing ([`title`](crate::flow::position::title)). A sale states its own
//! numbers alone; the contract's terms are made of them and of the position's, by everybody alike. A
//! transfer to whoever held the seal before is a withdrawal: he has moved it to himself, and keeps what
//! he bought.

use bitcoin::hashes::{Hash, sha256};
use bitcoin::{Amount, OutPoint, ScriptBuf, Txid};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Culprit, Result, Rule};
use crate::flow::escrow::terms::{EscrowTerms, Tenure};
use crate::flow::position::coins::{issued_seal, transferred_seal};
use crate::flow::position::terms::PositionTerms;
use crate::flow::position::txs::{self, Funding, Inscription, MOST};
use crate::id::{PositionId, TermsId};
use crate::party::{Record, Role, check_distinct};
use crate::work::agreement::Earlier;

/// The form of a dossier's documents.
pub const FORM: Rule = Rule::new(
    "title-form",
    "a dossier's documents are JSON with the fields of `hashmix issue 1` and `hashmix transfer 1`",
    "ask for the file again",
);
/// An issue names its place among those issued with it.
pub const BATCH: Rule = Rule::new(
    "title-batch",
    "an issue of several lists the hash of each one's full terms in the order of the seals, these terms at its own place",
    "ask the miner for the issue's file of this position",
);
/// Documents of one position lie together.
pub const POSITION: Rule = Rule::new(
    "title-position",
    "every transfer in a dossier is of the position that was issued",
    "take the file out: it is of another position",
);
/// A move of the seal has one opening.
pub const NUMBERS: Rule = Rule::new(
    "title-numbers",
    "transfers are numbered from 1, and no number comes twice",
    "ask both senders for the transfer; the seal's output tells which one is true",
);

/// The first field of an issue's file.
pub const ISSUE_FORMAT: &str = "hashmix issue 1";
/// The first field of a transfer's file.
pub const TRANSFER_FORMAT: &str = "hashmix transfer 1";
/// Largest issue or transfer file that is read, in bytes.
pub const DOCUMENT_MAX_BYTES: usize = 65_536;
/// Most transfers in a dossier, and most moves of a seal that are followed.
pub const MOST_MOVES: usize = 1_000;

/// Which transaction issued the position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issue {
    /// [`ISSUE_FORMAT`].
    pub format: String,
    /// The transaction.
    pub txid: Txid,
    /// The output of the issuer's script that it spends.
    pub funding: OutPoint,
    /// What that held (satoshis). The validators' signatures commit to it, a txid does not.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub value: Amount,
    /// The seal's output.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub place: u32,
    /// Of several issued at once: SHA256 of the full terms of each, in the order of the seals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub batch: Vec<sha256::Hash>,
    /// Of one that was inscribed: what it spends beside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inscription: Option<Inscription>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Issue {
    /// The issue of one position alone.
    pub fn alone(txid: Txid, funding: Funding) -> Self {
        let Funding { outpoint: funding, value, inscription } = funding;
        let format = ISSUE_FORMAT.to_owned();
        Self { format, txid, funding, value, place: 0, batch: Vec::new(), inscription }
    }

    /// The issue of one position of a batch, which may be this one alone; `None` if it is not among them.
    pub fn among(
        terms: &PositionTerms,
        batch: &[PositionTerms],
        txid: Txid,
        funding: Funding,
    ) -> Result<Option<Self>> {
        let place = batch.iter().position(|one| one == terms);
        let Some(place) = place.and_then(|place| u32::try_from(place).ok()) else {
            return Ok(None);
        };
        let alone = Self::alone(txid, funding);
        if batch.len() == 1 {
            return Ok(Some(alone));
        }
        let hashes = batch.iter().map(|one| one.hash().map(sha256::Hash::from_byte_array));
        Ok(Some(Self { place, batch: hashes.collect::<Result<_>>()?, ..alone }))
    }

    /// Reads an issue; whether it is true the chain tells.
    pub fn from_json(text: &str) -> Result<Self> {
        read(text, ISSUE_FORMAT)
    }

    /// The issue as a file.
    pub fn to_json(&self) -> Result<String> {
        written(self)
    }

    /// The output whose first satoshi is the position, as it was issued.
    pub fn seal(&self) -> OutPoint {
        OutPoint::new(self.txid, self.place)
    }

    /// Positions that were issued at once.
    pub fn count(&self) -> usize {
        self.batch.len().max(1)
    }

    /// The position's id.
    pub fn position(&self) -> PositionId {
        txs::position(self.txid, self.place, self.count())
    }

    /// The hashes of full terms that the issue commits to, in the order of the seals.
    pub fn hashes(&self, terms: &PositionTerms) -> Result<Vec<[u8; 32]>> {
        let ours = terms.hash()?;
        let all: Vec<[u8; 32]> = match self.batch.as_slice() {
            [] => vec![ours],
            several => several.iter().map(|hash| hash.to_byte_array()).collect(),
        };
        let here = usize::try_from(self.place).ok().and_then(|place| all.get(place));
        let refuse = |expected: &str, found: &dyn core::fmt::Display| {
            Err(BATCH.refuses(Culprit::Sender, "issue", expected, found))
        };
        match here {
            _ if self.batch.len() == 1 || all.len() > MOST => {
                refuse("no list, or one of 2 to 100", &format_args!("{} hashes", all.len()))
            }
            None => refuse("a place in the list", &format_args!("place {}", self.place)),
            Some(here) if *here != ours => {
                let ours = sha256::Hash::from_byte_array(ours);
                let expected = format_args!("{ours} at place {}", self.place).to_string();
                refuse(&expected, &sha256::Hash::from_byte_array(*here))
            }
            Some(_) => Ok(all),
        }
    }
}

/// To whom the seal went with one of its moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// [`TRANSFER_FORMAT`].
    pub format: String,
    /// The position.
    pub position: PositionId,
    /// Transactions that moved the seal since the issue, this one included.
    pub number: u32,
    /// The new holder's record.
    pub record: Record,
    /// What he bought; left out where the seal alone changed hands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sale: Option<Sale>,
}

/// The numbers of a sale, as the new contract's terms have them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sale {
    /// What the sale puts into the contract's escrow (satoshis).
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub price: Amount,
    /// First period (0-based, of the position's term) that the contract pays for.
    pub first: u32,
    /// Locks of the holders before that coinbases still pay, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Earlier>,
}

impl Transfer {
    /// The transfer with this number.
    pub fn new(position: PositionId, number: u32, record: Record, sale: Option<Sale>) -> Self {
        Self { format: TRANSFER_FORMAT.to_owned(), position, number, record, sale }
    }

    /// Reads a transfer; whether it is true the chain tells.
    pub fn from_json(text: &str) -> Result<Self> {
        read(text, TRANSFER_FORMAT)
    }

    /// The transfer as a file.
    pub fn to_json(&self) -> Result<String> {
        written(self)
    }

    /// The transfer that came with a contract; `None` for one that no transfer brought.
    pub fn of(contract: &EscrowTerms) -> Option<Self> {
        let tenure = contract.tenure.as_ref()?;
        let (first, earlier) = (tenure.first, tenure.earlier.clone());
        let sale = Some(Sale { price: contract.price, first, earlier });
        let record = contract.reward.holder.clone();
        Some(Self::new(tenure.position, tenure.transfer, record, sale))
    }

    /// The contract that was sold with it: the position's terms with this holder, price and tenure,
    /// made and checked as the people of the sale made it. `None` where nothing was sold.
    pub fn contract(&self, terms: &PositionTerms) -> Result<Option<EscrowTerms>> {
        let Some(sale) = &self.sale else { return Ok(None) };
        let (position, transfer) = (self.position, self.number);
        let (first, earlier) = (sale.first, sale.earlier.clone());
        let tenure = Tenure { position, transfer, first, earlier };
        terms.sold(&self.record, sale.price, tenure).map(Some)
    }

    /// The output that the seal goes to with a sale, or with a gift, if the transfer is true.
    pub fn seal(&self, terms: &PositionTerms) -> Result<ScriptBuf> {
        let sale = self.contract(terms)?.map(|contract| contract.id()).transpose()?;
        self.seal_under(sale)
    }

    pub(super) fn seal_under(&self, sale: Option<TermsId>) -> Result<ScriptBuf> {
        transferred_seal(self.position, self.number, &self.record, sale)
            .map(|seal| seal.script_pubkey)
    }

    /// Refuses a transfer of another position, without a number, or to somebody who cannot hold it.
    pub(super) fn check_of(&self, dossier: &Dossier) -> Result<()> {
        let position = dossier.position();
        if self.position != position {
            return Err(POSITION.refuses(Culprit::Sender, "transfer", position, self.position));
        }
        if self.number == 0 {
            return Err(NUMBERS.refuses(Culprit::Sender, "transfer", "a number from 1", 0));
        }
        self.check(dossier.terms())
    }

    fn check(&self, terms: &PositionTerms) -> Result<()> {
        self.record.check()?;
        self.record.check_seat(Role::Holder, terms.reward.network, &terms.reward.contract)
    }

    /// Whether whoever held the seal moved it to himself: what he has bought stays with it.
    pub(super) fn keeps(&self, held: &Record) -> bool {
        self.sale.is_none() && self.record == *held
    }
}

/// A document, after its size, its fields and its format.
fn read<T: for<'a> Deserialize<'a>>(text: &str, format: &'static str) -> Result<T> {
    let refuse = |found: &dyn core::fmt::Display| {
        FORM.refuses(Culprit::Sender, format, format_args!("the fields of `{format}`"), found)
    };
    if text.len() > DOCUMENT_MAX_BYTES {
        return Err(refuse(&format_args!("{} bytes", text.len())));
    }
    let value: Value = serde_json::from_str(text).map_err(|error| refuse(&error))?;
    match value.get("format").and_then(Value::as_str) {
        // Read from the text again: of a value the place of a fault is lost.
        Some(stated) if stated == format => {
            serde_json::from_str(text).map_err(|error| refuse(&error))
        }
        Some(other) => Err(refuse(&other)),
        None => Err(refuse(&"no format")),
    }
}

fn written(document: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(document)
        .map_err(|error| FORM.broken("document", "JSON", error))?;
    Ok(text + "\n")
}

/// One opening of a move: the transfer, what it sold, and the output that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The document.
    pub transfer: Transfer,
    /// The contract that was sold with it.
    pub contract: Option<EscrowTerms>,
    /// The contract under which the new seal is held: this one, or that of a holder who moved it to
    /// himself.
    pub sale: Option<TermsId>,
    /// The seal that it says the satoshi went to.
    pub script: ScriptBuf,
}

/// The documents of one position, each well formed, and all of the same position. Whether they are
/// true the chain tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dossier {
    terms: PositionTerms,
    issue: Issue,
    openings: Vec<Opening>,
}

impl Dossier {
    /// Checks each document, and that they belong together.
    ///
    /// Records are fresh, those of one dossier's holders too: two contracts of one record would have
    /// the same locks. Who withdraws an offer moves the seal to the record that holds it, and buys
    /// nothing: that one comes again, under the contract that it has.
    pub fn new(terms: PositionTerms, issue: Issue, mut transfers: Vec<Transfer>) -> Result<Self> {
        terms.check()?;
        issue.hashes(&terms)?;
        let position = issue.position();
        transfers.sort_by_key(|transfer| transfer.number);
        let mut openings: Vec<Opening> = Vec::with_capacity(transfers.len());
        let mut fresh = vec![true; transfers.len()];
        for (transfer, fresh) in transfers.into_iter().zip(&mut fresh) {
            let place = format!("transfer {}", transfer.number);
            if transfer.position != position {
                return Err(POSITION.refuses(Culprit::Sender, place, position, transfer.position));
            }
            let before = openings.last().map_or(0, |before| before.transfer.number);
            if transfer.number <= before || openings.len() >= MOST_MOVES {
                let expected = format!("at most {MOST_MOVES} numbers from 1, each once");
                return Err(NUMBERS.refuses(Culprit::Sender, "transfers", expected, place));
            }
            transfer.check(&terms).map_err(|error| error.within(&place))?;
            let contract = transfer.contract(&terms).map_err(|error| error.within(&place))?;
            let mut sale = contract.as_ref().map(EscrowTerms::id).transpose()?;
            // A move directly behind another one goes on from there.
            let (held, under) = match openings.last() {
                Some(before) => (&before.transfer.record, before.sale),
                None => (&terms.reward.holder, None),
            };
            if before.checked_add(1) == Some(transfer.number) && transfer.keeps(held) {
                (sale, *fresh) = (under, false);
            }
            let script = transfer.seal_under(sale).map_err(|error| error.within(&place))?;
            openings.push(Opening { transfer, contract, sale, script });
        }
        let reward = &terms.reward;
        let people = [&reward.miner, &reward.holder]
            .into_iter()
            .chain(&reward.federation.validators)
            .chain(&terms.issuer.validators);
        let named = openings.iter().zip(fresh).filter(|(_, fresh)| *fresh);
        check_distinct(people.chain(named.map(|(opening, _)| &opening.transfer.record)))?;
        Ok(Self { terms, issue, openings })
    }

    /// What was promised.
    pub fn terms(&self) -> &PositionTerms {
        &self.terms
    }

    /// How it was issued.
    pub fn issue(&self) -> &Issue {
        &self.issue
    }

    /// The position's id.
    pub fn position(&self) -> PositionId {
        self.issue.position()
    }

    /// The openings, by number.
    pub fn openings(&self) -> &[Opening] {
        &self.openings
    }

    /// The opening of a move.
    pub fn opening(&self, number: u32) -> Option<&Opening> {
        self.openings.iter().find(|opening| opening.transfer.number == number)
    }

    /// The outputs that the seal has been in, if every document is true: whose histories to ask for.
    pub fn scripts(&self) -> Result<Vec<ScriptBuf>> {
        let issued = issued_seal(&self.terms)?.script_pubkey;
        let later = self.openings.iter().map(|opening| opening.script.clone());
        Ok([issued].into_iter().chain(later).collect())
    }
}
