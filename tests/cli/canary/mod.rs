//! Secrets stay inside: known ones are looked for, in every form, wherever something could come
//! out. What is planted is found, so that what is not found is not there.

mod forms;
mod validators;
mod watch;

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use bitcoin::{Network, NetworkKind};
use hashmix::chain::core::Auth;
use hashmix::error::Result;
use hashmix::musig::KeyContext;
use hashmix::party::Seat;
use hashmix::rehearsal::people;
use hashmix::sign::sealed::{self, Passphrase, Stretch};
use hashmix::sign::seed::Seed;
use hashmix::sign::software::SoftwareSigner;
use hashmix::store::Store;
use hashmix::wallet::Wallet;

use crate::desk::{Desk, address, text};
use forms::Forms;
use watch::{Seen, command, files, listed, watch};

/// What the canary's seed is encrypted with, and one that is typed by mistake.
const PASSPHRASE: &str = "yellow bird in a coal mine";
const MISTYPED: &str = "yellow bird in a gold mine";

/// A seed that no file of ours has ever held.
fn canary() -> Seed {
    Seed::from_entropy(b"a canary sings as long as it can", "").unwrap()
}

/// Its secrets in all their forms.
fn forms() -> Forms {
    let mut forms = Forms::default();
    forms.person("canary", &canary());
    forms.text("passphrase", PASSPHRASE);
    forms.text("mistyped passphrase", MISTYPED);
    forms
}

/// A desk with the canary's files: its seed encrypted, in plain and damaged, and passphrases.
struct Cage {
    desk: Desk,
    sealed: String,
    damaged: String,
    plain: String,
    right: String,
    wrong: String,
}

impl Cage {
    fn new() -> Self {
        let desk = Desk::new();
        let phrase = Passphrase::chosen(PASSPHRASE.to_owned().into()).unwrap();
        let file = sealed::seal(&canary(), &phrase, Stretch::REHEARSED).unwrap();
        let words = canary().words().unwrap();
        Self {
            sealed: desk.private("sealed", &file),
            damaged: desk.private("damaged", &file[..file.len() - 60]),
            plain: desk.private("plain", words.as_bytes()),
            right: desk.private("right", PASSPHRASE),
            wrong: desk.private("wrong", MISTYPED),
            desk,
        }
    }

    /// The files that hold a secret because we put it there.
    fn is_planted(&self, path: &Path) -> bool {
        [&self.plain, &self.right, &self.wrong].iter().any(|planted| Path::new(planted) == path)
    }
}

#[test]
fn every_form_that_is_planted_is_found_wherever_it_stands() {
    let forms = forms();
    assert!(forms.all.len() > 1_000, "{} forms", forms.all.len());
    for (name, form) in &forms.all {
        for ahead in [0, 1, 4_095] {
            let text = [&vec![b'#'; ahead], form.as_slice(), b"behind"].concat();
            assert!(forms.found_in(&text).contains(&name.as_str()), "{name} behind {ahead}");
        }
        let most = &form[..form.len() - 1];
        assert!(!forms.found_in(most).contains(&name.as_str()), "{name} without its end");
    }
    // As other programs write them.
    let seed = canary();
    let funds = seed.funds(Network::Regtest).unwrap();
    let descriptor = format!("tr({}/0/*)", funds.secret_expression().as_str());
    assert!(!forms.found_in(descriptor.as_bytes()).is_empty());
    let json = serde_json::json!({ "words": seed.words().unwrap().split(' ').collect::<Vec<_>>() });
    for json in [json.to_string(), serde_json::to_string_pretty(&json).unwrap()] {
        let lines: Vec<&str> = json.lines().map(str::trim).collect();
        assert!(!forms.found_in(lines.join(" ").replace("\",\"", "\", \"").as_bytes()).is_empty());
    }
}

#[test]
fn whoever_watches_sees_what_is_planted_in_arguments_environment_output_and_store() {
    let forms = forms();
    let words = canary().words().unwrap();
    let mut leaks = command(&["seed", "restore", "--words", "-", "--out", &words]);
    leaks.env("SEED", canary().master(NetworkKind::Main).unwrap().xpriv().to_string());
    let seen = watch(&mut leaks, "no words\n", |_| ());
    assert_eq!(seen.code, Some(3));
    let listed = forms.found_in(&seen.listed);
    assert!(listed.iter().any(|name| name.contains("words")), "{listed:?}");
    assert!(listed.iter().any(|name| name.contains("xprv")), "{listed:?}");
    let seen = watch(&mut command(&["rules", &words]), "", |_| ());
    assert!(!forms.found_in(&seen.said).is_empty(), "an argument is repeated");

    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path().join("store.sqlite")).unwrap();
    let key = canary().record(Network::Regtest, 0).unwrap().communication().secret_bytes();
    store.remember(&[0; 32], "leak", &key).unwrap();
    let files = files(folder.path());
    assert!(files.iter().any(|(_, _, held)| !forms.found_in(held).is_empty()), "before its end");
    assert!(files.len() > 1, "a journal lies beside the store");
}

