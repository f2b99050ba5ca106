//! `hashmix registration 1`: the terms of a contract, who has agreed to them, and a record of ours in them.
//!
//! Anybody can write terms around other people's records. So miner and holder each sign the terms'
//! id with the communication key in the record that the terms show of them; without both, one party
//! could register terms that the other never saw, and ask to be paid by them. And a record of ours
//! serves the first terms that it was registered with, for ever: it was made for one contract.
//!
//! Or it was made for an issued position, and serves its contracts, whose terms nobody signs: they come
//! with the sale that has made them ([`super::sold`]). Their record is bound when we register the
//! position's miner ([`crate::engine::issuing::record`]), so a stranger's registration comes to nothing.
//!
//! A share shows one coinbase, and whoever verifies it for a position knows that position's scripts
//! alone. So the desk, which knows several contracts, sees to it that no output counts for two of them.

use bitcoin::bip32::ChildNumber;
use bitcoin::secp256k1::schnorr;
use bitcoin::{Network, ScriptBuf};
use serde::{Deserialize, Serialize};

use crate::error::{Culprit, Result, Rule};
use crate::flow::escrow::terms::{EscrowTerms, TERMS_MAX_BYTES};
use crate::flow::reward;
use crate::flow::sale::terms::{Acceptance, Offer, SALE_MAX_BYTES};
use crate::id::{TermsId, tagged_hash};
use crate::message;
use crate::party::{Record, SERVES, Seat};
use crate::sign::seed::Seed;
use crate::store::Store;
use crate::validator::sold::Sold;

/// The form of a registration.
pub const FORM: Rule = Rule::new(
    "policy-registry-form",
    "a registration is JSON with the fields of `hashmix registration 1`",
    "make it with `hashmix terms sign`, or for a position that was bought with `hashmix sale register`",
);
/// A registration has a longest length.
pub const SIZE: Rule = Rule::new(
    "policy-registry-size",
    "a registration is no longer than terms, two signatures and a sale ever are",
    "send the file that `hashmix terms sign` or `hashmix sale register` made, and nothing else",
);
/// What was sold is registered by its sale.
pub const WAY: Rule = Rule::new(
    "policy-registry-way",
    "a contract of an issued position is registered by its sale and nobody's signature, any other by two signatures and no sale",
    "a position that was bought is registered with `hashmix sale register`, other terms are signed with `hashmix terms sign`",
);
/// Both have agreed.
pub const SIGNED: Rule = Rule::new(
    "policy-registry-signed",
    "miner and holder have both signed the id of the terms, each with his record's key",
    "have the missing party run `hashmix terms sign` on the registration",
);
/// We sit at the contract.
pub const MEMBER: Rule = Rule::new(
    "policy-registry-member",
    "one record of the federation is ours: made of this seed, every key of it",
    "register with the validators that the terms name, each at his own desk",
);
/// A record serves one contract.
pub const FIRST: Rule = Rule::new(
    "policy-registry-first",
    "a validator's record serves the terms it was bound to first: those of one contract, or of one issued position",
    "ask the validator for a fresh record, and agree on new terms with it",
);
/// A position is known from its miner on.
pub const ISSUED: Rule = Rule::new(
    "policy-registry-issued",
    "the position that was sold is one for which this desk has registered the miner",
    "register with the validators that have attested the position; one who lost his memory restores it from a backup",
);
/// The desk's network is the terms'.
pub const NETWORK: Rule = Rule::new(
    "policy-registry-network",
    "the terms are of the network that the desk serves",
    "register at a desk of that network",
);
/// There is something left to validate.
pub const ALIVE: Rule = Rule::new(
    "policy-registry-alive",
    "the contract's escrow has not ended",
    "nothing is left to rule on; sweep rewards with the contract's other validators",
);

/// No output counts for two contracts.
pub const APART: Rule = Rule::new(
    "policy-registry-apart",
    "a contract's reward lock is neither lock nor service script of another contract at the desk, and its service script is no other's lock; what was sold answers for the locks before its own alone",
    "agree on terms with a payout script that was never used; who used this one elsewhere is not known, and need not be either party",
);

/// The first field of every registration.
pub const REGISTRATION_FORMAT: &str = "hashmix registration 1";

