//! A seal moves without a sale: to withdraw its offers, or to end its position.
//!
//! | the seal, says the chain | then |
//! |---|---|
//! | is unspent | it is moved |
//! | is spent by what waits for a block | it is moved, for a higher fee than that pays (BIP 125) |
//! | is spent in a block | it is not there |
//!
//! A sale that waits too long is what a withdrawal is needed for most: until it is replaced, it can still
//! be mined. And one that he has signed can still be sent, so a move pays more than that, too.
//!
//! | asked again, with | then |
//! |---|---|
//! | the same fee rate, or a lower one | what was sent is sent again |
//! | a higher one | another one over the same coins is stored in its place, and sent |

use core::str::FromStr;

use bitcoin::{Amount, OutPoint, Psbt, ScriptBuf, Transaction, TxOut, Txid};

use super::again::Sending;
use super::{EVENT, SPAN, Trader, check_signer, paying};
use crate::amount;
use crate::error::{Culprit, Error, Result, Rule};
use crate::flow::position::coins::{POSTAGE, retirement};
use crate::flow::sale::coins::{SEAL_MOVED, held_seal};
use crate::flow::sale::consent::Party;
use crate::flow::sale::state::Event;
use crate::flow::sale::terms::Paying;
use crate::flow::sale::txs::{Purse, Seal, needed_to_move};
use crate::script::seal::SealLock;
use crate::sign::software::SoftwareSigner;
use crate::tx::exchange::{Exchange, Exchanging};

/// A move that waits is replaced by one that pays more.
pub const REPLACES: Rule = Rule::new(
    "sale-replaces",
    "a withdrawal or a retirement pays a higher fee than what waits to move the seal (BIP 125), and a higher fee rate than a sale of the seal that its holder has signed",
    "name a higher fee rate",
);

/// A seal on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The transaction that moves it.
    pub tx: Transaction,
    /// Its fee rate in sat/vB, rounded down, if it is what was sent before.
    pub already: Option<u64>,
    /// What was sent before, if this one takes its place.
    pub replaces: Option<Txid>,
}

/// Coins that pay for a move, and where their change goes.
struct Payment {
    coins: Vec<Paying>,
    change: ScriptBuf,
    /// Those of them that were reserved for it now.
    fresh: Vec<OutPoint>,
}

impl Trader {
    /// Withdraws every offer of a seal: moves it to the same holder under the next number.
    pub fn withdraw(
        &mut self,
        seal: &Seal<'_>,
        signer: &SoftwareSigner,
        sat_per_vb: u64,
    ) -> Result<Moved> {
        let to = held_seal(seal.terms, seal.position, &seal.withdrawn())?.script_pubkey;
        self.move_seal(seal, signer, sat_per_vb, &to, |seal, purse| seal.withdraw(purse))
    }

