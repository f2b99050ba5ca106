//! The sealer of a position: a certificate becomes the miner's word, and validators give receipts.
//!
//! ```text
//!  collector --certificate--> engine of the miner --word--> letters in the shared folder
//!                                   ^                  \--> couriers --> validators' servers
//!                                   '---- receipts <---------------------------'
//! ```
//! Only the miner's communication key seals, so a position is sealed here if the gateway was told
//! which record of his seed it is; otherwise its certificates wait as files. The word is committed
//! before it leaves, and said once: what the engine knows already is not said again, whatever
//! crashed in between.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bitcoin::hex::DisplayHex;
use bitcoin::{Network, OutPoint};

use crate::canonical;
use crate::chain::electrum::Electrum;
use crate::engine::{Engine, Report, evidence};
use crate::error::{Error, Result};
use crate::flow::escrow::coins::{Ending, Progress};
use crate::flow::escrow::state::last_ripe;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::word::Word;
use crate::flow::{Event, reward};
use crate::headers::Headers;
use crate::id::{CertificateDigest, TermsId, tagged_hash};
use crate::party::Seat;
use crate::relay::folder::{Folder, folder_name};
use crate::sign::seed::Seed;
use crate::sign::software::SoftwareSigner;
use crate::store::Store;
use crate::validator::answer::Answer;
use crate::validator::courier::Couriers;
use crate::validator::request::{MOST_WORDS, REQUEST_FORMAT, REQUEST_MAX_BYTES, Request};
use crate::work::certificate::Certificate;
use crate::work::receipt::Subject;

/// The miner's seat, as far as it is not in the terms.
#[derive(Clone, Debug)]
pub struct Miner<'a> {
    /// The folder of his store.
    pub home: &'a Path,
    /// His seed.
    pub seed: &'a Seed,
    /// The number of his record in the terms.
    pub record: u32,
    /// The Electrum server, `tcp://host:port`.
    pub electrum: &'a str,
    /// The folder that the parties share; one in his home if they do not.
    pub relay: Option<PathBuf>,
    /// The validators' servers, `http://host:port`.
    pub validators: &'a [String],
}

/// A certificate that needs more receipts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// Its slice (0-based).
    pub slice: u32,
    /// Validators that have given one.
    pub receipts: usize,
    /// How many are needed.
    pub needed: usize,
    /// The height of the last tip that a receipt may name.
    pub until: u32,
}

/// One position's way to its validators.
pub struct Sealer {
    engine: Engine,
    requests: SoftwareSigner,
    letters: Folder,
    couriers: Couriers,
    /// Up to which event our words were brought to the couriers.
    upto: u64,
    /// Certificates and receipts that were there when the dossier was written to.
    written: [usize; 2],
    /// Escrow outputs whose last state was published since the start.
    published: BTreeSet<OutPoint>,
}

impl Sealer {
    /// Takes the miner's seat, with everything that his store remembers of the contract.
    pub fn open(terms: EscrowTerms, miner: &Miner<'_>) -> Result<Self> {
        let network = terms.reward.network;
        let signer = || signer(miner, network);
        let own = miner.home.join("contracts").join(terms.id()?.to_string()).join("letters");
        let root = miner.relay.clone().unwrap_or(own);
        // At several contracts of one position he may share one folder.
        let letters = Folder::open(root, Seat::Miner)?.at(terms.id()?);
        let store = Store::open(miner.home.join("store.sqlite"))?;
        let chain = Electrum::connect(miner.electrum, network)?;
        let engine = Engine::open(Seat::Miner, terms, store, chain, signer()?, letters.clone())?;
        let couriers = Couriers::start(miner.validators)?;
        let (written, published) = ([0; 2], BTreeSet::new());
        let requests = signer()?;
        Ok(Self { engine, requests, letters, couriers, upto: 0, written, published })
    }

    /// The contract.
    pub fn contract(&self) -> TermsId {
        self.engine.contract().id()
    }

