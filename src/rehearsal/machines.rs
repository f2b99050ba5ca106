//! The miner's machines: they grind a fixed number of hashes on each block, so that a run repeats.

use bitcoin::block::Header;
use bitcoin::{ScriptBuf, TxOut};

use crate::error::{Result, Rule};
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::reward::coins::payouts;
use crate::rehearsal::world::World;
use crate::work::certificate::Certificate;
use crate::work::grind::grind;
use crate::work::share::Share;

/// A rehearsal's block is found.
pub const FOUND: Rule = Rule::new(
    "rehearsal-block",
    "on regtest one nonce in two is a block",
    "report this: the rehearsal's chain is not regtest",
);

/// Machines that mine for one contract.
#[derive(Debug, Default)]
pub struct Machines {
    shares: Vec<Share>,
}

impl Machines {
    /// Grinds `attempts` hashes on the next block, keeps the shares, and hands the block in.
    pub fn mine_block(
        &mut self,
        terms: &EscrowTerms,
        world: &(impl World + ?Sized),
        attempts: u64,
    ) -> Result<()> {
        let template = world.template()?;
        let pays = payouts(&terms.reward, template.reward)?;
        let job = template.job(&[], &pays)?;
        let target = terms.delivery.target;
        let headers: Vec<Header> = grind(&job, 0, attempts, target).collect();
        self.shares.extend(headers.iter().map(|header| Share::of(&job, *header)));
        // A share is far below regtest's target: the first one is the block.
        let block_target = job.header.target();
        let header = headers
            .first()
            .copied()
            .or_else(|| grind(&job, 0, 1_000, block_target).next())
            .ok_or_else(|| FOUND.broken("machines", "a block within 1,000 nonces", "none"))?;
        world.submit(&template.block(header, job.coinbase))?;
        Ok(())
    }

    /// The certificate of a slice that is over; the machines start the next one with none.
    pub fn certificate(&mut self, terms: &EscrowTerms, slice: u32) -> Result<Certificate> {
        Certificate::new(terms.position()?, slice, core::mem::take(&mut self.shares))
    }
}

/// Mines for people outside the contract: the rest of the network.
pub fn mine_elsewhere(
    world: &(impl World + ?Sized),
    blocks: u32,
    script: &ScriptBuf,
) -> Result<()> {
    world.mine(blocks, &|reward| vec![TxOut { value: reward, script_pubkey: script.clone() }])
}
