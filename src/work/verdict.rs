//! The verdict: what the miner has earned through a period, in satoshis. A pure function of terms,
//! price, evidence and headers, so that everybody computes the same.
//!
//! ```text
//! certificates + receipts --sealed in time?--> shares --rules 1-5, each hash once--> count
//!    count x 2^256 / t = credit --fills the periods of its window in order--> f_i of A_i
//!    entitlement(p) = sum over i <= p of floor(price_i x f_i / A_i)
//! ```
//!
//! - Entitlement through p uses slices through p only, and never falls with p: credit of a window
//!   only grows, and what it fills only grows with it.
//! - A contract pays from its first period on: its windows begin there, and its price is spread over
//!   the periods from there; of those before nothing counts.
//! - Credit lapses at the window's end; what a closed window did not earn is lost.
//! - A closed window below half of its agreed work makes the next settlement a close.
//! - Evidence that proves nothing (unsealed, late, of another position, a share that a reorg
//!   orphaned) is passed over, never an error: anybody could add it. Only headers that are not at
//!   hand are an error, because then two people could compute different satoshis.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::block::Header;
use bitcoin::{Amount, BlockHash};
use serde::{Deserialize, Serialize};

use crate::amount::{bounded, portion};
use crate::error::{Culprit, Error, Result, Rule};
use crate::headers::Headers;
use crate::height::Calendar;
use crate::id::CertificateDigest;
use crate::work::agreement::{Entitlement, WorkTerms};
use crate::work::credit::{PERIOD, agreed, below_half, credit, fill};
use crate::work::evidence::{Evidence, Exhibit, Yardstick};
use crate::work::receipt::kth_height;
use crate::work::share::{Place, Standing, check_header, check_network, place};

/// A period is ruled on when its last block is deep.
pub const DEPTH: Rule = Rule::new(
    "work-verdict-depth",
    "a period is ruled on when its last block is as deep as the terms say",
    "wait for more blocks",
);

/// What evidence is measured by.
#[derive(Clone, Copy, Debug)]
pub struct Measure<'a> {
    /// Terms, and the keys that seal certificates.
    pub yardstick: &'a Yardstick,
    /// What all periods that the contract pays for cost.
    pub price: Amount,
    /// How many of the keys seal a certificate.
    pub k: usize,
    /// The active chain.
    pub headers: &'a Headers,
    /// Heights at which digests of certificates were confirmed in transactions: the way past silent
    /// validators.
    pub proofs: &'a BTreeMap<CertificateDigest, u32>,
}

/// One period of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeriodVerdict {
    /// Which one (0-based, of the term).
    pub period: u32,
    /// Work agreed on, A_i (hashes).
    pub agreed: u128,
    /// Distinct valid shares of the period's slices.
    pub shares: u64,
    /// Work that these shares prove (hashes).
    pub credit: u128,
    /// Work that the window's credit so far fills here, f_i (hashes).
    pub filled: u128,
    /// What the whole period costs, price_i (satoshis).
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub installment: Amount,
    /// What of it the miner has earned so far (satoshis).
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub earned: Amount,
}

/// What the evidence is worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The periods from the contract's first through the one asked for, as they stand after it.
    pub periods: Vec<PeriodVerdict>,
    /// For each of these periods i: entitlement through i, from slices through i.
    pub entitlement: Vec<Amount>,
    /// The last period (0-based) of the first closed window that stayed below half of its agreed
    /// work: the next settlement after it is a close.
    pub close_after: Option<u32>,
}

impl Verdict {
    /// What the miner has earned through the period asked for (satoshis).
    pub fn earned(&self) -> Amount {
        self.entitlement.last().copied().unwrap_or(Amount::ZERO)
    }

    /// What the miner has earned through an earlier period (0-based, of the term), from slices through
    /// that one (satoshis); nothing before the contract's first.
    pub fn earned_through(&self, period: u32) -> Amount {
        let rows = self.periods.iter().zip(&self.entitlement);
        let through = rows.take_while(|(row, _)| row.period <= period).last();
        through.map_or(Amount::ZERO, |(_, earned)| *earned)
    }
}

