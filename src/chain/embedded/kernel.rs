//! Bitcoin Core's validation, twice: once for the chain, once for the candidates of the mempool.
//!
//! Both are the crate `bitcoinkernel`; nothing here decides what is valid.
//!
//! - **The verdict on a block** comes through Core's BlockChecked signal, because
//!   `process_block` also calls a block with a bad signature "new". The signal fires in the thread
//!   that submitted the block.
//! - **The reason** exists only in Core's log, which is one for the whole process. Its lines are
//!   delivered in the thread that caused them, so a thread that listens while it submits hears its
//!   own block and no other node's.
//! - **The verdict on a transaction** is read off a candidate block that carries it, after all its
//!   unconfirmed ancestors, and whose coinbase claims 21 million coins. Core looks at the
//!   coinbase's amount last, after every input, lock, and script of every transaction (in one
//!   thread, so scripts are not deferred). "The coinbase pays too much" therefore says that all
//!   else stands, and any other word is about the transaction. No candidate ever connects: the
//!   judge's tip is always the chain's, and a verdict costs one block however many came before.

use std::cell::RefCell;
use std::fs::{DirBuilder, remove_dir_all};
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};

use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::{Block, BlockHash};
use bitcoinkernel::prelude::*;
use bitcoinkernel::{
    Block as KernelBlock, BlockValidationStateRef, ChainType, ChainstateManager, ContextBuilder,
    KernelError, Log, Logger, ValidationMode,
};

use super::STARTS;
use crate::error::{Error, Result};

/// Core's word for a coinbase that claims more than subsidy and fees.
const TOO_MUCH: &str = "bad-cb-amount";

/// What Core made of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is valid, or lies on a branch that is not checked before it becomes the best.
    Stands,
    /// It is invalid, for this reason of Core's.
    Refused(String),
}

/// One chainstate of Core's.
pub(super) struct Kernel {
    chainstate: ChainstateManager,
    /// Whether Core has called a block invalid since this was last cleared.
    refused: Arc<AtomicBool>,
    /// Dropped after the chainstate that writes there.
    _files: BlockFiles,
}

impl Kernel {
    /// A chainstate that holds the genesis block of regtest.
    pub(super) fn start() -> Result<Self> {
        let failed = |e: KernelError| -> Error {
            STARTS.unavailable("validation engine", "an empty regtest chain", e)
        };
        listen();
        let files = BlockFiles::create()?;
        let refused = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&refused);
        let context = ContextBuilder::new()
            .chain_type(ChainType::Regtest)
            .with_block_checked_validation(
                move |_block: KernelBlock, state: BlockValidationStateRef<'_>| {
                    if state.mode() != ValidationMode::Valid {
                        flag.store(true, Ordering::Relaxed);
                    }
                },
            )
            .build()
            .map_err(failed)?;
        let data = files.0.to_string_lossy();
        let chainstate = ChainstateManager::builder(&context, &data, &format!("{data}/blocks"))
            .map_err(failed)?
            .block_tree_db_in_memory(true)
            .chainstate_db_in_memory(true)
            // With threads of their own, scripts would be checked after the coinbase's amount, and
            // the judge would let bad signatures pass.
            .worker_threads(0)
            .build()
            .map_err(failed)?;
        chainstate.import_blocks().map_err(failed)?;
        Ok(Self { chainstate, refused, _files: files })
    }

    /// Height of the active chain, in blocks.
    pub(super) fn height(&self) -> u32 {
        u32::try_from(self.chainstate.active_chain().height()).unwrap_or(0)
    }

    /// The active chain's block at `height`.
    pub(super) fn hash_at(&self, height: u32) -> Option<BlockHash> {
        let entry = self.chainstate.active_chain().at_height(usize::try_from(height).ok()?)?;
        Some(BlockHash::from_byte_array(entry.block_hash().to_bytes()))
    }

    /// Hands a block to Core.
    pub(super) fn process(&self, block: &Block) -> Verdict {
        let Ok(parsed) = KernelBlock::new(&serialize(block)) else {
            return Verdict::Refused("the block does not decode".into());
        };
        HEARD.set(Some(Vec::new()));
        self.refused.store(false, Ordering::Relaxed);
        let result = self.chainstate.process_block(&parsed);
        let heard = HEARD.take().unwrap_or_default();
        if result.is_rejected() || self.refused.load(Ordering::Relaxed) {
            Verdict::Refused(reason(&heard))
        } else {
            Verdict::Stands
        }
    }

    /// What Core thinks of the transactions of `candidate`, a block on the tip whose coinbase
    /// claims too much.
    pub(super) fn judge(&self, candidate: &Block) -> Result<(), String> {
        match self.process(candidate) {
            Verdict::Refused(reason) if reason.starts_with(TOO_MUCH) => Ok(()),
            Verdict::Refused(reason) => Err(reason),
            Verdict::Stands => Err("the candidate block was not checked".into()),
        }
    }
}

