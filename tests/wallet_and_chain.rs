//! Wallet, store and Electrum adapter against the embedded node: Bitcoin Core's validation judges
//! what they build.

use std::path::PathBuf;

use bitcoin::bip32::Xpriv;
use bitcoin::{Address, Amount, FeeRate, Network, ScriptBuf, TxOut};
use hashmix::chain::electrum::Electrum;
use hashmix::chain::embedded::EmbeddedNode;
use hashmix::header_sync::GuardedChain;
use hashmix::store::Store;
use hashmix::wallet::{Balance, Wallet};
use tempfile::TempDir;

const RATE: FeeRate = FeeRate::from_sat_per_kwu(500);
const DEAL: [u8; 32] = [7; 32];
/// Reward of the first 149 regtest blocks.
const REWARD: Amount = Amount::from_sat(5_000_000_000);

/// A node, a connection, and one person's wallet in a file.
struct World {
    node: EmbeddedNode,
    chain: GuardedChain,
    _dir: TempDir,
    path: PathBuf,
    store: Store,
    wallet: Wallet,
}

fn load(path: &PathBuf, seed: u8) -> (Store, Wallet) {
    let mut store = Store::open(path).unwrap();
    let master = Xpriv::new_master(Network::Regtest, &[seed; 32]).unwrap();
    let wallet = Wallet::create_or_load(&mut store, master, Network::Regtest).unwrap();
    (store, wallet)
}

fn connect(node: &EmbeddedNode) -> GuardedChain {
    GuardedChain::new(Electrum::connect(&node.electrum_url(), Network::Regtest).unwrap())
}

fn stranger() -> ScriptBuf {
    ScriptBuf::from_bytes([vec![0x00, 0x14], vec![9; 20]].concat())
}

impl World {
    fn new() -> Self {
        let node = EmbeddedNode::start().unwrap();
        let chain = connect(&node);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wallet.sqlite");
        let (store, wallet) = load(&path, 1);
        Self { node, chain, _dir: dir, path, store, wallet }
    }

    /// A world whose wallet holds one mature coinbase.
    fn with_one_coin() -> Self {
        let mut world = Self::new();
        let address = world.wallet.next_address(&mut world.store).unwrap();
        world.mine_to(1, address.script_pubkey());
        world.mine_to(100, stranger());
        world.sync();
        world
    }

    fn mine_to(&self, blocks: u32, script_pubkey: ScriptBuf) {
        let payouts = |value| vec![TxOut { value, script_pubkey: script_pubkey.clone() }];
        self.node.mine(blocks, &payouts).unwrap();
    }

    fn reorg(&self, depth: u32, keep_transactions: bool) {
        let payouts = |value| vec![TxOut { value, script_pubkey: stranger() }];
        self.node.reorg(depth, depth + 1, &payouts, keep_transactions).unwrap();
    }

    fn sync(&mut self) {
        self.wallet.sync(&mut self.chain, &mut self.store).unwrap();
    }

    fn address(&mut self) -> Address {
        self.wallet.next_address(&mut self.store).unwrap()
    }

    /// The wallet as a new process finds it, before it asks the chain anything.
    fn reopen(&mut self) {
        let (store, wallet) = load(&self.path, 1);
        self.store = store;
        self.wallet = wallet;
    }
}

fn confirmed(sat: u64) -> Balance {
    Balance { confirmed: Amount::from_sat(sat), ..Balance::default() }
}

#[test]
fn a_coinbase_is_immature_until_it_has_a_hundred_blocks() {
    let mut world = World::new();
    let address = world.address();
    world.mine_to(1, address.script_pubkey());
    world.sync();
    assert_eq!(world.wallet.balance(), Balance { immature: REWARD, ..Balance::default() });
    world.mine_to(98, stranger());
    world.sync();
    assert_eq!(world.wallet.balance().immature, REWARD);
    let early = world.wallet.fund(&[TxOut { value: REWARD / 2, script_pubkey: stranger() }], RATE);
    let early = early.unwrap_err();
    assert_eq!(early.rule(), "wallet-funds");
    assert!(early.to_string().contains("immature 50 BTC"), "{early}");
    world.mine_to(1, stranger());
    world.sync();
    assert_eq!(world.wallet.balance(), confirmed(REWARD.to_sat()));
    let [coin] = world.wallet.coins().try_into().unwrap();
    assert_eq!((coin.height, coin.coinbase, coin.spender), (Some(1), true, None));
    assert!(coin.is_mature(100) && !coin.is_mature(99));
}

