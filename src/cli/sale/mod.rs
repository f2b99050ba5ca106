//! `hashmix sale`: positions offered, bought and sold on, withdrawn and retired.
//!
//! | command | by | makes |
//! |---|---|---|
//! | `sale offer` | the seller | an offer |
//! | `sale accept` | the buyer, with the position's dossier | an acceptance; his coins are reserved |
//! | `sale sign` | seller, buyer, and in a resale the miner, in this order | a consent |
//! | `sale ask` | the seller, where the miner is silent | a word for validators, who sign in his place |
//! | `sale broadcast` | whoever signed last; the others, to see it confirmed | the sale, and its transfer in the dossier |
//! | `sale register` | the buyer | the registration of his contract, at validators' servers or as a file |
//! | `sale release` | a buyer, where nothing came of it | his coins, free again |
//! | `sale withdraw` | the holder | the seal moved to himself |
//! | `sale retire` | the holder, behind the term | the seal moved to its end |
//!
//! Files pass between people as they like; what is in them proves itself, and each rebuilds the
//! transaction before he signs. That the seller holds what he offers the dossier proves, over the same
//! connection; without that nobody accepts.

use std::path::Path;

use bitcoin::Amount;

use crate::chain::electrum::Electrum;
use crate::cli::arguments::{
    AcceptArguments, Home, OfferArguments, SaleCommand, SignSaleArguments, TradeArguments,
};
use crate::cli::file::{self, Readers};
use crate::cli::sale::held::{Named, named};
use crate::cli::sale::title::proven;
use crate::cli::sale::weighed::Weighed;
use crate::cli::sale::words::heard;
use crate::cli::{Done, seed, wallet};
use crate::engine::trade::{Again, Trader};
use crate::error::{Culprit, Result, Rule};
use crate::flow::escrow::coins::Progress;
use crate::flow::escrow::outcome::{VERDICT, outcome};
use crate::flow::escrow::terms::{EscrowTerms, TERMS_MAX_BYTES};
use crate::flow::position::terms::PositionTerms;
use crate::flow::sale::coins::{ESCROW_MOVED, check_last, check_offer, waits};
use crate::flow::sale::consent::Party;
use crate::flow::sale::state::State;
use crate::flow::sale::terms::{
    Acceptance, Guard, OFFER_FORMAT, Offer, OfferBody, Resale, SALE_MAX_BYTES,
};
use crate::flow::sale::txs::compared;
use crate::flow::{contract::Contract, escrow};
use crate::header_sync::GuardedChain;
use crate::party::{RECORD_MAX_BYTES, Record};
use crate::sign::software::SoftwareSigner;
use crate::wallet::address_on;
use crate::work::evidence::Evidence;

pub mod book;
pub mod ending;
pub mod explain;
pub mod held;
mod registering;
pub mod seals;
#[cfg(feature = "core")]
pub(super) mod servers;
pub mod title;
mod weighed;
pub mod words;

#[cfg(feature = "core")]
pub use registering::REGISTERED;

/// A resale says what it takes over.
pub const COMPLETE: Rule = Rule::new(
    "sale-offer-complete",
    "an offer counts periods from 1, and a resale has a contract, --switch and evidence together",
    "give what is missing; without --dossier that is --contract, --switch and --evidence, and none of them for a first sale by the miner",
);

/// Does what is asked for.
pub fn perform(command: SaleCommand) -> Result<Done> {
    let lines = match command {
        SaleCommand::Offer(arguments) => offer(&arguments),
        SaleCommand::Explain(arguments) => explain::explain(&arguments),
        SaleCommand::Book(arguments) => book::book(&arguments),
        SaleCommand::Accept(arguments) => accept(&arguments),
        SaleCommand::Sign(arguments) => return sign(&arguments),
        SaleCommand::Ask(arguments) => words::ask(&arguments),
        SaleCommand::Broadcast(arguments) => return ending::broadcast(&arguments),
        SaleCommand::Release(arguments) => ending::release(&arguments),
        SaleCommand::Terms { offer, acceptance, out } => new_terms(&offer, &acceptance, &out),
        SaleCommand::Register(arguments) => return registering::register(&arguments),
        SaleCommand::Withdraw(arguments) => held::withdraw(&arguments),
        SaleCommand::Retire(arguments) => held::retire(&arguments),
    };
    lines.map(Done::from)
}

