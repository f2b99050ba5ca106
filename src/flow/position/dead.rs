//! An issue that can be in no block any more: why the miner pays for another one.
//!
//! ```text
//!  block   X spends O                      X spends O
//!  dead    issue spends O                  lost spends O -> issue spends an output of lost
//!          two inscribed issues of         a reorg took the funding, and its own
//!          one parent: one of them won     money went elsewhere meanwhile
//! ```
//! A signed issue waits in everybody's hands for ever, so a second one is signed when the chain excludes
//! the first, and not when somebody says so. Everything here is proven by hashes but the place of `X`,
//! which lies in a block; how deep, everybody asks his own chain.

use bitcoin::consensus::serde::{Hex, With};
use bitcoin::{OutPoint, ScriptBuf, Transaction, Txid};
use serde::{Deserialize, Serialize};

use crate::error::{Culprit, Result, Rule};
use crate::facts::Facts;
use crate::tx::draft::Draft;
use crate::work::agreement::Profile;

/// Nothing is issued twice, though it may be paid for twice.
pub const DEAD: Rule = Rule::new(
    "policy-position-dead",
    "an issue is paid for once more when the one before can be in no block: an output that it rests on is spent by another transaction, 144 blocks deep (3 on regtest)",
    "wait until the other transaction is as deep; while the issue can still confirm, send it again",
);

/// Most transactions between an issue and the output that was spent elsewhere.
pub const MOST_LOST: usize = 8;

/// Blocks that must lie on what excludes an issue, its own included.
///
/// If they were undone, two issues of one position could confirm, and the position be sold twice. On
/// mainnet they are as many as the fewest after which a period is ruled on: whoever could undo them
/// could undo rulings too. On regtest, as many as fit between a binding and the term.
pub fn depth(profile: Profile) -> u32 {
    match profile {
        Profile::Mainnet => 144,
        Profile::Regtest => 3,
    }
}

/// A transaction that is in no block and can be in none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost(#[serde(with = "With::<Hex>")] pub Transaction);

/// Why an issue can be in no block any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dead {
    /// The issue.
    pub issue: Txid,
    /// What it rests on and is lost with it: first a transaction that made one of its inputs, then one
    /// that made an input of that. Empty where an input of the issue itself was spent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<Lost>,
    /// The output that another transaction has spent: an input of the last one lost.
    pub outpoint: OutPoint,
    /// The script that it pays, whose history shows who spent it.
    pub script: ScriptBuf,
}

impl Dead {
    /// Refuses a proof that does not exclude `issue` on this chain.
    pub fn check(&self, issue: &Draft, profile: Profile, facts: &Facts) -> Result<()> {
        let place = format!("issue {}", self.issue);
        let refuse = |expected: &dyn core::fmt::Display, found: &dyn core::fmt::Display| {
            DEAD.refuses(Culprit::Miner, &place, expected, found)
        };
        if issue.txid() != self.issue {
            return Err(refuse(
                &format_args!("the issue {} that was paid for", issue.txid()),
                &"another",
            ));
        }
        if self.lost.len() > MOST_LOST {
            let expected = format!("at most {MOST_LOST} lost transactions");
            return Err(refuse(&expected, &self.lost.len()));
        }
        let mut excluded = self.issue;
        let mut inputs: Vec<OutPoint> = issue.spends().iter().map(|spend| spend.outpoint).collect();
        for Lost(tx) in &self.lost {
            let txid = tx.compute_txid();
            if !inputs.iter().any(|input| input.txid == txid) {
                return Err(refuse(&format_args!("what {excluded} rests on"), &txid));
            }
            excluded = txid;
            inputs = tx.input.iter().map(|input| input.previous_output).collect();
        }
        if !inputs.contains(&self.outpoint) {
            return Err(refuse(&format_args!("an input of {excluded}"), &self.outpoint));
        }
        let depth = depth(profile);
        let spender = facts.transactions.iter().find_map(|(txid, seen)| {
            let spends = seen.tx.input.iter().any(|input| input.previous_output == self.outpoint);
            Some((*txid, seen.height?)).filter(|_| spends)
        });
        let expected = format!(
            "output {} spent by another transaction than {excluded}, {depth} blocks deep",
            self.outpoint
        );
        match spender {
            Some((txid, _)) if txid == excluded => Err(refuse(&expected, &"that one, in a block")),
            Some((txid, height)) => {
                let on_it = facts.tip().saturating_add(1).saturating_sub(height);
                match on_it >= depth {
                    true => Ok(()),
                    false => {
                        let found = format!("{txid}, {on_it} blocks deep");
                        Err(DEAD.unavailable(place, expected, found))
                    }
                }
            }
            None => Err(refuse(&expected, &"no other in a block: the issue can still confirm")),
        }
    }
}
