//! Which of the transfers that somebody sent are true: those that the seal's own moves open.

use bitcoin::Script;

use super::{Hop, Known, Need, OPENS, hops, issued};
use crate::error::{Culprit, Error, Result};
use crate::flow::position::dossier::{Dossier, Transfer};
use crate::flow::position::papers::{Paper, Papers, WAITS};
use crate::id::TermsId;
use crate::party::Record;
use crate::tx::satoshi::Moved;

/// A dossier of true transfers, and the files beside it.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// What is true.
    pub dossier: Dossier,
    /// Files that open nothing, by name, and why.
    pub refused: Vec<(String, Error)>,
}

/// Chooses, or tells what has to be read before.
///
/// The satoshi is followed through all its moves, opened or not; of each move the transfer of its number
/// is true whose output it paid.
pub fn choose(papers: &Papers, known: Known<'_>) -> Result<Result<Chosen, Vec<Need>>> {
    let bare = papers.bare();
    let issued = match issued::prove(bare, known)? {
        Ok(issued) => issued,
        Err(need) => return Ok(Err(vec![need])),
    };
    let hops = match hops(bare, known, issued.seal)? {
        Ok(hops) => hops,
        Err(needs) => return Ok(Err(needs)),
    };
    let mut chosen: Vec<Transfer> = Vec::new();
    // Who held it before the move, and under which contract; `None` behind a move that nothing opens.
    let mut held: Option<(Record, Option<TermsId>)> =
        Some((bare.terms().reward.holder.clone(), None));
    for hop in &hops {
        let before = held.as_ref().map(|(record, under)| (record, *under));
        let found = paid(known, hop).and_then(|script| opener(papers, hop, before, script));
        held = found.map(|paper| (paper.transfer.record.clone(), paper.under(before)));
        chosen.extend(found.map(|paper| paper.transfer.clone()));
    }
    let mut refused = papers.refused().to_vec();
    for paper in papers.papers().iter().filter(|paper| !chosen.contains(&paper.transfer)) {
        refused.push((paper.name.clone(), false_one(paper, &hops, known)));
    }
    let dossier = match papers.with(chosen.clone()) {
        Ok(dossier) => dossier,
        Err(_) => one_by_one(papers, chosen, &mut refused)?,
    };
    Ok(Ok(Chosen { dossier, refused }))
}

/// The script of the output that the satoshi is the first of.
fn paid<'a>(known: Known<'a>, hop: &Hop) -> Option<&'a Script> {
    let Moved::To(place) = hop.moved else { return None };
    if !place.is_first() {
        return None;
    }
    let tx = known.facts.transactions.get(&hop.txid).map(|seen| &seen.tx)?;
    let output = tx.output.get(usize::try_from(place.outpoint.vout).ok()?)?;
    Some(&output.script_pubkey)
}

fn opener<'a>(
    papers: &'a Papers,
    hop: &Hop,
    before: Option<(&Record, Option<TermsId>)>,
    script: &Script,
) -> Option<&'a Paper> {
    let mut of_number = papers.papers().iter().filter(|paper| paper.transfer.number == hop.number);
    of_number.find(|paper| paper.script(before).is_ok_and(|ours| *ours == *script))
}

/// What the chain shows instead of a transfer.
fn false_one(paper: &Paper, hops: &[Hop], known: Known<'_>) -> Error {
    let number = paper.transfer.number;
    let place = format!("transfer {number}");
    let Some(hop) = hops.iter().find(|hop| hop.number == number) else {
        let expected = format!("{number} moves of the seal");
        let found = format!("{}: it is not in a block yet, or was replaced", hops.len());
        return WAITS.unavailable(place, expected, found);
    };
    let found = match paid(known, hop) {
        Some(script) => format!("transaction {} pays {script:x}", hop.txid),
        None => format!("transaction {}: {}", hop.txid, hop.standing),
    };
    match paper.script(None) {
        Ok(script) => {
            let expected = format!("the satoshi first in an output to {script:x}");
            OPENS.refuses(Culprit::Sender, place, expected, found)
        }
        Err(error) => error,
    }
}

/// Transfers that the seal has really followed, and that do not go together: a record that comes twice,
/// say. Those that come first stay.
fn one_by_one(
    papers: &Papers,
    chosen: Vec<Transfer>,
    refused: &mut Vec<(String, Error)>,
) -> Result<Dossier> {
    let (mut good, mut dossier) = (Vec::new(), papers.bare().clone());
    for transfer in chosen {
        let number = transfer.number;
        good.push(transfer);
        match papers.with(good.clone()) {
            Ok(with) => dossier = with,
            Err(error) => {
                good.pop();
                refused.push((format!("transfer {number}"), error));
            }
        }
    }
    Ok(dossier)
}
