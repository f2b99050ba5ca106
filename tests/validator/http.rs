//! The server as strangers and parties meet it: a process of its own, and bytes on a socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use bitcoin::BlockHash;
use hashmix::id::TermsId;
use hashmix::party::Seat;
use hashmix::validator::answer::Answer;
use hashmix::validator::query::Query;
use hashmix::validator::registration::REGISTRATION_MAX_BYTES;
use hashmix::validator::request::REQUEST_MAX_BYTES;
use serde_json::Value;

use crate::proxy::Trouble;
use crate::town::{Town, Way, registration, request};
use crate::world::{FULL, INSTALLMENT, signer};

/// A server in a process of its own.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Receiver<String>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub(crate) fn start(town: &Town, place: u8) -> Self {
        Self::start_at(town, place, 0, &[])
    }

    /// Starts the server at a port, 0 for any, with these other validators' servers as peers.
    pub(crate) fn start_at(town: &Town, place: u8, port: u16, peers: &[String]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hashmix"))
            .args(["validator", "serve", "--listen", &format!("127.0.0.1:{port}")])
            .args(peers.iter().flat_map(|peer| ["--peer", peer]))
            .args(town.desk_arguments(place))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let address = first.strip_prefix("listening on ").expect(&first).parse().unwrap();
        let (send, log) = channel();
        spawn(move || lines.map_while(Result::ok).try_for_each(|line| send.send(line)));
        Self { child, address, log }
    }

    /// Sends bytes and reads to the end of the answer.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        // A server that has heard enough may close before everything is sent.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    /// Status and body of the answer to a question.
    pub(crate) fn ask(&self, method: &str, path: &str, auth: &str, body: &str) -> (u16, String) {
        let auth =
            if auth.is_empty() { String::new() } else { format!("HashMix-Auth: {auth}\r\n") };
        let question = format!(
            "{method} {path} HTTP/1.1\r\nHost: desk\r\n{auth}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        parsed(&self.raw(question.as_bytes()))
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, String) {
        self.ask("POST", path, "", body)
    }

    /// The tip in the server's status.
    pub(crate) fn tip(&self) -> BlockHash {
        let (status, body) = self.ask("GET", "/v1/status", "", "");
        assert_eq!(status, 200, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        body["tip"]["hash"].as_str().unwrap().parse().unwrap()
    }

    /// What the server has logged since somebody looked.
    pub(crate) fn told(&self) -> Vec<String> {
        self.log.try_iter().collect()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Waits for the process to end, and tells its exit code and its log.
    fn ended(&mut self) -> (Option<i32>, Vec<String>) {
        let code = self.child.wait().unwrap().code();
        (code, self.log.iter().collect())
    }
}

/// Status and body of an answer.
fn parsed(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// The rule in a problem.
pub(crate) fn rule(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{body}"));
    body["rule"].as_str().unwrap().to_owned()
}

/// A header that signs a question.
pub(crate) fn signed(id: TermsId, from: Seat, to: Seat, asked: &str, tip: BlockHash) -> String {
    let digest = Query::message(id, from, to, asked, tip).unwrap();
    Query { from, tip, signature: signer(from).sign_digest(digest).unwrap() }.to_header()
}

/// The town with the contract registered over HTTP at these desks.
pub(crate) fn served(places: &[u8]) -> Town {
    let mut town = Town::funded();
    let text = registration(&town.table).to_json().unwrap();
    for place in places {
        let server = Server::start(&town, *place);
        let (status, body) = server.post("/v1/contracts", &text);
        assert_eq!((status, body), (200, format!("{{\"contract\":\"{}\"}}", town.id())));
        town.ways[usize::from(*place)] = Way::Http(server);
    }
    town
}

pub(crate) fn server(town: &Town, place: u8) -> &Server {
    match &town.ways[usize::from(place)] {
        Way::Http(server) => server,
        _ => panic!("validator {place} is not reached over HTTP"),
    }
}

/// Waits for a server to end; nobody reaches it any more.
fn ended(town: &mut Town, place: u8) -> (Option<i32>, Vec<String>) {
    match std::mem::replace(&mut town.ways[usize::from(place)], Way::Away) {
        Way::Http(mut server) => server.ended(),
        _ => panic!("validator {place} is not reached over HTTP"),
    }
}

#[test]
fn two_of_three_rule_over_http() {
    let mut town = served(&[0, 2]);
    town.dispute();
    town.table.elsewhere(town.table.terms.delays.answer);
    town.round();
    let [sent] = &town.table.sent[..] else { panic!("{:?}", town.table.story()) };
    assert_eq!(sent.signers, [Seat::Miner, Seat::Validator(0), Seat::Validator(2)]);
    let id = town.id();
    let server = server(&town, 0);
    let path = format!("/v1/contracts/{id}");
    let auth = signed(id, Seat::Holder, Seat::Validator(0), &path, server.tip());
    let (status, body) = server.ask("GET", &path, &auth, "");
    assert_eq!(status, 200, "{body}");
    let standing: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(standing["last_ruling"]["earned"], INSTALLMENT * 3 / 2);
    // The holder, who was away, fetches what was said.
    let path = format!("/v1/contracts/{id}/words?after=0");
    let auth = signed(id, Seat::Holder, Seat::Validator(0), &path, server.tip());
    let (status, body) = server.ask("GET", &path, &auth, "");
    assert_eq!(status, 200, "{body}");
    let words: Value = serde_json::from_str(&body).unwrap();
    assert!(words["words"].as_array().unwrap().len() > 8, "{body}");
}

#[test]
fn a_question_about_a_contract_is_answered_to_its_people_alone() {
    let town = served(&[0]);
    let id = town.id();
    let old = server(&town, 0).tip();
    let at = Seat::Validator(0);
    let path = format!("/v1/contracts/{id}/words?after=0");
    let server = server(&town, 0);
    let ask = |auth: &str| {
        let (status, body) = server.ask("GET", &path, auth, "");
        (status, if status == 200 { String::new() } else { rule(&body) })
    };
    assert_eq!(ask(&signed(id, Seat::Miner, at, &path, old)), (200, String::new()));
    let refused = |status: u16, rule: &str| (status, rule.to_owned());
    assert_eq!(ask(""), refused(401, "policy-query-form"));
    assert_eq!(ask("miner"), refused(401, "policy-query-form"));
    assert_eq!(
        ask(&signed(id, Seat::Miner, at, "/v1/contracts", old)),
        refused(401, "policy-query-signature")
    );
    assert_eq!(
        ask(&signed(id, Seat::Miner, Seat::Validator(1), &path, old)),
        refused(401, "policy-query-signature")
    );
    assert_eq!(
        ask(&signed(id, Seat::Miner, at, &path, old).replace("miner", "holder")),
        refused(401, "policy-query-signature")
    );
    assert_eq!(
        ask(&signed(id, Seat::Miner, at, &path, old).replace("miner", "validator-7")),
        refused(403, "policy-request-seat")
    );
    // A signature is worth nothing once its tip has gone by.
    let replayed = signed(id, Seat::Miner, at, &path, old);
    for _ in 0..12 {
        town.table.elsewhere(1);
        // The server is asked for its tip once a second.
        sleep(Duration::from_millis(1_100));
        server.tip();
    }
    assert_eq!(ask(&replayed), refused(401, "policy-query-tip"));
    let unknown = TermsId([7; 32]);
    let (status, body) = server.ask("GET", &format!("/v1/contracts/{unknown}"), &replayed, "");
    assert_eq!((status, rule(&body)), refused(404, "policy-request-contract"));
    let (status, body) = server.ask("GET", "/v1/contracts/zz", &replayed, "");
    assert_eq!((status, rule(&body)), refused(422, "id-hex"));
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let town = served(&[0]);
    let server = server(&town, 0);
    let head = |length: usize| {
        format!("POST /v1/requests HTTP/1.1\r\nHost: desk\r\nContent-Length: {length}\r\n\r\n")
    };
    // Nothing of the body is sent: the answer comes all the same.
    let (status, body) = parsed(&server.raw(head(REQUEST_MAX_BYTES + 1).as_bytes()));
    assert_eq!((status, rule(&body).as_str()), (413, "policy-request-size"));
    let chunk = [b"20000\r\n", &[b'a'; 0x20000][..], b"\r\n"].concat();
    let endless = "POST /v1/requests HTTP/1.1\r\nHost: desk\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(endless.as_bytes()).unwrap();
    // 33 chunks of 128 KiB are more than 4 MiB; no end is sent.
    for _ in 0..33 {
        if stream.write_all(&chunk).is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let (status, body) = parsed(&String::from_utf8(answer).unwrap());
    assert_eq!((status, rule(&body).as_str()), (413, "policy-request-size"));
    let (status, body) = server.post("/v1/contracts", &" ".repeat(REGISTRATION_MAX_BYTES + 1));
    assert_eq!((status, rule(&body).as_str()), (413, "policy-registry-size"));
    let (status, body) = parsed(
        &server
            .raw(b"POST /v1/requests HTTP/1.1\r\nHost: desk\r\nContent-Length: 2\r\n\r\n\xff\xff"),
    );
    assert_eq!((status, rule(&body).as_str()), (400, "http-body"));
}

#[test]
fn paths_and_methods_that_do_not_exist_are_refused_as_problems() {
    let town = served(&[0]);
    let server = server(&town, 0);
    for (method, path) in
        [("GET", "/"), ("GET", "/v2/status"), ("DELETE", "/v1/status"), ("GET", "/v1/requests")]
    {
        let answer =
            server.raw(format!("{method} {path} HTTP/1.1\r\nHost: desk\r\n\r\n").as_bytes());
        assert!(answer.contains("content-type: application/problem+json"), "{answer}");
        let (status, body) = parsed(&answer);
        assert_eq!((status, rule(&body).as_str()), (404, "http-route"), "{method} {path}");
    }
}

#[test]
fn whoever_sends_a_byte_now_and_then_loses_his_place() {
    let town = served(&[0]);
    let server = server(&town, 0);
    let begun = Instant::now();
    let mut streams: Vec<TcpStream> =
        ["GET /v1/st", "POST /v1/requests HTTP/1.1\r\nContent-Length: 99\r\n\r\n{"]
            .map(|start| {
                let mut stream = TcpStream::connect(server.address).unwrap();
                stream.write_all(start.as_bytes()).unwrap();
                stream
            })
            .into();
    while begun.elapsed() < Duration::from_secs(30) && !streams.is_empty() {
        sleep(Duration::from_millis(500));
        streams.retain_mut(|stream| {
            let _ = stream.write_all(b"a");
            stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
            let mut answer = [0; 1_024];
            match stream.read(&mut answer) {
                Ok(0) => false,
                Ok(_) => true,
                Err(error) => matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ),
            }
        });
        // Others are served meanwhile.
        server.tip();
    }
    assert!(streams.is_empty(), "still connected after {:?}", begun.elapsed());
    assert!(begun.elapsed() > Duration::from_secs(5), "a slow line has some time");
}

#[test]
fn whoever_asks_too_often_waits() {
    let town = served(&[0]);
    let server = server(&town, 0);
    let statuses: Vec<u16> =
        (0..150).map(|_| server.ask("GET", "/v1/openapi.json", "", "").0).collect();
    assert!(statuses[..40].iter().all(|status| *status == 200), "{statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");
    sleep(Duration::from_millis(1_000));
    assert_eq!(server.ask("GET", "/v1/openapi.json", "", "").0, 200);
}

#[test]
fn a_party_that_asks_too_often_waits_and_the_other_does_not() {
    let town = served(&[0]);
    let id = town.id();
    let server = server(&town, 0);
    let mut refused = None;
    for number in 0..50 {
        let request = request(id, Seat::Miner, &format!("{number}"), vec![]).to_json().unwrap();
        let (status, body) = server.post("/v1/requests", &request);
        if status != 200 {
            refused = Some((status, rule(&body)));
            break;
        }
    }
    assert_eq!(refused, Some((429, "http-rate".to_owned())));
    let his = request(id, Seat::Holder, "his", vec![]).to_json().unwrap();
    assert_eq!(server.post("/v1/requests", &his).0, 200);
}

#[test]
fn a_stop_lets_the_question_in_hand_be_finished_and_takes_no_other() {
    let mut town = served(&[0]);
    town.table.deliver(0, FULL);
    let text = request(town.id(), Seat::Miner, "last", town.mail(0)).to_json().unwrap();
    // The second server takes its time, so that the stop comes in the middle.
    town.second.set(Trouble::Drips(Duration::from_micros(200)));
    let address = server(&town, 0).address;
    let asked = spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let length = text.len();
        let head =
            format!("POST /v1/requests HTTP/1.1\r\nHost: desk\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        (text, answer)
    });
    sleep(Duration::from_millis(300));
    server(&town, 0).signal("-TERM");
    let (text, answer) = asked.join().unwrap();
    let (status, body) = parsed(&answer);
    assert_eq!(status, 200, "{body}");
    assert_eq!(Answer::from_json(&body).unwrap().words.len(), 1);
    let (code, log) = ended(&mut town, 0);
    assert_eq!((code, log.last().map(String::as_str)), (Some(0), Some("stopped")), "{log:?}");
    assert!(TcpStream::connect(address).is_err());
    town.second.set(Trouble::None);
    town.ways[0] = Way::Http(Server::start(&town, 0));
    assert_eq!(server(&town, 0).post("/v1/requests", &text), (200, body));
}

#[test]
fn whoever_hangs_up_gets_the_same_answer_later() {
    let mut town = served(&[0]);
    town.table.deliver(0, FULL);
    let text = request(town.id(), Seat::Miner, "gone", town.mail(0)).to_json().unwrap();
    let server = server(&town, 0);
    let head = format!(
        "POST /v1/requests HTTP/1.1\r\nHost: desk\r\nContent-Length: {}\r\n\r\n",
        text.len()
    );
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    sleep(Duration::from_millis(50));
    drop(stream);
    let (status, body) = server.post("/v1/requests", &text);
    assert_eq!(status, 200, "{body}");
    assert_eq!(Answer::from_json(&body).unwrap().words.len(), 1, "{body}");
}

#[test]
fn a_process_that_is_killed_answers_the_same_after_it_is_started_again() {
    let mut town = served(&[0]);
    town.table.deliver(0, FULL);
    let text = request(town.id(), Seat::Miner, "answered", town.mail(0)).to_json().unwrap();
    let first = text.clone();
    let answered = server(&town, 0).post("/v1/requests", &first);
    assert_eq!(answered.0, 200, "{}", answered.1);
    // Killed in the middle of another one, at several moments.
    town.table.deliver(1, FULL / 2);
    let open = request(town.id(), Seat::Miner, "open", town.mail(0)).to_json().unwrap();
    for pause in [0, 5, 20, 60, 150] {
        let address = server(&town, 0).address;
        let text = open.clone();
        let asked = spawn(move || {
            let Ok(mut stream) = TcpStream::connect(address) else { return };
            let head = format!(
                "POST /v1/requests HTTP/1.1\r\nHost: desk\r\nContent-Length: {}\r\n\r\n",
                text.len()
            );
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(text.as_bytes());
            let _ = stream.read_to_end(&mut Vec::new());
        });
        sleep(Duration::from_millis(pause));
        server(&town, 0).signal("-KILL");
        ended(&mut town, 0);
        asked.join().unwrap();
        town.ways[0] = Way::Http(Server::start(&town, 0));
        assert_eq!(server(&town, 0).post("/v1/requests", &first), answered, "after {pause} ms");
    }
    let (status, body) = server(&town, 0).post("/v1/requests", &open);
    assert_eq!(status, 200, "{body}");
    let answer = Answer::from_json(&body).unwrap();
    assert_eq!((answer.words.len(), answer.refused.len()), (1, 0), "{answer:?}");
    assert_eq!(server(&town, 0).post("/v1/requests", &open), (200, body));
}
