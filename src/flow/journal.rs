//! The journal: what a validator has bound himself to, kept by others too.
//!
//! Who signs and forgets can be made to sign the opposite: it is enough to put yesterday's disk back
//! into his machine. So a validator writes into a journal before he signs, and the others hold it.
//!
//! ```text
//!  validator                                      the other validators
//!    | judges the request (policy)
//!    |-- Entered(entry n, signed, over entry n-1) ->|
//!    |<--------- Witnessed(what they hold at n) ----|
//!    | k - 1 others hold this very entry: signs
//! ```
//!
//! | what the others show at n | means | he |
//! |---|---|---|
//! | his entry | they hold it | signs |
//! | nothing | they are away | waits, and asks again after some blocks |
//! | another entry n, or a later one, with his signature | his disk is an old one | stays shut |
//!
//! A witness who knows two entries of one number shows for each the other, whichever came first, and
//! for neither itself. He knows them from the validator's own words and from what other witnesses
//! show.
//!
//! Shut he stays until he says `Restored`: he takes over what the others hold, with everything that it
//! binds him to, and drops what he entered instead, which nobody held and nothing was signed by. An
//! entry that somebody did hold cannot be dropped: then he has bound himself twice, and never signs in
//! this contract again.
//!
//! An entry names the one before it by its digest, so a journal is one chain; it carries a signature
//! of its own, so whoever shows it proves it. A journal is of one contract, as the keys of a record
//! are. Entries are words, and words lie in the store before they leave: this is the only memory that
//! a validator has.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::BlockHash;

use crate::error::{Culprit, Result, Rule};
use crate::facts::Facts;
pub use crate::flow::bond::{Bond, Entry, Event, digest};
use crate::flow::dispute::memory::Memory;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::{Effect, Event as FlowEvent, SPEAKER};
use crate::id::{TermsId, WordId};
use crate::message;
use crate::party::Seat;

/// An entry proves itself.
pub const SIGNED: Rule = Rule::new(
    "policy-memory-signed",
    "an entry of a validator's journal is signed by him, for this contract",
    "ask whoever showed it where he has it from",
);
/// A journal is one chain.
pub const CHAINED: Rule = Rule::new(
    "policy-memory-chained",
    "entries of a journal are numbered without a gap, each over the digest of the one before",
    "ask the validator for the entries between",
);
/// Nobody is his own witness.
pub const WITNESS: Rule = Rule::new(
    "policy-memory-witness",
    "a validator's journal is witnessed by another validator of the federation",
    "ask another validator",
);
/// What is signed was entered before.
pub const ENTERED: Rule = Rule::new(
    "policy-memory-entered",
    "a validator signs what stands in his journal, and nothing else",
    "report this: the journal is written before anything is signed",
);
/// What is signed is held by others.
pub const HELD: Rule = Rule::new(
    "policy-memory-held",
    "k - 1 other validators hold a journal's entry before what it binds to is signed",
    "wait for the other validators, or wake them",
);
/// An old disk does not sign.
pub const BEHIND: Rule = Rule::new(
    "policy-memory-behind",
    "no other validator shows an entry of ours that our own journal lacks",
    "the store is an old copy: bring back the newest, or take the entries over with `hashmix validator resolve`",
);
/// Who is bound twice signs no more.
pub const FORKED: Rule = Rule::new(
    "policy-memory-forked",
    "no two entries of a validator's journal that others hold have the same number",
    "this record cannot sign in this contract again: two stores have signed with it; the other validators decide",
);
/// The same request, the same transaction.
pub const ONCE: Rule = Rule::new(
    "policy-memory-once",
    "a request that was entered for one transaction is not signed as another one",
    "make a new request",
);

/// An output is sold once.
pub const RESOLD: Rule = Rule::new(
    "policy-memory-resold",
    "an escrow output that a validator has signed away to one buyer is not signed away to another",
    "complete the sale that was signed; another one needs the miner, or waits for a settlement",
);

