//! The desk: one seed, one store, and a contract for each registration.
//!
//! ```text
//! HOME/desk.json                              network and seed's fingerprint: nothing secret
//! HOME/desk.lock                              held while a process works here
//! HOME/store.sqlite                           words, memory, headers, of all contracts and of positions before
//! HOME/contracts/<terms id>/registration.json what both parties signed, or its sale
//! HOME/contracts/<terms id>/letters/          the engine's inbox, and what it took and refused
//! ```
//! An engine is opened when its contract is asked about first. One that fails is closed and opened
//! again at the next question; the others do not notice.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use bitcoin::{BlockHash, Network};
use serde::{Deserialize, Serialize};

use super::answer::Numbered;
use super::query::{Query, Tips};
use super::registration::{ALIVE, APART, Counted, Registration};
use super::request::CONTRACT;
use super::sold::Sold;
use super::sources::Sources;
use super::standing::{Standing, Told};
use super::veil::veil;
use crate::chain::electrum::Electrum;
use crate::engine::issuing::record::claim;
use crate::engine::{Engine, Report, agreed};
use crate::error::{Culprit, Error, Result, Rule};
use crate::flow::Contract;
use crate::flow::escrow::coins::Progress;
use crate::flow::word::Word;
use crate::header_sync::GuardedChain;
use crate::id::TermsId;
use crate::party::Seat;
use crate::policy::outputs::{AGREE, HISTORY, LAG};
use crate::relay::folder::Folder;
use crate::sign::seed::Seed;
use crate::sign::software::SoftwareSigner;
use crate::store::Store;

/// The desk's folder can be worked in.
pub const HOME: Rule = Rule::new(
    "validator-home",
    "the desk's folder and the files in it can be read and written, and are what the desk wrote",
    "check the path, its permissions and the disk; restore what was changed from a backup",
);
/// A desk has one seed and one network.
pub const OURS: Rule = Rule::new(
    "validator-desk",
    "a desk is opened with the network and the seed that it was made with",
    "name that network and seed, or make another desk in another folder",
);
/// One process works at a desk.
pub const BUSY: Rule = Rule::new(
    "validator-busy",
    "one process at a time works at a desk",
    "hand the request to the server that runs there, or stop it first",
);

/// The first field of `desk.json`.
const DESK_FORMAT: &str = "hashmix desk 1";
/// The kind under which the engine stores words.
const WORD: &str = "word";
/// Times that sources are asked again while one is a moment behind.
const ASKED_AGAIN: u32 = 5;
/// Pause before they are asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// What `desk.json` holds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Who {
    format: String,
    network: Network,
    /// Of the seed's master key.
    fingerprint: String,
}

/// A contract at the desk.
pub(super) struct Sitting {
    pub(super) registration: Registration,
    pub(super) counted: Counted,
    pub(super) seat: Seat,
    pub(super) signer: SoftwareSigner,
    number: u32,
    pub(super) engine: Option<Engine>,
    told: Told,
}

/// A validator's desk.
pub struct Desk {
    home: PathBuf,
    seed: Seed,
    sources: Sources,
    pub(super) store: Store,
    pub(super) sittings: BTreeMap<TermsId, Sitting>,
    /// Contracts whose files cannot be read, by their folders' names.
    unread: BTreeMap<String, Error>,
    first: Option<Electrum>,
    tips: Tips,
    /// Dropped last: another process may work here then.
    _lock: File,
}

impl Desk {
    /// Opens the desk in `home`, or makes it there. Nobody is asked about the chain yet.
    pub fn open(home: &Path, seed: Seed, sources: Sources) -> Result<Self> {
        sources.check()?;
        make(home)?;
        let lock = lock(&home.join("desk.lock"))?;
        private(&home.join("desk.lock"), 0o600)?;
        let store = Self::memory(home, &seed, sources.network)?;
        let mut desk = Self {
            home: home.to_owned(),
            store,
            seed,
            sources,
            sittings: BTreeMap::new(),
            unread: BTreeMap::new(),
            first: None,
            tips: Tips::default(),
            _lock: lock,
        };
        desk.load()?;
        Ok(desk)
    }

