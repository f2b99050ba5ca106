//! A year on regtest, built once: 365 periods of 144 blocks, a certificate of 30 shares for each
//! slice of 12, receipts of two validators for each, and a request for a ruling at the end of it.
//!
//! Targets are easy (a share is one hash in 240, a block one in two); what is verified is as long as
//! on mainnet: a coinbase of some 230 bytes, a branch of twelve levels.

use std::collections::BTreeMap;
use std::thread;

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::transaction::Version as TxVersion;
use bitcoin::{
    Amount, BlockHash, CompactTarget, Network, OutPoint, Script, Transaction, TxIn, TxMerkleNode,
    TxOut, Txid,
};
use hashmix::amount::per_million;
use hashmix::facts::{Facts, Seen};
use hashmix::flow::dispute::state::{Event as DisputeEvent, Opening};
use hashmix::flow::escrow::coins::{Locked, funding};
use hashmix::flow::escrow::terms::{Delays, Delivery, EscrowTerms, Fees, TERMS_FORMAT};
use hashmix::flow::reward::coins;
use hashmix::flow::reward::state::Event as RewardEvent;
use hashmix::flow::reward::terms::RewardTerms;
use hashmix::flow::{Event, dispute};
use hashmix::headers::Headers;
use hashmix::id::PositionId;
use hashmix::party::{Federation, Record, Role, Seat};
use hashmix::script::template::Variant;
use hashmix::sign::record::record;
use hashmix::sign::seed::Seed;
use hashmix::sign::software::SoftwareSigner;
use hashmix::work::agreement::{Entitlement, Profile, share_target};
use hashmix::work::certificate::Certificate;
use hashmix::work::coinbase::subsidy;
use hashmix::work::grind::grind;
use hashmix::work::receipt::{self, Receipt, Subject};
use hashmix::work::share::{Share, hash_target};
use hashmix::work::template::{BlockTemplate, Job, fold_branch};

/// Periods of a year.
pub const PERIODS: u32 = 365;
/// Shares of a slice.
pub const SHARES: usize = 30;
/// Levels of a branch: 2,049 to 4,096 transactions.
const LEVELS: u8 = 12;
/// First height of the term.
const START: u32 = 24;
/// Height of the block that funds the escrow.
const FUNDED: u32 = 14;
/// Price of a period, in satoshis.
const INSTALLMENT: u64 = 400_000;

const NETWORK: Network = Network::Regtest;
const BITS: u32 = 0x207f_ffff;
const CONTRACT: &str = "a year";

/// Everything about one year.
pub struct Year {
    /// What was agreed.
    pub terms: EscrowTerms,
    /// Headers of the year, the escrow's funding.
    pub facts: Facts,
    /// One certificate a slice.
    pub certificates: Vec<Certificate>,
    /// Two receipts a certificate.
    pub receipts: Vec<Receipt>,
    /// The miner's request for a ruling through the last period, which two validators have seen.
    pub opening: Opening,
}

/// The signer in a seat.
pub fn signer(seat: Seat) -> SoftwareSigner {
    let entropy = match seat {
        Seat::Miner => [1; 16],
        Seat::Holder => [2; 16],
        Seat::Validator(place) => [3 + place; 16],
    };
    let seed = Seed::from_entropy(&entropy, "").expect("a seed");
    SoftwareSigner::new(seed.record(NETWORK, 0).expect("a record"), NETWORK).expect("a signer")
}

impl Year {
    /// Builds it; most of the time goes into grinding.
    pub fn build() -> Self {
        let terms = terms();
        let calendar = terms.calendar();
        let tip = calendar.ruled_from(PERIODS - 1).expect("the last period") + terms.delays.answer;
        let headers = chain(tip);
        let position = terms.position().expect("terms have an id");
        let certificates = ground(&terms, &headers, position);
        let signers = [0, 1].map(|place| signer(Seat::Validator(place)));
        let mut receipts = Vec::new();
        for certificate in &certificates {
            let end = *calendar.slice_blocks(certificate.slice).expect("a slice").end();
            let (slice, digest) = (certificate.slice, certificate.digest());
            let subject = Subject::Certificate { slice, digest };
            for (place, signer) in (0u8..).zip(&signers) {
                receipts.push(sign(signer, place, position, subject, &headers, end));
            }
        }
        let funded = Transaction {
            version: TxVersion::TWO,
            lock_time: LockTime::ZERO,
            input: vec![spending(OutPoint::new(Txid::from_byte_array([9; 32]), 0))],
            output: vec![funding(&terms).expect("a lock")],
        };
        let outpoint = OutPoint::new(funded.compute_txid(), 0);
        let seen = Seen { tx: funded, height: Some(FUNDED) };
        let transactions = BTreeMap::from([(outpoint.txid, seen)]);
        let opening =
            Opening { requester: Seat::Miner, outpoint, period: PERIODS - 1, sat_per_vb: 2 };
        Self { terms, facts: Facts { headers, transactions }, certificates, receipts, opening }
    }

