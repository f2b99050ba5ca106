//! A share: an 80-byte header below a target, its coinbase, and the branch that ties them. It is
//! work that would have paid the reward lock, had it been a block.
//!
//! Five rules make it count; each refusal names its rule.
//!
//! | rule | what | ids |
//! |---|---|---|
//! | 1 | the header belongs where the chain is, and when | `work-share-parent`, `-slice`, `-bits`, `-time`, `-version` |
//! | 2 | the coinbase could be that block's | `work-coinbase-…` |
//! | 3 | the branch ties it to the header, as leaf 0 | `work-branch-root`, `-depth`, `-twin` |
//! | 4 | it pays whom it should, what it should | `work-pay-lock`, `-holder`, `-service`, `-total` |
//! | 5 | hash x total / paid is at most the target | `work-target`, `work-share-twice` |
//!
//! Rule 1 needs the chain's headers ([`weigh`]); rules 2-5 do not ([`prove`]).

use bitcoin::block::Header;
use bitcoin::hashes::Hash;
use bitcoin::{Amount, BlockHash, Target, Transaction, TxMerkleNode, Witness};
use ruint::aliases::{U128, U256, U384};
use serde::{Deserialize, Serialize};

use crate::error::{Culprit, Error, Result, Rule};
use crate::headers::{Headers, KNOWN};
use crate::work::agreement::{Demand, WorkTerms, wide};
use crate::work::coinbase::{Coinbase, Payment};
use crate::work::template::Job;
use crate::work::{hash, hex};

/// The headers are of the terms' network.
pub const NETWORK: Rule = Rule::new(
    "work-share-network",
    "work is judged by the headers of the network in the terms",
    "synchronise with a server of that network",
);
/// A share builds on the active chain.
pub const PARENT: Rule = Rule::new(
    "work-share-parent",
    "a share's parent is a block of the active chain",
    "leave the share out; after a reorg it proves nothing",
);
/// A share lies within the term.
pub const SLICE: Rule = Rule::new(
    "work-share-slice",
    "a share's height lies in the slice it is shown for",
    "show it for its own slice",
);
/// A share states the network's difficulty.
pub const BITS: Rule = Rule::new(
    "work-share-bits",
    "a share states the difficulty that a block at its place must state",
    "mine on the current template",
);
/// A share's time is one that its block could have had.
pub const TIME: Rule = Rule::new(
    "work-share-time",
    "a share's time is after its parent's median-time-past and at most 7,200 s after the block that followed",
    "correct the machine's clock",
);
/// A share's version is one that version rolling yields.
pub const VERSION: Rule = Rule::new(
    "work-share-version",
    "the top three bits of a share's version are 001 (BIP 9, BIP 320)",
    "do not roll the top bits",
);
/// The branch leads from the coinbase to the header.
pub const ROOT: Rule = Rule::new(
    "work-branch-root",
    "the branch hashes the coinbase, as leaf 0, to the header's merkle root",
    "show the branch of this very coinbase",
);
/// The branch is no deeper than a block can be.
pub const DEPTH: Rule = Rule::new(
    "work-branch-depth",
    "a branch has at most 14 levels",
    "show the branch of this very block",
);
/// The branch has no twin of the node it climbs from.
pub const TWIN: Rule = Rule::new(
    "work-branch-twin",
    "no sibling in the branch equals the node beside it",
    "mine a block without duplicates",
);
/// The hash is low enough for what was paid.
pub const TARGET: Rule = Rule::new(
    "work-target",
    "the header's hash x total / paid is at most the target",
    "show work below the target only",
);

/// Levels that a block of the largest size can have.
const DEEPEST: usize = 14;
/// Seconds that a block's time may be ahead of a node's clock.
const AHEAD: u32 = 7_200;

/// Work that would have paid: header, coinbase and branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// The header that was ground.
    #[serde(with = "hex::header")]
    pub header: Header,
    /// The coinbase as it is hashed into its txid: without witness.
    #[serde(with = "hex::bytes")]
    pub coinbase: Vec<u8>,
    /// Sibling hashes from leaf 0 up to the root, in the order of bytes in which they are hashed.
    #[serde(with = "hex::branch")]
    pub branch: Vec<TxMerkleNode>,
}

/// A share that counts: where it lies and what it paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighed {
    /// The header's hash: it names the share.
    pub hash: BlockHash,
    /// The height that its block would have had.
    pub height: u32,
    /// The slice (0-based) that this height lies in.
    pub slice: u32,
    /// What it paid and to whom.
    pub payment: Payment,
}

