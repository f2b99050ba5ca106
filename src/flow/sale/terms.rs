//! What a sale is agreed on: an offer, its acceptance, and the terms of the contract that follow.
//!
//! ```text
//!  position's terms -+
//!  offer ------------+--> terms of the new contract --> exchange
//!  buyer's record ---+
//! ```
//! Nobody writes the new contract's terms: they follow from what is known ([`sold`]), so that everybody
//! makes the same ones and holds them to the position's.

use bitcoin::secp256k1::schnorr;
use bitcoin::{Amount, OutPoint, ScriptBuf, TxOut};
use serde::{Deserialize, Serialize};

use crate::amount;
use crate::canonical;
use crate::error::{Culprit, Result, Rule};
use crate::flow::escrow::terms::{EscrowTerms, TERMS_MAX_BYTES, Tenure};
use crate::flow::escrow::txs::Outcome;
use crate::flow::position::terms::PositionTerms;
use crate::flow::position::txs::position;
use crate::flow::reward::coins as reward;
use crate::id::{PositionId, TermsId, WordId, tagged_hash};
use crate::message;
use crate::party::{Record, Role};
use crate::script::lock::Path;
use crate::work::agreement::{Earlier, Profile};

/// The form of what is said in a sale.
pub const FORM: Rule = Rule::new(
    "sale-form",
    "an offer, its acceptance and a consent are JSON with the fields of their format",
    "ask for the file again",
);
/// Who offers holds the seal, and it is of this position.
pub const SELLER: Rule = Rule::new(
    "sale-seller",
    "an offer names the seal as its holder got it: at the issue, or by a transfer with its number and sale",
    "make the offer again from the position's dossier",
);
/// A sale leaves time for coinbases to follow.
pub const NOTICE: Rule = Rule::new(
    "sale-notice",
    "what a sale changes begins long enough after the offer's last height, within the term",
    "offer a later period, or for a shorter time",
);
/// A resale goes on from a settled period of the contract before.
pub const RESALE: Rule = Rule::new(
    "sale-resale",
    "a resale names the contract under which its seller holds the seal, its open escrow, and a period that is deep enough and does not end it",
    "make the offer again; a contract that ends is closed first",
);
/// A buyer does not pay for other people's rewards for long.
pub const SWITCH: Rule = Rule::new(
    "sale-switch",
    "in a resale coinbases pay the new lock at most 4 periods later than the miner's notice and the locks before allow",
    "offer an earlier period for the change of the lock",
);
/// An offer does not hold for ever.
pub const SPAN: Rule = Rule::new(
    "sale-offer-span",
    "an offer is made, accepted and signed by whoever guards the notice at most 2,016 blocks before its last height (288 on regtest)",
    "offer for a shorter time; what an offer changes is reckoned from its last height",
);
/// An acceptance is of this offer.
pub const ACCEPTS: Rule = Rule::new(
    "sale-accepts",
    "an acceptance or a consent names the offer and the acceptance that it is about",
    "send it to whoever made that offer",
);

/// The first field of an offer.
pub const OFFER_FORMAT: &str = "hashmix offer 1";
/// The first field of an acceptance.
pub const ACCEPTANCE_FORMAT: &str = "hashmix acceptance 1";

/// Most periods by which a lock changes later than it could.
const MOST_WAIT: u32 = 4;

/// Largest offer or acceptance that is read, in bytes: two terms fit.
pub const SALE_MAX_BYTES: usize = TERMS_MAX_BYTES * 3;

/// How the seller holds the seal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// The record that the seal names. Its payout address is where the seller is paid.
    pub record: Record,
    /// Number of the transfer that named it: 0 for the issue.
    pub number: u32,
    /// The terms of the contract that came with it, if it was bought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sale: Option<TermsId>,
}

/// Who guards the miner's notice in a resale: he signs the old escrow's spend last, and broadcasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// The miner himself, with the seller.
    Miner,
    /// The validators, with the seller, while the miner is silent.
    Validators,
}

impl Guard {
    /// The leaf of the old escrow by which it is spent.
    pub fn path(self) -> Path {
        match self {
            Self::Miner => Path::Agreed,
            Self::Validators => Path::HolderRuling,
        }
    }

