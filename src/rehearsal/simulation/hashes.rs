//! Tricks with the hashes of a slice. Only the first 64 bits of a hash are looked at; they decide.

use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::{Amount, BlockHash, CompactTarget, Target, TxMerkleNode};

use super::chance::Chance;
use super::figure::{Claim, Figure, Sums};
use crate::amount::MILLION;
use crate::work::credit::credit;
use crate::work::hash::Midstate;
use crate::work::share::hash_target;

const BIAS: &str = "A count below a target: credit by work, spread by that of a Poisson count";
const COUNT: &str = "Tricks with a count: credit by work";
const KTH: &str = "K-th lowest hash instead; other rules to stop by reach 19% at K = 20";

/// Hashes that a share takes on average.
const EASE: u64 = 64;
/// Shares expected in a slice.
const SHARES: u64 = 30;
/// Hashes in a slice.
const SLICE: u64 = EASE * SHARES;
/// The first 64 bits of a hash below the target are below this.
const BELOW: u64 = u64::MAX / EASE + 1;

/// Where hashes come from.
trait Hashes {
    /// The first 64 bits of the next one.
    fn hash(&mut self) -> u64;
}

impl Hashes for Chance {
    fn hash(&mut self) -> u64 {
        self.number()
    }
}

/// Headers of no chain, hashed nonce by nonce.
struct Headers {
    chance: Chance,
    midstate: Midstate,
    nonce: u32,
}

/// Nonces of a header that are tried before the next one is taken.
const NONCES: u32 = 1 << 16;

impl Headers {
    fn new(chance: &mut Chance) -> Self {
        let mut chance = chance.clone();
        let midstate = Midstate::new(&header(&mut chance));
        Self { chance, midstate, nonce: 0 }
    }
}

/// Slices that are ground: fewer than are drawn, but enough for a standard error.
fn ground(draws: u32) -> u32 {
    (draws / 16).max(250)
}

fn header(chance: &mut Chance) -> Header {
    Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: BlockHash::from_byte_array(chance.bytes()),
        merkle_root: TxMerkleNode::from_byte_array(chance.bytes()),
        time: 1_700_000_000,
        bits: CompactTarget::from_consensus(0x207f_ffff),
        nonce: 0,
    }
}

impl Hashes for Headers {
    fn hash(&mut self) -> u64 {
        if self.nonce == NONCES {
            (self.midstate, self.nonce) = (Midstate::new(&header(&mut self.chance)), 0);
        }
        let hash = self.midstate.hash(self.nonce);
        self.nonce += 1;
        // A hash is a number whose last byte weighs most.
        hash.last_chunk::<8>().map_or(0, |high| u64::from_le_bytes(*high))
    }
}

/// The share target: one hash in [`EASE`].
fn target() -> Target {
    let mut bytes = [0xff; 32];
    for (byte, high) in bytes.iter_mut().zip((BELOW - 1).to_be_bytes()) {
        *byte = high;
    }
    Target::from_be_bytes(bytes)
}

/// Work that a count is credited with, in hashes.
fn credited(count: u64) -> u64 {
    u64::try_from(credit(count, target())).unwrap_or(u64::MAX)
}

fn honest(hashes: &mut dyn Hashes, slices: u32) -> [(u32, u32); 2] {
    let (mut work, mut counts) = (Sums::default(), Sums::default());
    for _ in 0..slices {
        let count = (0..SLICE).filter(|_| hashes.hash() < BELOW).count() as u64;
        work.add(credited(count), SLICE);
        counts.add(count, SHARES);
    }
    [work.ratio(), counts.spread()]
}

/// A share of one in [`EASE`] hashes is not quite a Poisson count: its spread is smaller by the root
/// of 63 / 64.
const SPREAD: Claim = Claim::Is(992_157);

pub(super) fn honest_drawn(chance: &mut Chance, draws: u32) -> Vec<Figure> {
    let [work, spread] = honest(chance, draws);
    vec![
        Figure::new(BIAS, "honest, drawn hashes", work, Claim::Is(MILLION)),
        Figure::new(BIAS, "spread, drawn hashes", spread, SPREAD),
    ]
}

