//! One chain with its mempool, kept in step with Core's two chainstates: what is under the node's
//! lock, and all that blocks and transactions do to it.

use std::collections::HashMap;

use bitcoin::block::Header;
use bitcoin::{
    Amount, Block, BlockHash, Network, OutPoint, ScriptBuf, Transaction, TxOut, Txid, Weight,
};

use super::blocks::{self, ROOM, SPACING, subsidy};
use super::index::Index;
use super::kernel::{Kernel, Verdict};
use super::mempool::{Entry, Mempool};
use super::{BLOCK, REORG, policy};
use crate::error::{Culprit, Error, Result};
use crate::headers::MEDIAN_SPAN;
use crate::work::template::BlockTemplate;

/// Core's word for a block that it has refused before.
const SEEN_BEFORE: &str = "duplicate-invalid";
/// The chain, the mempool, and the two kernels that judge them.
pub(super) struct Regtest {
    kernel: Kernel,
    judge: Kernel,
    pub(super) index: Index,
    pub(super) mempool: Mempool,
    pub(super) spacing: u32,
    /// Why Core refused a block when it first saw it; afterwards it only says that it did.
    reasons: HashMap<BlockHash, String>,
    /// Blocks built so far: no two are alike, even on the same parent.
    built: u32,
}

impl Regtest {
    /// The chain of regtest's first block.
    pub(super) fn start() -> Result<Self> {
        Ok(Self {
            kernel: Kernel::start()?,
            judge: Kernel::start()?,
            index: Index::new(bitcoin::constants::genesis_block(Network::Regtest)),
            mempool: Mempool::default(),
            spacing: SPACING,
            reasons: HashMap::new(),
            built: 0,
        })
    }

    /// Differs after anything that somebody could want to be told.
    pub(super) fn mark(&self) -> (Option<BlockHash>, usize, Option<Txid>) {
        let waiting = self.mempool.txids();
        (self.index.hash_at(self.index.height()), waiting.len(), waiting.last().copied())
    }

    /// Height and hash of the tip.
    pub(super) fn tip(&self) -> Result<(u32, BlockHash)> {
        let height = self.index.height();
        let hash = self.index.hash_at(height);
        Ok((height, hash.ok_or_else(|| out_of_step(format_args!("no block at height {height}")))?))
    }

    /// The active chain's headers up to `height`, as far back as the next block's time depends on.
    fn parents(&self, height: u32) -> Vec<Header> {
        let first = height.saturating_sub(MEDIAN_SPAN);
        (first..=height).filter_map(|h| self.index.header_at(h)).collect()
    }

    /// The next block: the mempool as far as there is room, parents first.
    pub(super) fn template(&self) -> Result<BlockTemplate> {
        let (tip, _) = self.tip()?;
        let height = tip.saturating_add(1);
        let mut reward = subsidy(height);
        let mut weight = Weight::ZERO;
        let mut chosen: Vec<Transaction> = Vec::new();
        let mut left_out: Vec<Txid> = Vec::new();
        for (txid, entry) in self.mempool.iter() {
            let orphan = entry.tx.input.iter().any(|i| left_out.contains(&i.previous_output.txid));
            let grown = weight + entry.tx.weight();
            if orphan || grown > ROOM {
                left_out.push(txid);
                continue;
            }
            weight = grown;
            reward = reward.checked_add(entry.fee).unwrap_or(Amount::MAX_MONEY);
            chosen.push(entry.tx.clone());
        }
        blocks::template(height, &self.parents(tip), self.spacing, reward, chosen)
    }

    /// A whole block with proof of work.
    pub(super) fn grind(&mut self, template: &BlockTemplate, payouts: &[TxOut]) -> Result<Block> {
        self.built = self.built.wrapping_add(1);
        blocks::grind(template, self.built, payouts)
    }

    /// Hands a block to Core and follows it. A block beside the best chain is kept: it may win.
    pub(super) fn submit(&mut self, block: &Block) -> Result<BlockHash> {
        self.hand_in(block)?;
        self.follow(true)?;
        Ok(block.block_hash())
    }

    fn hand_in(&mut self, block: &Block) -> Result<()> {
        let hash = block.block_hash();
        if let Verdict::Refused(reason) = self.kernel.process(block) {
            if !reason.starts_with(SEEN_BEFORE) {
                self.reasons.insert(hash, reason.clone());
            }
            return Err(BLOCK.refuses(
                Culprit::Sender,
                format_args!("block {hash}"),
                "a block that Bitcoin Core accepts",
                self.reasons.get(&hash).unwrap_or(&reason),
            ));
        }
        self.index.keep(block.clone());
        match self.judge.process(block) {
            Verdict::Stands => Ok(()),
            Verdict::Refused(reason) => Err(out_of_step(reason)),
        }
    }