    /// Blocks between an offer's last height and the first one at which coinbases must pay another lock:
    /// six to confirm, and as many as whoever knows of the sale needs to tell the machines.
    pub fn notice(self, profile: Profile) -> u32 {
        match (profile, self) {
            (Profile::Mainnet, Self::Miner) => 150,
            (Profile::Mainnet, Self::Validators) => 2_022,
            (Profile::Regtest, Self::Miner) => 6,
            (Profile::Regtest, Self::Validators) => 12,
        }
    }
}

/// What a resale takes over from the contract before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resale {
    /// The terms of the contract before.
    pub contract: EscrowTerms,
    /// Its open escrow output.
    pub escrow: OutPoint,
    /// Settlements before it.
    pub index: u32,
    /// What it holds (V, satoshis).
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub value: Amount,
    /// What the miner has earned through the last period of the contract before.
    pub outcome: Outcome,
    /// First period whose coinbases pay the new holder's lock.
    pub switch: u32,
    /// Who signs for the miner.
    pub guard: Guard,
}

/// What an offer says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferBody {
    /// [`OFFER_FORMAT`].
    pub format: String,
    /// The position.
    pub position: PositionId,
    /// Its whole terms. The buyer pays the exchange's fee, at a rate within their bounds.
    pub terms: PositionTerms,
    /// Where the seal is.
    pub seal: OutPoint,
    /// How the seller holds it.
    pub seller: Held,
    /// What the buyer pays (satoshis): into the escrow in a primary sale, to the seller in a resale.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub price: Amount,
    /// First period that the new contract pays for (0-based, of the position's term).
    pub first: u32,
    /// Last height at which the sale may confirm.
    pub expires: u32,
    /// What a resale takes over; none where the miner sells first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resale: Option<Resale>,
}

/// An offer, signed by the seller's communication key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// What it says.
    pub offer: OfferBody,
    /// BIP-340 signature of [`OfferBody::id`].
    pub signature: schnorr::Signature,
}

/// A coin that the buyer pays with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paying {
    /// Where it is.
    pub outpoint: OutPoint,
    /// Its value (satoshis) and script.
    pub txout: TxOut,
}

/// What an acceptance says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptanceBody {
    /// [`ACCEPTANCE_FORMAT`].
    pub format: String,
    /// The offer that is accepted.
    pub offer: WordId,
    /// The buyer's record.
    pub holder: Record,
    /// The coins that pay.
    pub coins: Vec<Paying>,
    /// Where the change goes.
    pub change: ScriptBuf,
    /// Fee rate of the exchange, sat/vB.
    pub sat_per_vb: u64,
    /// The exchange as the buyer built it: a PSBT, Base64.
    pub psbt: String,
}

/// An acceptance, signed by the communication key of the buyer's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// What it says.
    pub acceptance: AcceptanceBody,
    /// BIP-340 signature of [`AcceptanceBody::id`].
    pub signature: schnorr::Signature,
}

/// The terms of the contract that a sale makes: those of the position, with the new holder, his price,
/// and the part of the term that it pays for. Everybody makes them by himself.
pub fn sold(
    position_terms: &PositionTerms,
    position: PositionId,
    holder: &Record,
    price: Amount,
    transfer: u32,
    first: u32,
    earlier: Vec<Earlier>,
) -> Result<EscrowTerms> {
    position_terms.sold(holder, price, Tenure { position, transfer, first, earlier })
}

/// What of the old escrow is due to the miner, and what the new contract begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenOver {
    /// What the miner is paid; zero where it would be dust, which then stays in the escrow.
    pub due: Amount,
    /// What the new escrow holds: the new contract's price.
    pub rest: Amount,
}

impl Resale {
    /// V - due and due, as a settlement through the period divides them.
    pub fn taken_over(&self) -> Result<TakenOver> {
        let refuse = |expected: &str, found: &dyn core::fmt::Display| {
            RESALE.refuses(Culprit::Holder, "offer, outcome", expected, found)
        };
        let paid = self.contract.price.checked_sub(self.value);
        let paid = paid.ok_or_else(|| refuse("an escrow up to its price", &self.value))?;
        let due = self.outcome.earned.checked_sub(paid).filter(|due| *due <= self.value);
        let due = due.ok_or_else(|| {
            let expected = format!("{paid} to {} earned", self.contract.price);
            refuse(&expected, &self.outcome.earned)
        })?;
        let dust = self.contract.reward.miner.payout_script().minimal_non_dust();
        let due = if due < dust { Amount::ZERO } else { due };
        let rest = self.value.checked_sub(due);
        let rest = rest.ok_or_else(|| refuse("an escrow above the due", &self.value))?;
        Ok(TakenOver { due, rest })
    }

