//! A folder to work in, the binary, and the files of one contract.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bitcoin::Network;
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::message;
use hashmix::party::Seat;
use hashmix::rehearsal::people::{Payouts, signer, terms};
use hashmix::script::template::Variant;
use tempfile::TempDir;

/// What the seeds of these tests are encrypted with.
pub const PASSPHRASE: &str = "correct horse battery staple";

pub struct Desk {
    pub dir: TempDir,
}

/// What a run said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Desk {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn put(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, contents).unwrap();
        text(&path)
    }

    /// The terms of the rehearsal in a file, and what they say.
    pub fn terms(&self) -> (String, EscrowTerms) {
        let terms = rehearsed();
        let json = serde_json::to_string_pretty(&terms).unwrap();
        (self.put("terms.json", json), terms)
    }

    /// A file for its owner's eyes.
    pub fn private(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.put(name, contents);
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// A fresh encrypted seed and the file of its passphrase.
    pub fn seed(&self, name: &str) -> (String, String) {
        let (seed, phrase) = (text(&self.path(name)), self.phrase());
        ok(&["seed", "new", "--out", &seed, "--passphrase-file", &phrase, "--rehearse"]);
        (seed, phrase)
    }

    /// The file of the passphrase that all our seeds have.
    pub fn phrase(&self) -> String {
        self.private("phrase", format!("{PASSPHRASE}\n"))
    }

    /// The names in the folder, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

pub fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// The terms of the rehearsal, everybody paid at his communication key's address.
pub fn rehearsed() -> EscrowTerms {
    let address = |seat| signer(seat, Network::Regtest).unwrap().address();
    let payouts = Payouts {
        miner: address(Seat::Miner),
        holder: address(Seat::Holder),
        federation: address(Seat::Validator(0)),
    };
    terms(Variant::Musig, 120, &payouts).unwrap()
}

/// An address of a network that nobody uses.
pub fn address(network: Network) -> String {
    let key = signer(Seat::Holder, Network::Regtest).unwrap().keys().communication;
    message::address(key, network).to_string()
}

/// Runs the binary.
pub fn run(arguments: &[&str]) -> Said {
    let output: Output =
        Command::new(env!("CARGO_BIN_EXE_hashmix")).args(arguments).output().unwrap();
    let said = Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(!said.err.contains("panicked"), "{arguments:?}: {}", said.err);
    said
}

/// Runs the binary, which must succeed and complain of nothing.
pub fn ok(arguments: &[&str]) -> String {
    let said = run(arguments);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{arguments:?}");
    said.out
}

/// Runs the binary, which must refuse by this rule, in one line, with this exit code and without
/// any output.
pub fn refused(arguments: &[&str], rule: &str, code: i32) -> String {
    let said = run(arguments);
    assert_eq!(said.code, code, "{arguments:?}: {}", said.err);
    assert!(said.err.contains(&format!("[{rule}]")), "{arguments:?}: {}", said.err);
    assert_eq!(said.err.lines().count(), 1, "{arguments:?}: {}", said.err);
    assert_eq!(said.out, "", "{arguments:?}");
    said.err
}