/// Largest registration that is read, in bytes: terms, an offer and its acceptance, two signatures, and
/// white space.
pub const REGISTRATION_MAX_BYTES: usize = TERMS_MAX_BYTES + 2 * SALE_MAX_BYTES + 4_096;

/// The scripts for which a contract's shares are counted: an output to one of them counts for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The terms of the position whose contracts follow each other; none where a contract stands alone.
    pub position: Option<TermsId>,
    /// The reward lock.
    pub lock: ScriptBuf,
    /// Locks of the position's holders before, which the contract's first periods still pay.
    pub earlier: Vec<ScriptBuf>,
    /// The miner's payout script, directly behind.
    pub service: ScriptBuf,
}

impl Counted {
    fn locks(&self) -> impl Iterator<Item = &ScriptBuf> {
        core::iter::once(&self.lock).chain(&self.earlier)
    }

    /// Which script of ours the other contract counts too, and as what. `ours` are locks of contracts at
    /// the desk that this one follows.
    fn shared_with(
        &self,
        theirs: &Self,
        ours: &[&ScriptBuf],
    ) -> Option<(&'static str, &'static str)> {
        if self.lock == theirs.lock {
            return Some(("reward lock", "lock"));
        }
        // Contracts of one position follow each other: one counts the locks of those before it. Its terms
        // say so and not its id, which a stranger can name.
        if self.position.is_some() && self.position == theirs.position {
            return None;
        }
        let shared = |lock: &ScriptBuf| {
            let lock_too = theirs.locks().any(|other| other == lock);
            let what = if lock_too { "lock" } else { "service script" };
            (lock_too || *lock == theirs.service).then_some(("reward lock", what))
        };
        if self.position.is_some() {
            // What was sold is paid for already: whoever names its scripts in a contract that cost him
            // nothing, and comes first with it, keeps no buyer out. Between positions their own locks and
            // service scripts are told apart where they are registered; what a contract has from hearsay,
            // locks before its own that are not known here, it answers for.
            let hearsay = |lock: &&ScriptBuf| theirs.position.is_some() && !ours.contains(lock);
            return self.earlier.iter().filter(hearsay).find_map(shared);
        }
        let paid = || theirs.locks().any(|lock| *lock == self.service);
        self.locks()
            .find_map(shared)
            .or_else(|| paid().then_some(("miner's payout script", "lock")))
    }
}

/// Terms, and who has agreed to them, or how they came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// [`REGISTRATION_FORMAT`].
    pub format: String,
    /// What was agreed.
    pub terms: EscrowTerms,
    /// The miner's BIP-340 signature of [`digest`]; none until he signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miner: Option<schnorr::Signature>,
    /// The holder's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<schnorr::Signature>,
    /// In place of both, where an issued position was sold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sale: Option<Box<Sold>>,
}

/// What both parties sign: a tagged hash of the terms' id.
pub fn digest(terms: TermsId) -> [u8; 32] {
    tagged_hash("hashmix/registration/1", &[terms.as_bytes()])
}

impl Registration {
    /// Terms that nobody has signed yet.
    pub fn new(terms: EscrowTerms) -> Self {
        let format = REGISTRATION_FORMAT.to_owned();
        Self { format, terms, miner: None, holder: None, sale: None }
    }

    /// The registration of the contract that a sale makes.
    pub fn of_sale(offer: Offer, acceptance: Acceptance) -> Result<Self> {
        let sale = Sold { offer, acceptance };
        let terms = sale.bargain()?.contract;
        Ok(Self { sale: Some(Box::new(sale)), ..Self::new(terms) })
    }

    /// Reads a registration; who has signed it is not yet checked (see [`Registration::check`]).
    pub fn from_json(text: &str) -> Result<Self> {
        if text.len() > REGISTRATION_MAX_BYTES {
            let expected = format_args!("at most {REGISTRATION_MAX_BYTES} bytes").to_string();
            return Err(SIZE.refuses(Culprit::Sender, "registration", expected, text.len()));
        }
        let refuse = |found: &dyn core::fmt::Display| {
            let expected = "the fields of `hashmix registration 1`";
            FORM.refuses(Culprit::Sender, "registration", expected, found)
        };
        let registration: Self = serde_json::from_str(text).map_err(|error| refuse(&error))?;
        if registration.format != REGISTRATION_FORMAT {
            return Err(refuse(&registration.format));
        }
        Ok(registration)
    }

