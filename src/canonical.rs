//! One byte string for one meaning: deterministic CBOR (RFC 8949, section 4.2.1) of a JSON value.
//!
//! People keep records and terms as JSON files; ids and signatures are taken over these bytes, so
//! that white space and the order of fields do not matter. Integers, texts, lists, maps, booleans
//! and null exist; fractions do not, because nothing that two parties agree on has any.

use serde::Serialize;
use serde_json::Value;

use crate::error::{Culprit, Result, Rule};

/// What is signed has a canonical form.
pub const NUMBER: Rule = Rule::new(
    "canonical-number",
    "numbers are whole and not negative",
    "state the amount in the smallest unit",
);

/// Deterministic CBOR of `value`: shortest integers, map keys in bytewise order of their encoding.
pub fn bytes(value: &impl Serialize) -> Result<Vec<u8>> {
    let value = serde_json::to_value(value)
        .map_err(|error| NUMBER.broken("canonical form", "a value of JSON", error))?;
    let mut out = Vec::new();
    write(&value, &mut out)?;
    Ok(out)
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(false) => out.push(0xf4),
        Value::Bool(true) => out.push(0xf5),
        Value::Number(number) => match number.as_u64() {
            Some(number) => head(0, number, out),
            None => {
                return Err(NUMBER.refuses(
                    Culprit::Sender,
                    "canonical form",
                    "a whole number below 2^64",
                    number,
                ));
            }
        },
        Value::String(text) => {
            head(3, text.len() as u64, out);
            out.extend_from_slice(text.as_bytes());
        }
        Value::Array(items) => {
            head(4, items.len() as u64, out);
            items.iter().try_for_each(|item| write(item, out))?;
        }
        Value::Object(fields) => {
            head(5, fields.len() as u64, out);
            let mut entries = Vec::with_capacity(fields.len());
            for (name, field) in fields {
                let mut key = Vec::new();
                head(3, name.len() as u64, &mut key);
                key.extend_from_slice(name.as_bytes());
                entries.push((key, field));
            }
            entries.sort_by(|(left, _), (right, _)| left.cmp(right));
            for (key, field) in entries {
                out.extend_from_slice(&key);
                write(field, out)?;
            }
        }
    }
    Ok(())
}

/// The head of a data item: major type in the top three bits, argument in its shortest form.
fn head(major: u8, argument: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    let bytes = argument.to_be_bytes();
    match argument {
        0..=23 => out.extend(bytes.iter().skip(7).map(|low| major | low)),
        24..=0xff => {
            out.push(major | 24);
            out.extend(bytes.iter().skip(7));
        }
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend(bytes.iter().skip(6));
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend(bytes.iter().skip(4));
        }
        _ => {
            out.push(major | 27);
            out.extend(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hex(value: Value) -> String {
        bytes(&value).unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_examples_of_rfc_8949_appendix_a_come_out_to_the_byte() {
        assert_eq!(hex(json!(0)), "00");
        assert_eq!(hex(json!(23)), "17");
        assert_eq!(hex(json!(24)), "1818");
        assert_eq!(hex(json!(1000)), "1903e8");
        assert_eq!(hex(json!(1_000_000)), "1a000f4240");
        assert_eq!(hex(json!(1_000_000_000_000u64)), "1b000000e8d4a51000");
        assert_eq!(hex(json!(u64::MAX)), "1bffffffffffffffff");
        assert_eq!(hex(json!([1, [2, 3], [4, 5]])), "8301820203820405");
        assert_eq!(hex(json!({"a": 1, "b": [2, 3]})), "a26161016162820203");
        assert_eq!(hex(json!([false, true, null, "IETF", "ü"])), "85f4f5f6644945544662c3bc");
    }

    #[test]
    fn shorter_keys_come_first_whatever_the_order_of_the_fields() {
        assert_eq!(hex(json!({"aa": 1, "b": 2})), "a2616202626161".to_string() + "01");
        assert_eq!(hex(json!({"b": 2, "aa": 1})), hex(json!({"aa": 1, "b": 2})));
    }

    #[test]
    fn fractions_and_negative_numbers_are_refused() {
        for value in [json!(1.5), json!(-1)] {
            assert_eq!(bytes(&value).unwrap_err().rule(), "canonical-number");
        }
    }
}
