//! What an Electrum server must find quickly: transactions by id, and their ids by script.
//!
//! The index follows the kernel's active chain block by block, forward and back. It judges
//! nothing: every block in it has been accepted by Core.

use std::collections::{BTreeSet, HashMap};

use bitcoin::block::Header;
use bitcoin::hashes::{Hash, hash_newtype, sha256, sha256d};
use bitcoin::{Block, BlockHash, OutPoint, Script, Transaction, TxOut, Txid};

hash_newtype! {
    /// SHA-256 of a script, printed backwards: the name of a script in the Electrum protocol.
    #[hash_newtype(backward)]
    pub(super) struct ScriptHash(sha256::Hash);
}

impl ScriptHash {
    /// The name of `script`.
    pub(super) fn of(script: &Script) -> Self {
        Self(sha256::Hash::hash(script.as_bytes()))
    }
}

/// Where a confirmed transaction is: the height of its block and its place there.
pub(super) type Place = (u32, usize);

/// The active chain, by height, by transaction and by script.
pub(super) struct Index {
    /// Every block that Core has not refused, also off the active chain: a branch may win later.
    blocks: HashMap<BlockHash, Block>,
    active: Vec<BlockHash>,
    places: HashMap<Txid, Place>,
    spends: HashMap<OutPoint, Txid>,
    histories: HashMap<ScriptHash, Vec<(Place, Txid)>>,
}

impl Index {
    /// An index of a chain that has only its first block. Its coins cannot be spent, and are not
    /// listed.
    pub(super) fn new(genesis: Block) -> Self {
        let hash = genesis.block_hash();
        Self {
            blocks: HashMap::from([(hash, genesis)]),
            active: vec![hash],
            places: HashMap::new(),
            spends: HashMap::new(),
            histories: HashMap::new(),
        }
    }

    /// Remembers a block until it is connected.
    pub(super) fn keep(&mut self, block: Block) {
        self.blocks.insert(block.block_hash(), block);
    }

    /// Height of the active chain, in blocks.
    pub(super) fn height(&self) -> u32 {
        u32::try_from(self.active.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// The active chain's block hash at `height`.
    pub(super) fn hash_at(&self, height: u32) -> Option<BlockHash> {
        self.active.get(usize::try_from(height).ok()?).copied()
    }

    /// The active chain's block at `height`.
    pub(super) fn block_at(&self, height: u32) -> Option<&Block> {
        self.blocks.get(&self.hash_at(height)?)
    }

    /// The active chain's header at `height`.
    pub(super) fn header_at(&self, height: u32) -> Option<Header> {
        Some(self.block_at(height)?.header)
    }

    /// Where a confirmed transaction is.
    pub(super) fn place(&self, txid: Txid) -> Option<Place> {
        self.places.get(&txid).copied()
    }

    /// A confirmed transaction.
    pub(super) fn transaction(&self, txid: Txid) -> Option<&Transaction> {
        let (height, place) = self.place(txid)?;
        self.block_at(height)?.txdata.get(place)
    }

    /// An output of a confirmed transaction, spent or not.
    pub(super) fn output(&self, outpoint: OutPoint) -> Option<&TxOut> {
        let tx = self.transaction(outpoint.txid)?;
        tx.output.get(usize::try_from(outpoint.vout).ok()?)
    }

    /// Whether a confirmed transaction spends `outpoint`.
    pub(super) fn is_spent(&self, outpoint: OutPoint) -> bool {
        self.spends.contains_key(&outpoint)
    }

    /// Confirmed transactions that touch a script, in the order of the chain.
    pub(super) fn history(&self, script: &ScriptHash) -> &[(Place, Txid)] {
        self.histories.get(script).map_or(&[], Vec::as_slice)
    }

    /// The scripts that a transaction pays, and those it spends as far as `output` knows them.
    pub(super) fn touched<'a>(
        tx: &'a Transaction,
        output: impl Fn(OutPoint) -> Option<&'a TxOut>,
    ) -> BTreeSet<ScriptHash> {
        let spent = tx.input.iter().filter_map(|input| output(input.previous_output));
        let paid = tx.output.iter().filter(|out| !out.script_pubkey.is_op_return());
        spent.chain(paid).map(|out| ScriptHash::of(&out.script_pubkey)).collect()
    }

    /// Puts a remembered block on the tip; `None` if it was never remembered.
    pub(super) fn connect(&mut self, hash: BlockHash) -> Option<&Block> {
        let block = self.blocks.get(&hash)?.clone();
        self.active.push(hash);
        let height = self.height();
        for (place, tx) in block.txdata.iter().enumerate() {
            let txid = tx.compute_txid();
            self.places.insert(txid, (height, place));
            if !tx.is_coinbase() {
                let spent = tx.input.iter().map(|input| (input.previous_output, txid));
                self.spends.extend(spent);
            }
            for script in Self::touched(tx, |outpoint| self.output(outpoint)) {
                self.histories.entry(script).or_default().push(((height, place), txid));
            }
        }
        self.blocks.get(&hash)
    }

    /// Takes the tip off, and returns its block.
    pub(super) fn disconnect(&mut self) -> Option<&Block> {
        let height = self.height();
        let hash = self.hash_at(height).filter(|_| height > 0)?;
        let block = self.blocks.get(&hash)?;
        for tx in &block.txdata {
            for script in Self::touched(tx, |outpoint| self.output(outpoint)) {
                if let Some(history) = self.histories.get_mut(&script) {
                    history.retain(|((h, _), _)| *h < height);
                }
            }
        }
        for tx in &block.txdata {
            self.places.remove(&tx.compute_txid());
            for input in &tx.input {
                self.spends.remove(&input.previous_output);
            }
        }
        self.active.pop();
        self.blocks.get(&hash)
    }
}

/// The hashes that lead from leaf `place` to the root, and the root: Bitcoin's tree, in which the
/// last node of an odd level is paired with itself.
pub(super) fn merkle_branch(
    mut level: Vec<sha256d::Hash>,
    mut place: usize,
) -> (Vec<sha256d::Hash>, Option<sha256d::Hash>) {
    let mut branch = Vec::new();
    while level.len() > 1 {
        let last = level.len().saturating_sub(1);
        branch.extend(level.get((place ^ 1).min(last)).copied());
        level = level
            .chunks(2)
            .filter_map(|pair| Some([*pair.first()?, *pair.last()?]))
            .map(|[left, right]| {
                sha256d::Hash::hash(&[left.to_byte_array(), right.to_byte_array()].concat())
            })
            .collect();
        place >>= 1;
    }
    (branch, level.first().copied())
}
