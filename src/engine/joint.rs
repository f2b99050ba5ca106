//! Joint settlements: two rounds of MuSig2 between miner and holder, carried in a PSBT.
//!
//! ```text
//!  miner: nonce ----------- PSBT ----------> holder: rebuild, compare, own nonce, partial signature
//!  miner: verify, own part, aggregate <----- PSBT
//! ```
//! The PSBT is a carrier: each side rebuilds the transaction from terms and evidence, and reads
//! nothing but nonces and partial signatures out of what the other sent.

use bitcoin::Psbt;
use bitcoin::secp256k1::{PublicKey, schnorr};
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
use crate::musig::{KeyContext, SecretNonce, Session, psbt};
use crate::party::Seat;
use crate::script::lock::Path;
use crate::sign::software::SoftwareSigner;
use crate::tx::draft::Draft;

/// A round's message can be read.
pub const ROUND: Rule = Rule::new(
    "joint-round",
    "a round is JSON with the fields of `hashmix round 1` and a PSBT",
    "begin a fresh round",
);

const ROUND_FORMAT: &str = "hashmix round 1";

/// The kind under which the holder's promise lies in the store.
const PROMISE: &str = "joint-part";

/// Rounds begun and not finished. Secret nonces: in memory alone, used once.
#[derive(Default)]
pub struct Rounds(Vec<(Ask, SecretNonce)>);

impl Rounds {
    /// Begins the round of one input: says in the carrier who signs, and adds our nonce.
    pub fn begin(
        &mut self,
        signer: &SoftwareSigner,
        draft: &Draft,
        number: usize,
        ask: Ask,
        carrier: &mut Psbt,
    ) -> Result<()> {
        let context = context(draft, number)?;
        let (secret, public) = signer.begin(&context, draft.sighash(number)?)?;
        let input = carrier.inputs.get_mut(number).ok_or_else(|| no_input(number))?;
        psbt::announce(input, &context);
        psbt::add_nonce(input, &context, &secret.owner(), &public)?;
        self.0.push((ask, secret));
        Ok(())
    }

    /// Finishes the round of one input: with the other side's part, verified, the joint signature
    /// of the draft.
    pub fn finish(
        &mut self,
        signer: &SoftwareSigner,
        draft: &Draft,
        number: usize,
        ask: &Ask,
        received: &Psbt,
    ) -> Result<schnorr::Signature> {
        let context = context(draft, number)?;
        let input = received.inputs.get(number).ok_or_else(|| no_input(number))?;
        let nonces = psbt::nonces(input, &context)?;
        // A round is known by our own nonce in it: an old one must not use up a fresh one's.
        let ours = |(begun, secret): &(Ask, SecretNonce)| {
            begun == ask && nonces.contains(&(secret.owner(), secret.public()))
        };
        let place = self.0.iter().position(ours).ok_or_else(|| {
            ROUND.refuses(Culprit::Holder, "round", "one that we began", "none in memory")
        })?;
        let session = Session::new(&context, &nonces, draft.sighash(number)?)?;
        let mut parts: Vec<(PublicKey, _)> = psbt::parts(input, &context)?;
        // His part is there and verified before our nonce is used up.
        if parts.is_empty() {
            return Err(ROUND.refuses(Culprit::Holder, "round", "a partial signature", "none"));
        }
        for (participant, part) in &parts {
            session.verify(participant, part)?;
        }
        let (_, secret) = self.0.swap_remove(place);
        let owner = secret.owner();
        parts.retain(|(participant, _)| *participant != owner);
        parts.push((owner, signer.sign_part(&session, secret)?));
        session.aggregate(&parts)
    }
}

/// Answers the round of one input: adds our nonce and, since the other side's is there, at once our
/// part, which is of the draft and of nothing that the carrier says.
pub fn answer(
    signer: &SoftwareSigner,
    draft: &Draft,
    number: usize,
    carrier: &mut Psbt,
) -> Result<()> {
    let context = context(draft, number)?;
    let message = draft.sighash(number)?;
    let input = carrier.inputs.get_mut(number).ok_or_else(|| no_input(number))?;
    let (secret, public) = signer.begin(&context, message)?;
    let owner = secret.owner();
    psbt::add_nonce(input, &context, &owner, &public)?;
    let session = Session::new(&context, &psbt::nonces(input, &context)?, message)?;
    let part = signer.sign_part(&session, secret)?;
    psbt::add_part(input, &context, &owner, &part)
}

/// Reads the carrier out of a round.
pub fn carrier(text: &str) -> Result<Psbt> {
    text.parse().map_err(|error| unread(&error))
}

fn unread(found: &dyn core::fmt::Display) -> Error {
    ROUND.refuses(Culprit::Sender, "round", "the fields of `hashmix round 1`", found)
}

fn no_input(number: usize) -> Error {
    ROUND.refuses(Culprit::Sender, "round", format_args!("an input {number}"), "none")
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
        let terms = self.contract.terms();
        let period = last_ripe(terms, &facts)
            .ok_or_else(|| POSSIBLE.misused("joint settlement", "a ripe period", "none yet"))?;
        let outcome = escrow::outcome::outcome(terms, &facts, self.contract.evidence(), period)?;
        let outpoint = self.escrow_coin(&facts)?.outpoint;
        let ask = Ask { outpoint, outcome, sat_per_vb };
        let draft = draft(terms, &facts, &ask, Path::Key, Culprit::Miner)?;
        let mut carrier = draft.psbt()?;
        self.rounds.begin(&self.signer, &draft, 0, ask, &mut carrier)?;
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
        let terms = self.contract.terms();
        let seats = terms.reward.seats();
        let record = seats.record(round.from).ok_or_else(|| unread(&round.from))?;
        let signed = digest(round.contract, round.from, &round.ask, &round.psbt)?;
        message::verify_digest(by, record.record.communication, signed, &round.signature)?;
        let received = carrier(&round.psbt)?;
        let draft = draft(terms, facts, &round.ask, Path::Key, by)?;
        check_outcome(terms, facts, self.contract.evidence(), &round.ask.outcome)?;
        draft.compare(&received, by)?;
        match (self.seat, round.from) {
            (Seat::Holder, Seat::Miner) => {
                self.answer_round(round.ask, &draft, received).map_err(blame(by))
            }
            (Seat::Miner, Seat::Holder) => {
                self.finish_round(round.ask, &draft, &received, reports).map_err(blame(by))
            }
            (seat, from) => Err(unread(&format_args!("a round from {from} to {seat}"))),
        }
    }

    /// The holder adds his nonce and, since he has the miner's, at once his part.
    fn answer_round(&mut self, ask: Ask, draft: &Draft, mut carrier: Psbt) -> Result<()> {
        answer(&self.signer, draft, 0, &mut carrier)?;
        let promise = serde_json::to_vec(&ask)
            .map_err(|error| ROUND.broken("joint settlement", "JSON", error))?;
        self.store.append(&self.contract.id().0, &[(PROMISE, promise)], None)?;
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
        let signature = self.rounds.finish(&self.signer, draft, 0, &ask, received)?;
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

fn context(draft: &Draft, number: usize) -> Result<KeyContext> {
    draft
        .spends()
        .get(number)
        .and_then(|spend| spend.lock.key_path.clone())
        .ok_or_else(|| POSSIBLE.misused("joint settlement", "a lock with a key path", "none"))
}
