//! One field at a time, for every transaction: refused by the rule that the change names.

use std::collections::{BTreeMap, BTreeSet};

use hashmix::tx::carrier::RULES;

use crate::document;
use crate::mutation::sent;
use crate::receiver::{Receiver, Way};
use crate::suite::{Line, check, mutations, table};
use crate::transactions;

/// Fewest lies that a transaction must be told.
const FEWEST: usize = 45;

pub(crate) fn receivers() -> Vec<Receiver> {
    let count = transactions::all().len();
    let one = |place: usize| transactions::all().swap_remove(place);
    (0..count).flat_map(|place| Receiver::of(|| one(place))).collect()
}

fn title(receiver: &Receiver) -> String {
    let way = match receiver.way {
        Way::Leaf => "",
        Way::FirstRound => ", first round",
        Way::SecondRound => ", second round",
    };
    format!("{:?}: {}{way}", receiver.transaction.variant, receiver.transaction.name)
}

#[test]
fn every_single_lie_is_refused_by_its_rule_and_the_document_counts_them() {
    let (mut lines, mut faults) = (Vec::new(), Vec::new());
    let mut rules: BTreeMap<&str, usize> = BTreeMap::new();
    for receiver in receivers() {
        let title = title(&receiver);
        let variant = receiver.transaction.variant;
        let mut line =
            Line { flow: receiver.transaction.flow, transaction: title.clone(), ..Line::default() };
        let honest = check(&receiver.honest.to_string(), variant);
        assert!(honest.is_ok(), "{title}: {honest:?}");
        let mut names = BTreeSet::new();
        for mutation in mutations(&receiver) {
            let Some(text) = sent(&receiver.honest, &[&mutation]) else { continue };
            let mut fault = |found: String| {
                faults.push(format!("{title}: {}: {}, {found}", mutation.name, mutation.rule));
            };
            if !names.insert(mutation.name.clone()) {
                fault("told twice".to_owned());
            }
            line.tried += 1;
            match receiver.receive(&text) {
                Err(error) if error.rule() == mutation.rule => {
                    line.refused += 1;
                    *rules.entry(mutation.rule).or_insert(0) += 1;
                }
                Err(error) => fault(error.to_string()),
                Ok(tx) if tx == receiver.unharmed => fault("ACCEPTED, without effect".to_owned()),
                Ok(tx) => fault(format!("SIGNED {tx:?}")),
            }
            if let Some(rule) = mutation.warned {
                match check(&text, variant) {
                    Err(error) if error.rule() == rule => line.warned += 1,
                    Err(error) => fault(format!("warned otherwise than by {rule}: {error}")),
                    Ok(_) => fault(format!("not warned of by {rule}")),
                }
            }
        }
        if names.len() < FEWEST {
            faults.push(format!("{title}: {} lies only", names.len()));
        }
        lines.push(line);
    }
    let silent = RULES.iter().filter(|rule| !rules.contains_key(rule.id) && !unsent(rule.id));
    faults.extend(silent.map(|rule| format!("no lie meets {}", rule.id)));
    let shown: Vec<_> = faults.iter().take(60).map(String::as_str).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), shown.join("\n"));

    let tried: usize = lines.iter().map(|line| line.tried).sum();
    let refused: usize = lines.iter().map(|line| line.refused).sum();
    let by_rule: String =
        rules.iter().map(|(rule, count)| format!("| `{rule}` | {count} |\n")).collect();
    let joint = rules.iter().filter(|(rule, _)| !rule.starts_with("policy-"));
    let joint: usize = joint.map(|(_, count)| count).sum();
    document::hold(&[
        ("mutations-joint", joint.to_string()),
        ("mutations-count", format!("{tried} tried, {refused} refused")),
        ("mutations", format!("\n{}", table(&lines))),
        ("mutations-by-rule", format!("\n| rule | refused by it |\n|---|---|\n{by_rule}")),
    ]);
}

/// Rules that no bytes can break: reading makes as many maps as the transaction has inputs and
/// outputs. They are tried on the fields alone, beside `Draft::compare`.
fn unsent(rule: &str) -> bool {
    rule == "policy-psbt-maps"
}
