//! Nothing points up: the table of layers in ARCHITECTURE.md, and the imports that must obey it.
//!
//! The table is read from the document, so picture and test are one. A layer may import itself and
//! those that its row names; a row can name only rows above it. Tests are exempt: they play all
//! parts at once.

use std::collections::{BTreeMap, BTreeSet};

use super::Breach;
use super::imports::imports;
use super::source::Source;

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// What the document calls it.
    pub name: String,
    /// Top-level modules.
    pub modules: Vec<String>,
    /// Names of the layers that it may import.
    pub below: Vec<String>,
}

/// Words in the last column for every row above.
const EVERYTHING: &str = "everything above";
/// Words in the last column for no other row.
const NOTHING: &str = "nothing";

/// The rows of the table under "may import", and what is wrong with it.
pub fn table(document: &str) -> (Vec<Layer>, Vec<Breach>) {
    let mut layers: Vec<Layer> = Vec::new();
    let mut breaches = Vec::new();
    let rows = document
        .lines()
        .skip_while(|line| !(line.starts_with('|') && line.contains("may import")))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, modules, below] = cells.as_slice() else {
            breaches.push(Breach::new("table-form", row, "not three columns"));
            continue;
        };
        let above: Vec<String> = layers.iter().map(|layer| layer.name.clone()).collect();
        let below: Vec<String> = match *below {
            EVERYTHING => above.clone(),
            NOTHING => Vec::new(),
            names => names.split(',').map(|name| name.trim().to_owned()).collect(),
        };
        for name in below.iter().filter(|name| !above.contains(name)) {
            breaches.push(Breach::new("table-points-up", row, format!("{name} is not above")));
        }
        let modules = modules.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        layers.push(Layer { name: (*name).to_owned(), modules, below });
    }
    (layers, breaches)
}

/// Every top-level module of the crate stands in the table once, and nothing else does.
pub fn complete(layers: &[Layer], root: &Source) -> Vec<Breach> {
    let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
    for module in layers.iter().flat_map(|layer| &layer.modules) {
        *rows.entry(module).or_default() += 1;
    }
    let modules = root.children();
    let missing = modules.iter().filter(|module| !rows.contains_key(module.as_str()));
    let mut breaches: Vec<Breach> =
        missing.map(|module| Breach::new("module-in-table", &root.path, module)).collect();
    for (module, count) in rows {
        if count > 1 {
            breaches.push(Breach::new("module-once", "ARCHITECTURE.md", module));
        }
        if !modules.contains(module) {
            breaches.push(Breach::new("module-exists", "ARCHITECTURE.md", module));
        }
    }
    breaches
}

/// Imports that the table does not allow.
pub fn downward(layers: &[Layer], sources: &[&Source]) -> Vec<Breach> {
    let of = |module: &str| layers.iter().find(|layer| layer.modules.iter().any(|m| m == module));
    let mut breaches = Vec::new();
    for source in sources {
        let module = source.module();
        for import in imports(source).iter().filter(|import| import.ours) {
            let place = format!("{}:{}", source.path, import.line);
            // An inline module may take in all of the file around it.
            if import.glob && import.path != module {
                breaches.push(Breach::new("import-names-things", &place, import.shown()));
            }
            let (Some(there), Some(here)) = (import.path.first(), module.first()) else {
                // The command starts the command line and knows nothing else; the root knows none.
                if import.path.first().is_some_and(|there| there != "cli") {
                    breaches.push(Breach::new("root-is-empty", &place, import.shown()));
                }
                continue;
            };
            match (of(here), of(there)) {
                (Some(here), Some(there))
                    if here.name == there.name || here.below.contains(&there.name) => {}
                _ => breaches.push(Breach::new("points-down", &place, import.shown())),
            }
        }
    }
    breaches
}

