//! The miner's part: enrol, ask, prove, fund, broadcast.

use std::path::{Path, PathBuf};

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{Amount, FeeRate, OutPoint, Transaction, TxOut, Txid};

use crate::amount;
use crate::chain::electrum::Electrum;
use crate::cli::arguments::{FundArguments, SeatArguments};
use crate::cli::position::{line, sit, tell, terms};
use crate::cli::{file, seed, wallet};
use crate::engine::issuing::Issuing;
use crate::engine::{POSSIBLE, READABLE};
use crate::error::{Culprit, Error, Result};
use crate::flow::position::coins::{self, POSTAGE};
use crate::flow::position::dead::{Dead, Lost};
use crate::flow::position::proof::Stage;
use crate::flow::position::state::{AGAIN, EARLY, FUNDING, headers_from};
use crate::flow::position::terms::PositionTerms;
use crate::flow::position::txs::{self, Funding, Inscription};
use crate::flow::position::word::Event;
use crate::header_sync::GuardedChain;
use crate::party::Seat;
use crate::sign::software::SoftwareSigner;
use crate::store::Store;
use crate::wallet::Wallet;
use crate::work::certificate::{Certificate, LONGEST_FILE};

/// Longest file with a proof, in bytes.
const LONGEST_PROOF: usize = 16_384;
/// The kind under which a payment to the issuer's script lies in the store.
const PAYMENT: &str = "issue-funding";
/// What the miner's registered address gets beside the issuer's script, so that the payment is known
/// to be his: above the dust of every kind of address.
const MARK: Amount = Amount::from_sat(1_000);
/// Which output of a payment for an inscribed issue holds the issue's fee.
const FEE_OUTPUT: u32 = 2;

/// Proves the address in the miner's record.
pub(super) fn enroll(seat: &SeatArguments, proof: Option<&Path>) -> Result<Vec<String>> {
    let proof = match proof {
        Some(path) => file::text(path, LONGEST_PROOF)?.trim().to_owned(),
        None => made(seat)?,
    };
    say(seat, Event::Enrolled { proof })
}

/// The proof by the wallet in the miner's home, or by his communication key.
fn made(seat: &SeatArguments) -> Result<String> {
    let (terms, home) = (terms(&seat.dossier)?, &seat.home);
    let (network, record) = (terms.reward.network, &terms.reward.miner.record);
    let (statement, address) = (record.statement()?, record.payout.assume_checked_ref());
    let seed = seed::read(&home.seed())?;
    let signer = SoftwareSigner::new(seed.record(network, seat.number)?, network)?;
    if signer.address() == *address {
        return signer.sign_text(&statement);
    }
    wallet::make(&home.home)?;
    let mut store = Store::open(home.home.join(wallet::STORE))?;
    let master = seed.master(network.into())?;
    let wallet = Wallet::create_or_load(&mut store, *master.xpriv(), network)?;
    wallet.prove(address, &statement)?.ok_or_else(|| {
        let expected = format_args!("a signature of `{statement}` by {address}").to_string();
        POSSIBLE.misused("--proof", expected, "an address that is not this wallet's")
    })
}

/// Asks for the issue.
pub(super) fn ask(seat: &SeatArguments) -> Result<Vec<String>> {
    say(seat, Event::Asked)
}

/// Shows the certificate of a slice.
pub(super) fn prove(
    seat: &SeatArguments,
    onboarding: Option<&Path>,
    binding: Option<&Path>,
) -> Result<Vec<String>> {
    let read = |path: &Path, stage: Stage| -> Result<Certificate> {
        let position = stage.position(&terms(&seat.dossier)?)?;
        let several = Certificate::read_several(&file::bytes(path, LONGEST_FILE)?)
            .map_err(|error| error.within(path.display()))?;
        let mut several = several.into_iter();
        several.find(|one| one.position == position).ok_or_else(|| {
            let expected = format_args!("a certificate of {position}, the {stage}").to_string();
            POSSIBLE.misused(path.display(), expected, "none")
        })
    };
    match (onboarding, binding) {
        (Some(path), _) => say(seat, Event::Onboarded(read(path, Stage::Onboarding)?)),
        (None, Some(path)) => say(seat, Event::Bound(read(path, Stage::Binding)?)),
        (None, None) => Err(POSSIBLE.misused("position prove", "a certificate", "none")),
    }
}

/// Broadcasts what is signed.
pub(super) fn issue(seat: &SeatArguments) -> Result<Vec<String>> {
    let mut issuing = sit(seat)?;
    let told = issuing.step()?;
    tell(&mut issuing, &told, &seat.dossier)
}

