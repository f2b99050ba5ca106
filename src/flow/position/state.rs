//! What was said about a position before its issue, and what each seat does next.

mod fundings;
mod turn;

use fundings::MOST_FUNDINGS;
pub use fundings::{JUDGED, Paid, TOGETHER};
pub use turn::Turn;

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::secp256k1::schnorr;
use bitcoin::{OutPoint, ScriptBuf, TxIn};

use crate::error::{Culprit, Error, Result, Rule};
use crate::facts::Facts;
use crate::flow::check_speaker;
use crate::flow::position::coins;
use crate::flow::position::enrolment::{REGISTERED, check_proof, check_registration};
use crate::flow::position::proof::{self, Stage};
use crate::flow::position::terms::PositionTerms;
use crate::flow::position::txs::{Funding, PARENT_INPUT};
pub use crate::flow::position::word::Event;
use crate::headers::Headers;
use crate::id::CertificateDigest;
use crate::party::Seat;
use crate::tx::draft::Draft;
use crate::tx::signed::{Final, Signed};
use crate::work::certificate::Certificate;
use crate::work::receipt::{Receipt, Subject, sealed_height};
use crate::work::share::PARENT;

/// Each word has its turn.
pub const ORDER: Rule = Rule::new(
    "position-order",
    "a position is enrolled, registered, asked for, onboarded, granted, bound, funded and issued, in this order",
    "see `hashmix position status` for whose turn it is",
);
/// What was said stays.
pub const AGAIN: Rule = Rule::new(
    "position-again",
    "one output pays for an issue, and another one only for want of the first; a stage has at most 8 certificates, and a certificate at most 8 receipts of each validator",
    "keep to what was said first; or begin anew with other terms",
);
/// Everybody computes the lock.
pub const LOCK: Rule = Rule::new(
    "position-lock",
    "the lock that validators grant is the reward lock of the terms",
    "compare the terms with his",
);
/// The slices come one after the other, and before the term.
pub const EARLY: Rule = Rule::new(
    "position-issue-early",
    "validators sign an issue before its term begins",
    "begin anew with a term that lies ahead",
);
/// The money for the issue is there.
pub const FUNDING: Rule = Rule::new(
    "position-issue-funding",
    "an issue spends a confirmed, unspent output of the issuer's script, out of a transaction that also pays the miner's registered address and is no issue itself",
    "fund the issuer's script with `hashmix position fund`, and wait for a block",
);
/// Nothing is issued twice.
pub const ONCE: Rule = Rule::new(
    "position-issue-once",
    "a position is issued once",
    "make fresh records and new terms for another position",
);

/// Most certificates of a stage: more than one only where a reorg takes shares away.
const MOST_CERTIFICATES: usize = 8;
/// Most receipts of a validator for a certificate: more than one only where a reorg takes his tip.
const MOST_RECEIPTS: usize = 8;
/// Blocks before the first one that median times look back, and one more.
const LOOK_BACK: u32 = 12;

/// What has been said.
#[derive(Clone, Debug, Default)]
pub struct State {
    enrolled: bool,
    registered: BTreeSet<u8>,
    asked: bool,
    work: BTreeMap<Stage, Work>,
    granted: BTreeSet<u8>,
    /// The last pays for the issue that may be signed; those before it are dead.
    funded: Vec<Paid>,
    /// A validator's signatures, of one issue after the other.
    signed: BTreeMap<u8, Vec<Vec<schnorr::Signature>>>,
}

/// Certificates of a stage, and receipts for them.
#[derive(Clone, Debug, Default)]
struct Work {
    certificates: BTreeMap<CertificateDigest, Certificate>,
    receipts: Vec<Receipt>,
}

/// What a seat does now. Each disappears from the next answer when its word is said.
#[derive(Debug)]
pub enum Effect {
    /// Register the miner, after looking into one's own memory.
    Register,
    /// Receipt the certificate of a stage, naming the present tip.
    Receipt(Stage, Subject),
    /// Grant the lock, after looking into one's own memory.
    Grant(ScriptBuf),
    /// Sign the issue, after looking into one's own memory.
    Sign(Draft),
    /// Broadcast the issue.
    Broadcast(Final),
}

