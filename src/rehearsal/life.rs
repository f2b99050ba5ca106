//! A position's life, rehearsed: proven, issued, sold, delivered, sold on, delivered, retired.
//!
//! | heights | what happens |
//! |---|---|
//! | 1-104 | everybody's first coins; they mature |
//! | 106-117 | onboarding: a slice of work for the miner's own address |
//! | 123-134 | binding: a slice of work for the reward lock |
//! | 141 | two of three validators issue the position |
//! | 142 | the sale: 0.6 BTC into the escrow, the seal to the first buyer |
//! | 156-179 | periods 1 and 2; the first is settled by both together |
//! | 193 | the resale: the second period is paid, the rest goes on for the second buyer |
//! | 180-203 | periods 3 and 4; coinbases still pay the first buyer |
//! | 204-227 | periods 5 and 6; coinbases pay the second |
//! | 240 | the last settlement closes the contract |
//! | 241 | the seal is retired |
//!
//! As in the [deal](crate::rehearsal::deal), nobody is a double: everybody has a store, a wallet and a
//! connection of his own, validators judge by their own sources, and what the miner's machines find is
//! found. What is known of the position at the end is handed to the listener, who may verify it.

use std::path::{Path as FilePath, PathBuf};

use bitcoin::{Amount, Network, NetworkKind, OutPoint, ScriptBuf, Transaction, TxOut};

use crate::chain::electrum::Electrum;
use crate::engine::trade::Trader;
use crate::engine::{Engine, Report};
use crate::error::{Result, Rule};
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::position::dossier::{Dossier, Transfer};
use crate::flow::position::terms::PositionTerms;
use crate::flow::sale::terms::Held;
use crate::flow::sale::txs::Seal;
use crate::header_sync::GuardedChain;
use crate::party::{Record, Role, Seat};
use crate::rehearsal::deal::Moment;
use crate::rehearsal::machines::Machines;
use crate::rehearsal::people::{VALIDATORS, name, network_script, seed, signer_of};
use crate::rehearsal::position as cast;
use crate::rehearsal::world::World;
use crate::relay::folder::Folder;
use crate::sign::record::record;
use crate::sign::software::SoftwareSigner;
use crate::store::Store;
use crate::wallet::Wallet;

mod issue;
mod sale;

/// A step of the story has what it needs.
pub const STORY: Rule = Rule::new(
    "rehearsal-life",
    "each step of a rehearsed life finds what the one before has left",
    "report this: somebody did not answer, or the chain did not show it",
);

/// Last height of the story.
pub const LAST_BLOCK: u32 = 241;
/// First heights of onboarding, binding and term.
const HEIGHTS: [u32; 3] = [106, 123, 156];
/// Which of the cast's positions it is.
const POSITION: u32 = 1;
/// Those who buy, one after the other.
const BUYERS: [&str; 2] = ["first buyer", "second buyer"];
/// The miner's file.
const MINER: &str = "miner";
/// What the first one pays into the escrow.
const PRICE: Amount = Amount::from_sat(60_000_000);
/// What the second one pays the first.
const RESOLD: Amount = Amount::from_sat(35_000_000);
/// Fee rate of everything, sat/vB.
const RATE: u64 = 3;
/// Shares that the machines find on each block: a third more than agreed.
const SHARES: usize = 20;
/// Most rounds in which everybody steps between two blocks.
const ROUNDS: u32 = 12;
const NETWORK: Network = Network::Regtest;

/// Somebody who buys or sells.
struct Somebody {
    trader: Trader,
    signer: SoftwareSigner,
    record: Record,
}

/// The people at one contract.
struct Table {
    miner: Engine,
    holder: Engine,
    validators: Vec<Engine>,
}

/// What a sale has left.
#[derive(Clone)]
struct Sold {
    contract: EscrowTerms,
    seal: OutPoint,
    held: Held,
}

/// A life in progress.
struct Life<'w> {
    world: &'w dyn World,
    dir: PathBuf,
    terms: PositionTerms,
    /// The miner as first holder.
    miner: Somebody,
    buyers: Vec<Somebody>,
    machines: Machines,
    network: ScriptBuf,
    listen: &'w mut dyn FnMut(Moment<'_>),
}

