//! What a gateway mines for: a contract that pays for work, or the proofs before a position is issued.
//!
//! | the entry's file | at these heights | the coinbase pays | shares are kept under |
//! |---|---|---|---|
//! | a contract's terms | its periods | the lock of whoever holds the position then | the contract's position |
//! | a position's terms | the onboarding slice | the registered address | the name of that stage |
//! | | the binding slice | the reward lock, and the service share | the name of that stage |
//! | | from there to the term's start | the same | nothing |
//!
//! Behind the binding slice the coinbase keeps paying the lock, though nobody counts it: a block that
//! is found then shows whoever thinks of buying that the machines still stand behind it, and the lock's
//! holder is the miner himself. From the start on he is paid as before the first slice: what is sold
//! by then has a contract, whose terms take the place of the position's in the gateway's file.

use bitcoin::Network;
use serde::Deserialize;

use crate::error::{Culprit, Result, Rule};
use crate::flow::Contract;
use crate::flow::escrow::terms::{EscrowTerms, TERMS_MAX_BYTES};
use crate::flow::position::proof::Stage;
use crate::flow::position::state;
use crate::flow::position::terms::{POSITION_FORMAT, PositionTerms};
use crate::id::PositionId;
use crate::work::agreement::WorkTerms;

/// A position is taken on in time.
pub const PAST: Rule = Rule::new(
    "gateway-position-past",
    "a gateway takes a position's terms on before its binding slice is over, or has kept shares of it",
    "begin anew with terms whose slices lie ahead; if the position is sold, name its contract's terms instead",
);
/// The miner himself shows his proofs.
pub const RECORD: Rule = Rule::new(
    "gateway-position-record",
    "a position that is not issued yet stands in a gateway's file without record, validators and relay",
    "leave them out: the gateway writes each certificate into a file, for `hashmix position prove`",
);

/// What a payee's entry names.
#[derive(Clone, Debug)]
pub enum Agreed {
    /// A contract.
    Contract(Box<EscrowTerms>),
    /// A position that is not issued yet.
    Position(Box<PositionTerms>),
}

impl From<EscrowTerms> for Agreed {
    fn from(terms: EscrowTerms) -> Self {
        Self::Contract(Box::new(terms))
    }
}

impl From<PositionTerms> for Agreed {
    fn from(terms: PositionTerms) -> Self {
        Self::Position(Box::new(terms))
    }
}

/// The first field of every file.
#[derive(Deserialize)]
struct Named {
    format: String,
}

impl Agreed {
    /// Reads and checks terms, a position's or a contract's.
    pub fn from_json(text: &str) -> Result<Self> {
        let short = text.len() <= TERMS_MAX_BYTES;
        let named = short.then(|| serde_json::from_str::<Named>(text).ok()).flatten();
        match named.is_some_and(|named| named.format == POSITION_FORMAT) {
            true => PositionTerms::from_json(text).map(Self::from),
            false => EscrowTerms::from_json(text).map(Self::from),
        }
    }

    /// The positions that shares are kept for.
    pub(super) fn positions(self) -> Result<Vec<Position>> {
        match self {
            Self::Contract(terms) => {
                let (id, work) = (terms.position()?, terms.work()?);
                Ok(vec![Position { id, work, purpose: Purpose::Contract(terms) }])
            }
            Self::Position(terms) => {
                let one = |stage: Stage| {
                    let (id, work) = (stage.position(&terms)?, stage.work(&terms)?);
                    Ok(Position { id, work, purpose: Purpose::Proof(terms.clone(), stage) })
                };
                Stage::BOTH.into_iter().map(one).collect()
            }
        }
    }
}

/// What work is for.
#[derive(Clone, Debug)]
enum Purpose {
    /// It is paid for.
    Contract(Box<EscrowTerms>),
    /// It proves capacity.
    Proof(Box<PositionTerms>, Stage),
}

/// A position that is mined for, or a stage of one that is not issued yet.
#[derive(Clone, Debug)]
pub struct Position {
    /// Its id; that of the stage, if it is one.
    pub id: PositionId,
    /// What a share is judged by.
    pub work: WorkTerms,
    purpose: Purpose,
}

impl Position {
    /// The contract, if it is one.
    pub fn contract(&self) -> Option<&EscrowTerms> {
        match &self.purpose {
            Purpose::Contract(terms) => Some(terms),
            Purpose::Proof(..) => None,
        }
    }

    /// The position's terms and the stage, if it is one.
    pub fn proof(&self) -> Option<(&PositionTerms, Stage)> {
        match &self.purpose {
            Purpose::Contract(_) => None,
            Purpose::Proof(terms, stage) => Some((terms, *stage)),
        }
    }

