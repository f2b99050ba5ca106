//! What the parties agreed on about work: how much, when, proven how, paid into which lock.
//!
//! The terms carry every block count themselves. On mainnet each has a lower bound, because each
//! bounds an attack: a short receipt span loses honest certificates to a slow validator, a shallow
//! ruling depth rules on blocks that a reorg still takes away, few expected shares make the count
//! a lottery. A regtest profile drops those bounds, so that a deal fits into a few hundred blocks.
//!
//! A position is sold several times, and each sale makes a contract of its own for the periods from
//! `first` on. The miner learns of a sale when it is over, so coinbases change their lock at the start
//! of a later period: until then the contract counts what pays the locks of the holders before
//! ([`Earlier`]).
//!
//! ```text
//!  period     0     1     2     3     4     5
//!  paid by    |- contract before -|- this contract: first 3 ...
//!  lock       |---- of the holder before: until 4 ---|---- the present one
//! ```

use core::ops::RangeInclusive;

use bitcoin::{Amount, Network, Script, ScriptBuf, Target};
use ruint::aliases::U384;
use serde::{Deserialize, Serialize};

use crate::amount::{MAX_SATOSHIS, MILLION, installment};
use crate::error::{Culprit, Result, Rule};
use crate::height::Calendar;

/// Block counts fit together and reach their profile's lower bounds.
pub const SPANS: Rule = Rule::new(
    "work-terms-spans",
    "slices, periods, windows and deadlines fit together",
    "correct the block counts in the terms",
);
/// The term lies where an issue can state it.
pub const TERM: Rule = Rule::new(
    "work-terms-term",
    "the term starts after block 0 and ends below height 2^24",
    "correct the start height or the number of periods",
);
/// The share target is the one that yields the expected shares at the agreed rate.
pub const SHARES: Rule = Rule::new(
    "work-terms-shares",
    "the share target yields the expected number of shares at the agreed rate",
    "derive the target from the rate and the expected shares",
);
/// The service share is at least 1 % and less than everything.
pub const SERVICE: Rule = Rule::new(
    "work-terms-service",
    "the service share is at least 10,000 and below 1,000,000 parts per million, to a script of its own",
    "correct the service share in the terms",
);
/// The cap leaves the coinbase's total within the money there can be.
pub const CAP: Rule = Rule::new(
    "work-terms-cap",
    "the cap on fees is an amount of money",
    "correct the cap in the terms",
);
/// The lock is a script that can be paid and spent.
pub const LOCK: Rule = Rule::new(
    "work-terms-lock",
    "the reward lock is a spendable script",
    "instantiate the lock from its descriptor",
);
/// Critical counts fit the windows.
pub const CRITICAL: Rule = Rule::new(
    "work-terms-critical",
    "pass-fail terms state one reachable critical count per window",
    "correct the critical counts in the terms",
);
/// A contract pays for a part of the term, and each of its periods has one lock.
pub const TENURE: Rule = Rule::new(
    "work-terms-tenure",
    "a contract pays from a period of the term on, and its earlier locks follow each other and differ",
    "correct the first period or the earlier locks in the terms",
);
/// Real money is agreed on with real delays.
pub const PROFILE: Rule = Rule::new(
    "work-terms-profile",
    "terms for mainnet keep the lower bounds of the mainnet profile",
    "use the mainnet profile",
);

/// Seconds that the agreed rate expects between two blocks.
pub const BLOCK_SECONDS: u64 = 600;

/// Shares that a certificate may list, as a multiple of those expected.
const MOST_SHARES: u32 = 4;

/// Shares expected in a window on mainnet at the least: a relative error of 1 %.
const WINDOW_SHARES: u64 = 10_000;

/// Most periods of a term: eleven years of days. Each has an escrow lock of its own, which everybody
/// derives.
const MOST_PERIODS: u32 = 4_096;
/// The first height that an issue cannot state in its 24 bits.
const END_OF_HEIGHTS: u64 = 1 << 24;

/// Most locks of earlier holders that one contract still counts: sales within a notice period.
const MOST_EARLIER: usize = 16;

