//! A file has one subject: it says so at its head, is named after it, and ends before it has two.

use super::Breach;
use super::source::Source;

/// Longest file, in lines.
const LONGEST: usize = 600;
/// Names that say nothing about a subject.
const VAGUE: [&str; 9] =
    ["util", "utils", "helper", "helpers", "common", "manager", "managers", "misc", "shared"];

/// Files that are too long, vaguely named, or silent about themselves.
pub fn one_subject(sources: &[Source]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for source in sources {
        let lines = source.text.lines().count();
        if lines > LONGEST {
            breaches.push(Breach::new("file-length", &source.path, format!("{lines} lines")));
        }
        if !source.text.starts_with("//!") {
            let first = source.text.lines().next().unwrap_or_default();
            breaches.push(Breach::new("file-docs", &source.path, first));
        }
        for name in source.path.trim_end_matches(".rs").split('/') {
            if name.split('_').any(|word| VAGUE.contains(&word)) {
                breaches.push(Breach::new("file-name", &source.path, name));
            }
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{none, rules, tree};

    #[test]
    fn every_file_of_the_tree_has_one_subject() {
        for folder in ["src", "tests", "benches"] {
            none(one_subject(&tree::sources(folder)));
        }
    }

    #[test]
    fn a_long_a_silent_and_a_vague_file_are_found() {
        let found = |path, text: &str| rules(&one_subject(&[Source::new(path, text)]));
        assert!(found("src/x.rs", "//! Whole.\n").is_empty());
        assert!(found("src/x.rs", &"//! Line.\n".repeat(600)).is_empty());
        assert_eq!(found("src/x.rs", &"//! Line.\n".repeat(601)), ["file-length"]);
        assert_eq!(found("src/x.rs", "use a;\n//! Late.\n"), ["file-docs"]);
        for path in ["src/utils.rs", "src/common/x.rs", "src/key_manager.rs"] {
            assert_eq!(found(path, "//! Docs.\n"), ["file-name"], "{path}");
        }
    }
}
