//! The cast: a miner, a holder, three validators, each with a seed that everybody knows.
//!
//! These seeds are for rehearsals. Coins that they hold on a chain of value are anybody's.

use std::path::Path;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::{Address, Amount, Network, NetworkKind, ScriptBuf};

use crate::chain::electrum::Electrum;
use crate::engine::Engine;
use crate::error::Result;
use crate::flow::escrow::terms::{Delays, Delivery, EscrowTerms, Fees, TERMS_FORMAT};
use crate::flow::reward::terms::RewardTerms;
use crate::party::{Federation, Record, Role, Seat};
use crate::rehearsal::world::World;
use crate::relay::folder::{Folder, folder_name};
use crate::script::template::Variant;
use crate::sign::record::record;
use crate::sign::seed::Seed;
use crate::sign::software::SoftwareSigner;
use crate::store::Store;
use crate::wallet::Wallet;
use crate::work::agreement::{Entitlement, Profile, share_target};

/// The name that every record of the rehearsal is made for.
pub const CONTRACT: &str = "first deal";

/// Validators of the rehearsal, and how many of them decide.
pub const VALIDATORS: u8 = 3;
/// How many of them decide.
pub const THRESHOLD: u8 = 2;

/// The seed that a name stands for.
pub fn seed(name: &str) -> Result<Seed> {
    Seed::from_entropy(sha256::Hash::hash(name.as_bytes()).as_byte_array(), "")
}

/// The name behind a seat.
pub fn name(seat: Seat) -> String {
    match seat {
        Seat::Miner => "rehearsal miner".to_owned(),
        Seat::Holder => "rehearsal holder".to_owned(),
        Seat::Validator(place) => format!("rehearsal validator {place}"),
    }
}

/// The signer of a seat: record 0 of its seed.
pub fn signer(seat: Seat, network: Network) -> Result<SoftwareSigner> {
    let secrets = seed(&name(seat))?.record(network, 0)?;
    match network {
        Network::Regtest => SoftwareSigner::rehearsing(secrets),
        _ => SoftwareSigner::new(secrets, network),
    }
}

/// The signer of one record of whoever has this name. Its randomness repeats, so that what it signs does.
pub fn signer_of(name: &str, number: u32) -> Result<SoftwareSigner> {
    SoftwareSigner::rehearsing(seed(name)?.record(Network::Regtest, number)?)
}

/// The record of a seat in the rehearsal, paid at `payout`.
pub fn record_of(seat: Seat, network: Network, payout: Address) -> Result<Record> {
    let role = match seat {
        Seat::Miner => Role::Miner,
        Seat::Holder => Role::Holder,
        Seat::Validator(_) => Role::Validator,
    };
    record(&signer(seat, network)?, role, network, CONTRACT, payout.into_unchecked())
}

/// The rehearsal's federation: 2 of 3, paid at `payout`.
pub fn federation(network: Network, payout: &Address) -> Result<Federation> {
    let validators = (0..VALIDATORS)
        .map(|place| record_of(Seat::Validator(place), network, payout.clone()))
        .collect::<Result<_>>()?;
    Ok(Federation { threshold: THRESHOLD, validators, payout: payout.clone().into_unchecked() })
}

/// Where the people of the rehearsal are paid.
#[derive(Clone, Debug)]
pub struct Payouts {
    /// The miner: service shares and installments.
    pub miner: Address,
    /// The holder: rewards and refunds.
    pub holder: Address,
    /// The federation: ruling fees.
    pub federation: Address,
}

