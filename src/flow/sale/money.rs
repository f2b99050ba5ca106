//! A seal is no money: whoever is asked to sign looks whether a transaction spends one, and where to.
//!
//! Our own builders never take a seal for a coin: its account is another one. A stranger's transaction
//! may, by accident or not; as one input among others a seal looks like ten thousand satoshis.

use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxOut};

use crate::error::{Culprit, Result, Rule};
use crate::tx::satoshi::{Moved, Place, follow};

/// A position is not spent for its postage.
pub const MONEY: Rule = Rule::new(
    "seal-money",
    "a transaction spends a seal only to hand it on or to retire it: its first satoshi becomes the first of an output that is known to be one",
    "do not sign it: it would lose the position; a sale is checked with its offer and acceptance, a retirement with the position's terms",
);

/// Refuses a transaction that spends one of the `seals` other than into one of the scripts that seals
/// may go to, as large as it was and first in its output. `prevouts` are what its inputs spend, in order.
pub fn refuse_money(
    tx: &Transaction,
    prevouts: &[TxOut],
    seals: &[ScriptBuf],
    to: &[ScriptBuf],
) -> Result<()> {
    let values: Vec<Amount> = prevouts.iter().map(|out| out.value).collect();
    let txid = tx.compute_txid();
    for (input, spent) in prevouts.iter().enumerate() {
        if !seals.contains(&spent.script_pubkey) {
            continue;
        }
        let refuse = |found: &dyn core::fmt::Display| {
            let place = format_args!("input {input} of {txid}, a seal").to_string();
            Err(MONEY.refuses(Culprit::Sender, place, "a seal's output, first and alike", found))
        };
        let place = match follow(tx, &values, input, Amount::ZERO)? {
            Moved::To(place) => place,
            Moved::Fee { .. } => return refuse(&"the fee"),
        };
        let vout = place.outpoint.vout;
        let at = usize::try_from(vout).unwrap_or(usize::MAX);
        let Some(out) = tx.output.get(at) else { return refuse(&"no output") };
        if place != Place::first_of(OutPoint::new(txid, vout)) {
            return refuse(&format_args!("satoshi {} of output {vout}", place.offset.to_sat()));
        }
        if !to.contains(&out.script_pubkey) {
            return refuse(&format_args!("output {vout}, to {:x}", out.script_pubkey));
        }
        if out.value != spent.value {
            return refuse(&format_args!("output {vout}, of {} sat", out.value.to_sat()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bitcoin::absolute::LockTime;
    use bitcoin::transaction::Version;
    use bitcoin::{TxIn, opcodes};

    use super::*;

    fn script(byte: u8) -> ScriptBuf {
        let builder = bitcoin::script::Builder::new().push_slice([byte; 20]);
        builder.push_opcode(opcodes::all::OP_DROP).into_script()
    }

    fn out(value: u64, byte: u8) -> TxOut {
        TxOut { value: Amount::from_sat(value), script_pubkey: script(byte) }
    }

    /// Inputs and outputs as values and scripts; 1 and 2 are seals, 8 and 9 where seals may go.
    fn judged(inputs: &[(u64, u8)], outputs: &[(u64, u8)]) -> Result<()> {
        let outs = |all: &[(u64, u8)]| all.iter().map(|(v, s)| out(*v, *s)).collect::<Vec<_>>();
        let input = (0u32..).zip(inputs).map(|(vout, _)| TxIn {
            previous_output: OutPoint { vout, ..OutPoint::null() },
            ..TxIn::default()
        });
        let tx = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: input.collect(),
            output: outs(outputs),
        };
        refuse_money(&tx, &outs(inputs), &[script(1), script(2)], &[script(8), script(9)])
    }

    #[test]
    fn a_seal_that_is_handed_on_or_retired_is_no_money() {
        assert_eq!(judged(&[(10_000, 1), (500, 5)], &[(10_000, 8), (300, 5)]), Ok(()));
        let both = judged(&[(10_000, 1), (10_000, 2), (500, 5)], &[(10_000, 8), (10_000, 9)]);
        assert_eq!(both, Ok(()));
        let behind = judged(&[(700, 5), (10_000, 2)], &[(700, 5), (10_000, 9)]);
        assert_eq!(behind, Ok(()), "behind a coin that fills the first output");
        assert_eq!(judged(&[(700, 5)], &[(100, 6)]), Ok(()), "no seal at all");
    }

    #[test]
    fn a_seal_that_is_spent_as_money_is_refused() {
        for (what, inputs, outputs) in [
            ("to a stranger", vec![(10_000, 1)], vec![(10_000, 5)]),
            ("to the fee", vec![(10_000, 1)], vec![]),
            ("to the fee, behind a coin", vec![(600, 5), (10_000, 1)], vec![(600, 5)]),
            ("inside an output", vec![(600, 5), (10_000, 1)], vec![(10_000, 8)]),
            ("made smaller", vec![(10_000, 1)], vec![(9_000, 8)]),
            ("made larger", vec![(10_000, 1), (5_000, 5)], vec![(12_000, 8)]),
            ("joined with another", vec![(10_000, 1), (10_000, 2)], vec![(20_000, 8)]),
        ] {
            assert_eq!(judged(&inputs, &outputs).unwrap_err().rule(), "seal-money", "{what}");
        }
    }
}