/// Which lower bounds hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Delays and counts that are safe where coins have value.
    Mainnet,
    /// Small numbers; refused on mainnet.
    Regtest,
}

/// How proven work becomes satoshis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Entitlement {
    /// Each period pays for the part of its agreed work that the window's credit fills.
    ProRata,
    /// A period pays all or nothing, by a count of shares over its window.
    PassFail {
        /// For each window, the fewest shares that do not reject "delivered at least as agreed".
        critical: Vec<u32>,
    },
}

/// The lock of a holder before, which the first periods of a contract still pay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Earlier {
    /// The first period (0-based, of the term) that pays this lock no more.
    pub until: u32,
    /// The reward lock of that holder.
    pub lock: ScriptBuf,
}

impl Earlier {
    /// What is wrong with a contract that pays from period `first` of `periods` on, these locks of
    /// holders before first, then `lock`: what was expected, and what was found.
    ///
    /// A lock that comes again would be paid by two holders' coinbases; a service script among the
    /// locks would count one output twice.
    pub(crate) fn fault(
        first: u32,
        periods: u32,
        earlier: &[Self],
        lock: &Script,
        service: &Script,
    ) -> Option<(String, String)> {
        if first >= periods {
            return Some((format!("a first period below {periods}"), first.to_string()));
        }
        if earlier.len() > MOST_EARLIER {
            let expected = format!("at most {MOST_EARLIER} earlier locks");
            return Some((expected, earlier.len().to_string()));
        }
        let mut before = first;
        for (place, Self { until, lock: paid }) in earlier.iter().enumerate() {
            if *until <= before || *until >= periods {
                let expected = format!("an end above period {before} and below {periods}");
                return Some((expected, until.to_string()));
            }
            if paid.is_empty() || paid.is_op_return() {
                return Some(("spendable earlier locks".to_owned(), format!("{paid:x}")));
            }
            let others = earlier.iter().take(place).map(|other| other.lock.as_script());
            if others.chain([lock]).any(|other| other == paid.as_script()) {
                let expected = "earlier locks that differ from the present one and from each other";
                return Some((expected.to_owned(), format!("{paid:x} twice")));
            }
            if service == paid.as_script() {
                let expected = "earlier locks other than the service script";
                return Some((expected.to_owned(), format!("{paid:x}")));
            }
            before = *until;
        }
        None
    }
}

/// The terms of a contract as far as work is concerned. Public fields, so that they read like the
/// document they are; [`WorkTerms::check`] is the only way to terms that the rest relies on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkTerms {
    /// The network whose blocks are meant.
    pub network: Network,
    /// Height of the first block of the term.
    pub start: u32,
    /// Blocks in a period: a multiple of the slice.
    pub period: u32,
    /// Periods in the term.
    pub periods: u32,
    /// The first period (0-based) that the contract pays for; 0 where it pays for the whole term.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub first: u32,
    /// Periods in a window, within which credit fills the periods in order.
    pub window: u32,
    /// Blocks in a slice; each slice has its certificates.
    pub slice: u32,
    /// Agreed hash rate, in hashes per second of header time.
    pub rate: u64,
    /// The share target t.
    pub target: Target,
    /// Shares expected in a slice at the agreed rate and 600 s a block (m).
    pub expected: u32,
    /// The reward lock that the coinbase pays, since the last of the earlier ones.
    pub lock: ScriptBuf,
    /// Locks of the holders before, which the contract's first periods still pay, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Earlier>,
    /// The miner's own script for electricity and incentive, paid in the output directly behind.
    pub service: ScriptBuf,
    /// The service share, in parts per million of lock and service together; 0 where none is asked for,
    /// which no contract may state.
    pub service_ppm: u32,
    /// Most that a coinbase may pay out beyond the subsidy (satoshis).
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub cap: Amount,
    /// Blocks after a slice's end within which receipts seal its certificates.
    pub receipt_span: u32,
    /// Blocks after a slice's end within which a confirmed digest seals them.
    pub proof_span: u32,
    /// Depth of a period's last block at which the period is ruled on.
    pub ruling_depth: u32,
    /// How work becomes satoshis.
    pub rule: Entitlement,
}

