//! A small contract, the people at it, and a regtest chain that exists as headers and transactions
//! alone: everything that a flow may ask about, built by hand.
//!
//! Six periods of one slice of twelve blocks, in windows of two. Eighteen shares of 400 hashes each
//! fill a period; a period is worth 10,000,000 sat. Blocks are 600 s apart, so that agreed work is
//! exactly what was agreed.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::schnorr;
use bitcoin::transaction::Version as TxVersion;
use bitcoin::{
    Amount, BlockHash, CompactTarget, Network, OutPoint, TapSighash, Target, Transaction, TxIn,
    TxOut, Txid,
};
use hashmix::error::Result;
use hashmix::facts::{Facts, Seen};
use hashmix::flow::contract::Contract;
use hashmix::flow::escrow::coins::{EscrowCoin, Progress, funding, progress};
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::flow::escrow::txs::Outcome;
use hashmix::flow::journal::{self, Bond, Entry};
use hashmix::flow::{Effect, Event, dispute, escrow, resale, reward};
use hashmix::headers::Headers;
use hashmix::party::Seat;
use hashmix::rehearsal::people::{self, Payouts};
use hashmix::script::lock::Path;
use hashmix::script::template::{Account, Variant};
use hashmix::sign::software::{LeafAccount, SoftwareSigner};
use hashmix::tx::draft::{Draft, Spend, Title};
use hashmix::work::agreement::share_target;
use hashmix::work::certificate::Certificate;
use hashmix::work::coinbase::subsidy;
use hashmix::work::grind::grind;
use hashmix::work::receipt::{self, Receipt, Subject};
use hashmix::work::share::{Share, hash_target};
use hashmix::work::template::{BlockTemplate, Job};

/// First height of the term.
pub(crate) const START: u32 = 20;
/// Height of the block that funds the escrow.
pub(crate) const FUNDED: u32 = 14;
/// Shares that fill a period.
pub(crate) const FULL: usize = 18;
/// What a full period earns, in satoshis.
pub(crate) const INSTALLMENT: u64 = 10_000_000;

const NETWORK: Network = Network::Regtest;
const EASIEST: u32 = 0x207f_ffff;

/// Everybody at the table.
pub(crate) const SEATS: [Seat; 5] =
    [Seat::Miner, Seat::Holder, Seat::Validator(0), Seat::Validator(1), Seat::Validator(2)];

thread_local! {
    static SIGNERS: BTreeMap<Seat, &'static SoftwareSigner> = SEATS
        .into_iter()
        .map(|seat| (seat, &*Box::leak(Box::new(people::signer(seat, NETWORK).unwrap()))))
        .collect();
}

static TERMS: LazyLock<EscrowTerms> = LazyLock::new(|| agreed(Variant::Musig));

/// A seat's signer.
pub(crate) fn signer(seat: Seat) -> &'static SoftwareSigner {
    SIGNERS.with(|signers| signers[&seat])
}

/// The small contract.
pub(crate) fn terms() -> EscrowTerms {
    TERMS.clone()
}

/// The small contract, with or without a key path.
pub(crate) fn agreed(variant: Variant) -> EscrowTerms {
    let address = |seat| signer(seat).address();
    let payouts = Payouts {
        miner: address(Seat::Miner),
        holder: address(Seat::Holder),
        federation: address(Seat::Validator(0)),
    };
    let mut terms = people::terms(variant, START, &payouts).unwrap();
    let delivery = &mut terms.delivery;
    (delivery.rate, delivery.expected) = (1, 18);
    delivery.target = share_target(delivery.rate, delivery.expected, delivery.slice);
    terms.check().unwrap();
    terms
}

/// A chain without a node: headers that hang together, and the transactions that matter.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) terms: EscrowTerms,
    headers: Vec<Header>,
    pub(crate) transactions: BTreeMap<Txid, Seen>,
}

impl World {
    /// A chain up to `tip`, no escrow funded yet.
    pub(crate) fn unfunded(terms: EscrowTerms, tip: u32) -> Self {
        let mut world = Self { terms, headers: Vec::new(), transactions: BTreeMap::new() };
        world.mine_to(tip);
        world
    }

    /// A chain up to `tip`, the escrow funded at [`FUNDED`].
    pub(crate) fn funded(terms: EscrowTerms, tip: u32) -> Self {
        let mut world = Self::unfunded(terms, FUNDED - 1);
        world.fund();
        world.mine_to(tip);
        world
    }

