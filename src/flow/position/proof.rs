//! Proof of capacity: one slice of work on the miner's registered address, one on the reward lock.
//!
//! | stage | first height | a share pays | behind it |
//! |---|---|---|---|
//! | onboarding | `onboarding` | the payout script in the miner's record | nothing is asked |
//! | binding | `binding` | the reward lock | the service share |
//!
//! Shares are judged as those of the term are ([`crate::work::share`]): the same target, so hash x
//! total <= target x paid. What a coinbase pays to several positions adds up to what it pays, each
//! output counts for the one position whose script it pays, and no two positions are registered with
//! the same script; so one hash is never shown twice.
//!
//! **How many shares are enough.** The rate times the time that the slice took is the work that its
//! miner has to show; of that work the count of shares is a matter of chance alone, by the Poisson law
//! ([`crate::work::odds`]). A certificate proves the rate unless the one-sided test of its count rejects
//! it at 1 in 1,000. By a fixed number of blocks it could not be tested: the time of twelve spreads so
//! widely that 7 of 30 expected shares would pass.
//!
//! Time is that of the headers, by their medians, which no single miner moves. The median-time-past of
//! a block is the time of the fifth block before it, so the slice's own time lies between medians five
//! blocks later, and a certificate is judged from five blocks behind its slice on:
//!
//! ```text
//! time of a slice = MTP(last + 5) - MTP(first + 4)        at least 1 s a block
//! ```
//! Between MTP(last) and MTP(first - 1) there would lie another stretch, which differs from the slice by
//! ten blocks' chance, a quarter of twelve blocks ([`crate::work::odds::clock`]): a window of 4,032 blocks
//! does not notice, one slice does.
//!
//! The fewest shares are a whole number and a function of headers, so they are the same for everybody on
//! one chain. A reorg that changes times changes them, and may turn a verdict. That is safe: a validator
//! judges on his own chain when he receipts and once more when he signs the issue, so what is issued has
//! been proven on the chain that k of them saw; behind the issue nobody asks again. An honest miner may
//! lose by a reorg, as he may lose its blocks: he begins anew, and has sold nothing yet.

use bitcoin::ScriptBuf;
use serde::{Deserialize, Serialize};

use crate::error::{Culprit, Result, Rule};
use crate::flow::position::terms::PositionTerms;
use crate::flow::reward::coins as reward;
use crate::headers::{Headers, MEDIAN_SPAN};
use crate::id::{PositionId, tagged_hash};
use crate::work::agreement::{BLOCK_SECONDS, WorkTerms};
use crate::work::certificate::Certificate;
use crate::work::odds::{Law, Mean};

/// Nobody issues more than he has shown.
pub const CAPACITY: Rule = Rule::new(
    "position-capacity",
    "a slice's certificate has at least as many shares as the rate yields in the slice's header time but once in 1,000 times",
    "issue a lower rate, or begin anew with terms whose slices lie ahead",
);
/// A certificate is of this position's slice.
pub const CERTIFICATE: Rule = Rule::new(
    "position-certificate",
    "a certificate of an onboarding or a binding names that stage of the position",
    "make the certificate for this position and stage",
);

/// A slice can be judged while receipts are given.
pub const RECEIPTS: Rule = Rule::new(
    "position-receipt-span",
    "receipts are given until 5 blocks behind a slice or later: before that block its time is not known, and no certificate can be judged",
    "raise `receipt_span` to 5 at least",
);
/// How rarely an honest miner is turned away: once in so many times.
const ONCE_IN: u64 = 1_000;
/// Blocks behind a slice after which its time is known: the median-time-past of a block is the time of
/// the fifth block before it.
pub const SETTLED: u32 = MEDIAN_SPAN / 2;

/// What a miner proves before the issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// That he has the machines.
    Onboarding,
    /// That they work for the lock.
    Binding,
}

impl core::fmt::Display for Stage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

