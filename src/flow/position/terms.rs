//! What a position is: hash power of a miner, in numbers, and the people behind it. One file, one id.

use bitcoin::Amount;
use bitcoin::hashes::{Hash, sha256};
use serde::{Deserialize, Serialize};

use crate::amount::MAX_SATOSHIS;
use crate::canonical;
use crate::error::{Culprit, Result, Rule};
use crate::flow::escrow::terms::{
    Delays, Delivery, EscrowTerms, Fees, TERMS_FORMAT, TERMS_MAX_BYTES, Tenure,
};
use crate::flow::reward::terms::RewardTerms;
use crate::flow::word::WORD_MAX_BYTES;
use crate::id::{TermsId, tagged_hash};
use crate::party::{Federation, Record, check_distinct};
use crate::work::agreement::{Entitlement, Profile};

/// The form of a position's terms.
pub const FORM: Rule = Rule::new(
    "position-form",
    "a position's terms are JSON with the fields of `hashmix position 1`",
    "ask for the file again",
);
/// The first holder can hold the seal.
pub const SEAL: Rule = Rule::new(
    "position-seal",
    "whoever is to hold a seal has a seal key in his record",
    "make the record again with this version, for the holder's seat",
);
/// Who issues also rules.
pub const ISSUER: Rule = Rule::new(
    "position-issuer",
    "the federation that issues has as many validators, as many to decide, and the same payout, as the one that rules on the position's contracts",
    "name the same federation twice: its standing records, and fresh ones for this position",
);
/// Work is proven before the term.
pub const SLICES: Rule = Rule::new(
    "position-slices",
    "the onboarding slice ends before the binding slice begins, and the binding slice before the term",
    "correct the two heights, or let the term start later",
);
/// A certificate can be shown.
pub const SIZE: Rule = Rule::new(
    "position-certificate-size",
    "a certificate with twice the expected shares, of 2,200 bytes each, fits a word of 8,388,608 bytes",
    "let `expected` be at most 1,906 shares a slice",
);
/// An issue states the efficiency.
pub const EFFICIENCY: Rule = Rule::new(
    "position-efficiency",
    "the efficiency is 10 mJ/TH to 655.35 J/TH in steps of 10 mJ/TH",
    "state what the machines take",
);
/// Windows that pass or fail are sold whole.
pub const WINDOW: Rule = Rule::new(
    "sale-window",
    "where windows pass or fail, a contract begins with the first period of a window",
    "sell from the start of a window on; a pro-rata position is sold from any period on",
);

/// Longest share in a word, in bytes: 160 of its header, 938 of 14 levels of its branch, 500 bytes of
/// coinbase in 1,000, and the names of the fields. A longer coinbase leaves room for fewer shares.
const SHARE_BYTES: u64 = 2_200;

/// The first field of a position's terms.
pub const POSITION_FORMAT: &str = "hashmix position 1";

/// Everything that a miner promises with a position, and who stands for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionTerms {
    /// [`POSITION_FORMAT`].
    pub format: String,
    /// Which lower bounds hold.
    pub profile: Profile,
    /// The federation that issues: its standing records, the same for all its positions. A buyer
    /// pins its id.
    pub issuer: Federation,
    /// Miner, first holder (the miner himself, by a second record) and the validators' fresh records
    /// for this position's contracts; what locks are made of.
    pub reward: RewardTerms,
    /// What the machines take, in units of 10 mJ/TH.
    pub efficiency: u16,
    /// First height of the slice that the miner proves on his registered address.
    pub onboarding: u32,
    /// First height of the slice that he proves on the reward lock.
    pub binding: u32,
    /// What is delivered, over the whole term.
    pub delivery: Delivery,
    /// Who has how long in each contract.
    pub delays: Delays,
    /// What transactions may cost.
    pub fees: Fees,
}

impl PositionTerms {
    /// Reads and checks a position's terms.
    pub fn from_json(text: &str) -> Result<Self> {
        let refuse = |found: &dyn core::fmt::Display| {
            let expected = "the fields of `hashmix position 1`";
            FORM.refuses(Culprit::Sender, "position's terms", expected, found)
        };
        if text.len() > TERMS_MAX_BYTES {
            return Err(refuse(&format_args!("{} bytes", text.len())));
        }
        let terms: Self = serde_json::from_str(text).map_err(|error| refuse(&error))?;
        terms.check()?;
        Ok(terms)
    }

