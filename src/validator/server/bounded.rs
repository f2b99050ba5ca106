//! Connections that are counted, and end in time.
//!
//! Whoever sends a byte now and then, to keep a place, loses it when his question has not arrived
//! after its time; whoever reads his answer byte by byte, when the connection's time is over.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};

use super::{Limits, log};

/// Pause after a connection could not be taken, as when files run out.
const PAUSE: Duration = Duration::from_millis(200);

/// Who is connected, by address.
#[derive(Debug, Default)]
struct Counts {
    all: usize,
    each: BTreeMap<IpAddr, usize>,
}

/// A place among the connections; free again when it is dropped.
#[derive(Debug)]
struct Place {
    counts: Arc<Mutex<Counts>>,
    address: IpAddr,
}

impl Place {
    fn take(counts: &Arc<Mutex<Counts>>, address: IpAddr, limits: &Limits) -> Option<Self> {
        let mut held = lock(counts);
        let his = held.each.get(&address).copied().unwrap_or_default();
        if held.all >= limits.connections || his >= limits.of_one {
            return None;
        }
        held.all = held.all.saturating_add(1);
        held.each.insert(address, his.saturating_add(1));
        Some(Self { counts: counts.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = lock(&self.counts);
        held.all = held.all.saturating_sub(1);
        if let Some(his) = held.each.get_mut(&self.address) {
            *his = his.saturating_sub(1);
            if *his == 0 {
                held.each.remove(&self.address);
            }
        }
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What counts as one asker: an IPv4 address, or the 64 bits of IPv6 that one customer gets.
fn asker(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => {
            let [a, b, c, d, ..] = six.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        four @ IpAddr::V4(_) => four,
    }
}

/// Takes connections as far as the limits go.
pub(super) struct Listener {
    inner: TcpListener,
    limits: Limits,
    counts: Arc<Mutex<Counts>>,
}

impl Listener {
    pub(super) fn new(inner: TcpListener, limits: Limits) -> Self {
        Self { inner, limits, counts: Arc::default() }
    }
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            match self.inner.accept().await {
                Ok((stream, address)) => {
                    let _ = stream.set_nodelay(true);
                    let ip = asker(address.ip());
                    // One too many is closed unheard: it must cost less than it costs the sender.
                    let Some(place) = Place::take(&self.counts, ip, &self.limits) else { continue };
                    let connection = Connection {
                        stream,
                        peer: Peer { address: ip, arrived: Arc::default() },
                        arrival: Box::pin(sleep(self.limits.arrival)),
                        whole: Box::pin(sleep(self.limits.whole)),
                        _place: place,
                    };
                    return (connection, address);
                }
                Err(error) => {
                    log(format_args!("no connection taken: {error}"));
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// Who asks over a connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) address: IpAddr,
    /// Whether his question has arrived whole.
    pub(super) arrived: Arc<AtomicBool>,
}

impl Connected<IncomingStream<'_, Listener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        stream.io().peer.clone()
    }
}

/// A connection whose time is limited.
pub(super) struct Connection {
    stream: TcpStream,
    peer: Peer,
    arrival: Pin<Box<Sleep>>,
    whole: Pin<Box<Sleep>>,
    _place: Place,
}

impl Connection {
    fn late(&mut self, cx: &mut Context<'_>) -> bool {
        let arrived = self.peer.arrived.load(Ordering::Relaxed);
        self.whole.as_mut().poll(cx).is_ready()
            || (!arrived && self.arrival.as_mut().poll(cx).is_ready())
    }

    fn stream(&mut self) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.stream)
    }
}

fn over() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the connection's time is over")
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.late(cx) {
            true => Poll::Ready(Err(over())),
            false => self.stream().poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // An answer that says "too late" may still be written.
        match self.whole.as_mut().poll(cx).is_ready() {
            true => Poll::Ready(Err(over())),
            false => self.stream().poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_all_and_for_each_address_and_come_back() {
        let limits = Limits { connections: 3, of_one: 2, ..Limits::default() };
        let counts = Arc::default();
        let take = |address: &str| Place::take(&counts, address.parse().unwrap(), &limits);
        let first = take("1.1.1.1").unwrap();
        let second = take("1.1.1.1").unwrap();
        assert!(take("1.1.1.1").is_none(), "two of one");
        let third = take("2.2.2.2").unwrap();
        assert!(take("3.3.3.3").is_none(), "three in all");
        drop(first);
        let fourth = take("1.1.1.1").unwrap();
        drop((second, third, fourth));
        let left = lock(&counts);
        assert_eq!((left.all, left.each.len()), (0, 0));
    }

    #[test]
    fn one_customer_of_ipv6_is_one_asker() {
        let of = |text: &str| asker(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:1.2.3.4"), of("1.2.3.4"));
        assert_ne!(of("1.2.3.4"), of("1.2.3.5"));
    }
}
