//! One process at a time works at a seat: a gateway, or a command.
//!
//! Each has its engine in memory. A letter that one of them takes the other would never read, and of two
//! that sign neither would know what the other has signed. The lock lies beside the seat's letters, and the
//! system gives it back when its process ends, however it does.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use crate::error::{Result, Rule};
use crate::relay::folder::FOLDER;

/// One process works at a seat.
pub const BUSY: Rule = Rule::new(
    "contract-busy",
    "one process at a time works at a seat",
    "stop the gateway or the command that works there, or wait until it is done",
);

/// Takes the seat whose files lie in `folder`, made if it does not exist, for as long as the answer lives.
pub fn take(folder: &Path) -> Result<File> {
    let path = folder.join("seat.lock");
    let unwritten = |error: std::io::Error| {
        FOLDER.unstored(path.display(), "a file that can be written", error)
    };
    fs::create_dir_all(folder).map_err(unwritten)?;
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(unwritten)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(BUSY.unstored(path.display(), "a seat at which nobody works", "a process there"))
        }
        Err(TryLockError::Error(error)) => Err(unwritten(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_taken_once_and_free_again_behind_its_process() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        let held = take(&one).unwrap();
        for _ in 0..2 {
            assert_eq!(take(&one).unwrap_err().rule(), "contract-busy");
        }
        drop(take(&other).unwrap());
        drop(held);
        take(&one).unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(take(&dir.path().join("file")).unwrap_err().rule(), "relay-folder");
    }
}
