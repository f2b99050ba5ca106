//! What a sale is agreed on. One file, one id; every number of the contract is in it.
//!
//! A position that was issued is sold several times. Each sale makes new terms, with an id and an
//! escrow of their own, for the rest of the position's term: a [`Tenure`] says which part. What is
//! delivered stays as it was issued, numbers included, so that work proven under one contract is good
//! in the next.

use bitcoin::{Amount, Target};
use serde::{Deserialize, Serialize};

use crate::amount;
use crate::canonical;
use crate::error::{Culprit, Result, Rule};
use crate::flow::reward::coins as reward;
use crate::flow::reward::terms::RewardTerms;
use crate::height::Calendar;
use crate::id::{PositionId, TermsId, tagged_hash};
use crate::tx::draft::fee;
use crate::work::agreement::{Earlier, Entitlement, Profile, WorkTerms};

/// The form of a terms file.
pub const FORM: Rule = Rule::new(
    "terms-form",
    "a terms file is JSON with the fields of `hashmix terms 1`",
    "ask for the file again",
);
/// The profile fits the network.
pub const PROFILE: Rule = Rule::new(
    "terms-profile",
    "the regtest profile holds on regtest alone",
    "use the mainnet profile",
);
/// Delays leave people time to act.
pub const DELAYS: Rule = Rule::new(
    "terms-delays",
    "every delay reaches the lower bound of its profile",
    "agree on a longer delay",
);
/// Amounts are worth a transaction.
pub const PRICE: Rule = Rule::new(
    "terms-price",
    "an installment is at least ten times the cost of its settlement at the fee cap",
    "agree on longer periods or a higher price",
);
/// Fee rates are within reason.
pub const FEES: Rule = Rule::new(
    "terms-fees",
    "the fee floor is at least 1 sat/vB, the cap at least the floor and at most 1,000 sat/vB, the ruling fee above dust",
    "agree on other fee bounds",
);

/// Everybody is paid at an address of his own.
pub const PAYEES: Rule = Rule::new(
    "terms-payees",
    "miner, holder and federation are paid at different addresses",
    "make a fresh address; else nobody could tell from a transaction who was paid",
);
/// A period is one of the term.
pub const PERIOD: Rule =
    Rule::new("terms-period", "a period is one of the term", "count the periods from 1");

/// A contract pays for a part of an issued position's term.
pub const TENURE: Rule = Rule::new(
    "terms-tenure",
    "a tenure came with a transfer, begins within the term, and its earlier locks follow each other and differ",
    "take position, transfer and locks from the dossier of the position",
);

/// The first field of every terms file.
pub const TERMS_FORMAT: &str = "hashmix terms 1";

/// Largest terms file that is read, in bytes.
pub const TERMS_MAX_BYTES: usize = 262_144;

/// What is delivered and how it is measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// First height of the term.
    pub start: u32,
    /// Blocks in a period: a multiple of the slice, at least 12 on mainnet.
    pub period: u32,
    /// Number of periods.
    pub periods: u32,
    /// Periods in a window.
    pub window: u32,
    /// Blocks in a slice: 12 on mainnet.
    pub slice: u32,
    /// Agreed rate, H/s.
    pub rate: u64,
    /// Share target t: 64 hex digits, most significant first.
    pub target: Target,
    /// Shares expected in a slice at the agreed rate: m.
    pub expected: u32,
    /// How credit becomes entitlement.
    pub rule: Entitlement,
    /// Most that a coinbase may pay out above the subsidy (satoshis).
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub coinbase_cap: Amount,
    /// Blocks after a slice within which a receipt counts.
    pub receipt_span: u32,
    /// Blocks after a slice within which a digest in a transaction counts.
    pub proof_span: u32,
    /// Blocks on a period's last block before it is ruled on.
    pub ruling_depth: u32,
}

/// Who has how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delays {
    /// Blocks on an escrow output before states are signed on it.
    pub state_depth: u32,
    /// Blocks that a fresh re-lock leaves the miner before the holder's exit.
    pub relock: u16,
    /// Blocks from the end of the term to the holder's exit (T).
    pub grace: u32,
    /// Blocks from the holder's exit to the miner's (Y).
    pub miner_exit: u32,
    /// Blocks that the other side has to answer a dispute.
    pub answer: u32,
    /// Blocks before T in which no dispute opens.
    pub quiet: u32,
    /// Blocks after an escrow output confirmed in which a dispute may open whatever T says.
    pub late_dispute: u32,
}

