//! People: the seats at a contract, a person's record, the federation.
//!
//! A **record** is a person's keys for one contract, signed as a whole by its communication key
//! (BIP 322). Whoever changes a single field breaks the signature; whoever copies another's key
//! into his own record is refused when the records meet ([`check_distinct`]).

use core::fmt;
use std::collections::BTreeSet;

use bitcoin::address::NetworkUnchecked;
use bitcoin::secp256k1::XOnlyPublicKey;
use bitcoin::{Address, Network, ScriptBuf};
use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::error::{Culprit, Result, Rule};
use crate::id::{RecordId, tagged_hash};
use crate::keys::KeyExpression;
use crate::message;

/// Records of one contract share no key.
pub const DISTINCT: Rule = Rule::new(
    "record-distinct",
    "no two key expressions of a contract's records are equal",
    "make a fresh record for each seat",
);
/// Records are of the contract's network.
pub const NETWORK: Rule = Rule::new(
    "record-network",
    "a record and its addresses are of the contract's network",
    "make a record for this network",
);
/// Records are made for a seat.
pub const ROLE: Rule = Rule::new(
    "record-role",
    "a record is made for the seat it fills",
    "make a record for this seat",
);
/// Records are made for one contract.
pub const CONTRACT: Rule = Rule::new(
    "record-contract",
    "a record names the contract it is made for, in 1 to 64 printable ASCII characters",
    "make a fresh record for this contract",
);
/// Validators that agree always outnumber those that could disagree.
pub const MAJORITY: Rule = Rule::new(
    "federation-majority",
    "k of n validators decide, with 2k > n and n at most 16",
    "raise k",
);
/// The form of a record file.
pub const FORM: Rule = Rule::new(
    "record-form",
    "a record file is JSON with the fields of `hashmix record 1`",
    "export the record again",
);

/// The first line of every record file.
pub const RECORD_FORMAT: &str = "hashmix record 1";

/// Largest record file that is read, in bytes.
pub const RECORD_MAX_BYTES: usize = 16_384;

/// The name, within [`Record::service`], of the terms that a validator's record serves for ever: those of
/// one contract, or of one position.
pub const SERVES: &str = "terms";

/// A place at the table of one contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seat {
    /// Runs machines, binds coinbases, is paid by installments.
    Miner,
    /// Receives the rewards, paid the price.
    Holder,
    /// One of the federation, by his place in its record (0-based).
    Validator(u8),
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Culprit::from(*self).fmt(f)
    }
}

impl Seat {
    /// The seat in one word, for names and headers: `miner`, `holder`, `validator-N`.
    pub fn slug(self) -> String {
        self.to_string().replace(' ', "-")
    }

    /// Reads what [`Seat::slug`] writes; `None` for anything else.
    pub fn from_slug(slug: &str) -> Option<Self> {
        match slug {
            "miner" => Some(Self::Miner),
            "holder" => Some(Self::Holder),
            _ => slug.strip_prefix("validator-")?.parse().ok().map(Self::Validator),
        }
    }
}

impl From<Seat> for Culprit {
    fn from(seat: Seat) -> Self {
        match seat {
            Seat::Miner => Self::Miner,
            Seat::Holder => Self::Holder,
            Seat::Validator(place) => Self::Validator(place),
        }
    }
}

/// What a record is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The miner's seat.
    Miner,
    /// The holder's seat.
    Holder,
    /// A validator's seat.
    Validator,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Miner => "miner",
            Self::Holder => "holder",
            Self::Validator => "validator",
        })
    }
}

/// What a record says, without its signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordBody {
    /// [`RECORD_FORMAT`].
    pub format: String,
    /// The seat it is made for.
    pub role: Role,
    /// The network of keys and address.
    pub network: Network,
    /// The contract it is made for, by the name both sides use until it has an id.
    pub contract: String,
    /// Account key for MuSig2 (key path).
    pub musig: KeyExpression,
    /// Account key for script leaves.
    pub leaf: KeyExpression,
    /// Account key for the solitary exits; may live on a cold device.
    pub exit: KeyExpression,
    /// Key of the position's seal: a holder's record has it if it is to hold one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<KeyExpression>,
    /// Where the person is paid.
    pub payout: Address<NetworkUnchecked>,
    /// Signs messages, receipts and this record (BIP 340).
    pub communication: XOnlyPublicKey,
}

/// A person's keys for one contract, signed as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// What the record says.
    pub record: RecordBody,
    /// BIP-322 simple signature of [`RecordBody::statement`], base64.
    pub signature: String,
}

impl RecordBody {
    /// The record's id: a tagged hash of its canonical form.
    pub fn id(&self) -> Result<RecordId> {
        Ok(RecordId(tagged_hash("hashmix/record/1", &[&canonical::bytes(self)?])))
    }

    /// The text that the communication key signs.
    pub fn statement(&self) -> Result<String> {
        Ok(format!("hashmix record {}", self.id()?))
    }
}

impl Record {
    /// Reads and checks a record file.
    pub fn from_json(text: &str) -> Result<Self> {
        let refuse = |found: &dyn fmt::Display| {
            FORM.refuses(Culprit::Sender, "record", "the fields of `hashmix record 1`", found)
        };
        if text.len() > RECORD_MAX_BYTES {
            return Err(refuse(&format_args!("{} bytes", text.len())));
        }
        let record: Self = serde_json::from_str(text).map_err(|error| refuse(&error))?;
        record.check()?;
        Ok(record)
    }

