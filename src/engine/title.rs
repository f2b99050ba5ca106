//! Who holds a position, asked of a server: the seal is followed step by step, and each step says what
//! has to be read next.
//!
//! With a true dossier it is one reading of the histories of its seals, however often the position was
//! sold. Where the seal went astray, one question follows another, and there is a bound to that.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{ScriptBuf, Transaction, Txid};

use crate::chain::electrum::{Electrum, TRANSACTION};
use crate::error::{Error, Result, Rule};
use crate::facts::Facts;
use crate::flow::position::dossier::Dossier;
use crate::flow::position::papers::Papers;
use crate::flow::position::title::{self, Chosen, Known, Need, Title, Traced};
use crate::header_sync::GuardedChain;
use crate::store::Store;

/// A seal does not hide among others' coins.
pub const BUSY: Rule = Rule::new(
    "title-busy",
    "a seal that left the dossier's outputs lies at a script with at most 500 transactions",
    "do not buy: it went where many coins lie, to an exchange perhaps; ask the holder why",
);

/// Most transactions of a foreign script that are read.
const MOST: usize = 500;

/// A server, with the headers that judge it if there is a store for them.
#[derive(Debug)]
pub enum Reader<'a> {
    /// Headers are judged, and kept.
    Guarded(&'a mut GuardedChain, &'a mut Store),
    /// The server is believed which chain has the most work.
    Bare(&'a Electrum),
}

impl Reader<'_> {
    fn facts(&mut self, scripts: &[ScriptBuf]) -> Result<Facts> {
        // Of headers no more is needed than prove the places of the transactions.
        match self {
            Self::Guarded(chain, store) => chain.facts(store, scripts, u32::MAX),
            Self::Bare(electrum) => electrum.facts(scripts, u32::MAX),
        }
    }

    fn electrum(&self) -> &Electrum {
        match self {
            Self::Guarded(chain, _) => chain.electrum(),
            Self::Bare(electrum) => electrum,
        }
    }
}

/// A dossier that was judged by the chain.
#[derive(Clone, Debug)]
pub struct Judged {
    /// What is true of it.
    pub dossier: Dossier,
    /// Who holds the position.
    pub title: Title,
    /// Height of the tip.
    pub tip: u32,
    /// Files that are none of its true transfers, by name, and why.
    pub refused: Vec<(String, Error)>,
}

/// Judges what somebody sent of a dossier: a false transfer is told, and the true ones are followed.
pub fn judge(reader: &mut Reader<'_>, papers: &Papers) -> Result<Judged> {
    let scripts = papers.scripts()?.into_iter().collect();
    let asked = |known: Known<'_>| {
        let Chosen { dossier, refused } = match title::choose(papers, known)? {
            Ok(chosen) => chosen,
            Err(needs) => return Ok(Err(needs)),
        };
        Ok(match title::trace(&dossier, known)? {
            Traced::Known(title) => Ok((dossier, *title, refused)),
            Traced::Needs(needs) => Err(needs),
        })
    };
    let ((dossier, title, refused), tip) = follow(reader, scripts, asked)?;
    Ok(Judged { dossier, title, tip, refused })
}

/// Follows the seal of a dossier that is held to be true from its issue on; answers the title, and the
/// height of the tip.
pub fn trace(reader: &mut Reader<'_>, dossier: &Dossier) -> Result<(Title, u32)> {
    let scripts = dossier.scripts()?.into_iter().collect();
    follow(reader, scripts, |known| {
        Ok(match title::trace(dossier, known)? {
            Traced::Known(title) => Ok(*title),
            Traced::Needs(needs) => Err(needs),
        })
    })
}

/// Reads what the answer needs, until there is one.
fn follow<T>(
    reader: &mut Reader<'_>,
    mut scripts: BTreeSet<ScriptBuf>,
    mut answer: impl FnMut(Known<'_>) -> Result<Result<T, Vec<Need>>>,
) -> Result<(T, u32)> {
    let mut others: BTreeMap<Txid, Transaction> = BTreeMap::new();
    loop {
        let asked: Vec<ScriptBuf> = scripts.iter().cloned().collect();
        let facts = reader.facts(&asked)?;
        let mut needs = loop {
            let known = Known { facts: &facts, scripts: &scripts, others: &others };
            match answer(known)? {
                Ok(found) => return Ok((found, facts.tip())),
                Err(needs) => {
                    let before = others.len();
                    for need in &needs {
                        if let Need::Transaction(txid) = need {
                            others.insert(*txid, reader.electrum().transaction(*txid)?);
                        }
                    }
                    // What is proven by its hash alone needs no new reading.
                    if others.len() == before {
                        break needs;
                    }
                }
            }
        };
        let alone = needs.len() == 1;
        let before = scripts.len();
        for need in needs.drain(..) {
            if let Need::History(script) = need {
                // Locks of a contract are nobody else's; where the seal strayed many may be paid.
                if alone {
                    refuse_busy(reader.electrum(), &script)?;
                }
                scripts.insert(script);
            }
        }
        if scripts.len() == before {
            return Err(TRANSACTION.unavailable("seal", "what moved it", "nothing more"));
        }
    }
}

fn refuse_busy(electrum: &Electrum, script: &ScriptBuf) -> Result<()> {
    let count = electrum.history(script)?.len();
    if count <= MOST {
        return Ok(());
    }
    let place = format!("script {script:x}");
    Err(BUSY.unavailable(place, format_args!("at most {MOST} transactions"), count))
}
