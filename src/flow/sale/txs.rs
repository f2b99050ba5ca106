//! The transactions of the sale flow: the exchange, and the seal's moves without one.
//!
//! ```text
//!  primary sale                              resale
//!  in 0   seal        out 0  seal            in 0   seal          out 0  seal
//!  in 1.. coins       out 1  escrow: price   in 1   old escrow    out 1  escrow: V - due
//!                     out 2  change          in 2.. coins         out 2  due, to the miner
//!                                                                 out 3  price, to the seller
//!                                                                 out 4  change
//! ```
//! The buyer pays the fee. A due below dust stays in the escrow; a change below dust goes to the fee.
//! Seen from the contract before, a resale is a close whose rest goes into the contract after.

use bitcoin::{Amount, OutPoint, ScriptBuf, TxOut};

use crate::amount;
use crate::error::{Culprit, Result, Rule};
use crate::flow::escrow;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::position::coins::{POSTAGE, retirement, transferred_seal};
use crate::flow::position::terms::PositionTerms;
use crate::flow::sale::coins::{check_kinds, held_seal, old_escrow, present_seal, sold_seal};
use crate::flow::sale::terms::{Acceptance, AcceptanceBody, Held, Offer, OfferBody, Paying};
use crate::id::PositionId;
use crate::party::Record;
use crate::script::seal::SealLock;
use crate::tx::carrier;
use crate::tx::draft::{Title, fee};
use crate::tx::exchange::{Exchange, Part, Way, vsize};

/// The coins suffice.
pub const FUNDS: Rule = Rule::new(
    "sale-funds",
    "the coins that pay cover the price and the fee",
    "pay with more coins",
);

/// A sale as both sides build it.
#[derive(Debug)]
pub struct Bargain {
    /// The terms of the contract that it makes.
    pub contract: EscrowTerms,
    /// The transaction.
    pub exchange: Exchange,
}

/// What a sale spends and pays beside the buyer's coins and his change.
struct Frame {
    contract: EscrowTerms,
    title: Title,
    not_before: u32,
    parts: Vec<Part>,
    outputs: Vec<TxOut>,
    seal: ScriptBuf,
}

/// What the buyer's coins must hold to pay at this rate, if they are `coins`: with a change output.
pub fn needed(
    offer: &OfferBody,
    buyer: &Record,
    coins: &[Paying],
    sat_per_vb: u64,
) -> Result<Amount> {
    let frame = frame(offer, buyer)?;
    needed_in(&frame.parts, &frame.outputs, coins, sat_per_vb)
}

/// The same for moving a seal without a sale.
pub fn needed_to_move(seal: &Seal<'_>, coins: &[Paying], sat_per_vb: u64) -> Result<Amount> {
    let to = retirement(seal.terms)?.script_pubkey;
    let outputs = [TxOut { value: POSTAGE, script_pubkey: to }];
    needed_in(&[seal.part()?], &outputs, coins, sat_per_vb)
}

fn needed_in(
    parts: &[Part],
    outputs: &[TxOut],
    coins: &[Paying],
    sat_per_vb: u64,
) -> Result<Amount> {
    let parts: Vec<Part> = parts.iter().cloned().chain(coins.iter().map(paid_with)).collect();
    let (spent, paid) = (spent(&parts)?, amount::sum(values(outputs), "sale")?);
    let ours = amount::sum(coins.iter().map(|coin| coin.txout.value), "coins")?;
    // A change is Taproot in our wallets: as large as the seal's output.
    let change = outputs.first().cloned();
    let all: Vec<TxOut> = outputs.iter().cloned().chain(change).collect();
    let cost = fee(vsize(&parts, &all)?, sat_per_vb)?;
    let others = spent.checked_sub(ours).unwrap_or(Amount::ZERO);
    let needed = amount::sum([paid, cost], "sale")?;
    Ok(needed.checked_sub(others).unwrap_or(Amount::ZERO))
}

fn values(outputs: &[TxOut]) -> impl Iterator<Item = Amount> {
    outputs.iter().map(|out| out.value)
}

fn spent(parts: &[Part]) -> Result<Amount> {
    amount::sum(parts.iter().map(|part| part.prevout.value), "sale")
}

fn paid_with(coin: &Paying) -> Part {
    Part { outpoint: coin.outpoint, prevout: coin.txout.clone(), way: Way::Coin }
}

fn seal_part(outpoint: OutPoint, seal: SealLock) -> Part {
    let prevout = TxOut { value: POSTAGE, script_pubkey: seal.script_pubkey.clone() };
    Part { outpoint, prevout, way: Way::Seal(seal) }
}

fn frame(offer: &OfferBody, buyer: &Record) -> Result<Frame> {
    let contract = offer.contract(buyer)?;
    let seal = sold_seal(offer, &contract)?.script_pubkey;
    let mut parts = vec![seal_part(offer.seal, present_seal(offer)?)];
    let mut outputs = vec![
        TxOut { value: POSTAGE, script_pubkey: seal.clone() },
        escrow::coins::funding(&contract)?,
    ];
    let mut title = Title("sale");
    let mut not_before = 0;
    if let Some(resale) = &offer.resale {
        let old = old_escrow(resale)?;
        let prevout = old.txout();
        let way = Way::Lock(old.lock, resale.guard.path());
        parts.push(Part { outpoint: resale.escrow, prevout, way });
        let due = resale.taken_over()?.due;
        if due > Amount::ZERO {
            let script_pubkey = offer.terms.reward.miner.payout_script();
            outputs.push(TxOut { value: due, script_pubkey });
        }
        let script_pubkey = offer.seller.record.payout_script();
        outputs.push(TxOut { value: offer.price, script_pubkey });
        title = Title("resale");
        not_before = resale.contract.ruling_height(resale.outcome.period)?;
    }
    Ok(Frame { contract, title, not_before, parts, outputs, seal })
}

