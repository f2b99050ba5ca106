//! What somebody sent of a dossier: terms and issue, which are indispensable, and any number of transfers,
//! true and false.
//!
//! A dossier comes from anybody, so a false file among the true ones must not hide them: whoever wants a
//! position to look unsound would add one. Which transfers are true the seal's own outputs tell
//! ([`choose`](crate::flow::position::title::choose)); the others are told with their rules, and the
//! position is judged without them. What is missing then, a buyer's refusal says: a move that is not opened.

use bitcoin::ScriptBuf;

use crate::error::{Error, Result, Rule};
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::position::dossier::{Dossier, Issue, MOST_MOVES, Transfer};
use crate::flow::position::terms::PositionTerms;
use crate::id::TermsId;
use crate::party::Record;

/// A transfer counts in a block.
pub const WAITS: Rule = Rule::new(
    "title-waiting",
    "a transfer in a dossier counts when a transaction has moved the seal as it says",
    "wait for a block; if the sale was replaced or given up, take the file out",
);

/// Scripts of transfers that are asked for at once where some are false.
const AT_ONCE: usize = 64;

/// A transfer as it was sent, and what the dossier calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paper {
    /// The name of its file.
    pub name: String,
    /// What it says.
    pub transfer: Transfer,
    /// The contract that it sold, by the id of its terms.
    sale: Option<TermsId>,
}

impl Paper {
    /// The output that it says the seal goes to. Behind whoever held it until then, by his record and the
    /// contract that he held it under, it may be a withdrawal, which keeps that contract.
    pub(super) fn script(&self, held: Option<(&Record, Option<TermsId>)>) -> Result<ScriptBuf> {
        let kept = held.filter(|(record, _)| self.transfer.keeps(record));
        self.transfer.seal_under(kept.map_or(self.sale, |(_, under)| under))
    }

    /// The contract that its holder holds the seal under.
    pub(super) fn under(&self, held: Option<(&Record, Option<TermsId>)>) -> Option<TermsId> {
        let kept = held.filter(|(record, _)| self.transfer.keeps(record));
        kept.map_or(self.sale, |(_, under)| under)
    }
}

/// The files of a dossier.
#[derive(Clone, Debug)]
pub struct Papers {
    bare: Dossier,
    papers: Vec<Paper>,
    refused: Vec<(String, Error)>,
}

impl Papers {
    /// The documents without which nothing can be told.
    pub fn new(terms: PositionTerms, issue: Issue) -> Result<Self> {
        let bare = Dossier::new(terms, issue, Vec::new())?;
        Ok(Self { bare, papers: Vec::new(), refused: Vec::new() })
    }

    /// The dossier without any transfer.
    pub fn bare(&self) -> &Dossier {
        &self.bare
    }

    /// The transfers that are of this position, by number and name.
    pub fn papers(&self) -> &[Paper] {
        &self.papers
    }

    /// The files that are no transfers of this position, by name, and why.
    pub fn refused(&self) -> &[(String, Error)] {
        &self.refused
    }

    /// Tells of a file that could not be read.
    pub fn refuse(&mut self, name: impl Into<String>, error: Error) {
        self.refused.push((name.into(), error));
    }

    /// Takes a transfer, if it is one of this position's.
    pub fn take(&mut self, name: impl Into<String>, transfer: Transfer) {
        let name = name.into();
        match self.judged(&transfer) {
            Ok(sale) => {
                self.papers.push(Paper { name, transfer, sale });
                self.papers.sort_by(|one, other| {
                    (one.transfer.number, &one.name).cmp(&(other.transfer.number, &other.name))
                });
            }
            Err(error) => self.refused.push((name, error)),
        }
    }

    fn judged(&self, transfer: &Transfer) -> Result<Option<TermsId>> {
        let place = format!("transfer {}", transfer.number);
        transfer.check_of(&self.bare).map_err(|error| error.within(&place))?;
        let contract = transfer.contract(self.bare.terms()).map_err(|e| e.within(&place))?;
        contract.as_ref().map(EscrowTerms::id).transpose()
    }

    /// Whether a transfer lies there.
    pub fn holds(&self, transfer: &Transfer) -> bool {
        self.papers.iter().any(|paper| paper.transfer == *transfer)
    }

    /// The dossier if every transfer were true; refused where two contradict each other.
    pub fn whole(&self) -> Result<Dossier> {
        let transfers = self.papers.iter().map(|paper| paper.transfer.clone());
        self.with(transfers.take(MOST_MOVES.saturating_add(1)).collect())
    }

    /// The dossier with these transfers.
    pub(super) fn with(&self, transfers: Vec<Transfer>) -> Result<Dossier> {
        Dossier::new(self.bare.terms().clone(), self.bare.issue().clone(), transfers)
    }

    /// The outputs whose histories to ask for first: those of the true dossier, if nothing in it is
    /// false. Where something is, what is missing is asked for step by step.
    pub fn scripts(&self) -> Result<Vec<ScriptBuf>> {
        if let Ok(whole) = self.whole() {
            return whole.scripts();
        }
        let mut scripts = self.bare.scripts()?;
        for paper in self.papers.iter().take(AT_ONCE) {
            scripts.push(paper.script(None)?);
        }
        Ok(scripts)
    }
}
