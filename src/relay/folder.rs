//! A folder that people share: each has an inbox in it, and every message is a file.
//!
//! ```text
//! ROOT/<seat>/inbox/    messages for the seat, oldest first by name
//! ROOT/<seat>/dossier/  messages that were taken
//! ROOT/<seat>/refused/  messages that broke a rule, each with the refusal beside it
//! ```
//! A file appears whole or not at all: it is written under another name, flushed, then renamed.
//! Whoever may write here is not trusted with more than letters: nothing is written through a link
//! that somebody has laid, and nothing is read that is not a file.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;

use crate::error::{Culprit, Result, Rule};
use crate::id::TermsId;
use crate::party::Seat;

/// The shared folder can be read and written.
pub const FOLDER: Rule = Rule::new(
    "relay-folder",
    "the shared folder can be read and written",
    "check the path, its permissions and the space on the disk",
);
/// A message is a text of bounded size.
pub const MESSAGE: Rule = Rule::new(
    "relay-message",
    "a message is a file with a UTF-8 text of at most 8 MiB",
    "ask the sender for it again",
);

/// Largest message that is read, in bytes.
pub const MESSAGE_MAX_BYTES: u64 = 8_388_608;

/// A person's place in the shared folder.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
    seat: Seat,
    /// Whose letters are read, if not everybody's.
    contract: Option<TermsId>,
}

/// What a letter says of itself, if it says that.
#[derive(Deserialize)]
struct Addressed {
    contract: TermsId,
}

/// Name of a seat's folder.
pub fn folder_name(seat: Seat) -> String {
    seat.slug()
}

impl Folder {
    /// Opens (and makes) the seat's folders under `root`.
    pub fn open(root: impl Into<PathBuf>, seat: Seat) -> Result<Self> {
        let folder = Self { root: root.into(), seat, contract: None };
        for part in ["inbox", "dossier", "refused"] {
            let path = folder.path(seat, part);
            fs::create_dir_all(&path).map_err(|error| failed(&path, error))?;
        }
        Ok(folder)
    }

    /// The same place for whoever sits at several contracts: letters that name another contract than
    /// this one are left in the inbox, for whoever reads that one's.
    pub fn at(self, contract: TermsId) -> Self {
        Self { contract: Some(contract), ..self }
    }

    /// Puts a message into `to`'s inbox. The same message again changes nothing.
    pub fn post(&self, to: Seat, name: &str, text: &str) -> Result<()> {
        let inbox = self.path(to, "inbox");
        let known = |part| self.path(to, part).join(name).exists();
        if ["inbox", "dossier", "refused"].into_iter().any(known) {
            return Ok(());
        }
        fs::create_dir_all(&inbox).map_err(|error| failed(&inbox, error))?;
        put(&inbox, name, text.as_bytes())
    }

