//! A position is sold, and sold on, while machines mine for it through one gateway: its operator is told,
//! names the new contract's terms and those before, and nothing that was found on either side is lost.

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use bitcoin::{Amount, Block, BlockHash, OutPoint, Txid};
use hashmix::chain::core::{Auth, Node};
use hashmix::chain::view::Source;
use hashmix::error::Result;
use hashmix::flow::escrow::outcome::judge;
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::flow::reward;
use hashmix::flow::sale::consent::Party;
use hashmix::flow::sale::state::Event;
use hashmix::flow::sale::terms::Guard;
use hashmix::gateway::before::Before;
use hashmix::gateway::foreman::{Gateway, Settings};
use hashmix::gateway::plan::{Payee, Plan};
use hashmix::gateway::sealing::{Seals, Signs};
use hashmix::party::Seat;
use hashmix::rehearsal::daemons::Daemons;
use hashmix::rehearsal::people;
use hashmix::rehearsal::stratum::Habits;
use hashmix::rehearsal::world::World;
use hashmix::work::template::BlockTemplate;
use serde_json::json;

use crate::market::{Market, NETWORK, RATE, START, Sold, Table, signed, signer};
use crate::site::{machine, mine_to, position, until, works_on};

const PRICE: u64 = 60_000_000;
/// Blocks of a slice, and of a period.
const SLICE: u32 = 12;

/// Bitcoin Core and electrs, whose blocks are dated by the clock, as the machines' own are.
struct Today(Daemons);

impl World for Today {
    fn electrum_url(&self) -> String {
        self.0.electrum_url()
    }

    fn sources(&self) -> Result<Vec<Source>> {
        self.0.sources()
    }

    fn height(&self) -> Result<u32> {
        self.0.height()
    }

    fn template(&self) -> Result<BlockTemplate> {
        self.0.bitcoind().core().template()
    }

    fn hand_in(&self, block: &Block) -> Result<BlockHash> {
        self.0.hand_in(block)
    }

    fn block(&self, height: u32) -> Result<Block> {
        self.0.block(height)
    }

    fn mempool(&self) -> Result<Vec<Txid>> {
        self.0.mempool()
    }

    fn settle(&self) -> Result<()> {
        self.0.settle()
    }
}

/// A market where a miner has a gateway.
struct Farm {
    market: Market,
    node: Node,
}

impl Farm {
    /// The position is issued, and the chain as high as the block before the offer's last.
    fn new() -> Self {
        let daemons = Daemons::start().unwrap();
        let bitcoind = daemons.bitcoind();
        let node = Node { url: bitcoind.url().to_owned(), auth: Auth::Cookie(bitcoind.cookie()) };
        Self { market: Market::issued_in(Box::new(Today(daemons))), node }
    }

    /// The folder that the parties of the n-th contract share.
    fn letters(&self, contract: u32) -> PathBuf {
        self.market.folder(&format!("contract {contract}")).join("messages")
    }

    /// The miner's gateway: it mines for the last of these contracts, the n-th, and seals it.
    fn gateway(&self, contracts: &[&EscrowTerms]) -> Gateway {
        self.gateway_that(true, contracts)
    }

    /// The same, which seals, or leaves that to the miner.
    fn gateway_that(&self, seals: bool, contracts: &[&EscrowTerms]) -> Gateway {
        let (newest, before) = contracts.split_last().unwrap();
        let relay = |n: usize| Some(self.letters(u32::try_from(n).unwrap()));
        let before = before
            .iter()
            .zip(1..)
            .map(|(terms, n)| Before { terms: (*terms).clone(), relay: relay(n) });
        let signs = Signs {
            record: 0,
            before: before.collect(),
            validators: Vec::new(),
            relay: relay(contracts.len()),
        };
        let alice =
            Payee { name: "alice".into(), positions: vec![(0, 1)], own: None, longest: 250 };
        let plan = Plan::new(NETWORK, vec![(*newest).clone()], vec![alice]).unwrap();
        let (home, loopback) = (self.market.folder("gateway"), "127.0.0.1:0".parse().unwrap());
        let settings = Settings {
            network: NETWORK,
            home: home.clone(),
            listen: loopback,
            status: Some(loopback),
            gateway: 7,
            shares_per_minute: 8,
            nodes: vec![self.node.clone()],
        };
        let seals = Seals {
            network: NETWORK,
            home,
            electrum: self.market.url(),
            seed: Some(people::seed(&people::name(Seat::Miner)).unwrap()),
            positions: vec![Some(signs).filter(|_| seals)],
            dossiers: Vec::new(),
        };
        Gateway::start(settings, plan, seals).unwrap()
    }