impl Share {
    /// A ground header of a job, with the rest of the job.
    pub fn of(job: &Job, header: Header) -> Self {
        Self { header, coinbase: without_witness(&job.coinbase), branch: job.branch.clone() }
    }

    /// The header's hash: it names the share.
    pub fn hash(&self) -> BlockHash {
        BlockHash::from_byte_array(hash::header(&self.header))
    }
}

/// The bytes of a transaction that make its txid.
pub fn without_witness(tx: &Transaction) -> Vec<u8> {
    let mut bare = tx.clone();
    for input in &mut bare.input {
        input.witness = Witness::new();
    }
    bitcoin::consensus::serialize(&bare)
}

/// Rules 1-5: whether a share counts for these terms, on this chain.
pub fn weigh(share: &Share, terms: &WorkTerms, headers: &Headers) -> Result<Weighed> {
    let claim = claim_on_chain(share, terms, headers)?;
    check_root(share, hash::fold(claim.leaf, &share.branch))?;
    Ok(claim.weighed)
}

/// What [`weigh`] says of each of many shares, in their order; faster, because the branches of two
/// shares are climbed at once.
pub fn weigh_all(shares: &[Share], terms: &WorkTerms, headers: &Headers) -> Vec<Result<Weighed>> {
    let mut results = Vec::with_capacity(shares.len());
    for pair in shares.chunks(2) {
        match pair {
            [a, b] => results.extend(weigh_two([a, b], terms, headers)),
            rest => results.extend(rest.iter().map(|share| weigh(share, terms, headers))),
        }
    }
    results
}

fn weigh_two([a, b]: [&Share; 2], terms: &WorkTerms, headers: &Headers) -> [Result<Weighed>; 2] {
    match [a, b].map(|share| claim_on_chain(share, terms, headers)) {
        [Ok(x), Ok(y)] => {
            let [left, right] = hash::fold_two([x.leaf, y.leaf], [&a.branch, &b.branch]);
            [check_root(a, left).map(|()| x.weighed), check_root(b, right).map(|()| y.weighed)]
        }
        _ => [weigh(a, terms, headers), weigh(b, terms, headers)],
    }
}

/// What a share shows before its branch is climbed.
struct Claim<T> {
    /// What it is worth if the branch leads to the root.
    weighed: T,
    /// The coinbase's txid, at leaf 0.
    leaf: [u8; 32],
}

/// Rules 1, 2, 4, 5.
fn claim_on_chain(share: &Share, terms: &WorkTerms, headers: &Headers) -> Result<Claim<Weighed>> {
    check_network(terms, headers)?;
    let Place { parent, height, slice, latest } =
        place(share.header.prev_blockhash, None, terms, headers)?;
    let median = check_header(&share.header, parent, latest, headers)?;
    let Claim { weighed: Proof { hash, payment }, leaf } =
        claim(share, height, median, &terms.demand(slice))?;
    Ok(Claim { weighed: Weighed { hash, height, slice, payment }, leaf })
}

/// Where in the chain the block of a share would have stood.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Height of the parent.
    pub(crate) parent: u32,
    /// The height that the block would have had.
    pub(crate) height: u32,
    /// The slice (0-based) that this height lies in.
    pub(crate) slice: u32,
    /// The latest time that it could have had (Unix seconds).
    pub(crate) latest: u32,
}

/// Rule 1, as far as it is about the parent: it is in the active chain, and the height behind it in
/// the term. Where it probably is, is looked at first: a hash is at one height only.
pub(crate) fn place(
    parent: BlockHash,
    probably: Option<u32>,
    terms: &WorkTerms,
    headers: &Headers,
) -> Result<Place> {
    let refuse = |rule: Rule, expected: String, found: String| {
        Err(rule.refuses(Culprit::Miner, "header", expected, found))
    };
    let there = probably.filter(|height| headers.hash(*height) == Some(parent));
    let Some(known) = there.or_else(|| headers.height_of(parent)) else {
        return refuse(PARENT, "a parent in the active chain".into(), format!("parent {parent}"));
    };
    let (parent, height) = (known, known.saturating_add(1));
    let calendar = terms.calendar();
    let Some(slice) = calendar.slice_of(height) else {
        let expected = format!("a height from {} to {}", calendar.begin(), calendar.end());
        return refuse(SLICE, expected, format!("height {height}"));
    };
    let Some(child) = headers.header(height) else {
        return Err(KNOWN.unavailable(
            format_args!("share after height {parent}"),
            format_args!("the block at height {height}"),
            format_args!("headers {} to {}", headers.first(), headers.tip()),
        ));
    };
    Ok(Place { parent, height, slice, latest: child.time.saturating_add(AHEAD) })
}

