//! A source file as its rules see it: code without comments, literals and tests, cut into tokens.

use std::collections::BTreeSet;

/// A file of the crate.
#[derive(Clone, Debug)]
pub struct Source {
    /// Path from the top of the checkout, such as `src/flow/mod.rs`.
    pub path: String,
    /// All of it.
    pub text: String,
    /// Its tokens, tests and comments left out.
    pub tokens: Vec<Token>,
    /// The modules it declares for tests alone.
    pub test_modules: BTreeSet<String>,
}

/// A word or a sign of the code, and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// An identifier, `::`, or one character of punctuation.
    pub text: String,
    /// Counted from 1.
    pub line: usize,
}

impl Token {
    /// Whether it is an identifier (or a number).
    pub fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c == '_' || c.is_alphanumeric())
    }
}

impl Source {
    /// Reads a file's text.
    pub fn new(path: &str, text: &str) -> Self {
        let mut tokens = tokens(&bare(text));
        let test_modules = drop_tests(&mut tokens);
        Self { path: path.to_owned(), text: text.to_owned(), tokens, test_modules }
    }

    /// The module that the file is, from the crate's root: `src/flow/mod.rs` is `flow`.
    pub fn module(&self) -> Vec<String> {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let inner = inner.strip_suffix(".rs").unwrap_or(inner);
        let mut parts: Vec<String> = inner.split('/').map(str::to_owned).collect();
        if parts.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
            parts.pop();
        }
        parts
    }

    /// The modules that the file declares with `mod name;`, tests left out.
    pub fn children(&self) -> BTreeSet<String> {
        let declared = |at: &[Token]| {
            (at[0].text == "mod" && at[1].is_word() && at[2].text == ";")
                .then(|| at[1].text.clone())
        };
        self.tokens.windows(3).filter_map(declared).collect()
    }
}

/// The sources without those that are compiled for tests alone.
pub fn without_tests(sources: &[Source]) -> Vec<&Source> {
    let tests: Vec<Vec<String>> = sources
        .iter()
        .flat_map(|source| {
            let module = source.module();
            source.test_modules.iter().map(move |name| {
                let mut path = module.clone();
                path.push(name.clone());
                path
            })
        })
        .collect();
    let for_tests = |source: &Source| tests.iter().any(|test| source.module().starts_with(test));
    sources.iter().filter(|source| !for_tests(source)).collect()
}

/// The text with comments and the insides of literals blanked; lines stay where they are.
fn bare(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    let mut word_before = false;
    while i < chars.len() {
        let end = match (at(i), at(i + 1)) {
            ('/', '/') => (i..chars.len()).find(|j| at(*j) == '\n').unwrap_or(chars.len()),
            ('/', '*') => comment_end(&chars, i),
            ('"', _) => string_end(&chars, i),
            ('r', '"' | '#') if !word_before || at(i - 1) == 'b' => raw_end(&chars, i),
            ('\'', '\\') => {
                (i + 3..chars.len()).find(|j| at(*j) == '\'').map_or(chars.len(), |j| j + 1)
            }
            ('\'', _) if at(i + 2) == '\'' => i + 3,
            _ => i,
        };
        if end == i {
            out.push(at(i));
            word_before = at(i) == '_' || at(i).is_alphanumeric();
            i += 1;
        } else {
            out.extend(chars[i..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            word_before = false;
            i = end;
        }
    }
    out
}

/// Behind the comment that begins at `start`; comments of this kind nest.
fn comment_end(chars: &[char], start: usize) -> usize {
    let (mut depth, mut i) = (0usize, start);
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') if depth == 1 => return i + 2,
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
    }
    chars.len()
}

/// Behind the string whose quote is at `start`.
fn string_end(chars: &[char], start: usize) -> usize {
    let mut i = start + 1;
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

/// Behind the raw string whose `r` is at `start`; `start` itself if it is a raw identifier.
fn raw_end(chars: &[char], start: usize) -> usize {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return start;
    }
    let closes = |i: usize| {
        chars[i] == '"'
            && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
    };
    (open + 1..chars.len()).find(|i| closes(*i)).map_or(chars.len(), |i| i + 1 + hashes)
}

fn tokens(code: &str) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    for (number, text) in code.lines().enumerate() {
        let line = number + 1;
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if first == '_' || first.is_alphanumeric() {
                rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (token, behind) = rest.split_at(length);
            found.push(Token { text: token.to_owned(), line });
            rest = behind.trim_start();
        }
    }
    found
}

