//! A market: a miner, three who buy one after the other, three validators, and an issued position.

use std::path::Path;

use bitcoin::hashes::Hash;
use bitcoin::{Address, Amount, FeeRate, Network, NetworkKind, OutPoint, TapSighash, TxOut, Txid};
use hashmix::chain::electrum::Electrum;
use hashmix::engine::issuing::record::bind;
use hashmix::engine::trade::Trader;
use hashmix::engine::{Engine, Report};
use hashmix::error::Result;
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::flow::position::coins::issuer;
use hashmix::flow::position::dossier::{Dossier, Issue, Transfer};
use hashmix::flow::position::papers::Papers;
use hashmix::flow::position::terms::{POSITION_FORMAT, PositionTerms};
use hashmix::flow::position::txs::{Funding, funding, issue, position};
use hashmix::flow::sale::coins::sold_seal;
use hashmix::flow::sale::consent::Party;
use hashmix::flow::sale::state::{Event, State};
use hashmix::flow::sale::terms::{Guard, Held, OFFER_FORMAT, Offer, OfferBody, Resale};
use hashmix::header_sync::GuardedChain;
use hashmix::id::PositionId;
use hashmix::party::{Federation, Record, Role, Seat};
use hashmix::rehearsal::machines::Machines;
use hashmix::rehearsal::people::{self, Payouts, seed};
use hashmix::rehearsal::world::{World, chosen};
use hashmix::relay::folder::Folder;
use hashmix::script::lock::Path as Way;
use hashmix::script::template::Variant;
use hashmix::sign::record::record;
use hashmix::sign::software::{LeafAccount, SoftwareSigner};
use hashmix::store::Store;
use hashmix::tx::draft::Draft;
use hashmix::tx::signed::{Final, Signed};
use hashmix::validator::desk::Desk;
use hashmix::validator::registration::Registration;
use hashmix::validator::sources::Sources;
use hashmix::wallet::Wallet;

pub const NETWORK: Network = Network::Regtest;
/// First height of the term.
pub const START: u32 = 132;
/// Periods of the term, of one slice of twelve blocks each.
const PERIODS: u32 = 12;
/// Fee rate of everything, sat/vB.
pub const RATE: u64 = 2;
const STANDING: &str = "standing federation";

/// Somebody who buys or sells: his record's signer and his files.
pub struct Somebody {
    pub name: String,
    pub trader: Trader,
    pub record: Record,
    /// Number of the record of his seed.
    pub number: u32,
}

impl Somebody {
    pub fn signer(&self) -> SoftwareSigner {
        signer(&self.name, self.number)
    }
}

pub fn signer(name: &str, number: u32) -> SoftwareSigner {
    SoftwareSigner::new(seed(name).unwrap().record(NETWORK, number).unwrap(), NETWORK).unwrap()
}

/// An issue, signed by the first two of three standing validators.
pub fn signed_by_validators(issue: Draft) -> Final {
    let mut signed = Signed::new(issue);
    for place in 0..2 {
        let seat = Seat::Validator(place);
        let signatures: Vec<_> = (0..signed.draft().spends().len())
            .map(|input| {
                let leaf = signed.draft().spends()[input].lock.leaf(Way::Federation).unwrap();
                let key = leaf.keys.iter().find(|key| key.seat == seat).unwrap();
                let sighash = signed.draft().sighash(input).unwrap();
                signer(&people::name(seat), 1)
                    .sign_leaf(LeafAccount::Leaf, &key.steps, TapSighash::from_byte_array(sighash))
                    .unwrap()
                    .1
            })
            .collect();
        signed.add(seat, &signatures).unwrap();
    }
    signed.finish().unwrap()
}

