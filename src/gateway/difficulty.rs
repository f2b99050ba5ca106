//! Difficulty: how machines are told a target.
//!
//! `mining.set_difficulty` carries a number; difficulty 1 is the target 0xffff x 2^208 and
//! difficulty d the d-th part of it. The number is kept as the decimal text that is sent, so the
//! target that we compare with is exactly the one that was said, and no floating point decides
//! about a share. From 1 on it is a whole number, because some firmware reads nothing else; below
//! 1 it has six digits, for processors and for regtest, whose blocks have 4.66e-10.

use core::cmp::Ordering;
use core::fmt;

use bitcoin::Target;
use ruint::aliases::U384;

/// Most digits behind the point: the easiest target of all, 2^256 - 1, still has six that count.
const DIGITS: u8 = 16;
/// Where a number below 1 is cut: six digits.
const PRECISE: u64 = 100_000;

/// A difficulty above 0: so many units of 10^-scale.
#[derive(Clone, Copy, Debug)]
pub struct Difficulty {
    units: u64,
    scale: u8,
}

impl Difficulty {
    /// Difficulty 1.
    pub const ONE: Self = Self { units: 1, scale: 0 };

    /// A whole number; 0 becomes 1.
    pub fn whole(number: u64) -> Self {
        Self { units: number.max(1), scale: 0 }
    }

    /// The hardest difficulty whose target is `target` or easier: rounded down as it is sent.
    pub fn of_target(target: Target) -> Self {
        Self::ratio(one(), wide(target).max(U384::from(1u8)))
    }

    /// The difficulty at which one share takes `hashes` x `times` / `parts` hashes on average,
    /// rounded down.
    pub fn of_hashes(hashes: u128, times: u64, parts: u64) -> Self {
        // A share below target t takes 2^256 / t hashes. 224 + 128 + 64 bits are at most 384 as
        // long as a rate is below 2^96, which is more than there is on earth.
        let hashes = U384::from(hashes.min(u128::from(u64::MAX) << 32));
        let over = hashes.saturating_mul(U384::from(times)).saturating_mul(one());
        let under = U384::from(parts.max(1)).checked_shl(256).unwrap_or(U384::MAX);
        Self::ratio(over, under)
    }

    /// Reads a JSON number or a string that holds one, such as `1024`, `0.5` or `"1e-3"`. `None`
    /// if it is none, or not above 0.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim().trim_matches('"');
        let (digits, exponent) = match text.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let mut units = 0u64;
        let mut scale = exponent.checked_neg()?;
        let mut count = 0u32;
        for (byte, behind) in
            whole.bytes().map(|b| (b, false)).chain(part.bytes().map(|b| (b, true)))
        {
            if !byte.is_ascii_digit() {
                return None;
            }
            count = count.saturating_add(1);
            // What comes behind 18 digits is cut; before the point it still counts as a place.
            match units < 100_000_000_000_000_000 {
                true => {
                    units = units * 10 + u64::from(byte - b'0');
                    scale = scale.checked_add(i32::from(behind))?;
                }
                false => scale = scale.checked_sub(i32::from(!behind))?,
            }
        }
        if count == 0 || units == 0 {
            return None;
        }
        let power = |n: i32| {
            u32::try_from(n)
                .ok()
                .filter(|n| *n <= 60)
                .map(|n| U384::from(10u8).saturating_pow(U384::from(n)))
        };
        match scale <= 0 {
            true => Some(Self::ratio(U384::from(units).saturating_mul(power(-scale)?), ONE)),
            false => Some(Self::ratio(U384::from(units), power(scale)?)),
        }
    }

    /// The highest hash that is a share: floor(0xffff x 2^208 / difficulty), or all there is.
    pub fn target(self) -> Target {
        let target = one().saturating_mul(ten_to(self.scale)) / U384::from(self.units.max(1));
        let bytes = target.to_be_bytes::<48>();
        match bytes.split_first_chunk::<16>() {
            Some((high, low)) if high == &[0; 16] => {
                Target::from_be_bytes(low.try_into().unwrap_or([0xff; 32]))
            }
            _ => Target::from_be_bytes([0xff; 32]),
        }
    }

    /// The difficulty times `times` / `parts`, rounded down.
    pub fn scaled(self, times: u64, parts: u64) -> Self {
        let over = U384::from(self.units).saturating_mul(U384::from(times));
        Self::ratio(over, ten_to(self.scale).saturating_mul(U384::from(parts.max(1))))
    }

    /// `over` / `under`, rounded down to what can be sent.
    fn ratio(over: U384, under: U384) -> Self {
        let whole = over.checked_div(under).unwrap_or(U384::MAX);
        if whole >= ONE {
            return Self { units: u64::try_from(whole).unwrap_or(u64::MAX), scale: 0 };
        }
        let mut over = over;
        for scale in 1..=DIGITS {
            over = over.saturating_mul(U384::from(10u8));
            let units = over.checked_div(under).unwrap_or_default();
            if units >= U384::from(PRECISE) || scale == DIGITS {
                let units = u64::try_from(units).unwrap_or(u64::MAX).max(1);
                return Self { units, scale };
            }
        }
        Self::ONE
    }
}

/// 1, in the numbers that are reckoned with.
const ONE: U384 = U384::from_limbs([1, 0, 0, 0, 0, 0]);

/// The target of difficulty 1.
fn one() -> U384 {
    U384::from_limbs([0, 0, 0, 0xffff << 16, 0, 0])
}

