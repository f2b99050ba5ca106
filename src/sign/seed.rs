//! The seed, and every key that comes of it (BIP-39, BIP-32).
//!
//! | path | what for |
//! |---|---|
//! | `m/86h/ch/0h` | funds: the wallet's account (BIP-86) |
//! | `m/86h/ch/1h/ih` | record i: its seal, below an account of its own, which coin selection never sees |
//! | `m/87h/ch/(3i)h` | record i: MuSig2 key |
//! | `m/87h/ch/(3i+1)h` | record i: leaves |
//! | `m/87h/ch/(3i+2)h` | record i: solitary exits |
//! | `m/18509h/ch/ih` | record i: messages, receipts and rulings (18509 = 0x484d, "HM") |
//!
//! c is 0 on mainnet and 1 elsewhere. Every record has accounts of its own and every step is
//! hardened: descriptors show account xpubs, and beside an xpub one leaked child would give the
//! account away, so what signs in one pass, what signs in rounds and what waits in a safe never
//! share one.
//!
//! Secrets are erased when dropped, as far as a library can, and print as nothing.

use core::fmt;

use bip39::{Language, Mnemonic};
use bitcoin::bip32::{ChildNumber, DerivationPath, Fingerprint, Xpriv, Xpub};
use bitcoin::secp256k1::{Keypair, Secp256k1, XOnlyPublicKey};
use bitcoin::{Network, NetworkKind};
use zeroize::Zeroizing;

use super::random;
use crate::error::{Culprit, Error, Result, Rule};

/// The words are 12 to 24 of BIP-39's English list, the last with their checksum.
pub const WORDS: Rule = Rule::new(
    "seed-words",
    "a seed is 12, 15, 18, 21 or 24 English words of BIP-39 with a right checksum",
    "compare with what you wrote down; no word is shown here",
);
/// Three accounts a record, below 2^31.
pub const RECORD: Rule = Rule::new(
    "seed-record",
    "records are numbered from 0 to 715827881",
    "use the next free number",
);
/// A derivation that fails has never been seen.
pub const DERIVES: Rule = Rule::new(
    "seed-derives",
    "every path of a seed leads to a key",
    "report this: it cannot happen by chance",
);

/// 24 words of at most 8 letters, a space behind each.
const LONGEST_WORDS: usize = 216;
/// Purpose of the accounts for records (BIP-87: descriptors with several keys).
const RECORDS: u32 = 87;
/// Purpose of the wallet's accounts (BIP-86: Taproot, one key).
const WALLET: u32 = 86;
/// Purpose of the communication keys, our own: 0x484d, "HM".
const MESSAGES: u32 = 18509;

/// A BIP-39 seed and the entropy of its words. It cannot be copied:
///
/// ```compile_fail,E0599
/// let seed = hashmix::sign::seed::Seed::fresh()?;
/// let copy = seed.clone();
/// # Ok::<(), hashmix::error::Error>(())
/// ```
pub struct Seed {
    entropy: Zeroizing<Vec<u8>>,
    seed: Zeroizing<[u8; 64]>,
}

impl Seed {
    /// A fresh seed of 24 words, without a passphrase.
    pub fn fresh() -> Result<Self> {
        Self::from_entropy(random()?.as_slice(), "")
    }

    /// The seed of English words and a passphrase, which may be empty.
    pub fn from_words(words: &str, passphrase: &str) -> Result<Self> {
        let mnemonic = Mnemonic::parse_in(Language::English, words).map_err(refused)?;
        Ok(Self::of(&mnemonic, passphrase))
    }

    /// The seed of 16 to 32 bytes of entropy, a multiple of four, and a passphrase.
    pub fn from_entropy(entropy: &[u8], passphrase: &str) -> Result<Self> {
        let mnemonic = Mnemonic::from_entropy_in(Language::English, entropy).map_err(refused)?;
        Ok(Self::of(&mnemonic, passphrase))
    }

    fn of(mnemonic: &Mnemonic, passphrase: &str) -> Self {
        Self {
            entropy: Zeroizing::new(mnemonic.to_entropy()),
            seed: Zeroizing::new(mnemonic.to_seed(passphrase)),
        }
    }

