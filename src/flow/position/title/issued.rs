//! The issue: that the transaction is the one which the terms demand, and that the issuer signed it.
//!
//! The transaction is rebuilt from the terms. Of a batch only our own seal can be: the other outputs'
//! scripts are taken as they are, for the signatures are over all of them. A txid does not commit to
//! the witness, so the k signatures are verified here, whatever a server or a node has verified.

use bitcoin::key::XOnlyPublicKey;
use bitcoin::script::PushBytesBuf;
use bitcoin::secp256k1::{Message, Secp256k1, schnorr};
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxOut, Witness};

use super::{Known, Need};
use crate::error::{Culprit, Result, Rule};
use crate::flow::position::coins::{POSTAGE, issued_seal, issuer};
use crate::flow::position::dossier::Dossier;
use crate::flow::position::terms::PositionTerms;
use crate::flow::position::txs::{digest, inscribed_spends, statement};
use crate::id::{PositionId, RecordId};
use crate::script::lock::{Leaf, Path};
use crate::tx::draft::{Draft, Spend, Title};

/// The issue is that of the terms.
pub const ISSUED: Rule = Rule::new(
    "title-issued",
    "the issue is the transaction that the terms, the funding and the batch make: seals, statement and digest",
    "compare the terms with those that the miner published; these were never issued",
);
/// The issuer signed.
pub const SIGNED: Rule = Rule::new(
    "title-signed",
    "k validators of the issuing federation signed the issue, and nobody else did",
    "do not trust this position: its federation did not issue it",
);
/// An issue is in a block.
pub const CONFIRMED: Rule = Rule::new(
    "title-confirmed",
    "the issue is in a block of the chain with the most work",
    "wait for a block, or ask another server",
);
/// The buyer chose the federation.
pub const FEDERATION: Rule = Rule::new(
    "title-federation",
    "the federation that issued is the one whose hash was pinned",
    "buy positions of a federation that you chose yourself",
);

/// A position's issue, proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The position.
    pub position: PositionId,
    /// The federation that issued.
    pub federation: RecordId,
    /// The seal as it was issued.
    pub seal: OutPoint,
    /// Height of its block.
    pub height: u32,
    /// The validators who signed, by their places in the issuer's record.
    pub signers: Vec<u8>,
}

impl Issued {
    /// Refuses a federation other than the one that the buyer pinned.
    pub fn check_federation(terms: &PositionTerms, pinned: RecordId) -> Result<()> {
        let found = terms.issuer.id()?;
        if found == pinned {
            return Ok(());
        }
        Err(FEDERATION.refuses(Culprit::Sender, "position's terms, issuer", pinned, found))
    }
}

/// Proves the issue, or tells what is missing to do so.
pub(super) fn prove(dossier: &Dossier, known: Known<'_>) -> Result<Result<Issued, Need>> {
    let (terms, issue) = (dossier.terms(), dossier.issue());
    let seal = issued_seal(terms)?.script_pubkey;
    if !known.scripts.contains(&seal) {
        return Ok(Err(Need::History(seal)));
    }
    let place = format!("issue {}", issue.txid);
    let Some(seen) = known.facts.transactions.get(&issue.txid) else {
        let found = format_args!("no transaction of that id pays it").to_string();
        return Err(ISSUED.refuses(
            Culprit::Sender,
            place,
            format_args!("a seal to {seal:x}"),
            found,
        ));
    };
    let draft = rebuilt(dossier, seal, &seen.tx)?;
    if draft.txid() != issue.txid {
        let found = differs(draft.transaction(), &seen.tx);
        return Err(ISSUED.refuses(Culprit::Sender, place, draft.txid(), found));
    }
    let signers =
        signers(&draft, &seen.tx, terms.issuer.threshold).map_err(|error| error.within(&place))?;
    let Some(height) = seen.height else {
        return Err(CONFIRMED.unavailable(place, "a block", "it waits in the mempool"));
    };
    let (position, seal) = (issue.position(), issue.seal());
    let federation = terms.issuer.id()?;
    Ok(Ok(Issued { position, federation, seal, height, signers }))
}

/// Where a statement has the miner's tag: a hint, and in a batch the first miner's.
const TAG: core::ops::Range<usize> = 20..40;
/// The same in the script, behind OP_RETURN and the length of what it pushes.
const MINER: core::ops::Range<usize> = 23..43;

