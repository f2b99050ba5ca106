//! `hashmix work simulate`: what every known trick yields, beside what is claimed of it.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::Done;
use crate::error::{Result, Rule};
use crate::rehearsal::simulation::{Plan, run};

/// What is measured does not contradict what is claimed.
pub const CLAIMS: Rule = Rule::new(
    "simulate-claims",
    "what is measured agrees with what is claimed, within five standard errors",
    "try another seed; if that fails too, report both: a figure of thirty errs so far in a run of some ten thousand",
);

/// Plays every trick and prints the table; a bar on a terminal while it runs.
pub fn simulate(seed: u64, draws: u32) -> Result<Done> {
    let bar = std::io::stderr().is_terminal().then(|| {
        let bar = ProgressBar::new(0);
        match ProgressStyle::with_template("measuring {bar:40} {pos}/{len}, {elapsed}") {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    });
    let table = run(Plan { seed, draws }, &mut |done, all| {
        if let Some(bar) = &bar {
            bar.set_length(u64::from(all));
            bar.set_position(u64::from(done));
        }
    });
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    // The table first: whoever reads the refusal wants to see it.
    let lines = table.to_string().lines().map(str::to_owned).collect();
    let but = table.contradictions().next().map(|wrong| {
        let expected = format_args!("{:?} parts per million", wrong.claim).to_string();
        let found = format_args!("{} +- {}", wrong.measured, wrong.error).to_string();
        CLAIMS.broken(format_args!("seed {seed}, {}", wrong.name), expected, found)
    });
    Ok(Done { lines, but })
}