    /// The desk's store alone: for what its validator does before there are contracts. Another process may
    /// work at the desk meanwhile, for each writes for a moment only.
    pub fn memory(home: &Path, seed: &Seed, network: Network) -> Result<Store> {
        make(home)?;
        let (format, fingerprint) = (DESK_FORMAT.to_owned(), seed.fingerprint()?.to_string());
        introduce(&home.join("desk.json"), &Who { format, network, fingerprint })?;
        let store = Store::open(home.join("store.sqlite"))?;
        for name in ["desk.json", "store.sqlite"] {
            private(&home.join(name), 0o600)?;
        }
        Ok(store)
    }

    /// The network that the desk serves.
    pub fn network(&self) -> Network {
        self.sources.network
    }

    /// Reads what is registered. A file that is broken keeps its contract away and no other.
    fn load(&mut self) -> Result<()> {
        let folder = self.home.join("contracts");
        make(&folder)?;
        for entry in fs::read_dir(&folder).map_err(|error| failed(&folder, error))? {
            let name = entry.map_err(|error| failed(&folder, error))?.file_name();
            let path = folder.join(&name).join("registration.json");
            if !path.exists() {
                // A crash before it was written: the party registers again.
                continue;
            }
            let name = name.to_string_lossy().into_owned();
            match self.read(&path, &name) {
                Ok((id, sitting)) => _ = self.sittings.insert(id, sitting),
                Err(error) => _ = self.unread.insert(name, error.within(path.display())),
            }
        }
        Ok(())
    }

    fn read(&mut self, path: &Path, name: &str) -> Result<(TermsId, Sitting)> {
        let text = fs::read_to_string(path).map_err(|error| failed(path, error))?;
        let registration = Registration::from_json(&text)?;
        let id = registration.check()?;
        if id.to_string() != name {
            return Err(HOME.unstored(path.display(), format_args!("terms {name}"), id));
        }
        let sitting = self.sitting(registration)?;
        Ok((id, sitting))
    }

    fn sitting(&mut self, registration: Registration) -> Result<Sitting> {
        registration.check_network(self.network())?;
        let (place, number) = registration.member(&self.seed)?;
        registration.bind(&mut self.store, place)?;
        let signer = self.signer(number)?;
        let (seat, told) = (Seat::Validator(place), Told::default());
        let counted = registration.counted()?;
        Ok(Sitting { registration, counted, seat, signer, number, engine: None, told })
    }

    fn signer(&self, number: u32) -> Result<SoftwareSigner> {
        SoftwareSigner::new(self.seed.record(self.network(), number)?, self.network())
    }

    /// Registers a contract: see the rules of [`super::registration`]. The same registration again
    /// changes nothing.
    pub fn register(&mut self, text: &str) -> Result<TermsId> {
        let registration = Registration::from_json(text)?;
        registration.check_network(self.network())?;
        let id = registration.check()?;
        if self.sittings.contains_key(&id) {
            return Ok(id);
        }
        let (place, _) = registration.member(&self.seed)?;
        registration.check_first(&self.store, place)?;
        let others = self.sittings.iter().map(|(id, sitting)| (id, &sitting.counted));
        registration.check_apart(others)?;
        // What cannot be read cannot be told apart.
        let unread = self.unread.keys().find(|name| **name != id.to_string());
        if let (Some(name), None) = (unread, &registration.sale) {
            let expected = "every registered contract read";
            return Err(APART.unavailable("desk", expected, format_args!("{name} is not")));
        }
        self.check_sale(&registration)?;
        self.check_alive(&registration)?;
        // Enrolments ask here too: no address of another position is this lock.
        let counted = registration.counted()?;
        if let Some(position) = counted.position {
            claim(&mut self.store, position, &counted.lock)?;
        }
        let file = registration.to_json()?;
        let sitting = self.sitting(registration)?;
        let folder = self.folder(id);
        make(&folder)?;
        put(&folder.join("registration.json"), file.as_bytes())?;
        self.unread.remove(&id.to_string());
        self.sittings.insert(id, sitting);
        Ok(id)
    }

