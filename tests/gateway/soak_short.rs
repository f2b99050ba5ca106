//! The soak in short: two hundred machines for five seconds, a new block each second.

#[path = "../../benches/gateway/soak.rs"]
mod soak;

use std::time::Duration;

use soak::{Plan, play};

#[test]
fn two_hundred_machines_are_served_at_once_and_hear_of_every_block() {
    let plan = Plan {
        machines: 200,
        time: Duration::from_secs(5),
        pace: 2_000,
        batch: 1,
        blocks: Duration::from_secs(1),
    };
    let report = play(plan);
    println!("{}/s, {}/s for each core: {report:?}", report.rate(), report.per_core());
    assert!(report.submits >= 5_000, "{report:?}");
    assert!(report.blocks >= 3, "{report:?}");
    // Between a block and the machine's next line, what it sends is stale.
    assert!(report.refused <= report.submits / 20, "{report:?}");
    // Other tests run beside it: these are far above what the bench measures.
    assert!(report.block < Duration::from_secs(2), "{report:?}");
    assert!(report.answers[1] < Duration::from_secs(1), "{report:?}");
    // 200 machines at both ends in one process.
    assert!(report.memory[2] < report.memory[0] + 200 * 256, "{report:?}");
}
