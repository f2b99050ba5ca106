//! Every step and every decision of miner, holder and a validator breaks off at each of its
//! questions, one after the other. The contract ends as if nothing had happened.

use std::sync::LazyLock;

use hashmix::party::Seat;

use super::play::{NONE, Play, Story};
use super::proxy::Snap;

/// The contract without trouble.
pub(crate) static CALM: LazyLock<Story> = LazyLock::new(|| {
    let calm = Play::calm().whole();
    let titles: Vec<_> = calm.sent.iter().map(|(title, _)| *title).collect();
    assert_eq!(titles, ["settlement", "proof", "ruling", "closing ruling"]);
    calm
});

/// One of each role: what holds for a validator holds for the others.
pub(crate) const ROLES: [Seat; 3] = [Seat::Miner, Seat::Holder, Seat::Validator(0)];

/// The contract, with connections broken at every line.
fn broken(snap: Snap) {
    let mut play = Play::through_proxies(&ROLES, NONE);
    play.break_everywhere(snap);
    assert_eq!(play.whole(), *CALM);
    println!("{} connections broke", play.snapped);
    assert!(play.snapped > 500, "only {} broke", play.snapped);
}

#[test]
fn questions_that_do_not_arrive_change_no_story() {
    broken(Snap::Before);
}

#[test]
fn answers_that_are_torn_change_no_story() {
    broken(Snap::Within);
}

#[test]
fn answers_that_do_not_come_back_change_no_story() {
    broken(Snap::After);
}
