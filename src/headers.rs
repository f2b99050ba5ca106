//! A run of consecutive headers of the active chain, and what can be read from it alone: heights
//! of blocks, median-time-past, the difficulty a child must have, and where a block that lost a
//! reorg left the active chain.
//!
//! The run is a value that an adapter has read; [`Headers::new`] refuses one that does not hang
//! together. It checks what headers can show: parents, own work, difficulty by the network's rule
//! as far as the run reaches back, and times after their median-time-past. On signet, testnet and
//! regtest work is cheap or signed elsewhere, so headers prove little there: use your own node.

use std::collections::BTreeMap;

use bitcoin::block::Header;
use bitcoin::{BlockHash, CompactTarget, Network, Target};

use crate::error::{Culprit, Error, Result, Rule};

pub mod difficulty;

/// The headers follow one another by hash.
pub const LINKED: Rule = Rule::new(
    "headers-linked",
    "each header names the one before it as its parent",
    "ask another server",
);
/// Each header's hash is below its own target.
pub const WORK: Rule = Rule::new(
    "headers-work",
    "each header's hash meets the target it states",
    "ask another server",
);
/// Each header states the difficulty that the network's rule gives it.
pub const BITS: Rule = Rule::new(
    "headers-bits",
    "each header states the difficulty that follows from the headers before it",
    "ask another server",
);
/// Each header is later than the median of the eleven before it.
pub const TIME: Rule = Rule::new(
    "headers-time",
    "each header's time is after its parent's median-time-past",
    "ask another server",
);
/// The run reaches far enough for the question.
pub const KNOWN: Rule = Rule::new(
    "headers-known",
    "the question is answered by headers at hand",
    "synchronise the headers first",
);

/// Blocks that median-time-past looks back on (BIP 113).
pub const MEDIAN_SPAN: u32 = 11;

/// Consecutive headers of the active chain, from height `first` to the tip, and known headers
/// beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers {
    network: Network,
    first: u32,
    run: Vec<Header>,
    hashes: Vec<BlockHash>,
    /// Median-time-past by place in the run, where the run reaches back far enough.
    medians: Vec<Option<u32>>,
    /// Height by hash, of the run.
    heights: BTreeMap<BlockHash, u32>,
    /// Parent by hash, of headers that are not in the active chain.
    stale: BTreeMap<BlockHash, BlockHash>,
}

impl Headers {
    /// Checks that `run` hangs together and that it is not empty.
    ///
    /// Times and difficulties are checked from where the run holds the headers that the check
    /// needs; before that the run itself is taken as the adapter's checkpoint.
    pub fn new(network: Network, first: u32, run: Vec<Header>) -> Result<Self> {
        if run.is_empty() {
            return Err(KNOWN.unavailable("header chain", "at least one header", "none"));
        }
        let hashes: Vec<BlockHash> = run.iter().map(Header::block_hash).collect();
        for (height, (header, hash)) in (first..).zip(run.iter().zip(&hashes)) {
            check_work(network, header, *hash, format_args!("header at height {height}"))?;
        }
        for (height, (parent, child)) in (first..).zip(hashes.iter().zip(run.iter().skip(1))) {
            if child.prev_blockhash != *parent {
                return Err(LINKED.refuses(
                    Culprit::Server,
                    format_args!("header after height {height}"),
                    parent,
                    child.prev_blockhash,
                ));
            }
        }
        let heights = hashes.iter().copied().zip(first..).collect();
        let medians = medians(first, &run);
        let headers =
            Self { network, first, run, hashes, medians, heights, stale: BTreeMap::new() };
        for (parent, child) in (first..).zip(headers.run.iter().skip(1)) {
            headers.check_child(parent, child)?;
        }
        Ok(headers)
    }

    /// The same run, with headers that lost a reorg, in any order.
    ///
    /// Each must state a target of the network, meet it, and lead through its parents to the run.
    /// Cheap ones do no harm: whoever signs over one could have named its active ancestor instead.
    pub fn with_stale(mut self, stale: Vec<Header>) -> Result<Self> {
        let mut added = Vec::new();
        for header in stale {
            let hash = header.block_hash();
            check_work(self.network, &header, hash, format_args!("stale header {hash}"))?;
            if !self.heights.contains_key(&hash) {
                self.stale.insert(hash, header.prev_blockhash);
                added.push(hash);
            }
        }
        for hash in added {
            if self.active_ancestor(hash).is_none() {
                return Err(LINKED.refuses(
                    Culprit::Sender,
                    format_args!("stale header {hash}"),
                    "parents that lead to the active chain",
                    "a parent that is not at hand",
                ));
            }
        }
        Ok(self)
    }

    /// Height of the last block of the active chain among `hash` and its ancestors: its own while
    /// it is active, that of the fork after a reorg. `None` if its headers are not at hand.
    pub fn active_ancestor(&self, hash: BlockHash) -> Option<u32> {
        let mut hash = hash;
        // No chain of parents is longer than the map; a hash cannot be its own ancestor.
        for _ in 0..=self.stale.len() {
            if let Some(height) = self.height_of(hash) {
                return Some(height);
            }
            hash = *self.stale.get(&hash)?;
        }
        None
    }

