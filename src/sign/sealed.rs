//! A seed at rest: its words, encrypted with a passphrase in the format of age (<https://age-encryption.org/v1>).
//!
//! The file is what `age --passphrase --armor` makes of a file of words, so any tool of that format
//! opens it, and it gives words that any wallet reads. It is armoured: text survives mail, paper and
//! the clipboard, and what it is stands in its first line. Binary files are read too.
//!
//! | in the file | what it is |
//! |---|---|
//! | recipient | one passphrase, stretched by scrypt with r = 8, p = 1, N = 2^18: 256 MiB, about a second |
//! | payload | the words with a space between two, and a line's end |
//!
//! N is a constant rather than measured: which computer made a file shall not decide how long it
//! stands against a thief. Reading takes at most N = 2^20, so that no file can take all memory.

use core::fmt;
use std::io::Read;

use age::armor::ArmoredReader;
use age::secrecy::SecretString;
use age::{DecryptError, Decryptor, scrypt};
use zeroize::Zeroizing;

use super::seed::Seed;
use crate::error::{Culprit, Error, Result, Rule};

/// An encrypted seed is a whole file of age.
pub const SEALED: Rule = Rule::new(
    "seed-sealed",
    "an encrypted seed is a file of age, whole and unchanged",
    "take another copy of the file, or restore the seed from its words on paper",
);
/// The passphrase is the one that the file was made with.
pub const PASSPHRASE: Rule = Rule::new(
    "seed-passphrase",
    "a seed opens with the passphrase that it was encrypted with",
    "type it again; a file with damage in its header looks the same",
);
/// A seed is encrypted with a passphrase, to no key.
pub const RECIPIENT: Rule = Rule::new(
    "seed-recipient",
    "a seed is encrypted with a passphrase and to nobody's key",
    "decrypt it with your age tool, then `hashmix seed restore`",
);
/// A file cannot take all our memory.
pub const STRETCH: Rule = Rule::new(
    "seed-stretch",
    "a passphrase is stretched by at most 2^20 rounds of scrypt (1 GiB)",
    "decrypt it with your age tool, then `hashmix seed restore`",
);
/// What a passphrase can be.
pub const FORM: Rule = Rule::new(
    "seed-passphrase-form",
    "a passphrase is one line of at most 1024 bytes, and a new one has 12 characters or more",
    "choose six random words, for example",
);

/// Fewest characters of a passphrase that is chosen anew.
const SHORTEST: usize = 12;
/// Most bytes of a passphrase.
pub const LONGEST_PASSPHRASE: usize = 1_024;
/// Longest file of a seed, encrypted or plain, in bytes: the words have at most 216.
pub const LONGEST: usize = 4_096;
/// Base-2 logarithm of scrypt's N when a person's seed is encrypted, as in the first age.
const STRETCHED: u8 = 18;
/// The largest one that is read.
const MOST_STRETCHED: u8 = 20;
/// How an armoured file begins, and a binary one.
const BEGINNINGS: [&[u8]; 2] = [b"-----BEGIN AGE ENCRYPTED FILE-----", b"age-encryption.org/"];