    /// Of a position that was sold, asks the chain as all our sources show it; where validators have sold
    /// it, by the contract before.
    fn check_sale(&mut self, registration: &Registration) -> Result<()> {
        let Some(sold) = &registration.sale else { return Ok(()) };
        if let Some(resale) = sold.without_miner() {
            let before = resale.contract.id()?;
            let known = self.sittings.get(&before).map(|sitting| &sitting.registration.terms);
            Sold::check_before(resale, &registration.terms, known)?;
            let engine = self.engine(before)?;
            let facts = engine.agreed_facts()?;
            return sold.check_chain(engine.contract().locked(), &facts);
        }
        let scripts = sold.scripts()?;
        let first = Contract::new(registration.terms.clone())?.headers_from();
        // What the first server does not show, the others need not be asked.
        sold.check_sold(&self.first()?.facts(&scripts, first)?)?;
        let others = self.sources.others()?;
        let mut chain = GuardedChain::new(self.sources.first()?);
        let facts = agreed(&mut chain, &others, &mut self.store, &scripts, first)?;
        sold.check_sold(&facts)
    }

    /// Refuses a contract whose escrow has ended; not one that was sold on, whose locks and receipts the
    /// next one counts. What the server says is not believed further than
    /// that.
    fn check_alive(&mut self, registration: &Registration) -> Result<()> {
        let contract = Contract::new(registration.terms.clone())?;
        let (scripts, first) = (contract.watched(), contract.headers_from());
        let facts = self.first()?.facts(&scripts, first)?;
        let resold = contract.locked().ending(&facts)?.is_some_and(|ending| ending.resold);
        match contract.locked().progress(&facts)? {
            Progress::Ended { by, .. } if !(resold && registration.sale.is_some()) => {
                let found = format_args!("ended by {by}").to_string();
                Err(ALIVE.refuses(Culprit::Sender, "escrow", "unfunded or open", found))
            }
            _ => Ok(()),
        }
    }

    fn first(&mut self) -> Result<&Electrum> {
        let server = match self.first.take() {
            Some(server) => server,
            None => self.sources.first()?,
        };
        Ok(self.first.insert(server))
    }

    /// Height and hash of the tip that our first server names. From now on questions may name it.
    pub fn tip(&mut self) -> Result<(u32, BlockHash)> {
        let tip = self.first()?.tip()?;
        self.tips.tell(tip.1);
        Ok(tip)
    }

    /// The contracts at the desk.
    pub fn registered(&self) -> Vec<TermsId> {
        self.sittings.keys().copied().collect()
    }

    /// Contracts that cannot be served because their files cannot be read, and why.
    pub fn unread(&self) -> &BTreeMap<String, Error> {
        &self.unread
    }

    /// How every contract stands, for ourselves; one that cannot be asked says why.
    pub fn contracts(&mut self) -> Vec<Standing> {
        let mut standings = Vec::new();
        for id in self.registered() {
            let Some(seat) = self.sittings.get(&id).map(|sitting| sitting.seat) else { continue };
            let standing = self.stands(id, Error::clone);
            let troubled = |error| Standing::troubled(id, seat, &Told::default(), &error);
            standings.push(standing.unwrap_or_else(troubled));
        }
        standings
    }

    /// How a contract stands, for its parties.
    pub fn standing(&mut self, id: TermsId) -> Result<Standing> {
        self.stands(id, veil)
    }

