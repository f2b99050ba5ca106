//! A dossier as a folder: the medium by which people meet over a position.
//!
//! ```text
//!   position.json              what was promised
//!   issue.json                 which transaction issued it
//!   transfers/0001.json ..     to whom the seal went
//!   certificates/ receipts/    what was proven, and seen by validators
//!   words/ rulings/            what was said
//! ```
//! Names of files are no authority: a transfer states its number itself. Whoever sends a sale or a
//! withdrawal writes its transfer, and whoever sees it confirmed may too: it is the same file.

use std::path::Path;

use bitcoin::Txid;

use crate::cli::dossier::{Folder, read_folder};
use crate::cli::file::{self, Readers};
use crate::error::{Culprit, Result, Rule};
use crate::flow::escrow::terms::{EscrowTerms, TERMS_MAX_BYTES};
use crate::flow::position::dossier::{DOCUMENT_MAX_BYTES, Dossier, Issue, MOST_MOVES, Transfer};
use crate::flow::position::papers::Papers;
use crate::flow::position::terms::PositionTerms;
use crate::flow::position::title::ISSUED;
use crate::work::evidence::Evidence;

/// A dossier can be read.
pub const FOLDER: Rule = Rule::new(
    "title-folder",
    "a dossier is a folder with position.json and issue.json, and at most 1,000 files in transfers/, which can be read",
    "name the dossier's folder; ask its sender for what is missing",
);

const TERMS: &str = "position.json";
const ISSUE: &str = "issue.json";
const TRANSFERS: &str = "transfers";
/// Folders that hold evidence.
const EVIDENCE: [&str; 4] = ["certificates", "receipts", "rulings", "words"];

/// Reads the documents in the folder. Without terms and issue there is nothing to tell; any other file
/// that cannot be read, or is no transfer of this position, is told as refused, and holds nothing up.
pub fn read(folder: &Path) -> Result<Papers> {
    if !folder.is_dir() {
        return Err(FOLDER.misused(folder.display(), "a folder", "none"));
    }
    let path = folder.join(TERMS);
    let terms = PositionTerms::from_json(&file::text(&path, TERMS_MAX_BYTES)?)
        .map_err(|error| error.within(path.display()))?;
    let path = folder.join(ISSUE);
    let issue = Issue::from_json(&file::text(&path, DOCUMENT_MAX_BYTES)?)
        .map_err(|error| error.within(path.display()))?;
    let mut papers = Papers::new(terms, issue).map_err(|error| error.within(folder.display()))?;
    let inner = folder.join(TRANSFERS);
    let names = match names(&inner) {
        Ok(names) => names,
        Err(error) => {
            papers.refuse(TRANSFERS, error);
            Vec::new()
        }
    };
    if names.len() > MOST_MOVES {
        let expected = format_args!("at most {MOST_MOVES} files").to_string();
        let found = format_args!("{}: the last by name are not read", names.len()).to_string();
        papers.refuse(TRANSFERS, FOLDER.misused(inner.display(), expected, found));
    }
    for name in names.into_iter().take(MOST_MOVES) {
        let path = inner.join(&name);
        let told = format!("{TRANSFERS}/{name}");
        match transfer(&path) {
            Ok(read) => papers.take(told, read),
            Err(error) => papers.refuse(told, error),
        }
    }
    Ok(papers)
}

fn transfer(path: &Path) -> Result<Transfer> {
    // What is no file, a pipe perhaps, might never end.
    if !path.is_file() {
        return Err(FOLDER.misused(path.display(), "a file", "something else"));
    }
    Transfer::from_json(&file::text(path, DOCUMENT_MAX_BYTES)?)
        .map_err(|error| error.within(path.display()))
}

/// Adds the evidence in the folder, as far as it is of this contract.
pub fn read_evidence(
    folder: &Path,
    terms: &EscrowTerms,
    evidence: &mut Evidence,
) -> Result<Folder> {
    let mut whole = Folder::default();
    for name in EVIDENCE {
        let inner = folder.join(name);
        if inner.is_dir() {
            let Folder { read, foreign, damaged } = read_folder(&inner, terms, evidence)?;
            for (sum, more) in whole.read.iter_mut().zip(read) {
                *sum = sum.saturating_add(more);
            }
            whole.foreign = whole.foreign.saturating_add(foreign);
            whole.damaged.extend(damaged);
        }
    }
    Ok(whole)
}

