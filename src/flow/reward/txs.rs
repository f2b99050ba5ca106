//! The one transaction of the reward flow: the sweep.

use bitcoin::transaction::Version;
use bitcoin::{Amount, TxOut};
use serde::{Deserialize, Serialize};

use crate::amount;
use crate::error::{Culprit, Result, Rule};
use crate::facts::Coin;
use crate::flow::reward::coins;
use crate::flow::reward::terms::RewardTerms;
use crate::party::Seat;
use crate::script::lock::Path;
use crate::tx::draft::{Draft, Spend, Title, fee, vsize};

/// A sweep spends rewards that can be spent.
pub const SWEEPABLE: Rule = Rule::new(
    "reward-sweepable",
    "a sweep spends mature, unspent coinbase outputs that pay the reward lock",
    "wait for the rewards to mature, then ask again",
);

/// A way through the reward lock; every one of them ends at the holder's payout script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SweepPath {
    /// Miner and holder, one signature each.
    Agreed,
    /// The holder is gone: miner and federation pay his payout script.
    MinerRuling,
    /// The miner is gone: holder and federation.
    HolderRuling,
    /// The holder alone, after the delay.
    HolderExit,
    /// Miner and holder together, MuSig2.
    Key,
}

impl SweepPath {
    /// Whether `seat` is one of those who sign this way in with a leaf signature.
    pub fn signed_by(self, seat: Seat) -> bool {
        matches!(
            (self, seat),
            (Self::Agreed, Seat::Miner | Seat::Holder)
                | (Self::MinerRuling, Seat::Miner | Seat::Validator(_))
                | (Self::HolderRuling, Seat::Holder | Seat::Validator(_))
                | (Self::HolderExit, Seat::Holder)
        )
    }
}

impl From<SweepPath> for Path {
    fn from(path: SweepPath) -> Self {
        match path {
            SweepPath::Agreed => Self::Agreed,
            SweepPath::MinerRuling => Self::MinerRuling,
            SweepPath::HolderRuling => Self::HolderRuling,
            SweepPath::HolderExit => Self::HolderExit,
            SweepPath::Key => Self::Key,
        }
    }
}

/// Spends `rewards` to the payout script in the holder's record, at `sat_per_vb`.
pub fn sweep(
    terms: &RewardTerms,
    path: SweepPath,
    rewards: &[Coin],
    sat_per_vb: u64,
) -> Result<Draft> {
    let title = Title("sweep");
    let lock = coins::lock(terms)?;
    let spends: Vec<Spend> = rewards
        .iter()
        .map(|coin| Spend {
            outpoint: coin.outpoint,
            prevout: coin.txout.clone(),
            lock: lock.clone(),
            path: path.into(),
        })
        .collect();
    let payout = |value| vec![TxOut { value, script_pubkey: terms.holder.payout_script() }];
    let fee = fee(vsize(&spends, &payout(Amount::ZERO))?, sat_per_vb)?;
    let total = amount::sum(rewards.iter().map(|coin| coin.txout.value), title)?;
    let value = total.checked_sub(fee).ok_or_else(|| {
        SWEEPABLE.refuses(Culprit::Sender, title, format_args!("rewards above {fee}"), total)
    })?;
    Draft::new(title, Version::TWO, 0, spends, payout(value))
}