/// Reads and checks an offer's file.
pub fn read_offer(path: &Path) -> Result<Offer> {
    let text = file::text(path, SALE_MAX_BYTES)?;
    Offer::from_json(&text).map_err(|error| error.within(path.display()))
}

/// Reads and checks an acceptance's file.
pub fn read_acceptance(path: &Path, offer: &Offer) -> Result<Acceptance> {
    let text = file::text(path, SALE_MAX_BYTES)?;
    Acceptance::from_json(&text, offer).map_err(|error| error.within(path.display()))
}

/// Reads and checks a position's terms.
pub fn read_position(path: &Path) -> Result<PositionTerms> {
    let text = file::text(path, TERMS_MAX_BYTES)?;
    PositionTerms::from_json(&text).map_err(|error| error.within(path.display()))
}

fn trader(home: &Home, url: &str) -> Result<Trader> {
    let (wallet, store) = wallet::open(home)?;
    let chain = GuardedChain::new(Electrum::connect(url, home.network)?);
    Trader::open(store, wallet, chain)
}

/// The same, without sending anything again.
fn idle(home: &Home, url: &str) -> Result<Trader> {
    let (wallet, store) = wallet::open(home)?;
    Ok(Trader::new(store, wallet, GuardedChain::new(Electrum::connect(url, home.network)?)))
}

/// What became of transactions that were stored and perhaps not sent, when their trader came back.
fn again(trader: &Trader) -> Vec<String> {
    let line = |again: &Again| match again {
        Again::Sent(txid) => format!("again     {txid} was stored and not sent: it is sent now"),
        Again::Refused(txid, error) => format!("again     {txid} cannot be sent: {error}"),
        Again::Over(txid, height) => {
            format!("again     {txid} is not sent any more: its offer was over at height {height}")
        }
    };
    trader.again().iter().map(line).collect()
}

fn opened(trade: &TradeArguments) -> Result<(Trader, SoftwareSigner)> {
    let network = trade.home.network;
    let secrets = seed::read(&trade.home.seed())?.record(network, trade.number)?;
    let signer = SoftwareSigner::new(secrets, network)?;
    Ok((trader(&trade.home, &trade.server.electrum)?, signer))
}

fn offer(arguments: &OfferArguments) -> Result<Vec<String>> {
    file::free(&arguments.out)?;
    let first = counted(arguments.first)?;
    let (mut trader, signer) = opened(&arguments.trade)?;
    let mut lines = again(&trader);
    let Named { terms, contract, id, held, seal } = named(&mut trader, &arguments.seal)?;
    let folder = arguments.evidence.as_ref().or(arguments.seal.dossier.as_ref());
    let resale = match (contract, arguments.switch, folder, &arguments.evidence) {
        (None, None, _, None) => None,
        (Some(contract), Some(switch), Some(folder), _) => {
            let settled = first.checked_sub(1).ok_or_else(|| {
                COMPLETE.misused("--first", "a period behind the first one", arguments.first)
            })?;
            let weighed = Weighed::read(folder, &contract)?;
            let guard = if arguments.without_miner { Guard::Validators } else { Guard::Miner };
            let switch = counted(switch)?;
            let resale =
                taken_over(&mut trader, contract, &weighed.evidence, settled, switch, guard)?;
            lines.extend(weighed.said(&resale)?);
            Some(resale)
        }
        _ => {
            let expected = "a contract, --switch and evidence, or none of them";
            return Err(COMPLETE.misused("sale offer", expected, "some of them"));
        }
    };
    let body = OfferBody {
        format: OFFER_FORMAT.to_owned(),
        position: id,
        terms,
        seal,
        seller: held,
        price: Amount::from_sat(arguments.price),
        first,
        expires: arguments.expires,
        resale,
    };
    let signature = signer.sign_digest(body.id()?.0)?;
    let offer = Offer { offer: body, signature };
    offer.check()?;
    let state = State::new(offer.clone())?;
    let facts = trader.facts(&state)?;
    check_offer(&offer.offer, &facts)?;
    check_last(&offer.offer, facts.tip())?;
    offer.offer.check_span(facts.tip())?;
    if let Some(other) = waits(&offer.offer, &facts) {
        lines.push(format!(
            "waits     {other} moves the seal; nobody accepts before it is replaced"
        ));
    }
    let text = offer.to_json()? + "\n";
    file::write(&arguments.out, text.as_bytes(), Readers::Anyone)?;
    lines.extend([
        format!("offer     {}", arguments.out.display()),
        format!("id        {}", offer.offer.id()?),
        format!("position  {}", offer.offer.position),
        format!(
            "holds     until height {}; withdraw it if it is not confirmed by then",
            offer.offer.expires
        ),
        format!(
            "next      hand it to buyers; hashmix sale explain tells each of them what it says, and what he types: his record has to be made for contract {}",
            quoted(&offer.offer.terms.reward.contract)
        ),
    ]);
    Ok(lines)
}

