//! The lines that docs/errors.md shows are those that the binary says. Those that quote the
//! operating system are left out: it speaks otherwise elsewhere.

use std::process::Command;

use crate::desk::{Desk, refused};

const DOCUMENT: &str = include_str!("../../docs/errors.md");

/// The document's line for a rule.
fn shown(rule: &str) -> &'static str {
    let bracketed = format!(" [{rule}] ");
    let mut lines = DOCUMENT.lines().filter(|line| !line.starts_with('|'));
    lines.find(|line| line.contains(&bracketed)).unwrap()
}

#[test]
fn the_first_example_is_what_the_command_beside_it_says() {
    let command = DOCUMENT.lines().find_map(|line| line.strip_prefix("$ hashmix ")).unwrap();
    let arguments: Vec<&str> = command.split(' ').collect();
    let line = refused(&arguments, "work-pay-lock", 3);
    assert_eq!(line.trim_end(), shown("work-pay-lock"));
}

#[test]
fn a_file_that_is_no_terms_file_is_refused_as_shown() {
    let line = refused(&["terms", "check", "README.md"], "terms-form", 3);
    assert_eq!(line.trim_end(), shown("terms-form"));
}

#[cfg(unix)]
#[test]
fn a_seed_that_others_can_read_is_refused_as_shown() {
    use std::os::unix::fs::PermissionsExt;
    let desk = Desk::new();
    desk.put("seed", "");
    let readable = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(desk.path("seed"), readable).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_hashmix"))
        .args(["wallet", "address", "--home", ".", "--seed", "seed", "--network", "regtest"])
        .current_dir(desk.dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8(output.stderr).unwrap().trim_end(), shown("seed-private"));
}