pub struct Market {
    pub world: Box<dyn World>,
    dir: tempfile::TempDir,
    pub terms: PositionTerms,
    pub id: PositionId,
    funding: Option<Funding>,
    /// The miner as first holder.
    pub miner: Somebody,
    pub buyers: Vec<Somebody>,
    pub machines: Machines,
    network: bitcoin::ScriptBuf,
    contracts: u32,
    /// What every sale so far has written into the dossier.
    transfers: Vec<Transfer>,
}

fn trader(world: &dyn World, dir: &Path, name: &str) -> Trader {
    let mut store = Store::open(dir.join(format!("{name}.sqlite"))).unwrap();
    let master = seed(name).unwrap().master(NetworkKind::Test).unwrap();
    let wallet = Wallet::create_or_load(&mut store, *master.xpriv(), NETWORK).unwrap();
    let chain = GuardedChain::new(Electrum::connect(&world.electrum_url(), NETWORK).unwrap());
    Trader::new(store, wallet, chain)
}

/// An address of somebody's seed that his wallet shows first: where he is paid.
fn address(dir: &Path, name: &str) -> Address {
    let mut store = Store::open(dir.join(format!("{name}.sqlite"))).unwrap();
    let master = seed(name).unwrap().master(NetworkKind::Test).unwrap();
    let mut wallet = Wallet::create_or_load(&mut store, *master.xpriv(), NETWORK).unwrap();
    wallet.next_address(&mut store).unwrap()
}

fn of(name: &str, number: u32, role: Role, contract: &str, payout: &Address) -> Record {
    let payout = payout.clone().into_unchecked();
    record(&signer(name, number), role, NETWORK, contract, payout).unwrap()
}

/// A position of twelve periods with the terms of the first deal; the miner is its first holder.
pub fn position_terms(mut deal: EscrowTerms, payouts: &Payouts) -> PositionTerms {
    deal.delivery.periods = PERIODS;
    let miner = people::name(Seat::Miner);
    let contract = deal.reward.contract.clone();
    deal.reward.holder = of(&miner, 1, Role::Holder, &contract, &payouts.holder);
    let standing = (0..3).map(|place| {
        let name = people::name(Seat::Validator(place));
        of(&name, 1, Role::Validator, STANDING, &payouts.federation)
    });
    let terms = PositionTerms {
        format: POSITION_FORMAT.to_owned(),
        profile: deal.profile,
        issuer: Federation {
            threshold: 2,
            validators: standing.collect(),
            payout: payouts.federation.clone().into_unchecked(),
        },
        reward: deal.reward,
        efficiency: 1_500,
        onboarding: START - 36,
        binding: START - 24,
        delivery: deal.delivery,
        delays: deal.delays,
        fees: deal.fees,
    };
    terms.check().unwrap();
    terms
}

impl Market {
    /// Everybody has coins, and the position is issued.
    pub fn issued() -> Self {
        Self::issued_in(chosen().unwrap())
    }

    /// The same in a world that somebody else has started.
    pub fn issued_in(world: Box<dyn World>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let network = people::network_script().unwrap();
        let buyers = ["rehearsal holder", "second holder", "third holder"];
        let miner = people::name(Seat::Miner);
        for name in buyers.iter().copied().chain([miner.as_str()]) {
            let paid = address(dir.path(), name);
            let pay = |value| vec![TxOut { value, script_pubkey: paid.script_pubkey() }];
            world.mine(1, &pay).unwrap();
        }
        let payouts = Payouts {
            miner: address(dir.path(), &miner),
            holder: address(dir.path(), &miner),
            federation: address(dir.path(), &people::name(Seat::Validator(0))),
        };
        let deal = people::terms(Variant::Musig, START, &payouts).unwrap();
        let terms = position_terms(deal, &payouts);
        let (contract, first) = (terms.reward.contract.clone(), terms.reward.holder.clone());
        let somebody = |name: &str, number, record| Somebody {
            name: name.to_owned(),
            trader: trader(world.as_ref(), dir.path(), name),
            record,
            number,
        };
        let buyers = buyers
            .iter()
            .map(|name| {
                let payout = address(dir.path(), name);
                somebody(name, 0, of(name, 0, Role::Holder, &contract, &payout))
            })
            .collect();
        let miner = somebody(&miner, 1, first);
        let mut market = Self {
            world,
            dir,
            terms,
            id: PositionId([0; 32]),
            funding: None,
            miner,
            buyers,
            machines: Machines::default(),
            network,
            contracts: 0,
            transfers: Vec::new(),
        };
        market.elsewhere_until(106);
        market.issue();
        market
    }