    /// The active chain, from before the contract's first block, and how the escrow ended there.
    pub fn look(&mut self) -> Result<(Headers, Option<Ending>)> {
        let facts = self.engine.facts()?;
        let ending = self.engine.contract().locked().ending(&facts)?;
        Ok((facts.headers, ending))
    }

    /// Says here what was proven at a seat of the contract before, as far as it is news; answers with
    /// the number of words.
    pub fn carry(&mut self, before: &Self) -> Result<usize> {
        self.engine.carry(before.engine.contract().evidence())
    }

    /// Whether nothing is left to do at this seat: the escrow has ended, as deep as one has to lie
    /// before states are signed on it, and no receipt is due any more.
    pub fn is_over(&mut self) -> Result<bool> {
        let (headers, ending) = self.look()?;
        let Some(ending) = ending else { return Ok(false) };
        let (tip, contract) = (headers.tip(), self.engine.contract());
        let (terms, calendar) = (contract.terms(), contract.terms().calendar());
        let depth = tip.saturating_add(1).saturating_sub(ending.height);
        let mut said = contract.evidence().certificates().iter();
        let due = said.any(|one| calendar.receipts_until(one.certificate.slice) >= Some(tip));
        Ok(depth >= terms.delays.state_depth && !due)
    }

    /// Whether the certificate with this digest was said.
    pub fn has_said(&self, digest: CertificateDigest) -> bool {
        self.engine.contract().evidence().digests().any(|(known, _)| known == digest)
    }

    /// Says the certificate, unless it was said before.
    pub fn say(&mut self, certificate: Certificate) -> Result<()> {
        if self.has_said(certificate.digest()) {
            return Ok(());
        }
        self.engine.say(Event::Reward(reward::state::Event::Certified(certificate)))
    }

    /// Brings what we have said, hears what was answered, and does what the miner's engine does.
    pub fn step(&mut self) -> Result<Vec<Report>> {
        let mut reports = Vec::new();
        while let Some(answer) = self.couriers.answer() {
            match self.take_answer(&answer) {
                Ok(()) => {}
                Err(error @ Error::Storage(_)) => return Err(error),
                Err(error) => reports.push(Report::Refused("answer of a validator".into(), error)),
            }
        }
        // What is committed is brought, whatever the engine's own servers say.
        self.bring()?;
        reports.extend(self.engine.step()?);
        self.bring()?;
        Ok(reports)
    }

    /// At the end of the term: publishes the last state that the holder has signed, so that the miner has
    /// his money whoever sits there. Before the holder has signed for the last period, he gets the span of
    /// an answer for it; then the one that there is serves. Once an output, as long as the process lives.
    pub fn publish_last(&mut self) -> Result<Vec<Report>> {
        let facts = self.engine.facts()?;
        let locked = self.engine.contract().locked();
        let Some(last) = locked.terms().delivery.periods.checked_sub(1) else {
            return Ok(Vec::new());
        };
        if last_ripe(locked, &facts) != Some(last) {
            return Ok(Vec::new());
        }
        let Progress::Open(coin) = locked.progress(&facts)? else { return Ok(Vec::new()) };
        let Some((ask, _)) = self.engine.contract().escrow().last_state(coin.outpoint) else {
            return Ok(Vec::new());
        };
        let terms = locked.terms();
        let patience = terms.ruling_height(last)?.saturating_add(terms.delays.answer);
        let early = ask.outcome.period < last && facts.tip() < patience;
        if early || !self.published.insert(coin.outpoint) {
            return Ok(Vec::new());
        }
        let published = self.engine.publish_state();
        if matches!(published, Err(Error::Unavailable(_))) {
            self.published.remove(&coin.outpoint);
        }
        published
    }