/// Terms that pay for the whole term are written as they were before there were others.
fn is_zero(first: &u32) -> bool {
    *first == 0
}

/// The share target that yields `expected` shares in a slice of `slice` blocks at `rate` hashes per
/// second and 600 s a block: floor(2^256 x expected / (rate x 600 x slice)), at most 2^256 - 1.
pub fn share_target(rate: u64, expected: u32, slice: u32) -> Target {
    U384::from(expected)
        .checked_shl(256)
        .and_then(|shares| shares.checked_div(slice_work(rate, slice)))
        .filter(|target| target.bit_len() <= 256)
        .map_or_else(every_hash, |target| {
            let bytes = target.to_be_bytes::<48>();
            bytes.last_chunk::<32>().map_or_else(every_hash, |low| Target::from_be_bytes(*low))
        })
}

/// The target that every hash meets; `Target::MAX` is difficulty 1.
fn every_hash() -> Target {
    Target::from_be_bytes([0xff; 32])
}

/// Hashes in a slice at the agreed rate; below 2^110.
fn slice_work(rate: u64, slice: u32) -> U384 {
    let seconds = u128::from(BLOCK_SECONDS).saturating_mul(u128::from(slice));
    U384::from(u128::from(rate).saturating_mul(seconds))
}

/// Shares that a slice yields on average, to the nearest whole: work x t / 2^256.
fn yielded(rate: u64, target: Target, slice: u32) -> Option<U384> {
    let product = slice_work(rate, slice).checked_mul(wide(target))?;
    let half = U384::from(1u8).checked_shl(255)?;
    Some(product.checked_add(half)?.wrapping_shr(256))
}

/// A target as a number that has room for products.
pub(crate) fn wide(target: Target) -> U384 {
    U384::from_be_slice(&target.to_be_bytes())
}

impl WorkTerms {
    /// The same terms, if they hang together and keep the profile's bounds.
    pub fn check(self, profile: Profile) -> Result<Self> {
        if self.network == Network::Bitcoin && profile != Profile::Mainnet {
            return Err(refuse(PROFILE, "network", "the mainnet profile", "the regtest profile"));
        }
        self.check_spans()?;
        self.check_tenure()?;
        self.check_bounds(profile)?;
        self.check_shares(profile)?;
        self.check_payments()?;
        self.check_rule()?;
        Ok(self)
    }

    /// The blocks of the term.
    pub fn calendar(&self) -> Calendar {
        Calendar {
            start: self.start,
            slice: self.slice,
            period: self.period,
            periods: self.periods,
            first: self.first,
            window: self.window,
            receipt_span: self.receipt_span,
            proof_span: self.proof_span,
            ruling_depth: self.ruling_depth,
        }
    }

    /// Shares that one certificate may list: four times the expected ones.
    pub fn most_shares(&self) -> u64 {
        u64::from(self.expected).saturating_mul(u64::from(MOST_SHARES))
    }

    /// What a period (0-based) costs of a contract's price (satoshis): it is spread over the periods
    /// that the contract pays for. Nothing for the others.
    pub fn installment(&self, price: Amount, period: u32) -> Amount {
        let paid = self.calendar().paid_periods();
        period.checked_sub(self.first).map_or(Amount::ZERO, |i| installment(price, i, paid))
    }

    /// The reward lock that coinbases of a slice pay: of the holder in its period.
    pub fn lock_at(&self, slice: u32) -> &Script {
        // Terms without periods are refused; what they answer is of no matter.
        let period = slice.checked_div(self.calendar().slices_per_period()).unwrap_or(0);
        let earlier = self.earlier.iter().find(|earlier| period < earlier.until);
        earlier.map_or(&self.lock, |earlier| &earlier.lock)
    }

