//! What a resale is judged by: certificates and receipts out of a folder, and what they say is due.
//!
//! It may be a dossier, whose evidence lies in folders of its own, or any folder with such files in it. What
//! cannot be read is told by name: each certificate that is missing is paid to the next holder.

use std::path::Path;

use crate::cli::dossier::read_folder;
use crate::cli::position::folder;
use crate::error::{Error, Result};
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::sale::terms::Resale;
use crate::work::evidence::Evidence;

/// The evidence in a folder.
pub(super) struct Weighed {
    pub(super) evidence: Evidence,
    damaged: Vec<Error>,
}

impl Weighed {
    /// Reads what lies in the folder itself, and where a dossier has it.
    pub(super) fn read(folder: &Path, contract: &EscrowTerms) -> Result<Self> {
        let mut evidence = Evidence::new(contract.position()?);
        let mut damaged = read_folder(folder, contract, &mut evidence)?.damaged;
        damaged.extend(folder::read_evidence(folder, contract, &mut evidence)?.damaged);
        Ok(Self { evidence, damaged })
    }

    /// What was read, with what the resale makes of it, and what could not be read.
    pub(super) fn said(&self, resale: &Resale) -> Result<Vec<String>> {
        let taken = resale.taken_over()?;
        let mut lines = vec![format!(
            "evidence  {}; the miner is due {} sat, {} sat stay in escrow",
            self.counted(),
            taken.due.to_sat(),
            taken.rest.to_sat()
        )];
        lines.extend(self.damaged());
        Ok(lines)
    }

    /// The same where the resale is not what it says.
    pub(super) fn denied(&self) -> Vec<String> {
        let mut lines = vec![format!("evidence  {}", self.counted())];
        lines.extend(self.damaged());
        lines
    }

    /// Each once, however many files hold it.
    fn counted(&self) -> String {
        let position = self.evidence.position();
        let ours = |sealed: &&crate::work::evidence::SealedCertificate| {
            sealed.certificate.position == position
        };
        let certificates = self.evidence.certificates().iter().filter(ours);
        let receipts: usize = certificates.clone().map(|sealed| sealed.receipts.len()).sum();
        format!("{} certificates, {receipts} receipts", certificates.count())
    }

    fn damaged(&self) -> impl Iterator<Item = String> {
        self.damaged.iter().map(|error| format!("damaged   {error}"))
    }
}
