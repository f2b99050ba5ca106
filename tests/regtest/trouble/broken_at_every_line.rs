//! Every step and every decision of miner, holder and a validator breaks off at each of its
//! questions, one after the other. The contract ends as if nothing had happened.

use std::sync::LazyLock;

use hashmix::party::Seat;

use super::play::{NONE, Play, Story};
use super::proxy::Snap;
use crate::world::on_core;

/// The contract without trouble.
pub(crate) static CALM: LazyLock<Story> = LazyLock::new(|| {
    let calm = Play::calm().whole();
    let titles: Vec<_> = calm.sent.iter().map(|(title, _)| *title).collect();
    assert_eq!(titles, ["proof", "settlement", "ruling", "closing ruling"]);
    calm
});

/// One of each role: what holds for a validator holds for the others.
pub(crate) const ROLES: [Seat; 3] = [Seat::Miner, Seat::Holder, Seat::Validator(0)];

/// The contract, with connections broken at every line.
fn broken(snap: Snap) {
    let mut play = Play::through_proxies(&ROLES, NONE);
    play.break_everywhere(snap);
    assert_eq!(play.whole(), *CALM, "{snap:?}");
    println!("{snap:?}: {} connections broke", play.snapped);
    assert!(play.snapped > 500, "only {} broke", play.snapped);
}

/// On the embedded node in each of the three ways. On Bitcoin Core and electrs, where each takes
/// minutes, in the one that leaves the server with something done of which the client does not
/// know: the other two differ for the client alone, and he is the same in both worlds.
#[test]
fn connections_that_break_at_every_line_change_no_story() {
    let ways: &[Snap] =
        if on_core() { &[Snap::After] } else { &[Snap::Before, Snap::Within, Snap::After] };
    for snap in ways {
        broken(*snap);
    }
}
