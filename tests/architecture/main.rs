//! The house's rules, held to the sources as they are written: who may import whom, what pure code
//! may not name, what a flow looks like, what the documents say.
//!
//! Each checker takes texts and answers with the breaches that it finds, so beside each of them a
//! small made-up source breaks the rule and shows that the checker sees it. Only [`tree`] reads
//! files.

mod documents;
mod files;
mod flows;
mod imports;
mod layers;
mod purity;
mod source;
mod tree;

/// A rule of the house, the place where it is broken, and what was found there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Name of the rule.
    pub rule: &'static str,
    /// A file, with the line where there is one.
    pub place: String,
    /// What was found.
    pub found: String,
}

impl Breach {
    /// A breach of `rule` at `place`.
    pub fn new(rule: &'static str, place: impl ToString, found: impl ToString) -> Self {
        Self { rule, place: place.to_string(), found: found.to_string() }
    }
}

/// Fails with a line for each breach.
pub fn none(breaches: Vec<Breach>) {
    let lines: Vec<String> =
        breaches.iter().map(|b| format!("[{}] {}: {}", b.rule, b.place, b.found)).collect();
    assert!(lines.is_empty(), "the house's rules are broken:\n{}", lines.join("\n"));
}

/// The rules that are broken, in order, for tests of the checkers.
pub fn rules(breaches: &[Breach]) -> Vec<&'static str> {
    breaches.iter().map(|breach| breach.rule).collect()
}
