//! How a find is judged, question by question.

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use hashmix::gateway::reject::Reject;
use hashmix::gateway::submit::{AHEAD, Case, Moment, Seen, header_hash, judge};
use hashmix::rehearsal::stratum::jobs::{TIME, target};
use hashmix::work::extended_job::{Extranonce, Find};

use crate::world::{job, posted};

fn hash(high: u8, low: u8) -> BlockHash {
    let mut bytes = [low; 32];
    (bytes[0], bytes[31]) = (high, high);
    BlockHash::from_byte_array(bytes)
}

fn find(time: u32) -> Find {
    let extranonce = Extranonce::new(&[1; 4], &[2; 8]).unwrap();
    Find { extranonce, version: 0x2000_0000, time, nonce: 0 }
}

const NOW: Moment = Moment { ms: 1_000_000, unix: TIME + 60 };

fn asked(
    case: Case<'_>,
    time: u32,
    hash: BlockHash,
    seen: &mut Seen,
) -> (bool, Result<(), Reject>) {
    let verdict = judge(case, &find(time), hash, NOW, seen);
    (verdict.share, verdict.answer)
}

#[test]
fn the_rebuilt_header_is_that_of_the_share() {
    let job = job(1, 0, 1);
    let find = find(TIME);
    let mut scratch = vec![7; 3];
    let hash = header_hash(&job.work, &find, &mut scratch);
    assert_eq!(hash, job.work.share(&find).map(|share| share.header.block_hash()));
    assert_eq!(header_hash(&job.work, &find, &mut scratch), hash);
}

#[test]
fn each_question_is_asked_in_its_place() {
    // A claim at 0x0f..., the machine's target at 0x1f...
    let (one, other) = (posted(1, 0, 1), posted(2, 0, 2));
    let parent = one.job.work.parent;
    let case = Case { posted: &one, parent, target: target(0x1f), oldest: 1_000, replaced: None };
    let seen = &mut Seen::default();
    seen.turn(parent);
    assert_eq!(asked(case, TIME, hash(0x10, 1), seen), (false, Ok(())));
    assert_eq!(asked(case, TIME, hash(0x10, 1), seen), (false, Err(Reject::Duplicate)));
    assert_eq!(asked(case, TIME, hash(0x20, 1), seen), (false, Err(Reject::LowDifficulty)));
    assert_eq!(asked(case, TIME, hash(0x0f, 1), seen), (true, Ok(())));
    assert_eq!(asked(case, TIME, hash(0x0f, 1), seen), (false, Err(Reject::Duplicate)));
    let early = one.job.earliest - 1;
    assert_eq!(asked(case, early, hash(0x0f, 2), seen), (false, Err(Reject::Time)));
    assert_eq!(asked(case, early + 1, hash(0x0f, 2), seen), (true, Ok(())));
    let late = NOW.unix + AHEAD;
    assert_eq!(asked(case, late + 1, hash(0x0f, 3), seen), (false, Err(Reject::Time)));
    assert_eq!(asked(case, late, hash(0x0f, 3), seen), (true, Ok(())));
    // Just after the next block: stale, and a share of its position all the same, once.
    let stale = Case { parent: other.job.work.parent, ..case };
    seen.turn(stale.parent);
    assert_eq!(asked(stale, 0, hash(0x0f, 4), seen), (false, Err(Reject::Stale)));
    assert_eq!(asked(stale, TIME, hash(0x10, 4), seen), (false, Err(Reject::Stale)));
    assert_eq!(asked(stale, TIME, hash(0x0f, 4), seen), (true, Err(Reject::Stale)));
    assert_eq!(asked(stale, TIME, hash(0x0f, 4), seen), (false, Err(Reject::Stale)));
    assert_eq!(asked(stale, TIME, hash(0x0f, 1), seen), (false, Err(Reject::Stale)));
    // A reorg brings its block back: what was found before is still known.
    seen.turn(parent);
    assert_eq!(asked(case, TIME, hash(0x0f, 4), seen), (false, Err(Reject::Duplicate)));
    // Replaced a while ago, by a job on the same block: good, and then too old.
    let before = Case { replaced: Some(NOW.ms - 1_000), ..case };
    assert_eq!(asked(before, TIME, hash(0x10, 5), seen), (false, Ok(())));
    let old = Case { replaced: Some(NOW.ms - 1_001), ..case };
    assert_eq!(asked(old, TIME, hash(0x10, 6), seen), (false, Err(Reject::OldJob)));
    assert_eq!(asked(old, TIME, hash(0x0f, 6), seen), (true, Ok(())));
}

#[test]
fn a_clock_that_is_behind_the_nodes_refuses_no_find() {
    let posted = posted(1, 0, 1);
    let parent = posted.job.work.parent;
    let case = Case { posted: &posted, parent, target: target(0x1f), oldest: 0, replaced: None };
    let seen = &mut Seen::default();
    seen.turn(parent);
    let behind = Moment { unix: TIME - 2 * AHEAD, ..NOW };
    let mut ask = |time| judge(case, &find(time), hash(0x0f, 1), behind, seen).answer;
    assert_eq!(ask(TIME + AHEAD + 1), Err(Reject::Time));
    assert_eq!(ask(TIME + AHEAD), Ok(()));
}

#[test]
fn a_share_of_a_position_is_kept_even_if_the_machine_was_asked_for_more() {
    let posted = posted(1, 0, 1);
    let target = target(0x01);
    let parent = posted.job.work.parent;
    let case = Case { posted: &posted, parent, target, oldest: 0, replaced: None };
    let seen = &mut Seen::default();
    seen.turn(parent);
    assert_eq!(asked(case, TIME, hash(0x0f, 1), seen), (true, Err(Reject::LowDifficulty)));
    assert_eq!(asked(case, TIME, hash(0x0f, 1), seen), (false, Err(Reject::LowDifficulty)));
}
