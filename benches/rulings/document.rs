//! The place of docs/reliability.md that this bench fills, between its own markers.

use std::fs;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reliability.md");
const MARKS: [&str; 2] = ["<!-- rulings:begin -->", "<!-- rulings:end -->"];

/// Writes the figures if HASHMIX_WRITE_DOCS=1 asks for it: they differ from run to run, so nothing
/// holds the document to them.
pub fn write(figures: &str) {
    if std::env::var("HASHMIX_WRITE_DOCS").is_ok_and(|wish| wish == "1") {
        let kept = fs::read_to_string(PATH).expect("the document");
        let [begin, end] = MARKS;
        let (before, rest) = kept.split_once(begin).expect("where the figures begin");
        let (_, after) = rest.split_once(end).expect("where the figures end");
        let fresh = format!("{before}{begin}\n{figures}{end}{after}");
        fs::write(PATH, fresh).expect("a document that can be written");
    }
}
