//! A small generator for schedules and stalls.

/// xorshift64 (Marsaglia 2003); the state is never 0.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        // Any seed gives a state, neighbouring seeds give different ones.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d | 1)
    }

    /// The next 32 bits.
    pub(crate) const fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }

    /// True in `percent` of a hundred calls.
    #[cfg(feature = "rtl")]
    pub(crate) const fn chance(&mut self, percent: u32) -> bool {
        percent != 0 && self.next() % 100 < percent
    }
}
