//! A submit judged: the header is rebuilt and hashed, and then asked in this order.
//!
//! | asked | if not |
//! |---|---|
//! | is it a block? | (it is handed in before anything else is asked) |
//! | is its user paid by this connection's coinbase? | 24 |
//! | are its version bits within the mask? | 20 |
//! | does it count for a position, its time being one that a header may have? | (it is kept once, whatever the answer to the machine) |
//! | is its job on the present block? | stale, 21 |
//! | is its time one that a header may have? | 20 |
//! | is it below the target that the job was sent with? | 23 |
//! | is the job young enough? | 21 |
//! | is it new? | 22 |
//!
//! A find that comes just after its block was built upon is stale and may be a share all the same:
//! its parent is in the active chain. Should a reorg have taken that, it is left out when the slice
//! is sealed.

use std::collections::{HashSet, VecDeque};

use bitcoin::{BlockHash, Target};

use super::board::{Posted, ROLLABLE};
use super::reject::Reject;
use super::stratum::{Submit, hex, number};
use crate::work::extended_job::{ExtendedJob, Extranonce, Find};
use crate::work::hash;

/// How far ahead of our clock a header's time may be, in seconds: nodes take blocks of up to 7,200.
pub const AHEAD: u32 = 7_000;
/// Header hashes that are remembered of one connection and block are twice as many at most.
const GENERATION: usize = 2_048;
/// Blocks whose finds are remembered: the present one, and those before that finds may still be of.
const PARENTS: usize = 4;

/// The top bits of a header's version.
const TOP: u32 = 0xe000_0000;

/// Time, as the gateway takes it from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Since the start of the gateway, ms; never falls.
    pub ms: u64,
    /// Of the wall clock, Unix seconds.
    pub unix: u32,
}