    /// The locks in their order, each with the heights at which coinbases pay it.
    pub fn locks(&self) -> Vec<(RangeInclusive<u32>, &Script)> {
        let calendar = self.calendar();
        let mut begin = calendar.begin();
        let mut locks: Vec<(RangeInclusive<u32>, &Script)> = Vec::new();
        for Earlier { until, lock } in &self.earlier {
            let next = self.start.saturating_add(self.period.saturating_mul(*until));
            locks.push((begin..=next.saturating_sub(1), lock));
            begin = next;
        }
        locks.push((begin..=calendar.end(), &self.lock));
        locks
    }

    /// The same terms, which know the lock that coinbases paid before the position was sold first. It is
    /// due at no height, and a refusal names it.
    pub fn sold_by(mut self, lock: ScriptBuf) -> Self {
        if self.locks().iter().all(|(_, known)| **known != *lock) {
            self.earlier.insert(0, Earlier { until: self.first, lock });
        }
        self
    }

    /// What rules 2-5 demand of the coinbase and hash of a share in a slice.
    pub fn demand(&self, slice: u32) -> Demand<'_> {
        Demand {
            network: self.network,
            lock: self.lock_at(slice),
            holders: (!self.earlier.is_empty()).then_some(self),
            service: (self.service_ppm > 0).then_some((&self.service, self.service_ppm)),
            cap: self.cap,
            target: self.target,
        }
    }

    fn check_spans(&self) -> Result<()> {
        let spans = |place: &str, expected: &str, found: u32| refuse(SPANS, place, expected, found);
        if self.slice == 0 {
            return Err(spans("slice", "at least 1 block", self.slice));
        }
        if self.period == 0 || self.period.checked_rem(self.slice) != Some(0) {
            return Err(spans("period", "a multiple of the slice", self.period));
        }
        if !(1..=MOST_PERIODS).contains(&self.periods) {
            return Err(spans("periods", "1 to 4,096", self.periods));
        }
        if self.window == 0 {
            return Err(spans("window", "at least 1 period", self.window));
        }
        if self.proof_span < self.receipt_span {
            return Err(spans("proof_span", "at least the receipt span", self.proof_span));
        }
        // Evidence must be complete before it is ruled on.
        if self.ruling_depth <= self.proof_span {
            return Err(spans("ruling_depth", "more than the proof span", self.ruling_depth));
        }
        let blocks = u64::from(self.period).saturating_mul(u64::from(self.periods));
        let end = blocks.saturating_add(u64::from(self.start));
        let ruled = end.saturating_add(u64::from(self.ruling_depth));
        if self.start == 0 || ruled >= END_OF_HEIGHTS {
            return Err(refuse(
                TERM,
                "start",
                "a start above 0 and an end, ruling depth included, below 16,777,216",
                format_args!("start {}, end {ruled}", self.start),
            ));
        }
        Ok(())
    }

    fn check_tenure(&self) -> Result<()> {
        let fault =
            Earlier::fault(self.first, self.periods, &self.earlier, &self.lock, &self.service);
        fault.map_or(Ok(()), |(expected, found)| Err(refuse(TENURE, "tenure", expected, found)))
    }

    fn check_bounds(&self, profile: Profile) -> Result<()> {
        if profile == Profile::Regtest {
            return Ok(());
        }
        for (place, found, least) in [
            ("slice", self.slice, 12),
            ("period", self.period, 12),
            ("receipt_span", self.receipt_span, 36),
            ("proof_span", self.proof_span, 42),
            ("ruling_depth", self.ruling_depth, 144),
        ] {
            if found < least {
                return Err(refuse(SPANS, place, format_args!("at least {least}"), found));
            }
        }
        if !self.period.is_multiple_of(12) {
            return Err(refuse(SPANS, "period", "a multiple of 12", self.period));
        }
        let calendar = self.calendar();
        // Also where a contract pays for less than a window: the target is the position's, and whoever
        // buys its last days buys their counting error with them.
        let window = u64::from(self.window.min(self.periods))
            .saturating_mul(u64::from(calendar.slices_per_period()))
            .saturating_mul(u64::from(self.expected));
        if window < WINDOW_SHARES {
            return Err(refuse(
                SHARES,
                "expected",
                format_args!("at least {WINDOW_SHARES} shares in a window"),
                window,
            ));
        }
        Ok(())
    }

    fn check_shares(&self, profile: Profile) -> Result<()> {
        if self.rate == 0 {
            return Err(refuse(SHARES, "rate", "at least 1 H/s", self.rate));
        }
        if self.expected == 0 {
            return Err(refuse(SHARES, "expected", "at least 1 share in a slice", self.expected));
        }
        let easiest = match profile {
            // Credit rounds 2^256 / t down; from difficulty 1 on, that loses less than 1 in 2^32.
            Profile::Mainnet => Network::Bitcoin.params().max_attainable_target,
            Profile::Regtest => self.network.params().max_attainable_target,
        };
        if self.target == Target::ZERO || self.target > easiest {
            return Err(refuse(
                SHARES,
                "target",
                format_args!("above 0 and at most {easiest:x}"),
                format_args!("{:x}", self.target),
            ));
        }
        let found = yielded(self.rate, self.target, self.slice);
        if found != Some(U384::from(self.expected)) {
            return Err(refuse(
                SHARES,
                "target",
                format_args!("{} shares in a slice at {} H/s", self.expected, self.rate),
                found.map_or_else(|| "more".to_owned(), |shares| shares.to_string()),
            ));
        }
        Ok(())
    }

    fn check_payments(&self) -> Result<()> {
        for (rule, place, script) in
            [(LOCK, "lock", &self.lock), (SERVICE, "service", &self.service)]
        {
            if script.is_empty() || script.is_op_return() {
                return Err(refuse(rule, place, "a spendable script", format_args!("{script:x}")));
            }
        }
        if self.lock == self.service {
            return Err(refuse(SERVICE, "service", "a script other than the lock", "the lock"));
        }
        if !(10_000..MILLION).contains(&self.service_ppm) {
            return Err(refuse(
                SERVICE,
                "service_ppm",
                "10,000 to 999,999 parts per million",
                self.service_ppm,
            ));
        }
        if self.cap.to_sat() > MAX_SATOSHIS {
            return Err(refuse(CAP, "cap", format_args!("at most {MAX_SATOSHIS} sat"), self.cap));
        }
        Ok(())
    }

    fn check_rule(&self) -> Result<()> {
        let Entitlement::PassFail { critical } = &self.rule else { return Ok(()) };
        let calendar = self.calendar();
        if u32::try_from(critical.len()) != Ok(calendar.windows()) {
            return Err(refuse(
                CRITICAL,
                "critical",
                format_args!("{} counts, one per window", calendar.windows()),
                critical.len(),
            ));
        }
        for (window, count) in (0u32..).zip(critical) {
            let periods = calendar.window_periods(window).map_or(0, |p| p.len());
            let expected = u64::try_from(periods)
                .unwrap_or(u64::MAX)
                .saturating_mul(u64::from(calendar.slices_per_period()))
                .saturating_mul(u64::from(self.expected));
            // A count above the expectation would reject a miner who delivers exactly as agreed.
            if *count == 0 || u64::from(*count) > expected {
                return Err(refuse(
                    CRITICAL,
                    format_args!("critical count of window {window}"),
                    format_args!("1 to {expected}, the shares expected there"),
                    count,
                ));
            }
        }
        Ok(())
    }
}

/// What rules 2-5 demand of a share's coinbase and hash, inside a contract or outside any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand<'a> {
    /// The network whose subsidy holds.
    pub network: Network,
    /// The script that must be paid.
    pub lock: &'a Script,
    /// The terms whose other locks a refusal names, where the holder changes within them.
    pub holders: Option<&'a WorkTerms>,
    /// The script that must be paid directly behind, and its parts per million of both.
    pub service: Option<(&'a Script, u32)>,
    /// Most that the coinbase may pay out beyond the subsidy (satoshis).
    pub cap: Amount,
    /// The target t of rule 5.
    pub target: Target,
}

fn refuse(
    rule: Rule,
    place: impl core::fmt::Display,
    expected: impl core::fmt::Display,
    found: impl core::fmt::Display,
) -> crate::error::Error {
    rule.refuses(Culprit::Sender, format_args!("terms, {place}"), expected, found)
}

#[cfg(test)]
mod tests;
