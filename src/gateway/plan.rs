//! The plan: which positions a payee's coinbase pays, and the jobs that come of a template.
//!
//! A job is judged before any machine sees it, by the very rule that will judge its shares: the
//! coinbase is parsed from its bytes, and what it pays each position is compared with that
//! position's terms. So a wrong script, a wrong service share or a total above the cap stops the
//! gateway, and not the holder a month later.
//!
//! | at this height | the payee's coinbase pays |
//! |---|---|
//! | some of his positions run | those, by weight; the parts of the others and of his own to him, last |
//! | fees exceed the cap in the terms | fewer transactions: what lies above the cap would count for nobody |
//! | none does (before the term, after it) | all of it to him |
//! | a position is not issued yet | what its next stage asks for ([`Position::lingers_at`] tells the rest) |
//! | the holder of a position changes | the lock of whoever holds it in the period of that height |

use core::ops::Range;
use std::sync::Arc;

use bitcoin::block::Version;
use bitcoin::hashes::Hash;
use bitcoin::{Amount, BlockHash, ScriptBuf, TxOut};

use crate::chain::core::Offer;
use crate::error::{Result, Rule};
use crate::flow::position::proof::Stage;
use crate::gateway::agreed::{Agreed, Position};
use crate::gateway::collector::ONCE;
use crate::gateway::job::{Claim, Job};
use crate::work::coinbase::{Coinbase, subsidy};
use crate::work::extended_job::ExtendedJob;
use crate::work::farm::{Farm, Rest, Stake};
use crate::work::share::hash_target;
use crate::work::template::BlockTemplate;

/// All are on one network.
pub const NETWORK: Rule = Rule::new(
    "gateway-position-network",
    "every position of a gateway is on the gateway's network",
    "start a gateway for each network",
);

/// Bytes of the extra nonce: 4 of the gateway's, 8 of the machine's. All firmware takes that.
pub const EXTRANONCE: u8 = 12;

/// Who machines mine for.
#[derive(Clone, Debug)]
pub struct Payee {
    /// What stands before the first dot of the machines' user names.
    pub name: String,
    /// His positions, each with its weight: by the place of their terms in the list that the plan is made
    /// of, and in the plan itself by their place there.
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
    /// For each terms of the list the positions that they make.
    places: Vec<Range<usize>>,
    payees: Vec<Payee>,
}

/// A position that a coinbase pays at some height.
struct Paid {
    /// Its place in the plan.
    place: usize,
    /// The slice that the height lies in; `None` where shares count for nothing.
    slice: Option<u32>,
    weight: u64,
}

impl Plan {
    /// Takes the positions' terms, each checked, and who pays which.
    pub fn new<T: Into<Agreed>>(
        network: bitcoin::Network,
        terms: Vec<T>,
        mut payees: Vec<Payee>,
    ) -> Result<Self> {
        let mut positions: Vec<Position> = Vec::new();
        let mut places = Vec::new();
        for terms in terms {
            let begin = positions.len();
            for position in terms.into().positions()? {
                let place = format_args!("position {}", position.id).to_string();
                if position.network() != network {
                    return Err(NETWORK.misused(place, network, position.network()));
                }
                if positions.iter().any(|known| known.id == position.id) {
                    return Err(ONCE.misused(place, "once", "twice"));
                }
                positions.push(position);
            }
            places.push(begin..positions.len());
        }
        for payee in &mut payees {
            let each = |(of, weight): &(usize, u64)| {
                let (places, weight) = (places.get(*of).cloned().unwrap_or_default(), *weight);
                places.map(move |place| (place, weight)).collect::<Vec<_>>()
            };
            payee.positions = payee.positions.iter().flat_map(each).collect();
        }
        Ok(Self { positions, places, payees })
    }

    /// For each terms of the list that the plan is made of, the places of the positions that they make.
    pub fn places(&self) -> &[Range<usize>] {
        &self.places
    }

    /// The positions, in the order in which claims name them.
    pub fn positions(&self) -> &[Position] {
        &self.positions
    }

    /// The payees, in the order in which jobs name them.
    pub fn payees(&self) -> &[Payee] {
        &self.payees
    }

