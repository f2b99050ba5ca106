//! One person at a sale: his store, his wallet, his way to the chain.
//!
//! | what leaves | on disk before |
//! |---|---|
//! | an acceptance | itself, that it is his own, and the coins that are reserved for it |
//! | a consent | itself, and to which acceptance of the offer it was given: to one, for ever; before the first one, no stranger's acceptance |
//! | a withdrawal, a retirement | the transaction, in the place of one that it replaces, and the coins that pay its fee |
//! | a finished sale | the transaction, and until when it may be sent |
//! | nothing: a buyer's coins, given back | that the sale is not sent any more, and that they are free |
//! | a buyer's coins, spent to himself | the transaction, and that the sale is not sent any more |
//!
//! Whoever is asked again after a crash answers what he answered before, and sends again what he was
//! about to send ([`Trader::open`]).

use bitcoin::hashes::Hash;
use bitcoin::{TapSighash, Transaction};

use crate::engine::title::{Judged, Reader, judge};
use crate::error::{Culprit, Error, Result, Rule};
use crate::facts::{Coin, Facts};
use crate::flow::contract::Contract;
use crate::flow::escrow::outcome::check_outcome;
use crate::flow::position::dossier::Dossier;
use crate::flow::position::papers::Papers;
use crate::flow::position::title::Title;
use crate::flow::sale::coins::{check_offer, held_seal, waits, watched};
use crate::flow::sale::consent::{CONSENT_FORMAT, Consent, Party, Piece};
use crate::flow::sale::state::{Effect, Event, ORDER, State};
use crate::flow::sale::terms::{
    ACCEPTANCE_FORMAT, Acceptance, AcceptanceBody, Guard, Offer, OfferBody, Paying,
};
use crate::flow::sale::title::check_title;
use crate::flow::sale::txs::{Purse, bargain, needed};
use crate::header_sync::GuardedChain;
use crate::id::{RecordId, WordId};
use crate::party::Record;
use crate::script::seal::SealLock;
use crate::sign::software::{LeafAccount, SoftwareSigner};
use crate::store::Store;
use crate::tx::exchange::{Exchange, Exchanging, Way, signed};
use crate::wallet::Wallet;
use crate::work::evidence::Evidence;

mod again;
mod foreign;
mod free;
mod moves;
mod retiring;
mod silent;

pub use again::Again;
use again::Sending;
pub use foreign::FOREIGN;
pub use free::{FREE, OWN, RELEASED};
use free::{FREED, RESERVED};
pub use moves::{Moved, REPLACES};
pub use retiring::{RETIRE, Remaining};

/// The signer is that of the record.
pub const SIGNER: Rule = Rule::new(
    "sale-signer",
    "whoever takes part in a sale signs with the keys of his record",
    "use the seed and record number that made the record",
);
/// It is his turn.
pub const TURN: Rule = Rule::new(
    "sale-turn",
    "somebody signs or sends when the sale waits for him, and while it can still be made",
    "look at what the sale waits for",
);
/// Whoever pays the miner out of an escrow knows what he has earned.
pub const JUDGED: Rule = Rule::new(
    "sale-judged",
    "the miner signs a resale after he has judged its outcome by certificates and receipts of his own",
    "name the folder with the contract's certificates and receipts",
);

/// The miner signs away nothing that he does not know.
pub const KNOWN: Rule = Rule::new(
    "sale-known",
    "the miner signs a resale after a dossier has proven that its seller holds the position, and by which contract",
    "name the position's folder with --dossier",
);

/// Blocks below the tip whose headers are read with the facts of a sale.
const SPAN: u32 = 20;
/// The kind under which what was said in a sale lies in the store.
const EVENT: &str = "sale";

/// One person who sells or buys.
#[derive(Debug)]
pub struct Trader {
    store: Store,
    wallet: Wallet,
    chain: GuardedChain,
    again: Vec<Again>,
    /// Offers that a dossier has proven since he was opened.
    proven: Vec<WordId>,
}

impl Trader {
    /// Somebody with his files and his way to the chain. Whoever comes back uses [`Trader::open`].
    pub fn new(store: Store, wallet: Wallet, chain: GuardedChain) -> Self {
        Self { store, wallet, chain, again: Vec::new(), proven: Vec::new() }
    }

    /// His wallet, after reading the chain.
    pub fn wallet(&mut self) -> Result<&mut Wallet> {
        self.wallet.sync(&mut self.chain, &mut self.store)?;
        Ok(&mut self.wallet)
    }

