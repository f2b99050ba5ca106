//! A holder who sells while the miner is silent: an issued position's contract on the small chain, the
//! seal, a buyer with a coin, and what they ask validators for. Every part can be made to lie.

use std::sync::LazyLock;

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::key::{Keypair, TapTweak};
use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, TapSighash, Transaction, TxIn, TxOut, Txid, Witness};
use hashmix::flow::Event;
use hashmix::flow::Task;
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::flow::escrow::txs::Outcome;
use hashmix::flow::position::coins::{POSTAGE, transferred_seal};
use hashmix::flow::position::terms::{POSITION_FORMAT, PositionTerms};
use hashmix::flow::resale::state::Event as ResaleEvent;
use hashmix::flow::resale::terms::Request as Asked;
use hashmix::flow::sale::consent::{CONSENT_FORMAT, Consent, Party, Piece};
use hashmix::flow::sale::terms::{
    ACCEPTANCE_FORMAT, Acceptance, AcceptanceBody, Guard, Held, OFFER_FORMAT, Offer, OfferBody,
    Paying, Resale, sold,
};
use hashmix::flow::sale::txs::bargain;
use hashmix::id::{PositionId, WordId};
use hashmix::party::{Federation, Record, Role, Seat};
use hashmix::rehearsal::people;
use hashmix::sign::record::record;
use hashmix::sign::software::{LeafAccount, SoftwareSigner};
use hashmix::tx::exchange::{Exchanging, Way, signed};
use hashmix::work::receipt::Subject;

use crate::case::{Request, V0, V1};
use crate::desk::zeros;
use crate::world::{self, FULL, FUNDED, INSTALLMENT, Play, START, World, outcome, signer};

const POSITION: PositionId = PositionId([5; 32]);
/// What the buyer pays the holder.
const PRICE: u64 = 30_000_000;
/// The period whose first block is the first to pay the new lock: height 80.
const SWITCH: u32 = 4;
/// The latest end of an offer that leaves the notice of 12 blocks before that.
pub(crate) const EXPIRES: u32 = 68;

/// Somebody's signer by name and number of his record.
pub(crate) fn somebody(name: &str, number: u32) -> SoftwareSigner {
    let secrets = people::seed(name).unwrap().record(bitcoin::Network::Regtest, number).unwrap();
    SoftwareSigner::new(secrets, bitcoin::Network::Regtest).unwrap()
}

/// Who buys.
pub(crate) fn buyer() -> SoftwareSigner {
    somebody("second holder", 0)
}

fn record_of(signer: &SoftwareSigner, role: Role, contract: &str) -> Record {
    let payout = signer.address().into_unchecked();
    record(signer, role, bitcoin::Network::Regtest, contract, payout).unwrap()
}

/// The buyer's record.
static BUYER: LazyLock<Record> =
    LazyLock::new(|| record_of(&buyer(), Role::Holder, &world::terms().reward.contract));

/// The position under whose contract everybody sits.
static TERMS: LazyLock<PositionTerms> = LazyLock::new(|| {
    let mut deal = world::terms();
    // The work before the issue has its slices before the term.
    deal.delivery.start = START + 12;
    let mut reward = deal.reward.clone();
    let first = somebody(&people::name(Seat::Miner), 1);
    reward.holder = record_of(&first, Role::Holder, &deal.reward.contract);
    let standing = (0..3).map(|place| {
        let signer = somebody(&people::name(Seat::Validator(place)), 1);
        record_of(&signer, Role::Validator, "standing federation")
    });
    let payout = reward.federation.payout.clone();
    let terms = PositionTerms {
        format: POSITION_FORMAT.to_owned(),
        profile: deal.profile,
        issuer: Federation { threshold: 2, validators: standing.collect(), payout },
        reward,
        efficiency: 1_500,
        onboarding: START - 19,
        binding: START - 7,
        delivery: deal.delivery,
        delays: deal.delays,
        fees: deal.fees,
    };
    terms.check().unwrap();
    terms
});

/// The contract that the holder has bought.
pub(crate) fn contract() -> EscrowTerms {
    let holder = world::terms().reward.holder;
    let price = Amount::from_sat(INSTALLMENT * 6);
    sold(&TERMS, POSITION, &holder, price, 1, 0, Vec::new()).unwrap()
}

/// How the holder holds the seal after so many transfers.
fn held(number: u32) -> Held {
    let contract = contract();
    let sale = Some(contract.id().unwrap());
    Held { record: contract.reward.holder, number, sale }
}

fn coin_key() -> Keypair {
    let key = SecretKey::from_slice(&[7; 32]).unwrap();
    Keypair::from_secret_key(&Secp256k1::new(), &key)
}

