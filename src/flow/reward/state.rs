//! Words about work and rewards, and what each seat does next.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::OutPoint;
use bitcoin::secp256k1::schnorr;
use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::error::{Culprit, Error, Result, Rule};
use crate::facts::{Coin, Facts};
use crate::flow::escrow::coins::{Ending, Locked};
use crate::flow::escrow::outcome::{close_request, proofs, yardstick};
use crate::flow::escrow::terms::{EscrowTerms, FEES};
use crate::flow::reward::coins;
use crate::flow::reward::txs::{SWEEPABLE, SweepPath, sweep};
use crate::flow::{Asked, Effect, Task, check_passed_on, check_receipt, check_speaker, far_apart};
use crate::id::{PositionId, WordId, tagged_hash};
use crate::party::Seat;
use crate::tx::draft::Draft;
use crate::tx::signed::Signed;
use crate::work::certificate::Certificate;
use crate::work::evidence::{Evidence, SealedCertificate};
use crate::work::receipt::{Receipt, Subject, sealed_height};
use crate::work::share::PARENT;
use crate::work::verdict::{by_proof, by_receipts};

/// A signature answers a request that was made.
pub const ASKED: Rule = Rule::new(
    "reward-asked",
    "signatures of a sweep answer a request for it",
    "send the request first",
);

/// A side asks once.
pub const AGAIN: Rule = Rule::new(
    "reward-again",
    "who asks again for a sweep of the same rewards offers at least twice the fee rate",
    "wait for the sweep that you have asked for, or offer more",
);

/// What the contract before has proven is carried over, as far as this one pays for it.
pub const CARRIED: Rule = Rule::new(
    "reward-carried",
    "a contract with a tenure takes over 1 to 64 receipts at a time, for certificates of slices that it pays for, and then those certificates",
    "carry over the receipts first, in parts of 64, and leave out what the contract does not pay for",
);

/// Work is proven for the contract's own position.
pub const POSITION: Rule = Rule::new(
    "reward-position",
    "certificates and receipts name the contract's position",
    "make a certificate for this contract",
);

/// Receipts that one word carries over.
pub const MOST_CARRIED: usize = 64;

/// A request to sweep rewards to the holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepAsk {
    /// The way through the lock.
    pub path: SweepPath,
    /// Which rewards.
    pub rewards: Vec<OutPoint>,
    /// Fee rate, sat/vB.
    pub sat_per_vb: u64,
}

impl SweepAsk {
    /// Names the request by content.
    pub fn id(&self) -> Result<WordId> {
        Ok(WordId(tagged_hash("hashmix/sweep/1", &[&canonical::bytes(self)?])))
    }

    fn is_history(&self, facts: &Facts) -> bool {
        self.rewards.iter().any(|reward| facts.is_history(*reward))
    }
}

/// Words of the reward flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// The miner seals a slice; or anybody shows again what was sealed under the contract before.
    Certified(Certificate),
    /// A validator has seen it in time.
    Receipted(Receipt),
    /// Somebody shows receipts that validators gave under the contract before.
    Carried {
        /// Up to 64, each of its validator.
        receipts: Vec<Receipt>,
    },
    /// The miner asks that the next settlement closes the contract.
    CloseAsked,
    /// Miner or holder asks for a sweep.
    SweepAsked(SweepAsk),
    /// A seat's signatures of a sweep, in input order.
    SweepSigned {
        /// The request.
        ask: WordId,
        /// One for each input.
        signatures: Vec<schnorr::Signature>,
    },
}

/// What has been said.
#[derive(Clone, Debug)]
pub struct State {
    evidence: Evidence,
    sweeps: BTreeMap<WordId, Sweep>,
    close_asked: bool,
}

#[derive(Clone, Debug)]
struct Sweep {
    by: BTreeSet<Seat>,
    ask: SweepAsk,
    signatures: BTreeMap<Seat, Vec<schnorr::Signature>>,
}

