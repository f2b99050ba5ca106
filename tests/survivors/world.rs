//! One contract on a chain of its own: people with signers, coins in both locks.

use std::sync::LazyLock;

use bitcoin::bip32::Xpriv;
use bitcoin::{Amount, FeeRate, Network, ScriptBuf, TxOut};
use hashmix::chain::electrum::Electrum;
use hashmix::facts::Coin;
use hashmix::flow::escrow::coins::EscrowCoin;
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::flow::{escrow, reward};
use hashmix::header_sync::GuardedChain;
use hashmix::party::Seat;
use hashmix::rehearsal::people::{self, Payouts, seed, signer};
use hashmix::rehearsal::world::{World as Chain, chosen};
use hashmix::script::lock::Lock;
use hashmix::script::template::Variant;
use hashmix::sign::software::SoftwareSigner;
use hashmix::store::Store;
use hashmix::wallet::Wallet;

pub(crate) const NETWORK: Network = Network::Regtest;
/// Sat/vB of everything here.
pub(crate) const RATE: u64 = 5;
/// Height of the block whose coinbase pays the reward lock.
pub(crate) const REWARD_HEIGHT: u32 = 2;
/// Height of the block that funds the escrow.
pub(crate) const ESCROW_HEIGHT: u32 = 101;
/// Coins in each lock: one for each way in, and some for attempts that must fail.
const COINS: usize = 8;

/// Miner, holder, three validators.
pub(crate) const EVERYBODY: [Seat; 5] =
    [Seat::Miner, Seat::Holder, Seat::Validator(0), Seat::Validator(1), Seat::Validator(2)];

/// Seeds are stretched slowly, on purpose, so everybody signs with the same signers.
static SIGNERS: LazyLock<Vec<(Seat, SoftwareSigner)>> = LazyLock::new(|| {
    let more = [Seat::Validator(3), Seat::Validator(4)];
    let seats = EVERYBODY.into_iter().chain(more);
    seats.map(|seat| (seat, signer(seat, NETWORK).unwrap())).collect()
});

/// The first deal with two periods and delays that end below height 170.
static TERMS: LazyLock<EscrowTerms> = LazyLock::new(|| {
    let mut terms = people::terms(Variant::Musig, 104, &payouts()).unwrap();
    terms.delivery.periods = 2;
    terms.delays.grace = 24;
    terms.delays.miner_exit = 12;
    terms.reward.exit_delay = 120;
    terms
});

/// The wallet's master key.
static MASTER: LazyLock<Xpriv> =
    LazyLock::new(|| *seed("survivors").unwrap().master(NETWORK.into()).unwrap().xpriv());

/// Everybody is paid at the address of his communication key.
pub(crate) fn payouts() -> Payouts {
    let payout = |seat| signer_of(seat).address();
    Payouts {
        miner: payout(Seat::Miner),
        holder: payout(Seat::Holder),
        federation: payout(Seat::Validator(0)),
    }
}

fn signer_of(seat: Seat) -> &'static SoftwareSigner {
    SIGNERS.iter().find(|(its, _)| *its == seat).map(|(_, signer)| signer).unwrap()
}

/// A chain, a contract, and its people.
pub(crate) struct World {
    pub(crate) node: Box<dyn Chain>,
    pub(crate) chain: Electrum,
    pub(crate) terms: EscrowTerms,
    pub(crate) wallet: Wallet,
}

impl World {
    /// A chain of 100 blocks. The second coinbase pays the reward lock, the first one the wallet.
    pub(crate) fn new(variant: Variant) -> Self {
        let mut terms = TERMS.clone();
        terms.reward.variant = variant;
        Self::with_terms(terms)
    }