    /// His way to the chain.
    pub fn chain(&self) -> &GuardedChain {
        &self.chain
    }

    /// The sale of an offer, as far as his store remembers it. An acceptance whose coins were given back
    /// before anybody signed is none any more.
    pub fn sale(&self, offer: &Offer) -> Result<State> {
        let mut state = State::new(offer.clone())?;
        let id = offer.offer.id()?;
        for entry in self.store.entries(&id.0)? {
            if let (FREED, Some(held)) = (entry.kind.as_str(), state.acceptance())
                && state.consents().is_empty()
                && held.acceptance.id()?.0.as_slice() == entry.body
            {
                state = State::new(offer.clone())?;
            }
            if entry.kind != EVENT {
                continue;
            }
            let event: Event = serde_json::from_slice(&entry.body).map_err(|error| {
                let place = format_args!("event {}", entry.seq).to_string();
                super::READABLE.unstored(place, "a word of a sale", error)
            })?;
            state.apply(event);
        }
        Ok(state)
    }

    /// Takes in what somebody else said; what is known already changes nothing. Somebody else's
    /// acceptance is held in memory alone, and makes way for a later one, until the seller has signed:
    /// then both are stored. Anybody can write one, with coins that are not there.
    pub fn hear(&mut self, state: &mut State, event: Event) -> Result<()> {
        let known = match &event {
            Event::Accepted(acceptance) => state.acceptance() == Some(acceptance.as_ref()),
            Event::Consented(consent) => state.consents().contains(consent),
            // More validators may have signed than are needed.
            Event::Answered(word) => state.is_known(word),
        };
        if known {
            return Ok(());
        }
        state.admit(&event)?;
        if let Event::Accepted(acceptance) = &event {
            if let Some(stored) = self.sale(state.offer())?.acceptance() {
                check_same(stored, acceptance)?;
            }
            state.apply(event);
            return Ok(());
        }
        self.commit(state, event, None)
    }

    /// Stores a consent before it counts; with the first one the acceptance that it is given to, and with
    /// one of our own, in the same transaction, what it binds us to.
    fn commit(
        &mut self,
        state: &mut State,
        event: Event,
        bound: Option<(&str, &[u8])>,
    ) -> Result<()> {
        let id = state.offer().offer.id()?;
        let mut words = Vec::with_capacity(2);
        if let Some(held) = state.acceptance() {
            match self.sale(state.offer())?.acceptance() {
                Some(stored) => check_same(stored, held)?,
                None => words.push((EVENT, written(&Event::Accepted(Box::new(held.clone())))?)),
            }
        }
        words.push((EVENT, written(&event)?));
        self.append(&id.0, &words, bound)?;
        state.apply(event);
        Ok(())
    }

    fn append(
        &mut self,
        scope: &[u8; 32],
        events: &[(&str, Vec<u8>)],
        bound: Option<(&str, &[u8])>,
    ) -> Result<()> {
        let staged = self.wallet.take_staged();
        let done = self.store.append_bound(scope, events, staged.as_ref(), bound);
        if let (Err(_), Some(changes)) = (&done, staged) {
            self.wallet.restage(changes);
        }
        done
    }

    /// What the chain says of the sale now.
    pub fn facts(&mut self, state: &State) -> Result<Facts> {
        let acceptance = state.acceptance().map(|acceptance| &acceptance.acceptance);
        self.facts_of(&state.offer().offer, acceptance)
    }

    /// What the chain says of a contract now.
    pub fn contract_facts(&mut self, contract: &Contract) -> Result<Facts> {
        let (scripts, first) = (contract.watched(), contract.headers_from());
        self.chain.facts(&mut self.store, &scripts, first)
    }

    /// What is true of a dossier, and who holds its position, over the same connection.
    pub fn title(&mut self, papers: &Papers) -> Result<Judged> {
        judge(&mut Reader::Guarded(&mut self.chain, &mut self.store), papers)
    }

    /// Proves by a dossier that an offer is its seller's to make; refused if it is not, or if the
    /// position was issued by another federation than the one that is pinned.
    pub fn prove(
        &mut self,
        offer: &Offer,
        papers: &Papers,
        pinned: Option<RecordId>,
    ) -> Result<(Dossier, Title)> {
        let Judged { dossier, title, .. } = self.title(papers)?;
        check_title(&offer.offer, &dossier, &title, pinned)?;
        self.proven.push(offer.offer.id()?);
        Ok((dossier, title))
    }

