//! The miner pays for the issue: into an output of the issuer's script, and then, when a block holds it,
//! he says which positions it is for.
//!
//! ```text
//!  fund --fee-rate R --batch A --batch B     pays seals and fee; the store keeps what for
//!  fund --outpoint O --batch A --batch B     says it, at A and at B; held against what is kept
//! ```
//! What an output holds above the seals of its issue is the issue's fee, and what is said cannot be taken
//! back. So a batch that is not the one that was paid for would burn postage, and is refused here.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{Amount, FeeRate, OutPoint, Transaction, TxOut, Txid};
use serde::{Deserialize, Serialize};

use crate::amount;
use crate::chain::electrum::Electrum;
use crate::cli::arguments::{FundArguments, SeatArguments};
use crate::cli::position::miner::say;
use crate::cli::position::{line, sit, terms};
use crate::cli::{seed, wallet};
use crate::engine::issuing::Issuing;
use crate::engine::{POSSIBLE, READABLE};
use crate::error::{Culprit, Error, Result, Rule};
use crate::flow::position::coins::{self, POSTAGE};
use crate::flow::position::dead::{Dead, Lost};
use crate::flow::position::state::{AGAIN, EARLY, FUNDING, headers_from};
use crate::flow::position::terms::PositionTerms;
use crate::flow::position::txs::{self, Funding, Inscription};
use crate::flow::position::word::Event;
use crate::header_sync::GuardedChain;
use crate::id::TermsId;
use crate::party::Seat;
use crate::store::Store;
use crate::wallet::Wallet;

/// An output is used for what it was paid for.
pub const PAID_FOR: Rule = Rule::new(
    "position-paid-for",
    "an output is named with the positions that it was paid for, in their order, and holds their seals and a fee that its rate explains: what is above becomes the issue's fee",
    "name each position with --batch, as for the payment; `hashmix position fund` with --fee-rate again prints the whole command; for an output of another wallet's add the rate that it was paid at",
);

/// The kind under which a payment to the issuer's script lies in the store.
const PAYMENT: &str = "issue-funding";
/// What the miner's registered address gets beside the issuer's script, so that the payment is known
/// to be his: above the dust of every kind of address.
const MARK: Amount = Amount::from_sat(1_000);
/// Which output of a payment for an inscribed issue holds the issue's fee.
const FEE_OUTPUT: u32 = 2;
/// The kind under which the store keeps what a payment is for, beside it.
const PURPOSE: &str = "issue-purpose";

/// What a payment is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Purpose {
    /// The payment.
    txid: Txid,
    /// Its fee rate and the issue's, in sat/vB.
    sat_per_vb: u64,
    /// The terms of each position, in the order of their seals.
    positions: Vec<TermsId>,
    /// Their folders, as they were named; none for a position that is issued alone.
    dossiers: Vec<PathBuf>,
}

/// Pays for the issue, or names the output that pays.
pub(super) fn fund(arguments: &FundArguments) -> Result<Vec<String>> {
    let seat = &arguments.seat;
    let batch: Vec<PositionTerms> =
        arguments.batch.iter().map(|dossier: &PathBuf| terms(dossier)).collect::<Result<_>>()?;
    match (arguments.outpoint, arguments.fee_rate) {
        (Some(outpoint), rate) => {
            let mut issuing = sit(seat)?;
            let purpose = purpose(&open(seat)?, issuing.terms(), outpoint.txid)?;
            let issuer = coins::issuer(issuing.terms())?.script_pubkey;
            let held = issuing.facts()?.coins(&issuer);
            let value = |wanted: OutPoint| {
                let coin = held.iter().find(|coin| coin.outpoint == wanted);
                let coin = coin.filter(|coin| coin.height.is_some()).ok_or_else(|| {
                    let expected = "an output of the issuer's script in a block";
                    FUNDING.unavailable(format_args!("output {wanted}"), expected, "none yet")
                });
                coin.map(|coin| coin.txout.value)
            };
            let funding = match (arguments.parent, arguments.parent_at) {
                (Some(parent), Some(parent_at)) => {
                    // `pay` has put it there.
                    let fee_from = OutPoint { vout: FEE_OUTPUT, ..outpoint };
                    let fee = value(fee_from)?;
                    let inscription = Some(Inscription { parent, parent_at, fee_from, fee });
                    Funding { inscription, ..Funding::new(outpoint, POSTAGE) }
                }
                (Some(_), None) => {
                    return Err(POSSIBLE.misused("position fund", "--parent-at", "none"));
                }
                _ => Funding::new(outpoint, value(outpoint)?),
            };
            let named = among(&batch, issuing.terms());
            if let Some(purpose) = &purpose {
                purpose.check(named)?;
            }
            if funding.inscription.is_none() {
                let rate = rate.or(purpose.map(|purpose| purpose.sat_per_vb));
                explained(funding.value, named, rate)?;
            }
            let event = funded(&mut issuing, &payments(seat)?, funding, batch)?;
            drop(issuing);
            say(seat, event)
        }
        (None, Some(rate)) => pay(arguments, &batch, rate),
        (None, None) => Err(POSSIBLE.misused("position fund", "a fee rate or an output", "none")),
    }
}

