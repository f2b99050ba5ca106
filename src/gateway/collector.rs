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
//! writes what is new, and that alone; what was flushed survives whatever happens to the process, so a
//! crash costs the shares since the last flush and nothing else.
//!
//! [`Collector::draft`], [`Draft::weigh`] and [`Collector::freeze`] make the certificate of a slice and
//! freeze it: the database itself refuses to change or delete it. Weighing takes the time, and needs
//! nothing of the collector, which goes on meanwhile. A validator refuses a whole certificate for one share that does not count, so
//! shares that break a rule on the chain as it is are left out, most of all those whose parent has
//! lost a reorg. They are not thrown away: they stay in their row, and if their block comes back, the
//! slice can be sealed again. That gives it a second certificate, with them alone; the first stays as
//! it is, receipts and all, and certificates of one slice are united when work is credited. What is
//! found for a slice that is sealed is counted as late, and goes into its next certificate.
//!
//! Two gateways of one position keep a store each, and seal a certificate each:
//! [`Certificate::unite`] makes one of them, in which a share that reached both counts once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Target};

use super::job::Job;
use crate::error::{Error, Result, Rule};
use crate::headers::Headers;
use crate::height::Calendar;
use crate::id::{CertificateDigest, PositionId};
use crate::store::{CertificateName, CertificateRow, DAMAGED, FindsRow, Store};
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
    work: Arc<ExtendedJob>,
    /// Its number in the store, once it is there.
    number: Option<u32>,
}

/// The shares of a slice that no certificate lists, and what is known of those that one does.
#[derive(Debug, Default)]
struct Slice {
    /// The place of the job, and the find, by the header's hash.
    finds: HashMap<BlockHash, (u64, Find)>,
    /// Those of them that the store does not have.
    fresh: Vec<BlockHash>,
    /// What certificates list, and what was dropped: neither is counted again. Forgotten when no
    /// receipt counts for the slice any more.
    listed: HashSet<BlockHash>,
    passed: HashSet<BlockHash>,
    dropped: u32,
    late: u32,
    certificates: u32,
    /// Whether the store has other counts or fewer finds.
    changed: bool,
}

/// The shares of a slice, to be weighed for its next certificate.
#[derive(Clone, Debug)]
pub struct Draft {
    position: usize,
    id: PositionId,
    slice: u32,
    number: u32,
    terms: WorkTerms,
    finds: Vec<(Arc<ExtendedJob>, Find)>,
}

