//! One question, one answer over HTTP, bounded in size and in time.
//!
//! Each question has a connection of its own: nothing is left over from the one before, and a node
//! that restarted is simply there again.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use bitcoin::base64::Engine;
use bitcoin::base64::prelude::BASE64_STANDARD;
use jsonrpc::client::Transport;
use jsonrpc::{Error as ClientError, Request, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::Auth;
use crate::error::{Result, Rule};

/// The node's address can be read.
pub const URL: Rule = Rule::new(
    "core-url",
    "Bitcoin Core's RPC is named http://host:port, without a user in it",
    "correct the address; a password is given apart from it, and TLS by a tunnel",
);

/// Longest answer, in bytes: a template has 8 million hex digits at most, and the txids of a
/// mempool of a million transactions fit nearly.
const LONGEST: usize = 64 << 20;
/// Longest head of an answer, in bytes: Core's has some 150.
const LONGEST_HEAD: usize = 16 << 10;
/// An answer must be whole within this many timeouts after its first byte.
const WHOLE_ANSWER: u32 = 6;

/// Why there is no answer to read.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nobody there, and nothing sent: worth another attempt, whatever was to be asked.
    Unreached(String),
    /// Silence, or a connection that broke, after the question was sent: it may have been carried
    /// out.
    Silent(String),
    /// The cookie cannot be read, or the node does not take what we showed.
    Credentials(String),
    /// Whoever answers is not a node.
    Garbled(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unreached(text)
        | Self::Silent(text)
        | Self::Credentials(text)
        | Self::Garbled(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for Trouble {}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Silent(words(&error))
    }
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "silence".to_owned(),
        _ => error.to_string(),
    }
}

/// The node's address and what we show it.
pub(super) struct Post {
    /// `host:port`.
    host: String,
    path: String,
    auth: Auth,
    timeout: Duration,
}

impl Post {
    /// Checks the address; connects only when something is asked.
    pub(super) fn new(url: &str, auth: Auth, timeout: Duration) -> Result<Self> {
        let misused = |found: &str| URL.misused("Bitcoin Core", "http://host:port", found);
        if url.contains('@') {
            // It may hold a password: not repeated.
            return Err(misused("an address with a user"));
        }
        let rest = url.strip_prefix("http://").ok_or_else(|| misused(url))?;
        let (host, path) = match rest.split_once('/') {
            Some((host, path)) => (host, format!("/{path}")),
            None => (rest, "/".to_owned()),
        };
        let named = host
            .rsplit_once(':')
            .is_some_and(|(name, port)| !name.is_empty() && port.parse::<u16>().is_ok());
        if !named || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(misused(url));
        }
        Ok(Self { host: host.to_owned(), path, auth, timeout })
    }

    /// The value of the header `Authorization` (RFC 7617). A cookie is read anew each time: the
    /// node writes another one at each start.
    fn authorization(&self) -> Result<Zeroizing<String>, Trouble> {
        let shown = Zeroizing::new(match &self.auth {
            Auth::Cookie(path) => std::fs::read_to_string(path)
                .map_err(|e| Trouble::Credentials(format!("cookie {}: {e}", path.display())))?,
            Auth::Password { user, password } => format!("{user}:{password}"),
        });
        let shown = match &self.auth {
            Auth::Cookie(_) => shown.trim(),
            Auth::Password { .. } => shown.as_str(),
        };
        let encoded = Zeroizing::new(BASE64_STANDARD.encode(shown));
        Ok(Zeroizing::new(format!("Basic {}", encoded.as_str())))
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
        for address in self.host.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, self.timeout) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(self.timeout))?;
                    stream.set_write_timeout(Some(self.timeout))?;
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Sends a body and returns the status and the body of the answer.
    fn exchange(&self, body: &[u8]) -> Result<(u16, Vec<u8>), Trouble> {
        // First the connection: a node that is down has no cookie, and that it is down says more.
        let mut stream = self.connect().map_err(|e| Trouble::Unreached(words(&e)))?;
        let authorization = self.authorization()?;
        let head = Zeroizing::new(format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.path,
            self.host,
            authorization.as_str(),
            body.len(),
        ));
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Answer { stream, held: Vec::new(), begun: None, timeout: self.timeout };
        let end = answer.head()?;
        let head = String::from_utf8_lossy(answer.held.get(..end).unwrap_or_default()).into_owned();
        let (status, length) = understand(&head)?;
        let body = answer.body(end, length)?;
        Ok((status, body))
    }

    fn question<R: DeserializeOwned>(&self, question: &impl Serialize) -> Result<R, ClientError> {
        let body = serde_json::to_vec(question)?;
        let (status, body) = self.exchange(&body).map_err(transport)?;
        // A refusal may come as status 404 or 500 with its reason in the body.
        match (serde_json::from_slice(&body), status) {
            (_, 401 | 403) => Err(transport(Trouble::Credentials(format!("HTTP status {status}")))),
            (Ok(response), _) => Ok(response),
            (Err(_), 503) => Err(transport(Trouble::Silent("the node is too busy".to_owned()))),
            // The error's own words may repeat the body, and the body what we showed.
            (Err(error), _) => Err(transport(Trouble::Garbled(format!(
                "HTTP status {status}, a body of another form (line {}, column {})",
                error.line(),
                error.column(),
            )))),
        }
    }
}

