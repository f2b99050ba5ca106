//! Every transaction of every flow, one line each.

use hashmix::error::Result;
use hashmix::flow::dispute::txs::ruling;
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::flow::escrow::txs::{exit, settlement};
use hashmix::flow::reward::txs::{SweepPath, sweep};
use hashmix::party::Seat;
use hashmix::script::lock::Path;
use hashmix::script::template::Variant;
use hashmix::tx::draft::Draft;

use crate::people::{escrow, outcome, rewards, terms};

/// Sat/vB of everything here.
const RATE: u64 = 5;

/// A transaction of a flow, rebuilt from its terms as often as it is needed.
pub(crate) struct Transaction {
    pub(crate) flow: &'static str,
    pub(crate) name: &'static str,
    pub(crate) variant: Variant,
    build: Box<dyn Fn() -> Result<Draft>>,
}

impl Transaction {
    /// Rebuilds it.
    pub(crate) fn draft(&self) -> Draft {
        (self.build)().unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

/// The transactions of contracts of both variants. Without a key path there is none to spend by.
pub(crate) fn all() -> Vec<Transaction> {
    [Variant::Musig, Variant::Nums]
        .into_iter()
        .flat_map(|variant| of_terms(variant, terms(variant)))
        .collect()
}

/// The transactions of one contract.
#[rustfmt::skip] // one line each
pub(crate) fn of_terms(variant: Variant, terms: &'static EscrowTerms) -> Vec<Transaction> {
    let mut all = Vec::new();
    let mut add = |flow, name, build: Box<dyn Fn() -> Result<Draft>>| {
        all.push(Transaction { flow, name, variant, build });
    };
    let first = move || escrow(terms, 0, 60_000_000);
    let later = move || escrow(terms, 2, 40_000_000);
    let (part, whole) = (outcome(3, 35_000_000, false), outcome(5, 50_000_000, true));

    if variant == Variant::Musig {
        add("escrow", "settlement, key path", Box::new(move || settlement(terms, &first(), part, Path::Key, RATE, None)));
        add("escrow", "settlement of a re-lock, key path", Box::new(move || settlement(terms, &later(), part, Path::Key, RATE, None)));
        add("escrow", "close, key path", Box::new(move || settlement(terms, &later(), whole, Path::Key, RATE, None)));
        add("reward", "sweep of one, key path", Box::new(move || sweep(&terms.reward, SweepPath::Key, &rewards(terms, 1), RATE)));
        add("reward", "sweep of three, key path", Box::new(move || sweep(&terms.reward, SweepPath::Key, &rewards(terms, 3), RATE)));
    }
    add("escrow", "settlement, agreed leaf", Box::new(move || settlement(terms, &first(), part, Path::Agreed, RATE, None)));
    add("escrow", "settlement of a re-lock, agreed leaf", Box::new(move || settlement(terms, &later(), part, Path::Agreed, RATE, None)));
    add("escrow", "close, agreed leaf", Box::new(move || settlement(terms, &later(), whole, Path::Agreed, RATE, None)));
    add("escrow", "settlement, miner ruling leaf, no fee", Box::new(move || settlement(terms, &later(), part, Path::MinerRuling, RATE, None)));
    add("escrow", "settlement, holder ruling leaf, no fee", Box::new(move || settlement(terms, &later(), part, Path::HolderRuling, RATE, None)));
    add("escrow", "close, miner ruling leaf, no fee", Box::new(move || settlement(terms, &later(), whole, Path::MinerRuling, RATE, None)));
    add("escrow", "close, holder ruling leaf, no fee", Box::new(move || settlement(terms, &later(), whole, Path::HolderRuling, RATE, None)));
    add("escrow", "miner's exit", Box::new(move || exit(terms, &later(), Seat::Miner, RATE)));
    add("escrow", "holder's exit", Box::new(move || exit(terms, &later(), Seat::Holder, RATE)));
    add("dispute", "ruling for the miner", Box::new(move || ruling(terms, &later(), part, Seat::Miner, RATE)));
    add("dispute", "closing ruling for the miner", Box::new(move || ruling(terms, &later(), whole, Seat::Miner, RATE)));
    add("dispute", "closing ruling for the holder", Box::new(move || ruling(terms, &later(), whole, Seat::Holder, RATE)));
    add("reward", "sweep of one, agreed leaf", Box::new(move || sweep(&terms.reward, SweepPath::Agreed, &rewards(terms, 1), RATE)));
    add("reward", "sweep of three, agreed leaf", Box::new(move || sweep(&terms.reward, SweepPath::Agreed, &rewards(terms, 3), RATE)));
    add("reward", "sweep of one, miner ruling leaf", Box::new(move || sweep(&terms.reward, SweepPath::MinerRuling, &rewards(terms, 1), RATE)));
    add("reward", "sweep of three, miner ruling leaf", Box::new(move || sweep(&terms.reward, SweepPath::MinerRuling, &rewards(terms, 3), RATE)));
    add("reward", "sweep of one, holder ruling leaf", Box::new(move || sweep(&terms.reward, SweepPath::HolderRuling, &rewards(terms, 1), RATE)));
    add("reward", "sweep of three, holder ruling leaf", Box::new(move || sweep(&terms.reward, SweepPath::HolderRuling, &rewards(terms, 3), RATE)));
    add("reward", "sweep of one, holder exit leaf", Box::new(move || sweep(&terms.reward, SweepPath::HolderExit, &rewards(terms, 1), RATE)));
    add("reward", "sweep of three, holder exit leaf", Box::new(move || sweep(&terms.reward, SweepPath::HolderExit, &rewards(terms, 3), RATE)));
    all
}