    fn stands(&mut self, id: TermsId, shown: fn(&Error) -> Error) -> Result<Standing> {
        let (seat, told) = self.told(id)?;
        let read = |engine: &mut Engine| {
            let facts = engine.facts()?;
            Standing::of(engine.contract(), &facts, seat, &told)
        };
        let standing = self.engine(id).and_then(read);
        Ok(standing.unwrap_or_else(|error| Standing::troubled(id, seat, &told, &shown(&error))))
    }

    /// Reads on in the words of a contract.
    fn told(&mut self, id: TermsId) -> Result<(Seat, Told)> {
        let sitting = self.sittings.get_mut(&id).ok_or_else(|| unknown(id))?;
        for entry in self.store.entries_after(&id.0, sitting.told.upto, usize::MAX)? {
            if entry.kind == WORD {
                let word = Word::from_json(&String::from_utf8_lossy(&entry.body))?;
                sitting.told.take(&word, sitting.seat)?;
            }
            sitting.told.upto = entry.seq;
        }
        Ok((sitting.seat, sitting.told.clone()))
    }

    /// Words of a contract, ours and those that we admitted, after number `after`, up to `most` of
    /// them.
    pub fn words(&self, id: TermsId, after: u64, most: usize) -> Result<Vec<Numbered>> {
        self.sitting_of(id)?;
        let mut words = Vec::new();
        for entry in self.store.entries_after(&id.0, after, most)? {
            if entry.kind == WORD {
                let word = Word::from_json(&String::from_utf8_lossy(&entry.body))?;
                words.push(Numbered { number: entry.seq, word });
            }
        }
        Ok(words)
    }

    /// Refuses a question about a contract that was not asked by one of its seats; `asked` is its
    /// path and query.
    pub fn check_query(&self, id: TermsId, query: &Query, asked: &str) -> Result<Seat> {
        let sitting = self.sitting_of(id)?;
        query.check(&sitting.registration.terms, sitting.seat, asked, &self.tips)?;
        Ok(query.from)
    }

    /// Takes our journal of a contract back from the other validators, where our store is an old copy
    /// (see [`Engine::restore_journal`]); answers with the number of entries.
    pub fn restore_journal(&mut self, id: TermsId) -> Result<usize> {
        self.engine(id)?.restore_journal()
    }

    /// Everything that is to be done now at every contract; what fails at one stops no other.
    pub fn step_all(&mut self) -> Vec<(TermsId, Result<Vec<Report>>)> {
        self.registered().into_iter().map(|id| (id, self.step(id))).collect()
    }

    /// One step of a contract, and another one if it takes over what a contract before has proven.
    pub(super) fn step(&mut self, id: TermsId) -> Result<Vec<Report>> {
        let mut stepped = self.step_once(id);
        if let Ok(reports) = &mut stepped {
            match self.carry(id).and_then(|words| match words {
                0 => Ok(Vec::new()),
                _ => self.step_once(id),
            }) {
                Ok(more) => reports.extend(more),
                Err(error @ (Error::Refused { .. } | Error::Unavailable(_))) => {
                    reports.push(Report::Refused("contract before".to_owned(), error));
                }
                Err(error) => stepped = Err(error),
            }
        }
        if let Err(Error::Broken(_) | Error::Storage(_)) = &stepped
            && let Some(sitting) = self.sittings.get_mut(&id)
        {
            // What it has in memory may differ from what is stored: the next question reads anew.
            sitting.engine = None;
        }
        stepped
    }

    /// Sources that disagree are asked again for a moment: a block reaches one before the other.
    fn step_once(&mut self, id: TermsId) -> Result<Vec<Report>> {
        let passes = [LAG.id, AGREE.id, HISTORY.id];
        let mut stepped = self.engine(id)?.step();
        for _ in 1..ASKED_AGAIN {
            match &stepped {
                Err(error) if passes.contains(&error.rule()) => sleep(PAUSE),
                _ => break,
            }
            stepped = self.engine(id)?.step();
        }
        stepped
    }

