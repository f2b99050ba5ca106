//! A share in a file of its own, with what a reader needs to judge it without the chain: network
//! and height. The real blocks under `fixtures/mainnet` have this shape.

use bitcoin::{BlockHash, Network};
use serde::{Deserialize, Serialize};

use crate::error::{Culprit, Error, Result, Rule};
use crate::work::agreement::Demand;
use crate::work::hex;
use crate::work::share::{Proof, Share, prove};

/// A share's file is one we can read.
pub const FORMAT: Rule = Rule::new(
    "work-file-format",
    "a share's file is JSON with network, height, header, coinbase and branch, of at most 1 MiB",
    "export the share again",
);
/// The file's hash is the header's.
pub const HASH: Rule = Rule::new(
    "work-file-hash",
    "the block hash in the file is that of its header",
    "export the share again",
);

/// Longest file that is read, in bytes: a share with the longest coinbase takes a quarter of it.
pub const LONGEST_FILE: usize = 1 << 20;

/// A share's file, field by field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareFile {
    /// The network whose subsidy holds.
    pub network: Network,
    /// The header's hash, if the writer stated it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_hash: Option<BlockHash>,
    /// The height that the coinbase must state.
    pub height: u32,
    /// The header, 80 bytes.
    #[serde(with = "hex::header")]
    pub header: bitcoin::block::Header,
    /// The coinbase without witness.
    #[serde(with = "hex::bytes")]
    pub coinbase: Vec<u8>,
    /// Sibling hashes from leaf 0 up to the root, in the order of bytes in which they are hashed.
    #[serde(with = "hex::branch")]
    pub branch: Vec<bitcoin::TxMerkleNode>,
    /// Transactions in the block, if the writer stated them; nothing depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transactions: Option<u32>,
}

impl ShareFile {
    /// Reads a file; whether its share proves anything is for [`ShareFile::prove`] to say.
    pub fn from_json(text: &str) -> Result<Self> {
        if text.len() > LONGEST_FILE {
            return Err(unread(format_args!("{} bytes", text.len())));
        }
        let file: Self = serde_json::from_str(text).map_err(unread)?;
        let hash = file.header.block_hash();
        if file.block_hash.is_some_and(|stated| stated != hash) {
            let stated = file.block_hash.map(|h| h.to_string()).unwrap_or_default();
            return Err(HASH.refuses(Culprit::Sender, "block_hash", hash, stated));
        }
        Ok(file)
    }

    /// The file as JSON.
    pub fn to_json(&self) -> String {
        // Strings and numbers always have a JSON form.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The share itself.
    pub fn share(&self) -> Share {
        Share { header: self.header, coinbase: self.coinbase.clone(), branch: self.branch.clone() }
    }

    /// Rules 2-5 at the height that the file states. Rule 1 needs the chain's headers.
    pub fn prove(&self, demand: &Demand<'_>) -> Result<Proof> {
        // The header's time exceeds its parent's median-time-past, so what is not final by it
        // is not final by that either.
        prove(&self.share(), self.height, self.header.time, demand)
    }
}

fn unread(found: impl core::fmt::Display) -> Error {
    FORMAT.refuses(Culprit::Sender, "share file", "a share's file", found)
}

#[cfg(test)]
mod tests {
    use bitcoin::{Amount, ScriptBuf};

    use super::*;
    use crate::amount::MAX_SATOSHIS;
    use crate::work::samples;

    const BLOCKS: [(&str, &str); 2] = [
        (
            include_str!("../../fixtures/mainnet/block_333961.json"),
            "76a914c825a1ecf2a6830c4401620c3a16f1995057c2ab88ac",
        ),
        (
            include_str!("../../fixtures/mainnet/block_702861.json"),
            "00143156afc4249915008020f932783319f3e610b97d",
        ),
    ];

