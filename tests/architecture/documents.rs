//! What the documents say of the code is so: features, dependencies, exit codes, rule ids, links.

use std::collections::BTreeSet;

use super::Breach;

/// Names of the entries of a table of Cargo.toml, such as `[features]`.
pub fn entries(manifest: &str, table: &str) -> Vec<String> {
    manifest
        .lines()
        .skip_while(|line| *line != table)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// Features that no text names in backticks.
pub fn features(manifest: &str, texts: &str) -> Vec<Breach> {
    let names = entries(manifest, "[features]");
    let silent =
        names.iter().filter(|name| *name != "default" && !texts.contains(&format!("`{name}`")));
    silent.map(|name| Breach::new("feature-described", "Cargo.toml", name)).collect()
}

/// Dependencies without a row in docs/dependencies.md.
pub fn dependencies(manifest: &str, document: &str) -> Vec<Breach> {
    let cells = document.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let crates: BTreeSet<&str> =
        cells.flat_map(|cell| cell.split(", ")).filter_map(|name| name.split(' ').next()).collect();
    let mut names = entries(manifest, "[dependencies]");
    names.extend(entries(manifest, "[dev-dependencies]"));
    let silent = names.iter().filter(|name| !crates.contains(name.as_str()));
    silent.map(|name| Breach::new("dependency-reasoned", "Cargo.toml", name)).collect()
}

/// Exit codes with the first word of their lines, as the code has them.
pub fn exit_codes(code: &str) -> BTreeSet<(String, String)> {
    let variant = |line: &str| {
        let rest = line.trim().strip_prefix("Self::")?;
        Some(rest.split(|c: char| !c.is_alphanumeric()).next()?.to_owned())
    };
    let words: Vec<(String, String)> = code
        .lines()
        .filter_map(|line| {
            let word = line.split("write!(f, \"").nth(1)?.split([' ', '"']).next()?;
            Some((variant(line)?, word.to_owned()))
        })
        .collect();
    let arms = code.split("fn exit_code").nth(1).unwrap_or_default().lines();
    arms.take_while(|line| *line != "    }")
        .filter_map(|line| {
            let number = line.split("=> ").nth(1)?.trim_end_matches(',').to_owned();
            let name = variant(line)?;
            let word =
                words.iter().find(|(of, _)| *of == name).map_or(name, |(_, word)| word.clone());
            Some((number, word))
        })
        .collect()
}

/// Exit codes that the document's table lacks, has too many, or calls by another word.
pub fn codes_told(code: &str, document: &str) -> Vec<Breach> {
    let told: BTreeSet<(String, String)> = document
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let number = cells.next().filter(|cell| cell.parse::<u8>().is_ok())?;
            Some((number.to_owned(), cells.next()?.trim_matches('`').to_owned()))
        })
        .collect();
    let mut codes = exit_codes(code);
    codes.insert(("0".to_owned(), "done".to_owned()));
    let differing = codes.symmetric_difference(&told);
    differing
        .map(|(number, word)| {
            Breach::new("exit-code", "docs/errors.md", format!("{number} {word}"))
        })
        .collect()
}

/// The ids that docs/rules.md lists.
pub fn rule_ids(document: &str) -> BTreeSet<String> {
    let cells = document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    cells.map(str::to_owned).collect()
}

/// What reads like a rule's id and is none: in backticks or brackets, with the area of a rule.
pub fn ids_exist(ids: &BTreeSet<String>, path: &str, text: &str) -> Vec<Breach> {
    let areas: BTreeSet<&str> = ids.iter().filter_map(|id| id.split('-').next()).collect();
    let mut breaches = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let quoted = line.split('`').skip(1).step_by(2);
        let bracketed = line.split('[').skip(1).filter_map(|rest| Some(rest.split_once(']')?.0));
        for word in quoted.chain(bracketed) {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            let Some((area, name)) = word.split_once('-') else { continue };
            let whole = word.chars().all(plain) && !name.is_empty();
            if whole && areas.contains(area) && !ids.contains(word) {
                breaches.push(Breach::new("rule-id", format!("{path}:{}", number + 1), word));
            }
        }
    }
    breaches
}

/// Links to files that are not there; `exists` knows paths from the top of the checkout.
pub fn links_lead(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let file = target.split('#').next().unwrap_or_default();
        if file.is_empty() || target.contains("://") {
            continue;
        }
        let mut parts: Vec<&str> = path.split('/').collect();
        parts.pop();
        for part in file.split('/') {
            match part {
                ".." => drop(parts.pop()),
                "" | "." => {}
                part => parts.push(part),
            }
        }
        if !exists(&parts.join("/")) {
            breaches.push(Breach::new("link-leads", path, target));
        }
    }
    breaches
}

