//! `hashmix sale`: positions offered, bought and sold on, withdrawn and retired.
//!
//! | command | by | makes |
//! |---|---|---|
//! | `sale offer` | the seller | an offer |
//! | `sale accept` | the buyer, with the position's dossier | an acceptance; his coins are reserved |
//! | `sale sign` | seller, buyer, and in a resale the miner, in this order | a consent |
//! | `sale broadcast` | whoever signed last; the others, to see it confirmed | the sale, and its transfer in the dossier |
//! | `sale register` | the buyer | the registration of his contract, for each validator |
//! | `sale release` | a buyer, where nothing came of it | his coins, free again |
//!
//! Files pass between people as they like; what is in them proves itself, and each rebuilds the
//! transaction before he signs. That the seller holds what he offers the dossier proves, over the same
//! connection; without that nobody accepts.

use std::path::{Path, PathBuf};

use bitcoin::Amount;

use crate::chain::electrum::Electrum;
use crate::cli::arguments::{
    AcceptArguments, BroadcastArguments, HeardArguments, Home, MoveArguments, OfferArguments,
    SaleCommand, SealArguments, SignSaleArguments, TradeArguments, WithdrawArguments,
};
use crate::cli::dossier::read_folder;
use crate::cli::file::{self, Readers};
use crate::cli::sale::title::{Telling, proven};
use crate::cli::{seed, terms, wallet};
use crate::engine::trade::{Again, Trader};
use crate::error::{Culprit, Result, Rule};
use crate::flow::escrow::coins::Progress;
use crate::flow::escrow::outcome::outcome;
use crate::flow::escrow::terms::{EscrowTerms, TERMS_MAX_BYTES};
use crate::flow::position::dossier::Transfer;
use crate::flow::position::terms::PositionTerms;
use crate::flow::position::txs::position;
use crate::flow::sale::coins::{ESCROW_MOVED, check_offer, waits};
use crate::flow::sale::consent::{CONSENT_FORMAT, Consent, Party};
use crate::flow::sale::state::{Effect, Event, State};
use crate::flow::sale::terms::{
    Acceptance, Guard, Held, OFFER_FORMAT, Offer, OfferBody, Resale, SALE_MAX_BYTES,
};
use crate::flow::sale::txs::{Seal, compared};
use crate::flow::{contract::Contract, escrow};
use crate::header_sync::GuardedChain;
use crate::id::PositionId;
use crate::party::{RECORD_MAX_BYTES, Record};
use crate::sign::software::SoftwareSigner;
use crate::wallet::address_on;
use crate::work::evidence::Evidence;

pub mod book;
pub mod explain;
mod registering;
pub mod seals;
pub mod title;

/// A resale says what it takes over.
pub const COMPLETE: Rule = Rule::new(
    "sale-offer-complete",
    "an offer counts periods from 1, and a resale has --contract, --switch and --evidence together",
    "give what is missing; without --contract it is a first sale by the miner",
);

