//! Secrets on their way in: from a file of its owner's alone, from standard input, or from the
//! terminal. Never from an argument or the environment, which other programs can read.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

use crate::cli::file::{READABLE, TEXT};
use crate::cli::terminal;
use crate::error::{Culprit, Error, Result, Rule};
use crate::sign::sealed::{LONGEST_PASSPHRASE, Passphrase};

/// A secret is nobody else's to read.
pub const PRIVATE: Rule = Rule::new(
    "seed-private",
    "the file of a seed or a passphrase is readable by its owner alone",
    "chmod 600 it, and consider whether somebody has read it already",
);
/// Both times the same.
pub const TWICE: Rule = Rule::new(
    "seed-passphrase-twice",
    "a new passphrase is typed twice, the same",
    "begin again; nothing was written",
);

/// The name that stands for standard input.
const STANDARD_INPUT: &str = "-";

/// What the file at `path` holds, at most `longest` bytes of it; refused if others may read it.
pub fn file(path: &Path, longest: usize) -> Result<Zeroizing<Vec<u8>>> {
    let unread = |error: std::io::Error| READABLE.misused(path.display(), "a file", error);
    let file = File::open(path).map_err(unread)?;
    check_private(&file, path)?;
    // Room from the start: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(longest.saturating_add(64)));
    let limit = u64::try_from(longest).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(unread)?;
    match bytes.len() > longest {
        true => Err(too_long(&path.display().to_string(), longest)),
        false => Ok(bytes),
    }
}

/// The text in the file at `path`, or the next line of standard input if `path` is `-`.
pub fn text(path: &Path, longest: usize) -> Result<Zeroizing<String>> {
    let bytes = match path.as_os_str() == STANDARD_INPUT {
        true => line(longest)?,
        false => file(path, longest)?,
    };
    // The refusal does not repeat what is no text.
    let text = core::str::from_utf8(&bytes).map_err(|_| {
        TEXT.refuses(Culprit::Sender, path.display(), "text (UTF-8)", "other bytes")
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// The passphrase of the seed at `seed`: from a file, or asked for.
pub fn passphrase(path: Option<&Path>, seed: &str) -> Result<Passphrase> {
    match path {
        Some(path) => from_file(path, Passphrase::known),
        None => Passphrase::known(terminal::ask(&format!("passphrase of {seed}: "))?),
    }
}

/// A passphrase for a new file: from a file, or asked for twice.
pub fn new_passphrase(path: Option<&Path>) -> Result<Passphrase> {
    let Some(path) = path else {
        let first = Passphrase::chosen(terminal::ask("new passphrase: ")?)?;
        let second = Passphrase::known(terminal::ask("the same again: ")?)?;
        return match first.same(&second) {
            true => Ok(first),
            false => Err(TWICE.misused("terminal", "the same passphrase", "another one")),
        };
    };
    from_file(path, Passphrase::chosen)
}

/// A file holds one passphrase and, as editors leave it, a line's end.
fn from_file(
    path: &Path,
    make: impl Fn(Zeroizing<String>) -> Result<Passphrase>,
) -> Result<Passphrase> {
    let mut text = text(path, LONGEST_PASSPHRASE.saturating_add(2))?;
    for end in ['\n', '\r'] {
        if text.ends_with(end) {
            text.pop();
        }
    }
    make(text).map_err(|error| error.within(path.display()))
}

/// The next line of standard input, without its end. It is read byte by byte, so that nothing of
/// it stays in a buffer, and a second secret can follow in the next line.
pub fn line(longest: usize) -> Result<Zeroizing<Vec<u8>>> {
    let unread = |error: std::io::Error| READABLE.misused("standard input", "a line", error);
    let mut input = unbuffered().map_err(unread)?;
    let mut line = Zeroizing::new(Vec::with_capacity(longest.saturating_add(1)));
    let mut byte = Zeroizing::new([0]);
    while input.read(byte.as_mut_slice()).map_err(unread)? == 1 && *byte != *b"\n" {
        if line.len() == longest {
            return Err(too_long("standard input", longest));
        }
        line.extend_from_slice(byte.as_slice());
    }
    Ok(line)
}

#[cfg(unix)]
fn unbuffered() -> std::io::Result<File> {
    use std::os::fd::AsFd;
    std::io::stdin().as_fd().try_clone_to_owned().map(File::from)
}

#[cfg(not(unix))]
fn unbuffered() -> std::io::Result<std::io::Stdin> {
    Ok(std::io::stdin())
}

fn too_long(place: &str, longest: usize) -> Error {
    let expected = format!("at most {longest} bytes");
    TEXT.refuses(Culprit::Sender, place, expected, "more")
}

/// A pipe or a descriptor (`/dev/fd/3`) has no readers but us; of a file we look at the one that is
/// open, not at its name.
#[cfg(unix)]
fn check_private(file: &File, path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let metadata =
        file.metadata().map_err(|error| READABLE.misused(path.display(), "a file", error))?;
    let mode = metadata.permissions().mode() & 0o777;
    match metadata.is_file() && mode & 0o077 != 0 {
        true => Err(PRIVATE.misused(path.display(), "mode 0600", format_args!("mode {mode:04o}"))),
        false => Ok(()),
    }
}

#[cfg(not(unix))]
fn check_private(_: &File, _: &Path) -> Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn put(folder: &Path, contents: &[u8], mode: u32) -> std::path::PathBuf {
        let path = folder.join("secret");
        std::fs::write(&path, contents).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o640, 0o604, 0o660, 0o644, 0o610] {
            let path = put(folder.path(), b"correct horse", mode);
            assert_eq!(new_passphrase(Some(&path)).unwrap_err().rule(), "seed-private");
            assert_eq!(file(&path, 100).unwrap_err().rule(), "seed-private");
        }
        for mode in [0o600, 0o400] {
            let path = put(folder.path(), b"correct horse", mode);
            assert!(new_passphrase(Some(&path)).is_ok());
        }
    }

    #[test]
    fn the_end_of_a_line_is_no_part_of_a_passphrase_and_a_second_line_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let read =
            |contents: &str| new_passphrase(Some(&put(folder.path(), contents.as_bytes(), 0o600)));
        let bare = read("correct horse").unwrap();
        for same in ["correct horse\n", "correct horse\r\n"] {
            assert!(read(same).unwrap().same(&bare));
        }
        assert!(!read("correct horse ").unwrap().same(&bare));
        for wrong in ["correct horse\ncanary", "correct horse\n\n", "canary", ""] {
            let refused = read(wrong).unwrap_err();
            assert_eq!(refused.rule(), "seed-passphrase-form");
            assert!(!refused.to_string().contains("canary"), "{refused}");
        }
    }

    #[test]
    fn what_is_no_text_or_too_long_is_refused_without_repeating_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = put(folder.path(), b"canary\xff", 0o600);
        let refused = new_passphrase(Some(&path)).unwrap_err();
        assert_eq!(refused.rule(), "cli-text");
        assert!(!refused.to_string().contains("canary"));
        let path = put(folder.path(), &[b'a'; 2_000], 0o600);
        assert_eq!(new_passphrase(Some(&path)).unwrap_err().rule(), "cli-text");
        assert_eq!(file(&path, 1_999).unwrap_err().rule(), "cli-text");
        assert_eq!(file(&path, 2_000).unwrap().len(), 2_000);
    }
}
