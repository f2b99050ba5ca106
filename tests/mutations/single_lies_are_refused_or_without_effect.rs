//! One field at a time, for every transaction: the rule that the table names, or no effect at all.

use std::collections::BTreeMap;

use crate::mutation::{Verdict, sent};
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
fn every_single_lie_is_refused_by_its_rule_or_changes_nothing_that_is_signed() {
    let (mut lines, mut faults) = (Vec::new(), Vec::new());
    let (mut rules, mut reasons) = (BTreeMap::new(), BTreeMap::new());
    for receiver in receivers() {
        let title = title(&receiver);
        let variant = receiver.transaction.variant;
        let mut line =
            Line { flow: receiver.transaction.flow, transaction: title.clone(), ..Line::default() };
        let honest = check(&receiver.honest.to_string(), variant);
        assert!(honest.is_ok(), "{title}: {honest:?}");
        let mut names = std::collections::BTreeSet::new();
        for mutation in mutations(&receiver) {
            let Some(text) = sent(&receiver.honest, &[&mutation]) else { continue };
            let mut fault = |found: String| {
                faults.push(format!("{title}: {}: {:?}, {found}", mutation.name, mutation.verdict));
            };
            if !names.insert(mutation.name.clone()) {
                fault("told twice".to_owned());
            }
            match (receiver.receive(&text), mutation.verdict) {
                (Err(error), Verdict::Refused(rule)) if error.rule() == rule => {
                    line.refused += 1;
                    *rules.entry(rule).or_insert(0) += 1;
                }
                (Ok(tx), Verdict::Ignored(why)) if tx == receiver.unharmed => {
                    line.ignored += 1;
                    *reasons.entry(why).or_insert(0) += 1;
                }
                (Err(error), _) => fault(error.to_string()),
                (Ok(tx), _) if tx == receiver.unharmed => fault("without effect".to_owned()),
                (Ok(tx), _) => fault(format!("SIGNED {tx:?}")),
            }
            if let Some(rule) = mutation.warned {
                match check(&text, variant) {
                    Err(error) if error.rule() == rule => {
                        line.warned += usize::from(matches!(mutation.verdict, Verdict::Ignored(_)));
                    }
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
    println!("{}", table(&lines));
    println!("refused by rule: {rules:#?}\nignored because: {reasons:#?}");
    let shown: Vec<_> = faults.iter().take(60).map(String::as_str).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), shown.join("\n"));
}
