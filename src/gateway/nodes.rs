//! Our nodes: what they offer to mine on, and where a block goes.
//!
//! ```text
//!  each node:  long poll  --- answers when it has something better ---+
//!              fallback   --- asks for the tip every second ----------+--> News --> foreman
//!              blocks     <-- every block, until the node has taken or refused it
//! ```
//! Three threads a node, because each of the three may wait: a long poll for a minute, a question
//! for as long as a busy node likes, a block for nobody. The fallback is there for a long poll that
//! died without a word (a proxy, a restart); it also asks for a fresh template when the old one has
//! grown stale. A node that does not answer is asked again after a pause that doubles up to half a
//! minute, and the foreman hears once that it is away and once that it is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use bitcoin::{Block, BlockHash, Network};

use crate::chain::core::{Core, Node, Offer, Patience};
use crate::error::{Error, Result};

/// Time that a long poll may take. Core answers within a minute if its mempool moves at all.
const LONG: Duration = Duration::from_secs(150);
/// Time for any other answer: a template of a full mempool takes a second or two.
const SHORT: Duration = Duration::from_secs(20);
/// Between two questions for the tip.
const TIP_EVERY: Duration = Duration::from_secs(1);
/// Age at which a template is asked for anew: fees have come in.
pub const FRESH: Duration = Duration::from_secs(30);
/// Pauses before a node that is away is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a block is brought to a node that does not answer. After half an hour others have won.
const BLOCK_PATIENCE: Duration = Duration::from_secs(1_800);
/// Longest pause before a block is brought again.
const BLOCK_PAUSE: Duration = Duration::from_secs(2);

/// What a node's threads tell.
#[derive(Debug)]
pub enum News {
    /// Something to mine on.
    Offer {
        /// Which node: its place in the list.
        node: usize,
        /// The template.
        offer: Box<Offer>,
    },
    /// The node cannot be mined on, and why.
    Away {
        /// Which node.
        node: usize,
        /// What it said, or that it said nothing.
        error: Error,
    },
    /// What a node made of a block.
    Judged {
        /// Which node.
        node: usize,
        /// The block.
        block: BlockHash,
        /// Taken, or the node's reason.
        outcome: Result<()>,
    },
}

/// All nodes, at work.
#[derive(Debug)]
pub struct Nodes {
    urls: Vec<String>,
    blocks: Vec<Sender<Arc<Block>>>,
    /// Blocks that nodes have not judged yet, each counted for each node.
    on_the_way: Arc<AtomicUsize>,
}

impl Nodes {
    /// Starts the threads of each node; they end when nobody hears their news any more.
    pub fn watch(nodes: &[Node], network: Network, news: &Sender<News>) -> Self {
        let (mut blocks, on_the_way) = (Vec::new(), Arc::new(AtomicUsize::new(0)));
        for (place, node) in nodes.iter().enumerate() {
            let (send, queue) = channel();
            blocks.push(send);
            let at = Watch { place, node: node.clone(), network, news: news.clone() };
            for work in [Watch::long_poll, Watch::fallback] {
                let at = at.clone();
                thread::spawn(move || work(&at));
            }
            let on_the_way = on_the_way.clone();
            thread::spawn(move || at.hand_in(&queue, &on_the_way));
        }
        Self { urls: nodes.iter().map(|node| node.url.clone()).collect(), blocks, on_the_way }
    }

    /// Gives a block to every node. Returns at once.
    pub fn submit(&self, block: &Arc<Block>) {
        for queue in &self.blocks {
            self.on_the_way.fetch_add(1, Ordering::Relaxed);
            // A thread ends with the gateway alone.
            let _ = queue.send(block.clone());
        }
    }

    /// Whether a block is still on its way to a node.
    pub fn busy(&self) -> bool {
        self.on_the_way.load(Ordering::Relaxed) > 0
    }

    /// Where the nodes are.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }
}

/// One node, as its threads know it.
#[derive(Clone)]
struct Watch {
    place: usize,
    node: Node,
    network: Network,
    news: Sender<News>,
}

/// Nobody hears the news any more.
struct Over;

