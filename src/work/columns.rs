//! A certificate in columns: about 22 bytes a share beside a table of jobs, where JSON takes 1,300.
//!
//! Shares of one job differ in what the machine chose ([`crate::work::extended_job`]). So a job is
//! written once, and of a share only its job, extra nonce, version, time and nonce:
//!
//! ```text
//! "HMXC" | version 1 (u8) | positions (compact) | each: position (32) | slice (u32)
//! jobs (compact) | each:
//!   flags (u8): 1 parent, 2 bits, 4 branch as in the job before, left out here; 8 the root is stated
//!   parent (32) | bits (u32)
//!   before | length of the extra nonce (u8) | behind
//!   branch (compact, 32 each) | root (32) | time (u32): the earliest
//! shares (compact) | nonces (u32 each)
//!   columns: job | version, xor 20000000, its 13 lowest bits moved behind the others | time after the
//!            job's; each is the width of its largest number (u8, 0 to 4), then the numbers
//!   extra nonces
//!
//! before, behind: what the coinbase has on each side of the extra nonce, each as
//!   bytes from its start as in the job before (compact) | bytes to its end as there (compact) |
//!   those between (compact, bytes)
//! ```
//! Numbers are little-endian, "compact" is Bitcoin's CompactSize, hashes stand as they do in a header
//! (the order of the wire), and shares in the order of their hashes. Several positions stand in the file
//! of a farm, whose shares are the same list for each ([`crate::work::farm`]); their certificates keep
//! a digest each, and they stand in ascending order of position and slice, none twice.
//!
//! **One list of shares has one file.** Jobs are not told by whoever mined: they follow from the
//! shares, in these steps.
//!
//! 1. A root is stated if the coinbase's hash, folded with the branch (each level is left's hash
//!    before the node's), does not give the header's, or if the branch cannot be folded.
//! 2. The tail of a coinbase is what stands behind the script of its input: the 41 bytes of version,
//!    number of inputs and prevout are passed over, whatever they say, then a compact length and as
//!    many bytes. Of what is too short for that, or whose length has a shorter form, it is empty.
//! 3. Shares are grouped by these, and the groups sorted by them in this order: parent (its 32 bytes),
//!    bits (as a number), branch (node by node, a branch before its longer ones), root stated (none
//!    before any, then its bytes), tail (byte by byte, the shorter first), length of the coinbase.
//! 4. Of a group, before is the longest start that all coinbases have in common, and behind the
//!    longest end in common of what follows it. If what is left between is at most 32 bytes, the group
//!    is a job, and this is the extra nonce. Otherwise each coinbase of it, in the order of its bytes,
//!    is a job of its own: all before, no extra nonce, nothing behind.
//! 5. Before and behind are written against those of the job before, or against nothing: first the
//!    longest start in common, then the longest end in common of what follows it in both.
//!
//! A flag is set wherever it can be. A reader writes again what he has read and refuses what does not
//! come out the same. The root of a share follows from its coinbase and branch, so reading costs what
//! hashing them costs; only a share that its branch does not tie to its header, which proves nothing,
//! has its root stated. Templates that change every 30 s cost their branch, and little more.

use std::collections::BTreeMap;

use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, CompactTarget, TxMerkleNode};

use crate::error::{Culprit, Error, Result, Rule};
use crate::id::PositionId;
use crate::work::binary::{Reader, column, common_end, common_start, compact, string};
use crate::work::certificate::{Certificate, LONGEST_FILE};
use crate::work::extended_job::LONGEST_EXTRANONCE;
use crate::work::hash;
use crate::work::share::Share;

