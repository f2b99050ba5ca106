//! Words of a resale while the miner is silent, and what each seat does next.

use std::collections::BTreeMap;

use bitcoin::ScriptBuf;
use bitcoin::secp256k1::schnorr;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Rule};
use crate::facts::Facts;
use crate::flow::escrow::coins::{EscrowCoin, Locked, Progress};
use crate::flow::escrow::txs::Outcome;
use crate::flow::resale::coins::watched;
use crate::flow::resale::terms::{Request, heard_from};
use crate::flow::resale::txs::{bargain, consented};
use crate::flow::sale::terms::Resale;
use crate::flow::{Asked, Effect, Task, check_receipt, check_speaker};
use crate::id::WordId;
use crate::party::Seat;
use crate::script::lock::Path;
use crate::tx::exchange::{Exchanging, Way, signed};
use crate::work::receipt::{Receipt, Subject, sealed_height};

/// A request is about the present output.
pub const PRESENT: Rule = Rule::new(
    "resale-present",
    "a resale is asked for the escrow's present output, which lies in a block and holds what the offer says",
    "ask for a new offer after the settlement",
);
/// Receipts and signatures answer a request.
pub const ASKED: Rule = Rule::new(
    "resale-asked",
    "receipts and signatures name a resale that was asked for",
    "send the request first",
);
/// The holder does not ask without end.
pub const AGAIN: Rule = Rule::new(
    "resale-again",
    "a holder asks for at most 8 resales of one escrow output",
    "sell with the miner, or wait for a settlement",
);
/// The miner is heard first.
pub const HEARD: Rule = Rule::new(
    "resale-heard",
    "validators sign a resale once k receipts have opened it and the answer span is over",
    "wait for that height",
);
/// What is taken over is what the evidence says.
pub const JUST: Rule = Rule::new(
    "resale-just",
    "a resale settles the outcome of terms, chain and receipts, and of a contract that goes on",
    "compare certificates and receipts, and offer again",
);

/// Most requests about one output.
const MOST: usize = 8;

/// Words of the resale flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// The holder asks validators to sign in the miner's place.
    Asked(Box<Request>),
    /// A validator has seen a request.
    Receipted(Receipt),
    /// A validator's signature of the escrow's input.
    Signed {
        /// The request.
        ask: WordId,
        /// One signature: the escrow is one input.
        signatures: Vec<schnorr::Signature>,
    },
}

impl Event {
    /// The request that a validator signs by this word, and his signatures; none in any other word.
    pub fn signed(&self) -> Option<(WordId, &[schnorr::Signature])> {
        match self {
            Self::Signed { ask, signatures } => Some((*ask, signatures)),
            Self::Asked(_) | Self::Receipted(_) => None,
        }
    }
}

/// What has been said.
#[derive(Clone, Debug, Default)]
pub struct State {
    requests: BTreeMap<WordId, Waiting>,
    receipts: Vec<Receipt>,
}

#[derive(Clone, Debug)]
struct Waiting {
    request: Request,
    scripts: Vec<ScriptBuf>,
    signatures: BTreeMap<Seat, Vec<schnorr::Signature>>,
}

impl State {
    /// Takes a word that was admitted.
    pub fn apply(&mut self, from: Seat, event: &Event) -> Result<()> {
        match event {
            Event::Asked(request) => {
                let (id, scripts) = (request.id()?, watched(request)?);
                let (request, signatures) = (request.as_ref().clone(), BTreeMap::new());
                self.requests.entry(id).or_insert(Waiting { request, scripts, signatures });
            }
            Event::Receipted(receipt) => {
                if !self.receipts.contains(receipt) {
                    self.receipts.push(receipt.clone());
                }
            }
            Event::Signed { ask, signatures } => {
                if let Some(waiting) = self.requests.get_mut(ask) {
                    waiting.signatures.entry(from).or_insert_with(|| signatures.clone());
                }
            }
        }
        Ok(())
    }