fn ten_to(scale: u8) -> U384 {
    U384::from(10u64.saturating_pow(u32::from(scale)))
}

fn wide(target: Target) -> U384 {
    U384::from_be_slice(&target.to_be_bytes())
}

impl PartialEq for Difficulty {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Difficulty {}

impl PartialOrd for Difficulty {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Difficulty {
    fn cmp(&self, other: &Self) -> Ordering {
        let left = U384::from(self.units).saturating_mul(ten_to(other.scale));
        left.cmp(&U384::from(other.units).saturating_mul(ten_to(self.scale)))
    }
}

/// The number as JSON.
impl fmt::Display for Difficulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = usize::from(self.scale);
        if scale == 0 {
            return write!(f, "{}", self.units);
        }
        let one = 10u64.saturating_pow(u32::from(self.scale));
        let digits = format!("{:0scale$}", self.units % one);
        let digits = digits.trim_end_matches('0');
        match digits.is_empty() {
            true => write!(f, "{}", self.units / one),
            false => write!(f, "{}.{digits}", self.units / one),
        }
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::CompactTarget;
    use proptest::prelude::*;

    use super::*;
    use crate::work::credit::share_work;

    fn compact(bits: u32) -> Target {
        Target::from_compact(CompactTarget::from_consensus(bits))
    }

    #[test]
    fn known_targets_have_the_difficulties_that_bitcoin_core_shows() {
        for (bits, shown) in [
            (0x1d00_ffff, "1"),
            // Block 100,000: 14484.1623612254. Whole, and rounded down.
            (0x1b04_864c, "14484"),
            // Regtest: 4.6565423739069247e-10.
            (0x207f_ffff, "0.000000000465654"),
            // Signet: 0.00112648...
            (0x1e03_77ae, "0.00112651"),
        ] {
            let difficulty = Difficulty::of_target(compact(bits));
            assert_eq!(difficulty.to_string(), shown, "{bits:x}");
            assert!(difficulty.target() >= compact(bits));
        }
        assert_eq!(Difficulty::ONE.target(), compact(0x1d00_ffff));
        assert_eq!(share_work(Difficulty::whole(1_000).target()) / 1_000, 4_295_032_833);
    }

    #[test]
    fn a_number_is_read_however_it_is_written() {
        for (text, shown) in [
            ("1024", "1024"),
            ("1024.0", "1024"),
            ("1024.9", "1024"),
            ("\"512\"", "512"),
            ("0.5", "0.5"),
            (".5", "0.5"),
            ("1e3", "1000"),
            ("1.5E-3", "0.0015"),
            ("0.0000000004656542373906925", "0.000000000465654"),
            ("123456789012345678901", "18446744073709551615"),
            ("1e-40", "0.0000000000000001"),
        ] {
            assert_eq!(Difficulty::read(text).map(|d| d.to_string()).as_deref(), Some(shown));
        }
        for text in ["", "0", "-1", "null", "0.0", "x", "1e", "1e99999999999", "NaN", "[1]", "1e99"]
        {
            assert_eq!(Difficulty::read(text), None, "{text}");
        }
    }

    #[test]
    fn the_extremes_stay_within_what_can_be_said() {
        let all = Target::from_be_bytes([0xff; 32]);
        assert!(Difficulty::of_target(all).target() >= Difficulty::ONE.target());
        assert_eq!(Difficulty::of_target(all).to_string(), "0.000000000232827");
        let none = Target::from_be_bytes([0; 32]);
        assert_eq!(Difficulty::of_target(none).to_string(), u64::MAX.to_string());
        assert_eq!(Difficulty::of_hashes(0, 1, 1).to_string(), "0.0000000000000001");
        let most = Difficulty::of_hashes(u128::MAX, u64::MAX, 1);
        assert_eq!(most.to_string(), u64::MAX.to_string());
    }

    proptest! {
        #[test]
        fn a_target_is_never_made_harder_and_by_little_easier(
            high in any::<[u8; 16]>(),
            zeros in 0usize..12,
        ) {
            let mut bytes = [0xff; 32];
            bytes[..zeros].fill(0);
            for (to, from) in bytes[zeros..].iter_mut().zip(high) {
                *to = from;
            }
            bytes[zeros] |= 1;
            let target = Target::from_be_bytes(bytes);
            let difficulty = Difficulty::of_target(target);
            prop_assert!(difficulty.target() >= target);
            // The next number that can be sent would be too hard.
            let next = Difficulty { units: difficulty.units + 1, ..difficulty };
            prop_assert!(difficulty.units == u64::MAX || next.target() <= target);
        }

        #[test]
        fn what_is_sent_is_read_as_the_same_number(units in 1u64..1_000_000, scale in 0u8..=16) {
            let sent = Difficulty::ratio(U384::from(units), ten_to(scale));
            let read = Difficulty::read(&sent.to_string()).unwrap();
            prop_assert_eq!(read, sent);
            prop_assert_eq!(read.target(), sent.target());
        }

        #[test]
        fn the_order_is_that_of_the_targets(a in 1u64..1_000_000, b in 1u64..1_000_000, s in 0u8..=9) {
            let (x, y) = (Difficulty::ratio(U384::from(a), ten_to(s)), Difficulty::ratio(U384::from(b), ten_to(s)));
            prop_assert_eq!(x.cmp(&y), y.target().cmp(&x.target()));
        }
    }
}