/// The period's number from 0.
fn counted(period: u32) -> Result<u32> {
    period.checked_sub(1).ok_or_else(|| COMPLETE.misused("period", "a number from 1", period))
}

/// What a resale takes over, as chain and evidence say now.
fn taken_over(
    trader: &mut Trader,
    contract: EscrowTerms,
    evidence: &Evidence,
    period: u32,
    switch: u32,
    guard: Guard,
) -> Result<Resale> {
    let watched = Contract::new(contract.clone())?;
    let facts = trader.contract_facts(&watched)?;
    let Progress::Open(coin) = escrow::coins::progress(&contract, &facts)? else {
        return Err(ESCROW_MOVED.refuses(Culprit::Holder, "escrow", "an open one", "none"));
    };
    let outcome = outcome(&contract, &facts, evidence, period)?;
    Ok(Resale {
        contract,
        escrow: coin.outpoint,
        index: coin.index,
        value: coin.value,
        outcome,
        switch,
        guard,
    })
}

fn accept(arguments: &AcceptArguments) -> Result<Vec<String>> {
    file::free(&arguments.out)?;
    arguments.psbt.as_deref().map(file::free).transpose()?;
    let offer = read_offer(&arguments.offer)?;
    let text = file::text(&arguments.record, RECORD_MAX_BYTES)?;
    let record =
        Record::from_json(&text).map_err(|error| error.within(arguments.record.display()))?;
    let (mut trader, signer) = opened(&arguments.trade)?;
    let mut lines = again(&trader);
    // Who has accepted once is answered the same, wherever the seal is by now.
    if trader.sale(&offer)?.acceptance().is_none() {
        let pinned = Some(arguments.federation);
        lines.extend(proven(&mut trader, &offer, &arguments.dossier, pinned)?);
    }
    let rate = arguments.fee_rate;
    let acceptance = match &arguments.change {
        None => trader.accept(&offer, record, &signer, rate)?,
        Some(change) => {
            let change = address_on(arguments.trade.home.network, change)?.script_pubkey();
            trader.accept_with(&offer, record, &signer, rate, (&arguments.coin, &change))?
        }
    };
    if let Some(path) = &arguments.psbt {
        file::write(path, acceptance.acceptance.psbt.as_bytes(), Readers::Anyone)?;
        lines.push(format!(
            "psbt        {}: let the wallet of your coins sign it when the seller has; hashmix sale sign --psbt",
            path.display()
        ));
    }
    let text = acceptance.to_json()? + "\n";
    file::write(&arguments.out, text.as_bytes(), Readers::Anyone)?;
    let bargain = compared(&offer, &acceptance)?;
    let coins = acceptance.acceptance.coins.iter().map(|coin| coin.txout.value);
    let reserved = crate::amount::sum(coins, "coins")?;
    lines.extend([
        format!("acceptance  {}", arguments.out.display()),
        format!(
            "reserved    {} sat in {} coins",
            reserved.to_sat(),
            acceptance.acceptance.coins.len()
        ),
        format!("fee         {} sat, which you pay", bargain.exchange.fee()?.to_sat()),
        format!("contract    {}", bargain.contract.id()?),
        "next        the seller signs: hashmix sale sign --party seller".to_owned(),
    ]);
    Ok(lines)
}