/// A certificate in columns is whole.
pub const FORM: Rule = Rule::new(
    "work-columns-form",
    "a certificate in columns is a whole file of version 1: nothing is missing, nothing follows",
    "copy the whole file again",
);
/// A certificate in columns is written in one way.
pub const CANONICAL: Rule = Rule::new(
    "work-columns-canonical",
    "a certificate in columns is written in the one way that its shares have",
    "write it with `hashmix`",
);
/// A certificate in columns does not unfold beyond all measure.
pub const SIZE: Rule = Rule::new(
    "work-columns-size",
    "a certificate in columns and the shares in it take at most 64 MiB",
    "split the shares into several certificates",
);
/// The positions of a file have the same shares.
pub const SAME: Rule = Rule::new(
    "work-columns-same",
    "certificates that share a file list the same shares, each for another position or slice",
    "write a file for each of them",
);

/// What the file begins with.
const MAGIC: [u8; 4] = *b"HMXC";
const FORM_VERSION: u8 = 1;
/// What a header's version is without any rolled bit (BIP 320).
const BASE_VERSION: u32 = 0x2000_0000;
/// The lowest bit that is free to roll.
const ROLLED_FROM: u32 = 13;
/// What a share takes in memory beside its coinbase and its branch (bytes).
const SHARE_SIZE: usize = 160;

const SAME_PARENT: u8 = 1;
const SAME_BITS: u8 = 2;
const SAME_BRANCH: u8 = 4;
const ROOT_STATED: u8 = 8;

impl Certificate {
    /// The certificate in columns.
    pub fn to_bytes(&self) -> Vec<u8> {
        write(&[(self.position, self.slice)], &self.shares, &untied(&self.shares))
    }

    /// Reads the columns of a single certificate. Only form and order are checked; see
    /// [`Certificate::check`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        only(Self::several_from_bytes(bytes)?)
    }

    /// Certificates of several positions with the same shares, in one file, the positions in order.
    pub fn several_to_bytes(several: &[Self]) -> Result<Vec<u8>> {
        let refuse = |found: &str| {
            Err(SAME.refuses(Culprit::Sender, "certificates", "the same shares for each", found))
        };
        let Some(first) = several.first() else { return refuse("no certificate") };
        if several.iter().any(|other| other.shares != first.shares) {
            return refuse("other shares");
        }
        let mut claims: Vec<_> = several.iter().map(|c| (c.position, c.slice)).collect();
        claims.sort_unstable();
        if claims.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
            return refuse("a slice of a position twice");
        }
        Ok(write(&claims, &first.shares, &untied(&first.shares)))
    }

    /// Reads columns: the certificate of each position in the file.
    pub fn several_from_bytes(bytes: &[u8]) -> Result<Vec<Self>> {
        let Parsed { claims, shares, untied } = read(bytes)?;
        let mut several: Vec<Self> = Vec::with_capacity(claims.len());
        let Some(((position, slice), others)) = claims.split_last() else {
            return Err(unread("no position"));
        };
        let last = Self { position: *position, slice: *slice, shares };
        last.check_order()?;
        if write(&claims, &last.shares, &untied) != bytes {
            let found = "the same shares written otherwise";
            return Err(CANONICAL.refuses(Culprit::Sender, "certificate", "one way", found));
        }
        for (position, slice) in others {
            several.push(Self { position: *position, slice: *slice, shares: last.shares.clone() });
        }
        several.push(last);
        Ok(several)
    }

    /// Reads a certificate's file, in columns or as JSON.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        only(Self::read_several(bytes)?)
    }

    /// Reads a file of one certificate or more, in columns or as JSON.
    pub fn read_several(bytes: &[u8]) -> Result<Vec<Self>> {
        if bytes.starts_with(&MAGIC) {
            return Self::several_from_bytes(bytes);
        }
        // What is no text is no JSON either, and the parser says so.
        Self::from_json(&String::from_utf8_lossy(bytes)).map(|one| vec![one])
    }
}

fn only(mut several: Vec<Certificate>) -> Result<Certificate> {
    match (several.pop(), several.len()) {
        (Some(one), 0) => Ok(one),
        (_, more) => {
            let found = format_args!("{} positions", more.saturating_add(1)).to_string();
            Err(SAME.refuses(Culprit::Sender, "certificate", "one position", found))
        }
    }
}

fn unread(found: impl core::fmt::Display) -> Error {
    FORM.refuses(Culprit::Sender, "certificate", "a certificate in columns", found)
}

