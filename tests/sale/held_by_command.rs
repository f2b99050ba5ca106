//! The contract of a position that was sold, held by command alone: the miner seals, desks receipt by
//! files, the holder signs the state, both settle, a dispute is ruled on by two desks, rewards are swept.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bitcoin::Network;
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::flow::reward;
use hashmix::party::Seat;
use hashmix::rehearsal::people;
use hashmix::script::template::Variant;
use hashmix::validator::answer::Answer;
use hashmix::work::agreement::Earlier;

use crate::by_command::{bind_at, hashmix, home, refused, said};
use crate::market::{Market, START, Sold};
use crate::proxy::Proxy;
#[cfg(feature = "validator")]
use crate::serving::Serving;

const PRICE: u64 = 60_000_000;
/// One of twelve.
const INSTALLMENT: u64 = PRICE / 12;
/// Time that a settlement may take here, in seconds.
const PATIENCE: &str = "120";

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Homes of the people at one contract, and the folder that they share.
struct Table {
    dir: tempfile::TempDir,
    url: String,
    second: Proxy,
    contract: EscrowTerms,
    miner: PathBuf,
    holder: PathBuf,
    desks: [PathBuf; 2],
    /// Validators' answers, with who gave them.
    answers: Vec<(usize, String)>,
    /// How many of them each party has read.
    read: [usize; 2],
    made: u32,
}