/// Most entries that a journal has.
pub const LONGEST: usize = 65_536;

/// Most entries that one word shows.
const SHOWN: usize = 64;

/// Blocks after which a validator asks again who has not answered.
const PATIENCE: u32 = 6;

/// The journals of a contract's validators.
#[derive(Clone, Debug)]
pub struct State {
    contract: TermsId,
    journals: BTreeMap<u8, Journal>,
}

#[derive(Clone, Debug, Default)]
struct Journal {
    /// What stands, with its digests.
    entries: Vec<(WordId, Entry)>,
    /// Entries that he signed for a number that was taken.
    rivals: BTreeMap<WordId, Entry>,
    /// The tip at which he asked last about each entry.
    asked: BTreeMap<WordId, BlockHash>,
    /// What others showed: by digest, the entry, and who holds it and knows no other.
    held: BTreeMap<WordId, (Entry, BTreeSet<u8>)>,
    /// What he has dropped: it counts no more, unless somebody turns out to hold it.
    dropped: BTreeSet<WordId>,
    /// Who has answered what: witness, claim, tip, and the entry that he showed first.
    answered: BTreeSet<(u8, WordId, BlockHash, WordId)>,
}

impl Journal {
    fn head(&self) -> WordId {
        self.entries.last().map_or(WordId([0; 32]), |(digest, _)| *digest)
    }

    fn at(&self, number: u32) -> Option<&(WordId, Entry)> {
        self.entries.get(usize::try_from(number).ok()?)
    }

    fn length(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    /// Whether an entry stands.
    fn has(&self, digest: WordId, entry: &Entry) -> bool {
        self.at(entry.number).is_some_and(|(known, _)| *known == digest)
    }

    /// An entry that was claimed, with its digest.
    fn claimed(&self, claim: &WordId) -> Option<&Entry> {
        let standing = self.entries.iter().find(|(digest, _)| digest == claim);
        standing.map(|(_, entry)| entry).or_else(|| self.rivals.get(claim))
    }

    /// What a witness shows of a claim: the entry and those behind it if it is the only one of its
    /// number that he has ever seen; else every other one, whichever came first.
    fn shown(&self, claim: &WordId) -> Vec<(WordId, Vec<Entry>)> {
        let Some(number) = self.claimed(claim).map(|entry| entry.number) else {
            return Vec::new();
        };
        let from = usize::try_from(number).unwrap_or(usize::MAX);
        let standing = self.entries.get(from..).unwrap_or_default();
        let run: Vec<Entry> = standing.iter().take(SHOWN).map(|(_, e)| e.clone()).collect();
        let standing = standing.first().map(|(digest, _)| (*digest, run));
        let rivals = self.rivals.iter().map(|(digest, entry)| (*digest, entry));
        let held = self.held.iter().map(|(digest, (entry, _))| (*digest, entry));
        let mut all: BTreeMap<WordId, Vec<Entry>> = rivals
            .chain(held)
            .filter(|(digest, entry)| entry.number == number && !self.is_dropped(digest))
            .map(|(digest, entry)| (digest, vec![entry.clone()]))
            .collect();
        all.extend(standing);
        if all.len() > 1 {
            all.remove(claim);
        }
        all.into_iter().collect()
    }

    /// Whether an entry was dropped, and nobody holds it.
    fn is_dropped(&self, digest: &WordId) -> bool {
        self.dropped.contains(digest) && self.holders(digest) == 0
    }

    fn holders(&self, digest: &WordId) -> usize {
        self.held.get(digest).map_or(0, |(_, holders)| holders.len())
    }
}

impl State {
    /// Journals of `contract` in which nothing stands yet.
    pub fn new(contract: TermsId) -> Self {
        Self { contract, journals: BTreeMap::new() }
    }