    /// Ends a position: moves its seal to the retirement script.
    pub fn retire(
        &mut self,
        seal: &Seal<'_>,
        signer: &SoftwareSigner,
        sat_per_vb: u64,
    ) -> Result<Moved> {
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
    ) -> Result<Moved> {
        check_signer(&seal.held.record, signer)?;
        let lock = held_seal(seal.terms, seal.position, seal.held)?;
        let before = match self.moving(seal.outpoint, to)? {
            None => None,
            Some(held) => {
                let coins = self.coins_of(&held.tx)?;
                let rate = rate(&held.tx, &coins)?;
                if sat_per_vb <= rate {
                    // Its coins are reserved already.
                    self.send_or_forget(&held)?;
                    return Ok(Moved { tx: held.tx, already: Some(rate), replaces: None });
                }
                Some((held, coins))
            }
        };
        let waiting = self.check_held(&lock, seal.outpoint)?;
        self.check_outbids(seal.outpoint, sat_per_vb)?;
        let Payment { coins, change, fresh } = match &before {
            Some((held, coins)) => self.paid_again(seal, held, coins, sat_per_vb)?,
            None => {
                let needed =
                    |coins: &[crate::facts::Coin]| needed_to_move(seal, &paying(coins), sat_per_vb);
                let (coins, change) = self.wallet()?.reserve(&needed)?;
                let fresh = coins.iter().map(|coin| coin.outpoint).collect();
                Payment { coins: paying(&coins), change, fresh }
            }
        };
        let built = build(seal, Purse { coins: &coins, change: &change, sat_per_vb }).and_then(
            |exchange| self.check_replaces(waiting.as_ref(), &exchange).map(|()| exchange),
        );
        let exchange = match built {
            Ok(exchange) => exchange,
            Err(error) => {
                self.wallet.release_coins(fresh);
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
        let one = Sending { about, seal, until: None, tx: tx.clone() };
        let Some((held, _)) = before else {
            self.send_or_forget(&one)?;
            return Ok(Moved { tx, already: None, replaces: None });
        };
        self.put_in_place(&held, &one)?;
        if let Err(error) = self.send(&one) {
            // Refused, it is nowhere, and what it was to replace may still wait for a block.
            if let Error::Refused { .. } = &error {
                self.wallet.release_coins(fresh);
                self.put_in_place(&one, &held)?;
            }
            return Err(error);
        }
        Ok(Moved { tx, already: None, replaces: Some(held.tx.compute_txid()) })
    }

    /// What pays for a move in the place of one that was sent: the same coins, and others where these are
    /// too few at the new rate.
    fn paid_again(
        &mut self,
        seal: &Seal<'_>,
        held: &Sending,
        coins: &[Paying],
        sat_per_vb: u64,
    ) -> Result<Payment> {
        let have = amount::sum(coins.iter().map(|coin| coin.txout.value), "coins")?;
        let before = held.tx.output.get(1).map(|out| out.script_pubkey.clone());
        let enough = needed_to_move(seal, coins, sat_per_vb)? <= have;
        if let (true, Some(change)) = (enough, &before) {
            return Ok(Payment {
                coins: coins.to_vec(),
                change: change.clone(),
                fresh: Vec::new(),
            });
        }
        if enough {
            let change = self.wallet.next_address(&mut self.store)?.script_pubkey();
            return Ok(Payment { coins: coins.to_vec(), change, fresh: Vec::new() });
        }
        let all = |more: &[crate::facts::Coin]| -> Vec<Paying> {
            coins.iter().cloned().chain(paying(more)).collect()
        };
        let more = self.wallet()?.reserve(&|more| {
            let needed = needed_to_move(seal, &all(more), sat_per_vb)?;
            Ok(needed.checked_sub(have).unwrap_or(Amount::ZERO))
        });
        match (more, before) {
            (Ok((more, change)), before) => {
                let fresh = more.iter().map(|coin| coin.outpoint).collect();
                Ok(Payment { coins: all(&more), change: before.unwrap_or(change), fresh })
            }
            // Without a change they may be enough: whoever builds it tells.
            (Err(Error::Refused { .. }), Some(change)) => {
                Ok(Payment { coins: coins.to_vec(), change, fresh: Vec::new() })
            }
            (Err(error), _) => Err(error),
        }
    }

    /// The coins that pay for a move of ours: whatever it spends beside the seal.
    fn coins_of(&self, tx: &Transaction) -> Result<Vec<Paying>> {
        let spent = tx.input.iter().skip(1).map(|input| {
            let outpoint = input.previous_output;
            let before = self.chain.electrum().transaction(outpoint.txid)?;
            let out = before.output.get(usize::try_from(outpoint.vout).unwrap_or(usize::MAX));
            let txout = out.cloned().ok_or_else(|| {
                SEAL_MOVED.broken("coin of a move", outpoint, before.output.len())
            })?;
            Ok(Paying { outpoint, txout })
        });
        spent.collect()
    }

    /// Refuses a fee rate at which a sale of the seal that he has signed could take the move's place. Who
    /// signs after him need not have told him so; what a block has made void he need not outbid.
    fn check_outbids(&mut self, seal: OutPoint, sat_per_vb: u64) -> Result<()> {
        for scope in self.store.contracts()? {
            let Some((rate, psbt)) = self.signed_away(&scope, seal)? else { continue };
            if sat_per_vb > rate {
                continue;
            }
            // Beside the seal: the escrow that a resale takes over, and the buyer's coins.
            let prevouts = psbt.inputs.iter().skip(1).filter_map(|it| it.witness_utxo.as_ref());
            let scripts: Vec<ScriptBuf> = prevouts.map(|out| out.script_pubkey.clone()).collect();
            let facts = self.chain.facts(&mut self.store, &scripts, u32::MAX)?;
            let void = psbt.unsigned_tx.input.iter().skip(1).any(|input| {
                let spender = facts.spender(input.previous_output);
                let seen = spender.and_then(|spender| facts.transactions.get(&spender));
                seen.is_some_and(|seen| seen.height.is_some())
            });
            if !void {
                let txid = psbt.unsigned_tx.compute_txid();
                let expected =
                    format!("above the {rate} sat/vB of the sale {txid}, which you have signed");
                let found = format_args!("{sat_per_vb} sat/vB");
                return Err(REPLACES.misused("fee rate", expected, found));
            }
        }
        Ok(())
    }

    /// What is stored under a name, if it is a sale of the seal that he has signed as its seller: its fee
    /// rate in sat/vB, and its transaction.
    fn signed_away(&self, scope: &[u8; 32], seal: OutPoint) -> Result<Option<(u64, Psbt)>> {
        let (mut accepted, mut signed) = (None, false);
        for entry in self.store.entries(scope)? {
            if entry.kind != EVENT {
                continue;
            }
            match serde_json::from_slice(&entry.body) {
                Ok(Event::Accepted(acceptance)) => accepted = Some(acceptance.acceptance),
                Ok(Event::Consented(consent)) => signed |= consent.by == Party::Seller,
                _ => {}
            }
        }
        let sale = accepted.filter(|_| signed).and_then(|accepted| {
            let psbt = Psbt::from_str(&accepted.psbt).ok()?;
            let first = psbt.unsigned_tx.input.first()?.previous_output;
            (first == seal).then_some((accepted.sat_per_vb, psbt))
        });
        Ok(sale)
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

/// The fee rate of a move, sat/vB, rounded down. Beside the coins it spends the seal, which comes out again
/// with the same value.
fn rate(tx: &Transaction, coins: &[Paying]) -> Result<u64> {
    let spent = amount::sum(coins.iter().map(|coin| coin.txout.value), "coins")?;
    let paid = amount::sum(tx.output.iter().skip(1).map(|out| out.value), "change")?;
    let fee = spent.checked_sub(paid).unwrap_or(Amount::ZERO).to_sat();
    Ok(fee.checked_div(u64::try_from(tx.vsize()).unwrap_or(u64::MAX)).unwrap_or(0))
}