    /// What was said about work: each certificate, then its receipts.
    pub fn words(&self) -> Vec<(Seat, Event)> {
        let mut words = Vec::new();
        for (certificate, receipts) in self.certificates.iter().zip(self.receipts.chunks(2)) {
            let said = RewardEvent::Certified(certificate.clone());
            words.push((Seat::Miner, Event::Reward(said)));
            for receipt in receipts {
                let said = RewardEvent::Receipted(receipt.clone());
                words.push((Seat::Validator(receipt.validator), Event::Reward(said)));
            }
        }
        words
    }

    /// The request for a ruling, and the receipts that open the dispute an answer span before the tip.
    pub fn request(&self, opening: Opening) -> Vec<(Seat, Event)> {
        let digest = opening.id().expect("an id").0;
        let position = self.terms.position().expect("terms have an id");
        let height = self.facts.tip() - self.terms.delays.answer;
        let mut words = vec![(Seat::Miner, Event::Dispute(DisputeEvent::Opened(opening)))];
        for place in [0, 1] {
            let subject = Subject::Opening { digest };
            let seat = Seat::Validator(place);
            let receipt =
                sign(&signer(seat), place, position, subject, &self.facts.headers, height);
            words.push((seat, Event::Dispute(dispute::state::Event::Receipted(receipt))));
        }
        words
    }

    /// The same chain, but settled after every period except the last, and the request about the
    /// output that is left.
    pub fn settled(&self) -> (Facts, Opening) {
        let (mut facts, mut opening) = (self.facts.clone(), self.opening);
        let locked = Locked::new(self.terms.clone()).expect("locks");
        let mut value = self.terms.price;
        for (period, script) in (0..PERIODS - 1).zip(locked.scripts().skip(1).cloned()) {
            value = value.checked_sub(Amount::from_sat(INSTALLMENT)).expect("a rest");
            let relock = TxOut { value, script_pubkey: script };
            let paid = Amount::from_sat(INSTALLMENT - 10_000);
            let miner = self.terms.reward.miner.payout_script();
            let tx = Transaction {
                version: TxVersion(3),
                lock_time: LockTime::ZERO,
                input: vec![spending(opening.outpoint)],
                output: vec![TxOut { value: paid, script_pubkey: miner }, relock],
            };
            let height = self.terms.ruling_height(period).expect("a period") + 1;
            opening.outpoint = OutPoint::new(tx.compute_txid(), 1);
            facts.transactions.insert(opening.outpoint.txid, Seen { tx, height: Some(height) });
        }
        (facts, opening)
    }
}

fn spending(previous_output: OutPoint) -> TxIn {
    TxIn { previous_output, ..TxIn::default() }
}

fn sign(
    signer: &SoftwareSigner,
    validator: u8,
    position: PositionId,
    subject: Subject,
    headers: &Headers,
    height: u32,
) -> Receipt {
    let tip = headers.hash(height).expect("a height of the year");
    let message = receipt::message(position, &subject, tip);
    let signature = signer.sign_digest(*message.as_ref()).expect("a signature");
    Receipt { validator, position, subject, tip, signature }
}