/// A certificate of the shares that count, to be frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeighedDraft {
    position: usize,
    sealing: Sealing,
    /// Of the chain that it was weighed on.
    tip: u32,
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
            let shares = match row.finds.is_empty() {
                true => Vec::new(),
                false => self.shares_of(&row.finds, id, row.slice)?,
            };
            let slice = self.slices.entry((position, row.slice)).or_default();
            (slice.dropped, slice.late) = (row.dropped, row.late);
            slice
                .finds
                .extend(shares.iter().map(|(job, find, share)| (share.hash(), (*job, *find))));
        }
        for name in self.store.certificate_names(id.as_bytes())? {
            let slice = self.slices.entry((position, name.slice)).or_default();
            slice.certificates = slice.certificates.max(name.number.saturating_add(1));
        }
        // Something was found for the last slice, so the tip lay just before it at least.
        let ours = self.slices.range((position, 0)..=(position, u32::MAX));
        let last = ours.clone().next_back().map_or(0, |((_, slice), _)| *slice);
        let tip = self.calendar(position).and_then(|calendar| calendar.slice_blocks(last));
        let tip = tip.map_or(0, |blocks| blocks.start().saturating_sub(1));
        let sealed = ours.filter(|(key, slice)| slice.certificates > 0 && self.counts(key, tip));
        for slice in sealed.map(|((_, slice), _)| *slice).collect::<Vec<_>>() {
            for row in self.store.certificates(id.as_bytes(), slice)? {
                let shares = self.shares_of(&row.finds, id, slice)?;
                let Some(open) = self.slices.get_mut(&(position, slice)) else { continue };
                open.listed.extend(shares.iter().map(|(_, _, share)| share.hash()));
            }
        }
        self.forget_jobs();
        Ok(())
    }

    fn calendar(&self, position: usize) -> Option<Calendar> {
        self.held.get(position).map(|held| held.terms.calendar())
    }

    /// Whether a receipt that is given at this tip counts for a slice.
    fn counts(&self, (position, slice): &(usize, u32), tip: u32) -> bool {
        let until = self.calendar(*position).and_then(|calendar| calendar.receipts_until(*slice));
        until >= Some(tip)
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
            if slice.knows(&hash) {
                continue;
            }
            slice.changed = true;
            if slice.certificates > 0 {
                slice.late = slice.late.saturating_add(1);
            }
            let most = usize::try_from(terms.most_shares()).unwrap_or(usize::MAX);
            if slice.finds.len().saturating_add(slice.listed.len()) < most {
                slice.finds.insert(hash, (self.jobs.running(job), *find));
                slice.fresh.push(hash);
                kept = kept.saturating_add(1);
            } else {
                slice.dropped = slice.dropped.saturating_add(1);
                if slice.passed.len() < most {
                    slice.passed.insert(hash);
                }
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
            .flat_map(|(_, slice)| slice.unstored().map(|(job, _)| *job))
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
                    let position = held.get(key.0)?.position;
                    Some(slice.row(position, key.1, slice.unstored(), number))
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
                slice.fresh.clear();
            }
        }
        Ok(changed.len())
    }

    /// Slices that have shares, no certificate yet, and an end at least `depth` blocks below the tip,
    /// as long as receipts count for them: nothing is found for them any more.
    pub fn due(&self, tip: u32, depth: u32) -> Vec<(usize, u32)> {
        let ended = |(position, slice): &(usize, u32)| {
            let blocks =
                self.calendar(*position).and_then(|calendar| calendar.slice_blocks(*slice));
            blocks.is_some_and(|blocks| blocks.end().saturating_add(depth) <= tip)
        };
        let due = |key: &(usize, u32), slice: &Slice| {
            slice.certificates == 0
                && !slice.finds.is_empty()
                && ended(key)
                && self.counts(key, tip)
        };
        self.slices.iter().filter(|(key, slice)| due(key, slice)).map(|(key, _)| *key).collect()
    }

    /// Slices with a certificate and shares beside it, as long as receipts count for them: they came
    /// late, or count if the chain has changed back.
    pub fn left_out(&self, tip: u32) -> Vec<(usize, u32)> {
        let left = |key: &(usize, u32), slice: &Slice| {
            slice.certificates > 0 && !slice.finds.is_empty() && self.counts(key, tip)
        };
        self.slices.iter().filter(|(key, slice)| left(key, slice)).map(|(key, _)| *key).collect()
    }

    /// The shares of a slice that no certificate lists, with all that is needed to weigh them. `None`
    /// if there are none.
    pub fn draft(&self, position: usize, slice: u32) -> Option<Draft> {
        let Held { position: id, terms } = self.held.get(position)?;
        let open = self.slices.get(&(position, slice)).filter(|open| !open.finds.is_empty())?;
        let find =
            |(job, find): &(u64, Find)| Some((self.jobs.known.get(job)?.work.clone(), *find));
        Some(Draft {
            position,
            id: *id,
            slice,
            number: open.certificates,
            terms: terms.clone(),
            finds: open.finds.values().filter_map(find).collect(),
        })
    }

    /// Makes a certificate of the shares of a slice that count on this chain, and freezes it; the
    /// others stay. `None` if none counts. Unavailable if headers are missing to tell.
    pub fn seal(
        &mut self,
        position: usize,
        slice: u32,
        headers: &Headers,
    ) -> Result<Option<Sealing>> {
        let Some(draft) = self.draft(position, slice) else { return Ok(None) };
        match draft.weigh(headers)? {
            Some(weighed) => self.freeze(weighed),
            None => Ok(None),
        }
    }

    /// Stores a certificate, flushed before, and takes its shares out of the slice. What came since it
    /// was drafted stays. `None` if the slice was given another certificate meanwhile.
    pub fn freeze(&mut self, weighed: WeighedDraft) -> Result<Option<Sealing>> {
        self.flush()?;
        let WeighedDraft { position, sealing, tip } = weighed;
        let Sealing { certificate, number, .. } = &sealing;
        let (id, slice) = (certificate.position, certificate.slice);
        let Some(open) = self.slices.get_mut(&(position, slice)) else { return Ok(None) };
        if open.certificates != *number {
            return Ok(None);
        }
        let listed: BTreeSet<BlockHash> = certificate.shares.iter().map(Share::hash).collect();
        let stored = |job: &u64| self.jobs.known.get(job)?.number;
        let (listed_finds, left): (Vec<_>, Vec<_>) =
            open.finds.iter().partition(|(hash, _)| listed.contains(*hash));
        let listed_finds = listed_finds.into_iter().map(|(_, kept)| kept);
        let left = left.into_iter().map(|(_, kept)| kept);
        let row = CertificateRow {
            position: id.0,
            slice,
            number: *number,
            digest: certificate.digest().0,
            finds: open.row(id, slice, listed_finds, stored).finds,
        };
        self.store.seal_finds(&row, &open.row(id, slice, left, stored))?;
        open.finds.retain(|hash, _| !listed.contains(hash));
        open.listed.extend(listed);
        open.certificates = number.saturating_add(1);
        self.forget(tip);
        Ok(Some(sealing))
    }

    /// Lets go of what matters only while receipts count, and of jobs.
    fn forget(&mut self, tip: u32) {
        let over: Vec<_> =
            self.slices.keys().filter(|key| !self.counts(key, tip)).copied().collect();
        for key in over {
            if let Some(slice) = self.slices.get_mut(&key) {
                slice.listed = HashSet::new();
                slice.passed = HashSet::new();
            }
        }
        self.forget_jobs();
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
            for name in self.store.certificate_names(held.position.as_bytes())? {
                let CertificateName { slice, number, digest } = name;
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
        let mut certificates = Vec::new();
        for row in self.store.certificates(id.as_bytes(), slice)? {
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
    /// Whether a find was counted before, whatever became of it.
    fn knows(&self, hash: &BlockHash) -> bool {
        self.finds.contains_key(hash) || self.listed.contains(hash) || self.passed.contains(hash)
    }

    /// Finds that the store does not have.
    fn unstored(&self) -> impl Iterator<Item = &(u64, Find)> {
        self.fresh.iter().filter_map(|hash| self.finds.get(hash))
    }

    /// The row of these finds, of those whose jobs have a number: all of them, once jobs are stored.
    fn row<'a>(
        &self,
        position: PositionId,
        slice: u32,
        finds: impl Iterator<Item = &'a (u64, Find)>,
        number: impl Fn(&u64) -> Option<u32>,
    ) -> FindsRow {
        let kept = |(job, find): &(u64, Find)| Some(KeptFind { job: number(job)?, find: *find });
        let finds: BTreeSet<KeptFind> = finds.filter_map(kept).collect();
        FindsRow {
            position: position.0,
            slice,
            dropped: self.dropped,
            late: self.late,
            finds: if finds.is_empty() { Vec::new() } else { finds_to_bytes(&finds) },
        }
    }
}

impl Draft {
    /// Makes a certificate of the shares that count on this chain. `None` if none does. Unavailable if
    /// headers are missing to tell.
    pub fn weigh(self, headers: &Headers) -> Result<Option<WeighedDraft>> {
        let Self { position, id, slice, number, terms, finds } = self;
        let shares = finds.iter().filter_map(|(job, find)| job.share(find));
        let all = Certificate::new(id, slice, shares)?;
        let weighed = all.weigh(&terms, headers);
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
        let sealing = Sealing { certificate, number, left_out };
        Ok(Some(WeighedDraft { position, sealing, tip: headers.tip() }))
    }
}

impl Jobs {
    fn add(&mut self, work: ExtendedJob, number: Option<u32>) -> u64 {
        let place = self.next;
        self.next = self.next.saturating_add(1);
        self.known.insert(place, Known { work: Arc::new(work), number });
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
