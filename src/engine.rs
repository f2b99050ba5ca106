//! The engine: the only loop with side effects.
//!
//! ```text
//!  inbox --words--> admit, commit, apply --+
//!                                          v
//!  chain --facts--------------------> Contract::next --effects--> sign, commit, post
//!                                          ^                      broadcast
//!                                          '------- until nothing is left but waiting
//! ```
//! Everything is committed before it leaves: a word of ours is in the store before its file is in
//! anybody's inbox. Secret nonces live in memory alone; after a restart a joint settlement begins
//! with a fresh round.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::schnorr;
use bitcoin::{Amount, TapSighash, Transaction, Txid};

use crate::chain::electrum::Electrum;
use crate::chain::view::Source;
use crate::error::{Error, Result, Rule};
use crate::facts::{Departure, Facts, Mined, refuse_omission};
use crate::flow::escrow::coins::Progress;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::word::Word;
use crate::flow::{Contract, Effect, Event, dispute, escrow, journal, resale, reward};
use crate::guard::Reorg;
use crate::header_sync::GuardedChain;
use crate::party::Seat;
use crate::relay::folder::Folder;
use crate::script::lock::Path;
use crate::script::template::Account;
use crate::sign::software::{LeafAccount, SoftwareSigner};
use crate::store::Store;
use crate::tx::draft::Spend;
use crate::tx::signed::Final;
use crate::wallet::Wallet;

pub mod decisions;
pub mod evidence;
pub mod issuing;
pub mod joint;
mod reorg;
pub mod title;
pub mod trade;
mod validator;

use reorg::Payment;
pub(crate) use validator::agreed;
use validator::declined;

/// The signer is that of the seat.
pub const SEAT: Rule = Rule::new(
    "engine-seat",
    "the signer's keys are those of the record that fills the seat",
    "use the seed and record number that made the record",
);
/// What is decided can be done now.
pub const POSSIBLE: Rule = Rule::new(
    "engine-possible",
    "a decision fits the contract's present state",
    "look at the contract's state and choose again",
);

/// What the store holds can be read.
pub const READABLE: Rule = Rule::new(
    "engine-readable",
    "every event in the store can be read by this version",
    "restore the store from a backup, or update the program",
);
/// Coins come from a wallet.
pub const WALLET: Rule = Rule::new(
    "engine-wallet",
    "a sale is paid from the person's own wallet",
    "open the engine with a wallet",
);

/// The kind under which the signed sale lies in the store.
const FUNDING: &str = "funding";
/// The kind under which proofs of slices lie in the store.
const PROOF: &str = "proof";
/// The kind under which words lie in the store.
const WORD: &str = "word";

/// One person at one contract.
pub struct Engine {
    seat: Seat,
    contract: Contract,
    store: Store,
    chain: GuardedChain,
    signer: SoftwareSigner,
    relay: Folder,
    wallet: Option<Wallet>,
    /// Other ways to the chain: what a validator asks before he signs.
    sources: Vec<Source>,
    /// What we paid from the wallet: the sale, proofs of slices.
    payments: Vec<Payment>,
    /// What blocks held when we looked last.
    seen: BTreeMap<Txid, Mined>,
    known: BTreeSet<crate::id::WordId>,
    said: u32,
    rounds: joint::Rounds,
    /// What was done in a step that broke off; the next one tells it.
    untold: Vec<Report>,
    /// What was sent without an answer: it may have arrived all the same.
    unanswered: BTreeMap<Txid, Sent>,
    /// Whether a word of ours may not have reached everybody.
    unposted: bool,
}

/// What the engine has done or seen, for whoever tells the story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A word of ours is committed and posted.
    Said(Event),
    /// A word of somebody else was admitted.
    Heard(Seat, Event),
    /// A message was refused, or cannot be judged yet.
    Refused(String, Error),
    /// A transaction is with the network.
    Sent(Sent),
    /// The chain with the most work is another one now.
    Reorganised(Reorg),
    /// A transaction of the contract left its block.
    Departed(Departure),
    /// Nothing can be done before a height.
    Waiting {
        /// The height.
        until: u32,
        /// What for.
        why: String,
    },
}