/// The terms of the first deal: six periods of twelve blocks in windows of two, 0.6 BTC, 100 H/s,
/// a service share of 30 %.
pub fn terms(variant: Variant, start: u32, payouts: &Payouts) -> Result<EscrowTerms> {
    let network = Network::Regtest;
    let (rate, expected, slice) = (100, 180, 12);
    let terms = EscrowTerms {
        format: TERMS_FORMAT.to_owned(),
        profile: Profile::Regtest,
        reward: RewardTerms {
            network,
            contract: CONTRACT.to_owned(),
            variant,
            miner: record_of(Seat::Miner, network, payouts.miner.clone())?,
            holder: record_of(Seat::Holder, network, payouts.holder.clone())?,
            federation: federation(network, &payouts.federation)?,
            exit_delay: 144,
            service_ppm: 300_000,
        },
        price: Amount::from_sat(60_000_000),
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
            receipt_span: 3,
            proof_span: 4,
            ruling_depth: 6,
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
        tenure: None,
    };
    terms.check()?;
    Ok(terms)
}

/// Somebody who has a store and a wallet, and does not sit at a contract yet.
pub struct Person {
    seat: Seat,
    store: Store,
    wallet: Wallet,
}

impl Person {
    /// Opens (and makes) the person's store and wallet under `dir`.
    pub fn new(seat: Seat, dir: &Path) -> Result<Self> {
        let mut store = Store::open(dir.join(format!("{}.sqlite", folder_name(seat))))?;
        let master = seed(&name(seat))?.master(NetworkKind::Test)?;
        let wallet = Wallet::create_or_load(&mut store, *master.xpriv(), Network::Regtest)?;
        Ok(Self { seat, store, wallet })
    }

    /// An address that was never shown before.
    pub fn address(&mut self) -> Result<Address> {
        self.wallet.next_address(&mut self.store)
    }

    /// Takes the seat at a contract; messages lie under `dir`.
    pub fn sit(self, terms: &EscrowTerms, world: &dyn World, dir: &Path) -> Result<Engine> {
        let signer = signer(self.seat, Network::Regtest)?;
        self.sit_with(signer, terms, world, dir)
    }

    /// Takes the seat once more after a restart. The rehearsal's own randomness begins again with
    /// each process and would repeat a nonce; so this signer has the operating system's.
    pub fn sit_again(self, terms: &EscrowTerms, world: &dyn World, dir: &Path) -> Result<Engine> {
        let network = Network::Regtest;
        let secrets = seed(&name(self.seat))?.record(network, 0)?;
        self.sit_with(SoftwareSigner::new(secrets, network)?, terms, world, dir)
    }

    fn sit_with(
        self,
        signer: SoftwareSigner,
        terms: &EscrowTerms,
        world: &dyn World,
        dir: &Path,
    ) -> Result<Engine> {
        let chain = Electrum::connect(&world.electrum_url(), Network::Regtest)?;
        let relay = Folder::open(dir.join("messages"), self.seat)?;
        let engine = Engine::open(self.seat, terms.clone(), self.store, chain, signer, relay)?;
        let engine = engine.with_wallet(self.wallet);
        match self.seat {
            Seat::Validator(_) => Ok(engine.with_sources(world.sources()?)),
            _ => Ok(engine),
        }
    }
}

/// Where blocks pay that nobody at the table has found.
pub fn network_script() -> Result<ScriptBuf> {
    let signer = SoftwareSigner::new(
        seed("rest of the network")?.record(Network::Regtest, 0)?,
        Network::Regtest,
    )?;
    Ok(signer.address().script_pubkey())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{escrow, reward};

    #[test]
    fn the_terms_of_the_first_deal_pass_their_own_checks_and_survive_their_file() {
        let key = |n: u8| {
            let keys = signer(Seat::Validator(n), Network::Regtest).unwrap();
            keys.address()
        };
        let payouts = Payouts { miner: key(0), holder: key(1), federation: key(2) };
        for variant in [Variant::Musig, Variant::Nums] {
            let terms = terms(variant, 120, &payouts).unwrap();
            let text = serde_json::to_string_pretty(&terms).unwrap();
            assert_eq!(EscrowTerms::from_json(&text).unwrap(), terms);
            assert!(reward::coins::lock(&terms.reward).is_ok());
            assert!(escrow::coins::lock(&terms, 1).is_ok());
        }
    }
}
