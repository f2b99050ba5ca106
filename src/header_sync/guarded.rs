//! A chain that is believed header by header: a server's words, held against our own guard.
//!
//! ```text
//!   facts(scripts)?
//!     server: transactions, their places, its tip ---+
//!                                                    +-- same tip? the guard's headers, with the
//!     guard: the chain with the most work we know ---+   branches beside them, go into the facts
//!            ^                                       |
//!            +---- headers are synchronised <--------+-- another tip: synchronise, read again
//! ```
//!
//! So a server that answers from a chain with less work, from yesterday, or from one that it made
//! up is not acted upon, whatever else it says. What was checked is on the disk before it is used:
//! headers that lost a reorg are known after a restart too, and receipts that name them find their
//! place.

use bitcoin::{BlockHash, Network, ScriptBuf};

use super::{Standing, Synced, now, sync_guard};
use crate::chain::electrum::{Electrum, STEADY};
use crate::error::{Error, Result, Rule};
use crate::facts::Facts;
use crate::guard::{Guard, Reorg};
use crate::headers::Headers;
use crate::store::Store;

/// The server's chain ends where the chain with the most work ends.
pub const LATEST: Rule = Rule::new(
    "guard-latest",
    "the server's chain is the one with the most work that we know, up to its last block",
    "wait until the server has caught up, or ask another one",
);
/// Blocks keep coming.
pub const FRESH: Rule = Rule::new(
    "guard-fresh",
    "the last block's time is at most four hours behind our clock",
    "check this machine's clock and the server's node; blocks may be kept from you",
);

/// Times a reading is begun again because the server's tip moved.
const REREADS: u32 = 5;
/// Seconds without a block that are believed. On a network with a block every ten minutes a longer
/// silence comes once in some hundred thousand years.
const SILENCE: u64 = 4 * 60 * 60;

/// One server, and the guard that judges its headers.
#[derive(Debug)]
pub struct GuardedChain {
    electrum: Electrum,
    /// What the store has; `None` until it is read, and after a synchronisation that failed.
    guard: Option<Guard>,
    reorgs: Vec<Reorg>,
}

impl GuardedChain {
    /// Guards what `electrum` says. Nothing is asked and nothing read before the first question.
    pub fn new(electrum: Electrum) -> Self {
        Self { electrum, guard: None, reorgs: Vec::new() }
    }

    /// The server itself: to broadcast, and for what needs no belief.
    pub fn electrum(&self) -> &Electrum {
        &self.electrum
    }

    /// The network that the server was found on.
    pub fn network(&self) -> Network {
        self.electrum.network()
    }

    /// Brings the headers in `store` up to the server's tip. `progress` hears the height reached
    /// and that of the tip.
    pub fn sync(&mut self, store: &mut Store, progress: &mut dyn FnMut(u32, u32)) -> Result<()> {
        let guard = match self.guard.take() {
            Some(guard) => guard,
            None => store.guard(self.network())?,
        };
        let synced = sync_guard(&self.electrum, store, guard, progress)?;
        let Synced { guard, reorgs, standing, .. } = synced;
        let guard = self.guard.insert(guard);
        self.reorgs.extend(reorgs);
        let place = || self.electrum.place();
        let tip = |guard: &Guard| format!("a tip at height {}, {}", guard.tip(), guard.tip_hash());
        match standing {
            Standing::Agrees => {}
            Standing::Behind { blocks } => {
                let last = guard.tip().saturating_sub(blocks);
                let found = format_args!("the same chain, which ends at height {last}").to_string();
                return Err(LATEST.unavailable(place(), tip(guard), found));
            }
            Standing::LessWork { fork } => {
                let found =
                    format_args!("a branch after height {fork} that has no more work").to_string();
                return Err(LATEST.unavailable(place(), tip(guard), found));
            }
        }
        believable(guard).map_err(|error| error.within(place()))
    }

