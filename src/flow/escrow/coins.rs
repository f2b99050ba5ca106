//! The escrow lock, and the one output of a contract that holds the price at a moment.

use bitcoin::{Amount, OutPoint, ScriptBuf, TxOut, Txid};

use crate::error::Result;
use crate::facts::Facts;
use crate::flow::escrow::terms::EscrowTerms;
use crate::script::lock::Lock;
use crate::script::template::{self, Policy};

/// The escrow's policy: the file under `descriptors/` with people and numbers in place.
pub fn policy(terms: &EscrowTerms) -> Result<Policy> {
    template::escrow(terms.reward.variant).fill(
        terms.reward.seats(),
        &[
            ("relock", u32::from(terms.delays.relock)),
            ("term_exit", terms.holder_exit_height()),
            ("miner_exit", terms.miner_exit_height()),
        ],
        terms.reward.network,
    )
}

/// The escrow lock after `index` settlements (the sale's own output has index 0).
pub fn lock(terms: &EscrowTerms, index: u32) -> Result<Lock> {
    Lock::from_policy(&policy(terms)?, terms.reward.variant, terms.reward.seats(), index)
}

/// The output that a sale pays: the whole price into the escrow lock of index 0.
pub fn funding(terms: &EscrowTerms) -> Result<TxOut> {
    Ok(TxOut { value: terms.price, script_pubkey: lock(terms, 0)?.script_pubkey })
}

/// The escrow output that holds what is not yet paid.
#[derive(Clone, Debug)]
pub struct EscrowCoin {
    /// Where it is.
    pub outpoint: OutPoint,
    /// Settlements before it.
    pub index: u32,
    /// What it holds (V, satoshis).
    pub value: Amount,
    /// Height of its block; `None` while it waits in the mempool.
    pub height: Option<u32>,
    /// Its lock.
    pub lock: Lock,
}

impl EscrowCoin {
    /// The output itself.
    pub fn txout(&self) -> TxOut {
        TxOut { value: self.value, script_pubkey: self.lock.script_pubkey.clone() }
    }

    /// Blocks on it at `tip`, its own included; 0 while unconfirmed.
    pub fn depth(&self, tip: u32) -> u32 {
        self.height.map_or(0, |height| tip.saturating_add(1).saturating_sub(height))
    }
}

/// How far the escrow has come, read from the chain alone.
// Made once a reading and taken apart at once: a box would buy nothing.
#[expect(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
pub enum Progress {
    /// No funding transaction is known.
    Unfunded,
    /// The escrow is open; this output holds the rest.
    Open(EscrowCoin),
    /// A close, an exit, or a spend of any other shape has ended it.
    Ended {
        /// The transaction that ended it.
        by: Txid,
        /// Its height; `None` while it waits in the mempool.
        height: Option<u32>,
    },
}

/// How an escrow ended, in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The transaction that ended it.
    pub by: Txid,
    /// Its height.
    pub height: u32,
    /// Whether it is a resale: there a seal stands before the escrow, which a settlement spends alone.
    pub resold: bool,
}

impl Ending {
    /// First height at which coinbases may have to pay another lock, as far as these terms tell: that of
    /// the next period.
    pub fn next_period(&self, terms: &EscrowTerms) -> u32 {
        let calendar = terms.calendar();
        let passed = self.height.checked_sub(calendar.start);
        let passed = passed.and_then(|blocks| blocks.checked_div(calendar.period));
        passed.map_or(calendar.start, |periods| {
            let blocks = calendar.period.saturating_mul(periods.saturating_add(1));
            calendar.start.saturating_add(blocks)
        })
    }
}

/// Follows the escrow from its funding through every re-lock.
///
/// The oldest output that pays exactly the price into lock 0 is the funding; nobody gains from a
/// second one, which only its maker can lose. A spend continues the escrow if its second output
/// pays the lock of the next index, and ends it otherwise.
pub fn progress(terms: &EscrowTerms, facts: &Facts) -> Result<Progress> {
    follow(terms, facts, |index| lock(terms, index))
}

