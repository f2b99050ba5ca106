//! Words of a dispute, and what each seat does next.

use std::collections::BTreeMap;

use bitcoin::OutPoint;
use bitcoin::secp256k1::schnorr;
use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::error::{Culprit, Error, Result, Rule};
use crate::facts::Facts;
use crate::flow::dispute::terms::{opens_until, ruled_from};
use crate::flow::dispute::txs::ruling;
use crate::flow::escrow::coins::{EscrowCoin, Locked, Progress};
use crate::flow::escrow::outcome::outcome;
use crate::flow::escrow::txs::{Outcome, settlement};
use crate::flow::{Asked, Effect, Task, check_receipt, check_speaker, far_apart};
use crate::id::{WordId, tagged_hash};
use crate::party::Seat;
use crate::script::lock::Path;
use crate::tx::draft::Draft;
use crate::tx::signed::Signed;
use crate::work::evidence::Evidence;
use crate::work::receipt::{Receipt, Subject, sealed_height};

/// A dispute opens in time, on the present output, about a ripe period.
pub const TIMELY: Rule = Rule::new(
    "dispute-timely",
    "a dispute opens on the escrow's present output, about a ripe period, before the quiet span",
    "open it in time",
);
/// A side asks once.
pub const AGAIN: Rule = Rule::new(
    "dispute-again",
    "who asks again about the same output and period offers at least twice the fee rate",
    "wait for the ruling that you have asked for, or offer more",
);
/// A ruling answers an opening.
pub const OPENED: Rule = Rule::new(
    "dispute-opened",
    "answers and rulings name a dispute that was opened",
    "send the opening first",
);
/// A ruling waits for the other side.
pub const HEARD: Rule = Rule::new(
    "dispute-heard",
    "a ruling waits until k receipts have opened the dispute and the answer span is over",
    "wait for that height",
);
/// A ruling is what the evidence says.
pub const JUST: Rule = Rule::new(
    "dispute-just",
    "a ruling is the outcome of terms, chain and receipts",
    "recompute the outcome",
);

/// A request for a ruling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// Who asks, and finishes the ruling.
    pub requester: Seat,
    /// The escrow's present output.
    pub outpoint: OutPoint,
    /// The period (0-based) through which is to be ruled.
    pub period: u32,
    /// Fee rate of the ruling, sat/vB.
    pub sat_per_vb: u64,
}

impl Opening {
    /// Names the opening by content; validators' receipts name this.
    pub fn id(&self) -> Result<WordId> {
        Ok(WordId(tagged_hash("hashmix/opening/1", &[&canonical::bytes(self)?])))
    }
}

/// A state that the holder signed, shown as a lower bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// What he signed for.
    pub outcome: Outcome,
    /// At what rate.
    pub sat_per_vb: u64,
    /// His signature through the agreed leaf of the output in dispute.
    pub signatures: Vec<schnorr::Signature>,
}

impl Shown {
    /// Names the answer to an opening by content; validators' receipts name this.
    pub fn id(&self, opening: &WordId) -> Result<WordId> {
        let said = canonical::bytes(&(opening, self))?;
        Ok(WordId(tagged_hash("hashmix/answer/1", &[&said])))
    }

    /// Refuses a state that the holder has not signed on `coin`.
    fn verify(&self, terms: &Locked, coin: &EscrowCoin) -> Result<()> {
        let state = settlement(terms, coin, self.outcome, Path::Agreed, self.sat_per_vb, None)?;
        Signed::new(state).add(Seat::Holder, &self.signatures)
    }
}

/// Words of the dispute flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// A side asks for a ruling.
    Opened(Opening),
    /// A validator has seen an opening or an answer.
    Receipted(Receipt),
    /// A side shows the last state that the holder signed.
    Answered {
        /// The dispute.
        opening: WordId,
        /// The state.
        shown: Shown,
    },
    /// A validator's ruling, or the requester's own signature under it.
    Ruled {
        /// The dispute.
        opening: WordId,
        /// What is ruled.
        outcome: Outcome,
        /// One signature: a ruling has one input.
        signatures: Vec<schnorr::Signature>,
    },
}

/// What has been said.
#[derive(Clone, Debug, Default)]
pub struct State {
    disputes: BTreeMap<WordId, Dispute>,
    receipts: Vec<Receipt>,
}

