//! The wallet without a chain: keys, addresses, refusals, what is on disk when.

use bitcoin::bip32::Xpriv;
use bitcoin::hashes::Hash;
use bitcoin::transaction::Version;
use bitcoin::{OutPoint, TxIn};

use super::*;

const RATE: FeeRate = FeeRate::from_sat_per_kwu(250);

fn master(seed: u8, network: Network) -> Xpriv {
    Xpriv::new_master(network, &[seed; 32]).unwrap()
}

fn new_wallet() -> (Store, Wallet) {
    let mut store = Store::open_in_memory().unwrap();
    let key = master(1, Network::Regtest);
    let wallet = Wallet::create_or_load(&mut store, key, Network::Regtest).unwrap();
    (store, wallet)
}

/// Puts a confirmed coin of `sat` satoshis into the books, in a block at `height`.
fn receive(wallet: &mut Wallet, store: &mut Store, sat: u64, height: u32) {
    let script_pubkey = wallet.next_address(store).unwrap().script_pubkey();
    let previous_output = OutPoint::new(Txid::hash(&height.to_le_bytes()), 0);
    let tx = Transaction {
        version: Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![TxIn { previous_output, ..TxIn::default() }],
        output: vec![TxOut { value: Amount::from_sat(sat), script_pubkey }],
    };
    let block_id = BlockId { height, hash: BlockHash::hash(&height.to_le_bytes()) };
    let chain = wallet.inner.latest_checkpoint().insert(block_id);
    let mut update = Update { chain: Some(chain), ..Update::default() };
    let anchor = ConfirmationBlockTime { block_id, confirmation_time: 1_700_000_000 };
    update.tx_update.anchors.insert((anchor, tx.compute_txid()));
    update.tx_update.txs.push(tx.into());
    wallet.inner.apply_update(update).unwrap();
    wallet.inner.persist(store).unwrap();
}

fn output(sat: u64) -> TxOut {
    let script_pubkey = ScriptBuf::from_bytes([vec![0x51, 0x20], vec![7; 32]].concat());
    TxOut { value: Amount::from_sat(sat), script_pubkey }
}

#[test]
fn addresses_are_those_of_bip_86() {
    // The BIP's own vectors: the seed "abandon .. about".
    let master: Xpriv = "xprv9s21ZrQH143K3GJpoapnV8SFfukcVBSfeCficPSGfubmSFDxo1kuHnLisriDvSnRRuL2Qrg5ggqHKNVpxR86QEC8w35uxmGoggxtQTPvfUu".parse().unwrap();
    let mut store = Store::open_in_memory().unwrap();
    let mut wallet = Wallet::create_or_load(&mut store, master, Network::Bitcoin).unwrap();
    for expected in [
        "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
        "bc1p4qhjn9zdvkux4e44uhx8tc55attvtyu358kutcqkudyccelu0was9fqzwh",
    ] {
        assert_eq!(wallet.next_address(&mut store).unwrap().to_string(), expected);
    }
}

#[test]
fn an_address_is_never_shown_twice_even_if_the_process_dies() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wallet.sqlite");
    let mut shown = std::collections::BTreeSet::new();
    for _ in 0..5 {
        let mut store = Store::open(&path).unwrap();
        let key = master(1, Network::Regtest);
        let mut wallet = Wallet::create_or_load(&mut store, key, Network::Regtest).unwrap();
        assert!(shown.insert(wallet.next_address(&mut store).unwrap().to_string()));
        // Nothing is closed in order.
        std::mem::forget((wallet, store));
    }
}

#[test]
fn an_address_that_cannot_be_stored_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wallet.sqlite");
    let mut store = Store::open(&path).unwrap();
    let key = master(1, Network::Regtest);
    let mut wallet = Wallet::create_or_load(&mut store, key, Network::Regtest).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(wallet.next_address(&mut store).unwrap_err().rule(), "store-busy");
}

#[test]
fn a_key_of_another_network_is_refused() {
    let mut store = Store::open_in_memory().unwrap();
    for (key, network) in
        [(Network::Bitcoin, Network::Regtest), (Network::Regtest, Network::Bitcoin)]
    {
        let error = Wallet::create_or_load(&mut store, master(1, key), network).unwrap_err();
        assert_eq!((error.rule(), error.exit_code()), ("wallet-key-network", 3));
    }
    assert_eq!(store.wallet_changes().unwrap(), None);
}

#[test]
fn a_store_with_another_seeds_or_networks_wallet_is_refused() {
    let (mut store, _) = new_wallet();
    let stranger = master(2, Network::Regtest);
    let error = Wallet::create_or_load(&mut store, stranger, Network::Regtest).unwrap_err();
    assert_eq!((error.rule(), error.exit_code()), ("wallet-same", 3));
    let key = master(1, Network::Signet);
    let error = Wallet::create_or_load(&mut store, key, Network::Signet).unwrap_err();
    assert_eq!(error.rule(), "wallet-same");
    assert!(error.to_string().contains("regtest"), "{error}");
}

#[test]
fn no_key_reaches_the_store_or_a_log() {
    let (store, wallet) = new_wallet();
    let stored = serde_json::to_string(&store.wallet_changes().unwrap()).unwrap();
    assert!(stored.contains("tpub") && !stored.contains("prv"));
    assert_eq!(format!("{wallet:?}"), "Wallet { network: Regtest, .. }");
}

