//! Documents that the tests fill: each figure lies between markers of its own name. Another binary
//! uses this file too.

use std::fs;
use std::path::Path;

/// Holds a document to the code; HASHMIX_WRITE_DOCS=1 writes it instead.
pub(crate) fn hold(path: &str, fresh: impl Fn(&str) -> String) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let kept = fs::read_to_string(&file).unwrap_or_default();
    let fresh = fresh(&kept);
    if std::env::var("HASHMIX_WRITE_DOCS").is_ok_and(|wish| wish == "1") {
        fs::write(&file, &fresh).unwrap();
    } else {
        assert!(kept == fresh, "{path} is stale: run `just reliability`");
    }
}

/// The text with what lies between the two markers of a name replaced.
pub(crate) fn put(text: &str, name: &str, figure: &str) -> String {
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