impl State {
    /// Takes a word that was admitted.
    pub fn apply(&mut self, from: Seat, event: &Event) {
        let validator = match from {
            Seat::Validator(place) => Some(place),
            _ => None,
        };
        match event {
            Event::Enrolled { .. } => self.enrolled = true,
            Event::Registered { .. } => self.registered.extend(validator),
            Event::Asked => self.asked = true,
            Event::Onboarded(certificate) => self.prove(Stage::Onboarding, certificate),
            Event::Bound(certificate) => self.prove(Stage::Binding, certificate),
            Event::Receipted(receipt) => {
                let known = self.work.values_mut().find(|work| work.knows(&receipt.subject));
                if let Some(work) = known {
                    work.receipts.push(receipt.clone());
                }
            }
            Event::Granted { .. } => self.granted.extend(validator),
            Event::Funded { funding, batch } => {
                if self.funded.is_empty() {
                    let (funding, batch) = (*funding, batch.clone());
                    self.funded.push(Paid { funding, batch, instead: None });
                }
            }
            Event::FundedAgain { instead, funding, batch } => {
                let (funding, batch) = (*funding, batch.clone());
                self.funded.push(Paid { funding, batch, instead: Some(instead.clone()) });
            }
            Event::IssueSigned { signatures } => {
                if let Some(place) = validator {
                    let given = self.signed.entry(place).or_default();
                    if given.len() < MOST_FUNDINGS && !given.contains(signatures) {
                        given.push(signatures.clone());
                    }
                }
            }
        }
    }

    fn prove(&mut self, stage: Stage, certificate: &Certificate) {
        let work = self.work.entry(stage).or_default();
        work.certificates.insert(certificate.digest(), certificate.clone());
    }

    /// Refuses a word that the terms, the chain, its speaker's seat or its turn do not allow.
    pub fn admit(
        &self,
        terms: &PositionTerms,
        facts: &Facts,
        from: Seat,
        event: &Event,
    ) -> Result<()> {
        let miners = |word: &str| check_speaker(from, from == Seat::Miner, word, "the miner");
        match event {
            Event::Enrolled { proof } => {
                miners("enrolment")?;
                check_proof(&terms.reward.miner, proof)
            }
            Event::Registered { record, script, signature } => {
                let place = validator(from, "registration")?;
                turn(from, event, self.enrolled, "the miner's enrolment")?;
                let (id, payout) = (terms.reward.miner.id()?, terms.reward.miner.payout_script());
                if (*record, script) != (id, &payout) {
                    let expected = format_args!("record {id} and script {payout:x}").to_string();
                    let found = format_args!("record {record} and script {script:x}").to_string();
                    return Err(REGISTERED.refuses(from.into(), "registration", expected, found));
                }
                check_registration(terms, place, signature)
            }
            Event::Asked => {
                miners("request for an issue")?;
                let all = terms.reward.federation.validators.len();
                turn(from, event, self.registered.len() == all, "every validator's registration")
            }
            Event::Onboarded(certificate) => {
                miners("certificate of the onboarding")?;
                turn(from, event, self.asked, "the request for an issue")?;
                self.admit_work(terms, Stage::Onboarding, certificate, &facts.headers)
            }
            Event::Bound(certificate) => {
                miners("certificate of the binding")?;
                let granted = self.granted.len() >= k(terms);
                turn(from, event, granted, "the lock, granted by enough validators")?;
                self.admit_work(terms, Stage::Binding, certificate, &facts.headers)
            }
            Event::Receipted(receipt) => self.admit_receipt(terms, from, event, receipt),
            Event::Granted { lock } => {
                validator(from, "lock")?;
                let sealed = self.sealed(terms, Stage::Onboarding, &facts.headers)?.is_some();
                turn(from, event, sealed, "an onboarding with enough receipts")?;
                let ours = Stage::Binding.script(terms)?;
                match *lock == ours {
                    true => Ok(()),
                    false => Err(LOCK.refuses(
                        from.into(),
                        "granted lock",
                        format_args!("{ours:x}"),
                        format_args!("{lock:x}"),
                    )),
                }
            }
            Event::Funded { funding, batch } => {
                self.turn_of_funding(terms, facts, from, event)?;
                let (funding, batch) = (*funding, batch.clone());
                self.admit_funding(terms, facts, &Paid { funding, batch, instead: None })
            }
            Event::FundedAgain { instead, funding, batch } => {
                self.turn_of_funding(terms, facts, from, event)?;
                let (funding, batch, instead) = (*funding, batch.clone(), Some(instead.clone()));
                self.admit_funding(terms, facts, &Paid { funding, batch, instead })
            }
            Event::IssueSigned { signatures } => {
                validator(from, "signature of the issue")?;
                turn(from, event, !self.funded.is_empty(), "the miner's funding")?;
                self.admit_signatures(terms, from, signatures)
            }
        }
    }