/// A transaction that was broadcast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// What it is for.
    pub title: &'static str,
    /// The transaction.
    pub tx: Transaction,
    /// Inputs minus outputs, in satoshis.
    pub fee: Amount,
    /// The way in.
    pub path: Path,
    /// Who signed.
    pub signers: Vec<Seat>,
    /// Height of the tip when it was sent.
    pub height: u32,
}

impl Engine {
    /// Takes the seat, with everything that the store remembers of the contract.
    pub fn open(
        seat: Seat,
        terms: EscrowTerms,
        store: Store,
        chain: Electrum,
        signer: SoftwareSigner,
        relay: Folder,
    ) -> Result<Self> {
        let mut contract = Contract::new(terms)?;
        let record = contract.terms().reward.seats().record(seat);
        let ours = signer.keys().communication;
        if record.map(|record| record.record.communication) != Some(ours) {
            return Err(SEAT.misused(seat, "the record's communication key", ours));
        }
        let mut known = BTreeSet::new();
        let (mut said, mut payments) = (0u32, Vec::new());
        for entry in store.entries(&contract.id().0)? {
            let within = |error: Error| error.within(format_args!("event {}", entry.seq));
            match entry.kind.as_str() {
                WORD => {
                    let text = String::from_utf8_lossy(&entry.body);
                    let word = Word::from_json(&text).map_err(within)?;
                    // A journal with a gap or a foreign entry is none: better shut than wrong.
                    if let Event::Journal(event) = &word.event {
                        let journals = contract.journals();
                        journals.admit(contract.terms(), word.from, event).map_err(within)?;
                    }
                    contract.apply(word.from, &word.event)?;
                    known.insert(word.id()?);
                    said = said.saturating_add(u32::from(word.from == seat));
                }
                kind => {
                    if let Some(kind) = [FUNDING, PROOF].into_iter().find(|known| *known == kind) {
                        let tx = deserialize(&entry.body).map_err(|error| {
                            let place = format_args!("event {}", entry.seq).to_string();
                            READABLE.unstored(place, "a transaction", error)
                        })?;
                        payments.push(Payment { kind, tx });
                    }
                }
            }
        }
        let seen = store.seen(&contract.id().0)?;
        let rounds = joint::Rounds::default();
        let mut engine = Self {
            seat,
            contract,
            store,
            chain: GuardedChain::new(chain),
            signer,
            relay,
            wallet: None,
            sources: Vec::new(),
            payments,
            seen,
            known,
            said,
            rounds,
            untold: Vec::new(),
            unanswered: BTreeMap::new(),
            unposted: false,
        };
        let mut reports = Vec::new();
        engine.post_again(&mut reports)?;
        engine.untold = reports;
        Ok(engine)
    }

    /// Posts our words that a crash between commit and post kept back, or a folder that could not be
    /// written. `next` would not say them again: to us they are said. Those that arrived are left
    /// alone.
    fn post_again(&mut self, reports: &mut Vec<Report>) -> Result<()> {
        self.unposted = false;
        let mut said = 0u32;
        for entry in self.store.entries(&self.contract.id().0)? {
            if entry.kind != WORD {
                continue;
            }
            let text = String::from_utf8_lossy(&entry.body);
            let word = Word::from_json(&text)?;
            if word.from == self.seat {
                said = said.saturating_add(1);
                self.post(&word, &text, said, reports)?;
            }
        }
        Ok(())
    }

    /// Gives the person his wallet, loaded from the same store.
    pub fn with_wallet(mut self, wallet: Wallet) -> Self {
        self.wallet = Some(wallet);
        self
    }

    /// Gives a validator other ways to the chain beside the engine's own: at least one server of
    /// another address, or a node of his own. Without them he signs nothing.
    pub fn with_sources(mut self, sources: Vec<Source>) -> Self {
        self.sources = sources;
        self
    }

    /// Who we are.
    pub fn seat(&self) -> Seat {
        self.seat
    }

