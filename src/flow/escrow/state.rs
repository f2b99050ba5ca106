//! Words about installments, and what each seat does next.

use bitcoin::OutPoint;
use bitcoin::secp256k1::schnorr;
use serde::{Deserialize, Serialize};

use crate::error::{Culprit, Result, Rule};
use crate::facts::Facts;
use crate::flow::escrow::coins::{EscrowCoin, Progress, progress};
use crate::flow::escrow::outcome::outcome;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::escrow::txs::{DUE, Outcome, settlement};
use crate::flow::{Effect, Event as FlowEvent, Task, check_speaker};
use crate::party::Seat;
use crate::script::lock::Path;
use crate::tx::draft::Draft;
use crate::tx::signed::Signed;
use crate::work::verdict::Evidence;

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
    /// The last state that the holder has signed on `outpoint`.
    pub fn last_state(&self, outpoint: OutPoint) -> Option<(Ask, &[schnorr::Signature])> {
        self.signed
            .iter()
            .filter(|(seat, ask, _)| *seat == Seat::Holder && ask.outpoint == outpoint)
            .max_by_key(|(_, ask, _)| ask.outcome.earned)
            .map(|(_, ask, signatures)| (*ask, signatures.as_slice()))
    }

    /// Takes a word that was admitted.
    pub fn apply(&mut self, from: Seat, event: &Event) {
        match event {
            Event::Asked(ask) if !self.asked.contains(ask) => self.asked.push(*ask),
            Event::Signed { ask, signatures } if !self.has_signed(from, ask) => {
                self.signed.push((from, *ask, signatures.clone()));
            }
            Event::Joined { ask, signature } => self.joined.push((*ask, *signature)),
            Event::Asked(_) | Event::Signed { .. } => {}
        }
    }

    /// Refuses a word that the terms, the chain or its speaker's seat do not allow.
    pub fn admit(
        &self,
        terms: &EscrowTerms,
        facts: &Facts,
        from: Seat,
        event: &Event,
    ) -> Result<()> {
        let history = facts.is_history(event.ask().outpoint);
        match event {
            Event::Asked(_) if history => {
                check_speaker(from, from == Seat::Miner, "settlement request", "the miner")
            }
            Event::Signed { .. } | Event::Joined { .. } if history => Ok(()),
            Event::Asked(ask) => {
                check_speaker(from, from == Seat::Miner, "settlement request", "the miner")?;
                draft(terms, facts, ask, Path::Agreed, from.into()).map(|_| ())
            }
            Event::Signed { ask, signatures } => {
                let party = matches!(from, Seat::Miner | Seat::Holder);
                check_speaker(from, party, "state", "miner or holder")?;
                let draft = draft(terms, facts, ask, Path::Agreed, from.into())?;
                Signed::new(draft).add(from, signatures)
            }
            Event::Joined { ask, signature } => {
                check_speaker(from, from == Seat::Miner, "joint signature", "the miner")?;
                let draft = draft(terms, facts, ask, Path::Key, from.into())?;
                Signed::new(draft).add_key_path(0, *signature)
            }
        }
    }

    /// What `seat` does now.
    pub fn next(
        &self,
        terms: &EscrowTerms,
        facts: &Facts,
        evidence: &Evidence,
        seat: Seat,
    ) -> Result<Vec<Effect>> {
        let Progress::Open(coin) = progress(terms, facts)? else { return Ok(Vec::new()) };
        match seat {
            Seat::Miner => self.miner(terms, facts, evidence, &coin),
            Seat::Holder => self.holder(terms, facts, evidence, &coin),
            Seat::Validator(_) => Ok(Vec::new()),
        }
    }

    /// The miner asks for each ripe period, and broadcasts what is complete.
    fn miner(
        &self,
        terms: &EscrowTerms,
        facts: &Facts,
        evidence: &Evidence,
        coin: &EscrowCoin,
    ) -> Result<Vec<Effect>> {
        for (ask, signature) in &self.joined {
            if ask.outpoint == coin.outpoint {
                let mut signed = Signed::new(draft(terms, facts, ask, Path::Key, Culprit::Miner)?);
                signed.add_key_path(0, *signature)?;
                return Ok(vec![Effect::broadcast(signed.finish()?)]);
            }
        }
        if let Some((_, ask, his)) = self
            .signed
            .iter()
            .find(|(seat, ask, _)| *seat == Seat::Miner && ask.outpoint == coin.outpoint)
        {
            let mut signed = Signed::new(draft(terms, facts, ask, Path::Agreed, Culprit::Miner)?);
            if let Some((_, _, theirs)) =
                self.signed.iter().find(|(seat, other, _)| *seat == Seat::Holder && other == ask)
            {
                signed.add(Seat::Holder, theirs)?;
                signed.add(Seat::Miner, his)?;
                return Ok(vec![Effect::broadcast(signed.finish()?)]);
            }
        }
        let Some(period) = last_ripe(terms, facts) else {
            return Ok(vec![wait(terms, 0, "the first period can be settled")?]);
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
            Err(error) => Err(error),
        }
    }

    /// The holder signs each request that the evidence bears out.
    fn holder(
        &self,
        terms: &EscrowTerms,
        facts: &Facts,
        evidence: &Evidence,
        coin: &EscrowCoin,
    ) -> Result<Vec<Effect>> {
        let mut effects = Vec::new();
        for ask in self.asked.iter().filter(|ask| ask.outpoint == coin.outpoint) {
            if self.has_signed(Seat::Holder, ask) || !deep_enough(terms, facts, coin) {
                continue;
            }
            if outcome(terms, facts, evidence, ask.outcome.period)? == ask.outcome {
                let draft = draft(terms, facts, ask, Path::Agreed, Culprit::Miner)?;
                effects.push(Effect::Sign { draft, task: Task::State(*ask) });
            }
        }
        Ok(effects)
    }

    fn has_signed(&self, seat: Seat, ask: &Ask) -> bool {
        self.signed.iter().any(|(signer, known, _)| *signer == seat && known == ask)
    }
}