impl Watch {
    fn connect(&self, timeout: Duration) -> Result<Core> {
        // One attempt: the pause between two is ours.
        let patience = Patience { timeout, attempts: 1, ..Patience::default() };
        Core::connect_with(&self.node.url, self.node.auth.clone(), self.network, patience)
    }

    fn tell(&self, news: News) -> core::result::Result<(), Over> {
        self.news.send(news).map_err(|_| Over)
    }

    fn offer(&self, offer: Offer) -> core::result::Result<(), Over> {
        self.tell(News::Offer { node: self.place, offer: Box::new(offer) })
    }

    /// Asks for something better than the last offer, for ever.
    fn long_poll(&self) {
        let mut pause = Pause::default();
        loop {
            let polled = self.connect(LONG).and_then(|core| {
                let mut last = core.offer(None)?;
                loop {
                    let name = last.name.clone();
                    if self.offer(last).is_err() {
                        return Ok(());
                    }
                    pause = Pause::default();
                    // A node that names no offer cannot be polled long; the fallback sees to it.
                    let Some(name) = name else { return Ok(()) };
                    last = core.offer(Some(&name))?;
                }
            });
            // Why it failed the fallback tells: here a timeout is nothing to speak of.
            if polled.is_ok() {
                return;
            }
            pause.wait();
        }
    }

    /// Looks at the tip every second, and takes a template when it has changed or grown old. One
    /// question that fails is no news: the second one in a row is.
    fn fallback(&self) {
        let (mut pause, mut well) = (Pause::default(), false);
        loop {
            let Err(error) = self.look(&mut pause, &mut well) else { return };
            let first = core::mem::replace(&mut well, false);
            if !first && self.tell(News::Away { node: self.place, error }).is_err() {
                return;
            }
            pause.wait();
        }
    }

    fn look(&self, pause: &mut Pause, well: &mut bool) -> Result<()> {
        let core = self.connect(SHORT)?;
        let mut known: Option<(BlockHash, Instant)> = None;
        loop {
            let (_, tip) = core.tip()?;
            let current = known.filter(|(parent, since)| *parent == tip && since.elapsed() < FRESH);
            if current.is_none() {
                let offer = core.offer(None)?;
                known = Some((offer.template.parent, Instant::now()));
                if self.offer(offer).is_err() {
                    return Ok(());
                }
                *pause = Pause::default();
            }
            *well = true;
            thread::sleep(TIP_EVERY);
        }
    }

    /// Brings every block to the node: over the connection that is there, or a new one. A node that
    /// lacks the block before is a little behind, and asked again.
    fn hand_in(&self, queue: &Receiver<Arc<Block>>, on_the_way: &AtomicUsize) {
        let mut core: Option<Core> = None;
        while let Ok(block) = queue.recv() {
            let begin = Instant::now();
            let mut pause = Pause::default();
            let outcome = loop {
                let outcome = match &core {
                    Some(core) => core.submit(&block),
                    None => self.connect(SHORT).and_then(|new| core.insert(new).submit(&block)),
                };
                match outcome {
                    Err(error) if begin.elapsed() < BLOCK_PATIENCE && comes_later(&error) => {
                        if matches!(error, Error::Unavailable(_)) {
                            core = None;
                        }
                        pause.wait_at_most(BLOCK_PAUSE);
                    }
                    outcome => break outcome.map(|_| ()),
                }
            };
            let judged = News::Judged { node: self.place, block: block.block_hash(), outcome };
            on_the_way.fetch_sub(1, Ordering::Relaxed);
            if self.tell(judged).is_err() {
                return;
            }
        }
    }
}

/// Whether the same block may be taken a little later.
fn comes_later(error: &Error) -> bool {
    matches!(error, Error::Unavailable(_)) || error.fault().found.contains("prev-blk-not-found")
}

/// How long a node that is away is left alone.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pause {
    fn wait(&mut self) {
        self.wait_at_most(LONGEST_PAUSE);
    }

    fn wait_at_most(&mut self, longest: Duration) {
        thread::sleep(self.0.min(longest));
        self.0 = self.0.saturating_mul(2).min(LONGEST_PAUSE);
    }
}
