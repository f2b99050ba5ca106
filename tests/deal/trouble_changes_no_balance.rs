//! The whole deal again, while the chain reorganises before each block that follows somebody's
//! step, and every process ends after each of its steps. Everybody holds the same in the end, to
//! the satoshi, and was told what he lost on the way.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use hashmix::engine::Report;
use hashmix::facts::Fate;
use hashmix::rehearsal::deal::{Ending, Moment, Trouble, play};
use hashmix::rehearsal::world::chosen;
use hashmix::script::template::Variant;

/// What was told on the way, and the end.
struct Played {
    ending: Ending,
    reorgs: BTreeSet<usize>,
    void: usize,
}

fn played(variant: Variant, trouble: Trouble) -> Played {
    let node = chosen().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (mut reorgs, mut void) = (BTreeSet::new(), 0);
    let ending = play(&*node, variant, trouble, dir.path(), &mut |moment| match moment {
        Moment::Done(_, _, Report::Reorganised(reorg)) => _ = reorgs.insert(reorg.left.len()),
        Moment::Done(_, _, Report::Departed(departure)) => {
            assert_eq!(departure.fate, Fate::Void, "{departure}");
            void += 1;
        }
        _ => {}
    });
    Played { ending: ending.unwrap_or_else(|e| panic!("{trouble:?}: {e}")), reorgs, void }
}

fn calm(variant: Variant) -> &'static Played {
    static CALM: [OnceLock<Played>; 2] = [OnceLock::new(), OnceLock::new()];
    let [musig, nums] = &CALM;
    let place = if variant == Variant::Nums { nums } else { musig };
    place.get_or_init(|| played(variant, Trouble::default()))
}

fn ends_alike(variant: Variant, trouble: Trouble) {
    let (calm, troubled) = (calm(variant), played(variant, trouble));
    assert!(calm.reorgs.is_empty() && calm.void == 0);
    assert_eq!(troubled.ending.ledger, calm.ending.ledger, "{trouble:?}");
    assert!(troubled.ending.ledger.balances().unwrap());
    let stories = [&calm.ending, &troubled.ending].map(|ending| {
        ending.sent.iter().map(|(seat, sent)| (*seat, sent.title, sent.fee)).collect::<Vec<_>>()
    });
    let [expected, found] = stories;
    assert_eq!(found, expected, "{trouble:?}");
    if trouble.reorg > 0 {
        let depth = trouble.reorg as usize;
        assert_eq!(troubled.reorgs.last(), Some(&depth), "{trouble:?}: {:?}", troubled.reorgs);
        assert!(troubled.void > 0, "rewards left the chain, and it was told");
    }
}

#[test]
fn a_restart_of_everybody_at_every_step_changes_nothing() {
    ends_alike(Variant::Musig, Trouble { reorg: 0, restarts: true });
}

#[test]
fn a_reorg_of_one_block_at_every_step_changes_nothing() {
    ends_alike(Variant::Musig, Trouble { reorg: 1, restarts: false });
}

#[test]
fn a_reorg_of_two_blocks_and_a_restart_at_every_step_change_nothing() {
    ends_alike(Variant::Musig, Trouble { reorg: 2, restarts: true });
}

#[test]
fn a_reorg_of_three_blocks_at_every_step_changes_nothing() {
    ends_alike(Variant::Nums, Trouble { reorg: 3, restarts: false });
}

#[test]
fn a_reorg_of_four_blocks_and_a_restart_at_every_step_change_nothing() {
    ends_alike(Variant::Nums, Trouble { reorg: 4, restarts: true });
}

#[test]
fn a_reorg_of_five_blocks_at_every_step_changes_nothing() {
    ends_alike(Variant::Musig, Trouble { reorg: 5, restarts: false });
}

#[test]
fn a_reorg_of_six_blocks_and_a_restart_at_every_step_change_nothing() {
    ends_alike(Variant::Musig, Trouble { reorg: 6, restarts: true });
}