thread_local! {
    /// Core's words about the block that this thread is submitting.
    static HEARD: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Keeps what Core says about blocks; prints nothing.
struct Ear;

impl Log for Ear {
    fn log(&self, message: &str) {
        HEARD.with(|heard| {
            if let Ok(mut heard) = heard.try_borrow_mut()
                && let Some(lines) = heard.as_mut()
            {
                lines.push(message.trim_end().to_owned());
            }
        });
    }
}

/// Listens to Core's log for the life of the process.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Without an ear the verdicts still come, and every transaction is refused: safe, if mute.
        if let Ok(logger) = Logger::new(Ear) {
            // A connection that is dropped is closed; this one has no owner that outlives nodes.
            std::mem::forget(logger);
        }
    });
}

/// Core's reason, out of the lines it logged while it refused a block.
fn reason(heard: &[String]) -> String {
    // The first is about a block's transactions, the others about its header and form.
    const BEFORE: [&str; 3] =
        ["Block validation error: ", "AcceptBlock FAILED (", "ActivateBestChain failed ("];
    for before in BEFORE {
        for line in heard {
            if let Some((_, reason)) = line.split_once(before) {
                let reason = if before.ends_with('(') {
                    reason.strip_suffix(')').unwrap_or(reason)
                } else {
                    reason
                };
                return reason.to_owned();
            }
        }
    }
    "refused without a reason in the log".into()
}

/// A directory for block files, removed at drop.
struct BlockFiles(PathBuf);

impl BlockFiles {
    fn create() -> Result<Self> {
        // Randomly keyed by the standard library, so that processes do not meet.
        let name = format!("hashmix-node-{:016x}", RandomState::new().hash_one(std::process::id()));
        let directory = std::env::temp_dir().join(name);
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
            .create(&directory)
            .and_then(|()| builder.create(directory.join("blocks")))
            .map_err(|e| STARTS.unstored(directory.display(), "a new directory", e))?;
        Ok(Self(directory))
    }
}

impl Drop for BlockFiles {
    fn drop(&mut self) {
        // What cannot be removed lies in the system's directory for such things.
        let _ = remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::Network;

    use super::*;

    #[test]
    fn the_files_of_a_kernel_vanish_with_it() {
        let kernel = Kernel::start().unwrap();
        let directory = kernel._files.0.clone();
        assert!(directory.join("blocks").is_dir());
        drop(kernel);
        assert!(!directory.exists());
    }

    #[test]
    fn a_candidate_that_core_did_not_refuse_is_no_verdict() {
        let kernel = Kernel::start().unwrap();
        let genesis = bitcoin::constants::genesis_block(Network::Regtest);
        assert_eq!(kernel.process(&genesis), Verdict::Stands);
        assert!(kernel.judge(&genesis).is_err());
    }

    #[test]
    fn the_reason_is_found_in_whichever_line_core_says_it() {
        let line = |text: &str| vec!["2023 UpdateTip: new best".to_owned(), text.to_owned()];
        assert_eq!(reason(&line("Block validation error: bad-a, b")), "bad-a, b");
        let form = "[error] ProcessNewBlock: AcceptBlock FAILED (bad-c, d (e))";
        assert_eq!(reason(&line(form)), "bad-c, d (e)");
        assert_eq!(reason(&[]), "refused without a reason in the log");
    }
}
