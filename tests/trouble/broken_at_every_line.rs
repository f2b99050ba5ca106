//! Every step and every decision of everybody breaks off at each of its questions, one after the
//! other. The contract ends as if nothing had happened.

use std::sync::LazyLock;

use crate::play::{NONE, Play, Story};
use crate::proxy::Snap;
use crate::world::SEATS;

/// The contract without trouble.
pub(crate) static CALM: LazyLock<Story> = LazyLock::new(|| {
    let calm = Play::calm().whole();
    let titles: Vec<_> = calm.sent.iter().map(|(title, _)| *title).collect();
    assert_eq!(titles, ["settlement", "proof", "ruling", "closing ruling"]);
    calm
});

/// The contract, with everybody's connection broken at every line.
fn broken(snap: Snap) {
    let mut play = Play::through_proxies(&SEATS, NONE);
    play.break_everywhere(snap);
    assert_eq!(play.whole(), *CALM);
    assert!(play.snapped > 500, "only {} times", play.snapped);
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
