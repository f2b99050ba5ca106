//! Synchronising: resuming, walking back, telling a slow server from one that lies.

use std::cell::{Cell, RefCell};

use bitcoin::{Network, TxMerkleNode, hashes::Hash};

use super::*;
use crate::guard::{Anchor, Checkpoints};
use crate::headers::difficulty;

const NETWORK: Network = Network::Regtest;

/// A server in memory, which can lie and break.
struct Source {
    chain: RefCell<Vec<Header>>,
    /// Chunks after which it breaks off.
    breaks_after: Cell<usize>,
    asked: RefCell<Vec<(u32, u32)>>,
}

impl Source {
    fn of(guard: &Guard) -> Self {
        let chain = (0..=guard.tip()).map(|height| *guard.header(height).unwrap()).collect();
        Self {
            chain: RefCell::new(chain),
            breaks_after: Cell::new(usize::MAX),
            asked: RefCell::default(),
        }
    }

    fn change(&self, height: usize, change: impl Fn(&mut Header)) {
        let mut chain = self.chain.borrow_mut();
        let header = &mut chain[height];
        change(header);
        while header.validate_pow(header.target()).is_err() {
            header.nonce += 1;
        }
    }
}

impl HeaderSource for Source {
    fn tip(&self) -> Result<(u32, BlockHash)> {
        let chain = self.chain.borrow();
        Ok((chain.len() as u32 - 1, chain.last().unwrap().block_hash()))
    }

    fn chunk(&self, first: u32, count: u32) -> Result<Vec<Header>> {
        if self.breaks_after.get() == 0 {
            return Err(ANSWER.unavailable("source", "an answer", "silence"));
        }
        self.breaks_after.set(self.breaks_after.get() - 1);
        self.asked.borrow_mut().push((first, count));
        let chain = self.chain.borrow();
        Ok(chain.iter().skip(first as usize).take(count as usize).copied().collect())
    }

    fn name(&self) -> String {
        "source".into()
    }
}

/// A header on the guard's tip.
fn next(guard: &Guard, mark: u8) -> Header {
    let parent = guard.header(guard.tip()).unwrap();
    let mut header = Header {
        version: bitcoin::block::Version::from_consensus(0x2000_0000),
        prev_blockhash: guard.tip_hash(),
        merkle_root: TxMerkleNode::from_byte_array([mark; 32]),
        time: parent.time + 1,
        nonce: 0,
        ..*parent
    };
    while header.validate_pow(header.target()).is_err() {
        header.nonce += 1;
    }
    header
}

fn grow(guard: &mut Guard, blocks: u32, mark: u8) {
    for _ in 0..blocks {
        let header = next(guard, mark);
        guard.accept(&header).unwrap();
    }
}

fn chain(blocks: u32) -> Guard {
    let mut guard = Guard::new(NETWORK);
    grow(&mut guard, blocks, 0);
    guard
}

/// A guard with the active chain of `guard` up to `height`.
fn cut(guard: &Guard, height: u32) -> Guard {
    let mut cut = Guard::new(NETWORK);
    for height in 1..=height {
        cut.accept(guard.header(height).unwrap()).unwrap();
    }
    cut
}

fn store() -> Store {
    Store::open_in_memory().unwrap()
}

fn sync(source: &Source, store: &mut Store) -> Result<Synced> {
    let guard = store.guard(NETWORK)?;
    sync_guard(source, store, guard, &mut |_, _| {})
}

#[test]
fn headers_come_in_chunks_with_progress_and_are_there_after_a_restart() {
    let truth = chain(5_000);
    let source = Source::of(&truth);
    let mut store = store();
    let mut heard = Vec::new();
    let guard = store.guard(NETWORK).unwrap();
    let synced =
        sync_guard(&source, &mut store, guard, &mut |have, tip| heard.push((have, tip))).unwrap();
    assert_eq!(heard, [(2_016, 5_000), (4_032, 5_000), (5_000, 5_000)]);
    assert_eq!((synced.added, synced.standing), (5_000, Standing::Agrees));
    assert!(synced.reorgs.is_empty());
    let again = store.guard(NETWORK).unwrap();
    assert_eq!((again.tip_hash(), again.work()), (truth.tip_hash(), truth.work()));
    // Nothing new: one question for the tip, and none for headers.
    source.asked.borrow_mut().clear();
    assert_eq!(sync(&source, &mut store).unwrap().added, 0);
    assert!(source.asked.borrow().is_empty());
    // One block more costs one row and two questions.
    let mut longer = truth;
    grow(&mut longer, 1, 0);
    let source = Source::of(&longer);
    assert_eq!(sync(&source, &mut store).unwrap().added, 1);
    assert_eq!(*source.asked.borrow(), [(5_000, 1), (5_001, 1)]);
    assert_eq!(store.guard(NETWORK).unwrap().tip(), 5_001);
}

