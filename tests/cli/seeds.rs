//! Seeds and records.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use bitcoin::Network;
use hashmix::party::Record;
use hashmix::sign::sealed::{self, Passphrase, Stretch};
use hashmix::sign::seed::Seed;

use crate::desk::{Desk, PASSPHRASE, Said, address, ok, refused, run, text};

/// The mnemonic of BIP-86's vectors, and its fingerprint.
const ABOUT: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                     abandon abandon about";
const ABOUT_SHOWN: &str = "fingerprint  73c5da0a";

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
    arguments.extend(["--passphrase-file".into(), desk.phrase()]);
    arguments
}

fn strs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// Runs the binary with this standard input.
fn fed(arguments: &[&str], input: &str) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hashmix"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap_or(-1);
    Said { code, out: text(output.stdout), err: text(output.stderr) }
}

/// What a library user reads from a file that the command made.
fn opened(path: &str, passphrase: &str) -> hashmix::error::Result<Seed> {
    let passphrase = Passphrase::known(passphrase.to_owned().into()).unwrap();
    sealed::open(&std::fs::read(path).unwrap(), &passphrase)
}

#[test]
fn a_seed_is_written_encrypted_for_its_owner_alone_and_shown_to_nobody() {
    let desk = Desk::new();
    let path = text(&desk.path("seed"));
    let phrase = desk.phrase();
    let new = ["seed", "new", "--out", &path, "--passphrase-file", &phrase, "--rehearse"];
    let out = ok(&new);
    let file = std::fs::read_to_string(&path).unwrap();
    assert!(file.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"), "{file}");
    assert_eq!(desk.path("seed").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let seed = opened(&path, PASSPHRASE).unwrap();
    let words = seed.words().unwrap();
    assert_eq!(words.split(' ').count(), 24);
    let three: Vec<&str> = words.split(' ').take(3).collect();
    for shown in [&out, &file] {
        assert!(!shown.contains(&three.join(" ")) && !shown.contains(PASSPHRASE));
    }
    assert!(out.contains(&seed.fingerprint().unwrap().to_string()), "{out}");
    refused(&new, "cli-out-free", 2);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), file);
    assert_eq!(desk.names(), ["phrase", "seed"]);
}

#[test]
fn a_passphrase_that_is_wrong_short_or_for_others_to_read_opens_nothing() {
    let desk = Desk::new();
    let (seed, _) = desk.seed("seed");
    let mut arguments = record(&desk, &seed, "0", "a.json");
    *arguments.last_mut().unwrap() = desk.private("other", "canary battery staple");
    let line = refused(&strs(&arguments), "seed-passphrase", 2);
    assert!(line.contains(&seed) && !line.contains("canary"), "{line}");
    std::fs::set_permissions(desk.path("other"), Permissions::from_mode(0o644)).unwrap();
    let line = refused(&strs(&arguments), "seed-private", 2);
    assert!(line.contains("other"), "{line}");
    let short = desk.private("short", "canary");
    let out = text(&desk.path("new"));
    let new = ["seed", "new", "--out", &out, "--rehearse", "--passphrase-file"];
    let line = refused(&[&new[..], &[short.as_str()]].concat(), "seed-passphrase-form", 2);
    assert!(line.contains("short") && !line.contains("canary"), "{line}");
    assert_eq!(desk.names(), ["other", "phrase", "seed", "short"]);
}

#[test]
fn without_a_terminal_nobody_is_asked_and_no_words_are_shown() {
    let desk = Desk::new();
    let (seed, phrase) = desk.seed("seed");
    let mut arguments = record(&desk, &seed, "0", "a.json");
    arguments.truncate(arguments.len() - 2);
    for arguments in [
        &strs(&arguments)[..],
        &["seed", "new", "--out", "new"],
        &["seed", "restore", "--out", "new", "--passphrase-file", &phrase],
        &["seed", "words", "--seed", &seed, "--passphrase-file", &phrase],
    ] {
        let said = fed(arguments, &format!("{PASSPHRASE}\n{PASSPHRASE}\n"));
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{arguments:?}");
        assert!(said.err.contains("[seed-terminal]"), "{}", said.err);
    }
    assert_eq!(desk.names(), ["phrase", "seed"]);
}

#[test]
fn words_from_paper_and_secrets_from_standard_input_give_the_same_seed() {
    let desk = Desk::new();
    let words = desk.private("words", format!("{ABOUT}\n"));
    let [one, two] = ["one", "two"].map(|name| text(&desk.path(name)));
    let restore = ["seed", "restore", "--rehearse", "--out", &one, "--words", &words];
    let out = ok(&[&restore[..], &["--passphrase-file", &desk.phrase()]].concat());
    assert!(out.contains(ABOUT_SHOWN), "{out}");
    // Line by line, in the order in which they are needed.
    let restore = ["seed", "restore", "--rehearse", "--out", &two, "--words", "-"];
    let said = fed(
        &[&restore[..], &["--passphrase-file", "-"]].concat(),
        &format!("{ABOUT}\n{PASSPHRASE}\nmore\n"),
    );
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    assert_eq!(opened(&two, PASSPHRASE).unwrap().words().unwrap().as_str(), ABOUT);
    assert!(!said.out.contains("abandon"));

    let wrong = ABOUT.replace("about", "canary");
    let restore = ["seed", "restore", "--out", "no", "--words", "-", "--passphrase-file", &words];
    let said = fed(&restore, &format!("{wrong}\n"));
    assert_eq!(said.code, 3);
    assert!(said.err.contains("[seed-words]") && !said.err.contains("canary"), "{}", said.err);
}