    /// Puts a funding transaction into the mempool.
    pub(crate) fn fund(&mut self) {
        let somebody = OutPoint::new(Txid::from_byte_array([9; 32]), 0);
        let tx = Transaction {
            version: TxVersion::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn { previous_output: somebody, ..TxIn::default() }],
            output: vec![funding(&self.terms).unwrap()],
        };
        self.send(tx);
    }

    /// Puts a transaction into the mempool.
    pub(crate) fn send(&mut self, tx: Transaction) {
        self.transactions.insert(tx.compute_txid(), Seen { tx, height: None });
    }

    /// Height of the tip.
    pub(crate) fn tip(&self) -> u32 {
        u32::try_from(self.headers.len()).unwrap() - 1
    }

    /// Mines until `tip`; the first block takes what waits in the mempool.
    pub(crate) fn mine_to(&mut self, tip: u32) {
        while self.headers.len() <= usize::try_from(tip).unwrap() {
            self.mine();
        }
    }

    fn mine(&mut self) {
        let height = u32::try_from(self.headers.len()).unwrap();
        let job = self.job(height, b"block");
        let easiest = Target::from_compact(CompactTarget::from_consensus(EASIEST));
        let header = grind(&job, 0, u64::from(u32::MAX), easiest).next().unwrap();
        self.headers.push(header);
        for seen in self.transactions.values_mut() {
            seen.height = seen.height.or(Some(height));
        }
        if height >= START {
            let coinbase = Seen { tx: job.coinbase.clone(), height: Some(height) };
            self.transactions.insert(job.coinbase.compute_txid(), coinbase);
        }
    }

    /// Takes the last blocks away, and with them their coinbases; what else they held waits again.
    pub(crate) fn rewind_to(&mut self, tip: u32) {
        self.headers.truncate(usize::try_from(tip).unwrap() + 1);
        let gone = |seen: &Seen| seen.height.is_some_and(|height| height > tip);
        self.transactions.retain(|_, seen| !(gone(seen) && seen.tx.is_coinbase()));
        for seen in self.transactions.values_mut().filter(|seen| gone(seen)) {
            seen.height = None;
        }
    }

    fn job(&self, height: u32, extra: &[u8]) -> Job {
        let place = usize::try_from(height).unwrap();
        let parent = place.checked_sub(1).map(|place| self.headers[place].block_hash());
        let template = BlockTemplate {
            version: Version::from_consensus(0x2000_0000),
            parent: parent.unwrap_or(BlockHash::all_zeros()),
            height,
            time: 1_700_000_000 + 600 * height,
            bits: CompactTarget::from_consensus(EASIEST),
            reward: subsidy(NETWORK, height),
            transactions: Vec::new(),
        };
        let payouts = reward::coins::payouts(&self.terms.reward, template.reward).unwrap();
        template.job(extra, &payouts).unwrap()
    }

    /// The chain as everybody sees it.
    pub(crate) fn facts(&self) -> Facts {
        let headers = Headers::new(NETWORK, 0, self.headers.clone()).unwrap();
        Facts { headers, transactions: self.transactions.clone() }
    }

    /// `count` shares of a slice, all at its first height.
    pub(crate) fn certificate(&self, slice: u32, count: usize) -> Certificate {
        let height = *self.terms.calendar().slice_blocks(slice).unwrap().start();
        let job = self.job(height, b"share");
        let total: Amount = job.coinbase.output.iter().map(|out| out.value).sum();
        let target = hash_target(self.terms.delivery.target, total, total);
        let shares: Vec<Share> = grind(&job, 0, u64::from(u32::MAX), target)
            .take(count)
            .map(|header| Share::of(&job, header))
            .collect();
        assert_eq!(shares.len(), count);
        Certificate::new(self.terms.position().unwrap(), slice, shares).unwrap()
    }

    /// A receipt of a validator who had the tip at `height`.
    pub(crate) fn receipt(&self, validator: u8, subject: Subject, height: u32) -> Receipt {
        let position = self.terms.position().unwrap();
        let tip = self.headers[usize::try_from(height).unwrap()].block_hash();
        let message = receipt::message(position, &subject, tip);
        let signature = signer(Seat::Validator(validator)).sign_digest(*message.as_ref()).unwrap();
        Receipt { validator, position, subject, tip, signature }
    }

    /// The escrow's present output.
    pub(crate) fn coin(&self) -> EscrowCoin {
        match progress(&self.terms, &self.facts()).unwrap() {
            Progress::Open(coin) => coin,
            other => panic!("no open escrow: {other:?}"),
        }
    }
}

