//! A transaction that the terms demand, not yet signed.

use std::collections::BTreeSet;

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::psbt::{Input as PsbtInput, Psbt};
use bitcoin::sighash::{Prevouts, SighashCache};
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, OutPoint, Sequence, TapSighashType, Transaction, TxIn, TxOut, Txid, Witness, relative,
};

use crate::amount;
use crate::error::{Culprit, Result, Rule};
use crate::script::lock::{Lock, Path};
use crate::tx::carrier::{self, Known};

/// A draft can be built.
pub const BUILT: Rule = Rule::new(
    "tx-built",
    "a transaction has inputs, outputs above dust and amounts that add up",
    "check the coins and the fee rate",
);

/// One output that a draft spends, and how.
#[derive(Clone, Debug)]
pub struct Spend {
    /// Where the output is.
    pub outpoint: OutPoint,
    /// Its value (satoshis) and script.
    pub prevout: TxOut,
    /// The lock it pays.
    pub lock: Lock,
    /// The way in.
    pub path: Path,
}

/// What a transaction is for; it names the draft in stories, messages and errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Title(pub &'static str);

impl core::fmt::Display for Title {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.0)
    }
}

/// A transaction that the terms demand, not yet signed. It cannot be cloned:
///
/// ```compile_fail
/// fn twice(draft: hashmix::tx::draft::Draft) -> [hashmix::tx::draft::Draft; 2] {
///     [draft.clone(), draft]
/// }
/// ```
#[derive(Debug)]
pub struct Draft {
    title: Title,
    tx: Transaction,
    spends: Vec<Spend>,
}

impl Draft {
    /// Builds the transaction: sequences from the leaves' delays, nLockTime the later of `not_before`
    /// (a height; 0 for none) and what the leaves demand.
    ///
    /// Refused: no input, an input that does not pay its lock, an output below dust, outputs above
    /// inputs.
    pub fn new(
        title: Title,
        version: Version,
        not_before: u32,
        spends: Vec<Spend>,
        outputs: Vec<TxOut>,
    ) -> Result<Self> {
        let fault = |expected: &str, found: &dyn core::fmt::Display| {
            BUILT.refuses(Culprit::Sender, title, expected, found)
        };
        let mut height = not_before;
        let mut input = Vec::with_capacity(spends.len());
        for spend in &spends {
            spend.lock.check_path(spend.path)?;
            if spend.prevout.script_pubkey != spend.lock.script_pubkey {
                return Err(fault("an input that pays its lock", &spend.outpoint));
            }
            let (older, after) = match spend.path {
                Path::Key => (None, None),
                _ => {
                    let leaf = spend.lock.leaf(spend.path)?;
                    (leaf.older, leaf.after)
                }
            };
            height = height.max(after.unwrap_or(0));
            let sequence = match older {
                Some(blocks) => Sequence::from(relative::LockTime::from_height(blocks)),
                None => Sequence::ENABLE_RBF_NO_LOCKTIME,
            };
            input.push(TxIn { previous_output: spend.outpoint, sequence, ..TxIn::default() });
        }
        if let Some(first) = spends.first()
            && let Some(other) = spends.iter().find(|spend| spend.path != first.path)
        {
            return Err(fault("one way in for all inputs", &other.path));
        }
        if input.is_empty() {
            return Err(fault("at least one input", &"none"));
        }
        let distinct: BTreeSet<OutPoint> = spends.iter().map(|spend| spend.outpoint).collect();
        if distinct.len() != spends.len() {
            return Err(fault("each output spent once", &"the same output twice"));
        }
        for out in &outputs {
            if out.value < out.script_pubkey.minimal_non_dust() {
                return Err(fault("outputs above dust", &out.value));
            }
        }
        let lock_time = LockTime::from_height(height)
            .map_err(|error| BUILT.broken(title, "a height as nLockTime", error))?;
        let tx = Transaction { version, lock_time, input, output: outputs };
        let draft = Self { title, tx, spends };
        draft.fee()?;
        Ok(draft)
    }

    /// What the transaction is for.
    pub fn title(&self) -> Title {
        self.title
    }

    /// The unsigned transaction.
    pub fn transaction(&self) -> &Transaction {
        &self.tx
    }

    /// Its txid, which signatures do not change.
    pub fn txid(&self) -> Txid {
        self.tx.compute_txid()
    }

    /// What it spends, in input order.
    pub fn spends(&self) -> &[Spend] {
        &self.spends
    }

    /// Inputs minus outputs, in satoshis.
    pub fn fee(&self) -> Result<Amount> {
        let spent = amount::sum(self.spends.iter().map(|spend| spend.prevout.value), self.title)?;
        let paid = amount::sum(self.tx.output.iter().map(|out| out.value), self.title)?;
        spent.checked_sub(paid).ok_or_else(|| {
            BUILT.refuses(Culprit::Sender, self.title, format_args!("outputs up to {spent}"), paid)
        })
    }