    fn admit_work(
        &self,
        terms: &PositionTerms,
        stage: Stage,
        certificate: &Certificate,
        headers: &Headers,
    ) -> Result<()> {
        let known = self.work.get(&stage).map_or(0, |work| work.certificates.len());
        if known >= MOST_CERTIFICATES {
            let (by, place) = (Culprit::Miner, format_args!("{stage}").to_string());
            return Err(AGAIN.refuses(by, place, "at most 8 certificates", "another one"));
        }
        proof::check(terms, stage, certificate, headers).map_err(|error| match error {
            // Our server may be behind the miner's, or on another branch for a while.
            Error::Refused { fault, .. } if fault.rule == PARENT => Error::Unavailable(fault),
            other => other,
        })
    }

    fn admit_receipt(
        &self,
        terms: &PositionTerms,
        from: Seat,
        event: &Event,
        receipt: &Receipt,
    ) -> Result<()> {
        let his = from == Seat::Validator(receipt.validator);
        check_speaker(from, his, "receipt", "the validator who signed it")?;
        let known = self.work.iter().find(|(_, work)| work.knows(&receipt.subject));
        turn(from, event, known.is_some(), "the certificate that it is for")?;
        let position = match known {
            Some((stage, _)) => stage.position(terms)?,
            None => receipt.position,
        };
        if receipt.position != position {
            let place = "receipt's position";
            return Err(proof::CERTIFICATE.refuses(from.into(), place, position, receipt.position));
        }
        let given = known.map_or(0, |(_, work)| work.given(receipt.validator, receipt.subject));
        if given >= MOST_RECEIPTS {
            let (place, expected) = ("receipts of a certificate", "at most 8 of a validator");
            return Err(AGAIN.refuses(from.into(), place, expected, "another one"));
        }
        receipt.check(&terms.reward.federation.ruling_keys())
    }

    fn turn_of_funding(
        &self,
        terms: &PositionTerms,
        facts: &Facts,
        from: Seat,
        event: &Event,
    ) -> Result<()> {
        check_speaker(from, from == Seat::Miner, "funding of the issue", "the miner")?;
        let sealed = self.sealed(terms, Stage::Binding, &facts.headers)?.is_some();
        turn(from, event, sealed, "a binding with enough receipts")
    }

    /// The certificate of a stage that k validators have seen in time.
    pub fn sealed(
        &self,
        terms: &PositionTerms,
        stage: Stage,
        headers: &Headers,
    ) -> Result<Option<&Certificate>> {
        let Some(work) = self.work.get(&stage) else { return Ok(None) };
        let keys = terms.reward.federation.ruling_keys();
        let (position, until) = (stage.position(terms)?, stage.receipts_until(terms));
        let timely = |digest: CertificateDigest| {
            let (subject, receipts) = (subject(digest), &work.receipts);
            let height = sealed_height(position, &subject, receipts, &keys, k(terms), headers);
            height.is_some_and(|height| height <= until)
        };
        Ok(work.certificates.iter().find(|(digest, _)| timely(**digest)).map(|(_, known)| known))
    }