/// What a transaction may cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fees {
    /// Least fee rate, sat/vB.
    pub floor: u64,
    /// Highest fee rate, sat/vB.
    pub cap: u64,
    /// What a ruling costs whoever asks for it (satoshis); paid to the federation.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub ruling: Amount,
}

/// Which part of an issued position's term a contract pays for, and which locks coinbases pay meanwhile.
///
/// Whether this is the position's true story its dossier shows, and not these terms. The miner's
/// service script, its share and the validators' ruling keys have to stay those of the contract
/// before: earlier shares paid that script, and their receipts are signed with those keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenure {
    /// The position: the txid of its issue.
    pub position: PositionId,
    /// Number of the transfer of the seal that the contract came with; from 1.
    pub transfer: u32,
    /// First period (0-based, of the position's term) that the contract pays for.
    pub first: u32,
    /// Locks of the holders before, which the contract's first periods still pay, in order; empty
    /// where the miner himself sold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Earlier>,
}

/// Everything that two parties and their validators agree on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EscrowTerms {
    /// [`TERMS_FORMAT`].
    pub format: String,
    /// Which lower bounds hold.
    pub profile: Profile,
    /// The people and the reward lock.
    pub reward: RewardTerms,
    /// The price of the whole term, or of the part that the tenure names (satoshis).
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub price: Amount,
    /// What is delivered.
    pub delivery: Delivery,
    /// Who has how long.
    pub delays: Delays,
    /// What transactions may cost.
    pub fees: Fees,
    /// Which part of an issued position is sold; left out where a contract is the position, and pays
    /// for the whole term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenure: Option<Tenure>,
}

impl EscrowTerms {
    /// Reads and checks a terms file.
    pub fn from_json(text: &str) -> Result<Self> {
        let refuse = |found: &dyn core::fmt::Display| {
            FORM.refuses(Culprit::Sender, "terms", "the fields of `hashmix terms 1`", found)
        };
        if text.len() > TERMS_MAX_BYTES {
            return Err(refuse(&format_args!("{} bytes", text.len())));
        }
        let terms: Self = serde_json::from_str(text).map_err(|error| refuse(&error))?;
        terms.check()?;
        Ok(terms)
    }

    /// Checks people, tenure, delivery, delays, fees and price.
    pub fn check(&self) -> Result<()> {
        if self.format != TERMS_FORMAT {
            return Err(FORM.refuses(Culprit::Sender, "terms", TERMS_FORMAT, &self.format));
        }
        let network = self.reward.network;
        if self.profile == Profile::Regtest && network != bitcoin::Network::Regtest {
            return Err(PROFILE.refuses(Culprit::Sender, "terms", "regtest", network));
        }
        self.reward.check()?;
        self.check_payees()?;
        self.check_tenure()?;
        self.work()?;
        self.check_delays()?;
        self.check_fees()
    }

    /// The id of the terms: a tagged hash of their canonical form (deterministic CBOR).
    pub fn id(&self) -> Result<TermsId> {
        Ok(TermsId(tagged_hash("hashmix/terms/1", &[&canonical::bytes(self)?])))
    }

    /// What all contracts of an issued position have in common: a tagged hash of everything but holder,
    /// price, and the part that is sold. `None` for a contract that is the position itself.
    pub fn lineage(&self) -> Result<Option<[u8; 32]>> {
        let Some(tenure) = &self.tenure else { return Ok(None) };
        let blank = Tenure { transfer: 0, first: 0, earlier: Vec::new(), ..tenure.clone() };
        let mut common = Self { price: Amount::ZERO, tenure: Some(blank), ..self.clone() };
        common.reward.holder = self.reward.miner.clone();
        // Critical counts go with the windows that are left.
        if let Entitlement::PassFail { critical } = &mut common.delivery.rule {
            critical.clear();
        }
        Ok(Some(tagged_hash("hashmix/lineage/1", &[&canonical::bytes(&common)?])))
    }

