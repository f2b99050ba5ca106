//! What is known of machines: of each one that is connected, and of all that ever were.

use std::net::SocketAddr;
use std::sync::Arc;

use bitcoin::BlockHash;

use super::difficulty::Difficulty;
use super::reject::Reject;

/// What came of a machine's lines, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Accepted submits.
    pub accepted: u64,
    /// Hashes that they stand for, by the difficulties that their jobs were sent with.
    pub work: u128,
    /// Shares of positions among all submits.
    pub shares: u64,
    /// Blocks among all submits.
    pub blocks: u64,
    /// Refusals, as [`Reject::ALL`] orders them.
    pub rejects: [u64; Reject::COUNT],
}

impl Tally {
    /// Counts a refusal.
    pub fn reject(&mut self, reject: Reject) {
        if let Some(count) = self.rejects.get_mut(reject.place()) {
            *count = count.saturating_add(1);
        }
    }

    /// How often something was refused for this reason.
    pub fn rejected(&self, reject: Reject) -> u64 {
        self.rejects.get(reject.place()).copied().unwrap_or(0)
    }

    /// Adds another tally.
    pub fn add(&mut self, other: &Self) {
        self.accepted = self.accepted.saturating_add(other.accepted);
        self.work = self.work.saturating_add(other.work);
        self.shares = self.shares.saturating_add(other.shares);
        self.blocks = self.blocks.saturating_add(other.blocks);
        for (sum, more) in self.rejects.iter_mut().zip(other.rejects) {
            *sum = sum.saturating_add(more);
        }
    }
}

/// A machine that is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineStatus {
    /// Number of the connection, from 1 on.
    pub number: u64,
    /// Where it comes from.
    pub address: SocketAddr,
    /// User and worker, as it called itself; empty before authorisation.
    pub user: Arc<str>,
    /// Its firmware, as it called itself; empty before subscription.
    pub firmware: Arc<str>,
    /// Whose coinbase it works on: his place in the gateway's list.
    pub payee: Option<usize>,
    /// The difficulty of its present job.
    pub difficulty: Option<Difficulty>,
    /// Version bits that it was granted; 0 for none.
    pub mask: u32,
    /// What came of its lines.
    pub tally: Tally,
    /// When its last accepted share came, Unix seconds.
    pub last: Option<u32>,
    /// The lowest hash that it delivered.
    pub best: Option<BlockHash>,
    /// Since when it is connected, Unix seconds.
    pub since: u32,
    /// Something that a person should look at.
    pub warning: Option<Arc<str>>,
}

/// Everything since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// What came of all lines.
    pub tally: Tally,
    /// Connections that are open.
    pub open: u64,
    /// Connections that were let in.
    pub connected: u64,
    /// Connections that were turned away.
    pub turned_away: u64,
    /// Connections that were closed for their conduct.
    pub closed: u64,
    /// Times that an address was banned.
    pub bans: u64,
}
