//! What the tests of work share: a small contract, a regtest chain, shares ground for it.

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{Keypair, Secp256k1, SecretKey, XOnlyPublicKey};
use bitcoin::{
    Amount, BlockHash, CompactTarget, Network, ScriptBuf, Target, Transaction, TxIn, TxMerkleNode,
    TxOut,
};

use crate::amount::per_million;
use crate::headers::Headers;
use crate::id::PositionId;
use crate::work::agreement::{Entitlement, Profile, WorkTerms, share_target};
use crate::work::certificate::Certificate;
use crate::work::coinbase::subsidy;
use crate::work::evidence::SealedCertificate;
use crate::work::grind::grind;
use crate::work::receipt::{Receipt, Subject, message};
use crate::work::share::{Share, hash_target};
use crate::work::template::{BlockTemplate, Job};

pub(crate) const POSITION: PositionId = PositionId([7; 32]);
pub(crate) const EASIEST: u32 = 0x207f_ffff;
pub(crate) const GENESIS_TIME: u32 = 1_700_000_000;

/// Six periods of four blocks in windows of two; two slices to a period, 16 shares to a slice,
/// 75 hashes to a share.
pub(crate) fn terms() -> WorkTerms {
    let rate = 1;
    WorkTerms {
        network: Network::Regtest,
        start: 15,
        period: 4,
        periods: 6,
        window: 2,
        slice: 2,
        rate,
        target: share_target(rate, 16, 2),
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

/// A P2TR-like script that nobody owns.
pub(crate) fn script(byte: u8) -> ScriptBuf {
    let mut bytes = vec![0x51, 0x20];
    bytes.extend([byte; 32]);
    ScriptBuf::from_bytes(bytes)
}

/// A block template on `parent`, with two other transactions.
pub(crate) fn template(parent: BlockHash, height: u32, time: u32) -> BlockTemplate {
    BlockTemplate {
        version: Version::from_consensus(0x2000_0000),
        parent,
        height,
        time,
        bits: CompactTarget::from_consensus(EASIEST),
        reward: subsidy(Network::Regtest, height),
        transactions: (1..=2).map(other).collect(),
    }
}

/// Some transaction that is no coinbase.
fn other(number: u32) -> Transaction {
    Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: LockTime::from_consensus(number),
        input: vec![TxIn::default()],
        output: vec![TxOut { value: Amount::from_sat(1), script_pubkey: script(9) }],
    }
}

pub(crate) fn any_job() -> Job {
    let template = template(BlockHash::all_zeros(), 1, GENESIS_TIME);
    template.job(&[1, 2, 3], &payouts(&terms(), template.reward)).unwrap()
}

/// The whole reward to lock and service, in proportion.
pub(crate) fn payouts(terms: &WorkTerms, reward: Amount) -> Vec<TxOut> {
    let service = per_million(reward, terms.service_ppm);
    vec![
        TxOut { value: reward - service, script_pubkey: terms.lock.clone() },
        TxOut { value: service, script_pubkey: terms.service.clone() },
    ]
}

/// A header on `parent` whose hash meets regtest's target.
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

/// Regtest headers from height 0 to `tip`, `seconds` apart.
pub(crate) fn run(tip: u32, seconds: u32) -> Vec<Header> {
    let mut run: Vec<Header> = Vec::new();
    for height in 0..=tip {
        let parent = run.last().map_or(BlockHash::all_zeros(), Header::block_hash);
        run.push(mine(parent, GENESIS_TIME + height * seconds, 0));
    }
    run
}

/// That chain, read and checked.
pub(crate) fn chain(tip: u32) -> Headers {
    Headers::new(Network::Regtest, 0, run(tip, 600)).unwrap()
}

/// The job of the block at `height`, on the active chain.
pub(crate) fn job(terms: &WorkTerms, headers: &Headers, height: u32, extra: &[u8]) -> Job {
    let parent = headers.hash(height - 1).unwrap();
    let time = headers.header(height).unwrap().time;
    let template = template(parent, height, time);
    template.job(extra, &payouts(terms, template.reward)).unwrap()
}

/// The first `count` shares at `height`.
pub(crate) fn shares(
    terms: &WorkTerms,
    headers: &Headers,
    height: u32,
    count: usize,
) -> Vec<Share> {
    let job = job(terms, headers, height, b"abc");
    let all = job.coinbase.output.iter().map(|o| o.value).sum();
    let target = hash_target(terms.target, all, all);
    let found: Vec<Share> = grind(&job, 0, u64::from(u32::MAX), target)
        .take(count)
        .map(|header| Share::of(&job, header))
        .collect();
    assert_eq!(found.len(), count);
    found
}

/// A certificate of `count` shares of a slice, all at the slice's first height.
pub(crate) fn certificate(
    terms: &WorkTerms,
    headers: &Headers,
    slice: u32,
    count: usize,
) -> Certificate {
    let height = *terms.calendar().slice_blocks(slice).unwrap().start();
    Certificate::new(POSITION, slice, shares(terms, headers, height, count)).unwrap()
}

pub(crate) fn keypair(validator: u8) -> Keypair {
    let secret = SecretKey::from_slice(&[validator + 1; 32]).unwrap();
    Keypair::from_secret_key(&Secp256k1::new(), &secret)
}

pub(crate) fn ruling_keys() -> Vec<XOnlyPublicKey> {
    (0..3).map(|v| keypair(v).x_only_public_key().0).collect()
}

pub(crate) fn receipt(validator: u8, subject: Subject, tip: BlockHash) -> Receipt {
    let message = message(POSITION, &subject, tip);
    let signature = Secp256k1::new().sign_schnorr_no_aux_rand(&message, &keypair(validator));
    Receipt { validator, position: POSITION, subject, tip, signature }
}

/// A certificate with receipts of two validators at the slice's end.
pub(crate) fn sealed(
    terms: &WorkTerms,
    headers: &Headers,
    certificate: Certificate,
) -> SealedCertificate {
    let end = *terms.calendar().slice_blocks(certificate.slice).unwrap().end();
    seal_at(headers, certificate, [end, end])
}

/// A certificate with receipts of two validators at these heights.
pub(crate) fn seal_at(
    headers: &Headers,
    certificate: Certificate,
    heights: [u32; 2],
) -> SealedCertificate {
    let subject = Subject::Certificate { slice: certificate.slice, digest: certificate.digest() };
    let receipts = (0u8..)
        .zip(heights)
        .map(|(v, height)| receipt(v, subject, headers.hash(height).unwrap()))
        .collect();
    SealedCertificate { certificate, receipts }
}

/// A target of about one hash in 2^`bits`.
pub(crate) fn one_in(bits: usize) -> Target {
    let mut bytes = [0xff; 32];
    for bit in 0..bits {
        bytes[bit / 8] &= !(0x80 >> (bit % 8));
    }
    Target::from_be_bytes(bytes)
}