/// Which shares are not tied to their headers by their branches.
fn untied(shares: &[Share]) -> Vec<bool> {
    let leaf = |share: &Share| hash::double(&share.coinbase);
    let differs = |share: &Share, root: Option<[u8; 32]>| {
        root.as_ref() != Some(share.header.merkle_root.as_byte_array())
    };
    let mut untied = Vec::with_capacity(shares.len());
    for pair in shares.chunks(2) {
        match pair {
            [a, b] => {
                let [x, y] = hash::fold_two([leaf(a), leaf(b)], [&a.branch, &b.branch]);
                untied.extend([differs(a, x), differs(b, y)]);
            }
            rest => untied.extend(
                rest.iter().map(|share| differs(share, hash::fold(leaf(share), &share.branch))),
            ),
        }
    }
    untied
}

/// What shares of one job have in common; jobs stand in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Common<'a> {
    parent: &'a [u8; 32],
    bits: u32,
    branch: &'a [TxMerkleNode],
    /// Stated if it does not follow from the coinbase.
    root: Option<&'a [u8; 32]>,
    /// The coinbase behind the script of its input.
    tail: &'a [u8],
    length: usize,
}

/// A job as it is written.
#[derive(Clone, Copy)]
struct Entry<'a> {
    common: Common<'a>,
    prefix: &'a [u8],
    room: usize,
    suffix: &'a [u8],
    /// The earliest time among its shares.
    time: u32,
}

/// The shares' jobs in order, and the job of each share.
fn jobs<'a>(shares: &'a [Share], untied: &[bool]) -> (Vec<Entry<'a>>, Vec<usize>) {
    let mut groups: BTreeMap<Common<'a>, Vec<usize>> = BTreeMap::new();
    for (place, (share, untied)) in shares.iter().zip(untied).enumerate() {
        let Header { prev_blockhash, bits, merkle_root, .. } = &share.header;
        let common = Common {
            parent: prev_blockhash.as_byte_array(),
            bits: bits.to_consensus(),
            branch: &share.branch,
            root: untied.then_some(merkle_root.as_byte_array()),
            tail: tail(&share.coinbase),
            length: share.coinbase.len(),
        };
        groups.entry(common).or_default().push(place);
    }
    let mut entries = Vec::new();
    let mut jobs = vec![0; shares.len()];
    let mut add = |common, prefix, room, suffix, members: &[usize]| {
        let times = members.iter().filter_map(|place| shares.get(*place)).map(|s| s.header.time);
        for place in members {
            if let Some(job) = jobs.get_mut(*place) {
                *job = entries.len();
            }
        }
        entries.push(Entry { common, prefix, room, suffix, time: times.min().unwrap_or(0) });
    };
    for (common, members) in &groups {
        let coinbases =
            || members.iter().filter_map(|place| shares.get(*place)).map(|s| s.coinbase.as_slice());
        let first = coinbases().next().unwrap_or_default();
        let start = coinbases().map(|other| common_start(first, other)).min().unwrap_or(0);
        let (prefix, rest) = first.split_at_checked(start).unwrap_or_default();
        let ends = coinbases().map(|c| common_end(rest, c.get(start..).unwrap_or_default()));
        let room = rest.len().saturating_sub(ends.min().unwrap_or(0));
        if room <= LONGEST_EXTRANONCE {
            add(*common, prefix, room, rest.get(room..).unwrap_or_default(), members);
            continue;
        }
        let mut alone: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
        for (place, coinbase) in members.iter().zip(coinbases()) {
            alone.entry(coinbase).or_default().push(*place);
        }
        for (coinbase, members) in alone {
            add(*common, coinbase, 0, &[], &members);
        }
    }
    (entries, jobs)
}

/// A coinbase behind the script of its input; nothing of what does not begin like one.
fn tail(coinbase: &[u8]) -> &[u8] {
    // Version, number of inputs and prevout stand before the script.
    let mut reader = Reader(coinbase);
    match (reader.take(4 + 1 + 36), reader.string()) {
        (Some(_), Some(_)) => reader.0,
        _ => &[],
    }
}

