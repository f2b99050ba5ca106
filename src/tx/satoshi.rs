//! Where a satoshi goes: first in, first out, as the theory of ordinals has it.
//!
//! ```text
//!  inputs    |---- a ----|------ b ------|-- c --|
//!  outputs   |-- x --|--------- y --------|- z |fee|
//! ```
//! The satoshis of all inputs, laid end to end, fill the outputs in order; what is left over is the
//! fee. A position is the first satoshi of an output, so whoever builds or signs a transaction asks
//! here where it will be, and whoever verifies a position asks where it went.

use bitcoin::{Amount, OutPoint, Transaction};

use crate::amount;
use crate::error::{Culprit, Result, Rule};

/// A satoshi that is followed is in the input it is said to be in.
pub const FOLLOWED: Rule = Rule::new(
    "satoshi-followed",
    "the satoshi that is followed lies within the input that spends it, and every input before is known",
    "fetch the transactions that made the inputs",
);

/// A satoshi's place: an output, and how many satoshis of it lie before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The output.
    pub outpoint: OutPoint,
    /// Satoshis of the output that lie before it.
    pub offset: Amount,
}

impl Place {
    /// The first satoshi of an output.
    pub fn first_of(outpoint: OutPoint) -> Self {
        Self { outpoint, offset: Amount::ZERO }
    }

    /// Whether it is the first of its output: only there can it be a seal.
    pub fn is_first(&self) -> bool {
        self.offset == Amount::ZERO
    }
}

/// Where a transaction moves a satoshi.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// Into one of its outputs.
    To(Place),
    /// Into the fee, so many satoshis behind its beginning: the block's finder has it now.
    Fee {
        /// Satoshis of the fee that lie before it.
        offset: Amount,
    },
}

/// Where the satoshi goes that lies `offset` satoshis into input `input` of `tx`.
///
/// `values` says what each input spends, in input order and at least up to `input`; those behind it
/// do not matter.
pub fn follow(tx: &Transaction, values: &[Amount], input: usize, offset: Amount) -> Result<Moved> {
    let txid = tx.compute_txid();
    let place = format_args!("input {input} of {txid}").to_string();
    let before = values.get(..input).filter(|_| input < tx.input.len());
    let (Some(before), Some(held)) = (before, values.get(input)) else {
        let expected = format_args!("the values of inputs 0 to {input}").to_string();
        let found = format_args!("{} values, {} inputs", values.len(), tx.input.len()).to_string();
        return Err(FOLLOWED.refuses(Culprit::Sender, place, expected, found));
    };
    if offset >= *held {
        let expected = format_args!("an offset below {} sat", held.to_sat()).to_string();
        return Err(FOLLOWED.refuses(Culprit::Sender, place, expected, offset.to_sat()));
    }
    let mut ahead = amount::sum(before.iter().copied().chain([offset]), &place)?;
    for (vout, output) in (0u32..).zip(&tx.output) {
        match ahead.checked_sub(output.value) {
            // It lies behind this output.
            Some(rest) => ahead = rest,
            None => {
                let outpoint = OutPoint::new(txid, vout);
                return Ok(Moved::To(Place { outpoint, offset: ahead }));
            }
        }
    }
    Ok(Moved::Fee { offset: ahead })
}

#[cfg(test)]
mod tests {
    use bitcoin::absolute::LockTime;
    use bitcoin::transaction::Version;
    use bitcoin::{ScriptBuf, TxIn, TxOut};
    use proptest::prelude::*;

    use super::*;

    fn sats(values: &[u64]) -> Vec<Amount> {
        values.iter().copied().map(Amount::from_sat).collect()
    }

