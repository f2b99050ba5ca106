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
//! crashed in between. What the holder asked validators for while the miner was silent is fetched from
//! their servers (`asked`).
//!
//! The chain is asked when it has a new block, or letters came, and now and then all the same: somebody
//! else's server may have been behind.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bitcoin::blockdata::constants::COINBASE_MATURITY;
use bitcoin::hex::DisplayHex;
use bitcoin::{BlockHash, Network, OutPoint, Txid};

use crate::canonical;
use crate::chain::electrum::Electrum;
use crate::engine::{Engine, Report, evidence};
use crate::error::{Error, Result};
use crate::flow::escrow::coins::{Ending, Progress};
use crate::flow::escrow::state::last_ripe;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::word::Word;
use crate::flow::{Event, resale, reward};
use crate::gateway::asked::Asked;
use crate::headers::Headers;
use crate::id::{CertificateDigest, TermsId, tagged_hash};
use crate::party::Seat;
use crate::relay::folder::{Folder, folder_name};
use crate::relay::seat::take;
use crate::sign::seed::Seed;
use crate::sign::software::SoftwareSigner;
use crate::store::Store;
use crate::validator::answer::Answer;
use crate::validator::courier::Couriers;
use crate::validator::request::{MOST_WORDS, REQUEST_FORMAT, REQUEST_MAX_BYTES, Request};
use crate::work::certificate::Certificate;
use crate::work::receipt::Subject;

/// Longest time between two looks at the chain.
const LONGEST_REST: Duration = Duration::from_secs(600);
/// Blocks that a holder has to ask for a sweep of his last reward, once it can be spent: a day.
const SWEEPS: u32 = 144;

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
    asked: Asked,
    /// Up to which event our words were brought to the couriers.
    upto: u64,
    /// What answers were refused for since the last step.
    untold: Vec<Report>,
    /// The tip before the last step that was done, and when that was.
    seen: Option<((u32, BlockHash), Instant)>,
    /// Letters that make no sense yet, as of that step.
    waiting: BTreeSet<String>,
    /// Certificates and receipts that were there when the dossier was written to.
    written: [usize; 2],
    /// Escrow outputs whose last state was published since the start.
    published: BTreeSet<OutPoint>,
    /// While it lives nobody else works at this seat.
    _lock: File,
}

