//! What verifying a share costs, as a ratio that travels between machines: share verifications per
//! second over (SHA-256 compressions per second of the `sha2` crate / compressions in a share).
//!
//! 1.00 would be a verifier that does nothing but compress, at the speed of one long message. All
//! kernels are measured in the same run, in turns, so that a busy or throttled machine hits them
//! alike; the median over the rounds is printed. `cargo bench --bench share_verification`

mod turns;

use std::hint::black_box;

use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::{
    Amount, BlockHash, CompactTarget, Network, ScriptBuf, Transaction, TxMerkleNode, Txid,
};
use hashmix::amount::per_million;
use hashmix::headers::Headers;
use hashmix::work::agreement::{Entitlement, Profile, WorkTerms, share_target};
use hashmix::work::coinbase::subsidy;
use hashmix::work::hash;
use hashmix::work::share::{Share, prove, weigh, weigh_all};
use hashmix::work::template::fold_branch;
use sha2::compress256;
use sha2::digest::consts::U64;
use sha2::digest::generic_array::GenericArray;
use turns::{middle, per_second};

/// Bytes of the coinbase: height, 34 bytes of extra nonce, two P2TR outputs.
const COINBASE: usize = 175;
/// Levels of the branch: 2,049 to 4,096 transactions.
const LEVELS: usize = 12;
/// Header 3, coinbase 3 + 1, branch 3 a level.
const COMPRESSIONS: u64 = 3 + 4 + 3 * LEVELS as u64;
const SHARES: usize = 256;
const HEIGHT: u32 = 20;
const ROUNDS: usize = 41;
const BITS: u32 = 0x207f_ffff;

fn main() {
    let headers = chain();
    let terms = terms();
    let shares: Vec<Share> = (0..SHARES).map(|i| share(i, &terms, &headers)).collect();
    let median = headers.median_time_past(HEIGHT - 1).expect("headers are at hand");
    for share in &shares {
        assert_eq!(share.coinbase.len(), COINBASE);
        weigh(share, &terms, &headers).expect("the share counts");
    }
    let blocks = [GenericArray::<u8, U64>::default(); 64];
    let demand = terms.demand(0);

    let mut kernels: [(&str, &mut dyn FnMut() -> u64); 6] = [
        ("sha2 compressions, one long message", &mut || {
            let mut state = [1u32; 8];
            compress256(&mut state, black_box(&blocks));
            black_box(state);
            64
        }),
        ("share, rules 2-5", &mut || {
            for share in &shares {
                let _ = black_box(prove(black_box(share), HEIGHT, median, &demand));
            }
            SHARES as u64
        }),
        ("share, rules 1-5", &mut || {
            for share in &shares {
                let _ = black_box(weigh(black_box(share), &terms, &headers));
            }
            SHARES as u64
        }),
        ("shares of a certificate, rules 1-5", &mut || {
            black_box(weigh_all(black_box(&shares), &terms, &headers));
            SHARES as u64
        }),
        ("share, hashes alone", &mut || {
            for share in &shares {
                black_box(hash::header(black_box(&share.header)));
                black_box(hash::fold(hash::double(&share.coinbase), &share.branch));
            }
            SHARES as u64
        }),
        ("share, rust-bitcoin's types", &mut || {
            for share in &shares {
                black_box(plain(black_box(share)));
            }
            SHARES as u64
        }),
    ];

    let mut speeds = vec![Vec::new(); kernels.len()];
    for _ in 0..ROUNDS {
        for ((_, kernel), speeds) in kernels.iter_mut().zip(&mut speeds) {
            speeds.push(per_second(*kernel));
        }
    }
    let limits: Vec<u64> = speeds[0].iter().map(|s| s / COMPRESSIONS).collect();
    println!("{COINBASE}-byte coinbase, branch of {LEVELS}: {COMPRESSIONS} compressions a share");
    for ((name, _), speeds) in kernels.iter().zip(&speeds) {
        // The ratio of each round, not of the medians: neighbours in time share their conditions.
        let ratios = speeds.iter().zip(&limits).map(|(speed, limit)| speed * 1_000 / limit);
        let ratio = middle(ratios.collect());
        print!("{name:<38} {:>12} /s", middle(speeds.clone()));
        match *name {
            "sha2 compressions, one long message" => {
                println!("   limit {} /s", middle(limits.clone()))
            }
            _ => println!("   ratio {}.{:03}", ratio / 1_000, ratio % 1_000),
        }
    }
}