    /// The network.
    pub fn network(&self) -> Network {
        self.work.network
    }

    /// Heights at which coinbases pay the lock on, though nobody counts it: behind the binding slice.
    pub fn lingers_at(&self, height: u32) -> bool {
        let Some((terms, Stage::Binding)) = self.proof() else { return false };
        height > Stage::Binding.last(terms) && height < terms.delivery.start
    }

    /// First height whose header is needed to judge its shares.
    pub fn headers_from(&self) -> Result<u32> {
        match &self.purpose {
            Purpose::Contract(terms) => Ok(Contract::new((**terms).clone())?.headers_from()),
            Purpose::Proof(terms, _) => Ok(state::headers_from(terms)),
        }
    }

    /// Refuses a position of which nothing can be proven any more.
    pub fn check_ahead(&self, tip: u32, kept: bool) -> Result<()> {
        let Some((terms, Stage::Binding)) = self.proof() else { return Ok(()) };
        let last = Stage::Binding.last(terms);
        if kept || tip < last {
            return Ok(());
        }
        let place = format_args!("position of terms {}", terms.id()?).to_string();
        let expected = format!("a tip below height {last}, the end of its binding slice");
        let found = format!("a tip at height {tip}, and no share of that slice");
        Err(PAST.refuses(Culprit::Miner, place, expected, found))
    }
}

#[cfg(all(test, feature = "regtest"))]
mod tests {
    use std::sync::Arc;

    use bitcoin::block::Version;
    use bitcoin::hashes::Hash;
    use bitcoin::{Amount, BlockHash, CompactTarget, ScriptBuf, Transaction};

    use super::*;
    use crate::chain::core::Offer;
    use crate::gateway::job::Job;
    use crate::gateway::plan::{Payee, Plan};
    use crate::rehearsal::people;
    use crate::rehearsal::position as cast;
    use crate::work::template::BlockTemplate;

    const HEIGHTS: [u32; 3] = [106, 123, 145];
    const SUBSIDY: u64 = 5_000_000_000;

    fn terms(number: u32) -> PositionTerms {
        cast::terms(number, HEIGHTS).unwrap()
    }

    fn plan(all: Vec<PositionTerms>, own: Option<u64>) -> Plan {
        let positions = (0..all.len()).map(|place| (place, 1)).collect();
        let own = own.map(|weight| (people::network_script().unwrap(), weight));
        let payee = Payee { name: "farm".into(), positions, own, longest: 700 };
        Plan::new(Network::Regtest, all, vec![payee]).unwrap()
    }

    fn job(plan: &Plan, height: u32) -> Job {
        let template = BlockTemplate {
            version: Version::from_consensus(0x2000_0000),
            parent: BlockHash::all_zeros(),
            height,
            time: 1_700_000_000,
            bits: CompactTarget::from_consensus(0x207f_ffff),
            reward: Amount::from_sat(SUBSIDY),
            transactions: Vec::new(),
        };
        let template = Arc::new(template);
        plan.job(0, &Offer { template, fees: Vec::new(), earliest: 0, name: None }, 1).unwrap()
    }

    /// The places of the positions that a job's finds count for, and what its coinbase pays.
    fn told(plan: &Plan, height: u32) -> (Vec<usize>, Vec<(u64, ScriptBuf)>) {
        let job = job(plan, height);
        let coinbase = [job.work.prefix.as_slice(), &[0; 12], &job.work.suffix].concat();
        let coinbase: Transaction = bitcoin::consensus::deserialize(&coinbase).unwrap();
        let outputs =
            coinbase.output.into_iter().map(|out| (out.value.to_sat(), out.script_pubkey));
        assert!(job.claims.iter().all(|claim| claim.slice == 0));
        (
            job.claims.iter().map(|claim| claim.position).collect(),
            outputs.filter(|(sat, _)| *sat > 0).collect(),
        )
    }

    /// What a coinbase pays of `sat` for a stage.
    fn paid(terms: &PositionTerms, stage: Stage, sat: u64) -> Vec<(u64, ScriptBuf)> {
        let script = stage.script(terms).unwrap();
        match stage {
            Stage::Onboarding => vec![(sat, script)],
            Stage::Binding => {
                let service = sat * 3 / 10;
                vec![(sat - service, script), (service, terms.reward.miner.payout_script())]
            }
        }
    }

