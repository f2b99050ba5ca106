//! The places of docs/reliability.md that this suite fills.

#[path = "../policy/figures.rs"]
mod figures;

/// Holds the document to these figures; HASHMIX_WRITE_DOCS=1 writes them instead.
pub(crate) fn hold(names: &[(&str, String)]) {
    figures::hold("docs/reliability.md", |kept| {
        names.iter().fold(kept.to_owned(), |text, (name, figure)| figures::put(&text, name, figure))
    });
}
