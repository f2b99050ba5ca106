//! A farm: several positions paid by one coinbase, each by its weight, so that every hash works for
//! all of them and one list of shares proves the work of each.
//!
//! ```text
//! reward = part 1 + part 2 + ... + rest          part i = floor(reward x weight i / all weights)
//! part i = lock i + service i                    service i = floor(part i x ppm i / 1,000,000)
//!                                            without its output where ppm i is 0
//! outputs: lock 1, service 1, lock 2, service 2, ... rest; behind them the witness commitment
//! ```
//! The satoshis that the floors leave over go to the rest's script, or to a named position. A single
//! position is a farm of one.
//!
//! **No hash is sold twice.** A share counts for position i if hash x reward <= target i x part i, so
//! one hash earns it part i / reward of a hash on average; the parts add up to the reward, so the
//! expected credits never exceed the work. That needs each output to count for one position only. An
//! output counts for the position whose lock it pays, or, directly behind such a lock, for that same
//! position as its service share; so it could count for two only if two positions had the same lock, or
//! if the service script of one were the lock of another. Here both are refused. Who verifies a
//! position sees its own terms alone and cannot tell; so validators refuse to register a contract
//! whose lock or service script meets those of another that they know
//! (`policy-registry-apart`), which is where a dishonest farm is caught.

use bitcoin::{Amount, Script, ScriptBuf, Target, TxOut};

use crate::amount::{self, per_million, portion};
use crate::error::{Culprit, Error, Result, Rule};
use crate::work::share::hash_target;

/// A farm has positions with weights.
pub const STAKES: Rule = Rule::new(
    "work-farm-stakes",
    "a farm pays at least one position, each with a weight above 0, and names who gets the rest",
    "list the positions with their weights",
);
/// Locks differ.
pub const LOCK: Rule = Rule::new(
    "work-farm-lock",
    "no two positions of a farm have the same reward lock",
    "list each position once",
);
/// No service script is a lock.
pub const APART: Rule = Rule::new(
    "work-farm-apart",
    "no service script and no rest goes to a reward lock of the farm",
    "take a service script of your own; an output counts for one position only",
);
/// Scripts can be spent.
pub const SPENDABLE: Rule = Rule::new(
    "work-farm-script",
    "everybody whom a farm pays has a spendable script",
    "correct the script",
);
/// Everybody gets something.
pub const PART: Rule = Rule::new(
    "work-farm-part",
    "each position's lock and service share get at least 1 sat",
    "raise the position's weight, or leave it out",
);
/// The firmware can hold the coinbase.
pub const LENGTH: Rule = Rule::new(
    "work-farm-length",
    "the coinbase is no longer than the machines' firmware can hold",
    "pay fewer positions with one coinbase, or raise the limit if your machines hold more",
);

/// Longest coinbase by default, in bytes: what small firmware holds.
pub const LONGEST_COINBASE: usize = 250;

/// Bytes of a coinbase beside its outputs and what is pushed into its script: version, number of
/// inputs, prevout, length of the script, sequence, lock time.
const FRAME: usize = 4 + 1 + 36 + 1 + 4 + 4;
/// Bytes that push a height from 32,768 to 8,388,607; lower ones take fewer.
const HEIGHT_PUSH: usize = 4;
/// Bytes of the output with the witness commitment.
const COMMITMENT: usize = 8 + 1 + 38;

/// A position's place in a farm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stake {
    /// The reward lock.
    pub lock: ScriptBuf,
    /// The miner's script in the position's terms.
    pub service: ScriptBuf,
    /// His service share, in parts per million of lock and service together; 0 where no service output
    /// is asked for, as before an issue: then its script is paid nothing.
    pub service_ppm: u32,
    /// Its part of the reward, in proportion to the other weights.
    pub weight: u64,
}

impl Stake {
    /// Whether an output to the service script stands behind the lock's.
    fn serves(&self) -> bool {
        self.service_ppm > 0
    }

    /// The scripts that outputs pay.
    fn scripts(&self) -> impl Iterator<Item = &ScriptBuf> + Clone {
        core::iter::once(&self.lock).chain(self.serves().then_some(&self.service))
    }
}

/// Who gets what the weights leave over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The position at this place in the list.
    Stake(usize),
    /// Somebody beside the positions: hash power that is not sold.
    Script {
        /// His script.
        script: ScriptBuf,
        /// His part of the reward, in proportion to the other weights; may be 0.
        weight: u64,
    },
}

/// What one position gets out of a reward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// To its lock (satoshis).
    pub lock: Amount,
    /// To the miner's script, directly behind (satoshis).
    pub service: Amount,
}