    /// The engine of a contract, opened if it is not.
    pub(super) fn engine(&mut self, id: TermsId) -> Result<&mut Engine> {
        let sitting = self.sitting_of(id)?;
        if sitting.engine.is_none() {
            let engine = self.seat(id, sitting)?;
            let sitting = self.sittings.get_mut(&id).ok_or_else(|| unknown(id))?;
            sitting.engine = Some(engine);
        }
        let sitting = self.sittings.get_mut(&id).ok_or_else(|| unknown(id))?;
        sitting.engine.as_mut().ok_or_else(|| unknown(id))
    }

    /// The one place where an engine is made.
    fn seat(&self, id: TermsId, sitting: &Sitting) -> Result<Engine> {
        let store = Store::open(self.home.join("store.sqlite"))?;
        let signer = self.signer(sitting.number)?;
        let terms = sitting.registration.terms.clone();
        let (chain, relay) = (self.sources.first()?, self.letters(id)?);
        let engine = Engine::open(sitting.seat, terms, store, chain, signer, relay)?;
        Ok(engine.with_sources(self.sources.others()?))
    }

    pub(super) fn letters(&self, id: TermsId) -> Result<Folder> {
        Folder::open(self.folder(id).join("letters"), self.sitting_of(id)?.seat)
    }

    fn folder(&self, id: TermsId) -> PathBuf {
        self.home.join("contracts").join(id.to_string())
    }

    pub(super) fn sitting_of(&self, id: TermsId) -> Result<&Sitting> {
        self.sittings.get(&id).ok_or_else(|| unknown(id))
    }
}

fn unknown(id: TermsId) -> Error {
    CONTRACT.refuses(Culprit::Sender, "contract", "one that is registered here", id)
}

/// Makes a folder for its owner alone, and sees to it that one that is there is.
fn make(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return private(folder, 0o700);
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| failed(folder, error))?;
    // The folder's name outlives a power cut only if the folder above is written.
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
    let above = above.unwrap_or(Path::new("."));
    let synced = File::open(above).and_then(|above| above.sync_all());
    synced.map_err(|error| failed(above, error))
}

/// Takes a file or folder from everybody but its owner.
#[cfg(unix)]
fn private(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = fs::metadata(path).map_err(|error| failed(path, error))?;
    if metadata.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|error| failed(path, error))
}

/// Where there are no such permissions the folder is as private as the system makes it.
#[cfg(not(unix))]
fn private(_: &Path, _: u32) -> Result<()> {
    Ok(())
}

/// Takes the desk for this process; the system gives it back when the process ends, however it does.
fn lock(path: &Path) -> Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    let file = file.map_err(|error| failed(path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            Err(BUSY.unstored(path.display(), "a desk at which nobody works", "a process there"))
        }
        Err(fs::TryLockError::Error(error)) => Err(failed(path, error)),
    }
}

/// Writes down whose desk it is, or refuses to work at somebody else's.
fn introduce(path: &Path, who: &Who) -> Result<()> {
    let broken = |error: serde_json::Error| HOME.unstored(path.display(), "a desk's file", error);
    if !path.exists() {
        let text = serde_json::to_string_pretty(who).map_err(broken)?;
        return put(path, (text + "\n").as_bytes());
    }
    let text = fs::read_to_string(path).map_err(|error| failed(path, error))?;
    let theirs: Who = serde_json::from_str(&text).map_err(broken)?;
    let name = |who: &Who| format!("{}, seed {} on {}", who.format, who.fingerprint, who.network);
    match theirs == *who {
        true => Ok(()),
        false => Err(OURS.misused(path.display(), name(&theirs), name(who))),
    }
}

/// Writes a file that appears whole or not at all.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let draft = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().map_err(|error| failed(path, error))
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    HOME.unstored(path.display(), "a file that can be read and written", error)
}