fn sign(arguments: &SignSaleArguments) -> Result<Done> {
    file::free(&arguments.out)?;
    let offer = read_offer(&arguments.offer)?;
    let (mut trader, signer) = opened(&arguments.trade)?;
    let mut state = heard(&mut trader, &offer, &arguments.words)?;
    let party = Party::from(arguments.party);
    // The miner has to judge it; whoever else names a dossier wants his title proven.
    let his = arguments.title.dossier.as_ref().filter(|_| party == Party::Miner);
    let folder = arguments.evidence.as_ref().or(his);
    let weighed = match (&offer.offer.resale, folder) {
        (Some(resale), Some(folder)) => Some(Weighed::read(folder, &resale.contract)?),
        _ => None,
    };
    let mut lines = again(&trader);
    // Who has signed once is answered the same, wherever the seal is by now.
    let signed = state.consents().iter().any(|consent| consent.by == party);
    match &arguments.title.dossier {
        Some(dossier) if !signed => {
            lines.extend(proven(&mut trader, &offer, dossier, arguments.title.federation)?);
        }
        None if !signed && party == Party::Buyer => lines.push(
            "careful   without --dossier only your acceptance has proven who holds the position"
                .to_owned(),
        ),
        _ => {}
    }
    let consent = match (&arguments.psbt, party) {
        (Some(path), Party::Buyer) => {
            let psbt = crate::cli::psbt::read(path)?;
            trader
                .import(&mut state, &signer, &psbt)
                .map_err(|error| error.within(path.display()))?
        }
        _ => {
            let evidence = weighed.as_ref().map(|weighed| &weighed.evidence);
            match (trader.consent(&mut state, party, &signer, evidence), &weighed) {
                (Ok(consent), _) => consent,
                // What he lacks, or could not read, is what he has to know then.
                (Err(error), Some(weighed)) if error.rule() == VERDICT.id => {
                    lines.extend(weighed.denied());
                    return Ok(Done { lines, but: Some(error) });
                }
                (Err(error), _) => return Err(error),
            }
        }
    };
    if let (Some(weighed), Some(resale)) = (&weighed, &offer.offer.resale) {
        lines.extend(weighed.said(resale)?);
    }
    let text = consent.to_json()? + "\n";
    file::write(&arguments.out, text.as_bytes(), Readers::Anyone)?;
    let signing = state.signing()?;
    let next = match state.turn().first() {
        Some(Party::Validator(_)) => {
            "validators sign: the seller asks them with hashmix sale ask".to_owned()
        }
        Some(next) => format!("the {next} signs: hashmix sale sign"),
        None => "send it: hashmix sale broadcast".to_owned(),
    };
    lines.extend([
        format!("consent  {}", arguments.out.display()),
        format!("{:<8} {}", "txid", signing.exchange().txid()),
        format!("signed   inputs {:?} as {party}", party.inputs(&offer.offer, &signing)),
        format!("next     {next}"),
        follows(&offer.offer),
    ]);
    Ok(lines.into())
}

fn new_terms(offer: &Path, acceptance: &Path, out: &Path) -> Result<Vec<String>> {
    let offer = read_offer(offer)?;
    let acceptance = read_acceptance(acceptance, &offer)?;
    let contract = compared(&offer, &acceptance)?.contract;
    let text = serde_json::to_string_pretty(&contract)
        .map_err(|error| crate::flow::escrow::terms::FORM.broken("terms", "JSON", error))?;
    file::write(out, (text + "\n").as_bytes(), Readers::Anyone)?;
    Ok(vec![format!("terms  {}", out.display()), format!("id     {}", contract.id()?)])
}

/// A word as a shell takes it, whatever is in it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// What everybody has to know of a sale that is being made.
fn follows(offer: &OfferBody) -> String {
    let period = offer.rewarded_from();
    format!(
        "follows  coinbases pay the new lock from height {} (period {}) on: the miner names the new terms in his gateway before that",
        offer.period_start(period),
        period.saturating_add(1)
    )
}
