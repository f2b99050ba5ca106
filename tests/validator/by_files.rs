//! Validators without a server: every request is made by the command, from the parties' words and
//! from what the validators answered.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Output;

use hashmix::party::Seat;
use hashmix::rehearsal::daemons::Daemons;
use hashmix::rehearsal::people;
use hashmix::validator::answer::{Answer, Waiting};

use crate::town::{PASSPHRASE, Town, command, private, registration};
use crate::world::{FULL, INSTALLMENT, Table, on_core};

/// How an answer begins to tell of a ruling that its speaker signed.
const RULED: &str = "\"ruled\"";

/// The miner's errands: which files he has, and how many requests he made.
struct Errands {
    /// The parties' letters and the validators' answers, in the order in which they came.
    files: Vec<PathBuf>,
    made: u32,
}

fn text(path: &std::path::Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// All files but what this validator answered himself.
fn but(place: u8, files: &[PathBuf]) -> Vec<PathBuf> {
    let his = format!("-{place}.json");
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let others =
        |path: &&PathBuf| !(name(path).starts_with("answer-") && name(path).ends_with(&his));
    files.iter().filter(others).cloned().collect()
}

fn done(out: &Output) -> String {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

impl Errands {
    /// The contract is registered at these desks, and the miner has his seed and the terms in files.
    fn begun(town: &Town, places: &[u8]) -> Self {
        let file = town.file("registration.json", &registration(&town.table).to_json().unwrap());
        for place in places {
            done(&command(&["validator", "register", &file], &town.desk_arguments(*place)));
        }
        let words = people::seed(&people::name(Seat::Miner)).unwrap().words().unwrap().to_string();
        for (name, said) in [("miner-seed", words.as_str()), ("phrase", PASSPHRASE)] {
            town.file(name, said);
            private(&town.table.dir.path().join(name));
        }
        town.file("terms.json", &serde_json::to_string(&town.table.terms).unwrap());
        Self { files: Vec::new(), made: 0 }
    }

    /// A request out of these files, by the command.
    fn request(&mut self, town: &Town, files: &[PathBuf]) -> Output {
        self.made += 1;
        let here = |name: &str| text(&town.table.dir.path().join(name));
        let [terms, seed] = ["terms.json", "miner-seed"].map(here);
        let (key, out) = (format!("errand {}", self.made), here(&self.name()));
        let mut arguments: Vec<String> = files.iter().map(|path| text(path)).collect();
        let rest = ["--terms", &terms, "--seed", &seed, "--number", "0", "--seat", "miner"];
        arguments.extend(rest.map(str::to_owned));
        arguments.extend(["--key", &key, "--out", &out].map(str::to_owned));
        command(&["validator", "request"], &arguments)
    }

    fn name(&self) -> String {
        format!("request-{}.json", self.made)
    }

    /// Takes the letters that wait for a validator out of the parties' folder.
    fn collect(&mut self, town: &Town) {
        for name in town.table.names(Seat::Validator(0), "inbox") {
            let from = town.table.folder(Seat::Validator(0), "inbox").join(&name);
            let to = town.table.dir.path().join(format!("{:03}-{name}", self.files.len()));
            fs::rename(from, &to).unwrap();
            self.files.push(to);
        }
    }

    /// Brings a validator these files; what he says is a file too, and reaches the parties.
    fn bring(&mut self, town: &Town, place: u8, files: &[PathBuf]) -> (Answer, PathBuf) {
        done(&self.request(town, files));
        let request = text(&town.table.dir.path().join(self.name()));
        let out = town.table.dir.path().join(format!("answer-{}-{place}.json", self.made));
        let (out_text, mut more) = (text(&out), town.desk_arguments(place));
        more.extend(["--out", &out_text].map(str::to_owned));
        let ran = command(&["validator", "rule", &request], &more);
        // 3 where he refuses everything: that is an answer too.
        let told = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(matches!(ran.status.code(), Some(0 | 3)), "{told}");
        let answer = Answer::from_json(&fs::read_to_string(&out).unwrap()).unwrap();
        answer.verify(&town.table.terms).unwrap();
        for numbered in &answer.words {
            let name = format!("from-{}-{:05}.json", numbered.word.from, numbered.number);
            let letter = numbered.word.to_json().unwrap();
            for seat in [Seat::Miner, Seat::Holder] {
                town.table.drop_letter(seat, &name, letter.as_bytes());
            }
        }
        (answer, out)
    }

    /// All that the parties said and all answers go to each of these validators, until none of them
    /// has anything new to say.
    fn round(&mut self, town: &mut Town, places: &[u8]) {
        loop {
            town.table.everybody();
            self.collect(town);
            let mut quiet = true;
            for place in places {
                let (answer, out) = self.bring(town, *place, &but(*place, &self.files));
                if !answer.words.is_empty() {
                    quiet = false;
                    self.files.push(out);
                }
            }
            if quiet {
                return town.table.everybody();
            }
        }
    }

    /// One period in full, half of the second, and the miner asks for a ruling.
    fn dispute(&mut self, town: &mut Town, places: &[u8]) {
        town.table.deliver(0, FULL);
        self.round(town, places);
        town.table.deliver(1, FULL / 2);
        self.round(town, places);
        town.table.ask_for_a_ruling(1);
        self.round(town, places);
    }
}

#[test]
fn two_of_three_rule_on_requests_made_by_the_command_from_words_and_answers() {
    let mut town = Town::funded();
    let mut errands = Errands::begun(&town, &[0, 1]);
    errands.dispute(&mut town, &[0, 1]);
    assert!(town.table.sent.is_empty(), "nobody rules before the time to answer is over");
    town.table.elsewhere(town.table.terms.delays.answer);
    errands.round(&mut town, &[0, 1]);
    let [sent] = &town.table.sent[..] else { panic!("{:?}", town.table.story()) };
    assert_eq!(sent.signers, [Seat::Miner, Seat::Validator(0), Seat::Validator(1)]);
    assert_eq!(sent.tx.output[1].value.to_sat(), 6 * INSTALLMENT - INSTALLMENT * 3 / 2);
}

#[test]
fn an_answer_that_was_changed_or_is_another_contracts_makes_no_request() {
    let mut town = Town::funded();
    let mut errands = Errands::begun(&town, &[0]);
    town.table.deliver(0, FULL);
    errands.collect(&town);
    let files = errands.files.clone();
    let (answer, out) = errands.bring(&town, 0, &files);
    assert_eq!(answer.words.len(), 1, "a receipt");
    done(&errands.request(&town, &[out]));
    let mut lie = answer.clone();
    lie.words[0].word.from = Seat::Validator(1);
    let mut elsewhere = answer.clone();
    elsewhere.words[0].word.contract = hashmix::id::TermsId([7; 32]);
    let words = [&lie, &elsewhere].map(|answer| answer.to_json().unwrap());
    let cut = words[0][..40].to_owned();
    for said in [words[0].clone(), words[1].clone(), cut] {
        let file = PathBuf::from(town.file("lie.json", &said));
        let out = errands.request(&town, &[file]);
        let told = String::from_utf8(out.stderr).unwrap();
        assert_eq!((out.status.code(), told.lines().count()), (Some(3), 1), "{told}");
        assert!(told.contains("lie.json"), "{told}");
        assert!(!town.table.dir.path().join(errands.name()).exists());
    }
}

/// Every file of a folder as it is.
fn disk(folder: &std::path::Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn yesterdays_disk_rules_again_once_the_command_has_resolved_its_journal() {
    let mut town = Town::funded();
    let mut errands = Errands::begun(&town, &[0, 1]);
    town.table.deliver(0, FULL);
    errands.round(&mut town, &[0, 1]);
    let home = town.home(0);
    let yesterday = disk(&home);
    town.table.deliver(1, FULL / 2);
    errands.round(&mut town, &[0, 1]);
    town.table.ask_for_a_ruling(1);
    errands.round(&mut town, &[0, 1]);
    town.table.elsewhere(town.table.terms.delays.answer);
    // He enters his ruling, the other holds the entry, he signs; then his machine gets the old disk.
    let mut all = errands.files.clone();
    for place in [0, 1, 0] {
        let (_, out) = errands.bring(&town, place, &but(place, &all));
        all.push(out);
    }
    assert!(fs::read_to_string(all.last().unwrap()).unwrap().contains(RULED));
    assert!(town.table.sent.is_empty());
    for (path, _) in disk(&home) {
        fs::remove_file(path).unwrap();
    }
    for (path, held) in yesterday {
        fs::write(&path, held).unwrap();
        private(&path);
    }
    // He has forgotten when he heard the opening first, and waits anew. Then he learns from what the
    // other holds that he is behind, and signs nothing.
    errands.bring(&town, 0, &but(0, &all));
    town.table.elsewhere(town.table.terms.delays.answer);
    let (answer, _) = errands.bring(&town, 0, &but(0, &all));
    assert!(!answer.to_json().unwrap().contains(RULED), "{answer:?}");
    let behind = |waiting: &Waiting| waiting.why.contains("policy-memory-behind");
    assert!(answer.waiting.iter().any(behind), "{answer:?}");
    let id = town.id().to_string();
    let word = town.table.dir.path().join("restored.json");
    let mut more = town.desk_arguments(0);
    more.extend(["--out", &text(&word)].map(str::to_owned));
    let told = done(&command(&["validator", "resolve", &id], &more));
    assert!(told.contains("entries taken over") && told.contains("restored.json"), "{told}");
    let held = fs::read(&word).unwrap();
    // A crash may lose the file: what was said is written again, and never over another.
    let out = command(&["validator", "resolve", &id], &more);
    assert!(String::from_utf8_lossy(&out.stderr).contains("[cli-out-free]"));
    fs::remove_file(&word).unwrap();
    done(&command(&["validator", "resolve", &id], &more));
    assert_eq!(fs::read(&word).unwrap(), held);
    // The other hears it; with the words since he rules, and what he ruled before.
    errands.bring(&town, 1, &[word]);
    errands.files = all;
    errands.round(&mut town, &[0, 1]);
    let [sent] = &town.table.sent[..] else { panic!("{:?}", town.table.story()) };
    assert_eq!(sent.signers, [Seat::Miner, Seat::Validator(0), Seat::Validator(1)]);
}

#[test]
fn a_journal_that_nobody_holds_more_of_is_not_resolved() {
    let town = Town::funded();
    Errands::begun(&town, &[0]);
    let id = town.id().to_string();
    let out = command(&["validator", "resolve", &id], &town.desk_arguments(0));
    let told = String::from_utf8(out.stderr).unwrap();
    assert_eq!((out.status.code(), told.lines().count()), (Some(2), 1), "{told}");
    assert!(told.contains("[policy-memory-behind]"), "{told}");
}

/// Whatever is asked here, the cookie is wrong.
fn stern() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 65_536]);
            let no = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(no.as_bytes());
        }
    });
    url
}

