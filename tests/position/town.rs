//! A miner, three validators with a store each, and a chain.

use std::path::{Path, PathBuf};
use std::slice::from_ref;

use bitcoin::{
    Amount, FeeRate, Network, NetworkKind, OutPoint, ScriptBuf, Transaction, TxOut, Txid,
};
use hashmix::chain::electrum::Electrum;
use hashmix::engine::issuing::{Issuing, Told};
use hashmix::error::Error;
use hashmix::flow::position::coins::POSTAGE;
use hashmix::flow::position::proof::Stage;
use hashmix::flow::position::terms::PositionTerms;
use hashmix::flow::position::txs::{Funding, Inscription};
use hashmix::flow::position::word::{Event, PositionWord};
use hashmix::flow::position::{coins, txs};
use hashmix::header_sync::GuardedChain;
use hashmix::party::Seat;
use hashmix::rehearsal::people::{self, VALIDATORS};
use hashmix::rehearsal::position as cast;
use hashmix::rehearsal::world::{World, chosen};
use hashmix::store::Store;
use hashmix::wallet::Wallet;
use hashmix::work::coinbase::subsidy;
use hashmix::work::grind::grind;
use hashmix::work::share::Share;
use hashmix::work::template::BlockTemplate;

/// Heights of the two slices and of the term.
pub(crate) const HEIGHTS: [u32; 3] = [106, 123, 145];
/// Fee rate of everything, sat/vB.
pub(crate) const RATE: u64 = 3;
/// Shares found on each block: as many as the rate lets expect.
pub(crate) const SHARES: usize = 15;

/// Where it happens.
pub(crate) struct Town {
    pub(crate) world: Box<dyn World>,
    pub(crate) dir: tempfile::TempDir,
    wallet: Wallet,
    store: Store,
}

impl Town {
    /// A chain on which the miner's first coins have matured.
    pub(crate) fn new() -> Self {
        let (world, dir) = (chosen().unwrap(), tempfile::tempdir().unwrap());
        let mut store = Store::open(dir.path().join("wallet.sqlite")).unwrap();
        let master = people::seed(&people::name(Seat::Miner)).unwrap();
        let master = master.master(NetworkKind::Test).unwrap();
        let mut wallet =
            Wallet::create_or_load(&mut store, *master.xpriv(), Network::Regtest).unwrap();
        let address = wallet.next_address(&mut store).unwrap();
        let payee = |value| vec![TxOut { value, script_pubkey: address.script_pubkey() }];
        world.mine(2, &payee).unwrap();
        let town = Self { world, dir, wallet, store };
        town.mine_to(104);
        town
    }

    /// Blocks of the rest of the network, up to a height.
    pub(crate) fn mine_to(&self, height: u32) {
        mine_to(&*self.world, height);
    }

    /// A connection of its own.
    pub(crate) fn electrum(&self) -> Electrum {
        Electrum::connect(&self.world.electrum_url(), Network::Regtest).unwrap()
    }

    /// The folder of a position's dossier.
    pub(crate) fn dossier(&self, number: u32) -> PathBuf {
        self.dir.path().join(format!("position {number}"))
    }

    /// The file of somebody's store.
    pub(crate) fn file(&self, who: &str) -> PathBuf {
        self.dir.path().join(format!("{who}.sqlite"))
    }

    /// The miner at a position.
    pub(crate) fn miner(&self, number: u32, terms: &PositionTerms) -> Issuing {
        self.miner_at(number, terms, &self.dossier(number))
    }

    /// The miner with his record of position `number`, at another dossier.
    pub(crate) fn miner_at(&self, number: u32, terms: &PositionTerms, dossier: &Path) -> Issuing {
        let (store, chain) = (Store::open(self.file("miner")).unwrap(), self.electrum());
        let signer = cast::miner(number).unwrap();
        Issuing::open(Seat::Miner, terms.clone(), store, chain, signer, dossier).unwrap()
    }

