//! The only place that reads files: the sources and documents of this checkout.

use std::fs;
use std::path::Path;

use super::source::Source;

/// One file of the checkout.
pub fn file(path: &str) -> String {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&full).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The Rust files below `folder`, by path.
pub fn sources(folder: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    walk(Path::new(env!("CARGO_MANIFEST_DIR")), folder, &mut paths);
    paths.retain(|path| path.ends_with(".rs"));
    assert!(!paths.is_empty(), "no sources below {folder}");
    paths.iter().map(|path| Source::new(path, &file(path))).collect()
}

/// Every text of the checkout that a person may read, with its path. Build output, hidden folders
/// other than `.ci`, and what other programs write or measured are left out.
pub fn texts() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    walk(root, "", &mut paths);
    paths
        .into_iter()
        .filter(|path| path != "Cargo.lock")
        .filter_map(|path| {
            let text = String::from_utf8(fs::read(root.join(&path)).ok()?).ok()?;
            Some((path, text))
        })
        .collect()
}

fn walk(root: &Path, folder: &str, paths: &mut Vec<String>) {
    let mut names: Vec<String> = fs::read_dir(root.join(folder))
        .unwrap_or_else(|error| panic!("{folder}: {error}"))
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| (!name.starts_with('.') || name == ".ci") && name != "target")
        .collect();
    names.sort();
    for name in names {
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if root.join(&path).is_dir() {
            walk(root, &path, paths);
        } else {
            paths.push(path);
        }
    }
}