/// Top-level modules that import each other in a circle.
pub fn circles(sources: &[&Source]) -> Vec<Breach> {
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources {
        let Some(here) = source.module().first().cloned() else { continue };
        let there = imports(source).into_iter().filter(|import| import.ours);
        let there = there.filter_map(|import| import.path.first().cloned());
        arrows.entry(here.clone()).or_default().extend(there.filter(|there| *there != here));
    }
    // What imports nothing that is left is no part of a circle.
    loop {
        let left: BTreeSet<String> = arrows.keys().cloned().collect();
        let before = arrows.len();
        arrows.retain(|_, there| there.intersection(&left).next().is_some());
        if arrows.len() == before {
            break;
        }
    }
    let left: Vec<String> = arrows.into_keys().collect();
    if left.is_empty() {
        return Vec::new();
    }
    vec![Breach::new("no-circles", "src", left.join(", "))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::without_tests;
    use crate::{none, rules, tree};

    const TABLE: &str = "\
| layer | modules | may import |
|---|---|---|
| words | `id` `error` | nothing |
| flows | `flow` | words |
| adapters | `chain` | words |
| engine | `engine` | everything above |

after it";

    fn broken(path: &str, text: &str) -> Vec<&'static str> {
        let (layers, wrong) = table(TABLE);
        assert!(wrong.is_empty());
        let source = Source::new(path, text);
        rules(&downward(&layers, &[&source]))
    }

    #[test]
    fn the_tree_points_down() {
        let sources = tree::sources("src");
        let (layers, breaches) = table(&tree::file("ARCHITECTURE.md"));
        none(breaches);
        let root = sources.iter().find(|source| source.path == "src/lib.rs").unwrap();
        none(complete(&layers, root));
        none(downward(&layers, &without_tests(&sources)));
        none(circles(&without_tests(&sources)));
    }

    #[test]
    fn the_tree_is_really_read() {
        let sources = tree::sources("src");
        let count: usize = without_tests(&sources).iter().map(|s| imports(s).len()).sum();
        assert!(count > 1_000, "only {count} imports found");
        let (layers, _) = table(&tree::file("ARCHITECTURE.md"));
        assert!(layers.len() >= 10, "{layers:?}");
    }

    #[test]
    fn imports_of_layers_below_and_of_the_own_one_pass() {
        assert!(broken("src/flow/mod.rs", "use crate::{id::Id, error};").is_empty());
        assert!(broken("src/id.rs", "use crate::error::Rule;").is_empty());
        assert!(broken("src/engine/a.rs", "use crate::chain; use super::b;").is_empty());
        assert!(broken("src/flow/mod.rs", "#[cfg(test)] mod t { use crate::engine; }").is_empty());
    }

    #[test]
    fn an_import_that_points_up_or_sideways_is_found_however_it_is_written() {
        for text in [
            "use crate::engine::Engine;",
            "use crate::{error, chain::{electrum::Electrum}};",
            "use super::chain as c;",
            "pub use crate::chain::Electrum;",
            "fn f() -> crate::engine::Engine { g() }",
            "fn f() { super::engine::run() }",
            "use crate::unheard_of;",
        ] {
            assert_eq!(broken("src/flow.rs", text), ["points-down"], "{text}");
        }
        assert_eq!(broken("src/id.rs", "use crate::flow::X;"), ["points-down"]);
        assert_eq!(broken("src/id.rs", "use crate::error::*;"), ["import-names-things"]);
        assert_eq!(broken("src/main.rs", "use hashmix::engine;"), ["root-is-empty"]);
    }

    #[test]
    fn a_table_that_points_up_is_found() {
        let bent = TABLE.replace("`flow` | words", "`flow` | words, engine");
        assert_eq!(rules(&table(&bent).1), ["table-points-up"]);
        assert_eq!(rules(&table(&TABLE.replace("`id` `error` |", "`id`")).1)[0], "table-form");
    }

    #[test]
    fn modules_that_the_table_forgets_repeats_or_invents_are_found() {
        let root = |text: &str| Source::new("src/lib.rs", text);
        let all = "mod id; mod error; pub mod flow; pub mod chain; mod engine;";
        let check =
            |table_text: &str, text: &str| rules(&complete(&table(table_text).0, &root(text)));
        assert!(check(TABLE, all).is_empty());
        assert_eq!(check(TABLE, &format!("{all} mod fresh;")), ["module-in-table"]);
        assert_eq!(check(TABLE, &all.replace("mod id;", "")), ["module-exists"]);
        assert_eq!(check(&TABLE.replace("`flow`", "`flow` `id`"), all), ["module-once"]);
    }

    #[test]
    fn a_circle_is_found() {
        let one = Source::new("src/a.rs", "use crate::b::X;");
        let other = Source::new("src/b/c.rs", "fn f() { crate::a::g() }");
        let outside = Source::new("src/d.rs", "use crate::a;");
        assert_eq!(rules(&circles(&[&one, &other, &outside])), ["no-circles"]);
        assert!(circles(&[&one, &outside]).is_empty());
    }
}