/// Rule 1, as far as it is about the header itself; answers its parent's median-time-past.
pub(crate) fn check_header(
    header: &Header,
    parent: u32,
    latest: u32,
    headers: &Headers,
) -> Result<u32> {
    let refuse = |rule: Rule, expected: String, found: String| {
        Err(rule.refuses(Culprit::Miner, "header", expected, found))
    };
    let bits = headers.bits_after(parent, header.time)?;
    if header.bits != bits {
        let found = format!("{:08x}", header.bits.to_consensus());
        return refuse(BITS, format!("nBits {:08x}", bits.to_consensus()), found);
    }
    let median = headers.median_time_past(parent)?;
    if header.time <= median || header.time > latest {
        let expected = format!("a time after {median} and until {latest}");
        return refuse(TIME, expected, header.time.to_string());
    }
    let version = header.version.to_consensus();
    // The top three bits as a number: 001 in a signed integer is 1.
    if version >> 29 != 1 {
        return refuse(VERSION, "top bits 001".into(), format!("version {version:08x}"));
    }
    Ok(median)
}

/// What rules 2-5 find of a share whatever the chain: it counts where it stands at this height and
/// the median-time-past of its parent has passed the time lock, and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The header's hash.
    pub hash: BlockHash,
    /// The height that its coinbase states (BIP 34).
    pub height: u32,
    /// The time that its parent's median-time-past must have passed (Unix seconds), if its coinbase
    /// waits for one (BIP 113).
    pub after: Option<u32>,
}

impl Standing {
    /// Whether the share counts at this height, with this median-time-past of its parent.
    pub fn holds(&self, height: u32, median: u32) -> bool {
        self.height == height && self.after.is_none_or(|time| time < median)
    }
}

/// How each share stands at the heights of a slice; `None` for one that counts at none of them.
pub(crate) fn stand_all(shares: &[Share], slice: u32, terms: &WorkTerms) -> Vec<Option<Standing>> {
    let mut standings = Vec::with_capacity(shares.len());
    for pair in shares.chunks(2) {
        match pair {
            [a, b] => standings.extend(stand_two([a, b], slice, terms)),
            rest => standings.extend(rest.iter().map(|share| {
                let claim = standing_claim(share, slice, terms)?;
                rooted(share, hash::fold(claim.leaf, &share.branch), claim.weighed)
            })),
        }
    }
    standings
}

/// The branches of two shares are climbed at once.
fn stand_two([a, b]: [&Share; 2], slice: u32, terms: &WorkTerms) -> [Option<Standing>; 2] {
    match [a, b].map(|share| standing_claim(share, slice, terms)) {
        [Some(x), Some(y)] => {
            let [left, right] = hash::fold_two([x.leaf, y.leaf], [&a.branch, &b.branch]);
            [rooted(a, left, x.weighed), rooted(b, right, y.weighed)]
        }
        [x, y] => [(a, x), (b, y)].map(|(share, claim)| {
            let claim = claim?;
            rooted(share, hash::fold(claim.leaf, &share.branch), claim.weighed)
        }),
    }
}

fn rooted(share: &Share, root: Option<[u8; 32]>, standing: Standing) -> Option<Standing> {
    check_root(share, root).ok().map(|()| standing)
}

/// Rules 2, 4, 5 at the one height of the slice that the coinbase states.
fn standing_claim(share: &Share, slice: u32, terms: &WorkTerms) -> Option<Claim<Standing>> {
    let coinbase = Coinbase::parse(&share.coinbase).ok()?;
    let mut heights = terms.calendar().slice_blocks(slice)?;
    let height = heights.find(|height| coinbase.states_height(*height))?;
    let after = coinbase.locked_until();
    // A median just past the time lock: whether the real one is past it is asked on the chain.
    let median = after.map_or(Some(0), |time| time.checked_add(1))?;
    let Claim { weighed, leaf } = claim(share, height, median, &terms.demand(slice)).ok()?;
    Some(Claim { weighed: Standing { hash: weighed.hash, height, after }, leaf })
}