    /// Refuses a word that its speaker may not say, or that does not prove itself.
    pub fn admit(&self, terms: &EscrowTerms, from: Seat, event: &Event) -> Result<()> {
        match event {
            Event::Entered { entry, .. } => {
                let place = speaker(from, "entry of a journal")?;
                let digest = self.check_entry(terms, place, from.into(), entry)?;
                self.check_place(place, digest, entry)
            }
            Event::Witnessed { validator, entries, .. } => {
                let witness = speaker(from, "witness to a journal")?;
                if witness == *validator || usize::from(*validator) >= validators(terms) {
                    return Err(WITNESS.refuses(
                        from.into(),
                        "witness to a journal",
                        format_args!("another validator than {witness}, of {}", validators(terms)),
                        validator,
                    ));
                }
                self.check_run(terms, *validator, from.into(), entries).map(|_| ())
            }
            Event::Restored { entries, dropped } => {
                let place = speaker(from, "journal that is taken over")?;
                let run = self.check_run(terms, place, from.into(), entries)?;
                self.check_restored(place, &run, dropped)
            }
        }
    }

    /// Takes a word that was admitted.
    pub fn apply(&mut self, from: Seat, event: &Event) -> Result<()> {
        let contract = self.contract;
        let Seat::Validator(place) = from else { return Ok(()) };
        match event {
            Event::Entered { entry, tip } => {
                let digest = entry.digest(contract, place)?;
                let journal = self.journals.entry(place).or_default();
                if journal.dropped.contains(&digest) {
                    return Ok(());
                }
                journal.asked.insert(digest, *tip);
                if journal.at(entry.number).is_none() {
                    journal.entries.push((digest, entry.clone()));
                } else if !journal.has(digest, entry) {
                    journal.rivals.insert(digest, entry.clone());
                }
            }
            Event::Witnessed { validator, claim, tip, entries } => {
                let journal = self.journals.entry(*validator).or_default();
                let Some(first) = entries.first() else { return Ok(()) };
                let first = first.digest(contract, *validator)?;
                journal.answered.insert((place, *claim, *tip, first));
                for entry in entries {
                    let digest = entry.digest(contract, *validator)?;
                    let held = journal.held.entry(digest);
                    let (_, holders) = held.or_insert_with(|| (entry.clone(), BTreeSet::new()));
                    // Who shows another entry than was asked about knows it, and holds neither.
                    if first == *claim {
                        holders.insert(place);
                    }
                }
            }
            Event::Restored { entries, dropped } => {
                let journal = self.journals.entry(place).or_default();
                let Some(first) = entries.first() else { return Ok(()) };
                let kept = usize::try_from(first.number).unwrap_or(usize::MAX);
                journal.entries.truncate(kept);
                for entry in entries {
                    journal.entries.push((entry.digest(contract, place)?, entry.clone()));
                }
                // What was dropped is asked about no more, and stands in nobody's way.
                journal.dropped.extend(dropped);
                journal.rivals.retain(|digest, _| !dropped.contains(digest));
                journal.asked.retain(|claim, _| !dropped.contains(claim));
            }
        }
        Ok(())
    }

    /// What validator `place` does for the others' journals: he shows what he holds.
    pub fn next(&self, place: u8) -> Vec<Effect> {
        let others = self.journals.iter().filter(|(validator, _)| **validator != place);
        let mut effects = Vec::new();
        for (validator, journal) in others {
            for (claim, tip) in &journal.asked {
                for (digest, entries) in journal.shown(claim) {
                    if !journal.answered.contains(&(place, *claim, *tip, digest)) {
                        effects.push(Effect::Say(FlowEvent::Journal(Event::Witnessed {
                            validator: *validator,
                            claim: *claim,
                            tip: *tip,
                            entries,
                        })));
                    }
                }
            }
        }
        effects
    }

    /// Number and previous digest of the next entry of validator `place`.
    pub fn head(&self, place: u8) -> (u32, WordId) {
        self.journals
            .get(&place)
            .map_or((0, WordId([0; 32])), |journal| (journal.length(), journal.head()))
    }

