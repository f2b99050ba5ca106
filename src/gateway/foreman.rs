//! The foreman: everything of a gateway together, and the loop that moves it.
//!
//! ```text
//!  News (offers, silence, judged blocks) --> which node's offer? --> a job for each payee --> server
//!  finds of positions ----------------------> collector, on the disk each second
//!  a new tip -------------------------------> sealing, in a thread of its own: it may wait
//! ```
//! | trouble | what happens |
//! |---|---|
//! | the preferred node is away | the next one's offers are taken |
//! | all nodes are away, or on another network | no new work, and the reason is shown; what machines still find is kept |
//! | a block is found | every node gets it before anything else about it is asked, and it lies in `blocks/` until one has taken it |
//! | a coinbase would not pay a position as agreed | that payee's machines get no work, and the reason is shown |
//! | the Electrum server or the validators are away | sealing is tried again; what was found is on the disk |

use std::collections::VecDeque;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::{BlockHash, Network};

use crate::chain::core::{Node, Offer};
use crate::error::{Error, Result, Rule};
use crate::gateway::collector::{Collector, Held};
use crate::gateway::crew::{Crew, status};
use crate::gateway::job::Job;
use crate::gateway::nodes::{FRESH, News, Nodes};
use crate::gateway::plan::Plan;
use crate::gateway::seals::{SealingThread, Seals};
use crate::gateway::server::{self, Server, Sink};
use crate::gateway::status::{FoundBlock, NodeStatus, SealedSlice, Status};
use crate::gateway::window::Window;
use crate::store::Store;
use crate::work::extended_job::Find;

/// The gateway's own folder can be used.
pub const HOME: Rule = Rule::new(
    "gateway-home",
    "the gateway's folder can be read and written",
    "check the path, its permissions and the disk",
);

/// Longest time between two looks at what has been found.
const LOOK: Duration = Duration::from_millis(200);
/// How often finds are put on the disk.
const FLUSH: Duration = Duration::from_secs(1);
/// Blocks that are remembered for the status.
const BLOCKS: usize = 20;

/// Where a gateway works, and with what.
#[derive(Debug)]
pub struct Settings {
    /// The network of nodes and positions.
    pub network: Network,
    /// The folder of its store; it holds the blocks that were found too.
    pub home: PathBuf,
    /// Where machines connect.
    pub listen: SocketAddr,
    /// Where status and metrics are asked for.
    pub status: Option<SocketAddr>,
    /// Tells the extra nonces of two gateways apart.
    pub gateway: u8,
    /// Shares a minute that each machine is to send.
    pub shares_per_minute: u32,
    /// Our nodes, the preferred one first.
    pub nodes: Vec<Node>,
}

/// A find of a position, on its way from the machine that made it.
type Kept = (Arc<Job>, Find, BlockHash);

/// What foreman, window and sealing share.
pub(super) struct Floor {
    pub(super) plan: Plan,
    pub(super) collector: Mutex<Collector>,
    pub(super) standing: Mutex<Standing>,
    notices: Mutex<Sender<String>>,
    finds: Mutex<Receiver<Kept>>,
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
    pub(super) crew: Crew,
    pub(super) blocks: VecDeque<FoundBlock>,
    /// Of each position: what was sealed last, and what keeps the sealing.
    pub(super) sealed: Vec<(Option<SealedSlice>, Option<String>)>,
}

#[derive(Debug)]
pub(super) struct Published {
    pub(super) offer: Arc<Offer>,
    pub(super) node: usize,
    pub(super) since: Instant,
}

impl Floor {
    /// A line for the log.
    pub(super) fn tell(&self, line: impl std::fmt::Display) {
        // Whoever stopped listening wants no log.
        let _ = locked(&self.notices).send(line.to_string());
    }

    /// Keeps what was found since it was asked last, without putting it on the disk.
    fn keep(&self, collector: &mut Collector) {
        for (job, find, hash) in locked(&self.finds).try_iter() {
            collector.keep(&job, &find, hash);
        }
    }

    /// Keeps what was found, on the disk.
    fn keep_all(&self) -> Result<()> {
        let mut collector = locked(&self.collector);
        self.keep(&mut collector);
        collector.flush().map(|_| ())
    }

    /// Whether the gateway was told to stop.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// A lock whose holder panicked guards figures and rows that are whole all the same.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hears of finds in the server's threads.
struct Ear {
    finds: Mutex<Sender<Kept>>,
    nodes: Arc<Nodes>,
    home: PathBuf,
    floor: Arc<Floor>,
}

impl Sink for Ear {
    fn block(&self, job: &Arc<Job>, find: &Find) {
        let Some(block) = job.work.block(&job.template, find) else { return };
        let (height, hash, text) = (job.template.height, block.block_hash(), serialize_hex(&block));
        self.nodes.submit(block);
        // Should no node be there to take it, it is not lost.
        let path = self.home.join("blocks").join(format!("{height}-{hash}.hex"));
        if let Err(error) = fs::write(&path, text) {
            self.floor.tell(HOME.unstored(path.display(), "a place for the block", error));
        }
        self.floor.tell(format_args!("block {hash} at height {height} goes to every node"));
        let mut standing = locked(&self.floor.standing);
        standing.blocks.push_front(FoundBlock { height, hash, judged: Vec::new() });
        standing.blocks.truncate(BLOCKS);
    }