    /// Makes each payee's coinbase at each height where it changes, and judges it: what would be refused
    /// later is refused before anything begins.
    pub fn rehearse(&self) -> Result<()> {
        for (place, payee) in self.payees.iter().enumerate() {
            let terms = payee.positions.iter().filter_map(|(place, _)| self.positions.get(*place));
            for position in terms {
                let end = position.work.calendar().end();
                let locks = position.work.locks();
                let changes = locks.iter().map(|(heights, _)| *heights.start());
                let over = position.proof().map(|(terms, _)| terms.delivery.start);
                for height in changes.chain([end, end.saturating_add(1)]).chain(over) {
                    let network = position.network();
                    let template = BlockTemplate {
                        version: Version::from_consensus(0x2000_0000),
                        parent: BlockHash::all_zeros(),
                        height,
                        time: 0,
                        bits: network.params().max_attainable_target.to_compact_lossy(),
                        reward: subsidy(network, height),
                        transactions: Vec::new(),
                    };
                    let template = Arc::new(template);
                    let offer = Offer { template, fees: Vec::new(), earliest: 0, name: None };
                    self.job(place, &offer, 0)?;
                }
            }
        }
        Ok(())
    }

    /// The job of a payee (by his place) on what a node offers.
    pub fn job(&self, payee: usize, offer: &Offer, id: u64) -> Result<Job> {
        let Some(of) = self.payees.get(payee) else {
            return Err(ONCE.broken("payee", "one of the plan", payee));
        };
        let height = offer.template.height;
        let place = || format!("payee {}, height {height}", of.name);
        let all: Vec<Paid> = of
            .positions
            .iter()
            .filter_map(|(place, weight)| {
                let position = self.positions.get(*place)?;
                let slice = position.work.calendar().slice_of(height);
                let paid = slice.is_some() || position.lingers_at(height);
                paid.then_some(Paid { place: *place, slice, weight: *weight })
            })
            .collect();
        let template = self.capped(offer, &all);
        let payouts = self.payouts(of, &all, template.reward).map_err(|e| e.within(place()))?;
        let work = ExtendedJob::new(&template, EXTRANONCE, &payouts)?;
        // The bytes of any extra nonce will do: what is paid does not depend on them.
        let coinbase = [work.prefix.as_slice(), &[0; EXTRANONCE as usize], &work.suffix].concat();
        let claims = all
            .iter()
            .filter_map(|paid| Some((paid.place, paid.slice?, self.positions.get(paid.place)?)))
            .map(|(position, slice, held)| {
                let paid = Coinbase::parse(&coinbase)
                    .and_then(|read| read.payment(height, &held.work.demand(slice)))
                    .map_err(|e| e.within(format_args!("{}, position {}", place(), held.id)))?;
                let target = hash_target(held.work.target, paid.paid, paid.total);
                Ok(Claim { position, slice, target })
            })
            .collect::<Result<Vec<Claim>>>()?;
        Ok(Job { id, payee, work, template, earliest: offer.earliest, claims })
    }

    /// The template, paying out no more than any of the running positions counts.
    fn capped(&self, offer: &Offer, all: &[Paid]) -> Arc<BlockTemplate> {
        let running = all.iter().filter(|paid| paid.slice.is_some());
        let works = running.filter_map(|paid| Some(&self.positions.get(paid.place)?.work));
        let most = works.map(|work| subsidy(work.network, offer.template.height) + work.cap).min();
        offer.at_most(most.unwrap_or(Amount::MAX))
    }

    /// The coinbase's outputs: the positions by weight, then the payee's own part.
    fn payouts(&self, of: &Payee, all: &[Paid], reward: Amount) -> Result<Vec<TxOut>> {
        let stakes: Vec<Stake> = all
            .iter()
            .filter_map(|paid| {
                let work = &self.positions.get(paid.place)?.work;
                Some(Stake {
                    lock: work.lock_at(paid.slice.unwrap_or(0)).to_owned(),
                    service: work.service.clone(),
                    service_ppm: work.service_ppm,
                    weight: paid.weight,
                })
            })
            .collect();
        let his = || self.script_of(of, &stakes);
        if stakes.is_empty() {
            let script = of.own.as_ref().map_or_else(his, |(script, _)| script.clone());
            return Ok(vec![TxOut { value: reward, script_pubkey: script }]);
        }
        // The part of a position that does not run goes to nobody else's lock: nobody agreed on more.
        let idle = self.weight(of).saturating_sub(stakes.iter().map(|stake| stake.weight).sum());
        let rest = match of.own.clone() {
            Some((script, weight)) => Rest::Script { script, weight: weight.saturating_add(idle) },
            None if idle > 0 => Rest::Script { script: his(), weight: idle },
            None => Rest::Stake(0),
        };
        let farm = Farm::new(stakes, rest)?;
        farm.check_length(EXTRANONCE, of.longest)?;
        farm.payouts(reward)
    }

