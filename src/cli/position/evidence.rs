//! `hashmix position evidence`: what lies about of certificates and receipts goes into the dossier.
//!
//! ```text
//!  a gateway's home, a shared folder,    ---judged to be of this position--->  certificates/ receipts/
//!  words, answers, files of either kind  \--what is something else----------->  told, with the reason
//! ```
//! A certificate proves itself by its shares and a receipt by its signature; so a word or an answer is only
//! their envelope here, and it does not matter whose.

use std::path::{Path, PathBuf};

use bitcoin::Amount;
use bitcoin::secp256k1::XOnlyPublicKey;

use crate::cli::dossier::{Kept, kept_of, of_word};
use crate::cli::position::folder;
use crate::cli::{file, wallet};
use crate::engine::evidence::{CERTIFICATES, RECEIPTS, write_certificate, write_receipt};
use crate::error::{Culprit, Result, Rule};
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::position::terms::PositionTerms;
use crate::flow::word::Word;
use crate::id::PositionId;
use crate::store::Store;
use crate::work::certificate::{Certificate, LONGEST_FILE};
use crate::work::evidence::Evidence;
use crate::work::receipt::Receipt;

/// What is taken into a dossier is of its position.
pub const OURS: Rule = Rule::new(
    "dossier-evidence-position",
    "a certificate or receipt that is taken into a dossier is of its position, and of a slice of its term",
    "name the dossier of the position that it is of; an onboarding or a binding is no work of the position",
);

/// Most files that are looked at.
const MOST_FILES: usize = 20_000;
/// Most folders below the one that was named.
const DEEPEST: usize = 8;
/// Most files that are passed over of which each is told.
const TOLD: usize = 20;

/// What is taken, and from where it is not.
#[derive(Default)]
struct Taken {
    /// Certificates and receipts that were written.
    fresh: [usize; 2],
    /// And those that lay there already.
    known: [usize; 2],
    /// What is passed over, and why.
    passed: Vec<String>,
}

/// Into which dossier, by what it is judged, and what it has.
struct Shelf<'a> {
    dossier: &'a Path,
    position: PositionId,
    slices: u32,
    keys: Vec<XOnlyPublicKey>,
    has: Evidence,
    contracts: Vec<EscrowTerms>,
}

/// Takes the evidence in files and folders into the dossier.
pub(super) fn take(dossier: &Path, from: &[PathBuf]) -> Result<Vec<String>> {
    let mut shelf = Shelf::open(dossier)?;
    let mut taken = Taken::default();
    let mut files = Vec::new();
    for path in from {
        if !path.exists() {
            return Err(file::READABLE.misused(path.display(), "a file or a folder", "none"));
        }
        walk(path, 0, &mut files, &mut taken.passed);
    }
    // The order of names, so that the same folder is told the same way everywhere.
    files.sort();
    files.dedup();
    if files.len() > MOST_FILES {
        let more = files.len().saturating_sub(MOST_FILES);
        taken.passed.push(format!("{more} files: at most {MOST_FILES} are looked at"));
        files.truncate(MOST_FILES);
    }
    for path in &files {
        let looked = match path.file_name().is_some_and(|name| name == wallet::STORE) {
            true => shelf.take_store(path, &mut taken),
            false => shelf.take_file(path, &mut taken),
        };
        // Nothing that was written is lost with a disk that is full.
        match looked {
            Err(error @ crate::error::Error::Storage(_)) => return Err(error),
            Err(error) => taken.passed.push(format!("{}: {error}", path.display())),
            Ok(()) => {}
        }
    }
    Ok(taken.lines(dossier))
}

impl<'a> Shelf<'a> {
    fn open(dossier: &'a Path) -> Result<Self> {
        let papers = folder::read(dossier)?;
        let (terms, position) = (papers.bare().terms().clone(), papers.bare().position());
        let whole = terms.contract(Amount::ZERO);
        let transfers = papers.papers().iter().map(|paper| paper.transfer.contract(&terms));
        // One that is no contract is told by whoever verifies the dossier.
        let contracts = transfers.filter_map(|contract| contract.ok().flatten()).collect();
        let has = there(dossier, &terms, position)?;
        let keys = terms.reward.federation.ruling_keys();
        let slices = slices(&whole);
        Ok(Self { dossier, position, slices, keys, has, contracts })
    }

    fn take_file(&mut self, path: &Path, taken: &mut Taken) -> Result<()> {
        let bytes = file::bytes(path, LONGEST_FILE)?;
        self.take(kept_of(&bytes, None)?, taken)
    }