    /// The locks that coinbases still pay in the new contract's first periods.
    fn earlier(&self, first: u32) -> Result<Vec<Earlier>> {
        let before = self.contract.tenure.iter().flat_map(|tenure| &tenure.earlier);
        let mut earlier: Vec<Earlier> =
            before.filter(|earlier| earlier.until > first).cloned().collect();
        // Where the locks before it are paid until the switch, the contract's own never comes into force.
        let paid = earlier.last().map_or(first, |earlier| earlier.until);
        if self.switch < paid {
            let expected = format!("a lock that changes from period {} on", paid.saturating_add(1));
            let found = format_args!("period {}", self.switch.saturating_add(1));
            return Err(RESALE.refuses(Culprit::Holder, "offer, switch", expected, found));
        }
        if self.switch > paid {
            let lock = reward::lock(&self.contract.reward)?.script_pubkey;
            earlier.push(Earlier { until: self.switch, lock });
        }
        Ok(earlier)
    }
}

impl OfferBody {
    /// Names the offer by content; what its seller signs.
    pub fn id(&self) -> Result<WordId> {
        Ok(WordId(tagged_hash("hashmix/offer/1", &[&canonical::bytes(self)?])))
    }

    /// Number of the transfer that the sale makes.
    pub fn transfer(&self) -> u32 {
        self.seller.number.saturating_add(1)
    }

    /// Whose fault an offer is.
    pub fn by(&self) -> Culprit {
        if self.resale.is_some() { Culprit::Holder } else { Culprit::Miner }
    }

    /// The terms of the contract that the sale makes with this buyer.
    pub fn contract(&self, buyer: &Record) -> Result<EscrowTerms> {
        let (price, earlier) = match &self.resale {
            None => (self.price, Vec::new()),
            Some(resale) => (resale.taken_over()?.rest, resale.earlier(self.first)?),
        };
        let (position, transfer) = (self.position, self.transfer());
        sold(&self.terms, position, buyer, price, transfer, self.first, earlier)
    }

    /// First height of a period (0-based) of the position's term.
    pub fn period_start(&self, period: u32) -> u32 {
        let delivery = &self.terms.delivery;
        delivery.start.saturating_add(delivery.period.saturating_mul(period))
    }

    /// First period (0-based) whose rewards are the buyer's: in a resale later than the first one that
    /// he pays the miner for.
    pub fn rewarded_from(&self) -> u32 {
        self.resale.as_ref().map_or(self.first, |resale| resale.switch)
    }

    /// Refuses an offer that holds for longer than two weeks from `tip` on. Notice and the change of the
    /// lock are reckoned from its last height, which the seller chooses: a far one would put the buyer's
    /// rewards off for as long, while he pays the miner for the work.
    pub fn check_span(&self, tip: u32) -> Result<()> {
        let span = match self.terms.profile {
            Profile::Mainnet => 2_016,
            Profile::Regtest => 288,
        };
        let most = tip.saturating_add(span);
        if self.expires <= most {
            return Ok(());
        }
        let expected = format!("a last height up to {most}, {span} blocks above the tip");
        Err(SPAN.refuses(self.by(), "offer", expected, format_args!("height {}", self.expires)))
    }

    /// Who guards the miner's notice.
    pub fn guard(&self) -> Guard {
        self.resale.as_ref().map_or(Guard::Miner, |resale| resale.guard)
    }

    /// Checks everything that the offer alone can be checked for.
    fn check(&self) -> Result<()> {
        if self.format != OFFER_FORMAT {
            return Err(FORM.refuses(self.by(), "offer", OFFER_FORMAT, &self.format));
        }
        self.terms.check()?;
        self.check_seller()?;
        amount::bounded(self.price, "offer, price")?;
        match &self.resale {
            None => self.check_notice(self.first)?,
            Some(resale) => {
                self.check_resale(resale)?;
                self.check_notice(resale.switch)?;
                self.check_switch(resale)?;
                self.check_locks(resale)?;
            }
        }
        self.as_if_kept().map(|_| ())
    }