    /// The weights of a payee's positions. One that is not issued has the same in both of its stages.
    fn weight(&self, of: &Payee) -> u64 {
        let once = |place: &usize| {
            let stage = self.positions.get(*place).and_then(Position::proof);
            !matches!(stage, Some((_, Stage::Binding)))
        };
        of.positions.iter().filter(|(place, _)| once(place)).map(|(_, weight)| weight).sum()
    }

    /// The miner's own script: the first in his positions' terms that no position is proven on now.
    fn script_of(&self, of: &Payee, stakes: &[Stake]) -> ScriptBuf {
        let positions = of.positions.iter().filter_map(|(place, _)| self.positions.get(*place));
        let scripts = || positions.clone().map(|position| &position.work.service);
        let apart = |script: &&ScriptBuf| stakes.iter().all(|stake| stake.lock != **script);
        scripts().find(apart).or_else(|| scripts().next()).cloned().unwrap_or_default()
    }
}

#[cfg(all(test, feature = "regtest"))]
mod tests {
    use bitcoin::{CompactTarget, Network};

    use super::*;
    use crate::flow::escrow::terms::{EscrowTerms, Tenure};
    use crate::id::PositionId;
    use crate::party::Seat;
    use crate::rehearsal::people::{self, Payouts};
    use crate::script::template::Variant;
    use crate::work::agreement::Earlier;
    use crate::work::share::Share;

    const START: u32 = 120;
    const SUBSIDY: u64 = 5_000_000_000;

    /// Terms that differ from others by their price, and so by their id; the lock is the same.
    fn terms(price: u64) -> EscrowTerms {
        let address = |seat| people::signer(seat, Network::Regtest).unwrap().address();
        let payouts = Payouts {
            miner: address(Seat::Miner),
            holder: address(Seat::Holder),
            federation: address(Seat::Validator(0)),
        };
        let mut terms = people::terms(Variant::Musig, START, &payouts).unwrap();
        terms.price = Amount::from_sat(price);
        terms
    }

    /// The same at the other variant of the lock, which is another script.
    fn other() -> EscrowTerms {
        let mut terms = terms(60_000_000);
        terms.reward.variant = Variant::Nums;
        terms
    }

    fn payee(positions: &[(usize, u64)], own: Option<u64>, longest: usize) -> Payee {
        let script = people::network_script().unwrap();
        let own = own.map(|weight| (script, weight));
        Payee { name: "alice".into(), positions: positions.to_vec(), own, longest }
    }

    fn plan(terms: Vec<EscrowTerms>, payee: Payee) -> Plan {
        Plan::new(Network::Regtest, terms, vec![payee]).unwrap()
    }

    fn offer(height: u32, fees: u64) -> Offer {
        let template = BlockTemplate {
            version: Version::from_consensus(0x2000_0000),
            parent: BlockHash::all_zeros(),
            height,
            time: 1_700_000_000,
            bits: CompactTarget::from_consensus(0x207f_ffff),
            reward: Amount::from_sat(SUBSIDY + fees),
            transactions: Vec::new(),
        };
        let template = Arc::new(template);
        Offer { template, fees: Vec::new(), earliest: 1_699_999_000, name: None }
    }

    /// The outputs of a job's coinbase but for the witness commitment, in satoshis.
    fn paid(job: &Job) -> Vec<(u64, ScriptBuf)> {
        let coinbase = [job.work.prefix.as_slice(), &[0; 12], &job.work.suffix].concat();
        let coinbase: bitcoin::Transaction = bitcoin::consensus::deserialize(&coinbase).unwrap();
        let outputs = coinbase.output.iter().map(|out| (out.value.to_sat(), &out.script_pubkey));
        outputs.filter(|(sat, _)| *sat > 0).map(|(sat, script)| (sat, script.clone())).collect()
    }

    #[test]
    fn one_position_gets_lock_and_service_share_and_every_share_below_its_target() {
        let plan = plan(vec![terms(60_000_000)], payee(&[(0, 1)], None, 250));
        let job = plan.job(0, &offer(START + 13, 7), 5).unwrap();
        let work = &plan.positions()[0].work;
        assert_eq!((job.id, job.payee, job.earliest), (5, 0, 1_699_999_000));
        assert_eq!(job.claims, [Claim { position: 0, slice: 1, target: work.target }]);
        let service = (SUBSIDY + 7) * 3 / 10;
        assert_eq!(
            paid(&job),
            [(SUBSIDY + 7 - service, work.lock.clone()), (service, work.service.clone())]
        );
    }