    /// The entries that stand in the journal of validator `place`, oldest first.
    pub fn entries(&self, place: u8) -> Vec<&Entry> {
        let journal = self.journals.get(&place).into_iter();
        journal.flat_map(|journal| journal.entries.iter().map(|(_, entry)| entry)).collect()
    }

    /// What validator `place` may not contradict.
    pub fn memory(&self, place: u8) -> Memory {
        let mut memory = Memory::default();
        for entry in self.entries(place) {
            if let Some(outcome) = entry.bond.outcome() {
                memory.remember(outcome);
            }
        }
        memory
    }

    fn admit_outcome(&self, place: u8, bond: &Bond) -> Result<()> {
        let mut sold = self.entries(place).into_iter().filter_map(|entry| entry.bond.sold());
        if let Some((outpoint, txid)) = bond.sold()
            && let Some((_, was)) = sold.find(|(known, was)| *known == outpoint && *was != txid)
        {
            let place = format_args!("resale of {outpoint}").to_string();
            return Err(RESOLD.refuses(Culprit::Holder, place, was, txid));
        }
        bond.outcome().map_or(Ok(()), |outcome| self.memory(place).admit(outcome))
    }

    /// Refuses to enter a bond that contradicts what stands in the journal of validator `place`, or
    /// while his journal is behind.
    pub fn admit_bond(&self, place: u8, bond: &Bond) -> Result<()> {
        self.open(place)?;
        let (request, outcome, txid) = bond.parts();
        for entry in self.entries(place) {
            let (known, ruled, was) = entry.bond.parts();
            if (known, ruled) == (request, outcome) && was != txid {
                let place = format_args!("request {request}").to_string();
                return Err(ONCE.refuses(Culprit::Sender, place, was, txid));
            }
        }
        self.admit_outcome(place, bond)
    }

    /// Refuses to sign what validator `place` has not entered, or what fewer than `k` validators, he
    /// among them, hold.
    pub fn admit_signature(&self, place: u8, bond: &Bond, k: usize) -> Result<()> {
        self.open(place)?;
        let Some((digest, entry)) = self.find(place, bond) else {
            return Err(ENTERED.unavailable("journal", "an entry for what is signed", "none"));
        };
        let holders = self.journals.get(&place).map_or(0, |journal| journal.holders(&digest));
        if holders.saturating_add(1) < k {
            return Err(HELD.unavailable(
                format_args!("entry {} of the journal", entry.number),
                format_args!("{} other validators who hold it", k.saturating_sub(1)),
                holders,
            ));
        }
        // What was entered since may have raised what he is bound to.
        self.admit_outcome(place, bond)
    }

    /// What validator `place` says of a bond that waits for witnesses, if it is time to ask again who
    /// holds it: this entry and, before it, those that a witness with a gap would lack, the oldest
    /// first.
    pub fn to_ask(&self, facts: &Facts, place: u8, bond: &Bond) -> Option<Entry> {
        let (digest, entry) = self.find(place, bond)?;
        let journal = self.journals.get(&place)?;
        let since = facts.tip().saturating_sub(PATIENCE);
        let recent = |digest: &WordId| {
            let tip = journal.asked.get(digest);
            // A tip that has left the chain was asked in vain.
            tip.and_then(|tip| facts.headers.height_of(*tip)).is_some_and(|height| height > since)
        };
        if recent(&digest) {
            return None;
        }
        let through = usize::try_from(entry.number).ok()?;
        let before = journal.entries.get(through.saturating_sub(SHOWN)..=through)?;
        before.iter().find(|(digest, _)| !recent(digest)).map(|(_, entry)| entry.clone())
    }

