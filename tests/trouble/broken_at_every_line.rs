//! Every step and every decision of everybody breaks off at each of its questions, one after the
//! other. The contract ends as if nothing had happened.

use crate::play::{NONE, Play};
use crate::proxy::Snap;
use crate::world::SEATS;

#[test]
fn a_connection_that_breaks_at_every_line_changes_no_story() {
    let calm = Play::calm().whole();
    let titles: Vec<_> = calm.sent.iter().map(|(title, _)| *title).collect();
    assert_eq!(titles, ["settlement", "proof", "ruling", "closing ruling"]);
    for snap in [Snap::Before, Snap::Within, Snap::After] {
        let mut play = Play::through_proxies(&SEATS, NONE);
        play.break_everywhere(snap);
        assert_eq!(play.whole(), calm, "{snap:?}");
        assert!(play.snapped > 500, "{snap:?}: only {} times", play.snapped);
    }
}
