//! The tree itself: letting headers in, weighing branches, telling what a reorg changed.

use core::fmt;
use std::collections::BTreeMap;

use bitcoin::block::Header;
use bitcoin::consensus::Params;
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, CompactTarget, Network, Work};
use ruint::aliases::U256;

use super::anchor::Anchor;
use super::checkpoints::{Checkpoints, least_work};
use crate::error::{Culprit, Result, Rule};
use crate::facts::Facts;
use crate::headers::{Headers, KNOWN, MEDIAN_SPAN, difficulty};

/// A header's parent is known.
pub const PARENT: Rule = Rule::new(
    "guard-parent",
    "a header's parent was let in before it",
    "hand in the headers in the order of their heights",
);
/// A header states the difficulty that its ancestors demand.
pub const BITS: Rule = Rule::new(
    "guard-bits",
    "a header states the difficulty that follows from its ancestors",
    "ask another server; this chain is not the network's",
);
/// A header's hash meets its difficulty.
pub const WORK: Rule = Rule::new(
    "guard-work",
    "a header's hash meets the target it states",
    "ask another server; nobody has worked for this header",
);
/// A header is later than the median of the eleven before it.
pub const TIME: Rule = Rule::new(
    "guard-time",
    "a header's time is after its parent's median-time-past",
    "ask another server; this chain is not the network's",
);
/// BIP 94: a span does not begin long before the one before it has ended.
pub const TIMEWARP: Rule = Rule::new(
    "guard-timewarp",
    "the first block of a span is at most 600 s before its parent (BIP 94)",
    "ask another server; this chain is not the network's",
);
/// A header's version is not retired.
pub const VERSION: Rule = Rule::new(
    "guard-version",
    "a header's version is one that is still allowed at its height (BIP 34, 65, 66)",
    "ask another server; this chain is not the network's",
);
/// A header agrees with the pinned blocks.
pub const CHECKPOINT: Rule = Rule::new(
    "guard-checkpoint",
    "the chain passes through the pinned blocks",
    "ask another server; this chain is not the network's",
);
/// A chain has as much work as the network is known to have.
pub const LEAST_WORK: Rule = Rule::new(
    "guard-least-work",
    "the chain has at least the work that the network's chain had when this program was released",
    "synchronise on, or ask another server",
);
/// A run of headers is part of the chain that the guard believes.
pub const VOUCHED: Rule = Rule::new(
    "guard-vouched",
    "the headers are those of the chain with the most work that we know",
    "synchronise the headers, or ask another server",
);

/// One header in the tree.
#[derive(Clone, Debug)]
struct Entry {
    header: Header,
    hash: BlockHash,
    /// Place of the parent; the anchor's is its own.
    parent: usize,
    height: u32,
    /// Work of the chain up to here, this block included.
    work: Work,
}

/// What became of a header that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It was in the tree already.
    Known,
    /// It is the new tip, on the old one.
    Tip,
    /// It lies on a branch that has no more work than the active chain.
    Beside,
    /// Its branch has more work than the active chain had, and takes its place.
    Reorg(Reorg),
}

/// What a change of the active chain took away and brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reorg {
    /// Height of the last block that both chains share.
    pub fork: u32,
    /// Blocks that left the active chain, lowest first.
    pub left: Vec<BlockHash>,
    /// Blocks that came into it, lowest first.
    pub came: Vec<BlockHash>,
}

impl fmt::Display for Reorg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (fork, left, came) = (self.fork, self.left.len(), self.came.len());
        write!(f, "after height {fork}: {left} blocks left the chain, {came} came")
    }
}

/// A tree of headers above an anchor, and the branch of it with the most work.
///
/// It takes about 210 bytes of memory for each header.
#[derive(Clone, Debug)]
pub struct Guard {
    params: Params,
    pins: Checkpoints,
    /// Height of the anchor.
    first: u32,
    /// Times of the blocks before the anchor.
    before: Vec<u32>,
    entries: Vec<Entry>,
    places: BTreeMap<BlockHash, usize>,
    /// Places of the active chain, from the anchor up.
    active: Vec<usize>,
    /// Height of the highest pinned block in the tree.
    pinned: u32,
}

impl Guard {
    /// A guard above the genesis block of `network`, with the pinned blocks that we know of it.
    pub fn new(network: Network) -> Self {
        let pins = Checkpoints::of(network);
        Self::build(network.params().clone(), Anchor::genesis(network), pins)
    }

    /// A guard by the rule of `params` above `anchor`, which the pins must not contradict.
    pub fn above(params: Params, anchor: Anchor, pins: Checkpoints) -> Result<Self> {
        let hash = anchor.header.block_hash();
        check_pin(&pins, anchor.height, hash)?;
        Ok(Self::build(params, anchor, pins))
    }

