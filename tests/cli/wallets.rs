//! The wallet, through the Electrum server of either world.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use bitcoin::{Address, Amount, Network, TxOut};
use hashmix::rehearsal::world::{World, chosen};

use crate::desk::{Desk, address, ok, refused, text};

fn pay(node: &dyn World, address: &str, blocks: u32) {
    let to: Address = address.parse::<Address<_>>().unwrap().assume_checked();
    let script = to.script_pubkey();
    let payouts = |value: Amount| vec![TxOut { value, script_pubkey: script.clone() }];
    node.mine(blocks, &payouts).unwrap();
}

#[test]
fn coins_are_received_counted_and_sent() {
    let node = chosen().unwrap();
    let url = node.electrum_url();
    let desk = Desk::new();
    let home = text(&desk.path("home"));
    let (seed, phrase) = desk.seed("seed");
    let opened = ["--seed", &seed, "--passphrase-file", &phrase];
    let own = ["--home", &home, "--network", "regtest"];
    let with = |first: &[&str], last: &[&str]| -> Vec<String> {
        [&["wallet"], first, &opened, &own, last].concat().iter().map(|s| (*s).to_owned()).collect()
    };
    let run =
        |arguments: Vec<String>| ok(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let refuse = |arguments: Vec<String>, rule, code| {
        refused(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), rule, code)
    };

    let first = run(with(&["address"], &[]));
    let second = run(with(&["address"], &[]));
    assert_ne!(first, second, "an address is shown once");
    let mode = |path: &str| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&home), 0o700);
    assert_eq!(mode(&format!("{home}/store.sqlite")), 0o600);

    pay(&*node, first.trim(), 1);
    let out = run(with(&["balance"], &["--electrum", &url]));
    assert!(out.contains("immature   5000000000 sat"), "{out}");
    pay(&*node, &address(Network::Regtest), 100);
    let out = run(with(&["balance"], &["--electrum", &url]));
    assert!(out.contains("confirmed  5000000000 sat"), "{out}");

    let payee = address(Network::Regtest);
    let send = |to: &str, sat: &str| {
        let last = ["--electrum", &url, "--to", to, "--sat", sat, "--fee-rate", "2"];
        with(&["send"], &last)
    };
    let line = refuse(send(&address(Network::Bitcoin), "1000"), "wallet-address-network", 3);
    assert!(line.contains("expected regtest, found bitcoin"), "{line}");
    refuse(send(&payee, "100"), "wallet-dust", 3);
    refuse(send(&payee, "5000000000"), "wallet-funds", 3);
    refuse(send(&payee, "2100000000000001"), "amount-limit", 3);
    assert!(node.mempool().unwrap().is_empty());
    let out = run(send(&payee, "1000000"));
    let txid = node.mempool().unwrap()[0].to_string();
    assert!(out.contains(&txid), "{out}");
    pay(&*node, &payee, 1);
    let out = run(with(&["balance"], &["--electrum", &url]));
    // One key-path input of 57.5 vB and two P2TR outputs: 154 vB at 2 sat, and one for rounding.
    assert!(out.contains("confirmed  4998999691 sat"), "{out}");

    let other = ["wallet", "balance", "--home", &home, "--network", "signet"];
    refused(&[&other[..], &opened, &["--electrum", &url]].concat(), "wallet-same", 3);
    let fresh = text(&desk.path("fresh"));
    let other = ["wallet", "balance", "--home", &fresh, "--network", "signet"];
    let line = refused(&[&other[..], &opened, &["--electrum", &url]].concat(), "chain-network", 5);
    assert!(line.contains("signet") && line.contains("regtest"), "{line}");
}

/// A server that answers each line by this text, with the question's number for `N`.
fn server_that_says(text: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    // The thread ends with the process.
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let mut writer = client.try_clone().unwrap();
            for (number, _) in BufReader::new(client).lines().map_while(Result::ok).enumerate() {
                let answer = text.replace('N', &number.to_string());
                if writer.write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    url
}

#[test]
fn a_server_that_talks_gibberish_or_lags_costs_one_line_and_nothing_else() {
    let desk = Desk::new();
    let home = text(&desk.path("home"));
    let (seed, phrase) = desk.seed("seed");
    let balance = |url: &str| {
        let own = ["wallet", "balance", "--home", &home, "--network", "regtest"];
        let opened = ["--seed", &seed, "--passphrase-file", &phrase];
        [&own[..], &opened, &["--electrum", url]].concat().into_iter().map(str::to_owned).collect()
    };
    let fails = |url: &str, rule: &str, found: &str| {
        let arguments: Vec<String> = balance(url);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let line = refused(&arguments, rule, 5);
        assert!(line.contains(url) && line.contains(found), "{line}");
        assert!(!line.trim_end().contains(|c: char| c.is_control()), "{line:?}");
    };
    let node = chosen().unwrap();
    let payee = address(Network::Regtest);
    pay(&*node, &payee, 3);
    let works = || {
        let arguments: Vec<String> = balance(&node.electrum_url());
        ok(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let before = works();
    let web = server_that_says("HTTP/1.1 400 Bad Request\r\n\r\n");
    fails(&web, "chain-server", "not a JSON object (4 attempts)");
    let other = server_that_says("{\"id\":N,\"result\":\"\\u001b[2J\\n\"}\n");
    fails(&other, "chain-answer", "a header of 80 bytes in hex");
    // A node that has not heard of the last block.
    let lags = chosen().unwrap();
    for height in 1..3 {
        lags.submit(&node.block(height).unwrap()).unwrap();
    }
    fails(&lags.electrum_url(), "guard-latest", "ends at height 2");
    assert_eq!(works(), before, "and goes on as if nothing had happened");
}

#[test]
fn a_server_that_is_not_there_and_a_store_that_is_none_have_their_exit_codes() {
    let desk = Desk::new();
    let home = text(&desk.path("home"));
    let (seed, phrase) = desk.seed("seed");
    let balance = |home: &str, url: &str, rule: &str, code: i32| {
        let own = ["wallet", "balance", "--home", home, "--network", "regtest"];
        let opened = ["--seed", &seed, "--passphrase-file", &phrase];
        refused(&[&own[..], &opened, &["--electrum", url]].concat(), rule, code)
    };
    balance(&home, "tcp://127.0.0.1:1", "chain-server", 5);
    balance(&home, "nonsense", "chain-url", 2);

    let garbage = text(&desk.path("garbage"));
    std::fs::create_dir(&garbage).unwrap();
    let store = format!("{garbage}/store.sqlite");
    std::fs::write(&store, "no database at all, and long enough to look like one".repeat(40))
        .unwrap();
    let before = std::fs::read(&store).unwrap();
    balance(&garbage, "tcp://127.0.0.1:1", "store-garbage", 7);
    assert_eq!(std::fs::read(&store).unwrap(), before, "what is no store is left alone");

    // A folder where the store should be, and a file where the folder should be: not even root
    // can write there.
    let folder = text(&desk.path("folder"));
    std::fs::create_dir_all(format!("{folder}/store.sqlite")).unwrap();
    balance(&folder, "tcp://127.0.0.1:1", "store-writable", 7);
    let file = desk.put("file", "");
    balance(&file, "tcp://127.0.0.1:1", "wallet-home", 7);
}
