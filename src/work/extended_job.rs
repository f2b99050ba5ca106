//! An extended job: what a machine is given to work on, and what it answers when it finds something.
//!
//! The coinbase comes in two pieces with room for an extra nonce between them, so that a machine
//! makes coinbases of its own; the header's time, version bits and nonce are its own too (BIP 310,
//! BIP 320). Stratum V1 calls the pieces coinb1 and coinb2, Stratum V2 a prefix and a suffix; both
//! send the branch beside them. So a job and a [`Find`] together are a [`Share`], whatever way they
//! travelled, and a find is all that is kept of a share whose job is known.
//!
//! ```text
//!  coinbase = prefix | extra nonce | suffix        without witness: the bytes of its txid
//!  root     = coinbase's txid folded up the branch as leaf 0
//!  header   = version, parent, root, time, bits, nonce
//! ```

use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::{Block, BlockHash, CompactTarget, Transaction, TxMerkleNode, TxOut, Witness};

use crate::error::Result;
use crate::work::hash;
use crate::work::share::{Share, without_witness};
use crate::work::template::BlockTemplate;

/// Most bytes of an extra nonce, as in Stratum V2.
pub const LONGEST_EXTRANONCE: usize = 32;

/// The bytes between a coinbase's two pieces: what the server gave the machine, then the machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Extranonce {
    bytes: [u8; LONGEST_EXTRANONCE],
    length: u8,
}

impl Extranonce {
    /// Two parts put together; `None` if they are longer than [`LONGEST_EXTRANONCE`].
    pub fn new(server: &[u8], machine: &[u8]) -> Option<Self> {
        let length = server.len().checked_add(machine.len())?;
        let mut bytes = [0; LONGEST_EXTRANONCE];
        let (head, tail) = bytes.get_mut(..length)?.split_at_mut_checked(server.len())?;
        head.copy_from_slice(server);
        tail.copy_from_slice(machine);
        Some(Self { bytes, length: u8::try_from(length).ok()? })
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

/// What shares of one job have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExtendedJob {
    /// The block that it builds on.
    pub parent: BlockHash,
    /// Compact target of the block.
    pub bits: CompactTarget,
    /// The coinbase up to the extra nonce.
    pub prefix: Vec<u8>,
    /// The coinbase behind the extra nonce.
    pub suffix: Vec<u8>,
    /// Bytes of the extra nonce.
    pub extranonce: u8,
    /// Sibling hashes from leaf 0 up to the root.
    pub branch: Vec<TxMerkleNode>,
}

/// What a machine has found: 28 bytes that make a share of a job (with an extra nonce of 12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Find {
    /// The bytes between the coinbase's pieces; as long as the job says.
    pub extranonce: Extranonce,
    /// The whole header version, rolled bits included.
    pub version: i32,
    /// The header's time, Unix seconds.
    pub time: u32,
    /// The header's nonce.
    pub nonce: u32,
}

impl ExtendedJob {
    /// The job of a template that pays `payouts` in this order, then the witness commitment, with
    /// room for `extranonce` bytes. Refused as [`BlockTemplate::coinbase`] refuses it.
    pub fn new(template: &BlockTemplate, extranonce: u8, payouts: &[TxOut]) -> Result<Self> {
        let room = vec![0; usize::from(extranonce)];
        let coinbase = template.coinbase(&room, payouts)?;
        let script = coinbase.input.first().map_or(0, |input| input.script_sig.len());
        let bytes = without_witness(&coinbase);
        // Version, number of inputs, prevout and the script's length stand before the script, and
        // the extra nonce ends it.
        let end = (4usize + 1 + 36 + 1).saturating_add(script);
        let begin = end.saturating_sub(room.len());
        Ok(Self {
            parent: template.parent,
            bits: template.bits,
            prefix: bytes.get(..begin).unwrap_or_default().to_vec(),
            suffix: bytes.get(end..).unwrap_or_default().to_vec(),
            extranonce,
            branch: template.branch(),
        })
    }

