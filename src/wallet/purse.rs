//! Coins that pay in an exchange: reserved for it, and signed in it.
//!
//! Seals are not among them: their account is another one, and the wallet knows none of its scripts.

use bitcoin::TapSighash;
use bitcoin::bip32::{ChildNumber, Xpriv};
use bitcoin::hashes::Hash;
use bitcoin::key::TapTweak;
use bitcoin::{Amount, NetworkKind, ScriptBuf, Witness};

use super::{BUILD, FUNDS, KeychainKind, Wallet};
use crate::error::{Culprit, Result};
use crate::facts::Coin;
use crate::tx::exchange::{Exchange, Way, signed};

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

    /// Signs one coin of ours in an exchange; the exchange follows its seal before it tells what.
    pub fn sign_coin(&self, exchange: &Exchange, input: usize) -> Result<Witness> {
        let place = format!("{}, input {input}", exchange.title());
        let part = exchange.parts().get(input).filter(|part| matches!(part.way, Way::Coin));
        let script = part.map(|part| part.prevout.script_pubkey.clone());
        let Some((keychain, index)) =
            script.and_then(|script| self.inner.derivation_of_spk(script))
        else {
            return Err(BUILD.refuses(Culprit::Sender, place, "a coin of this wallet", "another"));
        };
        let sighash = TapSighash::from_byte_array(exchange.sighash(input)?);
        let fault = |error: &dyn core::fmt::Display| BUILD.broken(&place, "a key", error);
        let coin = u32::from(self.master.network == NetworkKind::Test);
        let branch = u32::from(keychain == KeychainKind::Internal);
        let hard = |index| ChildNumber::Hardened { index };
        let soft = |index| ChildNumber::Normal { index };
        // BIP 86.
        let path = [hard(86), hard(coin), hard(0), soft(branch), soft(index)];
        let secp = self.inner.secp_ctx();
        let mut key: Xpriv = self.master.derive_priv(secp, &path).map_err(|error| fault(&error))?;
        let mut keypair = key.to_keypair(secp).tap_tweak(secp, None).to_keypair();
        let signature = secp.sign_schnorr_no_aux_rand(&sighash.into(), &keypair);
        key.private_key.non_secure_erase();
        keypair.non_secure_erase();
        Ok(signed(&signature))
    }
}