/// A passphrase: erased when dropped, prints as nothing, is never copied.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// The passphrase of a file that is there.
    pub fn known(text: Zeroizing<String>) -> Result<Self> {
        Self::of(text, 1)
    }

    /// The passphrase of a file that is to be made.
    pub fn chosen(text: Zeroizing<String>) -> Result<Self> {
        Self::of(text, SHORTEST)
    }

    fn of(text: Zeroizing<String>, shortest: usize) -> Result<Self> {
        // Neither the text nor its exact length is told.
        let found = match () {
            () if text.len() > LONGEST_PASSPHRASE => "more",
            () if text.chars().any(char::is_control) => "a control character",
            () if text.chars().count() < shortest => "fewer",
            () => return Ok(Self(text)),
        };
        let expected = format!(
            "one line of {shortest} characters or more, {LONGEST_PASSPHRASE} bytes or less"
        );
        Err(FORM.misused("passphrase", expected, found))
    }

    /// Whether both are the same text.
    pub fn same(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    fn secret(&self) -> SecretString {
        SecretString::from(self.0.as_str())
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// How much work each guess at a passphrase costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch(u8);

impl Stretch {
    /// What a person's seed gets.
    pub const FULL: Self = Self(STRETCHED);

    /// Next to none, so that rehearsals are quick; it protects nothing.
    #[cfg(any(test, feature = "regtest"))]
    pub const REHEARSED: Self = Self(2);
}

/// Whether a file claims to be encrypted by age; otherwise it may hold plain words.
pub fn is_sealed(file: &[u8]) -> bool {
    let file = file.trim_ascii_start();
    BEGINNINGS.iter().any(|beginning| file.starts_with(beginning))
}

/// The words of `seed`, encrypted: the text of a new file.
pub fn seal(seed: &Seed, passphrase: &Passphrase, stretch: Stretch) -> Result<String> {
    let words = seed.words()?;
    // Room for the line's end from the start: a buffer that grows leaves a copy behind.
    let mut line = Zeroizing::new(String::with_capacity(words.len().saturating_add(1)));
    line.push_str(&words);
    line.push('\n');
    let mut recipient = scrypt::Recipient::new(passphrase.secret());
    recipient.set_work_factor(stretch.0);
    age::encrypt_and_armor(&recipient, line.as_bytes())
        .map_err(|error| SEALED.broken("encryption of a seed", "a file of age", error))
}

/// The seed in an encrypted file.
pub fn open(file: &[u8], passphrase: &Passphrase) -> Result<Seed> {
    let words = plain(file, passphrase)?;
    // What is no text is not repeated in the refusal, as words are not.
    Seed::from_words(core::str::from_utf8(&words).unwrap_or_default(), "")
}

/// What an encrypted file holds, at most [`LONGEST`] bytes of it.
fn plain(file: &[u8], passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>> {
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(file)).map_err(refused)?;
    if !decryptor.is_scrypt() {
        return Err(RECIPIENT.misused("seed's file", "a passphrase", "the key of a recipient"));
    }
    let mut identity = scrypt::Identity::new(passphrase.secret());
    identity.set_max_work_factor(MOST_STRETCHED);
    let reader = decryptor.decrypt(core::iter::once(&identity as _)).map_err(refused)?;
    let mut words = Zeroizing::new(Vec::with_capacity(LONGEST));
    let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX);
    reader.take(limit).read_to_end(&mut words).map_err(|error| refused(error.into()))?;
    Ok(words)
}

/// Only kinds are told: an error of the format could repeat what it has read.
fn refused(error: DecryptError) -> Error {
    let place = "seed's file";
    match error {
        DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed => {
            PASSPHRASE.misused(place, "the right passphrase", "another one")
        }
        DecryptError::NoMatchingKeys => {
            RECIPIENT.misused(place, "a passphrase", "the key of a recipient")
        }
        DecryptError::ExcessiveWork { required, .. } => {
            let expected = format_args!("2^{MOST_STRETCHED} rounds or fewer").to_string();
            STRETCH.refuses(Culprit::Sender, place, expected, format_args!("2^{required}"))
        }
        DecryptError::InvalidHeader => damaged("a header that is none"),
        DecryptError::InvalidMac => damaged("a header that was changed"),
        DecryptError::UnknownFormat => damaged("another format"),
        DecryptError::Io(error) => damaged(error.kind()),
        _ => damaged("what this version does not know"),
    }
}

fn damaged(found: impl fmt::Display) -> Error {
    SEALED.refuses(Culprit::Sender, "seed's file", "a file of age", found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mnemonic of BIP-86's vectors.
    const ABOUT: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                         abandon abandon about";

    fn phrase(text: &str) -> Passphrase {
        Passphrase::known(Zeroizing::new(text.to_owned())).unwrap()
    }

    fn sealed() -> String {
        let seed = Seed::from_words(ABOUT, "").unwrap();
        seal(&seed, &phrase("correct horse"), Stretch::REHEARSED).unwrap()
    }

    #[test]
    fn a_seed_comes_back_with_its_passphrase_and_with_no_other() {
        let file = sealed();
        assert!(is_sealed(file.as_bytes()));
        assert!(file.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"), "{file}");
        let again = open(file.as_bytes(), &phrase("correct horse")).unwrap();
        assert_eq!(again.words().unwrap().as_str(), ABOUT);
        for wrong in ["correct horse ", "Correct horse", "x"] {
            let refused = open(file.as_bytes(), &phrase(wrong)).unwrap_err();
            assert_eq!((refused.rule(), refused.exit_code()), ("seed-passphrase", 2));
        }
    }

    #[test]
    fn two_files_of_one_seed_have_nothing_in_common_but_their_frame() {
        let (one, other) = (sealed(), sealed());
        assert_ne!(one, other);
        // The second line begins with the version, which all share; the salt follows it.
        let last = |file: &str| file.lines().rev().nth(1).map(str::to_owned);
        assert_ne!(last(&one), last(&other));
    }

    #[test]
    fn a_person_gets_the_full_stretch() {
        let seed = Seed::from_words(ABOUT, "").unwrap();
        let file = seal(&seed, &phrase("correct horse"), Stretch::FULL).unwrap();
        let mut header = String::new();
        let mut reader = std::io::BufReader::new(ArmoredReader::new(file.as_bytes()));
        for _ in 0..2 {
            std::io::BufRead::read_line(&mut reader, &mut header).unwrap();
        }
        let stanza: Vec<&str> = header.lines().nth(1).unwrap().split(' ').collect();
        assert_eq!((stanza[1], stanza[3]), ("scrypt", "18"), "{header}");
    }

    #[test]
    fn a_file_that_was_changed_or_cut_anywhere_is_refused_by_name() {
        let file = sealed();
        let known = ["seed-sealed", "seed-passphrase", "seed-stretch", "seed-recipient"];
        let mut seen = std::collections::BTreeSet::new();
        for place in 0..file.len() {
            let mut changed = file.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let refused = open(&changed, &phrase("correct horse")).unwrap_err();
            assert!(known.contains(&refused.rule()), "byte {place}: {refused}");
            assert_eq!(refused.to_string().lines().count(), 1);
            seen.insert(refused.rule());
            // What is cut is only the last line's end, which says nothing.
            if place + 1 < file.len() {
                let refused = open(&file.as_bytes()[..place], &phrase("correct horse"));
                assert_eq!(refused.unwrap_err().rule(), "seed-sealed", "cut to {place}");
            }
        }
        assert!(seen.contains("seed-sealed") && seen.contains("seed-passphrase"), "{seen:?}");
    }

    #[test]
    fn a_file_for_a_key_is_told_apart_from_a_wrong_passphrase() {
        let key = age::x25519::Identity::generate().to_public();
        let file = age::encrypt(&key, ABOUT.as_bytes()).unwrap();
        assert!(is_sealed(&file), "binary files are known too");
        let refused = open(&file, &phrase("correct horse")).unwrap_err();
        assert_eq!(refused.rule(), "seed-recipient");
    }

    #[test]
    fn a_binary_file_is_read_too_and_words_in_it_are_words() {
        let encrypt = |text: &[u8]| {
            let mut recipient = scrypt::Recipient::new(phrase("correct horse").secret());
            recipient.set_work_factor(2);
            age::encrypt(&recipient, text).unwrap()
        };
        let seed = open(&encrypt(ABOUT.as_bytes()), &phrase("correct horse")).unwrap();
        assert_eq!(seed.fingerprint().unwrap().to_string(), "73c5da0a");
        for other in [b"canary canary".as_slice(), b"", &[0xff; 9], &[b'a'; 100_000]] {
            let refused = open(&encrypt(other), &phrase("correct horse")).unwrap_err();
            assert_eq!(refused.rule(), "seed-words");
            assert!(!refused.to_string().contains("canary"));
        }
    }

    #[test]
    fn a_file_that_asks_for_too_much_memory_is_refused_before_any_is_taken() {
        let (salt, [body, mac]) = ("A".repeat(22), [0, 1].map(|_| "A".repeat(43)));
        let file = format!(
            "age-encryption.org/v1\n-> scrypt {salt} 21\n{body}\n--- {mac}\n0123456789abcdef"
        );
        let refused = open(file.as_bytes(), &phrase("correct horse")).unwrap_err();
        assert_eq!((refused.rule(), refused.exit_code()), ("seed-stretch", 3));
    }

    #[test]
    fn a_new_passphrase_has_twelve_characters_on_one_line() {
        let chosen = |text: &str| Passphrase::chosen(Zeroizing::new(text.to_owned()));
        assert!(chosen("zwölf lange ").is_ok());
        let long = "a".repeat(LONGEST_PASSPHRASE);
        assert!(chosen(&long).is_ok());
        for wrong in ["", "canarycanar", "canary canary\n", "canary\tcanary", &(long + "a")] {
            let refused = chosen(wrong).unwrap_err();
            assert_eq!(refused.rule(), "seed-passphrase-form");
            assert!(!refused.to_string().contains("canary"), "{refused}");
        }
        assert!(Passphrase::known(Zeroizing::new(String::new())).is_err());
    }

    #[test]
    fn a_passphrase_is_never_printed() {
        assert_eq!(
            format!("{:?} {:#?}", phrase("canary"), phrase("canary")),
            "Passphrase(..) Passphrase(..)"
        );
    }
}