impl Stage {
    /// Both, in their order.
    pub const BOTH: [Self; 2] = [Self::Onboarding, Self::Binding];

    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Onboarding => "onboarding",
            Self::Binding => "binding",
        }
    }

    /// First height of the slice.
    pub fn first(self, terms: &PositionTerms) -> u32 {
        match self {
            Self::Onboarding => terms.onboarding,
            Self::Binding => terms.binding,
        }
    }

    /// Last height of the slice.
    pub fn last(self, terms: &PositionTerms) -> u32 {
        self.first(terms).saturating_add(terms.delivery.slice).saturating_sub(1)
    }

    /// Last height of a tip that a receipt may name.
    pub fn receipts_until(self, terms: &PositionTerms) -> u32 {
        self.last(terms).saturating_add(terms.delivery.receipt_span)
    }

    /// The name under which the stage's certificate and receipts go, until the position has one.
    pub fn position(self, terms: &PositionTerms) -> Result<PositionId> {
        let parts: [&[u8]; 2] = [&terms.id()?.0, self.name().as_bytes()];
        Ok(PositionId(tagged_hash("hashmix/stage/1", &parts)))
    }

    /// The script that a coinbase pays.
    pub fn script(self, terms: &PositionTerms) -> Result<ScriptBuf> {
        match self {
            Self::Onboarding => Ok(terms.reward.miner.payout_script()),
            Self::Binding => Ok(reward::lock(&terms.reward)?.script_pubkey),
        }
    }

    /// Height of the tip from which certificates are judged.
    pub fn judged_from(self, terms: &PositionTerms) -> u32 {
        self.last(terms).saturating_add(SETTLED)
    }

    /// The stage's slice as a term of its own: slice 0 and no other. Of an onboarding no service share
    /// is asked.
    pub fn work(self, terms: &PositionTerms) -> Result<WorkTerms> {
        let whole = terms.contract(bitcoin::Amount::ZERO).work()?;
        let (slice, lock) = (whole.slice, self.script(terms)?);
        let start = self.first(terms);
        let service_ppm = match self {
            Self::Onboarding => 0,
            Self::Binding => whole.service_ppm,
        };
        Ok(WorkTerms { start, period: slice, periods: 1, window: 1, lock, service_ppm, ..whole })
    }
}

/// What a slice has to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Least {
    /// The time that it took, in seconds of header time.
    pub seconds: u64,
    /// Shares that the rate yields in it, to the nearest whole.
    pub expected: u64,
    /// The fewest shares that do not reject the rate.
    pub shares: u64,
}

impl Least {
    fn over(terms: &PositionTerms, seconds: u64) -> Result<Self> {
        let hashes = u128::from(terms.delivery.rate).saturating_mul(seconds.into());
        let mean = Mean::yielded(hashes, terms.delivery.target)?;
        let shares = Law::poisson(mean)?.reached_but_for(1, ONCE_IN).max(1);
        Ok(Self { seconds, expected: mean.nearest(), shares })
    }
}

/// What a stage's slice has to show on this chain. Unavailable until the slice's time is known.
pub fn critical(terms: &PositionTerms, stage: Stage, headers: &Headers) -> Result<Least> {
    let judged = stage.judged_from(terms);
    if headers.tip() < judged {
        let place = format_args!("certificate of the {stage}").to_string();
        let expected = format_args!("the block at height {judged}").to_string();
        let found = format_args!("a tip at height {}", headers.tip()).to_string();
        return Err(CAPACITY.unavailable(place, expected, found));
    }
    let before = stage.first(terms).saturating_add(SETTLED).saturating_sub(1);
    let (begin, end) = (headers.median_time_past(before)?, headers.median_time_past(judged)?);
    // As agreed work is, at least a second a block.
    Least::over(terms, end.saturating_sub(begin).max(terms.delivery.slice).into())
}

/// What a slice has to show if its blocks take 600 s each: what people are told before.
pub fn foreseen(terms: &PositionTerms) -> Result<Least> {
    Least::over(terms, BLOCK_SECONDS.saturating_mul(terms.delivery.slice.into()))
}

/// Refuses terms whose work nobody could prove in time: of what is issued already it is not asked.
pub fn check_provable(terms: &PositionTerms) -> Result<()> {
    let receipt_span = terms.delivery.receipt_span;
    if receipt_span < SETTLED {
        let expected = format!("at least {SETTLED} blocks");
        let found = format!("{receipt_span} blocks");
        return Err(RECEIPTS.refuses(Culprit::Sender, "receipt_span", expected, found));
    }
    Ok(())
}

/// Everything that is asked of a stage's certificate: name, list, each share, their number.
pub fn check(
    terms: &PositionTerms,
    stage: Stage,
    certificate: &Certificate,
    headers: &Headers,
) -> Result<()> {
    let (work, position) = (stage.work(terms)?, stage.position(terms)?);
    if certificate.position != position {
        let place = format_args!("certificate of the {stage}").to_string();
        return Err(CERTIFICATE.refuses(Culprit::Miner, place, position, certificate.position));
    }
    certificate.check(&work, headers).map_err(|error| error.within(stage))?;
    enough(terms, stage, certificate.shares.len(), headers)
}

/// Whether the shares of a certificate that count on this chain are enough. A reorg takes shares away
/// and leaves the others.
pub fn stands(
    terms: &PositionTerms,
    stage: Stage,
    certificate: &Certificate,
    headers: &Headers,
) -> Result<()> {
    let weighed = certificate.weigh(&stage.work(terms)?, headers);
    enough(terms, stage, weighed.iter().filter(|weighed| weighed.is_ok()).count(), headers)
}