impl State {
    /// Nothing was said yet about the position of these terms. What will be said is verified against
    /// them once.
    pub fn new(terms: &EscrowTerms) -> Result<Self> {
        let evidence = Evidence::remembering(terms.position()?, yardstick(terms)?);
        Ok(Self { evidence, sweeps: BTreeMap::new(), close_asked: false })
    }

    /// Certificates and receipts, for verdicts.
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// The request for a sweep with this digest, and who has made it.
    pub fn sweep(&self, id: &WordId) -> Option<(&SweepAsk, &BTreeSet<Seat>)> {
        self.sweeps.get(id).map(|sweep| (&sweep.ask, &sweep.by))
    }

    /// Takes a word that was admitted.
    pub fn apply(&mut self, from: Seat, event: &Event) -> Result<()> {
        match event {
            Event::Certified(certificate) => self.evidence.add(certificate.clone()),
            Event::Receipted(receipt) => self.evidence.add_receipt(receipt.clone()),
            Event::Carried { receipts } => {
                receipts.iter().for_each(|receipt| self.evidence.add_receipt(receipt.clone()));
            }
            Event::CloseAsked => self.close_asked = true,
            Event::SweepAsked(ask) => {
                let sweep = self.sweeps.entry(ask.id()?).or_insert_with(|| Sweep {
                    by: BTreeSet::new(),
                    ask: ask.clone(),
                    signatures: BTreeMap::new(),
                });
                sweep.by.insert(from);
            }
            Event::SweepSigned { ask, signatures } => {
                if let Some(sweep) = self.sweeps.get_mut(ask) {
                    sweep.signatures.entry(from).or_insert_with(|| signatures.clone());
                }
            }
        }
        Ok(())
    }

    /// Refuses a word that the terms, the chain or its speaker's seat do not allow.
    pub fn admit(
        &self,
        terms: &EscrowTerms,
        facts: &Facts,
        from: Seat,
        event: &Event,
    ) -> Result<()> {
        let party = matches!(from, Seat::Miner | Seat::Holder);
        match event {
            Event::Certified(certificate) => {
                self.check_sealer(terms, facts, from, certificate)?;
                self.check_position(certificate.position, from)?;
                let work = terms.work()?;
                let until = terms.calendar().receipts_until(certificate.slice);
                if until.is_some_and(|height| facts.tip() > height) {
                    // Too late for receipts: it counts by those it has, and the verdict weighs each
                    // share, also where a reorg has taken the parent of one.
                    return certificate.check_list(&work);
                }
                let checked = certificate.check(&work, &facts.headers);
                checked.map(|_| ()).map_err(parent_may_come)
            }
            Event::Receipted(receipt) => {
                let (position, what) = (self.evidence.position(), "a certificate or request");
                let asked = Asked { rule: POSITION, position, what, fits: true };
                check_receipt(terms, from, receipt, asked)
            }
            Event::Carried { receipts } => self.check_carried(terms, from, receipts),
            Event::CloseAsked => {
                check_speaker(from, from == Seat::Miner, "request to close", "the miner")
            }
            Event::SweepAsked(ask) => {
                let fits = match ask.path {
                    SweepPath::MinerRuling => from == Seat::Miner,
                    SweepPath::HolderRuling => from == Seat::Holder,
                    SweepPath::Agreed => party,
                    // One signer alone, or a MuSig2 session: nobody is asked for leaf signatures.
                    SweepPath::HolderExit | SweepPath::Key => false,
                };
                check_speaker(from, fits, "sweep request", "the side that the path names")?;
                if ask.is_history(facts) {
                    return Ok(());
                }
                self.check_again(terms, facts, from, ask)?;
                draft(terms, facts, ask).map(|_| ())
            }
            Event::SweepSigned { ask, signatures } => {
                let sweep = self.sweeps.get(ask).ok_or_else(|| {
                    ASKED.unavailable("sweep signatures", "a request known here", ask)
                })?;
                if sweep.ask.is_history(facts) {
                    return Ok(());
                }
                Signed::new(draft(terms, facts, &sweep.ask)?).add(from, signatures)
            }
        }
    }

