//! What a file names of others: `use` with all its braces, and paths in the middle of the code.

use std::collections::BTreeMap;

use super::source::{Source, Token};

/// Something that a file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The whole path: from the crate's root if it is `ours`, else from another crate's name.
    pub path: Vec<String>,
    /// Whether it lies in this crate.
    pub ours: bool,
    /// Whether it ends with `*`.
    pub glob: bool,
    /// The name under which the file passes it on to others, if it does.
    pub passed_on: Option<String>,
    /// Where.
    pub line: usize,
}

impl Import {
    /// As it is written, from the root.
    pub fn shown(&self) -> String {
        let root = if self.ours { "crate::" } else { "" };
        format!("{root}{}{}", self.path.join("::"), if self.glob { "::*" } else { "" })
    }
}

/// A `use` or a path, before it is known what it stands for.
struct Named {
    path: Vec<String>,
    /// The name it has in this file.
    binds: Option<String>,
    glob: bool,
    public: bool,
    line: usize,
    /// Inline modules around it.
    within: Vec<String>,
}

/// Names that the file itself gave to paths, by `use`.
type Bound = BTreeMap<String, (Vec<String>, bool)>;

/// Everything that the file names, in its order.
pub fn imports(source: &Source) -> Vec<Import> {
    let named = named(&source.tokens);
    let mut bound = Bound::new();
    // Twice, because a name may be bound through another one that is bound below it.
    for _ in 0..2 {
        for one in named.iter().filter(|one| !one.glob) {
            if let Some(name) = &one.binds {
                let place = root(source, one, &bound);
                if place != (vec![name.clone()], false) {
                    bound.insert(name.clone(), place);
                }
            }
        }
    }
    named
        .iter()
        .map(|one| {
            let (path, ours) = root(source, one, &bound);
            let passed_on = one.binds.clone().filter(|_| one.public);
            Import { path, ours, glob: one.glob, passed_on, line: one.line }
        })
        .collect()
}

/// The path from its root, and whether that is this crate's.
fn root(source: &Source, named: &Named, bound: &Bound) -> (Vec<String>, bool) {
    let mut here = source.module();
    here.extend(named.within.iter().cloned());
    let mut rest = named.path.as_slice();
    let Some((first, behind)) = rest.split_first() else { return (Vec::new(), false) };
    let mut base = match first.as_str() {
        "crate" => Vec::new(),
        // The command's own crate calls the library by its name.
        "hashmix" => Vec::new(),
        "self" => here,
        "super" => {
            here.pop();
            here
        }
        name if source.children().contains(name) => {
            here.push(name.to_owned());
            here
        }
        // A `use` that binds its own first name, such as `use foo::foo;`, means the other crate.
        name => match bound.get(name) {
            Some((path, ours)) if named.binds.is_none() || !named.path.starts_with(path) => {
                let mut path = path.clone();
                path.extend(behind.iter().cloned());
                return (path, *ours);
            }
            _ => return (rest.to_vec(), false),
        },
    };
    rest = behind;
    while rest.first().is_some_and(|part| part == "super") {
        base.pop();
        rest = &rest[1..];
    }
    base.extend(rest.iter().cloned());
    (base, true)
}

fn named(tokens: &[Token]) -> Vec<Named> {
    let mut found = Vec::new();
    let mut within: Vec<(String, usize)> = Vec::new();
    let (mut i, mut depth) = (0, 0usize);
    while i < tokens.len() {
        let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
        let inner = || within.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        match text(i) {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                within.retain(|(_, outside)| *outside < depth);
            }
            "mod" if text(i + 2) == "{" => within.push((text(i + 1).to_owned(), depth)),
            // `use<'a>` in a bound is no import.
            "use" if text(i + 1) != "<" => {
                let public = i > 0 && ["pub", ")"].contains(&text(i - 1));
                let line = tokens[i].line;
                let mut leaves = Vec::new();
                i = tree(tokens, i + 1, &[], &mut leaves);
                found.extend(leaves.into_iter().map(|(path, binds, glob)| Named {
                    path,
                    binds,
                    glob,
                    public,
                    line,
                    within: inner(),
                }));
            }
            _ if tokens[i].is_word() && text(i + 1) == "::" && begins(tokens, i) => {
                let line = tokens[i].line;
                let mut path = vec![text(i).to_owned()];
                while text(i + 1) == "::" && tokens.get(i + 2).is_some_and(Token::is_word) {
                    path.push(text(i + 2).to_owned());
                    i += 2;
                }
                found.push(Named {
                    path,
                    binds: None,
                    glob: false,
                    public: false,
                    line,
                    within: inner(),
                });
            }
            _ => {}
        }
        i += 1;
    }
    found
}

