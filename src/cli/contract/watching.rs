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
    let (mut before, mut told) = (Vec::new(), Vec::new());
    loop {
        let stepped = sitting.step().and_then(|lines| Ok((lines, sitting.next()?)));
        let (lines, next) = match stepped {
            Ok(it) => it,
            Err(error @ (Error::Broken(_) | Error::Storage(_) | Error::Usage(_))) => {
                return Err(error);
            }
            Err(error) => (vec![format!("trouble   {error}")], before.clone()),
        };
        let news = news(&lines, &told);
        print(&text_of(&news))?;
        // Whose turn it is is told when it changes.
        if next != before {
            print(&text_of(&next))?;
        }
        (before, told) = (next, lines);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(seconds) {
            if stopped.load(Ordering::Relaxed) {
                return Ok(vec!["stopped   between two steps".to_owned()]);
            }
            sleep(HEARD);
        }
    }
}

/// What was not told a step ago. Trouble that lasts is no news; what was done or heard always is.
fn news(lines: &[String], told: &[String]) -> Vec<String> {
    let lasts =
        |line: &String| ["server", "refused", "trouble"].iter().any(|kind| line.starts_with(kind));
    lines.iter().filter(|line| !(lasts(line) && told.contains(line))).cloned().collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_that_lasts_is_told_once_and_what_happens_is_told_each_time() {
        let lines = ["trouble   away", "heard     a receipt"].map(str::to_owned);
        assert_eq!(news(&lines, &[]), lines);
        assert_eq!(news(&lines, &lines), lines[1..]);
    }
}
