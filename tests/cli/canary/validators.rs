//! A validator's desk with the canary's seed: what it says, logs, keeps and sends.

use std::path::Path;

use bitcoin::Network;
use hashmix::flow::word::Word;
use hashmix::flow::{Event, reward};
use hashmix::party::{Record, Role, Seat};
use hashmix::rehearsal::people;
use hashmix::rehearsal::world::chosen;
use hashmix::sign::record::record;
use hashmix::sign::software::SoftwareSigner;
use hashmix::validator::registration::{Registration, digest};

use super::watch::{Seen, command, files, watch};
use super::{Cage, PASSPHRASE, canary, forms};
use crate::desk::{rehearsed, text};

/// The canary sits twice at the contract: as its miner with record 0, as validator 0 with record 1.
fn signer(number: u32) -> SoftwareSigner {
    let secrets = canary().record(Network::Regtest, number).unwrap();
    SoftwareSigner::new(secrets, Network::Regtest).unwrap()
}

fn seated(number: u32, role: Role) -> Record {
    let signer = signer(number);
    let payout = signer.address().into_unchecked();
    record(&signer, role, Network::Regtest, people::CONTRACT, payout).unwrap()
}

/// A desk, a contract that is agreed on, and a word of its miner, all in files.
struct Bench {
    cage: Cage,
    terms: String,
    registration: String,
    word: String,
    id: String,
}

impl Bench {
    fn new() -> Self {
        let cage = Cage::new();
        let mut terms = rehearsed();
        terms.reward.miner = seated(0, Role::Miner);
        terms.reward.federation.validators[0] = seated(1, Role::Validator);
        terms.check().unwrap();
        let id = terms.id().unwrap();
        let mut registration = Registration::new(terms.clone());
        let holder = people::signer(Seat::Holder, Network::Regtest).unwrap();
        registration.add(Seat::Miner, signer(0).sign_digest(digest(id)).unwrap()).unwrap();
        registration.add(Seat::Holder, holder.sign_digest(digest(id)).unwrap()).unwrap();
        let event = Event::Reward(reward::state::Event::CloseAsked);
        let message = Word::message(id, Seat::Miner, &event).unwrap();
        let word = Word::new(id, Seat::Miner, event, signer(0).sign_digest(message).unwrap());
        Self {
            terms: cage.desk.put("terms.json", serde_json::to_string(&terms).unwrap()),
            registration: cage.desk.put("registration", registration.to_json().unwrap()),
            word: cage.desk.put("word", word.to_json().unwrap()),
            id: id.to_string(),
            cage,
        }
    }

    /// Commands at the desk that work, and that fail on the way.
    fn commands(&self, servers: &[String; 2]) -> Vec<Vec<String>> {
        let Cage { desk, sealed, plain, right, wrong, .. } = &self.cage;
        let path = |name: &str| text(&desk.path(name));
        let [home, half, asked, answer] = ["home", "half", "asked", "answer"].map(path);
        let mut all: Vec<Vec<String>> = Vec::new();
        let mut add = |arguments: &[&str]| {
            all.push(arguments.iter().map(|argument| (*argument).to_owned()).collect());
        };
        let [first, second] = servers;
        let opened = [
            ["--seed", sealed, "--passphrase-file", right],
            ["--seed", sealed, "--passphrase-file", wrong],
            ["--seed", sealed, "--passphrase-file", "-"],
            ["--seed", right, "--passphrase-file", plain],
        ];
        for opened in &opened {
            let number = ["--number", "0"];
            for file in [&self.terms, plain] {
                let to = ["--role", "miner", "--registration", &half];
                add(&[&["terms", "sign", file], &opened[..], &number, &to].concat());
            }
            let on = ["--home", &home, "--network", "regtest"];
            let at = [&opened[..], &on, &["--electrum", first, "--electrum", second]].concat();
            for file in [&self.registration, plain, right] {
                add(&[&["validator", "register", file], &at[..]].concat());
            }
            for file in [&self.word, plain, &answer] {
                let rest =
                    ["--terms", &self.terms, "--seat", "miner", "--key", "a", "--out", &asked];
                add(&[&["validator", "request", file], &opened[..], &number, &rest].concat());
            }
            for file in [&asked, plain, right] {
                add(&[&["validator", "rule", file, "--out", &answer], &at[..]].concat());
                add(&[&["validator", "rule", file], &at[..]].concat());
            }
            add(&[&["validator", "status"], &at[..]].concat());
            add(&[&["validator", "status", &self.id], &at[..]].concat());
            add(&[&["validator", "resolve", &self.id, "--out", &half], &at[..]].concat());
            // Nobody is there to be asked, and a seed is where an address belongs.
            let gone = ["--electrum", "tcp://127.0.0.1:1", "--electrum", second];
            add(&[&["validator", "status"], &opened[..], &on, &gone].concat());
            let lost = ["--electrum", "nonsense", "--electrum", second];
            add(&[&["validator", "status"], &opened[..], &on, &lost].concat());
        }
        all
    }

