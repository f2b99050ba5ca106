//! What was asked of a server, and how much went over the wire: people on slow or metered lines want
//! to know, and tests hold it to a bound.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes on a connection, of all that were opened.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter(Arc<AtomicU64>);

impl Meter {
    /// So many bytes more, in either direction.
    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Bytes so far.
    pub(super) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Questions and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Questions; each one of a batch counts.
    pub calls: u64,
    /// Bytes sent and received, before any encryption.
    pub bytes: u64,
}

impl Tally {
    fn with(self, other: Self) -> Self {
        Self {
            calls: self.calls.saturating_add(other.calls),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// What was asked of a server, by the method's name in the Electrum protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    methods: BTreeMap<String, Tally>,
}

impl Traffic {
    /// Adds questions of one method.
    pub(super) fn add(&mut self, method: &str, calls: usize, bytes: u64) {
        let calls = u64::try_from(calls).unwrap_or(u64::MAX);
        let known = self.methods.entry(method.to_owned()).or_default();
        *known = known.with(Tally { calls, bytes });
    }

    /// Headers of blocks.
    pub fn headers(&self) -> Tally {
        self.sum(true)
    }

    /// Everything else.
    pub fn beside_headers(&self) -> Tally {
        self.sum(false)
    }

    /// By method, in the order of their names.
    pub fn methods(&self) -> impl Iterator<Item = (&str, Tally)> {
        self.methods.iter().map(|(name, tally)| (name.as_str(), *tally))
    }

    fn sum(&self, headers: bool) -> Tally {
        let of_headers = |name: &str| name.starts_with("blockchain.block.header");
        let chosen = self.methods().filter(|(name, _)| of_headers(name) == headers);
        chosen.fold(Tally::default(), |sum, (_, tally)| sum.with(tally))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_told_apart_from_everything_else() {
        let mut traffic = Traffic::default();
        traffic.add("blockchain.block.headers", 1, 5_000);
        traffic.add("blockchain.block.header", 1, 300);
        traffic.add("blockchain.headers.subscribe", 1, 250);
        traffic.add("blockchain.transaction.get", 3, 2_000);
        traffic.add("blockchain.transaction.get", 1, 500);
        assert_eq!(traffic.headers(), Tally { calls: 2, bytes: 5_300 });
        assert_eq!(traffic.beside_headers(), Tally { calls: 5, bytes: 2_750 });
        let (name, last) = traffic.methods().last().unwrap();
        assert_eq!((name, last), ("blockchain.transaction.get", Tally { calls: 4, bytes: 2_500 }));
    }
}