#[derive(Clone, Debug)]
struct Dispute {
    opening: Opening,
    shown: BTreeMap<WordId, Shown>,
    /// Each signer's rulings, oldest first: a later one adds to an earlier one and takes nothing away.
    rulings: Vec<(Seat, Outcome, Vec<schnorr::Signature>)>,
}

impl Dispute {
    fn has_ruled(&self, seat: Seat, outcome: &Outcome) -> bool {
        self.rulings.iter().any(|(signer, ruled, _)| *signer == seat && ruled == outcome)
    }

    /// Validators who have ruled this outcome.
    fn validators(&self, outcome: &Outcome) -> usize {
        let validator = |seat: &Seat| matches!(seat, Seat::Validator(_));
        self.rulings.iter().filter(|(seat, ruled, _)| validator(seat) && ruled == outcome).count()
    }
}

impl State {
    /// Takes a word that was admitted.
    pub fn apply(&mut self, from: Seat, event: &Event) -> Result<()> {
        match event {
            Event::Opened(opening) => {
                let dispute =
                    Dispute { opening: *opening, shown: BTreeMap::new(), rulings: Vec::new() };
                self.disputes.entry(opening.id()?).or_insert(dispute);
            }
            Event::Receipted(receipt) => {
                if !self.receipts.contains(receipt) {
                    self.receipts.push(receipt.clone());
                }
            }
            Event::Answered { opening, shown } => {
                if let Some(dispute) = self.disputes.get_mut(opening) {
                    dispute.shown.insert(shown.id(opening)?, shown.clone());
                }
            }
            Event::Ruled { opening, outcome, signatures } => {
                if let Some(dispute) = self.disputes.get_mut(opening)
                    && !dispute.has_ruled(from, outcome)
                {
                    dispute.rulings.push((from, *outcome, signatures.clone()));
                }
            }
        }
        Ok(())
    }

    /// Refuses a word that the terms, the chain or its speaker's seat do not allow.
    pub fn admit(&self, terms: &Locked, facts: &Facts, from: Seat, event: &Event) -> Result<()> {
        match event {
            Event::Opened(opening) => {
                let party = matches!(from, Seat::Miner | Seat::Holder);
                let his = party && from == opening.requester;
                check_speaker(from, his, "opening", "the side that asks for the ruling")?;
                match facts.is_history(opening.outpoint) {
                    true => Ok(()),
                    false => {
                        self.check_again(opening)?;
                        check_opening(terms, facts, opening)
                    }
                }
            }
            Event::Receipted(receipt) => {
                let fits =
                    matches!(receipt.subject, Subject::Opening { .. } | Subject::Answer { .. });
                let (position, what) = (terms.position()?, "an opening or answer");
                check_receipt(terms, from, receipt, Asked { rule: OPENED, position, what, fits })
            }
            Event::Answered { opening, shown } => {
                let dispute = self.dispute(opening)?;
                if facts.is_history(dispute.opening.outpoint) {
                    return Ok(());
                }
                let coin = present(terms, facts, &dispute.opening, from.into())?;
                shown.verify(terms, &coin)
            }
            Event::Ruled { opening, outcome, signatures } => {
                let dispute = self.dispute(opening)?;
                let signer =
                    matches!(from, Seat::Validator(_)) || from == dispute.opening.requester;
                check_speaker(from, signer, "ruling", "a validator or the side that asked")?;
                if facts.is_history(dispute.opening.outpoint) {
                    return Ok(());
                }
                self.heard(terms, facts, dispute)?;
                let k = usize::from(terms.reward.federation.threshold);
                if from == dispute.opening.requester && dispute.validators(outcome) < k {
                    return Err(HEARD.unavailable(
                        format_args!("ruling of {from}"),
                        format_args!("{k} equal rulings of validators first"),
                        dispute.validators(outcome),
                    ));
                }
                // What he rules is his own: k validators decide, and evidence that he has may still
                // be on its way to us. Who differs from us is named (see `next`), not silenced.
                let draft = draft(terms, facts, &dispute.opening, *outcome)?;
                Signed::new(draft).add(from, signatures)
            }
        }
    }