pub(super) fn honest_ground(chance: &mut Chance, draws: u32) -> Vec<Figure> {
    let [work, spread] = honest(&mut Headers::new(chance), ground(draws));
    vec![
        Figure::new(BIAS, "honest, SHA-256d headers", work, Claim::Is(MILLION)),
        Figure::new(BIAS, "spread, SHA-256d headers", spread, SPREAD),
    ]
}

/// Leaving out one of thirty shares costs one of thirty; every other way costs more. The best of four
/// ways is nearly always that.
pub(super) fn deleting(chance: &mut Chance, draws: u32) -> Vec<Figure> {
    let hashes = &mut Headers::new(chance);
    let mut best = Sums::default();
    for _ in 0..ground(draws) {
        let mut shares: Vec<u64> =
            (0..SLICE).map(|_| hashes.hash()).filter(|hash| *hash < BELOW).collect();
        shares.sort_unstable();
        // One left out, the higher half left out, the lower, every other; the best of them counts.
        let half = shares.len() / 2;
        let lists = [
            shares.len().saturating_sub(1),
            shares.iter().take(half).count(),
            shares.iter().skip(half).count(),
            shares.iter().step_by(2).count(),
        ];
        let most = lists.into_iter().max().unwrap_or(0) as u64;
        best.add(credited(most), SLICE);
    }
    let claim = Claim::Is(MILLION - MILLION / SHARES as u32);
    vec![Figure::new(COUNT, "deleting shares, SHA-256d", best.ratio(), claim)]
}

/// From a third of the slice on, stops as soon as the count is a tenth ahead of the work.
fn stopping(hashes: &mut dyn Hashes, slices: u32) -> (u32, u32) {
    let mut sums = Sums::default();
    for _ in 0..slices {
        let (mut count, mut done) = (0, 0);
        while done < SLICE {
            count += u64::from(hashes.hash() < BELOW);
            done += 1;
            if done >= SLICE / 3 && count * EASE * 10 >= done * 11 {
                break;
            }
        }
        sums.add(credited(count), done);
    }
    sums.ratio()
}

pub(super) fn stopping_drawn(chance: &mut Chance, draws: u32) -> Vec<Figure> {
    let found = stopping(chance, draws);
    vec![Figure::new(COUNT, "stopping when lucky, drawn", found, Claim::Is(MILLION))]
}

pub(super) fn stopping_ground(chance: &mut Chance, draws: u32) -> Vec<Figure> {
    let found = stopping(&mut Headers::new(chance), ground(draws));
    vec![Figure::new(COUNT, "stopping when lucky, SHA-256d", found, Claim::Is(MILLION))]
}

/// The K lowest hashes so far, lowest first.
struct Lowest(Vec<u64>);

impl Lowest {
    /// The lowest of the first `done` hashes.
    fn of(hashes: &mut dyn Hashes, done: u64, k: usize) -> Self {
        let mut all: Vec<u64> = (0..done).map(|_| hashes.hash()).collect();
        all.sort_unstable();
        all.truncate(k);
        Self(all)
    }

    /// Takes a hash; whether it is one of the lowest.
    fn take(&mut self, hash: u64) -> bool {
        if self.last() <= hash {
            return false;
        }
        let place = self.0.partition_point(|known| *known < hash);
        self.0.pop();
        self.0.insert(place, hash);
        true
    }

    fn last(&self) -> u64 {
        self.0.last().copied().unwrap_or(u64::MAX)
    }

    /// Work estimated by the K-th lowest, in hashes: (K - 1) x 2^64 / hash, without bias.
    fn estimate(&self) -> u64 {
        let kept = self.0.len().saturating_sub(1) as u128;
        let estimate = (kept << 64).checked_div(u128::from(self.last())).unwrap_or(0);
        u64::try_from(estimate).unwrap_or(u64::MAX)
    }

