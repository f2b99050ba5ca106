//! The crew: the rates of machines, together and each, and the lowest hash of all.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Target};

use crate::gateway::machines::MachineStatus;
use crate::gateway::rates::{Rates, SPANS};

/// Rates of all machines together and of each, and the lowest hash of all.
#[derive(Debug)]
pub(super) struct Crew {
    pub(super) all: Rates,
    each: BTreeMap<u64, Rates>,
    pub(super) best: Option<BlockHash>,
}

impl Default for Crew {
    fn default() -> Self {
        let [_, _, day] = SPANS;
        Self { all: Rates::over_at_most(day), each: BTreeMap::new(), best: None }
    }
}

impl Crew {
    /// Notes the work of all machines so far (hashes), and how each does, `now` seconds after the
    /// gateway began.
    pub(super) fn note(&mut self, now: u64, work: u128, machines: &[MachineStatus]) {
        self.all.note(now, work);
        // Who has left is forgotten; his work stands in the sum.
        let here: BTreeSet<u64> = machines.iter().map(|machine| machine.number).collect();
        self.each.retain(|number, _| here.contains(number));
        for machine in machines {
            let [short, ..] = SPANS;
            let rates =
                self.each.entry(machine.number).or_insert_with(|| Rates::over_at_most(short));
            rates.note(now, machine.tally.work);
            self.best = lower(self.best, machine.best);
        }
    }

    /// Hashes a second of a machine, over five minutes.
    pub(super) fn rate_of(&self, machine: &MachineStatus, now: u64) -> u64 {
        let [short, ..] = SPANS;
        self.each.get(&machine.number).map_or(0, |rates| rates.over(short, now, machine.tally.work))
    }
}

/// The lower of two hashes, as numbers.
pub(super) fn lower(one: Option<BlockHash>, other: Option<BlockHash>) -> Option<BlockHash> {
    let number = |hash: &BlockHash| Target::from_le_bytes(hash.to_byte_array());
    one.into_iter().chain(other).min_by_key(number)
}
