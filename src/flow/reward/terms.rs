//! What a reward lock is agreed on: people, variant, the holder's delay, the service share.

use bitcoin::Network;
use serde::{Deserialize, Serialize};

use crate::error::{Culprit, Result, Rule};
use crate::party::{Federation, Record, Role, check_distinct};
use crate::script::template::{Seats, Variant};

/// The miner's share of a coinbase stays within bounds.
pub const SERVICE: Rule = Rule::new(
    "reward-service-share",
    "the service share is 1 % to below 100 % of what the coinbase pays to the contract",
    "agree on another share",
);

/// What miner, holder and federation agree on about rewards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardTerms {
    /// The chain.
    pub network: Network,
    /// The name that every record was made for.
    pub contract: String,
    /// Whether the key path is open.
    pub variant: Variant,
    /// The miner's record.
    pub miner: Record,
    /// The holder's record.
    pub holder: Record,
    /// The validators and their threshold.
    pub federation: Federation,
    /// Blocks after which the holder alone may take a reward (R; 26,280 on mainnet).
    pub exit_delay: u16,
    /// The miner's share for electricity and incentive, parts per million of what a coinbase pays
    /// to the contract.
    pub service_ppm: u32,
}

impl RewardTerms {
    /// Checks every record, that no two share a key, and the service share.
    pub fn check(&self) -> Result<()> {
        for (record, role) in [(&self.miner, Role::Miner), (&self.holder, Role::Holder)] {
            record.check()?;
            record.check_seat(role, self.network, &self.contract)?;
        }
        self.federation.check(self.network, &self.contract)?;
        check_distinct([&self.miner, &self.holder].into_iter().chain(&self.federation.validators))?;
        if !(10_000..1_000_000).contains(&self.service_ppm) {
            return Err(SERVICE.refuses(
                Culprit::Sender,
                "terms, service share",
                "10,000 to 999,999 parts per million",
                self.service_ppm,
            ));
        }
        Ok(())
    }

    /// The people, as the lock's template wants them.
    pub fn seats(&self) -> Seats<'_> {
        Seats { miner: &self.miner, holder: &self.holder, federation: &self.federation }
    }
}
