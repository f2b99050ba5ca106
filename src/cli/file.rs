//! Files in and out. What is read has a longest length; what is written appears whole or not at
//! all, and never in place of something else.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::{Culprit, Error, Result, Rule};

/// A file that is named can be read.
pub const READABLE: Rule =
    Rule::new("cli-file", "a file that is named can be read", "check the path and its permissions");
/// A file is of the kind that was asked for.
pub const TEXT: Rule = Rule::new(
    "cli-text",
    "a file is text (UTF-8) and no longer than its kind ever is",
    "give the right file",
);
/// Nothing is written over.
pub const FREE: Rule = Rule::new(
    "cli-out-free",
    "a file that exists is never written over",
    "choose another name, or move the old file away yourself",
);
/// A file can be written.
pub const WRITABLE: Rule = Rule::new(
    "cli-out-writable",
    "the file can be written, whole, where it is wanted",
    "check the folder, its permissions and the disk; nothing was left there",
);

/// Who may read a file that we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Its owner alone (mode 0600).
    Owner,
    /// Whoever the system's settings allow.
    Anyone,
}

/// The bytes of the file at `path`, at most `longest` of them.
pub fn bytes(path: &Path, longest: usize) -> Result<Vec<u8>> {
    let unread = |error: std::io::Error| READABLE.misused(path.display(), "a file", error);
    let file = File::open(path).map_err(unread)?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(longest).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() > longest {
        let expected = format_args!("at most {longest} bytes").to_string();
        return Err(TEXT.refuses(Culprit::Sender, path.display(), expected, "more"));
    }
    Ok(bytes)
}

/// The text of the file at `path`, at most `longest` bytes of it.
pub fn text(path: &Path, longest: usize) -> Result<String> {
    String::from_utf8(bytes(path, longest)?)
        .map_err(|error| TEXT.refuses(Culprit::Sender, path.display(), "text", error.utf8_error()))
}

/// Refuses a path where something is already, before any work is done for it.
pub fn free(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(_) => Err(FREE.misused(path.display(), "a name that is free", "a file")),
        Err(_) => Ok(()),
    }
}

/// Writes a new file at `path`: under another name first, then moved to its own when it is whole
/// and on the disk. A file that exists is refused.
pub fn write(path: &Path, contents: &[u8], readers: Readers) -> Result<()> {
    let (folder, name) = match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if folder.as_os_str().is_empty() => (Path::new("."), name),
        (Some(folder), Some(name)) => (folder, name),
        _ => return Err(WRITABLE.unstored(path.display(), "the name of a file", "none")),
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.new", std::process::id()));
    let draft = folder.join(hidden);
    let written = fill(&draft, contents, readers)
        .map_err(|error| unwritten(path, &error))
        // A link fails where a file exists; a rename would replace it.
        .and_then(|()| std::fs::hard_link(&draft, path).map_err(|error| unwritten(path, &error)))
        .and_then(|()| sync(folder).map_err(|error| unwritten(path, &error)));
    // The draft is ours alone; if it was never made there is nothing to remove.
    let _ = std::fs::remove_file(&draft);
    written
}

fn fill(draft: &PathBuf, contents: &[u8], readers: Readers) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if readers == Readers::Owner {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    let mut file = options.open(draft)?;
    file.write_all(contents)?;
    file.sync_all()
}

fn sync(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

fn unwritten(path: &Path, error: &std::io::Error) -> Error {
    if error.kind() == ErrorKind::AlreadyExists {
        return FREE.misused(path.display(), "a name that is free", "a file");
    }
    WRITABLE.unstored(path.display(), "a new file", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_that_exists_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write(&path, b"first", Readers::Anyone).unwrap();
        let refused = write(&path, b"second", Readers::Anyone).unwrap_err();
        assert_eq!((refused.rule(), refused.exit_code()), ("cli-out-free", 2));
        assert_eq!(text(&path, 10).unwrap(), "first");
        assert_eq!(names(folder.path()), ["a"], "no draft stays behind");
    }

    #[test]
    fn a_folder_that_is_not_there_is_a_fault_of_storage() {
        let folder = tempfile::tempdir().unwrap();
        let refused = write(&folder.path().join("no/a"), b"x", Readers::Owner).unwrap_err();
        assert_eq!((refused.rule(), refused.exit_code()), ("cli-out-writable", 7));
        assert!(names(folder.path()).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn what_is_private_is_readable_by_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write(&path, b"x", Readers::Owner).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_too_long_or_no_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write(&path, &[0xff, 0xfe], Readers::Anyone).unwrap();
        assert_eq!(text(&path, 2).unwrap_err().rule(), "cli-text");
        assert_eq!(bytes(&path, 1).unwrap_err().rule(), "cli-text");
        assert_eq!(bytes(&path, 2).unwrap(), [0xff, 0xfe]);
        let missing = bytes(&folder.path().join("b"), 2).unwrap_err();
        assert_eq!((missing.rule(), missing.exit_code()), ("cli-file", 2));
        assert_eq!(bytes(folder.path(), 2).unwrap_err().rule(), "cli-file");
    }
}
