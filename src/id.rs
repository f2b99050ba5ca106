//! Names by content: tagged SHA-256 hashes (BIP 340) of what they name.

use core::fmt;
use core::str::FromStr;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use serde::{Deserialize, Serialize};

use crate::error::{Culprit, Error, Result, Rule};

/// An id is 64 hex digits.
pub const HEX: Rule =
    Rule::new("id-hex", "an id is 64 hexadecimal digits", "copy the whole id from the dossier");

/// SHA256(SHA256(tag) || SHA256(tag) || parts), the tagged hash of BIP 340.
///
/// Parts are joined as they are: the caller makes their lengths unambiguous.
pub fn tagged_hash(tag: &str, parts: &[&[u8]]) -> [u8; 32] {
    let tag = sha256::Hash::hash(tag.as_bytes());
    let mut engine = sha256::Hash::engine();
    engine.input(tag.as_byte_array());
    engine.input(tag.as_byte_array());
    for part in parts {
        engine.input(part);
    }
    sha256::Hash::from_engine(engine).to_byte_array()
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The 32 bytes.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                parse(text, stringify!($name)).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

fn parse(text: &str, what: &str) -> Result<[u8; 32]> {
    <[u8; 32] as bitcoin::hex::FromHex>::from_hex(text)
        .map_err(|_| HEX.refuses(Culprit::Sender, what, "64 hexadecimal digits", text))
}

id! {
    /// Names a position. Until positions are issued on chain it is the id of the contract's terms.
    PositionId
}
id! {
    /// Names the terms of a contract: whoever signs for the id signs for every field.
    TermsId
}
id! {
    /// Names the contents of a certificate, whatever file carries them.
    CertificateDigest
}
id! {
    /// Names what was said: a request, an opening, an answer.
    WordId
}
id! {
    /// Names a person's record: his keys for one contract, signed as a whole.
    RecordId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text() {
        let id = TermsId(tagged_hash("test", &[b"a", b"b"]));
        assert_eq!(id.to_string().parse::<TermsId>().unwrap(), id);
        assert_eq!(id.to_string().len(), 64);
    }

    #[test]
    fn a_truncated_id_is_refused_by_name() {
        assert_eq!("00ff".parse::<PositionId>().unwrap_err().rule(), "id-hex");
        assert_eq!("zz".repeat(32).parse::<PositionId>().unwrap_err().rule(), "id-hex");
    }

    #[test]
    fn a_tagged_hash_is_that_of_bip_340() {
        // The BIP-340 challenge tag over no data: SHA256 of its tag's hash, twice.
        let tag = sha256::Hash::hash(b"BIP0340/challenge");
        let twice = [tag.to_byte_array(), tag.to_byte_array()].concat();
        assert_eq!(
            tagged_hash("BIP0340/challenge", &[]),
            *sha256::Hash::hash(&twice).as_byte_array()
        );
    }
}