/// Commands that work, and that fail on the way, all of them with the canary's files.
fn commands(cage: &Cage) -> Vec<Vec<String>> {
    let Cage { desk, sealed, damaged, plain, right, wrong } = cage;
    let (terms, _) = desk.terms();
    let descriptor = {
        let funds = canary().funds(Network::Regtest).unwrap();
        desk.private("descriptor", format!("tr({}/0/*)", funds.secret_expression().as_str()))
    };
    let payout = address(Network::Regtest);
    let path = |name: &str| text(&desk.path(name));
    let [home, elsewhere] = ["home", "elsewhere"].map(path);
    let mut all: Vec<Vec<String>> = Vec::new();
    let mut add = |arguments: &[&str]| {
        all.push(arguments.iter().map(|argument| (*argument).to_owned()).collect());
    };
    let opened = [
        ["--seed", sealed, "--passphrase-file", right],
        ["--seed", sealed, "--passphrase-file", wrong],
        ["--seed", sealed, "--passphrase-file", "-"],
        ["--seed", sealed, "--passphrase-file", plain],
        ["--seed", damaged, "--passphrase-file", right],
        ["--seed", plain, "--passphrase-file", right],
        ["--seed", right, "--passphrase-file", plain],
    ];
    for (number, opened) in opened.iter().enumerate() {
        let out = path(&format!("record {number}"));
        let record = ["record", "new", "--number", "0", "--role", "miner", "--network", "regtest"];
        let rest = ["--contract", "a deal", "--payout", &payout];
        add(&[&record[..], opened, &rest].concat());
        add(&[&record[..], opened, &rest, &["--out", &out]].concat());
        let out = path(&format!("sealed {number}"));
        let to = ["--out", &out, "--new-passphrase-file", right, "--rehearse"];
        add(&[&["seed", "passphrase"], &opened[..], &to].concat());
        add(&[&["seed", "words"], &opened[..]].concat());
        for network in ["regtest", "bitcoin"] {
            let own = ["--home", if network == "regtest" { &home } else { &elsewhere }];
            let on = ["--network", network];
            add(&[&["wallet", "address"], &opened[..], &own, &on].concat());
            // One server that is not there is enough: it is tried again and again.
            let url = if network == "regtest" { "tcp://127.0.0.1:1" } else { "nonsense" };
            let server = ["--electrum", url];
            add(&[&["wallet", "balance"], &opened[..], &own, &on, &server].concat());
            let to = ["--to", &payout, "--sat", "1000"];
            add(&[&["wallet", "send"], &opened[..], &own, &on, &server, &to].concat());
        }
        // The line of a person who is in a hurry: the rest of it is missing.
        add(&[&["wallet", "balance"], &opened[..]].concat());
        add(&[&["seed", "words", "--help"], &opened[..]].concat());
    }
    for words in [plain.as_str(), right, damaged, "-"] {
        let out = path("restored");
        let to = ["--out", &out, "--passphrase-file", right, "--rehearse"];
        add(&[&["seed", "restore", "--words", words], &to[..]].concat());
    }
    // A secret's file where another one belongs.
    for file in [plain, right, &descriptor] {
        add(&["terms", "check", file]);
        add(&["terms", "show", file]);
        add(&["record", "check", file]);
        add(&["descriptor", "check", file]);
        add(&["descriptor", "check", file, "--terms", &terms]);
        add(&["psbt", "check", file, "--terms", &terms]);
        add(&["psbt", "check", file, "--terms", file]);
        add(&["work", "verify", file, "--script", "51"]);
        add(&["work", "certificate", file, "--terms", file]);
        add(&["headers", "show", "--home", file, "--network", "regtest"]);
    }
    add(&["--help"]);
    add(&["rules", "seed"]);
    all
}

