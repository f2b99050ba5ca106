//! A contract whose coins really exist: on a chain that Core keeps, in coinbases and in a funding
//! transaction that Core signed.

use std::sync::LazyLock;

use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{Address, Amount, Network, Psbt, Transaction, TxIn, TxOut};
use hashmix::facts::Coin;
use hashmix::flow::escrow::coins::EscrowCoin;
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::flow::escrow::txs::{Outcome, exit, settlement};
use hashmix::flow::reward::txs::{SweepPath, sweep};
use hashmix::flow::{escrow, reward};
use hashmix::party::Seat;
use hashmix::rehearsal::people::{self, Payouts, name, seed, signer};
use hashmix::script::lock::{Lock, Path};
use hashmix::script::template::{Account, Policy, Variant};
use hashmix::sign::seed::RecordSecrets;
use hashmix::sign::software::SoftwareSigner;
use hashmix::tx::draft::Draft;
use miniscript::descriptor::checksum::desc_checksum;
use serde_json::json;

use crate::judge::{Judge, Placed};

pub(crate) const NETWORK: Network = Network::Regtest;
/// Sat/vB of everything here.
pub(crate) const RATE: u64 = 5;
/// Coins in each lock.
const COINS: u32 = 3;

/// Miner, holder, three validators.
pub(crate) const EVERYBODY: [Seat; 5] =
    [Seat::Miner, Seat::Holder, Seat::Validator(0), Seat::Validator(1), Seat::Validator(2)];

/// Seeds are stretched slowly, on purpose, so everybody has them once.
static SECRETS: LazyLock<Vec<(Seat, RecordSecrets)>> = LazyLock::new(|| {
    let secrets = |seat| seed(&name(seat)).unwrap().record(NETWORK, 0).unwrap();
    EVERYBODY.into_iter().map(|seat| (seat, secrets(seat))).collect()
});
static SIGNERS: LazyLock<Vec<(Seat, SoftwareSigner)>> = LazyLock::new(|| {
    EVERYBODY.into_iter().map(|seat| (seat, signer(seat, NETWORK).unwrap())).collect()
});

/// The first deal with two periods and delays that end below height 170.
static TERMS: LazyLock<EscrowTerms> = LazyLock::new(|| {
    let payout = |seat| signer_of(seat).address();
    let payouts = Payouts {
        miner: payout(Seat::Miner),
        holder: payout(Seat::Holder),
        federation: payout(Seat::Validator(0)),
    };
    let mut terms = people::terms(Variant::Musig, 108, &payouts).unwrap();
    terms.delivery.periods = 2;
    terms.delays.grace = 24;
    terms.delays.miner_exit = 12;
    terms.reward.exit_delay = 120;
    terms
});

/// The signer of a seat.
pub(crate) fn signer_of(seat: Seat) -> &'static SoftwareSigner {
    SIGNERS.iter().find(|(its, _)| *its == seat).map(|(_, signer)| signer).unwrap()
}

/// The `musig()` form of a policy as `seat`'s own wallet holds it: his accounts for leaves and
/// exits with their private keys.
pub(crate) fn private_form(policy: &Policy, seat: Seat) -> String {
    let (_, secrets) = SECRETS.iter().find(|(its, _)| *its == seat).unwrap();
    let mut text = policy.musig_form.clone();
    for (public, owner) in &policy.keys {
        let account = match owner {
            Some((its, Account::Leaf)) if *its == seat => &secrets.leaf,
            Some((its, Account::Exit)) if *its == seat => &secrets.exit,
            _ => continue,
        };
        assert_eq!(account.expression(), *public);
        text = text.replace(public.as_str(), &account.secret_expression());
    }
    assert_ne!(text, policy.musig_form, "{seat} has no key in the policy");
    with_checksum(&text)
}

/// A descriptor with its checksum (BIP 380).
pub(crate) fn with_checksum(descriptor: &str) -> String {
    format!("{descriptor}#{}", desc_checksum(descriptor).unwrap())
}

/// One contract on a chain of its own, with coins in both locks.
pub(crate) struct Contract {
    pub(crate) judge: Judge,
    pub(crate) terms: EscrowTerms,
    /// Coinbase outputs that pay the reward lock.
    pub(crate) rewards: Vec<Placed>,
    /// Outputs of one funding transaction, each the price in the escrow lock.
    pub(crate) escrows: Vec<Placed>,
}

