//! The guard: what it lets in, what it refuses and by which rule, and which chain it believes.

use bitcoin::block::{Header, Version};
use bitcoin::consensus::Params;
use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, CompactTarget, Network, Target, TxMerkleNode, Work};
use proptest::prelude::*;

use super::*;
use crate::error::Result;
use crate::headers::difficulty;

mod real;
mod rules;
mod tree;

/// Blocks in a span of the small network.
pub(crate) const SPAN: u32 = 36;
const START: u32 = 1_700_000_000;
/// One hash in 512: hard enough that unmined headers are refused, easy enough for thousands.
const LIMIT: u32 = 0x1f7f_ffff;

/// The rule of a network with spans of 36 blocks of one second, as hard as our tests can afford.
/// Spans of two weeks would overflow 256 bits at such targets; Core's own tests meet the same.
pub(crate) fn small(network: Network) -> Params {
    let mut params = network.params().clone();
    params.pow_target_spacing = 1;
    params.pow_target_timespan = u64::from(SPAN);
    params.max_attainable_target = Target::from_compact(CompactTarget::from_consensus(LIMIT));
    params.no_pow_retargeting = false;
    [params.bip34_height, params.bip65_height, params.bip66_height] = [0; 3];
    params
}

/// Mines a header with what the rule demands of it, but for the changes that `change` makes.
pub(crate) fn mine(
    parent: BlockHash,
    time: u32,
    bits: CompactTarget,
    mark: u8,
    change: impl Fn(&mut Header),
) -> Header {
    let mut header = Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: parent,
        merkle_root: TxMerkleNode::from_byte_array([mark; 32]),
        time,
        bits,
        nonce: 0,
    };
    change(&mut header);
    while header.validate_pow(header.target()).is_err() {
        header.nonce += 1;
    }
    header
}

/// An anchor of the small network, at its easiest.
pub(crate) fn anchor(params: &Params, bits: u32) -> Anchor {
    let bits = CompactTarget::from_consensus(bits);
    let header = mine(BlockHash::all_zeros(), START, bits, 0, |_| {});
    Anchor::new(params, 0, header, header.target().to_work(), Vec::new()).unwrap()
}

/// A guard of the small network, mainnet's rule unless told otherwise.
pub(crate) fn guard_of(network: Network) -> Guard {
    let params = small(network);
    let anchor = anchor(&params, LIMIT);
    Guard::above(params, anchor, Checkpoints::none()).unwrap()
}

pub(crate) fn guard() -> Guard {
    guard_of(Network::Bitcoin)
}

/// The next header on the tip, `seconds` after it.
pub(crate) fn next(guard: &Guard, seconds: i64, mark: u8) -> Header {
    let time = (i64::from(guard.header(guard.tip()).unwrap().time) + seconds) as u32;
    mine(guard.tip_hash(), time, guard.next_bits(time).unwrap(), mark, |_| {})
}

/// Adds `blocks` to the tip, `seconds` apart.
pub(crate) fn grow(guard: &mut Guard, blocks: u32, seconds: i64, mark: u8) -> Vec<Header> {
    (0..blocks)
        .map(|_| {
            let header = next(guard, seconds, mark);
            assert_ne!(guard.accept(&header).unwrap(), Placed::Known);
            header
        })
        .collect()
}

/// Adds `blocks` to the tip, each as early as the median of the eleven before it allows.
pub(crate) fn hurry(guard: &mut Guard, blocks: u32, mark: u8) -> Vec<Header> {
    (0..blocks)
        .map(|_| {
            let early = (-10..=1).map(|seconds| next(guard, seconds, mark));
            let header = early.into_iter().find(|header| guard.clone().accept(header).is_ok());
            let header = header.unwrap();
            guard.accept(&header).unwrap();
            header
        })
        .collect()
}

/// The guard with its active chain only up to `height`: where a rival branch is mined.
pub(crate) fn cut(guard: &Guard, height: u32) -> Guard {
    let mut params = guard.params().clone();
    params.network = guard.network();
    let genesis = *guard.header(0).unwrap();
    let anchor = Anchor::new(&params, 0, genesis, genesis.target().to_work(), Vec::new()).unwrap();
    let mut cut = Guard::above(params, anchor, Checkpoints::none()).unwrap();
    for height in 1..=height {
        cut.accept(guard.header(height).unwrap()).unwrap();
    }
    cut
}

fn rule(result: Result<Placed>) -> &'static str {
    result.unwrap_err().rule()
}

fn bits(value: u32) -> CompactTarget {
    CompactTarget::from_consensus(value)
}