#[test]
fn a_synchronisation_that_breaks_off_keeps_whole_chunks_and_resumes_there() {
    let truth = chain(5_000);
    let source = Source::of(&truth);
    let mut store = store();
    // The joint, and one chunk.
    source.breaks_after.set(2);
    let error = sync(&source, &mut store).unwrap_err();
    assert_eq!(error.exit_code(), 5);
    assert_eq!(store.guard(NETWORK).unwrap().tip(), 2_016);
    source.breaks_after.set(usize::MAX);
    source.asked.borrow_mut().clear();
    let synced = sync(&source, &mut store).unwrap();
    assert_eq!((synced.guard.tip(), synced.added), (5_000, 5_000 - 2_016));
    assert_eq!(source.asked.borrow()[..2], [(2_016, 1), (2_017, 2_016)]);
}

#[test]
fn a_process_killed_while_it_stores_leaves_whole_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let source = Source::of(&chain(5_000));
    let mut store = Store::open(&path).unwrap();
    let guard = store.guard(NETWORK).unwrap();
    let copy = folder.path().join("after_the_kill");
    let mut copies = 0;
    // What lies on the disk after a chunk is all that a process killed later has to go on with.
    sync_guard(&source, &mut store, guard, &mut |have, _| {
        if have == 4_032 {
            for end in ["", "-wal"] {
                let from = format!("{}{end}", path.display());
                std::fs::copy(from, format!("{}{end}", copy.display())).unwrap();
                copies += 1;
            }
        }
    })
    .unwrap();
    assert_eq!(copies, 2);
    // The kill comes in the middle of the next write, too: a torn end of the log.
    let log = format!("{}-wal", copy.display());
    let mut bytes = std::fs::read(&log).unwrap();
    bytes.extend([0x5a; 3_000]);
    std::fs::write(&log, bytes).unwrap();
    let mut store = Store::open(&copy).unwrap();
    assert_eq!(store.guard(NETWORK).unwrap().tip(), 4_032);
    let synced = sync(&source, &mut store).unwrap();
    assert_eq!((synced.guard.tip(), synced.added), (5_000, 968));
}

#[test]
fn a_reorg_is_walked_back_told_and_stored_with_what_it_left() {
    let old = chain(300);
    let mut store = store();
    sync(&Source::of(&old), &mut store).unwrap();
    for (depth, mark) in [(1, 1), (6, 2), (250, 3)] {
        let before = store.guard(NETWORK).unwrap();
        let fork = before.tip() - depth;
        let mut new = cut(&before, fork);
        grow(&mut new, depth + 1, mark);
        let synced = sync(&Source::of(&new), &mut store).unwrap();
        assert_eq!(synced.standing, Standing::Agrees);
        let [reorg] = synced.reorgs.as_slice() else { panic!("{depth}") };
        assert_eq!((reorg.fork, reorg.left.len()), (fork, depth as usize));
        assert_eq!(reorg.came.len(), depth as usize + 1);
        assert_eq!(synced.added, depth as usize + 1);
        // After a restart too, a receipt over the lost tip finds its place.
        let again = store.guard(NETWORK).unwrap();
        assert_eq!(again.tip_hash(), new.tip_hash());
        let headers = again.headers(0).unwrap();
        assert_eq!(headers.active_ancestor(before.tip_hash()), Some(fork));
    }
}

#[test]
fn a_server_with_less_work_is_told_from_one_that_lies() {
    let ours = chain(100);
    let mut store = store();
    sync(&Source::of(&ours), &mut store).unwrap();
    let behind = sync(&Source::of(&cut(&ours, 93)), &mut store).unwrap();
    assert_eq!((behind.standing, behind.added), (Standing::Behind { blocks: 7 }, 0));
    let mut loser = cut(&ours, 90);
    grow(&mut loser, 9, 5);
    let lost = sync(&Source::of(&loser), &mut store).unwrap();
    assert_eq!((lost.standing, lost.added), (Standing::LessWork { fork: 90 }, 9));
    assert_eq!(lost.guard.tip_hash(), ours.tip_hash());
    // Equal work: the first seen stays. One block more, and it wins.
    grow(&mut loser, 1, 5);
    assert_eq!(
        sync(&Source::of(&loser), &mut store).unwrap().standing,
        Standing::LessWork { fork: 90 }
    );
    grow(&mut loser, 1, 5);
    let won = sync(&Source::of(&loser), &mut store).unwrap();
    assert_eq!((won.standing, won.reorgs.len()), (Standing::Agrees, 1));
}

