//! `hashmix contract carry`: what was proven under the contract before is said at this one.
//!
//! The evidence is that of the seat's own store, if he sat at the contract before; a holder who came
//! later has it in a folder, a dossier for example.

use std::path::Path;

use crate::cli::contract::words;
use crate::cli::dossier::read_folder;
use crate::cli::position::folder::read_evidence;
use crate::cli::terms;
use crate::engine::Engine;
use crate::error::{Result, Rule};
use crate::flow::Contract;
use crate::work::evidence::Evidence;

/// What is carried over belongs here.
pub const BEFORE: Rule = Rule::new(
    "contract-before",
    "what is carried over was proven under an earlier contract of the same position, and is known here",
    "name the terms of the contract that was sold on, and with --evidence a folder with its certificates and receipts",
);

/// Says at the engine's contract what was proven under the one whose terms lie at `path`; answers with
/// the number of words.
pub(super) fn carry(engine: &mut Engine, path: &Path, folder: Option<&Path>) -> Result<usize> {
    let before = terms::read(path)?;
    let number = |tenure: Option<u32>| tenure.map_or("none".to_owned(), |it| it.to_string());
    let ours = engine.contract().terms();
    let (mine, his) =
        (ours.tenure.as_ref().map(|it| it.transfer), before.tenure.as_ref().map(|it| it.transfer));
    // Without a tenure a contract is its own position, and nothing comes before it.
    if mine.is_none() || his.is_none() || mine <= his || before.position()? != ours.position()? {
        let expected = format!("a contract of position {} before transfer {}", ours.position()?, {
            number(mine)
        });
        let found = format!("position {}, transfer {}", before.position()?, number(his));
        return Err(BEFORE.misused(path.display(), expected, found));
    }
    let evidence = match folder {
        Some(folder) => {
            let mut evidence = Evidence::new(before.position()?);
            read_folder(folder, &before, &mut evidence)?;
            read_evidence(folder, &before, &mut evidence)?;
            evidence
        }
        None => {
            let mut contract = Contract::new(before)?;
            let id = contract.id();
            for word in words(&engine.store().entries(&id.0)?)? {
                contract.apply(word.from, &word.event)?;
            }
            contract.evidence().clone()
        }
    };
    if evidence.certificates().is_empty() {
        let expected = "certificates of the contract before";
        let place = folder.map_or("store".to_owned(), |folder| folder.display().to_string());
        return Err(BEFORE.misused(place, expected, "none"));
    }
    engine.carry(&evidence)
}
