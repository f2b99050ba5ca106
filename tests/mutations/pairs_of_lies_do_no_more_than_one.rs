//! Two fields at once, drawn at random: what two lies do together, one of them does alone, or
//! nothing.

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use crate::mutation::{Verdict, sent};
use crate::single_lies_are_refused_or_without_effect::receivers;
use crate::suite::mutations;

/// Pairs for each PSBT.
const PAIRS: usize = 16;

/// HASHMIX_SEED repeats a run.
fn seed() -> u64 {
    std::env::var("HASHMIX_SEED").map_or(0x6d75_7461_7465, |seed| seed.parse().expect("a number"))
}

#[test]
fn two_lies_at_once_are_refused_by_a_rule_of_the_table_or_change_nothing_that_is_signed() {
    let seed = seed();
    println!("HASHMIX_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut draw = |below: usize| usize::try_from(rng.next_u64()).unwrap() % below;
    let (mut refused, mut ignored, mut faults) = (0, 0, Vec::new());
    for receiver in receivers() {
        let all = mutations(&receiver);
        let known: Vec<&str> = all
            .iter()
            .filter_map(|mutation| match mutation.verdict {
                Verdict::Refused(rule) => Some(rule),
                Verdict::Ignored(_) => None,
            })
            .collect();
        let mut tried = 0;
        while tried < PAIRS {
            let pair = [&all[draw(all.len())], &all[draw(all.len())]];
            let Some(text) = sent(&receiver.honest, &pair) else { continue };
            tried += 1;
            let harmless = pair.iter().all(|lie| matches!(lie.verdict, Verdict::Ignored(_)));
            let fault = match receiver.receive(&text) {
                Ok(tx) if tx == receiver.unharmed => {
                    ignored += 1;
                    // What one lie changes another may set right, but then nothing signed differs.
                    continue;
                }
                Ok(tx) => format!("SIGNED {tx:?}"),
                Err(error) if harmless => format!("{error}"),
                Err(error) if known.contains(&error.rule()) => {
                    refused += 1;
                    continue;
                }
                Err(error) => format!("by no rule of the table: {error}"),
            };
            let [a, b] = pair.map(|lie| &lie.name);
            faults.push(format!("{}: {a} and {b}: {fault}", receiver.transaction.name));
        }
    }
    println!("pairs tried {}, refused {refused}, ignored {ignored}", refused + ignored);
    assert!(faults.is_empty(), "seed {seed}, {} faults:\n{}", faults.len(), faults.join("\n"));
}
