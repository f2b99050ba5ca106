//! The plan: which positions a payee's coinbase pays, and the jobs that come of a template.
//!
//! A job is judged before any machine sees it, by the very rule that will judge its shares: the
//! coinbase is parsed from its bytes, and what it pays each position is compared with that
//! position's terms. So a wrong script, a wrong service share or a total above the cap stops the
//! gateway, and not the holder a month later.
//!
//! | at this height | the payee's coinbase pays |
//! |---|---|
//! | some of his positions run | those, by weight; the part of his own last |
//! | fees exceed the cap in the terms | fewer transactions: what lies above the cap would count for nobody |
//! | none does (before the term, after it) | all of it to him |

use std::sync::Arc;

use bitcoin::{Amount, ScriptBuf, TxOut};

use crate::chain::core::Offer;
use crate::error::{Result, Rule};
use crate::flow::escrow::terms::EscrowTerms;
use crate::gateway::job::{Claim, Job};
use crate::id::PositionId;
use crate::work::agreement::WorkTerms;
use crate::work::coinbase::{Coinbase, subsidy};
use crate::work::extended_job::ExtendedJob;
use crate::work::farm::{Farm, Rest, Stake};
use crate::work::share::hash_target;
use crate::work::template::BlockTemplate;

/// A position is paid by one payee only.
pub const ONCE: Rule = Rule::new(
    "gateway-position-once",
    "a position stands once in a gateway's file",
    "remove it from the other payee",
);
/// All are on one network.
pub const NETWORK: Rule = Rule::new(
    "gateway-position-network",
    "every position of a gateway is on the gateway's network",
    "start a gateway for each network",
);

/// Bytes of the extra nonce: 4 of the gateway's, 8 of the machine's. All firmware takes that.
pub const EXTRANONCE: u8 = 12;

/// A position that is mined for.
#[derive(Clone, Debug)]
pub struct Position {
    /// Its id.
    pub id: PositionId,
    /// What was agreed.
    pub terms: EscrowTerms,
    /// What a share is judged by.
    pub work: WorkTerms,
}

/// Who machines mine for.
#[derive(Clone, Debug)]
pub struct Payee {
    /// What stands before the first dot of the machines' user names.
    pub name: String,
    /// His positions, by their place in the plan, each with its weight.
    pub positions: Vec<(usize, u64)>,
    /// The part of the coinbase that belongs to no position: script and weight.
    pub own: Option<(ScriptBuf, u64)>,
    /// Longest coinbase that his machines take, in bytes.
    pub longest: usize,
}

/// All positions and payees of a gateway.
#[derive(Clone, Debug)]
pub struct Plan {
    positions: Vec<Position>,
    payees: Vec<Payee>,
}

impl Plan {
    /// Takes the positions' terms, each checked, and who pays which.
    pub fn new(
        network: bitcoin::Network,
        terms: Vec<EscrowTerms>,
        payees: Vec<Payee>,
    ) -> Result<Self> {
        let mut positions: Vec<Position> = Vec::new();
        for terms in terms {
            let (id, work) = (terms.position()?, terms.work()?);
            if work.network != network {
                return Err(NETWORK.misused(format_args!("position {id}"), network, work.network));
            }
            if positions.iter().any(|known| known.id == id) {
                return Err(ONCE.misused(format_args!("position {id}"), "once", "twice"));
            }
            positions.push(Position { id, terms, work });
        }
        Ok(Self { positions, payees })
    }

    /// The positions, in the order in which claims name them.
    pub fn positions(&self) -> &[Position] {
        &self.positions
    }

    /// The payees, in the order in which jobs name them.
    pub fn payees(&self) -> &[Payee] {
        &self.payees
    }

    /// The job of a payee (by his place) on what a node offers.
    pub fn job(&self, payee: usize, offer: &Offer, id: u64, clean: bool) -> Result<Job> {
        let Some(of) = self.payees.get(payee) else {
            return Err(ONCE.broken("payee", "one of the plan", payee));
        };
        let height = offer.template.height;
        let place = || format!("payee {}, height {height}", of.name);
        let running: Vec<(usize, u32, u64)> = of
            .positions
            .iter()
            .filter_map(|(position, weight)| {
                let calendar = self.positions.get(*position)?.work.calendar();
                Some((*position, calendar.slice_of(height)?, *weight))
            })
            .collect();
        let template = &self.capped(offer, &running);
        let payouts = self.payouts(of, &running, template.reward).map_err(|e| e.within(place()))?;
        let work = ExtendedJob::new(template, EXTRANONCE, &payouts)?;
        // The bytes of any extra nonce will do: what is paid does not depend on them.
        let coinbase = [work.prefix.as_slice(), &[0; EXTRANONCE as usize], &work.suffix].concat();
        let claims = running
            .iter()
            .filter_map(|(position, slice, _)| {
                Some((*position, *slice, self.positions.get(*position)?))
            })
            .map(|(position, slice, held)| {
                let paid = Coinbase::parse(&coinbase)
                    .and_then(|read| read.payment(height, &held.work.demand()))
                    .map_err(|e| e.within(format_args!("{}, position {}", place(), held.id)))?;
                let target = hash_target(held.work.target, paid.paid, paid.total);
                Ok(Claim { position, slice, target })
            })
            .collect::<Result<Vec<Claim>>>()?;
        let (template, earliest) = (Arc::new(template.clone()), offer.earliest);
        Ok(Job { id, payee, work, template, earliest, clean, claims })
    }

    /// The template, paying out no more than any of the running positions counts.
    fn capped(&self, offer: &Offer, running: &[(usize, u32, u64)]) -> BlockTemplate {
        let works =
            running.iter().filter_map(|(place, ..)| Some(&self.positions.get(*place)?.work));
        let most = works.map(|work| subsidy(work.network, offer.template.height) + work.cap).min();
        offer.at_most(most.unwrap_or(Amount::MAX))
    }

    /// The coinbase's outputs: the running positions by weight, then the payee's own part.
    fn payouts(
        &self,
        of: &Payee,
        running: &[(usize, u32, u64)],
        reward: Amount,
    ) -> Result<Vec<TxOut>> {
        let stakes: Vec<Stake> = running
            .iter()
            .filter_map(|(position, _, weight)| {
                let work = &self.positions.get(*position)?.work;
                Some(Stake {
                    lock: work.lock.clone(),
                    service: work.service.clone(),
                    service_ppm: work.service_ppm,
                    weight: *weight,
                })
            })
            .collect();
        let first = of.positions.first().and_then(|(place, _)| self.positions.get(*place));
        let his = || first.map(|first| first.work.service.clone()).unwrap_or_default();
        if stakes.is_empty() {
            let script = of.own.as_ref().map_or_else(his, |(script, _)| script.clone());
            return Ok(vec![TxOut { value: reward, script_pubkey: script }]);
        }
        let rest = match of.own.clone() {
            Some((script, weight)) => Rest::Script { script, weight },
            None => Rest::Stake(0),
        };
        let farm = Farm::new(stakes, rest)?;
        farm.check_length(EXTRANONCE, of.longest)?;
        farm.payouts(reward)
    }
}