    fn build(params: Params, anchor: Anchor, pins: Checkpoints) -> Self {
        let Anchor { height, header, work, before } = anchor;
        let hash = header.block_hash();
        Self {
            params,
            pins,
            first: height,
            before,
            entries: vec![Entry { header, hash, parent: 0, height, work }],
            places: BTreeMap::from([(hash, 0)]),
            active: vec![0],
            pinned: height,
        }
    }

    /// Lets `header` in if it fulfils every rule of the module's table.
    pub fn accept(&mut self, header: &Header) -> Result<Placed> {
        let hash = header.block_hash();
        if self.places.contains_key(&hash) {
            return Ok(Placed::Known);
        }
        let (place, parent) = self.parent(header, hash)?;
        self.check_work(place, parent, header, hash)?;
        self.check_time(place, parent, header)?;
        self.check_version(parent, header)?;
        let height = parent.height.saturating_add(1);
        check_pin(&self.pins, height, hash)?;
        if height <= self.pinned {
            return Err(CHECKPOINT.refuses(
                Culprit::Server,
                format_args!("header at height {height}"),
                format_args!("a chain through the pinned block at height {}", self.pinned),
                format_args!("block {hash} beside it"),
            ));
        }
        Ok(self.insert(*header, hash, place))
    }

    /// Takes back a header that was let in before and has been stored since: its parent and its
    /// work are asked, the rest was.
    pub fn readmit(&mut self, header: &Header) -> Result<Placed> {
        let hash = header.block_hash();
        if self.places.contains_key(&hash) {
            return Ok(Placed::Known);
        }
        let (place, parent) = self.parent(header, hash)?;
        let height = parent.height.saturating_add(1);
        let target = header.target();
        if target > self.params.max_attainable_target || !target.is_met_by(hash) {
            return Err(too_little_work(height, header, hash));
        }
        check_pin(&self.pins, height, hash)?;
        Ok(self.insert(*header, hash, place))
    }

    fn parent(&self, header: &Header, hash: BlockHash) -> Result<(usize, &Entry)> {
        let place = self.places.get(&header.prev_blockhash).copied();
        place.and_then(|place| Some((place, self.entries.get(place)?))).ok_or_else(|| {
            PARENT.refuses(
                Culprit::Server,
                format_args!("header {hash}"),
                format_args!("a parent above height {}", self.first),
                format_args!("parent {}, which is not known", header.prev_blockhash),
            )
        })
    }

    fn check_work(
        &self,
        place: usize,
        parent: &Entry,
        header: &Header,
        hash: BlockHash,
    ) -> Result<()> {
        let height = parent.height.saturating_add(1);
        let at = |height| self.ancestor(place, height).map(|e| (e.header.time, e.header.bits));
        let bits = difficulty::bits_after(&self.params, parent.height, header.time, at).map_err(
            |missing| {
                KNOWN.broken(
                    format_args!("difficulty at height {height}"),
                    format_args!("the header at height {missing}"),
                    format_args!("headers from height {}", self.first),
                )
            },
        )?;
        if header.bits != bits {
            return Err(BITS.refuses(
                Culprit::Server,
                format_args!("header at height {height}"),
                format_args!("nBits {:08x}", bits.to_consensus()),
                format_args!("{:08x}", header.bits.to_consensus()),
            ));
        }
        // What the rule demands is never easier than the network allows.
        if header.target().is_met_by(hash) {
            Ok(())
        } else {
            Err(too_little_work(height, header, hash))
        }
    }

    fn check_time(&self, place: usize, parent: &Entry, header: &Header) -> Result<()> {
        let median = self.median(place);
        let at = format_args!("header at height {}", parent.height.saturating_add(1)).to_string();
        if header.time <= median {
            let expected = format_args!("a time after {median}").to_string();
            return Err(TIME.refuses(Culprit::Server, at, expected, header.time));
        }
        match difficulty::earliest_after(&self.params, parent.height, parent.header.time) {
            Some(earliest) if header.time < earliest => {
                let expected = format_args!("{earliest} or later").to_string();
                Err(TIMEWARP.refuses(Culprit::Server, at, expected, header.time))
            }
            _ => Ok(()),
        }
    }

    fn check_version(&self, parent: &Entry, header: &Header) -> Result<()> {
        let height = parent.height.saturating_add(1);
        let Params { bip34_height, bip65_height, bip66_height, .. } = self.params;
        let least = [(bip65_height, 4), (bip66_height, 3), (bip34_height, 2)]
            .into_iter()
            .find(|(from, _)| height >= *from)
            .map_or(i32::MIN, |(_, least)| least);
        let found = header.version.to_consensus();
        if found < least {
            return Err(VERSION.refuses(
                Culprit::Server,
                format_args!("header at height {height}"),
                format_args!("version {least} or above"),
                found,
            ));
        }
        Ok(())
    }

