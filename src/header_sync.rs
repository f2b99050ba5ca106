//! Bringing the headers up to date: a server hands them out, the guard judges, the store keeps.
//!
//! ```text
//!   server's tip? -> the last header that both have -> chunks of 2,016 up to the tip
//!                    (back by 1, 2, 4 .. blocks)       each judged, then stored, then reported
//! ```
//!
//! A chunk is stored in one transaction after all of it was let in; whatever breaks off in the
//! middle, the next synchronisation goes on where the last chunk ended. A header that breaks a rule
//! is refused in the server's name, and nothing of its chunk is stored.
//!
//! A server whose chain ends with less work than ours breaks no rule: it lags behind, or it follows
//! a branch that lost. [`Standing`] tells which; its words about the tip are then not ours.

use std::time::{SystemTime, UNIX_EPOCH};

use bitcoin::BlockHash;
use bitcoin::block::Header;

use crate::chain::electrum::{ANSWER, CHUNK, Electrum, STEADY};
use crate::error::{Culprit, Error, Result, Rule};
use crate::guard::{Guard, Placed, Reorg};
use crate::store::Store;

mod guarded;

pub use guarded::{FRESH, GuardedChain, LATEST};

/// A header's time is not in the future.
pub const FUTURE: Rule = Rule::new(
    "guard-future",
    "a header's time is at most two hours ahead of our clock",
    "set the clock of this machine, or ask another server",
);
/// Headers that a server hands out follow one another.
pub const SEQUENCE: Rule = Rule::new(
    "guard-sequence",
    "a server's headers follow one another at the heights that it states",
    "ask another server",
);
/// The server's chain leads to ours.
pub const COMMON: Rule = Rule::new(
    "guard-common",
    "the server's chain and ours have a block in common",
    "ask another server; this chain is not the network's",
);

/// Seconds that a header may be ahead of the clock, as in Bitcoin Core.
const AHEAD: u64 = 2 * 60 * 60;
/// Times the tip is asked for again because it moved while headers were read.
const REREADS: u32 = 5;

/// Where headers come from; unchecked, and served by nobody whom we trust.
pub trait HeaderSource {
    /// Height and hash of the tip.
    fn tip(&self) -> Result<(u32, BlockHash)>;
    /// Up to `count` headers from height `first` on; fewer where the chain ends.
    fn chunk(&self, first: u32, count: u32) -> Result<Vec<Header>>;
    /// Who it is, for people.
    fn name(&self) -> String;
}

impl HeaderSource for Electrum {
    fn tip(&self) -> Result<(u32, BlockHash)> {
        Self::tip(self)
    }

    fn chunk(&self, first: u32, count: u32) -> Result<Vec<Header>> {
        self.header_chunk(first, count)
    }

    fn name(&self) -> String {
        self.place()
    }
}

/// How the server's chain compares with the one that we believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the one that we believe.
    Agrees,
    /// It is the one that we believe, without its last blocks.
    Behind {
        /// How many.
        blocks: u32,
    },
    /// It is another branch, with no more work than the one that we believe.
    LessWork {
        /// Height of the last block that both share.
        fork: u32,
    },
}

/// What a synchronisation came to.
#[derive(Clone, Debug)]
pub struct Synced {
    /// The guard, with every header that the server has.
    pub guard: Guard,
    /// Headers that are new to us and stored now.
    pub added: usize,
    /// Changes of the active chain, in their order.
    pub reorgs: Vec<Reorg>,
    /// How the server's chain compares with ours.
    pub standing: Standing,
}

/// Brings `guard`, which has what the store has, up to the source's tip, and the store with it. After a
/// failure the guard is gone: read it from the store again.
///
/// `progress` hears, after each stored chunk, the height reached and the height of the tip.
pub fn sync_guard(
    source: &impl HeaderSource,
    store: &mut Store,
    mut guard: Guard,
    progress: &mut dyn FnMut(u32, u32),
) -> Result<Synced> {
    let (mut added, mut reorgs) = (0usize, Vec::new());
    for _ in 0..REREADS {
        let (height, hash) = source.tip()?;
        let known = guard.height_of(hash);
        if known.is_some_and(|known| known != height) {
            return Err(out_of_order(source, height, format_args!("{known:?} for {hash}")));
        }
        let reached = if known.is_some() {
            true
        } else {
            let mut reading = Reading { source, store, guard: &mut guard, reorgs: &mut reorgs };
            let (last, new) = reading.follow(height, progress)?;
            added = added.saturating_add(new);
            last == hash
        };
        if reached {
            let standing = standing(&guard, hash, height);
            return Ok(Synced { guard, added, reorgs, standing });
        }
    }
    Err(STEADY.unavailable(
        format_args!("headers, {}", source.name()),
        "a chain that ends with the tip that the server states",
        format_args!("{REREADS} readings that end elsewhere"),
    ))
}

