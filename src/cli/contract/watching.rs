//! `hashmix contract step --watch`: a step, a pause, a step, until interrupted.
//!
//! What happens is told as it happens. A server that is away, or a step that was refused, is told in a
//! line and tried again after the pause; a fault of the disk or of ours ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::cli::contract::Sitting;
use crate::cli::{print, text_of};
use crate::error::{Error, Result};

/// How soon somebody who interrupts a pause is heard.
const HEARD: Duration = Duration::from_millis(200);

/// Steps every so many seconds, until told to stop.
pub(super) fn watch(mut sitting: Sitting, seconds: u64) -> Result<Vec<String>> {
    let stopped = stopped();
    let mut before = Vec::new();
    loop {
        let stepped = sitting.step().and_then(|lines| Ok((lines, sitting.next()?)));
        match stepped {
            Ok((lines, next)) => {
                print(&text_of(&lines))?;
                // Whose turn it is is told when it changes.
                if !lines.is_empty() || next != before {
                    print(&text_of(&next))?;
                }
                before = next;
            }
            Err(error @ (Error::Broken(_) | Error::Storage(_) | Error::Usage(_))) => {
                return Err(error);
            }
            Err(error) => print(&text_of(&[format!("trouble   {error}")]))?,
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(seconds) {
            if stopped.load(Ordering::Relaxed) {
                return Ok(vec!["stopped   between two steps".to_owned()]);
            }
            sleep(HEARD);
        }
    }
}

/// Whether a signal has told us to stop: the step that runs is finished first.
#[cfg(any(feature = "validator", feature = "gateway"))]
fn stopped() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&flag);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if let Ok(runtime) = runtime {
            runtime.block_on(crate::validator::stop::told_to_stop());
            told.store(true, Ordering::Relaxed);
        }
    });
    flag
}

/// Without those features a signal ends the process wherever it is. What was committed by then is posted
/// by the next one.
#[cfg(not(any(feature = "validator", feature = "gateway")))]
fn stopped() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(false))
}
