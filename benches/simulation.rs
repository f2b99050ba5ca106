//! Every known trick with work, played ten times as often as `hashmix work simulate` does by
//! default, and how long that takes: `just simulate`.

use std::time::Instant;

use hashmix::rehearsal::simulation::{Plan, run};

fn main() {
    let plan = Plan { seed: 1, draws: 200_000 };
    let start = Instant::now();
    let table = run(plan, &mut |_, _| {});
    println!("{table}\n{:.1?}", start.elapsed());
    let wrong = table.contradictions().count();
    assert_eq!(wrong, 0, "{wrong} claims are contradicted");
}
