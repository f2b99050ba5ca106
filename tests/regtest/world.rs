//! Five people at the small contract, each with a store, a folder and a connection of his own.
//!
//! Six periods of twelve blocks in windows of two; eighteen shares fill a period, which is worth
//! 10,000,000 sat.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use bitcoin::absolute::LockTime;
use bitcoin::opcodes::OP_TRUE;
use bitcoin::script::Builder;
use bitcoin::transaction::Version;
use bitcoin::{
    Address, Amount, Network, NetworkKind, OutPoint, ScriptBuf, Transaction, TxIn, TxOut, Txid,
    Witness,
};
use hashmix::chain::electrum::{Electrum, Patience};
use hashmix::engine::{Engine, Report, Sent};
use hashmix::error::Error;
use hashmix::flow::escrow;
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::flow::reward;
use hashmix::party::Seat;
use hashmix::rehearsal::people::{self, Payouts};
use hashmix::rehearsal::world::{World, chosen};
use hashmix::relay::folder::{Folder, folder_name};
use hashmix::script::template::Variant;
use hashmix::sign::software::SoftwareSigner;
use hashmix::store::Store;
use hashmix::wallet::Wallet;
use hashmix::work::agreement::share_target;
use hashmix::work::certificate::Certificate;
use hashmix::work::grind::grind;
use hashmix::work::share::{Share, hash_target};
use tempfile::TempDir;

const NETWORK: Network = Network::Regtest;
/// First height of the term: the coin that funds the escrow is mature before.
pub(crate) const START: u32 = 110;
/// Shares that fill a period.
pub(crate) const FULL: usize = 18;
/// What a full period earns, in satoshis.
pub(crate) const INSTALLMENT: u64 = 10_000_000;
pub(crate) const RATE: u64 = 2;

pub(crate) const SEATS: [Seat; 5] =
    [Seat::Miner, Seat::Holder, Seat::Validator(0), Seat::Validator(1), Seat::Validator(2)];

/// A signer with randomness of the operating system: a restart must not repeat a nonce.
pub(crate) fn signer(seat: Seat) -> SoftwareSigner {
    let record = people::seed(&people::name(seat)).unwrap().record(NETWORK, 0).unwrap();
    SoftwareSigner::new(record, NETWORK).unwrap()
}

fn agreed() -> EscrowTerms {
    let address = |seat| signer(seat).address();
    // The holder is paid into his wallet, whose books can be compared.
    let his = wallet(Seat::Holder, &mut Store::open_in_memory().unwrap()).1;
    let payouts = Payouts {
        miner: address(Seat::Miner),
        holder: Address::from_script(&his, NETWORK).unwrap(),
        federation: address(Seat::Validator(0)),
    };
    let mut terms = people::terms(Variant::Musig, START, &payouts).unwrap();
    let delivery = &mut terms.delivery;
    (delivery.rate, delivery.expected) = (1, 18);
    delivery.target = share_target(delivery.rate, delivery.expected, delivery.slice);
    terms
}

/// A seat's wallet, and where its first address pays.
pub(crate) fn wallet(seat: Seat, store: &mut Store) -> (Wallet, ScriptBuf) {
    let seed = people::seed(&people::name(seat)).unwrap();
    let master = *seed.master(NetworkKind::Test).unwrap().xpriv();
    let mut wallet = Wallet::create_or_load(store, master, NETWORK).unwrap();
    let script = wallet.next_address(store).unwrap().script_pubkey();
    (wallet, script)
}

/// A script that anybody can satisfy, for coins outside the story.
pub(crate) fn anybody() -> ScriptBuf {
    Builder::new().push_opcode(OP_TRUE).into_script()
}

/// Whether HASHMIX_WORLD names Bitcoin Core and electrs.
pub(crate) fn on_core() -> bool {
    std::env::var_os("HASHMIX_WORLD").is_some_and(|name| name == "core")
}

/// The node, and whoever sits at the table now.
pub(crate) struct Table {
    pub(crate) node: Box<dyn World>,
    pub(crate) dir: TempDir,
    pub(crate) terms: EscrowTerms,
    engines: BTreeMap<Seat, Engine>,
    /// How those reach the server who do not go straight to it: where, and how patiently.
    pub(crate) ways: BTreeMap<Seat, (String, Patience)>,
    /// Whether everybody is restarted after each of his steps.
    pub(crate) restless: bool,
    /// Every transaction that was sent, in order.
    pub(crate) sent: Vec<Sent>,
}

