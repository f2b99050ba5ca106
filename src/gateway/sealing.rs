//! Which certificates are due, and whoever seals them: a thread beside the foreman's, for servers and
//! validators may let it wait.
//!
//! ```text
//!  tip ----> due slices --headers--> collector.seal: frozen, on the disk
//!                                        |--> certificates/<position>/<slice>.hmxc, for the miner where
//!                                        |    the position is not issued yet: he shows it himself
//!                                        |--> certificates/ of the dossier, if the file names one
//!                                        '--> Sealer::say, if we know the miner's record
//! ```
//! A slice is sealed a few blocks behind its end, so that a small reorg has happened before, and long
//! before its receipts are due. What was frozen and not said when the process ended is said at the
//! next start.
//!
//! How the contract ends is told once; of a resale that the holder asked validators for, the new
//! contract's terms are written into the gateway's folder: `sold-on-ID.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use bitcoin::{BlockHash, Network, ScriptBuf};

use crate::chain::electrum::Electrum;
use crate::engine::{Report, evidence, kind};
use crate::error::{Error, Result};
use crate::flow::Contract;
use crate::flow::escrow::coins::Ending;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::position::proof::{self, SETTLED};
use crate::gateway::agreed::Position;
use crate::gateway::before::{Attended, Before, Seats};
use crate::gateway::collector::Sealing;
use crate::gateway::ended::{Ended, put};
use crate::gateway::floor::{Floor, HOME, locked};
use crate::gateway::sealer::{Lacking, Miner, Sealer};
use crate::gateway::status::SealedSlice;
use crate::header_sync::GuardedChain;
use crate::headers::Headers;
use crate::sign::seed::Seed;
use crate::store::Store;
use crate::work::certificate::Certificate;

/// Time between two looks when no block comes: receipts do.
const EVERY: Duration = Duration::from_secs(10);
/// Blocks behind a slice's end after which it is sealed, at the most; a proof's certificate is not
/// judged before it is [`SETTLED`] deep.
const DEEP: u32 = 6;

/// What sealing needs.
pub struct Seals {
    /// The network.
    pub network: Network,
    /// The gateway's folder.
    pub home: PathBuf,
    /// An Electrum server, `tcp://host:port`.
    pub electrum: String,
    /// The miner's seed, if any position is sealed here.
    pub seed: Option<Seed>,
    /// For each position of the plan: how it is sealed, if it is sealed here.
    pub positions: Vec<Option<Signs>>,
    /// For each position of the plan: the dossier that gets what is sealed, if there is one.
    pub dossiers: Vec<Option<PathBuf>>,
}

/// How a position is sealed.
#[derive(Clone, Debug)]
pub struct Signs {
    /// The number of the miner's record in its terms.
    pub record: u32,
    /// The contracts before, in the order of their transfers: the miner keeps his seat in each until
    /// nothing is left to do there.
    pub before: Vec<Before>,
    /// The validators' servers.
    pub validators: Vec<String>,
    /// The folder that the parties share.
    pub relay: Option<PathBuf>,
}

/// Sealing at work.
pub(super) struct SealingThread {
    floor: Arc<Floor>,
    tips: Receiver<()>,
    seals: Seals,
}

/// What is done for one position.
struct Post {
    way: Way,
    /// The miner's seats at the contracts before.
    seats: Seats,
    /// The last look left something undone.
    restless: bool,
    /// What keeps the sealing, as of that look.
    lines: Vec<String>,
    /// Lines that the log has.
    told: Vec<String>,
}

/// The way of one position.
enum Way {
    /// Nobody was reached yet.
    Closed,
    /// Headers alone, and the escrow's outputs where there is one; certificates wait as files.
    Files(Box<Files>),
    /// The miner's engine.
    Signs(Box<Sealer>),
}

/// The chain, and how the escrow ended there.
type Look = (Headers, Option<Ending>);

/// A position that is sealed elsewhere.
struct Files {
    chain: GuardedChain,
    store: Store,
    /// First height whose header is needed.
    first: u32,
    contract: Option<Contract>,
    /// The tip before the last look.
    seen: Option<(u32, BlockHash)>,
}

impl Files {
    fn has_news(&self) -> Result<bool> {
        Ok(self.seen != Some(self.chain.electrum().tip()?))
    }

    fn look(&mut self) -> Result<Look> {
        let tip = self.chain.electrum().tip()?;
        let look = self.read()?;
        self.seen = Some(tip);
        Ok(look)
    }

