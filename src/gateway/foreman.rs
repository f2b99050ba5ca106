//! The foreman: everything of a gateway together, and the loop that moves it.
//!
//! ```text
//!  News (offers, silence, judged blocks) --> which node's offer? --> a job for each payee --> server
//!  finds of positions --> keeper, a thread --> collector, on the disk each second
//!  a new tip -----------> sealing, a thread -> certificates, the miner's word, receipts
//! ```
//! | trouble | what happens |
//! |---|---|
//! | the preferred node is away | the next one's offers are taken |
//! | all nodes are away, or on another network | no new work, and the reason is shown; what machines still find is kept |
//! | a block is found | every node gets it before anything else about it is asked, and it lies in `blocks/` until one has taken it |
//! | a coinbase would not pay a position as agreed | that payee's machines get no work, and the reason is shown |
//! | the Electrum server or the validators are away | sealing is tried again; what was found is on the disk |

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use bitcoin::{BlockHash, Network};

use crate::chain::core::{Node, Offer};
use crate::error::{Error, Result};
use crate::gateway::blocks::Blocks;
use crate::gateway::collector::{Collector, Held};
use crate::gateway::floor::{FLUSH, Floor, HOME, Kept, Published, Standing, locked};
use crate::gateway::job::Job;
use crate::gateway::nodes::{FRESH, News, Nodes};
use crate::gateway::plan::Plan;
use crate::gateway::report::status;
use crate::gateway::sealing::{SealingThread, Seals};
use crate::gateway::server::{self, Server, Sink};
use crate::gateway::status::{FoundBlock, NodeStatus, Status};
use crate::gateway::window::Window;
use crate::store::Store;
use crate::work::extended_job::Find;

/// Longest time between two looks at what has been found.
const LOOK: Duration = Duration::from_millis(200);
/// How long servers, validators and nodes may keep the end waiting.
const FAREWELL: Duration = Duration::from_secs(10);
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

/// Hears of finds in the server's threads.
struct Ear {
    finds: Sender<Kept>,
    nodes: Arc<Nodes>,
    blocks: Arc<Blocks>,
    floor: Arc<Floor>,
}

impl Sink for Ear {
    fn block(&self, job: &Arc<Job>, find: &Find) {
        let height = job.template.height;
        let Some(block) = job.work.block(&job.template, find).map(Arc::new) else {
            self.floor.tell(format_args!("a find at height {height} makes no block of its job"));
            return;
        };
        let hash = block.block_hash();
        self.nodes.submit(&block);
        let mut standing = locked(&self.floor.standing);
        standing.blocks.push_front(FoundBlock { height, hash, judged: Vec::new() });
        standing.blocks.truncate(BLOCKS);
        drop(standing);
        self.floor.tell(format_args!("block {hash} at height {height} goes to every node"));
        // Machines do not wait for the disk.
        let (blocks, floor) = (self.blocks.clone(), self.floor.clone());
        thread::spawn(move || {
            if let Err(error) = blocks.keep(height, &block) {
                floor.tell(error);
            }
        });
    }

    fn share(&self, job: &Arc<Job>, find: &Find, hash: BlockHash) {
        let _ = self.finds.send((job.clone(), *find, hash));
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
    foreman: thread::JoinHandle<()>,
    keeper: thread::JoinHandle<()>,
    sealing: thread::JoinHandle<()>,
}

impl Gateway {
    /// Rehearses every coinbase, opens the store, listens, asks the nodes. Returns before anybody has
    /// answered. Blocks that no node had taken when the process ended are brought again.
    pub fn start(settings: Settings, plan: Plan, seals: Seals) -> Result<Self> {
        plan.rehearse()?;
        let home = settings.home;
        let blocks = Arc::new(Blocks::open(&home)?);
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
            refused: vec![None; plan.payees().len()],
            sealed: vec![(None, None); plan.positions().len()],
            ended: vec![None; plan.positions().len()],
            ..Standing::default()
        };
        let (tell, notices) = channel();
        let floor = Arc::new(Floor::new(plan, collector, standing, tell));
        let (told, news) = channel();
        let nodes = Arc::new(Nodes::watch(&settings.nodes, settings.network, &told));
        for block in blocks.waiting()? {
            let hash = block.block_hash();
            floor.tell(format_args!("block {hash}, which no node had taken, goes to every node"));
            nodes.submit(&Arc::new(block));
        }
        let (find, finds) = channel();
        let ear =
            Ear { finds: find, nodes: nodes.clone(), blocks: blocks.clone(), floor: floor.clone() };
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
            blocks,
            offers: settings.nodes.iter().map(|_| Offered::default()).collect(),
            tips: tip,
            next: 1,
            refused: None,
            noted: Instant::now(),
        };
        let sealing = SealingThread::new(floor.clone(), tips, seals);
        let keeper = floor.clone();
        let window = match settings.status {
            Some(address) => {
                let (floor, server) = (floor.clone(), server.clone());
                Some(Window::open(address, move || status(&floor, &server))?)
            }
            None => None,
        };
        Ok(Self {
            floor,
            server,
            nodes,
            window,
            notices,
            foreman: thread::spawn(move || foreman.run(&news)),
            keeper: thread::spawn(move || keeper.keep(&finds)),
            sealing: thread::spawn(move || sealing.run()),
        })
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

    /// Whether a thread has ended that should not have: the gateway should be stopped then, which puts
    /// on the disk what was found.
    pub fn has_failed(&self) -> bool {
        let threads = [&self.foreman, &self.keeper, &self.sealing];
        threads.iter().any(|thread| thread.is_finished())
    }

