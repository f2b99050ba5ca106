//! Chance with a seed: the same numbers on every machine, and nothing that a secret could be made
//! of.
//!
//! The generator is xoshiro256** (Blackman and Vigna), filled by SplitMix64. Exponential gaps are
//! drawn by von Neumann's method of 1951, which compares uniform numbers and takes no logarithm.

/// A generator of numbers that look like chance.
#[derive(Clone, Debug)]
pub struct Chance([u64; 4]);

/// The mean of [`Chance::gap`].
pub const MEAN_GAP: u64 = 1 << 32;

impl Chance {
    /// The generator of this seed for the measurement with this number.
    pub fn new(seed: u64, measurement: u32) -> Self {
        let mut state = seed ^ (u64::from(measurement) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut fill = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        Self([fill(), fill(), fill(), fill()])
    }

    /// Any number, each as likely.
    #[inline]
    pub fn number(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// Whether something happens that happens so many times in a million.
    pub fn happens(&mut self, ppm: u32) -> bool {
        let scaled = u128::from(self.number()) * 1_000_000;
        scaled >> 64 < u128::from(ppm)
    }

    /// An exponential gap with a mean of 2^32.
    ///
    /// Of uniform numbers that fall, the first is exponential below 1 if the run is of odd length;
    /// each run of even length adds 1 before the next is tried.
    pub fn gap(&mut self) -> u64 {
        let mut whole = 0;
        loop {
            let first = self.number();
            let (mut last, mut odd) = (first, true);
            loop {
                let next = self.number();
                if next >= last {
                    break;
                }
                (last, odd) = (next, !odd);
            }
            if odd {
                return whole + (first >> 32);
            }
            whole += MEAN_GAP;
        }
    }

    /// Bytes that look like chance.
    pub fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.number().to_le_bytes());
        }
        bytes
    }
}