    /// What was agreed and said.
    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    /// Our file.
    pub fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    /// Our way to the chain.
    pub fn chain(&self) -> &Electrum {
        self.chain.electrum()
    }

    /// The chain as it is now, as far as the contract goes.
    pub fn facts(&mut self) -> Result<Facts> {
        let (scripts, first) = (self.contract.watched(), self.contract.headers_from());
        let facts = self.chain.facts(&mut self.store, &scripts, first)?;
        refuse_omission(&self.seen, &facts, |height| self.chain.active(height))
            .map_err(|error| error.within(self.chain.electrum().place()))?;
        Ok(facts)
    }

    /// Reads the inbox, does everything that is to be done now, and reports. What was done before
    /// a step broke off is reported by the next one that does not.
    pub fn step(&mut self) -> Result<Vec<Report>> {
        let mut reports = core::mem::take(&mut self.untold);
        match self.proceed(&mut reports) {
            Ok(()) => Ok(reports),
            Err(error) => {
                self.untold = reports;
                Err(error)
            }
        }
    }

    fn proceed(&mut self, reports: &mut Vec<Report>) -> Result<()> {
        if self.unposted {
            self.post_again(reports)?;
        }
        let facts = self.facts()?;
        self.check_sources(&facts)?;
        self.look_back(&facts, reports)?;
        self.pay_again(&facts, reports)?;
        self.read_inbox(&facts, reports)?;
        let mut sent = BTreeSet::new();
        // Each turn carries out one effect and asks again, because one word changes the others.
        loop {
            let facts = self.facts()?;
            self.tell_arrivals(&facts, reports);
            let effects = self.contract.next(&facts, self.seat)?;
            let mut waits = Vec::new();
            let mut acted = false;
            for effect in effects {
                match self.carry_out(effect, &facts, &mut sent)? {
                    Some(report @ Report::Waiting { .. }) => waits.push(report),
                    // One thing that cannot be done holds up nothing else.
                    Some(report @ Report::Refused(..)) if reports.contains(&report) => {}
                    Some(report @ Report::Refused(..)) => reports.push(report),
                    Some(report) => {
                        reports.push(report);
                        acted = true;
                        break;
                    }
                    None => {}
                }
            }
            if !acted {
                reports.extend(waits);
                return Ok(());
            }
        }
    }

    /// Says a word of ours: admits it as if it were a peer's, commits it, then posts it to all.
    pub fn say(&mut self, event: Event) -> Result<()> {
        let facts = self.facts()?;
        self.contract.admit(&facts, self.seat, &event)?;
        let id = self.contract.id();
        let signature = self.signer.sign_digest(Word::message(id, self.seat, &event)?)?;
        let word = Word::new(id, self.seat, event, signature);
        let text = word.to_json()?;
        // What nobody would read must not be said: our own store would not read it either.
        Word::from_json(&text)?;
        self.take(&word, &text)?;
        let mut reports = core::mem::take(&mut self.untold);
        let posted = self.post(&word, &text, self.said, &mut reports);
        self.untold = reports;
        posted
    }

    /// Posts the `said`-th word of ours to everybody. Somebody who cannot be reached keeps nobody
    /// else from reading it; he gets it at the next step.
    fn post(
        &mut self,
        word: &Word,
        text: &str,
        said: u32,
        reports: &mut Vec<Report>,
    ) -> Result<()> {
        let name = format!(
            "{said:05}-{}-{}-{:.8}.json",
            crate::relay::folder::folder_name(self.seat),
            kind(&word.event),
            word.id()?.to_string(),
        );
        for seat in self.others() {
            if let Err(error) = self.relay.post(seat, &name, text) {
                self.unposted = true;
                reports.push(Report::Refused(name.clone(), error));
            }
        }
        Ok(())
    }

