//! The collector: shares kept as they come, and certificates sealed when their slice has ended.
//!
//! ```text
//!  keep ----> memory ----flush, each second----> finds, jobs        one transaction
//!                             |
//!                           seal: shares that count ---------> certificates, for ever
//!                                 shares that do not --------> stay in finds
//! ```
//! A find is kept for each position that it is a share of, once, up to four times the shares that the
//! position's terms expect in a slice; what comes beyond is counted and dropped. [`Collector::flush`]
//! writes what is new; what was flushed survives whatever happens to the process, so a crash costs the
//! shares since the last flush and nothing else.
//!
//! [`Collector::seal`] makes the certificate of a slice and freezes it: the database itself refuses to
//! change or delete it. A validator refuses a whole certificate for one share that does not count, so
//! shares that break a rule on the chain as it is are left out, most of all those whose parent has
//! lost a reorg. They are not thrown away: they stay in their row, and if their block comes back, the
//! slice can be sealed again. That gives it a second certificate, with them alone; the first stays as
//! it is, receipts and all, and certificates of one slice are united when work is credited. What is
//! found for a slice that is sealed is counted as late.
//!
//! Two gateways of one position keep a store each, and seal a certificate each:
//! [`Certificate::unite`] makes one of them, in which a share that reached both counts once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Target};

use super::job::Job;
use crate::error::{Error, Result, Rule};
use crate::headers::Headers;
use crate::id::{CertificateDigest, PositionId};
use crate::store::{CertificateRow, DAMAGED, FindsRow, Store};
use crate::work::agreement::WorkTerms;
use crate::work::certificate::Certificate;
use crate::work::extended_job::{ExtendedJob, Find};
use crate::work::kept::{
    KeptFind, finds_from_bytes, finds_to_bytes, job_digest, job_from_bytes, job_to_bytes,
};
use crate::work::share::Share;

/// A gateway serves a position once.
pub const ONCE: Rule = Rule::new(
    "gateway-position-twice",
    "a gateway mines for a position once, and keeps its shares once",
    "name each position once in the gateway's file",
);

/// A position whose shares are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its name.
    pub position: PositionId,
    /// What was agreed on about its work.
    pub terms: WorkTerms,
}

/// A slice with shares that no certificate lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSlice {
    /// The position's place in the list.
    pub position: usize,
    /// The slice (0-based).
    pub slice: u32,
    /// Shares kept: all before it is sealed, then those that were left out.
    pub shares: usize,
    /// Shares dropped, because the terms allow no more.
    pub dropped: u32,
    /// Shares that came when it was sealed.
    pub late: u32,
    /// Its certificates so far.
    pub certificates: u32,
}

/// A certificate that is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The position's place in the list.
    pub position: usize,
    /// The slice (0-based).
    pub slice: u32,
    /// Which certificate of the slice: 0 for the first.
    pub number: u32,
    /// The certificate's digest.
    pub digest: CertificateDigest,
}

/// A certificate that was just sealed, and why shares were left out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealing {
    /// What validators are asked to receipt.
    pub certificate: Certificate,
    /// Which certificate of the slice it is: 0 for the first.
    pub number: u32,
    /// Shares left out, by the id of the rule that they break.
    pub left_out: BTreeMap<&'static str, u64>,
}

/// Shares of positions, in memory and in a store.
#[derive(Debug)]
pub struct Collector {
    store: Store,
    held: Vec<Held>,
    jobs: Jobs,
    slices: BTreeMap<(usize, u32), Slice>,
}

/// Jobs that kept shares were found of.
#[derive(Debug, Default)]
struct Jobs {
    /// By their place here, which says nothing outside.
    known: BTreeMap<u64, Known>,
    next: u64,
    /// Places of jobs of this run, by the gateway's number.
    running: HashMap<u64, u64>,
    /// Places of jobs that were read from the store, by their number there.
    stored: HashMap<u32, u64>,
}

#[derive(Debug)]
struct Known {
    work: ExtendedJob,
    /// Its number in the store, once it is there.
    number: Option<u32>,
}

/// The shares of a slice that no certificate lists.
#[derive(Debug, Default)]
struct Slice {
    /// The place of the job, and the find, by the header's hash.
    finds: HashMap<BlockHash, (u64, Find)>,
    dropped: u32,
    late: u32,
    certificates: u32,
    /// Whether the store knows less.
    changed: bool,
}