/// What the command says whose node takes no such cookie: one line.
fn unshown(town: &Town, url: &str, cookie: &str) {
    let mut more = town.desk_arguments(0);
    more.extend(["--core", url, "--cookie", cookie].map(str::to_owned));
    let out = command(&["validator", "resolve", &town.id().to_string()], &more);
    let told = String::from_utf8(out.stderr).unwrap();
    assert_eq!((out.status.code(), told.trim_end().lines().count()), (Some(5), 1), "{told}");
    assert!(told.contains("[core-auth]"), "{told}");
    assert!(!told.contains("wrong"), "it repeats what the file holds: {told}");
}

/// On the embedded node there is no Bitcoin Core that a cookie would open; in the world core there is
/// one, and the validator's ruling rests on it.
#[test]
fn a_desk_beside_a_bitcoin_core_shows_its_cookie_and_a_wrong_one_is_one_clear_line() {
    let node = on_core().then(|| Daemons::start().unwrap());
    let core =
        node.as_ref().map(|node| (node.bitcoind().url().to_owned(), node.bitcoind().cookie()));
    let table = match node {
        Some(node) => Table::funded_in(Box::new(node)),
        None => Table::funded(),
    };
    let mut town = Town::at(table);
    let mut errands = Errands::begun(&town, &[0]);
    let [wrong, missing] = [town.file("bad-cookie", "__cookie__:wrong"), "/nowhere".to_owned()];
    let url = core.as_ref().map_or_else(stern, |(url, _)| url.clone());
    for cookie in [&wrong, &missing] {
        unshown(&town, &url, cookie);
    }
    let Some((url, cookie)) = core else { return };
    town.table.deliver(0, FULL);
    errands.collect(&town);
    done(&errands.request(&town, &errands.files.clone()));
    let request = text(&town.table.dir.path().join(errands.name()));
    let (server, cookie) = (town.table.node.electrum_url(), text(&cookie));
    let own = town.desk_arguments(0)[..6].to_vec();
    let beside = ["--electrum", &server, "--core", &url, "--cookie", &cookie].map(str::to_owned);
    let told = done(&command(&["validator", "rule", &request], &[own, beside.to_vec()].concat()));
    assert_eq!(Answer::from_json(told.trim_end()).unwrap().words.len(), 1, "a receipt");
}
