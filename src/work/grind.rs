//! A small CPU miner: tries nonces of one header.
//!
//! Pure and deterministic: no clock, no threads, no randomness. The same job gives the same headers,
//! so a demonstration repeats itself and two processes can split a range.

use bitcoin::Target;
use bitcoin::block::Header;

use crate::work::hash::Midstate;
use crate::work::template::Job;

/// Tries `attempts` nonces of the job from `first_nonce` on, and yields each header whose hash is
/// at most `target`. Ends with the last nonce, 2^32 - 1: a further job needs another extra nonce,
/// time or version.
pub fn grind(job: &Job, first_nonce: u32, attempts: u64, target: Target) -> Grind {
    // The hash is a little-endian number: its last eight bytes decide nearly always.
    let bytes = target.to_be_bytes();
    let high = bytes.first_chunk::<8>().map_or(0, |high| u64::from_be_bytes(*high));
    Grind {
        header: job.header,
        midstate: Midstate::new(&job.header),
        next: u64::from(first_nonce),
        end: u64::from(first_nonce)
            .saturating_add(attempts)
            .min(u64::from(u32::MAX).saturating_add(1)),
        target,
        high,
    }
}

/// Headers of one job below a target, lowest nonce first.
#[derive(Clone, Debug)]
pub struct Grind {
    header: Header,
    midstate: Midstate,
    next: u64,
    end: u64,
    target: Target,
    high: u64,
}

impl Grind {
    /// Nonces tried so far end before this one; past the last nonce `None`.
    pub fn next_nonce(&self) -> Option<u32> {
        u32::try_from(self.next).ok()
    }
}

impl Iterator for Grind {
    type Item = Header;

    fn next(&mut self) -> Option<Header> {
        while self.next < self.end {
            let nonce = u32::try_from(self.next).ok()?;
            self.next = self.next.saturating_add(1);
            let hash = self.midstate.hash(nonce);
            let high = hash.last_chunk::<8>().map_or(u64::MAX, |high| u64::from_le_bytes(*high));
            if high <= self.high && Target::from_le_bytes(hash) <= self.target {
                return Some(Header { nonce, ..self.header });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::samples;

    fn easy() -> Target {
        // One hash in 64.
        let mut bytes = [0xff; 32];
        bytes[0] = 0x03;
        Target::from_be_bytes(bytes)
    }

    #[test]
    fn every_header_below_the_target_is_found_and_no_other() {
        let job = samples::any_job();
        let found: Vec<u32> = grind(&job, 5, 2_000, easy()).map(|h| h.nonce).collect();
        let expected: Vec<u32> = (5..2_005)
            .filter(|nonce| {
                let header = Header { nonce: *nonce, ..job.header };
                easy().is_met_by(header.block_hash())
            })
            .collect();
        assert_eq!(found, expected);
        assert!(found.len() > 10, "{}", found.len());
    }

    #[test]
    fn a_split_range_finds_what_the_whole_range_finds() {
        let job = samples::any_job();
        let whole: Vec<Header> = grind(&job, 0, 1_000, easy()).collect();
        let mut first = grind(&job, 0, 400, easy());
        let mut parts: Vec<Header> = first.by_ref().collect();
        assert_eq!(first.next_nonce(), Some(400));
        parts.extend(grind(&job, 400, 600, easy()));
        assert_eq!(parts, whole);
    }

    #[test]
    fn the_last_nonce_ends_the_range() {
        let job = samples::any_job();
        let mut last = grind(&job, u32::MAX - 9, u64::MAX, Target::from_be_bytes([0xff; 32]));
        assert_eq!(last.by_ref().count(), 10);
        assert_eq!(last.next_nonce(), None);
        assert_eq!(grind(&job, 0, 0, Target::MAX).count(), 0);
    }
}
