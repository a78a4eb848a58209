//! A counter of cycles: the system's timer, which counts down for ever.

use crate::map;
use crate::registers::{read, write};

pub(crate) fn start() {
    // SAFETY: registers of the timer, whose interrupt is off.
    unsafe {
        write(map::TIMER0_EN, 0);
        write(map::TIMER0_LOAD, u32::MAX);
        write(map::TIMER0_RELOAD, u32::MAX);
        write(map::TIMER0_EN, 1);
    }
}

/// Cycles since the start, modulo 2^32.
pub(crate) fn ticks() -> u32 {
    // SAFETY: as above; the first write copies the counter to where it can be read.
    unsafe {
        write(map::TIMER0_UPDATE_VALUE, 1);
        !read(map::TIMER0_VALUE)
    }
}