impl Collector {
    /// Reads what the store keeps of these positions, in the order in which jobs' claims name them.
    pub fn open(store: Store, held: Vec<Held>) -> Result<Self> {
        let mut ids = BTreeSet::new();
        if let Some(twice) = held.iter().find(|held| !ids.insert(held.position)) {
            return Err(ONCE.misused("positions", "each position once", twice.position));
        }
        let mut collector = Self { store, held, jobs: Jobs::default(), slices: BTreeMap::new() };
        for position in 0..collector.held.len() {
            collector.load(position)?;
        }
        Ok(collector)
    }

    fn load(&mut self, position: usize) -> Result<()> {
        let Some(id) = self.held.get(position).map(|held| held.position) else { return Ok(()) };
        for row in self.store.finds(id.as_bytes())? {
            let mut slice = Slice { dropped: row.dropped, late: row.late, ..Slice::default() };
            for (job, find, share) in self.shares_of(&row.finds, id, row.slice)? {
                slice.finds.insert(share.hash(), (job, find));
            }
            self.slices.insert((position, row.slice), slice);
        }
        for row in self.store.certificates(id.as_bytes())? {
            let slice = self.slices.entry((position, row.slice)).or_default();
            slice.certificates = slice.certificates.max(row.number.saturating_add(1));
        }
        Ok(())
    }

    /// The finds of a row with the places of their jobs, and the shares that they make.
    fn shares_of(
        &mut self,
        row: &[u8],
        position: PositionId,
        slice: u32,
    ) -> Result<Vec<(u64, Find, Share)>> {
        let place = format_args!("finds of slice {slice} of position {position}").to_string();
        let damaged = |found: &str| DAMAGED.unstored(&place, "finds and their jobs", found);
        let finds = finds_from_bytes(row).ok_or_else(|| damaged("bytes that are none"))?;
        let mut shares = Vec::with_capacity(finds.len());
        for KeptFind { job, find } in finds {
            let local = self.jobs.read(job, &self.store)?.ok_or_else(|| damaged("no such job"))?;
            let share = self.jobs.known.get(&local).and_then(|known| known.work.share(&find));
            let share = share.ok_or_else(|| damaged("a find that its job cannot have"))?;
            shares.push((local, find, share));
        }
        Ok(shares)
    }

    /// Keeps a find, whose header has this hash, for each position that it is a share of; answers for
    /// how many it is new. Nothing is stored yet: see [`Collector::flush`].
    pub fn keep(&mut self, job: &Arc<Job>, find: &Find, hash: BlockHash) -> usize {
        let number = Target::from_le_bytes(hash.to_byte_array());
        let mut kept: usize = 0;
        for claim in job.claims.iter().filter(|claim| number <= claim.target) {
            let Some(Held { terms, .. }) = self.held.get(claim.position) else { continue };
            if claim.slice >= terms.calendar().slices() {
                continue;
            }
            let slice = self.slices.entry((claim.position, claim.slice)).or_default();
            if slice.finds.contains_key(&hash) {
                continue;
            }
            slice.changed = true;
            if slice.certificates > 0 {
                slice.late = slice.late.saturating_add(1);
                continue;
            }
            if u64::try_from(slice.finds.len()).is_ok_and(|kept| kept < terms.most_shares()) {
                slice.finds.insert(hash, (self.jobs.running(job), *find));
                kept = kept.saturating_add(1);
            } else {
                slice.dropped = slice.dropped.saturating_add(1);
            }
        }
        kept
    }

    /// Writes what is new, in one transaction, and answers with the number of slices written: they lie
    /// on the disk when this returns. Whatever could not be written is tried again at the next flush.
    pub fn flush(&mut self) -> Result<usize> {
        let changed: Vec<(usize, u32)> =
            self.slices.iter().filter(|(_, slice)| slice.changed).map(|(key, _)| *key).collect();
        if changed.is_empty() {
            return Ok(0);
        }
        let slices = || changed.iter().filter_map(|key| Some((key, self.slices.get(key)?)));
        let fresh: BTreeSet<u64> = slices()
            .flat_map(|(_, slice)| slice.finds.values().map(|(job, _)| *job))
            .filter(|job| self.jobs.known.get(job).is_some_and(|known| known.number.is_none()))
            .collect();
        let bytes: Vec<_> = fresh
            .iter()
            .filter_map(|job| self.jobs.known.get(job))
            .map(|known| job_to_bytes(&known.work))
            .map(|bytes| (job_digest(&bytes), bytes))
            .collect();
        let (held, jobs) = (&self.held, &self.jobs);
        let numbers = self.store.keep_finds(&bytes, |numbers| {
            let numbers: HashMap<u64, u32> =
                fresh.iter().copied().zip(numbers.iter().copied()).collect();
            let number =
                |job: &u64| numbers.get(job).copied().or_else(|| jobs.known.get(job)?.number);
            slices()
                .filter_map(|(key, slice)| {
                    Some(slice.row(held.get(key.0)?.position, key.1, number))
                })
                .collect()
        })?;
        for (job, number) in fresh.iter().zip(numbers) {
            if let Some(known) = self.jobs.known.get_mut(job) {
                known.number = Some(number);
            }
        }
        for key in &changed {
            if let Some(slice) = self.slices.get_mut(key) {
                slice.changed = false;
            }
        }
        Ok(changed.len())
    }

