//! `hashmix work simulate`: what every known trick yields, beside what is claimed of it.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::error::{Result, Rule};
use crate::rehearsal::simulation::{Plan, run};

/// What is measured does not contradict what is claimed.
pub const CLAIMS: Rule = Rule::new(
    "simulate-claims",
    "what is measured agrees with what is claimed, within five standard errors",
    "report this with the seed; one run in thousands may fail by chance",
);

/// Plays every trick and prints the table; a bar on a terminal while it runs.
pub fn simulate(seed: u64, draws: u32) -> Result<Vec<String>> {
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
    if let Some(wrong) = table.contradictions().next() {
        let expected = format_args!("{:?} parts per million", wrong.claim).to_string();
        let found = format_args!("{} +- {}", wrong.measured, wrong.error).to_string();
        return Err(CLAIMS.broken(format_args!("seed {seed}, {}", wrong.name), expected, found));
    }
    Ok(table.to_string().lines().map(str::to_owned).collect())
}
