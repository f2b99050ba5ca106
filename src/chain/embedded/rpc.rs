//! JSON-RPC, one line at a time: what a request looks like, and what is said to one that does not.
//!
//! A request that is not understood gets an error and the connection stays. Codes are those of
//! JSON-RPC, 1 for a question that has no answer, 2 for what Core refuses (with Core's reason).

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Why a request has no result.
pub(super) enum Fault {
    /// The line is not JSON.
    Unreadable,
    /// The JSON is not a request.
    Malformed,
    /// Nobody has heard of the method.
    UnknownMethod,
    /// The method has other parameters.
    Params,
    /// The question is clear and has no answer.
    Unanswerable(String),
    /// Core refuses.
    Refused(String),
}

impl Fault {
    fn to_value(&self) -> Value {
        let (code, message) = match self {
            Self::Unreadable => (-32_700, "parse error"),
            Self::Malformed => (-32_600, "invalid request"),
            Self::UnknownMethod => (-32_601, "method not found"),
            Self::Params => (-32_602, "invalid params"),
            Self::Unanswerable(why) => (1, why.as_str()),
            Self::Refused(reason) => (2, reason.as_str()),
        };
        json!({ "code": code, "message": message })
    }
}

/// The result of one request.
pub(super) type Answer = Result<Value, Fault>;

/// Answers one line: a request, or an array of requests.
pub(super) fn answer(line: &[u8], call: &mut dyn FnMut(&str, &[Value]) -> Answer) -> Value {
    match serde_json::from_slice(line) {
        Err(_) => reply(Value::Null, Err(Fault::Unreadable)),
        Ok(Value::Array(requests)) if !requests.is_empty() => {
            requests.iter().map(|request| one(request, call)).collect()
        }
        Ok(request) => one(&request, call),
    }
}

fn one(request: &Value, call: &mut dyn FnMut(&str, &[Value]) -> Answer) -> Value {
    let id = request.get("id").cloned().unwrap_or(Value::Null);
    let result = match (request.get("method"), request.get("params")) {
        (Some(Value::String(method)), None | Some(Value::Null)) => call(method, &[]),
        (Some(Value::String(method)), Some(Value::Array(params))) => call(method, params),
        (Some(Value::String(_)), Some(_)) => Err(Fault::Params),
        _ => Err(Fault::Malformed),
    };
    reply(id, result)
}

fn reply(id: Value, result: Answer) -> Value {
    match result {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(fault) => json!({ "jsonrpc": "2.0", "id": id, "error": fault.to_value() }),
    }
}

/// A parameter by its place.
pub(super) fn nth<T: DeserializeOwned>(params: &[Value], place: usize) -> Result<T, Fault> {
    let value = params.get(place).ok_or(Fault::Params)?;
    serde_json::from_value(value.clone()).map_err(|_| Fault::Params)
}

/// A parameter that may be left out.
pub(super) fn nth_or<T: DeserializeOwned>(
    params: &[Value],
    place: usize,
    or: T,
) -> Result<T, Fault> {
    if params.len() > place { nth(params, place) } else { Ok(or) }
}
