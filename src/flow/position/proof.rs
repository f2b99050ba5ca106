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
//! A slice of as many shares as the rate lets expect is a matter of chance: counts spread, and so does
//! the time that blocks take. A certificate proves the rate unless the one-sided test of its count
//! rejects it at 1 in 1,000; that count, a whole number, is the same for everybody
//! ([`crate::work::odds`]).

use bitcoin::ScriptBuf;
use serde::{Deserialize, Serialize};

use crate::error::{Culprit, Result, Rule};
use crate::flow::position::terms::PositionTerms;
use crate::flow::reward::coins as reward;
use crate::headers::Headers;
use crate::id::{PositionId, tagged_hash};
use crate::work::agreement::{BLOCK_SECONDS, Demand, WorkTerms};
use crate::work::certificate::Certificate;
use crate::work::odds::{Law, Mean};
use crate::work::share::{self, Proof, Share};

/// Nobody issues more than he has shown.
pub const CAPACITY: Rule = Rule::new(
    "position-capacity",
    "a slice's certificate has at least as many shares as the rate lets expect but once in 1,000 times",
    "issue a lower rate, or begin anew with terms whose slices lie ahead",
);
/// A certificate is of this position's slice.
pub const CERTIFICATE: Rule = Rule::new(
    "position-certificate",
    "a certificate of an onboarding or a binding names that stage of the position",
    "make the certificate for this position and stage",
);

/// How rarely an honest miner is turned away: once in so many times.
const ONCE_IN: u64 = 1_000;

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

    /// The stage's slice as a term of its own: slice 0 and no other.
    pub fn work(self, terms: &PositionTerms) -> Result<WorkTerms> {
        let whole = terms.contract(bitcoin::Amount::ZERO).work()?;
        let (slice, lock) = (whole.slice, self.script(terms)?);
        let start = self.first(terms);
        Ok(WorkTerms { start, period: slice, periods: 1, window: 1, lock, ..whole })
    }

    /// What rules 2 to 5 demand of a share.
    pub fn demand(self, work: &WorkTerms) -> Demand<'_> {
        let service = match self {
            Self::Onboarding => None,
            Self::Binding => Some((work.service.as_script(), work.service_ppm)),
        };
        let WorkTerms { network, cap, target, .. } = *work;
        Demand { network, lock: &work.lock, holders: None, service, cap, target }
    }
}

/// The fewest shares of a slice that do not reject the rate.
pub fn critical(terms: &PositionTerms) -> Result<u64> {
    let delivery = &terms.delivery;
    let seconds = u128::from(BLOCK_SECONDS).saturating_mul(delivery.slice.into());
    let hashes = u128::from(delivery.rate).saturating_mul(seconds);
    let law = Law::over_blocks(Mean::yielded(hashes, delivery.target)?, delivery.slice)?;
    Ok(law.reached_but_for(1, ONCE_IN).max(1))
}

/// Rules 1 to 5 for a share of the stage.
pub fn weigh(share: &Share, stage: Stage, work: &WorkTerms, headers: &Headers) -> Result<Proof> {
    share::check_network(work, headers)?;
    let place = share::place(share.header.prev_blockhash, None, work, headers)?;
    let median = share::check_header(&share.header, place.parent, place.latest, headers)?;
    share::prove(share, place.height, median, &stage.demand(work))
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
    certificate.check_list(&work)?;
    for (number, share) in (0u32..).zip(&certificate.shares) {
        weigh(share, stage, &work, headers)
            .map_err(|error| error.within(format_args!("share {number} of the {stage}")))?;
    }
    enough(terms, stage, certificate.shares.len())
}

/// Whether the shares of a certificate that count on this chain are enough. A reorg takes shares away
/// and leaves the others.
pub fn stands(
    terms: &PositionTerms,
    stage: Stage,
    certificate: &Certificate,
    headers: &Headers,
) -> Result<()> {
    let work = stage.work(terms)?;
    let good = |share: &&Share| weigh(share, stage, &work, headers).is_ok();
    enough(terms, stage, certificate.shares.iter().filter(good).count())
}

/// Refuses fewer shares than the rate lets expect.
fn enough(terms: &PositionTerms, stage: Stage, found: usize) -> Result<()> {
    let least = critical(terms)?;
    if u64::try_from(found).unwrap_or(u64::MAX) >= least {
        return Ok(());
    }
    let (expected, rate) = (terms.delivery.expected, terms.delivery.rate);
    Err(CAPACITY.refuses(
        Culprit::Miner,
        format_args!("certificate of the {stage}"),
        format_args!("at least {least} of {expected} shares expected at {rate} H/s"),
        format_args!("{found} shares"),
    ))
}
