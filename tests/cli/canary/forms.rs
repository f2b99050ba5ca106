//! A secret in every form in which it could get out, and where one of them is found.

use std::collections::HashMap;

use bitcoin::base64::Engine;
use bitcoin::base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use bitcoin::bip32::{DerivationPath, Xpriv};
use bitcoin::hex::DisplayHex;
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use bitcoin::{Network, NetworkKind, PrivateKey, base58};
use hashmix::sign::seed::{Account, Seed};

/// Bytes of the beginning by which a form is looked up.
const KEY: usize = 8;

/// Every form of some secrets.
#[derive(Default)]
pub struct Forms {
    /// What each is, and its bytes.
    pub all: Vec<(String, Vec<u8>)>,
    beginnings: HashMap<[u8; KEY], Vec<usize>>,
}

impl Forms {
    /// A text as it stands, in hex and in Base64.
    pub fn text(&mut self, name: &str, text: &str) {
        self.bytes(name, text.as_bytes());
    }

    /// Bytes as they stand, reversed, as hex, Base64, base58 and numbers.
    pub fn bytes(&mut self, name: &str, bytes: &[u8]) {
        let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
        for (order, bytes) in [("", bytes), (" reversed", &reversed)] {
            self.add(format!("{name}{order}"), bytes);
            self.add(format!("{name}{order}, hex"), bytes.to_lower_hex_string().as_bytes());
            self.add(format!("{name}{order}, HEX"), bytes.to_upper_hex_string().as_bytes());
            self.add(format!("{name}{order}, base58"), base58::encode(bytes).as_bytes());
            self.add(
                format!("{name}{order}, base58 check"),
                base58::encode_check(bytes).as_bytes(),
            );
            let numbers = format!("{bytes:?}");
            self.add(
                format!("{name}{order}, numbers"),
                numbers.trim_matches(['[', ']']).as_bytes(),
            );
        }
        // Three alignments within a longer text in Base64; characters that share bits with what
        // stands before or behind are left out.
        for ahead in 0..3 {
            let padded = [&vec![0; ahead], bytes].concat();
            let encoded = BASE64_STANDARD_NO_PAD.encode(padded);
            let own = &encoded[(ahead * 8).div_ceil(6)..encoded.len() - 1];
            self.add(format!("{name}, base64 behind {ahead}"), own.as_bytes());
        }
        self.add(format!("{name}, base64"), BASE64_STANDARD.encode(bytes).as_bytes());
    }

    /// Everything that leads to the coins and words of a person.
    pub fn person(&mut self, name: &str, seed: &Seed) {
        let words = seed.words().unwrap();
        let words: Vec<&str> = words.split(' ').collect();
        for (place, four) in words.windows(4).enumerate() {
            for between in [" ", "\n", ",", ", ", "\", \""] {
                self.add(format!("{name}: words {place}"), four.join(between).as_bytes());
            }
        }
        let mnemonic = bip39(&words);
        self.bytes(&format!("{name}: entropy"), &mnemonic.0);
        self.bytes(&format!("{name}: seed"), &mnemonic.1);
        for network in [Network::Bitcoin, Network::Regtest] {
            let master = seed.master(network.into()).unwrap();
            let record = seed.record(network, 0).unwrap();
            let funds = seed.funds(network).unwrap();
            let accounts: [(&str, &Account); 5] = [
                ("master", &master),
                ("funds", &funds),
                ("musig", &record.musig),
                ("leaf", &record.leaf),
                ("exit", &record.exit),
            ];
            for (account, keys) in accounts {
                self.account(&format!("{name}: {network} {account}"), keys.xpriv());
            }
            let key = record.communication().secret_key();
            self.key(&format!("{name}: {network} communication"), &key, network.into());
        }
    }

    fn account(&mut self, name: &str, account: &Xpriv) {
        self.add(format!("{name} xprv"), account.to_string().as_bytes());
        for path in ["m", "m/0", "m/1", "m/0/0", "m/0/1", "m/1/0", "m/6/0"] {
            let path: DerivationPath = path.parse().unwrap();
            let child = account.derive_priv(&Secp256k1::new(), &path).unwrap();
            self.add(format!("{name} {path} xprv"), child.to_string().as_bytes());
            self.key(&format!("{name} {path}"), &child.private_key, account.network);
        }
    }

    fn key(&mut self, name: &str, key: &SecretKey, network: NetworkKind) {
        self.bytes(name, &key.secret_bytes());
        let wif = PrivateKey::new(*key, network).to_wif();
        self.add(format!("{name} WIF"), wif.as_bytes());
    }

    fn add(&mut self, name: String, form: &[u8]) {
        let beginning = form.get(..KEY).unwrap_or_else(|| panic!("{name} is too short to find"));
        let places = self.beginnings.entry(beginning.try_into().unwrap()).or_default();
        places.push(self.all.len());
        self.all.push((name, form.to_vec()));
    }

    /// The names of the forms that stand in `text`.
    pub fn found_in(&self, text: &[u8]) -> Vec<&str> {
        let mut found = Vec::new();
        for (place, window) in text.windows(KEY).enumerate() {
            let candidates = self.beginnings.get::<[u8; KEY]>(window.try_into().unwrap());
            for (name, form) in candidates.into_iter().flatten().map(|at| &self.all[*at]) {
                if text[place..].starts_with(form) {
                    found.push(name.as_str());
                }
            }
        }
        found
    }
}

/// Entropy and seed of words, computed by the standard's own steps.
fn bip39(words: &[&str]) -> (Vec<u8>, Vec<u8>) {
    use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha512};
    let list = bip39_list();
    let mut bits = Vec::new();
    for word in words {
        let place = list.iter().position(|other| other == word).unwrap();
        bits.extend((0..11).rev().map(|bit| place >> bit & 1 == 1));
    }
    bits.truncate(words.len() * 32 / 3);
    let byte = |bits: &[bool]| bits.iter().fold(0, |byte: u8, bit| byte << 1 | u8::from(*bit));
    let entropy = bits.chunks(8).map(byte).collect();
    let hmac = |message: &[u8]| {
        let mut engine = HmacEngine::<sha512::Hash>::new(words.join(" ").as_bytes());
        engine.input(message);
        Hmac::from_engine(engine).to_byte_array()
    };
    // PBKDF2 with 2048 rounds; the salt is "mnemonic", then the number of the only block.
    let mut round = hmac(b"mnemonic\0\0\0\x01");
    let mut seed = round;
    for _ in 1..2048 {
        round = hmac(&round);
        seed.iter_mut().zip(round).for_each(|(byte, other)| *byte ^= other);
    }
    (entropy, seed.to_vec())
}

fn bip39_list() -> &'static [&'static str; 2048] {
    ::bip39::Language::English.word_list()
}
