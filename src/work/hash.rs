//! Double SHA-256 on bytes: headers, coinbases, branches.
//!
//! A share costs 43 compressions (175-byte coinbase, branch of 12), nearly all of them in messages
//! of 64 and 32 bytes, where buffering hashers spend a fifth of their time on moving bytes. So the
//! padded blocks are laid out here once and handed to the `sha2` crate's compression function,
//! which picks the processor's own SHA-256 instructions. Rust-bitcoin's types give the same hashes;
//! a test says so for random shares.

use bitcoin::TxMerkleNode;
use bitcoin::block::Header;
use bitcoin::hashes::Hash;
use sha2::compress256;
use sha2::digest::consts::U64;
use sha2::digest::generic_array::GenericArray;

type Block = GenericArray<u8, U64>;

/// SHA-256's initial state (FIPS 180-4, section 5.3.3).
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// Bytes of a block.
const BLOCK: usize = 64;
/// Most bytes whose padding fits the five blocks of the buffer in [`double`].
const BUFFER: usize = 4 * BLOCK;

/// What follows a message's last byte.
const END: u8 = 0x80;

/// The padding of a 64-byte message: a block of its own, stating 512 bits.
const AFTER_64: [u8; BLOCK] = {
    let mut block = [0; BLOCK];
    block[0] = END;
    block[62] = 0x02;
    block
};
/// The block of a 32-byte message, stating 256 bits; its first half is the message.
const AROUND_32: [u8; BLOCK] = {
    let mut block = [0; BLOCK];
    block[32] = END;
    block[62] = 0x01;
    block
};
/// The second block of an 80-byte message, stating 640 bits; its first 16 bytes are the message's.
const AROUND_80: [u8; BLOCK] = {
    let mut block = [0; BLOCK];
    block[16] = END;
    block[62] = 0x02;
    block[63] = 0x80;
    block
};

/// The 80 bytes of a header, as they are hashed.
pub fn header_bytes(header: &Header) -> [u8; 80] {
    let mut bytes = [0; 80];
    let (first, last) = head_and_tail(header);
    let (head, tail) = bytes.split_at_mut(BLOCK);
    head.copy_from_slice(&first);
    tail.copy_from_slice(&last);
    bytes
}

/// The first 64 and the last 16 bytes of a header.
fn head_and_tail(header: &Header) -> ([u8; BLOCK], [u8; 16]) {
    let mut head = [0; BLOCK];
    let mut tail = [0; 16];
    let root = header.merkle_root.as_byte_array();
    let (root_head, root_tail) = root.split_at(28);
    lay(&mut head, 0, &header.version.to_consensus().to_le_bytes());
    lay(&mut head, 4, header.prev_blockhash.as_byte_array());
    lay(&mut head, 36, root_head);
    lay(&mut tail, 0, root_tail);
    lay(&mut tail, 4, &header.time.to_le_bytes());
    lay(&mut tail, 8, &header.bits.to_consensus().to_le_bytes());
    lay(&mut tail, 12, &header.nonce.to_le_bytes());
    (head, tail)
}

/// The hash of a header: 3 compressions.
pub fn header(header: &Header) -> [u8; 32] {
    let (head, tail) = head_and_tail(header);
    let mut last = Block::from(AROUND_80);
    lay(&mut last, 0, &tail);
    let blocks = [Block::from(head), last];
    let mut state = INITIAL;
    compress256(&mut state, &blocks);
    again(&state)
}

/// The double hash of any message.
pub fn double(message: &[u8]) -> [u8; 32] {
    let mut state = INITIAL;
    let mut rest = message;
    // All but the last buffer hold whole blocks of the message.
    while let Some((full, after)) = rest.split_at_checked(BUFFER) {
        for block in full.chunks_exact(BLOCK) {
            compress256(&mut state, core::slice::from_ref(GenericArray::from_slice(block)));
        }
        rest = after;
    }
    let mut blocks = [Block::default(); 5];
    for (block, bytes) in blocks.iter_mut().zip(rest.chunks(BLOCK)) {
        lay(block, 0, bytes);
    }
    // The end mark lies in the block after the last whole one; the length ends the first block
    // that has eight bytes left behind the mark.
    if let Some(block) = blocks.get_mut(rest.len() / BLOCK) {
        lay(block, rest.len() % BLOCK, &[END]);
    }
    let used = rest.len().saturating_add(9).div_ceil(BLOCK);
    let bits = u64::try_from(message.len()).unwrap_or(u64::MAX).saturating_mul(8);
    if let Some(used) = blocks.get_mut(..used) {
        if let Some(last) = used.last_mut() {
            lay(last, 56, &bits.to_be_bytes());
        }
        compress256(&mut state, used);
    }
    again(&state)
}

