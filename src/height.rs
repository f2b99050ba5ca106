//! The calendar of a contract, in blocks: slices, periods, windows, and the heights by which
//! something must have happened.
//!
//! ```text
//!  start                                                      one window of three periods
//!  |------------ period 0 ------------|---- period 1 ----|---- period 2 ----|----
//!  | slice 0 | slice 1 | .. |          a slice is proven by certificates,
//!                                      a period is paid, a window forgives within itself
//! ```
//!
//! Slices are counted from the term's start height, not from height 0: otherwise a contract could
//! begin in the middle of a slice and share it with its predecessor.
//!
//! A position may be sold several times, each time by a contract of its own that pays for the periods
//! from `first` on. Slices and periods keep the numbers that they have in the position's term, so
//! that certificates and receipts of one contract are good in the next. Windows are the contract's.
//!
//! | asked | answered for |
//! |---|---|
//! | what the term is: `blocks`, `end`, `slices` | the whole term, whatever part of it is paid for |
//! | whether something counts, is paid, or may be ruled on: everything else | the periods from `first` on; `None` for those before |

use core::ops::{Range, RangeInclusive};

/// The blocks of a contract and how they are grouped. Numbers of slices, periods and windows are
/// 0-based; every method answers `None` outside of what the contract pays for: before its first
/// period, and after the term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// Height of the first block.
    pub start: u32,
    /// Blocks in a slice.
    pub slice: u32,
    /// Blocks in a period, a multiple of the slice.
    pub period: u32,
    /// Periods in the term.
    pub periods: u32,
    /// The first period (0-based) that the contract pays for; 0 where it pays for the whole term.
    pub first: u32,
    /// Periods in a window; the last window may be short.
    pub window: u32,
    /// Blocks after a slice's end within which a receipt's tip must lie.
    pub receipt_span: u32,
    /// Blocks after a slice's end within which its digest may be confirmed instead.
    pub proof_span: u32,
    /// Depth of a period's last block (its own block counted) at which the period is ruled on.
    pub ruling_depth: u32,
}

impl Calendar {
    /// Blocks in the term, with those before the contract's first period.
    pub fn blocks(&self) -> u32 {
        self.period.saturating_mul(self.periods)
    }

    /// Height of the term's last block.
    pub fn end(&self) -> u32 {
        self.start.saturating_add(self.blocks()).saturating_sub(1)
    }

    /// Height of the first block that the contract pays for.
    pub fn begin(&self) -> u32 {
        self.start.saturating_add(self.period.saturating_mul(self.first))
    }

    /// Periods that the contract pays for.
    pub fn paid_periods(&self) -> u32 {
        self.periods.saturating_sub(self.first)
    }

    /// Slices in the term, with those before the contract's first period.
    pub fn slices(&self) -> u32 {
        self.blocks().checked_div(self.slice).unwrap_or(0)
    }

    /// Slices in a period.
    pub fn slices_per_period(&self) -> u32 {
        self.period.checked_div(self.slice).unwrap_or(0)
    }

    /// The slices that the contract pays for.
    pub fn paid_slices(&self) -> Range<u32> {
        self.slices_per_period().saturating_mul(self.first)..self.slices()
    }

    /// The slice that holds the block at `height`.
    pub fn slice_of(&self, height: u32) -> Option<u32> {
        let slice = height.checked_sub(self.start)?.checked_div(self.slice)?;
        self.paid_slices().contains(&slice).then_some(slice)
    }

    /// The heights of a slice's blocks.
    pub fn slice_blocks(&self, slice: u32) -> Option<RangeInclusive<u32>> {
        if !self.paid_slices().contains(&slice) {
            return None;
        }
        self.span(slice, self.slice)
    }

    /// The period that a slice belongs to.
    pub fn period_of_slice(&self, slice: u32) -> Option<u32> {
        if !self.paid_slices().contains(&slice) {
            return None;
        }
        slice.checked_div(self.slices_per_period())
    }

    /// The period that holds the block at `height`.
    pub fn period_of(&self, height: u32) -> Option<u32> {
        self.period_of_slice(self.slice_of(height)?)
    }

    /// The heights of a period's blocks.
    pub fn period_blocks(&self, period: u32) -> Option<RangeInclusive<u32>> {
        if !(self.first..self.periods).contains(&period) {
            return None;
        }
        self.span(period, self.period)
    }

    /// Windows of the contract: the first begins with its first period.
    pub fn windows(&self) -> u32 {
        if self.window == 0 { 0 } else { self.paid_periods().div_ceil(self.window) }
    }

    /// The window that a period belongs to.
    pub fn window_of(&self, period: u32) -> Option<u32> {
        if period >= self.periods {
            return None;
        }
        period.checked_sub(self.first)?.checked_div(self.window)
    }

    /// The periods of a window; the last window may have fewer.
    pub fn window_periods(&self, window: u32) -> Option<Range<u32>> {
        if window >= self.windows() {
            return None;
        }
        let first = self.first.checked_add(window.checked_mul(self.window)?)?;
        Some(first..first.saturating_add(self.window).min(self.periods))
    }

    /// Height at or below which a receipt's tip must lie to seal a certificate of `slice`.
    pub fn receipts_until(&self, slice: u32) -> Option<u32> {
        self.slice_blocks(slice)?.end().checked_add(self.receipt_span)
    }

    /// Height by which the digest of a certificate of `slice` may be confirmed instead.
    pub fn proofs_until(&self, slice: u32) -> Option<u32> {
        self.slice_blocks(slice)?.end().checked_add(self.proof_span)
    }

    /// Height of the tip from which `period` may be ruled on: its last block is `ruling_depth`
    /// deep, its own block counted. As nLockTime it keeps the settlement out of earlier blocks.
    pub fn ruled_from(&self, period: u32) -> Option<u32> {
        self.period_blocks(period)?.end().checked_add(self.ruling_depth)?.checked_sub(1)
    }