/// Whether a path begins at `i`: it follows no `::`, or one that follows nothing itself.
fn begins(tokens: &[Token], i: usize) -> bool {
    let before = |steps: usize| i.checked_sub(steps).and_then(|at| tokens.get(at));
    match (before(2), before(1)) {
        (Some(first), Some(sign)) if sign.text == "::" => !first.is_word() && first.text != ">",
        _ => true,
    }
}

type Leaf = (Vec<String>, Option<String>, bool);

/// Reads one branch of a `use` from `i`; answers with the place of what ends it.
fn tree(tokens: &[Token], mut i: usize, before: &[String], leaves: &mut Vec<Leaf>) -> usize {
    let mut path = before.to_vec();
    while let Some(token) = tokens.get(i) {
        match token.text.as_str() {
            "::" => {}
            "{" => {
                loop {
                    i = tree(tokens, i + 1, &path, leaves);
                    if tokens.get(i).is_none_or(|token| token.text != ",") {
                        break;
                    }
                }
                return i + 1;
            }
            "*" => {
                leaves.push((path, None, true));
                return i + 1;
            }
            "as" => {
                let name = tokens.get(i + 1).map(|token| token.text.clone());
                leaves.push((path, name, false));
                return i + 2;
            }
            "self" if !path.is_empty() => {}
            _ if token.is_word() => path.push(token.text.clone()),
            _ => break,
        }
        i += 1;
    }
    if path.len() > before.len() || tokens.get(i.wrapping_sub(1)).is_some_and(|t| t.text == "self")
    {
        let name = path.last().cloned();
        leaves.push((path, name, false));
    }
    i
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(path: &str, text: &str) -> Vec<String> {
        imports(&Source::new(path, text)).iter().map(Import::shown).collect()
    }

    #[test]
    fn nested_braces_renames_and_globs_are_read() {
        let text = "use crate::{a, b::{self, c as d, e::*}};\npub use super::f;";
        assert_eq!(
            shown("src/x/y.rs", text),
            ["crate::a", "crate::b", "crate::b::c", "crate::b::e::*", "crate::x::f"]
        );
    }

    #[test]
    fn paths_in_the_code_are_read_and_lead_through_the_names_that_the_file_gave() {
        let text = "use crate::flow::{self, escrow as e}; mod near;\n\
                    fn f() { flow::x::y(); e::state::S; near::n(); self::m(); super::super::o(); \
                    a::<crate::p::Q>::b(); }";
        let all = shown("src/u/v.rs", text);
        for path in
            ["flow::x::y", "flow::escrow::state::S", "u::v::near::n", "u::v::m", "o", "p::Q"]
        {
            assert!(all.contains(&format!("crate::{path}")), "{path} in {all:?}");
        }
    }

    #[test]
    fn other_crates_are_told_from_our_own_modules() {
        let text = "use bitcoin::secp256k1; use secp256k1::Keypair;\nuse std::{fs, io::Read};";
        let all = shown("src/x.rs", text);
        assert_eq!(
            all,
            ["bitcoin::secp256k1", "bitcoin::secp256k1::Keypair", "std::fs", "std::io::Read"]
        );
    }

    #[test]
    fn what_a_file_passes_on_is_marked() {
        let found =
            imports(&Source::new("src/x.rs", "pub(crate) use crate::a::B as C; use crate::d;"));
        assert_eq!(found[0].passed_on.as_deref(), Some("C"));
        assert_eq!(found[1].passed_on, None);
    }

    #[test]
    fn inline_modules_count_as_a_step() {
        assert_eq!(
            shown("src/x.rs", "mod m { use super::y; } use self::z;"),
            ["crate::x::y", "crate::x::z"]
        );
    }
}