    /// A validator at a position, with the store in `file`.
    pub(crate) fn validator(
        &self,
        place: u8,
        number: u32,
        terms: &PositionTerms,
        file: &Path,
    ) -> Issuing {
        self.validator_at(place, number, terms, file, &self.dossier(number))
    }

    /// A validator with his record of position `number`, at another dossier.
    pub(crate) fn validator_at(
        &self,
        place: u8,
        number: u32,
        terms: &PositionTerms,
        file: &Path,
        dossier: &Path,
    ) -> Issuing {
        let (store, seat) = (Store::open(file).unwrap(), Seat::Validator(place));
        let signer = cast::validator(place, number).unwrap();
        Issuing::open(seat, terms.clone(), store, self.electrum(), signer, dossier)
            .unwrap()
            .with_standing(cast::standing(place).unwrap(), self.world.sources().unwrap())
            .unwrap()
    }

    /// All validators at a position.
    pub(crate) fn validators(&self, number: u32, terms: &PositionTerms) -> Vec<Issuing> {
        let file = |place| self.file(&format!("validator {place}"));
        (0..VALIDATORS).map(|p| self.validator(p, number, terms, &file(p))).collect()
    }

    /// A position that is registered and asked for, with its miner and its validators.
    pub(crate) fn asked(
        &self,
        number: u32,
        heights: [u32; 3],
    ) -> (PositionTerms, Issuing, Vec<Issuing>) {
        let terms = cast::terms(number, heights).unwrap();
        let (mut miner, mut validators) =
            (self.miner(number, &terms), self.validators(number, &terms));
        enrol(&mut miner, number);
        all_well(&mut validators);
        miner.say(Event::Asked).unwrap();
        (terms, miner, validators)
    }

    /// A position of which nothing is missing but the funding: both slices are shown and receipted.
    pub(crate) fn ready(
        &self,
        number: u32,
        heights: [u32; 3],
    ) -> (PositionTerms, Issuing, Vec<Issuing>) {
        let (terms, mut miner, mut validators) = self.asked(number, heights);
        for stage in Stage::BOTH {
            let shares = self.mine(from_ref(&terms), stage, SHARES);
            miner.say(proven(&terms, stage, &shares)).unwrap();
            // Whoever gives the first receipt learns of the second in the next round.
            (0..2).for_each(|_| all_well(&mut validators));
        }
        (terms, miner, validators)
    }

    /// The same for several positions of one farm.
    pub(crate) fn ready_farm<const N: usize>(
        &self,
        heights: [u32; 3],
    ) -> [(PositionTerms, Issuing, Vec<Issuing>); N] {
        let mut all: [_; N] =
            std::array::from_fn(|place| self.asked(u32::try_from(place).unwrap() + 1, heights));
        let batch: Vec<PositionTerms> = all.iter().map(|(terms, ..)| terms.clone()).collect();
        for stage in Stage::BOTH {
            let shares = self.mine(&batch, stage, 12);
            for (terms, miner, table) in &mut all {
                miner.say(proven(terms, stage, &shares)).unwrap();
                (0..2).for_each(|_| all_well(table));
            }
        }
        all
    }

    /// Mines a stage's slice for positions of one farm, and answers with the shares.
    pub(crate) fn mine(&self, terms: &[PositionTerms], stage: Stage, count: usize) -> Vec<Share> {
        mine_slice(&*self.world, terms, stage, count)
    }

    /// Pays the issuer's script and, unless somebody forgets it, the miner's registered address.
    pub(crate) fn fund(&mut self, batch: &[PositionTerms], ours: bool) -> (Transaction, Funding) {
        let value = txs::funding(batch, RATE).unwrap();
        let script_pubkey = coins::issuer(&batch[0]).unwrap().script_pubkey;
        let mut outputs = vec![TxOut { value, script_pubkey }];
        let payers: &[PositionTerms] = if ours { &batch[..1] } else { &[] };
        self.pay(&mut outputs, payers)
    }