#[test]
fn an_address_of_another_network_is_refused_by_name() {
    let regtest = "bcrt1q3qtze4ys45tgdvguj66zrk4fu6hq3a3v9pfly5";
    assert_eq!(address_on(Network::Regtest, regtest).unwrap().to_string(), regtest);
    for (network, text, named) in [
        (Network::Bitcoin, regtest, "regtest"),
        (
            Network::Regtest,
            "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
            "bitcoin",
        ),
        (
            Network::Regtest,
            "tb1p5unlj09djx8xsjwe97269kqtxqpwpu2epeskgqjfk4lnf69v4tnqpp35qu",
            "testnet or testnet4 or signet",
        ),
        (
            Network::Bitcoin,
            "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",
            "testnet or testnet4 or signet or regtest",
        ),
    ] {
        let error = address_on(network, text).unwrap_err();
        assert_eq!((error.rule(), error.exit_code()), ("wallet-address-network", 3));
        assert_eq!(error.fault().found, named);
    }
    for text in ["", "bcrt1q3qtze4ys45tgdvguj66zrk4fu6hq3a3v9pfly4", "hello", &"b".repeat(10_000)] {
        let error = address_on(Network::Regtest, text).unwrap_err();
        assert_eq!((error.rule(), error.exit_code()), ("wallet-address", 3));
    }
}

#[test]
fn too_little_is_refused_with_the_numbers_and_reserves_nothing() {
    let (mut store, mut wallet) = new_wallet();
    receive(&mut wallet, &mut store, 10_000, 1);
    for _ in 0..2 {
        let error = wallet.fund(&[output(20_000)], RATE).unwrap_err();
        assert_eq!((error.rule(), error.exit_code()), ("wallet-funds", 3));
        let line = error.to_string();
        assert!(line.contains("0.00010000 BTC to spend"), "{line}");
        assert!(line.contains("confirmed 0.00010000 BTC"), "{line}");
    }
    assert_eq!(wallet.balance().reserved, Amount::ZERO);
}

#[test]
fn senseless_payments_are_refused() {
    let (mut store, mut wallet) = new_wallet();
    receive(&mut wallet, &mut store, 1_000_000_000, 1);
    let mut refused = |outputs: &[TxOut], rate| wallet.fund(outputs, rate).unwrap_err();
    assert_eq!(refused(&[], RATE).rule(), "wallet-build");
    assert_eq!(refused(&[output(5_000), output(329)], RATE).rule(), "wallet-dust");
    assert_eq!(refused(&[output(u64::MAX), output(2)], RATE).rule(), "wallet-dust");
    assert_eq!(refused(&[output(2_100_000_000_000_001)], RATE).rule(), "wallet-dust");
    let absurd = FeeRate::from_sat_per_vb_u32(30_000);
    assert_eq!(refused(&[output(5_000)], absurd).rule(), "wallet-build");
    assert_eq!(wallet.balance().reserved, Amount::ZERO);
}

#[test]
fn a_funding_pays_in_order_signs_whole_and_reserves_its_coins() {
    let (mut store, mut wallet) = new_wallet();
    receive(&mut wallet, &mut store, 50_000, 1);
    receive(&mut wallet, &mut store, 90_000, 2);
    let outputs = [output(30_000), output(1_000)];
    let tx = wallet.fund(&outputs, RATE).unwrap();
    assert_eq!(tx.output[..2], outputs);
    assert_eq!((tx.input.len(), tx.output.len()), (1, 3));
    assert_eq!(tx.input[0].witness.len(), 1, "a key path spend");
    let fee = 90_000 - tx.output.iter().map(|out| out.value.to_sat()).sum::<u64>();
    assert!((tx.vsize() as u64..=tx.vsize() as u64 + 2).contains(&fee), "{fee}");
    assert_eq!(wallet.balance().reserved, Amount::from_sat(90_000));

    // The next one takes the other coin, and a third finds none.
    let second = wallet.fund(&outputs, RATE).unwrap();
    assert_ne!(second.input[0].previous_output, tx.input[0].previous_output);
    let short = wallet.fund(&outputs, RATE).unwrap_err();
    assert!(short.to_string().contains("of it reserved 0.00140000 BTC"), "{short}");
    wallet.release(&second);
    let third = wallet.fund(&outputs, RATE).unwrap();
    assert_eq!(third.input[0].previous_output, second.input[0].previous_output);
}

#[test]
fn a_reservation_is_stored_with_the_events_that_speak_of_it() {
    let (mut store, mut wallet) = new_wallet();
    receive(&mut wallet, &mut store, 50_000, 1);
    let tx = wallet.fund(&[output(30_000)], RATE).unwrap();
    let staged = wallet.take_staged().unwrap();
    assert!(wallet.take_staged().is_none());
    let body = bitcoin::consensus::serialize(&tx);

    // Not committed: the reservation is not on disk, and the changes can be handed back.
    let key = master(1, Network::Regtest);
    let other = Wallet::create_or_load(&mut store, key, Network::Regtest).unwrap();
    assert_eq!(other.balance().reserved, Amount::ZERO);
    wallet.restage(staged.clone());
    assert_eq!(wallet.take_staged(), Some(staged.clone()));
    wallet.restage(staged.clone());
    wallet.release(&tx);
    let undone = wallet.take_staged().unwrap();
    assert!(!undone.locked_outpoints.outpoints[&tx.input[0].previous_output]);

    store.append(&[7; 32], &[("funded", body)], Some(&staged)).unwrap();
    let other = Wallet::create_or_load(&mut store, key, Network::Regtest).unwrap();
    assert_eq!(other.balance().reserved, Amount::from_sat(50_000));
}

#[test]
fn the_same_books_give_the_same_transaction() {
    let build = || {
        let (mut store, mut wallet) = new_wallet();
        for height in 1..12 {
            receive(&mut wallet, &mut store, 20_000 + u64::from(height % 3), height);
        }
        wallet.fund(&[output(65_000)], RATE).unwrap().compute_txid()
    };
    assert_eq!(build(), build());
}
