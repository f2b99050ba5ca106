//! Paths and methods, and what is asked before the desk is.

use std::future::ready;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{Response, Uri, header};
use axum::routing::{get, post};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Limits;
use super::bounded::Peer;
use super::problem::{answer, response};
use super::worker::{Ask, Job, Question};
use crate::error::{Culprit, Error, Result};
use crate::validator::limits::{BODY, BUSY, Buckets, ROUTE};
use crate::validator::query::{FORM, Query};
use crate::validator::registration::{self, REGISTRATION_MAX_BYTES};
use crate::validator::request;

/// The interface, as OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("../../../docs/openapi.json");

/// What every handler needs.
struct Shared {
    questions: SyncSender<Job>,
    limits: Limits,
    start: Instant,
    addresses: Mutex<Buckets<std::net::IpAddr>>,
}

type Held = State<Arc<Shared>>;
type From = ConnectInfo<Peer>;

/// The whole service.
pub(super) fn service(
    questions: SyncSender<Job>,
    limits: Limits,
) -> IntoMakeServiceWithConnectInfo<Router, Peer> {
    let addresses = Mutex::new(Buckets::new(limits.address));
    let shared = Arc::new(Shared { questions, limits, start: Instant::now(), addresses });
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/openapi.json", get(openapi))
        .route("/v1/contracts", post(register))
        .route("/v1/contracts/{id}", get(standing))
        .route("/v1/contracts/{id}/words", get(words))
        .route("/v1/requests", post(hand_in))
        .fallback(elsewhere)
        .method_not_allowed_fallback(elsewhere)
        .with_state(shared)
        .into_make_service_with_connect_info::<Peer>()
}

async fn status(State(shared): Held, ConnectInfo(peer): From) -> Response<Body> {
    shared.asked(&peer, ready(Ok(Ask::Status))).await
}

async fn openapi(State(shared): Held, ConnectInfo(peer): From) -> Response<Body> {
    match shared.admit(&peer) {
        Ok(()) => answer(200, "application/json", OPENAPI.to_owned()),
        Err(error) => response(&error),
    }
}

async fn register(State(shared): Held, ConnectInfo(peer): From, asked: Request) -> Response<Body> {
    let longest = REGISTRATION_MAX_BYTES;
    let text =
        async { text(asked, longest, registration::SIZE, &shared.limits).await.map(Ask::Register) };
    shared.asked(&peer, text).await
}

async fn hand_in(State(shared): Held, ConnectInfo(peer): From, asked: Request) -> Response<Body> {
    let longest = shared.limits.request;
    let text =
        async { text(asked, longest, request::SIZE, &shared.limits).await.map(Ask::Request) };
    shared.asked(&peer, text).await
}

async fn standing(
    State(shared): Held,
    ConnectInfo(peer): From,
    Path(id): Path<String>,
    asked: Request,
) -> Response<Body> {
    let ask = question(&id, &asked).map(Ask::Standing);
    shared.asked(&peer, ready(ask)).await
}

async fn words(
    State(shared): Held,
    ConnectInfo(peer): From,
    Path(id): Path<String>,
    asked: Request,
) -> Response<Body> {
    let ask =
        question(&id, &asked).and_then(|question| Ok(Ask::Words(question, after(asked.uri())?)));
    shared.asked(&peer, ready(ask)).await
}

async fn elsewhere(State(shared): Held, ConnectInfo(peer): From, asked: Request) -> Response<Body> {
    let refused = match shared.admit(&peer) {
        Ok(()) => {
            let found = format_args!("{} {}", asked.method(), asked.uri().path()).to_string();
            ROUTE.refuses(Culprit::Sender, "question", "a path and method of the document", found)
        }
        Err(error) => error,
    };
    response(&refused)
}

/// The question that a request about a contract carries in its header.
fn question(id: &str, asked: &Request) -> Result<Question> {
    let header = asked.headers().get("hashmix-auth").and_then(|value| value.to_str().ok());
    let header = header.ok_or_else(|| {
        FORM.refuses(Culprit::Sender, "HashMix-Auth", "seat tip signature", "none")
    })?;
    let path = asked.uri().path_and_query().map_or("/", |path| path.as_str());
    Ok(Question {
        contract: id.parse()?,
        query: Query::from_header(header)?,
        asked: path.to_owned(),
    })
}

/// The number in `?after=N`; 0 without it.
fn after(uri: &Uri) -> Result<u64> {
    match uri.query() {
        None => Ok(0),
        Some(query) => query
            .strip_prefix("after=")
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| ROUTE.refuses(Culprit::Sender, "query of the path", "after=N", query)),
    }
}

/// The body as text: its stated length is looked at first, then as much as is allowed is read.
async fn text(
    asked: Request,
    longest: usize,
    size: crate::error::Rule,
    limits: &Limits,
) -> Result<String> {
    let too_long = |found: &str| {
        let expected = format_args!("at most {longest} bytes").to_string();
        size.refuses(Culprit::Sender, "body", expected, found)
    };
    let stated = asked.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if let Some(stated) = stated
        && stated.parse::<usize>().map_or(true, |stated| stated > longest)
    {
        return Err(too_long(stated));
    }
    let body = |found: &dyn core::fmt::Display| {
        BODY.refuses(Culprit::Sender, "body", "UTF-8 text, whole and in time", found)
    };
    let read = timeout(limits.arrival, to_bytes(asked.into_body(), longest)).await;
    let bytes = read.map_err(|_| body(&"silence"))?.map_err(|error| {
        match std::error::Error::source(&error).is_some_and(|why| why.to_string().contains("limit"))
        {
            true => too_long("more"),
            false => body(&"a connection that broke off"),
        }
    })?;
    String::from_utf8(bytes.into()).map_err(|error| body(&error.utf8_error()))
}

impl Shared {
    /// Takes a token of the address.
    fn admit(&self, peer: &Peer) -> Result<()> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        addresses.take(&peer.address, self.start.elapsed())
    }

    /// Admits the address, reads the question, has it answered by the desk.
    async fn asked(&self, peer: &Peer, ask: impl Future<Output = Result<Ask>>) -> Response<Body> {
        match self.answered(peer, ask).await {
            Ok(text) => answer(200, "application/json", text),
            Err(error) => response(&error),
        }
    }

    async fn answered(
        &self,
        peer: &Peer,
        ask: impl Future<Output = Result<Ask>>,
    ) -> Result<String> {
        self.admit(peer)?;
        let ask = ask.await?;
        peer.arrived.store(true, Ordering::Relaxed);
        let (reply, told) = oneshot::channel();
        let busy = |found: &str| -> Error { BUSY.unavailable("queue", "a place in it", found) };
        self.questions.try_send(Job { ask, reply }).map_err(|error| match error {
            TrySendError::Full(_) => busy("none"),
            TrySendError::Disconnected(_) => busy("a desk that is closed"),
        })?;
        told.await.map_err(|_| busy("a desk that closed"))?
    }
}