    /// Median-time-past of the block at `place`: fewer than eleven only near a genesis block.
    fn median(&self, place: usize) -> u32 {
        let count = usize::try_from(MEDIAN_SPAN).unwrap_or(usize::MAX);
        let mut times = Vec::with_capacity(count);
        let mut at = place;
        while let Some(entry) = self.entries.get(at).filter(|_| times.len() < count) {
            times.push(entry.header.time);
            if entry.parent == at {
                let missing = count.saturating_sub(times.len());
                times.extend(self.before.iter().rev().take(missing));
                break;
            }
            at = entry.parent;
        }
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or(0)
    }

    fn insert(&mut self, header: Header, hash: BlockHash, parent: usize) -> Placed {
        let (before, work, height) = match self.entries.get(parent) {
            Some(entry) => (entry.hash, entry.work, entry.height.saturating_add(1)),
            None => return Placed::Known,
        };
        let work = sum(work, header.target().to_work());
        let place = self.entries.len();
        let heavier = work > self.work();
        let on_tip = before == self.tip_hash();
        self.entries.push(Entry { header, hash, parent, height, work });
        self.places.insert(hash, place);
        if self.pins.at(height) == Some(hash) {
            self.pinned = self.pinned.max(height);
        }
        match (heavier, on_tip) {
            (false, _) => Placed::Beside,
            (true, true) => {
                self.active.push(place);
                Placed::Tip
            }
            (true, false) => Placed::Reorg(self.switch(place)),
        }
    }

    /// Makes the branch that ends at `tip` the active one.
    fn switch(&mut self, tip: usize) -> Reorg {
        let mut came = Vec::new();
        let mut at = tip;
        while let Some(entry) = self.entries.get(at).filter(|_| !self.is_active(at)) {
            came.push(at);
            at = entry.parent;
        }
        came.reverse();
        let fork = self.entries.get(at).map_or(self.first, |entry| entry.height);
        let keep = usize::try_from(fork.saturating_sub(self.first).saturating_add(1));
        let left = self.active.split_off(keep.unwrap_or(usize::MAX).min(self.active.len()));
        self.active.extend(&came);
        let hashes = |places: &[usize]| {
            places.iter().filter_map(|place| Some(self.entries.get(*place)?.hash)).collect()
        };
        Reorg { fork, left: hashes(&left), came: hashes(&came) }
    }

    fn is_active(&self, place: usize) -> bool {
        let entry = self.entries.get(place);
        entry.is_some_and(|entry| self.active_place(entry.height) == Some(place))
    }

    fn active_place(&self, height: u32) -> Option<usize> {
        let index = usize::try_from(height.checked_sub(self.first)?).ok()?;
        self.active.get(index).copied()
    }

    /// The ancestor at `height` of the block at `place`, itself included.
    fn ancestor(&self, place: usize, height: u32) -> Option<&Entry> {
        let mut at = place;
        loop {
            let entry = self.entries.get(at)?;
            if entry.height == height {
                return Some(entry);
            }
            if entry.height < height {
                return None;
            }
            // From the active chain on, it is a look-up.
            at = if self.is_active(at) {
                self.active_place(height)?
            } else if entry.parent == at {
                return None;
            } else {
                entry.parent
            };
        }
    }

    fn tip_entry(&self) -> Option<&Entry> {
        self.entries.get(*self.active.last()?)
    }

    /// The network whose rule holds.
    pub fn network(&self) -> Network {
        self.params.network
    }

    /// The rule of the network.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Height of the anchor.
    pub fn first(&self) -> u32 {
        self.first
    }

    /// Height of the active tip, in blocks.
    pub fn tip(&self) -> u32 {
        self.tip_entry().map_or(self.first, |entry| entry.height)
    }

    /// Hash of the active tip.
    pub fn tip_hash(&self) -> BlockHash {
        // The anchor is always there.
        self.tip_entry().map_or_else(BlockHash::all_zeros, |entry| entry.hash)
    }

    /// Work of the active chain, that below the anchor included.
    pub fn work(&self) -> Work {
        self.tip_entry().map_or(Work::from_be_bytes([0; 32]), |entry| entry.work)
    }

    /// Number of headers in the tree, the anchor included.
    pub fn known(&self) -> usize {
        self.entries.len()
    }

    /// Number of headers in the tree that are not in the active chain.
    pub fn beside(&self) -> usize {
        self.entries.len().saturating_sub(self.active.len())
    }

    /// The active header at `height`.
    pub fn header(&self, height: u32) -> Option<&Header> {
        Some(&self.entries.get(self.active_place(height)?)?.header)
    }

    /// Hash of the active block at `height`.
    pub fn hash(&self, height: u32) -> Option<BlockHash> {
        Some(self.entries.get(self.active_place(height)?)?.hash)
    }