    /// Miner and standing validators issue the position by hand.
    fn issue(&mut self) {
        let terms = [self.terms.clone()];
        let value = funding(&terms, RATE).unwrap();
        let script = issuer(&self.terms).unwrap().script_pubkey;
        let rate = FeeRate::from_sat_per_vb(RATE).unwrap();
        let out = TxOut { value, script_pubkey: script.clone() };
        let wallet = self.miner.trader.wallet().unwrap();
        let tx = wallet.fund(&[out], rate).unwrap();
        self.send(&tx);
        let funding = Funding::new(OutPoint::new(tx.compute_txid(), 0), value);
        let issued = signed_by_validators(issue(&terms, funding).unwrap());
        println!("issue of 2 of 3: {} vB", issued.tx.vsize());
        self.send(&issued.tx);
        self.id = position(issued.txid(), 0, 1);
        self.funding = Some(funding);
    }

    /// The documents as they were at the issue.
    pub fn dossier(&self) -> Dossier {
        let issue = Issue::alone(self.at_issue().0.txid, self.funding.unwrap());
        Dossier::new(self.terms.clone(), issue, Vec::new()).unwrap()
    }

    /// The documents as they are after every sale that was made.
    pub fn papers(&self) -> Papers {
        let at_issue = self.dossier();
        let mut papers = Papers::new(at_issue.terms().clone(), at_issue.issue().clone()).unwrap();
        for transfer in &self.transfers {
            papers.take(format!("transfer {}", transfer.number), transfer.clone());
        }
        papers
    }

    /// Somebody's trader as he comes back, on another way to the chain; what he was about to send goes
    /// out again if he is `back` for that.
    pub fn trader(&self, name: &str, url: &str, back: bool) -> Result<Trader> {
        let mut store = Store::open(self.dir.path().join(format!("{name}.sqlite"))).unwrap();
        let master = seed(name).unwrap().master(NetworkKind::Test).unwrap();
        let wallet = Wallet::create_or_load(&mut store, *master.xpriv(), NETWORK).unwrap();
        let chain = GuardedChain::new(Electrum::connect(url, NETWORK).unwrap());
        match back {
            true => Trader::open(store, wallet, chain),
            false => Ok(Trader::new(store, wallet, chain)),
        }
    }

    pub fn url(&self) -> String {
        self.world.electrum_url()
    }

    /// Sends a transaction and mines it.
    pub fn send(&mut self, tx: &bitcoin::Transaction) -> Txid {
        let chain = Electrum::connect(&self.url(), NETWORK).unwrap();
        let txid = chain.broadcast(tx).unwrap();
        self.world.settle().unwrap();
        self.elsewhere(1);
        txid
    }

