//! A dossier held against the chain: who holds the position, and how its contract stands.
//!
//! Both are asked for one after the other, so that the price of each can be told. The first takes the
//! histories of the seals alone ([`title`]).

use std::path::Path;

use bitcoin::{Amount, Network, OutPoint, ScriptBuf, Txid};

use crate::amount;
use crate::chain::electrum::{CHUNK, Electrum, Tally};
use crate::cli::arguments::DossierArguments;
use crate::cli::chart::Bar;
use crate::cli::dossier::{Folder, Known as Chain, of_facts};
use crate::cli::headers::Progress as Synced;
use crate::cli::position::folder;
use crate::cli::show::{self, Shown};
use crate::cli::wallet::{STORE, make};
use crate::engine::title::{self, Judged, judge};
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::flow::escrow::coins::{Locked, Progress};
use crate::flow::escrow::outcome::yardstick;
use crate::flow::escrow::terms::{EscrowTerms, Tenure};
use crate::flow::position::dossier::Dossier;
use crate::flow::position::title::{Issued, Title};
use crate::flow::sale::coins::{check_offer, watched};
use crate::flow::sale::terms::OfferBody;
use crate::flow::sale::title::check_title;
use crate::guard::what_headers_cannot_prove;
use crate::header_sync::GuardedChain;
use crate::headers::MEDIAN_SPAN;
use crate::store::Store;
use crate::work::evidence::Evidence;

/// Blocks below the tip whose headers are read with the facts of an offer.
const SPAN: u32 = 20;
/// Re-locks of an escrow that are asked for at first; twice as many whenever there are more.
const RELOCKS: usize = 2;

/// A server, with the headers that judge it if there is a store for them.
enum Reader {
    Guarded(Box<(GuardedChain, Store)>),
    Bare(Box<Electrum>),
}

impl Reader {
    fn open(url: &str, home: Option<&Path>, network: Network) -> Result<Self> {
        let electrum = Electrum::connect(url, network)?;
        let Some(home) = home else { return Ok(Self::Bare(Box::new(electrum))) };
        make(home)?;
        let mut store = Store::open(home.join(STORE))?;
        let mut chain = GuardedChain::new(electrum);
        let mut bar = Synced::new();
        let synced = chain.sync(&mut store, &mut |have, tip| {
            if tip > CHUNK {
                bar.show(have, tip);
            }
        });
        bar.end();
        synced?;
        Ok(Self::Guarded(Box::new((chain, store))))
    }

    fn facts(&mut self, scripts: &[ScriptBuf], first: u32) -> Result<Facts> {
        match self {
            Self::Guarded(both) => both.0.facts(&mut both.1, scripts, first),
            Self::Bare(electrum) => electrum.facts(scripts, first),
        }
    }

    /// What follows a seal.
    fn borrowed(&mut self) -> title::Reader<'_> {
        match self {
            Self::Guarded(both) => title::Reader::Guarded(&mut both.0, &mut both.1),
            Self::Bare(electrum) => title::Reader::Bare(electrum),
        }
    }

    fn electrum(&self) -> &Electrum {
        match self {
            Self::Guarded(both) => both.0.electrum(),
            Self::Bare(electrum) => electrum,
        }
    }
}

/// What was asked for what (questions and bytes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// For issuer, terms and owner.
    pub title: Tally,
    /// For escrow and digests of certificates.
    pub contract: Tally,
    /// For headers.
    pub headers: Tally,
}

/// How the contract in force stands.
pub struct Standing {
    /// Its terms; where nothing was sold, terms by which the first holder's work is measured.
    pub terms: EscrowTerms,
    /// Where the escrow is; `None` where nothing was sold.
    pub escrow: Option<Progress>,
    /// What the transaction that ended the escrow paid, if one has.
    pub ended: Option<Ended>,
    /// Agreed and delivered work; `None` before the first period is over.
    pub(crate) shown: Option<Shown>,
    /// The periods before the contract's first, each as the contract measured it that paid for it.
    pub(crate) before: Vec<Bar>,
    /// Files that are no evidence.
    pub files: Folder,
}

/// What the transaction that ended an escrow did with what was in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What the escrow held before it (satoshis).
    pub held: Amount,
    /// What of it went to the address in the miner's record.
    pub miner: Amount,
    /// Into the escrow of the next contract: nothing but a resale does that.
    pub on: Amount,
    /// To the address in the holder's record.
    pub holder: Amount,
}

