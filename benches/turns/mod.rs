//! How a kernel is timed: in short turns, so that kernels that are compared meet the same conditions.

use std::time::{Duration, Instant};

/// How long a turn takes.
const TURN: Duration = Duration::from_millis(12);

/// Units a second, over one turn.
pub(crate) fn per_second(kernel: &mut dyn FnMut() -> u64) -> u64 {
    let mut done = 0;
    let begin = Instant::now();
    while begin.elapsed() < TURN {
        for _ in 0..8 {
            done += kernel();
        }
    }
    let nanos = u64::try_from(begin.elapsed().as_nanos()).expect("a short turn");
    done * 1_000_000_000 / nanos
}

/// The median.
pub(crate) fn middle(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}
