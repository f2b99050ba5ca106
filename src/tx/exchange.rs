//! A transaction whose inputs belong to several people: each signs his own, all see the whole.
//!
//! ```text
//!  in 0   the seal, its holder's key           out 0   the seal, its next holder's
//!  in 1   an escrow: seats of its contract     out 1.. whatever else changes hands
//!  in ..  coins of whoever pays
//! ```
//! Nobody trusts the others to bring a transaction: each builds it himself from what was agreed, and
//! a signature counts once it verifies against that. A position is the first satoshi of its seal, so
//! it is followed through the transaction when that is built, and again each time that somebody asks
//! what he is to sign ([`Exchange::sighash`]): no signature is made of one that loses it.
//!
//! | input | signed by | signature |
//! |---|---|---|
//! | a seal | its holder, key path | BIP 340, SIGHASH_DEFAULT |
//! | a lock | seats of a leaf | BIP 340, SIGHASH_DEFAULT |
//! | a coin, P2TR | its owner, key path | BIP 340, SIGHASH_DEFAULT |
//! | a coin, P2WPKH | its owner | ECDSA, SIGHASH_ALL |

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::key::XOnlyPublicKey;
use bitcoin::psbt::{Input as PsbtInput, Psbt};
use bitcoin::secp256k1::{Message, Secp256k1, schnorr};
use bitcoin::sighash::{Prevouts, SighashCache};
use bitcoin::taproot::LeafVersion;
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, CompressedPublicKey, EcdsaSighashType, OutPoint, ScriptBuf, Sequence, TapSighashType,
    Transaction, TxIn, TxOut, Txid, Witness, ecdsa,
};

use crate::amount;
use crate::error::{Culprit, Error, Result, Rule};
use crate::party::Seat;
use crate::script::lock::{Lock, Path, SIGNED};
use crate::script::seal::{self, SealLock};
use crate::tx::carrier::{self, Known};
use crate::tx::draft::{BUILT, Title};
use crate::tx::satoshi::{self, Moved, Place};
use crate::tx::signed::SIGNATURE;

/// A seal is never lost on its way.
pub const SEAL_MOVES: Rule = Rule::new(
    "seal-moves",
    "input 0 is a seal, the only one, and its first satoshi becomes the first of output 0, which is the seal expected and as large",
    "do not sign it: build the transaction anew from what was agreed",
);
/// Coins whose txid no signature can change, and whose signatures we can judge.
pub const COIN: Rule = Rule::new(
    "sale-coin-kind",
    "a coin that pays in an exchange is P2TR or P2WPKH",
    "move it to a Taproot address of your own first",
);

/// Weight of an input that spends a P2WPKH coin, in WU: a signature of 72 bytes, a key of 33.
const WPKH_INPUT_WEIGHT: u64 = 272;

/// How an input of an exchange is signed.
#[derive(Clone, Debug)]
// A few of them, and for a moment: a box would buy nothing.
#[expect(clippy::large_enum_variant)]
pub enum Way {
    /// A seal, by the key path.
    Seal(SealLock),
    /// A lock of a contract, by a leaf without delay.
    Lock(Lock, Path),
    /// Somebody's own coin: what its script says.
    Coin,
}

/// One input of an exchange.
#[derive(Clone, Debug)]
pub struct Part {
    /// The output that it spends.
    pub outpoint: OutPoint,
    /// Its value (satoshis) and script.
    pub prevout: TxOut,
    /// How it is signed.
    pub way: Way,
}

impl Part {
    /// Weight of the signed input, in WU, its 164 WU of fixed part included; at most.
    pub fn weight(&self) -> Result<u64> {
        match &self.way {
            Way::Seal(_) => Ok(seal::INPUT_WEIGHT),
            Way::Lock(lock, path) => lock.input_weight(*path),
            Way::Coin => coin_weight(&self.prevout.script_pubkey),
        }
    }
}