impl Ended {
    /// Reads it from the ending transaction; `None` where the chain that was read lacks a part of it.
    fn read(locked: &Locked, facts: &Facts, by: Txid) -> Result<Option<Self>> {
        let Some(seen) = facts.transactions.get(&by) else { return Ok(None) };
        let spent = seen.tx.input.iter().find_map(|input| {
            let OutPoint { txid, vout } = input.previous_output;
            let before = facts.transactions.get(&txid)?;
            let out = before.tx.output.get(usize::try_from(vout).ok()?)?;
            locked.scripts().any(|script| *script == out.script_pubkey).then_some(out.value)
        });
        let Some(held) = spent else { return Ok(None) };
        let paid = |script: &ScriptBuf| {
            let outputs = seen.tx.output.iter().filter(|out| out.script_pubkey == *script);
            amount::sum(outputs.map(|out| out.value), "what ended an escrow")
        };
        let resold = locked.ending(facts)?.is_some_and(|ending| ending.resold);
        let reward = &locked.terms().reward;
        let miner = paid(&reward.miner.payout_script())?;
        // A resale locks behind the seal what goes on; coins of the buyer's pay the seller.
        let on = seen.tx.output.get(1).filter(|_| resold).map_or(Amount::ZERO, |out| out.value);
        let holder = if resold { Amount::ZERO } else { paid(&reward.holder.payout_script())? };
        Ok(Some(Self { held, miner, on, holder }))
    }

    /// Where it went, in words.
    pub fn in_words(&self) -> String {
        let Self { held, miner, on, holder } = *self;
        let told = [miner, on, holder].into_iter().try_fold(Amount::ZERO, Amount::checked_add);
        let rest = told.and_then(|told| held.checked_sub(told)).unwrap_or(Amount::ZERO);
        let mut parts = vec![format!("{} sat to the miner", miner.to_sat())];
        for (value, to) in [
            (on, "on into the next contract"),
            (holder, "back to the holder"),
            (rest, "for fees, a ruling, or elsewhere"),
        ] {
            if value > Amount::ZERO {
                parts.push(format!("{} sat {to}", value.to_sat()));
            }
        }
        format!("of its last {} sat: {}", held.to_sat(), parts.join(", "))
    }
}

/// A dossier and what the chain says of it.
pub struct Reading {
    /// The documents.
    pub dossier: Dossier,
    /// Who holds the position.
    pub title: Title,
    /// Height of the tip.
    pub tip: u32,
    /// Files that are none of its true transfers, by name, and why.
    pub refused: Vec<(String, Error)>,
    /// The contract in force.
    pub standing: Standing,
    /// What was asked.
    pub cost: Cost,
    /// What is left to trust, in lines.
    pub open: Vec<String>,
}

impl Standing {
    /// Agreed and delivered work in each period that is over, whoever held the position then.
    pub(crate) fn bars(&self) -> Vec<Bar> {
        let now = self.shown.as_ref().map_or(&[][..], |shown| &shown.bars);
        self.before.iter().chain(now).copied().collect()
    }
}

impl Reading {
    /// That the issue came when the term had begun, and what was left of it then.
    pub fn late(&self) -> Option<String> {
        let calendar = self.dossier.terms().contract(Amount::ZERO).calendar();
        let issued = self.title.issued.height;
        let into = issued.checked_sub(calendar.start)?;
        let begun = into.checked_div(calendar.period)?.saturating_add(1).min(calendar.periods);
        let whole = calendar.periods.saturating_sub(begun);
        Some(format!(
            "issued {} blocks into the term, in period {begun} of {}: {whole} whole periods were left",
            into.saturating_add(1),
            calendar.periods
        ))
    }

    /// What credit rests on, for people.
    pub fn rests_on(&self) -> String {
        let [certificates, receipts] = self.standing.files.read;
        format!(
            "credit rests on {certificates} certificates and {receipts} receipts in this folder's certificates, receipts, rulings and words, and on digests in blocks; what is not there counts for nothing"
        )
    }

    /// What the contract in force has paid the miner, fees included, and what its escrow holds
    /// (satoshis).
    pub fn paid(&self) -> Option<(Amount, Amount)> {
        let price = self.standing.terms.price;
        match self.standing.escrow.as_ref()? {
            Progress::Unfunded => None,
            Progress::Open(coin) => {
                Some((price.checked_sub(coin.value).unwrap_or(Amount::ZERO), coin.value))
            }
            Progress::Ended { .. } => {
                let Ended { held, miner, .. } = self.standing.ended?;
                let before = price.checked_sub(held).unwrap_or(Amount::ZERO);
                Some((before.checked_add(miner).unwrap_or(before), Amount::ZERO))
            }
        }
    }
}

/// Reads a dossier and holds it against the chain.
pub fn read(arguments: &DossierArguments, path: &Path) -> Result<Reading> {
    let papers = folder::read(path)?;
    if let Some(pinned) = arguments.federation {
        Issued::check_federation(papers.bare().terms(), pinned)?;
    }
    let network = papers.bare().terms().reward.network;
    let mut reader = Reader::open(&arguments.electrum, arguments.home.as_deref(), network)?;
    let Judged { dossier, title, tip, refused } =
        judge(&mut reader.borrowed(), &papers).map_err(|e| e.within(path.display()))?;
    let spent = reader.electrum().traffic().beside_headers();
    let standing = standing(&mut reader, &dossier, &title, path)?;
    let traffic = reader.electrum().traffic();
    let all = traffic.beside_headers();
    let contract = Tally {
        calls: all.calls.saturating_sub(spent.calls),
        bytes: all.bytes.saturating_sub(spent.bytes),
    };
    let cost = Cost { title: spent, contract, headers: traffic.headers() };
    let mut open = Vec::new();
    if arguments.home.is_none() {
        open.push(format!(
            "whether {} follows the chain with the most work: name a folder with --home, and its headers are judged there",
            arguments.electrum
        ));
    }
    open.extend(what_headers_cannot_prove(network).map(str::to_owned));
    Ok(Reading { dossier, title, tip, refused, standing, cost, open })
}

