//! Stratum V1 as it is spoken: lines in, lines out. No state.
//!
//! A line is a JSON object with `id`, `method` and `params`. Ids may be anything and need not
//! differ (some CPU miners send 4 in every submit), so they go back as the bytes that came. Values
//! in `params` are read leniently in type and strictly in content: a text may be missing, a number
//! may be written as a string, but hexadecimal digits are counted.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::board::Posted;
use super::difficulty::Difficulty;
use super::reject::Reject;

/// Longest id that is sent back, in bytes; a longer one comes back as null.
const LONGEST_ID: usize = 128;
/// Longest name that is kept of what a machine says of itself, in characters.
const LONGEST_NAME: usize = 96;

/// A line as it came.
#[derive(Debug, Deserialize)]
pub struct Request<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

impl<'a> Request<'a> {
    /// Reads a line; `None` if it is no JSON object with these fields.
    pub fn read(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// The id as it came.
    pub fn id(&self) -> &'a str {
        self.id.map(RawValue::get).filter(|id| id.len() <= LONGEST_ID).unwrap_or("null")
    }

    /// What is asked for; empty in an answer to something that we said.
    pub fn method(&self) -> &str {
        self.method.as_deref().unwrap_or_default()
    }

    /// The parameters, which need not be there.
    fn list(&self) -> Vec<&'a RawValue> {
        self.params.and_then(|params| serde_json::from_str(params.get()).ok()).unwrap_or_default()
    }

    /// The text at place `at` of the parameters, fit to be shown: printable and not long.
    pub fn text(&self, at: usize) -> Option<String> {
        let list = self.list();
        let text: Cow<'_, str> = serde_json::from_str(list.get(at)?.get()).ok()?;
        Some(shown(&text))
    }

    /// The number at place `at` of the parameters, as a difficulty.
    pub fn difficulty(&self, at: usize) -> Option<Difficulty> {
        Difficulty::read(self.list().get(at)?.get())
    }

    /// The target at place `at` of the parameters: 64 hexadecimal digits, high ones first.
    pub fn target(&self, at: usize) -> Option<Difficulty> {
        let text = self.text(at)?;
        let bytes = hex::<32>(text.trim_start_matches("0x"))?;
        Some(Difficulty::of_target(bitcoin::Target::from_be_bytes(bytes)))
    }

    /// What `mining.configure` asks for.
    pub fn extensions(&self) -> Option<Extensions<'a>> {
        let list = self.list();
        let names = serde_json::from_str(list.first()?.get()).ok()?;
        // What cannot be read of the wishes is as if it were not there.
        let wishes: BTreeMap<Cow<'_, str>, Value> = list
            .get(1)
            .and_then(|wishes| serde_json::from_str(wishes.get()).ok())
            .unwrap_or_default();
        let mask = match wishes.get("version-rolling.mask") {
            Some(Value::String(text)) => number(text),
            Some(Value::Number(mask)) => mask.as_u64().and_then(|mask| u32::try_from(mask).ok()),
            _ => Some(u32::MAX),
        };
        Some(Extensions { names, mask })
    }

    /// What `mining.submit` hands in: five fields, or six; what comes behind them is passed over.
    pub fn submit(&self) -> Option<Submit<'a>> {
        let list = self.list();
        let text = |at: usize| plain(list.get(at)?.get());
        Some(Submit {
            user: text(0)?,
            job: text(1)?,
            extranonce: text(2)?,
            time: text(3)?,
            nonce: text(4)?,
            // Firmware that rolls nothing may send nothing in many ways.
            bits: match list.get(5).map(|bits| bits.get()) {
                None | Some("null" | "\"\"") => None,
                Some(bits) => Some(plain(bits)?),
            },
        })
    }
}

/// `mining.configure` (BIP 310): names of extensions, and the one parameter that matters to us.
#[derive(Debug)]
pub struct Extensions<'a> {
    /// The names.
    pub names: Vec<Cow<'a, str>>,
    /// Version bits that the machine can roll: all if it does not say, none if it says nonsense.
    pub mask: Option<u32>,
}