    fn facts_of(
        &mut self,
        offer: &OfferBody,
        acceptance: Option<&AcceptanceBody>,
    ) -> Result<Facts> {
        let scripts = watched(offer, acceptance)?;
        let (tip, _) = self.chain.electrum().tip()?;
        self.chain.facts(&mut self.store, &scripts, tip.saturating_sub(SPAN))
    }

    /// Refuses an offer that the chain does not bear out, or whose seal somebody is about to move.
    fn check_open(&mut self, offer: &OfferBody) -> Result<()> {
        let facts = self.facts_of(offer, None)?;
        check_offer(offer, &facts)?;
        offer.check_span(facts.tip())?;
        match waits(offer, &facts) {
            Some(other) => Err(untimely(Party::Buyer, &Effect::behind(other))),
            None => Ok(()),
        }
    }

    /// Accepts an offer with coins of the wallet; they are reserved, on disk, before this returns.
    /// Asked again, it answers the same acceptance; after its coins were given back a new one, unless
    /// somebody has signed.
    pub fn accept(
        &mut self,
        offer: &Offer,
        record: Record,
        signer: &SoftwareSigner,
        sat_per_vb: u64,
    ) -> Result<Acceptance> {
        let state = self.sale(offer)?;
        if let Some(held) = state.acceptance() {
            return self.answered(held);
        }
        check_signer(&record, signer)?;
        let body = &offer.offer;
        self.check_open(body)?;
        // What the record and the rate are worth is known before a coin is touched.
        body.contract(&record)?.check_rate(sat_per_vb, Culprit::Sender)?;
        let wallet = self.wallet()?;
        let (coins, change) =
            wallet.reserve(&|coins| needed(body, &record, &paying(coins), sat_per_vb))?;
        self.accepted(
            state,
            record,
            signer,
            Purse { coins: &paying(&coins), change: &change, sat_per_vb },
            RESERVED,
        )
    }

    /// An acceptance with the exchange as it is built out of it.
    fn drafted(state: &State, holder: Record, purse: Purse<'_>) -> Result<AcceptanceBody> {
        let body = &state.offer().offer;
        let mut acceptance = AcceptanceBody {
            format: ACCEPTANCE_FORMAT.to_owned(),
            offer: body.id()?,
            holder,
            coins: purse.coins.to_vec(),
            change: purse.change.clone(),
            sat_per_vb: purse.sat_per_vb,
            psbt: String::new(),
        };
        acceptance.psbt = bargain(body, &acceptance)?.exchange.psbt()?.to_string();
        Ok(acceptance)
    }

    /// Stores an acceptance of our own, and whether coins of this wallet are reserved for it.
    fn accepted(
        &mut self,
        state: State,
        record: Record,
        signer: &SoftwareSigner,
        purse: Purse<'_>,
        how: &str,
    ) -> Result<Acceptance> {
        let acceptance = Self::drafted(&state, record, purse)?;
        let id = acceptance.id()?.0;
        let signature = signer.sign_digest(id)?;
        let acceptance = Acceptance { acceptance, signature };
        let event = Event::Accepted(Box::new(acceptance.clone()));
        state.admit(&event)?;
        let scope = acceptance.acceptance.offer.0;
        self.append(&scope, &[(EVENT, written(&event)?), (how, id.to_vec())], None)?;
        Ok(acceptance)
    }

    /// Signs what is `party`'s to sign. The chain is read, the exchange rebuilt and its seal followed;
    /// the consent is on disk before this returns, and no other acceptance of the offer gets one.
    pub fn consent(
        &mut self,
        state: &mut State,
        party: Party,
        signer: &SoftwareSigner,
        evidence: Option<&Evidence>,
    ) -> Result<Consent> {
        if let Some(held) = state.consents().iter().find(|consent| consent.by == party) {
            return Ok(held.clone());
        }
        if let Party::Validator(_) = party {
            let expected = "seller, buyer or miner; a validator signs at his desk";
            return Err(SIGNER.misused("sale", expected, party));
        }
        let facts = self.facts(state)?;
        let inputs = match state.next(&facts, party)? {
            Effect::Sign(inputs) => inputs,
            Effect::Void(error) | Effect::Overdue { over: error, .. } => return Err(error),
            other => return Err(untimely(party, &other)),
        };
        if let (Party::Buyer, Some(acceptance)) = (party, state.acceptance()) {
            check_signer(&acceptance.acceptance.holder, signer)?;
            self.check_ours(&acceptance.acceptance)?;
            self.check_kept(acceptance)?;
        }
        if party == Party::Miner {
            state.offer().offer.check_span(facts.tip())?;
        }
        self.judge(&state.offer().offer, party, evidence)?;
        let id = state.offer().offer.id()?;
        if party == Party::Miner && !self.proven.contains(&id) {
            let place = format_args!("resale, offer {id}").to_string();
            return Err(KNOWN.misused(place, "a dossier that proves it", "none"));
        }
        let signing = state.signing()?;
        let acceptance = match state.acceptance() {
            Some(acceptance) => acceptance.acceptance.id()?,
            None => return Err(untimely(party, &Effect::Wait("for a buyer".to_owned()))),
        };
        let mut pieces = Vec::with_capacity(inputs.len());
        for input in inputs {
            let witness = self.sign(&signing, input, party, signer)?;
            pieces.push(Piece { input: u32::try_from(input).unwrap_or(u32::MAX), witness });
        }
        self.consented(state, party, acceptance, pieces)
    }