impl Table {
    /// Everybody has sat down at height 101; nobody has paid.
    pub(crate) fn seated() -> Self {
        Self::seated_in(chosen().unwrap())
    }

    fn seated_in(node: Box<dyn World>) -> Self {
        let mut table = Self {
            node,
            dir: tempfile::tempdir().unwrap(),
            terms: agreed(),
            engines: BTreeMap::new(),
            ways: BTreeMap::new(),
            restless: false,
            sent: Vec::new(),
        };
        table.elsewhere_to(1);
        // The miner has a coin of his own, for what he wants to put into the chain himself.
        let his = wallet(Seat::Miner, &mut Store::open_in_memory().unwrap()).1;
        table.node.mine(1, &|value| vec![TxOut { value, script_pubkey: his.clone() }]).unwrap();
        table.elsewhere_to(101);
        for seat in SEATS {
            table.sit(seat);
        }
        table
    }

    /// The same with the escrow funded and deep; the term begins with the next block.
    pub(crate) fn funded() -> Self {
        Self::funded_in(chosen().unwrap())
    }

    /// The same in this world, which is fresh.
    pub(crate) fn funded_in(node: Box<dyn World>) -> Self {
        let mut table = Self::seated_in(node);
        let first = table.node.block(1).unwrap().txdata[0].output[0].value;
        let coin = {
            let chain = table.engine(Seat::Miner).chain();
            let paid = chain.history(&anybody().to_p2wsh()).unwrap();
            paid.into_iter().find(|(_, height)| *height == Some(1)).unwrap().0
        };
        let price = escrow::coins::funding(&table.terms).unwrap();
        let change = first - price.value - Amount::from_sat(1_000);
        let tx = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::new(coin, 0),
                witness: Witness::from_slice(&[anybody().to_bytes()]),
                ..TxIn::default()
            }],
            output: vec![price, TxOut { value: change, script_pubkey: anybody().to_p2wsh() }],
        };
        table.engine(Seat::Miner).chain().broadcast(&tx).unwrap();
        table.elsewhere_to(START - 1);
        table
    }

    /// Takes a seat, with whatever its store remembers.
    pub(crate) fn sit(&mut self, seat: Seat) {
        let straight = || (self.node.electrum_url(), Patience::default());
        let (url, patience) = self.ways.get(&seat).cloned().unwrap_or_else(straight);
        let chain = Electrum::connect_with(&url, NETWORK, patience).unwrap();
        let store = Store::open(self.dir.path().join(folder_name(seat)).with_extension("sqlite"));
        let relay = Folder::open(self.dir.path().join("messages"), seat).unwrap();
        let terms = self.terms.clone();
        let mut store = store.unwrap();
        let (wallet, _) = wallet(seat, &mut store);
        let engine = Engine::open(seat, terms, store, chain, signer(seat), relay).unwrap();
        let sources = match seat {
            Seat::Validator(_) => self.node.sources().unwrap(),
            _ => Vec::new(),
        };
        self.engines.insert(seat, engine.with_wallet(wallet).with_sources(sources));
    }

    /// The process of a seat ends; what it had in memory alone is gone.
    pub(crate) fn leave(&mut self, seat: Seat) {
        self.engines.remove(&seat);
    }

    pub(crate) fn restart(&mut self, seat: Seat) {
        self.leave(seat);
        self.sit(seat);
    }

    pub(crate) fn engine(&mut self, seat: Seat) -> &mut Engine {
        self.engines.get_mut(&seat).expect("somebody sits there")
    }

    /// Whether somebody sits there now.
    pub(crate) fn sits_at(&self, seat: Seat) -> bool {
        self.engines.contains_key(&seat)
    }

    /// One step of a seat.
    pub(crate) fn step(&mut self, seat: Seat) -> Vec<Report> {
        let reports = self.engine(seat).step().unwrap();
        // What was sent is there for whoever reads next.
        self.node.settle().unwrap();
        self.note(&reports);
        if self.restless {
            self.restart(seat);
        }
        reports
    }

    /// Remembers what was sent.
    pub(crate) fn note(&mut self, reports: &[Report]) {
        for report in reports {
            if let Report::Sent(sent) = report {
                self.sent.push(sent.clone());
            }
        }
    }

    /// Everybody who is there steps until nobody has anything new to say.
    pub(crate) fn everybody(&mut self) {
        loop {
            let mut quiet = true;
            for seat in SEATS {
                if self.sits(seat) {
                    let said = |report: &Report| !matches!(report, Report::Waiting { .. });
                    quiet &= !self.step(seat).iter().any(said);
                }
            }
            if quiet {
                return;
            }
        }
    }

    /// A seat opens a dispute through a period (0-based); after the time to answer everybody who is
    /// there does what follows.
    pub(crate) fn dispute(&mut self, seat: Seat, period: u32) {
        self.engine(seat).open_dispute(period, RATE).unwrap();
        self.everybody();
        self.elsewhere(self.terms.delays.answer);
        self.everybody();
    }

    /// The holder is gone; the miner opens a dispute through a period (0-based) once it is ripe.
    pub(crate) fn ask_for_a_ruling(&mut self, period: u32) {
        self.leave(Seat::Holder);
        self.ripen(period);
        self.step(Seat::Miner);
        self.engine(Seat::Miner).open_dispute(period, RATE).unwrap();
    }

    /// Mines to a height; the blocks are nobody's here.
    pub(crate) fn elsewhere_to(&self, height: u32) {
        let blocks = height - self.node.height().unwrap();
        let payouts = |value| vec![TxOut { value, script_pubkey: anybody().to_p2wsh() }];
        self.node.mine(blocks, &payouts).unwrap();
    }

    pub(crate) fn elsewhere(&self, blocks: u32) {
        self.elsewhere_to(self.node.height().unwrap() + blocks);
    }

    /// Whether somebody sits there.
    pub(crate) fn sits(&self, seat: Seat) -> bool {
        self.engines.contains_key(&seat)
    }

    /// Mines through a slice, the miner's machines finding every block, and seals `count` shares.
    pub(crate) fn deliver(&mut self, slice: u32, count: usize) {
        let certificate = self.seal(slice, count);
        self.engine(Seat::Miner).certify(certificate).unwrap();
        if self.restless {
            self.restart(Seat::Miner);
        }
    }

    /// Mines through a slice; its certificate, which nobody has said yet.
    pub(crate) fn seal(&mut self, slice: u32, count: usize) -> Certificate {
        let blocks = self.terms.calendar().slice_blocks(slice).unwrap();
        // A slice may have begun while its predecessor ripened.
        let parent = self.node.height().unwrap().max(*blocks.start() - 1);
        self.elsewhere_to(parent);
        let template = self.node.template().unwrap();
        let payouts = |value| reward::coins::payouts(&self.terms.reward, value).unwrap();
        let job = template.job(b"share", &payouts(template.reward)).unwrap();
        let total: Amount = job.coinbase.output.iter().map(|out| out.value).sum();
        let target = hash_target(self.terms.delivery.target, total, total);
        let shares: Vec<Share> = grind(&job, 0, u64::from(u32::MAX), target)
            .take(count)
            .map(|header| Share::of(&job, header))
            .collect();
        self.node.mine(*blocks.end() - parent, &payouts).unwrap();
        let position = self.terms.position().unwrap();
        Certificate::new(position, slice, shares).unwrap()
    }

    /// Mines to the height from which a period (0-based) is settled.
    pub(crate) fn ripen(&self, period: u32) {
        self.elsewhere_to(self.terms.ruling_height(period).unwrap());
    }

    /// A part of a seat's folder.
    pub(crate) fn folder(&self, seat: Seat, part: &str) -> PathBuf {
        self.dir.path().join("messages").join(folder_name(seat)).join(part)
    }

    /// Names in a part of a seat's folder, sorted.
    pub(crate) fn names(&self, seat: Seat, part: &str) -> Vec<String> {
        let entries = fs::read_dir(self.folder(seat, part)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Puts a file into a seat's inbox.
    pub(crate) fn drop_letter(&self, seat: Seat, name: &str, bytes: &[u8]) {
        fs::write(self.folder(seat, "inbox").join(name), bytes).unwrap();
    }

    /// What was sent, by title and txid.
    pub(crate) fn story(&self) -> Vec<(&'static str, Txid)> {
        self.sent.iter().map(|sent| (sent.title, sent.tx.compute_txid())).collect()
    }

    /// Two periods in full, a state for each.
    pub(crate) fn two_installments(&mut self) {
        for slice in [0, 1] {
            self.deliver(slice, FULL);
            self.everybody();
        }
        self.ripen(1);
        self.everybody();
    }
}

/// The refusals in reports.
pub(crate) fn refusals(reports: &[Report]) -> Vec<&Error> {
    reports
        .iter()
        .filter_map(|report| match report {
            Report::Refused(_, error) => Some(error),
            _ => None,
        })
        .collect()
}
