//! One change of one field, and what must come of it.

use bitcoin::Psbt;
use bitcoin::base64::Engine;
use bitcoin::base64::prelude::BASE64_STANDARD;

/// What must come of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The receiver refuses it by this rule.
    Refused(&'static str),
    /// The receiver signs what it would have signed without the change, byte for byte.
    Ignored(Why),
}

/// Why a change may be without effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Why {
    /// The signature is SIGHASH_DEFAULT of the rebuilt transaction, whatever the PSBT asks for.
    RebuiltSighash,
    /// Leaf, keys and tree are those of the lock, rebuilt from the terms.
    RebuiltLock,
    /// Signatures and witnesses are made here, or arrive in signed words; none is read from it.
    OwnWitness,
    /// The output that is spent is read from the chain.
    ChainsOutput,
    /// No field of this name is ever read.
    NeverRead,
    /// Bytes behind the end of the PSBT are no part of it.
    BehindTheEnd,
}

type Edit<T> = Box<dyn Fn(&mut T)>;

/// How a change is made: to the fields, or to the bytes.
pub(crate) enum Change {
    Field(Edit<Psbt>),
    Bytes(Edit<Vec<u8>>),
}

/// One change of one field.
pub(crate) struct Mutation {
    pub(crate) name: String,
    pub(crate) change: Change,
    pub(crate) verdict: Verdict,
    /// The rule by which `hashmix psbt check` warns a person of it, where it must.
    pub(crate) warned: Option<&'static str>,
}

/// A change of fields.
pub(crate) fn field(
    name: impl Into<String>,
    verdict: Verdict,
    change: impl Fn(&mut Psbt) + 'static,
) -> Mutation {
    let change = Change::Field(Box::new(change));
    Mutation { name: name.into(), change, verdict, warned: None }
}

/// A change of bytes.
pub(crate) fn bytes(
    name: impl Into<String>,
    verdict: Verdict,
    change: impl Fn(&mut Vec<u8>) + 'static,
) -> Mutation {
    let change = Change::Bytes(Box::new(change));
    Mutation { name: name.into(), change, verdict, warned: None }
}

impl Mutation {
    /// The same change, of which `hashmix psbt check` warns by `rule`.
    pub(crate) fn warned(mut self, rule: &'static str) -> Self {
        self.warned = Some(rule);
        self
    }
}

/// What is sent after these changes: fields first, then bytes. `None` if nothing has changed.
pub(crate) fn sent(honest: &Psbt, changes: &[&Mutation]) -> Option<String> {
    let mut psbt = honest.clone();
    for mutation in changes {
        if let Change::Field(change) = &mutation.change {
            change(&mut psbt);
        }
    }
    let mut bytes = psbt.serialize();
    for mutation in changes {
        if let Change::Bytes(change) = &mutation.change {
            change(&mut bytes);
        }
    }
    (bytes != honest.serialize()).then(|| BASE64_STANDARD.encode(bytes))
}
