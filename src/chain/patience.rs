//! How long we wait for somebody who answers over a wire, and how often we ask.

use std::time::Duration;

/// How long a server is waited for, and how often it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Longest silence while connecting or waiting for an answer.
    pub timeout: Duration,
    /// Times a question is asked over a new connection before we give up.
    pub attempts: u32,
    /// Pause before the second attempt; each further pause is twice as long, up to 10 s.
    pub pause: Duration,
}

impl Default for Patience {
    /// 20 s for an answer, four attempts, pauses of 0.5, 1 and 2 s.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(20), attempts: 4, pause: Duration::from_millis(500) }
    }
}

const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Patience {
    /// The pause before an attempt, counted from 0: none before the first.
    pub(crate) fn before(&self, attempt: u32) -> Duration {
        match attempt.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => {
                let times = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
                self.pause.saturating_mul(times).min(LONGEST_PAUSE)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_is_twice_the_one_before_up_to_ten_seconds() {
        let patience = Patience::default();
        let pauses: Vec<u128> = (0..8).map(|n| patience.before(n).as_millis()).collect();
        assert_eq!(pauses, [0, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
        assert_eq!(patience.before(u32::MAX), LONGEST_PAUSE);
    }
}