    fn share(&self, job: &Arc<Job>, find: &Find, hash: BlockHash) {
        let _ = locked(&self.finds).send((job.clone(), *find, hash));
    }

    fn note(&self, machine: SocketAddr, words: &str) {
        self.floor.tell(format_args!("machine {machine}: {words}"));
    }
}

/// A gateway at work.
pub struct Gateway {
    floor: Arc<Floor>,
    server: Arc<Server>,
    nodes: Arc<Nodes>,
    window: Option<Window>,
    notices: Receiver<String>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Gateway {
    /// Opens the store, listens, asks the nodes. Returns before anybody has answered.
    pub fn start(settings: Settings, plan: Plan, seals: Seals) -> Result<Self> {
        let home = settings.home;
        let failed =
            |error: std::io::Error| HOME.unstored(home.display(), "a folder of ours", error);
        fs::create_dir_all(home.join("blocks")).map_err(failed)?;
        let held = plan
            .positions()
            .iter()
            .map(|position| Held { position: position.id, terms: position.work.clone() })
            .collect();
        let collector = Collector::open(Store::open(home.join("store.sqlite"))?, held)?;
        let urls = settings.nodes.iter().map(|node| node.url.clone());
        let nodes = urls.map(|url| NodeStatus { url, height: None, away: None }).collect();
        let standing = Standing {
            why: "no node has answered yet".to_owned(),
            nodes,
            sealed: vec![(None, None); plan.positions().len()],
            ..Standing::default()
        };
        let (tell, notices) = channel();
        let (find, finds) = channel();
        let floor = Arc::new(Floor {
            plan,
            collector: Mutex::new(collector),
            standing: Mutex::new(standing),
            notices: Mutex::new(tell),
            finds: Mutex::new(finds),
            over: AtomicBool::new(false),
            begun: Instant::now(),
        });
        let (told, news) = channel();
        let nodes = Arc::new(Nodes::watch(&settings.nodes, settings.network, &told));
        let ear = Ear { finds: Mutex::new(find), nodes: nodes.clone(), home, floor: floor.clone() };
        let payees = floor.plan.payees().iter();
        let payees = payees.map(|payee| server::Payee { name: payee.name.clone() }).collect();
        let mut machines = server::Settings::new(settings.listen);
        machines.gateway = settings.gateway;
        machines.pace.per_minute = settings.shares_per_minute;
        let server = Arc::new(Server::start(machines, payees, Arc::new(ear))?);
        let (tip, tips) = channel();
        let foreman = Foreman {
            floor: floor.clone(),
            server: server.clone(),
            offers: settings.nodes.iter().map(|_| None).collect(),
            tips: tip,
            next: 1,
            flushed: Instant::now(),
        };
        let sealing = SealingThread::new(floor.clone(), tips, seals);
        let threads =
            vec![thread::spawn(move || foreman.run(&news)), thread::spawn(move || sealing.run())];
        let window = match settings.status {
            Some(address) => {
                let (floor, server) = (floor.clone(), server.clone());
                Some(Window::open(address, move || status(&floor, &server))?)
            }
            None => None,
        };
        Ok(Self { floor, server, nodes, window, notices, threads })
    }

    /// Where machines connect.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Where status and metrics are asked for.
    pub fn window(&self) -> Option<SocketAddr> {
        self.window.as_ref().map(Window::address)
    }

    /// The names by which machines pick their payee.
    pub fn payees(&self) -> impl Iterator<Item = &str> {
        self.floor.plan.payees().iter().map(|payee| payee.name.as_str())
    }

    /// Where the nodes are.
    pub fn nodes(&self) -> &[String] {
        self.nodes.urls()
    }

    /// Everything worth knowing, now.
    pub fn status(&self) -> Status {
        status(&self.floor, &self.server)
    }

    /// The next line of the log, if there is one within that time.
    pub fn notice(&self, within: Duration) -> Option<String> {
        self.notices.recv_timeout(within).ok()
    }

    /// Lets the machines go, puts what they have found on the disk, and ends.
    pub fn stop(self) -> Result<()> {
        let Self { floor, server, window, threads, .. } = self;
        drop(window);
        server.pause("the gateway stops".to_owned());
        floor.over.store(true, Ordering::Relaxed);
        for thread in threads {
            let ended = thread.join();
            ended.map_err(|_| HOME.broken("a gateway's thread", "an orderly end", "a panic"))?;
        }
        // The threads' hold on it is gone.
        if let Some(server) = Arc::into_inner(server) {
            server.stop();
        }
        floor.keep_all()
    }
}

/// The loop's own memory.
struct Foreman {
    floor: Arc<Floor>,
    server: Arc<Server>,
    /// The last offer of each node that answers.
    offers: Vec<Option<Arc<Offer>>>,
    /// Told at each new tip.
    tips: Sender<()>,
    /// The next job's number.
    next: u64,
    flushed: Instant,
}

impl Foreman {
    fn run(mut self, news: &Receiver<News>) {
        while !self.floor.is_over() {
            match news.recv_timeout(LOOK) {
                Ok(News::Offer { node, offer }) => self.take_offer(node, offer),
                Ok(News::Away { node, error }) => self.miss(node, &error),
                Ok(News::Judged { node, block, outcome }) => {
                    self.judged(node, block, outcome.err());
                }
                Err(RecvTimeoutError::Timeout) => self.choose(),
                // No node is watched any more: all that is left is to keep what is found.
                Err(RecvTimeoutError::Disconnected) => thread::sleep(LOOK),
            }
            self.keep();
        }
    }

