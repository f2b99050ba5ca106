//! Which certificates are due, and whoever seals them: a thread beside the foreman's, for servers and
//! validators may let it wait.
//!
//! ```text
//!  tip ----> due slices --headers--> collector.seal: frozen, on the disk
//!                                        |--> certificates/<position>/<slice>.hmxc
//!                                        '--> Sealer::say, if we know the miner's record
//! ```
//! A slice is sealed a few blocks behind its end, so that a small reorg has happened before, and long
//! before its receipts are due. What was frozen and not said when the process ended is said at the
//! next start.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use bitcoin::Network;

use crate::chain::electrum::Electrum;
use crate::engine::{Report, kind};
use crate::error::{Error, Result};
use crate::flow::Contract;
use crate::gateway::collector::Sealing;
use crate::gateway::foreman::{Floor, HOME, locked};
use crate::gateway::sealing::{Miner, Sealer};
use crate::gateway::status::SealedSlice;
use crate::header_sync::GuardedChain;
use crate::headers::Headers;
use crate::sign::seed::Seed;
use crate::store::Store;
use crate::work::certificate::Certificate;

/// Time between two looks when no block comes: receipts do.
const EVERY: Duration = Duration::from_secs(10);
/// Blocks behind a slice's end after which it is sealed, at the most.
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
}

/// How a position is sealed.
#[derive(Clone, Debug)]
pub struct Signs {
    /// The number of the miner's record in its terms.
    pub record: u32,
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

/// The way of one position.
enum Way {
    /// Nobody was reached yet.
    Closed,
    /// Headers alone; certificates wait as files.
    Files(Box<GuardedChain>, Store, u32),
    /// The miner's engine.
    Signs(Box<Sealer>),
}

impl SealingThread {
    pub(super) fn new(floor: Arc<Floor>, tips: Receiver<()>, seals: Seals) -> Self {
        Self { floor, tips, seals }
    }