/// An escrow output of index `index` that holds `value`, somewhere.
pub(crate) fn coin_of(terms: &EscrowTerms, index: u32, value: Amount) -> EscrowCoin {
    let txid = Txid::from_byte_array(sha256::Hash::hash(&index.to_le_bytes()).to_byte_array());
    let lock = escrow::coins::lock(terms, index).unwrap();
    EscrowCoin { outpoint: OutPoint::new(txid, 1), index, value, height: Some(50), lock }
}

/// An outcome through a period (0-based).
pub(crate) fn outcome(period: u32, earned: u64, closes: bool) -> Outcome {
    Outcome { period, earned: Amount::from_sat(earned), closes }
}

/// Signs every input of a draft with the seat's key of its leaf.
pub(crate) fn sign(draft: &Draft, seat: Seat) -> Vec<schnorr::Signature> {
    sign_each(draft.spends(), |input| draft.sighash(input), seat)
}

fn sign_each(
    spends: &[Spend],
    sighash: impl Fn(usize) -> Result<[u8; 32]>,
    seat: Seat,
) -> Vec<schnorr::Signature> {
    (0..)
        .zip(spends)
        .map(|(input, spend)| {
            let leaf = spend.lock.leaf(spend.path).unwrap();
            let key = leaf.keys.iter().find(|key| key.seat == seat).expect("a key of the leaf");
            let account = match key.account {
                Account::Exit => LeafAccount::Exit,
                Account::Leaf | Account::Musig => LeafAccount::Leaf,
            };
            let sighash = TapSighash::from_byte_array(sighash(input).unwrap());
            signer(seat).sign_leaf(account, &key.steps, sighash).unwrap().1
        })
        .collect()
}

/// A transaction that an effect has sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) title: Title,
    pub(crate) tx: Transaction,
    pub(crate) fee: Amount,
    pub(crate) path: Path,
    pub(crate) signers: Vec<Seat>,
}

/// One contract, its chain, and every word in the order in which it was said.
#[derive(Clone)]
pub(crate) struct Play {
    pub(crate) world: World,
    pub(crate) contract: Contract,
    pub(crate) said: Vec<(Seat, Event)>,
}

impl Play {
    /// A contract on a chain; nothing was said yet.
    pub(crate) fn on(world: World) -> Self {
        let contract = Contract::new(world.terms.clone()).unwrap();
        Self { world, contract, said: Vec::new() }
    }

    /// The escrow is funded; the chain has reached `tip`.
    pub(crate) fn funded(tip: u32) -> Self {
        Self::on(World::funded(terms(), tip))
    }

    /// Refuses a word, or takes it.
    pub(crate) fn say(&mut self, from: Seat, event: Event) -> Result<()> {
        self.contract.admit(&self.world.facts(), from, &event)?;
        self.contract.apply(from, &event).unwrap();
        self.said.push((from, event));
        Ok(())
    }

