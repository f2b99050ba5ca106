//! A submit judged: the header is rebuilt and hashed, and then asked in this order.
//!
//! | asked | if not |
//! |---|---|
//! | is it a block? | (it is handed in before anything else is asked) |
//! | is its job on the present block? | stale, 21 |
//! | is its time one that a header may have? | 20 |
//! | does it count for a position? | (it is kept once, whatever the answer to the machine) |
//! | is it below the target that the job was sent with? | 23 |
//! | is the job young enough? | 21 |
//! | is it new? | 22 |

use std::collections::HashSet;

use bitcoin::{BlockHash, Target};

use super::board::{Posted, ROLLABLE};
use super::reject::Reject;
use super::stratum::{Submit, hex, number};
use crate::work::extended_job::{ExtendedJob, Extranonce, Find};
use crate::work::hash;

/// How far ahead of our clock a header's time may be, in seconds: nodes take blocks of up to 7,200.
pub const AHEAD: u32 = 7_000;
/// Header hashes that are remembered of one connection are twice as many at most.
const GENERATION: usize = 2_048;

/// Time, as the gateway takes it from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Since the start of the gateway, ms; never falls.
    pub ms: u64,
    /// Of the wall clock, Unix seconds.
    pub unix: u32,
}

/// What a submit says, of a job with this version, by a machine with this extra nonce and mask.
pub fn read(submit: &Submit<'_>, server: [u8; 4], version: u32, mask: u32) -> Result<Find, Reject> {
    let malformed = Reject::Malformed;
    let machine: [u8; 8] = hex(&submit.extranonce).ok_or(malformed)?;
    let time = hex::<4>(&submit.time).map(u32::from_be_bytes).ok_or(malformed)?;
    let nonce = hex::<4>(&submit.nonce).map(u32::from_be_bytes).ok_or(malformed)?;
    let bits = match &submit.bits {
        Some(bits) => number(&bits.0).ok_or(malformed)?,
        None => 0,
    };
    if bits & !(mask & ROLLABLE) != 0 {
        return Err(Reject::VersionBits);
    }
    let extranonce = Extranonce::new(&server, &machine).ok_or(malformed)?;
    // Its top bits are those of the template: 001. They are outside of every mask.
    let version = (version & !mask | bits).cast_signed();
    Ok(Find { extranonce, version, time, nonce })
}

/// The hash of the header that a find makes: nothing is allocated once `coinbase` has grown.
/// `None` if the job's branch has a twin, as no valid block's has.
pub fn header_hash(job: &ExtendedJob, find: &Find, coinbase: &mut Vec<u8>) -> Option<BlockHash> {
    use bitcoin::TxMerkleNode;
    use bitcoin::block::{Header, Version};
    use bitcoin::hashes::Hash;

    coinbase.clear();
    for part in [&job.prefix, find.extranonce.as_bytes(), &job.suffix] {
        coinbase.extend_from_slice(part);
    }
    let root = hash::fold(hash::double(coinbase), &job.branch)?;
    let header = Header {
        version: Version::from_consensus(find.version),
        prev_blockhash: job.parent,
        merkle_root: TxMerkleNode::from_byte_array(root),
        time: find.time,
        bits: job.bits,
        nonce: find.nonce,
    };
    Some(BlockHash::from_byte_array(hash::header(&header)))
}

/// Header hashes of one connection on one block, in bounded memory: when there are too many, the
/// older half is forgotten. Connections need not know of each other's, because no two have the
/// same extra nonce.
#[derive(Debug, Default)]
pub struct Seen {
    young: HashSet<u64>,
    old: HashSet<u64>,
}

impl Seen {
    /// True if it is new.
    pub fn add(&mut self, hash: BlockHash) -> bool {
        let bytes: &[u8; 32] = hash.as_ref();
        // The first eight bytes in hashing order: the last ones are zeros.
        let key = bytes.first_chunk::<8>().map_or(0, |first| u64::from_le_bytes(*first));
        if self.old.contains(&key) || !self.young.insert(key) {
            return false;
        }
        if self.young.len() >= GENERATION {
            core::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        true
    }

    /// Forgets all: their block is not the present one any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

/// What a find is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Its job.
    pub posted: &'a Posted,
    /// The machine's present job.
    pub present: &'a Posted,
    /// The target that the job was sent with.
    pub target: Target,
    /// How old a job may be, ms after another one came.
    pub oldest: u64,
    /// When the job was replaced at the machine, if it was, ms.
    pub replaced: Option<u64>,
}

/// What was found: whether it is a new share of a position, and the answer to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it counts for a position, for the first time.
    pub share: bool,
    /// The answer.
    pub answer: Result<(), Reject>,
}

