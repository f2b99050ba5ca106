//! The connection: one question, one answer, and what to do when there is none.

use std::fmt;
use std::sync::Mutex;
use std::thread::sleep;
use std::time::Duration;

use electrum_client::raw_client::RawClient;
use electrum_client::{Batch, ElectrumApi, Error as ClientError, Param};
use serde_json::Value;

use super::lines::{LONGEST_ANSWER, Lines};
use super::traffic::{Meter, Traffic};
use super::{ANSWER, Garbled, lock};
use crate::chain::patience::Patience;
use crate::error::{Error, Result, Rule};

/// The server's address can be read.
pub const URL: Rule = Rule::new(
    "chain-url",
    "a server is named tcp://host:port or ssl://host:port",
    "correct the address; ssl needs a build with the feature tls",
);
/// The server is there and answers in time.
pub const SERVER: Rule = Rule::new(
    "chain-server",
    "the Electrum server answers",
    "check that it runs and is reached from here, or give another one",
);

/// A live connection. The client library speaks the protocol over the lines that [`Lines`] lets
/// through.
struct Line(RawClient<Lines>);

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

impl Line {
    /// Connects and agrees on a version of the protocol.
    fn open(url: &str, timeout: Duration, meter: Meter) -> Result<Self, ClientError> {
        let line = RawClient::from(Lines::open(url, timeout, LONGEST_ANSWER, meter)?);
        // No name of ours: the server need not know who asks.
        let versions = ["1.4", "1.6"].map(str::to_owned).to_vec();
        line.raw_call(
            "server.version",
            [Param::String(String::new()), Param::StringVec(versions)],
        )?;
        Ok(Self(line))
    }

    /// Forgets what the server sent unasked: nobody needs it, and the library would keep it.
    fn without_notices(self) -> Self {
        while matches!(self.0.block_headers_pop_raw(), Ok(Some(_))) {}
        self
    }
}

/// A server's address, and the connection to it while there is one.
#[derive(Debug)]
pub(super) struct Wire {
    url: String,
    patience: Patience,
    line: Mutex<Option<Line>>,
    meter: Meter,
    traffic: Mutex<Traffic>,
}

impl Wire {
    /// Checks the address; connects only when something is asked.
    pub(super) fn new(url: &str, patience: Patience) -> Result<Self> {
        let tls = url.starts_with("ssl://");
        let address = url.strip_prefix("ssl://").or(url.strip_prefix("tcp://")).unwrap_or(url);
        let well_formed = address
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !well_formed || address.contains('/') || (tls && !cfg!(feature = "tls")) {
            let expected =
                if cfg!(feature = "tls") { "tcp:// or ssl://" } else { "tcp:// (no TLS here)" };
            return Err(URL.misused("Electrum server", format_args!("{expected}host:port"), url));
        }
        Ok(Self {
            url: url.to_owned(),
            patience,
            line: Mutex::new(None),
            meter: Meter::default(),
            traffic: Mutex::default(),
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn place(&self) -> String {
        format!("server {}", self.url)
    }

    /// What was asked so far.
    pub(super) fn traffic(&self) -> Traffic {
        lock(&self.traffic).clone()
    }

    /// Books what went over the wire since the meter showed `before`.
    fn book(&self, method: &str, calls: usize, before: u64) {
        let bytes = self.meter.read().saturating_sub(before);
        lock(&self.traffic).add(method, calls, bytes);
    }

    /// The server's answer; its refusal counts as no answer.
    pub(super) fn call(&self, method: &str, params: &[Param]) -> Result<Value> {
        self.ask(method, params)?.map_err(|reason| self.declined(method, reason))
    }

    /// The server's answer, or the reason for which it refuses one.
    pub(super) fn ask(&self, method: &str, params: &[Param]) -> Result<Result<Value, String>> {
        self.patiently(method, 1, |line| line.0.raw_call(method, params.to_vec()))
    }

    /// The answers to one question about several things, in their order.
    pub(super) fn batch(&self, method: &str, params: Vec<Vec<Param>>) -> Result<Vec<Value>> {
        let count = params.len();
        let mut batch = Batch::default();
        for params in params {
            batch.raw(method.to_owned(), params);
        }
        let answers = self
            .patiently(method, count, |line| line.0.batch_call(&batch))?
            .map_err(|reason| self.declined(method, reason))?;
        if answers.len() == count {
            Ok(answers)
        } else {
            Err(self.garbled(method, ("as many answers as questions", answers.len().into())))
        }
    }

    /// Asks, and asks again over a new connection after a pause, until there is an answer or
    /// patience ends. A refusal is an answer.
    fn patiently<T>(
        &self,
        method: &str,
        calls: usize,
        ask: impl Fn(&Line) -> Result<T, ClientError>,
    ) -> Result<Result<T, String>> {
        let mut held = lock(&self.line);
        let mut last = String::from("nothing was asked");
        for attempt in 0..self.patience.attempts.max(1) {
            if attempt > 0 {
                sleep(self.patience.before(attempt));
            }
            let line = match held.take() {
                Some(line) => Ok(line),
                None => {
                    let before = self.meter.read();
                    let line = Line::open(&self.url, self.patience.timeout, self.meter.clone());
                    self.book("server.version", 1, before);
                    line
                }
            };
            let before = self.meter.read();
            let answer = line.map(|line| (ask(&line), line));
            self.book(method, calls, before);
            match answer {
                Ok((Ok(answer), line)) => {
                    *held = Some(line.without_notices());
                    return Ok(Ok(answer));
                }
                Ok((Err(ClientError::Protocol(reason)), line)) => {
                    *held = Some(line.without_notices());
                    return Ok(Err(reason_of(&reason)));
                }
                // The connection may be out of step after any other error: it is dropped.
                Ok((Err(error), _)) | Err(error) => last = text_of(&error),
            }
        }
        Err(SERVER.unavailable(
            format_args!("server {}, {method}", self.url),
            format_args!("an answer within {} ms", self.patience.timeout.as_millis()),
            format_args!("{last} ({} attempts)", self.patience.attempts),
        ))
    }

    fn declined(&self, method: &str, reason: String) -> Error {
        ANSWER.unavailable(format_args!("server {}, {method}", self.url), "an answer", reason)
    }

    /// The error for an answer of another form than the protocol's.
    pub(super) fn garbled(&self, what: &str, (expected, answer): Garbled) -> Error {
        ANSWER.unavailable(format_args!("server {}, {what}", self.url), expected, answer)
    }
}

/// The reason in a JSON-RPC error, which servers give as an object or as bare text.
fn reason_of(error: &Value) -> String {
    let message = error.get("message").unwrap_or(error);
    message.as_str().map_or_else(|| message.to_string(), str::to_owned)
}

/// What happened to a connection, in words of ours where the library's mislead.
fn text_of(error: &ClientError) -> String {
    let io = |kind: std::io::ErrorKind, text: String| match kind {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => String::from("silence"),
        std::io::ErrorKind::UnexpectedEof => String::from("the connection closed"),
        _ => text,
    };
    match error {
        ClientError::IOError(e) => io(e.kind(), e.to_string()),
        ClientError::SharedIOError(e) => io(e.kind(), e.to_string()),
        ClientError::JSON(e) => format!("an answer that is not JSON: {e}"),
        ClientError::AllAttemptsErrored(errors) => {
            errors.last().map_or_else(|| String::from("no address"), text_of)
        }
        other => other.to_string(),
    }
}