/// `mining.submit`: texts as they came.
#[derive(Debug)]
pub struct Submit<'a> {
    /// User and worker.
    pub user: Cow<'a, str>,
    /// The job's name.
    pub job: Cow<'a, str>,
    /// The machine's part of the extra nonce: hexadecimal.
    pub extranonce: Cow<'a, str>,
    /// The header's time: hexadecimal.
    pub time: Cow<'a, str>,
    /// The header's nonce: hexadecimal.
    pub nonce: Cow<'a, str>,
    /// The rolled version bits, where rolling was granted: hexadecimal.
    pub bits: Option<Cow<'a, str>>,
}

/// A text without its quotes, borrowed where it has no escapes; a number is the text that it is
/// written as.
fn plain(raw: &str) -> Option<Cow<'_, str>> {
    let Some(rest) = raw.strip_prefix('"') else {
        return raw.starts_with(|c: char| c.is_ascii_digit()).then_some(Cow::Borrowed(raw));
    };
    match rest.strip_suffix('"').filter(|text| !text.contains('\\')) {
        Some(text) => Some(Cow::Borrowed(text)),
        None => serde_json::from_str(raw).ok().map(Cow::Owned),
    }
}

/// A text fit to be shown: printable and not long.
pub fn shown(text: &str) -> String {
    let shown = |c: &char| {
        !c.is_control() && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
    };
    text.chars().filter(shown).take(LONGEST_NAME).collect()
}

/// Exactly `N` bytes of hexadecimal digits, high half first.
pub fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let pairs = text.as_bytes().as_chunks::<2>();
    if pairs.0.len() != N || !pairs.1.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs.0) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// Up to eight hexadecimal digits, as a number.
