//! A miner and a holder at their table, and three validators at desks of their own, who hear only
//! what is brought to them.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use bitcoin::Network;
use hashmix::flow::word::Word;
use hashmix::id::TermsId;
use hashmix::party::Seat;
use hashmix::rehearsal::people;
use hashmix::sign::sealed::{Passphrase, Stretch, seal};
use hashmix::validator::answer::Answer;
use hashmix::validator::desk::Desk;
use hashmix::validator::registration::{Registration, digest};
use hashmix::validator::request::{REQUEST_FORMAT, REQUEST_MAX_BYTES, Request};
use hashmix::validator::sources::Sources;

use zeroize::Zeroizing;

use crate::http::Server;
use crate::proxy::Proxy;
use crate::world::{FULL, Table, signer};

/// What every validator's seed is encrypted with here.
pub(crate) const PASSPHRASE: &str = "a passphrase of the rehearsal";

/// How a validator is reached.
pub(crate) enum Way {
    /// In this process.
    Desk(Box<Desk>),
    /// By the command, a file in and a file out.
    Command,
    /// Over HTTP.
    Http(Server),
    /// Not at all.
    Away,
}

/// Everybody.
pub(crate) struct Town {
    pub(crate) table: Table,
    /// The second server: a way to the first, which can be made to lie.
    pub(crate) second: Proxy,
    pub(crate) ways: Vec<Way>,
    asked: u32,
}

/// A registration that both parties have signed.
pub(crate) fn registration(table: &Table) -> Registration {
    let mut registration = Registration::new(table.terms.clone());
    let id = table.terms.id().unwrap();
    for seat in [Seat::Miner, Seat::Holder] {
        registration.add(seat, signer(seat).sign_digest(digest(id)).unwrap()).unwrap();
    }
    registration
}

/// A request for the contract, signed by `from`.
pub(crate) fn request(contract: TermsId, from: Seat, key: &str, words: Vec<Word>) -> Request {
    let digest = Request::message(contract, from, key, &words, None).unwrap();
    Request {
        format: REQUEST_FORMAT.to_owned(),
        contract,
        from,
        key: key.to_owned(),
        words,
        psbt: None,
        signature: signer(from).sign_digest(digest).unwrap(),
    }
}

impl Town {
    /// The escrow is funded; nobody sits at a desk yet.
    pub(crate) fn funded() -> Self {
        Self::at(Table::funded())
    }

    /// The same at this table, where the escrow is funded.
    pub(crate) fn at(mut table: Table) -> Self {
        for place in 0..3 {
            table.leave(Seat::Validator(place));
        }
        let second = Proxy::to(&table.node.electrum_url());
        let ways = (0..3).map(|_| Way::Away).collect();
        let town = Self { table, second, ways, asked: 0 };
        for place in 0..3 {
            fs::create_dir(town.home(place)).unwrap();
            let seed = people::seed(&people::name(Seat::Validator(place))).unwrap();
            let passphrase = Passphrase::known(Zeroizing::new(PASSPHRASE.to_owned())).unwrap();
            let sealed = seal(&seed, &passphrase, Stretch::REHEARSED).unwrap();
            for (name, text) in [("seed", sealed.as_str()), ("passphrase", PASSPHRASE)] {
                let path = town.home(place).join(name);
                fs::write(&path, text).unwrap();
                private(&path);
            }
        }
        town
    }

    pub(crate) fn id(&self) -> TermsId {
        self.table.terms.id().unwrap()
    }

    pub(crate) fn home(&self, place: u8) -> PathBuf {
        self.table.dir.path().join(format!("desk-{place}"))
    }

    pub(crate) fn sources(&self) -> Sources {
        Sources {
            network: Network::Regtest,
            electrum: vec![self.table.node.electrum_url(), self.second.url()],
            core: None,
        }
    }

    /// Opens a validator's desk in this process.
    pub(crate) fn open(&self, place: u8) -> Desk {
        let seed = people::seed(&people::name(Seat::Validator(place))).unwrap();
        Desk::open(&self.home(place), seed, self.sources()).unwrap()
    }

    /// Registers the contract at every desk, which is then reached in this process.
    pub(crate) fn registered() -> Self {
        let mut town = Self::funded();
        let text = registration(&town.table).to_json().unwrap();
        for place in 0..3 {
            let mut desk = town.open(place);
            assert_eq!(desk.register(&text).unwrap(), town.id());
            town.ways[usize::from(place)] = Way::Desk(Box::new(desk));
        }
        town
    }