fn say(seat: &SeatArguments, event: Event) -> Result<Vec<String>> {
    let (mut issuing, kind) = (sit(seat)?, event.kind());
    issuing.say(event)?;
    let told = issuing.step()?;
    let mut lines = vec![format!("said     {kind}")];
    lines.extend(tell(&mut issuing, &told, &seat.dossier)?);
    Ok(lines)
}

/// Pays for the issue, or names the output that pays.
pub(super) fn fund(arguments: &FundArguments) -> Result<Vec<String>> {
    let seat = &arguments.seat;
    let batch: Vec<PositionTerms> =
        arguments.batch.iter().map(|dossier: &PathBuf| terms(dossier)).collect::<Result<_>>()?;
    match (arguments.outpoint, arguments.fee_rate) {
        (Some(outpoint), _) => {
            let mut issuing = sit(seat)?;
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
            let event = funded(&mut issuing, &payments(seat)?, funding, batch)?;
            drop(issuing);
            say(seat, event)
        }
        (None, Some(rate)) => pay(seat, &batch, rate, arguments.parent),
        (None, None) => Err(POSSIBLE.misused("position fund", "a fee rate or an output", "none")),
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

/// What was paid for these terms, by the store.
fn payments(seat: &SeatArguments) -> Result<Vec<Transaction>> {
    let terms = terms(&seat.dossier)?;
    let store = Store::open(seat.home.home.join(wallet::STORE))?;
    let entries = store.entries(&terms.id()?.0)?.into_iter();
    let payments = entries.filter(|entry| entry.kind == PAYMENT).map(|entry| {
        deserialize(&entry.body).map_err(|error| {
            READABLE.unstored(format_args!("event {}", entry.seq), "a payment", error)
        })
    });
    payments.collect()
}

fn pay(
    seat: &SeatArguments,
    batch: &[PositionTerms],
    rate: u64,
    parent: Option<Txid>,
) -> Result<Vec<String>> {
    let (ours, home) = (terms(&seat.dossier)?, &seat.home);
    let alone = core::slice::from_ref(&ours);
    let batch = if batch.is_empty() { alone } else { batch };
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
    wallet::make(&home.home)?;
    let mut store = Store::open(home.home.join(wallet::STORE))?;
    let mut chain = GuardedChain::new(Electrum::connect(&seat.server.electrum, network)?);
    let seal = outputs.first().map(|out| out.script_pubkey.clone()).unwrap_or_default();
    if let Some((tx, seen)) = paid_before(seat, &ours, &mut store, &mut chain)? {
        let out = tx.output.first().filter(|out| out.script_pubkey == seal).ok_or_else(|| {
            let expected = "no payment for an issue of another kind";
            AGAIN.refuses(Culprit::Miner, "payment for the issue", expected, tx.compute_txid())
        })?;
        if !seen {
            chain.electrum().broadcast(&tx)?;
        }
        let value = out.value.to_sat();
        lines
            .push(format!("again    {value} sat were paid before: the same payment, no other one"));
        lines.extend(payable(OutPoint::new(tx.compute_txid(), 0), parent));
        return Ok(lines);
    }
    let master = seed.master(network.into())?;
    let mut wallet = Wallet::create_or_load(&mut store, *master.xpriv(), network)?;
    wallet.sync(&mut chain, &mut store)?;
    let tx = wallet.fund(&outputs, fee_rate)?;
    let changes = wallet.take_staged();
    store.append(&ours.id()?.0, &[(PAYMENT, serialize(&tx))], changes.as_ref())?;
    chain.electrum().broadcast(&tx)?;
    lines.extend([
        format!("paid     {} sat to the issuer's script", value.to_sat()),
        format!("marked   {} sat to your registered address beside it", MARK.to_sat()),
    ]);
    lines.extend(payable(OutPoint::new(tx.compute_txid(), 0), parent));
    Ok(lines)
}

/// Where the money is, and what to do next.
fn payable(outpoint: OutPoint, parent: Option<Txid>) -> [String; 3] {
    let parent = parent.map(|txid| format!(" --parent {txid} --parent-at TXID:VOUT"));
    let parent = parent.unwrap_or_default();
    [
        format!("output   {outpoint}"),
        "refund   none: only the issuer's validators spend it, and only for an issue".to_owned(),
        format!(
            "next     the chain: a block holds it; then you: hashmix position fund --outpoint {outpoint}{parent}"
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
