//! The whole way by the command, as people type it. On the embedded network, whose server has the two
//! addresses that a validator asks for.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::slice::from_ref;

use bitcoin::{Address, Network, TxOut};
use hashmix::chain::embedded::EmbeddedNode;
use hashmix::flow::position::proof::Stage;
use hashmix::flow::position::terms::PositionTerms;
use hashmix::party::{Record, SERVES};
use hashmix::rehearsal::position as cast;
use hashmix::rehearsal::world::World;
use hashmix::sign::sealed::{Passphrase, open};
use hashmix::store::Store;
use hashmix::validator::desk::Desk;
use hashmix::validator::sources::Sources;
use zeroize::Zeroizing;

use crate::town::{SHARES, mine_slice, mine_to};

const NUMBERS: &str = r#"{
  "format": "hashmix position numbers 1", "profile": "regtest", "variant": "musig",
  "efficiency": 2500, "onboarding": 106, "binding": 123, "start": 145,
  "period": 12, "periods": 6, "window": 2, "slice": 12, "rate": 10, "expected": 180,
  "rule": "pro-rata", "coinbase_cap": 100000000,
  "receipt_span": 5, "proof_span": 10, "ruling_depth": 12,
  "exit_delay": 144, "service_ppm": 300000,
  "delays": {"state_depth": 6, "relock": 24, "grace": 100, "miner_exit": 48, "answer": 6,
             "quiet": 12, "late_dispute": 12},
  "fees": {"floor": 2, "cap": 50, "ruling": 20000}
}"#;

/// Exit code, output, complaint.
fn said(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hashmix")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn together<'a>(words: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    words.split_whitespace().chain(more.iter().copied()).collect()
}

/// The output of what was done.
fn well((code, out, err): (Option<i32>, String, String)) -> String {
    assert_eq!(code, Some(0), "{out}{err}");
    out
}

struct Table {
    dir: tempfile::TempDir,
    node: EmbeddedNode,
}

impl Table {
    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn run(&self, words: &str, more: &[&str]) -> String {
        well(said(&together(words, more)))
    }

    /// A seed in the person's home.
    fn seed(&self, who: &str) {
        let (home, phrase) = (self.path(who), self.path("phrase"));
        fs::create_dir(&home).unwrap();
        let out = format!("{home}/seed");
        self.run("seed new --rehearse", &["--out", &out, "--passphrase-file", &phrase]);
    }

    fn record(&self, who: &str, number: &str, role: &str, contract: &str, payout: &str) -> String {
        let (seed, phrase) = (format!("{}/seed", self.path(who)), self.path("phrase"));
        let out = self.path(&format!("{who} {number}.json"));
        self.run(
            "record new --network regtest",
            &[
                "--seed",
                &seed,
                "--passphrase-file",
                &phrase,
                "--number",
                number,
                "--role",
                role,
                "--contract",
                contract,
                "--payout",
                payout,
                "--out",
                &out,
            ],
        );
        out
    }

    fn address(&self, who: &str) -> String {
        let (home, phrase) = (self.path(who), self.path("phrase"));
        let words = "wallet address --network regtest";
        let out = self.run(words, &["--home", &home, "--passphrase-file", &phrase]);
        out.trim().to_owned()
    }

    /// A command of the miner's.
    fn miner(&self, command: &str, more: &[&str]) -> String {
        well(self.miner_says(command, more))
    }

    fn miner_says(&self, command: &str, more: &[&str]) -> (Option<i32>, String, String) {
        self.miner_of("miner", command, more)
    }

    /// The same with another folder for a home.
    fn miner_of(&self, home: &str, command: &str, more: &[&str]) -> (Option<i32>, String, String) {
        let [dossier, home, phrase] = ["dossier", home, "phrase"].map(|name| self.path(name));
        let url = World::electrum_url(&self.node);
        let mut all = vec![
            dossier.as_str(),
            "--home",
            &home,
            "--passphrase-file",
            &phrase,
            "--network",
            "regtest",
            "--electrum",
            &url,
            "--number",
            "0",
        ];
        all.extend(more);
        said(&together(&format!("position {command}"), &all))
    }