    /// The position's id: the txid of its issue, or the id of the terms where none was issued.
    pub fn position(&self) -> Result<PositionId> {
        match &self.tenure {
            Some(tenure) => Ok(tenure.position),
            None => self.id().map(|id| PositionId(id.0)),
        }
    }

    /// The first period (0-based, of the term) that the contract pays for.
    pub fn first_period(&self) -> u32 {
        self.tenure.as_ref().map_or(0, |tenure| tenure.first)
    }

    /// What a period (0-based, of the term) costs (satoshis): the price is spread over the periods that
    /// the contract pays for. Nothing for the others.
    pub fn installment(&self, period: u32) -> Amount {
        let paid = self.calendar().paid_periods();
        let number = period.checked_sub(self.first_period());
        number.map_or(Amount::ZERO, |number| amount::installment(self.price, number, paid))
    }

    /// Slices, periods and windows in blocks.
    pub fn calendar(&self) -> Calendar {
        let delivery = &self.delivery;
        Calendar {
            start: delivery.start,
            slice: delivery.slice,
            period: delivery.period,
            periods: delivery.periods,
            first: self.first_period(),
            window: delivery.window,
            receipt_span: delivery.receipt_span,
            proof_span: delivery.proof_span,
            ruling_depth: delivery.ruling_depth,
        }
    }

    /// What a share is judged by.
    pub fn work(&self) -> Result<WorkTerms> {
        WorkTerms {
            network: self.reward.network,
            start: self.delivery.start,
            period: self.delivery.period,
            periods: self.delivery.periods,
            first: self.first_period(),
            window: self.delivery.window,
            slice: self.delivery.slice,
            rate: self.delivery.rate,
            target: self.delivery.target,
            expected: self.delivery.expected,
            lock: reward::lock(&self.reward)?.script_pubkey,
            earlier: self.earlier().to_vec(),
            service: self.reward.miner.payout_script(),
            service_ppm: self.reward.service_ppm,
            cap: self.delivery.coinbase_cap,
            receipt_span: self.delivery.receipt_span,
            proof_span: self.delivery.proof_span,
            ruling_depth: self.delivery.ruling_depth,
            rule: self.delivery.rule.clone(),
        }
        .check(self.profile)
    }

    fn earlier(&self) -> &[Earlier] {
        self.tenure.as_ref().map_or(&[], |tenure| &tenure.earlier)
    }

    /// T: the height from which the holder alone may take the escrow.
    pub fn holder_exit_height(&self) -> u32 {
        self.calendar().end().saturating_add(self.delays.grace)
    }

    /// T + Y: the height from which the miner alone may take the escrow.
    pub fn miner_exit_height(&self) -> u32 {
        self.holder_exit_height().saturating_add(self.delays.miner_exit)
    }

    /// The height from which a period (0-based) may be ruled on: nLockTime of its settlement.
    pub fn ruling_height(&self, period: u32) -> Result<u32> {
        self.calendar().ruled_from(period).ok_or_else(|| {
            PERIOD.refuses(
                Culprit::Sender,
                "period",
                format_args!(
                    "{} to {}",
                    self.first_period().saturating_add(1),
                    self.delivery.periods
                ),
                period.saturating_add(1),
            )
        })
    }

    /// Refuses a fee rate outside the terms.
    pub fn check_rate(&self, sat_per_vb: u64, by: Culprit) -> Result<()> {
        let Fees { floor, cap, .. } = self.fees;
        if (floor..=cap).contains(&sat_per_vb) {
            return Ok(());
        }
        Err(FEES.refuses(by, "fee rate", format_args!("{floor} to {cap} sat/vB"), sat_per_vb))
    }

    fn check_payees(&self) -> Result<()> {
        let (miner, holder) = (&self.reward.miner, &self.reward.holder);
        let scripts = [miner.payout_script(), holder.payout_script()];
        let federation = self.reward.federation.payout_script();
        let names = ["the miner", "the holder"];
        let same = match scripts.iter().position(|script| *script == federation) {
            Some(place) => names.get(place).map(|name| format!("{name} and the federation alike")),
            None if scripts.first() == scripts.last() => Some("miner and holder alike".to_owned()),
            None => None,
        };
        match same {
            Some(found) => {
                Err(PAYEES.refuses(Culprit::Sender, "terms, payouts", "three addresses", found))
            }
            None => Ok(()),
        }
    }