    fn span(&self, number: u32, length: u32) -> Option<RangeInclusive<u32>> {
        let first = self.start.checked_add(number.checked_mul(length)?)?;
        Some(first..=first.checked_add(length)?.checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALENDAR: Calendar = Calendar {
        start: 1_000,
        slice: 12,
        period: 144,
        periods: 5,
        first: 0,
        window: 2,
        receipt_span: 36,
        proof_span: 42,
        ruling_depth: 144,
    };

    #[test]
    fn slices_begin_at_the_start_height() {
        assert_eq!(CALENDAR.slice_of(999), None);
        assert_eq!(CALENDAR.slice_of(1_000), Some(0));
        assert_eq!(CALENDAR.slice_of(1_011), Some(0));
        assert_eq!(CALENDAR.slice_of(1_012), Some(1));
        assert_eq!(CALENDAR.slice_blocks(1), Some(1_012..=1_023));
    }

    #[test]
    fn the_term_ends_with_its_last_period() {
        assert_eq!(CALENDAR.end(), 1_719);
        assert_eq!(CALENDAR.slices(), 60);
        assert_eq!(CALENDAR.slice_of(1_719), Some(59));
        assert_eq!(CALENDAR.slice_of(1_720), None);
        assert_eq!(CALENDAR.period_of(1_719), Some(4));
        assert_eq!(CALENDAR.slice_blocks(60), None);
        assert_eq!(CALENDAR.period_blocks(5), None);
        assert_eq!(CALENDAR.period_of_slice(60), None);
    }

    #[test]
    fn every_block_of_a_slice_is_in_the_period_of_the_slice() {
        for height in 1_000..1_720 {
            let slice = CALENDAR.slice_of(height).unwrap();
            let period = CALENDAR.period_of_slice(slice).unwrap();
            assert!(CALENDAR.slice_blocks(slice).unwrap().contains(&height));
            assert!(CALENDAR.period_blocks(period).unwrap().contains(&height));
        }
    }

    #[test]
    fn the_last_window_may_be_short() {
        assert_eq!(CALENDAR.windows(), 3);
        assert_eq!(CALENDAR.window_periods(0), Some(0..2));
        assert_eq!(CALENDAR.window_periods(2), Some(4..5));
        assert_eq!(CALENDAR.window_periods(3), None);
        assert_eq!(CALENDAR.window_of(4), Some(2));
        assert_eq!(CALENDAR.window_of(5), None);
    }

    #[test]
    fn deadlines_follow_the_last_block() {
        assert_eq!(CALENDAR.receipts_until(0), Some(1_011 + 36));
        assert_eq!(CALENDAR.proofs_until(0), Some(1_011 + 42));
        // The last block of period 0 is 1,143; with tip 1,286 it has 144 blocks, itself included.
        assert_eq!(CALENDAR.ruled_from(0), Some(1_286));
    }

    #[test]
    fn a_calendar_that_overflows_answers_nothing_instead_of_wrapping() {
        let far = Calendar { start: u32::MAX - 5, ..CALENDAR };
        assert_eq!(far.slice_blocks(0), None);
        assert_eq!(far.ruled_from(4), None);
        let empty = Calendar { slice: 0, period: 0, window: 0, ..CALENDAR };
        assert_eq!(empty.slice_of(1_000), None);
        assert_eq!(empty.windows(), 0);
        assert_eq!(empty.window_of(0), None);
    }

    /// The contract of a position that was sold again: it pays from the third period on.
    const LATER: Calendar = Calendar { first: 2, ..CALENDAR };

    #[test]
    fn what_a_later_contract_pays_for_keeps_the_numbers_and_heights_of_the_term() {
        assert_eq!((LATER.begin(), LATER.end(), LATER.paid_periods()), (1_288, 1_719, 3));
        assert_eq!((LATER.slices(), LATER.paid_slices()), (60, 24..60));
        for height in 1_288..1_720 {
            assert_eq!(LATER.slice_of(height), CALENDAR.slice_of(height));
            assert_eq!(LATER.period_of(height), CALENDAR.period_of(height));
        }
        for slice in 24..60 {
            assert_eq!(LATER.slice_blocks(slice), CALENDAR.slice_blocks(slice));
            assert_eq!(LATER.receipts_until(slice), CALENDAR.receipts_until(slice));
        }
        assert_eq!(LATER.ruled_from(2), CALENDAR.ruled_from(2));
    }

    #[test]
    fn what_lies_before_the_first_period_is_of_no_slice_period_or_window_and_never_ruled_on() {
        assert_eq!((LATER.slice_of(1_287), LATER.period_of(1_287)), (None, None));
        assert_eq!((LATER.slice_blocks(23), LATER.period_of_slice(23)), (None, None));
        assert_eq!((LATER.receipts_until(23), LATER.proofs_until(23)), (None, None));
        assert_eq!((LATER.period_blocks(1), LATER.ruled_from(1)), (None, None));
        assert_eq!(LATER.window_of(1), None);
    }

    #[test]
    fn windows_are_counted_from_the_first_period() {
        assert_eq!(LATER.windows(), 2);
        assert_eq!((LATER.window_periods(0), LATER.window_periods(1)), (Some(2..4), Some(4..5)));
        assert_eq!(LATER.window_periods(2), None);
        assert_eq!([2, 3, 4].map(|period| LATER.window_of(period)), [Some(0), Some(0), Some(1)]);
        let none = Calendar { first: 9, ..CALENDAR };
        assert_eq!((none.windows(), none.paid_periods(), none.period_blocks(9)), (0, 0, None));
    }
}
