//! The server's answers, read strictly: each either has the form that the protocol gives it or is
//! handed back as garbled, with what was expected.

use bitcoin::block::Header;
use bitcoin::consensus::Decodable;
use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::hex::FromHex;
use bitcoin::{Amount, Transaction, TxMerkleNode, Txid};
use serde_json::Value;

use super::Garbled;
use super::branch::Branch;

fn garbled(expected: &'static str, answer: &Value) -> Garbled {
    (expected, answer.clone())
}

fn height(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|height| u32::try_from(height).ok())
}

/// 80 bytes in hex.
pub(super) fn header(answer: &Value) -> Result<Header, Garbled> {
    answer
        .as_str()
        .and_then(|text| deserialize_hex(text).ok())
        .ok_or_else(|| garbled("a header of 80 bytes in hex", answer))
}

/// `{"height": 7, "hex": "<header>"}`
pub(super) fn tip(answer: &Value) -> Result<(u32, Header), Garbled> {
    let read = || Some((height(answer.get("height")?)?, header(answer.get("hex")?).ok()?));
    read().ok_or_else(|| garbled("height and hex of a header", answer))
}

/// `{"count": 2, "hex": "<headers>", ..}`, or a list under `headers` since protocol 1.6.
pub(super) fn headers(answer: &Value) -> Result<Vec<Header>, Garbled> {
    let read = || match (answer.get("hex"), answer.get("headers")) {
        (Some(hex), _) => {
            let bytes = Vec::<u8>::from_hex(hex.as_str()?).ok()?;
            let mut rest = bytes.as_slice();
            let mut run = Vec::new();
            while !rest.is_empty() {
                run.push(Header::consensus_decode(&mut rest).ok()?);
            }
            Some(run)
        }
        (None, Some(list)) => list.as_array()?.iter().map(|one| header(one).ok()).collect(),
        (None, None) => None,
    };
    read().ok_or_else(|| garbled("headers of 80 bytes in hex", answer))
}

/// `[{"tx_hash": "<txid>", "height": 7}, ..]`, height 0 or -1 in the mempool.
pub(super) fn history(answer: &Value) -> Result<Vec<(Txid, Option<u32>)>, Garbled> {
    let item = |item: &Value| {
        let txid: Txid = item.get("tx_hash")?.as_str()?.parse().ok()?;
        let height = item.get("height")?.as_i64()?;
        let height = if height > 0 { Some(u32::try_from(height).ok()?) } else { None };
        Some((txid, height))
    };
    let read = || answer.as_array()?.iter().map(item).collect::<Option<Vec<_>>>();
    read().ok_or_else(|| garbled("a list of tx_hash and height", answer))
}

/// The transaction in hex.
pub(super) fn transaction(answer: &Value) -> Result<Transaction, Garbled> {
    answer
        .as_str()
        .and_then(|text| deserialize_hex(text).ok())
        .ok_or_else(|| garbled("a transaction in hex", answer))
}

/// `{"merkle": ["<sibling>", ..], "pos": 3, ..}`, siblings from the leaf up.
pub(super) fn branch(answer: &Value) -> Result<Branch, Garbled> {
    let read = || {
        let siblings: Option<Vec<TxMerkleNode>> = answer
            .get("merkle")?
            .as_array()?
            .iter()
            .map(|sibling| sibling.as_str()?.parse().ok())
            .collect();
        Some(Branch { siblings: siblings?, place: answer.get("pos")?.as_u64()? })
    };
    read().ok_or_else(|| garbled("merkle (a list of hashes) and pos", answer))
}

/// Bitcoin per 1,000 vB; a number below zero means that the server cannot tell.
pub(super) fn fee(answer: &Value) -> Result<Option<Amount>, Garbled> {
    let rate = answer.as_f64().ok_or_else(|| garbled("a number", answer))?;
    if rate.is_sign_negative() {
        return Ok(None);
    }
    // Converts through decimal digits; refuses what is no whole number of satoshis.
    Amount::from_btc(rate).map(Some).map_err(|_| garbled("bitcoin with 8 decimals", answer))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// JSON of any shape, often with the protocol's names and with hex.
    fn anything() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[0-9a-f]{0,200}".prop_map(Value::from),
            "[0-9a-f]{64}".prop_map(Value::from),
            "[0-9a-f]{160}".prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        let name = prop_oneof![
            Just("height"),
            Just("hex"),
            Just("headers"),
            Just("count"),
            Just("tx_hash"),
            Just("merkle"),
            Just("pos"),
            Just("other"),
        ];
        leaf.prop_recursive(3, 24, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(name.clone().prop_map(str::to_owned), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_answer_whatever_makes_a_reader_panic(answer in anything()) {
            let _ = (header(&answer), tip(&answer), headers(&answer), history(&answer));
            let _ = (transaction(&answer), branch(&answer), fee(&answer));
        }
    }

    #[test]
    fn heights_are_those_of_the_protocol() {
        let txid = "aa".repeat(32);
        let at = |height: i64| history(&json!([{ "tx_hash": txid, "height": height }]));
        for (height, read) in [(7, Some(7)), (0, None), (-1, None)] {
            assert_eq!(at(height).unwrap()[0].1, read);
        }
        assert_eq!(at(1 << 32).unwrap_err().0, "a list of tx_hash and height");
    }

    #[test]
    fn a_header_with_a_byte_too_many_or_too_few_is_garbled() {
        for (length, good) in [(79, false), (80, true), (81, false)] {
            let text = json!("00".repeat(length));
            assert_eq!(header(&text).is_ok(), good, "{length}");
            assert_eq!(headers(&json!({ "hex": text })).is_ok(), good, "{length}");
        }
    }
}