#[test]
fn a_payment_goes_out_is_pending_and_confirms() {
    let mut world = World::with_one_coin();
    let to = Address::from_script(&stranger(), Network::Regtest).unwrap();
    let paid = Amount::from_sat(1_000_000_000);
    let txid =
        world.wallet.send(world.chain.electrum(), &mut world.store, &to, paid, RATE).unwrap();
    assert_eq!(world.node.mempool(), [txid]);
    world.sync();
    let pending = world.wallet.balance();
    assert_eq!(pending.confirmed, Amount::ZERO);
    world.mine_to(1, stranger());
    world.sync();
    let change = world.wallet.balance();
    assert_eq!(change.confirmed, pending.pending);
    let tx = world.chain.electrum().transaction(txid).unwrap();
    assert_eq!(tx.output[0].value, paid);
    let fee = REWARD - paid - change.confirmed;
    // The rate is met, and overpaid by no more than the rounding of a signature's weight.
    let exact = RATE.fee_wu(tx.weight()).unwrap();
    assert!((exact..=exact + Amount::from_sat(2)).contains(&fee), "{fee}, {exact}");
    assert_eq!(change.reserved, Amount::ZERO);

    // The change can be spent in turn, by a wallet that was opened anew.
    world.reopen();
    assert_eq!(world.wallet.balance(), change);
    world.wallet.send(world.chain.electrum(), &mut world.store, &to, paid, RATE).unwrap();
    assert_eq!(world.node.mempool().len(), 1);
}

#[test]
fn a_funding_is_committed_with_its_event_and_outlives_a_crash_before_it_is_sent() {
    let mut world = World::with_one_coin();
    let output = TxOut { value: Amount::from_sat(60_000_000), script_pubkey: stranger() };
    let tx = world.wallet.fund(std::slice::from_ref(&output), RATE).unwrap();
    let staged = world.wallet.take_staged();
    let event = ("funding signed", bitcoin::consensus::serialize(&tx));
    world.store.append(&DEAL, &[event], staged.as_ref()).unwrap();

    // The process dies here. The next one finds the transaction, its coins still reserved.
    world.reopen();
    world.sync();
    assert_eq!(world.wallet.balance().reserved, REWARD);
    let short = world.wallet.fund(std::slice::from_ref(&output), RATE).unwrap_err();
    assert_eq!(short.rule(), "wallet-funds");
    let [entry] = world.store.entries(&DEAL).unwrap().try_into().unwrap();
    let found: bitcoin::Transaction = bitcoin::consensus::deserialize(&entry.body).unwrap();
    assert_eq!(found, tx);
    assert_eq!(world.chain.electrum().broadcast(&found).unwrap(), tx.compute_txid());
    assert_eq!(
        world.chain.electrum().broadcast(&found).unwrap(),
        tx.compute_txid(),
        "twice is as good"
    );
    world.mine_to(1, stranger());
    assert_eq!(
        world.chain.electrum().broadcast(&found).unwrap(),
        tx.compute_txid(),
        "and once mined too"
    );
    world.sync();
    assert_eq!(world.wallet.balance(), confirmed(tx.output[1].value.to_sat()));
}

#[test]
fn facts_name_coins_spenders_and_heights_with_every_branch_checked() {
    let mut world = World::with_one_coin();
    let to = Address::from_script(&stranger(), Network::Regtest).unwrap();
    let mine = world.wallet.coins()[0].clone();
    let amount = Amount::from_sat(10_000);
    let txid =
        world.wallet.send(world.chain.electrum(), &mut world.store, &to, amount, RATE).unwrap();
    let scripts = [mine.txout.script_pubkey.clone()];
    let waiting = world.chain.electrum().facts(&scripts, 90).unwrap();
    let [coin] = waiting.coins(&scripts[0]).try_into().unwrap();
    assert_eq!(coin.spender, Some(txid));
    assert_eq!(waiting.transactions[&txid].height, None);
    world.mine_to(1, stranger());
    let facts = world.chain.electrum().facts(&scripts, 90).unwrap();
    assert_eq!((facts.headers.first(), facts.tip()), (1, 102));
    assert_eq!(facts.transactions[&txid].height, Some(102));
    assert_eq!(facts.spender(coin.outpoint), Some(txid));
    assert_eq!(facts.headers.hash(102), Some(world.node.tip().1));
}