    /// The locks that are paid before the buyer's are as every buyer's terms need them, whoever he is.
    fn check_locks(&self, resale: &Resale) -> Result<()> {
        let (earlier, nobodys) = (resale.earlier(self.first)?, ScriptBuf::new());
        let service = self.terms.reward.miner.payout_script();
        let periods = self.terms.delivery.periods;
        match Earlier::fault(self.first, periods, &earlier, &nobodys, &service) {
            None => Ok(()),
            Some((expected, found)) => {
                Err(RESALE.refuses(Culprit::Holder, "offer, locks", expected, found))
            }
        }
    }

    /// The new contract with the seller in the buyer's place, and no locks before his: what does not hang
    /// on the buyer's record is known before there is one.
    pub fn as_if_kept(&self) -> Result<EscrowTerms> {
        let price = match &self.resale {
            None => self.price,
            Some(resale) => resale.taken_over()?.rest,
        };
        let (seller, transfer) = (&self.seller.record, self.transfer());
        sold(&self.terms, self.position, seller, price, transfer, self.first, Vec::new())
    }

    fn check_seller(&self) -> Result<()> {
        let Held { record, number, sale } = &self.seller;
        let refuse = |expected: &str, found: &dyn core::fmt::Display| {
            Err(SELLER.refuses(self.by(), "offer, seller", expected, found))
        };
        record.check()?;
        record.check_seat(Role::Holder, self.terms.reward.network, &self.terms.reward.contract)?;
        // Whatever its number, a seal that was never sold is the first holder's, who may have withdrawn it.
        // What he sells binds the miner, who has put his record into the position's terms.
        let unsold = *number == 0 || self.resale.is_none();
        if unsold && (*record != self.terms.reward.holder || sale.is_some()) {
            return refuse("the first holder's record, and no sale", &record.id()?);
        }
        if *number == 0 {
            // A seal that is one of several is named by its place, whatever their number.
            let OutPoint { txid, vout } = self.seal;
            let named = [1, 2].map(|count| position(txid, vout, count));
            if !named.contains(&self.position)
                || (named.first() == Some(&self.position) && vout > 0)
            {
                return refuse(&format!("a seal of position {}", self.position), &self.seal);
            }
        }
        let contract = self.resale.as_ref().map(|resale| resale.contract.id()).transpose()?;
        if contract != *sale {
            let shown = |id: &Option<TermsId>| match id {
                Some(id) => format!("the contract {id}"),
                None => "no contract".to_owned(),
            };
            return refuse(&shown(sale), &shown(&contract));
        }
        Ok(())
    }

    fn check_resale(&self, resale: &Resale) -> Result<()> {
        let refuse = |expected: &str, found: &dyn core::fmt::Display| {
            Err(RESALE.refuses(Culprit::Holder, "offer, resale", expected, found))
        };
        let contract = &resale.contract;
        let Some(tenure) = &contract.tenure else {
            return refuse("a contract of an issued position", &"one without");
        };
        let (holder, earlier) = (&contract.reward.holder, tenure.earlier.clone());
        let (transfer, first) = (tenure.transfer, tenure.first);
        let position = self.position;
        let same = sold(&self.terms, position, holder, contract.price, transfer, first, earlier)?;
        if same != *contract {
            return refuse("a contract as the position's terms make it", &contract.id()?);
        }
        if *holder != self.seller.record || transfer > self.seller.number {
            return refuse("the seller's own contract", &holder.id()?);
        }
        let Outcome { period, closes, .. } = resale.outcome;
        if closes || period.checked_add(1) != Some(self.first) || period < tenure.first {
            let expected = format!("period {} settled, and a contract that goes on", self.first);
            let end = if closes { ", which ends it" } else { "" };
            return refuse(&expected, &format_args!("period {}{end}", period.saturating_add(1)));
        }
        if resale.switch < self.first {
            let found = format_args!("period {}", resale.switch.saturating_add(1));
            return refuse("a lock that changes in a period of the new contract", &found);
        }
        let dust = self.seller.record.payout_script().minimal_non_dust();
        if self.price < dust {
            return refuse(&format!("a price of at least {dust}"), &self.price);
        }
        Ok(())
    }

