//! All changes of a PSBT together, what `hashmix psbt check` says of one, and the table of it all.

use std::sync::LazyLock;

use hashmix::cli;
use hashmix::error::Result;
use hashmix::script::template::Variant;
use tempfile::TempDir;

use crate::mutation::Mutation;
use crate::people::terms;
use crate::receiver::Receiver;
use crate::{
    form, header, hints, inputs, networks, other_fields, outputs, rounds, signatures, spent_outputs,
};

/// Every change of a receiver's honest PSBT.
pub(crate) fn mutations(receiver: &Receiver) -> Vec<Mutation> {
    [
        header::mutations,
        inputs::mutations,
        outputs::mutations,
        spent_outputs::mutations,
        hints::mutations,
        signatures::mutations,
        rounds::mutations,
        other_fields::mutations,
        networks::mutations,
        form::mutations,
    ]
    .into_iter()
    .flat_map(|of_subject| of_subject(receiver))
    .collect()
}

/// The terms of both variants, as files.
static DESK: LazyLock<TempDir> = LazyLock::new(|| {
    let desk = tempfile::tempdir().unwrap();
    for variant in [Variant::Musig, Variant::Nums] {
        let text = serde_json::to_string_pretty(terms(variant)).unwrap();
        std::fs::write(desk.path().join(format!("{variant:?}.json")), text).unwrap();
    }
    desk
});

/// What `hashmix psbt check` says.
pub(crate) fn check(text: &str, variant: Variant) -> Result<Vec<String>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let terms = DESK.path().join(format!("{variant:?}.json"));
    cli::psbt::check(file.path(), &terms, &cli::arguments::SealsArguments::default())
}

/// A line of the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    pub(crate) flow: &'static str,
    pub(crate) transaction: String,
    pub(crate) tried: usize,
    pub(crate) refused: usize,
    pub(crate) warned: usize,
}

/// The table, as Markdown.
pub(crate) fn table(lines: &[Line]) -> String {
    let mut text = "| flow | transaction | mutations tried | refused by their rule | warned of by `hashmix psbt check` |\n|---|---|---|---|---|\n".to_owned();
    let mut row = |flow: &str, name: &str, [tried, refused, warned]: [usize; 3]| {
        text += &format!("| {flow} | {name} | {tried} | {refused} | {warned} |\n");
    };
    let mut sums = [0; 3];
    for line in lines {
        let counts = [line.tried, line.refused, line.warned];
        row(line.flow, &line.transaction, counts);
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    row("all", &format!("{} PSBTs", lines.len()), sums);
    text
}
