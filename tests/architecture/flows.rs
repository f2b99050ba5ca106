//! One shape for every flow: the same files, in the same order, and no flow in another's state.

use std::collections::{BTreeMap, BTreeSet};

use super::Breach;
use super::imports::{Import, imports};
use super::source::Source;

/// What every flow has, and how far up it stands: a file imports those of its own flow that stand
/// below it. Files that only one flow has decide, and stand below its state.
const SHAPE: [(&str, usize); 5] =
    [("mod", 0), ("terms", 1), ("coins", 2), ("txs", 3), ("state", 5)];
/// Where files that only one flow has stand.
const DECIDING: usize = 4;

fn rank(file: &str) -> usize {
    SHAPE.iter().find(|(name, _)| *name == file).map_or(DECIDING, |(_, rank)| *rank)
}

/// The flows: folders below `src/flow`, with the names of their files.
fn flows<'a>(sources: &[&'a Source]) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut flows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for source in sources {
        let inner = source.path.strip_prefix("src/flow/").and_then(|path| path.split_once('/'));
        if let Some((flow, file)) = inner {
            flows.entry(flow).or_default().insert(file.strip_suffix(".rs").unwrap_or(file));
        }
    }
    flows
}

/// Flows that lack one of the files.
pub fn shape(sources: &[&Source]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (flow, files) in flows(sources) {
        let missing = SHAPE.iter().filter(|(name, _)| !files.contains(name));
        breaches.extend(missing.map(|(name, _)| {
            Breach::new("flow-shape", format!("src/flow/{flow}"), format!("no {name}.rs"))
        }));
    }
    breaches
}

/// Names that one module passes on, with what they stand for.
fn passed_on(sources: &[&Source]) -> BTreeMap<Vec<String>, Vec<String>> {
    let mut names = BTreeMap::new();
    for source in sources {
        for import in imports(source).into_iter().filter(|import| import.ours) {
            if let Some(name) = &import.passed_on {
                let mut path = source.module();
                path.push(name.clone());
                if path != import.path {
                    names.insert(path, import.path);
                }
            }
        }
    }
    names
}

/// Where the path leads in the end, when names that others pass on are followed.
fn followed(import: &Import, names: &BTreeMap<Vec<String>, Vec<String>>) -> Vec<String> {
    let mut path = import.path.clone();
    for _ in 0..8 {
        let next = (1..=path.len()).rev().find_map(|length| {
            let mut there = names.get(&path[..length])?.clone();
            there.extend(path[length..].iter().cloned());
            Some(there)
        });
        match next {
            Some(there) => path = there,
            None => break,
        }
    }
    path
}

/// Flows that reach into another one's state, into the contract that plays them, or up in
/// themselves.
pub fn apart(sources: &[&Source]) -> Vec<Breach> {
    let flows = flows(sources);
    let names = passed_on(sources);
    let mut breaches = Vec::new();
    for source in sources {
        let module = source.module();
        let [root, here, file @ ..] = module.as_slice() else { continue };
        if root != "flow" {
            continue;
        }
        let file = file.first().map_or("mod", String::as_str);
        for import in imports(source).iter().filter(|import| import.ours) {
            let path = followed(import, &names);
            let [root, there, part @ ..] = path.as_slice() else { continue };
            if root != "flow" {
                continue;
            }
            let part = part.first().map_or("mod", String::as_str);
            let known = flows.get(there.as_str()).is_some_and(|files| files.contains(part));
            let inside = flows.contains_key(here.as_str());
            let rule = if here == there && inside {
                (file != "mod" && known && rank(part) > rank(file)).then_some("flow-order")
            } else if there == "contract" && here != "contract" {
                Some("flow-contract")
            } else {
                (known && part == "state" && here != "contract").then_some("flow-state")
            };
            if let Some(rule) = rule {
                let place = format!("{}:{}", source.path, import.line);
                breaches.push(Breach::new(rule, place, import.shown()));
            }
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::without_tests;
    use crate::{none, rules, tree};

    /// A house with two flows, and one more file in it.
    fn house(path: &str, text: &str) -> Vec<Source> {
        let mut sources = Vec::new();
        for flow in ["sale", "loan"] {
            for (file, _) in SHAPE {
                sources.push(Source::new(&format!("src/flow/{flow}/{file}.rs"), ""));
            }
        }
        sources.push(Source::new("src/flow/contract.rs", "use crate::flow::sale::state::State;"));
        sources.push(Source::new("src/flow/mod.rs", "mod contract; pub use contract::Contract;"));
        sources.retain(|source| source.path != path);
        sources.push(Source::new(path, text));
        sources
    }

    fn broken(path: &str, text: &str) -> Vec<&'static str> {
        let sources = house(path, text);
        rules(&apart(&sources.iter().collect::<Vec<_>>()))
    }

    #[test]
    fn the_flows_of_the_tree_have_one_shape_and_keep_apart() {
        let sources = tree::sources("src");
        let sources = without_tests(&sources);
        assert!(flows(&sources).len() >= 3, "{:?}", flows(&sources));
        none(shape(&sources));
        none(apart(&sources));
    }

    #[test]
    fn a_flow_without_one_of_the_files_is_found() {
        let mut sources = house("src/flow/sale/memory.rs", "");
        assert!(shape(&sources.iter().collect::<Vec<_>>()).is_empty());
        sources.retain(|source| source.path != "src/flow/loan/coins.rs");
        assert_eq!(rules(&shape(&sources.iter().collect::<Vec<_>>())), ["flow-shape"]);
    }

    #[test]
    fn terms_coins_and_transactions_of_another_flow_may_be_used() {
        let text = "use crate::flow::sale::{terms::T, coins::C, txs::X};";
        assert!(broken("src/flow/loan/state.rs", text).is_empty());
        assert!(broken("src/flow/contract.rs", "use super::loan::state::State;").is_empty());
    }

    #[test]
    fn another_flows_state_is_out_of_reach_however_it_is_named() {
        for text in [
            "use crate::flow::sale::state::State;",
            "use crate::flow::{loan::terms::T, sale}; fn f(s: sale::state::State) {}",
            "use super::super::sale::state;",
        ] {
            assert!(broken("src/flow/loan/state.rs", text).contains(&"flow-state"), "{text}");
        }
    }

    #[test]
    fn a_state_that_is_passed_on_under_another_name_is_still_a_state() {
        let mut sources =
            house("src/flow/sale/terms.rs", "pub use crate::flow::sale::state::State;");
        sources.push(Source::new("src/flow/loan/more.rs", "use crate::flow::sale::terms::State;"));
        let found = rules(&apart(&sources.iter().collect::<Vec<_>>()));
        assert!(found.contains(&"flow-state") && found.contains(&"flow-order"), "{found:?}");
    }

    #[test]
    fn within_a_flow_nothing_points_up_and_none_knows_the_contract() {
        let text = "use crate::flow::sale::txs::X;";
        assert_eq!(broken("src/flow/sale/terms.rs", text), ["flow-order"]);
        assert!(broken("src/flow/sale/state.rs", text).is_empty());
        assert_eq!(broken("src/flow/sale/memory.rs", "use super::state::S;"), ["flow-order"]);
        for text in ["use crate::flow::Contract;", "use crate::flow::contract::Contract;"] {
            assert_eq!(broken("src/flow/sale/state.rs", text), ["flow-contract"], "{text}");
        }
    }
}