#[test]
fn after_a_reorg_a_payment_waits_again_and_confirms_again() {
    let mut world = World::with_one_coin();
    let to = Address::from_script(&stranger(), Network::Regtest).unwrap();
    let amount = Amount::from_sat(10_000);
    let txid =
        world.wallet.send(world.chain.electrum(), &mut world.store, &to, amount, RATE).unwrap();
    world.mine_to(3, stranger());
    world.sync();
    let settled = world.wallet.balance();
    world.reorg(3, true);
    assert_eq!(world.node.mempool(), [txid]);
    world.sync();
    let waiting = world.wallet.balance();
    assert_eq!((waiting.confirmed, waiting.pending), (Amount::ZERO, settled.confirmed));
    world.reopen();
    assert_eq!(world.wallet.balance(), waiting, "what was stored is the new chain");
    world.mine_to(1, stranger());
    world.sync();
    assert_eq!(world.wallet.balance(), settled);
}

#[test]
fn a_payment_that_a_reorg_wipes_out_leaves_the_coin_it_had_spent() {
    let mut world = World::with_one_coin();
    let before = world.wallet.balance();
    let to = Address::from_script(&stranger(), Network::Regtest).unwrap();
    let amount = Amount::from_sat(10_000);
    world.wallet.send(world.chain.electrum(), &mut world.store, &to, amount, RATE).unwrap();
    world.mine_to(2, stranger());
    world.sync();
    world.reorg(2, false);
    assert!(world.node.mempool().is_empty());
    world.sync();
    let after = world.wallet.balance();
    assert_eq!((after.confirmed, after.pending), (before.confirmed, Amount::ZERO));
    assert_eq!(world.wallet.coins().len(), 1);
    world.reopen();
    assert_eq!(world.wallet.balance(), after);
}

#[test]
fn a_coinbase_that_a_reorg_takes_never_returns() {
    let mut world = World::with_one_coin();
    let address = world.address();
    world.mine_to(1, address.script_pubkey());
    world.sync();
    assert!(world.wallet.balance().immature > Amount::ZERO);
    world.reorg(1, true);
    world.sync();
    assert_eq!(world.wallet.balance(), confirmed(REWARD.to_sat()));
    assert_eq!(world.wallet.coins().len(), 1);
    let facts = world.chain.electrum().facts(&[address.script_pubkey()], 50).unwrap();
    assert!(facts.transactions.is_empty());
}

#[test]
fn a_deep_reorg_below_all_that_was_read_is_followed() {
    let mut world = World::with_one_coin();
    for _ in 0..5 {
        world.mine_to(1, stranger());
        world.sync();
    }
    world.reorg(60, true);
    world.mine_to(40, stranger());
    world.sync();
    assert_eq!(world.wallet.balance(), confirmed(REWARD.to_sat()));
    world.reopen();
    world.sync();
    assert_eq!(world.wallet.balance(), confirmed(REWARD.to_sat()));
}

#[test]
fn a_wallet_restored_from_its_seed_finds_everything_again() {
    let mut world = World::new();
    // Coins on addresses far apart, each within the gap of the one before.
    let mut expected = 0;
    for round in 0..4 {
        let address = (0..15).map(|_| world.address()).last().unwrap();
        world.mine_to(1, address.script_pubkey());
        expected += REWARD.to_sat();
        assert_eq!(world.chain.electrum().tip().unwrap().0, round + 1);
    }
    world.mine_to(103, stranger());
    world.sync();
    let to = Address::from_script(&stranger(), Network::Regtest).unwrap();
    let amount = Amount::from_sat(50_000);
    world.wallet.send(world.chain.electrum(), &mut world.store, &to, amount, RATE).unwrap();
    world.mine_to(1, stranger());
    world.sync();
    assert!(world.wallet.balance().confirmed.to_sat() < expected);

    let (mut store, mut restored) = load(&world.path.with_extension("new"), 1);
    restored.sync(&mut connect(&world.node), &mut store).unwrap();
    assert_eq!(restored.balance(), world.wallet.balance());
    assert_eq!(restored.coins(), world.wallet.coins());
    assert_eq!(restored.next_address(&mut store).unwrap(), world.address());
}