    /// Refuses a word that the terms, the chain or its speaker's seat do not allow.
    pub fn admit(&self, terms: &Locked, facts: &Facts, from: Seat, event: &Event) -> Result<()> {
        match event {
            Event::Asked(request) => {
                check_speaker(from, from == Seat::Holder, "request for a resale", "the holder")?;
                let resale = request.left(terms)?;
                if facts.is_history(resale.escrow) {
                    return Ok(());
                }
                self.check_again(request, resale)?;
                present(terms, facts, resale)?;
                request.offer.check()?;
                request.acceptance.check(&request.offer)?;
                consented(request, bargain(request)?.exchange).map(|_| ())
            }
            Event::Receipted(receipt) => {
                let fits = matches!(receipt.subject, Subject::Resale { .. });
                let (position, what) = (terms.position()?, "a resale");
                check_receipt(terms, from, receipt, Asked { rule: ASKED, position, what, fits })
            }
            Event::Signed { ask, signatures } => {
                let his = matches!(from, Seat::Validator(_));
                check_speaker(from, his, "signature of a resale", "a validator")?;
                let request = self.known(ask)?;
                let resale = request.left(terms)?;
                if facts.is_history(resale.escrow) {
                    return Ok(());
                }
                self.check_heard(terms, facts, ask)?;
                let mut signing = Exchanging::new(bargain(request)?.exchange);
                add(&mut signing, from, signatures)
            }
        }
    }

