//! A seal moves without a sale: to withdraw its offers, or to end its position.
//!
//! | the seal, says the chain | then |
//! |---|---|
//! | is unspent | it is moved |
//! | is spent by what waits for a block | it is moved, for a higher fee than that pays (BIP 125) |
//! | is spent in a block | it is not there |
//!
//! A sale that waits too long is what a withdrawal is needed for most: until it is replaced, it can still
//! be mined.

use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxOut};

use super::again::Sending;
use super::{SPAN, Trader, check_signer, paying};
use crate::amount;
use crate::error::{Culprit, Error, Result, Rule};
use crate::flow::position::coins::{POSTAGE, retirement};
use crate::flow::sale::coins::{SEAL_MOVED, held_seal};
use crate::flow::sale::consent::Party;
use crate::flow::sale::txs::{Purse, Seal, needed_to_move};
use crate::script::seal::SealLock;
use crate::sign::software::SoftwareSigner;
use crate::tx::exchange::{Exchange, Exchanging};

/// A move that waits is replaced by one that pays more.
pub const REPLACES: Rule = Rule::new(
    "sale-replaces",
    "a withdrawal or a retirement pays a higher fee than what waits to move the seal (BIP 125)",
    "name a higher fee rate",
);

impl Trader {
    /// Withdraws every offer of a seal: moves it to the same holder under the next number.
    pub fn withdraw(
        &mut self,
        seal: &Seal<'_>,
        signer: &SoftwareSigner,
        sat_per_vb: u64,
    ) -> Result<Transaction> {
        let to = held_seal(seal.terms, seal.position, &seal.withdrawn())?.script_pubkey;
        self.move_seal(seal, signer, sat_per_vb, &to, |seal, purse| seal.withdraw(purse))
    }

    /// Ends a position: moves its seal to the retirement script.
    pub fn retire(
        &mut self,
        seal: &Seal<'_>,
        signer: &SoftwareSigner,
        sat_per_vb: u64,
    ) -> Result<Transaction> {
        let to = retirement(seal.terms)?.script_pubkey;
        self.move_seal(seal, signer, sat_per_vb, &to, |seal, purse| seal.retire(purse))
    }

    fn move_seal(
        &mut self,
        seal: &Seal<'_>,
        signer: &SoftwareSigner,
        sat_per_vb: u64,
        to: &ScriptBuf,
        build: impl Fn(&Seal<'_>, Purse<'_>) -> Result<Exchange>,
    ) -> Result<Transaction> {
        check_signer(&seal.held.record, signer)?;
        let lock = held_seal(seal.terms, seal.position, seal.held)?;
        // Asked again, he sends the same: its coins are reserved already.
        if let Some(held) = self.moving(seal.outpoint, to)? {
            self.send_or_forget(&held)?;
            return Ok(held.tx);
        }
        let waiting = self.check_held(&lock, seal.outpoint)?;
        let wallet = self.wallet()?;
        let (coins, change) =
            wallet.reserve(&|coins| needed_to_move(seal, &paying(coins), sat_per_vb))?;
        let coins = paying(&coins);
        let built = build(seal, Purse { coins: &coins, change: &change, sat_per_vb }).and_then(
            |exchange| self.check_replaces(waiting.as_ref(), &exchange).map(|()| exchange),
        );
        let exchange = match built {
            Ok(exchange) => exchange,
            Err(error) => {
                self.wallet.release_coins(coins.iter().map(|coin| coin.outpoint));
                return Err(error);
            }
        };
        let mut signing = Exchanging::new(exchange);
        for input in 0..signing.exchange().parts().len() {
            let witness = self.sign(&signing, input, Party::Seller, signer)?;
            signing.add(input, None, &witness, Culprit::Holder)?;
        }
        let tx = signing.finish()?.tx;
        let (about, seal) = (seal.position.0, lock.script_pubkey);
        self.send_or_forget(&Sending { about, seal, until: None, tx: tx.clone() })?;
        Ok(tx)
    }

    /// Sends a move of a seal. What the server refuses is not asked for again, and its coins are free:
    /// the next one may pay more.
    fn send_or_forget(&mut self, one: &Sending) -> Result<()> {
        let sent = self.send(one);
        if let Err(Error::Refused { .. }) = &sent {
            let coins: Vec<OutPoint> =
                one.tx.input.iter().skip(1).map(|input| input.previous_output).collect();
            self.wallet.release_coins(coins);
            self.take_back(&one.about)?;
        }
        sent
    }

    /// Refuses a seal that is not there, or that a block has moved. Answers with what only waits to move
    /// it: a sale that hangs at a low fee is what a withdrawal is for.
    fn check_held(&mut self, lock: &SealLock, outpoint: OutPoint) -> Result<Option<Transaction>> {
        let (tip, _) = self.chain.electrum().tip()?;
        let scripts = [lock.script_pubkey.clone()];
        let facts = self.chain.facts(&mut self.store, &scripts, tip.saturating_sub(SPAN))?;
        let held = TxOut { value: POSTAGE, script_pubkey: lock.script_pubkey.clone() };
        let coins = facts.coins(&lock.script_pubkey);
        let seal = coins.iter().find(|coin| coin.outpoint == outpoint && coin.txout == held);
        let spender = seal.map(|coin| coin.spender.and_then(|id| facts.transactions.get(&id)));
        match spender {
            Some(None) => return Ok(None),
            Some(Some(seen)) if seen.height.is_none() => return Ok(Some(seen.tx.clone())),
            _ => {}
        }
        let found = format_args!("no unspent seal of this holder and number at {outpoint}");
        Err(SEAL_MOVED.refuses(Culprit::Holder, "seal", "the seal that is held", found))
    }

    /// Refuses a move that pays no more than what it is to replace, where that can be known; whether it
    /// is enough the server says.
    fn check_replaces(&self, waiting: Option<&Transaction>, ours: &Exchange) -> Result<()> {
        let Some((waiting, theirs)) = waiting.and_then(|tx| Some((tx, self.fee_of(tx)?))) else {
            return Ok(());
        };
        let fee = ours.fee()?;
        if fee > theirs {
            return Ok(());
        }
        let place = format_args!("{}, fee", ours.title()).to_string();
        let expected =
            format!("more than the {} sat of {}", theirs.to_sat(), waiting.compute_txid());
        Err(REPLACES.misused(place, expected, format_args!("{} sat", fee.to_sat())))
    }

    /// What a transaction pays for itself; none where the server does not tell what it spends.
    fn fee_of(&self, tx: &Transaction) -> Option<Amount> {
        let spent = tx.input.iter().map(|input| {
            let OutPoint { txid, vout } = input.previous_output;
            let before = self.chain.electrum().transaction(txid).ok()?;
            before.output.get(usize::try_from(vout).ok()?).map(|out| out.value)
        });
        let spent = amount::sum(spent.collect::<Option<Vec<Amount>>>()?, "inputs").ok()?;
        let paid = amount::sum(tx.output.iter().map(|out| out.value), "outputs").ok()?;
        spent.checked_sub(paid)
    }
}