    #[test]
    fn a_farm_is_paid_by_weight_and_each_claim_is_as_wide_as_its_part() {
        let plan = plan(vec![terms(1_000_000), other()], payee(&[(0, 30), (1, 50)], Some(20), 400));
        let job = plan.job(0, &offer(START, 0), 1).unwrap();
        let paid: Vec<u64> = paid(&job).into_iter().map(|(sat, _)| sat).collect();
        let part = |percent| SUBSIDY * percent / 100;
        assert_eq!(
            paid,
            [30, 50]
                .map(|p| [part(p) * 7 / 10, part(p) * 3 / 10])
                .concat()
                .into_iter()
                .chain([part(20)])
                .collect::<Vec<_>>()
        );
        for (claim, percent) in job.claims.iter().zip([30, 50]) {
            let target = plan.positions()[claim.position].work.target;
            let part = Amount::from_sat(part(percent));
            assert_eq!(claim.target, hash_target(target, part, Amount::from_sat(SUBSIDY)));
        }
    }

    #[test]
    fn the_part_of_a_position_that_does_not_run_goes_to_the_miner_and_to_no_other_lock() {
        let mut late = other();
        late.delivery.start = START + 12;
        for (own, percent) in [(None, 60), (Some(40), 100)] {
            let payee = payee(&[(0, 40), (1, 60)], own, 400);
            let plan = plan(vec![terms(1_000_000), late.clone()], payee);
            let job = plan.job(0, &offer(START, 0), 1).unwrap();
            let paid = paid(&job);
            let all = 100 + own.unwrap_or(0);
            assert_eq!(paid.iter().map(|(sat, _)| sat).sum::<u64>(), SUBSIDY);
            assert_eq!((job.claims.len(), paid.len()), (1, 3));
            let (rest, script) = paid.last().unwrap();
            assert!(rest.abs_diff(SUBSIDY * percent / all) <= 1, "{rest}");
            let his = plan.positions()[0].work.service.clone();
            assert_eq!(*script, own.map_or(his, |_| people::network_script().unwrap()));
            // Once it runs, both are paid.
            assert_eq!(plan.job(0, &offer(START + 12, 0), 1).unwrap().claims.len(), 2);
        }
    }

    #[test]
    fn outside_of_the_term_the_miner_mines_for_himself() {
        let his = terms(60_000_000).reward.miner.payout_script();
        let own = people::network_script().unwrap();
        for (share, script) in [(None, his), (Some(1), own)] {
            let plan = plan(vec![terms(60_000_000)], payee(&[(0, 1)], share, 250));
            let end = plan.positions()[0].work.calendar().end();
            for height in [START - 1, end + 1] {
                let job = plan.job(0, &offer(height, 0), 1).unwrap();
                assert_eq!(job.claims, []);
                assert_eq!(paid(&job), [(SUBSIDY, script.clone())]);
            }
        }
    }

    #[test]
    fn a_total_above_the_cap_is_refused_by_the_rule_of_shares_before_a_machine_sees_it() {
        let plan = plan(vec![terms(60_000_000)], payee(&[(0, 1)], None, 250));
        let cap = plan.positions()[0].work.cap.to_sat();
        plan.job(0, &offer(START, cap), 1).unwrap();
        // Without transactions to leave out there is nothing to be done about it.
        let refused = plan.job(0, &offer(START, cap + 1), 1).unwrap_err();
        assert_eq!(refused.rule(), "work-pay-total");
        assert!(refused.to_string().contains("payee alice, height 120"), "{refused}");
    }

    #[test]
    fn fees_above_the_cap_leave_out_transactions() {
        let plan = plan(vec![terms(60_000_000)], payee(&[(0, 1)], None, 250));
        let cap = plan.positions()[0].work.cap.to_sat();
        let mut offer = offer(START, cap + 1);
        let paid = TxOut { value: offer.template.reward, script_pubkey: ScriptBuf::new() };
        let any = offer.template.coinbase(&[], &[paid]).unwrap();
        Arc::make_mut(&mut offer.template).transactions = vec![any];
        offer.fees = vec![Amount::from_sat(cap + 1)];
        let job = plan.job(0, &offer, 1).unwrap();
        assert_eq!((job.template.transactions.len(), job.template.reward.to_sat()), (0, SUBSIDY));
    }

    #[test]
    fn a_coinbase_that_firmware_would_cut_off_is_refused_with_its_length() {
        let plan = plan(vec![terms(1_000_000), other()], payee(&[(0, 1), (1, 1)], None, 250));
        let refused = plan.job(0, &offer(START, 0), 1).unwrap_err();
        assert_eq!(refused.rule(), "work-farm-length");
    }

