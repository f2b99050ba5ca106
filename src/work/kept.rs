//! Jobs and finds as a store keeps them: jobs once for all positions, finds in rows of 22 bytes.
//!
//! A row holds the finds of one slice of one position and names jobs by their numbers in the store's
//! table. Whoever reads it looks the jobs up and makes shares of both
//! ([`ExtendedJob::share`](crate::work::extended_job::ExtendedJob::share)).
//!
//! ```text
//! job:  parent (32) | bits (u32) | prefix (compact, bytes) | length of the extra nonce (u8) |
//!       suffix (compact, bytes) | nodes of the branch (32 each)
//! finds: version 1 (u8) | finds (compact) | nonces (u32 each) | first job (u32) | first time (u32) |
//!       columns: jobs after the one before | versions | times after the first |
//!       length of the shortest extra nonce (u8) | column: how much longer each is |
//!       common beginning of extra nonces (compact, bytes) | the rest of each
//! ```
//! Columns are those of [`crate::work::columns`]. Finds stand in the order of their jobs, then as
//! [`Find`] orders them, each once; so a set of finds has one row. What cannot be read, or could be
//! written shorter, is `None`: the store that it came from is damaged.

use std::collections::BTreeSet;

use bitcoin::block::Version;
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, CompactTarget, TxMerkleNode};

use crate::id::tagged_hash;
use crate::work::binary::{Reader, column, common_start, compact, string};
use crate::work::columns::{rolled, unrolled};
use crate::work::extended_job::{ExtendedJob, Extranonce, Find};

const FORM_VERSION: u8 = 1;
const JOB_TAG: &str = "hashmix/job/1";

/// A find of the job with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeptFind {
    /// The job's number in the store's table.
    pub job: u32,
    /// What the machine chose.
    pub find: Find,
}

/// The bytes of a job.
pub fn job_to_bytes(job: &ExtendedJob) -> Vec<u8> {
    let mut out = job.parent.to_byte_array().to_vec();
    out.extend(job.bits.to_consensus().to_le_bytes());
    string(&mut out, &job.prefix);
    out.push(job.extranonce);
    string(&mut out, &job.suffix);
    job.branch.iter().for_each(|node| out.extend(node.as_byte_array()));
    out
}

/// The job of these bytes.
pub fn job_from_bytes(bytes: &[u8]) -> Option<ExtendedJob> {
    let mut reader = Reader(bytes);
    let parent = BlockHash::from_byte_array(reader.array()?);
    let bits = CompactTarget::from_consensus(reader.u32()?);
    let prefix = reader.string()?.to_vec();
    let extranonce = reader.byte()?;
    let suffix = reader.string()?.to_vec();
    let (nodes, rest) = reader.0.as_chunks::<32>();
    let branch = nodes.iter().copied().map(TxMerkleNode::from_byte_array).collect();
    rest.is_empty().then_some(ExtendedJob { parent, bits, prefix, suffix, extranonce, branch })
}

/// The name of a job's bytes.
pub fn job_digest(bytes: &[u8]) -> [u8; 32] {
    tagged_hash(JOB_TAG, &[bytes])
}

/// The row of a set of finds.
pub fn finds_to_bytes(finds: &BTreeSet<KeptFind>) -> Vec<u8> {
    let mut out = vec![FORM_VERSION];
    compact(&mut out, finds.len());
    for kept in finds {
        out.extend(kept.find.nonce.to_le_bytes());
    }
    let first = finds.first().map_or(0, |kept| kept.job);
    let time = finds.iter().map(|kept| kept.find.time).min().unwrap_or(0);
    out.extend(first.to_le_bytes());
    out.extend(time.to_le_bytes());
    let mut before = first;
    let steps = finds.iter().map(|kept| {
        let step = kept.job.saturating_sub(before);
        before = kept.job;
        step
    });
    column(&mut out, &steps.collect::<Vec<_>>());
    let of = |number: fn(&Find) -> u32| -> Vec<u32> {
        finds.iter().map(|kept| number(&kept.find)).collect()
    };
    column(&mut out, &of(|find| rolled(Version::from_consensus(find.version))));
    let times: Vec<u32> = of(|find| find.time).iter().map(|t| t.saturating_sub(time)).collect();
    column(&mut out, &times);
    let lengths = of(|find| u32::try_from(find.extranonce.as_bytes().len()).unwrap_or(0));
    let shortest = lengths.iter().copied().min().unwrap_or(0);
    out.extend(u8::try_from(shortest));
    column(&mut out, &lengths.iter().map(|l| l.saturating_sub(shortest)).collect::<Vec<_>>());
    let nonces = || finds.iter().map(|kept| kept.find.extranonce.as_bytes());
    let start = common(nonces());
    string(&mut out, start);
    for bytes in nonces() {
        out.extend(bytes.get(start.len()..).unwrap_or_default());
    }
    out
}

/// What all of them begin with.
fn common<'a>(mut several: impl Iterator<Item = &'a [u8]>) -> &'a [u8] {
    let first = several.next().unwrap_or_default();
    several.fold(first, |start, other| start.get(..common_start(start, other)).unwrap_or_default())
}

/// The finds of a row.
pub fn finds_from_bytes(bytes: &[u8]) -> Option<BTreeSet<KeptFind>> {
    let mut reader = Reader(bytes);
    if reader.byte()? != FORM_VERSION {
        return None;
    }
    let count = reader.count(4)?;
    let nonces = reader.plain_column(count)?;
    let mut job = reader.u32()?;
    let first = reader.u32()?;
    let steps = reader.column(count)?;
    let versions = reader.column(count)?;
    let times = reader.column(count)?;
    let shortest = u32::from(reader.byte()?);
    let lengths = reader.column(count)?;
    let start = reader.string()?;
    let mut finds = BTreeSet::new();
    let columns = nonces.iter().zip(steps).zip(versions).zip(times).zip(lengths);
    for ((((nonce, step), version), time), length) in columns {
        job = job.checked_add(step)?;
        let rest = reader
            .take(usize::try_from(length.checked_add(shortest)?).ok()?.checked_sub(start.len())?)?;
        finds.insert(KeptFind {
            job,
            find: Find {
                extranonce: Extranonce::new(start, rest)?,
                version: unrolled(version).to_consensus(),
                time: first.checked_add(time)?,
                nonce: *nonce,
            },
        });
    }
    // One set, one row: whatever else is wrong with the order or the widths shows here.
    (finds_to_bytes(&finds) == bytes).then_some(finds)
}

#[cfg(test)]
mod tests;
