//! Bitcoin Core's JSON-RPC over HTTP, with the credentials that it takes.

use std::fmt;
use std::time::Duration;

use bitcoin::base64::Engine;
use bitcoin::base64::prelude::BASE64_STANDARD;
use jsonrpc::client::Transport;
use jsonrpc::{Error as ClientError, Request, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::Auth;
use crate::error::{Result, Rule};
use crate::http::{Address, Trouble};

/// The node's address can be read.
pub const URL: Rule = Rule::new(
    "core-url",
    "Bitcoin Core's RPC is named http://host:port, without a user in it",
    "correct the address; a password is given apart from it, and TLS by a tunnel",
);

/// Longest answer, in bytes: a template has 8 million hex digits at most, and the txids of a
/// mempool of a million transactions fit nearly.
const LONGEST: usize = 64 << 20;

/// The node's address and what we show it.
pub(super) struct Post {
    address: Address,
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
        let address = Address::parse(url).ok_or_else(|| misused(url))?;
        Ok(Self { address, auth, timeout })
    }

    /// The header `Authorization` (RFC 7617). A cookie is read anew each time: the node writes
    /// another one at each start.
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
        Ok(Zeroizing::new(format!("Authorization: Basic {}\r\n", encoded.as_str())))
    }

    fn question<R: DeserializeOwned>(&self, question: &impl Serialize) -> Result<R, ClientError> {
        let body = serde_json::to_vec(question)?;
        let shown = || self.authorization();
        let answer = self.address.post("", shown, &body, self.timeout, LONGEST);
        let (status, body) = answer.map_err(transport)?;
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
        write!(f, "http://{}", self.address.host())
    }
}