    /// The terms as a file.
    pub fn to_json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| FORM.broken("position's terms", "JSON", error))?;
        Ok(text + "\n")
    }

    /// Checks people, delivery, delays and fees as those of a contract for the whole term, and what
    /// only a position has.
    pub fn check(&self) -> Result<()> {
        let place = "position's terms";
        if self.format != POSITION_FORMAT {
            return Err(FORM.refuses(Culprit::Sender, place, POSITION_FORMAT, &self.format));
        }
        self.contract(Amount::from_sat(MAX_SATOSHIS)).check()?;
        if self.reward.holder.record.seal.is_none() {
            return Err(SEAL.refuses(
                Culprit::Miner,
                "first holder's record",
                "a seal key",
                "none",
            ));
        }
        self.issuer.check(self.reward.network, self.issuer_name())?;
        let ruling = &self.reward.federation;
        let people = |federation: &Federation| (federation.threshold, federation.validators.len());
        if people(&self.issuer) != people(ruling) {
            let ((k, n), (issuing_k, issuing_n)) = (people(ruling), people(&self.issuer));
            let expected = format_args!("{k} of {n}").to_string();
            let found = format_args!("{issuing_k} of {issuing_n}").to_string();
            return Err(ISSUER.refuses(Culprit::Sender, place, expected, found));
        }
        let parties = [&self.reward.miner, &self.reward.holder];
        let standing = self.issuer.validators.iter();
        check_distinct(parties.into_iter().chain(&ruling.validators).chain(standing))?;
        if self.reward.federation.payout != self.issuer.payout {
            let expected = self.issuer.payout.assume_checked_ref();
            let found = self.reward.federation.payout.assume_checked_ref();
            return Err(ISSUER.refuses(Culprit::Miner, "payout of rulings", expected, found));
        }
        let Delivery { slice, start, receipt_span, .. } = self.delivery;
        let ends = |first: u32| first.saturating_add(slice);
        // What comes after the last slice, receipts first, takes blocks too.
        if self.onboarding == 0
            || ends(self.onboarding) > self.binding
            || ends(self.binding).saturating_add(receipt_span) > start
        {
            let expected = format_args!(
                "{slice} blocks each and {receipt_span} for receipts, above height 0 and below {start}"
            );
            let (expected, found) = (expected.to_string(), [self.onboarding, self.binding]);
            let found = format!("{found:?}");
            return Err(SLICES.refuses(Culprit::Sender, place, expected, found));
        }
        // Who finds more leaves some out: what is proven is a count below the expected one.
        let most = u64::from(self.delivery.expected).saturating_mul(2);
        let bytes = most.saturating_mul(SHARE_BYTES);
        if usize::try_from(bytes).unwrap_or(usize::MAX) > WORD_MAX_BYTES {
            let expected = format!("at most {WORD_MAX_BYTES} bytes");
            let found = format!("{most} shares of {SHARE_BYTES} bytes, {bytes} bytes");
            return Err(SIZE.refuses(Culprit::Sender, "expected", expected, found));
        }
        if self.efficiency == 0 {
            return Err(EFFICIENCY.refuses(Culprit::Miner, place, "at least 1", 0));
        }
        Ok(())
    }

    /// The name that the issuing federation's standing records are made for.
    pub fn issuer_name(&self) -> &str {
        self.issuer.validators.first().map_or("", |first| first.record.contract.as_str())
    }

    /// The full terms: deterministic CBOR, whose SHA256 the issue commits to.
    pub fn full(&self) -> Result<Vec<u8>> {
        canonical::bytes(self)
    }

    /// SHA256 of the full terms: stands for the position until it has a txid.
    pub fn hash(&self) -> Result<[u8; 32]> {
        Ok(sha256::Hash::hash(&self.full()?).to_byte_array())
    }

    /// The id of the terms, under which words about the issue are said.
    pub fn id(&self) -> Result<TermsId> {
        Ok(TermsId(tagged_hash("hashmix/position/1", &[&self.full()?])))
    }

    /// The terms of the contract that a sale makes: these, with the new holder, what his escrow begins
    /// with, and the part of the term that it pays for. Nobody writes them: seller, buyer, miner and
    /// whoever reads the dossier make the same ones.
    ///
    /// Windows are counted from the contract's first period. What passes or fails keeps the critical
    /// counts of the windows that are left, so it is cut between two of them.
    pub fn sold(&self, holder: &Record, price: Amount, tenure: Tenure) -> Result<EscrowTerms> {
        if holder.record.seal.is_none() {
            return Err(SEAL.refuses(Culprit::Holder, "buyer's record", "a seal key", "none"));
        }
        let mut contract = self.contract(price);
        if let Entitlement::PassFail { critical } = &mut contract.delivery.rule {
            let (first, window) = (tenure.first, self.delivery.window);
            if first.checked_rem(window) != Some(0) {
                let expected = format!("the first period of a window of {window} periods");
                let found = format_args!("period {}", first.saturating_add(1));
                return Err(WINDOW.refuses(Culprit::Sender, "contract of a sale", expected, found));
            }
            let over = first.checked_div(window).and_then(|over| usize::try_from(over).ok());
            let over = over.unwrap_or(usize::MAX).min(critical.len());
            critical.drain(..over);
        }
        contract.reward.holder = holder.clone();
        contract.tenure = Some(tenure);
        contract.check()?;
        Ok(contract)
    }

    /// The terms of a contract for the whole term, at `price`, with the first holder.
    pub fn contract(&self, price: Amount) -> EscrowTerms {
        EscrowTerms {
            format: TERMS_FORMAT.to_owned(),
            profile: self.profile,
            reward: self.reward.clone(),
            price,
            delivery: self.delivery.clone(),
            delays: self.delays.clone(),
            fees: self.fees.clone(),
            tenure: None,
        }
    }
}
