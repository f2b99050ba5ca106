//! `hashmix contract`: a party's seat at a contract. Each command opens the seat's engine on his store,
//! does one thing, steps once, and says what happened and whose turn it is.
//!
//! | command | by | does |
//! |---|---|---|
//! | `status` | anybody seated | says how it stands; reads no letter, signs nothing |
//! | `step` | anybody seated | reads letters, and does everything that is his to do now |
//! | `fund` | the holder | pays the price, where no sale has done it |
//! | `certify`, `prove` | the miner | seals a slice; proves it past silent validators |
//! | `settle` | both at a time | one settlement, signed together |
//! | `publish` | the miner | sends the last state that the holder has signed |
//! | `dispute`, `close`, `sweep` | who wants it | asks for a ruling, for the end, for rewards |
//! | `exit` | one alone | takes what is his, after the delays |
//! | `carry` | who has it | says here what was proven under the contract before |
//!
//! ```text
//!  HOME/store.sqlite                     words, headers, and the wallet, of all contracts
//!  HOME/contracts/<terms id>/seat.lock   held while a process works at the seat
//!  HOME/contracts/<terms id>/letters/    the inbox, where the parties share no folder
//! ```
//! Who decides is a person, so every decision is a command of its own; what follows from the rules is
//! a step. What was committed before a process ended is posted again by the next one, so a step that was
//! interrupted is no half-done one.

use std::fs::File;
use std::path::Path;

use crate::chain::electrum::Electrum;
use crate::cli::arguments::{ContractCommand, ExitName, RateArguments, SittingArguments};
use crate::cli::wallet::{STORE, make};
use crate::cli::{Done, dossier, seed, terms, validator};
use crate::engine::{Engine, POSSIBLE, Report};
use crate::error::{Error, Result, Rule};
use crate::flow::word::Word;
use crate::party::Seat;
use crate::relay::folder::{Folder, folder_name};
use crate::relay::seat::take;
use crate::sign::software::SoftwareSigner;
use crate::store::Store;
use crate::wallet::Wallet;

mod before;
#[cfg(feature = "core")]
mod servers;
mod settling;
mod status;
mod telling;
mod watching;

pub use before::BEFORE;

/// Who says which network he means, means that of the terms.
pub const NETWORK: Rule = Rule::new(
    "contract-network",
    "the terms are of the network that is named",
    "name the network that `hashmix terms show` tells, with the seed and the home that you keep for it",
);
/// The kind under which the engine stores words.
const WORD: &str = "word";
/// What letters of joint settlements begin with.
const ROUND: &str = "round-";
/// Most times that servers are heard and answered in one step.
#[cfg(feature = "core")]
const MOST_ROUNDS: usize = 8;

