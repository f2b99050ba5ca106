//! What tricks are worth: a simulation of every known one, beside what the protocol states of it.
//!
//! | file | subject |
//! |---|---|
//! | [`chance`] | a generator with a seed; exponential gaps without a logarithm |
//! | [`figure`] | a ratio that was measured, its standard error, and what is claimed of it |
//! | `hashes` | tricks with the hashes of a slice: deleting, stopping, listing, splitting |
//! | `counts` | what chance does to counts, against [`crate::work::odds`] |
//! | `clock` | tricks with time: bending the headers' clock, mining old slices |
//!
//! Hashes are drawn, or those of real headers by double SHA-256: the same tricks are played on both.
//! Everything is a whole number, so a seed gives one table on every machine. Nobody agrees to these
//! figures; they are here so that the choices of the protocol can be checked by whoever doubts them.
//!
//! **Why a plain count.** A count below a fixed target moves by luck, but its expected growth never
//! depends on what was found so far: whatever a miner sees, the next hash is worth the same. The
//! K-th lowest hash estimates work as well as a count of K, and for whoever sees only the estimate
//! it is as fair. But the miner sees his whole list. If low hashes crowd below the K-th, the next
//! find replaces it by one hardly lower and pays less than it costs; then he stops, and works on
//! while it pays more. [`run`] measures what that yields by one rule to stop by, some 3 to 12 % by K;
//! other rules were seen to yield up to about 19 % at K = 20.

use core::fmt;

pub mod chance;
mod clock;
mod counts;
pub mod figure;
mod hashes;
#[cfg(test)]
mod tests;

use chance::Chance;
use figure::Figure;

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where the generator begins: the same seed gives the same table.
    pub seed: u64,
    /// How often the quick figures are drawn; the slow ones are a fixed part of it.
    pub draws: u32,
}

/// Fewest draws: of fewer, standard errors say little.
pub const LEAST_DRAWS: u32 = 1_000;

/// Everything that was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// What was simulated.
    pub plan: Plan,
    /// Its figures, in order.
    pub figures: Vec<Figure>,
}

/// A figure that is still to be measured.
type Measurement = fn(&mut Chance, u32) -> Vec<Figure>;

/// In the order of the table.
const MEASUREMENTS: [Measurement; 13] = [
    hashes::honest_drawn,
    hashes::honest_ground,
    hashes::deleting,
    hashes::stopping_drawn,
    hashes::stopping_ground,
    hashes::splitting,
    hashes::stopping_at_kth_lowest,
    hashes::listing_fewer,
    clock::back_filling,
    clock::bending,
    counts::pro_rata,
    counts::pass_fail,
    counts::retargets,
];

/// Plays every trick. `progress` hears how many measurements are done, and of how many.
pub fn run(plan: Plan, progress: &mut dyn FnMut(u32, u32)) -> Table {
    let all = u32::try_from(MEASUREMENTS.len()).unwrap_or(u32::MAX);
    let mut figures = Vec::new();
    for (done, measure) in (0..).zip(MEASUREMENTS) {
        progress(done, all);
        // Each has a generator of its own, so that none depends on how much another one drew.
        figures.extend(measure(&mut Chance::new(plan.seed, done), plan.draws.max(LEAST_DRAWS)));
    }
    progress(all, all);
    Table { plan, figures }
}

impl Table {
    /// The figures that contradict what is claimed of them, by more than five standard errors.
    pub fn contradictions(&self) -> impl Iterator<Item = &Figure> {
        self.figures.iter().filter(|figure| !figure.holds())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {} draws", self.plan.seed, self.plan.draws)?;
        writeln!(f, "{:<44} {:>8} {:>7}  claim", "", "measured", "error")?;
        let mut about = "";
        for figure in &self.figures {
            if figure.about != about {
                about = figure.about;
                writeln!(f, "{about}")?;
            }
            writeln!(f, "{figure}")?;
        }
        write!(f, "error: one standard error; a claim holds within five of them")
    }
}
