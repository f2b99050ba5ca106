//! Bytes read in order, and numbers written in the one way in which they are read again.
//!
//! A reader answers `None` where the bytes end early or a number is written longer than it needs, and
//! never reserves more memory than the bytes that are left pay for.

/// Most bytes of a number in a column.
const WIDEST: u8 = 4;

/// Bytes not yet read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    #[inline]
    pub(crate) fn take_counted(&mut self, length: u64) -> Option<&'a [u8]> {
        self.take(usize::try_from(length).ok()?)
    }

    /// Bytes with their number before them.
    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.compact()?;
        self.take_counted(length)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A CompactSize, refused when a shorter form would do, as Core refuses it.
    #[inline]
    pub(crate) fn compact(&mut self) -> Option<u64> {
        let [first] = self.array()?;
        let (value, least) = match first {
            0xfd => (u64::from(u16::from_le_bytes(self.array()?)), 0xfd),
            0xfe => (u64::from(self.u32()?), 0x1_0000),
            0xff => (self.u64()?, 0x1_0000_0000),
            short => (u64::from(short), 0),
        };
        (value >= least).then_some(value)
    }

    /// A CompactSize that counts things of at least `bytes` bytes each, which are still to come.
    pub(crate) fn count(&mut self, bytes: usize) -> Option<usize> {
        let count = usize::try_from(self.compact()?).ok()?;
        (count.checked_mul(bytes)? <= self.0.len()).then_some(count)
    }

    /// As many numbers of 32 bits, four bytes each.
    pub(crate) fn plain_column(&mut self, count: usize) -> Option<Vec<u32>> {
        let bytes = self.take(count.checked_mul(4)?)?;
        Some(bytes.as_chunks::<4>().0.iter().map(|four| u32::from_le_bytes(*four)).collect())
    }

    /// A column as [`column`] writes it. The caller has seen to it that so many numbers may be
    /// reserved: a column of zeros has one byte.
    pub(crate) fn column(&mut self, count: usize) -> Option<Vec<u32>> {
        let width = self.byte()?;
        if width > WIDEST {
            return None;
        }
        let width = usize::from(width);
        let bytes = self.take(count.checked_mul(width)?)?;
        if width == 0 {
            return Some(vec![0; count]);
        }
        let numbers: Vec<u32> = bytes
            .chunks_exact(width)
            .map(|bytes| bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
            .collect();
        (self::width(&numbers) == width).then_some(numbers)
    }
}

/// Adds a CompactSize.
pub(crate) fn compact(out: &mut Vec<u8>, number: usize) {
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    match number {
        0..=0xfc => out.extend(number.to_le_bytes().first()),
        0xfd..=0xffff => {
            out.push(0xfd);
            out.extend(number.to_le_bytes().iter().take(2));
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xfe);
            out.extend(number.to_le_bytes().iter().take(4));
        }
        _ => {
            out.push(0xff);
            out.extend(number.to_le_bytes());
        }
    }
}

/// Adds bytes with their number before them.
pub(crate) fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    compact(out, bytes.len());
    out.extend(bytes);
}

/// Adds numbers as a column: how many bytes the largest needs (0 to 4), then all of them in as many.
pub(crate) fn column(out: &mut Vec<u8>, numbers: &[u32]) {
    let width = width(numbers);
    out.extend(u8::try_from(width));
    for number in numbers {
        out.extend(number.to_le_bytes().iter().take(width));
    }
}

/// Bytes that the largest of the numbers needs.
fn width(numbers: &[u32]) -> usize {
    let bits = u32::BITS.saturating_sub(numbers.iter().fold(0, |all, n| all | n).leading_zeros());
    usize::try_from(bits.div_ceil(8)).unwrap_or(usize::MAX)
}

/// How many bytes two strings begin with in common.
pub(crate) fn common_start(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

/// How many bytes two strings end with in common.
pub(crate) fn common_end(one: &[u8], other: &[u8]) -> usize {
    one.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_read_in_its_shortest_form_only() {
        for number in [0, 1, 0xfc, 0xfd, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, usize::MAX] {
            let mut bytes = Vec::new();
            compact(&mut bytes, number);
            assert_eq!(Reader(&bytes).compact(), Some(number as u64));
            for end in 0..bytes.len() {
                assert_eq!(Reader(&bytes[..end]).compact(), None, "{number}");
            }
        }
        for long in [&[0xfd, 0xfc, 0][..], &[0xfe, 0xff, 0xff, 0, 0], &[0xff; 5]] {
            assert_eq!(Reader(long).compact(), None);
        }
    }

    #[test]
    fn a_count_is_refused_before_anything_is_reserved_for_it() {
        assert_eq!(Reader(&[0xfe, 0xff, 0xff, 0xff, 0xff, 1, 2]).count(1), None);
        assert_eq!(Reader(&[2, 1, 2]).count(1), Some(2));
        assert_eq!(Reader(&[2, 1, 2]).count(2), None);
        assert_eq!(Reader(&[3, 1, 2]).count(usize::MAX), None);
    }

    #[test]
    fn a_column_wider_than_its_largest_number_is_refused() {
        assert_eq!(Reader(&[1, 0, 0]).column(2), None);
        assert_eq!(Reader(&[2, 255, 0, 3, 0]).column(2), None);
        assert_eq!(Reader(&[5, 1, 1, 1, 1, 1]).column(1), None);
        assert_eq!(Reader(&[0]).column(2), Some(vec![0, 0]));
    }

    proptest! {
        #[test]
        fn a_column_survives_being_written_and_read(
            numbers in proptest::collection::vec(any::<u32>(), 0..9),
            shift in 0u32..32,
        ) {
            let numbers: Vec<u32> = numbers.into_iter().map(|n| n >> shift).collect();
            let mut bytes = Vec::new();
            column(&mut bytes, &numbers);
            let mut reader = Reader(&bytes);
            prop_assert_eq!(reader.column(numbers.len()), Some(numbers));
            prop_assert!(reader.0.is_empty());
        }
    }
}
