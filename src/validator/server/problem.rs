//! Errors as `application/problem+json` (RFC 9457), with the rule's id.

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use serde_json::{Value, json};

use crate::error::{Error, Rule};
use crate::validator::limits;
use crate::validator::veil::veil;
use crate::validator::{query, registration, request};

/// Rules with a status of their own; all others follow the kind of the error.
const STATUS: [(Rule, u16); 17] = [
    (limits::ROUTE, 404),
    (limits::RATE, 429),
    (limits::BUSY, 503),
    (limits::BODY, 400),
    (registration::FORM, 400),
    (registration::SIZE, 413),
    (registration::FIRST, 409),
    (request::SIZE, 413),
    (request::FORM, 400),
    (request::CONTRACT, 404),
    (request::SEAT, 403),
    (request::SIGNATURE, 401),
    (request::KEY, 409),
    (request::KEYS, 429),
    (query::FORM, 401),
    (query::TIP, 401),
    (query::SIGNATURE, 401),
];

/// The HTTP status of an error: of its rule, or of its kind.
pub fn status_of(error: &Error) -> u16 {
    let own = STATUS.iter().find(|(rule, _)| rule.id == error.rule());
    match (own, error) {
        (Some((_, status)), _) => *status,
        (None, Error::Usage(_)) => 400,
        (None, Error::Refused { .. }) => 422,
        (None, Error::Unavailable(_)) => 503,
        (None, Error::Broken(_) | Error::Storage(_)) => 500,
    }
}

/// The problem in JSON, as strangers may read it: see [`veil`].
pub(super) fn problem(error: &Error) -> Value {
    let veiled = veil(error);
    let fault = veiled.fault();
    let culprit = match error {
        Error::Refused { by, .. } => by.to_string(),
        Error::Usage(_) => "sender".to_owned(),
        Error::Broken(_) | Error::Storage(_) => "this validator".to_owned(),
        Error::Unavailable(_) => "nobody".to_owned(),
    };
    json!({
        "type": format!("urn:hashmix:rule:{}", fault.rule.id),
        "title": fault.rule.says,
        "status": status_of(error),
        "rule": fault.rule.id,
        "culprit": culprit,
        "place": fault.place,
        "expected": fault.expected,
        "found": fault.found,
        "advice": fault.rule.advice,
    })
}

/// The whole response.
pub(super) fn response(error: &Error) -> Response<Body> {
    answer(status_of(error), "application/problem+json", problem(error).to_string())
}

/// A response with a body; the connection ends with it.
pub(super) fn answer(status: u16, kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    let value = header::HeaderValue::from_static;
    headers.insert(header::CONTENT_TYPE, value(kind));
    headers.insert(header::CONNECTION, value("close"));
    headers.insert(header::CACHE_CONTROL, value("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Culprit;

    const TEST: Rule = Rule::new("test-rule", "it holds", "do it");

    #[test]
    fn the_status_follows_the_rule_and_then_the_kind() {
        let refused = |rule: Rule| status_of(&rule.refuses(Culprit::Sender, "p", "e", "f"));
        assert_eq!(refused(request::SIZE), 413);
        assert_eq!(refused(request::CONTRACT), 404);
        assert_eq!(refused(limits::RATE), 429);
        assert_eq!(refused(TEST), 422);
        assert_eq!(status_of(&TEST.misused("p", "e", "f")), 400);
        assert_eq!(status_of(&TEST.unavailable("p", "e", "f")), 503);
        assert_eq!(status_of(&TEST.broken("p", "e", "f")), 500);
    }

    #[test]
    fn a_fault_of_ours_shows_strangers_no_path() {
        let told = problem(&TEST.unstored("store /secret/place", "room", "none")).to_string();
        assert!(told.contains("test-rule") && !told.contains("/secret"), "{told}");
        let told = problem(&TEST.refuses(Culprit::Miner, "word 1", "e", "f"));
        assert_eq!((&told["culprit"], &told["place"]), (&json!("miner"), &json!("word 1")));
    }
}
