//! A run of consecutive headers of the active chain, and what can be read from it alone: heights
//! of blocks, median-time-past, and the difficulty a child must have.
//!
//! The run is a value that an adapter has read and checked ([`Headers::new`] refuses a run that
//! does not hang together); everything here is pure.

use bitcoin::block::Header;
use bitcoin::{BlockHash, CompactTarget, Network, Target};

use crate::error::{Culprit, Result, Rule};

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
/// The run reaches far enough for the question.
pub const KNOWN: Rule = Rule::new(
    "headers-known",
    "the question is answered by headers at hand",
    "synchronise the headers first",
);

/// Blocks that median-time-past looks back on (BIP 113).
pub const MEDIAN_SPAN: u32 = 11;

/// Blocks from one change of difficulty to the next.
const RETARGET: u32 = 2_016;

/// Consecutive headers of the active chain, from height `first` to the tip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers {
    network: Network,
    first: u32,
    run: Vec<Header>,
    hashes: Vec<BlockHash>,
}

impl Headers {
    /// Checks that `run` hangs together (parents, own work) and that it is not empty.
    pub fn new(network: Network, first: u32, run: Vec<Header>) -> Result<Self> {
        let hashes: Vec<BlockHash> = run.iter().map(Header::block_hash).collect();
        if run.is_empty() {
            return Err(KNOWN.unavailable("header chain", "at least one header", "none"));
        }
        for (height, (header, hash)) in (first..).zip(run.iter().zip(&hashes)) {
            let met = header.target().is_met_by(*hash);
            if !met || header.target() > network.params().max_attainable_target {
                return Err(WORK.refuses(
                    Culprit::Server,
                    format_args!("header at height {height}"),
                    format_args!("a hash below target {:x}", header.target()),
                    hash,
                ));
            }
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
        Ok(Self { network, first, run, hashes })
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
        let place = self.hashes.iter().position(|h| *h == hash)?;
        self.first.checked_add(u32::try_from(place).ok()?)
    }

    /// Median-time-past of the block at `height`, in Unix seconds: the median of its own time and
    /// that of the ten blocks before it (BIP 113), of fewer only where the chain itself is shorter.
    pub fn median_time_past(&self, height: u32) -> Result<u32> {
        let unknown = |h: u32| {
            KNOWN.unavailable(
                format_args!("median-time-past at height {height}"),
                format_args!("the header at height {h}"),
                format_args!("headers {} to {}", self.first, self.tip()),
            )
        };
        let mut times = Vec::new();
        for h in height.saturating_sub(MEDIAN_SPAN.saturating_sub(1))..=height {
            times.push(self.header(h).ok_or_else(|| unknown(h))?.time);
        }
        times.sort_unstable();
        times.get(times.len() / 2).copied().ok_or_else(|| unknown(height))
    }

    /// The compact target that a child of the block at `parent` must state.
    ///
    /// Regtest never retargets; the other networks do so at multiples of 2,016 blocks, from the
    /// first block of the ending span. Testnets also have a rule that depends on the child's time;
    /// it is not applied here, so a child at minimum difficulty is refused there.
    pub fn child_bits(&self, parent: u32) -> Result<CompactTarget> {
        let known = |h: u32| {
            self.header(h).ok_or_else(|| {
                KNOWN.unavailable(
                    format_args!("difficulty after height {parent}"),
                    format_args!("the header at height {h}"),
                    format_args!("headers {} to {}", self.first, self.tip()),
                )
            })
        };
        let last = known(parent)?;
        let params = self.network.params();
        let child = parent.saturating_add(1);
        if params.no_pow_retargeting || child % RETARGET != 0 {
            return Ok(last.bits);
        }
        let first = known(child.saturating_sub(RETARGET))?;
        // A time that runs backwards is clamped to the shortest span, as Core does.
        let span = u64::from(last.time.saturating_sub(first.time));
        Ok(CompactTarget::from_next_work_required(last.bits, span, params))
    }

    /// The easiest target the network allows.
    pub fn easiest(&self) -> Target {
        self.network.params().max_attainable_target
    }

    fn place(&self, height: u32) -> Option<usize> {
        usize::try_from(height.checked_sub(self.first)?).ok()
    }
}