    fn demand<'a>(file: &ShareFile, lock: &'a ScriptBuf) -> Demand<'a> {
        Demand {
            network: file.network,
            lock,
            holders: None,
            service: None,
            cap: Amount::from_sat(MAX_SATOSHIS),
            target: file.header.target(),
        }
    }

    #[test]
    fn real_blocks_prove_work_for_the_script_that_they_paid() {
        for (text, script) in BLOCKS {
            let file = ShareFile::from_json(text).unwrap();
            let lock = ScriptBuf::from_hex(script).unwrap();
            let proof = file.prove(&demand(&file, &lock)).unwrap();
            assert_eq!(Some(proof.hash), file.block_hash);
            assert_eq!(proof.payment.paid, proof.payment.total);
        }
    }

    #[test]
    fn real_blocks_prove_nothing_for_any_other_script() {
        for (text, script) in BLOCKS {
            let file = ShareFile::from_json(text).unwrap();
            for other in [&script[2..], &format!("{script}00"), "51"] {
                let lock = ScriptBuf::from_hex(other).unwrap();
                let refused = file.prove(&demand(&file, &lock)).unwrap_err();
                assert_eq!(refused.rule(), "work-pay-lock");
            }
        }
    }

    #[test]
    fn a_real_block_is_refused_at_another_height_or_with_anything_changed() {
        let (text, script) = BLOCKS[1];
        let file = ShareFile::from_json(text).unwrap();
        let lock = ScriptBuf::from_hex(script).unwrap();
        let demand = demand(&file, &lock);
        let refused = |change: &dyn Fn(&mut ShareFile)| {
            let mut changed = file.clone();
            change(&mut changed);
            changed.prove(&demand).unwrap_err().rule()
        };
        assert_eq!(refused(&|f| f.height += 1), "work-coinbase-height");
        assert_eq!(refused(&|f| f.height -= 1), "work-coinbase-height");
        assert_eq!(refused(&|f| f.header.nonce += 1), "work-target");
        assert_eq!(refused(&|f| f.branch.swap(3, 4)), "work-branch-root");
        assert_eq!(refused(&|f| f.branch.truncate(11)), "work-branch-root");
        assert_eq!(refused(&|f| f.coinbase[50] ^= 1), "work-branch-root");
        assert_eq!(refused(&|f| f.coinbase.push(0)), "work-coinbase-trailing");
    }

    #[test]
    fn a_file_survives_being_written_and_read() {
        for (text, _) in BLOCKS {
            let file = ShareFile::from_json(text).unwrap();
            assert_eq!(ShareFile::from_json(&file.to_json()).unwrap(), file);
        }
    }

    #[test]
    fn a_file_that_is_not_a_share_is_refused() {
        let (text, _) = BLOCKS[0];
        for bad in [
            String::new(),
            "{}".into(),
            text.replace("\"height\"", "\"hieght\""),
            text.replace("\"header\": \"02", "\"header\": \""),
            text.replace("\"coinbase\": \"01", "\"coinbase\": \"zz"),
            text.replace("\"bitcoin\"", "\"litecoin\""),
            " ".repeat(LONGEST_FILE + 1),
        ] {
            assert_eq!(ShareFile::from_json(&bad).unwrap_err().rule(), "work-file-format");
        }
    }

    #[test]
    fn a_file_that_states_another_hash_is_refused() {
        let (text, _) = BLOCKS[0];
        let bad = text.replace("1203c1ea455e", "1203c1ea455f");
        assert_eq!(ShareFile::from_json(&bad).unwrap_err().rule(), "work-file-hash");
    }

    #[test]
    fn a_share_that_was_ground_here_has_the_same_shape() {
        let job = samples::any_job();
        let share = Share::of(&job, job.header);
        let file = ShareFile {
            network: Network::Regtest,
            block_hash: None,
            height: 1,
            header: share.header,
            coinbase: share.coinbase.clone(),
            branch: share.branch.clone(),
            transactions: None,
        };
        assert_eq!(ShareFile::from_json(&file.to_json()).unwrap().share(), share);
        assert!(!file.to_json().contains("null"));
    }
}
