//! Made-up jobs, the same on every run: for tests and figures of the gateway without a node.

use bitcoin::absolute::LockTime;
use bitcoin::block::Version;
use bitcoin::hashes::Hash;
use bitcoin::{Amount, BlockHash, CompactTarget, ScriptBuf, Target, Transaction, TxIn, TxOut};

use crate::error::Result;
use crate::gateway::job::{Claim, Job};
use crate::work::extended_job::ExtendedJob;
use crate::work::template::BlockTemplate;

/// The template's time, Unix seconds.
pub const TIME: u32 = 1_700_000_000;
/// How long before it the parent's median time lies, in seconds.
pub const SPAN: u32 = 3_000;

/// The target that `first` begins, followed by ones: 0x0f takes 16 hashes on average.
pub fn target(first: u8) -> Target {
    let mut bytes = [0xff; 32];
    bytes[0] = first;
    Target::from_be_bytes(bytes)
}

/// Job `id` for a payee on the block that `parent` stands for. Its blocks have difficulty 1; it
/// pays one position, whose shares take 16 hashes each.
pub fn sample(id: u64, payee: u8, parent: u8) -> Result<Job> {
    let template = BlockTemplate {
        // A bit that may be rolled is set: machines must not see it.
        version: Version::from_consensus(0x2000_2000),
        parent: BlockHash::from_byte_array([parent; 32]),
        height: 840_000 + u32::from(parent),
        time: TIME,
        bits: CompactTarget::from_consensus(0x1d00_ffff),
        reward: Amount::from_sat(312_500_000),
        transactions: (1..4).map(|place| other(id, place)).collect(),
    };
    let script = [&[0x51, 0x20][..], &[payee.saturating_add(1); 32]].concat();
    let payout = TxOut { value: template.reward, script_pubkey: ScriptBuf::from_bytes(script) };
    let work = ExtendedJob::new(&template, 12, &[payout])?;
    Ok(Job {
        id,
        payee: payee.into(),
        work,
        template: template.into(),
        earliest: TIME - SPAN,
        claims: vec![Claim { position: 0, slice: 3, target: target(0x0f) }],
    })
}

/// Some transaction of a template.
fn other(id: u64, place: u32) -> Transaction {
    let number = u32::try_from(id % 1_000_000).unwrap_or_default();
    Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: LockTime::from_consensus(number * 10 + place),
        input: vec![TxIn::default()],
        output: vec![TxOut { value: Amount::ONE_SAT, script_pubkey: ScriptBuf::new() }],
    }
}
