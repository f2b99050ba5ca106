//! A buyer's coins given back, where nothing came of a sale.
//!
//! | the buyer | the chain | his coins |
//! |---|---|---|
//! | has not signed | | are free: nobody can send the sale |
//! | has signed | a block holds another spend of the seal, of the escrow or of a coin | are free |
//! | has signed | | stay reserved: whoever has all signatures can send the sale, whatever its offer says |
//!
//! What is given back before anybody has signed makes room for another acceptance of the same offer; what
//! was signed stays as it was said. Only what this store has accepted itself is given back: anybody can
//! write an acceptance that names coins of somebody else, and they may be reserved for another purchase.
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
use crate::error::{Culprit, Error, Result, Rule};
use crate::facts::Facts;
use crate::flow::escrow::terms::FEES;
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

/// Coins are given back where they were reserved.
pub const OWN: Rule = Rule::new(
    "sale-own",
    "coins are given back, or spent, that an acceptance of this very home names",
    "name the home in which you accepted the offer",
);
/// What was given back is not bought with.
pub const RELEASED: Rule = Rule::new(
    "sale-released",
    "an offer whose coins were given back is accepted anew while nobody has signed, and not signed without that",
    "accept it again; where it was signed ask the seller for a new offer, and if you have signed spend the coins first: hashmix sale release --spend",
);

/// Kinds under which it lies beside a sale which acceptances are ours, each with the acceptance's digest:
/// coins of this wallet are reserved for it,
pub(super) const RESERVED: &str = "reserved";
/// it names coins of another wallet,
pub(super) const NAMED: &str = "named";
/// its coins were given back.
pub(super) const FREED: &str = "freed";

/// What became last of an acceptance of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    Reserved,
    Named,
    Freed,
}

impl Trader {
    /// Whether an acceptance is our own, and what became of it.
    fn own(&self, acceptance: &Acceptance) -> Result<Option<Own>> {
        let (body, mut own) = (&acceptance.acceptance, None);
        let id = body.id()?.0;
        for entry in self.store.entries(&body.offer.0)? {
            own = match entry.kind.as_str() {
                RESERVED if entry.body == id => Some(Own::Reserved),
                NAMED if entry.body == id => Some(Own::Named),
                FREED if entry.body == id => Some(Own::Freed),
                _ => own,
            };
        }
        Ok(own)
    }

    /// What became of an acceptance of our own; refused if it is none.
    fn check_own(&self, acceptance: &Acceptance) -> Result<Own> {
        let id = acceptance.acceptance.id()?;
        self.own(acceptance)?.ok_or_else(|| {
            OWN.misused("sale, acceptance", "one that was made here", format_args!("{id}"))
        })
    }

    /// Refuses to sign with coins that were given back.
    pub(super) fn check_kept(&self, acceptance: &Acceptance) -> Result<()> {
        match self.own(acceptance)? {
            Some(Own::Freed) => {
                let found = "one whose coins were given back";
                Err(RELEASED.misused("sale, acceptance", "one that holds its coins", found))
            }
            _ => Ok(()),
        }
    }

    /// The acceptance that the store holds, for whoever accepts again: his own, with its coins.
    pub(super) fn answered(&self, held: &Acceptance) -> Result<Acceptance> {
        self.check_own(held)?;
        self.check_kept(held)?;
        Ok(held.clone())
    }

    /// Gives the coins of an acceptance back; refused where the sale could still be sent.
    pub fn release(&mut self, state: &State) -> Result<()> {
        let Some(acceptance) = state.acceptance() else { return Ok(()) };
        self.check_own(acceptance)?;
        let signed = is_signed(state);
        if signed && !decided(&state.offer().offer, acceptance, &self.facts(state)?) {
            let expected = "a block with another spend of what it spends";
            return Err(FREE.misused("sale, coins", expected, "a sale that you have signed"));
        }
        self.give_up(acceptance)
    }

    /// Gives the coins of an acceptance back, whatever was signed. Its exchange can still be sent by
    /// others if the buyer has signed it: then only spending a coin of it makes sure.
    pub fn give_up(&mut self, acceptance: &Acceptance) -> Result<()> {
        let (own, body) = (self.check_own(acceptance)?, &acceptance.acceptance);
        // First of all nobody sends it any more.
        self.take_back(&body.offer.0)?;
        if own == Own::Freed {
            // By now its coins may be reserved for something else.
            return Ok(());
        }
        if own == Own::Reserved {
            let outpoints: Vec<OutPoint> = body.coins.iter().map(|coin| coin.outpoint).collect();
            self.wallet.release_coins(outpoints);
        }
        self.append(&body.offer.0, &[(FREED, body.id()?.0.to_vec())], None)
    }

    /// Spends the buyer's own coins of a sale to himself, so that it can no more be made. They stay
    /// reserved until a block holds that. It is on disk before it is sent; asked again, it pays the same
    /// address, and at the same rate it is the same transaction.
    pub fn reclaim(&mut self, state: &State, sat_per_vb: u64) -> Result<Transaction> {
        let Some(acceptance) = state.acceptance().cloned() else {
            return Err(FREE.misused("sale, coins", "an acceptance", "none"));
        };
        if self.check_own(&acceptance)? == Own::Freed && !is_signed(state) {
            let expected = "a sale that you have signed";
            return Err(FREE.misused("sale, coins", expected, "coins that are free already"));
        }
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
        // A sale that was sent overdue has no last height either, and pays its seal first.
        let outs = self.sending()?.into_iter().filter(|one| one.about == about);
        let mut outs = outs.filter_map(|one| one.tx.output.into_iter().next());
        let to = match outs.find(|out| self.wallet.is_ours(&out.script_pubkey)) {
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
        let size = u64::try_from(tx.vsize()).unwrap_or(u64::MAX);
        let most = most(state, &facts, size)?;
        if sat_per_vb > most {
            let expected = format!("up to {most} sat/vB");
            return Err(FEES.refuses(Culprit::Sender, "fee rate", expected, sat_per_vb));
        }
        let cost = fee(size, sat_per_vb)?;
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

/// Whether the buyer has signed.
fn is_signed(state: &State) -> bool {
    state.consents().iter().any(|consent| consent.by == Party::Buyer)
}

/// Highest rate (sat/vB) at which so many vB spend coins of a sale: the terms' cap. A sale that a server
/// has is replaced for a higher fee than its own alone (BIP 125), and it is larger: then as much as that
/// takes where it pays the cap, and a satoshi for each vB of ours.
fn most(state: &State, facts: &Facts, size: u64) -> Result<u64> {
    let cap = state.offer().offer.terms.fees.cap;
    let sale = facts.transactions.get(&state.bargain()?.exchange.txid());
    let Some(sale) = sale.filter(|seen| seen.height.is_none()) else { return Ok(cap) };
    let its = cap.saturating_mul(u64::try_from(sale.tx.vsize()).unwrap_or(u64::MAX));
    Ok(its.div_ceil(size.max(1)).saturating_add(2).max(cap))
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