    /// What there is to say here of what was proven under the contract before: receipts first, then
    /// what they seal, or what a block has the digest of. That needs no receipt: both contracts have the
    /// same miner, and whoever follows this one sees the transactions that pay him. Saying it makes it
    /// disappear from the next answer.
    pub fn to_carry(&self, terms: &EscrowTerms, facts: &Facts, before: &Evidence) -> Vec<Event> {
        if terms.tenure.is_none() || before.position() != self.evidence.position() {
            return Vec::new();
        }
        let slices = terms.calendar().paid_slices();
        let proofs = proofs(terms, facts);
        let said: BTreeSet<_> = self.evidence.digests().map(|(digest, _)| digest).collect();
        let (mut receipts, mut certificates) = (Vec::new(), Vec::new());
        for (digest, sealed) in before.digests() {
            let slice = sealed.certificate.slice;
            if !slices.contains(&slice) {
                continue;
            }
            let subject = Subject::Certificate { slice, digest };
            let known = self.evidence.receipts(&subject);
            let news: Vec<_> = sealed.receipts.iter().filter(|r| !known.contains(r)).collect();
            // Nothing is asked of signatures where there is nothing to say.
            if news.is_empty() && said.contains(&digest) {
                continue;
            }
            let seen = seen_in_time(terms, facts, &subject, &sealed.receipts);
            if !seen && !by_proof(&terms.calendar(), slice, proofs.get(&digest).copied()) {
                continue;
            }
            receipts.extend(news.into_iter().filter(|_| seen).cloned());
            if !said.contains(&digest) {
                certificates.push(Event::Certified(sealed.certificate.clone()));
            }
        }
        let carried = receipts.chunks(MOST_CARRIED);
        let carried = carried.map(|receipts| Event::Carried { receipts: receipts.to_vec() });
        carried.chain(certificates).collect()
    }

    /// What `seat` does now.
    pub fn next(&self, terms: &Locked, facts: &Facts, seat: Seat) -> Result<Vec<Effect>> {
        let mut effects = Vec::new();
        if let Seat::Validator(place) = seat {
            effects.extend(self.receipts_due(terms, facts, place)?);
        }
        for (id, sweep) in &self.sweeps {
            // A swept or reorganised reward makes the request history.
            let Ok(draft) = draft(terms, facts, &sweep.ask) else { continue };
            let concerned = sweep.ask.path.signed_by(seat);
            // The fee is the holder's: above the floor he signs what he asked for himself.
            let dear = sweep.ask.sat_per_vb > terms.fees.floor;
            if seat == Seat::Holder && dear && !sweep.by.contains(&Seat::Holder) {
                continue;
            }
            if concerned && !sweep.signatures.contains_key(&seat) {
                effects.push(Effect::Sign { draft: draft.into(), task: Task::Sweep(*id) });
                continue;
            }
            if !sweep.by.contains(&seat) {
                continue;
            }
            let mut signed = Signed::new(draft);
            for (signer, signatures) in &sweep.signatures {
                // One that came as history and was made present by a reorg was never checked.
                let _ = signed.add(*signer, signatures);
            }
            if let Ok(last) = signed.finish() {
                effects.push(Effect::broadcast(last));
            }
        }
        Ok(effects)
    }

    /// Each request costs every validator an entry in his journal and a signature for each reward: a
    /// side asks once for a reward, and again only where its first offer turns out too low.
    fn check_again(
        &self,
        terms: &EscrowTerms,
        facts: &Facts,
        from: Seat,
        ask: &SweepAsk,
    ) -> Result<()> {
        for known in self.sweeps.values() {
            let close = !far_apart(known.ask.sat_per_vb, ask.sat_per_vb);
            let same = known.ask != *ask && known.ask.path == ask.path && known.by.contains(&from);
            let shared = known.ask.rewards.iter().find(|reward| ask.rewards.contains(reward));
            let Some(shared) = shared.filter(|_| same && close) else { continue };
            // A request that a sweep or a reorg has made void binds nobody.
            if draft(terms, facts, &known.ask).is_ok() {
                return Err(AGAIN.refuses(
                    from.into(),
                    format_args!("sweep request, reward {shared}"),
                    format_args!("{} sat/vB or more", known.ask.sat_per_vb.saturating_mul(2)),
                    ask.sat_per_vb,
                ));
            }
        }
        Ok(())
    }