/// Weight of an input that spends a coin with this script, in WU; refused for other kinds.
pub fn coin_weight(script: &ScriptBuf) -> Result<u64> {
    if script.is_p2tr() {
        return Ok(seal::INPUT_WEIGHT);
    }
    if script.is_p2wpkh() {
        return Ok(WPKH_INPUT_WEIGHT);
    }
    Err(COIN.refuses(Culprit::Sender, "coin", "P2TR or P2WPKH", format_args!("{script:x}")))
}

/// An exchange, not yet signed. It cannot be cloned:
///
/// ```compile_fail
/// fn twice(it: hashmix::tx::exchange::Exchange) -> [hashmix::tx::exchange::Exchange; 2] {
///     [it.clone(), it]
/// }
/// ```
#[derive(Debug)]
pub struct Exchange {
    title: Title,
    tx: Transaction,
    parts: Vec<Part>,
    /// What output 0 must pay.
    seal: ScriptBuf,
}

impl Exchange {
    /// Builds the transaction (version 2, every input replaceable), in which the seal of input 0 goes to
    /// the script `seal` in output 0; not before height `not_before` (0 for at once).
    ///
    /// Refused: a seal that does not arrive, an input that does not pay its lock or waits for a delay,
    /// the same input twice, an output below dust, outputs above inputs.
    pub fn new(
        title: Title,
        not_before: u32,
        parts: Vec<Part>,
        outputs: Vec<TxOut>,
        seal: ScriptBuf,
    ) -> Result<Self> {
        let fault = |expected: &str, found: &dyn core::fmt::Display| {
            BUILT.refuses(Culprit::Sender, title, expected, found)
        };
        let mut input = Vec::with_capacity(parts.len());
        for part in &parts {
            let pays = match &part.way {
                Way::Seal(lock) => lock.script_pubkey == part.prevout.script_pubkey,
                Way::Lock(lock, path) => {
                    let leaf = lock.leaf(*path)?;
                    if leaf.older.is_some() || leaf.after.is_some() {
                        return Err(fault("leaves without delay", path));
                    }
                    lock.script_pubkey == part.prevout.script_pubkey
                }
                Way::Coin => coin_weight(&part.prevout.script_pubkey).map(|_| true)?,
            };
            if !pays {
                return Err(fault("an input that pays its lock", &part.outpoint));
            }
            let sequence = Sequence::ENABLE_RBF_NO_LOCKTIME;
            input.push(TxIn { previous_output: part.outpoint, sequence, ..TxIn::default() });
        }
        let distinct: BTreeSet<OutPoint> = parts.iter().map(|part| part.outpoint).collect();
        if distinct.len() != parts.len() {
            return Err(fault("each output spent once", &"the same output twice"));
        }
        if let Some(out) =
            outputs.iter().find(|out| out.value < out.script_pubkey.minimal_non_dust())
        {
            return Err(fault("outputs above dust", &out.value));
        }
        let lock_time = LockTime::from_height(not_before)
            .map_err(|error| BUILT.broken(title, "a height as nLockTime", error))?;
        let tx = Transaction { version: Version::TWO, lock_time, input, output: outputs };
        let exchange = Self { title, tx, parts, seal };
        exchange.fee()?;
        exchange.check_seal()?;
        Ok(exchange)
    }