/// Writes the documents of a dossier into a folder, made if it does not exist. What is there already
/// is never written over.
pub fn write(folder: &Path, dossier: &Dossier) -> Result<()> {
    make(&folder.join(TRANSFERS))?;
    file::write(&folder.join(TERMS), dossier.terms().to_json()?.as_bytes(), Readers::Anyone)?;
    file::write(&folder.join(ISSUE), dossier.issue().to_json()?.as_bytes(), Readers::Anyone)?;
    let mut transfers = dossier.openings().iter().map(|opening| &opening.transfer);
    transfers.try_for_each(|transfer| write_transfer(folder, transfer))
}

/// Adds the issue to the dossier in a folder; whether it was not there. Another one is refused, not
/// written over, unless it is one of the `dead`, which no block can hold any more: somebody has to look
/// where it is from.
pub fn write_issue(folder: &Path, issue: &Issue, dead: &[Txid]) -> Result<bool> {
    let path = folder.join(ISSUE);
    if !path.exists() {
        file::write(&path, issue.to_json()?.as_bytes(), Readers::Anyone)?;
        return Ok(true);
    }
    let held = Issue::from_json(&file::text(&path, DOCUMENT_MAX_BYTES)?)
        .map_err(|error| error.within(path.display()))?;
    match held == *issue {
        true => Ok(false),
        false if dead.contains(&held.txid) => {
            // Kept beside it: nothing of a dossier is written over.
            let aside = folder.join(format!("issue-dead-{}.json", held.txid));
            std::fs::rename(&path, &aside)
                .map_err(|error| FOLDER.unstored(aside.display(), "a free name", error))?;
            file::write(&path, issue.to_json()?.as_bytes(), Readers::Anyone)?;
            Ok(true)
        }
        false => {
            let expected = format_args!("the issue {} of these words", issue.txid).to_string();
            let found = format_args!("another file, of {}", held.txid).to_string();
            Err(ISSUED.refuses(Culprit::Sender, path.display(), expected, found))
        }
    }
}

/// Whether the dossier in a folder lacks a transfer; refused if it is of another position.
pub fn lacks(folder: &Path, transfer: &Transfer) -> Result<bool> {
    let mut papers = read(folder)?;
    if papers.holds(transfer) {
        return Ok(false);
    }
    let before = papers.refused().len();
    papers.take("transfer", transfer.clone());
    match papers.refused().get(before) {
        Some((_, error)) => Err(error.clone().within(folder.display())),
        None => Ok(true),
    }
}

/// Adds a transfer to the dossier in a folder, beside whatever bears its number there.
pub fn write_transfer(folder: &Path, transfer: &Transfer) -> Result<()> {
    let inner = folder.join(TRANSFERS);
    make(&inner)?;
    let mut path = inner.join(format!("{:04}.json", transfer.number));
    if path.symlink_metadata().is_ok() {
        let record = transfer.record.id()?.to_string();
        let start = record.get(..16).unwrap_or(&record);
        path = inner.join(format!("{:04}-{start}.json", transfer.number));
    }
    file::write(&path, transfer.to_json()?.as_bytes(), Readers::Anyone)
}

fn make(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)
        .map_err(|error| FOLDER.unstored(folder.display(), "a folder", error))
}

/// Names in a folder, those first that a transfer is given by [`write_transfer`]; none where there is no
/// folder.
fn names(folder: &Path) -> Result<Vec<String>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let unread = |error: std::io::Error| FOLDER.misused(folder.display(), "a folder", error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unread)? {
        let name = entry.map_err(unread)?.file_name().to_string_lossy().into_owned();
        // A file that is being written has a name that begins with a point.
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    let ours = |name: &str| {
        let number = name.strip_suffix(".json").unwrap_or_default();
        number.len() >= 4 && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    names.sort_by(|one, other| (!ours(one), one).cmp(&(!ours(other), other)));
    Ok(names)
}