    /// Lets the machines go, puts what they have found on the disk, brings blocks to nodes that answer,
    /// and ends. Whoever keeps the sealing waiting is waited for ten seconds, and no longer: what is
    /// sealed is on the disk, and said at the next start.
    pub fn stop(self) -> Result<()> {
        let Self { floor, server, nodes, window, foreman, keeper, sealing, .. } = self;
        drop(window);
        server.pause("the gateway stops".to_owned());
        floor.end();
        let mut panicked = foreman.join().is_err();
        // The other threads' hold on it is gone, and with it goes the way of finds to the keeper.
        match Arc::into_inner(server) {
            Some(server) => server.stop(),
            None => return Err(HOME.broken("stopping", "a server that nobody holds", "a holder")),
        }
        panicked |= keeper.join().is_err();
        let begin = Instant::now();
        while begin.elapsed() < FAREWELL && (nodes.busy() || !sealing.is_finished()) {
            thread::sleep(LOOK / 10);
        }
        if sealing.is_finished() {
            panicked |= sealing.join().is_err();
        }
        match panicked {
            true => Err(HOME.broken("a gateway's thread", "an orderly end", "a panic")),
            false => Ok(()),
        }
    }
}

/// The last offer of a node.
#[derive(Default)]
struct Offered {
    offer: Option<Arc<Offer>>,
    /// A parent below the present one that was offered once: an answer that was long on its way, or a
    /// node that has given up a block.
    doubted: Option<BlockHash>,
}

/// The loop's own memory.
struct Foreman {
    floor: Arc<Floor>,
    server: Arc<Server>,
    blocks: Arc<Blocks>,
    offers: Vec<Offered>,
    /// Told at each new tip.
    tips: Sender<()>,
    /// The next job's number.
    next: u64,
    /// An offer that every payee's plan refused.
    refused: Option<Arc<Offer>>,
    /// When the machines' rates were noted last.
    noted: Instant,
}

impl Foreman {
    fn run(mut self, news: &Receiver<News>) {
        while !self.floor.is_over() {
            match news.recv_timeout(LOOK) {
                Ok(News::Offer { node, offer }) => self.take_offer(node, Arc::from(offer)),
                Ok(News::Away { node, error }) => self.miss(node, &error),
                Ok(News::Judged { node, block, outcome }) => {
                    self.judged(node, block, outcome.err());
                }
                Err(RecvTimeoutError::Timeout) => self.choose(),
                // No node is watched any more.
                Err(RecvTimeoutError::Disconnected) => thread::sleep(LOOK),
            }
            if self.noted.elapsed() >= FLUSH {
                self.noted = Instant::now();
                let (work, machines) = (self.server.totals().tally.work, self.server.machines());
                let now = self.floor.begun.elapsed().as_secs();
                locked(&self.floor.standing).crew.note(now, work, &machines);
            }
        }
    }

    fn take_offer(&mut self, node: usize, offer: Arc<Offer>) {
        let Some(known) = self.offers.get_mut(node) else { return };
        let parent = offer.template.parent;
        let falls = |last: &Arc<Offer>| offer.template.height < last.template.height;
        if known.offer.as_ref().is_some_and(falls) && known.doubted != Some(parent) {
            known.doubted = Some(parent);
            return;
        }
        let height = offer.template.height;
        *known = Offered { offer: Some(offer), doubted: None };
        {
            let mut standing = locked(&self.floor.standing);
            if let Some(known) = standing.nodes.get_mut(node) {
                known.height = Some(height);
                if known.away.take().is_some() {
                    self.floor.tell(format_args!("node {} is back", known.url));
                }
            }
        }
        self.choose();
    }

    fn miss(&mut self, node: usize, error: &Error) {
        if let Some(known) = self.offers.get_mut(node) {
            *known = Offered::default();
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
        if self.offers.iter().any(|known| known.offer.is_some()) {
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
        let offers = offers.filter_map(|(node, known)| Some((node, known.offer.as_ref()?)));
        let best =
            offers.min_by_key(|(node, offer)| (core::cmp::Reverse(offer.template.height), *node));
        let Some((node, offer)) = best else { return };
        if self.refused.as_ref().is_some_and(|refused| Arc::ptr_eq(refused, offer)) {
            return;
        }
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
        let (offer, since) = (offer.clone(), Instant::now());
        let mut jobs = Vec::new();
        let mut refused = Vec::new();
        for payee in 0..self.floor.plan.payees().len() {
            match self.floor.plan.job(payee, &offer, self.next) {
                Ok(job) => {
                    jobs.push(Arc::new(job));
                    refused.push(None);
                }
                Err(error) => {
                    self.server.clear(payee, error.to_string());
                    refused.push(Some(error.to_string()));
                }
            }
            self.next += 1;
        }
        let none = jobs.is_empty();
        if !none {
            self.server.publish(jobs);
        }
        self.note_refusals(refused, none.then_some(&offer));
        let mut standing = locked(&self.floor.standing);
        if none {
            standing.work = None;
            standing.why = "no payee's coinbase can be paid as agreed".to_owned();
            return;
        }
        standing.work = Some(Published { offer, node, since });
        drop(standing);
        if clean {
            self.floor.tell(format_args!("height {height}: mining on {parent}"));
            let _ = self.tips.send(());
        }
    }

    /// Tells which payees are refused, each reason once.
    fn note_refusals(&mut self, refused: Vec<Option<String>>, all: Option<&Arc<Offer>>) {
        self.refused = all.cloned();
        let mut standing = locked(&self.floor.standing);
        for (known, now) in standing.refused.iter_mut().zip(refused) {
            if let Some(why) = now.as_ref().filter(|_| *known != now) {
                self.floor.tell(why);
            }
            *known = now;
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
        if error.is_none()
            && let Err(error) = self.blocks.taken(block)
        {
            self.floor.tell(error);
        }
    }
}