/// The buyer's coin: Taproot, its key as it is.
fn coin() -> TxOut {
    let key = coin_key().x_only_public_key().0.dangerous_assume_tweaked();
    let value = Amount::from_sat(PRICE + 10_000_000);
    TxOut { value, script_pubkey: ScriptBuf::new_p2tr_tweaked(key) }
}

/// A transaction out of nowhere that pays these outputs.
pub(crate) fn paying(outputs: Vec<TxOut>, number: u8) -> Transaction {
    let somebody = OutPoint::new(Txid::from_byte_array([number; 32]), 0);
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn { previous_output: somebody, ..TxIn::default() }],
        output: outputs,
    }
}

/// The transaction that holds the seal after so many transfers, and the buyer's coin behind it.
fn seal_and_coin(number: u32) -> Transaction {
    let Held { record, number, sale } = held(number);
    let script_pubkey = transferred_seal(POSITION, number, &record, sale).unwrap().script_pubkey;
    let seal = TxOut { value: POSTAGE, script_pubkey };
    paying(vec![seal, coin()], u8::try_from(number).unwrap())
}

/// The chain with escrow, seal and coin; so many shares of the first period, which can be settled.
pub(crate) fn market(shares: usize) -> Play {
    let mut world = World::unfunded(contract(), FUNDED - 1);
    world.fund();
    world.send(seal_and_coin(1));
    world.mine_to(20);
    let mut play = Play::on(world);
    match shares {
        0 => {}
        some => play.deliver(0, some),
    }
    play.ripen(0);
    play
}

/// An honest offer of what the escrow holds now, through a period in which so much is earned.
pub(crate) fn body(play: &Play, settled: Outcome) -> OfferBody {
    let coin = play.world.coin();
    OfferBody {
        format: OFFER_FORMAT.to_owned(),
        position: POSITION,
        terms: TERMS.clone(),
        seal: OutPoint::new(seal_and_coin(1).compute_txid(), 0),
        seller: held(1),
        price: Amount::from_sat(PRICE),
        first: settled.period + 1,
        expires: EXPIRES,
        resale: Some(Resale {
            contract: contract(),
            escrow: coin.outpoint,
            index: coin.index,
            value: coin.value,
            outcome: settled,
            switch: SWITCH,
            guard: Guard::Validators,
        }),
    }
}

/// Seller and buyer agree on this offer: both sign whatever can be built of it.
pub(crate) fn agreed(body: OfferBody, rate: u64) -> Asked {
    let (seller, buyer) = (signer(Seat::Holder), buyer());
    let signature = seller.sign_digest(body.id().unwrap().0).unwrap();
    let coins =
        vec![Paying { outpoint: OutPoint::new(seal_and_coin(1).compute_txid(), 1), txout: coin() }];
    let mut accepted = AcceptanceBody {
        format: ACCEPTANCE_FORMAT.to_owned(),
        offer: body.id().unwrap(),
        holder: BUYER.clone(),
        coins,
        change: buyer.address().script_pubkey(),
        sat_per_vb: rate,
        psbt: String::new(),
    };
    if let Ok(bargain) = bargain(&body, &accepted) {
        accepted.psbt = bargain.exchange.psbt().unwrap().to_string();
    }
    let offer = Offer { offer: body, signature };
    accept(&offer, accepted)
}

/// The buyer signs his acceptance as it stands, and both consent.
pub(crate) fn accept(offer: &Offer, accepted: AcceptanceBody) -> Asked {
    let signature = buyer().sign_digest(accepted.id().unwrap().0).unwrap();
    let acceptance = Acceptance { acceptance: accepted, signature };
    let consent = |by| consent(offer, &acceptance, by);
    let (seller, buyer) = (consent(Party::Seller), consent(Party::Buyer));
    Asked { offer: offer.clone(), acceptance, seller, buyer }
}

fn consent(offer: &Offer, acceptance: &Acceptance, by: Party) -> Consent {
    let accepted = &acceptance.acceptance;
    let built = bargain(&offer.offer, accepted).ok();
    let signing = built.map(|bargain| Exchanging::new(bargain.exchange));
    let pieces = signing.iter().flat_map(|signing| {
        let inputs = by.inputs(&offer.offer, signing);
        inputs.into_iter().map(|input| Piece {
            input: u32::try_from(input).unwrap(),
            witness: witness(signing, input),
        })
    });
    Consent {
        format: CONSENT_FORMAT.to_owned(),
        offer: offer.offer.id().unwrap(),
        acceptance: accepted.id().unwrap(),
        by,
        pieces: pieces.collect(),
    }
}

