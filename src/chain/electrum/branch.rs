//! That a transaction lies in a block: its Merkle branch, with the tree's known weaknesses closed.

use bitcoin::hashes::Hash;
use bitcoin::{TxMerkleNode, Txid};

use crate::error::{Culprit, Result, Rule};

/// A branch leads from the transaction to its block's root.
pub const BRANCH: Rule = Rule::new(
    "chain-branch",
    "a confirmed transaction's branch leads to its block's Merkle root",
    "ask another server",
);

/// Deepest tree a block can have: 4,000,000 weight units hold at most 16,666 transactions of 60
/// bytes, which are 15 levels. A deeper branch could end in bytes that were never a transaction.
pub const DEEPEST: usize = 15;

/// Bytes that are hashed for an inner node; a transaction of this length could pose as one.
pub(super) const NODE_PAIR: usize = 64;

/// Siblings from the leaf up, and the leaf's place in the block.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub(super) siblings: Vec<TxMerkleNode>,
    pub(super) place: u64,
}

impl Branch {
    /// Checks that `txid` lies under `root`, and first if and only if it is the coinbase.
    pub(super) fn check(&self, txid: Txid, root: TxMerkleNode, coinbase: bool) -> Result<()> {
        let refuse = |part: &str, expected: String, found: String| {
            Err(BRANCH.refuses(Culprit::Server, part, expected, found))
        };
        if self.siblings.len() > DEEPEST {
            let depth = format!("depth {}", self.siblings.len());
            return refuse("siblings", format!("depth up to {DEEPEST}"), depth);
        }
        // The depth is at most 15, so the shift is exact.
        if self.place >> self.siblings.len() != 0 {
            let places = format!("a place below 2^{}", self.siblings.len());
            return refuse("pos", places, self.place.to_string());
        }
        if coinbase != (self.place == 0) {
            let expected = if coinbase { "the coinbase at 0" } else { "no coinbase above 0" };
            return refuse("pos", expected.to_owned(), self.place.to_string());
        }
        let mut node = TxMerkleNode::from(txid);
        for (level, sibling) in self.siblings.iter().enumerate() {
            let is_right = (self.place >> level) & 1 == 1;
            // An odd level repeats its last node to the right; a twin to the left exists only in
            // a block mutated so that it repeats transactions (CVE-2012-2459).
            if is_right && *sibling == node {
                let twin = format!("{sibling} twice");
                return refuse("siblings", format!("another node at level {level}"), twin);
            }
            node = if is_right { parent(*sibling, node) } else { parent(node, *sibling) };
        }
        if node != root {
            return refuse("root", root.to_string(), node.to_string());
        }
        Ok(())
    }
}

fn parent(left: TxMerkleNode, right: TxMerkleNode) -> TxMerkleNode {
    let mut bytes = [0u8; NODE_PAIR];
    let (first, second) = bytes.split_at_mut(NODE_PAIR / 2);
    first.copy_from_slice(left.as_byte_array());
    second.copy_from_slice(right.as_byte_array());
    TxMerkleNode::hash(&bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The branch of the leaf at `place` of a tree, and the tree's root, built the plain way.
    fn grow(leaves: &[Txid], place: usize) -> (Branch, TxMerkleNode) {
        let mut level: Vec<TxMerkleNode> = leaves.iter().map(|leaf| (*leaf).into()).collect();
        let (mut at, mut siblings) = (place, Vec::new());
        while level.len() > 1 {
            if !level.len().is_multiple_of(2) {
                level.push(*level.last().unwrap());
            }
            siblings.push(level[at ^ 1]);
            level = level.chunks(2).map(|pair| parent(pair[0], pair[1])).collect();
            at /= 2;
        }
        (Branch { siblings, place: place as u64 }, level[0])
    }

    proptest! {
        #[test]
        fn every_leaf_of_a_true_tree_is_accepted_at_its_place_and_at_no_other(
            count in 1usize..300, pick in any::<prop::sample::Index>(), other in 0u64..40_000,
        ) {
            let leaves: Vec<Txid> =
                (0..count).map(|i| Txid::hash(&i.to_le_bytes())).collect();
            let place = pick.index(count);
            let (branch, root) = grow(&leaves, place);
            let block = leaves.iter().copied().map(|leaf| leaf.into());
            prop_assert_eq!(Some(root), bitcoin::merkle_tree::calculate_root(block));
            prop_assert!(branch.check(leaves[place], root, place == 0).is_ok());
            if other != branch.place {
                let moved = Branch { place: other, ..branch };
                let refused = moved.check(leaves[place], root, other == 0);
                prop_assert_eq!(refused.unwrap_err().rule(), "chain-branch");
            }
        }

        #[test]
        fn a_branch_with_one_wrong_bit_is_refused(
            count in 2usize..300, pick in any::<prop::sample::Index>(),
            level in any::<prop::sample::Index>(), bit in 0usize..256,
        ) {
            let leaves: Vec<Txid> =
                (0..count).map(|i| Txid::hash(&i.to_le_bytes())).collect();
            let place = pick.index(count);
            let (mut branch, root) = grow(&leaves, place);
            let level = level.index(branch.siblings.len());
            let mut bytes = branch.siblings[level].to_byte_array();
            bytes[bit / 8] ^= 1 << (bit % 8);
            branch.siblings[level] = TxMerkleNode::from_byte_array(bytes);
            let refused = branch.check(leaves[place], root, place == 0);
            prop_assert_eq!(refused.unwrap_err().rule(), "chain-branch");
        }
    }

    #[test]
    fn the_deepest_tree_is_accepted_and_a_deeper_branch_refused() {
        let deep = |depth: usize| {
            let leaf = Txid::hash(b"leaf");
            let siblings: Vec<TxMerkleNode> =
                (0..depth).map(|i| TxMerkleNode::hash(&i.to_le_bytes())).collect();
            let root = siblings.iter().fold(leaf.into(), |node, sibling| parent(node, *sibling));
            Branch { siblings, place: 0 }.check(leaf, root, true)
        };
        deep(DEEPEST).unwrap();
        assert_eq!(deep(DEEPEST + 1).unwrap_err().rule(), "chain-branch");
    }
}