    /// Resells what the first buyer holds: he and the second sign, then the miner.
    fn resell(&mut self, table: &mut Table, sold: &Sold, period: u32, switch: u32) -> Sold {
        let market = &mut self.market;
        let expires = market.height() + 2;
        let resale = market.resale(table, period, switch, Guard::Miner);
        let (seal, held) = (sold.seal, sold.held.clone());
        let body = market.body(seal, held, 30_000_000, period + 1, expires, Some(resale));
        let offer = signed(body, &market.buyers[0].signer());
        let to = &mut market.buyers[1];
        let buyers = to.signer();
        let acceptance = to.trader.accept(&offer, to.record.clone(), &buyers, RATE).unwrap();
        let mut said = vec![Event::Accepted(Box::new(acceptance))];
        for (who, party) in [(0, Party::Seller), (1, Party::Buyer)] {
            let somebody = &mut market.buyers[who];
            let signer = somebody.signer();
            let mut state = somebody.trader.sale(&offer).unwrap();
            for event in &said {
                somebody.trader.hear(&mut state, event.clone()).unwrap();
            }
            let consent = somebody.trader.consent(&mut state, party, &signer, None).unwrap();
            said.push(Event::Consented(consent));
        }
        let miners = signer(&market.miner.name, 0);
        let papers = market.papers();
        let trader = &mut market.miner.trader;
        trader.prove(&offer, &papers, None).unwrap();
        let mut state = trader.sale(&offer).unwrap();
        for event in said {
            trader.hear(&mut state, event).unwrap();
        }
        let evidence = table.holder.contract().evidence();
        trader.consent(&mut state, Party::Miner, &miners, Some(evidence)).unwrap();
        let tx = trader.broadcast(&state, Party::Miner).unwrap();
        market.sold(&state, tx)
    }

