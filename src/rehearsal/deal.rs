//! The deal, step by step. See the table in [`crate::rehearsal`].

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};

use bitcoin::{Amount, Block, BlockHash, ScriptBuf, TxOut};

use crate::amount;
use crate::engine::{Engine, Report, Sent};
use crate::error::{Result, Rule};
use crate::facts::Facts;
use crate::flow::escrow::terms::{Delivery, EscrowTerms};
use crate::flow::position::dossier::Dossier;
use crate::flow::reward::txs::SweepPath;
use crate::party::Seat;
use crate::rehearsal::ledger::Ledger;
use crate::rehearsal::machines::{FOUND, Machines};
use crate::rehearsal::people::{self, Payouts, Person, VALIDATORS};
use crate::rehearsal::world::{World, found};
use crate::script::template::Variant;
use crate::work::certificate::Certificate;
use crate::work::evidence::Evidence;
use crate::work::template::BlockTemplate;

/// Everybody counts his coins.
pub const WALLETS: Rule = Rule::new(
    "rehearsal-wallets",
    "miner, holder and federation each have a wallet",
    "report this: somebody sat down without one",
);

/// First height of the term.
pub const START: u32 = 120;
/// Tip at which the sale is made: the holder's first coins are mature.
const SALE: u32 = 108;
/// Height at which everything is over.
pub const LAST_BLOCK: u32 = 267;
/// Fee rate of everything that is broadcast, sat/vB.
pub const RATE: u64 = 2;
/// Most rounds in which everybody steps between two blocks; a ruling takes six.
const ROUNDS: u32 = 12;

/// What happens, for whoever listens.
#[derive(Debug)]
pub enum Moment<'a> {
    /// A new chapter begins.
    Chapter {
        /// Its title.
        title: &'a str,
        /// What it is about.
        about: String,
    },
    /// Somebody did something, at this height.
    Done(u32, Seat, &'a Report),
    /// Somebody has stepped or decided.
    Stepped(Seat),
    /// His process ended, and another one opened his files.
    Restarted(Seat),
    /// So many blocks were found again, for the next one to outweigh.
    Reorg(u32),
    /// A block was mined.
    Block {
        /// Its height.
        height: u32,
        /// Whose machines found it.
        by: &'a str,
    },
    /// The terms are agreed.
    Agreed(&'a EscrowTerms),
    /// What is known of a position: anybody may verify it now. Evidence lies there for each contract.
    Documents(&'a Dossier, &'a [&'a Evidence]),
    /// Something worth a line, at this height.
    Note(u32, String),
}

/// What the world throws at the people while they deal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Blocks that a reorg replaces before each block that follows somebody's step; 0 for none.
    pub reorg: u32,
    /// Whether everybody's process ends after each of his steps, and begins anew.
    pub restarts: bool,
}

/// Whose machines find a block, and what it pays.
#[derive(Clone, Debug)]
enum Finder {
    /// The miner's, with so many shares.
    Miner(usize),
    /// Somebody's whom the contract does not know.
    Network(ScriptBuf),
}

/// A block of the chain that may have to be found again.
struct Found {
    block: Block,
    reward: Amount,
    by: Finder,
}

/// A deal in progress.
pub struct Deal<'w> {
    world: &'w dyn World,
    dir: PathBuf,
    trouble: Trouble,
    terms: EscrowTerms,
    miner: Engine,
    holder: Engine,
    validators: Vec<Engine>,
    machines: Machines,
    /// What was certified last of each slice.
    certified: BTreeMap<u32, Certificate>,
    /// The blocks that we mined, by height.
    found: BTreeMap<u32, Found>,
    /// Blocks that were found again: each gets an extra nonce of its own.
    again: u32,
    /// Whether somebody has stepped since the last block.
    stirred: bool,
    network: ScriptBuf,
    sent: Vec<(Seat, Sent)>,
    listen: &'w mut dyn FnMut(Moment<'_>),
}