/// The positions of the issue: the batch, or this one alone.
fn among<'a>(batch: &'a [PositionTerms], ours: &'a PositionTerms) -> &'a [PositionTerms] {
    if batch.is_empty() { core::slice::from_ref(ours) } else { batch }
}

fn ids(batch: &[PositionTerms]) -> Result<Vec<TermsId>> {
    batch.iter().map(PositionTerms::id).collect()
}

impl Purpose {
    /// Refuses other positions than those that were paid for.
    fn check(&self, named: &[PositionTerms]) -> Result<()> {
        let named = ids(named)?;
        if self.positions == named {
            return Ok(());
        }
        let list = |ids: &[TermsId]| {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            ids.join(", ")
        };
        let expected = format_args!("the issue of terms {}", list(&self.positions)).to_string();
        let found = format_args!("of {}", list(&named)).to_string();
        let place = format_args!("payment {}", self.txid).to_string();
        Err(PAID_FOR.refuses(Culprit::Miner, place, expected, found))
    }

    /// What names them on the command line.
    fn named(&self) -> String {
        batch_words(&self.dossiers)
    }
}

/// The batch as it is typed.
fn batch_words(dossiers: &[PathBuf]) -> String {
    dossiers.iter().fold(String::new(), |mut words, path| {
        // A String takes every write.
        let _ = write!(words, " --batch {}", typed(path));
        words
    })
}