    /// The rule by which a word is refused, or "admitted".
    pub(crate) fn judge(&self, from: Seat, event: &Event) -> &'static str {
        match self.contract.admit(&self.world.facts(), from, event) {
            Ok(()) => "admitted",
            Err(error) => error.rule(),
        }
    }

    /// What a seat does now.
    pub(crate) fn next(&self, seat: Seat) -> Vec<Effect> {
        self.contract.next(&self.world.facts(), seat).unwrap()
    }

    /// What a seat does now, as text.
    pub(crate) fn told(&self, seat: Seat) -> String {
        format!("{:#?}", self.next(seat))
    }

    /// Mines through a slice; the miner proves `count` shares of it and two validators receipt.
    pub(crate) fn deliver(&mut self, slice: u32, count: usize) {
        let end = *self.world.terms.calendar().slice_blocks(slice).unwrap().end();
        self.world.mine_to(end);
        let certificate = self.world.certificate(slice, count);
        self.say(Seat::Miner, Event::Reward(reward::state::Event::Certified(certificate))).unwrap();
        for place in [0, 1] {
            self.act(Seat::Validator(place));
        }
    }

    /// Mines to the height from which a period (0-based) is settled.
    pub(crate) fn ripen(&mut self, period: u32) {
        let ripe = self.world.terms.ruling_height(period).unwrap();
        self.world.mine_to(ripe);
    }

    /// Does what the seat has to do until only waiting is left; what it sends enters the mempool.
    pub(crate) fn act(&mut self, seat: Seat) -> Vec<Sent> {
        let mut sent = Vec::new();
        for _ in 0..100 {
            let effect = self.next(seat).into_iter().find(|effect| match effect {
                Effect::Broadcast { tx, .. } => {
                    !self.world.transactions.contains_key(&tx.compute_txid())
                }
                Effect::Wait { .. } | Effect::Decline(_) => false,
                _ => true,
            });
            match effect {
                None => return sent,
                Some(Effect::Sign { draft, task }) => {
                    let sighash = |spend| draft.sighash(spend);
                    let signatures = sign_each(draft.spends(), sighash, seat);
                    self.say(seat, task.word(signatures)).unwrap();
                }
                Some(Effect::Say(event)) => self.say(seat, event).unwrap(),
                Some(Effect::Enter { bond, .. }) => {
                    let entry = self.entry(seat, bond);
                    let tip = self.world.facts().headers.hash(self.world.tip()).unwrap();
                    self.say(seat, Event::Journal(journal::Event::Entered { entry, tip })).unwrap();
                    self.witness(seat);
                }
                Some(Effect::Receipt(subject)) => {
                    let Seat::Validator(place) = seat else { panic!("{seat} receipts") };
                    let receipt = self.world.receipt(place, subject, self.world.tip());
                    let event = match subject {
                        Subject::Certificate { .. } | Subject::Request { .. } => {
                            Event::Reward(reward::state::Event::Receipted(receipt))
                        }
                        Subject::Resale { .. } => {
                            Event::Resale(resale::state::Event::Receipted(receipt))
                        }
                        _ => Event::Dispute(dispute::state::Event::Receipted(receipt)),
                    };
                    self.say(seat, event).unwrap();
                }
                Some(Effect::Broadcast { title, tx, fee, path, signers }) => {
                    self.world.send(tx.clone());
                    sent.push(Sent { title, tx, fee, path, signers });
                }
                Some(_) => unreachable!("the rest is left out"),
            }
        }
        panic!("{seat} never comes to rest: {}", self.told(seat));
    }

    /// The next entry of a validator's journal.
    pub(crate) fn entry(&self, seat: Seat, bond: Bond) -> Entry {
        let Seat::Validator(place) = seat else { panic!("{seat} has no journal") };
        let (number, previous) = self.contract.journals().head(place);
        let id = self.contract.id();
        let digest = journal::digest(id, place, number, previous, &bond).unwrap();
        let signature = signer(seat).sign_digest(digest.0).unwrap();
        Entry { number, previous, bond, signature }
    }

    /// The next validator holds what this one has entered.
    pub(crate) fn witness(&mut self, of: Seat) {
        let Seat::Validator(place) = of else { panic!("{of} has no journal") };
        let witness = Seat::Validator((place + 1) % 3);
        let word = self.next(witness).into_iter().find_map(|effect| match effect {
            Effect::Say(Event::Journal(event)) => match event {
                journal::Event::Witnessed { validator, .. } if validator == place => Some(event),
                _ => None,
            },
            _ => None,
        });
        self.say(witness, Event::Journal(word.expect("an entry to witness"))).unwrap();
    }

    /// A request of the miner for the present output, as the evidence says.
    pub(crate) fn ask(&self, period: u32) -> escrow::state::Ask {
        let facts = self.world.facts();
        let evidence = self.contract.evidence();
        let outcome =
            escrow::outcome::outcome(&self.world.terms, &facts, evidence, period).unwrap();
        escrow::state::Ask { outpoint: self.world.coin().outpoint, outcome, sat_per_vb: 2 }
    }

    /// An opening by a side on the present output.
    pub(crate) fn opening(&self, requester: Seat, period: u32) -> dispute::state::Opening {
        let outpoint = self.world.coin().outpoint;
        dispute::state::Opening { requester, outpoint, period, sat_per_vb: 2 }
    }
}

/// The outputs of a transaction, as script and satoshis.
pub(crate) fn paid(tx: &Transaction) -> Vec<(&bitcoin::Script, u64)> {
    tx.output.iter().map(|out: &TxOut| (&*out.script_pubkey, out.value.to_sat())).collect()
}