/// The headers are of the terms' network, or nothing can be judged by them.
pub(crate) fn check_network(terms: &WorkTerms, headers: &Headers) -> Result<()> {
    if headers.network() == terms.network {
        return Ok(());
    }
    Err(NETWORK.unavailable("header chain", terms.network, headers.network()))
}

/// What rules 2-5 find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The header's hash.
    pub hash: BlockHash,
    /// What the coinbase paid.
    pub payment: Payment,
}

/// Whether a header's hash is above the target, so that it is a share of nobody, whatever its coinbase
/// pays: what [`prove`] asks first, without a word about it, for whoever turns away many.
pub fn misses(header: &Header, target: Target) -> bool {
    U256::from_le_bytes(hash::header(header)) > U256::from_le_bytes(target.to_le_bytes())
}

/// Rules 2-5: whether a share at `height` proves work that pays as demanded. Without the chain the
/// header's own time stands in for its parent's median-time-past, which it must exceed.
pub fn prove(share: &Share, height: u32, median: u32, demand: &Demand<'_>) -> Result<Proof> {
    let claim = claim(share, height, median, demand)?;
    check_root(share, hash::fold(claim.leaf, &share.branch))?;
    Ok(claim.weighed)
}

/// Rules 2, 4, 5, and the depth of the branch.
fn claim(share: &Share, height: u32, median: u32, demand: &Demand<'_>) -> Result<Claim<Proof>> {
    // The cheapest refusal first: paid never exceeds total, so u is never below the hash.
    let hash = hash::header(&share.header);
    let number = U256::from_le_bytes(hash);
    let target = U256::from_le_bytes(demand.target.to_le_bytes());
    if number > target {
        return Err(above(demand, &hash, None));
    }
    let coinbase = Coinbase::parse(&share.coinbase)?;
    coinbase.check_place(height, median)?;
    let payment = coinbase.payment(height, demand)?;
    if times(number, payment.total) > times(target, payment.paid) {
        return Err(above(demand, &hash, Some(payment)));
    }
    if share.branch.len() > DEEPEST {
        return Err(DEPTH.refuses(
            Culprit::Miner,
            "branch",
            format_args!("at most {DEEPEST} levels"),
            share.branch.len(),
        ));
    }
    let proof = Proof { hash: BlockHash::from_byte_array(hash), payment };
    Ok(Claim { weighed: proof, leaf: coinbase.txid() })
}

/// A product of 256 + 64 bits, which 384 hold with room to spare.
fn times(number: U256, amount: Amount) -> U384 {
    number.widening_mul(U128::from(amount.to_sat()))
}

/// Rule 3: the branch ties the coinbase, as leaf 0, to the header.
fn check_root(share: &Share, root: Option<[u8; 32]>) -> Result<()> {
    let Some(root) = root else {
        return Err(TWIN.refuses(Culprit::Miner, "branch", "siblings that differ", "a twin"));
    };
    if root != *share.header.merkle_root.as_byte_array() {
        return Err(ROOT.refuses(
            Culprit::Miner,
            "branch",
            format_args!("root {}", share.header.merkle_root),
            TxMerkleNode::from_byte_array(root),
        ));
    }
    Ok(())
}

/// The highest hash with which a share that pays `paid` of `total` meets `target`: hash x total <=
/// target x paid says the same as hash <= floor(target x paid / total). What a miner grinds for.
pub fn hash_target(target: Target, paid: Amount, total: Amount) -> Target {
    wide(target)
        .checked_mul(U384::from(paid.min(total).to_sat()))
        .and_then(|product| product.checked_div(U384::from(total.to_sat())))
        .and_then(|quotient| quotient.to_be_bytes::<48>().last_chunk::<32>().copied())
        .map_or(Target::ZERO, Target::from_be_bytes)
}

fn above(demand: &Demand<'_>, hash: &[u8; 32], payment: Option<Payment>) -> Error {
    let hash = BlockHash::from_byte_array(*hash);
    let found = match payment {
        None => format!("hash {hash}"),
        Some(Payment { paid, total }) => {
            format!("hash {hash} x {} / {}", total.to_sat(), paid.to_sat())
        }
    };
    TARGET.refuses(Culprit::Miner, "header", format_args!("at most {:x}", demand.target), found)
}

#[cfg(test)]
mod tests;