/// Holds a dossier against the chain as far as issuer, terms and holders go.
pub fn judged(arguments: &DossierArguments, path: &Path) -> Result<Judged> {
    let papers = folder::read(path)?;
    if let Some(pinned) = arguments.federation {
        Issued::check_federation(papers.bare().terms(), pinned)?;
    }
    let network = papers.bare().terms().reward.network;
    let mut reader = Reader::open(&arguments.electrum, arguments.home.as_deref(), network)?;
    judge(&mut reader.borrowed(), &papers).map_err(|error| error.within(path.display()))
}

/// An offer that was held against the title of its position.
pub struct Offered {
    /// The documents.
    pub dossier: Dossier,
    /// Who holds the position.
    pub title: Title,
    /// Height of the tip.
    pub tip: u32,
}

/// Proves by a dossier, through one connection, that an offer is its seller's to make, and that the
/// chain bears it out now.
pub fn offered(arguments: &DossierArguments, path: &Path, offer: &OfferBody) -> Result<Offered> {
    let papers = folder::read(path)?;
    let network = papers.bare().terms().reward.network;
    let mut reader = Reader::open(&arguments.electrum, arguments.home.as_deref(), network)?;
    let Judged { dossier, title, tip, .. } =
        judge(&mut reader.borrowed(), &papers).map_err(|e| e.within(path.display()))?;
    check_title(offer, &dossier, &title, arguments.federation)?;
    let facts = reader.facts(&watched(offer, None)?, tip.saturating_sub(SPAN))?;
    check_offer(offer, &facts)?;
    offer.check_span(facts.tip())?;
    Ok(Offered { dossier, title, tip })
}

/// How the contract in force stands: its escrow and its work.
fn standing(
    reader: &mut Reader,
    dossier: &Dossier,
    title: &Title,
    path: &Path,
) -> Result<Standing> {
    let sold = title.contract();
    let terms = sold.map_or_else(|| unsold(dossier), |sold| sold.terms.clone());
    let first = terms.delivery.start.saturating_sub(MEDIAN_SPAN.saturating_add(1));
    let locked = Locked::new(terms.clone())?;
    // Beside the miner's payout script digests are proven.
    let miner = terms.reward.miner.payout_script();
    let mut most = if sold.is_some() { RELOCKS } else { 0 };
    let (facts, escrow) = loop {
        let scripts: Vec<ScriptBuf> =
            locked.scripts().take(most).cloned().chain([miner.clone()]).collect();
        let facts = reader.facts(&scripts, first)?;
        if sold.is_none() {
            break (facts, None);
        }
        let progress = locked.progress(&facts)?;
        let reached = match &progress {
            Progress::Open(coin) => usize::try_from(coin.index).unwrap_or(usize::MAX),
            _ => 0,
        };
        if reached < most {
            break (facts, Some(progress));
        }
        most = most.saturating_mul(2);
    };
    let ended = match &escrow {
        Some(Progress::Ended { by, .. }) => Ended::read(&locked, &facts, *by)?,
        _ => None,
    };
    let judged_by: Chain = of_facts(&terms, facts, Vec::new());
    let measured = |terms: &EscrowTerms| {
        let mut evidence = Evidence::new(dossier.position());
        let files = folder::read_evidence(path, terms, &mut evidence)?;
        Ok((show::judged(terms, &yardstick(terms)?, &judged_by, &evidence)?, files))
    };
    // The miner's, where he worked before he sold, then one contract after the other.
    let mut before: Vec<Bar> = Vec::new();
    let (_, earlier) = title.sold.split_last().unzip();
    let sold_before = earlier.into_iter().flatten().map(|sold| sold.terms.clone());
    let own = [unsold(dossier)].into_iter().filter(|_| sold.is_some());
    for terms in own.chain(sold_before) {
        let (shown, _): (Option<Shown>, Folder) = measured(&terms)?;
        before.retain(|bar| bar.number <= terms.first_period());
        before.extend(shown.into_iter().flat_map(|shown| shown.bars));
    }
    before.retain(|bar| bar.number <= terms.first_period());
    let (shown, files) = measured(&terms)?;
    Ok(Standing { terms, escrow, ended, shown, before, files })
}

/// Terms by which work is measured that was never sold: the first holder's, for the whole term.
fn unsold(dossier: &Dossier) -> EscrowTerms {
    let mut terms = dossier.terms().contract(Amount::from_sat(crate::amount::MAX_SATOSHIS));
    let position = dossier.position();
    terms.tenure = Some(Tenure { position, transfer: 1, first: 0, earlier: Vec::new() });
    terms
}
