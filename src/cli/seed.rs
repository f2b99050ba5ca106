//! `hashmix seed`: the words that all keys come from, in an encrypted file.
//!
//! | command | does |
//! |---|---|
//! | `seed new` | makes fresh words and encrypts them into a new file |
//! | `seed words` | shows them once, to be written on paper |
//! | `seed restore` | encrypts the words from paper into a new file |
//! | `seed passphrase` | encrypts the seed of a file, encrypted or plain, into a new one |
//!
//! Words and passphrases are neither arguments nor output: arguments show in the list of processes,
//! output in a terminal's history and in whatever reads a pipe. They come from a terminal, a file of
//! its owner's alone or standard input ([`secret`]), and words go to a terminal alone, on a screen
//! that leaves nothing behind ([`terminal`]).
//!
//! No command writes over a seed. A change of passphrase makes another file: whoever mistypes, or
//! whose disk fails at the wrong moment, still has the old one.

use std::path::Path;

use zeroize::Zeroizing;

use crate::cli::arguments::{NewPassphrase, SeedSource};
use crate::cli::file::{self, Readers};
use crate::cli::{secret, terminal};
use crate::error::{Error, Result};
use crate::sign::sealed::{self, LONGEST};
use crate::sign::seed::Seed;

/// Makes a seed and writes its words, encrypted, into a new file.
pub fn new(out: &Path, passphrase: &NewPassphrase) -> Result<Vec<String>> {
    file::free(out)?;
    let mut lines = write(&Seed::fresh()?, out, passphrase)?;
    lines.push(format!(
        "next         write the words on paper: hashmix seed words --seed {}",
        out.display()
    ));
    lines.push(
        "careful      without the words on paper, a lost passphrase is lost coins".to_owned(),
    );
    Ok(lines)
}

/// Shows the words on a terminal until its user has written them down.
pub fn words(source: &SeedSource) -> Result<Vec<String>> {
    terminal::required()?;
    let seed = read(source)?;
    terminal::show_words(&seed.words()?)?;
    Ok(vec![format!("fingerprint  {}", seed.fingerprint()?)])
}

/// Encrypts words that somebody has, into a new file.
pub fn restore(
    out: &Path,
    words: Option<&Path>,
    passphrase: &NewPassphrase,
) -> Result<Vec<String>> {
    file::free(out)?;
    let (words, place) = match words {
        Some(path) => (secret::text(path, LONGEST)?, path.display().to_string()),
        None => (terminal::ask_words()?, "terminal".to_owned()),
    };
    let seed = Seed::from_words(&words, "").map_err(|error| error.within(place))?;
    write(&seed, out, passphrase)
}

/// Encrypts the seed of a file with another passphrase, into a new file.
pub fn passphrase(
    source: &SeedSource,
    out: &Path,
    passphrase: &NewPassphrase,
) -> Result<Vec<String>> {
    file::free(out)?;
    // What is to become encrypted need not be told that it is not.
    let (seed, _) = load(&source.seed, source.passphrase_file.as_deref())?;
    let mut lines = write(&seed, out, passphrase)?;
    lines.push(format!(
        "next         try the new file (hashmix seed words), then erase {} and its copies",
        source.seed.display()
    ));
    Ok(lines)
}

/// Reads the seed that a command works with; says so on standard error if it lies there in plain.
pub fn read(source: &SeedSource) -> Result<Seed> {
    let (seed, encrypted) = load(&source.seed, source.passphrase_file.as_deref())?;
    if !encrypted {
        terminal::warn(format_args!(
            "careful: {} is not encrypted, whoever reads it has your coins; \
             see `hashmix seed passphrase`",
            source.seed.display()
        ));
    }
    Ok(seed)
}

/// The seed at `path`, and whether it is encrypted.
fn load(path: &Path, passphrase: Option<&Path>) -> Result<(Seed, bool)> {
    let place = |error: Error| match error.rule().starts_with("seed-") {
        true => error.within(path.display()),
        false => error,
    };
    let bytes = secret::file(path, LONGEST)?;
    if sealed::is_sealed(&bytes) {
        let passphrase = secret::passphrase(passphrase, &path.display().to_string())?;
        return sealed::open(&bytes, &passphrase).map(|seed| (seed, true)).map_err(place);
    }
    // What is no text is not repeated in the refusal, as words are not.
    let words = core::str::from_utf8(&bytes).unwrap_or_default();
    Seed::from_words(words, "").map(|seed| (seed, false)).map_err(place)
}

fn write(seed: &Seed, out: &Path, passphrase: &NewPassphrase) -> Result<Vec<String>> {
    let phrase = secret::new_passphrase(passphrase.file.as_deref())?;
    let sealed = Zeroizing::new(sealed::seal(seed, &phrase, passphrase.stretch())?);
    file::write(out, sealed.as_bytes(), Readers::Owner)?;
    Ok(vec![
        format!("seed         {}, encrypted, readable by you alone", out.display()),
        format!("fingerprint  {}", seed.fingerprint()?),
    ])
}