    /// A validator's desk, in this process.
    fn desk(&self, place: u8) -> Desk {
        let home = self.path(&format!("validator {place}"));
        let phrase = fs::read_to_string(self.path("phrase")).unwrap().trim().to_owned();
        let phrase = Passphrase::known(Zeroizing::new(phrase)).unwrap();
        let seed = open(&fs::read(Path::new(&home).join("seed")).unwrap(), &phrase).unwrap();
        let electrum = self.node.electrum_urls().to_vec();
        let sources = Sources { network: Network::Regtest, electrum, core: None };
        Desk::open(Path::new(&home), seed, sources).unwrap()
    }

    fn attest(&self, place: u8) -> String {
        well(self.attest_says(place))
    }

    fn attest_says(&self, place: u8) -> (Option<i32>, String, String) {
        let who = format!("validator {place}");
        let [dossier, home, phrase] = ["dossier", &who, "phrase"].map(|name| self.path(name));
        let [one, two] = self.node.electrum_urls();
        said(&together(
            "position attest --network regtest --number 1 --standing 0",
            &[
                &dossier,
                "--home",
                &home,
                "--passphrase-file",
                &phrase,
                "--electrum",
                &one,
                "--electrum",
                &two,
            ],
        ))
    }

    fn all_attest(&self) -> String {
        (0..3).map(|place| self.attest(place)).collect()
    }
}

/// A payment for two positions serves neither of them alone: the command that it prints names both, and
/// what leaves one out is refused, in the home that paid and in one that knows nothing of it.
fn paid_for_two_is_named_with_both(table: &Table, terms: &PositionTerms, dossier: &str, to: &str) {
    let twin = table.path("twin");
    let text = fs::read_to_string(table.record("miner", "2", "holder", "position a", to)).unwrap();
    let mut other = terms.clone();
    other.reward.holder = Record::from_json(&text).unwrap();
    fs::create_dir(&twin).unwrap();
    fs::write(Path::new(&twin).join("position.json"), other.to_json().unwrap()).unwrap();
    fs::create_dir(table.path("spare")).unwrap();
    for entry in fs::read_dir(table.path("miner")).unwrap().map(Result::unwrap) {
        if entry.path().is_file() {
            fs::copy(entry.path(), Path::new(&table.path("spare")).join(entry.file_name()))
                .unwrap();
        }
    }
    let both = ["--batch", dossier, "--batch", &twin];
    let pay = [&["--fee-rate", "3"][..], &both].concat();
    let paid = well(table.miner_of("spare", "fund", &pay));
    let whole = format!("--batch {dossier} --batch {twin}, and the same at each of these dossiers");
    assert!(paid.contains(&whole), "{paid}");
    let outpoint = paid.lines().find_map(|line| line.strip_prefix("output   ")).unwrap();
    let (code, _, err) = table.miner_of("spare", "fund", &["--fee-rate", "3"]);
    assert!(code == Some(3) && err.contains("[position-paid-for]"), "{err}");
    let again = well(table.miner_of("spare", "fund", &pay));
    assert!(again.contains(&whole) && again.contains("again    "), "{again}");
    mine_to(&table.node, table.node.tip().0 + 1);
    for home in ["spare", "miner"] {
        let (code, _, err) = table.miner_of(home, "fund", &["--outpoint", outpoint]);
        assert!(code == Some(3) && err.contains("[position-paid-for]"), "{home}: {err}");
    }
}

