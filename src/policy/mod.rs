//! The policy: what a validator asks before he signs. He applies rules and can do nothing else.
//!
//! For each request, in this order ([`STEPS`]); the first rule that is broken ends it:
//!
//! | step | asks | rules |
//! |---|---|---|
//! | 1. own seat, own contract | is it ours, are these our keys, is it a thing that validators sign? | [`seat`] |
//! | 2. request | was it made, in time, and is the outcome what the evidence says? | [`ruling`], [`sweep`], [`resale`] |
//! | 3. outputs | do all our ways to the chain agree that they are there, and what they hold? | [`outputs`] |
//! | 4. transaction | rebuilt from the terms: is it a settlement, a close, a sweep or a resale and nothing else? | [`shape`], [`exchange`] |
//! | 5. way in | is the leaf the agreed one, committed to by the output, with our key in it? | [`leaf`] |
//! | 6. memory | does it contradict what we are bound to, is it entered, do others hold it? | [`journal`] |
//!
//! What passes is a [`Warrant`]: one draft, rebuilt here. It cannot be made otherwise and not be
//! cloned; the engine commits the journal's entry, and signs of each input the one leaf that the
//! warrant names, with SIGHASH_DEFAULT. A PSBT that came with the request is compared with the
//! warrant's draft field by field (`policy-tx-*`, `policy-psbt-*`), and nothing in it is believed.
//!
//! Steps 4 and 5 ask again what the builder of the transaction has just built, in other words than
//! the builder's: a fault there stops us instead of the coins.
//!
//! A refusal names the rule, who broke it, what was expected and what was found, and can be shown to
//! the other side. [`rules`] lists all of them; `docs/policy.md` says why each is there.

pub mod carried;
pub mod exchange;
pub mod issue;
pub mod leaf;
pub mod outputs;
pub mod resale;
pub mod ruling;
pub mod seat;
pub mod shape;
pub mod sweep;

use bitcoin::OutPoint;

use crate::error::{Error, Result, Rule};
use crate::facts::{Facts, View};
use crate::flow::dispute::memory;
use crate::flow::resale::coins::spent;
use crate::flow::{Contract, Task, journal};
use crate::id::TermsId;
use crate::tx::rebuilt::Rebuilt;

/// What a judgement rests on: our own registry, our own views, our own keys.
#[derive(Debug)]
pub struct Case<'a> {
    /// The contract, out of our own registry, with everything that was said in it.
    pub contract: &'a Contract,
    /// The chain as we see it ourselves.
    pub facts: &'a Facts,
    /// What each of our sources says of the outputs that are to be spent (see [`outpoints`]).
    pub views: &'a [View],
    /// Our place in the federation.
    pub place: u8,
    /// Our keys.
    pub keys: seat::OwnKeys<'a>,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// To be entered in the journal.
    Enter,
    /// Entered; to be signed.
    Sign,
}

/// A transaction that has passed every rule. It cannot be cloned, and [`judge`] alone makes one:
///
/// ```compile_fail
/// fn twice(warrant: hashmix::policy::Warrant) -> [hashmix::policy::Warrant; 2] {
///     [warrant.clone(), warrant]
/// }
/// ```
#[derive(Debug)]
pub struct Warrant {
    draft: Rebuilt,
    bond: journal::Bond,
}

impl Warrant {
    /// The transaction.
    pub fn draft(&self) -> &Rebuilt {
        &self.draft
    }

    /// What the validator binds himself to.
    pub fn bond(&self) -> &journal::Bond {
        &self.bond
    }
}

/// The outputs that a task would spend, as far as they are known: what the sources are to be asked.
pub fn outpoints(contract: &Contract, task: &Task) -> Vec<OutPoint> {
    match task {
        Task::State(ask) => vec![ask.outpoint],
        Task::Ruling { opening, .. } => {
            let opening = contract.dispute().opening(opening);
            opening.map(|opening| opening.outpoint).into_iter().collect()
        }
        Task::Sweep(ask) => {
            let sweep = contract.reward().sweep(ask);
            sweep.map(|(ask, _)| ask.rewards.clone()).unwrap_or_default()
        }
        Task::Resale { ask, .. } => contract.resales().request(ask).map(spent).unwrap_or_default(),
    }
}

/// A request on its way through the steps.
#[derive(Debug)]
pub struct Judgement<'a> {
    case: &'a Case<'a>,
    contract: TermsId,
    task: &'a Task,
    stage: Stage,
    /// The transaction, once it is rebuilt.
    draft: Option<Rebuilt>,
}

