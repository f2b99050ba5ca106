//! The board: each payee's present job as machines are told it, or why he has none.
//!
//! A job's line is written once and goes to every machine; only the job's name differs, because
//! each machine is sent the job with its own difficulty.

use std::collections::BTreeMap;
use std::sync::Arc;

use bitcoin::hashes::Hash;
use bitcoin::hex::DisplayHex;
use bitcoin::{BlockHash, Target};

use super::difficulty::Difficulty;
use super::job::Job;

/// The header bits that machines may roll (BIP 320): 13 to 28.
pub const ROLLABLE: u32 = 0x1fff_e000;

/// A job that is out.
#[derive(Debug)]
pub struct Posted {
    /// The job.
    pub job: Arc<Job>,
    /// When it was published, ms.
    pub at: u64,
    /// The highest hash that is a block.
    pub network: Target,
    /// The highest hash that is a share of any of its positions.
    pub share: Option<Target>,
    /// The hardest difficulty that a machine may be given for it: no share of a position and no
    /// block is lost by one who does not report more than he must.
    pub hardest: Option<Difficulty>,
    /// The header version with the rollable bits zero: then setting, flipping and replacing bits
    /// mean the same, whichever a machine's firmware does.
    pub version: u32,
    /// The parameters of `mining.notify` between the job's name and the header's time.
    pub told: String,
}

impl Posted {
    /// Prepares a job that is published at `now`.
    pub fn new(job: Arc<Job>, now: u64) -> Self {
        let network = Target::from_compact(job.work.bits);
        let share = job.claims.iter().map(|claim| claim.target).max();
        // A block of difficulty 1 or less is worth nothing (regtest, testnets' easiest blocks): no
        // reason to be told of each.
        let block = Some(network).filter(|target| *target < Difficulty::ONE.target());
        let hardest = share.max(block).map(Difficulty::of_target);
        let version = job.template.version.to_consensus().cast_unsigned() & !ROLLABLE;
        let told = told(&job, version);
        Self { job, at: now, network, share, hardest, version, told }
    }

    /// Whether both build on the same block.
    pub fn beside(&self, other: &Self) -> bool {
        self.job.work.parent == other.job.work.parent
    }
}

/// Parent (each four bytes reversed), coinbase in two pieces, branch, version, bits.
fn told(job: &Job, version: u32) -> String {
    let mut parent = job.work.parent.to_byte_array();
    for word in parent.as_chunks_mut::<4>().0 {
        word.reverse();
    }
    let branch: Vec<String> = job
        .work
        .branch
        .iter()
        .map(|node| format!("\"{}\"", node.as_byte_array().as_hex()))
        .collect();
    format!(
        "\"{}\",\"{}\",\"{}\",[{}],\"{version:08x}\",\"{:08x}\"",
        parent.as_hex(),
        job.work.prefix.as_hex(),
        job.work.suffix.as_hex(),
        branch.join(","),
        job.work.bits.to_consensus(),
    )
}

/// What machines work on.
#[derive(Clone, Debug, Default)]
pub struct Board {
    /// The present job of each payee.
    pub jobs: Vec<Option<Arc<Posted>>>,
    /// Why there is no new work for anybody, if there is none.
    pub paused: Option<Arc<str>>,
    /// Why there is none for a payee, by his place.
    pub cleared: BTreeMap<usize, Arc<str>>,
    /// Whether the gateway is closing.
    pub stopping: bool,
}

impl Board {
    /// No job yet, for so many payees.
    pub fn new(payees: usize) -> Self {
        Self { jobs: vec![None; payees], ..Self::default() }
    }

    /// Puts jobs up at `now`. A job for a payee who is not there is left out.
    pub fn post(&mut self, jobs: Vec<Arc<Job>>, now: u64) {
        self.paused = None;
        for job in jobs {
            if let Some(place) = self.jobs.get_mut(job.payee) {
                self.cleared.remove(&job.payee);
                *place = Some(Arc::new(Posted::new(job, now)));
            }
        }
    }

    /// Takes a payee's job down, for this reason.
    pub fn clear(&mut self, payee: usize, why: Arc<str>) {
        if let Some(place) = self.jobs.get_mut(payee) {
            *place = None;
            self.cleared.insert(payee, why);
        }
    }

    /// Why there is no new work for a payee, if there is none.
    pub fn why(&self, payee: usize) -> Option<&Arc<str>> {
        self.paused.as_ref().or_else(|| self.cleared.get(&payee))
    }

    /// The block that a payee's work builds on: who has none is judged by the others'.
    pub fn parent(&self, payee: usize) -> Option<BlockHash> {
        let posted = self.job(payee).or_else(|| self.jobs.iter().flatten().next());
        posted.map(|posted| posted.job.work.parent)
    }

    /// The present job of a payee.
    pub fn job(&self, payee: usize) -> Option<&Arc<Posted>> {
        self.jobs.get(payee)?.as_ref()
    }
}
