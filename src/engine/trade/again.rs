//! What was to be sent and perhaps was not: a process can end between the disk and the server.
//!
//! Whatever a trader sends he stores first, in one place for all sales and moves. When he comes back,
//! the chain is asked whether it knows each of them:
//!
//! | the chain | then |
//! |---|---|
//! | holds it, or another spend of its seal, 100 blocks deep | it is forgotten |
//! | holds it or waits for it | nothing |
//! | holds another spend of its seal | nothing: it is void |
//! | does not know it, and its offer is over | it is not sent: whoever sells may count on that |
//! | does not know it | it is sent again |
//!
//! A buyer who gave his coins back has taken his order back, too. What was sent behind its offer's last
//! height, because somebody said so, has no last height any more.

use bitcoin::consensus::serde::{Hex, With};
use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, ScriptBuf, Transaction, Txid};
use serde::{Deserialize, Serialize};

use super::Trader;
use crate::engine::READABLE;
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::header_sync::GuardedChain;
use crate::id::tagged_hash;
use crate::store::Store;
use crate::wallet::Wallet;

/// A transaction that is to be sent.
const SENDING: &str = "sending";
/// Nothing is to be sent any more of what is named.
const RELEASED: &str = "released";
/// A transaction makes way for another one over the same seal.
const REPLACED: &str = "replaced";
/// A transaction is too deep to be asked for.
const BURIED: &str = "buried";
/// Blocks on a transaction after which nobody asks for it any more.
const DEPTH: u32 = 100;

/// What is to be sent, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sending {
    /// The offer, or the position whose seal moves.
    pub(super) about: [u8; 32],
    /// The script of the seal, which its first input spends.
    pub(super) seal: ScriptBuf,
    /// Last height at which it may confirm; none for what is sent at any time.
    pub(super) until: Option<u32>,
    /// The transaction.
    #[serde(with = "With::<Hex>")]
    pub(super) tx: Transaction,
}

/// What became of a transaction when its trader came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Again {
    /// The chain did not know it, and it was sent again.
    Sent(Txid),
    /// The server refused it, and why.
    Refused(Txid, Error),
    /// Its offer was over at this height: it was not sent.
    Over(Txid, u32),
}

/// The one place in the store for all that is to be sent.
fn scope() -> [u8; 32] {
    tagged_hash("hashmix/sending/1", &[])
}

impl Sending {
    /// The seal's output that it spends.
    pub(super) fn spends(&self) -> Option<OutPoint> {
        self.tx.input.first().map(|input| input.previous_output)
    }

    /// The transaction that spends its seal as the chain has it, with its height.
    fn known(&self, facts: &Facts) -> Option<(Txid, Option<u32>)> {
        let spender = facts.spender(self.spends()?)?;
        Some((spender, facts.transactions.get(&spender)?.height))
    }
}

impl Trader {
    /// Somebody who comes back: what he had stored to be sent, and nobody knows, is sent again.
    pub fn open(store: Store, wallet: Wallet, chain: GuardedChain) -> Result<Self> {
        let mut trader = Self::new(store, wallet, chain);
        trader.again = trader.replay()?;
        Ok(trader)
    }

    /// What became of his transactions when he came back.
    pub fn again(&self) -> &[Again] {
        &self.again
    }

    fn replay(&mut self) -> Result<Vec<Again>> {
        let sending = self.sending()?;
        if sending.is_empty() {
            return Ok(Vec::new());
        }
        let seals: Vec<ScriptBuf> = sending.iter().map(|one| one.seal.clone()).collect();
        let facts = self.chain.facts(&mut self.store, &seals, u32::MAX)?;
        let next = facts.tip().saturating_add(1);
        let mut again = Vec::new();
        for one in sending {
            let txid = one.tx.compute_txid();
            match (one.known(&facts), one.until) {
                (Some((_, Some(height))), _) => {
                    if next.saturating_sub(height) >= DEPTH {
                        let buried = txid.to_byte_array().to_vec();
                        self.store.append(&scope(), &[(BURIED, buried)], None)?;
                    }
                }
                (Some((spender, None)), _) if spender == txid => {}
                (_, Some(until)) if next > until => again.push(Again::Over(txid, until)),
                _ => again.push(match self.chain.electrum().broadcast(&one.tx) {
                    Ok(txid) => Again::Sent(txid),
                    Err(error @ Error::Refused { .. }) => Again::Refused(txid, error),
                    // Without a server nothing can be told.
                    Err(error) => return Err(error),
                }),
            }
        }
        Ok(again)
    }

    /// What is to be sent, in the order in which it was stored.
    pub(super) fn sending(&self) -> Result<Vec<Sending>> {
        let mut all: Vec<Sending> = Vec::new();
        for entry in self.store.entries(&scope())? {
            match entry.kind.as_str() {
                SENDING => all.push(serde_json::from_slice(&entry.body).map_err(|error| {
                    let place = format_args!("event {}", entry.seq).to_string();
                    READABLE.unstored(place, "a transaction to be sent", error)
                })?),
                RELEASED => all.retain(|one| one.about.as_slice() != entry.body),
                BURIED | REPLACED => {
                    all.retain(|one| one.tx.compute_txid().as_byte_array()[..] != entry.body[..]);
                }
                _ => {}
            }
        }
        Ok(all)
    }

    /// Sends a transaction; that it is to be sent is on disk before, with the wallet's changes.
    pub(super) fn send(&mut self, one: &Sending) -> Result<()> {
        if !self.sending()?.contains(one) {
            let body = serde_json::to_vec(one)
                .map_err(|error| READABLE.broken("transaction to be sent", "JSON", error))?;
            self.append(&scope(), &[(SENDING, body)], None)?;
        }
        self.chain.electrum().broadcast(&one.tx).map(|_| ())
    }

    /// Stores a transaction in the place of another one, with the wallet's changes: never both, nor
    /// neither.
    pub(super) fn put_in_place(&mut self, of: &Sending, one: &Sending) -> Result<()> {
        let body = serde_json::to_vec(one)
            .map_err(|error| READABLE.broken("transaction to be sent", "JSON", error))?;
        let gone = of.tx.compute_txid().to_byte_array().to_vec();
        let staged = self.wallet.take_staged();
        let events = [(REPLACED, gone), (SENDING, body)];
        let done = self.store.append(&scope(), &events, staged.as_ref());
        if let (Err(_), Some(changes)) = (&done, staged) {
            self.wallet.restage(changes);
        }
        done
    }

    /// Takes back whatever was to be sent of an offer, with the wallet's changes.
    pub(super) fn take_back(&mut self, about: &[u8; 32]) -> Result<()> {
        self.append(&scope(), &[(RELEASED, about.to_vec())], None)
    }

    /// A move of a seal that was stored before, and that no block has decided yet.
    pub(super) fn moving(&mut self, seal: OutPoint, to: &ScriptBuf) -> Result<Option<Sending>> {
        let pays = |tx: &Transaction| tx.output.first().is_some_and(|out| out.script_pubkey == *to);
        let mut all = self.sending()?.into_iter();
        let Some(one) = all.find(|one| one.spends() == Some(seal) && pays(&one.tx)) else {
            return Ok(None);
        };
        let facts =
            self.chain.facts(&mut self.store, core::slice::from_ref(&one.seal), u32::MAX)?;
        let decided = one.known(&facts).is_some_and(|(_, height)| height.is_some());
        Ok(Some(one).filter(|_| !decided))
    }
}