impl Part {
    /// A part of the reward, divided into lock and service share as shares are judged by.
    pub fn of(part: Amount, service_ppm: u32) -> Self {
        let service = per_million(part, service_ppm);
        Self { lock: part.checked_sub(service).unwrap_or(Amount::ZERO), service }
    }

    /// Both together: what weighs a share (satoshis).
    pub fn paid(&self) -> Amount {
        self.lock.checked_add(self.service).unwrap_or(Amount::MAX)
    }

    /// The two outputs, in order.
    pub fn outputs(&self, lock: ScriptBuf, service: ScriptBuf) -> [TxOut; 2] {
        [
            TxOut { value: self.lock, script_pubkey: lock },
            TxOut { value: self.service, script_pubkey: service },
        ]
    }
}

/// Positions that one coinbase pays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Farm {
    stakes: Vec<Stake>,
    rest: Rest,
}

impl Farm {
    /// A farm whose outputs count for one position each, whatever the reward.
    pub fn new(stakes: Vec<Stake>, rest: Rest) -> Result<Self> {
        let farm = Self { stakes, rest };
        farm.check_weights()?;
        for (place, stake) in farm.stakes.iter().enumerate() {
            farm.check_scripts(place, stake)?;
        }
        if let Rest::Script { script, .. } = &farm.rest {
            spendable("rest", script)?;
            farm.check_apart("rest", script)?;
        }
        Ok(farm)
    }

    /// A single position that gets the whole reward.
    pub fn single(lock: ScriptBuf, service: ScriptBuf, service_ppm: u32) -> Result<Self> {
        Self::new(vec![Stake { lock, service, service_ppm, weight: 1 }], Rest::Stake(0))
    }

    /// The positions.
    pub fn stakes(&self) -> &[Stake] {
        &self.stakes
    }

    fn check_weights(&self) -> Result<()> {
        let refuse = |expected: &str, found: &dyn core::fmt::Display| {
            Err(STAKES.refuses(Culprit::Miner, "farm", expected, found))
        };
        if self.stakes.is_empty() {
            return refuse("at least 1 position", &0);
        }
        if let Some(place) = self.stakes.iter().position(|stake| stake.weight == 0) {
            return refuse("weights above 0", &format_args!("weight 0 of position {place}"));
        }
        match self.rest {
            Rest::Stake(place) if place >= self.stakes.len() => {
                let expected = format!("the rest to a position below {}", self.stakes.len());
                refuse(&expected, &place)
            }
            _ => Ok(()),
        }
    }

    fn check_scripts(&self, place: usize, stake: &Stake) -> Result<()> {
        spendable(format_args!("lock of position {place}"), &stake.lock)?;
        if stake.serves() {
            spendable(format_args!("service script of position {place}"), &stake.service)?;
        }
        if let Some(first) = self.stakes.iter().take(place).position(|s| s.lock == stake.lock) {
            let found = format_args!("that of position {first}").to_string();
            let name = format_args!("lock of position {place}").to_string();
            return Err(LOCK.refuses(Culprit::Miner, name, "a lock of its own", found));
        }
        match stake.serves() {
            true => {
                self.check_apart(format_args!("service script of position {place}"), &stake.service)
            }
            false => Ok(()),
        }
    }

    fn check_apart(&self, name: impl core::fmt::Display, script: &Script) -> Result<()> {
        match self.stakes.iter().position(|stake| stake.lock.as_script() == script) {
            None => Ok(()),
            Some(other) => {
                let found = format_args!("the lock of position {other}").to_string();
                Err(APART.refuses(Culprit::Miner, name, "a script that is no lock", found))
            }
        }
    }

    /// What each position gets of a coinbase that pays out `reward` (satoshis), and what is left for
    /// the rest's script.
    pub fn parts(&self, reward: Amount) -> Result<(Vec<Part>, Amount)> {
        let reward = amount::bounded(reward, "coinbase")?;
        let beside = match &self.rest {
            Rest::Stake(_) => 0,
            Rest::Script { weight, .. } => u128::from(*weight),
        };
        // Far fewer than 2^64 weights of 64 bits each.
        let all = self
            .stakes
            .iter()
            .fold(beside, |sum, stake| sum.saturating_add(u128::from(stake.weight)));
        let mut floors: Vec<Amount> = self
            .stakes
            .iter()
            .map(|stake| portion(reward, u128::from(stake.weight), all))
            .collect();
        let given = amount::sum(floors.iter().copied(), "coinbase")?;
        let mut rest = reward.checked_sub(given).unwrap_or(Amount::ZERO);
        if let Rest::Stake(place) = self.rest
            && let Some(part) = floors.get_mut(place)
        {
            *part = part.checked_add(rest).unwrap_or(*part);
            rest = Amount::ZERO;
        }
        let divide = |((place, stake), part): ((usize, &Stake), Amount)| {
            let part = Part::of(part, stake.service_ppm);
            let served = stake.serves() && part.service == Amount::ZERO;
            if part.lock == Amount::ZERO || served {
                let found = format!("{} sat and {} sat", part.lock.to_sat(), part.service.to_sat());
                let place = format!("position {place} of a reward of {} sat", reward.to_sat());
                return Err(PART.refuses(Culprit::Miner, place, "at least 1 sat each", found));
            }
            Ok(part)
        };
        let parts = self.stakes.iter().enumerate().zip(floors).map(divide);
        Ok((parts.collect::<Result<_>>()?, rest))
    }

