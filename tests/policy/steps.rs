//! The steps of the policy, all of them, in their order: where two rules of neighbouring steps are
//! broken at once, the earlier one is named.

use hashmix::flow::Task;
use hashmix::id::TermsId;
use hashmix::policy::{STEPS, Stage};

use crate::case::{Request, ruling_for_the_miner};

/// A lie for each step that can be told one from outside, by the rule that it breaks. Shape and leaf
/// ask what was just rebuilt, and nobody outside can change that.
type Lie = (&'static str, &'static str, fn(&mut Request));

const LIES: [Lie; 4] = [
    ("seat", "policy-seat-contract", |request| request.contract = TermsId([7; 32])),
    ("request", "policy-ruling-earned", |request| {
        let Task::Ruling { outcome, .. } = &mut request.task else { panic!("a ruling") };
        outcome.earned += bitcoin::Amount::ONE_SAT;
    }),
    ("outputs", "policy-chain-views", |request| request.views = Some(Vec::new())),
    ("memory", "policy-memory-entered", |request| request.stage = Stage::Sign),
];

#[test]
fn the_steps_are_these_in_this_order() {
    let names: Vec<&str> = STEPS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["seat", "request", "outputs", "shape", "leaf", "memory"]);
    let lies: Vec<&str> = LIES.iter().map(|(step, ..)| *step).collect();
    let tellable: Vec<&str> =
        names.into_iter().filter(|name| !matches!(*name, "shape" | "leaf")).collect();
    assert_eq!(lies, tellable);
}

#[test]
fn of_two_broken_rules_the_earlier_steps_is_named() {
    ruling_for_the_miner().judged().unwrap();
    for (place, (earlier, rule, tell)) in LIES.iter().enumerate() {
        let mut request = ruling_for_the_miner();
        tell(&mut request);
        assert_eq!(request.judged().unwrap_err().rule(), *rule, "{earlier} alone");
        for (later, _, also) in &LIES[place + 1..] {
            let mut request = ruling_for_the_miner();
            also(&mut request);
            tell(&mut request);
            assert_eq!(request.judged().unwrap_err().rule(), *rule, "{earlier}, then {later}");
        }
    }
}
