//! A figure: what was paid for what was done, as measured, with its standard error, and what is
//! claimed of it.

use core::fmt;

use crate::amount::MILLION;

/// Sums of pairs (paid, done), of which the ratio of the means is asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    paid: i128,
    done: i128,
    paid_paid: i128,
    paid_done: i128,
    done_done: i128,
    pairs: i128,
}

impl Sums {
    /// Adds a pair, each below 2^31.
    pub fn add(&mut self, paid: u64, done: u64) {
        let (paid, done) = (i128::from(paid), i128::from(done));
        self.paid += paid;
        self.done += done;
        self.paid_paid += paid * paid;
        self.paid_done += paid * done;
        self.done_done += done * done;
        self.pairs += 1;
    }

    /// Paid by done, and its standard error, in parts per million. The error is that of a ratio of
    /// means: the root of the sum of (paid - ratio x done)^2, by all that was done.
    pub fn ratio(&self) -> (u32, u32) {
        let million = i128::from(MILLION);
        let ratio = (self.paid * million + self.done / 2).checked_div(self.done).unwrap_or(0);
        let squares = self.paid_paid * million * million - 2 * ratio * million * self.paid_done
            + ratio * ratio * self.done_done;
        let error = (squares.max(0).isqrt() + self.done - 1).checked_div(self.done).unwrap_or(0);
        (low(ratio), low(error))
    }

    /// Standard deviation of what was paid, by the root of its mean, as for a Poisson count it is 1;
    /// in parts per million, with the error of a deviation of normal numbers.
    pub fn spread(&self) -> (u32, u32) {
        let million = i128::from(MILLION);
        let pairs = self.pairs.max(1);
        let variance = self.paid_paid - self.paid * self.paid / pairs;
        let relative = (variance * million * million).checked_div(self.paid).unwrap_or(0);
        (low(relative.max(0).isqrt()), low((million * million / (2 * pairs)).isqrt()))
    }
}

fn low(number: i128) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// What is claimed of a figure, in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is this.
    Is(u32),
    /// It is this at most.
    AtMost(u32),
    /// It is this at least: the trick pays, which is why another way was chosen.
    AtLeast(u32),
    /// It lies between two.
    Between(u32, u32),
}

/// What was measured, and what is claimed of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The subject that it stands under.
    pub about: &'static str,
    /// What was done.
    pub name: String,
    /// What came of it, in parts per million.
    pub measured: u32,
    /// One standard error, in parts per million.
    pub error: u32,
    /// What is claimed.
    pub claim: Claim,
}

impl Figure {
    /// A figure out of a ratio or a spread.
    pub fn new(
        about: &'static str,
        name: impl Into<String>,
        (measured, error): (u32, u32),
        claim: Claim,
    ) -> Self {
        Self { about, name: name.into(), measured, error, claim }
    }

    /// Whether the claim holds within five standard errors.
    pub fn holds(&self) -> bool {
        let slack = self.error.saturating_mul(5);
        let least = self.measured.saturating_sub(slack);
        let most = self.measured.saturating_add(slack);
        match self.claim {
            Claim::Is(value) => (least..=most).contains(&value),
            Claim::AtMost(value) => least <= value,
            Claim::AtLeast(value) => most >= value,
            Claim::Between(low, high) => most >= low && least <= high,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, measured, error, .. } = self;
        write!(f, "  {name:<42} {:>8} {:>7}  ", percent(*measured), percent(*error))?;
        match self.claim {
            Claim::Is(value) => write!(f, "{}", percent(value))?,
            Claim::AtMost(value) => write!(f, "<= {}", percent(value))?,
            Claim::AtLeast(value) => write!(f, ">= {}", percent(value))?,
            Claim::Between(low, high) => write!(f, "{}..{}", percent(low), percent(high))?,
        }
        if self.holds() { Ok(()) } else { write!(f, "  CONTRADICTED") }
    }
}

/// Hundredths of a percent, finer where there would be nothing left.
fn percent(ppm: u32) -> String {
    match ppm {
        0..1_000 => format!("{}.{:03}%", ppm / 10_000, ppm % 10_000 / 10),
        _ => {
            let near = ppm.saturating_add(50) / 100;
            format!("{}.{:02}%", near / 100, near % 100)
        }
    }
}
