//! A job as the gateway hands it out: the work itself, and what each of its finds is good for.

use std::sync::Arc;

use bitcoin::Target;

use crate::work::extended_job::ExtendedJob;
use crate::work::template::BlockTemplate;

/// What one position gets out of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which position: its place in the gateway's list.
    pub position: usize,
    /// The slice (0-based, of that position) that the job's height lies in.
    pub slice: u32,
    /// The highest header hash that is a share of the position, as the coinbase pays it.
    pub target: Target,
}

/// A job: for one payee and one template. Sent to machines as it is, never changed.
#[derive(Clone, Debug)]
pub struct Job {
    /// Names the job between gateway and machines; unique while the gateway runs.
    pub id: u64,
    /// Which payee's coinbase it is: his place in the gateway's list.
    pub payee: usize,
    /// Coinbase, branch, parent and bits.
    pub work: ExtendedJob,
    /// What a block is made with.
    pub template: Arc<BlockTemplate>,
    /// The earliest time that a header may state: the parent's median-time-past plus 1 s.
    pub earliest: u32,
    /// The positions that it pays, each with the hashes that count for it.
    pub claims: Vec<Claim>,
}