fn transport(trouble: Trouble) -> ClientError {
    ClientError::Transport(Box::new(trouble))
}

impl Transport for Post {
    fn send_request(&self, request: Request<'_>) -> Result<Response, ClientError> {
        self.question(&request)
    }

    fn send_batch(&self, requests: &[Request<'_>]) -> Result<Vec<Response>, ClientError> {
        self.question(&requests)
    }

    fn fmt_target(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.host)
    }
}

/// An answer on its way.
struct Answer {
    stream: TcpStream,
    held: Vec<u8>,
    /// When its first bytes came. Until then silence is the only bound: a node may think.
    begun: Option<Instant>,
    timeout: Duration,
}

impl Answer {
    /// Reads what has come; `false` if the connection ended.
    fn more(&mut self) -> Result<bool, Trouble> {
        let deadline = self.timeout.saturating_mul(WHOLE_ANSWER);
        if self.begun.is_some_and(|begun| begun.elapsed() > deadline) {
            return Err(Trouble::Silent("an answer without end".to_owned()));
        }
        let mut chunk = [0u8; 64 << 10];
        let count = loop {
            match self.stream.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.begun.get_or_insert_with(Instant::now);
        self.held.extend_from_slice(chunk.get(..count).unwrap_or_default());
        Ok(count > 0)
    }

    /// Reads until the head is whole; returns where the body begins.
    fn head(&mut self) -> Result<usize, Trouble> {
        loop {
            if let Some(at) = self.held.windows(4).position(|four| four == b"\r\n\r\n") {
                return Ok(at.saturating_add(4));
            }
            if self.held.len() > LONGEST_HEAD {
                return Err(Trouble::Garbled("an answer's head without end".to_owned()));
            }
            if !self.more()? {
                return Err(cut_short());
            }
        }
    }

    /// Reads the body: `length` bytes, or until the connection ends.
    fn body(mut self, from: usize, length: Option<usize>) -> Result<Vec<u8>, Trouble> {
        loop {
            let have = self.held.len().saturating_sub(from);
            if have.max(length.unwrap_or(0)) > LONGEST {
                return Err(Trouble::Garbled("an answer of more than 64 MiB".to_owned()));
            }
            if length.is_some_and(|length| have >= length) || !self.more()? {
                break;
            }
        }
        let mut body = self.held.split_off(from);
        match length {
            Some(length) if body.len() < length => return Err(cut_short()),
            Some(length) => body.truncate(length),
            None => {}
        }
        Ok(body)
    }
}

fn cut_short() -> Trouble {
    Trouble::Silent("the connection closed".to_owned())
}

/// The status of an answer, and the length of its body if it says so.
///
/// A refusal repeats no more than a status line: who echoes would have it repeat our credentials.
fn understand(head: &str) -> Result<(u16, Option<usize>), Trouble> {
    let garbled = |what: &str| {
        let status = head.lines().next().filter(|line| line.starts_with("HTTP/"));
        Trouble::Garbled(status.map_or(what.to_owned(), |status| format!("{what}: {status}")))
    };
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok())
        .ok_or_else(|| garbled("not an answer of HTTP"))?;
    let mut length = None;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse().map_err(|_| garbled("a length"))?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(garbled("an answer in pieces"));
        }
    }
    Ok((status, length))
}