    /// Follows the seal, and refuses a transaction in which it does not become output 0.
    pub fn check_seal(&self) -> Result<()> {
        let refuse = |expected: &str, found: &dyn core::fmt::Display| {
            SEAL_MOVES.refuses(Culprit::Sender, self.title, expected, found)
        };
        let seals = self.parts.iter().filter(|part| matches!(part.way, Way::Seal(_))).count();
        let first = self.parts.first().filter(|part| matches!(part.way, Way::Seal(_)));
        let Some(first) = first.filter(|_| seals == 1) else {
            return Err(refuse("one seal, in input 0", &format_args!("{seals} seals")));
        };
        let values: Vec<Amount> = self.parts.iter().map(|part| part.prevout.value).collect();
        let there = Place::first_of(OutPoint::new(self.txid(), 0));
        match satoshi::follow(&self.tx, &values, 0, Amount::ZERO)? {
            Moved::To(place) if place == there => {}
            Moved::To(place) => {
                let found = format_args!("satoshi {} of {}", place.offset.to_sat(), place.outpoint);
                return Err(refuse("the first satoshi of output 0", &found));
            }
            Moved::Fee { .. } => return Err(refuse("the first satoshi of output 0", &"the fee")),
        }
        let Some(out) = self.tx.output.first() else { return Err(refuse("an output 0", &"none")) };
        if out.script_pubkey != self.seal {
            let expected = format!("{:x}", self.seal);
            return Err(refuse(&expected, &format_args!("{:x}", out.script_pubkey)));
        }
        if out.value != first.prevout.value {
            let expected = format!("{} sat", first.prevout.value.to_sat());
            return Err(refuse(&expected, &format_args!("{} sat", out.value.to_sat())));
        }
        Ok(())
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
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Inputs minus outputs, in satoshis.
    pub fn fee(&self) -> Result<Amount> {
        let spent = amount::sum(self.parts.iter().map(|part| part.prevout.value), self.title)?;
        let paid = amount::sum(self.tx.output.iter().map(|out| out.value), self.title)?;
        spent.checked_sub(paid).ok_or_else(|| {
            BUILT.refuses(Culprit::Sender, self.title, format_args!("outputs up to {spent}"), paid)
        })
    }

    /// The message that signatures of `input` commit to. The seal is
    /// followed before it is told.
    pub fn sighash(&self, input: usize) -> Result<[u8; 32]> {
        self.check_seal()?;
        let fault = |error: &dyn core::fmt::Display| {
            BUILT.broken(format_args!("{}, input {input}", self.title), "a sighash", error)
        };
        let part = self.parts.get(input).ok_or_else(|| fault(&"no such input"))?;
        let prevouts: Vec<&TxOut> = self.parts.iter().map(|part| &part.prevout).collect();
        let prevouts = Prevouts::All(&prevouts);
        let mut cache = SighashCache::new(&self.tx);
        let script = &part.prevout.script_pubkey;
        if script.is_p2wpkh() {
            let all = EcdsaSighashType::All;
            return cache
                .p2wpkh_signature_hash(input, script, part.prevout.value, all)
                .map(|hash| hash.to_byte_array())
                .map_err(|error| fault(&error));
        }
        let default = TapSighashType::Default;
        let hash = match &part.way {
            Way::Lock(lock, path) => {
                let leaf = lock.leaf(*path)?.hash();
                cache.taproot_script_spend_signature_hash(input, &prevouts, leaf, default)
            }
            _ => cache.taproot_key_spend_signature_hash(input, &prevouts, default),
        };
        hash.map(|hash| hash.to_byte_array()).map_err(|error| fault(&error))
    }

    /// A PSBT of the exchange for the others and for devices: what each input spends, and for seals and
    /// locks what they are made of.
    pub fn psbt(&self) -> Result<Psbt> {
        let mut psbt = Psbt::from_unsigned_tx(self.tx.clone())
            .map_err(|error| BUILT.broken(self.title, "an unsigned transaction", error))?;
        psbt.inputs = self.parts.iter().map(psbt_input).collect::<Result<_>>()?;
        Ok(psbt)
    }

    /// Refuses a PSBT that does not say exactly what [`Exchange::psbt`] says, by the rule of the field
    /// that differs ([`carrier`]).
    pub fn compare(&self, theirs: &Psbt, by: Culprit) -> Result<()> {
        let known: Vec<Known<'_>> = self
            .parts
            .iter()
            .map(|part| Known {
                prevout: &part.prevout,
                lock: match &part.way {
                    Way::Lock(lock, path) => Some((lock, *path)),
                    _ => None,
                },
            })
            .collect();
        carrier::compare(self.title, &self.psbt()?, &known, theirs, by)
    }
}

fn psbt_input(part: &Part) -> Result<PsbtInput> {
    let mut input = PsbtInput { witness_utxo: Some(part.prevout.clone()), ..PsbtInput::default() };
    match &part.way {
        Way::Seal(lock) => {
            input.tap_internal_key = Some(lock.internal_key);
            input.tap_merkle_root = Some(lock.merkle_root);
        }
        Way::Lock(lock, path) => {
            input.tap_internal_key = Some(lock.internal_key);
            input.tap_merkle_root = Some(lock.merkle_root);
            let leaf = lock.leaf(*path)?;
            let script = (leaf.script.clone(), LeafVersion::TapScript);
            input.tap_scripts.insert(leaf.control.clone(), script);
        }
        Way::Coin => {}
    }
    Ok(input)
}

/// Virtual bytes of the finished transaction with these inputs and outputs, rounded up; at most.
pub fn vsize(parts: &[Part], outputs: &[TxOut]) -> Result<u64> {
    // Inputs are counted by their parts; without witnesses rust-bitcoin leaves out marker and flag.
    let blank = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn::default(); parts.len()],
        output: outputs.to_vec(),
    };
    let mut weight = blank.weight().to_wu().saturating_add(2);
    for part in parts {
        weight = weight.saturating_add(part.weight()?.saturating_sub(164));
    }
    Ok(weight.div_ceil(4))
}

