//! The window: status and metrics over HTTP, for whoever may reach the address. Nothing can be
//! changed here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::error::{Result, Rule};
use crate::gateway::status::Status;

/// The window can be opened.
pub const LISTEN: Rule = Rule::new(
    "gateway-window-listen",
    "status and metrics are served at an address of this machine that is free",
    "choose another address in `status`, or end what listens there",
);

/// Where a status is asked for.
pub const STATUS_PATH: &str = "/status";

/// A window that is open; it closes when it is dropped.
#[derive(Debug)]
pub struct Window {
    address: SocketAddr,
    down: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Window {
    /// Opens the window; `status` is asked each time somebody looks.
    pub fn open(
        listen: SocketAddr,
        status: impl Fn() -> Status + Send + Sync + 'static,
    ) -> Result<Self> {
        let failed = |error: std::io::Error| LISTEN.unstored(listen, "a free address", error);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let listener = runtime.block_on(TcpListener::bind(listen)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let status = Arc::new(status);
        let metrics = status.clone();
        let json = ([(CONTENT_TYPE, "application/json")], ());
        let text = ([(CONTENT_TYPE, "text/plain; version=0.0.4")], ());
        let service = Router::new()
            .route(STATUS_PATH, get(move || async move { (json.0, status().to_json()) }))
            .route("/metrics", get(move || async move { (text.0, metrics().to_metrics()) }));
        let (down, told) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let stop = async {
                let _ = told.await;
            };
            runtime.block_on(async {
                // What breaks here breaks nobody's mining; the next look shows it.
                tokio::select! {
                    _ = axum::serve(listener, service).into_future() => {}
                    () = stop => {}
                }
            });
        });
        Ok(Self { address, down: Some(down), thread: Some(thread) })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.down.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
