//! Bytes as hexadecimal text in files, in the order in which they are hashed.

use bitcoin::hex::{DisplayHex, FromHex};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

/// Raw bytes.
pub(crate) mod bytes {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&bytes.as_hex())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        Vec::from_hex(&String::deserialize(d)?).map_err(D::Error::custom)
    }
}

/// A block header: 80 bytes.
pub(crate) mod header {
    use bitcoin::block::Header;

    use super::*;
    use crate::work::hash::header_bytes;

    pub(crate) fn serialize<S: Serializer>(header: &Header, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&header_bytes(header).as_hex())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Header, D::Error> {
        let bytes = super::bytes::deserialize(d)?;
        bitcoin::consensus::deserialize(&bytes)
            .map_err(|e| D::Error::custom(format_args!("not an 80-byte header: {e}")))
    }
}

/// The nodes of a branch, 32 bytes each. Not in the reversed order in which explorers show hashes.
pub(crate) mod branch {
    use bitcoin::TxMerkleNode;
    use bitcoin::hashes::Hash;

    use super::*;

    pub(crate) fn serialize<S: Serializer>(
        branch: &[TxMerkleNode],
        s: S,
    ) -> Result<S::Ok, S::Error> {
        s.collect_seq(branch.iter().map(|node| node.as_byte_array().to_lower_hex_string()))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Vec<TxMerkleNode>, D::Error> {
        Vec::<String>::deserialize(d)?
            .iter()
            .map(|text| <[u8; 32]>::from_hex(text).map(TxMerkleNode::from_byte_array))
            .collect::<Result<_, _>>()
            .map_err(D::Error::custom)
    }
}
