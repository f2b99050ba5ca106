//! What files, stores and servers hold of a position: the chain's headers, certificates, receipts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::chain::electrum::{CHUNK, Electrum};
use crate::cli::arguments::ChainArguments;
use crate::cli::file;
use crate::cli::headers::Progress;
use crate::cli::wallet::{STORE, make};
use crate::error::{Error, Result, Rule};
use crate::facts::Facts;
use crate::flow::contract::Contract;
use crate::flow::escrow::outcome::proofs;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::word::Word;
use crate::flow::{Event, reward};
use crate::guard::what_headers_cannot_prove;
use crate::header_sync::GuardedChain;
use crate::headers::Headers;
use crate::id::CertificateDigest;
use crate::store::Store;
use crate::work::certificate::{Certificate, LONGEST_FILE};
use crate::work::evidence::Evidence;
use crate::work::receipt::Receipt;

/// A folder of evidence can be read.
pub const FOLDER: Rule = Rule::new(
    "work-show-folder",
    "the folder with certificates and receipts can be read",
    "check the path and its permissions",
);

/// The kind of an entry that holds a word.
const WORD: &str = "word";

/// The chain as far as it is known here.
#[derive(Debug)]
pub struct Known {
    /// The active chain's headers, from before the term to the tip.
    pub headers: Headers,
    /// Digests of certificates that blocks hold.
    pub proofs: BTreeMap<CertificateDigest, u32>,
    /// What is left to trust, in lines.
    pub open: Vec<String>,
}

/// The chain that the arguments name; none if they name none.
pub fn chain(terms: &EscrowTerms, from: &ChainArguments) -> Result<Option<Known>> {
    let network = terms.reward.network;
    let contract = Contract::new(terms.clone())?;
    let (scripts, first) = (contract.watched(), contract.headers_from());
    let store = |home: &Path| {
        make(home)?;
        Store::open(home.join(STORE))
    };
    let mut open = Vec::new();
    let known = match (&from.home, &from.electrum) {
        (None, None) => return Ok(None),
        (Some(home), None) => {
            let guard = store(home)?.guard(network)?;
            guard.enough()?;
            open.push("digests confirmed in blocks: they are asked for with --electrum".to_owned());
            let headers = guard.headers(first.min(guard.tip()))?;
            Known { headers, proofs: BTreeMap::new(), open }
        }
        (Some(home), Some(url)) => {
            let mut store = store(home)?;
            let mut chain = GuardedChain::new(Electrum::connect(url, network)?);
            let mut progress = Progress::new();
            let synced = chain.sync(&mut store, &mut |have, tip| {
                if tip > CHUNK {
                    progress.show(have, tip);
                }
            });
            progress.end();
            synced?;
            of_facts(terms, chain.facts(&mut store, &scripts, first)?, open)
        }
        (None, Some(url)) => {
            open.push(format!(
                "whether {url} follows the chain with the most work: name a folder with --home, and its headers are judged there"
            ));
            of_facts(terms, Electrum::connect(url, network)?.facts(&scripts, first)?, open)
        }
    };
    let told = what_headers_cannot_prove(network).map(str::to_owned);
    Ok(Some(Known { open: known.open.into_iter().chain(told).collect(), ..known }))
}

fn of_facts(terms: &EscrowTerms, facts: Facts, open: Vec<String>) -> Known {
    Known { proofs: proofs(terms, &facts), headers: facts.headers, open }
}

/// Reads a certificate's file.
pub fn certificate(path: &Path) -> Result<Certificate> {
    let text = file::text(path, LONGEST_FILE)?;
    Certificate::from_json(&text).map_err(|error| error.within(path.display()))
}

/// Reads a receipt's file.
pub fn receipt(path: &Path) -> Result<Receipt> {
    let text = file::text(path, LONGEST_FILE)?;
    Receipt::from_json(&text).map_err(|error| error.within(path.display()))
}

/// Adds every certificate and receipt in the files of a folder, alone or in words of the contract;
/// answers how many files hold neither.
pub fn read_folder(folder: &Path, terms: &EscrowTerms, evidence: &mut Evidence) -> Result<usize> {
    let unread = |error: std::io::Error| FOLDER.misused(folder.display(), "a folder", error);
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unread)? {
        let path = entry.map_err(unread)?.path();
        if path.is_file() {
            paths.push(path);
        }
    }
    // The order of names, so that a folder reads the same everywhere.
    paths.sort();
    let mut foreign = 0usize;
    for path in paths {
        match kept(&path, terms) {
            Ok(Kept::Certificate(certificate)) => evidence.add(certificate),
            Ok(Kept::Receipt(receipt)) => evidence.add_receipt(receipt),
            // What is neither is passed over, as a verdict passes it over.
            Ok(Kept::Neither) | Err(Error::Refused { .. }) => foreign += 1,
            Err(other) => return Err(other),
        }
    }
    Ok(foreign)
}

/// Adds what the words in the store at `home` carry.
pub fn read_store(home: &Path, terms: &EscrowTerms, evidence: &mut Evidence) -> Result<()> {
    make(home)?;
    for entry in Store::open(home.join(STORE))?.entries(&terms.id()?.0)? {
        if entry.kind != WORD {
            continue;
        }
        let text = String::from_utf8_lossy(&entry.body);
        let word = Word::from_json(&text)
            .map_err(|error| error.within(format_args!("event {}", entry.seq)))?;
        match of_word(word.event) {
            Kept::Certificate(certificate) => evidence.add(certificate),
            Kept::Receipt(receipt) => evidence.add_receipt(receipt),
            Kept::Neither => {}
        }
    }
    Ok(())
}

/// What a file holds.
enum Kept {
    Certificate(Certificate),
    Receipt(Receipt),
    Neither,
}

fn kept(path: &Path, terms: &EscrowTerms) -> Result<Kept> {
    let text = file::text(path, LONGEST_FILE)?;
    if let Ok(certificate) = Certificate::from_json(&text) {
        return Ok(Kept::Certificate(certificate));
    }
    if let Ok(receipt) = Receipt::from_json(&text) {
        return Ok(Kept::Receipt(receipt));
    }
    let word = Word::from_json(&text)?;
    word.verify(terms)?;
    Ok(of_word(word.event))
}

fn of_word(event: Event) -> Kept {
    match event {
        Event::Reward(reward::state::Event::Certified(certificate)) => {
            Kept::Certificate(certificate)
        }
        Event::Reward(reward::state::Event::Receipted(receipt)) => Kept::Receipt(receipt),
        _ => Kept::Neither,
    }
}