pub fn number(text: &str) -> Option<u32> {
    let text = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    if text.is_empty() || text.len() > 8 {
        return None;
    }
    let join = |number: u32, byte: &u8| Some(number << 4 | u32::from(digit(*byte)?));
    text.iter().try_fold(0, join)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Writes the answer to the request with this id; `result` is JSON.
pub fn answer(out: &mut Vec<u8>, id: &str, result: &str) {
    for part in ["{\"id\":", id, ",\"result\":", result, ",\"error\":null}\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Writes a refusal. Its result is null but for `mining.authorize`, which asks yes or no.
pub fn refuse(out: &mut Vec<u8>, id: &str, reject: Reject) {
    refuse_with(out, id, "null", reject.code(), reject.words());
}

/// Writes a refusal with words of its own.
pub fn refuse_with(out: &mut Vec<u8>, id: &str, result: &str, code: u8, words: &str) {
    // Writing to memory does not fail.
    let _ = write!(out, "{{\"id\":{id},\"result\":{result},\"error\":[{code},");
    let _ = serde_json::to_writer(&mut *out, words);
    out.extend_from_slice(b",null]}\n");
}

/// Writes `client.show_message`: words that some firmware shows to people.
pub fn show(out: &mut Vec<u8>, words: &str) {
    out.extend_from_slice(b"{\"id\":null,\"method\":\"client.show_message\",\"params\":[");
    let _ = serde_json::to_writer(&mut *out, words);
    out.extend_from_slice(b"]}\n");
}

/// Writes `mining.set_difficulty`.
pub fn set_difficulty(out: &mut Vec<u8>, difficulty: Difficulty) {
    let _ = writeln!(
        out,
        "{{\"id\":null,\"method\":\"mining.set_difficulty\",\"params\":[{difficulty}]}}"
    );
}

/// Writes `mining.notify`: the job under the name that this machine knows it by, with the header's
/// time.
pub fn notify(out: &mut Vec<u8>, name: u32, posted: &Posted, time: u32, clean: bool) {
    let _ = writeln!(
        out,
        "{{\"id\":null,\"method\":\"mining.notify\",\"params\":[\"{name:x}\",{},\"{time:08x}\",{clean}]}}",
        posted.told
    );
}

/// The answer to `mining.subscribe`: what will be sent, and how a coinbase is made.
pub fn subscribed(extranonce: [u8; 4], length: u8) -> String {
    let [a, b, c, d] = extranonce;
    let name = format!("{a:02x}{b:02x}{c:02x}{d:02x}");
    format!(
        "[[[\"mining.set_difficulty\",\"{name}\"],[\"mining.notify\",\"{name}\"]],\"{name}\",{length}]"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_of_any_kind_come_back_as_they_came() {
        for id in ["4", "\"a\\u0041\"", "null", "1.50", "-0", "[1, 2]", "{\"x\":true}", "1e400"] {
            let line = format!("{{\"params\":[],\"method\":\"mining.ping\",\"id\":{id}}}");
            let request = Request::read(line.as_bytes()).unwrap();
            // JSON's null is the same as no id.
            assert_eq!(request.id(), id);
            let mut out = Vec::new();
            answer(&mut out, request.id(), "true");
            let expected = format!("{{\"id\":{id},\"result\":true,\"error\":null}}\n");
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        let long = format!("{{\"id\":\"{}\",\"method\":\"x\"}}", "a".repeat(200));
        assert_eq!(Request::read(long.as_bytes()).unwrap().id(), "null");
    }

    #[test]
    fn a_submit_is_read_with_five_fields_or_six() {
        let read = |params: &str| {
            let line = format!("{{\"id\":4,\"method\":\"mining.submit\",\"params\":{params}}}");
            let request = Request::read(line.as_bytes()).unwrap();
            request.submit().map(|s| (s.user.into_owned(), s.bits.map(|bits| bits.into_owned())))
        };
        let bare = "[\"a.b\",\"1\",\"00\",\"00\",\"00\"";
        assert_eq!(read(&format!("{bare}]")), Some(("a.b".to_owned(), None)));
        let bits = Some("00002000".to_owned());
        assert_eq!(read(&format!("{bare},\"00002000\"]")), Some(("a.b".to_owned(), bits)));
        assert_eq!(read(&format!("{bare},null]")), Some(("a.b".to_owned(), None)));
        assert_eq!(read("[\"a.b\",\"1\",\"00\",\"00\"]"), None);
        assert_eq!(read(&format!("{bare},\"\"]")), Some(("a.b".to_owned(), None)));
        let bits = Some("00002000".to_owned());
        let more = format!("{bare},\"00002000\",\"\",7]");
        assert_eq!(read(&more), Some(("a.b".to_owned(), bits)));
        let bits = Some("2000".to_owned());
        assert_eq!(read("[\"a\\u002eb\",1,2,3,4,2000]"), Some(("a.b".to_owned(), bits)));
        assert_eq!(read(&format!("{bare},true]")), None);
        assert_eq!(read("[\"a.b\",null,\"00\",\"00\",\"00\"]"), None);
        assert_eq!(read("null"), None);
    }

    #[test]
    fn digits_are_counted() {
        assert_eq!(hex::<2>("0aFf"), Some([0x0a, 0xff]));
        for text in ["", "0a", "0aff0", "0aff00", "0a f", "0x0a", "é0a"] {
            assert_eq!(hex::<2>(text), None, "{text}");
        }
        assert_eq!(number("1FFFE000"), Some(0x1fff_e000));
        assert_eq!(number("0x2000"), Some(0x2000));
        assert_eq!(number("7"), Some(7));
        for text in ["", "0x", "123456789", "-1", "+1", "g"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn what_people_see_of_a_name_is_printable_and_short() {
        let line = format!(
            "{{\"id\":1,\"method\":\"m\",\"params\":[\"a\\nb\\u001b[31m\\u202e{}\"]}}",
            "c".repeat(500)
        );
        let text = Request::read(line.as_bytes()).unwrap().text(0).unwrap();
        assert!(text.starts_with("ab[31mcc"), "{text}");
        assert_eq!(text.chars().count(), LONGEST_NAME);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(request) = Request::read(&line) {
                let _ = (request.id(), request.text(0), request.difficulty(0), request.submit());
            }
        }

        #[test]
        fn a_refusal_is_one_line_of_json_whatever_the_words(words in any::<String>()) {
            let mut out = Vec::new();
            refuse_with(&mut out, "7", "false", 24, &words);
            prop_assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
            let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(value["error"][1].as_str(), Some(words.as_str()));
        }
    }
}
