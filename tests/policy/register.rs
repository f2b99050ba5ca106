//! Every rule of a signer has its tests, and docs/policy.md says which.

use std::collections::{BTreeMap, BTreeSet};

use hashmix::policy;

use crate::examine::Examined;
use crate::{
    leaf, memory, outputs, received_form, received_input, received_transaction, ruling, seat,
    shape, sweep,
};

/// Everything that is examined here, by area.
const AREAS: &[&[Examined]] = &[
    seat::EXAMINED,
    ruling::EXAMINED,
    sweep::EXAMINED,
    outputs::EXAMINED,
    shape::EXAMINED,
    leaf::EXAMINED,
    memory::EXAMINED,
    received_transaction::EXAMINED,
    received_form::EXAMINED,
    received_input::EXAMINED,
];

/// Fewest tests in which a rule lets something pass, and in which it refuses.
const FEWEST: (usize, usize) = (1, 2);

#[test]
fn every_rule_has_one_test_that_accepts_and_two_that_refuse() {
    let examined: BTreeMap<&str, (usize, usize)> = AREAS
        .iter()
        .flat_map(|area| area.iter())
        .map(|examined| (examined.rule.id, (examined.accepts.len(), examined.refuses.len())))
        .collect();
    let few = |id: &str| examined.get(id).is_none_or(|(a, r)| *a < FEWEST.0 || *r < FEWEST.1);
    let rules = policy::rules();
    let missing: BTreeSet<&str> =
        rules.iter().map(|reasoned| reasoned.rule.id).filter(|id| few(id)).collect();
    assert!(missing.is_empty(), "examine them too: {missing:?}");
}