#[test]
fn no_command_lets_a_secret_out_whether_it_works_or_fails() {
    let (forms, cage) = (forms(), Cage::new());
    let mut done = 0;
    for arguments in commands(&cage) {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let Seen { code, said, listed } =
            watch(&mut command(&arguments), &format!("{PASSPHRASE}\n"), |_| ());
        let line = String::from_utf8_lossy(&said);
        assert!(code.is_some() && !line.contains("panicked"), "{arguments:?}: {line}");
        assert_eq!(forms.found_in(&said), [""; 0], "{arguments:?} says");
        assert_eq!(forms.found_in(&listed), [""; 0], "{arguments:?} shows");
        done += usize::from(code == Some(0));
    }
    assert!(done > 15, "only {done} commands worked");
    let planted = cage.desk.path("descriptor");
    let mut clean = 0;
    for (path, mode, held) in files(cage.desk.dir.path()) {
        let found = forms.found_in(&held);
        if cage.is_planted(&path) || path == planted {
            assert!(!found.is_empty(), "{} lost what was planted", path.display());
            continue;
        }
        assert_eq!(found, [""; 0], "{} holds", path.display());
        clean += 1;
        // A record and the terms are for others to read.
        let public = ["record", "terms"];
        let name = path.file_name().unwrap().to_str().unwrap();
        if !public.iter().any(|kind| name.starts_with(kind)) {
            assert_eq!(mode, 0o600, "{}", path.display());
        }
    }
    assert!(clean > 8, "only {clean} files were looked at");
}

#[test]
fn nobody_sees_a_secret_while_the_command_holds_it() {
    let (forms, cage) = (forms(), Cage::new());
    // A server that never answers: the seed is open while the command waits for it.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", server.local_addr().unwrap());
    let home = text(&cage.desk.path("home"));
    let arguments = ["wallet", "balance", "--network", "regtest", "--electrum", &url];
    let own = ["--home", &home, "--seed", &cage.sealed, "--passphrase-file", "-"];
    let (mut shown, mut client) = (Vec::new(), None);
    let mut asks = command(&[&arguments[..], &own].concat());
    server.set_nonblocking(true).unwrap();
    let seen = watch(&mut asks, &format!("{PASSPHRASE}\n"), |child| {
        client = client.take().or_else(|| server.accept().ok());
        if client.is_some() {
            shown.extend(listed(child));
            for (path, mode, held) in files(Path::new(&home)) {
                assert_eq!(mode, 0o600, "{}", path.display());
                assert_eq!(forms.found_in(&held), [""; 0], "{}", path.display());
            }
            child.kill().unwrap();
        }
    });
    assert!(client.is_some(), "{}", String::from_utf8_lossy(&seen.said));
    assert!(shown.windows(6).any(|window| window == b"wallet"), "nothing was shown");
    assert_eq!(forms.found_in(&shown), [""; 0]);
    assert_eq!(forms.found_in(&seen.said), [""; 0]);
}

#[test]
fn a_command_that_dies_for_want_of_memory_takes_its_secrets_with_it() {
    let (forms, cage) = (forms(), Cage::new());
    let out = text(&cage.desk.path("out"));
    let mut dies = Command::new("sh");
    // The full stretch takes 256 MiB, which the limit does not leave.
    dies.args(["-c", "ulimit -c 0; ulimit -v 200000; exec \"$@\"", "sh"]);
    dies.arg(env!("CARGO_BIN_EXE_hashmix")).env("RUST_BACKTRACE", "full");
    dies.args(["seed", "restore", "--words", &cage.plain, "--out", &out]);
    dies.args(["--passphrase-file", &cage.right]);
    let seen = watch(&mut dies, "", |_| ());
    let line = String::from_utf8_lossy(&seen.said);
    assert_eq!(seen.code, None, "a signal ended it: {line}");
    assert!(line.contains("memory allocation"), "{line}");
    assert_eq!(forms.found_in(&seen.said), [""; 0]);
    assert!(!cage.desk.path("out").exists());
}

