//! What a desk that strangers can reach allows them: how often, how much, how long.
//!
//! A bucket holds so many tokens and is refilled steadily; a question takes one. Time comes in from
//! outside, so that a test can let hours pass.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Culprit, Result, Rule};

/// Nobody asks too often.
pub const RATE: Rule = Rule::new(
    "http-rate",
    "an address and a party ask no more often than the server allows",
    "wait a few seconds and ask again; the same request with the same key gets its answer",
);
/// There is room in the queue.
pub const BUSY: Rule = Rule::new(
    "http-busy",
    "the server has room for one more question and is not stopping",
    "ask again in a few seconds, with the same key",
);
/// A question is one that the server knows.
pub const ROUTE: Rule = Rule::new(
    "http-route",
    "a path and its method are among those of `GET /v1/openapi.json`",
    "compare with that document",
);
/// A question arrives whole and in time.
pub const BODY: Rule = Rule::new(
    "http-body",
    "a question arrives whole, in time, as UTF-8 text and no longer than its kind ever is",
    "send it again, over a better connection or in smaller parts",
);
/// The server can listen.
pub const LISTEN: Rule = Rule::new(
    "http-listen",
    "the server can listen where it is told to",
    "choose a free port, and an address of this machine",
);

/// How many buckets are kept: those that are full again are forgotten first.
const MOST_BUCKETS: usize = 16_384;

/// How many tokens a bucket holds, and how fast it is refilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Questions that may come at once.
    pub burst: u32,
    /// Time after which one more may come.
    pub every: Duration,
}

/// A bucket for each asker.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    /// The moment at which each asker's bucket is full again, as time since the start.
    full: BTreeMap<K, Duration>,
}

impl<K: Ord + Clone> Buckets<K> {
    /// Nobody has asked yet.
    pub fn new(rate: Rate) -> Self {
        Self { rate, full: BTreeMap::new() }
    }

    /// Takes a token of `asker`'s at `now`, or refuses.
    pub fn take(&mut self, asker: &K, now: Duration) -> Result<()> {
        let Rate { burst, every } = self.rate;
        if self.full.len() >= MOST_BUCKETS && !self.full.contains_key(asker) {
            self.full.retain(|_, full| *full > now);
        }
        let before = self.full.get(asker).copied().unwrap_or_default().max(now);
        let after = before.saturating_add(every);
        let room = every.saturating_mul(burst);
        let crowded = self.full.len() >= MOST_BUCKETS && !self.full.contains_key(asker);
        if after.saturating_sub(now) > room || crowded {
            let expected = format_args!("{burst} at once, then one every {} ms", every.as_millis());
            let expected = expected.to_string();
            return Err(RATE.refuses(Culprit::Sender, "questions", expected, "more"));
        }
        self.full.insert(asker.clone(), after);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, every: Duration::from_secs(2) };

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_burst_passes_and_then_one_at_a_time() {
        let mut buckets = Buckets::new(RATE);
        for _ in 0..3 {
            buckets.take(&"a", at(10_000)).unwrap();
        }
        assert_eq!(buckets.take(&"a", at(10_000)).unwrap_err().rule(), "http-rate");
        assert_eq!(buckets.take(&"a", at(11_999)).unwrap_err().rule(), "http-rate");
        buckets.take(&"a", at(12_000)).unwrap();
        assert_eq!(buckets.take(&"a", at(12_001)).unwrap_err().rule(), "http-rate");
        buckets.take(&"b", at(12_001)).unwrap();
        // After a rest the whole burst is there again, and no more.
        for _ in 0..3 {
            buckets.take(&"a", at(99_000)).unwrap();
        }
        buckets.take(&"a", at(99_000)).unwrap_err();
    }

    #[test]
    fn askers_beyond_number_take_no_memory_and_lock_nobody_out_for_long() {
        let mut buckets = Buckets::new(RATE);
        for asker in 0..MOST_BUCKETS {
            buckets.take(&asker, at(0)).unwrap();
        }
        assert_eq!(buckets.take(&usize::MAX, at(0)).unwrap_err().rule(), "http-rate");
        buckets.take(&1, at(0)).unwrap();
        buckets.take(&usize::MAX, at(2_001)).unwrap();
        assert_eq!(buckets.full.len(), 2, "the one that asked twice, and the newcomer");
    }
}
