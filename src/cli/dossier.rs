//! What files, stores and servers hold of a position: the chain's headers, certificates, receipts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::chain::electrum::{CHUNK, Electrum};
use crate::cli::arguments::ChainArguments;
use crate::cli::file;
use crate::cli::headers::Progress;
use crate::cli::wallet::{STORE, make};
use crate::error::{Culprit, Error, Result, Rule};
use crate::facts::Facts;
use crate::flow::contract::Contract;
use crate::flow::escrow::outcome::proofs;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::word::Word;
use crate::flow::{Event, reward};
use crate::guard::what_headers_cannot_prove;
use crate::header_sync::GuardedChain;
use crate::headers::Headers;
use crate::id::{CertificateDigest, PositionId};
use crate::store::Store;
use crate::validator::answer::Answer;
use crate::work::certificate::{Certificate, FORMAT, LONGEST_FILE};
use crate::work::evidence::Evidence;
use crate::work::receipt::Receipt;

/// A folder of evidence can be read.
pub const FOLDER: Rule = Rule::new(
    "work-show-folder",
    "the folder with certificates and receipts can be read, and has at most 20,000 files",
    "check the path and its permissions",
);

/// A folder that is only read has a store.
pub const STORED: Rule = Rule::new(
    "work-show-store",
    "the folder named with --home holds a store",
    "correct the path, or name a server with --electrum too, and the headers are kept there",
);

/// Most files of evidence in a folder: certificates of all slices of a term, and three times their
/// receipts.
const MOST_FILES: usize = 20_000;

/// The kind of an entry that holds a word.
const WORD: &str = "word";

