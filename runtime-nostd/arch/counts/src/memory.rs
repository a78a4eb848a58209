//! Memory of the programs, and pseudo-random numbers to fill it.

use core::cell::UnsafeCell;

/// A pool for the cases: codes (input, second input, outputs), packed words, weights.
#[repr(C, align(16))]
pub struct Pool {
    pub codes: [i8; 1 << 20],
    pub weights: [i8; 1 << 16],
    pub words: [u32; 1 << 16],
    pub scratch: [i8; 1 << 16],
}

/// Memory that one reference takes.
pub struct Shared<T>(UnsafeCell<T>);

// SAFETY: the programs have one thread.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// The memory.
    ///
    /// # Safety
    /// A program calls this once.
    #[expect(clippy::mut_from_ref, reason = "there is one reference")]
    pub unsafe fn take(&self) -> &mut T {
        // SAFETY: the caller has the only reference.
        unsafe { &mut *self.0.get() }
    }
}

/// The pool of the programs that run cases.
pub static POOL: Shared<Pool> = Shared::new(Pool {
    codes: [0; 1 << 20],
    weights: [0; 1 << 16],
    words: [0; 1 << 16],
    scratch: [0; 1 << 16],
});

/// Splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 32) as u32
    }

    /// A number of `low..=high`.
    pub fn range(&mut self, low: i32, high: i32) -> i32 {
        let span = u64::from(high.wrapping_sub(low) as u32) + 1;
        low.wrapping_add(((u64::from(self.bits()) * span) >> 32) as i32)
    }

    pub fn chance(&mut self, one_in: i32) -> bool {
        self.range(1, one_in) == 1
    }

    /// Any code; extremes half of the time.
    pub fn code(&mut self) -> i8 {
        if self.chance(2) { [-128, -127, 0, 127][self.range(0, 3) as usize] } else { self.bits() as i8 }
    }
}

/// CRC-32 as zlib computes it.
pub fn crc(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}