/// The root above `leaf` as leaf 0 of `branch`: 3 compressions a level.
///
/// `None` if a sibling equals the node beside it: only a tree with duplicated transactions has that
/// on its left edge, and no valid block has such a tree (CVE-2012-2459).
pub fn fold(leaf: [u8; 32], branch: &[TxMerkleNode]) -> Option<[u8; 32]> {
    let mut climb = Climb::new(leaf);
    for sibling in branch {
        climb.rise(sibling)?;
    }
    Some(climb.node)
}

/// Two roots at once, as [`fold`] gives them. Neither chain of compressions waits for the other, so
/// the processor works on both: a fifth faster than one after the other.
pub fn fold_two(leaves: [[u8; 32]; 2], branches: [&[TxMerkleNode]; 2]) -> [Option<[u8; 32]>; 2] {
    let [mut a, mut b] = leaves.map(Climb::new);
    let [left, right] = branches;
    let both = left.len().min(right.len());
    for (x, y) in left.iter().zip(right) {
        if !a.meet(x) || !b.meet(y) {
            // A twin is refused anyway; what that costs does not matter.
            let [one, other] = leaves;
            return [fold(one, left), fold(other, right)];
        }
        rise_both(&mut a, &mut b);
    }
    let finish = |mut climb: Climb, branch: &[TxMerkleNode]| {
        for sibling in branch.get(both..)? {
            climb.rise(sibling)?;
        }
        Some(climb.node)
    };
    [finish(a, left), finish(b, right)]
}

/// A node on its way up a branch, and the blocks that its hashes fill.
struct Climb {
    node: [u8; 32],
    pair: [Block; 2],
    single: Block,
}

impl Climb {
    fn new(leaf: [u8; 32]) -> Self {
        Self {
            node: leaf,
            pair: [Block::default(), Block::from(AFTER_64)],
            single: Block::from(AROUND_32),
        }
    }

    /// Lays node and sibling side by side; false if they are twins.
    #[inline(always)]
    fn meet(&mut self, sibling: &TxMerkleNode) -> bool {
        let [nodes, _] = &mut self.pair;
        lay(nodes, 0, &self.node);
        lay(nodes, 32, sibling.as_byte_array());
        self.node != *sibling.as_byte_array()
    }

    /// Climbs one level; `None` beside a twin.
    #[inline(always)]
    fn rise(&mut self, sibling: &TxMerkleNode) -> Option<()> {
        if !self.meet(sibling) {
            return None;
        }
        let mut state = INITIAL;
        compress256(&mut state, &self.pair);
        lay(&mut self.single, 0, &digest(&state));
        let mut state = INITIAL;
        compress256(&mut state, core::slice::from_ref(&self.single));
        self.node = digest(&state);
        Some(())
    }
}

/// Climbs one level with two nodes that have met their siblings, block by block in turns: one call
/// for both blocks of a node would leave the other node waiting.
#[inline(always)]
fn rise_both(a: &mut Climb, b: &mut Climb) {
    let [mut x, mut y] = [INITIAL, INITIAL];
    for (one, other) in a.pair.iter().zip(&b.pair) {
        compress256(&mut x, core::slice::from_ref(one));
        compress256(&mut y, core::slice::from_ref(other));
    }
    lay(&mut a.single, 0, &digest(&x));
    lay(&mut b.single, 0, &digest(&y));
    let [mut x, mut y] = [INITIAL, INITIAL];
    compress256(&mut x, core::slice::from_ref(&a.single));
    compress256(&mut y, core::slice::from_ref(&b.single));
    a.node = digest(&x);
    b.node = digest(&y);
}

/// A header without its nonce, ready to be hashed with many: 2 compressions each.
#[derive(Clone, Debug)]
pub struct Midstate {
    state: [u32; 8],
    last: Block,
    single: Block,
}

impl Midstate {
    /// Hashes what does not change with the nonce.
    pub fn new(header: &Header) -> Self {
        let (head, tail) = head_and_tail(header);
        let mut state = INITIAL;
        compress256(&mut state, &[Block::from(head)]);
        let mut last = Block::from(AROUND_80);
        lay(&mut last, 0, &tail);
        Self { state, last, single: Block::from(AROUND_32) }
    }