#[test]
fn a_change_of_passphrase_makes_another_file_and_leaves_the_old_one() {
    let desk = Desk::new();
    let (old, phrase) = desk.seed("old");
    let before = std::fs::read(&old).unwrap();
    let fingerprint = opened(&old, PASSPHRASE).unwrap().fingerprint().unwrap();
    let other = "staple battery horse correct";
    let new = text(&desk.path("new"));
    let change = ["seed", "passphrase", "--rehearse", "--seed", &old, "--out", &new];
    let said = fed(
        &[&change[..], &["--passphrase-file", "-", "--new-passphrase-file", "-"]].concat(),
        &format!("{PASSPHRASE}\n{other}\n"),
    );
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    assert_eq!(opened(&new, other).unwrap().fingerprint().unwrap(), fingerprint);
    assert_eq!(opened(&new, PASSPHRASE).unwrap_err().rule(), "seed-passphrase");
    assert_eq!(std::fs::read(&old).unwrap(), before);
    let onto = ["--passphrase-file", &phrase, "--new-passphrase-file", &phrase];
    refused(&[&change[..], &onto].concat(), "cli-out-free", 2);
}

#[test]
fn a_seed_in_plain_still_works_with_a_warning_and_becomes_an_encrypted_one() {
    let desk = Desk::new();
    let plain = desk.private("plain", format!("{ABOUT}\n"));
    let said = run(&strs(&record(&desk, &plain, "0", "a.json")));
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(said.err.lines().count(), 1, "{}", said.err);
    assert!(said.err.contains("not encrypted") && said.err.contains("seed passphrase"));
    let sealed = text(&desk.path("sealed"));
    let phrase = desk.phrase();
    let out = ok(&[
        "seed",
        "passphrase",
        "--rehearse",
        "--seed",
        &plain,
        "--out",
        &sealed,
        "--new-passphrase-file",
        &phrase,
    ]);
    assert!(out.contains(ABOUT_SHOWN) && out.contains("erase"), "{out}");
    ok(&strs(&record(&desk, &sealed, "0", "b.json")));
    let keys = |name| {
        let record = std::fs::read_to_string(desk.path(name)).unwrap();
        Record::from_json(&record).unwrap().record
    };
    assert_eq!(keys("a.json"), keys("b.json"));
}

#[test]
fn what_the_library_encrypts_the_command_reads() {
    let desk = Desk::new();
    let seed = Seed::from_words(ABOUT, "").unwrap();
    let passphrase = Passphrase::chosen(PASSPHRASE.to_owned().into()).unwrap();
    let file = sealed::seal(&seed, &passphrase, Stretch::REHEARSED).unwrap();
    let path = desk.private("seed", file);
    ok(&strs(&record(&desk, &path, "0", "a.json")));
}

#[test]
fn records_of_one_seed_are_distinct_and_the_same_number_twice_is_found_out() {
    let desk = Desk::new();
    let (seed, _) = desk.seed("seed");
    for (number, out) in [("0", "a.json"), ("1", "b.json"), ("0", "c.json")] {
        let out = ok(&strs(&record(&desk, &seed, number, out)));
        assert!(out.contains(&format!("never use number {number}")), "{out}");
    }
    let [a, b, c] = ["a.json", "b.json", "c.json"].map(|name| text(&desk.path(name)));
    let out = ok(&["record", "check", &a, &b]);
    assert!(out.contains("no two of 2 share a key"), "{out}");
    refused(&["record", "check", &a, &b, &c], "record-distinct", 3);
    Record::from_json(&std::fs::read_to_string(&a).unwrap()).unwrap();
}

#[test]
fn a_record_for_an_address_of_another_network_is_refused_by_name_and_leaves_no_file() {
    let desk = Desk::new();
    let (seed, _) = desk.seed("seed");
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
    assert_eq!(desk.names(), ["phrase", "seed"]);
}

#[test]
fn a_seed_that_others_may_read_or_that_is_no_seed_is_refused_without_repeating_it() {
    let desk = Desk::new();
    let seed = desk.private("seed", "abandon abandon canary");
    std::fs::set_permissions(&seed, Permissions::from_mode(0o640)).unwrap();
    let arguments = record(&desk, &seed, "0", "a.json");
    refused(&strs(&arguments), "seed-private", 2);
    std::fs::set_permissions(&seed, Permissions::from_mode(0o600)).unwrap();
    let line = refused(&strs(&arguments), "seed-words", 3);
    assert!(!line.contains("canary") && !line.contains("abandon"), "{line}");
    std::fs::write(&seed, "-----BEGIN AGE ENCRYPTED FILE-----\ncanary").unwrap();
    let line = refused(&strs(&arguments), "seed-sealed", 3);
    assert!(!line.contains("canary"), "{line}");
    std::fs::write(&seed, [0xff; 5000]).unwrap();
    refused(&strs(&arguments), "cli-text", 3);
    std::fs::remove_file(&seed).unwrap();
    refused(&strs(&arguments), "cli-file", 2);
    assert!(run(&strs(&arguments)).out.is_empty());
}