    fn carry_out(
        &mut self,
        effect: Effect,
        facts: &Facts,
        sent: &mut BTreeSet<Txid>,
    ) -> Result<Option<Report>> {
        match effect {
            Effect::Sign { draft, task } => match self.sign_by_policy(&draft, &task, facts) {
                Ok(signatures) => self.say_and_report(task.word(signatures)).map(Some),
                Err(error) => declined(error).map(Some),
            },
            Effect::Enter { bond, task, .. } => match self.enter(&bond, &task, facts) {
                Ok(event) => self.say_and_report(event).map(Some),
                Err(error) => declined(error).map(Some),
            },
            Effect::Receipt(subject) => {
                let event = self.receipt(subject, facts)?;
                self.say_and_report(event).map(Some)
            }
            Effect::Say(event) => self.say_and_report(event).map(Some),
            Effect::Broadcast { title, tx, fee, path, signers } => {
                if !sent.insert(tx.compute_txid()) {
                    return Ok(None);
                }
                let height = facts.tip();
                let sent = Sent { title: title.0, tx, fee, path, signers, height };
                match passing(self.send(&sent))? {
                    Some(error) => Ok(Some(Report::Refused(sent.title.to_owned(), error))),
                    None => Ok(Some(Report::Sent(sent))),
                }
            }
            Effect::Decline(error) => Ok(Some(Report::Refused(error.fault().place.clone(), error))),
            Effect::Wait { until, why } => Ok(Some(Report::Waiting { until, why })),
        }
    }

    fn say_and_report(&mut self, event: Event) -> Result<Report> {
        let word = kind(&event).to_owned();
        Ok(match passing(self.say(event.clone()))? {
            None => Report::Said(event),
            Some(error) => Report::Refused(word, error),
        })
    }

    /// Signs with the seat's key of each spend's leaf what `sighash` tells of it, by its place.
    fn sign(
        &self,
        spends: &[Spend],
        sighash: &dyn Fn(usize) -> Result<[u8; 32]>,
    ) -> Result<Vec<schnorr::Signature>> {
        let mut signatures = Vec::with_capacity(spends.len());
        for (place, spend) in spends.iter().enumerate() {
            let leaf = spend.lock.leaf(spend.path)?;
            let key = leaf.keys.iter().find(|key| key.seat == self.seat).ok_or_else(|| {
                POSSIBLE.misused(spend.path, format_args!("a key of {}", self.seat), "none")
            })?;
            let account = match key.account {
                Account::Exit => LeafAccount::Exit,
                Account::Leaf | Account::Musig => LeafAccount::Leaf,
            };
            let sighash = TapSighash::from_byte_array(sighash(place)?);
            let (_, signature) = self.signer.sign_leaf(account, &key.steps, sighash)?;
            signatures.push(signature);
        }
        Ok(signatures)
    }

    /// Takes what can be taken, in any order that makes sense; refuses the rest.
    ///
    /// A word may make sense of another one whatever their names: a ruling comes before the
    /// certificate it rests on. So nothing is refused before all the others have been taken.
    fn read_inbox(&mut self, facts: &Facts, reports: &mut Vec<Report>) -> Result<()> {
        let mut left = self.relay.letters()?;
        loop {
            let before = left.len();
            let mut rest = Vec::new();
            for name in left {
                let text = self.relay.read(&name);
                // A store of ours that fails stops us; a file that cannot be opened does not.
                let ours = text.is_ok();
                match text.and_then(|text| self.read(&text, facts, reports)) {
                    // What was taken is known by its id: a letter that will not move harms nobody.
                    Ok(()) => reports.extend(unmoved(&name, self.relay.file(&name))),
                    Err(error @ Error::Broken(_)) => return Err(error),
                    Err(error @ Error::Storage(_)) if ours => return Err(error),
                    Err(error) => rest.push((name, error)),
                }
            }
            if rest.len() < before && !rest.is_empty() {
                left = rest.into_iter().map(|(name, _)| name).collect();
                continue;
            }
            for (name, error) in rest {
                if matches!(error, Error::Refused { .. } | Error::Usage(_)) {
                    reports.extend(unmoved(&name, self.relay.refuse(&name, &error.to_string())));
                }
                reports.push(Report::Refused(name, error));
            }
            return Ok(());
        }
    }