    fn check_tenure(&self) -> Result<()> {
        let Some(tenure) = &self.tenure else { return Ok(()) };
        let refuse = |place: &str, expected: &str, found: &dyn core::fmt::Display| {
            Err(TENURE.refuses(Culprit::Sender, format_args!("terms, {place}"), expected, found))
        };
        if tenure.transfer == 0 {
            return refuse("tenure, transfer", "a number from 1", &tenure.transfer);
        }
        let lock = reward::lock(&self.reward)?.script_pubkey;
        let service = self.reward.miner.payout_script();
        let (periods, earlier) = (self.delivery.periods, &tenure.earlier);
        match Earlier::fault(tenure.first, periods, earlier, &lock, &service) {
            Some((expected, found)) => refuse("tenure", &expected, &found),
            None => Ok(()),
        }
    }

    fn check_delays(&self) -> Result<()> {
        let delays = &self.delays;
        let least: [(&str, u32, u32, u32); 8] = [
            ("state depth", delays.state_depth, 6, 2),
            ("re-lock delay", delays.relock.into(), 2_016, 6),
            ("grace", delays.grace, 12_960, 24),
            ("miner's exit delay", delays.miner_exit, 52_560, 12),
            ("answer span", delays.answer, 144, 3),
            ("quiet span", delays.quiet, 432, 6),
            ("late dispute span", delays.late_dispute, 1_584, 6),
            ("reward exit delay", self.reward.exit_delay.into(), 26_280, 12),
        ];
        for (name, found, mainnet, regtest) in least {
            let bound = if self.profile == Profile::Mainnet { mainnet } else { regtest };
            if found < bound {
                return Err(DELAYS.refuses(
                    Culprit::Sender,
                    format_args!("terms, {name}"),
                    format_args!("at least {bound} blocks"),
                    found,
                ));
            }
        }
        let last = u64::from(self.calendar().end());
        let exits =
            last.saturating_add(delays.grace.into()).saturating_add(delays.miner_exit.into());
        // Whatever opens last is ruled on before the holder's exit opens.
        let late = delays.late_dispute.saturating_add(delays.answer);
        if late >= u32::from(delays.relock) || delays.answer >= delays.quiet {
            return Err(DELAYS.refuses(
                Culprit::Sender,
                "terms, disputes",
                "a late dispute and its answer within the re-lock delay, an answer within the quiet span",
                format_args!(
                    "late dispute {}, answer {}, re-lock {}, quiet {}",
                    delays.late_dispute, delays.answer, delays.relock, delays.quiet
                ),
            ));
        }
        if exits >= u64::from(bitcoin::absolute::LOCK_TIME_THRESHOLD) || delays.quiet > delays.grace
        {
            return Err(DELAYS.refuses(
                Culprit::Sender,
                "terms, exits",
                "heights below 500,000,000 and a quiet span within the grace",
                format_args!("last exit at {exits}, quiet span {}", delays.quiet),
            ));
        }
        Ok(())
    }

    fn check_fees(&self) -> Result<()> {
        let Fees { floor, cap, ruling } = self.fees;
        if floor < 1 || cap < floor || cap > 1_000 {
            return Err(FEES.refuses(
                Culprit::Sender,
                "terms, fees",
                "1 <= floor <= cap <= 1,000 sat/vB",
                format_args!("floor {floor}, cap {cap}"),
            ));
        }
        let dust = self.reward.federation.payout_script().minimal_non_dust();
        if ruling < dust {
            return Err(FEES.refuses(
                Culprit::Sender,
                "terms, ruling fee",
                format_args!("at least {dust}, or no ruling can pay it"),
                ruling,
            ));
        }
        // A settlement through the agreed leaf: two outputs of 43 vB, an input of 116 vB.
        let cost = fee(215, cap)?.to_sat().saturating_add(ruling.to_sat());
        let least = Amount::from_sat(cost.saturating_mul(10));
        let installment = amount::installment(
            amount::bounded(self.price, "terms, price")?,
            0,
            self.calendar().paid_periods(),
        );
        if installment < least {
            return Err(PRICE.refuses(
                Culprit::Sender,
                "terms, price",
                format_args!("at least {least} an installment"),
                installment,
            ));
        }
        Ok(())
    }
}
