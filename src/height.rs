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
//! Slices are counted from the contract's start height, not from height 0: otherwise a contract
//! could begin in the middle of a slice and share it with its predecessor.

use core::ops::{Range, RangeInclusive};

/// The blocks of a contract and how they are grouped. Numbers of slices, periods and windows are
/// 0-based; every method answers `None` outside the term.
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
    /// Blocks in the term.
    pub fn blocks(&self) -> u32 {
        self.period.saturating_mul(self.periods)
    }

    /// Height of the term's last block.
    pub fn end(&self) -> u32 {
        self.start.saturating_add(self.blocks()).saturating_sub(1)
    }

    /// Slices in the term.
    pub fn slices(&self) -> u32 {
        self.blocks().checked_div(self.slice).unwrap_or(0)
    }

    /// Slices in a period.
    pub fn slices_per_period(&self) -> u32 {
        self.period.checked_div(self.slice).unwrap_or(0)
    }

    /// The slice that holds the block at `height`.
    pub fn slice_of(&self, height: u32) -> Option<u32> {
        let slice = height.checked_sub(self.start)?.checked_div(self.slice)?;
        (slice < self.slices()).then_some(slice)
    }

    /// The heights of a slice's blocks.
    pub fn slice_blocks(&self, slice: u32) -> Option<RangeInclusive<u32>> {
        if slice >= self.slices() {
            return None;
        }
        self.span(slice, self.slice)
    }

    /// The period that a slice belongs to.
    pub fn period_of_slice(&self, slice: u32) -> Option<u32> {
        if slice >= self.slices() {
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
        if period >= self.periods {
            return None;
        }
        self.span(period, self.period)
    }

    /// Windows in the term.
    pub fn windows(&self) -> u32 {
        if self.window == 0 { 0 } else { self.periods.div_ceil(self.window) }
    }

    /// The window that a period belongs to.
    pub fn window_of(&self, period: u32) -> Option<u32> {
        if period >= self.periods {
            return None;
        }
        period.checked_div(self.window)
    }

    /// The periods of a window; the last window may have fewer.
    pub fn window_periods(&self, window: u32) -> Option<Range<u32>> {
        if window >= self.windows() {
            return None;
        }
        let first = window.checked_mul(self.window)?;
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
}