/// The hashes of a share through rust-bitcoin's own types.
fn plain(share: &Share) -> bool {
    let coinbase: Transaction =
        bitcoin::consensus::deserialize(&share.coinbase).expect("a coinbase");
    let root = fold_branch(coinbase.compute_txid(), &share.branch);
    black_box(share.header.block_hash());
    root == share.header.merkle_root
}

fn script(byte: u8) -> ScriptBuf {
    let mut bytes = vec![0x51, 0x20];
    bytes.extend([byte; 32]);
    ScriptBuf::from_bytes(bytes)
}

fn terms() -> WorkTerms {
    WorkTerms {
        network: Network::Regtest,
        start: 15,
        period: 12,
        periods: 2,
        window: 2,
        slice: 12,
        rate: 1,
        // One hash in four.
        target: share_target(1, 1_800, 12),
        expected: 1_800,
        lock: script(1),
        first: 0,
        earlier: Vec::new(),
        service: script(2),
        service_ppm: 300_000,
        cap: Amount::ZERO,
        receipt_span: 36,
        proof_span: 42,
        ruling_depth: 144,
        rule: Entitlement::ProRata,
    }
    .check(Profile::Regtest)
    .expect("terms that hang together")
}

fn chain() -> Headers {
    let mut run: Vec<Header> = Vec::new();
    for height in 0..=HEIGHT + 1 {
        let mut header = Header {
            version: Version::from_consensus(0x2000_0000),
            prev_blockhash: run.last().map_or(BlockHash::all_zeros(), Header::block_hash),
            merkle_root: TxMerkleNode::all_zeros(),
            time: 1_700_000_000 + height * 600,
            bits: CompactTarget::from_consensus(BITS),
            nonce: 0,
        };
        while header.validate_pow(header.target()).is_err() {
            header.nonce += 1;
        }
        run.push(header);
    }
    Headers::new(Network::Regtest, 0, run).expect("a chain")
}

/// Share number `i`: its own coinbase, branch and nonce.
fn share(i: usize, terms: &WorkTerms, headers: &Headers) -> Share {
    let reward = subsidy(Network::Regtest, HEIGHT);
    let service = per_million(reward, terms.service_ppm);
    let mut coinbase = vec![2, 0, 0, 0, 1];
    coinbase.extend([0; 32]);
    coinbase.extend([0xff; 4]);
    coinbase.push(38);
    coinbase.extend([1, 20]);
    coinbase.push(35);
    coinbase.extend((0..35).map(|place| (i * 31 + place) as u8));
    coinbase.extend([0xff; 4]);
    coinbase.push(2);
    for (value, script) in [(reward - service, &terms.lock), (service, &terms.service)] {
        coinbase.extend(value.to_sat().to_le_bytes());
        coinbase.push(34);
        coinbase.extend(script.as_bytes());
    }
    coinbase.extend([0; 4]);
    let leaf = Txid::from_byte_array(hash::double(&coinbase));
    let branch: Vec<TxMerkleNode> = (0..LEVELS)
        .map(|level| TxMerkleNode::hash(&[i as u8, (i >> 8) as u8, level as u8]))
        .collect();
    let mut header = Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: headers.hash(HEIGHT - 1).expect("a parent"),
        merkle_root: fold_branch(leaf, &branch),
        time: 1_700_000_000 + HEIGHT * 600,
        bits: CompactTarget::from_consensus(BITS),
        nonce: 0,
    };
    while !terms.target.is_met_by(header.block_hash()) {
        header.nonce += 1;
    }
    Share { header, coinbase, branch }
}
