//! `hashmix headers`: the chain's headers, judged and kept.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};

use crate::chain::electrum::Electrum;
use crate::cli::arguments::Folder;
use crate::cli::wallet::{STORE, make};
use crate::error::Result;
use crate::guard::{Guard, what_headers_cannot_prove};
use crate::header_sync::{HeaderSource, Standing, Synced, sync_guard};
use crate::store::Store;

/// Brings the headers in the folder's store up to the server's tip; a bar on a terminal, a line
/// for each chunk on standard error elsewhere.
pub fn sync(folder: &Folder, url: &str) -> Result<Vec<String>> {
    make(&folder.home)?;
    let mut store = Store::open(folder.home.join(STORE))?;
    let chain = Electrum::connect(url, folder.network)?;
    let mut progress = Progress::new();
    let guard = store.guard(folder.network)?;
    let done = sync_lines(&chain, &mut store, guard, &mut |have, tip| {
        progress.show(have, tip);
    });
    progress.end();
    done
}

/// The same from any source, with a guard that has what the store has.
pub fn sync_lines(
    source: &impl HeaderSource,
    store: &mut Store,
    guard: Guard,
    progress: &mut dyn FnMut(u32, u32),
) -> Result<Vec<String>> {
    let Synced { guard, added, reorgs, standing } = sync_guard(source, store, guard, progress)?;
    let mut lines = lines(&guard);
    lines.push(format!("added     {added}"));
    lines.extend(reorgs.iter().map(|reorg| format!("reorg     {reorg}")));
    match standing {
        Standing::Agrees => {}
        Standing::Behind { blocks } => lines.push(format!(
            "server    its chain is ours without the last {blocks} blocks: it lags behind"
        )),
        Standing::LessWork { fork } => lines.push(format!(
            "server    its chain left ours after height {fork} and has no more work: use another"
        )),
    }
    // What was let in stays stored; a chain that cannot be the network's is no success.
    guard.enough()?;
    Ok(lines)
}

/// What the folder's store has.
pub fn show(folder: &Folder) -> Result<Vec<String>> {
    make(&folder.home)?;
    Ok(lines(&store_guard(folder)?))
}

fn store_guard(folder: &Folder) -> Result<Guard> {
    Store::open(folder.home.join(STORE))?.guard(folder.network)
}

fn lines(guard: &Guard) -> Vec<String> {
    let mut lines = vec![
        format!("network   {}", guard.network()),
        format!("tip       {} {}", guard.tip(), guard.tip_hash()),
        format!("work      {:x}", guard.work()),
        format!("headers   {}, of them {} beside the active chain", guard.known(), guard.beside()),
    ];
    if let Err(error) = guard.enough() {
        lines.push(format!("short     expected {}", error.fault().expected));
    }
    if let Some(text) = what_headers_cannot_prove(guard.network()) {
        lines.push(format!("open      {text}"));
    }
    lines
}

/// How far it is: a bar where there is a terminal, lines where there is none.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("headers {bar:40} {pos}/{len}, {eta} left");
            let bar = ProgressBar::new(0);
            match style {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Self { bar }
    }

    pub(crate) fn show(&mut self, have: u32, tip: u32) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(u64::from(tip));
                bar.set_position(u64::from(have));
            }
            // Nobody may be listening; the answer on standard output does not depend on it.
            None => drop(writeln!(std::io::stderr(), "headers {have} of {tip}")),
        }
    }

    pub(crate) fn end(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
