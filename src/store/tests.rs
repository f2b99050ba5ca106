//! The store under its own rules: order, one commit, power cuts, bad files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bdk_wallet::chain::Merge;
use bdk_wallet::{ChangeSet, WalletPersister, persist_test_utils};
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Network};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::error::Error;

const DEAL: [u8; 32] = [7; 32];
const OTHER: [u8; 32] = [8; 32];

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hashmix.sqlite");
    (dir, path)
}

/// A change set that says: the wallet has seen a block at `height`.
fn block(height: u32) -> ChangeSet {
    let mut changes = ChangeSet::default();
    changes.local_chain.blocks.insert(height, Some(BlockHash::hash(&height.to_le_bytes())));
    changes
}

fn kinds(store: &Store, contract: &[u8; 32]) -> Vec<String> {
    store.entries(contract).unwrap().into_iter().map(|entry| entry.kind).collect()
}

/// The refusal that opening `path` ends in.
fn refused(path: &Path) -> Error {
    let error = Store::open(path).unwrap_err();
    assert_eq!(error.exit_code(), 7, "{error}");
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
    error
}

#[test]
fn events_come_back_in_the_order_they_were_stored_contract_by_contract() {
    let (_dir, path) = place();
    let mut store = Store::open(&path).unwrap();
    store.append(&DEAL, &[("offer", b"a".to_vec()), ("accept", b"b".to_vec())], None).unwrap();
    store.append(&OTHER, &[("offer", vec![0; 100_000])], None).unwrap();
    store.append(&DEAL, &[("state", vec![])], None).unwrap();
    drop(store);

    let store = Store::open(&path).unwrap();
    assert_eq!(kinds(&store, &DEAL), ["offer", "accept", "state"]);
    assert_eq!(store.entries(&OTHER).unwrap()[0].body.len(), 100_000);
    assert_eq!(store.contracts().unwrap(), [DEAL, OTHER]);
    let places: Vec<u64> = store.entries(&DEAL).unwrap().iter().map(|e| e.seq).collect();
    assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
    assert!(store.entries(&[9; 32]).unwrap().is_empty());
}

#[test]
fn a_step_stores_its_events_and_the_wallets_changes_together_or_not_at_all() {
    let mut store = Store::open_in_memory().unwrap();
    store.append(&DEAL, &[("fund", vec![1])], Some(&block(1))).unwrap();
    assert_eq!(store.wallet_changes().unwrap(), Some(block(1)));

    // The second event breaks the schema (no kind), so the first and the changes go too.
    let events = [("state", vec![2]), ("", vec![3])];
    let refused = store.append(&DEAL, &events, Some(&block(2))).unwrap_err();
    assert_eq!(refused.rule(), "store-append-only");
    assert_eq!(kinds(&store, &DEAL), ["fund"]);
    assert_eq!(store.wallet_changes().unwrap(), Some(block(1)));
}

#[test]
fn events_and_memory_can_be_neither_changed_nor_removed() {
    let mut store = Store::open_in_memory().unwrap();
    store.append(&DEAL, &[("fund", vec![1])], None).unwrap();
    store.remember(&DEAL, "period 1", b"100").unwrap();
    for sql in [
        "UPDATE events SET body = x'00'",
        "DELETE FROM events",
        "INSERT OR REPLACE INTO events (seq, contract, kind, body)
         SELECT seq, contract, 'other', body FROM events",
        "UPDATE memory SET value = x'00'",
        "DELETE FROM memory",
        "INSERT OR REPLACE INTO memory (scope, name, value)
         SELECT scope, name, x'00' FROM memory",
    ] {
        let refused = store.write(|tx| tx.execute(sql, [])).unwrap_err();
        assert_eq!(refused.rule(), "store-append-only", "{sql}");
    }
    assert_eq!(kinds(&store, &DEAL), ["fund"]);
    assert_eq!(store.recall(&DEAL, "period 1").unwrap(), Some(b"100".to_vec()));
}

#[test]
fn what_a_validator_decided_once_he_does_not_decide_otherwise() {
    let (_dir, path) = place();
    let mut store = Store::open(&path).unwrap();
    assert_eq!(store.recall(&DEAL, "period 4").unwrap(), None);
    store.remember(&DEAL, "period 4", b"123").unwrap();
    store.remember(&DEAL, "period 4", b"123").unwrap();
    drop(store);

    let mut store = Store::open(&path).unwrap();
    let refused = store.remember(&DEAL, "period 4", b"124").unwrap_err();
    assert_eq!(refused.rule(), "store-memory-conflict");
    assert_eq!(refused.exit_code(), 3);
    assert_eq!(store.recall(&DEAL, "period 4").unwrap(), Some(b"123".to_vec()));
    // Another scope, another name: other decisions.
    store.remember(&OTHER, "period 4", b"124").unwrap();
    store.remember(&DEAL, "period 5", b"124").unwrap();
}