    fn transaction(inputs: usize, outputs: &[u64]) -> Transaction {
        let output = |value: &u64| TxOut {
            value: Amount::from_sat(*value),
            script_pubkey: ScriptBuf::new(),
        };
        Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn::default(); inputs],
            output: outputs.iter().map(output).collect(),
        }
    }

    fn moved(inputs: &[u64], outputs: &[u64], input: usize, offset: u64) -> Result<Moved> {
        let tx = transaction(inputs.len(), outputs);
        follow(&tx, &sats(inputs), input, Amount::from_sat(offset))
    }

    fn to(inputs: &[u64], outputs: &[u64], vout: u32, offset: u64) -> Moved {
        let txid = transaction(inputs.len(), outputs).compute_txid();
        let outpoint = OutPoint::new(txid, vout);
        Moved::To(Place { outpoint, offset: Amount::from_sat(offset) })
    }

    #[test]
    fn the_first_satoshi_of_the_first_input_is_the_first_of_the_first_output() {
        let (inputs, outputs) = ([10_000, 500], [10_000, 300]);
        assert_eq!(moved(&inputs, &outputs, 0, 0), Ok(to(&inputs, &outputs, 0, 0)));
    }

    #[test]
    fn a_satoshi_can_land_inside_an_output() {
        let (inputs, outputs) = ([400, 10_000], [300, 5_000, 5_000]);
        assert_eq!(moved(&inputs, &outputs, 1, 0), Ok(to(&inputs, &outputs, 1, 100)));
        assert_eq!(moved(&inputs, &outputs, 0, 299), Ok(to(&inputs, &outputs, 0, 299)));
        assert_eq!(moved(&inputs, &outputs, 0, 300), Ok(to(&inputs, &outputs, 1, 0)));
    }

    #[test]
    fn an_output_of_nothing_holds_no_satoshi() {
        let (inputs, outputs) = ([100, 100], [100, 0, 90]);
        assert_eq!(moved(&inputs, &outputs, 1, 0), Ok(to(&inputs, &outputs, 2, 0)));
    }

    #[test]
    fn what_no_output_takes_is_the_fee() {
        let fee = |offset| Ok(Moved::Fee { offset: Amount::from_sat(offset) });
        assert_eq!(moved(&[1_000, 10], &[1_000], 1, 0), fee(0));
        assert_eq!(moved(&[1_000, 10], &[995], 1, 4), fee(9));
        assert_eq!(moved(&[10], &[], 0, 0), fee(0));
    }

    #[test]
    fn an_input_that_is_not_there_or_not_known_is_refused() {
        let tx = transaction(2, &[100]);
        let rule = |values: &[u64], input, offset| {
            follow(&tx, &sats(values), input, Amount::from_sat(offset)).unwrap_err().rule()
        };
        assert_eq!(rule(&[10, 10, 10], 2, 0), "satoshi-followed");
        assert_eq!(rule(&[10], 1, 0), "satoshi-followed");
        assert_eq!(rule(&[10, 10], 1, 10), "satoshi-followed");
    }

    proptest! {
        /// Each satoshi in turn, counted one by one.
        #[test]
        fn satoshis_are_where_counting_puts_them(
            inputs in prop::collection::vec(1u64..20, 1..5),
            outputs in prop::collection::vec(0u64..20, 1..5),
        ) {
            let all: u64 = inputs.iter().sum();
            let slots: Vec<Option<(u32, u64)>> = (0u32..)
                .zip(&outputs)
                .flat_map(|(vout, value)| (0..*value).map(move |offset| Some((vout, offset))))
                .chain(std::iter::repeat(None))
                .take(usize::try_from(all).unwrap())
                .collect();
            let paid = outputs.iter().sum::<u64>();
            let mut count = 0;
            for (input, value) in inputs.iter().enumerate() {
                for offset in 0..*value {
                    let expected = match slots[count] {
                        Some((vout, at)) => to(&inputs, &outputs, vout, at),
                        None => Moved::Fee { offset: Amount::from_sat(count as u64 - paid) },
                    };
                    prop_assert_eq!(moved(&inputs, &outputs, input, offset), Ok(expected));
                    count += 1;
                }
            }
        }
    }
}
