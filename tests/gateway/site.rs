//! A miner's site: Bitcoin Core with electrs, a gateway in front of them, and people who receipt what
//! it seals.
//!
//! Six periods of twelve blocks from height 110 on; one hash in 400 is a share, 18 are expected in a
//! slice, and every other hash is a block.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bitcoin::{Network, TxOut};
use hashmix::chain::core::{Auth, Node};
use hashmix::engine::Engine;
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::gateway::foreman::{Gateway, Settings};
use hashmix::gateway::plan::{Payee, Plan};
use hashmix::gateway::sealing::{Seals, Signs};
use hashmix::gateway::status::{PositionStatus, Status, Work};
use hashmix::party::Seat;
use hashmix::rehearsal::daemons::Daemons;
use hashmix::rehearsal::people::{self, Payouts, Person};
use hashmix::rehearsal::stratum::{Habits, StratumMiner};
use hashmix::rehearsal::world::World;
use hashmix::script::template::Variant;
use hashmix::work::agreement::share_target;
use hashmix::work::grind::grind;
use serde_json::json;
use tempfile::TempDir;

pub(crate) const NETWORK: Network = Network::Regtest;
/// First height of the term.
pub(crate) const START: u32 = 110;
/// Longest time that anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bitcoin Core, electrs, and a folder.
pub(crate) struct Site {
    pub(crate) world: Daemons,
    pub(crate) dir: TempDir,
    pub(crate) terms: EscrowTerms,
}

impl Site {
    /// The chain is one block below the term.
    pub(crate) fn new() -> Self {
        let (world, dir) = (Daemons::start().unwrap(), tempfile::tempdir().unwrap());
        let script = people::network_script().unwrap();
        let elsewhere = |value| vec![TxOut { value, script_pubkey: script.clone() }];
        world.mine(START - 1, &elsewhere).unwrap();
        Self { world, dir, terms: terms("first") }
    }

    /// This node, as the gateway is told it.
    pub(crate) fn node(&self) -> Node {
        let node = self.world.bitcoind();
        Node { url: node.url().to_owned(), auth: Auth::Cookie(node.cookie()) }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("gateway")
    }

    /// A gateway that mines for the position as `alice` and seals it as its miner.
    pub(crate) fn gateway(&self) -> Gateway {
        self.gateway_with(vec![self.node()])
    }

    /// The same in front of other nodes.
    pub(crate) fn gateway_with(&self, nodes: Vec<Node>) -> Gateway {
        let alice =
            Payee { name: "alice".into(), positions: vec![(0, 1)], own: None, longest: 250 };
        let plan = Plan::new(NETWORK, vec![self.terms.clone()], vec![alice]).unwrap();
        let relay = Some(self.dir.path().join("messages"));
        let signs = Signs { record: 0, before: Vec::new(), validators: Vec::new(), relay };
        self.gateway_of(nodes, plan, vec![Some(signs)])
    }

    /// A gateway with a plan of its own.
    pub(crate) fn gateway_of(
        &self,
        nodes: Vec<Node>,
        plan: Plan,
        positions: Vec<Option<Signs>>,
    ) -> Gateway {
        let loopback = "127.0.0.1:0".parse().unwrap();
        let settings = Settings {
            network: NETWORK,
            home: self.home(),
            listen: loopback,
            status: Some(loopback),
            gateway: 7,
            shares_per_minute: 8,
            nodes,
        };
        let seals = Seals {
            network: NETWORK,
            home: self.home(),
            electrum: self.world.electrum_url(),
            seed: Some(people::seed(&people::name(Seat::Miner)).unwrap()),
            positions,
            dossiers: vec![Some(self.dir.path().join("dossier"))],
        };
        Gateway::start(settings, plan, seals).unwrap()
    }

    /// Somebody at the contract, who hears what the gateway says.
    pub(crate) fn sits(&self, seat: Seat) -> Engine {
        let person = Person::new(seat, self.dir.path()).unwrap();
        person.sit(&self.terms, &self.world, self.dir.path()).unwrap()
    }