/// Judges a find, but for the question whether it is a block.
pub fn judge(
    case: Case<'_>,
    find: &Find,
    hash: BlockHash,
    now: Moment,
    seen: &mut Seen,
) -> Verdict {
    let refused = |reject| Verdict { share: false, answer: Err(reject) };
    if !case.posted.beside(case.present) {
        return refused(Reject::Stale);
    }
    if find.time < case.posted.job.earliest || find.time > now.unix.saturating_add(AHEAD) {
        return refused(Reject::Time);
    }
    let share = case.posted.share.is_some_and(|target| target.is_met_by(hash));
    let enough = case.target.is_met_by(hash);
    if !share && !enough {
        return refused(Reject::LowDifficulty);
    }
    let fresh = seen.add(hash);
    let share = share && fresh;
    let old = case.replaced.is_some_and(|at| now.ms.saturating_sub(at) > case.oldest);
    let answer = match (enough, old, fresh) {
        (false, _, _) => Err(Reject::LowDifficulty),
        // A share that was kept was not in vain, however old its job is.
        (true, true, _) if !share => Err(Reject::OldJob),
        (true, _, false) => Err(Reject::Duplicate),
        (true, _, true) => Ok(()),
    };
    Verdict { share, answer }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;
    use proptest::prelude::*;

    use super::*;
    use crate::gateway::stratum::Text;

    #[test]
    fn what_is_remembered_is_bounded_and_recent() {
        let mut seen = Seen::default();
        let hash = |i: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&i.to_le_bytes());
            BlockHash::from_byte_array(bytes)
        };
        for i in 0..100_000 {
            assert!(seen.add(hash(i)));
            assert!(!seen.add(hash(i)));
            assert!(!seen.add(hash(i.saturating_sub(GENERATION as u32 - 1))));
        }
        assert!(seen.len() <= 2 * GENERATION);
        seen.clear();
        assert!(seen.add(hash(99_999)));
    }

    fn submit<'a>(fields: [&'a str; 3], bits: Option<&'a str>) -> Submit<'a> {
        let [extranonce, time, nonce] = fields.map(std::borrow::Cow::from);
        let bits = bits.map(|bits| Text(bits.into()));
        Submit { user: "u".into(), job: "1".into(), extranonce, time, nonce, bits }
    }

    #[test]
    fn a_submit_says_extra_nonce_time_nonce_and_version_bits() {
        let good = ["0102030405060708", "65000000", "DEADBEEF"];
        let read =
            |fields, bits, mask| read(&submit(fields, bits), [9, 0, 0, 1], 0x2000_0000, mask);
        let found = read(good, Some("00ffe000"), ROLLABLE).unwrap();
        assert_eq!(found.extranonce.as_bytes(), [9, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!((found.version, found.time), (0x20ff_e000, 0x6500_0000));
        assert_eq!(found.nonce, 0xdead_beef);
        assert_eq!(read(good, None, ROLLABLE).unwrap().version, 0x2000_0000);
        assert_eq!(read(good, Some("00000000"), 0).unwrap().version, 0x2000_0000);
        for (bits, mask) in [("00002000", 0), ("00001000", ROLLABLE), ("20002000", ROLLABLE)] {
            assert_eq!(read(good, Some(bits), mask), Err(Reject::VersionBits), "{bits}");
        }
        for fields in [
            ["01020304050607", good[1], good[2]],
            ["010203040506070809", good[1], good[2]],
            [good[0], "6500000", good[2]],
            [good[0], good[1], "DEADBEEFF"],
            [good[0], good[1], "DEADBEEG"],
        ] {
            assert_eq!(read(fields, None, 0), Err(Reject::Malformed), "{fields:?}");
        }
        assert_eq!(read(good, Some("zz"), ROLLABLE), Err(Reject::Malformed));
    }

    proptest! {
        #[test]
        fn no_bits_reach_the_top_of_the_version_or_leave_the_mask(
            bits in any::<u32>(),
            mask in any::<u32>(),
        ) {
            let text = format!("{bits:08x}");
            let submit = submit(["0102030405060708", "65000000", "00000000"], Some(&text));
            let mask = mask & ROLLABLE;
            match read(&submit, [0; 4], 0x2000_0004, mask) {
                Ok(find) => {
                    let version = find.version.cast_unsigned();
                    prop_assert_eq!(version >> 29, 1);
                    prop_assert_eq!(version & !mask, 0x2000_0004);
                }
                Err(reject) => {
                    prop_assert_eq!(reject, Reject::VersionBits);
                    prop_assert!(bits & !mask != 0);
                }
            }
        }
    }
}