    /// Brings index and mempool to the kernel's active chain. After a reorg the transactions of
    /// lost blocks return to the mempool, those that still can, if `keep_transactions`.
    fn follow(&mut self, keep_transactions: bool) -> Result<()> {
        let mut lost: Vec<Vec<Transaction>> = Vec::new();
        while self.kernel.hash_at(self.index.height()) != self.index.hash_at(self.index.height()) {
            let block = self
                .index
                .disconnect()
                .ok_or_else(|| out_of_step("the chains do not share a block"))?;
            lost.push(block.txdata.iter().skip(1).cloned().collect());
        }
        let next = self.index.height().saturating_add(1);
        for height in next..=self.kernel.height() {
            let block = self.kernel.hash_at(height).and_then(|hash| self.index.connect(hash));
            self.mempool.settle(block.ok_or_else(|| {
                out_of_step(format_args!("the block at height {height} is not known"))
            })?);
        }
        if !lost.is_empty() {
            // All is judged anew: coins have vanished, heights and times have changed.
            let returned = lost.into_iter().rev().flatten().filter(|_| keep_transactions);
            let waiting: Vec<Transaction> = returned.chain(self.mempool.drain()).collect();
            for tx in waiting {
                // What the new chain does not admit is gone, as in any node.
                let _ = self.admit(tx, Origin::Before);
            }
        }
        Ok(())
    }

    /// Replaces the last blocks by empty ones, the first on top of height `fork`, each paying what
    /// `payouts` lists for it.
    pub(super) fn replace(
        &mut self,
        fork: u32,
        payouts: &[Vec<TxOut>],
        keep_transactions: bool,
    ) -> Result<()> {
        let mut parents = self.parents(fork);
        for (height, payouts) in (fork.saturating_add(1)..).zip(payouts) {
            let template =
                blocks::template(height, &parents, self.spacing, subsidy(height), Vec::new())?;
            let block = self.grind(&template, payouts)?;
            self.hand_in(&block)?;
            parents.push(block.header);
        }
        self.follow(keep_transactions)?;
        if self.index.height() < fork.saturating_add(payouts.len() as u32) {
            return Err(REORG.broken("new branch", "the best chain", "a shorter one"));
        }
        Ok(())
    }

    /// Takes a transaction into the mempool, or says in Core's words why not.
    pub(super) fn admit(&mut self, tx: Transaction, origin: Origin) -> Result<Txid, String> {
        let txid = tx.compute_txid();
        if self.mempool.get(txid).is_some() {
            return Ok(txid);
        }
        let mut outpoints = (0u32..).zip(&tx.output).map(|(vout, _)| OutPoint::new(txid, vout));
        if self.index.place(txid).is_some() && outpoints.any(|o| !self.index.is_spent(o)) {
            return Err("Transaction outputs already in utxo set".into());
        }
        for input in &tx.input {
            if let Some(first) = self.mempool.spender(input.previous_output) {
                let outpoint = input.previous_output;
                return Err(format!("txn-mempool-conflict, {outpoint} is spent by {first}"));
            }
        }
        if origin == Origin::Broadcast {
            policy::standard(&tx)?;
        }
        let candidate = self.candidate(&tx).map_err(|e| e.to_string())?;
        self.judge.judge(&candidate)?;
        let fee = self.fee(&tx).ok_or("bad-txns-in-belowout")?;
        if origin == Origin::Broadcast {
            policy::topology(&tx, &self.mempool)?;
            policy::relay_fee(&tx, fee)?;
        }
        let scripts = Index::touched(&tx, |outpoint| self.output(outpoint));
        self.mempool.push(Entry { tx, fee, scripts });
        Ok(txid)
    }

    /// The block that the judge is asked about (see `kernel`).
    fn candidate(&mut self, tx: &Transaction) -> Result<Block> {
        let (tip, _) = self.tip()?;
        let mut transactions: Vec<Transaction> =
            self.mempool.ancestors(tx).into_iter().cloned().collect();
        transactions.push(tx.clone());
        let too_much = Amount::MAX_MONEY;
        let height = tip.saturating_add(1);
        let template =
            blocks::template(height, &self.parents(tip), self.spacing, too_much, transactions)?;
        self.grind(&template, &[TxOut { value: too_much, script_pubkey: ScriptBuf::new() }])
    }

    /// An output on the chain or in the mempool, spent or not.
    pub(super) fn output(&self, outpoint: OutPoint) -> Option<&TxOut> {
        self.mempool.output(outpoint).or_else(|| self.index.output(outpoint))
    }

    fn fee(&self, tx: &Transaction) -> Option<Amount> {
        let spent = tx.input.iter().try_fold(Amount::ZERO, |sum, input| {
            sum.checked_add(self.output(input.previous_output)?.value)
        })?;
        let paid = tx.output.iter().try_fold(Amount::ZERO, |sum, o| sum.checked_add(o.value))?;
        spent.checked_sub(paid)
    }
}

/// Where a transaction comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Somebody broadcasts it: relay policy applies.
    Broadcast,
    /// It has been in a block or in the mempool before: only Core's validation applies.
    Before,
}

fn out_of_step(found: impl core::fmt::Display) -> Error {
    BLOCK.broken("embedded node", "index and kernels in step", found)
}