/// A version as a number that is small if only few of the rolled bits are set.
pub(crate) fn rolled(version: Version) -> u32 {
    (version.to_consensus().cast_unsigned() ^ BASE_VERSION).rotate_right(ROLLED_FROM)
}

/// The version of such a number.
pub(crate) fn unrolled(number: u32) -> Version {
    Version::from_consensus((number.rotate_left(ROLLED_FROM) ^ BASE_VERSION).cast_signed())
}

fn write(claims: &[(PositionId, u32)], shares: &[Share], untied: &[bool]) -> Vec<u8> {
    let (entries, jobs) = jobs(shares, untied);
    let mut out = MAGIC.to_vec();
    out.push(FORM_VERSION);
    compact(&mut out, claims.len());
    for (position, slice) in claims {
        out.extend(position.as_bytes());
        out.extend(slice.to_le_bytes());
    }
    compact(&mut out, entries.len());
    let mut before = None;
    for entry in &entries {
        entry.write(before, &mut out);
        before = Some(entry);
    }
    compact(&mut out, shares.len());
    for share in shares {
        out.extend(share.header.nonce.to_le_bytes());
    }
    let numbers: Vec<u32> =
        jobs.iter().map(|job| u32::try_from(*job).unwrap_or(u32::MAX)).collect();
    column(&mut out, &numbers);
    column(&mut out, &shares.iter().map(|s| rolled(s.header.version)).collect::<Vec<_>>());
    let own = || shares.iter().zip(jobs.iter().filter_map(|job| entries.get(*job)));
    let after = |(share, job): (&Share, &Entry<'_>)| share.header.time.saturating_sub(job.time);
    column(&mut out, &own().map(after).collect::<Vec<_>>());
    for (share, job) in own() {
        let chosen = share.coinbase.get(job.prefix.len()..).and_then(|rest| rest.get(..job.room));
        out.extend(chosen.unwrap_or_default());
    }
    out
}

impl Entry<'_> {
    fn write(&self, before: Option<&Entry<'_>>, out: &mut Vec<u8>) {
        let common = &self.common;
        let same = |flag: u8, same: fn(&Entry<'_>, &Entry<'_>) -> bool| match before {
            Some(before) if same(before, self) => flag,
            _ => 0,
        };
        let flags = same(SAME_PARENT, |a, b| a.common.parent == b.common.parent)
            | same(SAME_BITS, |a, b| a.common.bits == b.common.bits)
            | same(SAME_BRANCH, |a, b| a.common.branch == b.common.branch)
            | if common.root.is_some() { ROOT_STATED } else { 0 };
        out.push(flags);
        if flags & SAME_PARENT == 0 {
            out.extend(common.parent);
        }
        if flags & SAME_BITS == 0 {
            out.extend(common.bits.to_le_bytes());
        }
        let (prefix, suffix) =
            before.map(|before| (before.prefix, before.suffix)).unwrap_or_default();
        differing(out, prefix, self.prefix);
        out.extend(u8::try_from(self.room));
        differing(out, suffix, self.suffix);
        if flags & SAME_BRANCH == 0 {
            compact(out, common.branch.len());
            common.branch.iter().for_each(|node| out.extend(node.as_byte_array()));
        }
        out.extend(common.root.into_iter().flatten());
        out.extend(self.time.to_le_bytes());
    }
}

/// What a file says, before it is known to be the one way of saying it.
struct Parsed {
    claims: Vec<(PositionId, u32)>,
    shares: Vec<Share>,
    untied: Vec<bool>,
}

/// A job as it is read; its branch lies in the file.
#[derive(Clone, Default)]
struct Read<'a> {
    parent: [u8; 32],
    bits: u32,
    prefix: Vec<u8>,
    room: usize,
    suffix: Vec<u8>,
    branch: &'a [u8],
    root: Option<[u8; 32]>,
    time: u32,
}