    #[test]
    fn a_rehearsal_finds_what_would_be_refused_once_the_last_term_has_begun() {
        let mut late = other();
        late.delivery.start = START + 24;
        let at = |longest| {
            plan(vec![terms(1_000_000), late.clone()], payee(&[(0, 1), (1, 1)], None, longest))
        };
        at(400).rehearse().unwrap();
        at(250).job(0, &offer(START, 0), 1).unwrap();
        assert_eq!(at(250).rehearse().unwrap_err().rule(), "work-farm-length");
    }

    #[test]
    fn the_same_lock_twice_the_same_position_twice_and_another_network_are_refused() {
        let twice =
            plan(vec![terms(1_000_000), terms(2_000_000)], payee(&[(0, 1), (1, 1)], None, 700));
        let refused = twice.job(0, &offer(START, 0), 1).unwrap_err();
        assert_eq!(refused.rule(), "work-farm-lock");
        let same = vec![terms(1_000_000), terms(1_000_000)];
        let refused = Plan::new(Network::Regtest, same, Vec::new()).unwrap_err();
        assert_eq!(refused.rule(), "gateway-position-twice");
        let refused = Plan::new(Network::Signet, vec![terms(1)], Vec::new()).unwrap_err();
        assert_eq!(refused.rule(), "gateway-position-network");
    }

    #[test]
    fn what_machines_find_in_a_job_is_a_share_by_the_rules_of_the_terms() {
        let plan = plan(vec![terms(60_000_000)], payee(&[(0, 1)], None, 250));
        let job = plan.job(0, &offer(START, 0), 1).unwrap();
        let work = &plan.positions()[0].work;
        let mut found = None;
        for nonce in 0.. {
            let extranonce = crate::work::extended_job::Extranonce::new(&[7; 4], &[9; 8]).unwrap();
            let find = crate::work::extended_job::Find {
                extranonce,
                version: 0x2000_0000,
                time: 1_700_000_000,
                nonce,
            };
            let share: Share = job.work.share(&find).unwrap();
            if job.claims[0].target.is_met_by(share.hash()) {
                found = Some(share);
                break;
            }
        }
        let share = found.unwrap();
        crate::work::share::prove(&share, START, 1_699_999_999, &work.demand(0)).unwrap();
    }
    /// The contract of a position that changes its holder at the start of its second period.
    fn sold() -> (EscrowTerms, ScriptBuf) {
        let old = other().work().unwrap().lock;
        let mut terms = terms(60_000_000);
        terms.tenure = Some(Tenure {
            position: PositionId([5; 32]),
            transfer: 2,
            first: 0,
            earlier: vec![Earlier { until: 1, lock: old.clone() }],
        });
        terms.check().unwrap();
        (terms, old)
    }

    #[test]
    fn the_lock_changes_with_the_holder_at_the_start_of_a_period() {
        let (terms, old) = sold();
        let plan = plan(vec![terms], payee(&[(0, 1)], None, 250));
        let new = plan.positions()[0].work.lock.clone();
        assert_eq!(plan.positions()[0].id, PositionId([5; 32]));
        plan.rehearse().unwrap();
        for (height, slice, lock) in
            [(START, 0, &old), (START + 11, 0, &old), (START + 12, 1, &new), (START + 29, 2, &new)]
        {
            let job = plan.job(0, &offer(height, 0), 1).unwrap();
            assert_eq!((job.claims.len(), job.claims[0].slice), (1, slice));
            assert_eq!(paid(&job)[0].1, *lock, "height {height}");
            assert_eq!(paid(&job).len(), 2);
        }
    }

    #[test]
    fn a_contract_for_the_rest_of_a_term_is_mined_for_from_its_first_period_on() {
        let (mut terms, _) = sold();
        let tenure = terms.tenure.as_mut().unwrap();
        (tenure.first, tenure.earlier) = (2, Vec::new());
        let plan = plan(vec![terms], payee(&[(0, 1)], None, 250));
        let work = &plan.positions()[0].work;
        let job = plan.job(0, &offer(START + 23, 0), 1).unwrap();
        assert_eq!((paid(&job), job.claims.len()), (vec![(SUBSIDY, work.service.clone())], 0));
        let job = plan.job(0, &offer(START + 24, 0), 1).unwrap();
        assert_eq!((&paid(&job)[0].1, job.claims[0].slice), (&work.lock, 2));
    }

    #[test]
    fn a_rehearsal_finds_two_positions_that_would_pay_one_lock_before_a_change() {
        let (sold, _) = sold();
        // Another position has the lock that is paid until the change.
        let plan = plan(vec![sold, other()], payee(&[(0, 1), (1, 1)], None, 700));
        plan.job(0, &offer(START + 12, 0), 1).unwrap();
        assert_eq!(plan.rehearse().unwrap_err().rule(), "work-farm-lock");
    }
}
