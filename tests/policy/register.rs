//! Every rule of a signer has its tests, and docs/policy.md says which.

use std::collections::{BTreeMap, BTreeSet};

use hashmix::cli::rules;
use hashmix::error::Rule;
use hashmix::policy::issue::RULES as ISSUE;
use hashmix::policy::{self, Reasoned, carried};
use hashmix::validator::reasons;

use crate::examine::Examined;
use crate::figures::{hold, put};
use crate::{
    desk, desk_hears, desk_reads, issue, leaf, memory, outputs, received_form, received_input,
    received_transaction, registered_by_sale, resale, resale_exchange, ruling, seat, shape, sweep,
};

/// Everything that is examined here, by area.
const AREAS: &[&[Examined]] = &[
    seat::EXAMINED,
    ruling::EXAMINED,
    sweep::EXAMINED,
    resale::EXAMINED,
    resale_exchange::EXAMINED,
    registered_by_sale::EXAMINED,
    outputs::EXAMINED,
    shape::EXAMINED,
    leaf::EXAMINED,
    memory::EXAMINED,
    received_transaction::EXAMINED,
    received_form::EXAMINED,
    received_input::EXAMINED,
    desk::EXAMINED,
    desk_reads::EXAMINED,
    desk_hears::EXAMINED,
    issue::EXAMINED,
];

/// Fewest tests in which a rule lets something pass, and in which it refuses.
const FEWEST: (usize, usize) = (1, 2);

fn examined() -> BTreeMap<&'static str, &'static Examined> {
    AREAS.iter().flat_map(|area| area.iter()).map(|one| (one.rule.id, one)).collect()
}

/// The rules of a judgement, of a received PSBT, of a desk and of an issue, with their reasons.
fn reasoned() -> Vec<Reasoned> {
    let others = carried::RULES.into_iter().chain(reasons::RULES).chain(ISSUE);
    policy::rules().into_iter().chain(others).collect()
}

/// Every rule that a signer asks before he signs.
fn all() -> Vec<Rule> {
    let of_issue = |rule: &Rule| ISSUE.iter().any(|reasoned| reasoned.rule.id == rule.id);
    let signers = |rule: &Rule| rule.id.starts_with("policy-") || of_issue(rule);
    rules::all().into_iter().filter(signers).collect()
}

#[test]
fn every_rule_has_one_test_that_accepts_and_two_that_refuse() {
    let examined = examined();
    let few = |id: &&str| match examined.get(id) {
        Some(one) => one.accepts.len() < FEWEST.0 || one.refuses.len() < FEWEST.1,
        None => true,
    };
    let ids = all().into_iter().map(|rule| rule.id);
    let missing: Vec<&str> = ids.filter(few).collect();
    assert!(missing.is_empty(), "examine them (more): {missing:?}");
}

#[test]
fn what_is_examined_is_a_rule() {
    let known: BTreeSet<&str> = all().iter().map(|rule| rule.id).collect();
    let unknown: Vec<&str> = examined().into_keys().filter(|id| !known.contains(id)).collect();
    assert!(unknown.is_empty(), "these are no rules: {unknown:?}");
}

#[test]
fn no_rule_is_examined_or_reasoned_twice_and_none_lacks_a_reason() {
    let places: usize = AREAS.iter().map(|area| area.len()).sum();
    assert_eq!(places, examined().len());
    let reasoned = reasoned();
    let reasons: BTreeMap<&str, &str> =
        reasoned.iter().map(|reasoned| (reasoned.rule.id, reasoned.why)).collect();
    assert_eq!(reasons.len(), reasoned.len());
    let unreasoned = |id: &&str| reasons.get(id).is_none_or(|why| why.is_empty());
    let without: Vec<&str> = examined().into_keys().filter(unreasoned).collect();
    assert!(without.is_empty(), "say why: {without:?}");
}

#[test]
fn the_document_of_the_policy_and_its_figures_are_fresh() {
    hold("docs/policy.md", |_| document());
    let (rules, [accepting, refusing]) = counts();
    hold("docs/reliability.md", |text| {
        let text = put(text, "policy-count", &rules.to_string());
        let sum = accepting + refusing;
        let tests = format!("{sum}: {accepting} accept, {refusing} refuse");
        let text = put(&text, "policy-tests", &tests);
        put(&text, "policy", &format!("\n{}", by_area()))
    });
}

/// All rules, and the tests here that accept and that refuse.
fn counts() -> (usize, [usize; 2]) {
    let examined = examined();
    let accepting = examined.values().map(|one| one.accepts.len()).sum();
    let refusing = examined.values().map(|one| one.refuses.len()).sum();
    (all().len(), [accepting, refusing])
}

/// `policy-<area>-` of an id.
fn area(id: &str) -> String {
    id.split('-').take(2).collect::<Vec<_>>().join("-")
}

fn by_area() -> String {
    let mut areas: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    for one in examined().values() {
        let sums = areas.entry(area(one.rule.id)).or_default();
        let counts = [1, one.accepts.len(), one.refuses.len()];
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let mut text =
        "| area | rules | tests that accept | tests that refuse |\n|---|---|---|---|\n".to_owned();
    for (area, [rules, accepts, refuses]) in &areas {
        text += &format!("| {area} | {rules} | {accepts} | {refuses} |\n");
    }
    text
}

/// docs/policy.md.
fn document() -> String {
    let mut text = [
        "# The policy of a signer",
        "",
        "What is asked before anything is signed: by a validator of each request, by everybody of a PSBT",
        "that came with one, and by a validator's desk of whoever registers a contract, brings words or",
        "asks; and of a position before it is issued. Each rule with the attack that it keeps out, and its tests: the nearest things that it lets",
        "pass, and what it refuses. What each rule demands, and what to do about a refusal, stands in",
        "[rules.md](rules.md). Written by `just reliability`; do not edit.",
        "",
        "The tests lie in `tests/policy`. Each begins with an honest case that passes every rule, and",
        "changes it in one point.",
        "",
        "| rule | why | lets pass | refuses |",
        "|---|---|---|---|",
        "",
    ]
    .join("\n");
    let examined = examined();
    let told = |tests: &[&str]| {
        let names: Vec<String> = tests.iter().map(|name| name.replace('_', " ")).collect();
        names.join("; ")
    };
    for Reasoned { rule, why } in reasoned() {
        let Some(one) = examined.get(rule.id) else { continue };
        let (accepts, refuses) = (told(one.accepts), told(one.refuses));
        text += &format!("| `{}` | {why} | {accepts} | {refuses} |\n", rule.id);
    }
    text
}