    /// Slices that have shares, no certificate yet, and an end at least `depth` blocks below the tip:
    /// nothing is found for them any more.
    pub fn due(&self, tip: u32, depth: u32) -> Vec<(usize, u32)> {
        let ended = |(position, slice): &(usize, u32)| {
            let calendar = self.held.get(*position).map(|held| held.terms.calendar());
            let end = calendar.and_then(|calendar| Some(*calendar.slice_blocks(*slice)?.end()));
            end.is_some_and(|end| end.saturating_add(depth) <= tip)
        };
        let due = |(key, slice): (&(usize, u32), &Slice)| {
            (slice.certificates == 0 && !slice.finds.is_empty() && ended(key)).then_some(*key)
        };
        self.slices.iter().filter_map(due).collect()
    }

    /// Slices with a certificate and shares beside it, which count if the chain has changed back.
    pub fn left_out(&self) -> Vec<(usize, u32)> {
        let left = |slice: &Slice| slice.certificates > 0 && !slice.finds.is_empty();
        self.slices.iter().filter(|(_, slice)| left(slice)).map(|(key, _)| *key).collect()
    }

    /// Makes a certificate of the shares of a slice that count on this chain, and freezes it; the
    /// others stay. `None` if none counts. Unavailable if headers are missing to tell.
    pub fn seal(
        &mut self,
        position: usize,
        slice: u32,
        headers: &Headers,
    ) -> Result<Option<Sealing>> {
        self.flush()?;
        let Some(Held { position: id, terms }) = self.held.get(position) else { return Ok(None) };
        let Some(open) = self.slices.get(&(position, slice)) else { return Ok(None) };
        let id = *id;
        let mut hashes: Vec<&BlockHash> = open.finds.keys().collect();
        hashes.sort_unstable();
        let share = |hash: &&BlockHash| {
            let (job, find) = open.finds.get(*hash)?;
            self.jobs.known.get(job)?.work.share(find)
        };
        let shares: Vec<Share> = hashes.iter().filter_map(share).collect();
        let all = Certificate { position: id, slice, shares };
        let weighed = all.weigh(terms, headers);
        let mut left_out = BTreeMap::new();
        let mut counted = Vec::new();
        for (share, weighed) in all.shares.into_iter().zip(weighed) {
            match weighed {
                Ok(_) => counted.push(share),
                Err(Error::Refused { fault, .. }) => {
                    let count: &mut u64 = left_out.entry(fault.rule.id).or_default();
                    *count = count.saturating_add(1);
                }
                Err(error) => return Err(error),
            }
        }
        if counted.is_empty() {
            return Ok(None);
        }
        let certificate = Certificate::new(id, slice, counted)?;
        let number = open.certificates;
        self.freeze(position, number, &certificate)?;
        Ok(Some(Sealing { certificate, number, left_out }))
    }

    /// Stores a certificate and takes its shares out of the slice.
    fn freeze(&mut self, position: usize, number: u32, certificate: &Certificate) -> Result<()> {
        let (id, slice) = (certificate.position, certificate.slice);
        let Some(open) = self.slices.get_mut(&(position, slice)) else { return Ok(()) };
        let listed: BTreeSet<BlockHash> = certificate.shares.iter().map(Share::hash).collect();
        let (sealed, left) = open
            .finds
            .iter()
            .map(|(hash, kept)| (*hash, *kept))
            .partition(|(hash, _)| listed.contains(hash));
        let stored = |job: &u64| self.jobs.known.get(job)?.number;
        let left =
            Slice { finds: left, dropped: open.dropped, late: open.late, ..Slice::default() };
        let sealed = Slice { finds: sealed, ..Slice::default() };
        let row = CertificateRow {
            position: id.0,
            slice,
            number,
            digest: certificate.digest().0,
            finds: sealed.row(id, slice, stored).finds,
        };
        self.store.seal_finds(&row, &left.row(id, slice, stored))?;
        *open = Slice { certificates: number.saturating_add(1), ..left };
        self.forget_jobs();
        Ok(())
    }