    /// The arguments that every command of a desk has.
    pub(crate) fn desk_arguments(&self, place: u8) -> Vec<String> {
        let home = self.home(place).to_str().unwrap().to_owned();
        let (first, second) = (self.table.node.electrum_url(), self.second.url());
        let passphrase = self.home(place).join("passphrase").to_str().unwrap().to_owned();
        let home = ["--home", &home, "--passphrase-file", &passphrase, "--network", "regtest"];
        let servers = ["--electrum", &first, "--electrum", &second];
        home.into_iter().chain(servers).map(str::to_owned).collect()
    }

    /// A file in the town's folder.
    pub(crate) fn file(&self, name: &str, contents: &str) -> String {
        let path = self.table.dir.path().join(name);
        fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn desk(&mut self, place: u8) -> &mut Desk {
        match &mut self.ways[usize::from(place)] {
            Way::Desk(desk) => desk,
            _ => panic!("validator {place} is not reached in this process"),
        }
    }

    /// Hands a request in, the way that leads to the validator; `None` if he is away.
    pub(crate) fn hand_in(&mut self, place: u8, request: &Request) -> Option<Answer> {
        let text = request.to_json().unwrap();
        let said = match &mut self.ways[usize::from(place)] {
            Way::Away => return None,
            Way::Desk(desk) => desk.hand_in(&text, REQUEST_MAX_BYTES).unwrap(),
            Way::Http(server) => {
                let (status, said) = server.post("/v1/requests", &text);
                assert_eq!(status, 200, "{said}");
                said
            }
            Way::Command => {
                let file = self.file("request.json", &text);
                let arguments = self.desk_arguments(place);
                let out = command(&["validator", "rule", &file], &arguments);
                String::from_utf8(out.stdout).unwrap()
            }
        };
        let answer = Answer::from_json(said.trim_end()).unwrap();
        answer.verify(&self.table.terms).unwrap();
        assert_eq!((answer.contract, answer.from), (self.id(), Seat::Validator(place)));
        Some(answer)
    }

    /// The words that wait for a validator in the parties' folder, in their order; they are taken
    /// away.
    pub(crate) fn mail(&self, place: u8) -> Vec<Word> {
        let seat = Seat::Validator(place);
        let names = self.table.names(seat, "inbox");
        let take = |name: &String| {
            let path = self.table.folder(seat, "inbox").join(name);
            let word = Word::from_json(&fs::read_to_string(&path).unwrap()).unwrap();
            fs::remove_file(path).unwrap();
            word
        };
        names.iter().map(take).collect()
    }

    /// Brings a validator what waits for him, in the miner's name, and everybody what he says.
    pub(crate) fn bring(&mut self, place: u8) -> Option<Answer> {
        if matches!(self.ways[usize::from(place)], Way::Away) {
            return None;
        }
        self.asked += 1;
        let words = self.mail(place);
        let request = request(self.id(), Seat::Miner, &format!("round {}", self.asked), words);
        let answer = self.hand_in(place, &request)?;
        self.spread(&answer);
        Some(answer)
    }

    /// Gives everybody else what a validator said.
    pub(crate) fn spread(&self, answer: &Answer) {
        for numbered in &answer.words {
            let name = format!("from-{}-{:05}.json", numbered.word.from, numbered.number);
            let text = numbered.word.to_json().unwrap();
            for seat in crate::world::SEATS.into_iter().filter(|seat| *seat != answer.from) {
                self.table.drop_letter(seat, &name, text.as_bytes());
            }
        }
    }

    /// Parties step and validators are asked until nobody has anything new to say.
    pub(crate) fn round(&mut self) {
        loop {
            self.table.everybody();
            let mut quiet = true;
            for place in 0..3 {
                quiet &= self.bring(place).is_none_or(|answer| answer.words.is_empty());
            }
            if quiet {
                self.table.everybody();
                return;
            }
        }
    }

    /// The first period in full, half of the second, and the miner asks for a ruling on it while
    /// the holder is gone.
    pub(crate) fn dispute(&mut self) {
        self.table.deliver(0, FULL);
        self.round();
        self.table.deliver(1, FULL / 2);
        self.round();
        self.table.ask_for_a_ruling(1);
        self.round();
    }
}

#[cfg(unix)]
pub(crate) fn private(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Runs the command.
pub(crate) fn command(first: &[&str], more: &[String]) -> Output {
    let out = Command::new(env!("CARGO_BIN_EXE_hashmix")).args(first).args(more).output().unwrap();
    let err = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!err.contains("panicked"), "{err}");
    out
}