/// Refuses fewer shares than the rate yields in the slice's time.
fn enough(terms: &PositionTerms, stage: Stage, found: usize, headers: &Headers) -> Result<()> {
    let Least { seconds, expected, shares } = critical(terms, stage, headers)?;
    if u64::try_from(found).unwrap_or(u64::MAX) >= shares {
        return Ok(());
    }
    let rate = terms.delivery.rate;
    Err(CAPACITY.refuses(
        Culprit::Miner,
        format_args!("certificate of the {stage}"),
        format_args!("at least {shares} of {expected} shares at {rate} H/s over {seconds} s"),
        format_args!("{found} shares"),
    ))
}

#[cfg(test)]
mod tests {
    use bitcoin::Network;
    use bitcoin::hashes::Hash;

    use super::*;
    use crate::work::samples::mine;

    /// 10 H/s, 180 shares expected in 12 blocks; onboarding from height 112 on.
    const POSITION: &str = include_str!("../../../fixtures/position/position.json");
    const ONBOARDING: Stage = Stage::Onboarding;

    fn terms() -> PositionTerms {
        PositionTerms::from_json(POSITION).unwrap()
    }

    /// A chain up to `tip`, each block so many seconds behind the one before.
    fn chain(tip: u32, gap: impl Fn(u32) -> u32) -> Headers {
        let (mut parent, mut time) = (bitcoin::BlockHash::all_zeros(), 1_700_000_000);
        let run = (0..=tip).map(|height| {
            time += gap(height);
            let header = mine(parent, time, 0);
            parent = header.block_hash();
            header
        });
        Headers::new(Network::Regtest, 0, run.collect()).unwrap()
    }

    fn least(gap: impl Fn(u32) -> u32) -> (u64, u64, u64) {
        let terms = terms();
        let headers = chain(ONBOARDING.judged_from(&terms), gap);
        let Least { seconds, expected, shares } = critical(&terms, ONBOARDING, &headers).unwrap();
        (seconds, expected, shares)
    }

    /// Whether a height is one of the slice's.
    fn inside(height: u32) -> bool {
        let terms = terms();
        (ONBOARDING.first(&terms)..=ONBOARDING.last(&terms)).contains(&height)
    }

    #[test]
    fn what_is_asked_follows_the_time_that_the_slice_took_and_no_other() {
        // Critical counts of the Poisson law, computed apart in fractions.
        assert_eq!(least(|_| 600), (7_200, 180, 140));
        assert_eq!(least(|_| 300), (3_600, 90, 62));
        assert_eq!(least(|_| 1_200), (14_400, 360, 303));
        let foreseen = foreseen(&terms()).unwrap();
        assert_eq!((foreseen.seconds, foreseen.expected, foreseen.shares), (7_200, 180, 140));
        // Blocks before and behind last as long as they like.
        for other in [1, 300, 3_000] {
            assert_eq!(least(|h| if inside(h) { 600 } else { other }), (7_200, 180, 140));
            assert_eq!(least(|h| if inside(h) { other } else { 600 }).0, u64::from(other) * 12);
        }
        // Of thirty expected shares seven are not enough.
        let thirty = Mean::of(30).unwrap();
        assert_eq!(Law::poisson(thirty).unwrap().reached_but_for(1, ONCE_IN), 15);
        assert_eq!(Law::over_blocks(thirty, 12).unwrap().reached_but_for(1, ONCE_IN), 7);
    }

    #[test]
    fn one_false_time_moves_the_clock_by_no_more_than_a_block() {
        let terms = terms();
        let edges = [ONBOARDING.first(&terms) - 1, ONBOARDING.last(&terms)];
        for edge in edges {
            // The block's time is an hour ahead, and the next block's right again.
            let (mut parent, mut run) = (bitcoin::BlockHash::all_zeros(), Vec::new());
            for height in 0..=ONBOARDING.judged_from(&terms) {
                let time = 1_700_000_000 + 600 * height + if height == edge { 3_600 } else { 0 };
                run.push(mine(parent, time, 0));
                parent = run.last().unwrap().block_hash();
            }
            let headers = Headers::new(Network::Regtest, 0, run).unwrap();
            let seconds = critical(&terms, ONBOARDING, &headers).unwrap().seconds;
            assert!(seconds.abs_diff(7_200) <= 600, "{seconds} s with a false time at {edge}");
        }
    }

    #[test]
    fn before_the_slices_time_is_known_nothing_is_judged() {
        let terms = terms();
        let judged = ONBOARDING.judged_from(&terms);
        assert_eq!(judged, ONBOARDING.last(&terms) + 5);
        for tip in [ONBOARDING.last(&terms), judged - 1] {
            let error = critical(&terms, ONBOARDING, &chain(tip, |_| 600)).unwrap_err();
            assert_eq!((error.rule(), error.exit_code()), ("position-capacity", 5));
            assert!(error.to_string().contains("the block at height 128"), "{error}");
        }
        critical(&terms, ONBOARDING, &chain(judged, |_| 600)).unwrap();
    }
}
