//! Issuing: one person at a position that is not issued yet.
//!
//! ```text
//!  dossier/words/ --words--> admit, commit, apply --+
//!                                                   v
//!  chain --facts---------------------------> State::next --effects--> ask our memory, sign,
//!                                                   ^                 commit, add to dossier/words/
//!                                                   '------- until nothing is left to do
//! ```
//! What a validator remembers beside the words of a position, because it is about all of them:
//!
//! | under | name | value | so that |
//! |---|---|---|---|
//! | scripts | a script | terms | no address and no lock serves two positions |
//! | a record of ours | `terms` | terms | no record of ours serves two ([`record`]) |
//! | terms | `issue` | txid | no position is issued twice |
//! | terms | `issue 2` .. | txid | the one before it can be in no block any more |
//! | fundings | an outpoint | txid | no output pays for two issues |
//! | fundings | an outpoint, `2` .. | txid | the same: it was left over of a dead one |
//!
//! All of it is on the disk before the word that rests on it leaves. Before he signs the issue of a
//! batch he judges each of its positions again, by the words that he has taken at its own dossier; its
//! miner must have said the same funding and the same batch there. Of two fundings in a dossier nobody
//! takes or signs either, unless the second says why the issue that the first paid for is dead
//! ([`dead`](crate::flow::position::dead)): that is asked when it is taken and again before it is signed.

mod dead;
mod files;
mod look;
mod once;
pub mod record;
mod rivals;

pub use files::FILES;
pub use look::{Looked, look};

use std::collections::BTreeSet;
use std::path::Path;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::schnorr;
use bitcoin::{OutPoint, Script, TapSighash, Txid};

use crate::chain::electrum::Electrum;
use crate::chain::view::Source;
use crate::engine::{POSSIBLE, READABLE, SEAT};
use crate::error::{Culprit, Error, Result, Rule};
use crate::facts::{Facts, View};
use crate::flow::position::dead::DEAD;
use crate::flow::position::dossier::Issue;
use crate::flow::position::enrolment::registration;
use crate::flow::position::proof::{Stage, check_provable};
use crate::flow::position::state::{self, Effect, Event, FUNDING, ONCE, State, Turn};
use crate::flow::position::terms::PositionTerms;
use crate::flow::position::word::PositionWord;
use crate::header_sync::GuardedChain;
use crate::id::WordId;
use crate::party::Seat;
use crate::policy::outputs;
use crate::relay::words::Words;
use crate::sign::software::{LeafAccount, SoftwareSigner};
use crate::store::Store;
use crate::tx::draft::Draft;
use crate::work::receipt::{self, Receipt, Subject};

/// A validator's memory is whole.
pub const COPY: Rule = Rule::new(
    "position-copy",
    "a validator's store holds every word that he has said",
    "go on with the newest store; from an old copy nothing is signed for this position any more",
);
/// The kind under which words lie in the store.
const WORD: &str = "position-word";

/// One person at a position that is not issued yet.
pub struct Issuing {
    seat: Seat,
    terms: PositionTerms,
    state: State,
    store: Store,
    chain: GuardedChain,
    sources: Vec<Source>,
    /// Signs words.
    signer: SoftwareSigner,
    /// Signs registrations and the issue: a validator's standing record.
    standing: Option<SoftwareSigner>,
    words: Words,
    known: BTreeSet<WordId>,
    /// Files that were taken.
    read: BTreeSet<String>,
    /// Files of fundings that are not the only one.
    rivals: BTreeSet<String>,
    /// A word of ours that our store does not hold.
    forgotten: Option<String>,
}

/// What was done or seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A word of ours is committed and in the dossier.
    Said(Event),
    /// A word of somebody else was taken.
    Heard(Seat, Event),
    /// A word was refused, or something is not done now.
    Refused(String, Error),
    /// The issue is with the network.
    Sent(Txid),
}

