//! The way to the accelerator.

use core::convert::Infallible;
use core::ptr;
use core::time::Duration;

use secateur_runtime::npu::Bus;

use crate::map;
use crate::registers::{read, write};
use crate::timer;

/// The accelerator of the system. Memory is reached past the processor's caches.
pub(crate) struct System;

/// The uncached alias of bus addresses `address` to `address + bytes`; `None` outside the memory, where the driver never goes:
/// `run_accelerated` has placed its regions inside.
fn shared(address: u32, bytes: usize) -> Option<*mut u8> {
    let offset = usize::try_from(address).ok()?.checked_sub(map::MEMORY)?;
    let inside = offset.checked_add(bytes)? <= map::MEMORY_BYTES;
    inside.then(|| ptr::with_exposed_provenance_mut(map::SHARED.wrapping_add(offset)))
}

/// Words of a burst of the processor's cache.
const LINE: usize = 8;

/// Copies `bytes` bytes. Where both places are aligned it reads a line of the cache before it writes one: a read waits for
/// every write before it.
///
/// # Safety
/// As [`ptr::copy_nonoverlapping`].
#[inline(always)]
unsafe fn copy(from: *const u8, to: *mut u8, bytes: usize) {
    let mut done = 0;
    if bytes >= LINE * size_of::<u32>() && (from.addr() | to.addr()).is_multiple_of(align_of::<u32>()) {
        let (words_from, words_to) = (from.cast::<u32>(), to.cast::<u32>());
        let lines = bytes / (LINE * size_of::<u32>());
        for line in 0..lines {
            // SAFETY: inside both, which are aligned. Volatile, which keeps the order.
            unsafe {
                let (from, to) = (words_from.add(line * LINE), words_to.add(line * LINE));
                let words: [u32; LINE] = core::array::from_fn(|word| from.add(word).read_volatile());
                for (word, value) in words.into_iter().enumerate() {
                    to.add(word).write_volatile(value);
                }
            }
        }
        done = lines * LINE * size_of::<u32>();
    }
    for at in done..bytes {
        // SAFETY: inside both.
        unsafe { to.add(at).write_volatile(from.add(at).read()) };
    }
}

impl Bus for System {
    type Error = Infallible;

    fn read_register(&mut self, offset: u32) -> Result<u32, Infallible> {
        // SAFETY: registers of the accelerator; reading has no effect.
        Ok(unsafe { read(map::NPU.wrapping_add(offset as usize)) })
    }

    fn write_register(&mut self, offset: u32, value: u32) -> Result<(), Infallible> {
        // SAFETY: the accelerator writes to the work region alone, which is the driver's.
        unsafe { write(map::NPU.wrapping_add(offset as usize), value) };
        Ok(())
    }

    #[inline(always)]
    fn read_memory(&mut self, address: u32, bytes: &mut [u8]) -> Result<(), Infallible> {
        if let Some(from) = shared(address, bytes.len()) {
            // SAFETY: inside the memory that `main` keeps for the accelerator, which no reference covers.
            unsafe { copy(from, bytes.as_mut_ptr(), bytes.len()) };
        }
        Ok(())
    }

    fn write_memory(&mut self, address: u32, bytes: &[u8]) -> Result<(), Infallible> {
        if let Some(to) = shared(address, bytes.len()) {
            // SAFETY: as above.
            unsafe { copy(bytes.as_ptr(), to, bytes.len()) };
        }
        Ok(())
    }

    fn wait_interrupt(&mut self, limit: Duration) -> Result<bool, Infallible> {
        let cycles_each = u128::from(map::CLOCK_HZ / 1_000_000);
        let cycles = limit.as_micros().saturating_mul(cycles_each);
        // The timer's difference has 32 bits.
        let limit = u32::try_from(cycles).unwrap_or(u32::MAX).min(u32::MAX / 2);
        let started = timer::ticks();
        loop {
            // SAFETY: reading the line's level has no effect.
            let raised = unsafe { read(map::NPU_EV_STATUS) } != 0;
            if raised || timer::ticks().wrapping_sub(started) > limit {
                return Ok(raised);
            }
        }
    }
}