/// The exchange of an offer and its acceptance: what everybody builds for himself.
pub fn bargain(offer: &OfferBody, acceptance: &AcceptanceBody) -> Result<Bargain> {
    check_kinds(offer, acceptance)?;
    let Frame { contract, title, not_before, parts, outputs, seal } =
        frame(offer, &acceptance.holder)?;
    contract.check_rate(acceptance.sat_per_vb, Culprit::Sender)?;
    let paying = Purse {
        coins: &acceptance.coins,
        change: &acceptance.change,
        sat_per_vb: acceptance.sat_per_vb,
    };
    let (parts, outputs) = paying.pay(parts, outputs, title)?;
    let exchange = Exchange::new(title, not_before, parts, outputs, seal)?;
    Ok(Bargain { contract, exchange })
}

/// The bargain, after holding the buyer's PSBT to it, field by field.
pub fn compared(offer: &Offer, acceptance: &Acceptance) -> Result<Bargain> {
    let bargain = bargain(&offer.offer, &acceptance.acceptance)?;
    let theirs = carrier::read(acceptance.acceptance.psbt.as_bytes(), Culprit::Sender)?;
    bargain.exchange.compare(&theirs, Culprit::Sender)?;
    Ok(bargain)
}

/// Whose coins pay, and how much a virtual byte.
#[derive(Clone, Copy, Debug)]
pub struct Purse<'a> {
    /// The coins.
    pub coins: &'a [Paying],
    /// Where the change goes.
    pub change: &'a ScriptBuf,
    /// Fee rate, sat/vB.
    pub sat_per_vb: u64,
}

impl Purse<'_> {
    /// Adds the coins, and the change if it is above dust.
    fn pay(
        &self,
        mut parts: Vec<Part>,
        mut outputs: Vec<TxOut>,
        title: Title,
    ) -> Result<(Vec<Part>, Vec<TxOut>)> {
        parts.extend(self.coins.iter().map(paid_with));
        let (spent, paid) = (spent(&parts)?, amount::sum(values(&outputs), title)?);
        let mut change = TxOut { value: Amount::ZERO, script_pubkey: self.change.clone() };
        let short = |outputs: &[TxOut]| -> Result<Result<Amount>> {
            let cost = fee(vsize(&parts, outputs)?, self.sat_per_vb)?;
            let needed = amount::sum([paid, cost], title)?;
            Ok(spent.checked_sub(needed).ok_or_else(|| {
                FUNDS.refuses(Culprit::Sender, title, format_args!("inputs of {needed}"), spent)
            }))
        };
        let with_change: Vec<TxOut> = outputs.iter().cloned().chain([change.clone()]).collect();
        match short(&with_change)? {
            Ok(rest) if rest >= self.change.minimal_non_dust() => {
                change.value = rest;
                outputs.push(change);
            }
            _ => {
                short(&outputs)??;
            }
        }
        Ok((parts, outputs))
    }
}

/// A seal where it is, and who holds it how.
#[derive(Clone, Copy, Debug)]
pub struct Seal<'a> {
    /// The position's terms.
    pub terms: &'a PositionTerms,
    /// The position.
    pub position: PositionId,
    /// How it is held.
    pub held: &'a Held,
    /// Where it is.
    pub outpoint: OutPoint,
}

impl Seal<'_> {
    fn part(&self) -> Result<Part> {
        Ok(seal_part(self.outpoint, held_seal(self.terms, self.position, self.held)?))
    }

    fn moved(&self, title: Title, to: ScriptBuf, purse: Purse<'_>) -> Result<Exchange> {
        let outputs = vec![TxOut { value: POSTAGE, script_pubkey: to.clone() }];
        let (parts, outputs) = purse.pay(vec![self.part()?], outputs, title)?;
        Exchange::new(title, 0, parts, outputs, to)
    }

    /// How the seller holds the seal once he has withdrawn his offers.
    pub fn withdrawn(&self) -> Held {
        Held { number: self.held.number.saturating_add(1), ..self.held.clone() }
    }

    /// Withdraws every offer: moves the seal to the same record under the next number. The contract
    /// that came with the seal, if there is one, stays.
    pub fn withdraw(&self, purse: Purse<'_>) -> Result<Exchange> {
        let Held { record, number, sale } = self.withdrawn();
        let to = transferred_seal(self.position, number, &record, sale)?;
        self.moved(Title("withdrawal"), to.script_pubkey, purse)
    }

    /// Ends the position: moves the seal to the retirement script.
    pub fn retire(&self, purse: Purse<'_>) -> Result<Exchange> {
        self.moved(Title("retirement"), retirement(self.terms)?.script_pubkey, purse)
    }
}