/// Does what the arguments ask for.
pub fn perform(command: &ContractCommand) -> Result<Done> {
    match command {
        ContractCommand::Status(arguments) => status::status(arguments).map(Done::from),
        ContractCommand::Step(arguments) => {
            let mut sitting = Sitting::open(&arguments.sitting)?;
            for path in &arguments.words {
                sitting.take(path)?;
            }
            match arguments.watch {
                Some(seconds) => watching::watch(sitting, seconds).map(Done::from),
                None => sitting.stepped(Vec::new()),
            }
        }
        ContractCommand::Fund { sitting, rate } => act(sitting, |it| {
            it.only(Seat::Holder, "fund")?;
            let rate = it.rate(*rate);
            Ok(telling::lines([it.engine.fund_escrow(rate)?]))
        }),
        ContractCommand::Certify { sitting, file } => act(sitting, |it| {
            it.only(Seat::Miner, "certify")?;
            let evidence = it.engine.contract().evidence();
            let certificate = dossier::certificate(file, evidence.position())?;
            let (slice, digest) = (certificate.slice.saturating_add(1), certificate.digest());
            // Everybody keeps each word for ever: it is said once.
            if evidence.digests().any(|(known, _)| known == digest) {
                return Ok(vec![format!(
                    "known     the certificate of slice {slice}, said before"
                )]);
            }
            it.engine.certify(certificate)?;
            Ok(vec![format!("said      the certificate of slice {slice}")])
        }),
        ContractCommand::Settle { sitting, rate, wait } => {
            let mut it = Sitting::open(sitting)?;
            let rate = it.rate(*rate);
            let lines = settling::settle(&mut it, rate, *wait)?;
            it.finished(lines)
        }
        ContractCommand::Publish(sitting) => act(sitting, |it| {
            it.only(Seat::Miner, "publish")?;
            let reports = it.engine.publish_state()?;
            Ok(telling::lines(reports))
        }),
        ContractCommand::Dispute { sitting, period, rate } => act(sitting, |it| {
            let rate = it.rate(*rate);
            it.engine.open_dispute(period.saturating_sub(1), rate)?;
            Ok(vec![format!("said      an opening about period {period}, at {rate} sat/vB")])
        }),
        ContractCommand::Close(sitting) => act(sitting, |it| {
            it.engine.ask_to_close()?;
            Ok(vec!["said      a request to close".to_owned()])
        }),
        ContractCommand::Sweep { sitting, path, rate } => act(sitting, |it| {
            let rate = it.rate(*rate);
            it.engine.ask_sweep((*path).into(), rate)?;
            Ok(vec![format!("said      a request to sweep, at {rate} sat/vB")])
        }),
        ContractCommand::Exit { sitting, what, rate } => act(sitting, |it| {
            let rate = it.rate(*rate);
            let report = match what {
                ExitName::Escrow => it.engine.exit_escrow(rate)?,
                ExitName::Rewards => it.engine.exit_rewards(rate)?,
            };
            Ok(telling::lines([report]))
        }),
        ContractCommand::Prove { sitting, slice, rate } => act(sitting, |it| {
            it.only(Seat::Miner, "prove")?;
            let rate = it.rate(*rate);
            Ok(telling::lines([it.engine.prove_slice(slice.saturating_sub(1), rate)?]))
        }),
        ContractCommand::Carry { sitting, before, evidence } => act(sitting, |it| {
            let count = before::carry(&mut it.engine, before, evidence.as_deref())?;
            Ok(vec![format!("said      {count} words that carry over what was proven before")])
        }),
    }
}

/// Opens the seat, does one thing, and steps.
fn act(
    arguments: &SittingArguments,
    decide: impl FnOnce(&mut Sitting) -> Result<Vec<String>>,
) -> Result<Done> {
    let mut sitting = Sitting::open(arguments)?;
    let lines = decide(&mut sitting)?;
    sitting.stepped(lines)
}

/// A party at his seat.
struct Sitting {
    engine: Engine,
    number: u32,
    letters: Folder,
    #[cfg(feature = "core")]
    servers: servers::Servers,
    /// Dropped last: another process may work here then.
    _lock: File,
}

impl Sitting {
    /// Takes the seat, with everything that its store remembers of the contract.
    fn open(arguments: &SittingArguments) -> Result<Self> {
        let terms = terms::read(&arguments.terms)?;
        let (id, network) = (terms.id()?, terms.reward.network);
        let home = &arguments.home;
        if home.network != network {
            return Err(NETWORK.misused("--network", network, home.network));
        }
        let (seat, number) = (Seat::from(arguments.seat), arguments.number);
        let seed = seed::read(&home.seed())?;
        let signer = || SoftwareSigner::new(seed.record(network, number)?, network);
        make(&home.home)?;
        let own = home.home.join("contracts").join(id.to_string());
        make(&own)?;
        let lock = take(&own)?;
        let mut store = Store::open(home.home.join(STORE))?;
        let wallet =
            Wallet::create_or_load(&mut store, *seed.master(network.into())?.xpriv(), network)?;
        let root = arguments.relay.clone().unwrap_or_else(|| own.join("letters"));
        // At several contracts he may share one folder.
        let letters = Folder::open(root, seat)?.at(id);
        #[cfg(feature = "core")]
        let servers = servers::Servers::new(&arguments.validator, terms.clone(), seat, signer()?)?;
        let chain = Electrum::connect(&arguments.server.electrum, network)?;
        let engine = Engine::open(seat, terms, store, chain, signer()?, letters.clone())?;
        let engine = engine.with_wallet(wallet);
        Ok(Self {
            engine,
            number,
            letters,
            #[cfg(feature = "core")]
            servers,
            _lock: lock,
        })
    }

    /// The fee rate that was named, or the lowest that the terms allow.
    fn rate(&self, named: RateArguments) -> u64 {
        named.fee_rate.unwrap_or(self.engine.contract().terms().fees.floor)
    }