    /// The buyer's escrow pays the miner from the first period on, and rewards are the buyer's from the
    /// change of the lock on: what lies between is the seller's gain. That the miner needs his notice is
    /// the only reason for it.
    fn check_switch(&self, resale: &Resale) -> Result<()> {
        let delivery = &self.terms.delivery;
        let noticed = self.expires.saturating_add(self.guard().notice(self.terms.profile));
        let blocks = noticed.saturating_sub(delivery.start);
        // Terms have no period of no blocks.
        let least = blocks.div_ceil(delivery.period.max(1)).max(self.first);
        let before = resale.contract.tenure.iter().flat_map(|tenure| &tenure.earlier);
        let least = before.map(|earlier| earlier.until).fold(least, u32::max);
        let most = least.saturating_add(MOST_WAIT);
        if resale.switch <= most {
            return Ok(());
        }
        let expected = format!("period {} or earlier", most.saturating_add(1));
        let found = format_args!("period {}", resale.switch.saturating_add(1));
        Err(SWITCH.refuses(Culprit::Holder, "offer, change of the lock", expected, found))
    }

    /// Whatever begins with `period` leaves everybody the time to know of it.
    fn check_notice(&self, period: u32) -> Result<()> {
        let notice = self.guard().notice(self.terms.profile);
        let (begins, least) = (self.period_start(period), self.expires.saturating_add(notice));
        if period < self.terms.delivery.periods && begins >= least {
            return Ok(());
        }
        let last = self.terms.delivery.periods;
        let expected = format!(
            "a period up to {last} that begins at least {notice} blocks after height {}",
            self.expires
        );
        let found = format_args!("period {}, at height {begins}", period.saturating_add(1));
        Err(NOTICE.refuses(self.by(), "offer", expected, found))
    }
}

impl Offer {
    /// Reads and checks an offer.
    pub fn from_json(text: &str) -> Result<Self> {
        let offer: Self = read(text, "offer", OFFER_FORMAT)?;
        offer.check()?;
        Ok(offer)
    }

    /// Checks the offer and its signature.
    pub fn check(&self) -> Result<()> {
        let (by, key) = (self.offer.by(), self.offer.seller.record.record.communication);
        message::verify_digest(by, key, self.offer.id()?.0, &self.signature)
            .map_err(|error| error.within("offer"))?;
        self.offer.check()
    }

    /// The offer in one line, as an order book holds it.
    pub fn to_json(&self) -> Result<String> {
        written(self, "offer")
    }
}

impl AcceptanceBody {
    /// Names the acceptance by content; what the buyer signs.
    pub fn id(&self) -> Result<WordId> {
        Ok(WordId(tagged_hash("hashmix/acceptance/1", &[&canonical::bytes(self)?])))
    }
}

impl Acceptance {
    /// Reads an acceptance, and checks it against the offer that it names.
    pub fn from_json(text: &str, offer: &Offer) -> Result<Self> {
        let acceptance: Self = read(text, "acceptance", ACCEPTANCE_FORMAT)?;
        acceptance.check(offer)?;
        Ok(acceptance)
    }

    /// Checks record, signature, offer and fee rate. Coins and the exchange are judged where it is built.
    pub fn check(&self, offer: &Offer) -> Result<()> {
        let body = &self.acceptance;
        if body.format != ACCEPTANCE_FORMAT {
            let found = &body.format;
            return Err(FORM.refuses(Culprit::Sender, "acceptance", ACCEPTANCE_FORMAT, found));
        }
        body.holder.check()?;
        let key = body.holder.record.communication;
        message::verify_digest(Culprit::Sender, key, body.id()?.0, &self.signature)
            .map_err(|error| error.within("acceptance"))?;
        let id = offer.offer.id()?;
        if body.offer != id {
            return Err(ACCEPTS.refuses(Culprit::Sender, "acceptance", id, body.offer));
        }
        offer.offer.contract(&body.holder)?.check_rate(body.sat_per_vb, Culprit::Sender)
    }

    /// The acceptance as a file holds it.
    pub fn to_json(&self) -> Result<String> {
        written(self, "acceptance")
    }
}

/// Reads something that is said in a sale.
pub(super) fn read<T: serde::de::DeserializeOwned>(
    text: &str,
    what: &str,
    format: &str,
) -> Result<T> {
    let refuse = |found: &dyn core::fmt::Display| {
        FORM.refuses(Culprit::Sender, what, format_args!("the fields of `{format}`"), found)
    };
    if text.len() > SALE_MAX_BYTES {
        return Err(refuse(&format_args!("{} bytes", text.len())));
    }
    serde_json::from_str(text).map_err(|error| refuse(&error))
}

/// Writes it in one line.
pub(super) fn written(value: &impl Serialize, what: &str) -> Result<String> {
    serde_json::to_string(value).map_err(|error| FORM.broken(what, "JSON", error))
}