    /// Whether both stages are sealed, and what they prove still stands on this chain: what a
    /// validator remembers of each position of a batch before he signs for any.
    pub fn proven(&self, terms: &PositionTerms, headers: &Headers) -> Result<bool> {
        for stage in Stage::BOTH {
            match self.sealed(terms, stage, headers)? {
                Some(certificate) => proof::stands(terms, stage, certificate, headers)?,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// What a validator asks of the chain before he signs the issue: the work stands, the term lies
    /// ahead, the funding is there and the miner's own, and no position of it was issued before.
    pub fn issue(&self, terms: &PositionTerms, facts: &Facts) -> Result<Draft> {
        let draft = self.draft(terms)?;
        let proven = self.proven(terms, &facts.headers)?;
        turn(Seat::Miner, &Event::Asked, proven, "an onboarding and a binding with receipts")?;
        let (start, tip) = (terms.delivery.start, facts.tip());
        if tip >= start {
            let expected = format_args!("a tip below height {start}").to_string();
            return Err(EARLY.refuses(Culprit::Miner, "issue", expected, tip));
        }
        for one in self.batch(terms) {
            let seal = coins::issued_seal(one)?.script_pubkey;
            // Anybody can pay that script; what issues spends the issuer's.
            let paid = facts.coins(&seal);
            if let Some(other) = paid.iter().find(|coin| from_issuer(terms, facts, coin.outpoint)) {
                let place = format_args!("position {}", one.id()?).to_string();
                return Err(ONCE.refuses(Culprit::Miner, place, "no issue yet", other.outpoint));
            }
        }
        self.check_dead(terms, facts)?;
        self.check_funding(terms, facts, &draft)?;
        Ok(draft)
    }

    fn check_funding(&self, terms: &PositionTerms, facts: &Facts, draft: &Draft) -> Result<()> {
        let payers = self.batch(terms).iter().map(|one| one.reward.miner.payout_script());
        let payers: Vec<ScriptBuf> = payers.collect();
        for (input, spend) in draft.spends().iter().enumerate() {
            let outpoint = spend.outpoint;
            let place = format_args!("funding {outpoint}").to_string();
            let coin = facts
                .coins(&spend.prevout.script_pubkey)
                .into_iter()
                .find(|coin| coin.outpoint == outpoint);
            let Some(coin) = coin.filter(|coin| coin.height.is_some()) else {
                return Err(FUNDING.unavailable(place, "an output in a block", "none"));
            };
            if let Some(spender) = coin.spender {
                let found = format_args!("one that {spender} spends").to_string();
                return Err(FUNDING.refuses(Culprit::Miner, place, "an unspent output", found));
            }
            if coin.txout != spend.prevout {
                let (expected, found) = (spend.prevout.value, coin.txout.value);
                return Err(FUNDING.refuses(Culprit::Miner, place, expected, found));
            }
            let paid = facts.transactions.get(&outpoint.txid).is_some_and(|seen| {
                seen.tx.output.iter().any(|out| payers.contains(&out.script_pubkey))
            });
            // The parent of an inscription is the federation's own, and goes back to it. What comes out
            // of an issue is no miner's money, though it may pay an address of his.
            if input != PARENT_INPUT && (!paid || from_issuer(terms, facts, outpoint)) {
                let expected = "a payment to the miner's registered address beside it";
                return Err(FUNDING.refuses(Culprit::Miner, place, expected, "none"));
            }
        }
        Ok(())
    }

    /// What `seat` does now.
    pub fn next(&self, terms: &PositionTerms, facts: &Facts, seat: Seat) -> Result<Vec<Effect>> {
        let mut effects = Vec::new();
        let issued = self.issued(terms, facts)?.is_some();
        let signed = self.signatures(terms)?;
        if let Seat::Validator(place) = seat {
            if self.enrolled && !self.registered.contains(&place) {
                effects.push(Effect::Register);
            }
            for stage in Stage::BOTH {
                effects.extend(self.receipts_due(terms, facts, stage, place));
            }
            let onboarded = self.sealed(terms, Stage::Onboarding, &facts.headers)?.is_some();
            if onboarded && !self.granted.contains(&place) {
                effects.push(Effect::Grant(Stage::Binding.script(terms)?));
            }
            if !self.funded.is_empty() && !signed.contains_key(&place) && !issued {
                effects.push(Effect::Sign(self.draft(terms)?));
            }
        }
        if signed.len() >= k(terms) && !issued {
            let mut all = Signed::new(self.draft(terms)?);
            for (place, signatures) in signed.iter().take(k(terms)) {
                all.add(Seat::Validator(*place), signatures)?;
            }
            effects.push(Effect::Broadcast(all.finish()?));
        }
        Ok(effects)
    }

    fn receipts_due(
        &self,
        terms: &PositionTerms,
        facts: &Facts,
        stage: Stage,
        place: u8,
    ) -> Vec<Effect> {
        let open = (stage.last(terms)..=stage.receipts_until(terms)).contains(&facts.tip());
        let Some(work) = self.work.get(&stage).filter(|_| open) else { return Vec::new() };
        let due = work.certificates.iter().filter(|(digest, certificate)| {
            let subject = subject(**digest);
            let mut receipts = work.receipts.iter();
            let given = receipts.any(|receipt| receipt.is_given(place, &subject, &facts.headers));
            let full = work.given(place, subject) >= MOST_RECEIPTS;
            !given && !full && proof::stands(terms, stage, certificate, &facts.headers).is_ok()
        });
        due.map(|(digest, _)| Effect::Receipt(stage, subject(*digest))).collect()
    }
}

impl Work {
    fn knows(&self, wanted: &Subject) -> bool {
        self.certificates.keys().any(|digest| subject(*digest) == *wanted)
    }

    /// Receipts of a validator for a certificate.
    fn given(&self, validator: u8, subject: Subject) -> usize {
        let his = |r: &&Receipt| r.validator == validator && r.subject == subject;
        self.receipts.iter().filter(his).count()
    }
}

/// The scripts whose histories tell all that is asked of the chain: the issuer's, the seals', and that
/// of an inscription.
pub fn watched(terms: &[PositionTerms], funding: Option<Funding>) -> Result<Vec<ScriptBuf>> {
    let mut scripts = Vec::new();
    let parent = funding.and_then(|funding| funding.inscription).map(|it| it.parent);
    for one in terms {
        let inscribing = parent.map(|parent| coins::inscribing_issuer(one, parent)).transpose()?;
        let locks = [Some(coins::issuer(one)?), inscribing].into_iter().flatten();
        let seal = coins::issued_seal(one)?.script_pubkey;
        for script in locks.map(|lock| lock.script_pubkey).chain([seal]) {
            if !scripts.contains(&script) {
                scripts.push(script);
            }
        }
    }
    Ok(scripts)
}

/// Whether the transaction of an output has spent the issuer's script: only k validators can.
fn from_issuer(terms: &PositionTerms, facts: &Facts, outpoint: OutPoint) -> bool {
    let Ok(issuer) = coins::issuer(terms) else { return false };
    let spends = |input: &TxIn| {
        let OutPoint { txid, vout } = input.previous_output;
        let made = facts.transactions.get(&txid);
        let place = usize::try_from(vout).unwrap_or(usize::MAX);
        let spent = made.and_then(|seen| seen.tx.output.get(place));
        spent.is_some_and(|out| out.script_pubkey == issuer.script_pubkey)
    };
    facts.transactions.get(&outpoint.txid).is_some_and(|seen| seen.tx.input.iter().any(spends))
}

/// First height whose header is needed: median times look back, and so do changes of difficulty.
pub fn headers_from(terms: &PositionTerms) -> u32 {
    let first = terms.onboarding.saturating_sub(LOOK_BACK);
    let params = terms.reward.network.params();
    if params.no_pow_retargeting {
        return first;
    }
    let span = crate::headers::difficulty::span(params);
    first.saturating_sub(first.checked_rem(span).unwrap_or(0))
}

fn together<'a>(terms: &'a PositionTerms, batch: &'a [PositionTerms]) -> &'a [PositionTerms] {
    if batch.is_empty() { core::slice::from_ref(terms) } else { batch }
}

fn k(terms: &PositionTerms) -> usize {
    terms.reward.federation.threshold.into()
}

/// A stage has one slice.
fn subject(digest: CertificateDigest) -> Subject {
    Subject::Certificate { slice: 0, digest }
}

fn validator(from: Seat, word: &str) -> Result<u8> {
    match from {
        Seat::Validator(place) => Ok(place),
        _ => check_speaker(from, false, word, "a validator").map(|()| 0),
    }
}

fn turn(from: Seat, event: &Event, reached: bool, before: &str) -> Result<()> {
    if reached {
        return Ok(());
    }
    let place = format_args!("word \"{}\"", event.kind()).to_string();
    Err(ORDER.refuses(from.into(), place, format_args!("{before} before it"), "none"))
}
