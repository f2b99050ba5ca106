//! One question, one answer over HTTP, bounded in size and in time.
//!
//! Each question has a connection of its own: nothing is left over from the one before, and a node
//! that restarted is simply there again.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

/// Longest head of an answer, in bytes: Core's has some 150.
const LONGEST_HEAD: usize = 16 << 10;
/// An answer must be whole within this many timeouts after its first byte.
const WHOLE_ANSWER: u32 = 6;

/// Why there is no answer to read.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Nobody there, and nothing sent: worth another attempt, whatever was to be asked.
    Unreached(String),
    /// Silence, or a connection that broke, after the question was sent: it may have been carried
    /// out.
    Silent(String),
    /// What we would show cannot be read, or is not taken.
    Credentials(String),
    /// Whoever answers speaks something else.
    Garbled(String),
    /// The answer is longer than it may be.
    Long(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unreached(text)
        | Self::Silent(text)
        | Self::Credentials(text)
        | Self::Garbled(text)
        | Self::Long(text)) = self;
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

/// Where questions go.
pub(crate) struct Address {
    /// `host:port`.
    host: String,
    path: String,
}

impl Address {
    /// Reads `http://host:port`, with or without a path; `None` for anything else.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let rest = url.strip_prefix("http://")?;
        let (host, path) = match rest.split_once('/') {
            Some((host, path)) => (host, format!("/{path}")),
            None => (rest, "/".to_owned()),
        };
        let (name, port) = host.rsplit_once(':')?;
        let plain = !url.chars().any(|c| c.is_whitespace() || c.is_control());
        let named = plain && !name.is_empty() && port.parse::<u16>().is_ok();
        named.then(|| Self { host: host.to_owned(), path })
    }

    /// `host:port`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Posts a body of JSON below the address' path, and returns the status and the body of the
    /// answer, which has at most `longest` bytes. `headers` gives further lines of the head once
    /// there is a connection: they may hold secrets.
    pub(crate) fn post(
        &self,
        below: &str,
        headers: impl FnOnce() -> Result<Zeroizing<String>, Trouble>,
        body: &[u8],
        timeout: Duration,
        longest: usize,
    ) -> Result<(u16, Vec<u8>), Trouble> {
        // First the connection: a node that is down has no cookie, and that it is down says more.
        let stream = self.connect(timeout).map_err(|e| Trouble::Unreached(words(&e)))?;
        let headers = headers()?;
        let head = Zeroizing::new(format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.path(below),
            self.host,
            headers.as_str(),
            body.len(),
        ));
        answer(stream, &[head.as_bytes(), body], timeout, longest)
    }

    /// Gets what is below the address' path, as [`Address::post`] does; `headers` are further lines
    /// of the head, each with its end.
    #[cfg(any(feature = "cli", feature = "regtest"))]
    pub(crate) fn get(
        &self,
        below: &str,
        headers: &str,
        timeout: Duration,
        longest: usize,
    ) -> Result<(u16, Vec<u8>), Trouble> {
        let stream = self.connect(timeout).map_err(|e| Trouble::Unreached(words(&e)))?;
        let (path, host) = (self.path(below), &self.host);
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
        answer(stream, &[head.as_bytes()], timeout, longest)
    }

    fn path(&self, below: &str) -> String {
        match format!("{}{below}", self.path.trim_end_matches('/')) {
            none if none.is_empty() => "/".to_owned(),
            path => path,
        }
    }

    fn connect(&self, timeout: Duration) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
        for address in self.host.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(timeout))?;
                    stream.set_write_timeout(Some(timeout))?;
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Sends a question, and reads its answer.
fn answer(
    mut stream: TcpStream,
    question: &[&[u8]],
    timeout: Duration,
    longest: usize,
) -> Result<(u16, Vec<u8>), Trouble> {
    for part in question {
        stream.write_all(part)?;
    }
    let mut answer = Answer { stream, held: Vec::new(), begun: None, timeout, longest };
    let end = answer.head()?;
    let head = String::from_utf8_lossy(answer.held.get(..end).unwrap_or_default()).into_owned();
    let (status, length) = understand(&head)?;
    let body = answer.body(end, length)?;
    Ok((status, body))
}

/// An answer on its way.
struct Answer {
    stream: TcpStream,
    held: Vec<u8>,
    /// When its first bytes came. Until then silence is the only bound: a node may think.
    begun: Option<Instant>,
    timeout: Duration,
    /// Most bytes of its body.
    longest: usize,
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
            if have.max(length.unwrap_or(0)) > self.longest {
                let longest = self.longest;
                return Err(Trouble::Long(format!("an answer of more than {longest} bytes")));
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