impl Issuing {
    /// Takes a seat, the miner's or a validator's, with everything that the store remembers.
    pub fn open(
        seat: Seat,
        terms: PositionTerms,
        store: Store,
        chain: Electrum,
        signer: SoftwareSigner,
        dossier: &Path,
    ) -> Result<Self> {
        terms.check()?;
        check_provable(&terms)?;
        let (seats, ours) = (terms.reward.seats(), signer.keys().communication);
        let record = seats.record(seat).filter(|_| seat != Seat::Holder);
        if record.map(|record| record.record.communication) != Some(ours) {
            return Err(SEAT.misused(seat, "the record's communication key", ours));
        }
        let mut issuing = Self {
            seat,
            state: State::default(),
            store,
            chain: GuardedChain::new(chain),
            sources: Vec::new(),
            signer,
            standing: None,
            words: Words::open(dossier.join("words"))?,
            known: BTreeSet::new(),
            read: BTreeSet::new(),
            rivals: BTreeSet::new(),
            forgotten: None,
            terms,
        };
        for (word, text) in taken(&issuing.store, &issuing.terms)? {
            issuing.state.apply(word.from, &word.event);
            issuing.known.insert(word.id()?);
            // What a crash kept back between commit and file.
            if word.from == seat {
                issuing.words.add(&name(&word)?, &text)?;
            }
        }
        Ok(issuing)
    }

    /// Gives a validator the signer of his standing record, and other ways to the chain beside the
    /// engine's own; without them he signs nothing.
    pub fn with_standing(mut self, signer: SoftwareSigner, sources: Vec<Source>) -> Result<Self> {
        let ours = signer.keys().communication;
        let standing = match self.seat {
            Seat::Validator(place) => self.terms.issuer.validators.get(usize::from(place)),
            _ => None,
        };
        if standing.map(|record| record.record.communication) != Some(ours) {
            let place = format_args!("{}'s standing record", self.seat).to_string();
            return Err(SEAT.misused(place, "the record's communication key", ours));
        }
        (self.standing, self.sources) = (Some(signer), sources);
        Ok(self)
    }

    /// The position's terms.
    pub fn terms(&self) -> &PositionTerms {
        &self.terms
    }

    /// What was said.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The chain as it is now, as far as the position goes.
    pub fn facts(&mut self) -> Result<Facts> {
        let (scripts, first) = self.asked()?;
        self.chain.facts(&mut self.store, &scripts, first)
    }

    /// Whose turn it is, by the words that are in the dossier now.
    pub fn turn(&mut self) -> Result<Turn> {
        let facts = self.facts()?;
        // What is refused, the next step tells.
        self.read_words(&facts, &mut Vec::new())?;
        let facts = self.facts()?;
        self.state.turn(&self.terms, &facts)
    }

    /// The issue's document as soon as the chain or the mempool holds it, or we have `sent` it; `None`
    /// before.
    pub fn issue(&mut self, sent: bool) -> Result<Option<Issue>> {
        let facts = self.facts()?;
        if let Some(seen) = look::seen(&self.state, &self.terms, &facts)? {
            return Ok(Some(seen));
        }
        let Some(funding) = self.state.funding().filter(|_| sent) else { return Ok(None) };
        let txid = self.state.draft(&self.terms)?.txid();
        Issue::among(&self.terms, self.state.batch(&self.terms), txid, funding)
    }

    fn asked(&self) -> Result<(Vec<bitcoin::ScriptBuf>, u32)> {
        Ok((self.state.watched(&self.terms)?, state::headers_from(&self.terms)))
    }