    /// The outputs of a coinbase that pays out `reward` (satoshis), in order; they add up to it.
    pub fn payouts(&self, reward: Amount) -> Result<Vec<TxOut>> {
        let (parts, rest) = self.parts(reward)?;
        let mut outputs: Vec<TxOut> = self
            .stakes
            .iter()
            .zip(parts)
            .flat_map(|(stake, part)| {
                let outputs = part.outputs(stake.lock.clone(), stake.service.clone());
                outputs.into_iter().take(if stake.serves() { 2 } else { 1 })
            })
            .collect();
        match &self.rest {
            Rest::Script { script, .. } if rest > Amount::ZERO => {
                outputs.push(TxOut { value: rest, script_pubkey: script.clone() });
            }
            _ => {}
        }
        Ok(outputs)
    }

    /// The highest hash that is a share of each position, where `targets` are those in their terms, in
    /// the order of the positions.
    pub fn hash_targets(&self, reward: Amount, targets: &[Target]) -> Result<Vec<Target>> {
        if targets.len() != self.stakes.len() {
            let expected = format!("a target for each of {} positions", self.stakes.len());
            return Err(STAKES.refuses(Culprit::Miner, "farm targets", expected, targets.len()));
        }
        let (parts, _) = self.parts(reward)?;
        Ok(targets
            .iter()
            .zip(parts)
            .map(|(t, part)| hash_target(*t, part.paid(), reward))
            .collect())
    }

    /// Bytes of a coinbase without witness, with an extra nonce of so many bytes: exact for heights
    /// from 32,768 to 8,388,607 if somebody gets a rest, at most this otherwise.
    pub fn length(&self, extranonce: u8) -> usize {
        self.length_of(self.stakes.len(), extranonce)
    }

    /// The length if only the first `count` positions were paid.
    fn length_of(&self, count: usize, extranonce: u8) -> usize {
        let stakes = self.stakes.iter().take(count).flat_map(Stake::scripts);
        let rest = match &self.rest {
            Rest::Stake(_) => None,
            Rest::Script { script, .. } => Some(script),
        };
        let script = HEIGHT_PUSH.saturating_add(usize::from(extranonce)).saturating_add(1);
        let outputs = stakes.clone().chain(rest).count().saturating_add(1);
        let fixed = FRAME.saturating_add(COMMITMENT).saturating_add(counter(outputs));
        stakes.chain(rest).fold(fixed.saturating_add(script), |sum, script| {
            let output = counter(script.len()).saturating_add(8).saturating_add(script.len());
            sum.saturating_add(output)
        })
    }

    /// Refuses a coinbase that is longer than the firmware of the machines can hold, in bytes.
    pub fn check_length(&self, extranonce: u8, limit: usize) -> Result<()> {
        let found = self.length(extranonce);
        if found <= limit {
            return Ok(());
        }
        let fits = |count: &usize| self.length_of(*count, extranonce) <= limit;
        let fit = (0..self.stakes.len()).rev().find(fits).unwrap_or(0);
        let expected = format!("at most {limit} bytes, room for {fit} of the positions");
        let found = format!("{found} bytes for {}", self.stakes.len());
        Err(LENGTH.refuses(Culprit::Miner, "farm coinbase", expected, found))
    }
}

/// Bytes of the number that stands before outputs or a script.
fn counter(count: usize) -> usize {
    match count {
        0..=0xfc => 1,
        0xfd..=0xffff => 3,
        _ => 5,
    }
}

fn spendable(name: impl core::fmt::Display, script: &Script) -> Result<(), Error> {
    if !script.is_empty() && !script.is_op_return() {
        return Ok(());
    }
    let found = if script.is_empty() { "none".to_owned() } else { format!("{script:x}") };
    Err(SPENDABLE.refuses(Culprit::Miner, name, "a script that can be spent", found))
}

#[cfg(test)]
mod tests;