    /// Lets go of jobs that no kept share is of.
    fn forget_jobs(&mut self) {
        let needed = self.slices.values().flat_map(|slice| slice.finds.values().map(|kept| kept.0));
        self.jobs.forget_all_but(&needed.collect());
    }

    /// Slices with shares that no certificate lists, or with some that were not kept.
    pub fn open_slices(&self) -> Vec<OpenSlice> {
        let open = |((position, slice), kept): (&(usize, u32), &Slice)| OpenSlice {
            position: *position,
            slice: *slice,
            shares: kept.finds.len(),
            dropped: kept.dropped,
            late: kept.late,
            certificates: kept.certificates,
        };
        let any = |slice: &OpenSlice| slice.shares > 0 || slice.dropped > 0 || slice.late > 0;
        self.slices.iter().map(open).filter(any).collect()
    }

    /// Every certificate that is sealed, by position, slice and number.
    pub fn sealed(&self) -> Result<Vec<Sealed>> {
        let mut all = Vec::new();
        for (position, held) in self.held.iter().enumerate() {
            for row in self.store.certificates(held.position.as_bytes())? {
                let CertificateRow { slice, number, digest, .. } = row;
                let digest = CertificateDigest(digest);
                all.push(Sealed { position, slice, number, digest });
            }
        }
        Ok(all)
    }

    /// The certificates of a slice that are sealed, in order; what they list is what was sealed, or the
    /// store is damaged.
    pub fn certificates(&mut self, position: usize, slice: u32) -> Result<Vec<Certificate>> {
        let Some(id) = self.held.get(position).map(|held| held.position) else {
            return Ok(Vec::new());
        };
        let rows = self.store.certificates(id.as_bytes())?;
        let mut certificates = Vec::new();
        for row in rows.into_iter().filter(|row| row.slice == slice) {
            let shares = self.shares_of(&row.finds, id, slice)?;
            let shares = shares.into_iter().map(|(_, _, share)| share);
            let certificate = Certificate::new(id, slice, shares)?;
            let (expected, found) = (CertificateDigest(row.digest), certificate.digest());
            if expected != found {
                let place = format_args!("certificate {} of slice {slice}", row.number).to_string();
                return Err(DAMAGED.unstored(place, expected, found));
            }
            certificates.push(certificate);
        }
        self.forget_jobs();
        Ok(certificates)
    }

    /// The positions, in the order in which jobs' claims name them.
    pub fn held(&self) -> &[Held] {
        &self.held
    }
}

impl Slice {
    /// The row of the finds whose jobs have a number: all of them, once jobs are stored.
    fn row(
        &self,
        position: PositionId,
        slice: u32,
        number: impl Fn(&u64) -> Option<u32>,
    ) -> FindsRow {
        let kept = |(job, find): &(u64, Find)| Some(KeptFind { job: number(job)?, find: *find });
        let finds: BTreeSet<KeptFind> = self.finds.values().filter_map(kept).collect();
        FindsRow {
            position: position.0,
            slice,
            dropped: self.dropped,
            late: self.late,
            finds: finds_to_bytes(&finds),
        }
    }
}

impl Jobs {
    fn add(&mut self, work: ExtendedJob, number: Option<u32>) -> u64 {
        let place = self.next;
        self.next = self.next.saturating_add(1);
        self.known.insert(place, Known { work, number });
        place
    }

    /// The place of a job of this run.
    fn running(&mut self, job: &Job) -> u64 {
        if let Some(place) = self.running.get(&job.id) {
            return *place;
        }
        let place = self.add(job.work.clone(), None);
        self.running.insert(job.id, place);
        place
    }

    /// The place of a job of the store; `None` if it has none of this number.
    fn read(&mut self, number: u32, store: &Store) -> Result<Option<u64>> {
        if let Some(place) = self.stored.get(&number) {
            return Ok(Some(*place));
        }
        let Some(work) = store.job(number)?.and_then(|bytes| job_from_bytes(&bytes)) else {
            return Ok(None);
        };
        let place = self.add(work, Some(number));
        self.stored.insert(number, place);
        Ok(Some(place))
    }

    fn forget_all_but(&mut self, needed: &BTreeSet<u64>) {
        self.known.retain(|place, _| needed.contains(place));
        self.running.retain(|_, place| needed.contains(place));
        self.stored.retain(|_, place| needed.contains(place));
    }
}

#[cfg(test)]
mod tests;