    /// Whoever pays out of this wallet named its coins himself: they are reserved, or their change
    /// comes back to it. Coins of another wallet are signed there.
    fn check_ours(&self, acceptance: &AcceptanceBody) -> Result<()> {
        let reserved = |coin: &Paying| self.wallet.is_reserved(coin.outpoint);
        if self.wallet.is_ours(&acceptance.change) || acceptance.coins.iter().all(reserved) {
            return Ok(());
        }
        let found = format_args!("{:x}", acceptance.change);
        Err(SIGNER.misused("acceptance, change", "a script of this wallet", found))
    }

    /// Verifies a consent, and stores it before it leaves.
    fn consented(
        &mut self,
        state: &mut State,
        party: Party,
        acceptance: WordId,
        pieces: Vec<Piece>,
    ) -> Result<Consent> {
        let format = CONSENT_FORMAT.to_owned();
        let offer = state.offer().offer.id()?;
        let consent = Consent { format, offer, acceptance, by: party, pieces };
        state.admit(&Event::Consented(consent.clone()))?;
        let name = format!("consent of the {party}");
        let event = Event::Consented(consent.clone());
        self.commit(state, event, Some((&name, &acceptance.0)))?;
        Ok(consent)
    }

    /// Judges the outcome that a resale settles, as everybody computes it.
    fn judge(
        &mut self,
        offer: &OfferBody,
        party: Party,
        evidence: Option<&Evidence>,
    ) -> Result<()> {
        let Some(resale) = &offer.resale else { return Ok(()) };
        let Some(evidence) = evidence else {
            return match party {
                Party::Miner | Party::Validator(_) => {
                    Err(JUDGED.misused("resale", "certificates and receipts", "none"))
                }
                // Who pays less than is due, or takes less over, hurts himself alone.
                Party::Seller | Party::Buyer => Ok(()),
            };
        };
        let contract = Contract::new(resale.contract.clone())?;
        let facts = self.contract_facts(&contract)?;
        check_outcome(contract.terms(), &facts, evidence, &resale.outcome)
    }

    fn sign(
        &self,
        signing: &Exchanging,
        input: usize,
        party: Party,
        signer: &SoftwareSigner,
    ) -> Result<bitcoin::Witness> {
        let exchange = signing.exchange();
        let part = exchange.parts().get(input);
        let place = || format!("{}, input {input}", exchange.title());
        match part.map(|part| (&part.way, &part.prevout.script_pubkey)) {
            Some((Way::Seal(seal), _)) => sign_seal(exchange, input, seal, signer),
            Some((Way::Lock(lock, path), _)) => {
                let seat = party.seat();
                let key = lock.leaf(*path)?.keys.iter().find(|key| Some(key.seat) == seat);
                let key = key.ok_or_else(|| SIGNER.misused(place(), "a key of the leaf", party))?;
                let sighash = TapSighash::from_byte_array(exchange.sighash(input)?);
                let (found, signature) =
                    signer.sign_leaf(LeafAccount::Leaf, &key.steps, sighash)?;
                if found != key.key {
                    return Err(SIGNER.misused(place(), key.key, found));
                }
                Ok(signed(&signature))
            }
            Some((Way::Coin, script)) => {
                Ok(signed(&self.wallet.sign_coin(script, exchange.sighash(input)?)?))
            }
            None => Err(SIGNER.misused(place(), "an input", "none")),
        }
    }

