//! What a validator is asked, honest to begin with: the contract and what was said in it, the chain,
//! his sources, his keys, and what he is to sign. Every part can be made to lie.

use std::sync::LazyLock;

use bitcoin::secp256k1::XOnlyPublicKey;
use bitcoin::{Amount, OutPoint};
use hashmix::error::Result;
use hashmix::facts::View;
use hashmix::flow::dispute::state::{Event as DisputeEvent, Opening, Shown};
use hashmix::flow::escrow::txs::{Outcome, settlement};
use hashmix::flow::reward::state::{Event as RewardEvent, SweepAsk, sweepable};
use hashmix::flow::reward::txs::SweepPath;
use hashmix::flow::{Event, Task};
use hashmix::id::{TermsId, WordId};
use hashmix::party::Seat;
use hashmix::policy::seat::OwnKeys;
use hashmix::policy::{self, Case, Stage, Warrant};
use hashmix::script::lock::Path;
use hashmix::work::receipt::Subject;

use crate::examine::Bench;
use crate::world::{FULL, INSTALLMENT, Play, outcome, sign, signer};

pub(crate) const V0: Seat = Seat::Validator(0);
pub(crate) const V1: Seat = Seat::Validator(1);
pub(crate) const V2: Seat = Seat::Validator(2);

/// The public keys that a signer has.
#[derive(Clone)]
pub(crate) struct Keys {
    pub(crate) musig: String,
    pub(crate) leaf: String,
    pub(crate) exit: String,
    pub(crate) communication: XOnlyPublicKey,
}

impl Keys {
    /// Those of a seat.
    pub(crate) fn of(seat: Seat) -> Self {
        let keys = signer(seat).keys();
        Self {
            musig: keys.musig,
            leaf: keys.leaf,
            exit: keys.exit,
            communication: keys.communication,
        }
    }
}

/// A request as it comes before a validator.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) play: Play,
    /// What his sources say; two servers that repeat the chain, unless somebody lies.
    pub(crate) views: Option<Vec<View>>,
    pub(crate) place: u8,
    pub(crate) keys: Keys,
    pub(crate) contract: TermsId,
    pub(crate) task: Task,
    pub(crate) stage: Stage,
}

impl Bench for Request {
    fn verdict(&self) -> Result<()> {
        self.judged().map(|_| ())
    }
}

impl Request {
    pub(crate) fn new(play: Play, task: Task) -> Self {
        let contract = play.contract.id();
        let (place, keys) = (0, Keys::of(V0));
        Self { play, views: None, place, keys, contract, task, stage: Stage::Enter }
    }

    /// What the policy says.
    pub(crate) fn judged(&self) -> Result<Warrant> {
        self.with(|case| policy::judge(case, self.contract, &self.task, self.stage))
    }

