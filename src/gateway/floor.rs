//! The floor: what the threads of a gateway share, and the keeper, who puts finds on the disk.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bitcoin::BlockHash;

use crate::chain::core::Offer;
use crate::error::Rule;
use crate::gateway::collector::Collector;
use crate::gateway::crew::Crew;
use crate::gateway::ended::Ended;
use crate::gateway::job::Job;
use crate::gateway::plan::Plan;
use crate::gateway::status::{FoundBlock, NodeStatus, SealedSlice};
use crate::work::extended_job::Find;

/// The gateway's own folder can be used.
pub const HOME: Rule = Rule::new(
    "gateway-home",
    "the gateway's folder can be read and written",
    "check the path, its permissions and the disk",
);

/// How often finds are put on the disk.
pub(super) const FLUSH: Duration = Duration::from_secs(1);

/// A find of a position, on its way from the machine that made it.
pub(super) type Kept = (Arc<Job>, Find, BlockHash);

/// What the threads of a gateway share.
pub(super) struct Floor {
    pub(super) plan: Plan,
    pub(super) collector: Mutex<Collector>,
    pub(super) standing: Mutex<Standing>,
    notices: Mutex<Sender<String>>,
    over: AtomicBool,
    pub(super) begun: Instant,
}

/// What has come about so far.
#[derive(Debug, Default)]
pub(super) struct Standing {
    pub(super) work: Option<Published>,
    /// Why there is none.
    pub(super) why: String,
    pub(super) nodes: Vec<NodeStatus>,
    /// Of each payee: why his coinbase is refused, if it is.
    pub(super) refused: Vec<Option<String>>,
    pub(super) crew: Crew,
    pub(super) blocks: VecDeque<FoundBlock>,
    /// Of each position: what was sealed last, and what keeps the sealing.
    pub(super) sealed: Vec<(Option<SealedSlice>, Option<String>)>,
    /// Of each position: how its contract ended, if it did.
    pub(super) ended: Vec<Option<Ended>>,
}

#[derive(Debug)]
pub(super) struct Published {
    pub(super) offer: Arc<Offer>,
    pub(super) node: usize,
    pub(super) since: Instant,
}

impl Floor {
    /// A floor where nothing has come about yet; lines of the log go to `notices`.
    pub(super) fn new(
        plan: Plan,
        collector: Collector,
        standing: Standing,
        notices: Sender<String>,
    ) -> Self {
        Self {
            plan,
            collector: Mutex::new(collector),
            standing: Mutex::new(standing),
            notices: Mutex::new(notices),
            over: AtomicBool::new(false),
            begun: Instant::now(),
        }
    }

    /// A line for the log.
    pub(super) fn tell(&self, line: impl std::fmt::Display) {
        // Whoever stopped listening wants no log.
        let _ = locked(&self.notices).send(line.to_string());
    }

    /// Tells every thread that the gateway stops.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether the gateway was told to stop.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Keeps what machines find, on the disk within a second, until the server is gone.
    pub(super) fn keep(&self, finds: &Receiver<Kept>) {
        let mut flushed = Instant::now();
        loop {
            let next = finds.recv_timeout(FLUSH);
            let gone = matches!(next, Err(RecvTimeoutError::Disconnected));
            let mut collector = locked(&self.collector);
            for (job, find, hash) in next.into_iter().chain(finds.try_iter()) {
                collector.keep(&job, &find, hash);
            }
            if flushed.elapsed() >= FLUSH || gone {
                flushed = Instant::now();
                if let Err(error) = collector.flush() {
                    // It stays in memory, and is tried again.
                    self.tell(&error);
                }
            }
            if gone {
                return;
            }
        }
    }
}

/// A lock whose holder panicked guards figures and rows that are whole all the same.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
