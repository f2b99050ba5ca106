//! `hashmix seed`: the words that all keys come from, in a file that its owner alone may read.
//!
//! Words are neither arguments nor output: arguments show in the list of processes, output in a
//! terminal's history. They are plain in their file; encryption is not there yet.

use std::path::Path;

use zeroize::Zeroizing;

use crate::cli::file::{self, READABLE, Readers};
use crate::error::{Result, Rule};
use crate::sign::seed::{Seed, WORDS};

/// A seed is nobody else's to read.
pub const PRIVATE: Rule = Rule::new(
    "seed-private",
    "a seed's file is readable by its owner alone",
    "chmod 600 it, and consider whether somebody has read it already",
);

/// Longest file of words that is read, in bytes.
const LONGEST: usize = 1_024;

/// Makes a seed and writes its words into a new file.
pub fn new(out: &Path) -> Result<Vec<String>> {
    let seed = Seed::fresh()?;
    let mut words = seed.words()?;
    words.push('\n');
    file::write(out, words.as_bytes(), Readers::Owner)?;
    Ok(vec![
        format!("seed         24 words in {}, readable by you alone", out.display()),
        format!("fingerprint  {}", seed.fingerprint()?),
        "next         write the words down on paper: with them every key is found again".to_owned(),
        "careful      the file is not encrypted; whoever reads it has your coins".to_owned(),
    ])
}

/// Reads the seed in the file at `path`.
pub fn read(path: &Path) -> Result<Seed> {
    check_private(path)?;
    let bytes = Zeroizing::new(file::bytes(path, LONGEST)?);
    // What is no text is not repeated in the refusal, as words are not.
    let words = core::str::from_utf8(&bytes).unwrap_or_default();
    Seed::from_words(words, "").map_err(|error| match error.rule() == WORDS.id {
        true => error.within(path.display()),
        false => error,
    })
}

#[cfg(unix)]
fn check_private(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::metadata(path)
        .map_err(|error| READABLE.misused(path.display(), "a file", error))?;
    let mode = metadata.permissions().mode() & 0o777;
    match metadata.is_file() && mode & 0o077 != 0 {
        true => Err(PRIVATE.misused(path.display(), "mode 0600", format_args!("mode {mode:04o}"))),
        false => Ok(()),
    }
}

#[cfg(not(unix))]
fn check_private(_: &Path) -> Result<()> {
    Ok(())
}