    /// Pays a script that anybody can compute.
    pub(crate) fn pay_to(&mut self, script_pubkey: ScriptBuf) {
        let value = script_pubkey.minimal_non_dust();
        self.pay(&mut vec![TxOut { value, script_pubkey }], &[]);
    }

    /// The same for one position, with the marks of several miners.
    pub(crate) fn fund_for(&mut self, one: &PositionTerms, payers: &[PositionTerms]) -> Funding {
        let value = txs::funding(from_ref(one), RATE).unwrap();
        let script_pubkey = coins::issuer(one).unwrap().script_pubkey;
        self.pay(&mut vec![TxOut { value, script_pubkey }], payers).1
    }

    /// Pays for an inscribed issue, and puts a parent (any coin of the issuer's script) beside it.
    pub(crate) fn fund_inscribed(&mut self, one: &PositionTerms, parent: Txid) -> Funding {
        let issuer = coins::issuer(one).unwrap().script_pubkey;
        let inscribing = coins::inscribing_issuer(one, parent).unwrap().script_pubkey;
        let fee = txs::inscription_fee(one, RATE).unwrap();
        let out = |value, script_pubkey: &ScriptBuf| TxOut {
            value,
            script_pubkey: script_pubkey.clone(),
        };
        let mut outputs = vec![out(POSTAGE, &inscribing), out(fee, &issuer), out(POSTAGE, &issuer)];
        let (tx, funding) = self.pay(&mut outputs, from_ref(one));
        let at = |vout| OutPoint::new(tx.compute_txid(), vout);
        let inscription = Inscription { parent, parent_at: at(2), fee_from: at(1), fee };
        Funding { inscription: Some(inscription), ..funding }
    }

    fn pay(
        &mut self,
        outputs: &mut Vec<TxOut>,
        payers: &[PositionTerms],
    ) -> (Transaction, Funding) {
        let mut chain = GuardedChain::new(self.electrum());
        self.wallet.sync(&mut chain, &mut self.store).unwrap();
        let value = outputs[0].value;
        for payer in payers {
            let script_pubkey = payer.reward.miner.payout_script();
            outputs.push(TxOut { value: Amount::from_sat(1_000), script_pubkey });
        }
        let rate = FeeRate::from_sat_per_vb(RATE).unwrap();
        let tx = self.wallet.fund(outputs, rate).unwrap();
        let funding = Funding::new(OutPoint::new(tx.compute_txid(), 0), value);
        self.electrum().broadcast(&tx).unwrap();
        self.world.settle().unwrap();
        (tx, funding)
    }

    /// A payment of nearly all that the miner has, which he keeps: whatever he pays now, it spends the
    /// same coins.
    pub(crate) fn everything(&mut self) -> Transaction {
        let mut chain = GuardedChain::new(self.electrum());
        self.wallet.sync(&mut chain, &mut self.store).unwrap();
        let value = Amount::from_sat(9_999_000_000);
        let script_pubkey = people::network_script().unwrap();
        let rate = FeeRate::from_sat_per_vb(RATE).unwrap();
        let tx = self.wallet.fund(&[TxOut { value, script_pubkey }], rate).unwrap();
        self.wallet.release(&tx);
        tx
    }

    /// The script of an output of any transaction.
    pub(crate) fn script_of(&self, outpoint: OutPoint) -> ScriptBuf {
        let tx = self.electrum().transaction(outpoint.txid).unwrap();
        tx.output[usize::try_from(outpoint.vout).unwrap()].script_pubkey.clone()
    }

