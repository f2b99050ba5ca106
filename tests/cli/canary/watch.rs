//! The command under watch: what it says, and what the system shows of it to others.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Everything that others could see of a run.
#[derive(Default)]
pub struct Seen {
    /// How it ended; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output and standard error.
    pub said: Vec<u8>,
    /// The list of processes: arguments, environment, status.
    pub listed: Vec<u8>,
}

/// The command with these arguments, with the longest traces that it can leave.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hashmix"));
    command.args(arguments).env("RUST_BACKTRACE", "full").env("RUST_LOG", "trace");
    command
}

/// Runs it to its end with this input; `look` is called again and again while it runs.
pub fn watch(command: &mut Command, input: &str, mut look: impl FnMut(&mut Child)) -> Seen {
    let mut out = tempfile::tempfile().unwrap();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(out.try_clone().unwrap())
        .stderr(out.try_clone().unwrap())
        .spawn()
        .unwrap();
    let mut seen = Seen { listed: listed(&child), ..Seen::default() };
    // A command that needs no input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    seen.code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        look(&mut child);
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    use std::io::{Read, Seek};
    out.rewind().unwrap();
    out.read_to_end(&mut seen.said).unwrap();
    seen
}

/// What any program of the same user reads of a process, and what a list of processes shows.
///
/// A program may be told of before the kernel has laid its arguments out: `spawn` returns when the old
/// memory is gone, and until the new one is ready arguments and environment read as empty. On a busy
/// machine that is long enough to see nothing, so we look until there is something or it has ended.
pub fn listed(child: &Child) -> Vec<u8> {
    let folder = PathBuf::from(format!("/proc/{}", child.id()));
    let read = |name| fs::read(folder.join(name)).unwrap_or_default();
    let ended = || {
        let status = read("status");
        status.is_empty() || status.windows(8).any(|part| part == b"State:\tZ")
    };
    while read("cmdline").is_empty() && !ended() {
        std::thread::yield_now();
    }
    ["cmdline", "environ", "comm", "status", "maps"].map(read).concat()
}

/// Every file below a folder, with its mode and what it holds.
pub fn files(folder: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let mut files = Vec::new();
    // Files come and go while somebody works: what is gone is not looked at.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
        if metadata.is_dir() {
            files.extend(self::files(&entry.path()));
        } else if let Ok(contents) = fs::read(entry.path()) {
            files.push((entry.path(), metadata.permissions().mode() & 0o777, contents));
        }
    }
    files
}
