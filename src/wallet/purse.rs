//! Coins that pay in an exchange: reserved for it, and signed in it.
//!
//! Seals are not among them: their account is another one, and the wallet knows none of its scripts.

use bitcoin::bip32::{ChildNumber, Xpriv};
use bitcoin::key::TapTweak;
use bitcoin::secp256k1::{Message, schnorr};
use bitcoin::{Amount, NetworkKind, Script, ScriptBuf};

use super::{BUILD, FUNDS, KeychainKind, Wallet};
use crate::error::{Culprit, Result};
use crate::facts::Coin;

impl Wallet {
    /// Reserves confirmed, mature and unreserved coins, largest first, until they hold what `needed`
    /// says of them, and an address for the change. Nothing is stored: the caller commits
    /// [`Wallet::take_staged`] together with what he says of them.
    pub fn reserve(
        &mut self,
        needed: &dyn Fn(&[Coin]) -> Result<Amount>,
    ) -> Result<(Vec<Coin>, ScriptBuf)> {
        let tip = self.inner.latest_checkpoint().height();
        let mut free: Vec<Coin> = self.coins();
        free.retain(|coin| {
            coin.height.is_some()
                && coin.is_mature(tip)
                && !self.inner.is_outpoint_locked(coin.outpoint)
        });
        free.sort_by_key(|coin| (core::cmp::Reverse(coin.txout.value), coin.outpoint));
        let mut chosen: Vec<Coin> = Vec::new();
        let mut sum = Amount::ZERO;
        let mut rest = free.into_iter();
        loop {
            let need = needed(&chosen)?;
            if sum >= need && !chosen.is_empty() {
                break;
            }
            let Some(coin) = rest.next() else {
                return Err(FUNDS.refuses(
                    Culprit::Sender,
                    "payment in an exchange",
                    format_args!("{need} with the fee"),
                    format_args!("{sum} to spend"),
                ));
            };
            sum = crate::amount::sum([sum, coin.txout.value], "coins")?;
            chosen.push(coin);
        }
        for coin in &chosen {
            self.inner.lock_outpoint(coin.outpoint);
        }
        let change = self.inner.reveal_next_address(KeychainKind::Internal).address;
        Ok((chosen, change.script_pubkey()))
    }

    /// Gives back coins that were reserved for an exchange; staged like them.
    pub fn release_coins(&mut self, outpoints: impl IntoIterator<Item = bitcoin::OutPoint>) {
        for outpoint in outpoints {
            self.inner.unlock_outpoint(outpoint);
        }
    }

    /// Whether a coin is reserved.
    pub fn is_reserved(&self, outpoint: bitcoin::OutPoint) -> bool {
        self.inner.is_outpoint_locked(outpoint)
    }

    /// Whether a script is one of this wallet's addresses.
    pub fn is_ours(&self, script: &Script) -> bool {
        self.inner.is_mine(script.to_owned())
    }

    /// Signs the message of an input that spends a coin of ours, by its BIP-86 key. Who calls has built
    /// the transaction himself, and followed every seal through it.
    pub fn sign_coin(&self, script: &Script, sighash: [u8; 32]) -> Result<schnorr::Signature> {
        let place = "coin in an exchange";
        let Some((keychain, index)) = self.inner.derivation_of_spk(script.to_owned()) else {
            return Err(BUILD.refuses(Culprit::Sender, place, "a coin of this wallet", "another"));
        };
        let fault = |error: &dyn core::fmt::Display| BUILD.broken(place, "a key", error);
        let coin = u32::from(self.master.network == NetworkKind::Test);
        let branch = u32::from(keychain == KeychainKind::Internal);
        let hard = |index| ChildNumber::Hardened { index };
        let soft = |index| ChildNumber::Normal { index };
        // BIP 86.
        let path = [hard(86), hard(coin), hard(0), soft(branch), soft(index)];
        let secp = self.inner.secp_ctx();
        let mut key: Xpriv = self.master.derive_priv(secp, &path).map_err(|error| fault(&error))?;
        let mut keypair = key.to_keypair(secp).tap_tweak(secp, None).to_keypair();
        let signature = secp.sign_schnorr_no_aux_rand(&Message::from_digest(sighash), &keypair);
        key.private_key.non_secure_erase();
        keypair.non_secure_erase();
        Ok(signature)
    }
}