    /// The words to write down. With them, and the passphrase if there is one, everything is
    /// found again.
    pub fn words(&self) -> Result<Zeroizing<String>> {
        let mnemonic =
            Mnemonic::from_entropy_in(Language::English, &self.entropy).map_err(refused)?;
        // Room from the start: a text that grows leaves copies behind.
        let mut words = Zeroizing::new(String::with_capacity(LONGEST_WORDS));
        for word in mnemonic.words() {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(word);
        }
        Ok(words)
    }

    /// Fingerprint of the master key, as it stands in key origins.
    pub fn fingerprint(&self) -> Result<Fingerprint> {
        let master = self.master(NetworkKind::Main)?;
        Ok(master.fingerprint)
    }

    /// The account of the wallet's funds.
    pub fn funds(&self, network: Network) -> Result<Account> {
        self.account(network, WALLET, &[0])
    }

    /// The key of the seal that record `index` takes. Each record has its own: one key for all seals
    /// would tell everybody which positions are one person's.
    pub fn seal(&self, network: Network, index: u32) -> Result<Account> {
        self.account(network, WALLET, &[1, index])
    }

    /// All keys of record `index`; an index is never used for two contracts.
    pub fn record(&self, network: Network, index: u32) -> Result<RecordSecrets> {
        let place = |offset: u32| {
            index.checked_mul(3).and_then(|first| first.checked_add(offset)).ok_or_else(|| {
                RECORD.refuses(Culprit::Sender, "number of a record", "0 to 715827881", index)
            })
        };
        let message_key = self.account(network, MESSAGES, &[index])?;
        Ok(RecordSecrets {
            musig: self.account(network, RECORDS, &[place(0)?])?,
            leaf: self.account(network, RECORDS, &[place(1)?])?,
            exit: self.account(network, RECORDS, &[place(2)?])?,
            seal: self.seal(network, index)?,
            communication: message_key.xpriv.to_keypair(&Secp256k1::new()),
        })
    }

    /// The root of all accounts: what a BIP-86 wallet starts from.
    pub fn master(&self, network: NetworkKind) -> Result<Account> {
        let xpriv = Xpriv::new_master(network, self.seed.as_slice()).map_err(fails)?;
        let fingerprint = xpriv.fingerprint(&Secp256k1::new());
        Ok(Account { xpriv, fingerprint, path: DerivationPath::master() })
    }

    fn account(&self, network: Network, purpose: u32, below: &[u32]) -> Result<Account> {
        let coin = u32::from(network != Network::Bitcoin);
        let step = |index| {
            ChildNumber::from_hardened_idx(index).map_err(|_| {
                RECORD.refuses(Culprit::Sender, "number of an account", "below 2^31", index)
            })
        };
        let steps = [purpose, coin].into_iter().chain(below.iter().copied());
        let path = DerivationPath::from(steps.map(step).collect::<Result<Vec<_>>>()?);
        let master = self.master(network.into())?;
        let xpriv = master.xpriv.derive_priv(&Secp256k1::new(), &path).map_err(fails)?;
        Ok(Account { xpriv, fingerprint: master.fingerprint, path })
    }
}

fn refused(e: bip39::Error) -> Error {
    WORDS.refuses(Culprit::Sender, "words of a seed", "a mnemonic", e)
}

