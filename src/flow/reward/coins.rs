//! The reward lock, and what a coinbase pays into it.

use bitcoin::{Amount, TxOut};

use crate::amount;
use crate::error::Result;
use crate::flow::reward::terms::RewardTerms;
use crate::script::lock::Lock;
use crate::script::template::{self, Policy};
use crate::work::farm::Part;

/// The reward lock's policy: the file under `descriptors/` with people and numbers in place.
pub fn policy(terms: &RewardTerms) -> Result<Policy> {
    template::reward(terms.variant).fill(
        terms.seats(),
        &[("reward_exit", u32::from(terms.exit_delay))],
        terms.network,
    )
}

/// The lock that every coinbase of the contract pays (index 0).
pub fn lock(terms: &RewardTerms) -> Result<Lock> {
    Lock::from_policy(&policy(terms)?, terms.variant, terms.seats(), 0)
}

/// The two outputs of a coinbase that pays the whole `reward` (satoshis): the lock, and directly
/// behind it the miner's service share, rounded down.
pub fn payouts(terms: &RewardTerms, reward: Amount) -> Result<Vec<TxOut>> {
    let reward = amount::bounded(reward, "coinbase")?;
    let part = Part::of(reward, terms.service_ppm);
    Ok(part.outputs(lock(terms)?.script_pubkey, terms.miner.payout_script()).to_vec())
}
