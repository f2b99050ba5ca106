//! Headers, through the Electrum server of either world.

use bitcoin::{Address, Amount, Network, TxOut};
use hashmix::chain::electrum::Electrum;
use hashmix::header_sync::{Standing, sync_guard};
use hashmix::rehearsal::reorg::replace;
use hashmix::rehearsal::world::chosen;
use hashmix::store::Store;

use crate::desk::{Desk, address, ok, refused, run, text};

/// A payout to an address that nobody uses.
fn payouts() -> impl Fn(Amount) -> Vec<TxOut> {
    let to: Address = address(Network::Regtest).parse::<Address<_>>().unwrap().assume_checked();
    move |value| vec![TxOut { value, script_pubkey: to.script_pubkey() }]
}

#[test]
fn headers_are_synchronised_shown_and_follow_a_reorg() {
    let node = chosen().unwrap();
    let url = node.electrum_url();
    let desk = Desk::new();
    let home = text(&desk.path("home"));
    let sync = ["headers", "sync", "--home", &home, "--electrum", &url, "--network", "regtest"];
    let show = ["headers", "show", "--home", &home, "--network", "regtest"];

    assert!(ok(&show).contains("headers   1, of them 0 beside"));
    node.mine(30, &payouts()).unwrap();
    let said = run(&sync);
    assert_eq!((said.code, said.err.as_str()), (0, "headers 30 of 30\n"));
    let tip =
        |height: u32| format!("tip       {height} {}\n", node.block(height).unwrap().block_hash());
    assert!(said.out.contains(&tip(30)) && said.out.contains("added     30\n"), "{}", said.out);
    assert!(said.out.contains("use your own node"), "{}", said.out);
    // Nothing new is worth no line of progress.
    assert!(ok(&sync).contains("added     0\n"));

    let lost = node.block(30).unwrap().block_hash();
    replace(&*node, 6, &payouts()).unwrap();
    let out = run(&sync).out;
    assert!(out.contains("reorg     after height 24: 6 blocks left the chain, 7 came"), "{out}");
    let out = ok(&show);
    assert!(out.contains(&tip(31)) && out.contains("of them 6 beside"), "{out}");

    // What a wallet reads from the server and what the guard believes are one chain.
    let mut store = Store::open(desk.path("home").join("store.sqlite")).unwrap();
    let chain = Electrum::connect(&url, Network::Regtest).unwrap();
    let guard = store.guard(Network::Regtest).unwrap();
    let synced = sync_guard(&chain, &mut store, guard, &mut |_, _| {}).unwrap();
    assert_eq!((synced.standing, synced.added), (Standing::Agrees, 0));
    synced.guard.vouch(&chain.headers(10).unwrap()).unwrap();
    assert_eq!(synced.guard.headers(0).unwrap().active_ancestor(lost), Some(24));
    node.mine(1, &payouts()).unwrap();
    let refused = synced.guard.vouch(&chain.headers(10).unwrap()).unwrap_err();
    assert_eq!(refused.rule(), "guard-vouched");
}

#[test]
fn a_server_of_another_network_or_none_is_refused() {
    let node = chosen().unwrap();
    let url = node.electrum_url();
    let desk = Desk::new();
    let home = text(&desk.path("home"));
    let sync = |url: &str, network: &str, rule: &str, code: i32| {
        let arguments =
            ["headers", "sync", "--home", &home, "--electrum", url, "--network", network];
        refused(&arguments, rule, code)
    };
    sync(&url, "bitcoin", "chain-network", 5);
    sync("tcp://127.0.0.1:1", "regtest", "chain-server", 5);
    sync("http://127.0.0.1:1", "regtest", "chain-url", 2);
    sync(&url, "litecoin", "cli-arguments", 2);
}
