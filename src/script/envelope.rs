//! The envelope: how an inscription lies in a script without running.
//!
//! ```text
//!  OP_FALSE OP_IF  "ord"  1 content type  [3 parent]  0 body..  OP_ENDIF
//! ```
//! It is the ordinals protocol's, and means nothing to Bitcoin: the branch is never taken. Behind the
//! last opcode of a leaf it leaves the leaf's outcome as it is, so whoever can spend the leaf inscribes
//! the first satoshi of the input by spending it. Wallets and explorers then show the text.

use bitcoin::hashes::Hash;
use bitcoin::opcodes::OP_FALSE;
use bitcoin::opcodes::all::{OP_ENDIF, OP_IF};
use bitcoin::script::{Builder, PushBytes};
use bitcoin::{ScriptBuf, Txid};

use crate::error::{Culprit, Result, Rule};

/// An inscription is small.
pub const TEXT: Rule = Rule::new(
    "script-envelope",
    "an inscribed text has 1 to 520 bytes",
    "inscribe less: the terms lie in the dossier",
);

/// Names an inscription by the transaction that revealed it, in which it was the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InscriptionId(pub Txid);

impl core::fmt::Display for InscriptionId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}i0", self.0)
    }
}

/// The envelope of a plain text, as a child of `parent` if there is one: opcodes to append to a leaf.
pub fn envelope(text: &str, parent: Option<InscriptionId>) -> Result<ScriptBuf> {
    let refuse = || TEXT.refuses(Culprit::Sender, "inscription", "1 to 520 bytes", text.len());
    let body: &PushBytes = text.as_bytes().try_into().map_err(|_| refuse())?;
    // One push; more would need several.
    if body.is_empty() || body.len() > 520 {
        return Err(refuse());
    }
    let mut script = Builder::new()
        .push_opcode(OP_FALSE)
        .push_opcode(OP_IF)
        .push_slice(b"ord")
        .push_slice([1])
        .push_slice(b"text/plain;charset=utf-8");
    if let Some(InscriptionId(txid)) = parent {
        // The txid's bytes, then the index without trailing zeros: none for the first.
        script = script.push_slice([3]).push_slice(txid.to_byte_array());
    }
    Ok(script.push_opcode(OP_FALSE).push_slice(body).push_opcode(OP_ENDIF).into_script())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_is_that_of_the_ordinals_protocol() {
        let parent = InscriptionId(Txid::from_byte_array([7; 32]));
        let kind = "text/plain;charset=utf-8".bytes().map(|byte| format!("{byte:02x}"));
        let kind: String = kind.collect();
        let child = format!("0063036f7264010118{kind}010320{}0002686968", "07".repeat(32));
        assert_eq!(envelope("hi", Some(parent)).unwrap().to_hex_string(), child);
        let alone = format!("0063036f7264010118{kind}0002686968");
        assert_eq!(envelope("hi", None).unwrap().to_hex_string(), alone);
        assert_eq!(parent.to_string(), format!("{}i0", "07".repeat(32)));
    }

    #[test]
    fn a_text_that_does_not_fit_one_push_is_refused() {
        assert!(envelope(&"x".repeat(520), None).is_ok());
        for text in [String::new(), "x".repeat(521)] {
            assert_eq!(envelope(&text, None).unwrap_err().rule(), "script-envelope");
        }
    }
}