    /// Writes certificates and receipts that came since the last time into a dossier; answers with the
    /// number of each.
    pub fn write_news(&mut self, dossier: &Path) -> Result<[usize; 2]> {
        let said = self.engine.contract().evidence();
        let certificates = said.certificates();
        let receipts = certificates.iter().map(|sealed| sealed.receipts.len());
        let now = [certificates.len(), receipts.fold(0, usize::saturating_add)];
        if now == self.written {
            return Ok([0; 2]);
        }
        let fresh = evidence::write(dossier, said)?;
        self.written = now;
        Ok(fresh)
    }

    /// The first certificate that lacks receipts, while there is time for them.
    pub fn lacking(&self, tip: u32) -> Option<Lacking> {
        let contract = self.engine.contract();
        let needed = usize::from(contract.terms().reward.federation.threshold);
        let calendar = contract.terms().calendar();
        let lacking = contract.evidence().digests().filter_map(|(digest, sealed)| {
            let slice = sealed.certificate.slice;
            let until = calendar.receipts_until(slice).filter(|until| *until >= tip)?;
            let receipts = self.receipts(slice, digest);
            (receipts < needed).then_some(Lacking { slice, receipts, needed, until })
        });
        lacking.min_by_key(|lacking| lacking.until)
    }

    /// How many validators have given a receipt for the certificate of this slice with this digest,
    /// whatever their tips.
    pub fn receipts(&self, slice: u32, digest: CertificateDigest) -> usize {
        let evidence = self.engine.contract().evidence();
        let receipts = evidence.receipts(&Subject::Certificate { slice, digest }).iter();
        receipts.map(|receipt| receipt.validator).collect::<BTreeSet<u8>>().len()
    }

    /// Gives our words since the last time to the couriers, a request for each handful.
    fn bring(&mut self) -> Result<()> {
        if self.couriers.is_empty() {
            return Ok(());
        }
        let contract = self.engine.contract().id();
        loop {
            let entries = self.engine.store().entries_after(&contract.0, self.upto, MOST_WORDS)?;
            let Some(last) = entries.last().map(|entry| entry.seq) else { return Ok(()) };
            let (mut words, mut size) = (Vec::new(), 0usize);
            let mut upto = last;
            for entry in &entries {
                let text = String::from_utf8_lossy(&entry.body);
                let Ok(word) = Word::from_json(&text) else { continue };
                if word.from != Seat::Miner {
                    continue;
                }
                // A request holds what its reader takes; the rest goes into the next one.
                if !words.is_empty() && size.saturating_add(text.len()) > REQUEST_MAX_BYTES / 2 {
                    upto = entry.seq.saturating_sub(1);
                    break;
                }
                size = size.saturating_add(text.len());
                words.push(word);
            }
            self.upto = upto;
            if words.is_empty() {
                continue;
            }
            // Named by what is in it, so that after a start the same words are the same request.
            let said = tagged_hash("hashmix/parcel/1", &[&canonical::bytes(&words)?]);
            let key = format!("words {:.32}", said.to_lower_hex_string());
            let digest = Request::message(contract, Seat::Miner, &key, &words, None)?;
            let signature = self.requests.sign_digest(digest)?;
            let (format, from) = (REQUEST_FORMAT.to_owned(), Seat::Miner);
            let request = Request { format, contract, from, key, words, psbt: None, signature };
            self.couriers.bring(contract, &request.to_json()?);
        }
    }

    /// Puts a validator's own words into our inbox, if he has signed the answer.
    fn take_answer(&mut self, text: &str) -> Result<()> {
        let answer = Answer::from_json(text)?;
        answer.verify(self.engine.contract().terms())?;
        for numbered in answer.words.iter().filter(|numbered| numbered.word.from == answer.from) {
            let name = format!("answer-{}-{}.json", folder_name(answer.from), numbered.word.id()?);
            self.letters.post(Seat::Miner, &name, &numbered.word.to_json()?)?;
        }
        Ok(())
    }
}

fn signer(miner: &Miner<'_>, network: Network) -> Result<SoftwareSigner> {
    SoftwareSigner::new(miner.seed.record(network, miner.record)?, network)
}
