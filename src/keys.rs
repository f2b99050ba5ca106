//! Key expressions as records carry them: a fingerprint, a hardened path and the account's xpub.
//!
//! A record never shows more than an account, and each account is used for one record only, so
//! comparing the whole expression compares the person. Fingerprints are hints, never authority.

use core::fmt;
use core::str::FromStr;

use bitcoin::bip32::{ChildNumber, DerivationPath, Fingerprint, Xpub};
use bitcoin::secp256k1::PublicKey;
use bitcoin::{Network, NetworkKind};
use serde::{Deserialize, Serialize};

use crate::error::{Culprit, Error, Result, Rule};

/// A key expression names its origin.
pub const EXPRESSION: Rule = Rule::new(
    "keys-expression",
    "a key expression reads [fingerprint/path]xpub without anything behind it",
    "export the account key with its origin",
);
/// A key expression is of the contract's network.
pub const NETWORK: Rule = Rule::new(
    "keys-network",
    "a key is of the contract's own network",
    "make a record for this network",
);
/// An account is hardened to its last step.
pub const HARDENED: Rule = Rule::new(
    "keys-hardened",
    "every step from the seed to an account is hardened",
    "derive the account by a path such as 87h/0h/0h",
);

/// An account key with its origin: `[fingerprint/87h/0h/0h]xpub…` (BIP 380).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyExpression {
    fingerprint: Fingerprint,
    path: DerivationPath,
    xpub: Xpub,
}

impl KeyExpression {
    /// An account key with the fingerprint of its seed and its hardened path.
    pub fn new(fingerprint: Fingerprint, path: DerivationPath, xpub: Xpub) -> Result<Self> {
        let soft = |step: &ChildNumber| !step.is_hardened();
        if path.as_ref().is_empty() || path.as_ref().iter().any(soft) {
            return Err(HARDENED.refuses(Culprit::Sender, xpub, "hardened steps", path));
        }
        Ok(Self { fingerprint, path, xpub })
    }

    /// The account's extended public key.
    pub fn xpub(&self) -> &Xpub {
        &self.xpub
    }

    /// The account's own public key: what MuSig2 aggregates (BIP 328).
    pub fn public_key(&self) -> PublicKey {
        self.xpub.public_key
    }

    /// Where the account comes from: the seed's fingerprint and the path to the account.
    pub fn origin(&self) -> (Fingerprint, &DerivationPath) {
        (self.fingerprint, &self.path)
    }

    /// Refuses a key of another network. Testnets and regtest share one kind of key.
    pub fn check_network(&self, network: Network, place: impl fmt::Display) -> Result<()> {
        if self.xpub.network == NetworkKind::from(network) {
            return Ok(());
        }
        let name = |main| if main { "a mainnet key (xpub)" } else { "a test network key (tpub)" };
        let wanted = NetworkKind::from(network) == NetworkKind::Main;
        Err(NETWORK.refuses(Culprit::Sender, place, name(wanted), name(!wanted)))
    }
}

impl fmt::Display for KeyExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}", self.fingerprint)?;
        for step in &self.path {
            match step {
                ChildNumber::Hardened { index } => write!(f, "/{index}h")?,
                ChildNumber::Normal { index } => write!(f, "/{index}")?,
            }
        }
        write!(f, "]{}", self.xpub)
    }
}

impl FromStr for KeyExpression {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse =
            || EXPRESSION.refuses(Culprit::Sender, "key expression", "[f/87h/0h/0h]xpub…", text);
        let (origin, xpub) =
            text.strip_prefix('[').and_then(|t| t.split_once(']')).ok_or_else(refuse)?;
        let (fingerprint, path) = origin.split_once('/').ok_or_else(refuse)?;
        Self::new(
            fingerprint.parse().map_err(|_| refuse())?,
            path.parse().map_err(|_| refuse())?,
            xpub.parse().map_err(|_| refuse())?,
        )
    }
}

impl TryFrom<String> for KeyExpression {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<KeyExpression> for String {
    fn from(key: KeyExpression) -> Self {
        key.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Public key of the BIP-32 test vector 1, chain m/0H, under an origin of ours.
    const XPUB: &str = "xpub68Gmy5EdvgibQVfPdqkBBCHxA5htiqg55crXYuXoQRKfDBFA1WEjWgP6LHhwBZeNK1VTsfTFUHCdrfp1bgwQ9xv5ski8PX9rL2dZXvgGDnw";

    #[test]
    fn an_expression_survives_its_text() {
        let text = format!("[d34db33f/87h/0h/3h]{XPUB}");
        assert_eq!(text.parse::<KeyExpression>().unwrap().to_string(), text);
        let ticks = format!("[d34db33f/87'/0'/3']{XPUB}");
        assert_eq!(ticks.parse::<KeyExpression>().unwrap().to_string(), text);
    }

    #[test]
    fn an_expression_without_origin_or_with_a_tail_is_refused() {
        for text in [XPUB.to_string(), format!("[d34db33f/87h]{XPUB}/0/*"), format!("[/1h]{XPUB}")]
        {
            assert_eq!(text.parse::<KeyExpression>().unwrap_err().rule(), "keys-expression");
        }
    }

    #[test]
    fn an_account_with_a_soft_step_is_refused() {
        let text = format!("[d34db33f/87h/0]{XPUB}");
        assert_eq!(text.parse::<KeyExpression>().unwrap_err().rule(), "keys-hardened");
    }

    #[test]
    fn a_key_of_another_network_is_refused_by_name() {
        let key: KeyExpression = format!("[d34db33f/87h/0h/3h]{XPUB}").parse().unwrap();
        assert!(key.check_network(Network::Bitcoin, "record").is_ok());
        let refused = key.check_network(Network::Regtest, "record").unwrap_err();
        assert_eq!(refused.rule(), "keys-network");
        assert!(refused.to_string().contains("mainnet key"), "{refused}");
    }
}
