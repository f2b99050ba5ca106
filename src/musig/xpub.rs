//! Xpubs that stand for something else than one person's key.
//!
//! Descriptor software that knows no `musig()` (miniscript, bdk_wallet) reads an aggregate as a
//! synthetic xpub (BIP-328); a lock for signers without MuSig2 has an xpub that nobody can sign
//! for in its place. Both have depth 0 and no parent, as a master key.

use bitcoin::NetworkKind;
use bitcoin::bip32::{ChainCode, ChildNumber, Fingerprint, Xpub};
use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::secp256k1::PublicKey;

use super::{aggregate, outside, sorted};
use crate::error::Result;

/// Chain code of every synthetic xpub: SHA256 of "MuSig2MuSig2MuSig2" (BIP-328).
const SYNTHETIC_CHAIN_CODE: [u8; 32] = [
    0x86, 0x80, 0x87, 0xca, 0x02, 0xa6, 0xf9, 0x74, 0xc4, 0x59, 0x89, 0x24, 0xc3, 0x6b, 0x57, 0x76,
    0x2d, 0x32, 0xcb, 0x45, 0x71, 0x71, 0x67, 0xe3, 0x00, 0x62, 0x2c, 0x71, 0x67, 0xe3, 0x89, 0x65,
];

/// The point H of BIP-341, whose discrete logarithm nobody knows, with even y.
const NUMS: [u8; 33] = [
    0x02, 0x50, 0x92, 0x9b, 0x74, 0xc1, 0xa0, 0x49, 0x54, 0xb7, 0x8b, 0x4b, 0x60, 0x35, 0xe9, 0x7a,
    0x5e, 0x07, 0x8a, 0x5a, 0x0f, 0x28, 0xec, 0x96, 0xd5, 0x47, 0xbf, 0xee, 0x9a, 0xce, 0x80, 0x3a,
    0xc0,
];

/// The xpub that stands for `musig(keys)` (BIP-328): what miniscript and bdk_wallet can read.
///
/// Its children are those of BIP-390's `musig(A,B)/path`.
pub fn synthetic_xpub(keys: &[PublicKey], network: impl Into<NetworkKind>) -> Result<Xpub> {
    Ok(synthetic_xpub_of(aggregate(keys)?, network))
}

/// The synthetic xpub of an aggregate that is already known (BIP-328).
pub fn synthetic_xpub_of(aggregate: PublicKey, network: impl Into<NetworkKind>) -> Xpub {
    root_xpub(aggregate, SYNTHETIC_CHAIN_CODE, network.into())
}

/// An xpub that nobody can sign for: the point H of BIP-341 with SHA256 of the sorted participant
/// keys (33 bytes each, joined) as its chain code, so that no two contracts share it.
pub fn nums_xpub(keys: &[PublicKey], network: impl Into<NetworkKind>) -> Result<Xpub> {
    let mut engine = sha256::Hash::engine();
    for key in sorted(keys)? {
        engine.input(&key.serialize());
    }
    let chain_code = sha256::Hash::from_engine(engine).to_byte_array();
    let point = PublicKey::from_slice(&NUMS).map_err(|e| outside("the point H", e))?;
    Ok(root_xpub(point, chain_code, network.into()))
}

fn root_xpub(public_key: PublicKey, chain_code: [u8; 32], network: NetworkKind) -> Xpub {
    Xpub {
        network,
        depth: 0,
        parent_fingerprint: Fingerprint::default(),
        child_number: ChildNumber::Normal { index: 0 },
        public_key,
        chain_code: ChainCode::from(chain_code),
    }
}
