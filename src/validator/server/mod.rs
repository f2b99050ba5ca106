//! The desk over HTTP/1.1: JSON under `/v1`, as `GET /v1/openapi.json` describes it.
//!
//! ```text
//!  connection --- caps: in all, for each address; so long for a question, so long altogether
//!      |
//!  handler ------ bucket of the address; size before the body, body in time
//!      |  queue of bounded length: full means 503
//!  desk's thread  who asks? bucket of the party; then the desk, one question after the other
//! ```
//! One thread owns the desk. A question that has reached its queue is finished whoever hangs up: the
//! answer is stored, and the same key asks for it again. When it is told to stop, the server takes
//! no more connections, finishes what is in the queue, and ends.
//!
//! What the desk says it brings to the other validators' servers (`peers.rs`), and what they answer
//! comes back: journals need witnesses, and rulings a second voice.
//!
//! There is no TLS here: what is said is signed and public among the parties, and a proxy in front
//! can add it. The address that counts is then the proxy's, so the proxy limits addresses itself.

mod bounded;
mod peers;
mod problem;
mod routes;
mod worker;

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use self::peers::Peers;
use super::desk::Desk;
use super::limits::{BUSY, LISTEN, Rate};
use super::request::REQUEST_MAX_BYTES;
use super::stop::told_to_stop;
use crate::error::Result;

pub use problem::status_of;
pub use routes::OPENAPI;

/// What strangers may ask of the server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest request, in bytes.
    pub request: usize,
    /// Connections at a time.
    pub connections: usize,
    /// Connections of one address at a time.
    pub of_one: usize,
    /// Time for a question to arrive whole.
    pub arrival: Duration,
    /// Time for a connection altogether.
    pub whole: Duration,
    /// Questions that wait for the desk.
    pub queue: usize,
    /// How often an address may ask.
    pub address: Rate,
    /// How often a party of a contract may.
    pub party: Rate,
    /// Time between steps that nobody has asked for.
    pub step: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request: REQUEST_MAX_BYTES,
            connections: 256,
            of_one: 32,
            arrival: Duration::from_secs(10),
            whole: Duration::from_secs(180),
            queue: 64,
            address: Rate { burst: 60, every: Duration::from_millis(200) },
            party: Rate { burst: 40, every: Duration::from_secs(1) },
            step: Duration::from_secs(30),
        }
    }
}

/// A line of the log: what happened, never what was in it.
fn log(line: impl std::fmt::Display) {
    use std::io::Write;
    // Whoever closed standard error wants no log.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Serves the desk at `listen` until the process is told to stop; what it says is brought to the
/// other validators' servers at `peers`.
pub fn serve(desk: Desk, listen: SocketAddr, peers: &[String], limits: Limits) -> Result<()> {
    let failed = |error: std::io::Error| LISTEN.unstored(listen, "an address to listen at", error);
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (questions, queue) = mpsc::sync_channel(limits.queue);
    let (gone, ended) = oneshot::channel::<()>();
    let peers = Peers::start(peers)?;
    let worker = thread::spawn(move || {
        // Told when this thread ends, however it does.
        let _gone = gone;
        worker::work(desk, peers, &queue, limits);
    });
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        log(format_args!("listening on {}", listener.local_addr().map_err(failed)?));
        let stop = async {
            tokio::select! {
                name = told_to_stop() => log(format_args!("stopping: {name}")),
                _ = ended => log("stopping: the desk's thread has ended"),
            }
        };
        let listener = bounded::Listener::new(listener, limits);
        let served = axum::serve(listener, routes::service(questions, limits));
        served.with_graceful_shutdown(stop).await.map_err(failed)
    })?;
    drop(runtime);
    // The queue has no more senders: what is in it is finished.
    worker.join().map_err(|_| BUSY.broken("the desk's thread", "an orderly end", "a panic"))?;
    log("stopped");
    Ok(())
}