    /// The network whose difficulty rule holds.
    pub fn network(&self) -> Network {
        self.network
    }

    /// Height of the first header at hand, in blocks.
    pub fn first(&self) -> u32 {
        self.first
    }

    /// Height of the tip, in blocks.
    pub fn tip(&self) -> u32 {
        // `new` refused an empty run.
        self.first
            .saturating_add(u32::try_from(self.run.len()).unwrap_or(u32::MAX))
            .saturating_sub(1)
    }

    /// Hash of the active block at `height`, if the run holds it.
    pub fn hash(&self, height: u32) -> Option<BlockHash> {
        self.hashes.get(self.place(height)?).copied()
    }

    /// The active header at `height`, if the run holds it.
    pub fn header(&self, height: u32) -> Option<&Header> {
        self.run.get(self.place(height)?)
    }

    /// Height of the active block with this hash, if the run holds it.
    pub fn height_of(&self, hash: BlockHash) -> Option<u32> {
        self.heights.get(&hash).copied()
    }

    /// Median-time-past of the block at `height`, in Unix seconds: the median of its own time and
    /// that of the ten blocks before it (BIP 113), of fewer only where the chain itself is shorter.
    pub fn median_time_past(&self, height: u32) -> Result<u32> {
        let place = self.place(height);
        place.and_then(|place| self.medians.get(place).copied().flatten()).ok_or_else(|| {
            KNOWN.unavailable(
                format_args!("median-time-past at height {height}"),
                "its header and the ten before it",
                format_args!("headers {} to {}", self.first, self.tip()),
            )
        })
    }

    /// The compact target that a child of the block at `parent` must state, if it comes in time.
    ///
    /// On the testnets a child that is more than 20 minutes late may be easier, see
    /// [`Headers::bits_after`].
    pub fn child_bits(&self, parent: u32) -> Result<CompactTarget> {
        let time = self.header(parent).ok_or_else(|| self.unknown(parent, parent))?.time;
        self.bits_after(parent, time)
    }

    /// The compact target that a child of the block at `parent` with this header time must state,
    /// by the rule of the network ([`difficulty`]).
    pub fn bits_after(&self, parent: u32, time: u32) -> Result<CompactTarget> {
        let at = |height| self.header(height).map(|header| (header.time, header.bits));
        difficulty::bits_after(self.network.params(), parent, time, at)
            .map_err(|missing| self.unknown(missing, parent))
    }

    /// The easiest target the network allows.
    pub fn easiest(&self) -> Target {
        self.network.params().max_attainable_target
    }

    fn unknown(&self, height: u32, parent: u32) -> Error {
        KNOWN.unavailable(
            format_args!("difficulty after height {parent}"),
            format_args!("the header at height {height}"),
            format_args!("headers {} to {}", self.first, self.tip()),
        )
    }

    fn check_child(&self, parent: u32, child: &Header) -> Result<()> {
        // What the run does not reach back to is the adapter's to know.
        if let Ok(bits) = self.bits_after(parent, child.time)
            && child.bits != bits
        {
            return Err(BITS.refuses(
                Culprit::Server,
                format_args!("header after height {parent}"),
                format_args!("nBits {:08x}", bits.to_consensus()),
                format_args!("{:08x}", child.bits.to_consensus()),
            ));
        }
        if let Ok(median) = self.median_time_past(parent)
            && child.time <= median
        {
            return Err(TIME.refuses(
                Culprit::Server,
                format_args!("header after height {parent}"),
                format_args!("a time after {median}"),
                child.time,
            ));
        }
        let earliest = self
            .header(parent)
            .and_then(|last| difficulty::earliest_after(self.network.params(), parent, last.time));
        if let Some(earliest) = earliest.filter(|earliest| child.time < *earliest) {
            return Err(TIME.refuses(
                Culprit::Server,
                format_args!("header after height {parent}"),
                format_args!("{earliest} or later (BIP 94)"),
                child.time,
            ));
        }
        Ok(())
    }

    fn place(&self, height: u32) -> Option<usize> {
        usize::try_from(height.checked_sub(self.first)?).ok()
    }
}

/// The median of each block's time and those of the ten before it.
fn medians(first: u32, run: &[Header]) -> Vec<Option<u32>> {
    let span = usize::try_from(MEDIAN_SPAN).unwrap_or(usize::MAX);
    (1..=run.len())
        .map(|end| {
            let from = end.saturating_sub(span);
            let whole = end >= span || first == 0;
            let mut times: Vec<u32> = run.get(from..end)?.iter().map(|h| h.time).collect();
            times.sort_unstable();
            times.get(times.len() / 2).copied().filter(|_| whole)
        })
        .collect()
}

fn check_work(
    network: Network,
    header: &Header,
    hash: BlockHash,
    place: impl core::fmt::Display,
) -> Result<()> {
    let target = header.target();
    if target > network.params().max_attainable_target || !target.is_met_by(hash) {
        return Err(WORK.refuses(
            Culprit::Server,
            place,
            format_args!("a hash below its target, and a target of {network}"),
            format_args!("hash {hash}, target {target:x}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
