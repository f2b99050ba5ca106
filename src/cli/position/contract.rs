//! `hashmix position terms`: the contract that was sold with a move, out of the dossier. A miner who was
//! silent while validators sold on has it from here, and so has whoever weighs the work.

use std::path::Path;

use crate::cli::Done;
use crate::cli::arguments::DossierArguments;
use crate::cli::file::{self, Readers};
use crate::cli::position::reading;
use crate::error::{Culprit, Result, Rule};

/// A move that is named has sold something.
pub const SOLD: Rule = Rule::new(
    "title-sold",
    "a contract was sold with the move that is named: one that a block holds and a transfer opens",
    "see the moves with `hashmix position verify`",
);

/// Makes the terms of the contract that came with a move, or with the newest one that sold; where the
/// newest move may have brought another one that the dossier does not tell, that is said behind it.
pub(super) fn terms(
    arguments: &DossierArguments,
    path: &Path,
    number: Option<u32>,
    out: &Path,
) -> Result<Done> {
    file::free(out)?;
    let judged = reading::judged(arguments, path)?;
    let title = &judged.title;
    let sold = match number {
        Some(number) => title.sold.iter().find(|sold| sold.number == number),
        None => title.contract(),
    };
    let Some(sold) = sold else {
        let moves: Vec<String> = title.sold.iter().map(|sold| sold.number.to_string()).collect();
        let expected = match moves.is_empty() {
            true => "a position that was sold".to_owned(),
            false => format!("one of the moves {}", moves.join(", ")),
        };
        let found = number.map_or_else(|| "none".to_owned(), |number| format!("move {number}"));
        return Err(SOLD.refuses(Culprit::Sender, path.display(), expected, found));
    };
    let text = serde_json::to_string_pretty(&sold.terms)
        .map_err(|error| SOLD.broken("a contract's terms", "JSON", error))?;
    file::write(out, (text + "\n").as_bytes(), Readers::Anyone)?;
    let before: Vec<String> = title
        .sold
        .iter()
        .filter(|other| other.number < sold.number)
        .map(|other| other.number.to_string())
        .collect();
    let mut lines = vec![
        format!("terms    {}", out.display()),
        format!("contract {}", sold.terms.id()?),
        format!(
            "sold     with move {} for {} sat, from period {} on",
            sold.number,
            sold.terms.price.to_sat(),
            sold.terms.first_period().saturating_add(1)
        ),
    ];
    if !before.is_empty() {
        lines.push(format!(
            "before   contracts of move {}: make each with --move, and name it under `before` in the gateway's file",
            before.join(", ")
        ));
    }
    lines.push(
        "next     the miner names this file in his gateway's, and starts it again".to_owned(),
    );
    let but = title.check().err().filter(|_| number.is_none());
    Ok(Done { lines, but })
}