    /// Replaces the last blocks by one more, the first of which holds `transactions`: what they spend
    /// was spent otherwise before.
    pub(crate) fn reorg_with(&self, depth: u32, transactions: Vec<Transaction>) {
        let tip = self.world.height().unwrap();
        let (lost, fork) = (self.world.block(tip).unwrap(), tip - depth);
        let branch = lost.block_hash();
        let mut parent = self.world.block(fork).unwrap().header;
        let mut left = Some(transactions);
        let script = people::network_script().unwrap();
        for height in fork + 1..=tip + 1 {
            let template = BlockTemplate {
                version: lost.header.version,
                parent: parent.block_hash(),
                height,
                time: parent.time + 600,
                bits: lost.header.bits,
                reward: subsidy(Network::Regtest, height),
                transactions: left.take().unwrap_or_default(),
            };
            let payouts = [TxOut { value: template.reward, script_pubkey: script.clone() }];
            let job = template.job(branch.as_ref(), &payouts).unwrap();
            let header = grind(&job, 0, 1_000, job.header.target()).next().unwrap();
            self.world.hand_in(&template.block(header, job.coinbase)).unwrap();
            parent = header;
        }
        self.world.settle().unwrap();
    }

    /// Blocks of the rest of the network.
    pub(crate) fn blocks(&self, count: u32) {
        self.mine_to(self.world.height().unwrap() + count);
    }
}

/// Blocks of the rest of the network, up to a height.
pub(crate) fn mine_to(world: &dyn World, height: u32) {
    let script = people::network_script().unwrap();
    let blocks = height.saturating_sub(world.height().unwrap());
    let payee = |value| vec![TxOut { value, script_pubkey: script.clone() }];
    world.mine(blocks, &payee).unwrap();
}

/// Mines a stage's slice for positions of one farm, and the blocks until it can be judged; answers with
/// the shares.
pub(crate) fn mine_slice(
    world: &dyn World,
    terms: &[PositionTerms],
    stage: Stage,
    count: usize,
) -> Vec<Share> {
    mine_to(world, stage.first(&terms[0]) - 1);
    let mut all = Vec::new();
    for _ in 0..terms[0].delivery.slice {
        let template = world.template().unwrap();
        let outputs = cast::payouts(terms, stage, template.reward).unwrap();
        let parts = u64::try_from(terms.len()).unwrap();
        let (block, shares) = cast::find(&terms[0], &template, &outputs, parts, count).unwrap();
        world.submit(&block).unwrap();
        all.extend(shares);
    }
    mine_to(world, stage.judged_from(&terms[0]));
    all
}

/// A word of the first miner's in the dossier, whatever his own store holds.
pub(crate) fn slip(town: &Town, terms: &PositionTerms, name: &str, event: Event) -> PathBuf {
    let (id, signer) = (terms.id().unwrap(), cast::miner(1).unwrap());
    let message = PositionWord::message(id, Seat::Miner, &event).unwrap();
    let signature = signer.sign_digest(message).unwrap();
    let word = PositionWord::new(id, Seat::Miner, event, signature);
    let path = town.dossier(1).join("words").join(name);
    std::fs::write(&path, word.to_json().unwrap()).unwrap();
    path
}

/// The miner proves that his address is his.
pub(crate) fn enrol(miner: &mut Issuing, number: u32) {
    let statement = miner.terms().reward.miner.record.statement().unwrap();
    let proof = cast::miner(number).unwrap().sign_text(&statement).unwrap();
    miner.say(Event::Enrolled { proof }).unwrap();
}

/// Somebody's certificate of a stage.
pub(crate) fn proven(terms: &PositionTerms, stage: Stage, shares: &[Share]) -> Event {
    let certificate = cast::certificate(terms, stage, shares).unwrap();
    match stage {
        Stage::Onboarding => Event::Onboarded(certificate),
        Stage::Binding => Event::Bound(certificate),
    }
}

/// Everybody steps once; what was refused, by rule.
pub(crate) fn step(people: &mut [Issuing]) -> Vec<&'static str> {
    let mut rules = Vec::new();
    for one in people {
        for told in one.step().unwrap() {
            if let Told::Refused(_, error) = told {
                rules.push(rule(&error));
            }
        }
    }
    rules
}

/// As [`step`], where nothing may be refused.
pub(crate) fn all_well(people: &mut [Issuing]) {
    assert_eq!(step(people), Vec::<&str>::new());
}

pub(crate) fn rule(error: &Error) -> &'static str {
    error.rule()
}
