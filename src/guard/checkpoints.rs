//! What we bring along about each network: pinned blocks, the work its chain is known to have,
//! and what its headers cannot prove.

use std::collections::BTreeMap;

use bitcoin::consensus::Params;
use bitcoin::{BlockHash, Network, Work, constants};

use crate::error::{Culprit, Result, Rule};
use crate::headers::difficulty;

/// A pinned block begins a span.
pub const PIN: Rule = Rule::new(
    "guard-pin",
    "a pinned block lies on a multiple of 2,016, and a height has one",
    "pin the first block of a span",
);

/// Mainnet, beside genesis: first blocks of spans, as in the list of checkpoints that bitcoinj
/// ships (`org.bitcoin.production.checkpoints.txt`). Their headers are in
/// `fixtures/mainnet/boundaries.json`, where a test weighs them: nobody could make up the last.
const MAINNET: [(u32, &str); 5] = [
    (2_016, "00000000a141216a896c54f211301c436e557a8d55900637bbdce14c6c7bddef"),
    (32_256, "000000004f2886a170adb7204cb0c7a824217dd24d11a74423d564c4e0904967"),
    (90_720, "0000000000042751f341ee2dde050240cd8330401063dfdea21be270495bf360"),
    (806_400, "00000000000000000004e0dd717641832e782bd5a5b92cf80c64c092ae1a8c8a"),
    (822_528, "000000000000000000001daacd23f9cb40c69ba923085618a5f9dbdd4d97e93a"),
];

/// Blocks that the chain is known to pass through, by height.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoints {
    pins: BTreeMap<u32, BlockHash>,
}

impl Checkpoints {
    /// No pinned block at all; for networks of one's own.
    pub fn none() -> Self {
        Self::default()
    }

    /// The pinned blocks of a network, always with its genesis block.
    pub fn of(network: Network) -> Self {
        let genesis = constants::genesis_block(network).block_hash();
        let mut pins = BTreeMap::from([(0, genesis)]);
        if network == Network::Bitcoin {
            let parsed =
                MAINNET.iter().filter_map(|(height, text)| Some((*height, text.parse().ok()?)));
            pins.extend(parsed);
        }
        Self { pins }
    }

    /// The same, with one more block at the beginning of a span.
    pub fn with(mut self, params: &Params, height: u32, hash: BlockHash) -> Result<Self> {
        let refuse = |expected: String, found: String| {
            Err(PIN.refuses(Culprit::Sender, "pinned block", expected, found))
        };
        if !difficulty::is_boundary(params, height) {
            let blocks = difficulty::span(params);
            return refuse(format!("a multiple of {blocks}"), format!("height {height}"));
        }
        if let Some(pinned) = self.at(height).filter(|pinned| *pinned != hash) {
            return refuse(format!("{pinned} at height {height}"), hash.to_string());
        }
        self.pins.insert(height, hash);
        Ok(self)
    }

    /// The pinned block at `height`.
    pub fn at(&self, height: u32) -> Option<BlockHash> {
        self.pins.get(&height).copied()
    }

    /// Height of the highest pinned block.
    pub fn highest(&self) -> Option<u32> {
        self.pins.keys().next_back().copied()
    }
}

/// Work that the network's chain is known to have: `nMinimumChainWork` of Bitcoin Core 31.99
/// (`src/kernel/chainparams.cpp`, in the crate libbitcoinkernel-sys 0.4.1). None on regtest.
pub fn least_work(network: Network) -> Work {
    let least: u128 = match network {
        Network::Bitcoin => 0x1_1287_50f8_2f4c_3661_53a3_a030,
        Network::Testnet => 0x17dd_e1c6_49f3_708d_14b6,
        Network::Testnet4 => 0x09a0_fe15_d017_7d08_6304,
        Network::Signet => 0x0b46_3ea0_a4b8,
        _ => 0,
    };
    let mut bytes = [0; 32];
    let (_, low) = bytes.split_at_mut(16);
    low.copy_from_slice(&least.to_be_bytes());
    Work::from_be_bytes(bytes)
}

/// What a chain of headers leaves open on this network, in words for people; `None` where it
/// proves as much as headers ever do.
pub fn what_headers_cannot_prove(network: Network) -> Option<&'static str> {
    match network {
        Network::Bitcoin => None,
        Network::Signet => Some(
            "signet's blocks count by their signature, which headers do not hold; their work proves \
             nothing: use your own node",
        ),
        Network::Testnet | Network::Testnet4 => Some(
            "work on a test network is cheap, and after 20 minutes almost free; headers prove \
             little: use your own node",
        ),
        _ => Some("regtest's work is free, so headers prove nothing: use your own node"),
    }
}