    /// The words about this position's contracts in a store, a gateway's for example.
    fn take_store(&mut self, path: &Path, taken: &mut Taken) -> Result<()> {
        let store = Store::open(path)?;
        for contract in self.contracts.clone() {
            for entry in store.entries(&contract.id()?.0)? {
                if let Ok(word) = Word::from_json(&String::from_utf8_lossy(&entry.body)) {
                    match of_word(word.event) {
                        Kept::Neither | Kept::Damaged(_) => {}
                        kept => self.take(kept, taken)?,
                    }
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, kept: Kept, taken: &mut Taken) -> Result<()> {
        match kept {
            Kept::Proofs(certificates, receipts) => {
                // A farm's file has those of its other positions too.
                let ours = certificates.iter().any(|one| self.check(one).is_ok());
                for certificate in certificates {
                    match self.check(&certificate) {
                        Ok(()) => self.put_certificate(certificate, taken)?,
                        Err(error) if !ours => return Err(error),
                        Err(_) => {}
                    }
                }
                receipts.into_iter().try_for_each(|one| self.put_receipt(one, taken))
            }
            Kept::Damaged(error) => Err(error),
            Kept::Neither => {
                Err(OURS.refuses(Culprit::Sender, "file", "a certificate or a receipt", "neither"))
            }
        }
    }

    fn check(&self, certificate: &Certificate) -> Result<()> {
        let refuse = |expected: String, found: String| {
            Err(OURS.refuses(Culprit::Sender, "certificate", expected, found))
        };
        if certificate.position != self.position {
            return refuse(self.position.to_string(), certificate.position.to_string());
        }
        match certificate.slice < self.slices {
            true => Ok(()),
            false => refuse(
                format!("a slice below {}", self.slices),
                format!("slice {}", certificate.slice),
            ),
        }
    }

    fn put_certificate(&mut self, certificate: Certificate, taken: &mut Taken) -> Result<()> {
        let digest = certificate.digest();
        let known = self.has.digests().any(|(known, _)| known == digest);
        let fresh = !known && write_certificate(self.dossier, &certificate)?;
        self.has.add(certificate);
        taken.count(0, fresh);
        Ok(())
    }

    fn put_receipt(&mut self, receipt: Receipt, taken: &mut Taken) -> Result<()> {
        if receipt.position != self.position {
            let (expected, found) = (self.position, receipt.position);
            return Err(OURS.refuses(Culprit::Sender, "receipt", expected, found));
        }
        receipt.check(&self.keys)?;
        let known = self.has.receipts(&receipt.subject).contains(&receipt);
        let fresh = !known && write_receipt(self.dossier, &receipt)?;
        self.has.add_receipt(receipt);
        taken.count(1, fresh);
        Ok(())
    }
}

impl Taken {
    fn count(&mut self, kind: usize, fresh: bool) {
        let of = if fresh { &mut self.fresh } else { &mut self.known };
        if let Some(count) = of.get_mut(kind) {
            *count = count.saturating_add(1);
        }
    }

    fn lines(self, dossier: &Path) -> Vec<String> {
        let told = |[certificates, receipts]: [usize; 2]| {
            format!("{certificates} certificates, {receipts} receipts")
        };
        let mut lines = vec![
            format!("taken        {}", told(self.fresh)),
            format!("there before {}", told(self.known)),
        ];
        let more = self.passed.len().saturating_sub(TOLD);
        lines.extend(self.passed.into_iter().take(TOLD).map(|one| format!("passed over  {one}")));
        if more > 0 {
            lines.push(format!("passed over  {more} more"));
        }
        let next = format_args!("hashmix position verify {} --electrum URL", dossier.display());
        lines.push(format!("next         what they prove: {next}"));
        lines
    }
}

/// What the dossier's own folders have of the position.
fn there(dossier: &Path, terms: &PositionTerms, position: PositionId) -> Result<Evidence> {
    let (whole, mut has) = (terms.contract(Amount::ZERO), Evidence::new(position));
    for name in [CERTIFICATES, RECEIPTS] {
        let inner = dossier.join(name);
        if inner.is_dir() {
            crate::cli::dossier::read_folder(&inner, &whole, &mut has)?;
        }
    }
    Ok(has)
}

/// Slices of the whole term.
fn slices(terms: &EscrowTerms) -> u32 {
    let delivery = &terms.delivery;
    delivery.period.saturating_mul(delivery.periods).checked_div(delivery.slice).unwrap_or(0)
}

/// The files below a path. A link may lead anywhere, so none is followed.
fn walk(path: &Path, depth: usize, files: &mut Vec<PathBuf>, passed: &mut Vec<String>) {
    if files.len() > MOST_FILES {
        return;
    }
    if path.is_symlink() {
        passed.push(format!("{}: a link", path.display()));
    } else if path.is_file() {
        files.push(path.to_owned());
    } else if path.is_dir() && depth >= DEEPEST {
        passed.push(format!("{}: {DEEPEST} folders deep", path.display()));
    } else if path.is_dir() {
        match std::fs::read_dir(path) {
            Ok(entries) => {
                for entry in entries.filter_map(|entry| entry.ok()) {
                    // A file that is being written has a name that begins with a point.
                    if !entry.file_name().to_string_lossy().starts_with('.') {
                        walk(&entry.path(), depth.saturating_add(1), files, passed);
                    }
                }
            }
            Err(error) => passed.push(format!("{}: {error}", path.display())),
        }
    } else {
        passed.push(format!("{}: no file", path.display()));
    }
}
