//! Joint settlements: two rounds of MuSig2 between miner and holder, carried in a PSBT.
//!
//! ```text
//!  miner: nonce ----------- PSBT ----------> holder: rebuild, compare, own nonce, partial signature
//!  miner: verify, own part, aggregate <----- PSBT
//! ```
//! The PSBT is a carrier: each side rebuilds the transaction from terms and evidence, refuses what
//! differs from its own, and reads nothing but nonces and partial signatures out of what the other
//! sent. What goes back is written anew.

use bitcoin::Psbt;
use bitcoin::secp256k1::schnorr;
use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::engine::{Engine, POSSIBLE, Report};
use crate::error::{Culprit, Error, Result, Rule};
use crate::facts::Facts;
use crate::flow::escrow::outcome::check_outcome;
use crate::flow::escrow::state::{Ask, Event as EscrowEvent, draft, last_ripe};
use crate::flow::{Event, escrow};
use crate::id::{TermsId, tagged_hash};
use crate::message;
use crate::musig::{SecretNonce, Session, psbt};
use crate::party::Seat;
use crate::script::lock::Path;
use crate::sign::software::SoftwareSigner;
use crate::tx::carrier::{self, round, round::Shown};
use crate::tx::draft::Draft;

/// A round's message can be read.
pub const ROUND: Rule = Rule::new(
    "joint-round",
    "a round is JSON with the fields of `hashmix round 1` and a PSBT",
    "begin a fresh round",
);

const ROUND_FORMAT: &str = "hashmix round 1";

/// Most rounds that are kept at a time.
const MOST: usize = 16;

/// Rounds begun and not finished. Secret nonces: in memory alone, used once.
#[derive(Default)]
pub struct Rounds(Vec<Begun>);

/// A round of ours: what was asked for, and a secret nonce for each input.
struct Begun {
    ask: Ask,
    secrets: Vec<SecretNonce>,
}

impl Begun {
    /// A round is known by our own nonces in it: an old one must not use up a fresh one's.
    fn is_shown(&self, ask: &Ask, shown: &[Shown]) -> bool {
        self.ask == *ask
            && self.secrets.len() == shown.len()
            && self
                .secrets
                .iter()
                .zip(shown)
                .all(|(secret, shown)| shown.nonces.contains(&(secret.owner(), secret.public())))
    }
}

impl Rounds {
    /// Begins a round: the carrier says who signs, and shows our nonces.
    pub fn begin(&mut self, signer: &SoftwareSigner, draft: &Draft, ask: Ask) -> Result<Psbt> {
        let mut carrier = round::carrier(draft)?;
        let mut secrets = Vec::new();
        for (number, input) in carrier.inputs.iter_mut().enumerate() {
            let context = round::context(draft, number)?;
            let (secret, public) = signer.begin(&context, draft.sighash(number)?)?;
            psbt::add_nonce(input, &context, &secret.owner(), &public)?;
            secrets.push(secret);
        }
        // Nobody answers the oldest any more: its secrets are not kept for ever.
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push(Begun { ask, secrets });
        Ok(carrier)
    }

    /// Finishes a round: with the other side's parts, each verified, the joint signatures of the
    /// draft, by input.
    ///
    /// Nothing is used up before everything is verified.
    pub fn finish(
        &mut self,
        signer: &SoftwareSigner,
        draft: &Draft,
        ask: &Ask,
        received: &Psbt,
        by: Culprit,
    ) -> Result<Vec<schnorr::Signature>> {
        let shown = round::read(draft, received, by)?;
        let place = self
            .0
            .iter()
            .position(|begun| begun.is_shown(ask, &shown))
            .ok_or_else(|| ROUND.refuses(by, "round", "one that we began", "none in memory"))?;
        let us = self.0.get(place).and_then(|begun| begun.secrets.first()).map(SecretNonce::owner);
        round::no_parts(draft, &shown, us.as_ref(), by)?;
        let mut sessions = Vec::new();
        for (number, shown) in shown.iter().enumerate() {
            let session = Session::new(&shown.context, &shown.nonces, draft.sighash(number)?)?;
            if shown.parts.is_empty() {
                return Err(ROUND.refuses(by, "round", "a partial signature", "none"));
            }
            for (participant, part) in &shown.parts {
                session.verify(participant, part)?;
            }
            sessions.push(session);
        }
        let begun = self.0.swap_remove(place);
        let mut signatures = Vec::new();
        for (session, (secret, shown)) in sessions.iter().zip(begun.secrets.into_iter().zip(shown))
        {
            let (owner, mut parts) = (secret.owner(), shown.parts);
            parts.push((owner, signer.sign_part(session, secret)?));
            signatures.push(session.aggregate(&parts)?);
        }
        Ok(signatures)
    }
}

/// Answers a round: the carrier with the other side's nonces, which were verified, with ours and,
/// since all are there, at once with our parts. It is written anew; these are of the draft and of
/// nothing that was received.
pub fn answer(
    signer: &SoftwareSigner,
    draft: &Draft,
    received: &Psbt,
    by: Culprit,
) -> Result<Psbt> {
    let shown = round::read(draft, received, by)?;
    round::no_parts(draft, &shown, None, by)?;
    let mut carrier = round::carrier(draft)?;
    for (number, (input, shown)) in carrier.inputs.iter_mut().zip(&shown).enumerate() {
        let (context, message) = (&shown.context, draft.sighash(number)?);
        for (participant, nonce) in &shown.nonces {
            psbt::add_nonce(input, context, participant, nonce)?;
        }
        let (secret, public) = signer.begin(context, message)?;
        let owner = secret.owner();
        psbt::add_nonce(input, context, &owner, &public)?;
        let session = Session::new(context, &psbt::nonces(input, context)?, message)?;
        let part = signer.sign_part(&session, secret)?;
        psbt::add_part(input, context, &owner, &part)?;
    }
    Ok(carrier)
}

