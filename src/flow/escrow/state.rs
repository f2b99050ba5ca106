//! Words about installments, and what each seat does next.

use bitcoin::secp256k1::schnorr;
use bitcoin::{Amount, OutPoint};
use serde::{Deserialize, Serialize};

use crate::error::{Culprit, Result, Rule};
use crate::facts::Facts;
use crate::flow::escrow::coins::{EscrowCoin, Locked, Progress};
use crate::flow::escrow::outcome::outcome;
use crate::flow::escrow::txs::{DUE, OUTCOME, Outcome, settlement};
use crate::flow::{Effect, Event as FlowEvent, Task, check_speaker};
use crate::party::Seat;
use crate::script::lock::{LEAF, Path};
use crate::tx::draft::Draft;
use crate::tx::signed::{Final, Signed};
use crate::work::evidence::Evidence;

/// States are signed on the present escrow output.
pub const PRESENT: Rule = Rule::new(
    "escrow-present",
    "a settlement spends the escrow's present output",
    "synchronise with the chain and ask again",
);
/// A period is settled once its last block is deep enough.
pub const RIPE: Rule = Rule::new(
    "escrow-ripe",
    "a period is settled from the height at which it may be ruled on",
    "wait for that height",
);
/// A request to settle: which output, what outcome, at what rate. Together with the terms it
/// determines the transaction to the byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// The escrow's present output.
    pub outpoint: OutPoint,
    /// What the evidence says.
    pub outcome: Outcome,
    /// Fee rate, sat/vB; the miner pays it.
    pub sat_per_vb: u64,
}

impl Ask {
    /// Of two requests on one output the later one, whatever the order in which they came.
    fn rank(&self) -> (Amount, u32, u64) {
        (self.outcome.earned, self.outcome.period, self.sat_per_vb)
    }
}

/// Words of the escrow flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// The miner asks for a state.
    Asked(Ask),
    /// Signatures through the agreed leaf: the holder's makes a state, the miner's publishes it.
    Signed {
        /// What is signed.
        ask: Ask,
        /// One signature: a settlement has one input.
        signatures: Vec<schnorr::Signature>,
    },
    /// Both together have signed the key path.
    Joined {
        /// What is signed.
        ask: Ask,
        /// The MuSig2 signature.
        signature: schnorr::Signature,
    },
}

impl Event {
    /// What it is about.
    fn ask(&self) -> &Ask {
        match self {
            Self::Asked(ask) | Self::Signed { ask, .. } | Self::Joined { ask, .. } => ask,
        }
    }
}

/// What has been said.
#[derive(Clone, Debug, Default)]
pub struct State {
    asked: Vec<Ask>,
    signed: Vec<(Seat, Ask, Vec<schnorr::Signature>)>,
    joined: Vec<(Ask, schnorr::Signature)>,
}

impl State {
    /// The states that the holder has signed on `outpoint`, the last first. One that came while the
    /// output was spent was never checked: verify before use.
    pub fn states(&self, outpoint: OutPoint) -> Vec<(Ask, &[schnorr::Signature])> {
        let his = self
            .signed
            .iter()
            .filter(|(seat, ask, _)| *seat == Seat::Holder && ask.outpoint == outpoint);
        let mut states: Vec<_> = his.map(|(_, ask, signed)| (*ask, signed.as_slice())).collect();
        states.sort_by_key(|(ask, _)| core::cmp::Reverse(ask.rank()));
        states
    }

    /// The last of [`State::states`].
    pub fn last_state(&self, outpoint: OutPoint) -> Option<(Ask, &[schnorr::Signature])> {
        self.states(outpoint).into_iter().next()
    }

    /// Takes a word that was admitted.
    pub fn apply(&mut self, from: Seat, event: &Event) {
        match event {
            Event::Asked(ask) if !self.asked.contains(ask) => self.asked.push(*ask),
            Event::Signed { ask, signatures } if !self.has_signed(from, ask) => {
                self.signed.push((from, *ask, signatures.clone()));
            }
            Event::Joined { ask, signature } if !self.joined.iter().any(|(a, _)| a == ask) => {
                self.joined.push((*ask, *signature));
            }
            Event::Asked(_) | Event::Signed { .. } | Event::Joined { .. } => {}
        }
    }

