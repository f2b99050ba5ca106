//! What pure code must not name, and what nobody may: effects, floats, chance, `unsafe`.
//!
//! The compiler's lints (src/lib.rs, clippy.toml) deny calls; this denies the names, so that a type
//! of the clock or of a socket does not even appear in a signature.

use std::collections::BTreeSet;

use super::Breach;
use super::imports::imports;
use super::source::Source;

/// Parts of the standard library that touch the world.
const EFFECTS: [&str; 6] = ["fs", "net", "time", "env", "thread", "process"];
/// Crates of randomness.
const CHANCE: [&str; 4] = ["rand", "rand_core", "getrandom", "fastrand"];
/// Names that lead to a clock, to randomness or to an order that differs from run to run.
const WORDS: [(&str, &str); 9] = [
    ("SystemTime", "pure-effects"),
    ("Instant", "pure-effects"),
    ("f32", "pure-floats"),
    ("f64", "pure-floats"),
    ("OsRng", "pure-chance"),
    ("thread_rng", "pure-chance"),
    ("RandomState", "pure-chance"),
    ("HashMap", "pure-chance"),
    ("HashSet", "pure-chance"),
];

/// The modules that src/lib.rs lists in its `pure!` block.
pub fn pure_modules(root: &Source) -> BTreeSet<String> {
    let words = root.tokens.iter().map(|token| token.text.as_str());
    let block: Vec<&str> = words.skip_while(|word| *word != "pure").collect();
    // The macro's own definition comes first, its use second.
    let uses = block.windows(3).rposition(|at| at == ["pure", "!", "{"]).unwrap_or(block.len());
    let inside = block[uses.min(block.len())..].iter().take_while(|word| **word != "}");
    let inside: Vec<&str> = inside.copied().collect();
    inside.windows(2).filter(|at| at[0] == "mod").map(|at| at[1].to_owned()).collect()
}

/// Effects, floats and chance in the files of pure modules.
pub fn pure(modules: &BTreeSet<String>, sources: &[&Source]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for source in sources {
        if !source.module().first().is_some_and(|module| modules.contains(module)) {
            continue;
        }
        for import in imports(source).iter().filter(|import| !import.ours) {
            let place = format!("{}:{}", source.path, import.line);
            let path: Vec<&str> = import.path.iter().map(String::as_str).collect();
            match path.as_slice() {
                ["std", part, ..] if EFFECTS.contains(part) => {
                    breaches.push(Breach::new("pure-effects", place, import.shown()));
                }
                [name, ..] if CHANCE.contains(name) => {
                    breaches.push(Breach::new("pure-chance", place, import.shown()));
                }
                _ => {}
            }
        }
        for token in &source.tokens {
            if let Some((word, rule)) = WORDS.iter().find(|(word, _)| *word == token.text) {
                let place = format!("{}:{}", source.path, token.line);
                breaches.push(Breach::new(rule, place, word));
            }
        }
    }
    breaches
}

/// The younger secp256k1 outside of src/musig: elsewhere the one that `bitcoin` brings is used.
pub fn one_secp256k1(sources: &[&Source]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for source in sources.iter().filter(|s| s.module().first().is_none_or(|m| m != "musig")) {
        for import in imports(source) {
            if !import.ours && import.path.first().is_some_and(|name| name == "secp256k1") {
                let place = format!("{}:{}", source.path, import.line);
                breaches.push(Breach::new("secp256k1-in-musig", place, import.shown()));
            }
        }
    }
    breaches
}

/// `unsafe` anywhere in code, that for tests included if it is given.
pub fn safe(sources: &[&Source]) -> Vec<Breach> {
    let unsafe_tokens = |source: &Source| {
        let tokens = source.tokens.iter().filter(|token| token.text == "unsafe");
        tokens
            .map(|token| Breach::new("no-unsafe", format!("{}:{}", source.path, token.line), ""))
            .collect::<Vec<_>>()
    };
    sources.iter().flat_map(|source| unsafe_tokens(source)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::without_tests;
    use crate::{none, rules, tree};

    fn broken(text: &str) -> Vec<&'static str> {
        let source = Source::new("src/flow/made_up.rs", text);
        rules(&pure(&BTreeSet::from(["flow".to_owned()]), &[&source]))
    }

    #[test]
    fn the_tree_is_pure_where_it_says_so() {
        let all = tree::sources("src");
        let sources = without_tests(&all);
        let root = all.iter().find(|source| source.path == "src/lib.rs").unwrap();
        let modules = pure_modules(root);
        for module in ["amount", "flow", "guard", "musig", "script", "tx", "work"] {
            assert!(modules.contains(module), "{module} is not among {modules:?}");
        }
        none(pure(&modules, &sources));
        none(one_secp256k1(&sources));
        none(safe(&all.iter().collect::<Vec<_>>()));
    }

    #[test]
    fn the_block_of_pure_modules_is_read_and_not_the_macro() {
        let text = "macro_rules! pure { ($(pub mod $name:ident;)*) => { x } }\n\
                    pure! { pub mod a; /// docs\n pub mod b; }\npub mod c;";
        let modules = pure_modules(&Source::new("src/lib.rs", text));
        assert_eq!(modules, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn effects_are_found_however_they_are_named() {
        for text in [
            "use std::fs;",
            "use std::{collections::BTreeMap, net::TcpStream};",
            "use std as s; fn f() { s::env::var(\"X\"); }",
            "fn f() { std::thread::yield_now() }",
            "fn f() { ::std::process::exit(1) }",
            "use std::time::Duration;",
        ] {
            assert!(broken(text).contains(&"pure-effects"), "{text}: {:?}", broken(text));
        }
        assert_eq!(broken("fn f(t: SystemTime) {}"), ["pure-effects"]);
    }

    #[test]
    fn floats_and_chance_are_found() {
        assert_eq!(broken("fn f(x: f64) {}"), ["pure-floats"]);
        assert_eq!(broken("fn f() { getrandom::fill(&mut b) }"), ["pure-chance"]);
        assert!(broken("use std::collections::HashMap;").contains(&"pure-chance"));
    }

    #[test]
    fn comments_tests_and_adapters_may_name_them() {
        let text =
            "/// Unlike std::fs.\nfn f() { g(\"f64\") }\n#[cfg(test)] mod t { use std::fs; }";
        assert!(broken(text).is_empty());
        let adapter = Source::new("src/chain/x.rs", "use std::net::TcpStream;");
        assert!(pure(&BTreeSet::from(["flow".to_owned()]), &[&adapter]).is_empty());
    }

    #[test]
    fn the_younger_secp256k1_is_found_outside_of_musig() {
        let found = |path, text| rules(&one_secp256k1(&[&Source::new(path, text)]));
        assert_eq!(found("src/tx/x.rs", "use secp256k1::Keypair;"), ["secp256k1-in-musig"]);
        assert_eq!(found("src/tx/x.rs", "fn f(k: ::secp256k1::Key) {}"), ["secp256k1-in-musig"]);
        assert!(found("src/tx/x.rs", "use bitcoin::secp256k1; use secp256k1::Keypair;").is_empty());
        assert!(found("src/musig/x.rs", "use secp256k1::Keypair;").is_empty());
    }

    #[test]
    fn unsafe_code_is_found_and_unsafe_words_are_not() {
        let found = |text| rules(&safe(&[&Source::new("src/x.rs", text)]));
        assert_eq!(found("fn f() { unsafe { g() } }"), ["no-unsafe"]);
        assert!(found("// unsafe\nfn unsafe_line() { f(\"unsafe\") }").is_empty());
    }
}
