//! The PSBT that passes between people: a carrier, and nothing else.
//!
//! Whoever signs has rebuilt the transaction and made its PSBT himself (`Draft::psbt`). What he
//! receives must say exactly the same, or it is refused by the rule of the field that differs. So
//! no field of a PSBT can mislead a signer: not him, not the device behind him, not whoever reads
//! the file after him. Nothing is corrected and nothing is passed on.
//!
//! | what | rules | file |
//! |---|---|---|
//! | the bytes, the fields of the whole | `policy-psbt-…` | here |
//! | the unsigned transaction | `policy-tx-…` | `transaction.rs` |
//! | fields of an input | `policy-psbt-…` | `input.rs` |
//! | fields of an output | `policy-psbt-output-hint` | `output.rs` |
//! | what a joint round adds | `policy-psbt-round`, `musig-…` | `round.rs` |
//!
//! In which order the fields of a map are written is free (BIP 174) and says nothing; everything
//! else does.

use core::fmt;

use bitcoin::base64::Engine;
use bitcoin::base64::prelude::BASE64_STANDARD;
use bitcoin::hex::DisplayHex;
use bitcoin::psbt::raw::{Key, ProprietaryKey};
use bitcoin::psbt::{self, Psbt};
use bitcoin::{Script, TxOut};
use std::collections::BTreeMap;

use crate::error::{Culprit, Error, Result, Rule};
use crate::script::lock::{Lock, Path};
use crate::tx::draft::Title;

pub mod input;
pub mod output;
pub mod round;
pub mod transaction;

/// A PSBT can be read.
pub const FORM: Rule = Rule::new(
    "policy-psbt-form",
    "a PSBT is whole, Base64 or binary (BIP 174), and at most 4 MB long",
    "ask the sender to write it again",
);
/// It ends where it ends.
pub const TRAILING: Rule = Rule::new(
    "policy-psbt-trailing",
    "nothing lies behind the last map of a PSBT",
    "ask the sender what he has hung on to it",
);
/// No field says what is said without it.
pub const SHORTEST: Rule = Rule::new(
    "policy-psbt-shortest",
    "a PSBT is written in its shortest form",
    "ask the sender to write it again",
);
/// Two values of one field: every reader takes another one.
pub const TWICE: Rule = Rule::new(
    "policy-psbt-twice",
    "each field of a PSBT is there once",
    "ask the sender which of the two he means",
);
/// One version is understood.
pub const VERSION: Rule = Rule::new(
    "policy-psbt-version",
    "a PSBT is of version 0 (BIP 174)",
    "ask the sender for version 0",
);
/// One map for each input and each output.
pub const MAPS: Rule = Rule::new(
    "policy-psbt-maps",
    "a PSBT has one map for each input and each output of its transaction",
    "ask the sender to write it again",
);
/// Keys come from the terms.
pub const XPUB: Rule = Rule::new(
    "policy-psbt-xpub",
    "a PSBT carries no extended keys: they are in the records of the terms",
    "compare the records with the sender",
);
/// A second transaction beside the first.
pub const V2: Rule = Rule::new(
    "policy-psbt-v2",
    "a PSBT of version 0 carries no field of version 2 (BIP 370), which states the transaction anew",
    "ask the sender for version 0 alone",
);
/// What only its writer understands.
pub const PROPRIETARY: Rule = Rule::new(
    "policy-psbt-proprietary",
    "a PSBT carries no field of one software alone",
    "ask the sender which software wrote it, and for a PSBT without it",
);
/// What nobody here understands.
pub const UNKNOWN: Rule = Rule::new(
    "policy-psbt-unknown",
    "a PSBT carries no field that we would not write ourselves",
    "ask the sender for a PSBT without it",
);

/// Every rule of the comparison.
pub const RULES: &[Rule] = &[
    transaction::VERSION,
    transaction::LOCK_TIME,
    transaction::INPUTS,
    transaction::INPUT_TWICE,
    transaction::INPUT_ORDER,
    transaction::OUTPOINT,
    transaction::SEQUENCE,
    transaction::UNSIGNED,
    transaction::OUTPUTS,
    transaction::OUTPUT_ORDER,
    transaction::AMOUNT,
    transaction::SCRIPT,
    FORM,
    TRAILING,
    SHORTEST,
    TWICE,
    VERSION,
    MAPS,
    XPUB,
    V2,
    PROPRIETARY,
    UNKNOWN,
    input::UTXO_MISSING,
    input::UTXO_AMOUNT,
    input::UTXO_SCRIPT,
    input::PREVIOUS,
    input::SIGHASH,
    input::INTERNAL_KEY,
    input::MERKLE_ROOT,
    input::LEAF_MISSING,
    input::LEAF_FOREIGN,
    input::LEAF_OTHER,
    input::LEAF_VERSION,
    input::CONTROL_BLOCK,
    input::ORIGIN,
    input::KEY_SIGNATURE,
    input::LEAF_SIGNATURE,
    input::ECDSA,
    input::ANNEX,
    input::FINAL,
    input::SCRIPTS,
    input::PREIMAGE,
    output::HINT,
    round::ROUND,
];

/// Longest PSBT that is read, in bytes.
const LONGEST: usize = 4_000_000;
/// Types of the whole that BIP 370 adds: version, nLockTime, both counts, what may be changed.
const V2_GLOBAL: [u8; 5] = [0x02, 0x03, 0x04, 0x05, 0x06];