/// An exchange that collects signatures. It cannot be cloned:
///
/// ```compile_fail
/// fn twice(it: hashmix::tx::exchange::Exchanging) -> [hashmix::tx::exchange::Exchanging; 2] {
///     [it.clone(), it]
/// }
/// ```
#[derive(Debug)]
pub struct Exchanging {
    exchange: Exchange,
    /// By input: what makes it whole.
    witnesses: Vec<Option<Witness>>,
    /// By input, then by signing key: signatures of a lock's leaf.
    leaves: Vec<BTreeMap<XOnlyPublicKey, schnorr::Signature>>,
}

/// A finished exchange. It cannot be cloned:
///
/// ```compile_fail
/// fn twice(it: hashmix::tx::exchange::Exchanged) -> [hashmix::tx::exchange::Exchanged; 2] {
///     [it.clone(), it]
/// }
/// ```
#[derive(Debug)]
pub struct Exchanged {
    /// What it is for.
    pub title: Title,
    /// The transaction as it is broadcast.
    pub tx: Transaction,
    /// Inputs minus outputs, in satoshis.
    pub fee: Amount,
}

impl Exchanging {
    /// An exchange without signatures yet.
    pub fn new(exchange: Exchange) -> Self {
        let witnesses = exchange.parts.iter().map(|_| None).collect();
        let leaves = exchange.parts.iter().map(|_| BTreeMap::new()).collect();
        Self { exchange, witnesses, leaves }
    }

    /// The exchange underneath.
    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// Takes what signs `input`, after verifying it: the whole witness of a seal or a coin; of a lock,
    /// the one signature of `seat`.
    pub fn add(
        &mut self,
        input: usize,
        seat: Option<Seat>,
        witness: &Witness,
        by: Culprit,
    ) -> Result<()> {
        let place = format!("{}, input {input}", self.exchange.title);
        let refuse = |expected: &str, found: &dyn core::fmt::Display| -> Error {
            SIGNATURE.refuses(by, &place, expected, found)
        };
        let message = Message::from_digest(self.exchange.sighash(input)?);
        let part = self.exchange.parts.get(input);
        let part = part.ok_or_else(|| refuse("an input of the transaction", &input))?;
        let script = &part.prevout.script_pubkey;
        if script.is_p2wpkh() {
            verify_wpkh(script, witness, &message).map_err(|found| {
                refuse("a signature (SIGHASH_ALL) and the key of the coin", &found)
            })?;
        } else {
            let signature = one_signature(witness)
                .ok_or_else(|| refuse("one signature of 64 bytes", &sizes(witness)))?;
            let key = match (&part.way, seat) {
                (Way::Lock(lock, path), Some(seat)) => lock
                    .leaf(*path)?
                    .keys
                    .iter()
                    .find(|key| key.seat == seat)
                    .map(|key| key.key)
                    .ok_or_else(|| refuse("a key of the leaf", &"none of his"))?,
                (Way::Lock(..), None) => return Err(refuse("a seat of the contract", &"none")),
                _ => output_key(script).ok_or_else(|| refuse("a Taproot output", &"another"))?,
            };
            Secp256k1::verification_only().verify_schnorr(&signature, &message, &key).map_err(
                |_| {
                    let expected = format!("a signature of sighash {message} by {key}");
                    refuse(&expected, &signature)
                },
            )?;
            if matches!(part.way, Way::Lock(..)) {
                if let Some(signatures) = self.leaves.get_mut(input) {
                    signatures.insert(key, signature);
                }
                return Ok(());
            }
        }
        if let Some(held) = self.witnesses.get_mut(input) {
            *held = Some(witness.clone());
        }
        Ok(())
    }