/// The settlement of a request, rebuilt from the terms and our own view of the chain.
pub fn draft(
    terms: &EscrowTerms,
    facts: &Facts,
    ask: &Ask,
    path: Path,
    by: Culprit,
) -> Result<Draft> {
    let place = "settlement request";
    let coin = match progress(terms, facts)? {
        Progress::Open(coin) if coin.outpoint == ask.outpoint => coin,
        Progress::Open(coin) => {
            return Err(PRESENT.refuses(by, place, coin.outpoint, ask.outpoint));
        }
        Progress::Unfunded => return Err(PRESENT.refuses(by, place, "a funded escrow", "none")),
        Progress::Ended { by: txid, .. } => {
            return Err(PRESENT.refuses(
                by,
                place,
                "an open escrow",
                format_args!("ended by {txid}"),
            ));
        }
    };
    terms.check_rate(ask.sat_per_vb, by)?;
    let ripe = terms.ruling_height(ask.outcome.period)?;
    if facts.tip() < ripe {
        return Err(RIPE.unavailable(place, format_args!("height {ripe} or later"), facts.tip()));
    }
    settlement(terms, &coin, ask.outcome, path, ask.sat_per_vb, None)
}

/// The last period (0-based) that may be settled in the next block.
pub fn last_ripe(terms: &EscrowTerms, facts: &Facts) -> Option<u32> {
    (0..terms.delivery.periods)
        .rev()
        .find(|period| terms.ruling_height(*period).is_ok_and(|height| height <= facts.tip()))
}

fn deep_enough(terms: &EscrowTerms, facts: &Facts, coin: &EscrowCoin) -> bool {
    coin.depth(facts.tip()) >= terms.delays.state_depth
}

fn wait(terms: &EscrowTerms, period: u32, why: &str) -> Result<Effect> {
    let last = terms.delivery.periods.saturating_sub(1);
    let until = terms.ruling_height(period.min(last))?;
    Ok(Effect::Wait { until, why: why.to_owned() })
}