    /// Virtual bytes of the finished transaction, rounded up.
    pub fn vsize(&self) -> Result<u64> {
        vsize(&self.spends, &self.tx.output)
    }

    /// The message that signatures of `input` commit to (BIP 341), all outputs, SIGHASH_DEFAULT.
    pub fn sighash(&self, input: usize) -> Result<[u8; 32]> {
        let prevouts: Vec<&TxOut> = self.spends.iter().map(|spend| &spend.prevout).collect();
        let prevouts = Prevouts::All(&prevouts);
        let fault = |error: &dyn core::fmt::Display| {
            BUILT.broken(format_args!("{}, input {input}", self.title), "a sighash", error)
        };
        let spend = self.spends.get(input).ok_or_else(|| fault(&"no such input"))?;
        let mut cache = SighashCache::new(&self.tx);
        let hash = match spend.path {
            Path::Key => {
                cache.taproot_key_spend_signature_hash(input, &prevouts, TapSighashType::Default)
            }
            _ => cache.taproot_script_spend_signature_hash(
                input,
                &prevouts,
                spend.lock.leaf(spend.path)?.hash(),
                TapSighashType::Default,
            ),
        };
        hash.map(|hash| hash.to_byte_array()).map_err(|error| fault(&error))
    }

    /// A PSBT of the draft for the other side and for devices: witness UTXOs, internal keys, merkle
    /// roots, and for script paths the one leaf that is to be signed.
    pub fn psbt(&self) -> Result<Psbt> {
        let mut psbt = Psbt::from_unsigned_tx(self.tx.clone())
            .map_err(|error| BUILT.broken(self.title, "an unsigned transaction", error))?;
        psbt.inputs = self.spends.iter().map(psbt_input).collect::<Result<_>>()?;
        Ok(psbt)
    }

    /// Refuses a PSBT that does not say exactly what [`Draft::psbt`] says, by the rule of the field
    /// that differs ([`carrier`]).
    pub fn compare(&self, psbt: &Psbt, by: Culprit) -> Result<()> {
        self.compare_with(&self.psbt()?, psbt, by)
    }

    /// The same with a PSBT of ours to which a round was added.
    pub(super) fn compare_with(&self, ours: &Psbt, theirs: &Psbt, by: Culprit) -> Result<()> {
        let known: Vec<Known<'_>> = self
            .spends
            .iter()
            .map(|spend| Known { prevout: &spend.prevout, lock: Some((&spend.lock, spend.path)) })
            .collect();
        carrier::compare(self.title, ours, &known, theirs, by)
    }

    pub(crate) fn into_parts(self) -> (Title, Transaction, Vec<Spend>) {
        (self.title, self.tx, self.spends)
    }
}

fn psbt_input(spend: &Spend) -> Result<PsbtInput> {
    let mut input = PsbtInput {
        witness_utxo: Some(spend.prevout.clone()),
        tap_internal_key: Some(spend.lock.internal_key),
        tap_merkle_root: Some(spend.lock.merkle_root),
        ..PsbtInput::default()
    };
    if spend.path != Path::Key {
        let leaf = spend.lock.leaf(spend.path)?;
        let script = (leaf.script.clone(), bitcoin::taproot::LeafVersion::TapScript);
        input.tap_scripts.insert(leaf.control.clone(), script);
    }
    Ok(input)
}

/// Virtual bytes of a finished transaction with these inputs and outputs, rounded up.
pub fn vsize(spends: &[Spend], outputs: &[TxOut]) -> Result<u64> {
    // Version, counts, nLockTime: everything but inputs and outputs, four WU a byte; 2 WU of
    // segwit marker and flag. `Transaction` counts outputs and both counts for us.
    let blank = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: spends.iter().map(|_| TxIn { witness: Witness::new(), ..TxIn::default() }).collect(),
        output: outputs.to_vec(),
    };
    let mut weight = blank.weight().to_wu();
    // Without witnesses rust-bitcoin leaves out marker and flag.
    weight = weight.saturating_add(2);
    for spend in spends {
        // `blank` already counts the 164 WU that every input has.
        let input = spend.lock.input_weight(spend.path)?;
        weight = weight.saturating_add(input.saturating_sub(164));
    }
    Ok(weight.div_ceil(4))
}

/// What `vsize` virtual bytes cost at `sat_per_vb`, in satoshis.
pub fn fee(vsize: u64, sat_per_vb: u64) -> Result<Amount> {
    amount::bounded(Amount::from_sat(vsize.saturating_mul(sat_per_vb)), "fee")
}