    /// Refuses while others show entries of validator `place` that his journal lacks.
    pub fn open(&self, place: u8) -> Result<()> {
        let Some(journal) = self.journals.get(&place) else { return Ok(()) };
        for (digest, (entry, holders)) in &journal.held {
            if journal.has(*digest, entry) || journal.is_dropped(digest) {
                continue;
            }
            let where_ = format_args!("entry {} of validator {place}'s journal", entry.number);
            let mine = journal.at(entry.number);
            let rule = match mine {
                _ if journal.dropped.contains(digest) => FORKED,
                Some((mine, _)) if journal.holders(mine) > 0 => FORKED,
                _ => BEHIND,
            };
            let found = mine.map_or("none".to_owned(), |(mine, _)| mine.to_string());
            let expected = format!("{digest}, which others show, {} as theirs", holders.len());
            return Err(rule.refuses(Culprit::Validator(place), where_, expected, found));
        }
        Ok(())
    }

    /// What validator `place` would take over from the others: the entries that his journal lacks.
    /// Refused where nothing is to be taken over, or where he is bound twice.
    pub fn restorable(&self, place: u8) -> Result<Vec<Entry>> {
        let none = || BEHIND.misused("journal", "entries that others hold and we lack", "none");
        let journal = self.journals.get(&place).ok_or_else(none)?;
        let lacking = journal.held.iter().filter(|(digest, (entry, _))| {
            !journal.has(**digest, entry) && !journal.is_dropped(digest)
        });
        let first = lacking.map(|(_, (entry, _))| entry.number).min().ok_or_else(none)?;
        let mut previous = match first.checked_sub(1) {
            None => WordId([0; 32]),
            Some(before) => match journal.at(before) {
                Some((digest, _)) => *digest,
                None => {
                    let expected = format_args!("entry {before} first").to_string();
                    return Err(CHAINED.unavailable("journal", expected, "none"));
                }
            },
        };
        let mut run = Vec::new();
        // Of what others hold, what continues our own journal; no two of them may.
        loop {
            // What we entered ourselves and nobody holds is what is to be dropped.
            let ours = |digest: &WordId, entry: &Entry| {
                (journal.has(*digest, entry) && journal.holders(digest) == 0)
                    || journal.is_dropped(digest)
            };
            let mut next = journal
                .held
                .iter()
                .filter(|(digest, (entry, _))| entry.previous == previous && !ours(digest, entry));
            let Some((digest, (entry, _))) = next.next() else { break };
            if let Some((rival, _)) = next.next() {
                let place = format_args!("entry {}", entry.number).to_string();
                return Err(FORKED.refuses(Culprit::Sender, place, digest, rival));
            }
            if entry.number >= first {
                run.push(entry.clone());
            }
            previous = *digest;
            if run.len() >= LONGEST {
                break;
            }
        }
        match run.is_empty() {
            // They hold entries beyond those that anybody shows.
            true => Err(CHAINED.unavailable("journal", format_args!("entry {first}"), "none")),
            false => Ok(run),
        }
    }

    /// Digests of what validator `place` has entered instead of `run`, which he drops for it.
    pub fn to_drop(&self, place: u8, run: &[Entry]) -> Vec<WordId> {
        let (Some(journal), Some(first)) = (self.journals.get(&place), run.first()) else {
            return Vec::new();
        };
        let from = usize::try_from(first.number).unwrap_or(usize::MAX);
        let instead = journal.entries.get(from..).unwrap_or_default().iter();
        let taken = |digest: &WordId| {
            run.iter().any(|entry| entry.digest(self.contract, place).is_ok_and(|d| d == *digest))
        };
        instead.map(|(digest, _)| *digest).filter(|digest| !taken(digest)).collect()
    }

    fn find(&self, place: u8, bond: &Bond) -> Option<(WordId, &Entry)> {
        let journal = self.journals.get(&place)?;
        let found = journal.entries.iter().rev().find(|(_, entry)| entry.bond == *bond);
        found.map(|(digest, entry)| (*digest, entry))
    }

    fn check_entry(
        &self,
        terms: &EscrowTerms,
        place: u8,
        by: Culprit,
        entry: &Entry,
    ) -> Result<WordId> {
        let digest = entry.digest(self.contract, place)?;
        let keys = terms.reward.federation.ruling_keys();
        let where_ = format!("entry {} of validator {place}'s journal", entry.number);
        let refuse = |found: &dyn core::fmt::Display| {
            SIGNED.refuses(by, &where_, "his signature of its digest", found)
        };
        let key = keys.get(usize::from(place)).ok_or_else(|| refuse(&"no such validator"))?;
        message::verify_digest(by, *key, digest.0, &entry.signature)
            .map_err(|error| refuse(&error.fault().found))?;
        Ok(digest)
    }