/// How it ended.
#[derive(Debug)]
pub struct Ending {
    /// What was agreed.
    pub terms: EscrowTerms,
    /// Every transaction that was broadcast, and by whom.
    pub sent: Vec<(Seat, Sent)>,
    /// The contract's chain at the end.
    pub facts: Facts,
    /// Certificates and receipts.
    pub evidence: Evidence,
    /// The balance sheet.
    pub ledger: Ledger,
}

/// Plays the whole deal in `world`, in `trouble`; stores and messages lie under `dir`.
pub fn play(
    world: &dyn World,
    variant: Variant,
    trouble: Trouble,
    dir: &FilePath,
    listen: &mut dyn FnMut(Moment<'_>),
) -> Result<Ending> {
    let mut deal = Deal::meet(world, variant, trouble, dir, listen)?;
    deal.sell()?;
    deal.deliver()?;
    deal.settle_together()?;
    deal.fall_short()?;
    deal.rule()?;
    deal.close()?;
    deal.sweep()?;
    deal.finish()
}

impl<'w> Deal<'w> {
    /// Everybody makes a wallet and a record; the terms are agreed.
    fn meet(
        world: &'w dyn World,
        variant: Variant,
        trouble: Trouble,
        dir: &FilePath,
        listen: &'w mut dyn FnMut(Moment<'_>),
    ) -> Result<Self> {
        listen(Moment::Chapter {
            title: "The people",
            about: "a miner, a holder who buys, and three validators of whom two decide".into(),
        });
        let mut miner = Person::new(Seat::Miner, dir)?;
        let mut holder = Person::new(Seat::Holder, dir)?;
        let mut validators = (0..VALIDATORS)
            .map(|place| Person::new(Seat::Validator(place), dir))
            .collect::<Result<Vec<_>>>()?;
        let network = people::network_script()?;
        let opening = holder.address()?;
        let federation = match validators.first_mut() {
            Some(first) => first.address()?,
            None => opening.clone(),
        };
        let payouts = Payouts { miner: miner.address()?, holder: holder.address()?, federation };
        let terms = people::terms(variant, START, &payouts)?;
        listen(Moment::Agreed(&terms));

        world.mine(1, &|value| vec![TxOut { value, script_pubkey: opening.script_pubkey() }])?;
        let seat = |person: Person| person.sit(&terms, world, dir);
        let validators = validators.into_iter().map(seat).collect::<Result<Vec<_>>>()?;
        let (miner, holder) = (seat(miner)?, seat(holder)?);
        let mut deal = Self {
            world,
            dir: dir.to_owned(),
            trouble,
            terms,
            miner,
            holder,
            validators,
            machines: Machines::default(),
            certified: BTreeMap::new(),
            found: BTreeMap::new(),
            again: 0,
            stirred: false,
            network,
            sent: Vec::new(),
            listen,
        };
        deal.elsewhere_until(SALE)?;
        Ok(deal)
    }

    /// The holder pays the price into the escrow.
    fn sell(&mut self) -> Result<()> {
        self.chapter("The sale", "the price goes into the escrow; nobody can take it alone");
        let report = self.holder.fund_escrow(RATE)?;
        self.told(Seat::Holder, &[report]);
        self.stepped(Seat::Holder)?;
        self.elsewhere_until(START.saturating_sub(1))?;
        self.everybody()
    }

    /// Periods 1 to 3: more than agreed.
    fn deliver(&mut self) -> Result<()> {
        self.chapter(
            "Periods 1 to 3",
            "every block the miner finds pays the reward lock and his service share; each slice of \
             work is certified, receipted by the validators, and earns an installment",
        );
        for slice in 0..3 {
            self.mine_slice(slice, (13, 10))?;
        }
        Ok(())
    }

    /// Both online: one settlement for three periods, by the key path.
    fn settle_together(&mut self) -> Result<()> {
        self.chapter(
            "One settlement for three periods",
            "states were signed off-chain; now the miner wants his money and both sign as one",
        );
        self.mine_blocks(5, (1, 2))?;
        self.everybody()?;
        if self.terms.reward.variant == Variant::Nums {
            // No key path: the miner publishes the last state with his own signature under it.
            let reports = self.miner.publish_state()?;
            self.told(Seat::Miner, &reports);
            return self.stepped(Seat::Miner);
        }
        if self.trouble.restarts {
            // Secret nonces live in memory alone: what was begun ends with the process.
            self.miner.begin_joint_settlement(RATE)?;
            self.restart(Seat::Miner)?;
            self.listen_to(Seat::Holder)?;
            self.listen_to(Seat::Miner)?;
        }
        self.miner.begin_joint_settlement(RATE)?;
        self.listen_to(Seat::Holder)?;
        self.listen_to(Seat::Miner)?;
        Ok(())
    }

    /// Period 4: about half; then the holder falls silent.
    fn fall_short(&mut self) -> Result<()> {
        self.chapter(
            "Period 4",
            "the machines deliver about half of what was agreed; what period 3 proved beyond its own \
             counts here, because both lie in one window",
        );
        self.mine_blocks(7, (1, 2))?;
        self.certify(3)
    }

    /// The miner opens a dispute; two of three validators rule.
    fn rule(&mut self) -> Result<()> {
        self.chapter(
            "The holder is silent",
            "the miner asks, waits, opens a dispute; each validator recomputes the outcome himself",
        );
        self.elsewhere(5)?;
        self.listen_to(Seat::Miner)?;
        self.miner.open_dispute(3, RATE)?;
        self.stepped(Seat::Miner)?;
        self.note("miner opens a dispute through period 4");
        self.with_federation(&[Seat::Miner])?;
        self.elsewhere(self.terms.delays.answer)?;
        self.with_federation(&[Seat::Miner])?;
        self.elsewhere(1)
    }

    /// Periods 5 and 6: nothing; the window is below a half, the contract closes.
    fn close(&mut self) -> Result<()> {
        self.chapter(
            "Periods 5 and 6",
            "the miner is gone, the network goes on without him; the window stays below a half",
        );
        let last = self.terms.delivery.periods.saturating_sub(1);
        self.elsewhere_until(self.terms.ruling_height(last)?)?;
        self.listen_to(Seat::Holder)?;
        self.holder.open_dispute(last, RATE)?;
        self.stepped(Seat::Holder)?;
        self.note("holder is back and opens a dispute through period 6");
        self.with_federation(&[Seat::Holder])?;
        self.elsewhere(self.terms.delays.answer)?;
        self.with_federation(&[Seat::Holder])?;
        self.elsewhere(1)
    }

    /// The holder takes every reward, once the youngest is mature.
    fn sweep(&mut self) -> Result<()> {
        self.chapter("The rewards", "the holder and two validators sweep what the machines earned");
        let youngest = START.saturating_add(47);
        self.elsewhere_until(youngest.saturating_add(99))?;
        self.holder.ask_sweep(SweepPath::HolderRuling, RATE)?;
        self.stepped(Seat::Holder)?;
        self.note("holder asks for a sweep");
        self.with_federation(&[Seat::Holder])?;
        self.elsewhere(1)
    }

    /// Everybody counts his coins.
    fn finish(mut self) -> Result<Ending> {
        let facts = self.holder.facts()?;
        let watched = core::slice::from_ref(&self.network);
        let outside = self.holder.chain().facts(watched, facts.tip())?;
        let mut left = Vec::new();
        let people = [&mut self.miner, &mut self.holder];
        for engine in people.into_iter().chain(self.validators.first_mut()) {
            let balance = engine.balance()?;
            left.push(amount::sum(
                [balance.confirmed, balance.immature, balance.pending],
                "wallet",
            )?);
        }
        let left = left.try_into().map_err(|left: Vec<_>| {
            WALLETS.broken(
                "balance sheet",
                "the wallets of miner, holder and federation",
                left.len(),
            )
        })?;
        let outside = outside.coins(&self.network);
        let ledger = Ledger::new(&self.terms, &facts, &self.sent, &outside, left)?;
        let evidence = self.holder.contract().evidence().clone();
        Ok(Ending { terms: self.terms, sent: self.sent, facts, evidence, ledger })
    }

    /// Mines a slice with the given part (numerator, denominator) of the agreed work and seals it.
    fn mine_slice(&mut self, slice: u32, part: (u64, u64)) -> Result<()> {
        self.mine_blocks(self.terms.delivery.slice, part)?;
        self.certify(slice)
    }

    /// Mines blocks with the given part of the agreed work, in shares.
    fn mine_blocks(&mut self, blocks: u32, (numerator, denominator): (u64, u64)) -> Result<()> {
        let Delivery { expected, slice, .. } = self.terms.delivery;
        // Through the n-th block as many shares as fit into its part; so the sum is exact.
        let through = |blocks: u32| {
            let all = u64::from(blocks).saturating_mul(expected.into()).saturating_mul(numerator);
            all.checked_div(denominator.saturating_mul(slice.into())).unwrap_or(0)
        };
        for block in 0..blocks {
            let shares = through(block.saturating_add(1)).saturating_sub(through(block));
            self.mine(Finder::Miner(usize::try_from(shares).unwrap_or(usize::MAX)))?;
        }
        self.world.settle()
    }

    fn certify(&mut self, slice: u32) -> Result<()> {
        let certificate = self.machines.certificate(&self.terms, slice)?;
        self.note(&format!(
            "miner seals slice {}: {} shares of {} expected",
            slice.saturating_add(1),
            certificate.shares.len(),
            self.terms.delivery.expected
        ));
        self.certified.insert(slice, certificate.clone());
        self.miner.certify(certificate)?;
        self.stepped(Seat::Miner)?;
        self.everybody()
    }

    fn elsewhere(&mut self, blocks: u32) -> Result<()> {
        for _ in 0..blocks {
            self.mine(Finder::Network(self.network.clone()))?;
        }
        self.world.settle()
    }

    /// The next block; the server may not have seen it yet.
    ///
    /// In trouble, one after somebody's step brings a reorg: the blocks before it are found once
    /// more, with the same transactions and payouts, beside themselves.
    fn mine(&mut self, by: Finder) -> Result<()> {
        let mut template = self.world.template()?;
        let height = template.height;
        let depth = if self.stirred { self.trouble.reorg } else { 0 };
        let first = height.saturating_sub(depth);
        if depth > 0 {
            let fork = self.found.get(&first);
            let fork = fork.ok_or_else(|| FOUND.broken("reorg", "a block of ours", first))?;
            let mut parent = fork.block.header.prev_blockhash;
            for height in first..height {
                parent = self.find_again(height, first, parent)?;
            }
            template.parent = parent;
            (self.listen)(Moment::Reorg(depth));
        }
        let who = match by {
            Finder::Miner(_) => "the miner",
            Finder::Network(_) => "the network",
        };
        self.find(&template, &[], by, true)?;
        if depth > 0 {
            self.world.settle()?;
            self.certify_again()?;
        }
        // What is certified again belongs to this block: no further reorg answers it, or receipts
        // would come too late for ever.
        (self.listen)(Moment::Block { height, by: who });
        self.stirred = false;
        Ok(())
    }

    /// Finds the block at `height` once more, on another parent unless it is the `first` one.
    fn find_again(&mut self, height: u32, first: u32, parent: BlockHash) -> Result<BlockHash> {
        let missing = || FOUND.broken("reorg", format_args!("our block at {height}"), "none");
        let Found { block, reward, by } = self.found.remove(&height).ok_or_else(missing)?;
        let template = BlockTemplate {
            version: block.header.version,
            parent,
            height,
            time: block.header.time,
            bits: block.header.bits,
            reward,
            transactions: block.txdata.into_iter().skip(1).collect(),
        };
        self.again = self.again.saturating_add(1);
        let extra_nonce = self.again.to_le_bytes();
        self.find(&template, &extra_nonce, by, height > first)
    }

    /// Finds a block on `template` and hands it in. Shares are found anew only if the `parent` is
    /// another one than before; otherwise the old ones stand.
    fn find(
        &mut self,
        template: &BlockTemplate,
        extra_nonce: &[u8],
        by: Finder,
        parent: bool,
    ) -> Result<BlockHash> {
        let block = match &by {
            Finder::Miner(shares) => {
                let shares = parent.then_some(*shares);
                self.machines.find(&self.terms, template, extra_nonce, shares)?
            }
            Finder::Network(script) => {
                let whole = TxOut { value: template.reward, script_pubkey: script.clone() };
                found(template, extra_nonce, &[whole])?
            }
        };
        let hash = self.world.hand_in(&block)?;
        self.found.insert(template.height, Found { block, reward: template.reward, by });
        Ok(hash)
    }

    /// A reorg takes shares out of a sealed slice; those found in their place are sealed too,
    /// while receipts can still be had.
    fn certify_again(&mut self) -> Result<()> {
        for (slice, sealed) in self.certified.clone() {
            let certificate = self.machines.certificate(&self.terms, slice)?;
            let until = self.terms.calendar().receipts_until(slice);
            if certificate == sealed || until < Some(self.world.height()?) {
                continue;
            }
            self.certified.insert(slice, certificate.clone());
            self.miner.certify(certificate)?;
            self.with_federation(&[Seat::Miner])?;
        }
        Ok(())
    }

    fn elsewhere_until(&mut self, height: u32) -> Result<()> {
        self.elsewhere(height.saturating_sub(self.world.height()?))
    }

    /// Everybody reads and answers until nobody has anything left to say.
    fn everybody(&mut self) -> Result<()> {
        self.with_federation(&[Seat::Miner, Seat::Holder])
    }

    /// The validators and these parties step, until none of them has anything left to say.
    fn with_federation(&mut self, parties: &[Seat]) -> Result<()> {
        let validators = (0..VALIDATORS).map(Seat::Validator);
        let seats: Vec<Seat> = validators.chain(parties.iter().copied()).collect();
        for _ in 0..ROUNDS {
            let mut stirred = false;
            for seat in &seats {
                stirred |= self.listen_to(*seat)?;
            }
            if !stirred {
                break;
            }
        }
        Ok(())
    }

    /// One step of a seat; whether it has said, heard or sent anything.
    fn listen_to(&mut self, seat: Seat) -> Result<bool> {
        let mut stirred = false;
        let engine = match seat {
            Seat::Miner => Some(&mut self.miner),
            Seat::Holder => Some(&mut self.holder),
            Seat::Validator(place) => self.validators.get_mut(usize::from(place)),
        };
        if let Some(engine) = engine {
            let reports = engine.step()?;
            let stirs = |report: &Report| {
                matches!(report, Report::Said(_) | Report::Heard(..) | Report::Sent(_))
            };
            stirred = reports.iter().any(stirs);
            self.told(seat, &reports);
            self.stepped(seat)?;
        }
        Ok(stirred)
    }

    /// After a step: what was sent is there for whoever reads next; then comes trouble.
    fn stepped(&mut self, seat: Seat) -> Result<()> {
        self.world.settle()?;
        self.stirred = true;
        (self.listen)(Moment::Stepped(seat));
        if self.trouble.restarts { self.restart(seat) } else { Ok(()) }
    }

    /// The process of a seat ends, and another one opens the same files.
    fn restart(&mut self, seat: Seat) -> Result<()> {
        (self.listen)(Moment::Restarted(seat));
        let person = Person::new(seat, &self.dir)?;
        let engine = person.sit_again(&self.terms, self.world, &self.dir)?;
        match seat {
            Seat::Miner => self.miner = engine,
            Seat::Holder => self.holder = engine,
            Seat::Validator(place) => {
                if let Some(old) = self.validators.get_mut(usize::from(place)) {
                    *old = engine;
                }
            }
        }
        Ok(())
    }

    fn told(&mut self, seat: Seat, reports: &[Report]) {
        let height = self.height();
        for report in reports {
            if let Report::Sent(sent) = report {
                self.sent.push((seat, sent.clone()));
            }
            (self.listen)(Moment::Done(height, seat, report));
        }
    }

    fn chapter(&mut self, title: &str, about: &str) {
        (self.listen)(Moment::Chapter { title, about: about.to_owned() });
    }

    fn note(&mut self, text: &str) {
        let height = self.height();
        (self.listen)(Moment::Note(height, text.to_owned()));
    }

    /// Height of the last block that we mined.
    fn height(&self) -> u32 {
        self.found.last_key_value().map_or(0, |(height, _)| *height)
    }
}