    /// Refuses what is another seat's to do.
    fn only(&self, whose: Seat, what: &str) -> Result<()> {
        match self.engine.seat() == whose {
            true => Ok(()),
            false => {
                let expected = format!("the seat of the {whose}");
                Err(POSSIBLE.misused(format!("contract {what}"), expected, self.engine.seat()))
            }
        }
    }

    /// Puts the words of a file into the inbox, as if they were letters.
    fn take(&mut self, path: &Path) -> Result<()> {
        let words = validator::said(path, self.engine.contract().terms())
            .map_err(|error| error.within(path.display()))?;
        for word in words {
            let name = format!("brought-{}-{}.json", folder_name(word.from), word.id()?);
            self.letters.post(self.engine.seat(), &name, &word.to_json()?)?;
        }
        Ok(())
    }

    /// Steps; answers with what happened, and what was refused, in lines.
    fn step(&mut self) -> Result<Vec<String>> {
        #[cfg(feature = "core")]
        if !self.servers.is_empty() {
            return self.step_with_servers();
        }
        self.step_once()
    }

    /// The same, with what validators' servers have heard, and until they have heard what we have.
    #[cfg(feature = "core")]
    fn step_with_servers(&mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for _ in 0..MOST_ROUNDS {
            let ours = self.engine_words()?;
            let heard = self.servers.hear(&ours, &self.letters, &mut lines)?;
            lines.extend(self.step_once()?);
            let ours = self.engine_words()?;
            let brought = self.servers.bring(&ours, &mut lines)?;
            if heard == 0 && brought == 0 {
                break;
            }
        }
        // Who cannot be reached is told once.
        let mut told = std::collections::BTreeSet::new();
        lines.retain(|line| told.insert(line.clone()));
        Ok(lines)
    }

    /// One step of the engine.
    fn step_once(&mut self) -> Result<Vec<String>> {
        let rounds = self.rounds()?;
        let reports = self.engine.step()?;
        let (left, holder) = (self.rounds()?, self.engine.seat() == Seat::Holder);
        let refused = |name: &String| {
            reports.iter().any(|report| matches!(report, Report::Refused(it, _) if it == name))
        };
        let answered =
            rounds.iter().filter(|name| holder && !left.contains(name) && !refused(name));
        let mut lines: Vec<String> = answered
            .map(|_| "signed    my part of a joint settlement; the miner sends it".to_owned())
            .collect();
        lines.extend(telling::lines(reports));
        Ok(lines)
    }

    /// Letters of joint settlements in the inbox.
    fn rounds(&self) -> Result<Vec<String>> {
        let letters = self.letters.letters()?;
        Ok(letters.into_iter().filter(|name| name.starts_with(ROUND)).collect())
    }

    /// Every word that the store has of the contract, in the order in which they were taken.
    fn engine_words(&mut self) -> Result<Vec<Word>> {
        let id = self.engine.contract().id();
        words(&self.engine.store().entries(&id.0)?)
    }

    /// Steps behind what was done, and says what comes next. What was done stays done if the step
    /// breaks off: the error is told behind it.
    fn stepped(mut self, mut lines: Vec<String>) -> Result<Done> {
        match self.step() {
            Ok(more) => {
                lines.extend(more);
                self.finished(lines)
            }
            Err(error) => broken_off(lines, error),
        }
    }

    /// Says what comes next.
    fn finished(mut self, mut lines: Vec<String>) -> Result<Done> {
        match self.next() {
            Ok(next) => {
                lines.extend(next);
                Ok(Done::from(lines))
            }
            Err(error) => broken_off(lines, error),
        }
    }

    /// Whose turn it is, and what is waited for.
    fn next(&mut self) -> Result<Vec<String>> {
        let facts = self.engine.facts()?;
        telling::next(self.engine.contract(), &facts, self.engine.seat())
    }
}

fn broken_off(lines: Vec<String>, error: Error) -> Result<Done> {
    match lines.is_empty() {
        true => Err(error),
        false => Ok(Done { lines, but: Some(error) }),
    }
}

/// The words among a store's entries.
fn words(entries: &[crate::store::Entry]) -> Result<Vec<Word>> {
    let texts = entries.iter().filter(|entry| entry.kind == WORD);
    texts.map(|entry| Word::from_json(&String::from_utf8_lossy(&entry.body))).collect()
}