/// Judges the evidence through period `through` (0-based).
///
/// Refused if the period is not one of the term; unavailable if it is not deep enough yet or headers
/// are missing. What the evidence remembers is not verified again, and changes nothing.
pub fn verdict(measure: &Measure<'_>, through: u32, evidence: &Evidence) -> Result<Verdict> {
    let Measure { yardstick: Yardstick { terms, .. }, headers, .. } = *measure;
    check_network(terms, headers)?;
    let price = bounded(measure.price, "price")?;
    let calendar = terms.calendar();
    let Some(from) = calendar.ruled_from(through) else {
        let last = terms.periods.saturating_sub(1);
        return Err(PERIOD.refuses(
            Culprit::Sender,
            "verdict",
            format_args!("a period from {} to {last}", terms.first),
            through,
        ));
    };
    if headers.tip() < from {
        return Err(DEPTH.unavailable(
            format_args!("verdict through period {through}"),
            format_args!("a tip at height {from}"),
            headers.tip(),
        ));
    }
    let counts = count(measure, through, evidence)?;
    let mut ledger = Ledger { terms, price, rows: Vec::new(), settled: Amount::ZERO, window: 0 };
    let mut entitlement = Vec::new();
    let mut close_after = None;
    for (period, shares) in (terms.first..=through).zip(counts) {
        ledger.open(period, agreed(terms, period, headers)?, shares);
        entitlement.push(ledger.entitlement());
        let closes = calendar.window_of(period) != calendar.window_of(period.saturating_add(1));
        if closes && close_after.is_none() && ledger.window_below_half() {
            close_after = Some(period);
        }
    }
    Ok(Verdict { periods: ledger.rows, entitlement, close_after })
}

/// Distinct valid shares of each period through the one asked for.
fn count(measure: &Measure<'_>, through: u32, evidence: &Evidence) -> Result<Vec<u64>> {
    let Measure { yardstick, headers, .. } = *measure;
    let calendar = yardstick.terms.calendar();
    let wanted = move |slice| calendar.period_of_slice(slice).is_some_and(|p| p <= through);
    let sealed: Vec<Exhibit<'_>> = evidence
        .exhibits(yardstick, wanted)
        .filter(|exhibit| exhibit.verified.listed && in_time(measure, exhibit))
        .collect();
    // A header has one height, so what counts twice stands in certificates of one slice; a single
    // certificate lists each of its shares once.
    let mut slices: BTreeMap<u32, usize> = BTreeMap::new();
    for exhibit in &sealed {
        let certificates = slices.entry(exhibit.certificate.slice).or_default();
        *certificates = certificates.saturating_add(1);
    }
    let mut seen: BTreeSet<BlockHash> = BTreeSet::new();
    let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
    for Exhibit { certificate, verified, .. } in &sealed {
        let Some(period) = calendar.period_of_slice(certificate.slice) else { continue };
        let alone = slices.get(&certificate.slice) == Some(&1);
        // Every share of a block has the same parent, and the chain is asked about it once.
        let places: Vec<Option<Place>> = verified
            .parents
            .iter()
            .map(|(parent, height)| place(*parent, *height, &yardstick.terms, headers).ok())
            .collect();
        for (share, (parent, standing)) in certificate.shares.iter().zip(&verified.shares) {
            let known = places.get(*parent).copied().flatten();
            match weigh(&share.header, known, *standing, certificate.slice, measure) {
                Ok(hash) if alone || seen.insert(hash) => {
                    let count = counts.entry(period).or_default();
                    *count = count.saturating_add(1);
                }
                // Not a share (any more), or counted already: it proves nothing, and harms nothing.
                Ok(_) | Err(Passed::Over) => {}
                Err(Passed::Unknown(error)) => return Err(error),
            }
        }
    }
    let periods = yardstick.terms.first..=through;
    Ok(periods.map(|period| counts.get(&period).copied().unwrap_or(0)).collect())
}

/// Whether k validators had seen the certificate in time, or a block had its digest.
fn in_time(measure: &Measure<'_>, exhibit: &Exhibit<'_>) -> bool {
    let calendar = measure.yardstick.terms.calendar();
    let slice = exhibit.certificate.slice;
    let sealed = kth_height(exhibit.verified.seals.iter().copied(), measure.k, measure.headers);
    let proven = measure.proofs.get(&exhibit.digest).copied();
    by_receipts(&calendar, slice, sealed) || by_proof(&calendar, slice, proven)
}

/// Whether receipts whose k-th names this height seal a certificate of a slice.
pub(crate) fn by_receipts(calendar: &Calendar, slice: u32, sealed: Option<u32>) -> bool {
    sealed.is_some() && sealed <= calendar.receipts_until(slice)
}