    /// Refuses an entry that leaves a gap or follows another one than ours. A second entry of a
    /// number that is taken is let in: it is what he is shut by.
    fn check_place(&self, place: u8, digest: WordId, entry: &Entry) -> Result<()> {
        let (length, head) = self.head(place);
        let where_ = format!("entry {} of validator {place}'s journal", entry.number);
        if entry.number > length {
            return Err(CHAINED.unavailable(where_, format_args!("entry {length} first"), digest));
        }
        if entry.number == length && entry.previous != head {
            return Err(CHAINED.refuses(Culprit::Validator(place), where_, head, entry.previous));
        }
        Ok(())
    }

    /// Checks entries that follow each other, and names them.
    fn check_run(
        &self,
        terms: &EscrowTerms,
        place: u8,
        by: Culprit,
        entries: &[Entry],
    ) -> Result<Vec<(WordId, Entry)>> {
        if entries.is_empty() || entries.len() > LONGEST {
            let expected = format_args!("1 to {LONGEST} entries").to_string();
            return Err(CHAINED.refuses(by, "journal", expected, entries.len()));
        }
        let mut run: Vec<(WordId, Entry)> = Vec::with_capacity(entries.len());
        for entry in entries {
            if let Some((previous, before)) = run.last()
                && (entry.previous != *previous
                    || Some(entry.number) != before.number.checked_add(1))
            {
                return Err(CHAINED.refuses(
                    by,
                    format_args!("entry {} of validator {place}'s journal", entry.number),
                    format_args!("one over {previous}"),
                    entry.previous,
                ));
            }
            run.push((self.check_entry(terms, place, by, entry)?, entry.clone()));
        }
        Ok(run)
    }

    /// Refuses to drop an entry that somebody holds, or to take over what does not continue the rest.
    fn check_restored(&self, place: u8, run: &[(WordId, Entry)], dropped: &[WordId]) -> Result<()> {
        let Some((digest, first)) = run.first() else { return Ok(()) };
        let empty = Journal::default();
        let journal = self.journals.get(&place).unwrap_or(&empty);
        let where_ = format!("validator {place}'s journal, taken over from entry {}", first.number);
        let before = match first.number.checked_sub(1) {
            None => WordId([0; 32]),
            Some(number) => match journal.at(number) {
                Some((digest, _)) => *digest,
                None => {
                    let expected = format_args!("entry {number} first").to_string();
                    return Err(CHAINED.unavailable(where_, expected, digest));
                }
            },
        };
        if first.previous != before {
            return Err(CHAINED.refuses(Culprit::Validator(place), where_, before, first.previous));
        }
        if let Some(held) = dropped.iter().find(|digest| journal.holders(digest) > 0) {
            return Err(FORKED.refuses(
                Culprit::Validator(place),
                where_,
                "what nobody holds",
                held,
            ));
        }
        for (number, (mine, _)) in
            (0u32..).zip(&journal.entries).skip_while(|(n, _)| *n < first.number)
        {
            let taken = run.iter().any(|(digest, _)| digest == mine);
            if !taken && journal.holders(mine) > 0 {
                let expected = format_args!("entry {number}, which others hold").to_string();
                return Err(FORKED.refuses(Culprit::Validator(place), where_, expected, mine));
            }
        }
        Ok(())
    }
}

fn validators(terms: &EscrowTerms) -> usize {
    terms.reward.federation.validators.len()
}

fn speaker(from: Seat, word: &str) -> Result<u8> {
    match from {
        Seat::Validator(place) => Ok(place),
        other => Err(SPEAKER.refuses(other.into(), word, "a validator", other)),
    }
}
