//! Hash rates as people read them: accepted work over the last five minutes, hour and day.
//!
//! A machine's finds are counted at the difficulty that it was given, so their sum estimates its
//! work without bias; the error is one over the root of their number. Nobody agrees on these
//! figures, and nothing is paid by them: they tell an operator that a machine has died.

use std::collections::VecDeque;

/// Seconds between two samples.
pub const STEP: u64 = 10;
/// The spans that are shown, in seconds.
pub const SPANS: [u64; 3] = [300, 3_600, 86_400];

/// Samples of a growing sum of work, a step apart.
#[derive(Clone, Debug)]
pub struct Rates {
    samples: VecDeque<Sample>,
    /// The longest span that is asked about, in seconds.
    longest: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Seconds since some moment that stays the same.
    at: u64,
    /// Hashes accepted until then.
    work: u128,
}

impl Rates {
    /// No samples yet; those older than `longest` seconds will be forgotten.
    pub fn over_at_most(longest: u64) -> Self {
        Self { samples: VecDeque::new(), longest }
    }

    /// Notes the sum of accepted work (hashes) at a moment (seconds); closer together than
    /// [`STEP`], the later one is left out.
    pub fn note(&mut self, at: u64, work: u128) {
        if self.samples.back().is_some_and(|last| at < last.at.saturating_add(STEP)) {
            return;
        }
        self.samples.push_back(Sample { at, work });
        let oldest = at.saturating_sub(self.longest);
        // One sample at or before the span's beginning is kept to measure from.
        while self.samples.get(1).is_some_and(|second| second.at <= oldest) {
            self.samples.pop_front();
        }
    }

    /// Hashes a second over the last `span` seconds before `now`, when the sum was `work`; over as
    /// long as is known, if that is shorter.
    pub fn over(&self, span: u64, now: u64, work: u128) -> u64 {
        let begin = now.saturating_sub(span);
        let before = self.samples.iter().rev().find(|sample| sample.at <= begin);
        let Some(from) = before.or(self.samples.front()) else { return 0 };
        let seconds = u128::from(now.saturating_sub(from.at).max(1));
        u64::try_from(work.saturating_sub(from.work) / seconds).unwrap_or(u64::MAX)
    }

    /// The rates over all [`SPANS`], in hashes a second.
    pub fn all(&self, now: u64, work: u128) -> [u64; 3] {
        SPANS.map(|span| self.over(span, now, work))
    }
}

/// A rate in the unit that people use: three digits and kH/s to EH/s.
pub fn in_words(rate: u64) -> String {
    let units = ["H/s", "kH/s", "MH/s", "GH/s", "TH/s", "PH/s", "EH/s"];
    let (mut unit, mut scale) = (0usize, 1u64);
    while unit + 1 < units.len() && rate / scale >= 1_000 {
        unit += 1;
        scale *= 1_000;
    }
    let (whole, hundredths) = (rate / scale, rate % scale / (scale / 100).max(1));
    match (unit, whole) {
        (0, _) => format!("{whole} {}", units[unit]),
        (_, 0..10) => format!("{whole}.{hundredths:02} {}", units[unit]),
        (_, 10..100) => format!("{whole}.{} {}", hundredths / 10, units[unit]),
        _ => format!("{whole} {}", units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_machine_has_the_same_rate_over_every_span() {
        let mut rates = Rates::over_at_most(SPANS[2]);
        for step in 0..20_000u64 {
            rates.note(step * STEP, u128::from(step * STEP) * 7_000);
        }
        let now = 20_000 * STEP;
        assert_eq!(rates.all(now, u128::from(now) * 7_000), [7_000; 3]);
        // A day of samples is kept, and no more.
        assert!(rates.samples.len() <= 8_642, "{}", rates.samples.len());
    }

    #[test]
    fn a_machine_that_died_is_gone_from_the_short_span_first() {
        let mut rates = Rates::over_at_most(SPANS[2]);
        for at in (0..=7_200).step_by(10) {
            rates.note(at, u128::from(at.min(6_900)) * 1_000);
        }
        assert_eq!(rates.over(300, 7_200, 6_900_000), 0);
        assert_eq!(rates.over(3_600, 7_200, 6_900_000), 916);
    }

    #[test]
    fn before_there_is_a_span_of_samples_the_rate_is_that_since_the_first() {
        let mut rates = Rates::over_at_most(SPANS[2]);
        assert_eq!(rates.all(5, 100), [0; 3]);
        rates.note(0, 0);
        assert_eq!(rates.all(50, 5_000), [100; 3]);
        assert_eq!(rates.over(300, 0, 40), 40);
    }

    #[test]
    fn rates_are_written_with_three_digits() {
        for (rate, words) in [
            (0, "0 H/s"),
            (999, "999 H/s"),
            (1_000, "1.00 kH/s"),
            (12_345, "12.3 kH/s"),
            (1_234_000_000_000, "1.23 TH/s"),
            (100_000_000_000_000, "100 TH/s"),
            (u64::MAX, "18.4 EH/s"),
        ] {
            assert_eq!(in_words(rate), words);
        }
    }
}