    /// What `seat` does now. `just` is what our own evidence says through a period.
    pub fn next(
        &self,
        terms: &Locked,
        facts: &Facts,
        just: &dyn Fn(u32) -> Result<Outcome>,
        seat: Seat,
    ) -> Result<Vec<Effect>> {
        let mut effects = Vec::new();
        for (id, waiting) in &self.requests {
            let resale = waiting.request.left(terms)?;
            // A request about an output that is spent is history.
            if present(terms, facts, resale).is_err() {
                continue;
            }
            let due = match (self.finished(terms, waiting)?, seat) {
                (Some(last), _) => Ok(vec![last]),
                (None, Seat::Validator(_)) => {
                    self.validator(terms, facts, just, *id, waiting, seat)
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
        just: &dyn Fn(u32) -> Result<Outcome>,
        id: WordId,
        waiting: &Waiting,
        seat: Seat,
    ) -> Result<Vec<Effect>> {
        let Waiting { request, signatures, .. } = waiting;
        let over = facts.tip().saturating_add(1) > request.offer.offer.expires;
        if over || signatures.contains_key(&seat) {
            return Ok(Vec::new());
        }
        let subject = Subject::Resale { digest: id.0 };
        let Seat::Validator(place) = seat else { return Ok(Vec::new()) };
        let mut receipts = self.receipts.iter();
        if !receipts.any(|receipt| receipt.is_given(place, &subject, &facts.headers)) {
            return Ok(vec![Effect::Receipt(subject)]);
        }
        let Some(opened) = self.opened_at(terms, facts, &id)? else { return Ok(Vec::new()) };
        let until = heard_from(terms, opened);
        if facts.tip() < until {
            return Ok(vec![Effect::Wait { until, why: "the miner may answer".to_owned() }]);
        }
        let (outcome, ours) = {
            let stated = request.left(terms)?.outcome;
            (stated, just(stated.period)?)
        };
        if outcome != ours || ours.closes {
            let (expected, found) = (format!("{ours:?}, and no close"), format!("{outcome:?}"));
            return Err(JUST.refuses(Seat::Holder.into(), "resale", expected, found));
        }
        let draft = bargain(request)?.exchange.into();
        Ok(vec![Effect::Sign { draft, task: Task::Resale { ask: id, outcome } }])
    }

    /// The finished exchange, once k validators have signed it. It is sent after the offer's last height
    /// too: what is signed can be sent by anybody, and the sooner the miner sees it the better.
    fn finished(&self, terms: &Locked, waiting: &Waiting) -> Result<Option<Effect>> {
        let k = usize::from(terms.reward.federation.threshold);
        let Waiting { request, signatures, .. } = waiting;
        if signatures.len() < k {
            return Ok(None);
        }
        let mut signing = consented(request, bargain(request)?.exchange)?;
        let mut signers = vec![Seat::Holder];
        for (seat, signatures) in signatures {
            // One that came as history and was made present by a reorg was never checked.
            if signers.len() <= k && add(&mut signing, *seat, signatures).is_ok() {
                signers.push(*seat);
            }
        }
        if signers.len() <= k {
            return Ok(None);
        }
        let last = signing.finish()?;
        let (title, tx, fee) = (last.title, last.tx, last.fee);
        Ok(Some(Effect::Broadcast { title, tx, fee, path: Path::HolderRuling, signers }))
    }

    /// The request with this digest.
    pub fn request(&self, id: &WordId) -> Option<&Request> {
        self.requests.get(id).map(|waiting| &waiting.request)
    }

    /// Every request that was made.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.requests.values().map(|waiting| &waiting.request)
    }

    /// The scripts of seals and coins that requests would spend.
    pub fn watched(&self) -> impl Iterator<Item = &ScriptBuf> {
        self.requests.values().flat_map(|waiting| &waiting.scripts)
    }

    /// The k-th lowest height among receipts for a request; `None` until k validators have seen it.
    pub fn opened_at(&self, terms: &Locked, facts: &Facts, id: &WordId) -> Result<Option<u32>> {
        let federation = &terms.reward.federation;
        Ok(sealed_height(
            terms.position()?,
            &Subject::Resale { digest: id.0 },
            &self.receipts,
            &federation.ruling_keys(),
            usize::from(federation.threshold),
            &facts.headers,
        ))
    }

    fn known(&self, id: &WordId) -> Result<&Request> {
        self.request(id).ok_or_else(|| ASKED.unavailable("resale", "a request known here", id))
    }

    fn check_heard(&self, terms: &Locked, facts: &Facts, id: &WordId) -> Result<()> {
        let heard = self.opened_at(terms, facts, id)?.map(|opened| heard_from(terms, opened));
        if heard.is_some_and(|height| facts.tip() >= height) {
            return Ok(());
        }
        let expected = heard.map_or("k receipts".to_owned(), |height| format!("height {height}"));
        Err(HEARD.unavailable(format_args!("resale {id}"), expected, facts.tip()))
    }

    /// Each request costs every validator a receipt and histories to watch.
    fn check_again(&self, request: &Request, resale: &Resale) -> Result<()> {
        let id = request.id()?;
        let same = self.requests.iter().filter(|(known, waiting)| {
            let escrow = waiting.request.offer.offer.resale.as_ref().map(|known| known.escrow);
            **known != id && escrow == Some(resale.escrow)
        });
        let asked = same.count();
        if asked < MOST {
            return Ok(());
        }
        let expected = format_args!("fewer than {MOST} before").to_string();
        Err(AGAIN.refuses(Seat::Holder.into(), "request for a resale", expected, asked))
    }
}

/// Adds a validator's signature of the escrow's input, verified.
fn add(signing: &mut Exchanging, seat: Seat, signatures: &[schnorr::Signature]) -> Result<()> {
    let locks = signing.exchange().parts().iter().enumerate();
    let locks: Vec<usize> = locks
        .filter(|(_, part)| matches!(part.way, Way::Lock(..)))
        .map(|(input, _)| input)
        .collect();
    if locks.len() != signatures.len() {
        let expected = format_args!("{} signatures", locks.len()).to_string();
        return Err(crate::tx::signed::SIGNATURE.refuses(
            seat.into(),
            "resale",
            expected,
            signatures.len(),
        ));
    }
    locks
        .into_iter()
        .zip(signatures)
        .try_for_each(|(input, one)| signing.add(input, Some(seat), &signed(one), seat.into()))
}

/// The escrow's present output, if it is the one that the resale takes over.
pub fn present(terms: &Locked, facts: &Facts, resale: &Resale) -> Result<EscrowCoin> {
    let stated = (resale.escrow, resale.index, resale.value);
    let expected = format!("{}, {}, in a block", resale.escrow, resale.value);
    let place = "resale, escrow";
    match terms.progress(facts)? {
        Progress::Open(coin)
            if (coin.outpoint, coin.index, coin.value) == stated && coin.height.is_some() =>
        {
            Ok(coin)
        }
        // What we have not seen our server may not have seen yet.
        Progress::Open(coin) if coin.outpoint == resale.escrow && coin.height.is_none() => {
            Err(PRESENT.unavailable(place, expected, "one that waits for a block"))
        }
        Progress::Open(_) | Progress::Unfunded
            if !facts.transactions.contains_key(&resale.escrow.txid) =>
        {
            Err(PRESENT.unavailable(place, expected, "none of them known here"))
        }
        Progress::Open(coin) => {
            let found = format_args!("{}, {}", coin.outpoint, coin.value).to_string();
            Err(PRESENT.refuses(Seat::Holder.into(), place, expected, found))
        }
        Progress::Unfunded => {
            Err(PRESENT.refuses(Seat::Holder.into(), place, expected, "an escrow without funds"))
        }
        Progress::Ended { by, .. } => {
            let found = format_args!("ended by {by}").to_string();
            Err(PRESENT.refuses(Seat::Holder.into(), place, expected, found))
        }
    }
}