#[test]
fn the_command_takes_a_position_to_its_issue() {
    let table = Table { dir: tempfile::tempdir().unwrap(), node: EmbeddedNode::start().unwrap() };
    let phrase = table.path("phrase");
    fs::write(&phrase, "a passphrase of the test\n").unwrap();
    fs::set_permissions(&phrase, Permissions::from_mode(0o600)).unwrap();
    let validators = [0, 1, 2].map(|place| format!("validator {place}"));
    for who in validators.iter().map(String::as_str).chain(["miner"]) {
        table.seed(who);
    }
    let [paid, first, federation] = [0; 3].map(|_| table.address("miner"));
    let standing = [0, 1, 2]
        .map(|place| table.record(&validators[place], "0", "validator", "standing", &federation));
    let fresh = [0, 1, 2]
        .map(|place| table.record(&validators[place], "1", "validator", "position a", &federation));
    let miner = table.record("miner", "0", "miner", "position a", &paid);
    let holder = table.record("miner", "1", "holder", "position a", &first);
    let issuer = table.path("federation.json");
    let [a, b, c] = standing.each_ref().map(String::as_str);
    let arguments = [a, b, c, "--threshold", "2", "--payout", &federation, "--out", &issuer];
    assert!(table.run("position federation", &arguments).contains("decides     2 of 3"));
    let (numbers, dossier) = (table.path("numbers.json"), table.path("dossier"));
    let [a, b, c] = fresh.each_ref().map(String::as_str);
    let new = [
        ["position", "new"],
        ["--numbers", &numbers],
        ["--issuer", &issuer],
        ["--miner", &miner],
        ["--holder", &holder],
        ["--validator", a],
        ["--validator", b],
        ["--validator", c],
        ["--payout", &federation],
        ["--out", &dossier],
    ]
    .concat();
    for (good, bad) in [("numbers 1", "numbers 2"), ("\"rate\"", "\"rat\"")] {
        fs::write(&numbers, NUMBERS.replace(good, bad)).unwrap();
        let (code, _, err) = said(&new);
        assert!(code == Some(3) && err.contains("[position-numbers]"), "{err}");
    }
    // Before the fifth block behind a slice nobody can judge it.
    fs::write(&numbers, NUMBERS.replace("\"receipt_span\": 5", "\"receipt_span\": 4")).unwrap();
    let (code, _, err) = said(&new);
    assert!(code == Some(3) && err.contains("[position-receipt-span]"), "{err}");
    assert!(!Path::new(&dossier).exists());
    fs::write(&numbers, NUMBERS).unwrap();
    let (code, out, err) = said(&new);
    assert!(code == Some(0) && out.contains("at least 140 of 180 shares"), "{out}{err}");
    let text = fs::read_to_string(Path::new(&dossier).join("position.json")).unwrap();
    let terms = PositionTerms::from_json(&text).unwrap();

    let script = paid.parse::<Address<_>>().unwrap().require_network(Network::Regtest).unwrap();
    let payee = |value| vec![TxOut { value, script_pubkey: script.script_pubkey() }];
    table.node.mine(2, &payee).unwrap();
    mine_to(&table.node, 104);

    let said = table.miner("enroll", &[]);
    assert!(said.contains("next     validator 0, validator 1, validator 2: register"), "{said}");
    // The first validator's server runs meanwhile: neither disturbs the other.
    let mut desk = table.desk(0);
    assert!(table.all_attest().contains("said     registered"));
    assert_eq!(desk.contracts().len(), 0);
    desk.tip().unwrap();
    let record = &terms.reward.federation.validators[0];
    let store = Store::open(Path::new(&table.path("validator 0")).join("store.sqlite")).unwrap();
    let bound = store.recall(&record.service(), SERVES).unwrap();
    assert_eq!(bound, Some(terms.id().unwrap().0.to_vec()));
    table.miner("ask", &[]);
    for stage in Stage::BOTH {
        let (code, _, err) = table.miner_says("fund", &["--fee-rate", "3"]);
        assert!(code == Some(3) && err.contains("[position-order]"), "paid too early: {err}");
        let shares = mine_slice(&table.node, from_ref(&terms), stage, SHARES);
        let certificate = cast::certificate(&terms, stage, &shares).unwrap();
        let path = table.path(stage.name());
        fs::write(&path, certificate.to_json()).unwrap();
        table.miner("prove", &[&format!("--{stage}"), &path]);
        table.all_attest();
        table.all_attest();
    }
    let (other, mut without) = (table.path("other"), terms.clone());
    without.delivery.periods = 4;
    fs::create_dir(&other).unwrap();
    fs::write(Path::new(&other).join("position.json"), without.to_json().unwrap()).unwrap();
    let (code, _, err) = table.miner_says("fund", &["--fee-rate", "3", "--batch", &other]);
    assert!(code == Some(3) && err.contains("[position-batch]"), "paid for others alone: {err}");
    paid_for_two_is_named_with_both(&table, &terms, &dossier, &first);
    let said = table.miner("fund", &["--fee-rate", "3"]);
    assert!(said.contains("paid     ") && said.contains("refund   none"), "{said}");
    // Asked again: the same output, and no other money.
    let again = table.miner("fund", &["--fee-rate", "3"]);
    assert!(again.contains("again    ") && !again.contains("paid     "), "{again}");
    let outpoint = said.lines().find_map(|line| line.strip_prefix("output   ")).unwrap();
    assert!(again.contains(&format!("output   {outpoint}")), "{again}");
    mine_to(&table.node, table.node.tip().0 + 1);
    let again = table.miner("fund", &["--fee-rate", "3"]);
    assert!(again.contains(&format!("output   {outpoint}")), "{again}");
    let twin = table.path("twin");
    let two = ["--outpoint", outpoint, "--batch", &dossier, "--batch", &twin];
    let (code, _, err) = table.miner_says("fund", &two);
    assert!(code == Some(3) && err.contains("[position-paid-for]"), "paid for one: {err}");
    let said = table.miner("fund", &["--outpoint", outpoint]);
    let (code, _, err) = table.miner_says("fund", &["--fee-rate", "3"]);
    assert!(code == Some(3) && err.contains("[position-again]"), "paid twice: {err}");
    assert!(said.contains("sign the issue: 0 of 2 have"), "{said}");
    let said = table.all_attest();
    assert!(
        said.contains("said     issue-signed") && said.contains("sent     the issue"),
        "{said}"
    );
    mine_to(&table.node, table.node.tip().0 + 1);
    // A validator has sent it, so the dossier is whole without another word of the miner's.
    let (home, url) = (table.path("anybody"), World::electrum_url(&table.node));
    let verified = table.run("position verify", &[&dossier, "--home", &home, "--electrum", &url]);
    assert!(verified.contains("issued       in block 142 by 2 of 3 validators"), "{verified}");
    let file = Path::new(&dossier).join("issue.json");
    let true_one = fs::read_to_string(&file).unwrap();
    table.attest(0);
    fs::remove_file(&file).unwrap();
    assert!(table.miner("issue", &[]).contains("written  issue.json: "));
    assert_eq!(fs::read_to_string(&file).unwrap(), true_one);
    let mut false_one: serde_json::Value = serde_json::from_str(&true_one).unwrap();
    false_one["value"] = 1_000_000.into();
    fs::write(&file, false_one.to_string()).unwrap();
    let (code, _, err) = table.miner_says("issue", &[]);
    assert!(code == Some(3) && err.contains("[title-issued]"), "{err}");
    let (code, _, err) = table.attest_says(0);
    assert!(code == Some(3) && err.contains("[title-issued]"), "{err}");
    let (home, url) = (table.path("anybody"), World::electrum_url(&table.node));
    let status = || {
        let more = [dossier.as_str(), "--home", &home, "--electrum", &url];
        table.run("position status --network regtest", &more)
    };
    assert!(status().contains("refused  issue.json: "));
    // Whoever looks writes it, if it is not there.
    fs::remove_file(&file).unwrap();
    assert!(status().contains("written  issue.json: "));
    assert_eq!(fs::read_to_string(&file).unwrap(), true_one);
    table.all_attest();
    let said = status();
    println!("{said}");
    assert!(said.contains("next     issued at height 142 by"), "{said}");
}
