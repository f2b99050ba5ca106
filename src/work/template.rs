//! A block under construction: what a node hands to a miner, and what the miner makes of it.
//!
//! The same builder serves every source of templates (the embedded node, `getblocktemplate`) and
//! every use: a share that is shown, a block that is submitted.

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::merkle_tree::calculate_root;
use bitcoin::opcodes::all::OP_RETURN;
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::transaction::Version as TxVersion;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Txid, Witness, WitnessMerkleNode,
};

use crate::error::{Culprit, Result, Rule};

/// The coinbase's script can hold what is put into it.
pub const COINBASE_SCRIPT: Rule = Rule::new(
    "template-coinbase-script",
    "the coinbase's script has 2 to 100 bytes",
    "shorten the extra nonce",
);
/// The coinbase pays out exactly what the template allows.
pub const COINBASE_TOTAL: Rule = Rule::new(
    "template-coinbase-total",
    "the coinbase's outputs add up to the subsidy and the fees",
    "pay out the whole reward",
);

/// Header of a witness commitment in an `OP_RETURN` output (BIP 141).
const COMMITMENT_HEADER: [u8; 4] = [0xaa, 0x21, 0xa9, 0xed];

/// What a node asks a miner to build on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockTemplate {
    /// Header version; bits 13-28 are free to roll (BIP 320).
    pub version: Version,
    /// The block to build on.
    pub parent: BlockHash,
    /// Height of the new block.
    pub height: u32,
    /// Header time, Unix seconds.
    pub time: u32,
    /// Compact target of the new block.
    pub bits: CompactTarget,
    /// Subsidy and fees together (satoshis): what the coinbase pays out.
    pub reward: Amount,
    /// The other transactions, in block order.
    pub transactions: Vec<Transaction>,
}

/// A coinbase tied to a header by its branch: everything a share needs but the nonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The header to grind; nonce 0.
    pub header: Header,
    /// The coinbase, with its witness.
    pub coinbase: Transaction,
    /// Sibling hashes from leaf 0 up to the root.
    pub branch: Vec<TxMerkleNode>,
}

impl BlockTemplate {
    /// The coinbase that pays `payouts` in this order, then the witness commitment (BIP 34, BIP 141).
    ///
    /// `extra_nonce` makes coinbases of one template differ. Refused if the payouts do not add up
    /// to the reward or the script grows past 100 bytes.
    pub fn coinbase(&self, extra_nonce: &[u8], payouts: &[TxOut]) -> Result<Transaction> {
        let paid = payouts
            .iter()
            .try_fold(Amount::ZERO, |sum, out| sum.checked_add(out.value))
            .unwrap_or(Amount::MAX);
        if paid != self.reward {
            return Err(COINBASE_TOTAL.refuses(
                Culprit::Miner,
                format_args!("template at height {}", self.height),
                self.reward,
                paid,
            ));
        }
        let script_sig = self.coinbase_script(extra_nonce)?;
        let mut output = payouts.to_vec();
        output.push(self.witness_commitment());
        let mut witness = Witness::new();
        witness.push([0u8; 32]);
        Ok(Transaction {
            version: TxVersion::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::null(),
                script_sig,
                sequence: Sequence::MAX,
                witness,
            }],
            output,
        })
    }

    /// The coinbase that pays `payouts`, tied to a header.
    pub fn job(&self, extra_nonce: &[u8], payouts: &[TxOut]) -> Result<Job> {
        let coinbase = self.coinbase(extra_nonce, payouts)?;
        let branch = self.branch();
        let root = fold_branch(coinbase.compute_txid(), &branch);
        let header = Header {
            version: self.version,
            prev_blockhash: self.parent,
            merkle_root: root,
            time: self.time,
            bits: self.bits,
            nonce: 0,
        };
        Ok(Job { header, coinbase, branch })
    }

    /// The whole block of a job whose header has been ground.
    pub fn block(&self, header: Header, coinbase: Transaction) -> Block {
        let mut txdata = vec![coinbase];
        txdata.extend(self.transactions.iter().cloned());
        Block { header, txdata }
    }

    /// Sibling hashes from leaf 0 up to the root; they do not depend on the coinbase.
    pub fn branch(&self) -> Vec<TxMerkleNode> {
        // Place 0 stands for the coinbase; only what lies right of it matters.
        let mut level: Vec<TxMerkleNode> = core::iter::once(TxMerkleNode::all_zeros())
            .chain(self.transactions.iter().map(|tx| tx.compute_txid().into()))
            .collect();
        let mut branch = Vec::new();
        while let [_, sibling, ..] = level.as_slice() {
            branch.push(*sibling);
            level = level
                .chunks(2)
                .map(|pair| match pair {
                    [left, right] => parent_node(*left, *right),
                    [alone] => parent_node(*alone, *alone),
                    _ => TxMerkleNode::all_zeros(),
                })
                .collect();
        }
        branch
    }

    fn coinbase_script(&self, extra_nonce: &[u8]) -> Result<ScriptBuf> {
        let too_long = || {
            COINBASE_SCRIPT.refuses(
                Culprit::Miner,
                format_args!("template at height {}", self.height),
                "at most 100 bytes",
                format_args!("an extra nonce of {} bytes", extra_nonce.len()),
            )
        };
        let nonce = PushBytesBuf::try_from(extra_nonce.to_vec()).map_err(|_| too_long())?;
        let script =
            Builder::new().push_int(i64::from(self.height)).push_slice(nonce).into_script();
        // An empty extra nonce is pushed as OP_0, so that the lowest heights reach two bytes too.
        if script.len() < 2 || script.len() > 100 { Err(too_long()) } else { Ok(script) }
    }

    /// The output that commits to every witness of the block (BIP 141): the coinbase's last.
    pub fn witness_commitment(&self) -> TxOut {
        let leaves = core::iter::once(WitnessMerkleNode::all_zeros())
            .chain(self.transactions.iter().map(|tx| tx.compute_wtxid().into()));
        let root = calculate_root(leaves).unwrap_or(WitnessMerkleNode::all_zeros());
        let commitment = Block::compute_witness_commitment(&root, &[0u8; 32]);
        let mut data = PushBytesBuf::from(COMMITMENT_HEADER);
        // 4 + 32 bytes are far below any limit of a push.
        let _ = data.extend_from_slice(commitment.as_byte_array());
        TxOut {
            value: Amount::ZERO,
            script_pubkey: Builder::new().push_opcode(OP_RETURN).push_slice(data).into_script(),
        }
    }
}