    /// Sends the finished exchange; that it is to be sent is on disk before. One that waits for a block
    /// is sent again: a server may have dropped it since it was asked.
    pub fn broadcast(&mut self, state: &State, party: Party) -> Result<Transaction> {
        let facts = self.facts(state)?;
        self.broadcast_at(state, party, &facts)
    }

    /// The same by what the chain was just asked.
    pub fn broadcast_at(
        &mut self,
        state: &State,
        party: Party,
        facts: &Facts,
    ) -> Result<Transaction> {
        let until = Some(state.offer().offer.expires);
        match state.next(facts, party)? {
            Effect::Broadcast(tx) => self.send_sale(state, tx, until),
            Effect::Sent(_, None) if state.turn().is_empty() => {
                let tx = state.signing()?.finish()?.tx;
                // What was sent behind its offer's last height is so stored.
                let stored = self.sending()?.into_iter().find(|one| one.tx == tx);
                let until = stored.map_or(until, |one| one.until);
                match self.send_sale(state, tx.clone(), until) {
                    // The server has it, and says why it takes it no second time.
                    Err(Error::Refused { .. }) => Ok(tx),
                    sent => sent,
                }
            }
            Effect::Void(error) | Effect::Overdue { over: error, .. } => Err(error),
            other => Err(untimely(party, &other)),
        }
    }

    /// Sends a resale behind its offer's last height. Validators sign one resale of an escrow's output and
    /// no other one: what they have signed is sent, or the position is sold to nobody until a settlement
    /// makes another output.
    pub fn broadcast_overdue(&mut self, state: &State, facts: &Facts) -> Result<Transaction> {
        let offer = &state.offer().offer;
        let over = match state.next(facts, Party::Seller)? {
            Effect::Overdue { over, .. } => over,
            Effect::Void(error) => return Err(error),
            other => return Err(untimely(Party::Seller, &other)),
        };
        if offer.guard() != Guard::Validators || !state.turn().is_empty() {
            return Err(over);
        }
        if let Some(other) = waits(offer, facts) {
            return Err(untimely(Party::Seller, &Effect::behind(other)));
        }
        self.send_sale(state, state.signing()?.finish()?.tx, None)
    }

    fn send_sale(
        &mut self,
        state: &State,
        tx: Transaction,
        until: Option<u32>,
    ) -> Result<Transaction> {
        let offer = &state.offer().offer;
        let seal = held_seal(&offer.terms, offer.position, &offer.seller)?.script_pubkey;
        self.send(&Sending { about: offer.id()?.0, seal, until, tx: tx.clone() })?;
        Ok(tx)
    }
}

fn sign_seal(
    exchange: &Exchange,
    input: usize,
    seal: &SealLock,
    signer: &SoftwareSigner,
) -> Result<bitcoin::Witness> {
    // The exchange follows the seal before it tells what is signed.
    let sighash = TapSighash::from_byte_array(exchange.sighash(input)?);
    Ok(signed(&signer.sign_seal(seal, sighash)?))
}

fn written(event: &Event) -> Result<Vec<u8>> {
    serde_json::to_vec(event)
        .map_err(|error| super::READABLE.broken("word of a sale", "JSON", error))
}

/// What is stored of a sale is of one acceptance.
fn check_same(stored: &Acceptance, other: &Acceptance) -> Result<()> {
    let (stored, other) = (stored.acceptance.id()?, other.acceptance.id()?);
    if stored == other {
        return Ok(());
    }
    Err(ORDER.refuses(Culprit::Sender, "acceptance", stored, other))
}

fn check_signer(record: &Record, signer: &SoftwareSigner) -> Result<()> {
    let (ours, his) = (signer.keys().communication, record.record.communication);
    if ours == his { Ok(()) } else { Err(SIGNER.misused("record", his, ours)) }
}

fn untimely(party: Party, found: &Effect) -> Error {
    let found = match found {
        Effect::Sign(inputs) => format!("inputs {inputs:?} to sign"),
        Effect::Broadcast(_) => "a finished transaction".to_owned(),
        Effect::Wait(why) => format!("it waits {why}"),
        Effect::Sent(txid, _) => format!("sent as {txid}"),
        Effect::Void(error) | Effect::Overdue { over: error, .. } => error.to_string(),
    };
    TURN.misused(format_args!("sale, {party}"), "something to do", found)
}

fn paying(coins: &[Coin]) -> Vec<Paying> {
    let paying = |coin: &Coin| Paying { outpoint: coin.outpoint, txout: coin.txout.clone() };
    coins.iter().map(paying).collect()
}