    /// The record as a file.
    pub fn to_json(&self) -> String {
        // Strings always have a JSON form.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Checks form, network and signature.
    pub fn check(&self) -> Result<()> {
        let body = &self.record;
        let place = || format!("{}'s record", body.role);
        if body.format != RECORD_FORMAT {
            return Err(FORM.refuses(Culprit::Sender, place(), RECORD_FORMAT, &body.format));
        }
        let printable = body.contract.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if body.contract.is_empty() || body.contract.len() > 64 || !printable {
            return Err(CONTRACT.refuses(Culprit::Sender, place(), "a name", &body.contract));
        }
        for (name, key) in body.keys() {
            key.check_network(body.network, format_args!("{}, {name} key", place()))?;
        }
        check_address(&body.payout, body.network, format_args!("{}, payout", place()))?;
        check_distinct([self])?;
        message::verify_text(
            Culprit::Sender,
            body.communication,
            &body.statement()?,
            &self.signature,
        )
        .map_err(|error| error.within(place()))
    }

    /// The record's id.
    pub fn id(&self) -> Result<RecordId> {
        self.record.id()
    }

    /// Refuses a record that was made for another seat, network or contract.
    pub fn check_seat(&self, role: Role, network: Network, contract: &str) -> Result<()> {
        let body = &self.record;
        let place = format!("{}'s record", body.role);
        if body.role != role {
            return Err(ROLE.refuses(Culprit::Sender, place, role, body.role));
        }
        if body.network != network {
            return Err(NETWORK.refuses(Culprit::Sender, place, network, body.network));
        }
        if body.contract != contract {
            return Err(CONTRACT.refuses(Culprit::Sender, place, contract, &body.contract));
        }
        Ok(())
    }

    /// Where the memory of a validator whose record this is holds what the record serves: by the key
    /// that it is signed with.
    pub fn service(&self) -> [u8; 32] {
        tagged_hash("hashmix/registry/1", &[&self.record.communication.serialize()])
    }

    /// The script that pays the person.
    pub fn payout_script(&self) -> ScriptBuf {
        self.record.payout.assume_checked_ref().script_pubkey()
    }
}

impl RecordBody {
    fn keys(&self) -> impl Iterator<Item = (&'static str, &KeyExpression)> {
        let accounts = [("musig", &self.musig), ("leaf", &self.leaf), ("exit", &self.exit)];
        accounts.into_iter().chain(self.seal.as_ref().map(|seal| ("seal", seal)))
    }
}

/// The networks that an address may be of; the test networks share one form.
fn networks_of(address: &Address<NetworkUnchecked>) -> String {
    let all =
        [Network::Bitcoin, Network::Testnet, Network::Testnet4, Network::Signet, Network::Regtest];
    let valid = all.into_iter().filter(|network| address.is_valid_for_network(*network));
    valid.map(|network| network.to_string()).collect::<Vec<_>>().join(" or ")
}

/// Refuses an address of another network.
fn check_address(
    address: &Address<NetworkUnchecked>,
    network: Network,
    place: impl fmt::Display,
) -> Result<()> {
    if address.is_valid_for_network(network) {
        return Ok(());
    }
    Err(NETWORK.refuses(
        Culprit::Sender,
        place,
        format_args!("an address of {network}"),
        format_args!("{}, of {}", address.assume_checked_ref(), networks_of(address)),
    ))
}

/// Refuses records that share an account key or a communication key, compared by the whole key.
pub fn check_distinct<'a>(records: impl IntoIterator<Item = &'a Record>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for record in records {
        let body = &record.record;
        let accounts =
            body.keys().map(|(name, key)| (name, key.public_key().x_only_public_key().0));
        for (name, key) in accounts.chain([("communication", body.communication)]) {
            if !seen.insert(key) {
                return Err(DISTINCT.refuses(
                    Culprit::Sender,
                    format_args!("{}'s record, {name} key", body.role),
                    "a key used nowhere else",
                    format_args!("{key} a second time"),
                ));
            }
        }
    }
    Ok(())
}

/// n validators of whom k decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Federation {
    /// How many of them decide: k.
    pub threshold: u8,
    /// Their records; a validator is known by his place here.
    pub validators: Vec<Record>,
    /// Where rulings are paid.
    pub payout: Address<NetworkUnchecked>,
}

impl Federation {
    /// Checks every record and that 2k > n.
    pub fn check(&self, network: Network, contract: &str) -> Result<()> {
        let (k, n) = (usize::from(self.threshold), self.validators.len());
        if n > 16 || k > n || k.saturating_mul(2) <= n {
            return Err(MAJORITY.refuses(
                Culprit::Sender,
                "federation",
                "k <= n <= 16 and 2k > n",
                format_args!("{k} of {n}"),
            ));
        }
        for record in &self.validators {
            record.check()?;
            record.check_seat(Role::Validator, network, contract)?;
        }
        check_address(&self.payout, network, "federation, payout")
    }

    /// The script that rulings are paid to.
    pub fn payout_script(&self) -> ScriptBuf {
        self.payout.assume_checked_ref().script_pubkey()
    }

    /// The keys that sign receipts and rulings, in record order.
    pub fn ruling_keys(&self) -> Vec<XOnlyPublicKey> {
        self.validators.iter().map(|record| record.record.communication).collect()
    }

    /// The hash that a buyer pins when he chooses the federation.
    pub fn id(&self) -> Result<RecordId> {
        Ok(RecordId(tagged_hash("hashmix/federation/1", &[&canonical::bytes(self)?])))
    }
}