    /// Whatever lies in the cage holds nothing but what was planted; answers with the paths.
    fn judge(&self) -> Vec<String> {
        let forms = forms();
        let mut clean = Vec::new();
        for (path, mode, held) in files(self.cage.desk.dir.path()) {
            if self.cage.is_planted(&path) {
                continue;
            }
            assert_eq!(forms.found_in(&held), [""; 0], "{} holds", path.display());
            let name = text(&path);
            if name.contains(".sqlite") {
                assert_eq!(mode, 0o600, "{name}");
            }
            clean.push(name);
        }
        clean
    }
}

/// Two names of one server: what it says is not at issue here.
fn servers(url: &str) -> [String; 2] {
    [url.to_owned(), url.replace("127.0.0.1", "localhost")]
}

fn lets_nothing_out(seen: &Seen, what: &[&str]) {
    let line = String::from_utf8_lossy(&seen.said);
    assert!(!line.contains("panicked"), "{what:?}: {line}");
    assert_eq!(forms().found_in(&seen.said), [""; 0], "{what:?} says");
    assert_eq!(forms().found_in(&seen.listed), [""; 0], "{what:?} shows");
}

#[test]
fn no_command_of_a_desk_lets_a_secret_out_nor_do_its_store_its_letters_and_its_answers() {
    let (bench, node) = (Bench::new(), chosen().unwrap());
    let mut done: Vec<String> = Vec::new();
    for arguments in bench.commands(&servers(&node.electrum_url())) {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let seen = watch(&mut command(&arguments), &format!("{PASSPHRASE}\n"), |_| ());
        lets_nothing_out(&seen, &arguments);
        if seen.code == Some(0) {
            done.push(arguments[..2].join(" "));
        }
    }
    for what in ["terms sign", "validator register", "validator request", "validator rule"] {
        assert!(done.iter().any(|one| one == what), "{what} never worked: {done:?}");
    }
    assert!(done.iter().filter(|one| *one == "validator status").count() >= 4, "{done:?}");
    let clean = bench.judge();
    for part in ["desk.json", "store.sqlite", "registration.json", "letters", "answer", "asked"] {
        assert!(clean.iter().any(|name| name.contains(part)), "no {part}: {clean:#?}");
    }
}

#[cfg(feature = "validator")]
#[test]
fn a_server_lets_no_secret_out_while_it_answers_and_when_it_is_told_to_stop() {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    let (bench, node) = (Bench::new(), chosen().unwrap());
    let [first, second] = servers(&node.electrum_url());
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let home = text(&bench.cage.desk.path("home"));
    let registration = std::fs::read_to_string(&bench.registration).unwrap();
    let questions = [
        ("GET", "/v1/status", ""),
        ("POST", "/v1/contracts", registration.as_str()),
        ("POST", "/v1/requests", "not a request"),
        ("GET", "/v1/contracts/00/words?after=0", ""),
        ("GET", "/v1/nothing", ""),
    ];
    let (mut heard, mut stopped) = (Vec::new(), false);
    let arguments = ["validator", "serve", "--listen", &listen, "--network", "regtest"];
    let at = ["--home", &home, "--electrum", &first, "--electrum", &second];
    let peer = ["--peer", "http://127.0.0.1:1"];
    let own = ["--seed", &bench.cage.sealed, "--passphrase-file", "-"];
    let all = [&arguments[..], &at, &peer, &own].concat();
    let seen = watch(&mut command(&all), &format!("{PASSPHRASE}\n"), |child| {
        if stopped || TcpStream::connect(&listen).is_err() {
            return;
        }
        for (method, path, body) in questions {
            let mut stream = TcpStream::connect(&listen).unwrap();
            let length = body.len();
            let head =
                format!("{method} {path} HTTP/1.1\r\nHost: desk\r\nContent-Length: {length}\r\n");
            stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes()).unwrap();
            let _ = stream.read_to_end(&mut heard);
        }
        assert!(!bench.judge().is_empty());
        let pid = child.id().to_string();
        assert!(std::process::Command::new("kill").arg(&pid).status().unwrap().success());
        stopped = true;
    });
    lets_nothing_out(&seen, &all);
    assert_eq!(forms().found_in(&heard), [""; 0]);
    let (told, log) = (String::from_utf8_lossy(&heard), String::from_utf8_lossy(&seen.said));
    assert!(told.matches("HTTP/1.1 ").count() == questions.len(), "{told}; {log}");
    assert!(told.contains(&bench.id), "it is registered: {told}");
    assert!(log.contains("listening on ") && seen.code == Some(0), "{log}");
    let home = Path::new(&home).join("contracts").join(&bench.id);
    assert!(home.join("registration.json").exists() && !bench.judge().is_empty());
}
