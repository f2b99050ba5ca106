//! Relay policy: what Core would not pass on, though a block may hold it. In Core's own words, and
//! with the defaults of Core 31 except for the fee, where the older and higher default holds.
//!
//! This is not consensus and decides nothing about blocks. It is here because a wallet that is
//! never told "dust" by its test chain hears it first with real money.

use bitcoin::{Amount, Script, Transaction, Weight};

use super::mempool::Mempool;

/// Weight of the heaviest transaction that is relayed.
const HEAVIEST: Weight = Weight::from_wu(400_000);
/// Bytes without witnesses of the lightest: one more than an inner node of a Merkle tree.
const SHORTEST: usize = 65;
/// Bytes that all OP_RETURN outputs of a transaction may have together.
const MOST_DATA: usize = 100_000;
/// The version that asks for TRUC (BIP 431): topologically restricted until confirmation.
const TRUC: i32 = 3;
/// Virtual bytes of a TRUC transaction, and of one with a parent that waits.
const TRUC_SIZES: (usize, usize) = (10_000, 1_000);

/// What can be seen from the transaction alone.
pub(super) fn standard(tx: &Transaction) -> Result<(), String> {
    let reason = if !(1..=TRUC).contains(&tx.version.0) {
        "version"
    } else if tx.weight() > HEAVIEST {
        "tx-size"
    } else if tx.base_size() < SHORTEST {
        "tx-size-small"
    } else if !tx.input.iter().all(|input| input.script_sig.is_push_only()) {
        "scriptsig-not-pushonly"
    } else if !tx.output.iter().all(|out| is_known(&out.script_pubkey)) {
        "scriptpubkey"
    } else if data(tx) > MOST_DATA {
        "datacarrier"
    } else if let Some(out) =
        tx.output.iter().find(|out| out.value < out.script_pubkey.minimal_non_dust())
    {
        let (sat, least) = (out.value.to_sat(), out.script_pubkey.minimal_non_dust().to_sat());
        return Err(format!("dust, an output of {sat} < {least}"));
    } else {
        return Ok(());
    };
    Err(reason.into())
}

/// At least one satoshi per virtual byte.
pub(super) fn relay_fee(tx: &Transaction, fee: Amount) -> Result<(), String> {
    let (fee, least) = (fee.to_sat(), tx.vsize() as u64);
    if fee < least { Err(format!("min relay fee not met, {fee} < {least}")) } else { Ok(()) }
}

/// TRUC: small, at most one parent that waits, and at most one child; like keeps to like.
pub(super) fn topology(tx: &Transaction, mempool: &Mempool) -> Result<(), String> {
    let refused = |why: String| Err(format!("TRUC-violation, {why}"));
    let (txid, size) = (tx.compute_txid(), tx.vsize());
    let restricted = tx.version.0 == TRUC;
    let ancestors = mempool.ancestors(tx);
    for parent in mempool.parents(tx) {
        if (parent.version.0 == TRUC) != restricted {
            let (child, parent) = (tx.version.0, parent.version.0);
            return refused(format!(
                "version={child} tx {txid} cannot spend from version={parent}"
            ));
        }
    }
    let most = if ancestors.is_empty() { TRUC_SIZES.0 } else { TRUC_SIZES.1 };
    if !restricted {
        Ok(())
    } else if size > most {
        refused(format!("version=3 tx {txid} is too big: {size} > {most} virtual bytes"))
    } else if ancestors.len() > 1 {
        refused(format!("tx {txid} would have too many ancestors"))
    } else if ancestors.iter().any(|parent| mempool.has_child(parent)) {
        refused(format!("a parent of tx {txid} would exceed descendant count limit"))
    } else {
        Ok(())
    }
}

fn is_known(script: &Script) -> bool {
    script.is_witness_program()
        || script.is_p2pkh()
        || script.is_p2sh()
        || script.is_p2pk()
        || script.is_multisig()
        || is_data(script)
}

/// An OP_RETURN followed by pushes only.
fn is_data(script: &Script) -> bool {
    let pushes = script.as_bytes().get(1..).map(Script::from_bytes);
    script.is_op_return() && pushes.is_some_and(Script::is_push_only)
}

fn data(tx: &Transaction) -> usize {
    let data = tx.output.iter().filter(|out| out.script_pubkey.is_op_return());
    data.map(|out| out.script_pubkey.len()).sum()
}