    /// Reads the dossier's words and does everything that is ours to do now.
    pub fn step(&mut self) -> Result<Vec<Told>> {
        let mut told = Vec::new();
        let facts = self.facts()?;
        self.read_words(&facts, &mut told)?;
        loop {
            let facts = self.facts()?;
            let effects = self.state.next(&self.terms, &facts, self.seat)?;
            let mut acted = false;
            for effect in effects {
                match self.carry_out(effect, &facts) {
                    Ok(Told::Sent(txid)) => told.push(Told::Sent(txid)),
                    Ok(done) => {
                        told.push(done);
                        acted = true;
                        break;
                    }
                    Err(error @ (Error::Refused { .. } | Error::Unavailable(_))) => {
                        let refused = Told::Refused(error.fault().place.clone(), error);
                        if !told.contains(&refused) {
                            told.push(refused);
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
            if !acted {
                return Ok(told);
            }
        }
    }

    /// Says a word of ours: admits it as if it were somebody else's, commits it, then adds it to the
    /// dossier.
    pub fn say(&mut self, event: Event) -> Result<()> {
        let facts = self.facts()?;
        let mut told = Vec::new();
        self.read_words(&facts, &mut told)?;
        let facts = self.facts()?;
        self.speak(event, &facts)
    }

    fn speak(&mut self, event: Event, facts: &Facts) -> Result<()> {
        self.check_copy()?;
        let more = self.facts_about(&event)?;
        self.state.admit(&self.terms, more.as_ref().unwrap_or(facts), self.seat, &event)?;
        let id = self.terms.id()?;
        let signature = self.signer.sign_digest(PositionWord::message(id, self.seat, &event)?)?;
        let word = PositionWord::new(id, self.seat, event, signature);
        let text = word.to_json()?;
        // What nobody would read must not be said: our own store would not read it either.
        PositionWord::from_json(&text)?;
        self.take(&word, &text)?;
        self.words.add(&name(&word)?, &text)
    }

    fn read_words(&mut self, facts: &Facts, told: &mut Vec<Told>) -> Result<()> {
        let (names, more) = files::names(&self.words)?;
        told.extend(more.map(|(name, error)| Told::Refused(name, error)));
        let names = names.into_iter();
        let left: Vec<String> = names.filter(|name| !self.read.contains(name)).collect();
        self.rivals = rivals::rivals(&self.words, &left, &self.state, &self.terms)?;
        let refused = in_any_order(left, |name| {
            if self.rivals.contains(name) {
                return Err(rivals::rival(name));
            }
            self.read_word(name, facts, told)?;
            self.read.insert(name.to_owned());
            Ok(())
        })?;
        told.extend(refused.into_iter().map(|(name, error)| Told::Refused(name, error)));
        Ok(())
    }

    fn read_word(&mut self, name: &str, facts: &Facts, told: &mut Vec<Told>) -> Result<()> {
        let text = files::text(&self.words, name)?;
        let word = PositionWord::from_json(&text)?;
        word.verify(&self.terms)?;
        if self.known.contains(&word.id()?) {
            return Ok(());
        }
        // A miner may begin anew with an empty store: nothing of his could be said twice.
        if word.from == self.seat && self.seat != Seat::Miner {
            self.forgotten = Some(name.to_owned());
        }
        let more = self.facts_about(&word.event)?;
        let facts = more.as_ref().unwrap_or(facts);
        self.state.admit(&self.terms, facts, word.from, &word.event)?;
        self.take(&word, &text)?;
        told.push(Told::Heard(word.from, word.event));
        Ok(())
    }

    /// Commits a word, then applies it. A word of ours that we had forgotten is not kept: our store
    /// goes on being an old copy.
    fn take(&mut self, word: &PositionWord, text: &str) -> Result<()> {
        if self.forgotten.is_none() || word.from != self.seat {
            let id = self.terms.id()?;
            self.store.append(&id.0, &[(WORD, text.as_bytes().to_vec())], None)?;
        }
        self.state.apply(word.from, &word.event);
        self.known.insert(word.id()?);
        Ok(())
    }

    fn check_copy(&self) -> Result<()> {
        match (&self.forgotten, self.seat) {
            (Some(name), Seat::Validator(_)) => {
                Err(COPY.unstored("store", "every word of ours", format_args!("not {name}")))
            }
            _ => Ok(()),
        }
    }

    fn carry_out(&mut self, effect: Effect, facts: &Facts) -> Result<Told> {
        let event = match effect {
            Effect::Broadcast(last) => {
                let txid = last.tx.compute_txid();
                return self.chain.electrum().broadcast(&last.tx).map(|_| Told::Sent(txid));
            }
            // From an old copy not even a receipt is given.
            _ if self.forgotten.is_some() => return Err(self.old_copy()),
            Effect::Register => self.register(facts)?,
            Effect::Receipt(stage, subject) => self.receipt(stage, subject, facts)?,
            Effect::Grant(lock) => {
                self.check_sources(facts, &[]).map(|_| ())?;
                self.claim(&lock)?;
                Event::Granted { lock }
            }
            Effect::Sign(draft) => self.sign_issue(&draft, facts)?,
        };
        self.speak(event.clone(), facts)?;
        Ok(Told::Said(event))
    }

    fn old_copy(&self) -> Error {
        let found = self.forgotten.clone().unwrap_or_default();
        COPY.refuses(
            Culprit::from(self.seat),
            "store",
            "every word of ours",
            format_args!("not {found}"),
        )
    }

    fn place(&self) -> Result<u8> {
        match self.seat {
            Seat::Validator(place) => Ok(place),
            seat => Err(POSSIBLE.misused("position", "a validator", seat)),
        }
    }

    fn register(&mut self, facts: &Facts) -> Result<Event> {
        self.check_sources(facts, &[])?;
        let place = self.place()?;
        let script = self.terms.reward.miner.payout_script();
        // Whatever is refused leaves the other free for better terms.
        record::check_claim(&self.store, self.terms.id()?, &script)?;
        record::bind(&mut self.store, &self.terms, place)?;
        self.claim(&script)?;
        let digest = registration(&self.terms, place)?;
        let signature = self.standing()?.sign_digest(digest)?;
        let record = self.terms.reward.miner.id()?;
        Ok(Event::Registered { record, script, signature })
    }

    fn standing(&self) -> Result<&SoftwareSigner> {
        let place = format_args!("{}'s standing record", self.seat).to_string();
        self.standing.as_ref().ok_or_else(|| SEAT.misused(place, "its signer", "none"))
    }

    fn receipt(&self, stage: Stage, subject: Subject, facts: &Facts) -> Result<Event> {
        self.check_sources(facts, &[])?;
        let (validator, position) = (self.place()?, stage.position(&self.terms)?);
        let tip = facts.headers.hash(facts.tip());
        let tip = tip.ok_or_else(|| POSSIBLE.broken("receipt", "a tip", "none"))?;
        let message = receipt::message(position, &subject, tip);
        let signature = self.signer.sign_digest(*message.as_ref())?;
        Ok(Event::Receipted(Receipt { validator, position, subject, tip, signature }))
    }

    /// Everything that is asked before the issue is signed, of the chain by every source and of our
    /// memory; what is remembered is on the disk before there is a signature.
    fn sign_issue(&mut self, draft: &Draft, facts: &Facts) -> Result<Event> {
        if let Some(name) = self.rivals.first() {
            return Err(rivals::rival(name));
        }
        let ours = self.state.issue(&self.terms, facts)?;
        let (txid, spends) = (ours.txid(), ours.spends());
        if txid != draft.txid() {
            return Err(ONCE.broken("issue", txid, draft.txid()));
        }
        let mut outpoints: Vec<_> = spends.iter().map(|spend| spend.outpoint).collect();
        outpoints.extend(self.state.excluding());
        for view in self.check_sources(facts, &outpoints)? {
            for spend in spends {
                let coin = view.coins.get(&spend.outpoint).and_then(Option::as_ref);
                let same = coin.is_some_and(|coin| {
                    coin.height.is_some()
                        && coin.value == spend.prevout.value
                        && coin.script == spend.prevout.script_pubkey
                });
                if !same {
                    let place = format!("{}, output {}", view.place, spend.outpoint);
                    return Err(FUNDING.unavailable(place, spend.prevout.value, "no such output"));
                }
            }
            let unspent =
                |outpoint: &OutPoint| view.coins.get(outpoint).is_some_and(Option::is_some);
            if let Some(outpoint) = self.state.excluding().find(unspent) {
                let place = format!("{}, output {outpoint}", view.place);
                return Err(DEAD.unavailable(place, "a spent output", "an unspent one"));
            }
        }
        self.judge_others(facts)?;
        self.remember_issue(&ours)?;
        let signatures = self.sign(&ours)?;
        Ok(Event::IssueSigned { signatures })
    }

    /// The other positions of the batch, by what was taken at their dossiers and this chain.
    fn judge_others(&self, facts: &Facts) -> Result<()> {
        for one in self.state.batch(&self.terms).iter().filter(|one| **one != self.terms) {
            let mut state = State::default();
            for (word, _) in taken(&self.store, one)? {
                state.apply(word.from, &word.event);
            }
            self.state.check_beside(&self.terms, one, &state, &facts.headers)?;
        }
        Ok(())
    }

    fn sign(&self, draft: &Draft) -> Result<Vec<schnorr::Signature>> {
        let standing = self.standing()?;
        let mut signatures = Vec::with_capacity(draft.spends().len());
        for (input, spend) in draft.spends().iter().enumerate() {
            let leaf = spend.lock.leaf(spend.path)?;
            let key = leaf.keys.iter().find(|key| key.seat == self.seat).ok_or_else(|| {
                POSSIBLE.misused(draft.title(), format_args!("a key of {}", self.seat), "none")
            })?;
            let sighash = TapSighash::from_byte_array(draft.sighash(input)?);
            let (_, signature) = standing.sign_leaf(LeafAccount::Leaf, &key.steps, sighash)?;
            signatures.push(signature);
        }
        Ok(signatures)
    }

    /// Remembers that a script serves this position, for ever.
    fn claim(&mut self, script: &Script) -> Result<()> {
        record::claim(&mut self.store, self.terms.id()?, script)
    }

    /// Whatever a validator says rests on the chain: his sources must show one.
    fn check_sources(&self, facts: &Facts, outpoints: &[OutPoint]) -> Result<Vec<View>> {
        let (scripts, first) = self.asked()?;
        let own = View::of_server(self.chain.electrum().place(), facts, outpoints)?;
        let mut views = vec![own];
        for source in &self.sources {
            views.push(source.view(&scripts, first, outpoints)?);
        }
        outputs::agree(facts, &views)?;
        Ok(views)
    }
}

/// The words about a position that a store has taken, with their texts.
fn taken(store: &Store, terms: &PositionTerms) -> Result<Vec<(PositionWord, String)>> {
    let entries = store.entries(&terms.id()?.0)?.into_iter();
    let words = entries.filter(|entry| entry.kind == WORD).map(|entry| {
        let text = String::from_utf8_lossy(&entry.body).into_owned();
        let word = PositionWord::from_json(&text).map_err(|error| {
            READABLE.unstored(format_args!("event {}", entry.seq), "a word", error)
        })?;
        Ok((word, text))
    });
    words.collect()
}

/// Takes what can be taken, in any order that makes sense: a word may rest on another whatever their
/// names. Nothing is refused before all the others have been taken.
fn in_any_order(
    mut left: Vec<String>,
    mut take: impl FnMut(&str) -> Result<()>,
) -> Result<Vec<(String, Error)>> {
    loop {
        let before = left.len();
        let mut rest = Vec::new();
        for name in left {
            match take(&name) {
                Ok(()) => {}
                Err(error @ (Error::Refused { .. } | Error::Unavailable(_))) => {
                    rest.push((name, error));
                }
                Err(error) => return Err(error),
            }
        }
        if rest.is_empty() || rest.len() == before {
            return Ok(rest);
        }
        left = rest.into_iter().map(|(name, _)| name).collect();
    }
}

/// A word's file: who, what, and the first digits of its id.
fn name(word: &PositionWord) -> Result<String> {
    let (seat, kind) = (word.from.slug(), word.event.kind());
    Ok(format!("{seat}-{kind}-{:.16}.json", word.id()?.to_string()))
}
