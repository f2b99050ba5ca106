//! What can go wrong, said in one line.
//!
//! Every rule of the product is a constant of type [`Rule`] beside the code that applies it: a
//! stable id, what it demands, and what a person can do when it is broken. An [`Error`] is a rule
//! with the place where it was broken, what was expected and what was found, split by whose fault
//! it is, because that decides what happens next: a peer's message is refused and shown to him, a
//! server is tried again, a fault of ours stops us.
//!
//! | kind | whose | exit code |
//! |---|---|---|
//! | [`Error::Usage`] | the command line | 2 |
//! | [`Error::Refused`] | a peer, a file he sent, a rule of the contract | 3 |
//! | [`Error::Broken`] | ours | 4 |
//! | [`Error::Unavailable`] | the chain or its server | 5 |
//! | [`Error::Storage`] | the disk or the database | 7 |

use core::fmt;

/// The result of everything that can be refused.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// A rule: stable id, what it demands, what to do when it is broken.
///
/// Ids read `<area>-<name>` and never change their meaning once released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Stable id, such as `work-branch-root`.
    pub id: &'static str,
    /// What the rule demands, in one clause.
    pub says: &'static str,
    /// What a person can do about a breach.
    pub advice: &'static str,
}

impl Rule {
    /// A rule with its id, what it demands, and what to do when it is broken.
    pub const fn new(id: &'static str, says: &'static str, advice: &'static str) -> Self {
        Self { id, says, advice }
    }

    /// The rule was broken at `place`, by `by`.
    pub fn refuses(
        self,
        by: Culprit,
        place: impl fmt::Display,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Error {
        Error::Refused { by, fault: Box::new(self.fault(place, expected, found)) }
    }

    /// The command line broke the rule.
    pub fn misused(
        self,
        place: impl fmt::Display,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Error {
        Error::Usage(Box::new(self.fault(place, expected, found)))
    }

    /// We broke the rule ourselves: a bug, never a peer's doing.
    pub fn broken(
        self,
        place: impl fmt::Display,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Error {
        Error::Broken(Box::new(self.fault(place, expected, found)))
    }

    /// The chain or its server could not serve what the rule needs.
    pub fn unavailable(
        self,
        place: impl fmt::Display,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Error {
        Error::Unavailable(Box::new(self.fault(place, expected, found)))
    }

    /// The disk or the database broke the rule.
    pub fn unstored(
        self,
        place: impl fmt::Display,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Error {
        Error::Storage(Box::new(self.fault(place, expected, found)))
    }

    fn fault(
        self,
        place: impl fmt::Display,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Fault {
        Fault {
            rule: self,
            place: one_line(place),
            expected: one_line(expected),
            found: one_line(found),
        }
    }
}

/// Longest text, in characters, that a fault repeats of what it was given.
const LONGEST: usize = 200;

/// What a peer sent must not break our line, hide in control characters or fill a screen.
fn one_line(text: impl fmt::Display) -> String {
    let text = text.to_string();
    // Nearly always there is nothing to do.
    if text.len() <= LONGEST && text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return text;
    }
    let mut line: String =
        text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        line.push('…');
    }
    line
}

/// A rule and the place where it was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The rule that was broken.
    pub rule: Rule,
    /// Where: a file, a field, an input, a height.
    pub place: String,
    /// What the rule expected there.
    pub expected: String,
    /// What was found instead.
    pub found: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "[{}] {}: {}: expected {}, found {}; {}",
            self.rule.id, self.place, self.rule.says, self.expected, self.found, self.rule.advice
        )
    }
}

/// Who broke a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Culprit {
    /// The miner of the contract.
    Miner,
    /// The holder of the contract.
    Holder,
    /// A validator, by his place in the federation's record (0-based).
    Validator(u8),
    /// Whoever handed in the file or message; it names nobody yet.
    Sender,
    /// The Electrum server or node.
    Server,
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Miner => f.write_str("miner"),
            Self::Holder => f.write_str("holder"),
            Self::Validator(place) => write!(f, "validator {place}"),
            Self::Sender => f.write_str("sender"),
            Self::Server => f.write_str("server"),
        }
    }
}

/// Everything that can go wrong, by whose fault it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The command was not understood.
    Usage(Box<Fault>),
    /// A peer, or what he sent, broke a rule.
    Refused {
        /// Who broke it.
        by: Culprit,
        /// Which rule, where and how.
        fault: Box<Fault>,
    },
    /// We broke a rule ourselves.
    Broken(Box<Fault>),
    /// The chain or its server is not there, or not on our network.
    Unavailable(Box<Fault>),
    /// The disk or the database failed.
    Storage(Box<Fault>),
}

impl Error {
    /// The rule, the place, what was expected and what was found.
    pub fn fault(&self) -> &Fault {
        match self {
            Self::Refused { fault, .. }
            | Self::Usage(fault)
            | Self::Broken(fault)
            | Self::Unavailable(fault)
            | Self::Storage(fault) => fault,
        }
    }

    /// The stable id of the broken rule.
    pub fn rule(&self) -> &'static str {
        self.fault().rule.id
    }

    /// The same error, its place led by `place` (a file, a share's number), as seen by a caller
    /// who knows more about where it happened.
    pub fn within(mut self, place: impl fmt::Display) -> Self {
        let fault = match &mut self {
            Self::Refused { fault, .. }
            | Self::Usage(fault)
            | Self::Broken(fault)
            | Self::Unavailable(fault)
            | Self::Storage(fault) => fault,
        };
        fault.place = format!("{}, {}", one_line(place), fault.place);
        self
    }

    /// The exit code of the command (see the module's table).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Refused { .. } => 3,
            Self::Broken(_) => 4,
            Self::Unavailable(_) => 5,
            Self::Storage(_) => 7,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(fault) => write!(f, "usage {fault}"),
            Self::Refused { by, fault } => write!(f, "refused ({by}) {fault}"),
            Self::Broken(fault) => write!(f, "broken (ours) {fault}"),
            Self::Unavailable(fault) => write!(f, "unavailable {fault}"),
            Self::Storage(fault) => write!(f, "storage {fault}"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule::new("test-one-line", "a text is one line", "send one line");

    #[test]
    fn an_error_is_one_line_whatever_a_peer_sent() {
        let error = RULE.refuses(Culprit::Miner, "share 3", "text", "a\nb\u{1b}[31m".repeat(100));
        let line = error.to_string();
        assert_eq!(line.lines().count(), 1);
        assert!(!line.contains('\u{1b}'));
        assert!(line.starts_with("refused (miner) [test-one-line] share 3: "), "{line}");
        assert!(line.len() < 500, "{}", line.len());
    }

    #[test]
    fn each_kind_has_its_exit_code() {
        let codes = [
            RULE.misused("", "", "").exit_code(),
            RULE.refuses(Culprit::Sender, "", "", "").exit_code(),
            RULE.broken("", "", "").exit_code(),
            RULE.unavailable("", "", "").exit_code(),
            RULE.unstored("", "", "").exit_code(),
        ];
        assert_eq!(codes, [2, 3, 4, 5, 7]);
    }
}