fn fails(e: bitcoin::bip32::Error) -> Error {
    DERIVES.broken("derivation from a seed", "a key", e)
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// An account: an extended private key with its origin. Prints as its public half.
pub struct Account {
    xpriv: Xpriv,
    fingerprint: Fingerprint,
    path: DerivationPath,
}

impl Account {
    /// The extended private key, secret.
    pub fn xpriv(&self) -> &Xpriv {
        &self.xpriv
    }

    /// The extended public key.
    pub fn xpub(&self) -> Xpub {
        Xpub::from_priv(&Secp256k1::new(), &self.xpriv)
    }

    /// Fingerprint of the master key and path from it.
    pub fn origin(&self) -> (Fingerprint, &DerivationPath) {
        (self.fingerprint, &self.path)
    }

    /// The key expression for a descriptor: `[fingerprint/87h/1h/0h]tpub...` (BIP-380).
    pub fn expression(&self) -> String {
        format!("{}{}", self.origin_text(), self.xpub())
    }

    /// The key expression with the private key, for a wallet that signs; secret.
    pub fn secret_expression(&self) -> Zeroizing<String> {
        let xpriv = Zeroizing::new(self.xpriv.to_string());
        Zeroizing::new(format!("{}{}", self.origin_text(), xpriv.as_str()))
    }

    fn origin_text(&self) -> String {
        // `h` instead of an apostrophe: it needs no quoting in a shell.
        format!("[{}/{}]", self.fingerprint, self.path).replace('\'', "h")
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({})", self.expression())
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.xpriv.private_key.non_secure_erase();
        self.xpriv.chain_code = [0; 32].into();
    }
}

/// The secrets of one record. Prints as its public half.
pub struct RecordSecrets {
    /// Signs in rounds, with the other party.
    pub musig: Account,
    /// Signs leaves, in one pass.
    pub leaf: Account,
    /// Signs alone, when nobody else is left.
    pub exit: Account,
    /// Holds a position's seal.
    pub seal: Account,
    communication: Keypair,
}

/// What a record shows to others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecordKeys {
    /// Key expression of the MuSig2 account.
    pub musig: String,
    /// Key expression of the account for leaves.
    pub leaf: String,
    /// Key expression of the account for solitary exits.
    pub exit: String,
    /// Key expression of the seal's key.
    pub seal: String,
    /// Signs messages, receipts and, for a validator, rulings (BIP-340).
    pub communication: XOnlyPublicKey,
}

impl RecordSecrets {
    /// The public half.
    pub fn public(&self) -> RecordKeys {
        RecordKeys {
            musig: self.musig.expression(),
            leaf: self.leaf.expression(),
            exit: self.exit.expression(),
            seal: self.seal.expression(),
            communication: self.communication.x_only_public_key().0,
        }
    }

    /// The key for messages, receipts and rulings, secret.
    pub fn communication(&self) -> &Keypair {
        &self.communication
    }
}

impl fmt::Debug for RecordSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordSecrets({:?})", self.public())
    }
}