fn unread(found: &dyn core::fmt::Display) -> Error {
    ROUND.refuses(Culprit::Sender, "round", "the fields of `hashmix round 1`", found)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Round {
    format: String,
    contract: TermsId,
    from: Seat,
    ask: Ask,
    psbt: String,
    /// By the sender's communication key: nobody breaks a rule in another's name.
    signature: schnorr::Signature,
}

/// What the sender of a round signs.
fn digest(contract: TermsId, from: Seat, ask: &Ask, psbt: &str) -> Result<[u8; 32]> {
    let said = canonical::bytes(&(contract, from, ask, psbt))?;
    Ok(tagged_hash("hashmix/round/1", &[&said]))
}

/// What was found in a signed round is its sender's doing.
fn blame(by: Culprit) -> impl Fn(Error) -> Error {
    move |error| match error {
        Error::Refused { by: Culprit::Sender, fault } => Error::Refused { by, fault },
        other => other,
    }
}

/// Whether a message is a round of a joint settlement.
pub(super) fn is_round(text: &str) -> bool {
    text.starts_with(&format!("{{\"format\":\"{ROUND_FORMAT}\""))
}

impl Engine {
    /// The miner begins a joint settlement through the last ripe period, at `sat_per_vb`.
    pub fn begin_joint_settlement(&mut self, sat_per_vb: u64) -> Result<()> {
        if self.seat != Seat::Miner {
            return Err(POSSIBLE.misused("joint settlement", "the miner, who is paid", self.seat));
        }
        let facts = self.facts()?;
        let terms = self.contract.locked();
        let period = last_ripe(terms, &facts)
            .ok_or_else(|| POSSIBLE.misused("joint settlement", "a ripe period", "none yet"))?;
        let outcome = escrow::outcome::outcome(terms, &facts, self.contract.evidence(), period)?;
        let outpoint = self.escrow_coin(&facts)?.outpoint;
        let ask = Ask { outpoint, outcome, sat_per_vb };
        let draft = draft(terms, &facts, &ask, Path::Key, Culprit::Miner)?;
        let carrier = self.rounds.begin(&self.signer, &draft, ask)?;
        self.post_round(Seat::Holder, ask, &carrier)
    }

    pub(super) fn read_round(
        &mut self,
        text: &str,
        facts: &Facts,
        reports: &mut Vec<Report>,
    ) -> Result<()> {
        let round: Round = serde_json::from_str(text).map_err(|error| unread(&error))?;
        if round.contract != self.contract.id() {
            return Err(unread(&format_args!("contract {}", round.contract)));
        }
        let by = Culprit::from(round.from);
        let terms = self.contract.locked();
        let seats = terms.reward.seats();
        let record = seats.record(round.from).ok_or_else(|| unread(&round.from))?;
        let signed = digest(round.contract, round.from, &round.ask, &round.psbt)?;
        message::verify_digest(by, record.record.communication, signed, &round.signature)?;
        let received = carrier::read(round.psbt.as_bytes(), by)?;
        let draft = draft(terms, facts, &round.ask, Path::Key, by)?;
        check_outcome(terms, facts, self.contract.evidence(), &round.ask.outcome)?;
        match (self.seat, round.from) {
            (Seat::Holder, Seat::Miner) => {
                self.answer_round(round.ask, &draft, &received).map_err(blame(by))
            }
            (Seat::Miner, Seat::Holder) => {
                self.finish_round(round.ask, &draft, &received, reports).map_err(blame(by))
            }
            (seat, from) => Err(unread(&format_args!("a round from {from} to {seat}"))),
        }
    }

    /// The holder adds his nonce and, since he has the miner's, at once his part.
    fn answer_round(&mut self, ask: Ask, draft: &Draft, received: &Psbt) -> Result<()> {
        let carrier = answer(&self.signer, draft, received, Culprit::Miner)?;
        self.post_round(Seat::Miner, ask, &carrier)
    }

    /// The miner adds his part and says the joint signature.
    fn finish_round(
        &mut self,
        ask: Ask,
        draft: &Draft,
        received: &Psbt,
        reports: &mut Vec<Report>,
    ) -> Result<()> {
        let by = Culprit::Holder;
        let signatures = self.rounds.finish(&self.signer, draft, &ask, received, by)?;
        let [signature] = signatures.as_slice() else {
            return Err(ROUND.broken("joint settlement", "one input", signatures.len()));
        };
        let signature = *signature;
        let event = Event::Escrow(EscrowEvent::Joined { ask, signature });
        reports.push(self.say_and_report(event)?);
        Ok(())
    }

    fn post_round(&self, to: Seat, ask: Ask, carrier: &Psbt) -> Result<()> {
        let (contract, psbt) = (self.contract.id(), carrier.to_string());
        let signed = digest(contract, self.seat, &ask, &psbt)?;
        let round = Round {
            format: ROUND_FORMAT.to_owned(),
            contract,
            from: self.seat,
            ask,
            psbt,
            signature: self.signer.sign_digest(signed)?,
        };
        let text = serde_json::to_string(&round)
            .map_err(|error| ROUND.broken("joint settlement", "JSON", error))?;
        let hash = <bitcoin::hashes::sha256::Hash as bitcoin::hashes::Hash>::hash(text.as_bytes());
        let from = crate::relay::folder::folder_name(self.seat);
        self.relay.post(to, &format!("round-{from}-{:.8}.json", hash.to_string()), &text)
    }
}