    /// Keeps what was found; every second it is put on the disk.
    fn keep(&mut self) {
        let mut collector = locked(&self.floor.collector);
        self.floor.keep(&mut collector);
        if self.flushed.elapsed() < FLUSH {
            return;
        }
        self.flushed = Instant::now();
        if let Err(error) = collector.flush() {
            // It stays in memory, and is tried again.
            self.floor.tell(&error);
        }
        drop(collector);
        let (work, machines) = (self.server.totals().tally.work, self.server.machines());
        let now = self.floor.begun.elapsed().as_secs();
        locked(&self.floor.standing).crew.note(now, work, &machines);
    }

    fn take_offer(&mut self, node: usize, offer: Box<Offer>) {
        {
            let mut standing = locked(&self.floor.standing);
            if let Some(known) = standing.nodes.get_mut(node) {
                known.height = Some(offer.template.height);
                if known.away.take().is_some() {
                    self.floor.tell(format_args!("node {} is back", known.url));
                }
            }
        }
        if let Some(place) = self.offers.get_mut(node) {
            *place = Some(Arc::from(offer));
        }
        self.choose();
    }

    fn miss(&mut self, node: usize, error: &Error) {
        if let Some(place) = self.offers.get_mut(node) {
            *place = None;
        }
        let first = {
            let mut standing = locked(&self.floor.standing);
            standing.nodes.get_mut(node).is_some_and(|known| {
                known.height = None;
                known.away.replace(error.to_string()).is_none()
            })
        };
        if first {
            self.floor.tell(error);
        }
        if self.offers.iter().any(Option::is_some) {
            self.choose();
            return;
        }
        let why = format!("no node to mine on: {error}");
        if first {
            self.server.pause(why.clone());
        }
        let mut standing = locked(&self.floor.standing);
        standing.work = None;
        standing.why = why;
    }

    /// Mines on the highest offer, the preferred node's among equals: at once if it builds on
    /// another block, otherwise when the present template has grown old.
    fn choose(&mut self) {
        let offers = self.offers.iter().enumerate();
        let offers = offers.filter_map(|(node, offer)| Some((node, offer.as_ref()?)));
        let best =
            offers.min_by_key(|(node, offer)| (core::cmp::Reverse(offer.template.height), *node));
        let Some((node, offer)) = best else { return };
        let (parent, height) = (offer.template.parent, offer.template.height);
        let clean = match &locked(&self.floor.standing).work {
            Some(known) if known.offer.template.parent == parent => {
                if known.since.elapsed() < FRESH || Arc::ptr_eq(&known.offer, offer) {
                    return;
                }
                false
            }
            _ => true,
        };
        let mut jobs = Vec::new();
        let mut refused = None;
        for payee in 0..self.floor.plan.payees().len() {
            match self.floor.plan.job(payee, offer, self.next, clean) {
                Ok(job) => jobs.push(Arc::new(job)),
                Err(error) => {
                    self.floor.tell(&error);
                    refused = Some(error.to_string());
                }
            }
            self.next += 1;
        }
        let mut standing = locked(&self.floor.standing);
        match refused {
            Some(why) if jobs.is_empty() => {
                (standing.work, standing.why) = (None, why.clone());
                drop(standing);
                self.server.pause(why);
                return;
            }
            _ => {
                let (offer, since) = (offer.clone(), Instant::now());
                standing.work = Some(Published { offer, node, since });
            }
        }
        drop(standing);
        self.server.publish(jobs);
        if clean {
            self.floor.tell(format_args!("height {height}: mining on {parent}"));
            let _ = self.tips.send(());
        }
    }

    fn judged(&self, node: usize, block: BlockHash, error: Option<Error>) {
        let mut standing = locked(&self.floor.standing);
        let url = standing.nodes.get(node).map(|node| node.url.clone()).unwrap_or_default();
        let said = match &error {
            None => format!("taken by {url}"),
            Some(error) => format!("{url}: {error}"),
        };
        if let Some(found) = standing.blocks.iter_mut().find(|found| found.hash == block) {
            found.judged.push(said.clone());
        }
        drop(standing);
        self.floor.tell(format_args!("block {block}: {said}"));
    }
}