/// Does what is asked for.
pub fn perform(command: SaleCommand) -> Result<Vec<String>> {
    match command {
        SaleCommand::Offer(arguments) => offer(&arguments),
        SaleCommand::Explain(arguments) => explain::explain(&arguments),
        SaleCommand::Book(arguments) => book::book(&arguments),
        SaleCommand::Accept(arguments) => accept(&arguments),
        SaleCommand::Sign(arguments) => sign(&arguments),
        SaleCommand::Broadcast(arguments) => broadcast(&arguments),
        SaleCommand::Release(arguments) => release(&arguments),
        SaleCommand::Terms { offer, acceptance, out } => new_terms(&offer, &acceptance, &out),
        SaleCommand::Register { offer, acceptance, out } => {
            registering::register(&offer, &acceptance, &out)
        }
        SaleCommand::Withdraw(arguments) => withdraw(&arguments),
        SaleCommand::Retire(arguments) => retire(&arguments),
    }
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

fn read_word(path: &Path, offer: &Offer) -> Result<Event> {
    let text = file::text(path, SALE_MAX_BYTES)?;
    let within = |error: crate::error::Error| error.within(path.display());
    if text.contains(&format!("\"{CONSENT_FORMAT}\"")) {
        return Consent::from_json(&text).map(Event::Consented).map_err(within);
    }
    let acceptance = Acceptance::from_json(&text, offer).map_err(within)?;
    Ok(Event::Accepted(Box::new(acceptance)))
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

/// The seal that the arguments name, and how it is held.
struct Named {
    terms: PositionTerms,
    contract: Option<EscrowTerms>,
    id: PositionId,
    held: Held,
}

fn named(arguments: &SealArguments) -> Result<Named> {
    let position_terms = read_position(&arguments.position)?;
    let contract = arguments.contract.as_deref().map(terms::read).transpose()?;
    let tenure = contract.as_ref().and_then(|contract| contract.tenure.as_ref());
    let stated = arguments.id.as_deref().map(str::parse::<PositionId>).transpose()?;
    // What was issued alone has the txid of its issue; what was issued in a batch is named.
    let issued = position(arguments.seal.txid, arguments.seal.vout, 1);
    let id = tenure.map(|tenure| tenure.position).or(stated).unwrap_or(issued);
    let record = match &contract {
        Some(contract) => contract.reward.holder.clone(),
        None => position_terms.reward.holder.clone(),
    };
    let number = tenure.map_or(0, |tenure| tenure.transfer).saturating_add(arguments.withdrawn);
    let sale = contract.as_ref().map(EscrowTerms::id).transpose()?;
    Ok(Named { terms: position_terms, contract, id, held: Held { record, number, sale } })
}

fn evidence(folder: &Path, contract: &EscrowTerms) -> Result<Evidence> {
    let mut evidence = Evidence::new(contract.position()?);
    read_folder(folder, contract, &mut evidence)?;
    Ok(evidence)
}

fn offer(arguments: &OfferArguments) -> Result<Vec<String>> {
    file::free(&arguments.out)?;
    let Named { terms, contract, id, held } = named(&arguments.seal)?;
    let first = counted(arguments.first)?;
    let (mut trader, signer) = opened(&arguments.trade)?;
    let mut lines = again(&trader);
    let resale = match (contract, arguments.switch, &arguments.evidence) {
        (None, None, None) => None,
        (Some(contract), Some(switch), Some(folder)) => {
            let settled = first.checked_sub(1).ok_or_else(|| {
                COMPLETE.misused("--first", "a period behind the first one", arguments.first)
            })?;
            let evidence = evidence(folder, &contract)?;
            let guard = if arguments.without_miner { Guard::Validators } else { Guard::Miner };
            let switch = counted(switch)?;
            Some(taken_over(&mut trader, contract, &evidence, settled, switch, guard)?)
        }
        _ => {
            let expected = "--contract, --switch and --evidence, or none of them";
            return Err(COMPLETE.misused("sale offer", expected, "some of them"));
        }
    };
    let body = OfferBody {
        format: OFFER_FORMAT.to_owned(),
        position: id,
        terms,
        seal: arguments.seal.seal,
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
        "next      hand it to buyers; they read it with `hashmix sale explain`".to_owned(),
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

fn heard(trader: &mut Trader, offer: &Offer, words: &[PathBuf]) -> Result<State> {
    let mut state = trader.sale(offer)?;
    for path in words {
        let word = read_word(path, offer)?;
        trader.hear(&mut state, word).map_err(|error| error.within(path.display()))?;
    }
    Ok(state)
}

fn sign(arguments: &SignSaleArguments) -> Result<Vec<String>> {
    file::free(&arguments.out)?;
    let offer = read_offer(&arguments.offer)?;
    let (mut trader, signer) = opened(&arguments.trade)?;
    let mut state = heard(&mut trader, &offer, &arguments.words)?;
    let evidence = match (&offer.offer.resale, &arguments.evidence) {
        (Some(resale), Some(folder)) => Some(evidence(folder, &resale.contract)?),
        _ => None,
    };
    let party = Party::from(arguments.party);
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
        _ => trader.consent(&mut state, party, &signer, evidence.as_ref())?,
    };
    let text = consent.to_json()? + "\n";
    file::write(&arguments.out, text.as_bytes(), Readers::Anyone)?;
    let signing = state.signing()?;
    let next = match state.turn().first() {
        Some(next) => format!("the {next} signs: hashmix sale sign"),
        None => "send it: hashmix sale broadcast".to_owned(),
    };
    lines.extend([
        format!("consent  {}", arguments.out.display()),
        format!("{:<8} {}", "txid", signing.exchange().txid()),
        format!("signed   inputs {:?} as {party}", party.inputs(&offer.offer, &signing)),
        format!("next     {next}"),
    ]);
    Ok(lines)
}

fn broadcast(arguments: &BroadcastArguments) -> Result<Vec<String>> {
    let HeardArguments { offer, words, home, server } = &arguments.heard;
    let offer = read_offer(offer)?;
    let mut trader = trader(home, &server.electrum)?;
    let mut lines = again(&trader);
    let state = heard(&mut trader, &offer, words)?;
    let contract = state.bargain()?.contract;
    // What does not fit into the dossier is known before anything is sent.
    let telling = Telling::of(arguments.dossier.as_deref(), Transfer::of(&contract))?;
    let facts = trader.facts(&state)?;
    if let Effect::Sent(txid, height) = state.next(&facts, Party::Buyer)? {
        let where_ = height.map_or("in the mempool".to_owned(), |height| format!("at {height}"));
        lines.push(format!("sent  {txid} already, {where_}"));
        lines.extend(telling.map(Telling::write).transpose()?);
        return Ok(lines);
    }
    let tx = trader.broadcast(&state, Party::Buyer)?;
    lines.extend([
        format!("sent      {} ({} vB)", tx.compute_txid(), tx.vsize()),
        format!("seal      {}:0, transfer {}", tx.compute_txid(), offer.offer.transfer()),
        format!("contract  {}", contract.id()?),
        "next      register it at each validator once a block holds it: hashmix sale register"
            .to_owned(),
    ]);
    lines.extend(telling.map(Telling::write).transpose()?);
    Ok(lines)
}

fn release(arguments: &HeardArguments) -> Result<Vec<String>> {
    let offer = read_offer(&arguments.offer)?;
    // To open is to send what was not: who gives up wants the contrary.
    let mut trader = idle(&arguments.home, &arguments.server.electrum)?;
    let state = heard(&mut trader, &offer, &arguments.words)?;
    let Some(acceptance) = state.acceptance() else {
        return Ok(vec!["nothing is reserved for this offer".to_owned()]);
    };
    trader.give_up(acceptance)?;
    let coins = acceptance.acceptance.coins.len();
    let mut lines = vec![format!("released  {coins} coins")];
    if state.consents().iter().any(|consent| consent.by == Party::Buyer) {
        lines.push(
            "careful   you have signed: spend one of them, or the sale can still be sent"
                .to_owned(),
        );
    }
    Ok(lines)
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

fn withdraw(arguments: &WithdrawArguments) -> Result<Vec<String>> {
    let WithdrawArguments { moving, dossier } = arguments;
    let Named { terms, id, held, .. } = named(&moving.seal)?;
    let seal = Seal { terms: &terms, position: id, held: &held, outpoint: moving.seal.seal };
    let kept = seal.withdrawn();
    let transfer = Transfer::new(id, kept.number, kept.record, None);
    let telling = Telling::of(dossier.as_deref(), Some(transfer))?;
    let (mut trader, signer) = opened(&moving.trade)?;
    let mut lines = again(&trader);
    let tx = trader.withdraw(&seal, &signer, moving.fee_rate)?;
    lines.extend([
        format!("sent  {}", tx.compute_txid()),
        format!("seal  {}:0, transfer {}", tx.compute_txid(), kept.number),
        "void  every offer of the seal where it was, once this is confirmed".to_owned(),
    ]);
    lines.extend(telling.map(Telling::write).transpose()?);
    Ok(lines)
}

fn retire(arguments: &MoveArguments) -> Result<Vec<String>> {
    let Named { terms, id, held, .. } = named(&arguments.seal)?;
    let outpoint = arguments.seal.seal;
    let seal = Seal { terms: &terms, position: id, held: &held, outpoint };
    let (mut trader, signer) = opened(&arguments.trade)?;
    let mut lines = again(&trader);
    let tx = trader.retire(&seal, &signer, arguments.fee_rate)?;
    lines.extend([
        format!("sent     {}", tx.compute_txid()),
        format!("retired  position {id}; nobody holds it any more"),
    ]);
    Ok(lines)
}