impl<'a> Read<'a> {
    fn next(reader: &mut Reader<'a>, last: Option<&Self>) -> Option<Self> {
        let flags = reader.byte()?;
        if flags > SAME_PARENT | SAME_BITS | SAME_BRANCH | ROOT_STATED {
            return None;
        }
        let before = |flag: u8| (flags & flag != 0).then_some(last);
        let parent = match before(SAME_PARENT) {
            Some(before) => before?.parent,
            None => reader.array()?,
        };
        let bits = match before(SAME_BITS) {
            Some(before) => before?.bits,
            None => reader.u32()?,
        };
        let prefix = like(reader, last.map_or(&[], |last| last.prefix.as_slice()))?;
        let room = usize::from(reader.byte()?);
        let suffix = like(reader, last.map_or(&[], |last| last.suffix.as_slice()))?;
        let branch = match before(SAME_BRANCH) {
            Some(before) => before?.branch,
            None => {
                let nodes = reader.count(32)?;
                reader.take(nodes.checked_mul(32)?)?
            }
        };
        let root = if flags & ROOT_STATED == 0 { None } else { Some(reader.array()?) };
        Some(Self { parent, bits, prefix, room, suffix, branch, root, time: reader.u32()? })
    }

    /// What of the coinbase the job takes in memory (bytes).
    fn unfolded(&self) -> usize {
        self.prefix.len().saturating_add(self.suffix.len())
    }

    /// What a share of the job takes in memory (bytes).
    fn size(&self) -> usize {
        [self.unfolded(), self.room, self.branch.len()]
            .iter()
            .fold(SHARE_SIZE, |sum, part| sum.saturating_add(*part))
    }
}

/// Writes bytes as what they differ in from those before.
fn differing(out: &mut Vec<u8>, before: &[u8], now: &[u8]) {
    let start = common_start(before, now);
    let (old, new) =
        (before.get(start..).unwrap_or_default(), now.get(start..).unwrap_or_default());
    let end = common_end(old, new);
    compact(out, start);
    compact(out, end);
    string(out, new.get(..new.len().saturating_sub(end)).unwrap_or_default());
}

/// Reads what [`differing`] writes.
fn like(reader: &mut Reader<'_>, before: &[u8]) -> Option<Vec<u8>> {
    let mut length = || usize::try_from(reader.compact()?).ok();
    let (start, end) = (length()?, length()?);
    let (first, rest) = before.split_at_checked(start)?;
    let last = rest.get(rest.len().checked_sub(end)?..)?;
    Some([first, reader.string()?, last].concat())
}

