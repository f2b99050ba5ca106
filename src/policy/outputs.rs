//! Step 3: the outputs that would be spent, as every source of ours shows them. One server can be
//! bought or broken; two that agree, or a node of our own, are harder to come by.

use bitcoin::{OutPoint, Txid};

use super::{Case, Reasoned, because};
use crate::error::{Culprit, Result, Rule};
use crate::facts::{COINBASE_MATURITY, CoinView, Facts, View};
use crate::flow::Task;
use crate::tx::rebuilt::{Rebuilt, Spent};

/// One source is none.
pub const VIEWS: Rule = Rule::new(
    "policy-chain-views",
    "a validator asks a Bitcoin Core of his own, or at least two Electrum servers that differ",
    "name a second server, or the RPC of your own node",
);
/// Sources are in step.
pub const LAG: Rule = Rule::new(
    "policy-chain-lag",
    "no source is more than two blocks behind or ahead of our own chain",
    "wait until it has caught up; if it does not, name another one",
);
/// Sources follow one chain.
pub const AGREE: Rule = Rule::new(
    "policy-chain-agree",
    "every source has the block that our own chain has at its height",
    "find out which of them is on a losing branch; nothing is signed meanwhile",
);
/// Nothing is hidden.
pub const HISTORY: Rule = Rule::new(
    "policy-chain-history",
    "every server shows the transactions that our own chain shows of the contract, at the same heights",
    "name other servers: one of these hides or invents a transaction",
);
/// What is spent is there.
pub const UNSPENT: Rule = Rule::new(
    "policy-chain-unspent",
    "an output to be spent is known and unspent in every source",
    "wait until all sources show it; if one never does, it hides or invents something",
);
/// What is spent lies in a block.
pub const CONFIRMED: Rule = Rule::new(
    "policy-chain-confirmed",
    "an output to be spent lies in a block in every source",
    "wait for the next block",
);
/// Everywhere in the same block.
pub const HEIGHT: Rule = Rule::new(
    "policy-chain-height",
    "every source has an output to be spent at the same height",
    "name other servers: these do not show one chain",
);
/// What it holds.
pub const VALUE: Rule = Rule::new(
    "policy-chain-value",
    "an output to be spent holds in every source what the transaction counts on",
    "name other servers: one of these lies about an amount",
);
/// What it pays.
pub const SCRIPT: Rule = Rule::new(
    "policy-chain-script",
    "an output to be spent pays in every source the lock that the terms rebuild, a buyer's coin what his acceptance says",
    "name other servers: one of these lies about a script",
);
/// Rewards are made by coinbases, escrows are not.
pub const COINBASE: Rule = Rule::new(
    "policy-chain-coinbase",
    "a reward is an output of a coinbase in every source, an escrow or a seal of a transaction that is none",
    "sweep rewards only; what else was paid to the lock is taken out by miner and holder",
);
/// Coinbases mature.
pub const MATURE: Rule = Rule::new(
    "policy-chain-mature",
    "a coinbase's output lies 100 blocks deep in every source",
    "wait until it has matured",
);

pub(super) const RULES: [Reasoned; 11] = [
    because(VIEWS, "one server could invent the escrow, or hide its spend"),
    because(LAG, "a source that stands still confirms what is long gone"),
    because(AGREE, "a ruling would rest on blocks that lose"),
    because(HISTORY, "a server that hides the proof of a slice would take it from the miner"),
    because(UNSPENT, "a ruling on a spent output would be kept for the day when a reorg frees it"),
    because(CONFIRMED, "an output that vanishes would carry a ruling on terms nobody paid for"),
    because(HEIGHT, "spans that count from its block would differ from one source to the other"),
    because(VALUE, "what is missing would be taken from a party, or go to fees"),
    because(SCRIPT, "the ruling would be for a lock that holds nothing"),
    because(COINBASE, "a stranger's payment to the lock would be ruled on as if it were mined"),
    because(
        MATURE,
        "the network refuses the sweep, and meanwhile the reward may be reorganised away",
    ),
];

/// Blocks that a source may be behind or ahead: a block is on its way for a while.
const LAGGING: u32 = 2;

/// Refuses outputs that our sources do not all show as the draft spends them.
pub fn check(case: &Case<'_>, task: &Task, draft: &Rebuilt) -> Result<()> {
    let reward = matches!(task, Task::Sweep(_));
    agree(case.facts, case.views)?;
    for view in case.views {
        for spend in &draft.spent() {
            output(view, spend, case.facts, reward)?;
        }
    }
    Ok(())
}