    /// A folder of somebody's.
    pub fn folder(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    pub fn height(&self) -> u32 {
        self.world.height().unwrap()
    }

    pub fn elsewhere(&mut self, blocks: u32) {
        let script_pubkey = self.network.clone();
        let pay = move |value| vec![TxOut { value, script_pubkey: script_pubkey.clone() }];
        self.world.mine(blocks, &pay).unwrap();
    }

    pub fn elsewhere_until(&mut self, height: u32) {
        self.elsewhere(height.saturating_sub(self.height()));
    }

    /// The miner mines up to a height, with so many shares in each block.
    pub fn mine_until(&mut self, contract: &EscrowTerms, height: u32, shares: usize) {
        while self.height() < height {
            let template = self.world.template().unwrap();
            let block = self.machines.find(contract, &template, &[], Some(shares)).unwrap();
            self.world.hand_in(&block).unwrap();
        }
        self.world.settle().unwrap();
    }

    /// The seal as it was issued, in the miner's hands.
    pub fn at_issue(&self) -> (OutPoint, Held) {
        let mut txid = self.id.0;
        txid.reverse();
        let held = Held { record: self.miner.record.clone(), number: 0, sale: None };
        (OutPoint::new(Txid::from_byte_array(txid), 0), held)
    }

    /// The miner's offer, signed.
    pub fn offer(&self, price: u64, first: u32, expires: u32) -> Offer {
        let (seal, seller) = self.at_issue();
        signed(self.body(seal, seller, price, first, expires, None), &self.miner.signer())
    }

    pub fn body(
        &self,
        seal: OutPoint,
        seller: Held,
        price: u64,
        first: u32,
        expires: u32,
        resale: Option<Resale>,
    ) -> OfferBody {
        OfferBody {
            format: OFFER_FORMAT.to_owned(),
            position: self.id,
            terms: self.terms.clone(),
            seal,
            seller,
            price: Amount::from_sat(price),
            first,
            expires,
            resale,
        }
    }

    /// A primary sale to a buyer: accepted, signed by both, sent by the buyer, mined.
    pub fn sell(&mut self, offer: &Offer, buyer: usize) -> Sold {
        let to = &mut self.buyers[buyer];
        let signer = to.signer();
        let acceptance = to.trader.accept(offer, to.record.clone(), &signer, RATE).unwrap();
        let accepted = Event::Accepted(Box::new(acceptance));
        let mut his = self.miner.trader.sale(offer).unwrap();
        self.miner.trader.hear(&mut his, accepted).unwrap();
        let seller = self.miner.signer();
        let consent = self.miner.trader.consent(&mut his, Party::Seller, &seller, None).unwrap();
        let mut state = to.trader.sale(offer).unwrap();
        to.trader.hear(&mut state, Event::Consented(consent)).unwrap();
        to.trader.consent(&mut state, Party::Buyer, &signer, None).unwrap();
        let tx = to.trader.broadcast(&state, Party::Buyer).unwrap();
        self.sold(&state, tx)
    }

    /// What comes of a sale that was sent, once it is mined.
    pub fn sold(&mut self, state: &State, tx: bitcoin::Transaction) -> Sold {
        self.world.settle().unwrap();
        self.elsewhere(1);
        let bargain = state.bargain().unwrap();
        let (contract, offer) = (bargain.contract, &state.offer().offer);
        let seal = sold_seal(offer, &contract).unwrap();
        assert_eq!(tx.output[0].script_pubkey, seal.script_pubkey);
        println!(
            "{}: {} inputs, {} outputs, {} vB",
            bargain.exchange.title(),
            tx.input.len(),
            tx.output.len(),
            tx.vsize()
        );
        self.transfers.extend(Transfer::of(&contract));
        let held = Held {
            record: contract.reward.holder.clone(),
            number: offer.transfer(),
            sale: Some(contract.id().unwrap()),
        };
        let acceptance = state.acceptance().unwrap().clone();
        let registration = Registration::of_sale(state.offer().clone(), acceptance).unwrap();
        assert_eq!(registration.terms, contract);
        Sold { contract, seal: OutPoint::new(tx.compute_txid(), 0), held, tx, registration }
    }

    /// A validator's desk in a folder of its own, which asks two servers.
    pub fn desk(&self, second: &str, place: u8, home: &str) -> Desk {
        let electrum = vec![self.url(), second.to_owned()];
        let sources = Sources { network: NETWORK, electrum, core: None };
        let seed = seed(&people::name(Seat::Validator(place))).unwrap();
        Desk::open(&self.folder(home), seed, sources).unwrap()
    }

    /// The same; its validator has registered the position's miner.
    pub fn attested(&self, second: &str, place: u8, home: &str) -> Desk {
        let desk = self.desk(second, place, home);
        self.bind(place, home);
        desk
    }

    /// What a validator binds in his memory when he registers the position's miner.
    pub fn bind(&self, place: u8, home: &str) {
        let seed = seed(&people::name(Seat::Validator(place))).unwrap();
        let mut store = Desk::memory(&self.folder(home), &seed, NETWORK).unwrap();
        bind(&mut store, &self.terms, place).unwrap();
    }

    /// Everybody takes his seat at a contract that a sale has made.
    pub fn table(&mut self, contract: &EscrowTerms, buyer: usize) -> Table {
        self.contracts += 1;
        let dir = self.dir.path().join(format!("contract {}", self.contracts));
        std::fs::create_dir(&dir).unwrap();
        let sit = |seat: Seat, name: &str, number: u32| {
            let store = Store::open(dir.join(format!("{}.sqlite", seat.slug()))).unwrap();
            let chain = Electrum::connect(&self.url(), NETWORK).unwrap();
            let relay = Folder::open(dir.join("messages"), seat).unwrap();
            let signer = signer(name, number);
            let engine = Engine::open(seat, contract.clone(), store, chain, signer, relay);
            match seat {
                Seat::Validator(_) => engine.unwrap().with_sources(self.world.sources().unwrap()),
                _ => engine.unwrap(),
            }
        };
        let validators = (0..3)
            .map(|place| {
                let seat = Seat::Validator(place);
                sit(seat, &people::name(seat), 0)
            })
            .collect();
        Table {
            miner: sit(Seat::Miner, &people::name(Seat::Miner), 0),
            holder: sit(Seat::Holder, &self.buyers[buyer].name, 0),
            validators,
        }
    }

    /// What a resale through `period` takes over at this table.
    pub fn resale(&self, table: &mut Table, period: u32, switch: u32, guard: Guard) -> Resale {
        use hashmix::flow::escrow::coins::Progress;
        let facts = table.holder.facts().unwrap();
        let contract = table.holder.contract();
        let terms = contract.terms().clone();
        let outcome =
            hashmix::flow::escrow::outcome::outcome(&terms, &facts, contract.evidence(), period);
        let Progress::Open(coin) = contract.locked().progress(&facts).unwrap() else {
            panic!("no open escrow")
        };
        Resale {
            contract: terms,
            escrow: coin.outpoint,
            index: coin.index,
            value: coin.value,
            outcome: outcome.unwrap(),
            switch,
            guard,
        }
    }
}

/// What came of a sale.
pub struct Sold {
    pub contract: EscrowTerms,
    pub seal: OutPoint,
    pub held: Held,
    pub tx: bitcoin::Transaction,
    pub registration: Registration,
}

pub fn signed(offer: OfferBody, signer: &SoftwareSigner) -> Offer {
    let signature = signer.sign_digest(offer.id().unwrap().0).unwrap();
    Offer { offer, signature }
}

/// The people at one contract.
pub struct Table {
    pub miner: Engine,
    pub holder: Engine,
    pub validators: Vec<Engine>,
}

impl Table {
    /// Everybody steps until nobody has anything left to say; answers with what was sent.
    pub fn everybody(&mut self, world: &dyn World) -> Vec<Txid> {
        let mut sent = Vec::new();
        for _ in 0..12 {
            let mut stirred = false;
            let parties = [&mut self.miner, &mut self.holder];
            for engine in parties.into_iter().chain(&mut self.validators) {
                let reports: Result<Vec<Report>> = engine.step();
                for report in reports.unwrap() {
                    match report {
                        Report::Sent(one) => sent.push(one.tx.compute_txid()),
                        Report::Said(_) | Report::Heard(..) => {}
                        _ => continue,
                    }
                    stirred = true;
                }
                world.settle().unwrap();
            }
            if !stirred {
                break;
            }
        }
        sent
    }
}