    /// Something about the case that the policy sees.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&Case<'_>) -> T) -> T {
        let facts = self.play.world.facts();
        let views = self.views.clone().unwrap_or_else(|| self.repeated());
        let case = Case {
            contract: &self.play.contract,
            facts: &facts,
            views: &views,
            place: self.place,
            keys: OwnKeys {
                musig: &self.keys.musig,
                leaf: &self.keys.leaf,
                exit: &self.keys.exit,
                communication: self.keys.communication,
            },
        };
        look(&case)
    }

    /// What two servers say that repeat the chain.
    fn repeated(&self) -> Vec<View> {
        let facts = self.play.world.facts();
        let outpoints = policy::outpoints(&self.play.contract, &self.task);
        ["server one", "server two"]
            .map(|place| View::of_server(place.to_owned(), &facts, &outpoints).unwrap())
            .into()
    }

    /// What the sources say, to be changed.
    pub(crate) fn sources(&mut self) -> &mut Vec<View> {
        let honest = self.repeated();
        self.views.get_or_insert(honest)
    }

    /// Another validator is asked.
    pub(crate) fn before(&mut self, place: u8) {
        self.place = place;
        self.keys = Keys::of(Seat::Validator(place));
    }

    /// A word is taken that nobody has admitted.
    pub(crate) fn believe(&mut self, from: Seat, event: &Event) {
        self.play.contract.apply(from, event).unwrap();
    }

    /// The same is asked by another opening, unadmitted, with receipts of two validators who had
    /// the tip at `height`.
    pub(crate) fn ask_at(&mut self, opening: Opening, height: u32) {
        let asked = opening.id().unwrap();
        self.believe(Seat::Miner, &Event::Dispute(DisputeEvent::Opened(opening)));
        for place in [0, 1] {
            self.receipt(place, asked, height);
        }
        let Task::Ruling { opening, .. } = &mut self.task else { panic!("no ruling") };
        *opening = asked;
    }

    /// The same, seen when the honest opening of the case could be seen: an answer span ago.
    pub(crate) fn ask(&mut self, change: impl FnOnce(&mut Opening)) {
        let mut opening = self.opening();
        change(&mut opening);
        self.ask_at(opening, self.play.world.tip() - 6);
    }

    /// A validator who had the tip at `height` has seen an opening.
    pub(crate) fn receipt(&mut self, place: u8, opening: WordId, height: u32) {
        let receipt =
            self.play.world.receipt(place, Subject::Opening { digest: opening.0 }, height);
        let seen = Event::Dispute(DisputeEvent::Receipted(receipt));
        self.believe(Seat::Validator(place), &seen);
    }

    /// The opening that is asked about.
    pub(crate) fn opening(&self) -> Opening {
        let Task::Ruling { opening, .. } = &self.task else { panic!("no ruling") };
        *self.play.contract.dispute().opening(opening).unwrap()
    }

    /// The outcome that is asked for.
    pub(crate) fn outcome(&mut self) -> &mut Outcome {
        let Task::Ruling { outcome, .. } = &mut self.task else { panic!("no ruling") };
        outcome
    }

    /// The request for a sweep that is asked about.
    pub(crate) fn sweep(&self) -> SweepAsk {
        let Task::Sweep(ask) = &self.task else { panic!("no sweep") };
        self.play.contract.reward().sweep(ask).unwrap().0.clone()
    }

    /// Another sweep is asked for by a seat, unadmitted.
    pub(crate) fn ask_sweep(&mut self, by: Seat, change: impl FnOnce(&mut SweepAsk)) {
        let mut ask = self.sweep();
        change(&mut ask);
        self.task = Task::Sweep(ask.id().unwrap());
        self.believe(by, &Event::Reward(RewardEvent::SweepAsked(ask)));
    }
}

/// A side opens a dispute, two validators see it, and the answer span passes.
fn heard(
    mut play: Play,
    by: Seat,
    period: u32,
    answer: Option<Outcome>,
    asked: Outcome,
) -> Request {
    let opening = play.opening(by, period);
    let id = opening.id().unwrap();
    play.say(by, Event::Dispute(DisputeEvent::Opened(opening))).unwrap();
    for seat in [V0, V1] {
        play.act(seat);
    }
    if let Some(answer) = answer {
        let shown = shown(&play, answer);
        let event = Event::Dispute(DisputeEvent::Answered { opening: id, shown });
        play.say(Seat::Miner, event).unwrap();
        for seat in [V0, V1] {
            play.act(seat);
        }
    }
    play.world.mine_to(play.world.tip() + 6);
    Request::new(play, Task::Ruling { opening: id, outcome: asked })
}

/// A state that the holder has signed, whatever the evidence says.
pub(crate) fn shown(play: &Play, outcome: Outcome) -> Shown {
    let coin = play.world.coin();
    let draft = settlement(&play.world.terms, &coin, outcome, Path::Agreed, 2, None).unwrap();
    Shown { outcome, sat_per_vb: 2, signatures: sign(&draft, Seat::Holder) }
}

/// Period 1 in full, period 2 to a half; both can be settled.
pub(crate) fn half_a_period_short() -> Play {
    static PLAY: LazyLock<Play> = LazyLock::new(|| {
        let mut play = Play::funded(20);
        play.deliver(0, FULL);
        play.deliver(1, FULL / 2);
        play.ripen(1);
        play
    });
    PLAY.clone()
}

/// Nothing delivered: the first window fails.
pub(crate) fn nothing_delivered() -> Play {
    let mut play = Play::funded(20);
    play.ripen(1);
    play
}

