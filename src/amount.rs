//! Satoshis, checked: every output and every sum above 21 million bitcoin is refused, and every
//! division says which way it rounds.
//!
//! Products of money and work need more than 128 bits (a price of 2^51 satoshis times a work of up
//! to 2^128 hashes), so they are taken in 384 bits, where nothing here can overflow.

use core::fmt;

use bitcoin::Amount;
use ruint::aliases::U384;

use crate::error::{Culprit, Result, Rule};

/// No output and no sum exceeds the money there can be.
pub const LIMIT: Rule = Rule::new(
    "amount-limit",
    "amounts and their sums stay within 21 million bitcoin",
    "correct the amount",
);

/// The most money there can be: 21 million bitcoin, in satoshis (Core's `MAX_MONEY`).
pub const MAX_SATOSHIS: u64 = 2_100_000_000_000_000;

/// Parts in a whole, where a share is stated in parts per million.
pub const MILLION: u32 = 1_000_000;

/// `amount`, if it is at most 21 million bitcoin.
pub fn bounded(amount: Amount, place: impl fmt::Display) -> Result<Amount> {
    if amount.to_sat() > MAX_SATOSHIS {
        return Err(LIMIT.refuses(
            Culprit::Sender,
            place,
            format_args!("at most {MAX_SATOSHIS} sat"),
            format_args!("{} sat", amount.to_sat()),
        ));
    }
    Ok(amount)
}

/// The sum of `amounts`, refused as soon as one of them or the sum so far passes 21 million bitcoin.
pub fn sum(amounts: impl IntoIterator<Item = Amount>, place: impl fmt::Display) -> Result<Amount> {
    let mut sum = Amount::ZERO;
    for amount in amounts {
        // Two bounded amounts stay far below 2^64, so this addition never saturates.
        let next = bounded(amount, &place)?.to_sat().saturating_add(sum.to_sat());
        sum = bounded(Amount::from_sat(next), &place)?;
    }
    Ok(sum)
}

/// What period `period` (0-based) of `periods` costs: floor(price x i / n) - floor(price x (i-1) / n)
/// with i = period + 1, so that the installments add up to the price exactly.
///
/// Zero for a period that does not exist.
pub fn installment(price: Amount, period: u32, periods: u32) -> Amount {
    if period >= periods {
        return Amount::ZERO;
    }
    let through = |count: u32| portion(price, u128::from(count), u128::from(periods));
    through(period.saturating_add(1)).checked_sub(through(period)).unwrap_or(Amount::ZERO)
}

/// floor(whole x part / of), exactly; the whole where `part` exceeds `of`, nothing where `of` is zero.
pub fn portion(whole: Amount, part: u128, of: u128) -> Amount {
    let part = part.min(of);
    // 64 + 128 bits fit 384, and the quotient is at most the whole.
    U384::from(whole.to_sat())
        .checked_mul(U384::from(part))
        .and_then(|product| product.checked_div(U384::from(of)))
        .and_then(|quotient| u64::try_from(quotient).ok())
        .map_or(Amount::ZERO, Amount::from_sat)
}

/// floor(paid x ppm / 1,000,000): the part of a payment that is stated in parts per million; all of
/// it from a million on.
///
/// Every share asks for it, so it does without wide numbers: with paid = q x 1,000,000 + r it is
/// q x ppm + floor(r x ppm / 1,000,000), and neither term can overflow 64 bits.
pub fn per_million(paid: Amount, ppm: u32) -> Amount {
    const PARTS: u64 = MILLION as u64;
    let ppm = u64::from(ppm.min(MILLION));
    let (millions, rest) = (paid.to_sat() / PARTS, paid.to_sat() % PARTS);
    let of_rest = rest.saturating_mul(ppm) / PARTS;
    Amount::from_sat(millions.saturating_mul(ppm).saturating_add(of_rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sat(sat: u64) -> Amount {
        Amount::from_sat(sat)
    }

    #[test]
    fn all_the_money_there_can_be_passes_and_one_satoshi_more_is_refused() {
        assert_eq!(bounded(sat(MAX_SATOSHIS), "x").unwrap(), sat(MAX_SATOSHIS));
        assert_eq!(bounded(sat(MAX_SATOSHIS + 1), "x").unwrap_err().rule(), "amount-limit");
        assert_eq!(bounded(Amount::MAX, "x").unwrap_err().rule(), "amount-limit");
    }

    #[test]
    fn a_sum_is_refused_however_it_passes_the_limit() {
        assert_eq!(sum([sat(1), sat(2), sat(3)], "x").unwrap(), sat(6));
        assert_eq!(sum([], "x").unwrap(), Amount::ZERO);
        for parts in [vec![sat(MAX_SATOSHIS), sat(1)], vec![Amount::MAX, Amount::MAX]] {
            assert_eq!(sum(parts, "x").unwrap_err().rule(), "amount-limit");
        }
        let many = std::iter::repeat_n(sat(MAX_SATOSHIS / 2), 3);
        assert_eq!(sum(many, "x").unwrap_err().rule(), "amount-limit");
    }

    #[test]
    fn an_installment_outside_the_term_is_nothing() {
        assert_eq!(installment(sat(100), 3, 3), Amount::ZERO);
        assert_eq!(installment(sat(100), 0, 0), Amount::ZERO);
    }

    #[test]
    fn installments_of_a_price_that_does_not_divide_differ_by_one_satoshi() {
        let parts: Vec<u64> = (0..3).map(|i| installment(sat(100), i, 3).to_sat()).collect();
        assert_eq!(parts, [33, 33, 34]);
    }

    #[test]
    fn the_largest_price_times_the_largest_work_is_exact() {
        let price = sat(MAX_SATOSHIS);
        assert_eq!(portion(price, u128::MAX, u128::MAX), price);
        assert_eq!(portion(price, u128::MAX - 1, u128::MAX), sat(MAX_SATOSHIS - 1));
        assert_eq!(portion(price, 5, 0), Amount::ZERO);
        assert_eq!(portion(sat(10), 7, 3), sat(10));
    }

    proptest! {
        #[test]
        fn installments_add_up_to_the_price(price in 0..=MAX_SATOSHIS, periods in 1u32..500) {
            let total: u64 = (0..periods).map(|i| installment(sat(price), i, periods).to_sat()).sum();
            prop_assert_eq!(total, price);
        }

        #[test]
        fn parts_per_million_are_the_floor_whatever_the_payment(paid: u64, ppm in 0..=MILLION) {
            let exact = portion(sat(paid), ppm.into(), MILLION.into());
            prop_assert_eq!(per_million(sat(paid), ppm), exact);
        }

        #[test]
        fn a_portion_is_the_floor(whole in 0..=MAX_SATOSHIS, part in 0u64.., of in 1u64..) {
            let part = part.min(of);
            let exact = u128::from(whole) * u128::from(part) / u128::from(of);
            let found = portion(sat(whole), part.into(), of.into()).to_sat();
            prop_assert_eq!(u128::from(found), exact);
        }
    }
}