impl Contract {
    /// Blocks 1 to 4 pay the buyer and the reward lock; the first can be spent from block 101 on,
    /// and there it pays the escrow.
    pub(crate) fn new(variant: Variant) -> Self {
        let mut terms = TERMS.clone();
        terms.reward.variant = variant;
        terms.check().unwrap();
        let judge = Judge::on(NETWORK);

        let funds = seed("rehearsal buyer").unwrap().funds(NETWORK).unwrap();
        let descriptor = with_checksum(&format!("tr({}/0/*)", funds.expression()));
        let address = judge.ask("deriveaddresses", &[json!(descriptor), json!([0, 0])]);
        let address: Address<_> = address[0].as_str().unwrap().parse().unwrap();
        let coin = judge.mine(1, &address.require_network(NETWORK).unwrap()).remove(0);
        let locked = reward::coins::lock(&terms.reward).unwrap().address(NETWORK).unwrap();
        let rewards = judge.mine(COINS, &locked);
        judge.mine_to(100);

        // The buyer's wallet is Core as well; it reads the output's value from its own chain.
        let mut output = vec![escrow::coins::funding(&terms).unwrap(); COINS as usize];
        let price = terms.price * u64::from(COINS);
        let change = coin.txout.value - price - Amount::from_sat(10_000);
        output.push(TxOut { value: change, script_pubkey: coin.txout.script_pubkey.clone() });
        let unsigned = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn { previous_output: coin.outpoint, ..TxIn::default() }],
            output,
        };
        let wallet = with_checksum(&format!("tr({}/0/*)", funds.secret_expression().as_str()));
        let signed = judge.sign(&Psbt::from_unsigned_tx(unsigned).unwrap(), &wallet, 0);
        let funding = judge.finalize(&signed).expect("the buyer alone funds the escrow");
        let mut escrows = judge.confirm(&funding);
        escrows.truncate(COINS as usize);
        Self { judge, terms, rewards, escrows }
    }

    /// The reward lock's policy.
    pub(crate) fn reward_policy(&self) -> Policy {
        reward::coins::policy(&self.terms.reward).unwrap()
    }

    /// The escrow lock's policy.
    pub(crate) fn escrow_policy(&self) -> Policy {
        escrow::coins::policy(&self.terms).unwrap()
    }

    /// The sweep of some rewards.
    pub(crate) fn sweep(&self, rewards: &[Placed], path: SweepPath) -> Draft {
        let coins: Vec<Coin> = rewards
            .iter()
            .map(|placed| Coin {
                outpoint: placed.outpoint,
                txout: placed.txout.clone(),
                height: Some(placed.height),
                coinbase: placed.coinbase,
                spender: None,
            })
            .collect();
        sweep(&self.terms.reward, path, &coins, RATE).unwrap()
    }

    /// The transaction that the contract knows for a way into an escrow output made by settlement
    /// number `index`: a settlement that pays 0.1 BTC more, or an exit.
    pub(crate) fn spend_escrow(&self, placed: &Placed, index: u32, path: Path) -> Draft {
        let coin = EscrowCoin {
            outpoint: placed.outpoint,
            index,
            value: placed.txout.value,
            height: Some(placed.height),
            lock: self.escrow_lock(index),
        };
        match path {
            Path::HolderExit => exit(&self.terms, &coin, Seat::Holder, RATE).unwrap(),
            Path::MinerExit => exit(&self.terms, &coin, Seat::Miner, RATE).unwrap(),
            _ => {
                let earned = Amount::from_sat(10_000_000) * u64::from(index + 1);
                let outcome = Outcome { period: index, earned, closes: false };
                settlement(&self.terms, &coin, outcome, path, RATE, None).unwrap()
            }
        }
    }

    pub(crate) fn escrow_lock(&self, index: u32) -> Lock {
        escrow::coins::lock(&self.terms, index).unwrap()
    }
}

/// Tip from which a draft that spends `coins` may enter the next block.
pub(crate) fn opens(draft: &Draft, coins: &[Placed]) -> u32 {
    // nLockTime h is final in blocks above h; n blocks deep counts the output's own.
    let mut tip = draft.transaction().lock_time.to_consensus_u32();
    for (coin, input) in coins.iter().zip(&draft.transaction().input) {
        let mature = if coin.coinbase { 99 } else { 0 };
        let deep = match input.sequence.to_relative_lock_time() {
            Some(bitcoin::relative::LockTime::Blocks(blocks)) => u32::from(blocks.value()) - 1,
            _ => 0,
        };
        tip = tip.max(coin.height + mature.max(deep));
    }
    tip
}
