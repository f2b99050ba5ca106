//! How a rule is examined: an honest case, changed in one point, passes or is refused by this very
//! rule.

use hashmix::error::{Result, Rule};

/// Something that is judged.
pub(crate) trait Bench {
    /// What the judge says of it as it stands.
    fn verdict(&self) -> Result<()>;
}

/// A rule and the names of its tests.
pub(crate) struct Examined {
    /// The rule.
    pub(crate) rule: Rule,
    /// Tests in which it lets something pass.
    pub(crate) accepts: &'static [&'static str],
    /// Tests in which it refuses.
    pub(crate) refuses: &'static [&'static str],
}

/// The examinations of a file: real tests, and a table of them named `EXAMINED`.
///
/// For each rule: a name, the rule, how its refusals begin, the honest case, and the tests. A test is
/// a name and a change of the case; `by` names how this one refusal begins, where it differs.
macro_rules! examine {
    ($($name:ident: $rule:path, $blame:literal, $honest:path {
        accepts { $($accept:ident => $good:expr),+ $(,)? }
        refuses { $($refuse:ident $(by $whose:literal)? => $bad:expr),+ $(,)? }
    })+) => {
        pub(crate) const EXAMINED: &[crate::examine::Examined] = &[$(crate::examine::Examined {
            rule: $rule,
            accepts: &[$(stringify!($accept)),+],
            refuses: &[$(stringify!($refuse)),+],
        }),+];
        $(mod $name {
            mod accepts {
                #[allow(unused_imports)]
                use super::super::*;
                $(#[test]
                fn $accept() {
                    crate::examine::accepted($rule, $honest, $good);
                })+
            }
            mod refuses {
                #[allow(unused_imports)]
                use super::super::*;
                $(#[test]
                fn $refuse() {
                    let blame = [$blame $(, $whose)?];
                    crate::examine::refused($rule, blame[blame.len() - 1], $honest, $bad);
                })+
            }
        })+
    };
}

/// The honest case still passes after the change.
pub(crate) fn accepted<B: Bench>(rule: Rule, honest: fn() -> B, change: impl FnOnce(&mut B)) {
    let mut case = honest();
    change(&mut case);
    if let Err(error) = case.verdict() {
        panic!("{} has to let this pass: {error}", rule.id);
    }
}

/// The honest case passes, and after the change this rule refuses it, in these words.
pub(crate) fn refused<B: Bench>(
    rule: Rule,
    blame: &str,
    honest: fn() -> B,
    change: impl FnOnce(&mut B),
) {
    let mut case = honest();
    if let Err(error) = case.verdict() {
        panic!("{} refuses an honest case: {error}", rule.id);
    }
    change(&mut case);
    let error = match case.verdict() {
        Err(error) => error,
        Ok(()) => panic!("{} lets a lie pass", rule.id),
    };
    assert_eq!(error.rule(), rule.id, "{error}");
    let line = error.to_string();
    assert!(line.starts_with(&format!("{blame} [{}] ", rule.id)), "not by {blame}: {line}");
    let fault = error.fault();
    assert!(!fault.place.is_empty() && !fault.expected.is_empty(), "{line}");
    assert!(!fault.found.is_empty() && fault.found != fault.expected, "{line}");
}

mod tests {
    use hashmix::error::Culprit;

    use super::*;

    const RULE: Rule = Rule::new("test-even", "a number is even", "take another one");
    const OTHER: Rule = Rule::new("test-small", "a number is small", "take another one");

    struct Number(u8);

    impl Bench for Number {
        fn verdict(&self) -> Result<()> {
            match self.0 {
                odd if odd % 2 == 1 => Err(RULE.refuses(Culprit::Sender, "number", "even", odd)),
                100.. => Err(OTHER.refuses(Culprit::Sender, "number", "below 100", "100")),
                98 => Err(RULE.refuses(Culprit::Sender, "number", "even", "even")),
                _ => Ok(()),
            }
        }
    }

    fn honest() -> Number {
        Number(2)
    }

    #[test]
    fn what_is_examined_passes_or_is_refused_by_its_rule() {
        accepted(RULE, honest, |number| number.0 = 4);
        refused(RULE, "refused (sender)", honest, |number| number.0 = 3);
    }

    #[test]
    #[should_panic(expected = "has to let this pass")]
    fn a_good_thing_that_is_refused_is_a_failed_test() {
        accepted(RULE, honest, |number| number.0 = 3);
    }

    #[test]
    #[should_panic(expected = "lets a lie pass")]
    fn a_lie_that_passes_is_a_failed_test() {
        refused(RULE, "refused (sender)", honest, |number| number.0 = 4);
    }

    #[test]
    #[should_panic(expected = "test-small")]
    fn a_lie_that_another_rule_refuses_is_a_failed_test() {
        refused(RULE, "refused (sender)", honest, |number| number.0 = 100);
    }

    #[test]
    #[should_panic(expected = "not by refused (miner)")]
    fn a_refusal_that_names_another_culprit_is_a_failed_test() {
        refused(RULE, "refused (miner)", honest, |number| number.0 = 3);
    }

    #[test]
    #[should_panic(expected = "expected even, found even")]
    fn a_refusal_that_shows_no_difference_is_a_failed_test() {
        refused(RULE, "refused (sender)", honest, |number| number.0 = 98);
    }
}