    /// Refuses a word that the terms, the chain or its speaker's seat do not allow.
    pub fn admit(&self, terms: &Locked, facts: &Facts, from: Seat, event: &Event) -> Result<()> {
        let party = matches!(from, Seat::Miner | Seat::Holder);
        let miner = from == Seat::Miner;
        match event {
            Event::Asked(_) => check_speaker(from, miner, "settlement request", "the miner")?,
            Event::Signed { .. } => check_speaker(from, party, "state", "miner or holder")?,
            Event::Joined { .. } => check_speaker(from, miner, "joint signature", "the miner")?,
        }
        if facts.is_history(event.ask().outpoint) {
            return Ok(());
        }
        match event {
            Event::Asked(ask) => draft(terms, facts, ask, Path::Agreed, from.into()).map(|_| ()),
            Event::Signed { ask, signatures } => {
                let draft = draft(terms, facts, ask, Path::Agreed, from.into())?;
                Signed::new(draft).add(from, signatures)
            }
            Event::Joined { ask, signature } => {
                let draft = draft(terms, facts, ask, Path::Key, from.into())?;
                Signed::new(draft).add_key_path(0, *signature)
            }
        }
    }

    /// What `seat` does now.
    pub fn next(
        &self,
        terms: &Locked,
        facts: &Facts,
        evidence: &Evidence,
        seat: Seat,
    ) -> Result<Vec<Effect>> {
        let Progress::Open(coin) = terms.progress(facts)? else { return Ok(Vec::new()) };
        match seat {
            Seat::Miner => self.miner(terms, facts, evidence, &coin),
            Seat::Holder => self.holder(terms, facts, evidence, &coin),
            Seat::Validator(_) => Ok(Vec::new()),
        }
    }

    /// The miner asks for each ripe period, and broadcasts what is complete.
    fn miner(
        &self,
        terms: &Locked,
        facts: &Facts,
        evidence: &Evidence,
        coin: &EscrowCoin,
    ) -> Result<Vec<Effect>> {
        if let Some(last) = self.complete(terms, facts, coin)? {
            return Ok(vec![Effect::broadcast(last)]);
        }
        let Some(period) = last_ripe(terms, facts) else {
            let first = terms.first_period();
            return Ok(vec![wait(terms, first, "the first period can be settled")?]);
        };
        let outcome = outcome(terms, facts, evidence, period)?;
        let ask = Ask { outpoint: coin.outpoint, outcome, sat_per_vb: terms.fees.floor };
        let known = self
            .asked
            .iter()
            .any(|known| known.outpoint == coin.outpoint && known.outcome == outcome);
        match settlement(terms, coin, outcome, Path::Agreed, ask.sat_per_vb, None) {
            Ok(_) if !known && coin.depth(facts.tip()) >= terms.delays.state_depth => {
                Ok(vec![Effect::Say(FlowEvent::Escrow(Event::Asked(ask)))])
            }
            Ok(_) => {
                Ok(vec![wait(terms, period.saturating_add(1), "the next period can be settled")?])
            }
            // Nothing is due yet, which is no fault of anybody.
            Err(error) if error.rule() == DUE.id => Ok(Vec::new()),
            // The holder gave more than the evidence bears out, or a reorg took some of it away.
            Err(error) if error.rule() == OUTCOME.id => Ok(vec![Effect::Decline(error)]),
            Err(error) => Err(error),
        }
    }

    /// The last settlement of the present output that needs no further signature.
    fn complete(&self, terms: &Locked, facts: &Facts, coin: &EscrowCoin) -> Result<Option<Final>> {
        let here = |ask: &Ask| ask.outpoint == coin.outpoint;
        let mut joined: Vec<_> = self.joined.iter().filter(|(ask, _)| here(ask)).collect();
        joined.sort_by_key(|(ask, _)| ask.rank());
        let published = |(seat, ask, _): &&(Seat, Ask, _)| *seat == Seat::Miner && here(ask);
        let mut published: Vec<_> = self.signed.iter().filter(published).collect();
        published.sort_by_key(|(_, ask, _)| ask.rank());
        // A word that came as history and was made present by a reorg was never checked: one that
        // does not fit is passed over.
        for (ask, signature) in joined.into_iter().rev() {
            let Ok(draft) = draft(terms, facts, ask, Path::Key, Culprit::Miner) else { continue };
            let mut signed = Signed::new(draft);
            if signed.add_key_path(0, *signature).is_ok() {
                return signed.finish().map(Some);
            }
        }
        for (_, ask, his) in published.into_iter().rev() {
            let Some(theirs) = self.signatures(Seat::Holder, ask) else { continue };
            let Ok(draft) = draft(terms, facts, ask, Path::Agreed, Culprit::Miner) else {
                continue;
            };
            let mut signed = Signed::new(draft);
            if signed.add(Seat::Holder, theirs).is_ok() && signed.add(Seat::Miner, his).is_ok() {
                return signed.finish().map(Some);
            }
        }
        Ok(None)
    }