fn standing(guard: &Guard, hash: BlockHash, height: u32) -> Standing {
    let fork = guard.active_ancestor(hash).unwrap_or(guard.first());
    if hash == guard.tip_hash() {
        Standing::Agrees
    } else if fork == height {
        Standing::Behind { blocks: guard.tip().saturating_sub(height) }
    } else {
        Standing::LessWork { fork }
    }
}

/// One way up a server's chain.
struct Reading<'a, S> {
    source: &'a S,
    store: &'a mut Store,
    guard: &'a mut Guard,
    reorgs: &'a mut Vec<Reorg>,
}

impl<S: HeaderSource> Reading<'_, S> {
    /// Reads from the last common block to `tip`; answers the last block read and how many were
    /// new.
    fn follow(
        &mut self,
        tip: u32,
        progress: &mut dyn FnMut(u32, u32),
    ) -> Result<(BlockHash, usize)> {
        let (mut height, mut last) = self.common(tip)?;
        let mut added = 0usize;
        while height < tip {
            let first = height.saturating_add(1);
            let count = tip.saturating_sub(height).min(CHUNK);
            let chunk = self.source.chunk(first, count)?;
            let latest = latest();
            let mut fresh = Vec::new();
            for header in &chunk {
                height = height.saturating_add(1);
                if header.prev_blockhash != last {
                    let found = format_args!("parent {}", header.prev_blockhash).to_string();
                    return Err(out_of_order(self.source, height, found));
                }
                last = header.block_hash();
                self.admit(header, height, latest, &mut fresh)?;
            }
            self.store.append_headers(self.guard.network(), &fresh)?;
            added = added.saturating_add(fresh.len());
            progress(height, tip);
            if chunk.is_empty() {
                break;
            }
        }
        Ok((last, added))
    }

    fn admit(
        &mut self,
        header: &Header,
        height: u32,
        latest: u64,
        fresh: &mut Vec<Header>,
    ) -> Result<()> {
        let name = || format!("{}, height {height}", self.source.name());
        if u64::from(header.time) > latest {
            return Err(FUTURE.refuses(
                Culprit::Server,
                name(),
                format_args!("a time up to {latest}"),
                header.time,
            ));
        }
        let placed = self.guard.accept(header).map_err(|error| error.within(name()))?;
        if placed != Placed::Known {
            fresh.push(*header);
        }
        if let Placed::Reorg(reorg) = placed {
            self.reorgs.push(reorg);
        }
        Ok(())
    }

    /// The highest block found that the server's chain and ours share, not always the last.
    fn common(&self, tip: u32) -> Result<(u32, BlockHash)> {
        let first = self.guard.first();
        let mut height = self.guard.tip().min(tip);
        let mut step = 1u32;
        loop {
            let chunk = self.source.chunk(height, 1)?;
            let Some(header) = chunk.first() else {
                return Err(ANSWER.unavailable(
                    self.source.name(),
                    format_args!("its header at height {height}, below its tip {tip}"),
                    "none",
                ));
            };
            let hash = header.block_hash();
            if self.guard.height_of(hash) == Some(height) {
                return Ok((height, hash));
            }
            if height <= first {
                let ours = self.guard.hash(first).map_or("none".into(), |hash| hash.to_string());
                return Err(COMMON.refuses(
                    Culprit::Server,
                    format_args!("{}, height {height}", self.source.name()),
                    ours,
                    hash,
                ));
            }
            height = height.saturating_sub(step).max(first);
            step = step.saturating_mul(2);
        }
    }
}

fn out_of_order(source: &impl HeaderSource, height: u32, found: impl core::fmt::Display) -> Error {
    SEQUENCE.refuses(
        Culprit::Server,
        format_args!("{}, height {height}", source.name()),
        "the header that follows the one before",
        found,
    )
}

/// The latest time (Unix seconds) that a header may have now.
fn latest() -> u64 {
    now().saturating_add(AHEAD)
}

/// Our clock, in Unix seconds; 0 if it stands before 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
