//! An unspent output, as `gettxout` describes it.

use bitcoin::{Amount, BlockHash, ScriptBuf};
use serde::Deserialize;

use super::ANSWER;
use crate::error::Result;
use crate::facts::CoinView;

/// The answer to `gettxout`, as far as it is read; the node says `null` for what is not there.
#[derive(Debug, Deserialize)]
pub(super) struct Output {
    bestblock: BlockHash,
    confirmations: u32,
    /// In bitcoin; whole satoshis, or it is refused.
    #[serde(with = "bitcoin::amount::serde::as_btc")]
    value: Amount,
    #[serde(rename = "scriptPubKey")]
    script: Script,
    coinbase: bool,
}

#[derive(Debug, Deserialize)]
struct Script {
    hex: ScriptBuf,
}

/// An output, if the node's tip is still the one we asked at.
#[derive(Debug)]
pub(super) enum Reading {
    /// What it is.
    Coin(CoinView),
    /// The node has another tip by now.
    Moved,
}

impl Output {
    /// The output as it is at `tip`.
    pub(super) fn at(self, tip: (u32, BlockHash)) -> Result<Reading> {
        if self.bestblock != tip.1 {
            return Ok(Reading::Moved);
        }
        let height = match self.confirmations.checked_sub(1) {
            None => None,
            Some(above) => Some(tip.0.checked_sub(above).ok_or_else(|| {
                let expected = format_args!("at most {} confirmations", tip.0).to_string();
                ANSWER.unavailable("gettxout", expected, self.confirmations)
            })?),
        };
        Ok(Reading::Coin(CoinView {
            value: self.value,
            script: self.script.hex,
            height,
            coinbase: self.coinbase,
        }))
    }
}