    fn read(&mut self, text: &str, facts: &Facts, reports: &mut Vec<Report>) -> Result<()> {
        if joint::is_round(text) {
            return self.read_round(text, facts, reports);
        }
        let word = Word::from_json(text)?;
        word.verify(self.contract.terms())?;
        if self.known.contains(&word.id()?) {
            return Ok(());
        }
        self.contract.admit(facts, word.from, &word.event)?;
        self.take(&word, text)?;
        reports.push(Report::Heard(word.from, word.event));
        Ok(())
    }

    /// Commits a word, then applies it.
    fn take(&mut self, word: &Word, text: &str) -> Result<()> {
        let id = self.contract.id();
        self.store.append(&id.0, &[(WORD, text.as_bytes().to_vec())], None)?;
        self.contract.apply(word.from, &word.event)?;
        self.known.insert(word.id()?);
        self.said = self.said.saturating_add(u32::from(word.from == self.seat));
        Ok(())
    }

    fn escrow_coin(&self, facts: &Facts) -> Result<crate::flow::escrow::coins::EscrowCoin> {
        match self.contract.locked().progress(facts)? {
            Progress::Open(coin) => Ok(coin),
            Progress::Unfunded => Err(POSSIBLE.misused("escrow", "a funded escrow", "none yet")),
            Progress::Ended { by, .. } => {
                Err(POSSIBLE.misused("escrow", "an open escrow", format_args!("ended by {by}")))
            }
        }
    }

    fn others(&self) -> Vec<Seat> {
        let validators = self.contract.terms().reward.federation.validators.len();
        let validators = (0u8..).take(validators).map(Seat::Validator);
        let all = [Seat::Miner, Seat::Holder].into_iter().chain(validators);
        all.filter(|seat| *seat != self.seat).collect()
    }
}

/// What the network refuses or cannot take now is reported and tried again at the next step; a fault
/// of ours or of the disk stops us.
fn passing<T>(outcome: Result<T>) -> Result<Option<Error>> {
    match outcome {
        Ok(_) => Ok(None),
        Err(error @ (Error::Refused { .. } | Error::Unavailable(_))) => Ok(Some(error)),
        Err(error) => Err(error),
    }
}

/// The report of a letter that stays where it is.
fn unmoved(name: &str, moved: Result<()>) -> Option<Report> {
    moved.err().map(|error| Report::Refused(name.to_owned(), error))
}

fn sent(last: Final, height: u32) -> Sent {
    let Final { title, tx, fee, path, signers } = last;
    Sent { title: title.0, tx, fee, path, signers, height }
}

/// A word's name in file names and stories.
pub fn kind(event: &Event) -> &'static str {
    match event {
        Event::Reward(reward::state::Event::Certified(_)) => "certificate",
        Event::Reward(reward::state::Event::Receipted(_)) => "receipt",
        Event::Reward(reward::state::Event::Carried { .. }) => "carried-receipts",
        Event::Reward(reward::state::Event::CloseAsked) => "close-request",
        Event::Reward(reward::state::Event::SweepAsked(_)) => "sweep-request",
        Event::Reward(reward::state::Event::SweepSigned { .. }) => "sweep-signatures",
        Event::Escrow(escrow::state::Event::Asked(_)) => "settlement-request",
        Event::Escrow(escrow::state::Event::Signed { .. }) => "state",
        Event::Escrow(escrow::state::Event::Joined { .. }) => "joint-settlement",
        Event::Dispute(dispute::state::Event::Opened(_)) => "opening",
        Event::Dispute(dispute::state::Event::Receipted(_)) => "opening-receipt",
        Event::Dispute(dispute::state::Event::Answered { .. }) => "answer",
        Event::Dispute(dispute::state::Event::Ruled { .. }) => "ruling",
        Event::Journal(journal::Event::Entered { .. }) => "journal-entry",
        Event::Journal(journal::Event::Witnessed { .. }) => "journal-witness",
        Event::Journal(journal::Event::Restored { .. }) => "journal-restored",
        Event::Resale(resale::state::Event::Asked(_)) => "resale-request",
        Event::Resale(resale::state::Event::Receipted(_)) => "resale-receipt",
        Event::Resale(resale::state::Event::Signed { .. }) => "resale-signature",
    }
}
