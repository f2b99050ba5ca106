//! Seeds and records.

use std::os::unix::fs::PermissionsExt;

use bitcoin::Network;
use hashmix::party::Record;

use crate::desk::{Desk, address, ok, refused, run, text};

fn record(desk: &Desk, seed: &str, number: &str, out: &str) -> Vec<String> {
    let arguments = [
        "record",
        "new",
        "--seed",
        seed,
        "--number",
        number,
        "--role",
        "miner",
        "--network",
        "regtest",
        "--contract",
        "a deal",
        "--payout",
    ];
    let mut arguments: Vec<String> = arguments.map(str::to_owned).to_vec();
    arguments.extend([address(Network::Regtest), "--out".into(), text(&desk.path(out))]);
    arguments
}

fn strs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

#[test]
fn a_seed_is_written_for_its_owner_alone_and_shown_to_nobody() {
    let desk = Desk::new();
    let path = desk.path("seed");
    let out = ok(&["seed", "new", "--out", &text(&path)]);
    let words = std::fs::read_to_string(&path).unwrap();
    assert_eq!(words.split_whitespace().count(), 24);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let three: Vec<&str> = words.split_whitespace().take(3).collect();
    assert!(!out.contains(&three.join(" ")), "the words are on the screen");
    refused(&["seed", "new", "--out", &text(&path)], "cli-out-free", 2);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), words);
    assert_eq!(desk.names(), ["seed"]);
}

#[test]
fn records_of_one_seed_are_distinct_and_the_same_number_twice_is_found_out() {
    let desk = Desk::new();
    let seed = text(&desk.path("seed"));
    ok(&["seed", "new", "--out", &seed]);
    for (number, out) in [("0", "a.json"), ("1", "b.json"), ("0", "c.json")] {
        let out = ok(&strs(&record(&desk, &seed, number, out)));
        assert!(out.contains(&format!("never use number {number}")), "{out}");
    }
    let [a, b, c] = ["a.json", "b.json", "c.json"].map(|name| text(&desk.path(name)));
    let out = ok(&["record", "check", &a, &b]);
    assert!(out.contains("no two of 2 share a key"), "{out}");
    refused(&["record", "check", &a, &b, &c], "record-distinct", 3);
    let json = std::fs::read_to_string(&a).unwrap();
    Record::from_json(&json).unwrap();
    for secret in std::fs::read_to_string(&seed).unwrap().split_whitespace().take(4) {
        assert!(!json.contains(&format!(" {secret} ")));
    }
    assert!(!json.contains("prv"));
}

#[test]
fn a_record_for_an_address_of_another_network_is_refused_by_name_and_leaves_no_file() {
    let desk = Desk::new();
    let seed = text(&desk.path("seed"));
    ok(&["seed", "new", "--out", &seed]);
    let mut arguments = record(&desk, &seed, "0", "a.json");
    arguments[13] = address(Network::Bitcoin);
    let line = refused(&strs(&arguments), "wallet-address-network", 3);
    assert!(line.contains("expected regtest, found bitcoin"), "{line}");
    arguments[13] = address(Network::Regtest);
    arguments[11] = "ü".to_owned();
    refused(&strs(&arguments), "record-contract", 3);
    arguments[11] = "a deal".to_owned();
    arguments[5] = "715827882".to_owned();
    refused(&strs(&arguments), "seed-record", 3);
    assert_eq!(desk.names(), ["seed"]);
}

#[test]
fn a_seed_that_others_may_read_or_that_is_no_seed_is_refused_without_repeating_it() {
    let desk = Desk::new();
    let seed = desk.put("seed", "abandon abandon canary");
    std::fs::set_permissions(&seed, std::fs::Permissions::from_mode(0o640)).unwrap();
    let arguments = record(&desk, &seed, "0", "a.json");
    refused(&strs(&arguments), "seed-private", 2);
    std::fs::set_permissions(&seed, std::fs::Permissions::from_mode(0o600)).unwrap();
    let line = refused(&strs(&arguments), "seed-words", 3);
    assert!(!line.contains("canary") && !line.contains("abandon"), "{line}");
    std::fs::write(&seed, [0xff; 3000]).unwrap();
    refused(&strs(&arguments), "cli-text", 3);
    std::fs::remove_file(&seed).unwrap();
    refused(&strs(&arguments), "cli-file", 2);
    assert!(run(&strs(&arguments)).out.is_empty());
}