    /// What `hashmix gateway check` says of the newest contract with one before.
    fn check(&self, newest: &EscrowTerms, before: &EscrowTerms) -> (bool, String) {
        let put = |name: &str, text: String| {
            let path = self.market.folder(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        put("new.json", serde_json::to_string(newest).unwrap());
        put("old.json", serde_json::to_string(before).unwrap());
        let entry = json!({ "terms": "new.json", "before": ["old.json"], "record": 0 });
        let config = json!({
            "format": "hashmix gateway 1",
            "listen": "127.0.0.1:0",
            "nodes": [{ "url": self.node.url, "cookie": "cookie" }],
            "electrum": self.market.url(),
            "payees": [{ "name": "alice", "positions": [entry] }],
        });
        let config = put("gateway.json", config.to_string());
        let mut command = Command::new(env!("CARGO_BIN_EXE_hashmix"));
        command.args(["gateway", "check", "--network", "regtest", "--home"]);
        command.arg(self.market.folder("none")).arg("--config").arg(config);
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }

    fn paid(&self, height: u32) -> bitcoin::ScriptBuf {
        let coinbase = self.market.world.block(height).unwrap().txdata.remove(0);
        coinbase.output[0].script_pubkey.clone()
    }
}

/// Lets holder and validators hear until the gateway has three receipts for a slice (1-based).
fn receipted(gateway: &Gateway, table: &RefCell<Table>, slice: u32) {
    let heard = || {
        let mut table = table.borrow_mut();
        let Table { holder, validators, .. } = &mut *table;
        for engine in validators.iter_mut().chain([holder]) {
            engine.step().unwrap();
        }
        position(gateway).sealed.map_or((0, 0), |sealed| (sealed.slice, sealed.receipts))
    };
    until("three receipts", heard, |seen| *seen == (slice, 3));
}

/// The first line of the log that has these words.
fn line(gateway: &Gateway, words: &str) -> String {
    let next = || gateway.notice(Duration::from_secs(1));
    until(words, next, |line| line.as_ref().is_some_and(|line| line.contains(words))).unwrap()
}

#[test]
fn a_gateway_follows_a_position_through_two_sales_and_loses_no_share() {
    let mut farm = Farm::new();
    let offer = farm.market.offer(PRICE, 0, 120);
    let first = farm.market.sell(&offer, 0);
    let old = first.contract.clone();
    let one = RefCell::new(farm.market.table(&old, 0));
    farm.market.elsewhere_until(START - 1);

    // Under the first contract a period is delivered.
    let gateway = farm.gateway(&[&old]);
    works_on(&gateway, START);
    let mut rig = machine(&gateway, Habits::BITAXE);
    mine_to(&gateway, &mut rig, START + SLICE, 2);
    receipted(&gateway, &one, 1);
    mine_to(&gateway, &mut rig, START + SLICE + 4, 2);
    one.borrow_mut().holder.step().unwrap();
    assert_eq!(position(&gateway).sold_on, None);

    // It is sold on; the fourth period is the first whose coinbases pay the next holder.
    let second = farm.resell(&mut one.borrow_mut(), &first, 0, 3);
    let (new, txid) = (second.contract.clone(), second.tx.compute_txid());
    assert_eq!(second.tx.output[2].value, Amount::from_sat(PRICE / 12), "the first is settled");
    assert_eq!(new.price, Amount::from_sat(PRICE / 12 * 11));
    // Core may offer once more what it had before the resale came, to somebody else.
    works_on(&gateway, START + SLICE + 6);
    let mut rig = machine(&gateway, Habits::BITAXE);
    mine_to(&gateway, &mut rig, START + SLICE + 6, 2);
    let told = line(&gateway, "sold on");
    let until_height = START + 2 * SLICE;
    let words = format!(
        "sold on by {txid}: the old lock counts until the sale's switch, at height {until_height} or \
         later; name the terms of the new contract before height {until_height}, or blocks from the \
         switch on count for nobody"
    );
    assert!(
        told.ends_with(&words) && told.contains(&new.position().unwrap().to_string()),
        "{told}"
    );
    let status = gateway.status();
    assert!(status.in_words().join("\n").contains(&words));
    let metric = format!("{{position=\"{}\",payee=\"alice\"}} {until_height}\n", farm.market.id);
    assert!(status.to_metrics().contains(&format!("hashmix_sold_on_height{metric}")));

    // The miner takes his time. What ends before that height is still sealed where he sits.
    mine_to(&gateway, &mut rig, START + 2 * SLICE, 2);
    receipted(&gateway, &one, 2);
    mine_to(&gateway, &mut rig, START + 2 * SLICE + 3, 2);
    gateway.stop().unwrap();

    // A gateway that knows none of his secrets sees it too.
    let blind = farm.gateway_that(false, &[&old]);
    assert_eq!(line(&blind, "sold on"), told);
    blind.stop().unwrap();

    // Then he names the new terms, and those before: in the midst of a slice, of which nothing is lost.
    // The old contract's folder cannot be used for a while, which keeps nothing else.
    let two = RefCell::new(farm.market.table(&new, 1));
    let (letters, aside) = (farm.letters(1), farm.market.folder("aside"));
    std::fs::rename(&letters, &aside).unwrap();
    std::fs::write(&letters, "a file").unwrap();
    let gateway = farm.gateway(&[&old, &new]);
    works_on(&gateway, START + 2 * SLICE + 4);
    let mut rig = machine(&gateway, Habits::BITAXE);
    mine_to(&gateway, &mut rig, START + 3 * SLICE, 2);
    receipted(&gateway, &two, 3);
    let sealed = position(&gateway);
    assert_eq!((sealed.sealed.as_ref().unwrap().shares, &sealed.sold_on), (24, &None));
    let kept = format!("contract {}, which was before: ", old.id().unwrap());
    assert!(sealed.trouble.as_ref().is_some_and(|why| why.starts_with(&kept)), "{sealed:?}");
    assert!(line(&gateway, &kept).starts_with(&kept));
    std::fs::remove_file(&letters).unwrap();
    std::fs::rename(&aside, &letters).unwrap();
    let mended = (0..400).any(|_| {
        std::thread::sleep(Duration::from_millis(500));
        position(&gateway).trouble.is_none()
    });
    assert!(mended, "{:?}", position(&gateway));
    let again =
        std::iter::from_fn(|| gateway.notice(Duration::ZERO)).any(|line| line.contains(&kept));
    assert!(!again, "told once");
    mine_to(&gateway, &mut rig, START + 4 * SLICE, 2);
    receipted(&gateway, &two, 4);
    mine_to(&gateway, &mut rig, START + 4 * SLICE + 6, 2);
    gateway.stop().unwrap();

    let locks = [&old, &new].map(|terms| reward::coins::lock(&terms.reward).unwrap().script_pubkey);
    for (height, lock) in [
        (START, &locks[0]),
        (START + 3 * SLICE - 1, &locks[0]),
        (START + 3 * SLICE, &locks[1]),
        (START + 4 * SLICE, &locks[1]),
    ] {
        assert_eq!(farm.paid(height), *lock, "height {height}");
    }

    // Credit on both sides of the switch, as the next holder counts it: each share once. One block was
    // found by somebody else.
    let mut table = two.into_inner();
    table.holder.step().unwrap();
    let facts = table.holder.facts().unwrap();
    let verdict = judge(&new, &facts, table.holder.contract().evidence(), 3).unwrap();
    let rows = verdict.periods.iter().map(|row| (row.period, row.shares)).collect::<Vec<_>>();
    assert_eq!(rows, [(1, 22), (2, 24), (3, 24)]);
    assert!(verdict.periods.iter().all(|row| row.earned == row.installment), "{verdict:?}");

    // The seat at the old contract is left a day after the last reward of its lock could be spent.
    farm.market.elsewhere_until(START + 3 * SLICE - 1 + 100 + 143);
    let gateway = farm.gateway(&[&old, &new]);
    let over = format!("contract {} is over", old.id().unwrap());
    let early = (0..12)
        .any(|_| gateway.notice(Duration::from_secs(1)).is_some_and(|line| line.contains(&over)));
    assert!(!early, "a block too early");
    farm.market.elsewhere(1);
    line(&gateway, &over);
    gateway.stop().unwrap();

    // Before all this he could have asked.
    let (good, said) = farm.check(&new, &old);
    assert!(good && said.contains(&format!("behind contract {}", old.id().unwrap())), "{said}");
    let mut foreign = old.clone();
    foreign.tenure.as_mut().unwrap().position = hashmix::id::PositionId([9; 32]);
    for before in [&foreign, &new] {
        let (good, said) = farm.check(&new, before);
        assert!(!good && said.contains("[gateway-position-before]"), "{said}");
    }
}

#[test]
fn at_the_end_of_the_term_the_gateway_sends_the_last_state() {
    let mut farm = Farm::new();
    let offer = farm.market.offer(PRICE, 0, 120);
    let sold = farm.market.sell(&offer, 0);
    let terms = sold.contract.clone();
    let table = RefCell::new(farm.market.table(&terms, 0));
    farm.market.elsewhere_until(START - 1);
    let gateway = farm.gateway(&[&terms]);
    works_on(&gateway, START);
    let mut rig = machine(&gateway, Habits::BITAXE);
    mine_to(&gateway, &mut rig, START + SLICE, 2);
    receipted(&gateway, &table, 1);

    // The holder signs what is due, and nothing is sent as long as periods are to come.
    let last = terms.ruling_height(terms.delivery.periods - 1).unwrap();
    farm.market.elsewhere_until(last - 1);
    let escrow = OutPoint::new(sold.tx.compute_txid(), 1);
    let signed = || {
        let holder = &mut table.borrow_mut().holder;
        holder.step().unwrap();
        holder.contract().escrow().last_state(escrow).map(|(ask, _)| ask.outcome.period)
    };
    until("a state", signed, |period| period.is_some());
    assert_eq!(farm.market.world.mempool().unwrap(), []);

    // Now the last period is ripe: once the holder has signed for it, the miner has his money.
    farm.market.elsewhere_until(last);
    until("the last state", signed, |period| *period == Some(terms.delivery.periods - 1));
    let sent = until("a settlement", || farm.market.world.mempool().unwrap(), |txs| txs.len() == 1);
    farm.market.elsewhere_until(last + 1);
    gateway.stop().unwrap();
    let block = farm.market.world.block(last + 1).unwrap();
    let settled = block.txdata.iter().find(|tx| tx.compute_txid() == sent[0]).unwrap();
    assert_eq!(settled.input[0].previous_output, escrow);
    assert_eq!(settled.output[0].script_pubkey, terms.reward.miner.payout_script());
}