/// The root that a coinbase has as leaf 0 above `branch`.
pub fn fold_branch(coinbase: Txid, branch: &[TxMerkleNode]) -> TxMerkleNode {
    branch.iter().fold(coinbase.into(), |node, sibling| parent_node(node, *sibling))
}

fn parent_node(left: TxMerkleNode, right: TxMerkleNode) -> TxMerkleNode {
    let mut bytes = [0u8; 64];
    let (first, second) = bytes.split_at_mut(32);
    first.copy_from_slice(left.as_byte_array());
    second.copy_from_slice(right.as_byte_array());
    TxMerkleNode::hash(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(others: u8) -> BlockTemplate {
        let other = |i: u8| Transaction {
            version: TxVersion::TWO,
            lock_time: LockTime::from_consensus(u32::from(i)),
            input: vec![TxIn::default()],
            output: vec![TxOut { value: Amount::from_sat(1), script_pubkey: ScriptBuf::new() }],
        };
        BlockTemplate {
            version: Version::from_consensus(0x2000_0000),
            parent: BlockHash::all_zeros(),
            height: 120,
            time: 1_700_000_000,
            bits: CompactTarget::from_consensus(0x207f_ffff),
            reward: Amount::from_sat(50),
            transactions: (0..others).map(other).collect(),
        }
    }

    fn payout(sat: u64) -> TxOut {
        TxOut { value: Amount::from_sat(sat), script_pubkey: ScriptBuf::new() }
    }

    #[test]
    fn the_branch_leads_to_the_root_that_the_whole_block_has() {
        for others in 0..20 {
            let template = template(others);
            let job = template.job(&[1, 2, 3], &[payout(50)]).unwrap();
            let block = template.block(job.header, job.coinbase);
            assert!(block.check_merkle_root(), "{others} other transactions");
            assert!(block.check_witness_commitment(), "{others} other transactions");
            assert_eq!(block.bip34_block_height(), Ok(120));
        }
    }

    #[test]
    fn a_coinbase_that_does_not_pay_out_the_reward_is_refused() {
        for sat in [49, 51] {
            let refused = template(0).coinbase(&[], &[payout(sat)]).unwrap_err();
            assert_eq!(refused.rule(), "template-coinbase-total");
        }
    }

    #[test]
    fn an_extra_nonce_that_overflows_the_script_is_refused() {
        let refused = template(0).coinbase(&[0; 100], &[payout(50)]).unwrap_err();
        assert_eq!(refused.rule(), "template-coinbase-script");
    }
}