    /// The coinbase with this extra nonce, without witness.
    pub fn coinbase(&self, extranonce: &Extranonce) -> Vec<u8> {
        [self.prefix.as_slice(), extranonce.as_bytes(), self.suffix.as_slice()].concat()
    }

    /// The share that a find makes. `None` if its extra nonce is not as long as the job's, or the
    /// branch has a twin.
    pub fn share(&self, find: &Find) -> Option<Share> {
        if find.extranonce.length != self.extranonce {
            return None;
        }
        let coinbase = self.coinbase(&find.extranonce);
        let root = hash::fold(hash::double(&coinbase), &self.branch)?;
        let header = Header {
            version: Version::from_consensus(find.version),
            prev_blockhash: self.parent,
            merkle_root: TxMerkleNode::from_byte_array(root),
            time: find.time,
            bits: self.bits,
            nonce: find.nonce,
        };
        Some(Share { header, coinbase, branch: self.branch.clone() })
    }

    /// The whole block that a find makes of the template that the job was made of.
    pub fn block(&self, template: &BlockTemplate, find: &Find) -> Option<Block> {
        let share = self.share(find)?;
        let mut coinbase: Transaction = bitcoin::consensus::deserialize(&share.coinbase).ok()?;
        // The reserved value that the witness commitment is made with (BIP 141).
        let reserved = Witness::from_slice(&[[0u8; 32]]);
        coinbase.input.first_mut()?.witness = reserved;
        Some(template.block(share.header, coinbase))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::template::Job;
    use bitcoin::{Amount, ScriptBuf};

    fn template() -> BlockTemplate {
        let other = |lock: u32| Transaction {
            version: bitcoin::transaction::Version::TWO,
            lock_time: bitcoin::absolute::LockTime::from_consensus(lock),
            input: vec![bitcoin::TxIn::default()],
            output: vec![TxOut { value: Amount::ONE_SAT, script_pubkey: ScriptBuf::new() }],
        };
        BlockTemplate {
            version: Version::from_consensus(0x2000_0000),
            parent: BlockHash::all_zeros(),
            height: 840_000,
            time: 1_700_000_000,
            bits: CompactTarget::from_consensus(0x207f_ffff),
            reward: Amount::from_sat(312_500_000),
            transactions: (1..6).map(other).collect(),
        }
    }

    fn payouts() -> Vec<TxOut> {
        let script = ScriptBuf::from_bytes([vec![0x51, 0x20], vec![7; 32]].concat());
        vec![TxOut { value: Amount::from_sat(312_500_000), script_pubkey: script }]
    }

    #[test]
    fn a_find_makes_the_share_and_the_block_that_the_template_makes_with_its_extra_nonce() {
        let template = template();
        let job = ExtendedJob::new(&template, 12, &payouts()).unwrap();
        let extranonce = Extranonce::new(&[1, 2, 3, 4], &[5, 6, 7, 8, 9, 10, 11, 12]).unwrap();
        let find =
            Find { extranonce, version: 0x2abc_e000, time: template.time + 7, nonce: 0xdead_beef };
        let Job { mut header, coinbase, branch } =
            template.job(extranonce.as_bytes(), &payouts()).unwrap();
        header.version = Version::from_consensus(find.version);
        header.time = find.time;
        header.nonce = find.nonce;
        let share = job.share(&find).unwrap();
        assert_eq!(share, Share { header, coinbase: without_witness(&coinbase), branch });
        let block = job.block(&template, &find).unwrap();
        assert_eq!(block, template.block(header, coinbase));
        assert!(block.check_witness_commitment());
        assert!(block.check_merkle_root());
    }

    #[test]
    fn an_extra_nonce_of_another_length_makes_no_share() {
        let template = template();
        let job = ExtendedJob::new(&template, 12, &payouts()).unwrap();
        for length in [0, 11, 13, 32] {
            let extranonce = Extranonce::new(&[], &vec![1; length]).unwrap();
            let find = Find { extranonce, version: 0x2000_0000, time: 1, nonce: 1 };
            assert_eq!(job.share(&find), None);
            assert_eq!(job.block(&template, &find), None);
        }
        assert_eq!(Extranonce::new(&[0; 16], &[0; 17]), None);
    }
}
