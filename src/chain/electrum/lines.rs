//! The lines a server sends, let through to the client library only if they are safe for it.
//!
//! The library takes a line of any length for as long as it comes, panics on JSON that is not an
//! object, and reads on through notices and answers to others until it finds its own. So each line
//! is read here first: it must begin as an object and have a bounded length; and all that comes
//! from one question to the next has a bounded length and must come within a time. The bounds lie
//! under the encryption, where nothing can be read past them. The stream is plain TCP or, with the
//! feature `tls`, TLS with the public roots.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::lock;
use super::traffic::Meter;

#[cfg(test)]
mod tests;

/// An answer, or a batch of them, must be whole within this many timeouts after the question.
const WHOLE_ANSWER: u32 = 6;

/// Most bytes between two questions: a batch's answers, and notices among them.
pub(super) const LONGEST_ANSWER: usize = 256 << 20;

/// Longest line, in bytes: the largest transaction has 8 million hex digits, and histories of a
/// hundred thousand entries fit.
const LONGEST_LINE: usize = 64 << 20;

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A stream of whole, safe lines.
pub(super) struct Lines {
    stream: Box<dyn Stream>,
    heard: Arc<Mutex<Heard>>,
    meter: Meter,
    /// What came and was not handed on yet; up to `whole` it is checked lines.
    held: Vec<u8>,
    whole: usize,
    handed: usize,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lines")
    }
}

impl Lines {
    /// Connects to a checked address, see [`super::URL`]. At most `longest` bytes may come between
    /// two questions; `meter` counts all that goes either way.
    pub(super) fn open(
        url: &str,
        timeout: Duration,
        longest: usize,
        meter: Meter,
    ) -> io::Result<Self> {
        let tls = url.strip_prefix("ssl://");
        let address = tls.or(url.strip_prefix("tcp://")).unwrap_or(url);
        let tcp = connect(address, timeout)?;
        tcp.set_read_timeout(Some(timeout))?;
        tcp.set_write_timeout(Some(timeout))?;
        // Questions are short: each would wait for the acknowledgement of the one before.
        tcp.set_nodelay(true)?;
        let heard = Arc::new(Mutex::new(Heard { since: Instant::now(), bytes: 0 }));
        let longest_time = timeout.saturating_mul(WHOLE_ANSWER);
        let bounded = Bounded { tcp, heard: heard.clone(), longest_time, longest };
        let stream: Box<dyn Stream> = match tls {
            #[cfg(feature = "tls")]
            Some(_) => Box::new(encrypt(address, bounded)?),
            #[cfg(not(feature = "tls"))]
            Some(_) => return Err(io::Error::other("this build has no TLS")),
            None => Box::new(bounded),
        };
        Ok(Self { stream, heard, meter, held: Vec::new(), whole: 0, handed: 0 })
    }

    /// Reads until there is a whole line; `false` if the server closed the connection.
    fn fill(&mut self) -> io::Result<bool> {
        self.held.drain(..self.handed);
        self.handed = 0;
        self.whole = 0;
        let mut searched = 0;
        loop {
            let fresh = self.held.get(searched..).unwrap_or_default();
            if let Some(end) = fresh.iter().position(|byte| *byte == b'\n') {
                self.whole = searched.saturating_add(end).saturating_add(1);
                return Ok(true);
            }
            searched = self.held.len();
            if searched > LONGEST_LINE {
                return Err(unsafe_line("a line of more than 64 MiB"));
            }
            let mut chunk = [0u8; 16 * 1024];
            match self.stream.read(&mut chunk)? {
                0 => return Ok(false),
                count => {
                    self.meter.add(count);
                    self.held.extend(chunk.iter().take(count));
                }
            }
        }
    }
}

impl Read for Lines {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.handed == self.whole {
            if !self.fill()? {
                return Ok(0);
            }
            let line = self.held.get(..self.whole).unwrap_or_default();
            // JSON that begins with a brace is an object or an error, and both are safe.
            if line.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
                return Err(unsafe_line("a line that is not a JSON object"));
            }
        }
        let mut rest = self.held.get(self.handed..self.whole).unwrap_or_default();
        let count = rest.read(out)?;
        self.handed = self.handed.saturating_add(count);
        Ok(count)
    }
}

impl Write for Lines {
    /// A question: what is heard from now on is the answer to it.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        *lock(&self.heard) = Heard { since: Instant::now(), bytes: 0 };
        let count = self.stream.write(bytes)?;
        self.meter.add(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// What has come since the last question.
struct Heard {
    since: Instant,
    bytes: usize,
}

/// A connection that is read only so long and so far for one question.
struct Bounded {
    tcp: TcpStream,
    heard: Arc<Mutex<Heard>>,
    longest_time: Duration,
    longest: usize,
}

impl Read for Bounded {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        {
            let heard = lock(&self.heard);
            if heard.since.elapsed() > self.longest_time {
                return Err(unsafe_line("an answer without end"));
            }
            if heard.bytes > self.longest {
                return Err(unsafe_line("an answer that is too long"));
            }
        }
        acknowledge_at_once(&self.tcp)?;
        let count = self.tcp.read(out)?;
        let mut heard = lock(&self.heard);
        heard.bytes = heard.bytes.saturating_add(count);
        Ok(count)
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

/// electrs sends each answer of a batch by itself, and none before the one before is acknowledged;
/// a system that waits 40 ms with that makes each batch so much slower. The wish holds for a while
/// only, so it is said before each reading.
#[cfg(target_os = "linux")]
fn acknowledge_at_once(tcp: &TcpStream) -> io::Result<()> {
    std::os::linux::net::TcpStreamExt::set_quickack(tcp, true)
}

#[cfg(not(target_os = "linux"))]
fn acknowledge_at_once(_: &TcpStream) -> io::Result<()> {
    Ok(())
}

fn unsafe_line(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Tries each address that the name has.
fn connect(address: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(feature = "tls")]
fn encrypt(
    address: &str,
    below: Bounded,
) -> io::Result<rustls::StreamOwned<rustls::ClientConnection, Bounded>> {
    use std::sync::Arc;

    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = rustls::pki_types::ServerName::try_from(host).map_err(io::Error::other)?;
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let session =
        rustls::ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(rustls::StreamOwned::new(session, below))
}