    #[test]
    fn a_position_is_proven_in_two_slices_and_its_lock_is_paid_until_the_term() {
        let ours = terms(1);
        let his = vec![(SUBSIDY, ours.reward.miner.payout_script())];
        let plan = plan(vec![ours.clone()], None);
        plan.rehearse().unwrap();
        let [onboarding, binding] = Stage::BOTH.map(|stage| paid(&ours, stage, SUBSIDY));
        for (heights, claims, paid) in [
            ([1, 105], vec![], &his),
            ([106, 117], vec![0], &onboarding),
            ([118, 122], vec![], &his),
            ([123, 134], vec![1], &binding),
            ([135, 144], vec![], &binding),
            ([145, 1_000], vec![], &his),
        ] {
            for height in heights {
                assert_eq!(told(&plan, height), (claims.clone(), paid.clone()), "height {height}");
            }
        }
    }

    #[test]
    fn a_farm_proves_positions_together_and_apart() {
        // The second is onboarded while the first is bound.
        let mut later = cast::terms(2, [123, 140, 165]).unwrap();
        let both = vec![terms(1), later.clone()];
        let (first, second) = (&both[0], &both[1]);
        let with_own = plan(both.clone(), Some(2));
        with_own.rehearse().unwrap();
        let quarter = SUBSIDY / 4;
        let own = |sat| vec![(sat, people::network_script().unwrap())];
        let at_123 = [
            paid(first, Stage::Binding, quarter),
            paid(second, Stage::Onboarding, quarter),
            own(2 * quarter),
        ];
        assert_eq!(told(&with_own, 123), (vec![1, 2], at_123.concat()));
        let at_106 = [paid(first, Stage::Onboarding, quarter), own(3 * quarter)];
        assert_eq!(told(&with_own, 106), (vec![0], at_106.concat()));

        // Without a script of the farm's own, what is idle goes to an address that proves nothing now.
        let alone = plan(both.clone(), None);
        alone.rehearse().unwrap();
        let half = SUBSIDY / 2;
        let idle = vec![(half, second.reward.miner.payout_script())];
        assert_eq!(told(&alone, 106).1, [paid(first, Stage::Onboarding, half), idle].concat());
        let both_paid = [paid(first, Stage::Binding, half), paid(second, Stage::Onboarding, half)];
        assert_eq!(told(&alone, 130), (vec![1, 2], both_paid.concat()));

        // One address proves no two positions.
        later.reward.miner = first.reward.miner.clone();
        let twin = Agreed::from(later);
        let payee = |positions| Payee { name: "f".into(), positions, own: None, longest: 700 };
        let twins = vec![Agreed::from(cast::terms(1, [123, 140, 165]).unwrap()), twin];
        let plan = Plan::new(Network::Regtest, twins, vec![payee(vec![(0, 1), (1, 1)])]).unwrap();
        assert_eq!(plan.rehearse().unwrap_err().rule(), "work-farm-lock");
    }

    #[test]
    fn positions_twice_and_those_of_another_network_are_refused() {
        let refused = |network, all: Vec<PositionTerms>| {
            Plan::new(network, all, Vec::new()).unwrap_err().rule()
        };
        assert_eq!(refused(Network::Signet, vec![terms(1)]), "gateway-position-network");
        assert_eq!(refused(Network::Bitcoin, vec![terms(1)]), "gateway-position-network");
        assert_eq!(refused(Network::Regtest, vec![terms(1), terms(1)]), "gateway-position-twice");
    }

    #[test]
    fn a_position_whose_binding_is_past_is_refused_unless_shares_of_it_are_kept() {
        let plan = plan(vec![terms(1)], None);
        let [onboarding, binding] = plan.positions() else { panic!() };
        for tip in [0, 105, 133] {
            binding.check_ahead(tip, false).unwrap();
        }
        for tip in [134, 144, 100_000] {
            let refused = binding.check_ahead(tip, false).unwrap_err();
            assert_eq!(refused.rule(), "gateway-position-past");
            assert!(refused.to_string().contains("below height 134"), "{refused}");
            // A gateway that was at work goes on after a restart.
            binding.check_ahead(tip, true).unwrap();
            onboarding.check_ahead(tip, false).unwrap();
        }
    }

    #[test]
    fn a_file_is_a_contracts_or_a_positions() {
        let text = terms(1).to_json().unwrap();
        assert!(matches!(Agreed::from_json(&text).unwrap(), Agreed::Position(_)));
        let contract = serde_json::to_string(&terms(1).contract(Amount::from_sat(60_000_000)));
        let contract = Agreed::from_json(&contract.unwrap()).unwrap();
        assert!(matches!(contract, Agreed::Contract(_)));
        let bad = text.replacen("\"onboarding\"", "\"onbording\"", 1);
        assert_eq!(Agreed::from_json(&bad).unwrap_err().rule(), "position-form");
        for bad in ["", "{}", &text.replacen("position 1\"", "position 2\"", 1)] {
            assert_eq!(Agreed::from_json(bad).unwrap_err().rule(), "terms-form");
        }
    }
}
