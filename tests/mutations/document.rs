//! The places of docs/reliability.md that this suite fills, between its own markers. Who else has
//! figures there has markers of his own.

use std::fs;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reliability.md");

/// Holds the document to these figures; HASHMIX_WRITE_DOCS=1 writes them instead.
pub(crate) fn hold(figures: &[(&str, String)]) {
    let kept = fs::read_to_string(PATH).unwrap();
    let fresh = figures.iter().fold(kept.clone(), |text, (name, figure)| put(&text, name, figure));
    if std::env::var("HASHMIX_WRITE_DOCS").is_ok_and(|wish| wish == "1") {
        fs::write(PATH, &fresh).unwrap();
    } else {
        assert!(kept == fresh, "docs/reliability.md is stale: run `just reliability`");
    }
}

/// The text with what lies between the two markers of a name replaced.
fn put(text: &str, name: &str, figure: &str) -> String {
    let [begin, end] = ["begin", "end"].map(|side| format!("<!-- {name}:{side} -->"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    format!("{before}{begin}{figure}{end}{after}")
}

#[test]
fn a_figure_is_put_between_its_own_markers_and_nowhere_else() {
    let text = "a <!-- x:begin -->1<!-- x:end --> b <!-- y:begin -->2<!-- y:end -->";
    let put = put(text, "x", "33");
    assert_eq!(put, "a <!-- x:begin -->33<!-- x:end --> b <!-- y:begin -->2<!-- y:end -->");
}
