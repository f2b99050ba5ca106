//! Where a guard's tree begins.

use bitcoin::block::Header;
use bitcoin::blockdata::constants::genesis_block;
use bitcoin::consensus::Params;
use bitcoin::{Network, Work};

use crate::error::{Culprit, Result, Rule};
use crate::headers::{MEDIAN_SPAN, difficulty};

/// An anchor has all that the rules above it need.
pub const ANCHOR: Rule = Rule::new(
    "guard-anchor",
    "an anchor is the first block of a span, with the times of the ten blocks before it",
    "anchor at the genesis block, or at a multiple of 2,016",
);

/// A block that is believed without proof, and what must be known of those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    pub(super) height: u32,
    pub(super) header: Header,
    pub(super) work: Work,
    pub(super) before: Vec<u32>,
}

impl Anchor {
    /// The genesis block of a network.
    pub fn genesis(network: Network) -> Self {
        let header = genesis_block(network).header;
        Self { height: 0, header, work: header.target().to_work(), before: Vec::new() }
    }

    /// The block at `height` with the work of the whole chain up to it, its own included, and the
    /// times (Unix seconds) of the ten blocks before it in the order of the chain, or of as many
    /// as there are.
    pub fn new(
        params: &Params,
        height: u32,
        header: Header,
        work: Work,
        before: Vec<u32>,
    ) -> Result<Self> {
        if !difficulty::is_boundary(params, height) {
            return Err(ANCHOR.refuses(
                Culprit::Sender,
                "anchor",
                format_args!("a multiple of {}", difficulty::span(params)),
                format_args!("height {height}"),
            ));
        }
        let times = height.min(MEDIAN_SPAN.saturating_sub(1));
        if u32::try_from(before.len()) != Ok(times) {
            return Err(ANCHOR.refuses(
                Culprit::Sender,
                format_args!("anchor at height {height}"),
                format_args!("{times} times before it"),
                before.len(),
            ));
        }
        Ok(Self { height, header, work, before })
    }
}
