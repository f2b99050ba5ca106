//! The seal: the output whose first satoshi is a position.
//!
//! ```text
//!  c = tagged hash(position, transfer, holder's record, terms of the sale)
//!  tr(holder's seal key, and_v(v:pk(holder's seal key), sha256(SHA256(c))))
//! ```
//! The output commits to its holder: whoever knows the record rebuilds it and compares, so nobody can
//! hide, double or forge a record. The holder spends it by the key path, like any Taproot coin; the
//! leaf is there to commit, and a device that shows descriptors shows what it holds.

use bitcoin::bip32::ChildNumber;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::key::XOnlyPublicKey;
use bitcoin::secp256k1::Secp256k1;
use bitcoin::taproot::TapNodeHash;
use bitcoin::{Address, Network, ScriptBuf};
use miniscript::descriptor::DescriptorPublicKey;
use miniscript::{Descriptor, ToPublicKey};

use crate::error::Result;
use crate::keys::KeyExpression;
use crate::script::lock::SANE;
use crate::script::template;

/// Branch and index of a seal's key below the key of the record: the first of all.
pub const STEPS: [ChildNumber; 2] =
    [ChildNumber::Normal { index: 0 }, ChildNumber::Normal { index: 0 }];

/// Weight of an input that spends a seal by its key path, in WU.
pub const INPUT_WEIGHT: u64 = 230;

/// The seal's output, with everything that is needed to spend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealLock {
    /// The script that the output pays.
    pub script_pubkey: ScriptBuf,
    /// The untweaked key (BIP 341).
    pub internal_key: XOnlyPublicKey,
    /// The leaf's hash, with which the key is tweaked.
    pub merkle_root: TapNodeHash,
}

impl SealLock {
    /// The seal of a key under a commitment c.
    pub fn new(key: &KeyExpression, commitment: [u8; 32]) -> Result<Self> {
        let insane =
            |found: &dyn core::fmt::Display| SANE.broken("seal", "a sane tr() descriptor", found);
        let descriptor: Descriptor<DescriptorPublicKey> =
            descriptor(key, commitment).parse().map_err(|error| insane(&error))?;
        descriptor.sanity_check().map_err(|error| insane(&error))?;
        let branches = descriptor.into_single_descriptors().map_err(|error| insane(&error))?;
        let first = branches.first().ok_or_else(|| insane(&"no branch"))?;
        let definite = first.at_derivation_index(0).map_err(|error| insane(&error))?;
        let derived = definite
            .derived_descriptor(&Secp256k1::verification_only())
            .map_err(|error| insane(&error))?;
        let Descriptor::Tr(tr) = derived else { return Err(insane(&"another kind of descriptor")) };
        let merkle_root = tr.spend_info().merkle_root().ok_or_else(|| insane(&"no leaf"))?;
        let internal_key = tr.internal_key().to_x_only_pubkey();
        Ok(Self { script_pubkey: tr.script_pubkey(), internal_key, merkle_root })
    }

    /// The address on `network`.
    pub fn address(&self, network: Network) -> Result<Address> {
        Address::from_script(&self.script_pubkey, network)
            .map_err(|error| SANE.broken("seal", "a Taproot script", error))
    }
}

/// The descriptor of a seal, both branches, without checksum: for wallets and backups.
pub fn descriptor(key: &KeyExpression, commitment: [u8; 32]) -> String {
    template::seal()
        .text()
        .replace("$commitment", &sha256::Hash::hash(&commitment).to_string())
        .replace("@holder.seal", &key.to_string())
        .replace("/**", "/<0;1>/*")
}

#[cfg(test)]
mod tests {
    use bitcoin::key::TapTweak;
    use bitcoin::opcodes::all::{OP_CHECKSIGVERIFY, OP_EQUAL, OP_EQUALVERIFY, OP_SHA256, OP_SIZE};
    use bitcoin::script::Builder;
    use bitcoin::taproot::LeafVersion;

    use super::*;

    // Public key of the BIP-32 test vector 1, chain m/0H, under an origin of ours.
    const KEY: &str = "[d34db33f/86h/0h/1h/0h]xpub68Gmy5EdvgibQVfPdqkBBCHxA5htiqg55crXYuXoQRKfDBFA1WEjWgP6LHhwBZeNK1VTsfTFUHCdrfp1bgwQ9xv5ski8PX9rL2dZXvgGDnw";

    fn key() -> KeyExpression {
        KEY.parse().unwrap()
    }

    #[test]
    fn a_seal_is_the_key_tweaked_by_a_leaf_that_shows_the_commitment() {
        let secp = Secp256k1::new();
        let seal = SealLock::new(&key(), [7; 32]).unwrap();
        let child = |steps: [u32; 2]| {
            let path = steps.map(|index| ChildNumber::Normal { index });
            key().xpub().derive_pub(&secp, &path).unwrap().to_x_only_pub()
        };
        // BIP 379: and_v(v:pk(K),sha256(H)).
        let leaf = Builder::new()
            .push_x_only_key(&child([2, 0]))
            .push_opcode(OP_CHECKSIGVERIFY)
            .push_opcode(OP_SIZE)
            .push_int(32)
            .push_opcode(OP_EQUALVERIFY)
            .push_opcode(OP_SHA256)
            .push_slice(sha256::Hash::hash(&[7; 32]).as_byte_array())
            .push_opcode(OP_EQUAL)
            .into_script();
        let root = TapNodeHash::from_script(&leaf, LeafVersion::TapScript);
        assert_eq!((seal.internal_key, seal.merkle_root), (child([0, 0]), root));
        let (output, _) = seal.internal_key.tap_tweak(&secp, Some(root));
        assert_eq!(seal.script_pubkey, ScriptBuf::new_p2tr_tweaked(output));
    }

    #[test]
    fn another_commitment_is_another_output_of_the_same_key() {
        let [one, other] = [[1; 32], [2; 32]].map(|c| SealLock::new(&key(), c).unwrap());
        assert_eq!(one.internal_key, other.internal_key);
        assert_ne!(one.script_pubkey, other.script_pubkey);
    }

    #[test]
    fn the_descriptor_has_two_branches_for_each_place_of_the_key() {
        let text = descriptor(&key(), [7; 32]);
        let hash = sha256::Hash::hash(&[7; 32]);
        let expected = format!("tr({KEY}/<0;1>/*,and_v(v:pk({KEY}/<2;3>/*),sha256({hash})))");
        assert_eq!(text, expected);
    }
}
