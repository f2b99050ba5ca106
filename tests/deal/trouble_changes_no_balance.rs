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

/// What happened and was told on the way, and the end.
struct Played {
    ending: Ending,
    /// Blocks that followed somebody's step, and those of them that brought a reorg.
    due: usize,
    reorgs: usize,
    /// Steps, and how many of them a restart followed.
    steps: usize,
    restarts: usize,
    /// Reorgs of which somebody was told, by depth; and rewards that left.
    told: BTreeSet<usize>,
    void: usize,
}

fn played(variant: Variant, trouble: Trouble) -> Played {
    let node = chosen().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (mut due, mut reorgs, mut steps, mut restarts, mut void) = (0, 0, 0, 0, 0);
    let mut told = BTreeSet::new();
    let (mut stirred, mut restarting) = (false, None);
    let ending = play(&*node, variant, trouble, dir.path(), &mut |moment| match moment {
        Moment::Stepped(seat) => {
            assert!(restarting.is_none() || !trouble.restarts, "{restarting:?} did not restart");
            (stirred, restarting) = (true, Some(seat));
            steps += 1;
        }
        Moment::Restarted(seat) if restarting == Some(seat) => {
            restarting = None;
            restarts += 1;
        }
        Moment::Reorg(depth) => {
            assert_eq!(depth, trouble.reorg);
            reorgs += 1;
        }
        Moment::Block { .. } => due += usize::from(core::mem::take(&mut stirred)),
        Moment::Done(_, _, Report::Reorganised(reorg)) => _ = told.insert(reorg.left.len()),
        Moment::Done(_, _, Report::Departed(departure)) => {
            assert_eq!(departure.fate, Fate::Void, "{departure}");
            void += 1;
        }
        _ => {}
    });
    let ending = ending.unwrap_or_else(|e| panic!("{trouble:?}: {e}"));
    Played { ending, due, reorgs, steps, restarts, told, void }
}

fn calm(variant: Variant) -> &'static Played {
    static CALM: [OnceLock<Played>; 2] = [OnceLock::new(), OnceLock::new()];
    let [musig, nums] = &CALM;
    let place = if variant == Variant::Nums { nums } else { musig };
    place.get_or_init(|| played(variant, Trouble::default()))
}

fn ends_alike(variant: Variant, trouble: Trouble) {
    let (calm, troubled) = (calm(variant), played(variant, trouble));
    assert_eq!((calm.reorgs, calm.restarts, calm.void), (0, 0, 0));
    assert!(calm.due > 10 && calm.steps > 100, "{} blocks, {} steps", calm.due, calm.steps);
    assert_eq!(troubled.ending.ledger, calm.ending.ledger, "{trouble:?}");
    assert!(troubled.ending.ledger.balances().unwrap());
    let stories = [&calm.ending, &troubled.ending].map(|ending| {
        ending.sent.iter().map(|(seat, sent)| (*seat, sent.title, sent.fee)).collect::<Vec<_>>()
    });
    let [expected, found] = stories;
    assert_eq!(found, expected, "{trouble:?}");
    if trouble.restarts {
        assert_eq!(troubled.restarts, troubled.steps, "everybody, at every step");
    }
    if trouble.reorg > 0 {
        assert_eq!(troubled.reorgs, troubled.due, "before every block that follows a step");
        assert_eq!(troubled.told.last(), Some(&(trouble.reorg as usize)), "{:?}", troubled.told);
        assert!(troubled.void > 0, "rewards left the chain, and it was told");
    }
}

#[test]
fn a_restart_of_everybody_at_every_step_changes_nothing() {
    ends_alike(Variant::Musig, Trouble { reorg: 0, restarts: true });
}

#[test]
fn a_reorg_of_one_block_and_a_restart_at_every_step_change_nothing() {
    ends_alike(Variant::Musig, Trouble { reorg: 1, restarts: true });
}

#[test]
fn a_reorg_of_two_blocks_and_a_restart_at_every_step_change_nothing() {
    ends_alike(Variant::Musig, Trouble { reorg: 2, restarts: true });
}

#[test]
fn a_reorg_of_three_blocks_and_a_restart_at_every_step_change_nothing() {
    ends_alike(Variant::Nums, Trouble { reorg: 3, restarts: true });
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
