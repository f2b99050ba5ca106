//! What a fault shows to parties and strangers: never where our files lie, or whom we ask.
//!
//! The log has the whole line. Of a fault of ours nobody else can mend anything, so the rule is all
//! that is told; of a chain's server it is told what is wrong, and not which server it is.

use crate::error::{Culprit, Error};

/// What stands in the place of an address or a path.
const HIDDEN: &str = "(hidden)";
/// What is told of a fault of ours.
const OURS: &str = "see the server's log";

/// The same error as others may see it.
pub fn veil(error: &Error) -> Error {
    let mut veiled = error.clone();
    let ours = matches!(veiled, Error::Broken(_) | Error::Storage(_));
    // A refusal of what somebody sent speaks of that, and knows no path of ours.
    let theirs = matches!(&veiled, Error::Refused { by, .. } if *by != Culprit::Server);
    let fault = match &mut veiled {
        Error::Refused { fault, .. }
        | Error::Usage(fault)
        | Error::Broken(fault)
        | Error::Unavailable(fault)
        | Error::Storage(fault) => fault,
    };
    for text in [&mut fault.place, &mut fault.expected, &mut fault.found] {
        *text = if ours { OURS.to_owned() } else { without(text, !theirs) };
    }
    veiled
}

/// A text without the words that are addresses, and without paths where there may be some.
fn without(text: &str, paths: bool) -> String {
    let shown = |word: &str| {
        let bare = word.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '/');
        let secret = word.contains("://") || (paths && bare.starts_with('/'));
        if secret { HIDDEN.to_owned() } else { word.to_owned() }
    };
    text.split(' ').map(shown).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Rule;

    const RULE: Rule = Rule::new("test-veil", "it holds", "do it");

    #[test]
    fn a_fault_of_ours_shows_its_rule_alone() {
        for error in [
            RULE.unstored("store /srv/me/store", "room", "none"),
            RULE.broken("/srv/me", "tcp://server:1", "x"),
        ] {
            let told = veil(&error).to_string();
            assert!(told.contains("[test-veil]") && told.contains(OURS), "{told}");
            assert!(!told.contains("/srv") && !told.contains("tcp"), "{told}");
        }
    }

    #[test]
    fn whom_we_ask_is_not_told_but_what_is_wrong_is() {
        for error in [
            RULE.unavailable("server tcp://me:50001, tip", "an answer", "cookie (/srv/me/.cookie)"),
            RULE.refuses(Culprit::Server, "server tcp://me:50001", "as http://me:8332", "silence"),
            RULE.refuses(Culprit::Miner, "server tcp://me:50001, output 1", "3", "4"),
        ] {
            let told = veil(&error);
            assert!(!told.to_string().contains("me"), "{told}");
            assert!(told.fault().place.starts_with("server (hidden)"), "{told}");
            assert_eq!(told.exit_code(), error.exit_code());
        }
    }

    #[test]
    fn a_refusal_of_what_was_sent_is_told_word_by_word() {
        let error = RULE.refuses(Culprit::Sender, "question", "a path", "GET /v2/status");
        assert_eq!(veil(&error), error);
    }
}