#[test]
fn a_step_binds_a_name_together_with_its_events_or_stores_nothing() {
    let mut store = Store::open_in_memory().unwrap();
    let bound = |value| Some(("consent", value));
    let said = |byte| [("said", vec![byte])];
    store.append_bound(&DEAL, &said(1), Some(&block(1)), bound(&b"one"[..])).unwrap();
    assert_eq!(store.recall(&DEAL, "consent").unwrap(), Some(b"one".to_vec()));
    // The same value again is no other decision.
    store.append_bound(&DEAL, &said(2), None, bound(&b"one"[..])).unwrap();
    let refused =
        store.append_bound(&DEAL, &said(3), Some(&block(2)), bound(&b"two"[..])).unwrap_err();
    assert_eq!(refused.rule(), "store-memory-conflict");
    // What cannot be stored binds nothing.
    let broken = [("", vec![4])];
    let refused = store.append_bound(&OTHER, &broken, None, bound(&b"two"[..])).unwrap_err();
    assert_eq!(refused.rule(), "store-append-only");
    assert_eq!(store.recall(&OTHER, "consent").unwrap(), None);
    assert_eq!(kinds(&store, &DEAL), ["said", "said"]);
    assert_eq!(store.wallet_changes().unwrap(), Some(block(1)));
}

#[test]
fn bdks_own_tests_of_persisters_pass() {
    let open = |path: &Path| Ok(Store::open(path).unwrap());
    persist_test_utils::persist_wallet_changeset("a.sqlite", open);
    persist_test_utils::persist_network("b.sqlite", open);
    persist_test_utils::persist_keychains("c.sqlite", open);
    persist_test_utils::persist_single_keychain("d.sqlite", open);
    persist_test_utils::persist_multiple_wallet_changesets("e.sqlite", |path| {
        Ok((Store::open_account(path, 0).unwrap(), Store::open_account(path, 1).unwrap()))
    });
}

#[test]
fn many_change_sets_are_folded_into_one_and_nothing_is_lost() {
    let mut store = Store::open_in_memory().unwrap();
    let mut expected = ChangeSet::default();
    for height in 0..=wallet_changes::FOLD_ABOVE as u32 {
        store.append(&DEAL, &[], Some(&block(height))).unwrap();
        expected.merge(block(height));
    }
    let rows = |store: &Store| -> i64 {
        store.db.query_row("SELECT count(*) FROM wallet_changes", [], |r| r.get(0)).unwrap()
    };
    assert_eq!(rows(&store), wallet_changes::FOLD_ABOVE as i64 + 1);
    assert_eq!(Store::initialize(&mut store).unwrap(), expected);
    assert_eq!(rows(&store), 1);
    assert_eq!(Store::initialize(&mut store).unwrap(), expected);
    store.append(&DEAL, &[], Some(&block(9_999))).unwrap();
    expected.merge(block(9_999));
    assert_eq!(Store::initialize(&mut store).unwrap(), expected);
}

#[test]
fn an_empty_change_set_leaves_no_row() {
    let mut store = Store::open_in_memory().unwrap();
    store.append(&DEAL, &[("offer", vec![])], Some(&ChangeSet::default())).unwrap();
    assert_eq!(store.wallet_changes().unwrap(), None);
}

#[test]
fn another_wallets_changes_are_refused_and_the_events_with_them() {
    let mut store = Store::open_in_memory().unwrap();
    let of = |network| ChangeSet { network: Some(network), ..ChangeSet::default() };
    store.append(&DEAL, &[], Some(&of(Network::Regtest))).unwrap();
    let events = [("fund", vec![1])];
    let refused = store.append(&DEAL, &events, Some(&of(Network::Bitcoin))).unwrap_err();
    assert_eq!(refused.rule(), "store-wallet-identity");
    assert_eq!(refused.fault().expected, "regtest");
    assert!(kinds(&store, &DEAL).is_empty());
}

#[test]
fn a_change_set_that_cannot_be_read_is_named_by_its_row() {
    let mut store = Store::open_in_memory().unwrap();
    store.append(&DEAL, &[], Some(&block(1))).unwrap();
    store.write(|tx| wallet_changes::insert(tx, 0, "{\"network\": 7}")).unwrap();
    let refused = store.wallet_changes().unwrap_err();
    assert_eq!(refused.rule(), "store-wallet-changes");
    assert!(refused.fault().place.ends_with("change set 2"), "{refused}");
}