    /// Blocks of somebody else, found now: a machine's blocks are of today, and the world's own would
    /// lie hours ahead of the clock.
    pub(crate) fn mine(&self, blocks: u32) {
        let script = people::network_script().unwrap();
        let core = self.world.bitcoind().core();
        for _ in 0..blocks {
            let template = core.template().unwrap();
            let paid = TxOut { value: template.reward, script_pubkey: script.clone() };
            let parent: [u8; 32] = *AsRef::<[u8; 32]>::as_ref(&template.parent);
            let job = template.job(&parent, &[paid]).unwrap();
            let header = grind(&job, 0, 1_000, job.header.target()).next().unwrap();
            core.submit(&template.block(header, job.coinbase)).unwrap();
        }
        self.world.settle().unwrap();
    }

    pub(crate) fn height(&self) -> u32 {
        self.world.height().unwrap()
    }
}

/// The terms of a position of this name.
pub(crate) fn terms(name: &str) -> EscrowTerms {
    let address = |seat| people::signer(seat, NETWORK).unwrap().address();
    let payouts = Payouts {
        miner: address(Seat::Miner),
        holder: address(Seat::Holder),
        federation: address(Seat::Validator(0)),
    };
    let mut terms = people::terms(Variant::Musig, START, &payouts).unwrap();
    assert_eq!(name, "first");
    let delivery = &mut terms.delivery;
    (delivery.rate, delivery.expected) = (1, 18);
    delivery.target = share_target(delivery.rate, delivery.expected, delivery.slice);
    terms
}

/// Waits until `wanted` is there, or says what was there instead.
pub(crate) fn until<T: std::fmt::Debug>(
    what: &str,
    look: impl Fn() -> T,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let begin = Instant::now();
    loop {
        let seen = look();
        if wanted(&seen) {
            return seen;
        }
        assert!(begin.elapsed() < PATIENCE, "{what} did not come; there is {seen:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the gateway works on a height.
pub(crate) fn works_on(gateway: &Gateway, height: u32) {
    let on = |status: &Status| matches!(status.work, Work::On { height: at, .. } if at == height);
    until(&format!("work on height {height}"), || gateway.status(), on);
}

/// A machine that mines for alice.
pub(crate) fn machine(gateway: &Gateway, habits: Habits) -> StratumMiner {
    StratumMiner::start(gateway.address(), "alice.rig1", habits).unwrap()
}

/// Finds `count` shares of the present job, then hands them in together, before the block that each of
/// them is makes the job stale; the block comes back as a new job.
pub(crate) fn block_with_shares(miner: &mut StratumMiner, count: usize) {
    let parent = miner.job().unwrap().parent();
    let finds: Vec<_> = (0..count).map(|_| miner.search(1_000_000).unwrap()).collect();
    // In one piece: the first is a block, and what comes after its successor's job is stale.
    let submits = finds.iter().map(|find| {
        json!({ "id": 4, "method": "mining.submit", "params": miner.params(find) }).to_string()
    });
    let lines = submits.collect::<Vec<_>>().join("\n");
    miner.say(&lines).unwrap();
    for _ in &finds {
        let answer = miner.answer().unwrap();
        assert_eq!(answer["result"], true, "{answer}");
    }
    miner.await_job(|job| job.parent() != parent).unwrap();
}

/// Mines on to a height, with so many shares in each block.
pub(crate) fn mine_to(gateway: &Gateway, miner: &mut StratumMiner, height: u32, count: usize) {
    loop {
        let Work::On { height: next, .. } = gateway.status().work else { panic!("no work") };
        if next > height {
            return;
        }
        block_with_shares(miner, count);
        works_on(gateway, next + 1);
    }
}

/// The only position.
pub(crate) fn position(gateway: &Gateway) -> PositionStatus {
    gateway.status().positions.remove(0)
}
