//! One change of one field, and the rule that must refuse it.

use bitcoin::Psbt;
use bitcoin::base64::Engine;
use bitcoin::base64::prelude::BASE64_STANDARD;

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
    /// The rule by which the receiver refuses it. There is no other verdict: a change that is
    /// accepted, even without effect, is a fault.
    pub(crate) rule: &'static str,
    /// The rule by which `hashmix psbt check` warns a person of it, where it must.
    pub(crate) warned: Option<&'static str>,
}

/// A change of fields.
pub(crate) fn field(
    name: impl Into<String>,
    rule: &'static str,
    change: impl Fn(&mut Psbt) + 'static,
) -> Mutation {
    let change = Change::Field(Box::new(change));
    Mutation { name: name.into(), change, rule, warned: None }
}

/// A change of bytes.
pub(crate) fn bytes(
    name: impl Into<String>,
    rule: &'static str,
    change: impl Fn(&mut Vec<u8>) + 'static,
) -> Mutation {
    let change = Change::Bytes(Box::new(change));
    Mutation { name: name.into(), change, rule, warned: None }
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
