//! Blocks that were found, on the disk until a node has taken them.
//!
//! ```text
//! blocks/<height>-<hash>.hex          no node has taken it yet: brought again at the next start
//! blocks/taken/<height>-<hash>.hex    a node has
//! ```

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::{Block, BlockHash};

use crate::error::{Error, Result};
use crate::gateway::floor::HOME;

/// What the files are called behind the hash.
const KIND: &str = "hex";

/// The folder with blocks.
#[derive(Debug)]
pub(super) struct Blocks {
    folder: PathBuf,
}

impl Blocks {
    /// Opens, and makes, the folder under `home`.
    pub(super) fn open(home: &Path) -> Result<Self> {
        let blocks = Self { folder: home.join("blocks") };
        let taken = blocks.folder.join("taken");
        fs::create_dir_all(&taken).map_err(|error| failed(&taken, &error))?;
        Ok(blocks)
    }

    /// Keeps a block, on the disk when this returns.
    pub(super) fn keep(&self, height: u32, block: &Block) -> Result<()> {
        let name = format!("{height}-{}.{KIND}", block.block_hash());
        if self.folder.join("taken").join(&name).exists() {
            return Ok(());
        }
        let path = self.folder.join(name);
        let write = || {
            let mut file = File::create(&path)?;
            file.write_all(serialize_hex(block).as_bytes())?;
            file.sync_all()
        };
        write().map_err(|error| failed(&path, &error))
    }

    /// Notes that a node has taken a block.
    pub(super) fn taken(&self, block: BlockHash) -> Result<()> {
        for path in self.files()? {
            let ours = |name: &str| name.ends_with(&block.to_string());
            let Some(name) = path.file_name() else { continue };
            if path.file_stem().is_some_and(|stem| ours(&stem.to_string_lossy())) {
                let to = self.folder.join("taken").join(name);
                fs::rename(&path, to).map_err(|error| failed(&path, &error))?;
            }
        }
        Ok(())
    }

    /// Blocks that no node has taken. A file that cannot be read as one is left alone.
    pub(super) fn waiting(&self) -> Result<Vec<Block>> {
        let texts = self.files()?.into_iter().filter_map(|path| fs::read_to_string(path).ok());
        Ok(texts.filter_map(|text| deserialize_hex(text.trim()).ok()).collect())
    }

    fn files(&self) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(&self.folder).map_err(|error| failed(&self.folder, &error))?;
        let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        Ok(paths.filter(|path| path.extension().is_some_and(|kind| kind == KIND)).collect())
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    HOME.unstored(path.display(), "a place for blocks", error)
}

#[cfg(test)]
mod tests {
    use bitcoin::Network;
    use bitcoin::blockdata::constants::genesis_block;

    use super::*;

    #[test]
    fn a_block_waits_until_a_node_has_taken_it() {
        let home = tempfile::tempdir().unwrap();
        let block = genesis_block(Network::Regtest);
        let blocks = Blocks::open(home.path()).unwrap();
        assert_eq!(blocks.waiting().unwrap(), []);
        blocks.keep(0, &block).unwrap();
        fs::write(home.path().join("blocks/1-nonsense.hex"), "zz").unwrap();
        let again = Blocks::open(home.path()).unwrap();
        assert_eq!(again.waiting().unwrap(), std::slice::from_ref(&block));
        again.taken(BlockHash::from_raw_hash(bitcoin::hashes::Hash::all_zeros())).unwrap();
        assert_eq!(again.waiting().unwrap().len(), 1);
        again.taken(block.block_hash()).unwrap();
        assert_eq!(again.waiting().unwrap(), []);
        // Judged before it was written: it does not come back.
        again.keep(0, &block).unwrap();
        assert_eq!(again.waiting().unwrap(), []);
    }
}