#[test]
fn a_lie_is_refused_by_rule_and_nothing_of_its_chunk_is_stored() {
    let truth = chain(2_500);
    let refused = |lie: &dyn Fn(&Source)| {
        let source = Source::of(&truth);
        lie(&source);
        let mut store = store();
        let error = sync(&source, &mut store).unwrap_err();
        assert_eq!(error.exit_code(), 3, "{error}");
        (error.rule(), store.guard(NETWORK).unwrap().tip())
    };
    let bits = |h: &mut Header| h.bits = bitcoin::CompactTarget::from_consensus(0x2070_ffff);
    assert_eq!(refused(&|s| s.change(2_500, bits)), ("guard-bits", 2_016));
    assert_eq!(refused(&|s| s.change(2_500, |h| h.time -= 1_000)), ("guard-time", 2_016));
    let idle = |source: &Source| {
        let mut chain = source.chain.borrow_mut();
        let header = chain.last_mut().unwrap();
        while header.validate_pow(header.target()).is_ok() {
            header.nonce += 1;
        }
    };
    assert_eq!(refused(&idle), ("guard-work", 2_016));
    // A gap, at a chunk's start and within one.
    let gap = |at: usize| {
        move |source: &Source| {
            source.chain.borrow_mut().remove(at);
        }
    };
    assert_eq!(refused(&gap(2_017)), ("guard-sequence", 2_016));
    assert_eq!(refused(&gap(1_000)), ("guard-sequence", 0));
    // A clock two hours and more ahead of ours.
    for seconds in [2 * 60 * 60 + 60, 1_000_000] {
        let time = latest() as u32 - 2 * 60 * 60 + seconds;
        assert_eq!(refused(&|s| s.change(2_500, |h| h.time = time)), ("guard-future", 2_016));
    }
}

#[test]
fn a_time_less_than_two_hours_ahead_is_let_in() {
    let truth = chain(5);
    let source = Source::of(&truth);
    source.change(5, |header| header.time = latest() as u32 - 60);
    assert_eq!(sync(&source, &mut store()).unwrap().guard.tip(), 5);
}

#[test]
fn a_server_of_another_chain_has_no_block_in_common() {
    let mut store = store();
    sync(&Source::of(&chain(20)), &mut store).unwrap();
    for other in [Network::Signet, Network::Testnet4] {
        let source = Source::of(&Guard::new(other));
        let error = sync(&source, &mut store).unwrap_err();
        assert_eq!((error.rule(), error.exit_code()), ("guard-common", 3));
    }
}

#[test]
fn a_server_that_misstates_heights_or_lacks_its_own_tip_is_named() {
    struct Liar(Source, (u32, BlockHash));
    impl HeaderSource for Liar {
        fn tip(&self) -> Result<(u32, BlockHash)> {
            Ok(self.1)
        }
        fn chunk(&self, first: u32, count: u32) -> Result<Vec<Header>> {
            self.0.chunk(first, count)
        }
        fn name(&self) -> String {
            "liar".into()
        }
    }
    let truth = chain(10);
    let mut store = store();
    sync(&Source::of(&truth), &mut store).unwrap();
    let mut ask = |tip| {
        let guard = store.guard(NETWORK).unwrap();
        let liar = Liar(Source::of(&truth), tip);
        sync_guard(&liar, &mut store, guard, &mut |_, _| {}).unwrap_err().rule()
    };
    assert_eq!(ask((11, truth.tip_hash())), "guard-sequence");
    assert_eq!(ask((9, truth.tip_hash())), "guard-sequence");
    // A tip that its headers never reach.
    assert_eq!(ask((10, BlockHash::all_zeros())), "chain-steady");
    assert_eq!(ask((50, BlockHash::all_zeros())), "chain-steady");
}

#[test]
fn networks_share_a_store_and_not_a_header() {
    let mut store = store();
    sync(&Source::of(&chain(3)), &mut store).unwrap();
    assert_eq!(store.guard(Network::Bitcoin).unwrap().known(), 1);
    assert_eq!(store.guard(NETWORK).unwrap().known(), 4);
}

#[test]
fn a_damaged_run_is_refused_whatever_bit_of_it_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut whole = Store::open(&path).unwrap();
    sync(&Source::of(&chain(30)), &mut whole).unwrap();
    drop(whole);
    let run = "CAST(substr(run, 1, at) || x'5a' || substr(run, at + 2) AS BLOB)";
    let damages = [0, 3, 4, 35, 40, 44, 47, 48, 700, 29 * 48, 30 * 48 - 1]
        .map(|at| format!("run = {}", run.replace("at", &at.to_string())))
        .into_iter()
        .chain([
            "parent = zeroblob(32)".to_owned(),
            "tip = zeroblob(32)".to_owned(),
            "run = substr(run, 1, 29 * 48)".to_owned(),
            "run = CAST(run || substr(run, 1, 48) AS BLOB)".to_owned(),
        ]);
    for damage in damages {
        let copy = folder.path().join("copy");
        std::fs::copy(&path, &copy).unwrap();
        let db = rusqlite::Connection::open(&copy).unwrap();
        db.execute_batch("DROP TRIGGER header_runs_never_change").unwrap();
        db.execute(&format!("UPDATE header_runs SET {damage}"), []).unwrap();
        drop(db);
        let error = Store::open(&copy).unwrap().guard(NETWORK).unwrap_err();
        assert_eq!((error.rule(), error.exit_code()), ("store-header-run", 7), "{damage}");
        std::fs::remove_file(&copy).unwrap();
    }
}