    /// The header's hash with this nonce.
    pub fn hash(&mut self, nonce: u32) -> [u8; 32] {
        lay(&mut self.last, 12, &nonce.to_le_bytes());
        let mut state = self.state;
        compress256(&mut state, core::slice::from_ref(&self.last));
        lay(&mut self.single, 0, &digest(&state));
        let mut state = INITIAL;
        compress256(&mut state, core::slice::from_ref(&self.single));
        digest(&state)
    }
}

/// The hash of the 32-byte digest in `state`.
fn again(state: &[u32; 8]) -> [u8; 32] {
    let mut block = Block::from(AROUND_32);
    lay(&mut block, 0, &digest(state));
    let mut state = INITIAL;
    compress256(&mut state, core::slice::from_ref(&block));
    digest(&state)
}

/// The bytes of a state. Two halves of 16 bytes each, put together in registers: the processor's
/// SHA instructions read 16 bytes at once, and stall on bytes that were stored in smaller pieces.
#[inline(always)]
fn digest(state: &[u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (half, words) in bytes.as_chunks_mut::<16>().0.iter_mut().zip(state.as_chunks::<4>().0) {
        let swapped = words.map(u32::swap_bytes);
        let [a, b, c, d] = swapped.map(u128::from);
        *half = (a | b << 32 | c << 64 | d << 96).to_le_bytes();
    }
    bytes
}

/// Lays `bytes` into `block` from place `at`; what has no room is a bug that the tests would show.
#[inline(always)]
fn lay(block: &mut [u8], at: usize, bytes: &[u8]) {
    let room = block.get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len()));
    debug_assert!(room.is_some(), "{} bytes at {at} of {}", bytes.len(), BLOCK);
    if let Some(room) = room {
        room.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::block::Version;
    use bitcoin::hashes::sha256d;
    use bitcoin::{BlockHash, CompactTarget, Txid};
    use proptest::prelude::*;

    use super::*;
    use crate::work::template::fold_branch;

    fn any_header() -> impl Strategy<Value = Header> {
        (any::<i32>(), any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u32; 3]>()).prop_map(
            |(version, parent, root, [time, bits, nonce])| Header {
                version: Version::from_consensus(version),
                prev_blockhash: BlockHash::from_byte_array(parent),
                merkle_root: TxMerkleNode::from_byte_array(root),
                time,
                bits: CompactTarget::from_consensus(bits),
                nonce,
            },
        )
    }

    #[test]
    fn every_length_of_message_hashes_as_rust_bitcoin_does() {
        let bytes: Vec<u8> = (0..1_200u32).map(|i| (i * 7 % 251) as u8).collect();
        for length in 0..bytes.len() {
            let message = &bytes[..length];
            assert_eq!(double(message), *sha256d::Hash::hash(message).as_byte_array(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn a_header_hashes_as_rust_bitcoin_does(h in any_header()) {
            prop_assert_eq!(header(&h), *h.block_hash().as_byte_array());
            prop_assert_eq!(header_bytes(&h).to_vec(), bitcoin::consensus::serialize(&h));
            prop_assert_eq!(Midstate::new(&h).hash(h.nonce), header(&h));
        }

        #[test]
        fn a_branch_folds_as_rust_bitcoin_does(
            leaf in any::<[u8; 32]>(),
            branch in proptest::collection::vec(any::<[u8; 32]>(), 0..15),
        ) {
            let branch: Vec<_> = branch.into_iter().map(TxMerkleNode::from_byte_array).collect();
            let root = fold_branch(Txid::from_byte_array(leaf), &branch);
            prop_assert_eq!(fold(leaf, &branch), Some(*root.as_byte_array()));
        }

        #[test]
        fn two_branches_fold_as_each_alone(
            leaves in any::<[[u8; 32]; 2]>(),
            first in proptest::collection::vec(any::<[u8; 32]>(), 0..15),
            second in proptest::collection::vec(any::<[u8; 32]>(), 0..15),
            twin in any::<[bool; 2]>(),
        ) {
            let nodes = |bytes: Vec<[u8; 32]>, leaf, twin: bool| {
                let mut all: Vec<_> = bytes.into_iter().map(TxMerkleNode::from_byte_array).collect();
                if twin {
                    all.push(TxMerkleNode::from_byte_array(fold(leaf, &all).unwrap()));
                }
                all
            };
            let (left, right) = (nodes(first, leaves[0], twin[0]), nodes(second, leaves[1], twin[1]));
            let alone = [fold(leaves[0], &left), fold(leaves[1], &right)];
            prop_assert_eq!(fold_two(leaves, [&left, &right]), alone);
            prop_assert_eq!(alone.map(|root| root.is_none()), twin);
        }
    }
}