/// A script as refusals show it.
fn shown(script: &Script) -> String {
    match script.is_empty() {
        true => "an empty script".to_owned(),
        false => format!("{script:x}"),
    }
}

/// What an input spends, as its builder knows it.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    /// The output's value (satoshis) and script.
    pub prevout: &'a TxOut,
    /// The lock that it pays and the way in; none where it is no lock of a contract.
    pub lock: Option<(&'a Lock, Path)>,
}

/// Who is judged, and over which transaction.
struct Judge {
    title: Title,
    by: Culprit,
}

impl Judge {
    fn refuses(
        &self,
        rule: Rule,
        place: impl fmt::Display,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Error {
        rule.refuses(self.by, format_args!("{}, {place}", self.title), expected, found)
    }

    /// Refuses a field that we do not write.
    fn absent<T>(
        &self,
        rule: Rule,
        place: impl fmt::Display,
        field: Option<T>,
        shown: impl FnOnce(T) -> String,
    ) -> Result<()> {
        match field {
            None => Ok(()),
            Some(found) => Err(self.refuses(rule, place, "none", shown(found))),
        }
    }

    /// Refuses what other software or later standards write into a map.
    fn foreign(
        &self,
        place: &str,
        proprietary: &BTreeMap<ProprietaryKey, Vec<u8>>,
        unknown: &BTreeMap<Key, Vec<u8>>,
        rule: impl Fn(u8) -> Rule,
    ) -> Result<()> {
        let at = format_args!("{place}, proprietary field");
        self.absent(PROPRIETARY, at, proprietary.keys().next(), |key| {
            format!("{} of {}", key.subtype, key.prefix.to_lower_hex_string())
        })?;
        match unknown.keys().next() {
            None => Ok(()),
            Some(key) => {
                let at = format_args!("{place}, field {:#04x}", key.type_value);
                Err(self.refuses(rule(key.type_value), at, "none", key))
            }
        }
    }
}

/// Reads a PSBT from Base64 or from bytes; `by` sent it.
pub fn read(bytes: &[u8], by: Culprit) -> Result<Psbt> {
    let refuse = |rule: Rule, expected: &str, found: &dyn fmt::Display| {
        rule.refuses(by, "PSBT", expected, found)
    };
    if bytes.len() > LONGEST {
        let found = format_args!("{} bytes", bytes.len());
        return Err(refuse(FORM, "at most 4 MB", &found));
    }
    let decoded;
    let binary = match bytes.starts_with(b"psbt\xff") {
        true => bytes,
        false => {
            decoded = BASE64_STANDARD
                .decode(bytes.trim_ascii())
                .map_err(|error| refuse(FORM, "Base64", &error))?;
            decoded.as_slice()
        }
    };
    let mut rest = binary;
    let read = Psbt::deserialize_from_reader(&mut rest).map_err(|error| match error {
        psbt::Error::Version(found) => refuse(VERSION, "version 0", &found),
        psbt::Error::DuplicateKey(key) => refuse(TWICE, "each field once", &key),
        psbt::Error::UnsignedTxHasScriptSigs => {
            refuse(transaction::UNSIGNED, "no scriptSig", &"a scriptSig")
        }
        psbt::Error::UnsignedTxHasScriptWitnesses => {
            refuse(transaction::UNSIGNED, "no witness", &"a witness")
        }
        other => refuse(FORM, "a whole PSBT", &other),
    })?;
    if !rest.is_empty() {
        let found = format_args!("{} bytes more", rest.len());
        return Err(refuse(TRAILING, "the end", &found));
    }
    let length = read.serialize().len();
    if binary.len() != length {
        let expected = format!("{length} bytes");
        return Err(refuse(SHORTEST, &expected, &format_args!("{} bytes", binary.len())));
    }
    Ok(read)
}

/// Refuses a PSBT that does not say exactly what `ours` says, naming the field that differs.
///
/// What is `known` of the inputs tells leaves of the same lock from foreign ones.
pub(super) fn compare(
    title: Title,
    ours: &Psbt,
    known: &[Known<'_>],
    theirs: &Psbt,
    by: Culprit,
) -> Result<()> {
    let judge = Judge { title, by };
    // Every field by name: a field that `bitcoin` learns to read later does not compile here.
    let Psbt { unsigned_tx, version, xpub, proprietary, unknown, inputs, outputs } = theirs;
    if *version != 0 {
        return Err(judge.refuses(VERSION, "PSBT version", 0, version));
    }
    transaction::compare(&judge, &ours.unsigned_tx, unsigned_tx)?;
    for (place, ours, theirs) in [
        ("maps of the inputs", ours.inputs.len(), inputs.len()),
        ("maps of the outputs", ours.outputs.len(), outputs.len()),
    ] {
        if ours != theirs {
            return Err(judge.refuses(MAPS, place, ours, theirs));
        }
    }
    judge.absent(XPUB, "extended keys", xpub.keys().next(), ToString::to_string)?;
    judge.foreign("the whole", proprietary, unknown, |kind| match V2_GLOBAL.contains(&kind) {
        true => V2,
        false => UNKNOWN,
    })?;
    let pairs = known.iter().zip(ours.inputs.iter().zip(inputs));
    for (number, (known, (ours, theirs))) in pairs.enumerate() {
        input::compare(&judge, number, *known, ours, theirs)?;
    }
    for (number, theirs) in outputs.iter().enumerate() {
        output::compare(&judge, number, theirs)?;
    }
    Ok(())
}