fn witness(signing: &Exchanging, input: usize) -> Witness {
    let exchange = signing.exchange();
    let digest = exchange.sighash(input).unwrap();
    let sighash = TapSighash::from_byte_array(digest);
    let holder = signer(Seat::Holder);
    let signature = match &exchange.parts()[input].way {
        // A seal of somebody else's he cannot sign.
        Way::Seal(seal) => holder.sign_seal(seal, sighash).unwrap_or_else(|_| zeros()),
        Way::Lock(lock, path) => {
            let leaf = lock.leaf(*path).unwrap();
            let key = leaf.keys.iter().find(|key| key.seat == Seat::Holder).unwrap();
            holder.sign_leaf(LeafAccount::Leaf, &key.steps, sighash).unwrap().1
        }
        Way::Coin => {
            let message = Message::from_digest(digest);
            Secp256k1::new().sign_schnorr_no_aux_rand(&message, &coin_key())
        }
    };
    signed(&signature)
}

/// What the task says of a request.
fn task(asked: &Asked, otherwise: Outcome) -> Task {
    let resale = asked.offer.offer.resale.as_ref();
    let outcome = resale.map_or(otherwise, |resale| resale.outcome);
    Task::Resale { ask: asked.id().unwrap(), outcome }
}

/// The holder asks, two validators see it, and the answer span passes.
fn heard(mut play: Play, settled: Outcome) -> Request {
    let asked = agreed(body(&play, settled), 2);
    let task = task(&asked, settled);
    play.say(Seat::Holder, Event::Resale(ResaleEvent::Asked(Box::new(asked)))).unwrap();
    for seat in [V0, V1] {
        play.act(seat);
    }
    play.world.mine_to(play.world.tip() + 6);
    Request::new(play, task)
}

/// A period is delivered; the holder sells the rest.
pub(crate) fn resale() -> Request {
    static CASE: LazyLock<Request> =
        LazyLock::new(|| heard(market(FULL), outcome(0, INSTALLMENT, false)));
    CASE.clone()
}

/// Nothing was delivered in the first period, so nothing is due; the window is not over.
pub(crate) fn nothing_is_due() -> Request {
    static CASE: LazyLock<Request> = LazyLock::new(|| heard(market(0), outcome(0, 0, false)));
    CASE.clone()
}

/// Nothing was delivered in the whole first window: it has to be closed.
pub(crate) fn failed() -> Play {
    let mut play = market(0);
    play.ripen(1);
    play
}

impl Request {
    /// The request that is asked about.
    pub(crate) fn asked(&self) -> Asked {
        let Task::Resale { ask, .. } = &self.task else { panic!("no resale") };
        self.play.contract.resales().request(ask).unwrap().clone()
    }

    /// Something else is asked for, unadmitted, and nobody has seen it yet.
    pub(crate) fn believe_unseen(&mut self, asked: Asked) -> WordId {
        let Task::Resale { outcome, .. } = self.task else { panic!("no resale") };
        self.task = task(&asked, outcome);
        let id = asked.id().unwrap();
        self.believe(Seat::Holder, &Event::Resale(ResaleEvent::Asked(Box::new(asked))));
        id
    }

    /// The same, seen by two validators who had the tip at `height`.
    pub(crate) fn believe_seen(&mut self, asked: Asked, height: u32) {
        let id = self.believe_unseen(asked);
        for place in [0, 1] {
            self.see(place, id, height);
        }
    }

    /// A validator who had the tip at `height` has seen a request.
    pub(crate) fn see(&mut self, place: u8, id: WordId, height: u32) {
        let receipt = self.play.world.receipt(place, Subject::Resale { digest: id.0 }, height);
        let seen = Event::Resale(ResaleEvent::Receipted(receipt));
        self.believe(Seat::Validator(place), &seen);
    }

    /// Another offer is agreed on and asked for, an answer span ago.
    pub(crate) fn offer(&mut self, change: impl FnOnce(&mut OfferBody)) {
        let mut body = self.asked().offer.offer;
        change(&mut body);
        self.believe_seen(agreed(body, 2), self.play.world.tip() - 6);
    }

    /// The same with what the offer takes over.
    pub(crate) fn takes(&mut self, change: impl FnOnce(&mut Resale)) {
        self.offer(|body| change(body.resale.as_mut().unwrap()));
    }

    /// The seal was moved to the same holder once more.
    pub(crate) fn withdrawn(&mut self) {
        let moved = seal_and_coin(2);
        let seal = OutPoint::new(moved.compute_txid(), 0);
        self.play.world.send(moved);
        self.play.world.mine_to(self.play.world.tip() + 1);
        self.offer(|body| (body.seal, body.seller) = (seal, held(2)));
    }
}
