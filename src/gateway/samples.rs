//! Jobs for the tests of the gateway.

use std::sync::Arc;

use bitcoin::absolute::LockTime;
use bitcoin::block::Version;
use bitcoin::hashes::Hash;
use bitcoin::{Amount, BlockHash, CompactTarget, ScriptBuf, Target, Transaction, TxIn, TxOut};

use super::board::Posted;
use super::job::{Claim, Job};
use crate::work::extended_job::ExtendedJob;
use crate::work::template::BlockTemplate;

/// The template's time.
pub(crate) const TIME: u32 = 1_700_000_000;

/// Job `id` for a payee, on a parent. One position, whose shares have hashes up to 0x0f...
pub(crate) fn job(id: u64, payee: usize, parent: u8) -> Arc<Job> {
    let bits = CompactTarget::from_consensus(0x1d00_ffff);
    let template = BlockTemplate {
        version: Version::from_consensus(0x2000_2000),
        parent: BlockHash::from_byte_array([parent; 32]),
        height: 840_000 + u32::from(parent),
        time: TIME,
        bits,
        reward: Amount::from_sat(312_500_000),
        transactions: (1..4)
            .map(|lock| Transaction {
                version: bitcoin::transaction::Version::TWO,
                lock_time: LockTime::from_consensus(lock + u32::try_from(id).unwrap() * 10),
                input: vec![TxIn::default()],
                output: vec![TxOut { value: Amount::ONE_SAT, script_pubkey: ScriptBuf::new() }],
            })
            .collect(),
    };
    let mut script = vec![0x51, 0x20];
    script.extend([u8::try_from(payee).unwrap() + 1; 32]);
    let value = template.reward;
    let payouts = [TxOut { value, script_pubkey: ScriptBuf::from_bytes(script) }];
    let work = ExtendedJob::new(&template, 12, &payouts).unwrap();
    let mut easy = [0xff; 32];
    easy[0] = 0x0f;
    let claims = vec![Claim { position: 0, slice: 3, target: Target::from_be_bytes(easy) }];
    let template = Arc::new(template);
    Arc::new(Job { id, payee, work, template, earliest: TIME - 3_000, clean: true, claims })
}

/// The same, published at 0 ms.
pub(crate) fn posted(id: u64, payee: usize, parent: u8) -> Posted {
    Posted::new(job(id, payee, parent), 0)
}