impl Table {
    /// Two of three desks know the contract by its sale.
    fn laid(market: &Market, sold: &Sold) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = |name: &str| home(dir.path(), name);
        let miner = home(&people::name(Seat::Miner));
        let holder = home(&market.buyers[0].name);
        let desks = [0, 1].map(|place| home(&people::name(Seat::Validator(place))));
        let url = market.world.electrum_url();
        let second = Proxy::to(&url);
        let table = Self {
            url,
            second,
            contract: sold.contract.clone(),
            miner,
            holder,
            desks,
            answers: Vec::new(),
            read: [0; 2],
            made: 0,
            dir,
        };
        table.put("terms.json", serde_json::to_string(&sold.contract).unwrap());
        let registration = table.put("registration.json", sold.registration.to_json().unwrap());
        for (desk, place) in [(0, 0u8), (1, 1)] {
            bind_at(market, place, &table.desks[desk]);
            table.at_desk(desk, &["validator", "register", &registration]);
        }
        table
    }

    fn path(&self, name: &str) -> String {
        text(&self.dir.path().join(name))
    }

    fn put(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), contents).unwrap();
        self.path(name)
    }

    fn at_desk(&self, desk: usize, words: &[&str]) {
        let (home, second) = (text(&self.desks[desk]), self.second.url());
        let where_ = ["--home", &home, "--network", "regtest"];
        let whom = ["--electrum", &self.url, "--electrum", &second];
        let out = hashmix(&[words, &where_, &whom].concat());
        // 3 where everything is refused: that is an answer too.
        assert!(
            matches!(out.status.code(), Some(0 | 3)),
            "{words:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
    }

    /// The arguments of a party's command.
    fn of(&self, seat: &str, command: &str, more: &[&str]) -> Vec<String> {
        let home = if seat == "miner" { &self.miner } else { &self.holder };
        let (terms, home, relay) = (self.path("terms.json"), text(home), self.path("relay"));
        let words = ["contract", command, &terms, "--seat", seat, "--number", "0", "--home", &home];
        let whom = ["--network", "regtest", "--electrum", &self.url, "--relay", &relay];
        [&words[..], &whom, more].concat().into_iter().map(str::to_owned).collect()
    }

    fn does(&self, seat: &str, command: &str, more: &[&str]) -> String {
        let told = said(&strs(&self.of(seat, command, more)));
        println!("--- {seat} {command} {more:?}\n{told}");
        told
    }

    fn is_refused(&self, seat: &str, command: &str, more: &[&str]) -> String {
        refused(&strs(&self.of(seat, command, more)))
    }

    /// A step, with every answer that the party has not read yet.
    fn steps(&mut self, seat: &str) -> String {
        let reader = usize::from(seat == "holder");
        let fresh: Vec<String> =
            self.answers[self.read[reader]..].iter().map(|(_, path)| path.clone()).collect();
        self.read[reader] = self.answers.len();
        self.does(seat, "step", &fresh.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The letters that lie in a desk's inbox in the shared folder.
    fn letters(&self, desk: usize) -> Vec<String> {
        let inbox = self.dir.path().join(format!("relay/validator-{desk}/inbox"));
        let mut paths: Vec<String> =
            std::fs::read_dir(inbox).unwrap().map(|entry| text(&entry.unwrap().path())).collect();
        paths.sort();
        paths
    }

    /// Letters and the other desk's answers go to each desk, in the miner's name, until neither says more.
    fn round(&mut self) {
        loop {
            let mut quiet = true;
            for desk in 0..2 {
                self.made += 1;
                let letters = self.letters(desk);
                let others = self.answers.iter().filter(|(by, _)| *by != desk);
                let files: Vec<&str> = letters
                    .iter()
                    .chain(others.map(|(_, path)| path))
                    .map(String::as_str)
                    .collect();
                let (terms, seed) = (self.path("terms.json"), text(&self.miner.join("seed")));
                let key = format!("round {}", self.made);
                let request = self.path(&format!("request-{}.json", self.made));
                let words = ["--terms", &terms, "--seed", &seed, "--number", "0"];
                let more = ["--seat", "miner", "--key", &key, "--out", &request];
                said(&[&["validator", "request"][..], &files, &words, &more].concat());
                let out = self.path(&format!("answer-{}.json", self.made));
                self.at_desk(desk, &["validator", "rule", &request, "--out", &out]);
                let answer = Answer::from_json(&std::fs::read_to_string(&out).unwrap()).unwrap();
                for refusal in &answer.refused {
                    println!("desk {desk} refuses: {} {}", refusal.rule, refusal.place);
                }
                if !answer.words.is_empty() {
                    quiet = false;
                    self.answers.push((desk, out));
                }
            }
            if quiet {
                return;
            }
        }
    }

    /// The machines deliver a slice, the miner seals it, desks give receipts, and both hear of it.
    fn deliver(&mut self, market: &mut Market, slice: u32) {
        market.mine_until(&self.contract, START + 12 * (slice + 1) - 1, 20);
        let certificate = market.machines.certificate(&self.contract, slice).unwrap();
        let file = self.put(&format!("slice-{slice}.json"), certificate.to_json());
        let told = self.does("miner", "certify", &[&file]);
        assert!(told.contains(&format!("certificate of slice {}", slice + 1)), "{told}");
        assert!(told.contains("next      validator 0, validator 1, validator 2: give receipts"));
        self.round();
        self.steps("miner");
        self.steps("holder");
    }

    /// A command that goes on while others do theirs.
    fn begins(&self, seat: &str, command: &str, more: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_hashmix"))
            .args(self.of(seat, command, more))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

fn ends(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    let told = String::from_utf8(output.stdout).unwrap();
    println!("--- ended\n{told}");
    told
}

fn strs(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

/// A block holds what was sent.
fn confirm(market: &mut Market, blocks: u32) {
    market.world.settle().unwrap();
    market.elsewhere(blocks);
}

#[test]
fn a_contract_is_held_by_command_from_its_first_certificate_to_its_last_reward() {
    let mut market = Market::issued();
    let sold = market.sell(&market.offer(PRICE, 0, 120), 0);
    let mut table = Table::laid(&market, &sold);
    let told = table.does("holder", "status", &[]);
    assert!(told.contains("phase     open") && told.contains("60000000 sat, index 0"), "{told}");
    assert!(told.contains("period 1 can be settled from height 148"), "{told}");
    let told = table.is_refused("holder", "fund", &[]);
    assert!(told.contains("[engine-possible]") && told.contains("price and seal"), "{told}");

    // A slice is sealed; its certificate is the miner's to say, and is said once.
    market.elsewhere_until(START - 1);
    table.deliver(&mut market, 0);
    let slice = table.path("slice-0.json");
    assert!(table.is_refused("holder", "certify", &[&slice]).contains("[engine-possible]"));
    assert!(table.does("miner", "certify", &[&slice]).contains("known     the certificate"));
    let status = table.does("holder", "status", &[]);
    assert!(status.contains("1 certificates, 1 of them with receipts of 2"), "{status}");

    // The miner asks once the period is ripe, and the holder's step signs the state.
    assert!(table.is_refused("miner", "settle", &[]).contains("[engine-possible]"), "not ripe");
    market.mine_until(&table.contract, START + 12 + 5, 20);
    assert!(table.steps("miner").contains("said      settlement-request"));
    assert!(table.is_refused("holder", "publish", &[]).contains("[engine-possible]"));
    let told = table.does("holder", "status", &[]);
    assert!(told.contains("1 not read") && told.contains("earned    5000000 sat"), "{told}");
    assert!(told.contains("signed    no state"), "status signs nothing: {told}");
    let told = table.steps("holder");
    assert!(told.contains("heard     settlement-request of the miner"), "{told}");
    assert!(told.contains("said      state"), "{told}");
    assert!(table.steps("miner").contains("heard     state of the holder"));
    let status = table.does("miner", "status", &[]);
    assert!(status.contains("signed    5000000 sat through period 1, by the holder"), "{status}");

    // Both settle together: the miner waits, the holder steps; one process at a time sits there.
    let settling = table.begins("miner", "settle", &["--wait", PATIENCE]);
    let asked = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let inbox = std::fs::read_dir(table.path("relay/holder/inbox")).unwrap();
        inbox
            .map(|it| it.unwrap().file_name())
            .any(|name| name.to_str().is_some_and(|name| name.starts_with("round-miner-")))
    });
    assert!(asked);
    assert!(table.is_refused("miner", "step", &[]).contains("[contract-busy]"));
    assert!(table.steps("holder").contains("signed    my part of a joint settlement"));
    let told = ends(settling);
    assert!(told.contains("said      joint-settlement"), "{told}");
    assert!(told.contains("sent      settlement"), "{told}");
    confirm(&mut market, 1);
    let told = table.does("holder", "status", &[]);
    assert!(told.contains(&format!("{} sat, index 1", PRICE - INSTALLMENT)), "{told}");
    assert!(told.contains("paid      5000000 sat of 60000000 sat"), "{told}");

    // The holder falls silent. About period 2 the miner asks for a ruling, and two desks rule.
    table.deliver(&mut market, 1);
    let early = table.is_refused("miner", "dispute", &["--period", "2"]);
    assert!(early.contains("[dispute-timely]"), "{early}");
    assert!(table.is_refused("miner", "dispute", &["--period", "0"]).contains("[cli-arguments]"));
    market.elsewhere_until(table.contract.ruling_height(1).unwrap());
    let told = table.does("miner", "dispute", &["--period", "2", "--fee-rate", "3"]);
    assert!(told.contains("said      an opening about period 2, at 3 sat/vB"), "{told}");
    table.round();
    let told = table.steps("miner");
    assert!(told.contains("opening-receipt of the validator 0"), "{told}");
    assert!(told.contains("the other side may answer"), "{told}");
    let told = table.does("miner", "status", &[]);
    let until = market.height() + table.contract.delays.answer;
    assert!(
        told.contains(&format!("about period 2, asked by the miner: ruled on from height {until}"))
    );
    market.elsewhere_until(until);
    table.round();
    let told = table.steps("miner");
    assert!(told.contains("heard     ruling of the validator 1"), "{told}");
    assert!(told.contains("said      ruling") && told.contains("sent      ruling"), "{told}");
    confirm(&mut market, 1);
    let told = table.does("miner", "status", &[]);
    assert!(told.contains(&format!("{} sat, index 2", PRICE - 2 * INSTALLMENT)), "{told}");

    // What was proven here goes on under the contract of the next holder, once.
    let lock = reward::coins::lock(&table.contract.reward).unwrap().script_pubkey;
    let mut later = table.contract.clone();
    later.reward.variant = Variant::Nums;
    let tenure = later.tenure.as_mut().unwrap();
    (tenure.transfer, tenure.first) = (2, 1);
    tenure.earlier = vec![Earlier { until: 3, lock }];
    let (later, before) =
        (table.put("later.json", serde_json::to_string(&later).unwrap()), table.path("terms.json"));
    let carry = |contract: &str, more: &[&str]| {
        let words = table.of("miner", "carry", more);
        words.into_iter().map(|it| if it == before { contract.to_owned() } else { it }).collect()
    };
    let backwards: Vec<String> = carry(&before, &[&later]);
    assert!(refused(&strs(&backwards)).contains("[contract-before]"));
    let mut onwards: Vec<String> = carry(&later, &[]);
    onwards.push(before.clone());
    let carried = said(&strs(&onwards));
    assert!(carried.contains("said      2 words that carry over"), "{carried}");
    assert!(said(&strs(&onwards)).contains("said      0 words that carry over"));
    let none = table.path("relay/miner/refused");
    onwards.extend(["--evidence".to_owned(), none]);
    assert!(refused(&strs(&onwards)).contains("[contract-before]"));

    // Rewards mature, and both sign their sweep, each by a step.
    assert!(told.contains("rewards   0 sat in 0 outputs can be swept"), "{told}");
    let early = table.is_refused("holder", "sweep", &["--path", "agreed"]);
    assert!(early.contains("[reward-sweepable]"), "{early}");
    market.elsewhere_until(START + 100);
    let told = table.does("holder", "sweep", &["--path", "agreed", "--fee-rate", "4"]);
    assert!(told.contains("said      sweep-signatures"), "{told}");
    assert!(told.contains("next      miner: sign a sweep"), "{told}");
    assert!(table.steps("miner").contains("said      sweep-signatures"));
    assert!(table.steps("holder").contains("sent      sweep"));
    confirm(&mut market, 1);
    let exit = table.is_refused("holder", "exit", &["escrow"]);
    assert!(exit.contains("[chain-broadcast]") || exit.contains("non-final"), "{exit}");
}

#[test]
fn a_seat_is_taken_by_its_own_record_on_the_network_of_its_terms() {
    let market = {
        let mut market = Market::issued();
        let sold = market.sell(&market.offer(PRICE, 0, 120), 0);
        let table = Table::laid(&market, &sold);
        (market, table)
    };
    let (_market, table) = market;
    let with = |from: &str, to: &str| -> String {
        let words = table.of("holder", "step", &[]);
        let words: Vec<&str> =
            words.iter().map(|word| if word == from { to } else { word }).collect();
        refused(&words)
    };
    // Another number, another seat, another network, a server that is none.
    assert!(with("0", "1").contains("[engine-seat]"), "{}", with("0", "1"));
    assert!(with("holder", "miner").contains("[engine-seat]"));
    let told = with("regtest", &Network::Signet.to_string());
    assert!(told.contains("[contract-network]") && told.contains("expected regtest"), "{told}");
    let told = with("0", "4294967295");
    assert!(!told.contains("panicked"), "{told}");
    // What is no word is refused before anything is read in.
    let terms = table.path("terms.json");
    let told = table.is_refused("holder", "step", &[&terms]);
    assert!(told.contains("[word-form]"), "{told}");
    // Nothing was proven before the first sale.
    let told = table.is_refused("holder", "carry", &[&terms]);
    assert!(told.contains("[contract-before]"), "{told}");
    let told = table.does("holder", "step", &[]);
    assert!(told.contains("waits     until height 148"), "{told}");
}

#[test]
#[cfg(feature = "validator")]
fn parties_who_share_no_folder_meet_at_validators_servers_and_one_watches_until_interrupted() {
    let mut market = Market::issued();
    let sold = market.sell(&market.offer(PRICE, 0, 120), 0);
    let table = Table::laid(&market, &sold);
    let serving = Serving::start(&table.desks, [&table.url, &table.second.url()]);
    let urls = &serving.urls;
    let nobody = "http://127.0.0.1:1";
    let at = ["--validator", &urls[0], "--validator", nobody, "--validator", &urls[1]];
    let wrong = table.is_refused("holder", "step", &["--validator", "tcp://one"]);
    assert!(wrong.contains("[validator-peer]"), "{wrong}");

    // What the miner seals comes back with receipts in the same step, whoever is away.
    market.elsewhere_until(START - 1);
    market.mine_until(&table.contract, START + 11, 20);
    let certificate = market.machines.certificate(&table.contract, 0).unwrap();
    let file = table.put("slice-0.json", certificate.to_json());
    let told = table.does("miner", "certify", &[&[file.as_str()][..], &at].concat());
    for line in ["receipt of the validator 0", "receipt of the validator 1", nobody] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    market.mine_until(&table.contract, START + 12 + 5, 20);

    // The holder watches; whatever folder the miner writes into, servers tell her.
    let watch = [&["--watch", "1"][..], &at].concat();
    let mut elsewhere = table.of("holder", "step", &watch);
    let relay = table.path("relay");
    elsewhere.iter_mut().filter(|word| **word == relay).for_each(|word| word.push_str(" of hers"));
    let watching = Command::new(env!("CARGO_BIN_EXE_hashmix"))
        .args(&elsewhere)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    assert!(table.does("miner", "step", &at).contains("said      settlement-request"));
    let signed = (0..30).any(|_| {
        std::thread::sleep(std::time::Duration::from_secs(2));
        table.does("miner", "step", &at).contains("heard     state of the holder")
    });
    assert!(signed);
    let pid = watching.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let told = ends(watching);
    assert!(told.contains("said      state") && told.ends_with("between two steps\n"), "{told}");
    assert_eq!(told.matches(nobody).count(), 1, "who is away is told once: {told}");

    // The state is the miner's to send, at any time.
    let told = table.does("miner", "publish", &at);
    assert!(told.contains("sent      settlement"), "{told}");
    confirm(&mut market, 1);
    assert!(table.does("miner", "status", &[]).contains("index 1"));
}
