//! Whatever is handed to the command, it answers with one line, a rule and an exit code.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::certificates::certificate;
use crate::contracts::draft;
use crate::desk::{Desk, address, ok, refused, run, text};

/// Damaged files a kind: enough to try every damage several times, few enough to start so many
/// processes.
const CASES: usize = 24;

const SEED: [u8; 32] = *b"hashmix: damaged files, seed one";

fn runner() -> TestRunner {
    println!("seed {:?}", core::str::from_utf8(&SEED).unwrap());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &SEED);
    TestRunner::new_with_rng(Config::default(), rng)
}

/// A damaged copy: cut off, a byte flipped, or a piece repeated.
fn damaged(runner: &mut TestRunner, whole: &[u8]) -> Vec<u8> {
    let strategy = (0..3usize, 0..whole.len(), 1..=255u8, 1..64usize);
    let (how, place, mask, length) = strategy.new_tree(runner).unwrap().current();
    let mut bytes = whole.to_vec();
    match how {
        0 => bytes.truncate(place),
        1 => bytes[place] ^= mask,
        _ => {
            let piece = whole[place..(place + length).min(whole.len())].to_vec();
            bytes.splice(place..place, piece);
        }
    }
    bytes
}

#[test]
fn damaged_files_of_every_kind_are_refused_in_one_line_or_still_mean_the_same() {
    let desk = Desk::new();
    let (terms_file, terms) = desk.terms();
    let terms_json = std::fs::read(&terms_file).unwrap();
    let record = terms.reward.miner.to_json();
    let descriptor = ok(&["terms", "descriptor", &terms_file]);
    let descriptor = descriptor.lines().find(|line| line.starts_with("tr(")).unwrap().to_owned();
    let psbt = draft(&terms, false).psbt().unwrap();
    let share =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/mainnet/block_702861.json"))
            .unwrap();
    let script = "00143156afc4249915008020f932783319f3e610b97d";
    let file = text(&desk.path("damaged"));
    let kinds: [(&str, Vec<u8>, Vec<&str>); 7] = [
        ("terms", terms_json, vec!["terms", "check", &file]),
        ("record", record.into_bytes(), vec!["record", "check", &file]),
        ("share", share, vec!["work", "verify", &file, "--script", script]),
        (
            "certificate",
            certificate(&terms, 125).to_json().into_bytes(),
            vec!["work", "verify", &file, "--terms", &terms_file],
        ),
        ("binary PSBT", psbt.serialize(), vec!["psbt", "check", &file, "--terms", &terms_file]),
        (
            "PSBT in Base64",
            psbt.to_string().into_bytes(),
            vec!["psbt", "check", &file, "--terms", &terms_file],
        ),
        (
            "descriptor",
            descriptor.into_bytes(),
            vec!["descriptor", "check", &file, "--network", "regtest"],
        ),
    ];
    let mut runner = runner();
    for (kind, whole, arguments) in kinds {
        std::fs::write(&file, &whole).unwrap();
        ok(&arguments);
        let mut refusals = 0;
        for _ in 0..CASES {
            std::fs::write(&file, damaged(&mut runner, &whole)).unwrap();
            let said = run(&arguments);
            match said.code {
                // White space, or a field that nothing was agreed on, may change.
                0 => assert_eq!(said.err, "", "{kind}"),
                2 | 3 => {
                    refusals += 1;
                    assert_eq!(said.err.lines().count(), 1, "{kind}: {}", said.err);
                    assert!(said.err.contains('[') && said.out.is_empty(), "{kind}: {}", said.err);
                }
                code => panic!("{kind}: exit code {code}: {}", said.err),
            }
        }
        assert!(refusals > CASES / 2, "{kind}: only {refusals} of {CASES} refused");
    }
}

#[test]
fn empty_and_foreign_files_are_refused_by_their_parsers_rule() {
    let desk = Desk::new();
    let (terms, _) = desk.terms();
    for contents in [&b""[..], b"{}", b"[[[[[[", b"\xff\xfe\x00", &[b'['; 200_000]] {
        let file = desk.put("file", contents);
        let not_text = core::str::from_utf8(contents).is_err();
        let rule = |own: &'static str, longest: usize| {
            if not_text || contents.len() > longest { "cli-text" } else { own }
        };
        refused(&["terms", "check", &file], rule("terms-form", 262_144), 3);
        refused(&["record", "check", &file], rule("record-form", 16_384), 3);
        let arguments = ["work", "verify", &file, "--terms", &terms];
        // A certificate may be in columns, which are no text.
        refused(&arguments, "work-certificate-format", 3);
        refused(&["psbt", "check", &file, "--terms", &terms], "psbt-form", 3);
        let own = rule("descriptor-form", 65_536);
        refused(&["descriptor", "check", &file], own, 3);
    }
}

#[test]
fn wrong_arguments_are_answered_with_one_line() {
    let address = address(bitcoin::Network::Regtest);
    let wrong: [&[&str]; 10] = [
        &[],
        &["work"],
        &["nonsense"],
        &["terms", "check"],
        &["terms", "check", "a", "b"],
        &["terms", "address", "a", "--index", "-1"],
        &["terms", "address", "a", "--lock", "vault"],
        &["wallet", "send", "--home", "h", "--network", "moon", "--electrum", "tcp://x:1"],
        &["work", "verify", "a", "--script", "51", "--address", &address],
        &["rules", "work", "--markdown"],
    ];
    for arguments in wrong {
        refused(arguments, "cli-arguments", 2);
    }
    refused(&["rules", "no-such-rule"], "cli-rule", 2);
    refused(&["terms", "check", "no such file"], "cli-file", 2);
    refused(&["terms", "check", "/"], "cli-file", 2);
}

#[test]
fn help_and_version_are_answers_and_not_faults() {
    assert!(ok(&["--help"]).contains("Usage: hashmix <COMMAND>"));
    assert!(ok(&["terms", "show", "--help"]).contains("plain words"));
    assert!(ok(&["--version"]).starts_with("hashmix "));
    assert!(ok(&["rules"]).lines().count() > 100);
    assert!(ok(&["rules", "work-branch"]).contains("advice"));
}

#[test]
fn a_reader_that_stops_early_is_no_fault() {
    use std::process::{Command, Stdio};
    for arguments in [&["rules"][..], &["demo"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hashmix"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "{arguments:?}");
    }
}