#[test]
fn unconfirmed_coins_of_others_fund_nothing() {
    let mut world = World::with_one_coin();
    let (mut store, mut payee) = load(&world.path.with_extension("payee"), 2);
    let address = payee.next_address(&mut store).unwrap();
    let amount = Amount::from_sat(1_000_000);
    world.wallet.send(world.chain.electrum(), &mut world.store, &address, amount, RATE).unwrap();
    payee.sync(&mut connect(&world.node), &mut store).unwrap();
    assert_eq!(payee.balance(), Balance { pending: amount, ..Balance::default() });
    let output = TxOut { value: amount / 2, script_pubkey: stranger() };
    let error = payee.fund(std::slice::from_ref(&output), RATE).unwrap_err();
    assert_eq!(error.rule(), "wallet-funds");
    assert!(error.to_string().contains("pending 0.01000000 BTC"), "{error}");
    world.mine_to(1, stranger());
    payee.sync(&mut connect(&world.node), &mut store).unwrap();
    payee.fund(&[output], RATE).unwrap();
}

#[test]
fn a_payment_that_the_network_refuses_frees_its_coins() {
    let mut world = World::with_one_coin();
    let to = Address::from_script(&stranger(), Network::Regtest).unwrap();
    let amount = Amount::from_sat(10_000);
    // Below the node's floor of 1 sat/vB.
    let low = FeeRate::from_sat_per_kwu(25);
    let error =
        world.wallet.send(world.chain.electrum(), &mut world.store, &to, amount, low).unwrap_err();
    assert_eq!((error.rule(), error.exit_code()), ("chain-broadcast", 3));
    assert_eq!(error.to_string().lines().count(), 1);
    assert_eq!(world.wallet.balance(), confirmed(REWARD.to_sat()));
    world.wallet.send(world.chain.electrum(), &mut world.store, &to, amount, RATE).unwrap();
}

#[test]
fn a_node_that_went_away_is_reported_and_nothing_is_lost() {
    let mut world = World::with_one_coin();
    let before = world.wallet.balance();
    let url = world.node.electrum_url();
    world.node = EmbeddedNode::start().unwrap();
    let patience = hashmix::chain::electrum::Patience {
        attempts: 1,
        ..hashmix::chain::electrum::Patience::default()
    };
    let error = Electrum::connect_with(&url, Network::Regtest, patience).unwrap_err();
    assert_eq!((error.rule(), error.exit_code()), ("chain-server", 5));
    world.reopen();
    assert_eq!(world.wallet.balance(), before);

    // Another chain of the same network, shorter than the one the wallet knows.
    let error = world.wallet.sync(&mut connect(&world.node), &mut world.store).unwrap_err();
    assert_eq!((error.rule(), error.exit_code()), ("guard-latest", 5));
    assert_eq!(error.to_string().lines().count(), 1);
    // The same where no headers were kept: the wallet's own memory tells.
    let mut elsewhere = Store::open_in_memory().unwrap();
    let error = world.wallet.sync(&mut connect(&world.node), &mut elsewhere).unwrap_err();
    assert_eq!((error.rule(), error.exit_code()), ("wallet-server-behind", 5));
    assert_eq!(world.wallet.balance(), before);
}

#[test]
fn a_wallet_of_another_network_is_not_synchronised_here() {
    let mut world = World::new();
    let mut store = Store::open_in_memory().unwrap();
    let master = Xpriv::new_master(Network::Signet, &[1; 32]).unwrap();
    let mut wallet = Wallet::create_or_load(&mut store, master, Network::Signet).unwrap();
    let error = wallet.sync(&mut world.chain, &mut store).unwrap_err();
    assert_eq!((error.rule(), error.exit_code()), ("chain-network", 5));
    assert_eq!(
        (error.fault().expected.as_str(), error.fault().found.as_str()),
        ("signet", "regtest")
    );
}

#[test]
fn a_synchronisation_without_news_writes_nothing() {
    let mut world = World::with_one_coin();
    let rows = |world: &World| -> i64 {
        let db = rusqlite::Connection::open(&world.path).unwrap();
        db.query_row("SELECT count(*) FROM wallet_changes", [], |row| row.get(0)).unwrap()
    };
    let before = rows(&world);
    world.sync();
    world.sync();
    assert_eq!(rows(&world), before);
    world.mine_to(1, stranger());
    world.sync();
    assert_eq!(rows(&world), before + 1);
}

#[test]
fn one_connection_serves_several_threads() {
    let world = World::with_one_coin();
    let script = world.wallet.coins()[0].txout.script_pubkey.clone();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for first in [1, 50, 90] {
                    let facts =
                        world.chain.electrum().facts(std::slice::from_ref(&script), first).unwrap();
                    assert_eq!(facts.coins(&script).len(), 1);
                }
            });
        }
    });
}