    /// Height of the block with this hash, on whatever branch it lies.
    pub fn height_of(&self, hash: BlockHash) -> Option<u32> {
        Some(self.entries.get(*self.places.get(&hash)?)?.height)
    }

    /// Height of the last block of the active chain among `hash` and its ancestors.
    pub fn active_ancestor(&self, hash: BlockHash) -> Option<u32> {
        let mut at = *self.places.get(&hash)?;
        while !self.is_active(at) {
            at = self.entries.get(at)?.parent;
        }
        Some(self.entries.get(at)?.height)
    }

    /// Work of the chain that ends with the block `hash`, on whatever branch it lies.
    pub fn work_of(&self, hash: BlockHash) -> Option<Work> {
        Some(self.entries.get(*self.places.get(&hash)?)?.work)
    }

    /// The compact target that a child of the active tip with this time (Unix seconds) must state.
    pub fn next_bits(&self, time: u32) -> Result<CompactTarget> {
        let tip = self.tip();
        let at = |height| self.header(height).map(|header| (header.time, header.bits));
        difficulty::bits_after(&self.params, tip, time, at).map_err(|missing| {
            KNOWN.broken(format_args!("difficulty after height {tip}"), missing, "no header there")
        })
    }

    /// Refuses a chain with less work than the network's chain is known to have had.
    pub fn enough(&self) -> Result<()> {
        let least = least_work(self.network());
        if self.work() < least {
            return Err(LEAST_WORK.unavailable(
                format_args!("headers of {} up to height {}", self.network(), self.tip()),
                format_args!("work of at least {least:x}"),
                format_args!("{:x}", self.work()),
            ));
        }
        Ok(())
    }

    /// Refuses a run of headers whose tip is not in the active chain: then somebody shows us
    /// another chain than the one with the most work.
    pub fn vouch(&self, headers: &Headers) -> Result<()> {
        let tip = headers.tip();
        let found = headers.hash(tip);
        // The run is linked by hashes, so its tip stands for all of it.
        if found.is_some() && found == self.hash(tip) && headers.network() == self.network() {
            return Ok(());
        }
        let text = |hash: Option<BlockHash>| hash.map_or("none".into(), |hash| hash.to_string());
        Err(VOUCHED.refuses(
            Culprit::Server,
            format_args!("block at height {tip}"),
            text(self.hash(tip)),
            text(found),
        ))
    }

    /// The active chain from height `first` to the tip, with every known header beside it that
    /// left it there, so that receipts over a tip that lost find their place.
    pub fn headers(&self, first: u32) -> Result<Headers> {
        self.headers_to(first, self.tip())
    }

    /// What a server told, with the headers that the guard believes in place of the server's:
    /// refused unless they are the same, and richer by the branches beside them.
    pub fn attest(&self, facts: Facts) -> Result<Facts> {
        self.vouch(&facts.headers)?;
        let headers = self.headers_to(facts.headers.first(), facts.tip())?;
        Ok(Facts { headers, ..facts })
    }

    fn headers_to(&self, first: u32, tip: u32) -> Result<Headers> {
        let run: Vec<Header> =
            (first..=tip).filter_map(|height| self.header(height)).copied().collect();
        if first < self.first || run.is_empty() {
            return Err(KNOWN.unavailable(
                format_args!("headers from height {first}"),
                "an active block there",
                format_args!("headers {} to {}", self.first, self.tip()),
            ));
        }
        let stale = self
            .entries
            .iter()
            .enumerate()
            .filter(|(place, entry)| {
                !self.is_active(*place)
                    && self
                        .active_ancestor(entry.hash)
                        .is_some_and(|fork| (first..=tip).contains(&fork))
            })
            .map(|(_, entry)| entry.header)
            .collect();
        Headers::new(self.network(), first, run)?.with_stale(stale)
    }
}

fn check_pin(pins: &Checkpoints, height: u32, hash: BlockHash) -> Result<()> {
    match pins.at(height) {
        Some(pinned) if pinned != hash => Err(CHECKPOINT.refuses(
            Culprit::Server,
            format_args!("header at height {height}"),
            format_args!("the pinned block {pinned}"),
            hash,
        )),
        _ => Ok(()),
    }
}

fn too_little_work(height: u32, header: &Header, hash: BlockHash) -> crate::error::Error {
    WORK.refuses(
        Culprit::Server,
        format_args!("header at height {height}"),
        format_args!("a hash up to {:x}", header.target()),
        hash,
    )
}

/// The sum of two works; it cannot reach 2^256, and would stay there if it did.
fn sum(one: Work, other: Work) -> Work {
    let [one, other] = [one, other].map(|work| U256::from_be_bytes(work.to_be_bytes()));
    Work::from_be_bytes(one.saturating_add(other).to_be_bytes())
}
