//! docs/openapi.json is what the server does: its paths, and the form of real answers.

use hashmix::party::Seat;
use hashmix::validator::server::OPENAPI;
use serde_json::Value;

use crate::http::{Server, rule, signed};
use crate::town::{Town, registration, request};
use crate::world::FULL;

fn document() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

/// What does not fit the schema: the part of JSON Schema that our document uses, and no more.
fn misfits(document: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let wrong = |what: &str| vec![format!("{place}: {what}: {value}")];
    for (keyword, part) in schema.as_object().unwrap() {
        let found = match keyword.as_str() {
            "$ref" => {
                let pointer = part.as_str().unwrap().strip_prefix('#').unwrap();
                misfits(document, document.pointer(pointer).unwrap(), value, place)
            }
            "anyOf" => {
                let any = part.as_array().unwrap();
                match any.iter().any(|one| misfits(document, one, value, place).is_empty()) {
                    true => vec![],
                    false => wrong("none of anyOf"),
                }
            }
            "type" => {
                let fits = match part.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.is_u64(),
                    "boolean" => value.is_boolean(),
                    "null" => value.is_null(),
                    other => panic!("{other}"),
                };
                if fits { vec![] } else { wrong("type") }
            }
            "required" => {
                let names = part.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                names.filter(|name| value.get(name).is_none()).flat_map(wrong).collect()
            }
            "properties" => value
                .as_object()
                .into_iter()
                .flatten()
                .flat_map(|(name, field)| match part.get(name) {
                    Some(schema) => misfits(document, schema, field, &format!("{place}.{name}")),
                    None => wrong(name),
                })
                .collect(),
            "items" => {
                let items = value.as_array().into_iter().flatten();
                items.flat_map(|item| misfits(document, part, item, place)).collect()
            }
            "pattern" => {
                let digits = part.as_str().unwrap().split(['{', '}']).nth(1).unwrap();
                let text = value.as_str().unwrap_or_default();
                let hex = text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
                if hex && text.len().to_string() == digits { vec![] } else { wrong("pattern") }
            }
            "enum" if !part.as_array().unwrap().contains(value) => wrong("enum"),
            "const" if part != value => wrong("const"),
            "minLength" if value.as_str().unwrap().is_empty() => wrong("minLength"),
            "enum"
            | "const"
            | "minLength"
            | "maxLength"
            | "minItems"
            | "maxItems"
            | "minimum"
            | "maximum"
            | "description"
            | "additionalProperties" => vec![],
            other => panic!("{other} is not checked here"),
        };
        if !found.is_empty() {
            return found;
        }
    }
    vec![]
}

fn fits(name: &str, text: &str) {
    let document = document();
    let schema = document.pointer(&format!("/components/schemas/{name}")).unwrap();
    let value: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("{text}"));
    let found = misfits(&document, schema, &value, name);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn real_questions_and_answers_have_the_documents_form() {
    let mut town = Town::funded();
    let (id, to) = (town.id(), Seat::Validator(0));
    let server = Server::start(&town, 0);
    let text = registration(&town.table).to_json().unwrap();
    fits("Registration", &text);
    let mut bought: Value = serde_json::from_str(&text).unwrap();
    let fields = bought.as_object_mut().unwrap();
    fields.remove("miner").and(fields.remove("holder")).unwrap();
    fields.insert("sale".to_owned(), serde_json::json!({ "offer": {}, "acceptance": {} }));
    fits("Registration", &bought.to_string());
    fits("Registered", &server.post("/v1/contracts", &text).1);
    fits("Status", &server.ask("GET", "/v1/status", "", "").1);
    town.table.deliver(0, FULL);
    let good = request(id, Seat::Miner, "good", town.mail(0)).to_json().unwrap();
    fits("Request", &good);
    let (status, answer) = server.post("/v1/requests", &good);
    assert_eq!(status, 200, "{answer}");
    fits("Answer", &answer);
    let many = request(id, Seat::Miner, "many", vec![crate::requests::close(&town); 65]);
    let (_, answer) = server.post("/v1/requests", &many.to_json().unwrap());
    assert!(answer.contains("policy-request-words"), "{answer}");
    fits("Answer", &answer);
    for (path, schema) in [("", "Standing"), ("/words", "Words"), ("/words?after=1", "Words")] {
        let path = format!("/v1/contracts/{id}{path}");
        let auth = signed(id, Seat::Validator(2), to, &path, server.tip());
        let (status, body) = server.ask("GET", &path, &auth, "");
        assert_eq!(status, 200, "{body}");
        fits(schema, &body);
        let (_, body) = server.ask("GET", &path, "", "");
        fits("Problem", &body);
    }
    assert_eq!(server.ask("GET", "/v1/openapi.json", "", "").1, OPENAPI);
}

#[test]
fn the_server_knows_the_documents_paths_and_methods_and_no_others() {
    let town = Town::funded();
    let server = Server::start(&town, 0);
    let document = document();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let real = path.replace("{id}", &town.id().to_string());
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            let known = operations.get(method.to_lowercase()).is_some();
            let (status, body) = server.ask(method, &real, "", "");
            let unknown = status == 404 && rule(&body) == "http-route";
            assert_eq!(unknown, !known, "{method} {path}: {status} {body}");
            let told = operations.pointer(&format!("/{}/responses", method.to_lowercase()));
            if let Some(told) = told {
                assert!(told.get(status.to_string()).is_some(), "{method} {path}: {status}");
            }
        }
    }
}

#[test]
fn an_answer_of_another_form_would_be_found() {
    let document = document();
    let schema = document.pointer("/components/schemas/Waiting").unwrap();
    let misfit = |text: &str| {
        let value = serde_json::from_str(text).unwrap();
        !misfits(&document, schema, &value, "x").is_empty()
    };
    assert!(!misfit(r#"{"until":null,"why":"x"}"#) && !misfit(r#"{"until":7,"why":"x"}"#));
    for text in
        [r#"{"until":7}"#, r#"{"until":"7","why":"x"}"#, "[]", r#"{"until":7,"why":"","x":1}"#]
    {
        assert!(misfit(text), "{text}");
    }
}
