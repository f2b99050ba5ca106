//! A wallet proves that an address is its own: a BIP-322 signature by the address's key.

use bitcoin::base64::Engine;
use bitcoin::base64::prelude::BASE64_STANDARD;
use bitcoin::bip32::ChildNumber;
use bitcoin::{Address, Network, PrivateKey, consensus};

use super::{BUILD, Wallet};
use crate::error::Result;
use crate::message::PREFIX;

impl Wallet {
    /// The simple signature of `text` by `address`; `None` if the address is not this wallet's.
    pub fn prove(&self, address: &Address, text: &str) -> Result<Option<String>> {
        let Some((keychain, index)) = self.inner.derivation_of_spk(address.script_pubkey()) else {
            return Ok(None);
        };
        let faulty = |found: &dyn core::fmt::Display| {
            BUILD.broken("proof of an address", "a signature", found)
        };
        let network = self.network();
        // BIP 86: purpose, coin type, account 0; then branch and index.
        let hardened = |index| ChildNumber::Hardened { index };
        let normal = |index| ChildNumber::Normal { index };
        let coin = u32::from(network != Network::Bitcoin);
        let path = [
            hardened(86),
            hardened(coin),
            hardened(0),
            normal(u32::from(keychain == bdk_wallet::KeychainKind::Internal)),
            normal(index),
        ];
        let secp = self.inner.secp_ctx();
        let mut key = self.master.derive_priv(secp, &path).map_err(|error| faulty(&error))?;
        let to_spend = bip322::create_to_spend(address, text).map_err(|error| faulty(&error))?;
        let to_sign = bip322::create_to_sign(&to_spend, None, bip322::LockParams::default())
            .map_err(|error| faulty(&error))?;
        let mut secret = PrivateKey::new(key.private_key, network);
        key.private_key.non_secure_erase();
        // BIP 340 without auxiliary randomness, as the wallet's other signatures.
        let witness =
            bip322::create_message_signature_taproot(&to_sign, &secret, &to_spend.output, 0, None);
        secret.inner.non_secure_erase();
        let witness = witness.map_err(|error| faulty(&error))?;
        let encoded = BASE64_STANDARD.encode(consensus::serialize(&witness));
        Ok(Some(format!("{PREFIX}{encoded}")))
    }
}