/// Removes every item under `#[cfg(test)]`, and names the modules in other files among them.
fn drop_tests(tokens: &mut Vec<Token>) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    let mut i = 0;
    while i < tokens.len() {
        let Some(after) = test_attribute(&tokens[i..]) else {
            i += 1;
            continue;
        };
        let mut end = i + after;
        while tokens.get(end).is_some_and(|token| token.text == "#") {
            end += closing(&tokens[end + 1..], "[", "]") + 1;
        }
        let item = end;
        // An item ends with its first semicolon or block outside of parentheses and brackets.
        while let Some(token) = tokens.get(end) {
            match token.text.as_str() {
                ";" => break,
                "(" => end += closing(&tokens[end..], "(", ")"),
                "[" => end += closing(&tokens[end..], "[", "]"),
                "{" => {
                    end += closing(&tokens[end..], "{", "}") - 1;
                    break;
                }
                _ => end += 1,
            }
        }
        let names = tokens[item..end.min(tokens.len())].windows(2);
        if tokens.get(end).is_some_and(|token| token.text == ";") {
            modules.extend(names.filter(|at| at[0].text == "mod").map(|at| at[1].text.clone()));
        }
        tokens.drain(i..(end + 1).min(tokens.len()));
    }
    modules
}

/// Length of the attribute that the tokens begin with, if it demands a test build.
fn test_attribute(tokens: &[Token]) -> Option<usize> {
    let texts: Vec<&str> = tokens.iter().take(5).map(|token| token.text.as_str()).collect();
    if !texts.starts_with(&["#", "[", "cfg", "("]) {
        return None;
    }
    let length = closing(&tokens[1..], "[", "]") + 1;
    let inner: Vec<&str> = tokens[4..length - 2].iter().map(|token| token.text.as_str()).collect();
    let wanted = match inner.as_slice() {
        ["test"] => true,
        ["all", "(", conditions @ .., ")"] => {
            conditions.split(|c| *c == ",").any(|c| c == ["test"])
        }
        _ => false,
    };
    wanted.then_some(length)
}

/// Tokens up to and with the one that closes the first, counted.
fn closing(tokens: &[Token], open: &str, close: &str) -> usize {
    let mut depth = 0usize;
    for (i, token) in tokens.iter().enumerate() {
        if token.text == open {
            depth += 1;
        } else if token.text == close {
            depth -= 1;
            if depth == 0 {
                return i + 1;
            }
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let source = Source::new("src/made_up.rs", text);
        source.tokens.into_iter().filter(Token::is_word).map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        let text =
            "a // b\n/* c /* d */ e */ f \"g \\\" h\" r#\"i \" j\"# 'k' '\\'' x<'l> b\"m\" r#n";
        assert_eq!(words(text), ["a", "f", "x", "l", "b", "r", "n"]);
    }

    #[test]
    fn items_for_tests_are_left_out_and_others_stay() {
        let text = "#[cfg(test)]\nmod tests { use a; fn f() { {} } }\n#[cfg(all(test, feature = \"x\"))] \
                    #[path = \"y\"] mod far;\n#[cfg(not(test))] use b;\n#[cfg(feature = \"test\")] use c;";
        let source = Source::new("src/made_up.rs", text);
        assert_eq!(source.test_modules, BTreeSet::from(["far".to_owned()]));
        assert_eq!(words(text), ["cfg", "not", "test", "use", "b", "cfg", "feature", "use", "c"]);
    }

    #[test]
    fn a_file_is_the_module_that_its_path_names() {
        let module = |path| Source::new(path, "").module().join("::");
        assert_eq!(module("src/flow/mod.rs"), "flow");
        assert_eq!(module("src/flow/escrow/txs.rs"), "flow::escrow::txs");
        assert_eq!(module("src/lib.rs"), "");
    }

    #[test]
    fn files_of_test_modules_are_left_out_with_what_lies_below_them() {
        let sources = [
            Source::new("src/a.rs", "#[cfg(test)] mod tests; mod b;"),
            Source::new("src/a/tests.rs", ""),
            Source::new("src/a/tests/deep.rs", ""),
            Source::new("src/a/b.rs", ""),
        ];
        let kept: Vec<_> = without_tests(&sources).into_iter().map(|s| s.path.as_str()).collect();
        assert_eq!(kept, ["src/a.rs", "src/a/b.rs"]);
    }
}