#[test]
fn the_file_is_its_owners_alone_and_survives_power_cuts_by_its_settings() {
    let (_dir, path) = place();
    fs::write(&path, b"").unwrap();
    let mut store = Store::open(&path).unwrap();
    store.append(&DEAL, &[("offer", vec![])], None).unwrap();
    #[cfg(unix)]
    for end in ["", "-wal", "-shm"] {
        use std::os::unix::fs::PermissionsExt;
        let file = format!("{}{end}", path.display());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
    let text =
        |pragma| -> String { store.db.pragma_query_value(None, pragma, |row| row.get(0)).unwrap() };
    let number =
        |pragma| -> i64 { store.db.pragma_query_value(None, pragma, |row| row.get(0)).unwrap() };
    assert_eq!(text("journal_mode"), "wal");
    // 2 is FULL: the log is flushed to the disk at each commit.
    assert_eq!(number("synchronous"), 2);
    assert_eq!(number("foreign_keys"), 1);
    assert_eq!(number("application_id"), 0x484d_5831);
    assert_eq!(number("user_version"), 4);
}

#[test]
fn a_garbage_file_is_refused_and_left_as_it_was() {
    let (_dir, path) = place();
    let garbage = b"not a database, but somebody's letter\n".repeat(100);
    fs::write(&path, &garbage).unwrap();
    assert_eq!(refused(&path).rule(), "store-garbage");
    assert_eq!(fs::read(&path).unwrap(), garbage);
}

#[test]
fn another_programs_database_is_refused_and_left_as_it_was() {
    let (_dir, path) = place();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE letters (text)").unwrap();
    let before = fs::read(&path).unwrap();
    assert_eq!(refused(&path).rule(), "store-foreign");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_newer_versions_file_is_refused() {
    let (_dir, path) = place();
    drop(Store::open(&path).unwrap());
    let db = Connection::open(&path).unwrap();
    db.pragma_update(None, "user_version", 5).unwrap();
    drop(db);
    let error = refused(&path);
    assert_eq!(error.rule(), "store-version");
    assert_eq!(error.fault().found, "version 5");
}

#[test]
fn a_path_that_cannot_be_written_is_refused() {
    let (dir, path) = place();
    assert_eq!(refused(dir.path()).rule(), "store-writable");
    assert_eq!(refused(&dir.path().join("no such folder").join("a")).rule(), "store-writable");
    fs::write(&path, b"").unwrap();
    assert_eq!(refused(&path.join("below a file")).rule(), "store-writable");
}

#[test]
fn a_store_that_another_process_writes_to_is_refused_after_a_moment() {
    let (_dir, path) = place();
    let mut store = Store::open(&path).unwrap();
    store.append(&DEAL, &[("offer", vec![])], None).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let busy = store.append(&DEAL, &[("state", vec![])], None).unwrap_err();
    assert_eq!((busy.rule(), busy.exit_code()), ("store-busy", 7));
    // Readers do not wait for writers.
    assert_eq!(kinds(&store, &DEAL), ["offer"]);
    other.execute_batch("ROLLBACK").unwrap();
    store.append(&DEAL, &[("state", vec![])], None).unwrap();
}

#[test]
fn a_full_disk_leaves_nothing_of_the_step_and_hurts_nothing_before_it() {
    let (_dir, path) = place();
    let mut store = Store::open(&path).unwrap();
    store.append(&DEAL, &[("offer", vec![])], Some(&block(1))).unwrap();
    let pages: i64 = store.db.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    store.db.pragma_update_and_check(None, "max_page_count", pages + 2, |_| Ok(())).unwrap();
    let events = [("state", vec![1]), ("certificate", vec![0; 100_000])];
    let full = store.append(&DEAL, &events, Some(&block(2))).unwrap_err();
    assert_eq!((full.rule(), full.exit_code()), ("store-full", 7));
    assert_eq!(kinds(&store, &DEAL), ["offer"]);
    assert_eq!(store.wallet_changes().unwrap(), Some(block(1)));

    store.db.pragma_update_and_check(None, "max_page_count", 1_000_000, |_| Ok(())).unwrap();
    store.append(&DEAL, &events, Some(&block(2))).unwrap();
    assert_eq!(kinds(&store, &DEAL), ["offer", "state", "certificate"]);
}

#[test]
fn a_damaged_page_is_refused() {
    let (_dir, path) = place();
    let mut store = Store::open(&path).unwrap();
    for _ in 0..50 {
        store.append(&DEAL, &[("offer", vec![5; 1_000])], None).unwrap();
    }
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    let page = 4_096;
    for byte in bytes.iter_mut().skip(page) {
        *byte ^= 0xa5;
    }
    fs::write(&path, &bytes).unwrap();
    let error = Store::open(&path)
        .and_then(|store| store.entries(&DEAL).map(|entries| assert!(entries.is_empty())))
        .unwrap_err();
    assert_eq!((error.rule(), error.exit_code()), ("store-damaged", 7));
}

/// Writes `steps` steps of one event and one change set each, and a fourth of them with a body
/// that fills several pages; returns the files as a power cut would find them.
fn files_after(steps: u32) -> (Vec<u8>, Vec<u8>) {
    let (_dir, path) = place();
    let mut store = Store::open(&path).unwrap();
    for step in 0..steps {
        let body = vec![1; if step % 4 == 3 { 20_000 } else { 40 }];
        let kind = format!("step {step}");
        store.append(&DEAL, &[(&kind, body), ("same step", vec![])], Some(&block(step))).unwrap();
    }
    let wal = format!("{}-wal", path.display());
    (fs::read(&path).unwrap(), fs::read(wal).unwrap())
}

/// Opens what a power cut left; returns how many whole steps it holds.
fn steps_in(database: &[u8], log: &[u8]) -> u32 {
    let (_dir, path) = place();
    fs::write(&path, database).unwrap();
    fs::write(format!("{}-wal", path.display()), log).unwrap();
    let store = Store::open(&path).unwrap();
    let kinds = kinds(&store, &DEAL);
    let steps = (kinds.len() / 2) as u32;
    let whole = (0..steps).flat_map(|step| [format!("step {step}"), "same step".into()]);
    assert_eq!(kinds, whole.collect::<Vec<_>>(), "half a step came back");
    let mut changes = ChangeSet::default();
    (0..steps).for_each(|step| changes.merge(block(step)));
    assert_eq!(store.wallet_changes().unwrap().unwrap_or_default(), changes);
    steps
}

#[test]
fn a_power_cut_at_any_byte_of_the_log_leaves_whole_steps_only() {
    let (database, log) = files_after(8);
    let mut seen = 0;
    let mut last = 0;
    for cut in (0..log.len()).step_by(509).chain([log.len()]) {
        let steps = steps_in(&database, &log[..cut]);
        assert!(steps >= last, "a longer log brought back less");
        seen += u32::from(steps > last);
        last = steps;
    }
    assert_eq!((seen, last), (8, 8));
}

#[test]
fn a_step_that_was_not_committed_is_not_there_after_a_power_cut() {
    let (_dir, path) = place();
    let mut store = Store::open(&path).unwrap();
    store.append(&DEAL, &[("step 0", vec![]), ("same step", vec![])], Some(&block(0))).unwrap();
    // A cache this small spills the open transaction into the log before its commit.
    store.db.pragma_update(None, "cache_size", 2).unwrap();
    store.db.execute_batch("BEGIN IMMEDIATE").unwrap();
    for _ in 0..50 {
        store
            .db
            .execute(
                "INSERT INTO events (contract, kind, body) VALUES (?1, 'step 1', ?2)",
                (DEAL, vec![1; 5_000]),
            )
            .unwrap();
    }
    let log = fs::read(format!("{}-wal", path.display())).unwrap();
    assert!(log.len() > 100_000, "nothing was spilled: {}", log.len());
    assert_eq!(steps_in(&fs::read(&path).unwrap(), &log), 1);
}

/// Set in the process that is to be killed: where it writes.
const VICTIM: &str = "HASHMIX_TEST_KILLED_WRITER";

#[test]
fn a_writer_killed_at_work_loses_nothing_it_had_confirmed() {
    if let Some(path) = std::env::var_os(VICTIM) {
        let mut store = Store::open(path).unwrap();
        for step in 0u32.. {
            let kind = format!("step {step}");
            let events = [(kind.as_str(), vec![1; 3_000]), ("same step", vec![])];
            store.append(&DEAL, &events, Some(&block(step))).unwrap();
            eprintln!("confirmed {step}");
        }
    }
    for (round, wait_for) in [1u32, 20, 90].into_iter().enumerate() {
        let (_dir, path) = place();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("store::tests::a_writer_killed_at_work_loses_nothing_it_had_confirmed")
            .env(VICTIM, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut confirmed = 0;
        let lines = std::io::BufReader::new(child.stderr.take().unwrap());
        for line in std::io::BufRead::lines(lines).map_while(Result::ok) {
            if line.starts_with("confirmed ") {
                confirmed += 1;
            }
            if confirmed == wait_for {
                child.kill().unwrap();
            }
        }
        assert!(!child.wait().unwrap().success(), "it was to be killed");
        assert!(confirmed >= wait_for, "round {round}: the writer wrote {confirmed}");

        let store = Store::open(&path).unwrap();
        let steps = (kinds(&store, &DEAL).len() / 2) as u32;
        assert!(steps >= confirmed, "{confirmed} confirmed, {steps} found");
        drop(store);
        let log = fs::read(format!("{}-wal", path.display())).unwrap_or_default();
        assert_eq!(steps_in(&fs::read(&path).unwrap(), &log), steps);
    }
}

/// What `fixtures/store/version_1.sql` holds of the wallet, built anew.
fn pinned_changes() -> ChangeSet {
    use bdk_wallet::chain::{BlockId, ConfirmationBlockTime, DescriptorExt};
    use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxIn, TxOut, Txid};
    let tx = Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![TxIn { previous_output: OutPoint::null(), ..TxIn::default() }],
        output: vec![TxOut {
            value: Amount::from_sat(5_000),
            script_pubkey: ScriptBuf::from_bytes([vec![0x51, 0x20], vec![3; 32]].concat()),
        }],
    };
    let txid = tx.compute_txid();
    let block_id = BlockId { height: 120, hash: BlockHash::hash(b"block 120") };
    let key = "[c55b303f/86'/1'/0']tpubDCiHofpEs47kx358bPdJmTZHmCDqQ8qw32upCSxHrSEdeeBs2T5Mq6QMB2ukeMqhNBiyhosBvJErteVhfURPGXPv3qLJPw5MVpHUewsbP2m";
    let descriptor = |branch| -> bdk_wallet::descriptor::ExtendedDescriptor {
        format!("tr({key}/{branch}/*)").parse().unwrap()
    };
    let mut changes = ChangeSet {
        descriptor: Some(descriptor(0)),
        change_descriptor: Some(descriptor(1)),
        network: Some(Network::Regtest),
        ..ChangeSet::default()
    };
    changes.local_chain.blocks.insert(0, Some(BlockHash::all_zeros()));
    changes.local_chain.blocks.insert(120, Some(block_id.hash));
    changes.local_chain.blocks.insert(121, None);
    changes.tx_graph.txs.insert(tx.clone().into());
    changes.tx_graph.txouts.insert(OutPoint::new(Txid::hash(b"out"), 3), tx.output[0].clone());
    let anchor = ConfirmationBlockTime { block_id, confirmation_time: 1_700_000_000 };
    changes.tx_graph.anchors.insert((anchor, txid));
    changes.tx_graph.first_seen.insert(txid, 1_699_999_000);
    changes.tx_graph.last_seen.insert(txid, 1_699_999_900);
    changes.tx_graph.last_evicted.insert(txid, 1_699_999_950);
    let keychain = descriptor(0).descriptor_id();
    changes.indexer.last_revealed.insert(keychain, 4);
    changes.indexer.spk_cache.insert(keychain, [(4, tx.output[0].script_pubkey.clone())].into());
    changes.locked_outpoints.outpoints.insert(OutPoint::new(txid, 0), true);
    changes
}

#[test]
fn a_store_of_version_1_loads_for_ever_and_is_still_written_so() {
    let (_dir, path) = place();
    let db = Connection::open(&path).unwrap();
    db.execute_batch(include_str!("../../fixtures/store/version_1.sql")).unwrap();
    drop(db);
    let mut store = Store::open(&path).unwrap();
    assert_eq!(kinds(&store, &DEAL), ["offer", "accept", "fund"]);
    assert_eq!(store.entries(&DEAL).unwrap()[2].body, b"last");
    assert_eq!(store.entries(&OTHER).unwrap()[0].body, [0, 255]);
    assert_eq!(store.recall(&DEAL, "period 4").unwrap(), Some(b"123".to_vec()));
    let mut expected = pinned_changes();
    expected.merge(block(122));
    assert_eq!(store.wallet_changes().unwrap(), Some(expected));

    let first = |store: &Store| -> String {
        let sql = "SELECT changes FROM wallet_changes ORDER BY seq LIMIT 1";
        store.db.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let pinned = first(&store);
    let mut fresh = Store::open_in_memory().unwrap();
    Store::persist(&mut fresh, &pinned_changes()).unwrap();
    assert_eq!(first(&fresh), pinned);

    // It goes on growing where it stopped.
    store.append(&DEAL, &[("state", vec![])], None).unwrap();
    assert_eq!(store.entries(&DEAL).unwrap()[3].seq, 5);
}