/// The miner asks about period 2: the contract goes on.
pub(crate) fn ruling_for_the_miner() -> Request {
    static CASE: LazyLock<Request> = LazyLock::new(|| {
        let asked = outcome(1, INSTALLMENT * 3 / 2, false);
        heard(half_a_period_short(), Seat::Miner, 1, None, asked)
    });
    CASE.clone()
}

/// The holder asks about the window that failed: a close, with nothing due.
pub(crate) fn close_for_the_holder() -> Request {
    static CASE: LazyLock<Request> =
        LazyLock::new(|| heard(nothing_delivered(), Seat::Holder, 1, None, outcome(1, 0, true)));
    CASE.clone()
}

/// The miner asks about period 2, and the holder has signed a state of this many satoshis for it.
pub(crate) fn ruling_on_a_state(earned: u64) -> Request {
    let state = outcome(1, earned, false);
    heard(half_a_period_short(), Seat::Miner, 1, Some(state), state)
}

/// The miner asks about a period, with a state of it that the holder has signed.
pub(crate) fn answered(play: Play, period: u32, state: Outcome) -> Request {
    heard(play, Seat::Miner, period, Some(state), state)
}

/// The term is over, one and a half of six periods delivered; a side asks for the end.
pub(crate) fn close_at_the_end(by: Seat) -> Request {
    let mut play = half_a_period_short();
    play.ripen(5);
    heard(play, by, 5, None, outcome(5, INSTALLMENT * 3 / 2, true))
}

/// The first ruling was mined, and the miner asks about the re-lock: period 3 is full too.
pub(crate) fn ruling_on_the_relock(first: Option<u64>) -> Request {
    let mut play = paid_once(first);
    play.deliver(2, FULL);
    play.ripen(2);
    heard(play, Seat::Miner, 2, None, outcome(2, INSTALLMENT * 5 / 2, false))
}

/// Two validators and the miner have settled period 2, by the evidence or by a state; the re-lock
/// waits for a block.
pub(crate) fn paid_once(state: Option<u64>) -> Play {
    let request = state.map_or_else(ruling_for_the_miner, ruling_on_a_state);
    let mut play = request.play;
    for seat in [V0, V1] {
        play.act(seat);
    }
    assert_eq!(play.act(Seat::Miner).len(), 1);
    play
}

/// A dispute about the present output, whoever rules: told, receipted, heard.
pub(crate) fn dispute(play: Play, by: Seat, period: u32, asked: Outcome) -> Request {
    heard(play, by, period, None, asked)
}

/// A side asks for a sweep of the oldest rewards.
pub(crate) fn sweep(by: Seat, path: SweepPath, count: usize, tip: u32) -> Request {
    let mut play = Play::funded(tip);
    let rewards = rewards(&play, count);
    let ask = SweepAsk { path, rewards, sat_per_vb: 2 };
    let task = Task::Sweep(ask.id().unwrap());
    play.say(by, Event::Reward(RewardEvent::SweepAsked(ask))).unwrap();
    Request::new(play, task)
}

/// The oldest rewards that can be swept.
pub(crate) fn rewards(play: &Play, count: usize) -> Vec<OutPoint> {
    let coins = sweepable(&play.world.terms, &play.world.facts()).unwrap();
    let rewards: Vec<OutPoint> = coins.iter().take(count).map(|coin| coin.outpoint).collect();
    assert_eq!(rewards.len(), count);
    rewards
}

/// The holder is gone: the miner asks for three rewards, the last of them just mature.
pub(crate) fn sweep_for_the_miner() -> Request {
    static CASE: LazyLock<Request> =
        LazyLock::new(|| sweep(Seat::Miner, SweepPath::MinerRuling, 3, 121));
    CASE.clone()
}

/// The miner is gone: the holder asks for three rewards, the last of them just mature.
pub(crate) fn sweep_for_the_holder() -> Request {
    static CASE: LazyLock<Request> =
        LazyLock::new(|| sweep(Seat::Holder, SweepPath::HolderRuling, 3, 121));
    CASE.clone()
}

/// Adds satoshis to an amount, or takes them away.
pub(crate) fn shift(amount: &mut Amount, by: i64) {
    *amount = Amount::from_sat(amount.to_sat().checked_add_signed(by).unwrap());
}
