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