/// A path as a shell takes it.
fn typed(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@".contains(c);
    if path.chars().all(plain) { path } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

/// Refuses an output whose fee no rate of the terms explains for these positions. Where the rate is not
/// known, what could be another seal's postage is no fee.
fn explained(value: Amount, named: &[PositionTerms], rate: Option<u64>) -> Result<()> {
    let Some(first) = named.first() else { return Ok(()) };
    let (place, count) = ("output for the issue", named.len());
    if let Some(rate) = rate {
        let asked = txs::funding(named, rate)?;
        let expected =
            format!("{} sat: {count} seals, and the fee at {rate} sat/vB", asked.to_sat());
        let found = format_args!("{} sat", value.to_sat()).to_string();
        return match value == asked {
            true => Ok(()),
            false => Err(PAID_FOR.refuses(Culprit::Miner, place, expected, found)),
        };
    }
    let least = txs::funding(named, first.fees.floor)?;
    let most = txs::funding(named, first.fees.cap)?;
    let seal = amount::sum([least, POSTAGE], "funding of an issue")?;
    match value >= least && value <= most && value < seal {
        true => Ok(()),
        false => {
            let most = most.to_sat().min(seal.to_sat().saturating_sub(1));
            let expected = format!("{} to {most} sat for {count} seals", least.to_sat());
            let found = format_args!("{} sat", value.to_sat()).to_string();
            Err(PAID_FOR.refuses(Culprit::Miner, place, expected, found))
        }
    }
}

/// The word that names what pays: the first one, or one that says why the issue before it is dead.
fn funded(
    issuing: &mut Issuing,
    payments: &[Transaction],
    funding: Funding,
    batch: Vec<PositionTerms>,
) -> Result<Event> {
    // What was said and not changed is refused as always.
    if issuing.state().funding().is_none_or(|known| known == funding) {
        return Ok(Event::Funded { funding, batch });
    }
    let instead = dead(issuing, payments)?;
    Ok(Event::FundedAgain { instead, funding, batch })
}

/// Why the issue that was paid for can be in no block any more; as long as it can, nobody pays twice.
fn dead(issuing: &mut Issuing, payments: &[Transaction]) -> Result<Dead> {
    let known = issuing.state().funding().map(|funding| funding.outpoint);
    issuing.dead(payments).map_err(|error| match (error, known) {
        (Error::Refused { .. }, Some(known)) => {
            let (place, expected) = ("payment for the issue", "no second one");
            AGAIN.refuses(Culprit::Miner, place, expected, known)
        }
        (other, _) => other,
    })
}

/// The store in the miner's home.
fn open(seat: &SeatArguments) -> Result<Store> {
    wallet::make(&seat.home.home)?;
    Store::open(seat.home.home.join(wallet::STORE))
}

/// What a payment is for, as far as the store has it.
fn purpose(store: &Store, terms: &PositionTerms, txid: Txid) -> Result<Option<Purpose>> {
    for entry in store.entries(&terms.id()?.0)? {
        if entry.kind != PURPOSE {
            continue;
        }
        let purpose: Purpose = serde_json::from_slice(&entry.body).map_err(|error| {
            READABLE.unstored(format_args!("event {}", entry.seq), "what was paid for", error)
        })?;
        if purpose.txid == txid {
            return Ok(Some(purpose));
        }
    }
    Ok(None)
}

/// Tells the store of each other position of the batch what was paid for it too, so that it is paid for
/// from none of their dossiers again.
fn share(
    store: &mut Store,
    ours: &PositionTerms,
    batch: &[PositionTerms],
    (tx, body): (&Transaction, &[u8]),
) -> Result<()> {
    for other in batch.iter().filter(|other| *other != ours) {
        if purpose(store, other, tx.compute_txid())?.is_none() {
            let events = [(PAYMENT, serialize(tx)), (PURPOSE, body.to_vec())];
            store.append(&other.id()?.0, &events, None)?;
        }
    }
    Ok(())
}

/// What was paid for these terms, by the store.
fn payments(seat: &SeatArguments) -> Result<Vec<Transaction>> {
    let (terms, store) = (terms(&seat.dossier)?, open(seat)?);
    let entries = store.entries(&terms.id()?.0)?.into_iter();
    let payments = entries.filter(|entry| entry.kind == PAYMENT).map(|entry| {
        deserialize(&entry.body).map_err(|error| {
            READABLE.unstored(format_args!("event {}", entry.seq), "a payment", error)
        })
    });
    payments.collect()
}

fn pay(arguments: &FundArguments, batch: &[PositionTerms], rate: u64) -> Result<Vec<String>> {
    let FundArguments { seat, parent, batch: dossiers, .. } = arguments;
    let (ours, home, parent) = (terms(&seat.dossier)?, &seat.home, *parent);
    let batch = among(batch, &ours);
    let first = batch.first().unwrap_or(&ours);
    ours.contract(Amount::ZERO).check_rate(rate, Culprit::Miner)?;
    let fee_rate = FeeRate::from_sat_per_vb(rate)
        .ok_or_else(|| POSSIBLE.misused("--fee-rate", "a fee rate", rate))?;
    let network = ours.reward.network;
    let mark = TxOut { value: MARK, script_pubkey: first.reward.miner.payout_script() };
    let issuer = coins::issuer(&ours)?.script_pubkey;
    let (value, outputs) = match parent {
        Some(parent) => {
            let inscribing = coins::inscribing_issuer(&ours, parent)?.script_pubkey;
            let fee = txs::inscription_fee(&ours, rate)?;
            let seal = TxOut { value: POSTAGE, script_pubkey: inscribing };
            let paid = amount::sum([POSTAGE, fee], "funding of an issue")?;
            (paid, vec![seal, mark, TxOut { value: fee, script_pubkey: issuer }])
        }
        None => {
            let value = txs::funding(batch, rate)?;
            (value, vec![TxOut { value, script_pubkey: issuer }, mark])
        }
    };
    let mut lines = may_pay(seat, batch, rate, parent, value)?;
    let seed = seed::read(&home.seed())?;
    let mut store = open(seat)?;
    let mut chain = GuardedChain::new(Electrum::connect(&seat.server.electrum, network)?);
    let seal = outputs.first().map(|out| out.script_pubkey.clone()).unwrap_or_default();
    if let Some((tx, seen)) = paid_before(seat, &ours, &mut store, &mut chain)? {
        let out = tx.output.first().filter(|out| out.script_pubkey == seal).ok_or_else(|| {
            let expected = "no payment for an issue of another kind";
            AGAIN.refuses(Culprit::Miner, "payment for the issue", expected, tx.compute_txid())
        })?;
        let known = purpose(&store, &ours, tx.compute_txid())?;
        let words = match &known {
            Some(known) => {
                known.check(batch)?;
                share(&mut store, &ours, batch, (&tx, &body(known)?))?;
                known.named()
            }
            None => batch_words(dossiers),
        };
        if !seen {
            chain.electrum().broadcast(&tx)?;
        }
        let value = out.value.to_sat();
        lines
            .push(format!("again    {value} sat were paid before: the same payment, no other one"));
        let outpoint = OutPoint::new(tx.compute_txid(), 0);
        lines.extend(payable(&seat.dossier, outpoint, parent, &words));
        return Ok(lines);
    }
    let master = seed.master(network.into())?;
    let mut wallet = Wallet::create_or_load(&mut store, *master.xpriv(), network)?;
    wallet.sync(&mut chain, &mut store)?;
    let tx = wallet.fund(&outputs, fee_rate)?;
    let changes = wallet.take_staged();
    let txid = tx.compute_txid();
    let positions = ids(batch)?;
    let purpose = Purpose { txid, sat_per_vb: rate, positions, dossiers: dossiers.clone() };
    let events = [(PAYMENT, serialize(&tx)), (PURPOSE, body(&purpose)?)];
    store.append(&ours.id()?.0, &events, changes.as_ref())?;
    share(&mut store, &ours, batch, (&tx, &body(&purpose)?))?;
    chain.electrum().broadcast(&tx)?;
    lines.extend([
        format!("paid     {} sat to the issuer's script", value.to_sat()),
        format!("marked   {} sat to your registered address beside it", MARK.to_sat()),
    ]);
    let outpoint = OutPoint::new(txid, 0);
    lines.extend(payable(&seat.dossier, outpoint, parent, &purpose.named()));
    Ok(lines)
}

fn body(purpose: &Purpose) -> Result<Vec<u8>> {
    serde_json::to_vec(purpose)
        .map_err(|error| READABLE.broken("what was paid for", "a text", error))
}

/// Where the money is, and what to do next: the whole command, for what it leaves out it would burn.
fn payable(dossier: &Path, outpoint: OutPoint, parent: Option<Txid>, batch: &str) -> [String; 3] {
    let parent = parent.map(|txid| format!(" --parent {txid} --parent-at TXID:VOUT"));
    let parent = parent.unwrap_or_default();
    let each = if batch.is_empty() { "" } else { ", and the same at each of these dossiers" };
    let dossier = typed(dossier);
    [
        format!("output   {outpoint}"),
        "refund   none: only the issuer's validators spend it, and only for an issue".to_owned(),
        format!(
            "next     the chain: a block holds it; then you: hashmix position fund {dossier} --outpoint {outpoint}{batch}{parent}{each}"
        ),
    ]
}

/// Refuses to pay before the funding's turn, for a batch without this position, or so late that the
/// money would serve no issue; what was heard on the way, a line each.
fn may_pay(
    seat: &SeatArguments,
    batch: &[PositionTerms],
    rate: u64,
    parent: Option<Txid>,
    value: Amount,
) -> Result<Vec<String>> {
    let mut issuing = sit(seat)?;
    let told = issuing.step()?;
    // Where the money will lie is not known yet, and nothing of this asks for it.
    let at = |vout| OutPoint::new(Txid::all_zeros(), vout);
    let funding = match parent {
        None => Funding::new(at(0), value),
        Some(parent) => {
            let fee = txs::inscription_fee(issuing.terms(), rate)?;
            let parent_at = OutPoint::new(parent, 0);
            let inscription =
                Some(Inscription { parent, parent_at, fee_from: at(FEE_OUTPUT), fee });
            Funding { inscription, ..Funding::new(at(0), POSTAGE) }
        }
    };
    let facts = issuing.facts()?;
    // A second payment only if the issue of the first is dead; that was found by the chain just now.
    match issuing.state().funding() {
        None => {
            let event = Event::Funded { funding, batch: batch.to_vec() };
            issuing.state().admit(issuing.terms(), &facts, Seat::Miner, &event)?;
        }
        Some(_) => {
            dead(&mut issuing, &payments(seat)?)?;
        }
    }
    // A block is to hold the payment, and the next one the issue.
    let (start, tip) = (issuing.terms().delivery.start, facts.tip());
    if tip.saturating_add(1) >= start {
        let expected = format_args!("a tip below height {}", start.saturating_sub(1)).to_string();
        return Err(EARLY.refuses(Culprit::Miner, "payment for the issue", expected, tip));
    }
    Ok(told.iter().map(line).collect())
}

/// The payment that was made for these terms already and that nothing has spent, and whether the chain
/// or the mempool holds it. What is lost with a dead issue is none.
fn paid_before(
    seat: &SeatArguments,
    terms: &PositionTerms,
    store: &mut Store,
    chain: &mut GuardedChain,
) -> Result<Option<(Transaction, bool)>> {
    let payments = payments(seat)?;
    let mut issuing = sit(seat)?;
    let mut lost = Vec::new();
    if issuing.state().funding().is_some() {
        lost = dead(&mut issuing, &payments)?.lost;
    }
    let lost: Vec<Txid> = lost.iter().map(|Lost(tx)| tx.compute_txid()).collect();
    for tx in payments.into_iter().filter(|tx| !lost.contains(&tx.compute_txid())) {
        let outpoint = OutPoint::new(tx.compute_txid(), 0);
        let Some(script) = tx.output.first().map(|out| out.script_pubkey.clone()) else { continue };
        let facts = chain.facts(store, core::slice::from_ref(&script), headers_from(terms))?;
        let coin = facts.coins(&script).into_iter().find(|coin| coin.outpoint == outpoint);
        let (seen, spent) = (coin.is_some(), coin.is_some_and(|coin| coin.spender.is_some()));
        if !spent {
            return Ok(Some((tx, seen)));
        }
    }
    Ok(None)
}

#[cfg(all(test, feature = "regtest"))]
mod tests {
    use super::*;
    use crate::rehearsal::position as cast;

    fn two() -> Vec<PositionTerms> {
        (1..=2).map(|number| cast::terms(number, [106, 123, 145]).unwrap()).collect()
    }

    #[test]
    fn an_output_is_taken_for_the_positions_that_its_value_pays_for() {
        let two = two();
        let paid = txs::funding(&two, 3).unwrap();
        explained(paid, &two, None).unwrap();
        explained(paid, &two, Some(3)).unwrap();
        // For one of them alone the second seal's postage would be a fee, and one below the terms' cap.
        let cap = txs::funding(&two[..1], two[0].fees.cap).unwrap();
        assert!(paid < cap, "{paid} {cap}");
        for rate in [None, Some(3)] {
            let error = explained(paid, &two[..1], rate).unwrap_err();
            assert_eq!(error.rule(), "position-paid-for", "{rate:?}");
        }
        let dear = txs::funding(&two[..1], 45).unwrap();
        assert_eq!(explained(dear, &two[..1], None).unwrap_err().rule(), "position-paid-for");
        explained(dear, &two[..1], Some(45)).unwrap();
        let low = txs::funding(&two, two[0].fees.floor).unwrap() - Amount::ONE_SAT;
        assert_eq!(explained(low, &two, None).unwrap_err().rule(), "position-paid-for");
    }

    #[test]
    fn what_was_paid_for_is_named_again_in_the_same_order() {
        let two = two();
        let dossiers = vec![PathBuf::from("a"), PathBuf::from("farm's b")];
        let (txid, positions) = (Txid::all_zeros(), ids(&two).unwrap());
        let purpose = Purpose { txid, sat_per_vb: 3, positions, dossiers };
        purpose.check(&two).unwrap();
        let turned: Vec<PositionTerms> = two.iter().rev().cloned().collect();
        for other in [&two[..1], &turned] {
            assert_eq!(purpose.check(other).unwrap_err().rule(), "position-paid-for");
        }
        let [_, _, next] = payable(Path::new("a"), OutPoint::null(), None, &purpose.named());
        let whole = r"--batch a --batch 'farm'\''s b', and the same at each of these dossiers";
        assert!(next.ends_with(whole), "{next}");
    }
}