impl Sealer {
    /// Takes the miner's seat, with everything that his store remembers of the contract.
    pub fn open(terms: EscrowTerms, miner: &Miner<'_>) -> Result<Self> {
        let network = terms.reward.network;
        let signer = || signer(miner, network);
        let own = miner.home.join("contracts").join(terms.id()?.to_string());
        let lock = take(&own)?;
        let root = miner.relay.clone().unwrap_or_else(|| own.join("letters"));
        // At several contracts of one position he may share one folder.
        let letters = Folder::open(root, Seat::Miner)?.at(terms.id()?);
        let store = Store::open(miner.home.join("store.sqlite"))?;
        let chain = Electrum::connect(miner.electrum, network)?;
        let engine = Engine::open(Seat::Miner, terms, store, chain, signer()?, letters.clone())?;
        let couriers = Couriers::start(miner.validators)?;
        let asked = Asked::start(engine.contract().terms(), miner.validators, signer()?)?;
        Ok(Self {
            engine,
            requests: signer()?,
            letters,
            couriers,
            asked,
            upto: 0,
            untold: Vec::new(),
            seen: None,
            waiting: BTreeSet::new(),
            written: [0; 2],
            published: BTreeSet::new(),
            _lock: lock,
        })
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

    /// Whether there is anything to do: a block, a letter, an answer, or a long time without a look.
    pub fn has_news(&mut self) -> Result<bool> {
        self.hear()?;
        let Some((tip, since)) = &self.seen else { return Ok(true) };
        if !self.untold.is_empty() || since.elapsed() >= LONGEST_REST {
            return Ok(true);
        }
        let letters = self.letters.letters()?;
        let came = letters.iter().any(|name| !self.waiting.contains(name));
        Ok(came || self.engine.chain().tip()? != *tip)
    }

    /// Has something to do again, whether anything comes or not.
    pub fn wake(&mut self) {
        self.seen = None;
    }

    /// The terms of the contract that took this one's place, if this transaction is the resale that the
    /// holder asked validators for.
    pub fn sold_to(&self, by: Txid) -> Option<EscrowTerms> {
        self.engine.contract().resales().requests().find_map(|request| {
            // A request about an output that is spent was not judged when it was heard; that it makes
            // the transaction which lies in a block says enough.
            let bargain = resale::txs::bargain(request).ok()?;
            (bargain.exchange.txid() == by).then_some(bargain.contract)
        })
    }

    /// Says here what was proven at a seat of the contract before, as far as it is news; answers with
    /// the number of words.
    pub fn carry(&mut self, before: &Self) -> Result<usize> {
        let carried = self.engine.carry(before.engine.contract().evidence());
        if !matches!(carried, Ok(0)) {
            self.wake();
        }
        carried
    }

    /// Whether nothing is left to do at this seat, at the end of these headers: the escrow has ended, as
    /// deep as one has to lie before states are signed on it, no receipt and no proof of a digest is due
    /// any more, and whoever held the position had a day to sweep the last reward that was paid to him.
    pub fn is_over(
        &self,
        headers: &Headers,
        ending: Option<Ending>,
        newest: &EscrowTerms,
    ) -> Result<bool> {
        let Some(ending) = ending else { return Ok(false) };
        let contract = self.engine.contract();
        let said = contract.evidence().certificates().iter();
        let said = said.map(|one| one.certificate.slice);
        Ok(headers.tip() >= over_from(contract.terms(), newest, ending.height, said)?)
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
        self.hear()?;
        let mut reports = core::mem::take(&mut self.untold);
        // What is committed is brought, whatever the engine's own servers say.
        self.bring()?;
        self.asked.look();
        // A block that comes meanwhile is news.
        let tip = self.engine.chain().tip()?;
        reports.extend(self.engine.step()?);
        self.bring()?;
        self.waiting = self.letters.letters()?.into_iter().collect();
        self.seen = Some((tip, Instant::now()));
        Ok(reports)
    }

    /// Puts what came from servers into our inbox.
    fn hear(&mut self) -> Result<()> {
        while let Some(answer) = self.couriers.answer() {
            match self.take_answer(&answer) {
                Ok(()) => {}
                Err(error @ Error::Storage(_)) => return Err(error),
                Err(error) => {
                    self.untold.push(Report::Refused("answer of a validator".into(), error));
                }
            }
        }
        while let Some(word) = self.asked.next() {
            let name = format!("asked-{}.json", word.id()?);
            self.letters.post(Seat::Miner, &name, &word.to_json()?)?;
        }
        Ok(())
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

/// The height of the tip from which nothing is left to do at the contract that ended at this height, with
/// certificates of these slices.
fn over_from(
    terms: &EscrowTerms,
    newest: &EscrowTerms,
    ended: u32,
    said: impl Iterator<Item = u32>,
) -> Result<u32> {
    let calendar = terms.calendar();
    let deep = ended.saturating_add(terms.delays.state_depth).saturating_sub(1);
    let due = said
        .filter_map(|slice| calendar.receipts_until(slice).max(calendar.proofs_until(slice)))
        .map(|last| last.saturating_add(1));
    Ok(due.chain([deep]).fold(swept_by(terms, newest)?, u32::max))
}

/// The height from which nobody needs the miner's signature to sweep what was paid to the lock of these
/// terms, which `newest` took the place of.
fn swept_by(terms: &EscrowTerms, newest: &EscrowTerms) -> Result<u32> {
    let lock = reward::coins::lock(&terms.reward)?.script_pubkey;
    let work = newest.work()?;
    let paid = work.locks().into_iter().filter(|(_, known)| **known == *lock);
    // A lock that the newest contract does not count was paid before it at the latest.
    let last = paid.map(|(heights, _)| *heights.end()).max();
    let last = last.unwrap_or(newest.calendar().begin().saturating_sub(1));
    Ok(last.saturating_add(COINBASE_MATURITY).saturating_add(SWEEPS))
}

fn signer(miner: &Miner<'_>, network: Network) -> Result<SoftwareSigner> {
    SoftwareSigner::new(miner.seed.record(network, miner.record)?, network)
}

#[cfg(all(test, feature = "regtest"))]
mod tests {
    use super::*;
    use crate::flow::escrow::terms::Tenure;
    use crate::id::PositionId;
    use crate::rehearsal::people::{self, Payouts};
    use crate::script::template::Variant;
    use crate::work::agreement::Earlier;

    const START: u32 = 120;

    fn terms() -> EscrowTerms {
        let address = |seat| people::signer(seat, Network::Regtest).unwrap().address();
        let payouts = Payouts {
            miner: address(Seat::Miner),
            holder: address(Seat::Holder),
            federation: address(Seat::Validator(0)),
        };
        people::terms(Variant::Musig, START, &payouts).unwrap()
    }

    /// The contract after, which has another lock.
    fn newest(old: &EscrowTerms, first: u32, earlier: Vec<Earlier>) -> EscrowTerms {
        let mut newest = old.clone();
        newest.reward.variant = Variant::Nums;
        let position = PositionId([3; 32]);
        newest.tenure = Some(Tenure { position, transfer: 2, first, earlier });
        newest
    }

    #[test]
    fn a_seat_is_kept_until_the_last_reward_of_its_lock_had_a_day_to_be_swept() {
        let old = terms();
        let period = old.calendar().period;
        let lock = reward::coins::lock(&old.reward).unwrap().script_pubkey;
        let switch = newest(&old, 1, vec![Earlier { until: 3, lock }]);
        let last = START + 3 * period - 1;
        assert_eq!(swept_by(&old, &switch).unwrap(), last + 100 + 144);
        // Where the switch is the resale's own period, nothing behind it counts.
        let at_once = newest(&old, 1, Vec::new());
        assert_eq!(swept_by(&old, &at_once).unwrap(), START + period - 1 + 100 + 144);
    }

    #[test]
    fn a_seat_is_kept_until_proofs_of_digests_are_over_too_and_the_ending_is_deep() {
        let mut old = terms();
        let newest = newest(&old, 1, Vec::new());
        let swept = swept_by(&old, &newest).unwrap();
        let none = core::iter::empty;
        assert_eq!(over_from(&old, &newest, 140, none()).unwrap(), swept);
        let ended = swept + 10;
        let deep = ended + old.delays.state_depth - 1;
        assert_eq!(over_from(&old, &newest, ended, none()).unwrap(), deep);
        old.delivery.proof_span = 1_000;
        let proofs = old.calendar().proofs_until(0).unwrap();
        assert!(proofs > old.calendar().receipts_until(0).unwrap());
        assert_eq!(over_from(&old, &newest, 140, [0].into_iter()).unwrap(), proofs + 1);
    }
}