#[test]
fn a_run_of_version_2_loads_for_ever_and_is_still_written_so() {
    let dump = |path: &std::path::Path| -> Vec<(String, [Vec<u8>; 3])> {
        let db = rusqlite::Connection::open(path).unwrap();
        let mut select = db.prepare("SELECT network, parent, run, tip FROM header_runs").unwrap();
        let rows = select.query_map([], |r| Ok((r.get(0)?, [r.get(1)?, r.get(2)?, r.get(3)?])));
        rows.unwrap().map(|row| row.unwrap()).collect()
    };
    let folder = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| folder.path().join(name));
    drop(Store::open(&old).unwrap());
    let db = rusqlite::Connection::open(&old).unwrap();
    let pinned = include_str!("../../fixtures/store/version_2_headers.sql");
    db.execute_batch(pinned).unwrap();
    drop(db);
    let guard = Store::open(&old).unwrap().guard(NETWORK).unwrap();
    assert_eq!(guard.tip(), 2);
    let headers = [1, 2].map(|height| *guard.header(height).unwrap());
    assert_eq!(headers.map(|header| header.time), [1_296_688_603, 1_296_688_604]);
    Store::open(&new).unwrap().append_headers(NETWORK, &headers).unwrap();
    assert_eq!(dump(&old), dump(&new));
}

#[test]
fn stored_headers_are_never_changed_or_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut store = Store::open(&path).unwrap();
    sync(&Source::of(&chain(3)), &mut store).unwrap();
    let db = rusqlite::Connection::open(&path).unwrap();
    for change in ["UPDATE header_runs SET network = 'x'", "DELETE FROM header_runs"] {
        let refused = db.execute(change, []).unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{refused}");
    }
    assert_eq!(store.guard(NETWORK).unwrap().tip(), 3);
}

#[test]
fn a_header_takes_48_bytes_and_its_share_of_a_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut store = Store::open(&path).unwrap();
    let before = pages(&path);
    sync(&Source::of(&chain(8_064)), &mut store).unwrap();
    let each = (pages(&path) - before) / 8_064;
    assert!((48..=52).contains(&each), "{each} bytes a header");
}

fn pages(path: &std::path::Path) -> u64 {
    let db = rusqlite::Connection::open(path).unwrap();
    let pragma = |name: &str| -> u64 {
        db.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap() as u64
    };
    pragma("page_count") * pragma("page_size")
}

#[test]
fn a_guard_above_an_anchor_synchronises_and_is_filled_from_there() {
    let truth = chain(4_100);
    let params = NETWORK.params().clone();
    let height = difficulty::span(&params);
    let header = *truth.header(height).unwrap();
    let work = truth.work_of(header.block_hash()).unwrap();
    let times = (height - 10..height).map(|h| truth.header(h).unwrap().time).collect();
    let anchor = Anchor::new(&params, height, header, work, times).unwrap();
    let guard = || Guard::above(params.clone(), anchor.clone(), Checkpoints::of(NETWORK)).unwrap();
    let mut store = store();
    let synced = sync_guard(&Source::of(&truth), &mut store, guard(), &mut |_, _| {}).unwrap();
    assert_eq!(synced.added, 4_100 - 2_016);
    assert_eq!((synced.guard.tip_hash(), synced.guard.work()), (truth.tip_hash(), truth.work()));
    let filled = store.fill(guard()).unwrap();
    assert_eq!((filled.first(), filled.tip()), (2_016, 4_100));
    // From a store that begins at genesis, it takes what is above the anchor.
    let mut whole = self::store();
    sync(&Source::of(&truth), &mut whole).unwrap();
    let filled = whole.fill(guard()).unwrap();
    assert_eq!((filled.known(), filled.tip_hash()), (4_100 - 2_016 + 1, truth.tip_hash()));
    // A chain that misses the anchor shares nothing with us.
    let mut other = cut(&truth, 2_000);
    grow(&mut other, 100, 9);
    let error = sync_guard(&Source::of(&other), &mut store, guard(), &mut |_, _| {}).unwrap_err();
    assert_eq!(error.rule(), "guard-common");
}
