//! Who holds a position: its documents, held against the chain.
//!
//! ```text
//!   issue ---- seal 0 ----- seal 1 ------ ? ------- seal 3 ------ retirement script
//!   k signatures    1st move     2nd move    3rd move     4th move: the end
//!                   opened       not opened  opened: its record names the holder
//! ```
//! The satoshi is followed from the issue on through every transaction that moves it, whoever made it.
//! A move is **opened** if the satoshi is the first of an output that a transfer in the dossier
//! rebuilds. The last opened output names the holder; opening an earlier move later changes nothing.
//! Only moves in blocks count; those that wait are shown.
//!
//! | the last output | is called | who holds it |
//! |---|---|---|
//! | is opened | held | he whom it names |
//! | is not opened | unopened | the last one named; a buyer keeps away |
//! | has the satoshi inside | inside an output | the last one named; moving it out may open again |
//! | is a fee or an OP_RETURN | lost | the last one named, for ever |
//! | is the retirement script's | retired | nobody any more |
//!
//! Nothing here asks a server: where the next step needs a script's history or a transaction, the
//! answer says which ([`Traced::Needs`]).

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{Amount, OutPoint, Script, ScriptBuf, Transaction, TxOut, Txid};

use crate::error::{Culprit, Result, Rule};
use crate::facts::{Facts, Seen};
use crate::flow::position::coins::retirement;
use crate::flow::position::dossier::{Dossier, MOST_MOVES, Opening};
use crate::party::Record;
use crate::tx::satoshi::{Moved, Place, follow};

mod chosen;
mod contracts;
mod issued;

pub use chosen::{Chosen, choose};
pub use contracts::{LOCKS, Sold, Void};
pub use issued::{CONFIRMED, FEDERATION, ISSUED, Issued, SIGNED};

/// A transfer is true.
pub const OPENS: Rule = Rule::new(
    "title-opens",
    "each transfer in a dossier opens the move of its number: the satoshi is the first of the output that position, number, record and sale make",
    "ask the sender for the true transfer; take the false one for an attempt to deceive",
);
/// No move is hidden.
pub const UNOPENED: Rule = Rule::new(
    "title-unopened",
    "every move of the seal is opened by a transfer in the dossier",
    "do not buy: ask the holder for the transfer that is missing",
);
/// The satoshi is where it can be held.
pub const LOST: Rule = Rule::new(
    "title-lost",
    "the position's satoshi is the first of an output that can be spent",
    "do not buy: it lies inside an output, or went into a fee or an OP_RETURN",
);
/// The position is not over.
pub const RETIRED: Rule = Rule::new(
    "title-retired",
    "the seal has not been sent to the retirement script",
    "do not buy: the position is over",
);
/// A seal's way has an end.
pub const MOVES: Rule = Rule::new(
    "title-moves",
    "a seal is followed through at most 1,000 transactions",
    "do not buy: nobody moves a seal so often without an intention",
);

/// What is known of the chain, and of how much.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Every transaction of the scripts that were asked for.
    pub facts: &'a Facts,
    /// The scripts that were asked for.
    pub scripts: &'a BTreeSet<ScriptBuf>,
    /// Further transactions, each under the hash that proves it.
    pub others: &'a BTreeMap<Txid, Transaction>,
}

impl Known<'_> {
    fn transaction(&self, txid: Txid) -> Option<&Transaction> {
        let seen = self.facts.transactions.get(&txid).map(|seen| &seen.tx);
        seen.or_else(|| self.others.get(&txid))
    }

    fn output(&self, outpoint: OutPoint) -> Result<&TxOut, Need> {
        let tx = self.transaction(outpoint.txid);
        // A transaction at hand that lacks the output cannot be spent from there: asking for it once
        // more is an answer that ends in a refusal, not a loop (the adapter asks for nothing twice).
        tx.and_then(|tx| tx.output.get(usize::try_from(outpoint.vout).ok()?))
            .ok_or(Need::Transaction(outpoint.txid))
    }

    /// The transaction that spends an output: one in a block before one that waits.
    fn spender(&self, outpoint: OutPoint) -> Option<(Txid, &Seen, usize)> {
        let spends = |(txid, seen): (&Txid, &'_ Seen)| {
            seen.tx
                .input
                .iter()
                .position(|input| input.previous_output == outpoint)
                .map(|i| (*txid, i))
        };
        let all = self.facts.transactions.iter().filter_map(|(txid, seen)| {
            spends((txid, seen)).map(|(txid, input)| (txid, seen, input))
        });
        all.min_by_key(|(txid, seen, _)| (seen.height.unwrap_or(u32::MAX), *txid))
    }
}

/// What has to be asked for before the seal can be followed further.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// All transactions of a script.
    History(ScriptBuf),
    /// One transaction: an input before the seal spends an output of it.
    Transaction(Txid),
}