/// What a submit says, of a job with this version, by a machine with this extra nonce and mask;
/// and whether its version bits lie within that mask. If they do not, the header may be a block
/// all the same.
pub fn read(
    submit: &Submit<'_>,
    server: [u8; 4],
    version: u32,
    mask: u32,
) -> Result<(Find, bool), Reject> {
    let malformed = Reject::Malformed;
    let machine: [u8; 8] = hex(&submit.extranonce).ok_or(malformed)?;
    let time = hex::<4>(&submit.time).map(u32::from_be_bytes).ok_or(malformed)?;
    let nonce = hex::<4>(&submit.nonce).map(u32::from_be_bytes).ok_or(malformed)?;
    let bits = match &submit.bits {
        Some(bits) => number(bits).ok_or(malformed)?,
        None => 0,
    };
    let within = bits & !(mask & ROLLABLE) == 0;
    let extranonce = Extranonce::new(&server, &machine).ok_or(malformed)?;
    // Its top bits are those of the template: 001. They are outside of every mask.
    let version = (version & (TOP | !mask) | bits & !TOP).cast_signed();
    Ok((Find { extranonce, version, time, nonce }, within))
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

/// Header hashes of one connection on the last few blocks, in bounded memory: when there are too
/// many, the older half is forgotten. Connections need not know of each other's, because no two
/// have the same extra nonce.
#[derive(Debug, Default)]
pub struct Seen(VecDeque<(BlockHash, Finds)>);

impl Seen {
    /// Work builds on this block from now on. If it did before (a reorg that was taken back), what
    /// was found then is still known.
    pub fn turn(&mut self, parent: BlockHash) {
        let known = self.0.iter().position(|(known, _)| *known == parent);
        let known = known.and_then(|place| self.0.remove(place));
        self.0.push_back(known.unwrap_or_else(|| (parent, Finds::default())));
        if self.0.len() > PARENTS {
            self.0.pop_front();
        }
    }

    /// True if it is new. What builds on a block of long ago never is.
    pub fn add(&mut self, parent: BlockHash, hash: BlockHash) -> bool {
        let finds = self.0.iter_mut().rev().find(|(known, _)| *known == parent);
        finds.is_some_and(|(_, finds)| finds.add(hash))
    }
}

/// Header hashes on one block.
#[derive(Debug, Default)]
struct Finds {
    young: HashSet<u64>,
    old: HashSet<u64>,
}

impl Finds {
    fn add(&mut self, hash: BlockHash) -> bool {
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
    /// The block that present work builds on.
    pub parent: BlockHash,
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
    let job = &case.posted.job;
    // Our clock may be behind the node's.
    let latest = now.unix.max(job.template.time).saturating_add(AHEAD);
    let timely = (job.earliest..=latest).contains(&find.time);
    let stale = job.work.parent != case.parent;
    let share = timely && case.posted.share.is_some_and(|target| target.is_met_by(hash));
    let enough = case.target.is_met_by(hash);
    let fresh = (share || timely && enough && !stale) && seen.add(job.work.parent, hash);
    let share = share && fresh;
    let old = case.replaced.is_some_and(|at| now.ms.saturating_sub(at) > case.oldest);
    let answer = match () {
        () if stale => Err(Reject::Stale),
        () if !timely => Err(Reject::Time),
        () if !enough => Err(Reject::LowDifficulty),
        // A share that was kept was not in vain, however old its job is.
        () if old && !share => Err(Reject::OldJob),
        () if !fresh => Err(Reject::Duplicate),
        () => Ok(()),
    };
    Verdict { share, answer }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_and_recent() {
        let mut seen = Finds::default();
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
    }

    #[test]
    fn finds_on_a_block_are_known_when_work_returns_to_it() {
        let block = |number: u8| BlockHash::from_byte_array([number; 32]);
        let mut seen = Seen::default();
        assert!(!seen.add(block(1), block(9)));
        for parent in [1, 2, 1, 3, 4] {
            seen.turn(block(parent));
        }
        assert!(seen.add(block(1), block(9)) && seen.add(block(4), block(9)));
        seen.turn(block(1));
        assert!(!seen.add(block(1), block(9)));
        assert!(seen.add(block(2), block(8)));
        // A fifth block: the one that was left longest ago is forgotten, and nothing on it is new.
        seen.turn(block(5));
        assert!(!seen.add(block(2), block(7)));
        assert!(!seen.add(block(4), block(9)) && !seen.add(block(1), block(9)));
        assert_eq!(seen.0.len(), PARENTS);
    }

    fn submit<'a>(fields: [&'a str; 3], bits: Option<&'a str>) -> Submit<'a> {
        let [extranonce, time, nonce] = fields.map(std::borrow::Cow::from);
        let bits = bits.map(std::borrow::Cow::from);
        Submit { user: "u".into(), job: "1".into(), extranonce, time, nonce, bits }
    }

    #[test]
    fn a_submit_says_extra_nonce_time_nonce_and_version_bits() {
        let good = ["0102030405060708", "65000000", "DEADBEEF"];
        let read =
            |fields, bits, mask| read(&submit(fields, bits), [9, 0, 0, 1], 0x2000_0000, mask);
        let (found, within) = read(good, Some("00ffe000"), ROLLABLE).unwrap();
        assert!(within);
        assert_eq!(found.extranonce.as_bytes(), [9, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!((found.version, found.time), (0x20ff_e000, 0x6500_0000));
        assert_eq!(found.nonce, 0xdead_beef);
        assert_eq!(read(good, None, ROLLABLE).unwrap().0.version, 0x2000_0000);
        assert_eq!(read(good, Some("00000000"), 0).unwrap().0.version, 0x2000_0000);
        // Outside of the mask, but for the top three: the header is made with them all the same.
        for (bits, mask, version) in [
            ("00002000", 0, 0x2000_2000),
            ("00001000", ROLLABLE, 0x2000_1000),
            ("c0002000", ROLLABLE, 0x2000_2000),
        ] {
            let (found, within) = read(good, Some(bits), mask).unwrap();
            assert_eq!((found.version, within), (version, false), "{bits}");
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
            let (find, within) = read(&submit, [0; 4], 0x2000_0004, mask).unwrap();
            let version = find.version.cast_unsigned();
            prop_assert_eq!(version >> 29, 1);
            prop_assert_eq!(within, bits & !mask == 0);
            prop_assert!(!within || version & !mask == 0x2000_0004);
        }
    }
}