    /// The holder signs each request that the evidence bears out.
    fn holder(
        &self,
        terms: &Locked,
        facts: &Facts,
        evidence: &Evidence,
        coin: &EscrowCoin,
    ) -> Result<Vec<Effect>> {
        let mut effects = Vec::new();
        for ask in self.asked.iter().filter(|ask| ask.outpoint == coin.outpoint) {
            if self.has_signed(Seat::Holder, ask) || !deep_enough(terms, facts, coin) {
                continue;
            }
            // A request that came as history, or that our evidence does not bear out, is passed over.
            let ours = outcome(terms, facts, evidence, ask.outcome.period);
            if ours.is_ok_and(|ours| ours == ask.outcome)
                && let Ok(draft) = draft(terms, facts, ask, Path::Agreed, Culprit::Miner)
            {
                effects.push(Effect::Sign { draft: draft.into(), task: Task::State(*ask) });
            }
        }
        Ok(effects)
    }

    fn has_signed(&self, seat: Seat, ask: &Ask) -> bool {
        self.signatures(seat, ask).is_some()
    }

    fn signatures(&self, seat: Seat, ask: &Ask) -> Option<&[schnorr::Signature]> {
        let his = self.signed.iter().find(|(signer, known, _)| *signer == seat && known == ask);
        his.map(|(_, _, signatures)| signatures.as_slice())
    }
}

/// The settlement of a request, rebuilt from the terms and our own view of the chain.
pub fn draft(terms: &Locked, facts: &Facts, ask: &Ask, path: Path, by: Culprit) -> Result<Draft> {
    let place = "settlement request";
    let coin = match terms.progress(facts)? {
        Progress::Open(coin) if coin.outpoint == ask.outpoint => coin,
        // An output that we have not seen may be one that our server has not seen yet.
        Progress::Unfunded => {
            return Err(PRESENT.unavailable(place, "a funded escrow", ask.outpoint));
        }
        Progress::Open(coin) if !facts.transactions.contains_key(&ask.outpoint.txid) => {
            return Err(PRESENT.unavailable(place, coin.outpoint, ask.outpoint));
        }
        Progress::Open(coin) => {
            return Err(PRESENT.refuses(by, place, coin.outpoint, ask.outpoint));
        }
        Progress::Ended { by: txid, .. } => {
            return Err(PRESENT.refuses(
                by,
                place,
                "an open escrow",
                format_args!("ended by {txid}"),
            ));
        }
    };
    if coin.lock.check_path(path).is_err() {
        return Err(LEAF.refuses(by, place, "a way into this lock", path));
    }
    terms.check_rate(ask.sat_per_vb, by)?;
    let ripe = terms.ruling_height(ask.outcome.period)?;
    if facts.tip() < ripe {
        return Err(RIPE.unavailable(place, format_args!("height {ripe} or later"), facts.tip()));
    }
    settlement(terms, &coin, ask.outcome, path, ask.sat_per_vb, None)
}

/// The last period (0-based) that may be settled in the next block.
pub fn last_ripe(terms: &Locked, facts: &Facts) -> Option<u32> {
    (terms.first_period()..terms.delivery.periods)
        .rev()
        .find(|period| terms.ruling_height(*period).is_ok_and(|height| height <= facts.tip()))
}

fn deep_enough(terms: &Locked, facts: &Facts, coin: &EscrowCoin) -> bool {
    coin.depth(facts.tip()) >= terms.delays.state_depth
}

fn wait(terms: &Locked, period: u32, why: &str) -> Result<Effect> {
    let last = terms.delivery.periods.saturating_sub(1);
    let until = terms.ruling_height(period.min(last))?;
    Ok(Effect::Wait { until, why: why.to_owned() })
}