/// How far the seal could be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Traced {
    /// To where it is.
    Known(Box<Title>),
    /// To where something is missing.
    Needs(Vec<Need>),
}

/// One transaction that moved the satoshi.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Its number, from 1.
    pub number: u32,
    /// The transaction.
    pub txid: Txid,
    /// Height of its block; `None` while it waits in the mempool, and is not believed.
    pub height: Option<u32>,
    /// Where it moved the satoshi.
    pub moved: Moved,
    /// What that is to the position.
    pub standing: Standing,
}

/// What the place of the satoshi is to the position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// A seal whose holder the dossier names.
    Held,
    /// An output whose holder, if it is a seal, the dossier does not name.
    Unopened,
    /// The retirement script: the position is over.
    Retired,
    /// Not the first of its output.
    InsideAnOutput,
    /// A fee, which a block's finder took.
    Fee,
    /// An output that nobody can spend.
    OpReturn,
}

impl core::fmt::Display for Standing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Held => "held",
            Self::Unopened => "not opened by any transfer in the dossier",
            Self::Retired => "retired",
            Self::InsideAnOutput => "inside an output, where it is no seal",
            Self::Fee => "lost in a fee",
            Self::OpReturn => "lost in an OP_RETURN",
        })
    }
}

/// Who holds a position, and how he came to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title {
    /// The issue, proven.
    pub issued: Issued,
    /// Every transaction that moved the satoshi since, the last may wait in the mempool.
    pub hops: Vec<Hop>,
    /// Number of the transfer that names the holder; 0 while it is the first one.
    pub transfer: u32,
    /// The holder's record.
    pub holder: Record,
    /// Where the satoshi is, as of the last move in a block.
    pub standing: Standing,
    /// The contracts that came with transfers and bind, in order; the last is in force.
    pub sold: Vec<Sold>,
    /// Sales that bind nobody, and why.
    pub void: Vec<Void>,
}

impl Title {
    /// The moves that are in blocks.
    pub fn believed(&self) -> impl Iterator<Item = &Hop> {
        self.hops.iter().take_while(|hop| hop.height.is_some())
    }

    /// The moves that wait.
    pub fn waiting(&self) -> impl Iterator<Item = &Hop> {
        self.hops.iter().skip_while(|hop| hop.height.is_some())
    }

    /// The output that the seal is in; `None` where it is none any more.
    pub fn seal(&self) -> Option<OutPoint> {
        match self.believed().last() {
            None => Some(self.issued.seal),
            Some(Hop { standing: Standing::Held, moved: Moved::To(place), .. }) => {
                Some(place.outpoint)
            }
            Some(_) => None,
        }
    }

    /// Refuses a position that nobody should buy: a hidden move, a satoshi that is no seal any more,
    /// a position that is over.
    pub fn check(&self) -> Result<()> {
        // The end first: what is over or lost no missing transfer brings back.
        let place = |hop: &Hop| format!("move {} of the seal, {}", hop.number, hop.txid);
        if let Some(last) = self.believed().last() {
            let rule = match last.standing {
                Standing::Held | Standing::Unopened => None,
                Standing::Retired => Some((RETIRED, "another script")),
                _ => Some((LOST, "the first satoshi of an output")),
            };
            if let Some((rule, expected)) = rule {
                return Err(rule.refuses(Culprit::Holder, place(last), expected, last.standing));
            }
        }
        let hidden = self.believed().find(|hop| hop.standing != Standing::Held);
        hidden.map_or(Ok(()), |hop| {
            let expected = format_args!("a transfer of number {}", hop.number).to_string();
            Err(UNOPENED.refuses(Culprit::Holder, place(hop), expected, "none that opens it"))
        })
    }
}

/// Follows the position from its issue on.
///
/// Refused: an issue that is not the terms', not signed by the issuer or in no block; a transfer that
/// opens nothing. What a buyer refuses beyond that says [`Title::check`].
pub fn trace(dossier: &Dossier, known: Known<'_>) -> Result<Traced> {
    let issued = match issued::prove(dossier, known)? {
        Ok(issued) => issued,
        Err(need) => return Ok(Traced::Needs(vec![need])),
    };
    let hops = match hops(dossier, known, issued.seal)? {
        Ok(hops) => hops,
        Err(needs) => return Ok(Traced::Needs(needs)),
    };
    refuse_what_opens_nothing(dossier, known, &hops)?;
    let believed: Vec<&Hop> = hops.iter().take_while(|hop| hop.height.is_some()).collect();
    let standing = believed.last().map_or(Standing::Held, |hop| hop.standing);
    let openings: Vec<(&Hop, &Opening)> = believed
        .iter()
        .filter(|hop| hop.standing == Standing::Held)
        .filter_map(|hop| Some((*hop, dossier.opening(hop.number)?)))
        .collect();
    let (transfer, holder) = match openings.last() {
        Some((hop, opening)) => (hop.number, opening.transfer.record.clone()),
        None => (0, dossier.terms().reward.holder.clone()),
    };
    let (sold, void) = match contracts::binding(known, &openings)? {
        Ok(binding) => binding,
        Err(needs) => return Ok(Traced::Needs(needs)),
    };
    let (sold, void) = contracts::in_order(dossier, sold, void)?;
    let title = Title { issued, hops, transfer, holder, standing, sold, void };
    Ok(Traced::Known(Box::new(title)))
}

