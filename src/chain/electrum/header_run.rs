//! Reading headers: in chunks, kept between calls, joined where the kept run and the server's
//! chain agree.

use bitcoin::BlockHash;
use bitcoin::block::Header;
use electrum_client::Param;

use super::{Electrum, answers, lock};
use crate::error::Result;
use crate::headers::{Headers, KNOWN};

/// Headers in one answer: what all servers grant.
pub const CHUNK: u32 = 2_016;

impl Electrum {
    /// The headers from `first` to `tip`; `None` if the server's chain no longer ends there.
    pub(super) fn headers_to(&self, first: u32, tip: (u32, BlockHash)) -> Result<Option<Headers>> {
        let (height, hash) = tip;
        if first > height {
            return Err(KNOWN.unavailable(
                self.wire.place(),
                format_args!("a header at height {first}"),
                format_args!("a tip at height {height}"),
            ));
        }
        let kept = lock(&self.run).clone();
        let current = |kept: &&Headers| {
            kept.first() <= first && kept.tip() == height && kept.hash(height) == Some(hash)
        };
        if let Some(kept) = kept.as_ref().filter(current) {
            return Ok(Some(from(kept, first)?));
        }
        let run = match &kept {
            Some(kept) if kept.first() <= first => self.extend(kept, height)?,
            _ => None,
        };
        let (start, run) = match run {
            Some(run) => run,
            None => (first, self.read(first, height)?),
        };
        if run.last().map(Header::block_hash) != Some(hash) {
            return Ok(None);
        }
        let headers = Headers::new(self.network, start, run)?;
        let answer = from(&headers, first)?;
        *lock(&self.run) = Some(headers);
        Ok(Some(answer))
    }

    /// The kept run, continued to `height` from the highest block that the server still has, as
    /// first height and headers; `None` if it has none of the run's.
    fn extend(&self, kept: &Headers, height: u32) -> Result<Option<(u32, Vec<Header>)>> {
        let mut join = kept.tip().min(height);
        let mut step = 1u32;
        loop {
            // The joint itself is read again: its hash tells whether the server still has it.
            let fresh = self.read(join, height)?;
            if fresh.first().map(Header::block_hash) == kept.hash(join) {
                let old = (kept.first()..join).filter_map(|h| kept.header(h)).copied();
                return Ok(Some((kept.first(), old.chain(fresh).collect())));
            }
            if join == kept.first() {
                return Ok(None);
            }
            join = join.saturating_sub(step).max(kept.first());
            step = step.saturating_mul(2);
        }
    }

    /// Up to 2,016 of the server's headers from height `first` on, unchecked: for a guard to judge.
    /// Fewer if it has fewer, none if its chain ends before `first`.
    pub fn header_chunk(&self, first: u32, count: u32) -> Result<Vec<Header>> {
        let count = count.min(CHUNK);
        let params = [Param::U32(first), Param::U32(count)];
        let answer = self.wire.call("blockchain.block.headers", &params)?;
        let some = answers::headers(&answer).map_err(|e| self.wire.garbled("headers", e))?;
        let got = u32::try_from(some.len()).unwrap_or(u32::MAX);
        if got > count {
            let answer = serde_json::Value::from(got);
            return Err(self.wire.garbled("headers", ("no more than asked for", answer)));
        }
        Ok(some)
    }

    /// The server's headers from `first` to `last`, unchecked; fewer if it has fewer.
    fn read(&self, first: u32, last: u32) -> Result<Vec<Header>> {
        let mut run = Vec::new();
        let mut next = first;
        while next <= last {
            let some = self.header_chunk(next, last.saturating_sub(next).saturating_add(1))?;
            if some.is_empty() {
                break;
            }
            next = next.saturating_add(u32::try_from(some.len()).unwrap_or(u32::MAX));
            run.extend(some);
        }
        Ok(run)
    }
}

/// The part of `headers` from height `first` on.
fn from(headers: &Headers, first: u32) -> Result<Headers> {
    if headers.first() == first {
        return Ok(headers.clone());
    }
    let run = (first..=headers.tip()).filter_map(|h| headers.header(h)).copied().collect();
    Headers::new(headers.network(), first, run)
}
