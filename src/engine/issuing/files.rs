//! The files of a dossier's words, which anybody may put there: one that cannot be read is told like one
//! that says nonsense, and stops nobody.

use crate::error::{Error, Result, Rule};
use crate::relay::words::Words;

/// What is read has a bound.
pub const FILES: Rule = Rule::new(
    "position-words",
    "of a position's words at most 4,096 files are read, those first that are named as the command names them",
    "take out of the folder what is no word of this position",
);

/// Names of files, and what is told of the others.
type Names = (Vec<String>, Option<(String, Error)>);

/// Most files that are read.
const MOST: usize = 4_096;

/// The names of the files to read, and a refusal if there are more.
pub(super) fn names(words: &Words) -> Result<Names> {
    Ok(bounded(words.names()?))
}

fn bounded(mut names: Vec<String>) -> Names {
    let count = names.len();
    // `validator-2-receipted-0123456789abcdef.json`
    let ours = |name: &str| name.starts_with("miner-") || name.starts_with("validator-");
    names.sort_by(|one, other| (!ours(one), one).cmp(&(!ours(other), other)));
    names.truncate(MOST);
    let more = (count > MOST).then(|| {
        let expected = format!("at most {MOST} files");
        ("words".to_owned(), FILES.unavailable("words", expected, format!("{count} files")))
    });
    (names, more)
}

/// The text of a file. What the disk does not give out, a permission that is missing perhaps, is no
/// fault of our own store.
pub(super) fn text(words: &Words, name: &str) -> Result<String> {
    words.read(name).map_err(as_a_word)
}

fn as_a_word(error: Error) -> Error {
    match error {
        Error::Storage(fault) => Error::Unavailable(fault),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_first_and_a_flood_is_told() {
        let flood = (0..10_000).map(|number| format!("0{number}"));
        let (names, more) = bounded(flood.chain(["miner-asked-1.json".to_owned()]).collect());
        assert_eq!((names.len(), names[0].as_str()), (MOST, "miner-asked-1.json"));
        let (name, error) = more.unwrap();
        assert_eq!((name.as_str(), error.rule()), ("words", "position-words"));
        assert_eq!(error.fault().found, "10001 files");
        for count in [0, MOST] {
            let (names, more) = bounded((0..count).map(|number| number.to_string()).collect());
            assert_eq!((names.len(), more.is_none()), (count, true));
        }
    }

    #[test]
    fn a_file_that_the_disk_does_not_give_out_is_told_and_stops_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let words = Words::open(dir.path()).unwrap();
        let missing = text(&words, "gone.json").unwrap_err();
        assert_eq!((missing.rule(), missing.exit_code()), ("relay-folder", 5));
        std::fs::create_dir(dir.path().join("folder.json")).unwrap();
        assert_eq!(text(&words, "folder.json").unwrap_err().exit_code(), 3);
        words.add("good.json", "{}").unwrap();
        assert_eq!(text(&words, "good.json").unwrap(), "{}");
    }
}