fn read(bytes: &[u8]) -> Result<Parsed> {
    if bytes.len() > LONGEST_FILE {
        return Err(large(bytes.len()));
    }
    let mut reader = Reader(bytes);
    if reader.array() != Some(MAGIC) || reader.byte() != Some(FORM_VERSION) {
        return Err(unread("another beginning"));
    }
    let short = || unread("bytes that end early or count badly");
    let claims = claims(&mut reader).ok_or_else(short)?;
    // The least that a job can take: flags, three numbers, a length, three numbers, a time.
    let count = reader.count(12).ok_or_else(short)?;
    if count.saturating_mul(SHARE_SIZE) > LONGEST_FILE {
        return Err(large(count.saturating_mul(SHARE_SIZE)));
    }
    let mut table: Vec<Read<'_>> = Vec::with_capacity(count);
    let mut unfolded = 0usize;
    for _ in 0..count {
        let job = Read::next(&mut reader, table.last()).ok_or_else(short)?;
        // What is as in the job before takes no bytes of the file.
        unfolded = unfolded.saturating_add(job.unfolded());
        if unfolded > LONGEST_FILE {
            return Err(large(unfolded));
        }
        table.push(job);
    }
    let count = reader.count(4).ok_or_else(short)?;
    // Before anything is reserved for them.
    let least = count.saturating_mul(SHARE_SIZE).saturating_mul(claims.len());
    if least > LONGEST_FILE {
        return Err(large(least));
    }
    let nonces = reader.plain_column(count).ok_or_else(short)?;
    let jobs = reader.column(count).ok_or_else(short)?;
    let jobs: Vec<&Read<'_>> = jobs
        .iter()
        .map(|job| table.get(usize::try_from(*job).ok()?))
        .collect::<Option<_>>()
        .ok_or_else(|| unread("a share of a job that is not listed"))?;
    let size = jobs.iter().fold(0usize, |sum, job| sum.saturating_add(job.size()));
    let size = size.saturating_mul(claims.len());
    if size > LONGEST_FILE {
        return Err(large(size));
    }
    let versions = reader.column(count).ok_or_else(short)?;
    let times = reader.column(count).ok_or_else(short)?;
    let mut shares = Vec::with_capacity(count);
    for (job, (nonce, (version, time))) in
        jobs.iter().zip(nonces.iter().zip(versions.iter().zip(&times)))
    {
        let chosen = reader.take(job.room).ok_or_else(short)?;
        let coinbase = [job.prefix.as_slice(), chosen, &job.suffix].concat();
        let nodes = job.branch.as_chunks::<32>().0;
        shares.push(Share {
            header: Header {
                version: unrolled(*version),
                prev_blockhash: BlockHash::from_byte_array(job.parent),
                merkle_root: TxMerkleNode::from_byte_array(job.root.unwrap_or_default()),
                time: job.time.checked_add(*time).ok_or_else(|| unread("a time past 2106"))?,
                bits: CompactTarget::from_consensus(job.bits),
                nonce: *nonce,
            },
            coinbase,
            branch: nodes.iter().copied().map(TxMerkleNode::from_byte_array).collect(),
        });
    }
    if !reader.0.is_empty() {
        return Err(unread(format_args!("{} bytes behind the end", reader.0.len())));
    }
    let untied = tie(&mut shares, &jobs)?;
    Ok(Parsed { claims, shares, untied })
}

fn claims(reader: &mut Reader<'_>) -> Option<Vec<(PositionId, u32)>> {
    let count = reader.count(36)?;
    let mut claims: Vec<(PositionId, u32)> = Vec::with_capacity(count);
    for _ in 0..count {
        let claim = (PositionId(reader.array()?), reader.u32()?);
        if claims.last().is_some_and(|before| *before >= claim) {
            return None;
        }
        claims.push(claim);
    }
    Some(claims)
}

/// Gives each header its root; answers which were stated. Who states one that follows from the
/// coinbase anyway, or none where none follows, has not written it the one way.
fn tie(shares: &mut [Share], jobs: &[&Read<'_>]) -> Result<Vec<bool>> {
    let mut stated = Vec::with_capacity(shares.len());
    for (pair, jobs) in shares.chunks_mut(2).zip(jobs.chunks(2)) {
        let leaf = |share: &Share| hash::double(&share.coinbase);
        let roots = match &*pair {
            [a, b] => hash::fold_two([leaf(a), leaf(b)], [&a.branch, &b.branch]),
            rest => [rest.first().and_then(|a| hash::fold(leaf(a), &a.branch)), None],
        };
        for (share, (job, root)) in pair.iter_mut().zip(jobs.iter().zip(roots)) {
            match (job.root, root) {
                (Some(told), root) if root != Some(told) => stated.push(true),
                (None, Some(root)) => {
                    share.header.merkle_root = TxMerkleNode::from_byte_array(root);
                    stated.push(false);
                }
                _ => {
                    let expected = "a root where it does not follow, and nowhere else";
                    let found = "another use of it";
                    return Err(CANONICAL.refuses(Culprit::Sender, "certificate", expected, found));
                }
            }
        }
    }
    Ok(stated)
}

fn large(found: usize) -> Error {
    let expected = format_args!("at most {LONGEST_FILE} bytes").to_string();
    SIZE.refuses(Culprit::Sender, "certificate", expected, format_args!("{found} bytes"))
}

#[cfg(test)]
mod tests;