/// Lives it in `world`; stores and messages lie under `dir`. Answers with the dossier as it is at the end.
pub fn live(
    world: &dyn World,
    dir: &FilePath,
    listen: &mut dyn FnMut(Moment<'_>),
) -> Result<Dossier> {
    let mut life = Life::meet(world, dir, listen)?;
    let issue = life.issue()?;
    let first = life.sell(&issue)?;
    let mut table = life.sit(&first.contract, 0)?;
    life.deliver(&first, &mut table)?;
    let second = life.sell_on(&first, &mut table)?;
    let mut later = life.sit(&second.contract, 1)?;
    life.deliver_on(&second, &table, &mut later)?;
    let transfers = [&first, &second].into_iter().filter_map(|sold| Transfer::of(&sold.contract));
    let dossier = Dossier::new(life.terms.clone(), issue, transfers.collect())?;
    let evidence = [&table, &later].map(|table| table.holder.contract().evidence());
    (life.listen)(Moment::Documents(&dossier, &evidence));
    life.end(&second, &mut later)?;
    Ok(dossier)
}

impl<'w> Life<'w> {
    fn meet(
        world: &'w dyn World,
        dir: &FilePath,
        listen: &'w mut dyn FnMut(Moment<'_>),
    ) -> Result<Self> {
        listen(Moment::Chapter {
            title: "A position: the people",
            about: "a miner, two who buy one after the other, and three validators of whom two \
                    decide; a position is the first satoshi of an output, its seal"
                .into(),
        });
        let terms = cast::terms(POSITION, HEIGHTS)?;
        let contract = terms.reward.contract.clone();
        let mut buyers = Vec::new();
        for name in BUYERS {
            let payout = signer_of(name, 0)?.address().into_unchecked();
            let record = record(&signer_of(name, 0)?, Role::Holder, NETWORK, &contract, payout)?;
            let signer = SoftwareSigner::new(seed(name)?.record(NETWORK, 0)?, NETWORK)?;
            buyers.push(Somebody { trader: trader(world, dir, name, name)?, signer, record });
        }
        let miner = Somebody {
            trader: trader(world, dir, MINER, &name(Seat::Miner))?,
            signer: cast::holder(POSITION)?,
            record: terms.reward.holder.clone(),
        };
        let network = network_script()?;
        let mut life = Self {
            world,
            dir: dir.to_owned(),
            terms,
            miner,
            buyers,
            machines: Machines::default(),
            network,
            listen,
        };
        let people = BUYERS.map(|name| (name, name.to_owned()));
        for (file, name) in people.into_iter().chain([(MINER, name(Seat::Miner))]) {
            let (mut wallet, mut store) = wallet(&life.dir, file, &name)?;
            let script_pubkey = wallet.next_address(&mut store)?.script_pubkey();
            let pay = |value| vec![TxOut { value, script_pubkey: script_pubkey.clone() }];
            world.mine(1, &pay)?;
        }
        life.note(&format!(
            "the miner promises {} H/s for {} periods of {} blocks from height {}",
            life.terms.delivery.rate,
            life.terms.delivery.periods,
            life.terms.delivery.period,
            life.terms.delivery.start
        ))?;
        life.note(&format!(
            "whoever buys chooses the federation: he pins {}",
            life.terms.issuer.id()?
        ))?;
        life.elsewhere_until(104)?;
        Ok(life)
    }

    /// A transaction that was sent gets its block.
    fn moved(&mut self, tx: &Transaction) -> Result<()> {
        self.world.settle()?;
        self.elsewhere(1)?;
        self.note(&format!("{} is in a block ({} vB)", tx.compute_txid(), tx.vsize()))
    }

    fn sit(&self, contract: &EscrowTerms, buyer: usize) -> Result<Table> {
        let messages = self.dir.join(format!("messages {}", buyer.saturating_add(1)));
        let holder = BUYERS.get(buyer).copied().unwrap_or_default();
        let sit = |seat: Seat, file: &str, signer: SoftwareSigner| -> Result<Engine> {
            let store = Store::open(self.dir.join(format!("{file}.sqlite")))?;
            let relay = Folder::open(&messages, seat)?;
            let terms = contract.clone();
            let engine = Engine::open(seat, terms, store, self.electrum()?, signer, relay)?;
            Ok(match seat {
                Seat::Validator(_) => engine.with_sources(self.world.sources()?),
                _ => engine,
            })
        };
        let validators = (0..VALIDATORS).map(|place| {
            let seat = Seat::Validator(place);
            sit(seat, &seat.slug(), cast::validator(place, POSITION)?)
        });
        let signer = SoftwareSigner::new(seed(holder)?.record(NETWORK, 0)?, NETWORK)?;
        Ok(Table {
            validators: validators.collect::<Result<_>>()?,
            miner: sit(Seat::Miner, MINER, cast::miner(POSITION)?)?,
            holder: sit(Seat::Holder, holder, signer)?,
        })
    }

    /// Periods 1 and 2, and the settlement of the first.
    fn deliver(&mut self, sold: &Sold, table: &mut Table) -> Result<()> {
        self.chapter(
            "Periods 1 and 2",
            "coinbases pay the first buyer's lock; what is proven is earned, and what is earned is paid",
        );
        self.elsewhere_until(self.terms.delivery.start.saturating_sub(1))?;
        self.seal_slice(&sold.contract, table, 0)?;
        self.seal_slice(&sold.contract, table, 1)?;
        self.mine_until(&sold.contract, 185)?;
        self.settle_together(table)?;
        // What is mined before the resale is sealed under the contract before, and counts in the next.
        self.seal_slice(&sold.contract, table, 2)?;
        self.mine_until(&sold.contract, 192)
    }

    /// Periods 3 to 6 under the second contract.
    fn deliver_on(&mut self, sold: &Sold, before: &Table, table: &mut Table) -> Result<()> {
        self.chapter(
            "Periods 3 to 6",
            "the machines go on; until period 4 coinbases pay the old lock, from then on the new one; a \
             share that pays the wrong one earns nothing",
        );
        let carried = table.miner.carry(before.miner.contract().evidence())?;
        self.note(&format!(
            "miner carries what was proven before into the new contract: {carried} words"
        ))?;
        self.everybody(table)?;
        self.seal_slice(&sold.contract, table, 3)?;
        self.mine_until(&sold.contract, 204)?;
        self.note("the first coinbase for the second buyer; the one before paid the first")?;
        self.seal_slice(&sold.contract, table, 4)?;
        self.seal_slice(&sold.contract, table, 5)
    }

    /// The contract is closed, the seal retired.
    fn end(&mut self, sold: &Sold, table: &mut Table) -> Result<()> {
        self.chapter(
            "The end of the term",
            "the last settlement closes the contract; the seal goes to the retirement script, and the \
             position is nobody's any more",
        );
        self.elsewhere_until(239)?;
        self.everybody(table)?;
        self.settle_together(table)?;
        self.elsewhere(1)?;
        let issued = sold.contract.position()?;
        let (terms, held) = (&self.terms, &sold.held);
        let seal = Seal { terms, position: issued, held, outpoint: sold.seal };
        let last = self.buyers.last_mut().ok_or_else(|| missing("retirement", "a holder"))?;
        last.trader.remaining(terms, Some(&sold.contract))?.check()?;
        let moved = last.trader.retire(&seal, &last.signer, RATE)?;
        self.note("the second buyer retires the seal")?;
        self.moved(&moved.tx)
    }

    /// Mines to the end of a slice and a little on, seals it, and lets everybody answer.
    fn seal_slice(&mut self, contract: &EscrowTerms, table: &mut Table, slice: u32) -> Result<()> {
        let blocks = contract.calendar().slice_blocks(slice);
        let last = blocks.map_or(0, |blocks| *blocks.end());
        self.mine_until(contract, last)?;
        let certificate = self.machines.certificate(contract, slice)?;
        let count = certificate.shares.len();
        table.miner.certify(certificate)?;
        self.note(&format!(
            "miner seals slice {}: {count} shares of {} expected",
            slice.saturating_add(1),
            self.terms.delivery.expected
        ))?;
        self.everybody(table)
    }

    /// Miner and holder sign as one what is due, and the miner sends it.
    fn settle_together(&mut self, table: &mut Table) -> Result<()> {
        table.miner.begin_joint_settlement(RATE)?;
        self.world.settle()?;
        self.listen_to(Seat::Holder, &mut table.holder)?;
        self.listen_to(Seat::Miner, &mut table.miner).map(|_| ())
    }

    /// One step of a seat; whether it has said, heard or sent anything.
    fn listen_to(&mut self, seat: Seat, engine: &mut Engine) -> Result<bool> {
        let (height, mut stirred) = (self.height()?, false);
        for report in engine.step()? {
            stirred |= matches!(report, Report::Said(_) | Report::Heard(..) | Report::Sent(_));
            (self.listen)(Moment::Done(height, seat, &report));
        }
        self.world.settle()?;
        Ok(stirred)
    }

    /// Everybody at a table steps until nobody has anything left to say.
    fn everybody(&mut self, table: &mut Table) -> Result<()> {
        for _ in 0..ROUNDS {
            let mut stirred = false;
            let validators = (0u8..).map(Seat::Validator).zip(&mut table.validators);
            let parties = [(Seat::Miner, &mut table.miner), (Seat::Holder, &mut table.holder)];
            for (seat, engine) in parties.into_iter().chain(validators) {
                stirred |= self.listen_to(seat, engine)?;
            }
            if !stirred {
                break;
            }
        }
        Ok(())
    }

    fn mine_until(&mut self, contract: &EscrowTerms, height: u32) -> Result<()> {
        while self.height()? < height {
            let template = self.world.template()?;
            let block = self.machines.find(contract, &template, &[], Some(SHARES))?;
            self.world.hand_in(&block)?;
            self.mined(template.height, "the miner");
        }
        self.world.settle()
    }

    fn elsewhere(&mut self, blocks: u32) -> Result<()> {
        let script_pubkey = self.network.clone();
        let pay = move |value| vec![TxOut { value, script_pubkey: script_pubkey.clone() }];
        self.world.mine(blocks, &pay)?;
        let height = self.height()?;
        self.mined(height, "the network");
        Ok(())
    }

    fn elsewhere_until(&mut self, height: u32) -> Result<()> {
        match height.saturating_sub(self.height()?) {
            0 => Ok(()),
            blocks => self.elsewhere(blocks),
        }
    }

    fn height(&self) -> Result<u32> {
        self.world.height()
    }

    fn electrum(&self) -> Result<Electrum> {
        Electrum::connect(&self.world.electrum_url(), NETWORK)
    }

    fn mined(&mut self, height: u32, by: &str) {
        (self.listen)(Moment::Block { height, by });
    }

    fn chapter(&mut self, title: &str, about: &str) {
        (self.listen)(Moment::Chapter { title, about: about.to_owned() });
    }

    fn note(&mut self, text: &str) -> Result<()> {
        let height = self.height()?;
        (self.listen)(Moment::Note(height, text.to_owned()));
        Ok(())
    }
}

fn wallet(dir: &FilePath, file: &str, name: &str) -> Result<(Wallet, Store)> {
    let mut store = Store::open(dir.join(format!("{file}.sqlite")))?;
    let master = seed(name)?.master(NetworkKind::Test)?;
    let wallet = Wallet::create_or_load(&mut store, *master.xpriv(), NETWORK)?;
    Ok((wallet, store))
}

fn trader(world: &dyn World, dir: &FilePath, file: &str, name: &str) -> Result<Trader> {
    let (wallet, store) = wallet(dir, file, name)?;
    let chain = Electrum::connect(&world.electrum_url(), NETWORK)?;
    Ok(Trader::new(store, wallet, GuardedChain::new(chain)))
}

fn missing(step: &str, expected: &str) -> crate::error::Error {
    STORY.broken(step, expected, "none")
}