    /// Only the miner seals: what is proven of his work is his to show. But what k validators have seen,
    /// or a block holds, is sealed already; under a later contract of the position anybody may show it
    /// again, or a miner who is silent could make what he has delivered look like nothing, and have the
    /// contract closed that he regrets.
    fn check_sealer(
        &self,
        terms: &EscrowTerms,
        facts: &Facts,
        from: Seat,
        certificate: &Certificate,
    ) -> Result<()> {
        if from == Seat::Miner || terms.tenure.is_none() {
            return check_speaker(from, from == Seat::Miner, "certificate", "the miner");
        }
        let (slice, digest) = (certificate.slice, certificate.digest());
        let subject = Subject::Certificate { slice, digest };
        let receipts = self.evidence.receipts(&subject);
        let proven = proofs(terms, facts).get(&digest).copied();
        if seen_in_time(terms, facts, &subject, receipts)
            || by_proof(&terms.calendar(), slice, proven)
        {
            return Ok(());
        }
        let k = terms.reward.federation.threshold;
        let until = terms.calendar().receipts_until(slice);
        let until = until.map_or("none".to_owned(), |height| height.to_string());
        Err(CARRIED.unavailable(
            format_args!("certificate of slice {} from the {from}", slice.saturating_add(1)),
            format_args!("receipts of {k} validators first, with tips up to height {until}"),
            format_args!("{} receipts", receipts.len()),
        ))
    }

    /// Receipts prove themselves, so it is of no matter who carries them; what they could not do under
    /// the contract before they do not do here.
    fn check_carried(&self, terms: &EscrowTerms, from: Seat, receipts: &[Receipt]) -> Result<()> {
        let refuse = |expected: &str, found: &dyn core::fmt::Display| {
            Err(CARRIED.refuses(from.into(), "carried receipts", expected, found))
        };
        if terms.tenure.is_none() {
            return refuse("a contract with a tenure", &"one that is the position");
        }
        if !(1..=MOST_CARRIED).contains(&receipts.len()) {
            return refuse("1 to 64 receipts", &receipts.len());
        }
        let slices = terms.calendar().paid_slices();
        for receipt in receipts {
            let ours = |slice: &u32| slices.contains(slice);
            let fits =
                matches!(&receipt.subject, Subject::Certificate { slice, .. } if ours(slice));
            let position = self.evidence.position();
            let what = "a certificate of a slice that the contract pays for,";
            check_passed_on(terms, from, receipt, Asked { rule: CARRIED, position, what, fits })?;
        }
        let known = |receipt: &Receipt| {
            self.evidence.receipts(&receipt.subject).iter().any(|known| known == receipt)
        };
        // Each word is kept for ever by everybody: one that says nothing new is not taken.
        if receipts.iter().all(known) {
            return refuse("at least one that is not known yet", &"none");
        }
        Ok(())
    }

    fn check_position(&self, found: PositionId, from: Seat) -> Result<()> {
        if found == self.evidence.position() {
            return Ok(());
        }
        Err(POSITION.refuses(from.into(), "position", self.evidence.position(), found))
    }

    fn receipts_due(&self, terms: &Locked, facts: &Facts, place: u8) -> Result<Vec<Effect>> {
        let mut effects = Vec::new();
        let calendar = terms.calendar();
        let ended = ended(terms, facts)?;
        let request = close_request(terms)?;
        let given =
            |subject: &Subject, receipt: &Receipt| receipt.is_given(place, subject, &facts.headers);
        let asked = self.evidence.receipts(&request);
        if self.close_asked
            && ended.is_none()
            && !asked.iter().any(|receipt| given(&request, receipt))
        {
            effects.push(Effect::Receipt(request));
        }
        // What a close ends is over; what a resale ends goes on under the next contract, where receipts of
        // this one are good. The miner need not know that one before its lock is due.
        if ended.is_some_and(|ending| !ending.resold) {
            return Ok(effects);
        }
        for (digest, SealedCertificate { certificate, receipts }) in self.evidence.digests() {
            let slice = certificate.slice;
            let subject = Subject::Certificate { slice, digest };
            let Some(blocks) = calendar.slice_blocks(slice) else { continue };
            let open = calendar.receipts_until(slice).is_some_and(|h| facts.tip() <= h);
            let mined = facts.tip() >= *blocks.end();
            if !open || !mined || receipts.iter().any(|receipt| given(&subject, receipt)) {
                continue;
            }
            if certificate.check(&terms.work()?, &facts.headers).is_ok() {
                effects.push(Effect::Receipt(subject));
            }
        }
        Ok(effects)
    }
}