/// One step: it lets the request pass, or refuses it.
pub type Step = fn(&mut Judgement<'_>) -> Result<()>;

/// The steps, by name, in the order in which they are taken (see the module's table).
pub const STEPS: [(&str, Step); 6] = [
    ("seat", |request| seat::check(request.case, request.contract, request.task)),
    ("request", |request| {
        request.draft = Some(match request.task {
            Task::Ruling { opening, outcome } => {
                ruling::check(request.case, opening, outcome)?.into()
            }
            Task::Sweep(ask) => sweep::check(request.case, ask)?.into(),
            Task::Resale { ask, outcome } => resale::check(request.case, ask, outcome)?.into(),
            Task::State(_) => return Err(no_task()),
        });
        Ok(())
    }),
    ("outputs", |request| outputs::check(request.case, request.task, request.draft()?)),
    ("shape", |request| {
        let (case, task) = (request.case, request.task);
        match request.draft()? {
            Rebuilt::Draft(draft) => shape::check(case, task, draft.transaction(), draft.spends()),
            Rebuilt::Exchange { exchange, .. } => {
                exchange::check(case, task, exchange.transaction(), exchange.parts())
            }
        }
    }),
    ("leaf", |request| {
        let terms = request.case.contract.terms();
        leaf::check(terms, request.case.place, request.draft()?.spends())
    }),
    ("memory", |request| {
        let (bond, place) = (request.bond()?, request.case.place);
        let journals = request.case.contract.journals();
        let k = usize::from(request.case.contract.terms().reward.federation.threshold);
        match request.stage {
            Stage::Enter => journals.admit_bond(place, &bond),
            Stage::Sign => journals.admit_signature(place, &bond, k),
        }
    }),
];

impl Judgement<'_> {
    fn draft(&self) -> Result<&Rebuilt> {
        self.draft.as_ref().ok_or_else(no_task)
    }

    fn bond(&self) -> Result<journal::Bond> {
        self.task.bond(self.draft()?).ok_or_else(no_task)
    }
}

fn no_task() -> Error {
    seat::TASK.broken("task", "something that validators sign", "none")
}

/// Judges what is asked of a validator in `contract`, by every rule.
pub fn judge(case: &Case<'_>, contract: TermsId, task: &Task, stage: Stage) -> Result<Warrant> {
    let mut request = Judgement { case, contract, task, stage, draft: None };
    for (_, step) in STEPS {
        step(&mut request)?;
    }
    let bond = request.bond()?;
    request.draft.map(|draft| Warrant { draft, bond }).ok_or_else(no_task)
}

/// A rule of the policy, and which attack it keeps out.
#[derive(Clone, Copy, Debug)]
pub struct Reasoned {
    /// The rule.
    pub rule: Rule,
    /// What could happen without it.
    pub why: &'static str,
}

/// A rule with its reason.
pub(crate) const fn because(rule: Rule, why: &'static str) -> Reasoned {
    Reasoned { rule, why }
}

/// Every rule that [`judge`] asks, in the order in which it asks them.
pub fn rules() -> Vec<Reasoned> {
    [
        &seat::RULES[..],
        &ruling::RULES[..],
        &sweep::RULES[..],
        &resale::RULES[..],
        &outputs::RULES[..],
        &shape::RULES[..],
        &exchange::RULES[..],
        &leaf::RULES[..],
        &MEMORY[..],
    ]
    .concat()
}

/// The rules of the memory.
const MEMORY: [Reasoned; 12] = [
    because(journal::SIGNED, "an entry made up by a witness would shut an honest validator"),
    because(journal::CHAINED, "an entry left out could be entered anew with another content"),
    because(journal::WITNESS, "a validator with an old disk would be his own witness"),
    because(journal::ENTERED, "after a crash nobody would know what had been signed"),
    because(journal::HELD, "a restored backup would sign the opposite before anybody noticed"),
    because(journal::BEHIND, "an old copy of the store does not know what it must not contradict"),
    because(journal::FORKED, "two copies of one validator would rule both ways"),
    because(journal::ONCE, "one request would be signed as two transactions"),
    because(journal::RESOLD, "of two buyers one would wait for nothing, and know it last"),
    because(memory::FALLS, "a second ruling would take back what the first one paid"),
    because(memory::LATER, "a later period would undo an earlier ruling"),
    because(
        memory::CLOSES,
        "a contract that was let go on would be closed behind the miner's back",
    ),
];