    /// Whether more work will not pay: wherever the K-th lowest may come down to in this list, the
    /// estimate grows by less than 1.02 times the work that it takes.
    fn is_exhausted(&self) -> bool {
        let (k, last) = (self.0.len() as u128, u128::from(self.last()));
        self.0.iter().zip(1u128..k).all(|(hash, rank)| {
            (k - 1) * (last - u128::from(*hash)) * 100 < 102 * (k - rank) * last
        })
    }
}

fn kth_lowest(hashes: &mut dyn Hashes, k: usize, slices: u32) -> (u32, u32) {
    let slice = 10 * k as u64;
    let mut sums = Sums::default();
    for _ in 0..slices {
        let mut done = slice * 3 / 10;
        let mut lowest = Lowest::of(hashes, done, k);
        let mut changed = true;
        while done < slice && !(changed && lowest.is_exhausted()) {
            changed = lowest.take(hashes.hash());
            done += 1;
        }
        sums.add(lowest.estimate(), done);
    }
    sums.ratio()
}

pub(super) fn stopping_at_kth_lowest(chance: &mut Chance, draws: u32) -> Vec<Figure> {
    let few = kth_lowest(chance, 20, draws);
    let many = kth_lowest(chance, 240, draws / 8);
    let real = kth_lowest(&mut Headers::new(chance), 20, draws / 2);
    let claim = Claim::Between(1_030_000, 1_120_000);
    vec![
        Figure::new(KTH, "stopping at the right moment, K = 20", few, claim),
        Figure::new(KTH, "the same, SHA-256d", real, claim),
        Figure::new(KTH, "stopping at the right moment, K = 240", many, claim),
    ]
}

/// Who delivers 60 % and may choose how many he lists, up to K = 64, of j credited as (j - 1) / u_j;
/// over a window of 336 slices, for which nobody is paid more than was agreed.
pub(super) fn listing_fewer(chance: &mut Chance, draws: u32) -> Vec<Figure> {
    const SLICES: u64 = 336;
    const AGREED: u64 = 640;
    let mut sums = Sums::default();
    for _ in 0..(draws / 200).max(20) {
        let mut window = 0;
        for _ in 0..SLICES {
            let lowest = Lowest::of(chance, AGREED * 6 / 10, 64);
            let best = lowest.0.iter().zip(0u128..).map(|(hash, below)| {
                let estimate = (below << 64).checked_div(u128::from(*hash)).unwrap_or(0);
                u64::try_from(estimate).unwrap_or(u64::MAX)
            });
            window += best.max().unwrap_or(0);
        }
        sums.add(window.min(SLICES * AGREED), SLICES * AGREED);
    }
    let name = "listing fewer than K: pay for 60 % of work";
    vec![Figure::new(KTH, name, sums.ratio(), Claim::AtLeast(980_000))]
}

/// One coinbase pays two positions, 3 and 7 tenths. Each has a count of its own for the same
/// headers; together they are credited with the work once.
pub(super) fn splitting(chance: &mut Chance, draws: u32) -> Vec<Figure> {
    let total = Amount::from_sat(312_500_000);
    let high = |part: u64| {
        let paid = Amount::from_sat(total.to_sat() / 10 * part);
        let bytes = hash_target(target(), paid, total).to_be_bytes();
        bytes.first_chunk::<8>().map_or(0, |high| u64::from_be_bytes(*high))
    };
    let (small, large) = (high(3), high(7));
    let hashes = &mut Headers::new(chance);
    let (mut both, mut one) = (Sums::default(), Sums::default());
    for _ in 0..ground(draws) {
        let (mut few, mut many) = (0, 0);
        for _ in 0..SLICE {
            let hash = hashes.hash();
            few += u64::from(hash <= small);
            many += u64::from(hash <= large);
        }
        both.add(credited(few) + credited(many), SLICE);
        one.add(credited(few), SLICE);
    }
    vec![
        Figure::new(
            COUNT,
            "two positions in one coinbase, SHA-256d",
            both.ratio(),
            Claim::Is(MILLION),
        ),
        Figure::new(COUNT, "of it the one that is paid 3 tenths", one.ratio(), Claim::Is(300_000)),
    ]
}
