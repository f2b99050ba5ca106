//! Positions of the rehearsal: the miner's two records for each, the validators' fresh ones, and their
//! standing ones, from the same seeds as the cast of [`people`](crate::rehearsal::people).
//!
//! | who | record number |
//! |---|---|
//! | miner of position n | 2 n of the miner's seed |
//! | first holder, the miner again | 2 n + 1 of the miner's seed |
//! | a validator, fresh | n of his seed |
//! | a validator, standing | 10,000 of his seed |

use bitcoin::{Amount, Network, TxOut};

use crate::error::Result;
use crate::flow::escrow::terms::{Delays, Delivery, Fees};
use crate::flow::position::proof::Stage;
use crate::flow::position::terms::{POSITION_FORMAT, PositionTerms};
use crate::flow::reward::coins;
use crate::flow::reward::terms::RewardTerms;
use crate::party::{Federation, Record, Role, Seat};
use crate::rehearsal::people::{THRESHOLD, VALIDATORS, name, seed};
use crate::script::template::Variant;
use crate::sign::record::record;
use crate::sign::software::SoftwareSigner;
use crate::work::agreement::{Entitlement, Profile, share_target};
use crate::work::certificate::Certificate;
use crate::work::farm::Part;
use crate::work::grind::grind;
use crate::work::share::{Share, hash_target};
use crate::work::template::BlockTemplate;

/// The name that standing records are made for.
pub const STANDING: &str = "standing federation";
/// The number of a standing record.
const STANDING_NUMBER: u32 = 10_000;
const NETWORK: Network = Network::Regtest;

fn signer(seat: Seat, number: u32) -> Result<SoftwareSigner> {
    SoftwareSigner::new(seed(&name(seat))?.record(NETWORK, number)?, NETWORK)
}

/// The miner's signer at position `number`.
pub fn miner(number: u32) -> Result<SoftwareSigner> {
    signer(Seat::Miner, number.saturating_mul(2))
}

/// The signer of the first holder, who is the miner too.
pub fn holder(number: u32) -> Result<SoftwareSigner> {
    signer(Seat::Miner, number.saturating_mul(2).saturating_add(1))
}

/// A validator's signer at position `number`.
pub fn validator(place: u8, number: u32) -> Result<SoftwareSigner> {
    signer(Seat::Validator(place), number)
}

/// The signer of a validator's standing record.
pub fn standing(place: u8) -> Result<SoftwareSigner> {
    signer(Seat::Validator(place), STANDING_NUMBER)
}

/// The record of a seat: always the same, its signature too, for ids are taken over it.
fn made(seat: Seat, number: u32, role: Role, contract: &str) -> Result<Record> {
    let signer = SoftwareSigner::rehearsing(seed(&name(seat))?.record(NETWORK, number)?)?;
    record(&signer, role, NETWORK, contract, signer.address().into_unchecked())
}

fn federation(contract: &str, number: u32) -> Result<Federation> {
    let made = |place| made(Seat::Validator(place), number, Role::Validator, contract);
    let validators = (0..VALIDATORS).map(made).collect::<Result<_>>()?;
    let payout = standing(0)?.address().into_unchecked();
    Ok(Federation { threshold: THRESHOLD, validators, payout })
}

/// The terms of position `number`: six periods of twelve blocks from `start`, 10 H/s at 25 J/TH, with
/// slices of twelve blocks before it. Everybody is paid at his communication key's address.
pub fn terms(number: u32, [onboarding, binding, start]: [u32; 3]) -> Result<PositionTerms> {
    let contract = format!("position {number}");
    let (rate, expected, slice) = (10, 180, 12);
    let first = number.saturating_mul(2);
    let terms = PositionTerms {
        format: POSITION_FORMAT.to_owned(),
        profile: Profile::Regtest,
        issuer: federation(STANDING, STANDING_NUMBER)?,
        reward: RewardTerms {
            network: NETWORK,
            contract: contract.clone(),
            variant: Variant::Musig,
            miner: made(Seat::Miner, first, Role::Miner, &contract)?,
            holder: made(Seat::Miner, first.saturating_add(1), Role::Holder, &contract)?,
            federation: federation(&contract, number)?,
            exit_delay: 144,
            service_ppm: 300_000,
        },
        efficiency: 2_500,
        onboarding,
        binding,
        delivery: Delivery {
            start,
            period: 12,
            periods: 6,
            window: 2,
            slice,
            rate,
            target: share_target(rate, expected, slice),
            expected,
            rule: Entitlement::ProRata,
            coinbase_cap: Amount::from_sat(100_000_000),
            receipt_span: 9,
            proof_span: 10,
            ruling_depth: 12,
        },
        delays: Delays {
            state_depth: 6,
            relock: 24,
            grace: 100,
            miner_exit: 48,
            answer: 6,
            quiet: 12,
            late_dispute: 12,
        },
        fees: Fees { floor: 2, cap: 50, ruling: Amount::from_sat(20_000) },
    };
    terms.check()?;
    Ok(terms)
}

/// What a coinbase pays for a stage of several positions alike; what is left over goes to the last.
pub fn payouts(terms: &[PositionTerms], stage: Stage, reward: Amount) -> Result<Vec<TxOut>> {
    let count = u64::try_from(terms.len()).unwrap_or(u64::MAX);
    let each = reward.checked_div(count).unwrap_or(Amount::ZERO);
    let mut left = reward;
    let mut outputs = Vec::new();
    for (place, one) in terms.iter().enumerate() {
        let last = place.saturating_add(1) == terms.len();
        let part = if last { left } else { each };
        left = left.checked_sub(part).unwrap_or(Amount::ZERO);
        match stage {
            Stage::Onboarding => {
                outputs.push(TxOut { value: part, script_pubkey: stage.script(one)? });
            }
            Stage::Binding => {
                let paid = Part::of(part, one.reward.service_ppm);
                let lock = coins::lock(&one.reward)?.script_pubkey;
                outputs.extend(paid.outputs(lock, one.reward.miner.payout_script()));
            }
        }
    }
    Ok(outputs)
}

/// Finds `count` shares on a template that pays `outputs`, of which each position gets a part of
/// 1 / `parts`; the lowest nonce first.
pub fn find(
    terms: &PositionTerms,
    template: &BlockTemplate,
    outputs: &[TxOut],
    parts: u64,
    count: usize,
) -> Result<(bitcoin::Block, Vec<Share>)> {
    let job = template.job(b"stage", outputs)?;
    let (one, all) = (Amount::from_sat(1), Amount::from_sat(parts));
    // A share of a part must have a hash so much lower, and the part is rounded down.
    let target = hash_target(terms.delivery.target, one, all.checked_add(one).unwrap_or(all));
    let headers: Vec<_> = grind(&job, 0, u64::MAX, target).take(count.max(1)).collect();
    let shares = headers.iter().take(count).map(|header| Share::of(&job, *header)).collect();
    let header = headers.first().copied().unwrap_or(job.header);
    Ok((template.block(header, job.coinbase), shares))
}

/// The certificate of a stage.
pub fn certificate(terms: &PositionTerms, stage: Stage, shares: &[Share]) -> Result<Certificate> {
    Certificate::new(stage.position(terms)?, 0, shares.iter().cloned())
}