/// The issue as the terms demand it, with the other seals of its batch, and where these come first the
/// first miner's tag, as `found` has them.
fn rebuilt(dossier: &Dossier, seal: ScriptBuf, found: &Transaction) -> Result<Draft> {
    let (terms, issue) = (dossier.terms(), dossier.issue());
    let hashes = issue.hashes(terms)?;
    let mut outputs: Vec<TxOut> = Vec::with_capacity(hashes.len().saturating_add(1));
    for (place, _) in (0u32..).zip(&hashes) {
        let other = found.output.get(outputs.len()).map(|output| output.script_pubkey.clone());
        let script_pubkey = match other {
            Some(script) if place != issue.place => script,
            _ => seal.clone(),
        };
        outputs.push(TxOut { value: POSTAGE, script_pubkey });
    }
    let mut stated = statement(terms)?;
    if issue.place > 0
        && let Some(tag) =
            found.output.get(outputs.len()).and_then(|out| out.script_pubkey.as_bytes().get(MINER))
    {
        stated.splice(TAG, tag.iter().copied());
    }
    let stated = [stated.as_slice(), &digest(&hashes)].concat();
    let data = PushBytesBuf::try_from(stated)
        .map_err(|error| ISSUED.broken("issue", "80 bytes of data", error))?;
    outputs.push(TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::new_op_return(data) });
    let lock = issuer(terms)?;
    let script_pubkey = lock.script_pubkey.clone();
    let spends = match &issue.inscription {
        None => {
            let prevout = TxOut { value: issue.value, script_pubkey };
            vec![Spend { outpoint: issue.funding, prevout, lock, path: Path::Federation }]
        }
        Some(inscription) => {
            // The federation's own inscription goes back to it, behind the seal.
            outputs.insert(1, TxOut { value: POSTAGE, script_pubkey });
            inscribed_spends(terms, (issue.funding, issue.value), inscription)?
        }
    };
    Draft::new(Title("issue"), Version::TWO, 0, spends, outputs)
}

/// The first thing in which a transaction is not the rebuilt one, in words.
fn differs(ours: &Transaction, theirs: &Transaction) -> String {
    let outpoints = |tx: &Transaction| -> Vec<OutPoint> {
        tx.input.iter().map(|input| input.previous_output).collect()
    };
    if outpoints(ours) != outpoints(theirs) {
        return "a transaction that spends another output".to_owned();
    }
    let both = ours.output.iter().zip(&theirs.output);
    match both.into_iter().position(|(ours, theirs)| ours != theirs) {
        Some(place) if place.saturating_add(1) == ours.output.len() => {
            "another statement or digest in the last output".to_owned()
        }
        Some(place) => format!("another output {place}"),
        None if ours.output.len() != theirs.output.len() => {
            format!("{} outputs instead of {}", theirs.output.len(), ours.output.len())
        }
        None => "another version, nLockTime or sequence".to_owned(),
    }
}

/// Verifies the witness of the issue: the federation's leaf, k signatures of SIGHASH_DEFAULT in the
/// order of its keys, and nothing for the others.
fn signers(draft: &Draft, tx: &Transaction, threshold: u8) -> Result<Vec<u8>> {
    let place = "witness";
    let wrong = |expected: &dyn core::fmt::Display, found: &dyn core::fmt::Display| {
        SIGNED.refuses(Culprit::Sender, place, expected, found)
    };
    let spend = draft.spends().first();
    let spend = spend.ok_or_else(|| SIGNED.broken(place, "an input", "none"))?;
    let leaf = spend.lock.leaf(Path::Federation)?;
    let witness = tx.input.first().map(|input| &input.witness);
    let items = witness
        .and_then(|witness| items(witness, leaf))
        .ok_or_else(|| wrong(&"the federation leaf of the issuer's script", &"another spend"))?;
    let message = Message::from_digest(draft.sighash(0)?);
    let secp = Secp256k1::verification_only();
    let good = |key: &XOnlyPublicKey, item: &[u8]| {
        schnorr::Signature::from_slice(item)
            .is_ok_and(|signature| secp.verify_schnorr(&signature, &message, key).is_ok())
    };
    let mut signers = Vec::new();
    for (number, (key, item)) in (0u8..).zip(leaf.keys.iter().zip(items)) {
        if item.is_empty() {
            continue;
        }
        if !good(&key.key, item) {
            let expected = format!("a signature of sighash {message} by validator {number}");
            return Err(wrong(&expected, &"another one"));
        }
        signers.push(number);
    }
    if signers.len() != usize::from(threshold) {
        let expected = format!("{threshold} signatures");
        return Err(wrong(&expected, &signers.len()));
    }
    Ok(signers)
}

/// What the witness has for each key of the leaf, in the order of the keys; `None` if it is of another
/// shape. The stack's top belongs to the first key.
fn items<'a>(witness: &'a Witness, leaf: &Leaf) -> Option<Vec<&'a [u8]>> {
    let mut all: Vec<&[u8]> = witness.iter().collect();
    let (control, script) = (all.pop()?, all.pop()?);
    let fits = control == leaf.control.serialize().as_slice()
        && script == leaf.script.as_bytes()
        && all.len() == leaf.keys.len();
    all.reverse();
    fits.then_some(all)
}