    /// Names of the messages in the inbox, in their order.
    pub fn letters(&self) -> Result<Vec<String>> {
        let inbox = self.path(self.seat, "inbox");
        let mut names = Vec::new();
        for entry in fs::read_dir(&inbox).map_err(|error| failed(&inbox, error))? {
            let entry = entry.map_err(|error| failed(&inbox, error))?;
            if let Ok(name) = entry.file_name().into_string()
                && !name.starts_with('.')
                && self.is_ours(&name)
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Whether a letter is for whoever reads here. What cannot be read, or names no contract, is: it is
    /// refused by rule.
    fn is_ours(&self, name: &str) -> bool {
        let Some(ours) = self.contract else { return true };
        let named = self.read(name).ok();
        let named = named.and_then(|text| serde_json::from_str::<Addressed>(&text).ok());
        named.is_none_or(|letter| letter.contract == ours)
    }

    /// When a message came into the inbox.
    pub fn came(&self, name: &str) -> Result<SystemTime> {
        let path = self.path(self.seat, "inbox").join(name);
        let when = fs::symlink_metadata(&path).and_then(|metadata| metadata.modified());
        when.map_err(|error| failed(&path, error))
    }

    /// Takes a message out of the inbox as if it had never come: it may come again.
    pub fn drop_letter(&self, name: &str) -> Result<()> {
        let path = self.path(self.seat, "inbox").join(name);
        fs::remove_file(&path).map_err(|error| failed(&path, error))
    }

    /// The text of a message in the inbox. One that is no text, or no file, is refused; one that
    /// the disk does not give out is a fault of the disk.
    pub fn read(&self, name: &str) -> Result<String> {
        read(&self.path(self.seat, "inbox"), name)
    }

    /// Moves a message that was taken to the dossier.
    pub fn file(&self, name: &str) -> Result<()> {
        self.carry(name, "dossier")
    }

    /// Moves a message that broke a rule aside, with the refusal beside it.
    pub fn refuse(&self, name: &str, refusal: &str) -> Result<()> {
        // 60 characters have at most 240 bytes: a note's name fits where the message's does.
        let stem: String =
            if name.len() > 240 { name.chars().take(60).collect() } else { name.into() };
        let refused = self.path(self.seat, "refused");
        put(&refused, &format!("{stem}.txt"), format!("{refusal}\n").as_bytes())?;
        self.carry(name, "refused")
    }

    /// Whether a message of this name broke a rule before.
    pub fn was_refused(&self, name: &str) -> bool {
        self.path(self.seat, "refused").join(name).exists()
    }

    fn carry(&self, name: &str, to: &str) -> Result<()> {
        let path = self.path(self.seat, "inbox").join(name);
        fs::rename(&path, self.path(self.seat, to).join(name)).map_err(|error| failed(&path, error))
    }

    fn path(&self, seat: Seat, part: &str) -> PathBuf {
        self.root.join(folder_name(seat)).join(part)
    }
}

/// The text of a file that may be anything.
pub(super) fn read(folder: &Path, name: &str) -> Result<String> {
    let path = folder.join(name);
    let bad = |found: &dyn core::fmt::Display| {
        MESSAGE.refuses(Culprit::Sender, name, "a file with a text of at most 8 MiB", found)
    };
    let kind = fs::symlink_metadata(&path).map_err(|error| failed(&path, error))?.file_type();
    if !kind.is_file() {
        // A link would show us what the sender cannot read; a pipe would keep us for ever.
        return Err(bad(&"something else than a file"));
    }
    let mut file = File::open(&path).map_err(|error| failed(&path, error))?;
    let mut text = String::new();
    let limit = MESSAGE_MAX_BYTES.saturating_add(1);
    let count = (&mut file).take(limit).read_to_string(&mut text).map_err(|error| bad(&error))?;
    if u64::try_from(count).unwrap_or(u64::MAX) > MESSAGE_MAX_BYTES {
        return Err(bad(&"a larger one"));
    }
    Ok(text)
}

/// Writes a file that appears whole or not at all, in the place of whatever had its name.
pub(super) fn put(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = folder.join(name);
    let draft = folder.join(format!(".{name}"));
    let write = || -> std::io::Result<()> {
        // What a crash left there, or a link that somebody laid: it goes, and is not followed.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, &path)
    };
    write().map_err(|error| failed(&path, error))
}

pub(super) fn failed(path: &Path, error: std::io::Error) -> crate::error::Error {
    FOLDER.unstored(path.display(), "a file that can be read and written", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_once_and_goes_to_the_dossier() {
        let root = tempfile::tempdir().unwrap();
        let miner = Folder::open(root.path(), Seat::Miner).unwrap();
        let holder = Folder::open(root.path(), Seat::Holder).unwrap();
        miner.post(Seat::Holder, "2-second.json", "b").unwrap();
        miner.post(Seat::Holder, "1-first.json", "a").unwrap();
        let letters = holder.letters().unwrap();
        let texts: Vec<_> = letters.iter().map(|name| holder.read(name).unwrap()).collect();
        assert_eq!(texts, ["a", "b"]);
        holder.file("1-first.json").unwrap();
        miner.post(Seat::Holder, "1-first.json", "a").unwrap();
        assert_eq!(holder.letters().unwrap().len(), 1);
    }

    #[test]
    fn letters_of_another_contract_are_left_to_whoever_sits_there() {
        let root = tempfile::tempdir().unwrap();
        let miner = Folder::open(root.path(), Seat::Miner).unwrap();
        let [one, other] = [1, 2].map(|byte| TermsId([byte; 32]));
        let letter =
            |id: TermsId| format!("{{\"format\":\"any\",\"contract\":\"{id}\",\"more\":1}}");
        miner.post(Seat::Miner, "1.json", &letter(one)).unwrap();
        miner.post(Seat::Miner, "2.json", &letter(other)).unwrap();
        miner.post(Seat::Miner, "3.json", "garbage").unwrap();
        assert_eq!(miner.letters().unwrap().len(), 3);
        assert_eq!(miner.clone().at(one).letters().unwrap(), ["1.json", "3.json"]);
        assert_eq!(miner.at(other).letters().unwrap(), ["2.json", "3.json"]);
    }

    #[test]
    fn a_message_that_was_dropped_may_come_again() {
        let root = tempfile::tempdir().unwrap();
        let holder = Folder::open(root.path(), Seat::Holder).unwrap();
        for _ in 0..2 {
            holder.post(Seat::Holder, "1.json", "a").unwrap();
            assert!(holder.came("1.json").unwrap() <= SystemTime::now());
            holder.drop_letter("1.json").unwrap();
            assert!(holder.letters().unwrap().is_empty());
            assert_eq!(holder.drop_letter("1.json").unwrap_err().rule(), "relay-folder");
        }
    }

    #[test]
    fn a_refused_message_is_kept_with_the_refusal() {
        let root = tempfile::tempdir().unwrap();
        let holder = Folder::open(root.path(), Seat::Holder).unwrap();
        holder.post(Seat::Holder, "1.json", "garbage").unwrap();
        holder.refuse("1.json", "refused: garbage").unwrap();
        assert!(holder.letters().unwrap().is_empty());
        let note = root.path().join("holder/refused/1.json.txt");
        assert_eq!(fs::read_to_string(note).unwrap(), "refused: garbage\n");
    }

    #[test]
    fn a_message_that_is_no_text_or_too_large_is_refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        let holder = Folder::open(root.path(), Seat::Holder).unwrap();
        let inbox = root.path().join("holder/inbox");
        fs::write(inbox.join("1"), [0xff, 0xfe]).unwrap();
        fs::write(inbox.join("2"), vec![b'a'; 8_388_609]).unwrap();
        for letter in holder.letters().unwrap() {
            assert_eq!(holder.read(&letter).unwrap_err().rule(), "relay-message");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_neither_read_nor_written_through() {
        use std::os::unix::fs::symlink;

        let root = tempfile::tempdir().unwrap();
        let holder = Folder::open(root.path(), Seat::Holder).unwrap();
        let secret = root.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        let at = |place: &str| root.path().join("holder").join(place);
        for place in ["inbox/1", "inbox/.2", "refused/1.txt", "refused/.1.txt"] {
            symlink(&secret, at(place)).unwrap();
        }
        assert_eq!(holder.read("1").unwrap_err().rule(), "relay-message");
        holder.refuse("1", "refused: a link").unwrap();
        holder.post(Seat::Holder, "2", "letter").unwrap();
        assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
        assert_eq!(fs::read_to_string(at("refused/1.txt")).unwrap(), "refused: a link\n");
        assert_eq!(holder.read("2").unwrap(), "letter");
        fs::create_dir(at("inbox/3")).unwrap();
        assert_eq!(holder.read("3").unwrap_err().rule(), "relay-message");
    }

    #[test]
    fn a_name_of_any_length_can_be_refused_and_is_not_posted_again() {
        let root = tempfile::tempdir().unwrap();
        let holder = Folder::open(root.path(), Seat::Holder).unwrap();
        for name in ["x".repeat(250), "é".repeat(120)] {
            holder.post(Seat::Holder, &name, "garbage").unwrap();
            holder.refuse(&name, "refused: garbage").unwrap();
            holder.post(Seat::Holder, &name, "garbage").unwrap();
            assert!(holder.letters().unwrap().is_empty());
        }
    }
}