/// Whether a transaction at this height that carries its digest does.
pub(crate) fn by_proof(calendar: &Calendar, slice: u32, proven: Option<u32>) -> bool {
    proven.is_some() && proven <= calendar.proofs_until(slice)
}

/// Why a share is not counted.
enum Passed {
    /// It proves nothing.
    Over,
    /// Nobody can tell without further headers.
    Unknown(Error),
}

impl From<Error> for Passed {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused { .. } => Self::Over,
            other => Self::Unknown(other),
        }
    }
}

/// Rule 1 and what is left of rule 2, for a share whose other rules are decided; answers its hash.
fn weigh(
    header: &Header,
    known: Option<Place>,
    standing: Option<Standing>,
    slice: u32,
    measure: &Measure<'_>,
) -> core::result::Result<BlockHash, Passed> {
    let Measure { yardstick, headers, .. } = *measure;
    let found = match known {
        Some(found) => found,
        // Asked again for the error, which says what is missing.
        None => place(header.prev_blockhash, None, &yardstick.terms, headers)?,
    };
    let median = check_header(header, found.parent, found.latest, headers)?;
    match standing {
        Some(standing) if found.slice == slice && standing.holds(found.height, median) => {
            Ok(standing.hash)
        }
        _ => Err(Passed::Over),
    }
}

/// The periods so far; those of the open window are filled again with each period.
struct Ledger<'a> {
    terms: &'a WorkTerms,
    price: Amount,
    rows: Vec<PeriodVerdict>,
    /// Earned in closed windows.
    settled: Amount,
    /// Where the open window begins among the rows.
    window: usize,
}

impl Ledger<'_> {
    /// Adds a period, closing the window before it if it begins one.
    fn open(&mut self, period: u32, agreed: u128, shares: u64) {
        let before = period.checked_sub(1).and_then(|p| self.terms.calendar().window_of(p));
        if before != self.terms.calendar().window_of(period) {
            self.settled = self.entitlement();
            self.window = self.rows.len();
        }
        self.rows.push(PeriodVerdict {
            period,
            agreed,
            shares,
            credit: credit(shares, self.terms.target),
            filled: 0,
            installment: self.terms.installment(self.price, period),
            earned: Amount::ZERO,
        });
        self.fill_window();
    }

    fn fill_window(&mut self) {
        let passed = self.window_passes();
        let credit = self.window_credit();
        let Some(rows) = self.rows.get_mut(self.window..) else { return };
        let agreed: Vec<u128> = rows.iter().map(|row| row.agreed).collect();
        for (row, filled) in rows.iter_mut().zip(fill(&agreed, credit)) {
            row.filled = filled;
            row.earned = match self.terms.rule {
                Entitlement::ProRata => portion(row.installment, filled, row.agreed),
                Entitlement::PassFail { .. } if passed => row.installment,
                Entitlement::PassFail { .. } => Amount::ZERO,
            };
        }
    }

    /// Under pass-fail: whether the open window's count already reaches its critical count. Until
    /// then nothing of the window is earned; a count only grows, so nothing is taken back.
    fn window_passes(&self) -> bool {
        let Entitlement::PassFail { critical } = &self.terms.rule else { return false };
        let shares = self.open_rows().iter().fold(0u64, |sum, row| sum.saturating_add(row.shares));
        let window = self.window.checked_div(usize::try_from(self.terms.window).unwrap_or(0));
        window
            .and_then(|window| critical.get(window))
            .is_some_and(|critical| shares >= u64::from(*critical))
    }

    fn window_credit(&self) -> u128 {
        self.open_rows().iter().fold(0u128, |sum, row| sum.saturating_add(row.credit))
    }

    fn window_below_half(&self) -> bool {
        let agreed: Vec<u128> = self.open_rows().iter().map(|row| row.agreed).collect();
        below_half(&agreed, self.window_credit())
    }

    /// Earned through the last period opened; the parts add up to the price at most.
    fn entitlement(&self) -> Amount {
        self.open_rows()
            .iter()
            .fold(self.settled, |sum, row| sum.checked_add(row.earned).unwrap_or(self.price))
            .min(self.price)
    }

    fn open_rows(&self) -> &[PeriodVerdict] {
        self.rows.get(self.window..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