    fn read(&mut self) -> Result<Look> {
        let Self { chain, store, first, contract, .. } = self;
        let Some(contract) = contract else {
            chain.sync(store, &mut |_, _| {})?;
            return Ok((chain.headers(*first)?, None));
        };
        let scripts: Vec<ScriptBuf> = contract.locked().scripts().cloned().collect();
        let facts = chain.facts(store, &scripts, *first)?;
        let ending = contract.locked().ending(&facts)?;
        Ok((facts.headers, ending))
    }
}

impl Way {
    fn has_news(&mut self) -> Result<bool> {
        match self {
            Self::Signs(sealer) => sealer.has_news(),
            Self::Files(files) => files.has_news(),
            Self::Closed => Ok(true),
        }
    }

    fn look(&mut self) -> Result<Look> {
        match self {
            Self::Signs(sealer) => sealer.look(),
            Self::Files(files) => files.look(),
            Self::Closed => Err(HOME.broken("sealing", "an open way", "a closed one")),
        }
    }
}

impl SealingThread {
    pub(super) fn new(floor: Arc<Floor>, tips: Receiver<()>, seals: Seals) -> Self {
        Self { floor, tips, seals }
    }

    /// Seals what is due at each new tip, until the gateway ends.
    pub(super) fn run(self) {
        let positions = 0..self.seals.positions.len();
        let mut posts: Vec<Post> = positions.map(|position| self.post(position)).collect();
        while !self.floor.is_over() {
            for (position, post) in posts.iter_mut().enumerate() {
                self.attend(position, post);
                if self.floor.is_over() {
                    return;
                }
            }
            match self.tips.recv_timeout(EVERY) {
                Ok(()) => self.tips.try_iter().for_each(drop),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn post(&self, position: usize) -> Post {
        let signs = self.signs(position);
        Post {
            way: Way::Closed,
            seats: Seats::at(signs.map_or(&[], |(signs, ..)| &signs.before)),
            restless: false,
            lines: Vec::new(),
            told: Vec::new(),
        }
    }

    /// How a position is sealed, if it is sealed here; as whom, and under which terms.
    fn signs(&self, position: usize) -> Option<(&Signs, Miner<'_>, &EscrowTerms)> {
        let signs = self.seals.positions.get(position)?.as_ref()?;
        let terms = self.floor.plan.positions().get(position)?.contract()?;
        let miner = Miner {
            home: &self.seals.home,
            seed: self.seals.seed.as_ref()?,
            record: signs.record,
            electrum: &self.seals.electrum,
            relay: signs.relay.clone(),
            validators: &signs.validators,
        };
        Some((signs, miner, terms))
    }

    /// Attends to the newest contract, then to those before: what keeps one of them keeps that one alone.
    fn attend(&self, position: usize, post: &mut Post) {
        if let Err(error) = self.attend_newest(position, post) {
            if !matches!(error, Error::Unavailable(_)) {
                // Whatever broke is built anew the next time; a server that is away broke nothing.
                post.way = Way::Closed;
            }
            post.restless = true;
            post.lines = vec![error.to_string()];
        }
        if let Some((_, miner, terms)) = self.signs(position) {
            let newest = match &mut post.way {
                Way::Signs(sealer) => Some(&mut **sealer),
                Way::Files(_) | Way::Closed => None,
            };
            let Attended { told, left } = post.seats.attend(&miner, terms, newest);
            told.iter().for_each(|report| self.tell(report));
            for contract in left {
                self.floor
                    .tell(format_args!("contract {contract} is over: nothing is left to do there"));
            }
        }
        self.note(position, post);
    }

    /// Tells what keeps the sealing, each line once.
    fn note(&self, position: usize, post: &mut Post) {
        let lines: Vec<String> = post.lines.iter().chain(post.seats.troubles()).cloned().collect();
        let news = lines.iter().filter(|line| !post.told.contains(line));
        news.for_each(|line| self.floor.tell(line));
        let mut standing = locked(&self.floor.standing);
        if let Some((_, trouble)) = standing.sealed.get_mut(position) {
            *trouble = Some(lines.join("; ")).filter(|lines| !lines.is_empty());
        }
        drop(standing);
        post.told = lines;
    }

    /// Seals and says what is due, if there is a new block, a letter, or something left undone.
    fn attend_newest(&self, position: usize, post: &mut Post) -> Result<()> {
        let (headers, ending) = if matches!(post.way, Way::Closed) {
            let (way, look) = self.open(position)?;
            post.way = way;
            look
        } else if post.restless || post.way.has_news()? {
            post.way.look()?
        } else {
            return Ok(());
        };
        // One slice that cannot be sealed or said keeps no other waiting; the first trouble is told.
        let mut trouble = Ok(());
        for slice in self.due(position, headers.tip()) {
            trouble = trouble.and(self.seal(position, slice, &headers, &mut post.way));
        }
        let stepped = match &mut post.way {
            Way::Signs(sealer) => sealer.step(),
            Way::Files(_) | Way::Closed => Ok(Vec::new()),
        };
        // Told whatever became of the step, which may have heard to whom the contract was sold.
        let told = self.note_ending(position, &post.way, ending);
        stepped?.iter().for_each(|report| self.tell(report));
        post.lines.clear();
        if let Way::Signs(sealer) = &post.way {
            post.lines.extend(self.count_receipts(position, sealer, headers.tip()));
        }
        let (mut published, mut kept) = (Ok(()), Ok(()));
        if let Way::Signs(sealer) = &mut post.way {
            let last = sealer.publish_last();
            published = last.map(|reports| reports.iter().for_each(|one| self.tell(one)));
            kept = self.keep_receipts(position, sealer);
        }
        trouble.and(told).and(published).and(kept)?;
        post.restless = false;
        Ok(())
    }

    /// Tells, once, how the newest contract that the file names has ended.
    fn note_ending(&self, position: usize, way: &Way, ending: Option<Ending>) -> Result<()> {
        let held = self.floor.plan.positions().get(position);
        let Some((held, terms)) = held.and_then(|held| Some((held, held.contract()?))) else {
            return Ok(());
        };
        let known = locked(&self.floor.standing).ended.get(position).cloned().flatten();
        let next = |by| match way {
            Way::Signs(sealer) => sealer.sold_to(by),
            Way::Files(_) | Way::Closed => None,
        };
        let (now, written) = Ended::of(terms, ending, known.as_ref(), next, &self.seals.home);
        if let Some(ended) = now.as_ref().filter(|_| known != now) {
            self.floor.tell(format_args!("position {} was {ended}", held.id));
        }
        if let Some(known) = locked(&self.floor.standing).ended.get_mut(position) {
            *known = now;
        }
        written
    }

    /// Seals a slice, writes its certificate into a file, and says it.
    fn seal(&self, position: usize, slice: u32, headers: &Headers, way: &mut Way) -> Result<()> {
        // Weighed while nobody waits: what is found meanwhile is kept.
        let draft = locked(&self.floor.collector).draft(position, slice);
        let Some(draft) = draft else { return Ok(()) };
        let Some(weighed) = draft.weigh(headers)? else { return Ok(()) };
        let Some(sealing) = locked(&self.floor.collector).freeze(weighed)? else { return Ok(()) };
        self.announce(&sealing);
        let Sealing { certificate, number, .. } = sealing;
        let certificate = self.whole(position, number, certificate, headers)?;
        self.write(&certificate, number)?;
        self.sealed(position, &certificate, number, headers)?;
        // A dossier that cannot be written keeps no certificate from being said.
        let kept = self.keep(position, &certificate);
        match way {
            Way::Signs(sealer) => sealer.say(certificate).and(kept),
            Way::Files(_) | Way::Closed => kept,
        }
    }

    /// Looks how many receipts the last certificate has, and which other one lacks some while there is
    /// still time.
    fn count_receipts(&self, position: usize, sealer: &Sealer, tip: u32) -> Option<String> {
        let lacking = sealer.lacking(tip);
        let mut standing = locked(&self.floor.standing);
        if let Some((Some(last), _)) = standing.sealed.get_mut(position) {
            last.receipts = sealer.receipts(last.slice.saturating_sub(1), last.digest);
        }
        let Lacking { slice, receipts, needed, until } = lacking?;
        Some(format!(
            "slice {} has {receipts} of {needed} receipts, and time until height {until}",
            slice.saturating_add(1)
        ))
    }

    /// The position's slices to be sealed at this tip: those that have just ended, and those of which
    /// shares were left out whose block may have come back, while receipts still count.
    fn due(&self, position: usize, tip: u32) -> Vec<u32> {
        let Some(held) = self.floor.plan.positions().get(position) else { return Vec::new() };
        let depth = match held.proof() {
            Some(_) => DEEP.max(SETTLED).min(held.work.receipt_span),
            None => DEEP.min(held.work.receipt_span / 2),
        };
        let collector = locked(&self.floor.collector);
        let ended = collector.due(tip, depth).into_iter();
        let again = collector.left_out(tip).into_iter();
        let ours = ended.chain(again).filter(|(whose, _)| *whose == position);
        ours.map(|(_, slice)| slice).collect()
    }

    /// Tells that a certificate was sealed, and what it leaves out.
    fn announce(&self, sealing: &Sealing) {
        let certificate = &sealing.certificate;
        let left: Vec<String> =
            sealing.left_out.iter().map(|(rule, count)| format!("{count} {rule}")).collect();
        let left = if left.is_empty() { "nothing".to_owned() } else { left.join(", ") };
        self.floor.tell(format_args!(
            "slice {} of position {} is sealed: {} shares, left out: {left}; {}",
            certificate.slice.saturating_add(1),
            certificate.position,
            certificate.shares.len(),
            certificate.digest()
        ));
    }

    /// The way of a position, with what was left unsaid said, and its first look.
    fn open(&self, position: usize) -> Result<(Way, Look)> {
        let Some(held) = self.floor.plan.positions().get(position) else {
            return Err(HOME.broken("sealing", "a position of the plan", position));
        };
        let mut way = match self.signs(position) {
            Some((_, miner, terms)) => Way::Signs(Box::new(Sealer::open(terms.clone(), &miner)?)),
            None => {
                let electrum = Electrum::connect(&self.seals.electrum, self.seals.network)?;
                let store = Store::open(self.seals.home.join("store.sqlite"))?;
                let (chain, first) = (GuardedChain::new(electrum), held.headers_from()?);
                let contract = held.contract().cloned().map(Contract::new).transpose()?;
                Way::Files(Box::new(Files { chain, store, first, contract, seen: None }))
            }
        };
        let look = way.look()?;
        self.catch_up(position, &mut way, &look.0)?;
        Ok((way, look))
    }

    /// Certificates that were frozen before the process ended, and perhaps neither written nor said;
    /// and those that were said under the contract before, where its term goes on under another.
    fn catch_up(&self, position: usize, way: &mut Way, headers: &Headers) -> Result<()> {
        let tip = headers.tip();
        let mut slices: BTreeMap<u32, bool> = BTreeMap::new();
        for sealed in locked(&self.floor.collector).sealed()? {
            if sealed.position == position {
                let said = matches!(&*way, Way::Signs(sealer) if sealer.has_said(sealed.digest));
                *slices.entry(sealed.slice).or_default() |= !said;
            }
        }
        let goes_on = self.floor.plan.positions().get(position);
        let goes_on = goes_on.and_then(Position::contract);
        let goes_on = goes_on.is_some_and(|terms| terms.tenure.is_some());
        for (slice, unsaid) in slices {
            let until = self.receipts_until(position, slice);
            // What is too late for receipts may have them from the contract before.
            let counts = until >= Some(tip) || (goes_on && unsaid && until.is_some());
            let written = self.path(position, slice, 0).is_none_or(|path| path.exists());
            if !counts && written && self.dossier(position).is_none() {
                continue;
            }
            let certificates = locked(&self.floor.collector).certificates(position, slice)?;
            for (number, certificate) in (0u32..).zip(certificates) {
                let certificate = self.whole(position, number, certificate, headers)?;
                self.write(&certificate, number)?;
                self.sealed(position, &certificate, number, headers)?;
                if let Err(error) = self.keep(position, &certificate) {
                    self.floor.tell(error);
                }
                if let (true, Way::Signs(sealer)) = (counts, &mut *way)
                    && let Err(error) = sealer.say(certificate)
                {
                    self.floor.tell(error);
                }
            }
        }
        Ok(())
    }

    fn receipts_until(&self, position: usize, slice: u32) -> Option<u32> {
        self.floor.plan.positions().get(position)?.work.calendar().receipts_until(slice)
    }

    /// The certificate as a file, for whoever hands it on; whole, and on the disk when this returns.
    fn write(&self, certificate: &Certificate, number: u32) -> Result<()> {
        let position = certificate.position;
        let held = self.floor.plan.positions().iter().position(|held| held.id == position);
        let path = held.and_then(|held| self.path(held, certificate.slice, number));
        let Some(path) = path else { return Ok(()) };
        put(&path, &certificate.to_bytes())
    }

    fn dossier(&self, position: usize) -> Option<&Path> {
        self.seals.dossiers.get(position)?.as_deref()
    }

    /// Puts the certificate into the position's dossier, if the gateway's file names one.
    fn keep(&self, position: usize, certificate: &Certificate) -> Result<()> {
        let dossier = self.dossier(position);
        dossier
            .map_or(Ok(()), |dossier| evidence::write_certificate(dossier, certificate).map(drop))
    }

    /// The same for receipts that came since the last time, and certificates of other gateways.
    fn keep_receipts(&self, position: usize, sealer: &mut Sealer) -> Result<()> {
        let Some(dossier) = self.dossier(position) else { return Ok(()) };
        if let [certificates, receipts] = sealer.write_news(dossier)?
            && certificates.saturating_add(receipts) > 0
        {
            let id = self.floor.plan.positions().get(position).map(|held| held.id.to_string());
            self.floor.tell(format_args!(
                "dossier of position {}: {certificates} certificates, {receipts} receipts more",
                id.unwrap_or_default()
            ));
        }
        Ok(())
    }

    /// Where the certificate of a slice lies.
    fn path(&self, position: usize, slice: u32, number: u32) -> Option<PathBuf> {
        let id = self.floor.plan.positions().get(position)?.id;
        let slice = slice.saturating_add(1);
        let name = match number {
            0 => format!("{slice:05}.hmxc"),
            more => format!("{slice:05}-{}.hmxc", more.saturating_add(1)),
        };
        Some(self.seals.home.join("certificates").join(id.to_string()).join(name))
    }

    /// What is shown of a slice: of a proof each certificate stands alone, so that a later one, behind a
    /// reorg, has the shares of those before too, as far as they still count. A contract's are united by
    /// whoever counts them.
    fn whole(
        &self,
        position: usize,
        number: u32,
        certificate: Certificate,
        headers: &Headers,
    ) -> Result<Certificate> {
        let held = self.floor.plan.positions().get(position);
        let Some(held) = held.filter(|held| number > 0 && held.proof().is_some()) else {
            return Ok(certificate);
        };
        let slice = certificate.slice;
        let mut several = locked(&self.floor.collector).certificates(position, slice)?;
        several.truncate(usize::try_from(number).unwrap_or(usize::MAX).saturating_add(1));
        let all = Certificate::unite(&several)?;
        let weighed = all.weigh(&held.work, headers);
        let counts = all.shares.into_iter().zip(weighed).filter(|(_, weighed)| weighed.is_ok());
        Certificate::new(certificate.position, slice, counts.map(|(share, _)| share))
    }

    /// Notes the last certificate, and what the miner does with it where the gateway does not say it.
    fn sealed(
        &self,
        position: usize,
        certificate: &Certificate,
        number: u32,
        headers: &Headers,
    ) -> Result<()> {
        let next = self.next(position, certificate, number, headers)?;
        if let Some(next) = &next {
            self.floor.tell(next);
        }
        let mut standing = locked(&self.floor.standing);
        let Some((last, _)) = standing.sealed.get_mut(position) else { return Ok(()) };
        *last = Some(SealedSlice {
            slice: certificate.slice.saturating_add(1),
            digest: certificate.digest(),
            shares: u64::try_from(certificate.shares.len()).unwrap_or(u64::MAX),
            receipts: 0,
            next,
        });
        Ok(())
    }

    /// What the miner does with the certificate of a stage: he shows it, if it proves the rate.
    fn next(
        &self,
        position: usize,
        certificate: &Certificate,
        number: u32,
        headers: &Headers,
    ) -> Result<Option<String>> {
        let held = self.floor.plan.positions().get(position);
        let Some((terms, stage)) = held.and_then(Position::proof) else { return Ok(None) };
        let Some(path) = self.path(position, certificate.slice, number) else { return Ok(None) };
        let (until, path) = (stage.receipts_until(terms), path.display());
        let shares = certificate.shares.len();
        let next = match proof::check(terms, stage, certificate, headers) {
            Ok(()) => {
                let least = proof::critical(terms, stage, headers)?.shares;
                format!(
                    "{stage}: {shares} shares, at least {least} needed; until height {until}: \
                     hashmix position prove --{stage} {path} DOSSIER"
                )
            }
            Err(Error::Unavailable(_)) => {
                let from = stage.judged_from(terms);
                format!(
                    "{stage}: {shares} shares; from height {from} until height {until}: \
                     hashmix position prove --{stage} {path} DOSSIER"
                )
            }
            Err(error) => format!("{stage}, {path}: {error}"),
        };
        Ok(Some(next))
    }

    fn tell(&self, report: &Report) {
        match report {
            Report::Heard(from, event) => self.floor.tell(format_args!("{from}: {}", kind(event))),
            Report::Refused(what, error) => self.floor.tell(format_args!("{what}: {error}")),
            Report::Sent(sent) => {
                let txid = sent.tx.compute_txid();
                self.floor.tell(format_args!("sent {}: {txid}", sent.title));
            }
            Report::Reorganised(reorg) => self.floor.tell(format_args!("reorg: {reorg:?}")),
            _ => {}
        }
    }
}