/// The moves from `seal` on, or what is missing to find the next.
fn hops(
    dossier: &Dossier,
    known: Known<'_>,
    seal: OutPoint,
) -> Result<Result<Vec<Hop>, Vec<Need>>> {
    let end = retirement(dossier.terms())?.script_pubkey;
    let mut place = Place::first_of(seal);
    let mut hops: Vec<Hop> = Vec::new();
    loop {
        let held = match known.output(place.outpoint) {
            Ok(output) => output,
            Err(need) => return Ok(Err(vec![need])),
        };
        if held.script_pubkey == end || held.script_pubkey.is_op_return() {
            return Ok(Ok(hops));
        }
        if !known.scripts.contains(&held.script_pubkey) {
            return Ok(Err(vec![Need::History(held.script_pubkey.clone())]));
        }
        let Some((txid, seen, input)) = known.spender(place.outpoint) else {
            return Ok(Ok(hops));
        };
        let values = match values(known, &seen.tx, input) {
            Ok(values) => values,
            Err(needs) => return Ok(Err(needs)),
        };
        let moved = follow(&seen.tx, &values, input, place.offset)?;
        let number = u32::try_from(hops.len()).unwrap_or(u32::MAX).saturating_add(1);
        if hops.len() >= MOST_MOVES {
            return Err(MOVES.refuses(Culprit::Holder, "seal", MOST_MOVES, "more"));
        }
        let standing = standing(dossier, &end, &seen.tx, moved, number);
        hops.push(Hop { number, txid, height: seen.height, moved, standing });
        match moved {
            Moved::To(next) => place = next,
            Moved::Fee { .. } => return Ok(Ok(hops)),
        }
    }
}

/// What the inputs up to `input` spend (satoshis), or the transactions that tell.
fn values(known: Known<'_>, tx: &Transaction, input: usize) -> Result<Vec<Amount>, Vec<Need>> {
    let (mut values, mut needs) = (Vec::new(), BTreeSet::new());
    for spent in tx.input.iter().take(input.saturating_add(1)) {
        match known.output(spent.previous_output) {
            Ok(output) => values.push(output.value),
            Err(need) => {
                needs.insert(need);
            }
        }
    }
    if needs.is_empty() { Ok(values) } else { Err(needs.into_iter().collect()) }
}

fn standing(
    dossier: &Dossier,
    end: &Script,
    tx: &Transaction,
    moved: Moved,
    number: u32,
) -> Standing {
    let Moved::To(place) = moved else { return Standing::Fee };
    let output = usize::try_from(place.outpoint.vout).ok().and_then(|vout| tx.output.get(vout));
    let script = output.map(|output| &output.script_pubkey);
    let opens = |opening: &Opening| Some(&opening.script) == script;
    match script {
        Some(script) if *script == *end => Standing::Retired,
        Some(script) if script.is_op_return() => Standing::OpReturn,
        _ if !place.is_first() => Standing::InsideAnOutput,
        _ if dossier.opening(number).is_some_and(opens) => Standing::Held,
        _ => Standing::Unopened,
    }
}

fn refuse_what_opens_nothing(dossier: &Dossier, known: Known<'_>, hops: &[Hop]) -> Result<()> {
    for opening in dossier.openings() {
        let number = opening.transfer.number;
        let hop = hops.iter().find(|hop| hop.number == number);
        let found = match hop {
            Some(Hop { standing: Standing::Held, .. }) => continue,
            None => format!("{} moves of the seal", hops.len()),
            Some(Hop { standing: Standing::Unopened, moved: Moved::To(place), txid, .. }) => {
                let paid = known.output(place.outpoint).map(|output| &output.script_pubkey);
                let paid = paid.map(|script| format!("{script:x}")).unwrap_or_default();
                format!("transaction {txid} pays {paid}")
            }
            Some(hop) => format!("transaction {}: {}", hop.txid, hop.standing),
        };
        let expected = format!("the satoshi first in an output to {:x}", opening.script);
        return Err(OPENS.refuses(Culprit::Sender, format!("transfer {number}"), expected, found));
    }
    Ok(())
}
