//! A dossier's words: one folder that everybody reads and writes, a file for each word.
//!
//! Unlike an inbox it belongs to nobody, so nothing is moved or removed. A file appears whole or not
//! at all and is never written over: its name tells speaker, kind and content.

use std::fs;
use std::path::PathBuf;

use super::folder::{failed, put, read};
use crate::error::Result;

/// The folder of a dossier's words.
#[derive(Clone, Debug)]
pub struct Words {
    path: PathBuf,
}

impl Words {
    /// Opens (and makes) the folder.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(|error| failed(&path, error))?;
        Ok(Self { path })
    }

    /// Names of the words, in their order.
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(|error| failed(&self.path, error))? {
            let entry = entry.map_err(|error| failed(&self.path, error))?;
            if let Ok(name) = entry.file_name().into_string()
                && !name.starts_with('.')
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// The text of a word; one that is no file, or too long, is refused.
    pub fn read(&self, name: &str) -> Result<String> {
        read(&self.path, name)
    }

    /// Adds a word. One that is there stays as it is.
    pub fn add(&self, name: &str, text: &str) -> Result<()> {
        match self.path.join(name).exists() {
            true => Ok(()),
            false => put(&self.path, name, text.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_added_once_and_stays_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let words = Words::open(root.path().join("words")).unwrap();
        words.add("2.json", "b").unwrap();
        words.add("1.json", "a").unwrap();
        words.add("1.json", "other").unwrap();
        assert_eq!(words.names().unwrap(), ["1.json", "2.json"]);
        assert_eq!(words.read("1.json").unwrap(), "a");
        assert_eq!(words.read("3.json").unwrap_err().rule(), "relay-folder");
    }
}
