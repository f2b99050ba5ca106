//! The miner's machines: on each block they find a stated number of shares, so that a rehearsal
//! delivers the same work on every chain, whatever its hashes.

use std::collections::BTreeMap;

use bitcoin::Block;
use bitcoin::block::Header;

use crate::error::{Result, Rule};
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::reward::coins::payouts;
use crate::work::certificate::Certificate;
use crate::work::grind::grind;
use crate::work::share::Share;
use crate::work::template::BlockTemplate;

/// A rehearsal's work is found.
pub const FOUND: Rule = Rule::new(
    "rehearsal-block",
    "on regtest the nonces of one header hold a block and all the shares that are wanted",
    "report this: the rehearsal's chain is not regtest, or its shares are too hard",
);

/// Machines that mine for one contract.
#[derive(Debug, Default)]
pub struct Machines {
    /// By the height they were mined at.
    shares: BTreeMap<u32, Vec<Share>>,
}

impl Machines {
    /// Finds `count` shares on `template`, and the block. What was found at this height before is
    /// forgotten, unless `count` is none: then the old shares stay, for their parent still stands.
    pub fn find(
        &mut self,
        terms: &EscrowTerms,
        template: &BlockTemplate,
        extra_nonce: &[u8],
        count: Option<usize>,
    ) -> Result<Block> {
        let mut pays = payouts(&terms.reward, template.reward)?;
        // The holder before is paid until the lock changes.
        if let (Some(_), Some(slice), Some(paid)) =
            (&terms.tenure, terms.calendar().slice_of(template.height), pays.first_mut())
        {
            paid.script_pubkey = terms.work()?.lock_at(slice).to_owned();
        }
        let job = template.job(extra_nonce, &pays)?;
        let missing = |expected: usize, found: usize| {
            let expected = format_args!("{expected} shares or blocks").to_string();
            FOUND.broken(format_args!("machines at height {}", template.height), expected, found)
        };
        let mut headers: Vec<Header> = Vec::new();
        if let Some(count) = count {
            headers.extend(grind(&job, 0, u64::MAX, terms.delivery.target).take(count));
            if headers.len() < count {
                return Err(missing(count, headers.len()));
            }
            let shares = headers.iter().map(|header| Share::of(&job, *header)).collect();
            self.shares.insert(template.height, shares);
        }
        // A share is far below regtest's target: the first one is the block.
        let block = headers.first().copied();
        let block = block.or_else(|| grind(&job, 0, u64::MAX, job.header.target()).next());
        let header = block.ok_or_else(|| missing(1, 0))?;
        Ok(template.block(header, job.coinbase))
    }

    /// The certificate of everything that is found in a slice and still stands.
    pub fn certificate(&self, terms: &EscrowTerms, slice: u32) -> Result<Certificate> {
        let blocks = terms.calendar().slice_blocks(slice).into_iter().flatten();
        let shares = blocks.filter_map(|height| self.shares.get(&height)).flatten().cloned();
        Certificate::new(terms.position()?, slice, shares)
    }
}