/// Whether k validators had seen a certificate in time, as the verdict will ask.
fn seen_in_time(
    terms: &EscrowTerms,
    facts: &Facts,
    subject: &Subject,
    receipts: &[Receipt],
) -> bool {
    let (Subject::Certificate { slice, .. }, Ok(position)) = (subject, terms.position()) else {
        return false;
    };
    let federation = &terms.reward.federation;
    let (keys, k) = (federation.ruling_keys(), usize::from(federation.threshold));
    let sealed = sealed_height(position, subject, receipts, &keys, k, &facts.headers);
    by_receipts(&terms.calendar(), *slice, sealed)
}

/// How the escrow has ended, if that lies as deep as what states are signed on.
fn ended(terms: &Locked, facts: &Facts) -> Result<Option<Ending>> {
    let ending = terms.ending(facts)?;
    let depth = |ending: &Ending| facts.tip().saturating_add(1).saturating_sub(ending.height);
    Ok(ending.filter(|ending| depth(ending) >= terms.delays.state_depth))
}

/// Our server may lag behind the miner's, or be on another branch for a while: a share whose parent
/// is not in our chain makes the certificate wait, and only another fault refuses it.
fn parent_may_come(error: Error) -> Error {
    match error {
        Error::Refused { fault, .. } if fault.rule == PARENT => Error::Unavailable(fault),
        other => other,
    }
}

/// The rewards that could be swept in the next block, oldest first.
pub fn sweepable(terms: &EscrowTerms, facts: &Facts) -> Result<Vec<Coin>> {
    let lock = coins::lock(&terms.reward)?;
    let mut rewards = facts.coins(&lock.script_pubkey);
    rewards.retain(|c| {
        c.coinbase && c.height.is_some() && c.spender.is_none() && c.is_mature(facts.tip())
    });
    Ok(rewards)
}

/// The sweep of a request, rebuilt from the terms and our own view of the chain.
///
/// Where the holder is gone, the miner asks at the fee floor: it is not his money that the fee takes.
pub fn draft(terms: &EscrowTerms, facts: &Facts, ask: &SweepAsk) -> Result<Draft> {
    terms.check_rate(ask.sat_per_vb, Culprit::Sender)?;
    if ask.path == SweepPath::MinerRuling && ask.sat_per_vb > terms.fees.floor {
        return Err(FEES.refuses(
            Culprit::Miner,
            "sweep request of the miner",
            format_args!("the floor of {} sat/vB", terms.fees.floor),
            ask.sat_per_vb,
        ));
    }
    let known = sweepable(terms, facts)?;
    let mut rewards = Vec::with_capacity(ask.rewards.len());
    for outpoint in &ask.rewards {
        let coin = known.iter().find(|coin| coin.outpoint == *outpoint).ok_or_else(|| {
            let expected = "a mature unspent reward";
            // Immature here, or not seen yet: our server may lag behind.
            if facts.transactions.contains_key(&outpoint.txid) && facts.spender(*outpoint).is_some()
            {
                SWEEPABLE.refuses(Culprit::Sender, "sweep request", expected, outpoint)
            } else {
                SWEEPABLE.unavailable("sweep request", expected, outpoint)
            }
        })?;
        rewards.push(coin.clone());
    }
    sweep(&terms.reward, ask.path, &rewards, ask.sat_per_vb)
}