    /// What `seat` does now.
    pub fn next(
        &self,
        terms: &Locked,
        facts: &Facts,
        evidence: &Evidence,
        seat: Seat,
    ) -> Result<Vec<Effect>> {
        let mut effects = Vec::new();
        for (id, dispute) in &self.disputes {
            // A dispute about an output that is spent is history.
            if present(terms, facts, &dispute.opening, Culprit::Sender).is_err() {
                continue;
            }
            let due = match seat {
                Seat::Validator(place) => {
                    self.validator(terms, facts, evidence, *id, dispute, place)
                }
                _ if seat == dispute.opening.requester => {
                    effects.extend(self.differing(terms, facts, evidence, dispute));
                    requester(terms, facts, *id, dispute)
                }
                _ => continue,
            };
            match due {
                Ok(due) => effects.extend(due),
                // A request that cannot be granted holds up nothing else.
                Err(error @ (Error::Refused { .. } | Error::Unavailable(_))) => {
                    effects.push(Effect::Decline(error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(effects)
    }

    fn validator(
        &self,
        terms: &Locked,
        facts: &Facts,
        evidence: &Evidence,
        id: WordId,
        dispute: &Dispute,
        place: u8,
    ) -> Result<Vec<Effect>> {
        let seat = Seat::Validator(place);
        let unseen = |subject: &Subject| {
            !self.receipts.iter().any(|r| r.is_given(place, subject, &facts.headers))
        };
        let opening = Subject::Opening { digest: id.0 };
        if unseen(&opening) {
            return Ok(vec![Effect::Receipt(opening)]);
        }
        let heard = self.heard_at(terms, facts, dispute)?;
        if heard.is_none_or(|height| facts.tip() < height) {
            let coin = present(terms, facts, &dispute.opening, Culprit::Sender)?;
            let genuine =
                dispute.shown.iter().filter(|(_, shown)| shown.verify(terms, &coin).is_ok());
            let answers = genuine.map(|(id, _)| Subject::Answer { digest: id.0 });
            let due: Vec<Effect> = answers.filter(unseen).map(Effect::Receipt).collect();
            if !due.is_empty() {
                return Ok(due);
            }
        }
        match heard {
            Some(height) if facts.tip() >= height => {}
            Some(until) => {
                return Ok(vec![Effect::Wait {
                    until,
                    why: "the other side may answer".to_owned(),
                }]);
            }
            None => return Ok(Vec::new()),
        }
        let outcome = self.outcome(terms, facts, evidence, dispute)?;
        // A ruling may rise with new evidence, and the other side may have one of its own on the
        // same output, or whoever asked first could lock the escrow by keeping his. What a
        // validator may never do is contradict himself, and that his journal refuses.
        let ruled = dispute.rulings.iter().filter(|(signer, ..)| *signer == seat);
        if ruled.map(|(_, ruled, _)| ruled.rank()).max() >= Some(outcome.rank()) {
            return Ok(Vec::new());
        }
        let draft = draft(terms, facts, &dispute.opening, outcome)?;
        Ok(vec![Effect::Sign { draft: draft.into(), task: Task::Ruling { opening: id, outcome } }])
    }

    /// Each request costs every validator a receipt and a ruling: a side asks once, and again only
    /// where its first offer turns out too low to confirm.
    fn check_again(&self, opening: &Opening) -> Result<()> {
        let same = |known: &&Opening| {
            known.requester == opening.requester
                && known.outpoint == opening.outpoint
                && known.period == opening.period
                && *known != opening
        };
        let mut known = self.disputes.values().map(|dispute| &dispute.opening).filter(same);
        match known.find(|known| !far_apart(known.sat_per_vb, opening.sat_per_vb)) {
            None => Ok(()),
            Some(known) => Err(AGAIN.refuses(
                opening.requester.into(),
                "opening",
                format_args!("{} sat/vB or more", known.sat_per_vb.saturating_mul(2)),
                opening.sat_per_vb,
            )),
        }
    }

    /// The request with this digest.
    pub fn opening(&self, id: &WordId) -> Option<&Opening> {
        self.disputes.get(id).map(|dispute| &dispute.opening)
    }

    /// The k-th lowest height among receipts for a request; `None` until k validators have seen it.
    pub fn opened_at(
        &self,
        terms: &Locked,
        facts: &Facts,
        opening: &Opening,
    ) -> Result<Option<u32>> {
        self.sealed(terms, facts, &Subject::Opening { digest: opening.id()?.0 })
    }

    /// What our own evidence says of a request (see [`State::opening`]); unavailable before the
    /// other side was heard.
    pub fn just(
        &self,
        terms: &Locked,
        facts: &Facts,
        evidence: &Evidence,
        id: &WordId,
    ) -> Result<Outcome> {
        self.outcome(terms, facts, evidence, self.dispute(id)?)
    }

    /// The height from which the dispute may be ruled on; `None` until k receipts have opened it in
    /// time.
    fn heard_at(&self, terms: &Locked, facts: &Facts, dispute: &Dispute) -> Result<Option<u32>> {
        let coin = present(terms, facts, &dispute.opening, Culprit::Sender)?;
        let last = coin.height.map(|height| opens_until(terms, height));
        let opened = self.opened_at(terms, facts, &dispute.opening)?;
        Ok(opened.filter(|height| last >= Some(*height)).map(|height| ruled_from(terms, height)))
    }

    /// The k-th lowest height among validators' receipts for a subject.
    fn sealed(&self, terms: &Locked, facts: &Facts, subject: &Subject) -> Result<Option<u32>> {
        let federation = &terms.reward.federation;
        Ok(sealed_height(
            terms.position()?,
            subject,
            &self.receipts,
            &federation.ruling_keys(),
            usize::from(federation.threshold),
            &facts.headers,
        ))
    }

    /// The outcome that the federation rules: what the evidence says, and at least what the holder
    /// signed himself, as far as k validators had seen it within the answer span.
    fn outcome(
        &self,
        terms: &Locked,
        facts: &Facts,
        evidence: &Evidence,
        dispute: &Dispute,
    ) -> Result<Outcome> {
        self.heard(terms, facts, dispute)?;
        present(terms, facts, &dispute.opening, Culprit::Sender)?;
        self.bounded(terms, facts, evidence, dispute.opening.period)
    }

    /// The outcome through a period: what the evidence says, and at least what the holder signed himself
    /// on the escrow's present output, as far as k validators had seen it.
    pub fn bounded(
        &self,
        terms: &Locked,
        facts: &Facts,
        evidence: &Evidence,
        period: u32,
    ) -> Result<Outcome> {
        let mut outcome = outcome(terms, facts, evidence, period)?;
        let Progress::Open(coin) = terms.progress(facts)? else { return Ok(outcome) };
        // A state shown in one dispute binds in every other on the same output.
        let outpoint = coin.outpoint;
        for other in self.disputes.values().filter(|other| other.opening.outpoint == outpoint) {
            for (id, shown) in &other.shown {
                // Validators receipt an answer within its span alone, and one of any k is honest. The
                // heights are not asked again: a late receipt for the opening would move the span's
                // end, and take back what somebody is bound to already.
                let seen = self.sealed(terms, facts, &Subject::Answer { digest: id.0 })?;
                let counts = shown.outcome.period <= period && seen.is_some();
                // One that came while the output was spent was never checked.
                if counts && shown.verify(terms, &coin).is_ok() {
                    outcome.earned = outcome.earned.max(shown.outcome.earned);
                }
            }
        }
        Ok(outcome)
    }

    /// Refuses to go on before the dispute was heard.
    fn heard(&self, terms: &Locked, facts: &Facts, dispute: &Dispute) -> Result<()> {
        let heard = self.heard_at(terms, facts, dispute)?;
        if heard.is_some_and(|height| facts.tip() >= height) {
            return Ok(());
        }
        Err(HEARD.unavailable(
            format_args!("dispute {}", dispute.opening.id()?),
            heard.map_or("k receipts in time".to_owned(), |h| format!("height {h}")),
            facts.tip(),
        ))
    }

    /// Names the validators whose last ruling differs from what our own evidence says.
    fn differing(
        &self,
        terms: &Locked,
        facts: &Facts,
        evidence: &Evidence,
        dispute: &Dispute,
    ) -> Vec<Effect> {
        let Ok(ours) = self.outcome(terms, facts, evidence, dispute) else { return Vec::new() };
        let others = dispute.rulings.iter().filter(|(seat, ruled, _)| {
            matches!(seat, Seat::Validator(_)) && *ruled != ours && !dispute.has_ruled(*seat, &ours)
        });
        let decline = |(seat, ruled, _): &(Seat, Outcome, _)| {
            let (expected, found) = (format_args!("{ours:?}"), format_args!("{ruled:?}"));
            Effect::Decline(JUST.refuses((*seat).into(), "ruling", expected, found))
        };
        others.map(decline).collect()
    }

    fn dispute(&self, id: &WordId) -> Result<&Dispute> {
        self.disputes
            .get(id)
            .ok_or_else(|| OPENED.unavailable("dispute", "an opening known here", id))
    }
}

/// The requester signs under k equal rulings, and broadcasts what is complete.
fn requester(terms: &Locked, facts: &Facts, id: WordId, dispute: &Dispute) -> Result<Vec<Effect>> {
    let seat = dispute.opening.requester;
    let k = usize::from(terms.reward.federation.threshold);
    let mut outcomes: Vec<&Outcome> =
        dispute.rulings.iter().map(|(_, outcome, _)| outcome).collect();
    // With more evidence first: where several have k, the latest is the one.
    outcomes.sort_by_key(|outcome| core::cmp::Reverse(outcome.rank()));
    for outcome in outcomes {
        if dispute.validators(outcome) < k {
            continue;
        }
        let Ok(draft) = draft(terms, facts, &dispute.opening, *outcome) else { continue };
        if !dispute.has_ruled(seat, outcome) {
            let task = Task::Ruling { opening: id, outcome: *outcome };
            return Ok(vec![Effect::Sign { draft: draft.into(), task }]);
        }
        let mut equal: Vec<_> =
            dispute.rulings.iter().filter(|(_, other, _)| other == outcome).collect();
        equal.sort_by_key(|(signer, ..)| *signer);
        let mut signed = Signed::new(draft);
        for (signer, _, signatures) in equal {
            // One that came as history and was made present by a reorg was never checked.
            let _ = signed.add(*signer, signatures);
        }
        if let Ok(last) = signed.finish() {
            return Ok(vec![Effect::broadcast(last)]);
        }
    }
    Ok(Vec::new())
}

fn check_opening(terms: &Locked, facts: &Facts, opening: &Opening) -> Result<()> {
    let by = Culprit::from(opening.requester);
    terms.check_rate(opening.sat_per_vb, by)?;
    let coin = present(terms, facts, opening, by)?;
    let ripe = terms.ruling_height(opening.period)?;
    // Our server may lag behind the speaker's: what is early here may be in time there.
    let Some(confirmed) = coin.height.filter(|_| facts.tip() >= ripe) else {
        return Err(TIMELY.unavailable(
            "opening",
            format_args!("a confirmed output and height {ripe}"),
            facts.tip(),
        ));
    };
    let last = opens_until(terms, confirmed);
    if facts.tip() > last {
        return Err(TIMELY.refuses(
            by,
            "opening",
            format_args!("heights {ripe} to {last}"),
            facts.tip(),
        ));
    }
    Ok(())
}

fn present(terms: &Locked, facts: &Facts, opening: &Opening, by: Culprit) -> Result<EscrowCoin> {
    let expected = "the escrow's present output";
    match terms.progress(facts)? {
        Progress::Open(coin) if coin.outpoint == opening.outpoint => Ok(coin),
        // An output that we have not seen may be one that our server has not seen yet.
        Progress::Open(_) | Progress::Unfunded
            if !facts.transactions.contains_key(&opening.outpoint.txid) =>
        {
            Err(TIMELY.unavailable("opening", expected, opening.outpoint))
        }
        _ => Err(TIMELY.refuses(by, "opening", expected, opening.outpoint)),
    }
}

fn draft(terms: &Locked, facts: &Facts, opening: &Opening, outcome: Outcome) -> Result<Draft> {
    let coin = present(terms, facts, opening, Culprit::Sender)?;
    terms.check_rate(opening.sat_per_vb, opening.requester.into())?;
    ruling(terms, &coin, outcome, opening.requester, opening.sat_per_vb)
}