    /// The registration as a file.
    pub fn to_json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| FORM.broken("registration", "JSON", error))?;
        Ok(text + "\n")
    }

    /// Refuses to sign what is registered by its sale.
    pub fn check_signable(&self) -> Result<()> {
        match (&self.terms.tenure, &self.sale) {
            (None, None) => Ok(()),
            _ => Err(WAY.misused("registration", "terms without a seal", "those of a sale")),
        }
    }

    /// Adds a party's signature of [`digest`], verified.
    pub fn add(&mut self, seat: Seat, signature: schnorr::Signature) -> Result<()> {
        self.check_signable()?;
        let place = match seat {
            Seat::Miner => &mut self.miner,
            Seat::Holder => &mut self.holder,
            Seat::Validator(_) => {
                return Err(SIGNED.misused("registration", "the miner or the holder", seat));
            }
        };
        *place = Some(signature);
        self.signed(seat)
    }

    /// Checks the terms, and that both parties have signed them; of an issued position, that they follow
    /// from the sale. What the chain says of that the desk asks.
    pub fn check(&self) -> Result<TermsId> {
        self.terms.check()?;
        let signed = self.miner.is_some() || self.holder.is_some();
        let refuse = |expected: &str, found: &str| {
            Err(WAY.refuses(Culprit::Sender, "registration", expected, found))
        };
        match (&self.terms.tenure, &self.sale) {
            (None, None) => {
                self.signed(Seat::Miner)?;
                self.signed(Seat::Holder)?;
            }
            (Some(_), Some(sale)) if !signed => sale.check_derived(&self.terms)?,
            (Some(_), Some(_)) => return refuse("a sale alone", "a signature beside it"),
            (Some(_), None) => return refuse("the sale of an issued position", "none"),
            (None, Some(_)) => return refuse("two signatures alone", "a sale"),
        }
        self.terms.id()
    }

    fn signed(&self, seat: Seat) -> Result<()> {
        let (record, signature) = match seat {
            Seat::Miner => (&self.terms.reward.miner, &self.miner),
            _ => (&self.terms.reward.holder, &self.holder),
        };
        let id = self.terms.id()?;
        let refuse = |found: &dyn core::fmt::Display| {
            let place = format!("registration, {seat}");
            SIGNED.refuses(seat.into(), place, format_args!("his signature of terms {id}"), found)
        };
        let signature = signature.as_ref().ok_or_else(|| refuse(&"none"))?;
        message::verify_digest(seat.into(), record.record.communication, digest(id), signature)
            .map_err(|error| refuse(&error.fault().found))
    }

    /// Our place in the federation and the number of our record there: the one whose every key is
    /// what `seed` makes for that number.
    ///
    /// The number is read from the record's own path and believed only if the keys come out. What
    /// else the record says is ours because the record is signed with one of them.
    pub fn member(&self, seed: &Seed) -> Result<(u8, u32)> {
        let network = self.terms.reward.network;
        let fingerprint = seed.fingerprint()?;
        for (place, record) in (0u8..).zip(&self.terms.reward.federation.validators) {
            let Some(number) =
                number(record).filter(|_| record.record.musig.origin().0 == fingerprint)
            else {
                continue;
            };
            let keys = seed.record(network, number)?.public();
            let body = &record.record;
            let shown = (body.musig.to_string(), body.leaf.to_string(), body.exit.to_string());
            if shown == (keys.musig, keys.leaf, keys.exit)
                && body.communication == keys.communication
            {
                record.check()?;
                return Ok((place, number));
            }
        }
        let expected = format_args!("a record of the seed {fingerprint}").to_string();
        Err(MEMBER.refuses(Culprit::Sender, "federation", expected, "none"))
    }

    /// Refuses terms of another network than the desk's.
    pub fn check_network(&self, ours: Network) -> Result<()> {
        let theirs = self.terms.reward.network;
        match theirs == ours {
            true => Ok(()),
            false => Err(NETWORK.refuses(Culprit::Sender, "terms", ours, theirs)),
        }
    }

    /// Refuses terms other than those that our record at `place` serves already, and those of a position
    /// that it does not serve yet.
    pub fn check_first(&self, store: &Store, place: u8) -> Result<()> {
        let held = store.recall(&self.record(place)?.service(), SERVES)?;
        let serves = self.serves()?;
        if held.as_deref().map_or(self.sale.is_none(), |held| held == serves.as_bytes()) {
            return Ok(());
        }
        let held = held.map(|held| TermsId(held.try_into().unwrap_or_default()));
        let held = held.map_or("none".to_owned(), |held| format!("terms {held}"));
        let place = "our record";
        Err(match &self.sale {
            Some(_) => {
                let expected = format_args!("bound to the position's terms {serves}").to_string();
                ISSUED.refuses(Culprit::Sender, place, expected, held)
            }
            None => {
                let expected = format_args!("what it serves, {held}").to_string();
                FIRST.refuses(Culprit::Sender, place, expected, format_args!("terms {serves}"))
            }
        })
    }

    /// What a record of ours serves with this contract: these terms, or those of the position that was
    /// sold, for all its contracts.
    fn serves(&self) -> Result<TermsId> {
        match &self.sale {
            Some(sale) => sale.position_terms(),
            None => self.terms.id(),
        }
    }

    /// The scripts for which shares are counted.
    pub fn counted(&self) -> Result<Counted> {
        let terms = &self.terms.reward;
        let lock = reward::coins::lock(terms)?.script_pubkey;
        let tenure = self.terms.tenure.iter().flat_map(|tenure| &tenure.earlier);
        let earlier = tenure.map(|earlier| earlier.lock.clone()).collect();
        let position = self.sale.as_ref().map(|sale| sale.position_terms()).transpose()?;
        let service = terms.miner.payout_script();
        Ok(Counted { position, lock, earlier, service })
    }

    /// Refuses terms by which an output of a coinbase could count for another contract too: the same
    /// hash power would be sold twice, and none of the holders could tell by his own terms.
    ///
    /// Whose doing it is, the terms do not say: a stranger may have written the miner's script into a
    /// record of his own and registered that first. So it is laid to nobody but the sender, and mended by
    /// another payout script.
    ///
    /// It sees the contracts of one desk. Locks of different contracts differ by themselves, for every
    /// record is made for one; a payout script is whatever the miner wrote into his record.
    pub fn check_apart<'a>(
        &self,
        others: impl IntoIterator<Item = (&'a TermsId, &'a Counted)> + Clone,
    ) -> Result<()> {
        let ours = self.counted()?;
        let before = others.clone().into_iter().map(|(_, counted)| counted);
        let before = before.filter(|c| c.position.is_some() && c.position == ours.position);
        let before: Vec<&ScriptBuf> = before.map(|counted| &counted.lock).collect();
        for (id, theirs) in others {
            if let Some((place, what)) = ours.shared_with(theirs, &before) {
                let found = format_args!("the {what} of terms {id}").to_string();
                let expected = "a script that no other contract counts";
                return Err(APART.refuses(Culprit::Sender, place, expected, found));
            }
        }
        Ok(())
    }

    /// Binds our record at `place` to what it serves, durably; refused if that is something else. A
    /// position's was bound before; where a store was lost, its contracts here bind it again.
    pub fn bind(&self, store: &mut Store, place: u8) -> Result<()> {
        let service = self.record(place)?.service();
        if self.sale.is_none() || store.recall(&service, SERVES)?.is_some() {
            self.check_first(store, place)?;
        }
        store.remember(&service, SERVES, self.serves()?.as_bytes())
    }

    fn record(&self, place: u8) -> Result<&Record> {
        let validators = &self.terms.reward.federation.validators;
        validators.get(usize::from(place)).ok_or_else(|| {
            MEMBER.broken("federation", format_args!("a record {place}"), validators.len())
        })
    }
}

/// The number that a record's path names: a third of its MuSig2 account.
fn number(record: &Record) -> Option<u32> {
    let (_, path) = record.record.musig.origin();
    match path.as_ref().last() {
        Some(ChildNumber::Hardened { index }) if index.is_multiple_of(3) => index.checked_div(3),
        _ => None,
    }
}
