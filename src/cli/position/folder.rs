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

use std::path::{Path, PathBuf};

use bitcoin::Txid;

use crate::cli::dossier::{Folder, read_folder};
use crate::cli::file::{self, Readers};
use crate::error::{Culprit, Result, Rule};
use crate::flow::escrow::terms::{EscrowTerms, TERMS_MAX_BYTES};
use crate::flow::position::dossier::{DOCUMENT_MAX_BYTES, Dossier, Issue, MOST_MOVES, Transfer};
use crate::flow::position::terms::PositionTerms;
use crate::flow::position::title::ISSUED;
use crate::work::evidence::Evidence;

/// A dossier can be read.
pub const FOLDER: Rule = Rule::new(
    "title-folder",
    "a dossier is a folder with position.json and issue.json, and at most 1,000 files in transfers/",
    "name the dossier's folder; ask its sender for what is missing",
);

const TERMS: &str = "position.json";
const ISSUE: &str = "issue.json";
const TRANSFERS: &str = "transfers";
/// Folders that hold evidence.
const EVIDENCE: [&str; 4] = ["certificates", "receipts", "rulings", "words"];

/// Reads the documents in the folder, and checks that they belong together.
pub fn read(folder: &Path) -> Result<Dossier> {
    if !folder.is_dir() {
        return Err(FOLDER.misused(folder.display(), "a folder", "none"));
    }
    let path = folder.join(TERMS);
    let terms = PositionTerms::from_json(&file::text(&path, TERMS_MAX_BYTES)?)
        .map_err(|error| error.within(path.display()))?;
    let path = folder.join(ISSUE);
    let issue = Issue::from_json(&file::text(&path, DOCUMENT_MAX_BYTES)?)
        .map_err(|error| error.within(path.display()))?;
    let mut transfers = Vec::new();
    for path in files(&folder.join(TRANSFERS))? {
        let text = file::text(&path, DOCUMENT_MAX_BYTES)?;
        let read = Transfer::from_json(&text).map_err(|error| error.within(path.display()))?;
        transfers.push(read);
    }
    Dossier::new(terms, issue, transfers).map_err(|error| error.within(folder.display()))
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
            let Folder { foreign, damaged } = read_folder(&inner, terms, evidence)?;
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

/// Whether the dossier in a folder lacks a transfer; refused if it has another one of that number, or
/// if the transfer does not belong there.
pub fn lacks(folder: &Path, transfer: &Transfer) -> Result<bool> {
    let dossier = read(folder)?;
    let held = dossier.openings().iter().map(|opening| opening.transfer.clone());
    let mut all: Vec<Transfer> = held.collect();
    if all.contains(transfer) {
        return Ok(false);
    }
    all.push(transfer.clone());
    let (terms, issue) = (dossier.terms().clone(), dossier.issue().clone());
    Dossier::new(terms, issue, all).map_err(|error| error.within(folder.display()))?;
    Ok(true)
}

/// Adds a transfer to the dossier in a folder.
pub fn write_transfer(folder: &Path, transfer: &Transfer) -> Result<()> {
    let inner = folder.join(TRANSFERS);
    make(&inner)?;
    let path = inner.join(format!("{:04}.json", transfer.number));
    file::write(&path, transfer.to_json()?.as_bytes(), Readers::Anyone)
}

fn make(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)
        .map_err(|error| FOLDER.unstored(folder.display(), "a folder", error))
}

/// The files of a folder in the order of their names; none where there is no folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let unread = |error: std::io::Error| FOLDER.misused(folder.display(), "a folder", error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        // A file that is being written has a name that begins with a point.
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !hidden && entry.path().is_file() {
            paths.push(entry.path());
        }
        if paths.len() > MOST_MOVES {
            return Err(FOLDER.misused(
                folder.display(),
                format_args!("at most {MOST_MOVES} files"),
                "more",
            ));
        }
    }
    paths.sort();
    Ok(paths)
}