    /// What [`Electrum::facts`] reads, if its headers end the chain with the most work that we
    /// know; with our own headers in place of the server's.
    pub fn facts(
        &mut self,
        store: &mut Store,
        scripts: &[ScriptBuf],
        headers_from: u32,
    ) -> Result<Facts> {
        for _ in 0..REREADS {
            let facts = self.electrum.facts(scripts, headers_from)?;
            let tip = facts.headers.hash(facts.tip());
            if let Some(guard) = self.guard.as_ref().filter(|guard| Some(guard.tip_hash()) == tip) {
                believable(guard).map_err(|error| error.within(self.electrum.place()))?;
                return guard.attest(facts);
            }
            self.sync(store, &mut |_, _| {})?;
        }
        Err(self.restless())
    }

    /// Hash of the block at `height` in the chain with the most work, as of the last reading.
    pub fn active(&self, height: u32) -> Option<BlockHash> {
        self.guard.as_ref()?.hash(height)
    }

    /// Height of the tip, as of the last reading.
    pub fn height(&self) -> u32 {
        self.guard.as_ref().map_or(0, Guard::tip)
    }

    /// Our headers from height `first` to the tip, as of the last reading.
    pub fn headers(&self, first: u32) -> Result<Headers> {
        match &self.guard {
            Some(guard) => guard.headers(first),
            None => Err(self.restless()),
        }
    }

    /// The reorgs since this was asked last, in their order.
    pub fn take_reorgs(&mut self) -> Vec<Reorg> {
        core::mem::take(&mut self.reorgs)
    }

    fn restless(&self) -> Error {
        STEADY.unavailable(
            self.electrum.place(),
            "a tip that holds still while the chain is read",
            format_args!("{REREADS} readings that do not end with it"),
        )
    }
}

/// Refuses a chain that is not the network's: without the work that the network is known to have, or
/// without a block for hours. Asked at every reading, for a chain once synchronised stays at hand.
fn believable(guard: &Guard) -> Result<()> {
    guard.enough()?;
    fresh(guard, now())
}

/// Refuses a chain whose last block is long before `now` (Unix seconds); on a regtest nobody keeps
/// time.
fn fresh(guard: &Guard, now: u64) -> Result<()> {
    let time = guard.header(guard.tip()).map_or(0, |header| u64::from(header.time));
    let age = now.saturating_sub(time);
    if guard.network() == Network::Regtest || age <= SILENCE {
        return Ok(());
    }
    Err(FRESH.unavailable(
        format_args!("tip at height {}", guard.tip()),
        format_args!("at most {} h old", SILENCE / 3_600),
        format_args!("{} h {} min old", age / 3_600, age % 3_600 / 60),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_block_of_four_hours_passes_and_one_of_a_second_more_does_not() {
        for network in [Network::Bitcoin, Network::Testnet, Network::Testnet4, Network::Signet] {
            let guard = Guard::new(network);
            let time = u64::from(guard.header(0).unwrap().time);
            for age in [0, 1, 600, 4 * 60 * 60] {
                fresh(&guard, time + age).unwrap();
            }
            let error = fresh(&guard, time + 4 * 60 * 60 + 1).unwrap_err();
            assert_eq!((error.rule(), error.exit_code()), ("guard-fresh", 5));
            assert_eq!(error.fault().found, "4 h 0 min old");
            let error = fresh(&guard, time + 100 * 60 * 60 + 59 * 60).unwrap_err();
            assert_eq!(error.fault().found, "100 h 59 min old");
        }
    }

    #[test]
    fn a_chain_without_the_networks_work_is_believed_at_no_reading() {
        // What makes a chain worth nothing here would make it fresh as well: it is asked first.
        let error = believable(&Guard::new(Network::Bitcoin)).unwrap_err();
        assert_eq!((error.rule(), error.exit_code()), ("guard-least-work", 5));
        believable(&Guard::new(Network::Regtest)).unwrap();
    }

    #[test]
    fn a_clock_behind_the_chain_passes() {
        // How far a block may be ahead of the clock is another rule's: guard-future.
        let guard = Guard::new(Network::Bitcoin);
        let time = u64::from(guard.header(0).unwrap().time);
        for now in [time - 1, time - 1_000_000, 0] {
            fresh(&guard, now).unwrap();
        }
    }

    #[test]
    fn nobody_keeps_time_on_a_regtest() {
        fresh(&Guard::new(Network::Regtest), u64::MAX).unwrap();
    }
}