impl Drop for RecordSecrets {
    fn drop(&mut self) {
        self.communication.non_secure_erase();
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::bip32::Xpub;
    use bitcoin::hex::DisplayHex;

    use super::*;

    /// The mnemonic of BIP-86's vectors.
    const ABOUT: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                         abandon abandon about";

    fn about() -> Seed {
        Seed::from_words(ABOUT, "").unwrap()
    }

    #[test]
    fn the_accounts_for_funds_are_those_of_bip_86() {
        // BIP-86, account 0 of this mnemonic.
        let funds = about().funds(Network::Bitcoin).unwrap();
        assert_eq!(
            funds.expression(),
            "[73c5da0a/86h/0h/0h]xpub6BgBgsespWvERF3LHQu6CnqdvfEvtMcQjYrcRzx53QJjSxarj2afYWcLteoGVk\
             y7D3UKDP9QyrLprQ3VCECoY49yfdDEHGCtMMj92pReUsQ"
        );
        assert!(funds.secret_expression().starts_with("[73c5da0a/86h/0h/0h]xprv"));
        assert_eq!(about().fingerprint().unwrap().to_string(), "73c5da0a");
        let seal = about().seal(Network::Regtest, 7).unwrap();
        assert!(seal.expression().starts_with("[73c5da0a/86h/1h/1h/7h]tpub"));
    }

    #[test]
    fn each_record_has_five_keys_that_no_other_record_has() {
        let seed = about();
        let mut seen = std::collections::BTreeSet::new();
        for index in 0..5 {
            let keys = seed.record(Network::Regtest, index).unwrap().public();
            for (expression, place) in [(&keys.musig, 0), (&keys.leaf, 1), (&keys.exit, 2)] {
                let origin = format!("[73c5da0a/87h/1h/{}h]", 3 * index + place);
                let xpub = expression.strip_prefix(&origin).unwrap();
                seen.insert(xpub.parse::<Xpub>().unwrap().to_x_only_pub());
            }
            let seal = keys.seal.strip_prefix(&format!("[73c5da0a/86h/1h/1h/{index}h]")).unwrap();
            seen.insert(seal.parse::<Xpub>().unwrap().to_x_only_pub());
            seen.insert(keys.communication);
        }
        assert_eq!(seen.len(), 25);
    }

    #[test]
    fn a_record_is_the_same_each_time_and_another_on_mainnet() {
        let seed = about();
        let one = seed.record(Network::Regtest, 3).unwrap().public();
        assert_eq!(seed.record(Network::Regtest, 3).unwrap().public(), one);
        let main = seed.record(Network::Bitcoin, 3).unwrap().public();
        assert!(main.musig.starts_with("[73c5da0a/87h/0h/9h]xpub"), "{}", main.musig);
        assert_ne!(main.communication, one.communication);
        let other = Seed::from_words(ABOUT, "passphrase").unwrap();
        assert_ne!(other.record(Network::Regtest, 3).unwrap().public(), one);
    }

    #[test]
    fn the_communication_key_lies_on_its_own_purpose() {
        let seed = about();
        let secp = Secp256k1::new();
        let master = Xpriv::new_master(NetworkKind::Test, seed.seed.as_slice()).unwrap();
        let path: DerivationPath = "m/18509h/1h/2h".parse().unwrap();
        let expected = master.derive_priv(&secp, &path).unwrap().to_keypair(&secp);
        let record = seed.record(Network::Regtest, 2).unwrap();
        assert_eq!(*record.communication(), expected);
    }

    #[test]
    fn a_record_beyond_the_last_account_is_refused() {
        let seed = about();
        assert!(seed.record(Network::Regtest, 715_827_881).is_ok());
        for index in [715_827_882, 1 << 31, u32::MAX] {
            let refused = seed.record(Network::Regtest, index).unwrap_err();
            assert_eq!(refused.rule(), "seed-record");
        }
    }

    #[test]
    fn fresh_seeds_differ_and_come_back_from_their_words() {
        let (one, other) = (Seed::fresh().unwrap(), Seed::fresh().unwrap());
        assert_ne!(*one.words().unwrap(), *other.words().unwrap());
        assert_eq!(one.words().unwrap().split(' ').count(), 24);
        let again = Seed::from_words(&one.words().unwrap(), "").unwrap();
        assert_eq!(*again.seed, *one.seed);
    }

    #[test]
    fn wrong_words_are_refused_without_repeating_them() {
        let checksum = ABOUT.replace("about", "abandon");
        let unknown = ABOUT.replace("about", "canary123");
        for words in [checksum.as_str(), unknown.as_str(), "", "abandon", &ABOUT[8..]] {
            let refused = Seed::from_words(words, "").unwrap_err();
            assert_eq!(refused.rule(), "seed-words");
            let shown = format!("{refused} {refused:?}");
            assert!(!shown.contains("canary123") && !shown.contains("abandon"), "{shown}");
        }
        assert_eq!(Seed::from_entropy(&[0; 15], "").unwrap_err().rule(), "seed-words");
    }

    #[test]
    fn nothing_secret_is_printed() {
        let seed = about();
        let record = seed.record(Network::Regtest, 0).unwrap();
        let accounts = [&record.musig, &record.leaf, &record.exit, &record.seal];
        let shown = format!("{seed:?} {seed:#?} {record:?} {record:#?} {:?}", record.musig);
        assert!(shown.contains("tpub") && shown.contains("Seed(..)"), "{shown}");
        let mut secrets = vec!["about".to_owned(), seed.seed.as_hex().to_string()];
        for account in accounts {
            secrets.push(account.xpriv().to_string());
            secrets.push(account.xpriv().private_key.display_secret().to_string());
            secrets.push("tprv".to_owned());
        }
        secrets.push(record.communication().display_secret().to_string());
        for secret in secrets {
            assert!(!shown.contains(&secret), "a secret of {} characters", secret.len());
        }
    }
}
