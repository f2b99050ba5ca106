//! A server that keeps one question for ever: by lines about other things, by a flood of them, by
//! answers that trickle in.

use std::io::{BufRead, BufReader};

use super::super::scripted::{Act, IMPATIENT, SHORT, Server, script_of};
use super::*;

/// How long a question may take until it is given up on.
fn longest_question() -> Duration {
    SHORT.timeout * WHOLE_ANSWER * SHORT.attempts
}

/// What a server sends unasked, and an answer to nobody's question.
const UNASKED: [&str; 2] = [
    r#"{"method": "blockchain.headers.subscribe", "params": [{"height": 1, "hex": "00"}]}"#,
    r#"{"id": 4294967295, "result": null}"#,
];

#[test]
fn a_server_that_drips_or_never_ends_its_line_is_cut_off() {
    let server = Server::start(1);
    let chain = server.connect_with(SHORT).unwrap();
    server.always("blockchain.headers.subscribe", || Act::Drip);
    let start = Instant::now();
    let error = chain.tip().unwrap_err();
    assert_eq!(error.rule(), "chain-server");
    assert!(error.fault().found.starts_with("an answer without end"), "{error}");
    assert!(start.elapsed() < longest_question() * 2);
}

#[test]
fn a_server_that_talks_of_other_things_for_ever_is_given_up_on() {
    let server = Server::start(1);
    let chain = server.connect_with(SHORT).unwrap();
    for line in UNASKED {
        server.always("blockchain.scripthash.get_history", move || {
            Act::Forever(line, SHORT.timeout / 10)
        });
        let start = Instant::now();
        let error = chain.history(&script_of(1)).unwrap_err();
        assert_eq!(error.rule(), "chain-server", "{line}");
        assert!(error.fault().found.starts_with("an answer without end"), "{error}");
        assert!(start.elapsed() < longest_question() * 2, "{line}");
    }
}

#[test]
fn a_batch_whose_answers_trickle_in_one_by_one_is_given_up_on() {
    let server = Server::start(1);
    let chain = server.connect_with(SHORT).unwrap();
    server.script(|world, method, params| match world.honest(method, params) {
        Act::Answer(answer) if method == "blockchain.scripthash.get_history" => {
            Some(Act::Late(answer))
        }
        _ => None,
    });
    let scripts: Vec<_> = (0..60).map(script_of).collect();
    let start = Instant::now();
    let error = chain.facts(&scripts, 0).unwrap_err();
    assert_eq!(error.rule(), "chain-server");
    assert!(start.elapsed() < longest_question() * 2);
}

#[test]
fn a_flood_of_lines_ends_at_the_most_bytes_of_an_answer() {
    const LONGEST: usize = 1 << 20;
    let server = Server::start(1);
    for line in UNASKED {
        server.always("server.ping", move || Act::Forever(line, Duration::ZERO));
        let mut lines =
            Lines::open(&server.url, IMPATIENT.timeout, LONGEST, Meter::default()).unwrap();
        lines.write_all(b"{\"id\": 1, \"method\": \"server.ping\"}\n").unwrap();
        let mut heard = Vec::new();
        let error = lines.take(4 * LONGEST as u64).read_to_end(&mut heard).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        assert!(error.to_string().contains("too long"), "{error}");
        assert!((LONGEST / 2..LONGEST * 2).contains(&heard.len()), "{}", heard.len());
    }
}

#[test]
fn each_question_has_the_whole_bound_of_bytes_for_itself() {
    let server = Server::start(1);
    let lines = Lines::open(&server.url, IMPATIENT.timeout, 200, Meter::default()).unwrap();
    let mut lines = BufReader::new(lines);
    for _ in 0..20 {
        let question = b"{\"id\": 1, \"method\": \"server.version\"}\n";
        lines.get_mut().write_all(question).unwrap();
        let mut answer = String::new();
        lines.read_line(&mut answer).unwrap();
        assert!(answer.contains("scripted"), "{answer}");
    }
}

#[test]
fn a_notice_or_two_between_the_answers_does_no_harm() {
    let server = Server::start(3);
    let chain = server.connect().unwrap();
    server.script(|world, method, params| match world.honest(method, params) {
        Act::Answer(answer) => Some(Act::Noticed(
            "{\"method\": \"blockchain.headers.subscribe\", \"params\": [{\"height\": 1, \
             \"hex\": \"00\"}]}\n{\"id\": 4294967295, \"result\": null}",
            answer,
        )),
        _ => None,
    });
    let facts = chain.facts(&[script_of(0), script_of(1)], 0).unwrap();
    assert_eq!((facts.tip(), facts.coins(&script_of(0)).len()), (3, 3));
    server.count("server.version");
    chain.facts(&[script_of(0)], 0).unwrap();
    assert_eq!(server.count("server.version"), 0, "the connection was kept");
}
