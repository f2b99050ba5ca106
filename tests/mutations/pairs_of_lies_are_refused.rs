//! Two fields at once, drawn at random: no lie hides another.

use std::collections::BTreeSet;

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use crate::document;
use crate::every_lie_is_refused_by_its_rule::receivers;
use crate::mutation::sent;
use crate::suite::mutations;

/// Pairs for each PSBT.
const PAIRS: usize = 300;

/// The seed if nobody names another one.
const USUAL: u64 = 0x6d75_7461_7465;

/// HASHMIX_SEED repeats a run.
fn seed() -> u64 {
    std::env::var("HASHMIX_SEED").map_or(USUAL, |seed| seed.parse().expect("a number"))
}

#[test]
fn two_lies_at_once_are_refused_by_a_rule_of_the_table() {
    let seed = seed();
    println!("HASHMIX_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut draw = |below: usize| usize::try_from(rng.next_u64()).unwrap() % below;
    let (mut of_the_two, mut of_others, mut faults) = (0, 0, Vec::new());
    for receiver in receivers() {
        let all = mutations(&receiver);
        let known: BTreeSet<&str> = all.iter().map(|mutation| mutation.rule).collect();
        let mut tried = 0;
        while tried < PAIRS {
            let pair = [&all[draw(all.len())], &all[draw(all.len())]];
            // Two lies that undo each other are the truth.
            let Some(text) = sent(&receiver.honest, &pair) else { continue };
            tried += 1;
            let fault = match receiver.receive(&text) {
                Ok(tx) if tx == receiver.unharmed => "ACCEPTED, without effect".to_owned(),
                Ok(tx) => format!("SIGNED {tx:?}"),
                Err(error) if pair.iter().any(|lie| lie.rule == error.rule()) => {
                    of_the_two += 1;
                    continue;
                }
                // Two fields can make a third thing wrong: two outputs the other way round.
                Err(error) if known.contains(error.rule()) => {
                    of_others += 1;
                    continue;
                }
                Err(error) => format!("by no rule of the table: {error}"),
            };
            let [a, b] = pair.map(|lie| &lie.name);
            faults.push(format!("{}: {a} and {b}: {fault}", receiver.transaction.name));
        }
    }
    println!("pairs refused by a rule of the two {of_the_two}, by another one {of_others}");
    assert!(faults.is_empty(), "seed {seed}, {} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(of_others * 20 < of_the_two, "another rule is the exception: {of_others}");
    if seed == USUAL {
        let sum = of_the_two + of_others;
        let figure = format!(
            "{sum} tried, {sum} refused: {of_the_two} by a rule of one of the two, {of_others} by \
             another one"
        );
        document::hold(&[("mutations-pairs", figure)]);
    }
}