/// The chain as far as it is known here.
#[derive(Debug)]
pub struct Known {
    /// The active chain's headers, from before the term to the tip.
    pub headers: Headers,
    /// Digests of certificates that blocks hold.
    pub proofs: BTreeMap<CertificateDigest, u32>,
    /// Whether a server was asked for them; if not, there may be others.
    pub asked: bool,
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
    // Who only reads makes no folder where a path is mistyped.
    let held = |home: &Path| {
        there(home)?;
        Store::open(home.join(STORE))
    };
    let mut open = Vec::new();
    let known = match (&from.home, &from.electrum) {
        (None, None) => return Ok(None),
        (Some(home), None) => {
            let guard = held(home)?.guard(network)?;
            guard.enough()?;
            open.push("digests confirmed in blocks: they are asked for with --electrum".to_owned());
            let headers = guard.headers(first.min(guard.tip()))?;
            Known { headers, proofs: BTreeMap::new(), asked: false, open }
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

/// What a server said.
pub(crate) fn of_facts(terms: &EscrowTerms, facts: Facts, open: Vec<String>) -> Known {
    Known { proofs: proofs(terms, &facts), headers: facts.headers, asked: true, open }
}

/// Reads a certificate's file, as JSON or in columns. Of several in the file of a farm, that of
/// `position`; any of them if none is.
pub fn certificate(path: &Path, position: PositionId) -> Result<Certificate> {
    let bytes = file::bytes(path, LONGEST_FILE)?;
    let read = Certificate::read_several(&bytes).and_then(|mut several| {
        let place = several.iter().position(|certificate| certificate.position == position);
        // A file holds one at the least.
        let expected = "at least one certificate";
        match several.is_empty() {
            true => Err(FORMAT.refuses(Culprit::Sender, "certificate", expected, "none")),
            false => Ok(several.swap_remove(place.unwrap_or(0))),
        }
    });
    read.map_err(|error| error.within(path.display()))
}

/// Reads a receipt's file.
pub fn receipt(path: &Path) -> Result<Receipt> {
    let text = file::text(path, LONGEST_FILE)?;
    Receipt::from_json(&text).map_err(|error| error.within(path.display()))
}

/// What a folder held of evidence, and beside it.
#[derive(Debug, Default)]
pub struct Folder {
    /// Certificates and receipts that were read, those in words included.
    pub read: [usize; 2],
    /// Files that are no certificate or receipt.
    pub foreign: usize,
    /// Why files that begin like a certificate are none.
    pub damaged: Vec<Error>,
}

/// Adds every certificate and receipt in the files of a folder: alone, or in words and validators' answers
/// of any contract of the position.
pub fn read_folder(folder: &Path, terms: &EscrowTerms, evidence: &mut Evidence) -> Result<Folder> {
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
    let ([mut certificates, mut receipts], mut foreign, mut damaged) =
        ([0usize; 2], 0usize, Vec::new());
    if paths.len() > MOST_FILES {
        let expected = format_args!("at most {MOST_FILES} files").to_string();
        let found = format_args!("{}: the last by name are not read", paths.len()).to_string();
        damaged.push(FOLDER.misused(folder.display(), expected, found));
        paths.truncate(MOST_FILES);
    }
    for path in paths {
        match kept(&path, terms) {
            Ok(Kept::Proofs(all, seals)) => {
                certificates = certificates.saturating_add(all.len());
                receipts = receipts.saturating_add(seals.len());
                all.into_iter().for_each(|one| evidence.add(one));
                seals.into_iter().for_each(|one| evidence.add_receipt(one));
            }
            Ok(Kept::Damaged(error)) => damaged.push(error.within(path.display())),
            // What is neither is passed over, as a verdict passes it over.
            Ok(Kept::Neither) | Err(Error::Refused { .. }) => foreign = foreign.saturating_add(1),
            // A file that nobody may read, among others that anybody may.
            Err(other) => damaged.push(other.within(path.display())),
        }
    }
    Ok(Folder { read: [certificates, receipts], foreign, damaged })
}

/// Refuses a folder without a store.
fn there(home: &Path) -> Result<()> {
    match home.join(STORE).is_file() {
        true => Ok(()),
        false => Err(STORED.misused(home.display(), format_args!("a folder with {STORE}"), "none")),
    }
}

/// Adds what the words in the store at `home` carry.
pub fn read_store(home: &Path, terms: &EscrowTerms, evidence: &mut Evidence) -> Result<()> {
    there(home)?;
    for entry in Store::open(home.join(STORE))?.entries(&terms.id()?.0)? {
        if entry.kind != WORD {
            continue;
        }
        let text = String::from_utf8_lossy(&entry.body);
        let word = Word::from_json(&text)
            .map_err(|error| error.within(format_args!("event {}", entry.seq)))?;
        match of_word(word.event) {
            Kept::Proofs(certificates, receipts) => {
                certificates.into_iter().for_each(|one| evidence.add(one));
                receipts.into_iter().for_each(|one| evidence.add_receipt(one));
            }
            Kept::Damaged(_) | Kept::Neither => {}
        }
    }
    Ok(())
}

/// What a file holds.
pub(crate) enum Kept {
    /// Certificates and receipts.
    Proofs(Vec<Certificate>, Vec<Receipt>),
    /// It begins like a certificate.
    Damaged(Error),
    /// Something else that can be read.
    Neither,
}

fn kept(path: &Path, terms: &EscrowTerms) -> Result<Kept> {
    let bytes = file::bytes(path, LONGEST_FILE)?;
    kept_of(&bytes, Some(terms.position()?))
}

/// What a file's bytes hold. Nobody's word is believed: what it carries proves itself, in whichever contract
/// of the position it was said, as it does in a file of its own. Of words only what is of `position`, if one
/// is named.
pub(crate) fn kept_of(bytes: &[u8], position: Option<PositionId>) -> Result<Kept> {
    let text = String::from_utf8_lossy(bytes);
    match Certificate::read_several(bytes) {
        Ok(certificates) => return Ok(Kept::Proofs(certificates, Vec::new())),
        Err(error) if bytes.starts_with(b"HMXC") || names_certificate(&text) => {
            return Ok(Kept::Damaged(error));
        }
        Err(_) => {}
    }
    if let Ok(receipt) = Receipt::from_json(&text) {
        return Ok(Kept::Proofs(Vec::new(), vec![receipt]));
    }
    if let Ok(answer) = Answer::from_json(&text) {
        let said = answer.words.into_iter().map(|numbered| numbered.word.event);
        return Ok(carried(said, position));
    }
    Ok(carried([Word::from_json(&text)?.event], position))
}

/// Whether the format that a JSON file names near its beginning is a certificate's.
fn names_certificate(text: &str) -> bool {
    text.chars().take(64).collect::<String>().contains("\"hashmix certificate ")
}

/// What words carry for a position.
fn carried(events: impl IntoIterator<Item = Event>, position: Option<PositionId>) -> Kept {
    let ours = |theirs: PositionId| position.is_none_or(|position| position == theirs);
    let (mut certificates, mut receipts) = (Vec::new(), Vec::new());
    for event in events {
        match of_word(event) {
            Kept::Proofs(more, seals) => {
                certificates.extend(more.into_iter().filter(|one| ours(one.position)));
                receipts.extend(seals.into_iter().filter(|one| ours(one.position)));
            }
            Kept::Damaged(_) | Kept::Neither => {}
        }
    }
    match certificates.is_empty() && receipts.is_empty() {
        true => Kept::Neither,
        false => Kept::Proofs(certificates, receipts),
    }
}

pub(crate) fn of_word(event: Event) -> Kept {
    match event {
        Event::Reward(reward::state::Event::Certified(certificate)) => {
            Kept::Proofs(vec![certificate], Vec::new())
        }
        Event::Reward(reward::state::Event::Receipted(receipt)) => {
            Kept::Proofs(Vec::new(), vec![receipt])
        }
        Event::Reward(reward::state::Event::Carried { receipts }) => {
            Kept::Proofs(Vec::new(), receipts)
        }
        _ => Kept::Neither,
    }
}
