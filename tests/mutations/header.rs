//! Lies about a transaction's version and nLockTime.

use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;

use crate::mutation::{Mutation, field};
use crate::receiver::Receiver;

pub(crate) fn mutations(receiver: &Receiver) -> Vec<Mutation> {
    let tx = receiver.draft.transaction();
    let versions = [i32::MIN, -1, 0, 1, 2, 3, 4, i32::MAX].into_iter();
    let versions = versions.filter(|version| *version != tx.version.0).map(|version| {
        let change = move |p: &mut bitcoin::Psbt| p.unsigned_tx.version = Version(version);
        field(format!("version {version}"), "policy-tx-version", change)
    });
    let height = tx.lock_time.to_consensus_u32();
    let times = [
        ("a block later", height + 1),
        ("a block earlier", height.wrapping_sub(1)),
        ("none", 0),
        ("the last height", 499_999_999),
        ("a time", 500_000_000),
        ("the last time", u32::MAX),
        ("of the period before", height.saturating_sub(12)),
        ("one bit flipped", height ^ 1 << 20),
    ];
    let times = times.into_iter().filter(|(_, time)| *time != height).map(|(name, time)| {
        let lock_time = LockTime::from_consensus(time);
        field(format!("nLockTime {name}"), "policy-tx-locktime", move |p| {
            p.unsigned_tx.lock_time = lock_time;
        })
    });
    versions.chain(times).collect()
}