/// Everything of ours that holds a secret, printed, as a panic would print it.
fn printed() -> Result<Vec<String>> {
    let seed = canary();
    let secrets = || seed.record(Network::Regtest, 0);
    let signer = SoftwareSigner::new(secrets()?, Network::Regtest)?;
    let other = SoftwareSigner::new(seed.record(Network::Regtest, 1)?, Network::Regtest)?;
    let keys = [&signer, &other].map(|signer| {
        let xpub = signer.keys().musig;
        let xpub: bitcoin::bip32::Xpub = xpub.rsplit(']').next().unwrap().parse().unwrap();
        xpub.public_key
    });
    let context = KeyContext::new(&keys, &[], None)?;
    let (nonce, public) = signer.begin(&context, [7; 32])?;
    let master = seed.master(NetworkKind::Test)?;
    let mut store = Store::open_in_memory()?;
    let wallet = Wallet::create_or_load(&mut store, *master.xpriv(), Network::Regtest)?;
    let phrase = Passphrase::chosen(PASSPHRASE.to_owned().into())?;
    let auth = Auth::Password { user: "miner".to_owned(), password: PASSPHRASE.to_owned() };
    let sealed = sealed::seal(&seed, &phrase, Stretch::REHEARSED)?;
    let mistyped = Passphrase::known(MISTYPED.to_owned().into())?;
    let refused = sealed::open(sealed.as_bytes(), &mistyped).unwrap_err();
    let all: [&dyn std::fmt::Debug; 14] = [
        &seed,
        &master,
        &secrets()?,
        &signer,
        &context,
        &nonce,
        &public,
        &wallet,
        &store,
        &phrase,
        &auth,
        &refused,
        &signer.keys(),
        &sealed,
    ];
    let mut texts: Vec<String> =
        all.iter().flat_map(|one| [format!("{one:?}"), format!("{one:#?}")]).collect();
    texts.push(refused.to_string());
    texts.push(panics(move || failed(seed).unwrap()));
    texts.push(panics(move || failed(signer).unwrap()));
    texts.push(panics(move || failed(phrase).expect("a passphrase")));
    texts.push(panics(move || failed(nonce).unwrap()));
    Ok(texts)
}

/// What code in trouble may hold.
fn failed<T>(secret: T) -> std::result::Result<(), T> {
    Err(secret)
}

/// The text of a panic.
fn panics(forced: impl FnOnce()) -> String {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(forced)).unwrap_err();
    caught.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn what_holds_a_secret_prints_none_not_even_in_a_panic() {
    let forms = forms();
    let texts = printed().unwrap();
    for text in &texts {
        assert_eq!(forms.found_in(text.as_bytes()), [""; 0], "{text}");
    }
    let panic = texts.iter().find(|text| text.contains("unwrap()")).unwrap();
    assert!(panic.contains("Seed(..)"), "{panic}");
    // The same way finds what does print itself.
    let words = canary().words().unwrap().to_string();
    let leak = panics(|| failed(words).unwrap());
    assert!(!forms.found_in(leak.as_bytes()).is_empty());
}

#[test]
fn a_whole_deal_and_a_positions_life_leave_no_secret_in_stores_letters_and_story() {
    let seats = [Seat::Miner, Seat::Holder].into_iter();
    let seats = seats.chain((0..people::VALIDATORS).map(Seat::Validator));
    let mut forms = Forms::default();
    for seat in seats {
        forms.person(&people::name(seat), &people::seed(&people::name(seat)).unwrap());
    }
    for name in ["first buyer", "second buyer"] {
        forms.person(name, &people::seed(name).unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    let keep = folder.path().join("kept");
    let (mut journals, mut looks) = (0, 0);
    let mut judge = || {
        for (path, mode, held) in files(&keep) {
            assert_eq!(forms.found_in(&held), [""; 0], "{} holds", path.display());
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.contains(".sqlite") {
                assert_eq!(mode, 0o600, "{}", path.display());
                journals += usize::from(name.ends_with("-wal") && !held.is_empty());
            }
        }
        looks += 1;
    };
    let mut last = std::time::Instant::now();
    let seen = watch(&mut command(&["demo", "--keep", &text(&keep)]), "", |_| {
        // While the stores are open their journals lie beside them.
        if last.elapsed().as_secs() >= 2 {
            judge();
            last = std::time::Instant::now();
        }
    });
    judge();
    assert_eq!(seen.code, Some(0), "{}", String::from_utf8_lossy(&seen.said));
    assert_eq!(forms.found_in(&seen.said), [""; 0]);
    assert_eq!(forms.found_in(&seen.listed), [""; 0]);
    assert!(looks > 1 && journals > 0, "{looks} looks, {journals} journals");
    let stores = files(&keep);
    let stores = stores.iter().filter(|(path, ..)| path.extension().is_some_and(|e| e == "sqlite"));
    assert_eq!(stores.count(), 5 + 7, "everybody has a store");
}
