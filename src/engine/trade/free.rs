//! A buyer's coins given back, where nothing came of a sale.
//!
//! | the buyer | the chain | his coins |
//! |---|---|---|
//! | has not signed | | are free: nobody can send the sale |
//! | has signed | a block holds another spend of the seal, of the escrow or of a coin | are free |
//! | has signed | | stay reserved: whoever has all signatures can send the sale, whatever its offer says |
//!
//! To end the third case he spends them to himself ([`Trader::reclaim`]): the sale needs them all.

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::sighash::{Prevouts, SighashCache};
use bitcoin::transaction::Version;
use bitcoin::{OutPoint, Sequence, TapSighashType, Transaction, TxIn, TxOut, Witness};

use super::Trader;
use super::again::Sending;
use crate::amount;
use crate::error::{Error, Result, Rule};
use crate::facts::Facts;
use crate::flow::sale::consent::Party;
use crate::flow::sale::state::State;
use crate::flow::sale::terms::{Acceptance, OfferBody, Paying};
use crate::tx::draft::fee;
use crate::tx::exchange::signed;

/// What can still be taken is not free.
pub const FREE: Rule = Rule::new(
    "sale-free",
    "coins of a sale that its buyer has signed are free once a block holds another spend of one of them, of the seal or of the escrow",
    "spend them to yourself: hashmix sale release --spend --fee-rate N; with --anyway they are free at once, and the sale can still be sent",
);

impl Trader {
    /// Gives the coins of an acceptance back; refused where the sale could still be sent.
    pub fn release(&mut self, state: &State) -> Result<()> {
        let Some(acceptance) = state.acceptance() else { return Ok(()) };
        let signed = state.consents().iter().any(|consent| consent.by == Party::Buyer);
        if signed && !decided(&state.offer().offer, acceptance, &self.facts(state)?) {
            let expected = "a block with another spend of what it spends";
            return Err(FREE.misused("sale, coins", expected, "a sale that you have signed"));
        }
        self.give_up(acceptance)
    }

    /// Gives the coins of an acceptance back, whatever was signed. Its exchange can still be sent by
    /// others if the buyer has signed it: then only spending a coin of it makes sure.
    pub fn give_up(&mut self, acceptance: &Acceptance) -> Result<()> {
        let outpoints = acceptance.acceptance.coins.iter().map(|coin| coin.outpoint);
        self.wallet.release_coins(outpoints.collect::<Vec<_>>());
        self.take_back(&acceptance.acceptance.offer.0)
    }

    /// Spends the buyer's own coins of a sale to himself, so that it can no more be made. They stay
    /// reserved until a block holds that. It is on disk before it is sent; asked again, it pays the same
    /// address, and at the same rate it is the same transaction.
    pub fn reclaim(&mut self, state: &State, sat_per_vb: u64) -> Result<Transaction> {
        let Some(acceptance) = state.acceptance().cloned() else {
            return Err(FREE.misused("sale, coins", "an acceptance", "none"));
        };
        self.wallet()?;
        let facts = self.facts(state)?;
        if decided(&state.offer().offer, &acceptance, &facts) {
            let expected = "a sale that could still be sent";
            return Err(FREE.misused("sale, coins", expected, "one that a block has decided"));
        }
        // What a reorg took is spent by nobody; one of the others is enough.
        let there = |coin: &Paying| {
            let script = &coin.txout.script_pubkey;
            let known = facts.coins(script);
            self.wallet.is_ours(script) && known.iter().any(|known| known.outpoint == coin.outpoint)
        };
        let coins: Vec<Paying> =
            acceptance.acceptance.coins.iter().filter(|coin| there(coin)).cloned().collect();
        let Some(first) = coins.first().cloned() else {
            let expected = "coins of this wallet; those of another one are spent there";
            return Err(FREE.misused("sale, coins", expected, "none"));
        };
        let about = state.offer().offer.id()?.0;
        let mut before = self.sending()?.into_iter();
        let before = before.find(|one| one.about == about && one.until.is_none());
        let to = match before.and_then(|one| one.tx.output.first().cloned()) {
            Some(out) => out.script_pubkey,
            None => self.wallet.next_address(&mut self.store)?.script_pubkey(),
        };
        let inputs = coins.iter().map(|coin| TxIn {
            previous_output: coin.outpoint,
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            // Room for a signature.
            witness: Witness::from_slice(&[[0u8; 64]]),
            ..TxIn::default()
        });
        let sum = amount::sum(coins.iter().map(|coin| coin.txout.value), "coins")?;
        let mut tx = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: inputs.collect(),
            output: vec![TxOut { value: sum, script_pubkey: to }],
        };
        // Signatures have their size already.
        let cost = fee(u64::try_from(tx.vsize()).unwrap_or(u64::MAX), sat_per_vb)?;
        for out in &mut tx.output {
            let rest =
                sum.checked_sub(cost).filter(|rest| *rest >= out.script_pubkey.minimal_non_dust());
            out.value = rest.ok_or_else(|| {
                let expected = format!("more than the fee of {} sat", cost.to_sat());
                FREE.misused("sale, coins", expected, format_args!("{} sat", sum.to_sat()))
            })?;
        }
        let prevouts: Vec<TxOut> = coins.iter().map(|coin| coin.txout.clone()).collect();
        let mut witnesses = Vec::with_capacity(coins.len());
        let mut cache = SighashCache::new(&tx);
        for (input, coin) in coins.iter().enumerate() {
            let kind = TapSighashType::Default;
            let sighash = cache
                .taproot_key_spend_signature_hash(input, &Prevouts::All(&prevouts), kind)
                .map_err(|error| FREE.broken("sale, coins", "a message to sign", error))?;
            let script = &coin.txout.script_pubkey;
            witnesses.push(signed(&self.wallet.sign_coin(script, sighash.to_byte_array())?));
        }
        for (input, witness) in tx.input.iter_mut().zip(witnesses) {
            input.witness = witness;
        }
        // Nobody of us sends the sale any more, nor an earlier one of these.
        self.take_back(&about)?;
        let seal = first.txout.script_pubkey;
        let sent = self.send(&Sending { about, seal, until: None, tx: tx.clone() });
        if let Err(Error::Refused { .. }) = &sent {
            self.take_back(&about)?;
        }
        sent?;
        Ok(tx)
    }
}

/// Whether a block holds a spend of something that the sale spends.
fn decided(offer: &OfferBody, acceptance: &Acceptance, facts: &Facts) -> bool {
    let escrow = offer.resale.iter().map(|resale| resale.escrow);
    let coins = acceptance.acceptance.coins.iter().map(|coin| coin.outpoint);
    let mut spent = core::iter::once(offer.seal).chain(escrow).chain(coins);
    spent.any(|outpoint: OutPoint| {
        let spender = facts.spender(outpoint).and_then(|txid| facts.transactions.get(&txid));
        spender.is_some_and(|seen| seen.height.is_some())
    })
}
