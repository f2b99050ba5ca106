//! A small contract on a regtest chain that exists as headers alone.

use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::{
    Amount, BlockHash, CompactTarget, Network, ScriptBuf, Transaction, TxIn, TxMerkleNode, TxOut,
};
use hashmix::amount::per_million;
use hashmix::headers::Headers;
use hashmix::id::PositionId;
use hashmix::work::agreement::{Entitlement, Profile, WorkTerms, share_target};
use hashmix::work::certificate::Certificate;
use hashmix::work::coinbase::subsidy;
use hashmix::work::grind::grind;
use hashmix::work::share::Share;
use hashmix::work::template::{BlockTemplate, Job};

/// The position.
pub(crate) const POSITION: PositionId = PositionId([7; 32]);
/// The easiest target of regtest.
pub(crate) const EASIEST: u32 = 0x207f_ffff;
/// Time of the first block; one follows every 600 s.
pub(crate) const GENESIS_TIME: u32 = 1_700_000_000;
/// First height of the term.
pub(crate) const START: u32 = 15;
/// Height of the last block.
pub(crate) const TIP: u32 = 60;
/// What a block pays.
pub(crate) const REWARD: u64 = 5_000_000_000;

/// Six periods of four blocks in windows of two; two slices to a period, 16 shares to a slice, 75
/// hashes to a share.
pub(crate) fn terms() -> WorkTerms {
    WorkTerms {
        network: Network::Regtest,
        start: START,
        period: 4,
        periods: 6,
        window: 2,
        slice: 2,
        rate: 1,
        target: share_target(1, 16, 2),
        expected: 16,
        lock: script(1),
        first: 0,
        earlier: Vec::new(),
        service: script(2),
        service_ppm: 300_000,
        cap: Amount::from_sat(10_000),
        receipt_span: 3,
        proof_span: 5,
        ruling_depth: 8,
        rule: Entitlement::ProRata,
    }
    .check(Profile::Regtest)
    .unwrap()
}

/// A script of nobody.
pub(crate) fn script(byte: u8) -> ScriptBuf {
    ScriptBuf::from_bytes([vec![0x51, 0x20], vec![byte; 32]].concat())
}

/// An output.
pub(crate) fn out(sat: u64, script_pubkey: ScriptBuf) -> TxOut {
    TxOut { value: Amount::from_sat(sat), script_pubkey }
}

/// Lock and service in proportion of `paid`, then the rest of `total` to somebody else.
pub(crate) fn pay(paid: u64, total: u64) -> Vec<TxOut> {
    let service = per_million(Amount::from_sat(paid), terms().service_ppm).to_sat();
    let mut outputs = vec![out(paid - service, script(1)), out(service, script(2))];
    if total > paid {
        outputs.push(out(total - paid, script(9)));
    }
    outputs
}

/// A header that regtest accepts.
pub(crate) fn mine(parent: BlockHash, time: u32, mark: u8) -> Header {
    let mut header = Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: parent,
        merkle_root: TxMerkleNode::from_byte_array([mark; 32]),
        time,
        bits: CompactTarget::from_consensus(EASIEST),
        nonce: 0,
    };
    while header.validate_pow(header.target()).is_err() {
        header.nonce += 1;
    }
    header
}

/// The headers up to `tip`, those above `fork` marked.
pub(crate) fn run(tip: u32, fork: u32, mark: u8) -> Vec<Header> {
    let mut run: Vec<Header> = Vec::new();
    for height in 0..=tip {
        let parent = run.last().map_or(BlockHash::all_zeros(), Header::block_hash);
        let mark = if height > fork { mark } else { 0 };
        run.push(mine(parent, GENESIS_TIME + height * 600, mark));
    }
    run
}

/// The chain up to `tip`.
pub(crate) fn chain(tip: u32) -> Headers {
    Headers::new(Network::Regtest, 0, run(tip, tip, 0)).unwrap()
}

/// The chain that is the other one's up to `fork`.
pub(crate) fn forked(fork: u32) -> Headers {
    Headers::new(Network::Regtest, 0, run(TIP, fork, 9)).unwrap()
}

/// The template of the block at `height`, with two other transactions.
pub(crate) fn template(headers: &Headers, height: u32) -> BlockTemplate {
    let other = |lock: u32| Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::from_consensus(lock),
        input: vec![TxIn::default()],
        output: vec![out(1, script(9))],
    };
    BlockTemplate {
        version: Version::from_consensus(0x2000_0000),
        parent: headers.hash(height - 1).unwrap(),
        height,
        time: headers.header(height).unwrap().time,
        bits: CompactTarget::from_consensus(EASIEST),
        reward: subsidy(Network::Regtest, height),
        transactions: (1..=2).map(other).collect(),
    }
}

/// The job of the block at `height`, all of which pays the contract.
pub(crate) fn job(headers: &Headers, height: u32) -> Job {
    template(headers, height).job(b"xyz", &pay(REWARD, REWARD)).unwrap()
}

/// The first shares at `height`.
pub(crate) fn shares(headers: &Headers, height: u32, count: usize) -> Vec<Share> {
    let job = job(headers, height);
    let found = grind(&job, 0, u64::from(u32::MAX), terms().target);
    found.take(count).map(|header| Share::of(&job, header)).collect()
}

/// A certificate of so many shares, all at the first height of the slice.
pub(crate) fn certificate(headers: &Headers, slice: u32, count: usize) -> Certificate {
    let height = *terms().calendar().slice_blocks(slice).unwrap().start();
    Certificate::new(POSITION, slice, shares(headers, height, count)).unwrap()
}