fn follow(
    terms: &EscrowTerms,
    facts: &Facts,
    lock: impl Fn(u32) -> Result<Lock>,
) -> Result<Progress> {
    let first = lock(0)?;
    let funded = facts
        .coins(&first.script_pubkey)
        .into_iter()
        .find(|coin| coin.txout.value == terms.price && coin.height.is_some());
    let Some(coin) = funded else { return Ok(Progress::Unfunded) };
    let mut present = EscrowCoin {
        outpoint: coin.outpoint,
        index: 0,
        value: coin.txout.value,
        height: coin.height,
        lock: first,
    };
    while let Some(txid) = facts.spender(present.outpoint) {
        let Some(seen) = facts.transactions.get(&txid) else { break };
        let index = present.index.saturating_add(1);
        let next = lock(index)?;
        let relock = seen
            .tx
            .output
            .get(1)
            .filter(|out| out.script_pubkey == next.script_pubkey && out.value < present.value);
        match relock {
            Some(out) => {
                present = EscrowCoin {
                    outpoint: OutPoint::new(txid, 1),
                    index,
                    value: out.value,
                    height: seen.height,
                    lock: next,
                };
            }
            None => return Ok(Progress::Ended { by: txid, height: seen.height }),
        }
    }
    Ok(Progress::Open(present))
}

/// Terms with the locks that follow from them, each made once: a lock takes its keys' derivation,
/// and whoever follows an escrow needs one for each re-lock.
#[derive(Clone, Debug)]
pub struct Locked {
    terms: EscrowTerms,
    locks: Vec<Lock>,
}

impl Locked {
    /// Makes every lock up to one re-lock a period.
    pub fn new(terms: EscrowTerms) -> Result<Self> {
        let (policy, seats) = (policy(&terms)?, terms.reward.seats());
        let indices = 0..=terms.calendar().paid_periods();
        let locks = Lock::series(&policy, terms.reward.variant, seats, indices)?;
        Ok(Self { terms, locks })
    }

    /// The terms alone.
    pub fn terms(&self) -> &EscrowTerms {
        &self.terms
    }

    /// The escrow lock after `index` settlements: the same as [`lock`].
    pub fn lock(&self, index: u32) -> Result<Lock> {
        let known = usize::try_from(index).ok().and_then(|index| self.locks.get(index));
        known.map_or_else(|| lock(&self.terms, index), |lock| Ok(lock.clone()))
    }

    /// How far the escrow has come: the same as [`progress`].
    pub fn progress(&self, facts: &Facts) -> Result<Progress> {
        follow(&self.terms, facts, |index| self.lock(index))
    }

    /// How the escrow ended, once a block says so.
    pub fn ending(&self, facts: &Facts) -> Result<Option<Ending>> {
        let Progress::Ended { by, height: Some(height) } = self.progress(facts)? else {
            return Ok(None);
        };
        let second = facts.transactions.get(&by).and_then(|seen| seen.tx.input.get(1));
        let resold = second.is_some_and(|input| {
            let OutPoint { txid, vout } = input.previous_output;
            let before = facts.transactions.get(&txid);
            let vout = usize::try_from(vout).unwrap_or(usize::MAX);
            let spent = before.and_then(|seen| seen.tx.output.get(vout));
            spent.is_some_and(|out| self.scripts().any(|script| *script == out.script_pubkey))
        });
        Ok(Some(Ending { by, height, resold }))
    }

    /// The scripts that a watcher of the contract follows: every lock up to one re-lock a period.
    pub fn scripts(&self) -> impl Iterator<Item = &ScriptBuf> {
        self.locks.iter().map(|lock| &lock.script_pubkey)
    }
}

impl core::ops::Deref for Locked {
    type Target = EscrowTerms;

    fn deref(&self) -> &EscrowTerms {
        &self.terms
    }
}