/// Refuses sources that are too few, or that do not show the chain that we see ourselves.
pub fn agree(facts: &Facts, views: &[View]) -> Result<()> {
    let mut servers: Vec<&str> = views.iter().map(|view| view.place.as_str()).collect();
    servers.sort_unstable();
    servers.dedup();
    if servers.len() < 2 && !views.iter().any(|view| view.node) {
        let found = format_args!("{} different servers", servers.len()).to_string();
        return Err(VIEWS.unavailable("sources", "a node, or two servers", found));
    }
    for view in views {
        chain(view, facts)?;
        history(view, facts)?;
    }
    Ok(())
}

/// Refuses a source that is elsewhere than our own chain.
fn chain(view: &View, facts: &Facts) -> Result<()> {
    let (height, hash) = view.tip;
    let ours = facts.tip();
    if height.abs_diff(ours) > LAGGING {
        let expected = format_args!("a tip within {LAGGING} blocks of {ours}").to_string();
        return Err(LAG.unavailable(&view.place, expected, height));
    }
    // Of a tip above ours we cannot tell; what it says of the outputs must be the same all the same.
    match facts.headers.hash(height) {
        Some(known) if known != hash => {
            let place = format!("{}, block {height}", view.place);
            Err(AGREE.unavailable(place, known, hash))
        }
        _ => Ok(()),
    }
}

/// Refuses a server that shows other transactions than our own chain does, as far as both reach.
fn history(view: &View, facts: &Facts) -> Result<()> {
    let Some(theirs) = &view.history else { return Ok(()) };
    let reach = view.tip.0.min(facts.tip());
    let within = |(_, height): &(&Txid, &u32)| **height <= reach;
    let ours = crate::facts::history(facts);
    let differs = ours
        .iter()
        .filter(within)
        .find(|(txid, height)| theirs.get(*txid) != Some(*height))
        .map(|(txid, height)| (txid, Some(height), theirs.get(txid)))
        .or_else(|| {
            let more = theirs.iter().filter(within).find(|(txid, _)| !ours.contains_key(*txid));
            more.map(|(txid, height)| (txid, None, Some(height)))
        });
    let Some((txid, ours, theirs)) = differs else { return Ok(()) };
    let at = |height: Option<&u32>| height.map_or("nowhere".to_owned(), |h| format!("height {h}"));
    Err(HISTORY.unavailable(format!("{}, transaction {txid}", view.place), at(ours), at(theirs)))
}

/// Refuses an output that the source does not show as it is to be spent.
fn output(view: &View, spend: &Spent<'_>, facts: &Facts, reward: bool) -> Result<()> {
    let place = place(view, spend.outpoint);
    let coin = view.coins.get(&spend.outpoint).and_then(Option::as_ref);
    let Some(coin) = coin else {
        return Err(UNSPENT.unavailable(place, "an unspent output", "none"));
    };
    let Some(height) = coin.height else {
        return Err(CONFIRMED.unavailable(place, "a height", "the mempool"));
    };
    let ours = facts.transactions.get(&spend.outpoint.txid).and_then(|seen| seen.height);
    if ours != Some(height) {
        let ours = ours.map_or("none".to_owned(), |height| height.to_string());
        return Err(HEIGHT.unavailable(place, ours, height));
    }
    contents(&place, coin, spend)?;
    // A buyer may well have mined what he pays with.
    if coin.coinbase != reward && !spend.coin {
        let kind = |coinbase| if coinbase { "a coinbase" } else { "no coinbase" };
        return Err(COINBASE.unavailable(place, kind(reward), kind(coin.coinbase)));
    }
    let depth = view.tip.0.saturating_add(1).saturating_sub(height);
    if coin.coinbase && depth < COINBASE_MATURITY {
        let expected = format_args!("{COINBASE_MATURITY} blocks").to_string();
        return Err(MATURE.unavailable(place, expected, depth));
    }
    Ok(())
}

fn contents(place: &str, coin: &CoinView, spend: &Spent<'_>) -> Result<()> {
    if coin.value != spend.prevout.value {
        return Err(VALUE.refuses(Culprit::Server, place, spend.prevout.value, coin.value));
    }
    if coin.script != spend.prevout.script_pubkey {
        let expected = format!("{:x}", spend.prevout.script_pubkey);
        let found = match coin.script.is_empty() {
            true => "no script".to_owned(),
            false => format!("{:x}", coin.script),
        };
        return Err(SCRIPT.refuses(Culprit::Server, place, expected, found));
    }
    Ok(())
}

fn place(view: &View, outpoint: OutPoint) -> String {
    format!("{}, output {outpoint}", view.place)
}