/// Words of somebody's workplace: the project's texts speak of the project alone.
pub fn of_the_project(path: &str, text: &str) -> Vec<Breach> {
    // Put together here, so that this file does not break its own rule.
    let folders = [concat!("/", "work"), concat!("/", "root"), concat!("/", "home")];
    let words = [concat!("ag", "ent"), concat!("ag", "ents"), concat!("suba", "gent")];
    let phrases =
        [concat!("session", " id"), concat!("session", "_id"), concat!("co-", "authored-by")];
    let mut breaches = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let lower = line.to_lowercase();
        let mut found: Vec<&str> = phrases.iter().copied().filter(|p| lower.contains(p)).collect();
        found.extend(
            lower.split(|c: char| !c.is_alphanumeric()).filter(|word| words.contains(word)),
        );
        // A path from the root of a machine: neither before nor behind it does a name go on.
        found.extend(folders.iter().copied().filter(|folder| {
            lower.match_indices(folder).any(|(at, _)| {
                let before = lower[..at].chars().next_back();
                let behind = lower[at + folder.len()..].chars().next();
                let inside = |c: char| c.is_alphanumeric() || "_-./)}*~\"$".contains(c);
                !before.is_some_and(inside) && behind == Some('/')
            })
        }));
        for word in found {
            breaches.push(Breach::new("of-the-project", format!("{path}:{}", number + 1), word));
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{none, rules, tree};

    /// Every Markdown file, with its path.
    fn documents() -> Vec<(String, String)> {
        let mut texts = tree::texts();
        texts.retain(|(path, _)| path.ends_with(".md"));
        assert!(texts.len() > 10, "only {} documents", texts.len());
        texts
    }

    #[test]
    fn features_and_dependencies_are_told() {
        let manifest = tree::file("Cargo.toml");
        let told: Vec<String> = documents()
            .into_iter()
            .filter(|(path, _)| path == "README.md" || path.starts_with("docs/"))
            .map(|(_, text)| text)
            .collect();
        assert!(entries(&manifest, "[features]").len() > 3);
        assert!(entries(&manifest, "[dependencies]").len() > 8);
        none(features(&manifest, &told.concat()));
        none(dependencies(&manifest, &tree::file("docs/dependencies.md")));
    }

    #[test]
    fn the_table_of_exit_codes_is_that_of_the_code() {
        let code = tree::file("src/error.rs");
        assert_eq!(exit_codes(&code).len(), 5, "{:?}", exit_codes(&code));
        none(codes_told(&code, &tree::file("docs/errors.md")));
    }

    #[test]
    fn every_rule_that_a_text_names_exists() {
        let ids = rule_ids(&tree::file("docs/rules.md"));
        assert!(ids.len() > 100);
        for (path, text) in documents() {
            none(ids_exist(&ids, &path, &text));
        }
        for source in tree::sources("src") {
            let comments = |line: &str| line.trim_start().starts_with("//");
            let blank = |line: &str| if comments(line) { format!("{line}\n") } else { "\n".into() };
            none(ids_exist(
                &ids,
                &source.path,
                &source.text.lines().map(blank).collect::<String>(),
            ));
        }
    }

    #[test]
    fn links_between_documents_lead_somewhere() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (path, text) in documents() {
            none(links_lead(&path, &text, |file| root.join(file).exists()));
        }
    }

    #[test]
    fn every_text_speaks_of_the_project_alone() {
        let texts = tree::texts();
        assert!(texts.len() > 150, "only {} texts", texts.len());
        none(texts.iter().flat_map(|(path, text)| of_the_project(path, text)).collect());
    }

    #[test]
    fn a_silent_feature_and_a_silent_dependency_are_found() {
        let manifest = "[features]\ndefault = []\n# Why.\nnew = []\n\n[dependencies]\nfoo = \"1\"\n\
                        bar = { version = \"1\" }\n\n[dev-dependencies]\nbaz = \"1\"\n";
        assert_eq!(rules(&features(manifest, "a new thing")), ["feature-described"]);
        assert!(features(manifest, "the feature `new`").is_empty());
        let table = "| crate | why |\n|---|---|\n| foo 1, bar | because |\n";
        assert_eq!(
            dependencies(manifest, table),
            [Breach::new("dependency-reasoned", "Cargo.toml", "baz")]
        );
    }

    #[test]
    fn an_exit_code_that_is_missing_wrong_or_invented_is_found() {
        let code = "    pub fn exit_code(&self) -> u8 {\n        match self {\n            \
                    Self::Usage(_) => 2,\n            Self::Lost { .. } => 9,\n        }\n    }\n\
                    Self::Usage(fault) => write!(f, \"usage {fault}\"),\n\
                    Self::Lost { by } => write!(f, \"lost ({by})\"),\n";
        let table = "| 0 | `done` | x |\n| 2 | `usage` | y |\n| 9 | `lost` | z |\n";
        assert!(codes_told(code, table).is_empty(), "{:?}", codes_told(code, table));
        assert_eq!(
            rules(&codes_told(code, &table.replace("| 9 | `lost` | z |\n", ""))),
            ["exit-code"]
        );
        assert_eq!(codes_told(code, &table.replace("`lost`", "`gone`")).len(), 2);
        assert_eq!(codes_told(code, &table.replace("| 9", "| 8")).len(), 2);
    }

    #[test]
    fn an_id_that_no_rule_has_is_found() {
        let ids = BTreeSet::from(["work-target".to_owned()]);
        let found = |text: &str| rules(&ids_exist(&ids, "x.md", text));
        assert_eq!(found("see `work-goal`"), ["rule-id"]);
        assert_eq!(found("refused (miner) [work-goal] here"), ["rule-id"]);
        assert!(
            found("`work-target` [work-target] `work-…` `-goal` `two-words` work-goal").is_empty()
        );
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let exists = |path: &str| ["docs/a.md", "README.md"].contains(&path);
        assert!(
            links_lead("docs/b.md", "[x](a.md#y) [z](../README.md) [w](https://o/p)", exists)
                .is_empty()
        );
        assert_eq!(rules(&links_lead("docs/b.md", "[x](README.md)", exists)), ["link-leads"]);
    }

    #[test]
    fn words_of_a_workplace_are_found_and_ours_are_not() {
        let found = |text: &str| rules(&of_the_project("x.md", text));
        for text in [
            concat!("see /", "work/notes"),
            concat!("`/", "root/x`"),
            concat!("an a", "gent did it"),
            concat!("Session", " ID 5"),
        ] {
            assert_eq!(found(text), ["of-the-project"], "{text}");
        }
        assert!(
            found("src/work/share.rs crate::work work/ agentur https://x.org/root/y").is_empty()
        );
    }
}