    /// The same with k of n validators, n up to 5.
    pub(crate) fn with_federation(k: u8, n: u8) -> Self {
        let mut terms = TERMS.clone();
        let federation = &mut terms.reward.federation;
        let payout = signer_of(Seat::Validator(0)).address();
        federation.threshold = k;
        federation.validators = (0..n)
            .map(|place| people::record_of(Seat::Validator(place), NETWORK, payout.clone()))
            .collect::<Result<_, _>>()
            .unwrap();
        Self::with_terms(terms)
    }

    /// The same with other terms.
    pub(crate) fn with_terms(terms: EscrowTerms) -> Self {
        terms.check().unwrap();
        let node = chosen().unwrap();
        let mut store = Store::open_in_memory().unwrap();
        let mut wallet = Wallet::create_or_load(&mut store, *MASTER, NETWORK).unwrap();

        let script_pubkey = wallet.next_address(&mut store).unwrap().script_pubkey();
        let whole = |value| vec![TxOut { value, script_pubkey: script_pubkey.clone() }];
        node.mine(1, &whole).unwrap();
        let locked = reward::coins::lock(&terms.reward).unwrap().script_pubkey;
        let share = |value: Amount| {
            let out = TxOut { value: value / COINS as u64, script_pubkey: locked.clone() };
            vec![out; COINS]
        };
        node.mine(1, &share).unwrap();
        mine_to(&*node, 100);
        let connect = || Electrum::connect(&node.electrum_url(), NETWORK).unwrap();
        wallet.sync(&mut GuardedChain::new(connect()), &mut store).unwrap();
        let chain = connect();
        Self { node, chain, terms, wallet }
    }

    /// Mines until the tip is at `height`.
    pub(crate) fn mine_to(&self, height: u32) {
        mine_to(&*self.node, height);
    }

    pub(crate) fn signer(&self, seat: Seat) -> &SoftwareSigner {
        signer_of(seat)
    }

    /// Pays the price into the escrow lock, several times over, in block [`ESCROW_HEIGHT`].
    pub(crate) fn fund_escrows(&mut self) -> Vec<EscrowCoin> {
        let funding = vec![escrow::coins::funding(&self.terms).unwrap(); COINS];
        let rate = FeeRate::from_sat_per_vb_u32(RATE as u32);
        let tx = self.wallet.fund(&funding, rate).unwrap();
        self.chain.broadcast(&tx).unwrap();
        self.mine_to(ESCROW_HEIGHT);
        let lock = escrow::coins::lock(&self.terms, 0).unwrap();
        let coins = self.coins(&lock);
        assert_eq!(coins.len(), COINS);
        coins.into_iter().map(|coin| escrow_coin(&coin, lock.clone(), 0)).collect()
    }

    /// The outputs that the second coinbase pays to the reward lock.
    pub(crate) fn rewards(&self) -> Vec<Coin> {
        let lock = reward::coins::lock(&self.terms.reward).unwrap();
        let coins = self.coins(&lock);
        assert_eq!(coins.len(), COINS);
        assert!(coins.iter().all(|coin| coin.coinbase && coin.height == Some(REWARD_HEIGHT)));
        coins
    }

    /// The outputs that pay `lock`, as the server shows them.
    pub(crate) fn coins(&self, lock: &Lock) -> Vec<Coin> {
        let script = lock.script_pubkey.clone();
        self.chain.facts(std::slice::from_ref(&script), 0).unwrap().coins(&script)
    }
}

/// Mines until the tip is at `height`; the coinbases pay a script that anybody may spend.
fn mine_to(node: &dyn Chain, height: u32) {
    let tip = node.height().unwrap();
    assert!(tip <= height, "the chain is at {tip} already, beyond {height}");
    let payouts = |value| vec![TxOut { value, script_pubkey: ScriptBuf::new() }];
    node.mine(height - tip, &payouts).unwrap();
}

/// An escrow output after `index` settlements.
pub(crate) fn escrow_coin(coin: &Coin, lock: Lock, index: u32) -> EscrowCoin {
    EscrowCoin {
        outpoint: coin.outpoint,
        index,
        value: coin.txout.value,
        height: coin.height,
        lock,
    }
}