    /// Seals what is due at each new tip, until the gateway ends.
    pub(super) fn run(self) {
        let mut ways: Vec<Way> = self.seals.positions.iter().map(|_| Way::Closed).collect();
        while !self.floor.is_over() {
            for (position, way) in ways.iter_mut().enumerate() {
                let trouble = self.attend(position, way).err();
                if trouble.is_some() {
                    // Whatever broke is built anew the next time.
                    *way = Way::Closed;
                }
                self.note(position, trouble);
            }
            match self.tips.recv_timeout(EVERY) {
                Ok(()) => self.tips.try_iter().for_each(drop),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Tells what keeps the sealing, once.
    fn note(&self, position: usize, trouble: Option<Error>) {
        let mut standing = locked(&self.floor.standing);
        let Some((_, known)) = standing.sealed.get_mut(position) else { return };
        let now = trouble.map(|error| error.to_string());
        let news = now.clone().filter(|now| known.as_ref() != Some(now));
        *known = now;
        drop(standing);
        if let Some(line) = news {
            self.floor.tell(line);
        }
    }

    fn attend(&self, position: usize, way: &mut Way) -> Result<()> {
        if matches!(way, Way::Closed) {
            *way = self.open(position)?;
        }
        let headers = self.headers(way)?;
        for slice in self.due(position, headers.tip()) {
            let sealing = locked(&self.floor.collector).seal(position, slice, &headers)?;
            let Some(sealing) = sealing else { continue };
            self.announce(&sealing);
            let Sealing { certificate, number, .. } = sealing;
            self.write(&certificate, number)?;
            self.sealed(position, &certificate);
            if let Way::Signs(sealer) = way {
                sealer.say(certificate)?;
            }
        }
        let Way::Signs(sealer) = way else { return Ok(()) };
        for report in sealer.step()? {
            self.tell(&report);
        }
        let mut standing = locked(&self.floor.standing);
        if let Some((Some(last), _)) = standing.sealed.get_mut(position) {
            last.receipts = sealer.receipts(last.slice.saturating_sub(1), last.digest);
        }
        Ok(())
    }

    /// The position's slices to be sealed at this tip: those that have just ended, and those of which
    /// shares were left out whose block may have come back, while receipts still count.
    fn due(&self, position: usize, tip: u32) -> Vec<u32> {
        let Some(held) = self.floor.plan.positions().get(position) else { return Vec::new() };
        let depth = DEEP.min(held.work.receipt_span / 2);
        let collector = locked(&self.floor.collector);
        let in_time = |slice: &u32| held.work.calendar().receipts_until(*slice) >= Some(tip);
        let ended = collector.due(tip, depth).into_iter();
        let again = collector.left_out(tip).into_iter().filter(|(_, slice)| in_time(slice));
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

    fn open(&self, position: usize) -> Result<Way> {
        let Some(held) = self.floor.plan.positions().get(position) else {
            return Ok(Way::Closed);
        };
        let signs = self.seals.positions.get(position).and_then(Option::as_ref);
        let (Some(signs), Some(seed)) = (signs, &self.seals.seed) else {
            let electrum = Electrum::connect(&self.seals.electrum, self.seals.network)?;
            let store = Store::open(self.seals.home.join("store.sqlite"))?;
            let first = Contract::new(held.terms.clone())?.headers_from();
            return Ok(Way::Files(Box::new(GuardedChain::new(electrum)), store, first));
        };
        let miner = Miner {
            home: &self.seals.home,
            seed,
            record: signs.record,
            electrum: &self.seals.electrum,
            relay: signs.relay.clone(),
            validators: &signs.validators,
        };
        let mut sealer = Box::new(Sealer::open(held.terms.clone(), &miner)?);
        // Frozen before the process ended, and perhaps not said.
        let tip = sealer.headers()?.tip();
        let calendar = held.work.calendar();
        let mut slices: Vec<u32> = locked(&self.floor.collector)
            .sealed()?
            .into_iter()
            .filter(|sealed| sealed.position == position)
            .map(|sealed| sealed.slice)
            .filter(|slice| calendar.receipts_until(*slice) >= Some(tip))
            .collect();
        slices.dedup();
        for slice in slices {
            let certificates = locked(&self.floor.collector).certificates(position, slice)?;
            for (number, certificate) in (0u32..).zip(certificates) {
                self.write(&certificate, number)?;
                self.sealed(position, &certificate);
                sealer.say(certificate)?;
            }
        }
        Ok(Way::Signs(sealer))
    }

    fn headers(&self, way: &mut Way) -> Result<Headers> {
        match way {
            Way::Signs(sealer) => sealer.headers(),
            Way::Files(chain, store, first) => {
                chain.sync(store, &mut |_, _| {})?;
                chain.headers(*first)
            }
            Way::Closed => Err(HOME.broken("sealing", "an open way", "a closed one")),
        }
    }

    /// The certificate as a file, for whoever hands it on. One that is there already is left alone.
    fn write(&self, certificate: &Certificate, number: u32) -> Result<()> {
        let folder = self.seals.home.join("certificates").join(certificate.position.to_string());
        let slice = certificate.slice.saturating_add(1);
        let path = folder.join(match number {
            0 => format!("{slice:05}.hmxc"),
            more => format!("{slice:05}-{}.hmxc", more.saturating_add(1)),
        });
        let failed = |error: std::io::Error| {
            HOME.unstored(path.display(), "a place for a certificate", error)
        };
        if path.exists() {
            return Ok(());
        }
        fs::create_dir_all(&folder).map_err(failed)?;
        let draft = path.with_extension("new");
        fs::write(&draft, certificate.to_bytes()).map_err(failed)?;
        fs::rename(&draft, &path).map_err(failed)
    }

    fn sealed(&self, position: usize, certificate: &Certificate) {
        let mut standing = locked(&self.floor.standing);
        let Some((last, _)) = standing.sealed.get_mut(position) else { return };
        *last = Some(SealedSlice {
            slice: certificate.slice.saturating_add(1),
            digest: certificate.digest(),
            shares: u64::try_from(certificate.shares.len()).unwrap_or(u64::MAX),
            receipts: 0,
        });
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