fn terms() -> EscrowTerms {
    let records = |seat, role| -> Record {
        let signer = signer(seat);
        let payout = signer.address().into_unchecked();
        record(&signer, role, NETWORK, CONTRACT, payout).expect("a record")
    };
    let validators = (0..3).map(|n| records(Seat::Validator(n), Role::Validator)).collect();
    let payout = signer(Seat::Validator(0)).address().into_unchecked();
    let expected = u32::try_from(SHARES).expect("few");
    let terms = EscrowTerms {
        format: TERMS_FORMAT.to_owned(),
        profile: Profile::Regtest,
        reward: RewardTerms {
            network: NETWORK,
            contract: CONTRACT.to_owned(),
            variant: Variant::Musig,
            miner: records(Seat::Miner, Role::Miner),
            holder: records(Seat::Holder, Role::Holder),
            federation: Federation { threshold: 2, validators, payout },
            exit_delay: 144,
            service_ppm: 300_000,
        },
        price: Amount::from_sat(INSTALLMENT * u64::from(PERIODS)),
        delivery: Delivery {
            start: START,
            period: 144,
            periods: PERIODS,
            window: 14,
            slice: 12,
            rate: 1,
            target: share_target(1, expected, 12),
            expected,
            rule: Entitlement::ProRata,
            coinbase_cap: Amount::from_sat(100_000_000),
            receipt_span: 36,
            proof_span: 42,
            ruling_depth: 144,
        },
        delays: Delays {
            state_depth: 6,
            relock: 2_016,
            grace: 12_960,
            miner_exit: 52_560,
            answer: 144,
            quiet: 432,
            late_dispute: 1_584,
        },
        fees: Fees { floor: 2, cap: 50, ruling: Amount::from_sat(20_000) },
        tenure: None,
    };
    terms.check().expect("terms that hang together");
    terms
}

fn chain(tip: u32) -> Headers {
    let mut run: Vec<Header> = Vec::new();
    for height in 0..=tip {
        let mut header = Header {
            version: Version::from_consensus(0x2000_0000),
            prev_blockhash: run.last().map_or(BlockHash::all_zeros(), Header::block_hash),
            merkle_root: TxMerkleNode::all_zeros(),
            time: 1_600_000_000 + height * 600,
            bits: CompactTarget::from_consensus(BITS),
            nonce: 0,
        };
        while header.validate_pow(header.target()).is_err() {
            header.nonce += 1;
        }
        run.push(header);
    }
    Headers::new(NETWORK, 0, run).expect("a chain")
}

/// A certificate for each slice, ground on every core.
fn ground(terms: &EscrowTerms, headers: &Headers, position: PositionId) -> Vec<Certificate> {
    let lock = coins::lock(&terms.reward).expect("a lock").script_pubkey;
    let lock = lock.as_script();
    let slices: Vec<u32> = (0..terms.calendar().slices()).collect();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let parts: Vec<_> = slices
            .chunks(slices.len().div_ceil(cores))
            .map(|part| {
                scope.spawn(move || {
                    let make = |slice: &u32| certificate(terms, lock, headers, position, *slice);
                    part.iter().map(make).collect::<Vec<_>>()
                })
            })
            .collect();
        parts.into_iter().flat_map(|part| part.join().expect("a miner")).collect()
    })
}

/// The shares of a slice, as even over its heights as they go.
fn certificate(
    terms: &EscrowTerms,
    lock: &Script,
    headers: &Headers,
    position: PositionId,
    slice: u32,
) -> Certificate {
    let blocks = terms.calendar().slice_blocks(slice).expect("a slice");
    let mut shares = Vec::new();
    for (place, height) in blocks.enumerate() {
        let job = job(terms, lock, headers, height);
        let all = job.coinbase.output.iter().map(|out| out.value).sum();
        let target = hash_target(terms.delivery.target, all, all);
        let count = SHARES * (place + 1) / 12 - SHARES * place / 12;
        let found = grind(&job, 0, u64::MAX, target).take(count);
        shares.extend(found.map(|header| Share::of(&job, header)));
    }
    Certificate::new(position, slice, shares).expect("different shares")
}

fn job(terms: &EscrowTerms, lock: &Script, headers: &Headers, height: u32) -> Job {
    let template = BlockTemplate {
        version: Version::from_consensus(0x2000_0000),
        parent: headers.hash(height - 1).expect("a parent"),
        height,
        time: headers.header(height).expect("a block").time,
        bits: CompactTarget::from_consensus(BITS),
        // The subsidy of regtest ends within the year; fees do not.
        reward: subsidy(NETWORK, height) + Amount::from_sat(1_000_000),
        transactions: Vec::new(),
    };
    let service = per_million(template.reward, terms.reward.service_ppm);
    let payouts = [
        TxOut { value: template.reward - service, script_pubkey: lock.to_owned() },
        TxOut { value: service, script_pubkey: terms.reward.miner.payout_script() },
    ];
    let mut job = template.job(&[7; 34], &payouts).expect("a job");
    job.branch = (0..LEVELS)
        .map(|level| TxMerkleNode::hash(&[height.to_le_bytes().as_slice(), &[level]].concat()))
        .collect();
    job.header.merkle_root = fold_branch(job.coinbase.compute_txid(), &job.branch);
    job
}