    /// Inputs that are not signed yet, or not by enough.
    pub fn missing(&self) -> Vec<usize> {
        let all = self.exchange.parts.iter().enumerate();
        all.filter(|(input, _)| self.witness(*input).is_err()).map(|(input, _)| input).collect()
    }

    fn witness(&self, input: usize) -> Result<Witness> {
        let missing = || {
            let place = format_args!("{}, input {input}", self.exchange.title).to_string();
            SIGNED.unavailable(place, "its owner's signature", "none")
        };
        match self.exchange.parts.get(input).map(|part| &part.way) {
            Some(Way::Lock(lock, path)) => {
                let signatures = self.leaves.get(input).into_iter().flatten();
                let signatures: Vec<_> = signatures.map(|(key, one)| (*key, *one)).collect();
                lock.script_witness(*path, &signatures)
            }
            _ => self.witnesses.get(input).cloned().flatten().ok_or_else(missing),
        }
    }

    /// The finished transaction; refused while signatures are missing.
    pub fn finish(self) -> Result<Exchanged> {
        let fee = self.exchange.fee()?;
        let most = vsize(&self.exchange.parts, &self.exchange.tx.output)?;
        let mut tx = self.exchange.tx.clone();
        for (number, input) in tx.input.iter_mut().enumerate() {
            input.witness = self.witness(number)?;
        }
        let size = u64::try_from(tx.vsize()).unwrap_or(u64::MAX);
        if size > most {
            return Err(SIGNED.broken(
                self.exchange.title,
                format_args!("{most} vB at most"),
                size,
            ));
        }
        Ok(Exchanged { title: self.exchange.title, tx, fee })
    }
}

impl Exchanged {
    /// The transaction's id.
    pub fn txid(&self) -> Txid {
        self.tx.compute_txid()
    }
}

/// A witness of one signature, as [`Exchanging::add`] takes it.
pub fn signed(signature: &schnorr::Signature) -> Witness {
    Witness::from_slice(&[signature.as_ref()])
}

fn one_signature(witness: &Witness) -> Option<schnorr::Signature> {
    let only = witness.iter().next().filter(|_| witness.len() == 1)?;
    schnorr::Signature::from_slice(only).ok()
}

fn sizes(witness: &Witness) -> String {
    let sizes: Vec<String> = witness.iter().map(|item| format!("{} bytes", item.len())).collect();
    if sizes.is_empty() { "nothing".to_owned() } else { sizes.join(", ") }
}

/// The key of a Taproot output, which its script states.
fn output_key(script: &ScriptBuf) -> Option<XOnlyPublicKey> {
    let key = script.as_bytes().get(2..).filter(|_| script.is_p2tr())?;
    XOnlyPublicKey::from_slice(key).ok()
}

fn verify_wpkh(script: &ScriptBuf, witness: &Witness, message: &Message) -> Result<(), String> {
    let items: Vec<&[u8]> = witness.iter().collect();
    let [signature, key] = items.as_slice() else { return Err(sizes(witness)) };
    let signature = ecdsa::Signature::from_slice(signature).map_err(|error| error.to_string())?;
    if signature.sighash_type != EcdsaSighashType::All {
        return Err(signature.sighash_type.to_string());
    }
    let key = CompressedPublicKey::from_slice(key).map_err(|error| error.to_string())?;
    if ScriptBuf::new_p2wpkh(&key.wpubkey_hash()) != *script {
        return Err(format!("another key: {key}"));
    }
    let secp = Secp256k1::verification_only();
    secp.verify_ecdsa(message, &signature.signature, &key.0)
        .map_err(|_| format!("a signature of something else: {signature}"))
}

#[cfg(test)]
mod tests;
