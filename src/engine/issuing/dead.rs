//! Looking for the reason why an issue that was paid for can be in no block any more.

use bitcoin::{OutPoint, ScriptBuf, Transaction};

use super::Issuing;
use crate::chain::electrum::Electrum;
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::flow::position::dead::{DEAD, Dead, Lost, MOST_LOST};
use crate::flow::position::state::Event;

/// Most transactions of the script of a spent output.
const MOST: usize = 500;

/// What a transaction spends, and the script of it if anybody knows.
type Input = (OutPoint, Option<ScriptBuf>);

/// The script whose history proves what a word says of a dead issue, if it is such a word and the script
/// is not among the `watched` ones. One that strangers use too is refused: a validator does not read an
/// exchange's history for a miner.
pub(super) fn script_asked(
    electrum: &Electrum,
    watched: &[ScriptBuf],
    event: &Event,
) -> Result<Option<ScriptBuf>> {
    let Event::FundedAgain { instead, .. } = event else { return Ok(None) };
    if watched.contains(&instead.script) {
        return Ok(None);
    }
    refuse_busy(electrum, &instead.script)?;
    Ok(Some(instead.script.clone()))
}

fn refuse_busy(electrum: &Electrum, script: &ScriptBuf) -> Result<()> {
    let count = electrum.history(script)?.len();
    if count <= MOST {
        return Ok(());
    }
    let place = format!("script {script:x}");
    Err(DEAD.unavailable(place, format_args!("at most {MOST} transactions"), count))
}

impl Issuing {
    /// What the chain shows, with the history of the script that an event about a dead issue rests on;
    /// `None` for other events, which `facts` tell enough of.
    pub(super) fn facts_about(&mut self, event: &Event) -> Result<Option<Facts>> {
        let (watched, _) = self.asked()?;
        let script = script_asked(self.chain.electrum(), &watched, event)?;
        script.map(|script| self.facts_with(script)).transpose()
    }

    fn facts_with(&mut self, script: ScriptBuf) -> Result<Facts> {
        let (mut scripts, first) = self.asked()?;
        if !scripts.contains(&script) {
            refuse_busy(self.chain.electrum(), &script)?;
            scripts.push(script);
        }
        self.chain.facts(&mut self.store, &scripts, first)
    }

    /// Why the issue that was paid for can be in no block any more, as far as the chain tells of its
    /// inputs, and of those of our own `payments`. Refused, by what is missing, if it still can.
    pub fn dead(&mut self, payments: &[Transaction]) -> Result<Dead> {
        let draft = self.state.draft(&self.terms)?;
        let issue = draft.txid();
        let inputs = draft.spends().iter();
        let inputs: Vec<_> = inputs
            .map(|spend| (spend.outpoint, Some(spend.prevout.script_pubkey.clone())))
            .collect();
        let mut left: Vec<(Vec<Lost>, Vec<Input>)> = vec![(Vec::new(), inputs)];
        let mut missing: Option<Error> = None;
        while let Some((lost, inputs)) = left.pop() {
            for (outpoint, script) in inputs {
                if let Some(script) = script {
                    let lost = lost.clone();
                    let dead = Dead { issue, lost, outpoint, script: script.clone() };
                    let found = self
                        .facts_with(script)
                        .and_then(|facts| dead.check(&draft, self.terms.profile, &facts));
                    match found {
                        Ok(()) => return Ok(dead),
                        // What waits for blocks says more than what was not spent at all.
                        Err(error @ Error::Unavailable(_)) => missing = Some(error),
                        Err(error @ Error::Refused { .. }) => missing = missing.or(Some(error)),
                        Err(error) => return Err(error),
                    }
                }
                let payment = payments.iter().find(|tx| tx.compute_txid() == outpoint.txid);
                if let Some(payment) = payment.filter(|_| lost.len() < MOST_LOST) {
                    let lost = lost.iter().cloned().chain([Lost(payment.clone())]).collect();
                    left.push((lost, self.scripts_of(payment)?));
                }
            }
        }
        Err(missing.unwrap_or_else(|| DEAD.unavailable("issue", "an input", "none")))
    }

    /// What a transaction spends, with the scripts as far as the server knows them.
    fn scripts_of(&self, tx: &Transaction) -> Result<Vec<Input>> {
        let mut found = Vec::with_capacity(tx.input.len());
        for input in &tx.input {
            let outpoint = input.previous_output;
            let made = match self.chain.electrum().transaction(outpoint.txid) {
                Ok(made) => Some(made),
                Err(Error::Refused { .. } | Error::Unavailable(_)) => None,
                Err(error) => return Err(error),
            };
            let place = usize::try_from(outpoint.vout).unwrap_or(usize::MAX);
            let output = made.and_then(|made| made.output.get(place).cloned());
            found.push((outpoint, output.map(|output| output.script_pubkey)));
        }
        Ok(found)
    }
}
